//! `SIGKILL` in the middle of writing: what was acknowledged is there, and nothing is half there.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;

const DIR_VAR: &str = "LAMPPOST_KILL_TEST_DIR";
const KILLS: u64 = 10;

/// New rows, one per batch and index.
const ADDED: Table = Table(1);
/// Rows every batch overwrites with its number.
const OVERWRITTEN: Table = Table(2);
const OVERWRITTEN_ROWS: usize = 40;

fn added_rows(number: u64) -> u64 {
    number % 23 + 1
}

fn added_value(number: u64, index: u64) -> Vec<u8> {
    let bytes = if number.is_multiple_of(5) { 9000 } else { 100 + index * 40 };
    number.to_be_bytes().into_iter().cycle().take(usize::try_from(bytes).unwrap()).collect()
}

fn batch(number: u64) -> Batch {
    let mut batch = Batch::default();
    for index in 0..added_rows(number) {
        let key = [number.to_be_bytes(), index.to_be_bytes()].concat();
        batch.put(ADDED, key, added_value(number, index));
    }
    for key in (0..=u8::MAX).take(OVERWRITTEN_ROWS) {
        batch.put(OVERWRITTEN, [key], number.to_be_bytes());
    }
    batch
}

/// The number of the newest batch, or 0.
fn newest(store: &dyn Store) -> u64 {
    let row = store.get(OVERWRITTEN, &[0]).unwrap();
    row.map_or(0, |row| u64::from_be_bytes(row.try_into().unwrap()))
}

fn say(line: &str) {
    // The leading newline ends what the test harness has begun to print.
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

/// Not a test of its own: the process that `acknowledged_batches_survive_a_kill` kills.
#[test]
fn writes_until_killed() {
    let Ok(dir) = std::env::var(DIR_VAR) else {
        return;
    };
    say("opening");
    let store = open(dir.as_ref());
    for number in newest(&store) + 1.. {
        store.apply(batch(number)).unwrap();
        say(&format!("ack {number}"));
    }
}

/// Runs the child and kills it at its `acks_before_kill`-th ack, or while it opens the store if that
/// is 0. Returns the number of the last batch acknowledged, or 0.
fn run_and_kill(dir: &Path, acks_before_kill: u64) -> u64 {
    let (_crate, module) = module_path!().split_once("::").unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::writes_until_killed"), "--nocapture"])
        .env(DIR_VAR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut acked, mut acks) = (0, 0);
    // The pipe may still hold acks after the kill; reading to its end collects them too.
    for line in lines.map_while(Result::ok) {
        if let Some(number) = line.strip_prefix("ack ") {
            acked = number.parse().unwrap();
            acks += 1;
        } else if line != "opening" {
            continue;
        }
        if acks == acks_before_kill {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "the child ends only by being killed");
    acked
}

#[test]
fn acknowledged_batches_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = 0;
    for kill in 0..KILLS {
        let acks_before_kill = if kill % 3 == 0 { 0 } else { kill * 7 };
        acked = acked.max(run_and_kill(dir.path(), acks_before_kill));

        let store = open(dir.path());
        let newest = newest(&store);
        assert!(newest >= acked, "batch {acked} was acknowledged, but {newest} is the newest");
        let overwritten = store.scan(OVERWRITTEN, b"", None, usize::MAX).unwrap();
        assert_eq!(overwritten.len(), if newest == 0 { 0 } else { OVERWRITTEN_ROWS });
        for (_, value) in overwritten {
            assert_eq!(value, newest.to_be_bytes(), "half of a batch");
        }
        let expected: Vec<_> = (1..=newest)
            .flat_map(|number| (0..added_rows(number)).map(move |index| (number, index)))
            .map(|(n, i)| ([n.to_be_bytes(), i.to_be_bytes()].concat(), added_value(n, i)))
            .collect();
        assert!(store.scan(ADDED, b"", None, usize::MAX).unwrap() == expected);
    }
    assert_no_spilled_pages(dir.path());
}
