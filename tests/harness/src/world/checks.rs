//! What must hold, after each step and when everything has healed.

use lamppost_core::base::EntryHash;

use super::*;

impl World {
    /// Everything acknowledged is on the relay's disk, nothing else than what authors wrote, and nothing readable.
    pub(super) fn check_relay(&mut self) -> Step {
        let group = self.group.expect("there is one because it was founded first");
        let durable = self.relay.durable(group)?;
        if let Some(lost) = self.model.acknowledged.iter().find(|hash| !durable.contains(hash)) {
            return Err(format!("the relay acknowledged {lost:?} and does not have it"));
        }
        if let Some(forged) = durable.iter().find(|hash| !self.model.authored.contains(hash)) {
            return Err(format!("the relay keeps {forged:?}, which nobody wrote"));
        }
        Ok(())
    }

    /// A phone shows what its member wrote, nothing that nobody wrote, and nothing that its role may not read.
    pub(super) fn check_phone(&mut self, at: usize) -> Step {
        let rows = self.rows(at)?;
        if self.phones[at].running().is_none() {
            return Ok(());
        }
        let roles_ever = self.phones[at].roles_ever.clone();
        let shown: BTreeMap<_, _> = rows.iter().map(|row| (row.id, row)).collect();
        for row in &rows {
            let kind = row.kind;
            let compartment = rule(kind).ok_or("a row of a kind that nobody writes")?.compartment;
            let template = roles::template_rows().iter().find(|row| row.compartment == compartment);
            // Whoever wrote something keeps it, even where they may not read.
            let own = Some(row.author) == self.phones[at].member;
            let may_read =
                template.is_some_and(|row| row.readers.iter().any(|role| roles_ever.contains(role)));
            if !own && !may_read {
                return Err(format!(
                    "phone {at} shows a document of kind {} that its role may not read",
                    row.kind.0
                ));
            }
            if [Kind::OBSERVATION, Kind::ANNOTATION].contains(&kind) {
                let author = self
                    .model
                    .author_of(&row.text)
                    .ok_or_else(|| format!("phone {at} shows a text that nobody wrote: {row:?}"))?;
                let member = self.phones[author].member;
                if member.is_some_and(|member| member != row.author) {
                    return Err(format!("phone {at} shows words of phone {author} as somebody else's"));
                }
                if author == at && !self.model.is_current(row.id, &row.text) {
                    return Err(format!("phone {at} shows old words of its own: {:?}", row.text));
                }
            }
        }
        let lost = self
            .model
            .documents
            .iter()
            .find(|(id, d)| d.author == at && !shown.contains_key(id) && d.stood_by.is_none());
        if let Some((id, _)) = lost {
            return Err(format!("phone {at} lost its own {id:?}"));
        }
        self.check_delivery(at)
    }

    /// What a phone shows as being at the relay was acknowledged in the relay's life that the phone knows.
    pub(super) fn check_delivery(&mut self, at: usize) -> Step {
        let own = self.model.documents.iter().filter(|(_, d)| d.author == at && d.stood_by.is_none());
        let own: Vec<_> = own.map(|(id, _)| *id).collect();
        let Some(id) = self.chance.pick(&own).copied() else { return Ok(()) };
        let knows_this_life = self.relay.running().map(|relay| relay.incarnation());
        let Some(engine) = self.phones[at].running() else { return Ok(()) };
        if engine.relay_memory().incarnation != knows_this_life {
            return Ok(());
        }
        let detail = engine.get(id).map_err(|e| format!("phone {at} cannot show its own {id:?}: {e}"))?;
        let acknowledged = |row: &HistoryRow| self.model.acknowledged.contains(&row.entry);
        if detail.delivery == Delivery::AtRelay && !detail.history.iter().all(acknowledged) {
            return Err(format!(
                "phone {at} shows {id:?} as being at the relay, which did not acknowledge it"
            ));
        }
        Ok(())
    }

    /// Everything heals, everybody syncs until nothing moves; then all must agree with each other and with the model.
    pub(super) fn settle(&mut self) -> Step {
        if self.story != Story::Calm {
            return self.settle_unrest();
        }
        self.heal();
        for at in 0..self.phones.len() {
            if !self.phones[at].joined {
                self.join(at)?;
            }
        }
        self.restart_relay(false)?;
        let mut before = None;
        for _ in 0..ROUNDS_MAX {
            let mut waiting = Vec::new();
            for at in 0..self.phones.len() {
                self.sync_to_the_end(at)?;
                waiting.extend(self.waiting(at)?);
            }
            // A minute, so that a relay that takes only so much a minute goes on.
            self.advance_ms(61_000);
            let shown: Result<Vec<_>, _> = (0..self.phones.len()).map(|at| self.rows(at)).collect();
            let is_done = waiting.is_empty();
            let now = Some((waiting, shown?));
            if is_done && now == before {
                return self.check_agreement();
            }
            before = now;
        }
        Err(format!("after {ROUNDS_MAX} rounds something still moves or waits: {:?}", before.map(|(w, _)| w)))
    }

    /// What waits on a phone, to be sent or for others; nothing if nothing does.
    pub(super) fn waiting(&mut self, at: usize) -> Result<Option<String>, String> {
        let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
        let unsent = engine.outbox_len().map_err(|e| e.to_string())?;
        Ok(match self.withheld(at)? {
            Some(withheld) => Some(format!("phone {at}: {withheld}")),
            None => (unsent > 0).then(|| format!("phone {at}: {unsent} entries to be sent")),
        })
    }

    /// What a phone waits for that the relay or another member's phone has. After a relay kept bodies back and lost its
    /// disk, an author who was taken out may be the only one who has them.
    pub(super) fn withheld(&mut self, at: usize) -> Result<Option<Warning>, String> {
        let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
        let withheld = engine.withheld().map_err(|e| e.to_string())?;
        if !matches!(withheld, Some(Warning::WithoutWords { .. })) {
            return Ok(withheld);
        }
        let missed: BTreeSet<EntryHash> =
            testing::missed_bodies(engine).map_err(|e| e.to_string())?.into_iter().collect();
        // A relay takes no entry without a body that it should have: an entry that it has is whole there.
        let at_relay = self.group.map(|group| self.relay.durable(group)).transpose()?.unwrap_or_default();
        if !missed.is_disjoint(&at_relay) {
            return Ok(withheld);
        }
        for other in (0..self.phones.len()).filter(|other| *other != at) {
            if !self.phones[other].joined || !self.phones[other].belongs() {
                continue;
            }
            let Some(engine) = self.switch_on(other)? else { continue };
            let stored = testing::stored(engine).map_err(|e| e.to_string())?;
            let has = |stored: &testing::Stored| {
                stored.entry.body().is_some() && missed.contains(&stored.entry.hash())
            };
            if stored.iter().any(has) {
                return Ok(withheld);
            }
        }
        Ok(None)
    }

    /// Nothing breaks any more, and every phone starts again.
    pub(super) fn heal(&mut self) {
        self.note(|| "everything heals".to_owned());
        self.weather = Weather {
            crash: 0,
            disk: 0,
            cut: 0,
            tamper: 0,
            partition: 0,
            clock: 0,
            relay_loss: 0,
            device_entries_per_minute: 0,
        };
        self.wrong_day = false;
        for at in 0..self.phones.len() {
            self.hang_up(at);
            self.phones[at].crash();
            self.phones[at].online = true;
            self.phones[at].kept_in_the_dark = false;
        }
    }
    pub(super) fn sync_to_the_end(&mut self, at: usize) -> Step {
        let Some(id) = self.connect(at, false, Budget::UNLIMITED)? else {
            return if self.phones[at].belongs() {
                Err("the relay is off although nothing breaks".to_owned())
            } else {
                Ok(())
            };
        };
        let mut idle_ms = 0;
        while self.links.contains_key(&id) {
            let mut moved = self.carry(id, true)?;
            moved |= self.carry(id, false)?;
            if !self.relay.pushes.is_empty() {
                self.commit_first(self.relay.pushes.len())?;
                moved = true;
            }
            if moved {
                idle_ms = 0;
                continue;
            }
            idle_ms += 1_000;
            self.advance_ms(1_000);
            if idle_ms > STUCK_MS {
                return Err(format!("the session of phone {at} is stuck"));
            }
        }
        Ok(())
    }

    pub(super) fn check_agreement(&mut self) -> Step {
        self.check_relay()?;
        if self.relay.holds(MARK.as_bytes()) {
            return Err("a text lies on the relay's disk in the clear".to_owned());
        }
        let mut rows_by_phone = Vec::new();
        for at in 0..self.phones.len() {
            self.check_phone(at)?;
            let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
            if let Some(aside) = engine.set_aside().map_err(|e| e.to_string())?.first() {
                return Err(format!("phone {at} set aside what an honest phone wrote: {}", aside.reason));
            }
            if let Some(withheld) = self.withheld(at)? {
                return Err(format!("phone {at}: {withheld}"));
            }
            let ids: Vec<_> = self.rows(at)?.into_iter().map(|row| row.id).collect();
            let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
            for id in ids {
                engine.get(id).map_err(|e| format!("phone {at} lists {id:?} and cannot show it: {e}"))?;
            }
            let rows: BTreeMap<_, _> = self.rows(at)?.into_iter().map(|row| (row.id, row)).collect();
            rows_by_phone.push(rows);
        }
        for at in 0..self.phones.len() {
            let readers: BTreeSet<u8> = roles::template_rows()
                .iter()
                .filter(|row| row.readers.contains(&self.phones[at].role))
                .map(|row| row.compartment)
                .collect();
            for (other, rows) in rows_by_phone.iter().enumerate() {
                for (id, row) in rows {
                    let compartment = rule(row.kind).map(|rule| rule.compartment);
                    if !compartment.is_some_and(|compartment| readers.contains(&compartment)) {
                        continue;
                    }
                    if rows_by_phone[at].get(id) != Some(row) {
                        return Err(format!(
                            "phone {other} shows {row:?}, phone {at} {:?}",
                            rows_by_phone[at].get(id)
                        ));
                    }
                }
            }
            for (id, document) in &self.model.documents {
                let compartment = rule(document.kind).map(|rule| rule.compartment);
                if !compartment.is_some_and(|compartment| readers.contains(&compartment)) {
                    continue;
                }
                let shown = rows_by_phone[at].get(id).map(|row| row.text.as_str());
                if !shown.is_some_and(|shown| self.model.is_current(*id, shown)) {
                    return Err(format!("phone {at} shows {shown:?} where {:?} was written", document.text));
                }
            }
        }
        Ok(())
    }
}
