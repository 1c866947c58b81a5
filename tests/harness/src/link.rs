//! One connection between a phone and the relay: two machines, and what is on its way between them.

use std::collections::VecDeque;

use lamppost_core::base::DeviceId;
use lamppost_core::entry::Wire;
use lamppost_core::replica::SyncReport;
use lamppost_core::sync::Frame;
use lamppost_core::sync::session::Session as PhoneSession;
use lamppost_server::Session as RelaySession;

use crate::chance::Chance;

/// One connection.
pub struct Link {
    /// The phone's place.
    pub phone: usize,
    /// The device that it says it is.
    pub device: DeviceId,
    /// The phone's machine; none once it has hung up.
    pub phone_session: Option<PhoneSession>,
    /// The relay's machine; none once it has hung up.
    pub relay_session: Option<RelaySession>,
    /// What is on its way to the relay.
    pub up: VecDeque<Vec<u8>>,
    /// What is on its way to the phone.
    pub down: VecDeque<Vec<u8>>,
    /// What came of it so far.
    pub report: SyncReport,
    /// Whether the relay wants to hear when the group grows.
    pub follows: bool,
    /// Whether somebody in between has altered, repeated, reordered or swallowed anything.
    pub tampered: bool,
    /// Whether the relay says on it that it is another year.
    pub lies: bool,
}

/// What somebody in between does to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// Swallows it.
    Swallow,
    /// Sends it twice.
    Repeat,
    /// Sends it after the next one.
    Delay,
    /// Flips one bit anywhere.
    FlipBit,
    /// Flips a bit in the signature of the first entry, so that nothing else is wrong with it.
    SpoilSignature,
    /// Flips a bit in the body of the first entry.
    SpoilBody,
    /// Leaves out the first entry.
    LeaveOut,
}

impl Tampering {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Swallow,
        Self::Repeat,
        Self::Delay,
        Self::FlipBit,
        Self::SpoilSignature,
        Self::SpoilBody,
        Self::LeaveOut,
    ];

    /// Does it to the first message of a queue. Answers whether anything changed.
    pub fn apply(self, queue: &mut VecDeque<Vec<u8>>, chance: &mut Chance) -> bool {
        let Some(first) = queue.front_mut() else { return false };
        match self {
            Self::Swallow => drop(queue.pop_front()),
            Self::Repeat => {
                let again = first.clone();
                queue.insert(1, again);
            }
            Self::Delay => {
                if queue.len() < 2 {
                    return false;
                }
                queue.swap(0, 1);
            }
            Self::FlipBit => {
                let at = chance.index(first.len());
                first[at] ^= 1 << chance.below(8);
            }
            Self::SpoilSignature | Self::SpoilBody | Self::LeaveOut => {
                let Ok(mut frame) = Frame::from_bytes(first) else { return false };
                let entries: &mut Vec<Wire> = match &mut frame {
                    Frame::Entries(entries) => &mut entries.entries,
                    Frame::Push(push) => &mut push.entries,
                    _ => return false,
                };
                let Some(entry) = entries.first_mut() else { return false };
                match (self, &mut entry.body) {
                    // A signed entry ends with its signature.
                    (Self::SpoilSignature, _) => *last(&mut entry.signed) ^= 1,
                    (Self::SpoilBody, Some(body)) => *last(body) ^= 1,
                    (Self::LeaveOut, _) => drop(entries.remove(0)),
                    _ => return false,
                }
                *first = frame.to_bytes();
            }
        }
        true
    }
}

fn last(bytes: &mut [u8]) -> &mut u8 {
    bytes.last_mut().expect("there is a last byte because neither part of an entry is empty")
}

/// The entries that a message to the relay carries.
pub fn pushed(message: &[u8]) -> Vec<Wire> {
    match Frame::from_bytes(message) {
        Ok(Frame::Push(push)) => push.entries,
        _ => Vec::new(),
    }
}
