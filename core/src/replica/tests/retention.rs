//! What expires, is held or is shredded: on every phone alike, whoever brings it back and whatever clocks say.

use std::collections::BTreeSet;

use super::*;
use crate::entry::Kind as EntryKind;
use crate::roll::operation::hold_reasons;
use crate::watch::Bulletin;
use crate::watch::content::Keyed;
use crate::watch::language::Said;

pub(super) const DAY_MS: u64 = 86_400_000;
const BEGIN_MS: u64 = 1_780_000_000_000;

/// A clock that a test sets.
struct SetClock(Arc<AtomicU64>);

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) struct Phone {
    pub engine: Engine,
    pub clock: Arc<AtomicU64>,
    store: Arc<MemoryStore>,
    seed: u64,
}

impl Phone {
    fn new(seed: u64) -> Self {
        let (clock, store) = (Arc::new(AtomicU64::new(BEGIN_MS)), Arc::new(MemoryStore::default()));
        let engine = open(seed, &clock, Arc::clone(&store) as Arc<dyn Store>).unwrap();
        Self { engine, clock, store, seed }
    }

    /// The phone's own clock, alone.
    pub fn believes(&self, days: u64) {
        self.clock.store(BEGIN_MS + days * DAY_MS, Ordering::Relaxed);
    }

    /// What a relay signed, alone.
    pub fn hears(&mut self, days: u64) {
        self.engine.heard_time(BEGIN_MS + days * DAY_MS).unwrap();
    }

    pub fn at(&mut self, days: u64) {
        self.believes(days);
        self.hears(days);
    }

    pub fn bodies(&self) -> usize {
        let stored = testing::stored(&self.engine).unwrap();
        stored
            .iter()
            .filter(|row| row.entry.header().kind == EntryKind::SEALED && row.entry.body().is_some())
            .count()
    }

    fn shown(&self) -> BTreeSet<DocumentId> {
        let filter = Filter { kind: Some(Kind::OBSERVATION), ..Filter::default() };
        self.engine.list(&filter).unwrap().into_iter().map(|(row, _)| row.id).collect()
    }

    pub fn texts(&self) -> Vec<String> {
        let mut texts = texts(&self.engine, Kind::OBSERVATION);
        texts.sort();
        texts
    }
}

fn open(seed: u64, clock: &Arc<AtomicU64>, store: Arc<dyn Store>) -> Result<Engine, Error> {
    Engine::open(Environment { clock: Arc::new(SetClock(Arc::clone(clock))), ..environment(seed, store) })
}

/// A coordinator and two volunteers of a group that keeps unlinked reports for so many days.
pub(super) fn group(days: u64) -> [Phone; 3] {
    let mut phones = [1, 2, 3].map(Phone::new);
    let [carla, vic, vera] = &mut phones;
    let group = carla.engine.found().unwrap().group;
    for (newcomer, role) in [(&mut *vic, roles::ROLE_VOLUNTEER), (&mut *vera, roles::ROLE_VOLUNTEER)] {
        let request = newcomer.engine.request(group).unwrap();
        carla.engine.admit(&request, RoleId(role)).unwrap();
    }
    carla.engine.set_policy(settings::UNLINKED_DAYS, days).unwrap();
    let admission = carla.engine.admission().unwrap();
    vic.engine.join(&admission).unwrap();
    vera.engine.join(&admission).unwrap();
    phones
}

/// Another store with the same rows: what a clone of the handle is not.
fn copy(store: &MemoryStore) -> MemoryStore {
    let (copy, mut batch) = (MemoryStore::default(), crate::storage::Batch::default());
    for table in (0..=u8::MAX).map(crate::storage::Table) {
        for (key, value) in store.scan(table, &[], None, usize::MAX).unwrap() {
            batch.put(table, key, value);
        }
    }
    copy.apply(batch).unwrap();
    copy
}

/// Everybody hands everybody everything, twice.
pub(super) fn meet(phones: &mut [Phone]) {
    for _ in 0..2 {
        for to in 0..phones.len() {
            for from in (0..phones.len()).filter(|from| *from != to) {
                let wires = entries(&phones[from].engine, &phones[to].engine);
                phones[to].engine.receive(wires, None).unwrap();
            }
        }
    }
}

#[test]
fn a_report_expires_everywhere_and_its_proof_stays() {
    let mut phones = group(90);
    let id = phones[1].engine.record(draft("a swap at the corner")).unwrap();
    phones[1].believes(10);
    // Later words go with the first.
    phones[1].engine.amend(id, draft("a swap at the corner, twice")).unwrap();
    phones[1].engine.save_draft(id, Kind::OBSERVATION, b"a third time").unwrap();
    meet(&mut phones);
    for phone in &mut phones {
        phone.at(90);
        assert_eq!(phone.engine.sweep().unwrap(), Swept::default());
        assert_eq!(phone.texts(), ["a swap at the corner, twice"]);
        let soon = phone.engine.expiring(7).unwrap();
        assert!(soon.iter().any(|(soon, _)| *soon == id), "{soon:?}");
        let logs = testing::stored(&phone.engine).unwrap().len();
        phone.at(91);
        let swept = phone.engine.sweep().unwrap();
        assert!(swept.documents >= 1 && swept.bodies >= 2, "{swept:?}");
        assert_eq!((phone.texts(), phone.bodies()), (vec![], 0));
        assert!(matches!(phone.engine.get(id), Err(Error::NotHere(_))));
        assert_eq!(phone.engine.drafts().unwrap(), []);
        assert_eq!(testing::stored(&phone.engine).unwrap().len(), logs, "the chain stays");
        assert_eq!(phone.engine.sweep().unwrap(), Swept::default(), "there is nothing left to do");
    }
}

/// A phone that was away brings what is over to one that dropped it, and to one that never saw it.
#[test]
fn a_stale_phone_brings_back_the_proof_alone() {
    let mut phones = group(30);
    let id = phones[1].engine.record(draft("over")).unwrap();
    let met = entries(&phones[1].engine, &phones[0].engine);
    phones[0].engine.receive(met, None).unwrap();
    phones[1].believes(20);
    phones[1].engine.amend(id, draft("over, and amended")).unwrap();
    for at in [0, 2] {
        phones[at].at(31);
        phones[at].engine.sweep().unwrap();
    }
    let stale = entries(&phones[1].engine, &phones[0].engine);
    assert!(phones[1].bodies() > 0, "it has not heard");
    for at in [0, 2] {
        let readable = entries(&phones[1].engine, &phones[at].engine);
        let report = phones[at].engine.receive(readable, None).unwrap();
        assert_eq!((report.warnings, report.set_aside), (vec![], 0));
        assert!(report.kept > 0);
        assert_eq!((phones[at].texts(), phones[at].bodies()), (vec![], 0));
        assert_eq!(phones[at].engine.receive(stale.clone(), None).unwrap().warnings, []);
        assert_eq!(phones[at].bodies(), 0);
    }
}

#[test]
fn a_clock_alone_drops_nothing() {
    let mut phones = group(90);
    phones[1].engine.record(draft("kept")).unwrap();
    meet(&mut phones);
    // One phone believes it is 2090, another hears so from a relay.
    phones[0].believes(23_000);
    phones[0].hears(1);
    phones[1].hears(23_000);
    for phone in &mut phones {
        phone.engine.sweep().unwrap();
        assert_eq!(phone.texts(), ["kept"]);
    }
    // What is written under a wrong clock is taken in all the same.
    phones[0].engine.record(draft("from 2090")).unwrap();
    meet(&mut phones);
    assert!(phones.iter().all(|phone| phone.texts() == ["from 2090", "kept"]));
}

#[test]
fn what_is_linked_or_held_stays_until_the_hold_ends() {
    let mut phones = group(30);
    let linked = phones[1].engine.record(draft("linked")).unwrap();
    let held = phones[1].engine.record(draft("held")).unwrap();
    phones[2].engine.record(draft("neither")).unwrap();
    meet(&mut phones);
    let carla = &mut phones[0].engine;
    let links = [CaseLink { observation: linked, reason: "the same car".into() }];
    carla.link(None, "The car", &links).unwrap();
    carla.hold(&[held], hold_reasons::LEGAL, Some(20_601 + 60)).unwrap();
    assert!(matches!(phones[1].engine.hold(&[held], 1, None), Err(Error::Role(_))));
    meet(&mut phones);
    // Said later, and named by no hold yet: the coordinator's phone sees to that.
    phones[1].engine.amend(linked, draft("linked, and amended")).unwrap();
    meet(&mut phones);
    phones[0].at(10);
    phones[0].engine.sweep().unwrap();
    meet(&mut phones);
    for phone in &mut phones {
        phone.at(31);
        phone.engine.sweep().unwrap();
        assert_eq!(phone.texts(), ["held", "linked, and amended"]);
        let rows = phone.engine.held().unwrap();
        assert!(rows.iter().any(|row| row.documents.contains(&linked) && row.reason == hold_reasons::CASE));
    }
    for phone in &mut phones {
        phone.at(61);
        phone.engine.sweep().unwrap();
        assert_eq!(phone.texts(), ["linked, and amended"], "the other hold had a last day");
    }
    let ends: Vec<_> = phones[0].engine.held().unwrap().iter().map(|row| row.hold).collect();
    phones[0].engine.end_holds(&ends).unwrap();
    assert!(phones[0].engine.end_holds(&ends).is_err());
    meet(&mut phones);
    for phone in &mut phones {
        phone.engine.sweep().unwrap();
        assert_eq!(phone.texts(), [""; 0]);
    }
}

/// What the group agrees on later is about what is written later: no part of a document stays behind the others.
#[test]
fn a_document_goes_as_a_whole_whatever_was_agreed_on_since() {
    let mut phones = group(30);
    let id = phones[0].engine.record(draft("first")).unwrap();
    phones[0].engine.set_policy(settings::UNLINKED_DAYS, 0).unwrap();
    phones[0].engine.amend(id, draft("amended")).unwrap();
    let later = phones[0].engine.record(draft("for good")).unwrap();
    phones[0].at(31);
    phones[0].engine.sweep().unwrap();
    assert_eq!(phones[0].shown(), [later].into());
}

#[test]
fn a_bulletin_leaves_the_front_page_by_its_day_and_the_store_by_retention() {
    let begin = i64::try_from(BEGIN_MS).unwrap();
    let day = i64::try_from(DAY_MS).unwrap();
    let bulletin = |until_day: i64| Bulletin {
        category: "meeting".into(),
        texts: Keyed::from_iter([("en", Said { title: "Meeting".into(), text: "At seven".into() })]),
        issued_ms: begin,
        expires_ms: begin + until_day * day,
        ..Bulletin::default()
    };
    // No policy is needed: nothing lasts for longer than a bulletin may.
    let mut phones = group(0);
    let id = phones[0].engine.create(&bulletin(2)).unwrap();
    let lasts = |bulletin: &mut Bulletin, days: i64| {
        bulletin.expires_ms = bulletin.issued_ms + days * day;
        Ok(())
    };
    phones[0].engine.change(id, |bulletin: &mut Bulletin| lasts(bulletin, 3)).unwrap();
    let later = phones[0].engine.change(id, |bulletin: &mut Bulletin| {
        bulletin.issued_ms += 60 * day;
        lasts(bulletin, 60)
    });
    assert!(
        matches!(later, Err(Error::Invalid(why)) if why.field == "expires_ms"),
        "it would go while it is current"
    );
    meet(&mut phones);
    for (days, is_current, is_here) in
        [(2, true, true), (3, false, true), (90, false, true), (91, false, false)]
    {
        for phone in &mut phones {
            phone.at(days);
            phone.engine.sweep().unwrap();
            assert_eq!(!phone.engine.front_page().unwrap().is_empty(), is_current, "day {days}");
            assert_eq!(phone.engine.row(id).unwrap().is_some(), is_here, "day {days}");
        }
    }
}

/// Expiry takes the photos of a report along; those of a report that is held stay, and go when the hold ends.
#[test]
fn photos_expire_with_their_report() {
    let mut phones = group(30);
    let [carla, vic, vera] = &mut phones;
    let chunks =
        |phone: &Phone| phone.store.scan(crate::storage::Table(30), &[], None, usize::MAX).unwrap().len();
    let id = vic.engine.record(draft("with a photo")).unwrap();
    vic.engine.attach(id, &testing::photo(90, 90, b""), "").unwrap();
    let each = chunks(vic);
    let held = vic.engine.record(draft("held, with a photo")).unwrap();
    let shown = vic.engine.attach(held, &testing::photo(91, 91, b""), "").unwrap();
    assert_eq!(chunks(vic), 2 * each);
    let wires = entries(&vic.engine, &carla.engine);
    carla.engine.receive(wires, None).unwrap();
    carla.engine.hold(&[held], hold_reasons::LEGAL, None).unwrap();
    for phone in [&mut *vera, &mut *vic] {
        let wires = entries(&carla.engine, &phone.engine);
        phone.engine.receive(wires, None).unwrap();
    }
    for phone in [&mut *carla, &mut *vic, &mut *vera] {
        phone.at(31);
        phone.engine.sweep().unwrap();
        assert_eq!(phone.texts(), ["held, with a photo"]);
    }
    assert_eq!(chunks(vic), each);
    vic.engine.media(held, shown).unwrap();
    let ends: Vec<_> = carla.engine.held().unwrap().iter().map(|row| row.hold).collect();
    carla.engine.end_holds(&ends).unwrap();
    let wires = entries(&carla.engine, &vic.engine);
    vic.engine.receive(wires, None).unwrap();
    vic.engine.sweep().unwrap();
    assert_eq!(chunks(vic), 0);
}

#[test]
fn a_shredded_report_is_gone_everywhere_and_is_not_revived() {
    let mut phones = group(0);
    let id = phones[1].engine.record(draft("names a child")).unwrap();
    let other = phones[2].engine.record(draft("stays")).unwrap();
    meet(&mut phones);
    assert!(matches!(phones[1].engine.shred(other), Err(Error::Role(_))), "not one's own");
    // The author's other words, on a phone that has not heard of it.
    let mut stale = open(2, &phones[1].clock, Arc::new(copy(&phones[1].store))).unwrap();
    stale.amend(id, draft("names a child again")).unwrap();
    phones[0].engine.shred(id).unwrap();
    assert_eq!(phones[0].texts(), ["stays"]);
    meet(&mut phones);
    for phone in &mut phones {
        phone.engine.sweep().unwrap();
        assert_eq!(phone.texts(), ["stays"]);
    }
    let late = entries(&stale, &phones[0].engine);
    let report = phones[0].engine.receive(late.clone(), None).unwrap();
    assert_eq!(report.warnings, []);
    assert!(phones[0].engine.set_aside().unwrap().iter().any(|row| row.reason.contains("shredded")));
    phones[2].engine.receive(late, None).unwrap();
    phones[0].engine.sweep().unwrap();
    let wires = entries(&phones[0].engine, &phones[2].engine);
    phones[2].engine.receive(wires, None).unwrap();
    phones[2].engine.sweep().unwrap();
    for at in [0, 2] {
        assert_eq!(phones[at].texts(), ["stays"]);
        // The report that stays, and for coordinators and its author the sealed part.
        assert_eq!(phones[at].bodies(), 2, "of what is shredded no body stays");
    }
}

#[test]
fn the_author_shreds_and_a_newcomer_takes_the_proof_without_the_word() {
    let mut phones = group(0);
    let id = phones[1].engine.record(draft("my own words")).unwrap();
    meet(&mut phones);
    phones[1].engine.shred(id).unwrap();
    meet(&mut phones);
    for phone in &mut phones {
        phone.engine.sweep().unwrap();
        assert_eq!((phone.texts(), phone.bodies()), (vec![], 0));
    }
    let mut late = Phone::new(4);
    let request = late.engine.request(phones[0].engine.group_id().unwrap()).unwrap();
    phones[0].engine.admit(&request, RoleId(roles::ROLE_VOLUNTEER)).unwrap();
    late.engine.join(&phones[0].engine.admission().unwrap()).unwrap();
    let wires = entries(&phones[0].engine, &late.engine);
    let report = late.engine.receive(wires, None).unwrap();
    assert_eq!((report.warnings, report.waiting, report.set_aside), (vec![], 0, 0));
}

/// Killed at each of its writes, a sweep goes on with the next.
#[test]
fn a_sweep_that_is_killed_goes_on() {
    for fault in [FaultAt::BeforeWrite, FaultAt::AfterWrite] {
        for writes in 0..4 {
            let mut phones = group(5);
            let texts: Vec<String> = (0..70).map(|n| format!("report {n}")).collect();
            texts.iter().for_each(|text| _ = phones[1].engine.record(draft(text)).unwrap());
            let phone = &mut phones[1];
            phone.at(6);
            let store = FaultyStore::new(MemoryStore::clone(&phone.store), writes, fault);
            let mut dying = open(phone.seed, &phone.clock, Arc::new(store)).unwrap();
            let died = dying.sweep().is_err();
            drop(dying);
            let mut again =
                open(phone.seed, &phone.clock, Arc::clone(&phone.store) as Arc<dyn Store>).unwrap();
            again.sweep().unwrap();
            let rows = again.list(&Filter { all_kinds: true, ..Filter::default() }).unwrap();
            assert_eq!(rows, [], "{fault:?} at write {writes}, which failed: {died}");
            let stored = testing::stored(&again).unwrap();
            assert!(
                stored
                    .iter()
                    .all(|row| row.entry.header().kind != EntryKind::SEALED || row.entry.body().is_none())
            );
            assert!(died || writes == 3, "{fault:?} at write {writes}");
        }
    }
}

/// What somebody does in a generated history.
#[derive(Clone, Copy, Debug)]
struct Step {
    who: usize,
    what: u8,
    days: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happened and whatever clocks said meanwhile: once all have met and a relay and their own clocks agree that it
    /// is the last day, all show the same, which is what somebody holds; nobody drops before either clock says so.
    #[test]
    fn all_phones_end_alike(
        steps in proptest::collection::vec(
            (0..3_usize, 0..12_u8, 0..60_u64).prop_map(|(who, what, days)| Step { who, what, days }),
            0..30,
        ),
    ) {
        let mut phones = group(20);
        let mut reports: Vec<(DocumentId, u64)> = Vec::new();
        let mut held = BTreeSet::new();
        let mut shredded = BTreeSet::new();
        for (at, Step { who, what, days }) in steps.into_iter().enumerate() {
            let picked = reports.get(usize::try_from(days).unwrap() % reports.len().max(1)).copied();
            match what {
                0..=2 => {
                    // Written by a clock that is right enough: a later day only keeps it for longer.
                    phones[who].believes(days % 10);
                    let id = phones[who].engine.record(draft(&format!("report {at}"))).unwrap();
                    reports.push((id, days % 10 + 20));
                }
                3 => phones[who].believes(days * 500),
                4 => phones[who].hears(days % 20),
                5 => _ = phones[who].engine.sweep().unwrap(),
                6 => {
                    let wires = entries(&phones[(who + 1) % 3].engine, &phones[who].engine);
                    phones[who].engine.receive(wires, None).unwrap();
                }
                7 | 8 => if let Some((id, _)) = picked
                    && phones[0].engine.row(id).unwrap().is_some()
                {
                    phones[0].engine.hold(&[id], 1, None).unwrap();
                    held.insert(id);
                },
                9 => if let Some((id, _)) = picked
                    && phones[who].engine.row(id).unwrap().is_some_and(|row| row.author == phones[who].engine.member_id())
                    && !held.contains(&id)
                    && phones[who].engine.shred(id).is_ok()
                {
                    shredded.insert(id);
                },
                _ => if let Some((id, _)) = picked
                    && phones[who].engine.row(id).unwrap().is_some_and(|row| row.author == phones[who].engine.member_id())
                {
                    phones[who].engine.amend(id, draft(&format!("amended {at}"))).unwrap();
                },
            }
        }
        meet(&mut phones);
        // Nothing that was not shredded has gone: no relay has signed a day on which anything ended.
        for phone in &mut phones {
            phone.engine.sweep().unwrap();
            let here = phone.shown();
            for (id, _) in &reports {
                prop_assert!(here.contains(id) || shredded.contains(id));
            }
        }
        phones.iter_mut().for_each(|phone| phone.at(60_000));
        for _ in 0..2 {
            phones.iter_mut().for_each(|phone| _ = phone.engine.sweep().unwrap());
            meet(&mut phones);
        }
        // What was dropped before its hold was heard of stays dropped: such a document alone may differ.
        let disputed: BTreeSet<DocumentId> = held.intersection(&shredded).copied().collect();
        let expected: BTreeSet<DocumentId> = held.difference(&shredded).copied().collect();
        for phone in &phones {
            let shown: BTreeSet<DocumentId> = phone.shown().difference(&disputed).copied().collect();
            prop_assert_eq!(&shown, &expected);
        }
    }
}
