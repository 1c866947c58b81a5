//! The story, chapter by chapter.

mod belonging;
mod overview;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;
use lamppost_core::base::{DocumentId, RoleId};
use lamppost_core::replica::{
    CaseLink, Content, Delivery, Filter, LiaisonAnswer, ObservationDraft, ReleasePlan, Row, Step,
};
use lamppost_core::watch::{Kind, Sealed, codes, roles};
use lamppost_server::{Running, Settings};
use tokio::task::JoinSet;

use crate::Arguments;
use crate::cast::{Phone, Synced, relay};
use crate::choice::{Chosen, redaction};
use crate::narrator::{
    Promises, Stopwatch, announce, chapter, count, progress, say, sees, shortened, size, thousands,
};
use crate::network::Trouble;
use crate::proof::Search;
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

    /// Founding, and admission at a kitchen table: no network yet.
    async fn found(&mut self) -> Result<(), Failure> {
        chapter(
            2,
            "A coordinator founds a group and admits neighbours and the liaison officer",
            "A newcomer's phone shows a request and gets an admission back, from hand to hand: no network is needed.",
        );
        let info = self.coordinator.replica.found().await?;
        say(format_args!("group {}", info.group));
        say("was founded on the coordinator's phone; a relay that is closed to new groups needs this id");
        let volunteers = self.volunteers.iter().map(|phone| (phone, roles::VOLUNTEER));
        let newcomers: Vec<(&Phone, RoleId)> = volunteers.chain([(&self.liaison, roles::LIAISON)]).collect();
        let mut last = None;
        for (phone, role) in &newcomers {
            let request = phone.replica.request().await?;
            last = Some(self.coordinator.replica.admit(request, *role).await?);
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
        chapter(
            3,
            "Volunteers record what they see, with no network at all",
            "A report has a part for the group, and a sealed part (exact place, plates, notes) for coordinators alone.",
        );
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
        let amended = self.reports.iter().filter(|report| !report.comment.is_empty()).count();
        let (recorded, amended) =
            (count(self.filed.len(), "observation", "observations"), thousands(amended as u64));
        say(format_args!(
            "{recorded} recorded and {amended} of them amended in {took}, each on disk before the call returned"
        ));
        self.times.push(("recorded and amended", took));
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
        chapter(
            4,
            "They come online at different times, over a bad network",
            "Each connection may break; the next one goes on where it stopped.",
        );
        let watch = Stopwatch::start();
        let bar = progress(self.volunteers.len() * 2 + 3, "syncing");
        let mut carried = self.volunteers_sync(&bar).await?;
        let waited = self.wait_for_the_rate(&mut carried).await?;
        self.coordinator.sync(&self.url).await?;
        bar.inc(1);
        carried.add(self.volunteers_sync(&bar).await?);
        self.coordinator.sync(&self.url).await?;
        self.liaison.sync(&self.url).await?;
        bar.finish_and_clear();
        let took = watch.seconds();
        let breaks: u32 = self.volunteers.iter().map(Phone::strikes).sum();
        say(format_args!(
            "the network broke off {} in {}; the volunteers' phones carried {}",
            count(breaks as usize, "time", "times"),
            count(carried.connections as usize, "connection", "connections"),
            size(carried.bytes)
        ));
        if waited > 0 {
            let (waited, rate) = (
                count(waited, "entry", "entries"),
                thousands(Settings::default().rules.device_entries_per_minute),
            );
            say(format_args!(
                "{waited} waited: the relay takes {rate} at once from one device, then as many a minute"
            ));
        }
        self.times.push(("everybody synced", took));
        let unsent = self.unsent().await? + self.coordinator.replica.outbox_len().await?;
        let mut complete = true;
        for phone in &self.volunteers {
            complete &= phone.replica.list(observations(None)).await?.len() == self.filed.len();
        }
        let first = self.volunteers.first().ok_or("no volunteers")?;
        sees(&first.name, first.replica.list(observations(Some(3))).await?.iter().map(list_row));
        let figures = format!(
            "{} on each of {} phones",
            count(self.filed.len(), "observation", "observations"),
            self.volunteers.len()
        );
        self.promises.check("every phone has every observation", complete, figures);
        self.promises.check(
            "nothing waits to be sent",
            unsent == 0,
            format!("{} in outboxes", count(unsent, "entry", "entries")),
        );
        let sees_now = [
            format!(
                "{} group; which device (a number, no name) sent how much, and when",
                self.relay.group_count()
            ),
            format!(
                "{} of ciphertext and keys it cannot use",
                size(directory_bytes(&self.root.join("relay"))?)
            ),
        ];
        sees("the relay", sees_now);
        Ok(())
    }

    async fn volunteers_sync(&self, bar: &ProgressBar) -> Result<Synced, Failure> {
        let mut carried = Synced::default();
        for phone in &self.volunteers {
            carried.add(phone.sync(&self.url).await?);
            bar.inc(1);
        }
        Ok(carried)
    }

    /// A relay takes only so many entries a minute from one device. Says how many had to wait.
    async fn wait_for_the_rate(&self, carried: &mut Synced) -> Result<usize, Failure> {
        let waited = self.unsent().await?;
        let mut unsent = waited;
        while unsent > 0 {
            tokio::time::sleep(RATE_WAIT).await;
            carried.add(self.volunteers_sync(&ProgressBar::hidden()).await?);
            let left = self.unsent().await?;
            if left >= unsent {
                break;
            }
            unsent = left;
        }
        Ok(waited)
    }

    async fn unsent(&self) -> Result<usize, Failure> {
        let mut unsent = 0;
        for phone in &self.volunteers {
            unsent += phone.replica.outbox_len().await?;
        }
        Ok(unsent)
    }

    /// The coordinator opens the sealed parts, and links two reports.
    async fn coordinate(&mut self) -> Result<(), Failure> {
        chapter(
            5,
            "The coordinator opens the sealed parts and links two reports",
            "The group knows a place by its public cell, a square 250 m wide; coordinators read the address too.",
        );
        let reason = if self.chosen.same_event { "both tell of one event" } else { "looked at together" };
        let mut links = Vec::new();
        let (mut sealed_parts, mut alike) = (0, 0);
        for number in &self.chosen.reports {
            let (Some(id), Some(report)) = (self.filed.get(*number), self.reports.get(*number)) else {
                continue;
            };
            let detail = self.coordinator.replica.get(*id).await?;
            let Content::Observation(observation, opened) = &detail.content else { continue };
            if report.sealed != Sealed::default() {
                let written = Sealed { observation: id.to_string(), ..report.sealed.clone() };
                sealed_parts += 1;
                alike += usize::from(opened.as_ref() == Some(&written));
            }
            let opened = opened.clone().unwrap_or_default();
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
                        or_none(&opened.address),
                        or_none(&shortened(&opened.notes, 70))
                    ),
                    format!(
                        "  public cell {}; signed entries: {}",
                        or_none(&observation.cell),
                        detail.history.len()
                    ),
                ],
            );
            links.push(CaseLink { observation: *id, reason: reason.to_owned() });
            self.coordinator.replica.annotate(*id, String::new(), "seen".to_owned()).await?;
        }
        if sealed_parts > 0 {
            self.promises.check(
                "the coordinator reads the sealed parts",
                alike == sealed_parts,
                format!("{alike} of {sealed_parts} are as they were written"),
            );
        }
        if links.len() < 2 {
            say("not linked: there is only one report");
            return Ok(());
        }
        self.coordinator.replica.link(None, self.title(), links).await?;
        say("linked; the reports themselves stay as their authors wrote them");
        Ok(())
    }

    fn title(&self) -> String {
        if self.chosen.same_event { "Two reports of one event" } else { "Two reports" }.to_owned()
    }

    /// A redacted release, looked at before it leaves. None if its authors do not allow it.
    async fn release(&mut self) -> Result<Option<DocumentId>, Failure> {
        chapter(
            6,
            "A redacted release goes to the liaison",
            "A release is a copy with less in it: no author, no exact place, no sealed part, and what is masked (▮▮▮).",
        );
        if let Some(why) = self.chosen.kept_back {
            say(format_args!("not played: {why}"));
            return Ok(None);
        }
        let mut observations = Vec::new();
        let mut hidden = Vec::new();
        for number in &self.chosen.reports {
            let Some(id) = self.filed.get(*number) else { continue };
            let detail = self.coordinator.replica.get(*id).await?;
            let Content::Observation(observation, _) = &detail.content else { continue };
            let (redaction, sentences) = redaction(&observation.what_happened);
            observations.push((*id, redaction));
            hidden.extend(sentences);
        }
        let plan = ReleasePlan {
            title: self.title(),
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
        if hidden.is_empty() {
            say("nothing is masked: no sentence speaks of its author; times are given to the hour");
        } else {
            say("masked, as these sentences speak of their authors and could tell who they are:");
            hidden.iter().for_each(|sentence| say(format_args!("  \"{}\"", shortened(sentence, 110))));
        }
        let release = self.coordinator.replica.release(plan).await?;
        self.coordinator.sync(&self.url).await?;
        self.liaison.sync(&self.url).await?;
        let rows = self.liaison.replica.list(Filter::default()).await?;
        sees("the liaison", rows.iter().map(list_row));
        let only_releases = rows.iter().all(|(row, _)| row.kind == Kind::RELEASE) && rows.len() == 1;
        self.promises.check(
            "the liaison reads the release and nothing else",
            only_releases,
            count(rows.len(), "document", "documents"),
        );
        let detail = self.liaison.replica.get(release).await?;
        if let Content::Release(content) = detail.content {
            say(format_args!(
                "behind its {} are {}; it holds a fingerprint of each, and names none",
                count(content.sources_count as usize, "observation", "observations"),
                count(content.commitments.len(), "signed entry", "signed entries"),
            ));
        }
        Ok(Some(release))
    }

    /// The liaison answers, and the reporters see what became of the report.
    async fn answer(&mut self, release: Option<DocumentId>) -> Result<(), Failure> {
        chapter(
            7,
            "The liaison answers, and the volunteer sees what became of the report",
            "Each author's own phone shows the whole way of the report.",
        );
        let Some(release) = release else {
            say("not played: there is no release to answer");
            return Ok(());
        };
        let answer = LiaisonAnswer {
            status: "closed".to_owned(),
            outcome: "prevention".to_owned(),
            reason: "A steady officer walks there on Fridays from next week".to_owned(),
        };
        self.liaison.replica.respond(release, answer).await?;
        self.liaison.sync(&self.url).await?;
        let mut told = 0;
        for number in &self.chosen.reports {
            let (Some(id), Some(author)) =
                (self.filed.get(*number), self.volunteers.get(number % self.volunteers.len()))
            else {
                continue;
            };
            author.sync(&self.url).await?;
            let steps = author.replica.get(*id).await?.steps;
            sees(&author.name, steps.iter().map(step));
            let answered =
                |step: &Step| matches!(step, Step::Answered { outcome, .. } if outcome == "prevention");
            told += usize::from(steps.iter().any(answered));
        }
        let reports = self.chosen.reports.len();
        self.promises.check(
            "reporters see what became of their words",
            told == reports && told > 0,
            format!("{told} of {reports}"),
        );
        Ok(())
    }

    /// Byte searches, evidence, and flipped bits.
    async fn prove(&mut self, release: Option<DocumentId>) -> Result<(), Failure> {
        chapter(8, "Proofs", "What was promised is tried out, each time by somebody who could do the same.");
        let search = Search::new(self.reports.iter().flat_map(|report| report.planted.iter().cloned()))?;
        let planted = thousands(search.words() as u64);
        if search.words() > 0 {
            say(format_args!(
                "Planted words are what the reports say and nobody else may read: {planted} addresses, plates, names, phrases."
            ));
        }
        let places = [
            (
                "relay",
                self.root.join("relay"),
                "Whoever runs the relay, or steals its disk, can search it for them: names, plates, addresses, phrases.",
            ),
            (
                "liaison's phone",
                self.liaison.directory.clone(),
                "Whoever finds the liaison's phone, locked, can search its store for the same:",
            ),
        ];
        self.control(&search).await?;
        for (who, directory, whoever) in places {
            say(whoever);
            let found = search.in_directory(&directory)?;
            let promise = format!("no planted word in the {who}'s files");
            let figures =
                format!("{} of {planted} found in {} files, {}", found.hits, found.files, size(found.bytes));
            self.promises.check(&promise, found.hits == 0 && found.bytes > 0, figures);
        }
        if let Some(release) = release {
            self.prove_sources(release).await?;
        }
        self.flip_bits().await
    }

    /// Searches where the words are: in what the coordinator's phone shows.
    async fn control(&mut self, search: &Search) -> Result<(), Failure> {
        say(
            "Finding nothing proves something only if the search can find. A coordinator can try it on the open reports:",
        );
        let step = self.reports.len().div_ceil(CONTROL_REPORTS_MAX);
        let mut wanted = BTreeSet::new();
        let mut shown = String::new();
        for (id, report) in self.filed.iter().zip(&self.reports).step_by(step) {
            wanted.extend(report.planted.iter().map(String::as_str));
            shown.push_str(&open_text(&self.coordinator.replica.get(*id).await?.content));
        }
        let found = search.found_in(&shown);
        let missing: Vec<&str> = wanted.difference(&found).copied().collect();
        let total = wanted.len();
        let mut figures =
            format!("{} of {}", thousands((total - missing.len()) as u64), thousands(total as u64));
        if let Some(first) = missing.first() {
            figures = format!("{figures}; not there: {first}");
        }
        if total == 0 {
            say("These reports are too short to be searched for: nothing is proven by the next two.");
            return Ok(());
        }
        let promise = "control: the search finds the words where they are";
        self.promises.check(promise, missing.is_empty(), figures);
        Ok(())
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
        say(
            "A coordinator hands over one entry's own key; the liaison checks offline who signed it, and opens no other:",
        );
        self.promises.check(
            "sources can be proven, one entry at a time",
            proven == total && total > 0,
            format!("{proven} of {total}"),
        );
        say("The liaison can also tell a proof that was altered, here by one bit each:");
        say(format_args!("  {why}"));
        self.promises.check(
            "evidence with a flipped bit is refused",
            refused == total && total > 0,
            format!("{refused} of {total}"),
        );
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
            let admission = self.coordinator.replica.admit(request, roles::VOLUNTEER).await?;
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
        say("A network alters one bit of what a phone sends. The relay checks every signature, and says:");
        say(format_args!("  {reason}"));
        self.promises.check(
            "an entry altered on its way out is refused",
            sent.strikes() == 1 && !reason.is_empty(),
            count(sent.strikes() as usize, "altered message", "altered messages"),
        );
        sent.sync(&self.url).await?;
        let unsent = sent.replica.outbox_len().await?;
        self.promises.check(
            "and goes out unaltered the next time",
            unsent == 0,
            format!("{} in the outbox", count(unsent, "entry", "entries")),
        );
        let outcome = received.sync(&self.url).await;
        let reason = match &outcome {
            Ok(synced) => synced.last.received.warnings.first().map(ToString::to_string).unwrap_or_default(),
            Err(why) => why.to_string(),
        };
        say("Or of what a phone receives. The phone checks every signature too, and says:");
        say(format_args!("  {reason}"));
        self.promises.check(
            "an entry altered on its way in is refused",
            received.strikes() == 1 && !reason.is_empty(),
            count(received.strikes() as usize, "altered message", "altered messages"),
        );
        Ok(())
    }

    async fn end(mut self, serve: bool, kept: bool) -> Result<Promises, Failure> {
        chapter(10, "Summary", "What it took, and what was promised.");
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
        Step::Seen { by, text, .. } => {
            format!("coordinator {}: {}", by.short(), shortened(said.label(text, LANGUAGE), 60))
        }
        Step::Released { purpose, .. } => format!("a redacted copy was handed to the liaison: {purpose}"),
        Step::Answered { status: at, outcome: what, .. } => {
            format!("the liaison answered: {}, {}", status.label(at, LANGUAGE), outcome.label(what, LANGUAGE))
        }
    }
}

/// Everything that a phone shows of an observation in words.
fn open_text(content: &Content) -> String {
    let Content::Observation(observation, sealed) = content else { return String::new() };
    let mut texts = vec![observation.what_happened.as_str()];
    if let Some(sealed) = sealed {
        texts.extend([sealed.address.as_str(), &sealed.notes]);
        let people = sealed.people.iter();
        texts.extend(people.flat_map(|p| [p.clothing.as_str(), &p.features, &p.direction]));
        let vehicles = sealed.vehicles.iter();
        texts.extend(vehicles.flat_map(|v| [v.colour.as_str(), &v.make, &v.body, &v.plate, &v.direction]));
    }
    texts.join("\n") + "\n"
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
