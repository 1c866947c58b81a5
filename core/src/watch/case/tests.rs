//! Tests of cases: above all, what happens when two coordinators work at once.

use super::*;
use crate::watch::testing::{document_of, fork, keeps_what_it_does_not_know, stored};
use automerge::{AutoCommit, ObjId, ROOT, ReadDoc};
use autosurgeon::{hydrate, reconcile};
use proptest::prelude::*;

fn opened() -> Case {
    let mut case = Case { title: "Van behind the bakery".into(), ..Case::default() };
    case.link("obs-1", "same van", "ana");
    case
}

fn edit(doc: &mut AutoCommit, change: impl FnOnce(&mut Case)) {
    let mut case: Case = hydrate(doc).unwrap();
    change(&mut case);
    reconcile(doc, &case).unwrap();
}

/// Merges both ways and returns what both devices then read.
fn merged(a: &mut AutoCommit, b: &mut AutoCommit) -> Case {
    a.merge(&mut b.clone()).unwrap();
    b.merge(&mut a.clone()).unwrap();
    assert_eq!(a.get_heads(), b.get_heads());
    let case: Case = hydrate(a).unwrap();
    assert_eq!(hydrate::<_, Case>(b).unwrap(), case);
    case
}

fn observations(case: &Case) -> Vec<&str> {
    case.observations().collect()
}

#[test]
fn concurrent_links_of_different_observations_all_stand() {
    let mut a = document_of(&opened(), 1);
    let mut b = fork(&mut a, 2);
    edit(&mut a, |case| case.link("obs-2", "12 min apart", "ana"));
    edit(&mut b, |case| case.link("obs-3", "40 m apart", "ben"));
    let case = merged(&mut a, &mut b);
    assert_eq!(observations(&case), ["obs-1", "obs-2", "obs-3"]);
    assert_eq!(case.links["obs-2"].by, "ana");
    assert_eq!(case.links["obs-3"].reason, "40 m apart");
}

#[test]
fn the_first_links_of_an_empty_case_meet_too() {
    let mut a = document_of(&Case { title: "Van".into(), ..Case::default() }, 1);
    let mut b = fork(&mut a, 2);
    edit(&mut a, |case| case.link("obs-1", "same van", "ana"));
    edit(&mut b, |case| case.link("obs-2", "same van", "ben"));
    assert_eq!(observations(&merged(&mut a, &mut b)), ["obs-1", "obs-2"]);
}

#[test]
fn concurrent_links_of_one_observation_stand_once_and_keep_both_reasons() {
    let mut a = document_of(&opened(), 1);
    let mut b = fork(&mut a, 2);
    edit(&mut a, |case| case.link("obs-2", "12 min apart", "ana"));
    edit(&mut b, |case| case.link("obs-2", "same plate", "ben"));
    let case = merged(&mut a, &mut b);
    assert_eq!(observations(&case), ["obs-1", "obs-2"]);
    let links: ObjId = a.get(ROOT, "links").unwrap().unwrap().1;
    let mut reasons: Vec<String> = a
        .get_all(&links, "obs-2")
        .unwrap()
        .into_iter()
        .map(|(_, link)| a.get(&link, "reason").unwrap().unwrap().0.as_str().unwrap().to_string())
        .collect();
    reasons.sort();
    assert_eq!(reasons, ["12 min apart", "same plate"]);
}

#[test]
fn a_device_that_writes_an_old_view_removes_no_link() {
    let mut a = document_of(&opened(), 1);
    let mut old_view: Case = hydrate(&a).unwrap();
    let mut b = fork(&mut a, 2);
    edit(&mut b, |case| case.link("obs-2", "same van", "ben"));
    a.merge(&mut b).unwrap();
    old_view.title = "White van behind the bakery".into();
    reconcile(&mut a, &old_view).unwrap();
    let case: Case = hydrate(&a).unwrap();
    assert_eq!(observations(&case), ["obs-1", "obs-2"]);
    assert_eq!(case.title, old_view.title);
}

#[test]
fn unlinking_takes_back_one_link_and_says_who_did_it() {
    let mut a = document_of(&opened(), 1);
    let mut b = fork(&mut a, 2);
    edit(&mut a, |case| case.unlink("obs-1", "ana").unwrap());
    edit(&mut b, |case| case.link("obs-2", "same van", "ben"));
    let case = merged(&mut a, &mut b);
    assert_eq!(observations(&case), ["obs-2"]);
    assert_eq!(case.links["obs-1"].removed_by, "ana");
}

#[test]
fn unlinking_against_a_concurrent_edit_keeps_both_visible() {
    let mut a = document_of(&opened(), 1);
    let mut b = fork(&mut a, 2);
    edit(&mut a, |case| case.unlink("obs-1", "ana").unwrap());
    edit(&mut b, |case| case.links.get_mut("obs-1").unwrap().reason = "same plate".into());
    let case = merged(&mut a, &mut b);
    assert!(observations(&case).is_empty());
    assert_eq!(case.links["obs-1"].reason, "same plate");
}

#[test]
fn a_removed_link_can_be_made_again_and_not_removed_twice() {
    let mut case = opened();
    assert_eq!(case.unlink("obs-9", "ana").unwrap_err().field, "links");
    case.unlink("obs-1", "ana").unwrap();
    assert!(case.unlink("obs-1", "ben").is_err());
    assert_eq!(case.validate(), Ok(()));
    case.link("obs-1", "same van after all", "ben");
    assert_eq!(observations(&case), ["obs-1"]);
}

#[test]
fn refusals_name_the_field() {
    let refused = |edit: fn(&mut Case)| {
        let mut case = opened();
        assert_eq!(case.validate(), Ok(()));
        edit(&mut case);
        case.validate().unwrap_err().field
    };
    assert_eq!(refused(|c| c.title.clear()), "title");
    assert_eq!(refused(|c| c.title = "a\nb".into()), "title");
    assert_eq!(refused(|c| c.link("", "why", "ana")), "links[0].observation");
    assert_eq!(refused(|c| c.link("obs-2", " ", "ana")), "links[1].reason");
    assert_eq!(refused(|c| c.link("obs-2", "why", "")), "links[1].by");
    assert_eq!(refused(|c| c.unlink("obs-1", "a b").unwrap()), "links[0].removed_by");
    let misfiled = |c: &mut Case| {
        c.links.insert("obs-2".into(), c.links["obs-1"].clone());
    };
    assert_eq!(refused(misfiled), "links[1].observation");
    let many = |c: &mut Case| (0..=LINKS_COUNT_MAX).for_each(|i| c.link(format!("o{i}"), "why", "ana"));
    assert_eq!(refused(many), "links");
}

#[test]
fn unknown_fields_survive() {
    assert!(keeps_what_it_does_not_know(&opened()));
}

fn links() -> impl Strategy<Value = BTreeMap<String, Link>> {
    let link = (any::<String>(), any::<String>(), any::<String>(), any::<String>());
    let link =
        link.prop_map(|(observation, reason, by, removed_by)| Link { observation, reason, by, removed_by });
    proptest::collection::btree_map("[a-z0-9]{1,8}", link, 0..6)
}

proptest! {
    // Each example builds and saves whole documents.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn comes_back_as_it_was(title: String, links in links()) {
        let case = Case { title, links };
        prop_assert_eq!(stored(&case), case);
    }

    /// Three coordinators link and unlink at will; merged in any order they read the same, and every link made is there.
    #[test]
    fn any_order_of_merging_reads_the_same(
        steps in proptest::collection::vec((0usize..3, 0u8..6, any::<bool>()), 0..24),
        flip: bool,
    ) {
        let mut a = document_of(&opened(), 1);
        let (b, c) = (fork(&mut a, 2), fork(&mut a, 3));
        let mut docs = [a, b, c];
        for (who, observation, link) in &steps {
            edit(&mut docs[*who], |case| {
                let id = format!("obs-{observation}");
                if *link {
                    case.link(id, "why", format!("member-{who}"));
                } else {
                    // Nothing to take back is fine here.
                    let _ = case.unlink(&id, format!("member-{who}"));
                }
            });
        }
        let [mut a, mut b, mut c] = docs;
        if flip {
            b.merge(&mut c.clone()).unwrap();
            merged(&mut a, &mut b);
        } else {
            merged(&mut a, &mut b);
            merged(&mut a, &mut c);
        }
        let case = merged(&mut b, &mut c);
        merged(&mut a, &mut c);
        prop_assert_eq!(&hydrate::<_, Case>(&a).unwrap(), &case);
        for (_, observation, link) in &steps {
            let id = format!("obs-{observation}");
            prop_assert!(!link || case.links.contains_key(&id));
        }
    }
}
