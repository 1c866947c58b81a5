//! Why the guard holds or asks, in the words that people read.

use crate::watch::check::Invalid;
use serde::Deserialize;
use std::sync::OnceLock;

/// A reason with its question, in English and Spanish.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    code: String,
    weight: Weight,
    en: String,
    es: String,
    question_en: String,
    question_es: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Weight {
    Held,
    Ask,
}

impl Reason {
    /// The code, such as `no_behaviour`; it never changes its meaning.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Whether a text with it must be written again.
    pub fn holds(&self) -> bool {
        self.weight == Weight::Held
    }

    /// What is the matter, in a language given as a BCP 47 tag; English if there is none.
    pub fn text(&self, lang: &str) -> &str {
        if is_spanish(lang) { &self.es } else { &self.en }
    }

    /// What to ask the author, in a language given as a BCP 47 tag; English if there is none.
    pub fn question(&self, lang: &str) -> &str {
        if is_spanish(lang) { &self.question_es } else { &self.question_en }
    }

    /// The refusal of a field for this reason, in English as all refusals are.
    pub(super) fn refusal(&self, field: &str) -> Invalid {
        let problem = self.en.trim_end_matches('.');
        Invalid::new(field, format!("is held ({}): {problem}", self.code), self.question_en.clone())
    }
}

/// Every reason there is.
pub fn reasons() -> &'static [Reason] {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(rename = "texts")]
        _name: String,
        #[serde(rename = "version")]
        _version: String,
        #[serde(rename = "source")]
        _source: String,
        entries: Vec<Reason>,
    }
    static REASONS: OnceLock<Vec<Reason>> = OnceLock::new();
    REASONS.get_or_init(|| {
        #[expect(clippy::expect_used, reason = "the file is part of the program, and a test parses it")]
        let file: File = serde_json::from_str(include_str!("reasons.json"))
            .expect("this works because the file is embedded and a test parses it");
        file.entries
    })
}

pub(super) fn reason(code: &str) -> Option<&'static Reason> {
    reasons().iter().find(|reason| reason.code == code)
}

fn is_spanish(lang: &str) -> bool {
    lang.split(['-', '_']).next().is_some_and(|primary| primary.eq_ignore_ascii_case("es"))
}
