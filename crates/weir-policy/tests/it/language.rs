//! The policy language: round trips, diagnostics as data, hostile input, and the examples of its reference.

mod generate;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use weir_policy::Diagnostic;
use weir_policy::ast::{Action, Body, Columns, Condition, Method, Policy, Predicate, RowCondition, Scope, Statement};
use weir_policy::language::{self, Spelling};

use generate::Random;

/// From the crate to the root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn one(text: &str) -> Policy {
    let parsed = language::parse(text);
    assert!(parsed.diagnostics.is_empty(), "{text}\n{}", render(text, &parsed.diagnostics));
    assert_eq!(parsed.policies.len(), 1, "{text}");
    parsed.policies.into_iter().next().unwrap()
}

#[test]
fn the_two_sentences_of_the_seed_read_and_print_as_they_stand() {
    let mask = "Mask using hashing the column ssn for everyone";
    let rows =
        "Only show rows where user is a member of group that matches the value in the column department for everyone";
    for sentence in [mask, rows] {
        let policy = one(sentence);
        assert_eq!(language::to_english(&policy), sentence);
        assert_eq!(one(&language::to_yaml(&policy)), policy);
    }
    let policy = one(mask);
    assert_eq!(policy.key.as_str(), "mask-using-hashing-the-column-ssn-for-everyone");
    let Body::Data(cascade) = &policy.statement.body else { panic!("{policy:?}") };
    let Action::Mask(action) = &cascade.rules[0].action else { panic!("{policy:?}") };
    assert_eq!(action.method.node, Method::Hash);
    let span = action.method.span.unwrap();
    assert_eq!(mask.get(span.start..span.end), Some("using hashing"));
    let Columns::Named(names) = &action.columns else { panic!("{policy:?}") };
    let span = names[0].span.unwrap();
    assert_eq!(mask.get(span.start..span.end), Some("ssn"));
}

#[test]
fn other_wordings_mean_the_same() {
    for (canonical, others) in [
        (
            "Mask using hashing the column ssn for everyone",
            &[
                "mask USING hashing the Column `ssn` for\neveryone on all data sources.",
                "Mask the column ssn using hashing for everyone.",
                "-- a remark\n\nMask using hashing\n# another\nthe column \"ssn\" for everyone",
            ][..],
        ),
        (
            "Mask using hashing values in columns tagged PII for everyone except when user is a member of group admins",
            &[
                "Mask columns tagged PII using hashing for everyone except members of group admins",
                "Mask using hashing values in the columns tagged PII for everyone except users in the group admins",
            ],
        ),
        (
            "Only show rows where user is a member of group that matches the value in the column c for everyone",
            &["Only show rows where user is a member of a group that matches the value in the column c for everyone"],
        ),
        (
            "Only show rows where a != 1 for everyone who is a member of group g or is an owner of the data source",
            &[
                "Only show rows where a<>1 for everyone who (user is a member of group g) or (user is an owner of the data source)",
            ],
        ),
        (
            "Mask with format preserving masking the column ssn for everyone",
            &["Mask the column ssn with format-preserving masking for everyone"],
        ),
        (
            "Mask using randomized response within 1 day the column born for everyone",
            &["Mask the column born using randomized response within 1 days for everyone"],
        ),
        (
            "Only show data by time where data is older than 1 year for everyone",
            &["only show data by time where data is older than 1 years for everyone"],
        ),
        (
            "Only show rows where user is acting under a purpose that matches the value in the column c for everyone",
            &["Only show rows where user is acting under purpose that matches the value in the column c for everyone"],
        ),
        (
            "Only show rows where a <= lower(b) and c = 1 for everyone",
            &[
                "Only show rows where @interpolatedComparison(a, '<=', lower(b)) and @INTERPOLATEDCOMPARISON(c,'=',1) for everyone",
            ],
        ),
        ("Limit usage to purpose Research for everyone", &["limit usage to purpose(s) Research for everyone"]),
        (
            "Limit usage to purposes Research.Cancer, Fraud for everyone except when user has permission audit",
            &[
                "Limit usage to purpose(s) Research.Cancer or Fraud for everyone except when user has the permission audit",
            ],
        ),
        (
            "Mask using hashing the column ssn for everyone on data sources chosen by their owners",
            &[
                "Mask using hashing the column ssn for everyone when selected by data owners",
                "Mask using hashing the column ssn for everyone on data sources when selected by data owners",
            ],
        ),
        (
            "Allow anyone to subscribe on data sources chosen by their owners and tagged Retail",
            &["Allow anyone to subscribe when selected by data owners and on data sources tagged Retail"],
        ),
        (
            "Allow anyone who asks to subscribe with approval by user okta:jane.doe",
            &[
                "Allow anyone who asks to subscribe with approval by user \"okta:jane.doe\"",
                "Allow anyone who asks to subscribe with approval by user okta:\"jane.doe\"",
            ],
        ),
    ] {
        for other in others {
            assert_eq!(one(other), one(canonical), "{other}");
        }
    }
}

/// Each form as it is printed, and the same in YAML.
#[test]
fn both_spellings_of_a_form_are_written_as_they_stand() {
    let mask = |using: &str| format!("mask:\n  columns: [c]\n  using: {using}\nfor: everyone\n");
    let rows = |rows: &str| format!("rows:\n  {rows}\nfor: everyone\n");
    let on = |on: &str| format!("{}on: {{any: [{on}]}}\n", mask("hash"));
    for (sentence, yaml) in [
        ("Mask with reversibility the column c for everyone", mask("reversible")),
        ("Mask by rounding using the profile the column c for everyone", mask("{round: profile}")),
        (
            "Only show rows where @groupsContains(c, 'x') OR @purposesContains(c, '') OR @attributeValuesContains('k', c, 'it''s') for everyone",
            rows(
                "where: \"@groupsContains(c, 'x') OR @purposesContains(c, '') OR @attributeValuesContains('k', c, 'it''s')\"",
            ),
        ),
        (
            "Only show rows where @interpolatedComparison(c, '<=', '{{{username}/{attribute:a.b}') for everyone",
            rows("where: \"@interpolatedComparison(c, '<=', '{{{username}/{attribute:a.b}')\""),
        ),
        ("Mask with format preserving masking the column c for everyone", mask("format-preserving")),
        ("Mask with k-anonymization 5 the column c for everyone", mask("{k_anonymous: 5}")),
        (
            "Mask using randomized response replacing 2.50% by 'a', 1, NULL the column c for everyone",
            mask("{randomized: {replace: 2.50, by: [\"a\", 1, null]}}"),
        ),
        ("Mask using randomized response within 0.5 the column c for everyone", mask("{randomized: {within: 0.5}}")),
        (
            "Mask using randomized response within 7 days the column c for everyone",
            mask("{randomized: {within_days: 7}}"),
        ),
        (
            "Mask using the custom function concat(left(@column, 3), '*') the column c for everyone",
            mask("{custom: \"concat(left(@column, 3), '*')\"}"),
        ),
        (
            "Mask using the custom function if(right(trim(@column), 1) = 'x', NULL, @column) the column c for everyone",
            mask("{custom: \"if(right(trim(@column), 1) = 'x', NULL, @column)\"}"),
        ),
        ("Only show data by time where data is more recent than 30 days for everyone", rows("newer_than: {days: 30}")),
        ("Only show data by time where data is older than 1 month for everyone", rows("older_than: {months: 1}")),
        ("Only show 0.5% of the data for everyone", rows("sample: 0.5")),
        (
            "Only show rows where user is acting under a purpose that matches the value in the column tagged T for everyone",
            rows("match: purpose\n  column: {tagged: T}"),
        ),
        (
            "Only show rows where @isUsingPurpose('p') OR @purposesContains(c) for everyone",
            rows("where: \"@isUsingPurpose('p') OR @purposesContains(c)\""),
        ),
        ("Limit usage to purpose Research for everyone", "limit_to_purposes: [Research]\nfor: everyone\n".to_owned()),
        (
            "Limit usage to purposes Research, Fraud for everyone except when user has permission user-admin",
            "limit_to_purposes: [Research, Fraud]\nfor: {except: {permission: user-admin}}\n".to_owned(),
        ),
        (
            "Allow anyone who asks to subscribe with approval by an owner and by a holder of governance and by user greg",
            "subscribe: {asking: [owner, {permission: governance}, {user: greg}]}\n".to_owned(),
        ),
        ("Mask using hashing the column c for everyone on data sources with no tags", on("no-tags")),
        ("Mask using hashing the column c for everyone on data sources with any tag", on("any-tag")),
        ("Mask using hashing the column c for everyone on data sources in schema retail", on("{in_schema: retail}")),
        (
            "Mask using hashing the column c for everyone on data sources owned by user oona or owned by group stewards",
            on("{owned_by: {user: oona}}, {owned_by: {group: stewards}}"),
        ),
        ("Mask using hashing the column c for everyone on data sources chosen by their owners", on("chosen-by-owner")),
    ] {
        for (header, fields) in [
            ("policy p:", ""),
            ("policy p priority -5:", "priority: -5\n"),
            ("policy p \"T\" priority 1 staged:", "title: T\npriority: 1\nstaged: true\n"),
            ("policy p template:", "template: true\n"),
            ("policy p certification 'it''s':", "certification: {text: \"it's\"}\n"),
            (
                "policy p \"T\" priority 1 staged template certification 'x y' label 'z' tags A.B, \"C d\":",
                "title: T\npriority: 1\nstaged: true\ntemplate: true\n\
                 certification: {text: x y, label: z, tags: [A.B, C d]}\n",
            ),
        ] {
            let (english, yaml) = (format!("{header}\n{sentence}"), format!("policy: p\n{fields}{yaml}"));
            let policy = one(&english);
            assert_eq!(language::to_english(&policy), english);
            assert_eq!(language::to_yaml(&policy), yaml);
            assert_eq!(one(&yaml), policy, "{yaml}");
        }
        assert_eq!(language::to_english(&one(sentence)), sentence);
    }
    assert_eq!(one("policy p priority 0:\nAllow anyone to subscribe").priority, 0);
}

#[test]
fn keys_of_sentences_differ_when_the_sentences_do() {
    let key = |text: &str| one(text).key;
    let less = key("Only show rows where a < 1 for everyone");
    assert_ne!(less, key("Only show rows where a > 1 for everyone"));
    assert_eq!(less, key("only show rows   where a<1 for everyone."));
    assert!(less.as_str().len() <= 60);
    assert_ne!(
        key("Mask using hashing the column SSN for everyone"),
        key("Mask using hashing the column ssn for everyone")
    );
}

#[test]
fn one_text_holds_many_policies_and_every_mistake_is_told() {
    let text = "policy a \"The A\" staged:\nMask using hashing the column x for everyone\n\
                policy b: Mask using hasing the column x for everyone\n\nMask by making null the column y for everyone. \
                Show all.\nOnly show rows where a = 1 for everyone";
    let parsed = language::parse(text);
    let keys: Vec<&str> = parsed.policies.iter().map(|policy| policy.key.as_str()).collect();
    assert_eq!(keys.first(), Some(&"a"));
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert_eq!(parsed.policies[0].title.as_deref(), Some("The A"));
    assert!(parsed.policies[0].staged);
    assert_eq!(parsed.diagnostics.len(), 2, "{}", render(text, &parsed.diagnostics));
}

#[test]
fn the_spelling_is_found_out() {
    for (text, spelling) in [
        ("Mask", Spelling::English),
        ("", Spelling::English),
        ("policy p:\nMask", Spelling::English),
        ("-- note: x\npolicy p: Mask", Spelling::English),
        ("policy: p", Spelling::Yaml),
        ("# note\n\nmask:", Spelling::Yaml),
        ("---\npolicy: p", Spelling::Yaml),
        ("- policy: p", Spelling::Yaml),
        ("{policy: p}", Spelling::Yaml),
    ] {
        assert_eq!(language::parse(text).spelling, spelling, "{text}");
    }
}

/// What is written is read as the same policy, and written the same again, in both spellings.
#[test]
fn nothing_is_lost_in_either_spelling() {
    for seed in 0..6_000 {
        let policy = generate::policy(&mut Random::new(seed));
        let english = language::to_english(&policy);
        let read = language::parse(&english);
        assert_eq!(read.spelling, Spelling::English, "seed {seed}\n{english}");
        assert!(read.diagnostics.is_empty(), "seed {seed}\n{english}\n{}", render(&english, &read.diagnostics));
        assert_eq!(read.policies, std::slice::from_ref(&policy), "seed {seed}\n{english}");
        assert_eq!(language::to_english(&read.policies[0]), english, "seed {seed}");

        let yaml = language::to_yaml(&policy);
        let read = language::parse(&yaml);
        assert_eq!(read.spelling, Spelling::Yaml, "seed {seed}\n{yaml}");
        assert!(read.diagnostics.is_empty(), "seed {seed}\n{yaml}\n{}", render(&yaml, &read.diagnostics));
        assert_eq!(read.policies, [policy], "seed {seed}\n{yaml}");
        assert_eq!(language::to_yaml(&read.policies[0]), yaml, "seed {seed}");
    }
}

#[test]
fn many_policies_are_told_apart_in_one_text() {
    let mut random = Random::new(1);
    let mut policies: Vec<Policy> = Vec::new();
    while policies.len() < 200 {
        let policy = generate::policy(&mut random);
        if policies.iter().all(|other| other.key != policy.key) {
            policies.push(policy);
        }
    }
    let english: String = policies.iter().map(|policy| language::to_english(policy) + ".\n").collect();
    assert_eq!(language::parse_english(&english).policies, policies);
    let yaml: Vec<String> = policies.iter().map(language::to_yaml).collect();
    assert_eq!(language::parse_yaml(&yaml.join("---\n")).policies, policies);
}

/// Whatever comes in, an answer comes out, and its places lie in the text.
#[test]
fn hostile_input_is_answered() {
    let check = |text: &str| {
        for parsed in [language::parse_english(text), language::parse_yaml(text)] {
            assert!(!parsed.policies.is_empty() || !parsed.diagnostics.is_empty(), "{text:?}");
            for at in parsed.diagnostics.iter().filter_map(|diagnostic| diagnostic.at) {
                assert!(text.get(at.start..at.end).is_some(), "{at:?} in {text:?}");
            }
        }
        let _ = language::parse_predicate(text);
    };
    let mut random = Random::new(7);
    for _ in 0..3_000 {
        let bytes: Vec<u8> = (0..random.below(80)).map(|_| random.next() as u8).collect();
        check(&String::from_utf8_lossy(&bytes));
        check(&generate::tokens(&mut random));
        // A right text with a piece cut out or doubled.
        let policy = generate::policy(&mut random);
        let text = if random.flip() { language::to_english(&policy) } else { language::to_yaml(&policy) };
        let mut chars: Vec<char> = text.chars().collect();
        let (from, to) = (random.below(chars.len()), random.below(chars.len()));
        let piece: Vec<char> = chars[from.min(to)..from.max(to)].to_vec();
        if random.flip() {
            chars.drain(from.min(to)..from.max(to));
        } else {
            chars.splice(from..from, piece);
        }
        check(&chars.into_iter().collect::<String>());
    }
    for hostile in [
        "(",
        "NOT ",
        "[",
        "{a: ",
        "- ",
        "a.",
        "lower(",
        "x IN (SELECT ",
        "'",
        "\"",
        "? ",
        "&a ",
        "user is a member of group g or (",
    ] {
        check(&hostile.repeat(20_000));
        check(&format!("Only show rows where {}", hostile.repeat(20_000)));
        check(&format!("Allow users to subscribe when {}", hostile.repeat(10_000)));
        check(&format!("rows: {{where: \"{}\"}}", hostile.replace('"', "'").repeat(10_000)));
    }
    check(&"x".repeat((1 << 20) + 1));
}

#[test]
fn a_text_of_many_megabytes_is_not_read() {
    let text = "Allow anyone to subscribe.\n".repeat(400_000);
    for parsed in [language::parse(&text), language::parse_english(&text), language::parse_yaml(&text)] {
        assert!(parsed.policies.is_empty());
        let [found] = parsed.diagnostics.as_slice() else { panic!("{:?}", parsed.diagnostics) };
        assert_eq!(found.message, "the text has 10800000 bytes; at most 1048576 are read");
    }
    assert_eq!(language::parse_predicate(&text).unwrap_err().code, "policy::too-long");
}

#[test]
fn a_long_list_is_read() {
    let values: Vec<String> = (0..50_000).map(|n| format!("'{n}'")).collect();
    let policy = one(&format!("Only show rows where c IN ({}) for everyone", values.join(", ")));
    let Body::Data(cascade) = &policy.statement.body else { panic!("{policy:?}") };
    let Action::ShowRows(RowCondition::Where(Predicate::In { list, .. })) = &cascade.rules[0].action else { panic!() };
    assert_eq!(list.len(), 50_000);
}

/// Files under `tests/golden/diagnostics/language`: a text, a line `=====`, and what is said about it. `WEIR_ACCEPT=1`
/// writes the second part anew.
#[test]
fn diagnostics_are_as_recorded() {
    let accept = std::env::var_os("WEIR_ACCEPT").is_some_and(|value| value == "1");
    let folder = root().join("tests/golden/diagnostics/language");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut wrong = String::new();
    for file in &files {
        let recorded = fs::read_to_string(file).unwrap();
        let (input, expected) = recorded.split_once("\n=====\n").unwrap_or((recorded.trim_end_matches('\n'), ""));
        let rendered = render(input, &language::parse(input).diagnostics);
        assert!(!rendered.is_empty(), "{} has nothing wrong", file.display());
        if accept {
            fs::write(file, format!("{input}\n=====\n{rendered}")).unwrap();
        } else if rendered != expected {
            writeln!(wrong, "{}:\n--- recorded\n{expected}--- now\n{rendered}", file.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(files.len() >= 25, "{} files in {}", files.len(), folder.display());
}

/// Every block marked `policy` or `yaml` in the reference is read without complaint. Blocks that follow each other as a
/// pair of spellings are one policy.
#[test]
fn the_examples_of_the_reference_are_true() {
    let text = fs::read_to_string(root().join("docs/policy-language.md")).unwrap();
    let mut before: Option<(Spelling, Vec<Statement>)> = None;
    let mut pairs = 0;
    let mut blocks = text.split("```");
    let mut between = blocks.next().unwrap();
    while let (Some(block), Some(after)) = (blocks.next(), blocks.next()) {
        let (marker, example) = block.split_once('\n').unwrap();
        let spelling = match marker.trim() {
            "policy" => Spelling::English,
            "yaml" => Spelling::Yaml,
            "predicate" => {
                for line in example.lines().filter(|line| !line.is_empty()) {
                    assert!(language::parse_predicate(line).is_ok(), "{line}");
                }
                (before, between) = (None, after);
                continue;
            }
            other => panic!("a block marked `{other}`"),
        };
        let parsed = language::parse(example);
        assert!(parsed.diagnostics.is_empty(), "{example}\n{}", render(example, &parsed.diagnostics));
        assert_eq!(parsed.spelling, spelling, "{example}");
        let statements: Vec<Statement> = parsed.policies.into_iter().map(|policy| policy.statement).collect();
        match before.take() {
            Some((Spelling::English, english)) if spelling == Spelling::Yaml && between.trim().is_empty() => {
                assert_eq!(statements, english, "{example}");
                pairs += 1;
            }
            _ => before = Some((spelling, statements)),
        }
        between = after;
    }
    assert!(pairs >= 10, "{pairs} pairs of spellings");
}

/// The deepest that English takes, YAML takes too.
#[test]
fn the_deepest_condition_is_read_in_both_spellings() {
    let mut condition = "user is an owner of the data source or user is a member of group g".to_owned();
    for level in 0..32 {
        let operator = if level % 2 == 0 { "and" } else { "or" };
        condition = format!("({condition}) {operator} user is acting under purpose p");
    }
    let policy = one(&format!("Allow users to subscribe when {condition}"));
    assert_eq!(one(&language::to_yaml(&policy)), policy);
    assert_eq!(one(&language::to_english(&policy)), policy);
    let deeper = format!("Allow users to subscribe when ({condition}) and user is acting under purpose p");
    assert_eq!(language::parse(&deeper).diagnostics[0].code, "policy::too-deep");
}

#[test]
fn conditions_keep_their_shape() {
    let policy = one(
        "Mask by making null all columns for everyone except when (user is a member of group a or user is a member of group b) \
         and (user is an owner of the data source and user is acting under purpose p)",
    );
    let Body::Data(cascade) = &policy.statement.body else { panic!("{policy:?}") };
    let Scope::EveryoneExcept(Condition::All(parts)) = &cascade.rules[0].scope else { panic!("{policy:?}") };
    // The second pair is of the kind of the whole.
    assert_eq!(parts.len(), 3);
    assert!(matches!(&parts[0], Condition::Any(inner) if inner.len() == 2));
}

/// Place, code, message, the line underlined, label and help.
fn render(text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let at = diagnostic.at.unwrap_or_default();
        let before = text.get(..at.start).unwrap();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text.get(line_start..).unwrap().lines().next().unwrap_or("");
        let column = text.get(line_start..at.start).unwrap().chars().count();
        let width = text.get(at.start..at.end).unwrap().lines().next().unwrap_or("").chars().count().max(1);
        writeln!(out, "{}:{} {}", before.matches('\n').count() + 1, column + 1, diagnostic.code).unwrap();
        writeln!(out, "  {}", diagnostic.message).unwrap();
        writeln!(out, "  | {line}").unwrap();
        let label = diagnostic.label.as_deref().unwrap_or("");
        writeln!(out, "{}", format!("  | {}{} {label}", " ".repeat(column), "^".repeat(width)).trim_end()).unwrap();
        if let Some(help) = &diagnostic.help {
            writeln!(out, "  help: {help}").unwrap();
        }
    }
    out
}
