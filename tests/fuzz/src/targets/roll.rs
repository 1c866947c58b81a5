//! The roll: operations decode to one encoding, and a set of entries gives one state, whatever order they came in.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamppost_core::base::{CompartmentId, EntryHash, MailboxId, RoleId, Template, cbor};
use lamppost_core::entry::keys::{Agreement, SealPurpose, Secret, seal};
use lamppost_core::entry::{Kind, LogHead, LogId, Received, SealedKey, Verified};
use lamppost_core::roll::operation::{Admission, Grants, PreviousKey, Rotations};
use lamppost_core::roll::{Grant, Inserted, Operation, Roll, Rotation};
use lamppost_core::sync::inbox::{Logs, Verdict, judge};
use minicbor::bytes::ByteVec;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::tape::Tape;
use crate::town::{Keys, Pen, town};

/// Entries of one program at most.
const ENTRIES_MAX: usize = 24;

/// First byte: an operation, a template, or a program that writes roll entries.
pub fn roll(data: &[u8]) {
    let mut tape = Tape::new(data);
    match tape.below(4) {
        0 => operation(tape.rest()),
        1 => {
            if let Ok(template) = cbor::decode::<Template>(tape.rest()) {
                check_template(&template);
            }
        }
        _ => sequence(&mut tape),
    }
}

fn operation(bytes: &[u8]) {
    let Ok(operation) = cbor::decode::<Operation>(bytes) else { return };
    assert_eq!(cbor::encode(&operation), bytes);
    if operation.check().is_err() {
        return;
    }
    let rotations = match &operation {
        Operation::Found(founding) => {
            check_template(&founding.template);
            assert!(founding.template.check().is_ok() && founding.template.governs(founding.role));
            founding.rotations.as_slice()
        }
        Operation::Rotate(rotate) => rotate.rotations.as_slice(),
        Operation::Admit(admit) => {
            assert!(admit.certificates.len() <= 16 && admit.grants.len() <= 1_600);
            &[]
        }
        Operation::Grant(grants) => {
            assert!(grants.grants.len() <= 1_600);
            &[]
        }
        Operation::Unknown { number, .. } => {
            assert!(*number > 3);
            &[]
        }
    };
    assert!(rotations.len() <= 32);
    assert!(rotations.iter().map(|rotation| rotation.grants.len()).sum::<usize>() <= 1_600);
    for rotation in rotations {
        assert!(
            rotation
                .grants
                .iter()
                .all(|g| (g.compartment, g.epoch) == (rotation.compartment, rotation.epoch()))
        );
    }
}

fn check_template(template: &Template) {
    if template.check().is_err() {
        return;
    }
    assert!(template.roles.len() <= 32 && template.compartments.len() <= 32);
    assert!(template.compartments.iter().any(|row| row.id == CompartmentId(0)));
    for row in &template.compartments {
        for role in row.readers.iter().chain(&row.writers) {
            assert!(template.role(*role).is_some());
        }
    }
}

/// Writes an operation, as the program says.
pub fn write_operation(tape: &mut Tape<'_>) -> Operation {
    let somebody = |tape: &mut Tape<'_>| Keys::of(1 + tape.below(9) as u64);
    match tape.below(6) {
        0 | 1 => {
            let newcomer = somebody(tape);
            let role = RoleId(u8::try_from(tape.below(9)).unwrap());
            let mut certificates = vec![ByteVec::from(newcomer.certificate().as_bytes().to_vec())];
            match tape.below(8) {
                0 => certificates.clear(),
                1 => certificates.push(ByteVec::from(somebody(tape).certificate().as_bytes().to_vec())),
                2 => tape.bend(&mut certificates[0]),
                _ => {}
            }
            let grants = (0..tape.below(3)).map(|_| write_grant(tape)).collect();
            Operation::Admit(Admission {
                member: newcomer.member_id(),
                role,
                certificates,
                grants,
                invitation: tape.once_in(8).then_some(MailboxId([7; 16])),
            })
        }
        2 => Operation::Grant(Grants { grants: (0..tape.below(4)).map(|_| write_grant(tape)).collect() }),
        3 | 4 => {
            let rotations = (0..1 + tape.below(2)).map(|_| write_rotation(tape)).collect();
            Operation::Rotate(Rotations { rotations })
        }
        _ => Operation::Unknown { number: tape.u8(), cbor: tape.blob(64).to_vec() },
    }
}

fn write_grant(tape: &mut Tape<'_>) -> Grant {
    let compartment = CompartmentId(u8::try_from(tape.below(7)).unwrap());
    let epochs: Vec<_> = town().roll.state().epochs(compartment).map(|(id, _)| id).collect();
    let epoch = tape.pick(&epochs).copied();
    let epoch = epoch.unwrap_or_else(|| lamppost_core::base::EpochId::of(0, &tape.bytes32()));
    let device = Keys::of(1 + tape.below(9) as u64).device_id();
    Grant { compartment, epoch, device, sealed: some_sealed(tape) }
}

/// A sealed key that opens for somebody, or for nobody.
fn some_sealed(tape: &mut Tape<'_>) -> SealedKey {
    let byte = tape.u8();
    SealedKey { encapsulated: [byte; 32], ciphertext: [tape.u8(); 48] }
}

fn write_rotation(tape: &mut Tape<'_>) -> Rotation {
    let compartment = CompartmentId(u8::try_from(tape.below(7)).unwrap());
    let newest = town().roll.state().newest_epoch(compartment).map(|(id, _)| id);
    let next = newest.map_or(0, |id| u64::from(id.number) + 1);
    let number = if tape.once_in(4) { tape.number(next) } else { next };
    let number = u32::try_from(number % (1 << 32)).unwrap();
    let key = Agreement::from_secret(Secret(tape.bytes32()));
    let public = if tape.once_in(8) { tape.bytes32() } else { *key.public() };
    let epoch = lamppost_core::base::EpochId::of(number, &public);
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(tape.u8()));
    let mut grants = Vec::new();
    for _ in 0..tape.below(4) {
        let reader = Keys::of(1 + tape.below(5) as u64);
        let purpose = SealPurpose::EpochKey(compartment, epoch);
        let sealed = seal(&mut rng, reader.agreement.public(), &purpose, key.secret()).unwrap();
        grants.push(Grant { compartment, epoch, device: reader.device_id(), sealed });
    }
    let previous = newest.filter(|_| tape.once_in(2)).map(|old| {
        let old_key = town().epochs.get(&(compartment, old));
        let purpose = SealPurpose::EpochChain { compartment, old, new: epoch };
        let sealed = old_key.and_then(|old_key| seal(&mut rng, &public, &purpose, old_key.secret()).ok());
        PreviousKey { epoch: old, sealed: sealed.unwrap_or_else(|| some_sealed(tape)) }
    });
    Rotation { compartment, number, public, grants, previous }
}

/// Writes roll entries by several hands who know different parts of the roll.
fn sequence(tape: &mut Tape<'_>) {
    let mut pens: Vec<Pen> = (1..9).map(Pen::of).collect();
    let order = tape.u8();
    let mut known: Vec<EntryHash> = town().roll.order();
    let mut entries: Vec<Verified> = Vec::new();
    while !tape.is_over() && entries.len() < ENTRIES_MAX {
        let at = tape.below(pens.len());
        let pen = &mut pens[at];
        let mut cited: Vec<EntryHash> = match tape.below(4) {
            0 => entries.iter().rev().take(1 + tape.below(3)).map(|entry| entry.hash()).collect(),
            1 => (0..1 + tape.below(4)).filter_map(|_| tape.pick(&known).copied()).collect(),
            2 => town().roll.heads(),
            _ => known.last().copied().into_iter().collect(),
        };
        if tape.once_in(32) {
            cited.push(EntryHash(tape.bytes32()));
        }
        cited.sort_unstable();
        cited.dedup();
        let slot = pen.slot(CompartmentId::ROLL, cited);
        let (kind, body) = if slot.head.is_none() {
            (Kind(0), pen.keys.certificate().as_bytes().to_vec())
        } else if tape.once_in(12) {
            (Kind(4 + tape.u8() % 4), tape.blob(20).to_vec())
        } else {
            (Kind(1), cbor::encode(&write_operation(tape)))
        };
        let before = pen.heads.clone();
        let wire = pen.write(&pen.header(&slot, kind, None, &body), body);
        let Ok(entry) = Received::parse(wire) else {
            pen.heads = before;
            continue;
        };
        if tape.once_in(24) {
            pen.heads = before;
        }
        // Who goes back and writes the same again has written nothing.
        if known.contains(&entry.hash()) {
            continue;
        }
        known.push(entry.hash());
        entries.push(Verified::from_own_store(entry));
    }
    let forward = insert_all(entries.iter());
    let backward = insert_all(entries.iter().rev());
    let mixed = insert_all(mixed(&entries, order).into_iter());
    for other in [&backward, &mixed] {
        assert_eq!(forward.order(), other.order());
        assert_eq!(forward.heads(), other.heads());
        assert_eq!(forward.state(), other.state());
    }
    for entry in &entries {
        let cited = &entry.header().roll_heads;
        let past = forward.state_at(cited);
        assert_eq!(past, backward.state_at(cited));
        assert_eq!(past.is_some(), forward.knows(cited));
    }
    let heads = forward.heads();
    assert!(heads.len() <= 16 && heads.is_sorted_by(|a, b| a < b));
    let some = entries.get(usize::from(order) % entries.len().max(1));
    for cited in some.iter().map(|entry| &entry.header().roll_heads).chain([&heads]) {
        let past = forward.state_at(cited);
        assert_eq!(past.as_deref(), past_of(cited, &entries).as_ref().map(|roll| &**roll.state()));
    }
    judged(&entries, &forward, order);
}

/// The town's roll with `entries`, offered in this order again and again until nothing moves.
fn insert_all<'e>(entries: impl Iterator<Item = &'e Verified>) -> Roll {
    let mut roll = (*town().roll).clone();
    let mut open: Vec<&Verified> = entries.collect();
    loop {
        let before = open.len();
        open.retain(|entry| match roll.insert(entry) {
            Ok(Inserted::Waits) => true,
            Ok(Inserted::Known) => unreachable!("each is offered once"),
            Ok(Inserted::Counts | Inserted::WithoutEffect) | Err(_) => false,
        });
        if open.len() == before {
            return roll;
        }
    }
}

/// The roll of somebody who has `heads` and all their ancestors and nothing else; none if one of them is not there.
fn past_of(heads: &[EntryHash], entries: &[Verified]) -> Option<Roll> {
    let all = town().roll_entries.iter().chain(entries);
    let by_hash: BTreeMap<EntryHash, &Verified> = all.map(|entry| (entry.hash(), entry)).collect();
    let mut past = BTreeMap::new();
    let mut open = heads.to_vec();
    while let Some(hash) = open.pop() {
        let entry = *by_hash.get(&hash)?;
        if past.insert(hash, entry).is_none() {
            open.extend(entry.header().roll_heads.iter().chain(&entry.header().previous));
        }
    }
    let mut roll = Roll::found(past.values().find(|entry| entry.is_founding())?).ok()?;
    let mut open: Vec<&Verified> = past.into_values().filter(|entry| !entry.is_founding()).collect();
    loop {
        let before = open.len();
        let mut is_roll = true;
        open.retain(|entry| match roll.insert(entry) {
            Ok(inserted) => inserted == Inserted::Waits,
            Err(_) => {
                is_roll = false;
                false
            }
        });
        if !is_roll {
            return None;
        }
        if open.len() == before {
            return open.is_empty().then_some(roll);
        }
    }
}

fn mixed(entries: &[Verified], order: u8) -> Vec<&Verified> {
    let mut mixed: Vec<&Verified> = entries.iter().collect();
    mixed.sort_by_key(|entry| entry.hash().0[usize::from(order % 32)] ^ order);
    mixed
}

/// The judge comes to the same roll, with everything in one frame and with one entry per frame, unless a log forks.
fn judged(entries: &[Verified], inserted: &Roll, order: u8) {
    let mut places = BTreeMap::new();
    let forked = entries.iter().any(|e| places.insert((LogId::of(e), e.header().seq), e.hash()).is_some());
    if forked {
        return;
    }
    let wires: Vec<Received> = entries.iter().map(|entry| (**entry).clone()).collect();
    let mut once = Known::new();
    once.take(wires.clone());
    let mut singly = Known::new();
    let mut open: Vec<Received> = mixed(entries, order).into_iter().map(|entry| (**entry).clone()).collect();
    loop {
        let before = open.len();
        for entry in std::mem::take(&mut open) {
            open.extend(singly.take(vec![entry]));
        }
        if open.len() == before {
            break;
        }
    }
    assert_eq!(once.roll.order(), singly.roll.order());
    assert_eq!(once.roll.state(), singly.roll.state());
    assert_eq!(once.roll.heads(), singly.roll.heads());
    // What the judge keeps is part of what may be inserted: it asks for the entry before as well.
    assert!(once.roll.order().iter().all(|hash| inserted.knows(&[*hash])));
}

/// Logs that the judge asks, with what it kept.
struct Known {
    roll: Arc<Roll>,
    logs: BTreeMap<LogId, BTreeMap<u64, EntryHash>>,
}

impl Known {
    fn new() -> Self {
        Self { roll: Arc::clone(&town().roll), logs: town().logs.clone() }
    }

    /// Judges a frame and answers with what waits.
    fn take(&mut self, entries: Vec<Received>) -> Vec<Received> {
        let mut roll = Arc::clone(&self.roll);
        let count = entries.len();
        let Ok(verdicts) = judge(&mut roll, &*self, entries);
        assert_eq!(verdicts.len(), count, "one verdict each");
        self.roll = roll;
        let mut waiting = Vec::new();
        for (_, verdict) in verdicts {
            match verdict {
                Verdict::Keep(entry) | Verdict::Quarantine(entry, _) => {
                    let log = self.logs.entry(LogId::of(&entry)).or_default();
                    assert_eq!(log.keys().next_back().map_or(0, |seq| seq + 1), entry.header().seq);
                    log.insert(entry.header().seq, entry.hash());
                }
                Verdict::Wait(entry, _) => waiting.push(entry),
                Verdict::Known | Verdict::Fork(..) | Verdict::Refuse(..) => {}
            }
        }
        waiting
    }
}

impl Logs for Known {
    type Error = std::convert::Infallible;

    fn head(&self, log: LogId) -> Result<Option<LogHead>, Self::Error> {
        let last = self.logs.get(&log).and_then(|entries| entries.last_key_value());
        Ok(last.map(|(seq, hash)| LogHead { seq: *seq, hash: *hash }))
    }

    fn hash_at(&self, log: LogId, seq: u64) -> Result<Option<EntryHash>, Self::Error> {
        Ok(self.logs.get(&log).and_then(|entries| entries.get(&seq)).copied())
    }
}

#[cfg(test)]
mod tests {
    use lamppost_core::roll::Operation;

    use super::*;
    use crate::town::{COORDINATOR, STRANGER, verified};

    /// A stranger's certificate stands in the roll, cited by nobody; then the stranger is admitted without it.
    #[test]
    fn what_nobody_cites_is_in_nobodys_past() {
        let (mut stranger, mut coordinator) = (Pen::of(STRANGER), Pen::of(COORDINATOR));
        let slot = stranger.slot(CompartmentId::ROLL, town().roll.heads());
        let body = stranger.keys.certificate().as_bytes().to_vec();
        let certificate = stranger.write(&stranger.header(&slot, Kind(0), None, &body), body);
        let member = stranger.keys.member_id();
        let (certificates, grants) = (Vec::new(), Vec::new());
        let admit = Admission { member, role: RoleId(1), certificates, grants, invitation: None };
        let slot = coordinator.slot(CompartmentId::ROLL, town().roll.heads());
        let body = cbor::encode(&Operation::Admit(admit));
        let admission = coordinator.write(&coordinator.header(&slot, Kind(1), None, &body), body);
        let cited = [verified(&admission).hash()];
        let mut knows_both = (*town().roll).clone();
        knows_both.insert(&verified(&certificate)).unwrap();
        knows_both.insert(&verified(&admission)).unwrap();
        let mut knows_one = (*town().roll).clone();
        knows_one.insert(&verified(&admission)).unwrap();
        assert_eq!(knows_both.state_at(&cited), knows_one.state_at(&cited));
    }
}
