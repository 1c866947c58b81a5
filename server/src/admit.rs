//! What the relay keeps of a push, decided by signed headers and the roll alone (PROTOCOL.md §5.3, §7).
//!
//! Pure: no store, no clock. Cheap checks come before signatures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lamppost_core::base::day::day_of;
use lamppost_core::base::{CompartmentId, DeviceId, EntryHash, GroupId, MemberId, cbor};
use lamppost_core::entry::chain::{BadLink, certificate_of, verify_run};
use lamppost_core::entry::{Certificate, Kind, LogId, Malformed, Received, Scope, Verified, Wire};
use lamppost_core::roll::{Charge, Operation, Roll, Room, State, Target};
use lamppost_core::sync::frame::{Outcome, Refusal, Refused};
use lamppost_core::sync::inbox::{Logs, Missing, Quarantine, Verdict, judge};

use crate::disk::Level;
use crate::rate::Granted;
use crate::relay::disk_full;
use crate::space::{Limits, Part, Space, is_removal, payer};

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
    /// Bytes that the group may use.
    pub limits: Limits,
    /// What is taken by the free space on the disk.
    pub level: Level,
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

/// What can be said of a push by what was durable when it came.
#[derive(Debug)]
pub struct Sifted {
    /// One per pushed entry, in its order: the entry, or why it is refused.
    pub fates: Vec<Result<Received, Refused>>,
    /// Signatures that were checked.
    pub signatures: usize,
    /// Entries that the device may push now.
    pub granted: Granted,
}

/// Reads a push and checks the signatures of what may be kept, up to `signatures_max`. What is certainly refused costs no
/// signature.
///
/// # Errors
/// Those of `logs`.
pub fn sift<L: Logs>(
    pushing: &Pushing,
    roll: &Roll,
    space: &Space,
    logs: &L,
    wires: Vec<Wire>,
    signatures_max: usize,
) -> Result<Sifted, L::Error> {
    let parsed: Vec<_> =
        wires.into_iter().map(|wire| Received::parse(wire).map_err(|e| malformed(&e))).collect();
    let brings_roll = |entry: &Received| entry.header().compartment == CompartmentId::ROLL;
    let mut stranger = Stranger {
        is_one: roll.state().device(pushing.device).is_none(),
        brings_roll: parsed.iter().flatten().any(brings_roll),
        entered: BTreeSet::new(),
    };
    let mut left = Left { entries: pushing.granted.entries, space: space.clone() };
    let mut checks = Checks { left: signatures_max, made: 0 };
    let mut fates = Vec::with_capacity(parsed.len());
    for entry in parsed {
        let fate = match entry {
            Err(why) => Err(why),
            Ok(entry) if may_see(pushing, roll.state(), &entry) && is_known(logs, pushing.group, &entry)? => {
                Ok(entry)
            }
            Ok(entry) => cheap_check(pushing, roll, &mut left, &entry)
                .and_then(|()| stranger.check(pushing, roll, &mut checks, entry)),
        };
        fates.push(fate);
    }
    Ok(Sifted { fates, signatures: checks.made, granted: pushing.granted })
}

/// Reads a push to a group that the relay does not know. Nothing is checked unless it may found the group.
pub fn sift_unknown(pushing: &Pushing, wires: Vec<Wire>, signatures_max: usize) -> Sifted {
    let parsed = wires.into_iter().map(|wire| Received::parse(wire).map_err(|why| malformed(&why)));
    let mut fates: Vec<_> = parsed.collect();
    let mut checks = Checks { left: signatures_max, made: 0 };
    let founds = |entry: &Received| entry.is_founding() && entry.group() == pushing.group;
    if matches!(fates.first(), Some(Ok(entry)) if founds(entry)) {
        for fate in &mut fates {
            if let Ok(entry) = fate
                && let Err(why) = checks.check(entry)
            {
                *fate = Err(why);
            }
        }
    }
    Sifted { fates, signatures: checks.made, granted: pushing.granted }
}

/// Reads a push to a group that is broken, of which nothing is kept but what its hash proves.
pub fn sift_broken(pushing: &Pushing, wires: Vec<Wire>) -> Sifted {
    let parsed = wires.into_iter().map(|wire| Received::parse(wire).map_err(|why| malformed(&why)));
    Sifted { fates: parsed.collect(), signatures: 0, granted: pushing.granted }
}

/// Refuses a push as a whole before its entries were counted.
pub fn refuse_sifted(count: usize, granted: Granted, why: &Refused) -> Sifted {
    Sifted { fates: vec![Err(why.clone()); count], signatures: 0, granted }
}

/// Signatures that may be checked, and that were.
struct Checks {
    left: usize,
    made: usize,
}

impl Checks {
    fn take(&mut self, count: usize) -> Result<(), Refused> {
        let Some(left) = self.left.checked_sub(count) else {
            let reason =
                "devices that do not belong to the group have brought more than the relay checks at once";
            return Err(Refused { retry_after_ms: Some(60_000), ..Refused::new(Refusal::RATE, reason) });
        };
        self.left = left;
        self.made += count;
        Ok(())
    }

    fn check(&mut self, entry: &mut Received) -> Result<(), Refused> {
        self.take(1)?;
        check_signature(entry)
    }
}

/// What is asked of an entry before its signature, if the device that pushes it does not belong.
struct Stranger {
    is_one: bool,
    brings_roll: bool,
    /// Devices that entries of this push enter, by the word of somebody known.
    entered: BTreeSet<DeviceId>,
}

impl Stranger {
    fn check(
        &mut self,
        pushing: &Pushing,
        roll: &Roll,
        checks: &mut Checks,
        mut entry: Received,
    ) -> Result<Received, Refused> {
        if !self.is_one {
            checks.check(&mut entry)?;
            return Ok(entry);
        }
        if entry.header().compartment != CompartmentId::ROLL {
            // The roll in the same push may say that the device belongs: until that is judged, nothing else is checked.
            return if self.brings_roll { Ok(entry) } else { Err(outsider(roll.state(), pushing.device)) };
        }
        let (author, state) = (entry.header().device, roll.state());
        let is_known = state.member_of(author).is_some() || self.entered.contains(&author);
        if !is_known && entry.header().kind == Kind::CERTIFICATE {
            checks.take(CERTIFICATE_SIGNATURES)?;
            let key = certificate_of(&entry).ok().map(|certificate| certificate.claims().member);
            let member = key.and_then(|key| state.owner(key));
            if member.is_none_or(|member| state.member(member).is_none()) {
                return Err(outsider(state, author));
            }
            self.entered.insert(author);
        } else if !is_known {
            return Err(outsider(state, author));
        }
        checks.check(&mut entry)?;
        let operation = entry.body().and_then(|body| cbor::decode::<Operation>(body).ok());
        for bytes in operation.iter().flat_map(Operation::certificates) {
            checks.take(CERTIFICATE_SIGNATURES)?;
            let device = Certificate::verify(bytes, Scope::group(pushing.group))
                .map(|certificate| certificate.claims().device);
            self.entered.extend(device);
        }
        Ok(entry)
    }
}

/// Signatures of a certificate: the member's and the device's.
pub const CERTIFICATE_SIGNATURES: usize = 2;

/// Founds a group from the first entry of a push, the rest of which [`admit`] then judges.
///
/// # Errors
/// The refusal, if the entry does not found exactly this group.
pub fn found(group: GroupId, first: Option<&Result<Received, Refused>>) -> Result<(Verified, Roll), Refused> {
    let unknown = || {
        Refused::new(
            Refusal::ROLL_UNKNOWN,
            "the relay has not heard of this group yet: its founding entry must come first",
        )
    };
    let entry = first.ok_or_else(unknown)?.clone()?;
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

/// Decides about each entry of a push. `space` is what the group uses before it.
///
/// # Errors
/// Those of `logs`.
pub fn admit<L: Logs>(
    pushing: &Pushing,
    roll: &Arc<Roll>,
    space: &Space,
    logs: &L,
    sifted: Vec<Result<Received, Refused>>,
) -> Result<Admitted, L::Error> {
    let mut fates = Vec::with_capacity(sifted.len());
    let (mut open_roll, mut open) = (Vec::new(), Vec::new());
    let mut left = Left { entries: pushing.granted.entries, space: space.clone() };
    let is_stranger = roll.state().device(pushing.device).is_none();
    for (at, entry) in sifted.into_iter().enumerate() {
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(why) => {
                fates.push(Err(why));
                continue;
            }
        };
        let hash = entry.hash();
        let is_roll = entry.header().compartment == CompartmentId::ROLL;
        let fate = if may_see(pushing, roll.state(), &entry) {
            if is_known(logs, pushing.group, &entry)? {
                Ok(false)
            } else {
                cheap_check(pushing, roll, &mut left, &entry).map(|()| true)
            }
        } else if is_stranger && !is_roll {
            cheap_check(pushing, roll, &mut left, &entry).map(|()| true)
        } else {
            // What becomes of an entry tells what is there already. Where the pusher may not look, an entry gets no further
            // than its signature: so nobody feels the way along a log with inventions.
            match cheap_check(pushing, roll, &mut left, &entry).and_then(|()| check_signature(&mut entry)) {
                Ok(()) => Ok(!is_known(logs, pushing.group, &entry)?),
                Err(why) => Err(why),
            }
        };
        if fate == Ok(true) {
            if is_roll { &mut open_roll } else { &mut open }.push((at, entry));
        }
        fates.push(fate.map(|_| hash));
    }
    // The roll goes first: whether anything else can be kept hangs on it, and what cannot is not looked at.
    let (mut arrived, mut roll_after) = (Vec::new(), Arc::clone(roll));
    if !open_roll.is_empty() {
        (arrived, roll_after) = judge_open(pushing, roll, roll, logs, open_roll, &mut fates)?;
    }
    let belongs = roll_after.state().device(pushing.device).is_some();
    let mut set = |at: usize, why: Refused| {
        if let Some(fate) = fates.get_mut(at) {
            *fate = Err(why);
        }
    };
    if is_stranger && !belongs {
        open.drain(..).for_each(|(at, _)| set(at, outsider(roll_after.state(), pushing.device)));
    } else if is_stranger {
        open.retain_mut(|(at, entry)| match check_signature(entry) {
            Ok(()) => true,
            Err(why) => {
                set(*at, why);
                false
            }
        });
    }
    let (others, _) = judge_open(pushing, roll, &roll_after, logs, open, &mut fates)?;
    arrived.extend(others);
    let kept = fates.iter().filter_map(|fate| fate.as_ref().ok().copied()).collect();
    let outcomes = fates.into_iter().map(|fate| fate.map_or_else(Outcome::Refused, |_| Outcome::Kept));
    Ok(Admitted { outcomes: outcomes.collect(), kept, arrived, roll: roll_after })
}

fn is_known<L: Logs>(logs: &L, group: GroupId, entry: &Received) -> Result<bool, L::Error> {
    Ok(entry.group() == group && logs.hash_at(LogId::of(entry), entry.header().seq)? == Some(entry.hash()))
}

/// Whether the pusher may know how far the log of this entry goes.
fn may_see(pushing: &Pushing, state: &State, entry: &Received) -> bool {
    let header = entry.header();
    header.device == pushing.device || state.may_read(pushing.device, header.compartment)
}

fn check_signature(entry: &mut Received) -> Result<(), Refused> {
    let (device, seq) = (entry.header().device, entry.header().seq);
    entry.check_signature().map_err(|why| bad_link(&BadLink::Signature { device, seq, why }))
}

/// What is left for the rest of a push.
struct Left {
    entries: usize,
    space: Space,
}

/// What can be said without a signature.
fn cheap_check(pushing: &Pushing, roll: &Roll, left: &mut Left, entry: &Received) -> Result<(), Refused> {
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
    if left.entries == 0 {
        let reason = "this device sends more than the relay takes from one device; it goes on in a moment";
        let retry_after_ms = Some(pushing.granted.retry_after_ms);
        return Err(Refused { retry_after_ms, ..Refused::new(Refusal::RATE, reason) });
    }
    let part = Part::of(entry);
    if pushing.level == Level::Full || (pushing.level == Level::Scarce && part != Part::Membership) {
        return Err(disk_full(Refusal::QUOTA));
    }
    let payer = payer(roll.state(), entry.header().device, pushing.device);
    let bytes = entry.bytes() as u64;
    if let Err(full) = left.space.check(pushing.limits, part, payer, bytes) {
        if !is_removal(entry) {
            return Err(full);
        }
        left.space.check_removal(pushing.limits, payer, bytes)?;
    }
    left.entries -= 1;
    left.space.add(part, payer, bytes);
    Ok(())
}

/// Judges what passed the cheap checks by `roll`. `before` is the roll before the push. Writes refusals into `fates`,
/// answers with what is to be written.
fn judge_open<L: Logs>(
    pushing: &Pushing,
    before: &Roll,
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
        let mut round = weigh(pushing, before, &trial, verdicts);
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
        | Malformed::BodyMismatch
        | Malformed::BodyMissing => Refused::new(Refusal::MALFORMED, why),
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
