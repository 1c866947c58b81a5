//! What the story and the benchmarks share: reports read from files.

pub mod input;
