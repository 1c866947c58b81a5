//! What people do to each other: removing, other roles, other devices, and old copies.

use super::*;

/// Phones in a world: more make a run slow.
const PHONES_MAX: usize = 10;

/// A setting without a meaning.
const NO_SETTING: u16 = 99;

impl World {
    pub(super) fn somebody_decides(&mut self) -> Step {
        let joined: Vec<usize> = (0..self.phones.len())
            .filter(|at| self.phones[*at].joined && !self.phones[*at].is_unsure)
            .collect();
        let Some(at) = self.unrest.pick(&joined).copied() else { return Ok(()) };
        if self.switch_on(at)?.is_none() {
            return Ok(());
        }
        match self.unrest.below(33) {
            0..6 => self.remove_somebody(at)?,
            6..10 => self.change_somebodys_role(at)?,
            10..13 => self.admit_again(at)?,
            13..15 => self.recover_somebody(at)?,
            15..17 => self.accept_something(at)?,
            17 => self.agree_on_something(at)?,
            18..20 => self.add_second_device(at)?,
            20 => self.use_recovery_code(at)?,
            21 => self.remove_own(at)?,
            22..25 => self.phones[at].back_up(),
            // After a relay that lost entries nobody could tell an old copy from a new one.
            25..28 if self.weather.relay_loss == 0 => self.go_back(at)?,
            28 => self.phones[at].kept_in_the_dark = !self.phones[at].kept_in_the_dark,
            29 => {
                // Somebody goes underground, and goes on.
                self.hang_up(at);
                self.phones[at].online = false;
            }
            _ => self.phones[at].online = true,
        }
        if self.phones[at].running().is_some() && self.phones[at].joined {
            self.check_phone(at)?;
        }
        Ok(())
    }

    /// What a phone believes; none if it is off or does not govern.
    pub(super) fn governing(&mut self, at: usize) -> Option<Arc<Roll>> {
        let engine = self.phones[at].running()?;
        let roll = testing::roll(engine)?;
        roll.state().governs(engine.device_id()).then_some(roll)
    }

    fn remove_somebody(&mut self, at: usize) -> Step {
        let Some(roll) = self.governing(at) else { return Ok(()) };
        let members: Vec<_> = roll.state().members().map(|(id, _)| id).collect();
        let devices: Vec<_> = roll.state().devices().map(|(id, row, _)| (id, row.member)).collect();
        let (target, member) = if self.unrest.one_in(3) {
            let (device, member) = devices[self.unrest.index(devices.len())];
            (Target::Device(device), member)
        } else {
            let member = members[self.unrest.index(members.len())];
            (Target::Member(member), member)
        };
        // Who governs does not leave: while they do, somebody else may stop governing, and nobody could tell.
        if Some(member) == self.phones[at].member {
            return Ok(());
        }
        self.remove(at, target, member)
    }

    fn remove_own(&mut self, at: usize) -> Step {
        let Some(engine) = self.phones[at].running() else { return Ok(()) };
        let (own, member) = (engine.device_id(), engine.member_id());
        let Some(roll) = testing::roll(engine) else { return Ok(()) };
        let devices = roll.state().devices().filter(|(id, row, _)| row.member == member && *id != own);
        let devices: Vec<_> = devices.map(|(id, _, _)| id).collect();
        match self.unrest.pick(&devices).copied() {
            Some(device) => self.remove(at, Target::Device(device), member),
            None if roll.state().governs(own) => Ok(()),
            None => self.remove(at, Target::Member(member), member),
        }
    }

    fn remove(&mut self, at: usize, target: Target, member: MemberId) -> Step {
        let Some(engine) = self.phones[at].running() else { return Ok(()) };
        let Some(roll) = testing::roll(engine) else { return Ok(()) };
        let state = Arc::clone(roll.state());
        let own = engine.device_id();
        let devices = state.devices().filter(|(id, row, _)| match target {
            Target::Member(member) => row.member == member,
            Target::Device(device) => *id == device,
        });
        let devices: BTreeSet<DeviceId> = devices.map(|(id, _, _)| id).collect();
        let readable = state.template().compartments.iter().map(|row| row.id);
        let readable: BTreeSet<_> = readable.filter(|id| state.may_read(own, *id)).collect();
        let seen = testing::stored(engine).map_err(|e| e.to_string())?.into_iter();
        let seen: BTreeSet<_> = seen
            .filter(|stored| devices.contains(&stored.entry.header().device))
            .map(|stored| stored.entry.hash())
            .collect();
        self.model.touched.insert(member);
        let whose = self.phones_of(member);
        self.note(|| format!("phone {at} is about to remove {target:?}, of phones {whose:?}"));
        let decided = self.attempt(at, "removes somebody", |engine| engine.remove(target))?;
        match decided {
            Some(Decision::Done) => self.tally.removals += 1,
            Some(Decision::Proposed { .. }) => self.tally.proposals += 1,
            None => {}
        }
        if decided == Some(Decision::Done)
            && let Some(now) = self.phones[at].running().and_then(|engine| testing::roll(engine))
            && let Some(removal) = now.state().removals().difference(state.removals()).next()
        {
            self.model.cuts.insert(*removal, Cut { devices, readable, seen });
        }
        Ok(())
    }

    fn phones_of(&self, member: MemberId) -> Vec<usize> {
        (0..self.phones.len()).filter(|at| self.phones[*at].member == Some(member)).collect()
    }

    /// As [`World::act`], where people try what may not be theirs to do, or what the group forbids.
    pub(super) fn attempt<T>(
        &mut self,
        at: usize,
        what: &str,
        work: impl FnOnce(&mut Engine) -> Result<T, Error>,
    ) -> Result<Option<T>, String> {
        let done = self.act(at, what, |engine| match work(engine) {
            Err(
                Error::Role(_)
                | Error::Admission(_)
                | Error::Membership(_)
                | Error::NotCertified
                | Error::KeyElsewhere
                | Error::HasGroup,
            ) => Ok(None),
            done => done.map(Some),
        })?;
        Ok(done.flatten())
    }

    fn change_somebodys_role(&mut self, at: usize) -> Step {
        let Some(roll) = self.governing(at) else { return Ok(()) };
        let members: Vec<_> = roll.state().members().map(|(id, _)| id).collect();
        let member = members[self.unrest.index(members.len())];
        let to =
            [roles::ROLE_COORDINATOR, roles::ROLE_COORDINATOR, roles::ROLE_VOLUNTEER, roles::ROLE_LIAISON];
        let role = RoleId(to[self.unrest.index(to.len())]);
        let whose = self.phones_of(member);
        self.note(|| format!("phone {at} is about to make phones {whose:?} {role:?}"));
        self.model.touched.insert(member);
        self.note_admission(member, at);
        if self.attempt(at, "changes a role", |engine| engine.change_role(member, role))?.is_some() {
            self.tally.roles_changed += 1;
        }
        Ok(())
    }

    /// Admits a phone whose member does not belong any more, by the certificate it has.
    fn admit_again(&mut self, at: usize) -> Step {
        let Some(roll) = self.governing(at) else { return Ok(()) };
        let out: Vec<usize> = (0..self.phones.len())
            .filter(|other| self.phones[*other].joined && *other != at)
            .filter(|other| {
                let member = self.phones[*other].member;
                member.is_some_and(|member| roll.state().member(member).is_none())
            })
            .collect();
        let Some(other) = self.unrest.pick(&out).copied() else { return Ok(()) };
        let Some(engine) = self.switch_on(other)? else { return Ok(()) };
        let Some(request) = testing::request_again(engine) else { return Ok(()) };
        let Some(member) = self.phones[other].member else { return Ok(()) };
        // Of a recovered member the certificate names the new key, and not the member.
        let certificate =
            Certificate::verify(request.as_bytes(), Scope::group(roll.group())).map_err(|e| e.to_string())?;
        if certificate.claims().member != member {
            return Ok(());
        }
        let role = RoleId(self.phones[other].role);
        self.model.touched.insert(member);
        self.let_in(member, at);
        if self.attempt(at, "admits again", |engine| engine.admit(&request, role))?.is_some() {
            self.tally.arrivals += 1;
        }
        Ok(())
    }

    fn recover_somebody(&mut self, at: usize) -> Step {
        let Some(roll) = self.governing(at) else { return Ok(()) };
        let members: Vec<_> = roll.state().members().map(|(id, _)| id).collect();
        let member = members[self.unrest.index(members.len())];
        let Some(new) = self.new_phone(self.role_of(&roll, member)) else { return Ok(()) };
        let Some(request) = self.act(new, "asks to be recovered", |engine| engine.request(roll.group()))?
        else {
            return Ok(());
        };
        self.model.touched.insert(member);
        self.note_admission(member, at);
        let decided = self.attempt(at, "recovers somebody", |engine| engine.recover(member, &request))?;
        if decided != Some(Decision::Done) {
            return Ok(());
        }
        self.tally.arrivals += 1;
        self.let_join(new, at)
    }

    fn add_second_device(&mut self, at: usize) -> Step {
        let Some(member) = self.phones[at].member.filter(|_| self.phones[at].belongs()) else {
            return Ok(());
        };
        let Some(new) = self.new_phone(self.phones[at].role) else { return Ok(()) };
        let group = self.group.expect("there is one because it was founded first");
        let Some(request) =
            self.act(new, "asks for a member", |engine| engine.request_as_device_of(group, member))?
        else {
            return Ok(());
        };
        if self.attempt(at, "adds a device", |engine| engine.add_device(&request))?.is_none() {
            return Ok(());
        }
        self.tally.arrivals += 1;
        self.let_join(new, at)
    }

    fn use_recovery_code(&mut self, at: usize) -> Step {
        if !self.phones[at].belongs() {
            return Ok(());
        }
        let code = self.attempt(at, "writes its code down", |engine| {
            engine.recovery_code(CodeLanguage::Spanish).map(|code| code.words().to_owned())
        })?;
        let Some(code) = code else { return Ok(()) };
        let Some(new) = self.new_phone(self.phones[at].role) else { return Ok(()) };
        if self.act(new, "uses a code", |engine| engine.use_recovery_code(&code))?.is_none() {
            return Ok(());
        }
        self.tally.arrivals += 1;
        self.let_join(new, at)
    }

    /// A phone that was admitted gets the roll from another one.
    fn let_join(&mut self, new: usize, from: usize) -> Step {
        let Some(admission) = self.act(from, "hands the roll over", Engine::admission)? else {
            return Ok(());
        };
        if self.attempt(new, "joins", |engine| engine.join(&admission))?.is_some() {
            self.phones[new].joined = true;
        }
        Ok(())
    }

    fn new_phone(&mut self, role: u8) -> Option<usize> {
        let at = self.phones.len();
        if at >= PHONES_MAX {
            return None;
        }
        self.phones.push(Phone::new(at, role, self.seed, Arc::clone(&self.now_ms)));
        self.phones[at].is_late = true;
        Some(at)
    }

    fn role_of(&self, roll: &Roll, member: MemberId) -> u8 {
        roll.state().member(member).map_or(roles::ROLE_VOLUNTEER, |held| held.role.0)
    }

    fn accept_something(&mut self, at: usize) -> Step {
        if self.governing(at).is_none() {
            return Ok(());
        }
        let Some(engine) = self.phones[at].running() else { return Ok(()) };
        let mut aside = engine.set_aside().map_err(|e| e.to_string())?;
        aside.retain(|row| row.cut_off);
        let Some(row) = self.unrest.pick(&aside) else { return Ok(()) };
        let entry = row.entry;
        self.model.accepted.insert(entry);
        if self.attempt(at, "accepts an entry", |engine| engine.accept(&[entry]))?.is_some() {
            self.tally.accepted += 1;
        }
        Ok(())
    }

    fn agree_on_something(&mut self, at: usize) -> Step {
        let (setting, days) = match self.unrest.below(6) {
            0 => (settings::HISTORY_DAYS, 1 + self.unrest.below(3)),
            1..3 => (settings::ROTATE_DAYS, self.unrest.below(3)),
            _ => (NO_SETTING, 1),
        };
        self.model.history_ends |= setting == settings::HISTORY_DAYS;
        self.attempt(at, "sets what is agreed", |engine| engine.set_policy(setting, days))?;
        Ok(())
    }

    /// Who governs says something without a meaning, so that everything they have heard is cited.
    pub(super) fn cite_everything(&mut self) -> Step {
        for at in 0..self.phones.len() {
            if self.phones[at].joined && self.switch_on(at)?.is_some() && self.governing(at).is_some() {
                self.attempt(at, "sets nothing", |engine| engine.set_policy(NO_SETTING, 2))?;
            }
        }
        Ok(())
    }

    /// Restores a phone from the last copy of its disk.
    fn go_back(&mut self, at: usize) -> Step {
        let Some(engine) = self.phones[at].running() else { return Ok(()) };
        if !testing::holds_member_key(engine) {
            return Ok(());
        }
        let own = self.model.documents.iter().filter(|(_, d)| d.author == at).map(|(id, _)| *id);
        let mut made_of = Vec::new();
        for id in own {
            let detail = engine.get(id);
            let entries = detail.map(|detail| detail.history.iter().map(|row| row.entry).collect());
            made_of.push((id, entries.unwrap_or_default()));
        }
        // What it handed over in an admission and the relay does not know is a fork that nobody can tell.
        let group = self.group.expect("there is one because it was founded first");
        let durable = self.relay.durable(group)?;
        let Some(engine) = self.phones[at].running() else { return Ok(()) };
        let device = engine.device_id();
        let stored = testing::stored(engine).map_err(|e| e.to_string())?;
        let is_at_relay = |entry: &Received| {
            entry.header().device != device
                || entry.header().compartment != CompartmentId::ROLL
                || durable.contains(&entry.hash())
        };
        if !stored.iter().all(|stored| is_at_relay(&stored.entry)) {
            return Ok(());
        }
        self.hang_up(at);
        if !self.phones[at].restore() {
            return Ok(());
        }
        self.phones[at].is_unsure = true;
        // Its role too is the one of then.
        self.switch_on(at)?;
        self.tally.rollbacks += 1;
        made_of.into_iter().for_each(|(id, entries)| self.model.went_back(id, entries));
        self.note(|| format!("phone {at} goes back to an older copy"));
        Ok(())
    }

    /// What the driver does when a store turns out to be older than its own words; and its owner, where the driver has
    /// done so lately.
    pub(super) fn renew(&mut self, at: usize) -> Step {
        let renewed =
            self.attempt(at, "goes on as another device", |engine| match engine.renew_by_itself() {
                Err(Error::RolledBack) => engine.renew(),
                renewed => renewed,
            })?;
        self.phones[at].is_unsure &= renewed.is_none();
        self.tally.renewals += u64::from(renewed.is_some());
        Ok(())
    }

    /// Notes that the phone `by` is about to let a member in, with their device: its disk may fail after it wrote.
    pub(super) fn let_in(&mut self, member: MemberId, by: usize) {
        self.note_admission(member, by);
        if let Some(roll) = self.phones[by].running().and_then(|engine| testing::roll(engine)) {
            self.model.let_in_knowing.entry(member).or_default().push(roll);
        }
    }

    pub(super) fn note_admission(&mut self, member: MemberId, by: usize) {
        let by = self.phones[by].member;
        self.model.admitted_by.entry(member).or_default().extend(by);
    }

    /// Whether a removal may have cut off what this phone writes.
    pub(super) fn may_be_cut_off(&self, at: usize) -> bool {
        self.phones[at].member.is_none_or(|member| self.model.may_be_cut_off(member))
    }
}
