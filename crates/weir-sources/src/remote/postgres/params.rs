//! Parameters as PostgreSQL wants them.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::super::sql::Param;
use super::{EPOCH_DAYS, EPOCH_MICROS, numeric};

pub(super) fn sql_type(param: &Param) -> Type {
    match param {
        Param::Bool(_) => Type::BOOL,
        Param::Int2(_) => Type::INT2,
        Param::Int4(_) => Type::INT4,
        Param::Int8(_) => Type::INT8,
        Param::Text(_) => Type::TEXT,
        Param::Bytea(_) => Type::BYTEA,
        Param::Date(_) => Type::DATE,
        Param::Time(_) => Type::TIME,
        Param::Timestamp { zoned: false, .. } => Type::TIMESTAMP,
        Param::Timestamp { zoned: true, .. } => Type::TIMESTAMPTZ,
        Param::Numeric { .. } => Type::NUMERIC,
        Param::Keys(_) => Type::INT8_ARRAY,
    }
}

/// In PostgreSQL's binary format.
impl ToSql for Param {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        if *ty != sql_type(self) {
            return Err(format!("a parameter of type {} is given for {ty}", sql_type(self)).into());
        }
        match self {
            Param::Bool(b) => out.put_u8(u8::from(*b)),
            Param::Int2(n) => out.put_i16(*n),
            Param::Int4(n) => out.put_i32(*n),
            Param::Int8(n) => out.put_i64(*n),
            Param::Text(text) => out.put_slice(text.as_bytes()),
            Param::Bytea(bytes) => out.put_slice(bytes),
            Param::Date(days) => out.put_i32(days.checked_sub(EPOCH_DAYS).ok_or("a date out of range")?),
            Param::Time(micros) => out.put_i64(*micros),
            Param::Timestamp { micros, .. } => {
                out.put_i64(micros.checked_sub(EPOCH_MICROS).ok_or("a timestamp out of range")?);
            }
            Param::Numeric { units, scale } => numeric::write(*units, *scale, out),
            Param::Keys(keys) => return keys.to_sql(ty, out),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
