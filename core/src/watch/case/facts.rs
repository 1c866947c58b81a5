//! Facts of a case: registers that keep every value with who said it.
//!
//! Nothing is overwritten. A resolution says which value holds, and names everything that its author had seen: values and
//! earlier resolutions. A value that it does not name reopens the question, and two resolutions that do not know of each
//! other stand side by side until a third has seen both. Clocks decide nothing.

use std::collections::{BTreeMap, BTreeSet};

use autosurgeon::{Hydrate, Reconcile};

use super::Case;
use crate::base::hash;
use crate::watch::check::{Invalid, check_code, check_count, check_each, check_id};
use crate::watch::codes;
use crate::watch::release::OpenFact;
use crate::watch::text::{self, LINE_CHARS_MAX};

/// Most values of one case, of all facts together.
pub const FACT_VALUES_COUNT_MAX: usize = 500;

/// Most resolutions of one case.
pub const RESOLUTIONS_COUNT_MAX: usize = 500;

/// One value of a fact, and who said it. Every volunteer reads it: never a name, an address or a plate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hydrate, Reconcile)]
pub struct FactValue {
    /// A key of `codes/facts.json`.
    #[autosurgeon(missing = "Default::default")]
    pub fact: String,
    /// What holds, in one line.
    #[autosurgeon(missing = "Default::default")]
    pub value: String,
    /// Id of the member who says so, as text.
    #[autosurgeon(missing = "Default::default")]
    pub by: String,
}

/// Which of a fact's values holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hydrate, Reconcile)]
pub struct Resolution {
    /// A key of `codes/facts.json`.
    #[autosurgeon(missing = "Default::default")]
    pub fact: String,
    /// Key of the value that holds.
    #[autosurgeon(missing = "Default::default")]
    pub choice: String,
    /// Keys of the values and resolutions of this fact that its author had seen, sorted.
    #[autosurgeon(missing = "Default::default")]
    pub seen: Vec<String>,
    /// Id of the member who decided, as text.
    #[autosurgeon(missing = "Default::default")]
    pub by: String,
}

/// A fact as it stands: derived, and the same for everybody who has the same document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fact {
    /// Every value that was ever said, by key.
    pub values: BTreeMap<String, FactValue>,
    /// What holds: the only text that was said, or the one that everybody's last resolution chose; none while it is open.
    pub settled: Option<String>,
}

impl Fact {
    /// The different texts, sorted: what a release says of an open fact.
    pub fn texts(&self) -> BTreeSet<&str> {
        self.values.values().map(|value| value.value.as_str()).collect()
    }
}

impl FactValue {
    /// What a case files it under: made of its content, so that the same word said twice is one.
    pub fn key(&self) -> String {
        key(b"lamppost/1/fact", [&self.fact, &self.value, &self.by].into_iter())
    }

    fn validate(&self) -> Result<(), Invalid> {
        check_code("fact", &self.fact, codes::facts())?;
        text::check_required_line("value", &self.value, LINE_CHARS_MAX)?;
        check_id("by", &self.by)
    }
}

impl Resolution {
    /// What a case files it under: made of its content.
    pub fn key(&self) -> String {
        key(b"lamppost/1/resolution", [&self.fact, &self.choice, &self.by].into_iter().chain(&self.seen))
    }

    fn validate(&self) -> Result<(), Invalid> {
        check_code("fact", &self.fact, codes::facts())?;
        check_id("choice", &self.choice)?;
        check_count("seen", self.seen.len(), FACT_VALUES_COUNT_MAX + RESOLUTIONS_COUNT_MAX)?;
        check_each("seen", &self.seen, |seen| check_id("key", seen))?;
        check_id("by", &self.by)
    }
}

/// 16 bytes of a hash in hexadecimal: short, and nobody's by accident.
fn key<'a>(tag: &[u8], parts: impl Iterator<Item = &'a String>) -> String {
    let parts: Vec<&[u8]> = parts.map(String::as_bytes).collect();
    hash::tagged(tag, &parts).to_string().chars().take(32).collect()
}

impl Case {
    /// Says what holds, beside whatever others said, and returns the value's key.
    pub fn state_fact(
        &mut self,
        fact: impl Into<String>,
        value: impl Into<String>,
        by: impl Into<String>,
    ) -> String {
        let value = FactValue { fact: fact.into(), value: value.into(), by: by.into() };
        let key = value.key();
        self.facts.insert(key.clone(), value);
        key
    }

    /// Decides for one of a fact's values, having seen all that are here.
    ///
    /// # Errors
    /// When `choice` is no key of a value of this fact.
    pub fn resolve_fact(&mut self, fact: &str, choice: &str, by: impl Into<String>) -> Result<(), Invalid> {
        if self.facts.get(choice).is_none_or(|value| value.fact != fact) {
            return Err(Invalid::new(
                "choice",
                "is no value of this fact",
                "choose one of those that are shown",
            ));
        }
        let values = self.facts.iter().filter(|(_, value)| value.fact == fact).map(|(key, _)| key);
        let earlier = self.resolutions.iter().filter(|(_, other)| other.fact == fact).map(|(key, _)| key);
        let seen: BTreeSet<String> = values.chain(earlier).cloned().collect();
        let seen = seen.into_iter().collect();
        let resolution = Resolution { fact: fact.to_owned(), choice: choice.to_owned(), seen, by: by.into() };
        self.resolutions.insert(resolution.key(), resolution);
        Ok(())
    }

    /// Every fact that somebody said something about, by its code.
    pub fn facts_by_code(&self) -> BTreeMap<&str, Fact> {
        let mut facts: BTreeMap<&str, Fact> = BTreeMap::new();
        for (key, value) in &self.facts {
            facts.entry(&value.fact).or_default().values.insert(key.clone(), value.clone());
        }
        for (name, fact) in &mut facts {
            fact.settled = self.settled(name, fact);
        }
        facts
    }

    /// What is not settled, as a release says it.
    pub fn open_facts(&self) -> Vec<OpenFact> {
        let open = self.facts_by_code().into_iter().filter(|(_, fact)| fact.settled.is_none());
        let open = open.map(|(code, fact)| OpenFact {
            fact: code.to_owned(),
            values: fact.texts().into_iter().map(str::to_owned).collect(),
        });
        open.collect()
    }

    fn settled(&self, name: &str, fact: &Fact) -> Option<String> {
        let texts = fact.texts();
        if texts.len() == 1 {
            return texts.first().map(|text| (*text).to_owned());
        }
        let resolutions: BTreeMap<_, _> = self.resolutions.iter().filter(|(_, r)| r.fact == name).collect();
        let cited: BTreeSet<&String> = resolutions.values().flat_map(|r| &r.seen).collect();
        let last = || resolutions.iter().filter(|(key, _)| !cited.contains(*key)).map(|(_, r)| *r);
        let has_seen_all = |r: &Resolution| fact.values.keys().all(|key| r.seen.contains(key));
        let chosen: BTreeSet<_> = last().map(|r| fact.values.get(&r.choice).map(|v| &v.value)).collect();
        match chosen.into_iter().collect::<Vec<_>>().as_slice() {
            [Some(text)] if last().any(has_seen_all) => Some((*text).clone()),
            _ => None,
        }
    }

    pub(super) fn validate_facts(&self) -> Result<(), Invalid> {
        let misfiled = || {
            Invalid::new("key", "does not belong to the content", "use `Case::state_fact` or `resolve_fact`")
        };
        check_count("facts", self.facts.len(), FACT_VALUES_COUNT_MAX)?;
        check_count("resolutions", self.resolutions.len(), RESOLUTIONS_COUNT_MAX)?;
        for (key, value) in &self.facts {
            let named = |e: Invalid| e.within(&format!("facts[{key}]"));
            value.validate().map_err(named)?;
            (*key == value.key()).then_some(()).ok_or_else(|| named(misfiled()))?;
        }
        for (key, resolution) in &self.resolutions {
            let named = |e: Invalid| e.within(&format!("resolutions[{key}]"));
            resolution.validate().map_err(named)?;
            (*key == resolution.key()).then_some(()).ok_or_else(|| named(misfiled()))?;
        }
        Ok(())
    }
}
