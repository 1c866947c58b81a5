//! The floods themselves, on loopback, by one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lamppost_core::base::GroupId;
use lamppost_core::entry::Wire;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::Push;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_tungstenite::MaybeTlsStream;

use super::village::Village;
use super::{Phone, address};
use crate::fleet::Failure;

/// Set when a flood is to end.
pub type Stop = Arc<AtomicBool>;

/// Sessions that push at once.
const PUSHERS: usize = 8;

/// Connections that only are there.
const CONNECTIONS: usize = 1_000;

/// Sessions that send half a message, or read nothing.
const HOLDERS: usize = 200;

/// Entries of a frame of a flood.
const FRAME_ENTRIES: usize = 400;

/// What is done to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Nothing.
    Quiet,
    /// Strangers push words into the honest group.
    StrangersWords,
    /// Strangers push operations in the founder's name.
    ForgedOperations,
    /// Others push good words into groups of their own.
    OtherGroups,
    /// Connections that say nothing.
    Mute,
    /// Sessions for groups that do not exist.
    UnknownGroups,
    /// Sessions that send half a message.
    HalfMessages,
    /// Sessions that ask and do not read.
    NeverReading,
}

/// A flood under way.
pub struct Flood {
    tasks: Vec<JoinHandle<()>>,
    connections: Arc<AtomicUsize>,
}

impl Flood {
    /// Ends it. Returns how many connections it had at most.
    pub async fn end(self) -> usize {
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        self.connections.load(Ordering::Relaxed)
    }
}

impl Attack {
    /// All of them; the quiet one first.
    pub const ALL: [Self; 8] = [
        Self::Quiet,
        Self::StrangersWords,
        Self::ForgedOperations,
        Self::OtherGroups,
        Self::Mute,
        Self::UnknownGroups,
        Self::HalfMessages,
        Self::NeverReading,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::StrangersWords => "8 strangers push words into the group",
            Self::ForgedOperations => "8 strangers forge operations, with a new key each time",
            Self::OtherGroups => "8 other groups push good words",
            Self::Mute => "1,000 mute connections, opened anew when they end",
            Self::UnknownGroups => "1,000 sessions for unknown groups, opened anew",
            Self::HalfMessages => "200 sessions send half a message of 500 kB",
            Self::NeverReading => "200 sessions ask and never read",
        }
    }

    /// Begins the flood.
    pub async fn start(self, url: String, honest: Village, stop: Stop) -> Result<Flood, Failure> {
        let connections = Arc::new(AtomicUsize::new(0));
        let count = match self {
            Self::Quiet => 0,
            Self::StrangersWords | Self::ForgedOperations | Self::OtherGroups => PUSHERS,
            Self::Mute | Self::UnknownGroups => CONNECTIONS,
            Self::HalfMessages | Self::NeverReading => HOLDERS,
        };
        let mut tasks = Vec::with_capacity(count);
        for number in 0..count {
            let attacker = Attacker {
                url: url.clone(),
                honest: honest.clone(),
                own: Village::new(100 + number as u16),
                stop: Arc::clone(&stop),
                connections: Arc::clone(&connections),
            };
            tasks.push(tokio::spawn(attacker.run(self)));
        }
        Ok(Flood { tasks, connections })
    }
}

struct Attacker {
    url: String,
    honest: Village,
    own: Village,
    stop: Stop,
    connections: Arc<AtomicUsize>,
}

impl Attacker {
    /// Attacks, and begins anew whenever the relay has ended it.
    async fn run(mut self, attack: Attack) {
        let frames = self.frames(attack);
        let mut is_first = true;
        while !self.stop.load(Ordering::Relaxed) {
            if std::mem::take(&mut is_first) {
                self.connections.fetch_add(1, Ordering::Relaxed);
            }
            let _ = self.once(attack, &frames).await;
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn frames(&mut self, attack: Attack) -> Vec<Vec<Wire>> {
        match attack {
            Attack::StrangersWords => {
                let mut stranger = self.own.clone();
                stranger.id = self.honest.id;
                stranger.founding = self.honest.founding.clone();
                vec![stranger.words(FRAME_ENTRIES, 100)]
            }
            Attack::ForgedOperations => vec![vec![self.honest.forged(&self.own.key); FRAME_ENTRIES]],
            Attack::OtherGroups => {
                let founding = vec![self.own.founding.clone()];
                std::iter::once(founding).chain((0..60).map(|_| self.own.words(FRAME_ENTRIES, 100))).collect()
            }
            _ => Vec::new(),
        }
    }

    async fn once(&mut self, attack: Attack, frames: &[Vec<Wire>]) -> Result<(), Failure> {
        match attack {
            Attack::Quiet => sleep(Duration::from_secs(1)).await,
            Attack::StrangersWords | Attack::ForgedOperations => {
                let mut phone = Phone::open_as(&self.url, self.honest.id, &self.own).await?;
                for (number, entries) in frames.iter().cycle().enumerate() {
                    let push = Push { number: number as u32, entries: entries.clone() };
                    phone.say(&Frame::Push(push)).await?;
                    phone.hear().await?;
                }
            }
            Attack::OtherGroups => {
                let mut phone = Phone::open(&self.url, &self.own).await?;
                for (number, entries) in frames.iter().enumerate() {
                    let push = Push { number: number as u32, entries: entries.clone() };
                    phone.say(&Frame::Push(push)).await?;
                    phone.hear().await?;
                }
            }
            Attack::Mute => {
                let stream = TcpStream::connect(address(&self.url)).await?;
                stream.readable().await?;
            }
            Attack::UnknownGroups => {
                let mut phone = Phone::open_as(&self.url, GroupId([9; 32]), &self.own).await?;
                while phone.hear().await.is_ok() {}
            }
            Attack::HalfMessages => {
                let mut phone = Phone::open(&self.url, &self.own).await?;
                phone.say(&Frame::Push(Push { number: 0, entries: vec![self.own.founding.clone()] })).await?;
                let mut half = vec![0x82, 0xff];
                half.extend(500_000_u64.to_be_bytes());
                half.extend(vec![0; 400_004]);
                if let MaybeTlsStream::Plain(stream) = phone.socket.get_mut() {
                    stream.write_all(&half).await?;
                }
                while phone.hear().await.is_ok() {}
            }
            Attack::NeverReading => {
                let mut phone = Phone::open(&self.url, &self.own).await?;
                phone.say(&Frame::Push(Push { number: 0, entries: vec![self.own.founding.clone()] })).await?;
                for number in 1..40 {
                    let push = Push { number, entries: self.own.words(100, 700) };
                    phone.say(&Frame::Push(push)).await?;
                    phone.say(&Frame::AskHeads).await?;
                }
                sleep(Duration::from_secs(60)).await;
            }
        }
        Ok(())
    }
}
