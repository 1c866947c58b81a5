//! Sessions over real sockets, with a plain WebSocket client in the phone's place.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::{cbor, limits};
use lamppost_core::storage::{FaultAt, FaultyStore, MemoryStore, Store};
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{
    Ack, Cursor, Hello, Outcome, Proof, Pull, Push, Refusal, SESSION_VERSION, Standing, Welcome,
};
use lamppost_core::sync::receipt::SignedReceipt;
use lamppost_server::{Layer, Running, Settings};
use minicbor::bytes::ByteVec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::fixture::*;

/// A phone's end of a session.
pub struct Phone {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Phone {
    pub async fn connect(url: &str) -> Self {
        Self { socket: tokio_tungstenite::connect_async(url).await.unwrap().0 }
    }

    /// Connects and proves who it is.
    pub async fn open(url: &str, world: &World, person: &Person) -> (Self, Welcome) {
        let mut phone = Self::prove(url, world, person).await;
        match phone.hear().await {
            Some(Frame::Welcome(welcome)) => (phone, welcome),
            other => panic!("{other:?}"),
        }
    }

    /// Connects and says who it is, and hears nothing yet.
    pub async fn prove(url: &str, world: &World, person: &Person) -> Self {
        let mut phone = Self::connect(url).await;
        let Some(Frame::Challenge(challenge)) = phone.hear().await else { panic!("no challenge") };
        let proof = Proof {
            version: SESSION_VERSION,
            nonce: challenge.nonce,
            relay: challenge.relay,
            group: world.id,
            device: person.device(),
            word: None,
        };
        let proof = ByteVec::from(cose::sign(&person.key, Purpose::Session, cbor::encode(&proof)));
        phone.say(&Frame::Hello(Hello { proof, certificate: None })).await;
        phone
    }

    pub async fn say(&mut self, frame: &Frame) {
        self.send(Message::Binary(frame.to_bytes().into())).await;
    }

    async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// The next frame; none when the relay is gone.
    pub async fn hear(&mut self) -> Option<Frame> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Binary(bytes)) => return Some(Frame::from_bytes(&bytes).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn push(&mut self, number: u32, entries: &[lamppost_core::entry::Verified]) -> Option<Ack> {
        self.say(&Frame::Push(Push { number, entries: wires(entries) })).await;
        match self.hear().await? {
            Frame::Ack(ack) => Some(ack),
            other => panic!("{other:?}"),
        }
    }

    pub async fn goodbye(&mut self) -> Option<Refusal> {
        loop {
            if let Frame::Goodbye(why) = self.hear().await? {
                return Some(why.refusal);
            }
        }
    }
}

pub fn settings(layer: Layer) -> Settings {
    Settings::from_layer(Layer { listen: Some(([127, 0, 0, 1], 0).into()), ..layer }).unwrap()
}

async fn start(layer: Layer) -> Running {
    start_in(layer, Arc::new(MemoryStore::default())).await
}

async fn start_in(layer: Layer, store: Arc<dyn Store>) -> Running {
    lamppost_server::start(settings(layer), store).await.unwrap()
}

/// The status line and body of a plain HTTP request.
pub async fn get(running: &Running, path: &str) -> String {
    let mut stream = TcpStream::connect(running.local_addr()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn pull(compartments: &[lamppost_core::base::CompartmentId], live: bool) -> Frame {
    let cursors = compartments.iter().map(|compartment| Cursor { compartment: *compartment, after: 0 });
    Frame::Pull(Pull { cursors: cursors.collect(), live })
}

#[tokio::test]
async fn two_phones_one_relay() {
    let running = start(Layer::default()).await;
    let mut world = World::new(1);
    let mut volunteer = Person::new(2);
    world.admit(&volunteer, VOLUNTEER);
    let (mut founder_phone, welcome) = Phone::open(&running.url(), &world, &world.founder).await;
    assert_eq!(welcome.standing, Standing::UnknownGroup);
    let ack = founder_phone.push(1, &world.roll).await.unwrap();
    assert_eq!(ack.outcomes, [Outcome::Kept, Outcome::Kept]);
    founder_phone.say(&pull(&[ROLL, GROUP], true)).await;
    assert!(matches!(founder_phone.hear().await, Some(Frame::Entries(e)) if e.entries.is_empty()));
    assert_eq!(founder_phone.hear().await, Some(Frame::CaughtUp));

    let (mut phone, welcome) = Phone::open(&running.url(), &world, &volunteer).await;
    assert_eq!(welcome.standing, Standing::Belongs);
    phone.say(&pull(&[ROLL, GROUP], false)).await;
    assert!(matches!(phone.hear().await, Some(Frame::Entries(e)) if e.entries == wires(&world.roll)));
    assert_eq!(phone.hear().await, Some(Frame::CaughtUp));
    let words = world.words(&mut volunteer, GROUP, b"a light on the corner");
    let ack = phone.push(9, &words).await.unwrap();
    let incarnation = {
        let mut third = Phone::connect(&running.url()).await;
        let Some(Frame::Challenge(challenge)) = third.hear().await else { panic!("no challenge") };
        challenge.incarnation
    };
    let receipt =
        SignedReceipt::verify(&ack.receipt.unwrap(), running.relay(), incarnation, world.id).unwrap();
    assert_eq!(receipt.receipt().entries.len(), 2);
    // The founder's phone is live: the words come to it by themselves.
    assert!(matches!(founder_phone.hear().await, Some(Frame::Entries(e)) if e.entries == wires(&words)));

    assert!(running.stop().await);
    assert_eq!(founder_phone.goodbye().await, Some(Refusal::SHUTDOWN));
    assert_eq!(founder_phone.hear().await, None);
}

#[tokio::test]
async fn messages_that_are_no_frames_get_a_reason_and_disturb_nobody() {
    let running = start(Layer::default()).await;
    let world = World::new(1);
    let (mut honest, _) = Phone::open(&running.url(), &world, &world.founder).await;
    for message in [
        Message::Text("hello".into()),
        Message::Binary(vec![0xff; 100].into()),
        Message::Binary(vec![0; limits::FRAME_BYTES_MAX + 1].into()),
    ] {
        let (mut phone, _) = Phone::open(&running.url(), &world, &world.founder).await;
        let _ = phone.socket.send(message).await;
        assert_eq!(phone.goodbye().await, Some(Refusal::MALFORMED));
        assert_eq!(phone.hear().await, None);
    }
    assert_eq!(honest.push(1, &world.roll).await.unwrap().outcomes, [Outcome::Kept]);
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_phone_that_takes_nothing_is_dropped_while_others_go_on() {
    let running = start(Layer { slow_reader_ms: Some(200), ..Layer::default() }).await;
    let mut world = World::new(1);
    let mut volunteer = Person::new(2);
    world.admit(&volunteer, VOLUNTEER);
    let (mut phone, _) = Phone::open(&running.url(), &world, &world.founder).await;
    phone.push(1, &world.roll).await.unwrap();
    let (mut writer, _) = Phone::open(&running.url(), &world, &volunteer).await;
    // More than the sockets of both ends can hold.
    for n in 0..120_u8 {
        let words = world.words(&mut volunteer, GROUP, &vec![n; 200_000]);
        let ack = writer.push(n.into(), &words).await.unwrap();
        assert!(ack.outcomes.iter().all(|outcome| *outcome == Outcome::Kept));
    }
    let (mut slow, _) = Phone::open(&running.url(), &world, &world.founder).await;
    slow.say(&pull(&[GROUP], true)).await;
    // Somebody who reads gets everything, and the session of the one who does not is given back.
    phone.say(&pull(&[GROUP], true)).await;
    let mut entries = 0;
    loop {
        match phone.hear().await.unwrap() {
            Frame::Entries(frame) => entries += frame.entries.len(),
            Frame::CaughtUp => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(entries, 121);
    loop {
        let metrics = get(&running, "/metrics").await;
        if metrics.contains("lamppost_sessions 2\n") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_relay_that_cannot_write_says_so_and_turns_red() {
    let store = FaultyStore::new(MemoryStore::default(), 1, FaultAt::BeforeWrite);
    let running = start_in(Layer::default(), Arc::new(store)).await;
    let world = World::new(1);
    let (mut phone, _) = Phone::open(&running.url(), &world, &world.founder).await;
    assert!(get(&running, "/readyz").await.starts_with("HTTP/1.1 200"));
    let ack = phone.push(1, &world.roll).await.unwrap();
    assert!(matches!(&ack.outcomes[..], [Outcome::Refused(why)] if why.refusal == Refusal::STORE));
    assert_eq!(ack.receipt, None);
    assert!(get(&running, "/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(get(&running, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(
        get(&running, "/metrics").await.contains("lamppost_entries_refused_total{refusal=\"store\"} 1\n")
    );
    running.stop().await;
}

#[tokio::test]
async fn there_is_room_for_so_many() {
    for layer in [
        Layer { group_sessions_max: Some(1), ..Layer::default() },
        Layer { connections_max: Some(1), ..Layer::default() },
    ] {
        let running = start(layer).await;
        let world = World::new(1);
        let (mut first, _) = Phone::open(&running.url(), &world, &world.founder).await;
        assert!(first.push(1, &world.roll).await.is_some());
        let mut second = Phone::prove(&running.url(), &world, &world.founder).await;
        assert_eq!(second.goodbye().await, Some(Refusal::RATE));
        drop(first);
        assert!(running.stop().await);
    }
}

#[tokio::test]
async fn pages_for_people_and_monitors() {
    let running = start(Layer::default()).await;
    assert!(get(&running, "/").await.contains(&running.relay().to_string()));
    let metrics = get(&running, "/metrics").await;
    for name in
        ["lamppost_sessions 0", "lamppost_groups 0", "lamppost_store_bytes", "lamppost_commit_seconds"]
    {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    assert!(get(&running, "/nowhere").await.starts_with("HTTP/1.1 404"));
    assert!(running.stop().await);
}
