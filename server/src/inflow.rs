//! What a connection has sent of a message that is not whole yet: bounded in bytes, for each connection and for all.
//!
//! The WebSocket library buffers a message until it is whole. Here its bytes are counted as they are read: few before the
//! other side has proven who it is, and a large message needs room out of a pool, or stays in the socket.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::relay::lock;

/// Bytes of an unfinished message that need no room out of the pool. Nobody unproven sends more: a request, and the
/// answer to the challenge.
const SMALL_BYTES: u64 = 16 * 1_024;

/// Messages larger than that which may be on their way at once: 48 MiB of the largest.
const LARGE_MESSAGES_MAX: usize = 96;

/// … of them, those of one group.
const GROUP_LARGE_MESSAGES_MAX: usize = 24;

/// Room for large messages of all groups.
#[derive(Clone)]
pub struct Pool(Arc<Semaphore>);

impl Default for Pool {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_MESSAGES_MAX)))
    }
}

/// Room for large messages of one group, or of all strangers.
#[derive(Clone)]
pub struct GroupPool(Arc<Semaphore>);

impl Default for GroupPool {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(GROUP_LARGE_MESSAGES_MAX)))
    }
}

/// Room for one large message. Dropping it gives it back.
pub struct Room {
    _of_group: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

type Waiting = Pin<Box<dyn Future<Output = Option<Room>> + Send>>;

/// Counts what came over a connection and is no whole message yet.
pub struct Meter {
    begun: Instant,
    pending: AtomicU64,
    /// When the first byte of it came, in milliseconds since `begun`.
    since_ms: AtomicU64,
    proven: Mutex<Option<(GroupPool, Pool)>>,
    room: Mutex<Option<Room>>,
}

impl Meter {
    /// A meter that measures time from `begun`.
    pub fn new(begun: Instant) -> Self {
        let (pending, since_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { begun, pending, since_ms, proven: Mutex::new(None), room: Mutex::new(None) }
    }

    /// Lets larger messages come, now that the other side has proven who it is.
    pub fn proven(&self, of_group: GroupPool, of_all: Pool) {
        *lock(&self.proven) = Some((of_group, of_all));
    }

    /// Notes that a whole message was taken. Returns the room that it takes up until it is dealt with.
    pub fn took_message(&self) -> Option<Room> {
        self.pending.store(0, Ordering::Relaxed);
        lock(&self.room).take()
    }

    /// Notes that a ping or pong of so many bytes was taken.
    pub fn took_control(&self, bytes: usize) {
        // Two bytes of header and four of the mask.
        let taken = bytes as u64 + 6;
        let _ = self.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pending| {
            Some(pending.saturating_sub(taken))
        });
    }

    /// For how many milliseconds a message has been on its way; none if there is none.
    pub fn unfinished_ms(&self) -> Option<u64> {
        let is_pending = self.pending.load(Ordering::Relaxed) > 0;
        is_pending.then(|| self.now_ms().saturating_sub(self.since_ms.load(Ordering::Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn read(&self, bytes: usize) {
        if self.pending.fetch_add(bytes as u64, Ordering::Relaxed) == 0 {
            self.since_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }
}

/// A connection whose reading is metered.
pub struct Metered {
    stream: TcpStream,
    meter: Arc<Meter>,
    waiting: Option<Waiting>,
}

impl Metered {
    /// Meters a connection.
    pub fn new(stream: TcpStream, meter: Arc<Meter>) -> Self {
        Self { stream, meter, waiting: None }
    }

    /// Waits for room, if what is pending needs any.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let pending = self.meter.pending.load(Ordering::Relaxed);
        if pending < SMALL_BYTES || lock(&self.meter.room).is_some() {
            self.waiting = None;
            return Poll::Ready(Ok(()));
        }
        let Some((of_group, of_all)) = lock(&self.meter.proven).clone() else {
            let why = "more than anybody may send before proving who it is";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
        };
        let waiting = self.waiting.get_or_insert_with(|| {
            Box::pin(async move {
                let of_group = of_group.0.acquire_owned().await.ok()?;
                let of_all = of_all.0.acquire_owned().await.ok()?;
                Some(Room { _of_group: of_group, _of_all: of_all })
            })
        });
        let room = ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        *lock(&self.meter.room) = room;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_room(context))?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.meter.read(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
