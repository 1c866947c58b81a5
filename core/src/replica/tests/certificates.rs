//! A certificate is for one group: what a member of two groups, or a hostile coordinator, carries from one roll into another
//! enters nobody (PROTOCOL.md §2.3).

use minicbor::bytes::ByteVec;

use super::*;
use crate::base::{CompartmentId, GroupId, MemberId, cbor};
use crate::entry::seal::{Slot, write_clear};
use crate::entry::{Certificate, Kind as EntryKind, Scope, Verified};
use crate::replica::testing;
use crate::roll::operation::{Admission as Admit, Certification, Founding, KeyUpdate, Operation, Recovery};
use crate::roll::{NotARoll, Roll};

fn bytes(certificate: &Certificate) -> ByteVec {
    ByteVec::from(certificate.as_bytes().to_vec())
}

fn admit(member: MemberId, certificate: ByteVec) -> Operation {
    let (role, certificates) = (RoleId(roles::ROLE_VOLUNTEER), vec![certificate]);
    Operation::Admit(Admit { member, role, certificates, keys: KeyUpdate::default(), invitation: None })
}

/// The roll of this coordinator's group, and whether an operation of theirs can be part of it.
fn taken_by(coordinator: &Engine, operation: &Operation) -> (Roll, Result<(), NotARoll>) {
    let mut roll = Roll::clone(&testing::roll(coordinator).unwrap());
    let entries = testing::forge(coordinator, roll.group(), roll.heads(), operation).unwrap();
    let [own, operation] = &entries[..] else { unreachable!("a certificate, and the operation") };
    roll.insert(own).unwrap();
    let taken = roll.insert(operation).map(drop);
    (roll, taken)
}

#[test]
fn certificate_of_one_group_enters_nobody_in_another() {
    let Town { carla, vic, .. } = town();
    let group = carla.group_id().unwrap();
    let mut mallory = engine(20);
    let theirs = mallory.found().unwrap().group;
    let (member, device) = (vic.member_id(), vic.device_id());

    let taken = vic.certificate_for(group).unwrap();
    let request = JoinRequest::from_bytes(taken.as_bytes().to_vec());
    assert!(matches!(mallory.admit(&request, RoleId(roles::ROLE_VOLUNTEER)), Err(Error::Admission(_))));
    // A program that was made for it writes it all the same.
    let (recovered, keys) = (mallory.member_id(), KeyUpdate::default());
    let recovery = Recovery { member: recovered, certificate: bytes(&taken), marks: Vec::new(), keys };
    let certification = Certification { certificate: bytes(&taken), keys: KeyUpdate::default() };
    for operation in
        [admit(member, bytes(&taken)), Operation::Recover(recovery), Operation::Certify(certification)]
    {
        let (roll, outcome) = taken_by(&mallory, &operation);
        assert!(matches!(outcome, Err(NotARoll::Body(_))), "{operation:?}: {outcome:?}");
        assert!(roll.state().device(device).is_none() && roll.state().member(member).is_none());
    }
    // The same device is let in where it asked to be.
    let asked = vic.identity.certificate(Scope::group(theirs)).unwrap();
    let (roll, outcome) = taken_by(&mallory, &admit(member, bytes(&asked)));
    assert_eq!((outcome, roll.state().device(device).is_some()), (Ok(()), true));
}

#[test]
fn device_request_of_one_group_is_refused_in_another() {
    let Town { mut vic, .. } = town();
    let (group, member) = (vic.group_id().unwrap(), vic.member_id());
    let mut tablet = engine(9);
    let elsewhere = tablet.request_as_device_of(GroupId([9; 32]), member).unwrap();
    assert!(matches!(vic.add_device(&elsewhere), Err(Error::Admission(_))));
    let here = tablet.request_as_device_of(group, member).unwrap();
    vic.add_device(&here).unwrap();
}

/// A founding entry by the device of an engine, with this nonce and certificate.
fn founding(by: &Engine, nonce: [u8; 16], certificate: &ByteVec) -> Verified {
    let mut other = engine(30);
    other.found().unwrap();
    let template = other.state().unwrap().template().clone();
    let (role, certificate) = (RoleId(roles::ROLE_COORDINATOR), certificate.clone());
    let found = Founding { template, role, certificate, keys: KeyUpdate::default(), nonce };
    let slot = Slot {
        group: None,
        compartment: CompartmentId::ROLL,
        head: None,
        claimed_ms: 0,
        expiry_day: None,
        roll_heads: Vec::new(),
        checkpoint: None,
    };
    let body = cbor::encode(&Operation::Found(found));
    write_clear(&by.identity.secrets().unwrap().device, &slot, EntryKind::OPERATION, None, body).unwrap()
}

#[test]
fn founding_certificate_is_repeated_in_its_own_group_alone() {
    let (carla, mallory) = (engine(1), engine(2));
    let nonce = [7; 16];
    let of = |founder: &Engine| bytes(&founder.identity.certificate(Scope::founding(&nonce)).unwrap());
    // Mallory's group has the same nonce, which everybody reads in the roll of Carla's.
    for (founder, is_hers) in [(&carla, true), (&mallory, false)] {
        let mut roll = Roll::found(&founding(founder, nonce, &of(founder))).unwrap();
        let admission = admit(carla.member_id(), of(&carla));
        let entries = testing::forge(founder, roll.group(), roll.heads(), &admission).unwrap();
        let taken = entries.iter().try_for_each(|entry| roll.insert(entry).map(drop));
        assert_eq!(taken.is_ok(), is_hers, "{taken:?}");
    }
    // It founds nothing for somebody else, nor with another nonce.
    assert!(Roll::found(&founding(&carla, nonce, &of(&carla))).is_ok());
    assert!(Roll::found(&founding(&mallory, nonce, &of(&carla))).is_err());
    assert!(Roll::found(&founding(&carla, [8; 16], &of(&carla))).is_err());
}
