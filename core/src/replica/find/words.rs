//! Which texts hold which words: an inverted index in memory.
//!
//! Words are compared without case and accents, as people type them, and by how they begin: 'canal' finds 'Canalón', and
//! 'anos' finds 'años'. What is forgotten leaves nothing behind, not even the word.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Longest word that is told apart, in characters; longer ones are cut.
const WORD_CHARS_MAX: usize = 40;

/// Most words of one search; the rest is left out.
const SEARCH_WORDS_MAX: usize = 16;

/// Words by text.
#[derive(Default)]
pub(super) struct Words {
    /// The texts that hold a word, in order.
    texts_by_word: BTreeMap<Arc<str>, Vec<u32>>,
}

/// The words of a text, each once.
pub(super) fn words_of(text: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for word in fold(text).split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        words.insert(word.chars().take(WORD_CHARS_MAX).collect());
    }
    words
}

fn fold(text: &str) -> String {
    // Most text is, and the long way takes most of the time that an index takes.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_lowercase).nfkd().filter(|c| !is_combining_mark(*c)).collect()
}

impl Words {
    /// Takes in a text that is not here yet, by its number. Gives back what [`Words::remove`] needs.
    pub fn insert(&mut self, number: u32, text: &str) -> Vec<Arc<str>> {
        let mut words = Vec::new();
        for word in words_of(text) {
            let known = self.texts_by_word.get_key_value(word.as_str()).map(|(word, _)| Arc::clone(word));
            let word = known.unwrap_or_else(|| Arc::from(word));
            let texts = self.texts_by_word.entry(Arc::clone(&word)).or_default();
            if let Err(at) = texts.binary_search(&number) {
                texts.insert(at, number);
            }
            words.push(word);
        }
        words.shrink_to_fit();
        words
    }

    /// Forgets a text.
    pub fn remove(&mut self, number: u32, words: &[Arc<str>]) {
        for word in words {
            let Some(texts) = self.texts_by_word.get_mut(word) else { continue };
            if let Ok(at) = texts.binary_search(&number) {
                texts.remove(at);
            }
            if texts.is_empty() {
                self.texts_by_word.remove(word);
            }
        }
    }

    /// For each word of a search, the texts below `numbers` that hold one beginning like it. None if there is no word in
    /// it.
    pub fn search(&self, text: &str, numbers: usize) -> Option<Vec<FixedBitSet>> {
        let words = words_of(text);
        let found = words.iter().take(SEARCH_WORDS_MAX).map(|word| {
            let mut texts = FixedBitSet::with_capacity(numbers);
            let from: &str = word;
            let alike = self.texts_by_word.range::<str, _>((Bound::Included(from), Bound::Unbounded));
            for (_, numbers) in alike.take_while(|(known, _)| known.starts_with(from)) {
                numbers.iter().filter_map(|n| usize::try_from(*n).ok()).for_each(|n| texts.insert(n));
            }
            texts
        });
        let found: Vec<_> = found.collect();
        (!found.is_empty()).then_some(found)
    }

    /// How many different words there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.texts_by_word.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hits(words: &Words, text: &str) -> Vec<usize> {
        let Some(found) = words.search(text, 8) else { return Vec::new() };
        (0..8).filter(|n| found.iter().all(|texts| texts.contains(*n))).collect()
    }

    #[test]
    fn case_accents_and_endings_do_not_matter() {
        let mut words = Words::default();
        words.insert(0, "Dos coches en la CALLE Peñón, junto al Canalón.");
        words.insert(1, "A small bag (foil) was swapped at Café Año-Nuevo");
        words.insert(2, "ＡＢＣ-1234, ﬁrst");
        for (search, found) in [
            ("calle", vec![0]),
            ("penon", vec![0]),
            ("PEÑÓN calle", vec![0]),
            ("pen\u{303}o\u{301}n", vec![0]),
            ("canal", vec![0]),
            ("ano nuevo", vec![1]),
            ("cafe foil", vec![1]),
            ("abc 12", vec![2]),
            ("first", vec![2]),
            ("calle foil", vec![]),
            ("alle", vec![]),
            ("c", vec![0, 1]),
            (" ,;", vec![]),
        ] {
            assert_eq!(hits(&words, search), found, "{search}");
        }
        assert!(words.search(" ,;", 8).is_none());
    }

    proptest! {
        /// Against reading every text anew; and what is forgotten leaves nothing.
        #[test]
        fn finds_what_reading_every_text_finds(
            texts in proptest::collection::vec("[abñÑéE ]{0,12}", 0..8),
            search in "[abnNe]{1,3}",
            removed in 0u32..8,
        ) {
            let mut index = Words::default();
            let kept: Vec<_> = texts.iter().zip(0..).map(|(text, n)| index.insert(n, text)).collect();
            if let Some(words) = kept.get(removed as usize) {
                index.remove(removed, words);
            }
            let begins = |text: &String| words_of(text).iter().any(|w| w.starts_with(&search.to_lowercase()));
            let there = texts.iter().enumerate().filter(|(n, _)| *n != removed as usize);
            let expected: Vec<usize> = there.filter(|(_, text)| begins(text)).map(|(n, _)| n).collect();
            prop_assert_eq!(hits(&index, &search), expected);
            for (words, n) in kept.iter().zip(0..) {
                index.remove(n, words);
            }
            prop_assert_eq!(index.len(), 0);
        }
    }
}
