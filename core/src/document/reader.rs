//! Reads a document in one pass per object.
//!
//! Automerge finds each field by a search of its own, several microseconds each; reading an observation that way took
//! longer than loading it. Here each object is read whole when first asked for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::RangeBounds;

use automerge::iter::{ListRange, MapRange};
use automerge::{AutoCommit, AutomergeError, ObjId, ObjType, Prop, Value};
use autosurgeon::ReadDoc;

/// What stands at a field or place, as Automerge answers it.
type Slot = (Value<'static>, ObjId);

/// A document, as far as it was read.
pub(super) struct Reader<'a> {
    document: &'a AutoCommit,
    maps: RefCell<HashMap<ObjId, HashMap<String, Slot>>>,
    lists: RefCell<HashMap<ObjId, Vec<Slot>>>,
}

impl<'a> Reader<'a> {
    pub fn new(document: &'a AutoCommit) -> Self {
        Self { document, maps: RefCell::default(), lists: RefCell::default() }
    }

    fn with_list<T>(&self, list: &ObjId, look: impl FnOnce(&[Slot]) -> T) -> T {
        let mut lists = self.lists.borrow_mut();
        let slots = lists.entry(list.clone()).or_insert_with(|| {
            let items = automerge::ReadDoc::list_range(self.document, list, ..);
            items
                .map(|item| {
                    let id = item.id();
                    (item.value.into_value(), id)
                })
                .collect()
        });
        look(slots)
    }
}

impl ReadDoc for Reader<'_> {
    type Parents<'b>
        = automerge::Parents<'b>
    where
        Self: 'b;

    fn get_heads(&self) -> Vec<automerge::ChangeHash> {
        self.document.get_heads()
    }

    fn get<P: Into<Prop>>(&self, object: &ObjId, prop: P) -> Result<Option<Slot>, AutomergeError> {
        Ok(match prop.into() {
            Prop::Map(key) => {
                let mut maps = self.maps.borrow_mut();
                let fields = maps.entry(object.clone()).or_insert_with(|| {
                    let items = automerge::ReadDoc::map_range(self.document, object, ..);
                    items
                        .map(|item| {
                            let (key, id) = (item.key.to_string(), item.id());
                            (key, (item.value.into_value(), id))
                        })
                        .collect()
                });
                fields.get(&key).cloned()
            }
            Prop::Seq(at) => self.with_list(object, |slots| slots.get(at).cloned()),
        })
    }

    fn object_type<O: AsRef<ObjId>>(&self, object: O) -> Option<ObjType> {
        self.document.object_type(object)
    }

    fn map_range<'b, O, R>(&'b self, object: O, range: R) -> MapRange<'b>
    where
        R: RangeBounds<String> + 'b,
        O: AsRef<ObjId>,
    {
        self.document.map_range(object, range)
    }

    fn list_range<O: AsRef<ObjId>, R: RangeBounds<usize>>(&self, object: O, range: R) -> ListRange<'_> {
        self.document.list_range(object, range)
    }

    fn length<O: AsRef<ObjId>>(&self, object: O) -> usize {
        self.with_list(object.as_ref(), <[Slot]>::len)
    }

    fn text<O: AsRef<ObjId>>(&self, object: O) -> Result<String, AutomergeError> {
        self.document.text(object)
    }

    fn parents<O: AsRef<ObjId>>(&self, object: O) -> Result<Self::Parents<'_>, AutomergeError> {
        self.document.parents(object)
    }

    fn is_empty(&self) -> bool {
        self.document.is_empty()
    }
}
