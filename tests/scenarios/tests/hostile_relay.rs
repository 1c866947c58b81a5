//! A relay, or whoever sits on the line, that withholds, reorders, repeats, alters, lies, or sends another group's
//! entries. The phone names who is at fault, keeps what is good, and loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lamppost_core::entry::Received;
use lamppost_core::replica::{Error, Fault, LinkState, Replica, Warning, WebSocketTransport};
use lamppost_core::sync::Frame;
use lamppost_core::sync::session::Misbehaviour;
use lamppost_core::watch::roles;
use lamppost_scenarios::meddler::Meddler;
use lamppost_scenarios::town::{admit, pair, phone, record, relay, relay_with, sync, texts};
use lamppost_server::{Running, Settings};
use tempfile::TempDir;

/// A volunteer behind a meddler, and a coordinator whose observations have reached the honest relay.
async fn scene(meddler: Arc<Meddler>, observations: usize) -> (TempDir, Running, Replica, Replica) {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let (coordinator, volunteer) = pair(root.path(), meddler).await;
    for n in 0..observations {
        record(&coordinator, &format!("observation {n}")).await;
    }
    sync(&coordinator, &relay).await.unwrap();
    (root, relay, coordinator, volunteer)
}

fn misbehaviour<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Misbehaviour {
    let error = outcome.unwrap_err();
    assert_eq!(error.fault(), Fault::Relay, "{error}");
    match error {
        Error::RelayMisbehaved(what) => what,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reordered_and_repeated_entries_are_kept_once() {
    let repeating = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&repeating);
    let meddler = Meddler::with_received(move |frame| match frame {
        Frame::Entries(mut entries) if entries.compartment.0 == 2 && repeating.load(Ordering::Relaxed) => {
            let again = entries.entries.clone();
            entries.entries.reverse();
            entries.entries.extend(again);
            vec![Frame::Entries(entries)]
        }
        other => vec![other],
    });
    let (_root, relay, _, volunteer) = scene(meddler, 3).await;
    assert!(matches!(misbehaviour(sync(&volunteer, &relay).await), Misbehaviour::DoesNotAddUp { .. }));
    assert_eq!(texts(&volunteer).await, ["observation 0", "observation 1", "observation 2"]);
    switch.store(false, Ordering::Relaxed);
    assert!(sync(&volunteer, &relay).await.unwrap().caught_up);
    assert_eq!(texts(&volunteer).await, ["observation 0", "observation 1", "observation 2"]);
}

/// Found by the simulator: nothing follows the last entry of a log, so nothing missed it.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_log_left_out_on_the_way_is_noticed_and_comes_the_next_time() {
    let mut first = true;
    let meddler = Meddler::with_received(move |frame| match frame {
        Frame::Entries(mut entries) if entries.compartment.0 == 2 && first => {
            first = false;
            entries.entries.pop();
            vec![Frame::Entries(entries)]
        }
        other => vec![other],
    });
    let (_root, relay, _, volunteer) = scene(meddler, 3).await;
    assert!(matches!(misbehaviour(sync(&volunteer, &relay).await), Misbehaviour::DoesNotAddUp { .. }));
    assert_eq!(texts(&volunteer).await, ["observation 0", "observation 1"]);
    assert!(sync(&volunteer, &relay).await.unwrap().caught_up);
    assert_eq!(texts(&volunteer).await, ["observation 0", "observation 1", "observation 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_frame_swallowed_in_a_live_session_comes_in_the_next() {
    let (swallowed_in, mut swallowed) = tokio::sync::mpsc::unbounded_channel();
    let swallowing = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&swallowing);
    let meddler = Meddler::with_received(move |frame| match frame {
        Frame::Entries(_) if switch.load(Ordering::Relaxed) => {
            swallowed_in.send(()).unwrap();
            Vec::new()
        }
        other => vec![other],
    });
    let (_root, relay, coordinator, volunteer) = scene(meddler, 1).await;
    let mut live = volunteer.go_live(&relay.url());
    while live.changed().await.unwrap() != LinkState::UpToDate {}
    swallowing.store(true, Ordering::Relaxed);
    record(&coordinator, "nothing follows").await;
    sync(&coordinator, &relay).await.unwrap();
    swallowed.recv().await.unwrap();
    swallowing.store(false, Ordering::Relaxed);
    drop(live);
    assert_eq!(texts(&volunteer).await, ["observation 0"]);
    assert!(sync(&volunteer, &relay).await.unwrap().caught_up);
    assert_eq!(texts(&volunteer).await, ["nothing follows", "observation 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withheld_entry_is_noticed_and_what_follows_waits_for_it() {
    let withhold = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&withhold);
    let meddler = Meddler::with_received(move |frame| match frame {
        Frame::Entries(mut entries) if entries.compartment.0 == 2 && switch.load(Ordering::Relaxed) => {
            // Whoever lies, lies consistently.
            entries.entries.remove(2);
            entries.left_out += 1;
            vec![Frame::Entries(entries)]
        }
        other => vec![other],
    });
    let (_root, relay, _coordinator, volunteer) = scene(meddler, 3).await;
    let report = sync(&volunteer, &relay).await.unwrap();
    assert!(matches!(report.received.warnings.as_slice(), [Warning::Withheld { entries: 2 }]), "{report:?}");
    assert!(texts(&volunteer).await.is_empty(), "the first of three was withheld, and the others follow it");

    // What came stays, and what is missing is asked for again: once whoever swallowed it is gone, all is well.
    withhold.store(false, Ordering::Relaxed);
    let report = sync(&volunteer, &relay).await.unwrap();
    assert_eq!(report.received.warnings, []);
    assert_eq!(texts(&volunteer).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_entry_is_refused_alone_and_a_good_copy_mends_it() {
    for strip_the_body in [false, true] {
        let mut first = true;
        let meddler = Meddler::with_received(move |frame| match frame {
            Frame::Entries(mut entries) if entries.compartment.0 == 2 && first => {
                first = false;
                let last = entries.entries.last_mut().unwrap();
                if strip_the_body {
                    last.body = None;
                } else {
                    let mut signed = last.signed.to_vec();
                    *signed.last_mut().unwrap() ^= 1;
                    last.signed = signed.into();
                }
                vec![Frame::Entries(entries)]
            }
            other => vec![other],
        });
        let (_root, relay, _, volunteer) = scene(meddler, 3).await;
        assert!(matches!(misbehaviour(sync(&volunteer, &relay).await), Misbehaviour::NotGenuine(_)));
        assert_eq!(texts(&volunteer).await, ["observation 0", "observation 1"]);
        assert!(sync(&volunteer, &relay).await.unwrap().caught_up);
        assert_eq!(texts(&volunteer).await, ["observation 0", "observation 1", "observation 2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_groups_entries_disturb_nothing() {
    let root = tempfile::tempdir().unwrap();
    let stranger = phone(root.path(), "stranger of another group").await;
    stranger.found().await.unwrap();
    let mut foreign = stranger_entries(&stranger).await;
    let meddler = Meddler::with_received(move |frame| match frame {
        Frame::Entries(mut entries) => {
            entries.entries.splice(0..0, std::mem::take(&mut foreign));
            vec![Frame::Entries(entries)]
        }
        other => vec![other],
    });
    let (_root, relay, _, volunteer) = scene(meddler, 1).await;
    let what = misbehaviour(sync(&volunteer, &relay).await);
    assert!(what.to_string().contains("belongs to group"), "{what}");
    assert!(sync(&volunteer, &relay).await.unwrap().caught_up);
    assert_eq!(texts(&volunteer).await, ["observation 0"]);
}

/// Inventions that wait for what never comes are thrown out before they fill an old phone, and honest words still arrive.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_inventions_blocks_nothing() {
    let root = tempfile::tempdir().unwrap();
    let honest = relay(&root.path().join("relay")).await;
    let (coordinator, other) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    for n in 0..1_100 {
        record(&other, &format!("in order {n:04}")).await;
    }
    sync(&other, &honest).await.unwrap();
    let flooding = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&flooding);
    let meddler = Meddler::with_received(move |frame| match frame {
        Frame::Entries(mut entries) if entries.compartment.0 == 2 && switch.load(Ordering::Relaxed) => {
            let before = entries.entries.len();
            entries.entries.retain(|wire| Received::parse(wire.clone()).unwrap().header().seq > 0);
            entries.left_out += (before - entries.entries.len()) as u64;
            vec![Frame::Entries(entries)]
        }
        other => vec![other],
    });
    let victim = lamppost_scenarios::town::phone_over(root.path(), "victim of a flood", meddler).await;
    admit(&coordinator, &[(&victim, roles::ROLE_VOLUNTEER)]).await;
    sync(&coordinator, &honest).await.unwrap();
    let report = sync(&victim, &honest).await.unwrap();
    assert!(report.received.start_over, "{:?}", report.received.warnings);
    flooding.store(false, Ordering::Relaxed);
    assert!(sync(&victim, &honest).await.unwrap().caught_up);
    assert_eq!(texts(&victim).await.len(), 1_100);
}

async fn stranger_entries(stranger: &Replica) -> Vec<lamppost_core::entry::Wire> {
    let newcomer_root = tempfile::tempdir().unwrap();
    let newcomer = phone(newcomer_root.path(), "newcomer").await;
    let request = newcomer.request(stranger.info().await.unwrap().group).await.unwrap();
    let admission = stranger.admit(request, lamppost_core::base::RoleId(2)).await.unwrap();
    assert!(admission.roll.iter().all(|wire| Received::parse(wire.clone()).is_ok()));
    admission.roll
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_about_a_receipt_leaves_everything_in_the_outbox() {
    let lies: [fn(&mut lamppost_core::sync::frame::Ack); 3] = [
        |ack| ack.receipt = None,
        |ack| {
            let mut bytes = ack.receipt.take().unwrap().to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            ack.receipt = Some(bytes.into());
        },
        |ack| {
            ack.outcomes.pop();
        },
    ];
    for lie in lies {
        let meddler = Meddler::with_received(move |frame| match frame {
            Frame::Ack(mut ack) => {
                lie(&mut ack);
                vec![Frame::Ack(ack)]
            }
            other => vec![other],
        });
        let root = tempfile::tempdir().unwrap();
        let relay = relay(&root.path().join("relay")).await;
        let (coordinator, volunteer) = pair(root.path(), meddler).await;
        sync(&coordinator, &relay).await.unwrap();
        record(&volunteer, "mine").await;
        let before = volunteer.outbox_len().await.unwrap();
        let what = misbehaviour(sync(&volunteer, &relay).await);
        assert!(matches!(what, Misbehaviour::ReceiptMismatch | Misbehaviour::Receipt(_)), "{what}");
        assert_eq!(volunteer.outbox_len().await.unwrap(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_the_session_and_harms_nothing() {
    let meddler = Meddler::new(
        |bytes| vec![bytes],
        |bytes| if bytes.len() > 600 { vec![vec![0xff; 40]] } else { vec![bytes] },
    );
    let (_root, relay, _, volunteer) = scene(meddler, 2).await;
    record(&volunteer, "mine").await;
    assert!(matches!(misbehaviour(sync(&volunteer, &relay).await), Misbehaviour::Garbage(_)));
    assert_eq!(texts(&volunteer).await, ["mine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_out_of_turn_end_the_session() {
    let meddler = Meddler::with_received(|frame| match frame {
        Frame::Welcome(welcome) => vec![Frame::CaughtUp, Frame::Welcome(welcome)],
        other => vec![other],
    });
    let (_root, relay, _, volunteer) = scene(meddler, 1).await;
    assert!(matches!(misbehaviour(sync(&volunteer, &relay).await), Misbehaviour::OutOfTurn(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_were_not_asked_for_end_the_session() {
    let meddler = Meddler::with_received(|frame| match frame {
        Frame::Entries(mut entries) => {
            entries.compartment = lamppost_core::base::CompartmentId(3);
            vec![Frame::Entries(entries)]
        }
        other => vec![other],
    });
    let (_root, relay, _, volunteer) = scene(meddler, 1).await;
    assert_eq!(misbehaviour(sync(&volunteer, &relay).await), Misbehaviour::NotAsked);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_relay_in_its_place_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let known = relay(&root.path().join("relay")).await;
    let (coordinator, _) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    sync(&coordinator, &known).await.unwrap();
    let impostor = relay(&root.path().join("impostor")).await;
    let what = misbehaviour(sync(&coordinator, &impostor).await);
    assert!(matches!(what, Misbehaviour::AnotherRelay { .. }), "{what}");
}

/// The same relay, restored from an old copy of its disk without saying so, has lost what it acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_history_of_the_same_relay_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("relay");
    let first = relay(&directory).await;
    let (coordinator, volunteer) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    sync(&coordinator, &first).await.unwrap();
    first.stop().await;
    let copy = root.path().join("copy");
    copy_directory(&directory, &copy);
    let first = relay(&directory).await;
    record(&coordinator, "acknowledged, then forgotten").await;
    sync(&coordinator, &first).await.unwrap();
    first.stop().await;
    let forgetful = relay(&copy).await;
    record(&volunteer, "another history").await;
    sync(&volunteer, &forgetful).await.unwrap();
    assert_eq!(misbehaviour(sync(&coordinator, &forgetful).await), Misbehaviour::TwoHistories);
}

/// The same copy, and this time it says so: nothing can be proven any more, so people are told, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_begins_a_new_life_is_told_of_and_given_everything_again() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("relay");
    let first = relay(&directory).await;
    let (coordinator, volunteer) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    assert_eq!(sync(&coordinator, &first).await.unwrap().store_lost, None);
    first.stop().await;
    let copy = root.path().join("copy");
    copy_directory(&directory, &copy);
    let first = relay(&directory).await;
    record(&coordinator, "acknowledged, then lost").await;
    sync(&coordinator, &first).await.unwrap();
    first.stop().await;

    let restored = relay_with(&copy, Settings { after_restore: true, ..Settings::default() }).await;
    let report = sync(&coordinator, &restored).await.unwrap();
    let lost = report.store_lost.unwrap();
    assert!(!lost.agreed && lost.acknowledged > 2, "{lost:?}");
    assert!(lost.lacking.is_some_and(|lacking| lacking > 0 && lacking < lost.acknowledged), "{lost:?}");
    assert!(lost.checkpoint.or(lost.receipted).is_some(), "what it had vouched for stays on record");
    assert_eq!(coordinator.earlier_lives().await.unwrap(), [lost]);
    assert_eq!(coordinator.outbox_len().await.unwrap(), 0);
    assert_eq!(sync(&volunteer, &restored).await.unwrap().store_lost, None, "it knew no other life");
    assert_eq!(texts(&volunteer).await, ["acknowledged, then lost"]);
    // The next session has nothing to tell.
    assert_eq!(sync(&coordinator, &restored).await.unwrap().store_lost, None);
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for child in std::fs::read_dir(from).unwrap() {
        let child = child.unwrap();
        if child.path().is_dir() {
            copy_directory(&child.path(), &to.join(child.file_name()));
        } else {
            std::fs::copy(child.path(), to.join(child.file_name())).unwrap();
        }
    }
}

/// A relay that lost its disk, and its key with it, gets everything back from the phones once people trust it.
#[tokio::test(flavor = "multi_thread")]
async fn phones_heal_a_relay_that_lost_its_disk() {
    let root = tempfile::tempdir().unwrap();
    let lost = relay(&root.path().join("relay")).await;
    let (coordinator, volunteer) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    record(&volunteer, "kept by phones").await;
    sync(&volunteer, &lost).await.unwrap();
    sync(&coordinator, &lost).await.unwrap();
    record(&coordinator, "not sent before the fire").await;
    lost.stop().await;

    let fresh = relay(&root.path().join("fresh")).await;
    assert!(matches!(misbehaviour(sync(&coordinator, &fresh).await), Misbehaviour::AnotherRelay { .. }));
    coordinator.trust_new_relay().await.unwrap();
    let report = sync(&coordinator, &fresh).await.unwrap();
    assert_eq!(coordinator.outbox_len().await.unwrap(), 0);
    // People have agreed on it, so nobody is alarmed; it is on record.
    assert_eq!(report.store_lost, None);
    assert!(coordinator.earlier_lives().await.unwrap()[0].agreed);

    // The volunteer's own words came back although the volunteer has not been seen since.
    let newcomer = phone(root.path(), "newcomer after the fire").await;
    admit(&coordinator, &[(&newcomer, roles::ROLE_VOLUNTEER)]).await;
    sync(&newcomer, &fresh).await.unwrap();
    assert_eq!(texts(&newcomer).await, ["kept by phones", "not sent before the fire"]);
    volunteer.trust_new_relay().await.unwrap();
    let report = sync(&volunteer, &fresh).await.unwrap();
    assert_eq!((report.refused, report.caught_up), (vec![], true));
    assert_eq!(texts(&volunteer).await, ["kept by phones", "not sent before the fire"]);
}
