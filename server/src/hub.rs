//! Who waits for which group: one version per group that somebody follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use lamppost_core::base::GroupId;
use tokio::sync::watch;

use crate::relay::lock;

/// Groups that are followed by sessions.
pub struct Hub {
    versions: Mutex<HashMap<GroupId, watch::Sender<u64>>>,
    group_sessions_max: usize,
}

/// A session's place among those that follow a group. Dropping it gives the place back.
pub struct Followed {
    hub: Arc<Hub>,
    group: GroupId,
    version: watch::Receiver<u64>,
}

impl Hub {
    /// Lets each group be followed by so many sessions at once.
    pub fn new(group_sessions_max: usize) -> Self {
        Self { versions: Mutex::default(), group_sessions_max }
    }

    /// Follows a group; none if it is full.
    pub fn follow(self: &Arc<Self>, group: GroupId) -> Option<Followed> {
        let mut versions = lock(&self.versions);
        let sender = versions.entry(group).or_insert_with(|| watch::Sender::new(0));
        if sender.receiver_count() >= self.group_sessions_max {
            return None;
        }
        Some(Followed { hub: Arc::clone(self), group, version: sender.subscribe() })
    }

    /// Wakes those who follow a group.
    pub fn grown(&self, group: GroupId) {
        if let Some(version) = lock(&self.versions).get(&group) {
            version.send_modify(|version| *version += 1);
        }
    }
}

impl Followed {
    /// Waits until the group has grown since this was last called.
    pub async fn grown(&mut self) {
        if self.version.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut versions = lock(&self.hub.versions);
        if versions.get(&self.group).is_some_and(|sender| sender.receiver_count() <= 1) {
            versions.remove(&self.group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_room_for_so_many_and_leaves_nothing_behind() {
        let hub = Arc::new(Hub::new(2));
        let group = GroupId([1; 32]);
        let (first, second) = (hub.follow(group).unwrap(), hub.follow(group).unwrap());
        assert!(hub.follow(group).is_none());
        drop(first);
        let third = hub.follow(group).unwrap();
        drop((second, third));
        assert!(lock(&hub.versions).is_empty());
    }
}
