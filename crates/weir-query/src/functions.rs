//! Functions that say who reads, on which connection, and what the catalogue that the reader sees holds.

mod catalogue;
mod names;
mod rights;

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility, create_udf,
};
use datafusion::sql::sqlparser::ast::{Expr as Sql, ObjectName, Query, visit_expressions};
use weir_model::PrincipalId;

use crate::catalogue::System;

/// For clients that look for a version of PostgreSQL in it.
const VERSION: &str = concat!("PostgreSQL 15.0 (Weir ", env!("CARGO_PKG_VERSION"), ")");

const WHO: [&str; 5] = ["current_user", "session_user", "user", "current_role", "version"];

/// What a function answers for one row.
type Answer = fn(&System, &[ScalarValue]) -> Result<ScalarValue>;

/// A function of PostgreSQL's catalogue: its name, the fewest and the most arguments, its type, and what it answers.
struct Function {
    name: &'static str,
    arguments: (usize, usize),
    returns: DataType,
    answer: Answer,
}

const fn function(name: &'static str, arguments: (usize, usize), returns: DataType, answer: Answer) -> Function {
    Function { name, arguments, returns, answer }
}

fn all() -> impl Iterator<Item = &'static Function> {
    catalogue::FUNCTIONS.iter().chain(names::FUNCTIONS).chain(rights::FUNCTIONS)
}

/// The names of all that is added here.
pub(crate) fn names() -> BTreeSet<&'static str> {
    WHO.into_iter().chain(all().map(|function| function.name)).collect()
}

/// `current_user` and its like, of one statement, whose rights hold; and `version`.
pub(crate) fn register(state: &mut SessionState, principal: &PrincipalId) -> Result<()> {
    let name = principal.to_string();
    for function in WHO {
        let answer = if function == "version" { VERSION } else { &name };
        let answer = ScalarValue::Utf8(Some(answer.to_owned()));
        let answer = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(answer.clone()));
        let udf = create_udf(function, vec![], DataType::Utf8, Volatility::Stable, Arc::new(answer));
        state.register_udf(Arc::new(udf))?;
    }
    Ok(())
}

/// Those functions of the catalogue that a statement calls.
pub(crate) fn called(query: &Query) -> Vec<&'static str> {
    let mut called = BTreeSet::new();
    let _ = visit_expressions(query, |expr| {
        if let Sql::Function(call) = expr {
            called.extend(last(&call.name));
        }
        ControlFlow::<()>::Continue(())
    });
    all().map(|function| function.name).filter(|name| called.contains(*name)).collect()
}

fn last(name: &ObjectName) -> Option<String> {
    Some(name.0.last()?.as_ident()?.value.to_lowercase())
}

/// Makes them known to one statement.
pub(crate) fn register_called(state: &mut SessionState, called: &[&'static str], system: &System) -> Result<()> {
    for function in all().filter(|function| called.contains(&function.name)) {
        let (least, most) = function.arguments;
        let counts = (least..=most).map(|n| if n == 0 { TypeSignature::Nullary } else { TypeSignature::Any(n) });
        let signature = Signature::one_of(counts.collect(), Volatility::Stable);
        let udf = Udf { function, signature, system: system.clone() };
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(udf)))?;
    }
    Ok(())
}

struct Udf {
    function: &'static Function,
    signature: Signature,
    system: System,
}

impl std::fmt::Debug for Udf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.function.name)
    }
}

/// Within a statement there is one of each name.
impl PartialEq for Udf {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for Udf {}

impl Hash for Udf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for Udf {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.function.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let answer = |row: usize| {
            let value = |arg: &ColumnarValue| match arg {
                ColumnarValue::Scalar(value) => Ok(value.clone()),
                ColumnarValue::Array(array) => ScalarValue::try_from_array(array, row),
            };
            let values = args.args.iter().map(value).collect::<Result<Vec<_>>>()?;
            (self.function.answer)(&self.system, &values)
        };
        if args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) {
            return answer(0).map(ColumnarValue::Scalar);
        }
        if args.number_rows == 0 {
            let none = datafusion::arrow::array::new_empty_array(&self.function.returns);
            return Ok(ColumnarValue::Array(none));
        }
        let answers = (0..args.number_rows).map(answer).collect::<Result<Vec<_>>>()?;
        ScalarValue::iter_to_array(answers).map(ColumnarValue::Array)
    }
}

fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

const fn no_text() -> ScalarValue {
    ScalarValue::Utf8(None)
}

/// The text of an argument; `None` for NULL.
#[expect(clippy::wildcard_enum_match_arm, reason = "what is not text is printed")]
fn as_text(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => text.clone(),
        other if other.is_null() => None,
        other => Some(other.to_string()),
    }
}

/// The object id in an argument; `None` for NULL and for what is none.
fn as_oid(value: &ScalarValue) -> Option<i32> {
    as_text(value)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once() {
        assert_eq!(names().len(), WHO.len() + all().count());
    }
}
