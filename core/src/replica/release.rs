//! Handing over: redacted releases and their records.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use super::disk;
use super::engine::Engine;
use super::error::Error;
use super::record::ObservationDraft;
use crate::base::{DocumentId, Hash, MemberId};
use crate::entry::evidence;
use crate::entry::keys::Secret;
use crate::roll::operation::hold_reasons;
use crate::storage::Batch;
use crate::watch::guard;
use crate::watch::{
    Content, Difference, Disclosure, Invalid, Kind, LinkedIn, OpenFact, Provenance, Redaction, Release,
    ReleasedItem, Source, difference, redact, roles,
};

/// What a coordinator is about to hand over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReleasePlan {
    /// One line that says what it is about.
    #[n(0)]
    pub title: String,
    /// Why it is handed over.
    #[n(1)]
    pub purpose: String,
    /// The member who receives it.
    #[n(2)]
    pub recipient: Option<MemberId>,
    /// When it is no longer to be used, in milliseconds since the Unix epoch.
    #[n(3)]
    pub expires_ms: Option<i64>,
    /// The observations, each with what is to be left out.
    #[n(4)]
    pub observations: Vec<(DocumentId, Redaction)>,
}

/// A release that may leave as soon as its photos are sealed anew, and what is written with it.
pub(super) struct Ready {
    id: DocumentId,
    /// What leaves.
    pub release: Release,
    disclosure: Disclosure,
    provenance: Provenance,
}

impl Engine {
    /// What would leave, to be looked at before it does.
    ///
    /// # Errors
    /// [`Error::NotHere`]; [`Error::Invalid`] if consent is missing or withdrawn, the author took the report back, or a span is
    /// wrong.
    pub fn preview(&mut self, plan: &ReleasePlan) -> Result<Vec<ReleasedItem>, Error> {
        self.fresh()?;
        let mut items = Vec::new();
        for (id, redaction) in &plan.observations {
            self.must_not_be_retracted(*id)?;
            let item = redact(&self.draft_of(*id)?.observation, redaction)?;
            if !redaction.only_counted {
                items.push(item);
            }
        }
        Ok(items)
    }

    /// What would leave of the cases that a release's observations are linked in: what they disagree about. To keep it
    /// back, settle it first.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn open_facts(&mut self, plan: &ReleasePlan) -> Result<Vec<OpenFact>, Error> {
        let mut cases = BTreeSet::new();
        for (observation, _) in &plan.observations {
            let about = self.rows_about(*observation)?;
            cases.extend(about.iter().filter(|row| row.kind == Kind::CASE).map(|row| row.id));
        }
        let mut values_by_fact: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for case in cases {
            for open in self.case(case)?.open_facts() {
                values_by_fact.entry(open.fact).or_default().extend(open.values);
            }
        }
        let open = values_by_fact.into_iter();
        Ok(open.map(|(fact, values)| OpenFact { fact, values: values.into_iter().collect() }).collect())
    }

    /// Hands a redacted, frozen copy to the liaison, with its disclosure record, in one durable write.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member is a coordinator; [`Error::Invalid`], [`Error::NotHere`]; [`Error::PhotoNotHere`].
    pub fn release(&mut self, plan: &ReleasePlan) -> Result<DocumentId, Error> {
        self.hand_over(plan, None, |_, _, _| Ok(()))
    }

    /// Hands over the next revision of a release, and calls the earlier one back, in one durable write. The recipient is that
    /// of the earlier one, whatever the plan says, unless they are no liaison any more. Both sides see what is different ([`Engine::difference`]).
    ///
    /// # Errors
    /// As [`Engine::release`]; [`Error::Invalid`] if it was revised before: then revise the latest.
    pub fn revise(&mut self, release: DocumentId, plan: &ReleasePlan) -> Result<DocumentId, Error> {
        let before: Release = self.read(release)?;
        let mut plan = plan.clone();
        if let Ok(officer) = MemberId::parse(&before.recipient)
            && self.is_liaison(officer)?
        {
            plan.recipient = Some(officer);
        }
        let later = self.rows_about(release)?.into_iter().find(|row| row.kind == Kind::RELEASE);
        if let Some(later) = later {
            let problem = format!("was revised before, as {}", later.id.short());
            return Err(Invalid::new("release", problem, "revise the latest").into());
        }
        self.hand_over(&plan, Some((release, before.revision)), |engine, batch, id| {
            engine.write_recall(batch, release, "corrected", "", Some(id))
        })
    }

    /// What a revision says otherwise than the release that it takes the place of; nothing if it is the first.
    ///
    /// # Errors
    /// [`Error::NotHere`] if one of the two is not here.
    pub fn difference(&mut self, release: DocumentId) -> Result<Vec<Difference>, Error> {
        let after: Release = self.read(release)?;
        let Ok(before) = DocumentId::parse(&after.replaces) else { return Ok(Vec::new()) };
        Ok(difference(&self.read(before)?, &after))
    }

    /// Writes a release, its disclosure record and its proof, and whatever else belongs into the same write.
    pub(super) fn hand_over(
        &mut self,
        plan: &ReleasePlan,
        before: Option<(DocumentId, u32)>,
        also: impl FnOnce(&mut Self, &mut Batch, DocumentId) -> Result<(), Error>,
    ) -> Result<DocumentId, Error> {
        let Ready { id, mut release, disclosure, provenance } = self.ready(plan, before)?;
        let chunks = self.reseal_media(&mut release.items)?;
        release.validate()?;
        let provenance_id = self.new_id(Kind::PROVENANCE);
        self.transact(|engine, batch| {
            engine.put_chunks(batch, &chunks);
            engine.queue_chunks(batch, id, &chunks.iter().map(|chunk| chunk.id).collect::<Vec<_>>())?;
            engine.write(batch, Kind::RELEASE, id, &release)?;
            engine.write_disclosure(batch, &disclosure)?;
            engine.write(batch, Kind::PROVENANCE, provenance_id, &provenance)?;
            let sources: Vec<DocumentId> = plan.observations.iter().map(|(id, _)| *id).collect();
            engine.keep_linked(batch, &sources, hold_reasons::RELEASE)?;
            also(engine, batch, id)
        })?;
        Ok(id)
    }

    /// What a plan comes to, judged in everything but the bytes of its photos, which are still those of the group. Nothing is
    /// written, and no photo is looked at: that takes long, and this is asked often.
    pub(super) fn ready(
        &mut self,
        plan: &ReleasePlan,
        before: Option<(DocumentId, u32)>,
    ) -> Result<Ready, Error> {
        self.may_write(Kind::RELEASE)?;
        let items = self.preview(plan)?;
        let recipient = plan.recipient.ok_or_else(|| {
            Invalid::new("recipient", "is missing", "choose the liaison officer who receives it")
        })?;
        if !self.is_liaison(recipient)? {
            let remedy = "choose one from the roster";
            return Err(Invalid::new("recipient", "is not a liaison of this group", remedy).into());
        }
        let id = self.new_id(Kind::RELEASE);
        let now_ms = self.now_ms();
        let sources = self.sources_of(plan)?;
        // Sorted, so that their order does not tell which sources belong together.
        let mut commitments: Vec<String> = sources.iter().map(|source| source.commitment.clone()).collect();
        commitments.sort_unstable();
        let release = Release {
            title: plan.title.clone(),
            purpose: plan.purpose.clone(),
            recipient: recipient.to_string(),
            created_ms: now_ms,
            expires_ms: plan.expires_ms,
            revision: before.map_or(1, |(_, revision)| revision.saturating_add(1)),
            replaces: before.map(|(id, _)| id.to_string()).unwrap_or_default(),
            sources_count: u32::try_from(plan.observations.len()).unwrap_or(u32::MAX),
            items,
            open_facts: self.open_facts(plan)?,
            commitments,
        };
        release.validate()?;
        guard::check_release(&release)?;
        let disclosure = Disclosure {
            release: id.to_string(),
            observations: plan.observations.iter().map(|(id, _)| id.to_string()).collect(),
            recipient: release.recipient.clone(),
            outside: String::new(),
            recipient_role: roles::ROLE_LIAISON,
            purpose: plan.purpose.clone(),
            at_ms: now_ms,
            what: release.fields(),
        };
        disclosure.validate()?;
        let (links, corrections) = self.standing_of(plan)?;
        let provenance = Provenance { release: id.to_string(), sources, links, corrections };
        provenance.validate()?;
        Ok(Ready { id, release, disclosure, provenance })
    }

    fn is_liaison(&self, member: MemberId) -> Result<bool, Error> {
        Ok(self.state()?.member(member).is_some_and(|member| member.role.0 == roles::ROLE_LIAISON))
    }

    /// The entries that a plan's observations are made of, each committed to with a salt of its own.
    fn sources_of(&mut self, plan: &ReleasePlan) -> Result<Vec<Source>, Error> {
        let mut sources = Vec::new();
        for (observation, _) in &plan.observations {
            for (log, seq) in self.parts(*observation)? {
                let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
                let salt = Secret::draw(&mut self.rng);
                sources.push(Source {
                    entry: entry.hash().to_string(),
                    commitment: evidence::commitment(&salt, entry.hash()).to_string(),
                    salt: Hash(salt.0).to_string(),
                    observation: observation.to_string(),
                });
            }
        }
        Ok(sources)
    }

    /// In which cases a plan's observations are linked now, and which corrections of them are here.
    fn standing_of(&self, plan: &ReleasePlan) -> Result<(Vec<LinkedIn>, Vec<String>), Error> {
        let (mut links, mut corrections) = (Vec::new(), Vec::new());
        for (observation, _) in &plan.observations {
            for row in self.rows_about(*observation)? {
                let (id, observation) = (row.id.to_string(), observation.to_string());
                match row.kind {
                    Kind::CASE => links.push(LinkedIn { case: id, observation }),
                    Kind::CORRECTION => corrections.push(id),
                    _ => {}
                }
            }
        }
        Ok((links, corrections))
    }

    /// What is on this device of an observation, as a draft to go on from.
    ///
    /// # Errors
    /// [`Error::NotHere`].
    pub fn draft_of(&mut self, id: DocumentId) -> Result<ObservationDraft, Error> {
        let Content::Observation(observation, sealed) = self.get(id)?.content else {
            return Err(Error::Kind(format!("{} is not an observation", id.short())));
        };
        Ok(ObservationDraft { observation, sealed })
    }
}
