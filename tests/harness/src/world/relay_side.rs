//! What the relay does with what comes, and what it acknowledges.

use super::*;

impl World {
    pub(super) fn relay_input(&mut self, id: u64, input: RelayInput) -> Step {
        let Some(mut link) = self.links.remove(&id) else { return Ok(()) };
        let outcome = self.relay_input_on(id, &mut link, input);
        self.links.insert(id, link);
        self.close_if_over(id);
        outcome
    }

    pub(super) fn relay_input_on(&mut self, id: u64, link: &mut Link, input: RelayInput) -> Step {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now_ms = self.now_ms();
            let Some(session) = link.relay_session.as_mut() else { return Ok(()) };
            for effect in session.handle(input, now_ms) {
                let Some(relay) = self.relay.running() else { return Ok(()) };
                match effect {
                    RelayEffect::Send(message) => {
                        let message = if link.lies { self.keep_bodies_back(message) } else { message };
                        message.hash(&mut self.trace);
                        self.see_acknowledgement(&message)?;
                        self.see_handed_out(link.device, &message)?;
                        link.down.push_back(message);
                    }
                    RelayEffect::Ask(query) => {
                        let lies = link.lies && matches!(query, Query::Open { .. });
                        let reply = relay.answer(query, if lies { now_ms + YEARS_MS } else { now_ms });
                        if let Reply::Refused(why) = &reply
                            && why.refusal == Refusal::MALFORMED
                            && !link.tampered
                        {
                            return Err(format!("the relay refuses an honest question: {}", why.reason));
                        }
                        inputs.push_back(RelayInput::Reply(reply));
                    }
                    RelayEffect::Commit(push) => self.relay.pushes.push((id, push)),
                    RelayEffect::Follow(_) => link.follows = true,
                    RelayEffect::Close(last_words) => {
                        link.down.extend(last_words);
                        link.relay_session = None;
                        self.note(|| format!("the relay closes link {id}"));
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// What the relay acknowledges is on its disk by then.
    pub(super) fn see_acknowledgement(&mut self, message: &[u8]) -> Step {
        let Ok(Frame::Ack(ack)) = Frame::from_bytes(message) else { return Ok(()) };
        let (Some(receipt), Some(group), Some(relay)) = (ack.receipt, self.group, self.relay.running())
        else {
            return Ok(());
        };
        let receipt = SignedReceipt::verify(&receipt, relay.id(), relay.incarnation(), group)
            .map_err(|e| format!("the relay gave a receipt that is none: {e}"))?;
        let named = &receipt.receipt().entries;
        self.tally.acknowledged += named.len() as u64;
        self.model.acknowledged.extend(named);
        self.check_relay()
    }

    pub(super) fn commit(&mut self) -> Step {
        let waiting = self.relay.pushes.len();
        if waiting == 0 {
            return Ok(());
        }
        let taken = 1 + self.chance.index(waiting);
        self.commit_first(taken)
    }

    pub(super) fn commit_first(&mut self, taken: usize) -> Step {
        let now_ms = self.now_ms();
        let pushes: Vec<_> = self.relay.pushes.drain(..taken).collect();
        let Some(relay) = self.relay.running() else { return Ok(()) };
        let (links, pushes): (Vec<u64>, Vec<_>) = pushes.into_iter().unzip();
        let committed = relay.commit(pushes, now_ms);
        let failed = relay.has_failed();
        self.note(|| format!("the relay commits {taken} pushes, {} entries", committed.entries));
        self.hear()?;
        for (id, answer) in links.into_iter().zip(committed.answers) {
            self.answer(id, answer)?;
        }
        if !committed.grown.is_empty() {
            let following: Vec<u64> =
                self.links.iter().filter(|(_, l)| l.follows).map(|(id, _)| *id).collect();
            for id in following {
                self.relay_input(id, RelayInput::Grown)?;
            }
        }
        if failed {
            self.tally.disk_faults += 1;
            self.restart_relay(false)?;
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, id: u64, answer: Answer) -> Step {
        self.relay_input(id, RelayInput::Committed(answer))
    }

    /// Starts the relay again; every connection is cut by it.
    pub(super) fn restart_relay(&mut self, renew: bool) -> Step {
        self.relay.crash();
        let fault = self.draw_disk_fault();
        self.relay.start(&mut self.chance, fault, renew);
        if self.relay.running().is_none() {
            self.relay.start(&mut self.chance, None, renew);
        }
        self.note(|| "the relay starts again".to_owned());
        self.hear()?;
        let open: Vec<u64> = self.links.keys().copied().collect();
        for id in open {
            if let Some(link) = self.links.get_mut(&id) {
                link.relay_session = None;
                // Some of what it sent may still arrive.
                let kept = self.chance.index(link.down.len() + 1);
                link.down.truncate(kept);
            }
            self.close_if_over(id);
        }
        self.check_relay()
    }
}
