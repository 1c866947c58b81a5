//! A town of phones and its relay, each in a process of its own, on loopback.

mod clients;
mod driver;
mod floors;
pub mod measure;
pub mod process;
mod report;
mod town;

use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use procfs::Current as _;
use serde_json::{Value, json};

use clients::{Filed, Task};
use floors::Floor;
use measure::{Disk, Memory};
use process::{Measured, Running, measure, start_echo, start_relay};

/// Why a run ended without a result.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Single edits that are sent live.
const EDITS: usize = 200;

/// Phones that are connected and idle.
const IDLE_SESSIONS: usize = 1_000;

/// Rows that make the first screen.
const LISTED_FIRST: usize = 50;

/// Times that the listing phone lists everything.
const LISTS: usize = 10;

/// Steps of one size, for the progress bar.
const STEPS: u64 = 11;

/// What `fleet` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// A city's incident table: each row becomes an observation with a sealed part and a comment.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// How many rows to play, one run each, each with a fresh relay; `all` for the whole file.
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "500,2000,all")]
    rows: Vec<String>,
    /// Phones that write.
    #[arg(long, default_value_t = 20)]
    devices: usize,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Where the stores are kept while it runs [default: the system's directory for temporary files].
    #[arg(long, value_name = "DIRECTORY")]
    scratch: Option<PathBuf>,
}

/// Runs every size and prints what it took.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let available = town::reports(&arguments.input, usize::MAX)?.len();
    let sizes: Result<Vec<usize>, Failure> = arguments
        .rows
        .iter()
        .map(|rows| match rows.as_str() {
            "all" => Ok(available),
            count => Ok(count.parse::<usize>()?.min(available)),
        })
        .collect();
    let sizes = sizes?;
    let rows_min = LISTED_FIRST.max(arguments.devices);
    if sizes.iter().any(|rows| *rows < rows_min) {
        return Err(format!("too few rows: a run needs {rows_min}, one per phone and a first screen").into());
    }
    let bar = ProgressBar::new(sizes.len() as u64 * STEPS);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} {elapsed} {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(250));
    let mut runs = Vec::new();
    for rows in sizes {
        let scratch = match &arguments.scratch {
            Some(directory) => tempfile::tempdir_in(directory)?,
            None => tempfile::tempdir()?,
        };
        let size = Size { arguments, rows, root: scratch.path(), bar: &bar };
        runs.push(size.run()?);
    }
    bar.finish_and_clear();
    report::compare(&mut runs);
    let report = json!({
        "input": arguments.input,
        "devices": arguments.devices,
        "processors": std::thread::available_parallelism()?.get(),
        "runs": runs,
    });
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        report::print(&report);
    }
    Ok(())
}

/// The relay's process.
pub fn relay(data: &Path, limited: bool) -> Result<(), Failure> {
    town::serve_relay(data, limited)
}

/// A client's process.
pub fn client(task: &str) -> Result<(), Failure> {
    clients::run(serde_json::from_str(task)?)
}

/// One size.
struct Size<'a> {
    arguments: &'a Arguments,
    rows: usize,
    root: &'a Path,
    bar: &'a ProgressBar,
}

impl Size<'_> {
    fn run(&self) -> Result<Value, Failure> {
        let load_before = procfs::LoadAverage::current()?;
        let root = self.root.to_owned();
        let (rows, devices) = (self.rows, self.arguments.devices);
        let input = self.arguments.input.clone();

        self.step("recording offline");
        let task = Task::Record { root: root.clone(), input, rows, devices };
        let recorded = measure(&task, None)?;
        let filed: Filed = serde_json::from_value(recorded.done.details.clone())?;
        let filed_path = root.join("filed.json");
        std::fs::write(&filed_path, serde_json::to_vec(&filed)?)?;
        let entries = filed.entry_bytes.len();
        let recorded = self.phase(&recorded, &["phone-00"])?;

        let data = root.join("relay");
        let (relay, url) = start_relay(&data)?;
        self.step("W1: upload");
        let w1 = measure(&Task::Upload { root: root.clone(), url: url.clone(), devices }, Some(&relay))?;
        let w1 = self.phase(&w1, &["phone-00"])?;
        self.step("W2: a newcomer fetches everything");
        let w2 = measure(&Task::Join { root: root.clone(), url: url.clone() }, Some(&relay))?;
        self.check_joined(&w2, &filed)?;
        let w2 = self.phase(&w2, &[town::JOINER])?;
        self.step("W3: live");
        let w3 = measure(&Task::Live { root: root.clone(), url }, Some(&relay))?;
        let w3 = self.phase(&w3, &[town::phone(0).as_str(), town::JOINER])?;
        relay.end()?;
        self.step("W4: cold start");
        let w4 = measure(&Task::Open { root: root.clone(), lists: 1 }, None)?;
        let w4 = self.phase(&w4, &[town::JOINER])?;
        let memory = self.memory(&data)?;
        let floors = self.floors(&filed_path, &w3)?;

        let load_after = procfs::LoadAverage::current()?;
        let mut run = json!({
            "rows": rows,
            // Every row has a document for the group and one for the coordinators.
            "documents": rows * 2,
            "entries": entries,
            "entries_in_outboxes": filed.outboxes,
            "entry_bytes": measure::Spread::of(filed.entry_bytes.iter().map(|b| f64::from(*b)).collect()),
            "create_entry_bytes": measure::Spread::of(filed.create_bytes.iter().map(|b| f64::from(*b)).collect()),
            "load_before": load_before.one,
            "load_after": load_after.one,
            "record": recorded["client"],
            "w1_upload": w1,
            "w2_join": w2,
            "w3_live": w3,
            "w4_cold_start": w4,
            "memory": memory,
            "floors": floors,
        });
        run["ratios"] = report::ratios(&run);
        Ok(run)
    }

    fn step(&self, what: &str) {
        self.bar.set_message(format!("{} rows: {what}", self.rows));
        self.bar.inc(1);
    }

    /// What a phase took, on both sides.
    fn phase(&self, measured: &Measured, phones: &[&str]) -> Result<Value, Failure> {
        let done = &measured.done;
        let mut disk = serde_json::Map::new();
        for phone in phones {
            disk.insert((*phone).to_owned(), serde_json::to_value(Disk::of(&self.root.join(phone))?)?);
        }
        let data = self.root.join("relay");
        let relay_disk = if data.exists() { Disk::of(&data)? } else { Disk::default() };
        Ok(json!({
            "wall_ms": done.took.wall_ms,
            "client": {
                "wall_ms": done.took.wall_ms,
                "cpu_ms": done.took.cpu_ms,
                "peak_rss_bytes": done.memory.peak_bytes,
                "sent_bytes": done.wire.0,
                "received_bytes": done.wire.1,
                "disk": disk,
            },
            "relay": {
                "cpu_ms": measured.relay_cpu_ms,
                "peak_rss_bytes": measured.relay_memory.peak_bytes,
                "disk": relay_disk,
            },
            "details": done.details,
        }))
    }

    /// The newcomer must read what was written, all of it and to the letter.
    fn check_joined(&self, joined: &Measured, filed: &Filed) -> Result<(), Failure> {
        let details = &joined.done.details;
        if details["descriptions"] != filed.descriptions.as_str()
            || details["sealed"] != filed.sealed.as_str()
            || details["rows"] != self.rows * 2
        {
            return Err(format!("the newcomer reads something else than was written: {details}").into());
        }
        Ok(())
    }

    /// A relay that was just started, with phones that are only connected; and a phone that only lists.
    fn memory(&self, data: &Path) -> Result<Value, Failure> {
        self.step("memory");
        let (relay, url) = start_relay(data)?;
        let before = Memory::of(relay.pid())?;
        let idle = measure(&Task::Idle { root: self.root.to_owned(), url }, Some(&relay))?;
        relay.end()?;
        self.step("memory");
        let lister = measure(&Task::Open { root: self.root.to_owned(), lists: LISTS }, None)?;
        Ok(json!({
            "sessions": IDLE_SESSIONS,
            "sessions_are": "WebSocket sessions of one device, authenticated, caught up and live",
            "relay_before": before,
            "relay_with_sessions": idle.relay_memory,
            "connecting_wall_ms": idle.done.took.wall_ms,
            "connecting_relay_cpu_ms": idle.relay_cpu_ms,
            "lists": LISTS,
            "lister": lister.done.memory,
        }))
    }

    fn floors(&self, filed: &Path, w3: &Value) -> Result<Value, Failure> {
        let floor = |floor: Floor| measure(&Task::Floor(floor), None);
        let plain = |measured: &Measured| json!({ "took": measured.done.took, "memory": measured.done.memory, "details": measured.done.details });
        self.step("floor: Automerge");
        let automerge = floor(Floor::Automerge { input: self.arguments.input.clone(), rows: self.rows })?;
        self.step("floor: sled");
        let sled = floor(Floor::Sled { filed: filed.to_owned(), directory: self.root.join("floor-sled") })?;
        self.step("floor: signatures");
        let signatures = floor(Floor::Signatures)?;
        self.step("floor: echo");
        let (server, url): (Running, String) = start_echo()?;
        // A live edit crosses the wire twice with all its bytes: up, and down to the other phone.
        let message_bytes = w3["details"]["bytes_per_edit"].as_f64().unwrap_or_default() as usize / 2;
        let echo = floor(Floor::Echo { url, message_bytes, directory: self.root.join("floor-echo") })?;
        server.end()?;
        Ok(json!({
            "automerge": plain(&automerge),
            "sled": plain(&sled),
            "signatures": plain(&signatures),
            "echo": plain(&echo),
        }))
    }
}
