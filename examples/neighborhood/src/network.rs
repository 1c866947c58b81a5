//! Networks as they are: one that breaks off, one that alters what it carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lamppost_core::replica::{Connection, Transport, TransportError, WebSocketTransport};
use lamppost_core::sync::Frame;

type Boxed<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a network does to the messages it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Breaks off after so many messages; each connection lasts twice as long as the one before.
    BreaksOff(u32),
    /// Flips a bit in the middle of the first entries that the phone sends.
    AltersSent,
    /// Flips a bit in the middle of the first entries that the phone receives.
    AltersReceived,
}

/// A WebSocket over a network with a trouble of its own, until it is over.
pub struct BadNetwork {
    trouble: Trouble,
    /// How often it has done its worst.
    pub strikes: Arc<AtomicU32>,
    strikes_max: u32,
}

impl BadNetwork {
    /// A network that is troubled `strikes_max` times and good from then on.
    pub fn new(trouble: Trouble, strikes_max: u32) -> Self {
        Self { trouble, strikes: Arc::default(), strikes_max }
    }
}

impl Transport for BadNetwork {
    fn connect<'a>(&'a self, url: &'a str) -> Boxed<'a, Result<Box<dyn Connection>, TransportError>> {
        Box::pin(async move {
            let inner = WebSocketTransport::default().connect(url).await?;
            let struck = self.strikes.load(Ordering::Relaxed);
            if struck >= self.strikes_max {
                return Ok(inner);
            }
            let messages_left = match self.trouble {
                Trouble::BreaksOff(messages) => messages << struck.min(16),
                Trouble::AltersSent | Trouble::AltersReceived => u32::MAX,
            };
            let strikes = Arc::clone(&self.strikes);
            let connection: Box<dyn Connection> =
                Box::new(BadConnection { inner, trouble: Some(self.trouble), strikes, messages_left });
            Ok(connection)
        })
    }
}

struct BadConnection {
    inner: Box<dyn Connection>,
    trouble: Option<Trouble>,
    strikes: Arc<AtomicU32>,
    messages_left: u32,
}

impl BadConnection {
    fn carry(&mut self, message: &mut [u8], on: Trouble) -> Result<(), TransportError> {
        self.messages_left = self.messages_left.saturating_sub(1);
        if self.messages_left == 0 {
            self.strikes.fetch_add(1, Ordering::Relaxed);
            return Err(TransportError::Network("the network broke off".to_owned()));
        }
        if self.trouble == Some(on)
            && matches!(Frame::from_bytes(message), Ok(Frame::Push(_) | Frame::Entries(_)))
            && let Some(middle) = message.len().checked_div(2).and_then(|at| message.get_mut(at))
        {
            *middle ^= 1;
            self.trouble = None;
            self.strikes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Connection for BadConnection {
    fn send(&mut self, mut message: Vec<u8>) -> Boxed<'_, Result<(), TransportError>> {
        Box::pin(async move {
            self.carry(&mut message, Trouble::AltersSent)?;
            self.inner.send(message).await
        })
    }

    fn receive(&mut self) -> Boxed<'_, Result<Option<Vec<u8>>, TransportError>> {
        Box::pin(async move {
            let mut received = self.inner.receive().await?;
            if let Some(message) = &mut received {
                self.carry(message, Trouble::AltersReceived)?;
            }
            Ok(received)
        })
    }
}
