//! What a refused input says, and the checks that several kinds share.
//!
//! Everything here judges an author's own input before it is written. What others wrote is read as it is: a code from
//! a newer catalogue or a field this version does not know is kept, never refused.

use super::codes::Catalogue;

/// Latest time a person may state: 2200-01-01T00:00:00Z, in milliseconds since the Unix epoch.
pub const TIME_MS_MAX: i64 = 7_258_118_400_000;

/// Longest document or member id accepted, in bytes; ids of this version are shorter.
pub const ID_BYTES_MAX: usize = 128;

/// Shortest and longest hash, salt or commitment in bytes, before hex: 128 to 512 bits.
const HEX_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// Why an input was refused: which field, what is wrong with it, and what to do.
///
/// It never quotes the input, so it may be logged and sent to support.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}; {remedy}")]
pub struct Invalid {
    /// Path of the field, such as `substances[1].code`.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What the person, or the app for them, can do about it.
    pub remedy: String,
}

impl Invalid {
    /// Names a field, its problem and the way out.
    pub fn new(field: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into(), remedy: remedy.into() }
    }

    /// The same complaint, with its field seen from the struct that holds it: `code` becomes `substances[1].code`.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }
}

/// Accepts a time between 1970 and 2200, in milliseconds since the Unix epoch; zero counts as not stated.
///
/// # Errors
/// When the time is outside that range.
pub fn check_time(field: &str, time_ms: i64) -> Result<(), Invalid> {
    if (1..=TIME_MS_MAX).contains(&time_ms) {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        "is not a time between 1970 and 2200",
        "state it in milliseconds since the Unix epoch",
    ))
}

/// Accepts the text form of a document or member id: 1 to [`ID_BYTES_MAX`] of ASCII letters, digits, `-`, `_` and `:`.
///
/// # Errors
/// When it is empty, too long or holds another character.
pub fn check_id(field: &str, id: &str) -> Result<(), Invalid> {
    if id.is_empty() {
        return Err(Invalid::new(field, "is missing", "give the id it refers to"));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':');
    if id.len() > ID_BYTES_MAX || !id.bytes().all(allowed) {
        return Err(Invalid::new(
            field,
            "is not the text form of an id",
            "pass the id as Lamppost printed it",
        ));
    }
    Ok(())
}

/// Accepts lower-case hex of 16 to 64 bytes: a hash, a salt or a commitment.
///
/// # Errors
/// When the length or a character does not fit.
pub fn check_hex(field: &str, hex: &str) -> Result<(), Invalid> {
    let digits = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digits && hex.len().is_multiple_of(2) && HEX_BYTES.contains(&(hex.len() / 2)) {
        return Ok(());
    }
    Err(Invalid::new(field, "is not lower-case hex of 16 to 64 bytes", "encode the bytes as lower-case hex"))
}

/// Accepts a code that the catalogue holds.
///
/// # Errors
/// When the code is empty or the catalogue does not hold it.
pub fn check_code(field: &str, code: &str, catalogue: &Catalogue) -> Result<(), Invalid> {
    if code.is_empty() {
        return Err(Invalid::new(
            field,
            "is missing",
            format!("choose a code of the catalogue '{}'", catalogue.name()),
        ));
    }
    if !catalogue.contains(code) {
        return Err(Invalid::new(
            field,
            format!("is not a code of the catalogue '{}'", catalogue.name()),
            "choose one of the codes it lists",
        ));
    }
    Ok(())
}

/// Accepts an empty string or a code that the catalogue holds.
///
/// # Errors
/// When a code is given and the catalogue does not hold it.
pub fn check_optional_code(field: &str, code: &str, catalogue: &Catalogue) -> Result<(), Invalid> {
    if code.is_empty() {
        return Ok(());
    }
    check_code(field, code, catalogue)
}

/// Accepts up to `count_max` different codes of the catalogue.
///
/// # Errors
/// When there are too many, one is unknown, or one stands there twice.
pub fn check_codes(
    field: &str,
    codes: &[String],
    catalogue: &Catalogue,
    count_max: usize,
) -> Result<(), Invalid> {
    check_count(field, codes.len(), count_max)?;
    for (i, code) in codes.iter().enumerate() {
        check_code(&format!("{field}[{i}]"), code, catalogue)?;
    }
    check_distinct(field, codes.iter().map(String::as_str))
}

/// Accepts at most `count_max` items.
///
/// # Errors
/// When there are more.
pub fn check_count(field: &str, count: usize, count_max: usize) -> Result<(), Invalid> {
    if count <= count_max {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        format!("has {count} items, at most {count_max} are allowed"),
        "keep the ones that matter most",
    ))
}

/// Accepts items of which none stands there twice.
///
/// # Errors
/// When one does.
pub fn check_distinct<'a>(field: &str, items: impl IntoIterator<Item = &'a str>) -> Result<(), Invalid> {
    let mut seen = std::collections::BTreeSet::new();
    for (i, item) in items.into_iter().enumerate() {
        if !seen.insert(item) {
            return Err(Invalid::new(format!("{field}[{i}]"), "stands there twice", "keep it once"));
        }
    }
    Ok(())
}

/// Judges every item of a list, and names the one that is refused: `substances[1].code`.
///
/// # Errors
/// The first refusal.
pub fn check_each<T>(
    field: &str,
    items: &[T],
    validate: impl Fn(&T) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    for (i, item) in items.iter().enumerate() {
        validate(item).map_err(|e| e.within(&format!("{field}[{i}]")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::codes;

    #[test]
    fn a_refusal_names_the_field_the_problem_and_the_way_out() {
        let refused = Invalid::new("code", "is missing", "choose one").within("substances[1]");
        assert_eq!(refused.to_string(), "substances[1].code: is missing; choose one");
    }

    #[test]
    fn times_lie_between_1970_and_2200() {
        assert!(check_time("t", 0).is_err());
        assert!(check_time("t", -1).is_err());
        assert!(check_time("t", 1).is_ok());
        assert!(check_time("t", TIME_MS_MAX).is_ok());
        assert!(check_time("t", TIME_MS_MAX + 1).is_err());
        assert!(check_time("t", i64::MAX).is_err());
    }

    #[test]
    fn ids_are_short_plain_ascii() {
        assert!(check_id("id", "a-Z_0:9").is_ok());
        assert!(check_id("id", &"a".repeat(ID_BYTES_MAX)).is_ok());
        assert!(check_id("id", &"a".repeat(ID_BYTES_MAX + 1)).is_err());
        for bad in ["", "a b", "ä", "a/b", "a\n"] {
            assert!(check_id("id", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hex_is_lower_case_whole_bytes_of_a_sane_length() {
        assert!(check_hex("h", &"0f".repeat(32)).is_ok());
        assert!(check_hex("h", &"0f".repeat(16)).is_ok());
        for bad in ["", "0f", &"0F".repeat(32), &"0g".repeat(32), &"0".repeat(63), &"0f".repeat(65)] {
            assert!(check_hex("h", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn codes_are_known_distinct_and_few() {
        let list = |codes: &[&str]| codes.iter().map(ToString::to_string).collect::<Vec<_>>();
        let check = |codes: &[&str]| check_codes("activity", &list(codes), codes::nibrs_activity(), 3);
        assert!(check(&[]).is_ok());
        assert!(check(&["D", "U", "P"]).is_ok());
        assert_eq!(check(&["D", "Q"]).unwrap_err().field, "activity[1]");
        assert_eq!(check(&["D", "D"]).unwrap_err().field, "activity[1]");
        assert!(check(&["D", "U", "P", "T"]).unwrap_err().problem.contains("at most 3"));
    }

    #[test]
    fn refusals_do_not_repeat_what_was_typed() {
        let refused = check_code("location", "Jane Doe", codes::nibrs_location()).unwrap_err();
        assert!(!refused.to_string().contains("Jane"));
    }
}
