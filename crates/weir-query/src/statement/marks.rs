//! Parameters that are written as question marks.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError};

/// With a number in the place of each mark, in order. A mark that touches an operator is part of it for PostgreSQL.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever holds no mark stays as it is")]
pub(super) fn numbered(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, TokenizerError> {
    let (mut numbered, mut marks) = (Vec::with_capacity(tokens.len()), 0);
    for TokenWithSpan { token, span } in tokens {
        let operator = match &token {
            Token::Question => Some(""),
            Token::CustomBinaryOperator(operator) => operator.strip_suffix('?'),
            _ => None,
        };
        let Some(operator) = operator else {
            numbered.push(TokenWithSpan { token, span });
            continue;
        };
        marks += 1;
        let mark = Token::Placeholder(format!("${marks}"));
        let parts = Tokenizer::new(&PostgreSqlDialect {}, operator).tokenize()?;
        numbered.extend(parts.into_iter().chain([mark]).map(|token| TokenWithSpan { token, span }));
    }
    Ok(numbered)
}
