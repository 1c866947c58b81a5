//! What leaves the group: late and with others, with what is different, called back, and what becomes of each report.

use std::collections::BTreeMap;

use super::*;
use crate::replica::transport::Boxed;
use crate::watch::{Difference, Observation, Release};

fn plan(liaison: &Engine, reports: &[DocumentId]) -> ReleasePlan {
    ReleasePlan {
        title: "The corner".into(),
        purpose: "Patrol planning".into(),
        recipient: Some(liaison.member_id()),
        expires_ms: None,
        observations: reports.iter().map(|id| (*id, Redaction::default())).collect(),
    }
}

fn due(carla: &mut Engine) -> Vec<(DocumentId, &'static str)> {
    let due = carla.recalls_due().unwrap().into_iter();
    due.map(|due| (DocumentId::parse(&due.release).unwrap(), due.reason)).collect()
}

#[test]
fn a_planned_release_leaves_late_and_with_others() {
    let Town { mut carla, mut vic, mut vera, liaison } = town();
    let one = vic.record(draft("PLANTED one")).unwrap();
    let other = vera.record(draft("another")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    let waits = |carla: &mut Engine| carla.scheduled().unwrap().remove(0).waits_for;
    let tomorrow = LeavesWhen { not_before_ms: 1_780_086_400_000, reports_min: 2, authors_min: 2 };
    let planted = ReleasePlan { title: "PLANTED title".into(), ..plan(&liaison, &[one]) };
    let id = carla.schedule(None, &planted, &tomorrow).unwrap();
    assert_eq!(waits(&mut carla), [WaitsFor::Time, WaitsFor::Reports(1), WaitsFor::Authors(1)]);
    let on_disk = carla.store.scan(disk::META, &[], None, usize::MAX).unwrap();
    assert!(on_disk.iter().all(|(_, row)| !row.windows(7).any(|bytes| bytes == b"PLANTED")));
    assert_eq!(carla.release_due().unwrap(), []);
    // Twice the same report is none that can leave; two of one author are not others.
    let later = LeavesWhen { not_before_ms: 0, ..tomorrow };
    let twice = carla.schedule(Some(id), &plan(&liaison, &[one, one]), &later);
    assert!(matches!(twice, Err(Error::Invalid(why)) if why.field.starts_with("observations")));
    let own = vic.record(draft("a second of the same author")).unwrap();
    hand(&vic, &mut carla);
    carla.schedule(Some(id), &plan(&liaison, &[one, own]), &later).unwrap();
    assert_eq!(waits(&mut carla), [WaitsFor::Authors(1)]);
    // It is judged when it leaves.
    carla.schedule(Some(id), &plan(&liaison, &[one, other]), &later).unwrap();
    vera.withdraw_consent(other, "liaison").unwrap();
    hand(&vera, &mut carla);
    assert!(matches!(&waits(&mut carla)[..], [WaitsFor::Change(why)] if why.contains("consent")));
    assert_eq!(carla.release_due().unwrap(), []);
    vera.amend(other, draft("another")).unwrap();
    hand(&vera, &mut carla);
    assert_eq!(texts(&carla, Kind::DISCLOSURE), Vec::<String>::new(), "nothing has left");
    let released = carla.release_due().unwrap();
    assert_eq!((released.len(), carla.scheduled().unwrap().len()), (1, 0));
    assert_eq!(carla.read::<Release>(released[0]).unwrap().items.len(), 2);
    assert_eq!(carla.release_due().unwrap(), [], "once");
    // Whoever still looks at the plan that has just left does not plan it again by changing it.
    let gone = carla.schedule(Some(id), &plan(&liaison, &[one, other]), &later);
    assert!(matches!(gone, Err(Error::NotHere(plan)) if plan == id));
    assert_eq!(carla.scheduled().unwrap(), []);
    // Only who hands over plans it; a plan can be thrown away.
    assert!(matches!(vic.schedule(None, &plan(&liaison, &[one]), &later), Err(Error::Role(_))));
    let id = carla.schedule(None, &plan(&liaison, &[one]), &later).unwrap();
    carla.unschedule(id).unwrap();
    assert_eq!(carla.scheduled().unwrap(), []);
}

#[test]
fn a_plan_that_cannot_leave_says_why() {
    let Town { mut carla, mut vic, mut vera, liaison } = town();
    let mut chris = joined(&mut carla, 9, roles::ROLE_COORDINATOR);
    let report = vic.record(draft("at the corner")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut chris]);
    let good = plan(&liaison, &[report]);
    let when = LeavesWhen::default();
    for (bad, field) in [
        (ReleasePlan { recipient: None, ..good.clone() }, "recipient"),
        (ReleasePlan { recipient: Some(vera.member_id()), ..good.clone() }, "recipient"),
        (ReleasePlan { purpose: String::new(), ..good.clone() }, "purpose"),
        (ReleasePlan { title: "The usual suspect".into(), ..good.clone() }, "title"),
        (ReleasePlan { observations: Vec::new(), ..good.clone() }, "items"),
    ] {
        let planned = carla.schedule(None, &bad, &when);
        assert!(matches!(planned, Err(Error::Invalid(why)) if why.field == field), "{field}");
    }
    let why = |phone: &mut Engine| match &phone.scheduled().unwrap()[0].waits_for[..] {
        [] => String::new(),
        [WaitsFor::Change(why)] => why.clone(),
        other => panic!("{other:?}"),
    };
    for phone in [&mut carla, &mut chris] {
        phone.schedule(None, &good, &when).unwrap();
        assert_eq!(why(phone), "");
    }
    // Whoever was to receive it is no liaison any more, and who planned it no coordinator.
    carla.change_role(liaison.member_id(), RoleId(roles::ROLE_AUDITOR)).unwrap();
    carla.change_role(chris.member_id(), RoleId(roles::ROLE_VOLUNTEER)).unwrap();
    hand(&carla, &mut chris);
    for (phone, told) in [(&mut carla, "is not a liaison"), (&mut chris, "the role of this device's member")]
    {
        assert_eq!(phone.release_due().unwrap(), []);
        assert!(why(phone).contains(told), "{}", why(phone));
    }
}

/// A network that takes a day to connect, and then says nothing.
struct SlowNetwork(Arc<AtomicU64>);

impl Transport for SlowNetwork {
    fn connect<'a>(&'a self, _: &'a str) -> Boxed<'a, Result<Box<dyn Connection>, TransportError>> {
        self.0.fetch_add(86_400_000, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(Box::new(Silence) as Box<dyn Connection>)))
    }
}

struct Silence;

impl Connection for Silence {
    fn send(&mut self, _: Vec<u8>) -> Boxed<'_, Result<(), TransportError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn receive(&mut self) -> Boxed<'_, Result<Option<Vec<u8>>, TransportError>> {
        Box::pin(std::future::pending())
    }
}

struct SharedClock(Arc<AtomicU64>);

impl Clock for SharedClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn what_is_due_while_a_phone_is_connected_leaves_then() {
    let Town { mut carla, mut vic, liaison, .. } = town();
    let report = vic.record(draft("at the corner")).unwrap();
    hand(&vic, &mut carla);
    let clock = Arc::new(AtomicU64::new(1_780_000_000_000));
    carla.clock = Arc::new(SharedClock(Arc::clone(&clock)));
    let tonight = LeavesWhen { not_before_ms: 1_780_040_000_000, ..LeavesWhen::default() };
    carla.schedule(None, &plan(&liaison, &[report]), &tonight).unwrap();
    let phone = Replica::with(carla, Arc::new(SlowNetwork(clock)));
    let changes = phone.feed();
    let _live = phone.go_live("wss://relay.example");
    let leaves = async {
        while !phone.scheduled().await.unwrap().is_empty() {
            changes.next().await.unwrap();
        }
    };
    // Only so that the test fails, and does not hang, if it never leaves.
    tokio::time::timeout(std::time::Duration::from_secs(30), leaves).await.unwrap();
}

#[test]
fn a_revision_says_what_is_different_and_calls_the_earlier_one_back() {
    let Town { mut carla, mut vic, mut vera, mut liaison } = town();
    let report = vic.record(draft("four people at the corner")).unwrap();
    hand(&vic, &mut carla);
    let first = carla.release(&plan(&liaison, &[report])).unwrap();
    assert_eq!(due(&mut carla), []);
    assert_eq!(carla.difference(first).unwrap(), []);
    vic.amend(report, draft("three people at the corner")).unwrap();
    hand(&vic, &mut carla);
    assert_eq!(due(&mut carla), [(first, "corrected")]);
    let second = carla.revise(first, &plan(&vera, &[report])).unwrap();
    assert_eq!(due(&mut carla), []);
    assert!(
        matches!(carla.revise(first, &plan(&liaison, &[report])), Err(Error::Invalid(why)) if why.field == "release")
    );
    // An amendment beside the report is one, too.
    vic.correct(report, false, "They left on foot").unwrap();
    hand(&vic, &mut carla);
    assert_eq!(due(&mut carla), [(second, "corrected")]);
    let third = carla.revise(second, &plan(&liaison, &[report])).unwrap();
    assert_eq!(due(&mut carla), []);
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison]);
    let path = "items[0].what_happened".to_owned();
    let (before, after) = ("four people at the corner".to_owned(), "three people at the corner".to_owned());
    for phone in [&mut carla, &mut liaison] {
        let revised: Release = phone.read(second).unwrap();
        assert_eq!((revised.revision, &revised.replaces), (2, &first.to_string()));
        assert_eq!(revised.recipient, liaison_of(phone, first), "the recipient stays");
        let told = Difference { path: path.clone(), before: before.clone(), after: after.clone() };
        assert_eq!(phone.difference(second).unwrap(), std::slice::from_ref(&told));
        assert_eq!(told.reason("en"), format!("{path}: {before} → {after}"));
        assert_eq!(phone.difference(third).unwrap(), []);
        let recalls: Vec<Recalled> = phone.all().unwrap();
        assert_eq!(recalls.len(), 2);
        assert!(
            recalls.iter().any(
                |r| r.content.release == first.to_string() && r.content.replaced_by == second.to_string()
            )
        );
    }
}

#[test]
fn where_the_officer_is_gone_a_revision_goes_to_who_was_chosen_instead() {
    let Town { mut carla, mut vic, liaison, .. } = town();
    let lena = joined(&mut carla, 9, roles::ROLE_LIAISON);
    let report = vic.record(draft("at the corner")).unwrap();
    hand(&vic, &mut carla);
    let first = carla.release(&plan(&liaison, &[report])).unwrap();
    carla.change_role(liaison.member_id(), RoleId(roles::ROLE_AUDITOR)).unwrap();
    let refused = carla.revise(first, &plan(&liaison, &[report]));
    assert!(matches!(refused, Err(Error::Invalid(why)) if why.field == "recipient"));
    let second = carla.revise(first, &plan(&lena, &[report])).unwrap();
    assert_eq!(liaison_of(&mut carla, second), lena.member_id().to_string());
}

#[test]
fn thirty_reports_reach_the_officer_as_one_item_with_thirty_sources() {
    let Town { mut carla, mut vic, mut vera, mut liaison } = town();
    let reports: Vec<DocumentId> = (0..30)
        .map(|n| {
            if n % 2 == 0 { &mut vic } else { &mut vera }.record(draft(&format!("PLANTED {n}"))).unwrap()
        })
        .collect();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    let mut digest = plan(&liaison, &reports);
    for (_, redaction) in digest.observations.iter_mut().skip(1) {
        redaction.only_counted = true;
    }
    let release = carla.release(&digest).unwrap();
    hand(&carla, &mut liaison);
    let received: Release = liaison.read(release).unwrap();
    assert_eq!((received.items.len(), received.sources_count, received.commitments.len()), (1, 30, 30));
    assert_eq!(received.items[0].what_happened, "PLANTED 0");
    hand(&carla, &mut vera);
    assert_eq!(vera.what_became_of(reports[29]).unwrap().len(), 1, "who was only counted is told, too");
    for (_, redaction) in &mut digest.observations {
        redaction.only_counted = true;
    }
    assert!(matches!(carla.release(&digest), Err(Error::Invalid(why)) if why.field == "items"));
    vera.withdraw_consent(reports[29], "liaison").unwrap();
    hand(&vera, &mut carla);
    digest.observations[0].1.only_counted = false;
    assert!(matches!(carla.release(&digest), Err(Error::Invalid(why)) if why.field == "consent"));
}

#[test]
fn what_its_author_does_not_allow_any_more_is_shown_and_does_not_leave() {
    let Town { mut carla, mut vic, liaison, .. } = town();
    let mut private = draft("never for the liaison");
    private.observation.consent.clear();
    let mut invited = draft("from a friend's window");
    invited.observation.vantage = "invited".into();
    let never = vic.record(private).unwrap();
    let [good, withdrawn, retracted] =
        ["good", "withdrawn", "retracted"].map(|it| vic.record(draft(it)).unwrap());
    let invited = vic.record(invited).unwrap();
    hand(&vic, &mut carla);
    let later = LeavesWhen::default();
    carla.schedule(None, &plan(&liaison, &[retracted]), &later).unwrap();
    vic.withdraw_consent(withdrawn, "liaison").unwrap();
    vic.correct(retracted, true, "It was another house").unwrap();
    hand(&vic, &mut carla);
    for (report, wanted) in [
        (good, None),
        (never, Some(HeldBack::NoConsent)),
        (withdrawn, Some(HeldBack::ConsentWithdrawn)),
        (retracted, Some(HeldBack::Retracted)),
        (invited, Some(HeldBack::PrivateVantage)),
    ] {
        assert_eq!(carla.held_back(report).unwrap(), wanted);
        assert_eq!(carla.get(report).unwrap().held_back, wanted);
        let released = carla.release(&plan(&liaison, &[report]));
        match wanted {
            None => assert!(released.is_ok()),
            Some(_) => assert!(matches!(released, Err(Error::Invalid(_))), "{wanted:?}"),
        }
    }
    assert!(
        matches!(&carla.scheduled().unwrap()[0].waits_for[..], [WaitsFor::Change(why)] if why.contains("taken back"))
    );
    assert_eq!(carla.release_due().unwrap(), []);
}

type Recalled = Typed<crate::watch::Recall>;

fn liaison_of(phone: &mut Engine, release: DocumentId) -> String {
    phone.read::<Release>(release).unwrap().recipient
}

#[test]
fn what_is_taken_out_of_a_case_is_called_back() {
    let Town { mut carla, mut vic, mut vera, liaison } = town();
    let (one, other) = (vic.record(draft("one")).unwrap(), vera.record(draft("other")).unwrap());
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    let links = [one, other].map(|observation| CaseLink { observation, reason: "12 min".into() });
    let apart = carla.release(&plan(&liaison, &[one])).unwrap();
    let case = carla.link(None, "Swaps", &links).unwrap();
    let together = carla.release(&plan(&liaison, &[one, other])).unwrap();
    assert_eq!(due(&mut carla), [], "a link that was made later changes nothing of what left");
    carla.unlink(case, other).unwrap();
    assert_eq!(due(&mut carla), [(together, "unlinked")]);
    carla.link(Some(case), "Swaps", &links[1..]).unwrap();
    assert_eq!(due(&mut carla), []);
    carla.unlink(case, other).unwrap();
    carla.recall(together, "unlinked", "", None).unwrap();
    assert_eq!(due(&mut carla), []);
    assert!(carla.what_became_of(one).unwrap().iter().any(|c| c.release == apart && c.recalled.is_none()));
}

#[test]
fn a_reporter_sees_who_has_what_and_what_became_of_it() {
    let Town { mut carla, mut vic, mut vera, mut liaison } = town();
    let report = vic.record(draft("at the corner")).unwrap();
    hand(&vic, &mut carla);
    let release = carla.release(&plan(&liaison, &[report])).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison]);
    let copy = |vic: &mut Engine| vic.what_became_of(report).unwrap().remove(0);
    let seen = copy(&mut vic);
    assert_eq!((seen.release, seen.recipient), (release, Some(liaison.member_id())));
    assert_eq!((seen.recipient_role, seen.purpose.as_str()), (roles::ROLE_LIAISON, "Patrol planning"));
    assert!(seen.what.contains(&"what_happened".to_owned()) && seen.at_ms > 0);
    assert_eq!((seen.answer, seen.recalled), (None, None));
    for (status, outcome) in [("received", ""), ("closed", "warning")] {
        let answer = LiaisonAnswer { status: status.into(), outcome: outcome.into(), reason: String::new() };
        liaison.respond(release, &answer).unwrap();
    }
    // Only a coordinator's word calls a copy back.
    let disclosure =
        vera.list(&Filter { kind: Some(Kind::DISCLOSURE), ..Filter::default() }).unwrap()[0].0.id;
    vera.annotate(disclosure, "sent_in_error", "recalled").unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison]);
    let seen = copy(&mut vic);
    let answer = seen.answer.unwrap();
    assert_eq!((answer.status.as_str(), answer.outcome.as_str(), seen.recalled), ("closed", "warning", None));
    carla.recall(release, "sent_in_error", "", None).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison]);
    assert_eq!(copy(&mut vic).recalled.as_deref(), Some("sent_in_error"));
    let steps = vic.get(report).unwrap().steps;
    assert!(steps.iter().any(|s| matches!(s, Step::Recalled { reason, .. } if reason == "sent_in_error")));
    assert!(matches!(liaison.what_became_of(report), Err(Error::NotHere(_))));
}

#[test]
fn an_answer_moves_on_in_one_response_and_its_history_stays() {
    let Town { mut carla, mut vic, mut vera, mut liaison } = town();
    let mut lena = joined(&mut carla, 9, roles::ROLE_LIAISON);
    let report = vic.record(draft("at the corner")).unwrap();
    hand(&vic, &mut carla);
    let release = carla.release(&plan(&liaison, &[report])).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison, &mut lena]);
    let respond = |by: &mut Engine, status: &str, outcome: &str| {
        let reason = format!("{status} by {}", by.member_id());
        let answer = LiaisonAnswer { status: status.into(), outcome: outcome.into(), reason };
        by.respond(release, &answer).unwrap()
    };
    let response = respond(&mut liaison, "received", "");
    assert_eq!(respond(&mut liaison, "closed", "no_action"), response);
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison, &mut lena]);
    // The successor goes on with it, by a clock that is far behind.
    lena.clock = Arc::new(TestClock(AtomicU64::new(1_770_000_000_000)));
    assert_eq!(respond(&mut lena, "forwarded", ""), response);
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison, &mut lena]);
    for (phone, kind) in [(&mut carla, Kind::RESPONSE), (&mut vera, Kind::OUTCOME), (&mut vic, Kind::OUTCOME)]
    {
        assert_eq!(texts(phone, kind).len(), 1, "the list has the one that stands");
        let told = phone.what_became_of(report).unwrap().remove(0).answer.unwrap();
        assert_eq!((told.status.as_str(), told.outcome.as_str()), ("forwarded", ""));
        let ledger = phone.ledger().unwrap();
        assert_eq!((ledger.open.get("forwarded"), ledger.sum()), (Some(&1), ledger.reports));
        let told = |phone: &mut Engine, status: &str| {
            let steps = phone.get(report).unwrap().steps;
            steps.iter().any(|step| matches!(step, Step::Answered { status: told, .. } if told == status))
        };
        for status in ["received", "closed", "forwarded"] {
            assert!(told(phone, status), "no answer is forgotten: {status}");
        }
    }
    assert_eq!(carla.get(response).unwrap().history.len(), 3);
    for about in [release, report] {
        let steps = carla.get(about).unwrap().steps;
        let answered = steps.iter().filter(|step| matches!(step, Step::Answered { .. })).count();
        assert_eq!(answered, 3, "each once: {steps:?}");
    }
    // Two who answer at once have begun one each; both are kept, and everybody is told of the same one.
    let other = carla.release(&plan(&liaison, &[report])).unwrap();
    gossip(&mut [&mut carla, &mut liaison, &mut lena]);
    for (phone, status) in [(&mut liaison, "received"), (&mut lena, "scheduled")] {
        let answer = LiaisonAnswer { status: status.into(), ..LiaisonAnswer::default() };
        phone.respond(other, &answer).unwrap();
    }
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison, &mut lena]);
    let told = carla.what_became_of(report).unwrap();
    assert_eq!(told[1].answer.as_ref().unwrap().status, "received", "by the later clock");
    for phone in [&mut vic, &mut vera] {
        assert_eq!(phone.what_became_of(report).unwrap(), told);
    }
}

/// Where a report stands, as its author can tell.
fn standing(copies: &[HandedOver]) -> String {
    let latest =
        copies.iter().filter(|copy| copy.recalled.is_none()).filter_map(|copy| copy.answer.clone()).max();
    match (latest, copies.iter().any(|copy| copy.recalled.is_none()), copies.is_empty()) {
        (Some(answer), _, _) => format!("{} {}", answer.status, answer.outcome),
        (None, true, _) => "unanswered".into(),
        (None, false, false) => "recalled".into(),
        (None, false, true) => "kept".into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever is handed over, answered and called back: every report stands somewhere, as it is bound to, and everybody in
    /// the group is told the same.
    #[test]
    fn the_statuses_add_up(
        releases in prop::collection::vec((prop::collection::btree_set(0_usize..5, 1..4), 0_u8..4), 0..5),
    ) {
        let Town { mut carla, mut vic, mut vera, mut liaison } = town();
        let mut chris = joined(&mut carla, 9, roles::ROLE_COORDINATOR);
        let mut reports = Vec::new();
        for n in 0..5 {
            let author = if n % 2 == 0 { &mut vic } else { &mut vera };
            reports.push(author.record(draft(&format!("report {n}"))).unwrap());
        }
        gossip(&mut [&mut carla, &mut vic, &mut vera, &mut chris]);
        let mut expected: BTreeMap<usize, Vec<&str>> = (0..5).map(|n| (n, Vec::new())).collect();
        for (numbers, fate) in &releases {
            let picked: Vec<DocumentId> = numbers.iter().map(|n| reports[*n]).collect();
            let release = carla.release(&plan(&liaison, &picked)).unwrap();
            hand(&carla, &mut liaison);
            if *fate >= 2 {
                let answer = LiaisonAnswer { status: "closed".into(), outcome: "warning".into(), reason: String::new() };
                liaison.respond(release, &answer).unwrap();
            }
            if *fate % 2 == 1 {
                carla.recall(release, "sent_in_error", "", None).unwrap();
            }
            for n in numbers {
                expected.get_mut(n).unwrap().push(["unanswered", "recalled", "closed warning", "recalled"][usize::from(*fate)]);
            }
        }
        gossip(&mut [&mut carla, &mut vic, &mut vera, &mut chris, &mut liaison]);
        // The furthest of what a report's copies came to.
        let furthest = |fates: &[&str]| {
            let order = ["closed warning", "unanswered", "recalled"];
            order.into_iter().find(|fate| fates.contains(fate)).unwrap_or("kept").to_owned()
        };
        let mut sums: BTreeMap<String, usize> = BTreeMap::new();
        for (n, report) in reports.iter().enumerate() {
            let told = vic.what_became_of(*report).unwrap();
            prop_assert_eq!(told.len(), expected[&n].len());
            for phone in [&mut carla, &mut vera, &mut chris] {
                prop_assert_eq!(&phone.what_became_of(*report).unwrap(), &told);
            }
            prop_assert_eq!(standing(&told), furthest(&expected[&n]));
            *sums.entry(standing(&told)).or_default() += 1;
        }
        prop_assert_eq!(sums.values().sum::<usize>(), vic.all::<Observation>().unwrap().len());
    }
}
