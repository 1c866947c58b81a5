//! Coming in by a group's link, over real sockets and real stores: after a loss with the recovery words alone, and face to
//! face with two small codes.

use std::path::Path;
use std::sync::Arc;

use lamppost_core::base::{GroupId, MemberId, RoleId};
use lamppost_core::replica::{
    BadLink, CodeLanguage, Error, Fault, Filter, GroupLink, Invitation, JoinRequest, Joining, LinkKind,
    Replica, WebSocketTransport,
};
use lamppost_core::roll::Target;
use lamppost_core::sync::session::Budget;
use lamppost_core::watch::roles;
use lamppost_scenarios::town::{pair, phone, record, relay, sync, texts};
use lamppost_server::Running;
use zeroize::Zeroizing;

const VOLUNTEER: RoleId = RoleId(roles::ROLE_VOLUNTEER);

/// Characters of a QR code in alphanumeric mode (ISO/IEC 18004, table 7): version 10 (57 × 57 modules) at error correction
/// L, and version 5 (37 × 37) at M.
const VERSION_10_L: usize = 395;
const VERSION_5_M: usize = 122;

/// What a member keeps on paper: the words, and where the group is.
struct Paper {
    words: Zeroizing<String>,
    link: String,
}

impl Paper {
    async fn of(phone: &Replica) -> Self {
        let code = phone.recovery_code(CodeLanguage::English).await.unwrap();
        let link = phone.group_link().await.unwrap().to_qr();
        Self { words: Zeroizing::new(code.words().to_owned()), link }
    }

    /// A new phone that was given what stands on the paper.
    async fn typed_into(&self, root: &Path, name: &str) -> (Replica, GroupLink) {
        let new = phone(root, name).await;
        new.use_recovery_code(self.words.clone()).await.unwrap();
        (new, GroupLink::parse(&self.link).unwrap())
    }
}

/// A relay, and a coordinator and a volunteer who have each recorded something that both have.
async fn town(root: &Path) -> (Running, Replica, Replica) {
    let relay = relay(&root.join("relay")).await;
    let (coordinator, volunteer) = pair(root, Arc::new(WebSocketTransport::default())).await;
    record(&coordinator, "by the coordinator").await;
    record(&volunteer, "by the volunteer").await;
    for phone in [&volunteer, &coordinator, &volunteer] {
        sync(phone, &relay).await.unwrap();
    }
    (relay, coordinator, volunteer)
}

async fn member_of(phone: &Replica) -> MemberId {
    phone.info().await.unwrap().member
}

async fn group_of(phone: &Replica) -> GroupId {
    phone.info().await.unwrap().group
}

fn problem_of(joining: &Joining) -> &str {
    match joining {
        Joining::Fetching { problem: Some(problem) } => problem,
        other => panic!("no problem: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_everything_comes_back_with_the_words_while_nobody_else_is_there() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, volunteer) = town(root.path()).await;
    let (paper, was) = (Paper::of(&volunteer).await, volunteer.info().await.unwrap());
    drop((volunteer, coordinator));

    let (new, link) = paper.typed_into(root.path(), "new phone").await;
    record(&new, "while it was alone").await;
    assert!(matches!(new.join_by_link(link).await.unwrap(), Joining::Done(_)));
    let info = new.info().await.unwrap();
    assert_eq!((info.member, info.role, info.group), (was.member, was.role, was.group));
    assert!(info.device != was.device && info.holds_member_key && info.members == 2);
    // The phone dies before it has said a word to anybody, and goes on.
    drop(new);
    let new = phone(root.path(), "new phone").await;
    record(&new, "after the loss").await;
    let url = new.relay_url().await.unwrap().unwrap();
    assert_eq!(url, relay.url());
    new.sync_once(&url, Budget::UNLIMITED).await.unwrap();
    assert_eq!(new.outbox_len().await.unwrap(), 0);
    assert_eq!(new.set_aside().await.unwrap(), []);

    // What was written before can be read once a coordinator's phone has handed over the keys.
    assert_eq!(texts(&new).await, ["after the loss", "while it was alone"]);
    let coordinator = phone(root.path(), "coordinator").await;
    for phone in [&coordinator, &new] {
        sync(phone, &relay).await.unwrap();
    }
    let all = ["after the loss", "by the coordinator", "by the volunteer", "while it was alone"];
    for phone in [&coordinator, &new] {
        assert_eq!(texts(phone).await, all);
        assert_eq!(phone.set_aside().await.unwrap(), []);
    }
    let roster = coordinator.roster().await.unwrap();
    assert_eq!(roster.iter().find(|row| row.member == was.member).unwrap().devices.len(), 2);
    // The lost phone can be taken out by its own member.
    new.remove(Target::Device(was.device)).await.unwrap();
    sync(&new, &relay).await.unwrap();
    let lost = phone(root.path(), "volunteer").await;
    assert!(matches!(sync(&lost, &relay).await, Err(Error::Removed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_coordinator_comes_back_with_the_words_and_governs() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, volunteer) = town(root.path()).await;
    let (paper, member) = (Paper::of(&coordinator).await, member_of(&coordinator).await);
    drop(coordinator);
    let (new, link) = paper.typed_into(root.path(), "new phone").await;
    assert!(matches!(new.join_by_link(link).await.unwrap(), Joining::Done(_)));
    sync(&new, &relay).await.unwrap();
    assert_eq!(member_of(&new).await, member);
    // Nobody who governs could hand it the keys, so new ones begin: what is written from now on it reads, the sealed parts
    // too. What is past it reads as far as others do, who hand their keys up. So does whom it admits.
    assert_eq!(texts(&new).await, [""; 0]);
    sync(&volunteer, &relay).await.unwrap();
    let id = record(&volunteer, "after the loss").await;
    sync(&volunteer, &relay).await.unwrap();
    sync(&new, &relay).await.unwrap();
    let newcomer = phone(root.path(), "newcomer").await;
    new.admit(newcomer.request(group_of(&new).await).await.unwrap(), VOLUNTEER).await.unwrap();
    sync(&new, &relay).await.unwrap();
    let link = new.group_link().await.unwrap();
    assert!(matches!(newcomer.join_by_link(link).await.unwrap(), Joining::Done(_)));
    sync(&newcomer, &relay).await.unwrap();
    let all = ["after the loss", "by the coordinator", "by the volunteer"];
    for phone in [&new, &newcomer] {
        assert_eq!(texts(phone).await, all);
        assert_eq!(phone.set_aside().await.unwrap(), []);
    }
    assert!(new.draft_of(id).await.unwrap().sealed.is_some());
    let volunteers = async |phone: &Replica| {
        let rows = phone.list(Filter::default()).await.unwrap();
        let row = rows.into_iter().find(|(row, _)| row.text == "by the volunteer").unwrap();
        phone.draft_of(row.0.id).await.unwrap()
    };
    assert!(volunteers(&new).await.sealed.is_none());
    // The old phone was only mislaid: with it, the sealed parts are back.
    let found = phone(root.path(), "coordinator").await;
    for phone in [&found, &new, &newcomer] {
        sync(phone, &relay).await.unwrap();
    }
    for phone in [&found, &new, &newcomer] {
        assert_eq!(texts(phone).await, all);
    }
    assert!(volunteers(&new).await.sealed.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_are_another_groups_or_were_replaced_or_of_one_who_was_taken_out_open_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, volunteer) = town(root.path()).await;
    let paper = Paper::of(&volunteer).await;

    // Right words, and the link of a group that the member never belonged to: it is told, and can be mended.
    let others = phone(root.path(), "others").await;
    others.found().await.unwrap();
    sync(&others, &relay).await.unwrap();
    let strangers = Paper { words: Paper::of(&others).await.words, link: paper.link.clone() };
    let (new, link) = strangers.typed_into(root.path(), "stranger").await;
    let joining = new.join_by_link(link).await.unwrap();
    assert!(problem_of(&joining).contains("do not belong together"), "{joining:?}");
    assert_eq!(new.joining().await.unwrap(), Some(joining));
    assert!(matches!(new.join_by_link(others.group_link().await.unwrap()).await.unwrap(), Joining::Done(_)));

    // A recovery gives the member a new key.
    let second = phone(root.path(), "second").await;
    let member = member_of(&volunteer).await;
    coordinator.recover(member, second.request(group_of(&coordinator).await).await.unwrap()).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    let (old, link) = paper.typed_into(root.path(), "old words").await;
    let error = old.join_by_link(link.clone()).await.unwrap_err();
    assert!(matches!(&error, Error::RelayRefused(why) if why.contains("new key")), "{error}");
    // The phone of the recovery comes in by the link alone, and its words work.
    assert!(matches!(second.join_by_link(link).await.unwrap(), Joining::Done(_)));
    sync(&second, &relay).await.unwrap();
    let (third, link) = Paper::of(&second).await.typed_into(root.path(), "third").await;
    assert!(matches!(third.join_by_link(link).await.unwrap(), Joining::Done(_)));
    assert_eq!((member_of(&second).await, member_of(&third).await), (member, member));
    sync(&third, &relay).await.unwrap();

    // Who was taken out stays out, whatever they type.
    let paper = Paper::of(&third).await;
    sync(&coordinator, &relay).await.unwrap();
    coordinator.remove(Target::Member(member)).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    let (out, link) = paper.typed_into(root.path(), "out").await;
    let error = out.join_by_link(link.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Removed), "{error}");
    assert!(matches!(out.info().await, Err(Error::NotLetIn)));
    // Admitted again, by the request of that phone, it is the same member.
    coordinator.admit(out.request(group_of(&coordinator).await).await.unwrap(), VOLUNTEER).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    assert!(matches!(out.join_by_link(link).await.unwrap(), Joining::Done(_)));
    assert_eq!(member_of(&out).await, member);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_small_codes_let_somebody_in_and_then_no_coordinator_is_needed() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, _volunteer) = town(root.path()).await;
    let newcomer = phone(root.path(), "newcomer").await;

    // First the coordinator's code: it tells the newcomer's phone which group the request is for.
    let link = coordinator.group_link().await.unwrap();
    let named = GroupLink { relay_url: "wss://relay.example.org/v1/session".into(), ..link.clone() };
    assert!(named.to_qr().len() <= VERSION_5_M, "{} characters", named.to_qr().len());
    let shown = link.to_qr();
    let scanned = GroupLink::parse(&shown).unwrap();
    let group = scanned.group;
    let joining = newcomer.join_by_link(scanned).await.unwrap();
    assert!(problem_of(&joining).contains("has not heard of this device"), "{joining:?}");

    // Then the newcomer's.
    let asked = newcomer.request(group).await.unwrap().to_qr().unwrap();
    assert!(asked.len() <= VERSION_10_L, "{} characters", asked.len());
    assert_eq!(LinkKind::of(&asked), Ok(LinkKind::Request));
    let scanned = JoinRequest::parse(&asked, group_of(&coordinator).await).unwrap();
    coordinator.admit(scanned, VOLUNTEER).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();

    // Each code is told from the others, and one that was not meant says so.
    let other = BadLink::OtherKind { found: LinkKind::Group, wanted: LinkKind::Request };
    assert_eq!(JoinRequest::parse(&shown, group), Err(other));
    assert!(Invitation::parse(&shown).unwrap_err().to_string().contains("the link of a group"));
    assert_eq!(JoinRequest::parse(&asked, GroupId([9; 32])), Err(BadLink::OtherGroup));
    drop(coordinator);

    let joining = newcomer.await_admission(Budget::UNLIMITED).await.unwrap();
    assert!(matches!(joining, Joining::Done(_)), "{joining:?}");
    sync(&newcomer, &relay).await.unwrap();
    assert_eq!(texts(&newcomer).await, ["by the coordinator", "by the volunteer"]);
    record(&newcomer, "a first word").await;
    sync(&newcomer, &relay).await.unwrap();
    let coordinator = phone(root.path(), "coordinator").await;
    sync(&coordinator, &relay).await.unwrap();
    assert!(texts(&coordinator).await.contains(&"a first word".to_owned()));
    for phone in [&newcomer, &coordinator] {
        assert_eq!(phone.set_aside().await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_who_is_faster_than_the_coordinators_phone_waits_and_survives_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, _volunteer) = town(root.path()).await;
    let newcomer = phone(root.path(), "newcomer").await;
    coordinator
        .admit(newcomer.request(group_of(&coordinator).await).await.unwrap(), VOLUNTEER)
        .await
        .unwrap();
    let link = coordinator.group_link().await.unwrap();
    let joining = newcomer.join_by_link(link.clone()).await.unwrap();
    assert!(problem_of(&joining).contains("has to connect first"), "{joining:?}");
    drop(newcomer);
    let newcomer = phone(root.path(), "newcomer").await;
    assert_eq!(newcomer.joining().await.unwrap(), Some(joining));
    let waiting = {
        let newcomer = newcomer.clone();
        tokio::spawn(async move { newcomer.await_admission(Budget::UNLIMITED).await.unwrap() })
    };
    // Other news do not end the waiting; the admission does.
    let budget = Budget { span_ms: Some(200), bytes: None };
    let impatient = phone(root.path(), "impatient").await;
    impatient.join_by_link(link).await.unwrap();
    let still = impatient.await_admission(budget).await.unwrap();
    assert!(matches!(still, Joining::Fetching { .. }), "{still:?}");
    sync(&coordinator, &relay).await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Joining::Done(_)));
    sync(&newcomer, &relay).await.unwrap();
    assert_eq!(texts(&newcomer).await, ["by the coordinator", "by the volunteer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_another_relay_or_group_leads_nowhere_and_the_right_one_takes_its_place() {
    let root = tempfile::tempdir().unwrap();
    let (running, coordinator, _volunteer) = town(root.path()).await;
    let elsewhere = relay(&root.path().join("elsewhere")).await;
    let newcomer = phone(root.path(), "newcomer").await;
    coordinator
        .admit(newcomer.request(group_of(&coordinator).await).await.unwrap(), VOLUNTEER)
        .await
        .unwrap();
    sync(&coordinator, &running).await.unwrap();
    let link = coordinator.group_link().await.unwrap();

    let other_relay = GroupLink { relay_url: elsewhere.url(), ..link.clone() };
    let other_group = GroupLink { group: GroupId([9; 32]), ..link.clone() };
    for wrong in [other_relay, other_group] {
        let joining = newcomer.join_by_link(wrong).await.unwrap();
        assert!(problem_of(&joining).contains("does not know this group"), "{joining:?}");
    }
    let nowhere = GroupLink { relay_url: "ws://127.0.0.1:1/v1/session".into(), ..link.clone() };
    let error = newcomer.join_by_link(nowhere).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Network, "{error}");
    assert_eq!(newcomer.joining().await.unwrap(), Some(Joining::Fetching { problem: None }));
    assert!(matches!(newcomer.join_by_link(link.clone()).await.unwrap(), Joining::Done(_)));
    assert!(matches!(newcomer.join_by_link(link).await, Err(Error::HasGroup)));
    // Who has no relay has nowhere to point to.
    let fresh = phone(root.path(), "fresh").await;
    assert!(matches!(fresh.group_link().await, Err(Error::NoGroup)));
    fresh.found().await.unwrap();
    assert!(matches!(fresh.group_link().await, Err(Error::NoRelay)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_device_comes_in_by_the_link_once_the_first_has_confirmed_it() {
    let root = tempfile::tempdir().unwrap();
    let (relay, coordinator, volunteer) = town(root.path()).await;
    drop(coordinator);
    let tablet = phone(root.path(), "tablet").await;
    let member = member_of(&volunteer).await;
    let request = tablet.request_as_device_of(group_of(&volunteer).await, member).await.unwrap();
    let link = volunteer.group_link().await.unwrap();
    let joining = tablet.join_by_link(link).await.unwrap();
    problem_of(&joining);
    volunteer.add_device(request).await.unwrap();
    sync(&volunteer, &relay).await.unwrap();
    assert!(matches!(tablet.await_admission(Budget::UNLIMITED).await.unwrap(), Joining::Done(_)));
    sync(&tablet, &relay).await.unwrap();
    assert_eq!(member_of(&tablet).await, member);
    assert_eq!(texts(&tablet).await, ["by the coordinator", "by the volunteer"]);
}
