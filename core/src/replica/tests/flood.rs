//! Worthless keys that a member hands out.

use super::super::testing::{seals_tried, sign_anyway};
use super::*;
use crate::base::{CompartmentId, EpochId};
use crate::entry::SealedKeys;
use crate::roll::operation::Policy;
use crate::roll::{EpochName, Grant, KeyUpdate, Operation, Rotation};

const GROUP: CompartmentId = CompartmentId(2);

fn worthless(epochs: Vec<EpochName>, device: crate::base::DeviceId, filling: u8) -> Operation {
    let mask = u32::try_from((1_u64 << epochs.len()) - 1).unwrap();
    let ciphertext = vec![filling; 32 * epochs.len() + 16];
    let sealed = SealedKeys { encapsulated: [9; 32], ciphertext };
    let grants = vec![Grant { device, mask, sealed }];
    Operation::KeyUpdate(KeyUpdate { rotations: Vec::new(), epochs, grants })
}

#[test]
fn keys_of_invented_epochs_are_never_tried() {
    let Town { mut carla, mut vic, .. } = town();
    let before = seals_tried(&carla);
    for number in 0..40_u32 {
        let epoch = |at: u32| EpochId::of(1 + number * 32 + at, &[at.to_be_bytes()[3]; 32]);
        let epochs = (0..32).map(|at| EpochName { compartment: GROUP, epoch: epoch(at) });
        let operation = worthless(epochs.collect(), carla.device_id(), 1);
        let signed = sign_anyway(&mut vic, &operation).unwrap().unwrap();
        hand(&vic, &mut carla);
        assert!(!testing::roll(&carla).unwrap().heads().contains(&signed), "it is cited by nobody");
    }
    assert_eq!(seals_tried(&carla), before);
}

#[test]
fn worthless_seal_is_tried_once() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut clio = Engine::open(environment(6, Arc::clone(&store))).unwrap();
    let admission = carla
        .admit(&clio.request(carla.group_id().unwrap()).unwrap(), RoleId(roles::ROLE_COORDINATOR))
        .unwrap();
    clio.join(&admission).unwrap();
    // An epoch whose key nobody gave to the new coordinator.
    let rotation = Rotation { compartment: GROUP, number: 1, public: [7; 32], previous: None };
    let name = EpochName { compartment: GROUP, epoch: rotation.epoch() };
    let keys = KeyUpdate { rotations: vec![rotation], ..KeyUpdate::default() };
    sign_anyway(&mut carla, &Operation::KeyUpdate(keys)).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut clio]);
    let reopened = || seals_tried(&Engine::open(environment(6, Arc::clone(&store))).unwrap());
    let at_start = reopened();
    let before = seals_tried(&clio);

    sign_anyway(&mut vic, &worthless(vec![name], clio.device_id(), 1)).unwrap();
    hand(&vic, &mut clio);
    assert_eq!(seals_tried(&clio), before + 1);
    // Neither with each change nor at each start.
    for value in 0..3 {
        let policy = Policy { settings: [(77, value)].into() };
        sign_anyway(&mut carla, &Operation::Policy(policy)).unwrap();
        hand(&carla, &mut clio);
    }
    assert_eq!(seals_tried(&clio), before + 1);
    assert_eq!(reopened(), at_start);
    // The same member's second seal of the same key is none; another member's is another.
    sign_anyway(&mut vic, &worthless(vec![name], clio.device_id(), 2)).unwrap();
    hand(&vic, &mut clio);
    assert_eq!(seals_tried(&clio), before + 1);
    sign_anyway(&mut vera, &worthless(vec![name], clio.device_id(), 3)).unwrap();
    hand(&vera, &mut clio);
    assert_eq!(seals_tried(&clio), before + 2);
    assert_eq!(reopened(), at_start);
}
