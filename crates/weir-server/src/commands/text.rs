//! Texts that commands read from files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, bail};

/// Much more than a text with policies may have.
const BYTES_MAX: u64 = 64 << 20;

/// The text of the file, or of standard input for `-`. What is no text is said, with the place.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        return text(std::io::stdin().lock(), "standard input");
    }
    let name = path.display().to_string();
    text(File::open(path).with_context(|| format!("cannot read {name}"))?, &name)
}

fn text(from: impl Read, name: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    from.take(BYTES_MAX + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > BYTES_MAX {
        bail!("{name} has more than {} MiB, which is too long for a text", BYTES_MAX >> 20);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(e) => {
            let good = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            bail!("{name} is no text in UTF-8: what is wrong is in line {line}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_told_with_its_line() {
        assert_eq!(text(&b"a\nb"[..], "x").unwrap(), "a\nb");
        let wrong = text(&b"a\nb\xff\n"[..], "x").unwrap_err();
        assert_eq!(wrong.to_string(), "x is no text in UTF-8: what is wrong is in line 2");
        let long = text(std::io::repeat(b'a'), "x").unwrap_err();
        assert_eq!(long.to_string(), "x has more than 64 MiB, which is too long for a text");
    }
}
