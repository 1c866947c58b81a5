//! What fuzzing left is replayed here, without libFuzzer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lamppost_core::base::hash;
use lamppost_fuzz::{TARGETS, seeds::seeds};

/// Files and bytes of one target's corpus at most: it is replayed with every `cargo test`.
const FILES_MAX: usize = 300;
const BYTES_MAX: usize = 1 << 20;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(children) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = children
        .map(|child| child.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Replays every file of a target, and says which one it was that failed.
fn replay(target: &str) {
    let run = lamppost_fuzz::target(target).unwrap();
    let corpus = files(&folder("corpus", target));
    assert!(!corpus.is_empty(), "{target} has no corpus: write seeds, or run tests/fuzz/run");
    assert!(corpus.len() <= FILES_MAX, "{target}: {} files, merge the corpus", corpus.len());
    let bytes: usize = corpus.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes <= BYTES_MAX, "{target}: {bytes} bytes, merge the corpus");
    for (name, bytes) in corpus.into_iter().chain(files(&folder("crashes", target))) {
        let outcome = std::panic::catch_unwind(|| run(&bytes));
        assert!(outcome.is_ok(), "{name} fails, see above");
    }
}

macro_rules! replayed {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })*

        #[test]
        fn every_target_is_replayed() {
            let replayed = BTreeSet::from([$(stringify!($target)),*]);
            assert_eq!(replayed, TARGETS.iter().map(|(name, _)| *name).collect());
        }
    };
}

// One test each, so that they run side by side.
replayed!(change engine_receive entry frame guard handover import_file import_table joining media phone_session plaintext
    receipt relay_session roll);

#[test]
fn every_folder_has_a_target() {
    for kind in ["corpus", "crashes"] {
        let Ok(children) = std::fs::read_dir(folder(kind, "")) else { continue };
        for child in children {
            let name = child.unwrap().file_name().into_string().unwrap();
            assert!(lamppost_fuzz::target(&name).is_some(), "{kind}/{name} belongs to no target");
        }
    }
}

#[test]
fn seeds_pass() {
    for (name, bytes) in seeds() {
        let run = lamppost_fuzz::target(name).unwrap();
        let outcome = std::panic::catch_unwind(|| run(&bytes));
        assert!(outcome.is_ok(), "a seed of {name} fails: {bytes:?}");
    }
}

/// `cargo test -p lamppost-fuzz -- --ignored` puts the seeds, and what the golden vectors hold, into the corpus, or
/// where `LAMPPOST_SEEDS` says.
#[test]
#[ignore = "writes files"]
fn write_seeds() {
    let root = std::env::var_os("LAMPPOST_SEEDS").map_or_else(|| folder("corpus", ""), PathBuf::from);
    for (target, bytes) in seeds().into_iter().chain(vectors()).chain(fixtures()) {
        let folder = root.join(target);
        std::fs::create_dir_all(&folder).unwrap();
        let name: String = hash::sha256(&bytes).to_string().chars().take(40).collect();
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Byte strings of the golden vectors, for each target that may make something of them.
fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let modes: [(&str, &str, Option<u8>); 14] = [
        ("body", "plaintext", Some(0)),
        ("certificate", "entry", Some(3)),
        ("certificate", "handover", Some(0)),
        ("chain", "entry", Some(0)),
        ("document", "change", Some(7)),
        ("entries", "entry", Some(0)),
        ("evidence", "handover", Some(4)),
        ("frames", "frame", None),
        ("media", "media", None),
        ("operations", "roll", Some(0)),
        ("relay", "receipt", Some(0)),
        ("roll", "entry", Some(0)),
        ("roll", "roll", Some(0)),
        ("sealed_keys", "roll", Some(0)),
    ];
    let mut found = Vec::new();
    for (file, target, mode) in modes {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors").join(format!("{file}.json"));
        let value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let mut texts = Vec::new();
        strings(&value, &mut texts);
        for text in texts {
            let Some(bytes) = unhex(&text).filter(|bytes| bytes.len() > 40) else { continue };
            found.push((target, mode.into_iter().chain(bytes).collect()));
        }
    }
    found
}

/// The texts that the guard's rates are measured by.
fn fixtures() -> Vec<(&'static str, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../core/src/watch/guard/fixtures");
    let mut found = Vec::new();
    for (_, file) in files(&folder) {
        let cases: Vec<serde_json::Value> = serde_json::from_slice(&file).unwrap();
        found.extend(cases.iter().map(|case| ("guard", case["text"].as_str().unwrap().as_bytes().to_vec())));
    }
    found
}

fn strings(value: &serde_json::Value, texts: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => texts.push(text.clone()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| strings(item, texts)),
        serde_json::Value::Object(fields) => fields.values().for_each(|field| strings(field, texts)),
        _ => {}
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
