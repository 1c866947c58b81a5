//! House rules that a compiler does not keep: floors, what the relay links, what documents cite.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|child| child.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The rooms of core and, for each, the rooms it may import.
fn floors() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let rows: [(&str, &[&str]); 9] = [
        ("base", &[]),
        ("entry", &["base"]),
        ("document", &["base"]),
        ("roll", &["base", "entry"]),
        ("watch", &["base", "document"]),
        ("sync", &["base", "entry", "roll"]),
        ("storage", &["base"]),
        ("exchange", &["base", "watch"]),
        ("replica", &["base", "entry", "document", "roll", "watch", "sync", "storage", "exchange"]),
    ];
    rows.into_iter().map(|(room, below)| (room, below.iter().copied().collect())).collect()
}

/// Rooms that a file names by `crate::room`, in code.
fn named_rooms(text: &str) -> BTreeSet<String> {
    let code =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let rooms = code
        .split("crate::")
        .skip(1)
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>());
    rooms.filter(|room| !room.is_empty()).collect()
}

#[test]
fn rooms_import_only_rooms_below_them() {
    let core = root().join("core/src");
    let mut breaches = Vec::new();
    for (room, below) in floors() {
        for file in rust_files(&core.join(room)) {
            // Tests are no part of the library: one may look at what a room above makes of its own room.
            if file.components().any(|part| part.as_os_str() == "tests") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let foreign = named_rooms(&text)
                .into_iter()
                .filter(|named| named != room && !below.contains(named.as_str()));
            breaches.extend(foreign.map(|named| format!("{} imports {named}", file.display())));
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn every_room_of_core_has_a_floor() {
    let rooms: BTreeSet<String> = std::fs::read_dir(root().join("core/src"))
        .unwrap()
        .map(|child| child.unwrap())
        .filter(|child| child.path().is_dir())
        .map(|child| child.file_name().into_string().unwrap())
        .collect();
    assert_eq!(rooms, floors().into_keys().map(str::to_owned).collect());
}

#[test]
fn clocks_randomness_and_threads_live_in_the_shell_alone() {
    let core = root().join("core/src");
    let outside =
        ["SystemTime::now", "Instant::now", "SysRng", "getrandom::", "thread_rng", "tokio::", "std::net"];
    let mut breaches = Vec::new();
    for room in floors().into_keys().filter(|room| *room != "replica") {
        for file in rust_files(&core.join(room)) {
            // A test may do what it likes with the process it runs in.
            if file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("contract.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let used = outside.iter().filter(|name| code.contains(**name));
            breaches.extend(used.map(|name| format!("{} uses {name}", file.display())));
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn the_relay_links_nothing_that_decrypts() {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "-p",
            "lamppost-server",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--no-dedupe",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(crates.contains("lamppost-core") && crates.contains("ed25519-dalek"), "{crates:?}");
    let forbidden = [
        "automerge",
        "autosurgeon",
        "hpke",
        "aead",
        "chacha20poly1305",
        "aes-gcm",
        "x25519-dalek",
        "hkdf",
        "zstd",
    ];
    let linked: Vec<_> = forbidden.into_iter().filter(|name| crates.contains(name)).collect();
    assert!(linked.is_empty(), "the relay links {linked:?}");
}

#[test]
fn what_code_cites_of_the_protocol_is_there() {
    let protocol = std::fs::read_to_string(root().join("core/PROTOCOL.md")).unwrap();
    let headings: BTreeSet<String> = protocol
        .lines()
        .filter(|line| line.starts_with('#'))
        .filter_map(|line| line.trim_start_matches('#').split_whitespace().next())
        .map(|number| number.trim_end_matches('.').trim_start_matches('§').to_owned())
        .collect();
    let mut missing = Vec::new();
    for directory in ["core/src", "server/src"] {
        for file in rust_files(&root().join(directory)) {
            let text = std::fs::read_to_string(&file).unwrap();
            for cited in text.split("PROTOCOL.md §").skip(1) {
                let number: String = cited.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
                let number = number.trim_end_matches('.').to_owned();
                if !headings.contains(&number) {
                    missing.push(format!("{} cites §{number}", file.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}\nheadings: {headings:?}");
}

#[test]
fn links_in_documents_lead_somewhere() {
    let root = root();
    let documents = [
        "README.md",
        "core/PROTOCOL.md",
        "server/OPERATING.md",
        "bindings/README.md",
        "tests/scenarios/README.md",
    ];
    let mut broken = Vec::new();
    for document in documents {
        let path = root.join(document);
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            let local = !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
            if local && !path.parent().unwrap().join(target).exists() {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Tests that a document names, as `path::name`.
fn named_tests(document: &str) -> BTreeSet<(&str, &str)> {
    let quoted = document.split('`').skip(1).step_by(2);
    quoted.filter_map(|text| text.rsplit_once(".rs::")).collect()
}

/// Whether a source has a test of this name: a function right below the attribute that makes it one.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    lines.iter().enumerate().any(|(at, line)| {
        let attributes =
            lines.get(..at).unwrap_or_default().iter().rev().take_while(|line| line.starts_with('#'));
        let mut attributes =
            attributes.filter(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
        (line.starts_with(&head) || line.starts_with(&format!("async {head}"))) && attributes.next().is_some()
    })
}

#[test]
fn every_test_that_is_named_here_is_in_the_source() {
    let document = std::fs::read_to_string(root().join("tests/scenarios/README.md")).unwrap();
    let named = named_tests(&document);
    let missing = named.iter().filter(|(path, name)| {
        let source = std::fs::read_to_string(root().join(format!("{path}.rs"))).unwrap_or_default();
        !has_test(&source, name)
    });
    let missing: Vec<_> = missing.map(|(path, name)| format!("{path}.rs::{name}")).collect();
    assert!(missing.is_empty(), "name the test that shows it now, or write it: {missing:#?}");
    // Every row names one.
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.contains("shown by"));
    let bare: Vec<_> = rows.filter(|row| named_tests(row).is_empty()).collect();
    assert!(bare.is_empty() && named.len() > 40, "{} named; nothing shows: {bare:#?}", named.len());
    assert!(!has_test("#[test]\nfn other() {}\nfn name() {}", "name"));
}
