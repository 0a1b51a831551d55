//! Session statements: settings, transactions, cursors.

use std::collections::hash_map::Entry;
use std::mem;
use std::sync::Arc;

use arrow::array::ArrayRef;
use bytes::BufMut;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::TransactionStatus;
use pgwire::messages::startup::ParameterStatus;
use weir_gateway::{Access, PROJECT};
use weir_guard::Refusal;
use weir_model::ProjectName;
use weir_query::{Cursor, FetchCount, Query, SessionStatement, Statement};

use super::stream::Form;
use super::{Done, ResultStream, Session, supervised};
use crate::settings::SessionSettings;
use crate::sqlstate::{Told, code};
use crate::types::{Column, Format, row_description};

/// Cursors of one connection.
const CURSORS_MAX: usize = 100;
/// Savepoints of one transaction.
const SAVEPOINTS_MAX: usize = 1000;

/// A cursor that was declared and not closed.
pub(super) struct OpenCursor {
    columns: Vec<Column>,
    /// `None` after the last row.
    stream: Option<ResultStream>,
    with_hold: bool,
    /// Its transaction was committed, so it no longer depends on one.
    kept: bool,
}

impl OpenCursor {
    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What is left to fetch.
    pub(super) fn stream(&mut self) -> Option<&mut ResultStream> {
        self.stream.as_mut()
    }

    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }
}

/// What `ROLLBACK TO` goes back to.
pub(super) struct Savepoint {
    name: String,
    settings: SessionSettings,
    at_commit: Option<SessionSettings>,
}

impl Session {
    /// Carries out a session statement. `describe` sends the shape of its rows before them.
    pub(super) async fn control(
        &mut self,
        text: &str,
        statement: &SessionStatement,
        formats: &[Format],
        describe: bool,
    ) -> Done {
        match statement {
            SessionStatement::Set { name, value, local: true } => self.set_local(text, name, value).await?,
            SessionStatement::Set { name, value, local: false } if Access::has(name) => {
                self.change_access(text, name, |settings| settings.set(name, value)).await?;
                self.complete("SET");
            }
            SessionStatement::Reset { name: Some(name) } if Access::has(name) => {
                self.change_access(text, name, |settings| settings.reset(Some(name))).await?;
                self.complete("RESET");
            }
            SessionStatement::Set { name, value, local: false } => {
                self.change_settings(|settings| settings.set(name, value))?;
                self.complete("SET");
            }
            SessionStatement::Reset { name } => {
                self.change_settings(|settings| settings.reset(name.as_deref()))?;
                self.complete("RESET");
            }
            SessionStatement::Show { name } => self.show(name, formats, describe)?,
            SessionStatement::Begin => self.begin_transaction(),
            SessionStatement::Commit => self.end_transaction(self.transaction != TransactionStatus::Error),
            SessionStatement::Rollback => self.end_transaction(false),
            SessionStatement::Savepoint { name } => self.savepoint(name)?,
            SessionStatement::Release { name } => {
                let at = self.find_savepoint(name)?;
                self.savepoints.truncate(at);
                self.complete("RELEASE");
            }
            SessionStatement::RollbackTo { name } => {
                let at = self.find_savepoint(name)?;
                self.savepoints.truncate(at + 1);
                if let Some(Savepoint { settings, at_commit, .. }) = self.savepoints.last() {
                    let (settings, at_commit) = (settings.clone(), at_commit.clone());
                    self.use_settings(settings);
                    self.settings_at_commit = at_commit;
                }
                self.transaction = TransactionStatus::Transaction;
                self.complete("ROLLBACK");
            }
            SessionStatement::Deallocate { name } => self.deallocate(name.as_deref())?,
            SessionStatement::DiscardAll => self.discard_all()?,
            SessionStatement::Unlisten => self.complete("UNLISTEN"),
            SessionStatement::Declare(cursor) => {
                let query = match cursor_query(cursor) {
                    Ok(query) => query,
                    Err(refusal) => return Err(self.refused(text, refusal).await),
                };
                self.declare(cursor, &query, Vec::new()).await?;
            }
            SessionStatement::Fetch { cursor, count } => self.fetch(cursor, *count, formats, describe).await?,
            SessionStatement::Close { cursor } => self.close_cursor(cursor.as_deref())?,
            SessionStatement::SetProject { name } => {
                let value = name.as_deref().unwrap_or_default();
                self.change_access(text, PROJECT, |settings| settings.set(PROJECT, value)).await?;
                self.answer(statement, &[vec![value.to_owned()]], formats, describe)?;
            }
            SessionStatement::CurrentProject => {
                let current = self.settings.show(PROJECT)?.1.to_owned();
                self.answer(statement, &[vec![current]], formats, describe)?;
            }
            SessionStatement::ListProjects => {
                let mut running = self.begin();
                let projects = self.engine.projects(&self.caller, text);
                let projects = supervised(&mut self.connection, &mut running, projects).await??;
                let current = self.caller.project.clone();
                let row = |(name, closed): (ProjectName, Option<String>)| {
                    let is_current = if current.as_ref() == Some(&name) { "yes" } else { "no" };
                    vec![name.to_string(), is_current.to_owned(), closed.unwrap_or_else(|| "open".to_owned())]
                };
                let rows: Vec<_> = projects.into_iter().map(row).collect();
                self.answer(statement, &rows, formats, describe)?;
            }
        }
        Ok(())
    }

    /// What `set_config` of a query sets.
    pub(super) fn set_by(&mut self, query: &Query) -> Done {
        let sets = query.sets();
        if let Some((name, _)) = sets.iter().find(|(name, _)| SessionSettings::is_about_access(name)) {
            let told = format!("parameter `{name}` can only be changed by `SET`");
            return Err(Told::error(code::CANNOT_CHANGE_NOW, told).into());
        }
        if sets.is_empty() {
            return Ok(());
        }
        self.change_settings(|settings| sets.iter().try_for_each(|(name, value)| settings.set(name, value)))
    }

    /// Changes a setting up to the end of the transaction.
    async fn set_local(&mut self, text: &str, name: &str, value: &str) -> Done {
        if self.transaction == TransactionStatus::Idle {
            // What it would set has to be right all the same.
            self.settings.clone().set(name, value)?;
            let words = if name == "transaction" { "SET TRANSACTION" } else { "SET LOCAL" };
            self.warn(code::NO_TRANSACTION, &format!("`{words}` can only be used in transaction blocks"));
        } else {
            let at_commit = self.settings_at_commit.take().unwrap_or_else(|| self.settings.clone());
            let set = |settings: &mut SessionSettings| settings.set(name, value);
            let done = match Access::has(name) {
                true => self.change_access(text, name, set).await,
                false => self.change_settings(set),
            };
            self.settings_at_commit = Some(at_commit);
            done?;
        }
        self.complete("SET");
        Ok(())
    }

    /// Changes settings and reports to the client what it is kept informed of.
    fn change_settings(&mut self, change: impl Fn(&mut SessionSettings) -> Result<(), Told>) -> Done {
        let mut changed = self.settings.clone();
        change(&mut changed)?;
        self.change_at_commit(change)?;
        self.use_settings(changed);
        Ok(())
    }

    /// What is not local holds after the transaction too.
    fn change_at_commit(&mut self, change: impl Fn(&mut SessionSettings) -> Result<(), Told>) -> Result<(), Told> {
        let Some(mut at_commit) = self.settings_at_commit.clone() else { return Ok(()) };
        change(&mut at_commit)?;
        self.settings_at_commit = Some(at_commit);
        Ok(())
    }

    fn use_settings(&mut self, settings: SessionSettings) {
        let before = mem::replace(&mut self.settings, settings);
        for ((name, old), (_, new)) in before.reported().zip(self.settings.reported()) {
            if old != new {
                let status = ParameterStatus::new(name.to_owned(), new.to_owned());
                self.connection.put(PgWireBackendMessage::ParameterStatus(status));
            }
        }
        self.caller = self.settings.caller(self.caller.actor.authenticated.clone());
        self.asked = Arc::new(self.settings.asked());
    }

    /// Changes in which project or as whom the connection acts, when the guard lets it. What is open was read before,
    /// by somebody else or elsewhere, and is closed.
    async fn change_access(
        &mut self,
        text: &str,
        name: &str,
        change: impl Fn(&mut SessionSettings) -> Result<(), Told>,
    ) -> Done {
        if SessionSettings::is_about_identity(name) && self.transaction != TransactionStatus::Idle {
            let told = format!("parameter `{name}` cannot be changed inside a transaction block");
            return Err(Told::error(code::ACTIVE_TRANSACTION, told).into());
        }
        let mut changed = self.settings.clone();
        change(&mut changed)?;
        let caller = changed.caller(self.caller.actor.authenticated.clone());
        let mut running = self.begin();
        let enter = self.engine.enter(&caller, text);
        supervised(&mut self.connection, &mut running, enter).await??;
        self.portals.retain(|_, portal| portal.is_done());
        self.cursors.clear();
        self.change_at_commit(change)?;
        self.use_settings(changed);
        Ok(())
    }

    fn show(&mut self, name: &str, formats: &[Format], describe: bool) -> Done {
        let columns = show_columns(name, &self.settings)?;
        if describe {
            self.put(PgWireBackendMessage::RowDescription(row_description(&columns, formats)));
        }
        let out = self.connection.outbox();
        if name == "all" {
            self.settings.show_all().for_each(|row| put_text_row(&row, out));
        } else {
            let (_, value) = self.settings.show(name)?;
            put_text_row(&[value], out);
        }
        self.complete("SHOW");
        Ok(())
    }

    /// Rows of texts, as a query gives them.
    fn answer(
        &mut self,
        statement: &SessionStatement,
        rows: &[Vec<String>],
        formats: &[Format],
        describe: bool,
    ) -> Done {
        if describe && let Some(columns) = self.control_columns(statement)? {
            self.put(PgWireBackendMessage::RowDescription(row_description(&columns, formats)));
        }
        for row in rows {
            let row: Vec<&str> = row.iter().map(String::as_str).collect();
            put_text_row(&row, self.connection.outbox());
        }
        self.complete(format!("SELECT {}", rows.len()));
        Ok(())
    }

    fn begin_transaction(&mut self) {
        if self.transaction == TransactionStatus::Idle {
            self.transaction = TransactionStatus::Transaction;
            self.settings_before = Some(self.settings.clone());
        } else {
            self.warn(code::ACTIVE_TRANSACTION, "there is already a transaction in progress");
        }
        self.complete("BEGIN");
    }

    fn end_transaction(&mut self, commit: bool) {
        if self.transaction == TransactionStatus::Idle {
            self.warn(code::NO_TRANSACTION, "there is no transaction in progress");
        }
        let (before, at_commit) = (self.settings_before.take(), self.settings_at_commit.take());
        if let Some(settings) = if commit { at_commit } else { before } {
            let project = self.caller.project.clone();
            self.use_settings(settings);
            // What is open was read elsewhere.
            if self.caller.project != project {
                self.cursors.clear();
            }
        }
        self.savepoints.clear();
        self.portals.clear();
        self.cursors.retain(|_, cursor| {
            cursor.kept |= cursor.with_hold && commit;
            cursor.kept
        });
        self.transaction = TransactionStatus::Idle;
        self.complete(if commit { "COMMIT" } else { "ROLLBACK" });
    }

    fn savepoint(&mut self, name: &str) -> Done {
        if self.transaction == TransactionStatus::Idle {
            let told = Told::error(code::NO_TRANSACTION, "`SAVEPOINT` can only be used in transaction blocks");
            return Err(told.into());
        }
        if self.savepoints.len() >= SAVEPOINTS_MAX {
            let text = format!("more than {SAVEPOINTS_MAX} savepoints in one transaction");
            return Err(Told::error(code::LIMIT_EXCEEDED, text).into());
        }
        let (settings, at_commit) = (self.settings.clone(), self.settings_at_commit.clone());
        self.savepoints.push(Savepoint { name: name.to_owned(), settings, at_commit });
        self.complete("SAVEPOINT");
        Ok(())
    }

    /// The latest savepoint of this name.
    fn find_savepoint(&self, name: &str) -> Result<usize, Told> {
        let missing = || Told::error(code::INVALID_SAVEPOINT, format!("savepoint `{name}` does not exist"));
        self.savepoints.iter().rposition(|known| known.name == name).ok_or_else(missing)
    }

    fn deallocate(&mut self, name: Option<&str>) -> Done {
        match name {
            None => {
                self.statements.clear();
                self.complete("DEALLOCATE ALL");
            }
            Some(name) => {
                let missing =
                    || Told::error(code::INVALID_STATEMENT_NAME, format!("prepared statement `{name}` does not exist"));
                self.statements.remove(name).ok_or_else(missing)?;
                self.complete("DEALLOCATE");
            }
        }
        Ok(())
    }

    fn discard_all(&mut self) -> Done {
        if self.transaction != TransactionStatus::Idle {
            return Err(
                Told::error(code::ACTIVE_TRANSACTION, "`DISCARD ALL` cannot run inside a transaction block").into()
            );
        }
        self.statements.clear();
        self.portals.clear();
        self.cursors.clear();
        self.change_settings(|settings| settings.reset(None))?;
        self.complete("DISCARD ALL");
        Ok(())
    }

    pub(super) async fn declare(&mut self, cursor: &Cursor, query: &Query, params: Vec<ArrayRef>) -> Done {
        if self.transaction == TransactionStatus::Idle && !cursor.with_hold {
            let told = Told::error(code::NO_TRANSACTION, "`DECLARE CURSOR` can only be used in transaction blocks");
            return Err(told.hint("`WITH HOLD` makes a cursor that outlives its transaction").into());
        }
        if self.cursors.contains_key(&cursor.name) {
            return Err(Told::error(code::DUPLICATE_CURSOR, format!("cursor `{}` already exists", cursor.name)).into());
        }
        if self.cursors.len() >= CURSORS_MAX {
            return Err(Told::error(code::LIMIT_EXCEEDED, format!("more than {CURSORS_MAX} cursors are open")).into());
        }
        let mut running = self.begin();
        let stream = self.read(&mut running, query, params).await?;
        let open = OpenCursor {
            columns: stream.columns().to_vec(),
            stream: Some(stream),
            with_hold: cursor.with_hold,
            kept: cursor.with_hold && self.transaction == TransactionStatus::Idle,
        };
        self.cursors.insert(cursor.name.clone(), open);
        self.complete("DECLARE CURSOR");
        Ok(())
    }

    async fn fetch(&mut self, name: &str, count: FetchCount, formats: &[Format], describe: bool) -> Done {
        let cursor = self.cursors.get_mut(name).ok_or_else(|| no_cursor(name))?;
        if describe {
            let description = row_description(&cursor.columns, formats);
            self.connection.put(PgWireBackendMessage::RowDescription(description));
        }
        let mut sent = 0;
        if let Some(stream) = cursor.stream.take() {
            let rows_max = match count {
                FetchCount::Rows(rows) => Some(rows),
                FetchCount::All => None,
            };
            let mut running = self.begin();
            let fetched = stream.send(&mut self.connection, &mut running, Form::Rows(formats), rows_max).await;
            match (fetched, self.cursors.entry(name.to_owned())) {
                (Ok((rows, rest)), Entry::Occupied(mut cursor)) => {
                    sent = rows;
                    cursor.get_mut().stream = rest;
                }
                (Ok((rows, _)), Entry::Vacant(_)) => sent = rows,
                (Err(stop), entry) => {
                    if let Entry::Occupied(cursor) = entry {
                        cursor.remove();
                    }
                    return Err(stop);
                }
            }
        }
        self.complete(format!("FETCH {sent}"));
        Ok(())
    }

    fn close_cursor(&mut self, name: Option<&str>) -> Done {
        match name {
            None => {
                self.cursors.clear();
                self.complete("CLOSE CURSOR ALL");
            }
            Some(name) => {
                self.cursors.remove(name).ok_or_else(|| no_cursor(name))?;
                self.complete("CLOSE CURSOR");
            }
        }
        Ok(())
    }

    /// The columns of what a session statement answers; `None` when it answers no rows.
    pub(super) fn control_columns(&self, statement: &SessionStatement) -> Result<Option<Vec<Column>>, Told> {
        match statement {
            SessionStatement::Show { name } => show_columns(name, &self.settings).map(Some),
            SessionStatement::Fetch { cursor, .. } => {
                self.cursors.get(cursor).map(|open| Some(open.columns.clone())).ok_or_else(|| no_cursor(cursor))
            }
            SessionStatement::SetProject { .. } => Ok(Some(vec![Column::text("set_current_project")])),
            SessionStatement::CurrentProject => Ok(Some(vec![Column::text("current_project")])),
            SessionStatement::ListProjects => Ok(Some(["name", "current", "state"].map(Column::text).to_vec())),
            SessionStatement::Set { .. }
            | SessionStatement::Reset { .. }
            | SessionStatement::Begin
            | SessionStatement::Commit
            | SessionStatement::Rollback
            | SessionStatement::Savepoint { .. }
            | SessionStatement::Release { .. }
            | SessionStatement::RollbackTo { .. }
            | SessionStatement::Deallocate { .. }
            | SessionStatement::DiscardAll
            | SessionStatement::Unlisten
            | SessionStatement::Declare(_)
            | SessionStatement::Close { .. } => Ok(None),
        }
    }

    fn warn(&mut self, code: &'static str, text: &str) {
        let notice = Told::warning(code, text).notice();
        self.put(PgWireBackendMessage::NoticeResponse(notice));
    }
}

/// The read of a cursor.
pub(super) fn cursor_query(cursor: &Cursor) -> Result<Query, Refusal> {
    let mut statements = weir_query::parse(&cursor.query)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Ok(query),
        _ => Err(Refusal::invalid(format!("cursor `{}` has to be for one query", cursor.name))),
    }
}

fn no_cursor(name: &str) -> Told {
    Told::error(code::INVALID_CURSOR_NAME, format!("cursor `{name}` does not exist"))
}

fn show_columns(name: &str, settings: &SessionSettings) -> Result<Vec<Column>, Told> {
    if name == "all" {
        return Ok(["name", "setting", "description"].map(Column::text).to_vec());
    }
    Ok(vec![Column::text(settings.show(name)?.0)])
}

fn put_text_row(values: &[&str], out: &mut Vec<u8>) {
    let short = |length: usize| i32::try_from(length).unwrap_or(i32::MAX);
    out.put_u8(b'D');
    out.put_i32(short(6 + values.iter().map(|value| 4 + value.len()).sum::<usize>()));
    out.put_i16(i16::try_from(values.len()).unwrap_or(i16::MAX));
    for value in values {
        out.put_i32(short(value.len()));
        out.extend_from_slice(value.as_bytes());
    }
}
