//! The rows of an answer that is on its way.

use std::pin::Pin;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result;
use futures::StreamExt;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Column, RowStream};

use super::super::gather::{Gathering, Unread};
use super::super::pool::{Lease, Session};
use super::super::scan::{Query, Rows, failed};
use super::params::sql_type;
use super::session::chain;
use super::wire;

struct Answer {
    // Before the lease, which is not busy any more when they have ended.
    rows: Pin<Box<RowStream>>,
    lease: Lease,
    gathering: Gathering,
    expected: Vec<Type>,
    begun: bool,
    ended: bool,
}

pub(crate) async fn rows(mut lease: Lease, query: Query) -> Result<Rows> {
    let gathering = Gathering::new(&query)?;
    let types = query.sent.iter().zip(query.schema.fields());
    let expected = types.map(|(sent, field)| wire::sql_type(field.data_type(), sent.sum));
    let expected =
        expected.collect::<Option<_>>().ok_or_else(|| failed("a type is none of PostgreSQL's".to_owned()))?;
    let Some(Session::Postgresql(session)) = lease.begin() else {
        return Err(failed("there is no session".to_owned()));
    };
    let params = query.params.iter().map(|param| (param, sql_type(param)));
    let rows = session.client().query_typed_raw(&query.text, params).await.map_err(|e| failed(chain(&e)))?;
    let answer = Answer { rows: Box::pin(rows), lease, gathering, expected, begun: false, ended: false };
    Ok(Box::pin(futures::stream::try_unfold(answer, |mut answer| async move {
        Ok(answer.batch().await?.map(|batch| (batch, answer)))
    })))
}

impl Answer {
    /// The next rows; nothing once the database has said that there are no more.
    async fn batch(&mut self) -> Result<Option<RecordBatch>> {
        while !self.ended && !self.gathering.is_full() {
            let Some(row) = self.rows.next().await else {
                self.ended = true;
                self.lease.done();
                break;
            };
            let row = row.map_err(|e| failed(chain(&e)))?;
            if !self.begun {
                // That the answer has the columns that it was asked for.
                if !row.columns().iter().map(Column::type_).eq(&self.expected) {
                    return Err(failed("the answer has columns of other types than the table had".to_owned()));
                }
                self.begun = true;
            }
            self.gathering.row(row.raw_size_bytes(), |number, column| {
                match row.try_get::<_, Option<Raw<'_>>>(number).map_err(|_| Unread::Malformed)? {
                    Some(Raw(bytes)) => wire::add(column, bytes),
                    None => {
                        column.add_null();
                        Ok(())
                    }
                }
            })?;
        }
        self.gathering.batch()
    }
}

/// The bytes of a value.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
