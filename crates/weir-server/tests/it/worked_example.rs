//! The worked example is what it shows: its commands are run, and they print what the page says.

use std::path::{Path, PathBuf};
use std::process::Command;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/worked-example.md");

/// A folder with a copy of the examples and a data directory.
struct Example {
    dir: tempfile::TempDir,
}

impl Example {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples"), dir.path());
        Self { dir }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a shell prints: standard output, then standard error; and its exit status.
    fn sh(&self, folder: &str, command: &str) -> (String, Option<i32>) {
        let programs = Path::new(env!("CARGO_BIN_EXE_weir")).parent().unwrap();
        let ran = Command::new("sh")
            .args(["-c", command])
            .current_dir(self.folder(folder))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .env("WEIR_DATA_DIR", self.folder("weir-data"))
            .output()
            .unwrap();
        let text = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        let text = text.replace(&self.dir.path().canonicalize().unwrap().display().to_string(), "…");
        (text.replace(&self.dir.path().display().to_string(), "…"), ran.status.code())
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

/// Without moments, which are others every time, and without spaces at line ends.
fn stable(text: &str) -> String {
    let moment = regex::Regex::new(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?").unwrap();
    moment.replace_all(text, "…").lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// `WEIR_ACCEPT=1` writes anew what the commands print.
#[test]
fn the_commands_of_the_page_print_what_it_shows() {
    let example = Example::new();
    let (said, code) = example.sh("hospital", "./setup.sh");
    assert_eq!(code, Some(0), "{said}");
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (mut now, mut commands, mut inside) = (String::new(), 0, false);
    for line in page.lines() {
        match (line, line.strip_prefix("$ ")) {
            ("```console", _) => inside = true,
            ("```", _) => inside = false,
            (_, Some(command)) if inside => {
                let (said, _) = example.sh("hospital", command);
                now += &format!("{line}\n{}", stable(&said));
                commands += 1;
                continue;
            }
            _ if inside => continue,
            _ => {}
        }
        now += &format!("{line}\n");
    }
    assert!(commands >= 12, "only {commands} commands");
    if std::env::var_os("WEIR_ACCEPT").is_some_and(|value| value == "1") {
        std::fs::write(PAGE, &now).unwrap();
    }
    expect_test::expect_file![PAGE].assert_eq(&now);
}

/// The data directory that `setup.sh` makes is the world of the case files: the same cases hold in both.
#[test]
fn what_is_stored_is_the_world_of_the_cases() {
    let example = Example::new();
    assert_eq!(example.sh("hospital", "./setup.sh && weir policy apply policies --yes").1, Some(0));
    for command in [
        "weir policy test policies cases hospital.world",
        "weir policy test cases/patients.case cases/visits.case --world ../weir-data",
    ] {
        let (said, code) = example.sh("hospital", command);
        assert_eq!(code, Some(0), "{command}: {said}");
        assert!(said.contains(" passed, 0 failed"), "{said}");
    }
}

#[test]
fn the_other_example_holds_in_its_world_and_as_it_is_stored() {
    let example = Example::new();
    let passed = "7 passed, 0 failed, in 1 file\n";
    assert_eq!(example.sh("bank", "weir policy test ."), (passed.to_owned(), Some(0)));
    let stored = "./setup.sh && weir policy apply policies --yes && weir policy choose vendor-sample core.transactions";
    let (said, code) = example.sh("bank", stored);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(example.sh("bank", "weir policy test cases --world ../weir-data"), (passed.to_owned(), Some(0)));
}
