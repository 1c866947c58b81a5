//! Vectors of sections 4.3 and 4.4: whose a device, a key and an invitation are; and what founds no roll.

use lamppost_core::base::{MailboxId, cbor};
use lamppost_core::entry::{Scope, Verified};
use lamppost_core::roll::operation::Admission;
use lamppost_core::roll::{Founding, KeyUpdate, Operation, Roll, Target};
use minicbor::bytes::ByteVec;
use serde_json::{Value, json};

use crate::story::{Story, admit, certify, policy, recover, remove, remove_member};
use crate::town::{COORDINATOR, GROUP, INVITED, NONCE, Party, VOLUNTEER, hex, operation, template};

pub fn histories() -> Vec<Story> {
    vec![
        taken_out_and_back(),
        nobody_recovers_themselves(),
        sixteen_devices(),
        one_key_for_two(),
        no_new_key(),
        one_invitation(),
        founder_again(),
    ]
}

fn belongs(story: &Story, who: &str) -> bool {
    story.state().device(story.party(who).device_id()).is_some()
}

fn remove_device(who: &Party) -> Operation {
    remove(Target::Device(who.device_id()), Vec::new())
}

fn taken_out_and_back() -> Story {
    let mut s =
        Story::new("A removes V's and B's phones, which enter themselves; B's tablet enters B's phone");
    let base = s.base;
    let tablet = certify(&s.b_tablet, KeyUpdate::default());
    let entered = s.write("b", &[base], tablet);
    let [of_v, of_b] = [remove_device(&s.v), remove_device(&s.b)];
    let removed = s.write("a", &[entered], of_v);
    let removed = s.write("a", &[removed], of_b);
    // The old certificate is good, and says nothing about today.
    s.enter("v", &[removed]);
    let itself = certify(&s.v, KeyUpdate::default());
    let itself = s.write("v", &[removed], itself);
    let phone = certify(&s.b, KeyUpdate::default());
    s.write("b", &[removed], phone.clone());
    s.seal("by V's phone", "v", GROUP, 1, &[removed]);
    s.seal("by V's phone, by its own word", "v", GROUP, 2, &[itself]);
    assert!(!belongs(&s, "v") && !belongs(&s, "b") && s.state().member(s.v.member_id()).is_some());
    let back = s.write("b tablet", &[removed], phone);
    s.seal("by B's phone, which came back", "b", GROUP, 1, &[back]);
    assert!(!belongs(&s, "v") && belongs(&s, "b") && belongs(&s, "b tablet"));
    s
}

fn nobody_recovers_themselves() -> Story {
    let mut s = Story::new("B and C ask to recover A, and A completes it; V wants to recover V");
    let base = s.base;
    let wanted = recover(&s.a, &s.x);
    let by_b = s.write("b", &[base], wanted.clone());
    let by_c = s.write("c", &[base], wanted.clone());
    // Two of three want it; but A, who writes it, has a device.
    s.write("a", &[by_b, by_c], wanted);
    let own = recover(&s.v, &s.y);
    s.write("v", &[base], own);
    assert!(belongs(&s, "a") && belongs(&s, "v") && !belongs(&s, "x") && !belongs(&s, "y"));
    assert_eq!(s.state().proposals().len(), 1);
    s
}

fn sixteen_devices() -> Story {
    let mut s = Story::new("V enters a 17th device, which enters itself; when one is gone, it may come");
    let mut last = s.base;
    for _ in 1..16 {
        let another = Party::draw(&mut s.rng);
        let another = certify(&s.v.with_device_of(&another), KeyUpdate::default());
        last = s.write("v", &[last], another);
    }
    let tablet = certify(&s.v_tablet, KeyUpdate::default());
    s.write("v", &[last], tablet.clone());
    s.enter("v tablet", &[last]);
    s.write("v tablet", &[last], tablet.clone());
    assert!(!belongs(&s, "v tablet"));
    let gone = remove_device(&s.v);
    let gone = s.write("a", &[last], gone);
    s.write("v tablet", &[gone], tablet);
    assert!(belongs(&s, "v tablet") && !belongs(&s, "v"));
    s
}

fn one_key_for_two() -> Story {
    let mut s =
        Story::new("A recovers V, and B recovers C, with the same new key; it enters a second device");
    let base = s.base;
    s.y = s.x.with_device_of(&s.y);
    let [of_v, of_c] = [recover(&s.v, &s.x), recover(&s.c, &s.x)];
    let of_v = s.write("a", &[base], of_v);
    let of_c = s.write("b", &[base], of_c);
    s.enter("y", &[of_v, of_c]);
    let smaller = s.v.member_id().min(s.c.member_id());
    assert!(s.state().device(s.y.device_id()).is_some_and(|(device, _)| device.member == smaller));
    s
}

fn no_new_key() -> Story {
    let mut s = Story::new(
        "A recovers V, then removes V; C is to be recovered with V's old key, and with the new one",
    );
    let base = s.base;
    let recovered = recover(&s.v, &s.x);
    let recovered = s.write("a", &[base], recovered);
    let removal = remove_member(&s.v);
    let removed = s.write("a", &[recovered], removal);
    s.y = s.v.with_device_of(&s.y);
    let [old, new] = [recover(&s.c, &s.y), recover(&s.c, &s.x)];
    s.write("a", &[removed], old);
    s.write("b", &[removed], new);
    assert!(belongs(&s, "c") && !belongs(&s, "x") && !belongs(&s, "y"));
    s
}

/// Who came with one invitation: not whose admission is void.
fn one_invitation() -> Story {
    let mut s =
        Story::new("A admits Y and C admits X by the same invitation; V admits X by another; A removes C");
    let base = s.base;
    let by = |who: &Party, invitation| {
        Operation::Admit(Admission {
            member: who.member_id(),
            role: VOLUNTEER,
            certificates: vec![who.certificate_bytes()],
            keys: KeyUpdate::default(),
            invitation: Some(invitation),
        })
    };
    let [x, y, without_right] = [by(&s.x, INVITED), by(&s.y, INVITED), by(&s.x, MailboxId([0x4e; 16]))];
    s.write("c", &[base], x);
    s.write("v", &[base], without_right);
    let removal = remove_member(&s.c);
    let removed = s.write("a", &[base], removal);
    let later = s.write("a", &[removed], policy(&[(1, 30)]));
    s.write("a", &[later], y);
    assert!(belongs(&s, "y") && !belongs(&s, "x"));
    assert_eq!(s.state().invited(INVITED), Some(s.y.member_id()));
    assert_eq!(s.state().invited(MailboxId([0x4e; 16])), None);
    s
}

/// The certificate of the founding entry was signed before the group had an id. It is good in this group alone.
fn founder_again() -> Story {
    let mut s =
        Story::new("B and C remove A; B admits A as a volunteer, by the certificate of the founding entry");
    let base = s.base;
    let asked = s.write("b", &[base], remove_member(&s.a));
    let removed = s.write("c", &[asked], remove_member(&s.a));
    let founder = Party { scope: Scope::founding(&NONCE), ..s.a.with_device_of(&s.a) };
    s.write("b", &[removed], admit(&founder, VOLUNTEER));
    assert!(belongs(&s, "a"));
    s
}

/// Entries that are no roll.
pub fn refused() -> Value {
    let s = Story::new("what founds no roll");
    let founding_by = |device: &Party, scope: Scope| {
        let founder = Party { scope, ..s.a.with_device_of(&s.a) };
        let certificate = founder.certificate();
        let founding = Founding {
            template: template(),
            role: COORDINATOR,
            certificate: ByteVec::from(certificate.as_bytes().to_vec()),
            keys: KeyUpdate::default(),
            nonce: NONCE,
        };
        operation(device, None, &[], 0, &Operation::Found(founding))
    };
    let founding = |device: &Party| founding_by(device, Scope::founding(&NONCE));
    let good = founding(&s.a);
    assert!(Roll::found(&good).is_ok());
    let by_another = founding(&s.b);
    assert!(Roll::found(&by_another).is_err());
    let for_another_founding = founding_by(&s.a, Scope::founding(&[0; 16]));
    assert!(Roll::found(&for_another_founding).is_err());
    let for_a_group = founding_by(&s.a, s.a.scope);
    assert!(Roll::found(&for_a_group).is_err());
    let mut again = cbor::decode::<Operation>(good.body().unwrap()).unwrap();
    if let Operation::Found(founding) = &mut again {
        founding.nonce = [0; 16];
    }
    let again = operation(&s.a, Some(&good), &[good.hash()], 1, &again);
    assert!(Roll::found(&good).unwrap().insert(&again).is_err());
    let admission = admit(&s.b, COORDINATOR);
    let admission = operation(&s.a, Some(&good), &[good.hash()], 1, &admission);
    assert!(Roll::found(&admission).is_err());
    let bytes =
        |entries: &[&Verified]| entries.iter().map(|entry| hex(&entry.to_bytes())).collect::<Vec<_>>();
    json!([
        { "why": "the founder's certificate is another device's", "entries": bytes(&[&by_another]) },
        { "why": "the founder's certificate is for another founding", "entries": bytes(&[&for_another_founding]) },
        { "why": "the founder's certificate is for a group", "entries": bytes(&[&for_a_group]) },
        { "why": "a group is founded within a group", "entries": bytes(&[&good, &again]) },
        { "why": "nothing founds it", "entries": bytes(&[&admission]) },
    ])
}
