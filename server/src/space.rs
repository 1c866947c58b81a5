//! The space of one group, shared out among its members (PROTOCOL.md §7.1).
//!
//! Every condition here is one on sums, and holds for a sum whenever it holds for a larger one. So whatever was
//! accepted once is accepted again in any order, and a relay that lost its store gets all of it back.
//!
//! Pure: no store, no clock.

use std::collections::{BTreeMap, BTreeSet};

use lamppost_core::base::{CompartmentId, DeviceId, MemberId, cbor};
use lamppost_core::entry::{Kind, Received};
use lamppost_core::roll::{Operation, State};
use lamppost_core::sync::frame::{Refusal, Refused};

/// One member may fill this part of each part of a group's space.
const MEMBER_SHARE: u64 = 4;

/// The membership log's part of the space for entries.
const MEMBERSHIP_SHARE: u64 = 4;

/// This part of each part is kept for members who have used little of it.
const KEPT_SHARE: u64 = 8;

/// Members for whom it is kept.
const KEPT_MEMBERS: u64 = 128;

/// A member's removals may go beyond the member's share of the membership log by this part of that log's space …
const REMOVAL_SHARE: u64 = 16;

/// … and by so many bytes at least: four of the largest removals.
const REMOVAL_BYTES_MIN: u64 = 4 * lamppost_core::base::limits::BODY_BYTES_MAX as u64;

/// Pays for what nobody is known to have written.
pub const NOBODY: MemberId = MemberId([0; 32]);

/// The parts of a group's space. None can be used up by filling another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Entries of the membership log.
    Membership,
    /// All other entries.
    Entries,
    /// Chunks of files.
    Media,
}

impl Part {
    /// Every part, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Membership, Self::Entries, Self::Media];

    /// The number of the part in the store.
    pub fn number(self) -> u8 {
        match self {
            Self::Membership => 0,
            Self::Entries => 1,
            Self::Media => 2,
        }
    }

    /// The part with a number; none if there is none.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.number() == number)
    }

    /// The part that an entry takes up.
    pub fn of(entry: &Received) -> Self {
        if entry.header().compartment == CompartmentId::ROLL { Self::Membership } else { Self::Entries }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Membership => "the membership log",
            Self::Entries => "entries",
            Self::Media => "photos",
        }
    }
}

/// What the operator allows one group, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    entries: u64,
    media: u64,
}

impl Limits {
    /// Shares out the bytes of entries and of chunks that a group may keep.
    pub fn new(group_bytes_max: u64, group_media_bytes_max: u64) -> Self {
        Self { entries: group_bytes_max, media: group_media_bytes_max }
    }

    fn of(self, part: Part) -> u64 {
        match part {
            Part::Membership => self.entries / MEMBERSHIP_SHARE,
            Part::Entries => self.entries - self.entries / MEMBERSHIP_SHARE,
            Part::Media => self.media,
        }
    }
}

/// Bytes that each member has used of each part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    used: BTreeMap<(Part, MemberId), u64>,
    /// Used of each part, by all.
    sums: BTreeMap<Part, u64>,
}

impl Space {
    /// Bytes that a member has used of a part.
    pub fn used(&self, part: Part, member: MemberId) -> u64 {
        self.used.get(&(part, member)).copied().unwrap_or_default()
    }

    /// Bytes that all members have used of a part.
    pub fn sum(&self, part: Part) -> u64 {
        self.sums.get(&part).copied().unwrap_or_default()
    }

    /// Adds what a member brought.
    pub fn add(&mut self, part: Part, member: MemberId, bytes: u64) {
        let used = self.used.entry((part, member)).or_default();
        *used = used.saturating_add(bytes);
        let sum = self.sums.entry(part).or_default();
        *sum = sum.saturating_add(bytes);
    }

    /// Gives back what expired or was shredded.
    pub fn give_back(&mut self, part: Part, member: MemberId, bytes: u64) {
        let Some(used) = self.used.get_mut(&(part, member)) else { return };
        let bytes = bytes.min(*used);
        *used -= bytes;
        if let Some(sum) = self.sums.get_mut(&part) {
            *sum = sum.saturating_sub(bytes);
        }
    }

    /// Checks that there is room for `bytes` more of a member's.
    ///
    /// # Errors
    /// [`Refusal::QUOTA`], with whose space is used up.
    pub fn check(&self, limits: Limits, part: Part, member: MemberId, bytes: u64) -> Result<(), Refused> {
        let (max, used) = (limits.of(part), self.used(part, member));
        let after = used.saturating_add(bytes);
        if after > max / MEMBER_SHARE {
            let reason = format!(
                "this member has used up a member's share of the group's space for {} at this relay: shred what is not \
                 needed any more, or ask the operator for more",
                part.name()
            );
            return Err(Refused::new(Refusal::QUOTA, reason));
        }
        if self.sum(part).saturating_add(bytes) <= max - max / KEPT_SHARE {
            return Ok(());
        }
        let kept_each = max / KEPT_SHARE / KEPT_MEMBERS;
        let (kept, common) = self.halves(part, kept_each);
        let (kept_before, kept_after) = (used.min(kept_each), after.min(kept_each));
        let common_after = common + (after - kept_after) - (used - kept_before);
        let kept_sum = kept + kept_after - kept_before;
        // Who has used little pays out of what is kept for such, as long as that lasts.
        let before = common + kept.saturating_sub(max / KEPT_SHARE);
        let total = common_after + kept_sum.saturating_sub(max / KEPT_SHARE);
        if total > before && total > max - max / KEPT_SHARE {
            let reason = format!(
                "the group's space for {} at this relay is used up: shred what is not needed any more, or ask the \
                 operator for more",
                part.name()
            );
            return Err(Refused::new(Refusal::QUOTA, reason));
        }
        Ok(())
    }

    /// Checks that there is room for a removal. What others have used does not count: a removal is never refused because
    /// somebody has filled the group's space.
    ///
    /// # Errors
    /// [`Refusal::QUOTA`] if its author has used up their own share, and what is kept for their removals.
    pub fn check_removal(&self, limits: Limits, member: MemberId, bytes: u64) -> Result<(), Refused> {
        let max = limits.of(Part::Membership);
        let reserve = (max / REMOVAL_SHARE).max(REMOVAL_BYTES_MIN);
        if self.used(Part::Membership, member).saturating_add(bytes) > max / MEMBER_SHARE + reserve {
            let reason = "this member has used up their share of the membership log at this relay: ask another \
                          coordinator, or the operator for more";
            return Err(Refused::new(Refusal::QUOTA, reason));
        }
        Ok(())
    }

    /// What members have used of their first `kept_each` bytes of a part, and what they have used beyond these.
    fn halves(&self, part: Part, kept_each: u64) -> (u64, u64) {
        let first = (part, MemberId([0; 32]));
        let of_part = self.used.range(first..).take_while(|((of, _), _)| *of == part);
        let kept = of_part.map(|(_, used)| (*used).min(kept_each)).sum();
        (kept, self.sum(part).saturating_sub(kept))
    }
}

/// The member whom an entry is charged to: its author; or whoever brings it, as long as nobody knows whose the author's
/// device is.
pub fn payer(state: &State, author: DeviceId, bringer: DeviceId) -> MemberId {
    state.member_of(author).or_else(|| state.member_of(bringer)).unwrap_or(NOBODY)
}

/// Whether an entry takes a device from somebody: a removal, or a recovery.
pub fn is_removal(entry: &Received) -> bool {
    let operation = entry.body().filter(|_| {
        entry.header().compartment == CompartmentId::ROLL && entry.header().kind == Kind::OPERATION
    });
    let operation = operation.and_then(|body| cbor::decode::<Operation>(body).ok());
    matches!(operation, Some(Operation::Remove(_) | Operation::Recover(_)))
}

/// A group's space while a commit is in the making, with what the commit changes.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The space as it will be.
    pub space: Space,
    changed: BTreeSet<(Part, MemberId)>,
}

impl Account {
    /// Begins with what is durable.
    pub fn new(space: Space) -> Self {
        Self { space, changed: BTreeSet::new() }
    }

    /// Adds what a member brought.
    pub fn add(&mut self, part: Part, member: MemberId, bytes: u64) {
        self.space.add(part, member, bytes);
        self.changed.insert((part, member));
    }

    /// Gives back what expired or was shredded.
    pub fn give_back(&mut self, part: Part, member: MemberId, bytes: u64) {
        self.space.give_back(part, member, bytes);
        self.changed.insert((part, member));
    }

    /// What is to be written: part, member, and bytes used.
    pub fn changes(&self) -> impl Iterator<Item = (Part, MemberId, u64)> {
        self.changed.iter().map(|(part, member)| (*part, *member, self.space.used(*part, *member)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: Part = Part::Entries;

    fn limits() -> Limits {
        // Of entries: 786,432 in all, 196,608 for one member, 98,304 kept, 768 for each.
        Limits::new(1 << 20, 1 << 20)
    }

    fn member(n: u8) -> MemberId {
        MemberId([n; 32])
    }

    #[test]
    fn one_member_fills_a_quarter_and_no_more() {
        let mut space = Space::default();
        space.check(limits(), ENTRIES, member(1), 196_608).unwrap();
        assert!(space.check(limits(), ENTRIES, member(1), 196_609).is_err());
        space.add(ENTRIES, member(1), 196_608);
        assert!(space.check(limits(), ENTRIES, member(1), 1).is_err());
        space.check(limits(), ENTRIES, member(2), 196_608).unwrap();
        // Parts do not fill each other.
        space.check(limits(), Part::Membership, member(1), 65_536).unwrap();
        space.check(limits(), Part::Media, member(1), 262_144).unwrap();
        space.give_back(ENTRIES, member(1), 1_000);
        space.check(limits(), ENTRIES, member(1), 1_000).unwrap();
    }

    #[test]
    fn whoever_fills_it_with_friends_leaves_something_for_each() {
        let mut space = Space::default();
        for n in 1..=20 {
            for _ in 0..1_000 {
                if space.check(limits(), ENTRIES, member(n), 500).is_ok() {
                    space.add(ENTRIES, member(n), 500);
                }
            }
        }
        assert!(space.check(limits(), ENTRIES, member(1), 500).is_err());
        for n in 100..200 {
            space.check(limits(), ENTRIES, member(n), 700).unwrap();
            space.add(ENTRIES, member(n), 700);
            assert!(space.check(limits(), ENTRIES, member(n), 700).is_err());
        }
        assert!(space.sum(ENTRIES) <= 786_432);
    }

    #[test]
    fn what_was_accepted_is_accepted_in_any_order() {
        let mut accepted = Vec::new();
        let mut space = Space::default();
        let mut n: u64 = 7;
        let mut draw = |below: u64| {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (n >> 33) % below
        };
        for _ in 0..4_000 {
            let entry = (member(u8::try_from(draw(30)).unwrap()), 1 + draw(3_000));
            if space.check(limits(), ENTRIES, entry.0, entry.1).is_ok() {
                space.add(ENTRIES, entry.0, entry.1);
                accepted.push(entry);
            }
        }
        assert!(accepted.len() < 4_000, "the space ran out");
        for _ in 0..20 {
            for at in (1..accepted.len()).rev() {
                accepted.swap(at, usize::try_from(draw(at as u64 + 1)).unwrap());
            }
            let mut space = Space::default();
            for (member, bytes) in &accepted {
                space.check(limits(), ENTRIES, *member, *bytes).unwrap();
                space.add(ENTRIES, *member, *bytes);
            }
        }
    }

    #[test]
    fn a_removal_waits_for_nobody() {
        let mut space = Space::default();
        for n in 1..=200 {
            space.add(Part::Membership, member(n), 65_536);
        }
        assert!(space.check(limits(), Part::Membership, member(201), 1_000).is_err());
        space.check_removal(limits(), member(201), 262_144).unwrap();
        space.check_removal(limits(), member(1), 262_144).unwrap();
        space.add(Part::Membership, member(1), 1 << 20);
        assert!(space.check_removal(limits(), member(1), 1).is_err());
    }
}
