//! What the tests of several kinds share.

use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ROOT, ReadDoc};
use autosurgeon::{Hydrate, Reconcile, hydrate, reconcile};

/// A new document holding the value, written by the device of that number.
pub(crate) fn document_of<T: Reconcile>(value: &T, device: u8) -> AutoCommit {
    let mut doc = AutoCommit::new().with_actor(ActorId::from([device; 32]));
    reconcile(&mut doc, value).unwrap();
    doc
}

/// The value as another device reads it from the saved bytes.
pub(crate) fn stored<T: Reconcile + Hydrate>(value: &T) -> T {
    let bytes = document_of(value, 1).save();
    hydrate(&AutoCommit::load(&bytes).unwrap()).unwrap()
}

/// A copy of the document for the device of that number.
pub(crate) fn fork(doc: &mut AutoCommit, device: u8) -> AutoCommit {
    doc.fork().with_actor(ActorId::from([device; 32]))
}

/// Whether a field of a newer version survives a write by our struct, and a document without any field is read as the
/// default.
pub(crate) fn keeps_what_it_does_not_know<T>(value: &T) -> bool
where
    T: Reconcile + Hydrate + Default + PartialEq,
{
    let mut doc = document_of(&T::default(), 1);
    doc.put(ROOT, "from_the_future", "kept").unwrap();
    reconcile(&mut doc, value).unwrap();
    let kept = doc.get(ROOT, "from_the_future").unwrap().unwrap().0;
    let empty: T = hydrate(&AutoCommit::new()).unwrap();
    kept.as_str() == Some("kept") && hydrate::<_, T>(&doc).unwrap() == *value && empty == T::default()
}
