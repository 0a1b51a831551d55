//! Functions that say who reads, and what answers.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use weir_model::PrincipalId;

/// For clients that look for a version of PostgreSQL in it.
const VERSION: &str = concat!("PostgreSQL 15.0 (Weir ", env!("CARGO_PKG_VERSION"), ")");

/// `current_user`, `session_user` and `user` of one statement, whose rights hold; and `version`.
pub(crate) fn register(state: &mut SessionState, principal: &PrincipalId) -> Result<()> {
    let name = principal.to_string();
    let answers = [("current_user", name.as_str()), ("session_user", &name), ("user", &name), ("version", VERSION)];
    for (function, answer) in answers {
        let answer = ScalarValue::Utf8(Some(answer.to_owned()));
        let answer = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(answer.clone()));
        let udf = create_udf(function, vec![], DataType::Utf8, Volatility::Stable, Arc::new(answer));
        state.register_udf(Arc::new(udf))?;
    }
    // They tell where files are, and how many rows there are before one.
    for told in ["input_file_name", "file_row_index"] {
        state.deregister_udf(told)?;
    }
    Ok(())
}
