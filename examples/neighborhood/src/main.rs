//! The story of one observation: from a phone without network, through a blind relay, to the liaison's answer.
//!
//! Everything is real: sockets, stores on disk, keys. Whatever is promised is checked, and a broken promise is a
//! non-zero exit.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that tells a story prints it")]

mod cast;
mod input;
mod narrator;
mod network;
mod proof;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Plays Lamppost's story with a relay, a coordinator, volunteers and a liaison officer in this process.
#[derive(Debug, Parser)]
#[command(name = "neighborhood", after_help = AFTER_HELP)]
struct Arguments {
    /// Reports to play instead of the bundled sample: a GeoJSON file, or a CSV file of incidents.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How many volunteers' phones take part.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=100))]
    phones: u8,
    /// Keep the stores in this directory, which must be empty or not exist yet.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Leave the relay running at the end, until Ctrl-C.
    #[arg(long)]
    serve: bool,
}

const AFTER_HELP: &str = "\
CSV columns (the order does not matter, others are ignored) and what they become are printed when such a file is read. \
Rows that cannot be used are counted and named, and the rest goes on.";

#[tokio::main]
async fn main() -> ExitCode {
    match story::play(Arguments::parse()).await {
        Ok(promises) if promises.all_kept() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("\nThe story could not be played to its end: {why}");
            ExitCode::from(2)
        }
    }
}
