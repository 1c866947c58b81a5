//! Open311 GeoReport v2: the form of a new service request, for the condition of a place.
//!
//! Only what the specification's documentation names is written, and no field for a person: no name, no device, no way to
//! reach anybody. There is no validator of it, so no more is claimed.

use form_urlencoded::Serializer;

use super::text;
use crate::watch::{Invalid, ReleasedItem, blur, guard};

/// Longest description in characters, as the specification says.
pub const DESCRIPTION_CHARS_MAX: usize = 4_000;

/// The one behaviour that is about a place and nobody.
const PLACE_CONDITION: &str = "place_condition";

/// What the city gets it for: what the log of disclosures says.
pub const PURPOSE: &str = "Open311 service request";

/// Where the city is to send somebody: a coordinator says it, as a public cell is too large to find a lamp in.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// WGS 84 latitude and longitude in degrees.
    Point {
        /// Latitude.
        lat: f64,
        /// Longitude.
        lon: f64,
    },
    /// An address or crossing in words.
    Address(String),
}

/// Writes the body of `POST requests`, as `application/x-www-form-urlencoded`. It is made of what a release holds, so that it
/// was redacted and its author consented. `service_code` is one of the city's own; `jurisdiction` is empty where the city's
/// endpoint serves one alone.
///
/// # Errors
/// When the item is about more than the condition of a place, or a part that the city needs is missing or too long.
pub fn request(
    item: &ReleasedItem,
    service_code: &str,
    jurisdiction: &str,
    place: &Place,
) -> Result<String, Invalid> {
    let is_place_alone = item.behaviours.iter().eq([PLACE_CONDITION])
        && item.activity.is_empty()
        && item.substances.is_empty()
        && item.quantity.is_none()
        && item.flags.is_empty();
    if !is_place_alone {
        return Err(Invalid::new(
            "behaviours",
            "is about more than the condition of a place",
            "hand it to the liaison; the city's services get places and no people",
        ));
    }
    if service_code.trim().is_empty() {
        return Err(Invalid::new(
            "service_code",
            "is empty",
            "choose one of the services that the city lists",
        ));
    }
    let description = text::plain(&item.what_happened);
    if description.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(Invalid::new(
            "what_happened",
            "is too long for the city",
            "shorten it to 4,000 characters",
        ));
    }
    if guard::judge(&description, guard::Place::Handover) != guard::Verdict::Pass {
        return Err(Invalid::new(
            "what_happened",
            "may tell of a person",
            "mask the words in the release; the city's services get places and no people",
        ));
    }
    let mut form = Serializer::new(String::new());
    if !jurisdiction.is_empty() {
        form.append_pair("jurisdiction_id", jurisdiction);
    }
    form.append_pair("service_code", service_code);
    match place {
        Place::Point { lat, lon } => {
            blur::check_position(*lat, *lon)?;
            form.append_pair("lat", &format!("{lat:.6}")).append_pair("long", &format!("{lon:.6}"));
        }
        Place::Address(address) if address.trim().is_empty() => {
            return Err(Invalid::new("address", "is empty", "say where the city is to look"));
        }
        Place::Address(address) => {
            form.append_pair("address_string", &text::line(address));
        }
    }
    form.append_pair("description", &description);
    Ok(form.finish())
}
