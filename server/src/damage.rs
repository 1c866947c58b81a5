//! Groups some of whose rows cannot be read: each fails alone, is named, and is mended by its phones (PROTOCOL.md §7.3).
//!
//! The hash of every entry stands in two more tables, by log and by arrival. So what a group lacks can be named, and whoever
//! brings an entry of that hash brings the very one: nothing has to be believed of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;

use lamppost_core::base::{CompartmentId, EntryHash, GroupId};
use lamppost_core::entry::{LogHead, LogId, Received};
use lamppost_core::sync::frame::{Refusal, Refused};

use crate::relay::lock;
use crate::store::{RelayStore, StoreFault};

/// Rows read at once while a compartment is looked through.
const ROWS: usize = 64;

/// Where an entry stood whose row cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its log.
    pub log: LogId,
    /// Its number in the log.
    pub seq: u64,
    /// Its position in the compartment.
    pub position: u64,
}

/// Entries of a group that were here and cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing(BTreeMap<EntryHash, Place>);

impl Missing {
    /// Looks through a compartment for entries that cannot be read.
    ///
    /// # Errors
    /// [`StoreFault`] if it cannot be said which they are.
    pub fn find(store: &RelayStore, group: GroupId, compartment: CompartmentId) -> Result<Self, StoreFault> {
        let mut places: HashMap<EntryHash, (LogId, u64)> = HashMap::new();
        store.each_logged(group, compartment, |log, seq, hash| {
            places.insert(hash, (log, seq));
        })?;
        // What arrived in this compartment, in order: the first of them has position 1.
        let mut expected: Vec<(EntryHash, (LogId, u64))> = Vec::with_capacity(places.len());
        store.each_arrival(group, |hash| expected.extend(places.remove(&hash).map(|place| (hash, place))))?;
        if !places.is_empty() {
            return Err(StoreFault::Damaged("the order of what arrived is lost"));
        }
        let mut missing: BTreeMap<u64, (EntryHash, (LogId, u64))> = (1..).zip(expected).collect();
        let mut after = 0;
        loop {
            let rows = store.entries(group, compartment, after, ROWS)?;
            let Some(last) = rows.last() else { break };
            after = last.position;
            for row in &rows {
                let is_there = |hash| row.entry().is_ok_and(|entry: Received| entry.hash() == hash);
                if missing.get(&row.position).is_some_and(|(hash, _)| is_there(*hash)) {
                    missing.remove(&row.position);
                }
            }
        }
        let missing = missing.into_iter();
        Ok(Self(missing.map(|(position, (hash, (log, seq)))| (hash, Place { log, seq, position })).collect()))
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many entries are missing.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds what another look found.
    pub fn add(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Where an entry with this hash is missing.
    pub fn place(&self, hash: EntryHash) -> Option<Place> {
        self.0.get(&hash).copied()
    }

    /// Notes that an entry is here again.
    pub fn mended(&mut self, hash: EntryHash) {
        self.0.remove(&hash);
    }

    /// The positions that cannot be read in a compartment.
    pub fn positions(&self, compartment: CompartmentId) -> BTreeSet<u64> {
        let there = self.0.values().filter(|place| place.log.compartment == compartment);
        there.map(|place| place.position).collect()
    }

    /// Logs as phones are told of them: each goes to the last entry before the first that is missing. What is behind it is
    /// offered again, and with it what is missing.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn cut(
        &self,
        store: &RelayStore,
        group: GroupId,
        heads: &BTreeMap<LogId, LogHead>,
    ) -> Result<BTreeMap<LogId, LogHead>, StoreFault> {
        let mut cut = heads.clone();
        for Place { log, seq, .. } in self.0.values() {
            let Some(head) = cut.get_mut(log).filter(|head| head.seq >= *seq) else { continue };
            match seq.checked_sub(1) {
                Some(before) => {
                    let hash = store.hash_at(group, *log, before)?;
                    let hash = hash.ok_or(StoreFault::Damaged("a log has a gap"))?;
                    *head = LogHead { seq: before, hash };
                }
                None => drop(cut.remove(log)),
            }
        }
        Ok(cut)
    }
}

/// Groups that are damaged, so that each is named once and can be counted.
#[derive(Debug, Default)]
pub struct Damages(Mutex<BTreeSet<GroupId>>);

impl Damages {
    /// Notes that some rows of a group cannot be read. Says so in the log, once until it is mended.
    pub fn note(&self, group: GroupId, why: &StoreFault) {
        if lock(&self.0).insert(group) {
            tracing::error!(
                %group,
                "{why}. This group is damaged; other groups go on, and nothing is lost that its phones hold. See \
                 'When data is damaged' in server/OPERATING.md"
            );
        }
    }

    /// Notes how many entries of a group cannot be read, which its phones can bring again. Says so in the log, once.
    pub fn note_missing(&self, group: GroupId, missing: &Missing) {
        if lock(&self.0).insert(group) {
            tracing::error!(
                %group,
                entries = missing.len(),
                "entries of this group cannot be read. Other groups go on. Its phones may bring them as they connect; if they \
                 do not, see 'When data is damaged' in server/OPERATING.md"
            );
        }
    }

    /// Notes that a group is whole again.
    pub fn mended(&self, group: GroupId) {
        if lock(&self.0).remove(&group) {
            tracing::info!(%group, "this group is whole again: its phones brought what could not be read");
        }
    }

    /// Forgets a group that is not kept any more.
    pub fn forget(&self, group: GroupId) {
        lock(&self.0).remove(&group);
    }

    /// The groups that are damaged.
    pub fn groups(&self) -> Vec<GroupId> {
        lock(&self.0).iter().copied().collect()
    }
}

/// What a phone is told whose group cannot be served.
pub fn refusal() -> Refused {
    Refused::new(
        Refusal::STORE,
        "this group's data at the relay is damaged: its operator has to look at it. Nothing on this phone is lost; what is \
         recorded stays here and is sent once that is mended",
    )
}
