//! Files beside entries: cut into encrypted chunks, each named by the hash of its ciphertext (PROTOCOL.md §3.6).
//!
//! A chunk proves itself by its name, says nothing without the file's key, and lies and travels as it is. The
//! [`Manifest`], which holds the key and the names, stands in a document.

use std::collections::BTreeSet;

use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hkdf::Hkdf;
use minicbor::{Decode, Encode};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::keys::Secret;
use super::plaintext::padded_bytes;
use crate::base::hash::sha256;
use crate::base::{ChunkId, Hash, cbor, limits};

/// The version of a manifest.
pub const MANIFEST_VERSION: u8 = 1;

/// All that it takes to fetch a file, to open it, and to tell that it is whole.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    #[n(0)]
    pub version: u8,
    /// Opens every chunk of this file, and nothing else. Drawn for this one file.
    #[n(1)]
    pub key: Secret,
    /// Length of the file in bytes.
    #[n(2)]
    pub bytes: u64,
    /// SHA-256 of the file.
    #[n(3)]
    pub hash: Hash,
    /// What it is, such as `image/jpeg`.
    #[n(4)]
    pub media_type: String,
    /// Its chunks, in order.
    #[n(5)]
    pub chunks: Vec<ChunkId>,
    /// SHA-256 of the file that this is a clean copy of, if it is one and that may be known.
    #[n(6)]
    pub original: Option<Hash>,
}

/// A chunk as it lies and travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedChunk {
    /// SHA-256 of the ciphertext.
    pub id: ChunkId,
    /// At most [`limits::CHUNK_BYTES`] and 16 more.
    pub ciphertext: Vec<u8>,
}

/// Why a file could not be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFile {
    /// Nothing, or too much.
    #[error("a file of {found} bytes where 1 to {} are allowed", limits::FILE_BYTES_MAX)]
    Size {
        /// Bytes found.
        found: u64,
    },
    /// Of a later version.
    #[error("the file was attached by a newer version of the app: update the app")]
    UnknownVersion(u8),
    /// The manifest contradicts itself.
    #[error("the list of the file's parts does not add up")]
    Manifest,
    /// The manifest is none.
    #[error("the list of the file's parts is not readable: {0}")]
    Cbor(#[from] cbor::NotCanonical),
    /// A chunk that does not belong there.
    #[error("part {index} of the file is not what its author sealed")]
    Chunk {
        /// Its place, from 0.
        index: usize,
    },
    /// The chunks open, and are not the file.
    #[error("the file is not the one that its author attached")]
    Hash,
}

/// Seals a file. `key` must be fresh random bytes, used for nothing else.
///
/// # Errors
/// [`BadFile::Size`]; [`BadFile::Manifest`] if the media type is too long.
pub fn seal_file(
    key: Secret,
    file: &[u8],
    media_type: &str,
    original: Option<Hash>,
) -> Result<(Manifest, Vec<SealedChunk>), BadFile> {
    let bytes = file.len() as u64;
    let count = chunk_count(bytes)?;
    let mut padded = Zeroizing::new(file.to_vec());
    padded.resize(padded_bytes(file.len()), 0);
    let chunks: Vec<SealedChunk> = padded
        .chunks(limits::CHUNK_BYTES)
        .zip(0..)
        .map(|(part, index)| seal(&key, index, count, part))
        .collect();
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        key,
        bytes,
        hash: sha256(file),
        media_type: media_type.to_owned(),
        chunks: chunks.iter().map(|chunk| chunk.id).collect(),
        original,
    };
    manifest.check()?;
    Ok((manifest, chunks))
}

/// Opens a file from all its ciphertexts, in order.
///
/// # Errors
/// [`BadFile`] if anything is not as it was sealed.
pub fn open_file<'a>(
    manifest: &Manifest,
    ciphertexts: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, BadFile> {
    manifest.check()?;
    let (count, length) = (chunk_count(manifest.bytes)?, length(manifest.bytes)?);
    let mut file = Zeroizing::new(Vec::with_capacity(padded_bytes(length)));
    let mut ciphertexts = ciphertexts.into_iter();
    for (index, id) in manifest.chunks.iter().enumerate() {
        let wrong = BadFile::Chunk { index };
        let ciphertext = ciphertexts.next().filter(|bytes| sha256(bytes).0 == id.0).ok_or(wrong.clone())?;
        let place = u32::try_from(index).map_err(|_| BadFile::Manifest)?;
        let key = chunk_key(&manifest.key, place, count);
        let cipher = ChaCha20Poly1305::new(&key.0.into());
        let part = Zeroizing::new(cipher.decrypt(&Nonce::default(), ciphertext).map_err(|_| wrong)?);
        file.extend_from_slice(&part);
    }
    let is_padded = file.len() == padded_bytes(length) && file.iter().skip(length).all(|byte| *byte == 0);
    let opened = file.get(..length).filter(|opened| is_padded && sha256(opened) == manifest.hash);
    opened.map(<[u8]>::to_vec).ok_or(BadFile::Hash)
}

impl Manifest {
    /// Its bytes. They hold the key.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(cbor::encode(self))
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`BadFile`] if it is none, or contradicts itself.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadFile> {
        let manifest: Self = cbor::decode(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), BadFile> {
        if self.version != MANIFEST_VERSION {
            return Err(BadFile::UnknownVersion(self.version));
        }
        let count = chunk_count(self.bytes)?;
        let fits = u32::try_from(self.chunks.len()) == Ok(count);
        let named = (1..=limits::MEDIA_TYPE_BYTES_MAX).contains(&self.media_type.len());
        // Each is sealed under a key of its own place, so no two are alike.
        let differ = self.chunks.iter().collect::<BTreeSet<_>>().len() == self.chunks.len();
        if fits && named && differ { Ok(()) } else { Err(BadFile::Manifest) }
    }
}

impl std::fmt::Debug for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Manifest({} {} of {} bytes)", self.hash.short(), self.media_type, self.bytes)
    }
}

fn seal(key: &Secret, index: u32, count: u32, part: &[u8]) -> SealedChunk {
    let cipher = ChaCha20Poly1305::new(&chunk_key(key, index, count).0.into());
    #[expect(clippy::expect_used, reason = "see its text")]
    let ciphertext = cipher
        .encrypt(&Nonce::default(), part)
        .expect("encrypting works because a chunk is far below the cipher's limit of 256 GiB");
    SealedChunk { id: ChunkId(sha256(&ciphertext).0), ciphertext }
}

/// Each key encrypts one chunk, so that the nonce may be constant.
fn chunk_key(file_key: &Secret, index: u32, count: u32) -> Secret {
    let info = [b"lamppost/1/chunk".as_slice(), &index.to_be_bytes(), &count.to_be_bytes()].concat();
    let mut key = Secret([0; 32]);
    #[expect(clippy::expect_used, reason = "see its text")]
    Hkdf::<Sha256>::new(None, &file_key.0)
        .expand(&info, &mut key.0)
        .expect("expanding works because 32 bytes are below HKDF's limit of 8,160");
    key
}

fn chunk_count(bytes: u64) -> Result<u32, BadFile> {
    let count = padded_bytes(length(bytes)?).div_ceil(limits::CHUNK_BYTES);
    u32::try_from(count).map_err(|_| BadFile::Size { found: bytes })
}

fn length(bytes: u64) -> Result<usize, BadFile> {
    let length = usize::try_from(bytes).ok().filter(|length| (1..=limits::FILE_BYTES_MAX).contains(length));
    length.ok_or(BadFile::Size { found: bytes })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(file: &[u8]) -> (Manifest, Vec<SealedChunk>) {
        seal_file(Secret([7; 32]), file, "image/jpeg", None).unwrap()
    }

    fn open(manifest: &Manifest, chunks: &[SealedChunk]) -> Result<Vec<u8>, BadFile> {
        open_file(manifest, chunks.iter().map(|chunk| chunk.ciphertext.as_slice()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Of any length, and around the ends of chunks.
        #[test]
        fn what_was_sealed_opens(chunks in 0..4_usize, near in 0..64_usize, fill in any::<u8>()) {
            let length = (chunks * limits::CHUNK_BYTES + near).saturating_sub(32).max(1);
            let file = vec![fill; length];
            let (manifest, chunks) = sealed(&file);
            prop_assert_eq!(open(&manifest, &chunks).unwrap(), file);
            let read = Manifest::from_bytes(&manifest.to_bytes()).unwrap();
            prop_assert!(read == manifest);
        }

        /// A chunk that is altered, exchanged, left out or of another file opens nothing.
        #[test]
        fn what_is_not_as_it_was_sealed_is_refused(kind in 0..5_u8, at in 0..66_000_usize) {
            let file: Vec<u8> = (0..150_000_u32).flat_map(|n| n.to_be_bytes()).take(150_000).collect();
            let (mut manifest, mut chunks) = sealed(&file);
            match kind {
                0 => {
                    let at = at % chunks[0].ciphertext.len();
                    chunks[0].ciphertext[at] ^= 1;
                }
                // Named anew, as somebody could who holds the manifest: the place is bound all the same.
                1 => {
                    chunks.swap(0, 1);
                    manifest.chunks.swap(0, 1);
                }
                2 => drop(chunks.pop()),
                3 => manifest.key = Secret([8; 32]),
                _ => manifest.bytes -= 1,
            }
            prop_assert!(open(&manifest, &chunks).is_err());
        }
    }

    #[test]
    fn the_largest_file_has_no_more_chunks_than_a_frame_names() {
        for length in [limits::FILE_BYTES_MAX, limits::FILE_BYTES_MAX - 1, limits::FILE_BYTES_MAX * 9 / 10] {
            assert!(chunk_count(length as u64).unwrap() as usize <= limits::FILE_CHUNKS_MAX);
        }
        assert_eq!(chunk_count(0), Err(BadFile::Size { found: 0 }));
        let over = limits::FILE_BYTES_MAX as u64 + 1;
        assert_eq!(chunk_count(over), Err(BadFile::Size { found: over }));
    }

    #[test]
    fn equal_chunks_of_a_file_differ() {
        let (manifest, _) = sealed(&vec![0; 3 * limits::CHUNK_BYTES]);
        let names: BTreeSet<_> = manifest.chunks.iter().collect();
        assert_eq!(names.len(), manifest.chunks.len());
        let mut repeats = manifest.clone();
        repeats.chunks[1] = repeats.chunks[0];
        assert_eq!(Manifest::from_bytes(&repeats.to_bytes()), Err(BadFile::Manifest));
    }
}
