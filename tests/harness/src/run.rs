//! Many seeds, on all cores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::world::{Broken, Story, Tally, World};

/// Which seeds to run, and how long each.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Steps of each, before everything heals.
    pub steps: u64,
    /// What people do in them.
    pub story: Story,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Seeds run.
    pub seeds: u64,
    /// Seeds that broke a promise, in order.
    pub broken: Vec<(u64, Broken)>,
    /// What happened in all of them together.
    pub tally: Tally,
}

/// Runs one seed. Answers with a digest of all that happened, the same for the same seed and steps.
///
/// # Errors
/// [`Broken`] names the first promise that did not hold. A panic of the code under test is one.
pub fn run_seed(seed: u64, steps: u64, story: Story, aloud: bool) -> (Result<u64, Broken>, Tally) {
    let mut world = World::new(seed, story, aloud);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run(steps))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
        Err(Broken { step: world.step(), what: format!("a panic: {text}") })
    });
    (outcome, world.tally)
}

/// Runs seeds on every core, and tells `progress` how many are through.
pub fn run_seeds(plan: Plan, progress: &(dyn Fn(u64) + Sync)) -> Outcome {
    let (next, through) = (AtomicU64::new(0), AtomicU64::new(0));
    let total = Mutex::new(Outcome::default());
    let work = || {
        loop {
            let offset = next.fetch_add(1, Ordering::Relaxed);
            if offset >= plan.seeds {
                return;
            }
            let seed = plan.first + offset;
            let (outcome, tally) = run_seed(seed, plan.steps, plan.story, false);
            let mut total = total.lock().expect("it is whole because nothing panics while it is held");
            total.seeds += 1;
            total.tally.add(&tally);
            total.broken.extend(outcome.err().map(|broken| (seed, broken)));
            drop(total);
            progress(through.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let mut total = total.into_inner().expect("it is whole because nothing panics while it is held");
    total.broken.sort_by_key(|(seed, _)| *seed);
    total
}
