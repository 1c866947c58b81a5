//! Tests of what comes before a report.

use super::*;
use crate::watch::codes;
use proptest::prelude::*;

fn draft(flags: &[&str], behaviours: &[&str], called: bool) -> Observation {
    let codes = |codes: &[&str]| codes.iter().map(ToString::to_string).collect();
    Observation {
        flags: codes(flags),
        behaviours: codes(behaviours),
        called_emergency_at_ms: called.then_some(1),
        ..Observation::default()
    }
}

fn shown(flags: &[&str], behaviours: &[&str], called: bool) -> String {
    let policy = Policy { country: "US".into(), number: None };
    let steps = steps(&draft(flags, behaviours, called), &policy);
    let names = steps.iter().map(|step| match step {
        Step::Dial(number) => format!("dial {number}"),
        Step::OfferDial(number) => format!("offer {number}"),
        Step::Show(guidance) => guidance.code().to_owned(),
        Step::Save => "save".to_owned(),
    });
    names.collect::<Vec<_>>().join(", ")
}

#[test]
fn an_overdose_dials_shows_naloxone_and_saves_last() {
    assert_eq!(shown(&["overdose"], &[], false), "dial 911, naloxone, save");
    assert_eq!(shown(&[], &["overdose"], false), "dial 911, naloxone, save");
    assert_eq!(shown(&["overdose"], &[], true), "naloxone, save");
}

#[test]
fn danger_in_progress_dials_and_keeps_people_away() {
    for flag in ["weapon", "minors"] {
        assert_eq!(shown(&["in_progress", flag], &[], false), "dial 911, keep_away, save");
    }
    assert_eq!(shown(&["weapon"], &[], false), "offer 911, save");
    assert_eq!(shown(&["minors"], &[], false), "save");
    for behaviour in ["weapon_seen", "threat"] {
        assert_eq!(shown(&["in_progress"], &[behaviour], false), "dial 911, keep_away, save");
        assert_eq!(shown(&["in_progress"], &[behaviour], true), "keep_away, save");
    }
    assert_eq!(shown(&["in_progress"], &["hand_to_hand"], false), "offer 911, save");
    assert_eq!(shown(&[], &["hand_to_hand"], false), "save");
}

#[test]
fn numbers_follow_the_group_then_the_country_then_the_phone_standard() {
    let number = |country: &str, own: Option<&str>| {
        Policy { country: country.into(), number: own.map(Into::into) }.number().to_owned()
    };
    assert_eq!(number("mx", None), "911");
    assert_eq!(number("GB", None), "999");
    assert_eq!(number("", None), "112");
    assert_eq!(number("FR", None), "112");
    assert_eq!(number("US", Some("933")), "933");
    for bad in ["", "1", "*100#", "911,,1", "tel:911", "9000000000"] {
        assert_eq!(number("US", Some(bad)), "911", "{bad}");
    }
}

#[test]
fn the_file_is_complete_and_calls_for_nothing_that_is_forbidden() {
    assert!(!source().0.is_empty() && source().1.contains("SAMHSA"));
    for guidance in &file().guidance {
        assert_eq!(guidance.lines("en").len(), guidance.lines("es-MX").len());
        for line in guidance.lines("en").iter().chain(guidance.lines("es")) {
            assert!(line.chars().count() <= 120, "{line}");
            assert!(
                !crate::watch::guard::judge(line, crate::watch::guard::Place::Remark).is_held(),
                "{line}"
            );
        }
    }
    for (country, number) in &file().number_by_country {
        assert!(country.len() == 2 && number.len() == 3, "{country} {number}");
    }
}

#[test]
fn what_is_asked_about_is_in_the_catalogues() {
    for flag in ["overdose", "weapon", "in_progress", "minors"] {
        assert!(codes::flags().contains(flag), "{flag}");
    }
    for behaviour in ["overdose", "weapon_seen", "threat"] {
        assert!(codes::behaviours().contains(behaviour), "{behaviour}");
    }
}

proptest! {
    #[test]
    fn a_report_is_always_saved_and_always_last(
        flags: Vec<String>, behaviours: Vec<String>, called: Option<i64>, country: String, number: Option<String>,
    ) {
        let draft = Observation { flags, behaviours, called_emergency_at_ms: called, ..Observation::default() };
        let steps = steps(&draft, &Policy { country, number });
        prop_assert_eq!(steps.last(), Some(&Step::Save));
        prop_assert_eq!(steps.iter().filter(|step| **step == Step::Save).count(), 1);
        let dialled = steps.iter().position(|step| matches!(step, Step::Dial(_)));
        prop_assert!(dialled.is_none_or(|at| at == 0));
    }
}
