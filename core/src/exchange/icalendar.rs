//! iCalendar (RFC 5545): meetings and shifts for people's own calendars.
//!
//! Written here rather than by a crate: those that there are bring a parser, a second library for times, and random
//! identities, where a calendar that is fetched again has to name the same event in the same way.

use super::{text, time};
use crate::watch::check::check_time;
use crate::watch::{Invalid, Meeting, Shift};

/// Longest line in bytes, without its end (RFC 5545, section 3.1).
const LINE_BYTES_MAX: usize = 75;

/// One meeting or shift. Nobody who comes is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Names it in every calendar, for ever: the id of its document.
    pub uid: String,
    /// Counts its changes: a calendar shows the highest.
    pub sequence: u32,
    /// When it was changed last, in milliseconds since the Unix epoch.
    pub changed_ms: i64,
    /// When it begins, in milliseconds since the Unix epoch.
    pub starts_ms: i64,
    /// When it ends, in milliseconds since the Unix epoch; none if open.
    pub ends_ms: Option<i64>,
    /// What it is called.
    pub title: String,
    /// More about it; may be empty.
    pub description: String,
    /// Where; may be empty.
    pub place: String,
}

/// Writes a calendar of at least one event, in UTF-8 with CRLF. Times are in UTC: every calendar shows its reader's own.
///
/// # Errors
/// When there is no event, or one has no identity, no title, or times that cannot be.
pub fn calendar(name: &str, events: &[Event]) -> Result<Vec<u8>, Invalid> {
    if events.is_empty() {
        return Err(Invalid::new("events", "is empty", "choose at least one meeting or shift"));
    }
    crate::watch::check::check_each("events", events, Event::validate)?;
    let mut lines = Lines::default();
    lines.put("BEGIN", "VCALENDAR");
    lines.put("VERSION", "2.0");
    lines.put("PRODID", "-//Lamppost//Lamppost//EN");
    lines.put_text("NAME", name); // RFC 7986, section 5.1
    for event in events {
        event.write(&mut lines);
    }
    lines.put("END", "VCALENDAR");
    Ok(lines.0.into_bytes())
}

impl Event {
    /// A meeting with its agenda, and without what was said and who came. `id` is its document's, as text; `revision` counts
    /// its changes from 1, and `changed_ms` is the time of the last one, in milliseconds since the Unix epoch.
    pub fn of_meeting(id: &str, meeting: &Meeting, revision: u32, changed_ms: i64) -> Self {
        let mut agenda: Vec<_> = meeting.agenda.values().collect();
        agenda.sort_by_key(|item| (item.position, &item.title));
        let lines =
            agenda.iter().enumerate().map(|(at, item)| format!("{}. {}", at + 1, text::line(&item.title)));
        Self {
            uid: id.to_owned(),
            sequence: revision.saturating_sub(1),
            changed_ms,
            starts_ms: meeting.starts_ms,
            ends_ms: meeting.ends_ms.filter(|ends_ms| *ends_ms > meeting.starts_ms),
            title: meeting.title.clone(),
            description: lines.collect::<Vec<_>>().join("\n"),
            place: meeting.place.clone(),
        }
    }

    /// A shift with its hours and its area as public cells, and without who came. As [`Event::of_meeting`].
    pub fn of_shift(id: &str, shift: &Shift, revision: u32, changed_ms: i64) -> Self {
        Self {
            uid: id.to_owned(),
            sequence: revision.saturating_sub(1),
            changed_ms,
            starts_ms: shift.starts_ms,
            ends_ms: Some(shift.ends_ms).filter(|ends_ms| *ends_ms > shift.starts_ms),
            title: shift.title.clone(),
            description: String::new(),
            place: shift.cells.join(", "),
        }
    }

    fn validate(&self) -> Result<(), Invalid> {
        crate::watch::check::check_id("uid", &self.uid)?;
        if self.title.trim().is_empty() {
            return Err(Invalid::new("title", "is empty", "write at least a few words"));
        }
        check_time("changed_ms", self.changed_ms)?;
        check_time("starts_ms", self.starts_ms)?;
        let Some(ends_ms) = self.ends_ms else { return Ok(()) };
        check_time("ends_ms", ends_ms)?;
        // RFC 5545, section 3.8.2.2: the end is later than the start.
        if in_utc(ends_ms) <= in_utc(self.starts_ms) {
            return Err(Invalid::new(
                "ends_ms",
                "does not lie after the start",
                "swap the two or leave the end out",
            ));
        }
        Ok(())
    }

    fn write(&self, lines: &mut Lines) {
        lines.put("BEGIN", "VEVENT");
        lines.put("UID", &self.uid);
        lines.put("SEQUENCE", &self.sequence.to_string());
        lines.put("DTSTAMP", &in_utc(self.changed_ms));
        lines.put("DTSTART", &in_utc(self.starts_ms));
        if let Some(ends_ms) = self.ends_ms {
            lines.put("DTEND", &in_utc(ends_ms));
        }
        lines.put_text("SUMMARY", &text::line(&self.title));
        lines.put_text("DESCRIPTION", &self.description);
        lines.put_text("LOCATION", &text::line(&self.place));
        lines.put("END", "VEVENT");
    }
}

/// Content lines, each folded and ended.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// Writes a text with its special characters escaped (RFC 5545, section 3.3.11); nothing if it is empty.
    fn put_text(&mut self, name: &str, text: &str) {
        let mut escaped = String::with_capacity(text.len());
        for c in text::plain(text).chars() {
            match c {
                '\\' | ';' | ',' => escaped.extend(['\\', c]),
                '\n' => escaped.push_str("\\n"),
                c => escaped.push(c),
            }
        }
        if !escaped.is_empty() {
            self.put(name, &escaped);
        }
    }

    /// Folds between characters, never within one.
    fn put(&mut self, name: &str, value: &str) {
        let mut bytes = 0;
        for c in name.chars().chain([':']).chain(value.chars()) {
            if bytes + c.len_utf8() > LINE_BYTES_MAX {
                self.0.push_str("\r\n ");
                bytes = 1;
            }
            self.0.push(c);
            bytes += c.len_utf8();
        }
        self.0.push_str("\r\n");
    }
}

fn in_utc(ms: i64) -> String {
    time::in_form("%Y%m%dT%H%M%SZ", ms)
}
