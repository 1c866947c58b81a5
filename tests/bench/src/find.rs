//! What finding takes on one phone: lists, searches and suggestions over a town's reports, beside what reading them anew
//! takes.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use lamppost_core::base::DocumentId;
use lamppost_core::replica::{Engine, Error, Filter, FixedVault, ObservationDraft, Query, Sort, SystemClock};
use lamppost_core::watch::Kind;
use lamppost_core::watch::suggest::Point;
use neighborhood::input::load;
use procfs::Current as _;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::{Value, json};

use crate::fleet::Failure;

/// Times that each question is asked.
const TIMES: usize = 200;

/// Searches of every shape: rare and common words, two words, the beginning of a word, an accent, nothing.
const SEARCHES: [&str; 10] = [
    "cocaine",
    "the",
    "theft vehicle",
    "mont",
    "VEHÍCULO",
    "montbello traffic",
    "a",
    "colfax ave",
    "2016",
    "zzzz",
];

/// What `find` is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// A city's incident table: each row becomes an observation with a sealed part.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// At most so many rows.
    #[arg(long, default_value_t = usize::MAX)]
    rows: usize,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Files everything on a coordinator's phone, starts it again, and asks.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let open = || -> Result<Engine, Failure> {
        let vault = Arc::new(FixedVault::new([7; 32]));
        let entropy = Box::new(ChaCha20Rng::from_seed([7; 32]));
        Ok(Engine::open_in(&directory.path().join("phone"), vault, Arc::new(SystemClock), entropy)?)
    };
    let mut engine = open()?;
    engine.found()?;
    let mut held = 0;
    for report in load(&arguments.input)?.reports.into_iter().take(arguments.rows) {
        let draft = ObservationDraft { observation: report.observation, sealed: Some(report.sealed) };
        match engine.record(draft) {
            Ok(_) => {}
            // The guard asks about some: a person would answer.
            Err(Error::Invalid(_)) => held += 1,
            Err(why) => return Err(why.into()),
        }
    }
    drop(engine);
    let report = measure(open()?, held)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn measure(mut engine: Engine, held: usize) -> Result<Value, Failure> {
    let (list_ms, listed) = once(|| engine.list(&Filter::default()));
    let listed = listed?;
    let texts: Vec<String> = listed.iter().map(|(row, _)| format!("{} {}", row.title, row.text)).collect();
    let observations: Vec<DocumentId> =
        listed.iter().filter(|(row, _)| row.kind == Kind::OBSERVATION).map(|(row, _)| row.id).collect();
    drop(listed);

    let before = resident_bytes()?;
    let reports = Query { kind: Some(Kind::OBSERVATION), ..Query::default() };
    let (index_ms, page) = once(|| engine.find(&reports));
    let total = page?.rows_total;
    let index_bytes = resident_bytes()?.saturating_sub(before);

    let mut pages = serde_json::Map::new();
    let downtown = Point::new(39.7392, -104.9903);
    for (name, sort) in [
        ("latest_change", Sort::LatestChange),
        ("newest", Sort::Newest),
        ("oldest", Sort::Oldest),
        ("nearest", Sort::Nearest(downtown)),
    ] {
        let query = Query { sort, ..reports.clone() };
        pages.insert(name.to_owned(), spread((0..TIMES).map(|_| engine.find(&query)))?);
    }
    let mut middle = Query { sort: Sort::Newest, rows_max: total / 2, ..reports.clone() };
    middle.after = engine.find(&middle)?.next;
    middle.rows_max = Query::default().rows_max;
    pages.insert("newest_from_the_middle".to_owned(), spread((0..TIMES).map(|_| engine.find(&middle)))?);

    let mut searches = serde_json::Map::new();
    for text in SEARCHES {
        let query = Query { text: text.to_owned(), ..reports.clone() };
        let found = engine.find(&query)?.rows_total;
        let mut took = spread((0..TIMES / 4).map(|_| engine.find(&query)))?;
        took["found"] = json!(found);
        searches.insert(text.to_owned(), took);
    }
    let scan = spread((0..TIMES / 4).map(|_| {
        let found = texts.iter().filter(|text| text.to_lowercase().contains("cocaine")).count();
        Ok::<_, Error>(black_box(found))
    }))?;

    let suggestions = spread(observations.iter().map(|id| engine.suggestions(*id)))?;
    let (duplicates_ms, duplicates) = once(|| engine.duplicates());
    let duplicates = duplicates?;
    let paired: BTreeSet<DocumentId> = duplicates.iter().flat_map(|pair| pair.reports).collect();
    let (patterns_ms, patterns) = once(|| engine.patterns());
    let (counts_ms, counts) = once(|| engine.cell_counts(&Query::default()));
    let (weeks_ms, weeks) = once(|| engine.weeks(&Query::default(), &[]));

    // A phone that follows: something is filed, and the list is asked for again.
    let draft = engine.draft_of(observations[0])?;
    engine.find(&reports)?;
    let mut follow = Vec::new();
    for _ in 0..TIMES {
        engine.record(draft.clone())?;
        let (took_ms, found) = once(|| engine.find(&reports));
        found?;
        follow.push(took_ms);
    }
    let most = |times: &Value| times["p99_ms"].as_f64().unwrap_or(f64::NAN);
    let middle_of = |times: &Value| times["p50_ms"].as_f64().unwrap_or(f64::NAN);
    // The slowest order, the slowest search. Half of the answers are quicker; what a busy machine does to the rest is in
    // their p99.
    let page_p50 = pages.values().map(middle_of).fold(0.0, f64::max);
    let search_p50 = searches.values().map(middle_of).fold(0.0, f64::max);
    let ratios = json!([
        wanted("a page in the slowest order, p50, ms", page_p50, 10.0),
        wanted("the slowest search, p50, ms", search_p50, 50.0),
        wanted("suggestions for one report, p99, ms", most(&suggestions), 5.0),
        wanted("suggestions for the whole inbox, ms", duplicates_ms, 1_000.0),
        wanted("index from the rows / reading the rows", index_ms / list_ms, 2.0),
        wanted(
            "a search, p50 / reading every text in memory, p50",
            searches["cocaine"]["p50_ms"].as_f64().unwrap_or(f64::NAN)
                / scan["p50_ms"].as_f64().unwrap_or(f64::NAN),
            1.0
        ),
    ]);
    Ok(json!({
        "processors": std::thread::available_parallelism()?.get(),
        "load": procfs::LoadAverage::current()?.one,
        "reports": observations.len(),
        "held_by_the_guard": held,
        "rows": texts.len(),
        "read_every_row_ms": list_ms,
        "index_ms": index_ms,
        "index_mb": index_bytes as f64 / 1e6,
        "pages": pages,
        "searches": searches,
        "scan_of_texts": scan,
        "suggestions": suggestions,
        "duplicates": {
            "ms": duplicates_ms, "pairs": duplicates.len(), "reports": paired.len(),
            "first": duplicates.iter().take(3).map(|pair| pair.reason("en")).collect::<Vec<_>>(),
        },
        "patterns": { "ms": patterns_ms, "patterns": patterns?.len() },
        "cell_counts": { "ms": counts_ms, "cells": counts?.len() },
        "weeks": { "ms": weeks_ms, "weeks": weeks?.len() },
        "page_after_one_more_report": summary(follow),
        "ratios": ratios,
    }))
}

fn wanted(name: &str, value: f64, at_most: f64) -> Value {
    json!({ "name": name, "value": value, "at_most": at_most, "reached": value <= at_most })
}

fn once<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed().as_secs_f64() * 1e3, done)
}

/// How long each answer takes, in milliseconds.
fn spread<T, E: Into<Failure>>(mut answers: impl Iterator<Item = Result<T, E>>) -> Result<Value, Failure> {
    let mut times = Vec::new();
    while let (took_ms, Some(answer)) = once(|| answers.next()) {
        black_box(answer.map_err(Into::into)?);
        times.push(took_ms);
    }
    Ok(summary(times))
}

fn summary(mut times: Vec<f64>) -> Value {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    json!({ "times": times.len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0) })
}

fn resident_bytes() -> Result<u64, Failure> {
    Ok(procfs::process::Process::myself()?.statm()?.resident * procfs::page_size())
}

fn print(report: &Value) {
    println!("{} reports, {} rows", report["reports"], report["rows"]);
    for ratio in report["ratios"].as_array().into_iter().flatten() {
        let value = ratio["value"].as_f64().unwrap_or(f64::NAN);
        println!(
            "{:<52}{value:>10.3}   wanted {}",
            ratio["name"].as_str().unwrap_or_default(),
            ratio["at_most"]
        );
    }
    let pairs = &report["duplicates"];
    println!("{} pairs of {} reports may be one event: {}", pairs["pairs"], pairs["reports"], pairs["first"]);
}
