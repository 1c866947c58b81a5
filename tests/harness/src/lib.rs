//! A world of phones and a relay under one seed: the same seed gives the same run, step for step.
//!
//! ```text
//!   chance ──→ world ──→ phone   (core's Engine and session machine, over a disk that fails)
//!                │         ↕ link (delay, loss, duplication, reordering, altered bytes)
//!                ├─────→ relay   (the server's Relay and session machine, over a disk that fails)
//!                └─────→ model   what was promised to whom, kept as plainly as can be, and compared after each step
//! ```
//!
//! The real code runs here without tokio, sockets or files: everything it takes from outside comes from the seed.
//! What is absent on purpose: knowledge of how the engine or the relay work inside.

mod chance;
mod disk;
mod link;
mod model;
mod phone;
mod relay;
mod run;
mod world;

pub use run::{Outcome, Plan, run_seed, run_seeds};
pub use world::{Broken, Story, Tally};
