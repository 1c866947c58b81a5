//! Founding a group, asking to join, admitting, joining.

use std::collections::BTreeSet;
use std::sync::Arc;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::disk::{self, META, OutboxRow};
use super::engine::{Engine, ROLL};
use super::error::Error;
use super::joining::JOINING;
use crate::base::{
    CompartmentId, CompartmentRow, DeviceId, EpochId, GroupId, MailboxId, MemberId, RelayId, RoleId, RoleRow,
    Template, cbor, limits,
};
use crate::entry::chain::verify_run;
use crate::entry::keys::{Agreement, SealPurpose, seal};
use crate::entry::seal::{Slot, write_clear};
use crate::entry::{Certificate, Kind, LogHead, LogId, Received, Verified, Wire};
use crate::roll::operation::{Admission as AdmitOperation, Grants, Rotations};
use crate::roll::{Founding, Grant, Operation, Roll, Rotation, State};
use crate::storage::Batch;
use crate::sync::inbox::{Logs, Verdict, judge};
use crate::watch::roles;

/// A newcomer's device and member key, signed by both. Holds no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest(Vec<u8>);

impl JoinRequest {
    /// The bytes to hand to a coordinator.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes bytes that a newcomer handed over. They are checked when somebody is admitted.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

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

impl Admission {
    /// The bytes to hand to the newcomer.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads what a coordinator handed over.
    ///
    /// # Errors
    /// [`Error::Admission`] if it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        cbor::decode(bytes).map_err(|e| Error::Admission(e.to_string()))
    }
}

/// The group, as an app shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// The group.
    pub group: GroupId,
    /// This device.
    pub device: DeviceId,
    /// Its member.
    pub member: MemberId,
    /// The member's role.
    pub role: RoleId,
    /// The role's name.
    pub role_name: String,
    /// Members in the roll.
    pub members: u32,
    /// Whether fewer than two members govern: if that one is lost, so is the group's key to itself.
    pub needs_second_coordinator: bool,
}

/// One member, as an app shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterRow {
    /// The member.
    pub member: MemberId,
    /// Their role.
    pub role: RoleId,
    /// The role's name.
    pub role_name: String,
    /// Their devices.
    pub devices: Vec<DeviceId>,
    /// Names of the compartments that they can read.
    pub reads: Vec<String>,
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
        let device = (self.device_id(), *self.identity.agreement.public());
        let mut rotations = Vec::new();
        for row in template.compartments.iter().filter(|row| row.readers.contains(&role)) {
            rotations.push(self.rotation(row.id, 0, None, &[device])?);
        }
        let mut nonce = [0; 16];
        self.rng.fill_bytes(&mut nonce);
        let certificate = ByteVec::from(self.certificate().as_bytes().to_vec());
        let founding = Founding { template, role, certificate, rotations, nonce };
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
        let entry = write_clear(&self.identity.device, &slot, Kind::OPERATION, None, body)
            .map_err(|e| Error::Kind(e.to_string()))?;
        let roll = Roll::found(&entry).map_err(|e| Error::Kind(e.to_string()))?;
        let mut group = self.new_group(Arc::new(roll))?;
        group.own.insert(CompartmentId::ROLL, LogHead { seq: 0, hash: entry.hash() });
        self.transact(|engine, batch| {
            Self::put_group(batch, group.roll.group());
            engine.group = Some(group);
            engine.keep_own(batch, &entry, None)
        })?;
        self.absorb_keys();
        self.info()
    }

    pub(super) fn must_be_free(&mut self) -> Result<(), Error> {
        match self.fresh() {
            Ok(_) => Err(Error::HasGroup),
            Err(Error::NoGroup) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// What this device hands to a coordinator in order to be admitted.
    ///
    /// # Errors
    /// [`Error::HasGroup`] if it belongs to a group already.
    pub fn request(&self) -> Result<JoinRequest, Error> {
        if self.group.is_some() {
            return Err(Error::HasGroup);
        }
        Ok(JoinRequest(self.certificate().as_bytes().to_vec()))
    }

    /// Admits whoever asks, as `role`, and returns what they need to begin.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member governs; [`Error::Admission`] if the request is not genuine.
    pub fn admit(&mut self, request: &JoinRequest, role: RoleId) -> Result<Admission, Error> {
        self.admit_invited(request, role, None)
    }

    /// As [`Engine::admit`], for somebody who came with an invitation, which is used up by it.
    pub(super) fn admit_invited(
        &mut self,
        request: &JoinRequest,
        role: RoleId,
        invitation: Option<MailboxId>,
    ) -> Result<Admission, Error> {
        self.fresh()?;
        let state = Arc::clone(self.state()?);
        if !state.governs(self.device_id()) {
            return Err(Error::Role("admit anybody"));
        }
        if state.template().role(role).is_none() {
            return Err(Error::Admission(format!("this group has no role {}", role.0)));
        }
        let certificate = Certificate::verify(&request.0).map_err(|e| Error::Admission(e.to_string()))?;
        let claims = *certificate.claims();
        if state.device(claims.device).is_some_and(|(device, _)| device.member != claims.member) {
            return Err(Error::Admission("this device belongs to another member already".to_owned()));
        }
        let newcomer = (claims.device, claims.agreement);
        let mut grants = Vec::new();
        let mut unread = Vec::new();
        for row in state.template().compartments.iter().filter(|row| row.readers.contains(&role)) {
            let newest = state.newest_epoch(row.id).map(|(epoch, _)| epoch);
            let key = newest.and_then(|epoch| {
                Some((epoch, self.group.as_ref()?.epoch_keys.get(&(row.id, epoch))?.clone()))
            });
            match key {
                Some((epoch, key)) => grants.push(self.grant(row.id, epoch, &key, newcomer)?),
                None => unread.push((row.id, newest)),
            }
        }
        let mut rotations = Vec::new();
        for (compartment, newest) in unread {
            // Not even a coordinator reads it: a new epoch begins for the newcomer and the readers there are.
            let mut readers = reader_devices(&state, compartment);
            readers.push(newcomer);
            let number = newest.map_or(0, |epoch| epoch.number.saturating_add(1));
            rotations.push(self.rotation(compartment, number, None, &readers)?);
        }
        let certificates = vec![ByteVec::from(certificate.as_bytes().to_vec())];
        let admit = AdmitOperation { member: claims.member, role, certificates, grants, invitation };
        self.transact(|engine, batch| {
            engine.append_operation(batch, &Operation::Admit(admit))?;
            if !rotations.is_empty() {
                engine.append_operation(batch, &Operation::Rotate(Rotations { rotations }))?;
            }
            Ok(())
        })?;
        self.absorb_keys();
        self.admission()
    }

    /// The roll as it stands, for somebody who was admitted.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; errors of the store.
    pub fn admission(&mut self) -> Result<Admission, Error> {
        let group = self.fresh()?;
        let (id, memory) = (group.roll.group(), group.relay.clone());
        let roll = self.roll_entries()?.into_iter().map(|entry| entry.wire().clone()).collect();
        Ok(Admission { group: id, relay_url: memory.url, relay: memory.relay, roll })
    }

    /// Joins the group of an admission that names this device.
    ///
    /// # Errors
    /// [`Error::Admission`] if it is not genuine or names somebody else; [`Error::HasGroup`].
    pub fn join(&mut self, admission: &Admission) -> Result<GroupInfo, Error> {
        self.must_be_free()?;
        let refuse = |why: &dyn std::fmt::Display| Error::Admission(why.to_string());
        let entries: Result<Vec<_>, _> = admission.roll.iter().cloned().map(Received::parse).collect();
        let mut entries = entries.map_err(|e| refuse(&e))?.into_iter();
        let founding = entries.next().ok_or_else(|| refuse(&"it holds no roll"))?;
        let founding = verify_run(admission.group, None, vec![founding]);
        let founding = founding
            .verified
            .into_iter()
            .next()
            .ok_or_else(|| refuse(&"its founding entry is not genuine"))?;
        let mut roll = Arc::new(Roll::found(&founding).map_err(|e| refuse(&e))?);
        let rest: Vec<_> = entries.collect();
        let expected = rest.len();
        let only_founding = JustFounded(LogId::of(&founding), LogHead { seq: 0, hash: founding.hash() });
        let Ok(verdicts) = judge(&mut roll, &only_founding, rest);
        let kept = verdicts.into_iter().filter_map(|(_, verdict)| match verdict {
            Verdict::Keep(entry) | Verdict::Quarantine(entry, _) => Some(entry),
            Verdict::Known | Verdict::Wait(..) | Verdict::Fork(..) | Verdict::Refuse(..) => None,
        });
        let kept: Vec<Verified> = kept.collect();
        if kept.len() != expected {
            return Err(refuse(&"parts of its roll are missing or not genuine"));
        }
        if roll.state().device(self.device_id()).is_none() {
            return Err(refuse(&"it does not name this device"));
        }
        let group = self.new_group(roll)?;
        self.transact(|engine, batch| {
            Self::put_group(batch, admission.group);
            engine.group = Some(group);
            engine.take_over(batch, admission, std::iter::once(founding).chain(kept))
        })?;
        self.absorb_keys();
        self.info()
    }

    fn take_over(
        &mut self,
        batch: &mut Batch,
        admission: &Admission,
        entries: impl Iterator<Item = Verified>,
    ) -> Result<(), Error> {
        let group = self.fresh()?;
        group.relay.url.clone_from(&admission.relay_url);
        group.relay.relay = admission.relay;
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

    /// Who this device is and where it belongs.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn info(&self) -> Result<GroupInfo, Error> {
        let state = self.state()?;
        let role = self.role().ok_or(Error::NoGroup)?;
        let governing = state.members().filter(|(_, member)| state.template().governs(member.role)).count();
        Ok(GroupInfo {
            group: self.group()?.roll.group(),
            device: self.device_id(),
            member: self.member_id(),
            role,
            role_name: role_name(state, role),
            members: u32::try_from(state.members().count()).unwrap_or(u32::MAX),
            needs_second_coordinator: governing < 2,
        })
    }

    /// Everybody who belongs, and what they can read.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn roster(&self) -> Result<Vec<RosterRow>, Error> {
        let state = self.state()?;
        let rows = state.members().map(|(id, member)| RosterRow {
            member: id,
            role: member.role,
            role_name: role_name(state, member.role),
            devices: state.devices().filter(|(_, d, _)| d.member == id).map(|(id, _, _)| id).collect(),
            reads: state
                .template()
                .compartments
                .iter()
                .filter(|row| state.template().may_read(member.role, row.id))
                .map(|row| row.name.clone())
                .collect(),
        });
        Ok(rows.collect())
    }

    /// The roll's entries, causes first.
    pub(super) fn roll_entries(&self) -> Result<Vec<Verified>, Error> {
        let keys = self.store.scan(ROLL, &[], None, usize::MAX)?;
        let entries = keys.into_iter().filter_map(|(_, key)| {
            let (log, seq) = disk::parse_entry_key(&key)?;
            disk::read_entry(&*self.store, log, seq).transpose()
        });
        entries.collect()
    }

    fn rotation(
        &mut self,
        compartment: CompartmentId,
        number: u32,
        previous: Option<(EpochId, Agreement)>,
        readers: &[ReaderDevice],
    ) -> Result<Rotation, Error> {
        let key = Agreement::draw(&mut self.rng);
        let epoch = EpochId::of(number, key.public());
        // A device with an unusable key harms itself, and not the others' rotation.
        let grants =
            readers.iter().filter_map(|reader| self.grant(compartment, epoch, &key, *reader).ok()).collect();
        let previous = previous.map(|(old, old_key)| {
            let purpose = SealPurpose::EpochChain { compartment, old, new: epoch };
            seal(&mut self.rng, key.public(), &purpose, old_key.secret())
                .map(|sealed| crate::roll::operation::PreviousKey { epoch: old, sealed })
        });
        let previous = previous.transpose().map_err(|e| Error::Admission(e.to_string()))?;
        Ok(Rotation { compartment, number, public: *key.public(), grants, previous })
    }

    /// Hands out the keys that readers lack, as far as this device governs and has them.
    ///
    /// Somebody who was admitted while somebody else rotated, neither knowing of the other, is in nobody's grants: who
    /// hears of both mends it (PROTOCOL.md §4.4). To be called with everything fetched, lest it mend what is mended.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn grant_missing(&mut self) -> Result<(), Error> {
        self.fresh()?;
        if !self.state()?.governs(self.device_id()) {
            return Ok(());
        }
        let mut grants = Vec::new();
        for (compartment, epoch, key, reader) in self.lacking_grants()? {
            // A device with an unusable key harms itself alone.
            grants.extend(self.grant(compartment, epoch, &key, reader).ok());
        }
        for grants in grants.chunks(limits::GRANTS_MAX) {
            let operation = Operation::Grant(Grants { grants: grants.to_vec() });
            self.transact(|engine, batch| engine.append_operation(batch, &operation))?;
        }
        Ok(())
    }

    /// Readers' devices that were not granted an epoch and do not reach it from a newer one, where this device has the
    /// epoch's key.
    fn lacking_grants(&self) -> Result<Vec<(CompartmentId, EpochId, Agreement, ReaderDevice)>, Error> {
        let (state, keys) = (self.state()?, &self.group()?.epoch_keys);
        let mut lacking = Vec::new();
        for row in state.template().compartments.iter().filter(|row| row.id != CompartmentId::ROLL) {
            let readers = reader_devices(state, row.id);
            // From the newest down: whoever has a grant, or gets one now, reaches the epoch before from there.
            let mut reached = BTreeSet::new();
            for (id, epoch) in state.epochs(row.id).rev() {
                if let Some(key) = keys.get(&(row.id, id)).filter(|_| !reached.contains(&id)) {
                    let granted: BTreeSet<DeviceId> = epoch.grants.iter().map(|grant| grant.device).collect();
                    let without = readers.iter().filter(|(device, _)| !granted.contains(device));
                    lacking.extend(without.map(|reader| (row.id, id, key.clone(), *reader)));
                }
                reached.extend(epoch.previous.as_ref().map(|previous| previous.epoch));
            }
        }
        Ok(lacking)
    }

    fn grant(
        &mut self,
        compartment: CompartmentId,
        epoch: EpochId,
        key: &Agreement,
        (device, agreement): ReaderDevice,
    ) -> Result<Grant, Error> {
        let purpose = SealPurpose::EpochKey(compartment, epoch);
        let sealed = seal(&mut self.rng, &agreement, &purpose, key.secret())
            .map_err(|_| Error::Admission(format!("the device {device:?} has an unusable key")))?;
        Ok(Grant { compartment, epoch, device, sealed })
    }

    /// Begins a new epoch of a compartment that this device reads: sealed to its readers, linked to the one before.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member governs and reads the compartment.
    pub fn rotate(&mut self, compartment: CompartmentId) -> Result<EpochId, Error> {
        self.fresh()?;
        let state = Arc::clone(self.state()?);
        if !state.governs(self.device_id()) {
            return Err(Error::Role("rotate keys"));
        }
        let newest = state.newest_epoch(compartment).map(|(epoch, _)| epoch);
        let previous =
            newest.and_then(|e| Some((e, self.group.as_ref()?.epoch_keys.get(&(compartment, e))?.clone())));
        let previous = previous.ok_or(Error::Role("rotate the key of a compartment that it cannot read"))?;
        let number = previous.0.number.saturating_add(1);
        let readers = reader_devices(&state, compartment);
        let rotation = self.rotation(compartment, number, Some(previous), &readers)?;
        let epoch = rotation.epoch();
        let rotate = Operation::Rotate(Rotations { rotations: vec![rotation] });
        self.transact(|engine, batch| engine.append_operation(batch, &rotate))?;
        self.absorb_keys();
        Ok(epoch)
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

/// A device, and the key that something is sealed to for it.
type ReaderDevice = (DeviceId, [u8; 32]);

fn reader_devices(state: &State, compartment: CompartmentId) -> Vec<ReaderDevice> {
    let readers = state.devices().filter(|(_, _, role)| state.template().may_read(*role, compartment));
    readers.map(|(id, device, _)| (id, device.agreement)).take(limits::GRANTS_MAX).collect()
}

fn role_name(state: &State, role: RoleId) -> String {
    state.template().role(role).map(|row| row.name.clone()).unwrap_or_default()
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
