//! The whole way of an observation, over real sockets and real stores, with phones that are closed and opened again.

use std::sync::Arc;

use lamppost_core::base::RoleId;
use lamppost_core::replica::testing::draft;
use lamppost_core::replica::{
    CaseLink, Content, Delivery, Error, FeedEvent, Filter, FixedVault, LiaisonAnswer, LinkState, ReleasePlan,
    Replica, Step, WebSocketTransport,
};
use lamppost_core::sync::session::Budget;
use lamppost_core::watch::{Kind, Redaction, roles};
use lamppost_scenarios::town::{admit, pair, phone, record, relay, sync, texts};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

#[tokio::test(flavor = "multi_thread")]
async fn an_observation_travels_to_the_liaison_and_the_answer_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let coordinator = phone(root.path(), "coordinator").await;
    let (anna, ben) = (phone(root.path(), "anna").await, phone(root.path(), "benjamin").await);
    let liaison = phone(root.path(), "liaison").await;
    coordinator.found().await.unwrap();
    let volunteer = roles::ROLE_VOLUNTEER;
    admit(&coordinator, &[(&anna, volunteer), (&ben, volunteer), (&liaison, roles::ROLE_LIAISON)]).await;

    // Offline for weeks: recorded, closed, opened, amended, and still only here.
    let first = record(&anna, "two people swapped a bag").await;
    drop(anna);
    let anna = phone(root.path(), "anna").await;
    anna.amend(first, draft("two people swapped a small bag")).await.unwrap();
    let second = record(&ben, "a swap, seen from the bus").await;
    let listed = anna.list(Filter::default()).await.unwrap();
    assert!(listed.iter().all(|(_, delivery)| *delivery == Delivery::OnPhone));

    for member in [&anna, &ben, &coordinator] {
        assert!(sync(member, &relay).await.unwrap().caught_up);
    }
    let detail = coordinator.get(first).await.unwrap();
    let Content::Observation(observation, Some(sealed)) = detail.content else { panic!() };
    assert_eq!(observation.what_happened, "two people swapped a small bag");
    assert_eq!(sealed.notes, "plate ZZZ-1234");

    coordinator.annotate(first, String::new(), "seen".into()).await.unwrap();
    let links = [first, second].map(|observation| CaseLink { observation, reason: "40 m, 3 min".into() });
    coordinator.link(None, "A swap".into(), links.to_vec()).await.unwrap();
    let plan = ReleasePlan {
        title: "A swap".into(),
        purpose: "Patrol planning".into(),
        recipient: Some(liaison.info().await.unwrap().member),
        expires_ms: None,
        observations: vec![(first, Redaction::default()), (second, Redaction::default())],
    };
    let release = coordinator.release(plan).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    sync(&liaison, &relay).await.unwrap();
    let rows = liaison.list(Filter::default()).await.unwrap();
    assert_eq!(rows.iter().map(|(row, _)| row.kind).collect::<Vec<_>>(), [Kind::RELEASE]);
    for item in coordinator.evidence(release).await.unwrap() {
        assert_eq!(liaison.check_evidence(release, item.bytes).await.unwrap().entry, item.entry);
    }

    let answer =
        LiaisonAnswer { status: "closed".into(), outcome: "prevention".into(), reason: "A lamp".into() };
    liaison.respond(release, answer).await.unwrap();
    for member in [&liaison, &anna, &ben] {
        sync(member, &relay).await.unwrap();
    }
    for (member, id) in [(&anna, first), (&ben, second)] {
        let steps = member.get(id).await.unwrap().steps;
        assert!(matches!(steps.first(), Some(Step::Recorded { .. })), "{steps:?}");
        assert!(steps.iter().any(|step| matches!(step, Step::AtRelay { .. })), "{steps:?}");
        assert!(steps.iter().any(|step| matches!(step, Step::Released { .. })), "{steps:?}");
        assert!(
            matches!(steps.last(), Some(Step::Answered { outcome, .. }) if outcome == "prevention"),
            "{steps:?}"
        );
    }
    for member in [&coordinator, &anna, &ben, &liaison] {
        assert_eq!(member.set_aside().await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_cut_by_its_budget_goes_on_where_it_stopped() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let (coordinator, volunteer) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    for n in 0..40 {
        record(&coordinator, &format!("observation {n:02}")).await;
    }
    // Up: what was sent is waited for, so that every session leaves less to send, and none sends much more than it may.
    let mut left = coordinator.outbox_len().await.unwrap();
    let mut sessions = 0;
    while left > 0 {
        sessions += 1;
        let budget = Budget { bytes: Some(8_000), span_ms: None };
        let report = coordinator.sync_once(&relay.url(), budget).await.unwrap();
        assert!(report.bytes < 12_000, "{}", report.bytes);
        let before = std::mem::replace(&mut left, coordinator.outbox_len().await.unwrap());
        assert!(left < before, "{left} of {before} left");
    }
    assert!(sessions > 1, "{sessions}");
    // And down.
    let mut sessions = 0;
    loop {
        sessions += 1;
        assert!(sessions < 50);
        let budget = Budget { bytes: Some(4_000), span_ms: None };
        if volunteer.sync_once(&relay.url(), budget).await.unwrap().caught_up {
            break;
        }
    }
    assert!(sessions > 1, "{sessions}");
    assert_eq!(texts(&volunteer).await.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_link_brings_changes_into_the_feed() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let (coordinator, volunteer) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    let feed = volunteer.feed();
    assert_eq!(feed.next().await.unwrap(), FeedEvent::Reset(vec![]));
    let mut live = volunteer.go_live(&relay.url());
    let _coordinators = coordinator.go_live(&relay.url());
    while live.state() != LinkState::UpToDate {
        live.changed().await.unwrap();
    }
    let id = record(&coordinator, "seen live").await;
    let FeedEvent::Changed(rows) = feed.next().await.unwrap() else { panic!("expected a difference") };
    assert_eq!(
        rows.iter().map(|(row, _)| (row.id, row.text.as_str())).collect::<Vec<_>>(),
        [(id, "seen live")]
    );
    relay.stop().await;
    loop {
        if matches!(live.changed().await.unwrap(), LinkState::Waiting(_)) {
            break;
        }
    }
}

/// An app may give up waiting at any moment: what it was about to be told comes with the next call.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_is_dropped_half_way_tells_it_again() {
    let root = tempfile::tempdir().unwrap();
    let (_, volunteer) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    let feed = volunteer.feed();
    // Asks, and turns away unless the answer is there at once.
    let glance = async |feed: &lamppost_core::replica::Feed| {
        tokio::select! { biased; told = feed.next() => Some(told.unwrap()), () = std::future::ready(()) => None }
    };
    let glanced = glance(&feed).await;
    let first = match glanced {
        Some(told) => told,
        None => feed.next().await.unwrap(),
    };
    assert_eq!(first, FeedEvent::Reset(vec![]));
    let id = record(&volunteer, "seen").await;
    let glanced = glance(&feed).await;
    let then = match glanced {
        Some(told) => told,
        None => feed.next().await.unwrap(),
    };
    let FeedEvent::Changed(rows) = then else { panic!("expected a difference") };
    assert!(rows.iter().any(|(row, _)| row.id == id));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_relay_serves_many_groups_and_mixes_none() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let mut groups = Vec::new();
    for name in ["north", "south"] {
        let directory = root.path().join(name);
        let (coordinator, volunteer) = pair(&directory, Arc::new(WebSocketTransport::default())).await;
        record(&coordinator, name).await;
        sync(&coordinator, &relay).await.unwrap();
        sync(&volunteer, &relay).await.unwrap();
        groups.push((name, volunteer, coordinator));
    }
    assert_eq!(relay.group_count(), 2);
    for (name, volunteer, _) in &groups {
        assert_eq!(texts(volunteer).await, [*name]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_a_phone_goes_on_as_another_device_before_it_forks_its_log() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let (coordinator, volunteer) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    sync(&coordinator, &relay).await.unwrap();
    record(&volunteer, "before the backup").await;
    sync(&volunteer, &relay).await.unwrap();
    drop(volunteer);
    let (from, backup) = (root.path().join("volunteer"), root.path().join("backup"));
    std::fs::create_dir_all(&backup).unwrap();
    for child in std::fs::read_dir(&from).unwrap() {
        let child = child.unwrap();
        if child.path().is_file() {
            std::fs::copy(child.path(), backup.join(child.file_name())).unwrap();
        } else {
            std::fs::create_dir_all(backup.join(child.file_name())).unwrap();
        }
    }
    std::fs::copy(root.path().join("volunteer.keys"), root.path().join("backup.keys")).unwrap();
    let volunteer = phone(root.path(), "volunteer").await;
    record(&volunteer, "after the backup").await;
    sync(&volunteer, &relay).await.unwrap();
    let vault = Arc::new(FixedVault::new(["volunteer".len() as u8; 32]));
    let restored = Replica::open(&backup, vault).await.unwrap();
    record(&restored, "a second entry for the same place").await;
    let report = sync(&restored, &relay).await.unwrap();
    assert!(report.renewed.is_some() && report.received.warnings.is_empty(), "{report:?}");
    sync(&coordinator, &relay).await.unwrap();
    for phone in [&restored, &coordinator] {
        assert_eq!(texts(phone).await.len(), 3, "nothing that was typed is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_admitted_gets_nothing() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let coordinator = phone(root.path(), "coordinator").await;
    coordinator.found().await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    let stranger = phone(root.path(), "a stranger").await;
    let other = phone(root.path(), "another one").await;
    let request = other.request(coordinator.info().await.unwrap().group).await.unwrap();
    let admission = coordinator.admit(request, RoleId(roles::ROLE_VOLUNTEER)).await.unwrap();
    assert!(matches!(stranger.join(admission).await, Err(Error::Admission(_))));
    assert!(matches!(sync(&stranger, &relay).await, Err(Error::NoGroup)));
}

/// The way relays are run: TLS ends in a proxy before them.
#[tokio::test(flavor = "multi_thread")]
async fn phones_reach_the_relay_through_tls_and_only_with_a_certificate_they_trust() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.der().to_vec();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config =
        config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let (acceptor, behind) = (TlsAcceptor::from(Arc::new(config)), relay.local_addr());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}/v1/session", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((outside, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut outside = acceptor.accept(outside).await?;
                let mut inside = TcpStream::connect(behind).await?;
                tokio::io::copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    });
    let trusting = Arc::new(WebSocketTransport::trusting(&[certificate]).unwrap());
    let (wary, trusting) = pair(root.path(), trusting).await;
    let refused = wary.sync_once(&url, Budget::UNLIMITED).await;
    assert!(matches!(&refused, Err(Error::Network(why)) if why.contains("certificate")), "{refused:?}");
    record(&trusting, "through TLS").await;
    let report = trusting.sync_once(&url, Budget::UNLIMITED).await.unwrap();
    assert!(report.caught_up && report.sent > 0, "{report:?}");
    assert!(WebSocketTransport::trusting(&[vec![1, 2, 3]]).is_err());
}
