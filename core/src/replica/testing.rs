//! What tests here and elsewhere file, and what they look at beside what an app sees.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::disk::{self, ENTRIES, OutboxRow, QUARANTINE, SetAsideRow, UNOPENED};
use super::engine::Engine;
use super::{Error, JoinRequest, ObservationDraft};
use crate::base::cose::{self, Purpose};
use crate::base::hash::sha256;
use crate::base::{CompartmentId, DocumentId, EntryHash, EpochId, GroupId, cbor};
use crate::entry::header::{SUITE, VERSION};
use crate::entry::plaintext::{Content, Form};
use crate::entry::seal::{CannotSeal, Slot, write_clear};
use crate::entry::{Header, Kind as EntryKind, LogHead, LogId, Malformed, Received, Scope, Verified, Wire};
use crate::roll::{Operation, Roll};
use crate::watch::kinds::rule;
use crate::watch::{
    Analysis, Assessment, Keyed, Observation, Opening, PlannedResponse, Position, Problem, Sealed,
    WatchDocument, When,
};

/// An entry as a device keeps it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The entry.
    pub entry: Received,
    /// Whether it has no effect here, for whatever reason.
    pub is_set_aside: bool,
    /// Whether that is because a removal cut it off.
    pub is_cut_off: bool,
    /// Whether it was not opened for lack of a key.
    pub is_unopened: bool,
}

/// The roll as a device has it; none if it belongs to no group.
pub fn roll(engine: &Engine) -> Option<Arc<Roll>> {
    engine.group.as_ref().map(|group| Arc::clone(&group.roll))
}

/// The epochs whose private keys a device holds.
pub fn held_epochs(engine: &Engine) -> BTreeSet<(CompartmentId, EpochId)> {
    engine.group.iter().flat_map(|group| group.epoch_keys.keys().copied()).collect()
}

/// Sealed keys that a device tried to open since its store was opened.
pub fn seals_tried(engine: &Engine) -> u64 {
    engine.group.as_ref().map_or(0, |group| group.spent_seals.tried)
}

/// Whether the member's key is on the device.
pub fn holds_member_key(engine: &Engine) -> bool {
    engine.identity.secrets().is_ok_and(|secrets| secrets.member.is_some())
}

/// What a device hands over in order to be admitted again; none if nobody's key says whose it is.
pub fn request_again(engine: &Engine) -> Option<JoinRequest> {
    let certificate = engine.certificate_for(engine.group_id()?).ok();
    certificate.map(|certificate| JoinRequest::from_bytes(certificate.as_bytes().to_vec()))
}

/// Everything a device keeps in the logs of its group.
///
/// # Errors
/// Errors of the store.
pub fn stored(engine: &Engine) -> Result<Vec<Stored>, Error> {
    let rows = engine.store.scan(ENTRIES, &[], None, usize::MAX)?;
    let stored = rows.into_iter().map(|(key, bytes)| {
        let aside = engine.store.get(QUARANTINE, &key)?;
        let aside: Option<SetAsideRow> = aside.map(|row| disk::decode(&row)).transpose()?;
        Ok(Stored {
            entry: disk::decode_entry(&bytes)?.into_received(),
            is_set_aside: aside.is_some(),
            is_cut_off: aside.is_some_and(|row| row.cut_off),
            is_unopened: engine.store.get(UNOPENED, &key)?.is_some(),
        })
    });
    stored.collect()
}

/// The entries that came without their bodies and should still have them.
///
/// # Errors
/// Errors of the store.
pub fn missed_bodies(engine: &Engine) -> Result<Vec<EntryHash>, Error> {
    let missed = engine.missed_bodies()?.into_iter();
    let entries = missed.map(|(log, seq)| disk::read_entry(&*engine.store, log, seq));
    entries.filter_map(Result::transpose).map(|entry| Ok(entry?.hash())).collect()
}

/// As an app does that a hostile member made for themselves: signs an operation, whether they may or not.
///
/// # Errors
/// Errors of the store.
pub fn sign_anyway(engine: &mut Engine, operation: &Operation) -> Result<Option<EntryHash>, Error> {
    engine.transact(|engine, batch| engine.append_operation(batch, operation))?;
    Ok(last_of_roll(engine))
}

/// What a device that belongs to nobody writes into a group's roll: its certificate, and an operation. Both cite `roll_heads`.
///
/// # Errors
/// [`CannotSeal`] if the operation is too large.
pub fn forge(
    stranger: &Engine,
    group: GroupId,
    roll_heads: Vec<EntryHash>,
    operation: &Operation,
) -> Result<Vec<Verified>, CannotSeal> {
    forge_all(stranger, group, roll_heads, std::slice::from_ref(operation))
}

/// As [`forge`], with several operations, one after the other. All cite `roll_heads`, whatever else their author knows.
///
/// # Errors
/// [`CannotSeal`] if an operation is too large.
pub fn forge_all(
    stranger: &Engine,
    group: GroupId,
    roll_heads: Vec<EntryHash>,
    operations: &[Operation],
) -> Result<Vec<Verified>, CannotSeal> {
    let identity = &stranger.identity;
    let locked = |_| CannotSeal::Malformed(Malformed::Rule("a locked device signs nothing"));
    let device = &identity.secrets().map_err(locked)?.device;
    let mut slot = Slot {
        group: Some(group),
        compartment: CompartmentId::ROLL,
        head: None,
        claimed_ms: stranger.clock.now_ms(),
        expiry_day: None,
        roll_heads,
        checkpoint: None,
    };
    let certificate = identity.certificate(Scope::group(group));
    let body = certificate.map(|certificate| certificate.as_bytes().to_vec()).unwrap_or_default();
    let mut written = vec![write_clear(device, &slot, EntryKind::CERTIFICATE, None, body)?];
    for operation in operations {
        slot.head = written.last().map(|entry| LogHead { seq: entry.header().seq, hash: entry.hash() });
        let body = cbor::encode(operation);
        written.push(write_clear(device, &slot, EntryKind::OPERATION, None, body)?);
    }
    Ok(written)
}

/// The last entry of a device's own log in the roll; none if it wrote nothing there.
pub fn last_of_roll(engine: &Engine) -> Option<EntryHash> {
    let group = engine.group.as_ref()?;
    group.own.get(&CompartmentId::ROLL).map(|head| head.hash)
}

/// As an app does that a hostile member made for themselves: queues for the relay what others forged.
///
/// # Errors
/// Errors of the store.
pub fn smuggle(engine: &mut Engine, entries: &[Verified]) -> Result<(), Error> {
    engine.transact(|engine, batch| {
        for entry in entries {
            let (log, seq) = (LogId::of(entry), entry.header().seq);
            batch.put(ENTRIES, disk::entry_key(log, seq), entry.to_bytes());
            engine.enqueue(batch, OutboxRow { log, seq, document: None })?;
        }
        Ok(())
    })
}

/// As an app does that a hostile member made for themselves: begins a document or goes on with it, with a last day of their own
/// choice.
///
/// # Errors
/// Errors of the store; [`Error::Kind`] if the document cannot be written.
pub fn write_until<T: WatchDocument>(
    engine: &mut Engine,
    id: DocumentId,
    content: &T,
    day: Option<u32>,
) -> Result<(), Error> {
    let bad = |why: &dyn std::fmt::Display| Error::Kind(why.to_string());
    let rule = rule(T::KIND).ok_or_else(|| bad(&"an unknown kind"))?;
    engine.transact(|engine, batch| {
        let mut document = engine.load(id)?;
        let change = document.write(content).map_err(|e| bad(&e))?.ok_or_else(|| bad(&"nothing differs"))?;
        let bytes = change.bytes().to_vec();
        let content = Content { document: id, kind: T::KIND.0, form: Form::CHANGE, bytes };
        let entry = engine.append_content(batch, CompartmentId(rule.compartment), &content, day)?;
        let part = disk::part_key(id, LogId::of(&entry), entry.header().seq);
        batch.put(disk::DOCUMENTS, part, Vec::new());
        engine.recent.keep(id, document);
        Ok(())
    })
}

/// A new identity for a document of a device's member.
pub fn new_id(engine: &mut Engine, kind: crate::watch::Kind) -> DocumentId {
    engine.new_id(kind)
}

/// As an app does that a hostile member made for themselves: signs an entry of the roll that has a last day, or no body that
/// anybody knows. It is on nobody's disk.
///
/// # Errors
/// [`CannotSeal`] if the body is too large; errors of the store.
pub fn expiring_roll_entry(engine: &Engine, kind: EntryKind, body: &[u8], day: u32) -> Result<Wire, Error> {
    let group = engine.group()?;
    let head = group.own.get(&CompartmentId::ROLL).copied();
    let header = Header {
        version: VERSION,
        suite: SUITE,
        group: Some(group.roll.group()),
        compartment: CompartmentId::ROLL,
        device: engine.device_id(),
        seq: head.map_or(0, |head| head.seq + 1),
        previous: head.map(|head| head.hash),
        kind,
        epoch: None,
        body_hash: sha256(body),
        body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
        commitment: None,
        claimed_ms: engine.clock.now_ms(),
        expiry_day: Some(day),
        roll_heads: group.roll.heads(),
        checkpoint: None,
    };
    let signed = cose::sign(engine.signer()?, Purpose::Entry, cbor::encode(&header));
    Ok(Wire { signed: signed.into(), body: Some(body.to_vec().into()) })
}

/// An observation with a sealed part, that says `what`.
pub fn draft(what: &str) -> ObservationDraft {
    let observation = Observation {
        when: When { start_ms: 1_779_990_000_000, end_ms: None, precision: "minute".into() },
        vantage: "public_way".into(),
        behaviours: vec!["hand_to_hand".into()],
        what_happened: what.into(),
        basis: "saw".into(),
        consent: vec!["liaison".into()],
        ..Observation::default()
    };
    let sealed = Sealed {
        position: Some(Position { lat: 39.74, lon: -104.95, accuracy_m: 10.0, method: "gps".into() }),
        address: "12 Invented Street".into(),
        notes: "plate ZZZ-1234".into(),
        ..Sealed::default()
    };
    ObservationDraft { observation, sealed: Some(sealed) }
}

/// A JPEG of noise, which does not compress, with `marker` in an EXIF block.
///
/// # Panics
/// If it cannot be encoded, which no size below 65,536 pixels is.
#[expect(clippy::expect_used, reason = "for tests alone")]
pub fn photo(width: u32, height: u32, marker: &[u8]) -> Vec<u8> {
    let mut state = 1_u32;
    let pixels = image::RgbImage::from_fn(width, height, |_, _| {
        image::Rgb([0; 3].map(|_: u8| {
            // A linear congruential generator (Numerical Recipes): its upper bits are noise enough.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        }))
    });
    let mut jpeg = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 95);
    pixels.write_with_encoder(encoder).expect("encoding works because the size is a JPEG's");
    let exif = [b"Exif\0\0".as_slice(), marker].concat();
    let length = u16::try_from(exif.len() + 2).expect("a marker is short").to_be_bytes();
    let behind_start = jpeg.split_off(2);
    [jpeg.as_slice(), &[0xff, 0xe1], &length, &exif, &behind_start].concat()
}

/// A document's content as JSON, field by field as it is stored; for golden vectors.
///
/// # Panics
/// If it cannot be stored, which is a mistake in its type.
#[expect(clippy::expect_used, reason = "for tests alone")]
pub fn as_json<T: WatchDocument>(content: &T) -> serde_json::Value {
    let mut document = automerge::AutoCommit::new();
    autosurgeon::reconcile(&mut document, content).expect("it can be stored");
    serde_json::to_value(automerge::AutoSerde::from(&document)).expect("it can be written as JSON")
}

/// A problem that has everything that closing it asks for.
pub fn problem() -> Problem {
    let response = PlannedResponse {
        what: "Light the lot".into(),
        owner: "member-1".into(),
        due_ms: 1_779_990_000_000,
        kind: "place".into(),
        status: "done".into(),
    };
    Problem {
        title: "Short visits at the corner lot".into(),
        opening: Opening {
            several_concerned: "Two dozen neighbours and a day-care".into(),
            will_not_go_away: "It has come back every spring".into(),
            survived_enforcement: "After each arrest it was the same within a week".into(),
            can_be_impacted: "The owner would fence the lot".into(),
        },
        stage: "scanning".into(),
        cell: String::new(),
        scan: "Cars stop for under three minutes, Fridays".into(),
        analysis: Analysis {
            offender: "They come by car".into(),
            victim: "The day-care".into(),
            place: "Dark, and nobody looks after it".into(),
        },
        responses: Keyed::from_iter([("light", response)]),
        assessment: Assessment {
            measure: "visits under 3 minutes, Fridays 20 to 24 h".into(),
            baseline: Some(41.0),
            after: Some(12.0),
            displacement: "none_seen".into(),
            conclusion: "The light helped".into(),
        },
    }
}
