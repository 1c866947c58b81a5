//! What a relay says of the day and of its store, and what people say of when they wrote: none of it makes words vanish,
//! and none of it decides what is read first.

use super::retention::{DAY_MS, Phone, group, meet};
use super::*;
use crate::base::CompartmentId;

/// About the year 2100, in days after the group began.
const YEARS: u64 = 27_000;

const RELAY: RelayId = RelayId([1; 32]);

/// What one phone holds for another, as a relay hands it out that strips whatever has a last day.
fn stripped(from: &Phone, to: &Phone) -> Vec<Wire> {
    let strip = |wire: Wire| {
        let expires = crate::entry::Received::parse(wire.clone()).unwrap().header().expiry_day.is_some();
        Wire { body: wire.body.filter(|_| !expires), ..wire }
    };
    entries(&from.engine, &to.engine).into_iter().map(strip).collect()
}

/// A group in which one has reported, and the reader whom a relay of the year 2100 hands it without its words.
fn robbed() -> [Phone; 3] {
    let mut phones = group(90);
    phones[1].engine.record(draft("a swap at the corner")).unwrap();
    let [carla, vic, vera] = &mut phones;
    carla.engine.receive(entries(&vic.engine, &carla.engine), None).unwrap();
    vera.engine.new_relay_life(RELAY, Incarnation([1; 16])).unwrap();
    vera.hears(YEARS);
    let report = vera.engine.receive(stripped(vic, vera), None).unwrap();
    assert_eq!((report.warnings, vera.texts().len(), vera.bodies()), (vec![], 0, 0));
    phones
}

#[test]
fn words_that_a_relay_with_a_wrong_day_kept_back_come_with_the_next_that_has_them() {
    // Another relay, or the same with an honest day.
    for another in [true, false] {
        let mut phones = robbed();
        let [carla, _, vera] = &mut phones;
        vera.engine.skip_to(CompartmentId(2), 9).unwrap();
        let warned = vera.engine.retry_withheld().unwrap();
        assert!(matches!(warned.as_slice(), [Warning::WithoutWords { entries: 1.. }]), "{warned:?}");
        assert!(vera.engine.withheld().unwrap().is_some());
        if another {
            vera.engine.trust_new_relay().unwrap();
            vera.engine.new_relay_life(RelayId([2; 32]), Incarnation([2; 16])).unwrap();
        }
        vera.hears(1);
        let plan = vera.engine.plan(false, Budget::UNLIMITED).unwrap();
        assert!(plan.cursors.values().all(|after| *after == 0), "it is asked for again: {:?}", plan.cursors);
        let report = vera.engine.receive(entries(&carla.engine, &vera.engine), None).unwrap();
        assert!(report.mended > 0 && report.set_aside == 0, "{report:?}");
        assert_eq!(vera.texts(), ["a swap at the corner"]);
        assert_eq!((vera.engine.retry_withheld().unwrap(), vera.engine.withheld().unwrap()), (vec![], None));
        // It is a report like any other: it goes in its time, and does not come back.
        phones.iter_mut().for_each(|phone| phone.at(91));
        let late = entries(&phones[1].engine, &phones[2].engine);
        phones.iter_mut().for_each(|phone| _ = phone.engine.sweep().unwrap());
        assert_eq!(phones[2].engine.receive(late, None).unwrap().mended, 0);
        assert!(phones.iter().all(|phone| phone.texts().is_empty() && phone.bodies() == 0));
    }
}

/// What a later word builds on has come without its body: the document comes together when that has come.
#[test]
fn a_document_of_which_a_part_came_without_its_words_is_whole_again() {
    let mut phones = robbed();
    let [carla, vic, vera] = &mut phones;
    let id = vic.engine.list(&Filter::default()).unwrap()[0].0.id;
    vera.hears(1);
    vic.engine.amend(id, draft("a swap at the corner, twice")).unwrap();
    vera.engine.receive(entries(&vic.engine, &vera.engine), None).unwrap();
    assert_eq!(vera.texts(), ["a swap at the corner, twice"]);
    carla.engine.receive(entries(&vic.engine, &carla.engine), None).unwrap();
    assert_eq!(vera.engine.get(id).unwrap().history.len(), carla.engine.get(id).unwrap().history.len());
}

/// A relay refuses an entry whose body is missing, and those behind it: they are offered when the body has come.
#[test]
fn a_log_is_offered_up_to_the_entry_whose_body_is_missing_and_whole_afterwards() {
    let mut phones = robbed();
    let [_, vic, vera] = &mut phones;
    let bare = entries(&vic.engine, &vera.engine);
    let id = vic.engine.list(&Filter::default()).unwrap()[0].0.id;
    vic.engine.amend(id, draft("a swap at the corner, twice")).unwrap();
    let all = entries(&vic.engine, &vera.engine);
    let behind: Vec<Wire> = all.iter().filter(|wire| !bare.contains(wire)).cloned().collect();
    vera.hears(1);
    vera.engine.receive(behind.clone(), None).unwrap();
    let offered = |vera: &mut Phone| -> Vec<Wire> {
        vera.engine.offer(&[], true).unwrap();
        vera.engine.outbox(0).unwrap().into_iter().map(|out| out.wire).collect()
    };
    let before = offered(vera);
    assert!(before.iter().all(|wire| wire.body.is_some() && !behind.contains(wire)));
    assert!(vera.engine.plan(false, Budget::UNLIMITED).unwrap().offered.is_some());
    assert!(vera.engine.receive(all.clone(), None).unwrap().mended > 0);
    assert_eq!(vera.engine.plan(false, Budget::UNLIMITED).unwrap().offered, None, "it is offered again");
    let after = offered(vera);
    assert!(!behind.is_empty() && all.iter().all(|wire| after.contains(wire)));
}

/// Nobody hands it out to a member with another role, so nothing is said of it until they may read it again.
#[test]
fn what_a_member_may_not_read_any_more_is_not_missed() {
    let mut phones = robbed();
    let [carla, vic, vera] = &mut phones;
    assert!(vera.engine.withheld().unwrap().is_some());
    let vera_is = vera.engine.member_id();
    carla.engine.change_role(vera_is, RoleId(roles::ROLE_BUSINESS)).unwrap();
    vera.engine.receive(stripped(carla, vera), None).unwrap();
    assert_eq!((vera.engine.retry_withheld().unwrap(), vera.engine.withheld().unwrap()), (vec![], None));
    carla.engine.change_role(vera_is, RoleId(roles::ROLE_VOLUNTEER)).unwrap();
    vera.engine.receive(stripped(carla, vera), None).unwrap();
    vera.hears(1);
    let warned = vera.engine.retry_withheld().unwrap();
    assert!(matches!(warned.as_slice(), [Warning::WithoutWords { entries: 1.. }]), "{warned:?}");
    let report = vera.engine.receive(entries(&vic.engine, &vera.engine), None).unwrap();
    assert!(report.mended > 0, "{report:?}");
    assert_eq!(vera.texts(), ["a swap at the corner"]);
}

#[test]
fn a_body_that_is_another_is_not_taken_for_one_that_is_missed() {
    let mut phones = robbed();
    let [_, vic, vera] = &mut phones;
    let bent = entries(&vic.engine, &vera.engine).into_iter().map(|wire| {
        let body = wire.body.map(|body| {
            let mut bytes = body.to_vec();
            bytes[0] ^= 1;
            bytes.into()
        });
        Wire { body, ..wire }
    });
    let report = vera.engine.receive(bent.collect(), None).unwrap();
    assert!(report.is_spoilt() && report.mended == 0);
    assert!(vera.texts().is_empty());
}

#[test]
fn a_relays_day_is_bounded_by_the_phones_own_and_forgotten_with_the_next() {
    let mut phones = group(90);
    phones[1].engine.record(draft("kept")).unwrap();
    meet(&mut phones);
    let vera = &mut phones[2];
    // The relay lies, and months later the phone's own clock goes wrong.
    vera.hears(YEARS);
    vera.believes(YEARS);
    vera.engine.sweep().unwrap();
    assert_eq!(vera.texts(), ["kept"], "no relay of today has seen the end of it");
    // Both are wrong at once, and then people trust another relay: the day goes with the old one.
    vera.hears(YEARS + 10);
    vera.engine.trust_new_relay().unwrap();
    vera.engine.sweep().unwrap();
    assert_eq!(vera.texts(), ["kept"]);
    // Nor does the same relay's wrong day outlive its next word.
    vera.hears(YEARS + 10);
    vera.hears(1);
    vera.engine.sweep().unwrap();
    assert_eq!(vera.texts(), ["kept"]);
    let Phone { engine, .. } = vera;
    engine.distrust_memory();
    engine.sweep().unwrap();
    assert_eq!(vera.texts(), ["kept"], "nor after a restart");
}

/// Its relay is right: the phone is not shut out, is told to look at its date, and has everything once that is right.
#[test]
fn a_phone_whose_clock_stands_in_1970_is_shut_out_of_nothing() {
    let mut phones = group(30);
    phones[1].engine.record(draft("over")).unwrap();
    meet(&mut phones[..2]);
    phones[1].at(31);
    phones[1].engine.sweep().unwrap();
    phones[1].engine.record(draft("of today")).unwrap();
    let [_, vic, vera] = &mut phones;
    vera.clock.store(9 * DAY_MS, Ordering::Relaxed);
    vera.hears(31);
    let report = vera.engine.receive(entries(&vic.engine, &vera.engine), None).unwrap();
    assert_eq!((report.warnings, vera.texts()), (vec![], vec!["of today".to_owned()]));
    let warned = vera.engine.retry_withheld().unwrap();
    let [warning @ Warning::WithoutWords { .. }] = &warned[..] else { panic!("{warned:?}") };
    assert!(warning.to_string().contains("Check the date"), "{warning}");
    vera.engine.sweep().unwrap();
    assert_eq!(vera.texts(), ["of today"]);
    vera.believes(31);
    assert_eq!(vera.engine.retry_withheld().unwrap(), []);
    assert_eq!(vera.engine.withheld().unwrap(), None);
}

#[test]
fn a_relay_that_begins_a_new_life_is_told_of_and_what_it_had_vouched_for_is_kept() {
    let Town { mut carla, mut vic, .. } = town();
    let (mut report, first, second) = (SyncReport::default(), Incarnation([1; 16]), Incarnation([2; 16]));
    vic.carry_out(Effect::NewLife(RELAY, first), &mut report).unwrap();
    assert_eq!(report.store_lost, None, "the first life is no loss");
    let id = vic.record(draft("acknowledged")).unwrap();
    hand(&carla, &mut vic);
    delivery::acknowledge(&mut vic, first);
    let vouched = vic.relay_memory().receipted;
    assert!(vouched.is_some() && vic.delivery(id) == Delivery::AtRelay);

    vic.carry_out(Effect::NewLife(RELAY, second), &mut report).unwrap();
    let lost = report.store_lost.clone().unwrap();
    assert_eq!((lost.relay, lost.incarnation, lost.receipted, lost.agreed), (RELAY, first, vouched, false));
    assert!(lost.acknowledged > 0 && lost.lacking.is_none());
    assert_eq!(vic.delivery(id), Delivery::OnPhone, "what was acknowledged is lacking, and seen to be");
    vic.carry_out(Effect::Offer { heads: Vec::new(), whole: true }, &mut report).unwrap();
    let lacking = report.store_lost.clone().unwrap().lacking.unwrap();
    assert!(lacking >= lost.acknowledged, "{lacking}");
    let told = vic.relay_memory().earlier;
    assert_eq!(told, [EarlierLife { lacking: Some(lacking), ..lost.clone() }]);
    vic.distrust_memory();
    assert_eq!(vic.plan(false, Budget::UNLIMITED).unwrap().checkpoint, None);
    assert_eq!(vic.relay_memory().earlier, told, "on disk");

    // Nobody is alarmed by what people have agreed on; it is on record too.
    vic.trust_new_relay().unwrap();
    let mut after = SyncReport::default();
    vic.carry_out(Effect::NewLife(RelayId([9; 32]), Incarnation([3; 16])), &mut after).unwrap();
    assert_eq!(after.store_lost, None);
    let lives = vic.relay_memory().earlier;
    assert!(matches!(&lives[..], [_, last] if last.agreed && last.incarnation == second), "{lives:?}");
    for n in 4..40 {
        vic.relay_has_served().unwrap();
        vic.carry_out(Effect::NewLife(RelayId([9; 32]), Incarnation([n; 16])), &mut after).unwrap();
    }
    let lives = vic.relay_memory().earlier;
    assert_eq!((lives.len(), lives[15].incarnation), (16, Incarnation([38; 16])));
    assert!(hand(&vic, &mut carla).warnings.is_empty());
}

#[test]
fn who_claims_the_year_2100_comes_first_in_no_list() {
    let mut phones = group(90);
    let [carla, vic, vera] = &mut phones;
    vic.believes(YEARS);
    let claimed = vic.engine.record(draft("from the year 2100")).unwrap();
    vera.engine.receive(entries(&vic.engine, &vera.engine), None).unwrap();
    carla.believes(1);
    carla.engine.record(draft("of the next day")).unwrap();
    vera.believes(1);
    vera.engine.receive(entries(&carla.engine, &vera.engine), None).unwrap();
    vera.believes(2);
    let own = vera.engine.record(draft("of today")).unwrap();
    let in_order = ["of today", "of the next day", "from the year 2100"];
    assert_eq!(texts(&vera.engine, Kind::OBSERVATION), in_order);
    let found = |engine: &mut Engine, sort| {
        let query = Query { kind: Some(Kind::OBSERVATION), sort, ..Query::default() };
        let rows = engine.find(&query).unwrap().rows;
        rows.into_iter().map(|(row, _)| row.text).collect::<Vec<_>>()
    };
    assert_eq!(found(&mut vera.engine, Sort::LatestChange), in_order);
    // It says so itself, and stays where it is when it is looked at again.
    let row = vera.engine.row(claimed).unwrap().unwrap();
    assert!(row.updated_ms > row.ordered_ms);
    // Remarks about something stand in the order in which they came, too.
    vic.engine.annotate(claimed, "first, they say in 2100", "").unwrap();
    vera.engine.receive(entries(&vic.engine, &vera.engine), None).unwrap();
    vera.believes(3);
    vera.engine.annotate(claimed, "second", "").unwrap();
    let about: Vec<String> =
        vera.engine.get(claimed).unwrap().about.into_iter().map(|row| row.text).collect();
    assert_eq!(about, ["first, they say in 2100", "second"]);
    assert!(vera.engine.row(own).unwrap().is_some());

    // A phone that is years behind, and has a relay that is right, sees what comes above what it had.
    vera.clock.store(9 * DAY_MS, Ordering::Relaxed);
    vera.hears(4);
    carla.believes(4);
    carla.engine.record(draft("of the fourth day")).unwrap();
    vera.engine.receive(entries(&carla.engine, &vera.engine), None).unwrap();
    assert_eq!(texts(&vera.engine, Kind::OBSERVATION)[0], "of the fourth day");
}
