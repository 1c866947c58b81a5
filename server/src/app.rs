//! What all routes and tasks of a running relay share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task;

use crate::budget::Budgets;
use crate::config::Settings;
use crate::disk::{Disk, Level};
use crate::door::Door;
use crate::hub::Hub;
use crate::inflow::{GroupPool, Pool};
use crate::metrics::Metrics;
use crate::notices::Notices;
use crate::places::Places;
use crate::query::{Query, Reply};
use crate::queue::Queue;
use crate::relay::{Relay, store_refusal};
use crate::retention::Sweeps;

/// How far a relay is on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It serves.
    Running,
    /// Sessions finish what they have begun.
    Draining,
    /// Sessions that have not finished are cut.
    Stopped,
}

/// A running relay, as its parts see it.
pub struct App {
    /// The relay itself.
    pub relay: Arc<Relay>,
    /// What the operator set.
    pub settings: Settings,
    /// Who follows which group.
    pub hub: Arc<Hub>,
    /// What can be watched.
    pub metrics: Metrics,
    /// Groups to be swept.
    pub sweeps: Sweeps,
    /// Pushes that wait to be looked at.
    pub queue: Queue,
    /// Whether pushes are committed.
    pub commits: AtomicBool,
    /// Signatures that strangers may have checked.
    pub budgets: Budgets,
    /// Places for connections that have not proven who they are.
    pub door: Arc<Door>,
    /// Places for sessions.
    pub places: Arc<Places>,
    /// Room for large messages on their way.
    pub pool: Pool,
    /// … of all strangers.
    pub strangers_pool: GroupPool,
    /// The free space.
    pub disk: Disk,
    /// What is told in the log now and then.
    pub notices: Notices,
    /// Sessions that are open.
    pub open: watch::Sender<usize>,
    /// Running, draining or stopped.
    pub stage: watch::Receiver<Stage>,
    /// Start of the clock that sessions are measured by.
    pub begun: Instant,
}

impl App {
    /// Asks the relay on a thread that may block: most answers come from memory, but any may have to read from disk.
    pub async fn ask(&self, query: Query) -> Reply {
        if self.relay.has_nothing_new(&query) {
            return Reply::Fetched(None);
        }
        let group = query.group();
        let relay = Arc::clone(&self.relay);
        let reply = task::spawn_blocking(move || relay.answer(query, unix_ms())).await;
        let reply = reply.unwrap_or_else(|_| Reply::Refused(store_refusal()));
        if let Reply::Mailbox { changed: true, .. } = &reply {
            self.hub.grown(group);
        }
        reply
    }

    /// Milliseconds since the relay began. Goes forward only.
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether somebody commits what is pushed.
    pub fn is_committing(&self) -> bool {
        self.commits.load(Ordering::Acquire)
    }

    /// Whether pushes can be taken.
    pub fn is_ready(&self) -> bool {
        !self.relay.has_failed() && self.is_committing() && *self.stage.borrow() == Stage::Running
    }

    /// Whether the disk leaves room for entries.
    pub fn has_room(&self) -> bool {
        self.relay.gauge().level() < Level::Scarce
    }
}

/// The wall clock, in milliseconds since the Unix epoch.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
