//! One task that commits the pushes of all sessions: what came while one write was under way makes up the next.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task;

use crate::app::{App, Stage, unix_ms};
use crate::relay::{Answer, Pushed};

/// Pushes that wait at most; the sessions that bring more wait with them in their sockets. 64 frames take 32 MiB.
pub const PUSHES_WAITING_MAX: usize = 64;

/// Entries of one commit: bounds how long the first of them waits for the last.
const COMMIT_ENTRIES_MAX: usize = 4_096;

/// A push, and where its answer goes.
pub struct Job {
    /// The push.
    pub push: Pushed,
    /// Has room for as many answers as a session has pushes under way.
    pub answer: mpsc::Sender<Answer>,
}

/// Commits until the relay has stopped and nothing waits any more.
pub async fn run(app: Arc<App>, mut jobs: mpsc::Receiver<Job>, mut stage: watch::Receiver<Stage>) {
    loop {
        let first = tokio::select! {
            biased;
            job = jobs.recv() => job,
            _ = stage.wait_for(|stage| *stage == Stage::Stopped) => None,
        };
        let Some(first) = first else {
            return;
        };
        let mut entries = first.push.entries.len();
        let (mut pushes, mut answers) = (vec![first.push], vec![first.answer]);
        while entries < COMMIT_ENTRIES_MAX
            && let Ok(job) = jobs.try_recv()
        {
            entries += job.push.entries.len();
            pushes.push(job.push);
            answers.push(job.answer);
        }
        let relay = Arc::clone(&app.relay);
        let begun = Instant::now();
        let committed = task::spawn_blocking(move || relay.commit(pushes, unix_ms())).await;
        let Ok(committed) = committed else {
            tracing::error!("a commit did not end as it should: no more pushes are taken");
            return;
        };
        app.metrics.committed(&committed, begun.elapsed().as_secs_f64());
        // First those who wait to read: whoever pushed has the words already.
        committed.grown.into_iter().for_each(|group| app.hub.grown(group));
        for (answer, to) in committed.answers.into_iter().zip(answers) {
            // A session that is gone asks again in its next life what became of its push.
            let _ = to.try_send(answer);
        }
        app.sweeps.add(committed.to_sweep);
    }
}
