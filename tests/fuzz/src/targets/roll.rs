//! The roll: operations decode to one encoding, and a set of entries gives one state, whatever order they came in.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamppost_core::base::{CompartmentId, EntryHash, EpochId, Hash, Template, cbor};
use lamppost_core::entry::{Certificate, Kind, LogHead, LogId, Received, Scope, Verified};
use lamppost_core::roll::operation::{EndHold, Hold, Recovery, Removal, Withdrawal};
use lamppost_core::roll::{EpochName, Inserted, Operation, Roll, State, Target};
use lamppost_core::sync::inbox::{Logs, Verdict, judge};

use super::operations::write_operation;
use crate::tape::Tape;
use crate::town::{COORDINATOR, Keys, Pen, town};

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
    if let Some(keys) = operation.keys() {
        assert!(keys.rotations.len() <= 32 && keys.epochs.len() <= 32 && keys.grants.len() <= 1_600);
        assert!(keys.epochs.windows(2).all(|pair| pair[0] < pair[1]));
        for grant in &keys.grants {
            let named = keys.granted(grant).len();
            assert!(named > 0 && named == grant.mask.count_ones() as usize);
            assert_eq!(grant.sealed.ciphertext.len(), named * 32 + 16);
        }
    }
    assert!(operation.certificates().len() <= 16);
    match &operation {
        Operation::Found(founding) => {
            check_template(&founding.template);
            assert!(founding.template.check().is_ok() && founding.template.governs(founding.role));
        }
        Operation::Remove(Removal { marks, .. }) | Operation::Recover(Recovery { marks, .. }) => {
            assert!(marks.len() <= 512 && marks.windows(2).all(|pair| pair[0].log < pair[1].log));
        }
        Operation::Policy(policy) => assert!(policy.settings.len() <= 64),
        Operation::Accept(accept) => {
            assert!(accept.entries.len() <= 1_024 && accept.entries.windows(2).all(|pair| pair[0] < pair[1]));
        }
        Operation::Hold(Hold { entries: named, .. }) | Operation::EndHold(EndHold { holds: named }) => {
            assert!(named.len() <= 1_024 && named.windows(2).all(|pair| pair[0] < pair[1]));
        }
        Operation::Withdraw(Withdrawal { proposals }) => {
            assert!(proposals.len() <= 1_024 && proposals.windows(2).all(|pair| pair[0] < pair[1]));
        }
        Operation::Shred(shred) => {
            let place = |at: usize| (shred.entries[at].log, shred.entries[at].head.seq);
            assert!(
                shred.entries.len() <= 512 && (1..shred.entries.len()).all(|at| place(at - 1) < place(at))
            );
            assert!(!shred.entries.is_empty() || shred.document.is_some(), "a shred of nothing");
        }
        Operation::Certify(certify) => assert!(certify.keys.rotations.is_empty()),
        Operation::Unknown { number, .. } => assert!(*number > 11),
        Operation::Admit(_) | Operation::KeyUpdate(_) => {}
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

/// Writes roll entries by several hands who know different parts of the roll.
fn sequence(tape: &mut Tape<'_>) {
    let mut pens: Vec<Pen> = (1..9).map(Pen::of).collect();
    let order = tape.u8();
    let mut known: Vec<EntryHash> = town().roll_entries.iter().map(|entry| entry.hash()).collect();
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
            (Kind(1), cbor::encode(&write_operation(tape, &known)))
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
    let (forward, inserted) = insert_all(entries.iter());
    let (backward, _) = insert_all(entries.iter().rev());
    let (mixed, _) = insert_all(mixed(&entries, order).into_iter());
    let probes = probes(&entries);
    for other in [&backward, &mixed] {
        assert_eq!(forward.len(), other.len());
        assert_eq!(forward.heads(), other.heads());
        assert_eq!(forward.state(), other.state());
        assert_eq!(forward.devices_cut_off(), other.devices_cut_off());
        check_seals(other.state());
        for probe in &probes {
            assert_eq!(forward.check_standing(probe), other.check_standing(probe));
        }
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
    rights(&entries, &forward, &inserted);
    judged(&entries, &forward, order);
}

/// Sealed entries of everybody, citing what the program wrote: whether they count, the whole set says.
fn probes(entries: &[Verified]) -> Vec<Received> {
    let cited = entries.iter().rev().step_by(3).map(|entry| vec![entry.hash()]).chain([town().roll.heads()]);
    let mut probes = Vec::new();
    for (at, cited) in cited.enumerate() {
        let mut pen = Pen::of(1 + at as u64 % 8);
        let slot = pen.slot(CompartmentId(2 + at as u8 % 3), cited);
        let body = vec![0; 40];
        let kind = if slot.head.is_some() { Kind::SEALED } else { Kind::CERTIFICATE };
        let epoch = (kind == Kind::SEALED).then(|| EpochId::of(0, &[1; 32]));
        let mut header = pen.header(&slot, kind, epoch, &body);
        header.commitment = epoch.map(|_| Hash([1; 32]));
        probes.push(Received::parse(pen.write(&header, body)).unwrap());
    }
    probes
}

/// Who may do what, asked of the state that each entry knew; and the founder governs until somebody may take them out.
fn rights(entries: &[Verified], roll: &Roll, inserted: &BTreeMap<EntryHash, Inserted>) {
    let founder = Keys::of(COORDINATOR).member_id();
    let mut founder_may_be_gone = false;
    for entry in entries.iter().filter(|entry| inserted.get(&entry.hash()) == Some(&Inserted::Counts)) {
        let parents: Vec<EntryHash> =
            entry.header().roll_heads.iter().chain(&entry.header().previous).copied().collect();
        let (past, author) = (roll.state_at(&parents).unwrap(), entry.header().device);
        let member = past.device(author).map(|(device, _)| device.member);
        let operation = match entry.header().kind {
            Kind::CERTIFICATE => continue,
            Kind::OPERATION => cbor::decode::<Operation>(entry.body().unwrap()).unwrap(),
            _ => Operation::Unknown { number: u8::MAX, cbor: Vec::new() },
        };
        let is_own = match &operation {
            Operation::Remove(Removal { target: Target::Member(gone), .. }) => member == Some(*gone),
            Operation::Remove(Removal { target: Target::Device(gone), .. }) => {
                past.device(*gone).is_some_and(|(device, _)| Some(device.member) == member)
            }
            Operation::Certify(certify) => {
                let scope = Scope::group(town().group);
                let claims = *Certificate::verify(&certify.certificate, scope).unwrap().claims();
                claims.device == author || member.is_some()
            }
            Operation::KeyUpdate(keys) => {
                member.is_some()
                    && keys.rotations.is_empty()
                    && keys.grants.iter().all(|grant| past.governs(grant.device))
            }
            Operation::Shred(shred) => shred.entries.iter().all(|mark| {
                past.devices_ever().any(|(device, owner)| device == mark.log.device && Some(owner) == member)
            }),
            _ => false,
        };
        assert!(is_own || past.governs(author), "{operation:?} of somebody who may not");
        let takes_out_founder = matches!(
            &operation, Operation::Remove(Removal { target: Target::Member(gone), .. }) if *gone == founder
        );
        if takes_out_founder {
            let after = roll.state_at(&[entry.hash()]).unwrap();
            founder_may_be_gone |= after.removals().contains(&entry.hash());
        }
    }
    let state = roll.state();
    let governs = state.member(founder).is_some_and(|held| state.template().governs(held.role));
    assert!(governs || founder_may_be_gone, "the founder does not govern any more");
}

/// The town's roll with `entries`, offered in this order again and again until nothing moves, and what became of each.
/// Nobody has to try a seal for an epoch that is not there.
fn check_seals(state: &State) {
    for (device, _) in state.devices_ever() {
        for (names, _) in state.grants_to(device) {
            let is_there =
                |name: &EpochName| state.epochs(name.compartment).any(|(epoch, _)| epoch == name.epoch);
            assert!(names.iter().all(is_there), "a grant of an epoch that nobody began");
        }
    }
}

fn insert_all<'e>(entries: impl Iterator<Item = &'e Verified>) -> (Roll, BTreeMap<EntryHash, Inserted>) {
    let mut roll = (*town().roll).clone();
    let mut open: Vec<&Verified> = entries.collect();
    let mut inserted = BTreeMap::new();
    loop {
        let before = open.len();
        open.retain(|entry| match roll.insert(entry) {
            Ok(Inserted::Waits) => true,
            Ok(Inserted::Known) => unreachable!("each is offered once"),
            Ok(became @ (Inserted::Counts | Inserted::WithoutEffect)) => {
                inserted.insert(entry.hash(), became);
                false
            }
            Err(_) => false,
        });
        if open.len() == before {
            return (roll, inserted);
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
    assert_eq!(once.logs, singly.logs);
    assert_eq!(once.roll.state(), singly.roll.state());
    assert_eq!(once.roll.heads(), singly.roll.heads());
    // What the judge keeps is part of what may be inserted: it asks for the entry before as well.
    let ours = entries.iter().filter(|entry| once.roll.knows(&[entry.hash()]));
    assert!(ours.into_iter().all(|entry| inserted.knows(&[entry.hash()])));
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
                Verdict::Stranger(_) | Verdict::Known(_) | Verdict::Fork(..) | Verdict::Refuse(..) => {}
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
    use lamppost_core::base::RoleId;
    use lamppost_core::roll::KeyUpdate;
    use lamppost_core::roll::operation::Admission;

    use super::*;
    use crate::town::{STRANGER, verified};

    /// A stranger's certificate stands in the roll, cited by nobody; then the stranger is admitted without it.
    #[test]
    fn what_nobody_cites_is_in_nobodys_past() {
        let (mut stranger, mut coordinator) = (Pen::of(STRANGER), Pen::of(COORDINATOR));
        let slot = stranger.slot(CompartmentId::ROLL, town().roll.heads());
        let body = stranger.keys.certificate().as_bytes().to_vec();
        let certificate = stranger.write(&stranger.header(&slot, Kind(0), None, &body), body);
        let member = stranger.keys.member_id();
        let keys = KeyUpdate::default();
        let admit = Admission { member, role: RoleId(1), certificates: Vec::new(), keys, invitation: None };
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
