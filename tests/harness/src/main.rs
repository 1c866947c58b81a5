//! Runs many seeds, or replays one aloud.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lamppost_sim::{Plan, Story, run_seed, run_seeds};

/// Phones and a relay under one seed, in which everything that can break does.
#[derive(Parser)]
#[command(name = "lamppost-sim")]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Steps of each before everything heals.
    #[arg(long, default_value_t = 400)]
    steps: u64,
    /// Replays this seed alone, and tells every step.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Nobody is removed, recovered or given another role, and no phone goes back to an older copy.
    #[arg(long)]
    calm: bool,
    /// One member's app signs and sends what is not theirs to.
    #[arg(long, conflicts_with = "calm")]
    malice: bool,
}

fn main() -> ExitCode {
    let Arguments { seeds, from, steps, seed, calm, malice } = Arguments::parse();
    let (story, flag) = match (calm, malice) {
        (true, _) => (Story::Calm, " --calm"),
        (_, true) => (Story::Malice, " --malice"),
        _ => (Story::Unrest, ""),
    };
    if let Some(seed) = seed {
        let (outcome, tally) = run_seed(seed, steps, story, true);
        println!("{tally}");
        return match outcome {
            Ok(digest) => {
                println!("seed {seed}: every promise held, digest {digest:016x}");
                ExitCode::SUCCESS
            }
            Err(broken) => {
                println!("seed {seed}: broken at step {}: {}", broken.step, broken.what);
                ExitCode::FAILURE
            }
        };
    }
    let begun = Instant::now();
    let outcome = run_seeds(Plan { first: from, seeds, steps, story }, &|through| {
        if through % 100 == 0 {
            eprintln!("{through} of {seeds} seeds in {:.0} s", begun.elapsed().as_secs_f64());
        }
    });
    for (seed, broken) in &outcome.broken {
        println!("seed {seed} broke a promise at step {}: {}", broken.step, broken.what);
        println!("  replay: cargo run --release -p lamppost-sim -- --seed {seed} --steps {steps}{flag}");
    }
    println!("{}", outcome.tally);
    println!(
        "{} seeds of {steps} steps, {} broke a promise, {:.1} s",
        outcome.seeds,
        outcome.broken.len(),
        begun.elapsed().as_secs_f64()
    );
    if outcome.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
