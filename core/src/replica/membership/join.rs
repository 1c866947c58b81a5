//! Founding a group, asking to join, admitting, joining.

use std::collections::BTreeMap;
use std::sync::Arc;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::keys::KeyPlan;
use super::{GroupInfo, JoinRequest};
use crate::base::{
    CompartmentId, CompartmentRow, DeviceId, GroupId, MailboxId, MemberId, RelayId, RoleId, RoleRow,
    Template, address, cbor,
};
use crate::entry::chain::verify_run;
use crate::entry::link::{self, GroupLink};
use crate::entry::seal::{Slot, write_clear};
use crate::entry::{Certificate, Kind, LogHead, LogId, Received, Scope, Verified, Wire};
use crate::replica::disk::{self, META, OutboxRow};
use crate::replica::engine::Engine;
use crate::replica::error::Error;
use crate::replica::joining::JOINING;
use crate::roll::operation::Admission as AdmitOperation;
use crate::roll::{Founding, Operation, Roll};
use crate::storage::Batch;
use crate::sync::inbox::{Logs, Verdict, judge};
use crate::watch::roles;

/// What a newcomer needs to begin: the roll so far and where the relay is. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Admission {
    /// The group.
    #[n(0)]
    pub group: GroupId,
    /// The relay's address, if the coordinator knows one.
    #[n(1)]
    pub relay_url: Option<String>,
    /// The relay's key, if the coordinator has seen it.
    #[n(2)]
    pub relay: Option<RelayId>,
    /// The roll, causes first.
    #[n(3)]
    pub roll: Vec<Wire>,
}

const AN_ADMISSION: &str = "an admission";
pub(super) const A_JOIN_REQUEST: &str = "a request to join";

impl Admission {
    /// The bytes to hand to the newcomer.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads what a coordinator handed over.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        cbor::decode(bytes).map_err(|e| Error::unreadable(AN_ADMISSION, e))
    }
}

impl Engine {
    /// Founds a group. This device's member becomes its first coordinator.
    ///
    /// # Errors
    /// [`Error::HasGroup`] if it belongs to one already; errors of the store.
    pub fn found(&mut self) -> Result<GroupInfo, Error> {
        self.must_be_free()?;
        let template = watch_template();
        let role = RoleId(roles::ROLE_COORDINATOR);
        let keys = self.founding_keys(&template, role)?;
        let mut nonce = [0; 16];
        self.rng.fill_bytes(&mut nonce);
        let certificate = self.identity.certificate(Scope::founding(&nonce)).ok_or(Error::NotCertified)?;
        let certificate = ByteVec::from(certificate.as_bytes().to_vec());
        let founding = Founding { template, role, certificate, keys, nonce };
        let slot = Slot {
            group: None,
            compartment: CompartmentId::ROLL,
            head: None,
            claimed_ms: self.clock.now_ms(),
            expiry_day: None,
            roll_heads: Vec::new(),
            checkpoint: None,
        };
        let body = cbor::encode(&Operation::Found(founding));
        let entry = write_clear(&self.identity.secrets()?.device, &slot, Kind::OPERATION, None, body)
            .map_err(|e| Error::Kind(e.to_string()))?;
        let roll = Roll::found(&entry).map_err(|e| Error::Kind(e.to_string()))?;
        let mut group = self.new_group(Arc::new(roll))?;
        group.own.insert(CompartmentId::ROLL, LogHead { seq: 0, hash: entry.hash() });
        self.transact(|engine, batch| {
            Self::put_group(batch, group.roll.group());
            engine.group = Some(group);
            engine.keep_own(batch, &entry, None)
        })?;
        self.absorb_keys()?;
        self.bring_along()?;
        self.info()
    }

    pub(in crate::replica) fn must_be_free(&mut self) -> Result<(), Error> {
        self.refresh()?;
        if self.group.is_some() { Err(Error::HasGroup) } else { Ok(()) }
    }

    /// What this device hands to a coordinator of `group` in order to be admitted; or to be admitted again, after it was
    /// removed: then it belongs once it has synced, and needs no admission. It is of no use in another group.
    ///
    /// # Errors
    /// [`Error::HasGroup`] if it belongs to a group already, or belonged to another than this.
    pub fn request(&self, group: GroupId) -> Result<JoinRequest, Error> {
        if self.group_id().is_some_and(|own| own != group)
            || (self.group.is_some() && self.removal()?.is_none())
        {
            return Err(Error::HasGroup);
        }
        Ok(JoinRequest::from_bytes(self.certificate_for(group)?.as_bytes().to_vec()))
    }

    /// Admits whoever asks, as `role`, and returns what they need to begin.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member governs; [`Error::Unreadable`] if the request is none; [`Error::Admission`] if
    /// the device is somebody else's.
    pub fn admit(&mut self, request: &JoinRequest, role: RoleId) -> Result<Admission, Error> {
        self.admit_invited(request, role, None)?;
        self.admission()
    }

    /// As [`Engine::admit`], in answer to an invitation.
    ///
    /// # Errors
    /// As [`Engine::admit`].
    pub(in crate::replica) fn admit_invited(
        &mut self,
        request: &JoinRequest,
        role: RoleId,
        invitation: Option<MailboxId>,
    ) -> Result<(), Error> {
        self.must_govern("admit anybody")?;
        let certificate = request
            .certificate(self.group()?.roll.group())
            .map_err(|e| Error::of_certificate(A_JOIN_REQUEST, e))?;
        let claims = *certificate.claims();
        let state = Arc::clone(self.state()?);
        if state.device(claims.device).is_some_and(|(device, _)| device.key != claims.member) {
            return Err(Error::Admission("this device belongs to another member already".to_owned()));
        }
        // Asked once more: the answer to the first call was lost.
        let is_there = state.device(claims.device).is_some_and(|(_, held)| held == role);
        if is_there && (invitation.is_none() || state.template().governs(role)) {
            return Ok(());
        }
        // Of somebody who was recovered once, the key is not the identity.
        let replaced = || Error::Admission("a recovery has replaced the key of this request".to_owned());
        let member = state.owner(claims.member).ok_or_else(replaced)?;
        if state.member(member).is_some_and(|member| state.template().governs(member.role)) {
            let why = "this member is a coordinator already: hand the group over again, or recover them";
            return Err(Error::Admission(why.to_owned()));
        }
        self.write_admission(member, role, vec![certificate], invitation)
    }

    /// Gives a member a role, devices, and the keys that go with it; takes the keys of what they read no longer.
    pub(super) fn write_admission(
        &mut self,
        member: MemberId,
        role: RoleId,
        certificates: Vec<Certificate>,
        invitation: Option<MailboxId>,
    ) -> Result<(), Error> {
        self.transact(|engine, batch| {
            engine.append_admission(batch, member, role, &certificates, invitation)
        })?;
        self.absorb_keys()?;
        Ok(())
    }

    /// As [`Self::write_admission`], within a transaction.
    pub(super) fn append_admission(
        &mut self,
        batch: &mut Batch,
        member: MemberId,
        role: RoleId,
        certificates: &[Certificate],
        invitation: Option<MailboxId>,
    ) -> Result<(), Error> {
        let state = Arc::clone(self.state()?);
        if state.template().role(role).is_none() {
            return Err(Error::Admission(format!("this group has no role {}", role.0)));
        }
        let theirs = state.devices().filter(|(_, device, _)| device.member == member);
        let mut devices: Vec<_> = theirs.map(|(id, device, _)| (id, device.agreement)).collect();
        devices.extend(certificates.iter().map(|c| (c.claims().device, c.claims().agreement)));
        devices.sort_unstable();
        devices.dedup();
        let before = state.member(member).map(|member| member.role);
        let mut plan = KeyPlan::default();
        for row in state.template().compartments.iter().filter(|row| row.id != CompartmentId::ROLL) {
            let reads_now = state.template().may_read(role, row.id);
            let read_before = before.is_some_and(|before| state.template().may_read(before, row.id));
            if reads_now {
                self.let_read(&mut plan, &state, row.id, &devices)?;
            } else if read_before {
                let others = |id| !devices.iter().any(|(device, _)| *device == id);
                self.begin_epoch(&mut plan, &state, row.id, &|id| others(id), &[])?;
            }
        }
        let certificates = certificates.iter().map(|c| ByteVec::from(c.as_bytes().to_vec())).collect();
        self.append_with_keys(batch, plan, |keys| {
            Operation::Admit(AdmitOperation { member, role, certificates, keys, invitation })
        })
    }

    /// The roll as it stands, for somebody who was admitted.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; [`Error::RollDamaged`]; errors of the store.
    pub fn admission(&mut self) -> Result<Admission, Error> {
        self.fresh()?;
        self.must_know_roll()?;
        let group = self.fresh()?;
        let (id, memory) = (group.roll.group(), group.relay.clone());
        let roll = self.roll_entries()?.into_iter().map(|entry| entry.wire().clone()).collect();
        Ok(Admission { group: id, relay_url: memory.url, relay: memory.relay, roll })
    }

    /// Where the group is: for a device that was admitted, or that a member's key has certified, to fetch the roll from the
    /// relay by itself.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; [`Error::NoRelay`] before the first sync; [`Error::Address`] if the relay's address is too long.
    pub fn group_link(&mut self) -> Result<GroupLink, Error> {
        let group = self.fresh()?;
        let relay_url = address::checked(&group.relay.url.clone().ok_or(Error::NoRelay)?)?;
        if !link::fits(&relay_url) {
            return Err(Error::Address("it is too long for a link".to_owned()));
        }
        Ok(GroupLink { relay_url, group: group.roll.group() })
    }

    /// Joins the group of an admission that names this device, or whose member's key this device holds.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if it is none; [`Error::Admission`] if it is not genuine or names somebody else;
    /// [`Error::Address`] if its relay is reached unencrypted; [`Error::HasGroup`].
    pub fn join(&mut self, admission: &Admission) -> Result<GroupInfo, Error> {
        self.must_be_free()?;
        let relay_url = admission.relay_url.as_deref().map(address::checked).transpose()?;
        let refuse = |why: &dyn std::fmt::Display| Error::Admission(why.to_string());
        let entries: Result<Vec<_>, _> = admission.roll.iter().cloned().map(Received::parse).collect();
        let mut entries = entries.map_err(|e| Error::of_entry(AN_ADMISSION, e))?.into_iter();
        let founding = entries.next().ok_or_else(|| refuse(&"it holds no roll"))?;
        let founding = verify_run(admission.group, None, vec![founding]);
        let founding = founding
            .verified
            .into_iter()
            .next()
            .ok_or_else(|| refuse(&"its founding entry is not genuine"))?;
        let mut roll = Arc::new(Roll::found(&founding).map_err(|e| Error::unreadable(AN_ADMISSION, e))?);
        let rest: Vec<_> = entries.collect();
        let expected = rest.len();
        let only_founding = JustFounded(LogId::of(&founding), LogHead { seq: 0, hash: founding.hash() });
        let Ok(verdicts) = judge(&mut roll, &only_founding, rest);
        let kept = verdicts.into_iter().filter_map(|(_, verdict)| match verdict {
            Verdict::Keep(entry) | Verdict::Quarantine(entry, _) => Some(entry),
            Verdict::Stranger(_)
            | Verdict::Known(_)
            | Verdict::Wait(..)
            | Verdict::Fork(..)
            | Verdict::Refuse(..) => None,
        });
        let kept: Vec<Verified> = kept.collect();
        if kept.len() != expected {
            return Err(refuse(&"parts of its roll are missing or not genuine"));
        }
        let group = self.new_group(roll)?;
        let own = certificates_in(admission.group, &kept).remove(&self.device_id());
        self.transact(|engine, batch| {
            // A device of a member whose key is elsewhere finds what that key says of it in the roll.
            if engine.identity.member_id().is_none() {
                engine.certify_device(batch, own.ok_or(Error::NotCertified)?)?;
            }
            Self::put_group(batch, admission.group);
            engine.group = Some(group);
            engine.take_over(batch, (relay_url, admission.relay), std::iter::once(founding).chain(kept))?;
            if engine.role().is_none() {
                // With the key of a member, from a recovery code, a device enters itself.
                engine.begin_log(batch, CompartmentId::ROLL)?;
            }
            engine.role().map(|_| ()).ok_or_else(|| refuse(&engine.why_outside()))
        })?;
        self.absorb_keys()?;
        self.bring_along()?;
        self.info()
    }

    /// Why the roll makes this device nobody's who belongs.
    fn why_outside(&self) -> &'static str {
        let (Ok(state), Some(key)) = (self.state(), self.identity.member_id()) else {
            return "it does not name this device";
        };
        match state.owner(key) {
            None => "a recovery has replaced the key of this device's member",
            Some(member) if state.member(member).is_some() => {
                "its member has as many devices as one may have: take one out first"
            }
            Some(member) if state.was_taken_out(member) => "its member was taken out of the group",
            Some(_) => "it does not name this device",
        }
    }

    fn take_over(
        &mut self,
        batch: &mut Batch,
        (relay_url, relay): (Option<String>, Option<RelayId>),
        entries: impl Iterator<Item = Verified>,
    ) -> Result<(), Error> {
        let group = self.fresh()?;
        group.relay.url = relay_url;
        group.relay.relay = relay;
        self.put_relay(batch)?;
        batch.delete(META, JOINING);
        for entry in entries {
            let (log, seq) = (LogId::of(&entry), entry.header().seq);
            batch.put(disk::ENTRIES, disk::entry_key(log, seq), entry.to_bytes());
            self.put_roll_row(batch, &entry)?;
            // The relay may not have heard of this admission yet; whoever holds an entry may bring it.
            self.enqueue(batch, OutboxRow { log, seq, document: None })?;
        }
        Ok(())
    }
}

/// A store that holds a founding entry and nothing else.
struct JustFounded(LogId, LogHead);

impl Logs for JustFounded {
    type Error = std::convert::Infallible;

    fn head(&self, log: LogId) -> Result<Option<LogHead>, Self::Error> {
        Ok((log == self.0).then_some(self.1))
    }

    fn hash_at(&self, log: LogId, seq: u64) -> Result<Option<crate::base::EntryHash>, Self::Error> {
        Ok((log == self.0 && seq == self.1.seq).then_some(self.1.hash))
    }
}

/// The shape of a watch group, as the founding entry carries it.
pub(super) fn watch_template() -> Template {
    let ids = |roles: &[u8]| {
        let mut ids: Vec<RoleId> = roles.iter().map(|role| RoleId(*role)).collect();
        ids.sort_unstable();
        ids
    };
    let everyone: Vec<u8> = (1..=u8::MAX).take_while(|role| roles::role_name(*role).is_some()).collect();
    let roll = CompartmentRow {
        id: CompartmentId::ROLL,
        name: "roll".to_owned(),
        readers: ids(&everyone),
        writers: vec![RoleId(roles::ROLE_COORDINATOR)],
    };
    let rows = roles::template_rows().iter().map(|row| CompartmentRow {
        id: CompartmentId(row.compartment),
        name: row.name.to_owned(),
        readers: ids(row.readers),
        writers: ids(row.writers),
    });
    let role_rows = everyone.iter().map(|role| RoleRow {
        id: RoleId(*role),
        name: roles::role_name(*role).unwrap_or_default().to_owned(),
        governs: *role == roles::ROLE_COORDINATOR,
    });
    Template { roles: role_rows.collect(), compartments: std::iter::once(roll).chain(rows).collect() }
}

/// The certificates of devices that entries of a group's roll carry, but for those that are no use in it.
pub(super) fn certificates_in<'a>(
    group: GroupId,
    entries: impl IntoIterator<Item = &'a Verified>,
) -> BTreeMap<DeviceId, Certificate> {
    let mut certificates = BTreeMap::new();
    for entry in entries {
        let body = entry.body().unwrap_or_default();
        let (scope, carried) = if entry.header().kind == Kind::CERTIFICATE {
            (Scope::group(group), vec![body.to_vec()])
        } else {
            let Ok(operation) = cbor::decode::<Operation>(body) else { continue };
            let carried = operation.certificates().iter().map(|bytes| bytes.to_vec()).collect();
            (operation.scope(group), carried)
        };
        for certificate in carried.iter().filter_map(|bytes| Certificate::verify(bytes, scope).ok()) {
            certificates.insert(certificate.claims().device, certificate);
        }
    }
    certificates
}
