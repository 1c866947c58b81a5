//! What people do with their phones.

use super::*;

impl World {
    pub(super) fn somebody_writes(&mut self) -> Step {
        let at = self.chance.index(self.phones.len());
        if !self.phones[at].joined {
            return if self.phones[at].is_late { Ok(()) } else { self.join(at) };
        }
        if self.switch_on(at)?.is_none() {
            return Ok(());
        }
        let text = self.model.text(at);
        match (self.phones[at].role, self.chance.below(10)) {
            (roles::ROLE_LIAISON, _) => self.respond(at, text)?,
            (roles::ROLE_COORDINATOR, 0) => self.rotate(at)?,
            (roles::ROLE_COORDINATOR, 1) => self.release(at, text)?,
            (roles::ROLE_COORDINATOR, 2..4) => self.link_case(at, text)?,
            (_, 4..6) => self.annotate(at, text)?,
            (_, 6..8) => self.amend(at, text)?,
            _ => self.record(at, text)?,
        }
        if let Some(link) = self.phones[at].link {
            self.phone_input(link, PhoneInput::OutboxGrew)?;
        }
        self.check_phone(at)
    }

    /// Does something on a phone. A disk that fails takes the phone down; any other error is a broken promise.
    pub(super) fn act<T>(
        &mut self,
        at: usize,
        what: &str,
        work: impl FnOnce(&mut Engine) -> Result<T, Error>,
    ) -> Result<Option<T>, String> {
        let Some(engine) = self.switch_on(at)? else { return Ok(None) };
        let done = work(engine);
        self.phones[at].note_standing();
        self.note(|| format!("phone {at} {what}: {}", if done.is_ok() { "done" } else { "failed" }));
        match done {
            Ok(done) => Ok(Some(done)),
            Err(Error::Store(_)) => {
                self.disk_failed(at);
                Ok(None)
            }
            // Who does not belong is told so, and who is not theirs to ask.
            Err(Error::Removed | Error::NoGroup | Error::Role(_))
                if self.story != Story::Calm && !self.phones[at].belongs() =>
            {
                Ok(None)
            }
            Err(why) => Err(format!("phone {at} {what}: {why}")),
        }
    }

    pub(super) fn disk_failed(&mut self, at: usize) {
        self.tally.disk_faults += 1;
        self.hang_up(at);
        self.phones[at].crash();
        self.note(|| format!("phone {at}'s disk failed; it starts again"));
    }

    /// The engine of a phone, if its disk lets it start.
    pub(super) fn switch_on(&mut self, at: usize) -> Result<Option<&mut Engine>, String> {
        let fault = self.draw_disk_fault();
        match self.phones[at].engine(fault) {
            Ok(_) => {
                // A disk that failed may have taken what its owner never saw: another role, say.
                self.phones[at].note_standing();
                Ok(self.phones[at].running())
            }
            Err(Error::Store(_)) => {
                self.disk_failed(at);
                Ok(None)
            }
            Err(why) => Err(format!("phone {at} does not start again: {why}")),
        }
    }

    pub(super) fn draw_disk_fault(&mut self) -> Option<(usize, FaultAt)> {
        if !self.chance.one_in(self.weather.disk) {
            return None;
        }
        let at = if self.chance.one_in(2) { FaultAt::BeforeWrite } else { FaultAt::AfterWrite };
        Some((self.chance.index(20), at))
    }

    pub(super) fn join(&mut self, at: usize) -> Step {
        let coordinators: Vec<usize> = (0..self.phones.len())
            .filter(|at| self.phones[*at].joined && self.phones[*at].role == roles::ROLE_COORDINATOR)
            .filter(|at| !self.phones[*at].is_unsure)
            .collect();
        let Some(by) = self.chance.pick(&coordinators).copied() else { return Ok(()) };
        let role = RoleId(self.phones[at].role);
        let group = self.group.expect("there is one because it was founded first");
        let Some(request) = self.act(at, "asks to join", |engine| match engine.request(group) {
            // Its disk had failed after it wrote: it has joined.
            Err(Error::HasGroup) => Ok(None),
            request => request.map(Some),
        })?
        else {
            return Ok(());
        };
        if let Some(request) = request {
            let member = self.phones[at].running().map(|engine| engine.member_id());
            if let Some(member) = member {
                self.let_in(member, by);
            }
            let admitted = if member.is_some_and(|member| self.model.touched.contains(&member)) {
                // It was let in once and could not write that down; since then somebody promoted or recovered its member.
                self.attempt(by, "admits", |engine| engine.admit(&request, role))?
            } else {
                self.act(by, "admits", |engine| engine.admit(&request, role))?
            };
            let Some(admission) = admitted else { return Ok(()) };
            if self.act(at, "joins", |engine| engine.join(&admission))?.is_none() {
                return Ok(());
            }
        }
        self.phones[at].joined = true;
        Ok(())
    }

    pub(super) fn record(&mut self, at: usize, text: String) -> Step {
        if let Some(id) = self.act(at, "records", |engine| engine.record(draft(&text)))? {
            self.tally.documents += 1;
            self.model.wrote(id, at, Kind::OBSERVATION, text);
        }
        Ok(())
    }

    pub(super) fn amend(&mut self, at: usize, text: String) -> Step {
        let own = self
            .model
            .documents
            .iter()
            .filter(|(_, d)| d.author == at && d.kind == Kind::OBSERVATION && d.stood_by.is_none());
        let own: Vec<_> = own.map(|(id, _)| *id).collect();
        let Some(id) = self.chance.pick(&own).copied() else { return self.record(at, text) };
        match self.act(at, "amends", |engine| engine.amend(id, draft(&text)))? {
            Some(()) => self.model.wrote(id, at, Kind::OBSERVATION, text),
            None => self.model.failed(id, text),
        }
        Ok(())
    }

    pub(super) fn annotate(&mut self, at: usize, text: String) -> Step {
        let Some(target) = self.some_row(at, Kind::OBSERVATION)? else { return self.record(at, text) };
        let written = self.act(at, "annotates", |engine| engine.annotate(target.id, &text, "seen"))?;
        if let Some(id) = written {
            self.tally.documents += 1;
            self.model.wrote(id, at, Kind::ANNOTATION, text);
        }
        Ok(())
    }

    pub(super) fn link_case(&mut self, at: usize, text: String) -> Step {
        let Some(observation) = self.some_row(at, Kind::OBSERVATION)? else { return Ok(()) };
        let case =
            if self.chance.one_in(2) { self.some_row(at, Kind::CASE)?.map(|row| row.id) } else { None };
        let links = [CaseLink { observation: observation.id, reason: "the same corner".to_owned() }];
        self.act(at, "links", |engine| engine.link(case, &text, &links))?;
        Ok(())
    }

    pub(super) fn release(&mut self, at: usize, text: String) -> Step {
        let Some(observation) = self.some_row(at, Kind::OBSERVATION)? else { return Ok(()) };
        let Some(engine) = self.switch_on(at)? else { return Ok(()) };
        let roster = engine.roster().map_err(|e| e.to_string())?;
        let liaison = roster.into_iter().find(|row| row.role == RoleId(roles::ROLE_LIAISON));
        let Some(liaison) = liaison else { return Ok(()) };
        let plan = ReleasePlan {
            title: text,
            purpose: "to decide about the corner".to_owned(),
            recipient: Some(liaison.member),
            expires_ms: None,
            observations: vec![(observation.id, Redaction::default())],
        };
        self.act(at, "releases", |engine| engine.release(&plan))?;
        Ok(())
    }

    pub(super) fn respond(&mut self, at: usize, text: String) -> Step {
        let Some(release) = self.some_row(at, Kind::RELEASE)? else { return Ok(()) };
        let answer =
            LiaisonAnswer { status: "closed".to_owned(), outcome: "prevention".to_owned(), reason: text };
        self.act(at, "responds", |engine| engine.respond(release.id, &answer))?;
        Ok(())
    }

    pub(super) fn rotate(&mut self, at: usize) -> Step {
        let compartments =
            [roles::COMPARTMENT_COMMON, roles::COMPARTMENT_GROUP, roles::COMPARTMENT_COORDINATORS];
        let compartment = compartments[self.chance.index(compartments.len())];
        let compartment = CompartmentId(compartment);
        self.act(at, "rotates", |engine| engine.rotate(compartment))?;
        Ok(())
    }

    pub(super) fn some_row(&mut self, at: usize, kind: Kind) -> Result<Option<Row>, String> {
        let mut rows = self.rows(at)?;
        rows.retain(|row| row.kind == kind);
        rows.sort_by_key(|row| row.id);
        Ok(self.chance.pick(&rows).cloned())
    }

    pub(super) fn rows(&mut self, at: usize) -> Result<Vec<Row>, String> {
        let Some(engine) = self.switch_on(at)? else { return Ok(Vec::new()) };
        match engine.list(&Filter { all_kinds: true, ..Filter::default() }) {
            // When something came is each phone's own.
            Ok(rows) => Ok(rows.into_iter().map(|(row, _)| Row { ordered_ms: 0, ..row }).collect()),
            Err(Error::Store(_)) => {
                self.disk_failed(at);
                Ok(Vec::new())
            }
            Err(why) => Err(format!("phone {at} cannot list: {why}")),
        }
    }
}
