//! What comes with an invitation, judged without a relay: each wrong knock has its reason, and the newcomer reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use minicbor::bytes::ByteVec;

use super::*;
use crate::base::{Hash, Incarnation, RelayId};
use crate::entry::countersignature::{Countersignature, NONCE_BYTES};
use crate::entry::keys::SALT_BYTES;
use crate::entry::knock::{Knock, Opening, Reveal, open_answer, seal_countersignature};
use crate::replica::{Clock, Environment, FixedVault};
use crate::storage::{MemoryStore, Store as _};
use crate::sync::mailbox::Knocked;
use crate::watch::roles;

const RELAY: RelayId = RelayId([5; 32]);
const DAY_MS: u64 = 24 * 3_600 * 1_000;

#[derive(Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now_ms(&self) -> u64 {
        1_780_000_000_000 + self.0.load(Ordering::Relaxed)
    }
}

struct Desk {
    coordinator: Engine,
    store: MemoryStore,
    hands: Arc<Hands>,
    invitation: Invitation,
}

fn open(seed: u8, store: &MemoryStore, hands: &Arc<Hands>) -> Engine {
    Engine::open(Environment {
        store: Arc::new(store.clone()),
        vault: Arc::new(FixedVault::new([seed; 32])),
        clock: Arc::clone(hands) as Arc<dyn Clock>,
        entropy: Box::new(ChaCha20Rng::seed_from_u64(u64::from(seed))),
    })
    .unwrap()
}

fn desk() -> Desk {
    let (store, hands) = (MemoryStore::default(), Arc::new(Hands::default()));
    let mut coordinator = open(1, &store, &hands);
    coordinator.found().unwrap();
    assert!(matches!(coordinator.invite(RoleId(2), DAY_MS), Err(Error::NoRelay)));
    coordinator.set_relay_url("wss://relay.example.org/v1/session").unwrap();
    coordinator.new_relay_life(RELAY, Incarnation([6; 16])).unwrap();
    let mut report = crate::replica::SyncReport::default();
    coordinator.carry_out(crate::sync::session::Effect::CaughtUp, &mut report).unwrap();
    let invitation = coordinator.invite(RoleId(roles::ROLE_VOLUNTEER), DAY_MS).unwrap();
    Desk { coordinator, store, hands, invitation }
}

fn newcomer(seed: u8, desk: &Desk) -> Engine {
    let mut newcomer = open(seed, &MemoryStore::default(), &desk.hands);
    newcomer.ask_to_join(&desk.invitation).unwrap();
    newcomer
}

/// What a newcomer's phone seals in front of this relay.
fn knock_of(newcomer: &mut Engine, relay: RelayId) -> Vec<u8> {
    let proven = newcomer.prove_and_knock(Vec::new(), relay).unwrap();
    let crate::sync::knock::Input::Proven { knock, .. } = proven else { panic!("{proven:?}") };
    knock.unwrap()
}

impl Desk {
    /// The relay hands over a knock.
    fn hear(&mut self, device: DeviceId, sealed: Option<Vec<u8>>, at_ms: u64) {
        let mailbox = self.invitation.mailbox();
        let knocked = Knocked { mailbox, device, at_ms, sealed: sealed.map(ByteVec::from) };
        self.coordinator.keep_knocks(vec![knocked]).unwrap();
    }

    fn one_pending(&mut self) -> PendingRequest {
        let mut pending = self.coordinator.pending().unwrap();
        assert_eq!(pending.len(), 1, "{pending:?}");
        pending.remove(0)
    }

    /// The countersignature that goes to the newcomer by itself.
    fn countersignature(&mut self) -> Option<ByteVec> {
        self.coordinator.mail().unwrap().into_iter().find_map(|mail| match mail {
            Mail::Countersign(signed) => Some(signed.sealed),
            Mail::Answer(_) | Mail::Open(_) => None,
        })
    }

    /// A newcomer knocks, is answered and knocks again, by way of this relay.
    fn come(&mut self, newcomer: &mut Engine, relay: RelayId, at_ms: u64) {
        self.come_as(newcomer.device_id(), newcomer, relay, at_ms);
    }

    /// As [`Desk::come`]; the relay says that it was this device.
    fn come_as(&mut self, device: DeviceId, newcomer: &mut Engine, relay: RelayId, at_ms: u64) {
        let first = knock_of(newcomer, relay);
        self.hear(device, Some(first), at_ms);
        let signed = self.countersignature().unwrap();
        let second = newcomer.reveal(&signed).unwrap().unwrap();
        self.hear(device, Some(second), at_ms);
    }

    /// The same, on a copy of its store.
    fn copy(&self) -> Self {
        let store = MemoryStore::default();
        let mut batch = Batch::default();
        for table in (0..=u8::MAX).map(Table) {
            for (key, value) in self.store.scan(table, &[], None, usize::MAX).unwrap() {
                batch.put(table, key, value);
            }
        }
        store.apply(batch).unwrap();
        let coordinator = open(1, &store, &self.hands);
        Self { coordinator, store, hands: Arc::clone(&self.hands), invitation: self.invitation.clone() }
    }

    /// What somebody who holds the link seals, whatever program they use.
    fn seal(&self, knock: &Knock) -> Vec<u8> {
        knock.seal(&self.invitation.secret, self.invitation.group, [7; SALT_BYTES])
    }

    /// The reason that goes to the newcomer by itself.
    fn refusal(&mut self) -> Option<String> {
        let answers = self.coordinator.mail().unwrap().into_iter().find_map(|mail| match mail {
            Mail::Answer(answer) => Some(answer.sealed),
            Mail::Open(_) | Mail::Countersign(_) => None,
        });
        let Invitation { secret, group, .. } = &self.invitation;
        answers.map(|sealed| open_answer(secret, *group, &sealed).unwrap())
    }

    fn opens(&mut self) -> bool {
        let mailbox = self.invitation.mailbox();
        let mail = self.coordinator.mail().unwrap();
        mail.iter().any(|mail| matches!(mail, Mail::Open(open) if open.mailbox == mailbox))
    }
}

/// Lets a knock arrive that cannot be approved.
type Wrong = fn(&mut Desk);

#[test]
fn each_wrong_knock_has_its_reason_on_both_sides() {
    let cases: [(&str, Wrong); 8] = [
        ("altered on its way", |desk| {
            let mut somebody = newcomer(2, desk);
            let mut sealed = knock_of(&mut somebody, RELAY);
            sealed[40] ^= 1;
            desk.hear(somebody.device_id(), Some(sealed), 1);
        }),
        ("another relay", |desk| {
            let mut somebody = newcomer(2, desk);
            desk.come(&mut somebody, RelayId([8; 32]), 1);
        }),
        ("another device than the one it names", |desk| {
            let device = newcomer(3, desk).device_id();
            desk.come_as(device, &mut newcomer(2, desk), RELAY, 1);
        }),
        ("has knocked twice", |desk| {
            let mut somebody = newcomer(2, desk);
            let first = knock_of(&mut somebody, RELAY);
            desk.hear(somebody.device_id(), Some(first), 1);
            desk.countersignature().unwrap();
            let another = desk.seal(&Knock::Commitment(Hash([1; 32])));
            desk.hear(somebody.device_id(), Some(another), 2);
        }),
        ("is no coordinator's", |desk| {
            let mut somebody = newcomer(2, desk);
            let first = knock_of(&mut somebody, RELAY);
            let signed = by_whoever_holds_the_link(desk, &first);
            let second = somebody.reveal(&signed).unwrap().unwrap();
            desk.hear(somebody.device_id(), Some(second), 1);
        }),
        ("used by somebody else", |desk| {
            let (mut first, mut second) = (newcomer(2, desk), newcomer(3, desk));
            desk.come(&mut first, RELAY, 1);
            let request = desk.one_pending();
            desk.coordinator.approve(&request).unwrap();
            let sealed = knock_of(&mut second, RELAY);
            desk.hear(second.device_id(), Some(sealed), 2);
        }),
        ("withdrawn", |desk| {
            let mut somebody = newcomer(2, desk);
            desk.coordinator.withdraw_invitation(desk.invitation.mailbox()).unwrap();
            let sealed = knock_of(&mut somebody, RELAY);
            desk.hear(somebody.device_id(), Some(sealed), 1);
        }),
        ("withdrawn", |desk| {
            let mut somebody = newcomer(2, desk);
            let sealed = knock_of(&mut somebody, RELAY);
            desk.hear(somebody.device_id(), Some(sealed), 1);
            desk.coordinator.withdraw_invitation(desk.invitation.mailbox()).unwrap();
        }),
    ];
    for (reason, set) in cases {
        let mut desk = desk();
        set(&mut desk);
        let request = desk.one_pending();
        assert!(request.problem.as_deref().is_some_and(|problem| problem.contains(reason)), "{request:?}");
        let members = desk.coordinator.info().unwrap().members;
        let error = desk.coordinator.approve(&request).unwrap_err();
        assert!(matches!(&error, Error::Approval(why) if why.contains(reason)), "{error}");
        assert_eq!(desk.refusal(), request.problem, "the newcomer reads the same");
        assert_eq!(desk.one_pending().problem, request.problem, "the screen goes on showing it");
        assert_eq!(desk.coordinator.info().unwrap().members, members);
        desk.coordinator.answered(request.invitation).unwrap();
        assert_eq!(desk.refusal(), None, "once the relay has it, it is not sent again");
        assert!(!desk.opens(), "the invitation is spent");
    }
}

/// A countersignature that is none: by a key of somebody's who holds the link, over this first knock.
fn by_whoever_holds_the_link(desk: &Desk, first: &[u8]) -> Vec<u8> {
    let Invitation { secret, group, .. } = &desk.invitation;
    let Knock::Commitment(commitment) = Knock::open(secret, *group, first).unwrap() else { panic!() };
    let key = ed25519_dalek::SigningKey::from_bytes(&[66; 32]);
    let mailbox = desk.invitation.mailbox();
    let signed = Countersignature::sign(&key, *group, mailbox, commitment, [6; NONCE_BYTES]);
    seal_countersignature(secret, *group, [8; SALT_BYTES], &signed)
}

fn code_of(newcomer: &mut Engine) -> Option<String> {
    match newcomer.joining().unwrap() {
        Some(crate::replica::Joining::Waiting { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_screens_show_the_code_only_after_both_numbers_are_fixed() {
    let mut desk = desk();
    let mut somebody = newcomer(2, &desk);
    let first = knock_of(&mut somebody, RELAY);
    desk.hear(somebody.device_id(), Some(first), 1);
    assert_eq!((code_of(&mut somebody), desk.one_pending().code), (None, None));
    let early = desk.one_pending();
    assert!(matches!(desk.coordinator.approve(&early), Err(Error::NoCodeYet)));
    let signed = desk.countersignature().unwrap();
    let second = somebody.reveal(&signed).unwrap().unwrap();
    let code = code_of(&mut somebody);
    assert!(code.is_some());
    assert_eq!(desk.one_pending().code, None);
    desk.hear(somebody.device_id(), Some(second), 1);
    assert_eq!(desk.one_pending().code, code);
    // What was compared is what is approved, not what is there by then.
    let other = PendingRequest { code: Some("0000 0000 0000".to_owned()), ..desk.one_pending() };
    assert!(matches!(desk.coordinator.approve(&other), Err(Error::NoCodeYet)));
    assert!(matches!(desk.coordinator.approve(&early), Err(Error::NoCodeYet)));
    let request = desk.one_pending();
    desk.coordinator.approve(&request).unwrap();
}

/// A relay that holds the link stands between the two. Of each side's part of the code it fixes its own first.
#[test]
fn relay_with_the_link_gets_one_blind_try_at_a_code() {
    let mut desk = desk();
    let (mut somebody, mut thief) = (newcomer(2, &desk), newcomer(3, &desk));
    // The newcomer is answered by the relay, and reveals; from now on the relay knows their code.
    let first = knock_of(&mut somebody, RELAY);
    let second = somebody.reveal(&by_whoever_holds_the_link(&desk, &first)).unwrap().unwrap();
    let wanted = code_of(&mut somebody).unwrap();
    // The newcomer's phone takes no second answer: with the opening known, one could be searched for.
    let later = by_whoever_holds_the_link(&desk, &first);
    assert_eq!(somebody.reveal(&later).unwrap(), Some(second));
    assert_eq!(code_of(&mut somebody), Some(wanted.clone()));

    // To the coordinator the relay shows a knock of the thief's. What it is the opening of cannot be chosen any more.
    let thiefs = knock_of(&mut thief, RELAY);
    desk.hear(thief.device_id(), Some(thiefs), 1);
    let signed = desk.countersignature().unwrap();
    let Invitation { secret, group, .. } = desk.invitation.clone();
    let opened = thief.reveal(&signed).unwrap().unwrap();
    let Ok(Knock::Reveal(reveal)) = Knock::open(&secret, group, &opened) else { panic!() };
    // It grinds: openings whose code ends in the wanted digit are found at once, and none is taken.
    let end = wanted.chars().last();
    let ground = (0..=u8::MAX).map(|nonce| {
        let opening = Opening { nonce: [nonce; NONCE_BYTES], ..reveal.opening.clone() };
        Reveal { opening, ..reveal.clone() }
    });
    let ground: Vec<Reveal> = ground.filter(|reveal| reveal.code(&secret).chars().last() == end).collect();
    assert!(!ground.is_empty());
    for reveal in ground {
        let sealed = desk.seal(&Knock::Reveal(reveal));
        let mut desk = desk.copy();
        desk.hear(thief.device_id(), Some(sealed), 1);
        let request = desk.one_pending();
        assert!(request.code.is_none() && request.problem.is_some(), "{request:?}");
    }
    // Other knocks with the same invitation are not answered: neither the thief's device nor another gets a second try.
    for (device, at_ms) in [(thief.device_id(), 2), (DeviceId([9; 32]), 0)] {
        let another = desk.seal(&Knock::Commitment(Hash([2; 32])));
        let mut desk = desk.copy();
        desk.coordinator.countersigned(desk.invitation.mailbox()).unwrap();
        desk.hear(device, Some(another), at_ms);
        assert_eq!(desk.countersignature(), None);
    }
    desk.hear(thief.device_id(), Some(opened), 1);
    assert_ne!(desk.one_pending().code, Some(wanted), "one in 10^12");
}

/// The key of somebody who was recovered once is not their identity, in an invitation's answer either.
#[test]
fn who_was_recovered_and_removed_comes_back_by_an_invitation_as_the_same_member() {
    let mut desk = desk();
    let (lost, mut new) = (open(2, &MemoryStore::default(), &desk.hands), newcomer(3, &desk));
    desk.coordinator
        .admit(&lost.request(desk.invitation.group).unwrap(), RoleId(roles::ROLE_VOLUNTEER))
        .unwrap();
    desk.coordinator.recover(lost.member_id(), &new.request(desk.invitation.group).unwrap()).unwrap();
    // The knock of a device that belongs by now needs nobody's decision.
    let sealed = knock_of(&mut new, RELAY);
    desk.hear(new.device_id(), Some(sealed), 1);
    assert_eq!(desk.coordinator.pending().unwrap(), []);
    desk.coordinator.remove(crate::roll::Target::Member(lost.member_id())).unwrap();
    desk.come(&mut new, RELAY, 1);
    let request = desk.one_pending();
    assert_eq!(request.problem, None);
    desk.coordinator.approve(&request).unwrap();
    assert_eq!(desk.coordinator.info().unwrap().members, 2);
    let state = desk.coordinator.state().unwrap();
    assert_eq!(state.device(new.device_id()).map(|(device, _)| device.member), Some(lost.member_id()));
    assert_eq!(desk.coordinator.pending().unwrap(), []);
}

#[test]
fn open_invitations_are_listed_until_they_are_used_up_refused_withdrawn_or_over() {
    let mut desk = desk();
    let member = desk.coordinator.member_id();
    let first = desk.invitation.mailbox();
    let late = desk.coordinator.invite(RoleId(roles::ROLE_LIAISON), 2 * DAY_MS).unwrap().mailbox();
    let listed = |desk: &mut Desk| -> Vec<_> {
        let rows = desk.coordinator.invitations().unwrap().into_iter();
        rows.map(|row| (row.invitation, row.role.0, row.by == member && row.is_own)).collect()
    };
    let (volunteer, liaison) = (roles::ROLE_VOLUNTEER, roles::ROLE_LIAISON);
    assert_eq!(listed(&mut desk), [(first, volunteer, true), (late, liaison, true)]);
    assert_eq!(desk.coordinator.invitations().unwrap()[0].expires_ms, desk.invitation.expires_s * 1_000);

    // Another coordinator's device hears of it, and of its withdrawal.
    let mut other = open(7, &MemoryStore::default(), &desk.hands);
    let request = other.request(desk.invitation.group).unwrap();
    let admission = desk.coordinator.admit(&request, RoleId(roles::ROLE_COORDINATOR)).unwrap();
    other.join(&admission).unwrap();
    let hand = |from: &Engine, to: &mut Engine| {
        let rows = from.store.scan(disk::ENTRIES, &[], None, usize::MAX).unwrap();
        let mine = rows.iter().filter(|(key, _)| key[1..33] != *to.device_id().as_bytes());
        let wires = mine.map(|(_, bytes)| cbor::decode(bytes).unwrap()).collect();
        to.receive(wires, None).unwrap();
    };
    hand(&desk.coordinator, &mut other);
    let theirs = other.invitations().unwrap();
    assert!(theirs.len() == 2 && theirs.iter().all(|row| !row.is_own && row.by == member), "{theirs:?}");
    other.withdraw_invitation(late).unwrap();
    other.withdraw_invitation(late).unwrap();
    hand(&other, &mut desk.coordinator);
    assert_eq!(listed(&mut desk), [(first, volunteer, true)]);
    let opens = |mail: &Mail| matches!(mail, Mail::Open(open) if open.mailbox == late);
    assert!(!desk.coordinator.mail().unwrap().iter().any(opens), "nobody opens a withdrawn one");

    let mut somebody = newcomer(2, &desk);
    desk.come(&mut somebody, RELAY, 1);
    let request = desk.one_pending();
    desk.coordinator.approve(&request).unwrap();
    assert_eq!(listed(&mut desk), []);
    for outcome in [
        desk.coordinator.withdraw_invitation(first),
        desk.coordinator.refuse(&request, "too late"),
        desk.coordinator.withdraw_invitation(MailboxId([0; 16])),
    ] {
        assert!(matches!(outcome, Err(Error::Settled(_))), "{outcome:?}");
    }
    let why = desk.coordinator.refuse(&request, "too late").unwrap_err().to_string();
    assert!(why.contains("by you or another coordinator") && why.contains("remove the member"), "{why}");
}

#[test]
fn of_two_knocks_with_one_invitation_the_earlier_counts_and_the_later_is_refused() {
    let mut desk = desk();
    let (mut first, mut second) = (newcomer(2, &desk), newcomer(3, &desk));
    for (who, at_ms) in [(&mut second, 2), (&mut first, 1)] {
        let sealed = knock_of(who, RELAY);
        desk.hear(who.device_id(), Some(sealed), at_ms);
    }
    let pending = desk.coordinator.pending().unwrap();
    let problems: Vec<_> = pending.iter().map(|p| (p.device, p.problem.is_some())).collect();
    assert_eq!(problems, [(first.device_id(), false), (second.device_id(), true)]);
    assert!(desk.refusal().unwrap().contains("came first"));
    assert!(matches!(desk.coordinator.approve(&pending[1]), Err(Error::Approval(_))));
    // Once the device goes by one of them, no earlier time that a relay names takes its place.
    let signed = desk.countersignature().unwrap();
    let second = first.reveal(&signed).unwrap().unwrap();
    desk.hear(first.device_id(), Some(second), 1);
    let mut third = newcomer(4, &desk);
    let sealed = knock_of(&mut third, RELAY);
    desk.hear(third.device_id(), Some(sealed), 0);
    let pending = desk.coordinator.pending().unwrap();
    let request = pending.iter().find(|request| request.device == first.device_id()).unwrap();
    assert!(pending.iter().all(|other| other == request || other.problem.is_some()), "{pending:?}");
    desk.coordinator.approve(request).unwrap();
    assert_eq!(desk.coordinator.info().unwrap().members, 2);
}

#[test]
fn what_came_and_what_was_decided_is_on_the_disk() {
    let mut desk = desk();
    assert!(desk.opens());
    let mut somebody = newcomer(2, &desk);
    let sealed = knock_of(&mut somebody, RELAY);
    assert_eq!(sealed, knock_of(&mut somebody, RELAY), "a knock that is repeated is the same");
    desk.hear(somebody.device_id(), Some(sealed), 1);
    // What it answered is the same after a restart, until the relay has it: a second answer would be a second code.
    let signed = desk.countersignature();
    desk.coordinator = open(1, &desk.store, &desk.hands);
    assert!(signed.is_some() && desk.countersignature() == signed);
    desk.coordinator.countersigned(desk.invitation.mailbox()).unwrap();
    assert_eq!(desk.countersignature(), None);
    let request = desk.one_pending();
    desk.coordinator = open(1, &desk.store, &desk.hands);
    assert_eq!(desk.one_pending(), request);
    desk.coordinator.refuse(&request, "not you").unwrap();
    desk.coordinator = open(1, &desk.store, &desk.hands);
    assert_eq!(desk.coordinator.pending().unwrap(), []);
    assert_eq!(desk.refusal().as_deref(), Some("not you"));
    // Its own refusal comes back from the relay, and changes nothing.
    desk.hear(somebody.device_id(), None, 1);
    assert_eq!(desk.refusal().as_deref(), Some("not you"));
    assert!(!desk.opens());
}

#[test]
fn what_another_coordinator_refused_is_settled_even_if_the_knock_was_never_seen() {
    let mut desk = desk();
    let mut somebody = newcomer(2, &desk);
    desk.hear(somebody.device_id(), None, 1);
    assert_eq!(desk.coordinator.pending().unwrap(), []);
    assert!(!desk.opens(), "a relay that lost its store is not told of it again");
    let sealed = knock_of(&mut somebody, RELAY);
    desk.hear(somebody.device_id(), Some(sealed), 2);
    assert_eq!(desk.coordinator.pending().unwrap(), []);
}

#[test]
fn time_ends_an_invitation_and_in_the_end_it_is_forgotten() {
    let mut desk = desk();
    let mut somebody = newcomer(2, &desk);
    let sealed = knock_of(&mut somebody, RELAY);
    desk.hear(somebody.device_id(), Some(sealed), 1);
    let request = desk.one_pending();
    desk.hands.0.store(DAY_MS, Ordering::Relaxed);
    assert!(!desk.opens());
    assert!(desk.one_pending().problem.unwrap().contains("expired"));
    assert!(
        matches!(desk.coordinator.approve(&request), Err(Error::Approval(why)) if why.contains("expired"))
    );
    assert_eq!(somebody.joining().unwrap(), Some(super::super::Joining::Expired));
    desk.hands.0.store(DAY_MS + limits::INVITATION_MS_MAX + 1_000, Ordering::Relaxed);
    assert_eq!(desk.coordinator.mail().unwrap(), []);
    assert_eq!(desk.coordinator.pending().unwrap(), []);
    assert!(desk.store.scan(Table(16), &[], None, 9).unwrap().is_empty());
}

#[test]
fn a_relay_cannot_fill_a_phone_with_knocks() {
    let mut desk = desk();
    for n in 0..limits::MAILBOXES_MAX + 9 {
        let device = DeviceId(hash_of(n));
        desk.hear(device, Some(vec![0; 40]), 1);
    }
    assert_eq!(desk.store.scan(Table(16), &[], None, usize::MAX).unwrap().len(), limits::MAILBOXES_MAX);
}

fn hash_of(n: usize) -> [u8; 32] {
    crate::base::hash::sha256(&n.to_be_bytes()).0
}

#[test]
fn no_secret_and_no_reason_lies_on_the_disk_in_the_clear() {
    let mut desk = desk();
    let mut somebody = newcomer(2, &desk);
    let sealed = knock_of(&mut somebody, RELAY);
    desk.hear(somebody.device_id(), Some(sealed), 1);
    let request = desk.one_pending();
    desk.coordinator.refuse(&request, "a word that nobody else reads").unwrap();
    let secret = desk.invitation.secret.0;
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    for table in 0..=u8::MAX {
        for (key, value) in desk.store.scan(Table(table), &[], None, usize::MAX).unwrap() {
            for needle in [secret.as_slice(), text.as_bytes(), b"a word that nobody"] {
                let found = key.windows(needle.len()).chain(value.windows(needle.len())).any(|w| w == needle);
                assert!(!found, "table {table}");
            }
        }
    }
}
