//! The chapters of a month: a hotspot from the first report to an assessment, by scanning, analysis, response, assessment.
//!
//! The month is played in one go: what happens on other days is dated by hand.

mod releases;
mod together;

use std::time::{SystemTime, UNIX_EPOCH};

use lamppost_core::base::DocumentId;
use lamppost_core::replica::{Error, ObservationDraft, Replica};
use lamppost_core::watch::{
    Analysis, Assessment, Ballot, Choice, Kind, Observation, Opening, PlannedResponse, Position, Problem,
    Sealed, When, blur,
};

use super::{Failure, Story};
use crate::cast::Phone;
use crate::narrator::{chapter, count, say, sees, shortened};

const DAY_MS: i64 = 86_400_000;

/// The corner lot, as its reporters know it, in degrees (WGS 84): a place of the sample's neighbourhood where nothing else is.
const LOT: (f64, f64) = (41.7012, -99.8611);

/// Width of a public cell, in metres.
const CELL_M: u32 = 250;

/// What the neighbours counted: visits of under three minutes, Fridays 20 to 24 h.
const BASELINE: f64 = 41.0;
const AFTER: f64 = 12.0;

impl Story {
    /// A month in the life of the group.
    pub(super) async fn month(&mut self) -> Result<(), Failure> {
        let reports = self.first_reports().await?;
        let problem = self.scan().await?;
        self.vote().await?;
        self.work_together().await?;
        self.hand_over_with_care(&reports).await?;
        self.assess(problem).await
    }

    /// Two volunteers report; the coordinator's phone finds that it is always the same place.
    async fn first_reports(&mut self) -> Result<Vec<DocumentId>, Failure> {
        chapter(
            10,
            "A month: reports become a problem, and the group says what comes first",
            "One report is an event. Several of one kind at one place are a problem, which is scanned, analysed, answered, assessed.",
        );
        let now_ms = now_ms()?;
        let mut reports = Vec::new();
        for (days, phone) in [27, 20, 13, 6].into_iter().zip([0, 1, 0, 1]) {
            let author = self.volunteer(phone)?;
            let text = format!(
                "Four cars stopped at the lot within the hour, each for under three minutes; day {}.",
                28 - days
            );
            reports.push(author.replica.record(at_the_lot(now_ms - days * DAY_MS, &text)?).await?);
        }
        self.meet().await?;
        let patterns = self.coordinator.replica.patterns().await?;
        let found = patterns.iter().find(|pattern| reports.iter().all(|id| pattern.reports.contains(id)));
        sees("the coordinator", found.map(|pattern| pattern.reason("en")));
        let figures =
            count(found.map_or(0, |pattern| pattern.reports.len()), "report", "reports within 100 m");
        self.promises.check("what recurs at one place is found", found.is_some(), figures);
        Ok(reports)
    }

    async fn scan(&mut self) -> Result<DocumentId, Failure> {
        let problem = Problem {
            title: "Short visits at the corner lot".into(),
            opening: Opening {
                several_concerned: "The day-care, the laundry and a dozen neighbours".into(),
                will_not_go_away: "It has come back every spring".into(),
                survived_enforcement: "After each arrest it was the same within a week".into(),
                can_be_impacted: "The lot could be lit and fenced".into(),
            },
            stage: "scanning".into(),
            cell: blur::cell(LOT.0, LOT.1, CELL_M)?.to_string(),
            scan: "Fridays after dark, cars stop for under three minutes".into(),
            ..Problem::default()
        };
        let unsaid = Problem { opening: Opening::default(), ..problem.clone() };
        let refused = self.coordinator.replica.create(unsaid).await;
        say(format_args!("without its four answers it is no problem yet: {}", told(&refused)));
        let id = self.coordinator.replica.create(problem).await?;
        self.promises.check("a problem is opened by four answers", refused.is_err(), "1 refused, 1 opened");
        Ok(id)
    }

    /// A vote between phones that are offline.
    async fn vote(&mut self) -> Result<(), Failure> {
        let options = [("lot", "The corner lot"), ("lamp", "The lamps of the alley"), ("alley", "The bins")];
        let choice = |label: &str| Choice { label: label.to_owned(), about: String::new() };
        let ballot = Ballot {
            question: "What comes first?".into(),
            options: options.map(|(key, label)| (key.to_owned(), choice(label))).into(),
            choices_max: 2,
            ..Ballot::default()
        };
        let ballot = self.coordinator.replica.create(ballot).await?;
        self.meet().await?;
        say("three phones vote offline; one of them changes its mind");
        let voters = [&self.coordinator, self.volunteer(0)?, self.volunteer(1)?];
        for (voter, choices) in voters.iter().zip([&["lot", "lamp"][..], &["alley"], &["lot"]]) {
            voter.replica.cast_vote(ballot, choices.iter().map(ToString::to_string).collect()).await?;
        }
        self.volunteer(0)?.replica.cast_vote(ballot, vec!["lot".into()]).await?;
        self.meet().await?;
        let result = self.coordinator.replica.close_ballot(ballot).await?;
        // A vote that comes too late, from a phone that had not heard.
        self.volunteer(1)?.replica.cast_vote(ballot, vec!["alley".into()]).await?;
        self.meet().await?;
        let mut alike = 0;
        for voter in [&self.coordinator, self.volunteer(0)?, self.volunteer(1)?] {
            alike += usize::from(voter.replica.tally(ballot).await? == result);
        }
        sees("everybody", result.ranked().iter().map(|(option, votes)| format!("{votes} {option}")));
        let figures = format!("{} voters, {alike} of 3 phones alike", result.voters);
        let one_each = result.voters == 3 && result.ranked().first() == Some(&("lot", 3));
        self.promises.check("votes made offline: one tally, one vote each", alike == 3 && one_each, figures);
        Ok(())
    }

    /// Analysis, response, assessment; and only then it is closed.
    async fn assess(&mut self, problem: DocumentId) -> Result<(), Failure> {
        chapter(
            13,
            "The problem is closed, with what was measured before and after",
            "'Closed' is a claim: it takes a baseline from before, a count from after, and a look at the streets around.",
        );
        let owner = self.coordinator.replica.info().await?.member.to_string();
        let due_ms = now_ms()? + 14 * DAY_MS;
        self.coordinator
            .replica
            .change(problem, move |problem: &mut Problem| {
                problem.stage = "analysis".into();
                problem.analysis = Analysis {
                    offender: "They come by car and need the dark".into(),
                    victim: "The day-care next door".into(),
                    place: "Unlit, unfenced, and nobody looks after it".into(),
                };
                problem.assessment = Assessment {
                    measure: "visits under three minutes, Fridays 20 to 24 h".into(),
                    baseline: Some(BASELINE),
                    ..Assessment::default()
                };
                Ok(())
            })
            .await?;
        self.coordinator
            .replica
            .change(problem, move |problem: &mut Problem| {
                problem.stage = "response".into();
                let light = PlannedResponse {
                    what: "Light the lot from the shop's wall".into(),
                    owner,
                    due_ms,
                    kind: "place".into(),
                    status: "done".into(),
                };
                problem.responses.insert("light".into(), light);
                Ok(())
            })
            .await?;
        self.coordinator.replica.advance_problem(problem, "assessment".into()).await?;
        let early = self.coordinator.replica.advance_problem(problem, "closed".into()).await;
        sees("the coordinator, who would close it now,", [told(&early)]);
        let moved = self
            .coordinator
            .replica
            .change(problem, |problem: &mut Problem| {
                problem.assessment.baseline = Some(BASELINE * 2.0);
                Ok(())
            })
            .await;
        sees("and who would move the baseline,", [told(&moved)]);
        let refused = early.is_err() && moved.is_err();
        self.promises.check("no problem is closed without an assessment", refused, "2 refused");
        self.meet().await?;
        self.liaison
            .replica
            .change(problem, |problem: &mut Problem| {
                problem.assessment.after = Some(AFTER);
                problem.assessment.displacement = "none_seen".into();
                problem.assessment.conclusion = "The light helped; it stays".into();
                problem.stage = "closed".into();
                Ok(())
            })
            .await?;
        self.meet().await?;
        let phones = [&self.coordinator, self.volunteer(0)?, self.volunteer(1)?, &self.liaison];
        let mut closed = 0;
        for phone in phones {
            closed += usize::from(phone.replica.read::<Problem>(problem).await?.is_closed());
        }
        say(format_args!("{BASELINE} before, {AFTER} after; elsewhere nothing was seen to rise"));
        let figures = format!("{closed} of {} phones", phones.len());
        self.promises.check("it is closed for everybody alike", closed == phones.len(), figures);
        Ok(())
    }

    fn volunteer(&self, number: usize) -> Result<&Phone, Failure> {
        Ok(self.volunteers.get(number).ok_or("there are fewer than two volunteers")?)
    }

    /// Coordinator, two volunteers and liaison come online, so that each has what the others wrote.
    async fn meet(&self) -> Result<(), Failure> {
        for _ in 0..2 {
            for phone in [self.volunteer(0)?, self.volunteer(1)?, &self.liaison, &self.coordinator] {
                phone.sync(&self.url).await?;
            }
        }
        Ok(())
    }
}

/// A report about the lot, which its author allows to be handed to the liaison.
fn at_the_lot(start_ms: i64, text: &str) -> Result<ObservationDraft, Failure> {
    let cell = blur::cell(LOT.0, LOT.1, CELL_M)?;
    let observation = Observation {
        when: When { start_ms, precision: "hour".into(), ..When::default() },
        cell: cell.to_string(),
        vantage: "own_property".into(),
        behaviours: vec!["short_stay_traffic".into()],
        what_happened: text.to_owned(),
        basis: "saw".into(),
        consent: vec!["liaison".into()],
        ..Observation::default()
    };
    let position = Position { lat: LOT.0, lon: LOT.1, accuracy_m: 10.0, method: "map".into() };
    Ok(ObservationDraft {
        observation,
        sealed: Some(Sealed { position: Some(position), ..Sealed::default() }),
    })
}

fn now_ms() -> Result<i64, Failure> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

fn told<T>(outcome: &Result<T, Error>) -> String {
    match outcome {
        Ok(_) => "it is done".to_owned(),
        Err(why) => shortened(&why.to_string(), 110),
    }
}

/// How many documents of a kind a phone can read.
async fn count_of(phone: &Replica, kind: Kind) -> Result<usize, Error> {
    Ok(phone.list(lamppost_core::replica::Filter { kind: Some(kind), ..Default::default() }).await?.len())
}
