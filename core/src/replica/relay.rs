//! What a device remembers of its relay, and what a session with it begins from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::disk::{self, BARE, META, RECEIVED, WAITING};
use super::engine::Engine;
use super::error::Error;
use super::receive::{StoreLogs, Warning};
use crate::base::{CompartmentId, Incarnation, RelayId, address, cbor, limits};
use crate::entry::{Checkpoint, LogId};
use crate::storage::Batch;
use crate::sync::frame::OwnHead;
use crate::sync::inbox::Logs as _;
use crate::sync::session::{Budget, Plan};

/// What a device remembers of its relay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RelayMemory {
    /// Its key, once it has served this group, or a person or an admission has named it: no other relay is taken for it.
    #[n(0)]
    pub relay: Option<RelayId>,
    /// The life of its store that cursors belong to.
    #[n(1)]
    pub incarnation: Option<Incarnation>,
    /// Its last proven checkpoint.
    #[n(2)]
    pub checkpoint: Option<Checkpoint>,
    /// The checkpoint of its last receipt.
    #[n(3)]
    pub receipted: Option<Checkpoint>,
    /// The address that it served this group at, or that an admission named.
    #[n(4)]
    pub url: Option<String>,
    /// The key of a relay that was met and has not served this group yet. It may be the wrong one.
    #[n(5)]
    pub found: Option<RelayId>,
    /// The life to which everything that is here was offered.
    #[n(6)]
    pub offered: Option<Incarnation>,
    /// The life to which the roll was offered while it did not know this device, and how far the roll went.
    #[n(7)]
    pub roll_offered: Option<RollOffered>,
    /// Lives of relays' stores that have ended, as this device noticed: the last 16, the latest at the end.
    #[n(8)]
    pub earlier: Vec<EarlierLife>,
}

/// A life of a relay's store that has ended. All that it signed lies among the receipts, as a record; nothing of it counts
/// any more.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EarlierLife {
    /// The relay.
    #[n(0)]
    pub relay: RelayId,
    /// The life.
    #[n(1)]
    pub incarnation: Incarnation,
    /// Its last proven checkpoint.
    #[n(2)]
    pub checkpoint: Option<Checkpoint>,
    /// The checkpoint of its last receipt, if that was not proven any more.
    #[n(3)]
    pub receipted: Option<Checkpoint>,
    /// When this device noticed, by its own clock, in milliseconds since the Unix epoch.
    #[n(4)]
    pub noticed_ms: u64,
    /// Whether people had agreed on another relay. If not, the relay itself says that it lost its store.
    #[n(5)]
    pub agreed: bool,
    /// How many entries of this installation's own it had acknowledged. They count as not sent until they are again.
    #[n(6)]
    pub acknowledged: u64,
    /// How many entries, whoever's, this device held and the next life lacked; none until that has said what it has.
    #[n(7)]
    pub lacking: Option<u64>,
}

/// Earlier lives that are remembered.
const EARLIER_MAX: usize = 16;

/// An offer of the roll to a relay that did not know this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct RollOffered {
    /// The life of its store.
    #[n(0)]
    pub incarnation: Incarnation,
    /// The number behind the last entry of the roll.
    #[n(1)]
    pub next: u64,
}

impl RelayMemory {
    /// The relay that was met last: the group's, if it has served it.
    pub(super) fn met(&self) -> Option<RelayId> {
        self.found.or(self.relay)
    }

    /// Takes the relay that was met for the group's.
    pub(super) fn pin(&mut self) {
        self.relay = self.met();
        self.found = None;
    }
}

/// Entries that came without their bodies: `missed` still should have them; the rows of `settled` can go.
struct Bare {
    missed: Vec<(LogId, u64)>,
    settled: Vec<Vec<u8>>,
}

const RELAY: &[u8] = b"relay";
/// How often what was withheld was fetched anew, and how many sessions ago.
const WITHHELD: &[u8] = b"withheld";

/// At most 2^4 sessions pass before what was withheld is fetched anew.
const WITHHELD_TRIES_MAX: u32 = 4;

const CURSOR_PREFIX: &[u8] = b"cursor/";

impl Engine {
    /// What is known of the relay.
    pub fn relay_memory(&self) -> RelayMemory {
        self.group.as_ref().map(|group| group.relay.clone()).unwrap_or_default()
    }

    /// Remembers where the relay is.
    ///
    /// # Errors
    /// [`Error::Address`] unless it is encrypted or leads to this machine; [`Error::NoGroup`]; errors of the store.
    pub fn set_relay_url(&mut self, url: &str) -> Result<(), Error> {
        let url = address::checked(url)?;
        let group = self.fresh()?;
        if group.relay.url.as_ref() == Some(&url) {
            return Ok(());
        }
        self.remember_relay(|relay| relay.url = Some(url))
    }

    /// Takes the next relay at this group's address for the right one, whatever its key: for when the people have
    /// agreed that the old relay is lost. Everything that phones hold is offered to it.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; errors of the store.
    pub fn trust_new_relay(&mut self) -> Result<(), Error> {
        self.expect(None)
    }

    /// Takes the relay with this key, and no other, for this group's: for when the operator has said what it is, and before
    /// the first session. Sessions with another one end with [`Error::RelayMisbehaved`]. In the place of an earlier relay, as
    /// with [`Engine::trust_new_relay`].
    ///
    /// # Errors
    /// [`Error::NoGroup`]; errors of the store.
    pub fn expect_relay(&mut self, relay: RelayId) -> Result<(), Error> {
        if self.fresh()?.relay.relay == Some(relay) {
            return Ok(());
        }
        self.expect(Some(relay))
    }

    fn expect(&mut self, relay: Option<RelayId>) -> Result<(), Error> {
        self.fresh()?;
        self.transact(|engine, batch| {
            engine.note_end_of_life(true)?;
            let memory = &mut engine.fresh()?.relay;
            let (url, earlier) = (memory.url.take(), std::mem::take(&mut memory.earlier));
            *memory = RelayMemory { url, relay, earlier, ..RelayMemory::default() };
            // Nor does its word count any more of what day it is, and that this device was removed.
            engine.forget_time(batch)?;
            engine.forget_word(batch)?;
            engine.put_relay(batch)
        })
    }

    /// The relay of this session has served the group: it is the group's from now on.
    ///
    /// # Errors
    /// Errors of the store.
    pub(super) fn relay_has_served(&mut self) -> Result<(), Error> {
        let group = self.fresh()?;
        if group.relay.found.is_none() && group.said_removed_ms.is_none() {
            return Ok(());
        }
        self.transact(|engine, batch| {
            engine.fresh()?.relay.pin();
            engine.forget_word(batch)?;
            engine.put_relay(batch)
        })
    }

    /// What a session with the relay begins from.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; errors of the store.
    pub fn plan(&mut self, live: bool, budget: Budget) -> Result<Plan, Error> {
        self.fresh()?;
        let group = self.group()?;
        let state = Arc::clone(group.roll.state());
        let (device, mut cursors) = (self.device_id(), BTreeMap::new());
        for row in state
            .template()
            .compartments
            .iter()
            .filter(|row| row.id == CompartmentId::ROLL || state.may_read(device, row.id))
            .filter(|row| self.takes_in(row.id))
        {
            cursors.insert(row.id, self.cursor(row.id)?);
        }
        Ok(Plan {
            group: group.roll.group(),
            device,
            relay: group.relay.relay,
            incarnation: group.relay.incarnation,
            offered: group.relay.offered,
            roll_offered: (group.relay.roll_offered)
                .filter(|offered| offered.next == group.next_roll)
                .map(|offered| offered.incarnation),
            checkpoint: group.relay.checkpoint,
            receipted: group.relay.receipted,
            cursors,
            live,
            budget,
        })
    }

    /// Makes sure that this device's own logs hold what the relay has seen of them.
    ///
    /// # Errors
    /// [`Error::RolledBack`] if the store is older than that, or another copy of it has gone on.
    pub fn check_own(&mut self, seen: Vec<OwnHead>) -> Result<(), Error> {
        // Who does not belong, as far as is known here, writes nothing that could fork, and may hear that they belong again:
        // then it is checked once more. What an earlier session noted is of no use now: the device may be another since.
        self.own_seen.clear();
        if self.role().is_none() {
            self.own_seen = seen;
            return Ok(());
        }
        let logs = StoreLogs(&*self.store);
        for OwnHead { compartment, head } in seen {
            let log = LogId { compartment, device: self.device_id() };
            if logs.hash_at(log, head.seq)? != Some(head.hash) {
                return Err(Error::RolledBack);
            }
        }
        Ok(())
    }

    /// The relay's store has begun a new life: nothing it acknowledged before counts any more. Answers with the life before
    /// it, unless there was none or people had agreed on another relay.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn new_relay_life(
        &mut self,
        relay: RelayId,
        incarnation: Incarnation,
    ) -> Result<Option<EarlierLife>, Error> {
        self.fresh()?;
        self.transact(|engine, batch| {
            let ended = engine.note_end_of_life(false)?;
            let memory = &mut engine.fresh()?.relay;
            memory.found = Some(relay).filter(|found| memory.relay != Some(*found));
            memory.incarnation = Some(incarnation);
            memory.checkpoint = None;
            memory.receipted = None;
            for (key, _) in engine.store.scan(WAITING, &[], None, usize::MAX)? {
                batch.delete(WAITING, key);
            }
            engine.forget_time(batch)?;
            engine.forget_cursors(batch)?;
            engine.queue_own_again(batch)?;
            engine.queue_chunks_again(batch)?;
            engine.put_relay(batch)?;
            Ok(ended)
        })
    }

    /// Remembers that the life of the store that this device knew has ended, if one has served it.
    fn note_end_of_life(&mut self, agreed: bool) -> Result<Option<EarlierLife>, Error> {
        let RelayMemory { relay, incarnation, .. } = self.group()?.relay;
        let (Some(relay), Some(incarnation)) = (relay, incarnation) else { return Ok(None) };
        let acknowledged = self.store.scan(RECEIVED, &[], None, usize::MAX)?.len() as u64;
        let noticed_ms = self.clock.now_ms();
        let memory = &mut self.fresh()?.relay;
        let ended = EarlierLife {
            relay,
            incarnation,
            checkpoint: memory.checkpoint,
            receipted: memory.receipted,
            noticed_ms,
            agreed,
            acknowledged,
            lacking: None,
        };
        memory.earlier.push(ended.clone());
        let too_many = memory.earlier.len().saturating_sub(EARLIER_MAX);
        memory.earlier.drain(..too_many);
        Ok(Some(ended))
    }

    pub(super) fn forget_cursors(&self, batch: &mut Batch) -> Result<(), Error> {
        for row in &self.state()?.template().compartments {
            Self::put_cursor(batch, row.id, 0);
        }
        Ok(())
    }

    /// Keeps a checkpoint that was proven to continue the ones before.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn keep_checkpoint(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        self.fresh()?;
        self.remember_relay(|relay| {
            relay.checkpoint = Some(checkpoint);
            relay.receipted = None;
        })
    }

    /// Entries that wait for others, which a relay should have handed out before; or else, entries that came without their
    /// words.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn withheld(&self) -> Result<Option<Warning>, Error> {
        let entries = self.store.scan(WAITING, &[], None, limits::WAITING_ENTRIES_MAX)?.len();
        if entries > 0 {
            return Ok(Some(Warning::Withheld { entries }));
        }
        let entries = self.missed_bodies()?.len();
        Ok((entries > 0).then_some(Warning::WithoutWords { entries }))
    }

    /// The entries that came without their bodies and should still have them.
    pub(super) fn missed_bodies(&self) -> Result<Vec<(LogId, u64)>, Error> {
        Ok(self.bare()?.missed)
    }

    /// Entries that came without their bodies, at most [`limits::WAITING_ENTRIES_MAX`] of them. Entries that this member
    /// may not read any more are in neither list: nobody hands out their bodies, until the member may read them again.
    fn bare(&self) -> Result<Bare, Error> {
        let (mut missed, mut settled) = (Vec::new(), Vec::new());
        let (state, own) = (Arc::clone(self.state()?), self.device_id());
        for (key, _) in self.store.scan(BARE, &[], None, limits::WAITING_ENTRIES_MAX)? {
            let Some((log, seq)) = disk::parse_entry_key(&key) else { continue };
            match disk::read_entry(&*self.store, log, seq)? {
                Some(entry) if self.misses_body(&entry)? => {
                    if state.may_read(own, log.compartment) {
                        missed.push((log, seq));
                    }
                }
                Some(_) | None => settled.push(key),
            }
        }
        Ok(Bare { missed, settled })
    }

    /// What waits for entries that were not handed out, or came without its body, now that all should have been handed
    /// out. The next session fetches the compartments concerned anew, as whatever swallowed the entries may be gone; if that
    /// does not help, ever more sessions pass before it is tried again, so that a relay that withholds them for good costs
    /// little. What waits in a compartment that this member may not read any more is let go: nobody hands out the rest.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn retry_withheld(&mut self) -> Result<Vec<Warning>, Error> {
        self.fresh()?;
        let waiting = self.store.scan(WAITING, &[], None, limits::WAITING_ENTRIES_MAX)?;
        let stored = self.store.get(META, WITHHELD)?;
        let Bare { missed, settled } = self.bare()?;
        if waiting.is_empty() && missed.is_empty() && settled.is_empty() && stored.is_none() {
            return Ok(Vec::new());
        }
        let state = Arc::clone(self.state()?);
        let own = self.device_id();
        let mut compartments = BTreeSet::new();
        let (mut out_of_sight, mut waiting_still) = (Vec::new(), 0);
        for (key, entry) in waiting {
            let compartment = disk::decode_entry(&entry)?.header().compartment;
            if compartment == CompartmentId::ROLL || state.may_read(own, compartment) {
                waiting_still += 1;
                compartments.extend([CompartmentId::ROLL, compartment]);
            } else {
                out_of_sight.push((key, compartment));
            }
        }
        let without_words = missed.len();
        compartments.extend(missed.into_iter().map(|(log, _)| log.compartment));
        let (mut tries, mut sessions): (u32, u32) =
            stored.map(|bytes| disk::decode(&bytes)).transpose()?.unwrap_or_default();
        sessions += 1;
        let try_now = waiting_still + without_words > 0 && sessions >= 1 << tries.min(WITHHELD_TRIES_MAX);
        if try_now {
            (tries, sessions) = (tries.saturating_add(1), 0);
        }
        self.transact(|_, batch| {
            for (key, compartment) in out_of_sight {
                batch.delete(WAITING, key);
                // Should it come back into sight, it is fetched anew.
                Self::put_cursor(batch, compartment, 0);
            }
            settled.into_iter().for_each(|key| batch.delete(BARE, key));
            if waiting_still + without_words == 0 {
                batch.delete(META, WITHHELD);
                return Ok(Vec::new());
            }
            if try_now {
                compartments.iter().for_each(|compartment| Self::put_cursor(batch, *compartment, 0));
            }
            batch.put(META, WITHHELD, cbor::encode(&(tries, sessions)));
            let withheld = (waiting_still > 0).then_some(Warning::Withheld { entries: waiting_still });
            let bare = (without_words > 0).then_some(Warning::WithoutWords { entries: without_words });
            Ok(withheld.into_iter().chain(bare).collect())
        })
    }

    fn remember_relay(&mut self, change: impl FnOnce(&mut RelayMemory)) -> Result<(), Error> {
        self.transact(|engine, batch| {
            change(&mut engine.fresh()?.relay);
            engine.put_relay(batch)
        })
    }

    pub(super) fn stored_relay(&self) -> Result<RelayMemory, Error> {
        let stored = self.store.get(META, RELAY)?;
        Ok(stored.map(|bytes| disk::decode(&bytes)).transpose()?.unwrap_or_default())
    }

    pub(super) fn put_relay(&self, batch: &mut Batch) -> Result<(), Error> {
        batch.put(META, RELAY, cbor::encode(&self.group()?.relay));
        Ok(())
    }

    /// The last position had of a compartment.
    pub(super) fn cursor(&self, compartment: CompartmentId) -> Result<u64, Error> {
        if let Some(ahead) = self.group()?.cursors_ahead.get(&compartment) {
            return Ok(*ahead);
        }
        Ok(self.store.get(META, &cursor_key(compartment))?.map_or(0, |bytes| disk::parse_number(&bytes)))
    }

    /// Remembers that a compartment holds nothing new up to `upto`. That is worth no durable write of its own, which
    /// every own entry would cost once more; whoever forgets it is told it again.
    pub(super) fn skip_to(&mut self, compartment: CompartmentId, upto: u64) -> Result<(), Error> {
        self.fresh()?.cursors_ahead.insert(compartment, upto);
        Ok(())
    }

    pub(super) fn put_cursors_ahead(&mut self, batch: &mut Batch) {
        let Some(group) = &mut self.group else { return };
        for (compartment, upto) in std::mem::take(&mut group.cursors_ahead) {
            Self::put_cursor(batch, compartment, upto);
        }
    }

    /// Writes the cursors that are further than on disk, if there are any.
    ///
    /// # Errors
    /// Errors of the store.
    pub(super) fn save_cursors(&mut self) -> Result<(), Error> {
        if self.fresh()?.cursors_ahead.is_empty() {
            return Ok(());
        }
        self.transact(|_, _| Ok(()))
    }

    pub(super) fn put_cursor(batch: &mut Batch, compartment: CompartmentId, after: u64) {
        batch.put(META, cursor_key(compartment), after.to_be_bytes());
    }
}

fn cursor_key(compartment: CompartmentId) -> Vec<u8> {
    [CURSOR_PREFIX, &[compartment.0]].concat()
}
