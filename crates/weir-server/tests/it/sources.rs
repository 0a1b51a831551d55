//! Registering files of every format and reading them as somebody who is under a policy.

use crate::weir::{Server, Weir};

/// A store with the users `ann` (group A) and `own`, all with the password `demo`.
fn people() -> Weir {
    let weir = Weir::new();
    weir.file("password", "demo");
    weir.ok(&["user", "add", "ann", "--group", "A", "--password-file", "password"]);
    weir.ok(&["user", "add", "own", "--password-file", "password"]);
    weir
}

fn open_to_all(weir: &Weir) -> Server {
    weir.ok(&["policy", "add", "--key", "open", "--text", "Allow anyone to subscribe"]);
    weir.start(&["serve"])
}

#[test]
fn csv_in_hive_folders() {
    let weir = people();
    for (dept, rows) in [("A", "1,Ada,007\n2,,008\n"), ("B", "3,\"Bob, jr\",009\n")] {
        std::fs::create_dir_all(weir.path().join(format!("emp/dept={dept}"))).unwrap();
        weir.file(&format!("emp/dept={dept}/part.csv"), format!("id,name,code\n{rows}"));
    }
    weir.ok(&["source", "add", "hr.emp", "emp", "--owner", "own", "--leave-out", "code"]);
    weir.ok(&[
        "policy",
        "add",
        "--key",
        "depts",
        "--text",
        "Only show rows where user is a member of group that matches the value in the column dept \
         for everyone except when user is an owner of the data source on data source hr.emp",
    ]);
    let server = open_to_all(&weir);
    assert_eq!(server.sql(&weir, "ann", "select * from hr.emp order by id").out, "id,name,dept\n1,Ada,A\n2,,A\n");
    assert_eq!(
        server.sql(&weir, "own", "select name, dept from hr.emp where id = 3").out,
        "name,dept\n\"Bob, jr\",B\n"
    );
    let left_out = server.sql(&weir, "own", "select code from hr.emp");
    assert_eq!(left_out.code, Some(1));
    assert!(left_out.err.contains("`code` does not exist"), "{}", left_out.err);
    // A file that is added is read by the next statement.
    weir.file("emp/dept=A/more.csv", "id,name,code\n4,Amy,010\n");
    assert_eq!(server.sql(&weir, "ann", "select count(*) from hr.emp").out, "count\n3\n");
}

/// What a file that somebody may see nothing of looks like today is no matter of whether she can read the others.
#[test]
fn values_of_one_csv_file_decide_nothing_about_the_others() {
    let weir = people();
    for (dept, name) in [("A", "Ada"), ("B", "Bob")] {
        std::fs::create_dir_all(weir.path().join(format!("emp/dept={dept}"))).unwrap();
        weir.file(&format!("emp/dept={dept}/part.csv"), format!("id,name\n1,{name}\n"));
    }
    weir.ok(&["source", "add", "hr.emp", "emp"]);
    weir.ok(&[
        "policy",
        "add",
        "--key",
        "depts",
        "--text",
        "Only show rows where dept = 'A' for everyone on data source hr.emp",
    ]);
    let server = open_to_all(&weir);
    let read = || server.sql(&weir, "ann", "select name from hr.emp").out;
    assert_eq!(read(), "name\nAda\n");
    weir.file("emp/dept=B/part.csv", "id,name\n1,77\n");
    assert_eq!(read(), "name\nAda\n");
    weir.file("emp/dept=B/part.csv", "id,name\n1.5,77\n");
    assert_eq!(read(), "name\nAda\n");
}

#[test]
fn json_lines() {
    let weir = people();
    weir.file(
        "events.json",
        "{\"id\": 1, \"kind\": \"click\", \"at\": 1.5}\n{\"id\": 2, \"kind\": null, \"at\": 2.25}\n",
    );
    weir.ok(&["source", "add", "web.events", "events.json"]);
    weir.ok(&[
        "policy",
        "add",
        "--key",
        "kinds",
        "--text",
        "Mask using the constant 'x' the column kind for everyone on data source web.events",
    ]);
    let server = open_to_all(&weir);
    assert_eq!(
        server.sql(&weir, "ann", "select id, kind, at from web.events order by id").out,
        "id,kind,at\n1,x,1.5\n2,x,2.25\n"
    );
}

#[test]
fn what_cannot_be_registered_is_refused_with_the_place() {
    let weir = people();
    weir.file("cut.parquet", "PAR1 and then nothing");
    let cut = weir.fails(&["source", "add", "a.b", "cut.parquet"]);
    assert!(cut.contains("cut.parquet") && cut.contains("not a readable parquet file"), "{cut}");
    let missing = weir.fails(&["source", "add", "a.b", "nowhere.parquet"]);
    assert!(missing.contains("nowhere.parquet"), "{missing}");
    weir.file("plain.txt", "x");
    assert!(weir.fails(&["source", "add", "a.b", "plain.txt"]).contains("name the format"));
    weir.file("ok.csv", "id\n1\n");
    let nameless = weir.run(&["source", "add", "nodot", "ok.csv"]);
    assert_eq!(nameless.code, Some(2));
    assert!(nameless.err.contains("schema.table"), "{nameless:?}");
    assert!(weir.fails(&["source", "add", "a.b", "ok.csv", "--leave-out", "di"]).contains("`di`"));
}

#[test]
fn files_that_change_their_schema_close_the_source() {
    let weir = people();
    weir.file("t.csv", "id,name\n1,Ada\n");
    weir.ok(&["source", "add", "a.t", "t.csv"]);
    let server = open_to_all(&weir);
    assert_eq!(server.sql(&weir, "ann", "select name from a.t").out, "name\nAda\n");
    weir.file("t.csv", "id,title\n1,Ada\n");
    let changed = server.sql(&weir, "ann", "select name from a.t");
    assert_eq!(changed.code, Some(1), "{changed:?}");
    assert!(changed.err.contains("a.t") && !changed.err.contains("t.csv"), "{changed:?}");
    assert!(weir.ok(&["audit", "--user", "ann", "--json"]).contains("column `name` is not in the files"));
}

#[test]
fn what_is_inside_of_nested_columns() {
    let weir = people();
    let lines = "[{\"item\": \"pills\", \"price\": 12.5}, {\"item\": \"drip\", \"price\": 40.0}]";
    weir.file(
        "visits.json",
        format!(
            "{{\"id\": 1, \"address\": {{\"city\": \"Bonn\", \"zip\": \"53111\"}}, \"phones\": [\"0228-1\", \"0228-2\"], \"lines\": {lines}}}\n\
             {{\"id\": 2, \"address\": {{\"city\": \"Ulm\", \"zip\": null}}, \"phones\": [], \"lines\": null}}\n"
        ),
    );
    let tags = ["--column-tag", "lines.price=Price", "--column-tag", "id=Key"];
    weir.ok(&[&["source", "add", "clinic.visits", "visits.json", "--owner", "own"], tags.as_slice()].concat());
    assert!(weir.ok(&["source", "show", "clinic.visits"]).contains("Price"));
    weir.ok(&["source", "tag", "clinic.visits", "--column", "lines.price", "--set", "Money"]);
    assert!(weir.ok(&["source", "show", "clinic.visits"]).contains("address.city"));
    for (key, text) in [
        (
            "zip",
            "Mask using the constant 'x' the column address.zip for everyone except when user is an owner of the data source on data source clinic.visits",
        ),
        (
            "phones",
            "Mask using the regex '[0-9]' replaced with '#' global the column phones for everyone except when user is an owner of the data source on data source clinic.visits",
        ),
        (
            "money",
            "Mask by making null values in columns tagged Money for everyone except when user is an owner of the data source",
        ),
        (
            "bonn",
            "Only show rows where address.city = 'Bonn' for everyone except when user is an owner of the data source on data source clinic.visits",
        ),
    ] {
        weir.ok(&["policy", "add", "--key", key, "--text", text]);
    }
    let explained = weir.ok(&["policy", "explain", "--user", "ann", "clinic.visits"]);
    assert!(!explained.contains("lines.price"), "nobody who does not subscribe is told of columns: {explained}");
    let server = open_to_all(&weir);
    let explained = weir.ok(&["policy", "explain", "--user", "ann", "clinic.visits"]);
    assert!(explained.contains("lines.price") && explained.contains("address.city = 'Bonn'"), "{explained}");
    let all = "select id, address['city'], address['zip'], phones[2], lines[1]['item'], lines[1]['price'] from clinic.visits order by id";
    assert_eq!(rows(&server.sql(&weir, "ann", all).out), ["1,Bonn,x,####-#,pills,"]);
    assert_eq!(rows(&server.sql(&weir, "own", all).out), ["1,Bonn,53111,0228-2,pills,12.5", "2,Ulm,,,,"]);
    // The mask is below the condition.
    let guess = "select count(*) from clinic.visits where address['zip'] = '53111' or lines[2]['price'] > 1";
    assert_eq!(rows(&server.sql(&weir, "ann", guess).out), ["0"]);
    assert_eq!(rows(&server.sql(&weir, "own", guess).out), ["1"]);
}

fn rows(out: &str) -> Vec<&str> {
    out.lines().skip(1).collect()
}
