//! What a part of the history says: who belongs, as what, and which removals stand (PROTOCOL.md §4.4).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::history::{Aim, At, Entered, History};
use super::operation::KeyUpdate;
use super::past::Past;
use super::room::Room;
use super::standing::{Standing, Verdicts, Weighed};
use crate::base::{DeviceId, MemberId, RoleId, Template};

/// What somebody knows who has heard of certain entries and all that they follow.
pub(super) struct View<'a> {
    pub(super) history: &'a History,
    pub(super) template: &'a Template,
    within: &'a Past,
    pub(super) standing: Arc<Standing>,
    verdicts: RefCell<Verdicts>,
}

/// A member's standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub role: RoleId,
    /// Whether the role governs.
    pub governs: bool,
    /// The admissions that give it, in order: those to a role that governs if there are any, otherwise all.
    pub by: Vec<At>,
}

/// One entry that enters a device, with what it says of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entering {
    pub entered: Entered,
    pub by: At,
}

/// A device that belongs to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Present {
    pub entered: Entered,
    /// The entries that enter it for that member.
    pub by: Vec<At>,
}

impl<'a> View<'a> {
    /// Looks at what is `within`. `weighed` is from an earlier look, and is brought up to date.
    pub fn new(
        history: &'a History,
        template: &'a Template,
        within: &'a Past,
        weighed: &mut Weighed,
    ) -> Self {
        let standing = weighed.update(history, within);
        Self { history, template, within, standing, verdicts: RefCell::default() }
    }

    /// Those of `entries` that this view has heard of.
    pub fn among(&self, entries: &'a [At]) -> impl DoubleEndedIterator<Item = At> + use<'a> {
        let (history, within) = (self.history, self.within);
        entries.iter().copied().filter(|at| history.is_in(within, *at))
    }

    /// Whether it has heard of an entry.
    pub fn holds(&self, at: At) -> bool {
        self.history.is_in(self.within, at)
    }

    pub fn template(&self) -> &Template {
        self.template
    }

    /// Takes out the grants of an operation that have no effect.
    pub fn keep_effective(&self, keys: &mut KeyUpdate, author: MemberId) {
        self.history.handouts.keep_effective(keys, author, self.template, &|at| self.holds(at));
    }

    /// Whether an entry of a member fits into the room that their role gives them.
    pub fn has_room(&self, member: MemberId, bytes: u64) -> bool {
        let governs = self.governs(member);
        self.written(member).and(Room::of_entry(bytes)).fits_into(Room::of_member(governs))
    }

    /// What a member wrote after the admission that gives their role: the last of several, as nobody takes room from
    /// somebody by admitting them once more.
    pub fn written(&self, member: MemberId) -> Room {
        let last = self.held(member).and_then(|held| held.by.last().copied());
        self.history.written(member, self.within, last)
    }

    /// The removals that stand.
    pub fn standing(&self) -> impl Iterator<Item = At> {
        self.standing.all()
    }

    /// Whether an entry has lost its effect: a removal that stands took its author out without knowing of it, or
    /// everything that gave its author the right has lost its own.
    pub fn is_void(&self, entry: At) -> bool {
        self.voided_by(entry).is_some()
    }

    pub fn voided_by(&self, entry: At) -> Option<At> {
        self.standing.voided(self.history, entry, None, &mut self.verdicts.borrow_mut())
    }

    /// The removals that stand and are about this device of this member.
    pub fn removals_of(&self, device: DeviceId, of: Option<MemberId>) -> impl Iterator<Item = At> {
        self.standing.taking_out(device, of)
    }

    /// The admissions of a member that have not lost their effect.
    pub fn admissions(&self, member: MemberId) -> impl Iterator<Item = At> {
        let admissions = self.history.admissions_by_member.get(&member);
        self.among(admissions.map_or(&[], Vec::as_slice)).filter(|at| !self.is_void(*at))
    }

    /// What a member is, by those admissions that know every removal of the member that stands: the first that gives a
    /// role which governs decides; if none does, the last.
    pub fn held(&self, member: MemberId) -> Option<Held> {
        let removals: Vec<At> = self.removals_of_member(member).collect();
        let knows = |at: &At| removals.iter().all(|removal| self.history.knows(*at, *removal));
        let mut by: Vec<At> = self.admissions(member).filter(knows).collect();
        by.sort_by_key(|at| self.history.node(*at).order());
        let appointments: Vec<At> = by.iter().copied().filter(|at| self.history.node(*at).appoints).collect();
        let governs = !appointments.is_empty();
        let decides = if governs {
            by = appointments;
            self.decisive(&by, &|one, other| self.history.knows(other, one))
        } else {
            self.decisive(&by, &|one, other| self.history.knows(one, other))
        };
        Some(Held { role: decides?, governs, by })
    }

    /// The role that one of several admissions of a member gives: of those that none `precedes`, one whose author outranks the
    /// others'; of what is left, the role with the smallest number, which nobody can choose but by the role.
    fn decisive(&self, admissions: &[At], precedes: &dyn Fn(At, At) -> bool) -> Option<RoleId> {
        let first = |at: &At| !admissions.iter().any(|other| other != at && precedes(*other, *at));
        let first: Vec<At> = admissions.iter().copied().filter(first).collect();
        let roles = |at: At| self.history.node(at).grounds.roles.as_slice();
        let outranked = |at: &At| first.iter().any(|other| self.outranks(roles(*other), roles(*at)));
        let left = first.iter().filter(|at| !outranked(at));
        left.filter_map(|at| Some(self.history.node(*at).admits()?.1)).min()
    }

    /// Whether whoever holds the first appointments outranks whoever holds the others: each of these was written in
    /// knowledge of one of the first. A founder holds by none that has grounds, and is not compared by them.
    pub fn outranks(&self, ones: &[At], others: &[At]) -> bool {
        ones.iter().any(|one| others.iter().all(|other| self.history.knows(*other, *one)))
    }

    /// The role of a member.
    pub fn role(&self, member: MemberId) -> Option<RoleId> {
        self.held(member).map(|held| held.role)
    }

    /// Whether a member has a role that governs.
    pub fn governs(&self, member: MemberId) -> bool {
        self.held(member).is_some_and(|held| held.governs)
    }

    /// The admissions by which a member governs; none if they do not.
    pub fn appointments(&self, member: MemberId) -> Vec<At> {
        self.held(member).filter(|held| held.governs).map(|held| held.by).unwrap_or_default()
    }

    /// The removals of a member that stand.
    pub fn removals_of_member(&self, member: MemberId) -> impl Iterator<Item = At> {
        self.standing
            .of_member(member)
            .filter(move |at| self.history.node(*at).aim() == Some(Aim::Member(member)))
    }

    /// What has entered a device and not lost its effect, with what it says of the device.
    pub fn entries(&self, device: DeviceId) -> impl Iterator<Item = Entering> {
        let entries = self.history.entries_by_device.get(&device);
        let live = self.among(entries.map_or(&[], Vec::as_slice)).filter(|at| !self.is_void(*at));
        let entering = live.filter_map(move |by| self.entering(device, by));
        // By a key that a recovery gave, a device is entered as long as such a recovery stands.
        entering.filter(|Entering { entered, .. }| {
            entered.key == entered.member || !self.recoveries_to(entered.member, entered.key).is_empty()
        })
    }

    /// The recoveries that stand and gave a member this key; none for the member's identity.
    pub fn recoveries_to(&self, member: MemberId, key: MemberId) -> Vec<At> {
        let aim = Some(Aim::Recovery(member, key));
        let of_member = self.standing.of_member(member);
        of_member.filter(|at| key != member && self.history.node(*at).aim() == aim).collect()
    }

    /// The recoveries that stand and gave the keys by which a device that is present was entered; none if it was entered by
    /// its member's identity.
    pub fn keys_of(&self, device: DeviceId, present: &Present) -> Vec<At> {
        let member = present.entered.member;
        let entered = present.by.iter().filter_map(|by| self.entering(device, *by));
        let keys: BTreeSet<MemberId> = entered.map(|entering| entering.entered.key).collect();
        if keys.contains(&member) {
            return Vec::new();
        }
        keys.into_iter().flat_map(|key| self.recoveries_to(member, key)).collect()
    }

    fn entering(&self, device: DeviceId, by: At) -> Option<Entering> {
        let entered = self.history.node(by).enters.iter().find(|entered| entered.device == device)?;
        Some(Entering { entered: *entered, by })
    }

    /// Whether what entered a device was written in knowledge of a removal: then the removal is not about it.
    pub fn outlives(&self, entering: Entering, removal: At) -> bool {
        entering.by == removal || self.history.knows(entering.by, removal)
    }

    /// A device that nobody has taken out since it was entered. If it was entered for two members, it is that one's for whom
    /// it was entered before anybody entered it for the other, or nobody's.
    pub fn device(&self, device: DeviceId) -> Option<Present> {
        let stays = |entering: &Entering| {
            let mut removals = self.removals_of(device, Some(entering.entered.member));
            removals.all(|removal| self.outlives(*entering, removal))
        };
        let mut entries: Vec<Entering> = self.entries(device).filter(stays).collect();
        entries.sort_by_key(|entering| self.history.node(entering.by).order());
        let first = entries.first()?.entered;
        let known_to = |of: MemberId, other: &Entering| {
            other.entered.member == of
                || entries.iter().any(|one| one.entered.member == of && self.history.knows(other.by, one.by))
        };
        // Causes come first in the order: no other member can be first.
        if !entries.iter().all(|other| known_to(first.member, other)) {
            return None;
        }
        let by = entries.iter().filter(|entering| entering.entered.member == first.member);
        Some(Present { entered: first, by: by.map(|entering| entering.by).collect() })
    }

    /// The removals that stand between a device and the group: of it or its member, unknown to what entered it, or of
    /// somebody on whose word its entering or its member's admission rests.
    pub fn against(&self, device: DeviceId) -> impl Iterator<Item = At> {
        let entries = self.history.entries_by_device.get(&device).into_iter().flatten().copied();
        entries.filter(|at| self.holds(*at)).flat_map(move |by| {
            let about = self.entering(device, by).into_iter().flat_map(move |entering| {
                let member = entering.entered.member;
                let removals = self.removals_of(device, Some(member));
                let admissions = self.history.admissions_by_member.get(&member);
                let admissions = self.among(admissions.map_or(&[], Vec::as_slice));
                removals
                    .filter(move |removal| !self.outlives(entering, *removal))
                    .chain(admissions.filter_map(|at| self.voided_by(at)))
            });
            about.chain(self.voided_by(by))
        })
    }

    /// Whether a device was entered, and was taken out.
    pub fn is_out(&self, device: DeviceId) -> bool {
        self.device(device).is_none() && self.entries(device).next().is_some()
    }

    /// A device that belongs: it is entered, and its member has a role.
    pub fn belongs(&self, device: DeviceId) -> Option<(Present, Held)> {
        let present = self.device(device)?;
        let held = self.held(present.entered.member)?;
        Some((present, held))
    }

    /// Whose a certificate's device is: the member whose key signed it. None for a key that a recovery replaced, and for the
    /// keys of recoveries of one member none of which knew of the other.
    pub fn owner(&self, key: MemberId) -> Option<MemberId> {
        let mut replaced = false;
        let mut recoveries: BTreeMap<MemberId, Vec<(At, MemberId)>> = BTreeMap::new();
        for at in self.standing.recoveries() {
            if let Some(Aim::Recovery(member, new)) = self.history.node(*at).aim() {
                replaced |= member == key || new == key;
                recoveries.entry(member).or_default().push((*at, new));
            }
        }
        let newest = |keys: &[(At, MemberId)]| {
            let is_last =
                |(at, _): &&(At, MemberId)| keys.iter().all(|(other, _)| !self.history.knows(*other, *at));
            let mut last = keys.iter().filter(is_last).map(|(_, key)| *key);
            let first = last.next()?;
            last.all(|other| other == first).then_some(first)
        };
        let owner = recoveries.iter().find(|(_, keys)| newest(keys) == Some(key)).map(|(member, _)| *member);
        owner.or(Some(key).filter(|_| !replaced))
    }

    /// The keys that recoveries gave or replaced.
    pub fn recovered_keys(&self) -> BTreeSet<MemberId> {
        let aims = self.standing.recoveries().iter().filter_map(|at| self.history.node(*at).aim());
        let keys = aims.filter_map(|aim| match aim {
            Aim::Recovery(member, key) => Some([member, key]),
            Aim::Member(_) | Aim::Device(_) => None,
        });
        keys.flatten().collect()
    }

    /// How many devices of a member are present.
    pub fn device_count(&self, member: MemberId) -> usize {
        let devices = self.history.devices_by_member.get(&member);
        devices.into_iter().flatten().filter(|device| self.device(**device).is_some()).count()
    }

    /// Everybody with a role.
    pub fn members(&self) -> impl Iterator<Item = (MemberId, Held)> {
        self.history.admissions_by_member.keys().filter_map(|member| Some((*member, self.held(*member)?)))
    }

    /// Everybody who governs.
    pub fn governing(&self) -> impl Iterator<Item = MemberId> {
        self.members().filter(|(_, held)| held.governs).map(|(member, _)| member)
    }

    /// Whom a removal or a recovery is about, if it is anybody.
    pub fn member_of(&self, aim: Aim) -> Option<MemberId> {
        match aim {
            Aim::Member(member) | Aim::Recovery(member, _) => Some(member),
            Aim::Device(device) => self.device(device).map(|present| present.entered.member),
        }
    }
}
