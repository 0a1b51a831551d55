//! From a policy to YAML.

use weir_model::{PrincipalSet, Value};

use crate::ast::{
    Action, Approver, At, Body, Certification, Circumstance, Circumstances, Columns, Condition, MaskAction, Match,
    MatchColumn, Merge, Method, Policy, Randomized, RoundTo, RowCondition, Rule, Scope, Subscribers, Test, TimeWindow,
};
use crate::language::{print, value};

/// Longest line that a list or mapping is written on, in characters.
const LINE_CHARS_MAX: usize = 100;

enum Yaml {
    /// Ready to be written.
    Scalar(String),
    List(Vec<Yaml>),
    Map(Vec<(&'static str, Yaml)>),
}

pub(crate) fn policy(policy: &Policy) -> String {
    let mut fields = vec![("policy", text(policy.key.as_str()))];
    fields.extend(policy.title.as_ref().map(|title| ("title", text(title))));
    if policy.priority != 0 {
        fields.push(("priority", word(&policy.priority.to_string())));
    }
    if policy.staged {
        fields.push(("staged", word("true")));
    }
    if policy.template {
        fields.push(("template", word("true")));
    }
    fields.extend(
        policy.certification.as_ref().map(|certification| ("certification", self::certification(certification))),
    );
    match &policy.statement.body {
        Body::Subscribe(subscribe) => {
            let who = match &subscribe.who {
                Subscribers::Anyone => word("anyone"),
                Subscribers::Selected => word("selected"),
                Subscribers::When(condition) => Yaml::Map(vec![("when", self::condition(condition))]),
                Subscribers::Asking(approvers) => Yaml::Map(vec![("asking", list(approvers, approver))]),
            };
            fields.push(("subscribe", who));
            match subscribe.merge {
                Merge::Share => {}
                Merge::Require => fields.push(("merge", word("require"))),
            }
        }
        Body::Data(cascade) => {
            let mut rules = cascade.rules.iter().map(rule);
            fields.extend(rules.next().into_iter().flatten());
            let otherwise: Vec<Yaml> = rules.map(Yaml::Map).collect();
            if !otherwise.is_empty() {
                fields.push(("otherwise", Yaml::List(otherwise)));
            }
        }
    }
    let on = match &policy.statement.on {
        Circumstances::AllSources => None,
        Circumstances::Named(names) => Some(("data_sources", list(names, |name| text(&name.node.to_string())))),
        Circumstances::Any(parts) => Some(("any", list(parts, circumstance))),
        Circumstances::All(parts) => Some(("all", list(parts, circumstance))),
    };
    fields.extend(on.map(|on| ("on", Yaml::Map(vec![on]))));
    let mut out = String::new();
    block_map(&fields, 0, &mut out);
    out
}

fn certification(certification: &Certification) -> Yaml {
    let mut fields = vec![("text", text(&certification.text))];
    fields.extend(certification.label.as_ref().map(|label| ("label", text(label))));
    if !certification.tags.is_empty() {
        fields.push(("tags", Yaml::List(certification.tags.iter().map(|tag| text(tag.as_str())).collect())));
    }
    Yaml::Map(fields)
}

fn approver(approver: &Approver) -> Yaml {
    Yaml::Map(vec![match approver {
        Approver::Owner => return word("owner"),
        Approver::Holder(permission) => ("permission", word(permission.as_str())),
        Approver::Person(id) => ("user", text(&id.to_string())),
    }])
}

fn rule(rule: &Rule) -> Vec<(&'static str, Yaml)> {
    let action = match &rule.action {
        Action::Mask(mask) => ("mask", self::mask(mask)),
        Action::ShowRows(rows) => ("rows", self::rows(rows)),
        Action::LimitToPurposes(purposes) => {
            ("limit_to_purposes", list(purposes, |purpose| text(purpose.node.as_str())))
        }
    };
    let scope = match &rule.scope {
        Scope::Everyone => word("everyone"),
        Scope::EveryoneExcept(condition) => Yaml::Map(vec![("except", self::condition(condition))]),
        Scope::Who(condition) => Yaml::Map(vec![("who", self::condition(condition))]),
    };
    vec![action, ("for", scope)]
}

fn mask(mask: &MaskAction) -> Yaml {
    let columns = match &mask.columns {
        Columns::Named(names) => list(names, |name| text(name.node.as_str())),
        Columns::Tagged(tag) => Yaml::Map(vec![("tagged", text(tag.node.as_str()))]),
        Columns::AnyTag => word("any-tag"),
        Columns::NoTags => word("no-tags"),
        Columns::All => word("all"),
        Columns::NamedLike { pattern, case_insensitive } => named_like("named_like", &pattern.node, *case_insensitive),
    };
    let mut fields = vec![("columns", columns), ("using", method(&mask.method))];
    fields.extend((!mask.or_else.is_empty()).then(|| ("or_else", list(&mask.or_else, method))));
    fields.extend(mask.when.as_ref().map(|when| ("where", text(&print::predicate(when)))));
    Yaml::Map(fields)
}

fn method(method: &At<Method>) -> Yaml {
    match &method.node {
        Method::Hash => word("hash"),
        Method::Null => word("null"),
        Method::Constant(value) => Yaml::Map(vec![("constant", constant(value))]),
        Method::Round(RoundTo::Number(number)) => Yaml::Map(vec![("round", word(number))]),
        Method::Round(RoundTo::Calendar(unit)) => Yaml::Map(vec![("round", word(unit.as_str()))]),
        Method::RoundByProfile => Yaml::Map(vec![("round", word("profile"))]),
        Method::Regex { pattern, replacement, case_insensitive, global } => {
            let mut regex = vec![("pattern", text(pattern)), ("replacement", text(replacement))];
            regex.extend(case_insensitive.then(|| ("case_insensitive", word("true"))));
            regex.extend(global.then(|| ("global", word("true"))));
            Yaml::Map(vec![("regex", Yaml::Map(regex))])
        }
        Method::Reversible => word("reversible"),
        Method::FormatPreserving => word("format-preserving"),
        Method::KAnonymous(least) => Yaml::Map(vec![("k_anonymous", word(&least.to_string()))]),
        Method::Randomized(randomized) => Yaml::Map(vec![("randomized", self::randomized(randomized))]),
        Method::Custom(expression) => Yaml::Map(vec![("custom", text(&print::predicate(expression)))]),
    }
}

fn randomized(randomized: &Randomized) -> Yaml {
    Yaml::Map(match randomized {
        Randomized::Replaced { percent, by } => vec![("replace", word(percent)), ("by", list(by, constant))],
        Randomized::Within(distance) => vec![("within", word(distance))],
        Randomized::WithinDays(days) => vec![("within_days", word(&days.to_string()))],
    })
}

fn rows(rows: &RowCondition) -> Yaml {
    match rows {
        RowCondition::Where(predicate) => Yaml::Map(vec![("where", text(&print::predicate(predicate)))]),
        RowCondition::Time(TimeWindow { newer, ago }) => {
            let ago = Yaml::Map(vec![(value::plural(ago.unit), word(&ago.amount.to_string()))]);
            Yaml::Map(vec![(if *newer { "newer_than" } else { "older_than" }, ago)])
        }
        RowCondition::Sample(percent) => Yaml::Map(vec![("sample", word(&percent.node))]),
        RowCondition::Match { user, column } => {
            let user = match user {
                Match::Group => word("group"),
                Match::Purpose => word("purpose"),
                Match::Attribute(key) => Yaml::Map(vec![("attribute", text(key.node.as_str()))]),
            };
            let column = match column {
                MatchColumn::Named(name) => text(name.node.as_str()),
                MatchColumn::Tagged(tag) => Yaml::Map(vec![("tagged", text(tag.node.as_str()))]),
            };
            Yaml::Map(vec![("match", user), ("column", column)])
        }
    }
}

fn condition(condition: &Condition) -> Yaml {
    Yaml::Map(vec![match condition {
        Condition::Any(parts) => ("any", list(parts, self::condition)),
        Condition::All(parts) => ("all", list(parts, self::condition)),
        Condition::Test(Test::Owner) => return word("owner"),
        Condition::Test(Test::MemberOf(group)) => ("group", text(group.node.as_str())),
        Condition::Test(Test::UnderPurpose(purpose)) => ("purpose", text(purpose.node.as_str())),
        Condition::Test(Test::Permitted(permission)) => ("permission", word(permission.as_str())),
        Condition::Test(Test::HasAttribute { key, value }) => {
            ("attribute", Yaml::Map(vec![("key", text(key.node.as_str())), ("value", text(value))]))
        }
    }])
}

fn circumstance(circumstance: &Circumstance) -> Yaml {
    match circumstance {
        Circumstance::SourceTagged(tag) => Yaml::Map(vec![("source_tagged", text(tag.node.as_str()))]),
        Circumstance::ColumnTagged(tag) => Yaml::Map(vec![("column_tagged", text(tag.node.as_str()))]),
        Circumstance::ColumnNamedLike { pattern, case_insensitive } => {
            named_like("column_named_like", &pattern.node, *case_insensitive)
        }
        Circumstance::NoTags => word("no-tags"),
        Circumstance::AnyTag => word("any-tag"),
        Circumstance::InSchema(schema) => Yaml::Map(vec![("in_schema", text(&schema.node))]),
        Circumstance::OwnedBy(owner) => {
            let owner = match owner {
                PrincipalSet::User(id) => ("user", text(&id.to_string())),
                PrincipalSet::Group(group) => ("group", text(group.as_str())),
            };
            Yaml::Map(vec![("owned_by", Yaml::Map(vec![owner]))])
        }
        Circumstance::ChosenByOwner => word("chosen-by-owner"),
    }
}

fn named_like(key: &'static str, pattern: &str, case_insensitive: bool) -> Yaml {
    let mut fields = vec![(key, text(pattern))];
    fields.extend(case_insensitive.then(|| ("case_insensitive", word("true"))));
    Yaml::Map(fields)
}

fn constant(value: &Value) -> Yaml {
    // SQL writes these in quotes after their type.
    let in_quotes = |value: &Value| text(value.to_string().split('\'').nth(1).unwrap_or(""));
    match value {
        Value::Null => word("null"),
        Value::Boolean(true) => word("true"),
        Value::Boolean(false) => word("false"),
        Value::Int(_) | Value::Number(_) => Yaml::Scalar(value.to_string()),
        Value::Text(value) => Yaml::Scalar(double_quoted(value)),
        Value::Date(_) => Yaml::Map(vec![("date", in_quotes(value))]),
        Value::Timestamp(_) => Yaml::Map(vec![("timestamp", in_quotes(value))]),
    }
}

fn list<T>(items: &[T], write: impl FnMut(&T) -> Yaml) -> Yaml {
    Yaml::List(items.iter().map(write).collect())
}

fn word(word: &str) -> Yaml {
    Yaml::Scalar(word.to_owned())
}

/// A text that no reader of YAML takes for anything else.
fn text(text: &str) -> Yaml {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    let letter = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let meaning = words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if letter && text.chars().all(plain) && !text.ends_with(' ') && !meaning {
        word(text)
    } else {
        Yaml::Scalar(double_quoted(text))
    }
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            ' '..='~' => out.push(c),
            _ if c.is_alphanumeric() => out.push(c),
            // Marks, separators and what cannot be seen.
            _ => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

fn flow(yaml: &Yaml) -> String {
    match yaml {
        Yaml::Scalar(scalar) => scalar.clone(),
        Yaml::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Yaml::Map(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("{key}: {}", flow(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Whether it is better written over several lines.
fn is_long(yaml: &Yaml, indent: usize) -> bool {
    flow(yaml).chars().count() + indent > LINE_CHARS_MAX
}

fn block_map(fields: &[(&'static str, Yaml)], indent: usize, out: &mut String) {
    for (i, (key, value)) in fields.iter().enumerate() {
        if i > 0 {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        out.push_str(key);
        out.push(':');
        // The action is what one looks for, so it is always spread out.
        let action = matches!(*key, "mask" | "rows");
        match value {
            Yaml::Map(inner) if action || is_long(value, indent + key.len()) => {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent + 2));
                block_map(inner, indent + 2, out);
            }
            Yaml::List(items) if is_long(value, indent + key.len()) => {
                out.push('\n');
                block_list(items, indent + 2, out);
            }
            Yaml::Scalar(_) | Yaml::List(_) | Yaml::Map(_) => {
                out.push(' ');
                out.push_str(&flow(value));
                out.push('\n');
            }
        }
    }
}

fn block_list(items: &[Yaml], indent: usize, out: &mut String) {
    for item in items {
        out.extend(std::iter::repeat_n(' ', indent));
        out.push_str("- ");
        match item {
            Yaml::Map(fields) if is_long(item, indent) => block_map(fields, indent + 2, out),
            Yaml::Scalar(_) | Yaml::List(_) | Yaml::Map(_) => {
                out.push_str(&flow(item));
                out.push('\n');
            }
        }
    }
}
