//! The set of operations, and what follows from it (PROTOCOL.md §4.3 and §4.4).

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use super::handouts::Handouts;
use super::history::{Aim, At, Entered, Grounds, History, Node, Order, Power, Removes};
use super::operation::{KeyUpdate, Operation, Target};
use super::past::Past;
use super::rights::Right;
use super::room::{Charge, Room};
use super::standing::Weighed;
use super::state::{Proposed, State};
use super::view::View;
use crate::base::{DeviceId, EntryHash, GroupId, MemberId, RoleId, Template, cbor, limits};
use crate::entry::{Certificate, Header, Kind, LogId, Received, Verified, chain};

/// Who belongs to one group, as far as this party has heard.
///
/// Entries may come in any order that brings causes before effects; the state is the same for the same set. What an
/// entry may do is decided once, by its own past; what of that lasts, by everything there is.
#[derive(Clone, Debug)]
pub struct Roll {
    group: GroupId,
    template: Arc<Template>,
    /// The founder's certificate, as the founding entry carries it.
    founder: Certificate,
    history: History,
    heads: BTreeSet<At>,
    /// Entries of those who govern that no other such entry follows.
    governing_heads: BTreeSet<At>,
    weighed: Weighed,
    /// What everything heard amounts to, once asked for.
    whole: OnceLock<Whole>,
    /// The state of what the heads know, once asked for.
    state_at_heads: OnceLock<Arc<State>>,
}

#[derive(Clone, Debug)]
struct Whole {
    weighed: Weighed,
    state: Arc<State>,
}

/// What became of an entry that was offered to the roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is in the set, and counts.
    Counts,
    /// It is in the set and changes nothing: its author had no right to it.
    WithoutEffect,
    /// It was there before.
    Known,
    /// It cites entries that are not here yet. It was not taken.
    Waits,
}

/// Why an entry cannot be part of this roll at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARoll {
    /// The body is absent or breaks a rule.
    #[error("the roll entry cannot be read: {0}")]
    Body(String),
    /// A founding entry of another group, or a first entry that founds nothing.
    #[error("this roll entry does not belong to the group")]
    OtherGroup,
}

/// Why an entry that its author could write does not count any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutOff {
    /// Whoever removed its author had not seen it.
    #[error("it was written after its author was removed, as far as the one who removed them had heard")]
    Removed {
        /// The removal.
        by: EntryHash,
    },
    /// Its author was admitted by somebody who had been removed.
    #[error("its author was admitted by somebody who had been removed")]
    Unwarranted,
}

/// By what right somebody may remove or recover somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalRight {
    /// None: they do not govern, or the other does not belong.
    Nothing,
    /// It is theirs to decide alone.
    Alone,
    /// With those who asked before, most electors want it.
    Majority,
    /// It takes the word of more electors than have asked, this one included.
    Proposes {
        /// Electors who ask for it.
        supporters: usize,
        /// How many it takes.
        needed: usize,
    },
}

/// What took a device out that was entered once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenOut {
    /// The removal or recovery.
    pub entry: EntryHash,
    /// Whoever wrote it.
    pub by: MemberId,
    /// When they say they did, in milliseconds since the Unix epoch.
    pub claimed_ms: u64,
    /// Entries that this roll had taken in with it: by the first so many, the device is out.
    pub entries: usize,
}

impl Roll {
    /// Begins a roll with its founding entry.
    ///
    /// # Errors
    /// [`NotARoll`] if the entry does not found a group.
    pub fn found(entry: &Verified) -> Result<Self, NotARoll> {
        let Body { mut operation, certificates } = read(entry, None)?;
        let Some(Operation::Found(founding)) = &mut operation else {
            return Err(NotARoll::OtherGroup);
        };
        let author = entry.header().device;
        let own = certificates.into_iter().next().filter(|own| own.claims().device == author);
        let own =
            own.ok_or_else(|| NotARoll::Body("the founder's certificate is not the author's".to_owned()))?;
        let (template, role) = (Arc::new(founding.template.clone()), founding.role);
        let member = own.claims().member;
        Handouts::default().keep_effective(&mut founding.keys, member, &template, &|_| false);
        let node = Node {
            hash: entry.hash(),
            author,
            member: Some(member),
            role: Some(role),
            governs: true,
            depth: 0,
            past: Past::default(),
            bytes: bytes_of(entry),
            operation,
            enters: vec![entered(&own, member)],
            power: Power::Acts,
            grounds: Grounds::default(),
            about: None,
            appoints: true,
            claimed_ms: entry.header().claimed_ms,
        };
        let mut history = History::default();
        let at = history.push(node, None);
        Ok(Self {
            group: entry.group(),
            template,
            founder: own,
            history,
            heads: BTreeSet::from([at]),
            governing_heads: BTreeSet::from([at]),
            weighed: Weighed::default(),
            whole: OnceLock::new(),
            state_at_heads: OnceLock::new(),
        })
    }

    /// Offers an entry of the roll compartment.
    ///
    /// # Errors
    /// [`NotARoll`] if it can never belong here.
    pub fn insert(&mut self, entry: &Verified) -> Result<Inserted, NotARoll> {
        if entry.group() != self.group {
            return Err(NotARoll::OtherGroup);
        }
        if self.history.at(entry.hash()).is_some() {
            return Ok(Inserted::Known);
        }
        let header = entry.header();
        let cited = header.roll_heads.iter().chain(&header.previous);
        let parents: Option<BTreeSet<At>> = cited.map(|hash| self.history.at(*hash)).collect();
        let Some(parents) = parents else { return Ok(Inserted::Waits) };
        let body = read(entry, Some(&self.founder))?;
        if matches!(body.operation, Some(Operation::Found(_))) {
            return Err(NotARoll::OtherGroup);
        }
        let arrival = Arrival {
            hash: entry.hash(),
            author: header.device,
            claimed_ms: header.claimed_ms,
            bytes: bytes_of(entry),
            previous: header.previous.and_then(|hash| self.history.at(hash)),
            parents,
        };
        Ok(self.enter(arrival, body))
    }

    /// Takes an entry whose parents are here.
    pub(super) fn enter(&mut self, arrival: Arrival, mut body: Body) -> Inserted {
        let Arrival { hash, author, claimed_ms, bytes, previous, parents } = arrival;
        let past = self.history.closure(&parents);
        let depth = parents.iter().map(|at| self.history.node(*at).depth + 1).max().unwrap_or(0);
        let view = View::new(&self.history, &self.template, &past, &mut self.weighed);
        let judged = judge(&view, author, depth, &mut body, bytes);
        let appoints = match &body.operation {
            Some(Operation::Admit(admission)) => self.template.governs(admission.role),
            Some(_) | None => false,
        };
        let node = Node {
            hash,
            author,
            member: judged.member,
            role: judged.role,
            governs: judged.role.is_some_and(|role| self.template.governs(role)),
            depth,
            past,
            bytes,
            operation: body.operation,
            enters: judged.enters,
            power: judged.right.power,
            grounds: judged.right.grounds,
            about: judged.right.about,
            appoints,
            claimed_ms,
        };
        let counts = node.power != Power::Nothing;
        let governs = node.governs;
        let at = self.history.push(node, previous);
        // What has no effect is cited by nobody: else a stranger's entry, which honest relays refuse, would keep
        // everything that cites it from them.
        if counts {
            self.heads.retain(|head| !parents.contains(head));
            self.heads.insert(at);
            if governs {
                let history = &self.history;
                self.governing_heads.retain(|head| !history.knows(at, *head));
                self.governing_heads.insert(at);
            }
        }
        self.whole = OnceLock::new();
        self.state_at_heads = OnceLock::new();
        if counts { Inserted::Counts } else { Inserted::WithoutEffect }
    }

    #[cfg(test)]
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The state of everything heard.
    pub fn state(&self) -> &Arc<State> {
        &self.whole().state
    }

    fn whole(&self) -> &Whole {
        self.whole.get_or_init(|| {
            let mut weighed = self.weighed.clone();
            let state = Arc::new(self.state_within(self.history.all(), &mut weighed));
            Whole { weighed, state }
        })
    }

    /// Entries that no other entry cites, ascending: what a new entry cites. At most
    /// [`ROLL_HEADS_MAX`](limits::ROLL_HEADS_MAX), the greatest.
    pub fn heads(&self) -> Vec<EntryHash> {
        let mut heads: Vec<_> = self.heads.iter().map(|at| self.history.node(*at).hash).collect();
        heads.sort_unstable();
        heads.split_off(heads.len().saturating_sub(limits::ROLL_HEADS_MAX))
    }

    /// As [`Roll::heads`], for a device that belongs. Of more than may be cited, those come first that its right to write rests
    /// on, then those of who governs: a member whose devices write apart from each other would else push them out.
    pub fn heads_for(&self, device: DeviceId) -> Vec<EntryHash> {
        let heads = self.heads();
        if self.heads.len() <= limits::ROLL_HEADS_MAX {
            return heads;
        }
        let Whole { weighed, .. } = self.whole();
        let view = View::new(&self.history, &self.template, self.history.all(), &mut weighed.clone());
        // A few of each: who admits a member again and again fills no entry of theirs.
        let own = view.belongs(device).map(|(present, held)| [present.by, held.by]);
        let own = own.into_iter().flatten().flat_map(|by| by.into_iter().rev().take(4));
        let first = own.chain(self.governing_heads.iter().rev().copied());
        let mut cited: BTreeSet<EntryHash> = BTreeSet::new();
        for hash in first.map(|at| self.history.node(at).hash).chain(heads.into_iter().rev()) {
            if cited.len() < limits::ROLL_HEADS_MAX {
                cited.insert(hash);
            }
        }
        cited.into_iter().collect()
    }

    /// Whether all these entries are here.
    pub fn knows(&self, hashes: &[EntryHash]) -> bool {
        hashes.iter().all(|hash| self.history.at(*hash).is_some())
    }

    /// The state that somebody saw who knew exactly `heads` and what they cite; none if one is not here.
    pub fn state_at(&self, heads: &[EntryHash]) -> Option<Arc<State>> {
        let heads = self.numbers(heads)?;
        let state = || Arc::new(self.state_within(&self.history.closure(&heads), &mut self.weighed.clone()));
        if heads == self.heads {
            Some(Arc::clone(self.state_at_heads.get_or_init(state)))
        } else {
            Some(state())
        }
    }

    /// Whether the certificate entry that begins a log has a right, by its own past; none if that is not here.
    ///
    /// # Errors
    /// [`NotARoll`] if it carries no certificate of its device.
    pub fn enters_itself(&self, entry: &Received) -> Result<Option<bool>, NotARoll> {
        let header = entry.header();
        let Some(parents) = self.numbers(&header.roll_heads) else { return Ok(None) };
        let body = read(entry, Some(&self.founder))?;
        let past = self.history.closure(&parents);
        let view = View::new(&self.history, &self.template, &past, &mut self.weighed.clone());
        let certificate = body.certificates.first().filter(|_| body.operation.is_none());
        Ok(Some(
            certificate.is_some_and(|own| certified(&view, header.device, own, bytes_of(entry)).is_some()),
        ))
    }

    /// What an entry of the roll takes of its author's room; none if nobody's device wrote it.
    pub fn charge(&self, entry: EntryHash) -> Option<Charge> {
        let node = self.history.node(self.history.at(entry)?);
        let governs = node.role.is_some_and(|role| self.template.governs(role));
        let removes = match &node.operation {
            Some(Operation::Remove(removal)) => Some(removal.target),
            Some(_) | None => None,
        };
        let (takes, room) = (Room::of_entry(node.bytes), Room::of_member(governs));
        Some(Charge { member: node.member?, takes, room, removes })
    }

    /// What a member has written after the admission that gives their role.
    pub fn written(&self, member: MemberId) -> Room {
        let Whole { weighed, .. } = self.whole();
        let view = View::new(&self.history, &self.template, self.history.all(), &mut weighed.clone());
        view.written(member)
    }

    /// How many entries the set holds.
    pub fn len(&self) -> usize {
        self.history.len()
    }

    /// Never: a roll begins with its founding entry.
    pub fn is_empty(&self) -> bool {
        self.history.len() == 0
    }

    /// Whether what an author could write, by the past of its roll heads, still counts by everything heard since
    /// (PROTOCOL.md §4.5). Of an entry whose roll heads are here.
    ///
    /// # Errors
    /// [`CutOff`] says why it does not.
    pub fn check_standing(&self, entry: &Received) -> Result<(), CutOff> {
        let state = self.state();
        if !state.takes_back() || state.accepts(entry.hash()) {
            return Ok(());
        }
        let Whole { weighed, .. } = self.whole();
        let view = View::new(&self.history, &self.template, self.history.all(), &mut weighed.clone());
        let Some(heads) = self.numbers(&entry.header().roll_heads) else { return Ok(()) };
        let past = self.history.closure(&heads);
        self.check_within(&view, &past, entry)
    }

    /// Devices some of whose entries may not count any more: those that were taken out, and those that somebody entered,
    /// or whose member somebody admitted, who had been.
    pub fn devices_cut_off(&self) -> BTreeSet<DeviceId> {
        let Whole { weighed, state } = self.whole();
        if !state.takes_back() {
            return BTreeSet::new();
        }
        let view = View::new(&self.history, &self.template, self.history.all(), &mut weighed.clone());
        let lost = |entries: Option<&Vec<At>>| entries.into_iter().flatten().any(|at| view.is_void(*at));
        let cut = state.devices_ever().filter(|(device, member)| {
            view.removals_of(*device, Some(*member)).next().is_some()
                || lost(self.history.entries_by_device.get(device))
                || lost(self.history.admissions_by_member.get(member))
        });
        cut.map(|(device, _)| device).collect()
    }

    /// What took out a device that does not belong any more: a removal of it or of its member, or of somebody by whose word
    /// it belonged. Of several, the last that was taken in. None if it belongs, or was never entered.
    pub fn taken_out(&self, device: DeviceId) -> Option<TakenOut> {
        let Whole { weighed, state } = self.whole();
        if state.device(device).is_some() {
            return None;
        }
        let view = View::new(&self.history, &self.template, self.history.all(), &mut weighed.clone());
        let at = view.against(device).max()?;
        let node = self.history.node(at);
        let (entry, by) = (node.hash, node.member?);
        Some(TakenOut { entry, by, claimed_ms: node.claimed_ms, entries: at + 1 })
    }

    /// By what right a device's member may remove a member or a device, by everything that a new entry would cite.
    pub fn right_to_remove(&self, device: DeviceId, target: Target) -> RemovalRight {
        self.right(device, Aim::of(target))
    }

    /// By what right a device's member may recover a member with a new key, as [`Roll::right_to_remove`].
    pub fn right_to_recover(&self, device: DeviceId, member: MemberId, key: MemberId) -> RemovalRight {
        self.right(device, Aim::Recovery(member, key))
    }

    fn right(&self, device: DeviceId, aim: Aim) -> RemovalRight {
        self.right_at(&self.heads_for(device), device, aim)
    }

    #[cfg(test)]
    pub(super) fn right_to_remove_at(
        &self,
        heads: &[EntryHash],
        device: DeviceId,
        target: Target,
    ) -> RemovalRight {
        self.right_at(heads, device, Aim::of(target))
    }

    fn right_at(&self, heads: &[EntryHash], device: DeviceId, aim: Aim) -> RemovalRight {
        let Some(heads) = self.numbers(heads) else { return RemovalRight::Nothing };
        let past = self.history.closure(&heads);
        let view = View::new(&self.history, &self.template, &past, &mut self.weighed.clone());
        let (Some((present, held)), Some(about)) = (view.belongs(device), view.member_of(aim)) else {
            return RemovalRight::Nothing;
        };
        let author = present.entered.member;
        match view.power_to_remove(author, held, aim, about).0 {
            Power::Removes(Removes::Own | Removes::ByRank) => RemovalRight::Alone,
            Power::Removes(Removes::ByMajority(_)) => RemovalRight::Majority,
            Power::Proposes => {
                let tally = view.tally(aim, about, view.has_vote(author, about).then_some(author));
                RemovalRight::Proposes { supporters: tally.asks.len(), needed: tally.needed }
            }
            Power::Nothing | Power::Acts => RemovalRight::Nothing,
        }
    }

    /// What a member asked for and has not got: the hashes, ascending, of what a withdrawal has to name.
    pub fn proposed_by(&self, member: MemberId, about: Proposed) -> Vec<EntryHash> {
        let Whole { weighed, .. } = self.whole();
        let view = View::new(&self.history, &self.template, self.history.all(), &mut weighed.clone());
        let is_about = |aim: Aim| match (aim, about) {
            (Aim::Recovery(member, _), Proposed::Recovery(of)) => member == of,
            (aim, Proposed::Removal(target)) => aim == Aim::of(target),
            (Aim::Member(_) | Aim::Device(_), Proposed::Recovery(_)) => false,
        };
        let own = self.history.proposals.iter().copied().filter(|at| {
            let node = self.history.node(*at);
            let asked = node.about.is_some_and(|about| view.is_asked(*at, member, about));
            node.member == Some(member) && node.aim().is_some_and(is_about) && asked
        });
        let mut hashes: Vec<EntryHash> = own.map(|at| self.history.node(at).hash).collect();
        hashes.sort_unstable();
        hashes
    }

    /// Those who govern and whom nobody could remove, although most of those who govern were not admitted by them: others
    /// than the founder, or whom the founder did not admit in person, admitted them (PROTOCOL.md §4.3).
    pub fn irremovable(&self) -> Vec<MemberId> {
        let Whole { weighed, .. } = self.whole();
        let view = View::new(&self.history, &self.template, self.history.all(), &mut weighed.clone());
        let governing: Vec<MemberId> = view.governing().collect();
        // Two who govern are no majority of each other, whoever admitted them.
        let is_stuck = |member: &MemberId| governing.len() > 2 && !view.is_removable(*member);
        governing.iter().copied().filter(is_stuck).collect()
    }

    /// A member, and everybody else all of whose admissions were written by them or by others of these.
    pub fn let_in_by(&self, member: MemberId) -> Vec<MemberId> {
        let Whole { weighed, .. } = self.whole();
        let view = View::new(&self.history, &self.template, self.history.all(), &mut weighed.clone());
        let mut found = vec![member];
        let mut left: Vec<(MemberId, Vec<At>)> =
            view.members().filter(|(id, _)| *id != member).map(|(id, held)| (id, held.by)).collect();
        loop {
            let before = found.len();
            left.retain(|(id, by)| {
                let comes_from =
                    |at: &At| self.history.node(*at).member.is_some_and(|by| found.contains(&by));
                let all = by.iter().all(comes_from);
                if all {
                    found.push(*id);
                }
                !all
            });
            if found.len() == before {
                return found;
            }
        }
    }

    /// The appointments that count and that the last entry of a device in this roll does not know: it could cite a past
    /// without them. The time is when the author of the first of them says that it was written.
    pub fn unacknowledged_since(&self, device: DeviceId) -> Option<u64> {
        let Whole { weighed, .. } = self.whole();
        let view = View::new(&self.history, &self.template, self.history.all(), &mut weighed.clone());
        let last = self.history.last_by_device.get(&device).copied();
        let is_known = |at: At| last.is_some_and(|last| last == at || self.history.knows(last, at));
        let open =
            self.history.appointments.iter().copied().filter(|at| !is_known(*at) && !view.is_void(*at));
        open.map(|at| self.history.node(at).claimed_ms).min()
    }

    fn check_within(&self, view: &View<'_>, past: &Past, entry: &Received) -> Result<(), CutOff> {
        let device = entry.header().device;
        let mut against: BTreeSet<Order> = BTreeSet::new();
        let mut covered = |removal: At| {
            let counts = self.counts_before(removal, entry);
            if !counts {
                against.insert(self.history.node(removal).order());
            }
            counts
        };
        // Some entering of the device that the author knew must have outlived every removal, or the entry must have
        // been seen by whoever removed it; and the same of the admission of the member whose device that made it.
        // Each is asked of every removal, so that the reason is the same for everybody.
        let counts =
            view.entries(device).filter(|present| self.history.is_in(past, present.by)).any(|present| {
                let member = present.entered.member;
                let gone = view
                    .removals_of(device, Some(member))
                    .filter(|removal| !view.outlives(present, *removal) && !covered(*removal));
                gone.count() == 0
                    && view.admissions(member).filter(|at| self.history.is_in(past, *at)).any(|at| {
                        let removals = view.removals_of_member(member);
                        let lost = removals
                            .filter(|removal| !self.history.knows(at, *removal) && !covered(*removal));
                        lost.count() == 0
                    })
            });
        // Of several, the first: so that everybody names the same.
        match against.first() {
            _ if counts => Ok(()),
            Some((_, by)) => Err(CutOff::Removed { by: *by }),
            None => Err(CutOff::Unwarranted),
        }
    }

    /// Whether an entry counts although its device was taken out: whoever did it had seen it, or cannot see such.
    fn counts_before(&self, removal: At, entry: &Received) -> bool {
        let node = self.history.node(removal);
        let marks = match &node.operation {
            Some(Operation::Remove(removal)) => removal.marks.as_slice(),
            Some(Operation::Recover(recovery)) => recovery.marks.as_slice(),
            Some(_) | None => &[],
        };
        let log = LogId::of(entry);
        if let Some(mark) = marks.iter().find(|mark| mark.log == log) {
            let seq = entry.header().seq;
            return seq < mark.head.seq || (seq == mark.head.seq && entry.hash() == mark.head.hash);
        }
        !node.role.is_some_and(|role| self.template.may_read(role, log.compartment))
    }

    fn numbers(&self, hashes: &[EntryHash]) -> Option<BTreeSet<At>> {
        hashes.iter().map(|hash| self.history.at(*hash)).collect()
    }

    fn state_within(&self, within: &Past, weighed: &mut Weighed) -> State {
        let view = View::new(&self.history, &self.template, within, weighed);
        State::of(&self.history, &view, Arc::clone(&self.template))
    }
}

/// What an entry's past says of it.
struct Judged {
    member: Option<MemberId>,
    role: Option<RoleId>,
    enters: Vec<Entered>,
    right: Right,
}

fn judge(view: &View<'_>, author: DeviceId, depth: u64, body: &mut Body, bytes: u64) -> Judged {
    let Some(operation) = &body.operation else {
        let nothing = Judged { member: None, role: None, enters: Vec::new(), right: Right::default() };
        let own = body.certificates.first().and_then(|own| Some((own, certified(view, author, own, bytes)?)));
        let Some((certificate, (member, role))) = own else { return nothing };
        let enters = vec![entered(certificate, member)];
        let keys = view.recoveries_to(member, certificate.claims().member);
        let grounds = Grounds { keys, ..Grounds::default() };
        let right = Right { power: Power::Acts, grounds, about: None };
        return Judged { member: Some(member), role: Some(role), enters, right };
    };
    let owned = |certificate: &Certificate| {
        let key = certificate.claims().member;
        match operation {
            // The new key is nobody's yet.
            Operation::Recover(recovery) => {
                let is_free =
                    view.owner(key) == Some(key) && view.role(key).is_none() && key != recovery.member;
                is_free.then_some(recovery.member)
            }
            Operation::Admit(admission) => view.owner(key).filter(|owner| *owner == admission.member),
            Operation::Certify(_) => {
                view.owner(key).filter(|owner| view.device_count(*owner) < limits::DEVICES_MAX)
            }
            Operation::Found(_)
            | Operation::KeyUpdate(_)
            | Operation::Remove(_)
            | Operation::Policy(_)
            | Operation::Accept(_)
            | Operation::Hold(_)
            | Operation::Shred(_)
            | Operation::EndHold(_)
            | Operation::Withdraw(_)
            | Operation::Unknown { .. } => None,
        }
    };
    let enters: Vec<Entered> = body.certificates.iter().filter_map(|c| Some(entered(c, owned(c)?))).collect();
    let aim = match operation {
        Operation::Remove(removal) => Some(Aim::of(removal.target)),
        Operation::Recover(recovery) => enters.first().map(|new| Aim::Recovery(recovery.member, new.key)),
        Operation::Found(_)
        | Operation::Admit(_)
        | Operation::KeyUpdate(_)
        | Operation::Policy(_)
        | Operation::Accept(_)
        | Operation::Hold(_)
        | Operation::Shred(_)
        | Operation::EndHold(_)
        | Operation::Certify(_)
        | Operation::Withdraw(_)
        | Operation::Unknown { .. } => None,
    };
    let mut right = view.power(author, operation, &enters, aim);
    let by_itself = enters.iter().find(|entered| entered.device == author).map(|entered| entered.member);
    let present = view.device(author).map(|present| present.entered.member);
    let (is_present, member) = (present.is_some(), present.or(by_itself));
    let role = member.and_then(|member| view.role(member));
    let governs = role.is_some_and(|role| view.template().governs(role));
    let keys = operation.keys();
    // Epochs are counted one by one: a leap to the last number would leave no room for anybody's next.
    let leaps = |keys: &KeyUpdate| keys.rotations.iter().any(|row| u64::from(row.number) > depth);
    let begins = keys.is_some_and(|keys| !keys.rotations.is_empty());
    // A removal is no way around what somebody who does not govern may hand out.
    let removes = matches!(operation, Operation::Remove(_) | Operation::Recover(_));
    let hands_out_by_removal = removes && keys.is_some_and(|keys| !keys.grants.is_empty());
    if keys.is_some_and(leaps) || (!governs && (begins || hands_out_by_removal)) {
        right.power = Power::Nothing;
    }
    let is_free = match (operation, &right.power, aim.zip(member).zip(right.about)) {
        (Operation::Remove(_), Power::Removes(_), _) => true,
        (Operation::Remove(_), Power::Proposes, Some(((aim, member), about))) => {
            !view.asks(aim, member, about)
        }
        _ => false,
    };
    if !is_free && !member.is_some_and(|member| view.has_room(member, bytes)) {
        right.power = Power::Nothing;
    }
    let is_update = matches!(operation, Operation::KeyUpdate(_));
    if let Some(keys) = body.operation.as_mut().and_then(Operation::keys_mut) {
        match member.filter(|_| right.power != Power::Nothing) {
            Some(member) => view.keep_effective(keys, member),
            None => keys.grants.clear(),
        }
        if !governs && is_update && keys.grants.is_empty() {
            right.power = Power::Nothing;
        }
    }
    // A device that does not enter itself after all is nobody's.
    let member = member.filter(|_| is_present || right.power != Power::Nothing);
    let role = member.and(role);
    Judged { member, role, enters, right }
}

/// Whose device enters itself by its certificate, and as what: it speaks for itself once its member has a role.
fn certified(
    view: &View<'_>,
    author: DeviceId,
    certificate: &Certificate,
    bytes: u64,
) -> Option<(MemberId, RoleId)> {
    let member = view.owner(certificate.claims().member)?;
    let role = view.role(member)?;
    let may_enter = view.device_count(member) < limits::DEVICES_MAX && !view.is_out(author);
    (may_enter && view.has_room(member, bytes)).then_some((member, role))
}

/// What an entry takes of its author's room. A body that is gone counts as it was.
fn bytes_of(entry: &Received) -> u64 {
    entry.wire().signed.len() as u64 + u64::from(entry.header().body_bytes)
}

fn entered(certificate: &Certificate, member: MemberId) -> Entered {
    let claims = certificate.claims();
    Entered { device: claims.device, member, key: claims.member, agreement: claims.agreement }
}

/// What the membership log notes of an entry beside its body.
pub(super) struct Arrival {
    pub hash: EntryHash,
    pub author: DeviceId,
    pub claimed_ms: u64,
    /// What it takes of its author's room.
    pub bytes: u64,
    /// The entry before it in its log.
    pub previous: Option<At>,
    pub parents: BTreeSet<At>,
}

/// The body of an entry, read.
pub(super) struct Body {
    /// None for a device's own certificate.
    pub operation: Option<Operation>,
    pub certificates: Vec<Certificate>,
}

/// Reads a roll entry and checks its certificates: each is for this group, or is that of the founding entry, which was
/// signed before the group had an id.
fn read(entry: &Received, founder: Option<&Certificate>) -> Result<Body, NotARoll> {
    let body = entry.body().ok_or_else(|| NotARoll::Body("its body is missing".to_owned()))?;
    let refuse = |why: &dyn std::fmt::Display| NotARoll::Body(why.to_string());
    let Header { kind, .. } = entry.header();
    if *kind == Kind::CERTIFICATE {
        let certificate = chain::certificate_of(entry).map_err(|e| refuse(&e))?;
        return Ok(Body { operation: None, certificates: vec![certificate] });
    }
    if *kind != Kind::OPERATION {
        let unknown = Operation::Unknown { number: u8::MAX, cbor: Vec::new() };
        return Ok(Body { operation: Some(unknown), certificates: Vec::new() });
    }
    let operation: Operation = cbor::decode(body).map_err(|e| refuse(&e))?;
    operation.check().map_err(|e| refuse(&e))?;
    let scope = operation.scope(entry.group());
    let certificates: Result<Vec<_>, _> = operation
        .certificates()
        .iter()
        .map(|bytes| match founder.filter(|founder| founder.as_bytes() == bytes.as_slice()) {
            Some(founder) => Ok(founder.clone()),
            None => Certificate::verify(bytes, scope),
        })
        .collect();
    Ok(Body { operation: Some(operation), certificates: certificates.map_err(|e| refuse(&e))? })
}
