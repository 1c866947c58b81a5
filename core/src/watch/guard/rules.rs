//! The rule set as a data file, and how its cues are found in words.
//!
//! A cue is a short sequence of words; `rules.json` states the syntax. Every cue of both languages is tried on every
//! text: neighbours mix languages, and a guess at the language would make two phones differ.

use super::words::Word;
use regex_lite::Regex;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

/// Most words that the `~` of a cue stands for.
const GAP_WORDS_MAX: usize = 3;

/// What a cue tells of. The names are the keys of `cues` in `rules.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Class {
    /// Something done, found or broken.
    Behaviour,
    /// That somebody is spoken of at all.
    Person,
    Race,
    /// Clothing, hair, body.
    Appearance,
    /// Being somewhere: standing, walking, waiting, living there.
    Idle,
    /// A feeling about somebody.
    Suspicion,
    /// Work, home, habits: who somebody is.
    Status,
    /// Country, papers, language.
    Origin,
    /// Politics, religion, sexual orientation.
    Views,
    /// Rewards, chases, wanted notices.
    Call,
    /// Words that convict: suspect, dealer, junkie.
    Label,
    /// What else describes a person or where they went.
    Descriptor,
    Negation,
    RequestRefused,
    RequestReview,
    RequestPassive,
}

/// A cue found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) class: Class,
    /// Number of the cue, so that two different ones can be told apart.
    pub(super) cue: usize,
    /// Index of its first word.
    pub(super) word: usize,
    /// Its bytes in the text.
    pub(super) span: Range<usize>,
}

/// The rules, ready to be used.
pub(super) struct Rules {
    pub(super) version: String,
    pub(super) source: String,
    cues: Vec<Cue>,
    cues_by_word: BTreeMap<String, Vec<usize>>,
    cues_by_prefix: BTreeMap<String, Vec<usize>>,
    shapes: Vec<(String, Regex)>,
}

struct Cue {
    class: Class,
    parts: Vec<Part>,
    /// With one of these behind it, it is no cue.
    unless: Vec<Pattern>,
}

enum Part {
    Word(Vec<Pattern>),
    Gap,
}

enum Pattern {
    Whole(String),
    Prefix(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "rules")]
    _name: String,
    version: String,
    source: String,
    #[serde(rename = "syntax")]
    _syntax: String,
    sets: BTreeMap<String, Vec<String>>,
    cues: BTreeMap<Class, Vec<String>>,
    shapes: Vec<Shape>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    reason: String,
    regex: String,
}

/// The rules of this version.
pub(super) fn rules() -> &'static Rules {
    static RULES: OnceLock<Rules> = OnceLock::new();
    RULES.get_or_init(|| {
        #[expect(clippy::expect_used, reason = "the file is part of the program, and a test parses it")]
        parse(include_str!("rules.json"))
            .expect("this works because the file is embedded and a test parses it")
    })
}

impl Rules {
    /// Every cue in these words, and how many words were compared on the way.
    pub(super) fn find(&self, words: &[Word]) -> (Vec<Hit>, usize) {
        let mut hits = Vec::new();
        let mut compared = 0;
        for (at, word) in words.iter().enumerate() {
            for cue in self.starting_with(&word.folded) {
                let Some(Cue { class, parts, unless }) = self.cues.get(cue) else { continue };
                let rest = words.get(at..).unwrap_or_default();
                let Some(taken) = taken_by(parts, rest, word.sentence, &mut compared) else { continue };
                let next = rest.get(taken).filter(|next| next.sentence == word.sentence);
                if next.is_some_and(|next| unless.iter().any(|pattern| pattern.fits(&next.folded))) {
                    continue;
                }
                let last = taken.checked_sub(1).and_then(|last| rest.get(last)).unwrap_or(word);
                hits.push(Hit { class: *class, cue, word: at, span: word.span.start..last.span.end });
            }
        }
        (hits, compared)
    }

    /// Every stretch of a text that has the shape of personal data, with its reason.
    pub(super) fn shapes<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (&'a str, Range<usize>)> {
        self.shapes.iter().flat_map(move |(reason, regex)| {
            regex.find_iter(text).map(move |found| (reason.as_str(), found.range()))
        })
    }

    fn starting_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let whole = self.cues_by_word.get(word).into_iter().flatten();
        let prefixes = word.char_indices().map(|(at, c)| at + c.len_utf8());
        let prefixed = prefixes.filter_map(|end| self.cues_by_prefix.get(word.get(..end)?)).flatten();
        whole.chain(prefixed).copied()
    }
}

/// How many words the parts take if these begin with them.
fn taken_by(parts: &[Part], words: &[Word], sentence: usize, compared: &mut usize) -> Option<usize> {
    let (part, later) = parts.split_first()?;
    match part {
        Part::Word(patterns) => {
            let (word, rest) = words.split_first()?;
            *compared += 1;
            if word.sentence != sentence || !patterns.iter().any(|pattern| pattern.fits(&word.folded)) {
                return None;
            }
            if later.is_empty() { Some(1) } else { Some(1 + taken_by(later, rest, sentence, compared)?) }
        }
        Part::Gap => (0..=GAP_WORDS_MAX).find_map(|skipped| {
            Some(skipped + taken_by(later, words.get(skipped..).unwrap_or_default(), sentence, compared)?)
        }),
    }
}

impl Pattern {
    fn fits(&self, word: &str) -> bool {
        match self {
            Self::Whole(whole) => whole == word,
            Self::Prefix(prefix) => word.starts_with(prefix.as_str()),
        }
    }
}

fn parse(json: &str) -> Result<Rules, String> {
    let file: File = serde_json::from_str(json).map_err(|e| e.to_string())?;
    let mut rules = Rules {
        version: file.version,
        source: file.source,
        cues: Vec::new(),
        cues_by_word: BTreeMap::new(),
        cues_by_prefix: BTreeMap::new(),
        shapes: Vec::new(),
    };
    for (class, cues) in &file.cues {
        for cue in cues {
            let parse = |part| parse_part(part, &file.sets);
            let (wanted, exception) = cue.split_once('!').map_or((cue.as_str(), None), |(w, e)| (w, Some(e)));
            let parts: Vec<Part> = wanted.split_whitespace().map(parse).collect::<Result<_, _>>()?;
            // Behind a gap only the nearest match would be looked at.
            let unless = match exception.map(parse).transpose()? {
                Some(Part::Word(patterns)) if !wanted.contains('~') => patterns,
                Some(_) => return Err(format!("the cue '{cue}' makes an exception that cannot be told")),
                None => Vec::new(),
            };
            let Some(Part::Word(first)) = parts.first() else {
                return Err(format!("the cue '{cue}' does not begin with a word"));
            };
            for pattern in first {
                let (index, key) = match pattern {
                    Pattern::Whole(word) => (&mut rules.cues_by_word, word),
                    Pattern::Prefix(prefix) => (&mut rules.cues_by_prefix, prefix),
                };
                index.entry(key.clone()).or_default().push(rules.cues.len());
            }
            if matches!(parts.last(), Some(Part::Gap)) {
                return Err(format!("the cue '{cue}' ends with a gap"));
            }
            rules.cues.push(Cue { class: *class, parts, unless });
        }
    }
    for shape in file.shapes {
        let regex = Regex::new(&shape.regex).map_err(|e| format!("{}: {e}", shape.regex))?;
        rules.shapes.push((shape.reason, regex));
    }
    Ok(rules)
}

fn parse_part(part: &str, sets: &BTreeMap<String, Vec<String>>) -> Result<Part, String> {
    if part == "~" {
        return Ok(Part::Gap);
    }
    let mut patterns = Vec::new();
    for word in part.split('|') {
        if let Some(set) = word.strip_prefix('@') {
            let set = sets.get(set).ok_or_else(|| format!("there is no set '{set}'"))?;
            patterns.extend(set.iter().cloned().map(Pattern::Whole));
            continue;
        }
        let (stem, prefix) = word.strip_suffix('*').map_or((word, false), |stem| (stem, true));
        // A rule that is not folded would never match.
        if stem.is_empty() || !stem.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(format!("'{word}' is not a folded word"));
        }
        patterns.push(if prefix {
            Pattern::Prefix(stem.to_owned())
        } else {
            Pattern::Whole(stem.to_owned())
        });
    }
    Ok(Part::Word(patterns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::guard::words::words;

    fn file_with(cue: &str) -> String {
        format!(
            r#"{{"rules": "r", "version": "v", "source": "s", "syntax": "", "sets": {{"who": ["he", "she"]}},
                "cues": {{"call": ["{cue}"]}}, "shapes": []}}"#
        )
    }

    fn tiny(cue: &str) -> Rules {
        parse(&file_with(cue)).unwrap()
    }

    fn found(cue: &str, text: &str) -> Vec<String> {
        let (hits, _) = tiny(cue).find(&words(text));
        hits.into_iter().map(|hit| text.get(hit.span).unwrap().to_owned()).collect()
    }

    #[test]
    fn a_cue_is_words_choices_beginnings_gaps_and_sets() {
        assert_eq!(found("look* in|into", "Looked into it, looking in."), ["Looked into", "looking in"]);
        assert_eq!(found("through ~ trash", "through all of his trash"), ["through all of his trash"]);
        assert_eq!(found("through ~ trash", "through one two three four trash"), [""; 0]);
        assert_eq!(found("@who went", "She went. He stayed; he went"), ["She went", "he went"]);
    }

    #[test]
    fn a_word_behind_it_may_make_a_cue_none() {
        let cue = "criminal !trespass|mischief";
        assert_eq!(found(cue, "Criminal mischief, by a criminal. Mischief!"), ["criminal"]);
        let refused = |cue: &str| parse(&file_with(cue)).is_err();
        assert!(refused("a !") && refused("a !~") && refused("a ~ b !c") && refused("!a"));
    }

    #[test]
    fn a_match_stays_in_its_sentence() {
        assert_eq!(found("a b", "a. b"), [""; 0]);
        assert_eq!(found("a ~ b", "a\nb"), [""; 0]);
        assert_eq!(found("a ~ b", "a, b"), ["a, b"]);
    }

    #[test]
    fn rules_that_could_never_match_are_refused() {
        let parts = |cue| parse_part(cue, &BTreeMap::new()).is_err();
        assert!(
            parts("señor") && parts("Man") && parts("*") && parts("") && parts("a||b") && parts("@nobody")
        );
    }

    #[test]
    fn the_file_names_its_version_and_sources() {
        assert_eq!(rules().version, "2026-01");
        assert!(rules().source.contains("28 CFR 23.20(b)"));
    }
}
