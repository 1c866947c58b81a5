use super::*;
use crate::watch::roles::ROLE_COORDINATOR;
use crate::watch::testing::{document_of, fork, refused, set_aside, writer};
use autosurgeon::{hydrate, reconcile};

fn opened() -> Problem {
    Problem {
        title: "Short visits at the corner lot".into(),
        opening: Opening {
            several_concerned: "Two dozen neighbours and a day-care".into(),
            will_not_go_away: "It has come back every spring".into(),
            survived_enforcement: "After each arrest it was the same within a week".into(),
            can_be_impacted: "The owner would fence the lot".into(),
        },
        stage: "scanning".into(),
        scan: "Cars stop for under three minutes, Fridays".into(),
        ..Problem::default()
    }
}

fn at(stage: &str) -> Problem {
    let response = PlannedResponse {
        what: "Light the lot".into(),
        owner: "member-1".into(),
        due_ms: 1_767_225_600_000,
        kind: "place".into(),
        status: "done".into(),
    };
    Problem {
        stage: stage.into(),
        analysis: Analysis {
            offender: "They come by car".into(),
            victim: "The day-care".into(),
            place: "Dark, nobody's".into(),
        },
        responses: Keyed::from_iter([("1", response)]),
        assessment: Assessment {
            measure: "visits under 3 minutes, Friday 20 to 24 h".into(),
            baseline: Some(41.0),
            after: Some(12.0),
            displacement: "none_seen".into(),
            conclusion: "The light helped".into(),
        },
        ..opened()
    }
}

fn by() -> Writer {
    writer(1, ROLE_COORDINATOR, Kind::PROBLEM)
}

#[test]
fn a_problem_is_opened_by_four_answers() {
    assert_eq!(opened().validate(), Ok(()));
    assert_eq!(refused(&opened(), |p| p.opening.several_concerned.clear()), "opening.several_concerned");
    assert_eq!(refused(&opened(), |p| p.opening.will_not_go_away = " ".into()), "opening.will_not_go_away");
    assert_eq!(
        refused(&opened(), |p| p.opening.survived_enforcement.clear()),
        "opening.survived_enforcement"
    );
    assert_eq!(refused(&opened(), |p| p.opening.can_be_impacted.clear()), "opening.can_be_impacted");
    let unanswered = Problem { opening: Opening::default(), ..opened() };
    assert_eq!(set_aside(None, &unanswered, &by()), Some("opening.several_concerned".into()));
    assert_eq!(set_aside(None, &at("response"), &by()), Some("stage".into()));
    assert_eq!(set_aside(None, &opened(), &by()), None);
}

#[test]
fn refusals_name_the_field() {
    let problem = at("closed");
    assert_eq!(refused(&problem, |p| p.title.clear()), "title");
    assert_eq!(refused(&problem, |p| p.cell = "12 Main Street".into()), "cell");
    assert_eq!(refused(&problem, |p| p.stage = "solved".into()), "stage");
    assert_eq!(refused(&problem, |p| p.scan.clear()), "scan");
    assert_eq!(refused(&problem, |p| p.analysis.victim.clear()), "analysis.victim");
    assert_eq!(refused(&problem, |p| p.responses.clear()), "responses");
    let first = |p: &mut Problem, edit: fn(&mut PlannedResponse)| edit(p.responses.get_mut("1").unwrap());
    assert_eq!(refused(&problem, |p| first(p, |r| r.owner.clear())), "responses.1.owner");
    assert_eq!(refused(&problem, |p| first(p, |r| r.due_ms = 0)), "responses.1.due_ms");
    assert_eq!(refused(&problem, |p| first(p, |r| r.kind = "raid".into())), "responses.1.kind");
    assert_eq!(refused(&problem, |p| p.assessment.displacement = "far".into()), "assessment.displacement");
}

#[test]
fn it_cannot_be_closed_without_an_assessment_against_its_baseline() {
    let before = at("assessment");
    let closing = |edit: fn(&mut Assessment)| {
        let mut closed = at("closed");
        edit(&mut closed.assessment);
        (set_aside(Some(&before), &closed, &by()), closed.is_closed())
    };
    assert_eq!(closing(|_| ()), (None, true));
    assert_eq!(closing(|a| a.after = None), (Some("assessment.after".into()), false));
    assert_eq!(closing(|a| a.after = Some(f64::NAN)), (Some("assessment.after".into()), false));
    assert_eq!(closing(|a| a.baseline = None).0, Some("assessment.baseline".into()));
    assert_eq!(closing(|a| a.displacement.clear()), (Some("assessment.displacement".into()), false));
    assert_eq!(closing(|a| a.conclusion.clear()), (Some("assessment.conclusion".into()), false));
}

#[test]
fn the_baseline_is_measured_first_and_then_stands() {
    let unmeasured = |stage: &str| {
        let mut problem = at(stage);
        problem.assessment.baseline = None;
        problem
    };
    assert_eq!(set_aside(Some(&unmeasured("analysis")), &at("analysis"), &by()), None);
    let early = set_aside(Some(&at("analysis")), &unmeasured("response"), &by());
    assert_eq!(early, Some("assessment.baseline".into()));
    let mut moved = at("assessment");
    moved.assessment.baseline = Some(80.0);
    assert_eq!(set_aside(Some(&at("assessment")), &moved, &by()), Some("assessment.baseline".into()));
    let mut again = at("analysis");
    again.assessment.baseline = Some(80.0);
    assert_eq!(set_aside(Some(&at("assessment")), &again, &by()), None);
}

#[test]
fn stages_follow_each_other_and_what_is_closed_is_opened_before_it_changes() {
    assert_eq!(set_aside(Some(&at("scanning")), &at("response"), &by()), Some("stage".into()));
    assert_eq!(set_aside(Some(&at("closed")), &at("scanning"), &by()), None);
    let renamed = Problem { title: "Another".into(), ..at("closed") };
    assert_eq!(set_aside(Some(&at("closed")), &renamed, &by()), Some("stage".into()));
}

#[test]
fn two_who_change_it_at_once_do_not_close_it_unassessed() {
    let mut one = document_of(&at("assessment"), 1);
    let mut other = fork(&mut one, 2);
    reconcile(&mut one, at("closed")).unwrap();
    let mut unassessed = at("assessment");
    unassessed.assessment.after = None;
    reconcile(&mut other, &unassessed).unwrap();
    one.merge(&mut other).unwrap();
    let merged: Problem = hydrate(&one).unwrap();
    assert_eq!(merged.stage, "closed");
    assert!(!merged.is_closed());
}
