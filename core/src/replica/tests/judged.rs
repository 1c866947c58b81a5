//! Kinds whose changes are judged by what they do: what counts, counts alike, whatever came first.

use std::collections::BTreeSet;

use super::*;
use crate::base::CompartmentId;
use crate::document::{Document, create_id};
use crate::entry::plaintext::{Content, Form};
use crate::replica::testing::problem;
use crate::watch::roles::{ROLE_COORDINATOR, ROLE_VOLUNTEER};
use crate::watch::{Ballot, Case, Choice, Closing, Meeting, Problem, Vote, WatchDocument};

/// Writes whatever it is, as a modified app would.
pub(super) fn forge<T: WatchDocument>(by: &mut Engine, id: DocumentId, content: &T) {
    by.transact(|engine, batch| engine.write(batch, T::KIND, id, content)).unwrap();
}

fn reasons(engine: &Engine) -> Vec<String> {
    engine.set_aside().unwrap().into_iter().map(|aside| aside.reason).collect()
}

fn ballot() -> Ballot {
    let option = |label: &str| Choice { label: label.into(), about: String::new() };
    Ballot {
        question: "What comes first?".into(),
        options: [("lot".to_owned(), option("The lot")), ("lamp".to_owned(), option("The lamp"))].into(),
        choices_max: 1,
        until_ms: None,
        closing: None,
    }
}

fn choice(option: &str) -> Vec<String> {
    vec![option.to_owned()]
}

#[derive(autosurgeon::Reconcile)]
struct NoMeeting {
    agenda: String,
}

/// Of what several write, a change without the shape of its kind counts nowhere: not here, where it came first and alone, and
/// not there, where the rest was there to fill its gaps.
#[test]
fn a_change_of_the_wrong_shape_is_set_aside_whatever_came_first() {
    let Town { mut carla, mut vic, mut vera, liaison: mut lia } = town();
    let mut cora = joined(&mut carla, 9, ROLE_COORDINATOR);
    let id = carla.new_id(Kind::MEETING);
    let meeting = Meeting { title: "the lot".into(), ..Meeting::default() };
    carla.transact(|engine, batch| engine.write(batch, Kind::MEETING, id, &meeting)).unwrap();
    let mut document = Document::new(cora.device_id());
    let wrong = NoMeeting { agenda: "a text where items belong".into() };
    let bytes = document.write(&wrong).unwrap().unwrap().bytes().to_vec();
    let content = Content { document: id, kind: Kind::MEETING.0, form: Form::CHANGE, bytes };
    let compartment = CompartmentId(roles::COMPARTMENT_COMMON);
    cora.transact(|engine, batch| engine.append_content(batch, compartment, &content, None).map(drop))
        .unwrap();
    hand(&cora, &mut vic);
    hand(&carla, &mut vera);
    gossip(&mut [&mut cora, &mut carla, &mut vic, &mut vera, &mut lia]);
    for phone in [&carla, &cora, &vic, &vera] {
        let rows = phone.list(&Filter { kind: Some(Kind::MEETING), ..Filter::default() }).unwrap();
        assert_eq!(rows.iter().map(|(row, _)| row.title.as_str()).collect::<Vec<_>>(), ["the lot"]);
    }
    for phone in [&carla, &vic, &vera] {
        assert_eq!(phone.set_aside().unwrap().len(), 1);
    }
}

#[test]
fn votes_that_were_cast_offline_make_one_tally_everywhere() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let asked = carla.create(&ballot()).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    let request = engine(8);
    let mut tablet = request;
    let device = tablet.request_as_device_of(vic.group_id().unwrap(), vic.member_id()).unwrap();
    tablet.join(&vic.add_device(&device).unwrap()).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut tablet]);
    // Offline, each for themselves, and Vic from two devices.
    carla.cast_vote(asked, choice("lamp")).unwrap();
    vera.cast_vote(asked, choice("lot")).unwrap();
    let vote = vic.cast_vote(asked, choice("lamp")).unwrap();
    vic.cast_vote(asked, choice("lot")).unwrap();
    assert_eq!(tablet.cast_vote(asked, choice("lot")).unwrap(), vote);
    assert!(matches!(vic.cast_vote(asked, choice("bench")), Err(Error::Invalid(_))));
    gossip(&mut [&mut vera, &mut tablet, &mut vic, &mut carla]);
    let tallies: Vec<_> =
        [&mut carla, &mut vic, &mut vera, &mut tablet].map(|phone| phone.tally(asked).unwrap()).into();
    assert_eq!(tallies[0].ranked(), [("lot", 2), ("lamp", 1)]);
    assert_eq!((tallies[0].voters, tallies[0].is_final), (3, false));
    assert!(tallies.iter().all(|tally| *tally == tallies[0]));
}

#[test]
fn what_the_closing_does_not_name_does_not_count_whenever_it_says_it_was_written() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let asked = carla.create(&ballot()).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    vic.cast_vote(asked, choice("lot")).unwrap();
    hand(&vic, &mut carla);
    // Before the end by the clock, and not there when it was counted.
    vera.cast_vote(asked, choice("lamp")).unwrap();
    vic.cast_vote(asked, choice("lamp")).unwrap();
    let result = carla.close_ballot(asked).unwrap();
    assert_eq!(result.ranked(), [("lot", 1), ("lamp", 0)]);
    gossip(&mut [&mut vera, &mut vic, &mut carla]);
    for phone in [&mut carla, &mut vic, &mut vera] {
        assert_eq!(phone.tally(asked).unwrap(), result);
        assert!(matches!(phone.cast_vote(asked, choice("lamp")), Err(Error::Invalid(_))));
    }
    assert!(matches!(carla.close_ballot(asked), Err(Error::Invalid(_))));
    // A phone that lacks a vote says so rather than count another result.
    let mut late = joined(&mut carla, 9, ROLE_VOLUNTEER);
    hand(&carla, &mut late);
    assert_eq!(late.tally(asked).unwrap(), result);
}

#[test]
fn a_second_vote_under_another_identity_is_set_aside_everywhere() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let asked = carla.create(&ballot()).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    vic.cast_vote(asked, choice("lot")).unwrap();
    let second = create_id(vic.member_id(), Kind::VOTE.0, [1; 8]);
    forge(&mut vic, second, &Vote { ballot: asked.to_string(), choices: choice("lot") });
    for phone in [&mut carla, &mut vera] {
        hand(&vic, phone);
        assert_eq!(phone.tally(asked).unwrap().ranked(), [("lot", 1), ("lamp", 0)]);
        assert!(
            reasons(phone)[0].contains("not the one that this vote was made for"),
            "{:?}",
            reasons(phone)
        );
    }
}

#[test]
fn a_link_in_another_coordinators_name_is_set_aside_everywhere() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let mut chris = joined(&mut carla, 9, ROLE_COORDINATOR);
    let reports: Vec<DocumentId> =
        ["one", "two", "three"].map(|what| vic.record(draft(what)).unwrap()).into();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut chris]);
    let link = |at: usize| CaseLink { observation: reports[at], reason: "the same car".into() };
    let case = carla.link(None, "The car", &[link(0), link(1)]).unwrap();
    hand(&carla, &mut chris);
    let mut content: Case = chris.read(case).unwrap();
    content.link(reports[2].to_string(), "so she says", carla.member_id().to_string());
    forge(&mut chris, case, &content);
    for phone in [&mut carla, &mut vera] {
        hand(&chris, phone);
        assert!(reasons(phone)[0].contains("somebody else"), "{:?}", reasons(phone));
        assert_eq!(phone.read::<Case>(case).unwrap().observations().count(), 2);
    }
    // In their own names they both go on, whatever comes first.
    let (mut one, mut other) =
        (joined(&mut carla, 10, ROLE_VOLUNTEER), joined(&mut carla, 11, ROLE_VOLUNTEER));
    carla.unlink(case, reports[0]).unwrap();
    carla.state_fact(case, "vehicle_colour", "white").unwrap();
    let mut cora = joined(&mut carla, 12, ROLE_COORDINATOR);
    hand(&carla, &mut cora);
    cora.link(Some(case), "", &[link(0), link(2)]).unwrap();
    cora.state_fact(case, "vehicle_colour", "grey").unwrap();
    hand(&carla, &mut one);
    hand(&cora, &mut one);
    hand(&cora, &mut other);
    hand(&carla, &mut other);
    for phone in [&mut one, &mut other] {
        let content: Case = phone.read(case).unwrap();
        assert_eq!(content.observations().count(), 3);
        assert_eq!(content.open_facts()[0].values, ["grey", "white"]);
    }
}

#[test]
fn a_problem_is_not_closed_without_an_assessment_on_any_phone() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let id = carla.create(&Problem { stage: "scanning".into(), ..problem() }).unwrap();
    for stage in ["analysis", "response", "assessment"] {
        carla
            .change::<Problem>(id, |p| {
                stage.clone_into(&mut p.stage);
                p.assessment.after = None;
                Ok(())
            })
            .unwrap();
    }
    let refused = carla.advance_problem(id, "closed");
    assert!(matches!(&refused, Err(Error::Invalid(why)) if why.field == "assessment.after"), "{refused:?}");
    hand(&carla, &mut liaison);
    // A modified app closes it all the same, and the next entry builds on that.
    let mut content: Problem = carla.read(id).unwrap();
    content.stage = "closed".into();
    forge(&mut carla, id, &content);
    content.title = "Built on it".into();
    forge(&mut carla, id, &content);
    for phone in [&mut liaison, &mut vic] {
        hand(&carla, phone);
        let shown: Problem = phone.read(id).unwrap();
        assert_eq!((shown.stage.as_str(), shown.is_closed()), ("assessment", false));
        let reasons = reasons(phone);
        assert!(reasons[0].contains("assessment.after"), "{reasons:?}");
        assert!(reasons[1].contains("builds on a change that has no effect"), "{reasons:?}");
    }
    // The liaison works on it too, and measures.
    liaison
        .change::<Problem>(id, |p| {
            p.assessment.after = Some(12.0);
            Ok(())
        })
        .unwrap();
    liaison.advance_problem(id, "closed").unwrap();
    hand(&liaison, &mut vic);
    assert!(vic.read::<Problem>(id).unwrap().is_closed());
    assert!(matches!(vic.advance_problem(id, "scanning"), Err(Error::Role(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Entries of a judged document arrive one by one in any order, with waits in between.
    #[test]
    fn what_is_set_aside_does_not_depend_on_what_came_first(mut seed: u64) {
        let Town { mut carla, mut vic, mut vera, mut liaison } = town();
        let id = carla.create(&Problem { stage: "scanning".into(), ..problem() }).unwrap();
        hand(&carla, &mut liaison);
        carla.advance_problem(id, "analysis").unwrap();
        liaison.change::<Problem>(id, |p| { p.scan = "Seen again".into(); Ok(()) }).unwrap();
        let mut jump: Problem = liaison.read(id).unwrap();
        jump.stage = "closed".into();
        jump.assessment.after = None;
        forge(&mut liaison, id, &jump);
        hand(&liaison, &mut carla);
        carla.change::<Problem>(id, |p| { p.title = "Renamed".into(); Ok(()) }).unwrap();
        for phone in [&mut vic, &mut vera] {
            let mut wires = entries(&carla, phone);
            for at in (1..wires.len()).rev() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                wires.swap(at, usize::try_from(seed >> 33).unwrap() % (at + 1));
            }
            for wire in wires {
                phone.receive(vec![wire], None).unwrap();
            }
        }
        let seen = |phone: &mut Engine| {
            let aside: BTreeSet<_> = phone.set_aside().unwrap().into_iter().map(|a| (a.entry, a.reason)).collect();
            let row = phone.row(id).unwrap().unwrap();
            (phone.read::<Problem>(id).unwrap(), aside, (row.title, row.entries, row.updated_ms))
        };
        let (of_carla, of_vic, of_vera) = (seen(&mut carla), seen(&mut vic), seen(&mut vera));
        prop_assert_eq!(of_carla.0.title.as_str(), "Renamed");
        prop_assert_eq!(of_carla.1.len(), 1);
        prop_assert_eq!(&of_carla, &of_vic);
        prop_assert_eq!(&of_vic, &of_vera);
    }
}

#[test]
fn a_problem_that_went_through_its_stages_offline_survives_a_renewal() {
    let Town { mut carla, mut vic, .. } = town();
    carla.acknowledge_all();
    let id = carla.create(&Problem { stage: "scanning".into(), ..problem() }).unwrap();
    for stage in ["analysis", "response", "assessment", "closed"] {
        carla.advance_problem(id, stage).unwrap();
    }
    carla.renew().unwrap();
    assert!(carla.read::<Problem>(id).unwrap().is_closed());
    hand(&carla, &mut vic);
    assert!(vic.read::<Problem>(id).unwrap().is_closed());
    assert_eq!(vic.set_aside().unwrap(), []);
}

#[test]
fn a_ballot_is_not_closed_before_it_is_open() {
    let Town { mut carla, .. } = town();
    let closed = Ballot { closing: Some(Closing { at_ms: 1, ..Closing::default() }), ..ballot() };
    assert!(matches!(carla.create(&closed), Err(Error::Invalid(why)) if why.field == "closing"));
}
