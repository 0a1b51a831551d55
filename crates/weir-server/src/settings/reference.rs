use std::fmt::Write;

use super::definitions;

/// `docs/settings.md`.
pub(crate) fn reference() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         <!-- Generated from crates/weir-server/src/settings.def.toml by `weir config docs`. -->\n\n\
         Settings are read from `weir.toml` in the data directory, or from the file that `--config` or `WEIR_CONFIG` names.\n\
         An environment variable wins over the file, a flag over both.\n\
         Relative paths in a file start at the file, all others at the working directory.\n\
         A key that is not on this page is an error, and so is a variable that looks like a setting and is none.\n\
         Two variables are not settings: `WEIR_CONFIG` names the file, and `WEIR_PASSWORD` is the password that `weir sql` logs in with.\n\
         `weir config show --sources` prints what each setting is and where that was written; `weir config check` finds mistakes.\n\n\
         No setting switches enforcement off, and none holds a secret.\n",
    );
    for definition in definitions() {
        // Writing to a text cannot fail.
        let _ = write!(
            page,
            "\n## `{}`\n\n{}\n\n| | |\n| --- | --- |\n| type | {} |\n| default | {} |\n| environment | `{}` |\n",
            definition.key,
            definition.doc,
            definition.type_text(),
            definition.default.as_ref().map_or_else(|| "absent".to_owned(), |default| format!("`{default}`")),
            definition.variable(),
        );
    }
    page
}
