//! The chapters in which reports are looked at, handed over, and answered.

use lamppost_core::base::DocumentId;
use lamppost_core::replica::{CaseLink, Content, Filter, LiaisonAnswer, ReleasePlan, Step};
use lamppost_core::watch::{Kind, Sealed};

use super::{Failure, Story, list_row, or_none, step};
use crate::choice::redaction;
use crate::narrator::{chapter, count, say, sees, shortened};

impl Story {
    /// The coordinator opens the sealed parts, and links two reports.
    pub(super) async fn coordinate(&mut self) -> Result<(), Failure> {
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
    pub(super) async fn release(&mut self) -> Result<Option<DocumentId>, Failure> {
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
    pub(super) async fn answer(&mut self, release: Option<DocumentId>) -> Result<(), Failure> {
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
}
