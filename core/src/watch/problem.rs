//! A problem that the group works on for longer than one event, by scanning, analysis, response and assessment (SARA).
//!
//! It cannot be closed without an assessment against the baseline that was measured before anything was done, and the
//! baseline cannot be moved afterwards. Volunteers say by [`vote`](super::vote) which problems come first.

use super::blur::Cell;
use super::check::{Invalid, check_code, check_count, check_id, check_time};
use super::codes;
use super::content::{Keyed, Summary, WatchDocument, Writer, codes_of, stored};
use super::kinds::Kind;
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};

/// Most responses of one problem.
pub const RESPONSES_COUNT_MAX: usize = 100;

/// Stages in order: keys of `codes/problem_stage.json`. Changes to another are refused by every version alike.
pub const STAGES: [&str; 5] = ["scanning", "analysis", "response", "assessment", "closed"];

/// From this stage on the baseline stands.
const RESPONSE: usize = 2;
const CLOSED: usize = 4;

stored! {
    /// One problem. Every member reads it, so it holds no person and no report.
    pub struct Problem {
        /// What the group calls it; never a person's name.
        pub title: String,
        /// Why it was opened.
        pub opening: Opening,
        /// Where it stands: one of [`STAGES`].
        pub stage: String,
        /// Public grid cell; empty if it is in no one place.
        pub cell: String,
        /// What was found at first: what recurs, where, when, whom it concerns.
        pub scan: String,
        /// What keeps it going.
        pub analysis: Analysis,
        /// What is done about it, by key.
        pub responses: Keyed<PlannedResponse>,
        /// Whether it helped.
        pub assessment: Assessment,
    }

    /// The four answers without which something is no problem in this sense. Each says why it is so.
    pub struct Opening {
        /// Who is concerned; several are.
        pub several_concerned: String,
        /// Why it will not go away by itself.
        pub will_not_go_away: String,
        /// How it survived ordinary enforcement.
        pub survived_enforcement: String,
        /// By which available means it can be impacted.
        pub can_be_impacted: String,
    }

    /// The problem analysis triangle.
    pub struct Analysis {
        /// What brings those who do it, and who could influence them; never who they are.
        pub offender: String,
        /// Whom it harms, and who could protect them.
        pub victim: String,
        /// What about the place lets it happen, and who manages it.
        pub place: String,
    }

    /// One thing that is done.
    pub struct PlannedResponse {
        /// What.
        pub what: String,
        /// Id of the member or partner who does it, as text.
        pub owner: String,
        /// By when, in milliseconds since the Unix epoch.
        pub due_ms: i64,
        /// A key of `codes/response_type.json`.
        pub kind: String,
        /// A key of `codes/action_status.json`.
        pub status: String,
    }

    /// What was measured before and after.
    pub struct Assessment {
        /// What is counted, over which time, such as 'visits under 3 minutes, Friday 20 to 24 h'.
        pub measure: String,
        /// Its value before any response.
        pub baseline: Option<f64>,
        /// Its value afterwards.
        pub after: Option<f64>,
        /// What became of it elsewhere: a key of `codes/displacement.json`.
        pub displacement: String,
        /// What the group concludes.
        pub conclusion: String,
    }
}

impl Problem {
    /// Whether it is closed: said to be, and assessed. Two people who change it at once cannot bring about the one without
    /// the other.
    pub fn is_closed(&self) -> bool {
        rank(&self.stage) == Some(CLOSED) && self.assessment.check().is_ok()
    }

    /// What the stage asks for.
    fn check_stage(&self) -> Result<(), Invalid> {
        let stage = rank(&self.stage).ok_or_else(|| {
            Invalid::new(
                "stage",
                "is not a stage of a problem",
                format!("choose one of {}", STAGES.join(", ")),
            )
        })?;
        let needs = |from: usize, field: &str, text: &str| {
            if stage < from {
                return Ok(());
            }
            text::check_not_blank(field, text)
        };
        needs(1, "scan", &self.scan)?;
        needs(RESPONSE, "analysis.offender", &self.analysis.offender)?;
        needs(RESPONSE, "analysis.victim", &self.analysis.victim)?;
        needs(RESPONSE, "analysis.place", &self.analysis.place)?;
        needs(RESPONSE, "assessment.measure", &self.assessment.measure)?;
        if stage >= RESPONSE && !self.assessment.baseline.is_some_and(f64::is_finite) {
            return Err(Invalid::new(
                "assessment.baseline",
                "is missing before anything is done",
                "measure it first: what is done cannot be judged without",
            ));
        }
        if stage > RESPONSE && self.responses.is_empty() {
            return Err(Invalid::new("responses", "is empty", "say what was done"));
        }
        if stage == CLOSED { self.assessment.check().map_err(|e| e.within("assessment")) } else { Ok(()) }
    }
}

impl Assessment {
    /// Whether it says how it was before, how it is now, and what became of it elsewhere.
    fn check(&self) -> Result<(), Invalid> {
        text::check_not_blank("measure", &self.measure)?;
        for (field, value) in [("baseline", self.baseline), ("after", self.after)] {
            if !value.is_some_and(f64::is_finite) {
                return Err(Invalid::new(
                    field,
                    "is missing",
                    "a problem is closed by what was measured before and after, not by a decision",
                ));
            }
        }
        text::check_not_blank("displacement", &self.displacement)?;
        text::check_not_blank("conclusion", &self.conclusion)
    }
}

impl WatchDocument for Problem {
    const KIND: Kind = Kind::PROBLEM;
    const JUDGED: bool = true;

    fn validate(&self) -> Result<(), Invalid> {
        text::check_required_line("title", &self.title, LINE_CHARS_MAX)?;
        for (field, answer) in self.opening.answers() {
            text::check_required(field, answer, TEXT_CHARS_MAX).map_err(|e| e.within("opening"))?;
        }
        if !self.cell.is_empty() {
            self.cell.parse::<Cell>()?;
        }
        text::check("scan", &self.scan, TEXT_CHARS_MAX)?;
        let Analysis { offender, victim, place } = &self.analysis;
        for (field, said) in [("offender", offender), ("victim", victim), ("place", place)] {
            text::check(field, said, TEXT_CHARS_MAX).map_err(|e| e.within("analysis"))?;
        }
        check_count("responses", self.responses.len(), RESPONSES_COUNT_MAX)?;
        for (key, response) in self.responses.iter() {
            response.check().map_err(|e| e.within(&format!("responses.{key}")))?;
        }
        text::check_line("assessment.measure", &self.assessment.measure, LINE_CHARS_MAX)?;
        if !self.assessment.displacement.is_empty() {
            check_code("assessment.displacement", &self.assessment.displacement, codes::displacement())?;
        }
        text::check("assessment.conclusion", &self.assessment.conclusion, TEXT_CHARS_MAX)?;
        self.check_stage()
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.title.clone(),
            text: self.scan.clone(),
            when_ms: self.responses.values().filter(|r| r.status == "open").map(|r| r.due_ms).min(),
            cell: self.cell.clone(),
            codes: codes_of([&self.stage]),
            ..Summary::default()
        }
    }

    fn check_change(before: Option<&Self>, after: &Self, _: &Writer) -> Result<(), Invalid> {
        after.check_stage()?;
        let stage = rank(&after.stage).unwrap_or_default();
        let Some(before) = before else {
            after.opening.check().map_err(|e| e.within("opening"))?;
            if stage == 0 {
                return Ok(());
            }
            return Err(Invalid::new("stage", "skips the scan", "open the problem as 'scanning'"));
        };
        let was = rank(&before.stage).unwrap_or_default();
        if stage > was + 1 {
            return Err(Invalid::new("stage", "skips a stage", "go on by one stage at a time"));
        }
        if was == CLOSED && stage == CLOSED && before != after {
            return Err(Invalid::new("stage", "is closed", "open it again before changing it"));
        }
        let measured = |problem: &Self| (problem.assessment.measure.clone(), problem.assessment.baseline);
        if was >= RESPONSE && stage >= RESPONSE && measured(before) != measured(after) {
            return Err(Invalid::new(
                "assessment.baseline",
                "was moved after something was done",
                "go back to the analysis if it was measured wrongly",
            ));
        }
        Ok(())
    }
}

impl Opening {
    fn answers(&self) -> [(&'static str, &String); 4] {
        [
            ("several_concerned", &self.several_concerned),
            ("will_not_go_away", &self.will_not_go_away),
            ("survived_enforcement", &self.survived_enforcement),
            ("can_be_impacted", &self.can_be_impacted),
        ]
    }

    fn check(&self) -> Result<(), Invalid> {
        self.answers().into_iter().try_for_each(|(field, answer)| text::check_not_blank(field, answer))
    }
}

impl PlannedResponse {
    fn check(&self) -> Result<(), Invalid> {
        text::check_required("what", &self.what, TEXT_CHARS_MAX)?;
        check_id("owner", &self.owner)?;
        check_time("due_ms", self.due_ms)?;
        check_code("kind", &self.kind, codes::response_type())?;
        check_code("status", &self.status, codes::action_status())
    }
}

fn rank(stage: &str) -> Option<usize> {
    STAGES.iter().position(|known| *known == stage)
}

#[cfg(test)]
mod tests;
