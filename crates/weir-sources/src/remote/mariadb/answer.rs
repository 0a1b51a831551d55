//! The rows of an answer: read over there by a task of its own, some at a time, and taken over by whoever asked.

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result;
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::super::calendar;
use super::super::gather::{Column, Gathering, Unread};
use super::super::pool::{Lease, Session};
use super::super::scan::{Query, Rows, failed};
use super::super::sql::Param;

/// Rows on their way at once, and bytes of their values.
const ROWS_MAX: usize = 512;
const BYTES_MAX: usize = 1 << 20;

/// Some rows, of which none are the end, or why there are none.
type Some = std::result::Result<Vec<Row>, String>;

struct Answer {
    rows: Receiver<Some>,
    gathering: Gathering,
    /// Of the rows that came last.
    left: std::vec::IntoIter<Row>,
    ended: bool,
}

pub(crate) fn rows(lease: Lease, query: &Query) -> Result<Rows> {
    let gathering = Gathering::new(query)?;
    let params: Vec<Value> = query.params.iter().map(value).collect();
    let (to, rows) = channel(1);
    lease.handle().spawn(read(lease, query.text.clone(), params, to));
    let answer = Answer { rows, gathering, left: Vec::new().into_iter(), ended: false };
    Ok(Box::pin(futures::stream::try_unfold(answer, |mut answer| async move {
        Ok(answer.batch().await?.map(|batch| (batch, answer)))
    })))
}

/// What is not part of the text.
fn value(param: &Param) -> Value {
    match param {
        Param::Text(text) => Value::Bytes(text.clone().into_bytes()),
        Param::Bytea(bytes) => Value::Bytes(bytes.clone()),
        Param::Bool(b) => Value::Int((*b).into()),
        Param::Int2(n) => Value::Int((*n).into()),
        Param::Int4(n) => Value::Int((*n).into()),
        Param::Int8(n) => Value::Int(*n),
        Param::Date(_) | Param::Time(_) | Param::Timestamp { .. } | Param::Numeric { .. } | Param::Keys(_) => {
            Value::NULL
        }
    }
}

/// Until the end, or until nobody wants them any more: then the lease is given back while it is busy.
async fn read(mut lease: Lease, text: String, params: Vec<Value>, to: Sender<Some>) {
    let read = async {
        let Some(Session::Mariadb(session)) = lease.begin() else { return Err("there is no session".to_owned()) };
        let conn = session.conn();
        let statement = conn.prep(text).await.map_err(|e| e.to_string())?;
        let params = if params.is_empty() { Params::Empty } else { Params::Positional(params) };
        let mut answer = conn.exec_iter(&statement, params).await.map_err(|e| e.to_string())?;
        let (mut some, mut bytes) = (Vec::new(), 0);
        while let Some(row) = answer.next().await.map_err(|e| e.to_string())? {
            bytes += size(&row);
            some.push(row);
            if some.len() >= ROWS_MAX || bytes >= BYTES_MAX {
                bytes = 0;
                to.send(Ok(std::mem::take(&mut some))).await.map_err(|e| e.to_string())?;
            }
        }
        drop(answer);
        conn.close(statement).await.map_err(|e| e.to_string())?;
        Ok(some)
    };
    let read = tokio::select! {
        read = read => read,
        () = to.closed() => return,
    };
    match read {
        Ok(last) => {
            lease.done();
            drop(lease);
            if last.is_empty() || to.send(Ok(last)).await.is_ok() {
                let _ = to.send(Ok(Vec::new())).await;
            }
        }
        Err(why) => {
            let _ = to.send(Err(why)).await;
        }
    }
}

fn size(row: &Row) -> usize {
    let bytes = |place| match row.as_ref(place) {
        Some(Value::Bytes(bytes)) => bytes.len() + size_of::<Value>(),
        Some(_) | None => size_of::<Value>(),
    };
    (0..row.len()).map(bytes).sum()
}

impl Answer {
    /// The next rows; nothing once the database has said that there are no more.
    async fn batch(&mut self) -> Result<Option<RecordBatch>> {
        while !self.ended && !self.gathering.is_full() {
            let Some(row) = self.left.next() else {
                let some = self.rows.recv().await.ok_or_else(|| failed("the answer broke off".to_owned()))?;
                let some = some.map_err(failed)?;
                self.ended = some.is_empty();
                self.left = some.into_iter();
                continue;
            };
            if row.len() != self.gathering.columns().max(1) {
                return Err(failed("the answer has other columns than it was asked for".to_owned()));
            }
            self.gathering.row(size(&row), |place, column| add(column, row.as_ref(place)))?;
        }
        self.gathering.batch()
    }
}

fn add(column: &mut Column, value: Option<&Value>) -> std::result::Result<(), Unread> {
    match (column, value.ok_or(Unread::Malformed)?) {
        (column, Value::NULL) => column.add_null(),
        (Column::Float32(to), Value::Float(n)) => to.append_value(*n),
        (Column::Float64(to), Value::Double(n)) => to.append_value(*n),
        (Column::Text(to), Value::Bytes(b)) => {
            to.append_value(std::str::from_utf8(b).map_err(|_| Unread::OutOfType)?);
        }
        (Column::Binary(to), Value::Bytes(b)) => to.append_value(b),
        (Column::Date(to), Value::Date(year, month, day, 0, 0, 0, 0)) => {
            to.append_value(calendar::days(*year, *month, *day).ok_or(Unread::OutOfType)?);
        }
        (Column::Timestamp(to), Value::Date(year, month, day, hour, minute, second, micros)) => {
            let days = calendar::days(*year, *month, *day).ok_or(Unread::OutOfType)?;
            let micros = calendar::micros(*hour, *minute, *second, *micros).ok_or(Unread::OutOfType)?;
            to.append_value(calendar::at(days, micros));
        }
        // It is a length of time over there, which may be longer than a day.
        (Column::Time(to), Value::Time(false, 0, hour, minute, second, micros)) => {
            to.append_value(calendar::micros(*hour, *minute, *second, *micros).ok_or(Unread::OutOfType)?);
        }
        (Column::Time(_), Value::Time(..)) => return Err(Unread::OutOfType),
        (column, Value::Int(n)) => return column.add_whole((*n).into()),
        (column, Value::UInt(n)) => return column.add_whole((*n).into()),
        (column, Value::Bytes(digits)) => return column.add_decimal(digits),
        (_, Value::Float(_) | Value::Double(_) | Value::Date(..) | Value::Time(..)) => return Err(Unread::Malformed),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType as Arrow, TimeUnit};

    use super::*;

    #[test]
    fn values_that_there_is_no_day_or_time_of_are_not_taken_over() {
        let of = |arrow: Arrow, value: Value| add(&mut Column::new(&arrow, false, 1).unwrap(), Some(&value));
        let timestamp = || Arrow::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(of(Arrow::Date32, Value::Date(2020, 2, 29, 0, 0, 0, 0)), Ok(()));
        assert_eq!(of(Arrow::Date32, Value::Date(0, 0, 0, 0, 0, 0, 0)), Err(Unread::OutOfType));
        assert_eq!(of(Arrow::Date32, Value::Date(2020, 0, 1, 0, 0, 0, 0)), Err(Unread::OutOfType));
        assert_eq!(of(timestamp(), Value::Date(2020, 1, 1, 23, 59, 59, 999_999)), Ok(()));
        assert_eq!(of(timestamp(), Value::Date(0, 0, 0, 0, 0, 0, 0)), Err(Unread::OutOfType));
        let time = || Arrow::Time64(TimeUnit::Microsecond);
        assert_eq!(of(time(), Value::Time(false, 0, 23, 0, 0, 0)), Ok(()));
        assert_eq!(of(time(), Value::Time(false, 1, 0, 0, 0, 0)), Err(Unread::OutOfType));
        assert_eq!(of(time(), Value::Time(true, 0, 1, 0, 0, 0)), Err(Unread::OutOfType));
        assert_eq!(of(Arrow::Utf8, Value::Bytes(vec![0xff])), Err(Unread::OutOfType));
        assert_eq!(of(Arrow::Int32, Value::Bytes(b"1".to_vec())), Err(Unread::Malformed));
        assert_eq!(of(Arrow::Int32, Value::Int(1 << 40)), Err(Unread::OutOfType));
    }
}
