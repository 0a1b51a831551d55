//! Files of SQLite in a temporary directory, gone when it is dropped.

use std::path::PathBuf;
use std::process::Command;

use weir_model::{Address, Connection, ConnectionName, DatabaseKind, Secret, Tls};

use crate::postgres::free_port;
use crate::run;

pub struct Sqlite {
    dir: PathBuf,
}

impl Sqlite {
    pub fn start() -> Self {
        let dir = std::env::temp_dir().join(format!("weir-sqlite-{}-{}", std::process::id(), free_port()));
        std::fs::create_dir(&dir).expect("a directory of its own");
        Self { dir }
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    pub fn connection(&self, name: &str, file: &str) -> Connection {
        Connection {
            name: ConnectionName::new(name).unwrap(),
            address: Address {
                kind: DatabaseKind::Sqlite,
                host: String::new(),
                port: 0,
                database: self.path(file).display().to_string(),
                user: String::new(),
                tls: Tls::Off,
            },
            password: Secret::new(""),
        }
    }

    /// Runs statements on a file, which must succeed; gives what they print.
    ///
    /// # Panics
    /// When the program `sqlite3` is not installed: nothing that needs it is passed over.
    pub fn sql(&self, file: &str, statements: &str) -> String {
        run(Command::new("sqlite3").args(["-batch", "-bail"]).arg(self.path(file)), statements)
    }

    /// Another file in the place of the one that is there, made by these statements.
    pub fn replace(&self, file: &str, statements: &str) {
        let made = format!("{file}.new");
        self.sql(&made, statements);
        std::fs::rename(self.path(&made), self.path(file)).unwrap();
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
