//! What the operator reads in the log when connections are turned away: a line a minute, not one for each.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time;

use crate::app::{App, Stage};

/// How often a line may come.
const EVERY: Duration = Duration::from_secs(60);

/// The reasons, with what they mean and what to do.
pub const REASONS: [(&str, &str); 7] = [
    ("door", "connections that had not proven who they are made room for newer ones: somebody opens many"),
    ("late", "connections never proved who they are: mute clients, or a very slow line"),
    ("strangers", "sessions of devices that belong to no group here: see strangers_max"),
    ("device", "one device opens many sessions"),
    ("group", "a group has as many sessions as it may: see group_sessions_max"),
    ("members", "the relay has as many sessions as it may: see connections_max"),
    ("accept", "the system gave no connection, as without free file descriptors: raise LimitNOFILE"),
];

/// What was said already.
#[derive(Default)]
pub struct Notices {
    accept_failed: AtomicBool,
}

impl Notices {
    /// Tells at once, the first time in a minute, that no connection could be accepted.
    pub fn accept_failed(&self, why: &io::Error) {
        if !self.accept_failed.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "no connection can be accepted: {why}. Raise LimitNOFILE, or lower connections_max"
            );
        }
    }
}

/// Tells once a minute what was turned away, until the relay has stopped.
pub async fn run(app: Arc<App>, mut stage: watch::Receiver<Stage>) {
    let mut told = REASONS.map(|_| 0);
    loop {
        tokio::select! {
            _ = stage.wait_for(|stage| *stage == Stage::Stopped) => return,
            () = time::sleep(EVERY) => {}
        }
        app.notices.accept_failed.store(false, Ordering::Relaxed);
        for ((reason, meaning), told) in REASONS.iter().zip(&mut told) {
            let count = app.metrics.turned_away_count(reason);
            if count > *told {
                tracing::warn!("{} turned away in the last minute ({reason}): {meaning}", count - *told);
                *told = count;
            }
        }
    }
}
