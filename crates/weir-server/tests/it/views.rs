//! Views that members of projects make, through the real program.

use crate::workspaces::{Study, policy, study};

#[test]
fn a_view_is_read_with_the_rights_of_whoever_reads() {
    let (weir, server) = study();
    let study = Study(&weir, &server);
    // Hans sees the mails. What he makes shows them to nobody else.
    let query = "select id, email, upper(email) as loud, country from shop.people where email like '%@x.org'";
    study.reads("hans", &format!("create view study_ws.v as {query}"));
    for user in ["hans", "mia", "connie"] {
        let direct = study.reads(user, &format!("{query} order by id"));
        assert_eq!(study.reads(user, "select * from study_ws.v order by id"), direct, "{user}");
    }
    assert!(study.reads("hans", "select loud from study_ws.v order by 1").contains("ANN@X.ORG"));
    assert_eq!(study.reads("connie", "select count(*) from study_ws.v"), "count\n0\n");
    // A change holds for the next statement.
    let rows = "Only show rows where user is a member of group that matches the value in the column country for everyone \
                who is a member of group FR on data source shop.people";
    policy(&weir, "rows", rows);
    study.reads("mia", "create view study_ws.lands as select country, count(*) from shop.people group by country");
    assert_eq!(study.reads("fred", "select * from study_ws.lands"), "country,count\nFR,2\n");
    let all = study.reads("mia", "select * from study_ws.lands order by 1");
    assert_eq!(all, "country,count\nFR,2\nUS,1\n");
    // Views read views; names are given; a schema can be in quotes or named with its database.
    study.reads(
        "mia",
        "create view weir.study_ws.more (land, people) as select country, \"count\" from \"study_ws\".lands",
    );
    assert_eq!(study.reads("fred", "select land, people from study_ws.more m"), "land,people\nFR,2\n");
    assert_eq!(
        study.reads("mia", "select weir.study_ws.more.people from weir.study_ws.more where land = 'US'"),
        "people\n1\n"
    );
    // What is written from a view has the policies of what the view reads.
    study.reads("hans", "create view study_ws.plain as select id, email, country from shop.people");
    study.reads("hans", "create table study_ws.t as select * from study_ws.plain");
    assert!(study.reads("hans", "select * from study_ws.t").contains("ann@x.org"));
    assert!(!study.reads("mia", "select * from study_ws.t").contains('@'));
    assert_eq!(study.reads("fred", "select id from study_ws.t order by id"), "id\n1\n3\n");
    // Who reads is told who she is, wherever that is asked.
    study.reads("mia", "create view study_ws.me as select current_user as me");
    assert_eq!(study.reads("fred", "select * from study_ws.me"), "me\nfred\n");

    // The plan tells no more than one without the view.
    let plan = study.reads("connie", "explain select email from study_ws.v");
    assert!(plan.contains("GovernedScan") && !plan.contains("null the"), "{plan}");
    let audit = weir.ok(&["audit", "--limit", "1000", "--json"]);
    let line = |sql: &str| audit.lines().find(|line| line.contains(sql)).unwrap_or_else(|| panic!("{sql}")).to_owned();
    let made = line("create view study_ws.v as");
    assert!(made.contains(r#""writes":"study_ws.v""#) && made.contains(r#""ended":"complete""#), "{made}");
    let read = line("select * from study_ws.v order by id");
    assert!(read.contains(r#""source":"shop.people""#) && read.contains(r#""source":"study_ws.v""#), "{read}");
}

#[test]
fn a_view_of_what_is_not_there_for_the_reader_is_not_there_for_her() {
    let (weir, server) = study();
    let study = Study(&weir, &server);
    weir.file("pay.csv", "id,amount\n1,10\n");
    weir.ok(&["source", "add", "shop.pay", "pay.csv"]);
    weir.ok(&["project", "source", "add", "study", "shop.pay"]);
    policy(&weir, "pay", "Allow users to subscribe when user is a member of group hr on data source shop.pay");
    study.reads("hans", "create view study_ws.v as select p.id, amount from shop.people p join shop.pay using (id)");
    study.reads("hans", "create view study_ws.w as select id from study_ws.v");
    study.reads("hans", "create view study_ws.open as select id from shop.people");
    assert_eq!(study.reads("hans", "select * from study_ws.w"), "id\n1\n");
    let listed = |user: &str, sql: &str| study.reads(user, sql).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let listings = [
        "select viewname from pg_views where schemaname = 'study_ws' order by 1",
        "select table_name from information_schema.views where table_schema = 'study_ws' order by 1",
        "select table_name from information_schema.tables where table_type = 'VIEW' order by 1",
        "select relname from pg_class where relkind = 'v' order by 1",
        "select distinct table_name from information_schema.columns where table_schema = 'study_ws' order by 1",
    ];
    for sql in listings {
        assert_eq!(listed("hans", sql), ["open", "v", "w"], "{sql}");
        assert_eq!(listed("mia", sql), ["open"], "{sql}");
        assert_eq!(server.sql(&weir, "hans", sql).out.lines().count(), 1, "{sql}: outside of the project");
    }
    let text = study.reads("hans", "select definition from pg_views where viewname = 'w'");
    assert_eq!(text, "definition\nSELECT id FROM study_ws.v\n");
    let defined = study.reads("hans", "select pg_get_viewdef('study_ws.open'::regclass)");
    assert!(defined.contains("SELECT id FROM shop.people"), "{defined}");
    // One and the same error, for a view that is not to be seen and for one that is not there.
    for sql in [
        "select 1 from T",
        "select nothing from T",
        "drop view T",
        "explain select 1 from T",
        "select amount from shop.people, T",
    ] {
        let told = |name: &str| {
            let ran = study.says("mia", &sql.replace('T', name));
            (ran.code, ran.err.replace(name, "T").split("request").next().map(str::to_owned))
        };
        for view in ["study_ws.v", "study_ws.w"] {
            assert_eq!(told(view), told("study_ws.z"), "{sql}");
        }
    }
    study.is_missing("mia", "study_ws.w");
    // Nor does how deep it is tell that it is there.
    for depth in 1..=15 {
        let below = if depth == 1 { "w".to_owned() } else { format!("d{}", depth - 1) };
        study.reads("hans", &format!("create view study_ws.d{depth} as select id from study_ws.{below}"));
    }
    study.refused("hans", "select * from study_ws.d15", "views read views more than 16 deep");
    study.is_missing("mia", "study_ws.d15");
    // Whoever cannot read it cannot make it.
    study.refused("mia", "create view study_ws.x as select * from shop.pay", "table `shop.pay` does not exist");
    study.refused("mia", "create view study_ws.x as select * from study_ws.v", "table `study_ws.v` does not exist");
    // Nor does somebody who is let in no more read it.
    weir.ok(&["policy", "remove", "pay"]);
    study.is_missing("hans", "study_ws.v");
    study.is_missing("hans", "study_ws.w");
    assert_eq!(listed("hans", listings[0]), ["open"]);
}

#[test]
fn a_view_fits_what_it_reads_or_has_to_be_made_again() {
    let (weir, server) = study();
    let study = Study(&weir, &server);
    study.reads("mia", "create table study_ws.t as select id, name from shop.people");
    study.reads("mia", "create view study_ws.v as select * from study_ws.t");
    study.reads("mia", "create view study_ws.w as select name from study_ws.v");
    let again =
        |view: &str| format!("view `study_ws.{view}` does not fit what it reads any more: it has to be created again");
    study.refused(
        "mia",
        "create or replace view study_ws.v as select * from study_ws.w",
        "view `study_ws.v` would read itself",
    );
    study.refused("mia", "create or replace view study_ws.v as select id, name from study_ws.v", "would read itself");
    study.refused("mia", "create view study_ws.v as select 1 as one", "view `study_ws.v` already exists");
    study.refused("mia", "create or replace view study_ws.v as select id from study_ws.t", "has other columns");
    study.refused(
        "mia",
        "create or replace view study_ws.t as select 1 as one",
        "`study_ws.t` is no view, but a table",
    );
    study.refused("mia", "create table study_ws.v as select 1 as one", "already exists");
    study.refused("mia", "drop table study_ws.v", "`study_ws.v` is no table, but a view");
    study.refused("mia", "drop view study_ws.t", "`study_ws.t` is no view, but a table");
    study.refused("mia", "insert into study_ws.v values (1, 'x')", "`study_ws.v` is no table, but a view");
    study.refused("mia", "create view study_ws.x as select table_name from information_schema.tables", "catalogue");
    study.refused(
        "mia",
        "create view study_ws.x as select current_setting('timezone')",
        "cannot call `current_setting`",
    );
    study.refused("mia", "create view study_ws.x as select $1::int as a", "no parameters");
    study.refused("mia", "create view study_ws.x (a, b) as select 1", "gives 1 columns, and the view names 2");
    study.refused("mia", "create view study_ws.x as select id, id from study_ws.t", "column `id` is there twice");
    study.refused("mia", "create view shop.x as select 1 as one", "in the workspace of the current project only");
    study.refused("mia", "begin; create view study_ws.x as select 1 as one", "inside a transaction block");
    study.refused("mia", "create view study_ws.x as select nothing from study_ws.t", "does not exist");
    // Another state of the table is the same table; a table of the same name is another one.
    study.reads("ned", "insert into study_ws.t values (9, 'Zed')");
    assert_eq!(study.reads("mia", "select count(*) from study_ws.w"), "count\n4\n");
    study.reads("ned", "drop table study_ws.t");
    for view in ["v", "w"] {
        study.refused("mia", &format!("select * from study_ws.{view}"), &again("v"));
    }
    study.reads("ned", "create table study_ws.t as select id, name from shop.people");
    study.refused("mia", "select * from study_ws.v", &again("v"));
    // It can be made anew, and taken away.
    study.reads("ned", "create or replace view study_ws.v as select id, name from study_ws.t");
    assert_eq!(study.reads("mia", "select count(*) from study_ws.w"), "count\n3\n");
    study.reads("ned", "drop table study_ws.t");
    study.reads("ned", "drop view study_ws.v");
    study.refused("mia", "select * from study_ws.w", &again("w"));
    study.reads("mia", "drop view if exists study_ws.v");
    let ran = weir.run(&["project", "set", "study", "--no-workspace"]);
    assert!(ran.code == Some(1) && ran.err.contains("`study_ws.w`"), "{ran:?}");
    let shown = weir.ok(&["source", "show", "study_ws.w"]);
    assert!(shown.contains("view") && shown.contains("SELECT name FROM study_ws.v"), "{shown}");
    study.reads("mia", "drop view study_ws.w");
    weir.ok(&["project", "set", "study", "--no-workspace"]);
}

#[test]
fn a_column_that_went_makes_a_view_unfit_and_tells_nobody_its_name() {
    let (weir, server) = study();
    let study = Study(&weir, &server);
    study.reads("mia", "create view study_ws.v as select id, name from shop.people");
    study.reads("mia", "create view study_ws.all as select * from shop.people");
    weir.ok(&["source", "remove", "shop.people"]);
    weir.file("people.csv", "id,email,country\n1,ann@x.org,FR\n");
    weir.ok(&["source", "add", "shop.people", "people.csv"]);
    weir.ok(&["project", "source", "add", "study", "shop.people"]);
    for view in ["v", "all"] {
        study.refused("mia", &format!("select 1 from study_ws.{view}"), "has to be created again");
    }
    study.reads("mia", "drop view study_ws.all");
}

#[test]
fn policies_that_reach_a_view_hold_for_what_it_reads_or_close_it() {
    let (weir, server) = study();
    let study = Study(&weir, &server);
    study.reads("mia", "create view study_ws.v as select id, name as email from shop.people");
    study.reads("mia", "create view study_ws.same as select id, email from shop.people");
    let everywhere =
        "Mask by making null the column email for everyone who is a member of group FR on all data sources";
    policy(&weir, "everywhere", everywhere);
    // Where the view hands the column on, the policy holds below.
    assert!(!study.reads("fred", "select email from study_ws.same").contains('@'));
    // It cannot be put on another column of that name.
    study.is_missing("fred", "study_ws.v");
    assert!(study.reads("mia", "select email from study_ws.v").contains("Ann"));
    let rows = "Only show rows where id > 1 for everyone who is a member of group hr on data source study_ws.same";
    policy(&weir, "rows", rows);
    study.is_missing("hans", "study_ws.same");
    policy(
        &weir,
        "late",
        "Allow users to subscribe when user is a member of group hr always required on data source study_ws.v",
    );
    study.is_missing("mia", "study_ws.v");
    assert!(study.reads("hans", "select email from study_ws.v").contains("Ann"));
}
