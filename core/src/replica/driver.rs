//! Carries out what a session's machine asks for: the one loop that joins network, disk and clock.

use std::collections::VecDeque;
use std::time::Duration;

use rand_core::Rng as _;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::app::Replica;
use super::effects::SyncReport;
use super::engine::Engine;
use super::error::Error;
use super::joining::Joining;
use super::transport::Connection;
use crate::base::address;
use crate::sync::knock;
use crate::sync::session::{Budget, Effect, End, Input, Session};

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

/// How often a live link looks for releases whose time has come: nobody counts on the minute in which one leaves.
const RELEASE: Duration = Duration::from_secs(60);

/// Longest wait for a relay to take a message.
const SEND: Duration = Duration::from_secs(60);

/// Longest wait for a relay to answer a connection, in milliseconds.
const CONNECT_MS_MAX: u64 = 20_000;

/// First and longest wait before connecting again, in milliseconds.
const RECONNECT_MS: (u64, u64) = (500, 60_000);

pub(super) async fn sync_once(replica: &Replica, url: &str, budget: Budget) -> Result<SyncReport, Error> {
    let url = url.trim();
    let _one_at_a_time = replica.inner().link.lock().await;
    let mut report = SyncReport::default();
    let end = run_renewing(replica, url, false, budget, &mut report, &mut |_| {}).await?;
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
        let ended = run_renewing(&replica, &url, true, Budget::UNLIMITED, &mut report, &mut watch).await;
        drop(link);
        let mut spoilt = false;
        let why = match ended.map(Error::of_end) {
            Ok(None) => "the connection was closed".to_owned(),
            Ok(Some(why)) | Err(why) if !may_try_again(&why) => {
                state.send_replace(LinkState::Stopped(why.to_string()));
                return;
            }
            Ok(Some(why)) | Err(why) => {
                spoilt = matches!(why, Error::RelayMisbehaved(_));
                why.to_string()
            }
        };
        state.send_replace(LinkState::Waiting(why));
        wait_ms = if caught_up && !spoilt { RECONNECT_MS.0 } else { (wait_ms * 2).min(RECONNECT_MS.1) };
        // Not all at once: after a power cut the whole neighbourhood comes back in the same second.
        let jitter =
            replica.run(move |engine| Ok(u64::from(engine.rng.next_u32()) % wait_ms)).await.unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(wait_ms / 2 + jitter)).await;
    }
}

/// What somebody on the line has spoilt is still to be had.
fn may_try_again(why: &Error) -> bool {
    matches!(why, Error::Network(_) | Error::NoSuchName { .. } | Error::RelayRefused(_))
        || matches!(why, Error::RelayMisbehaved(what) if what.may_be_the_line())
}

/// Runs a session. If the store turns out to be older than its own words, it goes on as another device, in another
/// session.
async fn run_renewing(
    replica: &Replica,
    url: &str,
    live: bool,
    budget: Budget,
    report: &mut SyncReport,
    state: &mut (dyn FnMut(LinkState) + Send),
) -> Result<End, Error> {
    match run(replica, url, live, budget, report, state).await {
        Err(Error::RolledBack) => {
            report.renewed = Some(replica.run(Engine::renew_by_itself).await?);
            run(replica, url, live, budget, report, state).await
        }
        ended => ended,
    }
}

async fn run(
    replica: &Replica,
    url: &str,
    live: bool,
    budget: Budget,
    report: &mut SyncReport,
    state: &mut (dyn FnMut(LinkState) + Send),
) -> Result<End, Error> {
    // What is due leaves with this session.
    replica.run(Engine::release_due).await?;
    let plan = replica.run(move |engine| engine.plan(live, budget)).await?;
    let begun = Instant::now();
    let now_ms = move || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut connection = connect(replica, url, budget).await?;
    state(LinkState::CatchingUp);
    let mut session = Session::new(plan);
    // Time counts from before the connection, as the deadline does.
    session.handle(Input::Tick, 0);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut release = tokio::time::interval(RELEASE);
    release.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let deadline = budget.span_ms.map(|span_ms| begun + Duration::from_millis(span_ms));
    loop {
        let input = tokio::select! {
            heard = receive(&mut *connection) => match heard? {
                Some(bytes) => Input::Message(bytes),
                None => Input::Heard,
            },
            // What is handed over makes the outbox grow.
            _ = release.tick(), if live => {
                replica.run(Engine::release_due).await?;
                continue;
            }
            () = replica.inner().outbox_grew.notified() => Input::OutboxGrew,
            _ = tick.tick() => Input::Tick,
            () = sleep_until(deadline) => Input::Tick,
        };
        let mut effects = session.handle(input, now_ms());
        while !effects.is_empty() {
            let mut answers = Vec::new();
            for effect in effects {
                let end = if let Effect::End(end) = &effect { Some(end.clone()) } else { None };
                answers.extend(carry_out(replica, &mut *connection, url, effect, report, state).await?);
                if let Some(end) = end {
                    report.bytes = session.bytes();
                    return Ok(end);
                }
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
    url: &str,
    effect: Effect,
    report: &mut SyncReport,
    state: &mut (dyn FnMut(LinkState) + Send),
) -> Result<Option<Input>, Error> {
    if let Effect::Send(bytes) = effect {
        return send(connection, bytes).await.map(|()| None);
    }
    let up_to_date = effect == Effect::CaughtUp;
    // Not before: the address of what is no relay of this group is not to stand in invitations.
    let served_at = (up_to_date || matches!(effect, Effect::Kept { .. })).then(|| url.to_owned());
    let mut carried = std::mem::take(report);
    let (carried, answer) = replica
        .run(move |engine| {
            let answer = engine.carry_out(effect, &mut carried);
            if let (Some(url), Ok(_)) = (served_at, &answer) {
                engine.set_relay_url(&url)?;
            }
            Ok((carried, answer))
        })
        .await?;
    *report = carried;
    if up_to_date {
        state(LinkState::UpToDate);
    }
    answer
}

/// A newcomer's session: knocks, waits if it is to, and joins once it may.
pub(super) async fn knock(replica: &Replica, wait: bool, budget: Budget) -> Result<Joining, Error> {
    let _one_at_a_time = replica.inner().link.lock().await;
    if let Some(done @ Joining::Done(_)) = replica.run(Engine::joining).await? {
        return Ok(done);
    }
    let (url, plan) = replica.run(move |engine| engine.knock_plan(wait, budget)).await?;
    let begun = Instant::now();
    let now_ms = move || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut connection = connect(replica, &url, budget).await?;
    let mut session = knock::Session::new(plan);
    session.handle(knock::Input::Tick, 0);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let deadline = budget.span_ms.map(|span_ms| begun + Duration::from_millis(span_ms));
    loop {
        let input = tokio::select! {
            heard = receive(&mut *connection) => match heard? {
                Some(bytes) => knock::Input::Message(bytes),
                None => knock::Input::Heard,
            },
            _ = tick.tick() => knock::Input::Tick,
            () = sleep_until(deadline) => knock::Input::Tick,
        };
        let mut effects = VecDeque::from(session.handle(input, now_ms()));
        while let Some(effect) = effects.pop_front() {
            match effect {
                knock::Effect::Send(bytes) => send(&mut *connection, bytes).await?,
                knock::Effect::Prove { payload, relay } => {
                    let proven = replica.run(move |engine| engine.prove_and_knock(payload, relay)).await?;
                    effects.extend(session.handle(proven, now_ms()));
                }
                knock::Effect::Keep(word) => replica.run(move |engine| engine.keep_word(&word)).await?,
                knock::Effect::Reveal(sealed) => {
                    let knock = replica.run(move |engine| engine.reveal(&sealed)).await?;
                    effects.extend(session.handle(knock::Input::Revealed(knock), now_ms()));
                }
                knock::Effect::Outside(standing) => {
                    replica.run(move |engine| engine.keep_outside(standing)).await?;
                }
                knock::Effect::Join(relay, roll) => {
                    replica.run(move |engine| engine.join_invited(relay, roll)).await?;
                }
                knock::Effect::End(end) => {
                    return match Error::of_knock_end(end) {
                        Some(why) => Err(why),
                        None => replica.run(Engine::joining).await?.ok_or(Error::NotInvited),
                    };
                }
            }
        }
    }
}

async fn connect(replica: &Replica, url: &str, budget: Budget) -> Result<Box<dyn Connection>, Error> {
    let url = &address::checked(url)?;
    let patience = Duration::from_millis(budget.span_ms.unwrap_or(CONNECT_MS_MAX).min(CONNECT_MS_MAX));
    let transport = replica.transport();
    let connecting = tokio::time::timeout(patience, transport.connect(url));
    match connecting.await {
        Ok(connected) => connected.map_err(Error::not_connected),
        Err(_) => Err(Error::Network("no answer".to_owned())),
    }
}

async fn send(connection: &mut dyn Connection, bytes: Vec<u8>) -> Result<(), Error> {
    match tokio::time::timeout(SEND, connection.send(bytes)).await {
        Ok(sent) => sent.map_err(|e| Error::Network(e.to_string())),
        Err(_) => Err(Error::Network("it takes nothing any more".to_owned())),
    }
}

/// The next message; none for a mere sign of life.
async fn receive(connection: &mut dyn Connection) -> Result<Option<Vec<u8>>, Error> {
    match connection.receive().await {
        Ok(Some(bytes)) => Ok(Some(bytes).filter(|bytes| !bytes.is_empty())),
        Ok(None) => Err(Error::Network("the relay closed the connection".to_owned())),
        Err(why) => Err(Error::Network(why.to_string())),
    }
}
