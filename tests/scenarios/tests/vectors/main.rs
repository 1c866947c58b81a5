//! Golden vectors: bytes of the format, from fixed seeds, with what a reader must make of them.
//!
//! `tests/vectors/*.json` is compared byte for byte; `LAMPPOST_WRITE_VECTORS=1` writes the files anew. A second
//! implementation, `tests/vectors/check.py`, reads the same files.
//!
//! Three libraries take part in the bytes: a new release of `hpke` may draw its randomness in another way, one of
//! `automerge` may encode a change differently, and one of `zstd` may compress differently. Such a difference is no
//! change of the format: readers of the old vectors must still pass.

mod entries;
mod histories;
mod identities;
mod invitations;
mod kinds;
mod media;
mod operations;
mod relay;
mod story;
mod takeovers;
mod town;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use town::Town;

#[test]
fn vectors_are_what_the_code_writes() {
    let writes = std::env::var_os("LAMPPOST_WRITE_VECTORS").is_some();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../vectors");
    let mut differing = Vec::new();
    for (name, value) in vectors() {
        let path = folder.join(format!("{name}.json"));
        let text = format!("{}\n", serde_json::to_string_pretty(&value).unwrap());
        if writes {
            std::fs::write(&path, &text).unwrap();
        }
        if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            differing.push(name);
        }
    }
    assert!(
        differing.is_empty(),
        "the code writes or reads these otherwise than the vectors say: {differing:?}. A format that is in use \
         does not change: it gets a new version"
    );
}

fn vectors() -> BTreeMap<&'static str, Value> {
    let town = Town::new();
    BTreeMap::from([
        ("keys", entries::keys(&town)),
        ("certificate", entries::certificates(&town)),
        ("entries", entries::entries(&town)),
        ("body", entries::bodies(&town)),
        ("chain", entries::chains(&town)),
        ("operations", operations::operations(&town)),
        ("roll", histories::histories()),
        ("sealed_keys", entries::sealed_keys(&town)),
        ("document", entries::documents(&town)),
        ("evidence", entries::evidences(&town)),
        ("relay", relay::relay(&town)),
        ("frames", relay::frames(&town)),
        ("invitation", invitations::invitations(&town)),
        ("kinds", kinds::kinds(&town)),
        ("media", media::media()),
    ])
}
