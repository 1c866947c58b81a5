//! What an app is told of its own standing, over real sockets: removed, refused, at the wrong address.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lamppost_core::base::RelayId;
use lamppost_core::replica::{
    Delivery, Error, Fault, Joining, LinkState, RemovalNotice, Replica, Step, WebSocketTransport,
};
use lamppost_core::roll::Target;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Refusal, Refused};
use lamppost_core::sync::session::{Budget, Misbehaviour};
use lamppost_core::watch::roles;
use lamppost_scenarios::meddler::Meddler;
use lamppost_scenarios::town::{pair, phone, record, relay, relay_with, sync, texts};
use lamppost_server::{Rules, Settings};

const DAY_MS: u64 = 24 * 3_600 * 1_000;

async fn remove(coordinator: &Replica, phone: &Replica) {
    let member = phone.info().await.unwrap().member;
    coordinator.remove(Target::Member(member)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_removed_is_shown_the_proof_and_remembers_it_until_admitted_again() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let (coordinator, volunteer) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    record(&coordinator, "before").await;
    for phone in [&coordinator, &volunteer] {
        sync(phone, &relay).await.unwrap();
    }
    remove(&coordinator, &volunteer).await;
    sync(&coordinator, &relay).await.unwrap();
    record(&coordinator, "behind the back of the removed").await;
    sync(&coordinator, &relay).await.unwrap();
    // It has heard nothing yet, and goes on.
    let unsent = record(&volunteer, "unseen").await;
    assert_eq!(volunteer.removal().await.unwrap(), None);
    assert!(matches!(sync(&volunteer, &relay).await, Err(Error::Removed)));
    drop(volunteer);

    let volunteer = phone(root.path(), "volunteer").await;
    let by = coordinator.info().await.unwrap().member;
    let notice = volunteer.removal().await.unwrap();
    assert!(matches!(notice, Some(RemovalNotice::Signed { by: who, .. }) if who == by), "{notice:?}");
    assert!(matches!(volunteer.info().await, Err(Error::Removed)));
    let draft = volunteer.draft_of(unsent).await.unwrap();
    assert!(matches!(volunteer.record(draft).await, Err(Error::Removed)));
    assert_eq!(texts(&volunteer).await, ["before", "unseen"]);
    let detail = volunteer.get(unsent).await.unwrap();
    assert_eq!(detail.delivery, Delivery::Refused, "it does not wait for ever");
    assert!(detail.steps.iter().any(|step| matches!(step, Step::SetAside { .. })), "{:?}", detail.steps);

    let request = volunteer.request(coordinator.info().await.unwrap().group).await.unwrap();
    coordinator.admit(request, roles::VOLUNTEER).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    sync(&volunteer, &relay).await.unwrap();
    assert_eq!(volunteer.removal().await.unwrap(), None);
    assert_eq!(volunteer.info().await.unwrap().waits_for_keys_of, [""; 0]);
    record(&volunteer, "back").await;
    sync(&volunteer, &relay).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    assert!(texts(&coordinator).await.contains(&"back".to_owned()));
}

/// Connected all the time: the proof comes before the goodbye there too.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_link_hears_of_its_removal_with_the_proof() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let (coordinator, volunteer) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    sync(&coordinator, &relay).await.unwrap();
    let mut live = volunteer.go_live(&relay.url());
    while live.changed().await.unwrap() != LinkState::UpToDate {}
    remove(&coordinator, &volunteer).await;
    sync(&coordinator, &relay).await.unwrap();
    let why = loop {
        if let LinkState::Stopped(why) = live.changed().await.unwrap() {
            break why;
        }
    };
    assert_eq!(why, Error::Removed.to_string());
    let notice = volunteer.removal().await.unwrap();
    assert!(matches!(notice, Some(RemovalNotice::Signed { .. })), "{notice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_lies_about_a_removal_disables_nobody() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let lying = Arc::new(AtomicBool::new(true));
    let lies = Arc::clone(&lying);
    let meddler = Meddler::with_received(move |frame| match frame {
        Frame::Welcome(_) if lies.load(Ordering::Relaxed) => {
            vec![Frame::Goodbye(Refused::new(Refusal::REMOVED, "you were removed"))]
        }
        other => vec![other],
    });
    let (coordinator, volunteer) = pair(root.path(), meddler).await;
    sync(&coordinator, &relay).await.unwrap();
    assert!(matches!(sync(&volunteer, &relay).await, Err(Error::Removed)));
    let info = volunteer.info().await.unwrap();
    assert!(matches!(info.removal, Some(RemovalNotice::Said { .. })), "{info:?}");
    assert_eq!(volunteer.removal().await.unwrap(), info.removal);
    record(&volunteer, "written all the same").await;
    assert_eq!(volunteer.relay_id().await.unwrap(), None, "it has served nothing");
    lying.store(false, Ordering::Relaxed);
    sync(&volunteer, &relay).await.unwrap();
    assert_eq!(volunteer.info().await.unwrap().removal, None);
    sync(&coordinator, &relay).await.unwrap();
    assert_eq!(texts(&coordinator).await, ["written all the same"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_refused_the_group_is_nobodys_and_one_that_was_named_is_held_to() {
    let root = tempfile::tempdir().unwrap();
    let rules = Rules { open_to_new_groups: false, ..Settings::default().rules };
    let closed = relay_with(&root.path().join("closed"), Settings { rules, ..Settings::default() }).await;
    let open = relay(&root.path().join("open")).await;
    let coordinator = phone(root.path(), "coordinator").await;
    coordinator.found().await.unwrap();
    assert!(matches!(sync(&coordinator, &closed).await, Err(Error::RelayRefused(_))));
    assert_eq!(coordinator.relay_id().await.unwrap(), None);
    assert_eq!(coordinator.relay_url().await.unwrap(), None, "nobody is invited to it");
    assert!(matches!(coordinator.invite(roles::VOLUNTEER, DAY_MS).await, Err(Error::NoRelay)));
    // As people paste it.
    let pasted = format!(" {}\n", open.url());
    coordinator.sync_once(&pasted, Budget::UNLIMITED).await.unwrap();
    assert_eq!(coordinator.relay_id().await.unwrap(), Some(open.relay()));
    assert_eq!(coordinator.relay_url().await.unwrap(), Some(open.url()));

    let careful = phone(root.path(), "careful").await;
    careful.found().await.unwrap();
    let expected = RelayId::parse(&closed.relay().to_string()).unwrap();
    careful.expect_relay(expected).await.unwrap();
    match sync(&careful, &open).await {
        Err(Error::RelayMisbehaved(Misbehaviour::AnotherRelay { found, .. })) => {
            assert_eq!(found, open.relay())
        }
        other => panic!("{other:?}"),
    }
    careful.expect_relay(open.relay()).await.unwrap();
    sync(&careful, &open).await.unwrap();
}

/// A removed phone that has much to say is told of its removal, and not that the line broke while it was talking.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_phone_with_a_full_outbox_hears_why_it_is_cut_off() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let (coordinator, volunteer) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    for phone in [&coordinator, &volunteer] {
        sync(phone, &relay).await.unwrap();
    }
    let long = "Nobody was hurt and the lamp is out again. ".repeat(90);
    for _ in 0..600 {
        record(&volunteer, &long).await;
    }
    let member = volunteer.info().await.unwrap().member;
    coordinator.remove(Target::Member(member)).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    let told = sync(&volunteer, &relay).await;
    assert!(matches!(told, Err(Error::Removed)), "{told:?}");
    assert!(matches!(volunteer.removal().await.unwrap(), Some(RemovalNotice::Signed { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_with_a_withdrawn_invitation_reads_that_it_was_withdrawn() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let coordinator = phone(root.path(), "coordinator").await;
    coordinator.found().await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    let invitation = coordinator.invite(roles::VOLUNTEER, DAY_MS).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    let open = coordinator.invitations().await.unwrap();
    assert!(
        matches!(open.as_slice(), [one] if one.invitation == invitation.mailbox() && one.is_own),
        "{open:?}"
    );
    coordinator.withdraw_invitation(invitation.mailbox()).await.unwrap();
    assert_eq!(coordinator.invitations().await.unwrap(), []);
    let newcomer = phone(root.path(), "newcomer").await;
    newcomer.ask_to_join(invitation).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    let pending = coordinator.pending().await.unwrap();
    let problem = pending[0].problem.clone().unwrap();
    assert!(problem.contains("withdrawn"), "{problem}");
    let told = newcomer.await_admission(Budget::UNLIMITED).await.unwrap();
    assert_eq!(told, Joining::Refused(problem));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_name_is_told_as_one_and_tried_again_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let coordinator = phone(root.path(), "coordinator").await;
    coordinator.found().await.unwrap();
    let url = "wss://relay.exmaple.invalid/v1/session";
    match coordinator.sync_once(url, Budget::UNLIMITED).await.unwrap_err() {
        why @ Error::NoSuchName { .. } => {
            assert_eq!(why.fault(), Fault::Input);
            assert!(why.to_string().contains("no such name as relay.exmaple.invalid"), "{why}");
        }
        // A machine without a resolver cannot tell.
        Error::Network(why) => assert!(why.contains("Temporary failure"), "{why}"),
        why => panic!("{why}"),
    }
    let live = coordinator.go_live(url);
    loop {
        match live.state() {
            LinkState::Waiting(_) => break,
            LinkState::Stopped(why) => panic!("it gave up: {why}"),
            LinkState::Connecting | LinkState::CatchingUp | LinkState::UpToDate => {
                tokio::task::yield_now().await
            }
        }
    }
}
