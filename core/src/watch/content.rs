//! What every kind of document has in common: how it is judged, and what a list shows of it.
//!
//! A kind is added by a file with its type and this trait, and by one row of the table in [`kinds`](super::kinds), which
//! generates [`Content`](super::Content).

use super::check::Invalid;
use super::kinds::Kind;
use crate::base::{DocumentId, MemberId};
use autosurgeon::reconcile::MapReconciler;
use autosurgeon::{Hydrate, HydrateError, Prop, ReadDoc, Reconcile, Reconciler};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

/// The content of one kind of document.
pub trait WatchDocument: Hydrate + Reconcile {
    /// Its kind.
    const KIND: Kind;

    /// The call of the engine that makes such documents, if they are not made as they are: it asks for more, or writes
    /// others with them.
    const MADE_BY: Option<&str> = None;

    /// Whether changes are judged by what they do, too: see [`WatchDocument::check_change`].
    const JUDGED: bool = false;

    /// Judges the author's own input.
    ///
    /// # Errors
    /// Names the first field that cannot be filed as it is, and what to do about it.
    fn validate(&self) -> Result<(), Invalid>;

    /// What a list shows.
    fn summary(&self) -> Summary;

    /// Judges a change by the content that its author had, the content that it makes of that, and who wrote it; on
    /// every device alike, so it knows nothing else. `before` is none for the change that creates the document.
    ///
    /// # Errors
    /// What the kind does not allow. The change has no effect.
    fn check_change(before: Option<&Self>, after: &Self, writer: &Writer) -> Result<(), Invalid> {
        let _ = (before, after, writer);
        Ok(())
    }
}

/// Who wrote a change to which document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The member.
    pub member: MemberId,
    /// The id of their role when they wrote it.
    pub role: u8,
    /// The document.
    pub document: DocumentId,
}

/// What a list shows of a document. Fields that a kind does not have are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// One line that says what it is.
    pub title: String,
    /// The text people read.
    pub text: String,
    /// When it happens or happened, in milliseconds since the Unix epoch.
    pub when_ms: Option<i64>,
    /// The public cell.
    pub cell: String,
    /// Codes to filter by.
    pub codes: Vec<String>,
    /// Circumstances to see first.
    pub flags: Vec<String>,
    /// Documents that it is about.
    pub about: Vec<DocumentId>,
    /// The exact position as latitude and longitude in 1e-7 degrees (WGS 84); for sealed parts.
    pub position_e7: Option<(i32, i32)>,
}

/// The identities among `texts`; what is none is left out.
pub(super) fn ids<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Vec<DocumentId> {
    texts.into_iter().filter_map(|text| DocumentId::parse(text.as_ref()).ok()).collect()
}

/// Codes without the empty ones.
pub(super) fn codes_of<'a>(codes: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    codes.into_iter().filter(|code| !code.is_empty()).cloned().collect()
}

/// Items by key, of which a write takes none away.
///
/// The ordinary way of writing a map deletes each key that the writer does not hold, so a device that had not heard of a
/// colleague's item would remove it.
#[derive(Clone, Debug, PartialEq)]
pub struct Keyed<T>(BTreeMap<String, T>);

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Deref for Keyed<T> {
    type Target = BTreeMap<String, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for Keyed<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<T, K: Into<String>> FromIterator<(K, T)> for Keyed<T> {
    fn from_iter<I: IntoIterator<Item = (K, T)>>(items: I) -> Self {
        Self(items.into_iter().map(|(key, item)| (key.into(), item)).collect())
    }
}

impl<T: Reconcile> Reconcile for Keyed<T> {
    type Key<'a> = autosurgeon::reconcile::NoKey;

    fn reconcile<R: Reconciler>(&self, reconciler: R) -> Result<(), R::Error> {
        put_each(&self.0, reconciler)
    }
}

impl<T: Hydrate> Hydrate for Keyed<T> {
    fn hydrate<D: ReadDoc>(doc: &D, obj: &automerge::ObjId, prop: Prop<'_>) -> Result<Self, HydrateError> {
        BTreeMap::hydrate(doc, obj, prop).map(Self)
    }
}

#[cfg(test)]
impl<T: proptest::arbitrary::Arbitrary + 'static> proptest::arbitrary::Arbitrary for Keyed<T> {
    type Parameters = ();
    type Strategy = proptest::strategy::BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        use proptest::strategy::Strategy as _;
        let items =
            proptest::collection::btree_map(proptest::arbitrary::any::<String>(), T::arbitrary(), 0..4);
        items.prop_map(Self).boxed()
    }
}

/// Writes the items of a map and deletes none.
pub(super) fn put_each<T: Reconcile, R: Reconciler>(
    items: &BTreeMap<String, T>,
    mut reconciler: R,
) -> Result<(), R::Error> {
    let mut map = reconciler.map()?;
    for (key, item) in items {
        map.put(key, item)?;
    }
    Ok(())
}

/// Defines structs that are stored in a document. A field that a document lacks is read as its default, so that documents
/// of older and newer versions stay readable.
macro_rules! stored {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)+
        }
    )+) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, Default, PartialEq, autosurgeon::Hydrate, autosurgeon::Reconcile)]
            #[cfg_attr(test, derive(proptest_derive::Arbitrary))]
            pub struct $name {
                $(
                    $(#[$field_meta])*
                    #[autosurgeon(missing = "Default::default")]
                    pub $field: $type,
                )+
            }
        )+
    };
}
pub(super) use stored;

/// Writes the table of kinds: the constants of [`Kind`], the rules, and [`Content`](super::Content) with how it is read,
/// written, judged and listed.
macro_rules! kinds {
    ($(
        $(#[$meta:meta])+
        $constant:ident = $number:literal $name:literal in $compartment:ident by $writers:ident $(, $flag:ident)*
            => $variant:ident($type:ty $(, $beside:ty)?);
    )+) => {
        impl Kind {
            $(
                $(#[$meta])+
                pub const $constant: Self = Self($number);
            )+
        }

        static RULES: &[Rule] = &[$(Rule::new(Kind::$constant, $name, $compartment, $writers)$(.$flag())*),+];

        /// What a document says, by its kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Content {
            $(
                $(#[$meta])+
                $variant($type $(, $beside)?),
            )+
        }

        impl Content {
            /// Reads a document as its kind; none for a kind this version does not know.
            ///
            /// # Errors
            /// If it does not have the shape of its kind.
            pub fn read(kind: Kind, document: &Document) -> Result<Option<Self>, BadDocument> {
                Ok(Some(match kind {
                    $(Kind::$constant => Self::$variant(document.read()? $(, <$beside>::default())?),)+
                    _ => return Ok(None),
                }))
            }

            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$variant(..) => Kind::$constant,)+
                }
            }

            /// As [`WatchDocument::validate`].
            ///
            /// # Errors
            /// As there.
            pub fn validate(&self) -> Result<(), Invalid> {
                match self {
                    $(Self::$variant(value, ..) => WatchDocument::validate(value),)+
                }
            }

            /// What a list shows.
            pub fn summary(&self) -> Summary {
                match self {
                    $(Self::$variant(value, ..) => value.summary(),)+
                }
            }
        }

        /// Writes what is stored in the document; not what is shown beside it.
        impl autosurgeon::Reconcile for Content {
            type Key<'a> = autosurgeon::reconcile::NoKey;

            fn reconcile<R: autosurgeon::Reconciler>(&self, reconciler: R) -> Result<(), R::Error> {
                match self {
                    $(Self::$variant(value, ..) => value.reconcile(reconciler),)+
                }
            }
        }

        /// Whether changes of a kind are judged by what they do.
        pub fn is_judged(kind: Kind) -> bool {
            match kind {
                $(Kind::$constant => <$type as WatchDocument>::JUDGED,)+
                _ => false,
            }
        }

        /// As [`WatchDocument::check_change`], for documents of any kind.
        ///
        /// # Errors
        /// As there, and if `after` does not have the shape of its kind.
        pub fn check_change(
            kind: Kind,
            before: Option<&Document>,
            after: &Document,
            writer: &Writer,
        ) -> Result<(), Refused> {
            match kind {
                $(Kind::$constant => {
                    let before = before.map(Document::read::<$type>).transpose()?;
                    Ok(<$type as WatchDocument>::check_change(before.as_ref(), &after.read()?, writer)?)
                })+
                _ => Ok(()),
            }
        }
    };
}
pub(super) use kinds;

#[cfg(test)]
mod tests {
    use super::super::*;
    use crate::watch::testing::{document_of, fork, keeps_what_it_does_not_know, stored};
    use autosurgeon::{hydrate, reconcile};
    use proptest::prelude::*;

    /// For each kind: it comes back as it was, and keeps the fields of a newer version.
    macro_rules! round_trips {
        ($($name:ident: $type:ty,)+) => {
            $(proptest! {
                #![proptest_config(ProptestConfig::with_cases(24))]
                #[test]
                fn $name(value: $type) {
                    prop_assert_eq!(&stored(&value), &value);
                    prop_assert!(keeps_what_it_does_not_know(&value));
                }
            })+
        };
    }

    round_trips! {
        request: Request,
        decision: Decision,
        correction: Correction,
        contest: Contest,
        recall: Recall,
        problem: Problem,
        meeting: Meeting,
        action_plan: ActionPlan,
        shift: Shift,
        vote: Vote,
        ballot: Ballot,
        bulletin: Bulletin,
        lesson: Lesson,
        lesson_record: LessonRecord,
        resource: Resource,
        catalogue_update: CatalogueUpdate,
        published_month: PublishedMonth,
        youth_session: YouthSession,
        commitment: Commitment,
        partner: Partner,
        referral: Referral,
        complaint: Complaint,
        audit_entry: AuditEntry,
    }

    #[test]
    fn a_write_takes_no_item_away_that_somebody_else_added() {
        let plan = |keys: &[&str]| ActionPlan {
            actions: keys.iter().map(|key| (*key, Action::default())).collect(),
            ..ActionPlan::default()
        };
        let mut one = document_of(&plan(&["a"]), 1);
        let mut other = fork(&mut one, 2);
        reconcile(&mut other, plan(&["a", "b"])).unwrap();
        one.merge(&mut other).unwrap();
        reconcile(&mut one, plan(&["a", "c"])).unwrap();
        let merged: ActionPlan = hydrate(&one).unwrap();
        assert_eq!(merged.actions.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
