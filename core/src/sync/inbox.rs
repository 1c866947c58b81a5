//! What to do with entries that came in, in whatever order (PROTOCOL.md §5.3). Relay and phones judge alike.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::base::{CompartmentId, EntryHash, GroupId};
use crate::entry::chain::{BadLink, certificate_of, verify_one, verify_run};
use crate::entry::{Kind, LogHead, LogId, Received, Verified};
use crate::roll::{Inserted, Roll, State};

/// What the judge asks its store: how far it has each log.
pub trait Logs {
    /// How the store fails.
    type Error;

    /// The newest stored entry of a log.
    ///
    /// # Errors
    /// The store's own.
    fn head(&self, log: LogId) -> Result<Option<LogHead>, Self::Error>;

    /// The hash of the stored entry with this number.
    ///
    /// # Errors
    /// The store's own.
    fn hash_at(&self, log: LogId, seq: u64) -> Result<Option<EntryHash>, Self::Error>;
}

/// What becomes of one entry.
#[derive(Debug)]
pub enum Verdict {
    /// It continues its log, and its author may write there.
    Keep(Verified),
    /// It continues its log and is proven, and its author may not write there: set aside, visible, without effect.
    Quarantine(Verified, Quarantine),
    /// A roll log's certificate of a device that has no right to enter itself, mostly because its member has no role. Anybody
    /// can make such, and nobody cites them: they are not kept.
    Stranger(Verified),
    /// It is here already. What is here may lack the body that this one brings.
    Known(Received),
    /// Something that it follows is not here.
    Wait(Received, Missing),
    /// Its device signed another entry for the same place. Both are proof.
    Fork(Verified, EntryHash),
    /// It is not what it claims to be. Whoever sent it is at fault.
    Refuse(Received, BadLink),
}

/// What a waiting entry waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The entry before it.
    Predecessor,
    /// A roll entry that it cites.
    Roll,
}

/// Why a proven entry is set aside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Quarantine {
    /// The author did not belong, as the author itself knew the roll.
    #[error("its device did not belong to the group")]
    UnknownDevice,
    /// The author's role may not write into the compartment.
    #[error("the role of its author may not write there")]
    Role,
    /// It begins a log with a certificate that names somebody else than the roll does.
    #[error("its certificate names another key than the roll")]
    Certificate,
    /// A roll entry that cannot be read.
    #[error("it breaks a rule of the roll: {0}")]
    Roll(String),
}

/// Judges `entries`. Answers with each entry's place in the input and its verdict, causes before effects.
///
/// `roll` takes in the roll entries that are kept. It is cloned only if there are any.
///
/// # Errors
/// Those of `logs`.
pub fn judge<L: Logs>(
    roll: &mut Arc<Roll>,
    logs: &L,
    entries: Vec<Received>,
) -> Result<Vec<(usize, Verdict)>, L::Error> {
    let group = roll.group();
    let mut judge = Judge { roll, logs, heads: BTreeMap::new(), pasts: HashMap::new(), verdicts: Vec::new() };
    let mut by_log: BTreeMap<LogId, BTreeMap<u64, Vec<(usize, Received)>>> = BTreeMap::new();
    for (at, entry) in entries.into_iter().enumerate() {
        if entry.group() == group {
            let places = by_log.entry(LogId::of(&entry)).or_default();
            places.entry(entry.header().seq).or_default().push((at, entry));
        } else {
            let why = BadLink::OtherGroup { expected: group, found: entry.group() };
            judge.verdicts.push((at, Verdict::Refuse(entry, why)));
        }
    }
    // The roll comes first, and as long as one of its logs moves on another may have waited for it.
    let mut rest =
        by_log.split_off(&LogId { compartment: CompartmentId(1), device: crate::base::DeviceId([0; 32]) });
    let mut roll_logs = by_log;
    loop {
        let before = judge.verdicts.len();
        for (log, places) in &mut roll_logs {
            judge.advance(group, *log, places)?;
        }
        if judge.verdicts.len() == before {
            break;
        }
    }
    for (log, places) in &mut rest {
        judge.advance(group, *log, places)?;
    }
    for (log, places) in roll_logs.into_iter().chain(rest) {
        judge.leave_waiting(log, places)?;
    }
    Ok(judge.verdicts)
}

/// States of the roll remembered at once: one serves nearly all entries of a frame, and each may be large.
pub const PASTS_MAX: usize = 16;

struct Judge<'a, L> {
    roll: &'a mut Arc<Roll>,
    logs: &'a L,
    heads: BTreeMap<LogId, Option<LogHead>>,
    pasts: HashMap<Vec<EntryHash>, Option<Arc<State>>>,
    verdicts: Vec<(usize, Verdict)>,
}

impl<L: Logs> Judge<'_, L> {
    fn head(&mut self, log: LogId) -> Result<Option<LogHead>, L::Error> {
        if let Some(head) = self.heads.get(&log) {
            return Ok(*head);
        }
        let head = self.logs.head(log)?;
        self.heads.insert(log, head);
        Ok(head)
    }

    /// Takes from `places` whatever can be judged now.
    fn advance(
        &mut self,
        group: GroupId,
        log: LogId,
        places: &mut BTreeMap<u64, Vec<(usize, Received)>>,
    ) -> Result<(), L::Error> {
        while self.advance_once(group, log, places)? {}
        Ok(())
    }

    /// Judges one run; answers whether another can be judged now.
    fn advance_once(
        &mut self,
        group: GroupId,
        log: LogId,
        places: &mut BTreeMap<u64, Vec<(usize, Received)>>,
    ) -> Result<bool, L::Error> {
        let head = self.head(log)?;
        let next = head.map_or(0, |head| head.seq.saturating_add(1));
        let later = places.split_off(&next);
        for (at, entry) in std::mem::replace(places, later).into_values().flatten() {
            self.compare(log, at, entry)?;
        }
        let mut run = Vec::new();
        let mut places_of_run = Vec::new();
        let mut rivals = Vec::new();
        let mut seq = next;
        while let Some(candidates) = places.get_mut(&seq) {
            // A roll entry must be inserted before the next may cite it; so the roll's runs have length one.
            let ready = candidates.first().is_some_and(|(_, entry)| self.causes_known(entry));
            if !ready || (log.compartment == CompartmentId::ROLL && !run.is_empty()) {
                break;
            }
            let mut candidates = places.remove(&seq).unwrap_or_default();
            let (at, entry) = candidates.remove(0);
            rivals.extend(candidates);
            places_of_run.push(at);
            run.push(entry);
            seq += 1;
        }
        if run.is_empty() {
            return Ok(false);
        }
        let outcome = verify_run(group, head, run);
        let mut at = places_of_run.into_iter();
        for (entry, at) in outcome.verified.into_iter().zip(at.by_ref()) {
            let head = LogHead { seq: entry.header().seq, hash: entry.hash() };
            let verdict = self.admit(entry);
            if !matches!(verdict, Verdict::Stranger(_)) {
                self.heads.insert(log, Some(head));
            }
            self.verdicts.push((at, verdict));
        }
        if let (Some((entry, why)), Some(at)) = (outcome.refused, at.next()) {
            self.blame(log, at, entry, why)?;
        }
        self.verdicts
            .extend(at.zip(outcome.rest).map(|(at, e)| (at, Verdict::Wait(e, Missing::Predecessor))));
        for (at, rival) in rivals {
            self.compare(log, at, rival)?;
        }
        let next = self.heads.get(&log).copied().flatten().map_or(0, |head| head.seq.saturating_add(1));
        let first = places.first_key_value();
        Ok(first.is_some_and(|(seq, c)| *seq <= next && c.first().is_some_and(|(_, e)| self.causes_known(e))))
    }

    fn causes_known(&self, entry: &Received) -> bool {
        self.roll.knows(&entry.header().roll_heads)
    }

    fn admit(&mut self, entry: Verified) -> Verdict {
        if entry.header().compartment == CompartmentId::ROLL {
            if entry.header().kind == Kind::CERTIFICATE && self.roll.enters_itself(&entry) == Ok(Some(false))
            {
                return Verdict::Stranger(entry);
            }
            return match Arc::make_mut(self.roll).insert(&entry) {
                Ok(Inserted::Counts | Inserted::Known) => Verdict::Keep(entry),
                Ok(Inserted::WithoutEffect) => Verdict::Quarantine(entry, Quarantine::Role),
                Ok(Inserted::Waits) => Verdict::Wait(entry.into_received(), Missing::Roll),
                Err(why) => Verdict::Quarantine(entry, Quarantine::Roll(why.to_string())),
            };
        }
        let (device, compartment) = (entry.header().device, entry.header().compartment);
        let heads = &entry.header().roll_heads;
        if !self.pasts.contains_key(heads) {
            if self.pasts.len() >= PASTS_MAX {
                self.pasts.clear();
            }
            self.pasts.insert(heads.clone(), self.roll.state_at(heads));
        }
        match self.pasts.get(heads).and_then(Option::as_ref) {
            Some(past) if !certificate_fits(&entry, past) => {
                Verdict::Quarantine(entry, Quarantine::Certificate)
            }
            Some(past) if past.may_write(device, compartment) => Verdict::Keep(entry),
            Some(past) if past.device(device).is_some() => Verdict::Quarantine(entry, Quarantine::Role),
            Some(_) | None => Verdict::Quarantine(entry, Quarantine::UnknownDevice),
        }
    }

    /// Judges an entry whose place is taken.
    fn compare(&mut self, log: LogId, at: usize, entry: Received) -> Result<(), L::Error> {
        let seq = entry.header().seq;
        let head = self.heads.get(&log).copied().flatten();
        let there = match head.filter(|head| head.seq == seq) {
            Some(head) => Some(head.hash),
            None => self.logs.hash_at(log, seq)?.or_else(|| self.just_kept(log, seq)),
        };
        let verdict = match there {
            Some(there) if there == entry.hash() => Verdict::Known(entry),
            Some(there) => match verify_one(entry.clone()) {
                Ok(rival) => Verdict::Fork(rival, there),
                Err(why) => Verdict::Refuse(entry, why),
            },
            None => Verdict::Wait(entry, Missing::Predecessor),
        };
        self.verdicts.push((at, verdict));
        Ok(())
    }

    fn just_kept(&self, log: LogId, seq: u64) -> Option<EntryHash> {
        self.verdicts.iter().find_map(|(_, verdict)| match verdict {
            Verdict::Keep(e) | Verdict::Quarantine(e, _) if LogId::of(e) == log && e.header().seq == seq => {
                Some(e.hash())
            }
            Verdict::Keep(_)
            | Verdict::Quarantine(..)
            | Verdict::Stranger(_)
            | Verdict::Known(_)
            | Verdict::Wait(..)
            | Verdict::Fork(..)
            | Verdict::Refuse(..) => None,
        })
    }

    /// A bad link under a good signature is the device's own fork; under a bad one it is the sender's fault.
    fn blame(&mut self, log: LogId, at: usize, entry: Received, why: BadLink) -> Result<(), L::Error> {
        let before = match entry.header().seq.checked_sub(1) {
            Some(seq) if matches!(why, BadLink::Chain { .. }) => match self.head(log)? {
                Some(head) if head.seq == seq => Some(head.hash),
                Some(_) | None => None,
            },
            Some(_) | None => None,
        };
        let verdict = match (before, verify_one(entry.clone())) {
            (Some(there), Ok(rival)) => Verdict::Fork(rival, there),
            (Some(_) | None, _) => Verdict::Refuse(entry, why),
        };
        self.verdicts.push((at, verdict));
        Ok(())
    }

    fn leave_waiting(
        &mut self,
        log: LogId,
        places: BTreeMap<u64, Vec<(usize, Received)>>,
    ) -> Result<(), L::Error> {
        let next = self.head(log)?.map_or(0, |head| head.seq.saturating_add(1));
        for (seq, candidates) in places {
            for (at, entry) in candidates {
                let missing = if seq == next { Missing::Roll } else { Missing::Predecessor };
                self.verdicts.push((at, Verdict::Wait(entry, missing)));
            }
        }
        Ok(())
    }
}

/// Whether the certificate that a log begins with says what the roll says: evidence names its author by it.
fn certificate_fits(entry: &Received, past: &State) -> bool {
    if entry.header().kind != Kind::CERTIFICATE {
        return true;
    }
    let claimed = certificate_of(entry).map(|certificate| certificate.claims().member);
    // The key that a recovery gave a member is another one than the member's name.
    claimed.is_ok_and(|key| past.device(entry.header().device).is_none_or(|(device, _)| device.key == key))
}
