//! What is inside a sealed body: never more than its limit, and one content behind one frame.

use lamppost_core::base::{cbor, limits};
use lamppost_core::entry::plaintext::{Content, pack, padded_bytes, unpack};

use crate::tape::Tape;

const FRAME_BYTES: usize = 9;

/// First byte: whole plaintexts, or packed bytes that are framed and padded here, or a content.
pub fn plaintext(data: &[u8]) {
    let mut tape = Tape::new(data);
    match tape.below(4) {
        0 => check(tape.rest()),
        1 | 2 => {
            let codec = tape.below(4);
            let stated = tape.number(0);
            let packed = tape.rest();
            let stated = if codec == 0 { packed.len() as u64 } else { stated };
            check(&framed(u8::try_from(codec).unwrap(), stated, packed));
        }
        _ => {
            let bytes = tape.rest();
            let packed = bytes.len() as u64;
            check(&framed(0, packed, bytes));
            if let Ok(content) = cbor::decode::<Content>(bytes) {
                assert_eq!(unpack(&pack(&content).unwrap()), Ok(content));
            }
        }
    }
}

/// A frame around packed bytes, padded as it should be.
pub fn framed(codec: u8, stated: u64, packed: &[u8]) -> Vec<u8> {
    let mut plain = vec![codec];
    plain.extend(u32::try_from(packed.len()).unwrap().to_be_bytes());
    plain.extend(u32::try_from(stated).unwrap_or(u32::MAX).to_be_bytes());
    plain.extend(packed);
    plain.resize(padded_bytes(plain.len()), 0);
    plain
}

fn check(plain: &[u8]) {
    let Ok(content) = unpack(plain) else { return };
    let packed_bytes = u32::from_be_bytes(plain[1..5].try_into().unwrap()) as usize;
    let raw = cbor::encode(&content);
    assert!(raw.len() <= limits::PLAINTEXT_BYTES_MAX);
    assert_eq!(u32::from_be_bytes(plain[5..9].try_into().unwrap()) as usize, raw.len());
    assert_eq!(plain.len(), padded_bytes(FRAME_BYTES + packed_bytes));
    assert_eq!(unpack(&pack(&content).unwrap()).as_ref(), Ok(&content));
    let packed = &plain[FRAME_BYTES..FRAME_BYTES + packed_bytes];
    match plain[0] {
        0 => assert_eq!(packed, raw),
        codec => assert!(is_one_frame(packed, codec == 2), "codecs 1 and 2 are one zstd frame"),
    }
}

/// Whether bytes are one zstd frame (RFC 8878 §3.1.1), as far as its blocks' lengths say.
fn is_one_frame(bytes: &[u8], with_dictionary: bool) -> bool {
    let Some(rest) = bytes.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd]) else { return false };
    let Some((descriptor, _)) = rest.split_first() else { return false };
    let single = descriptor & 0x20 != 0;
    let content_size = [usize::from(single), 2, 4, 8][usize::from(descriptor >> 6)];
    let dictionary_id = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let mut at = 4 + 1 + usize::from(!single) + dictionary_id + content_size;
    if dictionary_id != 0 && !with_dictionary {
        return false;
    }
    loop {
        let Some(head) = bytes.get(at..at + 3) else { return false };
        let head = u32::from_le_bytes([head[0], head[1], head[2], 0]);
        let bytes = if (head >> 1) & 3 == 1 { 1 } else { (head >> 3) as usize };
        at += 3 + bytes;
        if head & 1 == 1 {
            break;
        }
    }
    at + if descriptor & 4 == 0 { 0 } else { 4 } == bytes.len()
}
