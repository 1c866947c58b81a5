//! The expirer: a member whose program gives a last day to what others rest on, or another one than it has.

use super::testing::{expiring_roll_entry, new_id, write_until};
use super::*;
use crate::entry::Kind as EntryKind;
use crate::roll::Operation;
use crate::roll::operation::Policy;
use crate::watch::content::Keyed;
use crate::watch::language::Said;
use crate::watch::{Bulletin, Meeting, WatchDocument};

const DAY_MS: u64 = 86_400_000;
const BEGIN_MS: u64 = 1_780_000_000_000;

fn today() -> u32 {
    u32::try_from(BEGIN_MS / DAY_MS).unwrap()
}

fn bulletin(text: &str) -> Bulletin {
    let issued_ms = i64::try_from(BEGIN_MS).unwrap();
    Bulletin {
        category: "meeting".into(),
        texts: Keyed::from_iter([("en", Said { title: "Meeting".into(), text: text.into() })]),
        issued_ms,
        expires_ms: issued_ms + i64::try_from(20 * DAY_MS).unwrap(),
        ..Bulletin::default()
    }
}

fn meeting(minutes: &str) -> Meeting {
    Meeting {
        title: "Meeting".into(),
        minutes: minutes.into(),
        starts_ms: i64::try_from(BEGIN_MS).unwrap(),
        ..Meeting::default()
    }
}

/// Everything `from` holds that `to` may read, as a relay hands it out on a day: without the bodies that are over by then.
fn swept(from: &Engine, to: &Engine, day: u32) -> Vec<Wire> {
    let is_over = |wire: &Wire| {
        let entry = crate::entry::Received::parse(wire.clone()).unwrap();
        entry.header().expiry_day.is_some_and(|last| last < day)
    };
    let wires = entries(from, to).into_iter();
    wires.map(|wire| if is_over(&wire) { Wire { body: None, ..wire } } else { wire }).collect()
}

/// A volunteer who joins when nothing is left of what is over on that day.
fn newcomer(carla: &mut Engine, day: u32) -> Engine {
    let mut newcomer = joined(carla, 9, roles::ROLE_VOLUNTEER);
    newcomer.heard_time(u64::from(day) * DAY_MS).unwrap();
    for wires in swept(carla, &newcomer, day).chunks(7) {
        newcomer.receive(wires.to_vec(), None).unwrap();
    }
    newcomer
}

#[test]
fn an_entry_of_the_roll_that_expires_is_taken_by_nobody() {
    let Town { carla, mut vic, .. } = town();
    let policy = cbor::encode(&Operation::Policy(Policy { settings: [(90, 1)].into() }));
    for (kind, body) in [(EntryKind(4), b"of a later version".to_vec()), (EntryKind::OPERATION, policy)] {
        for day in [today() - 1, today(), today() + 1_000] {
            let whole = expiring_roll_entry(&carla, kind, &body, day).unwrap();
            let bare = Wire { body: None, ..whole.clone() };
            let before = vic.roster().unwrap();
            for wire in [whole, bare] {
                let report = vic.receive(vec![wire], None).unwrap();
                assert!(report.is_spoilt(), "an honest relay never handed it out");
                assert_eq!((report.kept, report.set_aside, report.waiting), (0, 0, 0));
            }
            assert_eq!(vic.roster().unwrap(), before);
        }
    }
}

#[test]
fn minutes_that_somebody_let_expire_take_nobody_elses_words_along() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    // A liaison begins minutes that go tomorrow, and everybody has them today.
    let id = new_id(&mut liaison, Kind::MEETING);
    write_until(&mut liaison, id, &meeting("begun"), Some(today())).unwrap();
    hand(&liaison, &mut carla);
    hand(&liaison, &mut vic);
    // A coordinator goes on with what she has.
    let going_on = carla.change(id, |meeting: &mut Meeting| {
        meeting.minutes = "what was agreed".into();
        Ok(())
    });
    if going_on.is_err() {
        carla.create(&meeting("what was agreed")).unwrap();
    }
    hand(&carla, &mut vic);
    let told = |engine: &mut Engine| {
        let mut minutes: Vec<_> =
            engine.all::<Meeting>().unwrap().into_iter().map(|it| it.content.minutes).collect();
        minutes.sort();
        minutes
    };
    assert_eq!(told(&mut vic), ["what was agreed"]);
    let mut late = newcomer(&mut carla, today() + 2);
    assert_eq!(told(&mut late), ["what was agreed"]);
}

/// What a phone says of a bulletin: its text, and how many entries have no effect.
fn view(engine: &mut Engine) -> (Vec<String>, usize) {
    let texts = engine.all::<Bulletin>().unwrap().into_iter();
    let texts = texts.map(|it| it.content.texts.get("en").map(|said| said.text.clone()).unwrap_or_default());
    (texts.collect(), engine.set_aside().unwrap().len())
}

#[test]
fn a_later_entry_with_another_last_day_has_no_effect_whatever_came_first() {
    let lasts = today() + 90;
    for day in [None, Some(today()), Some(lasts - 1), Some(lasts + 1)] {
        let Town { mut carla, mut vic, vera, mut liaison } = town();
        let mut zed = joined(&mut carla, 7, roles::ROLE_COORDINATOR);
        let id = carla.create(&bulletin("at seven")).unwrap();
        let founded = entries(&carla, &zed);
        zed.receive(founded.clone(), None).unwrap();
        for other in [&mut vic, &mut liaison] {
            hand(&carla, other);
        }
        write_until(&mut zed, id, &bulletin("at eight"), day).unwrap();
        // The liaison, who has not heard of it, goes on with what was there; and a coordinator with what she has then.
        liaison
            .change(id, |bulletin: &mut Bulletin| {
                *bulletin = self::bulletin("at nine");
                Ok(())
            })
            .unwrap();
        hand(&zed, &mut carla);
        hand(&liaison, &mut carla);
        carla
            .change(id, |bulletin: &mut Bulletin| {
                *bulletin = self::bulletin("at ten");
                Ok(())
            })
            .unwrap();
        let expected = (vec!["at ten".to_owned()], 1);
        assert_eq!(view(&mut carla), expected, "{day:?}");
        // In every order.
        let parts: Vec<Vec<Wire>> = [&zed, &liaison, &carla].map(|from| entries(from, &vic)).into();
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut reader =
                joined(&mut carla, 30 + order[0] as u64 * 3 + order[1] as u64, roles::ROLE_VOLUNTEER);
            for at in order {
                for wires in parts[at].chunks(3) {
                    reader.receive(wires.to_vec(), None).unwrap();
                }
            }
            for at in order {
                reader.receive(parts[at].clone(), None).unwrap();
            }
            assert_eq!(view(&mut reader), expected, "{day:?}, {order:?}");
        }
        // Who comes when the other last day is over reads the same.
        if day.is_some() {
            let mut late = newcomer(&mut carla, today() + 2);
            for wires in swept(&liaison, &late, today() + 2).chunks(7) {
                late.receive(wires.to_vec(), None).unwrap();
            }
            assert_eq!(view(&mut late).0, expected.0, "{day:?}");
        }
        drop(vera);
    }
}

#[test]
fn nobody_begins_anew_what_somebody_else_has_begun() {
    let Town { mut carla, mut vic, .. } = town();
    let mut zed = joined(&mut carla, 7, roles::ROLE_COORDINATOR);
    let id = carla.create(&bulletin("at seven")).unwrap();
    // Zed has not got it, and writes one of the same identity that goes tomorrow.
    write_until(&mut zed, id, &bulletin("at eight"), Some(today())).unwrap();
    hand(&zed, &mut carla);
    hand(&zed, &mut vic);
    carla
        .change(id, |bulletin: &mut Bulletin| {
            *bulletin = self::bulletin("at ten");
            Ok(())
        })
        .unwrap();
    hand(&carla, &mut vic);
    assert_eq!(view(&mut carla), (vec!["at ten".to_owned()], 1));
    assert_eq!(view(&mut vic), (vec!["at ten".to_owned()], 1));
}

#[test]
fn an_author_does_not_change_the_last_day_of_a_report_either() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    carla.set_policy(settings::UNLINKED_DAYS, 90).unwrap();
    hand(&carla, &mut vic);
    let id = vic.record(draft("as it was")).unwrap();
    hand(&vic, &mut carla);
    let mut observation = draft("as it never was").observation;
    write_until(&mut vic, id, &observation, Some(today())).unwrap();
    observation.what_happened = "as it is".into();
    hand(&vic, &mut carla);
    hand(&vic, &mut vera);
    for phone in [&carla, &vera] {
        assert_eq!(texts(phone, Kind::OBSERVATION), ["as it was"]);
        assert_eq!(phone.set_aside().unwrap().len(), 1);
    }
}

#[test]
fn kinds_that_do_not_expire_have_no_last_day() {
    let Town { mut carla, mut vic, .. } = town();
    let id = new_id(&mut carla, Kind::MEETING);
    write_until(&mut carla, id, &meeting("until tomorrow"), Some(today() + 1)).unwrap();
    hand(&carla, &mut vic);
    assert_eq!(vic.all::<Meeting>().unwrap(), []);
    assert_eq!(vic.set_aside().unwrap().len(), 1);
    assert_eq!(Meeting::KIND, Kind::MEETING);
}
