//! Finding: the index against reading every row anew, whatever happened before.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::roll::Target;
use crate::watch::suggest::{Likeness, Point};
use crate::watch::{Position, Resource, blur};

const NOON_MS: i64 = 1_779_990_000_000;

/// A report at one of a few places and times near each other.
fn report(what: &str, step: u8) -> ObservationDraft {
    let mut draft = draft(what);
    draft.observation.when.start_ms = NOON_MS + i64::from(step) * 7 * 60_000;
    draft.observation.behaviours =
        vec![["hand_to_hand", "threat", "offer_to_sell"][usize::from(step % 3)].into()];
    if let Some(sealed) = &mut draft.sealed {
        let lat = 39.74 + f64::from(step) / 4_000.0;
        sealed.position = Some(Position { lat, lon: -104.95, accuracy_m: 10.0, method: "gps".into() });
    }
    draft
}

fn ids(page: &Page) -> Vec<DocumentId> {
    page.rows.iter().map(|(row, _)| row.id).collect()
}

fn find(engine: &mut Engine, text: &str) -> Vec<DocumentId> {
    ids(&engine
        .find(&Query { text: text.into(), kind: Some(Kind::OBSERVATION), ..Query::default() })
        .unwrap())
}

/// Everything that is asked of an index, in one value.
fn answers(engine: &mut Engine) -> impl PartialEq + std::fmt::Debug + use<> {
    let area = blur::cell(39.74, -104.95, blur::CELL_SIZE_M).unwrap();
    let queries = [
        Query::default(),
        Query { text: "SWAP corn".into(), ..Query::default() },
        Query { text: "zzz 12".into(), sort: Sort::Oldest, ..Query::default() },
        Query { area: Some(Area::Cells([area].into())), sort: Sort::Newest, ..Query::default() },
        Query { sort: Sort::Nearest(Point::new(39.741, -104.95)), rows_max: 3, ..Query::default() },
        Query { status: Some(String::new()), kind: Some(Kind::OBSERVATION), ..Query::default() },
        Query { status: Some("seen".into()), families: ["dealing".into()].into(), ..Query::default() },
    ];
    let pages: Vec<Page> = queries.iter().map(|query| engine.find(query).unwrap()).collect();
    let near: Vec<_> = pages[0]
        .rows
        .iter()
        .filter(|(row, _)| row.kind == Kind::OBSERVATION)
        .map(|(row, _)| engine.suggestions(row.id).unwrap())
        .collect();
    (pages, near, engine.duplicates().unwrap(), engine.patterns().unwrap())
}

#[derive(Clone, Debug)]
enum Act {
    Record(usize, u8),
    Amend(usize, usize, u8),
    Remark(usize),
    Link(usize, usize),
    Unlink(usize),
    Two(usize, usize),
    NotTwo(usize, usize),
    Hand(usize, usize),
    Look(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let (phone, nth) = (0..3usize, 0..8usize);
    prop_oneof![
        3 => (phone.clone(), 0..6u8).prop_map(|(phone, step)| Act::Record(phone, step)),
        1 => (phone.clone(), nth.clone(), 0..6u8).prop_map(|(phone, nth, step)| Act::Amend(phone, nth, step)),
        1 => nth.clone().prop_map(Act::Remark),
        1 => (nth.clone(), nth.clone()).prop_map(|(a, b)| Act::Link(a, b)),
        1 => nth.clone().prop_map(Act::Unlink),
        1 => (nth.clone(), nth.clone()).prop_map(|(a, b)| Act::Two(a, b)),
        1 => (nth.clone(), nth).prop_map(|(a, b)| Act::NotTwo(a, b)),
        3 => (phone.clone(), phone.clone()).prop_map(|(from, to)| Act::Hand(from, to)),
        2 => phone.prop_map(Act::Look),
    ]
}

proptest! {
    // Each example plays a small town with real cryptography.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// An index that followed every change answers as one that is made anew; and whatever way entries travelled, phones
    /// of one role that have the same answer the same.
    #[test]
    fn an_index_that_follows_answers_as_one_that_is_made_anew(acts in proptest::collection::vec(act(), 1..40)) {
        let Town { carla, vic, vera, .. } = town();
        let mut phones = [carla, vic, vera];
        let mut filed: Vec<(usize, DocumentId)> = Vec::new();
        for act in acts {
            let nth = |n: usize| filed.get(n % filed.len().max(1)).map(|(_, id)| *id);
            match act {
                Act::Record(phone, step) => {
                    let id = phones[phone].record(report("a swap at the corner", step)).unwrap();
                    filed.push((phone, id));
                }
                Act::Amend(phone, n, step) => {
                    let own: Vec<_> = filed.iter().filter(|(of, _)| *of == phone).collect();
                    if let Some((_, id)) = own.get(n % own.len().max(1)) {
                        phones[phone].amend(*id, report("amended: no swap", step)).unwrap();
                    }
                }
                // What has not reached the coordinator cannot be judged there.
                Act::Remark(n) => drop(nth(n).map(|id| phones[0].annotate(id, "", "seen"))),
                Act::Link(a, b) => {
                    let links = [nth(a), nth(b)].into_iter().flatten();
                    let links: Vec<_> =
                        links.map(|observation| CaseLink { observation, reason: "same place".into() }).collect();
                    drop(phones[0].link(None, "Swaps", &links));
                }
                Act::Unlink(n) => {
                    for case in phones[0].cases().unwrap() {
                        nth(n).map(|id| phones[0].unlink(case.case, id).ok());
                    }
                }
                Act::Two(a, b) => drop(nth(a).zip(nth(b)).map(|(a, b)| phones[0].not_duplicates(a, b, ""))),
                Act::NotTwo(a, b) => drop(nth(a).zip(nth(b)).map(|(a, b)| phones[0].may_be_duplicates(a, b))),
                Act::Hand(from, to) if from != to => {
                    let [from, to] = phones.get_disjoint_mut([from, to]).unwrap();
                    hand(from, to);
                }
                Act::Hand(..) => {}
                Act::Look(phone) => drop(phones[phone].find(&Query::default()).unwrap()),
            }
        }
        for phone in &mut phones {
            let followed = answers(phone);
            phone.finder = Default::default();
            prop_assert_eq!(&followed, &answers(phone));
        }
        // Everybody hears of everything, one of them by way of the other, and twice.
        let [carla, vic, vera] = &mut phones;
        for _ in 0..2 {
            hand(vic, carla);
            hand(vera, carla);
            hand(carla, vic);
            hand(vic, vera);
            hand(carla, vera);
        }
        prop_assert_eq!(carla.cases().unwrap(), vera.cases().unwrap());
        prop_assert_eq!(vic.cases().unwrap(), vera.cases().unwrap());
        let shared = |engine: &mut Engine| {
            let page = engine.find(&Query { rows_max: 1_000, ..Query::default() }).unwrap();
            let rows = page.rows.into_iter().map(|(row, _)| row).filter(|row| row.kind != Kind::SEALED);
            // When something came is each phone's own.
            let mut rows: Vec<Row> = rows.map(|row| Row { ordered_ms: 0, ..row }).collect();
            rows.sort_by_key(|row| row.id);
            rows
        };
        prop_assert_eq!(shared(vic), shared(vera));
        prop_assert_eq!(shared(carla), shared(vera));
    }

    /// Pages one after the other are the whole, whatever the order and the size; and a row that comes in between moves no
    /// other.
    #[test]
    fn pages_join_without_a_gap_or_a_repetition(rows_max in 1..7usize, sort in 0..4usize, later in 0..6u8) {
        let Town { mut vic, .. } = town();
        for step in 0..12 {
            vic.record(report("a swap", step)).unwrap();
        }
        let sort = [Sort::LatestChange, Sort::Newest, Sort::Oldest, Sort::Nearest(Point::new(39.741, -104.95))][sort];
        let mut query = Query { kind: Some(Kind::OBSERVATION), sort, rows_max: 100, ..Query::default() };
        let whole = ids(&vic.find(&query).unwrap());
        prop_assert_eq!(whole.len(), 12);
        query.rows_max = rows_max;
        let mut joined = Vec::new();
        loop {
            let page = vic.find(&query).unwrap();
            joined.extend(ids(&page));
            query.after = page.next;
            if page.next.is_none() { break }
            vic.record(report("a newcomer", later)).unwrap();
        }
        joined.retain(|id| whole.contains(id));
        prop_assert_eq!(joined, whole);
    }
}

#[test]
fn words_of_the_sealed_part_find_the_report_for_those_who_may_read_it() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let mut draft = report("Dos personas cambiaron una bolsa", 0);
    draft.sealed.as_mut().unwrap().vehicles =
        vec![crate::watch::Vehicle { colour: "grey".into(), plate: "QX-77".into(), ..Default::default() }];
    let id = vic.record(draft).unwrap();
    hand(&vic, &mut carla);
    hand(&vic, &mut vera);
    for (text, carla_finds) in [("BOLSA", true), ("qx 77", true), ("bolsa qx", true), ("bolsa qy", false)] {
        assert_eq!(!find(&mut carla, text).is_empty(), carla_finds, "{text}");
    }
    assert_eq!(find(&mut vera, "bolsa"), [id]);
    assert_eq!(find(&mut vera, "hand-to-hand mano"), [id], "the code's label, in either language");
    assert_eq!(find(&mut vera, "qx"), [], "a volunteer cannot open another's sealed part");
}

#[test]
fn somebody_elses_sealed_part_neither_moves_a_report_nor_lends_it_words() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let id = vic.record(report("a swap", 0)).unwrap();
    let forged = crate::watch::Sealed { observation: id.to_string(), ..report("", 5).sealed.unwrap() };
    let forged = crate::watch::Sealed { notes: "planted".into(), ..forged };
    vera.write_new(Kind::SEALED, &forged).unwrap();
    hand(&vic, &mut carla);
    hand(&vera, &mut carla);
    assert_eq!(find(&mut carla, "planted"), []);
    let near = Query { sort: Sort::Nearest(Point::new(39.74, -104.95)), ..Query::default() };
    carla.record(report("a swap", 1)).unwrap();
    assert_eq!(ids(&carla.find(&near).unwrap())[0], id);
}

#[test]
fn what_a_removal_cuts_off_is_found_no_more_and_again_once_accepted() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    hand(&carla, &mut vic);
    vic.record(report("unmistakable", 0)).unwrap();
    hand(&vic, &mut vera);
    assert_eq!(find(&mut vera, "unmistak").len(), 1);
    carla.remove(Target::Member(vic.member_id())).unwrap();
    hand(&carla, &mut vera);
    assert_eq!(find(&mut vera, "unmistak"), []);
    assert_eq!(vera.find(&Query::default()).unwrap().rows_total, 0);
    hand(&vera, &mut carla);
    let aside: Vec<_> =
        carla.set_aside().unwrap().into_iter().filter(|row| row.cut_off).map(|row| row.entry).collect();
    carla.accept(&aside).unwrap();
    hand(&carla, &mut vera);
    assert_eq!(find(&mut vera, "unmistak").len(), 1);
}

#[test]
fn what_was_recorded_alone_is_found_once_after_it_came_along() {
    let mut newcomer = engine(9);
    newcomer.record(report("written alone", 0)).unwrap();
    assert_eq!(find(&mut newcomer, "alone").len(), 1);
    let Town { mut carla, .. } = town();
    let admission = carla
        .admit(&newcomer.request(carla.group_id().unwrap()).unwrap(), RoleId(roles::ROLE_VOLUNTEER))
        .unwrap();
    newcomer.join(&admission).unwrap();
    assert_eq!(find(&mut newcomer, "alone").len(), 1);
}

#[test]
fn two_coordinators_who_merge_at_once_see_both_cases_and_what_they_share() {
    let Town { mut carla, mut vic, .. } = town();
    let mut cosma = engine(5);
    let admission = carla
        .admit(&cosma.request(carla.group_id().unwrap()).unwrap(), RoleId(roles::ROLE_COORDINATOR))
        .unwrap();
    cosma.join(&admission).unwrap();
    let [a, b, c] = [0, 1, 2].map(|step| vic.record(report("a swap", step)).unwrap());
    for coordinator in [&mut carla, &mut cosma] {
        hand(&vic, coordinator);
    }
    let links =
        |ids: [DocumentId; 2]| ids.map(|observation| CaseLink { observation, reason: "same swap".into() });
    let one = carla.link(None, "Swap", &links([a, b])).unwrap();
    let other = cosma.link(None, "Exchange", &links([b, c])).unwrap();
    hand(&carla, &mut cosma);
    hand(&cosma, &mut carla);
    let cases = carla.cases().unwrap();
    assert_eq!(cases, cosma.cases().unwrap());
    let of = |id| cases.iter().find(|row| row.case == id).unwrap();
    assert_eq!(of(one).observations, [a, b].into());
    assert_eq!(of(one).joined_with, [other].into());
    assert_eq!(of(one).elsewhere, [(b, BTreeSet::from([other]))].into());
    assert_eq!(of(other).elsewhere, [(b, BTreeSet::from([one]))].into());
    assert_eq!(of(one).authors_count, 1, "two reports of one author corroborate nothing");
    // Taking B out of one leaves everything else as it is.
    cosma.unlink(one, b).unwrap();
    hand(&cosma, &mut carla);
    let cases = carla.cases().unwrap();
    let of = |id| cases.iter().find(|row| row.case == id).unwrap();
    assert_eq!((&of(one).observations, &of(other).observations), (&[a].into(), &[b, c].into()));
    assert!(of(one).joined_with.is_empty() && of(other).elsewhere.is_empty());
    assert!(vic.unlink(other, b).is_err() && carla.unlink(one, b).is_err());
}

#[test]
fn what_was_said_to_be_two_is_suggested_again_once_all_took_it_back() {
    let Town { mut carla, mut vic, .. } = town();
    let mut cosma = engine(5);
    let admission = carla
        .admit(&cosma.request(carla.group_id().unwrap()).unwrap(), RoleId(roles::ROLE_COORDINATOR))
        .unwrap();
    cosma.join(&admission).unwrap();
    let [a, b] = [0, 3].map(|step| vic.record(report("a swap", step)).unwrap());
    for coordinator in [&mut carla, &mut cosma] {
        hand(&vic, coordinator);
    }
    let suggested =
        |engine: &mut Engine| engine.suggestions(a).unwrap().iter().map(|s| s.likeness).collect::<Vec<_>>();
    assert_eq!(suggested(&mut carla), [Likeness::SameEvent]);
    assert_eq!(suggested(&mut vic), [Likeness::SameEvent]);
    assert!(vic.not_duplicates(a, b, "").is_err(), "only coordinators say so");
    carla.not_duplicates(a, b, "another bag").unwrap();
    cosma.not_duplicates(b, a, "").unwrap();
    assert_eq!(suggested(&mut carla), []);
    assert_eq!(carla.duplicates().unwrap(), []);
    carla.may_be_duplicates(b, a).unwrap();
    assert_eq!(suggested(&mut carla), [Likeness::SameEvent]);
    hand(&cosma, &mut carla);
    assert_eq!(suggested(&mut carla), [], "a colleague said so too, unseen");
    carla.may_be_duplicates(a, b).unwrap();
    hand(&carla, &mut cosma);
    for engine in [&mut carla, &mut cosma] {
        assert_eq!(suggested(engine), [Likeness::SameEvent]);
    }
    carla
        .link(None, "Swap", &[a, b].map(|observation| CaseLink { observation, reason: "one".into() }))
        .unwrap();
    assert_eq!(suggested(&mut carla), [], "they are in one case");
}

#[test]
fn what_is_not_settled_travels_in_a_release_and_names_nobody() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let id = vic.record(report("a swap from a car", 0)).unwrap();
    hand(&vic, &mut carla);
    let case = carla.link(None, "Swap", &[CaseLink { observation: id, reason: "one".into() }]).unwrap();
    let grey = carla.state_fact(case, "vehicle_colour", "grey").unwrap();
    carla.state_fact(case, "vehicle_colour", "silver").unwrap();
    carla.state_fact(case, "people_count", "two").unwrap();
    let plan = ReleasePlan {
        title: "Swap".into(),
        purpose: "Patrol planning".into(),
        recipient: Some(liaison.member_id()),
        expires_ms: None,
        observations: vec![(id, Redaction::default())],
    };
    let released = |carla: &mut Engine, liaison: &mut Engine| {
        let release = carla.release(&plan).unwrap();
        hand(carla, liaison);
        let Content::Release(release) = liaison.get(release).unwrap().content else { panic!() };
        release
    };
    let open = released(&mut carla, &mut liaison).open_facts;
    assert_eq!(open.len(), 1);
    assert_eq!(
        (open[0].fact.as_str(), open[0].values.as_slice()),
        ("vehicle_colour", ["grey".to_owned(), "silver".into()].as_slice())
    );
    carla.resolve_fact(case, "vehicle_colour", &grey).unwrap();
    assert_eq!(released(&mut carla, &mut liaison).open_facts, []);
    assert!(matches!(vic.state_fact(case, "weapon", "none"), Err(Error::NotHere(_) | Error::Role(_))));
    assert!(matches!(carla.state_fact(case, "name", "somebody"), Err(Error::Invalid(_))));
}

#[test]
fn a_search_in_the_directory_of_help_leaves_nothing_behind() {
    let Town { mut carla, mut vic, .. } = town();
    let resource = Resource {
        name: "Needle exchange".into(),
        services: vec!["harm_reduction".into()],
        phone: "555 0100".into(),
        checked_ms: NOON_MS,
        expires_ms: NOON_MS + 1,
        ..Resource::default()
    };
    let resource = carla.create(&resource).unwrap();
    hand(&carla, &mut vic);
    let everything = |phone: &Engine| {
        let tables = (1..=u8::MAX).map(crate::storage::Table);
        tables.map(|table| phone.store.scan(table, &[], None, usize::MAX).unwrap()).collect::<Vec<_>>()
    };
    let before = everything(&vic);
    let query = Query { text: "needle".into(), kind: Some(Kind::RESOURCE), ..Query::default() };
    assert_eq!(ids(&vic.find(&query).unwrap()), [resource]);
    assert_eq!(vic.read::<Resource>(resource).unwrap().phone, "555 0100");
    assert_eq!(everything(&vic), before, "nothing to send, and nothing for whoever finds the phone");
}
