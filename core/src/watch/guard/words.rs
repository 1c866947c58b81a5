//! Words of a text, folded so that one rule meets every spelling, each with where it stands.

use std::ops::Range;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::watch::text::is_invisible;

/// Longest word kept, in characters; what follows is cut off, as no rule is that long.
const WORD_CHARS_MAX: usize = 40;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Lower case without accents, apostrophes and invisible characters.
    pub(super) folded: String,
    /// Its bytes in the text, on character boundaries.
    pub(super) span: Range<usize>,
    /// Number of the sentence it stands in: matches do not cross sentences.
    pub(super) sentence: usize,
    /// Number of the clause it stands in: a negation reaches no further.
    pub(super) clause: usize,
}

/// The words of a text in order.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let (mut sentence, mut clause) = (0, 0);
    let mut open: Option<Word> = None;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        if c.is_alphanumeric() || (open.is_some() && joins(c)) {
            let word =
                open.get_or_insert_with(|| Word { folded: String::new(), span: at..end, sentence, clause });
            fold(c, &mut word.folded);
            word.span.end = end;
            continue;
        }
        words.extend(open.take());
        match c {
            '.' | '!' | '?' | '\n' | '…' | '¡' | '¿' | '\u{2028}' | '\u{2029}' => {
                sentence += 1;
                clause += 1;
            }
            ',' | ';' | ':' | '(' | ')' | '—' | '–' => clause += 1,
            _ => {}
        }
    }
    words.extend(open);
    words
}

/// Characters inside a word that are no letters: apostrophes, accents written apart, and what cannot be seen.
fn joins(c: char) -> bool {
    matches!(c, '\'' | '’' | 'ʼ') || is_combining_mark(c) || is_invisible(c)
}

fn fold(c: char, into: &mut String) {
    // Compatibility forms too: full-width and mathematical letters read as the plain ones do.
    for part in std::iter::once(c).nfkd().flat_map(char::to_lowercase) {
        if part.is_alphanumeric() && !is_combining_mark(part) && into.len() < WORD_CHARS_MAX {
            into.push(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.folded).collect()
    }

    #[test]
    fn one_word_in_many_spellings() {
        for spelling in
            ["señor", "SEÑOR", "sen\u{303}or", "se\u{200B}ñor", "ｓｅñｏｒ", "𝐬𝐞ñ𝐨𝐫", "se\u{AD}ñor"]
        {
            assert_eq!(folded(spelling), ["senor"], "{spelling:?}");
        }
        assert_eq!(folded("don't DON’T"), ["dont", "dont"]);
        assert_eq!(folded("'quoted' out-of-date"), ["quoted", "out", "of", "date"]);
    }

    #[test]
    fn sentences_and_clauses_are_counted() {
        let places: Vec<_> =
            words("One, two. Three").into_iter().map(|word| (word.sentence, word.clause)).collect();
        assert_eq!(places, [(0, 0), (0, 1), (1, 2)]);
    }

    #[test]
    fn spans_are_where_the_words_stand() {
        let text = "¿Qué pasó, señor?";
        let cut: Vec<&str> = words(text).iter().map(|word| text.get(word.span.clone()).unwrap()).collect();
        assert_eq!(cut, ["Qué", "pasó", "señor"]);
    }
}
