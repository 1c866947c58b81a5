//! What a session's machine asks of the engine, carried out. The shell around it has the network.

use super::engine::Engine;
use super::error::Error;
use super::receive::Received;
use super::relay::EarlierLife;
use crate::base::DeviceId;
use crate::sync::frame::Refusal;
use crate::sync::session::{Effect, End, Input, Misbehaviour};
use crate::sync::transfer::Carried;

/// Reasons of postponed entries that a report holds.
const POSTPONED_MAX: usize = 512;

/// What one session did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Entries that the relay acknowledged.
    pub sent: usize,
    /// Entries that came in, by what became of them.
    pub received: Received,
    /// Whether everything there was has been sent and fetched; otherwise the budget ended it before.
    pub caught_up: bool,
    /// Entries that the relay did not take for now, and its reason: the first 512. They stay and are sent again.
    pub postponed: Vec<String>,
    /// Entries that the relay will never take, and its reason. They stay on this device.
    pub refused: Vec<String>,
    /// Bytes carried, both ways.
    pub bytes: u64,
    /// The store was older than its own words, as after a restored backup: this installation goes on as this device.
    pub renewed: Option<DeviceId>,
    /// The relay says that it has lost its store since the last session: the life of it that has ended. What it had
    /// acknowledged counts as not sent, and is offered again. An operator who has lost nothing does not say so.
    pub store_lost: Option<EarlierLife>,
}

impl Engine {
    /// Carries out one effect of a session and notes in `report` what came of it. Some are answered by an input.
    ///
    /// [`Effect::Send`] is the shell's, and does nothing here. So is [`Effect::End`], but that the relay's word that this
    /// device was removed is kept.
    ///
    /// # Errors
    /// The session has to end with any: [`Error::RolledBack`]; [`Error::RelayMisbehaved`] if the relay passed on what
    /// is not genuine; errors of the store.
    pub fn carry_out(&mut self, effect: Effect, report: &mut SyncReport) -> Result<Option<Input>, Error> {
        match effect {
            Effect::End(End::Relay(why)) if why.refusal == Refusal::REMOVED => self.told_removed()?,
            Effect::Send(_) | Effect::End(_) => {}
            Effect::Sign(payload) => return Ok(Some(Input::Signed(self.sign_session(payload)))),
            Effect::NewLife(relay, incarnation) => {
                report.store_lost = self.new_relay_life(relay, incarnation)?;
            }
            Effect::CheckOwn(seen) => self.check_own(seen)?,
            Effect::RelayTime(at_ms) => self.heard_time(at_ms)?,
            Effect::Checkpoint(checkpoint) => self.keep_checkpoint(checkpoint)?,
            Effect::Offer { heads, whole } => {
                let lacking = self.offer(&heads, whole)?;
                if let Some(lost) = report.store_lost.as_mut().filter(|_| whole) {
                    lost.lacking.get_or_insert(lacking);
                }
            }
            Effect::LoadOutbox { after } => return Ok(Some(Input::Outbox(self.outbox(after)?))),
            Effect::Receive(entries) => {
                let covered = entries.covered();
                let received = self.receive(entries.entries, covered)?;
                let spoilt = received.warnings.iter().find(|_| received.is_spoilt()).map(ToString::to_string);
                report.received.add(received);
                // Going on would move the cursor past what is still to be had.
                if let Some(why) = spoilt {
                    return Err(Error::RelayMisbehaved(Misbehaviour::NotGenuine(why)));
                }
            }
            Effect::Kept { keys, receipt } => {
                self.mark_kept(&keys, &receipt)?;
                report.sent += keys.len();
            }
            Effect::Unsigned(keys) => self.mark_unsigned(&keys)?,
            // Another copy of this store wrote something else at that place.
            Effect::Refused { key, why } if why.refusal == Refusal::FORK && self.is_own(key)? => {
                return Err(Error::RolledBack);
            }
            Effect::Refused { key, why } => {
                self.mark_refused(key, &why)?;
                report.refused.push(why.reason);
            }
            Effect::Postponed { why, .. } => {
                // A live session tries again and again.
                if report.postponed.len() < POSTPONED_MAX {
                    report.postponed.push(why.reason);
                }
            }
            // Invitations and knocks are sealed: a locked phone leaves them at the relay.
            Effect::LoadMail if self.is_locked() => return Ok(Some(Input::Mail(Vec::new()))),
            Effect::Knocked(_) if self.is_locked() => {}
            Effect::LoadMail => return Ok(Some(Input::Mail(self.mail()?))),
            Effect::Knocked(knocks) => self.keep_knocks(knocks)?,
            Effect::Answered(mailbox) => self.answered(mailbox)?,
            Effect::Countersigned(mailbox) => self.countersigned(mailbox)?,
            Effect::LoadMedia { up_after, down_after } => {
                return Ok(Some(Input::Media(self.chunks_to_carry(up_after, down_after)?)));
            }
            Effect::LoadChunk(Carried { key, chunk }) => {
                return Ok(Some(Input::Chunk(chunk, self.chunk_to_put(key, chunk)?)));
            }
            Effect::ChunksKept(keys) => self.mark_chunks_kept(&keys)?,
            Effect::ChunkRefused(why) => {
                if report.postponed.len() < POSTPONED_MAX {
                    report.postponed.push(why.reason);
                }
            }
            Effect::KeepChunk { key, chunk, ciphertext } => self.keep_chunk(key, chunk, &ciphertext)?,
            Effect::CaughtUp => {
                report.caught_up = true;
                self.relay_has_served()?;
                report.received.warnings.extend(self.retry_withheld()?);
                report.received.warnings.extend(self.damage());
                let seen = std::mem::take(&mut self.own_seen);
                self.check_own(seen)?;
                if !self.is_locked() {
                    self.read_unread()?;
                    self.mend_keys()?;
                    self.bring_along()?;
                    self.sweep()?;
                }
                self.save_cursors()?;
                return Ok(Some(Input::Settled));
            }
        }
        Ok(None)
    }
}
