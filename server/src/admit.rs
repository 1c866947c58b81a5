//! What the relay keeps of a push, decided by signed headers and the roll alone (PROTOCOL.md §5.3, §7).
//!
//! Pure: no store, no clock. Cheap checks come before signatures.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamppost_core::base::day::day_of;
use lamppost_core::base::{CompartmentId, DeviceId, EntryHash, GroupId, MemberId};
use lamppost_core::entry::chain::{BadLink, verify_run};
use lamppost_core::entry::{Kind, LogId, Malformed, Received, Verified, Wire};
use lamppost_core::roll::{Charge, Roll, Room, State, Target};
use lamppost_core::sync::frame::{Outcome, Refusal, Refused};
use lamppost_core::sync::inbox::{Logs, Missing, Quarantine, Verdict, judge};

use crate::rate::Granted;

/// Rounds of judging. Each leaves out roll entries that must not be kept, and what cites them waits in the next.
const ROUNDS_MAX: usize = 4;

/// Who pushes, when, and how much room there is.
#[derive(Clone, Copy, Debug)]
pub struct Pushing {
    /// The group of the session.
    pub group: GroupId,
    /// The device that pushes. It need not be the author.
    pub device: DeviceId,
    /// The relay's clock, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Bytes that the group may still add.
    pub bytes_free: u64,
    /// Entries that the device may push now.
    pub granted: Granted,
}

/// What became of a push.
#[derive(Debug)]
pub struct Admitted {
    /// One per pushed entry, in its order.
    pub outcomes: Vec<Outcome>,
    /// Hashes of the kept entries, in the order of the push: what the receipt names.
    pub kept: Vec<EntryHash>,
    /// Entries to be written, causes before effects. Those that were there before are not among them.
    pub arrived: Vec<Verified>,
    /// The roll with them.
    pub roll: Arc<Roll>,
}

/// Founds a group from the first entry of a push, the rest of which [`admit`] then judges.
///
/// # Errors
/// The refusal, if the entry does not found exactly this group.
pub fn found(group: GroupId, first: Option<&Wire>) -> Result<(Verified, Roll), Refused> {
    let unknown = || {
        Refused::new(
            Refusal::ROLL_UNKNOWN,
            "the relay has not heard of this group yet: its founding entry must come first",
        )
    };
    let entry = Received::parse(first.ok_or_else(unknown)?.clone()).map_err(|why| malformed(&why))?;
    if !entry.is_founding() {
        return Err(unknown());
    }
    let mut run = verify_run(group, None, vec![entry]);
    if let Some((_, why)) = run.refused.take() {
        return Err(bad_link(&why));
    }
    let founding = run.verified.pop().ok_or_else(unknown)?;
    let roll = Roll::found(&founding).map_err(|why| Refused::new(Refusal::MALFORMED, why))?;
    Ok((founding, roll))
}

/// Decides about each entry of a push.
///
/// # Errors
/// Those of `logs`.
pub fn admit<L: Logs>(
    pushing: &Pushing,
    roll: &Arc<Roll>,
    logs: &L,
    wires: Vec<Wire>,
) -> Result<Admitted, L::Error> {
    let mut fates = Vec::with_capacity(wires.len());
    let mut open = Vec::new();
    let (mut entries_free, mut bytes_free) = (pushing.granted.entries, pushing.bytes_free);
    for (at, wire) in wires.into_iter().enumerate() {
        let entry = match Received::parse(wire) {
            Ok(entry) => entry,
            Err(why) => {
                fates.push(Err(malformed(&why)));
                continue;
            }
        };
        let hash = entry.hash();
        let mut check = || cheap_check(pushing, roll, &mut entries_free, &mut bytes_free, &entry);
        let fate = if may_see(pushing, roll.state(), &entry) {
            if is_known(logs, pushing.group, &entry)? { Ok(false) } else { check().map(|()| true) }
        } else {
            // What becomes of an entry tells what is there already. Where the pusher may not look, an entry gets no further
            // than its signature: so nobody feels the way along a log with inventions.
            match check().and_then(|()| check_signature(&entry)) {
                Ok(()) => Ok(!is_known(logs, pushing.group, &entry)?),
                Err(why) => Err(why),
            }
        };
        if fate == Ok(true) {
            open.push((at, entry));
        }
        fates.push(fate.map(|_| hash));
    }
    let (arrived, roll) = judge_open(pushing, roll, logs, open, &mut fates)?;
    let kept = fates.iter().filter_map(|fate| fate.as_ref().ok().copied()).collect();
    let outcomes = fates.into_iter().map(|fate| fate.map_or_else(Outcome::Refused, |_| Outcome::Kept));
    Ok(Admitted { outcomes: outcomes.collect(), kept, arrived, roll })
}

fn is_known<L: Logs>(logs: &L, group: GroupId, entry: &Received) -> Result<bool, L::Error> {
    Ok(entry.group() == group && logs.hash_at(LogId::of(entry), entry.header().seq)? == Some(entry.hash()))
}

/// Whether the pusher may know how far the log of this entry goes.
fn may_see(pushing: &Pushing, state: &State, entry: &Received) -> bool {
    let header = entry.header();
    header.device == pushing.device || state.may_read(pushing.device, header.compartment)
}

fn check_signature(entry: &Received) -> Result<(), Refused> {
    let (device, seq) = (entry.header().device, entry.header().seq);
    entry.verify_signature().map_err(|why| bad_link(&BadLink::Signature { device, seq, why }))
}

/// What can be said without a signature.
fn cheap_check(
    pushing: &Pushing,
    roll: &Roll,
    entries_free: &mut usize,
    bytes_free: &mut u64,
    entry: &Received,
) -> Result<(), Refused> {
    if entry.group() != pushing.group {
        return Err(Refused::new(
            Refusal::OTHER_GROUP,
            "the entry belongs to another group than this session",
        ));
    }
    // Otherwise somebody could get an entry in without its body before its author brings it.
    if entry.body().is_none() && !roll.state().retention().excuses(entry, day_of(pushing.now_ms)) {
        return Err(Refused::new(
            Refusal::MALFORMED,
            "the entry's body is missing although it has neither expired nor been shredded",
        ));
    }
    if *entries_free == 0 {
        let reason = "this device sends more than the relay takes from one device; it goes on in a moment";
        let retry_after_ms = Some(pushing.granted.retry_after_ms);
        return Err(Refused { retry_after_ms, ..Refused::new(Refusal::RATE, reason) });
    }
    let Some(bytes_left) = bytes_free.checked_sub(entry.bytes() as u64) else {
        let reason = "the group's space on this relay is used up: ask its operator for more";
        return Err(Refused::new(Refusal::QUOTA, reason));
    };
    *entries_free -= 1;
    *bytes_free = bytes_left;
    Ok(())
}

/// Judges what passed the cheap checks. Writes refusals into `fates`, answers with what is to be written.
fn judge_open<L: Logs>(
    pushing: &Pushing,
    roll: &Arc<Roll>,
    logs: &L,
    open: Vec<(usize, Received)>,
    fates: &mut [Result<EntryHash, Refused>],
) -> Result<(Vec<Verified>, Arc<Roll>), L::Error> {
    let mut refuse = |at: usize, why: Refused| {
        if let Some(fate) = fates.get_mut(at) {
            *fate = Err(why);
        }
    };
    let mut places: Vec<(usize, EntryHash)> = open.iter().map(|(at, entry)| (*at, entry.hash())).collect();
    let mut entries: Vec<Received> = open.into_iter().map(|(_, entry)| entry).collect();
    // Nothing but a refused roll entry makes another round.
    let with_roll = entries.iter().any(|entry| entry.header().compartment == CompartmentId::ROLL);
    for _ in 0..ROUNDS_MAX {
        let mut trial = Arc::clone(roll);
        let input = if with_roll { entries.clone() } else { std::mem::take(&mut entries) };
        let verdicts = judge(&mut trial, logs, input)?;
        let mut round = weigh(pushing, roll, &trial, verdicts);
        // The same entry twice in one push shares its fate.
        for (at, (_, hash)) in places.iter().enumerate() {
            if let Some(why) = round.refused_by_hash.get(hash) {
                round.refused.insert(at, why.clone());
            }
        }
        if !round.roll_tainted {
            round.refused.into_iter().for_each(|(at, why)| {
                if let Some((place, _)) = places.get(at) {
                    refuse(*place, why);
                }
            });
            return Ok((round.kept, trial));
        }
        // A refused roll entry must not be among what was judged by: leave it out and judge the others again.
        let mut at = 0;
        let mut stays = Vec::with_capacity(places.len());
        places.retain(|(place, _)| {
            let why = round.refused.remove(&at);
            at += 1;
            stays.push(why.is_none());
            why.is_none_or(|why| {
                refuse(*place, why);
                false
            })
        });
        let mut stays = stays.into_iter();
        entries.retain(|_| stays.next().unwrap_or_default());
    }
    for (place, _) in places {
        refuse(
            place,
            Refused::new(Refusal::ROLL_UNKNOWN, "too much in this push depends on refused roll entries"),
        );
    }
    Ok((Vec::new(), Arc::clone(roll)))
}

#[derive(Default)]
struct Round {
    kept: Vec<Verified>,
    refused: BTreeMap<usize, Refused>,
    refused_by_hash: BTreeMap<EntryHash, Refused>,
    /// The trial roll took in an entry that is refused.
    roll_tainted: bool,
}

/// Turns verdicts into what a relay does: a phone sets aside what a relay refuses.
fn weigh(pushing: &Pushing, before: &Roll, after: &Roll, verdicts: Vec<(usize, Verdict)>) -> Round {
    let mut round = Round::default();
    let mut broken: BTreeMap<LogId, Refused> = BTreeMap::new();
    let mut filled: BTreeMap<MemberId, Room> = BTreeMap::new();
    for (at, verdict) in verdicts {
        let why = match verdict {
            Verdict::Known(_) => continue,
            Verdict::Keep(entry) => {
                let log = LogId::of(&entry);
                // What follows a refused entry shares its refusal: that one is not coming.
                let verdict = match broken.get(&log) {
                    Some(why) => Err(why.clone()),
                    None => check_standing(pushing, before, after, &entry)
                        .and_then(|()| check_room(before, after, &entry, &mut filled)),
                };
                let Err(why) = verdict else {
                    round.kept.push(entry);
                    continue;
                };
                round.roll_tainted |= log.compartment == CompartmentId::ROLL;
                broken.insert(log, why.clone());
                round.refused_by_hash.insert(entry.hash(), why.clone());
                why
            }
            Verdict::Quarantine(entry, why) => {
                let log = LogId::of(&entry);
                round.roll_tainted |= log.compartment == CompartmentId::ROLL && why == Quarantine::Role;
                let why = quarantined(&why);
                broken.insert(log, why.clone());
                round.refused_by_hash.insert(entry.hash(), why.clone());
                why
            }
            Verdict::Stranger(entry) => {
                let why = outsider(after.state(), entry.header().device);
                broken.insert(LogId::of(&entry), why.clone());
                round.refused_by_hash.insert(entry.hash(), why.clone());
                why
            }
            Verdict::Wait(_, Missing::Predecessor) => {
                Refused::new(Refusal::GAP, "the entry before it has not arrived yet")
            }
            Verdict::Wait(_, Missing::Roll) => {
                Refused::new(Refusal::ROLL_UNKNOWN, "it cites roll entries that have not arrived yet")
            }
            Verdict::Fork(..) => {
                Refused::new(Refusal::FORK, "its device signed another entry for the same place before")
            }
            Verdict::Refuse(_, why) => bad_link(&why),
        };
        round.refused.insert(at, why);
    }
    round
}

/// Whether what a member wrote into the roll fits into their room, by everything the relay has kept. By its own past alone an
/// entry could leave out what its author wrote on other devices. `filled` is what was kept of this push.
fn check_room(
    before: &Roll,
    after: &Roll,
    entry: &Received,
    filled: &mut BTreeMap<MemberId, Room>,
) -> Result<(), Refused> {
    let charge = after.charge(entry.hash()).filter(|_| entry.header().compartment == CompartmentId::ROLL);
    let Some(Charge { member, takes, room, removes }) = charge else { return Ok(()) };
    let of_push = filled.entry(member).or_default();
    let total = before.written(member).and(*of_push).and(takes);
    let state = before.state();
    let removes_somebody = removes.is_some_and(|target| match target {
        Target::Member(member) => state.member(member).is_some(),
        Target::Device(device) => state.device(device).is_some(),
    });
    if !removes_somebody && !total.fits_into(room) {
        let reason = "the member has written as much into the membership log as a member may: a coordinator who \
                      admits them again gives them new room";
        return Err(Refused::new(Refusal::QUOTA, reason));
    }
    *of_push = of_push.and(takes);
    Ok(())
}

/// What the relay asks of a proven entry beyond what every phone asks: standing in the newest roll it has.
///
/// The author's newest role binds the author. What another member carries was judged by the author's causal past:
/// otherwise phones could not bring back, after a loss, what somebody wrote in a role they no longer have.
fn check_standing(pushing: &Pushing, before: &Roll, after: &Roll, entry: &Received) -> Result<(), Refused> {
    let (author, compartment) = (entry.header().device, entry.header().compartment);
    let (was, is) = (before.state(), after.state());
    // Who leaves brings what they wrote before together with their leave.
    let belongs = |device| is.device(device).is_some() || was.device(device).is_some();
    let is_member = belongs(pushing.device);
    if compartment == CompartmentId::ROLL {
        if entry.header().kind == Kind::CERTIFICATE {
            return if is_member || is.device(author).is_some() { Ok(()) } else { Err(outsider(is, author)) };
        }
        if author != pushing.device {
            return Ok(());
        }
        // An operation may take its author back in, as that of the last of a majority does.
        // What a coordinator signed before hearing of another role is void everywhere; but what they write from then on
        // cites it, and would wait for it for ever.
        return if belongs(author) { Ok(()) } else { Err(outsider(is, author)) };
    }
    if !is_member {
        return Err(outsider(is, pushing.device));
    }
    let may_write = is.may_write(author, compartment) || was.may_write(author, compartment);
    if author == pushing.device && !may_write {
        return Err(Refused::new(Refusal::ROLE, "the newest role of its author may not write there"));
    }
    Ok(())
}

/// Why nothing is taken from, or given to, a device that does not belong.
pub fn outsider(state: &State, device: DeviceId) -> Refused {
    if state.was_removed(device) {
        return removed();
    }
    let reason =
        "the relay has not heard that this device belongs to the group: only the roll that says so is taken";
    Refused::new(Refusal::UNKNOWN_DEVICE, reason)
}

/// Why nothing is taken from a device that was taken out.
pub fn removed() -> Refused {
    let reason = "this device was taken out of the group: ask a coordinator to admit it again";
    Refused::new(Refusal::REMOVED, reason)
}

fn malformed(why: &Malformed) -> Refused {
    match why {
        Malformed::UnknownVersion { found } => Refused::new(
            Refusal::VERSION,
            format!("the entry has format version {found}, which this relay does not know: update the relay"),
        ),
        Malformed::TooLarge { .. }
        | Malformed::Cbor(_)
        | Malformed::Cose(_)
        | Malformed::Rule(_)
        | Malformed::BodyMismatch => Refused::new(Refusal::MALFORMED, why),
    }
}

fn bad_link(why: &BadLink) -> Refused {
    let refusal = match why {
        BadLink::Signature { .. } | BadLink::Chain { .. } | BadLink::Certificate { .. } => Refusal::SIGNATURE,
        BadLink::OtherGroup { .. } => Refusal::OTHER_GROUP,
    };
    Refused::new(refusal, why)
}

fn quarantined(why: &Quarantine) -> Refused {
    let refusal = match why {
        Quarantine::UnknownDevice | Quarantine::Certificate => Refusal::UNKNOWN_DEVICE,
        Quarantine::Role => Refusal::ROLE,
        Quarantine::Roll(_) => Refusal::MALFORMED,
    };
    Refused::new(refusal, why)
}
