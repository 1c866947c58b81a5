//! Who waits for which group: one version per group that somebody follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use lamppost_core::base::GroupId;
use tokio::sync::watch;

use crate::inflow::GroupPool;
use crate::relay::lock;

/// Groups that are followed by sessions.
#[derive(Default)]
pub struct Hub {
    groups: Mutex<HashMap<GroupId, Group>>,
}

#[derive(Default)]
struct Group {
    version: watch::Sender<u64>,
    pool: GroupPool,
}

/// A session that follows a group. A group that nobody follows any more is forgotten here.
pub struct Followed {
    hub: Arc<Hub>,
    group: GroupId,
    version: watch::Receiver<u64>,
    pool: GroupPool,
}

impl Hub {
    /// Follows a group.
    pub fn follow(self: &Arc<Self>, group: GroupId) -> Followed {
        let mut groups = lock(&self.groups);
        let of_group = groups.entry(group).or_default();
        let (version, pool) = (of_group.version.subscribe(), of_group.pool.clone());
        Followed { hub: Arc::clone(self), group, version, pool }
    }

    /// Wakes those who follow a group.
    pub fn grown(&self, group: GroupId) {
        if let Some(group) = lock(&self.groups).get(&group) {
            group.version.send_modify(|version| *version += 1);
        }
    }
}

impl Followed {
    /// Room for the group's large messages.
    pub fn pool(&self) -> GroupPool {
        self.pool.clone()
    }

    /// Waits until the group has grown since this was last called.
    pub async fn grown(&mut self) {
        if self.version.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut groups = lock(&self.hub.groups);
        if groups.get(&self.group).is_some_and(|group| group.version.receiver_count() <= 1) {
            groups.remove(&self.group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_nobody_follows_leaves_nothing_behind() {
        let hub = Arc::new(Hub::default());
        let group = GroupId([1; 32]);
        let both = (hub.follow(group), hub.follow(group));
        assert_eq!(lock(&hub.groups).len(), 1);
        drop(both);
        assert!(lock(&hub.groups).is_empty());
    }
}
