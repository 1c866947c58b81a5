//! One task that commits the pushes of all sessions: what came while one write was under way makes up the next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task;

use crate::app::{App, unix_ms};
use crate::inflow::Room;
use crate::queue::Class;
use crate::relay::{Answer, Prepared};

/// Prepared pushes that wait at most; all others wait in the queue, where groups take turns.
pub const READY_MAX: usize = 16;

/// Entries of one commit: bounds how long the first of them waits for the last.
const COMMIT_ENTRIES_MAX: usize = 4_096;

/// Bytes of one commit, for the same reason, and because all of them are in memory twice while it is written.
const COMMIT_BYTES_MAX: usize = 4 << 20;

/// A push whose signatures are checked, and where its answer goes.
pub struct Ready {
    /// The push.
    pub prepared: Prepared,
    /// Whose it is.
    pub class: Class,
    /// The room that its message takes up.
    pub room: Option<Room>,
    /// Has room for as many answers as a session has pushes under way.
    pub answer: mpsc::Sender<Answer>,
}

/// Commits until nobody prepares pushes any more.
pub async fn run(app: Arc<App>, mut ready: mpsc::Receiver<Ready>) {
    while let Some(first) = ready.recv().await {
        let (mut entries, mut bytes) = (first.prepared.len(), first.prepared.bytes());
        let mut batch = vec![first];
        while entries < COMMIT_ENTRIES_MAX
            && bytes < COMMIT_BYTES_MAX
            && let Ok(next) = ready.try_recv()
        {
            entries += next.prepared.len();
            bytes += next.prepared.bytes();
            batch.push(next);
        }
        let mut pushes = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for Ready { prepared, class, room, answer } in batch {
            answers.push((class, prepared.group(), room, answer));
            pushes.push(prepared);
        }
        let relay = Arc::clone(&app.relay);
        let begun = Instant::now();
        let committed = task::spawn_blocking(move || relay.commit_prepared(pushes, unix_ms())).await;
        let Ok(committed) = committed else {
            tracing::error!("a commit did not end as it should: no more pushes are taken");
            app.commits.store(false, Ordering::Release);
            return;
        };
        app.metrics.committed(&committed, begun.elapsed().as_secs_f64());
        // First those who wait to read: whoever pushed has the words already.
        committed.grown.into_iter().for_each(|group| app.hub.grown(group));
        for (answer, (class, group, room, to)) in committed.answers.into_iter().zip(answers) {
            // A session that is gone asks again in its next life what became of its push.
            let _ = to.try_send(answer);
            drop(room);
            if class == Class::Stranger {
                app.queue.release(class, group);
            }
        }
        app.sweeps.add(committed.to_sweep);
    }
}
