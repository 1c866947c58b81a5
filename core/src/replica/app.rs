//! [`Replica`]: the engine for apps. Every call that touches the disk is async and runs off the caller's thread.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rand_core::CryptoRng;
use tokio::sync::{Notify, watch};

use super::answers::LiaisonAnswer;
use super::clock::{Clock, SystemClock};
use super::driver::{self, LinkState};
use super::effects::SyncReport;
use super::engine::{Engine, Environment};
use super::error::Error;
use super::evidence::EvidenceItem;
use super::feed::{Feed, Feeds};
use super::lock;
use super::record::{CaseLink, ObservationDraft};
use super::release::ReleasePlan;
use super::transport::{Transport, WebSocketTransport};
use super::vault::Vault;
use super::veiled::Veiled;
use super::view::{Delivery, Detail, Filter, Row, SetAside};
use crate::base::DocumentId;
use crate::entry::evidence::Proven;
use crate::entry::keys::Secret;
use crate::storage::{Options, SledStore, StoreKind};
use crate::sync::session::Budget;
use crate::watch::{OpenFact, ReleasedItem};

/// One device of one member, as an app holds it. Clones share the device.
#[derive(Clone)]
pub struct Replica {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    /// None once the device was wiped.
    engine: Mutex<Option<Engine>>,
    directory: Option<PathBuf>,
    feeds: Feeds,
    transport: Arc<dyn Transport>,
    /// Wakes the live link when there is something to send.
    pub(super) outbox_grew: Notify,
    /// One session at a time: two would send the same entries twice.
    pub(super) link: tokio::sync::Mutex<()>,
}

impl Replica {
    /// Opens the device in `directory`, or makes a new one there. Needs a tokio runtime. The file `directory` with `.keys` behind
    /// its name belongs to the device: a backup holds both, of one time.
    ///
    /// # Errors
    /// [`Error::Store`] if the directory cannot be used, [`Error::WrongVault`] if it belongs to another keychain,
    /// [`Error::Locked`] if the device has a PIN (see [`Replica::unlock`]), [`Error::NoKeyFile`].
    pub async fn open(directory: impl AsRef<Path>, vault: Arc<dyn Vault>) -> Result<Self, Error> {
        Self::open_over(directory.as_ref(), vault, Arc::new(WebSocketTransport::default())).await
    }

    /// As [`Replica::open`], over a network of one's own.
    ///
    /// # Errors
    /// As [`Replica::open`].
    pub async fn open_over(
        directory: &Path,
        vault: Arc<dyn Vault>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, Error> {
        Self::open_by(directory, vault, transport, |directory, vault| {
            Engine::open_in(directory, vault, Arc::new(SystemClock), system_entropy())
        })
        .await
    }

    /// The environment of a device in a directory.
    pub(super) fn environment(
        directory: &Path,
        vault: Arc<dyn Vault>,
        store_key: &Secret,
    ) -> Result<Environment, Error> {
        let store = SledStore::open(directory, Options::new(StoreKind::Phone))?;
        Ok(Environment {
            store: Arc::new(Veiled::new(store, store_key)),
            vault,
            clock: Arc::new(SystemClock),
            entropy: system_entropy(),
        })
    }

    /// Opens a device off the caller's thread.
    pub(super) async fn open_by(
        directory: &Path,
        vault: Arc<dyn Vault>,
        transport: Arc<dyn Transport>,
        open: impl FnOnce(&Path, Arc<dyn Vault>) -> Result<Engine, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let directory = directory.to_owned();
        let at = directory.clone();
        let opened = tokio::task::spawn_blocking(move || open(&directory, vault));
        let engine = opened.await.map_err(|_| Error::Closed)??;
        Ok(Self::with_directory(engine, transport, Some(at)))
    }

    /// Wraps an engine with an environment of one's own: another store, clock, randomness or network.
    pub fn with(engine: Engine, transport: Arc<dyn Transport>) -> Self {
        Self::with_directory(engine, transport, None)
    }

    pub(super) fn with_directory(
        engine: Engine,
        transport: Arc<dyn Transport>,
        directory: Option<PathBuf>,
    ) -> Self {
        let (engine, feeds) = (Mutex::new(Some(engine)), Feeds::default());
        let (outbox_grew, link) = (Notify::new(), tokio::sync::Mutex::new(()));
        Self { inner: Arc::new(Inner { engine, directory, feeds, transport, outbox_grew, link }) }
    }

    /// Files an observation. It is on disk when this returns, and leaves the phone at the next sync.
    ///
    /// # Errors
    /// As [`Engine::record`].
    pub async fn record(&self, draft: ObservationDraft) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.record(draft)).await
    }

    /// Changes an observation of one's own.
    ///
    /// # Errors
    /// As [`Engine::amend`].
    pub async fn amend(&self, id: DocumentId, draft: ObservationDraft) -> Result<(), Error> {
        self.run(move |engine| engine.amend(id, draft)).await
    }

    /// Attaches a photo to a draft, or to an observation of one's own: as a clean copy for the group, and as it was taken
    /// for the coordinators. Answers with its id.
    ///
    /// # Errors
    /// As [`Engine::attach`].
    pub async fn attach(&self, to: DocumentId, photo: Vec<u8>, caption: String) -> Result<String, Error> {
        self.run(move |engine| engine.attach(to, &photo, &caption)).await
    }

    /// Remarks on a document. `status` is a key of `codes/annotation_status.json`, or empty.
    ///
    /// # Errors
    /// As [`Engine::annotate`].
    pub async fn annotate(
        &self,
        target: DocumentId,
        text: String,
        status: String,
    ) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.annotate(target, &text, &status)).await
    }

    /// Links observations into a case.
    ///
    /// # Errors
    /// As [`Engine::link`].
    pub async fn link(
        &self,
        case: Option<DocumentId>,
        title: String,
        links: Vec<CaseLink>,
    ) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.link(case, &title, &links)).await
    }

    /// What a release would hand over.
    ///
    /// # Errors
    /// As [`Engine::preview`].
    pub async fn preview(&self, plan: ReleasePlan) -> Result<Vec<ReleasedItem>, Error> {
        self.run(move |engine| engine.preview(&plan)).await
    }

    /// What a release would say is not settled.
    ///
    /// # Errors
    /// As [`Engine::open_facts`].
    pub async fn open_facts(&self, plan: ReleasePlan) -> Result<Vec<OpenFact>, Error> {
        self.run(move |engine| engine.open_facts(&plan)).await
    }

    /// Hands a redacted copy to the liaison.
    ///
    /// # Errors
    /// As [`Engine::release`].
    pub async fn release(&self, plan: ReleasePlan) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.release(&plan)).await
    }

    /// The liaison answers.
    ///
    /// # Errors
    /// As [`Engine::respond`].
    pub async fn respond(&self, release: DocumentId, answer: LiaisonAnswer) -> Result<DocumentId, Error> {
        self.run(move |engine| engine.respond(release, &answer)).await
    }

    /// Proof of a release's sources.
    ///
    /// # Errors
    /// As [`Engine::evidence`].
    pub async fn evidence(&self, release: DocumentId) -> Result<Vec<EvidenceItem>, Error> {
        self.run(move |engine| engine.evidence(release)).await
    }

    /// Checks proof of a source.
    ///
    /// # Errors
    /// As [`Engine::check_evidence`].
    pub async fn check_evidence(&self, release: DocumentId, bytes: Vec<u8>) -> Result<Proven, Error> {
        self.run(move |engine| engine.check_evidence(release, &bytes)).await
    }

    /// Lists documents, latest change first, without loading any.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn list(&self, filter: Filter) -> Result<Vec<(Row, Delivery)>, Error> {
        self.run(move |engine| engine.list(&filter)).await
    }

    /// One document in full, and what became of it.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub async fn get(&self, id: DocumentId) -> Result<Detail, Error> {
        self.run(move |engine| engine.get(id)).await
    }

    /// An observation as a draft to amend.
    ///
    /// # Errors
    /// As [`Engine::draft_of`].
    pub async fn draft_of(&self, id: DocumentId) -> Result<ObservationDraft, Error> {
        self.run(move |engine| engine.draft_of(id)).await
    }

    /// Entries without effect, and why.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn set_aside(&self) -> Result<Vec<SetAside>, Error> {
        self.run(|engine| engine.set_aside()).await
    }

    /// How many entries the relay has not acknowledged.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn outbox_len(&self) -> Result<usize, Error> {
        self.run(|engine| engine.outbox_len()).await
    }

    pub(super) async fn rows(&self, ids: Vec<DocumentId>) -> Result<Vec<(Row, Delivery)>, Error> {
        self.run(move |engine| {
            let mut rows = Vec::new();
            for id in ids {
                if let Some(row) = engine.row(id)? {
                    let delivery = engine.delivery(id);
                    rows.push((row, delivery));
                }
            }
            Ok(rows)
        })
        .await
    }

    /// Changes of the list, to be pulled.
    pub fn feed(&self) -> Feed {
        Feed::new(self.clone(), self.inner.feeds.subscribe())
    }

    /// Sends what there is and fetches what there is, within a budget. Resumes where the last one stopped.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::RelayRefused`], [`Error::RelayMisbehaved`], [`Error::RolledBack`]. Whatever was
    /// acknowledged or stored before stays so.
    pub async fn sync_once(&self, url: &str, budget: Budget) -> Result<SyncReport, Error> {
        driver::sync_once(self, url, budget).await
    }

    /// Accepts the next relay in the place of one that was lost.
    ///
    /// # Errors
    /// As [`Engine::trust_new_relay`].
    pub async fn trust_new_relay(&self) -> Result<(), Error> {
        self.run(Engine::trust_new_relay).await
    }

    /// Stays connected until the returned handle is dropped; connects again by itself, ever more patiently.
    pub fn go_live(&self, url: &str) -> Live {
        let (state, states) = watch::channel(LinkState::Connecting);
        let task = tokio::spawn(driver::stay_live(self.clone(), url.to_owned(), state));
        Live { states, task }
    }

    /// Runs `work` on the engine, off the caller's thread.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || {
            let mut locked = inner.engine.lock().unwrap_or_else(|poisoned| {
                // A call died half way: what it had in memory is not to be built on.
                inner.engine.clear_poison();
                let mut locked = poisoned.into_inner();
                locked.iter_mut().for_each(Engine::distrust_memory);
                locked
            });
            let engine = locked.as_mut().ok_or(Error::Closed)?;
            let before = engine.outbox_mark();
            let outcome = work(engine);
            let (changed, gone) = engine.take_changed();
            if engine.outbox_mark() != before {
                inner.outbox_grew.notify_one();
            }
            drop(locked);
            inner.feeds.publish(&changed, &gone);
            outcome
        });
        done.await.map_err(|_| Error::Closed)?
    }

    pub(super) fn directory(&self) -> Option<PathBuf> {
        self.inner.directory.clone()
    }

    /// Takes the engine away from every clone, once no call is under way.
    pub(super) async fn take_engine(&self) -> Result<Engine, Error> {
        let inner = Arc::clone(&self.inner);
        let taken = tokio::task::spawn_blocking(move || {
            inner.engine.lock().unwrap_or_else(PoisonError::into_inner).take()
        });
        taken.await.map_err(|_| Error::Closed)?.ok_or(Error::Closed)
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(super) fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(&self.inner.transport)
    }
}

fn system_entropy() -> Box<dyn CryptoRng + Send> {
    Box::new(rand_core::UnwrapErr(getrandom::SysRng))
}

impl Engine {
    /// Opens the device in `directory`, or makes a new one there, as [`Replica::open`] does: for programs with a clock and randomness
    /// of their own.
    ///
    /// # Errors
    /// As [`Replica::open`].
    pub fn open_in(
        directory: &Path,
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
        entropy: Box<dyn CryptoRng + Send>,
    ) -> Result<Self, Error> {
        let keys = lock::keys_without_pin(directory, &*vault)?;
        let environment = Replica::environment(directory, vault, &keys.store)?;
        Self::open_with_key(Environment { clock, entropy, ..environment }, keys.device)
    }
}

/// A live link. Dropping it ends it.
pub struct Live {
    states: watch::Receiver<LinkState>,
    task: tokio::task::JoinHandle<()>,
}

impl Live {
    /// How the link is now, in words for a status line.
    pub fn state(&self) -> LinkState {
        self.states.borrow().clone()
    }

    /// Waits until the link's state is another than the one last seen here, and returns it.
    ///
    /// # Errors
    /// [`Error::Closed`] if the link has ended for good.
    pub async fn changed(&mut self) -> Result<LinkState, Error> {
        self.states.changed().await.map_err(|_| Error::Closed)?;
        Ok(self.states.borrow_and_update().clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}
