//! The program itself: started, stopped and killed as an operator and a power cut would.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use lamppost_core::base::EntryHash;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Cursor, Outcome, Pull};

use crate::fixture::*;
use crate::sockets::Phone;

pub struct Program {
    child: Child,
    pub url: String,
    relay: String,
}

pub fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lamppost-relay"));
    command.env_clear().args(["--listen", "127.0.0.1:0", "--data"]).arg(data);
    command
}

impl Program {
    /// Starts the relay and reads from its log where it listens.
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    pub fn start_with(data: &Path, arguments: &[&str]) -> Self {
        let mut child =
            command(data).args(arguments).env("NO_COLOR", "1").stderr(Stdio::piped()).spawn().unwrap();
        let (mut address, mut relay, mut log) = (None, None, Vec::new());
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        while relay.is_none() {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {log:?}")).unwrap();
            let word_after = |mark: &str| {
                line.split_once(mark).map(|(_, rest)| rest.split([',', ' ']).next().unwrap().to_owned())
            };
            address = address.or_else(|| word_after("listening on "));
            relay = word_after("relay id ");
            log.push(line);
        }
        // Whatever it says later has to go somewhere.
        std::thread::spawn(move || lines.count());
        Self { child, url: format!("ws://{}/v1/session", address.unwrap()), relay: relay.unwrap() }
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

/// Reads everything of the group that the founder's phone does not have itself.
async fn read_all(url: &str, world: &World) -> BTreeSet<EntryHash> {
    let (mut phone, _) = Phone::open(url, world, &world.founder).await;
    phone
        .say(&Frame::Pull(Pull { cursors: vec![Cursor { compartment: GROUP, after: 0 }], live: false }))
        .await;
    let mut hashes = BTreeSet::new();
    loop {
        match phone.hear().await.unwrap() {
            Frame::Entries(entries) => {
                let hash =
                    |wire: &lamppost_core::entry::Wire| lamppost_core::base::hash::sha256(&wire.signed);
                hashes.extend(entries.entries.iter().map(|wire| EntryHash(hash(wire).0)));
            }
            Frame::CaughtUp => return hashes,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_pushes_it_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut world = World::new(1);
    let mut volunteer = Person::new(2);
    world.admit(&volunteer, VOLUNTEER);
    let mut acknowledged = BTreeSet::new();
    let mut unacknowledged = Vec::new();
    let mut relay_id = None;
    for round in 0..5 {
        let program = Program::start(&data);
        assert_eq!(*relay_id.get_or_insert(program.relay.clone()), program.relay);
        let (mut phone, welcome) = Phone::open(&program.url, &world, &volunteer).await;
        if round == 0 {
            phone.push(0, &world.roll).await.unwrap();
        }
        let found = read_all(&program.url, &world).await;
        assert!(acknowledged.is_subset(&found), "round {round}");
        // What the relay has of this phone's log is exactly where it goes on.
        let there = welcome.own.iter().find(|own| own.compartment == GROUP).map(|own| own.head.seq + 1);
        assert_eq!(there.unwrap_or(0), found.len() as u64, "round {round}");

        let mut program = Some(program);
        for number in 1.. {
            unacknowledged.extend(world.words(&mut volunteer, GROUP, &[round; 500]));
            phone
                .say(&Frame::Push(lamppost_core::sync::frame::Push {
                    number,
                    entries: wires(&unacknowledged),
                }))
                .await;
            // The kill falls while this push is on its way.
            if number == 20 {
                program.take().unwrap().kill();
            }
            let Some(Frame::Ack(ack)) = phone.hear().await else { break };
            assert!(ack.outcomes.iter().all(|outcome| *outcome == Outcome::Kept), "{ack:?}");
            acknowledged.extend(unacknowledged.drain(..).map(|entry| entry.hash()));
            if program.is_none() {
                break;
            }
        }
    }
    let program = Program::start(&data);
    assert!(acknowledged.len() >= 95);
    assert!(acknowledged.is_subset(&read_all(&program.url, &world).await));
    program.kill();
}

#[tokio::test]
async fn a_signal_ends_it_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(&directory.path().join("data"));
    let world = World::new(1);
    let (mut phone, _) = Phone::open(&program.url, &world, &world.founder).await;
    phone.push(0, &world.roll).await.unwrap();
    let status = program.terminate();
    assert!(status.success(), "{status}");
    assert!(matches!(phone.hear().await, Some(Frame::Goodbye(_))));
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.env("NO_COLOR", "1").output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

#[test]
fn mistakes_of_the_operator_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let program = Program::start(&data);
    // The same data twice.
    let (code, said) = run(&mut command(&data));
    assert_eq!(code, Some(1));
    assert!(said.contains("already in use"), "{said}");
    // The same port twice.
    let address = program.url.trim_start_matches("ws://").split('/').next().unwrap();
    let (code, said) = run(command(&directory.path().join("other")).args(["--listen", address]));
    assert_eq!(code, Some(2), "given twice: {said}");
    let mut twice = Command::new(env!("CARGO_BIN_EXE_lamppost-relay"));
    let (code, said) = run(twice.args(["--listen", address, "--data"]).arg(directory.path().join("other")));
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot listen") && said.contains(address), "{said}");
    program.kill();

    let file = directory.path().join("a file");
    std::fs::write(&file, "x").unwrap();
    let (code, said) = run(&mut command(&file));
    assert_eq!(code, Some(1));
    assert!(said.contains("a file"), "{said}");

    let settings = directory.path().join("relay.toml");
    std::fs::write(&settings, "lisen = \"127.0.0.1:1\"\n").unwrap();
    let (code, said) = run(command(&data).arg("--config").arg(&settings));
    assert_eq!(code, Some(2));
    assert!(said.contains("lisen"), "{said}");
}

#[test]
fn settings_come_from_flag_environment_and_file_in_this_order() {
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("relay.toml");
    std::fs::write(&settings, "groups_max = 1\nconnections_max = 1\ngroup_sessions_max = 1\n").unwrap();
    let mut command = command(directory.path());
    command.arg("--config").arg(&settings).args(["--print-config", "--groups-max", "3"]);
    command.env("LAMPPOST_GROUPS_MAX", "2").env("LAMPPOST_CONNECTIONS_MAX", "2");
    let (code, said) = run(&mut command);
    assert_eq!(code, Some(0), "{said}");
    for line in ["groups_max = 3\n", "connections_max = 2\n", "group_sessions_max = 1\n"] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[cfg(unix)]
#[test]
fn the_data_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    Program::start(&data).kill();
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
}
