//! Vectors of section 5: receipts, proofs between histories, sessions, frames.

use ed25519_dalek::SigningKey;
use lamppost_core::base::cose::{self, Purpose, Unverified};
use lamppost_core::base::{ChunkId, CompartmentId, EntryHash, Hash, Incarnation, RelayId, cbor, hash};
use lamppost_core::entry::{Checkpoint, LogId, Verified, Wire};
use lamppost_core::sync::checkpoint::{Arrivals, continues};
use lamppost_core::sync::frame::{
    Ack, AskConsistency, Challenge, Consistency, Cursor, Entries, Frame, Heads, Hello, LogHeight, Outcome,
    OwnHead, Proof, Pull, Push, Refusal, Refused, SESSION_VERSION, Standing, Welcome,
};
use lamppost_core::sync::mailbox::{self, Knocked, Knocks, Letter, OpenMailbox, Settled, Word};
use lamppost_core::sync::media::{Chunk, ChunkAck, ChunkNames, GetChunk, PutChunk};
use lamppost_core::sync::proof::SessionKey;
use lamppost_core::sync::receipt::{BadReceipt, Receipt, SignedReceipt};
use minicbor::bytes::ByteVec;
use serde_json::{Value, json};

use crate::town::{CLAIMED_MS, GROUP, INVITED, Town, checkpoint_json, flip, head_of, hex};

const CHUNK: ChunkId = ChunkId([0xc1; 32]);

pub fn relay(town: &Town) -> Value {
    let relay = RelayId(town.relay.verifying_key().to_bytes());
    let incarnation = Incarnation([0x1c; 16]);
    let arrived: Vec<EntryHash> =
        (0_u8..7).map(|n| EntryHash(hash::sha256(&[n]).0)).chain(town.log.iter().map(|e| e.hash())).collect();
    let mut arrivals = Arrivals::default();
    let mut checkpoints = Vec::new();
    for entry in &arrived {
        arrivals.push(*entry);
        checkpoints.push(arrivals.checkpoint().unwrap());
    }
    let new = arrivals.checkpoint().unwrap();
    let proofs = checkpoints.iter().map(|old| {
        let hashes = arrivals.prove_from(old.size).unwrap();
        assert!(continues(old, &new, &hashes));
        json!({
            "old": checkpoint_json(old),
            "new": checkpoint_json(&new),
            "hashes": hashes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    let old = checkpoints[4];
    let hashes = arrivals.prove_from(old.size).unwrap();
    let forged = Checkpoint { root: Hash([9; 32]), ..old };
    let mut bent = hashes.clone();
    bent[0].0[0] ^= 1;
    let bad_proofs = [
        ("another history", forged, new, hashes.clone()),
        ("a bit of the proof is flipped", old, new, bent),
        ("a hash is missing", old, new, hashes[1..].to_vec()),
        ("a hash too many", old, new, [hashes.as_slice(), &[Hash([0; 32])]].concat()),
        ("a history that shrank", new, old, hashes),
        ("the same size, another root", Checkpoint { root: Hash([9; 32]), ..new }, new, Vec::new()),
    ];
    let bad_proofs = bad_proofs.map(|(why, old, new, hashes)| {
        assert!(!continues(&old, &new, &hashes), "{why}");
        json!({
            "why": why,
            "old": checkpoint_json(&old),
            "new": checkpoint_json(&new),
            "hashes": hashes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    let receipt = receipt_of(town);
    let signed = SignedReceipt::sign(&town.relay, receipt.clone());
    let verify = |bytes: &[u8]| SignedReceipt::verify(bytes, relay, incarnation, town.group);
    assert_eq!(verify(signed.as_bytes()), Ok(signed.clone()));
    let other = Receipt { incarnation: Incarnation([0; 16]), ..receipt.clone() };
    let bad_receipts = [
        ("a bit of the signature is flipped", flip(signed.as_bytes(), -1)),
        ("of another life", SignedReceipt::sign(&town.relay, other).as_bytes().to_vec()),
        (
            "signed by somebody else",
            SignedReceipt::sign(&town.vic.device, receipt.clone()).as_bytes().to_vec(),
        ),
    ];
    for (what, bytes) in &bad_receipts {
        assert!(verify(bytes).is_err(), "{what}");
    }
    assert_eq!(verify(&bad_receipts[1].1), Err(BadReceipt::Other));
    let proof = proof_of(town);
    let bare = cose::sign(&town.vic.device, Purpose::Session, cbor::encode(&proof));
    let session = SigningKey::from_bytes(&[0x5d; 32]);
    let vouched = SessionKey::vouch(&town.vic.device, session.clone());
    let by_session_key = vouched.prove(proof.clone());
    let of_another = Proof { device: town.carla.device_id(), ..proof.clone() };
    let bad_session_proofs = [
        ("signed for another purpose", cose::sign(&town.vic.device, Purpose::Entry, cbor::encode(&proof))),
        ("a key that nobody vouches for", cose::sign(&session, Purpose::Session, cbor::encode(&proof))),
        ("a session key of another device", vouched.prove(of_another)),
        ("vouched for by itself", SessionKey::vouch(&session, session.clone()).prove(proof.clone())),
        (
            "a key beside the one that is vouched for",
            SessionKey::restored(&[0x5e; 32], vouched.word().to_vec()).prove(proof.clone()),
        ),
    ];
    for (what, bytes) in &bad_session_proofs {
        assert!(!proves(bytes), "{what}");
    }
    assert!(proves(&bare) && proves(&by_session_key));
    let nonce = hex(&proof.nonce);
    let good_proofs = [bare, by_session_key]
        .map(|bytes| json!({ "bytes": hex(&bytes), "nonce": nonce, "device": proof.device.to_string() }));
    let bad_session_proofs =
        bad_session_proofs.map(|(why, bytes)| json!({ "why": why, "bytes": hex(&bytes), "nonce": nonce }));
    json!({
        "relay_secret": hex(&town.relay.to_bytes()),
        "relay": relay.to_string(),
        "incarnation": incarnation.to_string(),
        "group": town.group.to_string(),
        "arrivals": arrived.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "consistency": proofs.collect::<Vec<_>>(),
        "bad_consistency": bad_proofs,
        "receipts": [{
            "bytes": hex(signed.as_bytes()),
            "received_ms": receipt.received_ms,
            "entries": receipt.entries.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "checkpoint": checkpoint_json(&receipt.checkpoint),
        }],
        "bad_receipts": bad_receipts.map(|(why, bytes)| json!({ "why": why, "bytes": hex(&bytes) })),
        "session_proofs": good_proofs,
        "bad_session_proofs": bad_session_proofs,
    })
}

fn proves(bytes: &[u8]) -> bool {
    let signed = Unverified::parse(bytes).unwrap();
    cbor::decode::<Proof>(signed.payload()).unwrap().verify(&signed).is_ok()
}

pub fn receipt_of(town: &Town) -> Receipt {
    let entries: Vec<EntryHash> = town.log.iter().map(|entry| entry.hash()).collect();
    let mut arrivals = Arrivals::default();
    (0_u8..7).for_each(|n| arrivals.push(EntryHash(hash::sha256(&[n]).0)));
    entries.iter().for_each(|entry| arrivals.push(*entry));
    Receipt {
        relay: RelayId(town.relay.verifying_key().to_bytes()),
        incarnation: Incarnation([0x1c; 16]),
        group: town.group,
        received_ms: CLAIMED_MS + 90_000,
        entries,
        checkpoint: arrivals.checkpoint().unwrap(),
    }
}

pub fn proof_of(town: &Town) -> Proof {
    Proof {
        version: SESSION_VERSION,
        nonce: [0x42; 32],
        relay: RelayId(town.relay.verifying_key().to_bytes()),
        group: town.group,
        device: town.vic.device_id(),
        word: None,
    }
}

pub fn frames(town: &Town) -> Value {
    let receipt = ByteVec::from(SignedReceipt::sign(&town.relay, receipt_of(town)).as_bytes().to_vec());
    let bare = Receipt { entries: Vec::new(), ..receipt_of(town) };
    let bare = ByteVec::from(SignedReceipt::sign(&town.relay, bare).as_bytes().to_vec());
    let proof = cose::sign(&town.vic.device, Purpose::Session, cbor::encode(&proof_of(town)));
    let head = |entry: &Verified| head_of(entry);
    let log = LogId { compartment: GROUP, device: town.vic.device_id() };
    let later = Refused { retry_after_ms: Some(10_000), ..Refused::new(Refusal::RATE, "too much at once") };
    let entries = vec![town.log[0].wire().clone(), Wire { body: None, ..town.log[4].wire().clone() }];
    let sealed = |bytes: usize| ByteVec::from(vec![0xab; bytes]);
    let countersign = |bytes: usize| {
        let (knock, sealed) = (Hash([0xcd; 32]), sealed(bytes));
        Frame::Countersign(mailbox::Countersign { mailbox: INVITED, knock, sealed })
    };
    let put_chunk = |bytes| {
        let entry = town.founding.wire().signed.clone();
        Frame::PutChunk(PutChunk { chunk: CHUNK, ciphertext: sealed(bytes), entry })
    };
    let letter = |word: Word| Frame::Letter(Letter { mailbox: INVITED, word });
    let frames = [
        (
            "challenge",
            Frame::Challenge(Challenge {
                version: SESSION_VERSION,
                nonce: [0x42; 32],
                relay: RelayId(town.relay.verifying_key().to_bytes()),
                incarnation: Incarnation([0x1c; 16]),
            }),
        ),
        ("hello", Frame::Hello(Hello { proof: proof.clone().into(), certificate: None })),
        (
            "hello with a certificate",
            Frame::Hello(Hello {
                proof: proof.into(),
                certificate: Some(ByteVec::from(town.vic.certificate().as_bytes().to_vec())),
            }),
        ),
        (
            "welcome",
            Frame::Welcome(Welcome {
                relay_ms: CLAIMED_MS,
                standing: Standing::Belongs,
                checkpoint: Some(bare.clone()),
                own: vec![OwnHead { compartment: GROUP, head: head(&town.log[4]) }],
            }),
        ),
        (
            "welcome to an unknown group",
            Frame::Welcome(Welcome {
                relay_ms: CLAIMED_MS,
                standing: Standing::UnknownGroup,
                checkpoint: None,
                own: Vec::new(),
            }),
        ),
        (
            "welcome to a device that a member's key has certified",
            Frame::Welcome(Welcome {
                relay_ms: CLAIMED_MS,
                standing: Standing::Certified,
                checkpoint: Some(bare.clone()),
                own: Vec::new(),
            }),
        ),
        (
            "pull",
            Frame::Pull(Pull {
                cursors: vec![
                    Cursor { compartment: CompartmentId::ROLL, after: 0 },
                    Cursor { compartment: GROUP, after: 300 },
                ],
                live: true,
            }),
        ),
        (
            "entries",
            Frame::Entries(Entries {
                compartment: GROUP,
                entries: entries.clone(),
                upto: 305,
                after: 300,
                left_out: 5 - entries.len() as u64,
            }),
        ),
        ("caught up", Frame::CaughtUp),
        ("push", Frame::Push(Push { number: 3, entries })),
        (
            "ack",
            Frame::Ack(Ack {
                number: 3,
                outcomes: vec![Outcome::Kept, Outcome::Refused(later.clone())],
                receipt: Some(receipt),
            }),
        ),
        ("ask heads", Frame::AskHeads),
        ("heads", Frame::Heads(Heads { logs: vec![LogHeight { log, head: head(&town.log[4]) }] })),
        ("ask consistency", Frame::AskConsistency(AskConsistency { from: 5 })),
        (
            "consistency",
            Frame::Consistency(Consistency { from: 5, checkpoint: bare, hashes: vec![Hash([1; 32])] }),
        ),
        ("goodbye", Frame::Goodbye(Refused::new(Refusal::SHUTDOWN, "back in a moment"))),
        ("open mailbox", Frame::OpenMailbox(OpenMailbox { mailbox: INVITED, expires_ms: CLAIMED_MS })),
        ("knock", Frame::Knock(mailbox::Knock { mailbox: INVITED, sealed: sealed(40) })),
        (
            "knocks",
            Frame::Knocks(Knocks {
                knocks: [Some(sealed(40)), None]
                    .map(|sealed| Knocked {
                        mailbox: INVITED,
                        device: town.vic.device_id(),
                        at_ms: CLAIMED_MS,
                        sealed,
                    })
                    .to_vec(),
            }),
        ),
        ("answer", Frame::Answer(mailbox::Answer { mailbox: INVITED, sealed: sealed(1_024) })),
        ("letter: waiting", letter(Word::Waiting)),
        ("letter: refused", letter(Word::Refused(sealed(40)))),
        ("letter: closed", letter(Word::Closed(Refused::new(Refusal::MAILBOX_USED, "used")))),
        ("letter: admitted", letter(Word::Admitted)),
        ("letter: countersigned", letter(Word::Countersigned(sealed(40)))),
        ("settled", Frame::Settled(Settled { mailbox: INVITED, outcome: Outcome::Kept })),
        ("offer chunks", Frame::OfferChunks(ChunkNames { chunks: vec![CHUNK, ChunkId([0xc2; 32])] })),
        ("wanted chunks", Frame::WantedChunks(ChunkNames { chunks: vec![CHUNK] })),
        ("put chunk", put_chunk(40)),
        ("chunk ack: kept", Frame::ChunkAck(ChunkAck { chunk: CHUNK, outcome: Outcome::Kept })),
        ("chunk ack: refused", {
            Frame::ChunkAck(ChunkAck::refused(CHUNK, Refused::new(Refusal::QUOTA, "full")))
        }),
        ("get chunk", Frame::GetChunk(GetChunk { chunk: CHUNK })),
        ("chunk", Frame::Chunk(Chunk { chunk: CHUNK, ciphertext: Some(sealed(40)) })),
        ("chunk: not here", Frame::Chunk(Chunk { chunk: CHUNK, ciphertext: None })),
        ("countersign", countersign(1_024)),
    ];
    let refused = [
        ("an index that is not known", vec![0x82, 0x18, 0x1a, 0x80]),
        ("a chunk that is too large", { put_chunk(65_553).to_bytes() }),
        (
            "an answer that is too large",
            Frame::Answer(mailbox::Answer { mailbox: INVITED, sealed: sealed(1_025) }).to_bytes(),
        ),
        ("a countersignature that is too large", { countersign(1_025).to_bytes() }),
        ("a knock that is too large", {
            Frame::Knock(mailbox::Knock { mailbox: INVITED, sealed: sealed(2_049) }).to_bytes()
        }),
        ("a unit frame without its empty array", vec![0x81, 0x05]),
        ("a key that is not known", vec![0x82, 0x0a, 0x81, 0xa2, 0x00, 0x05, 0x01, 0x00]),
        ("a bare index", vec![0x05]),
        ("a standing that is not known", vec![0x82, 0x02, 0x81, 0xa3, 0x00, 0x00, 0x01, 0x04, 0x03, 0x80]),
    ];
    for (what, bytes) in &refused {
        assert!(Frame::from_bytes(bytes).is_err(), "{what}");
    }
    json!({
        "accepted": frames.map(|(what, frame)| {
            let bytes = frame.to_bytes();
            assert_eq!(Frame::from_bytes(&bytes).as_ref(), Ok(&frame));
            json!({ "what": what, "bytes": hex(&bytes) })
        }).to_vec(),
        "refused": refused.map(|(why, bytes)| json!({ "why": why, "bytes": hex(&bytes) })).to_vec(),
    })
}
