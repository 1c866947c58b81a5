//! Verification of runs: every signature, and the hash chain (PROTOCOL.md §2.4).

use minicbor::{Decode, Encode};

use super::certificate::{BadCertificate, Certificate, Scope};
use super::header::Kind;
use super::wire::Received;
use crate::base::cose::{BadSign1, Signer};
use crate::base::{CompartmentId, DeviceId, EntryHash, GroupId};

/// An entry that is proven to come from the device it names, at its place in that device's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified(Received);

impl Verified {
    /// Takes back an entry that this device verified before it stored it.
    ///
    /// For bytes from one's own store alone, never for bytes from a peer.
    pub fn from_own_store(received: Received) -> Self {
        Self(received)
    }

    /// The entry without its body.
    pub fn without_body(self) -> Self {
        Self(self.0.without_body())
    }

    /// The entry without its proof of origin, to be sent on.
    pub fn into_received(self) -> Received {
        self.0
    }
}

impl std::ops::Deref for Verified {
    type Target = Received;

    fn deref(&self) -> &Received {
        &self.0
    }
}

/// How far a log goes: the newest entry's number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LogHead {
    /// Seq of the newest entry.
    #[n(0)]
    pub seq: u64,
    /// Its hash.
    #[n(1)]
    pub hash: EntryHash,
}

/// Which log an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct LogId {
    /// The compartment.
    #[n(0)]
    pub compartment: CompartmentId,
    /// The device.
    #[n(1)]
    pub device: DeviceId,
}

impl LogId {
    /// The log that `entry` says it belongs to.
    pub fn of(entry: &Received) -> Self {
        Self { compartment: entry.header().compartment, device: entry.header().device }
    }
}

/// Why an entry does not continue a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLink {
    /// Signed by somebody else, or altered.
    #[error("entry {seq} of device {}: {why}", .device.short())]
    Signature {
        /// The device that it names.
        device: DeviceId,
        /// Its number.
        seq: u64,
        /// What is wrong with the signature.
        why: BadSign1,
    },
    /// It names another predecessor than the one that is there.
    #[error("entry {seq} of device {} does not follow the entry before it", .device.short())]
    Chain {
        /// The device that it names.
        device: DeviceId,
        /// Its number.
        seq: u64,
    },
    /// Seq 0 holds no valid certificate of this device.
    #[error("the log of device {} does not begin with its certificate: {why}", .device.short())]
    Certificate {
        /// The device that it names.
        device: DeviceId,
        /// What is wrong.
        why: String,
    },
    /// It belongs to another group.
    #[error("the entry belongs to group {}, not to {}", .found.short(), .expected.short())]
    OtherGroup {
        /// Group of the session.
        expected: GroupId,
        /// Group named in the entry.
        found: GroupId,
    },
}

/// What a run turned out to be: the entries that are proven, and what stopped it.
#[derive(Debug, Default)]
pub struct Run {
    /// Proven entries, in order.
    pub verified: Vec<Verified>,
    /// The first entry that is not, with the reason.
    pub refused: Option<(Received, BadLink)>,
    /// What stood behind it: it may be good, but nothing connects it.
    pub rest: Vec<Received>,
}

/// Verifies consecutive entries of one log that follow `head` (none for an empty log).
///
/// Checks the hash chain and every signature. The last signature alone would prove the run as well; but then an entry
/// signed wrongly on purpose would be good behind one frame boundary and bad behind another, and phones would differ.
pub fn verify_run(group: GroupId, head: Option<LogHead>, entries: Vec<Received>) -> Run {
    let mut linked: Vec<Received> = Vec::with_capacity(entries.len());
    let mut run = Run::default();
    let mut head = head;
    let mut entries = entries.into_iter();
    for entry in entries.by_ref() {
        match check_link(group, head, &entry) {
            Ok(()) => {
                head = Some(LogHead { seq: entry.header().seq, hash: entry.hash() });
                linked.push(entry);
            }
            Err(why) => {
                run.refused = Some((entry, why));
                break;
            }
        }
    }
    run.rest = entries.collect();
    // One log is one device's: its key is read once.
    let device = linked.first().map(|entry| entry.header().device);
    let signer = device.ok_or(BadSign1::Key).and_then(|device| Signer::new(device.as_bytes()));
    let verify = |entry: &Received| match &signer {
        Ok(signer) if Some(entry.header().device) == device => entry.verify_signature_by(signer),
        Ok(_) => Err(BadSign1::Key),
        Err(why) => Err(*why),
    };
    let mut linked = linked.into_iter();
    for entry in linked.by_ref() {
        if let Err(why) = verify(&entry) {
            let (device, seq) = (entry.header().device, entry.header().seq);
            let behind = run.refused.replace((entry, BadLink::Signature { device, seq, why }));
            let rest = linked.chain(behind.map(|(entry, _)| entry)).chain(run.rest).collect();
            return Run { rest, ..run };
        }
        run.verified.push(Verified(entry));
    }
    run
}

/// Verifies one entry by itself, wherever it stands in its log: for evidence and exports.
///
/// # Errors
/// [`BadLink::Signature`] if the named device did not sign it.
pub fn verify_one(entry: Received) -> Result<Verified, BadLink> {
    match entry.verify_signature() {
        Ok(()) => Ok(Verified(entry)),
        Err(why) => Err(BadLink::Signature { device: entry.header().device, seq: entry.header().seq, why }),
    }
}

fn check_link(group: GroupId, head: Option<LogHead>, entry: &Received) -> Result<(), BadLink> {
    let header = entry.header();
    let device = header.device;
    if entry.group() != group {
        return Err(BadLink::OtherGroup { expected: group, found: entry.group() });
    }
    let follows = match head {
        None => header.seq == 0,
        Some(head) => Some(header.seq) == head.seq.checked_add(1) && header.previous == Some(head.hash),
    };
    if !follows {
        return Err(BadLink::Chain { device, seq: header.seq });
    }
    if header.kind == Kind::CERTIFICATE {
        certificate_of(entry).map_err(|why| BadLink::Certificate { device, why: why.to_string() })?;
    }
    Ok(())
}

/// The certificate that a log begins with.
///
/// # Errors
/// [`BadCertificate`] if the body is gone, is no certificate, or is that of another device or for another group.
pub fn certificate_of(entry: &Received) -> Result<Certificate, BadCertificate> {
    let certificate = Certificate::verify(entry.body().unwrap_or_default(), Scope::group(entry.group()))?;
    if certificate.claims().device != entry.header().device {
        return Err(BadCertificate::Signature { by: "device", why: BadSign1::Key });
    }
    Ok(certificate)
}
