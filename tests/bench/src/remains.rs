//! How long ciphertext stays in the files of a phone and of a relay after it was shredded or overwritten.
//!
//! The store writes a log: what is deleted there is no longer found, and its bytes lie where they are until their segment is
//! used again. The phone's store has no veil here, so that its bytes can be searched for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use lamppost_core::base::cbor;
use lamppost_core::entry::Wire;
use lamppost_core::replica::testing::draft;
use lamppost_core::replica::{Engine, Environment, FixedVault, Replica, SystemClock, WebSocketTransport};
use lamppost_core::storage::{Options, SledStore, Store as _, StoreKind, Table};
use lamppost_core::sync::session::Budget;
use lamppost_server::{Settings, start};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::fleet::Failure;

/// The phone's table of entries, and that of rows (PROTOCOL.md §8).
const ENTRIES: Table = Table(2);
const ROWS: Table = Table(3);

/// What `remains` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Reports that are in the stores before one is shredded.
    #[arg(long, default_value_t = 500)]
    before: usize,
    /// At most so many reports afterwards.
    #[arg(long, default_value_t = 5_000)]
    after: usize,
    /// Reports between two looks.
    #[arg(long, default_value_t = 50)]
    every: usize,
}

/// Something that is searched for.
struct Remnant {
    what: &'static str,
    files: PathBuf,
    bytes: Vec<u8>,
    gone_after: Option<usize>,
}

/// Files reports, shreds one, files more, and looks for what is left of it.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    tokio::runtime::Runtime::new()?.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<(), Failure> {
    let root = tempfile::tempdir()?;
    let [on_phone, on_relay] = ["phone", "relay"].map(|name| root.path().join(name));
    let relay_store = SledStore::open(&on_relay, Options::new(StoreKind::Relay))?;
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = Settings { listen, data: on_relay.clone(), ..Settings::default() };
    let relay = start(settings, Arc::new(relay_store)).await?;
    let store = Arc::new(SledStore::open(&on_phone, Options::new(StoreKind::Phone))?);
    let engine = Engine::open(Environment {
        store: Arc::<SledStore>::clone(&store),
        vault: Arc::new(FixedVault::new([7; 32])),
        clock: Arc::new(SystemClock),
        entropy: Box::new(ChaCha20Rng::from_seed([7; 32])),
    })?;
    let phone = Replica::with(engine, Arc::new(WebSocketTransport::default()));
    phone.found().await?;
    file(&phone, arguments.before).await?;
    phone.sync_once(&relay.url(), Budget::UNLIMITED).await?;

    let rows_before = rows(&store)?;
    let victim = phone.record(draft("what is to be gone")).await?;
    let (entries, rows_now) = (rows(&store)?, store.get(ROWS, victim.as_bytes())?.unwrap_or_default());
    let body = entries.iter().find(|(key, _)| !rows_before.contains_key(*key)).map(|(_, body)| middle(body));
    let body = body.ok_or("the report is no entry")?;
    phone.sync_once(&relay.url(), Budget::UNLIMITED).await?;
    let of = |what, files: &Path, bytes| Remnant { what, files: files.to_owned(), bytes, gone_after: None };
    let mut remnants = [
        of("the body, on the phone", &on_phone, body.clone()),
        of("the row, on the phone", &on_phone, middle(&rows_now)),
        of("the body, on the relay", &on_relay, body),
    ];
    for remnant in &remnants {
        if !holds(&remnant.files, &remnant.bytes)? {
            return Err(format!("{} is not found before it is shredded", remnant.what).into());
        }
    }
    phone.shred(victim).await?;
    phone.sync_once(&relay.url(), Budget::UNLIMITED).await?;
    let begun = Instant::now();
    let mut filed = 0;
    while filed < arguments.after && remnants.iter().any(|remnant| remnant.gone_after.is_none()) {
        file(&phone, arguments.every).await?;
        phone.sync_once(&relay.url(), Budget::UNLIMITED).await?;
        filed += arguments.every;
        for remnant in remnants.iter_mut().filter(|remnant| remnant.gone_after.is_none()) {
            if !holds(&remnant.files, &remnant.bytes)? {
                remnant.gone_after = Some(filed);
            }
        }
    }
    let mb = |path: &Path| -> Result<f64, Failure> { Ok(bytes_in(path)? as f64 / 1e6) };
    println!(
        "before: {} reports; one shredded; then {filed} more in {:.0?}",
        arguments.before,
        begun.elapsed()
    );
    println!("files at the end: phone {:.1} MB, relay {:.1} MB", mb(&on_phone)?, mb(&on_relay)?);
    for remnant in &remnants {
        match remnant.gone_after {
            Some(reports) => println!("{}: gone within {reports} reports", remnant.what),
            None => println!("{}: still there after {filed} reports", remnant.what),
        }
    }
    relay.stop().await;
    Ok(())
}

async fn file(phone: &Replica, reports: usize) -> Result<(), Failure> {
    for number in 0..reports {
        phone.record(draft(&format!("report {number} of something that somebody saw at the corner"))).await?;
    }
    Ok(())
}

/// The bodies of all entries.
fn rows(store: &SledStore) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Failure> {
    let rows = store.scan(ENTRIES, &[], None, usize::MAX)?.into_iter();
    let bodies = rows.map(|(key, bytes)| {
        let wire: Wire = cbor::decode(&bytes).map_err(|why| why.to_string())?;
        Ok((key, wire.body.map(|body| body.to_vec()).unwrap_or_default()))
    });
    bodies.collect()
}

/// 48 bytes in the middle: enough to be found by, and not cut by the edges of a page.
fn middle(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().skip(bytes.len() / 2).take(48).copied().collect()
}

fn holds(directory: &Path, bytes: &[u8]) -> Result<bool, Failure> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let found = match path.is_dir() {
            true => holds(&path, bytes)?,
            false => std::fs::read(path)?.windows(bytes.len()).any(|window| window == bytes),
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn bytes_in(directory: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        bytes += if path.is_dir() { bytes_in(&path)? } else { path.metadata()?.len() };
    }
    Ok(bytes)
}
