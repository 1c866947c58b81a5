//! A release that waits for company, its revision, the answers, and the sums.

use std::collections::BTreeMap;

use lamppost_core::base::DocumentId;
use lamppost_core::replica::{
    Content, HandedOver, LeavesWhen, LiaisonAnswer, ObservationDraft, ReleasePlan, WaitsFor,
};
use lamppost_core::watch::{Kind, Redaction, codes};

use super::super::{LANGUAGE, observations};
use super::{DAY_MS, Failure, Story, count_of, now_ms};
use crate::narrator::{chapter, count, say, sees, shortened};

impl Story {
    /// What leaves, leaves late and not alone; what turns out otherwise is revised; what becomes of it is told.
    pub(super) async fn hand_over_with_care(&mut self, reports: &[DocumentId]) -> Result<(), Failure> {
        chapter(
            12,
            "A release waits for company, is revised, and the sums add up",
            "What leaves at once and alone tells whose report it was. So it waits on the coordinator's phone, sealed.",
        );
        let release = self.leave_together(reports).await?;
        let revision = self.revise(release, reports).await?;
        self.answered(revision, reports).await?;
        self.sums().await
    }

    async fn plan(&self, reports: &[DocumentId]) -> Result<ReleasePlan, Failure> {
        let redaction = Redaction { coarsen_time: true, ..Redaction::default() };
        Ok(ReleasePlan {
            title: "Short visits at the corner lot".to_owned(),
            purpose: "To agree on light and a steady officer".to_owned(),
            recipient: Some(self.liaison.replica.info().await?.member),
            expires_ms: None,
            observations: reports.iter().map(|id| (*id, redaction.clone())).collect(),
        })
    }

    async fn leave_together(&mut self, reports: &[DocumentId]) -> Result<DocumentId, Failure> {
        let before = count_of(&self.liaison.replica, Kind::RELEASE).await?;
        let phone = &self.coordinator.replica;
        let monday = LeavesWhen { not_before_ms: now_ms()? + 3 * DAY_MS, reports_min: 3, authors_min: 2 };
        let first = reports.get(..1).ok_or("there is no report")?;
        let id = phone.schedule(None, self.plan(first).await?, monday.clone()).await?;
        let waiting = phone.scheduled().await?;
        sees("the coordinator", waiting.iter().flat_map(|plan| plan.waits_for.iter().map(waits)));
        self.meet().await?;
        let held = count_of(&self.liaison.replica, Kind::RELEASE).await? == before;
        // Three days later, with the reports of the others.
        let come = LeavesWhen { not_before_ms: now_ms()?, ..monday };
        self.coordinator.replica.schedule(Some(id), self.plan(reports).await?, come).await?;
        self.meet().await?;
        let left = count_of(&self.liaison.replica, Kind::RELEASE).await? == before + 1;
        let left = left && self.coordinator.replica.scheduled().await?.is_empty();
        let report = reports.first().copied().ok_or("there is no report")?;
        let copies = self.coordinator.replica.what_became_of(report).await?;
        let release = copies.last().ok_or("it was not handed over")?.release;
        say(format_args!(
            "three days later it leaves by itself, {} of two people in one",
            count(reports.len(), "report", "reports")
        ));
        self.promises.check(
            "a planned release leaves late, and not alone",
            held && left,
            "1 waited, then left",
        );
        Ok(release)
    }

    async fn revise(&mut self, release: DocumentId, reports: &[DocumentId]) -> Result<DocumentId, Failure> {
        let report = reports.first().copied().ok_or("there is no report")?;
        let author = self.volunteer(0)?;
        let Content::Observation(mut observation, sealed) = author.replica.get(report).await?.content else {
            return Err("a report is no report".into());
        };
        observation.what_happened = observation.what_happened.replace("Four cars", "Three cars");
        author.replica.amend(report, ObservationDraft { observation, sealed }).await?;
        say("a volunteer sets a number right; the coordinator's phone says which release rests on it");
        self.meet().await?;
        let due = self.coordinator.replica.recalls_due().await?;
        let is_due = due.iter().any(|due| due.release == release.to_string() && due.reason == "corrected");
        let revision = self.coordinator.replica.revise(release, self.plan(reports).await?).await?;
        let none_left = !self
            .coordinator
            .replica
            .recalls_due()
            .await?
            .iter()
            .any(|due| due.release == release.to_string());
        self.meet().await?;
        let told = self.liaison.replica.difference(revision).await?;
        sees(
            "the liaison, beside the earlier one, which is called back,",
            told.iter().map(|d| shortened(&d.reason(LANGUAGE), 150)),
        );
        let says =
            told.len() == 1 && told.iter().all(|d| d.before.contains("Four") && d.after.contains("Three"));
        let figures = count(told.len(), "difference", "differences");
        self.promises.check("a revision says what is different", is_due && none_left && says, figures);
        Ok(revision)
    }

    async fn answered(&mut self, release: DocumentId, reports: &[DocumentId]) -> Result<(), Failure> {
        for (status, outcome, reason) in [
            ("received", "", ""),
            ("scheduled", "", "The city looks at the lamps on Tuesday"),
            ("closed", "city_services", "The lot has light, and an officer who comes by on foot"),
        ] {
            let answer = LiaisonAnswer {
                status: status.to_owned(),
                outcome: outcome.to_owned(),
                reason: reason.to_owned(),
            };
            self.liaison.replica.respond(release, answer).await?;
        }
        self.meet().await?;
        let liaison = self.liaison.replica.info().await?.member;
        let (mut told, mut shown) = (0, Vec::new());
        for (at, report) in reports.iter().enumerate() {
            let copies = self.volunteer(at % 2)?.replica.what_became_of(*report).await?;
            let stands = copies.iter().any(|copy| {
                copy.recipient == Some(liaison)
                    && copy.recalled.is_none()
                    && copy.at_ms > 0
                    && !copy.purpose.is_empty()
                    && copy.answer.as_ref().is_some_and(|answer| answer.outcome == "city_services")
            });
            let recalled = copies.iter().any(|copy| copy.recalled.is_some());
            told += usize::from(stands && recalled);
            if at == 0 {
                shown = copies.iter().map(copy_line).collect();
            }
        }
        sees("volunteer-01", shown);
        let figures = format!("{told} of {} reports", reports.len());
        let promise = "each copy is told: to whom, why, and what became of it";
        self.promises.check(promise, told == reports.len(), figures);
        Ok(())
    }

    /// Counts by what one volunteer is told of each report, and by the ledger on the coordinator's phone.
    async fn sums(&mut self) -> Result<(), Failure> {
        let phone = &self.volunteer(1)?.replica;
        let mut sums: BTreeMap<String, usize> = BTreeMap::new();
        let all = phone.list(observations(None)).await?;
        for (row, _) in &all {
            *sums.entry(standing(&phone.what_became_of(row.id).await?)).or_default() += 1;
        }
        sees("every member", sums.iter().map(|(standing, reports)| format!("{reports:>6} {standing}")));
        let ledger = self.coordinator.replica.ledger().await?;
        let total: usize = sums.values().sum();
        let kept = sums.get(KEPT).copied().unwrap_or_default() as u64;
        let figures = format!("{total} reports, {} of them handed over", ledger.reports - ledger.kept);
        let adds_up = ledger.reports == total as u64 && ledger.sum() == ledger.reports && ledger.kept == kept;
        self.promises.check("what became of all reports adds up", adds_up, figures);
        Ok(())
    }
}

/// What is said of a report that nobody was handed.
const KEPT: &str = "kept in the group";

fn standing(copies: &[HandedOver]) -> String {
    let standing: Vec<&HandedOver> = copies.iter().filter(|copy| copy.recalled.is_none()).collect();
    let latest = standing.iter().filter_map(|copy| copy.answer.as_ref()).max();
    match latest {
        Some(answer) if answer.outcome.is_empty() => {
            codes::response_status().label(&answer.status, LANGUAGE).to_owned()
        }
        Some(answer) => codes::outcome().label(&answer.outcome, LANGUAGE).to_owned(),
        None if !standing.is_empty() => "handed over, no answer yet".to_owned(),
        None if !copies.is_empty() => "called back".to_owned(),
        None => KEPT.to_owned(),
    }
}

fn copy_line(copy: &HandedOver) -> String {
    let state = match (&copy.recalled, &copy.answer) {
        (Some(reason), _) => format!("called back: {}", codes::recall().label(reason, LANGUAGE)),
        (None, Some(answer)) => codes::outcome().label(&answer.outcome, LANGUAGE).to_owned(),
        (None, None) => "no answer yet".to_owned(),
    };
    format!("release {} to the liaison: {}; {state}", copy.release.short(), copy.purpose)
}

fn waits(waits: &WaitsFor) -> String {
    match waits {
        WaitsFor::Time => "it waits for its time".to_owned(),
        WaitsFor::Reports(more) => {
            format!("it waits for {}", count(*more as usize, "more report", "more reports"))
        }
        WaitsFor::Authors(more) => {
            format!("it waits for a report of {}", count(*more as usize, "other person", "other persons"))
        }
        WaitsFor::Change(why) => why.clone(),
    }
}
