//! What a change may make of a case: nobody speaks in another's name, and nothing is taken out (PROTOCOL.md §6.4).

use std::collections::BTreeMap;

use super::{Case, Link};
use crate::watch::check::Invalid;
use crate::watch::content::Writer;

impl Case {
    /// Judges a change of this case, empty if there is none yet, by what it makes of it and who wrote it.
    pub(super) fn check_step(&self, after: &Self, writer: &Writer) -> Result<(), Invalid> {
        let by = writer.member.to_string();
        keeps_all("links", &self.links, &after.links)?;
        keeps_all("facts", &self.facts, &after.facts)?;
        keeps_all("resolutions", &self.resolutions, &after.resolutions)?;
        for (key, link) in &after.links {
            let named = |e: Invalid| e.within(&format!("links[{key}]"));
            link.check_step(key, self.links.get(key), &by).map_err(named)?;
        }
        for (key, value) in &after.facts {
            let is_own = value.by == by && *key == value.key();
            if self.facts.get(key).map_or(!is_own, |before| before != value) {
                return Err(foreign(&format!("facts[{key}]")));
            }
        }
        for (key, resolution) in &after.resolutions {
            let is_there =
                |seen: &String| after.facts.contains_key(seen) || after.resolutions.contains_key(seen);
            let is_own = resolution.by == by
                && *key == resolution.key()
                && after.facts.contains_key(&resolution.choice)
                && resolution.seen.iter().all(is_there);
            if self.resolutions.get(key).map_or(!is_own, |before| before != resolution) {
                return Err(foreign(&format!("resolutions[{key}]")));
            }
        }
        Ok(())
    }
}

impl Link {
    /// A new link, or a reason, is its member's own; any coordinator takes one back that stands, and says so by their name.
    fn check_step(&self, key: &str, before: Option<&Self>, by: &str) -> Result<(), Invalid> {
        let is_own = self.by == by;
        if key != self.key() {
            return Err(foreign("by"));
        }
        let Some(before) = before else {
            return if is_own && (self.stands() || self.removed_by == by) {
                Ok(())
            } else {
                Err(foreign("by"))
            };
        };
        if self.reason != before.reason && !is_own {
            return Err(foreign("reason"));
        }
        let is_as_it_was = self.removed_by == before.removed_by;
        let was_taken_back = before.stands() && self.removed_by == by;
        let was_made_again = self.stands() && is_own;
        if is_as_it_was || was_taken_back || was_made_again { Ok(()) } else { Err(foreign("removed_by")) }
    }
}

fn keeps_all<T>(
    field: &str,
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
) -> Result<(), Invalid> {
    match before.keys().find(|key| !after.contains_key(*key)) {
        None => Ok(()),
        Some(key) => {
            let remedy = "mark a link as taken back; say what holds beside what was said";
            Err(Invalid::new(format!("{field}[{key}]"), "is taken out", remedy))
        }
    }
}

fn foreign(field: &str) -> Invalid {
    Invalid::new(field, "says what somebody else has not said", "write in your own name")
}
