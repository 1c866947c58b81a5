//! Connections, and what a phone does with what comes over them.

use super::*;

impl World {
    pub(super) fn somebody_connects(&mut self) -> Step {
        let at = self.chance.index(self.phones.len());
        let phone = &self.phones[at];
        if !phone.joined || !phone.online || phone.link.is_some() {
            return Ok(());
        }
        let live = self.chance.one_in(3);
        let bytes = if self.chance.one_in(4) { Some(4_000 + self.chance.below(40_000)) } else { None };
        self.connect(at, live, Budget { span_ms: None, bytes }).map(drop)
    }

    /// A phone that is on locks itself, syncs behind the lock for a while, and is unlocked when its owner next needs it.
    pub(super) fn somebody_syncs_behind_the_lock(&mut self) -> Step {
        let at = self.locks.index(self.phones.len());
        let phone = &mut self.phones[at];
        if !phone.joined || !phone.online || phone.link.is_some() || phone.running().is_none() {
            return Ok(());
        }
        phone.lock().map_err(|why| format!("phone {at} cannot be locked: {why}"))?;
        self.tally.locked_syncs += 1;
        self.note(|| format!("phone {at} is locked"));
        self.locked = Some(at);
        let synced = self.sync_for_a_while(at);
        self.locked = None;
        self.hang_up(at);
        self.phones[at].crash();
        synced
    }

    fn sync_for_a_while(&mut self, at: usize) -> Step {
        let Some(id) = self.connect(at, false, Budget { span_ms: None, bytes: None })? else { return Ok(()) };
        for _ in 0..self.locks.below(60) {
            self.carry(id, true)?;
            self.commit_first(self.relay.pushes.len())?;
            if !self.carry(id, false)? && self.phones[at].link.is_none() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn connect(&mut self, at: usize, live: bool, budget: Budget) -> Result<Option<u64>, String> {
        let Some(relay) = self.relay.running() else { return Ok(None) };
        let opening = Opening {
            relay: relay.id(),
            incarnation: relay.incarnation(),
            nonce: self.chance.bytes(),
            handshake_ms: 10_000,
            slow_reader_ms: 30_000,
            stranger_ms: 60_000,
        };
        let Some(plan) = self.act(at, "connects", |engine| engine.plan(live, budget))? else {
            return Ok(None);
        };
        let Some(device) = self.phones[at].running().map(|engine| engine.device_id()) else {
            return Ok(None);
        };
        let id = self.links_opened;
        self.links_opened += 1;
        self.tally.links += 1;
        self.phones[at].link = Some(id);
        let lies = self.wrong_day && self.lies.one_in(2);
        self.links.insert(
            id,
            Link {
                phone: at,
                device,
                phone_session: Some(PhoneSession::new(plan)),
                relay_session: Some(RelaySession::new(opening)),
                up: Default::default(),
                down: Default::default(),
                report: Default::default(),
                follows: false,
                tampered: false,
                lies,
            },
        );
        self.relay_input(id, RelayInput::Tick)?;
        self.phone_input(id, PhoneInput::Tick)?;
        Ok(Some(id))
    }

    pub(super) fn carry_some(&mut self) -> Step {
        let open: Vec<u64> = self.links.keys().copied().collect();
        let Some(id) = self.chance.pick(&open).copied() else { return Ok(()) };
        for _ in 0..=self.chance.below(8) {
            if self.links.contains_key(&id) {
                let up = self.chance.one_in(2);
                self.carry(id, up)?;
            }
        }
        Ok(())
    }

    /// Carries one message over a link. Answers whether there was one.
    pub(super) fn carry(&mut self, id: u64, up: bool) -> Result<bool, String> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(false) };
        if up {
            // What the relay cannot take now stays in the socket.
            if link.relay_session.as_ref().is_some_and(|session| !session.wants_input()) {
                return Ok(false);
            }
            let Some(message) = link.up.pop_front() else {
                if link.phone_session.is_none() && link.relay_session.take().is_some() {
                    self.close_if_over(id);
                    return Ok(true);
                }
                return Ok(false);
            };
            self.tally.messages += 1;
            self.relay_input(id, RelayInput::Message(message))?;
        } else {
            let link_phone = link.phone;
            let Some(message) = link.down.pop_front() else {
                if link.relay_session.is_none() && link.phone_session.take().is_some() {
                    self.close_if_over(id);
                    return Ok(true);
                }
                return Ok(false);
            };
            self.tally.messages += 1;
            let has_socket = link.relay_session.is_some();
            let message = self.keep_in_the_dark(link_phone, message);
            self.phone_input(id, PhoneInput::Message(message))?;
            if has_socket {
                self.relay_input(id, RelayInput::Sent)?;
            }
        }
        Ok(true)
    }

    pub(super) fn close_if_over(&mut self, id: u64) {
        let Some(link) = self.links.get(&id) else { return };
        let at = link.phone;
        if link.phone_session.is_none() && self.phones[at].link == Some(id) {
            self.phones[at].link = None;
        }
        if link.phone_session.is_none() && link.relay_session.is_none() {
            self.links.remove(&id);
        }
    }

    /// The phone's side of its link is gone; the relay has not heard of it yet.
    pub(super) fn hang_up(&mut self, at: usize) {
        if let Some(id) = self.phones[at].link.take()
            && let Some(link) = self.links.get_mut(&id)
        {
            link.phone_session = None;
        }
    }

    pub(super) fn phone_input(&mut self, id: u64, input: PhoneInput) -> Step {
        let Some(mut link) = self.links.remove(&id) else { return Ok(()) };
        let outcome = self.phone_input_on(id, &mut link, input);
        self.links.insert(id, link);
        self.close_if_over(id);
        outcome
    }

    pub(super) fn phone_input_on(&mut self, id: u64, link: &mut Link, input: PhoneInput) -> Step {
        let (at, now_ms) = (link.phone, self.now_ms());
        let Some(session) = link.phone_session.as_mut() else { return Ok(()) };
        let mut effects = session.handle(input, now_ms);
        while !effects.is_empty() {
            let mut answers = Vec::new();
            for effect in effects {
                match effect {
                    PhoneEffect::End(end) => {
                        link.phone_session = None;
                        self.note(|| format!("phone {at} ends link {id}: {end:?}"));
                        if let Some(why) = link.report.refused.first() {
                            self.note(|| format!("phone {at} gives up: {why}"));
                        }
                        if let Some(why) = link.report.postponed.first() {
                            self.note(|| format!("phone {at} keeps for later: {why}"));
                        }
                        return self.judge_end(link, end);
                    }
                    PhoneEffect::Send(message) => {
                        message.hash(&mut self.trace);
                        self.see_upload(&message)?;
                        link.up.push_back(message);
                    }
                    effect => {
                        let Some(engine) = self.phones[at].running() else { return Ok(()) };
                        match engine.carry_out(effect, &mut link.report) {
                            Ok(answer) => answers.extend(answer),
                            Err(why) => {
                                link.phone_session = None;
                                self.phones[at].link = None;
                                self.note(|| format!("phone {at} ends link {id}: {why}"));
                                return match why {
                                    // What has to be read for that waits for the PIN.
                                    Error::Locked => Ok(()),
                                    Error::RolledBack if self.locked == Some(at) => Ok(()),
                                    Error::RolledBack if self.story != Story::Calm => self.renew(at),
                                    Error::Store(_) => {
                                        self.disk_failed(at);
                                        Ok(())
                                    }
                                    // To a phone that it does not know it has not signed what year it is.
                                    Error::RelayMisbehaved(_) if link.tampered || link.lies => Ok(()),
                                    // What a welcome says of the phone's own logs is not signed (PROTOCOL.md §11).
                                    Error::RolledBack if link.tampered => Ok(()),
                                    why => Err(format!("phone {at} in a session: {why}")),
                                };
                            }
                        }
                    }
                }
            }
            self.phones[at].note_standing();
            self.judge_report(link)?;
            let Some(session) = link.phone_session.as_mut() else { return Ok(()) };
            effects = answers.into_iter().flat_map(|input| session.handle(input, now_ms)).collect();
        }
        Ok(())
    }

    /// Nothing readable leaves a phone, and what leaves is what authors wrote.
    pub(super) fn see_upload(&mut self, message: &[u8]) -> Step {
        if message.windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
            return Err("a text left a phone in the clear".to_owned());
        }
        for wire in pushed(message) {
            let entry = Received::parse(wire).map_err(|e| format!("a phone sent what is no entry: {e}"))?;
            self.model.authored.insert(entry.hash());
            if entry.header().compartment == CompartmentId::ROLL {
                self.model.roll.insert(entry.hash(), entry.wire().clone());
            }
        }
        Ok(())
    }

    pub(super) fn judge_end(&mut self, link: &Link, end: End) -> Step {
        let at = link.phone;
        if end == End::Done {
            self.phones[at].is_unsure = false;
        }
        match end {
            End::Misbehaved(Misbehaviour::AnotherRelay { .. }) => {
                // People have heard that the relay was lost.
                self.act(at, "trusts the new relay", Engine::trust_new_relay).map(drop)
            }
            End::Misbehaved(_) if link.tampered => Ok(()),
            End::Misbehaved(what) => Err(format!("phone {at} blames an honest relay: {what}")),
            End::Relay(Refused { refusal, .. })
                if !link.tampered
                    && [Refusal::MALFORMED, Refusal::SIGNATURE, Refusal::VERSION].contains(&refusal) =>
            {
                Err(format!("the relay blames an honest phone {at}: {refusal:?}"))
            }
            End::Silence if !link.tampered => Err(format!("phone {at} waits for a relay that is there")),
            End::Done | End::Budget | End::Stopped | End::Silence | End::Relay(_) => Ok(()),
        }
    }

    pub(super) fn judge_report(&self, link: &Link) -> Step {
        let at = link.phone;
        for warning in &link.report.received.warnings {
            match warning {
                Warning::Fork { .. } => return Err(format!("phone {at} saw a fork: {warning}")),
                Warning::NotGenuine(_) if !link.tampered && !link.lies => {
                    return Err(format!("phone {at} got what is not genuine: {warning}"));
                }
                Warning::RollDamaged { .. } => {
                    return Err(format!("phone {at} lost some of its roll: {warning}"));
                }
                Warning::NotGenuine(_) | Warning::Withheld { .. } | Warning::WithoutWords { .. } => {}
            }
        }
        match link.report.refused.first() {
            Some(why) if !link.tampered && !self.may_be_cut_off(at) && !self.is_hostile(at) => {
                Err(format!("the relay refuses for good what phone {at} wrote: {why}"))
            }
            // What may be set aside is looked at in the end.
            _ if link.report.received.set_aside > 0 && self.story == Story::Calm => {
                Err(format!("phone {at} set aside what an honest phone wrote"))
            }
            _ => Ok(()),
        }
    }
}
