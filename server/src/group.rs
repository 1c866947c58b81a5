//! One group in memory: who belongs, how far each log and compartment goes, and the tree over its arrivals.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamppost_core::base::{CompartmentId, DeviceId, EntryHash, GroupId, MailboxId, cbor};
use lamppost_core::entry::{Checkpoint, Kind, LogHead, LogId, Received, Verified};
use lamppost_core::roll::{Inserted, Operation, Roll};
use lamppost_core::sync::checkpoint::Arrivals;

use crate::damage::Missing;
use crate::mailbox::OpenBox;
use crate::space::{Account, Part, Space, payer};
use crate::store::{Arrived, RelayStore, StoreFault};

/// Rows read at once while the roll is rebuilt. A roll entry may take 256 KiB.
const ROLL_ROWS: usize = 64;

/// What is durable of one group. Changes only after a write has succeeded.
pub struct Group {
    /// Who belongs.
    pub roll: Arc<Roll>,
    /// The newest position of each compartment.
    pub positions: BTreeMap<CompartmentId, u64>,
    /// The newest entry of each log.
    pub heads: BTreeMap<LogId, LogHead>,
    /// The tree over all arrivals.
    pub arrivals: Arrivals,
    /// What each member has used of the space.
    pub space: Space,
    /// Mailboxes that are open.
    pub mailboxes: BTreeMap<MailboxId, OpenBox>,
    /// Entries outside the roll that cannot be read, as far as anybody has come across them.
    pub missing: Missing,
}

/// A group as it is on disk.
pub enum Loaded {
    /// All of its roll could be read.
    Whole(Group),
    /// Some of its roll could not, so that nobody can tell who belongs: nothing is served but what mends it.
    Broken(Missing),
}

impl Loaded {
    /// Rebuilds a group from its rows; none if there are none.
    ///
    /// # Errors
    /// [`StoreFault`] if the store fails, or holds something else than this relay wrote which its phones cannot mend.
    pub fn load(store: &RelayStore, id: GroupId) -> Result<Option<Self>, StoreFault> {
        if store.newest_ms(id)?.is_none() {
            return Ok(None);
        }
        let heads = store.heads(id)?;
        let entries = heads.iter().filter(|(log, _)| log.compartment == CompartmentId::ROLL);
        let entries = entries.map(|(_, head)| head.seq.saturating_add(1)).fold(0, u64::saturating_add);
        let (roll, is_whole) = load_roll(store, id, entries)?;
        let Some(roll) = roll.filter(|_| is_whole) else {
            let missing = Missing::find(store, id, CompartmentId::ROLL)?;
            if missing.is_empty() {
                return Err(StoreFault::Damaged("the membership log is whole and cannot be taken in again"));
            }
            return Ok(Some(Self::Broken(missing)));
        };
        let mut arrivals = Arrivals::default();
        store.each_arrival(id, |hash| arrivals.push(hash))?;
        let mut positions = BTreeMap::new();
        for row in &roll.state().template().compartments {
            positions.insert(row.id, store.last_position(id, row.id)?);
        }
        let mut mailboxes = BTreeMap::new();
        store.each_mailbox(id, |at, mailbox| {
            mailboxes.insert(at, OpenBox::of(&mailbox));
        })?;
        let (roll, missing, space) = (Arc::new(roll), Missing::default(), store.space(id)?);
        Ok(Some(Self::Whole(Group { roll, positions, heads, arrivals, space, mailboxes, missing })))
    }
}

impl Group {
    /// Size and root of the arrivals; none before the first.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.arrivals.checkpoint()
    }
}

/// The roll as far as its rows can be read, and whether that is all of its `entries`. Stored roll entries are in an order that
/// brings causes before effects, because they were judged in it.
fn load_roll(store: &RelayStore, id: GroupId, entries: u64) -> Result<(Option<Roll>, bool), StoreFault> {
    let mut roll: Option<Roll> = None;
    let (mut after, mut is_whole) = (0, true);
    loop {
        let rows = store.entries(id, CompartmentId::ROLL, after, ROLL_ROWS)?;
        let Some(last) = rows.last() else {
            return Ok((roll, is_whole && after == entries));
        };
        let first = after + 1;
        after = last.position;
        for (expected, row) in (first..).zip(&rows) {
            is_whole &= take_in(&mut roll, row.entry()) && row.position == expected;
        }
    }
}

/// Whether an entry of the roll could be read and taken in.
fn take_in(roll: &mut Option<Roll>, entry: Result<Received, StoreFault>) -> bool {
    let Ok(entry) = entry.map(Verified::from_own_store) else { return false };
    match roll {
        None => Roll::found(&entry).map(|founded| *roll = Some(founded)).is_ok(),
        Some(roll) => matches!(roll.insert(&entry), Ok(Inserted::Counts | Inserted::WithoutEffect)),
    }
}

/// A group's next state, before it is durable: what one commit adds to it.
pub struct Draft {
    /// The group.
    pub id: GroupId,
    /// Who belongs, if the commit succeeds.
    pub roll: Arc<Roll>,
    /// Logs that went on.
    pub heads: BTreeMap<LogId, LogHead>,
    /// What each member has used of the space, if the commit succeeds.
    pub account: Account,
    hashes: BTreeMap<(LogId, u64), EntryHash>,
    positions: BTreeMap<CompartmentId, u64>,
    arrived: Vec<EntryHash>,
    arrivals_before: u64,
    /// Whether an operation was taken in that may let bodies go.
    lets_go: bool,
    /// Mailboxes that are open before the commit.
    mailboxes: Vec<MailboxId>,
    missing: Missing,
    /// An entry was brought again that could not be read.
    mends: bool,
}

impl Draft {
    /// Begins with what is durable.
    pub fn of(id: GroupId, group: &Group) -> Self {
        Self {
            id,
            roll: Arc::clone(&group.roll),
            heads: group.heads.clone(),
            account: Account::new(group.space.clone()),
            hashes: BTreeMap::new(),
            positions: group.positions.clone(),
            arrived: Vec::new(),
            arrivals_before: group.arrivals.size(),
            lets_go: false,
            mailboxes: group.mailboxes.keys().copied().collect(),
            missing: group.missing.clone(),
            mends: false,
        }
    }

    /// Begins a group that is not there yet.
    pub fn founded(id: GroupId, roll: Roll) -> Self {
        Self {
            id,
            roll: Arc::new(roll),
            lets_go: false,
            heads: BTreeMap::new(),
            account: Account::default(),
            hashes: BTreeMap::new(),
            positions: BTreeMap::new(),
            arrived: Vec::new(),
            arrivals_before: 0,
            mailboxes: Vec::new(),
            missing: Missing::default(),
            mends: false,
        }
    }

    /// Takes in an entry that was admitted, after all that it follows. `bringer` is the device that pushed it.
    pub fn take(&mut self, entry: &Verified, bringer: DeviceId, into: &mut Arrived) {
        let (log, seq, hash) = (LogId::of(entry), entry.header().seq, entry.hash());
        let position = self.positions.entry(log.compartment).or_default();
        *position += 1;
        into.entry(self.id, entry, *position, self.arrivals_before + self.arrived.len() as u64);
        self.arrived.push(hash);
        let operation = entry.body().filter(|_| entry.header().kind == Kind::OPERATION);
        let operation = operation.and_then(|body| cbor::decode::<Operation>(body).ok());
        self.lets_go |= matches!(operation, Some(Operation::Shred(_) | Operation::EndHold(_)));
        let payer = payer(self.roll.state(), log.device, bringer);
        self.account.add(Part::of(entry), payer, entry.bytes() as u64);
        self.heads.insert(log, LogHead { seq, hash });
        self.hashes.insert((log, seq), hash);
    }

    /// Writes what the commit changes beside its entries.
    pub fn finish(&self, now_ms: u64, into: &mut Arrived) {
        into.newest_ms(self.id, now_ms);
        self.account.changes().for_each(|(part, member, used)| into.space(self.id, part, member, used));
        self.close_used(into);
    }

    /// Takes away the mailboxes whose invitation the roll says is used up.
    fn close_used(&self, into: &mut Arrived) {
        let state = self.roll.state();
        let used = self.mailboxes.iter().filter(|mailbox| state.invited(**mailbox).is_some());
        used.for_each(|mailbox| into.close_mailbox(self.id, *mailbox));
    }

    /// Writes anew those entries of a push that were here and cannot be read. `is_over` says whose bodies are to go.
    pub fn mend<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a Received>,
        is_over: impl Fn(&Received) -> bool,
        into: &mut Arrived,
    ) {
        if self.missing.is_empty() {
            return;
        }
        for entry in entries {
            let (hash, over) = (entry.hash(), is_over(entry));
            let Some(place) = self.missing.place(hash).filter(|_| over || entry.body().is_some()) else {
                continue;
            };
            let entry = Verified::from_own_store(entry.clone());
            let entry = if over { entry.without_body() } else { entry };
            into.again(self.id, &entry, place.position);
            self.missing.mended(hash);
            self.mends = true;
        }
    }

    /// Whether there is anything to write.
    pub fn has_changed(&self) -> bool {
        self.mends || self.has_grown()
    }

    /// Whether what could not be read is here again, all of it.
    pub fn makes_whole(&self) -> bool {
        self.mends && self.missing.is_empty()
    }

    /// Whether anything was taken in.
    pub fn has_grown(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Whether bodies may go that stayed before. A hold lets none go.
    pub fn lets_go(&self) -> bool {
        self.lets_go
    }

    /// The hash at a place that this commit fills.
    pub fn hash_at(&self, log: LogId, seq: u64) -> Option<EntryHash> {
        self.hashes.get(&(log, seq)).copied()
    }

    /// Turns the draft into what is durable, after the write.
    pub fn settle(self, group: Option<Group>) -> Group {
        let before = group.map(|group| (group.arrivals, group.mailboxes));
        let (mut arrivals, mut mailboxes) = before.unwrap_or_default();
        self.arrived.into_iter().for_each(|hash| arrivals.push(hash));
        mailboxes.retain(|mailbox, _| self.roll.state().invited(*mailbox).is_none());
        let Self { roll, positions, heads, account, missing, .. } = self;
        Group { roll, positions, heads, arrivals, space: account.space, mailboxes, missing }
    }
}
