//! Which cases share observations. Two coordinators who merge A with B and B with C at once make two cases of B: neither
//! is dropped, both are shown as one cluster, and B as an observation in two cases.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::DocumentId;

/// Cases that are joined by the observations they share, and everything linked in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The cases; one, unless an observation is in several.
    pub cases: BTreeSet<DocumentId>,
    /// The observations linked in any of them.
    pub observations: BTreeSet<DocumentId>,
}

/// The clusters of cases, given the observations linked in each; by their smallest case. Every case is in exactly one.
pub fn clusters(observations_by_case: &BTreeMap<DocumentId, BTreeSet<DocumentId>>) -> Vec<Cluster> {
    let cases_by_observation = cases_by_observation(observations_by_case);
    let mut left: BTreeSet<DocumentId> = observations_by_case.keys().copied().collect();
    let mut found = Vec::new();
    while let Some(first) = left.pop_first() {
        let mut cluster = Cluster::default();
        let mut open = vec![first];
        while let Some(case) = open.pop() {
            left.remove(&case);
            cluster.cases.insert(case);
            for observation in observations_by_case.get(&case).into_iter().flatten() {
                // Each observation leads on to its cases once.
                if cluster.observations.insert(*observation) {
                    let cases = cases_by_observation.get(observation).into_iter().flatten();
                    open.extend(cases.filter(|case| left.contains(*case)));
                }
            }
        }
        found.push(cluster);
    }
    found
}

/// Observations that are linked in more than one case, and in which.
pub fn in_several_cases(
    observations_by_case: &BTreeMap<DocumentId, BTreeSet<DocumentId>>,
) -> BTreeMap<DocumentId, BTreeSet<DocumentId>> {
    let mut cases = cases_by_observation(observations_by_case);
    cases.retain(|_, cases| cases.len() > 1);
    cases
}

fn cases_by_observation(
    observations_by_case: &BTreeMap<DocumentId, BTreeSet<DocumentId>>,
) -> BTreeMap<DocumentId, BTreeSet<DocumentId>> {
    let mut cases: BTreeMap<DocumentId, BTreeSet<DocumentId>> = BTreeMap::new();
    for (case, observations) in observations_by_case {
        for observation in observations {
            cases.entry(*observation).or_default().insert(*case);
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u8) -> DocumentId {
        DocumentId([n; DocumentId::LEN])
    }

    fn cases(of: &[(u8, &[u8])]) -> BTreeMap<DocumentId, BTreeSet<DocumentId>> {
        of.iter().map(|(case, linked)| (id(*case), linked.iter().map(|n| id(*n)).collect())).collect()
    }

    #[test]
    fn two_cases_of_one_observation_are_one_cluster_and_neither_is_dropped() {
        let cases = cases(&[(101, &[1, 2]), (102, &[2, 3]), (103, &[4, 5])]);
        let found = clusters(&cases);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].cases, BTreeSet::from([id(101), id(102)]));
        assert_eq!(found[0].observations, BTreeSet::from([id(1), id(2), id(3)]));
        let doubles = in_several_cases(&cases);
        assert_eq!(doubles, BTreeMap::from([(id(2), BTreeSet::from([id(101), id(102)]))]));
    }

    proptest! {
        /// Against the definition: two cases are together exactly if a chain of shared observations leads from one to the
        /// other, found by relabelling until nothing changes.
        #[test]
        fn clusters_are_the_connected_components(
            links in proptest::collection::vec((100u8..112, 0u8..16), 0..40),
        ) {
            let mut cases: BTreeMap<DocumentId, BTreeSet<DocumentId>> = BTreeMap::new();
            for (case, observation) in &links {
                cases.entry(id(*case)).or_default().insert(id(*observation));
            }
            let mut label: BTreeMap<DocumentId, DocumentId> = cases.keys().map(|c| (*c, *c)).collect();
            loop {
                let before = label.clone();
                for (a, in_a) in &cases {
                    for (b, in_b) in &cases {
                        if !in_a.is_disjoint(in_b) {
                            let least = label[a].min(label[b]);
                            label.insert(*a, least);
                            label.insert(*b, least);
                        }
                    }
                }
                if before == label { break }
            }
            let mut expected: BTreeMap<DocumentId, Cluster> = BTreeMap::new();
            for (case, least) in label {
                let cluster = expected.entry(least).or_default();
                cluster.cases.insert(case);
                cluster.observations.extend(&cases[&case]);
            }
            prop_assert_eq!(clusters(&cases), expected.into_values().collect::<Vec<_>>());
        }
    }
}
