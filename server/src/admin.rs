//! The operator's way to a running relay: a socket in the data directory, which nobody else can reach.
//!
//! A request is one line, `list`, `allow ID`, `expire ID MS`, `expire ID never` or `delete ID`. The answer is `ok` or
//! `no`, and lines for people.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lamppost_core::base::GroupId;
use lamppost_core::base::day::DAY_MS;
use lamppost_core::base::ids::NotAnId;
use tokio::sync::watch;
use tokio::{task, time};

use crate::app::{App, Stage, unix_ms};
use crate::config::GroupsCommand;
use crate::relay::Relay;

/// The name of the socket in the data directory.
const SOCKET: &str = "admin.sock";

/// Bytes of a request.
const REQUEST_BYTES_MAX: u64 = 256;

/// How long a request may take to come.
const REQUEST: Duration = Duration::from_secs(5);

/// How often the relay looks for groups whose time is over.
const EXPIRY: Duration = Duration::from_secs(600);

/// Why an admin command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody answers at the socket.
    #[error(
        "no relay answers at {path}: {why}. Run this as the relay's user, with the relay's --data or --config, while the \
         relay is running"
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// What was given is no group id.
    #[error("that is no group id: {0}")]
    NotAGroup(#[from] NotAnId),
    /// The relay says why not.
    #[error("{0}")]
    Refused(String),
}

/// Has the relay that runs on a data directory carry out a command. Returns what it says, in lines.
///
/// # Errors
/// [`AdminError`]
pub fn ask(data: &Path, command: &GroupsCommand) -> Result<String, AdminError> {
    let id = |text: &str| GroupId::parse(text);
    let request = match command {
        GroupsCommand::List => "list".to_owned(),
        GroupsCommand::Allow { group } => format!("allow {}", id(group)?),
        GroupsCommand::Delete { group } => format!("delete {}", id(group)?),
        GroupsCommand::Expire { group, days, .. } => match days {
            Some(days) => {
                format!("expire {} {}", id(group)?, unix_ms().saturating_add(u64::from(*days) * DAY_MS))
            }
            None => format!("expire {} never", id(group)?),
        },
    };
    let path = data.join(SOCKET);
    let answer = exchange(&path, &request).map_err(|why| AdminError::Unreachable { path, why })?;
    match answer.split_once('\n') {
        Some(("ok", lines)) => Ok(lines.to_owned()),
        Some((_, why)) => Err(AdminError::Refused(why.trim_end().to_owned())),
        None => Err(AdminError::Refused("the relay broke off: look at its log".to_owned())),
    }
}

#[cfg(unix)]
fn exchange(path: &Path, request: &str) -> io::Result<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    writeln!(stream, "{request}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(not(unix))]
fn exchange(_: &Path, _: &str) -> io::Result<String> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The socket; none if there is no directory for it, or the system has no such sockets.
pub struct Socket {
    #[cfg(unix)]
    listener: Option<tokio::net::UnixListener>,
    path: PathBuf,
}

impl Socket {
    /// Opens the socket in a data directory. Whoever connects from then on is served once [`run`] runs.
    #[cfg(unix)]
    pub fn open(data: &Path) -> Self {
        let path = data.join(SOCKET);
        let listener = match bind(&path) {
            Ok(listener) => Some(listener),
            // A relay in memory has no directory.
            Err(_) if !data.is_dir() => None,
            Err(why) => {
                tracing::warn!(
                    "no admin socket at {}: {why}. Groups can only be allowed by allowed_groups and a restart",
                    path.display()
                );
                None
            }
        };
        Self { listener, path }
    }

    /// Opens nothing: the system has no such sockets.
    #[cfg(not(unix))]
    pub fn open(data: &Path) -> Self {
        Self { path: data.join(SOCKET) }
    }
}

/// Serves the socket and deletes groups whose time is over, until the relay has stopped.
pub async fn run(app: Arc<App>, socket: Socket, mut stage: watch::Receiver<Stage>) {
    let path = socket.path.clone();
    let serving = serve(Arc::clone(&app), socket);
    let expiring = expire(Arc::clone(&app));
    tokio::select! {
        _ = stage.wait_for(|stage| *stage == Stage::Stopped) => {}
        () = async { tokio::join!(serving, expiring); } => {}
    }
    drop(std::fs::remove_file(path));
}

async fn expire(app: Arc<App>) {
    let mut interval = time::interval(EXPIRY);
    let relay = Arc::clone(&app.relay);
    let finished = task::spawn_blocking(move || relay.finish_deletions()).await;
    if let Ok(Err(why)) = finished {
        tracing::error!("{why}");
    }
    loop {
        interval.tick().await;
        let relay = Arc::clone(&app.relay);
        match task::spawn_blocking(move || relay.delete_expired(unix_ms())).await {
            Ok(Ok(deleted)) => {
                if !deleted.is_empty() {
                    tracing::info!(groups = deleted.len(), "groups whose time was over are deleted");
                }
                deleted.into_iter().for_each(|group| app.hub.grown(group));
            }
            Ok(Err(why)) => tracing::error!("{why}"),
            Err(_) => tracing::error!("a deletion did not end as it should"),
        }
    }
}

#[cfg(unix)]
async fn serve(app: Arc<App>, socket: Socket) {
    let Some(listener) = socket.listener else { return };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(answer(Arc::clone(&app), stream))),
            Err(why) => {
                tracing::warn!("the admin socket takes no connection: {why}");
                time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

#[cfg(not(unix))]
async fn serve(_: Arc<App>, _: Socket) {}

/// Takes the place of a socket that a relay before has left. The store's lock says that there is no other relay.
#[cfg(unix)]
fn bind(path: &Path) -> io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    let listener = tokio::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(unix)]
async fn answer(app: Arc<App>, mut stream: tokio::net::UnixStream) {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    let (read, mut write) = stream.split();
    let mut request = String::new();
    let mut read = BufReader::new(read.take(REQUEST_BYTES_MAX));
    let reading = time::timeout(REQUEST, read.read_line(&mut request));
    if !matches!(reading.await, Ok(Ok(_))) {
        return;
    }
    let relay = Arc::clone(&app.relay);
    let words: Vec<String> = request.split_whitespace().map(str::to_owned).collect();
    let carried = task::spawn_blocking(move || carry_out(&relay, &words)).await;
    let (text, changed) = carried.unwrap_or_else(|_| (no(&"the command broke off: look at the log"), None));
    changed.into_iter().for_each(|group| app.hub.grown(group));
    let _ = write.write_all(text.as_bytes()).await;
}

/// Carries a request out. Returns the answer, and the group whose sessions have something to look at.
fn carry_out(relay: &Relay, words: &[String]) -> (String, Option<GroupId>) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let id = |text: &str| GroupId::parse(text);
    match words.as_slice() {
        ["list"] => (list(relay).unwrap_or_else(|why| no(&why)), None),
        ["allow", group] => match id(group).map(|group| relay.allow_group(group)) {
            Ok(Ok(())) => (ok("allowed: the group's phones may found it here from now on"), None),
            Ok(Err(why)) => (no(&why), None),
            Err(why) => (no(&why), None),
        },
        ["expire", group, when] => {
            let at_ms = (*when != "never").then(|| when.parse::<u64>());
            let (Ok(group), Ok(at_ms)) = (id(group), at_ms.transpose()) else {
                return (no(&"expire needs a group's id and a time"), None);
            };
            match relay.expire_group(group, at_ms) {
                Ok(true) if at_ms.is_some() => (ok("it will be deleted then, and goes on until then"), None),
                Ok(true) => (ok("it will not be deleted"), None),
                Ok(false) => (no(&"there is no such group here"), None),
                Err(why) => (no(&why), None),
            }
        }
        ["delete", group] => match id(group).map(|group| (group, relay.delete_group(group))) {
            Ok((group, Ok(true))) => (ok("deleted: its phones keep what they have"), Some(group)),
            Ok((_, Ok(false))) => (no(&"there is no such group here"), None),
            Ok((_, Err(why))) => (no(&why), None),
            Err(why) => (no(&why), None),
        },
        _ => (no(&"unknown request: the program and the running relay are of different versions"), None),
    }
}

/// One line per group: id, bytes of membership log, entries and photos, days since its newest entry, days until it is
/// deleted.
fn list(relay: &Relay) -> Result<String, crate::store::StoreFault> {
    let now_ms = unix_ms();
    let mut text = "ok\n".to_owned();
    for row in relay.list_groups()? {
        let [membership, entries, media] = row.bytes;
        let newest = match row.newest_ms {
            Some(at_ms) => format!("newest {} days ago", now_ms.saturating_sub(at_ms) / DAY_MS),
            None => "not founded yet".to_owned(),
        };
        let expiry = match row.expires_ms {
            Some(at_ms) => format!(", deleted in {} days", at_ms.saturating_sub(now_ms).div_ceil(DAY_MS)),
            None => String::new(),
        };
        // Writing into a String does not fail.
        let _ = writeln!(
            text,
            "{} membership {membership} entries {entries} photos {media} bytes, {newest}{expiry}",
            row.group
        );
    }
    Ok(text)
}

fn ok(line: &str) -> String {
    format!("ok\n{line}\n")
}

fn no(why: &dyn std::fmt::Display) -> String {
    format!("no\n{why}\n")
}
