//! Vectors of sections 4.3 to 4.5: small rolls in which people act without hearing of each other.

use lamppost_core::base::{EntryHash, RoleId};
use lamppost_core::entry::keys::{Agreement, Secret};
use lamppost_core::entry::{Kind, LogHead, LogId};
use lamppost_core::roll::operation::{EndHold, Hold, Shred, Watermark, hold_reasons};
use lamppost_core::roll::{KeyUpdate, Operation, Target};
use serde_json::{Value, json};

use crate::story::{Story, accept, admit, certify, policy, recover, remove, remove_member};
use crate::town::{COORDINATOR, COORDINATORS, GROUP, LIAISON, VOLUNTEER, begin, hand_out};
use crate::{identities, takeovers};

/// Every history with its outcome.
pub fn histories() -> Value {
    let told = [
        mutual_removal(),
        chain_of_admissions(),
        removal_against_role_change(),
        readmission(),
        removal_by_the_removed(),
        majority(),
        removal_against_rotation(),
        rotation_by_the_removed(),
        a_phone_of_two_devices(),
        recovery(),
        recovery_by_majority(),
        devices(),
        lost_phone(),
        settings(),
        holds_and_shreds(),
        acceptance(),
        leaving(),
        three_in_a_row(),
        two_roles_at_once(),
        two_coordinators(),
        back_again(),
        entered_by_nobody(),
        without_right(),
    ];
    let told = told
        .into_iter()
        .chain(identities::histories())
        .chain(takeovers::histories())
        .map(|story| story.outcome());
    json!({ "histories": told.collect::<Vec<_>>(), "refused": identities::refused() })
}

fn belongs(story: &Story, who: &str) -> bool {
    story.state().device(story.party(who).device_id()).is_some()
}

fn mutual_removal() -> Story {
    let mut s = Story::new("A removes B, B removes A");
    let base = s.base;
    let before = s.seal("written before", "b", GROUP, 4, &[base]);
    let last = s.seal("the last that A had seen", "b", GROUP, 5, &[base]);
    s.seal("another at the place of the last", "b", GROUP, 5, &[base, s.founding()]);
    s.seal("written meanwhile", "b", GROUP, 6, &[base]);
    s.seal("in a log that A had not seen", "b", COORDINATORS, 1, &[base]);
    assert_ne!(before, last);
    let marks = vec![s.mark("b", GROUP, last)];
    let removal = remove(Target::Member(s.b.member_id()), marks);
    s.write("a", &[base], removal);
    let removal = remove_member(&s.a);
    s.write("b", &[base], removal);
    s.seal("by A", "a", GROUP, 6, &[base]);
    assert!(belongs(&s, "a") && !belongs(&s, "b"));
    s
}

fn chain_of_admissions() -> Story {
    let mut s = Story::new("A removes B; B admits X; X admits Y");
    let base = s.base;
    let removal = remove_member(&s.b);
    s.write("a", &[base], removal);
    let admission = admit(&s.x, COORDINATOR);
    let x = s.write("b", &[base], admission);
    let admission = admit(&s.y, VOLUNTEER);
    let y = s.write("x", &[x], admission);
    s.seal("by X", "x", GROUP, 1, &[x]);
    s.seal("by Y", "y", GROUP, 1, &[y]);
    s.seal("by V", "v", GROUP, 1, &[base]);
    assert!(!belongs(&s, "x") && !belongs(&s, "y"));
    s
}

fn removal_against_role_change() -> Story {
    let mut s = Story::new("B removes V; C makes V a coordinator");
    let base = s.base;
    let removal = remove_member(&s.v);
    s.write("b", &[base], removal);
    let promotion = admit(&s.v, COORDINATOR);
    let promotion = s.write("c", &[base], promotion);
    s.seal("by V as coordinator", "v", GROUP, 1, &[promotion]);
    assert!(!belongs(&s, "v"));
    s
}

fn readmission() -> Story {
    let mut s = Story::new("B removes V, then admits V again; C gives V another role");
    let base = s.base;
    s.seal("before", "v", GROUP, 1, &[base]);
    let removal = remove_member(&s.v);
    let removed = s.write("b", &[base], removal);
    let again = admit(&s.v, VOLUNTEER);
    let again = s.write("b", &[removed], again);
    let other = admit(&s.v, LIAISON);
    let other = s.write("c", &[base], other);
    s.seal("in knowledge of the return", "v", GROUP, 2, &[again]);
    s.seal("in knowledge of the other role alone", "v", GROUP, 3, &[other]);
    s.seal("in knowledge of both", "v", GROUP, 4, &[again, other]);
    assert!(s.state().member(s.v.member_id()).is_some_and(|held| held.role == VOLUNTEER));
    s
}

fn removal_by_the_removed() -> Story {
    let mut s = Story::new("A removes C; C removes V");
    let base = s.base;
    let removal = remove_member(&s.c);
    s.write("a", &[base], removal);
    let removal = remove_member(&s.v);
    s.write("c", &[base], removal);
    s.seal("by V", "v", GROUP, 1, &[base]);
    assert!(belongs(&s, "v") && !belongs(&s, "c"));
    s
}

fn majority() -> Story {
    let mut s = Story::new("B and C propose to remove A, one knowing of the other; A removes B and C");
    let base = s.base;
    let against_a = remove_member(&s.a);
    let first = s.write("b", &[base], against_a.clone());
    s.write("c", &[first], against_a);
    for who in ["b", "c"] {
        let removal = remove_member(s.party(who));
        s.write("a", &[base], removal);
    }
    s.seal("by A", "a", GROUP, 1, &[base]);
    s.seal("by B", "b", GROUP, 1, &[base]);
    assert!(!belongs(&s, "a") && belongs(&s, "b") && belongs(&s, "c"));
    s
}

fn removal_against_rotation() -> Story {
    let mut s = Story::new("A removes V; B rotates and grants V the new key");
    let base = s.base;
    let removal = remove_member(&s.v);
    s.write("a", &[base], removal);
    let key = Agreement::from_secret(Secret([0x11; 32]));
    let rotation = begin(&mut s.rng, &[(GROUP, 1, &key)], &[&s.a, &s.b, &s.c, &s.v]);
    s.write("b", &[base], Operation::KeyUpdate(rotation));
    assert!(s.state().is_exposed(GROUP));
    s
}

fn rotation_by_the_removed() -> Story {
    let mut s = Story::new("C, removed by A, rotates");
    let base = s.base;
    let removal = remove_member(&s.c);
    s.write("a", &[base], removal);
    let key = Agreement::from_secret(Secret([0x12; 32]));
    let rotation = begin(&mut s.rng, &[(GROUP, 1, &key)], &[&s.a, &s.c]);
    s.write("c", &[base], Operation::KeyUpdate(rotation));
    let newest = s.state().newest_epoch(GROUP).map(|(id, _)| id.number);
    assert_eq!((newest, s.state().epochs(GROUP).count()), (Some(0), 2));
    s
}

fn a_phone_of_two_devices() -> Story {
    let mut s = Story::new("A removes B's phone; B's tablet admits X");
    let base = s.base;
    let certified = certify(&s.b_tablet, KeyUpdate::default());
    let both = s.write("b", &[base], certified);
    let removal = remove(Target::Device(s.b.device_id()), Vec::new());
    s.write("a", &[both], removal);
    let admission = admit(&s.x, VOLUNTEER);
    s.write("b tablet", &[both], admission);
    let admission = admit(&s.y, VOLUNTEER);
    s.write("b", &[both], admission);
    s.seal("by the phone", "b", GROUP, 1, &[both]);
    s.seal("by the tablet", "b tablet", GROUP, 1, &[both]);
    s.seal("by the tablet before it was entered", "b tablet", GROUP, 1, &[base]);
    assert!(belongs(&s, "x") && belongs(&s, "b tablet") && !belongs(&s, "b") && !belongs(&s, "y"));
    s
}

fn recovery() -> Story {
    let mut s = Story::new("A recovers V with a new key; V's old phone enters another device");
    let base = s.base;
    let recovered = recover(&s.v, &s.x);
    let recovered = s.write("a", &[base], recovered);
    let tablet = certify(&s.v_tablet, KeyUpdate::default());
    s.write("v", &[base], tablet);
    // The old key is nobody's now; the new one is V's.
    let tablet = certify(&s.v_tablet, KeyUpdate::default());
    s.write("v tablet", &[recovered], tablet);
    let again = s.enter("x", &[recovered]);
    s.seal("by the old phone", "v", GROUP, 1, &[base]);
    s.seal("by the new phone", "x", GROUP, 1, &[recovered]);
    s.seal("by the new phone, not knowing that it is one", "x", GROUP, 2, &[base]);
    // B wants to recover V with a key that is somebody's already.
    let taken = recover(&s.v, &s.c);
    s.write("b", &[again], taken);
    assert!(belongs(&s, "x") && !belongs(&s, "v") && !belongs(&s, "v tablet"));
    s
}

fn recovery_by_majority() -> Story {
    let mut s = Story::new("C asks to recover A; B asks for the same; C asks for another key alone");
    let base = s.base;
    let wanted = recover(&s.a, &s.x);
    let first = s.write("c", &[base], wanted.clone());
    let other = recover(&s.a, &s.y);
    s.write("c", &[first], other);
    s.write("b", &[first], wanted);
    assert!(belongs(&s, "x") && !belongs(&s, "a") && !belongs(&s, "y"));
    s
}

fn devices() -> Story {
    let mut s = Story::new("V's phone enters a tablet, with a key; others enter what is not theirs to enter");
    let base = s.base;
    let keys = hand_out(&mut s.rng, &[(GROUP, 0, &s.epoch)], &[&s.v_tablet]);
    let tablet = certify(&s.v_tablet, keys);
    let entered = s.write("v", &[base], tablet);
    let for_another = hand_out(&mut s.rng, &[(GROUP, 0, &s.epoch)], &[&s.b_tablet, &s.y]);
    let greedy = certify(&s.b_tablet, for_another);
    s.write("b", &[base], greedy);
    // A device enters itself, in knowledge of what happened.
    let itself = certify(&s.b_tablet, KeyUpdate::default());
    s.write("b tablet", &[entered], itself);
    // A stranger enters themselves, and a coordinator a device of somebody else.
    let stranger = certify(&s.y, KeyUpdate::default());
    s.write("y", &[base], stranger);
    let meddling = certify(&s.v, KeyUpdate::default());
    s.write("c", &[base], meddling);
    assert!(belongs(&s, "v tablet") && belongs(&s, "b tablet") && !belongs(&s, "y"));
    s
}

fn lost_phone() -> Story {
    let mut s = Story::new(
        "V's tablet removes V's phone, and the phone the tablet; C removes B's tablet, which is no junior's",
    );
    let base = s.base;
    let tablet = certify(&s.v_tablet, KeyUpdate::default());
    let entered = s.write("v", &[base], tablet);
    let tablet = certify(&s.b_tablet, KeyUpdate::default());
    let of_b = s.write("b", &[base], tablet);
    let removal = remove(Target::Device(s.v.device_id()), Vec::new());
    s.write("v tablet", &[entered], removal);
    let removal = remove(Target::Device(s.v_tablet.device_id()), Vec::new());
    s.write("v", &[entered], removal);
    let removal = remove(Target::Device(s.b_tablet.device_id()), Vec::new());
    s.write("c", &[of_b], removal);
    for (compartment, place) in [(GROUP, "group"), (COORDINATORS, "coordinators, which V cannot read")] {
        for who in ["v", "v tablet"] {
            s.seal(&format!("by {who} in {place}"), who, compartment, 1, &[entered]);
        }
    }
    assert!(!belongs(&s, "v") && !belongs(&s, "v tablet") && belongs(&s, "b tablet"));
    s
}

fn settings() -> Story {
    let mut s = Story::new("A, B and C set policies; so do a volunteer and one who was removed");
    let base = s.base;
    let first = s.write("a", &[base], policy(&[(1, 30), (7, 9)]));
    let second = s.write("b", &[base], policy(&[(1, 60)]));
    s.write("v", &[base], policy(&[(2, 1)]));
    s.write("b", &[first, second], policy(&[(2, 14), (u16::MAX, u64::MAX)]));
    let removal = remove_member(&s.c);
    s.write("a", &[first], removal);
    s.write("c", &[base], policy(&[(2, 0), (3, 3)]));
    assert_eq!((s.state().setting(2), s.state().setting(3)), (Some(14), None));
    s
}

fn holds_and_shreds() -> Story {
    let mut s =
        Story::new("B and C hold entries of V's, A ends what B said; V shreds one of V's and one of X's");
    let base = s.base;
    let one = s.seal("held, and shredded by V", "v", GROUP, 1, &[base]);
    let other = s.seal("held until a day", "v", GROUP, 2, &[base]);
    let named = |head: LogHead, s: &Story, who: &str| Watermark {
        log: LogId { compartment: GROUP, device: s.party(who).device_id() },
        head,
    };
    let hold = |heads: &[LogHead], until_day| {
        let mut entries: Vec<_> = heads.iter().map(|head| head.hash).collect();
        entries.sort_unstable();
        Operation::Hold(Hold { entries, reason: hold_reasons::DISPUTE, until_day })
    };
    let by_b = s.write("b", &[base], hold(&[one, other], None));
    let by_c = s.write("c", &[base], hold(&[other], Some(20_700)));
    // Ends what it names, and not what C said at the same time.
    s.write("a", &[by_b], Operation::EndHold(EndHold { holds: vec![by_b] }));
    s.write("v", &[base], hold(&[one], None));
    let own = Shred { entries: vec![named(one, &s, "v")], document: None };
    s.write("v", &[by_c], Operation::Shred(own));
    let not_own = Shred { entries: vec![named(other, &s, "a")], document: None };
    s.write("v", &[by_c], Operation::Shred(not_own));
    let retention = s.state().retention().clone();
    assert_eq!(retention.held().collect::<Vec<_>>(), [(other.hash, 20_700)]);
    assert_eq!(retention.shredded().map(|(at, _, _)| at).collect::<Vec<_>>(), [one.hash]);
    s
}

fn acceptance() -> Story {
    let mut s = Story::new("A removes V; B accepts an entry of V's, and C, who was removed, another");
    let base = s.base;
    let one = s.seal("accepted by B", "v", GROUP, 1, &[base]);
    let other = s.seal("accepted by C", "v", GROUP, 2, &[base]);
    let removal = remove_member(&s.v);
    let removed = s.write("a", &[base], removal);
    let removal = remove_member(&s.c);
    s.write("a", &[removed], removal);
    s.write("b", &[removed], accept(&[one]));
    s.write("c", &[removed], accept(&[other]));
    s
}

fn leaving() -> Story {
    let mut s = Story::new("C leaves; so does V, who then writes on; C had admitted X before");
    let base = s.base;
    let admission = admit(&s.x, VOLUNTEER);
    let admitted = s.write("c", &[base], admission);
    let leaves = remove_member(&s.c);
    s.write("c", &[admitted], leaves);
    let leaves = remove_member(&s.v);
    let left = s.write("v", &[base], leaves);
    s.seal("by V, who had left", "v", GROUP, 1, &[left]);
    s.seal("by V, in coordinators", "v", COORDINATORS, 1, &[base]);
    s.write("v", &[left], policy(&[]));
    assert!(belongs(&s, "x") && !belongs(&s, "c") && !belongs(&s, "v"));
    s
}

fn three_in_a_row() -> Story {
    let mut s = Story::new("A removes B; B removes C; C removes V");
    let base = s.base;
    for (author, target) in [("c", "v"), ("b", "c"), ("a", "b")] {
        let removal = remove_member(s.party(target));
        s.write(author, &[base], removal);
    }
    assert!(!belongs(&s, "b") && belongs(&s, "c") && !belongs(&s, "v"));
    s
}

fn two_roles_at_once() -> Story {
    let mut s =
        Story::new("B admits X as volunteer, C as liaison; then C is removed, who had named the last");
    let base = s.base;
    let admission = admit(&s.x, VOLUNTEER);
    let by_b = s.write("b", &[base], admission);
    let admission = admit(&s.x, LIAISON);
    let by_c = s.write("c", &[base], admission);
    let removal = remove_member(&s.c);
    s.write("a", &[base], removal);
    s.seal("by X, whom both admitted", "x", GROUP, 1, &[by_b, by_c]);
    s.seal("by X, whom C admitted", "x", GROUP, 1, &[by_c]);
    assert!(s.state().member(s.x.member_id()).is_some_and(|held| held.role == VOLUNTEER));
    s
}

fn two_coordinators() -> Story {
    let mut s = Story::new("C has left; B wants A out, and A removes B's tablet: one of two is no majority");
    let base = s.base;
    let leaves = remove_member(&s.c);
    let left = s.write("c", &[base], leaves);
    let wanted = remove_member(&s.a);
    s.write("b", &[left], wanted);
    let tablet = certify(&s.b_tablet, KeyUpdate::default());
    let entered = s.write("b", &[left], tablet);
    let removal = remove(Target::Device(s.b_tablet.device_id()), Vec::new());
    s.write("a", &[entered], removal);
    assert!(belongs(&s, "a") && belongs(&s, "b") && !belongs(&s, "b tablet"));
    assert_eq!(s.state().proposals().len(), 1);
    s
}

fn back_again() -> Story {
    let mut s = Story::new("A removes C and makes C a coordinator again; C, who knows it, admits X");
    let base = s.base;
    let removal = remove_member(&s.c);
    let removed = s.write("a", &[base], removal);
    let again = admit(&s.c, COORDINATOR);
    let again = s.write("a", &[removed], again);
    let admission = admit(&s.x, VOLUNTEER);
    s.write("c", &[again], admission);
    // C comes after everybody now, whatever the rank before.
    let removal = remove_member(&s.b);
    s.write("c", &[again], removal);
    s.seal("by C, before", "c", GROUP, 1, &[base]);
    s.seal("by C, after", "c", GROUP, 2, &[again]);
    assert!(belongs(&s, "c") && belongs(&s, "x") && belongs(&s, "b"));
    s
}

fn entered_by_nobody() -> Story {
    let mut s =
        Story::new("A removes B; B admits X, who enters their device anew; A admits X without a device");
    let base = s.base;
    let removal = remove_member(&s.b);
    let removed = s.write("a", &[base], removal);
    let admission = admit(&s.x, VOLUNTEER);
    let admitted = s.write("b", &[base], admission);
    let itself = certify(&s.x, KeyUpdate::default());
    let entered = s.write("x", &[admitted], itself);
    let mut admission = admit(&s.x, VOLUNTEER);
    if let Operation::Admit(admission) = &mut admission {
        admission.certificates.clear();
    }
    let again = s.write("a", &[removed], admission);
    s.seal("by X, who knows both", "x", GROUP, 1, &[entered, again]);
    s
}

/// What has no effect, and what a later version might say.
fn without_right() -> Story {
    let mut s = Story::new("operations of those who may not, and of a later version");
    let base = s.base;
    let promotion = admit(&s.v, COORDINATOR);
    s.write("v", &[base], promotion);
    let removal = remove_member(&s.c);
    s.write("v", &[base], removal);
    let recovered = recover(&s.c, &s.y);
    s.write("v", &[base], recovered);
    let demotion = admit(&s.b, VOLUNTEER);
    s.write("a", &[base], demotion);
    let no_role = admit(&s.x, RoleId(9));
    s.write("a", &[base], no_role);
    let of_a_later_version = Operation::Unknown { number: 12, cbor: vec![0xa1, 0x00, 0x01] };
    s.write("a", &[base], of_a_later_version.clone());
    s.write("v", &[base], of_a_later_version);
    let key = Agreement::from_secret(Secret([0x13; 32]));
    let leap = begin(&mut s.rng, &[(GROUP, u32::MAX, &key)], &[&s.b]);
    s.write("b", &[base], Operation::KeyUpdate(leap));
    let by_a_volunteer = begin(&mut s.rng, &[(GROUP, 1, &key)], &[&s.v]);
    s.write("v", &[base], Operation::KeyUpdate(by_a_volunteer));
    let nowhere = begin(&mut s.rng, &[(lamppost_core::base::CompartmentId(9), 1, &key)], &[&s.b]);
    let nowhere: EntryHash = s.write("b", &[base], Operation::KeyUpdate(nowhere));
    s.enter("c", &[nowhere]);
    s.put("c", &[nowhere], Kind(9), b"of a later version".to_vec());
    // Somebody who governs is not removed by who outranks nobody; who is no member cannot be removed.
    let removal = remove_member(&s.y);
    s.write("a", &[base], removal);
    let itself = recover(&s.c, &s.y);
    s.write("c", &[base], itself);
    assert!(!belongs(&s, "x") && belongs(&s, "c"));
    s
}
