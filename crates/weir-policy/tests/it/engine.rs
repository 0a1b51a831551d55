//! The decision engine: what the case files cannot say.

use weir_model::{
    ColumnId, ColumnName, Epoch, GroupName, PolicyId, PrincipalId, Project, ProjectName, PurposeName, SourceId,
    SourceName, Surroundings, Value,
};
use weir_policy::ast::{Action, Body, Cascade, Circumstances, Policy, Predicate, RowCondition, Rule, Scope, Statement};
use weir_policy::explain::explain;
use weir_policy::{
    Compare, Effect, Expr, Facts, Fingerprint, Obligations, Snapshot, SourceDecision, StoredPolicy, check,
};

use crate::world::{anywhere, unix_ms, with_policies, world};

const OPEN: &str = "policy open: Allow anyone to subscribe.\n\n";

fn shop(policies: &str) -> Facts {
    with_policies(world("shop"), &format!("{OPEN}{policies}"))
}

fn id(name: &str) -> PrincipalId {
    PrincipalId::builtin(name).unwrap()
}

fn source(snapshot: &Snapshot, name: &str) -> SourceId {
    snapshot.source_by_name(&name.parse::<SourceName>().unwrap()).unwrap().id
}

fn obligations(facts: &Facts, person: &str, name: &str) -> Obligations {
    let snapshot = Snapshot::compile(facts.clone());
    let mut decision = snapshot.decide(&id(person), &anywhere(), &[source(&snapshot, name)]);
    match decision.sources.remove(0) {
        (_, SourceDecision::Obliged(obligations, _)) => (*obligations).clone(),
        (_, other) => panic!("{other:?}"),
    }
}

fn fingerprint(facts: &Facts, person: &str) -> Fingerprint {
    obligations(facts, person, "retail.purchases").fingerprint
}

#[test]
fn a_decision_answers_every_source_in_the_order_asked() {
    let snapshot = Snapshot::compile(shop(""));
    let hr = source(&snapshot, "hr.people");
    let retail = source(&snapshot, "retail.purchases");
    let decision = snapshot.decide(&id("tara"), &anywhere(), &[hr, SourceId(99), retail, hr]);
    assert_eq!(decision.epoch, Epoch(1));
    let answers: Vec<(SourceId, bool)> =
        decision.sources.iter().map(|(id, decided)| (*id, matches!(decided, SourceDecision::Clear(_)))).collect();
    assert_eq!(answers, [(hr, true), (SourceId(99), false), (retail, true), (hr, true)]);
}

#[test]
fn an_empty_snapshot_denies_everything() {
    let snapshot = Snapshot::compile(Facts::default());
    assert_eq!(snapshot.epoch(), Epoch(0));
    assert!(snapshot.visible(&id("tara"), &anywhere()).is_empty());
    let decision = snapshot.decide(&id("tara"), &anywhere(), &[SourceId(1)]);
    assert!(matches!(decision.sources.as_slice(), [(_, SourceDecision::Deny(..))]));
}

#[test]
fn visible_sources_come_by_name() {
    let snapshot = Snapshot::compile(shop(""));
    let names = |person: &str| -> Vec<String> {
        snapshot.visible(&id(person), &anywhere()).iter().map(|s| s.name.to_string()).collect()
    };
    assert_eq!(names("tara"), ["hr.people", "retail.purchases", "retail.returns"]);
    assert!(names("zoe").is_empty());
    let closed = Snapshot::compile(with_policies(world("shop"), "Mask using hashing the column ssn for everyone"));
    let names: Vec<String> = closed.visible(&id("oona"), &anywhere()).iter().map(|s| s.name.to_string()).collect();
    assert_eq!(names, ["retail.purchases"]);
}

#[test]
fn equal_decisions_have_equal_fingerprints_whatever_the_epoch() {
    let rules =
        "Only show rows where user is a member of group that matches the value in the column department for everyone.
        Mask using hashing the column ssn for everyone except when user is a member of group Garden.";
    let facts = shop(rules);
    let mut later = facts.clone();
    later.epoch = Some(Epoch(9));
    later.principals.reverse();
    later.sources.reverse();
    later.policies.reverse();
    assert_eq!(fingerprint(&facts, "tara"), fingerprint(&later, "tara"));

    // The same groups, so the same rows.
    let mut twin = facts.clone();
    let tara = twin.principals.iter().find(|p| p.id == id("tara")).unwrap().groups.clone();
    twin.principals.iter_mut().find(|p| p.id == id("nora")).unwrap().groups = tara;
    assert_eq!(fingerprint(&twin, "tara"), fingerprint(&twin, "nora"));

    // A policy that says nothing about her changes nothing for her.
    let apart =
        shop(&format!("{rules}\nMask by making null the column name for everyone who is a member of group finance."));
    assert_eq!(fingerprint(&facts, "tara"), fingerprint(&apart, "tara"));
    assert_ne!(fingerprint(&facts, "fin"), fingerprint(&apart, "fin"));
}

#[test]
fn everything_that_changes_what_is_seen_changes_the_fingerprint() {
    let rules = |mask: &str, rows: &str| {
        shop(&format!(
            "policy m: Mask {mask} the column ssn for everyone.\n\npolicy r: Only show rows where {rows} for everyone."
        ))
    };
    let groups = "@groupsContains(department)";
    let base = rules("using hashing", groups);
    let mut other_groups = base.clone();
    let tara = other_groups.principals.iter_mut().find(|p| p.id == id("tara")).unwrap();
    tara.groups.insert(GroupName::new("Garden").unwrap());
    let mut other_source = base.clone();
    other_source.sources[0].columns.pop();
    let lookup = |nation: &str| {
        rules(
            "using hashing",
            &format!("department IN (SELECT work_department FROM hr.people WHERE login = '{nation}')"),
        )
    };
    let worlds = [
        base,
        rules("by making null", groups),
        rules("using the constant 'a'", groups),
        rules("using the constant 'b'", groups),
        rules("using the regex 'a' replaced with 'b'", groups),
        rules("using the regex 'a' replaced with 'b' global", groups),
        rules("using hashing", "@groupsContains(country)"),
        rules("using hashing", "department = @username"),
        lookup("a"),
        lookup("b"),
        other_groups,
        other_source,
    ];
    let mut seen: Vec<Fingerprint> = worlds.iter().map(|facts| fingerprint(facts, "tara")).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), worlds.len());
    let by_name = rules("using hashing", "department = @username");
    assert_ne!(fingerprint(&by_name, "tara"), fingerprint(&by_name, "garth"));
}

#[test]
fn text_that_users_choose_cannot_imitate_another_answer() {
    let facts = |first: &str, second: &str| {
        let mut facts =
            shop("Only show rows where name = @username AND department = @iam OR country = @username for everyone.");
        let person = facts.principals.iter_mut().find(|p| p.id == id("tara")).unwrap();
        person.id = PrincipalId::new(weir_model::IamId::new(second).unwrap(), first).unwrap();
        (person.id.clone(), facts)
    };
    let of = |first, second| {
        let (person, facts) = facts(first, second);
        let snapshot = Snapshot::compile(facts);
        match snapshot.decide(&person, &anywhere(), &[source(&snapshot, "retail.purchases")]).sources.remove(0).1 {
            SourceDecision::Obliged(obligations, _) => obligations.fingerprint,
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(of("ab", "c"), of("a", "bc"));
    assert_ne!(of("a", "b"), of("b", "a"));
}

#[test]
fn a_residual_shares_the_values_of_the_person() {
    let facts = shop("Only show rows where @groupsContains(department) AND @groupsContains(country) for everyone.");
    let obligations = obligations(&facts, "tara", "retail.purchases");
    let Some(Expr::And(parts)) = &obligations.row_filter() else { panic!("{obligations:?}") };
    let [Expr::InValues { values: a, .. }, Expr::InValues { values: b, .. }] = parts.as_slice() else {
        panic!("{parts:?}")
    };
    assert_eq!(a.as_slice(), ["Home Goods", "Toys"]);
    assert!(std::ptr::eq(a.as_slice(), b.as_slice()));
}

#[test]
fn masks_for_some_rows_stand_behind_each_other_up_to_a_bound() {
    let masks = |count: usize| -> String {
        let mask = |n| {
            format!(
                "policy m{n}: Mask by making null the column ssn where age = {n} for everyone on data source retail.purchases."
            )
        };
        (0..count).map(mask).collect::<Vec<_>>().join("\n\n")
    };
    let mut applied = obligations(&shop(&masks(32)), "tara", "retail.purchases").masks.remove(&ColumnId(103)).unwrap();
    let mut deep = 1;
    while let Some(behind) = applied.otherwise.clone() {
        assert!(applied.when.is_some());
        applied = behind;
        deep += 1;
    }
    assert_eq!(deep, 32);
    let snapshot = Snapshot::compile(shop(&masks(33)));
    let decision = snapshot.decide(&id("tara"), &anywhere(), &[source(&snapshot, "retail.purchases")]);
    assert!(matches!(decision.sources.as_slice(), [(_, SourceDecision::Deny(..))]), "{decision:?}");
    let visible: Vec<String> = snapshot.visible(&id("tara"), &anywhere()).iter().map(|s| s.name.to_string()).collect();
    assert_eq!(visible, ["hr.people", "retail.returns"]);
}

/// A policy that no text can say, since the languages refuse it.
fn by_hand(rules: Vec<Rule>) -> StoredPolicy {
    let statement = Statement { body: Body::Data(Cascade { rules }), on: Circumstances::AllSources };
    let policy = Policy::new("by-hand".parse().unwrap(), statement);
    StoredPolicy { id: PolicyId(50), policy }
}

fn show(predicate: Predicate, scope: Scope) -> Rule {
    Rule { action: Action::ShowRows(RowCondition::Where(predicate)), scope }
}

#[test]
fn a_rule_after_everyone_is_an_error_and_has_no_effect() {
    let mut facts = shop("");
    let truth = |b| Predicate::Literal(Value::Boolean(b));
    let stored = by_hand(vec![show(truth(false), Scope::Everyone), show(truth(true), Scope::Everyone)]);
    let codes: Vec<&str> = check::check(&stored.policy, &facts).iter().map(|d| d.code).collect();
    assert_eq!(codes, ["policy::unreachable-rule"]);
    facts.policies.push(stored);
    let filter = obligations(&facts, "tara", "retail.purchases").row_filter();
    assert_eq!(filter, Some(Expr::truth(false)));
}

#[test]
fn what_stands_in_for_a_mask_is_told_of() {
    let mask = |how: &str| {
        shop(&format!("policy m: Mask {how} the columns ssn, age for everyone on data source retail.purchases."))
    };
    let told = mask("using the custom function left(@column, 1) or else by rounding to 5 or else by making null");
    let shown = |facts: &Facts| {
        let snapshot = Snapshot::compile(facts.clone());
        let explained = explain(&snapshot, &id("tara"), &anywhere(), source(&snapshot, "retail.purchases"));
        let columns = explained.columns.into_iter().filter(|column| !column.masked.is_empty());
        columns.map(|column| format!("{} {}", column.name, column.shown)).collect::<Vec<_>>()
    };
    let instead = "age rounded down to a multiple of 5, for `using the custom function left(@column, 1)` does not fit";
    assert_eq!(shown(&told), ["ssn replaced by left(ssn, 1)", instead]);
    let snapshot = Snapshot::compile(told.clone());
    let decided = snapshot.decide(&id("tara"), &anywhere(), &[source(&snapshot, "retail.purchases")]);
    let factors: Vec<&Effect> = decided.sources[0].1.factors().iter().map(|factor| &factor.effect).collect();
    let masked = |name: &str, fallback| Effect::Mask { column: ColumnName::new(name).unwrap(), fallback };
    assert_eq!(factors, [&Effect::Subscribe, &masked("ssn", false), &masked("age", true)]);

    // In the audit log, and from before there were any.
    let written = serde_json::to_string(&masked("age", true)).unwrap();
    assert_eq!(written, r#"{"kind":"mask","column":"age","fallback":true}"#);
    assert_eq!(serde_json::from_str::<Effect>(r#"{"kind":"mask","column":"age"}"#).unwrap(), masked("age", false));
}

#[test]
fn rules_of_mixed_kinds_close_the_source() {
    let mut facts = shop("");
    let mask = weir_policy::ast::MaskAction {
        columns: weir_policy::ast::Columns::All,
        method: weir_policy::ast::Method::Null.into(),
        or_else: Vec::new(),
        when: None,
    };
    let in_toys =
        weir_policy::ast::Condition::Test(weir_policy::ast::Test::MemberOf(GroupName::new("Toys").unwrap().into()));
    let stored = by_hand(vec![
        Rule { action: Action::Mask(mask), scope: Scope::Who(in_toys) },
        show(Predicate::Literal(Value::Boolean(true)), Scope::Everyone),
    ]);
    assert!(check::check(&stored.policy, &facts).iter().any(|d| d.code == "policy::mixed-actions"));
    facts.policies.push(stored);
    let snapshot = Snapshot::compile(facts);
    let hr = source(&snapshot, "hr.people");
    let denied = snapshot.decide(&id("nora"), &anywhere(), &[hr]);
    assert!(matches!(denied.sources.as_slice(), [(_, SourceDecision::Deny(..))]), "{denied:?}");
    let masked = snapshot.decide(&id("tara"), &anywhere(), &[hr]);
    assert!(matches!(masked.sources.as_slice(), [(_, SourceDecision::Obliged(..))]), "{masked:?}");
}

#[test]
fn circumstances_that_cannot_be_understood_close_every_source() {
    let mut facts = shop("");
    let pattern =
        || weir_policy::ast::Circumstance::ColumnNamedLike { pattern: "(".to_owned().into(), case_insensitive: false };
    let mut stored = by_hand(vec![show(Predicate::Literal(Value::Boolean(true)), Scope::Everyone)]);
    stored.policy.statement.on = Circumstances::Any(vec![pattern()]);
    assert!(check::check(&stored.policy, &facts).iter().any(|d| d.code == "policy::invalid-pattern"));
    facts.policies.push(stored);
    let snapshot = Snapshot::compile(facts);
    assert!(snapshot.visible(&id("tara"), &anywhere()).is_empty());
    assert_eq!(snapshot.problems().len(), 1);
    assert_eq!(snapshot.problems()[0].source, None);
}

#[test]
fn a_thousand_grants_are_one_lookup_by_key() {
    let grants: Vec<String> = (0..1000).map(|n| format!("country = 'C{n}' AND age > {n}")).collect();
    let facts = shop(&format!("Only show rows where {} for everyone.", grants.join(" OR ")));
    let obligations = obligations(&facts, "tara", "retail.purchases");
    let Some(Expr::Keyed { columns, arms }) = &obligations.row_filter() else { panic!("not keyed") };
    assert_eq!((columns.len(), arms.len()), (1, 1000));
    assert!(matches!(&arms[7].rest, Expr::Compare { op: Compare::Greater, .. }));
}

#[test]
fn an_explanation_reads_well() {
    let facts = shop(
        "policy own-department: Only show rows where user is a member of group that matches the value in the column department
            for everyone except when user is an owner of the data source on data source retail.purchases.
        policy hash-ssn: Mask using hashing the column ssn for everyone except when user is an owner of the data source.
        policy us-names: Mask by making null the column name where country = 'US' for everyone
            who is a member of group analysts otherwise mask by making null the column name for everyone.",
    );
    let snapshot = Snapshot::compile(facts);
    let retail = source(&snapshot, "retail.purchases");
    let told = |person: &str| explain(&snapshot, &id(person), &anywhere(), retail).to_string();
    expect_test::expect![[r#"
        tara may read retail.purchases (epoch 1)
          Policy `open` lets anyone subscribe.

        Rows: only those for which all of this is true
          department IN ('Home Goods', 'Toys')
              policy `own-department`: it is for everyone except users who own the data source, and tara is
                not one

        Columns
          id          bigint        clear
          name        text          null
              policy `us-names`: it is for all others than users who are members of group `analysts`
          ssn         text          hashed
              policy `hash-ssn`: it is for everyone except users who own the data source, and tara is not
                one
          department  text          clear
          country     text          clear
          age         tinyint       clear
          price       decimal(6,2)  clear
          bought      date          clear
    "#]]
    .assert_eq(&told("tara"));
    expect_test::expect![[r#"
        oona may read retail.purchases (epoch 1)
          oona owns the data source.

        Rows: all of them
          policy `own-department`: filters nothing: it excepts users who own the data source, and oona is
            one

        Columns
          id          bigint        clear
          name        text          null
              policy `us-names`: it is for all others than users who are members of group `analysts`
          ssn         text          clear
              policy `hash-ssn`: does not mask it: it excepts users who own the data source, and oona is one
          department  text          clear
          country     text          clear
          age         tinyint       clear
          price       decimal(6,2)  clear
          bought      date          clear
    "#]]
    .assert_eq(&told("oona"));
    expect_test::expect![[r#"
        fin may read retail.purchases (epoch 1)
          Policy `open` lets anyone subscribe.

        Rows: only those for which all of this is true
          department IN ('analysts', 'finance')
              policy `own-department`: it is for everyone except users who own the data source, and fin is
                not one

        Columns
          id          bigint        clear
          name        text          null where country = 'US', otherwise clear
              policy `us-names`: it is for users who are members of group `analysts`, and fin is one
          ssn         text          hashed
              policy `hash-ssn`: it is for everyone except users who own the data source, and fin is not one
          department  text          clear
          country     text          clear
          age         tinyint       clear
          price       decimal(6,2)  clear
          bought      date          clear
    "#]]
    .assert_eq(&told("fin"));
    expect_test::expect![[r#"
        zoe may not read retail.purchases (epoch 1)
          The principal is not known.
    "#]]
    .assert_eq(&told("zoe"));
}

#[test]
fn an_explanation_of_a_denial_says_what_would_have_opened() {
    let policies = "policy analysts: Allow users to subscribe when user is a member of group analysts or user is a member of group finance
            on data source hr.people.
        policy cleared: Allow users to subscribe when user possesses attribute clearance with value '3' always required on data source retail.returns.";
    let snapshot = Snapshot::compile(with_policies(world("shop"), policies));
    let told = |name: &str| explain(&snapshot, &id("tara"), &anywhere(), source(&snapshot, name)).to_string();
    expect_test::expect![[r#"
        tara may not read hr.people (epoch 1)
          No subscription policy takes tara in: policy `analysts` lets users who are members of group
            `analysts` or are members of group `finance` subscribe.
    "#]]
    .assert_eq(&told("hr.people"));
    expect_test::expect![[r#"
        tara may not read retail.returns (epoch 1)
          Policy `cleared` is required and lets users who possess attribute `clearance` `3` subscribe; tara
            is not one.
    "#]]
    .assert_eq(&told("retail.returns"));
    expect_test::expect![[r#"
        tara may not read retail.purchases (epoch 1)
          No subscription policy holds for the source, and tara neither owns it nor was selected for it.
    "#]]
    .assert_eq(&told("retail.purchases"));
}

#[test]
fn long_lists_are_cut_in_explanations() {
    let mut facts =
        shop("Only show rows where @groupsContains(department) for everyone on data source retail.returns.");
    let tara = facts.principals.iter_mut().find(|p| p.id == id("tara")).unwrap();
    tara.groups = (0..1000).map(|n| GroupName::new(format!("g{n:03}")).unwrap()).collect();
    let snapshot = Snapshot::compile(facts);
    let explained = explain(&snapshot, &id("tara"), &anywhere(), source(&snapshot, "retail.returns"));
    let condition = &explained.rows.as_ref().unwrap().only_where[0].condition;
    assert_eq!(condition, "department IN ('g000', 'g001', 'g002', 'g003', 'g004', 'g005', 'g006', … and 993 more)");
    assert!(explained.to_string().lines().all(|line| line.chars().count() <= 100));
    serde_json::to_string(&explained).unwrap();
}

/// Tara has acknowledged the purposes of all projects, others those of none.
fn in_projects() -> Facts {
    let mut facts = shop("");
    let purpose = |name: &str| PurposeName::new(name).unwrap();
    let project = |name: &str, members: &[&str]| Project {
        name: ProjectName::new(name).unwrap(),
        members: members.iter().map(|name| id(name)).collect(),
        sources: facts.sources.iter().map(|source| source.id).collect(),
        purposes: [purpose("Audit"), purpose("Research")].into(),
        acknowledged: [(id("tara"), purpose("Audit")), (id("tara"), purpose("Research"))].into(),
        equalized: false,
        masked_joins: false,
        workspace: None,
    };
    let projects = vec![project("zoo", &["tara", "garth"]), project("ark", &["tara"]), project("sea", &["garth"])];
    facts.projects = projects;
    facts
}

#[test]
fn a_principal_has_the_projects_of_which_she_is_a_member() {
    let snapshot = Snapshot::compile(in_projects());
    let told = |person: &str| -> Vec<String> {
        let projects = snapshot.projects(&id(person)).into_iter();
        projects
            .map(|(name, closed)| format!("{name}: {}", closed.map_or("open".to_owned(), |why| why.to_string())))
            .collect()
    };
    assert_eq!(told("tara"), ["ark: open", "zoo: open"]);
    let missing = "the principal has not acknowledged purpose `Audit` of the current project";
    assert_eq!(told("garth"), [format!("sea: {missing}"), format!("zoo: {missing}")]);
    assert_eq!(told("oona"), Vec::<String>::new());
    assert_eq!(told("zoe"), Vec::<String>::new());
}

#[test]
fn purposes_are_those_of_the_project_that_is_open() {
    let snapshot = Snapshot::compile(in_projects());
    let purposes = |person: &str, project: Option<&str>| -> Vec<String> {
        let project = project.map(|name| ProjectName::new(name).unwrap());
        let surroundings = Surroundings { project, ..anywhere() };
        snapshot.purposes(&id(person), &surroundings).iter().map(ToString::to_string).collect()
    };
    assert_eq!(purposes("tara", Some("zoo")), ["Audit", "Research"]);
    for (person, project) in [("tara", None), ("tara", Some("sea")), ("tara", Some("x")), ("garth", Some("zoo"))] {
        assert_eq!(purposes(person, project), Vec::<String>::new(), "{person} in {project:?}");
    }
}

#[test]
fn where_and_when_one_asks_changes_the_fingerprint_only_where_a_policy_looks_at_it() {
    let mut facts = in_projects();
    let also = with_policies(
        world("shop"),
        "policy open: Allow anyone to subscribe.

        policy hash: Mask using hashing the column ssn for everyone.

        policy recent: Only show data by time where data is more recent than 1 day for everyone on data source retail.purchases.

        policy why: Only show rows where @isUsingPurpose('Audit') OR reason IS NULL for everyone on data source retail.returns.",
    );
    facts.policies = also.policies;
    for source in &mut facts.sources {
        source.event_time = source.column("bought").map(|column| column.id);
    }
    let mut joined = facts.clone();
    joined.projects.iter_mut().for_each(|project| project.masked_joins = true);
    let seen = |facts: &Facts, name: &str, project: Option<&str>, at: &str| {
        let snapshot = Snapshot::compile(facts.clone());
        let project = project.map(|name| ProjectName::new(name).unwrap());
        let surroundings = Surroundings { project, impersonated: false, at_unix_ms: unix_ms(at) };
        let mut decision = snapshot.decide(&id("tara"), &surroundings, &[source(&snapshot, name)]);
        match decision.sources.remove(0).1 {
            SourceDecision::Obliged(obligations, _) => Some(obligations.fingerprint),
            SourceDecision::Clear(_) => None,
            denied => panic!("{denied:?}"),
        }
    };
    let (morning, noon, tomorrow) = ("2024-05-01 08:00:00", "2024-05-01 12:00:00", "2024-05-02 08:00:00");
    // By date: the day matters, and the project does not.
    let purchases = |facts, project, at| seen(facts, "retail.purchases", project, at);
    assert_eq!(purchases(&facts, None, morning), purchases(&facts, None, noon));
    assert_ne!(purchases(&facts, None, morning), purchases(&facts, None, tomorrow));
    assert_eq!(purchases(&facts, None, morning), purchases(&facts, Some("zoo"), morning));
    // The key of hashes is another in each project with masked joins.
    assert_ne!(purchases(&joined, Some("zoo"), morning), purchases(&joined, Some("ark"), morning));
    assert_ne!(purchases(&joined, Some("zoo"), morning), purchases(&facts, Some("zoo"), morning));
    assert_eq!(purchases(&joined, None, morning), purchases(&facts, None, morning));
    assert_eq!(seen(&facts, "retail.returns", Some("zoo"), morning), None);
    assert!(seen(&facts, "retail.returns", None, morning).is_some());
}
