//! Operations of the roll as a program says them: by and about anybody, sensible and not.

use lamppost_core::base::{CompartmentId, DeviceId, EntryHash, EpochId, Hash, MailboxId, MemberId, RoleId};
use lamppost_core::entry::keys::{Agreement, SealPurpose, Secret, seal, seal_epochs};
use lamppost_core::entry::{LogHead, LogId, Possession, Scope, SealedKey, SealedKeys};
use lamppost_core::roll::operation::{
    Acceptance, Admission, Certification, EndHold, Hold, Policy, PreviousKey, Recovery, Removal, Shred,
    Watermark, Withdrawal,
};
use lamppost_core::roll::{EpochName, Grant, KeyUpdate, Operation, Rotation, Target};
use minicbor::bytes::ByteVec;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::tape::Tape;
use crate::town::{Keys, town};

/// Writes an operation, as the program says. `known` are entries that it may name.
pub fn write_operation(tape: &mut Tape<'_>, known: &[EntryHash]) -> Operation {
    match tape.below(16) {
        0..=3 => admission(tape),
        4 | 5 => Operation::KeyUpdate(keys(tape, true)),
        6..=9 => {
            let target = if tape.once_in(3) {
                Target::Device(device(tape))
            } else {
                Target::Member(somebody(tape).member_id())
            };
            Operation::Remove(Removal { target, marks: marks(tape), keys: keys(tape, false) })
        }
        10 | 11 => {
            let certificate = certificate(tape);
            let (member, marks) = (somebody(tape).member_id(), marks(tape));
            Operation::Recover(Recovery { member, certificate, marks, keys: keys(tape, false) })
        }
        12 => {
            let settings = (0..tape.below(4)).map(|_| (u16::from(tape.u8() % 4), tape.number(7)));
            Operation::Policy(Policy { settings: settings.collect() })
        }
        13 => {
            let mut entries: Vec<EntryHash> =
                (0..tape.below(4)).filter_map(|_| tape.pick(known).copied()).collect();
            if !tape.once_in(16) {
                entries.sort_unstable();
                entries.dedup();
            }
            match tape.below(6) {
                3 => Operation::Withdraw(Withdrawal { proposals: entries }),
                0 => Operation::Hold(Hold {
                    entries,
                    reason: tape.u8(),
                    until_day: tape.once_in(2).then(|| u32::from(tape.u16())),
                }),
                1 => Operation::EndHold(EndHold { holds: entries }),
                2 => {
                    let mut entries = marks(tape);
                    if tape.once_in(2) {
                        entries.sort_by_key(|named| (named.log, named.head.seq));
                    }
                    let document = tape.once_in(2).then(|| Hash(tape.bytes32()));
                    Operation::Shred(Shred { entries, document })
                }
                _ => Operation::Accept(Acceptance { entries }),
            }
        }
        14 => {
            let certificate = certificate(tape);
            let rotates = tape.once_in(16);
            let mut keys = keys(tape, rotates);
            if !rotates {
                keys.rotations.clear();
            }
            Operation::Certify(Certification { certificate, keys })
        }
        _ => Operation::Unknown { number: tape.u8(), cbor: tape.blob(64).to_vec() },
    }
}

fn somebody(tape: &mut Tape<'_>) -> Keys {
    Keys::of(1 + tape.below(9) as u64)
}

fn device(tape: &mut Tape<'_>) -> DeviceId {
    if tape.once_in(16) { DeviceId(tape.bytes32()) } else { somebody(tape).device_id() }
}

/// A certificate of somebody's device: by their own key, by another's, or by nobody's.
fn certificate(tape: &mut Tape<'_>) -> ByteVec {
    let keys = somebody(tape);
    let certificate = match tape.below(8) {
        0 => {
            let member = somebody(tape);
            let (agreement, scope) = (*keys.agreement.public(), Scope::group(town().group));
            let possession = Possession::sign(&keys.device, member.member_id(), agreement, scope);
            possession.certify(&member.member).unwrap()
        }
        1 => keys.certificate_for(Scope::founding(&[0; 16])),
        _ => keys.certificate(),
    };
    let mut bytes = certificate.as_bytes().to_vec();
    if tape.once_in(32) {
        tape.bend(&mut bytes);
    }
    ByteVec::from(bytes)
}

fn admission(tape: &mut Tape<'_>) -> Operation {
    let newcomer = somebody(tape);
    // Coordinators more often than the others: they have something to disagree about.
    let role = RoleId(if tape.once_in(2) { 1 } else { u8::try_from(tape.below(9)).unwrap() });
    let mut certificates = vec![ByteVec::from(newcomer.certificate().as_bytes().to_vec())];
    match tape.below(8) {
        0 => certificates.clear(),
        1 => certificates.push(certificate(tape)),
        _ => {}
    }
    let member = if tape.once_in(16) { MemberId(tape.bytes32()) } else { newcomer.member_id() };
    let invitation = tape.once_in(8).then(|| MailboxId([tape.u8() % 2; 16]));
    Operation::Admit(Admission { member, role, certificates, keys: keys(tape, false), invitation })
}

fn marks(tape: &mut Tape<'_>) -> Vec<Watermark> {
    let heads: Vec<(&LogId, &LogHead)> = town().heads.iter().collect();
    let mut marks: Vec<Watermark> = Vec::new();
    for _ in 0..tape.below(4) {
        let Some((log, head)) = tape.pick(&heads) else { break };
        let seq = if tape.once_in(2) { tape.number(head.seq) } else { head.seq };
        marks.push(Watermark { log: **log, head: LogHead { seq, hash: head.hash } });
    }
    if !tape.once_in(16) {
        marks.sort_unstable_by_key(|mark| mark.log);
        marks.dedup_by_key(|mark| mark.log);
    }
    marks
}

/// Epochs that begin, and keys for anybody: real ones, and seals that nobody can open.
fn keys(tape: &mut Tape<'_>, more: bool) -> KeyUpdate {
    let count = if more { 1 + tape.below(2) } else { usize::from(tape.once_in(6)) };
    let begun: Vec<(Rotation, Agreement)> = (0..count).map(|_| rotation(tape)).collect();
    let mut epochs: Vec<EpochName> = begun
        .iter()
        .map(|(rotation, _)| EpochName { compartment: rotation.compartment, epoch: rotation.epoch() })
        .collect();
    for _ in 0..if more { tape.below(3) } else { usize::from(tape.once_in(4)) } {
        let compartment = CompartmentId(u8::try_from(tape.below(7)).unwrap());
        let known: Vec<EpochId> = town().roll.state().epochs(compartment).map(|(id, _)| id).collect();
        let epoch = tape.pick(&known).copied().unwrap_or_else(|| EpochId::of(0, &tape.bytes32()));
        epochs.push(EpochName { compartment, epoch });
    }
    if !tape.once_in(24) {
        epochs.sort_unstable();
        epochs.dedup();
    }
    let grants = if epochs.is_empty() { 0 } else { tape.below(4) };
    let grants = (0..grants).map(|_| grant(tape, &epochs, &begun)).collect();
    KeyUpdate { rotations: begun.into_iter().map(|(rotation, _)| rotation).collect(), epochs, grants }
}

fn grant(tape: &mut Tape<'_>, epochs: &[EpochName], begun: &[(Rotation, Agreement)]) -> Grant {
    let reader = somebody(tape);
    let all = u32::MAX >> (32 - u32::try_from(epochs.len()).unwrap());
    let some = u32::from(tape.u8()) & all;
    let mask = if some == 0 { all } else { some };
    let named: Vec<&EpochName> =
        epochs.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, name)| name).collect();
    let key_of = |name: &EpochName| {
        let own = begun
            .iter()
            .find(|(rotation, _)| (rotation.compartment, rotation.epoch()) == (name.compartment, name.epoch));
        own.map(|(_, key)| key).or_else(|| town().epochs.get(&(name.compartment, name.epoch)))
    };
    let secret = |name: &&EpochName| Some((name.compartment, name.epoch, key_of(name)?.secret()));
    let secrets: Option<Vec<_>> = named.iter().map(secret).collect();
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(tape.u8()));
    let genuine = secrets
        .filter(|_| !tape.once_in(4))
        .and_then(|secrets| seal_epochs(&mut rng, reader.agreement.public(), &secrets).ok());
    let sealed = genuine.unwrap_or_else(|| {
        let short = usize::from(tape.once_in(16));
        SealedKeys { encapsulated: [9; 32], ciphertext: vec![1; named.len() * 32 + 16 - short] }
    });
    let mask = if tape.once_in(32) { u32::from(tape.u8()) << 8 } else { mask };
    Grant { device: reader.device_id(), mask, sealed }
}

fn rotation(tape: &mut Tape<'_>) -> (Rotation, Agreement) {
    let compartment = CompartmentId(u8::try_from(tape.below(7)).unwrap());
    let newest = town().roll.state().newest_epoch(compartment).map(|(id, _)| id);
    let next = newest.map_or(0, |id| u64::from(id.number) + 1);
    let number = if tape.once_in(4) { tape.number(next) } else { next };
    let number = u32::try_from(number % (1 << 32)).unwrap();
    let key = Agreement::from_secret(Secret(tape.bytes32()));
    let public = if tape.once_in(8) { tape.bytes32() } else { *key.public() };
    let epoch = EpochId::of(number, &public);
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(tape.u8()));
    let previous = newest.filter(|_| tape.once_in(2)).map(|old| {
        let old_key = town().epochs.get(&(compartment, old));
        let purpose = SealPurpose::EpochChain { compartment, old, new: epoch };
        let sealed = old_key.and_then(|old_key| seal(&mut rng, &public, &purpose, old_key.secret()).ok());
        let nonsense = || SealedKey { encapsulated: [tape.u8(); 32], ciphertext: [3; 48] };
        PreviousKey { epoch: old, sealed: sealed.unwrap_or_else(nonsense) }
    });
    (Rotation { compartment, number, public, previous }, key)
}
