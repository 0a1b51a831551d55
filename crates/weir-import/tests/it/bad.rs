//! Input that nothing is imported of.

use std::time::Instant;

use expect_test::{Expect, expect};
use weir_import::{Document, Error, Import};

type Reader = fn(&[Document<'_>]) -> Result<Import, Error>;

fn check(read: Reader, bytes: &[u8], expected: &Expect) {
    let error = read(&[Document { name: "a.json", bytes }]).unwrap_err();
    expected.assert_eq(&error.to_string());
}

#[test]
fn documents_that_are_no_exports() {
    let ranger: Reader = weir_import::ranger;
    check(
        ranger,
        b"{\"policies\": [{\"id\": 1,",
        &expect!["a.json: line 1, column 23: this is not the JSON of an export: EOF while parsing a value"],
    );
    check(
        ranger,
        b"{\"policies\": [],\n \"policies\": []}",
        &expect!["a.json: line 2, column 16: this is not the JSON of an export: the key `policies` is there twice"],
    );
    check(ranger, b"{\"policies\": [\n{\"name\": \"\xff\"}]}", &expect!["a.json: line 2: the file is not UTF-8"]);
    check(ranger, b"{\"policies\": 3}", &expect!["a.json: policies: expected a list, found `3`"]);
    check(
        ranger,
        b"{}",
        &expect!["a.json: this is no export of policies or roles: it has neither `policies` nor `roles`"],
    );
    check(ranger, b"\"policies\"", &expect!["a.json: expected an export of policies, found `policies`"]);
    check(
        ranger,
        b"[{\"name\": \"a\", \"policyType\": \"mask\", \"resources\": {}}]",
        &expect!["a.json: [0].policyType: expected a whole number, found `mask`"],
    );
    check(
        ranger,
        b"[{\"name\": \"a\", \"resources\": {\"table\": {\"values\": [1]}}}]",
        &expect!["a.json: [0].resources.table.values[0]: expected a text, found `1`"],
    );
    check(ranger, b"[{\"resources\": {}}]", &expect!["a.json: [0].name: the policy has neither a name nor an id"]);
    let twice = b"[{\"name\": \"a\", \"resources\": {}}, {\"name\": \"a\", \"resources\": {}}]";
    check(ranger, twice, &expect!["a.json: [1]: service `` has two policies with the name `a`"]);
    check(
        ranger,
        b"{\"policies\": [], \"policyDeltas\": [{}]}",
        &expect!["a.json: policyDeltas: the file holds changes of policies; export the policies themselves"],
    );
    check(
        ranger,
        b"{\"roles\": [{\"name\": \"a\"}, {\"name\": \"a\"}]}",
        &expect!["a.json: roles[1]: the role `a` is there twice"],
    );
    let immuta: Reader = weir_import::immuta;
    check(
        immuta,
        b"name: a\ntype: data\nname: b\n",
        &expect![
            "a.json: line 3, column 1: this is not the YAML of policies: duplicate mapping key: name, set DuplicateKeyPolicy in Options if acceptable at line 3, column 1"
        ],
    );
    check(
        immuta,
        b"name: [a\n",
        &expect![
            "a.json: line 1, column 7: this is not the YAML of policies: unclosed bracket '[' at line 1, column 7"
        ],
    );
    check(
        immuta,
        b"name: a\ntype: audit\n",
        &expect!["a.json: type: the type `audit` is neither `subscription` nor `data`"],
    );
    check(immuta, b"name: a\ntype: data\n", &expect!["a.json: actions: the actions of a data policy are a list"]);
    check(immuta, b"type: data\nactions: []\n", &expect!["a.json: policyKey: the policy has neither a key nor a name"]);
    check(
        immuta,
        b"name: a\ntype: data\nactions:\n  - rules:\n      - type: 3\n",
        &expect!["a.json: actions[0].rules[0].type: expected a text, found `3`"],
    );
    check(immuta, b"", &expect!["a.json: there is no policy in it"]);
    check(
        immuta,
        b"policyKey: a\ntype: data\nactions: []\n---\npolicyKey: a\ntype: data\nactions: []\n",
        &expect!["a.json: [1]: two policies have the key `a`"],
    );
}

#[test]
fn what_is_too_long_is_not_read() {
    let long = vec![b' '; 10 << 20];
    for read in [weir_import::ranger as Reader, weir_import::immuta] {
        check(read, &long, &expect!["a.json: the file has 10485760 bytes; at most 8388608 are read"]);
    }
    let some = vec![b' '; 7 << 20];
    let all: Vec<Document<'_>> = (0..5).map(|_| Document { name: "b", bytes: &some }).collect();
    assert!(weir_import::ranger(&all).unwrap_err().to_string().contains("at most 33554432 are read at once"));
}

/// The largest documents of different shapes, each within a time that only a blow-up would miss.
#[test]
fn large_documents_are_read_in_bounded_time() {
    let policy = |at: usize, rest: &str| {
        format!(
            "{{\"name\": \"p{at}\", \"resources\": {{\"database\": {{\"values\": [\"d{at}\"]}}, \"table\": {{\"values\": [\"*\"]}}, \"column\": {{\"values\": [\"*\"]}}}}, {rest}}}"
        )
    };
    let items = |count: usize, key: &str, info: &str| {
        let item = |at: usize| format!("{{\"accesses\": [{{\"type\": \"select\"}}], \"users\": [\"u{at}\"]{info}}}");
        format!("\"{key}\": [{}]", (0..count).map(item).collect::<Vec<_>>().join(","))
    };
    let filter = ", \"rowFilterInfo\": {\"filterExpr\": \"a = 1\"}";
    let mask = ", \"dataMaskInfo\": {\"dataMaskType\": \"MASK_HASH\"}";
    let documents = [
        (0..1_000).map(|at| policy(at, &items(2, "policyItems", ""))).collect::<Vec<_>>().join(","),
        policy(0, &(items(20_000, "rowFilterPolicyItems", filter) + ", \"policyType\": 2")),
        policy(0, &(items(300, "dataMaskPolicyItems", mask) + ", \"policyType\": 1")),
        (0..800)
            .map(|at| policy(at, &(items(1, "denyPolicyItems", "") + ", \"zoneName\": \"z\"")))
            .collect::<Vec<_>>()
            .join(","),
    ];
    for document in documents {
        let document = format!("[{document}]");
        assert!(document.len() < 8 << 20, "{}", document.len());
        let start = Instant::now();
        let import = weir_import::ranger(&[Document { name: "a", bytes: document.as_bytes() }]).unwrap();
        assert!(!import.report.lines.is_empty());
        assert!(start.elapsed().as_secs() < 120, "{:?}", start.elapsed());
    }
    let deep = format!("{{\"policies\": {}", "[".repeat(1 << 20));
    assert!(weir_import::ranger(&[Document { name: "a", bytes: deep.as_bytes() }]).is_err());
    let wide = format!("a: {}", "[".repeat(1 << 20));
    assert!(weir_import::immuta(&[Document { name: "a", bytes: wide.as_bytes() }]).is_err());
}
