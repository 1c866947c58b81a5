//! Taking somebody out, changing a role, recovering a member, and what a group agrees on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minicbor::bytes::ByteVec;

use super::JoinRequest;
use super::join::{A_JOIN_REQUEST, certificates_in};
use super::keys::{KeyPlan, ReaderDevice};
use crate::base::{CompartmentId, DeviceId, EntryHash, MemberId, RoleId, limits};
use crate::entry::{Certificate, LogId};
use crate::replica::engine::Engine;
use crate::replica::error::Error;
use crate::replica::receive::StoreLogs;
use crate::roll::operation::{Acceptance, Policy, Recovery, Removal, Watermark, Withdrawal};
use crate::roll::{Operation, Proposed, RemovalRight, State, Target};
use crate::sync::inbox::Logs as _;
use crate::watch::Invalid;

/// Numbers of what a group can agree on (PROTOCOL.md §4.2).
pub mod settings {
    /// Days after which coordinators' devices begin a new epoch; 0 or absent for never.
    pub const ROTATE_DAYS: u16 = 1;
    /// Days that a newcomer reads back; 0 or absent for without end.
    pub const HISTORY_DAYS: u16 = 2;
    /// Whether a member passes a lesson before their first report; 0 or absent for no.
    pub const LESSON_FIRST: u16 = 3;
    /// Days after which reports, their sealed parts and remarks expire that nobody holds; 0 or absent for never.
    pub const UNLINKED_DAYS: u16 = 4;
    /// Days after which releases and the liaison's answers expire; 0 or absent for never. At most
    /// [`LIAISON_DAYS_MAX`].
    pub const LIAISON_DAYS: u16 = 5;

    /// What to propose for [`UNLINKED_DAYS`].
    pub const UNLINKED_DAYS_PROPOSED: u64 = 90;
    /// Five years: what 28 CFR 23.20(h) asks of the intelligence systems of police that federal grants pay for, where what is kept for
    /// longer is reviewed before. It is taken as a measure here, whomever that binds.
    pub const LIAISON_DAYS_MAX: u64 = 1_826;
}

/// What became of the wish to take somebody out, or to recover somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is done.
    Done,
    /// This member does not outrank whom it is about: it takes more than half of the electors (PROTOCOL.md §4.3).
    Proposed {
        /// Electors who want it, with this member if they have a vote.
        supporters: usize,
        /// How many it takes.
        needed: usize,
    },
}

impl Engine {
    /// Takes a member or a device out. What they wrote and this device has seen stays; what comes later is set aside
    /// everywhere, until a coordinator accepts it. Everything they could read gets a new key.
    ///
    /// A coordinator takes out whom they outrank: those made coordinators after them, and everybody else. Anybody takes
    /// out devices of their own, or leaves.
    ///
    /// # Errors
    /// [`Error::Role`] if it is not theirs to say; [`Error::Membership`] if there is no such member or device, or nobody
    /// would be left to govern; errors of the store.
    pub fn remove(&mut self, target: Target) -> Result<Decision, Error> {
        self.fresh()?;
        let state = Arc::clone(self.state()?);
        let member = match target {
            Target::Member(member) => state.member(member).map(|_| member),
            Target::Device(device) => state.device(device).map(|(device, _)| device.member),
        };
        let unheard =
            "it does not belong to the group, as far as this device has heard: sync, and look again";
        let member = member.ok_or(Error::Membership(unheard))?;
        self.must_leave_a_coordinator(&state, target, member)?;
        let right = self.group()?.roll.right_to_remove(self.device_id(), target);
        let decision = decided(right)?;
        self.transact(|engine, batch| {
            let (marks, plan) = engine.cut(&state, target, decision, None)?;
            engine.append_with_keys(batch, plan, |keys| Operation::Remove(Removal { target, marks, keys }))
        })?;
        self.absorb_keys()?;
        self.reweigh()?;
        Ok(decision)
    }

    /// Gives a member another role. Who governs is taken out and admitted again, so that what they sign meanwhile in
    /// their old role has no effect anywhere.
    ///
    /// # Errors
    /// As [`Engine::remove`]; [`Error::Admission`] for a role that does not exist.
    pub fn change_role(&mut self, member: MemberId, role: RoleId) -> Result<(), Error> {
        self.must_govern("change a role")?;
        let state = Arc::clone(self.state()?);
        let held = state
            .member(member)
            .ok_or(Error::Membership("there is no such member here: sync, and look again"))?;
        if held.role == role {
            return Ok(());
        }
        if !state.template().governs(held.role) {
            return self.write_admission(member, role, Vec::new(), None);
        }
        let target = Target::Member(member);
        self.must_leave_a_coordinator(&state, target, member)?;
        let right = self.group()?.roll.right_to_remove(self.device_id(), target);
        if member == self.member_id() || decided(right)? != Decision::Done {
            let why = "only a coordinator who was one before them can give them another role";
            return Err(Error::Membership(why));
        }
        let certificates = self.certificates_of(&devices_of(&state, target))?;
        self.transact(|engine, batch| {
            let (marks, plan) = engine.cut(&state, target, Decision::Done, None)?;
            engine
                .append_with_keys(batch, plan, |keys| Operation::Remove(Removal { target, marks, keys }))?;
            engine.append_admission(batch, member, role, &certificates, None)
        })?;
        self.absorb_keys()?;
        self.reweigh()
    }

    /// Lets a member who lost every device and the recovery code go on: the request is from their new device, with a
    /// new key. They stay the same member with the same role; their devices so far are taken out.
    ///
    /// # Errors
    /// As [`Engine::remove`]; [`Error::Unreadable`] if the request is none; [`Error::Admission`] if its key is
    /// somebody's already.
    pub fn recover(&mut self, member: MemberId, request: &JoinRequest) -> Result<Decision, Error> {
        self.must_govern("recover a member")?;
        let state = Arc::clone(self.state()?);
        let refuse = |why: &str| Error::Admission(why.to_owned());
        let certificate = request
            .certificate(self.group()?.roll.group())
            .map_err(|e| Error::of_certificate(A_JOIN_REQUEST, e))?;
        let claims = *certificate.claims();
        let held =
            state.member(member).ok_or_else(|| refuse("there is no such member: admit them instead"))?;
        if member == self.member_id() {
            return Err(refuse("this is the member of this device: add the new one as a device of theirs"));
        }
        let known = state.devices().any(|(id, device, _)| id == claims.device || device.key == claims.member);
        if known || state.owner(claims.member) != Some(claims.member) || state.member(claims.member).is_some()
        {
            return Err(refuse("this device or its key belongs to somebody already"));
        }
        let right = self.group()?.roll.right_to_recover(self.device_id(), member, claims.member);
        let decision = decided(right)?;
        self.transact(|engine, batch| {
            let newcomer = ((claims.device, claims.agreement), held.role);
            let (marks, plan) = engine.cut(&state, Target::Member(member), decision, Some(newcomer))?;
            let certificate = ByteVec::from(certificate.as_bytes().to_vec());
            engine.append_with_keys(batch, plan, |keys| {
                Operation::Recover(Recovery { member, certificate, marks, keys })
            })
        })?;
        self.absorb_keys()?;
        self.reweigh()?;
        Ok(decision)
    }

    /// Takes a member out, and everybody whom they let in, directly or by others whom they let in: for a coordinator who
    /// turned out to be hostile. Returns what became of each, the member first.
    ///
    /// # Errors
    /// As [`Engine::remove`]. What was decided before an error stays.
    pub fn remove_with_admitted(&mut self, member: MemberId) -> Result<Vec<(MemberId, Decision)>, Error> {
        self.fresh()?;
        let all = self.group()?.roll.let_in_by(member);
        if all.contains(&self.member_id()) {
            let why = "this member was let in by them: they can be removed alone, or by somebody else";
            return Err(Error::Membership(why));
        }
        let mut decisions = Vec::new();
        for member in all {
            // A member whom only a void admission brought in is gone with whoever wrote it.
            if decisions.is_empty() || self.state()?.member(member).is_some() {
                decisions.push((member, self.remove(Target::Member(member))?));
            }
        }
        Ok(decisions)
    }

    /// Takes back what this member asked for about a member or a device: removals and recoveries that are proposed.
    ///
    /// # Errors
    /// [`Error::Role`]; [`Error::Membership`] if this member proposed nothing of the kind.
    pub fn withdraw_proposal(&mut self, about: Proposed) -> Result<(), Error> {
        self.must_govern("withdraw a proposal")?;
        let proposals = self.group()?.roll.proposed_by(self.member_id(), about);
        if proposals.is_empty() {
            return Err(Error::Membership(
                "this member proposed nothing of the kind, or took it back already",
            ));
        }
        self.transact(|engine, batch| {
            proposals.chunks(limits::HELD_MAX).try_for_each(|proposals| {
                let proposals = proposals.to_vec();
                engine.append_operation(batch, &Operation::Withdraw(Withdrawal { proposals }))
            })
        })
    }

    /// Completes what enough coordinators want, this one among them, and nobody has completed yet.
    pub(super) fn complete_proposals(&mut self) -> Result<(), Error> {
        let state = Arc::clone(self.state()?);
        let me = self.member_id();
        for proposal in state.proposals() {
            let enough = proposal.supporters.len() >= proposal.needed && proposal.supporters.contains(&me);
            if let (true, Proposed::Removal(target)) = (enough, proposal.about) {
                self.remove(target)?;
            }
        }
        Ok(())
    }

    /// Lets entries count that a removal cut off.
    ///
    /// # Errors
    /// [`Error::Role`]; [`Error::Membership`] if one of them is not here or was not cut off.
    pub fn accept(&mut self, entries: &[EntryHash]) -> Result<(), Error> {
        self.must_govern("accept what was set aside")?;
        let cut_off: BTreeSet<EntryHash> =
            self.set_aside()?.into_iter().filter(|row| row.cut_off).map(|row| row.entry).collect();
        let mut entries = entries.to_vec();
        entries.sort_unstable();
        entries.dedup();
        if entries.iter().any(|entry| !cut_off.contains(entry)) {
            let why = "one of these was accepted before, or no removal cut it off: look at what is set aside";
            return Err(Error::Membership(why));
        }
        self.transact(|engine, batch| {
            entries.chunks(limits::ACCEPTED_MAX).try_for_each(|entries| {
                let entries = entries.to_vec();
                engine.append_operation(batch, &Operation::Accept(Acceptance { entries }))
            })
        })?;
        self.reweigh()
    }

    /// Sets what the group has agreed on. See [`settings`].
    ///
    /// # Errors
    /// [`Error::Role`]; [`Error::Invalid`] if a lesson is asked for and there is none; errors of the store.
    pub fn set_policy(&mut self, setting: u16, value: u64) -> Result<(), Error> {
        self.must_govern("set what the group has agreed on")?;
        if setting == settings::LESSON_FIRST && value > 0 && !self.has_first_lesson()? {
            let remedy = "publish one with `before_reporting` first: nobody could report";
            return Err(Invalid::new("lesson", "is not there to be asked for", remedy).into());
        }
        if setting == settings::LIAISON_DAYS && value > settings::LIAISON_DAYS_MAX {
            let remedy = "choose at most 1826 days, and hold what a review finds still needed";
            return Err(Invalid::new("days", "are more than five years", remedy).into());
        }
        let policy = Operation::Policy(Policy { settings: BTreeMap::from([(setting, value)]) });
        self.transact(|engine, batch| engine.append_operation(batch, &policy))
    }

    pub(in crate::replica) fn must_govern(&mut self, what: &'static str) -> Result<(), Error> {
        self.fresh()?;
        if self.state()?.governs(self.device_id()) { Ok(()) } else { Err(Error::Role(what)) }
    }

    fn must_leave_a_coordinator(&self, state: &State, target: Target, member: MemberId) -> Result<(), Error> {
        let devices = state.devices().filter(|(_, device, _)| device.member == member).count();
        let goes = matches!(target, Target::Member(_)) || devices == 1;
        let others =
            state.members().filter(|(id, held)| *id != member && state.template().governs(held.role));
        if goes
            && state.member(member).is_some_and(|held| state.template().governs(held.role))
            && others.count() == 0
        {
            let why = "nobody would be left to govern the group: make somebody else a coordinator first";
            return Err(Error::Membership(why));
        }
        Ok(())
    }

    /// How far the logs of devices count that are taken out, and new keys for what they could read, and for what a
    /// device in their place reads in its role.
    fn cut(
        &mut self,
        state: &State,
        target: Target,
        decision: Decision,
        newcomer: Option<(ReaderDevice, RoleId)>,
    ) -> Result<(Vec<Watermark>, KeyPlan), Error> {
        let mut marks = Vec::new();
        let mut plan = KeyPlan::default();
        if decision != Decision::Done {
            return Ok((marks, plan));
        }
        let logs = StoreLogs(&*self.store);
        let (own, gone) = (self.device_id(), devices_of(state, target));
        // It takes out those that were taken out before, too: what counts of theirs is not to end with it.
        let former = state
            .devices_ever()
            .filter(|(device, member)| target == Target::Member(*member) && !gone.contains(device));
        for device in gone.iter().copied().chain(former.map(|(device, _)| device)) {
            let rows = state.template().compartments.iter().filter(|row| row.id != CompartmentId::ROLL);
            for row in rows.filter(|row| state.may_read(own, row.id)) {
                let log = LogId { compartment: row.id, device };
                marks.extend(logs.head(log)?.map(|head| Watermark { log, head }));
            }
        }
        marks.truncate(limits::WATERMARKS_MAX);
        marks.sort_unstable_by_key(|mark| mark.log);
        // Who does not govern cannot begin an epoch: a coordinator's device does when it hears of this.
        if state.governs(own) && !gone.contains(&own) {
            for row in state.template().compartments.iter().filter(|row| row.id != CompartmentId::ROLL) {
                let reads = |(_, role): &(ReaderDevice, RoleId)| state.template().may_read(*role, row.id);
                let newcomer: Vec<_> = newcomer.filter(reads).map(|(device, _)| device).into_iter().collect();
                if !newcomer.is_empty() || state.is_known_to(row.id, &gone) {
                    self.begin_epoch(&mut plan, state, row.id, &|id| !gone.contains(&id), &newcomer)?;
                }
            }
        }
        Ok((marks, plan))
    }

    /// The certificates of devices, from the roll.
    fn certificates_of(&self, devices: &BTreeSet<DeviceId>) -> Result<Vec<Certificate>, Error> {
        let mut certificates = certificates_in(self.group()?.roll.group(), &self.roll_entries()?);
        certificates.retain(|device, _| devices.contains(device));
        Ok(certificates.into_values().collect())
    }
}

fn decided(right: RemovalRight) -> Result<Decision, Error> {
    match right {
        RemovalRight::Nothing => Err(Error::Role("take out anybody else")),
        RemovalRight::Alone | RemovalRight::Majority => Ok(Decision::Done),
        RemovalRight::Proposes { supporters, needed } => Ok(Decision::Proposed { supporters, needed }),
    }
}

fn devices_of(state: &State, target: Target) -> BTreeSet<DeviceId> {
    let devices = state.devices().filter(|(id, device, _)| match target {
        Target::Member(member) => device.member == member,
        Target::Device(target) => *id == target,
    });
    devices.map(|(id, _, _)| id).collect()
}
