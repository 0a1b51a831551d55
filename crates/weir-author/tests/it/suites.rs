use std::path::Path;

use expect_test::expect;
use weir_author::case::Suite;
use weir_author::world::World;

use crate::write;

const WORLD: &str = "
sources:
  - name: shop.orders
    columns:
      - { name: id, type: bigint }
      - { name: card, type: text, tags: [PII.Card] }
      - { name: region, type: text }
principals:
  - { name: anna, groups: [EU] }
  - { name: bert }
";
const POLICIES: &str = "policy open: Allow anyone to subscribe.
policy cards: Mask by making null columns tagged PII for everyone.
policy regions: Only show rows where user is a member of group that matches the value in the column region for everyone.
";

fn run(folder: &Path) -> Result<String, String> {
    let suite = Suite::find(&[folder.to_path_buf()]).map_err(|e| e.to_string())?;
    let summary = suite.run(None, None).map_err(|e| e.to_string())?;
    Ok(summary.to_string())
}

fn without(folder: &Path, text: &str) -> String {
    text.replace(&folder.display().to_string(), "DIR")
}

#[test]
fn failing_cases_show_what_was_expected_and_what_was_found() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "shop.world", WORLD);
    write(dir.path(), "policies/all.policy", POLICIES);
    let right = "about: cards\ncases:\n  - { case: anna, as: anna, ask: shop.orders, decide: obliged, because: [open, regions, cards], rows: \"region IN ('EU')\", masks: { card: \"null\" } }\n";
    write(dir.path(), "right.case", right);
    assert_eq!(run(dir.path()).unwrap(), "1 passed, 0 failed, in 1 file");
    let wrong = right
        .replace("as: anna", "as: bert")
        .replace("masks: { card: \"null\" }", "masks: { card: hashed }, like: anna, in: nowhere");
    write(dir.path(), "wrong.case", wrong);
    let refused = "about: refused\npolicies: \"policy a: Mask using hashing the column gone for everyone.\"\nrefused: { b: unknown }\n";
    write(dir.path(), "zefused.case", refused);
    expect![[r#"
        DIR/wrong.case: anna: bert asks for shop.orders in project nowhere
          decide   expected obliged
                   found    deny
          reason   expected nothing
                   found    no-such-project
          because  expected open; regions; cards
                   found    nothing
          rows     expected region IN ('EU')
                   found    nothing
          masks    expected card: hashed
                   found    nothing

        DIR/zefused.case: policies that would not be saved
          refused  expected b: unknown
                   found    a: unknown column `gone` in `shop.orders`

        1 passed, 2 failed, in 3 files"#]]
    .assert_eq(&without(dir.path(), &run(dir.path()).unwrap()));
}

#[test]
fn what_cannot_be_run_is_an_error_and_says_where() {
    let right = "about: x\ncases:\n  - { case: a, as: anna, ask: shop.orders, decide: deny }\n";
    let tries: &[(&[(&str, &str)], &str)] = &[
        (&[], "DIR: there is no file that ends in .case"),
        (&[("a.case", "about: x")], "DIR/a.case: it has neither `cases` nor `refused`, and so shows nothing"),
        (&[("a.case", right)], "DIR/a.case: it has no `policies`, and none were given"),
        (&[("a.case", right), ("p.policy", POLICIES)], "DIR/a.case: it names no world, and there is none"),
        (
            &[("a.case", &format!("world: gone\n{right}")), ("p.policy", POLICIES), ("shop.world", WORLD)],
            "DIR/a.case: there is no file `gone.world`",
        ),
        (
            &[("a.case", right), ("p.policy", POLICIES), ("shop.world", WORLD), ("two.world", WORLD)],
            "DIR/a.case: it names no world, and there are several",
        ),
        (
            &[
                ("a.case", &format!("world: shop\n{right}")),
                ("p.policy", POLICIES),
                ("shop.world", WORLD),
                ("b/shop.world", WORLD),
            ],
            "DIR/a.case: there are two worlds `shop`: DIR/b/shop.world and DIR/shop.world",
        ),
        (
            &[("a.case", &right.replace("shop.orders", "shop.gone")), ("p.policy", POLICIES), ("shop.world", WORLD)],
            "DIR/a.case: case `a`: the world has no data source `shop.gone`",
        ),
        (
            &[("a.case", &format!("policies: 'Mask sdf'\n{right}")), ("shop.world", WORLD)],
            "DIR/a.case: its policies cannot be read: ",
        ),
        (
            &[
                ("a.case", &right.replace("decide: deny", "decide: deny, at: yesterday")),
                ("p.policy", POLICIES),
                ("shop.world", WORLD),
            ],
            "DIR/a.case: case `a`: `yesterday` is no time such as `2024-07-31 12:30:00`: ",
        ),
        (
            &[("a.case", right), ("shop.world", &WORLD.replace("bigint", "number"))],
            "DIR/shop.world: column `shop.orders.id` has no type `number`",
        ),
        (
            &[("a.case", right), ("shop.world", &WORLD.replace("bert", "anna"))],
            "DIR/shop.world: user `anna` is there twice",
        ),
        (
            &[("a.case", right), ("shop.world", &format!("{WORLD}selected: {{ shop.gone: [anna] }}\n"))],
            "DIR/shop.world: the world has no data source `shop.gone`",
        ),
        (
            &[("a.case", right), ("shop.world", &WORLD.replace("columns:", "row_key: [nr]\n    columns:"))],
            "DIR/shop.world: data source `shop.orders` has no column `nr`",
        ),
    ];
    for (files, expected) in tries {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in *files {
            write(dir.path(), name, text);
        }
        let said = without(dir.path(), &run(dir.path()).unwrap_err());
        assert!(said.starts_with(expected), "{said}\nexpected {expected}");
    }
    // Nor are policies used of which some cannot be read, or have a key that another one has.
    for (second, expected) in
        [("policy x: Mask sdf", "DIR/q.policy: "), (POLICIES, "DIR/q.policy: the key `open` is taken")]
    {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("a.case", right), ("shop.world", WORLD), ("p.policy", POLICIES), ("q.policy", second)] {
            write(dir.path(), name, text);
        }
        let said = without(dir.path(), &run(dir.path()).unwrap_err());
        assert!(said.starts_with(expected), "{said}");
    }
    // Keys that mean nothing are refused with their place.
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.case", "about: x\ncasse: []\n");
    let said = run(dir.path()).unwrap_err();
    assert!(said.contains("casse") && said.contains("line 2"), "{said}");
}

#[test]
fn a_case_file_finds_the_worlds_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "worlds/shop.world", WORLD);
    let policies = POLICIES.replace('\n', "\n  ");
    let case = write(
        dir.path(),
        "a.case",
        format!(
            "about: x\nworld: shop\npolicies: |\n  {policies}\ncases:\n  - {{ case: a, as: anna, ask: shop.orders, decide: clear }}\n"
        ),
    );
    // A world is one world, also when it is named besides.
    let named = dir.path().join("worlds/../worlds/shop.world");
    for paths in [vec![case.clone()], vec![case, named]] {
        let summary = Suite::find(&paths).unwrap().run(None, None).unwrap();
        assert_eq!((summary.passed, summary.failures()), (0, 1));
    }
}

/// Another world in place of the one that files name, with its policies where no file has any.
#[test]
fn cases_can_be_run_in_another_world() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "a.case",
        "about: x\nworld: gone\ncases:\n  - { case: a, as: anna, ask: shop.orders, decide: clear, because: [open] }\n",
    );
    let suite = Suite::find(&[dir.path().to_path_buf()]).unwrap();
    let world = World::parse(WORLD).unwrap();
    let e = suite.run(Some(&world), None).unwrap_err().to_string();
    assert!(e.ends_with("it has no `policies`, and none were given"), "{e}");
    let parsed = weir_policy::language::parse("policy open: Allow anyone to subscribe.").policies;
    let stored = parsed.into_iter().map(|policy| weir_policy::StoredPolicy { id: weir_model::PolicyId(4), policy });
    let stored: Vec<_> = stored.collect();
    assert_eq!(suite.run(Some(&world), Some(&stored)).unwrap().to_string(), "1 passed, 0 failed, in 1 file");
    write(
        dir.path(),
        "b.case",
        "about: x\nworld: gone\nsaved_in: older\ncases:\n  - { case: a, as: anna, ask: shop.orders, decide: clear }\n",
    );
    let suite = Suite::find(&[dir.path().to_path_buf()]).unwrap();
    assert!(suite.run(Some(&world), Some(&stored)).unwrap_err().to_string().contains("`saved_in`"));
}

/// What was approved by a policy of the world holds for the one of its key in the files, under whichever number.
#[test]
fn approvals_of_the_world_follow_their_policies() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "a.case",
        "about: x\ncases:\n  - { case: a, as: anna, ask: shop.orders, decide: clear, because: [ask] }\n",
    );
    const ASK: &str =
        "policy ask: Allow anyone who asks to subscribe with approval by user bert on data source shop.orders.";
    let files =
        "policy other: Allow anyone who asks to subscribe with approval by an owner on data source shop.orders.\n";
    let path = write(dir.path(), "all.policy", format!("{files}{ASK}"));
    let mut world = World::parse(WORLD).unwrap();
    let stored = weir_policy::language::parse(ASK).policies.remove(0);
    let id = weir_model::PolicyId(1);
    world.facts.policies = vec![weir_policy::StoredPolicy { id, policy: stored }];
    let passed = |world: &World| {
        let suite = Suite::find(&[dir.path().to_path_buf()]).unwrap();
        suite.run(Some(world), None).unwrap().passed
    };
    assert_eq!(passed(&world), 0);
    let approval = (id, world.facts.sources[0].id, "anna".parse().unwrap());
    world.facts.approved.insert(approval.clone());
    assert_eq!(passed(&world), 1);
    // Of no other policy, and not when somebody else is asked.
    world.facts.approved = [(weir_model::PolicyId(2), approval.1, approval.2.clone())].into();
    assert_eq!(passed(&world), 0);
    world.facts.approved = [approval].into();
    std::fs::write(&path, format!("{files}{}", ASK.replace("by user bert", "by user anna"))).unwrap();
    assert_eq!(passed(&world), 0);
}
