//! Changes, pulled: first the whole list, then coalesced differences.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use super::app::Replica;
use super::error::Error;
use super::view::{Delivery, Filter, Row};
use crate::base::DocumentId;

/// Documents that a feed remembers as changed; past that it starts over with the whole list.
const CHANGED_MAX: usize = 1_024;

/// What happened to the list since the last call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedEvent {
    /// The whole list, latest change first. Comes first, and again if too much happened at once.
    Reset(Vec<(Row, Delivery)>),
    /// Rows that are new or changed; each once, however often it changed.
    Changed(Vec<(Row, Delivery)>),
    /// Documents that are not shown any more: they expired, were shredded, or were recorded alone and came along under another
    /// identity, all for good; or a removal cut them off, and they may come back.
    Gone(Vec<DocumentId>),
}

/// A subscription to the list.
pub struct Feed {
    replica: Replica,
    state: Arc<FeedState>,
}

#[derive(Default)]
pub(super) struct FeedState {
    pending: Mutex<Pending>,
    wake: Notify,
}

#[derive(Default)]
struct Pending {
    reset: bool,
    changed: BTreeSet<DocumentId>,
    gone: BTreeSet<DocumentId>,
}

impl Feed {
    pub(super) fn new(replica: Replica, state: Arc<FeedState>) -> Self {
        Self { replica, state }
    }

    /// Waits until something happened and says what. May be dropped and called again without losing anything.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn next(&self) -> Result<FeedEvent, Error> {
        loop {
            let mut taken = Taken { pending: std::mem::take(&mut *self.state.lock()), state: &self.state };
            if taken.pending.reset {
                let rows = self.replica.list(Filter { all_kinds: true, ..Filter::default() }).await?;
                taken.pending = Pending::default();
                return Ok(FeedEvent::Reset(rows));
            }
            if !taken.pending.gone.is_empty() {
                let gone = std::mem::take(&mut taken.pending.gone);
                return Ok(FeedEvent::Gone(gone.into_iter().collect()));
            }
            if !taken.pending.changed.is_empty() {
                let rows = self.replica.rows(taken.pending.changed.iter().copied().collect()).await?;
                taken.pending = Pending::default();
                if !rows.is_empty() {
                    return Ok(FeedEvent::Changed(rows));
                }
                continue;
            }
            self.state.wake.notified().await;
        }
    }
}

/// What is about to be told. Whatever was not told, because of an error or because nobody waits any more, goes back.
struct Taken<'a> {
    pending: Pending,
    state: &'a FeedState,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut pending = self.state.lock();
        pending.reset |= self.pending.reset;
        pending.changed.append(&mut self.pending.changed);
        pending.gone.append(&mut self.pending.gone);
    }
}

impl FeedState {
    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every feed of one replica.
#[derive(Default)]
pub(super) struct Feeds(Mutex<Vec<Weak<FeedState>>>);

impl Feeds {
    pub(super) fn subscribe(&self) -> Arc<FeedState> {
        let state = Arc::new(FeedState::default());
        state.lock().reset = true;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&state));
        state
    }

    pub(super) fn publish(&self, changed: &BTreeSet<DocumentId>, gone: &BTreeSet<DocumentId>) {
        if changed.is_empty() && gone.is_empty() {
            return;
        }
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|feed| feed.strong_count() > 0);
        for feed in feeds.iter().filter_map(Weak::upgrade) {
            let mut pending = feed.lock();
            pending.changed.extend(changed);
            pending.gone.extend(gone);
            if pending.changed.len() + pending.gone.len() > CHANGED_MAX {
                pending.changed.clear();
                pending.gone.clear();
                pending.reset = true;
            }
            drop(pending);
            feed.wake.notify_one();
        }
    }
}
