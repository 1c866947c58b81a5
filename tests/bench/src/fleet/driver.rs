//! A session driven by hand: for uploads that fetch nothing, and for phones that are only connected.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use lamppost_core::replica::{Connection, Engine, SyncReport};
use lamppost_core::sync::session::{Effect, Input, Plan, Session};

use super::Failure;

/// Runs a session until everything is sent and fetched. The connection stays open.
pub async fn catch_up(
    engine: &Mutex<Engine>,
    connection: &mut dyn Connection,
    plan: Plan,
) -> Result<(), Failure> {
    let mut session = Session::new(plan);
    let begun = Instant::now();
    let mut inputs = VecDeque::from([Input::Tick]);
    loop {
        while let Some(input) = inputs.pop_front() {
            let now_ms = u64::try_from(begun.elapsed().as_millis())?;
            for effect in session.handle(input, now_ms) {
                match effect {
                    Effect::Send(bytes) => connection.send(bytes).await?,
                    Effect::CaughtUp => return Ok(()),
                    Effect::Postponed { why, .. } | Effect::Refused { why, .. } => {
                        return Err(why.reason.into());
                    }
                    Effect::End(end) => return Err(format!("the session ended: {end:?}").into()),
                    other => inputs.extend(carry_out(&mut lock(engine), other)?),
                }
            }
        }
        let message = connection.receive().await?.ok_or("the relay closed the connection")?;
        inputs.push_back(if message.is_empty() { Input::Heard } else { Input::Message(message) });
    }
}

fn carry_out(engine: &mut Engine, effect: Effect) -> Result<Option<Input>, Failure> {
    match effect {
        Effect::Sign(payload) => return Ok(Some(Input::Signed(engine.sign_session(payload)))),
        Effect::LoadOutbox { after } => return Ok(Some(Input::Outbox(engine.outbox(after)?))),
        Effect::NewLife(relay, incarnation) => {
            engine.new_relay_life(relay, incarnation)?;
        }
        Effect::CheckOwn(seen) => engine.check_own(seen)?,
        Effect::RelayTime(at_ms) => engine.heard_time(at_ms)?,
        Effect::Checkpoint(checkpoint) => engine.keep_checkpoint(checkpoint)?,
        Effect::Offer { heads, whole } => _ = engine.offer(&heads, whole)?,
        Effect::Kept { keys, receipt } => engine.mark_kept(&keys, &receipt)?,
        Effect::Unsigned(keys) => engine.mark_unsigned(&keys)?,
        Effect::Receive(entries) => {
            let covered = entries.covered();
            engine.receive(entries.entries, covered)?;
        }
        Effect::LoadMail => return Ok(Some(Input::Mail(engine.mail()?))),
        Effect::Knocked(knocks) => engine.keep_knocks(knocks)?,
        Effect::Answered(mailbox) => engine.answered(mailbox)?,
        Effect::Countersigned(mailbox) => engine.countersigned(mailbox)?,
        other @ (Effect::LoadMedia { .. }
        | Effect::LoadChunk(_)
        | Effect::ChunksKept(_)
        | Effect::ChunkRefused(_)
        | Effect::KeepChunk { .. }) => return Ok(engine.carry_out(other, &mut SyncReport::default())?),
        Effect::Send(_)
        | Effect::CaughtUp
        | Effect::Postponed { .. }
        | Effect::Refused { .. }
        | Effect::End(_) => unreachable!("the caller carries these out"),
    }
    Ok(None)
}

pub fn lock(engine: &Mutex<Engine>) -> MutexGuard<'_, Engine> {
    engine.lock().expect("locking works because a panic ends the process")
}
