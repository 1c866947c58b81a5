//! What a relay signs: receipts are canonical and about their session, and no proof leads from a history it does
//! not continue.

use ed25519_dalek::SigningKey;
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::{EntryHash, GroupId, Hash, Incarnation, RelayId, cbor};
use lamppost_core::entry::Checkpoint;
use lamppost_core::sync::checkpoint::{Arrivals, continues};
use lamppost_core::sync::{Receipt, SignedReceipt};

use crate::tape::Tape;

const INCARNATION: Incarnation = Incarnation([0x1c; 16]);
const GROUP: GroupId = GroupId([0x96; 32]);

/// First byte: a signed receipt, a receipt to be signed here, or two histories and what is said to connect them.
pub fn receipt(data: &[u8]) {
    let mut tape = Tape::new(data);
    let key = SigningKey::from_bytes(&[5; 32]);
    let relay = RelayId(key.verifying_key().to_bytes());
    match tape.below(4) {
        0 => {
            let bytes = tape.rest();
            if let Ok(receipt) = SignedReceipt::verify(bytes, relay, INCARNATION, GROUP) {
                assert_eq!(receipt.as_bytes(), bytes);
            }
        }
        1 => {
            let payload = tape.rest();
            let bytes = cose::sign(&key, Purpose::Receipt, payload.to_vec());
            let read = cbor::decode::<Receipt>(payload);
            let fits = |r: &Receipt| (r.relay, r.incarnation, r.group) == (relay, INCARNATION, GROUP);
            let verified = SignedReceipt::verify(&bytes, relay, INCARNATION, GROUP);
            assert_eq!(verified.is_ok(), read.as_ref().is_ok_and(fits), "{verified:?}");
            if let Ok(receipt) = verified {
                assert_eq!(SignedReceipt::sign(&key, receipt.receipt().clone()), receipt);
            }
        }
        _ => histories(&mut tape),
    }
}

fn histories(tape: &mut Tape<'_>) {
    let (old_size, more) = (u64::from(tape.u8()) + 1, u64::from(tape.u8()));
    let mut arrivals = Arrivals::default();
    let mut old = None;
    for n in 0..old_size + more {
        arrivals.push(EntryHash([u8::try_from(n % 251).unwrap(); 32]));
        if n + 1 == old_size {
            old = arrivals.checkpoint();
        }
    }
    let (old, new) = (old.unwrap(), arrivals.checkpoint().unwrap());
    let proof = arrivals.prove_from(old_size).unwrap();
    assert!(continues(&old, &new, &proof));
    assert_eq!(arrivals.prove_from(new.size + 1), None);
    let mut said = proof.clone();
    let mut claimed = old;
    let mut led_to = new;
    while !tape.is_over() {
        match tape.below(8) {
            0 => drop(said.pop()),
            1 => said.push(Hash(tape.bytes32())),
            2 if !said.is_empty() => {
                let at = tape.below(said.len());
                said[at].0[tape.below(32)] ^= 1 << tape.below(8);
            }
            3 if !said.is_empty() => {
                let (at, to) = (tape.below(said.len()), tape.below(said.len()));
                said.swap(at, to);
            }
            4 => claimed.size = tape.number(old.size),
            5 => claimed.root = Hash(tape.bytes32()),
            6 => led_to.size = tape.number(new.size),
            _ => led_to = Checkpoint { root: Hash(tape.bytes32()), ..led_to },
        }
        if said.len() > 100 {
            break;
        }
    }
    let accepted = continues(&claimed, &led_to, &said);
    if led_to == new && claimed.size <= new.size {
        let unchanged = claimed == old && said == proof;
        assert_eq!(accepted, unchanged, "from {claimed:?} to {led_to:?}");
    }
    if accepted {
        assert!(claimed.size > 0 && claimed.size <= led_to.size);
        assert!(claimed.size < led_to.size || claimed.root == led_to.root);
    }
}
