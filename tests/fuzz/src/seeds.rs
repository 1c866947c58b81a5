//! Where fuzzing begins: what real engines wrote, and programs that reach the depth of each target.

use lamppost_core::base::cose::Unverified;
use lamppost_core::base::{Hash, Incarnation, MailboxId, RelayId, cbor};
use lamppost_core::document::{AuthoredChange, Document};
use lamppost_core::entry::keys::EntryKey;
use lamppost_core::entry::seal;
use lamppost_core::entry::{Certificate, Checkpoint, Kind, LogHead, LogId, Received, Scope, Wire};
use lamppost_core::replica::{GroupLink, JoinRequest};
use lamppost_core::sync::Receipt;
use lamppost_core::sync::frame::{
    Ack, AskConsistency, Challenge, Consistency, Cursor, Entries, Frame, Heads, Hello, LogHeight, Outcome,
    OwnHead, Pull, Push, Refusal, Refused, Standing, Welcome,
};
use lamppost_core::sync::mailbox::{
    Answer, Countersign, Knock, Knocked, Knocks, Letter, OpenMailbox, Settled, Word,
};
use lamppost_core::sync::media::{Chunk, ChunkAck, ChunkNames, GetChunk, PutChunk};
use lamppost_core::watch::{Annotation, Case, Observation, Sealed};
use minicbor::bytes::ByteVec;

use crate::tape::Program;
use crate::targets::change::{AUTHOR, contents};
use crate::targets::engine_receive::honest_step;
use crate::town::{Keys, NOW_MS, VOLUNTEER, town, verified};

/// Inputs to begin with: target and bytes.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    let wires: Vec<&Wire> = town().wires.values().flatten().collect();
    entries(&wires, &mut seeds);
    plaintexts(&wires, &mut seeds);
    changes(&mut seeds);
    frames(&wires, &mut seeds);
    receipts(&mut seeds);
    handovers(&mut seeds);
    joinings(&mut seeds);
    programs(&mut seeds);
    imports(&mut seeds);
    texts(&mut seeds);
    pictures(&mut seeds);
    seeds
}

/// Files that are read whole, and files with something wrong in each place that is looked at.
fn imports(seeds: &mut Seeds) {
    let table = include_bytes!("../../formats/release.csv");
    let features = include_bytes!("../../formats/release.geojson");
    seeds.extend([table.as_slice(), features].map(|bytes| ("import_file", bytes.to_vec())));
    let elsewhere = [
        "title;date;lat;lon;ward\r\nGlass on the path;2026-05-04;41.6;-99.9;7\r\n\r\nDark corner;1780000000000;0;0;\r\n",
        "{\"type\":\"FeatureCollection\",\"features\":[{\"type\":\"Feature\",\"geometry\":{\"type\":\"Point\",\
         \"coordinates\":[-99.9,41.6,812]},\"properties\":{\"name\":\"Dark\",\"time\":\"2026-05-04T21:40:00-05:00\",\
         \"ref\":null}},17]}",
        "{\"type\":\"FeatureCollection\",\"features\":[{\"type\":\"Feature\",\"geometry\":null,\"properties\":{\
         \"what_happened\":\"Shouting\",\"start\":\"2026-05-04T21:40:00Z\",\"precision\":\"hour\",\"behaviours\":[\"threat\"],\
         \"quantity\":{\"amount\":2.5,\"unit\":\"GM\"},\"sealed\":{\"address\":\"12 Elm\",\"people\":[{\"count\":2}],\
         \"vehicles\":[{\"plate\":\"Z\"}],\"accuracy_m\":5,\"method\":\"gps\",\"notes\":\"x\"}}}]}",
        "title,Title\nx,y\n",
    ];
    seeds.extend(elsewhere.map(|text| ("import_file", text.as_bytes().to_vec())));
    let good = "2026-05-04T21:40:00-05:00,2026-05-04T22:00:00-05:00,minute,threat;weapon_seen,'=1;'+2,39.7,-104.9,\
                fentanyl;unknown,saw;told,2.5,GM\n";
    let rows = [
        good.to_owned(),
        good.replace("'=1", "\"He said \"\"no\"\",\r\nthen\tleft\""),
        good.replace("'=1", "\"open") + good + &good.replace("2026", "1926"),
        good.replace("saw;told", "saw").replace("2.5", "NaN") + "\n\n" + &good.replace(",GM", ""),
    ];
    seeds.extend(rows.map(|rows| ("import_table", rows.into_bytes())));
    // Each column in turn says what it should not.
    let columns: Vec<&str> = good.trim_end().split(',').collect();
    for at in 0..columns.len() {
        for wrong in ["", "-0", "9e99", "\"a,\"\"b\"", "x;x;\u{FEFF}", "2026-13-41T99:99:99Z"] {
            let mut row = columns.clone();
            row[at] = wrong;
            seeds.push(("import_table", (row.join(",") + "\n" + good).into_bytes()));
        }
    }
    // Shapes, places and numbers as other programs write them.
    let geometries = [
        "{\"type\":\"Point\",\"coordinates\":[]}",
        "{\"type\":\"Point\",\"coordinates\":[-180.0001,90.0]}",
        "{\"type\":\"Point\",\"coordinates\":[\"-99.9\",41.6]}",
        "{\"type\":\"Point\",\"coordinates\":[0,0]}",
        "{\"type\":\"MultiPoint\",\"coordinates\":[[-99.9,41.6],[-99.8,41.6]]}",
        "{\"type\":\"LineString\",\"coordinates\":[[-99.9,41.6],[-99.8,41.6]]}",
        "{\"type\":\"Polygon\",\"coordinates\":[[[-99.9,41.6],[-99.8,41.6],[-99.8,41.7],[-99.9,41.6]]]}",
        "{\"type\":\"GeometryCollection\",\"geometries\":[]}",
    ];
    for geometry in geometries {
        for properties in
            ["{\"title\":\"Dark\"}", "{\"what_happened\":\"Shouting\",\"time\":17e11}", "null", "[]"]
        {
            let feature =
                format!("{{\"type\":\"Feature\",\"geometry\":{geometry},\"properties\":{properties}}}");
            let all = format!("{{\"type\":\"FeatureCollection\",\"features\":[{feature}]}}");
            seeds.extend([feature, all].map(|text| ("import_file", text.into_bytes())));
        }
    }
    for name in ["title", "date", "OFFENSE_TYPE_ID,FIRST_OCCURRENCE_DATE", "lat,lon", "start;end", "t\tdate"]
    {
        let empty = name.replace(|c: char| c.is_ascii_alphanumeric() || c == '_', "");
        for row in ["x,2026-05-04", "\"", "\u{FEFF}", &empty] {
            seeds.push(("import_file", format!("\u{FEFF}{name}\r\n{row}\r\n").into_bytes()));
        }
    }
}

type Seeds = Vec<(&'static str, Vec<u8>)>;

fn with(mode: u8, bytes: &[u8]) -> Vec<u8> {
    Program::default().raw(&[mode]).raw(bytes).done()
}

fn entries(wires: &[&Wire], seeds: &mut Seeds) {
    for wire in wires {
        let entry = verified(wire);
        seeds.push(("entry", with(0, &entry.to_bytes())));
        seeds.push(("entry", with(1, &wire.signed)));
        let body = entry.body().unwrap_or_default();
        if body.len() < 400 {
            let header = cbor::encode(entry.header());
            seeds.push(("entry", Program::default().raw(&[2, 0]).blob(body).raw(&header).done()));
        }
        if entry.header().kind == Kind::CERTIFICATE {
            seeds.push(("entry", with(3, body)));
        }
        if entry.header().kind == Kind::OPERATION {
            seeds.push(("roll", with(0, body)));
        }
    }
    let certificate = Keys::of(VOLUNTEER).certificate();
    let inner = Unverified::parse(certificate.as_bytes()).unwrap();
    let claims = Unverified::parse(inner.payload()).unwrap();
    seeds.push(("entry", Program::default().raw(&[4, 0]).raw(claims.payload()).done()));
    for first in [0, 1] {
        seeds.push(("entry", Program::default().raw(&[5, first]).raw(&[3, 1, 2, 3, 9, 9].repeat(9)).done()));
    }
    // A shred of nothing, and one of a document alone.
    seeds.push(("roll", with(0, &[0x82, 0x09, 0xa1, 0x00, 0x80])));
    seeds.push((
        "roll",
        with(0, &[[0x82, 0x09, 0xa2, 0x00, 0x80, 0x01, 0x58, 0x20].as_slice(), &[7; 32]].concat()),
    ));
    let template = cbor::encode(town().roll.state().template());
    seeds.push(("roll", with(1, &template)));
}

fn plaintexts(wires: &[&Wire], seeds: &mut Seeds) {
    for wire in wires {
        let entry = verified(wire);
        let (log, Some(epoch)) = (LogId::of(&entry), entry.header().epoch) else { continue };
        let Some(sender) = town().senders.get(&(log, epoch)) else { continue };
        let Ok(key) = seal::entry_key(town().group, &entry, sender) else { continue };
        let content = open(&entry, &key);
        let plain = lamppost_core::entry::plaintext::pack(&content).unwrap();
        seeds.push(("plaintext", with(0, &plain)));
        seeds.push(("plaintext", with(3, &cbor::encode(&content))));
        let packed = u32::from_be_bytes(plain[1..5].try_into().unwrap()) as usize;
        if plain[0] > 0 {
            let raw = u16::from_be_bytes([plain[7], plain[8]]);
            let number = [6, u8::try_from(raw & 0xff).unwrap(), 0, u8::try_from(raw >> 8).unwrap()];
            seeds.push((
                "plaintext",
                Program::default().raw(&[1, plain[0]]).raw(&number).raw(&plain[9..9 + packed]).done(),
            ));
        }
        // One change by its author: the actor stands in the contents, so it is exchanged for the target's.
        let mut inner = contents(&content.bytes).to_vec();
        let actor = log.device.as_bytes();
        while let Some(at) = inner.windows(32).position(|window| window == actor) {
            inner[at..at + 32].copy_from_slice(AUTHOR.as_bytes());
        }
        seeds.push(("change", Program::default().raw(&[0, 0]).raw(&inner).done()));
    }
}

fn open(entry: &Received, key: &EntryKey) -> lamppost_core::entry::plaintext::Content {
    seal::open(entry, key).unwrap()
}

/// Words that the guard knows, and what people paste beside them.
fn texts(seeds: &mut Seeds) {
    let texts = [
        "A black man in a hoodie. He does not belong here.",
        "Un moreno con capucha; no tiene trabajo, ¿papeles?",
        "She votes Republican and goes to the mosque.",
        "WANTED: the man with the red bike! $500 reward, follow him.",
        "Call +1 (303) 555-0119 or a.b@mail.example.org, plate ABC-1234, 1418 Quitman Street, Mr. Roe.",
        "If you happen to see him, do not follow. Look through his trash, enter the yard.",
        "Two people swapped a small bag for cash\r\nby the door.\u{FEFF}\u{202E}\u{AD}",
        "sen\u{303}or Nu\u{301}n\u{303}ez \u{FF53}\u{FF4F}\u{FF4C}\u{FF44} \u{1F600}\u{200D}\u{FE0F}",
        "dont dont dont look look into into the the the windows",
    ];
    seeds.extend(texts.map(|text| ("guard", text.as_bytes().to_vec())));
}

/// Small pictures: whole, cut, with an EXIF block, and the head of one that promises too much.
fn pictures(seeds: &mut Seeds) {
    let photo = lamppost_core::replica::testing::photo(
        9,
        7,
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0",
    );
    let cut = photo[..photo.len() / 2].to_vec();
    let png = [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89".as_slice(),
        b"\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x56\xc7\x2f\x0d",
        b"\0\0\0\0IEND\xaeB`\x82",
    ]
    .concat();
    let webp = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0".to_vec();
    // With what cameras and editors put beside a picture, in front and behind; and cut or bent at many places.
    let beside = [
        (0xe1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>".as_slice()),
        (0xe2, b"ICC_PROFILE\0\x01\x01".as_slice()),
        (0xe2, b"MPF\0II*\0\x08\0\0\0".as_slice()),
        (0xed, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\0".as_slice()),
        (0xee, b"Adobe\0\x64\0\0\0\0\x01".as_slice()),
        (0xfe, b"a comment".as_slice()),
    ];
    for (marker, words) in beside {
        let length = u8::try_from(words.len() + 2).unwrap();
        let (head, rest) = photo.split_at(2);
        seeds.push(("media", [head, &[0xff, marker, 0, length], words, rest].concat()));
    }
    seeds.push(("media", [photo.as_slice(), &photo].concat()));
    for picture in [&photo, &png, &webp] {
        for eighth in 1..8 {
            let at = picture.len() * eighth / 8;
            let mut bent = picture.clone();
            bent[at] ^= 0x55;
            seeds.extend([picture[..at].to_vec(), bent].map(|bytes| ("media", bytes)));
        }
    }
    for (at, edge) in [(16, 0xffff_ffff_u32), (16, 0), (20, 0x7fff_ffff), (20, 70_000)] {
        let mut promises = png.clone();
        promises[at..at + 4].copy_from_slice(&edge.to_be_bytes());
        seeds.push(("media", promises));
    }
    seeds.extend([photo, cut, png, webp].map(|bytes| ("media", bytes)));
}

fn changes(seeds: &mut Seeds) {
    let mut document = Document::new(AUTHOR);
    let mut made: Vec<AuthoredChange> = Vec::new();
    let mut case = Case { title: "the corner".to_owned(), ..Case::default() };
    made.extend(document.write(&case).unwrap());
    case.link("a".repeat(48), "the same hour", "b".repeat(64));
    made.extend(document.write(&case).unwrap());
    case.unlink(&"a".repeat(48), &"b".repeat(64)).unwrap();
    made.extend(document.write(&case).unwrap());
    let mut other = Document::new(AUTHOR);
    let observation = Observation { what_happened: "a lamp is out".to_owned(), ..Observation::default() };
    made.extend(other.write(&observation).unwrap());
    let mut sealed = Document::new(AUTHOR);
    made.extend(sealed.write(&Sealed { notes: "plate ZZZ-1234".to_owned(), ..Sealed::default() }).unwrap());
    let mut remark = Document::new(AUTHOR);
    made.extend(remark.write(&Annotation { text: "thanks".to_owned(), ..Annotation::default() }).unwrap());
    for change in &made {
        seeds.push(("change", with(7, &Program::default().raw(&[0]).raw(change.bytes()).done())));
        seeds.push(("change", Program::default().raw(&[0, 0]).raw(contents(change.bytes())).done()));
    }
    for pair in made.windows(2) {
        let first = contents(pair[0].bytes());
        let bytes = Program::default().raw(&[0, 1]).blob(first).raw(contents(pair[1].bytes())).done();
        seeds.push(("change", bytes));
    }
}

fn frames(wires: &[&Wire], seeds: &mut Seeds) {
    let signed = ByteVec::from(vec![1; 90]);
    let head = LogHead { seq: 3, hash: lamppost_core::base::EntryHash([1; 32]) };
    let log =
        LogId { compartment: lamppost_core::base::CompartmentId(2), device: Keys::of(VOLUNTEER).device_id() };
    let refused = Refused { retry_after_ms: Some(9), ..Refused::new(Refusal::RATE, "too much") };
    let two: Vec<Wire> = wires
        .iter()
        .filter(|w| w.body.as_ref().is_some_and(|b| b.len() < 300))
        .take(2)
        .map(|w| (*w).clone())
        .collect();
    let (mailbox, sealed) = (MailboxId([6; 16]), ByteVec::from(vec![7; 40]));
    let knock = |sealed| Knocked { mailbox, device: log.device, at_ms: NOW_MS, sealed };
    let knocks = vec![knock(Some(sealed.clone())), knock(None)];
    let chunk = lamppost_core::base::ChunkId([0xc1; 32]);
    let all = [
        Frame::Challenge(Challenge {
            version: 1,
            nonce: [1; 32],
            relay: RelayId([2; 32]),
            incarnation: Incarnation([3; 16]),
        }),
        Frame::Hello(Hello { proof: signed.clone(), certificate: None }),
        Frame::Hello(Hello { proof: signed.clone(), certificate: Some(signed.clone()) }),
        Frame::Welcome(Welcome {
            relay_ms: NOW_MS,
            standing: Standing::Certified,
            checkpoint: None,
            own: Vec::new(),
        }),
        Frame::Welcome(Welcome {
            relay_ms: NOW_MS,
            standing: Standing::Belongs,
            checkpoint: Some(signed.clone()),
            own: vec![OwnHead { compartment: log.compartment, head }],
        }),
        Frame::Pull(Pull { cursors: vec![Cursor { compartment: log.compartment, after: 7 }], live: true }),
        Frame::Entries(Entries {
            compartment: log.compartment,
            entries: two.clone(),
            upto: 9,
            after: 4,
            left_out: 3,
        }),
        Frame::CaughtUp,
        Frame::Push(Push { number: 1, entries: two }),
        Frame::Ack(Ack {
            number: 1,
            outcomes: vec![Outcome::Kept, Outcome::Refused(refused.clone())],
            receipt: Some(signed.clone()),
        }),
        Frame::AskHeads,
        Frame::Heads(Heads { logs: vec![LogHeight { log, head }] }),
        Frame::AskConsistency(AskConsistency { from: 3 }),
        Frame::Consistency(Consistency { from: 3, checkpoint: signed, hashes: vec![Hash([1; 32])] }),
        Frame::Goodbye(refused.clone()),
        Frame::OpenMailbox(OpenMailbox { mailbox, expires_ms: NOW_MS }),
        Frame::Knock(Knock { mailbox, sealed: sealed.clone() }),
        Frame::Knocks(Knocks { knocks }),
        Frame::Answer(Answer { mailbox, sealed: sealed.clone() }),
        Frame::Countersign(Countersign { mailbox, knock: Hash([2; 32]), sealed: sealed.clone() }),
        Frame::Letter(Letter { mailbox, word: Word::Countersigned(sealed.clone()) }),
        Frame::Letter(Letter { mailbox, word: Word::Waiting }),
        Frame::Letter(Letter { mailbox, word: Word::Refused(sealed) }),
        Frame::Letter(Letter { mailbox, word: Word::Closed(refused) }),
        Frame::Letter(Letter { mailbox, word: Word::Admitted }),
        Frame::Settled(Settled { mailbox, outcome: Outcome::Kept }),
        Frame::OfferChunks(ChunkNames { chunks: vec![chunk] }),
        Frame::WantedChunks(ChunkNames { chunks: Vec::new() }),
        Frame::PutChunk(PutChunk { chunk, ciphertext: vec![1; 9].into(), entry: vec![2; 9].into() }),
        Frame::ChunkAck(ChunkAck { chunk, outcome: Outcome::Kept }),
        Frame::GetChunk(GetChunk { chunk }),
        Frame::Chunk(Chunk { chunk, ciphertext: Some(vec![1; 9].into()) }),
    ];
    seeds.extend(all.iter().map(|frame| ("frame", frame.to_bytes())));
}

fn receipts(seeds: &mut Seeds) {
    let relay = RelayId(ed25519_dalek::SigningKey::from_bytes(&[5; 32]).verifying_key().to_bytes());
    for count in [0, 2] {
        let receipt = Receipt {
            relay,
            incarnation: Incarnation([0x1c; 16]),
            group: lamppost_core::base::GroupId([0x96; 32]),
            received_ms: NOW_MS,
            entries: vec![lamppost_core::base::EntryHash([1; 32]); count],
            checkpoint: Checkpoint { size: 12, root: Hash([2; 32]) },
        };
        seeds.push(("receipt", with(1, &cbor::encode(&receipt))));
        let signed = lamppost_core::sync::SignedReceipt::sign(
            &ed25519_dalek::SigningKey::from_bytes(&[5; 32]),
            receipt,
        );
        seeds.push(("receipt", with(0, signed.as_bytes())));
    }
    for (old, more) in [(0, 0), (4, 3), (7, 8), (200, 31)] {
        seeds.push(("receipt", vec![2, old, more]));
        seeds.push(("receipt", vec![2, old, more, 1, 9, 2, 0, 3, 4, 0]));
        seeds.push(("receipt", vec![2, old, more, 4, 1, 1, 6, 1, 1]));
    }
}

fn handovers(seeds: &mut Seeds) {
    seeds.push(("handover", with(0, Keys::of(8).certificate().as_bytes())));
    let elsewhere = Keys::of(8).certificate_for(Scope::founding(&[0; 16]));
    seeds.push(("handover", with(0, elsewhere.as_bytes())));
    seeds.push(("handover", vec![1, 0, 1]));
    seeds.push(("handover", with(2, &town().admission.to_bytes())));
    for step in 0..10 {
        seeds.push(("handover", vec![3, 1, step, 2, 3, 4, 5, 6, 7, 1, 9, 0, 0, 0, 3, 8, 1, 2]));
    }
    seeds.extend(town().evidence.iter().map(|evidence| ("handover", with(4, evidence))));
    seeds.extend((0..6).map(|step| ("handover", vec![5, 0, step, 3, 4, 5, 6])));
    assert!(Certificate::verify(Keys::of(8).certificate().as_bytes(), Scope::group(town().group)).is_ok());
}

fn joinings(seeds: &mut Seeds) {
    let link = "lamppost:aglsaiaia4dqobyhqndqobyhbydqobyhbydqobyhbydqobyhbydqobyhbydqobyhb4";
    seeds.push(("joining", with(0, link.as_bytes())));
    for step in 0..8 {
        for kind in [1, 6, 11] {
            seeds.push(("joining", vec![kind, step, 9, step]));
        }
        seeds.push(("joining", vec![2, step, 1, 2, step, 3, 4, 5, 1, 2, 1, 7]));
        seeds.push(("joining", vec![3, 4, b'n', b'o', b't', b'!', step % 2, 5, 6]));
    }
    let request = JoinRequest::from_bytes(Keys::of(8).certificate().as_bytes().to_vec());
    seeds.extend(request.to_uri().ok().map(|uri| ("joining", with(0, uri.as_bytes()))));
    let group = GroupLink { relay_url: "wss://relay.example.org/v1/session".to_owned(), group: town().group };
    seeds.push(("joining", with(0, group.to_uri().as_bytes())));
    // Challenge, welcome, letter, roll, caught up: in the ways in which it may come.
    let frame = |kind: u8, more: &[u8]| [&[5, kind], more].concat();
    let challenge = frame(0, &[&[1][..], &[7; 32]].concat());
    for (standing, letters) in
        [(2, vec![]), (3, vec![]), (1, vec![4, 5]), (1, vec![5]), (1, vec![4, 4, 6]), (0, vec![6])]
    {
        let letters = letters.iter().flat_map(|kind| frame(*kind, &[1, 1, 1])).collect::<Vec<_>>();
        for (wait, way) in [(0, 4), (1, 4), (0, 9), (1, 9), (1, 14)] {
            let bytes = Program::default()
                .raw(&[way, wait, 1])
                .raw(&challenge)
                .raw(&frame(2, &[standing]))
                .raw(&letters)
                .raw(&frame(7, &[3, 1, 9]))
                .raw(&frame(9, &[1]));
            seeds.push(("joining", bytes.done()));
        }
    }
}

/// Programs of pseudo-random steps: longer than what a fuzzer finds by itself in a short time.
fn programs(seeds: &mut Seeds) {
    let mut number = 1_u64;
    let mut draw = move || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 56) as u8
    };
    for length in [40, 80, 120, 160, 200, 240, 300, 400, 500, 600] {
        for target in ["roll", "phone_session", "relay_session", "engine_receive", "joining"] {
            let mut bytes: Vec<u8> = (0..length).map(|_| draw()).collect();
            if target == "roll" {
                bytes[0] = 2;
            }
            if target == "joining" {
                bytes[0] = 4;
            }
            seeds.push((target, bytes));
        }
    }
    // An observation, delivered, and the same again.
    let filed = honest_step();
    let delivered = Program::default().raw(&filed).raw(&[12, 2, 0, 4, 0]);
    seeds.push(("engine_receive", delivered.clone().raw(&[14, 3, 0, 15]).done()));
    seeds.push(("engine_receive", delivered.raw(&filed).raw(&[10, 1, 12, 2, 0, 5, 1]).done()));
    // Honest sessions: live and not, with and without something to send.
    for standing in 0..3 {
        for known in [0, 2, 4, 8, 12] {
            let head = [standing, 9, 0, 3, 0, 8, known, 7, 0, 0, 25];
            seeds.push(("phone_session", Program::default().raw(&head).raw(&[0; 60]).done()));
            let moody = [0, 255, 0, 170, 8, 20, 19, 1, 2, 0];
            seeds.push(("phone_session", Program::default().raw(&head).raw(&moody.repeat(6)).done()));
        }
    }
    // The volunteer's second device comes, shows its certificate, pulls, and pushes what was written.
    for steps in
        [&[0, 1, 9, 0, 0, 8, 0, 2, 3, 0, 0, 0, 1, 0, 2, 0, 3, 0, 0, 8, 0, 8, 0, 8][..], &[0, 1, 9, 0, 0, 8]]
    {
        let replace = [0, 18, 3, 6, 5];
        let bytes = Program::default().raw(&[0, 0, 1]).raw(&replace).raw(&[0, 8]).raw(steps).raw(&[0; 40]);
        seeds.push(("relay_session", bytes.done()));
    }
    for who in 0..6 {
        let hello = [0, 0, 9, 0, 0, 8, 0, 12, 0, 8];
        let work = [
            0, 2, 6, 7, 0, 0, 0, 1, 0, 2, 0, 3, 1, 0, 12, 0, 8, 0, 16, 1, 2, 0, 9, 0, 3, 2, 2, 9, 1, 0, 9, 0,
            0, 11, 0, 8,
        ];
        let bytes = Program::default().raw(&[0, who, who + 1]).raw(&hello).raw(&work.repeat(4)).done();
        seeds.push(("relay_session", bytes));
    }
}
