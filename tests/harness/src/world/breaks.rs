//! What breaks, is lost, or is altered.

use super::*;

impl World {
    pub(super) fn tick(&mut self) -> Step {
        if self.chance.one_in(4) {
            let ms = self.chance.below(30_000);
            self.advance_ms(ms);
        }
        let open: Vec<u64> = self.links.keys().copied().collect();
        for id in open {
            // A live link that says nothing is kept alive by pings, as the shells send them.
            self.phone_input(id, PhoneInput::Heard)?;
            self.relay_input(id, RelayInput::Heard)?;
            self.phone_input(id, PhoneInput::Tick)?;
            self.relay_input(id, RelayInput::Tick)?;
        }
        Ok(())
    }

    pub(super) fn something_breaks(&mut self) -> Step {
        let at = self.chance.index(self.phones.len());
        match self.chance.below(8) {
            0..2 if self.chance.one_in(self.weather.crash) => {
                self.tally.phone_crashes += 1;
                self.hang_up(at);
                self.phones[at].crash();
                self.note(|| format!("phone {at} loses power"));
                if self.switch_on(at)?.is_some() && self.phones[at].joined {
                    self.check_phone(at)?;
                }
                Ok(())
            }
            2 if self.chance.one_in(self.weather.crash) => {
                self.tally.relay_crashes += 1;
                self.restart_relay(false)
            }
            3 if self.chance.one_in(self.weather.cut) => self.cut_some_link(),
            4..6 if self.chance.one_in(self.weather.tamper) => self.tamper(),
            6 if self.chance.one_in(self.weather.partition) => {
                self.phones[at].online = !self.phones[at].online;
                if !self.phones[at].online {
                    self.hang_up(at);
                }
                Ok(())
            }
            7 if self.chance.one_in(self.weather.clock) => {
                // Minutes, days, or decades, either way.
                let spans_ms = [60_000, 86_400_000, 1_000_000_000_000];
                let span_ms = spans_ms[self.chance.index(spans_ms.len())];
                let off_ms = self.chance.below(2 * span_ms) as i64 - span_ms as i64;
                self.phones[at].set_clock_off_ms(off_ms);
                Ok(())
            }
            _ if self.chance.one_in(self.weather.relay_loss) => self.lose_relay(),
            _ => Ok(()),
        }
    }

    pub(super) fn cut_some_link(&mut self) -> Step {
        let open: Vec<u64> = self.links.keys().copied().collect();
        let Some(id) = self.chance.pick(&open).copied() else { return Ok(()) };
        self.tally.cuts += 1;
        self.note(|| format!("link {id} is cut"));
        if let Some(link) = self.links.get_mut(&id) {
            link.phone_session = None;
            link.relay_session = None;
        }
        self.close_if_over(id);
        Ok(())
    }

    pub(super) fn tamper(&mut self) -> Step {
        let open: Vec<u64> = self.links.keys().copied().collect();
        let Some(id) = self.chance.pick(&open).copied() else { return Ok(()) };
        let tampering = Tampering::ALL[self.chance.index(Tampering::ALL.len())];
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let queue = if self.chance.one_in(2) { &mut link.up } else { &mut link.down };
        if tampering.apply(queue, &mut self.chance) {
            link.tampered = true;
            self.tally.tampered += 1;
            self.note(|| format!("link {id}: {tampering:?}"));
        }
        Ok(())
    }

    pub(super) fn lose_relay(&mut self) -> Step {
        self.tally.relay_losses += 1;
        let restored = match self.chance.below(3) {
            0 => {
                self.relay.back_up();
                self.note(|| "the relay's operator makes a backup".to_owned());
                return Ok(());
            }
            1 => self.relay.restore(),
            _ => false,
        };
        if !restored {
            self.relay.lose_disk();
        }
        self.note(|| format!("the relay loses its disk; restored: {restored}"));
        // What it promised in its old life, it promised for nothing: phones have to bring it back.
        let group = self.group.expect("there is one because it was founded first");
        let durable = self.relay.durable(group)?;
        self.model.acknowledged.retain(|hash| durable.contains(hash));
        self.restart_relay(restored)
    }
}
