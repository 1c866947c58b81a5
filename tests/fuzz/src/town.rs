//! A small group that was made once, by real engines with fixed keys: what hostile bytes meet, and where seeds
//! come from.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ed25519_dalek::SigningKey;
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::{
    CompartmentId, DeviceId, DocumentId, EntryHash, EpochId, GroupId, MemberId, RoleId, cbor, hash,
};
use lamppost_core::entry::keys::{Agreement, SealPurpose, Secret};
use lamppost_core::entry::seal::Slot;
use lamppost_core::entry::{
    Certificate, Header, Kind, LogHead, LogId, Possession, Received, Scope, SealedKey, Verified, Wire,
};
use lamppost_core::replica::testing::draft;
use lamppost_core::replica::{
    CaseLink, Clock, Engine, Environment, Filter, FixedVault, LiaisonAnswer, ReleasePlan,
};
use lamppost_core::roll::{EpochName, Inserted, Roll, State};
use lamppost_core::storage::{Batch, MemoryStore, Store, Table};
use lamppost_core::watch::Redaction;
use minicbor::bytes::ByteVec;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// The time at which everything happens, in milliseconds since the Unix epoch.
pub const NOW_MS: u64 = 1_780_000_000_000;

/// Who is in town. The number is the seed of their engine.
pub const COORDINATOR: u64 = 1;
/// Governs too.
pub const DEPUTY: u64 = 2;
/// Writes observations.
pub const VOLUNTEER: u64 = 3;
/// Reads releases.
pub const LIAISON: u64 = 4;
/// Was admitted, and has not joined yet.
pub const NEWCOMER: u64 = 5;
/// Nobody knows them.
pub const STRANGER: u64 = 6;
/// A second device of the volunteer.
pub const SECOND_DEVICE: u64 = 7;

/// A clock that stands still.
pub struct Still(pub u64);

impl Clock for Still {
    fn now_ms(&self) -> u64 {
        self.0
    }
}

/// The device's keys: those that an engine draws from the same seed.
#[derive(Clone)]
pub struct Keys {
    /// The member's.
    pub member: SigningKey,
    /// The device's.
    pub device: SigningKey,
    /// What keys are sealed to.
    pub agreement: Agreement,
}

impl Keys {
    /// The keys of one of the town.
    pub fn of(who: u64) -> Self {
        static KEYS: OnceLock<Vec<Keys>> = OnceLock::new();
        let drawn = KEYS.get_or_init(|| (0..16).map(Self::draw).collect());
        drawn[usize::try_from(who % 16).unwrap()].clone()
    }

    fn draw(who: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(who);
        let mut draw = || Secret::draw(&mut rng);
        // As an engine draws them: the third is the key that its sessions are signed with.
        let (member, device, _session, agreement) = (draw(), draw(), draw(), draw());
        let member = if who == SECOND_DEVICE {
            Self::draw(VOLUNTEER).member
        } else {
            SigningKey::from_bytes(&member.0)
        };
        Self {
            member,
            device: SigningKey::from_bytes(&device.0),
            agreement: Agreement::from_secret(agreement),
        }
    }

    /// The device.
    pub fn device_id(&self) -> DeviceId {
        DeviceId(self.device.verifying_key().to_bytes())
    }

    /// The member.
    pub fn member_id(&self) -> MemberId {
        MemberId(self.member.verifying_key().to_bytes())
    }

    /// The certificate of both, for the town's group.
    pub fn certificate(&self) -> Certificate {
        self.certificate_for(Scope::group(town().group))
    }

    /// The certificate of both.
    pub fn certificate_for(&self, scope: Scope) -> Certificate {
        let possession = Possession::sign(&self.device, self.member_id(), *self.agreement.public(), scope);
        possession.certify(&self.member).unwrap()
    }
}

/// A store's rows, to begin from again and again.
#[derive(Clone)]
pub struct Rows(Vec<(Table, Vec<u8>, Vec<u8>)>);

impl Rows {
    /// Everything in a store.
    pub fn of(store: &dyn Store) -> Self {
        let tables = (0..=u8::MAX).map(Table);
        let rows = tables.flat_map(|table| {
            let rows = store.scan(table, &[], None, usize::MAX).unwrap();
            rows.into_iter().map(move |(key, value)| (table, key, value))
        });
        Self(rows.collect())
    }

    /// A store that holds them.
    pub fn store(&self) -> MemoryStore {
        let store = MemoryStore::new();
        let mut batch = Batch::default();
        self.0.iter().for_each(|(table, key, value)| batch.put(*table, key.clone(), value.clone()));
        store.apply(batch).unwrap();
        store
    }
}

/// Opens the engine of `who` over `store`.
pub fn engine(who: u64, store: &MemoryStore) -> Engine {
    Engine::open(Environment {
        store: Arc::new(store.clone()),
        vault: Arc::new(FixedVault::new([7; 32])),
        clock: Arc::new(Still(NOW_MS)),
        entropy: Box::new(ChaCha20Rng::seed_from_u64(who)),
    })
    .unwrap()
}

/// Hashes of entries by log and number.
pub type Logs = BTreeMap<LogId, BTreeMap<u64, EntryHash>>;

/// The town as it stood when everything had been delivered.
pub struct Town {
    /// The group.
    pub group: GroupId,
    /// The coordinator's store.
    pub coordinator: Rows,
    /// A coordinator's store with nobody but themselves in the group.
    pub founder: Rows,
    /// The handover to [`NEWCOMER`].
    pub admission: lamppost_core::replica::Admission,
    /// Entries by author, each in the order they were written.
    pub wires: BTreeMap<u64, Vec<Wire>>,
    /// The whole roll.
    pub roll: Arc<Roll>,
    /// The entries it is made of, causes first.
    pub roll_entries: Vec<Verified>,
    /// How far each log goes.
    pub heads: BTreeMap<LogId, LogHead>,
    /// Hashes of all entries.
    pub logs: Logs,
    /// Private keys of every epoch.
    pub epochs: BTreeMap<(CompartmentId, EpochId), Agreement>,
    /// The keys under which logs were written.
    pub senders: BTreeMap<(LogId, EpochId), Secret>,
    /// Documents that the coordinator can read.
    pub documents: Vec<DocumentId>,
    /// Evidence of the release, with the commitments that it is checked against.
    pub evidence: Vec<Vec<u8>>,
}

/// The town. Made at the first call.
pub fn town() -> &'static Town {
    static TOWN: OnceLock<Town> = OnceLock::new();
    TOWN.get_or_init(found)
}

fn found() -> Town {
    let stores: BTreeMap<u64, MemoryStore> =
        (COORDINATOR..=NEWCOMER).map(|who| (who, MemoryStore::new())).collect();
    let mut engines: BTreeMap<u64, Engine> =
        stores.iter().map(|(who, store)| (*who, engine(*who, store))).collect();
    for (who, engine) in &engines {
        assert_eq!(engine.device_id(), Keys::of(*who).device_id(), "engines draw their keys in this order");
    }
    let group = engines.get_mut(&COORDINATOR).unwrap().found().unwrap().group;
    let founder = Rows::of(&stores[&COORDINATOR]);
    let mut admission = None;
    for (who, role) in [(DEPUTY, 1), (VOLUNTEER, 2), (LIAISON, 3), (NEWCOMER, 2)] {
        let request = engines[&who].request(group).unwrap();
        admission = Some(engines.get_mut(&COORDINATOR).unwrap().admit(&request, RoleId(role)).unwrap());
    }
    let admission = admission.unwrap();
    for who in [DEPUTY, VOLUNTEER, LIAISON] {
        engines.get_mut(&who).unwrap().join(&admission).unwrap();
    }
    let mut seen = BTreeMap::new();
    let volunteer = engines.get_mut(&VOLUNTEER).unwrap();
    let lamp = volunteer.record(draft("a hand-to-hand exchange at the corner")).unwrap();
    let car = volunteer.record(draft("a grey car circles the block")).unwrap();
    volunteer.amend(car, draft("a grey car circles the block, twice")).unwrap();
    deliver(&mut engines, &mut seen);
    let deputy = engines.get_mut(&DEPUTY).unwrap();
    deputy.annotate(lamp, "thank you", "").unwrap();
    deputy.rotate(CompartmentId(2)).unwrap();
    deliver(&mut engines, &mut seen);
    let coordinator = engines.get_mut(&COORDINATOR).unwrap();
    let links = [lamp, car].map(|observation| CaseLink { observation, reason: "the same hour".to_owned() });
    coordinator.link(None, "the corner", &links).unwrap();
    let recipient = Some(Keys::of(LIAISON).member_id());
    let plan = ReleasePlan {
        title: "the corner".to_owned(),
        purpose: "to be looked into".to_owned(),
        recipient,
        observations: vec![(lamp, Redaction::default())],
        ..ReleasePlan::default()
    };
    let release = coordinator.release(&plan).unwrap();
    deliver(&mut engines, &mut seen);
    let answer = LiaisonAnswer { status: "received".to_owned(), ..LiaisonAnswer::default() };
    engines.get_mut(&LIAISON).unwrap().respond(release, &answer).unwrap();
    deliver(&mut engines, &mut seen);
    let coordinator = engines.get_mut(&COORDINATOR).unwrap();
    let evidence = coordinator.evidence(release).unwrap().into_iter().map(|item| item.bytes).collect();
    let documents = coordinator
        .list(&Filter { all_kinds: true, ..Filter::default() })
        .unwrap()
        .into_iter()
        .map(|(row, _)| row.id)
        .collect();
    let wires: BTreeMap<u64, Vec<Wire>> = seen;
    let (roll, roll_entries, logs) = roll_and_logs(group, &wires);
    let heads = logs.iter().filter_map(|(log, entries)| {
        let (seq, hash) = entries.last_key_value()?;
        Some((*log, LogHead { seq: *seq, hash: *hash }))
    });
    let heads = heads.collect();
    let epochs = epoch_keys(roll.state());
    let senders = sender_keys(group, &epochs, wires.values().flatten());
    Town {
        group,
        coordinator: Rows::of(&stores[&COORDINATOR]),
        founder,
        admission,
        wires,
        roll,
        roll_entries,
        heads,
        logs,
        epochs,
        senders,
        documents,
        evidence,
    }
}

/// Carries to everybody what everybody wrote.
fn deliver(engines: &mut BTreeMap<u64, Engine>, seen: &mut BTreeMap<u64, Vec<Wire>>) {
    for (who, engine) in &mut *engines {
        if engine.group_id().is_none() {
            continue;
        }
        let own = engine.device_id();
        let outbox = engine.outbox(0).unwrap().into_iter().map(|outgoing| outgoing.wire);
        let written =
            outbox.filter(|wire| Received::parse(wire.clone()).unwrap().header().device == own).collect();
        seen.insert(*who, written);
    }
    for engine in engines.values_mut().filter(|engine| engine.group_id().is_some()) {
        let own = engine.device_id();
        let others = seen.values().flatten().cloned();
        let others =
            others.filter(|wire| Received::parse(wire.clone()).unwrap().header().device != own).collect();
        let report = engine.receive(others, None).unwrap();
        assert_eq!((report.waiting, report.set_aside, report.warnings), (0, 0, vec![]));
    }
}

/// The roll, its entries with causes first, and how far the logs go.
fn roll_and_logs(group: GroupId, wires: &BTreeMap<u64, Vec<Wire>>) -> (Arc<Roll>, Vec<Verified>, Logs) {
    let entries: Vec<Verified> = wires.values().flatten().map(verified).collect();
    let founding = entries.iter().find(|entry| entry.is_founding()).unwrap();
    assert_eq!(founding.group(), group);
    let mut roll = Roll::found(founding).unwrap();
    let mut in_order = vec![founding.clone()];
    for _ in 0..entries.len() {
        for entry in entries.iter().filter(|e| e.header().compartment == CompartmentId::ROLL) {
            if matches!(roll.insert(entry), Ok(Inserted::Counts | Inserted::WithoutEffect)) {
                in_order.push(entry.clone());
            }
        }
    }
    let mut logs = Logs::new();
    for entry in &entries {
        logs.entry(LogId::of(entry)).or_default().insert(entry.header().seq, entry.hash());
    }
    (Arc::new(roll), in_order, logs)
}

/// Opens each epoch's key with the keys of whoever it was granted to.
fn epoch_keys(state: &State) -> BTreeMap<(CompartmentId, EpochId), Agreement> {
    let mut keys = BTreeMap::new();
    for person in (COORDINATOR..=NEWCOMER).map(Keys::of) {
        for (names, sealed) in state.grants_to(person.device_id()) {
            let names: Vec<_> =
                names.iter().map(|EpochName { compartment, epoch }| (*compartment, *epoch)).collect();
            let opened = person.agreement.open_epochs(&names, sealed).unwrap();
            keys.extend(names.into_iter().zip(opened.into_iter().map(Agreement::from_secret)));
        }
    }
    keys
}

fn sender_keys<'w>(
    group: GroupId,
    epochs: &BTreeMap<(CompartmentId, EpochId), Agreement>,
    wires: impl Iterator<Item = &'w Wire>,
) -> BTreeMap<(LogId, EpochId), Secret> {
    let mut senders = BTreeMap::new();
    for entry in wires.map(verified).filter(|entry| entry.header().kind == Kind::SENDER_KEY) {
        let (log, epoch) = (LogId::of(&entry), entry.header().epoch.unwrap());
        let purpose = SealPurpose::SenderKey(group, log.compartment, log.device, epoch);
        let sealed: SealedKey = cbor::decode(entry.body().unwrap()).unwrap();
        senders.insert((log, epoch), epochs[&(log.compartment, epoch)].open(&purpose, &sealed).unwrap());
    }
    senders
}

/// An entry that one of the town wrote.
pub fn verified(wire: &Wire) -> Verified {
    Verified::from_own_store(Received::parse(wire.clone()).unwrap())
}

/// Signs any header, whether it keeps the rules or not.
pub fn sign_header(key: &SigningKey, header: &Header) -> ByteVec {
    ByteVec::from(cose::sign(key, Purpose::Entry, cbor::encode(header)))
}

/// One who writes entries by hand, and may break any rule: signatures are right all the same.
#[derive(Clone)]
pub struct Pen {
    /// Who writes.
    pub keys: Keys,
    /// How far each of its logs goes, as it sees it.
    pub heads: BTreeMap<CompartmentId, LogHead>,
}

impl Pen {
    /// Writes on where the town left the logs of `who`.
    pub fn of(who: u64) -> Self {
        let keys = Keys::of(who);
        let device = keys.device_id();
        let own = town().heads.iter().filter(|(log, _)| log.device == device);
        Self { heads: own.map(|(log, head)| (log.compartment, *head)).collect(), keys }
    }

    /// The place of the next entry.
    pub fn slot(&self, compartment: CompartmentId, roll_heads: Vec<EntryHash>) -> Slot {
        Slot {
            group: Some(town().group),
            compartment,
            head: self.heads.get(&compartment).copied(),
            claimed_ms: NOW_MS,
            expiry_day: None,
            roll_heads,
            checkpoint: None,
        }
    }

    /// A header of the next entry with this body.
    pub fn header(&self, slot: &Slot, kind: Kind, epoch: Option<EpochId>, body: &[u8]) -> Header {
        Header {
            version: 1,
            suite: 1,
            group: slot.group,
            compartment: slot.compartment,
            device: self.keys.device_id(),
            seq: slot.head.map_or(0, |head| head.seq.wrapping_add(1)),
            previous: slot.head.map(|head| head.hash),
            kind,
            epoch,
            body_hash: hash::sha256(body),
            body_bytes: u32::try_from(body.len()).unwrap(),
            commitment: None,
            claimed_ms: slot.claimed_ms,
            expiry_day: slot.expiry_day,
            roll_heads: slot.roll_heads.clone(),
            checkpoint: slot.checkpoint,
        }
    }

    /// Signs an entry and goes on behind it.
    pub fn write(&mut self, header: &Header, body: Vec<u8>) -> Wire {
        let signed = sign_header(&self.keys.device, header);
        let hash = EntryHash(hash::sha256(&signed).0);
        self.heads.insert(header.compartment, LogHead { seq: header.seq, hash });
        Wire { signed, body: Some(ByteVec::from(body)) }
    }

    /// Goes on behind an entry that was written with its key elsewhere.
    pub fn follow(&mut self, entry: &Received) {
        let head = LogHead { seq: entry.header().seq, hash: entry.hash() };
        self.heads.insert(entry.header().compartment, head);
    }
}
