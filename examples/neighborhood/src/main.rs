//! The story of one observation: from a phone without network, through a blind relay, to the liaison's answer.
//!
//! Everything is real: sockets, stores on disk, keys. Whatever is promised is checked, and a broken promise is a
//! non-zero exit.

#![expect(clippy::print_stderr, reason = "a program that tells a story says why it ends")]

mod cast;
mod choice;
mod narrator;
mod network;
mod proof;
mod story;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Plays Lamppost's story with a relay, a coordinator, volunteers and a liaison officer in this process.
#[derive(Debug, Parser)]
#[command(name = "neighborhood", after_help = AFTER_HELP)]
struct Arguments {
    /// Reports to play instead of the bundled sample: a GeoJSON file of points, or a CSV file of incidents in the format
    /// of Denver's open data.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How many volunteers' phones take part: a number from 2 to 100.
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
GeoJSON: every Point with a `title`, `name` or `description` becomes a report. Only reports whose `consent` names \
`liaison` are ever handed over, so the chapters about that are left out for a file without any.

CSV: the header has to name OFFENSE_TYPE_ID and FIRST_OCCURRENCE_DATE, in any order; Denver's other columns are used if \
they are there, and the rest is ignored.

What columns and properties become is printed when a file is read. Rows that cannot be used are counted and named, and \
the rest goes on.

Exit codes: 0 every promise was kept, 1 one was broken, 2 the story could not be played.";

#[tokio::main]
async fn main() -> ExitCode {
    let story = Box::pin(story::play(Arguments::parse()));
    let played = tokio::select! {
        played = story => played,
        why = narrator::unheard() => {
            if why == ErrorKind::BrokenPipe {
                return ExitCode::SUCCESS;
            }
            Err(format!("it cannot be printed: {why}").into())
        }
    };
    match played {
        Ok(promises) if promises.all_kept() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("\nThe story could not be played to its end: {why}");
            ExitCode::from(2)
        }
    }
}
