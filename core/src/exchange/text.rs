//! Text on its way out. What others wrote was never judged by this device: it may hold whatever Unicode has.

use crate::watch::text;

/// The text as an author could have written it here, and without the code points that HTML and XML have no way to write.
pub(super) fn plain(text: &str) -> String {
    text::tidy(text).chars().filter(|c| !is_no_character(*c)).collect()
}

/// As [`plain`], on one line.
pub(super) fn line(text: &str) -> String {
    plain(text).split(['\n', '\u{2028}', '\u{2029}']).map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Line feeds for the line ends of other systems, a space for a tab.
pub(super) fn line_ends(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\t', " ")
}

/// At most `chars_max` characters, the last of them an ellipsis if some were left out.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Unicode's noncharacters.
fn is_no_character(c: char) -> bool {
    matches!(c, '\u{FDD0}'..='\u{FDEF}') || u32::from(c) & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_can_be_seen_is_lost() {
        assert_eq!(plain("a\r\nb\rc\td"), "a\nb\nc d");
        assert_eq!(plain("a\0b\u{1b}c\u{200B}d\u{202E}e\u{FFFF}f\u{FDD0}g\u{1FFFE}h"), "abcdefgh");
        assert_eq!(plain("Señor ▮▮▮ שלום\u{200F} 👩‍👩‍👧"), "Señor ▮▮▮ שלום\u{200F} 👩‍👩‍👧");
        assert_eq!(line(" a \n b\u{2028}c"), "a b c");
        assert_eq!((cut("abcdef", 6), cut("abcdef", 4)), ("abcdef".into(), "abc…".into()));
    }
}
