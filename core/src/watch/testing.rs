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

/// The field that is refused after an edit of a valid document.
pub(crate) fn refused<T: super::WatchDocument + Clone>(valid: &T, edit: impl FnOnce(&mut T)) -> String {
    assert_eq!(valid.validate(), Ok(()));
    let mut edited = valid.clone();
    edit(&mut edited);
    edited.validate().unwrap_err().field
}

/// The field because of which a change has no effect.
pub(crate) fn set_aside<T: super::WatchDocument>(
    before: Option<&T>,
    after: &T,
    writer: &super::Writer,
) -> Option<String> {
    T::check_change(before, after, writer).err().map(|why| why.field)
}

/// Somebody of a role, and a document of that kind which they created.
pub(crate) fn writer(member: u8, role: u8, kind: super::Kind) -> super::Writer {
    let member = crate::base::MemberId([member; 32]);
    super::Writer { member, role, document: crate::document::create_id(member, kind.0, [7; 8]) }
}

/// A short list: lists of lists of a hundred each take minutes.
pub(crate) fn few<T: proptest::arbitrary::Arbitrary>() -> impl proptest::strategy::Strategy<Value = Vec<T>> {
    proptest::collection::vec(T::arbitrary(), 0..4)
}
