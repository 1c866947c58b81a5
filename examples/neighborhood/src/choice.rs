//! What the coordinator picks: the reports to look at, and what of them the liaison need not see.

use std::collections::BTreeMap;

use lamppost_core::watch::guard::{self, Place};
use lamppost_core::watch::{Redaction, Span};
use neighborhood::input::Report;

/// The reports that chapters 5 to 7 are about.
#[derive(Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Two reports, by their place in the input; one if there are no more.
    pub reports: Vec<usize>,
    /// Whether the input says that they tell of one event.
    pub same_event: bool,
    /// Why they are not handed over, if they are not.
    pub kept_back: Option<&'static str>,
}

impl Chosen {
    /// Two reports of one event whose authors allow a release; else any two that allow it; else any two.
    pub fn among(reports: &[Report]) -> Self {
        let allowed: Vec<usize> = (0..reports.len()).filter(|n| allows_release(reports, *n)).collect();
        if let Some(pair) = of_one_event(reports, &allowed) {
            return Self { reports: pair, same_event: true, kept_back: None };
        }
        if let [first, second, ..] = *allowed {
            return Self { reports: vec![first, second], same_event: false, kept_back: None };
        }
        let kept_back = Some(match allowed.len() {
            0 => "nobody consented to a release",
            _ => "only one author consented to a release, and it takes two reports",
        });
        let all: Vec<usize> = (0..reports.len()).collect();
        match of_one_event(reports, &all) {
            Some(pair) => Self { reports: pair, same_event: true, kept_back },
            None => Self { reports: all.into_iter().take(2).collect(), same_event: false, kept_back },
        }
    }
}

fn allows_release(reports: &[Report], number: usize) -> bool {
    let observation = reports.get(number).map(|report| &report.observation);
    // What was seen from somebody else's private place would need a review, and nobody is here to make it.
    observation.is_some_and(|seen| {
        seen.consent.iter().any(|audience| audience == "liaison")
            && guard::judge_vantage(&seen.vantage) == guard::Verdict::Pass
    })
}

fn of_one_event(reports: &[Report], among: &[usize]) -> Option<Vec<usize>> {
    let mut numbers_by_event: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for number in among {
        if let Some(event) = reports.get(*number).and_then(|report| report.same_event.as_deref()) {
            numbers_by_event.entry(event).or_default().push(*number);
        }
    }
    let pair = numbers_by_event.into_values().find(|numbers| numbers.len() >= 2)?;
    Some(pair.into_iter().take(2).collect())
}

/// Words in which authors speak of themselves.
const OF_ONESELF: &[&str] = &["I", "me", "Me", "my", "My", "mine", "we", "We", "us", "our", "Our", "ours"];

/// Masks every sentence in which the author speaks of themselves and whatever the guard asks about, and gives times to
/// the hour. Says what it masks.
pub fn redaction(text: &str) -> (Redaction, Vec<String>) {
    let mut spans = Vec::new();
    let mut hidden = Vec::new();
    for (start, sentence) in sentences(text) {
        if sentence.split(|c: char| !c.is_alphanumeric()).any(|word| OF_ONESELF.contains(&word)) {
            spans.push(Span { start, end: start + sentence.chars().count() });
            hidden.push(sentence);
        }
    }
    for found in guard::judge(text, Place::Handover).findings().iter().flat_map(|finding| &finding.spans) {
        let (Some(before), Some(words)) = (text.get(..found.start), text.get(found.clone())) else {
            continue;
        };
        let start = before.chars().count();
        spans.push(Span { start, end: start + words.chars().count() });
        hidden.push(words.to_owned());
    }
    (Redaction { spans, coarsen_time: true, ..Redaction::default() }, hidden)
}

/// The sentences of a text, each with the place of its first character.
fn sentences(text: &str) -> Vec<(usize, String)> {
    let mut sentences = Vec::new();
    let mut open = String::new();
    let mut start = 0;
    let mut chars = text.chars().enumerate().peekable();
    while let Some((at, c)) = chars.next() {
        if open.is_empty() {
            if c.is_whitespace() {
                continue;
            }
            start = at;
        }
        open.push(c);
        let is_last = chars.peek().is_none_or(|(_, next)| next.is_whitespace());
        if is_last && matches!(c, '.' | '!' | '?') || chars.peek().is_none_or(|(_, next)| *next == '\n') {
            sentences.push((start, std::mem::take(&mut open)));
        }
    }
    sentences
}

#[cfg(test)]
mod tests {
    use lamppost_core::watch::{Observation, redact};
    use neighborhood::input::sample;

    use super::*;

    fn report(consents: bool, event: Option<&str>) -> Report {
        let consent = if consents { vec!["liaison".to_owned()] } else { Vec::new() };
        let observation = Observation { consent, vantage: "public_way".to_owned(), ..Observation::default() };
        Report { observation, same_event: event.map(str::to_owned), ..Report::default() }
    }

    #[test]
    fn consent_comes_before_everything_and_is_never_assumed() {
        let among = |reports: &[Report]| Chosen::among(reports);
        let (a, b) = (Some("a"), Some("b"));
        let both = [report(true, None), report(false, a), report(false, a), report(true, b), report(true, b)];
        assert_eq!(among(&both), Chosen { reports: vec![3, 4], same_event: true, kept_back: None });
        let apart = [report(true, None), report(false, a), report(false, a), report(true, b)];
        assert_eq!(among(&apart), Chosen { reports: vec![0, 3], same_event: false, kept_back: None });
        let one = among(&[report(true, None), report(false, a), report(false, a)]);
        assert_eq!((one.reports, one.same_event), (vec![1, 2], true));
        assert!(one.kept_back.unwrap().contains("only one author"));
        let none = among(&[report(false, None)]);
        assert_eq!((none.reports, none.kept_back), (vec![0], Some("nobody consented to a release")));
    }

    #[test]
    fn whole_sentences_about_the_author_are_masked() {
        let text = "A car waits. I see it\nfrom my window today. It left at 9.30! What US plate? We left";
        let (redaction, hidden) = redaction(text);
        assert_eq!(hidden, ["I see it", "from my window today.", "We left"]);
        let observation = Observation {
            vantage: "own_property".into(),
            what_happened: text.into(),
            consent: vec!["liaison".into()],
            ..Observation::default()
        };
        assert_eq!(
            redact(&observation, &redaction).unwrap().what_happened,
            "A car waits. ▮▮▮\n▮▮▮ It left at 9.30! What US plate? ▮▮▮"
        );
    }

    #[test]
    fn what_the_guard_asks_about_is_masked() {
        let (redaction, hidden) = redaction("Señora Roe sold a bag.");
        assert_eq!(hidden, ["Señora Roe"]);
        assert_eq!(redaction.spans, [Span { start: 0, end: 10 }]);
    }

    #[test]
    fn the_sample_has_a_pair_to_hand_over_and_something_to_mask_in_each() {
        let reports = sample().reports;
        let chosen = Chosen::among(&reports);
        assert!(chosen.same_event && chosen.kept_back.is_none());
        for number in chosen.reports {
            let text = format!("{} {}", reports[number].observation.what_happened, reports[number].comment);
            assert!(!redaction(&text).1.is_empty(), "{text}");
        }
    }
}
