//! Vectors of sections 4.1, 6.2, 6.3 and 6.4: the rules of each kind, and which changes of judged kinds count.

use lamppost_core::base::DocumentId;
use lamppost_core::document::create_id;
use lamppost_core::replica::testing::{as_json, problem};
use lamppost_core::watch::kinds::{is_judged, last_day, may_expire, rules};
use lamppost_core::watch::referral::REDISCLOSURE_NOTICE;
use lamppost_core::watch::roles::{ROLE_COORDINATOR, ROLE_VOLUNTEER, template_rows};
use lamppost_core::watch::{
    Attendance, Ballot, Case, Choice, Closing, Consent, Contest, Correction, Kind, NotDuplicates, Outcome,
    Problem, Referral, Response, Shift, Vote, WatchDocument, Writer, YouthSession,
};
use serde_json::{Value, json};

use crate::town::Town;

/// A change of some content.
type Edit<T> = fn(&mut T);

/// What is done to a case, whether that counts, and how.
type CaseStep<'a> = (&'a str, bool, Box<dyn Fn(&mut Case) + 'a>);

pub fn kinds(town: &Town) -> Value {
    let rules = rules().iter().map(|rule| {
        json!([
            rule.kind.0,
            rule.name,
            rule.compartment,
            rule.writers,
            rule.author_only,
            rule.frozen,
            is_judged(rule.kind)
        ])
    });
    let template =
        template_rows().iter().map(|row| json!([row.compartment, row.name, row.readers, row.writers]));
    let (vic, ballot) = (town.vic.member_id(), create_id(town.vera.member_id(), Kind::BALLOT.0, [7; 8]));
    let vote = json!({
        "member": vic.to_string(), "ballot": ballot.to_string(), "id": Vote::id(vic, ballot).to_string(),
    });
    let release = create_id(town.vera.member_id(), Kind::RELEASE.0, [7; 8]);
    let answers = [(Kind::RESPONSE, Response::id(vic, release)), (Kind::OUTCOME, Outcome::id(vic, release))];
    let answers = answers.map(|(kind, id)| {
        json!({
            "member": vic.to_string(), "release": release.to_string(), "kind": kind.0, "id": id.to_string(),
        })
    });
    json!({
        "rules": rules.collect::<Vec<_>>(),
        "template": template.collect::<Vec<_>>(),
        "votes": [vote],
        "answers": answers,
        "judged": judged(town),
        "expiring": rules_of_expiring(),
        "last_days": last_days(),
    })
}

/// The kinds whose entries may have a last day.
fn rules_of_expiring() -> Vec<u16> {
    rules().iter().map(|rule| rule.kind).filter(|kind| may_expire(*kind)).map(|kind| kind.0).collect()
}

/// The last day of a change, by those of the changes that it builds on.
fn last_days() -> Vec<Value> {
    let cases: [&[Option<u32>]; 7] = [
        &[None],
        &[Some(20_700)],
        &[Some(0)],
        &[None, None],
        &[Some(20_700), None],
        &[Some(20_701), Some(20_700)],
        &[Some(20_700), Some(20_700), Some(u32::MAX)],
    ];
    cases.map(|days| json!({ "built_on": days, "day": last_day(days.iter().copied()) })).into()
}

struct Cases {
    writer: Writer,
    cases: Vec<Value>,
}

impl Cases {
    fn add<T: WatchDocument>(&mut self, why: &str, counts: bool, before: Option<&T>, after: &T) {
        let writer = &self.writer;
        let verdict = T::check_change(before, after, writer);
        assert_eq!(verdict.is_ok(), counts, "{why}: {verdict:?}");
        self.cases.push(json!({
            "why": why,
            "kind": T::KIND.0,
            "member": writer.member.to_string(),
            "role": writer.role,
            "document": writer.document.to_string(),
            "before": before.map(as_json),
            "after": as_json(after),
            "counts": counts,
        }));
    }
}

fn edited<T: Clone>(value: &T, edit: impl FnOnce(&mut T)) -> T {
    let mut value = value.clone();
    edit(&mut value);
    value
}

fn judged(town: &Town) -> Vec<Value> {
    let (vic, vera) = (town.vic.member_id(), town.vera.member_id());
    let document = create_id(vic, Kind::PROBLEM.0, [1; 8]);
    let writer = Writer { member: vic, role: ROLE_VOLUNTEER, document };
    let mut cases = Cases { writer, cases: Vec::new() };
    cases_of_reports(&mut cases, &vera.to_string());
    problems(&mut cases);
    corrections(&mut cases, create_id(vic, 1, [2; 8]), create_id(vera, 1, [2; 8]));
    shifts(&mut cases);
    votes(&mut cases, create_id(vera, Kind::BALLOT.0, [7; 8]));
    youth(&mut cases);
    referrals(&mut cases);
    cases.cases
}

fn cases_of_reports(cases: &mut Cases, other: &str) {
    let own = cases.writer.member.to_string();
    let mut case = Case { title: "Van".into(), ..Case::default() };
    case.link("obs-1", "the same van", own.clone());
    cases.add("a case of one's own links", true, None, &case);
    case.link("obs-2", "the same van", other);
    let white = case.state_fact("vehicle_colour", "white", other);
    cases.add("a case with somebody else's link", false, None, &case);
    let (by, theirs) = (own.clone(), format!("obs-2:{other}"));
    let steps: [CaseStep<'_>; 11] = [
        ("one's own link", true, Box::new(|c| c.link("obs-3", "why", by.clone()))),
        ("a link in another's name", false, Box::new(|c| c.link("obs-3", "why", other))),
        ("another's reason", false, Box::new(|c| c.link("obs-2", "why", other))),
        ("a link is taken back", true, Box::new(|c| c.unlink("obs-2", &by).unwrap())),
        ("it is taken back in another's name", false, Box::new(|c| c.unlink("obs-2", other).unwrap())),
        ("a link is taken out", false, Box::new(|c| _ = c.links.remove(&theirs))),
        ("a fact", true, Box::new(|c| _ = c.state_fact("vehicle_colour", "grey", by.clone()))),
        ("a fact in another's name", false, Box::new(|c| _ = c.state_fact("vehicle_colour", "grey", other))),
        ("a fact is changed", false, Box::new(|c| c.facts.values_mut().for_each(|f| f.value = "red".into()))),
        ("a decision", true, Box::new(|c| c.resolve_fact("vehicle_colour", &white, by.clone()).unwrap())),
        ("another's decision", false, Box::new(|c| c.resolve_fact("vehicle_colour", &white, other).unwrap())),
    ];
    for (what, counts, step) in steps {
        cases.add(what, counts, Some(&case), &edited(&case, step));
    }
    let said = NotDuplicates::new("obs-1", "obs-2", "another car");
    let by = |who: &str| NotDuplicates { taken_back_by: who.into(), ..said.clone() };
    cases.add("two reports are of two events", true, None, &said);
    cases.add("that is taken back", true, Some(&said), &by(&own));
    cases.add("that is taken back in another's name", false, Some(&said), &by(other));
    cases.add("that is said again", false, Some(&by(&own)), &said);
}

fn problems(cases: &mut Cases) {
    let at = |stage: &str| Problem { stage: stage.into(), ..problem() };
    cases.add("a problem is opened", true, None, &at("scanning"));
    cases.add("it begins behind the scan", false, None, &at("analysis"));
    cases.add(
        "it is opened without an answer",
        false,
        None,
        &edited(&at("scanning"), |p| {
            p.opening.can_be_impacted = " ".into();
        }),
    );
    for (from, to, counts) in [
        ("scanning", "analysis", true),
        ("scanning", "response", false),
        ("analysis", "response", true),
        ("response", "assessment", true),
        ("assessment", "closed", true),
        ("response", "closed", false),
        ("closed", "scanning", true),
        ("closed", "solved", false),
    ] {
        cases.add(&format!("from {from} to {to}"), counts, Some(&at(from)), &at(to));
    }
    let lacking = |stage: &str, edit: fn(&mut Problem)| edited(&at(stage), edit);
    let closing: [(&str, Edit<Problem>); 5] = [
        ("without what was measured afterwards", |p| p.assessment.after = None),
        ("without the baseline", |p| p.assessment.baseline = None),
        ("without displacement", |p| p.assessment.displacement.clear()),
        ("without a conclusion", |p| p.assessment.conclusion.clear()),
        ("without a response", |p| p.responses.clear()),
    ];
    for (what, edit) in closing {
        cases.add(&format!("closed {what}"), false, Some(&at("assessment")), &lacking("closed", edit));
    }
    let no_place = lacking("response", |p| p.analysis.place.clear());
    cases.add("a response without the place", false, Some(&at("analysis")), &no_place);
    let moved = |stage: &str| lacking(stage, |p| p.assessment.baseline = Some(80.5));
    cases.add("the baseline is moved", false, Some(&at("assessment")), &moved("assessment"));
    cases.add("the baseline is measured again", true, Some(&at("assessment")), &moved("analysis"));
    let renamed = lacking("closed", |p| p.title = "Another".into());
    cases.add("what is closed is changed", false, Some(&at("closed")), &renamed);
}

fn corrections(cases: &mut Cases, own: DocumentId, other: DocumentId) {
    for (whose, id, counts) in [("one's own", own, true), ("somebody else's", other, false)] {
        let correction = Correction { target: id.to_string(), ..Correction::default() };
        cases.add(&format!("a correction of {whose}"), counts, None, &correction);
        let contest = Contest { observation: id.to_string(), ..Contest::default() };
        cases.add(&format!("a contest about {whose}"), counts, None, &contest);
    }
    let nothing = Correction { target: "doc-1".into(), ..Correction::default() };
    cases.add("a correction of nothing", false, None, &nothing);
}

fn shifts(cases: &mut Cases) {
    let planned = Shift { title: "Friday".into(), starts_ms: 1, ends_ms: 9, ..Shift::default() };
    let own = cases.writer.member.to_string();
    let came = |who: &str| {
        edited(&planned, |s| {
            s.attendance.insert(who.into(), Attendance::default());
        })
    };
    cases.add("a volunteer plans a shift", false, None, &planned);
    cases.add("a volunteer checks in", true, Some(&planned), &came(&own));
    cases.add("a volunteer checks somebody in", false, Some(&planned), &came("somebody"));
    cases.add("a volunteer ends a shift later", false, Some(&planned), &edited(&planned, |s| s.ends_ms = 10));
    let role = std::mem::replace(&mut cases.writer.role, ROLE_COORDINATOR);
    cases.add("a coordinator plans a shift", true, None, &planned);
    cases.writer.role = role;
}

fn votes(cases: &mut Cases, ballot: DocumentId) {
    let vote = Vote { ballot: ballot.to_string(), choices: vec!["a".into()] };
    cases.add("a vote under another identity", false, None, &vote);
    let document = std::mem::replace(&mut cases.writer.document, Vote::id(cases.writer.member, ballot));
    cases.add("a vote", true, None, &vote);
    cases.writer.document = document;
    let option = |label: &str| Choice { label: label.into(), about: String::new() };
    let open = Ballot {
        question: "What comes first?".into(),
        options: [("a".to_owned(), option("The lot")), ("b".to_owned(), option("The lamp"))].into(),
        choices_max: 1,
        ..Ballot::default()
    };
    let closed = edited(&open, |b| b.closing = Some(Closing { at_ms: 5, ..Closing::default() }));
    cases.add("a ballot", true, None, &open);
    cases.add("a ballot that is closed at once", false, None, &closed);
    cases.add("a ballot is closed", true, Some(&open), &closed);
    cases.add("a ballot is closed again", false, Some(&closed), &edited(&closed, |b| b.until_ms = Some(7)));
    cases.add("until later", true, Some(&open), &edited(&open, |b| b.until_ms = Some(7)));
    cases.add("another question", false, Some(&open), &edited(&open, |b| b.question = "Who?".into()));
    cases.add("more choices", false, Some(&open), &edited(&open, |b| b.choices_max = 2));
    let relabelled = edited(&open, |b| _ = b.options.insert("a".into(), option("Another")));
    cases.add("another option", false, Some(&open), &relabelled);
}

fn youth(cases: &mut Cases) {
    let session = YouthSession { activity: "sport".into(), ages: "mixed".into(), ..YouthSession::default() };
    cases.add("a session with young people", true, None, &session);
    cases.add("a name for an activity", false, None, &edited(&session, |s| s.activity = "Ana".into()));
    cases.add("a name for an age", false, None, &edited(&session, |s| s.ages = "ana".into()));
    cases.add("a name for a cell", false, None, &edited(&session, |s| s.cell = "Ana".into()));
    let placed = edited(&session, |s| s.cell = "g250:17675:-35908".into());
    cases.add("a session in a cell", true, None, &placed);
}

fn referrals(cases: &mut Cases) {
    let consent = Consent {
        given_by: "self".into(),
        given_ms: 1_777_593_600_000,
        covers: "That I ask for treatment".into(),
        ends_ms: 1_777_680_000_000,
        withdrawn_ms: None,
    };
    let referral = Referral { consent, notice: REDISCLOSURE_NOTICE.into(), ..Referral::default() };
    cases.add("a referral", true, None, &referral);
    cases.add("a referral without the notice", false, None, &edited(&referral, |r| r.notice.clear()));
    let without: [(&str, Edit<Consent>); 4] = [
        ("by nobody", |c| c.given_by = "neighbour".into()),
        ("at no time", |c| c.given_ms = 0),
        ("for nothing", |c| c.covers = " ".into()),
        ("that has ended", |c| c.ends_ms = c.given_ms),
    ];
    for (what, edit) in without {
        let bare = edited(&referral, |r| edit(&mut r.consent));
        cases.add(&format!("a consent {what}"), false, None, &bare);
    }
    let withdrawn = edited(&referral, |r| r.withdraw(1_777_600_000_000));
    cases.add("a consent is withdrawn", true, Some(&referral), &withdrawn);
    cases.add("a consent comes back", false, Some(&withdrawn), &referral);
}
