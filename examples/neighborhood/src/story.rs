//! The story, chapter by chapter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lamppost_core::base::{DocumentId, RoleId};
use lamppost_core::replica::{
    CaseLink, Content, Delivery, Filter, LiaisonAnswer, ObservationDraft, ReleasePlan, Row, Step,
};
use lamppost_core::watch::{Kind, Redaction, Span, roles};
use lamppost_server::Running;
use tokio::task::JoinSet;

use crate::Arguments;
use crate::cast::{Phone, relay};
use crate::narrator::{Promises, Stopwatch, chapter, progress, say, sees, shortened, size, thousands};
use crate::network::Trouble;
use crate::proof::Search;
use neighborhood::input::{self, Loaded, Report};

type Failure = Box<dyn std::error::Error>;

/// Plays everything and says which promises were kept.
pub async fn play(arguments: Arguments) -> Result<Promises, Failure> {
    let (root, _removed_at_the_end) = stage(arguments.keep.as_deref())?;
    let loaded = match &arguments.input {
        Some(path) => input::load(path)?,
        None => input::sample(),
    };
    introduce(&loaded, arguments.input.is_some());
    let mut story = Story::open(&root, loaded.reports, arguments.phones).await?;
    story.found().await?;
    story.record().await?;
    story.come_online().await?;
    story.coordinate().await?;
    let release = story.release().await?;
    story.answer(release).await?;
    story.prove(release).await?;
    story.end(arguments.serve, arguments.keep.is_some()).await
}

fn stage(keep: Option<&Path>) -> Result<(PathBuf, Option<tempfile::TempDir>), Failure> {
    let Some(directory) = keep else {
        let temporary = tempfile::tempdir()?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    std::fs::create_dir_all(directory)?;
    if std::fs::read_dir(directory)?.next().is_some() {
        return Err(format!(
            "{} is not empty: name a new directory to keep the stores in",
            directory.display()
        )
        .into());
    }
    Ok((directory.to_owned(), None))
}

fn introduce(loaded: &Loaded, own_file: bool) {
    println!("Lamppost: an observation travels from an offline phone, through a blind relay, to the liaison");
    if own_file {
        say("What the file's columns or properties become:");
        for (from, to) in loaded.mapping {
            say(format_args!("  {from:32} {to}"));
        }
    }
    let count = thousands(loaded.reports.len() as u64);
    say(format_args!("{count} observations to play, {} left out", loaded.refused.len()));
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
    /// The two reports that are handed over.
    pair: Vec<usize>,
    promises: Promises,
    times: Vec<(&'static str, String)>,
}

impl Story {
    async fn open(root: &Path, reports: Vec<Report>, phones: u8) -> Result<Self, Failure> {
        if reports.len() < 2 {
            return Err("the story needs at least two observations: give a file with more".into());
        }
        let relay = relay(root).await?;
        let url = relay.url();
        let coordinator = Phone::open(root, "coordinator").await?;
        let liaison = Phone::open(root, "liaison").await?;
        let mut volunteers = Vec::new();
        for number in 1..=phones {
            volunteers.push(Phone::open_on_a_bad_network(root, &format!("volunteer-{number:02}")).await?);
        }
        chapter(1, "A relay starts, and knows nobody");
        say(format_args!("listening on {url}, relay key {}", relay.relay().short()));
        sees("the relay", [format!("{} groups", relay.group_count())]);
        let (root, promises) = (root.to_owned(), Promises::default());
        let (filed, pair, times) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { root, relay, url, coordinator, volunteers, liaison, reports, filed, pair, promises, times })
    }

    /// Founding, and admission at a kitchen table: no network yet.
    async fn found(&mut self) -> Result<(), Failure> {
        chapter(2, "A coordinator founds a group and admits neighbours and the liaison officer");
        let info = self.coordinator.replica.found().await?;
        say(format_args!(
            "group {} was founded on the coordinator's phone, without any network",
            info.group.short()
        ));
        let volunteers = self.volunteers.iter().map(|phone| (phone, roles::ROLE_VOLUNTEER));
        let newcomers: Vec<(&Phone, u8)> = volunteers.chain([(&self.liaison, roles::ROLE_LIAISON)]).collect();
        let mut last = None;
        for (phone, role) in &newcomers {
            let request = phone.replica.request().await?;
            last = Some(self.coordinator.replica.admit(request, RoleId(*role)).await?);
        }
        let admission = last.ok_or("nobody was admitted")?;
        let handed_bytes = admission.to_bytes().len() as u64;
        for (phone, _) in &newcomers {
            phone.replica.join(admission.clone()).await?;
        }
        say(format_args!("each newcomer was handed {} that hold no secret and no name", size(handed_bytes)));
        let roster = self.coordinator.replica.roster().await?;
        let mut by_role: BTreeMap<(String, String), usize> = BTreeMap::new();
        for row in roster {
            *by_role.entry((row.role_name, row.reads.join(", "))).or_default() += 1;
        }
        sees(
            "everybody",
            by_role.iter().map(|((role, reads), n)| format!("{n} x {role:12} can decrypt: {reads}")),
        );
        sees("the relay", [format!("{} groups", self.relay.group_count())]);
        Ok(())
    }

    /// Recording and amending, offline.
    async fn record(&mut self) -> Result<(), Failure> {
        chapter(3, "Volunteers record what they see, with no network at all");
        let watch = Stopwatch::start();
        let bar = progress(self.reports.len(), "recording and amending");
        let mut work = JoinSet::new();
        let phones = self.volunteers.len();
        for (at, phone) in self.volunteers.iter().enumerate() {
            let mine: Vec<(usize, Report)> = self
                .reports
                .iter()
                .enumerate()
                .skip(at)
                .step_by(phones)
                .map(|(n, r)| (n, r.clone()))
                .collect();
            let (replica, bar) = (phone.replica.clone(), bar.clone());
            work.spawn(async move {
                let mut filed = Vec::new();
                for (number, report) in mine {
                    let mut draft =
                        ObservationDraft { observation: report.observation, sealed: Some(report.sealed) };
                    let id = replica.record(draft.clone()).await?;
                    if !report.comment.is_empty() {
                        draft.observation.what_happened =
                            format!("{} {}", draft.observation.what_happened, report.comment);
                        replica.amend(id, draft).await?;
                    }
                    filed.push((number, id));
                    bar.inc(1);
                }
                Ok::<_, lamppost_core::replica::Error>(filed)
            });
        }
        let mut filed = BTreeMap::new();
        while let Some(done) = work.join_next().await {
            filed.extend(done??);
        }
        bar.finish_and_clear();
        self.filed = filed.into_values().collect();
        let took = watch.seconds();
        let amended = self.reports.iter().filter(|report| !report.comment.is_empty()).count() as u64;
        let (recorded, amended) = (thousands(self.filed.len() as u64), thousands(amended));
        say(format_args!(
            "{recorded} observations recorded and {amended} of them amended in {took}, each on disk before the call returned"
        ));
        self.times.push(("record and amend, offline", took));
        let first = self.volunteers.first().ok_or("no volunteers")?;
        let rows = first.replica.list(observations(Some(4))).await?;
        sees(&first.name, rows.iter().map(list_row));
        let all = first.replica.list(observations(None)).await?;
        let waiting = all.iter().filter(|(_, delivery)| *delivery == Delivery::OnPhone).count();
        say(format_args!("{waiting} of {} are on this phone alone, and say so", all.len()));
        sees("the relay", [format!("{} groups", self.relay.group_count())]);
        Ok(())
    }

    /// Everybody comes online over a bad network.
    async fn come_online(&mut self) -> Result<(), Failure> {
        chapter(4, "They come online at different times, over a bad network");
        let watch = Stopwatch::start();
        let bar = progress(self.volunteers.len() * 2 + 3, "syncing");
        let mut connections = 0;
        let mut bytes = 0;
        for phone in &self.volunteers {
            let synced = phone.sync(&self.url).await?;
            connections += synced.connections;
            bytes += synced.bytes;
            bar.inc(1);
        }
        self.coordinator.sync(&self.url).await?;
        bar.inc(1);
        for phone in &self.volunteers {
            let synced = phone.sync(&self.url).await?;
            connections += synced.connections;
            bytes += synced.bytes;
            bar.inc(1);
        }
        self.coordinator.sync(&self.url).await?;
        self.liaison.sync(&self.url).await?;
        bar.finish_and_clear();
        let took = watch.seconds();
        let breaks: u32 = self.volunteers.iter().map(Phone::strikes).sum();
        say(format_args!(
            "the network broke off {breaks} times in {connections} connections; the volunteers' phones carried {}",
            size(bytes)
        ));
        self.times.push(("everybody synced", took));
        let mut unsent = self.coordinator.replica.outbox_len().await?;
        let mut complete = true;
        for phone in &self.volunteers {
            unsent += phone.replica.outbox_len().await?;
            complete &= phone.replica.list(observations(None)).await?.len() == self.filed.len();
        }
        let first = self.volunteers.first().ok_or("no volunteers")?;
        sees(&first.name, first.replica.list(observations(Some(3))).await?.iter().map(list_row));
        let figures =
            format!("{} observations on each of {} phones", self.filed.len(), self.volunteers.len());
        self.promises.check("every phone has every observation", complete, figures);
        self.promises.check("nothing waits to be sent", unsent == 0, format!("{unsent} entries in outboxes"));
        let sees_now = [
            format!("{} group, devices by number, sizes and times", self.relay.group_count()),
            format!(
                "{} of ciphertext and keys it cannot use",
                size(directory_bytes(&self.root.join("relay"))?)
            ),
        ];
        sees("the relay", sees_now);
        Ok(())
    }

    /// The coordinator opens the sealed parts, and links two reports of one event.
    async fn coordinate(&mut self) -> Result<(), Failure> {
        chapter(5, "The coordinator opens the sealed parts and links two reports of one event");
        self.pair = same_event(&self.reports);
        let mut links = Vec::new();
        let mut opened = true;
        for number in &self.pair {
            let (Some(id), Some(report)) = (self.filed.get(*number), self.reports.get(*number)) else {
                continue;
            };
            let detail = self.coordinator.replica.get(*id).await?;
            let Content::Observation(observation, sealed) = &detail.content else { continue };
            let sealed = sealed.clone().unwrap_or_default();
            opened &= sealed.address == report.sealed.address && sealed.notes == report.sealed.notes;
            sees(
                "the coordinator",
                [
                    format!(
                        "by member {}: {}",
                        detail.row.author.short(),
                        shortened(&observation.what_happened, 90)
                    ),
                    format!(
                        "  sealed: {}; {}",
                        or_none(&sealed.address),
                        or_none(&shortened(&sealed.notes, 70))
                    ),
                    format!("  {} entries, public cell {}", detail.history.len(), or_none(&observation.cell)),
                ],
            );
            links.push(CaseLink { observation: *id, reason: "same place, a few minutes apart".to_owned() });
            self.coordinator.replica.annotate(*id, String::new(), "seen".to_owned()).await?;
        }
        self.promises.check(
            "the coordinator reads the sealed parts",
            opened,
            format!("{} compared", self.pair.len()),
        );
        let title = "Two reports of one event".to_owned();
        self.coordinator.replica.link(None, title, links).await?;
        say("linked; the reports themselves stay as their authors wrote them");
        Ok(())
    }

    /// A redacted release, looked at before it leaves.
    async fn release(&mut self) -> Result<DocumentId, Failure> {
        chapter(6, "A redacted release goes to the liaison");
        let mut observations = Vec::new();
        for number in &self.pair {
            let Some(id) = self.filed.get(*number) else { continue };
            let detail = self.coordinator.replica.get(*id).await?;
            // The end of a text is where people say from where they saw it.
            let chars = detail.row.text.chars().count();
            let spans = vec![Span { start: chars - chars / 3, end: chars }];
            observations.push((*id, Redaction { spans, coarsen_time: true, ..Redaction::default() }));
        }
        let plan = ReleasePlan {
            title: "Two reports of one event".to_owned(),
            purpose: "To decide whether the place needs a steady officer".to_owned(),
            recipient: Some(self.liaison.replica.info().await?.member),
            expires_ms: None,
            observations,
        };
        let preview = self.coordinator.replica.preview(plan.clone()).await?;
        sees(
            "the coordinator, before it leaves,",
            preview.iter().map(|item| shortened(&item.what_happened, 400)),
        );
        let release = self.coordinator.replica.release(plan).await?;
        self.coordinator.sync(&self.url).await?;
        self.liaison.sync(&self.url).await?;
        let rows = self.liaison.replica.list(Filter::default()).await?;
        sees("the liaison", rows.iter().map(list_row));
        let only_releases = rows.iter().all(|(row, _)| row.kind == Kind::RELEASE.0) && rows.len() == 1;
        self.promises.check(
            "the liaison reads the release and nothing else",
            only_releases,
            format!("{} documents", rows.len()),
        );
        let Content::Release(received) = self.liaison.replica.get(release).await?.content else {
            return Err("the release is of another kind".into());
        };
        say(format_args!(
            "it commits to {} signed entries of {} observations, and names none of them",
            received.commitments.len(),
            received.sources_count
        ));
        Ok(release)
    }

    /// The liaison answers, and the volunteer sees what became of the report.
    async fn answer(&mut self, release: DocumentId) -> Result<(), Failure> {
        chapter(7, "The liaison answers, and the volunteer sees what became of the report");
        let answer = LiaisonAnswer {
            status: "closed".to_owned(),
            outcome: "prevention".to_owned(),
            reason: "A steady officer walks there on Fridays from next week".to_owned(),
        };
        self.liaison.replica.respond(release, answer).await?;
        self.liaison.sync(&self.url).await?;
        let mut told = true;
        for number in self.pair.clone() {
            let (Some(id), Some(author)) =
                (self.filed.get(number), self.volunteers.get(number % self.volunteers.len()))
            else {
                continue;
            };
            author.sync(&self.url).await?;
            let steps = author.replica.get(*id).await?.steps;
            sees(&author.name, steps.iter().map(step));
            told &= steps
                .iter()
                .any(|step| matches!(step, Step::Answered { outcome, .. } if outcome == "prevention"));
        }
        self.promises.check(
            "reporters see what became of their words",
            told,
            format!("{} reports", self.pair.len()),
        );
        Ok(())
    }

    /// Byte searches, evidence, and flipped bits.
    async fn prove(&mut self, release: DocumentId) -> Result<(), Failure> {
        chapter(8, "Proofs");
        let words: Vec<String> =
            self.reports.iter().flat_map(|report| report.planted.iter().cloned()).collect();
        let search = Search::new(&words)?;
        let control = search.in_bytes(words.join("\n").as_bytes());
        let planted = thousands(search.words() as u64);
        self.promises.check(
            "control: the search finds the words where they are",
            control >= search.words() as u64,
            format!("{planted} names, plates, addresses and phrases planted, all found in the input"),
        );
        for (who, directory) in
            [("relay", self.root.join("relay")), ("liaison's phone", self.liaison.directory.clone())]
        {
            let found = search.in_directory(&directory)?;
            let promise = format!("no planted word in the {who}'s files");
            let figures =
                format!("{} of {planted} found in {} files, {}", found.hits, found.files, size(found.bytes));
            self.promises.check(&promise, found.hits == 0, figures);
        }
        self.prove_sources(release).await?;
        self.flip_bits().await
    }

    async fn prove_sources(&mut self, release: DocumentId) -> Result<(), Failure> {
        let evidence = self.coordinator.replica.evidence(release).await?;
        let mut proven = 0;
        let mut refused = 0;
        let mut why = String::new();
        for item in &evidence {
            let checked = self.liaison.replica.check_evidence(release, item.bytes.clone()).await;
            proven += usize::from(checked.is_ok_and(|proven| proven.entry == item.entry));
            let mut bent = item.bytes.clone();
            if let Some(byte) = bent.get_mut(item.bytes.len() / 2) {
                *byte ^= 1;
            }
            if let Err(error) = self.liaison.replica.check_evidence(release, bent).await {
                refused += 1;
                why = error.to_string();
            }
        }
        let total = evidence.len();
        self.promises.check(
            "sources can be proven, one entry key each",
            proven == total && total > 0,
            format!("{proven} of {total}"),
        );
        let figures = format!("{refused} of {total}, by the liaison's phone: {}", shortened(&why, 70));
        self.promises.check("evidence with a flipped bit is refused", refused == total && total > 0, figures);
        Ok(())
    }

    /// Two more neighbours join, whose networks alter what they carry.
    async fn flip_bits(&mut self) -> Result<(), Failure> {
        let sent =
            Phone::open_in_trouble(&self.root, "altered-on-the-way-out", Trouble::AltersSent, 1).await?;
        let received =
            Phone::open_in_trouble(&self.root, "altered-on-the-way-in", Trouble::AltersReceived, 1).await?;
        for phone in [&sent, &received] {
            let request = phone.replica.request().await?;
            let admission = self.coordinator.replica.admit(request, RoleId(roles::ROLE_VOLUNTEER)).await?;
            self.coordinator.sync(&self.url).await?;
            phone.replica.join(admission).await?;
        }
        let report = self.reports.first().cloned().unwrap_or_default();
        let draft = ObservationDraft { observation: report.observation, sealed: Some(report.sealed) };
        sent.replica.record(draft).await?;
        let outcome = sent.sync(&self.url).await;
        let reason = match &outcome {
            Ok(synced) => synced.last.postponed.first().cloned().unwrap_or_default(),
            Err(why) => why.to_string(),
        };
        let by_the_relay = sent.strikes() == 1 && !reason.is_empty();
        let figures = format!("by the relay: {}", shortened(&reason, 80));
        self.promises.check("an entry altered on its way out is refused", by_the_relay, figures);
        sent.sync(&self.url).await?;
        let unsent = sent.replica.outbox_len().await?;
        self.promises.check(
            "and goes out unaltered the next time",
            unsent == 0,
            format!("{unsent} entries in the outbox"),
        );
        let outcome = received.sync(&self.url).await;
        let reason = match &outcome {
            Ok(synced) => synced.last.received.warnings.first().map(ToString::to_string).unwrap_or_default(),
            Err(why) => why.to_string(),
        };
        let by_the_phone = received.strikes() == 1 && !reason.is_empty();
        let figures = format!("by the phone: {}", shortened(&reason, 80));
        self.promises.check("an entry altered on its way in is refused", by_the_phone, figures);
        Ok(())
    }

    async fn end(self, serve: bool, kept: bool) -> Result<Promises, Failure> {
        chapter(9, "Summary");
        let entries = self.filed.len() as u64;
        let relay_bytes = directory_bytes(&self.root.join("relay"))?;
        let first = self.volunteers.first().ok_or("no volunteers")?;
        say(format_args!("observations        {}", thousands(entries)));
        say(format_args!(
            "phones              {} volunteers, 1 coordinator, 1 liaison",
            self.volunteers.len()
        ));
        for (what, took) in &self.times {
            say(format_args!("{what:26} {took}"));
        }
        say(format_args!("relay's disk        {}", size(relay_bytes)));
        say(format_args!("one volunteer's disk {}", size(directory_bytes(&first.directory)?)));
        println!();
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
        shortened(&row.title, 24),
        place,
        shortened(&row.text, 60)
    )
}

fn step(step: &Step) -> String {
    match step {
        Step::Recorded { .. } => "recorded on the phone".to_owned(),
        Step::AtRelay { .. } => "kept by the relay (signed receipt)".to_owned(),
        Step::Seen { by, text, .. } => format!("coordinator {}: {}", by.short(), shortened(text, 60)),
        Step::Released { purpose, .. } => format!("a redacted copy was handed to the liaison: {purpose}"),
        Step::Answered { status, outcome, .. } => format!("the liaison answered: {status}, {outcome}"),
    }
}

/// Two reports of one event by two people, whose authors allow the liaison; any two if the input names none.
fn same_event(reports: &[Report]) -> Vec<usize> {
    let released = |report: &Report| report.observation.consent.iter().any(|audience| audience == "liaison");
    let mut by_event: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, report) in reports.iter().enumerate().filter(|(_, report)| released(report)) {
        if let Some(event) = &report.same_event {
            by_event.entry(event).or_default().push(number);
        }
    }
    let tagged = by_event.into_values().find(|numbers| numbers.len() >= 2);
    let any = || {
        reports.iter().enumerate().filter(|(_, report)| released(report)).map(|(number, _)| number).collect()
    };
    tagged.unwrap_or_else(any).into_iter().take(2).collect()
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
