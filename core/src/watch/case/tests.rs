//! Tests of cases: above all, what happens when two coordinators work at once.

use super::*;
use crate::watch::testing::{document_of, fork, keeps_what_it_does_not_know, set_aside, stored, writer};
use automerge::AutoCommit;
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
    doc.commit();
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
    assert_eq!(case.links["obs-2:ana"].by, "ana");
    assert_eq!(case.links["obs-3:ben"].reason, "40 m apart");
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
fn concurrent_links_of_one_observation_both_stand_and_link_it_once() {
    let mut a = document_of(&opened(), 1);
    let mut b = fork(&mut a, 2);
    edit(&mut a, |case| case.link("obs-2", "12 min apart", "ana"));
    edit(&mut b, |case| case.link("obs-2", "same plate", "ben"));
    let case = merged(&mut a, &mut b);
    assert_eq!(observations(&case), ["obs-1", "obs-2"]);
    assert_eq!(case.links["obs-2:ana"].reason, "12 min apart");
    assert_eq!(case.links["obs-2:ben"].reason, "same plate");
}

#[test]
fn a_link_taken_back_takes_no_other_with_it_that_was_made_unseen() {
    let mut a = document_of(&opened(), 1);
    let mut b = fork(&mut a, 2);
    edit(&mut a, |case| case.link("obs-2", "12 min apart", "ana"));
    edit(&mut a, |case| case.unlink("obs-2", "ana").unwrap());
    edit(&mut b, |case| case.link("obs-2", "same plate", "ben"));
    let case = merged(&mut a, &mut b);
    assert_eq!(observations(&case), ["obs-1", "obs-2"]);
    edit(&mut a, |case| case.unlink("obs-2", "ana").unwrap());
    assert_eq!(observations(&merged(&mut a, &mut b)), ["obs-1"]);
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
    assert_eq!(case.links["obs-1:ana"].removed_by, "ana");
}

#[test]
fn unlinking_against_a_concurrent_edit_keeps_both_visible() {
    let mut a = document_of(&opened(), 1);
    let mut b = fork(&mut a, 2);
    edit(&mut a, |case| case.unlink("obs-1", "ana").unwrap());
    edit(&mut b, |case| case.links.get_mut("obs-1:ana").unwrap().reason = "same plate".into());
    let case = merged(&mut a, &mut b);
    assert!(observations(&case).is_empty());
    assert_eq!(case.links["obs-1:ana"].reason, "same plate");
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
        c.links.insert("obs-2:ana".into(), c.links["obs-1:ana"].clone());
    };
    assert_eq!(refused(misfiled), "links[1].observation");
    let many = |c: &mut Case| (0..=LINKS_COUNT_MAX).for_each(|i| c.link(format!("o{i}"), "why", "ana"));
    assert_eq!(refused(many), "links");
}

#[test]
fn nobody_speaks_in_anothers_name() {
    let ana = writer(1, 1, Kind::CASE);
    let (own, ben) = (ana.member.to_string(), writer(2, 1, Kind::CASE).member.to_string());
    let mut case = Case { title: "Van".into(), ..Case::default() };
    case.link("obs-1", "same van", own.clone());
    assert_eq!(set_aside(None, &case, &ana), None);
    case.link("obs-2", "same van", ben.clone());
    assert!(set_aside(None, &case, &ana).is_some(), "ana opens a case with a link of ben's");
    let colour = case.state_fact("vehicle_colour", "white", ben.clone());
    let judged = |edit: &dyn Fn(&mut Case)| {
        let mut after = case.clone();
        edit(&mut after);
        set_aside(Some(&case), &after, &ana)
    };
    // What ana may do.
    assert_eq!(judged(&|c| c.title = "White van".into()), None);
    assert_eq!(judged(&|c| c.link("obs-3", "same van", own.clone())), None);
    assert_eq!(judged(&|c| c.link("obs-1", "the same van, I asked", own.clone())), None);
    assert_eq!(judged(&|c| c.unlink("obs-2", &own).unwrap()), None);
    assert_eq!(judged(&|c| _ = c.state_fact("vehicle_colour", "grey", own.clone())), None);
    assert_eq!(judged(&|c| c.resolve_fact("vehicle_colour", &colour, own.clone()).unwrap()), None);
    // And what not: with ben's name, in ben's place, or by taking out.
    let link = |observation: &str| format!("links[{observation}:{ben}]");
    let field = |name: &str, what: &str| Some(format!("{name}.{what}"));
    assert_eq!(judged(&|c| c.link("obs-3", "same van", ben.clone())), field(&link("obs-3"), "by"));
    assert_eq!(judged(&|c| c.link("obs-2", "another", ben.clone())), field(&link("obs-2"), "reason"));
    assert_eq!(judged(&|c| c.unlink("obs-2", &ben).unwrap()), field(&link("obs-2"), "removed_by"));
    assert_eq!(judged(&|c| _ = c.links.remove(&format!("obs-2:{ben}"))), Some(link("obs-2")));
    let misfiled = |c: &mut Case| {
        let link = Link { by: own.clone(), ..c.links[&format!("obs-2:{ben}")].clone() };
        c.links.insert(format!("obs-2:{ben}"), link);
    };
    assert_eq!(judged(&misfiled), field(&link("obs-2"), "by"));
    assert!(judged(&|c| _ = c.state_fact("vehicle_colour", "grey", ben.clone())).is_some());
    assert!(judged(&|c| c.resolve_fact("vehicle_colour", &colour, ben.clone()).unwrap()).is_some());
    assert!(judged(&|c| c.facts.clear()).is_some());
    let has_seen_what_is_not_there = |c: &mut Case| {
        c.resolve_fact("vehicle_colour", &colour, own.clone()).unwrap();
        let (_, mut resolution) = c.resolutions.pop_first().unwrap();
        resolution.seen.push("of tomorrow".into());
        c.resolutions.insert(resolution.key(), resolution);
    };
    assert!(judged(&has_seen_what_is_not_there).is_some());
    // A link that ben took back, ana does not bring back; her own she does.
    let mut apart = case.clone();
    apart.unlink("obs-1", &ben).unwrap();
    apart.unlink("obs-2", &ben).unwrap();
    let again = |observation: &str| {
        let mut after = apart.clone();
        after.links.values_mut().filter(|l| l.observation == observation).for_each(|l| l.removed_by.clear());
        set_aside(Some(&apart), &after, &ana)
    };
    assert_eq!((again("obs-1"), again("obs-2")), (None, field(&link("obs-2"), "removed_by")));
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
    fn comes_back_as_it_was(title: String, links in links(), facts in facts()) {
        let mut case = Case { title, links, ..Case::default() };
        for (fact, value, by, decides) in facts {
            let key = case.state_fact(fact.clone(), value, by.clone());
            if decides {
                case.resolve_fact(&fact, &key, by).unwrap();
            }
        }
        prop_assert_eq!(stored(&case), case);
    }

    /// Three coordinators link, take back, state and decide at will, and hear of each other now and then. Whatever way the
    /// rest then travels, also twice, everybody reads the same; every link made and every value said is there; what is
    /// linked is what a plain model says; and what is settled was settled by somebody who had seen every value.
    #[test]
    fn any_order_and_repetition_of_merging_reads_the_same(
        steps in proptest::collection::vec((0usize..3, step()), 0..32),
        order in Just(vec![0usize, 1, 2, 0, 1, 2]).prop_shuffle(),
    ) {
        let mut a = document_of(&opened(), 1);
        let (b, c) = (fork(&mut a, 2), fork(&mut a, 3));
        let mut docs = [a, b, c];
        let mut said = BTreeSet::new();
        for (who, step) in &steps {
            let by = format!("member-{who}");
            match step {
                Step::Hear(from) => {
                    let mut other = docs[*from].clone();
                    docs[*who].merge(&mut other).unwrap();
                }
                Step::Link(observation) => edit(&mut docs[*who], |case| case.link(format!("obs-{observation}"), "why", by)),
                // Nothing to take back is fine here.
                Step::Unlink(observation) => edit(&mut docs[*who], |case| {
                    let _ = case.unlink(&format!("obs-{observation}"), &by);
                }),
                Step::State(value) => edit(&mut docs[*who], |case| {
                    said.insert(case.state_fact("vehicle_colour", format!("colour {value}"), by));
                }),
                Step::Decide(nth) => edit(&mut docs[*who], |case| {
                    let keys: Vec<String> = case.facts.keys().cloned().collect();
                    if !keys.is_empty() {
                        case.resolve_fact("vehicle_colour", &keys[nth % keys.len()], by).unwrap();
                    }
                }),
            }
        }
        let mut read = Vec::new();
        for first in 0..3 {
            let mut all = docs[first].clone();
            for at in &order {
                let mut other = docs[*at].clone();
                all.merge(&mut other).unwrap();
            }
            read.push(hydrate::<_, Case>(&all).unwrap());
        }
        prop_assert_eq!(&read[0], &read[1]);
        prop_assert_eq!(&read[0], &read[2]);
        let case = &read[0];
        for (who, step) in &steps {
            if let Step::Link(observation) = step {
                let key = format!("obs-{observation}:member-{who}");
                prop_assert!(case.links.contains_key(&key));
            }
        }
        prop_assert_eq!(&said, &case.facts.keys().cloned().collect::<BTreeSet<_>>());
        if let Some(fact) = case.facts_by_code().get("vehicle_colour") {
            let seen_all = |r: &Resolution| fact.values.keys().all(|key| r.seen.contains(key));
            let alone = fact.texts().len() == 1;
            prop_assert!(fact.settled.is_none() || alone || case.resolutions.values().any(seen_all));
            // A word that nobody has heard of opens it again.
            let mut later = case.clone();
            later.state_fact("vehicle_colour", "a colour nobody named", "member-9");
            prop_assert_eq!(&later.facts_by_code()["vehicle_colour"].settled, &None);
        }
    }

    /// What a member links and nobody who had heard of it takes back stays linked, whatever else happens at once.
    #[test]
    fn a_link_is_ended_only_by_somebody_who_saw_it(unlinks in proptest::collection::vec(any::<bool>(), 0..6)) {
        let mut a = document_of(&opened(), 1);
        let mut b = fork(&mut a, 2);
        for unlink in unlinks {
            edit(&mut a, |case| {
                if unlink {
                    let _ = case.unlink("obs-7", "ana");
                } else {
                    case.link("obs-7", "why", "ana");
                }
            });
        }
        edit(&mut b, |case| case.link("obs-7", "same place", "ben"));
        prop_assert!(merged(&mut a, &mut b).observations().any(|linked| linked == "obs-7"));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Hear(usize),
    Link(u8),
    Unlink(u8),
    State(u8),
    Decide(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0usize..3).prop_map(Step::Hear),
        (0u8..6).prop_map(Step::Link),
        (0u8..6).prop_map(Step::Unlink),
        (0u8..4).prop_map(Step::State),
        (0usize..8).prop_map(Step::Decide),
    ]
}

fn facts() -> impl Strategy<Value = Vec<(String, String, String, bool)>> {
    proptest::collection::vec(any::<(String, String, String, bool)>(), 0..5)
}

#[test]
fn values_stand_side_by_side_until_somebody_who_saw_them_decides() {
    let mut a = document_of(&opened(), 1);
    edit(&mut a, |case| drop(case.state_fact("vehicle_colour", "white", "ana")));
    let colour = |case: &Case| case.facts_by_code()["vehicle_colour"].settled.clone();
    assert_eq!(colour(&hydrate(&a).unwrap()).as_deref(), Some("white"));
    let mut b = fork(&mut a, 2);
    edit(&mut a, |case| {
        let grey = case.state_fact("vehicle_colour", "grey", "ana");
        assert_eq!(colour(case), None);
        case.resolve_fact("vehicle_colour", &grey, "ana").unwrap();
        assert_eq!(colour(case).as_deref(), Some("grey"));
    });
    // A value that whoever decided had not seen opens it again, and nothing is lost.
    edit(&mut b, |case| drop(case.state_fact("vehicle_colour", "silver", "ben")));
    let case = merged(&mut a, &mut b);
    assert_eq!(colour(&case), None);
    let texts =
        case.facts_by_code()["vehicle_colour"].texts().into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(texts, ["grey", "silver", "white"]);
    // Two who decide at once and differently have decided nothing; who saw both has.
    let choose = |case: &mut Case, text: &str, by: &str| {
        let key = case.facts.iter().find(|(_, value)| value.value == text).unwrap().0.clone();
        case.resolve_fact("vehicle_colour", &key, by).unwrap();
    };
    edit(&mut a, |case| choose(case, "grey", "ana"));
    edit(&mut b, |case| choose(case, "silver", "ben"));
    assert_eq!(colour(&merged(&mut a, &mut b)), None);
    edit(&mut a, |case| choose(case, "silver", "ana"));
    assert_eq!(colour(&merged(&mut a, &mut b)).as_deref(), Some("silver"));
}

#[test]
fn facts_that_are_refused_name_the_field() {
    let refused = |edit: fn(&mut Case)| {
        let mut case = opened();
        edit(&mut case);
        case.validate().unwrap_err().field
    };
    assert!(refused(|c| drop(c.state_fact("name", "somebody", "ana"))).ends_with("].fact"));
    assert!(refused(|c| drop(c.state_fact("weapon", " ", "ana"))).ends_with("].value"));
    assert!(refused(|c| drop(c.state_fact("weapon", "a knife", ""))).ends_with("].by"));
    assert!(
        refused(|c| drop(c.facts.insert(
            "00".into(),
            FactValue { fact: "weapon".into(), value: "a knife".into(), by: "ana".into() }
        )))
        .ends_with("].key")
    );
    let mut case = opened();
    let key = case.state_fact("weapon", "a knife", "ana");
    assert!(case.resolve_fact("start", &key, "ana").is_err());
    assert!(case.resolve_fact("weapon", "00", "ana").is_err());
    assert_eq!(case.resolve_fact("weapon", &key, "ana"), Ok(()));
    assert_eq!(case.validate(), Ok(()));
}
