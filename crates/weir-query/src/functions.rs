//! Functions that say who reads, and what answers.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use weir_model::PrincipalId;

/// For clients that look for a version of PostgreSQL in it.
const VERSION: &str = concat!("PostgreSQL 15.0 (Weir ", env!("CARGO_PKG_VERSION"), ")");

/// What [`register`] adds.
pub(crate) const NAMES: [&str; 4] = ["current_user", "session_user", "user", "version"];

/// `current_user`, `session_user` and `user` of one statement, whose rights hold; and `version`.
pub(crate) fn register(state: &mut SessionState, principal: &PrincipalId) -> Result<()> {
    let name = principal.to_string();
    for (function, answer) in NAMES.into_iter().zip([name.as_str(), &name, &name, VERSION]) {
        let answer = ScalarValue::Utf8(Some(answer.to_owned()));
        let answer = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(answer.clone()));
        let udf = create_udf(function, vec![], DataType::Utf8, Volatility::Stable, Arc::new(answer));
        state.register_udf(Arc::new(udf))?;
    }
    Ok(())
}
