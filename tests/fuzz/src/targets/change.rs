//! Automerge changes of a hostile author: the reader stands, and what it takes reads the same in any order.

use std::fmt::Write as _;

use lamppost_core::base::{DeviceId, hash};
use lamppost_core::document::{AuthoredChange, Document};
use lamppost_core::watch::{
    Annotation, Case, Disclosure, Observation, Outcome, Provenance, Release, Response, Sealed,
};

use crate::tape::Tape;

/// The device that signed the entry.
pub const AUTHOR: DeviceId = DeviceId([1; 32]);

/// Who reads them.
const READER: DeviceId = DeviceId([2; 32]);

const HEAD_BYTES: usize = 9;

/// First byte: how many changes, and whether they are raw chunks or contents that get a head with the right checksum.
pub fn change(data: &[u8]) {
    let mut tape = Tape::new(data);
    let (raw, count) = (tape.once_in(8), 1 + tape.below(3));
    let mut changes = Vec::new();
    for at in 0..count {
        let bytes = if at + 1 == count { tape.rest() } else { tape.blob(4_000) };
        let chunk = if raw { bytes.to_vec() } else { chunk(bytes) };
        if let Ok(change) = AuthoredChange::parse(&chunk, AUTHOR) {
            assert_eq!(change.bytes(), chunk);
            assert!(AuthoredChange::parse(&chunk, READER).is_err());
            changes.push(change);
        }
    }
    let forward = Document::load(READER, changes.clone());
    let backward = Document::load(READER, changes.into_iter().rev());
    let (Ok(mut forward), Ok(mut backward)) = (forward, backward) else { return };
    assert_eq!(forward.lacks_changes(), backward.lacks_changes());
    assert_eq!(readings(&forward), readings(&backward), "the same changes say the same in any order");
    write_again(&mut forward);
}

/// What a document says as each kind.
fn readings(document: &Document) -> String {
    let mut said = String::new();
    // As text, because a number that is none is not equal to itself.
    macro_rules! each { ($($kind:ty),*) => { $(write!(said, "{:?};", document.read::<$kind>()).unwrap();)* } }
    each!(Observation, Sealed, Annotation, Case, Release, Response, Outcome, Disclosure, Provenance);
    said
}

/// Whoever goes on with the document finds it as they left it.
fn write_again(document: &mut Document) {
    macro_rules! each { ($($kind:ty),*) => { $(
        if let Ok(value) = document.read::<$kind>()
            && let Ok(Some(change)) = document.write(&value)
        {
            assert!(AuthoredChange::parse(change.bytes(), READER).is_ok());
            assert_eq!(format!("{:?}", document.read::<$kind>()), format!("{:?}", Ok::<_, ()>(value)));
        }
    )* } }
    each!(Observation, Sealed, Annotation, Case, Release, Response, Outcome, Disclosure, Provenance);
}

/// A chunk around contents: magic, checksum, type, length.
pub fn chunk(contents: &[u8]) -> Vec<u8> {
    let mut tail = vec![1];
    let mut length = contents.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        tail.push(if length == 0 { low } else { low | 0x80 });
        if length == 0 {
            break;
        }
    }
    tail.extend(contents);
    let mut chunk = vec![0x85, 0x6f, 0x4a, 0x83];
    chunk.extend(&hash::sha256(&tail).0[..4]);
    chunk.extend(tail);
    chunk
}

/// The contents of a chunk.
pub fn contents(chunk: &[u8]) -> &[u8] {
    let length = chunk[HEAD_BYTES..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    &chunk[HEAD_BYTES + length..]
}
