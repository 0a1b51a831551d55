//! Tables that members of projects write, through the real program.

use crate::weir::{Ran, Server, Weir};

const PEOPLE: &str = "id,name,email,country\n1,Ann,ann@x.org,FR\n2,Bob,bob@x.org,US\n3,Cem,cem@x.org,FR\n";

/// Users mia and ned, hans of group hr, connie of group contractors, fred of group FR, all members of project `study`
/// with workspace `study_ws`, and zoe, who is none. Mails are hashed, but clear to hr and NULL to contractors.
pub(crate) fn study() -> (Weir, Server) {
    let weir = Weir::new();
    weir.file("password", "demo");
    weir.file("people.csv", PEOPLE);
    weir.ok(&["source", "add", "shop.people", "people.csv"]);
    weir.ok(&["project", "create", "study"]);
    weir.ok(&["project", "source", "add", "study", "shop.people"]);
    weir.ok(&["project", "set", "study", "--workspace", "study_ws"]);
    for (user, group) in
        [("mia", ""), ("ned", ""), ("hans", "hr"), ("connie", "contractors"), ("fred", "FR"), ("zoe", "")]
    {
        let mut add = vec!["user", "add", user, "--password-file", "password"];
        if !group.is_empty() {
            add.extend(["--group", group]);
        }
        weir.ok(&add);
        if user != "zoe" {
            weir.ok(&["project", "member", "add", "study", user]);
        }
    }
    policy(&weir, "open", "Allow anyone to subscribe on data source shop.people");
    let mails = "Mask by making null the column email for everyone who is a member of group contractors \
                 otherwise mask using hashing the column email for everyone except when user is a member of group hr \
                 on data source shop.people";
    policy(&weir, "mails", mails);
    let server = weir.start(&["serve"]);
    (weir, server)
}

pub(crate) fn policy(weir: &Weir, key: &str, text: &str) {
    weir.ok(&["policy", "add", "--key", key, "--text", text]);
}

pub(crate) struct Study<'a>(pub(crate) &'a Weir, pub(crate) &'a Server);

impl Study<'_> {
    /// In the project.
    pub(crate) fn says(&self, user: &str, sql: &str) -> Ran {
        self.1.sql(self.0, user, &format!("set weir.project = 'study'; {sql}"))
    }

    pub(crate) fn reads(&self, user: &str, sql: &str) -> String {
        let ran = self.says(user, sql);
        assert_eq!(ran.code, Some(0), "{user}: {sql}: {ran:?}");
        ran.out
    }

    pub(crate) fn refused(&self, user: &str, sql: &str, told: &str) {
        let ran = self.says(user, sql);
        assert!(ran.code == Some(1) && ran.err.contains(told), "{user}: {sql}: {ran:?}");
    }

    pub(crate) fn is_missing(&self, user: &str, table: &str) {
        self.refused(user, &format!("select 1 from {table}"), &format!("table `{table}` does not exist"));
    }
}

#[test]
fn what_is_written_has_the_policies_of_what_it_was_made_from() {
    let (weir, server) = study();
    let study = Study(&weir, &server);
    let all = "select id, email, country from study_ws.mails order by id";
    study.reads("mia", "create table study_ws.mails as select id, email, country from shop.people");
    // Who sees the original as the writer did, sees what was written as it is.
    let hashed = study.reads("mia", "select id, email, country from shop.people order by id");
    assert!(!hashed.contains('@'), "{hashed}");
    assert_eq!(study.reads("mia", all), hashed);
    assert_eq!(study.reads("ned", all), hashed);
    // Who sees more of the original does not see more of it here, and who sees less sees nothing of it.
    assert_eq!(study.reads("hans", all), hashed);
    assert_eq!(study.reads("connie", all), "id,email,country\n1,,FR\n2,,US\n3,,FR\n");
    // It is only there in the project.
    assert_eq!(server.sql(&weir, "mia", "select 1 from study_ws.mails").code, Some(1));
    study.refused("zoe", "select 1", "no project `study`");
    let mia = "select count(*) from information_schema.tables where table_name = 'mails'";
    assert_eq!(server.sql(&weir, "mia", mia).out.lines().last(), Some("0"));
    assert_eq!(study.reads("mia", mia).lines().last(), Some("1"));

    // What hans wrote in the clear is masked for the others as the original is.
    study.reads("hans", "create table study_ws.clear as select * from shop.people");
    assert_eq!(study.reads("hans", "select * from study_ws.clear order by id"), PEOPLE);
    assert!(!study.reads("mia", "select * from study_ws.clear").contains('@'));
    assert_eq!(study.reads("connie", "select email from study_ws.clear"), "email\n\n\n\n");
    // So is what he computed from it, picked by it, sorted by it, or counted.
    for (name, query, shown) in [
        ("upper", "select id, upper(email) as u from shop.people where id = 1", "id,u\n1,\n"),
        ("picked", "select id, country from shop.people where email like 'ann%'", "id,country\n,\n"),
        ("sorted", "select id from shop.people order by email limit 1", "id\n\n"),
        ("counted", "select email as e, count(*) as n from shop.people where id = 1 group by email", "e,n\n"),
        (
            "inside",
            "select id from shop.people where id in (select id from shop.people where email like 'a%')",
            "id\n\n",
        ),
    ] {
        study.reads("hans", &format!("create table study_ws.{name} as {query}"));
        let out = study.reads("mia", &format!("select * from study_ws.{name}"));
        assert!(out.starts_with(shown) && !out.contains("ANN"), "{name}: {out}");
    }
    // A new policy at the original holds at once, for everybody whom it is for.
    let rows = "Only show rows where user is a member of group that matches the value in the column country for everyone \
                who is a member of group FR on data source shop.people";
    policy(&weir, "rows", rows);
    assert_eq!(study.reads("fred", "select id, country from study_ws.clear order by id"), "id,country\n1,FR\n3,FR\n");
    study.is_missing("fred", "study_ws.counted");
    // What fred writes is for those who see those rows; for others it is what the original would have.
    study
        .reads("fred", "create table study_ws.rows as select country, count(*) as n from shop.people group by country");
    assert_eq!(study.reads("fred", "select * from study_ws.rows"), "country,n\nFR,2\n");
    assert_eq!(study.reads("mia", "select country from study_ws.rows"), "country\nFR\n");
    weir.ok(&["policy", "remove", "open"]);
    study.is_missing("hans", "study_ws.clear");
    study.is_missing("mia", "study_ws.mails");
}

#[test]
fn tables_are_written_as_a_whole_and_on_record() {
    let (weir, server) = study();
    let study = Study(&weir, &server);
    study.reads("mia", "create table study_ws.t as select id, name from shop.people where id < 3");
    study.refused("ned", "create table study_ws.t as select 1 as one", "already exists");
    study.reads("ned", "insert into study_ws.t select id + 10, name from shop.people");
    assert_eq!(study.reads("mia", "select id, name from study_ws.t order by id").lines().count(), 6);
    study.reads("mia", "insert into study_ws.t values (99, 'Zed')");
    assert_eq!(study.reads("ned", "select count(*) from study_ws.t").lines().last(), Some("6"));
    let width = "table `study_ws.t` has 2 columns, and the query gives 1";
    study.refused("mia", "insert into study_ws.t select id from shop.people", width);
    study.refused("mia", "insert into study_ws.t select name, id from shop.people", "a value does not fit column `id`");
    study.refused("mia", "insert into study_ws.t select id / (id - 2), name from shop.people", "by zero");
    study.refused("mia", "create table study_ws.z as select 1 / (id - 2) as q from shop.people", "by zero");
    study.is_missing("mia", "study_ws.z");
    study.refused("mia", "create table study_ws.z as select table_name from information_schema.tables", "catalogue");
    study.refused("mia", "create table study_ws.z as select id, id from shop.people", "column `id` is there twice");
    let set = "create table study_ws.z as select set_config('timezone', 'UTC', false) as zone";
    study.refused("mia", set, "set_config stands in a SELECT of its own");
    study.refused("mia", "copy (select set_config('timezone', 'UTC', false)) to stdout", "set_config stands");
    assert_eq!(study.reads("ned", "select count(*) from study_ws.t").lines().last(), Some("6"));
    // Times that name no zone are of the session's, as in a read.
    let night = "set timezone = 'Asia/Tokyo'; create table study_ws.night as select \
                 cast('2024-01-01 00:00:00' as timestamptz) as at, count(*)";
    study.reads("mia", night);
    let seen = study.reads("mia", "set timezone = 'UTC'; select at, count from study_ws.night");
    assert_eq!(seen.lines().last(), Some("2023-12-31 15:00:00+00,1"));
    study.reads("mia", "drop table study_ws.night");
    // One state of one table is left.
    let folder = weir.path().join("data/workspaces/study_ws");
    let left = || std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(left(), 1);

    let place = "tables are written in the workspace of the current project only";
    for sql in [
        "create table other.t as select 1 as one",
        "insert into shop.people values (1, 'a', 'b', 'c')",
        "drop table shop.people",
    ] {
        study.refused("mia", sql, place);
    }
    for sql in ["create table study_ws.u as select 1 as one", "drop table study_ws.t"] {
        let ran = server.sql(&weir, "mia", sql);
        assert!(ran.code == Some(1) && ran.err.contains(place), "outside of the project: {ran:?}");
        let ran = server.sql(&weir, "zoe", sql);
        assert!(ran.code == Some(1) && ran.err.contains(place), "no member: {ran:?}");
    }
    study.refused("mia", "create table t as select 1 as one", "has to be named with the schema");
    study.refused("mia", "begin; create table study_ws.u as select 1 as one", "inside a transaction block");
    for (sql, name) in [
        ("create table study_ws.u (a int not null)", "CREATE TABLE"),
        ("create table study_ws.u (a int, primary key (a))", "CREATE TABLE"),
        ("create temporary table study_ws.u as select 1 as one", "CREATE TABLE AS"),
        ("create or replace table study_ws.u as select 1 as one", "CREATE TABLE AS"),
        ("create temporary view study_ws.v as select 1 as one", "CREATE VIEW"),
        ("create materialized view study_ws.v as select 1 as one", "CREATE VIEW"),
        ("create view study_ws.v with (security_barrier = true) as select 1 as one", "CREATE VIEW"),
        ("insert into study_ws.t (id) values (1)", "INSERT"),
        ("insert into study_ws.t values (1, 'a') returning id", "INSERT"),
        ("update study_ws.t set id = 1", "UPDATE"),
        ("delete from study_ws.t", "DELETE"),
        ("truncate study_ws.t", "TRUNCATE"),
        ("alter table study_ws.t rename to u", "ALTER TABLE"),
        ("drop table study_ws.t cascade", "DROP TABLE"),
        ("drop view study_ws.t cascade", "DROP VIEW"),
        ("explain create table study_ws.u as select 1 as one", "CREATE TABLE"),
    ] {
        let ran = study.says("mia", sql);
        let named = ran.err.contains(&format!("{name} is not supported"));
        assert!(ran.code == Some(1) && (named || ran.err.contains(&format!("this form of {name}"))), "{sql}: {ran:?}");
    }

    let audit = weir.ok(&["audit", "--limit", "1000", "--json"]);
    let writes = |sql: &str| {
        let line = audit.lines().find(|line| line.contains(sql)).unwrap_or_else(|| panic!("{sql} is not on record"));
        assert!(line.contains(r#""writes":"study_ws.t""#), "{line}");
        line.to_owned()
    };
    let created = writes("create table study_ws.t as select id, name");
    assert!(created.contains(r#""source":"shop.people""#) && created.contains(r#""ended":"complete""#), "{created}");
    assert!(writes("insert into study_ws.t select id / (id - 2)").contains(r#""ended":"failed""#));

    // A project with tables stays what it is.
    for args in [&["project", "remove", "study"][..], &["project", "set", "study", "--no-workspace"]] {
        let ran = weir.run(args);
        assert!(ran.code == Some(1) && ran.err.contains("table `study_ws.t`"), "{ran:?}");
    }
    let ran = weir.run(&["source", "add", "study_ws.people", "people.csv"]);
    assert!(ran.code == Some(1) && ran.err.contains("project `study` as its workspace"), "{ran:?}");
    study.reads("ned", "drop table study_ws.t");
    study.is_missing("mia", "study_ws.t");
    study.refused("mia", "drop table study_ws.t", "does not exist");
    study.reads("mia", "drop table if exists study_ws.t");
    assert_eq!(left(), 0);
    weir.ok(&["project", "set", "study", "--no-workspace"]);
    study.refused("mia", "create table study_ws.t as select 1 as one", place);
}

#[test]
fn members_of_an_equalized_project_see_what_any_of_them_wrote() {
    let (weir, server) = study();
    let study = Study(&weir, &server);
    weir.ok(&["project", "set", "study", "--equalized", "on"]);
    study.reads(
        "hans",
        "create table study_ws.t as select country, count(distinct email) as n from shop.people group by country",
    );
    let seen = study.reads("hans", "select * from study_ws.t order by country");
    assert_eq!(seen, "country,n\nFR,2\nUS,1\n");
    for user in ["mia", "connie", "fred"] {
        assert_eq!(study.reads(user, "select * from study_ws.t order by country"), seen);
    }
    // What was made from that, too.
    study.reads("mia", "create table study_ws.u as select sum(n) as total from study_ws.t");
    assert_eq!(study.reads("connie", "select * from study_ws.u"), "total\n3\n");
    // No longer equal, each sees what the policies leave of it for her.
    weir.ok(&["project", "set", "study", "--equalized", "off"]);
    assert_eq!(study.reads("connie", "select n from study_ws.t"), "n\n\n\n");
    assert_eq!(study.reads("connie", "select * from study_ws.u"), "total\n\n");
    assert_eq!(study.reads("hans", "select * from study_ws.u"), "total\n3\n");
}
