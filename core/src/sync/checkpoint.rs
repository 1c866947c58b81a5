//! The Merkle tree over a relay's arrivals (RFC 9162 §2.1; PROTOCOL.md §5.4).

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, RootHash};
use sha2::Sha256;

use crate::base::{EntryHash, Hash};
use crate::entry::Checkpoint;

/// The arrivals of one group, in memory: about 100 bytes each.
#[derive(Default)]
pub struct Arrivals(MemoryBackedTree<Sha256, Vec<u8>>);

impl Arrivals {
    /// Appends an arrival.
    pub fn push(&mut self, entry: EntryHash) {
        self.0.push(entry.as_bytes().to_vec());
    }

    /// How many there are.
    pub fn size(&self) -> u64 {
        self.0.len()
    }

    /// Size and root of all of them; none before the first.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        if self.0.is_empty() {
            return None;
        }
        let root = self.0.root();
        Some(Checkpoint { size: root.num_leaves(), root: Hash((*root.as_bytes()).into()) })
    }

    /// Proof that the first `from` arrivals are a prefix of all; none if there were never `from` of them, or none at all.
    pub fn prove_from(&self, from: u64) -> Option<Vec<Hash>> {
        let added = usize::try_from(self.size().checked_sub(from)?).ok()?;
        if from == 0 {
            return None;
        }
        let proof = self.0.prove_consistency(added);
        proof.as_bytes().chunks_exact(32).map(|c| c.try_into().ok().map(Hash)).collect()
    }
}

/// Whether `hashes` prove that the history `old` is a prefix of the history `new`.
pub fn continues(old: &Checkpoint, new: &Checkpoint, hashes: &[Hash]) -> bool {
    if old.size == 0 || old.size > new.size {
        return false;
    }
    if old.size == new.size {
        return old.root == new.root && hashes.is_empty();
    }
    let bytes = hashes.iter().flat_map(|h| h.0).collect();
    let Ok(proof) = ConsistencyProof::<Sha256>::try_from_bytes(bytes) else {
        return false;
    };
    let root =
        |c: &Checkpoint| RootHash::<Sha256>::new(sha2::digest::Output::<Sha256>::from(c.root.0), c.size);
    root(new).verify_consistency(&root(old), &proof).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(count: u8) -> Arrivals {
        let mut arrivals = Arrivals::default();
        (0..count).for_each(|n| arrivals.push(EntryHash([n; 32])));
        arrivals
    }

    #[test]
    fn a_history_continues_its_own_prefixes_and_no_other() {
        let all = arrivals(23);
        let new = all.checkpoint().unwrap();
        for size in 1..=23 {
            let old = arrivals(size).checkpoint().unwrap();
            let proof = all.prove_from(u64::from(size)).unwrap();
            assert!(continues(&old, &new, &proof), "{size}");
            let forged = Checkpoint { root: Hash([9; 32]), ..old };
            assert!(!continues(&forged, &new, &proof), "{size}");
        }
        assert_eq!(all.prove_from(0), None);
        assert_eq!(all.prove_from(24), None);
    }

    #[test]
    fn garbage_proves_nothing_and_does_not_panic() {
        let new = arrivals(9).checkpoint().unwrap();
        let old = arrivals(4).checkpoint().unwrap();
        for count in 0..20 {
            assert!(!continues(&old, &new, &vec![Hash([1; 32]); count]));
        }
        let huge = Checkpoint { size: u64::MAX, ..new };
        assert!(!continues(&old, &huge, &[]));
    }
}
