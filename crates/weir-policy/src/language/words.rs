//! The words of the language, and which text can stand as a bare name among them.

/// Words that are read as part of the sentence, so that a name spelled like one is quoted.
const RESERVED: &[&str] = &[
    "all",
    "and",
    "as",
    "between",
    "by",
    "else",
    "except",
    "everyone",
    "exists",
    "false",
    "for",
    "from",
    "ilike",
    "in",
    "is",
    "like",
    "not",
    "null",
    "on",
    "or",
    "otherwise",
    "select",
    "tagged",
    "that",
    "the",
    "true",
    "user",
    "using",
    "when",
    "where",
    "who",
    "with",
];

pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

pub(super) fn starts_word(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

pub(super) fn continues_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length in bytes of the word that `text` starts with: letters, digits and underscores, with hyphens between them.
pub(super) fn word_len(text: &str) -> usize {
    let mut chars = text.char_indices().peekable();
    if !chars.next().is_some_and(|(_, c)| starts_word(c)) {
        return 0;
    }
    while let Some((at, c)) = chars.next() {
        let hyphen = c == '-' && chars.peek().is_some_and(|(_, next)| continues_word(*next));
        if !continues_word(c) && !hyphen {
            return at;
        }
    }
    text.len()
}

/// Whether a name can be written without quotes.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && word_len(name) == name.len() && !is_reserved(name)
}

/// The candidate that `word` was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    // Longer words are no names of anything here, and comparing them takes long.
    if word.len() > 64 {
        return None;
    }
    let near = candidates.into_iter().map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate));
    let (distance, candidate) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + candidate.chars().count() / 5 && distance < candidate.chars().count()).then_some(candidate)
}

/// How many characters are to be added, dropped, replaced, or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (i, x) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&last, j) + usize::from(x != *y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = j > 0 && previous == Some(*y) && b.get(j - 1) == Some(&x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
        previous = Some(x);
    }
    last.last().copied().unwrap_or(0)
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn alternatives(items: &[impl AsRef<str>]) -> String {
    match items {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [head @ .., last] => {
            let head: Vec<&str> = head.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", head.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("hasing", ["hashing", "null"]), Some("hashing"));
        assert_eq!(nearest("MAKS", ["mask", "only"]), Some("mask"));
        assert_eq!(nearest("elephant", ["mask", "only"]), None);
        assert_eq!(nearest("x", ["a"]), None);
        assert_eq!(distance("abcd", "acbd"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn plain_names_are_words_of_no_meaning() {
        assert!(is_plain("ssn") && is_plain("first_name") && is_plain("Home-Goods") && is_plain("größe"));
        for name in ["", "Home Goods", "for", "FOR", "1a", "-a", "a-", "a--b", "a.b"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
