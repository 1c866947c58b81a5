//! What an app does with documents: the same as the engine's, off the caller's thread.

use std::collections::{BTreeMap, BTreeSet};

use super::app::Replica;
use super::consent::HeldBack;
use super::documents::Typed;
use super::drafts::Draft;
use super::engine::Engine;
use super::error::Error;
use super::media::{MediaPolicy, MediumRow};
use super::recall::HandedOver;
use super::record::ObservationDraft;
use super::release::ReleasePlan;
use super::schedule::{LeavesWhen, ScheduledRelease};
use crate::base::DocumentId;
use crate::watch::catalogue_update;
use crate::watch::decision::Standing;
use crate::watch::{
    AuditEntry, Bulletin, CarriedAction, Catalogue, Complaint, Difference, Finding, Kind, Lesson, RecallDue,
    Referral, Request, Tally, WatchDocument,
};

impl Replica {
    /// Makes a document of any kind. It is on disk when this returns.
    ///
    /// # Errors
    /// As [`Engine::create`].
    pub async fn create<T: WatchDocument + Send + 'static>(&self, content: T) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.create(&content)).await
    }

    /// Changes a document of any kind.
    ///
    /// # Errors
    /// As [`Engine::change`].
    pub async fn change<T: WatchDocument + Send + 'static>(
        &self,
        id: DocumentId,
        edit: impl FnOnce(&mut T) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        self.run(move |engine| engine.change(id, edit)).await
    }

    /// What a document of that kind says.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub async fn read<T: WatchDocument + Send + 'static>(&self, id: DocumentId) -> Result<T, Error> {
        self.run(move |engine| engine.read(id)).await
    }

    /// Every document of that kind.
    ///
    /// # Errors
    /// As [`Engine::all`].
    pub async fn all<T: WatchDocument + Send + 'static>(&self) -> Result<Vec<Typed<T>>, Error> {
        self.run(Engine::all).await
    }
}

/// Writes a method of [`Replica`] for each method of [`Engine`] that takes and gives owned values.
macro_rules! mirrored {
    ($($name:ident($($argument:ident: $type:ty),*) -> $outcome:ty;)+) => {
        impl Replica {
            $(
                #[doc = concat!("As [`Engine::", stringify!($name), "`].")]
                ///
                /// # Errors
                /// As there.
                pub async fn $name(&self, $($argument: $type),*) -> Result<$outcome, Error> {
                    self.run(move |engine| engine.$name($($argument),*)).await
                }
            )+
        }
    };
}

mirrored! {
    ask(request: Request) -> DocumentId;
    request_standing(request: DocumentId) -> Standing;
    recalls_due() -> BTreeSet<RecallDue>;
    what_became_of(observation: DocumentId) -> Vec<HandedOver>;
    held_back(observation: DocumentId) -> Option<HeldBack>;
    difference(release: DocumentId) -> Vec<Difference>;
    unschedule(id: DocumentId) -> ();
    scheduled() -> Vec<ScheduledRelease>;
    release_due() -> Vec<DocumentId>;
    cast_vote(ballot: DocumentId, choices: Vec<String>) -> DocumentId;
    close_ballot(ballot: DocumentId) -> Tally;
    tally(ballot: DocumentId) -> Tally;
    carried_over(meeting: DocumentId) -> Vec<CarriedAction>;
    check_in(shift: DocumentId) -> ();
    check_out(shift: DocumentId) -> ();
    effort_ms() -> i64;
    front_page() -> Vec<Typed<Bulletin>>;
    lessons() -> Vec<Typed<Lesson>>;
    take_lesson(lesson: DocumentId, answers: Vec<u32>) -> DocumentId;
    catalogue(base: &'static Catalogue, time_ms: i64) -> catalogue_update::Standing;
    refer(referral: Referral) -> DocumentId;
    withdraw_referral(referral: DocumentId) -> ();
    complain(complaint: Complaint) -> DocumentId;
    disclosure_log() -> BTreeMap<DocumentId, AuditEntry>;
    audit() -> BTreeSet<Finding>;
    drafts() -> Vec<Draft>;
    draft(id: DocumentId) -> Option<Draft>;
    discard_draft(id: DocumentId) -> ();
    attached(draft: DocumentId) -> Vec<MediumRow>;
    detach(draft: DocumentId, medium: String) -> ();
    media(document: DocumentId, medium: String) -> Vec<u8>;
    fetch_media(document: DocumentId) -> ();
    set_media_policy(policy: MediaPolicy) -> ();
    record_from_draft(draft: DocumentId, observation: ObservationDraft) -> DocumentId;
}

impl Replica {
    /// As [`Engine::decide_request`].
    ///
    /// # Errors
    /// As there.
    pub async fn decide_request(
        &self,
        request: DocumentId,
        approve: bool,
        reason: String,
    ) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.decide_request(request, approve, &reason)).await
    }

    /// As [`Engine::correct`].
    ///
    /// # Errors
    /// As there.
    pub async fn correct(
        &self,
        target: DocumentId,
        retract: bool,
        text: String,
    ) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.correct(target, retract, &text)).await
    }

    /// As [`Engine::contest`].
    ///
    /// # Errors
    /// As there.
    pub async fn contest(
        &self,
        outcome: DocumentId,
        observation: DocumentId,
        reason: String,
        text: String,
    ) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.contest(outcome, observation, &reason, &text)).await
    }

    /// As [`Engine::withdraw_consent`].
    ///
    /// # Errors
    /// As there.
    pub async fn withdraw_consent(&self, observation: DocumentId, audience: String) -> Result<(), Error> {
        self.run(move |engine| engine.withdraw_consent(observation, &audience)).await
    }

    /// As [`Engine::recall`].
    ///
    /// # Errors
    /// As there.
    pub async fn recall(
        &self,
        release: DocumentId,
        reason: String,
        text: String,
        replaced_by: Option<DocumentId>,
    ) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.recall(release, &reason, &text, replaced_by)).await
    }

    /// As [`Engine::revise`].
    ///
    /// # Errors
    /// As there.
    pub async fn revise(&self, release: DocumentId, plan: ReleasePlan) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.revise(release, &plan)).await
    }

    /// As [`Engine::schedule`].
    ///
    /// # Errors
    /// As there.
    pub async fn schedule(
        &self,
        replaced: Option<DocumentId>,
        plan: ReleasePlan,
        when: LeavesWhen,
    ) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.schedule(replaced, &plan, &when)).await
    }

    /// As [`Engine::advance_problem`].
    ///
    /// # Errors
    /// As there.
    pub async fn advance_problem(&self, problem: DocumentId, stage: String) -> Result<(), Error> {
        self.run(move |engine| engine.advance_problem(problem, &stage)).await
    }

    /// As [`Engine::new_draft`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn new_draft(&self, kind: Kind) -> Result<DocumentId, Error> {
        self.run(move |engine| Ok(engine.new_draft(kind))).await
    }

    /// As [`Engine::save_draft`].
    ///
    /// # Errors
    /// As there.
    pub async fn save_draft(&self, id: DocumentId, kind: Kind, bytes: Vec<u8>) -> Result<(), Error> {
        self.run(move |engine| engine.save_draft(id, kind, &bytes)).await
    }

    /// As [`Engine::create_from_draft`].
    ///
    /// # Errors
    /// As there.
    pub async fn create_from_draft<T: WatchDocument + Send + 'static>(
        &self,
        draft: DocumentId,
        content: T,
    ) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.create_from_draft(draft, &content)).await
    }
}
