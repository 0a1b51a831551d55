//! The rows of the world: those whom alice may see, in the department A, and those who are hidden from her, in B.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, ListBuilder, MapBuilder, MapFieldNames, RecordBatch, StringArray, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, Fields};
use parquet::arrow::ArrowWriter;
use serde_json::json;

/// What stands where the constant masks a part of an address.
pub(crate) const ZIP_MASK: &str = "#####";

#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: i32,
    /// A number where alice may see it, so that it can be cast; words where she may not.
    pub(crate) name: Option<String>,
    pub(crate) dept: &'static str,
    /// From 1 to 5 where alice may see it, 100 where she may not.
    pub(crate) level: i32,
    pub(crate) salary: Option<i32>,
    pub(crate) ssn: Option<String>,
    pub(crate) city: &'static str,
    pub(crate) zip: String,
    pub(crate) phones: Vec<String>,
    pub(crate) badge: String,
    pub(crate) notes: Option<String>,
}

/// Everybody. Hidden rows stand among the others.
pub(crate) fn everybody() -> Vec<Person> {
    let visible = (1..=120).map(|i| Person {
        id: i,
        name: (i % 17 != 0).then(|| i.to_string()),
        dept: "A",
        level: 1 + i % 5,
        salary: Some(7_100_000 + i),
        ssn: (i % 13 != 0).then(|| format!("5{:02}-07-1{:03}", i % 40, i % 40)),
        city: ["Bonn", "Ulm", "Kiel"][usize::try_from(i % 3).unwrap()],
        zip: format!("Z9{:04}Q", i % 50),
        phones: (0..i % 4).map(|n| format!("0228-{i}-{n}")).collect(),
        badge: format!("badge-{i}"),
        notes: Some(format!("NOTE_CANARY_{i}")),
    });
    let hidden = (1..=20).map(|i| Person {
        id: 900_100 + i,
        name: Some(format!("HIDDEN_EVE_{i}")),
        dept: "B",
        level: 100,
        salary: Some(7_200_000 + i),
        ssn: Some(format!("666-07-2{i:03}")),
        city: "GHOSTVILLE",
        zip: format!("Z8{i:04}Q"),
        phones: vec![format!("0666-{i}")],
        badge: format!("HIDDEN_BADGE_{i}"),
        notes: Some(format!("NOTE_CANARY_B{i}")),
    });
    let (mut all, hidden): (Vec<Person>, Vec<Person>) = (visible.collect(), hidden.collect());
    for (number, person) in hidden.into_iter().enumerate() {
        all.insert(3 + number * 6, person);
    }
    all
}

/// The same people under names that nobody takes for numbers, for files whose types are found out from what is in them.
pub(crate) fn in_words(all: &[Person]) -> Vec<Person> {
    all.iter().map(|person| Person { name: Some("name".to_owned()), ..person.clone() }).collect()
}

/// What a text in an answer must not hold, as a regular expression; of what everybody has.
pub(crate) const HIDDEN: &str =
    r"HIDDEN_|NOTE_CANARY|GHOSTVILLE|\b0666-|\b[56]\d\d-07-[12]\d{3}\b|\b7[12]00\d{3}\b|\b9001\d\d\b|Z[89]\d{4}Q";

/// The same as numbers.
pub(crate) fn hidden_numbers() -> Vec<i32> {
    let hidden = |person: &Person| (person.dept != "A").then_some(person.id);
    let all = everybody();
    all.iter().filter_map(|person| person.salary).chain(all.iter().filter_map(hidden)).collect()
}

/// What alice may see of them, with her masks; `token` hashes.
pub(crate) fn seen(all: &[Person], token: impl Fn(&str) -> String) -> Vec<Person> {
    let seen = all.iter().filter(|person| person.dept == "A").map(|person| Person {
        salary: None,
        ssn: person.ssn.as_deref().map(&token),
        zip: ZIP_MASK.to_owned(),
        notes: None,
        ..person.clone()
    });
    seen.collect()
}

/// Which columns are in a file.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    /// It is not in files that lie in folders of departments.
    pub(crate) dept: bool,
    /// It is not in copies.
    pub(crate) notes: bool,
}

pub(crate) fn write_parquet(path: &Path, people: &[Person], columns: Columns) {
    let texts = |text: &dyn Fn(&Person) -> Option<String>| -> ArrayRef {
        Arc::new(people.iter().map(text).collect::<StringArray>())
    };
    let numbers = |number: &dyn Fn(&Person) -> Option<i32>| -> ArrayRef {
        Arc::new(people.iter().map(number).collect::<Int32Array>())
    };
    let parts = Fields::from(vec![Field::new("city", DataType::Utf8, true), Field::new("zip", DataType::Utf8, true)]);
    let address = vec![texts(&|p| Some(p.city.to_owned())), texts(&|p| Some(p.zip.clone()))];
    let mut phones = ListBuilder::new(StringBuilder::new());
    let names = MapFieldNames { entry: "entries".to_owned(), key: "keys".to_owned(), value: "values".to_owned() };
    let mut props = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for person in people {
        person.phones.iter().for_each(|phone| phones.values().append_value(phone));
        phones.append(true);
        props.keys().append_value("badge");
        props.values().append_value(&person.badge);
        props.append(true).unwrap();
    }
    let mut arrays: Vec<(&str, ArrayRef)> = vec![
        ("id", numbers(&|p| Some(p.id))),
        ("name", texts(&|p| p.name.clone())),
        ("level", numbers(&|p| Some(p.level))),
        ("salary", numbers(&|p| p.salary)),
        ("ssn", texts(&|p| p.ssn.clone())),
        ("addr", Arc::new(StructArray::new(parts, address, None))),
        ("phones", Arc::new(phones.finish())),
        ("props", Arc::new(props.finish())),
    ];
    if columns.dept {
        arrays.insert(2, ("dept", texts(&|p| Some(p.dept.to_owned()))));
    }
    if columns.notes {
        arrays.push(("notes", texts(&|p| p.notes.clone())));
    }
    let batch = RecordBatch::try_from_iter_with_nullable(arrays.into_iter().map(|(name, array)| (name, array, true)));
    let batch = batch.unwrap();
    make_folder(path);
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub(crate) fn write_json(path: &Path, people: &[Person], columns: Columns) {
    let mut text = String::new();
    for person in people {
        let mut line = json!({
            "id": person.id,
            "name": person.name,
            "level": person.level,
            "salary": person.salary,
            "ssn": person.ssn,
            "addr": {"city": person.city, "zip": person.zip},
            "phones": person.phones,
            "props": {"badge": person.badge},
        });
        if columns.dept {
            line["dept"] = json!(person.dept);
        }
        if columns.notes {
            line["notes"] = json!(person.notes);
        }
        writeln!(text, "{line}").unwrap();
    }
    make_folder(path);
    std::fs::write(path, text).unwrap();
}

/// Without what is nested.
pub(crate) fn write_csv(path: &Path, people: &[Person], columns: Columns) {
    let mut text = "id,name,level,salary,ssn".to_owned();
    text += if columns.dept { ",dept" } else { "" };
    text += if columns.notes { ",notes\n" } else { "\n" };
    for person in people {
        let salary = person.salary.map(|salary| salary.to_string()).unwrap_or_default();
        let (name, ssn) = (person.name.as_deref().unwrap_or(""), person.ssn.as_deref().unwrap_or(""));
        write!(text, "{},{name},{},{salary},{ssn}", person.id, person.level).unwrap();
        if columns.dept {
            write!(text, ",{}", person.dept).unwrap();
        }
        if columns.notes {
            write!(text, ",{}", person.notes.as_deref().unwrap_or("")).unwrap();
        }
        text.push('\n');
    }
    make_folder(path);
    std::fs::write(path, text).unwrap();
}

fn make_folder(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
}
