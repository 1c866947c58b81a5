//! What an operator does with groups of a running relay: list, allow, expire and delete them.

use std::sync::atomic::Ordering;

use lamppost_core::base::GroupId;

use crate::relay::{Relay, lock};
use crate::space::Part;
use crate::store::StoreFault;

/// One group, as far as a relay knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// The group.
    pub group: GroupId,
    /// When its newest entry arrived, in milliseconds since the Unix epoch; none if it has not been founded here yet.
    pub newest_ms: Option<u64>,
    /// Bytes of its membership log, of its other entries and of its photos.
    pub bytes: [u64; 3],
    /// When it is to be deleted, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
}

impl Relay {
    /// Returns every group that is here or allowed, ascending by id.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn list_groups(&self) -> Result<Vec<GroupRow>, StoreFault> {
        let here = self.store.groups()?;
        let expiries = self.store.expiries()?;
        let mut rows = Vec::with_capacity(here.len());
        for group in &here {
            let space = self.store.space(*group)?;
            rows.push(GroupRow {
                group: *group,
                newest_ms: self.store.newest_ms(*group)?,
                bytes: Part::ALL.map(|part| space.sum(part)),
                expires_ms: expiries.get(group).copied(),
            });
        }
        let allowed = lock(&self.allowed).clone();
        let coming = allowed.into_iter().filter(|group| !here.contains(group));
        rows.extend(coming.map(|group| GroupRow {
            group,
            newest_ms: None,
            bytes: [0; 3],
            expires_ms: expiries.get(&group).copied(),
        }));
        rows.sort_by_key(|row| row.group);
        Ok(rows)
    }

    /// Allows a group to be founded although the relay takes no new groups. Durable on return.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn allow_group(&self, group: GroupId) -> Result<(), StoreFault> {
        let _turn = lock(&self.committing);
        self.durably(|store| store.allow(group))?;
        lock(&self.allowed).insert(group);
        Ok(())
    }

    /// Sets when a group is to be deleted, in milliseconds since the Unix epoch; none for never. Until then it goes on as
    /// before. Returns whether there is such a group.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn expire_group(&self, group: GroupId, at_ms: Option<u64>) -> Result<bool, StoreFault> {
        let _turn = lock(&self.committing);
        if self.store.newest_ms(group)?.is_none() {
            return Ok(false);
        }
        self.durably(|store| store.set_expiry(group, at_ms))?;
        Ok(true)
    }

    /// Forgets a group and drops all that is kept of it. It is unknown from the first moment on; the rest goes in many
    /// durable writes, and after a restart [`Relay::finish_deletions`] goes on. Returns whether there was anything of it.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn delete_group(&self, group: GroupId) -> Result<bool, StoreFault> {
        {
            let _turn = lock(&self.committing);
            let was_here = self.store.newest_ms(group)?.is_some();
            let was_allowed = lock(&self.allowed).contains(&group);
            if !was_here && !was_allowed {
                return Ok(false);
            }
            lock(&self.deleting).insert(group);
            self.durably(|store| store.forget(group))?;
            lock(&self.allowed).remove(&group);
            self.unload(group);
            if was_here {
                self.group_count.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.drop_rows(group)?;
        Ok(true)
    }

    /// Goes on with deletions that a stop has interrupted.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn finish_deletions(&self) -> Result<(), StoreFault> {
        for group in self.store.forgotten()? {
            self.drop_rows(group)?;
        }
        Ok(())
    }

    /// Deletes the groups whose time is over at `now_ms`. Returns them.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn delete_expired(&self, now_ms: u64) -> Result<Vec<GroupId>, StoreFault> {
        let over = self.store.expiries()?.into_iter().filter(|(_, at_ms)| *at_ms <= now_ms);
        let mut deleted = Vec::new();
        for (group, _) in over {
            if self.delete_group(group)? {
                deleted.push(group);
            }
        }
        Ok(deleted)
    }

    /// Drops the rows of a group that was forgotten, a page at a time, so that pushes of others go in between.
    fn drop_rows(&self, group: GroupId) -> Result<(), StoreFault> {
        loop {
            let _turn = lock(&self.committing);
            if self.durably(|store| store.drop_page(group))? {
                lock(&self.deleting).remove(&group);
                return Ok(());
            }
        }
    }
}
