//! The rows of an answer, read by a thread of its own: SQLite works where it is called.

use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use tokio::sync::mpsc::{Sender, channel};

use super::super::calendar;
use super::super::gather::{Column, Gathering, Unread};
use super::super::pool::{Lease, Session};
use super::super::scan::{Query, Rows, failed};
use super::super::sql::{Param, digits};

/// Steps of a statement after which it is asked whether somebody still waits for it.
const STEPS: i32 = 10_000;

/// The next batch, or that there are no more.
type Next = Result<Option<RecordBatch>>;

pub(crate) fn rows(lease: Lease, query: Query) -> Result<Rows> {
    let gathering = Gathering::new(&query)?;
    let (to, next) = channel(1);
    lease.handle().spawn_blocking(move || read(lease, &query, gathering, &to));
    Ok(Box::pin(futures::stream::try_unfold(next, |mut next| async move {
        match next.recv().await {
            Some(batch) => Ok(batch?.map(|batch| (batch, next))),
            None => Err(failed("the answer broke off".to_owned())),
        }
    })))
}

/// Until the end, or until nobody wants them any more: then the lease is given back while it is busy.
fn read(mut lease: Lease, query: &Query, mut gathering: Gathering, to: &Sender<Next>) {
    let read = match lease.begin() {
        Some(Session::Sqlite(session)) => gather(session.connection(), query, &mut gathering, to),
        Some(Session::Postgresql(_) | Session::Mariadb(_)) | None => Err(failed("there is no session".to_owned())),
    };
    let last = match read {
        Ok(true) => gathering.batch(),
        Ok(false) => return,
        Err(e) => Err(e),
    };
    if last.is_ok() {
        lease.done();
    }
    drop(lease);
    let end = matches!(last, Ok(Some(_)));
    if to.blocking_send(last).is_ok() && end {
        let _ = to.blocking_send(Ok(None));
    }
}

/// Whether the end was come to.
fn gather(connection: &Connection, query: &Query, gathering: &mut Gathering, to: &Sender<Next>) -> Result<bool> {
    let listening = to.clone();
    let why = |e: rusqlite::Error| failed(e.to_string());
    connection.progress_handler(STEPS, Some(move || listening.is_closed())).map_err(why)?;
    let gathered = (|| {
        let mut statement = connection.prepare(&query.text).map_err(why)?;
        if statement.column_count() != gathering.columns().max(1) {
            return Err(failed("the answer has other columns than it was asked for".to_owned()));
        }
        let mut rows = statement.query(params_from_iter(&query.params)).map_err(why)?;
        while let Some(row) = rows.next().map_err(why)? {
            let mut bytes = 0;
            gathering.row(0, |place, column| {
                let value = row.get_ref(place).map_err(|_| Unread::Malformed)?;
                bytes += match value {
                    ValueRef::Text(b) | ValueRef::Blob(b) => b.len(),
                    ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => size_of::<i64>(),
                };
                add(column, value)
            })?;
            gathering.took(bytes);
            if gathering.is_full() && to.blocking_send(gathering.batch()).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    })();
    connection.progress_handler(0, None::<fn() -> bool>).map_err(why)?;
    gathered
}

impl ToSql for Param {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Param::Bool(b) => ToSqlOutput::Owned(Value::Integer((*b).into())),
            Param::Int2(n) => ToSqlOutput::Owned(Value::Integer((*n).into())),
            Param::Int4(n) => ToSqlOutput::Owned(Value::Integer((*n).into())),
            Param::Int8(n) => ToSqlOutput::Owned(Value::Integer(*n)),
            Param::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Param::Bytea(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Param::Date(days) => ToSqlOutput::Owned(Value::Text(calendar::date(*days))),
            Param::Time(micros) => ToSqlOutput::Owned(Value::Text(calendar::time(*micros))),
            Param::Timestamp { micros, .. } => ToSqlOutput::Owned(Value::Text(calendar::timestamp(*micros))),
            Param::Numeric { units, scale } => {
                let number = digits(*units, *scale).parse();
                ToSqlOutput::Owned(Value::Real(number.map_err(|e| {
                    rusqlite::Error::ToSqlConversionFailure(Box::new(DataFusionError::External(Box::new(e))))
                })?))
            }
            Param::Keys(keys) => {
                let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
                ToSqlOutput::Owned(Value::Text(format!("[{}]", keys.join(","))))
            }
        })
    }
}

/// A value of any type, whatever is declared.
fn add(column: &mut Column, value: ValueRef<'_>) -> std::result::Result<(), Unread> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Unread::OutOfType);
    match (column, value) {
        (column, ValueRef::Null) => column.add_null(),
        (Column::Float64(to), ValueRef::Real(n)) => to.append_value(n),
        (Column::Text(to), ValueRef::Text(b)) => to.append_value(text(b)?),
        (Column::Binary(to), ValueRef::Blob(b)) => to.append_value(b),
        (Column::Date(to), ValueRef::Text(b)) => {
            to.append_value(calendar::read_date(text(b)?).ok_or(Unread::OutOfType)?);
        }
        (Column::Time(to), ValueRef::Text(b)) => {
            to.append_value(calendar::read_time(text(b)?).ok_or(Unread::OutOfType)?);
        }
        (Column::Timestamp(to), ValueRef::Text(b)) => {
            to.append_value(calendar::read_timestamp(text(b)?).ok_or(Unread::OutOfType)?);
        }
        // The digits that are enough to tell it from other numbers, as it was written.
        (column @ (Column::Decimal128(..) | Column::Decimal256(..)), ValueRef::Real(n)) => {
            return column.add_decimal(n.to_string().as_bytes());
        }
        (column @ (Column::Decimal128(..) | Column::Decimal256(..)), ValueRef::Integer(n)) => {
            return column.add_decimal(n.to_string().as_bytes());
        }
        (column, ValueRef::Integer(n)) => return column.add_whole(n.into()).map_err(|_| Unread::OutOfType),
        (_, ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_)) => return Err(Unread::OutOfType),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType as Arrow;

    use super::*;

    #[test]
    fn values_of_other_types_than_the_declared_are_not_taken_over() {
        let of = |arrow: Arrow, value: ValueRef<'_>| add(&mut Column::new(&arrow, false, 1).unwrap(), value);
        let decimal = || Arrow::Decimal128(4, 2);
        assert_eq!(of(decimal(), ValueRef::Real(0.1)), Ok(()));
        assert_eq!(of(decimal(), ValueRef::Integer(99)), Ok(()));
        for number in [ValueRef::Real(0.125), ValueRef::Real(f64::INFINITY), ValueRef::Integer(100)] {
            assert_eq!(of(decimal(), number), Err(Unread::OutOfType));
        }
        assert_eq!(of(Arrow::Int64, ValueRef::Real(1.0)), Err(Unread::OutOfType));
        assert_eq!(of(Arrow::Int16, ValueRef::Integer(40_000)), Err(Unread::OutOfType));
        assert_eq!(of(Arrow::Int64, ValueRef::Text(b"abc")), Err(Unread::OutOfType));
        assert_eq!(of(Arrow::Utf8, ValueRef::Integer(1)), Err(Unread::OutOfType));
        assert_eq!(of(Arrow::Utf8, ValueRef::Text(&[0xff])), Err(Unread::OutOfType));
        assert_eq!(of(Arrow::Float64, ValueRef::Integer(1)), Err(Unread::OutOfType));
        assert_eq!(of(Arrow::Date32, ValueRef::Text(b"2020-01-01")), Ok(()));
        assert_eq!(of(Arrow::Date32, ValueRef::Text(b"2020-1-1")), Err(Unread::OutOfType));
    }
}
