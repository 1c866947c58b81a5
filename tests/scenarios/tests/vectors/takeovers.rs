//! Vectors of sections 4.3 and 4.4: what hostile coordinators and thieves try, with puppets and with old heads.

use lamppost_core::base::{EntryHash, MailboxId};
use lamppost_core::roll::operation::{Admission, Withdrawal};
use lamppost_core::roll::{KeyUpdate, Operation, Target};

use crate::story::{Story, admit, certify, policy, recover, remove, remove_member};
use crate::town::{COORDINATOR, INVITED, Party, VOLUNTEER};

pub fn histories() -> Vec<Story> {
    let told: [fn() -> Story; 23] = [
        two_puppets_against_the_founder,
        a_past_without_the_removal,
        a_past_without_the_removal_against_three,
        a_removed_phone_with_puppets,
        a_proposal_of_long_ago,
        a_recovered_junior,
        a_recovered_junior_of_one_in_office,
        puppets_against_a_junior,
        puppets_recover_for_a_thief,
        a_tablet_removes_the_stolen_phone,
        the_founder_leaves,
        a_lower_role_from_another_branch,
        juniors_removed_first,
        a_founder_against_a_majority,
        a_removal_that_names_an_older_role,
        a_second_admission_that_falls,
        two_recoveries_at_once,
        a_void_admission_in_an_old_past,
        two_of_one_time,
        a_vote_that_falls,
        withdrawn,
        ended_by_leaving,
        an_invitation_named_by_the_removed,
    ];
    told.into_iter().map(|tell| tell()).collect()
}

fn governs(story: &Story, who: &str) -> bool {
    let held = story.state().member(story.party(who).member_id());
    held.is_some_and(|held| held.role == COORDINATOR)
}

fn belongs(story: &Story, who: &str) -> bool {
    story.state().device(story.party(who).device_id()).is_some()
}

fn without(story: &Story, who: &str) -> Operation {
    remove_member(story.party(who))
}

fn without_device(story: &Story, who: &str) -> Operation {
    remove(Target::Device(story.party(who).device_id()), Vec::new())
}

/// Admits the first puppets as coordinators, one after the other.
fn puppets(story: &mut Story, author: &str, mut known: EntryHash, count: usize) -> EntryHash {
    for number in 0..count {
        let admission = admit(&story.puppets[number], COORDINATOR);
        known = story.write(author, &[known], admission);
    }
    known
}

/// Lets several write the same, each in knowledge of the one before.
fn in_turn(story: &mut Story, authors: &[&str], mut known: EntryHash, operation: &Operation) -> EntryHash {
    for author in authors {
        known = story.write(author, &[known], operation.clone());
    }
    known
}

fn two_puppets_against_the_founder() -> Story {
    let mut s = Story::new("B admits two puppets, and they are three of five against A");
    let base = s.base;
    let known = puppets(&mut s, "b", base, 2);
    let removal = without(&s, "a");
    in_turn(&mut s, &["b", "p0", "p1"], known, &removal);
    assert!(governs(&s, "a"));
    s
}

fn a_past_without_the_removal() -> Story {
    let mut s = Story::new("A removes B; B, who does not mention it, admits puppets who remove A");
    let base = s.base;
    let removal = without(&s, "b");
    let mut known = s.write("a", &[base], removal);
    for days in 0..8 {
        known = s.write("a", &[known], policy(&[(1, days)]));
    }
    let known = puppets(&mut s, "b", base, 3);
    let removal = without(&s, "a");
    in_turn(&mut s, &["p0", "p1", "p2", "b"], known, &removal);
    assert!(governs(&s, "a") && !belongs(&s, "b") && !belongs(&s, "p0"));
    s
}

fn a_past_without_the_removal_against_three() -> Story {
    let mut s = Story::new("A removes C; C admits five puppets in another past, who remove A and B");
    let base = s.base;
    let removal = without(&s, "c");
    let removed = s.write("a", &[base], removal);
    s.write("b", &[removed], policy(&[(1, 30)]));
    let mut known = puppets(&mut s, "c", base, 5);
    for target in ["a", "b"] {
        let removal = without(&s, target);
        known = in_turn(&mut s, &["p0", "p1", "p2", "p3", "c"], known, &removal);
    }
    assert!(governs(&s, "a") && governs(&s, "b") && !belongs(&s, "c") && !belongs(&s, "p4"));
    s
}

fn a_removed_phone_with_puppets() -> Story {
    let mut s = Story::new("A removes B's phone; the phone admits puppets, who remove A and B's tablet");
    let base = s.base;
    let tablet = certify(&s.b_tablet, KeyUpdate::default());
    let entered = s.write("b", &[base], tablet);
    let removal = without_device(&s, "b");
    s.write("a", &[entered], removal);
    let mut known = puppets(&mut s, "b", entered, 5);
    let removals = [without(&s, "a"), without_device(&s, "b tablet")];
    for removal in removals {
        known = in_turn(&mut s, &["p0", "p1", "p2", "p3", "p4"], known, &removal);
    }
    assert!(governs(&s, "a") && belongs(&s, "b tablet") && !belongs(&s, "b") && !belongs(&s, "p0"));
    s
}

fn a_proposal_of_long_ago() -> Story {
    let mut s = Story::new("B proposes to remove A and decides 32 other things; C asks for the same");
    let base = s.base;
    let removal = without(&s, "a");
    let mut known = s.write("b", &[base], removal.clone());
    for days in 0..32 {
        known = s.write("b", &[known], policy(&[(1, days)]));
    }
    s.write("c", &[known], removal);
    assert!(governs(&s, "a"));
    s
}

fn a_recovered_junior() -> Story {
    let mut s = Story::new("A removes B; B recovers C with a key of B's own, and both remove A");
    let base = s.base;
    let removal = without(&s, "b");
    s.write("a", &[base], removal);
    let recovery = recover(&s.c, &s.x);
    let known = s.write("b", &[base], recovery);
    let removal = without(&s, "a");
    in_turn(&mut s, &["x", "b"], known, &removal);
    assert!(governs(&s, "a") && belongs(&s, "c") && !belongs(&s, "x"));
    s
}

fn a_recovered_junior_of_one_in_office() -> Story {
    let mut s = Story::new("B, a coordinator still, recovers C with a key of B's own, and both remove A");
    let base = s.base;
    let recovery = recover(&s.c, &s.x);
    let known = s.write("b", &[base], recovery);
    let removal = without(&s, "a");
    in_turn(&mut s, &["x", "b"], known, &removal);
    assert!(governs(&s, "a") && belongs(&s, "x"));
    s
}

fn puppets_against_a_junior() -> Story {
    let mut s = Story::new("A removes B; B's five puppets remove C");
    let base = s.base;
    let removal = without(&s, "b");
    s.write("a", &[base], removal);
    let known = puppets(&mut s, "b", base, 5);
    let removal = without(&s, "c");
    in_turn(&mut s, &["p0", "p1", "p2", "p3", "p4"], known, &removal);
    assert!(governs(&s, "c") && !belongs(&s, "p0"));
    s
}

fn puppets_recover_for_a_thief() -> Story {
    let mut s = Story::new("A removes B's stolen phone; its puppets recover B with the thief's key");
    let base = s.base;
    let tablet = certify(&s.b_tablet, KeyUpdate::default());
    let entered = s.write("b", &[base], tablet);
    let removal = without_device(&s, "b");
    s.write("a", &[entered], removal);
    let known = puppets(&mut s, "b", entered, 5);
    let recovery = recover(&s.b, &s.y);
    in_turn(&mut s, &["p0", "p1", "p2", "p3", "p4"], known, &recovery);
    assert!(belongs(&s, "b tablet") && !belongs(&s, "y") && !belongs(&s, "b"));
    s
}

fn a_tablet_removes_the_stolen_phone() -> Story {
    let mut s = Story::new("B's tablet removes B's phone, which recovers B by puppets, and lets B leave");
    let base = s.base;
    let tablet = certify(&s.b_tablet, KeyUpdate::default());
    let entered = s.write("b", &[base], tablet);
    let removal = without_device(&s, "b");
    s.write("b tablet", &[entered], removal);
    let known = puppets(&mut s, "b", entered, 5);
    let recovery = recover(&s.b, &s.y);
    let known = in_turn(&mut s, &["p0", "p1", "p2", "p3", "p4"], known, &recovery);
    let leaves = without(&s, "b");
    s.write("b", &[entered], leaves);
    s.enter("p0", &[known]);
    assert!(governs(&s, "b") && belongs(&s, "b tablet") && !belongs(&s, "y") && !belongs(&s, "b"));
    s
}

fn the_founder_leaves() -> Story {
    let mut s = Story::new("A, who admitted B, C and X, leaves; C and X remove B");
    let base = s.base;
    let admission = admit(&s.x, COORDINATOR);
    let known = s.write("a", &[base], admission);
    let leaves = without(&s, "a");
    let known = s.write("a", &[known], leaves);
    let removal = without(&s, "b");
    in_turn(&mut s, &["c", "x"], known, &removal);
    assert!(!belongs(&s, "a") && !belongs(&s, "b") && governs(&s, "c") && governs(&s, "x"));
    s
}

fn a_lower_role_from_another_branch() -> Story {
    let mut s = Story::new("A makes Y a coordinator; X, whom B admits meanwhile, admits Y as volunteer");
    let base = s.base;
    let admission = admit(&s.y, COORDINATOR);
    s.write("a", &[base], admission);
    let admission = admit(&s.x, COORDINATOR);
    let known = s.write("b", &[base], admission);
    let mut later = known;
    for days in 0..4 {
        later = s.write("x", &[later], policy(&[(1, days)]));
    }
    let admission = admit(&s.y, VOLUNTEER);
    s.write("x", &[later], admission);
    assert!(governs(&s, "y"));
    s
}

fn juniors_removed_first() -> Story {
    let mut s = Story::new("B removes X and Y and, with C, who wants it, A: two of five electors");
    let base = s.base;
    let mut known = base;
    for who in ["x", "y"] {
        let admission = admit(s.party(who), COORDINATOR);
        known = s.write("a", &[known], admission);
    }
    let removal = without(&s, "a");
    known = s.write("c", &[known], removal.clone());
    for who in ["x", "y"] {
        let removal = without(&s, who);
        known = s.write("b", &[known], removal);
    }
    s.write("b", &[known], removal);
    assert!(governs(&s, "a"));
    s
}

fn a_founder_against_a_majority() -> Story {
    let mut s = Story::new("B and C remove A, who removes both meanwhile and admits puppets against them");
    let base = s.base;
    let removal = without(&s, "a");
    in_turn(&mut s, &["b", "c"], base, &removal);
    let mut known = puppets(&mut s, "a", base, 5);
    for target in ["b", "c"] {
        let removal = without(&s, target);
        known = in_turn(&mut s, &["a", "p0", "p1", "p2", "p3"], known, &removal);
    }
    assert!(!belongs(&s, "a") && governs(&s, "b") && governs(&s, "c") && !belongs(&s, "p0"));
    s
}

fn a_removal_that_names_an_older_role() -> Story {
    let mut s = Story::new("A makes V a coordinator and B, at the same time, X, who removes V as volunteer");
    let base = s.base;
    let admission = admit(&s.v, COORDINATOR);
    s.write("a", &[base], admission);
    let admission = admit(&s.x, COORDINATOR);
    let known = s.write("b", &[base], admission);
    let removal = without(&s, "v");
    s.write("x", &[known], removal);
    assert!(governs(&s, "v") && governs(&s, "x"));
    s
}

fn a_second_admission_that_falls() -> Story {
    let mut s = Story::new("A and B admit X at once, B first in the order; X admits Y; A removes B");
    let base = s.base;
    let admission = admit(&s.x, COORDINATOR);
    let by_b = s.write("b", &[base], admission.clone());
    let mut later = base;
    for days in 0..4 {
        later = s.write("a", &[later], policy(&[(1, days)]));
    }
    let by_a = s.write("a", &[later], admission);
    let admission = admit(&s.y, COORDINATOR);
    s.write("x", &[by_a, by_b], admission);
    let removal = without(&s, "b");
    s.write("a", &[base], removal);
    assert!(governs(&s, "x") && governs(&s, "y") && !belongs(&s, "b"));
    s
}

fn two_recoveries_at_once() -> Story {
    let mut s = Story::new("A recovers C, and B at the same time with another key: that of the senior holds");
    let base = s.base;
    let [by_a, by_b] = [recover(&s.c, &s.x), recover(&s.c, &s.y)];
    s.write("b", &[base], by_b);
    s.write("a", &[base], by_a);
    assert!(belongs(&s, "x") && !belongs(&s, "y") && !belongs(&s, "c"));
    s
}

fn a_void_admission_in_an_old_past() -> Story {
    let mut s = Story::new("A removes B, who had X precede Y by an old past; Y removes X, and X removes P0");
    let base = s.base;
    let old = s.enter("b", &[s.admission_of_b]);
    let mut known = base;
    for who in ["y", "x"] {
        let admission = admit(s.party(who), COORDINATOR);
        known = s.write("a", &[known], admission);
    }
    let admission = admit(&s.x, COORDINATOR);
    let older = s.write("b", &[old], admission);
    let admission = admit(s.party("p0"), COORDINATOR);
    let last = s.write("c", &[known, older], admission);
    let removal = without(&s, "b");
    s.write("a", &[known], removal);
    let removal = without(&s, "x");
    s.write("y", &[known], removal);
    let removal = without(&s, "p0");
    s.write("x", &[last], removal);
    assert!(governs(&s, "y") && governs(&s, "p0") && !belongs(&s, "x") && !belongs(&s, "b"));
    s
}

fn two_of_one_time() -> Story {
    let mut s = Story::new("A admits X and B admits Y at the same time; each removes the other");
    let base = s.base;
    let mut heads = Vec::new();
    for (author, who) in [("a", "x"), ("b", "y")] {
        let admission = admit(s.party(who), COORDINATOR);
        heads.push(s.write(author, &[base], admission));
    }
    for (author, who) in [("x", "y"), ("y", "x")] {
        let removal = without(&s, who);
        s.write(author, &heads, removal);
    }
    assert!(governs(&s, "x") && governs(&s, "y"));
    assert_eq!(s.state().proposals().len(), 2);
    s
}

fn a_vote_that_falls() -> Story {
    let mut s = Story::new("C, Y and X, three of five, remove B; A removes Y, who had not heard of it");
    let base = s.base;
    let mut known = base;
    for who in ["x", "y"] {
        let admission = admit(s.party(who), COORDINATOR);
        known = s.write("a", &[known], admission);
    }
    let removal = without(&s, "y");
    s.write("a", &[known], removal);
    let removal = without(&s, "b");
    in_turn(&mut s, &["c", "y", "x"], known, &removal);
    assert!(governs(&s, "b") && governs(&s, "x") && !belongs(&s, "y"));
    s
}

fn withdrawn() -> Story {
    let mut s = Story::new("B proposes to remove A and takes it back; C asks for the same");
    let base = s.base;
    let removal = without(&s, "a");
    let proposed = s.write("b", &[base], removal.clone());
    let back = Operation::Withdraw(Withdrawal { proposals: vec![proposed] });
    // Nobody takes back what another proposed.
    let known = s.write("c", &[proposed], back.clone());
    assert_eq!(s.state().proposals().len(), 1);
    let known = s.write("b", &[known], back);
    assert_eq!(s.state().proposals(), []);
    s.write("c", &[known], removal);
    assert!(governs(&s, "a"));
    s
}

fn ended_by_leaving() -> Story {
    let mut s = Story::new("B proposes to remove A, leaves and comes back; C asks for the same");
    let base = s.base;
    let removal = without(&s, "a");
    let known = s.write("b", &[base], removal.clone());
    let leaves = without(&s, "b");
    let known = s.write("b", &[known], leaves);
    let again = admit(&s.b, COORDINATOR);
    let known = s.write("a", &[known], again);
    assert_eq!(s.state().proposals(), []);
    s.write("c", &[known], removal);
    assert!(governs(&s, "a") && governs(&s, "b"));
    s
}

fn an_invitation_named_by_the_removed() -> Story {
    let mut s =
        Story::new("A removes B; B names another's invitation for a puppet, which does not use it up");
    let base = s.base;
    let by = |who: &Party| {
        Operation::Admit(Admission {
            member: who.member_id(),
            role: VOLUNTEER,
            certificates: vec![who.certificate_bytes()],
            keys: KeyUpdate::default(),
            invitation: Some(INVITED),
        })
    };
    let removal = without(&s, "b");
    s.write("a", &[base], removal);
    let puppet = by(&s.puppets[0]);
    s.write("b", &[base], puppet);
    assert_eq!(s.state().invited(INVITED), None);
    assert_eq!(s.state().invited(MailboxId([0x4e; 16])), None);
    s
}
