//! Medical first, and no emergency service: what an app shows before it saves anything.
//!
//! A report travels when there is a network, to people who may be asleep. So danger in progress opens the dialler first.

use super::Observation;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What an app does next, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Opens the dialler with this number, before anything else.
    Dial(String),
    /// Shows a button with this number.
    OfferDial(String),
    /// Shows what to do until help comes.
    Show(&'static Guidance),
    /// Saves the report. Always the last step, and always there.
    Save,
}

/// Whom to call, by the group's policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// ISO 3166-1 alpha-2 code of the country, such as `US`; empty if unknown.
    pub country: String,
    /// The group's own choice of a number; none for the country's. Anything but digits in it is not dialled.
    pub number: Option<String>,
}

/// What to do until help comes, in short lines.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guidance {
    code: String,
    en: Vec<String>,
    es: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "texts")]
    _name: String,
    version: String,
    source: String,
    default_number: String,
    number_by_country: BTreeMap<String, String>,
    guidance: Vec<Guidance>,
}

impl Guidance {
    /// The code: `naloxone` or `keep_away`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Its lines in a language given as a BCP 47 tag; English if there is none.
    pub fn lines(&self, lang: &str) -> &[String] {
        let primary = lang.split(['-', '_']).next().unwrap_or(lang);
        if primary.eq_ignore_ascii_case("es") { &self.es } else { &self.en }
    }
}

impl Policy {
    /// The number to dial: the group's, else the country's, else 112.
    pub fn number(&self) -> &str {
        let dialled =
            |number: &&str| (2..=6).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        let country = || file().number_by_country.get(&self.country.to_ascii_uppercase()).map(String::as_str);
        self.number.as_deref().filter(dialled).or_else(country).unwrap_or(&file().default_number)
    }
}

/// What comes first while a report is being written.
///
/// ```
/// use lamppost_core::watch::Observation;
/// use lamppost_core::watch::emergency::{Policy, Step, steps};
///
/// let draft = Observation { flags: vec!["overdose".into()], ..Observation::default() };
/// let policy = Policy { country: "US".into(), number: None };
/// assert_eq!(steps(&draft, &policy)[0], Step::Dial("911".into()));
/// ```
pub fn steps(draft: &Observation, policy: &Policy) -> Vec<Step> {
    let flag = |code: &str| draft.flags.iter().any(|flag| flag == code);
    let behaviour = |code: &str| draft.behaviours.iter().any(|behaviour| behaviour == code);
    let overdose = concerns_overdose(draft);
    let violent = flag("weapon") || behaviour("weapon_seen") || behaviour("threat");
    let danger = flag("in_progress") && (violent || flag("minors"));
    let number = policy.number().to_owned();
    let mut steps = Vec::new();
    if draft.called_emergency_at_ms.is_none() {
        // An overdose that nobody called for may still be one, whatever else was ticked.
        if overdose || danger {
            steps.push(Step::Dial(number));
        } else if violent || flag("in_progress") {
            steps.push(Step::OfferDial(number));
        }
    }
    if overdose {
        steps.extend(guidance("naloxone").map(Step::Show));
    }
    if danger {
        steps.extend(guidance("keep_away").map(Step::Show));
    }
    steps.push(Step::Save);
    steps
}

/// Whether it is about an overdose: then it is a medical matter before it is anything else.
pub fn concerns_overdose(observation: &Observation) -> bool {
    observation.flags.iter().chain(&observation.behaviours).any(|code| code == "overdose")
}

/// Version of the texts and numbers, and where they come from.
pub fn source() -> (&'static str, &'static str) {
    (&file().version, &file().source)
}

fn guidance(code: &str) -> Option<&'static Guidance> {
    file().guidance.iter().find(|guidance| guidance.code == code)
}

fn file() -> &'static File {
    static FILE: OnceLock<File> = OnceLock::new();
    FILE.get_or_init(|| {
        #[expect(clippy::expect_used, reason = "the file is part of the program, and a test parses it")]
        serde_json::from_str(include_str!("emergency/emergency.json"))
            .expect("this works because the file is embedded and a test parses it")
    })
}

#[cfg(test)]
mod tests;
