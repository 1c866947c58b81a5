//! What the client processes do, one task each.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lamppost_core::base::{CompartmentId, RoleId};
use lamppost_core::entry::{Kind as EntryKind, wire::Received};
use lamppost_core::replica::{Budget, Engine, FeedEvent, Filter, LinkState, Replica, Transport as _};
use lamppost_core::watch::{Kind, roles};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::driver::{catch_up, lock};
use super::floors;
use super::measure::{Counted, Spread};
use super::process::{Gate, done};
use super::town::{self, FOUNDER, JOINER, phone};
use super::{EDITS, Failure, IDLE_SESSIONS, LISTED_FIRST};

/// What a client process is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Founds the group, admits everybody, and files every report offline.
    Record { root: PathBuf, input: PathBuf, rows: usize, devices: usize },
    /// Brings every outbox to the relay.
    Upload { root: PathBuf, url: String, devices: usize },
    /// An empty phone fetches everything.
    Join { root: PathBuf, url: String },
    /// Single edits, from one live phone to another.
    Live { root: PathBuf, url: String },
    /// Opens a phone that has everything, and lists it so many times.
    Open { root: PathBuf, lists: usize },
    /// Many phones that are only connected.
    Idle { root: PathBuf, url: String },
    /// A floor: no Lamppost in it.
    Floor(floors::Floor),
}

/// What was filed, for those who come later.
#[derive(Debug, Serialize, Deserialize)]
pub struct Filed {
    /// Checksum over the descriptions of all observations.
    pub descriptions: String,
    /// Checksum over what lists show of all sealed parts.
    pub sealed: String,
    /// Bytes of every entry that is to reach the relay, each once.
    pub entry_bytes: Vec<u32>,
    /// Bytes of the entries that create observations.
    pub create_bytes: Vec<u32>,
    /// Entries in all outboxes: every phone carries the roll.
    pub outboxes: usize,
}

pub fn run(task: Task) -> Result<(), Failure> {
    match task {
        Task::Record { root, input, rows, devices } => record(&root, &input, rows, devices),
        Task::Upload { root, url, devices } => upload(&root, &url, devices),
        Task::Join { root, url } => one_thread()?.block_on(join(&root, &url)),
        Task::Live { root, url } => Runtime::new()?.block_on(live(&root, &url)),
        Task::Open { root, lists } => one_thread()?.block_on(open(&root, lists)),
        Task::Idle { root, url } => one_thread()?.block_on(idle(&root, &url)),
        Task::Floor(floor) => floors::run(floor),
    }
}

/// One thread for the network and one for the engine, of which one works at a time.
fn one_thread() -> Result<Runtime, Failure> {
    Ok(Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?)
}

fn record(root: &Path, input: &Path, rows: usize, devices: usize) -> Result<(), Failure> {
    let reports = town::reports(input, rows)?;
    let descriptions = reports.iter().map(|r| town::drafts(r.clone()).1.observation.what_happened).collect();
    let sealed = reports.iter().map(town::sealed_text).collect();
    let mut founder = town::engine(root, FOUNDER)?;
    let group = founder.found()?.group;
    let mut phones = (0..devices).map(|n| town::engine(root, &phone(n))).collect::<Result<Vec<_>, _>>()?;
    let mut joiner = town::engine(root, JOINER)?;
    let mut admission = founder.admit(&joiner.request(group)?, RoleId(roles::ROLE_COORDINATOR))?;
    for phone in &phones {
        admission = founder.admit(&phone.request(group)?, RoleId(roles::ROLE_VOLUNTEER))?;
    }
    joiner.join(&admission)?;
    for phone in &mut phones {
        phone.join(&admission)?;
    }

    let watch = Gate.pass()?;
    std::thread::scope(|scope| {
        let work: Vec<_> = phones
            .iter_mut()
            .enumerate()
            .map(|(number, phone)| {
                let mine: Vec<_> = reports.iter().skip(number).step_by(devices).cloned().collect();
                scope.spawn(move || -> Result<(), Failure> {
                    for report in mine {
                        let (first, second) = town::drafts(report);
                        let id = phone.record(first)?;
                        phone.amend(id, second)?;
                    }
                    Ok(())
                })
            })
            .collect();
        work.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    let took = watch.stop();

    let mut filed = Filed {
        descriptions: town::checksum(descriptions),
        sealed: town::checksum(sealed),
        entry_bytes: Vec::new(),
        create_bytes: Vec::new(),
        outboxes: 0,
    };
    // The roll once, from whoever wrote it; the joiner brings nothing of its own.
    count(&mut founder, true, &mut filed)?;
    for phone in &mut phones {
        count(phone, false, &mut filed)?;
    }
    done(took, (0, 0), &filed)
}

/// Adds what waits in a phone's outbox.
fn count(engine: &mut Engine, with_roll: bool, filed: &mut Filed) -> Result<(), Failure> {
    let (mut after, mut observations) = (0, 0);
    loop {
        let outgoing = engine.outbox(after)?;
        let Some(last) = outgoing.last() else { return Ok(()) };
        after = last.key;
        filed.outboxes += outgoing.len();
        for one in outgoing {
            let entry = Received::parse(one.wire)?;
            let (header, bytes) = (entry.header(), u32::try_from(entry.to_bytes().len())?);
            if with_roll || header.compartment != CompartmentId::ROLL {
                filed.entry_bytes.push(bytes);
            }
            if header.kind == EntryKind::SEALED && header.compartment.0 == roles::COMPARTMENT_GROUP {
                // Each is created and then amended, in this order.
                if observations % 2 == 0 {
                    filed.create_bytes.push(bytes);
                }
                observations += 1;
            }
        }
    }
}

/// Fetches nothing but the roll: what others wrote is what the joiner is measured by.
fn upload(root: &Path, url: &str, devices: usize) -> Result<(), Failure> {
    let network = Counted::default();
    let send = |engine: &Mutex<Engine>| -> Result<(), Failure> {
        one_thread()?.block_on(async {
            lock(engine).set_relay_url(url)?;
            let mut plan = lock(engine).plan(false, Budget::UNLIMITED)?;
            plan.cursors.retain(|compartment, _| *compartment == CompartmentId::ROLL);
            let mut connection = network.connect(url).await?;
            catch_up(engine, &mut *connection, plan).await?;
            match lock(engine).outbox_len()? {
                0 => Ok(()),
                left => Err(format!("{left} entries were not acknowledged").into()),
            }
        })
    };
    let founder = Mutex::new(town::engine(root, FOUNDER)?);
    let phones: Result<Vec<_>, Failure> =
        (0..devices).map(|number| Ok(Mutex::new(town::engine(root, &phone(number))?))).collect();
    let phones = phones?;

    let watch = Gate.pass()?;
    send(&founder)?;
    std::thread::scope(|scope| {
        let work: Vec<_> = phones.iter().map(|phone| scope.spawn(|| send(phone))).collect();
        work.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    done(watch.stop(), network.wire.bytes(), &json!({}))
}

async fn join(root: &Path, url: &str) -> Result<(), Failure> {
    let network = Counted::default();
    let replica = town::replica(root, JOINER, Arc::new(network.clone())).await?;

    let watch = Gate.pass()?;
    let first = async {
        loop {
            let filter =
                Filter { kind: Some(Kind::OBSERVATION), rows_max: Some(LISTED_FIRST), ..Filter::default() };
            if replica.list(filter).await?.len() == LISTED_FIRST {
                return Ok::<f64, Failure>(watch.wall_ms());
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    let all = async {
        let report = replica.sync_once(url, Budget::UNLIMITED).await?;
        Ok::<_, Failure>((report, watch.wall_ms()))
    };
    let (first_ms, (report, synced_ms)) = tokio::try_join!(first, all)?;
    let rows = replica.list(Filter { all_kinds: true, ..Filter::default() }).await?;
    let took = watch.stop();

    let texts = |kind: Kind| {
        rows.iter().filter(|(row, _)| row.kind == kind).map(|(row, _)| row.text.clone()).collect()
    };
    let details = json!({
        "first_ms": first_ms,
        "synced_ms": synced_ms,
        "rows": rows.len(),
        "set_aside": report.received.set_aside,
        "warnings": report.received.warnings.len(),
        "descriptions": town::checksum(texts(Kind::OBSERVATION)),
        "sealed": town::checksum(texts(Kind::SEALED)),
    });
    done(took, network.wire.bytes(), &details)
}

async fn live(root: &Path, url: &str) -> Result<(), Failure> {
    let networks = (Counted::default(), Counted::default());
    let a = town::replica(root, &phone(0), Arc::new(networks.0.clone())).await?;
    let b = town::replica(root, JOINER, Arc::new(networks.1.clone())).await?;
    let wire = || {
        let (a, b) = (networks.0.wire.bytes(), networks.1.wire.bytes());
        (a.0 + b.0, a.1 + b.1)
    };
    let mut links = [a.go_live(url), b.go_live(url)];
    for link in &mut links {
        while link.state() != LinkState::UpToDate {
            if let LinkState::Waiting(why) | LinkState::Stopped(why) = link.changed().await? {
                return Err(why.into());
            }
        }
    }
    let own = Filter {
        author: Some(a.info().await?.member),
        kind: Some(Kind::OBSERVATION),
        rows_max: Some(20),
        ..Filter::default()
    };
    let own = a.list(own).await?;
    let feed = b.feed();
    while !matches!(feed.next().await?, FeedEvent::Reset(_)) {}

    let watch = Gate.pass()?;
    let before = wire();
    let (mut seen_ms, mut carried_ms) = (Vec::new(), Vec::new());
    for edit in 0..EDITS {
        let id = own[edit % own.len()].0.id;
        let mut draft = a.draft_of(id).await?;
        draft.sealed = None;
        draft.observation.what_happened.push_str(&format!(" Edit {edit}."));
        let text = draft.observation.what_happened.clone();
        let begun_ms = watch.wall_ms();
        a.amend(id, draft).await?;
        let saved_ms = watch.wall_ms();
        let is_it = |event: &FeedEvent| match event {
            FeedEvent::Reset(rows) | FeedEvent::Changed(rows) => rows.iter().any(|(row, _)| row.text == text),
            FeedEvent::Gone(_) => false,
        };
        while !is_it(&feed.next().await?) {}
        seen_ms.push(watch.wall_ms() - begun_ms);
        carried_ms.push(watch.wall_ms() - saved_ms);
        settle(&a).await?;
    }
    let took = watch.stop();
    let after = wire();
    let carried = (after.0 - before.0, after.1 - before.1);
    let details = json!({
        "seen_ms": Spread::of(seen_ms),
        "seen_after_saved_ms": Spread::of(carried_ms),
        "bytes_per_edit": (carried.0 + carried.1) as f64 / EDITS as f64,
    });
    done(took, carried, &details)
}

/// Waits for the receipt, so that edits are single ones.
async fn settle(replica: &Replica) -> Result<(), Failure> {
    while replica.outbox_len().await? > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

async fn open(root: &Path, lists: usize) -> Result<(), Failure> {
    let watch = Gate.pass()?;
    let replica = town::replica(root, JOINER, Arc::new(Counted::default())).await?;
    let opened_ms = watch.wall_ms();
    let mut rows = 0;
    for _ in 0..lists {
        rows = replica.list(Filter { all_kinds: true, ..Filter::default() }).await?.len();
    }
    done(watch.stop(), (0, 0), &json!({ "opened_ms": opened_ms, "rows": rows }))
}

/// One device's sessions, many times over: for the relay each is a phone of its own.
async fn idle(root: &Path, url: &str) -> Result<(), Failure> {
    let network = Counted::default();
    let engine = Arc::new(Mutex::new(town::engine(root, JOINER)?));
    {
        let plan = lock(&engine).plan(false, Budget::UNLIMITED)?;
        let mut connection = network.connect(url).await?;
        catch_up(&engine, &mut *connection, plan).await?;
    }

    let watch = Gate.pass()?;
    for _ in 0..IDLE_SESSIONS {
        let plan = lock(&engine).plan(true, Budget::UNLIMITED)?;
        let mut connection = network.connect(url).await?;
        catch_up(&engine, &mut *connection, plan).await?;
        tokio::spawn(async move { while connection.receive().await.is_ok_and(|heard| heard.is_some()) {} });
    }
    let took = watch.stop();
    // The relay's buffers of the handshake have had their time to go.
    tokio::time::sleep(Duration::from_secs(2)).await;
    done(took, network.wire.bytes(), &json!({ "sessions": IDLE_SESSIONS }))
}
