//! The story, chapter by chapter.

mod belonging;
mod handing_over;
mod month;
mod overview;
mod proofs;
mod recording;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lamppost_core::base::DocumentId;
use lamppost_core::replica::{Delivery, Filter, Row, Step};
use lamppost_core::watch::{Kind, codes};
use lamppost_server::Running;

use crate::Arguments;
use crate::cast::{Phone, relay};
use crate::choice::Chosen;
use crate::narrator::{Promises, announce, chapter, count, say, sees, shortened, size, thousands};
use neighborhood::input::{self, Loaded, Report};

/// The language of codes, as a BCP 47 tag.
const LANGUAGE: &str = "en";

type Failure = Box<dyn std::error::Error>;

/// Most reports that are looked at for the control of the search: each is opened on the coordinator's phone.
const CONTROL_REPORTS_MAX: usize = 500;

/// How long phones wait when the relay has taken as much as it takes at once.
const RATE_WAIT: Duration = Duration::from_secs(5);

/// Plays everything and says which promises were kept.
pub async fn play(arguments: Arguments) -> Result<Promises, Failure> {
    let (root, _removed_at_the_end) = stage(arguments.keep.as_deref())?;
    let loaded = match &arguments.input {
        Some(path) => input::load(path)
            .inspect_err(|why| show("What such a file may hold, and becomes:", why.mapping()))?,
        None => input::sample(),
    };
    introduce(&loaded, arguments.input.is_some());
    let chosen = Chosen::among(&loaded.reports);
    if let Some(why) = chosen.kept_back {
        say(format_args!("chapters 6 and 7 are not played: {why} (a report's `consent` names `liaison`)"));
    }
    let mut story = Story::open(&root, loaded.reports, chosen, arguments.phones).await?;
    story.found().await?;
    story.record().await?;
    story.come_online().await?;
    story.coordinate().await?;
    story.overview().await?;
    let release = story.release().await?;
    story.answer(release).await?;
    story.prove(release).await?;
    story.belong().await?;
    story.month().await?;
    story.end(arguments.serve, arguments.keep.is_some()).await
}

fn stage(keep: Option<&Path>) -> Result<(PathBuf, Option<tempfile::TempDir>), Failure> {
    let Some(directory) = keep else {
        let temporary = tempfile::tempdir()?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    let unusable = |why| format!("cannot keep the stores in {}: {why}", directory.display());
    std::fs::create_dir_all(directory).map_err(unusable)?;
    if std::fs::read_dir(directory).map_err(unusable)?.next().is_some() {
        return Err(format!(
            "{} is not empty: name a new directory to keep the stores in",
            directory.display()
        )
        .into());
    }
    Ok((directory.to_owned(), None))
}

fn show(title: &str, mapping: &[(&str, &str)]) {
    if !mapping.is_empty() {
        say(title);
    }
    let width = mapping.iter().map(|(from, _)| from.chars().count()).max().unwrap_or_default();
    for (from, to) in mapping {
        say(format_args!("  {from:width$}  {to}"));
    }
}

fn introduce(loaded: &Loaded, own_file: bool) {
    announce("Lamppost: an observation travels from an offline phone, through a blind relay, to the liaison");
    if own_file {
        show("What the file's columns or properties become:", loaded.mapping);
    }
    let reports = count(loaded.reports.len(), "observation", "observations");
    say(format_args!("{reports} to play, {} left out", loaded.refused.len()));
    for refused in loaded.refused.iter().take(10) {
        say(format_args!("  line {}: {}", refused.line, refused.what));
    }
    if loaded.refused.len() > 10 {
        say(format_args!("  … and {} more", loaded.refused.len() - 10));
    }
}

struct Story {
    root: PathBuf,
    relay: Running,
    url: String,
    coordinator: Phone,
    volunteers: Vec<Phone>,
    liaison: Phone,
    reports: Vec<Report>,
    /// Where each report was filed, in the order of `reports`.
    filed: Vec<DocumentId>,
    chosen: Chosen,
    promises: Promises,
    times: Vec<(&'static str, String)>,
}

impl Story {
    async fn open(root: &Path, reports: Vec<Report>, chosen: Chosen, phones: u8) -> Result<Self, Failure> {
        if reports.is_empty() {
            return Err("nothing in the file can be played: what was left out is named above".into());
        }
        let relay = relay(root).await?;
        let url = relay.url();
        let coordinator = Phone::open(root, "coordinator").await?;
        let liaison = Phone::open(root, "liaison").await?;
        let mut volunteers = Vec::new();
        for number in 1..=phones {
            volunteers.push(Phone::open_on_a_bad_network(root, &format!("volunteer-{number:02}")).await?);
        }
        chapter(
            1,
            "A relay starts, and knows nobody",
            "A relay is the small server between the phones. It will keep and pass on what it has no key to read.",
        );
        say(format_args!("listening on {url}, relay id {}", relay.relay()));
        sees("the relay", [format!("{} groups", relay.group_count())]);
        let (root, promises) = (root.to_owned(), Promises::default());
        let (filed, times) = (Vec::new(), Vec::new());
        Ok(Self {
            root,
            relay,
            url,
            coordinator,
            volunteers,
            liaison,
            reports,
            filed,
            chosen,
            promises,
            times,
        })
    }

    async fn end(mut self, serve: bool, kept: bool) -> Result<Promises, Failure> {
        chapter(14, "Summary", "What it took, and what was promised.");
        let entries = self.filed.len() as u64;
        let relay_bytes = directory_bytes(&self.root.join("relay"))?;
        let first = self.volunteers.first().ok_or("no volunteers")?;
        let phones = format!("{} volunteers, 1 coordinator, 1 liaison", self.volunteers.len());
        let mut rows = vec![("observations", thousands(entries)), ("phones", phones)];
        rows.append(&mut self.times);
        rows.push(("relay's disk", size(relay_bytes)));
        rows.push(("one volunteer's disk", size(directory_bytes(&first.directory)?)));
        for (what, how_much) in rows {
            say(format_args!("{what:22} {how_much}"));
        }
        announce("");
        self.promises.table();
        if kept {
            say(format_args!("the stores are in {}", self.root.display()));
        }
        if serve {
            say(format_args!("the relay still listens on {}; Ctrl-C ends it", self.url));
            tokio::signal::ctrl_c().await?;
        }
        self.relay.stop().await;
        Ok(self.promises)
    }
}

fn observations(rows_max: Option<usize>) -> Filter {
    Filter { kind: Some(Kind::OBSERVATION), rows_max, ..Filter::default() }
}

fn list_row((row, delivery): &(Row, Delivery)) -> String {
    let place = match delivery {
        Delivery::OnPhone => "on this phone",
        Delivery::AtRelay => "at the relay",
        Delivery::Refused => "refused",
    };
    format!(
        "{} | {:24} | {:13} | {}",
        row.id.short(),
        shortened(&title(row), 24),
        place,
        shortened(&row.text, 60)
    )
}

/// The title, with the label of each code that it is made of.
fn title(row: &Row) -> String {
    if row.kind != Kind::OBSERVATION {
        return row.title.clone();
    }
    let labels = row.title.split(", ").map(|code| codes::behaviours().label(code, LANGUAGE));
    labels.collect::<Vec<_>>().join(", ")
}

fn step(step: &Step) -> String {
    let (said, status, outcome) = (codes::annotation_status(), codes::response_status(), codes::outcome());
    match step {
        Step::Recorded { .. } => "recorded on the phone".to_owned(),
        Step::AtRelay { .. } => "kept by the relay (signed receipt)".to_owned(),
        Step::SetAside { reason, .. } => format!("set aside: {reason}"),
        Step::Corrected { retracted: true, .. } => "taken back by its author".to_owned(),
        Step::Corrected { text, .. } => format!("corrected by its author: {text}"),
        Step::Contested { reason, .. } => {
            format!("contested by its author: {}", codes::contest().label(reason, LANGUAGE))
        }
        Step::Seen { by, text, .. } => {
            format!("coordinator {}: {}", by.short(), shortened(said.label(text, LANGUAGE), 60))
        }
        Step::Released { purpose, .. } => format!("a redacted copy was handed to the liaison: {purpose}"),
        Step::Recalled { reason, .. } => {
            format!("the copy was called back: {}", codes::recall().label(reason, LANGUAGE))
        }
        Step::Answered { status: at, outcome: what, .. } => {
            format!("the liaison answered: {}, {}", status.label(at, LANGUAGE), outcome.label(what, LANGUAGE))
        }
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "(none)" } else { text }
}

fn directory_bytes(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for child in std::fs::read_dir(directory)? {
        let child = child?;
        bytes +=
            if child.path().is_dir() { directory_bytes(&child.path())? } else { child.metadata()?.len() };
    }
    Ok(bytes)
}
