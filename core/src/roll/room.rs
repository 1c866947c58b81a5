//! How much of the roll each member may fill (PROTOCOL.md §4.3).

use std::collections::BTreeMap;

use super::operation::Target;
use super::past::{Past, Spot};
use crate::base::{MemberId, limits};

/// Entries of the roll, and the bytes of their signed parts and bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Entries.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Room {
    /// The room of a member since the admission that gives their role.
    pub fn of_member(governs: bool) -> Self {
        if governs {
            Self { entries: limits::GOVERNING_ENTRIES_MAX, bytes: limits::GOVERNING_BYTES_MAX }
        } else {
            Self { entries: limits::MEMBER_ENTRIES_MAX, bytes: limits::MEMBER_BYTES_MAX }
        }
    }

    /// The room of one entry.
    pub fn of_entry(bytes: u64) -> Self {
        Self { entries: 1, bytes }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            entries: self.entries.saturating_add(other.entries),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// The rest without a part.
    #[must_use]
    pub fn without(self, part: Self) -> Self {
        Self {
            entries: self.entries.saturating_sub(part.entries),
            bytes: self.bytes.saturating_sub(part.bytes),
        }
    }

    /// Whether it is no more than another.
    pub fn fits_into(self, room: Self) -> bool {
        self.entries <= room.entries && self.bytes <= room.bytes
    }
}

/// An entry of a member, and what the member had written on its chain up to it.
#[derive(Clone, Copy, Debug)]
struct Written {
    index: u32,
    room: Room,
}

/// Who has written how much, in any past.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    by_member: BTreeMap<MemberId, BTreeMap<u32, Vec<Written>>>,
}

impl Ledger {
    pub fn add(&mut self, member: MemberId, spot: Spot, bytes: u64) {
        let chain = self.by_member.entry(member).or_default().entry(spot.chain).or_default();
        let before = chain.last().map(|last| last.room).unwrap_or_default();
        chain.push(Written { index: spot.index, room: before.and(Room::of_entry(bytes)) });
    }

    /// What a member had written in a past, on all devices.
    pub fn written(&self, member: MemberId, past: &Past) -> Room {
        let chains = self.by_member.get(&member).into_iter().flatten();
        let lasts = chains.filter_map(|(chain, written)| {
            let length = past.length(*chain);
            written.get(written.partition_point(|one| one.index < length).checked_sub(1)?)
        });
        lasts.fold(Room::default(), |sum, last| sum.and(last.room))
    }
}

/// What an entry takes of its author's room.
#[derive(Clone, Copy, Debug)]
pub struct Charge {
    /// The author's member.
    pub member: MemberId,
    /// What the entry takes.
    pub takes: Room,
    /// The member's room in the role of the entry's past.
    pub room: Room,
    /// Whom the entry asks to be removed. A removal of somebody who is there is taken beyond the room.
    pub removes: Option<Target>,
}
