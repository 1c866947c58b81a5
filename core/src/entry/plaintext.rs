//! What is inside a sealed body: content, compressed, then padded (PROTOCOL.md §3.3).

use std::cell::RefCell;
use std::io;
use std::sync::LazyLock;
use std::thread::LocalKey;

use minicbor::{Decode, Encode};
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use crate::base::{DocumentId, cbor, limits};

/// One thing that happened to one document.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Content {
    /// The document.
    #[n(0)]
    pub document: DocumentId,
    /// The kind of document, as the domain numbers them.
    #[n(1)]
    pub kind: u16,
    /// What `bytes` is.
    #[n(2)]
    pub form: Form,
    /// An Automerge change chunk, or whatever `form` says.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// What a content's bytes are. Numbers this version does not know are kept and not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Form(#[n(0)] pub u8);

impl Form {
    /// One uncompressed Automerge change chunk.
    pub const CHANGE: Self = Self(0);
}

/// Why a plaintext cannot be read although it decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPlaintext {
    /// Too short, wrong lengths, or padding that is not zero.
    #[error("the plaintext is not framed as it should be")]
    Frame,
    /// Compressed by a method that this version does not know.
    #[error("the plaintext uses compression {0}: update the app")]
    UnknownCodec(u8),
    /// Compressed wrongly, or to more than it states.
    #[error("the plaintext does not decompress to what it states")]
    Compression,
    /// Larger than allowed.
    #[error("the plaintext would take {found} bytes, {} are allowed", limits::PLAINTEXT_BYTES_MAX)]
    TooLarge {
        /// Bytes it states.
        found: usize,
    },
    /// Not the expected CBOR.
    #[error("the content is not readable: {0}")]
    Content(#[from] cbor::NotCanonical),
}

const STORED: u8 = 0;
const ZSTD: u8 = 1;
const ZSTD_WITH_DICTIONARY: u8 = 2;

/// What changes of a watch group have in common: names of fields, codes, Automerge's own bytes. Trained on invented
/// reports (tests/bench/src/dictionary.rs). Never changed: a better one gets a codec of its own.
const DICTIONARY: &[u8] = include_bytes!("plaintext.zdict");

/// How a zstd frame begins (RFC 8878 §3.1.1), and not a skippable frame, which could hide bytes that nobody is shown.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

// Making a context costs more than compressing one small change with it.
thread_local! {
    static COMPRESSOR: RefCell<io::Result<Compressor<'static>>> = {
        static PREPARED: LazyLock<EncoderDictionary<'static>> =
            LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, ZSTD_LEVEL));
        RefCell::new(Compressor::with_prepared_dictionary(&PREPARED))
    };
    static DECOMPRESSOR: RefCell<io::Result<Decompressor<'static>>> = {
        static PREPARED: LazyLock<DecoderDictionary<'static>> =
            LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));
        RefCell::new(Decompressor::with_prepared_dictionary(&PREPARED))
    };
    static PLAIN_DECOMPRESSOR: RefCell<io::Result<Decompressor<'static>>> = RefCell::new(Decompressor::new());
}

/// Codec, packed length, unpacked length: 1 + 4 + 4 bytes.
const FRAME_BYTES: usize = 9;

/// zstd level: bodies are small, so a high level costs little and saves bytes on the air.
const ZSTD_LEVEL: i32 = 12;

/// Frames, compresses and pads `content`.
///
/// # Errors
/// [`BadPlaintext::TooLarge`] if it is more than a reader would accept.
pub fn pack(content: &Content) -> Result<Vec<u8>, BadPlaintext> {
    let raw = cbor::encode(content);
    let too_large = BadPlaintext::TooLarge { found: raw.len() };
    if raw.len() > limits::PLAINTEXT_BYTES_MAX {
        return Err(too_large);
    }
    let packed = COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut().ok()?.compress(&raw).ok());
    let packed = packed.filter(|packed| packed.len() < raw.len());
    let (codec, packed) = packed.as_ref().map_or((STORED, &raw), |packed| (ZSTD_WITH_DICTIONARY, packed));
    let length = |bytes: usize| u32::try_from(bytes).map_err(|_| too_large.clone());
    let mut plain = vec![codec];
    plain.extend(length(packed.len())?.to_be_bytes());
    plain.extend(length(raw.len())?.to_be_bytes());
    plain.extend(packed);
    plain.resize(padded_bytes(plain.len()), 0);
    Ok(plain)
}

/// Reads what [`pack`] wrote.
///
/// # Errors
/// [`BadPlaintext`] names what is wrong. Nothing larger than the limit is ever allocated.
pub fn unpack(plain: &[u8]) -> Result<Content, BadPlaintext> {
    let (frame, rest) = plain.split_first_chunk::<FRAME_BYTES>().ok_or(BadPlaintext::Frame)?;
    let [codec, p0, p1, p2, p3, r0, r1, r2, r3] = *frame;
    let packed_bytes = u32::from_be_bytes([p0, p1, p2, p3]) as usize;
    let raw_bytes = u32::from_be_bytes([r0, r1, r2, r3]) as usize;
    let (packed, padding) = rest.split_at_checked(packed_bytes).ok_or(BadPlaintext::Frame)?;
    if padding.iter().any(|byte| *byte != 0) || plain.len() != padded_bytes(FRAME_BYTES + packed_bytes) {
        return Err(BadPlaintext::Frame);
    }
    if raw_bytes > limits::PLAINTEXT_BYTES_MAX {
        return Err(BadPlaintext::TooLarge { found: raw_bytes });
    }
    let unpacked;
    let raw = match codec {
        STORED => packed,
        ZSTD | ZSTD_WITH_DICTIONARY => {
            let decompressor = if codec == ZSTD { &PLAIN_DECOMPRESSOR } else { &DECOMPRESSOR };
            unpacked = decompress(decompressor, packed, raw_bytes).ok_or(BadPlaintext::Compression)?;
            &unpacked
        }
        other => return Err(BadPlaintext::UnknownCodec(other)),
    };
    if raw.len() != raw_bytes {
        return Err(BadPlaintext::Compression);
    }
    Ok(cbor::decode(raw)?)
}

/// Unpacks exactly one frame.
fn decompress(
    decompressor: &'static LocalKey<RefCell<io::Result<Decompressor<'static>>>>,
    packed: &[u8],
    raw_bytes: usize,
) -> Option<Vec<u8>> {
    let one_frame = packed.starts_with(&ZSTD_MAGIC)
        && zstd::zstd_safe::find_frame_compressed_size(packed).is_ok_and(|bytes| bytes == packed.len());
    decompressor
        .with_borrow_mut(|decompressor| decompressor.as_mut().ok()?.decompress(packed, raw_bytes).ok())
        .filter(|_| one_frame)
}

/// Padmé: the next length that leaks at most the order of magnitude, at most 12 % more
/// (Nikitin et al., 'Reducing Metadata Leakage from Encrypted Files', PoPETs 2019, algorithm 1).
pub fn padded_bytes(bytes: usize) -> usize {
    if bytes < 2 {
        return bytes;
    }
    let exponent = bytes.ilog2();
    let mantissa_bits = exponent.ilog2() + 1;
    let mask = (1usize << (exponent - mantissa_bits.min(exponent))) - 1;
    (bytes + mask) & !mask
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(bytes: Vec<u8>) -> Content {
        Content { document: DocumentId([5; 24]), kind: 1, form: Form::CHANGE, bytes }
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(bytes in proptest::collection::vec(any::<u8>(), 0..5_000)) {
            let content = content(bytes);
            prop_assert_eq!(unpack(&pack(&content).unwrap()), Ok(content));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes);
        }

        #[test]
        fn padding_costs_at_most_an_eighth(bytes in 9usize..300_000) {
            let padded = padded_bytes(bytes);
            prop_assert!(padded >= bytes && padded <= bytes + bytes / 8 + 1);
            prop_assert_eq!(padded_bytes(padded), padded);
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        let frame = |stated: u32| {
            let mut plain = vec![ZSTD];
            plain.extend(u32::try_from(bomb.len()).unwrap().to_be_bytes());
            plain.extend(stated.to_be_bytes());
            plain.extend(&bomb);
            plain.resize(padded_bytes(plain.len()), 0);
            plain
        };
        assert_eq!(unpack(&frame(64 << 20)), Err(BadPlaintext::TooLarge { found: 64 << 20 }));
        assert_eq!(unpack(&frame(1_000)), Err(BadPlaintext::Compression));
    }

    /// Found by fuzzing: the library reads frames one behind the other, and skips those that are marked to be skipped.
    #[test]
    fn more_than_one_frame_is_refused() {
        let raw = cbor::encode(&content(vec![1; 300]));
        let frame = |packed: &[u8], codec: u8| {
            let mut plain = vec![codec];
            plain.extend(u32::try_from(packed.len()).unwrap().to_be_bytes());
            plain.extend(u32::try_from(raw.len()).unwrap().to_be_bytes());
            plain.extend(packed);
            plain.resize(padded_bytes(plain.len()), 0);
            plain
        };
        let whole = zstd::bulk::compress(&raw, 3).unwrap();
        let (first, second) = raw.split_at(100);
        let two =
            [zstd::bulk::compress(first, 3).unwrap(), zstd::bulk::compress(second, 3).unwrap()].concat();
        let hidden = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"psst", &whole].concat();
        assert!(unpack(&frame(&whole, ZSTD)).is_ok());
        assert_eq!(unpack(&frame(&two, ZSTD)), Err(BadPlaintext::Compression));
        assert_eq!(unpack(&frame(&hidden, ZSTD)), Err(BadPlaintext::Compression));
        assert_eq!(unpack(&frame(&raw, ZSTD + 2)), Err(BadPlaintext::UnknownCodec(3)));
    }

    #[test]
    fn hidden_bytes_in_the_padding_are_refused() {
        let mut plain = pack(&content(vec![1; 100])).unwrap();
        assert!(unpack(&plain).is_ok());
        plain.push(0);
        assert_eq!(unpack(&plain), Err(BadPlaintext::Frame));
    }
}
