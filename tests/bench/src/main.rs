//! Benchmarks of the whole system: `fleet` plays a town against a relay and sets what it took beside the floors of
//! this machine.

mod dictionary;
mod find;
mod fleet;
mod floods;
mod large_roll;
mod remains;
mod roll;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// How fast Lamppost is, measured on this machine.
#[derive(Parser)]
#[command(name = "lamppost-bench", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Upload, joining, live and cold start of a whole town, beside the floors of this machine.
    Fleet(fleet::Arguments),
    /// One relay under floods: what an honest push takes, what connections cost, what the operator sees.
    Floods(floods::Arguments),
    /// Lists, searches and suggestions on one phone, over a town's reports.
    Find(find::Arguments),
    /// What a roll costs as a group grows: 50, 150 and 500 devices.
    Roll {
        /// JSON instead of a table.
        #[arg(long)]
        json: bool,
        /// A roll of 100,000 entries instead, as a group and as hostile members write it.
        #[arg(long)]
        large: bool,
    },
    /// How long ciphertext stays in the files after it was shredded.
    Remains(remains::Arguments),
    /// Trains the dictionary that small changes are compressed with, and writes it to a file.
    Dictionary {
        /// Where to write it.
        file: PathBuf,
    },
    /// One relay, in a process of its own.
    #[command(hide = true)]
    Relay {
        #[arg(long)]
        data: PathBuf,
        /// With the limits that a relay has by default.
        #[arg(long)]
        limited: bool,
    },
    /// One task of a client, as JSON, in a process of its own.
    #[command(hide = true)]
    Client { task: String },
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Fleet(arguments) => fleet::run(&arguments),
        Command::Floods(arguments) => floods::run(&arguments),
        Command::Find(arguments) => find::run(&arguments),
        Command::Remains(arguments) => remains::run(&arguments),
        Command::Roll { json, large } => roll::run(json, large),
        Command::Dictionary { file } => {
            dictionary::train().and_then(|bytes| std::fs::write(file, bytes)).map_err(Into::into)
        }
        Command::Relay { data, limited } => fleet::relay(&data, limited),
        Command::Client { task } => fleet::client(&task),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("lamppost-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
