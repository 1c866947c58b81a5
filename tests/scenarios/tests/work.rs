//! A month of a group at work, over real sockets and real stores: three phones that are mostly offline, a shopkeeper, a
//! clinic, a liaison and an auditor.

use lamppost_core::base::{DocumentId, MemberId};
use lamppost_core::replica::testing::problem;
use lamppost_core::replica::{Error, Filter, Replica, settings};
use lamppost_core::sync::Frame;
use lamppost_core::watch::{
    Action, ActionPlan, Ballot, Bulletin, Choice, Commitment, Consent, Keyed, Kind, Lesson, Meeting, Problem,
    Question, QuestionText, Referral, Request, Said, Shift, roles,
};
use lamppost_scenarios::meddler::Meddler;
use lamppost_scenarios::town::{admit, phone, phone_over, record, relay, sync, texts};
use lamppost_server::Running;

const DAY_MS: i64 = 86_400_000;

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

async fn sync_all(phones: &[&Replica], relay: &Running) {
    for _ in 0..2 {
        for phone in phones {
            sync(phone, relay).await.unwrap();
        }
    }
}

async fn kinds(phone: &Replica) -> Vec<u16> {
    let everything = Filter { all_kinds: true, ..Filter::default() };
    let mut kinds: Vec<u16> =
        phone.list(everything).await.unwrap().into_iter().map(|(row, _)| row.kind.0).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn said(title: &str) -> Keyed<Said> {
    Keyed::from_iter([("en", Said { title: title.into(), text: String::new() })])
}

fn ballot() -> Ballot {
    let choice = |label: &str| Choice { label: label.into(), about: String::new() };
    let options = ["lot", "lamp", "alley"].map(|key| (key.to_owned(), choice(key)));
    Ballot {
        question: "What comes first?".into(),
        options: options.into(),
        choices_max: 2,
        ..Ballot::default()
    }
}

fn action(owner: MemberId, status: &str) -> Action {
    Action {
        what: "Ask the owner about a fence".into(),
        owner: owner.to_string(),
        due_ms: now_ms() + 9 * DAY_MS,
        status: status.into(),
        note: String::new(),
    }
}

fn meeting(title: &str, starts_ms: i64) -> Meeting {
    Meeting { title: title.into(), starts_ms, ..Meeting::default() }
}

fn lesson(expires_ms: Option<i64>) -> Lesson {
    let text =
        QuestionText { question: "What is reported?".into(), answers: vec!["Acts".into(), "People".into()] };
    Lesson {
        texts: said("What to report"),
        questions: vec![Question { texts: Keyed::from_iter([("en", text)]), right: 0 }],
        pass_count: 1,
        before_reporting: true,
        expires_ms,
    }
}

fn choose(options: &[&str]) -> Vec<String> {
    options.iter().map(|option| (*option).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_of_work_between_three_phones() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let coordinator = phone(root.path(), "coordinator").await;
    let (anna, ben) = (phone(root.path(), "anna").await, phone(root.path(), "benjamin").await);
    let liaison = phone(root.path(), "liaison").await;
    coordinator.found().await.unwrap();
    let volunteer = roles::ROLE_VOLUNTEER;
    admit(&coordinator, &[(&anna, volunteer), (&ben, volunteer), (&liaison, roles::ROLE_LIAISON)]).await;
    let all = [&coordinator, &anna, &ben, &liaison];
    let annas = anna.info().await.unwrap().member;

    // First week: a ballot, a meeting, a problem, a shift.
    let asked = coordinator.create(ballot()).await.unwrap();
    let first = Meeting {
        actions: Keyed::from_iter([("fence", action(annas, "open"))]),
        ..meeting("First", now_ms())
    };
    let first = coordinator.create(first).await.unwrap();
    let second = coordinator.create(meeting("Second", now_ms() + 30 * DAY_MS)).await.unwrap();
    let case = coordinator.create(problem()).await.unwrap();
    let shift = coordinator
        .create(Shift {
            title: "Friday".into(),
            starts_ms: now_ms(),
            ends_ms: now_ms() + 14_400_000,
            cells: vec!["g250:17675:-35908".into()],
            ..Shift::default()
        })
        .await
        .unwrap();
    sync_all(&all, &relay).await;

    // Second week, everybody offline: votes, and changed minds; a shift; the problem moves on, on two phones at once.
    anna.cast_vote(asked, choose(&["lamp", "lot"])).await.unwrap();
    anna.cast_vote(asked, choose(&["lot"])).await.unwrap();
    ben.cast_vote(asked, choose(&["lot", "alley"])).await.unwrap();
    coordinator.cast_vote(asked, choose(&["alley"])).await.unwrap();
    for watcher in [&anna, &ben] {
        watcher.check_in(shift).await.unwrap();
        watcher.check_out(shift).await.unwrap();
    }
    assert!(matches!(coordinator.advance_problem(case, "closed".into()).await, Err(Error::Invalid(_))));
    coordinator.advance_problem(case, "analysis".into()).await.unwrap();
    liaison
        .change(case, |problem: &mut Problem| {
            problem.scan.push_str("; seen by the patrol as well");
            problem.assessment.after = None;
            Ok(())
        })
        .await
        .unwrap();
    sync_all(&all, &relay).await;

    let tally = coordinator.tally(asked).await.unwrap();
    assert_eq!(tally.ranked(), [("alley", 2), ("lot", 2), ("lamp", 0)]);
    for voter in [&anna, &ben] {
        assert_eq!(voter.tally(asked).await.unwrap(), tally);
    }
    assert_eq!(coordinator.read::<Shift>(shift).await.unwrap().attendance.len(), 2);
    let merged: Problem = anna.read(case).await.unwrap();
    assert!(merged.stage == "analysis" && merged.scan.ends_with("as well"));

    // Third week: the ballot is closed; a vote that comes from a phone without a network does not change the result.
    ben.cast_vote(asked, choose(&["lamp"])).await.unwrap();
    let result = coordinator.close_ballot(asked).await.unwrap();
    for stage in ["response", "assessment"] {
        coordinator.advance_problem(case, stage.into()).await.unwrap();
    }
    let refused = coordinator.advance_problem(case, "closed".into()).await;
    assert!(matches!(&refused, Err(Error::Invalid(why)) if why.field == "assessment.after"), "{refused:?}");
    sync_all(&all, &relay).await;
    for voter in [&coordinator, &anna, &ben] {
        assert_eq!(voter.tally(asked).await.unwrap(), result);
    }
    assert!(matches!(ben.cast_vote(asked, choose(&["lot"])).await, Err(Error::Invalid(_))));

    // Fourth week: the open action is on the next agenda, until it is done; then the problem can be closed.
    let agenda = |phone: Replica| async move { phone.carried_over(second).await.unwrap() };
    let carried = agenda(anna.clone()).await;
    assert_eq!(carried.iter().map(|c| (c.meeting, c.key.as_str())).collect::<Vec<_>>(), [(first, "fence")]);
    coordinator
        .change(first, move |meeting: &mut Meeting| {
            meeting.actions.insert("fence".into(), action(annas, "done"));
            Ok(())
        })
        .await
        .unwrap();
    let plan = ActionPlan {
        title: "The lot".into(),
        goal: "No more short visits".into(),
        problem: case.to_string(),
        actions: Keyed::from_iter([("light", action(annas, "open"))]),
    };
    liaison.create(plan).await.unwrap();
    liaison
        .change(case, |problem: &mut Problem| {
            problem.assessment.after = Some(12.0);
            problem.stage = "closed".into();
            Ok(())
        })
        .await
        .unwrap();
    sync_all(&all, &relay).await;
    for phone in all {
        assert!(phone.read::<Problem>(case).await.unwrap().is_closed());
        assert_eq!(agenda(phone.clone()).await, []);
        assert_eq!(phone.set_aside().await.unwrap(), []);
        assert_eq!(phone.all::<ActionPlan>().await.unwrap().len(), 1);
    }
    // And after a restart.
    drop((anna, ben));
    let anna = phone(root.path(), "anna").await;
    assert_eq!(anna.tally(asked).await.unwrap(), result);
    let request =
        Request { asks: "Did the light help?".into(), purpose: "To learn".into(), ..Request::default() };
    let request = liaison.ask(request).await.unwrap();
    sync_all(&[&liaison, &coordinator], &relay).await;
    coordinator.decide_request(request, true, "It asks for nothing but an opinion".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shopkeeper_sees_no_report_and_the_liaison_opens_no_referral() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let coordinator = phone(root.path(), "coordinator").await;
    let (volunteer, shop) = (phone(root.path(), "volunteer").await, phone(root.path(), "shop").await);
    let (liaison, clinic) = (phone(root.path(), "liaison").await, phone(root.path(), "clinic").await);
    coordinator.found().await.unwrap();
    let newcomers = [
        (&volunteer, roles::ROLE_VOLUNTEER),
        (&shop, roles::ROLE_BUSINESS),
        (&liaison, roles::ROLE_LIAISON),
        (&clinic, roles::ROLE_HEALTH_PARTNER),
    ];
    admit(&coordinator, &newcomers).await;
    let all = [&coordinator, &volunteer, &shop, &liaison, &clinic];
    sync_all(&all, &relay).await;

    record(&volunteer, "PLANTED REPORT").await;
    let consent = Consent {
        given_by: "self".into(),
        given_ms: now_ms(),
        covers: "That I ask for treatment, to the clinic".into(),
        ends_ms: now_ms() + DAY_MS,
        withdrawn_ms: None,
    };
    let referral = Referral {
        services: vec!["treatment".into()],
        urgency: "soon".into(),
        text: "PLANTED REFERRAL".into(),
        contact: "By telephone".into(),
        consent,
        ..Referral::default()
    };
    let referral = volunteer.refer(referral).await.unwrap();
    let commitment = Commitment {
        business: "Corner store".into(),
        what: "lighting".into(),
        from_ms: now_ms(),
        status: "offered".into(),
        ..Commitment::default()
    };
    let commitment = shop.create(commitment).await.unwrap();
    let bulletin = Bulletin {
        category: "news".into(),
        texts: said("A light for the lot"),
        issued_ms: now_ms(),
        expires_ms: now_ms() + DAY_MS,
        ..Bulletin::default()
    };
    coordinator.create(bulletin).await.unwrap();
    sync_all(&all, &relay).await;

    assert_eq!(kinds(&shop).await, [Kind::BULLETIN.0, Kind::COMMITMENT.0]);
    assert_eq!(shop.front_page().await.unwrap().len(), 1);
    assert!(coordinator.read::<Commitment>(commitment).await.is_ok());
    assert!(matches!(shop.create(ballot()).await, Err(Error::Role(_))));
    let received: Referral = clinic.read(referral).await.unwrap();
    assert!(received.text == "PLANTED REFERRAL" && received.notice.contains("42 CFR part 2"));
    for phone in [&coordinator, &liaison, &shop] {
        assert!(matches!(phone.read::<Referral>(referral).await, Err(Error::NotHere(_))));
    }
    assert_eq!(texts(&coordinator).await, ["PLANTED REPORT"]);
    drop((coordinator, volunteer, shop, liaison, clinic));
    for (name, words) in [("liaison", "PLANTED"), ("shop", "PLANTED"), ("relay", "PLANTED")] {
        assert!(!holds(&root.path().join(name), words.as_bytes()), "{name}");
    }
}

/// Whether any file below a directory holds the bytes.
fn holds(directory: &std::path::Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        // The relay's socket for its operator is no file with bytes.
        if !path.is_file() {
            return false;
        }
        std::fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_lesson_is_refused_and_an_expired_one_cannot_be_taken() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let coordinator = phone(root.path(), "coordinator").await;
    // A network that alters the last byte of every sealed body on the way down.
    let tamper = Meddler::with_received(|frame| {
        let Frame::Entries(mut entries) = frame else { return vec![frame] };
        for wire in &mut entries.entries {
            if let Some(last) =
                wire.body.as_mut().filter(|body| body.len() > 200).and_then(|body| body.last_mut())
            {
                *last ^= 1;
            }
        }
        vec![Frame::Entries(entries)]
    });
    let deceived = phone_over(root.path(), "deceived", tamper).await;
    let volunteer = phone(root.path(), "volunteer").await;
    coordinator.found().await.unwrap();
    let role = roles::ROLE_VOLUNTEER;
    admit(&coordinator, &[(&deceived, role), (&volunteer, role)]).await;
    let current: DocumentId = coordinator.create(lesson(None)).await.unwrap();
    let expired = coordinator.create(lesson(Some(now_ms() - 1))).await.unwrap();
    coordinator.set_policy(settings::LESSON_FIRST, 1).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();

    // What was altered is noticed, and there is no lesson to take.
    drop(sync(&deceived, &relay).await);
    assert!(matches!(deceived.read::<Lesson>(current).await, Err(Error::NotHere(_))));
    drop(deceived);
    let honest = phone(root.path(), "deceived").await;
    sync(&honest, &relay).await.unwrap();
    for phone in [&honest, &volunteer] {
        sync(phone, &relay).await.unwrap();
        let lessons: Vec<_> = phone.lessons().await.unwrap().into_iter().map(|lesson| lesson.id).collect();
        assert_eq!(lessons, [current]);
        assert!(
            matches!(phone.take_lesson(expired, vec![0]).await, Err(Error::Invalid(why)) if why.field == "lesson")
        );
        let draft = lamppost_core::replica::testing::draft;
        assert!(matches!(phone.record(draft("too early")).await, Err(Error::Invalid(_))));
        phone.take_lesson(current, vec![0]).await.unwrap();
        phone.record(draft("now")).await.unwrap();
    }
}
