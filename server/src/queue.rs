//! The queue of pushes: prepared off the committer, group after group, and those of strangers last.
//!
//! ```text
//!  live → queue → (a few workers: forms, cheap checks, signatures) → committer
//! ```
//!
//! A group whose devices push much waits behind itself alone. Pushes of one group are prepared one after the other, so
//! that those of a session stay in their order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use lamppost_core::base::{GroupId, limits};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task;

use crate::admit::CERTIFICATE_SIGNATURES;
use crate::app::{App, Stage, unix_ms};
use crate::committer::Ready;
use crate::inflow::Room;
use crate::places::Address;
use crate::relay::{Answer, Pushed, lock};

/// Of so many turns, strangers get one if members wait too.
const TURNS: u8 = 4;

/// Whose push it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A device's that belongs to the group.
    Member,
    /// Anybody else's.
    Stranger,
}

/// A push, and where its answer goes.
pub struct Job {
    /// The push.
    pub push: Pushed,
    /// Whose it is.
    pub class: Class,
    /// Where it came from; none if that is not known.
    pub address: Option<Address>,
    /// The room that its message takes up.
    pub room: Option<Room>,
    /// Has room for as many answers as a session has pushes under way.
    pub answer: mpsc::Sender<Answer>,
}

/// Pushes that wait to be prepared.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    added: Notify,
}

#[derive(Default)]
struct State {
    members: Ring,
    strangers: Ring,
    turn: u8,
}

/// Groups that take turns.
#[derive(Default)]
struct Ring {
    /// Groups that have something waiting and nothing under way.
    order: VecDeque<GroupId>,
    waiting: HashMap<GroupId, VecDeque<Job>>,
    under_way: HashSet<GroupId>,
}

impl Ring {
    fn add(&mut self, job: Job) {
        let group = job.push.group;
        let jobs = self.waiting.entry(group).or_default();
        jobs.push_back(job);
        if jobs.len() == 1 && !self.under_way.contains(&group) {
            self.order.push_back(group);
        }
    }

    fn next(&mut self) -> Option<Job> {
        let group = self.order.pop_front()?;
        let job = self.waiting.get_mut(&group).and_then(VecDeque::pop_front)?;
        self.under_way.insert(group);
        Some(job)
    }

    fn release(&mut self, group: GroupId) {
        self.under_way.remove(&group);
        match self.waiting.get(&group) {
            Some(jobs) if jobs.is_empty() => drop(self.waiting.remove(&group)),
            Some(_) => self.order.push_back(group),
            None => {}
        }
    }
}

impl State {
    fn next(&mut self) -> Option<Job> {
        self.turn = (self.turn + 1) % TURNS;
        if self.turn == 0 {
            return self.strangers.next().or_else(|| self.members.next());
        }
        self.members.next().or_else(|| self.strangers.next())
    }
}

impl Queue {
    /// Adds a push.
    pub fn add(&self, job: Job) {
        let mut state = lock(&self.state);
        match job.class {
            Class::Member => state.members.add(job),
            Class::Stranger => state.strangers.add(job),
        }
        drop(state);
        self.added.notify_one();
    }

    /// Lets the next push of a group be prepared.
    pub fn release(&self, class: Class, group: GroupId) {
        let mut state = lock(&self.state);
        match class {
            Class::Member => state.members.release(group),
            Class::Stranger => state.strangers.release(group),
        }
        drop(state);
        self.added.notify_one();
    }

    /// Pushes that wait.
    pub fn len(&self) -> usize {
        let state = lock(&self.state);
        let waiting = state.members.waiting.values().chain(state.strangers.waiting.values());
        waiting.map(VecDeque::len).sum()
    }

    async fn next(&self) -> Job {
        loop {
            let job = lock(&self.state).next();
            if let Some(job) = job {
                // There may be more, and another worker may have slept through it.
                self.added.notify_one();
                return job;
            }
            self.added.notified().await;
        }
    }
}

/// Signatures that a push of so many entries may need: of each entry, of one certificate in each, and of the certificates of
/// one largest admission. What is not used is given back.
fn wanted(entries: usize) -> usize {
    entries * (1 + CERTIFICATE_SIGNATURES) + limits::CERTIFICATES_MAX * CERTIFICATE_SIGNATURES
}

/// Prepares pushes for the committer until the relay has stopped and nothing waits any more.
pub async fn run(app: Arc<App>, ready: mpsc::Sender<Ready>, mut stage: watch::Receiver<Stage>) {
    loop {
        let job = tokio::select! {
            biased;
            job = app.queue.next() => job,
            _ = stage.wait_for(|stage| *stage == Stage::Stopped) => return,
        };
        let Job { push, class, address, room, answer } = job;
        let group = push.group;
        let budget = match class {
            Class::Member => usize::MAX,
            Class::Stranger => app.budgets.take(group, address, wanted(push.entries.len()), app.elapsed_ms()),
        };
        let relay = Arc::clone(&app.relay);
        let prepared = task::spawn_blocking(move || relay.prepare(push, budget, unix_ms())).await;
        let Ok(prepared) = prepared else {
            tracing::error!("a push could not be looked at");
            app.queue.release(class, group);
            continue;
        };
        if class == Class::Stranger {
            app.budgets.give_back(group, address, budget.saturating_sub(prepared.signatures()));
        }
        app.metrics.signatures_checked(prepared.signatures());
        if ready.send(Ready { prepared, class, room, answer }).await.is_err() {
            return;
        }
        // What a stranger may push next hangs on what becomes of this: the committer lets that go on.
        if class == Class::Member {
            app.queue.release(class, group);
        }
    }
}

#[cfg(test)]
mod tests {
    use lamppost_core::base::DeviceId;

    use super::*;

    fn job(class: Class, group: u8, number: u32) -> Job {
        let group = GroupId([group; 32]);
        let push = Pushed { group, device: DeviceId([1; 32]), number, entries: Vec::new() };
        Job { push, class, address: None, room: None, answer: mpsc::channel(1).0 }
    }

    fn next(queue: &Queue) -> Option<(u8, u32)> {
        let job = lock(&queue.state).next()?;
        queue.release(job.class, job.push.group);
        Some((job.push.group.0[0], job.push.number))
    }

    #[test]
    fn a_flood_waits_behind_itself() {
        let queue = Queue::default();
        (0..100).for_each(|number| queue.add(job(Class::Member, 1, number)));
        queue.add(job(Class::Member, 2, 0));
        assert_eq!([next(&queue), next(&queue)], [Some((1, 0)), Some((2, 0))]);
        assert_eq!(next(&queue), Some((1, 1)), "in their order");
    }

    #[test]
    fn strangers_get_every_fourth_turn_and_leave_nothing_behind() {
        let queue = Queue::default();
        (0..100).for_each(|number| queue.add(job(Class::Stranger, 9, number)));
        (0..6).for_each(|number| queue.add(job(Class::Member, 1, number)));
        let groups: Vec<u8> = (0..8).filter_map(|_| next(&queue)).map(|(group, _)| group).collect();
        assert_eq!(groups, [1, 1, 1, 9, 1, 1, 1, 9]);
        assert_eq!(queue.len(), 98);
        while next(&queue).is_some() {}
        let state = lock(&queue.state);
        assert!(state.strangers.waiting.is_empty() && state.members.waiting.is_empty());
    }

    #[test]
    fn one_push_of_a_group_is_under_way_at_a_time() {
        let queue = Queue::default();
        (0..2).for_each(|number| queue.add(job(Class::Member, 1, number)));
        let first = lock(&queue.state).next().unwrap();
        assert!(lock(&queue.state).next().is_none());
        queue.release(first.class, first.push.group);
        assert_eq!(next(&queue), Some((1, 1)));
    }
}
