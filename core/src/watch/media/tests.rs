//! What a planted marker in every place of a file comes to.

use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder as _, Rgba, RgbaImage};
use proptest::prelude::*;

use super::*;

/// Planted wherever a file can hold words.
const MARKER: &[u8] = b"PLANTED-at-40.7484N-73.9857W";

/// What must not be in a clean copy, beside the marker: signatures of what cameras and editors write.
const SIGNATURES: [&[u8]; 10] = [
    b"Exif\0\0",
    b"http://ns.adobe.com",
    b"xpacket",
    b"Photoshop 3.0",
    b"8BIM",
    b"ICC_PROFILE",
    b"GPS",
    b"tEXt",
    b"MPF\0",
    b"II*\0",
];

fn picture(width: u32, height: u32) -> RgbImage {
    // Left half dark, right half light, a red top left corner: shows which side is up.
    RgbImage::from_fn(width, height, |x, y| match (x < width / 2, y < height / 2) {
        (true, true) => Rgb([220, 20, 20]),
        (true, false) => Rgb([20, 20, 20]),
        (false, true) => Rgb([235, 235, 235]),
        (false, false) => Rgb([20, 20, 220]),
    })
}

fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(image).unwrap();
    bytes
}

fn png(image: &RgbaImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new(&mut bytes);
    encoder.write_image(image, image.width(), image.height(), ExtendedColorType::Rgba8).unwrap();
    bytes
}

fn webp(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = WebPEncoder::new_lossless(&mut bytes);
    encoder.write_image(image, image.width(), image.height(), ExtendedColorType::Rgb8).unwrap();
    bytes
}

/// A TIFF block with one orientation and one text (the marker), as EXIF holds.
fn tiff(orientation: u8) -> Vec<u8> {
    let text = u32::try_from(MARKER.len()).unwrap().to_le_bytes();
    let mut block = b"II*\0\x08\0\0\0\x02\0".to_vec();
    block.extend([0x0e, 0x01, 2, 0]);
    block.extend(text);
    block.extend([38, 0, 0, 0]);
    block.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
    block.extend([0, 0, 0, 0]);
    block.extend(MARKER);
    block.extend(b"GPS");
    block
}

fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
    [&[0xff, marker], length.as_slice(), content].concat()
}

/// A JPEG with the marker in each kind of segment that cameras and editors use, a thumbnail, and a tail.
fn planted_jpeg(image: &RgbImage, orientation: u8) -> Vec<u8> {
    let clean = jpeg(image);
    let thumbnail = jpeg(&picture(16, 16));
    let exif = [b"Exif\0\0".as_slice(), &tiff(orientation), &thumbnail].concat();
    let mut bytes = clean[..2].to_vec();
    bytes.extend(segment(0xe1, &exif));
    bytes.extend(segment(0xe1, &[b"http://ns.adobe.com/xap/1.0/\0<?xpacket".as_slice(), MARKER].concat()));
    bytes.extend(segment(0xe2, &[b"ICC_PROFILE\0\x01\x01".as_slice(), MARKER].concat()));
    bytes.extend(segment(0xe2, &[b"MPF\0".as_slice(), MARKER].concat()));
    bytes.extend(segment(0xed, &[b"Photoshop 3.0\08BIM".as_slice(), MARKER].concat()));
    for app in 0xe3..=0xec {
        bytes.extend(segment(app, MARKER));
    }
    bytes.extend(segment(0xef, MARKER));
    bytes.extend(segment(0xfe, MARKER));
    bytes.extend(&clean[2..]);
    bytes.extend(MARKER);
    bytes.extend(&thumbnail);
    bytes
}

fn png_chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut crc = 0xffff_ffff_u32;
    for byte in kind.iter().chain(content) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [length.as_slice(), kind, content, &(!crc).to_be_bytes()].concat()
}

fn planted_png(image: &RgbaImage, orientation: u8) -> Vec<u8> {
    let clean = png(image);
    // Behind the signature and the header chunk.
    let mut bytes = clean[..33].to_vec();
    bytes.extend(png_chunk(b"eXIf", &tiff(orientation)));
    bytes.extend(png_chunk(b"tEXt", &[b"Comment\0".as_slice(), MARKER].concat()));
    bytes.extend(png_chunk(b"iTXt", &[b"XML:com.adobe.xmp\0\0\0\0\0<?xpacket".as_slice(), MARKER].concat()));
    bytes.extend(png_chunk(b"prVt", MARKER));
    bytes.extend(&clean[33..]);
    bytes.extend(MARKER);
    bytes
}

fn planted_webp(image: &RgbImage) -> Vec<u8> {
    let simple = webp(image);
    let mut canvas = vec![0b0000_1100, 0, 0, 0];
    for edge in [image.width(), image.height()] {
        canvas.extend(&(edge - 1).to_le_bytes()[..3]);
    }
    let chunk = |kind: &[u8; 4], content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap().to_le_bytes();
        let mut bytes = [kind.as_slice(), &length, content].concat();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    };
    let body = [
        b"WEBP".to_vec(),
        chunk(b"VP8X", &canvas),
        simple[12..].to_vec(),
        chunk(b"EXIF", &tiff(1)),
        chunk(b"XMP ", &[b"<?xpacket".as_slice(), MARKER].concat()),
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [b"RIFF".as_slice(), &length, &body, MARKER].concat()
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn assert_clean(planted: &[u8]) -> Clean {
    assert!(holds(planted, MARKER), "control: the search finds what is there");
    let clean = strip(planted).unwrap();
    for what in SIGNATURES.into_iter().chain([MARKER]) {
        assert!(!holds(&clean.bytes, what), "{} is still there", what.escape_ascii());
    }
    // One picture, which ends where the file ends, and no segment but those that a picture takes.
    let starts = clean.bytes.windows(3).filter(|window| *window == [0xff, 0xd8, 0xff]).count();
    assert_eq!((starts, clean.bytes.last_chunk()), (1, Some(&[0xff, 0xd9])));
    assert_eq!(clean.original, sha256(planted));
    assert_eq!(clean.hash, sha256(&clean.bytes));
    clean
}

fn pixels(clean: &Clean) -> RgbImage {
    image::load_from_memory(&clean.bytes).unwrap().into_rgb8()
}

#[test]
fn nothing_but_pixels_comes_over() {
    let image = picture(48, 32);
    let rgba = DynamicImage::from(image.clone()).into_rgba8();
    for planted in [planted_jpeg(&image, 1), planted_png(&rgba, 1), planted_webp(&image)] {
        let clean = assert_clean(&planted);
        assert_eq!((clean.width, clean.height), (48, 32));
        let close = |a: &Rgb<u8>, b: &Rgb<u8>| a.0.iter().zip(b.0).all(|(a, b)| a.abs_diff(b) < 40);
        let shown = pixels(&clean);
        for (x, y) in [(6, 6), (6, 26), (42, 6), (42, 26)] {
            assert!(close(shown.get_pixel(x, y), image.get_pixel(x, y)), "at {x}, {y}");
        }
    }
}

#[test]
fn what_a_camera_noted_as_its_orientation_is_applied() {
    let is_red = |image: &RgbImage, x, y| {
        let [r, g, _] = image.get_pixel(x, y).0;
        r > 150 && g < 90
    };
    let image = picture(48, 32);
    let rgba = DynamicImage::from(image.clone()).into_rgba8();
    // Where the red corner comes to lie, by EXIF orientation: left or right, top or bottom.
    let corners = [(1, false, false), (3, true, true), (6, true, false), (8, false, true), (2, true, false)];
    for (orientation, right, bottom) in corners {
        for planted in [planted_jpeg(&image, orientation), planted_png(&rgba, orientation)] {
            let clean = assert_clean(&planted);
            let turned = orientation >= 5;
            assert_eq!((clean.width, clean.height), if turned { (32, 48) } else { (48, 32) });
            let at = |far: bool, edge: u32| if far { edge - 6 } else { 6 };
            let (x, y) = (at(right, clean.width), at(bottom, clean.height));
            assert!(is_red(&pixels(&clean), x, y), "orientation {orientation}");
        }
    }
}

#[test]
fn what_lies_under_transparent_pixels_is_not_shown() {
    let hidden = RgbaImage::from_pixel(32, 32, Rgba([200, 0, 0, 0]));
    let shown = pixels(&strip(&png(&hidden)).unwrap());
    assert!(shown.pixels().all(|pixel| pixel.0.iter().all(|value| *value > 250)));
}

#[test]
fn what_is_no_photo_is_refused_and_said_so() {
    let bomb = {
        // A header that promises 60,000 by 60,000 pixels.
        let mut header = 60_000_u32.to_be_bytes().to_vec();
        header.extend(60_000_u32.to_be_bytes());
        header.extend([8, 2, 0, 0, 0]);
        [
            b"\x89PNG\r\n\x1a\n".to_vec(),
            png_chunk(b"IHDR", &header),
            png_chunk(b"IDAT", &[]),
            png_chunk(b"IEND", &[]),
        ]
        .concat()
    };
    let cut = png(&DynamicImage::from(picture(64, 64)).into_rgba8());
    let cases: [(&[u8], &str); 6] = [
        (b"", "0 bytes"),
        (b"%PDF-1.7 a document", "not a JPEG"),
        (b"GIF89a\x01\0\x01\0\0\0\0;", "not a JPEG"),
        (&cut[..cut.len() / 2], "damaged"),
        (&[0xff, 0xd8, 0xff, 0xe0, 0, 4], "damaged"),
        (&bomb, "megapixels"),
    ];
    for (bytes, says) in cases {
        let why = strip(bytes).unwrap_err().to_string();
        assert!(why.contains(says), "{says}: {why}");
    }
    assert!(strip(&vec![0; limits::FILE_BYTES_MAX + 1]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is altered in a photo, it is refused or comes out clean, and nothing panics.
    #[test]
    fn an_altered_photo_is_refused_or_comes_out_clean(
        kind in 0..3_u8,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let image = picture(24, 24);
        let mut planted = match kind {
            0 => planted_jpeg(&image, 6),
            1 => planted_png(&DynamicImage::from(image).into_rgba8(), 6),
            _ => planted_webp(&image),
        };
        for (at, value) in changes {
            let at = at.index(planted.len());
            planted[at] = value;
        }
        if let Ok(clean) = strip(&planted) {
            prop_assert!(!holds(&clean.bytes, MARKER));
            prop_assert!(image::load_from_memory(&clean.bytes).is_ok());
        }
    }
}
