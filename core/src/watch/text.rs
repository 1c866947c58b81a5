//! Checks for what people type.

use super::check::Invalid;
use unicode_normalization::char::is_combining_mark;

/// Longest free text, in characters.
pub const TEXT_CHARS_MAX: usize = 4_000;

/// Longest single line such as a title or a colour, in characters.
pub const LINE_CHARS_MAX: usize = 200;

/// Most accents and other marks on one letter (Unicode Standard Annex 15, Stream-Safe Text Format).
pub const MARKS_COUNT_MAX: usize = 30;

/// Accepts text of several lines: no control characters except the line feed, none that reorder what stands beside them,
/// none that cannot be seen, no towers of accents. Empty text is accepted; see [`check_required`]. Apps pass what people
/// paste through [`tidy`] first.
///
/// # Errors
/// When it is longer than `chars_max` characters or holds a character that is not allowed.
pub fn check(field: &str, text: &str, chars_max: usize) -> Result<(), Invalid> {
    // Bytes first: what is far too long is not counted to its end.
    if text.len() > chars_max.saturating_mul(4) || text.chars().count() > chars_max {
        return Err(Invalid::new(
            field,
            format!("is too long: at most {chars_max} characters are allowed"),
            "shorten it",
        ));
    }
    let mut marks = 0;
    for (at, c) in text.chars().enumerate() {
        let refused = |what: &str, remedy: &str| {
            let problem = format!("holds the {what} U+{:04X} at character {at}", u32::from(c));
            Err(Invalid::new(field, problem, remedy))
        };
        if is_control(c) {
            return refused("control character", "remove it; line feeds are the only ones allowed");
        }
        if is_bidi_control(c) {
            return refused(
                "direction control",
                "remove it: it can make a signed text read differently on the screen",
            );
        }
        if is_invisible(c) {
            return refused("invisible character", "remove it: what is signed must be what is seen");
        }
        marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        if marks > MARKS_COUNT_MAX {
            return refused("accent too many", "remove the accents piled up there");
        }
    }
    Ok(())
}

/// The text without what [`check`] refuses and with line feeds for other line ends: for what was pasted from elsewhere.
/// Nothing that can be seen is lost but towers of accents.
///
/// ```
/// use lamppost_core::watch::text;
///
/// assert_eq!(text::tidy("\u{FEFF}Two cars,\r\nfour\u{AD} visits"), "Two cars,\nfour visits");
/// ```
pub fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    let mut marks = 0;
    for c in text.replace("\r\n", "\n").chars() {
        let c = match c {
            '\r' | '\u{B}' | '\u{C}' | '\u{85}' => '\n',
            '\t' => ' ',
            other => other,
        };
        marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        if !is_control(c) && !is_bidi_control(c) && !is_invisible(c) && marks <= MARKS_COUNT_MAX {
            tidied.push(c);
        }
    }
    tidied
}

/// Accepts what [`check`] accepts if it says something: at least one character that can be seen.
///
/// # Errors
/// As [`check`], and when it is blank.
pub fn check_required(field: &str, text: &str, chars_max: usize) -> Result<(), Invalid> {
    if !text.chars().any(is_seen) {
        return Err(Invalid::new(field, "is empty", "write at least a few words"));
    }
    check(field, text, chars_max)
}

/// Accepts text that says something, whatever it holds: what changes of others are judged by, which later versions must
/// judge alike.
///
/// # Errors
/// When it is blank.
pub fn check_not_blank(field: &str, text: &str) -> Result<(), Invalid> {
    if text.trim().is_empty() {
        return Err(Invalid::new(field, "is empty", "write at least a few words"));
    }
    Ok(())
}

/// Accepts what [`check`] accepts if it is a single line.
///
/// # Errors
/// As [`check`], and when it holds a line or paragraph separator.
pub fn check_line(field: &str, text: &str, chars_max: usize) -> Result<(), Invalid> {
    if text.contains(['\n', '\u{2028}', '\u{2029}']) {
        return Err(Invalid::new(field, "has more than one line", "write it on one line"));
    }
    check(field, text, chars_max)
}

/// Accepts a single line that says something.
///
/// # Errors
/// As [`check_line`] and [`check_required`].
pub fn check_required_line(field: &str, text: &str, chars_max: usize) -> Result<(), Invalid> {
    check_required(field, text, chars_max)?;
    check_line(field, text, chars_max)
}

fn is_control(c: char) -> bool {
    c.is_control() && c != '\n'
}

/// Embeddings, overrides and isolates (Unicode Standard Annex 9, table 1), the characters of 'Trojan Source'.
///
/// The plain marks U+200E, U+200F and U+061C stay allowed: keyboards for right-to-left scripts insert them.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// What takes no room on the screen and has no use in a report: it can hide words, or hide that two texts differ.
///
/// From the property Default_Ignorable_Code_Point (Unicode Standard Annex 44), without the joiners U+200C and U+200D and
/// the variation selectors U+FE00 to U+FE0F, which Persian, Indic scripts and emoji need, and the marks above.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}' | '\u{34F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}' | '\u{200B}'
            | '\u{2060}'..='\u{2065}' | '\u{206A}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}'
    )
}

/// Whether it shows by itself: no white space, no mark that needs a letter, no joiner, not the blank of Braille.
fn is_seen(c: char) -> bool {
    let joiner = matches!(c, '\u{200C}'..='\u{200F}' | '\u{61C}' | '\u{FE00}'..='\u{FE0F}' | '\u{2800}');
    !(c.is_whitespace()
        || c.is_control()
        || is_combining_mark(c)
        || is_bidi_control(c)
        || is_invisible(c)
        || joiner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters() {
        assert!(check("t", "ñandú", 5).is_ok());
        let refused = check("t", "ñandúes", 5).unwrap_err();
        assert_eq!(refused.problem, "is too long: at most 5 characters are allowed");
        assert!(check("t", &"😀".repeat(5), 5).is_ok() && check("t", &"😀".repeat(6), 5).is_err());
    }

    #[test]
    fn line_feeds_are_the_only_control_characters() {
        assert!(check("t", "one\ntwo", 100).is_ok());
        for bad in ["a\tb", "a\rb", "a\0b", "a\u{7f}b", "a\u{85}b", "a\u{1b}[2Jb"] {
            let refused = check("t", bad, 100).unwrap_err();
            assert!(refused.problem.contains("control character"), "{bad:?}");
        }
    }

    #[test]
    fn direction_controls_are_refused_and_marks_are_not() {
        for c in "\u{202A}\u{202B}\u{202C}\u{202D}\u{202E}\u{2066}\u{2067}\u{2068}\u{2069}".chars() {
            let refused = check("t", &format!("a{c}b"), 100).unwrap_err();
            assert!(refused.remedy.contains("read differently"), "{c:?}");
        }
        assert!(check("t", "\u{200F}שלום\u{200E} مرحبا", 100).is_ok());
    }

    #[test]
    fn required_text_says_something() {
        for blank in ["", " ", "\n\n", "\u{a0}"] {
            assert!(check_required("t", blank, 100).is_err(), "{blank:?}");
        }
        assert!(check_required("t", "x", 100).is_ok());
        assert!(check_required("t", "x\u{202E}", 100).is_err());
    }

    #[test]
    fn a_line_is_one_line() {
        assert!(check_line("t", "", 100).is_ok());
        for bad in ["a\nb", "a\u{2028}b", "a\u{2029}b", "a\tb"] {
            assert!(check_line("t", bad, 100).is_err(), "{bad:?}");
        }
        assert!(check_required_line("t", "", 100).is_err());
        assert!(check_required_line("t", "a\nb", 100).is_err());
        assert!(check_required_line("t", "a b", 100).is_ok());
    }
}
