//! Why reports are suggested, in words.

use super::{Apart, Likeness, Pattern, Suggestion};
use crate::watch::codes::{self, Catalogue};

const HOUR_MINUTES: u32 = 60;
const DAY_MINUTES: u32 = 24 * HOUR_MINUTES;
const DAY_MS: i64 = 24 * 3_600_000;

impl Suggestion {
    /// The reason in the language of a BCP 47 tag, such as '40 m and 12 min apart, both: hand-to-hand exchange'; Spanish for
    /// `es`, otherwise English. It fits the reason of a link.
    pub fn reason(&self, lang: &str) -> String {
        let spanish = is_spanish(lang);
        let time = duration(self.minutes);
        let apart = match (self.apart, spanish) {
            (Apart::Metres(metres), false) => format!("{metres} m and {time} apart"),
            (Apart::Metres(metres), true) => format!("a {metres} m y {time}"),
            (Apart::SameCell, false) => format!("in the same public cell, {time} apart"),
            (Apart::SameCell, true) => format!("en la misma celda pública, con {time} de diferencia"),
        };
        let (what, catalogue) = if self.behaviours.is_empty() {
            (&self.families, codes::behaviour_families())
        } else {
            (&self.behaviours, codes::behaviours())
        };
        let both = match (self.likeness, spanish) {
            (Likeness::SameEvent, false) => "both",
            (Likeness::SameEvent, true) => "ambos",
            (Likeness::Pattern, false) => "again",
            (Likeness::Pattern, true) => "otra vez",
        };
        format!("{apart}, {both}: {}", labels(what, catalogue, lang))
    }
}

impl Pattern {
    /// The reason in the language of a BCP 47 tag, such as '5 reports within 100 m in 9 days: dealing'; Spanish for `es`,
    /// otherwise English.
    pub fn reason(&self, lang: &str) -> String {
        let days = self.last_ms.saturating_sub(self.first_ms) / DAY_MS + 1;
        let (count, metres) = (self.reports.len(), super::APART_M_MAX);
        let what = labels(std::slice::from_ref(&self.family), codes::behaviour_families(), lang);
        match (is_spanish(lang), days) {
            (false, 1) => format!("{count} reports within {metres} m in one day: {what}"),
            (false, _) => format!("{count} reports within {metres} m in {days} days: {what}"),
            (true, 1) => format!("{count} avisos a menos de {metres} m en un día: {what}"),
            (true, _) => format!("{count} avisos a menos de {metres} m en {days} días: {what}"),
        }
    }
}

fn is_spanish(lang: &str) -> bool {
    lang.split(['-', '_']).next().is_some_and(|primary| primary.eq_ignore_ascii_case("es"))
}

/// Units have the same signs in both languages.
fn duration(minutes: u32) -> String {
    match minutes {
        0..=EVENT => format!("{minutes} min"),
        _ if minutes < 2 * DAY_MINUTES => format!("{} h", minutes / HOUR_MINUTES),
        _ => format!("{} d", minutes / DAY_MINUTES),
    }
}

const EVENT: u32 = super::EVENT_MINUTES_MAX;

/// Labels stand in the middle of a sentence: they begin small.
fn labels(codes: &[String], catalogue: &'static Catalogue, lang: &str) -> String {
    let small = codes.iter().map(|code| {
        let mut rest = catalogue.label(code, lang).chars();
        let first = rest.next().into_iter().flat_map(char::to_lowercase);
        first.chain(rest).collect::<String>()
    });
    small.collect::<Vec<_>>().join(", ")
}
