//! What tests of several crates share: a naive oracle, generators of worlds, policies and queries, fakes of the
//! guard's ports, a small fixed world and a runner of `.slt` files with people in them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a tool of tests: an assumption that does not hold is a failed test"
)]

pub mod cell;
pub mod dice;
pub mod generate;
pub mod mariadb;
mod nested;
pub mod oracle;
pub mod portable;
pub mod ports;
pub mod postgres;
pub mod retail;
pub mod slt;
pub mod sqlite;

pub use cell::{Cell, Row, Tables};
pub use dice::Dice;

/// Runs a client of a database on these statements, which must succeed; gives what it prints.
fn run(client: &mut std::process::Command, statements: &str) -> String {
    use std::io::{ErrorKind, Write as _};
    use std::process::Stdio;
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().expect("the client runs");
    let mut input = client.stdin.take().unwrap();
    let statements = statements.to_owned();
    // While it is read from, or each waits for the other.
    let writer = std::thread::spawn(move || match input.write_all(statements.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => panic!("{e}"),
        Err(_) | Ok(()) => {}
    });
    let ran = client.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}
