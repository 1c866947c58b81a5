//! Single rooms, one at a time: what each takes of an observation's way.

use std::sync::Arc;

use automerge::AutoCommit;
use divan::{Bencher, black_box, counter::ItemsCount};
use lamppost_core::base::{DeviceId, GroupId, RoleId};
use lamppost_core::document::{AuthoredChange, Document};
use lamppost_core::entry::{Received, Wire, chain, keys::SALT_BYTES};
use lamppost_core::replica::testing::draft;
use lamppost_core::replica::{Clock, Engine, Environment, Filter, FixedVault};
use lamppost_core::storage::{Batch, MemoryStore, Options, SledStore, Store, StoreKind, Table};
use lamppost_core::sync::session::Outgoing;
use lamppost_core::watch::{Observation, roles};
use lamppost_server::{Pushed, Relay, RelayStore, Rules, Seed};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

fn main() {
    divan::main();
}

const ENTRIES: usize = 300;

/// The same group each time it is founded, so that entries made in one fit into the next.
struct StoppedClock;

impl Clock for StoppedClock {
    fn now_ms(&self) -> u64 {
        1_780_000_000_000
    }
}

fn engine(seed: u8) -> Engine {
    let environment = Environment {
        store: Arc::new(MemoryStore::new()),
        vault: Arc::new(FixedVault::new([seed; 32])),
        clock: Arc::new(StoppedClock),
        entropy: Box::new(ChaCha20Rng::from_seed([seed; 32])),
    };
    Engine::open(environment).unwrap()
}

/// A coordinator who founded, and a volunteer who joined.
fn pair() -> (Engine, Engine) {
    let (mut coordinator, mut volunteer) = (engine(1), engine(2));
    coordinator.found().unwrap();
    let request = volunteer.request(coordinator.group_id().unwrap()).unwrap();
    let admission = coordinator.admit(&request, RoleId(roles::ROLE_VOLUNTEER)).unwrap();
    volunteer.join(&admission).unwrap();
    (coordinator, volunteer)
}

/// What a volunteer has to send after filing and amending observations: so many entries of the group's log.
fn outgoing(volunteer: &mut Engine, entries: usize) -> Vec<Wire> {
    for number in 0..entries / 2 {
        let filed = |what| {
            let mut draft = draft(&format!("{what} at the corner of the square, number {number}"));
            draft.sealed = None;
            draft.observation.cell = "g250:17646:-35941".to_owned();
            draft
        };
        let id = volunteer.record(filed("two people swapped a small bag")).unwrap();
        volunteer.amend(id, filed("two people swapped a small bag for a note")).unwrap();
    }
    let mut wires = Vec::new();
    let mut after = 0;
    loop {
        let page: Vec<Outgoing> = volunteer.outbox(after).unwrap();
        let Some(last) = page.last() else { return wires };
        after = last.key;
        wires.extend(page.into_iter().map(|outgoing| outgoing.wire));
    }
}

fn changes() -> (DeviceId, Vec<Vec<u8>>) {
    let author = DeviceId([7; 32]);
    let mut document = Document::new(author);
    let mut observation = draft("two people swapped a small bag at the corner of the square").observation;
    let first = document.write(&observation).unwrap().unwrap();
    observation.what_happened.push_str(". Added later: it was seen from the bus");
    let second = document.write(&observation).unwrap().unwrap();
    (author, vec![first.bytes().to_vec(), second.bytes().to_vec()])
}

#[divan::bench]
fn entry_parse(bencher: Bencher) {
    let (_, mut volunteer) = pair();
    let wires = outgoing(&mut volunteer, 10);
    let wire = wires.last().unwrap();
    bencher.bench(|| Received::parse(black_box(wire.clone())).unwrap());
}

#[divan::bench]
fn entries_verify(bencher: Bencher) {
    let (_, mut volunteer) = pair();
    let group = volunteer.group_id().unwrap();
    let entries = log_of_volunteer(&mut volunteer);
    bencher.counter(ItemsCount::new(entries.len())).with_inputs(|| entries.clone()).bench_values(|entries| {
        let run = chain::verify_run(group, None, entries);
        assert!(run.refused.is_none());
        run
    });
}

fn log_of_volunteer(volunteer: &mut Engine) -> Vec<Received> {
    let device = volunteer.device_id();
    let wires = outgoing(volunteer, ENTRIES);
    let entries = wires.into_iter().map(|wire| Received::parse(wire).unwrap());
    entries.filter(|entry| entry.header().device == device && entry.header().compartment.0 == 2).collect()
}

#[divan::bench]
fn entry_seal(bencher: Bencher) {
    use lamppost_core::entry::keys::Secret;
    use lamppost_core::entry::plaintext::{Content, Form};
    use lamppost_core::entry::seal::{Slot, write_sealed};
    let key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let (_, changes) = changes();
    let content = Content {
        document: lamppost_core::base::DocumentId([1; 24]),
        kind: 1,
        form: Form::CHANGE,
        bytes: changes[0].clone(),
    };
    let group = GroupId([9; 32]);
    let slot = Slot {
        group: Some(group),
        compartment: lamppost_core::base::CompartmentId(2),
        head: Some(chain::LogHead { seq: 1, hash: lamppost_core::base::EntryHash([4; 32]) }),
        claimed_ms: 1_780_000_000_000,
        expiry_day: None,
        roll_heads: vec![lamppost_core::base::EntryHash([4; 32])],
        checkpoint: None,
    };
    let epoch = lamppost_core::base::EpochId::of(0, &[5; 32]);
    let sender = Secret([6; 32]);
    bencher.bench(|| {
        write_sealed(&key, &slot, group, epoch, &sender, [8; SALT_BYTES], black_box(&content)).unwrap()
    });
}

#[divan::bench]
fn change_parse(bencher: Bencher) {
    let (author, changes) = changes();
    bencher.bench(|| AuthoredChange::parse(black_box(&changes[0]), author).unwrap());
}

#[divan::bench]
fn document_load(bencher: Bencher) {
    let (author, changes) = changes();
    let changes: Vec<_> = changes.iter().map(|c| AuthoredChange::parse(c, author).unwrap()).collect();
    bencher.bench(|| Document::load(author, black_box(changes.clone())).unwrap());
}

#[divan::bench]
fn document_read(bencher: Bencher) {
    let (author, changes) = changes();
    let changes: Vec<_> = changes.iter().map(|c| AuthoredChange::parse(c, author).unwrap()).collect();
    let document = Document::load(author, changes).unwrap();
    bencher.bench(|| black_box(&document).read::<Observation>().unwrap());
}

/// The floor: Automerge alone, from a saved document.
#[divan::bench]
fn automerge_load(bencher: Bencher) {
    let (_, changes) = changes();
    let mut document = AutoCommit::new();
    let changes: Vec<_> =
        changes.into_iter().map(|bytes| automerge::Change::from_bytes(bytes).unwrap()).collect();
    document.apply_changes(changes).unwrap();
    let saved = document.save();
    bencher.bench(|| AutoCommit::load(black_box(&saved)).unwrap());
}

#[divan::bench]
fn observation_record(bencher: Bencher) {
    let (_, mut volunteer) = pair();
    bencher.bench_local(|| volunteer.record(draft("two people swapped a small bag")).unwrap());
}

#[divan::bench(sample_count = 20)]
fn entries_receive(bencher: Bencher) {
    let (_, mut volunteer) = pair();
    let wires = outgoing(&mut volunteer, ENTRIES);
    bencher
        .counter(ItemsCount::new(wires.len()))
        .with_inputs(|| {
            let (coordinator, _) = pair();
            (coordinator, wires.clone())
        })
        .bench_values(|(mut coordinator, wires)| {
            let received = coordinator.receive(wires, None).unwrap();
            assert_eq!((received.set_aside + received.waiting, received.warnings.len()), (0, 0));
            assert!(received.kept > ENTRIES, "{received:?}");
            coordinator
        });
}

#[divan::bench(sample_count = 20)]
fn relay_commit(bencher: Bencher) {
    let (coordinator, mut volunteer) = pair();
    let (group, device) = (coordinator.group_id().unwrap(), coordinator.device_id());
    let wires = outgoing(&mut volunteer, ENTRIES);
    let seed = Seed { key: [1; 32], incarnation: [2; 16] };
    let rules = Rules {
        open_to_new_groups: true,
        allowed_groups: Vec::new(),
        groups_max: 1,
        group_bytes_max: u64::MAX,
        group_media_bytes_max: u64::MAX,
        device_entries_per_minute: u64::MAX,
    };
    bencher
        .counter(ItemsCount::new(wires.len()))
        .with_inputs(|| {
            let store = RelayStore::new(Arc::new(MemoryStore::new()));
            (Relay::open(store, rules.clone(), &seed, false).unwrap(), wires.clone())
        })
        .bench_values(|(relay, entries)| {
            let committed = relay.commit(vec![Pushed { group, device, number: 0, entries }], 1_000);
            assert_eq!(committed.entries as usize, wires.len());
            relay
        });
}

#[divan::bench(sample_count = 20)]
fn store_apply(bencher: Bencher) {
    let directory = tempfile::tempdir().unwrap();
    let store = SledStore::open(directory.path(), Options::new(StoreKind::Relay)).unwrap();
    let mut number = 0_u64;
    bencher.counter(ItemsCount::new(100usize)).bench_local(|| {
        let mut batch = Batch::default();
        for _ in 0..100 {
            number += 1;
            batch.put(Table(2), number.to_be_bytes(), vec![7; 700]);
        }
        store.apply(batch).unwrap();
    });
}

#[divan::bench(sample_count = 20)]
fn rows_list(bencher: Bencher) {
    let (_, mut volunteer) = pair();
    outgoing(&mut volunteer, 2_000);
    bencher.bench_local(|| volunteer.list(&Filter::default()).unwrap());
}
