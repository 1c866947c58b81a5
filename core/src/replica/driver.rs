//! Carries out what a session's machine asks for: the one loop that joins network, disk and clock.

use std::time::Duration;

use rand_core::Rng as _;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::app::Replica;
use super::error::Error;
use super::receive::{Received, Warning};
use super::transport::Connection;
use crate::sync::session::{Budget, Effect, End, Input, Misbehaviour, Session};

/// What one session did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Entries that the relay acknowledged.
    pub sent: usize,
    /// Entries that came in, by what became of them.
    pub received: Received,
    /// Whether everything there was has been sent and fetched; otherwise the budget ended it before.
    pub caught_up: bool,
    /// Entries that the relay did not take for now, and its reason. They stay and are sent again.
    pub postponed: Vec<String>,
    /// Entries that the relay will never take, and its reason. They stay on this device.
    pub refused: Vec<String>,
    /// Bytes carried, both ways.
    pub bytes: u64,
}

/// How a live link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Trying to reach the relay.
    Connecting,
    /// Connected, and still fetching or sending.
    CatchingUp,
    /// Connected, and up to date.
    UpToDate,
    /// Not connected: the reason, for people. It tries again by itself.
    Waiting(String),
    /// It will not try again: the reason, for people.
    Stopped(String),
}

/// How often the machine is told that time passes.
const TICK: Duration = Duration::from_secs(5);

/// Longest wait for a relay to take a message.
const SEND: Duration = Duration::from_secs(60);

/// Longest wait for a relay to answer a connection, in milliseconds.
const CONNECT_MS_MAX: u64 = 20_000;

/// First and longest wait before connecting again, in milliseconds.
const RECONNECT_MS: (u64, u64) = (500, 60_000);

pub(super) async fn sync_once(replica: &Replica, url: &str, budget: Budget) -> Result<SyncReport, Error> {
    let _one_at_a_time = replica.inner().link.lock().await;
    let mut report = SyncReport::default();
    let end = run(replica, url, false, budget, &mut report, &mut |_| {}).await?;
    match Error::of_end(end) {
        None => Ok(report),
        Some(why) => Err(why),
    }
}

pub(super) async fn stay_live(replica: Replica, url: String, state: watch::Sender<LinkState>) {
    let mut wait_ms = RECONNECT_MS.0;
    loop {
        let link = replica.inner().link.lock().await;
        state.send_replace(LinkState::Connecting);
        let mut report = SyncReport::default();
        let mut caught_up = false;
        let mut watch = |now: LinkState| {
            caught_up |= now == LinkState::UpToDate;
            state.send_replace(now);
        };
        let ended = run(&replica, &url, true, Budget::UNLIMITED, &mut report, &mut watch).await;
        drop(link);
        let why = match ended.map(Error::of_end) {
            Ok(None) => "the connection was closed".to_owned(),
            Ok(Some(why)) | Err(why) if !may_try_again(&why) => {
                state.send_replace(LinkState::Stopped(why.to_string()));
                return;
            }
            Ok(Some(why)) | Err(why) => why.to_string(),
        };
        state.send_replace(LinkState::Waiting(why));
        wait_ms = if caught_up { RECONNECT_MS.0 } else { (wait_ms * 2).min(RECONNECT_MS.1) };
        // Not all at once: after a power cut the whole neighbourhood comes back in the same second.
        let jitter =
            replica.run(move |engine| Ok(u64::from(engine.rng.next_u32()) % wait_ms)).await.unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(wait_ms / 2 + jitter)).await;
    }
}

fn may_try_again(why: &Error) -> bool {
    matches!(why, Error::Network(_) | Error::RelayRefused(_))
}

async fn run(
    replica: &Replica,
    url: &str,
    live: bool,
    budget: Budget,
    report: &mut SyncReport,
    state: &mut (dyn FnMut(LinkState) + Send),
) -> Result<End, Error> {
    let address = url.to_owned();
    let plan = replica
        .run(move |engine| {
            engine.set_relay_url(&address)?;
            engine.plan(live, budget)
        })
        .await?;
    let begun = Instant::now();
    let now_ms = move || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let patience = Duration::from_millis(budget.span_ms.unwrap_or(CONNECT_MS_MAX).min(CONNECT_MS_MAX));
    let transport = replica.transport();
    let connecting = tokio::time::timeout(patience, transport.connect(url));
    let mut connection = match connecting.await {
        Ok(connected) => connected.map_err(|e| Error::Network(e.to_string()))?,
        Err(_) => return Err(Error::Network("no answer".to_owned())),
    };
    state(LinkState::CatchingUp);
    let mut session = Session::new(plan);
    // Time counts from before the connection, as the deadline does.
    session.handle(Input::Tick, 0);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let deadline = budget.span_ms.map(|span_ms| begun + Duration::from_millis(span_ms));
    loop {
        let input = tokio::select! {
            message = connection.receive() => match message {
                Ok(Some(bytes)) if bytes.is_empty() => Input::Heard,
                Ok(Some(bytes)) => Input::Message(bytes),
                Ok(None) => return Err(Error::Network("the relay closed the connection".to_owned())),
                Err(why) => return Err(Error::Network(why.to_string())),
            },
            () = replica.inner().outbox_grew.notified() => Input::OutboxGrew,
            _ = tick.tick() => Input::Tick,
            () = sleep_until(deadline) => Input::Tick,
        };
        let mut effects = session.handle(input, now_ms());
        while !effects.is_empty() {
            let mut answers = Vec::new();
            for effect in effects {
                if let Effect::End(end) = effect {
                    report.bytes = session.bytes();
                    return Ok(end);
                }
                answers.extend(carry_out(replica, &mut *connection, effect, report, state).await?);
            }
            effects = answers.into_iter().flat_map(|input| session.handle(input, now_ms())).collect();
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Carries out one effect; some are answered by an input.
async fn carry_out(
    replica: &Replica,
    connection: &mut dyn Connection,
    effect: Effect,
    report: &mut SyncReport,
    state: &mut (dyn FnMut(LinkState) + Send),
) -> Result<Option<Input>, Error> {
    match effect {
        Effect::Send(bytes) => match tokio::time::timeout(SEND, connection.send(bytes)).await {
            Ok(sent) => sent.map_err(|e| Error::Network(e.to_string()))?,
            Err(_) => return Err(Error::Network("it takes nothing any more".to_owned())),
        },
        Effect::Sign(payload) => {
            let signed = replica.run(move |engine| Ok(engine.sign_session(payload))).await?;
            return Ok(Some(Input::Signed(signed)));
        }
        Effect::NewLife(relay, incarnation) => {
            replica.run(move |engine| engine.new_relay_life(relay, incarnation)).await?;
        }
        Effect::CheckOwn(seen) => replica.run(move |engine| engine.check_own(&seen)).await?,
        Effect::Checkpoint(checkpoint) => {
            replica.run(move |engine| engine.keep_checkpoint(checkpoint)).await?;
        }
        Effect::Offer(heads) => replica.run(move |engine| engine.offer(&heads)).await?,
        Effect::LoadOutbox { after } => {
            let outgoing = replica.run(move |engine| engine.outbox(after)).await?;
            return Ok(Some(Input::Outbox(outgoing)));
        }
        Effect::Receive(entries) => {
            let cursor = (entries.compartment, entries.upto);
            let received = replica.run(move |engine| engine.receive(entries.entries, Some(cursor))).await?;
            let spoilt = received.warnings.iter().find(|_| received.is_spoilt()).map(ToString::to_string);
            report.received.add(received);
            // Going on would move the cursor past what is still to be had.
            if let Some(why) = spoilt {
                return Err(Error::RelayMisbehaved(Misbehaviour::NotGenuine(why)));
            }
        }
        Effect::Kept { keys, receipt } => {
            report.sent += keys.len();
            replica.run(move |engine| engine.mark_kept(&keys, &receipt)).await?;
        }
        Effect::Refused { key, why } => {
            report.refused.push(why.reason.clone());
            replica.run(move |engine| engine.mark_refused(key, &why)).await?;
        }
        Effect::Postponed { why, .. } => report.postponed.push(why.reason),
        Effect::CaughtUp => {
            report.caught_up = true;
            let withheld: Option<Warning> = replica.run(|engine| engine.withheld()).await?;
            report.received.warnings.extend(withheld);
            state(LinkState::UpToDate);
        }
        Effect::End(_) => {}
    }
    Ok(None)
}
