//! Functions that say who reads.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use weir_model::PrincipalId;

/// `current_user`, `session_user` and `user` of one statement: whose rights hold.
pub(crate) fn register_identity(state: &mut SessionState, principal: &PrincipalId) -> Result<()> {
    let name = principal.to_string();
    for function in ["current_user", "session_user", "user"] {
        let name = name.clone();
        let answer = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name.clone()))));
        let udf = create_udf(function, vec![], DataType::Utf8, Volatility::Stable, Arc::new(answer));
        state.register_udf(Arc::new(udf))?;
    }
    Ok(())
}
