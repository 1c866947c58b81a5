//! The town: a founder, phones that write, one that joins late, and what they file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lamppost_core::replica::{Engine, FixedVault, ObservationDraft, Replica, SystemClock, Transport};
use lamppost_core::storage::{Options, SledStore, StoreKind};
use lamppost_server::{Settings, start};
use neighborhood::input::{Report, load};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sha2::{Digest as _, Sha256};

use super::{Failure, process};

/// The phone that founds the group and admits everybody.
pub const FOUNDER: &str = "founder";

/// A coordinator's phone that is empty until it joins.
pub const JOINER: &str = "joiner";

/// Name of a phone that writes, by its number from 0.
pub fn phone(number: usize) -> String {
    format!("phone-{number:02}")
}

fn vault(name: &str) -> Arc<FixedVault> {
    Arc::new(FixedVault::new(Sha256::digest(name).into()))
}

/// Opens a phone as an engine, without a network.
pub fn engine(root: &Path, name: &str) -> Result<Engine, Failure> {
    // Good enough for a town of paper: nobody attacks it, and no two runs draw the same.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let seed = Sha256::new().chain_update(name).chain_update(now.to_be_bytes()).finalize();
    let entropy = Box::new(ChaCha20Rng::from_seed(seed.into()));
    Ok(Engine::open_in(&root.join(name), vault(name), Arc::new(SystemClock), entropy)?)
}

/// Opens a phone as an app holds it.
pub async fn replica(root: &Path, name: &str, network: Arc<dyn Transport>) -> Result<Replica, Failure> {
    Ok(Replica::open_over(&root.join(name), vault(name), network).await?)
}

/// The first `rows_max` reports of a file; every one with a comment.
pub fn reports(input: &Path, rows_max: usize) -> Result<Vec<Report>, Failure> {
    let mut reports = load(input)?.reports;
    reports.truncate(rows_max);
    match reports.iter().find(|report| report.comment.is_empty()) {
        None => Ok(reports),
        Some(report) => Err(format!("a report without a comment: {:?}", report.observation).into()),
    }
}

/// What is filed first, and what the observation becomes when its author adds the comment.
pub fn drafts(report: Report) -> (ObservationDraft, ObservationDraft) {
    let first = ObservationDraft { observation: report.observation, sealed: Some(report.sealed) };
    let mut second = first.clone();
    second.observation.what_happened = format!("{} {}", second.observation.what_happened, report.comment);
    (first, second)
}

/// What a list shows of a sealed part.
pub fn sealed_text(report: &Report) -> String {
    [report.sealed.address.as_str(), &report.sealed.notes].join(" ").trim().to_owned()
}

/// SHA-256 over all texts, sorted.
pub fn checksum(mut texts: Vec<String>) -> String {
    texts.sort_unstable();
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serves a relay until the input closes. Unless it is limited, nothing is throttled: that measures what the relay can do.
pub fn serve_relay(data: &Path, limited: bool) -> Result<(), Failure> {
    let mut settings = Settings { data: PathBuf::from(data), ..Settings::default() };
    settings.listen = ([127, 0, 0, 1], 0).into();
    if !limited {
        settings.rules.device_entries_per_minute = u64::from(u32::MAX);
        settings.rules.group_bytes_max = u64::MAX / 2;
        // A thousand sessions of one device stand for a thousand phones.
        settings.device_sessions_max = 10_000;
    }
    let options = Options { cache_bytes: settings.cache_bytes, kind: StoreKind::Relay };
    let store = Arc::new(SledStore::open(data, options)?);
    tokio::runtime::Runtime::new()?.block_on(async move {
        let relay = start(settings, store).await?;
        process::say(&relay.url())?;
        tokio::task::spawn_blocking(process::wait_for_line).await??;
        relay.stop().await;
        Ok(())
    })
}
