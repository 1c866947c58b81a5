//! A roll some of whose entries cannot be read: it is named, fetched again, and until then not acted on (PROTOCOL.md §8).
//!
//! Without an entry that took somebody out they would belong again. So while any is missing, this device writes nothing into the
//! roll, hands no roll and no key on, drops no body, and takes in nothing but the roll. What is on it can be read, and people go
//! on recording.

use std::collections::BTreeSet;

use super::Replica;
use super::disk::{self, ENTRIES};
use super::engine::{Engine, ROLL};
use super::error::Error;
use super::receive::{Received, Warning};
use crate::base::CompartmentId;
use crate::entry::chain::verify_one;
use crate::entry::{LogId, Received as ReceivedEntry, Verified, Wire};
use crate::roll::{Inserted, Roll};
use crate::storage::Batch;

/// Rows read at once.
const PAGE: usize = 1_000;

/// Entries of the roll that cannot be read, or not be taken in again, by place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost(BTreeSet<(LogId, u64)>);

impl Lost {
    /// Whether the roll is whole.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many entries are missing.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Replica {
    /// How many entries of the roll cannot be read.
    ///
    /// # Errors
    /// [`Error::Closed`]
    pub async fn roll_entries_lost(&self) -> Result<usize, Error> {
        self.run(|engine| Ok(engine.roll_entries_lost())).await
    }
}

impl Engine {
    /// The roll as far as its rows can be read, causes before effects, and what of it cannot.
    pub(super) fn load_roll(&self) -> Result<(Roll, Lost), Error> {
        let (mut roll, mut lost): (Option<Roll>, Lost) = (None, Lost::default());
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.store.scan(ROLL, &[], after.as_deref(), PAGE)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (_, key) in rows {
                let place = disk::parse_entry_key(&key);
                let place = place.ok_or_else(|| Error::store_damaged(&"a row of the roll names no entry"))?;
                let entry = disk::readable_entry(&*self.store, place.0, place.1)?;
                let is_there = match (&mut roll, entry) {
                    (_, None) => false,
                    (None, Some(entry)) => Roll::found(&entry).map(|founded| roll = Some(founded)).is_ok(),
                    (Some(roll), Some(entry)) => match roll.insert(&entry) {
                        // What cites an entry that is missing comes back with it.
                        Ok(
                            Inserted::Counts | Inserted::WithoutEffect | Inserted::Known | Inserted::Waits,
                        ) => true,
                        Err(_) => false,
                    },
                };
                if !is_there {
                    lost.0.insert(place);
                }
            }
        }
        let roll =
            roll.ok_or_else(|| Error::store_damaged(&"the entry that founded the group cannot be read"))?;
        Ok((roll, lost))
    }

    /// How many entries of the roll cannot be read. While there are any, this device decides nothing about the group; they are
    /// fetched again with the next sync.
    pub fn roll_entries_lost(&self) -> usize {
        self.group.as_ref().map_or(0, |group| group.lost.len())
    }

    /// Makes sure that the whole roll is here, before anything is done that rests on who belongs.
    pub(super) fn must_know_roll(&self) -> Result<(), Error> {
        match self.roll_entries_lost() {
            0 => Ok(()),
            entries => Err(Error::RollDamaged { entries }),
        }
    }

    /// Puts back what of the roll could not be read, from what came in, and takes it out of that.
    pub(super) fn put_back(&mut self, wires: &mut Vec<Wire>, report: &mut Received) -> Result<(), Error> {
        if self.roll_entries_lost() == 0 {
            return Ok(());
        }
        let (mut batch, mut put) = (Batch::default(), 0);
        let mut rest = Vec::with_capacity(wires.len());
        for wire in std::mem::take(wires) {
            match self.fits_lost(&wire)? {
                Some(entry) => {
                    batch.put(
                        ENTRIES,
                        disk::entry_key(LogId::of(&entry), entry.header().seq),
                        entry.to_bytes(),
                    );
                    put += 1;
                }
                None => rest.push(wire),
            }
        }
        *wires = rest;
        if put > 0 {
            report.kept += put;
            self.store.apply(batch)?;
            // From the disk, and what cites them with them.
            self.distrust_memory();
            self.fresh()?;
        }
        Ok(())
    }

    /// An entry that is the one that was in a place which cannot be read, as far as what stands before and behind it says.
    fn fits_lost(&self, wire: &Wire) -> Result<Option<Verified>, Error> {
        let Ok(entry) = ReceivedEntry::parse(wire.clone()) else { return Ok(None) };
        let group = self.group()?;
        let (log, seq) = (LogId::of(&entry), entry.header().seq);
        if entry.group() != group.roll.group() || !group.lost.0.contains(&(log, seq)) {
            return Ok(None);
        }
        let at = |seq: u64| disk::readable_entry(&*self.store, log, seq);
        let before = seq.checked_sub(1).map(at).transpose()?.flatten();
        let follows = before.is_none_or(|before| entry.header().previous == Some(before.hash()));
        let behind = seq.checked_add(1).map(at).transpose()?.flatten();
        let leads = behind.is_none_or(|behind| behind.header().previous == Some(entry.hash()));
        Ok(if follows && leads { verify_one(entry).ok() } else { None })
    }

    /// Says that the roll is damaged, if it is.
    pub(super) fn damage(&self) -> Option<Warning> {
        let entries = self.roll_entries_lost();
        (entries > 0).then_some(Warning::RollDamaged { entries })
    }

    /// Whether a compartment may be taken in: while the roll is not whole, the roll alone.
    pub(super) fn takes_in(&self, compartment: CompartmentId) -> bool {
        compartment == CompartmentId::ROLL || self.roll_entries_lost() == 0
    }
}
