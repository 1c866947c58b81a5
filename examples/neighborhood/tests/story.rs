//! The story as a program: what it says, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn story(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neighborhood"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = story(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn play(directory: &Path, name: &str, text: &str) -> (Option<i32>, String, String) {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    run(&["--phones", "2", "--input", path.to_str().unwrap()])
}

fn points(properties: &[&str]) -> String {
    let features: Vec<String> = properties
        .iter()
        .map(|properties| {
            let point = r#"{"type": "Point", "coordinates": [-99.9, 41.6]}"#;
            format!(r#"{{"type": "Feature", "geometry": {point}, "properties": {properties}}}"#)
        })
        .collect();
    format!(r#"{{"type": "FeatureCollection", "features": [{}]}}"#, features.join(","))
}

#[test]
fn the_sample_is_played_to_its_end_and_every_promise_kept() {
    let (code, told, complaint) = run(&[]);
    assert_eq!(code, Some(0), "{told}{complaint}");
    assert!(told.contains("31 of 31 promises kept"), "{told}");
    assert!(told.contains("masked, as these sentences speak of their authors"), "{told}");
}

#[test]
fn points_with_just_a_title_are_played_and_nothing_is_released_without_consent() {
    let directory = tempfile::tempdir().unwrap();
    let plain = [r#"{"title": "Glass on the path"}"#, r#"{"title": "A lamp is out"}"#, r#"{"ref": 3}"#];
    let (code, told, complaint) = play(directory.path(), "plain.geojson", &points(&plain));
    assert_eq!(code, Some(0), "{told}{complaint}");
    assert!(told.contains("line 1: feature 3: nothing says what happened"), "{told}");
    assert_eq!(told.matches("not played: nobody consented to a release").count(), 2, "{told}");
    assert!(!told.contains("reads the release"), "{told}");
    assert!(told.contains("27 of 27 promises kept"), "{told}");

    let (code, told, complaint) = play(directory.path(), "one.geojson", &points(&plain[..1]));
    assert_eq!(code, Some(0), "{told}{complaint}");
    assert!(told.contains("not linked: there is only one report"), "{told}");
}

#[test]
fn a_planted_word_that_is_in_no_report_breaks_the_control() {
    let directory = tempfile::tempdir().unwrap();
    let ours = r#"{"start": "2026-05-04T21:40:00-05:00", "precision": "hour", "behaviours": ["threat"],
        "vantage": "public_way", "basis": "saw", "what_happened": "Somebody shouted at the driver of the bus.",
        "planted": ["Nobody Anywhere"]}"#;
    let (code, told, _) = play(directory.path(), "ours.geojson", &points(&[ours]));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("[BROKEN] control") && told.contains("not there: Nobody Anywhere"), "{told}");
}

#[test]
fn files_that_cannot_be_played_are_told_what_they_may_hold() {
    let directory = tempfile::tempdir().unwrap();
    let (code, told, complaint) = play(directory.path(), "table.csv", "when,where\n1,2\n");
    assert_eq!(code, Some(2));
    assert!(
        told.contains("needed: when.start_ms") && complaint.contains("OFFENSE_TYPE_ID"),
        "{told}{complaint}"
    );
    let (code, _, complaint) = play(directory.path(), "none.geojson", r#"{"features":[]}"#);
    assert_eq!(code, Some(2));
    assert!(complaint.contains("has no features"), "{complaint}");
    let (code, _, complaint) = play(directory.path(), "bad.geojson", &points(&["{}"]));
    assert_eq!(code, Some(2));
    assert!(complaint.contains("nothing in the file can be played"), "{complaint}");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a file");
    std::fs::write(&file, "x").unwrap();
    let below = file.join("stores");
    let (code, _, complaint) = run(&["--keep", below.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(complaint.contains(below.to_str().unwrap()), "{complaint}");
}

#[test]
fn it_ends_quietly_when_nobody_reads_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = story(&[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).env("TMPDIR", directory.path());
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("Lamppost"), "{first}");
    // Dropped: whatever it prints from here on, nobody reads.
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!((status.code(), String::from_utf8(stderr).unwrap().as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "it cleans up");
}
