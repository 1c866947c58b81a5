//! Documents of every kind over several phones: what counts, counts alike, whatever comes first.

use std::collections::BTreeSet;

use super::judged::forge;
use super::*;
use crate::document::create_id;
use crate::storage::{Batch, Pair, StoreError, Table};
use crate::watch::decision::Standing;
use crate::watch::roles::*;
use crate::watch::{
    Action, ActionPlan, Attendance, Ballot, Bulletin, Commitment, Complaint, Consent, Finding, Invalid,
    Keyed, Lesson, Meeting, Observation, Question, QuestionText, Referral, Release, Request, Said, Shift,
};

#[test]
fn a_draft_survives_a_crash_at_every_keystroke() {
    let typed = ["s", "se", "see", "seen"];
    for fault in [FaultAt::BeforeWrite, FaultAt::AfterWrite] {
        for good in 0..=typed.len() {
            let store = Arc::new(MemoryStore::default());
            let mut phone = Engine::open(environment(1, Arc::clone(&store) as Arc<dyn Store>)).unwrap();
            phone.found().unwrap();
            let id = phone.new_draft(Kind::OBSERVATION);
            drop(phone);
            let faulty = Arc::new(FaultyStore::new(MemoryStore::clone(&store), good, fault));
            let mut phone = Engine::open(environment(1, faulty)).unwrap();
            let saved = typed
                .iter()
                .take_while(|text| phone.save_draft(id, Kind::OBSERVATION, text.as_bytes()).is_ok());
            let saved = saved.count();
            assert_eq!(saved, good.min(typed.len()));
            // The last keystroke, or filing it: whichever the disk failed at.
            let filed = saved == typed.len() && phone.record_from_draft(id, draft("seen")).is_ok();
            assert!(!filed);
            drop(phone);
            let mut phone = Engine::open(environment(1, store)).unwrap();
            let left = phone.draft(id).unwrap().map(|draft| String::from_utf8(draft.bytes).unwrap());
            let is_filed = phone.row(id).unwrap().is_some();
            let written = fault == FaultAt::AfterWrite;
            assert_eq!(is_filed, written && good == typed.len());
            let last = if written { good + 1 } else { good };
            let expected = (!is_filed && last > 0).then(|| typed[last - 1].to_owned());
            assert_eq!(left, expected, "{fault:?} after {good}");
            assert_eq!(phone.drafts().unwrap().len(), usize::from(left.is_some()));
            if !is_filed {
                phone.save_draft(id, Kind::OBSERVATION, b"again").unwrap();
                assert_eq!(phone.record_from_draft(id, draft("seen")).unwrap(), id);
                assert_eq!(phone.drafts().unwrap(), []);
            }
        }
    }
}

#[test]
fn drafts_are_sealed_and_what_cannot_be_filed_stays_one() {
    let store = Arc::new(MemoryStore::default());
    let mut phone = Engine::open(environment(1, Arc::clone(&store) as Arc<dyn Store>)).unwrap();
    phone.found().unwrap();
    let id = phone.new_draft(Kind::BULLETIN);
    phone.save_draft(id, Kind::BULLETIN, b"PLANTED WORDS").unwrap();
    let rows = store.scan(disk::DRAFTS, &[], None, usize::MAX).unwrap();
    assert!(rows.iter().all(|(_, row)| !row.windows(7).any(|bytes| bytes == b"PLANTED")));
    assert!(phone.create_from_draft(id, &Bulletin::default()).is_err());
    assert_eq!(phone.drafts().unwrap()[0].bytes, b"PLANTED WORDS");
    let large = vec![0; DRAFT_BYTES_MAX + 1];
    assert!(matches!(phone.save_draft(id, Kind::BULLETIN, &large), Err(Error::Invalid(_))));
    phone.discard_draft(id).unwrap();
    assert_eq!(phone.draft(id).unwrap(), None);
}

fn lesson() -> Lesson {
    let text = QuestionText { question: "What?".into(), answers: vec!["What I saw".into(), "Who".into()] };
    let said = Said { title: "What to report".into(), text: String::new() };
    Lesson {
        texts: Keyed::from_iter([("en", said)]),
        questions: vec![Question { texts: Keyed::from_iter([("en", text)]), right: 0 }],
        pass_count: 1,
        before_reporting: true,
        expires_ms: None,
    }
}

#[test]
fn where_the_group_asks_for_it_a_new_member_reports_after_a_lesson() {
    let Town { mut carla, mut vic, .. } = town();
    assert!(carla.record(draft("not asked for yet")).is_ok());
    assert!(
        matches!(carla.set_policy(settings::LESSON_FIRST, 1), Err(Error::Invalid(_))),
        "nobody could report"
    );
    let id = carla.create(&lesson()).unwrap();
    carla.set_policy(settings::LESSON_FIRST, 1).unwrap();
    let mut alone = engine(9);
    let waiting = alone.record(draft("recorded alone")).unwrap();
    carla.admit(&alone.request(carla.group_id().unwrap()).unwrap(), RoleId(ROLE_VOLUNTEER)).unwrap();
    alone.join(&carla.admission().unwrap()).unwrap();
    assert!(alone.record(draft("before the lesson has come")).is_err());
    hand(&carla, &mut vic);
    hand(&carla, &mut alone);
    let refused = vic.record(draft("too early"));
    assert!(matches!(&refused, Err(Error::Invalid(why)) if why.field == "lesson"), "{refused:?}");
    assert!(matches!(vic.take_lesson(id, vec![1]), Err(Error::Invalid(_))));
    assert!(vic.record(draft("still too early")).is_err());
    vic.take_lesson(id, vec![0]).unwrap();
    vic.record(draft("now")).unwrap();
    // What waited comes along with the lesson.
    hand(&alone, &mut carla);
    assert_eq!(carla.row(waiting).unwrap(), None);
    alone.take_lesson(id, vec![0]).unwrap();
    hand(&alone, &mut carla);
    assert!(carla.row(waiting).unwrap().is_some());
}

/// Counts how often all rows are read.
struct Counting(MemoryStore, Arc<AtomicU64>);

impl Store for Counting {
    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.0.apply(batch)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        self.1.fetch_add(u64::from(table == disk::ROWS && prefix.is_empty()), Ordering::Relaxed);
        self.0.scan(table, prefix, after, rows_max)
    }

    fn last(&self, table: Table, prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.0.last(table, prefix)
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.0.size_bytes()
    }
}

#[test]
fn a_report_after_the_first_reads_no_rows_for_the_lesson_that_it_asks_for() {
    let Town { mut carla, .. } = town();
    let id = carla.create(&lesson()).unwrap();
    carla.set_policy(settings::LESSON_FIRST, 1).unwrap();
    let scans = Arc::new(AtomicU64::new(0));
    let store = Counting(MemoryStore::default(), Arc::clone(&scans));
    let mut nora = Engine::open(environment(9, Arc::new(store))).unwrap();
    carla.admit(&nora.request(carla.group_id().unwrap()).unwrap(), RoleId(ROLE_VOLUNTEER)).unwrap();
    nora.join(&carla.admission().unwrap()).unwrap();
    hand(&carla, &mut nora);
    nora.take_lesson(id, vec![0]).unwrap();
    nora.record(draft("the first")).unwrap();
    let before = scans.load(Ordering::Relaxed);
    for number in 0..5 {
        nora.record(draft(&format!("another, {number}"))).unwrap();
    }
    assert_eq!(scans.load(Ordering::Relaxed), before);
    // With and without the index, the same documents in the same order.
    let with: Vec<Typed<Observation>> = nora.all().unwrap();
    nora.distrust_memory();
    nora.finder = find::Finder::default();
    assert_eq!(nora.all::<Observation>().unwrap(), with);
    assert_eq!(with.len(), 6);
}

#[test]
fn an_expired_lesson_cannot_be_taken_and_an_expired_bulletin_leaves_the_front_page() {
    let Town { mut carla, mut vic, .. } = town();
    let old = carla.create(&Lesson { expires_ms: Some(1_700_000_000_000), ..lesson() }).unwrap();
    let said = Said { title: "Meeting".into(), text: "At seven".into() };
    let bulletin = |expires_ms: i64| Bulletin {
        category: "meeting".into(),
        texts: Keyed::from_iter([("en", said.clone())]),
        issued_ms: 1_779_000_000_000,
        expires_ms,
        ..Bulletin::default()
    };
    let current = carla.create(&bulletin(1_781_000_000_000)).unwrap();
    carla.create(&bulletin(1_779_500_000_000)).unwrap();
    hand(&carla, &mut vic);
    assert!(matches!(vic.take_lesson(old, vec![0]), Err(Error::Invalid(why)) if why.field == "lesson"));
    assert_eq!(vic.lessons().unwrap(), []);
    let page: Vec<_> = vic.front_page().unwrap().into_iter().map(|bulletin| bulletin.id).collect();
    assert_eq!(page, [current]);
}

fn release_to(carla: &mut Engine, liaison: &Engine, id: DocumentId) -> Result<DocumentId, Error> {
    carla.release(&ReleasePlan {
        title: "One".into(),
        purpose: "Patrol planning".into(),
        recipient: Some(liaison.member_id()),
        expires_ms: None,
        observations: vec![(id, Redaction::default())],
    })
}

#[test]
fn a_withdrawn_consent_blocks_later_releases_and_recalls_the_earlier() {
    let Town { mut carla, mut vic, mut vera, mut liaison } = town();
    let id = vic.record(draft("for the liaison")).unwrap();
    let wrong = vera.record(draft("about the wrong house")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    let (first, second) =
        (release_to(&mut carla, &liaison, id).unwrap(), release_to(&mut carla, &liaison, wrong).unwrap());
    assert!(carla.recalls_due().unwrap().is_empty());
    assert!(matches!(vera.withdraw_consent(id, "liaison"), Err(Error::Role(_))));
    assert!(matches!(vera.correct(id, true, "not mine"), Err(Error::Invalid(_))));
    vic.withdraw_consent(id, "liaison").unwrap();
    vera.correct(wrong, true, "It was another house").unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    assert!(matches!(release_to(&mut carla, &liaison, id), Err(Error::Invalid(_))));
    let due = carla.recalls_due().unwrap();
    let mut due: Vec<_> = due.iter().map(|due| (due.release.clone(), due.reason)).collect();
    due.sort_by_key(|(_, reason)| *reason);
    assert_eq!(due, [(first.to_string(), "consent_withdrawn"), (second.to_string(), "corrected")]);
    carla.recall(first, "consent_withdrawn", "", None).unwrap();
    carla.recall(second, "corrected", "Another house", None).unwrap();
    assert!(carla.recalls_due().unwrap().is_empty());
    hand(&carla, &mut liaison);
    let about: Vec<_> = liaison.get(first).unwrap().about.iter().map(|row| row.title.clone()).collect();
    assert_eq!(about, ["consent_withdrawn"]);
}

#[test]
fn a_reporter_contests_and_the_liaison_does_not_read_it() {
    let Town { mut carla, mut vic, mut vera, mut liaison } = town();
    let id = vic.record(draft("for the liaison")).unwrap();
    hand(&vic, &mut carla);
    let release = release_to(&mut carla, &liaison, id).unwrap();
    hand(&carla, &mut liaison);
    let answer =
        LiaisonAnswer { status: "closed".into(), outcome: "no_action".into(), reason: String::new() };
    liaison.respond(release, &answer).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison]);
    let outcome = vic.list(&Filter { kind: Some(Kind::OUTCOME), ..Filter::default() }).unwrap()[0].0.id;
    let contest = vic.contest(outcome, id, "not_resolved", "").unwrap();
    assert!(matches!(vera.contest(outcome, id, "not_resolved", ""), Err(Error::Invalid(_))));
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison]);
    assert!(carla.row(contest).unwrap().is_some());
    // Its author sees that it was contested, and that a coordinator took it up; in words and beside the copy.
    carla.annotate(contest, "I asked the officer again", "seen").unwrap();
    vic.correct(id, false, "It was the other corner").unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison]);
    for phone in [&mut vic, &mut carla, &mut vera] {
        let steps = phone.get(id).unwrap().steps;
        let told = |wanted: fn(&Step) -> bool| steps.iter().position(wanted).unwrap();
        let contested =
            told(|step| matches!(step, Step::Contested { reason, .. } if reason == "not_resolved"));
        let answered = told(|step| matches!(step, Step::Answered { .. }));
        let taken_up =
            told(|step| matches!(step, Step::Seen { text, .. } if text == "I asked the officer again"));
        assert!(answered < contested && 0 < taken_up, "{steps:?}");
        told(|step| matches!(step, Step::Corrected { retracted: false, .. }));
        assert_eq!(phone.what_became_of(id).unwrap()[0].contested, ["not_resolved"]);
    }
    assert_eq!(liaison.row(contest).unwrap(), None);
}

#[test]
fn a_request_passes_the_gate_only_while_nobody_refuses() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let request = Request {
        asks: "If you happen to see the van again, note when".into(),
        purpose: "To know whether it still comes".into(),
        ..Request::default()
    };
    let id = liaison.ask(request).unwrap();
    let mut chris = joined(&mut carla, 9, ROLE_COORDINATOR);
    gossip(&mut [&mut carla, &mut chris, &mut liaison, &mut vic]);
    assert_eq!(vic.row(id).unwrap(), None, "volunteers do not see it");
    assert_eq!(carla.request_standing(id).unwrap(), Standing::Open);
    assert!(matches!(carla.decide_request(id, true, " "), Err(Error::Invalid(_))));
    assert!(matches!(liaison.decide_request(id, true, "Mine"), Err(Error::Role(_))));
    carla.decide_request(id, true, "Nobody has to go anywhere").unwrap();
    chris.decide_request(id, false, "It singles out a tradesman").unwrap();
    gossip(&mut [&mut carla, &mut chris, &mut liaison]);
    for phone in [&mut carla, &mut chris, &mut liaison] {
        assert_eq!(phone.request_standing(id).unwrap(), Standing::Refused);
    }
}

#[test]
fn an_auditor_notices_a_release_without_an_entry_and_an_entry_that_is_gone() {
    let Town { mut carla, mut vic, liaison, .. } = town();
    let mut auditor = joined(&mut carla, 9, ROLE_AUDITOR);
    let id = vic.record(draft("for the liaison")).unwrap();
    hand(&vic, &mut carla);
    for _ in 0..3 {
        release_to(&mut carla, &liaison, id).unwrap();
    }
    hand(&carla, &mut auditor);
    let log = auditor.disclosure_log().unwrap();
    assert_eq!(log.len(), 3);
    assert!(log.values().all(|entry| entry.purpose == "Patrol planning" && entry.observations_count == 1));
    assert_eq!(auditor.row(id).unwrap(), None);
    assert!(auditor.audit().unwrap().is_empty());
    // One that nobody logged.
    let logged: Release = carla.all::<Release>().unwrap()[0].content.clone();
    assert!(matches!(carla.create(&logged), Err(Error::Kind(why)) if why.contains("`release`")));
    let unlogged = create_id(carla.member_id(), Kind::RELEASE.0, [5; 8]);
    forge(&mut carla, unlogged, &logged);
    hand(&carla, &mut auditor);
    assert_eq!(auditor.audit().unwrap(), BTreeSet::from([Finding::Unlogged(unlogged)]));
    // One that is gone.
    let cited: BTreeSet<String> = log.values().flat_map(|entry| entry.cites.clone()).collect();
    let gone = log.keys().find(|id| cited.contains(&id.to_string())).copied().unwrap();
    let mut batch = Batch::default();
    batch.delete(disk::ROWS, gone.as_bytes());
    auditor.store.apply(batch).unwrap();
    assert!(auditor.audit().unwrap().contains(&Finding::Missing(gone)));
    // And a complaint reaches the auditor, not the liaison.
    let complaint = Complaint {
        category: "profiling".into(),
        text: "Nothing but who was there".into(),
        ..Complaint::default()
    };
    let complaint = vic.complain(complaint).unwrap();
    hand(&vic, &mut auditor);
    assert!(auditor.row(complaint).unwrap().is_some());
}

#[test]
fn a_referral_is_opened_by_the_health_partner_alone() {
    let Town { mut carla, mut vic, mut vera, mut liaison } = town();
    let mut clinic = joined(&mut carla, 9, ROLE_HEALTH_PARTNER);
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison, &mut clinic]);
    let referral = Referral {
        services: vec!["treatment".into()],
        urgency: "soon".into(),
        text: "PLANTED WORDS".into(),
        contact: "By telephone".into(),
        consent: Consent {
            given_by: "self".into(),
            given_ms: 1_779_000_000_000,
            covers: "That I ask for treatment".into(),
            ends_ms: 1_790_000_000_000,
            withdrawn_ms: None,
        },
        ..Referral::default()
    };
    let unasked = Referral { consent: Consent::default(), ..referral.clone() };
    assert!(matches!(vic.refer(unasked), Err(Error::Invalid(_))));
    let id = vic.refer(referral).unwrap();
    for phone in [&mut carla, &mut vera, &mut liaison, &mut clinic] {
        // Whatever the relay would hand out: everything.
        let rows = vic.store.scan(ENTRIES, &[], None, usize::MAX).unwrap();
        let wires = rows.iter().map(|(_, bytes)| cbor::decode(bytes).unwrap()).collect();
        phone.receive(wires, None).unwrap();
    }
    for phone in [&carla, &vera, &liaison] {
        assert_eq!(phone.row(id).unwrap(), None);
    }
    let received: Referral = clinic.read(id).unwrap();
    assert_eq!(received.text, "PLANTED WORDS");
    assert!(received.notice.contains("42 CFR part 2"));
    vic.withdraw_referral(id).unwrap();
    hand(&vic, &mut clinic);
    let withdrawn: Referral = clinic.read(id).unwrap();
    assert!(withdrawn.text.is_empty() && !withdrawn.is_standing(1_780_000_000_000));
}

#[test]
fn a_shopkeeper_sees_bulletins_and_own_commitments_and_no_reports() {
    let Town { mut carla, mut vic, mut vera, mut liaison } = town();
    let (mut shop, mut bar) = (joined(&mut carla, 8, ROLE_BUSINESS), joined(&mut carla, 9, ROLE_BUSINESS));
    let commitment = |business: &str| Commitment {
        business: business.into(),
        what: "lighting".into(),
        from_ms: 1_779_000_000_000,
        status: "offered".into(),
        ..Commitment::default()
    };
    let (own, other) = (shop.create(&commitment("Shop")).unwrap(), bar.create(&commitment("Bar")).unwrap());
    vic.record(draft("at the corner")).unwrap();
    let said = Said { title: "Meeting".into(), text: String::new() };
    let bulletin = Bulletin {
        category: "meeting".into(),
        texts: Keyed::from_iter([("en", said)]),
        issued_ms: 1_779_000_000_000,
        expires_ms: 1_781_000_000_000,
        ..Bulletin::default()
    };
    let bulletin = carla.create(&bulletin).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut liaison, &mut shop, &mut bar]);
    let seen: BTreeSet<_> =
        shop.list(&Filter::default()).unwrap().into_iter().map(|(row, _)| row.id).collect();
    assert_eq!(seen, BTreeSet::from([own, bulletin]));
    assert!(matches!(shop.record(draft("x")), Err(Error::Role(_))));
    shop.change::<Commitment>(own, |c| {
        c.status = "kept".into();
        Ok(())
    })
    .unwrap();
    assert!(matches!(carla.change::<Commitment>(own, |_| Ok(())), Err(Error::Role(_))));
    hand(&shop, &mut carla);
    assert_eq!(carla.read::<Commitment>(own).unwrap().status, "kept");
    assert!(carla.row(other).unwrap().is_some());
}

#[test]
fn an_action_is_carried_over_and_a_shift_counts_for_who_came() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let action = Action {
        what: "Ask about the fence".into(),
        owner: vic.member_id().to_string(),
        due_ms: 1_779_000_000_000,
        status: "open".into(),
        note: String::new(),
    };
    let meeting = |starts_ms: i64| Meeting { title: "Meeting".into(), starts_ms, ..Meeting::default() };
    let april = carla
        .create(&Meeting { actions: Keyed::from_iter([("1", action)]), ..meeting(1_777_000_000_000) })
        .unwrap();
    let may = carla.create(&meeting(1_779_500_000_000)).unwrap();
    let shift = carla.create(&Shift {
        title: "Friday".into(),
        starts_ms: 1_780_000_000_000,
        ends_ms: 1_780_010_000_000,
        cells: vec!["g250:17675:-35908".into()],
        ..Shift::default()
    });
    let shift = shift.unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    let carried = vic.carried_over(may).unwrap();
    assert_eq!(carried.iter().map(|c| (c.meeting, c.key.as_str())).collect::<Vec<_>>(), [(april, "1")]);
    for phone in [&mut vic, &mut vera] {
        assert!(matches!(phone.check_out(shift), Err(Error::Invalid(_))));
        phone.check_in(shift).unwrap();
        phone.check_out(shift).unwrap();
    }
    // Nobody checks anybody else in.
    let refused = vic.change::<Shift>(shift, |content| {
        let came = Attendance { checked_in_ms: 1_780_000_000_000, checked_out_ms: None };
        content.attendance.insert("somebody-else".into(), came);
        Ok(())
    });
    assert!(matches!(refused, Err(Error::Invalid(Invalid { field, .. })) if field == "attendance"));
    carla
        .change::<Meeting>(april, |content| {
            content.actions.get_mut("1").unwrap().status = "done".into();
            Ok(())
        })
        .unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    assert_eq!(vera.carried_over(may).unwrap(), []);
    assert_eq!(carla.read::<Shift>(shift).unwrap().attendance.len(), 2);
    assert_eq!(carla.effort_ms().unwrap(), vera.effort_ms().unwrap());
    assert!(carla.effort_ms().unwrap() > 0);
}

#[test]
fn conflicts_are_shown_with_who_wrote_what() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let action = Action {
        what: "Fence".into(),
        owner: "nobody".into(),
        due_ms: 5,
        status: "open".into(),
        note: String::new(),
    };
    let plan = ActionPlan {
        title: "The lot".into(),
        goal: "A fence".into(),
        problem: String::new(),
        actions: Keyed::from_iter([("fence", action)]),
    };
    let id = carla.create(&plan).unwrap();
    hand(&carla, &mut liaison);
    for phone in [&mut carla, &mut liaison] {
        let owner = phone.member_id().to_string();
        phone
            .change::<ActionPlan>(id, |plan| {
                plan.actions.get_mut("fence").unwrap().owner = owner;
                Ok(())
            })
            .unwrap();
    }
    gossip(&mut [&mut carla, &mut liaison, &mut vic]);
    let detail = vic.get(id).unwrap();
    assert_eq!(detail.conflicts.len(), 1);
    assert_eq!(detail.conflicts[0].field, "actions.fence.owner");
    for value in &detail.conflicts[0].values {
        assert_eq!(value.author.map(|author| author.to_string()), Some(value.value.clone()));
    }
    let authors: BTreeSet<_> = detail.history.iter().filter_map(|row| row.author).collect();
    assert_eq!(authors, BTreeSet::from([carla.member_id(), liaison.member_id()]));
}

#[test]
fn what_is_frozen_or_somebody_elses_is_not_changed() {
    let Town { mut carla, mut vic, .. } = town();
    let id = carla.create(&lesson()).unwrap();
    assert!(matches!(carla.change::<Lesson>(id, |_| Ok(())), Err(Error::Role(_))));
    assert!(matches!(vic.create(&lesson()), Err(Error::Role(_))));
    assert!(matches!(carla.read::<Ballot>(id), Err(Error::NotHere(_))));
}
