//! Entries and certificates: what is read is written again as the same bytes, and what is accepted keeps the rules.

use lamppost_core::base::cose::{self, Purpose, Unverified};
use lamppost_core::base::{CompartmentId, cbor, hash, limits};
use lamppost_core::entry::certificate::BadCertificate;
use lamppost_core::entry::chain::{verify_one, verify_run};
use lamppost_core::entry::{Certificate, Claims, Header, Kind, LogHead, Received, Scope, Wire};
use minicbor::bytes::ByteVec;

use crate::tape::Tape;
use crate::town::{self, Keys, Pen, VOLUNTEER, town};

/// First byte: which reader. Then what it reads, signed here where the reader asks for a signature.
pub fn entry(data: &[u8]) {
    let mut tape = Tape::new(data);
    match tape.below(6) {
        0 => wire(tape.rest()),
        1 => sign1(tape.rest()),
        2 => header(&mut tape),
        3 => certificate(tape.rest()),
        4 => claims(&mut tape),
        _ => run(&mut tape),
    }
}

fn wire(bytes: &[u8]) {
    let Ok(entry) = Received::from_bytes(bytes) else { return };
    assert_eq!(entry.to_bytes(), bytes);
    assert!(keeps_rules(entry.header()));
    assert!(entry.wire().signed.len() <= limits::SIGNED_BYTES_MAX);
    assert_eq!(entry.hash().0, hash::sha256(&entry.wire().signed).0);
    assert_eq!(entry.bytes(), entry.wire().signed.len() + entry.body().map_or(0, <[u8]>::len));
    assert_eq!(entry.verify_signature().is_ok(), verify_one(entry.clone()).is_ok());
}

fn sign1(bytes: &[u8]) {
    let Ok(sign1) = Unverified::parse(bytes) else { return };
    let payload = sign1.payload();
    // Head 5 bytes, payload with its head, signature with its head.
    assert_eq!(&bytes[..5], [0x84, 0x43, 0xa1, 0x01, 0x27]);
    let head = 5 + 1 + [1, 2, 3, 5][[24, 256, 65_536].iter().filter(|step| payload.len() >= **step).count()];
    assert_eq!(&bytes[head..bytes.len() - 66], payload);
    let key = Keys::of(VOLUNTEER);
    assert!(sign1.verify(key.device_id().as_bytes(), Purpose::Entry).is_err() || bytes.len() < 3_000);
}

fn header(tape: &mut Tape<'_>) {
    let key = Keys::of(VOLUNTEER).device;
    let body = (!tape.once_in(4)).then(|| tape.blob(400).to_vec());
    let bytes = tape.rest();
    let signed = cose::sign(&key, Purpose::Entry, bytes.to_vec());
    let large = signed.len() > limits::SIGNED_BYTES_MAX;
    let wire = Wire { signed: ByteVec::from(signed), body: body.clone().map(ByteVec::from) };
    let read = cbor::decode::<Header>(bytes);
    let fits = |header: &Header| {
        let body_fits = body.as_ref().is_none_or(|body| {
            body.len() == header.body_bytes as usize && hash::sha256(body) == header.body_hash
        });
        header.version == 1 && body_fits && keeps_rules(header)
    };
    let parsed = Received::parse(wire);
    assert_eq!(parsed.is_ok(), !large && read.as_ref().is_ok_and(fits), "{parsed:?}");
    let Ok(entry) = parsed else { return };
    assert_eq!(cbor::encode(entry.header()), bytes);
    assert_eq!(Received::from_bytes(&entry.to_bytes()).as_ref(), Ok(&entry));
    let own = entry.header().device.as_bytes() == key.verifying_key().as_bytes();
    assert_eq!(entry.verify_signature().is_ok(), own);
}

/// The rules of PROTOCOL.md §2.1, read from the document.
fn keeps_rules(header: &Header) -> bool {
    let founding = header.group.is_none();
    let roll = header.compartment == CompartmentId::ROLL;
    let (epoch, commitment) = (header.epoch.is_some(), header.commitment.is_some());
    header.suite == 1
        && header.previous.is_none() == (header.seq == 0)
        && (!founding || (roll && header.seq == 0 && header.kind == Kind(1)))
        && (founding || (header.kind == Kind(0)) == (header.seq == 0))
        && (header.kind != Kind(1) || roll)
        && !([Kind(2), Kind(3)].contains(&header.kind) && roll)
        && (header.kind.0 > 3
            || (epoch == [2, 3].contains(&header.kind.0) && commitment == (header.kind.0 == 3)))
        && header.body_bytes <= 262_144
        && header.roll_heads.len() <= 16
        && header.roll_heads.windows(2).all(|pair| pair[0] < pair[1])
        && (founding || !header.roll_heads.is_empty())
}

fn certificate(bytes: &[u8]) {
    let Ok(certificate) = Certificate::verify(bytes, Scope::group(town().group)) else { return };
    assert_eq!(certificate.as_bytes(), bytes);
    assert_eq!(certificate.claims().version, 1);
    assert_eq!(certificate.claims().scope, Scope::group(town().group));
    let elsewhere = Certificate::verify(bytes, Scope::founding(&[0; 16]));
    assert_eq!(elsewhere, Err(BadCertificate::OtherGroup));
}

fn claims(tape: &mut Tape<'_>) {
    let keys = Keys::of(VOLUNTEER);
    let purpose = if tape.once_in(8) { Purpose::Entry } else { Purpose::Certificate };
    let claims = tape.rest();
    let inner = cose::sign(&keys.device, Purpose::Possession, claims.to_vec());
    let bytes = cose::sign(&keys.member, purpose, inner);
    let read = cbor::decode::<Claims>(claims);
    let scope = Scope::group(town().group);
    let fits = |claims: &Claims| {
        let own = (1, keys.member_id(), keys.device_id(), scope);
        (claims.version, claims.member, claims.device, claims.scope) == own
    };
    let good = purpose == Purpose::Certificate && read.as_ref().is_ok_and(fits);
    let verified = Certificate::verify(&bytes, scope);
    assert_eq!(verified.is_ok(), good, "{verified:?}");
    if let Ok(certificate) = verified {
        assert_eq!(cbor::encode(certificate.claims()), claims);
        assert_eq!(certificate.as_bytes(), bytes);
    }
}

/// A run of entries, some of them wrong: what is proven is good by itself, and nothing is lost.
fn run(tape: &mut Tape<'_>) {
    let mut pen = Pen::of(VOLUNTEER);
    let log = CompartmentId(2);
    if tape.once_in(2) {
        pen.heads.clear();
    }
    let head = pen.heads.get(&log).copied();
    let mut entries = Vec::new();
    while !tape.is_over() && entries.len() < 12 {
        let slot = pen.slot(log, town().roll.heads());
        let first = slot.head.is_none();
        let body = if first { pen.keys.certificate().as_bytes().to_vec() } else { tape.blob(32).to_vec() };
        let mut header = pen.header(&slot, if first { Kind(0) } else { Kind(9) }, None, &body);
        let before = pen.heads.clone();
        match tape.below(12) {
            0 => header.seq = tape.number(header.seq),
            1 => header.group = header.group.map(|_| lamppost_core::base::GroupId(tape.bytes32())),
            2 => header.previous = header.previous.map(|_| lamppost_core::base::EntryHash(tape.bytes32())),
            3 => header.device = Keys::of(town::STRANGER).device_id(),
            _ => {}
        }
        let mut wire = pen.write(&header, body);
        match tape.below(12) {
            0 => tape.bend(&mut wire.signed),
            1 => pen.heads = before,
            2 => wire.body = None,
            _ => {}
        }
        entries.extend(Received::parse(wire));
    }
    let hashes: Vec<_> = entries.iter().map(Received::hash).collect();
    let run = verify_run(town().group, head, entries);
    let mut head = head;
    for entry in &run.verified {
        assert!(verify_one((**entry).clone()).is_ok());
        assert_eq!(entry.group(), town().group);
        assert_eq!(entry.header().seq, head.map_or(0, |head| head.seq + 1));
        assert_eq!(entry.header().previous, head.map(|head| head.hash));
        head = Some(LogHead { seq: entry.header().seq, hash: entry.hash() });
    }
    let verified = run.verified.iter().map(|entry| entry.hash());
    let behind = run.refused.iter().map(|(entry, _)| entry.hash()).chain(run.rest.iter().map(Received::hash));
    assert_eq!(verified.chain(behind).collect::<Vec<_>>(), hashes);
    assert!(run.refused.is_some() || run.rest.is_empty());
}
