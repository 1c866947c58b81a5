//! The chapter in which what was promised is tried out.

use std::collections::BTreeSet;

use lamppost_core::base::DocumentId;
use lamppost_core::replica::{Content, ObservationDraft};
use lamppost_core::watch::roles;

use super::{CONTROL_REPORTS_MAX, Failure, Story};
use crate::cast::Phone;
use crate::narrator::{chapter, count, say, size, thousands};
use crate::network::Trouble;
use crate::proof::Search;

impl Story {
    /// Byte searches, evidence, and flipped bits.
    pub(super) async fn prove(&mut self, release: Option<DocumentId>) -> Result<(), Failure> {
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
            let group = self.coordinator.replica.info().await?.group;
            let request = phone.replica.request(group).await?;
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
