//! A coordinator who was let in by mistake and removed, and who brings puppets and a past in which they still govern.

use lamppost_core::base::EntryHash;
use lamppost_core::roll::operation::{Admission, KeyUpdate, Recovery, Removal};

use super::*;

/// Puppets of one attack.
const PUPPETS_MAX: u64 = 5;

/// Somebody hostile whom a coordinator admitted.
pub(super) struct Usurper {
    phone: Phone,
    /// What let them in.
    admission: EntryHash,
    /// What removed them; none as long as nobody has.
    removal: Option<EntryHash>,
    /// How many operations they forged: a device begins its log once.
    attacks: u64,
}

/// What was forged although a removal had ended the right to it.
pub struct Usurpation {
    /// The removal.
    pub removal: EntryHash,
    /// Removals and recoveries that were forged.
    pub forged: Vec<EntryHash>,
    /// Whom it would let in.
    pub puppets: Vec<MemberId>,
}

impl World {
    /// One step of it: a coordinator lets them in, one removes them, and then they come back by an accomplice's phone.
    pub(super) fn somebody_usurps(&mut self, accomplice: usize) -> Step {
        let Some(usurper) = &self.usurper else { return self.let_usurper_in() };
        let (admission, removal) = (usurper.admission, usurper.removal);
        let knows = |world: &Self, hash| world.heard.as_ref().is_some_and(|roll| roll.knows(&[hash]));
        match removal {
            None => self.remove_usurper(),
            Some(removal) if knows(self, admission) && knows(self, removal) => {
                self.usurp(accomplice, admission, removal)
            }
            Some(_) => Ok(()),
        }
    }

    fn some_coordinator(&mut self) -> Result<Option<usize>, String> {
        let joined: Vec<usize> = (0..self.phones.len())
            .filter(|at| self.phones[*at].joined && !self.phones[*at].is_unsure)
            .collect();
        let Some(at) = self.malice.pick(&joined).copied() else { return Ok(None) };
        let governs = self.switch_on(at)?.is_some() && self.governing(at).is_some();
        Ok(Some(at).filter(|_| governs))
    }

    fn let_usurper_in(&mut self) -> Step {
        let Some(at) = self.some_coordinator()? else { return Ok(()) };
        let group = self.group.expect("there is one because it was founded first");
        let mut phone = self.stranger();
        let engine = phone.engine(None).map_err(|e| e.to_string())?;
        let (member, request) = (engine.member_id(), engine.request(group).map_err(|e| e.to_string())?);
        let role = RoleId(roles::ROLE_COORDINATOR);
        self.model.touched.insert(member);
        self.note_admission(member, at);
        if self.attempt(at, "lets an usurper in", |engine| engine.admit(&request, role))?.is_none() {
            return Ok(());
        }
        let Some(admission) = self.phones[at].running().and_then(|engine| testing::last_of_roll(engine))
        else {
            return Ok(());
        };
        self.usurper = Some(Usurper { phone, admission, removal: None, attacks: 0 });
        Ok(())
    }

    fn remove_usurper(&mut self) -> Step {
        let Some(usurper) = self.usurper.as_mut() else { return Ok(()) };
        let member = usurper.phone.engine(None).map_err(|e| e.to_string())?.member_id();
        let Some(at) = self.some_coordinator()? else { return Ok(()) };
        let Some(before) = self.governing(at) else { return Ok(()) };
        let removes = |engine: &mut Engine| engine.remove(Target::Member(member));
        if self.attempt(at, "removes the usurper", removes)? != Some(Decision::Done) {
            return Ok(());
        }
        let Some(after) = self.governing(at) else { return Ok(()) };
        let removal = after.state().removals().difference(before.state().removals()).next().copied();
        if let Some(usurper) = self.usurper.as_mut() {
            usurper.removal = removal;
        }
        Ok(())
    }

    /// They admit puppets as of the time when they were let in, and all of them remove or recover somebody.
    fn usurp(&mut self, accomplice: usize, admission: EntryHash, removal: EntryHash) -> Step {
        let group = self.group.expect("there is one because it was founded first");
        let truth = self.truth()?;
        let coordinators = truth.members().filter(|(_, held)| held.role.0 == roles::ROLE_COORDINATOR);
        let victims: Vec<MemberId> = coordinators.map(|(member, _)| member).collect();
        let Some(victim) = self.malice.pick(&victims).copied() else { return Ok(()) };
        let mut puppets: Vec<Phone> =
            (0..1 + self.malice.below(PUPPETS_MAX)).map(|_| self.stranger()).collect();
        let mut members = Vec::new();
        let mut operations = Vec::new();
        for puppet in &mut puppets {
            let engine = puppet.engine(None).map_err(|e| e.to_string())?;
            let (member, request) = (engine.member_id(), engine.request(group).map_err(|e| e.to_string())?);
            members.push(member);
            operations.push(Operation::Admit(Admission {
                member,
                role: RoleId(roles::ROLE_COORDINATOR),
                certificates: vec![request.as_bytes().to_vec().into()],
                keys: KeyUpdate::default(),
                invitation: None,
            }));
        }
        let wish = if self.malice.one_in(3) {
            let mut thief = self.stranger();
            let engine = thief.engine(None).map_err(|e| e.to_string())?;
            let request = engine.request(group).map_err(|e| e.to_string())?;
            members.push(engine.member_id());
            let certificate = request.as_bytes().to_vec().into();
            let (marks, keys) = (Vec::new(), KeyUpdate::default());
            Operation::Recover(Recovery { member: victim, certificate, marks, keys })
        } else {
            let (marks, keys) = (Vec::new(), KeyUpdate::default());
            Operation::Remove(Removal { target: Target::Member(victim), marks, keys })
        };
        operations.push(wish.clone());
        let Some(usurper) = self.usurper.as_mut().filter(|usurper| usurper.attacks == 0) else {
            return Ok(());
        };
        usurper.attacks += 1;
        let engine = usurper.phone.engine(None).map_err(|e| e.to_string())?;
        let mut forged =
            testing::forge_all(engine, group, vec![admission], &operations).map_err(|e| e.to_string())?;
        for puppet in &mut puppets {
            let heads = forged.last().map(|entry: &Verified| entry.hash()).into_iter().collect();
            let engine = puppet.engine(None).map_err(|e| e.to_string())?;
            let votes = testing::forge_all(engine, group, heads, std::slice::from_ref(&wish));
            forged.extend(votes.map_err(|e| e.to_string())?);
        }
        let hashes = forged.iter().map(|entry| entry.hash()).collect();
        self.model.usurpations.push(Usurpation { removal, forged: hashes, puppets: members });
        self.tally.attacks += 1;
        self.act(accomplice, "smuggles what an usurper forged", |engine| testing::smuggle(engine, &forged))
            .map(drop)
    }

    /// What was forged after a removal has taken nobody out and let nobody in, as long as that removal stands.
    pub(super) fn check_usurpers(&self, truth: &State) -> Step {
        for usurpation in &self.model.usurpations {
            if !truth.removals().contains(&usurpation.removal) {
                continue;
            }
            if let Some(forged) = usurpation.forged.iter().find(|hash| truth.removals().contains(*hash)) {
                return Err(format!("{forged:?}, by a coordinator who had been removed, took somebody out"));
            }
            if let Some(puppet) = usurpation.puppets.iter().find(|member| truth.member(**member).is_some()) {
                return Err(format!("{puppet:?}, a puppet of a coordinator who had been removed, belongs"));
            }
            let keys = truth.devices().map(|(_, device, _)| device.key);
            if let Some(key) = keys.into_iter().find(|key| usurpation.puppets.contains(key)) {
                return Err(format!("{key:?}, of a coordinator who had been removed, has a device"));
            }
        }
        Ok(())
    }
}
