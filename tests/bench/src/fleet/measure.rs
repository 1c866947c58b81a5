//! Clocks, counters and sizes.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use lamppost_core::replica::{Connection, Transport, TransportError, WebSocketTransport};
use procfs::process::Process;
use serde::{Deserialize, Serialize};

use super::Failure;

type Boxed<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a span of work took in one process.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Took {
    pub wall_ms: f64,
    /// User and system time of all threads. The kernel counts it in steps of 10 ms.
    pub cpu_ms: f64,
}

/// Measures this process.
pub struct Watch {
    begun: Instant,
    cpu_ms: f64,
}

impl Watch {
    pub fn start() -> Self {
        let cpu_ms = cpu_ms(own_pid()).unwrap_or_default();
        Self { begun: Instant::now(), cpu_ms }
    }

    pub fn wall_ms(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() * 1e3
    }

    pub fn stop(&self) -> Took {
        let wall_ms = self.wall_ms();
        Took { wall_ms, cpu_ms: cpu_ms(own_pid()).unwrap_or_default() - self.cpu_ms }
    }
}

pub fn own_pid() -> u32 {
    std::process::id()
}

fn process(pid: u32) -> Result<Process, Failure> {
    Ok(Process::new(i32::try_from(pid)?)?)
}

/// User and system time since the process began.
pub fn cpu_ms(pid: u32) -> Result<f64, Failure> {
    let stat = process(pid)?.stat()?;
    Ok((stat.utime + stat.stime) as f64 * 1e3 / procfs::ticks_per_second() as f64)
}

/// Resident memory of a process: now, and at its highest.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    pub now_bytes: u64,
    pub peak_bytes: u64,
}

impl Memory {
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let status = process(pid)?.status()?;
        let bytes = |kib: Option<u64>| kib.unwrap_or_default() * 1_024;
        Ok(Self { now_bytes: bytes(status.vmrss), peak_bytes: bytes(status.vmhwm) })
    }
}

/// What a directory holds: lengths of its files, and blocks they occupy.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Disk {
    pub bytes: u64,
    pub occupied_bytes: u64,
}

impl Disk {
    pub fn of(directory: &Path) -> Result<Self, Failure> {
        let mut disk = Self::default();
        for child in std::fs::read_dir(directory)? {
            let child = child?;
            let metadata = child.metadata()?;
            let inner = if metadata.is_dir() {
                Self::of(&child.path())?
            } else {
                Self { bytes: metadata.len(), occupied_bytes: metadata.blocks() * 512 }
            };
            disk.bytes += inner.bytes;
            disk.occupied_bytes += inner.occupied_bytes;
        }
        Ok(disk)
    }
}

/// Many measurements of one thing.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    pub mean: f64,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let Some(last) = values.len().checked_sub(1) else { return Self::default() };
        let at = |share: f64| values[(last as f64 * share).round() as usize];
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Self { mean, p50: at(0.5), p99: at(0.99), max: values[last] }
    }
}

/// Bytes of messages, without what WebSocket and TCP add.
#[derive(Default)]
pub struct Wire {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Wire {
    /// Sent and received so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

/// The real network, with every message counted.
#[derive(Clone, Default)]
pub struct Counted {
    inner: WebSocketTransport,
    pub wire: Arc<Wire>,
}

impl Transport for Counted {
    fn connect<'a>(&'a self, url: &'a str) -> Boxed<'a, Result<Box<dyn Connection>, TransportError>> {
        Box::pin(async move {
            let inner = self.inner.connect(url).await?;
            let connection: Box<dyn Connection> =
                Box::new(CountedConnection { inner, wire: Arc::clone(&self.wire) });
            Ok(connection)
        })
    }
}

struct CountedConnection {
    inner: Box<dyn Connection>,
    wire: Arc<Wire>,
}

impl Connection for CountedConnection {
    fn send(&mut self, message: Vec<u8>) -> Boxed<'_, Result<(), TransportError>> {
        self.wire.sent.fetch_add(message.len() as u64, Ordering::Relaxed);
        self.inner.send(message)
    }

    fn receive(&mut self) -> Boxed<'_, Result<Option<Vec<u8>>, TransportError>> {
        Box::pin(async move {
            let message = self.inner.receive().await?;
            let bytes = message.as_ref().map_or(0, Vec::len) as u64;
            self.wire.received.fetch_add(bytes, Ordering::Relaxed);
            Ok(message)
        })
    }
}
