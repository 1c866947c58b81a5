//! What the relay drops: bodies that expired or were shredded and that nobody holds, and their chunks (PROTOCOL.md §4.9).
//!
//! Headers stay, and with them logs, positions and the tree over arrivals: receipts and checkpoints hold as before.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lamppost_core::base::day::{DAY_MS, day_of};
use lamppost_core::base::{CompartmentId, GroupId};
use lamppost_core::entry::{Received, Verified};
use lamppost_core::roll::Roll;

use tokio::sync::{Notify, watch};
use tokio::{task, time};

use crate::app::{App, Stage, unix_ms};
use crate::disk::Level;
use crate::relay::{Relay, lock};
use crate::space::{Account, Part, payer};
use crate::store::{Arrived, StoreFault};

/// Entries looked at between two writes. 32 largest take 8 MiB for a moment, in which nothing else is committed.
const ROWS: usize = 32;

/// Groups whose roll lets bodies go. However often one is added while a sweep is under way, it is swept once more.
#[derive(Debug, Default)]
pub struct Sweeps {
    due: Mutex<BTreeSet<GroupId>>,
    added: Notify,
}

impl Sweeps {
    /// Adds groups.
    pub fn add(&self, groups: Vec<GroupId>) {
        if !groups.is_empty() {
            lock(&self.due).extend(groups);
            self.added.notify_one();
        }
    }

    async fn next(&self) -> BTreeSet<GroupId> {
        self.added.notified().await;
        std::mem::take(&mut *lock(&self.due))
    }
}

/// Whether the body of an entry is to go, by the roll and the relay's clock, in milliseconds since the Unix epoch.
pub fn is_over(roll: &Roll, entry: &Received, now_ms: u64) -> bool {
    entry.body().is_some() && roll.state().retention().drops(entry, day_of(now_ms))
}

/// Sweeps when the relay starts and once a day, and a group when its roll lets bodies go, until the relay has stopped.
pub async fn run(app: Arc<App>, mut stage: watch::Receiver<Stage>) {
    let mut days = time::interval(Duration::from_millis(DAY_MS));
    loop {
        let groups = tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage == Stage::Stopped) => return,
            _ = days.tick() => None,
            groups = app.sweeps.next() => Some(groups),
        };
        let relay = Arc::clone(&app.relay);
        let swept = task::spawn_blocking(move || match groups {
            None => relay.sweep(unix_ms()),
            Some(groups) => relay.sweep_groups(groups, unix_ms()),
        });
        match swept.await {
            Ok(Ok(0)) => {}
            Ok(Ok(dropped)) => {
                tracing::info!(dropped, "bodies and chunks that expired or were shredded are gone")
            }
            Ok(Err(why)) => tracing::error!("{why}"),
            Err(_) => tracing::error!("a sweep did not end as it should"),
        }
    }
}

impl Relay {
    /// Drops what is over in every group. Answers with how many bodies and chunks that were. In many durable writes; whatever
    /// interrupts them, the next call goes on. Passes by what cannot be read, and names its group.
    ///
    /// # Errors
    /// [`StoreFault`] if the store failed; then the relay takes nothing any more, as after any write that failed.
    pub fn sweep(&self, now_ms: u64) -> Result<u64, StoreFault> {
        self.sweep_groups(self.store.groups()?, now_ms)
    }

    /// Drops what is over in these groups, as [`Relay::sweep`] does.
    fn sweep_groups(
        &self,
        groups: impl IntoIterator<Item = GroupId>,
        now_ms: u64,
    ) -> Result<u64, StoreFault> {
        let mut dropped = 0;
        for group in groups {
            match self.sweep_group(group, now_ms) {
                Ok(of_group) => dropped += of_group,
                Err(why @ StoreFault::Damaged(_)) => drop(self.not_read(group, &why)),
                Err(why) => return Err(why),
            }
        }
        Ok(dropped)
    }

    /// Drops what is over in a group. Passes by entries that cannot be read, and looks which they are.
    ///
    /// # Errors
    /// As [`Relay::sweep`]; [`StoreFault::Damaged`] if nobody can tell what the group's roll says.
    pub fn sweep_group(&self, group: GroupId, now_ms: u64) -> Result<u64, StoreFault> {
        let compartments = self.with_group(group, |group| {
            let rows = &group.roll.state().template().compartments;
            rows.iter().map(|row| row.id).filter(|id| *id != CompartmentId::ROLL).collect::<Vec<_>>()
        })?;
        let mut dropped = 0;
        for compartment in compartments.unwrap_or_default() {
            let (mut after, mut is_whole) = (0, true);
            while let Some(page) = self.sweep_page(group, compartment, after, now_ms)? {
                after = page.last;
                dropped += page.dropped;
                is_whole &= page.is_whole;
            }
            if !is_whole || after != self.last_position(group, compartment)? {
                self.look_for_missing(group, compartment)?;
            }
        }
        dropped += self.sweep_chunks(group, now_ms)?;
        Ok(dropped)
    }

    fn last_position(&self, group: GroupId, compartment: CompartmentId) -> Result<u64, StoreFault> {
        let heads = self.with_group(group, |group| {
            let logs = group.heads.iter().filter(|(log, _)| log.compartment == compartment);
            logs.map(|(_, head)| head.seq.saturating_add(1)).fold(0, u64::saturating_add)
        })?;
        Ok(heads.unwrap_or_default())
    }

    /// Answers with what was looked at; none behind the end.
    fn sweep_page(
        &self,
        id: GroupId,
        compartment: CompartmentId,
        after: u64,
        now_ms: u64,
    ) -> Result<Option<Page>, StoreFault> {
        let _turn = lock(&self.committing);
        if self.has_failed() {
            return Err(StoreFault::Failed);
        }
        // Rows are written anew before their old places can be used again: on a full disk that waits.
        if self.gauge().level() == Level::Full {
            return Ok(None);
        }
        let rows = self.store.entries(id, compartment, after, ROWS)?;
        let Some(last) = rows.last().map(|row| row.position) else { return Ok(None) };
        let seen = self.with_group(id, |group| (Arc::clone(&group.roll), group.space.clone()))?;
        let Some((roll, space)) = seen else { return Ok(None) };
        let mut account = Account::new(space);
        let (mut write, mut dropped, mut is_whole) = (Arrived::default(), 0, true);
        for (expected, row) in (after.saturating_add(1)..).zip(&rows) {
            is_whole &= row.position == expected;
            let Ok(entry) = row.entry() else {
                is_whole = false;
                continue;
            };
            if is_over(&roll, &entry, now_ms) {
                let (before, author) = (entry.bytes(), entry.header().device);
                let entry = Verified::from_own_store(entry).without_body();
                let freed = (before - entry.bytes()) as u64;
                account.give_back(Part::of(&entry), payer(roll.state(), author, author), freed);
                write.again(id, &entry, row.position);
                dropped += 1;
            }
        }
        if dropped > 0 {
            account.changes().for_each(|(part, member, used)| write.space(id, part, member, used));
            self.write(write)?;
            self.change_group(id, |group| group.space = account.space);
        }
        Ok(Some(Page { last, dropped, is_whole }))
    }
}

/// Rows that a sweep has looked at.
struct Page {
    /// The last position.
    last: u64,
    /// Bodies dropped.
    dropped: u64,
    /// Whether every entry could be read.
    is_whole: bool,
}
