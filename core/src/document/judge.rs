//! Which changes of a document count, where more is asked of them than that they fit: each is judged by the document as its
//! author had it, so the answer is the same whatever else there is and whatever came first (PROTOCOL.md §6.4).

use std::collections::{BTreeMap, BTreeSet};

use automerge::ChangeHash;

use super::{AuthoredChange, BadDocument, Document};

/// Changes of one document, by their place in what was handed in.
pub struct Judged<E> {
    /// The document that the accepted ones make.
    pub document: Document,
    /// Those that count.
    pub accepted: BTreeSet<usize>,
    /// Those that do not, and why.
    pub refused: BTreeMap<usize, NotAccepted<E>>,
    /// Those that build on others which are not there.
    pub waiting: BTreeSet<usize>,
}

/// Why a change does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted<E> {
    /// The judge says so.
    #[error("{0}")]
    Judge(E),
    /// It does not fit what it builds on.
    #[error("{0}")]
    Document(#[from] BadDocument),
    /// It builds on one that does not count.
    #[error("it builds on a change that has no effect")]
    BuildsOn,
}

impl Document {
    /// Judges changes of this document, in any order, each once what it builds on is judged. What the document has counts.
    /// `judge` gets the place of the change, the document that its author had (none if empty), and that document with the
    /// change.
    pub fn judge<E>(
        self,
        changes: &[AuthoredChange],
        mut judge: impl FnMut(usize, Option<&Document>, &Document) -> Result<(), E>,
    ) -> Judged<E> {
        let mut judged = Judged {
            document: self,
            accepted: BTreeSet::new(),
            refused: BTreeMap::new(),
            waiting: (0..changes.len()).collect(),
        };
        let mut verdicts: BTreeMap<ChangeHash, bool> = BTreeMap::new();
        loop {
            let document = &mut judged.document;
            let mut is_judged = |dep: &ChangeHash| verdicts.contains_key(dep) || document.has(dep);
            let ready =
                judged.waiting.iter().copied().find(|at| {
                    changes.get(*at).is_some_and(|change| change.deps().iter().all(&mut is_judged))
                });
            let Some((at, change)) = ready.and_then(|at| Some((at, changes.get(at)?))) else { return judged };
            judged.waiting.remove(&at);
            let verdict = match verdicts.get(&change.hash()) {
                // The same change twice: one is as good as the other.
                Some(true) => Ok(None),
                None if judged.document.has(&change.hash()) => Ok(None),
                Some(false) => Err(NotAccepted::BuildsOn),
                None if change.deps().iter().any(|dep| verdicts.get(dep) == Some(&false)) => {
                    Err(NotAccepted::BuildsOn)
                }
                None => judged.document.with_judged(change, |before, after| judge(at, before, after)),
            };
            verdicts.insert(change.hash(), verdict.is_ok());
            match verdict {
                Ok(document) => {
                    judged.accepted.insert(at);
                    judged.document = document.unwrap_or(judged.document);
                }
                Err(why) => drop(judged.refused.insert(at, why)),
            }
        }
    }

    /// The document with a change whose author had some or all of it.
    fn with_judged<E>(
        &mut self,
        change: &AuthoredChange,
        judge: impl FnOnce(Option<&Self>, &Self) -> Result<(), E>,
    ) -> Result<Option<Self>, NotAccepted<E>> {
        let is_sequel = {
            let (mut heads, mut deps) = (self.0.get_heads(), change.deps().to_vec());
            heads.sort_unstable();
            deps.sort_unstable();
            heads == deps
        };
        let before = if is_sequel { self.0.fork() } else { self.fork_at(change.deps())? };
        let mut before = Self(before);
        let after = Self(before.0.fork()).extended([change.clone()])?;
        judge((!before.is_empty()).then_some(&before), &after).map_err(NotAccepted::Judge)?;
        let actor = self.0.get_actor().clone();
        let mut whole = if is_sequel { after } else { Self(self.0.fork()).extended([change.clone()])? };
        whole.0.set_actor(actor);
        Ok(Some(whole))
    }

    /// Whether a change is part of the document; one that waits for another is not yet.
    pub fn counts(&mut self, change: &AuthoredChange) -> bool {
        self.has(&change.hash())
    }

    fn has(&mut self, change: &ChangeHash) -> bool {
        self.0.get_heads().contains(change) || self.0.get_change_by_hash(change).is_some()
    }

    fn fork_at(&mut self, heads: &[ChangeHash]) -> Result<automerge::AutoCommit, BadDocument> {
        self.0.fork_at(heads).map_err(|e| BadDocument::Changes(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::DeviceId;
    use autosurgeon::{Hydrate, Reconcile};
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq, Default, Hydrate, Reconcile)]
    struct Gauge {
        level: i64,
        note: String,
    }

    /// The level goes up by one at a time.
    fn one_up(before: Option<&Document>, after: &Document) -> Result<(), &'static str> {
        let was = before.map_or(0, |document| document.read::<Gauge>().unwrap().level);
        let is = after.read::<Gauge>().unwrap().level;
        if is > was + 1 { Err("it jumps") } else { Ok(()) }
    }

    /// A history of devices that write levels, take each other's changes in, and do not judge.
    fn history(steps: &[(usize, i64, bool)]) -> Vec<AuthoredChange> {
        let mut phones: Vec<Document> = (1..=3).map(|n| Document::new(DeviceId([n; 32]))).collect();
        let (mut changes, mut notes) = (Vec::new(), 0);
        for (who, level, hears) in steps {
            let phone = phones.remove(who % 3);
            let mut phone = if *hears { phone.extended(changes.clone()).unwrap() } else { phone };
            notes += 1;
            let change = phone.write(&Gauge { level: *level, note: notes.to_string() }).unwrap();
            changes.extend(change);
            phones.insert(who % 3, phone);
        }
        changes
    }

    fn judged(changes: &[AuthoredChange]) -> (BTreeSet<[u8; 32]>, BTreeSet<[u8; 32]>, Option<Gauge>) {
        let judged =
            Document::new(DeviceId([9; 32])).judge(changes, |_, before, after| one_up(before, after));
        let named = |at: &usize| changes[*at].hash().0;
        let mut document = judged.document;
        let content = (!document.is_empty()).then(|| document.read().unwrap());
        (judged.accepted.iter().map(named).collect(), judged.refused.keys().map(named).collect(), content)
    }

    proptest! {
        #[test]
        fn the_same_changes_count_in_any_order(
            steps in proptest::collection::vec((0_usize..3, 0_i64..4, any::<bool>()), 1..10),
            mut seed: u64,
        ) {
            let changes = history(&steps);
            let mut shuffled = changes.clone();
            for at in (1..shuffled.len()).rev() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(at, usize::try_from(seed >> 33).unwrap() % (at + 1));
            }
            prop_assert_eq!(judged(&changes), judged(&shuffled));
            // In two goes, if nothing of the first waits for the second.
            let half = Document::new(DeviceId([9; 32]));
            let half = half.judge(&changes[..changes.len() / 2], |_, before, after| one_up(before, after));
            if half.waiting.is_empty() && half.refused.is_empty() {
                let mut whole = half.document.judge(&changes, |_, before, after| one_up(before, after)).document;
                let content = (!whole.is_empty()).then(|| whole.read::<Gauge>().unwrap());
                prop_assert_eq!(content, judged(&changes).2);
            }
        }
    }

    #[test]
    fn what_jumps_has_no_effect_and_nothing_that_builds_on_it() {
        let changes = history(&[(0, 1, false), (1, 3, true), (1, 3, false), (2, 2, true)]);
        let (accepted, refused, content) = judged(&changes);
        assert_eq!((accepted.len(), refused.len()), (1, 3));
        assert_eq!(content.unwrap().level, 1);
        let apart = history(&[(0, 1, false), (1, 3, true)]);
        let judged =
            Document::new(DeviceId([9; 32])).judge(&apart[1..], |_, before, after| one_up(before, after));
        assert_eq!(judged.waiting, BTreeSet::from([0]));
    }
}
