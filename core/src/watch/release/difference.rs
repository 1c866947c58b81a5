//! What a revision says otherwise than the release that it takes the place of: for programs by path, for people in words.

use super::{Release, ReleasedItem};
use std::collections::BTreeSet;

/// One thing that two revisions say differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, such as `title`, `items[2].what_happened` by the item's place in the later revision, or `items[0]` for an item
    /// that only one of the two has: by its place there.
    pub path: String,
    /// What the earlier one says; empty if it says nothing.
    pub before: String,
    /// What the later one says; empty if it says nothing any more.
    pub after: String,
}

impl Difference {
    /// In words, in the language of this BCP 47 tag: Spanish, or else English.
    pub fn reason(&self, language: &str) -> String {
        let spanish = language.split('-').next() == Some("es");
        let (added, removed) = if spanish { ("nuevo", "ya no está") } else { ("new", "no longer there") };
        match (self.before.is_empty(), self.after.is_empty()) {
            (true, _) => format!("{}: {added}: {}", self.path, self.after),
            (_, true) => format!("{}: {removed}: {}", self.path, self.before),
            _ => format!("{}: {} → {}", self.path, self.before, self.after),
        }
    }
}

/// Everything that `after` says otherwise than `before`, in the order of the fields. What tells the two apart by nature (revision,
/// time, the salted commitments) is none of it. Items have no identity that could tell of their sources: those that are alike
/// belong together, then those of one time, wherever they stand.
pub fn difference(before: &Release, after: &Release) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut put = |path: String, before: String, after: String| {
        if before != after {
            found.push(Difference { path, before, after });
        }
    };
    put("title".to_owned(), before.title.clone(), after.title.clone());
    put("purpose".to_owned(), before.purpose.clone(), after.purpose.clone());
    put("recipient".to_owned(), before.recipient.clone(), after.recipient.clone());
    put("expires_ms".to_owned(), shown(before.expires_ms), shown(after.expires_ms));
    put("sources_count".to_owned(), before.sources_count.to_string(), after.sources_count.to_string());
    for (old, new) in pairs(&before.items, &after.items) {
        match (
            old.and_then(|at| Some((at, before.items.get(at)?))),
            new.and_then(|at| Some((at, after.items.get(at)?))),
        ) {
            (Some((_, old)), Some((at, new))) => {
                for ((field, old), (_, new)) in fields(old).into_iter().zip(fields(new)) {
                    put(format!("items[{at}].{field}"), old, new);
                }
            }
            (Some((at, old)), None) => put(format!("items[{at}]"), in_a_line(old), String::new()),
            (None, Some((at, new))) => put(format!("items[{at}]"), String::new(), in_a_line(new)),
            (None, None) => {}
        }
    }
    let open = |release: &Release, fact: &str| {
        let values =
            release.open_facts.iter().filter(|open| open.fact == fact).flat_map(|open| open.values.clone());
        values.collect::<Vec<_>>().join(" / ")
    };
    let facts: BTreeSet<&str> =
        before.open_facts.iter().chain(&after.open_facts).map(|open| open.fact.as_str()).collect();
    for fact in facts {
        put(format!("open_facts.{fact}"), open(before, fact), open(after, fact));
    }
    found
}

/// Which item of the one belongs to which of the other: each once.
fn pairs(before: &[ReleasedItem], after: &[ReleasedItem]) -> Vec<(Option<usize>, Option<usize>)> {
    let mut partner: Vec<Option<usize>> = vec![None; after.len()];
    let mut left: BTreeSet<usize> = (0..before.len()).collect();
    let alike: [fn(&ReleasedItem, &ReleasedItem) -> bool; 2] =
        [|old, new| old == new, |old, new| old.when.start_ms == new.when.start_ms];
    for belongs in alike {
        for (new, taken) in after.iter().zip(&mut partner).filter(|(_, taken)| taken.is_none()) {
            let found = left.iter().copied().find(|at| before.get(*at).is_some_and(|old| belongs(old, new)));
            *taken = found.inspect(|at| {
                left.remove(at);
            });
        }
    }
    let kept = partner.into_iter().enumerate().map(|(at, old)| (old, Some(at)));
    kept.chain(left.into_iter().map(|at| (Some(at), None))).collect()
}

/// Every field of an item as text, always in the same order.
fn fields(item: &ReleasedItem) -> Vec<(&'static str, String)> {
    let ReleasedItem {
        when,
        cell,
        location,
        behaviours,
        what_happened,
        basis,
        activity,
        substances,
        quantity,
        flags,
        media,
    } = item;
    let media: Vec<_> = media.iter().map(|medium| medium.id.as_str()).collect();
    let substances = substances.iter().map(|s| format!("{} ({}, {})", s.code, s.catalogue, s.basis));
    let quantity = quantity.as_ref().map(|quantity| format!("{} {}", quantity.amount, quantity.unit));
    vec![
        ("when", format!("{} {} {}", when.start_ms, shown(when.end_ms), when.precision)),
        ("cell", cell.clone()),
        ("location", location.clone()),
        ("behaviours", behaviours.join(", ")),
        ("what_happened", what_happened.clone()),
        ("basis", basis.clone()),
        ("activity", activity.join(", ")),
        ("substances", substances.collect::<Vec<_>>().join(", ")),
        ("quantity", quantity.unwrap_or_default()),
        ("flags", flags.join(", ")),
        ("media", media.join(", ")),
    ]
}

fn in_a_line(item: &ReleasedItem) -> String {
    format!("{}: {}", item.behaviours.join(", "), item.what_happened)
}

fn shown(number: Option<i64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::{OpenFact, Quantity, When};
    use proptest::prelude::*;

    fn item(n: i64) -> ReleasedItem {
        ReleasedItem {
            when: When { start_ms: n, end_ms: None, precision: "hour".into() },
            behaviours: vec!["threat".into()],
            what_happened: format!("event {n}"),
            ..ReleasedItem::default()
        }
    }

    fn release(times: &[i64]) -> Release {
        let items: Vec<_> = times.iter().map(|n| item(*n)).collect();
        Release { title: "Title".into(), revision: 1, items, ..Release::default() }
    }

    #[test]
    fn each_field_is_named_and_what_always_differs_is_not() {
        let before = release(&[1, 2]);
        let told = |edit: fn(&mut Release)| {
            let mut after = before.clone();
            edit(&mut after);
            difference(&before, &after).into_iter().map(|d| d.path).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(|r| (r.revision, r.created_ms, r.commitments) = (2, 9, vec!["a".into()])), "");
        assert_eq!(told(|r| r.items.reverse()), "");
        assert_eq!(told(|r| r.title.clear()), "title");
        assert_eq!(told(|r| r.purpose = "x".into()), "purpose");
        assert_eq!(told(|r| r.recipient = "x".into()), "recipient");
        assert_eq!(told(|r| r.expires_ms = Some(4)), "expires_ms");
        assert_eq!(told(|r| r.sources_count = 3), "sources_count");
        assert_eq!(told(|r| r.items[1].cell = "x".into()), "items[1].cell");
        assert_eq!(told(|r| r.items[1].quantity = Some(Quantity::default())), "items[1].quantity");
        assert_eq!(told(|r| r.items[0].flags = vec!["weapon".into()]), "items[0].flags");
        assert_eq!(told(|r| r.items[0].when.end_ms = Some(8)), "items[0].when");
        let fact = |r: &mut Release| {
            r.open_facts = vec![OpenFact { fact: "colour".into(), values: vec!["red".into()] }]
        };
        assert_eq!(told(fact), "open_facts.colour");
    }

    #[test]
    fn it_reads_in_words() {
        let (before, after) = (release(&[1]), release(&[1, 2]));
        let told = difference(&before, &after);
        assert_eq!(told[0].reason("en"), "items[1]: new: threat: event 2");
        assert_eq!(difference(&after, &before)[0].reason("es-MX"), "items[1]: ya no está: threat: event 2");
    }

    proptest! {
        /// What was added is what there is more of; one way and the other.
        #[test]
        fn items_are_matched_each_once(one in prop::collection::vec(0_i64..6, 0..6), other in prop::collection::vec(0_i64..6, 0..6)) {
            let (one, other) = (release(&one), release(&other));
            let count = |r: &Release, n: i64| r.items.iter().filter(|item| item.when.start_ms == n).count();
            let more = |a: &Release, b: &Release| (0..6).map(|n| count(b, n).saturating_sub(count(a, n))).sum::<usize>();
            let told = difference(&one, &other);
            let added = told.iter().filter(|d| d.before.is_empty()).count();
            prop_assert_eq!((added, told.len() - added), (more(&one, &other), more(&other, &one)));
            prop_assert_eq!(told.is_empty(), difference(&other, &one).is_empty());
        }
    }
}
