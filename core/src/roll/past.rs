//! Sets of entries that hold everything their entries follow.
//!
//! The entries of a roll fall into chains: each entry continues the chain of its previous entry, unless another entry did so
//! before, and begins a chain otherwise. A set that holds the past of its entries holds the beginning of each chain, so that a
//! length for each chain says it all. The lengths lie in a tree whose unchanged parts an entry's past shares with the pasts of
//! its parents. An entry therefore costs memory for what it adds to them, whatever the length of the roll.

use std::sync::Arc;

/// Chains in a leaf, and children of a branch.
const WIDTH: usize = 1 << BITS;
const BITS: u32 = 4;

/// The place of an entry: the number of its chain, and its number on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub chain: u32,
    pub index: u32,
}

/// A length for each chain, 0 for those that were never named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lengths {
    /// Branches above the leaves.
    height: u32,
    root: Option<Arc<Tree>>,
}

/// A part of the tree. All leaves are equally far from the root.
#[derive(Debug, PartialEq, Eq)]
enum Tree {
    Leaf([u32; WIDTH]),
    Branch([Option<Arc<Self>>; WIDTH]),
}

/// A set of entries that holds everything its entries follow.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    entries: Lengths,
    /// Of each chain, how many of the entries here are removals or appointments.
    removals: Lengths,
}

impl Past {
    pub fn contains(&self, spot: Spot) -> bool {
        self.entries.get(spot.chain) > spot.index
    }

    /// Entries of a chain that the set holds.
    pub fn length(&self, chain: u32) -> u32 {
        self.entries.get(chain)
    }

    /// Adds an entry whose past is in the set. `removals` counts the removals and appointments on its chain up to the entry.
    pub fn insert(&mut self, spot: Spot, removals: u32) {
        self.entries.raise(spot.chain, spot.index.saturating_add(1));
        self.removals.raise(spot.chain, removals);
    }

    pub fn union_with(&mut self, other: &Self) {
        self.entries.union_with(&other.entries);
        self.removals.union_with(&other.removals);
    }

    /// Whether both hold the same removals and appointments: then the same removals stand over both.
    pub fn weighs_like(&self, other: &Self) -> bool {
        self.removals == other.removals
    }
}

impl Lengths {
    fn get(&self, chain: u32) -> u32 {
        if chain_at(chain, self.height + 1) != 0 {
            return 0;
        }
        let (mut tree, mut height) = (self.root.as_deref(), self.height);
        loop {
            match tree {
                None => return 0,
                Some(Tree::Leaf(lengths)) => return lengths.get(slot(chain, 0)).copied().unwrap_or(0),
                Some(Tree::Branch(children)) => {
                    tree = children.get(slot(chain, height)).and_then(Option::as_deref);
                    height = height.saturating_sub(1);
                }
            }
        }
    }

    /// Makes a chain at least so long.
    fn raise(&mut self, chain: u32, length: u32) {
        if self.get(chain) >= length {
            return;
        }
        while chain_at(chain, self.height + 1) != 0 {
            self.root = self.root.take().map(|root| Arc::new(Tree::above(root)));
            self.height += 1;
        }
        self.root = Some(Tree::raised(self.root.as_ref(), self.height, chain, length));
    }

    fn union_with(&mut self, other: &Self) {
        let Some(theirs) = &other.root else { return };
        let (mut theirs, mut height) = (Arc::clone(theirs), other.height);
        while height < self.height {
            theirs = Arc::new(Tree::above(theirs));
            height += 1;
        }
        while self.height < height {
            self.root = self.root.take().map(|root| Arc::new(Tree::above(root)));
            self.height += 1;
        }
        self.root = Some(match &self.root {
            Some(own) => Tree::union(own, &theirs),
            None => theirs,
        });
    }
}

impl Tree {
    /// A tree for more chains: this one holds the first of them.
    fn above(tree: Arc<Self>) -> Self {
        let mut children: [Option<Arc<Self>>; WIDTH] = std::array::from_fn(|_| None);
        let [first, ..] = &mut children;
        *first = Some(tree);
        Self::Branch(children)
    }

    fn raised(tree: Option<&Arc<Self>>, height: u32, chain: u32, length: u32) -> Arc<Self> {
        let at = slot(chain, height);
        Arc::new(if height == 0 {
            let mut lengths = match tree.map(|tree| &**tree) {
                Some(Self::Leaf(lengths)) => *lengths,
                Some(Self::Branch(_)) | None => [0; WIDTH],
            };
            lengths.iter_mut().skip(at).take(1).for_each(|place| *place = length);
            Self::Leaf(lengths)
        } else {
            let mut children = match tree.map(|tree| &**tree) {
                Some(Self::Branch(children)) => children.clone(),
                Some(Self::Leaf(_)) | None => std::array::from_fn(|_| None),
            };
            for child in children.iter_mut().skip(at).take(1) {
                *child = Some(Self::raised(child.as_ref(), height - 1, chain, length));
            }
            Self::Branch(children)
        })
    }

    /// The greater length of each chain. Where one tree holds the other, it is the answer, and nothing is copied.
    fn union(one: &Arc<Self>, other: &Arc<Self>) -> Arc<Self> {
        if Arc::ptr_eq(one, other) {
            return Arc::clone(one);
        }
        match (&**one, &**other) {
            (Self::Leaf(ones), Self::Leaf(others)) => {
                let mut greater = *ones;
                greater.iter_mut().zip(others).for_each(|(one, other)| *one = (*one).max(*other));
                if greater == *ones {
                    Arc::clone(one)
                } else if greater == *others {
                    Arc::clone(other)
                } else {
                    Arc::new(Self::Leaf(greater))
                }
            }
            (Self::Branch(ones), Self::Branch(others)) => {
                let mut children = ones.clone();
                let (mut is_one, mut is_other) = (true, true);
                for ((child, one), other) in children.iter_mut().zip(ones).zip(others) {
                    *child = match (one, other) {
                        (Some(one), Some(other)) => Some(Self::union(one, other)),
                        (Some(only), None) | (None, Some(only)) => Some(Arc::clone(only)),
                        (None, None) => None,
                    };
                    is_one &= is_same(child.as_ref(), one.as_ref());
                    is_other &= is_same(child.as_ref(), other.as_ref());
                }
                if is_one {
                    Arc::clone(one)
                } else if is_other {
                    Arc::clone(other)
                } else {
                    Arc::new(Self::Branch(children))
                }
            }
            // Trees of one height have their leaves at one depth.
            (Self::Leaf(_), Self::Branch(_)) => Arc::clone(other),
            (Self::Branch(_), Self::Leaf(_)) => Arc::clone(one),
        }
    }
}

fn is_same(one: Option<&Arc<Tree>>, other: Option<&Arc<Tree>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The number of the subtree of this height that holds a chain.
fn chain_at(chain: u32, height: u32) -> u32 {
    chain.checked_shr(BITS * height).unwrap_or(0)
}

fn slot(chain: u32, height: u32) -> usize {
    chain_at(chain, height) as usize & (WIDTH - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// Different trees of two or more.
    fn trees<'a>(all: impl Iterator<Item = &'a Lengths>) -> usize {
        fn collect(tree: &Arc<Tree>, into: &mut BTreeSet<*const Tree>) {
            if into.insert(Arc::as_ptr(tree))
                && let Tree::Branch(children) = &**tree
            {
                children.iter().flatten().for_each(|child| collect(child, into));
            }
        }
        let mut found = BTreeSet::new();
        all.filter_map(|lengths| lengths.root.as_ref()).for_each(|root| collect(root, &mut found));
        found.len()
    }

    proptest! {
        #[test]
        fn lengths_are_a_map_of_maxima(
            ones in proptest::collection::vec((0u32..5_000, 1u32..9), 0..60),
            others in proptest::collection::vec((0u32..80, 1u32..9), 0..60),
        ) {
            let fill = |items: &[(u32, u32)]| {
                let (mut lengths, mut map) = (Lengths::default(), BTreeMap::<u32, u32>::new());
                for (chain, length) in items {
                    lengths.raise(*chain, *length);
                    let held = map.entry(*chain).or_default();
                    *held = (*held).max(*length);
                }
                (lengths, map)
            };
            let (one, mut map) = fill(&ones);
            let (other, others) = fill(&others);
            for (chain, length) in &others {
                let held = map.entry(*chain).or_default();
                *held = (*held).max(*length);
            }
            let (mut left, mut right) = (one.clone(), other.clone());
            left.union_with(&other);
            right.union_with(&one);
            prop_assert_eq!(&left, &right);
            for chain in (0..5_000).chain([u32::MAX]) {
                prop_assert_eq!(left.get(chain), map.get(&chain).copied().unwrap_or(0));
            }
            // What is held already is shared.
            let mut again = left.clone();
            again.union_with(&one);
            prop_assert_eq!(trees([&again, &left].into_iter()), trees([&left].into_iter()));
        }
    }

    #[test]
    fn greatest_chain_has_a_place() {
        let mut lengths = Lengths::default();
        lengths.raise(3, 4);
        lengths.raise(u32::MAX, 7);
        assert_eq!((lengths.get(3), lengths.get(u32::MAX), lengths.get(u32::MAX - 1)), (4, 7, 0));
    }

    /// The pasts of entries that hear of each other now and then take a few trees each, however long the chains are.
    #[test]
    fn pasts_share_what_they_have_in_common() {
        const WRITERS: u32 = 200;
        let mut tips: Vec<Lengths> = vec![Lengths::default(); WRITERS as usize];
        let mut pasts: Vec<Lengths> = Vec::new();
        for round in 0..100 {
            for writer in 0..WRITERS {
                let mut past = tips[writer as usize].clone();
                past.union_with(&tips[((writer + round) % WRITERS) as usize]);
                past.raise(writer, round + 1);
                pasts.push(past.clone());
                tips[writer as usize] = past;
            }
        }
        let count = trees(pasts.iter());
        let whole = pasts.len() * WRITERS as usize / WIDTH;
        assert!(count < whole, "{count} trees for {} pasts", pasts.len());
    }
}
