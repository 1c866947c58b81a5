//! Documents of any kind: made, changed and read by their type. What a kind asks for beyond that has calls of its own.

use super::disk::DRAFTS;
use super::engine::Engine;
use super::error::{Error, Fault};
use crate::base::{DocumentId, MemberId};
use crate::document::is_created_by;
use crate::watch::{WatchDocument, Writer};

/// A document with its content.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed<T> {
    /// The document.
    pub id: DocumentId,
    /// The member who created it.
    pub author: MemberId,
    /// What it says.
    pub content: T,
}

impl Engine {
    /// Makes a document. On disk when this returns.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field and what to do; [`Error::Role`]; [`Error::Kind`] names the call that makes
    /// documents of that kind, if it is another; errors of the store.
    pub fn create<T: WatchDocument>(&mut self, content: &T) -> Result<DocumentId, Error> {
        made_directly::<T>()?;
        self.create_own(content)
    }

    /// As [`Engine::create`], for the calls that make documents of certain kinds.
    pub(super) fn create_own<T: WatchDocument>(&mut self, content: &T) -> Result<DocumentId, Error> {
        let id = self.new_id(T::KIND);
        self.create_at(id, content)?;
        Ok(id)
    }

    /// As [`Engine::create`], for a draft that was begun with [`Engine::new_draft`]; the draft goes in the same write.
    ///
    /// # Errors
    /// As [`Engine::create`].
    pub fn create_from_draft<T: WatchDocument>(
        &mut self,
        draft: DocumentId,
        content: &T,
    ) -> Result<DocumentId, Error> {
        made_directly::<T>()?;
        self.refresh()?;
        let id = self.id_for_draft(draft, T::KIND);
        self.transact(|engine, batch| {
            engine.check_new(id, content)?;
            engine.write(batch, T::KIND, id, content)?;
            batch.delete(DRAFTS, draft.as_bytes());
            Ok(())
        })?;
        Ok(id)
    }

    /// As [`Engine::create`], under an identity that the kind derives.
    pub(super) fn create_at<T: WatchDocument>(&mut self, id: DocumentId, content: &T) -> Result<(), Error> {
        self.check_new(id, content)?;
        self.transact(|engine, batch| engine.write(batch, T::KIND, id, content))
    }

    fn check_new<T: WatchDocument>(&mut self, id: DocumentId, content: &T) -> Result<(), Error> {
        content.validate()?;
        self.check_change(id, None, content)
    }

    /// Changes a document of that kind: `edit` gets what it says now. The earlier words stay in its history.
    ///
    /// # Errors
    /// [`Error::NotHere`]; [`Error::Role`] if it is not this member's to change; whatever `edit` says;
    /// [`Error::Invalid`] if the outcome cannot be filed.
    pub fn change<T: WatchDocument>(
        &mut self,
        id: DocumentId,
        edit: impl FnOnce(&mut T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.fresh()?;
        let rule = self.may_write(T::KIND)?;
        if rule.frozen {
            return Err(Error::Role("change what is frozen; make a new one instead"));
        }
        if rule.author_only && !is_created_by(id, self.member_id(), T::KIND.0) {
            return Err(Error::Role("change what somebody else wrote"));
        }
        let before: T = self.read(id)?;
        let mut after: T = self.read(id)?;
        edit(&mut after)?;
        after.validate()?;
        self.check_change(id, Some(&before), &after)?;
        self.transact(|engine, batch| engine.write(batch, T::KIND, id, &after))
    }

    /// What a document of that kind says.
    ///
    /// # Errors
    /// [`Error::NotHere`] if there is none of that kind here; errors of the store.
    pub fn read<T: WatchDocument>(&mut self, id: DocumentId) -> Result<T, Error> {
        self.refresh()?;
        self.row(id)?.filter(|row| row.kind == T::KIND).ok_or(Error::NotHere(id))?;
        let document = self.load(id)?;
        let content = document.read().map_err(|e| Error::Kind(e.to_string()))?;
        self.recent.keep(id, document);
        Ok(content)
    }

    /// Every document of that kind that is here, latest change first. Loads each: for kinds of which there are few.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn all<T: WatchDocument>(&mut self) -> Result<Vec<Typed<T>>, Error> {
        self.refresh()?;
        let found = self.of_kind(T::KIND)?.into_iter();
        found.map(|(id, author)| Ok(Typed { id, author, content: self.read(id)? })).collect()
    }

    /// Judges a change as every device will that receives it.
    fn check_change<T: WatchDocument>(
        &self,
        id: DocumentId,
        before: Option<&T>,
        after: &T,
    ) -> Result<(), Error> {
        let Some(role) = self.role().filter(|_| T::JUDGED) else { return Ok(()) };
        let writer = Writer { member: self.member_id(), role: role.0, document: id };
        Ok(T::check_change(before, after, &writer)?)
    }

    /// The identity that a draft is filed under: its own, unless this device has become another member's since.
    pub(super) fn id_for_draft(&mut self, draft: DocumentId, kind: crate::watch::Kind) -> DocumentId {
        if is_created_by(draft, self.member_id(), kind.0) { draft } else { self.new_id(kind) }
    }

    /// Whether this group has the compartment of a kind, and this member may write it there. A failure of the store is no
    /// answer.
    pub(super) fn can_write(&mut self, kind: crate::watch::Kind) -> Result<bool, Error> {
        match self.may_write(kind) {
            Ok(_) => Ok(true),
            Err(why) if why.fault() == Fault::Input => Ok(false),
            Err(why) => Err(why),
        }
    }

    /// This device's clock, in milliseconds since the Unix epoch.
    pub(super) fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now_ms()).unwrap_or(i64::MAX)
    }
}

/// Refuses kinds that have a call of their own.
fn made_directly<T: WatchDocument>() -> Result<(), Error> {
    match T::MADE_BY {
        None => Ok(()),
        Some(call) => {
            Err(Error::Kind(format!("documents of this kind are not made as they are: call `{call}`")))
        }
    }
}
