//! The bias guard: behaviour first. It reads what an author is about to write and asks 'what happened?'.
//!
//! It judges an author's own words before they are filed, never what was received. The same words get the same verdict
//! on every phone: `rules.json` and `reasons.json` are part of the program and carry a version, and nothing else decides.
//!
//! A held text is not filed to the group, and nobody can override that, a coordinator neither: whoever could wave a text
//! through would be asked to. The person writes it again; the draft stays on their device until they do. What is only
//! asked about may be filed as it is, but does not leave the group before it is masked.
//!
//! It helps people who mean well and write in a hurry. It knows words, not meaning: it cannot see a lie, an irony, a
//! name that looks like a word, or a prejudice that was given a behaviour to carry. `fixtures` measures how often it errs.

mod reasons;
mod request;
mod rules;
mod words;

pub use reasons::{Reason, reasons};
pub use request::{judge_request, judge_vantage};

use super::check::Invalid;
use super::{Observation, People, Release, Sealed};
use rules::{Class, Hit, rules};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Other descriptions that must stand there before race may.
pub const DESCRIPTORS_BEFORE_RACE: usize = 2;

/// Where a text is to stand, and so who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// What happened: read by the group.
    Report,
    /// A remark, a title, a reason: read by the group. It need not tell what happened, as it points at what does.
    Remark,
    /// For the coordinators alone: personal data may stand here, views and calls may not.
    Sealed,
    /// Words that leave the group.
    Handover,
}

/// What the guard says of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to say.
    Pass,
    /// May be filed as it is, but look at these first.
    Ask(Vec<Finding>),
    /// Not filed until it is written again. Other findings follow those that hold it.
    Held(Vec<Finding>),
}

/// One reason, and where in the text it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Why, with its question in both languages.
    pub reason: &'static Reason,
    /// Bytes of the text, on character boundaries, sorted and apart; empty if it is about the text as a whole.
    pub spans: Vec<Range<usize>>,
}

impl Verdict {
    /// Everything found, the gravest first.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Pass => &[],
            Self::Ask(findings) | Self::Held(findings) => findings,
        }
    }

    /// Whether the text must be written again.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    fn of(spans_by_reason: BTreeMap<&'static str, Vec<Range<usize>>>) -> Self {
        let mut findings: Vec<Finding> = spans_by_reason
            .into_iter()
            .filter_map(|(code, spans)| {
                reasons::reason(code).map(|reason| Finding { reason, spans: joined(spans) })
            })
            .collect();
        findings.sort_by_key(|finding| !finding.reason.holds());
        match findings.first() {
            None => Self::Pass,
            Some(first) if first.reason.holds() => Self::Held(findings),
            Some(_) => Self::Ask(findings),
        }
    }
}

/// Version of the rules, such as `2026-01`.
pub fn version() -> &'static str {
    &rules().version
}

/// Where the rules come from.
pub fn source() -> &'static str {
    &rules().source
}

/// Judges a text in English, Spanish or both. The work grows with its length alone.
///
/// ```
/// use lamppost_core::watch::guard::{Place, judge};
///
/// let verdict = judge("A man in a hoodie again, he does not belong here.", Place::Report);
/// assert!(verdict.is_held());
/// let reason = verdict.findings()[0].reason;
/// assert_eq!(reason.code(), "no_behaviour");
/// assert!(reason.question("en").starts_with("What happened?"));
/// assert!(!judge("A man in a hoodie took cash for a small bag.", Place::Report).is_held());
/// ```
pub fn judge(text: &str, place: Place) -> Verdict {
    let words = words::words(text);
    let (hits, _) = rules().find(&words);
    Verdict::of(weigh(text, &hits, place))
}

fn weigh(text: &str, hits: &[Hit], place: Place) -> BTreeMap<&'static str, Vec<Range<usize>>> {
    let mut found: BTreeMap<&'static str, Vec<Range<usize>>> = BTreeMap::new();
    let has = |class: Class| hits.iter().any(|hit| hit.class == class);
    let behaviour = has(Class::Behaviour);
    // What names somebody instead of what they did, and is asked about if they did something.
    let about_whom = |place_matters: bool, beside_behaviour: Option<&'static str>| {
        if !place_matters {
            None
        } else if behaviour {
            beside_behaviour
        } else {
            Some("no_behaviour")
        }
    };
    let in_group = place != Place::Sealed;
    let tells_what = matches!(place, Place::Report | Place::Handover);
    for hit in hits {
        let reason = match hit.class {
            Class::Views => Some("views"),
            Class::Call => Some("call"),
            Class::Race => {
                about_whom(in_group, (described(hits) < DESCRIPTORS_BEFORE_RACE).then_some("race"))
            }
            Class::Origin => about_whom(in_group, Some("origin")),
            Class::Status => about_whom(in_group, None),
            Class::Suspicion => about_whom(tells_what, None),
            // A cap on a fence is no description of anybody.
            Class::Appearance if !(tells_what && has(Class::Person)) => None,
            // Clothing is honest beside a deed that the rules have no word for, so that is only asked.
            Class::Appearance if !has(Class::Idle) => (!behaviour).then_some("clothing"),
            Class::Appearance => about_whom(true, None),
            Class::Label if !tells_what => in_group.then_some("label"),
            Class::Label => about_whom(true, Some("label")),
            Class::Behaviour
            | Class::Person
            | Class::Idle
            | Class::Descriptor
            | Class::Negation
            | Class::RequestRefused
            | Class::RequestReview
            | Class::RequestPassive => None,
        };
        if let Some(reason) = reason {
            found.entry(reason).or_default().push(hit.span.clone());
        }
    }
    for (reason, span) in rules().shapes(text) {
        // Personal data belongs into the sealed part; a call belongs nowhere.
        if let Some(reason) = reasons::reason(reason)
            && (reason.holds() || place != Place::Sealed)
        {
            found.entry(reason.code()).or_default().push(span);
        }
    }
    found
}

/// The spans sorted, those that overlap as one.
fn joined(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.sort_by_key(|span| (span.start, span.end));
    let mut joined: Vec<Range<usize>> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => joined.push(span),
        }
    }
    joined
}

/// How many different things describe somebody beside race.
fn described(hits: &[Hit]) -> usize {
    hits.iter().filter(|hit| hit.class == Class::Descriptor).map(|hit| hit.cue).collect::<BTreeSet<_>>().len()
}

/// Refuses what is held; of words that leave the group also what is asked about.
///
/// # Errors
/// Names the field, the reason, and as the remedy the question to answer.
pub fn check(field: &str, text: &str, place: Place) -> Result<(), Invalid> {
    let verdict = judge(text, place);
    let refused = |finding: &&Finding| finding.reason.holds() || place == Place::Handover;
    verdict.findings().iter().find(refused).map_or(Ok(()), |finding| Err(finding.reason.refusal(field)))
}

/// Judges a report before it is filed: its public words, its sealed words, and the order in which people are described.
///
/// # Errors
/// As [`check`].
pub fn check_report(observation: &Observation, sealed: Option<&Sealed>) -> Result<(), Invalid> {
    check("what_happened", &observation.what_happened, Place::Report)?;
    let Some(sealed) = sealed else { return Ok(()) };
    check("notes", &sealed.notes, Place::Sealed)?;
    for (i, people) in sealed.people.iter().enumerate() {
        check_people(people).map_err(|e| e.within(&format!("people[{i}]")))?;
    }
    Ok(())
}

/// Accepts race among the features of people only if clothing, direction or other features describe them in at least
/// [`DESCRIPTORS_BEFORE_RACE`] other ways.
///
/// # Errors
/// When race stands there alone or with one other description, or a view or a call stands there.
pub fn check_people(people: &People) -> Result<(), Invalid> {
    let fields =
        [("clothing", &people.clothing), ("features", &people.features), ("direction", &people.direction)];
    let mut others = 0;
    let mut race = None;
    for (field, text) in fields {
        check(field, text, Place::Sealed)?;
        let words = words::words(text);
        let (hits, _) = rules().find(&words);
        let raced: Vec<_> = hits.iter().filter(|hit| hit.class == Class::Race).collect();
        if !raced.is_empty() {
            race = race.or(Some(field));
        }
        // A field counts as a description if anything stands there beside race, its count and its articles.
        let outside = words.iter().filter(|word| {
            word.folded.chars().count() > 2
                && !raced.iter().any(|hit| hit.span.start < word.span.end && word.span.start < hit.span.end)
        });
        others += usize::from(outside.count() > 0);
    }
    match race {
        Some(field) if others < DESCRIPTORS_BEFORE_RACE => match reasons::reason("race_first") {
            Some(reason) => Err(reason.refusal(field)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Judges every word of a release before it leaves.
///
/// # Errors
/// As [`check`]; the remedy of what is found in an item is to mask it, and of an open fact to settle it.
pub fn check_release(release: &Release) -> Result<(), Invalid> {
    check("title", &release.title, Place::Handover)?;
    check("purpose", &release.purpose, Place::Handover)?;
    for (i, item) in release.items.iter().enumerate() {
        check(&format!("items[{i}].what_happened"), &item.what_happened, Place::Handover).map_err(
            |refused| Invalid::new(refused.field, refused.problem, "mask those words, or leave the item out"),
        )?;
    }
    for (i, open) in release.open_facts.iter().enumerate() {
        for (j, value) in open.values.iter().enumerate() {
            check(&format!("open_facts[{i}].values[{j}]"), value, Place::Handover).map_err(|refused| {
                Invalid::new(
                    refused.field,
                    refused.problem,
                    "settle in the case what holds, or leave its reports out",
                )
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
