//! What this machine needs at the very least: the libraries alone, on the same data.

use std::fs::File;
use std::path::{Path, PathBuf};

use automerge::{ActorId, AutoCommit, transaction::CommitOptions};
use autosurgeon::{Reconcile, reconcile};
use ed25519_dalek::{Signer as _, SigningKey};
use futures_util::{SinkExt as _, StreamExt as _};
use lamppost_core::base::DocumentId;
use lamppost_core::watch::blur;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;

use super::clients::Filed;
use super::measure::{Spread, Took, Watch};
use super::process::{Gate, done, say, wait_for_line};
use super::{EDITS, Failure, town};

/// One floor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Floor {
    /// Loads every document, saved by Automerge itself, on one thread.
    Automerge { input: PathBuf, rows: usize },
    /// Writes the same bytes in batches of 100, each flushed.
    Sled { filed: PathBuf, directory: PathBuf },
    /// Signs and verifies.
    Signatures,
    /// Answers every message with itself.
    EchoServer,
    /// Sends a message to the echo and then writes it durably.
    Echo { url: String, message_bytes: usize, directory: PathBuf },
}

/// Entries per write of the sled floor.
const SLED_BATCH: usize = 100;

/// Entries that the sled floor writes at least, beginning again with the first: CPU time is counted in steps of 10 ms.
const SLED_ENTRIES_MIN: usize = 20_000;

/// Documents that Automerge loads at least, for the same reason; what is reported is one round.
const LOADS_MIN: usize = 20_000;

/// Signatures made and checked.
const SIGNATURES: usize = 20_000;

pub fn run(floor: Floor) -> Result<(), Failure> {
    match floor {
        Floor::Automerge { input, rows } => automerge(&input, rows),
        Floor::Sled { filed, directory } => sled(&filed, &directory),
        Floor::Signatures => signatures(),
        Floor::EchoServer => Runtime::new()?.block_on(echo_server()),
        Floor::Echo { url, message_bytes, directory } => {
            Runtime::new()?.block_on(echo(&url, message_bytes, &directory))
        }
    }
}

fn automerge(input: &Path, rows: usize) -> Result<(), Failure> {
    let (mut saved, mut create_bytes) = (Vec::new(), Vec::new());
    for report in town::reports(input, rows)? {
        let (mut first, mut second) = town::drafts(report);
        if let Some(position) = first.sealed.as_ref().and_then(|sealed| sealed.position.as_ref()) {
            let cell = blur::cell(position.lat, position.lon, blur::CELL_SIZE_M)?.to_string();
            first.observation.cell.clone_from(&cell);
            second.observation.cell = cell;
        }
        let mut sealed = first.sealed.ok_or("a report without a sealed part")?;
        sealed.observation = DocumentId([7; DocumentId::LEN]).to_string();
        let mut document = document();
        create_bytes.push(write(&mut document, &first.observation)? as f64);
        write(&mut document, &second.observation)?;
        saved.push(document.save());
        let mut document = self::document();
        write(&mut document, &sealed)?;
        saved.push(document.save());
    }

    let rounds = LOADS_MIN.div_ceil(saved.len().max(1));
    let watch = Gate.pass()?;
    for bytes in saved.iter().cycle().take(saved.len() * rounds) {
        std::hint::black_box(AutoCommit::load(bytes)?);
    }
    let all = watch.stop();
    let took = Took { wall_ms: all.wall_ms / rounds as f64, cpu_ms: all.cpu_ms / rounds as f64 };
    let saved_bytes: usize = saved.iter().map(Vec::len).sum();
    let details = json!({
        "documents": saved.len(),
        "saved_bytes": saved_bytes,
        "create_change_bytes": Spread::of(create_bytes),
    });
    done(took, (0, 0), &details)
}

fn document() -> AutoCommit {
    AutoCommit::new().with_actor(ActorId::from([7; 32].as_slice()))
}

/// Writes as the engine does, and returns the bytes of the change.
fn write<T: Reconcile>(document: &mut AutoCommit, value: &T) -> Result<usize, Failure> {
    reconcile(document, value)?;
    document.commit_with(CommitOptions::default().with_time(0));
    Ok(document.get_last_local_change().ok_or("nothing changed")?.raw_bytes().len())
}

fn sled(filed: &Path, directory: &Path) -> Result<(), Failure> {
    let filed: Filed = serde_json::from_reader(File::open(filed)?)?;
    let entries = filed.entry_bytes.len().max(SLED_ENTRIES_MIN);
    let values: Vec<Vec<u8>> =
        filed.entry_bytes.iter().cycle().take(entries).zip(0..).map(|(bytes, n)| noise(*bytes, n)).collect();
    let db = ::sled::Config::new().path(directory).flush_every_ms(None).open()?;

    let watch = Gate.pass()?;
    for (number, batch) in values.chunks(SLED_BATCH).enumerate() {
        let mut writes = ::sled::Batch::default();
        for (at, value) in batch.iter().enumerate() {
            // As the relay's keys: table, group, compartment, position.
            let mut key = vec![0; 43];
            key[35..].copy_from_slice(&((number * SLED_BATCH + at) as u64).to_be_bytes());
            writes.insert(key, value.as_slice());
        }
        db.apply_batch(writes)?;
        db.flush()?;
    }
    let took = watch.stop();
    let per_entry = |ms: f64| ms * 1e3 / entries as f64;
    let details = json!({
        "entries": entries,
        "wall_us_per_entry": per_entry(took.wall_ms),
        "cpu_us_per_entry": per_entry(took.cpu_ms),
    });
    done(took, (0, 0), &details)
}

/// Bytes that do not compress.
fn noise(bytes: u32, number: u64) -> Vec<u8> {
    let mut noise = Vec::with_capacity(bytes as usize + 32);
    while noise.len() < bytes as usize {
        let block = Sha256::new().chain_update(number.to_be_bytes()).chain_update(noise.len().to_be_bytes());
        noise.extend_from_slice(&block.finalize());
    }
    noise.truncate(bytes as usize);
    noise
}

fn signatures() -> Result<(), Failure> {
    let key = SigningKey::from_bytes(&[7; 32]);
    let message = noise(300, 0);
    let per_op = |watch: &Watch| watch.stop().cpu_ms * 1e3 / SIGNATURES as f64;
    let all = Gate.pass()?;
    let watch = Watch::start();
    for _ in 0..SIGNATURES {
        std::hint::black_box(key.sign(std::hint::black_box(&message)));
    }
    let sign_cpu_us = per_op(&watch);
    let (public, signature) = (key.verifying_key(), key.sign(&message));
    let watch = Watch::start();
    for _ in 0..SIGNATURES {
        public.verify_strict(std::hint::black_box(&message), &signature)?;
    }
    let verify_cpu_us = per_op(&watch);
    done(all.stop(), (0, 0), &json!({ "sign_cpu_us": sign_cpu_us, "verify_cpu_us": verify_cpu_us }))
}

async fn echo_server() -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    say(&format!("ws://{}", listener.local_addr()?))?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { continue };
            while let Some(Ok(message)) = socket.next().await {
                if !message.is_binary() || socket.send(message).await.is_err() {
                    break;
                }
            }
        }
    });
    tokio::task::spawn_blocking(wait_for_line).await?
}

async fn echo(url: &str, message_bytes: usize, directory: &Path) -> Result<(), Failure> {
    let stream = TcpStream::connect(url.trim_start_matches("ws://")).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await?;
    let db = ::sled::Config::new().path(directory).flush_every_ms(None).open()?;
    let log = File::options().write(true).open(directory.join("db"))?;

    let watch = Gate.pass()?;
    let (mut echoed_ms, mut written_ms, mut both_ms) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..EDITS as u64 {
        let message = noise(u32::try_from(message_bytes)?, number);
        let begun_ms = watch.wall_ms();
        socket.send(Message::Binary(message.clone().into())).await?;
        socket.next().await.ok_or("the echo is gone")??;
        let answered_ms = watch.wall_ms();
        // Sled's flush alone survives a kill and not a power loss; the log's own flush is part of durable.
        db.insert(number.to_be_bytes(), message)?;
        db.flush()?;
        log.sync_data()?;
        let end_ms = watch.wall_ms();
        echoed_ms.push(answered_ms - begun_ms);
        written_ms.push(end_ms - answered_ms);
        both_ms.push(end_ms - begun_ms);
    }
    let details = json!({
        "message_bytes": message_bytes,
        "echo_ms": Spread::of(echoed_ms),
        "durable_write_ms": Spread::of(written_ms),
        "echo_and_write_ms": Spread::of(both_ms),
    });
    done(watch.stop(), (0, 0), &details)
}
