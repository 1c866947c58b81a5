//! What must hold when everything has healed, after people were removed, recovered, and restored.

use lamppost_core::base::{EntryHash, EpochId};

use super::*;

impl World {
    /// Everything heals, everybody syncs until nothing moves; then those who belong must agree.
    pub(super) fn settle_unrest(&mut self) -> Step {
        self.heal();
        self.restart_relay(false)?;
        let mut before = None;
        for round in 0..ROUNDS_MAX {
            let mut waiting = Vec::new();
            for at in self.joined() {
                self.sync_to_the_end(at)?;
                // What a hostile app has to send nobody takes.
                if self.belongs(at)? && !self.is_hostile(at) {
                    waiting.extend(self.waiting(at)?);
                }
            }
            self.advance_ms(61_000);
            if round == 1 {
                self.cite_everything()?;
            }
            let shown: Result<Vec<_>, _> = self.joined().into_iter().map(|at| self.rows(at)).collect();
            let is_done = waiting.is_empty();
            let now = Some((waiting, shown?, self.heard.as_ref().map(Roll::len)));
            if is_done && now == before && round > 1 {
                return self.check_belonging();
            }
            before = now;
        }
        Err(format!(
            "after {ROUNDS_MAX} rounds something still moves or waits: {:?}",
            before.map(|now| now.0)
        ))
    }

    fn joined(&self) -> Vec<usize> {
        (0..self.phones.len()).filter(|at| self.phones[*at].joined).collect()
    }

    /// Whether a phone belongs, as the relay should know.
    fn belongs(&mut self, at: usize) -> Result<bool, String> {
        // A relay that lost its disk has not heard of the group yet.
        let truth = self.truth().ok();
        let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
        let Some(truth) = truth else { return Ok(engine.role().is_some()) };
        Ok(truth.device(engine.device_id()).is_some())
    }

    fn check_belonging(&mut self) -> Step {
        self.check_relay()?;
        if self.relay.holds(MARK.as_bytes()) {
            return Err("a text lies on the relay's disk in the clear".to_owned());
        }
        let truth = self.truth()?;
        self.check_attacks(&truth)?;
        if !truth.members().any(|(_, held)| truth.template().governs(held.role)) {
            return Err("nobody governs any more".to_owned());
        }
        let exposed = truth.template().compartments.iter().find(|row| truth.is_exposed(row.id));
        let mut inside = Vec::new();
        for at in self.joined() {
            self.check_phone(at)?;
            if self.is_hostile(at) {
                // It believes what it signed.
            } else if self.belongs(at)? {
                inside.push(at);
            } else {
                self.check_keys_of_whom_is_out(at)?;
            }
        }
        let mut judged: BTreeMap<EntryHash, (bool, usize)> = BTreeMap::new();
        for at in inside.iter().copied() {
            self.check_roll(at, &truth)?;
            self.check_kept(at, &inside, &truth, &mut judged)?;
        }
        // Where somebody who governs has a phone at hand, it has mended the keys.
        let governs = |at: &&usize| self.phones[**at].role == roles::ROLE_COORDINATOR;
        if let (Some(row), true) = (exposed, inside.iter().any(|at| governs(&at))) {
            return Err(format!("somebody who was taken out knows the key of {:?}", row.name));
        }
        self.check_rows(&inside, &truth)
    }

    /// A phone and the relay know the same members, devices and epochs.
    fn check_roll(&mut self, at: usize, truth: &State) -> Step {
        let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
        let roll = testing::roll(engine).ok_or("a phone that joined has no roll")?;
        let state = roll.state();
        let members = |state: &State| state.members().map(|(id, held)| (id, held.role)).collect::<Vec<_>>();
        let devices =
            |state: &State| state.devices().map(|(id, row, _)| (id, row.member)).collect::<Vec<_>>();
        let epochs = |state: &State| {
            let rows = state.template().compartments.iter();
            rows.map(|row| state.newest_epoch(row.id).map(|(id, _)| id)).collect::<Vec<_>>()
        };
        if members(state) != members(truth) {
            return Err(format!(
                "phone {at} knows the members {:?}, the relay {:?}",
                members(state),
                members(truth)
            ));
        }
        if devices(state) != devices(truth) {
            return Err(format!("phone {at} knows other devices than the relay"));
        }
        if epochs(state) != epochs(truth) {
            return Err(format!("phone {at} knows other epochs than the relay"));
        }
        if state.standing() != truth.standing() {
            return Err(format!("phone {at} knows other removals or acceptances than the relay"));
        }
        if let Some(withheld) = self.withheld(at)? {
            return Err(format!("phone {at}: {withheld}"));
        }
        let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
        let concerns = engine.concerns().map_err(|e| e.to_string())?;
        match concerns.iter().find(|concern| matches!(concern, Concern::Fork { .. })) {
            Some(fork) => Err(format!("phone {at}: {fork}")),
            None => Ok(()),
        }
    }

    /// What a phone counts, every phone counts; and nothing that a removal's author had not seen.
    fn check_kept(
        &mut self,
        at: usize,
        inside: &[usize],
        truth: &State,
        judged: &mut BTreeMap<EntryHash, (bool, usize)>,
    ) -> Step {
        let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
        let own = engine.device_id();
        let roll = testing::roll(engine).ok_or("a phone that joined has no roll")?;
        let stored = testing::stored(engine).map_err(|e| e.to_string())?;
        for stored in stored {
            let (entry, header) = (&stored.entry, stored.entry.header());
            let (device, compartment) = (header.device, header.compartment);
            if !roll.knows(&header.roll_heads) {
                return Err(format!("phone {at} took {:?}, which cites what is not there", entry.hash()));
            }
            // Nobody but the expirer gives a last day: what has one has no effect, which the rows show.
            let expires = header.expiry_day.is_some();
            if compartment == CompartmentId::ROLL || header.kind != EntryKind::SEALED || expires {
                continue;
            }
            self.tally.set_aside += u64::from(stored.is_set_aside);
            let counts = !stored.is_cut_off;
            let (others, other) = *judged.entry(entry.hash()).or_insert((counts, at));
            if others != counts {
                return Err(format!(
                    "{:?} counts on phone {at}: {counts}, on phone {other}: {others}",
                    entry.hash()
                ));
            }
            let author = truth.devices_ever().find(|(id, _)| *id == device).map(|(_, member)| member);
            let is_touched = author.is_none_or(|author| self.model.may_be_cut_off(author));
            if stored.is_set_aside && !is_touched {
                let hash = entry.hash();
                let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
                let rows = engine.set_aside().map_err(|e| e.to_string())?;
                let reason = rows.into_iter().find(|row| row.entry == hash).map(|row| row.reason);
                let whose = self.phones.iter().position(|phone| phone.devices_ever.contains(&device));
                return Err(format!(
                    "phone {at} set aside what phone {whose:?} honestly wrote: {reason:?}, {hash:?} {header:?}"
                ));
            }
            // A key that went with those who were taken out is nobody's to hand on.
            if stored.is_unopened && truth.may_read(own, compartment) && !self.model.history_ends {
                let holders = self.holders_of(compartment, header.epoch, inside);
                if !holders.is_empty() {
                    let roles: Vec<_> = holders.iter().map(|at| (*at, self.phones[*at].role)).collect();
                    return Err(format!(
                        "phone {at}, of role {}, may read {:?} of epoch {:?} and cannot, and phones of these roles hold \
                         the key: {roles:?}",
                        self.phones[at].role,
                        entry.hash(),
                        header.epoch
                    ));
                }
                self.tally.beyond_reach += 1;
            }
            for (removal, cut) in
                truth.removals().iter().filter_map(|id| Some((*id, self.model.cuts.get(id)?)))
            {
                let again = author.is_none_or(|author| self.model.was_let_in_again(author, removal));
                let is_late = cut.devices.contains(&device)
                    && cut.readable.contains(&compartment)
                    && !cut.seen.contains(&entry.hash())
                    && !self.model.accepted.contains(&entry.hash());
                if is_late && !stored.is_set_aside && !again {
                    return Err(format!(
                        "{:?} counts on phone {at}, and whoever removed its author had not seen it",
                        entry.hash()
                    ));
                }
            }
        }
        Ok(())
    }

    /// The phones among these that hold the key of an epoch.
    fn holders_of(
        &mut self,
        compartment: CompartmentId,
        epoch: Option<EpochId>,
        phones: &[usize],
    ) -> Vec<usize> {
        let holds = |at: &usize| {
            let held = self.phones[*at].running().map(|engine| testing::held_epochs(engine));
            held.is_some_and(|held| epoch.is_some_and(|epoch| held.contains(&(compartment, epoch))))
        };
        phones.iter().copied().filter(holds).collect()
    }

    /// A phone that does not belong holds no key of an epoch that began knowing that it does not.
    fn check_keys_of_whom_is_out(&mut self, at: usize) -> Step {
        let devices = self.phones[at].devices_ever.clone();
        let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
        let held = testing::held_epochs(engine);
        let roll = self.ever_written()?;
        let mut begun: BTreeMap<_, Vec<EntryHash>> = BTreeMap::new();
        let mut pasts = Vec::new();
        for (hash, wire) in self.model.roll.iter().filter(|(hash, _)| roll.knows(&[**hash])) {
            pasts.push(*hash);
            let operation = wire.body.as_ref().and_then(|body| lamppost_core::base::cbor::decode(body).ok());
            for rotation in operation.iter().flat_map(rotations) {
                begun.entry((rotation.0, rotation.1)).or_default().push(*hash);
            }
        }
        for name in held {
            let Some(begun) = begun.get(&name) else { continue };
            let may_read = |hash: &EntryHash| {
                let state = roll.state_at(&[*hash]);
                state.is_some_and(|state| devices.iter().any(|device| state.may_read(*device, name.0)))
            };
            let knew_better = |hash: &EntryHash| {
                let state = roll.state_at(&[*hash]);
                state.is_some_and(|state| devices.iter().any(|device| state.was_removed(*device)))
            };
            if !begun.iter().all(knew_better) || begun.iter().any(may_read) {
                continue;
            }
            // Somebody who knew of the epoch may have let it in again.
            let knew = |hash: &&EntryHash| {
                let state = roll.state_at(&[**hash]);
                state.is_some_and(|state| state.epochs(name.0).any(|(epoch, _)| epoch == name.1))
            };
            if !pasts.iter().filter(knew).any(may_read) {
                return Err(format!(
                    "phone {at} was taken out and holds the key of {name:?}, which began later"
                ));
            }
        }
        Ok(())
    }

    /// Who may read the same shows the same, and what somebody wrote is there.
    fn check_rows(&mut self, inside: &[usize], truth: &State) -> Step {
        let mut shown = BTreeMap::new();
        for at in inside.iter().copied() {
            let rows: BTreeMap<_, _> = self.rows(at)?.into_iter().map(|row| (row.id, row)).collect();
            let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
            if let Some(row) = rows.values().find(|row| row.title == expirer::BEGUN) {
                return Err(format!("phone {at} shows {:?}, which may not expire and does", row.id));
            }
            for id in rows.keys() {
                engine.get(*id).map_err(|e| format!("phone {at} lists {id:?} and cannot show it: {e}"))?;
            }
            let device = engine.device_id();
            let stored = testing::stored(engine).map_err(|e| e.to_string())?;
            let unopened = stored.iter().filter(|stored| stored.is_unopened);
            let blind: BTreeSet<_> = unopened.map(|stored| stored.entry.header().compartment).collect();
            let rows_of = truth.template().compartments.iter().map(|row| row.id);
            let reads: BTreeSet<_> =
                rows_of.filter(|id| truth.may_read(device, *id) && !blind.contains(id)).collect();
            // Of the words of a device that it was before, it may have heard after these were cut off.
            let former = |stored: &&testing::Stored| {
                let author = stored.entry.header().device;
                stored.is_cut_off && author != device && self.phones[at].devices_ever.contains(&author)
            };
            let lost_some = stored.iter().any(|stored| former(&stored));
            shown.insert(at, (rows, reads, lost_some));
        }
        let compartment = |kind: Kind| rule(kind).map(|rule| CompartmentId(rule.compartment));
        for (at, (rows, reads, lost_some)) in &shown {
            for (other, (others, others_read, _)) in &shown {
                for row in others.values() {
                    let both =
                        compartment(row.kind).is_some_and(|c| reads.contains(&c) && others_read.contains(&c));
                    let own = [at, other].iter().any(|at| self.phones[**at].member == Some(row.author));
                    // A case is written by several.
                    let own = own || row.kind == Kind::CASE;
                    let refused = own && (self.may_be_cut_off(*at) || self.may_be_cut_off(*other));
                    if both && !refused && rows.get(&row.id) != Some(row) {
                        return Err(format!(
                            "phone {other} shows {row:?}, phone {at} {:?}",
                            rows.get(&row.id)
                        ));
                    }
                }
            }
            for (id, document) in &self.model.documents {
                let reads = compartment(document.kind).is_some_and(|c| reads.contains(&c));
                let own = document.author == *at;
                // Nobody takes what builds on what a hostile app signed.
                let nobodys = self.is_hostile(document.author);
                let may_be_gone =
                    nobodys || if own { *lost_some } else { self.may_be_cut_off(document.author) };
                let row = rows.get(id);
                // What a phone wrote and may no longer read it still has, unless it went back and became another device.
                let holds = reads || own && self.phones[*at].devices_ever.len() == 1;
                if may_be_gone || !holds || !self.model.is_certain(document) && row.is_none() {
                    continue;
                }
                let text = row.map(|row| row.text.as_str());
                if !text.is_some_and(|text| self.model.is_current(*id, text)) {
                    return Err(format!("phone {at} shows {text:?} where {:?} was written", document.text));
                }
            }
        }
        Ok(())
    }
}

fn rotations(operation: &Operation) -> Vec<(CompartmentId, EpochId)> {
    let keys = match operation {
        Operation::Found(founding) => &founding.keys,
        Operation::Admit(admission) => &admission.keys,
        Operation::KeyUpdate(keys) => keys,
        Operation::Remove(removal) => &removal.keys,
        Operation::Recover(recovery) => &recovery.keys,
        Operation::Certify(certification) => &certification.keys,
        _ => return Vec::new(),
    };
    keys.rotations.iter().map(|rotation| (rotation.compartment, rotation.epoch())).collect()
}
