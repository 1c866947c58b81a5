//! A phone that holds a group takes in what hostile members, devices and relays write: nothing it had is lost, it says
//! the same after it was opened anew, and others disturb nothing but what is theirs. What a removal cuts off is said to be
//! gone, and is never a member's own on their own phone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use lamppost_core::base::{CompartmentId, DocumentId, EntryHash, Hash, cbor};
use lamppost_core::document::{AuthoredChange, Document, create_id};
use lamppost_core::entry::keys::{SALT_BYTES, SealPurpose, Secret, seal};
use lamppost_core::entry::plaintext::{Content, Form};
use lamppost_core::entry::seal::write_sealed;
use lamppost_core::entry::{Checkpoint, Header, Kind as EntryKind, LogId, Received, Wire};
use lamppost_core::replica::{Engine, Error, Filter, ReceiveReport, Warning};
use lamppost_core::roll::Roll;
use lamppost_core::storage::MemoryStore;
use lamppost_core::sync::frame::Covered;
use lamppost_core::watch::{
    Annotation, Case, Disclosure, Observation, Outcome, Provenance, Release, Response, Sealed,
};
use minicbor::bytes::ByteVec;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::change::{chunk, contents};
use super::operations::write_operation;
use crate::tape::Tape;
use crate::town::{self, COORDINATOR, Keys, Pen, town, verified};

/// Steps of one program at most.
const STEPS_MAX: usize = 40;

/// Whose logs a program goes on with.
const HANDS: [u64; 7] = [
    town::DEPUTY,
    town::VOLUNTEER,
    town::LIAISON,
    town::NEWCOMER,
    town::STRANGER,
    town::SECOND_DEVICE,
    COORDINATOR,
];

/// A program: entries are written, signed, altered, handed over in frames, and the phone is opened anew in between.
pub fn engine_receive(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut world = World::new();
    for _ in 0..STEPS_MAX {
        if tape.is_over() {
            break;
        }
        world.step(&mut tape);
    }
    world.deliver(0, None);
    world.reopen();
    let all = world.readable.clone();
    world.read(all.into_iter());
}

/// What the phone's own documents say that are its member's alone.
fn own() -> &'static BTreeMap<DocumentId, String> {
    static OWN: OnceLock<BTreeMap<DocumentId, String>> = OnceLock::new();
    OWN.get_or_init(|| {
        let mut engine = town::engine(COORDINATOR, &town().coordinator.store());
        let me = engine.member_id();
        let rows = engine.list(&Filter { all_kinds: true, ..Filter::default() }).unwrap();
        // Cases are everybody's who governs.
        let own = rows.into_iter().map(|(row, _)| row).filter(|row| row.author == me && row.kind.0 != 4);
        own.map(|row| (row.id, format!("{:?}", engine.get(row.id).unwrap().content))).collect()
    })
}

struct World {
    store: MemoryStore,
    engine: Engine,
    /// What the phone must show, as nobody else may change it.
    own: &'static BTreeMap<DocumentId, String>,
    /// What could be read at some time.
    readable: BTreeSet<DocumentId>,
    pens: Vec<Pen>,
    /// The roll as an honest writer knows it.
    roll: Roll,
    hashes: Vec<EntryHash>,
    changes: BTreeMap<DocumentId, Vec<AuthoredChange>>,
    documents: Vec<DocumentId>,
    senders: BTreeMap<(LogId, lamppost_core::base::EpochId), Secret>,
    batch: Vec<Wire>,
    delivered: Vec<Wire>,
    rng: ChaCha20Rng,
}

impl World {
    fn new() -> Self {
        let store = town().coordinator.store();
        let engine = town::engine(COORDINATOR, &store);
        Self {
            store,
            engine,
            own: own(),
            readable: town().documents.iter().copied().collect(),
            pens: HANDS.iter().map(|who| Pen::of(*who)).collect(),
            roll: (*town().roll).clone(),
            hashes: town().roll_entries.iter().map(|entry| entry.hash()).collect(),
            changes: BTreeMap::new(),
            documents: town().documents.clone(),
            senders: town().senders.clone(),
            batch: Vec::new(),
            delivered: Vec::new(),
            rng: ChaCha20Rng::seed_from_u64(9),
        }
    }

    fn step(&mut self, tape: &mut Tape<'_>) {
        match tape.below(16) {
            0 | 1 => self.write(tape, EntryKind::OPERATION),
            2 | 3 => self.write(tape, EntryKind::SENDER_KEY),
            4..=8 => self.write(tape, EntryKind::SEALED),
            9 => {
                let kind = EntryKind(tape.u8());
                self.write(tape, kind);
            }
            10 => {
                // Whoever carries entries may alter them.
                if let Some(wire) = self.batch.last_mut() {
                    match tape.below(5) {
                        0 => tape.bend(&mut wire.signed),
                        1 => wire.body = None,
                        2 => wire.body = Some(ByteVec::from(tape.blob(64).to_vec())),
                        3 => {
                            if let Some(body) = &mut wire.body {
                                tape.bend(body);
                            }
                        }
                        _ => {
                            let again = wire.clone();
                            self.batch.push(again);
                        }
                    }
                }
            }
            11 => {
                let signed = ByteVec::from(tape.blob(400).to_vec());
                let body = tape.once_in(2).then(|| ByteVec::from(tape.blob(100).to_vec()));
                self.batch.push(Wire { signed, body });
            }
            12 | 13 => {
                let compartment = CompartmentId(u8::try_from(tape.below(7)).unwrap());
                let (after, upto) = (0, tape.number(3));
                self.deliver(tape.u8(), Some(Covered { compartment, after, upto }));
            }
            14 => {
                self.batch.extend(self.delivered.iter().rev().take(1 + tape.below(20)).cloned());
                let old = town().wires.values().flatten().nth(tape.below(64)).cloned();
                self.batch.extend(old);
            }
            _ => self.reopen(),
        }
    }

    fn cited(&mut self, tape: &mut Tape<'_>) -> Vec<EntryHash> {
        let mut cited: Vec<EntryHash> = match tape.below(6) {
            0 => (0..1 + tape.below(3)).filter_map(|_| tape.pick(&self.hashes).copied()).collect(),
            1 if tape.once_in(3) => vec![EntryHash(tape.bytes32())],
            2 => town().roll.heads(),
            _ => self.roll.heads(),
        };
        cited.sort_unstable();
        cited.dedup();
        cited
    }

    /// Writes the next entry of a log. The log begins with its certificate, unless the program leaves it out.
    fn write(&mut self, tape: &mut Tape<'_>, kind: EntryKind) {
        let at = tape.below(HANDS.len());
        let at = if HANDS[at] == COORDINATOR && !tape.once_in(16) { 0 } else { at };
        let document_kind = 1 + u16::try_from(tape.below(10)).unwrap();
        let home = [0, 2, 3, 2, 2, 4, 4, 1, 2, 3, 5][usize::from(document_kind)];
        let astray = tape.once_in(12);
        let compartment = match kind {
            EntryKind::OPERATION if !astray => 0,
            _ if astray => tape.u8() % 7,
            _ => home,
        };
        let compartment = CompartmentId(compartment);
        let cited = self.cited(tape);
        let before = self.pens[at].heads.clone();
        if !self.pens[at].heads.contains_key(&compartment) && !tape.once_in(24) {
            let other = if tape.once_in(12) { tape.u8() % 9 } else { u8::try_from(HANDS[at]).unwrap() };
            let mut keys = Keys::of(u64::from(other));
            if tape.once_in(12) {
                // A certificate of the same device that another member signed.
                keys.device = self.pens[at].keys.device.clone();
            }
            let body = keys.certificate().as_bytes().to_vec();
            let slot = self.pens[at].slot(compartment, cited.clone());
            let header = self.pens[at].header(&slot, EntryKind::CERTIFICATE, None, &body);
            let wire = self.pens[at].write(&header, body);
            self.put(wire);
        }
        let wire = match kind {
            EntryKind::OPERATION => {
                let body = if tape.once_in(12) {
                    tape.blob(200).to_vec()
                } else {
                    cbor::encode(&write_operation(tape, &self.hashes))
                };
                self.clear(tape, at, compartment, kind, None, cited, body)
            }
            EntryKind::SENDER_KEY => self.sender_key(tape, at, compartment, cited),
            EntryKind::SEALED => {
                let Some(wire) = self.sealed(tape, at, compartment, cited, document_kind) else { return };
                wire
            }
            _ => {
                let body = tape.blob(64).to_vec();
                self.clear(tape, at, compartment, kind, None, cited, body)
            }
        };
        self.put(wire);
        if tape.once_in(24) {
            self.pens[at].heads = before;
        }
    }

    fn put(&mut self, wire: Wire) {
        if let Ok(entry) = Received::parse(wire.clone())
            && entry.header().compartment == CompartmentId::ROLL
        {
            self.hashes.push(entry.hash());
            if entry.verify_signature().is_ok() {
                self.roll.insert(&verified(&wire)).ok();
            }
        }
        self.batch.push(wire);
    }

    #[expect(clippy::too_many_arguments, reason = "one for each field that an entry has")]
    fn clear(
        &mut self,
        tape: &mut Tape<'_>,
        at: usize,
        compartment: CompartmentId,
        kind: EntryKind,
        epoch: Option<lamppost_core::base::EpochId>,
        cited: Vec<EntryHash>,
        body: Vec<u8>,
    ) -> Wire {
        let pen = &mut self.pens[at];
        let mut header = pen.header(&pen.slot(compartment, cited), kind, epoch, &body);
        if tape.once_in(10) {
            tweak(tape, &mut header);
        }
        pen.write(&header, body)
    }

    fn sender_key(
        &mut self,
        tape: &mut Tape<'_>,
        at: usize,
        compartment: CompartmentId,
        cited: Vec<EntryHash>,
    ) -> Wire {
        let epochs: Vec<_> = self.roll.state().epochs(compartment).map(|(id, e)| (id, e.public)).collect();
        let newest = epochs.last().copied().filter(|_| !tape.once_in(6));
        let (epoch, public) = newest
            .or_else(|| tape.pick(&epochs).copied())
            .unwrap_or((lamppost_core::base::EpochId::of(0, &[1; 32]), [1; 32]));
        let log = LogId { compartment, device: self.pens[at].keys.device_id() };
        let secret = Secret([tape.u8(); 32]);
        let purpose = SealPurpose::SenderKey(town().group, compartment, log.device, epoch);
        let sealed = seal(&mut self.rng, &public, &purpose, &secret);
        let mut body = sealed.map(|sealed| cbor::encode(&sealed)).unwrap_or_default();
        if tape.once_in(12) {
            tape.bend(&mut body);
        }
        self.senders.entry((log, epoch)).or_insert(secret);
        self.clear(tape, at, compartment, EntryKind::SENDER_KEY, Some(epoch), cited, body)
    }

    fn sealed(
        &mut self,
        tape: &mut Tape<'_>,
        at: usize,
        compartment: CompartmentId,
        cited: Vec<EntryHash>,
        kind: u16,
    ) -> Option<Wire> {
        let log = LogId { compartment, device: self.pens[at].keys.device_id() };
        let known: Vec<_> = self.senders.keys().filter(|(l, _)| *l == log).map(|(_, epoch)| *epoch).collect();
        let newest = self.roll.state().newest_epoch(compartment).map(|(id, _)| id);
        let epoch = match newest.filter(|newest| known.contains(newest) && !tape.once_in(6)) {
            Some(newest) => newest,
            None => tape.pick(&known).copied().or(newest)?,
        };
        let sender = self.senders.get(&(log, epoch)).cloned().unwrap_or(Secret([3; 32]));
        let content = self.content(tape, at, kind);
        let pen = &mut self.pens[at];
        let slot = pen.slot(compartment, cited);
        slot.head?;
        let mut salt = [0; SALT_BYTES];
        salt[0] = tape.u8();
        let entry =
            write_sealed(&pen.keys.device, &slot, town().group, epoch, &sender, salt, &content).ok()?;
        if !tape.once_in(10) {
            pen.follow(&entry);
            return Some(entry.wire().clone());
        }
        // The same words under a header that was altered and signed again.
        let mut header = entry.header().clone();
        let mut body = entry.body()?.to_vec();
        match tape.below(3) {
            0 => header.commitment = Some(Hash(tape.bytes32())),
            1 => tape.bend(&mut body),
            _ => tweak(tape, &mut header),
        }
        header.body_hash = lamppost_core::base::hash::sha256(&body);
        header.body_bytes = u32::try_from(body.len()).unwrap();
        Some(pen.write(&header, body))
    }

    fn content(&mut self, tape: &mut Tape<'_>, at: usize, kind: u16) -> Content {
        let keys = self.pens[at].keys.clone();
        let nonce = [tape.u8(); 8];
        let document = match tape.below(6) {
            0 => tape.pick(&self.documents).copied().unwrap(),
            1 => {
                let creator = Keys::of(u64::from(tape.u8() % 9)).member_id();
                create_id(creator, 1 + u16::from(tape.u8() % 10), nonce)
            }
            _ => create_id(keys.member_id(), kind, nonce),
        };
        if !self.documents.contains(&document) {
            self.documents.push(document);
        }
        let says = if tape.once_in(10) { 1 + u16::try_from(tape.below(10)).unwrap() } else { kind };
        let before = if tape.once_in(6) {
            Vec::new()
        } else {
            self.changes.get(&document).cloned().unwrap_or_default()
        };
        let mut draft =
            Document::load(keys.device_id(), before).unwrap_or_else(|_| Document::new(keys.device_id()));
        let change = write_kind(&mut draft, says, tape, &self.documents);
        let mut bytes = change.as_ref().map(|change| change.bytes().to_vec()).unwrap_or_default();
        self.changes.entry(document).or_default().extend(change);
        if tape.once_in(5) && !bytes.is_empty() {
            let mut inner = contents(&bytes).to_vec();
            tape.bend(&mut inner);
            bytes = chunk(&inner);
        } else if tape.once_in(16) {
            bytes = tape.blob(200).to_vec();
        }
        let form = if tape.once_in(16) { Form(tape.u8()) } else { Form::CHANGE };
        Content { document, kind, form, bytes }
    }

    fn deliver(&mut self, order: u8, covered: Option<Covered>) {
        let mut frame = std::mem::take(&mut self.batch);
        self.delivered.extend(frame.iter().cloned());
        if order % 2 == 1 {
            frame.reverse();
        }
        let count = frame.len();
        if count > 0 {
            frame.rotate_left(usize::from(order / 2) % count);
        }
        let offered = frame.clone();
        let Some(report) = self.receive(frame, covered) else { return };
        let warnings = report.warnings.len();
        assert!(report.kept + report.known + report.waiting + report.set_aside + warnings >= count);
        self.check();
        // The same frame again brings nothing new.
        let Some(again) = self.receive(offered, covered) else { return };
        assert_eq!(again.kept, 0, "kept twice: {report:?}, {again:?}");
    }

    /// None if the phone stopped because others hold words of this device.
    fn receive(&mut self, frame: Vec<Wire>, covered: Option<Covered>) -> Option<ReceiveReport> {
        let own = self.engine.device_id();
        let names_own = frame
            .iter()
            .any(|wire| Received::parse(wire.clone()).is_ok_and(|entry| entry.header().device == own));
        match self.engine.receive(frame, covered) {
            Ok(report) => {
                let spoilt = report.warnings.iter().any(|warning| matches!(warning, Warning::NotGenuine(_)));
                assert_eq!(report.is_spoilt(), spoilt);
                Some(report)
            }
            Err(Error::RolledBack) => {
                assert!(names_own || self.delivered_own(), "nobody wrote in this device's name");
                self.check();
                None
            }
            Err(why) => panic!("receiving may not fail: {why}"),
        }
    }

    /// Whether an entry in the device's own name may be waiting.
    fn delivered_own(&self) -> bool {
        let own = self.engine.device_id();
        let mut entries = self.delivered.iter().filter_map(|wire| Received::parse(wire.clone()).ok());
        entries.any(|entry| entry.header().device == own)
    }

    /// Looks at what changed.
    fn check(&mut self) {
        let rows = self.engine.list(&Filter { all_kinds: true, ..Filter::default() }).unwrap();
        let (changed, gone) = self.engine.take_changed();
        let shown: BTreeSet<DocumentId> = rows.iter().map(|(row, _)| row.id).collect();
        // What a removal cut off is not shown, said to be gone, and set aside.
        self.readable.retain(|id| !gone.contains(id));
        self.readable.extend(&shown);
        assert_eq!(shown, self.readable, "no row is lost");
        if !gone.is_subset(&shown) {
            assert!(!self.engine.set_aside().unwrap().is_empty(), "it is gone without a reason");
        }
        assert!(self.own.keys().all(|id| shown.contains(id)), "nobody loses sight of their own words");
        self.read(changed.into_iter());
        self.engine.withheld().unwrap();
        assert_eq!(self.engine.role(), self.engine.info().ok().map(|info| info.role));
    }

    /// What could be read once can be read, and what is this member's own says what they said.
    fn read(&mut self, documents: impl Iterator<Item = DocumentId>) {
        for id in documents.filter(|id| self.readable.contains(id)) {
            let detail = self.engine.get(id).expect("what could be read once can be read");
            assert!(detail.row.entries > 0);
            if let Some(said) = self.own.get(&id) {
                assert_eq!(&format!("{:?}", detail.content), said, "nobody else changes it");
            }
        }
    }

    fn reopen(&mut self) {
        // A member whose role was taken away stays a member, and opens their store.
        let before = self.view();
        self.engine = town::engine(COORDINATOR, &self.store);
        assert_eq!(before, self.view(), "what is in memory is what is on disk");
    }

    fn view(&mut self) -> String {
        let rows = self.engine.list(&Filter { all_kinds: true, ..Filter::default() }).unwrap();
        let roster = self.engine.roster().unwrap();
        let plan = self.engine.plan(false, lamppost_core::replica::Budget::UNLIMITED).unwrap();
        let info = self.engine.info();
        let admission = self.engine.admission().unwrap();
        format!("{rows:?}{roster:?}{info:?}{plan:?}{:?}{admission:?}", self.engine.set_aside().unwrap())
    }
}

/// Changes one field of a header before it is signed.
fn tweak(tape: &mut Tape<'_>, header: &mut Header) {
    match tape.below(14) {
        0 => header.version = tape.u8(),
        1 => header.suite = tape.u8(),
        2 => header.group = None,
        3 => header.compartment = CompartmentId(tape.u8()),
        4 => header.device = Keys::of(u64::from(tape.u8() % 9)).device_id(),
        5 => header.seq = tape.number(header.seq),
        6 => header.previous = tape.once_in(2).then(|| EntryHash(tape.bytes32())),
        7 => header.kind = EntryKind(tape.u8()),
        8 => header.epoch = None,
        9 => header.claimed_ms = tape.number(header.claimed_ms),
        10 => header.expiry_day = Some(u32::try_from(tape.number(20_602) % (1 << 32)).unwrap()),
        11 => header.roll_heads.push(EntryHash(tape.bytes32())),
        12 => header.body_bytes = u32::try_from(tape.number(0) % (1 << 32)).unwrap(),
        _ => header.checkpoint = Some(Checkpoint { size: tape.number(0), root: Hash(tape.bytes32()) }),
    }
}

/// Writes a document of a kind with words of the program.
fn write_kind(
    document: &mut Document,
    kind: u16,
    tape: &mut Tape<'_>,
    documents: &[DocumentId],
) -> Option<AuthoredChange> {
    let id = |tape: &mut Tape<'_>| {
        if tape.once_in(6) { tape.text() } else { tape.pick(documents).unwrap().to_string() }
    };
    let written = match kind {
        1 => document.write(&Observation {
            what_happened: tape.text(),
            behaviours: vec![tape.text()],
            cell: tape.text(),
            flags: vec![tape.text()],
            ..Observation::default()
        }),
        2 => document.write(&Sealed { observation: id(tape), notes: tape.text(), ..Sealed::default() }),
        3 => document.write(&Annotation { target: id(tape), text: tape.text(), status: tape.text() }),
        4 => {
            let mut case: Case = document.read().unwrap_or_default();
            case.title = tape.text();
            case.link(id(tape), tape.text(), tape.text());
            document.write(&case)
        }
        5 => document.write(&Release { title: tape.text(), ..Release::default() }),
        6 => document.write(&Response { release: id(tape), status: tape.text(), ..Response::default() }),
        7 => document.write(&Outcome { release: id(tape), status: tape.text(), ..Outcome::default() }),
        8 => document.write(&Disclosure {
            release: id(tape),
            observations: vec![id(tape)],
            at_ms: i64::from_be_bytes(tape.number(0).to_be_bytes()),
            ..Disclosure::default()
        }),
        _ => document.write(&Provenance { release: id(tape), ..Provenance::default() }),
    };
    written.ok().flatten()
}

/// The step in which the volunteer files an observation. Where to begin from.
pub fn honest_step() -> Vec<u8> {
    let (author_and_kind, cited, sender, nonce, own_document) = ([1, 0], [0, 5], 0, 7, 2);
    let head = [&[4], &author_and_kind[..], &cited, &[sender, nonce, own_document, 0, 0]].concat();
    crate::tape::Program::default().raw(&head).blob(b"words").raw(&[0; 9]).done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_bring_documents_and_members_in() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/engine_receive");
        let (mut documents, mut members, mut waiting) = (0, 0, 0);
        let before = World::new().engine.roster().unwrap().len();
        for file in std::fs::read_dir(corpus).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let (mut tape, mut world) = (Tape::new(&bytes), World::new());
            (0..STEPS_MAX).for_each(|_| world.step(&mut tape));
            world.deliver(0, None);
            // A program may take away more than it brings.
            documents += world.readable.len().saturating_sub(town().documents.len());
            members += world.engine.roster().unwrap().len().saturating_sub(before);
            waiting += usize::from(world.engine.withheld().unwrap().is_some());
            if documents > 0 && members > 0 && waiting > 0 {
                return;
            }
        }
        panic!("the corpus does not reach the depth: {documents} {members} {waiting}");
    }

    #[test]
    fn an_honest_program_is_read() {
        let written =
            [4, 1, 0, 0, 5, 0, 7, 2, 0, 0, 5, b'w', b'o', b'r', b'd', b's', 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut world = World::new();
        world.step(&mut Tape::new(&written));
        assert_eq!(world.batch.len(), 1);
        let report = world.receive(world.batch.clone(), None);
        let aside = world.engine.set_aside().unwrap();
        assert_eq!(
            world.engine.list(&Filter { all_kinds: true, ..Filter::default() }).unwrap().len(),
            town().documents.len() + 1,
            "{report:?} {aside:?}"
        );
    }
}
