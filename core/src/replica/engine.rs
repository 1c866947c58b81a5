//! One device in one group: its keys, its store, and what it knows. Synchronous; deterministic given its environment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use rand_core::CryptoRng;

use super::chunks::MediaMemory;
use super::clock::Clock;
use super::damage::Lost;
use super::disk::{self, DiskCipher, META, OUTBOX, OutboxRow};
use super::error::Error;
use super::find::Finder;
use super::identity::Identity;
use super::membership::SpentSeals;
use super::recent::Recent;
use super::relay::RelayMemory;
use super::retention::put_expiry;
use super::vault::Vault;
use crate::base::{CompartmentId, DeviceId, DocumentId, EpochId, GroupId, Hash, MemberId, RoleId, cbor};
use crate::entry::keys::{Agreement, SALT_BYTES, SealPurpose, Secret, seal};
use crate::entry::plaintext::Content;
use crate::entry::seal::{CannotSeal, Slot, write_clear, write_sealed};
use crate::entry::{Certificate, Kind, LogHead, LogId, Scope, Verified};
use crate::roll::{Operation, Roll, State};
use crate::storage::{Batch, Store, Table};
use crate::sync::frame::OwnHead;

/// Everything that an engine takes from outside.
pub struct Environment {
    /// The disk.
    pub store: Arc<dyn Store>,
    /// The keychain.
    pub vault: Arc<dyn Vault>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness. In simulation a seeded generator; elsewhere the system's.
    pub entropy: Box<dyn CryptoRng + Send>,
}

/// One device in at most one group.
///
/// Every method that changes something returns only after it is on disk.
pub struct Engine {
    pub(super) store: Arc<dyn Store>,
    pub(super) vault: Arc<dyn Vault>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rng: Box<dyn CryptoRng + Send>,
    /// Of what can be read.
    pub(super) cipher: DiskCipher,
    /// Of what a locked device needs.
    vault_cipher: DiskCipher,
    pub(super) identity: Identity,
    pub(super) group: Option<Group>,
    /// Documents that changed since the feed last asked.
    pub(super) changed: BTreeSet<DocumentId>,
    /// What the relay has seen of this device's logs, noted while the device is out: checked when it has caught up.
    pub(super) own_seen: Vec<OwnHead>,
    /// Documents that were recorded before there was a group, and have not come along.
    pub(super) alone: BTreeSet<DocumentId>,
    /// Documents that are not shown any more, likewise.
    pub(super) gone: BTreeSet<DocumentId>,
    /// Documents as they are on disk.
    pub(super) recent: Recent,
    /// What is found without opening anything.
    pub(super) finder: Finder,
    /// Grows with whatever is to be told to the relay beside entries.
    pub(super) mail_mark: u64,
    /// Chunks that are on their way.
    pub(super) media: MediaMemory,
    /// Why planned releases that waited for nothing did not leave, when that was tried last.
    pub(super) not_left: BTreeMap<DocumentId, String>,
    /// A write failed: what is in memory may be ahead of the disk.
    stale: bool,
}

/// What the device knows of its group.
pub(super) struct Group {
    pub roll: Arc<Roll>,
    pub own: BTreeMap<CompartmentId, LogHead>,
    pub epoch_keys: BTreeMap<(CompartmentId, EpochId), Agreement>,
    pub spent_seals: SpentSeals,
    /// Sender keys: those of this installation's own logs, and those that were opened.
    pub senders: HashMap<(LogId, EpochId), Secret>,
    pub relay: RelayMemory,
    /// When the relay said, and did not prove, that this device was removed, in milliseconds since the Unix epoch.
    pub said_removed_ms: Option<u64>,
    /// Cursors that are further than on disk: what lies between holds nothing that is not here.
    pub cursors_ahead: BTreeMap<CompartmentId, u64>,
    /// Entries in the outbox by document.
    pub unsent: HashMap<DocumentId, u32>,
    /// This installation's own entries that the relay refused for good, or that a removal cut off, by document.
    pub refused: BTreeMap<DocumentId, BTreeSet<(LogId, u64)>>,
    /// The standing that stored entries were last weighed by.
    pub weighed: Hash,
    /// The day, since the Unix epoch, that the relay signed last; at most two days ahead of this phone's own by then.
    pub relay_day: Option<u32>,
    /// The day that the relay of this session says it is, whatever this phone's clock says.
    pub said_day: Option<u32>,
    pub next_outbox: u64,
    pub next_receipt: u64,
    pub next_roll: u64,
    /// What of the roll cannot be read.
    pub lost: Lost,
}

impl Group {
    /// Notes that an entry of this installation's own has no effect elsewhere.
    pub fn refuse(&mut self, document: DocumentId, place: (LogId, u64)) {
        self.refused.entry(document).or_default().insert(place);
    }

    /// Notes that it has one after all.
    pub fn accept(&mut self, document: DocumentId, place: (LogId, u64)) {
        if let Some(places) = self.refused.get_mut(&document) {
            places.remove(&place);
            if places.is_empty() {
                self.refused.remove(&document);
            }
        }
    }
}

/// number → entry key: roll entries, causes first.
pub(super) const ROLL: Table = Table(13);
/// log ‖ epoch → seq of the entry that holds the sender key.
pub(super) const SENDERS: Table = Table(14);

const GROUP: &[u8] = b"group";
/// The member's key came from a recovery code, and the device has not joined yet.
pub(super) const RECOVERED: &[u8] = b"recovered";
const SENDER_PREFIX: &[u8] = b"sender/";

impl Engine {
    /// Opens the device that lives in the store, or makes a new one in an empty store. Its key is the vault's secret itself: such
    /// a device has no PIN. [`Replica`](super::Replica) opens devices with a key file.
    ///
    /// # Errors
    /// [`Error::WrongVault`] if the vault's secret is another than the one the store was made with; errors of store
    /// and vault.
    pub fn open(environment: Environment) -> Result<Self, Error> {
        let key = Secret(environment.vault.secret()?);
        Self::open_with_key(environment, key)
    }

    /// As [`Engine::open`], for a device whose key lies in a key file. Reads what came while it was locked.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub(super) fn open_with_key(environment: Environment, key: Secret) -> Result<Self, Error> {
        let cipher = DiskCipher::of_device(key);
        let mut engine = Self::open_over(environment, cipher, |rng| {
            let member = SigningKey::from_bytes(&Secret::draw(rng).0);
            Ok(Identity::draw(rng, Some(member)))
        })?;
        engine.read_unread()?;
        Ok(engine)
    }

    /// Opens a device with the vault's secret alone, to send what is sealed and to keep what comes unopened. Whatever reads or
    /// writes content is [`Error::Locked`].
    ///
    /// # Errors
    /// As [`Engine::open`]; [`Error::Locked`] if there is no device in the store.
    pub fn open_locked(environment: Environment) -> Result<Self, Error> {
        Self::open_over(environment, DiskCipher::locked(), |_| Err(Error::Locked))
    }

    fn open_over(
        environment: Environment,
        cipher: DiskCipher,
        draw: impl FnOnce(&mut dyn CryptoRng) -> Result<Identity, Error>,
    ) -> Result<Self, Error> {
        let Environment { store, vault, clock, mut entropy } = environment;
        let vault_cipher = DiskCipher::of_vault(Secret(vault.secret()?));
        let identity = match Identity::read(&*store, &cipher, &vault_cipher)? {
            Some(identity) => identity,
            // Whose is it, if not this key's?
            None if !matches!(store.scan(META, &[], None, 1).as_deref(), Ok([])) => {
                return Err(Error::WrongVault);
            }
            None => {
                let drawn = draw(&mut *entropy)?;
                let mut batch = Batch::default();
                drawn.put(&mut batch, (&cipher, &vault_cipher), &mut *entropy)?;
                store.apply(batch)?;
                drawn
            }
        };
        let mut engine = Self {
            store,
            vault,
            clock,
            rng: entropy,
            cipher,
            vault_cipher,
            identity,
            group: None,
            changed: BTreeSet::new(),
            own_seen: Vec::new(),
            alone: BTreeSet::new(),
            gone: BTreeSet::new(),
            recent: Recent::default(),
            finder: Finder::default(),
            mail_mark: 0,
            media: MediaMemory::default(),
            not_left: BTreeMap::new(),
            stale: false,
        };
        engine.load_group()?;
        Ok(engine)
    }

    fn load_group(&mut self) -> Result<(), Error> {
        self.alone = self.stored_alone()?;
        self.load_media_memory()?;
        self.recent.clear();
        self.finder = Finder::default();
        if self.store.get(META, GROUP)?.is_none() {
            self.group = None;
            return Ok(());
        }
        let (roll, lost) = self.load_roll()?;
        let mut group = self.new_group(Arc::new(roll))?;
        if !lost.is_empty() {
            group.cursors_ahead.insert(CompartmentId::ROLL, 0);
        }
        group.lost = lost;
        let senders = match self.is_locked() {
            true => Vec::new(),
            false => self.store.scan(META, SENDER_PREFIX, None, usize::MAX)?,
        };
        for (key, sealed) in senders {
            let plain = self.cipher.open(META, &key, &sealed)?;
            let (log, epoch, secret): (LogId, EpochId, Secret) = disk::decode(&plain)?;
            group.senders.insert((log, epoch), secret);
        }
        for row in &group.roll.state().template().compartments {
            let log = LogId { compartment: row.id, device: self.device_id() };
            if let Some((key, bytes)) = self.store.last(disk::ENTRIES, &disk::log_prefix(log))?
                && let Some((_, seq)) = disk::parse_entry_key(&key)
            {
                match disk::decode_entry(&bytes) {
                    Ok(entry) => drop(group.own.insert(row.id, LogHead { seq, hash: entry.hash() })),
                    // Nothing is written there before it is back.
                    Err(_) if row.id == CompartmentId::ROLL && !group.lost.is_empty() => {}
                    Err(why) => return Err(why),
                }
            }
        }
        for (_, row) in self.store.scan(OUTBOX, &[], None, usize::MAX)? {
            if let Some(document) = disk::decode::<OutboxRow>(&row)?.document {
                *group.unsent.entry(document).or_default() += 1;
            }
        }
        for (key, row) in self.store.scan(disk::QUARANTINE, &[], None, usize::MAX)? {
            let row: disk::SetAsideRow = disk::decode(&row)?;
            let document = row.document.filter(|_| row.by_relay || row.cut_off);
            if let (Some(document), Some(place)) = (document, disk::parse_entry_key(&key)) {
                group.refuse(document, place);
            }
        }
        group.relay = self.stored_relay()?;
        self.group = Some(group);
        self.absorb_keys()
    }

    pub(super) fn new_group(&self, roll: Arc<Roll>) -> Result<Group, Error> {
        Ok(Group {
            roll,
            own: BTreeMap::new(),
            epoch_keys: BTreeMap::new(),
            spent_seals: SpentSeals::load(&*self.store)?,
            senders: HashMap::new(),
            relay: RelayMemory::default(),
            said_removed_ms: self.stored_word()?,
            cursors_ahead: BTreeMap::new(),
            unsent: HashMap::new(),
            refused: BTreeMap::new(),
            weighed: self.stored_weighing()?,
            relay_day: self.stored_relay_day()?,
            said_day: None,
            next_outbox: disk::next_number(&*self.store, OUTBOX)?,
            next_receipt: disk::next_number(&*self.store, disk::RECEIPTS)?,
            next_roll: disk::next_number(&*self.store, ROLL)?,
            lost: Lost::default(),
        })
    }

    /// This device.
    pub fn device_id(&self) -> DeviceId {
        self.identity.device_id
    }

    /// Whether the PIN was not entered.
    pub(super) fn is_locked(&self) -> bool {
        self.cipher.is_locked()
    }

    /// Whose device it is. Before a device that holds no member's key is certified, itself.
    pub fn member_id(&self) -> MemberId {
        let device = self.device_id();
        let entered = self.group.as_ref().and_then(|group| group.roll.state().device(device));
        if let Some((device, _)) = entered {
            return device.member;
        }
        self.identity.member_id().unwrap_or(MemberId(device.0))
    }

    /// The group, if it belongs to one.
    pub fn group_id(&self) -> Option<GroupId> {
        self.group.as_ref().map(|group| group.roll.group())
    }

    /// The role of this device's member; none if the device does not belong, or not any more.
    pub fn role(&self) -> Option<RoleId> {
        self.group.as_ref()?.roll.state().device(self.device_id()).map(|(_, role)| role)
    }

    /// As [`Engine::role`], with the reason if there is none.
    pub(super) fn must_belong(&self) -> Result<RoleId, Error> {
        self.state()?;
        // Without all of the roll nobody knows.
        self.role().ok_or_else(|| self.must_know_roll().err().unwrap_or(Error::Removed))
    }

    /// The member's certificate of this device for a group.
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::NotCertified`] if the device is not linked to a member.
    pub(super) fn certificate_for(&self, group: GroupId) -> Result<Certificate, Error> {
        self.identity.secrets()?;
        self.identity.certificate(Scope::group(group)).ok_or(Error::NotCertified)
    }

    /// Makes this installation another device. What the old one signed stays as it is.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub(super) fn become_device(&mut self, batch: &mut Batch, identity: Identity) -> Result<(), Error> {
        identity.put(batch, (&self.cipher, &self.vault_cipher), &mut *self.rng)?;
        self.identity = identity;
        // They would go on to be changed as the old device.
        self.recent.clear();
        Ok(())
    }

    /// Makes sure that memory agrees with the disk, whether or not there is a group.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        if self.stale {
            self.load_group()?;
            self.stale = false;
        }
        Ok(())
    }

    /// The group, after making sure that memory agrees with the disk.
    pub(super) fn fresh(&mut self) -> Result<&mut Group, Error> {
        self.refresh()?;
        if self.group.is_none() {
            return Err(self.no_group());
        }
        self.group.as_mut().ok_or(Error::NoGroup)
    }

    /// Why there is no group, and what to do.
    pub(super) fn no_group(&self) -> Error {
        match self.store.get(META, RECOVERED) {
            Ok(Some(_)) => Error::NotLetIn,
            Ok(None) if self.identity.member_id().is_none() => Error::NotCertified,
            Ok(None) => Error::NoGroup,
            Err(why) => why.into(),
        }
    }

    pub(super) fn group(&self) -> Result<&Group, Error> {
        self.group.as_ref().ok_or_else(|| self.no_group())
    }

    pub(super) fn state(&self) -> Result<&Arc<State>, Error> {
        Ok(self.group()?.roll.state())
    }

    /// Does `work`, and writes what it put into the batch in one durable write. If either fails, memory may be ahead
    /// of the disk, and is read again from it.
    pub(super) fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Self, &mut Batch) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut batch = Batch::default();
        self.put_cursors_ahead(&mut batch);
        let outcome = work(self, &mut batch).and_then(|done| {
            self.store.apply(batch)?;
            Ok(done)
        });
        if outcome.is_err() {
            // At once if the disk lets it, so that what only looks does not show what was not written.
            self.stale = self.load_group().is_err();
        }
        outcome
    }

    pub(super) fn put_group(batch: &mut Batch, group: GroupId) {
        batch.put(META, GROUP, group.as_bytes());
        batch.delete(META, RECOVERED);
    }

    fn slot(&self, compartment: CompartmentId) -> Result<Slot, Error> {
        let group = self.group()?;
        Ok(Slot {
            group: Some(group.roll.group()),
            compartment,
            head: group.own.get(&compartment).copied(),
            claimed_ms: self.clock.now_ms(),
            expiry_day: None,
            roll_heads: group.roll.heads_for(self.device_id()),
            checkpoint: group.relay.checkpoint,
        })
    }

    /// Notes what the member's key says of this device.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub(super) fn certify_device(
        &mut self,
        batch: &mut Batch,
        certificate: Certificate,
    ) -> Result<(), Error> {
        self.identity.certify(certificate);
        self.identity.put(batch, (&self.cipher, &self.vault_cipher), &mut *self.rng)
    }

    /// The key that signs entries.
    pub(super) fn signer(&self) -> Result<&SigningKey, Error> {
        Ok(&self.identity.secrets()?.device)
    }

    /// Appends a roll operation to this device's own log and to the roll.
    pub(super) fn append_operation(&mut self, batch: &mut Batch, operation: &Operation) -> Result<(), Error> {
        self.must_know_roll()?;
        operation.check().map_err(|why| Error::Admission(why.to_owned()))?;
        self.begin_log(batch, CompartmentId::ROLL)?;
        let slot = self.slot(CompartmentId::ROLL)?;
        let entry = write_clear(self.signer()?, &slot, Kind::OPERATION, None, cbor::encode(operation));
        self.keep_own(batch, &entry.map_err(too_large)?, None)
    }

    /// Appends a document's content to this device's own log.
    pub(super) fn append_content(
        &mut self,
        batch: &mut Batch,
        compartment: CompartmentId,
        content: &Content,
        expiry_day: Option<u32>,
    ) -> Result<Verified, Error> {
        self.begin_log(batch, compartment)?;
        let (epoch, sender) = self.sender_key(batch, compartment)?;
        let slot = Slot { expiry_day, ..self.slot(compartment)? };
        let mut salt = [0; SALT_BYTES];
        self.rng.fill_bytes(&mut salt);
        let group = self.group()?.roll.group();
        let entry = write_sealed(self.signer()?, &slot, group, epoch, &sender, salt, content);
        let entry = entry.map_err(too_large)?;
        self.keep_own(batch, &entry, Some(content.document))?;
        Ok(entry)
    }

    /// Every log begins with the device's certificate.
    pub(super) fn begin_log(&mut self, batch: &mut Batch, compartment: CompartmentId) -> Result<(), Error> {
        if self.group()?.own.contains_key(&compartment) {
            return Ok(());
        }
        let slot = self.slot(compartment)?;
        let body = self.certificate_for(self.group()?.roll.group())?.as_bytes().to_vec();
        let entry = write_clear(self.signer()?, &slot, Kind::CERTIFICATE, None, body);
        self.keep_own(batch, &entry.map_err(too_large)?, None)
    }

    /// The sender key for the newest epoch. A new epoch gets a new key, sealed to it by an entry of its own.
    fn sender_key(
        &mut self,
        batch: &mut Batch,
        compartment: CompartmentId,
    ) -> Result<(EpochId, Secret), Error> {
        let nobody =
            || Error::Kind("nobody could read this yet: admit somebody with that role first".to_owned());
        let state = Arc::clone(self.state()?);
        let (epoch, row) = state.newest_epoch(compartment).ok_or_else(nobody)?;
        if state.readers(compartment).is_empty() {
            return Err(nobody());
        }
        let log = LogId { compartment, device: self.device_id() };
        if let Some(secret) = self.group()?.senders.get(&(log, epoch)) {
            return Ok((epoch, secret.clone()));
        }
        let secret = Secret::draw(&mut self.rng);
        let group = self.group()?.roll.group();
        let purpose = SealPurpose::SenderKey(group, compartment, self.device_id(), epoch);
        let sealed = seal(&mut self.rng, &row.public, &purpose, &secret).map_err(|_| {
            Error::Kind("the group's newest key is unusable: ask a coordinator to rotate it".to_owned())
        })?;
        let slot = self.slot(compartment)?;
        let entry = write_clear(self.signer()?, &slot, Kind::SENDER_KEY, Some(epoch), cbor::encode(&sealed));
        self.keep_own(batch, &entry.map_err(too_large)?, None)?;
        let key = sender_secret_key(log, epoch);
        let plain = zeroize::Zeroizing::new(cbor::encode(&(log, epoch, secret.clone())));
        let stored = self.cipher.seal(&mut self.rng, META, &key, &plain)?;
        batch.put(META, key, stored);
        self.fresh()?.senders.insert((log, epoch), secret.clone());
        Ok((epoch, secret))
    }

    /// Stores an entry of this device's own and queues it for the relay.
    pub(super) fn keep_own(
        &mut self,
        batch: &mut Batch,
        entry: &Verified,
        document: Option<DocumentId>,
    ) -> Result<(), Error> {
        let log = LogId::of(entry);
        let seq = entry.header().seq;
        if log.compartment == CompartmentId::ROLL {
            let group = self.fresh()?;
            Arc::make_mut(&mut group.roll).insert(entry).map_err(|e| Error::store_damaged(&e))?;
            self.put_roll_row(batch, entry)?;
        }
        batch.put(disk::ENTRIES, disk::entry_key(log, seq), entry.to_bytes());
        put_expiry(batch, entry);
        self.enqueue(batch, OutboxRow { log, seq, document })?;
        self.fresh()?.own.insert(log.compartment, LogHead { seq, hash: entry.hash() });
        Ok(())
    }

    pub(super) fn put_roll_row(&mut self, batch: &mut Batch, entry: &Verified) -> Result<(), Error> {
        let key = disk::entry_key(LogId::of(entry), entry.header().seq);
        let group = self.fresh()?;
        batch.put(ROLL, disk::number_key(group.next_roll), key);
        group.next_roll += 1;
        Ok(())
    }

    pub(super) fn enqueue(&mut self, batch: &mut Batch, row: OutboxRow) -> Result<(), Error> {
        let group = self.fresh()?;
        batch.put(OUTBOX, disk::number_key(group.next_outbox), cbor::encode(&row));
        group.next_outbox += 1;
        if let Some(document) = row.document {
            *group.unsent.entry(document).or_default() += 1;
        }
        Ok(())
    }

    /// The sender key under which `log` wrote in `epoch`; none if this device was not given the means to open it.
    pub(super) fn sender_of(&mut self, log: LogId, epoch: EpochId) -> Result<Option<Secret>, Error> {
        let group = self.group()?;
        if let Some(secret) = group.senders.get(&(log, epoch)) {
            return Ok(Some(secret.clone()));
        }
        let Some(seq) = self.store.get(SENDERS, &sender_row(log, epoch))? else {
            return Ok(None);
        };
        let entry = disk::read_entry(&*self.store, log, disk::parse_number(&seq))?;
        Ok(entry.and_then(|entry| self.absorb_sender(&entry)))
    }

    /// Opens a sender-key entry, if this device may.
    pub(super) fn absorb_sender(&mut self, entry: &Verified) -> Option<Secret> {
        let log = LogId::of(entry);
        let epoch = entry.header().epoch?;
        let group = self.group.as_mut()?;
        let key = group.epoch_keys.get(&(log.compartment, epoch))?;
        let sealed = cbor::decode(entry.body()?).ok()?;
        let purpose = SealPurpose::SenderKey(group.roll.group(), log.compartment, log.device, epoch);
        let secret = key.open(&purpose, &sealed).ok()?;
        group.senders.insert((log, epoch), secret.clone());
        Some(secret)
    }

    /// Signs the answer to a relay's challenge: a [`Proof`](crate::sync::frame::Proof). Always with the session key, so that a relay
    /// does not learn whether the phone is locked. Of other bytes it makes what no relay takes.
    pub fn sign_session(&self, payload: Vec<u8>) -> Vec<u8> {
        match cbor::decode(&payload) {
            Ok(proof) => self.identity.session.prove(proof),
            Err(_) => Vec::new(),
        }
    }

    /// Reads everything again from the disk before the next call.
    pub(super) fn distrust_memory(&mut self) {
        self.stale = true;
    }

    /// Grows with whatever is queued for the relay.
    pub(super) fn outbox_mark(&self) -> u64 {
        self.group.as_ref().map_or(0, |group| group.next_outbox) + self.mail_mark
    }

    /// Documents that changed, and documents that are not shown any more, since this was last called.
    pub fn take_changed(&mut self) -> (BTreeSet<DocumentId>, BTreeSet<DocumentId>) {
        let taken = (std::mem::take(&mut self.changed), std::mem::take(&mut self.gone));
        self.finder.note(taken.0.union(&taken.1));
        taken
    }
}

/// The row that names a log's sender-key entry for an epoch.
/// Where a device keeps its own sender key, in [`META`].
pub(super) fn sender_secret_key(log: LogId, epoch: EpochId) -> Vec<u8> {
    [SENDER_PREFIX, &sender_row(log, epoch)].concat()
}

pub(super) fn sender_row(log: LogId, epoch: EpochId) -> Vec<u8> {
    [disk::log_prefix(log).as_slice(), &epoch.to_bytes()].concat()
}

fn too_large(why: CannotSeal) -> Error {
    Error::Kind(why.to_string())
}
