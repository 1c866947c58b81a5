//! Bytes are a file that somebody chose as a photo. It is refused in words, or its clean copy holds nothing but a picture:
//! the same picture whoever cleans it, without a byte of what stood beside the pixels, and clean already.

use lamppost_core::base::hash;
use lamppost_core::entry::chunk::Manifest;
use lamppost_core::watch::media::strip;

/// All bytes are the file; they are read as a manifest too.
pub fn media(data: &[u8]) {
    if let Ok(manifest) = Manifest::from_bytes(data) {
        assert_eq!(manifest.to_bytes().as_slice(), data, "one manifest has one encoding");
    }
    match strip(data) {
        Err(why) => assert!(why.field == "photo" && !why.remedy.is_empty(), "{why}"),
        Ok(clean) => {
            assert_eq!(clean.original, hash::sha256(data));
            assert_eq!(clean.hash, hash::sha256(&clean.bytes));
            segments(&clean.bytes);
            let again = strip(&clean.bytes).expect("a clean copy is a photo");
            assert_eq!((again.width, again.height), (clean.width, clean.height));
        }
    }
}

/// Walks the segments in front of the picture: the JFIF head, tables and frame, and nothing that could hold words.
fn segments(jpeg: &[u8]) {
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]));
    let mut at = 2;
    loop {
        assert_eq!(jpeg[at], 0xff);
        let (marker, length) = (jpeg[at + 1], usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]])));
        match marker {
            0xe0 => assert_eq!(length, 16, "the JFIF head, without a thumbnail"),
            0xdb | 0xc4 | 0xc0 | 0xc1 | 0xdd => {}
            0xda => return,
            other => panic!("a segment {other:02x} in a clean copy"),
        }
        at += 2 + length;
    }
}
