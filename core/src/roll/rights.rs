//! What an entry may do, by what its author knew (PROTOCOL.md §4.3), and who has a vote on whom.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Aim, At, Entered, Grounds, Majority, Power, Removes};
use super::operation::{EpochName, KeyUpdate, Operation};
use super::view::{Held, View};
use crate::base::{DeviceId, MemberId, limits};

/// What an entry may do, and what that rests on.
#[derive(Default)]
pub(super) struct Right {
    pub power: Power,
    pub grounds: Grounds,
    /// Whom a removal, a recovery or a proposal of one is about.
    pub about: Option<MemberId>,
}

/// The votes on a removal or a recovery.
pub(super) struct Tally {
    /// The electors who asked for it, with what each wrote.
    pub asks: BTreeMap<MemberId, Vec<At>>,
    /// How many electors it takes: more than half.
    pub needed: usize,
}

impl View<'_> {
    /// Whether an author may do this, and by what right. `enters` are the devices of the operation's certificates.
    pub fn power(
        &self,
        device: DeviceId,
        operation: &Operation,
        enters: &[Entered],
        aim: Option<Aim>,
    ) -> Right {
        if let (Operation::Certify(certification), [new]) = (operation, enters) {
            // A certificate proves that its member wanted the device once. One that was taken out since has it still, and needs
            // another device's word to come back.
            let by_itself = new.device == device && !self.is_out(device);
            let author = self.device(device).filter(|author| author.entered.member == new.member);
            let only_its_own = certification.keys.grants.iter().all(|grant| grant.device == new.device);
            let Some(held) = self.held(new.member) else { return Right::default() };
            if !only_its_own || (author.is_none() && !by_itself) {
                return Right::default();
            }
            let devices = author.map(|author| author.by).unwrap_or_default();
            let keys = self.recoveries_to(new.member, new.key);
            let grounds = Grounds { roles: held.by, devices, keys };
            return Right { power: Power::Acts, grounds, about: None };
        }
        let Some((present, held)) = self.belongs(device) else { return Right::default() };
        let author = present.entered.member;
        let governs = held.governs;
        let keys = self.keys_of(device, &present);
        let grounds = |roles: Vec<At>| Grounds { roles, devices: present.by.clone(), keys: keys.clone() };
        let acts = match operation {
            Operation::Remove(_) | Operation::Recover(_) => {
                let Some(aim) = aim else { return Right::default() };
                let about = self.member_of(aim);
                let (power, roles) = about.map_or((Power::Nothing, Vec::new()), |about| {
                    self.power_to_remove(author, held, aim, about)
                });
                return Right { power, grounds: grounds(roles), about };
            }
            // Who governs is taken out before they get another role: so rank cannot be got around.
            Operation::Admit(admission) => {
                let known = self.template().role(admission.role).is_some();
                governs && known && !self.governs(admission.member)
            }
            // Everybody may take back their own words.
            Operation::Shred(shred) => {
                governs
                    || shred.entries.iter().all(|named| {
                        let mut entered = self.entries(named.log.device);
                        entered.any(|of| of.entered.member == author)
                    })
            }
            Operation::KeyUpdate(keys) => governs || self.hands_up(keys),
            // One that is not understood has no effect, and may be cited.
            Operation::Policy(_)
            | Operation::Accept(_)
            | Operation::Hold(_)
            | Operation::EndHold(_)
            | Operation::Withdraw(_)
            | Operation::Unknown { .. } => governs,
            Operation::Found(_) | Operation::Certify(_) => false,
        };
        let power = if acts { Power::Acts } else { Power::Nothing };
        Right { power, grounds: grounds(held.by), about: None }
    }

    /// Whether it begins no epoch, and all that it hands out goes to those who govern and may read it.
    fn hands_up(&self, keys: &KeyUpdate) -> bool {
        keys.rotations.is_empty()
            && !keys.grants.is_empty()
            && keys.grants.iter().all(|grant| {
                let held = self.belongs(grant.device).map(|(_, held)| held).filter(|held| held.governs);
                let may_read = |name: EpochName| {
                    held.as_ref().is_some_and(|held| self.template().may_read(held.role, name.compartment))
                };
                held.is_some() && keys.granted(grant).into_iter().all(may_read)
            })
    }

    /// Rules 1 to 6 of PROTOCOL.md §4.3.
    pub fn power_to_remove(
        &self,
        author: MemberId,
        held: Held,
        aim: Aim,
        about: MemberId,
    ) -> (Power, Vec<At>) {
        if about == author {
            // Who has a device left needs no recovery.
            let leaves = !matches!(aim, Aim::Recovery(..));
            return if leaves { (Power::Removes(Removes::Own), held.by) } else { (Power::Nothing, held.by) };
        }
        // Who was never here, or is out already, has no role.
        let Some(theirs) = self.held(about).filter(|_| held.governs) else {
            return (Power::Nothing, held.by);
        };
        let levels = if theirs.governs { theirs.by } else { Vec::new() };
        let over = held.by.iter().copied().filter(|by| self.outranks(&[*by], &levels));
        let over: Vec<At> = over.collect();
        if !over.is_empty() {
            return (Power::Removes(Removes::ByRank), over);
        }
        let power = match self.votes_on(author, about, &levels) {
            false => Power::Proposes,
            true => {
                let mut tally = self.tally(aim, about, Some(author));
                let enough = tally.asks.len() >= tally.needed;
                tally.asks.remove(&author);
                let asks = tally.asks.into_values().collect();
                match enough {
                    true => {
                        let needed = tally.needed;
                        Power::Removes(Removes::ByMajority(Majority { levels, asks, needed }))
                    }
                    false => Power::Proposes,
                }
            }
        };
        (power, held.by)
    }

    /// The votes on a removal or a recovery of somebody who governs, with that of somebody who is about to ask for it.
    pub fn tally(&self, aim: Aim, about: MemberId, asking: Option<MemberId>) -> Tally {
        let levels = self.appointments(about);
        let mut asks: BTreeMap<MemberId, Vec<At>> =
            asking.into_iter().map(|member| (member, Vec::new())).collect();
        for at in self.among(&self.history.removals).chain(self.among(&self.history.proposals)) {
            let node = self.history.node(at);
            if let Some(member) = node.member
                && node.aim() == Some(aim)
                && self.is_asked(at, member, about)
            {
                asks.entry(member).or_default().push(at);
            }
        }
        asks.retain(|member, _| self.votes_on(*member, about, &levels));
        let members = self.history.admissions_by_member.keys().copied();
        let number = members.filter(|member| {
            *member == about
                || self.appointments(*member).iter().any(|at| self.is_elder(*at, about, &levels))
                || self.was_taken_out_by(*member, &asks, about, &levels)
        });
        Tally { needed: number.count() / 2 + 1, asks }
    }

    /// Whether a member asks for a removal or a recovery already.
    pub fn asks(&self, aim: Aim, member: MemberId, about: MemberId) -> bool {
        let mut asked =
            self.among(&self.history.removals).chain(self.among(&self.history.proposals)).filter(|at| {
                let node = self.history.node(*at);
                node.member == Some(member) && node.aim() == Some(aim)
            });
        asked.any(|at| self.is_asked(at, member, about))
    }

    /// Whether a removal, a recovery or a proposal of one asks for it still: its author has not withdrawn it, nobody took
    /// out or recovered its author or its target since, and its author has not decided much else meanwhile.
    pub fn is_asked(&self, ask: At, member: MemberId, about: MemberId) -> bool {
        let knows_all = |mut removals: Box<dyn Iterator<Item = At> + '_>| {
            removals.all(|removal| self.history.knows(ask, removal))
        };
        let of_device = match self.history.node(ask).aim() {
            Some(Aim::Device(device)) => Some(device),
            Some(Aim::Member(_) | Aim::Recovery(..)) | None => None,
        };
        let hash = self.history.node(ask).hash;
        let withdraws = |at: &At| {
            let node = self.history.node(*at);
            let named = match &node.operation {
                Some(Operation::Withdraw(withdrawal)) => withdrawal.proposals.binary_search(&hash).is_ok(),
                Some(_) | None => false,
            };
            named && node.member == Some(member) && !self.is_void(*at)
        };
        let decisions = self.history.decisions_by_member.get(&member).map_or(&[][..], Vec::as_slice);
        let since = self.among(decisions).filter(|at| self.history.knows(*at, ask));
        !self.is_void(ask)
            && knows_all(Box::new(self.standing.of_member(member)))
            && knows_all(Box::new(self.standing.of_member(about)))
            && of_device.is_none_or(|device| knows_all(Box::new(self.standing.of_device(device))))
            && !self.among(&self.history.withdrawals).any(|at| withdraws(&at))
            && since.take(limits::PROPOSAL_DECISIONS_MAX).count() < limits::PROPOSAL_DECISIONS_MAX
    }

    /// Whether an admission makes its member an elector against somebody: it founds the group, or was written by the target or
    /// by somebody who outranks the target.
    fn is_elder(&self, admission: At, about: MemberId, levels: &[At]) -> bool {
        let node = self.history.node(admission);
        matches!(node.operation, Some(Operation::Found(_))) || self.is_by_elder(admission, about, levels)
    }

    fn is_by_elder(&self, at: At, about: MemberId, levels: &[At]) -> bool {
        let node = self.history.node(at);
        let mut live = node.grounds.roles.iter().filter(|by| !self.is_void(**by));
        node.member == Some(about) || live.any(|by| self.outranks(&[*by], levels))
    }

    /// Whether a member has a vote on the removal of another: an elector, not the target, whom nobody else recovered.
    fn votes_on(&self, member: MemberId, about: MemberId, levels: &[At]) -> bool {
        let mut recoveries = self
            .standing
            .of_member(member)
            .filter(|at| matches!(self.history.node(*at).aim(), Some(Aim::Recovery(..))));
        member != about
            && self.appointments(member).iter().any(|at| self.is_elder(*at, about, levels))
            && recoveries.all(|at| self.is_by_elder(at, about, levels))
    }

    /// Whether a member was an elector until one of those who ask, or somebody whom one of them let in, took them out.
    fn was_taken_out_by(
        &self,
        member: MemberId,
        asks: &BTreeMap<MemberId, Vec<At>>,
        about: MemberId,
        levels: &[At],
    ) -> bool {
        let mut appointments = self.admissions(member).filter(|at| self.history.node(*at).appoints);
        appointments.any(|at| self.is_elder(at, about, levels))
            && self.removals_of_member(member).any(|at| self.is_of_line(at, asks))
    }

    /// Whether an entry was written by one of these members, or by somebody whose right comes from one of them.
    fn is_of_line(&self, entry: At, members: &BTreeMap<MemberId, Vec<At>>) -> bool {
        let mut open = vec![entry];
        let mut seen = BTreeSet::new();
        while let Some(at) = open.pop() {
            if !seen.insert(at) {
                continue;
            }
            let node = self.history.node(at);
            if node.member.is_some_and(|member| members.contains_key(&member)) {
                return true;
            }
            open.extend(node.grounds.lists().into_iter().flatten());
        }
        false
    }

    /// Whether a member has a vote on the removal or the recovery of another.
    pub fn has_vote(&self, member: MemberId, about: MemberId) -> bool {
        self.votes_on(member, about, &self.appointments(about))
    }

    /// Whether most electors could take a member out if all who have a vote wanted it, or somebody outranks them.
    pub fn is_removable(&self, about: MemberId) -> bool {
        let levels = self.appointments(about);
        let others: Vec<MemberId> = self.governing().filter(|member| *member != about).collect();
        let outranks = |member: &MemberId| self.outranks(&self.appointments(*member), &levels);
        let votes = others.iter().filter(|member| self.votes_on(**member, about, &levels)).count();
        let is_elector = |member: &&MemberId| {
            self.appointments(**member).iter().any(|at| self.is_elder(*at, about, &levels))
        };
        let electors = 1 + others.iter().filter(is_elector).count();
        others.iter().any(outranks) || votes * 2 > electors
    }
}
