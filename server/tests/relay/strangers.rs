//! Strangers: they are few, stay briefly, cost little, and lock nobody out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::{GroupId, cbor};
use lamppost_core::entry::{Kind, Wire};
use lamppost_core::storage::MemoryStore;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Outcome, Push, Refusal, Standing};
use lamppost_server::{Layer, Running, Settings};
use minicbor::bytes::ByteVec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::fixture::*;
use crate::sockets::{Phone, get, settings};

async fn start(change: impl FnOnce(&mut Settings)) -> Running {
    let mut settings = settings(Layer::default());
    change(&mut settings);
    lamppost_server::start(settings, Arc::new(MemoryStore::default())).await.unwrap()
}

/// The founder's phone brings the group.
async fn found(running: &Running, world: &World) {
    let (mut phone, _) = Phone::open(&running.url(), world, &world.founder).await;
    assert!(phone.push(1, &world.roll).await.unwrap().outcomes.iter().all(|o| *o == Outcome::Kept));
}

/// The value of a line of the metrics.
async fn metric(running: &Running, name: &str) -> f64 {
    let text = get(running, "/metrics").await;
    let line = text.lines().find(|line| line.starts_with(&format!("lamppost_{name} ")));
    line.and_then(|line| line.rsplit(' ').next()).map_or(0.0, |value| value.parse().unwrap())
}

async fn wait_for(running: &Running, name: &str, value: f64) {
    for _ in 0..200 {
        if metric(running, name).await == value {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} is {}, not {value}", metric(running, name).await);
}

#[tokio::test]
async fn throwaway_keys_lock_no_member_out() {
    let running = start(|settings| {
        settings.group_sessions_max = 4;
        settings.group_strangers_max = 3;
    })
    .await;
    let world = World::new(1);
    found(&running, &world).await;
    let (mut inside, mut turned_away) = (Vec::new(), 0);
    for seed in 100..120 {
        let mut phone = Phone::prove(&running.url(), &world, &Person::new(seed)).await;
        match phone.hear().await {
            Some(Frame::Welcome(welcome)) if welcome.standing == Standing::UnknownDevice => {
                inside.push(phone)
            }
            Some(Frame::Goodbye(why)) if why.refusal == Refusal::RATE => turned_away += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((inside.len(), turned_away), (3, 17));
    let (_phone, welcome) = Phone::open(&running.url(), &world, &world.founder).await;
    assert_eq!(welcome.standing, Standing::Belongs);
    assert_eq!(metric(&running, "connections_turned_away_total{reason=\"strangers\"}").await, 17.0);
}

#[tokio::test]
async fn sessions_for_unknown_groups_are_few_and_end() {
    let running = start(|settings| {
        settings.connections_max = 4;
        settings.strangers_max = 6;
        settings.stranger_ms = 1_000;
        settings.handshake_ms = 1_000;
    })
    .await;
    let world = World::new(1);
    found(&running, &world).await;
    let mut inside = Vec::new();
    for seed in 100..120 {
        let mut elsewhere = world.clone();
        elsewhere.id = GroupId([seed; 32]);
        let mut phone = Phone::prove(&running.url(), &elsewhere, &Person::new(seed)).await;
        if let Some(Frame::Welcome(welcome)) = phone.hear().await {
            assert_eq!(welcome.standing, Standing::UnknownGroup);
            inside.push(phone);
        }
    }
    assert_eq!(inside.len(), 6);
    let (mut phone, welcome) = Phone::open(&running.url(), &world, &world.founder).await;
    assert_eq!(welcome.standing, Standing::Belongs);
    // They ping, and have to go all the same; whoever belongs stays.
    for phone in &mut inside {
        phone.socket.send(Message::Ping(Vec::new().into())).await.unwrap();
        assert_eq!(phone.goodbye().await, Some(Refusal::RATE));
    }
    wait_for(&running, "places_taken{who=\"stranger\"}", 0.0).await;
    assert!(phone.push(2, &world.roll).await.is_some());
}

#[tokio::test]
async fn one_device_has_so_many_sessions() {
    let running = start(|settings| settings.device_sessions_max = 2).await;
    let world = World::new(1);
    found(&running, &world).await;
    wait_for(&running, "sessions", 0.0).await;
    let _first = Phone::open(&running.url(), &world, &world.founder).await;
    let _second = Phone::open(&running.url(), &world, &world.founder).await;
    let mut third = Phone::prove(&running.url(), &world, &world.founder).await;
    assert_eq!(third.goodbye().await, Some(Refusal::RATE));
}

#[tokio::test]
async fn mute_connections_make_room_and_are_told_of() {
    let running = start(|settings| {
        settings.unproven_max = 16;
        settings.handshake_ms = 1_500;
    })
    .await;
    let world = World::new(1);
    let mut mute = Vec::new();
    for n in 0..64 {
        let mut stream = TcpStream::connect(running.local_addr()).await.unwrap();
        // Some say half a request.
        if n % 2 == 0 {
            stream.write_all(b"GET /v1/session HTTP/1.1\r\nHost: re").await.unwrap();
        }
        mute.push(stream);
    }
    timeout(Duration::from_secs(5), found(&running, &world)).await.unwrap();
    assert!(metric(&running, "connections_turned_away_total{reason=\"door\"}").await >= 48.0);
    for stream in &mut mute {
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a connection that says nothing is not kept");
    }
    assert!(metric(&running, "connections_turned_away_total{reason=\"late\"}").await >= 1.0);
}

/// The beginning of a WebSocket message of `announced` bytes, of which `sent` follow.
fn half_message(announced: u64, sent: usize) -> Vec<u8> {
    let mut bytes = vec![0x82, 0xff];
    bytes.extend(announced.to_be_bytes());
    // A mask of zeros.
    bytes.extend([0; 4]);
    bytes.extend(vec![0; sent]);
    bytes
}

/// Whether the relay ends a raw connection within `limit`, whatever it says before.
async fn is_ended(stream: &mut TcpStream, limit: Duration) -> bool {
    let mut rest = Vec::new();
    timeout(limit, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn half_a_message_before_the_proof_is_not_kept() {
    let running = start(|_| {}).await;
    let mut stream = TcpStream::connect(running.local_addr()).await.unwrap();
    let request = "GET /v1/session HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    // Long before the time of the handshake is over.
    let _ = stream.write_all(&half_message(500_000, 400_000)).await;
    assert!(is_ended(&mut stream, Duration::from_secs(5)).await);
}

#[tokio::test]
async fn half_a_message_ends_the_session_of_a_member_too() {
    let running = start(|settings| settings.message_ms = 400).await;
    let world = World::new(1);
    found(&running, &world).await;
    let (mut phone, _) = Phone::open(&running.url(), &world, &world.founder).await;
    let tokio_tungstenite::MaybeTlsStream::Plain(stream) = phone.socket.get_mut() else { panic!("plain") };
    stream.write_all(&half_message(500_000, 300_000)).await.unwrap();
    let ended = timeout(Duration::from_secs(5), phone.goodbye()).await.unwrap();
    assert_eq!(ended, Some(Refusal::TOO_SLOW));
}

#[tokio::test]
async fn words_of_strangers_cost_no_signature() {
    let running = start(|_| {}).await;
    let world = World::new(1);
    found(&running, &world).await;
    let before = metric(&running, "signatures_checked_total").await;
    let mut stranger = Person::new(9);
    let (mut phone, _) = Phone::open(&running.url(), &world, &stranger).await;
    let mut words = Vec::new();
    for _ in 0..200 {
        words.extend(world.words(&mut stranger, GROUP, b"spam"));
    }
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(why) if why.refusal == Refusal::UNKNOWN_DEVICE);
    assert!(phone.push(1, &words).await.unwrap().outcomes.iter().all(refused));
    // Neither do operations of devices of which nobody has heard.
    let heads = world.roll_heads();
    let operation = world.clone().operation(&admission(world.id, &stranger, COORDINATOR));
    let body = operation.body().unwrap().to_vec();
    let certificate = stranger.certificate(world.id);
    stranger.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate);
    let operations: Vec<_> = (0..200)
        .map(|_| stranger.write(Some(world.id), ROLL, &heads, Kind::OPERATION, body.clone()))
        .collect();
    assert!(phone.push(2, &operations).await.unwrap().outcomes.iter().all(refused));
    assert_eq!(metric(&running, "signatures_checked_total").await, before);
}

#[tokio::test]
async fn a_stranger_who_forges_is_sent_away() {
    let running = start(|_| {}).await;
    let mut world = World::new(1);
    found(&running, &world).await;
    let stranger = Person::new(9);
    let (mut phone, _) = Phone::open(&running.url(), &world, &stranger).await;
    let operation = world.admit(&stranger, COORDINATOR);
    let header = cbor::encode(operation.header());
    let signed = ByteVec::from(cose::sign(&stranger.key, Purpose::Entry, header));
    let forged = Wire { signed, ..operation.wire().clone() };
    phone.say(&Frame::Push(Push { number: 1, entries: vec![forged] })).await;
    let Some(Frame::Ack(ack)) = phone.hear().await else { panic!("no ack") };
    assert!(matches!(&ack.outcomes[0], Outcome::Refused(why) if why.refusal == Refusal::SIGNATURE));
    assert_eq!(phone.goodbye().await, Some(Refusal::SIGNATURE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_push_overtakes_a_flood_of_strangers() {
    let running = start(|_| {}).await;
    let mut world = World::new(1);
    let mut volunteer = Person::new(2);
    world.admit(&volunteer, VOLUNTEER);
    found(&running, &world).await;
    let url = running.url();
    let floods: Vec<_> = (20..24_u8)
        .map(|seed| {
            let (url, mut other) = (url.clone(), World::new(seed));
            // A group of their own, whose entries have to be checked as everybody's.
            tokio::spawn(async move {
                let (mut phone, _) = Phone::open(&url, &other, &other.founder).await;
                phone.push(0, &other.roll).await.unwrap();
                for number in 1..6 {
                    let words: Vec<_> =
                        (0..400).flat_map(|_| other.founder_words(COMMON, b"flood")).take(400).collect();
                    phone.say(&Frame::Push(Push { number, entries: wires(&words) })).await;
                }
                while phone.hear().await.is_some() {}
            })
        })
        .collect();
    sleep(Duration::from_millis(200)).await;
    let (mut phone, _) = Phone::open(&url, &world, &volunteer).await;
    for number in 0..10 {
        let words = world.words(&mut volunteer, GROUP, b"a light on the corner");
        let begun = Instant::now();
        let ack = phone.push(number, &words).await.unwrap();
        assert!(ack.outcomes.iter().all(|outcome| *outcome == Outcome::Kept));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    floods.iter().for_each(tokio::task::JoinHandle::abort);
}
