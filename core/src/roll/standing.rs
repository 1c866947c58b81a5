//! The removals that stand, and what they void (PROTOCOL.md §4.4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::history::{Aim, At, History, Majority, Node, Order, Power, Removes};
use super::past::Past;
use crate::base::{DeviceId, MemberId};

/// The removals that stand over a part of the history, and where to look for those that take something out: most entries
/// are about somebody whom nobody ever removed.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    all: BTreeSet<At>,
    /// Removals that were weighed and do not stand, and what keeps each from it.
    fallen: BTreeMap<At, At>,
    recoveries: Vec<At>,
    by_device: BTreeMap<DeviceId, Vec<At>>,
    by_member: BTreeMap<MemberId, Vec<At>>,
}

/// A part of the history, and the removals that stand over it. They follow from its removals and appointments, and most
/// entries were written in knowledge of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Weighed {
    within: Past,
    standing: Arc<Standing>,
}

/// The verdicts on entries under one [`Standing`]: what voids each, or nothing.
pub(super) type Verdicts = BTreeMap<At, Option<At>>;

/// When a removal is weighed: at the place of an appointment in the order, and there in one of three turns. Removals whose
/// level is never reached come last.
type Turn = (Order, At, u8);

impl Weighed {
    /// The removals that stand over what is `within`, weighed anew if that has other removals or appointments.
    pub fn update(&mut self, history: &History, within: &Past) -> Arc<Standing> {
        if !within.weighs_like(&self.within) {
            *self = Self { within: within.clone(), standing: Arc::new(Standing::weigh(history, within)) };
        }
        Arc::clone(&self.standing)
    }
}

impl Standing {
    fn weigh(history: &History, within: &Past) -> Self {
        let removals: Vec<At> =
            history.removals.iter().copied().filter(|at| history.is_in(within, *at)).collect();
        let mut turns: BTreeMap<Turn, Vec<At>> = BTreeMap::new();
        for removal in &removals {
            let node = history.node(*removal);
            for level in levels(node) {
                let turn = (history.node(*level).order(), *level, turn(node));
                turns.entry(turn).or_default().push(*removal);
            }
        }
        let mut standing = Self::default();
        let mut weighed: BTreeSet<At> = BTreeSet::new();
        for ((_, level, _), mut batch) in turns {
            if standing.voided_by(history, level).is_some() {
                continue;
            }
            batch.retain(|removal| weighed.insert(*removal));
            standing.settle(history, batch, within);
        }
        let rest = removals.iter().copied().filter(|removal| !weighed.contains(removal));
        standing.settle(history, rest.collect(), within);
        standing
    }

    /// Adds those removals of one turn that stand. Of two that void each other both stand; one that another voids, and that does
    /// not void the other in turn, falls.
    fn settle(&mut self, history: &History, mut batch: Vec<At>, within: &Past) {
        let against: Vec<Option<At>> =
            batch.iter().map(|removal| self.against(history, *removal, within)).collect();
        let fallen: BTreeMap<At, At> =
            batch.iter().zip(against).filter_map(|(removal, by)| Some((*removal, by?))).collect();
        batch.retain(|removal| !fallen.contains_key(removal));
        self.fallen.extend(fallen);
        // Those of one turn are written by, or are about, the member of one level: whom an author outranks has no part in it.
        let strikes = |removal: At| {
            matches!(history.node(removal).power, Power::Removes(Removes::Own | Removes::ByMajority(_)))
        };
        let voids = |by: At, removal: At| {
            by != removal
                && strikes(by)
                && self.voided(history, removal, Some(by), &mut Verdicts::new()).is_some()
        };
        let attackers: BTreeMap<At, Vec<At>> = batch
            .iter()
            .map(|removal| {
                let by = batch.iter().copied();
                (*removal, by.filter(|by| voids(*by, *removal) && !voids(*removal, *by)).collect())
            })
            .collect();
        let (mut stands, mut falls) = (BTreeSet::new(), BTreeMap::new());
        let mut open = batch;
        while !open.is_empty() {
            let before = open.len();
            open.retain(|removal| {
                let by = attackers.get(removal).map_or(&[][..], Vec::as_slice);
                if let Some(by) = by.iter().find(|by| stands.contains(*by)) {
                    falls.insert(*removal, *by);
                    return false;
                }
                if by.iter().all(|by| falls.contains_key(by)) {
                    stands.insert(*removal);
                    return false;
                }
                true
            });
            if open.len() == before {
                stands.extend(open.drain(..));
            }
        }
        self.fallen.extend(falls);
        stands.into_iter().for_each(|removal| self.add(history, removal));
    }

    /// What keeps a removal from standing, of what stands so far.
    fn against(&self, history: &History, removal: At, within: &Past) -> Option<At> {
        if let Some(by) = self.voided_by(history, removal) {
            return Some(by);
        }
        let node = history.node(removal);
        if node.power == Power::Removes(Removes::ByRank) && !self.reaches(history, removal, within) {
            return Some(removal);
        }
        let Some(Aim::Recovery(member, _)) = node.aim() else { return None };
        self.recoveries.iter().copied().find(|other| {
            history.node(*other).about == Some(member)
                && history.are_concurrent(*other, removal)
                && is_above(history, *other, removal)
        })
    }

    /// Whether the author of a removal by rank outranks its target by every appointment that the removal did not know of
    /// either: who was made a coordinator meanwhile is not taken out by an equal who names an older state.
    fn reaches(&self, history: &History, removal: At, within: &Past) -> bool {
        let node = history.node(removal);
        let admissions = node.about.and_then(|member| history.admissions_by_member.get(&member));
        let concurrent = admissions.into_iter().flatten().copied().filter(|at| {
            history.is_in(within, *at) && history.node(*at).appoints && history.are_concurrent(*at, removal)
        });
        let live: Vec<At> =
            node.grounds.roles.iter().copied().filter(|at| self.voided_by(history, *at).is_none()).collect();
        concurrent
            .filter(|at| self.voided_by(history, *at).is_none())
            .all(|appointment| live.iter().any(|by| history.knows(appointment, *by)))
    }

    fn add(&mut self, history: &History, removal: At) {
        self.all.insert(removal);
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

    pub fn all(&self) -> impl Iterator<Item = At> {
        self.all.iter().copied()
    }

    pub fn recoveries(&self) -> &[At] {
        &self.recoveries
    }

    /// The removals and recoveries of a member.
    pub fn of_member(&self, member: MemberId) -> impl Iterator<Item = At> {
        self.by_member.get(&member).into_iter().flatten().copied()
    }

    /// The removals of a device alone.
    pub fn of_device(&self, device: DeviceId) -> impl Iterator<Item = At> {
        self.by_device.get(&device).into_iter().flatten().copied()
    }

    /// Those that take out a device of this member.
    pub fn taking_out(&self, device: DeviceId, of: Option<MemberId>) -> impl Iterator<Item = At> {
        let with_its_member = of.and_then(|member| self.by_member.get(&member));
        self.of_device(device).chain(with_its_member.into_iter().flatten().copied())
    }

    /// The removal that takes an entry's effect; none if it keeps it.
    pub fn voided_by(&self, history: &History, entry: At) -> Option<At> {
        self.voided(history, entry, None, &mut Verdicts::new())
    }

    /// As [`Standing::voided_by`], if `also` stood, too. `verdicts` are those of the same removals.
    pub fn voided(
        &self,
        history: &History,
        entry: At,
        also: Option<At>,
        verdicts: &mut Verdicts,
    ) -> Option<At> {
        if self.all.is_empty() && self.fallen.is_empty() && also.is_none() {
            return None;
        }
        let mut open = vec![entry];
        while let Some(at) = open.last().copied() {
            if verdicts.contains_key(&at) {
                open.pop();
                continue;
            }
            match self.verdict(history, at, also, verdicts) {
                Ok(verdict) => {
                    verdicts.insert(at, verdict);
                    open.pop();
                }
                Err(unknown) => open.push(unknown),
            }
        }
        verdicts.get(&entry).copied().flatten()
    }

    /// What voids an entry; or the entry whose verdict has to be known first.
    fn verdict(
        &self,
        history: &History,
        at: At,
        also: Option<At>,
        verdicts: &Verdicts,
    ) -> Result<Option<At>, At> {
        // What stands was weighed: nothing that was weighed after it takes it back.
        if self.all.contains(&at) {
            return Ok(None);
        }
        if let Some(by) = self.fallen.get(&at) {
            return Ok(Some(*by));
        }
        let node = history.node(at);
        let mut removals = self.taking_out(node.author, node.member);
        if let Some(by) = removals.find(|removal| history.are_concurrent(*removal, at)) {
            return Ok(Some(by));
        }
        if let Some(by) = also.filter(|by| takes_out(history, *by, node) && history.are_concurrent(*by, at)) {
            return Ok(Some(by));
        }
        for grounds in node.grounds.lists() {
            if let Some(by) = all_void(grounds, verdicts)? {
                return Ok(Some(by));
            }
        }
        let Power::Removes(Removes::ByMajority(Majority { asks, needed, .. })) = &node.power else {
            return Ok(None);
        };
        let (mut left, mut cause) = (1, None);
        for asked in asks {
            match all_void(asked, verdicts)? {
                None => left += 1,
                by => cause = cause.or(by),
            }
        }
        Ok(cause.filter(|_| left < *needed))
    }
}

/// What voids the first of these entries, if each is void.
fn all_void(entries: &[At], verdicts: &Verdicts) -> Result<Option<At>, At> {
    let mut first = None;
    for at in entries {
        match verdicts.get(at) {
            None => return Err(*at),
            Some(None) => return Ok(None),
            Some(by) => first = first.or(*by),
        }
    }
    Ok(first)
}

fn takes_out(history: &History, removal: At, node: &Node) -> bool {
    match history.node(removal).aim() {
        Some(Aim::Device(device)) => device == node.author,
        Some(Aim::Member(member) | Aim::Recovery(member, _)) => node.member == Some(member),
        None => false,
    }
}

/// The appointments at whose place a removal is weighed: the author's by which they may, or the target's of a majority.
fn levels(node: &Node) -> &[At] {
    match &node.power {
        Power::Removes(Removes::ByMajority(majority)) => &majority.levels,
        Power::Removes(Removes::Own | Removes::ByRank) if node.governs => &node.grounds.roles,
        Power::Removes(_) | Power::Nothing | Power::Acts | Power::Proposes => &[],
    }
}

/// At one level: first the member's own removals of their devices, so that a stolen one decides nothing; then what a majority
/// decides about the member; then everything that the member does.
fn turn(node: &Node) -> u8 {
    match (&node.power, node.aim()) {
        (Power::Removes(Removes::Own), Some(Aim::Device(_))) => 0,
        (Power::Removes(Removes::ByMajority(_)), _) => 1,
        _ => 2,
    }
}

/// Whether the level of one removal outranks that of the other.
fn is_above(history: &History, one: At, other: At) -> bool {
    let lower = levels(history.node(other));
    levels(history.node(one)).iter().any(|level| lower.iter().all(|below| history.knows(*below, *level)))
}
