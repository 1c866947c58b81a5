//! Checks for what people type.

use super::check::Invalid;

/// Longest free text, in characters.
pub const TEXT_CHARS_MAX: usize = 4_000;

/// Longest single line such as a title or a colour, in characters.
pub const LINE_CHARS_MAX: usize = 200;

/// Accepts text of several lines: no control characters except the line feed, no bidirectional overrides.
///
/// Empty text is accepted; see [`check_required`].
///
/// # Errors
/// When it is longer than `chars_max` characters or holds a character that is not allowed.
pub fn check(field: &str, text: &str, chars_max: usize) -> Result<(), Invalid> {
    let chars = text.chars().count();
    if chars > chars_max {
        return Err(Invalid::new(
            field,
            format!("has {chars} characters, at most {chars_max} are allowed"),
            "shorten it",
        ));
    }
    for (at, c) in text.chars().enumerate() {
        if c.is_control() && c != '\n' {
            return Err(Invalid::new(
                field,
                format!("holds the control character U+{:04X} at character {at}", u32::from(c)),
                "remove it; line feeds are the only ones allowed",
            ));
        }
        if is_bidi_control(c) {
            return Err(Invalid::new(
                field,
                format!("holds the direction control U+{:04X} at character {at}", u32::from(c)),
                "remove it: it can make a signed text read differently on the screen",
            ));
        }
    }
    Ok(())
}

/// Accepts what [`check`] accepts if it says something: at least one character that is not white space.
///
/// # Errors
/// As [`check`], and when it is blank.
pub fn check_required(field: &str, text: &str, chars_max: usize) -> Result<(), Invalid> {
    check_not_blank(field, text)?;
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

/// Embeddings, overrides and isolates (Unicode Standard Annex 9, table 1), the characters of 'Trojan Source'.
///
/// The plain marks U+200E, U+200F and U+061C stay allowed: keyboards for right-to-left scripts insert them.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters() {
        assert!(check("t", "ñandú", 5).is_ok());
        let refused = check("t", "ñandúes", 5).unwrap_err();
        assert_eq!(refused.problem, "has 7 characters, at most 5 are allowed");
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
