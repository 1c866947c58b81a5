//! Who created a document can be read off its identity (PROTOCOL.md §6.2).

use crate::base::{DocumentId, MemberId, hash};

const NONCE_BYTES: usize = 8;

/// The identity of a new document of `kind` by `member`. The nonce must not repeat for that member.
pub fn create_id(member: MemberId, kind: u16, nonce: [u8; NONCE_BYTES]) -> DocumentId {
    let tag = hash::tagged(b"lamppost/1/document", &[member.as_bytes(), &kind.to_be_bytes(), &nonce]);
    let mut id = [0; DocumentId::LEN];
    id.iter_mut().zip(nonce.into_iter().chain(tag.0)).for_each(|(to, from)| *to = from);
    DocumentId(id)
}

/// The identity of the one document of `kind` that `member` has for something. `tag` says what for.
pub fn derive_id(member: MemberId, kind: u16, tag: &[u8], of: &[u8]) -> DocumentId {
    let tagged = hash::tagged(tag, &[of]);
    let mut nonce = [0; NONCE_BYTES];
    nonce.iter_mut().zip(tagged.0).for_each(|(to, from)| *to = from);
    create_id(member, kind, nonce)
}

/// Whether `member` created the document `id` of `kind`. Nobody else can bring about that this is true.
pub fn is_created_by(id: DocumentId, member: MemberId, kind: u16) -> bool {
    id.0.first_chunk().is_some_and(|nonce| create_id(member, kind, *nonce) == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_names_its_creator_and_kind() {
        let anna = MemberId([1; 32]);
        let id = create_id(anna, 1, [7; 8]);
        assert!(is_created_by(id, anna, 1));
        assert!(!is_created_by(id, anna, 2));
        assert!(!is_created_by(id, MemberId([2; 32]), 1));
    }
}
