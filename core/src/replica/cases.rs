//! Merging by hand: what is linked in a case, taken out of it, said to be two events; and what the case's reports agree on.

use std::collections::{BTreeMap, BTreeSet};

use super::app::Replica;
use super::engine::Engine;
use super::error::Error;
use crate::base::{DocumentId, MemberId};
use crate::watch::case::{clusters, in_several_cases};
use crate::watch::guard::{self, Place};
use crate::watch::{Case, Fact, Kind, NotDuplicates};

/// One case, and how it stands with the others. Derived: the same on every device that has the same documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseRow {
    /// The case.
    pub case: DocumentId,
    /// What the group calls it.
    pub title: String,
    /// The observations that are linked in it.
    pub observations: BTreeSet<DocumentId>,
    /// How many different members wrote those of them that are here: what a case is corroborated by.
    pub authors_count: usize,
    /// Other cases that share observations with it, directly or through further cases.
    pub joined_with: BTreeSet<DocumentId>,
    /// Its observations that are linked in other cases too, and in which.
    pub elsewhere: BTreeMap<DocumentId, BTreeSet<DocumentId>>,
}

/// One fact of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactRow {
    /// A key of `codes/facts.json`.
    pub fact: String,
    /// Every value with who said it, and what holds.
    pub state: Fact,
}

impl Engine {
    /// Every case, by its identity. Loads no document.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn cases(&mut self) -> Result<Vec<CaseRow>, Error> {
        let known = self.index()?.of_kind(Kind::CASE);
        let linked: BTreeMap<DocumentId, BTreeSet<DocumentId>> =
            known.map(|case| (case.id, case.about.iter().copied().collect())).collect();
        let doubles = in_several_cases(&linked);
        let mut cases = BTreeMap::new();
        for cluster in clusters(&linked) {
            for case in &cluster.cases {
                let observations = linked.get(case).cloned().unwrap_or_default();
                let mut joined_with = cluster.cases.clone();
                joined_with.remove(case);
                let elsewhere = observations.iter().filter_map(|id| {
                    let mut others = doubles.get(id)?.clone();
                    others.remove(case);
                    Some((*id, others))
                });
                let row = CaseRow {
                    case: *case,
                    title: self.row(*case)?.map(|row| row.title).unwrap_or_default(),
                    elsewhere: elsewhere.collect(),
                    authors_count: self.authors(&observations)?.len(),
                    observations,
                    joined_with,
                };
                cases.insert(*case, row);
            }
        }
        Ok(cases.into_values().collect())
    }

    fn authors(&self, observations: &BTreeSet<DocumentId>) -> Result<BTreeSet<MemberId>, Error> {
        let rows = observations.iter().filter_map(|id| self.row(*id).transpose());
        rows.map(|row| Ok(row?.author)).collect()
    }

    /// Takes an observation out of a case, and no other.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member is a coordinator; [`Error::NotHere`]; [`Error::Invalid`] if it is not linked.
    pub fn unlink(&mut self, case: DocumentId, observation: DocumentId) -> Result<(), Error> {
        let by = self.member_id().to_string();
        self.change_case(case, |content| Ok(content.unlink(&observation.to_string(), &by)?))
    }

    /// Says what holds in a case, beside whatever others said. `fact` is a key of `codes/facts.json`. Every volunteer
    /// reads it: never a name, an address or a plate.
    ///
    /// # Errors
    /// As [`Engine::unlink`]; [`Error::Invalid`] names the field.
    pub fn state_fact(&mut self, case: DocumentId, fact: &str, value: &str) -> Result<String, Error> {
        guard::check("value", value, Place::Remark)?;
        let by = self.member_id().to_string();
        self.change_case(case, |content| Ok(content.state_fact(fact, value, by)))
    }

    /// Decides which of the values that are here holds: the one with the key `choice`, as [`Engine::facts`] lists them. A
    /// value that was not here reopens it.
    ///
    /// # Errors
    /// As [`Engine::unlink`]; [`Error::Invalid`] if there is no such value.
    pub fn resolve_fact(&mut self, case: DocumentId, fact: &str, choice: &str) -> Result<(), Error> {
        let by = self.member_id().to_string();
        self.change_case(case, |content| Ok(content.resolve_fact(fact, choice, by)?))
    }

    /// What was said in a case, and what of it holds.
    ///
    /// # Errors
    /// [`Error::NotHere`]; errors of the store.
    pub fn facts(&mut self, case: DocumentId) -> Result<Vec<FactRow>, Error> {
        self.refresh()?;
        let content = self.case(case)?;
        let facts = content.facts_by_code().into_iter();
        Ok(facts.map(|(fact, state)| FactRow { fact: fact.to_owned(), state }).collect())
    }

    /// Says that two observations are of two events: they are not suggested any more. Returns the document that says so.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member is a coordinator; [`Error::NotHere`]; [`Error::Invalid`].
    pub fn not_duplicates(
        &mut self,
        one: DocumentId,
        other: DocumentId,
        reason: &str,
    ) -> Result<DocumentId, Error> {
        self.fresh()?;
        for id in [one, other] {
            self.row(id)?.filter(|row| row.kind == Kind::OBSERVATION).ok_or(Error::NotHere(id))?;
        }
        guard::check("reason", reason, Place::Remark)?;
        let said = NotDuplicates::new(one.to_string(), other.to_string(), reason);
        said.validate()?;
        self.write_new(Kind::NOT_DUPLICATES, &said)
    }

    /// Takes back that two observations are of two events, whoever said so. One that was said unseen still stands.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member is a coordinator; errors of the store.
    pub fn may_be_duplicates(&mut self, one: DocumentId, other: DocumentId) -> Result<(), Error> {
        self.fresh()?;
        let by = self.member_id().to_string();
        let about = self.rows_about(one)?;
        let said = about.iter().filter(|row| row.kind == Kind::NOT_DUPLICATES && row.about.contains(&other));
        let ids: Vec<DocumentId> = said.map(|row| row.id).collect();
        self.transact(|engine, batch| {
            for id in ids {
                let mut said: NotDuplicates =
                    engine.load(id)?.read().map_err(|e| Error::Kind(e.to_string()))?;
                said.taken_back_by.clone_from(&by);
                said.validate()?;
                engine.write(batch, Kind::NOT_DUPLICATES, id, &said)?;
            }
            Ok(())
        })
    }

    fn change_case<T>(
        &mut self,
        id: DocumentId,
        change: impl FnOnce(&mut Case) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.fresh()?;
        let mut content = self.case(id)?;
        let done = change(&mut content)?;
        content.validate()?;
        self.transact(|engine, batch| engine.write(batch, Kind::CASE, id, &content))?;
        Ok(done)
    }

    pub(super) fn case(&mut self, id: DocumentId) -> Result<Case, Error> {
        let row = self.row(id)?.filter(|row| row.kind == Kind::CASE).ok_or(Error::NotHere(id))?;
        self.load(row.id)?.read().map_err(|e| Error::Kind(e.to_string()))
    }
}

impl Replica {
    /// Every case, with what it shares with others.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn cases(&self) -> Result<Vec<CaseRow>, Error> {
        self.run(Engine::cases).await
    }

    /// Takes an observation out of a case, and no other.
    ///
    /// # Errors
    /// As [`Engine::unlink`].
    pub async fn unlink(&self, case: DocumentId, observation: DocumentId) -> Result<(), Error> {
        self.run(move |engine| engine.unlink(case, observation)).await
    }

    /// Says what holds in a case; returns the value's key.
    ///
    /// # Errors
    /// As [`Engine::state_fact`].
    pub async fn state_fact(&self, case: DocumentId, fact: String, value: String) -> Result<String, Error> {
        self.run(move |engine| engine.state_fact(case, &fact, &value)).await
    }

    /// Decides which of the values that are here holds.
    ///
    /// # Errors
    /// As [`Engine::resolve_fact`].
    pub async fn resolve_fact(&self, case: DocumentId, fact: String, choice: String) -> Result<(), Error> {
        self.run(move |engine| engine.resolve_fact(case, &fact, &choice)).await
    }

    /// What was said in a case, and what of it holds.
    ///
    /// # Errors
    /// As [`Engine::facts`].
    pub async fn facts(&self, case: DocumentId) -> Result<Vec<FactRow>, Error> {
        self.run(move |engine| engine.facts(case)).await
    }

    /// Says that two observations are of two events.
    ///
    /// # Errors
    /// As [`Engine::not_duplicates`].
    pub async fn not_duplicates(
        &self,
        one: DocumentId,
        other: DocumentId,
        reason: String,
    ) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.not_duplicates(one, other, &reason)).await
    }

    /// Takes back that two observations are of two events.
    ///
    /// # Errors
    /// As [`Engine::may_be_duplicates`].
    pub async fn may_be_duplicates(&self, one: DocumentId, other: DocumentId) -> Result<(), Error> {
        self.run(move |engine| engine.may_be_duplicates(one, other)).await
    }
}
