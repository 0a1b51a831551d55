use super::*;

fn refused(text: &str) -> String {
    parse(text).unwrap_err().outside().text().to_owned()
}

#[test]
fn statements_that_are_no_reads_are_refused_by_name() {
    for (text, told) in [
        ("INSERT INTO t VALUES (1)", "INSERT is not supported: only reads are"),
        ("create table t as select 1", "CREATE TABLE is not supported: only reads are"),
        ("COPY t TO STDOUT", "COPY is not supported: only reads are"),
        ("EXPLAIN DELETE FROM t", "DELETE is not supported: only reads are"),
        ("EXPLAIN (FORMAT JSON) SELECT 1", "EXPLAIN is supported in the format TEXT only"),
        ("DESCRIBE t", "DESCRIBE is not supported: only reads are"),
        ("UPDATE t SET a = 1", "UPDATE is not supported: only reads are"),
        ("SELECT 1; DROP TABLE t", "DROP TABLE is not supported: only reads are"),
    ] {
        assert_eq!(refused(text), told, "{text}");
    }
    assert!(refused("SET ROLE bob").contains("keeps its identity"));
    assert!(refused("SET SESSION AUTHORIZATION bob").contains("keeps its identity"));
    for text in ["EXPLAIN ANALYZE SELECT 1", "EXPLAIN (ANALYZE) SELECT 1", "EXPLAIN (ANALYZE OFF) SELECT 1"] {
        assert!(refused(text).starts_with("EXPLAIN ANALYZE is not supported"), "{text}");
    }
    assert!(refused("SELEC 1").starts_with("syntax error"));
}

#[test]
fn several_statements_are_taken_one_by_one() {
    let statements = parse("SELECT 1; SET datestyle TO 'ISO'; SHOW TIME ZONE").unwrap();
    assert!(matches!(&statements[0], Statement::Query(query) if query.text == "SELECT 1"));
    let set = SessionStatement::Set { name: "datestyle".to_owned(), value: "ISO".to_owned() };
    assert!(matches!(&statements[1], Statement::Session(statement) if *statement == set));
    let show = SessionStatement::Show { name: "timezone".to_owned() };
    assert!(matches!(&statements[2], Statement::Session(statement) if *statement == show));
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
