//! Canonical CBOR: one value, one encoding (RFC 8949 §4.2.1; PROTOCOL.md §1.2).

use minicbor::encode::Write;
use minicbor::{Decode, Encode};

/// Bytes that are not the canonical encoding of what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// Not decodable as the expected shape.
    #[error("not the expected CBOR: {0}")]
    Shape(String),
    /// Decodable, but not the one encoding that the rules allow.
    #[error("CBOR that is not in its canonical form")]
    Form,
}

/// Encodes `value`.
///
/// Shapes are written with ascending integer keys and shortest heads, so this is canonical.
pub fn encode<T: Encode<()> + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(value, &mut bytes);
    bytes
}

/// As [`encode`], behind what `bytes` holds already.
pub fn encode_into<T: Encode<()> + ?Sized>(value: &T, bytes: &mut Vec<u8>) {
    #[expect(clippy::expect_used, reason = "see its text")]
    minicbor::encode(value, bytes).expect("encoding works because a Vec takes any byte");
}

/// Decodes `bytes`, all of them, and refuses any encoding but the canonical one.
///
/// # Errors
/// [`NotCanonical`] if the bytes are something else, have a rest, or are encoded in another way.
pub fn decode<'b, T: Decode<'b, ()> + Encode<()>>(bytes: &'b [u8]) -> Result<T, NotCanonical> {
    let value: T = minicbor::decode(bytes).map_err(|e| NotCanonical::Shape(e.to_string()))?;
    // Comparing with our own encoding catches every other form at once: long heads, unsorted or
    // repeated or unknown keys, indefinite lengths, trailing bytes.
    let mut expected = Expected(bytes);
    match minicbor::encode(&value, &mut expected) {
        Ok(()) if expected.0.is_empty() => Ok(value),
        Ok(()) | Err(_) => Err(NotCanonical::Form),
    }
}

/// What an encoding must go on with. Takes the encoding as it is made, so that none is put into memory to be compared:
/// a frame is read many times more often than it is written.
struct Expected<'b>(&'b [u8]);

/// The encoding is another one.
#[derive(Debug, thiserror::Error)]
#[error("the bytes differ")]
struct Differs;

impl Write for Expected<'_> {
    type Error = Differs;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Differs> {
        self.0 = self.0.strip_prefix(bytes).ok_or(Differs)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    #[cbor(map)]
    struct Pair {
        #[n(0)]
        a: u32,
        #[n(1)]
        b: Option<u32>,
    }

    #[test]
    fn one_value_has_one_encoding() {
        let pair = Pair { a: 1, b: Some(2) };
        let bytes = encode(&pair);
        assert_eq!(bytes, [0xa2, 0x00, 0x01, 0x01, 0x02]);
        assert_eq!(decode::<Pair>(&bytes), Ok(pair));
        for other in [
            &[0xa2, 0x01, 0x02, 0x00, 0x01][..],         // unsorted
            &[0xa2, 0x00, 0x18, 0x01, 0x01, 0x02],       // long head
            &[0xa3, 0x00, 0x01, 0x01, 0x02, 0x02, 0x03], // unknown key
            &[0xbf, 0x00, 0x01, 0x01, 0x02, 0xff],       // indefinite length
            &[0xa2, 0x00, 0x01, 0x01, 0x02, 0x00],       // rest
            &[0xa2, 0x00, 0x01, 0x01, 0xf6],             // null for absent
        ] {
            assert_eq!(decode::<Pair>(other), Err(NotCanonical::Form), "{other:02x?}");
        }
        assert!(matches!(decode::<Pair>(&[0xa1]), Err(NotCanonical::Shape(_))));
    }
}
