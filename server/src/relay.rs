//! The relay without IO of its own but the store: pushes are committed together, questions are answered.
//!
//! Nothing here waits, sleeps, reads a clock or draws randomness, so that a simulator can drive it as it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lamppost_core::base::day::day_of;
use lamppost_core::base::{CompartmentId, DeviceId, EntryHash, GroupId, Incarnation, RelayId};
use lamppost_core::entry::{LogHead, LogId, Received, Verified, Wire};
use lamppost_core::sync::frame::{Ack, Outcome, Refusal, Refused};
use lamppost_core::sync::inbox::Logs;
use lamppost_core::sync::receipt::{Receipt, SignedReceipt};
use minicbor::bytes::ByteVec;

use crate::admit::{self, Admitted, Pushing, Sifted};
use crate::damage::{self, Damages, Missing};
use crate::disk::{Gauge, Level};
use crate::group::{Draft, Group, Loaded};
use crate::rate::Rates;
use crate::retention;
use crate::space::Limits;
use crate::store::{Arrived, Identity, RelayStore, Seed, StoreFault};

/// Groups kept in memory. One that is not costs a reload when it is next used.
const GROUPS_LOADED_MAX: usize = 1_024;

/// What the operator allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether anybody may found a group here.
    pub open_to_new_groups: bool,
    /// Groups that may come although the relay is closed to new ones.
    pub allowed_groups: Vec<GroupId>,
    /// Groups at most.
    pub groups_max: u64,
    /// Bytes of entries of one group at most. A quarter is the membership log's; one member may fill a quarter of each.
    pub group_bytes_max: u64,
    /// Bytes of chunks of files of one group at most. One member may bring a quarter of it.
    pub group_media_bytes_max: u64,
    /// Entries one device may push per minute.
    pub device_entries_per_minute: u64,
}

/// A push that waits to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The group of the session.
    pub group: GroupId,
    /// The device of the session.
    pub device: DeviceId,
    /// The phone's number for the push.
    pub number: u32,
    /// The entries.
    pub entries: Vec<Wire>,
}

/// A push whose entries were read, and whose signatures were checked as far as they have to be.
#[derive(Debug)]
pub struct Prepared {
    group: GroupId,
    device: DeviceId,
    number: u32,
    sifted: Sifted,
}

impl Prepared {
    /// The group of the session.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Entries pushed.
    pub fn len(&self) -> usize {
        self.sifted.fates.len()
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the entries that may be kept.
    pub fn bytes(&self) -> usize {
        self.sifted.fates.iter().flatten().map(|entry| entry.bytes()).sum()
    }

    /// Signatures that were checked.
    pub fn signatures(&self) -> usize {
        self.sifted.signatures
    }
}

/// What to tell the session that pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The acknowledgement.
    pub ack: Ack,
    /// Whether the device belongs to the group by now.
    pub belongs: bool,
}

impl Answer {
    /// Whether something was kept for which there is no receipt: whoever pushed it is not known to belong.
    pub fn is_unsigned(&self) -> bool {
        self.ack.receipt.is_none() && self.ack.outcomes.contains(&Outcome::Kept)
    }
}

/// What a commit came to.
#[derive(Debug, Default)]
pub struct Committed {
    /// One per push, in their order.
    pub answers: Vec<Answer>,
    /// Groups that have new entries.
    pub grown: Vec<GroupId>,
    /// Entries written.
    pub entries: u64,
    /// Groups whose roll now lets bodies go: [`Relay::sweep_group`] is due.
    pub to_sweep: Vec<GroupId>,
}

/// A relay.
pub struct Relay {
    pub(crate) store: RelayStore,
    identity: Identity,
    rules: Rules,
    slots: Mutex<HashMap<GroupId, Arc<Slot>>>,
    /// Counts uses of slots, to tell which was not used for longest.
    uses: AtomicU64,
    pub(crate) rates: Mutex<Rates>,
    pub(crate) group_count: AtomicU64,
    /// Groups that the operator has allowed while the relay runs, beside those of the rules.
    pub(crate) allowed: Mutex<BTreeSet<GroupId>>,
    /// Groups whose rows are being deleted: they cannot be founded anew before that is done.
    pub(crate) deleting: Mutex<BTreeSet<GroupId>>,
    /// One durable write at a time: positions and numbers of knocks are handed out in it.
    pub(crate) committing: Mutex<()>,
    /// The greatest number that a knock or answer was given since the relay was opened.
    pub(crate) last_knock: AtomicU64,
    gauge: Gauge,
    failed: AtomicBool,
    pub(crate) damages: Damages,
}

/// A group's place in memory.
#[derive(Default)]
struct Slot {
    place: Mutex<Place>,
    used: AtomicU64,
}

/// What is in it.
#[derive(Default)]
enum Place {
    /// Nothing yet.
    #[default]
    Unloaded,
    /// The group.
    Whole(Group),
    /// What its roll lacks, until its phones have brought it.
    Broken(Missing),
    /// Nothing, as its rows cannot be read and its phones cannot mend that.
    Lost(&'static str),
}

impl Place {
    fn group(&self) -> Option<&Group> {
        match self {
            Self::Whole(group) => Some(group),
            Self::Unloaded | Self::Broken(_) | Self::Lost(_) => None,
        }
    }
}

impl Relay {
    /// Opens the relay in a store. `seed` becomes the identity of an empty one; `renew` begins a new life of an old one.
    ///
    /// # Errors
    /// [`StoreFault`] if the store cannot be read or written.
    pub fn open(store: RelayStore, rules: Rules, seed: &Seed, renew: bool) -> Result<Self, StoreFault> {
        let identity = store.identity(seed, renew)?;
        let group_count = AtomicU64::new(store.group_count()?);
        let rates = Mutex::new(Rates::new(rules.device_entries_per_minute));
        let (allowed, deleting) = (Mutex::new(store.allowed()?), Mutex::new(store.forgotten()?));
        Ok(Self {
            store,
            identity,
            rules,
            slots: Mutex::default(),
            uses: AtomicU64::new(0),
            rates,
            group_count,
            allowed,
            deleting,
            committing: Mutex::default(),
            last_knock: AtomicU64::new(0),
            gauge: Gauge::default(),
            failed: AtomicBool::new(false),
            damages: Damages::default(),
        })
    }

    /// The key by which phones know this relay.
    pub fn id(&self) -> RelayId {
        self.identity.relay
    }

    /// This life of its store.
    pub fn incarnation(&self) -> Incarnation {
        self.identity.incarnation
    }

    /// How many groups it keeps.
    pub fn group_count(&self) -> u64 {
        self.group_count.load(Ordering::Relaxed)
    }

    /// What is taken by the free space on the disk. Whoever looks at the disk sets it.
    pub fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::new(self.rules.group_bytes_max, self.rules.group_media_bytes_max)
    }

    /// Bytes on disk; 0 if the store cannot say.
    pub fn store_bytes(&self) -> u64 {
        self.store.size_bytes().unwrap_or_default()
    }

    /// The groups some of whose rows cannot be read. Each fails alone.
    pub fn damaged_groups(&self) -> Vec<GroupId> {
        self.damages.groups()
    }

    /// Whether the store has failed. From then on everything is refused: what is on disk is uncertain until the
    /// store is opened anew.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Judges pushes of any number of sessions and writes what is to be kept in one durable write. For whoever has no
    /// threads to [prepare](Relay::prepare) them beforehand.
    ///
    /// Blocks for the length of that write. Receipts speak of what is on disk. If the write fails, everything is
    /// refused with [`Refusal::STORE`].
    pub fn commit(&self, pushes: Vec<Pushed>, now_ms: u64) -> Committed {
        let prepared = pushes.into_iter().map(|push| self.prepare(push, usize::MAX, now_ms)).collect();
        self.commit_prepared(prepared, now_ms)
    }

    /// Reads a push and checks up to `signatures_max` signatures, of entries that may be kept by what is durable now. Any
    /// number of threads may do so beside a commit.
    pub fn prepare(&self, push: Pushed, signatures_max: usize, now_ms: u64) -> Prepared {
        let Pushed { group, device, number, entries } = push;
        let count = entries.len();
        let granted = lock(&self.rates).take(group, device, count, now_ms);
        let (limits, level) = (self.limits(), self.gauge.level());
        let pushing = Pushing { group, device, now_ms, limits, level, granted };
        let seen = self.with_group(group, |group| (Arc::clone(&group.roll), group.space.clone()));
        let sifted = match seen {
            Ok(Some((roll, space))) => {
                let logs = StoredLogs { relay: self, group };
                admit::sift(&pushing, &roll, &space, &logs, entries, signatures_max)
            }
            Err(StoreFault::Damaged(_)) if self.is_broken(group) => Ok(admit::sift_broken(&pushing, entries)),
            // Whether the group may be founded is decided by whoever commits; so is a failed store.
            Ok(None) | Err(_) => Ok(admit::sift_unknown(&pushing, entries, signatures_max)),
        };
        let sifted =
            sifted.unwrap_or_else(|why| admit::refuse_sifted(count, granted, &self.not_read(group, &why)));
        Prepared { group, device, number, sifted }
    }

    /// Judges prepared pushes and writes what is to be kept in one durable write. As [`Relay::commit`].
    pub fn commit_prepared(&self, pushes: Vec<Prepared>, now_ms: u64) -> Committed {
        let _turn = lock(&self.committing);
        if self.has_failed() {
            return refuse_all(pushes.iter().map(|push| (push.number, push.len())));
        }
        let mut commit = Commit {
            relay: self,
            drafts: BTreeMap::new(),
            mended: BTreeMap::new(),
            arrived: Arrived::default(),
            now_ms,
        };
        let judged: Vec<Judged> = pushes.into_iter().map(|push| commit.judge(push)).collect();
        let Commit { drafts, mended, mut arrived, .. } = commit;
        let mut grown: Vec<GroupId> =
            drafts.iter().filter(|(_, open)| open.draft.has_grown()).map(|(id, _)| *id).collect();
        for open in drafts.values().filter(|open| open.draft.has_grown()) {
            open.draft.finish(now_ms, &mut arrived);
        }
        let changed = !mended.is_empty() || drafts.values().any(|open| open.draft.has_changed());
        if changed && self.write(arrived).is_err() {
            return refuse_all(judged.iter().map(|judged| (judged.number, judged.outcomes.len())));
        }
        let to_sweep = drafts.iter().filter(|(_, open)| open.draft.lets_go());
        let to_sweep = to_sweep.map(|(id, _)| *id).collect();
        self.settle(drafts);
        grown.extend(self.settle_mended(mended));
        let entries = judged.iter().map(|judged| judged.arrived).sum();
        Committed {
            answers: judged.into_iter().map(|j| self.answer_push(j, now_ms)).collect(),
            grown,
            entries,
            to_sweep,
        }
    }

    /// Writes. A write that fails stops the relay: what is on disk is uncertain until the store is opened anew.
    ///
    /// # Errors
    /// [`StoreFault`] if nothing of it may be relied on.
    pub(crate) fn write(&self, arrivals: Arrived) -> Result<(), StoreFault> {
        self.store.write(arrivals).inspect_err(|why| self.stop(why))
    }

    fn stop(&self, why: &StoreFault) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            tracing::error!("{why}. Everything is refused until the relay is started again");
        }
    }

    /// Notes why something of a group could not be read. Answers with the refusal to give. Rows that are damaged concern
    /// their group alone; a store that failed has stopped for all.
    pub(crate) fn not_read(&self, group: GroupId, why: &StoreFault) -> Refused {
        match why {
            StoreFault::Damaged(_) => {
                self.damages.note(group, why);
                damage::refusal()
            }
            StoreFault::Store(_) | StoreFault::Failed => {
                self.stop(why);
                Refused::new(
                    Refusal::STORE,
                    "the relay's store has failed: everything stays on the phone until it is mended",
                )
            }
        }
    }

    /// Looks through a compartment in which something could not be read, so that phones are asked for it.
    ///
    /// # Errors
    /// [`StoreFault`] if it cannot be said what is missing.
    pub(crate) fn look_for_missing(&self, id: GroupId, compartment: CompartmentId) -> Result<(), StoreFault> {
        let missing = Missing::find(&self.store, id, compartment)?;
        if !missing.is_empty() {
            self.damages.note_missing(id, &missing);
            self.change_group(id, |group| group.missing.add(missing));
        }
        Ok(())
    }

    /// Makes what was written what readers see.
    fn settle(&self, drafts: BTreeMap<GroupId, Open>) {
        for (id, open) in drafts {
            if !open.draft.has_changed() {
                continue;
            }
            if open.draft.makes_whole() {
                self.damages.mended(id);
            }
            let mut place = lock(&open.slot.place);
            let before = match std::mem::take(&mut *place) {
                Place::Whole(group) => Some(group),
                Place::Unloaded | Place::Broken(_) | Place::Lost(_) => {
                    self.group_count.fetch_add(1, Ordering::Relaxed);
                    None
                }
            };
            *place = Place::Whole(open.draft.settle(before));
            drop(place);
            lock(&self.slots).insert(id, open.slot);
        }
    }

    /// Notes which entries of broken groups are readable again. Answers with the groups that are whole by that.
    fn settle_mended(&self, mended: BTreeMap<GroupId, BTreeSet<EntryHash>>) -> Vec<GroupId> {
        let mut whole = Vec::new();
        for (id, hashes) in mended {
            let Some(slot) = lock(&self.slots).get(&id).map(Arc::clone) else { continue };
            let mut place = lock(&slot.place);
            let Place::Broken(missing) = &mut *place else { continue };
            hashes.into_iter().for_each(|hash| missing.mended(hash));
            if missing.is_empty() {
                *place = Place::Unloaded;
                drop(place);
                if matches!(self.with_group(id, |_| ()), Ok(Some(()))) {
                    self.damages.mended(id);
                    whole.push(id);
                }
            }
        }
        whole
    }

    fn answer_push(&self, judged: Judged, now_ms: u64) -> Answer {
        let Judged { group: id, device, number, outcomes, kept, belonged, .. } = judged;
        let some_kept = outcomes.contains(&Outcome::Kept);
        let seen = self.with_group(id, |group| {
            let belongs = group.roll.state().device(device).is_some();
            // A receipt counts the group's arrivals: that is for who belongs, or brings their own leave.
            let receipt = (some_kept && (belongs || belonged)).then(|| self.sign(id, group, kept, now_ms));
            (belongs, receipt.flatten())
        });
        // Of a group that is broken nobody can tell who belongs.
        let (belongs, receipt) = seen.ok().flatten().unwrap_or_default();
        Answer { ack: Ack { number, outcomes, receipt }, belongs }
    }

    /// A signed receipt for `entries`, or a bare checkpoint if there are none; none before the first arrival.
    pub(crate) fn sign(
        &self,
        id: GroupId,
        group: &Group,
        entries: Vec<EntryHash>,
        now_ms: u64,
    ) -> Option<ByteVec> {
        let receipt = Receipt {
            relay: self.identity.relay,
            incarnation: self.identity.incarnation,
            group: id,
            received_ms: now_ms,
            entries,
            checkpoint: group.checkpoint()?,
        };
        Some(ByteVec::from(SignedReceipt::sign(&self.identity.key, receipt).as_bytes().to_vec()))
    }

    /// Looks at what is durable of a group; none if there is no such group.
    ///
    /// # Errors
    /// [`StoreFault`]; of a group that is broken, [`StoreFault::Damaged`].
    pub(crate) fn with_group<T>(
        &self,
        id: GroupId,
        look: impl FnOnce(&Group) -> T,
    ) -> Result<Option<T>, StoreFault> {
        let Some(slot) = self.slot(id)? else {
            return Ok(None);
        };
        let mut place = lock(&slot.place);
        if matches!(*place, Place::Unloaded) {
            *place = match Loaded::load(&self.store, id) {
                Ok(None) => return Ok(None),
                Ok(Some(Loaded::Whole(group))) => Place::Whole(group),
                Ok(Some(Loaded::Broken(missing))) => {
                    self.damages.note_missing(id, &missing);
                    Place::Broken(missing)
                }
                Err(StoreFault::Damaged(what)) => Place::Lost(what),
                Err(why) => return Err(why),
            };
        }
        match &*place {
            Place::Unloaded => Ok(None),
            Place::Whole(group) => Ok(Some(look(group))),
            Place::Broken(_) => Err(StoreFault::Damaged("entries of the membership log cannot be read")),
            Place::Lost(what) => Err(StoreFault::Damaged(what)),
        }
    }

    /// Whether a group that is in memory lacks entries of its roll.
    pub(crate) fn is_broken(&self, id: GroupId) -> bool {
        let slot = lock(&self.slots).get(&id).map(Arc::clone);
        slot.is_some_and(|slot| matches!(*lock(&slot.place), Place::Broken(_)))
    }

    /// Where an entry of the roll is missing of a group that is broken.
    fn place_of_missing(&self, id: GroupId, hash: EntryHash) -> Option<damage::Place> {
        let slot = lock(&self.slots).get(&id).map(Arc::clone)?;
        match &*lock(&slot.place) {
            Place::Broken(missing) => missing.place(hash),
            Place::Unloaded | Place::Whole(_) | Place::Lost(_) => None,
        }
    }

    /// Looks at a group if it is in memory and nobody else is looking.
    pub(crate) fn glance<T>(&self, id: GroupId, look: impl FnOnce(&Group) -> T) -> Option<T> {
        let slot = Arc::clone(self.slots.try_lock().ok()?.get(&id)?);
        let place = slot.place.try_lock().ok()?;
        place.group().map(look)
    }

    /// Brings memory to what was just written of a group. One that is not loaded will be read as it is by then.
    pub(crate) fn change_group(&self, id: GroupId, change: impl FnOnce(&mut Group)) {
        let slot = lock(&self.slots).get(&id).map(Arc::clone);
        if let Some(slot) = slot
            && let Place::Whole(group) = &mut *lock(&slot.place)
        {
            change(group);
        }
    }

    /// Drops a group from memory. The caller holds the turn to commit, so that nobody is about to change it.
    pub(crate) fn unload(&self, id: GroupId) {
        let slot = lock(&self.slots).remove(&id);
        if let Some(slot) = slot {
            *lock(&slot.place) = Place::Unloaded;
        }
        self.damages.forget(id);
    }

    /// Writes something beside a commit. The caller holds the turn to commit. A write that fails stops the relay.
    pub(crate) fn durably<T>(
        &self,
        write: impl FnOnce(&RelayStore) -> Result<T, StoreFault>,
    ) -> Result<T, StoreFault> {
        if self.has_failed() {
            return Err(StoreFault::Failed);
        }
        write(&self.store).inspect_err(|why| self.stop(why))
    }

    fn slot(&self, id: GroupId) -> Result<Option<Arc<Slot>>, StoreFault> {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = lock(&self.slots).get(&id) {
            slot.used.store(now, Ordering::Relaxed);
            return Ok(Some(Arc::clone(slot)));
        }
        if self.has_failed() {
            return Err(StoreFault::Failed);
        }
        if self.store.newest_ms(id)?.is_none() {
            return Ok(None);
        }
        let mut slots = lock(&self.slots);
        if slots.len() >= GROUPS_LOADED_MAX {
            unload_half(&mut slots);
        }
        Ok(Some(Arc::clone(
            slots.entry(id).or_insert_with(|| Arc::new(Slot { used: now.into(), ..Slot::default() })),
        )))
    }
}

/// Forgets the groups that were not used for longest. One that somebody holds stays: its state may be about to change.
fn unload_half(slots: &mut HashMap<GroupId, Arc<Slot>>) {
    let mut uses: Vec<u64> = slots.values().map(|slot| slot.used.load(Ordering::Relaxed)).collect();
    let middle = uses.len() / 2;
    let (_, median, _) = uses.select_nth_unstable(middle);
    let median = *median;
    slots.retain(|_, slot| slot.used.load(Ordering::Relaxed) >= median || Arc::strong_count(slot) > 1);
}

/// A commit under way.
struct Commit<'a> {
    relay: &'a Relay,
    drafts: BTreeMap<GroupId, Open>,
    /// What of broken groups is written anew.
    mended: BTreeMap<GroupId, BTreeSet<EntryHash>>,
    arrived: Arrived,
    now_ms: u64,
}

/// A group that this commit touches. Holding its slot keeps it in memory.
struct Open {
    draft: Draft,
    slot: Arc<Slot>,
}

struct Judged {
    group: GroupId,
    device: DeviceId,
    number: u32,
    outcomes: Vec<Outcome>,
    kept: Vec<EntryHash>,
    arrived: u64,
    /// Whether the device belonged before the push.
    belonged: bool,
}

impl Commit<'_> {
    fn judge(&mut self, push: Prepared) -> Judged {
        let Prepared { group, device, number, sifted } = push;
        let count = sifted.fates.len();
        if self.relay.with_group(group, |_| ()).is_err() && self.relay.is_broken(group) {
            let fates = self.mend(group, sifted.fates);
            let kept = fates.iter().filter_map(|fate| fate.as_ref().ok().copied()).collect();
            let outcome = |fate: Result<_, _>| fate.map_or_else(Outcome::Refused, |_| Outcome::Kept);
            let outcomes = fates.into_iter().map(outcome).collect();
            return Judged { group, device, number, outcomes, kept, arrived: 0, belonged: false };
        }
        match self.admit(group, device, sifted) {
            Ok((admitted, arrived, belonged)) => {
                let Admitted { outcomes, kept, .. } = admitted;
                Judged { group, device, number, outcomes, kept, arrived, belonged }
            }
            Err(why) => {
                let outcomes = vec![Outcome::Refused(why); count];
                Judged { group, device, number, outcomes, kept: Vec::new(), arrived: 0, belonged: false }
            }
        }
    }

    /// Of a group that is broken, keeps what was here and cannot be read, whoever brings it: its hash says that it is the very
    /// one. Nothing else, as nobody can tell who belongs.
    fn mend(
        &mut self,
        group: GroupId,
        entries: Vec<Result<Received, Refused>>,
    ) -> Vec<Result<EntryHash, Refused>> {
        let mut keep = |entry: Received| {
            let (hash, log, seq) = (entry.hash(), LogId::of(&entry), entry.header().seq);
            if let Some(place) = self.relay.place_of_missing(group, hash) {
                self.arrived.again(group, &Verified::from_own_store(entry), place.position);
                self.mended.entry(group).or_default().insert(hash);
                return Ok(hash);
            }
            match self.relay.store.hash_at(group, log, seq) {
                Ok(Some(known)) if known == hash => Ok(hash),
                // So that a phone offers all of its roll, even if it has done so before.
                _ => Err(Refused { refusal: Refusal::ROLL_UNKNOWN, ..damage::refusal() }),
            }
        };
        entries.into_iter().map(|entry| entry.and_then(&mut keep)).collect()
    }

    fn admit(
        &mut self,
        group: GroupId,
        device: DeviceId,
        sifted: Sifted,
    ) -> Result<(Admitted, u64, bool), Refused> {
        let mut arrived = self.open(group, device, &sifted)?;
        let relay = self.relay;
        let open = self.drafts.get_mut(&group).ok_or_else(store_refusal)?;
        let draft = &mut open.draft;
        let belonged = draft.roll.state().device(device).is_some();
        let (roll, today) = (Arc::clone(&draft.roll), day_of(self.now_ms));
        let is_over = |entry: &Received| roll.state().retention().drops(entry, today);
        draft.mend(sifted.fates.iter().flatten(), is_over, &mut self.arrived);
        let granted = sifted.granted;
        let (now_ms, limits, level) = (self.now_ms, relay.limits(), relay.gauge.level());
        let pushing = Pushing { group, device, now_ms, limits, level, granted };
        let logs = DraftLogs { draft, store: &relay.store };
        let admitted = admit::admit(&pushing, &draft.roll, &draft.account.space, &logs, sifted.fates);
        let admitted = admitted.map_err(|why| relay.not_read(group, &why))?;
        draft.roll = Arc::clone(&admitted.roll);
        for entry in &admitted.arrived {
            // Whoever brings back what is over brings the proof that it was there, and no word of it.
            let is_over = retention::is_over(&draft.roll, entry, self.now_ms);
            let stripped = is_over.then(|| entry.clone().without_body());
            draft.take(stripped.as_ref().unwrap_or(entry), device, &mut self.arrived);
        }
        arrived += admitted.arrived.len() as u64;
        Ok((admitted, arrived, belonged))
    }

    /// Opens a draft of the group, or founds it. Answers with how many entries that took in.
    fn open(&mut self, id: GroupId, device: DeviceId, sifted: &Sifted) -> Result<u64, Refused> {
        if self.drafts.contains_key(&id) {
            return Ok(0);
        }
        let not_read = |why| self.relay.not_read(id, &why);
        let slot = self.relay.slot(id).map_err(not_read)?;
        if let Some(slot) = slot {
            let draft = self.relay.with_group(id, |group| Draft::of(id, group));
            let draft = draft.map_err(not_read)?.ok_or_else(store_refusal)?;
            self.drafts.insert(id, Open { draft, slot });
            return Ok(0);
        }
        self.check_new_group(id)?;
        let (founding, roll) = admit::found(id, sifted.fates.first())?;
        let mut draft = Draft::founded(id, roll);
        draft.take(&founding, device, &mut self.arrived);
        self.drafts.insert(id, Open { draft, slot: Arc::default() });
        Ok(1)
    }

    fn check_new_group(&self, group: GroupId) -> Result<(), Refused> {
        let rules = &self.relay.rules;
        let is_allowed =
            || rules.allowed_groups.contains(&group) || lock(&self.relay.allowed).contains(&group);
        if lock(&self.relay.deleting).contains(&group) || !(rules.open_to_new_groups || is_allowed()) {
            let reason = "this relay takes no new groups: ask its operator to allow yours";
            return Err(Refused::new(Refusal::CLOSED, reason));
        }
        if self.relay.gauge.level() >= Level::Low {
            return Err(disk_full(Refusal::CLOSED));
        }
        let new = self.drafts.values().filter(|open| lock(&open.slot.place).group().is_none()).count() as u64;
        if self.relay.group_count() + new >= rules.groups_max {
            return Err(Refused::new(
                Refusal::CLOSED,
                "this relay has as many groups as its operator allows",
            ));
        }
        Ok(())
    }
}

/// A draft's logs: what this commit adds, in front of what is stored.
struct DraftLogs<'a> {
    draft: &'a Draft,
    store: &'a RelayStore,
}

impl Logs for DraftLogs<'_> {
    type Error = StoreFault;

    fn head(&self, log: LogId) -> Result<Option<LogHead>, StoreFault> {
        Ok(self.draft.heads.get(&log).copied())
    }

    fn hash_at(&self, log: LogId, seq: u64) -> Result<Option<EntryHash>, StoreFault> {
        match self.draft.heads.get(&log) {
            None => Ok(None),
            Some(head) if head.seq < seq => Ok(None),
            Some(head) if head.seq == seq => Ok(Some(head.hash)),
            Some(_) => match self.draft.hash_at(log, seq) {
                Some(hash) => Ok(Some(hash)),
                None => self.store.hash_at(self.draft.id, log, seq),
            },
        }
    }
}

/// A group's logs as they are durable now.
struct StoredLogs<'a> {
    relay: &'a Relay,
    group: GroupId,
}

impl Logs for StoredLogs<'_> {
    type Error = StoreFault;

    fn head(&self, log: LogId) -> Result<Option<LogHead>, StoreFault> {
        let head = self.relay.with_group(self.group, |group| group.heads.get(&log).copied())?;
        Ok(head.flatten())
    }

    fn hash_at(&self, log: LogId, seq: u64) -> Result<Option<EntryHash>, StoreFault> {
        match self.head(log)? {
            Some(head) if head.seq > seq => self.relay.store.hash_at(self.group, log, seq),
            Some(head) if head.seq == seq => Ok(Some(head.hash)),
            Some(_) | None => Ok(None),
        }
    }
}

/// Refuses pushes, given as number and count of entries, because the store cannot be written.
fn refuse_all(pushes: impl Iterator<Item = (u32, usize)>) -> Committed {
    let answers = pushes.map(|(number, count)| {
        let outcomes = vec![Outcome::Refused(store_refusal()); count];
        Answer { ack: Ack { number, outcomes, receipt: None }, belongs: false }
    });
    Committed { answers: answers.collect(), ..Committed::default() }
}

/// Refuses what the free space on the disk leaves no room for.
pub(crate) fn disk_full(refusal: Refusal) -> Refused {
    let reason =
        "the relay's disk is nearly full: everything stays on the phone until its operator has made room";
    Refused { retry_after_ms: Some(60_000), ..Refused::new(refusal, reason) }
}

pub(crate) fn store_refusal() -> Refused {
    Refused::new(
        Refusal::STORE,
        "the relay cannot write just now: everything stays on the phone until it can",
    )
}

/// Locks a mutex whose data is replaced as a whole, so that a panic elsewhere leaves it sound.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
