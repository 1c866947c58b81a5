//! How much a coordinator weighs, as an app sees it: proposals, whom they let in, and what their devices acknowledge.

use super::*;
use crate::roll::{Proposed, Target};

const COORDINATOR: u8 = roles::ROLE_COORDINATOR;

fn belongs(phone: &Engine, who: &Engine) -> bool {
    phone.state().unwrap().member(who.member_id()).is_some()
}

fn roll_len(phone: &Engine) -> usize {
    testing::roll(phone).unwrap().len()
}

#[test]
fn coordinators_device_acknowledges_an_appointment_once() {
    let Town { mut carla, mut vic, .. } = town();
    let mut cosma = joined(&mut carla, 5, COORDINATOR);
    let mut clio = joined(&mut carla, 6, COORDINATOR);
    gossip(&mut [&mut carla, &mut cosma, &mut clio, &mut vic]);
    let open = |of: &Engine| testing::roll(of).unwrap().unacknowledged_since(of.device_id());
    assert!(open(&cosma).is_some() && open(&clio).is_some());
    cosma.mend_keys().unwrap();
    clio.mend_keys().unwrap();
    vic.mend_keys().unwrap();
    gossip(&mut [&mut carla, &mut cosma, &mut clio, &mut vic]);
    let before = roll_len(&carla);
    for phone in [&mut carla, &mut cosma, &mut clio] {
        phone.mend_keys().unwrap();
        assert_eq!(open(phone), None);
    }
    assert!(open(&vic).is_some(), "who does not govern has nothing to acknowledge");
    gossip(&mut [&mut carla, &mut cosma, &mut clio, &mut vic]);
    assert_eq!(roll_len(&carla), before, "once, and not for each other's words");
}

#[test]
fn silent_device_of_a_coordinator_is_named_after_a_fortnight() {
    let Town { mut carla, .. } = town();
    let mut cosma = joined(&mut carla, 5, COORDINATOR);
    let mut clio = joined(&mut carla, 6, COORDINATOR);
    gossip(&mut [&mut carla, &mut cosma, &mut clio]);
    clio.mend_keys().unwrap();
    gossip(&mut [&mut carla, &mut cosma, &mut clio]);
    assert_eq!(carla.concerns().unwrap(), []);
    let now_ms = carla.clock.now_ms();
    carla.clock = Arc::new(TestClock(AtomicU64::new(now_ms + 15 * 86_400_000)));
    let silent = cosma.device_id();
    let told = carla.concerns().unwrap();
    let named: Vec<_> =
        told.iter().filter(|concern| matches!(concern, Concern::SilentDevice { .. })).collect();
    assert!(
        matches!(named[..], [Concern::SilentDevice { device, days: 15 }] if *device == silent),
        "{told:?}"
    );
}

#[test]
fn chain_of_coordinators_makes_the_founder_irremovable_and_says_so() {
    let Town { mut carla, .. } = town();
    let mut cosma = joined(&mut carla, 5, COORDINATOR);
    let mut clio = joined(&mut cosma, 6, COORDINATOR);
    let mut cleo = joined(&mut clio, 7, COORDINATOR);
    gossip(&mut [&mut carla, &mut cosma, &mut clio, &mut cleo]);
    let member = carla.member_id();
    let told = cosma.concerns().unwrap();
    assert!(told.contains(&Concern::Irremovable { member }), "{told:?}");
    let alone = cosma.remove(Target::Member(member)).unwrap();
    assert_eq!(alone, Decision::Proposed { supporters: 1, needed: 2 });
    gossip(&mut [&mut carla, &mut cosma, &mut clio, &mut cleo]);
    let without_a_vote = clio.remove(Target::Member(member)).unwrap();
    assert_eq!(without_a_vote, Decision::Proposed { supporters: 1, needed: 2 });
    assert!(belongs(&clio, &carla));
}

#[test]
fn coordinators_whom_the_founder_admitted_can_remove_each_other() {
    let Town { mut carla, .. } = town();
    let mut cosma = joined(&mut carla, 5, COORDINATOR);
    let mut clio = joined(&mut carla, 6, COORDINATOR);
    gossip(&mut [&mut carla, &mut cosma, &mut clio]);
    let told = cosma.concerns().unwrap();
    assert!(!told.iter().any(|concern| matches!(concern, Concern::Irremovable { .. })), "{told:?}");
}

#[test]
fn removal_with_admitted_takes_out_a_whole_line() {
    let Town { mut carla, mut vic, .. } = town();
    let mut cosma = joined(&mut carla, 5, COORDINATOR);
    let clio = joined(&mut carla, 6, COORDINATOR);
    let mut puppet = joined(&mut cosma, 7, COORDINATOR);
    let newcomer = joined(&mut puppet, 8, roles::ROLE_VOLUNTEER);
    gossip(&mut [&mut carla, &mut cosma, &mut puppet, &mut vic]);
    // Nobody takes out the one by whose word they belong, and themselves with them.
    assert!(matches!(puppet.remove_with_admitted(cosma.member_id()), Err(Error::Membership(_))));
    let decisions = carla.remove_with_admitted(cosma.member_id()).unwrap();
    assert_eq!(decisions[0], (cosma.member_id(), Decision::Done));
    assert_eq!(decisions.len(), 3);
    gossip(&mut [&mut carla, &mut vic]);
    for phone in [&carla, &vic] {
        assert!(![&cosma, &puppet, &newcomer].into_iter().any(|gone| belongs(phone, gone)));
        assert!(belongs(phone, &clio) && belongs(phone, &vic));
    }
}

#[test]
fn withdrawn_proposal_counts_no_more() {
    let Town { mut carla, .. } = town();
    let mut cosma = joined(&mut carla, 5, COORDINATOR);
    let mut clio = joined(&mut carla, 6, COORDINATOR);
    gossip(&mut [&mut carla, &mut cosma, &mut clio]);
    let target = Target::Member(carla.member_id());
    assert!(matches!(cosma.withdraw_proposal(Proposed::Removal(target)), Err(Error::Membership(_))));
    assert_eq!(cosma.remove(target).unwrap(), Decision::Proposed { supporters: 1, needed: 2 });
    cosma.withdraw_proposal(Proposed::Removal(target)).unwrap();
    assert_eq!(cosma.state().unwrap().proposals(), []);
    gossip(&mut [&mut carla, &mut cosma, &mut clio]);
    assert_eq!(clio.remove(target).unwrap(), Decision::Proposed { supporters: 1, needed: 2 });
    assert!(belongs(&clio, &carla));
    // Who wants it again says so again.
    gossip(&mut [&mut carla, &mut cosma, &mut clio]);
    assert_eq!(cosma.remove(target).unwrap(), Decision::Done);
}
