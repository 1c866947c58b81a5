//! `lamppost-relay`: the relay as a program.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use lamppost_core::storage::{Options, SledStore, Store, StoreError, StoreKind};
use lamppost_server::{Command, CommandLine, LogFormat, Running, Settings, StartError};
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

/// Exit code if the settings have a mistake. Clap uses the same for a mistake on the command line.
const BAD_SETTINGS: u8 = 2;

/// Files that are open beside connections: those of the store, and the log.
const FILES_BESIDE: usize = 64;

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let settings = match command_line.settings() {
        Ok(settings) => settings,
        Err(why) => return complain(&why, BAD_SETTINGS),
    };
    if command_line.print_config {
        #[expect(clippy::print_stdout, reason = "it was asked for, to be piped into a file")]
        {
            print!("{settings}");
        }
        return ExitCode::SUCCESS;
    }
    if let Some(Command::Groups(command)) = &command_line.command {
        return match lamppost_server::ask_admin(&settings.data, command) {
            Ok(answer) => {
                #[expect(clippy::print_stdout, reason = "it is the answer that was asked for")]
                {
                    print!("{answer}");
                }
                ExitCode::SUCCESS
            }
            Err(why) => complain(&why, 1),
        };
    }
    if let Err(why) = start_log(&settings) {
        return complain(&*why, BAD_SETTINGS);
    }
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Why the relay did not run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(
        "cannot use the data directory {path}: {why}. Choose one that this user may write to with --data"
    )]
    Directory { path: String, why: io::Error },
    #[error("cannot open the data directory {path}: {why}")]
    Store { path: String, why: StoreError },
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("the system gives no threads or signals: {0}")]
    System(#[from] io::Error),
}

fn run(settings: Settings) -> Result<(), Failure> {
    let path = settings.data.display().to_string();
    make_private(&settings.data).map_err(|why| Failure::Directory { path: path.clone(), why })?;
    raise_file_limit(&settings);
    lamppost_server::make_room_to_open(&settings.data);
    let options = Options { cache_bytes: settings.cache_bytes, kind: StoreKind::Relay };
    let store = SledStore::open(&settings.data, options).map_err(|why| Failure::Store { path, why })?;
    Runtime::new()?.block_on(serve(settings, Arc::new(store)))
}

/// Lets the process open as many files as its connections need, if the system allows it.
#[cfg(unix)]
fn raise_file_limit(settings: &Settings) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let places = settings.connections_max + settings.strangers_max + settings.unproven_max;
    let wanted = (places + FILES_BESIDE) as u64;
    let limit = getrlimit(Resource::Nofile);
    let granted = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if limit.current.is_some_and(|current| current < granted) {
        let raised = Rlimit { current: Some(granted), maximum: limit.maximum };
        if let Err(why) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("the limit of open files stays: {why}");
        }
    }
    if granted < wanted {
        tracing::warn!(
            "the system grants {granted} open files, and connections_max would need {wanted}: raise LimitNOFILE, or lower \
             connections_max"
        );
    }
}

#[cfg(not(unix))]
fn raise_file_limit(_: &Settings) {}

async fn serve(settings: Settings, store: Arc<dyn Store>) -> Result<(), Failure> {
    let grace_ms = settings.shutdown_grace_ms;
    // Before anything is announced, so that a signal right after is not lost.
    let signal = signal()?;
    let running = lamppost_server::start(settings.clone(), store).await?;
    announce(&settings, &running);
    signal.await;
    tracing::info!("stopping: sessions get {grace_ms} ms to finish");
    if running.stop().await {
        tracing::info!("stopped; everything acknowledged is on disk");
    } else {
        tracing::warn!("stopped; some sessions were cut, their phones send again what was not acknowledged");
    }
    Ok(())
}

fn announce(settings: &Settings, running: &Running) {
    let address = running.local_addr();
    let data = settings.data.canonicalize().unwrap_or_else(|_| settings.data.clone());
    let groups = running.group_count();
    tracing::info!("this is a Lamppost relay: it keeps and forwards what it cannot read");
    tracing::info!("listening on {address}, data in {} ({groups} groups)", data.display());
    tracing::info!("relay id {}", running.relay());
    if settings.after_restore || !settings.begin_again.is_empty() {
        tracing::info!(
            "it begins a new life, as after a restored copy: phones offer again what it lacks; leave out --after-restore \
             and --begin-again at the next start"
        );
    }
    match (settings.rules.open_to_new_groups, settings.rules.allowed_groups.len()) {
        (true, _) => {
            tracing::info!("anybody who reaches it may found a group; --new-groups closed ends that")
        }
        (false, 0) => tracing::info!(
            "it takes no new groups: to let one in, run `lamppost-relay --data {} groups allow ID` with the id that its \
             coordinator's app shows",
            data.display()
        ),
        (false, count) => tracing::info!("it takes no new groups but the {count} that are allowed by id"),
    }
    if address.ip().is_loopback() {
        tracing::info!("for a trial, apps on this machine reach it at {}", running.url());
        tracing::info!(
            "next: put TLS in front as server/OPERATING.md shows for Caddy and nginx (/metrics stays inside), and give \
             coordinators wss://relay.example.org/v1/session with your name in it, and the relay id"
        );
    } else {
        tracing::warn!(
            "it listens on more than this machine, without TLS: the network sees which device talks to which group"
        );
    }
}

#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// Makes the data directory for its owner alone: it holds the key that signs receipts.
#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            "other users may look into {}, which holds the relay's key: chmod 700 it",
            path.display()
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

fn start_log(settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    let filter = EnvFilter::try_new(&settings.log)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    let log = log.with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

fn complain(why: &dyn std::fmt::Display, code: u8) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "the log cannot be started before the settings are known")]
    {
        eprintln!("lamppost-relay: {why}");
    }
    ExitCode::from(code)
}
