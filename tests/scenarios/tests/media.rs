//! A photo through a link that is cut again and again, over real sockets and real stores.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lamppost_core::base::limits;
use lamppost_core::replica::testing::{draft, photo};
use lamppost_core::replica::{
    Connection, Delivery, Error, Filter, MediumState, Transport, TransportError, WebSocketTransport,
};
use lamppost_core::storage::{Options, SledStore, Store as _, StoreKind, Table};
use lamppost_core::sync::Frame;
use lamppost_core::watch::Kind;
use lamppost_scenarios::town::{self, pair, relay, sync};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

const MARKER: &[u8] = b"PLANTED at 40.7484 N, 73.9857 W";
const CUTS: usize = 5;
/// Chunks that pass before the link is cut.
const CHUNKS_PER_LINK: usize = 9;

/// A network that is cut when so many chunks went through one connection, so many times.
#[derive(Default)]
struct Cutting {
    cuts: AtomicUsize,
    chunks: AtomicUsize,
}

struct Line {
    inner: Box<dyn Connection>,
    network: Arc<Cutting>,
    passed: usize,
}

struct Network(Arc<Cutting>);

impl Transport for Network {
    fn connect<'a>(&'a self, url: &'a str) -> Boxed<'a, Result<Box<dyn Connection>, TransportError>> {
        Box::pin(async move {
            let inner = WebSocketTransport::default().connect(url).await?;
            let line: Box<dyn Connection> = Box::new(Line { inner, network: Arc::clone(&self.0), passed: 0 });
            Ok(line)
        })
    }
}

impl Line {
    /// Counts a chunk that is about to pass; an error where the link is cut.
    fn pass(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let is_chunk = match Frame::from_bytes(message) {
            Ok(Frame::PutChunk(_)) => true,
            Ok(Frame::Chunk(chunk)) => chunk.ciphertext.is_some(),
            _ => false,
        };
        if !is_chunk {
            return Ok(());
        }
        if self.passed == CHUNKS_PER_LINK && self.network.cuts.load(Ordering::Relaxed) < CUTS {
            self.network.cuts.fetch_add(1, Ordering::Relaxed);
            return Err(TransportError::Network("cut".to_owned()));
        }
        self.passed += 1;
        self.network.chunks.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Connection for Line {
    fn send(&mut self, message: Vec<u8>) -> Boxed<'_, Result<(), TransportError>> {
        Box::pin(async move {
            self.pass(&message)?;
            self.inner.send(message).await
        })
    }

    fn receive(&mut self) -> Boxed<'_, Result<Option<Vec<u8>>, TransportError>> {
        Box::pin(async move {
            let message = self.inner.receive().await?;
            self.pass(message.as_deref().unwrap_or_default())?;
            Ok(message)
        })
    }
}

/// Everything in the files of a directory.
fn files(directory: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for child in std::fs::read_dir(directory).unwrap() {
        let path = child.unwrap().path();
        if path.is_dir() {
            bytes.extend(files(&path));
        } else {
            bytes.extend(std::fs::read(path).unwrap());
        }
    }
    bytes
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_arrives_whole_through_a_link_that_is_cut_five_times() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let network = Arc::new(Cutting::default());
    let (coordinator, volunteer) = pair(root.path(), Arc::new(Network(Arc::clone(&network)))).await;
    sync(&coordinator, &relay).await.unwrap();
    let camera = photo(1_050, 1_000, MARKER);
    assert!((2_500_000..4_000_000).contains(&camera.len()), "{} bytes", camera.len());

    let id = volunteer.new_draft(Kind::OBSERVATION).await.unwrap();
    let shown = volunteer.attach(id, camera.clone(), "The van, from behind".into()).await.unwrap();
    volunteer.record_from_draft(id, draft("A van stood across two bays")).await.unwrap();
    let clean = volunteer.media(id, shown.clone()).await.unwrap();
    let delivery = async || volunteer.list(Filter::default()).await.unwrap()[0].1;
    for _ in 0..CUTS {
        assert!(matches!(sync(&volunteer, &relay).await, Err(Error::Network(_))));
        assert_eq!(delivery().await, Delivery::OnPhone, "the words are there, and the photo is not");
    }
    sync(&volunteer, &relay).await.unwrap();
    assert_eq!(delivery().await, Delivery::AtRelay);
    // Both files, padded; again only what was on its way at a cut.
    let least = (clean.len() + camera.len()).div_ceil(limits::CHUNK_BYTES);
    let sent = network.chunks.load(Ordering::Relaxed);
    let most =
        (clean.len() + camera.len()) * 9 / 8 / limits::CHUNK_BYTES + 2 + CUTS * limits::CHUNKS_IN_FLIGHT_MAX;
    assert!((least..=most).contains(&sent), "{sent} chunks sent, {least} to {most} expected");

    sync(&coordinator, &relay).await.unwrap();
    assert_eq!(coordinator.media(id, shown.clone()).await.unwrap(), clean);
    let media = coordinator.get(id).await.unwrap().media;
    assert_eq!((media[1].is_original, media[1].state), (true, MediumState::Missing));
    coordinator.fetch_media(id).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    assert_eq!(coordinator.media(id, media[1].id.clone()).await.unwrap(), camera);

    let group = coordinator.info().await.unwrap().group;
    relay.stop().await;
    let disk = files(&root.path().join("relay"));
    assert!(holds(&disk, group.as_bytes()), "control: the search finds what is there");
    assert!(disk.len() > least * limits::CHUNK_BYTES, "control: the chunks are there");
    let middle = clean.len() / 2;
    let planted: [&[u8]; 4] =
        [MARKER, b"The van, from behind", &clean[middle..middle + 16], &camera[camera.len() / 2..][..16]];
    for plain in planted {
        assert!(!holds(&disk, plain), "{}", plain.escape_ascii());
    }
    // Shredded, it is gone from the relay and from both phones, files and all.
    let relay = town::relay(&root.path().join("relay")).await;
    coordinator.shred(id).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    sync(&volunteer, &relay).await.unwrap();
    relay.stop().await;
    for phone in [&coordinator, &volunteer] {
        assert!(matches!(phone.media(id, shown.clone()).await, Err(Error::NotHere(_))));
    }
    drop((coordinator, volunteer));
    for (name, kind, chunks) in [
        ("relay", StoreKind::Relay, 6),
        ("coordinator", StoreKind::Phone, 30),
        ("volunteer", StoreKind::Phone, 30),
    ] {
        let store = SledStore::open(root.path().join(name), Options::new(kind)).unwrap();
        assert_eq!(store.scan(Table(chunks), &[], None, usize::MAX).unwrap(), [], "{name}");
    }
}
