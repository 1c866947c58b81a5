//! Byte searches: whether words that must not be somewhere are there.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use aho_corasick::AhoCorasick;

/// Words to look for.
pub struct Search {
    words: Vec<String>,
    automaton: AhoCorasick,
}

/// What a search has looked at and found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub files: u64,
    pub bytes: u64,
    /// How many of the words are there, counting repetitions.
    pub hits: u64,
}

impl Search {
    /// Prepares to look for any of `words`.
    pub fn new(words: impl IntoIterator<Item = String>) -> Result<Self, aho_corasick::BuildError> {
        let words: Vec<String> = words.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let automaton = AhoCorasick::new(&words)?;
        Ok(Self { words, automaton })
    }

    /// How many different words it looks for.
    pub fn words(&self) -> usize {
        self.words.len()
    }

    /// Which of the words are in a text, also where one lies within another.
    pub fn found_in(&self, text: &str) -> BTreeSet<&str> {
        let found = self.automaton.find_overlapping_iter(text);
        found.filter_map(|found| self.words.get(found.pattern().as_usize())).map(String::as_str).collect()
    }

    /// Looks through every file below `directory`.
    pub fn in_directory(&self, directory: &Path) -> io::Result<Found> {
        let mut found = Found::default();
        let mut open = vec![directory.to_owned()];
        while let Some(path) = open.pop() {
            if path.is_dir() {
                for child in fs::read_dir(path)? {
                    open.push(child?.path());
                }
            } else if path.is_file() {
                let bytes = fs::read(path)?;
                found.files += 1;
                found.bytes += bytes.len() as u64;
                found.hits += self.in_bytes(&bytes);
            }
        }
        Ok(found)
    }

    fn in_bytes(&self, bytes: &[u8]) -> u64 {
        self.automaton.find_iter(bytes).count() as u64
    }
}
