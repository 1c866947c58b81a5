//! The roll that the relay has on its disk, worked out apart from the relay: who may be handed what.

use lamppost_core::base::{EntryHash, cbor};
use lamppost_core::entry::chain::verify_one;
use lamppost_core::sync::frame::Heads;

use super::*;

impl World {
    /// Takes in what has come to lie on the relay's disk.
    pub(super) fn hear(&mut self) -> Step {
        let group = self.group.expect("there is one because it was founded first");
        let durable = self.relay.durable(group)?;
        let entries = self.roll_entries(|hash| durable.contains(hash))?;
        // A relay that lost its disk has heard less than before.
        if self.heard.as_ref().is_some_and(|roll| roll.len() > entries.len()) {
            self.heard = None;
        }
        if self.heard.is_none() {
            let founding = entries.iter().find(|entry| entry.is_founding());
            self.heard = founding.map(Roll::found).transpose().map_err(|e| e.to_string())?;
        }
        let Some(roll) = self.heard.as_mut() else { return Ok(()) };
        insert_all(roll, &entries)?;
        if roll.len() == entries.len() {
            Ok(())
        } else {
            Err("the relay keeps roll entries without what they cite".to_owned())
        }
    }

    /// The roll with what was written and the relay never heard, or forgot: a phone may have got a key by it.
    pub(super) fn ever_written(&self) -> Result<Roll, String> {
        let mut roll = self.heard.clone().ok_or("the relay knows of no group")?;
        insert_all(&mut roll, &self.roll_entries(|_| true)?)?;
        Ok(roll)
    }

    fn roll_entries(&self, which: impl Fn(&EntryHash) -> bool) -> Result<Vec<Verified>, String> {
        let wires = self.model.roll.iter().filter(|(hash, _)| which(hash)).map(|(_, wire)| wire.clone());
        wires
            .map(|wire| {
                verify_one(Received::parse(wire).map_err(|e| e.to_string())?).map_err(|e| e.to_string())
            })
            .collect()
    }

    /// Who belongs, as the relay should know.
    pub(super) fn truth(&self) -> Result<Arc<State>, String> {
        let roll = self.heard.as_ref().ok_or("the relay knows of no group")?;
        Ok(Arc::clone(roll.state()))
    }

    /// The relay hands entries to those who belong, and of compartments that they may read; to who was removed, the roll up
    /// to what took them out. Nor does it tell others how far anything goes.
    pub(super) fn see_handed_out(&self, device: DeviceId, message: &[u8]) -> Step {
        let entries = match Frame::from_bytes(message) {
            Ok(Frame::Entries(entries)) => entries,
            Ok(Frame::Heads(heads)) => return self.see_heads(device, &heads),
            Ok(Frame::Welcome(welcome)) => {
                let belongs = self.heard.as_ref().is_some_and(|roll| roll.state().device(device).is_some());
                return if welcome.checkpoint.is_some() && !belongs {
                    Err(format!("the relay tells {device:?} how much has arrived"))
                } else {
                    Ok(())
                };
            }
            _ => return Ok(()),
        };
        let Some(roll) = self.heard.as_ref().filter(|_| !entries.entries.is_empty()) else { return Ok(()) };
        let state = roll.state();
        let compartment = entries.compartment;
        if state.device(device).is_none() {
            // The roll that proves its removal. Where that ends is by the order in which the relay heard of it, which is
            // another than the order here: a test of the relay looks at that.
            if compartment == CompartmentId::ROLL && roll.taken_out(device).is_some() {
                return Ok(());
            }
            return Err(format!("the relay hands entries to {device:?}, which it knows not to belong"));
        }
        if compartment != CompartmentId::ROLL && !state.may_read(device, compartment) {
            return Err(format!("the relay hands {compartment:?} to {device:?}, which may not read it"));
        }
        Ok(())
    }

    /// A head tells that its author has written: to those who may read it, and to the author.
    fn see_heads(&self, device: DeviceId, heads: &Heads) -> Step {
        let state = self.truth()?;
        let beyond = heads.logs.iter().map(|height| height.log).find(|log| {
            let may_read = log.compartment == CompartmentId::ROLL || state.may_read(device, log.compartment);
            state.device(device).is_none() || !(may_read || log.device == device)
        });
        match beyond {
            Some(log) => Err(format!("the relay tells {device:?} of {log:?}, which is not for it")),
            None => Ok(()),
        }
    }

    /// What a relay makes of a message that says it is another year: it hands out nothing that is over by then.
    pub(super) fn keep_bodies_back(&mut self, message: Vec<u8>) -> Vec<u8> {
        let Ok(Frame::Entries(mut entries)) = Frame::from_bytes(&message) else { return message };
        for wire in entries.entries.iter_mut().filter(|wire| wire.body.is_some()) {
            let expires =
                Received::parse(wire.clone()).is_ok_and(|entry| entry.header().expiry_day.is_some());
            if expires {
                wire.body = None;
                self.tally.kept_back += 1;
            }
        }
        Frame::Entries(entries).to_bytes()
    }

    /// What a relay makes of a message that hides from a phone who was removed.
    pub(super) fn keep_in_the_dark(&mut self, at: usize, message: Vec<u8>) -> Vec<u8> {
        if !self.phones[at].kept_in_the_dark {
            return message;
        }
        let Ok(Frame::Entries(mut entries)) = Frame::from_bytes(&message) else { return message };
        if entries.compartment != CompartmentId::ROLL {
            return message;
        }
        let before = entries.entries.len();
        entries.entries.retain(|wire| {
            let operation = wire.body.as_ref().and_then(|body| cbor::decode::<Operation>(body).ok());
            !matches!(operation, Some(Operation::Remove(_) | Operation::Recover(_)))
        });
        let hidden = (before - entries.entries.len()) as u64;
        // It says that they were the phone's own.
        entries.left_out += hidden;
        self.tally.hidden += hidden;
        Frame::Entries(entries).to_bytes()
    }
}

/// Inserts whatever of it can be: all whose causes are there.
fn insert_all(roll: &mut Roll, entries: &[Verified]) -> Step {
    let mut before = 0;
    while roll.len() > before {
        before = roll.len();
        for entry in entries {
            roll.insert(entry).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}
