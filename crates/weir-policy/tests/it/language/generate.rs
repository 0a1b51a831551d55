//! Seeded policies and nonsense.

use weir_model::{
    AttributeKey, ColumnName, GroupName, IamId, Permission, PolicyKey, PrincipalId, PrincipalSet, PurposeName,
    SourceName, Tag, Value,
};
use weir_policy::ast::{
    Action, Ago, Approver, At, Body, CalendarUnit, Cascade, Certification, Circumstance, Circumstances, ColumnRef,
    Columns, Condition, LookupQuery, MaskAction, Match, MatchColumn, Merge, Method, Policy, Predicate, Randomized,
    RoundTo, RowCondition, Rule, Scope, Statement, Subscribe, Subscribers, Test, TimeUnit, TimeWindow, UserCall,
};
use weir_policy::{Compare, Function};

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x5DEE_CE66_D5DE_ECE6)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `0..n`; 0 for 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    fn some<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flip().then(|| make(self))
    }

    fn several<T>(&mut self, least: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..least + self.below(3)).map(|_| make(self)).collect()
    }
}

const NAMES: &[&str] = &[
    "ssn",
    "department",
    "First_Name",
    "Home Goods",
    "for",
    "WHERE",
    "everyone",
    "and",
    "policy",
    "date",
    "timestamp",
    "null",
    "true",
    "on",
    "user",
    "a\"b",
    "a`b",
    "a'b",
    "\"\"",
    "größe",
    "名前",
    "1st",
    "-x",
    "x-",
    "a--b",
    "--",
    "#x",
    "a-b",
    "a: b",
    "{x}",
    "[",
    "*",
    "@username",
    "x,y",
    "otherwise",
    "tagged",
    "column",
    "columns",
    "that",
    "exists",
    "e\u{301}",
    "\u{feff}x",
    "a\u{2028}b",
    "~",
    "0x1F",
    "1_000",
    "-1",
    "1e5",
    "yes",
    "staged",
    "template",
    "certification",
    "label",
    "%",
    "a\\b",
    "lower",
    "a. b",
    "select",
    "is",
    "🦀",
    "priority",
    "within",
    "days",
    "s",
    "left",
    "if",
    "owned",
    "chosen",
    "okta:jane",
];

fn name(random: &mut Random) -> String {
    let name = *random.pick(NAMES);
    // Longer, so that lists are broken over lines.
    if random.below(20) == 0 { name.repeat(1 + random.below(8)).trim().to_owned() } else { name.to_owned() }
}

fn part(random: &mut Random) -> String {
    name(random).replace('.', "_")
}

fn dotted(random: &mut Random) -> String {
    random.several(1, part).join(".")
}

fn column(random: &mut Random) -> ColumnName {
    ColumnName::new(if random.below(8) == 0 { dotted(random) } else { name(random) }).unwrap()
}

fn tag(random: &mut Random) -> Tag {
    Tag::new(dotted(random)).unwrap()
}

fn group(random: &mut Random) -> GroupName {
    GroupName::new(if random.flip() { dotted(random) } else { name(random) }).unwrap()
}

fn key(random: &mut Random) -> AttributeKey {
    AttributeKey::new(dotted(random)).unwrap()
}

fn purpose(random: &mut Random) -> PurposeName {
    PurposeName::new(dotted(random)).unwrap()
}

fn person(random: &mut Random) -> PrincipalId {
    let iam = if random.flip() { IamId::builtin() } else { IamId::new(name(random).replace(':', "")).unwrap() };
    PrincipalId::new(iam, if random.flip() { dotted(random) } else { name(random) }).unwrap()
}

fn source(random: &mut Random) -> SourceName {
    SourceName::new(part(random), part(random)).unwrap()
}

fn text(random: &mut Random) -> String {
    let odd = [
        "",
        " ",
        "it's",
        "''",
        "'",
        "a\nb",
        "\n\n",
        "\r\n",
        "\t",
        "x\0y",
        "\u{7f}\u{85}",
        "--\n# x",
        "null",
        "5",
        "FRANCE",
        "US.*",
        "*",
    ];
    if random.flip() { (*random.pick(&odd)).to_owned() } else { name(random) + *random.pick(&odd) }
}

fn regex(random: &mut Random) -> String {
    (*random.pick(&["ssn", "^(?i)a+$", "\\d{3}-", "[\"'`]", "", "a\nb", "it''s", "\\.", "名", "(a|b)*"])).to_owned()
}

fn value(random: &mut Random) -> Value {
    match random.below(10) {
        0 => Value::Null,
        1 => Value::Boolean(random.flip()),
        2 => Value::Int(random.next() as i64),
        3 => Value::Int(*random.pick(&[0, -1, 7, i64::MIN, i64::MAX])),
        4 => Value::Number(
            (*random.pick(&["1.50", "-0.0", "1e10", "2E-3", "-1.5e+7", "92233720368547758080"])).to_owned(),
        ),
        5 => Value::Date(random.below(40_000) as i32 - 20_000),
        6 => Value::Timestamp(random.next() as i64 % 250_000_000_000_000_000),
        7 => Value::Timestamp((random.below(2_000_000_000) as i64 - 1_000_000_000) * 1_000_000),
        _ => Value::Text(text(random)),
    }
}

pub(crate) fn policy(random: &mut Random) -> Policy {
    let statement = Statement { body: body(random), on: circumstances(random) };
    let headed = Policy {
        key: PolicyKey::new(if random.flip() { dotted(random) } else { name(random) }).unwrap(),
        title: random.some(|random| text(random).chars().filter(|c| !c.is_control()).collect()),
        staged: random.flip(),
        template: random.below(4) == 0,
        certification: if random.below(3) == 0 { Some(certification(random)) } else { None },
        priority: if random.flip() { 0 } else { *random.pick(&[5, -1, i32::MIN, i32::MAX]) },
        statement,
    };
    if random.below(4) > 0 {
        return headed;
    }
    // A sentence alone.
    let sentence = weir_policy::language::to_sentence(&headed.statement);
    weir_policy::language::parse_english(&sentence).policies.pop().unwrap_or(headed)
}

fn certification(random: &mut Random) -> Certification {
    let words = |random: &mut Random| format!("w{}", text(random).replace(char::is_control, " "));
    Certification { text: words(random), label: random.some(words), tags: random.several(0, tag).into_iter().collect() }
}

fn body(random: &mut Random) -> Body {
    if random.below(5) == 0 {
        let who = match random.below(6) {
            0 => Subscribers::Anyone,
            1 => Subscribers::Selected,
            2 | 3 => Subscribers::Asking(random.several(1, approver)),
            _ => Subscribers::When(condition(random, 3)),
        };
        return Body::Subscribe(Subscribe { who, merge: if random.flip() { Merge::Share } else { Merge::Require } });
    }
    if random.below(8) == 0 {
        let action = Action::LimitToPurposes(random.several(1, |random| purpose(random).into()));
        let scope = if random.flip() { Scope::Everyone } else { Scope::EveryoneExcept(condition(random, 3)) };
        return Body::Data(Cascade { rules: vec![Rule { action, scope }] });
    }
    let masks = random.flip();
    let mut rules: Vec<Rule> = Vec::new();
    while random.below(3) == 0 {
        rules.push(Rule { action: action(random, masks), scope: Scope::Who(condition(random, 2)) });
    }
    let scope = match random.below(4) {
        0 => Scope::EveryoneExcept(condition(random, 3)),
        1 => Scope::Who(condition(random, 3)),
        _ => Scope::Everyone,
    };
    rules.push(Rule { action: action(random, masks), scope });
    Body::Data(Cascade { rules })
}

fn action(random: &mut Random, mask: bool) -> Action {
    if mask {
        let when = if random.below(3) == 0 { Some(predicate(random, 3)) } else { None };
        let (method, or_else) = methods(random);
        return Action::Mask(MaskAction { columns: columns(random), method, or_else, when });
    }
    Action::ShowRows(match random.below(8) {
        0..=2 => RowCondition::Where(predicate(random, 4)),
        3 | 4 => RowCondition::Time(TimeWindow { newer: random.flip(), ago: ago(random) }),
        5 => RowCondition::Sample((*random.pick(&["25", "0.5", "99.999", "007", "1.0"])).to_owned().into()),
        _ => {
            let user = match random.below(3) {
                0 => Match::Group,
                1 => Match::Purpose,
                _ => Match::Attribute(key(random).into()),
            };
            let named = random.flip();
            let column =
                if named { MatchColumn::Named(column(random).into()) } else { MatchColumn::Tagged(tag(random).into()) };
            RowCondition::Match { user, column }
        }
    })
}

/// A method, and now and then others that stand in for it.
fn methods(random: &mut Random) -> (At<Method>, Vec<At<Method>>) {
    let mut all = vec![method(random)];
    let whole = |method: &Method| matches!(method, Method::KAnonymous(_) | Method::Null);
    while random.below(4) == 0 && !all.iter().any(whole) {
        all.push(method(random));
    }
    if all.iter().any(|method| matches!(method, Method::KAnonymous(_))) {
        all.truncate(1);
    }
    let mut all = all.into_iter().map(At::from);
    (all.next().unwrap(), all.collect())
}

fn ago(random: &mut Random) -> Ago {
    Ago { amount: *random.pick(&[1, 2, 30, u32::MAX]), unit: *random.pick(&TimeUnit::ALL) }
}

fn approver(random: &mut Random) -> Approver {
    match random.below(3) {
        0 => Approver::Owner,
        1 => Approver::Holder(*random.pick(&Permission::ALL)),
        _ => Approver::Person(person(random)),
    }
}

fn columns(random: &mut Random) -> Columns {
    match random.below(8) {
        0 => Columns::Tagged(tag(random).into()),
        1 => Columns::AnyTag,
        2 => Columns::NoTags,
        3 => Columns::NamedLike { pattern: regex(random).into(), case_insensitive: random.flip() },
        4 => Columns::All,
        _ => Columns::Named(random.several(1, |random| column(random).into())),
    }
}

fn method(random: &mut Random) -> Method {
    match random.below(13) {
        0 => Method::Null,
        1 => Method::Constant(value(random)),
        2 => Method::Round(RoundTo::Number((*random.pick(&["100", "0.25", "1.0", "007"])).to_owned())),
        3 => Method::Round(RoundTo::Calendar(*random.pick(&CalendarUnit::ALL))),
        11 => Method::RoundByProfile,
        4 => Method::Regex {
            pattern: regex(random),
            replacement: text(random),
            case_insensitive: random.flip(),
            global: random.flip(),
        },
        5 => Method::Reversible,
        6 => Method::FormatPreserving,
        7 => Method::KAnonymous(*random.pick(&[2, 5, u32::MAX])),
        8 | 9 => Method::Randomized(match random.below(3) {
            0 => Randomized::Within((*random.pick(&["5", "0.25", "007.0"])).to_owned()),
            1 => Randomized::WithinDays(*random.pick(&[1, 7, u32::MAX])),
            _ => Randomized::Replaced {
                percent: (*random.pick(&["20", "0.5", "100", "100.00", "007"])).to_owned(),
                by: random.several(1, value),
            },
        }),
        10 => Method::Custom(Box::new(predicate(random, 3))),
        _ => Method::Hash,
    }
}

fn condition(random: &mut Random, depth: usize) -> Condition {
    let kind = if depth == 0 { 2 } else { random.below(4) };
    if kind >= 2 {
        return Condition::Test(match random.below(5) {
            0 => Test::HasAttribute { key: key(random).into(), value: text(random) },
            1 => Test::Owner,
            2 => Test::UnderPurpose(purpose(random).into()),
            3 => Test::Permitted(*random.pick(&Permission::ALL)),
            _ => Test::MemberOf(group(random).into()),
        });
    }
    let any = kind == 0;
    let same = |part: &Condition| matches!(part, Condition::Any(_)) && any || matches!(part, Condition::All(_)) && !any;
    let parts = random.several(2, |random| {
        loop {
            let part = condition(random, depth - 1);
            if !same(&part) {
                return part;
            }
        }
    });
    if any { Condition::Any(parts) } else { Condition::All(parts) }
}

fn circumstances(random: &mut Random) -> Circumstances {
    match random.below(5) {
        0 => Circumstances::Named(random.several(1, |random| source(random).into())),
        1 => Circumstances::Any(random.several(1, circumstance)),
        2 => Circumstances::All(random.several(2, circumstance)),
        _ => Circumstances::AllSources,
    }
}

fn circumstance(random: &mut Random) -> Circumstance {
    match random.below(9) {
        0 => Circumstance::SourceTagged(tag(random).into()),
        1 => Circumstance::ColumnTagged(tag(random).into()),
        2 => Circumstance::NoTags,
        3 => Circumstance::AnyTag,
        4 => Circumstance::InSchema(part(random).into()),
        5 => Circumstance::OwnedBy(PrincipalSet::User(person(random))),
        6 => Circumstance::OwnedBy(PrincipalSet::Group(group(random))),
        7 => Circumstance::ChosenByOwner,
        _ => Circumstance::ColumnNamedLike { pattern: regex(random).into(), case_insensitive: random.flip() },
    }
}

const COMPARISONS: [Compare; 6] =
    [Compare::Equal, Compare::NotEqual, Compare::Less, Compare::LessOrEqual, Compare::Greater, Compare::GreaterOrEqual];

pub(crate) fn predicate(random: &mut Random, depth: usize) -> Predicate {
    if depth == 0 {
        return if random.flip() { Predicate::Literal(value(random)) } else { column_ref(random) };
    }
    let inner = |random: &mut Random| Box::new(predicate(random, depth - 1));
    let negated = random.flip();
    match random.below(14) {
        0 => Predicate::Literal(value(random)),
        1 => column_ref(random),
        2 => Predicate::Between { value: inner(random), low: inner(random), high: inner(random), negated },
        3 => Predicate::In { value: inner(random), list: random.several(1, |random| *inner(random)), negated },
        4 => {
            let key = Some(*inner(random));
            Predicate::InLookup { value: inner(random), lookup: Box::new(lookup(random, key, depth)), negated }
        }
        5 => Predicate::Exists { lookup: Box::new(lookup(random, None, depth)), negated },
        6 => Predicate::Like { value: inner(random), pattern: inner(random), case_insensitive: random.flip(), negated },
        7 => Predicate::IsNull { value: inner(random), negated },
        8 => Predicate::And(random.several(2, |random| *inner(random))),
        9 => Predicate::Or(random.several(2, |random| *inner(random))),
        10 => Predicate::Not(inner(random)),
        11 => call(random, depth),
        12 => Predicate::User(user_call(random, depth).into()),
        _ => Predicate::Compare { op: *random.pick(&COMPARISONS), left: inner(random), right: inner(random) },
    }
}

fn column_ref(random: &mut Random) -> Predicate {
    let qualifier = match random.below(4) {
        0 => Some(part(random)),
        1 => Some(format!("{}.{}", part(random), part(random))),
        _ => None,
    };
    Predicate::Column(ColumnRef { qualifier, name: column(random) }.into())
}

fn lookup(random: &mut Random, key: Option<Predicate>, depth: usize) -> LookupQuery {
    let alias = random.some(part);
    let filter = random.some(|random| predicate(random, depth - 1));
    LookupQuery { source: source(random).into(), alias, key, filter }
}

fn call(random: &mut Random, depth: usize) -> Predicate {
    let function = *random.pick(&Function::ALL);
    // How many each takes is not for the reader to judge.
    let count = 1 + random.below(3);
    Predicate::Call { function, args: (0..count).map(|_| predicate(random, depth - 1)).collect() }
}

fn user_call(random: &mut Random, depth: usize) -> UserCall {
    match random.below(14) {
        0 => UserCall::Username,
        1 => UserCall::Iam,
        2 => UserCall::HasAttribute(key(random), text(random)),
        3 => UserCall::AttributeValuesContains(key(random), Box::new(predicate(random, depth - 1)), random.some(text)),
        4 => UserCall::GroupsContains(Box::new(predicate(random, depth - 1)), random.some(text)),
        5 => UserCall::ColumnTagged(tag(random)),
        6 => UserCall::ColumnReference(column(random)),
        7 => UserCall::PurposesContains(Box::new(predicate(random, depth - 1)), random.some(text)),
        8 => UserCall::IsUsingPurpose(purpose(random)),
        9 | 10 => UserCall::MaskedColumn,
        11 | 12 => interpolated(random, depth),
        _ => UserCall::IsInGroups(random.several(1, group)),
    }
}

/// Templates are made by reading them alone, so this one is read; what it is in is not.
fn interpolated(random: &mut Random, depth: usize) -> UserCall {
    let key = key(random).to_string().replace(['{', '}'], "_");
    let attribute = format!("{{attribute:{key}}}");
    let any = (*random.pick(&["{group}", "{purpose}", attribute.as_str()])).to_owned();
    let pieces = random.several(1, |random| match random.below(4) {
        0 => text(random).replace('{', "{{").replace('}', "}}"),
        1 => any.clone(),
        _ => (*random.pick(&["{username}", "{iam}", "{{", "}}"])).to_owned(),
    });
    let template = format!("{}{{username}}", pieces.concat());
    let call = format!("@interpolatedComparison(c, '=', {})", Value::Text(template));
    let Ok(Predicate::User(call)) = weir_policy::language::parse_predicate(&call) else { panic!("{call}") };
    let UserCall::InterpolatedComparison { text, .. } = call.node else { panic!("{call:?}") };
    let op = *random.pick(&COMPARISONS);
    UserCall::InterpolatedComparison { value: Box::new(predicate(random, depth - 1)), op, text }
}

/// Words and signs of the language in any order.
pub(crate) fn tokens(random: &mut Random) -> String {
    const WORDS: &[&str] = &[
        "Mask",
        "using",
        "hashing",
        "the",
        "column",
        "columns",
        "ssn",
        "for",
        "everyone",
        "who",
        "except",
        "when",
        "otherwise",
        "user",
        "is",
        "a",
        "member",
        "of",
        "group",
        "policy",
        "Only",
        "show",
        "rows",
        "where",
        "(",
        ")",
        ",",
        ".",
        ":",
        "'",
        "\"",
        "`",
        "'x'",
        "\"y\"",
        "5",
        "-1.5",
        "=",
        "<",
        "and",
        "or",
        "NOT",
        "IN",
        "SELECT",
        "FROM",
        "EXISTS",
        "@username",
        "@x(",
        "lower(",
        "\n",
        "\n\n",
        "--",
        "#",
        "on",
        "data",
        "sources",
        "tagged",
        "regex",
        "replaced",
        "custom",
        "function",
        "within",
        "days",
        "limit",
        "usage",
        "to",
        "purpose(s)",
        "owned",
        "by",
        "priority",
        "with",
        "mask:",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "|",
        ">",
        "&a",
        "*a",
        "!t",
        "\t",
        "%",
        "?",
        "columns:",
        "for:",
        "who:",
        "any:",
        "é",
        "\u{0}",
    ];
    (0..random.below(40)).map(|_| *random.pick(WORDS)).collect::<Vec<_>>().join(if random.flip() { " " } else { "" })
}
