//! Joining by invitation, over real sockets and real stores, with everything that comes in between.

use std::path::Path;
use std::sync::Arc;

use lamppost_core::base::{GroupId, RoleId};
use lamppost_core::replica::{
    BadLink, Error, Fault, Invitation, Joining, LinkState, PendingRequest, Replica, WebSocketTransport,
};
use lamppost_core::sync::session::Budget;
use lamppost_core::watch::roles;
use lamppost_scenarios::town::{admit, pair, phone, record, relay, sync, texts};
use lamppost_server::Running;

const DAY_MS: u64 = 24 * 3_600 * 1_000;
const VOLUNTEER: RoleId = RoleId(roles::ROLE_VOLUNTEER);

/// A relay, and a coordinator who has made an invitation that the relay knows of.
async fn invited(root: &Path) -> (Running, Replica, Invitation) {
    let relay = relay(&root.join("relay")).await;
    let coordinator = phone(root, "coordinator").await;
    coordinator.found().await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    let invitation = invite(&coordinator, &relay).await;
    (relay, coordinator, invitation)
}

/// Makes an invitation and passes it on as people do: as text.
async fn invite(coordinator: &Replica, relay: &Running) -> Invitation {
    let invitation = coordinator.invite(VOLUNTEER, DAY_MS).await.unwrap();
    sync(coordinator, relay).await.unwrap();
    Invitation::parse(&invitation.to_qr()).unwrap()
}

/// The code on a newcomer's screen, once there is one.
fn code_of(joining: &Joining) -> Option<&str> {
    match joining {
        Joining::Waiting { code, at_relay: true, problem: None, .. } => code.as_deref(),
        other => panic!("not waiting at the relay: {other:?}"),
    }
}

fn problem_of(joining: &Joining) -> &str {
    match joining {
        Joining::Waiting { at_relay: false, problem: Some(problem), .. } => problem,
        other => panic!("no problem: {other:?}"),
    }
}

/// The one request that a coordinator's screen shows after a sync.
async fn request(coordinator: &Replica, relay: &Running) -> PendingRequest {
    sync(coordinator, relay).await.unwrap();
    let mut pending = coordinator.pending().await.unwrap();
    assert_eq!(pending.len(), 1, "{pending:?}");
    pending.remove(0)
}

/// A newcomer comes, and the two phones agree on a code: what each of the two screens shows then.
async fn come(
    newcomer: &Replica,
    invitation: &Invitation,
    coordinator: &Replica,
    relay: &Running,
) -> (Joining, PendingRequest) {
    let asked = newcomer.ask_to_join(invitation.clone()).await.unwrap();
    assert_eq!(code_of(&asked), None, "the coordinator's phone has not answered");
    let early = request(coordinator, relay).await;
    assert_eq!((early.code.as_deref(), early.problem.as_deref()), (None, None));
    assert!(matches!(coordinator.approve(early).await, Err(Error::NoCodeYet)));
    let asked = newcomer.ask_to_join(invitation.clone()).await.unwrap();
    let request = request(coordinator, relay).await;
    assert_eq!(request.problem, None);
    assert!(request.code.is_some(), "{request:?}");
    assert_eq!(code_of(&asked), request.code.as_deref());
    (asked, request)
}

async fn is_done(newcomer: &Replica) -> bool {
    matches!(newcomer.await_admission(Budget::UNLIMITED).await.unwrap(), Joining::Done(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_joins_by_link_when_two_people_have_compared_the_code() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, invitation) = invited(root.path()).await;
    record(&coordinator, "before anybody came").await;
    let newcomer = phone(root.path(), "newcomer").await;
    assert_eq!(newcomer.joining().await.unwrap(), None);
    let (_, request) = come(&newcomer, &invitation, &coordinator, &relay).await;
    assert_eq!(request.role, VOLUNTEER);
    coordinator.approve(request.clone()).await.unwrap();
    assert_eq!(coordinator.pending().await.unwrap(), []);
    // Once more is no error, and nothing more.
    coordinator.approve(request).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();

    assert!(is_done(&newcomer).await);
    let info = newcomer.info().await.unwrap();
    assert_eq!((info.group, info.role, info.members), (invitation.group, VOLUNTEER, 2));
    assert_eq!(newcomer.relay_url().await.unwrap(), Some(relay.url()));
    assert!(matches!(newcomer.joining().await.unwrap(), Some(Joining::Done(_))));
    sync(&newcomer, &relay).await.unwrap();
    assert_eq!(texts(&newcomer).await, ["before anybody came"]);
    record(&newcomer, "a first word").await;
    sync(&newcomer, &relay).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    assert_eq!(texts(&coordinator).await, ["a first word", "before anybody came"]);
    for phone in [&newcomer, &coordinator] {
        assert_eq!(phone.set_aside().await.unwrap(), []);
    }
}

/// Both wait at the relay: what one does the other is told at once.
#[tokio::test(flavor = "multi_thread")]
async fn with_both_connected_nobody_has_to_ask_again() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, first) = invited(root.path()).await;
    let mut live = coordinator.go_live(&relay.url());
    while live.state() != LinkState::UpToDate {
        live.changed().await.unwrap();
    }
    let second = coordinator.invite(VOLUNTEER, DAY_MS).await.unwrap();
    let feed = coordinator.feed();
    for (name, invitation, approves) in [("newcomer", first, true), ("somebody else", second, false)] {
        let newcomer = phone(root.path(), name).await;
        // An invitation that was just made may reach the relay after the knock.
        loop {
            match newcomer.ask_to_join(invitation.clone()).await.unwrap() {
                Joining::Waiting { at_relay: false, .. } => tokio::task::yield_now().await,
                other => {
                    code_of(&other);
                    break;
                }
            }
        }
        let waiting = {
            let newcomer = newcomer.clone();
            tokio::spawn(async move { newcomer.await_admission(Budget::UNLIMITED).await.unwrap() })
        };
        let request = loop {
            // The phones agree on the code by themselves.
            let pending = coordinator.pending().await.unwrap().pop();
            if let Some(request) = pending.filter(|request| request.code.is_some()) {
                break request;
            }
            feed.next().await.unwrap();
        };
        if approves {
            coordinator.approve(request).await.unwrap();
            assert!(matches!(waiting.await.unwrap(), Joining::Done(_)));
        } else {
            coordinator.refuse(request, "I do not know you".into()).await.unwrap();
            assert_eq!(waiting.await.unwrap(), Joining::Refused("I do not know you".into()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_is_refused_reads_why_and_the_invitation_is_spent() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, invitation) = invited(root.path()).await;
    let newcomer = phone(root.path(), "newcomer").await;
    let (_, request) = come(&newcomer, &invitation, &coordinator, &relay).await;
    coordinator.refuse(request.clone(), "The code was another one.".into()).await.unwrap();
    assert_eq!(coordinator.pending().await.unwrap(), []);
    sync(&coordinator, &relay).await.unwrap();
    let refused = Joining::Refused("The code was another one.".into());
    assert_eq!(newcomer.await_admission(Budget::UNLIMITED).await.unwrap(), refused);
    assert_eq!(newcomer.joining().await.unwrap(), Some(refused.clone()));
    // Asking again with the same invitation is of no use, and a refusal is not taken back.
    assert_eq!(newcomer.ask_to_join(invitation.clone()).await.unwrap(), refused);
    let error = coordinator.approve(request).await.unwrap_err();
    assert!(matches!(error, Error::Approval(_)) && error.fault() == Fault::Peer, "{error}");
    let third = phone(root.path(), "third").await;
    assert!(matches!(third.ask_to_join(invitation).await.unwrap(), Joining::Refused(_)));
    assert_eq!(coordinator.info().await.unwrap().members, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_invitation_is_refused_on_both_sides() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, _) = invited(root.path()).await;
    let short = coordinator.invite(VOLUNTEER, 3_000).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    let newcomer = phone(root.path(), "newcomer").await;
    code_of(&newcomer.ask_to_join(short.clone()).await.unwrap());
    let request = request(&coordinator, &relay).await;
    while short.check_expiry(unix_ms()).is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(newcomer.joining().await.unwrap(), Some(Joining::Expired));
    let error = newcomer.await_admission(Budget::UNLIMITED).await.unwrap_err();
    assert!(matches!(error, Error::Invitation(BadLink::Expired)), "{error}");
    let pending = coordinator.pending().await.unwrap();
    assert!(pending[0].problem.as_deref().unwrap().contains("expired"), "{pending:?}");
    let error = coordinator.approve(request).await.unwrap_err();
    assert!(matches!(&error, Error::Approval(why) if why.contains("expired")), "{error}");
    let late = phone(root.path(), "late").await;
    let error = late.ask_to_join(short.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Invitation(BadLink::Expired)), "{error}");
    // A link whose time somebody has stretched finds the mailbox closed.
    let stretched = Invitation { expires_s: short.expires_s + 3_600, ..short };
    assert_eq!(late.ask_to_join(stretched).await.unwrap(), Joining::Expired);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_serves_once() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, invitation) = invited(root.path()).await;
    let (newcomer, thief) = (phone(root.path(), "newcomer").await, phone(root.path(), "thief").await);
    newcomer.ask_to_join(invitation.clone()).await.unwrap();
    // The second to knock is told so, before anybody has decided and after.
    let refused = thief.ask_to_join(invitation.clone()).await.unwrap();
    assert!(matches!(&refused, Joining::Refused(why) if why.contains("another device")), "{refused:?}");
    let (_, request) = come(&newcomer, &invitation, &coordinator, &relay).await;
    coordinator.approve(request).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    assert!(is_done(&newcomer).await);
    let refused = thief.await_admission(Budget::UNLIMITED).await.unwrap();
    assert!(matches!(refused, Joining::Refused(_)), "{refused:?}");
    sync(&coordinator, &relay).await.unwrap();
    assert_eq!(coordinator.pending().await.unwrap(), []);
    assert_eq!(coordinator.info().await.unwrap().members, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_link_leads_nowhere() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, invitation) = invited(root.path()).await;
    let uri = invitation.to_uri();
    assert_eq!(Invitation::parse(&uri[..uri.len() - 3]), Err(BadLink::Damaged));
    // With a checksum that fits: another group, or another secret, is another invitation.
    let newcomer = phone(root.path(), "newcomer").await;
    let other_group = Invitation { group: GroupId([9; 32]), ..invitation.clone() };
    let mut other_secret = invitation.clone();
    other_secret.secret.0[3] ^= 1;
    for altered in [other_group, other_secret] {
        let asked = newcomer.ask_to_join(altered).await.unwrap();
        assert!(problem_of(&asked).contains("does not know the invitation"), "{asked:?}");
    }
    // Another role is of no use: coordinators go by what they wrote down.
    let promoted = Invitation { role: RoleId(roles::ROLE_COORDINATOR), ..invitation };
    let (_, request) = come(&newcomer, &promoted, &coordinator, &relay).await;
    assert_eq!(request.role, VOLUNTEER);
    coordinator.approve(request).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    assert!(is_done(&newcomer).await);
    assert_eq!(newcomer.info().await.unwrap().role, VOLUNTEER);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_relay_than_the_one_in_the_link_knows_nothing_of_it() {
    let root = tempfile::tempdir().unwrap();
    let (first, coordinator, invitation) = invited(root.path()).await;
    let second = relay(&root.path().join("second")).await;
    let newcomer = phone(root.path(), "newcomer").await;
    let elsewhere = Invitation { relay_url: second.url(), ..invitation.clone() };
    let asked = newcomer.ask_to_join(elsewhere).await.unwrap();
    assert!(problem_of(&asked).contains("does not know the invitation"), "{asked:?}");
    let nowhere = Invitation { relay_url: "ws://127.0.0.1:1/v1/session".into(), ..invitation.clone() };
    let error = newcomer.ask_to_join(nowhere).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Network, "{error}");
    // It was kept even so; the right link takes its place.
    assert!(matches!(newcomer.joining().await.unwrap(), Some(Joining::Waiting { at_relay: false, .. })));
    code_of(&newcomer.ask_to_join(invitation).await.unwrap());
    request(&coordinator, &first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_killed_goes_on_where_it_was() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, invitation) = invited(root.path()).await;
    let newcomer = phone(root.path(), "newcomer").await;
    assert_eq!(code_of(&newcomer.ask_to_join(invitation.clone()).await.unwrap()), None);
    drop(newcomer);
    assert_eq!(request(&coordinator, &relay).await.code, None);
    drop(coordinator);
    let (newcomer, coordinator) =
        (phone(root.path(), "newcomer").await, phone(root.path(), "coordinator").await);
    let asked = newcomer.ask_to_join(invitation).await.unwrap();
    let code = code_of(&asked).map(str::to_owned);
    assert!(code.is_some());
    drop(newcomer);
    let came = request(&coordinator, &relay).await;
    assert_eq!(came.code, code);
    // The coordinator's app too: what came is on its disk.
    drop(coordinator);
    let coordinator = phone(root.path(), "coordinator").await;
    assert_eq!(coordinator.pending().await.unwrap(), std::slice::from_ref(&came));
    coordinator.approve(came).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    let newcomer = phone(root.path(), "newcomer").await;
    assert_eq!(code_of(&newcomer.joining().await.unwrap().unwrap()), code.as_deref());
    assert!(is_done(&newcomer).await);
    drop(newcomer);
    let newcomer = phone(root.path(), "newcomer").await;
    assert!(matches!(newcomer.joining().await.unwrap(), Some(Joining::Done(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_restarted_has_kept_knock_and_answer() {
    let root = tempfile::tempdir().unwrap();
    let (running, coordinator, invitation) = invited(root.path()).await;
    let newcomer = phone(root.path(), "newcomer").await;
    let url = running.url();
    running.stop().await;
    // Its port changes with each start here, so the link is followed to the new one.
    let running = relay(&root.path().join("relay")).await;
    assert_ne!(running.url(), url);
    let moved = |running: &Running| Invitation { relay_url: running.url(), ..invitation.clone() };
    code_of(&newcomer.ask_to_join(moved(&running)).await.unwrap());
    running.stop().await;
    let running = relay(&root.path().join("relay")).await;
    let request = request(&coordinator, &running).await;
    coordinator.refuse(request, "not now".into()).await.unwrap();
    sync(&coordinator, &running).await.unwrap();
    running.stop().await;
    let running = relay(&root.path().join("relay")).await;
    let asked = newcomer.ask_to_join(moved(&running)).await.unwrap();
    assert_eq!(asked, Joining::Refused("not now".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_lost_its_store_is_told_of_the_invitation_again() {
    let root = tempfile::tempdir().unwrap();
    let (lost, coordinator, invitation) = invited(root.path()).await;
    let newcomer = phone(root.path(), "newcomer").await;
    newcomer.ask_to_join(invitation.clone()).await.unwrap();
    lost.stop().await;
    let fresh = relay(&root.path().join("fresh")).await;
    let moved = Invitation { relay_url: fresh.url(), ..invitation };
    let asked = newcomer.ask_to_join(moved).await.unwrap();
    assert!(problem_of(&asked).contains("does not know the invitation"), "{asked:?}");
    coordinator.trust_new_relay().await.unwrap();
    sync(&coordinator, &fresh).await.unwrap();
    assert_eq!(coordinator.pending().await.unwrap(), []);
    // The newcomer knocks again by itself.
    let budget = Budget { span_ms: Some(1), bytes: None };
    let mut asked = newcomer.await_admission(budget).await;
    while !matches!(asked, Ok(Joining::Waiting { at_relay: true, .. })) {
        asked = newcomer.await_admission(Budget { span_ms: Some(200), bytes: None }).await;
    }
    assert_eq!(code_of(&asked.unwrap()), None);
    assert_eq!(request(&coordinator, &fresh).await.code, None);
    let asked = newcomer.await_admission(Budget { span_ms: Some(2_000), bytes: None }).await.unwrap();
    let request = request(&coordinator, &fresh).await;
    assert!(request.code.is_some() && request.code.as_deref() == code_of(&asked), "{request:?} {asked:?}");
    coordinator.approve(request).await.unwrap();
    sync(&coordinator, &fresh).await.unwrap();
    assert!(is_done(&newcomer).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_coordinators_both_may_decide_and_each_hears_of_it() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, invitation) = invited(root.path()).await;
    let deputy = phone(root.path(), "deputy").await;
    admit(&coordinator, &[(&deputy, roles::ROLE_COORDINATOR)]).await;
    for phone in [&coordinator, &deputy, &coordinator] {
        sync(phone, &relay).await.unwrap();
    }
    // Both approve the same knock, neither knowing of the other.
    let newcomer = phone(root.path(), "newcomer").await;
    newcomer.ask_to_join(invitation.clone()).await.unwrap();
    for phone in [&deputy, &coordinator] {
        assert_eq!(request(phone, &relay).await.code, None);
    }
    let asked = newcomer.ask_to_join(invitation).await.unwrap();
    // Both phones have answered. The first answer counts, for both.
    let (one, two) = (request(&coordinator, &relay).await, request(&deputy, &relay).await);
    assert!(one.code.is_some() && one.code.as_deref() == code_of(&asked), "{one:?}");
    assert_eq!((&one.code, &one.problem), (&two.code, &two.problem));
    coordinator.approve(one).await.unwrap();
    deputy.approve(two).await.unwrap();
    for phone in [&coordinator, &deputy, &coordinator] {
        sync(phone, &relay).await.unwrap();
        assert_eq!(phone.pending().await.unwrap(), []);
    }
    assert!(is_done(&newcomer).await);
    sync(&newcomer, &relay).await.unwrap();
    for phone in [&coordinator, &deputy, &newcomer] {
        assert_eq!(phone.info().await.unwrap().members, 3);
        assert_eq!(phone.set_aside().await.unwrap(), []);
    }
    // A refusal of one is settled for the other, and cannot be overruled.
    let invitation = invite(&deputy, &relay).await;
    sync(&coordinator, &relay).await.unwrap();
    let other = phone(root.path(), "somebody else").await;
    other.ask_to_join(invitation).await.unwrap();
    let (one, two) = (request(&coordinator, &relay).await, request(&deputy, &relay).await);
    deputy.refuse(two, "not one of us".into()).await.unwrap();
    sync(&deputy, &relay).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    assert_eq!(coordinator.pending().await.unwrap(), []);
    assert!(matches!(coordinator.approve(one).await, Err(Error::Approval(_))));
    assert_eq!(
        other.await_admission(Budget::UNLIMITED).await.unwrap(),
        Joining::Refused("not one of us".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_coordinators_invite_and_see_who_comes() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let (coordinator, volunteer) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    assert!(matches!(coordinator.invite(VOLUNTEER, DAY_MS).await, Err(Error::NoRelay)));
    for phone in [&coordinator, &volunteer] {
        sync(phone, &relay).await.unwrap();
    }
    assert!(matches!(volunteer.invite(VOLUNTEER, DAY_MS).await, Err(Error::Role(_))));
    assert!(matches!(coordinator.invite(VOLUNTEER, 31 * DAY_MS).await, Err(Error::Invalid(_))));
    assert!(matches!(coordinator.invite(RoleId(99), DAY_MS).await, Err(Error::Invalid(_))));
    let invitation = invite(&coordinator, &relay).await;
    let newcomer = phone(root.path(), "newcomer").await;
    newcomer.ask_to_join(invitation.clone()).await.unwrap();
    let came = request(&coordinator, &relay).await;
    sync(&volunteer, &relay).await.unwrap();
    assert_eq!(volunteer.pending().await.unwrap(), []);
    assert!(matches!(volunteer.approve(came).await, Err(Error::Role(_))));
    assert!(matches!(volunteer.ask_to_join(invitation).await, Err(Error::HasGroup)));
    let fresh = phone(root.path(), "one more").await;
    assert!(matches!(fresh.await_admission(Budget::UNLIMITED).await, Err(Error::NotInvited)));
}

fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
