//! The guard at the doors: what is held is written nowhere, and what was only asked about does not leave.

use super::*;
use crate::watch::{Observation, People, Span};

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> crate::watch::Invalid {
    match result {
        Err(Error::Invalid(invalid)) => invalid,
        other => panic!("{other:?}"),
    }
}

const HELD: &str = "A black man in a hoodie. He does not belong here.";

#[test]
fn a_held_report_is_written_nowhere_and_asks_what_happened() {
    let Town { mut vic, .. } = town();
    let before = vic.store.scan(ENTRIES, &[], None, usize::MAX).unwrap().len();
    let held = refused(vic.record(draft(HELD)));
    assert_eq!(held.field, "what_happened");
    assert!(held.remedy.starts_with("What happened?"), "{held}");
    let mut sealed = draft("Two people swapped a bag for cash.");
    sealed.sealed.as_mut().unwrap().people =
        vec![People { count: 1, features: "hispanic".into(), ..People::default() }];
    assert_eq!(refused(vic.record(sealed)).field, "people[0].features");
    let typed = vic.new_draft(Kind::OBSERVATION);
    vic.save_draft(typed, Kind::OBSERVATION, HELD.as_bytes()).unwrap();
    assert_eq!(refused(vic.record_from_draft(typed, draft(HELD))).field, "what_happened");
    assert!(vic.draft(typed).unwrap().is_some(), "it stays with them until it is written again");
    assert_eq!(vic.store.scan(ENTRIES, &[], None, usize::MAX).unwrap().len(), before);

    let id = vic.record(draft("Two people swapped a bag for cash.")).unwrap();
    refused(vic.amend(id, draft(HELD)));
    assert_eq!(refused(vic.annotate(id, "They do not belong here.", "")).field, "text");
    let case = vic.link(None, "Black men at the corner", &[]);
    assert_eq!(refused(case).field, "title");
    for retract in [false, true] {
        assert_eq!(refused(vic.correct(id, retract, "They do not belong here.")).field, "text");
    }
    assert_eq!(texts(&vic, Kind::OBSERVATION), ["Two people swapped a bag for cash."]);
}

#[test]
fn a_held_contest_is_written_nowhere() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let report = vic.record(draft("Two people swapped a bag for cash.")).unwrap();
    hand(&vic, &mut carla);
    let plan = ReleasePlan {
        title: "A swap".into(),
        purpose: "Patrol planning".into(),
        recipient: Some(liaison.member_id()),
        expires_ms: None,
        observations: vec![(report, Redaction::default())],
    };
    let release = carla.release(&plan).unwrap();
    hand(&carla, &mut liaison);
    let answer = LiaisonAnswer { status: "received".into(), ..LiaisonAnswer::default() };
    liaison.respond(release, &answer).unwrap();
    hand(&liaison, &mut vic);
    let filter = Filter { kind: Some(Kind::OUTCOME), ..Filter::default() };
    let outcome = vic.list(&filter).unwrap()[0].0.id;
    let contest = |vic: &mut Engine, text: &str| vic.contest(outcome, report, "not_resolved", text);
    assert_eq!(refused(contest(&mut vic, "They do not belong here.")).field, "text");
    assert!(texts(&vic, Kind::CONTEST).is_empty());
    contest(&mut vic, "It was seen by two of us.").unwrap();
}

#[test]
fn a_held_report_is_held_without_a_group_too() {
    let mut alone = engine(7);
    refused(alone.record(draft(HELD)));
    assert!(texts(&alone, Kind::OBSERVATION).is_empty());
}

#[test]
fn what_was_asked_about_does_not_leave_before_it_is_masked() {
    let Town { mut carla, liaison, .. } = town();
    let text = "Call 303 555 0119, he said, and sold two bags.";
    let id = carla.record(draft(text)).unwrap();
    let plan = |spans: Vec<Span>, title: &str| ReleasePlan {
        title: title.into(),
        purpose: "Patrol planning".into(),
        recipient: Some(liaison.member_id()),
        expires_ms: None,
        observations: vec![(id, Redaction { spans, ..Redaction::default() })],
    };
    assert_eq!(refused(carla.release(&plan(vec![], "A sale"))).field, "items[0].what_happened");
    let masked = vec![Span { start: 5, end: 17 }];
    assert_eq!(refused(carla.release(&plan(masked.clone(), "The usual suspect"))).field, "title");
    carla.release(&plan(masked, "A sale")).unwrap();
}

#[test]
fn what_a_case_disagrees_about_is_judged_before_it_leaves() {
    let Town { mut carla, liaison, .. } = town();
    let report = carla.record(draft("Two people swapped a bag for cash.")).unwrap();
    let link = CaseLink { observation: report, reason: "12 min".into() };
    let case = carla.link(None, "Swaps", &[link]).unwrap();
    carla.state_fact(case, "location", "a driveway").unwrap();
    let called = carla.state_fact(case, "location", "call 303 555 0119").unwrap();
    let plan = ReleasePlan {
        title: "A sale".into(),
        purpose: "Patrol planning".into(),
        recipient: Some(liaison.member_id()),
        expires_ms: None,
        observations: vec![(report, Redaction::default())],
    };
    let held = refused(carla.release(&plan));
    assert_eq!(held.field, "open_facts[0].values[1]");
    assert!(held.remedy.contains("settle"), "{held}");
    carla.resolve_fact(case, "location", &called).unwrap();
    carla.release(&plan).unwrap();
}

#[test]
fn of_an_overdose_the_liaison_gets_neither_words_nor_flags() {
    let Town { mut carla, mut liaison, .. } = town();
    let mut overdose = draft("The woman from the bakery lay on the steps, lips blue.");
    overdose.observation =
        Observation { flags: vec!["overdose".into()], activity: vec!["U".into()], ..overdose.observation };
    let id = carla.record(overdose).unwrap();
    let plan = ReleasePlan {
        title: "One overdose".into(),
        purpose: "Outreach".into(),
        recipient: Some(liaison.member_id()),
        expires_ms: None,
        observations: vec![(id, Redaction::default())],
    };
    let release = carla.release(&plan).unwrap();
    hand(&carla, &mut liaison);
    let Content::Release(received) = liaison.get(release).unwrap().content else { panic!() };
    let [item] = received.items.as_slice() else { panic!("{received:?}") };
    assert_eq!(item.behaviours, ["overdose"]);
    assert!(item.flags.is_empty() && item.activity.is_empty());
    let shown = format!("{received:?}");
    assert!(!shown.contains("bakery") && !shown.contains("blue"));
}
