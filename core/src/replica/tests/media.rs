//! Photos: attached, on disk, carried, shown, handed over; and what a killed or full disk leaves of them.

use std::collections::BTreeSet;

use super::*;
use crate::replica::testing::photo;
use crate::storage::StoreError;
use crate::sync::frame::Refusal;
use crate::watch::Content;
use crate::watch::media::strip;

const MARKER: &[u8] = b"PLANTED-40.7484N";

fn camera() -> Vec<u8> {
    photo(200, 200, MARKER)
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// Every value on a device's disk.
fn disk_of(engine: &Engine) -> Vec<Vec<u8>> {
    (0..=u8::MAX)
        .flat_map(|table| engine.store.scan(crate::storage::Table(table), &[], None, usize::MAX).unwrap())
        .flat_map(|(key, value)| [key, value])
        .collect()
}

/// As a relay would carry them: every chunk that `to` asks for and `from` has.
fn carry(from: &Engine, to: &mut Engine) -> usize {
    let load = to.chunks_to_carry(0, 0).unwrap();
    let mut carried = 0;
    for row in load.down {
        if let Some(ciphertext) = from.chunk(row.chunk).unwrap() {
            to.keep_chunk(row.key, row.chunk, &ciphertext).unwrap();
            carried += 1;
        }
    }
    carried
}

fn states(engine: &mut Engine, id: DocumentId) -> Vec<(bool, MediumState)> {
    engine.get(id).unwrap().media.into_iter().map(|row| (row.is_original, row.state)).collect()
}

#[test]
fn a_photo_of_a_draft_comes_along_and_shows_what_its_reader_may_see() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let id = vic.new_draft(Kind::OBSERVATION);
    vic.save_draft(id, Kind::OBSERVATION, b"typing").unwrap();
    let shown = vic.attach(id, &camera(), "The van, from behind").unwrap();
    assert_eq!(vic.attached(id).unwrap().len(), 1);
    assert!(!holds(&vic.media(id, shown.clone()).unwrap(), MARKER));
    vic.record_from_draft(id, draft("A van stood there")).unwrap();
    assert!(vic.attached(id).unwrap().is_empty());
    assert_eq!(states(&mut vic, id), [(false, MediumState::Here), (true, MediumState::Here)]);

    // The words are enough to list it; its photo is named as on its way.
    hand(&vic, &mut vera);
    hand(&vic, &mut carla);
    assert_eq!(states(&mut vera, id), [(false, MediumState::Coming)]);
    assert!(
        matches!(vera.media(id, shown.clone()), Err(Error::PhotoNotHere { missing, parts }) if missing == parts)
    );
    assert!(carry(&vic, &mut vera) > 0);
    assert_eq!(vera.media(id, shown.clone()).unwrap(), vic.media(id, shown.clone()).unwrap());
    assert_eq!(carry(&vic, &mut vera), 0, "what is here is not asked for again");

    // The original is for coordinators, and comes when one asks.
    carry(&vic, &mut carla);
    assert_eq!(states(&mut carla, id), [(false, MediumState::Here), (true, MediumState::Missing)]);
    carla.fetch_media(id).unwrap();
    assert_eq!(states(&mut carla, id)[1].1, MediumState::Coming);
    assert!(carry(&vic, &mut carla) > 0);
    let original = carla.get(id).unwrap().media[1].id.clone();
    assert_eq!(carla.media(id, original).unwrap(), camera());
    for engine in [&vic, &vera, &carla] {
        assert!(disk_of(engine).iter().all(|bytes| !holds(bytes, MARKER)), "sealed on disk");
    }
}

#[test]
fn a_report_is_not_at_the_relay_before_its_photo_is() {
    let Town { mut vic, .. } = town();
    let id = vic.record(draft("A van stood there")).unwrap();
    vic.attach(id, &camera(), "").unwrap();
    vic.acknowledge_all();
    vic.fresh().unwrap();
    assert_eq!(vic.delivery(id), Delivery::OnPhone);
    let up = vic.chunks_to_carry(0, 0).unwrap().up;
    let (last, others) = up.split_last().unwrap();
    vic.mark_chunks_kept(&others.iter().map(|row| row.key).collect::<Vec<_>>()).unwrap();
    assert_eq!(vic.delivery(id), Delivery::OnPhone);
    // The app is killed, and knows it still.
    let mut vic = Engine::open(environment(2, Arc::clone(&vic.store))).unwrap();
    assert_eq!(vic.delivery(id), Delivery::OnPhone);
    vic.mark_chunks_kept(&[last.key]).unwrap();
    assert_eq!(vic.delivery(id), Delivery::AtRelay);
    // A relay that lost its store is offered all of it again.
    vic.new_relay_life(RelayId([9; 32]), Incarnation([9; 16])).unwrap();
    assert_eq!(vic.chunks_to_carry(0, 0).unwrap().up, [], "the words go first");
    vic.acknowledge_all();
    assert_eq!(vic.chunks_to_carry(0, 0).unwrap().up.len(), up.len());
    assert_eq!(vic.delivery(id), Delivery::OnPhone);
}

#[test]
fn where_bytes_cost_money_nothing_comes_that_nobody_asked_for() {
    let Town { mut vic, mut vera, .. } = town();
    vera.set_media_policy(MediaPolicy::OnDemand).unwrap();
    let id = vic.record(draft("A van stood there")).unwrap();
    let shown = vic.attach(id, &camera(), "").unwrap();
    hand(&vic, &mut vera);
    assert_eq!(states(&mut vera, id), [(false, MediumState::Missing)]);
    assert_eq!(carry(&vic, &mut vera), 0);
    vera.fetch_media(id).unwrap();
    assert!(carry(&vic, &mut vera) > 0);
    assert!(vera.media(id, shown).is_ok());
}

#[test]
fn a_photo_leaves_only_when_chosen_and_under_another_key() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let id = vic.record(draft("A van stood there")).unwrap();
    let shown = vic.attach(id, &camera(), "my own car in front").unwrap();
    hand(&vic, &mut carla);
    let recipient = Some(liaison.member_id());
    let plan = |media: &[&String]| ReleasePlan {
        title: "A van".into(),
        purpose: "to look at".into(),
        recipient,
        expires_ms: None,
        observations: vec![(
            id,
            Redaction { media: media.iter().map(|id| (*id).clone()).collect(), ..Redaction::default() },
        )],
    };
    let without = plan(&[]);
    let with = plan(&[&shown]);
    assert!(matches!(carla.release(&with), Err(Error::PhotoNotHere { .. })), "it has to be looked at first");
    carry(&vic, &mut carla);
    let without = carla.release(&without).unwrap();
    let with = carla.release(&with).unwrap();
    hand(&carla, &mut liaison);
    assert!(liaison.get(without).unwrap().media.is_empty());
    assert_eq!(carry(&vic, &mut liaison), 0, "the group's chunks are of no use to the liaison");
    assert!(carry(&carla, &mut liaison) > 0);
    let detail = liaison.get(with).unwrap();
    let [row] = detail.media.as_slice() else { panic!("{:?}", detail.media) };
    assert_eq!((row.caption.as_str(), row.state), ("", MediumState::Here));
    // Drawn once more: the same picture, and no byte that an author's app could have put beside it.
    let given = liaison.media(with, row.id.clone()).unwrap();
    assert_eq!(strip(&carla.media(id, shown.clone()).unwrap()).unwrap().bytes, given);
    let Content::Release(release) = detail.content else { panic!() };
    let original = crate::base::hash::sha256(&camera()).to_string();
    assert!(!format!("{release:?}").contains(&original), "nor the hash of the original");
    let foreign = Redaction { media: ["00".repeat(32)].into(), ..Redaction::default() };
    let plan = ReleasePlan { observations: vec![(id, foreign)], ..plan(&[]) };
    assert!(matches!(carla.release(&plan), Err(Error::Invalid(why)) if why.field == "media"));
}

/// What an app that is not this one names as a clean copy may be the photo as it was taken.
#[test]
fn an_original_that_an_author_passes_off_as_clean_does_not_leave() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let id = vic.record(draft("A van stood there")).unwrap();
    vic.attach(id, &camera(), "").unwrap();
    let Content::Observation(_, Some(sealed)) = vic.get(id).unwrap().content else { panic!() };
    let mut forged = draft("The same van");
    forged.observation.media = sealed.originals;
    let original = forged.observation.media[0].id.clone();
    let forged = vic.record(forged).unwrap();
    hand(&vic, &mut carla);
    carry(&vic, &mut carla);
    assert_eq!(
        carla.media(forged, original.clone()).unwrap(),
        camera(),
        "control: it is what the camera took"
    );
    let redaction = Redaction { media: [original].into(), ..Redaction::default() };
    let plan = ReleasePlan {
        title: "A van".into(),
        purpose: "to look at".into(),
        recipient: Some(liaison.member_id()),
        expires_ms: None,
        observations: vec![(forged, redaction)],
    };
    let release = carla.release(&plan).unwrap();
    hand(&carla, &mut liaison);
    carry(&carla, &mut liaison);
    let given = liaison.get(release).unwrap().media.remove(0);
    assert_eq!(given.media_type, "image/jpeg");
    assert!(!holds(&liaison.media(release, given.id).unwrap(), MARKER));
}

#[test]
fn a_photo_that_cannot_be_read_is_told_of_and_keeps_the_plan_back() {
    let Town { mut carla, mut vic, liaison, .. } = town();
    // An app that is not this one may attach anything.
    let key = crate::entry::keys::Secret([7; 32]);
    let (manifest, chunks) = crate::entry::chunk::seal_file(key, b"no photo", "image/jpeg", None).unwrap();
    let broken = manifest.hash.to_string();
    let medium = crate::watch::Medium {
        id: broken.clone(),
        manifest: data_encoding::HEXLOWER.encode(&manifest.to_bytes()),
        caption: String::new(),
    };
    let mut observation = draft("A van stood there").observation;
    observation.media.push(medium);
    let forged = vic.record(ObservationDraft { observation, sealed: None }).unwrap();
    hand(&vic, &mut carla);
    let mut batch = crate::storage::Batch::default();
    carla.put_chunks(&mut batch, &chunks);
    carla.store.apply(batch).unwrap();
    let redaction = Redaction { media: [broken].into(), ..Redaction::default() };
    let plan = ReleasePlan {
        title: "A van".into(),
        purpose: "to look at".into(),
        recipient: Some(liaison.member_id()),
        expires_ms: None,
        observations: vec![(forged, redaction)],
    };
    let planned = carla.schedule(None, &plan, &LeavesWhen::default()).unwrap();
    assert_eq!(carla.release_due().unwrap(), []);
    let told = carla.scheduled().unwrap().remove(0).waits_for;
    assert!(matches!(&told[..], [WaitsFor::Change(why)] if why.starts_with("photo")), "{told:?}");
    let without = ReleasePlan { observations: vec![(forged, Redaction::default())], ..plan };
    carla.schedule(Some(planned), &without, &LeavesWhen::default()).unwrap();
    assert_eq!(carla.scheduled().unwrap()[0].waits_for, []);
    assert_eq!(carla.release_due().unwrap().len(), 1);
}

/// A plan that leaves later takes along what was chosen, clean, and nothing else; what is not here yet it waits for.
#[test]
fn a_planned_release_takes_the_chosen_photo_alone() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let id = vic.record(draft("A van stood there")).unwrap();
    let shown = vic.attach(id, &camera(), "my own car in front").unwrap();
    let kept_back = vic.attach(id, &photo(90, 90, MARKER), "").unwrap();
    hand(&vic, &mut carla);
    let redaction = Redaction { media: [shown.clone()].into(), ..Redaction::default() };
    let plan = ReleasePlan {
        title: "A van".into(),
        purpose: "to look at".into(),
        recipient: Some(liaison.member_id()),
        expires_ms: None,
        observations: vec![(id, redaction)],
    };
    carla.schedule(None, &plan, &LeavesWhen::default()).unwrap();
    assert!(matches!(carla.scheduled().unwrap()[0].waits_for.as_slice(), [WaitsFor::Change(_)]));
    assert_eq!(carla.release_due().unwrap(), [], "its photo has not arrived");
    carry(&vic, &mut carla);
    let [release] = carla.release_due().unwrap()[..] else { panic!("it leaves") };
    hand(&carla, &mut liaison);
    carry(&carla, &mut liaison);
    let [row] = &liaison.get(release).unwrap().media[..] else { panic!("one photo") };
    let chosen = strip(&carla.media(id, shown).unwrap()).unwrap().bytes;
    let other = carla.media(id, kept_back).unwrap();
    assert_eq!(liaison.media(release, row.id.clone()).unwrap(), chosen);
    assert!(chosen != other && chosen != strip(&other).unwrap().bytes);
    // Of the group's files the liaison's phone has neither a chunk nor a name.
    assert_eq!(engine_chunks(&liaison), engine_chunks_of(&liaison, release));
    assert!(disk_of(&liaison).iter().all(|bytes| !holds(bytes, MARKER)));
}

#[test]
fn what_is_no_photo_is_refused_and_changes_nothing() {
    let Town { mut vic, mut vera, .. } = town();
    let id = vic.record(draft("A van stood there")).unwrap();
    let before = disk_of(&vic);
    assert!(matches!(vic.attach(id, b"%PDF-1.7", ""), Err(Error::Invalid(why)) if why.field == "photo"));
    assert_eq!(disk_of(&vic), before);
    hand(&vic, &mut vera);
    assert!(matches!(vera.attach(id, &camera(), ""), Err(Error::Role(_))));
}

#[test]
fn a_discarded_draft_takes_its_photos_along() {
    let Town { mut vic, .. } = town();
    let id = vic.new_draft(Kind::OBSERVATION);
    let before = disk_of(&vic);
    let first = vic.attach(id, &camera(), "").unwrap();
    vic.detach(id, first).unwrap();
    vic.attach(id, &camera(), "").unwrap();
    vic.discard_draft(id).unwrap();
    assert_eq!(disk_of(&vic), before);
}

#[test]
fn what_was_recorded_alone_comes_along_with_its_photo() {
    let (mut carla, mut vic) = (engine(1), engine(2));
    let id = vic.new_draft(Kind::OBSERVATION);
    let shown = vic.attach(id, &camera(), "").unwrap();
    vic.record_from_draft(id, draft("A van stood there")).unwrap();
    carla.found().unwrap();
    carla.admit(&vic.request(carla.group_id().unwrap()).unwrap(), RoleId(roles::ROLE_VOLUNTEER)).unwrap();
    vic.join(&Admission::from_bytes(&carla.admission().unwrap().to_bytes()).unwrap()).unwrap();
    vic.carry_out(Effect::CaughtUp, &mut SyncReport::default()).unwrap();
    let (row, delivery) = vic.list(&Filter::default()).unwrap().remove(0);
    assert_eq!(delivery, Delivery::OnPhone);
    hand(&vic, &mut carla);
    carry(&vic, &mut carla);
    assert_eq!(carla.media(row.id, shown.clone()).unwrap(), vic.media(row.id, shown).unwrap());
}

/// A write that fails, before or after it reached the disk, leaves the whole photo or none, and the text in any case.
#[test]
fn a_disk_that_fails_at_any_write_leaves_no_half_of_a_photo() {
    for fault in [FaultAt::BeforeWrite, FaultAt::AfterWrite] {
        // The first write makes the device.
        for writes in 1..=5 {
            let faulty = Arc::new(FaultyStore::new(MemoryStore::default(), writes, fault));
            let mut vic = Engine::open(environment(2, faulty.clone())).unwrap();
            let id = vic.new_draft(Kind::OBSERVATION);
            let _ = vic.save_draft(id, Kind::OBSERVATION, b"typing");
            let attached = vic.attach(id, &camera(), "");
            if writes == 2 {
                let why = attached.as_ref().unwrap_err();
                assert!(matches!(why, Error::Store(StoreError::DiskFull)), "{why:?}");
                assert_eq!(why.fault(), Fault::Device);
            }
            let _ = vic.record_from_draft(id, draft("A van stood there"));
            drop(vic);
            let memory = Arc::into_inner(faulty).unwrap().into_inner();
            let mut vic = Engine::open(environment(2, Arc::new(memory))).unwrap();
            let (rows, filed) = (vic.attached(id).unwrap(), vic.row(id).unwrap().is_some());
            assert!(writes < 2 || filed || vic.draft(id).unwrap().is_some(), "the text is there");
            assert!(writes < 5 || filed, "control: without a fault it is filed");
            let shown: Vec<MediumRow> = if filed { vic.get(id).unwrap().media } else { rows };
            assert!(attached.is_err() || !shown.is_empty(), "what was said to be kept is");
            for row in shown {
                assert_eq!(row.state, MediumState::Here);
                vic.media(id, row.id).unwrap();
            }
        }
    }
}

#[test]
fn a_refused_chunk_stays_in_the_list() {
    let Town { mut vic, .. } = town();
    let id = vic.record(draft("A van stood there")).unwrap();
    vic.attach(id, &camera(), "").unwrap();
    let before = vic.chunks_to_carry(0, 0).unwrap();
    let mut report = SyncReport::default();
    let why = crate::sync::frame::Refused::new(Refusal::QUOTA, "full");
    vic.carry_out(Effect::ChunkRefused(why), &mut report).unwrap();
    assert_eq!(report.postponed, ["full"]);
    assert_eq!(vic.chunks_to_carry(0, 0).unwrap(), before);
}

/// Everything of a photo that lies on a disk: rows of chunks, of files, of what is to be carried.
fn rows_of_photos(engine: &Engine) -> usize {
    let rows = |table| engine.store.scan(crate::storage::Table(table), &[], None, usize::MAX).unwrap().len();
    (30..=35).map(rows).sum()
}

/// How many chunks a document names.
fn engine_chunks_of(engine: &Engine, id: DocumentId) -> usize {
    engine.store.scan(crate::storage::Table(35), id.as_bytes(), None, usize::MAX).unwrap().len()
}

fn engine_chunks(engine: &Engine) -> usize {
    engine.store.scan(crate::storage::Table(30), &[], None, usize::MAX).unwrap().len()
}

#[test]
fn a_shredded_report_takes_its_photos_along_on_every_phone() {
    let Town { mut carla, mut vic, mut vera, mut liaison, .. } = town();
    let id = vic.record(draft("A van stood there")).unwrap();
    let shown = vic.attach(id, &camera(), "").unwrap();
    // On its way out, on its way in, here, and here with the original.
    hand(&vic, &mut vera);
    hand(&vic, &mut carla);
    carry(&vic, &mut carla);
    carla.fetch_media(id).unwrap();
    carry(&vic, &mut carla);
    let redaction = Redaction { media: [shown].into(), ..Redaction::default() };
    let plan = ReleasePlan {
        title: "A van".into(),
        purpose: "to look at".into(),
        recipient: Some(liaison.member_id()),
        expires_ms: None,
        observations: vec![(id, redaction)],
    };
    let release = carla.release(&plan).unwrap();
    hand(&carla, &mut liaison);
    carry(&carla, &mut liaison);
    let holds: Vec<_> = carla.held().unwrap().into_iter().map(|row| row.hold).collect();
    assert_eq!(holds, [], "without a last day nothing has to be held");
    // A copy of the same list in somebody else's report is no reason to lose, nor to keep, what others need.
    let of_the_first = rows_of_photos(&vera);
    let stays = vera.record(draft("Another van")).unwrap();
    let kept = vera.attach(stays, &camera(), "").unwrap();
    let own_rows = rows_of_photos(&vera);
    hand(&vera, &mut carla);
    carry(&vera, &mut carla);

    carla.shred(id).unwrap();
    for phone in [&mut vic, &mut vera] {
        hand(&carla, phone);
        phone.sweep().unwrap();
    }
    // Of the other report's photo there is its name, and that it is to come.
    let chunks = engine_chunks(&vic);
    assert_eq!((chunks, rows_of_photos(&vic)), (0, 1 + 2 * vic.chunks_to_carry(0, 0).unwrap().down.len()));
    assert_eq!(rows_of_photos(&vera), own_rows - of_the_first);
    assert_eq!(vera.media(stays, kept.clone()).unwrap(), carla.media(stays, kept).unwrap());
    assert_eq!(vic.chunks_to_carry(0, 0).unwrap().up, []);
    assert_eq!(carry(&vic, &mut vera), 0, "nothing is asked for any more");
    // What was handed over is another file, and goes with the release.
    let given = liaison.get(release).unwrap().media[0].id.clone();
    assert!(liaison.media(release, given).is_ok());
    carla.shred(release).unwrap();
    hand(&carla, &mut liaison);
    liaison.sweep().unwrap();
    assert_eq!(rows_of_photos(&liaison), 0);
}

/// Who reads a report knows the names of its chunks, and may put them into a report of their own.
#[test]
fn who_names_anothers_chunks_takes_nothing_along() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let id = vic.record(draft("A van stood there")).unwrap();
    let shown = vic.attach(id, &camera(), "").unwrap();
    hand(&vic, &mut vera);
    let Content::Observation(seen, _) = vera.get(id).unwrap().content else { panic!() };
    let mut copied = draft("The same van");
    copied.observation.media = seen.media;
    let copy = vera.record(copied).unwrap();
    hand(&vera, &mut carla);
    hand(&vic, &mut carla);
    carry(&vic, &mut carla);
    vera.shred(copy).unwrap();
    hand(&vera, &mut carla);
    carla.sweep().unwrap();
    assert!(carla.row(copy).unwrap().is_none());
    assert!(carla.media(id, shown).is_ok());
}

/// The relay keeps a chunk under an entry: as long as it lacks the words, their photo waits, and no other does.
#[test]
fn a_photo_waits_for_its_words_alone() {
    let Town { mut vic, .. } = town();
    let id = vic.record(draft("A van stood there")).unwrap();
    vic.attach(id, &camera(), "").unwrap();
    assert_eq!(vic.chunks_to_carry(0, 0).unwrap().up, []);
    vic.acknowledge_all();
    let up = vic.chunks_to_carry(0, 0).unwrap().up;
    let puts: Vec<_> = up.iter().map(|row| vic.chunk_to_put(row.key, row.chunk).unwrap().unwrap()).collect();
    let compartments: BTreeSet<u8> = puts
        .into_iter()
        .map(|put| Wire { signed: put.entry, body: None })
        .map(|wire| crate::entry::Received::parse(wire).unwrap().header().compartment.0)
        .collect();
    assert_eq!(
        compartments,
        [2, 3].into(),
        "the clean copy with the report, the original with its sealed part"
    );
    let later = vic.record(draft("Another van")).unwrap();
    vic.attach(later, &photo(90, 90, b""), "").unwrap();
    assert_eq!(vic.chunks_to_carry(0, 0).unwrap().up, up);
}
