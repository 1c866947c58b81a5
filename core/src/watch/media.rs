//! Photos: what a document says of one, and how a clean copy is made.
//!
//! A clean copy is drawn anew from the pixels alone, as a JPEG without any metadata. What a camera or an editor put
//! beside the picture (EXIF with place and serial number, XMP, IPTC, thumbnails of what was cropped, colour profiles,
//! comments, text chunks, bytes behind the end, a second picture) is not searched for and cut out: nothing but pixels
//! comes over. A colour profile goes too, as it can name the device; colours are then read as sRGB.

use std::io::Cursor;

use autosurgeon::{Hydrate, Reconcile};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, Rgb, RgbImage};

use super::check::{Invalid, check_hex};
use super::text::{self, LINE_CHARS_MAX};
use crate::base::hash::sha256;
use crate::base::{Hash, limits};

/// Most photos of one observation.
pub const MEDIA_COUNT_MAX: usize = 10;

/// Most pixels of a photo: 50 megapixels, as the largest sensors of phones give by default. Three bytes each.
pub const PIXELS_MAX: u64 = 50_000_000;

/// Longest edge of a photo in pixels: what a JPEG can have.
pub const EDGE_PIXELS_MAX: u32 = 65_535;

/// Bytes that decoding may take. A progressive JPEG of the most pixels takes twice its pixels besides.
const DECODE_BYTES_MAX: u64 = 512 << 20;

/// Quality of a clean copy, of 100: a plate that could be read still can.
const QUALITY: u8 = 88;

/// What is read, and its media type.
const FORMATS: [(ImageFormat, &str); 3] =
    [(ImageFormat::Jpeg, "image/jpeg"), (ImageFormat::Png, "image/png"), (ImageFormat::WebP, "image/webp")];

/// What a clean copy is.
pub const CLEAN_TYPE: &str = "image/jpeg";

/// A photo in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hydrate, Reconcile)]
pub struct Medium {
    /// SHA-256 of the file in hex: which photo it is, within the document.
    #[key]
    #[autosurgeon(missing = "Default::default")]
    pub id: String,
    /// Manifest of the file in hex (PROTOCOL.md §3.6): its key, its chunks, its hash.
    #[autosurgeon(missing = "Default::default")]
    pub manifest: String,
    /// What it shows, in the author's words; empty if nothing was said.
    #[autosurgeon(missing = "Default::default")]
    pub caption: String,
}

impl Medium {
    /// Judges the author's own input.
    ///
    /// # Errors
    /// When the id is no hash, the manifest no hex, or the caption too long.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_hex("id", &self.id)?;
        let digits = self.manifest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if self.manifest.is_empty() || !digits || !self.manifest.len().is_multiple_of(2) {
            return Err(Invalid::new("manifest", "is not lower-case hex", "attach the photo with `attach`"));
        }
        text::check_line("caption", &self.caption, LINE_CHARS_MAX)
    }
}

/// A photo without anything but its pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clean {
    /// A JPEG, upright.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`.
    pub hash: Hash,
    /// SHA-256 of what it was made from.
    pub original: Hash,
    /// Media type of what it was made from.
    pub original_type: &'static str,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// The clean copy of a JPEG, PNG or WebP. What a camera only noted as its orientation is applied to the pixels; of an
/// animation the first picture stays; what is transparent becomes white.
///
/// # Errors
/// When the file is empty or too large, is no photo of these kinds, is damaged, or has too many pixels.
pub fn strip(original: &[u8]) -> Result<Clean, Invalid> {
    if original.is_empty() || original.len() > limits::FILE_BYTES_MAX {
        let problem = format!("has {} bytes; up to {} fit", original.len(), limits::FILE_BYTES_MAX);
        return Err(Invalid::new(
            "photo",
            problem,
            "choose a smaller photo, or take it at a lower resolution",
        ));
    }
    let format = image::guess_format(original).ok();
    let known = FORMATS.into_iter().find(|(known, _)| format == Some(*known));
    let (format, original_type) = known.ok_or_else(|| {
        let remedy = "choose a photo; of anything else, take a picture of the screen";
        Invalid::new("photo", "is not a JPEG, PNG or WebP picture", remedy)
    })?;
    let image = decode(original, format).map_err(|why| match why {
        Unfit::Limits => {
            let problem = format!("has more than {} megapixels", PIXELS_MAX / 1_000_000);
            Invalid::new("photo", problem, "take it at a lower resolution")
        }
        Unfit::Damaged => Invalid::new("photo", "is damaged and cannot be shown", "choose another"),
    })?;
    let (width, height) = (image.width(), image.height());
    let mut bytes = Vec::new();
    let encoded = JpegEncoder::new_with_quality(&mut bytes, QUALITY).encode_image(&image);
    if encoded.is_err() || bytes.len() > limits::FILE_BYTES_MAX {
        return Err(Invalid::new("photo", "is too large once it is clean", "take it at a lower resolution"));
    }
    let (hash, original) = (sha256(&bytes), sha256(original));
    Ok(Clean { bytes, hash, original, original_type, width, height })
}

enum Unfit {
    Limits,
    Damaged,
}

impl From<image::ImageError> for Unfit {
    fn from(why: image::ImageError) -> Self {
        if matches!(why, image::ImageError::Limits(_)) { Self::Limits } else { Self::Damaged }
    }
}

fn decode(bytes: &[u8], format: ImageFormat) -> Result<RgbImage, Unfit> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(EDGE_PIXELS_MAX);
    limits.max_image_height = Some(EDGE_PIXELS_MAX);
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > PIXELS_MAX {
        return Err(Unfit::Limits);
    }
    // A note that cannot be read turns nothing.
    let orientation = decoder.orientation().ok();
    let mut image = DynamicImage::from_decoder(decoder)?;
    if let Some(orientation) = orientation {
        image.apply_orientation(orientation);
    }
    Ok(if image.color().has_alpha() { over_white(&image) } else { image.into_rgb8() })
}

/// What lies under transparent pixels was not meant to be seen: dropping the transparency alone would show it.
fn over_white(image: &DynamicImage) -> RgbImage {
    let mut flat = RgbImage::new(image.width(), image.height());
    let seen = image.to_rgba8();
    for (to, from) in flat.pixels_mut().zip(seen.pixels()) {
        let [r, g, b, alpha] = from.0;
        let over = |value: u8| {
            let mixed = u16::from(value) * u16::from(alpha) + 255 * (255 - u16::from(alpha));
            u8::try_from(mixed / 255).unwrap_or(u8::MAX)
        };
        *to = Rgb([r, g, b].map(over));
    }
    flat
}

#[cfg(test)]
mod tests;
