//! What a part of the history says: who belongs, as what, and which removals stand (PROTOCOL.md §4.4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::history::{Aim, At, Entered, History, Order, Power};
use super::operation::{EpochName, KeyUpdate, Operation};
use super::past::Past;
use super::room::Room;
use crate::base::{DeviceId, MemberId, RoleId, Template};

/// What somebody knows who has heard of certain entries and all that they follow.
pub(super) struct View<'a> {
    history: &'a History,
    template: &'a Template,
    within: &'a Past,
    standing: Arc<Standing>,
}

/// The removals that stand, and where to look for those that take something out: most entries are about somebody whom
/// nobody ever removed.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// In the order of their precedence.
    all: Vec<At>,
    recoveries: Vec<At>,
    by_device: BTreeMap<DeviceId, Vec<At>>,
    by_member: BTreeMap<MemberId, Vec<At>>,
}

/// The removals of some part of the history, and those among them that stand. The second follows from the first, and most
/// entries were written in knowledge of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Weighed {
    within: Past,
    standing: Arc<Standing>,
}

/// A member's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub role: RoleId,
    /// The admission that gives it.
    pub by: At,
}

/// A device that belongs to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Present {
    pub entered: Entered,
    /// What entered it.
    pub by: At,
}

impl<'a> View<'a> {
    /// Looks at what is `within`. `weighed` is from an earlier look, and is brought up to date.
    pub fn new(
        history: &'a History,
        template: &'a Template,
        within: &'a Past,
        weighed: &mut Weighed,
    ) -> Self {
        let mut view = Self { history, template, within, standing: Arc::clone(&weighed.standing) };
        if !within.has_removals_of(&weighed.within) {
            let mut by_precedence: Vec<At> = view.among(&history.removals).collect();
            by_precedence.sort_by_key(|at| precedence(history, *at));
            let mut standing = Standing::default();
            for removal in by_precedence {
                if !is_void(history, &standing, removal) {
                    standing.add(history, removal);
                }
            }
            view.standing = Arc::new(standing);
            *weighed = Weighed { within: within.clone(), standing: Arc::clone(&view.standing) };
        }
        view
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

    /// The removals that stand, in the order of their precedence.
    pub fn standing(&self) -> &[At] {
        &self.standing.all
    }

    /// Whether an entry has lost its effect: a removal that stands took its author out without knowing of it, or it
    /// rests on something that has lost its own.
    pub fn is_void(&self, entry: At) -> bool {
        is_void(self.history, &self.standing, entry)
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

    /// The role of a member: that of the last admission in knowledge of every removal of the member that stands.
    pub fn role(&self, member: MemberId) -> Option<Held> {
        let removals: Vec<At> = self.removals_of_member(member).collect();
        let knowing =
            self.admissions(member).filter(|at| removals.iter().all(|r| self.history.knows(*at, *r)));
        let by = knowing.max_by_key(|at| self.history.node(*at).order())?;
        let (_, role) = self.history.node(by).admits()?;
        Some(Held { role, by })
    }

    /// The removals of a member that stand.
    pub fn removals_of_member(&self, member: MemberId) -> impl Iterator<Item = At> {
        let about = self.standing.by_member.get(&member).into_iter().flatten().copied();
        about.filter(move |at| self.history.node(*at).aim() == Some(Aim::Member(member)))
    }

    /// What has entered a device and not lost its effect, with what it says of the device.
    pub fn entries(&self, device: DeviceId) -> impl Iterator<Item = Present> {
        let entries = self.history.entries_by_device.get(&device);
        let live = self.among(entries.map_or(&[], Vec::as_slice)).filter(|at| !self.is_void(*at));
        live.filter_map(move |by| {
            let entered = self.history.node(by).enters.iter().find(|entered| entered.device == device)?;
            Some(Present { entered: *entered, by })
        })
    }

    /// Whether what entered a device was written in knowledge of a removal: then the removal is not about it.
    pub fn outlives(&self, present: Present, removal: At) -> bool {
        present.by == removal || self.history.knows(present.by, removal)
    }

    /// A device that nobody has taken out since it was entered. What entered it first says whose it is.
    pub fn device(&self, device: DeviceId) -> Option<Present> {
        let stays = |present: &Present| {
            let mut removals = self.removals_of(device, Some(present.entered.member));
            removals.all(|removal| self.outlives(*present, removal))
        };
        self.entries(device).filter(stays).min_by_key(|present| self.history.node(present.by).order())
    }

    /// The removals that stand between a device and the group: of it or its member, unknown to what entered it, or of
    /// somebody on whose word its entering or its member's admission rests.
    pub fn against(&self, device: DeviceId) -> impl Iterator<Item = At> {
        let entries = self.history.entries_by_device.get(&device).into_iter().flatten().copied();
        entries.filter(|at| self.holds(*at)).flat_map(move |by| {
            let entered = self.history.node(by).enters.iter().find(|entered| entered.device == device);
            let about = entered.into_iter().flat_map(move |entered| {
                let present = Present { entered: *entered, by };
                let removals = self.removals_of(device, Some(entered.member));
                let admissions = self.history.admissions_by_member.get(&entered.member);
                let admissions = self.among(admissions.map_or(&[], Vec::as_slice));
                removals
                    .filter(move |removal| !self.outlives(present, *removal))
                    .chain(admissions.filter_map(|at| voided_by(self.history, &self.standing, at)))
            });
            about.chain(voided_by(self.history, &self.standing, by))
        })
    }

    /// Whether a device was entered, and was taken out.
    pub fn is_out(&self, device: DeviceId) -> bool {
        self.device(device).is_none() && self.entries(device).next().is_some()
    }

    /// A device that belongs: it is entered, and its member has a role.
    pub fn belongs(&self, device: DeviceId) -> Option<(Present, Held)> {
        let present = self.device(device)?;
        Some((present, self.role(present.entered.member)?))
    }

    /// Whose a certificate's device is: the member whose key signed it. None for a key that a recovery replaced.
    pub fn owner(&self, key: MemberId) -> Option<MemberId> {
        let recoveries =
            self.standing.recoveries.iter().filter_map(|at| match self.history.node(*at).aim() {
                Some(Aim::Recovery(member, key)) => Some((self.history.node(*at).order(), member, key)),
                Some(Aim::Member(_) | Aim::Device(_)) | None => None,
            });
        let mut newest: BTreeMap<MemberId, (Order, MemberId)> = BTreeMap::new();
        let mut replaced = false;
        for (order, member, new_key) in recoveries {
            replaced |= member == key || new_key == key;
            let held = newest.entry(member).or_insert((order, new_key));
            if held.0 < order {
                *held = (order, new_key);
            }
        }
        let owner = newest.into_iter().find(|(_, (_, newest))| *newest == key).map(|(member, _)| member);
        owner.or(Some(key).filter(|_| !replaced))
    }

    /// The keys that recoveries gave or replaced.
    pub fn recovered_keys(&self) -> BTreeSet<MemberId> {
        let aims = self.standing.recoveries.iter().filter_map(|at| self.history.node(*at).aim());
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
        self.history.admissions_by_member.keys().filter_map(|member| Some((*member, self.role(*member)?)))
    }

    /// Everybody who governs.
    pub fn governing(&self) -> impl Iterator<Item = MemberId> {
        self.members().filter(|(_, held)| self.template.governs(held.role)).map(|(member, _)| member)
    }

    /// Whom a removal or a recovery is about, if it is anybody.
    pub fn member_of(&self, aim: Aim) -> Option<MemberId> {
        match aim {
            Aim::Member(member) | Aim::Recovery(member, _) => Some(member),
            Aim::Device(device) => self.device(device).map(|present| present.entered.member),
        }
    }

    /// The other members who govern and asked for this, in removals or proposals that have not lost their effect.
    pub fn supporters(&self, aim: Aim) -> Vec<MemberId> {
        let target = self.member_of(aim);
        let asked = self.among(&self.history.removals).chain(self.among(&self.history.proposals));
        let asked = asked.filter(|at| self.history.node(*at).aim() == Some(aim) && !self.is_void(*at));
        let mut members: Vec<MemberId> = asked.filter_map(|at| self.history.node(at).member).collect();
        members.retain(|member| self.role(*member).is_some_and(|held| self.template.governs(held.role)));
        // Who left by themselves once and is back did not ask others for it.
        members.retain(|member| Some(*member) != target);
        members.sort_unstable();
        members.dedup();
        members
    }

    /// Whether an author may do this, and by what right. `enters` are the devices of the operation's certificates.
    pub fn power(
        &self,
        device: DeviceId,
        operation: &Operation,
        enters: &[Entered],
        aim: Option<Aim>,
    ) -> (Power, Vec<At>) {
        let nothing = (Power::Nothing, Vec::new());
        if let (Operation::Certify(certification), [new]) = (operation, enters) {
            // A certificate proves that its member wanted the device once. One that was taken out since has it still, and needs
            // another device's word to come back.
            let by_itself = new.device == device && !self.is_out(device);
            let author = self.device(device).filter(|author| author.entered.member == new.member);
            let only_its_own = certification.keys.grants.iter().all(|grant| grant.device == new.device);
            let Some(held) = self.role(new.member) else { return nothing };
            if !only_its_own || (author.is_none() && !by_itself) {
                return nothing;
            }
            return (Power::Acts, author.map(|author| author.by).into_iter().chain([held.by]).collect());
        }
        let Some((present, held)) = self.belongs(device) else { return nothing };
        let warrants = vec![held.by, present.by];
        let governs = self.template.governs(held.role);
        let power = match operation {
            Operation::Remove(_) | Operation::Recover(_) => match aim {
                Some(aim) => self.power_to_remove(present.entered.member, held, governs, aim),
                None => Power::Nothing,
            },
            // Who governs is taken out before they get another role: so rank cannot be got around.
            Operation::Admit(admission) => {
                let target = self.role(admission.member);
                let free = target.is_none_or(|target| !self.template.governs(target.role));
                let known = self.template.role(admission.role).is_some();
                if governs && free && known { Power::Acts } else { Power::Nothing }
            }
            // Everybody may take back their own words.
            Operation::Shred(shred)
                if governs
                    || shred.entries.iter().all(|named| {
                        let mut entered = self.entries(named.log.device);
                        entered.any(|of| of.entered.member == present.entered.member)
                    }) =>
            {
                Power::Acts
            }
            Operation::KeyUpdate(keys) if governs || self.hands_up(keys) => Power::Acts,
            // One that is not understood has no effect, and may be cited.
            Operation::Policy(_)
            | Operation::Accept(_)
            | Operation::Hold(_)
            | Operation::EndHold(_)
            | Operation::Unknown { .. }
                if governs =>
            {
                Power::Acts
            }
            Operation::Found(_)
            | Operation::KeyUpdate(_)
            | Operation::Policy(_)
            | Operation::Accept(_)
            | Operation::Hold(_)
            | Operation::Shred(_)
            | Operation::EndHold(_)
            | Operation::Certify(_)
            | Operation::Unknown { .. } => Power::Nothing,
        };
        if power == Power::Nothing { nothing } else { (power, warrants) }
    }

    /// Takes out the grants of an operation that have no effect.
    pub fn keep_effective(&self, keys: &mut KeyUpdate, author: MemberId) {
        self.history.handouts.keep_effective(keys, author, self.template, &|at| self.holds(at));
    }

    /// Whether an entry of a member fits into the room that their role gives them.
    pub fn has_room(&self, member: MemberId, bytes: u64) -> bool {
        let held = self.role(member);
        let governs = held.is_some_and(|held| self.template.governs(held.role));
        self.written(member).and(Room::of_entry(bytes)).fits_into(Room::of_member(governs))
    }

    /// What a member wrote after the admission that gives their role.
    pub fn written(&self, member: MemberId) -> Room {
        self.history.written(member, self.within, self.role(member).map(|held| held.by))
    }

    /// Whether it begins no epoch, and all that it hands out goes to those who govern and may read it.
    fn hands_up(&self, keys: &KeyUpdate) -> bool {
        keys.rotations.is_empty()
            && !keys.grants.is_empty()
            && keys.grants.iter().all(|grant| {
                let role = self.belongs(grant.device).map(|(_, held)| held.role);
                let role = role.filter(|role| self.template.governs(*role));
                let may_read =
                    |name: EpochName| role.is_some_and(|role| self.template.may_read(role, name.compartment));
                role.is_some() && keys.granted(grant).into_iter().all(may_read)
            })
    }

    fn power_to_remove(&self, author: MemberId, held: Held, governs: bool, aim: Aim) -> Power {
        let Some(target) = self.member_of(aim) else { return Power::Nothing };
        let rank = governs.then(|| self.history.node(held.by).order());
        let alone = Power::Removes { by_majority: false, rank };

        if target == author && !matches!(aim, Aim::Recovery(..)) {
            return alone;
        }
        // Who has a device left needs no recovery.
        if !governs || target == author {
            return Power::Nothing;
        }
        let Some(theirs) = self.role(target) else {
            // Who was never here, or is out already.
            return Power::Nothing;
        };
        let outranked = self.history.node(held.by).order() < self.history.node(theirs.by).order();
        if !self.template.governs(theirs.role) || outranked {
            return alone;
        }
        let mut supporters = self.supporters(aim);
        supporters.push(author);
        supporters.sort_unstable();
        supporters.dedup();
        if supporters.len() * 2 > self.governing().count() {
            return Power::Removes { by_majority: true, rank };
        }
        Power::Proposes
    }
}

impl Standing {
    fn add(&mut self, history: &History, removal: At) {
        self.all.push(removal);
        match history.node(removal).aim() {
            Some(Aim::Device(device)) => self.by_device.entry(device).or_default().push(removal),
            Some(Aim::Member(member)) => self.by_member.entry(member).or_default().push(removal),
            Some(Aim::Recovery(member, _)) => {
                self.recoveries.push(removal);
                self.by_member.entry(member).or_default().push(removal);
            }
            None => {}
        }
    }

    /// Those that take out a device of this member.
    fn taking_out(&self, device: DeviceId, of: Option<MemberId>) -> impl Iterator<Item = At> {
        let alone = self.by_device.get(&device);
        let with_its_member = of.and_then(|member| self.by_member.get(&member));
        alone.into_iter().chain(with_its_member).flatten().copied()
    }
}

fn is_void(history: &History, standing: &Standing, entry: At) -> bool {
    voided_by(history, standing, entry).is_some()
}

/// The removal that takes an entry's effect; none if it keeps it.
fn voided_by(history: &History, standing: &Standing, entry: At) -> Option<At> {
    if standing.all.is_empty() {
        return None;
    }
    let mut open = vec![entry];
    let mut seen = BTreeSet::new();
    while let Some(at) = open.pop() {
        if !seen.insert(at) {
            continue;
        }
        let node = history.node(at);
        let mut removals = standing.taking_out(node.author, node.member);
        let voiding = removals.find(|removal| history.are_concurrent(*removal, at));
        if voiding.is_some() {
            return voiding;
        }
        open.extend(&node.warrants);
    }
    None
}

/// What is weighed first when removals contradict each other: a majority's, then by the rank of the author, then in order.
fn precedence(history: &History, removal: At) -> (bool, bool, Option<Order>, Order) {
    let node = history.node(removal);
    match node.power {
        Power::Removes { by_majority, rank } => (!by_majority, rank.is_none(), rank, node.order()),
        Power::Nothing | Power::Acts | Power::Proposes => (true, true, None, node.order()),
    }
}
