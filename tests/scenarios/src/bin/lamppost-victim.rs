//! A relay or a phone as a process of its own, for a test to kill.
//!
//! ```text
//! lamppost-victim relay DIRECTORY PORT
//! lamppost-victim phone DIRECTORY URL once|live
//! ```
//!
//! It makes the calls that apps and operators make, and says on standard output what it is about to do and
//! what it has done:
//!
//! | line | when |
//! |---|---|
//! | `open` | the store is open; a relay listens |
//! | `writing`, `written` | before and after each durable write |
//! | `recording TEXT`, `recorded ID TEXT` | before and after an observation is recorded or amended |
//! | `acked ID TEXT` | the document is listed as acknowledged by the relay |
//! | `settled` | everything was sent and fetched, after `settle` |
//! | `fault WHY` | something that no crash of anybody may lead to |
//!
//! A phone obeys `write COUNT` and `settle` on standard input. When that ends, the process does too.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lamppost_core::base::DocumentId;
use lamppost_core::replica::testing::draft;
use lamppost_core::replica::{
    Delivery, Engine, Environment, Error, FeedEvent, Filter, FixedVault, LinkState, ObservationDraft,
    Replica, Row, SyncReport, SystemClock, WebSocketTransport,
};
use lamppost_core::storage::{Batch, Options, Pair, SledStore, Store, StoreError, StoreKind, Table};
use lamppost_core::sync::session::Budget;
use lamppost_core::watch::Kind;
use lamppost_server::{Settings, start};
use rand_core::Rng as _;
use tokio::sync::{Notify, mpsc};

/// How soon a phone tries again to reach a relay that is gone.
const RETRY: Duration = Duration::from_millis(10);

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let commands = commands();
    match arguments[..] {
        ["relay", directory, port] => relay(Path::new(directory), port.parse().unwrap()).await,
        ["phone", directory, url, link] => phone(Path::new(directory), url, link == "live", commands).await,
        _ => panic!("{arguments:?}"),
    }
}

/// One write, so that a kill leaves a line whole or not said at all.
fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn commands() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
        // Whoever started it is gone.
        std::process::exit(0);
    });
    receiver
}

/// A store that says when it writes.
struct Announcing(SledStore);

impl Announcing {
    fn open(directory: &Path, kind: StoreKind) -> Arc<Self> {
        Arc::new(Self(SledStore::open(directory, Options::new(kind)).unwrap()))
    }
}

impl Store for Announcing {
    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        say("writing");
        let done = self.0.apply(batch);
        say("written");
        done
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        self.0.scan(table, prefix, after, rows_max)
    }

    fn last(&self, table: Table, prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.0.last(table, prefix)
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.0.size_bytes()
    }
}

async fn relay(directory: &Path, port: u16) {
    let store = Announcing::open(directory, StoreKind::Relay);
    let listen = SocketAddr::from(([127, 0, 0, 1], port));
    let settings = Settings { listen, data: directory.to_owned(), ..Settings::default() };
    let _running = start(settings, store).await.unwrap();
    say("open");
    std::future::pending().await
}

async fn phone(directory: &Path, url: &str, live: bool, commands: mpsc::UnboundedReceiver<String>) {
    let engine = Engine::open(Environment {
        store: Announcing::open(directory, StoreKind::Phone),
        vault: Arc::new(FixedVault::new([7; 32])),
        clock: Arc::new(SystemClock),
        entropy: Box::new(rand_core::UnwrapErr(getrandom::SysRng)),
    });
    let replica = Replica::with(engine.unwrap(), Arc::new(WebSocketTransport::default()));
    say("open");
    let name = directory.file_name().unwrap().to_str().unwrap();
    let wishes = Wishes::default();
    tokio::join!(
        obey(&replica, name, commands, &wishes),
        carry(&replica, url, live, &wishes),
        tell(&replica)
    );
}

/// What the network side of a phone is to do next.
#[derive(Default)]
struct Wishes {
    wake: Notify,
    settle: AtomicBool,
}

async fn obey(replica: &Replica, name: &str, mut commands: mpsc::UnboundedReceiver<String>, wishes: &Wishes) {
    let own = replica.list(Filter { kind: Some(Kind::OBSERVATION), ..Filter::default() }).await.unwrap();
    let mut own: Vec<Written> = own.iter().filter_map(|(row, _)| Written::parse(name, row)).collect();
    own.sort_by_key(|written| written.number);
    // A write that was cut short leaves no gap: it is there, or its number is free.
    assert!(own.iter().map(|written| written.number).eq(0..own.len()));
    while let Some(command) = commands.recv().await {
        if let Some(count) = command.strip_prefix("write ") {
            for _ in 0..count.parse().unwrap() {
                write(replica, name, &mut own).await;
                wishes.wake.notify_one();
            }
        } else {
            wishes.settle.store(true, Ordering::Relaxed);
            wishes.wake.notify_one();
        }
    }
}

/// An observation of this phone's own, as `NAME NUMBER VERSION`.
struct Written {
    id: DocumentId,
    number: usize,
    version: u32,
}

impl Written {
    fn parse(name: &str, row: &Row) -> Option<Self> {
        let (number, version) = row.text.strip_prefix(name)?.trim().split_once(" v")?;
        Some(Self { id: row.id, number: number.parse().ok()?, version: version.parse().ok()? })
    }
}

/// Records an observation, or amends one in three times.
async fn write(replica: &Replica, name: &str, own: &mut Vec<Written>) {
    let drawn = rand_core::UnwrapErr(getrandom::SysRng).next_u32() as usize;
    if let Some(old) = (drawn.is_multiple_of(3) && !own.is_empty()).then(|| drawn / 3 % own.len()) {
        let old = &mut own[old];
        old.version += 1;
        let text = format!("{name} {} v{}", old.number, old.version);
        say(&format!("recording {text}"));
        replica.amend(old.id, words(&text, old.number)).await.unwrap();
        say(&format!("recorded {} {text}", old.id));
        return;
    }
    let number = own.len();
    let text = format!("{name} {number} v1");
    say(&format!("recording {text}"));
    let id = replica.record(words(&text, number)).await.unwrap();
    say(&format!("recorded {id} {text}"));
    own.push(Written { id, number, version: 1 });
}

/// Every other observation has a sealed part: two entries in two logs, in one durable write.
fn words(text: &str, number: usize) -> ObservationDraft {
    let mut draft = draft(text);
    draft.sealed = draft.sealed.filter(|_| number.is_multiple_of(2));
    if let Some(sealed) = &mut draft.sealed {
        text.clone_into(&mut sealed.notes);
    }
    draft
}

/// Brings to the relay what there is, and goes on by itself when the relay is gone and back.
async fn carry(replica: &Replica, url: &str, live: bool, wishes: &Wishes) {
    let mut link = live.then(|| replica.go_live(url));
    loop {
        if let Some(live) = &mut link {
            tokio::select! {
                state = live.changed() => {
                    if let LinkState::Stopped(why) = state.unwrap() {
                        return say(&format!("fault {why}"));
                    }
                }
                () = wishes.wake.notified() => {
                    if wishes.settle.load(Ordering::Relaxed) {
                        link = None;
                    }
                }
            }
            continue;
        }
        let settling = wishes.settle.load(Ordering::Relaxed);
        if !settling && replica.outbox_len().await.unwrap() == 0 {
            wishes.wake.notified().await;
            continue;
        }
        match replica.sync_once(url, Budget::UNLIMITED).await {
            Ok(report) if !is_clean(&report) => return say(&format!("fault {report:?}")),
            Ok(_) if settling && replica.outbox_len().await.unwrap() == 0 => {
                wishes.settle.store(false, Ordering::Relaxed);
                say("settled");
            }
            Ok(_) => {}
            Err(Error::Network(_)) => tokio::time::sleep(RETRY).await,
            Err(why) => return say(&format!("fault {why}")),
        }
    }
}

fn is_clean(report: &SyncReport) -> bool {
    let SyncReport { caught_up, refused, postponed, received, .. } = report;
    *caught_up
        && refused.is_empty()
        && postponed.is_empty()
        && received.warnings.is_empty()
        && received.set_aside == 0
}

/// Tells of each document that the relay has acknowledged, as an app would show it.
async fn tell(replica: &Replica) {
    let feed = replica.feed();
    loop {
        let (FeedEvent::Reset(rows) | FeedEvent::Changed(rows)) = feed.next().await.unwrap() else {
            continue;
        };
        for (row, delivery) in rows {
            match delivery {
                Delivery::AtRelay => say(&format!("acked {} {}", row.id, row.text)),
                Delivery::OnPhone => {}
                Delivery::Refused => say(&format!("fault the relay refused {}", row.text)),
            }
        }
    }
}
