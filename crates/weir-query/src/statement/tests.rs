use super::*;

fn refused(text: &str) -> String {
    parse(text).unwrap_err().outside().text().to_owned()
}

#[test]
fn statements_that_are_no_reads_are_refused_by_name() {
    for (text, told) in [
        ("create table a.t (a int not null)", "this form of CREATE TABLE is not supported"),
        ("create view a.v with (x = 1) as select 1", "this form of CREATE VIEW is not supported"),
        ("INSERT INTO a.t VALUES (1) RETURNING b", "this form of INSERT is not supported"),
        ("create temp table a.t as select 1", "this form of CREATE TABLE AS is not supported"),
        ("COPY t TO '/tmp/x'", "COPY is supported TO STDOUT only"),
        ("COPY t FROM '/tmp/x'", "COPY is supported FROM STDIN only"),
        ("COPY a.t FROM STDIN (FORMAT binary)", "COPY with `FORMAT binary` is not supported"),
        ("COPY t TO STDOUT (FORMAT binary)", "COPY with `FORMAT binary` is not supported"),
        ("EXPLAIN DELETE FROM t", "DELETE is not supported"),
        ("EXPLAIN (FORMAT JSON) SELECT 1", "EXPLAIN is supported in the format TEXT only"),
        ("DESCRIBE t", "DESCRIBE is not supported"),
        ("UPDATE t SET a = 1", "UPDATE is not supported"),
        ("SELECT 1; DROP TABLE a.t, a.u", "this form of DROP TABLE is not supported"),
    ] {
        assert_eq!(refused(text), told, "{text}");
    }
    assert!(refused("SET ROLE bob").contains("keeps its identity"));
    assert!(refused("SET SESSION AUTHORIZATION bob").contains("keeps its identity"));
    for text in ["EXPLAIN ANALYZE SELECT 1", "EXPLAIN (ANALYZE) SELECT 1", "EXPLAIN (ANALYZE OFF) SELECT 1"] {
        assert!(refused(text).starts_with("EXPLAIN ANALYZE is not supported"), "{text}");
    }
    assert!(refused("SELEC 1").starts_with("syntax error"));
    // The parser would take what comes after it for rows.
    for text in ["COPY a.t FROM STDIN; SELECT 1", "SELECT 1; COPY a.t FROM STDIN; DROP TABLE a.t"] {
        assert!(refused(text).ends_with("COPY FROM STDIN has to stand alone"), "{text}");
    }
    assert!(matches!(parse("COPY a.t FROM STDIN;\n -- all\n").unwrap().as_slice(), [Statement::CopyIn(_)]));
}

#[test]
fn several_statements_are_taken_one_by_one() {
    let statements = parse("SELECT 1; SET datestyle TO 'ISO'; SHOW TIME ZONE").unwrap();
    assert!(matches!(&statements[0], Statement::Query(query) if query.text == "SELECT 1"));
    let set = SessionStatement::Set { name: "datestyle".to_owned(), value: "ISO".to_owned(), local: false };
    assert!(matches!(&statements[1], Statement::Session(statement) if *statement == set));
    let show = SessionStatement::Show { name: "timezone".to_owned() };
    assert!(matches!(&statements[2], Statement::Session(statement) if *statement == show));
}

#[test]
fn functions_about_projects_are_statements_of_their_own() {
    let session = |text: &str| match parse(text).unwrap().remove(0) {
        Statement::Session(statement) => statement,
        other @ (Statement::Query(_) | Statement::Write(_) | Statement::Copy(_) | Statement::CopyIn(_)) => {
            panic!("{other:?}")
        }
    };
    let set = |name: Option<&str>| SessionStatement::SetProject { name: name.map(str::to_owned) };
    assert_eq!(session("select weir.set_current_project('study')"), set(Some("study")));
    assert_eq!(session("SELECT weir.Set_Current_Project( 'o''clock' );"), set(Some("o'clock")));
    assert_eq!(session("select weir.set_current_project()"), set(None));
    assert_eq!(session("select weir.current_project()"), SessionStatement::CurrentProject);
    for text in ["select * from weir.list_projects()", "select weir.list_projects()"] {
        assert_eq!(session(text), SessionStatement::ListProjects);
    }
    for argument in
        ["name", "1", "'a' || 'b'", "'a', 'b'", "NULL", "$1", "(SELECT 'a')", "'a'), weir.set_current_project('b'"]
    {
        let text = format!("SELECT weir.set_current_project({argument})");
        assert!(refused(&text).starts_with("`weir.set_current_project` stands alone"), "{text}");
    }
    for text in [
        "SELECT weir.set_current_project('a'), 1",
        "SELECT weir.set_current_project('a') FROM t",
        "SELECT weir.set_current_project('a') AS p",
        "EXPLAIN SELECT weir.set_current_project('a')",
        "SELECT a FROM t WHERE weir.set_current_project('a') = 'a'",
        "SELECT a FROM t WHERE a IN (SELECT weir.set_current_project('a'))",
        "WITH x AS (SELECT weir.set_current_project('a')) SELECT * FROM t, x",
        "SELECT weir.set_current_project('a') UNION SELECT weir.set_current_project('b')",
        "VALUES (weir.set_current_project('a'))",
    ] {
        assert!(refused(text).starts_with("`weir.set_current_project` stands alone"), "{text}");
    }
    assert!(refused("SELECT name FROM weir.list_projects()").starts_with("`weir.list_projects` stands alone"));
    assert!(refused("SELECT * FROM weir.list_projects() p, t").starts_with("`weir.list_projects` stands alone"));
    assert!(parse("SELECT 'weir.current_project()'").is_ok());
}

#[test]
fn depth_and_length_are_limited() {
    assert!(refused(&format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500))).contains("nests deeper"));
    assert!(refused(&format!("SELECT 1{}", " + 1".repeat(6_000))).contains("operators"));
    assert!(refused(&format!("SELECT '{}'", "x".repeat(5 << 20))).contains("longer than"));
    assert!(parse(&format!("SELECT 1 WHERE 1 IN ({}1)", "1, ".repeat(20_000))).is_ok(), "long lists are fine");
}

#[test]
fn question_marks_are_parameters_where_they_are_no_text() {
    let parsed = |text: &str| match parse_question_marks(text).unwrap().as_slice() {
        [Statement::Query(query)] => (query.text.clone(), query.parsed.to_string()),
        other => panic!("{other:?}"),
    };
    for (text, sql) in [
        ("select ?, '?', \"?\" -- ?", "SELECT $1, '?', \"?\""),
        ("select 1 where a = ? and b<? and c>=? /* ? */", "SELECT 1 WHERE a = $1 AND b < $2 AND c >= $3"),
        ("select a||?, (?), -? from t limit ?", "SELECT a || $1, ($2), -$3 FROM t LIMIT $4"),
        ("select $2, $1", "SELECT $2, $1"),
    ] {
        assert_eq!(parsed(text), (text.to_owned(), sql.to_owned()));
    }
    assert!(parse("select 1 where a = ?").is_err(), "an operator elsewhere");
}
