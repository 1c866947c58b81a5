//! Text on its way out. What others wrote was never judged by this device: it may hold whatever Unicode has.

/// The text without control characters (but line feeds), without those that reorder what stands beside them, and without
/// the two code points that XML knows no way to write; other line ends become line feeds, a tab becomes a space.
pub(super) fn plain(text: &str) -> String {
    let text = line_ends(text);
    text.chars().filter(|c| *c == '\n' || !(c.is_control() || is_bidi_control(*c) || is_no_character(*c))).collect()
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

/// As `watch::text` refuses them in what an author writes.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Unicode's noncharacters, which HTML and XML do not allow in a text.
fn is_no_character(c: char) -> bool {
    matches!(c, '\u{FDD0}'..='\u{FDEF}') || u32::from(c) & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_can_be_seen_is_lost() {
        assert_eq!(plain("a\r\nb\rc\td"), "a\nb\nc d");
        assert_eq!(plain("a\0b\u{1b}c\u{85}d\u{202E}e\u{FFFF}f\u{FDD0}g\u{1FFFE}h"), "abcdefgh");
        assert_eq!(plain("Señor ▮▮▮ שלום\u{200F} 👩‍👩‍👧"), "Señor ▮▮▮ שלום\u{200F} 👩‍👩‍👧");
        assert_eq!(line(" a \n b\u{2028}c"), "a b c");
        assert_eq!((cut("abcdef", 6), cut("abcdef", 4)), ("abcdef".into(), "abc…".into()));
    }
}
