//! Limits on a statement before it is parsed.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use weir_guard::{Outside, Refusal, Truth};

/// Longest statement of any door, in bytes; doors may set a lower limit of their own.
const BYTES_MAX: usize = 4 << 20;
/// Operators build trees as deep as they are many (`a OR b OR c`), which the parser's own limit does not see.
const OPERATORS_MAX: usize = 5_000;

pub(super) fn check(text: &str) -> Result<(), Refusal> {
    let too_much = |text: String| Refusal::new(Outside::TooMuch { text: text.clone() }, Truth::Limit, text);
    if text.len() > BYTES_MAX {
        return Err(too_much(format!("the statement is longer than {BYTES_MAX} bytes")));
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize();
    // What cannot be cut into tokens is a syntax error, which parsing reports with its place.
    let operators = tokens.iter().flatten().filter(|token| is_operator(token)).count();
    if operators > OPERATORS_MAX {
        return Err(too_much(format!("the statement has more than {OPERATORS_MAX} operators; use IN for long lists")));
    }
    Ok(())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only what builds depth is counted")]
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::JOIN
                | Keyword::CASE
        ),
        Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::DoubleColon
        | Token::LBracket
        | Token::Arrow
        | Token::LongArrow
        | Token::Caret
        | Token::Pipe
        | Token::Ampersand
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq => true,
        _ => false,
    }
}
