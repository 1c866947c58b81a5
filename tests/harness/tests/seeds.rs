//! The simulator in the test run: many seeds, and the same seed twice.

use lamppost_sim::{Plan, run_seed, run_seeds};

const STEPS: u64 = 300;

#[test]
fn two_hundred_seeds_keep_every_promise() {
    let outcome = run_seeds(Plan { first: 0, seeds: 200, steps: STEPS }, &|_| {});
    println!("{}", outcome.tally);
    let mut report = String::new();
    for (seed, broken) in &outcome.broken {
        report += &format!(
            "seed {seed} broke a promise at step {}: {}\n  replay: cargo run --release -p lamppost-sim -- --seed \
             {seed} --steps {STEPS}\n",
            broken.step, broken.what
        );
    }
    assert!(outcome.broken.is_empty(), "{report}");
    // A world in which nothing breaks would keep its promises too.
    let tally = outcome.tally;
    for happened in [
        tally.phone_crashes,
        tally.relay_crashes,
        tally.disk_faults,
        tally.cuts,
        tally.tampered,
        tally.relay_losses,
    ] {
        assert!(happened > 50, "{tally}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 2, 3] {
        let (first, again) = (run_seed(seed, STEPS, false), run_seed(seed, STEPS, false));
        assert!(first.0.is_ok());
        assert_eq!(first, again);
    }
    assert_ne!(run_seed(1, STEPS, false).0, run_seed(2, STEPS, false).0);
}
