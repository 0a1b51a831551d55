//! What `SET` and `SHOW` know. A setting that is not in the table does not exist; none of them touches enforcement.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::timezone::Tz;
use weir_gateway::{Access, AccessError, IMPERSONATE_USER, PROJECT, client_name};
use weir_guard::{Caller, Door};
use weir_model::PrincipalId;
use weir_query::Asked;

use crate::SERVER_VERSION;
use crate::sqlstate::{Told, code};

/// A setting of a connection.
struct Setting {
    /// As shown; compared in lower case.
    name: &'static str,
    default: &'static str,
    /// Its value is sent to the client at the start and after every change.
    reported: bool,
    rule: Rule,
    about: &'static str,
}

/// Which values a setting takes.
enum Rule {
    /// It cannot be set.
    Fixed,
    /// Identity comes from the credential.
    Identity,
    /// One of these, without regard to case; shown as here.
    OneOf(&'static [&'static str]),
    /// `on`, and nothing else; the text says why.
    On(&'static str),
    /// `off`, and nothing else; the text says why.
    Off(&'static str),
    ApplicationName,
    Encoding,
    DateStyle,
    TimeZone,
    /// A number from 1 to 3; digits are always printed so that they read back the same.
    FloatDigits,
    /// Names, separated by commas.
    Names,
    /// A time, in milliseconds without a unit; 0 for none.
    Duration,
    Isolation,
    /// It changes what statements see; the session asks the guard before it takes them over.
    Access,
}

const TRANSACTION_READ_ONLY: &str = "transaction_read_only";

const fn setting(name: &'static str, default: &'static str, rule: Rule, about: &'static str) -> Setting {
    Setting { name, default, reported: false, rule, about }
}

const fn reported(name: &'static str, default: &'static str, rule: Rule, about: &'static str) -> Setting {
    Setting { name, default, reported: true, rule, about }
}

/// Every setting there is, by name.
static TABLE: &[Setting] = &[
    reported("application_name", "", Rule::ApplicationName, "Name of the program, for the audit log."),
    setting("bytea_output", "hex", Rule::OneOf(&["hex"]), "Text form of binary values."),
    reported("client_encoding", "UTF8", Rule::Encoding, "Encoding of text."),
    setting(
        "client_min_messages",
        "notice",
        Rule::OneOf(&["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]),
        "Least severity of messages to the client.",
    ),
    reported("DateStyle", "ISO, MDY", Rule::DateStyle, "Text form of dates."),
    setting("default_table_access_method", "heap", Rule::Fixed, "Has no effect."),
    setting("default_transaction_deferrable", "off", Rule::OneOf(&["on", "off"]), "Has no effect."),
    setting("default_transaction_isolation", "read committed", Rule::Isolation, "Isolation of new transactions."),
    reported(
        "default_transaction_read_only",
        "off",
        Rule::OneOf(&["on", "off"]),
        "Whether statements only read; nothing is written inside of a transaction block.",
    ),
    setting("extra_float_digits", "1", Rule::FloatDigits, "Digits of floating point numbers."),
    setting("idle_in_transaction_session_timeout", "0", Rule::Duration, "Longest pause within a transaction."),
    setting("idle_session_timeout", "0", Rule::Duration, "Longest pause outside of a transaction."),
    reported("in_hot_standby", "off", Rule::Fixed, "Whether the server is a copy of another."),
    reported("integer_datetimes", "on", Rule::Fixed, "Binary form of dates and times."),
    reported("IntervalStyle", "postgres", Rule::OneOf(&["postgres"]), "Text form of intervals."),
    reported("is_superuser", "off", Rule::Identity, "Nobody is."),
    setting("jit", "off", Rule::OneOf(&["on", "off"]), "Has no effect."),
    setting("lc_collate", "C", Rule::Fixed, "Order of text."),
    setting("lc_ctype", "C.UTF-8", Rule::Fixed, "Classes of characters."),
    setting("lock_timeout", "0", Rule::Duration, "Has no effect: reads take no locks."),
    setting("max_identifier_length", "63", Rule::Fixed, "Length of names."),
    setting("max_index_keys", "32", Rule::Fixed, "Has no effect."),
    setting("role", "none", Rule::Identity, "Fixed for the connection."),
    setting("row_security", "on", Rule::On("policies always hold"), "Whether row filters hold."),
    setting("search_path", "\"$user\", public", Rule::Names, "Kept for tools; tables are named with their schema."),
    reported("server_encoding", "UTF8", Rule::Fixed, "Encoding of text in the server."),
    reported("server_version", SERVER_VERSION, Rule::Fixed, "Version of the server."),
    setting("server_version_num", "150000", Rule::Fixed, "Version of the server as a number."),
    reported("session_authorization", "", Rule::Identity, "Whose credential was verified."),
    reported(
        "standard_conforming_strings",
        "on",
        Rule::On("backslashes in strings are plain characters"),
        "Whether backslashes in strings are plain characters.",
    ),
    setting("statement_timeout", "0", Rule::Duration, "Longest time of a statement."),
    setting(
        "synchronize_seqscans",
        "off",
        Rule::Off("the order of rows does not depend on other readers"),
        "Has no effect.",
    ),
    reported("TimeZone", "UTC", Rule::TimeZone, "Zone in which timestamps with time zone are shown."),
    setting("transaction_deferrable", "off", Rule::OneOf(&["on", "off"]), "Has no effect."),
    setting("transaction_isolation", "read committed", Rule::Isolation, "Isolation of this transaction."),
    setting(TRANSACTION_READ_ONLY, "off", Rule::OneOf(&["on", "off"]), "Whether this transaction only reads."),
    setting(IMPERSONATE_USER, "", Rule::Access, "As whom the connection acts, to its end; none when empty."),
    setting(PROJECT, "", Rule::Access, "Project in which the connection works; none when empty."),
];

fn find(name: &str) -> Result<&'static Setting, Told> {
    // Two names that SQL spells apart.
    let name = match name {
        "names" => "client_encoding",
        "time zone" => "timezone",
        other => other,
    };
    TABLE
        .iter()
        .find(|setting| setting.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| Told::error(code::UNDEFINED_OBJECT, format!("unrecognized configuration parameter `{name}`")))
}

/// The settings of one connection.
#[derive(Clone, Debug)]
pub(crate) struct SessionSettings {
    /// What differs from the table.
    values: BTreeMap<&'static str, String>,
    /// What `RESET` goes back to: the table and what the client said at the start.
    initial: BTreeMap<&'static str, String>,
}

impl SessionSettings {
    /// Settings of a connection of `user`, with what its startup packet sets.
    pub(crate) fn new<'a>(user: &str, startup: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Told> {
        let mut settings = Self { values: BTreeMap::new(), initial: BTreeMap::new() };
        settings.values.insert("session_authorization", user.replace(|c: char| c.is_control(), "?"));
        for (name, value) in startup {
            settings.set(name, value)?;
        }
        settings.initial = settings.values.clone();
        Ok(settings)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Told> {
        if ["transaction", "default_transaction"].contains(&name) {
            return value.split(',').try_for_each(|mode| self.set_transaction(name, mode.trim()));
        }
        if value.eq_ignore_ascii_case("default") {
            return self.reset(Some(name));
        }
        let setting = find(name)?;
        let value = setting.rule.check(setting.name, value)?;
        if setting.name == IMPERSONATE_USER {
            self.check_lock(&value)?;
        }
        self.values.insert(setting.name, value);
        Ok(())
    }

    /// One mode of `SET TRANSACTION`, or of `SET SESSION CHARACTERISTICS`, which is about those to come.
    fn set_transaction(&mut self, of: &str, mode: &str) -> Result<(), Told> {
        match (mode, mode.strip_prefix("isolation level ")) {
            (_, Some(level)) => self.set(&format!("{of}_isolation"), level),
            ("read only", None) => self.set(&format!("{of}_read_only"), "on"),
            ("read write", None) => self.set(&format!("{of}_read_only"), "off"),
            (_, None) => {
                Err(Told::error(code::FEATURE_NOT_SUPPORTED, format!("transaction mode `{mode}` is not supported")))
            }
        }
    }

    /// `None` for all.
    pub(crate) fn reset(&mut self, name: Option<&str>) -> Result<(), Told> {
        let Some(name) = name else {
            let impersonated = self.values.remove_entry(IMPERSONATE_USER);
            self.values = self.initial.clone();
            self.values.extend(impersonated);
            return Ok(());
        };
        let setting = find(name)?;
        if setting.name == IMPERSONATE_USER {
            self.check_lock(self.initial.get(IMPERSONATE_USER).map_or("", String::as_str))?;
        }
        match self.initial.get(setting.name) {
            Some(initial) => self.values.insert(setting.name, initial.clone()),
            None => self.values.remove(setting.name),
        };
        Ok(())
    }

    /// Who acts as somebody else does so for the rest of the connection: who shares it later must not get the rights of
    /// the one before.
    fn check_lock(&self, wanted: &str) -> Result<(), Told> {
        let Err(AccessError::Locked(locked)) = self.access().set(IMPERSONATE_USER, wanted) else { return Ok(()) };
        let told = Told::error(
            code::CANNOT_CHANGE_NOW,
            format!("parameter `{IMPERSONATE_USER}` cannot be changed: the connection acts as `{locked}` to its end"),
        );
        Err(told.hint("open another connection"))
    }

    /// Whether a setting of this name changes what statements see.
    pub(crate) fn is_about_access(name: &str) -> bool {
        [PROJECT, IMPERSONATE_USER].iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    pub(crate) fn is_about_identity(name: &str) -> bool {
        IMPERSONATE_USER.eq_ignore_ascii_case(name)
    }

    /// Who asks on the connection, whose credential is that of `authenticated`.
    pub(crate) fn caller(&self, authenticated: PrincipalId) -> Caller {
        self.access().caller(authenticated, Door::Postgres, self.application_name().map(str::to_owned))
    }

    /// In which project and as whom the connection works.
    fn access(&self) -> Access {
        let mut access = Access::default();
        for name in [PROJECT, IMPERSONATE_USER] {
            // Checked when set.
            let _ = access.set(name, self.named(name));
        }
        access
    }

    /// Name as shown and value.
    pub(crate) fn show(&self, name: &str) -> Result<(&'static str, &str), Told> {
        find(name).map(|setting| (setting.name, self.value(setting)))
    }

    /// What statements are told of the connection.
    pub(crate) fn asked(&self) -> Asked {
        let settings = self.show_all().map(|row| row.map(str::to_owned)).collect();
        Asked { zone: self.zone().map(|_| self.zone_name().to_owned()), settings }
    }

    /// Name, value and description of every setting.
    pub(crate) fn show_all(&self) -> impl Iterator<Item = [&str; 3]> {
        TABLE.iter().map(|setting| [setting.name, self.value(setting), setting.about])
    }

    /// What clients are kept informed of.
    pub(crate) fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        TABLE.iter().filter(|setting| setting.reported).map(|setting| (setting.name, self.value(setting)))
    }

    fn value(&self, setting: &Setting) -> &str {
        match self.values.get(setting.name) {
            Some(value) => value,
            // As the session's transactions begin.
            None if setting.name == TRANSACTION_READ_ONLY => self.named("default_transaction_read_only"),
            None => setting.default,
        }
    }

    /// Whether the client asked that nothing be written.
    pub(crate) fn is_read_only(&self) -> bool {
        self.named(TRANSACTION_READ_ONLY) == "on"
    }

    fn named(&self, name: &str) -> &str {
        find(name).map_or("", |setting| self.value(setting))
    }

    pub(crate) fn application_name(&self) -> Option<&str> {
        Some(self.named("application_name")).filter(|name| !name.is_empty())
    }

    pub(crate) fn zone_name(&self) -> &str {
        self.named("TimeZone")
    }

    /// `None` for UTC.
    pub(crate) fn zone(&self) -> Option<Tz> {
        // Checked when set.
        Some(self.zone_name()).filter(|name| *name != "UTC").and_then(|name| name.parse().ok())
    }

    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        duration(self.named("statement_timeout"))
    }

    /// How long a client may pause now.
    pub(crate) fn idle_timeout(&self, in_transaction: bool) -> Option<Duration> {
        duration(self.named(if in_transaction {
            "idle_in_transaction_session_timeout"
        } else {
            "idle_session_timeout"
        }))
    }
}

impl Rule {
    /// The value as it is kept.
    fn check(&self, name: &str, value: &str) -> Result<String, Told> {
        let value = value.trim();
        let invalid =
            || Told::error(code::INVALID_PARAMETER_VALUE, format!("invalid value for parameter `{name}`: `{value}`"));
        match self {
            Rule::Fixed => Err(Told::error(code::CANNOT_CHANGE_NOW, format!("parameter `{name}` cannot be changed"))),
            Rule::Identity => Err(Told::error(
                code::INSUFFICIENT_PRIVILEGE,
                format!("parameter `{name}` cannot be changed: identity is fixed for the connection"),
            )),
            Rule::OneOf(allowed) => {
                let value = if allowed.contains(&"off") { boolean(value).unwrap_or(value) } else { value };
                let known = allowed.iter().find(|known| known.eq_ignore_ascii_case(value));
                known.map(|known| (*known).to_owned()).ok_or_else(invalid)
            }
            Rule::On(why) => only(name, value, "on", why),
            Rule::Off(why) => only(name, value, "off", why),
            Rule::ApplicationName => Ok(client_name(value)),
            Rule::Encoding => {
                // As PostgreSQL does, and some clients put it into quotes.
                let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
                match plain.to_ascii_lowercase().as_str() {
                    "utf8" | "unicode" => Ok("UTF8".to_owned()),
                    _ => Err(Told::error(
                        code::FEATURE_NOT_SUPPORTED,
                        format!("encoding `{value}` is not supported: text is UTF8"),
                    )),
                }
            }
            Rule::DateStyle => date_style(value).ok_or_else(|| {
                Told::error(
                    code::INVALID_PARAMETER_VALUE,
                    format!("date style `{value}` is not supported: dates are ISO"),
                )
            }),
            Rule::TimeZone => time_zone(value).ok_or_else(invalid),
            Rule::FloatDigits => match value {
                "1" | "2" | "3" => Ok(value.to_owned()),
                _ => Err(invalid()),
            },
            Rule::Names => value.split(',').all(is_name).then(|| value.to_owned()).ok_or_else(invalid),
            Rule::Duration => milliseconds(value).map(|ms| ms.to_string()).ok_or_else(invalid),
            Rule::Access => {
                let mut access = Access::default();
                access.set(name, value).map_err(|_| invalid())?;
                Ok(access.get(name).unwrap_or_default())
            }
            Rule::Isolation => match value.to_ascii_lowercase().as_str() {
                known @ ("read committed" | "read uncommitted") => Ok(known.to_owned()),
                "repeatable read" | "serializable" => Err(Told::error(
                    code::FEATURE_NOT_SUPPORTED,
                    format!(
                        "isolation level `{value}` is not supported: every statement reads what is there when it starts"
                    ),
                )),
                _ => Err(invalid()),
            },
        }
    }
}

fn boolean(value: &str) -> Option<&'static str> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some("on"),
        "off" | "false" | "no" | "0" | "f" | "n" => Some("off"),
        _ => None,
    }
}

fn only(name: &str, value: &str, allowed: &'static str, why: &str) -> Result<String, Told> {
    match boolean(value) {
        Some(known) if known == allowed => Ok(known.to_owned()),
        Some(_) => {
            let told = format!("parameter `{name}` can only be `{allowed}`: {why}");
            Err(Told::error(code::FEATURE_NOT_SUPPORTED, told))
        }
        None => Err(Told::error(code::INVALID_PARAMETER_VALUE, format!("parameter `{name}` requires a Boolean value"))),
    }
}

/// `ISO`, an order of the parts, or both.
fn date_style(value: &str) -> Option<String> {
    let mut order = "MDY";
    for part in value.split(',') {
        match part.trim().to_ascii_uppercase().as_str() {
            "ISO" => {}
            "MDY" | "US" | "NONEURO" | "NONEUROPEAN" => order = "MDY",
            "DMY" | "EURO" | "EUROPEAN" => order = "DMY",
            "YMD" => order = "YMD",
            _ => return None,
        }
    }
    Some(format!("ISO, {order}"))
}

/// A name of the time zone database. Offsets are refused: PostgreSQL and everybody else disagree about their sign.
fn time_zone(value: &str) -> Option<String> {
    let name = match value.to_ascii_uppercase().as_str() {
        "UTC" | "GMT" | "Z" | "DEFAULT" | "LOCAL" => "UTC",
        _ => value,
    };
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic());
    (named && name.parse::<Tz>().is_ok()).then(|| name.to_owned())
}

/// A plain or quoted name.
fn is_name(part: &str) -> bool {
    let part = part.trim();
    let bare = part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(part);
    !bare.is_empty() && bare.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-' | ' '))
}

/// A whole number with or without a unit.
fn milliseconds(value: &str) -> Option<i32> {
    let unit_at = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at_checked(unit_at)?;
    let number: i64 = number.parse().ok()?;
    let ms = match unit.trim() {
        "us" => number / 1_000,
        "" | "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "min" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        "d" => number.checked_mul(86_400_000)?,
        _ => return None,
    };
    i32::try_from(ms).ok()
}

/// `None` for no limit.
fn duration(value: &str) -> Option<Duration> {
    value.parse().ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> SessionSettings {
        SessionSettings::new("tara", [("application_name", "psql")]).unwrap()
    }

    #[test]
    fn names_are_unique_and_defaults_hold_their_own_rules() {
        let mut names: Vec<_> = TABLE.iter().map(|setting| setting.name.to_ascii_lowercase()).collect();
        names.dedup();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
        for setting in TABLE {
            if !matches!(setting.rule, Rule::Fixed | Rule::Identity) {
                assert_eq!(setting.rule.check(setting.name, setting.default).as_deref(), Ok(setting.default));
            }
        }
    }

    #[test]
    fn what_is_allowed_is_kept_and_shown() {
        let cases = [
            ("timezone", "Europe/Berlin", "Europe/Berlin"),
            ("time zone", "utc", "UTC"),
            ("datestyle", "iso, dmy", "ISO, DMY"),
            ("client_encoding", "utf-8", "UTF8"),
            ("extra_float_digits", "3", "3"),
            ("search_path", "retail, \"$user\"", "retail, \"$user\""),
            ("statement_timeout", "5s", "5000"),
            ("statement_timeout", "2 min", "120000"),
            ("transaction_read_only", "true", "on"),
            ("datestyle", "DEFAULT", "ISO, MDY"),
            ("row_security", "on", "on"),
            ("default_transaction_isolation", "READ COMMITTED", "read committed"),
            ("standard_conforming_strings", "1", "on"),
        ];
        for (name, value, shown) in cases {
            let mut settings = settings();
            settings.set(name, value).unwrap();
            assert_eq!(settings.show(name).unwrap().1, shown, "{name}");
        }
    }

    #[test]
    fn what_is_not_allowed_is_refused_with_its_code() {
        let cases = [
            ("no_such_setting", "1", "42704"),
            ("weir.off", "1", "42704"),
            ("role", "oona", "42501"),
            ("session_authorization", "oona", "42501"),
            ("is_superuser", "on", "42501"),
            ("server_version", "99", "55P02"),
            ("client_encoding", "LATIN1", "0A000"),
            ("datestyle", "German", "22023"),
            ("timezone", "+02:00", "22023"),
            ("timezone", "Mars/Olympus", "22023"),
            ("extra_float_digits", "-15", "22023"),
            ("search_path", "a;drop", "22023"),
            ("statement_timeout", "-1", "22023"),
            ("statement_timeout", "30000000000", "22023"),
            ("row_security", "off", "0A000"),
            ("transaction_read_only", "perhaps", "22023"),
            ("transaction_isolation", "serializable", "0A000"),
            ("transaction", "isolation level serializable, read only", "0A000"),
            ("transaction", "snapshot", "0A000"),
            ("standard_conforming_strings", "off", "0A000"),
            ("bytea_output", "escape", "22023"),
        ];
        for (name, value, code) in cases {
            assert_eq!(settings().set(name, value).unwrap_err().code, code, "{name}");
        }
    }

    #[test]
    fn reset_goes_back_to_what_the_client_started_with() {
        let mut settings = settings();
        settings.set("application_name", "other\u{7}").unwrap();
        settings.set("statement_timeout", "1").unwrap();
        assert_eq!(settings.application_name(), Some("other?"));
        assert_eq!(settings.statement_timeout(), Some(Duration::from_millis(1)));
        settings.reset(Some("application_name")).unwrap();
        assert_eq!(settings.application_name(), Some("psql"));
        settings.reset(None).unwrap();
        assert_eq!(settings.statement_timeout(), None);
        assert_eq!(settings.show("session_authorization").unwrap().1, "tara");
        assert_eq!(settings.reset(Some("nothing")).unwrap_err().code, "42704");
    }

    #[test]
    fn a_transaction_only_reads_when_it_says_so_or_the_session_does() {
        let mut settings = settings();
        assert!(!settings.is_read_only());
        settings.set("default_transaction", "read only").unwrap();
        assert_eq!(settings.show(TRANSACTION_READ_ONLY).unwrap().1, "on");
        assert!(settings.is_read_only());
        settings.set("transaction", "isolation level read committed, read write").unwrap();
        assert!(!settings.is_read_only());
        settings.reset(None).unwrap();
        settings.set("transaction", "read only").unwrap();
        assert!(settings.is_read_only());
    }

    #[test]
    fn drivers_are_told_what_they_ask_for() {
        let settings = settings();
        let names: Vec<_> = settings.reported().map(|(name, _)| name).collect();
        for name in [
            "server_version",
            "server_encoding",
            "client_encoding",
            "DateStyle",
            "TimeZone",
            "integer_datetimes",
            "standard_conforming_strings",
            "is_superuser",
            "session_authorization",
            "in_hot_standby",
            "default_transaction_read_only",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }
}
