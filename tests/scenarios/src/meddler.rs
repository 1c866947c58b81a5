//! A network, or a relay, that does as it likes with the frames between a phone and an honest relay.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use lamppost_core::replica::{Connection, Transport, TransportError, WebSocketTransport};
use lamppost_core::sync::Frame;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What becomes of a message: the messages that are passed on in its place.
pub type Meddle = dyn FnMut(Vec<u8>) -> Vec<Vec<u8>> + Send;

/// Passes what the relay sends through `received`, and what the phone sends through `sent`.
pub struct Meddler {
    sent: Arc<Mutex<Box<Meddle>>>,
    received: Arc<Mutex<Box<Meddle>>>,
}

impl Meddler {
    /// Meddles with bytes in both directions.
    pub fn new(
        sent: impl FnMut(Vec<u8>) -> Vec<Vec<u8>> + Send + 'static,
        received: impl FnMut(Vec<u8>) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            sent: Arc::new(Mutex::new(Box::new(sent))),
            received: Arc::new(Mutex::new(Box::new(received))),
        })
    }

    /// Meddles with the frames that the relay sends.
    pub fn with_received(mut meddle: impl FnMut(Frame) -> Vec<Frame> + Send + 'static) -> Arc<Self> {
        Self::new(
            |bytes| vec![bytes],
            move |bytes| meddle(Frame::from_bytes(&bytes).unwrap()).iter().map(Frame::to_bytes).collect(),
        )
    }
}

impl Transport for Meddler {
    fn connect<'a>(&'a self, url: &'a str) -> Boxed<'a, Result<Box<dyn Connection>, TransportError>> {
        Box::pin(async move {
            let inner = WebSocketTransport::default().connect(url).await?;
            let (sent, received) = (Arc::clone(&self.sent), Arc::clone(&self.received));
            let connection: Box<dyn Connection> =
                Box::new(Meddled { inner, sent, received, waiting: Vec::new() });
            Ok(connection)
        })
    }
}

struct Meddled {
    inner: Box<dyn Connection>,
    sent: Arc<Mutex<Box<Meddle>>>,
    received: Arc<Mutex<Box<Meddle>>>,
    waiting: Vec<Vec<u8>>,
}

impl Connection for Meddled {
    fn send(&mut self, message: Vec<u8>) -> Boxed<'_, Result<(), TransportError>> {
        Box::pin(async move {
            let messages = (self.sent.lock().unwrap())(message);
            for message in messages {
                self.inner.send(message).await?;
            }
            Ok(())
        })
    }

    fn receive(&mut self) -> Boxed<'_, Result<Option<Vec<u8>>, TransportError>> {
        Box::pin(async move {
            while self.waiting.is_empty() {
                let Some(message) = self.inner.receive().await? else { return Ok(None) };
                self.waiting = (self.received.lock().unwrap())(message);
            }
            Ok(Some(self.waiting.remove(0)))
        })
    }
}
