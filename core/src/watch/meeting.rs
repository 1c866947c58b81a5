//! A meeting of the group: what is on the agenda, what was said, and who does what until when.

use super::check::{Invalid, check_code, check_count, check_id, check_time};
use super::codes;
use super::content::{Keyed, Summary, WatchDocument, ids, stored};
use super::kinds::Kind;
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};
use crate::base::DocumentId;

/// Most items of an agenda, and most actions of a meeting.
pub const ITEMS_COUNT_MAX: usize = 100;

/// Status of an action that is still to be done.
const OPEN: &str = "open";

stored! {
    /// One meeting.
    pub struct Meeting {
        /// What it is called.
        pub title: String,
        /// When it begins, in milliseconds since the Unix epoch.
        pub starts_ms: i64,
        /// When it ends, in milliseconds since the Unix epoch; none if open.
        pub ends_ms: Option<i64>,
        /// Where; a public place or an address that was agreed on.
        pub place: String,
        /// What is to be talked about, by key.
        pub agenda: Keyed<AgendaItem>,
        /// What was said and decided.
        pub minutes: String,
        /// What somebody took on, by key.
        pub actions: Keyed<Action>,
        /// How many came; a number and no names.
        pub attendance: Option<u32>,
    }

    /// One item of an agenda.
    pub struct AgendaItem {
        /// Its place in the order.
        pub position: u32,
        /// What it is.
        pub title: String,
        /// Id of a document it is about, as text; empty if none.
        pub about: String,
    }

    /// One thing that somebody took on.
    pub struct Action {
        /// What.
        pub what: String,
        /// Id of the one member or partner who does it, as text.
        pub owner: String,
        /// By when, in milliseconds since the Unix epoch.
        pub due_ms: i64,
        /// A key of `codes/action_status.json`.
        pub status: String,
        /// What came of it; may be empty.
        pub note: String,
    }
}

/// An action of an earlier meeting that is still open.
#[derive(Clone, Debug, PartialEq)]
pub struct CarriedAction {
    /// The meeting at which it was taken on.
    pub meeting: DocumentId,
    /// Its key there.
    pub key: String,
    /// The action.
    pub action: Action,
}

/// The actions that are on the agenda of a meeting by themselves: those of every meeting that is set for before it and are
/// open, first due first. By what the documents say alone, so every phone has the same agenda.
pub fn carried_over<'a>(
    next: &Meeting,
    meetings: impl IntoIterator<Item = (DocumentId, &'a Meeting)>,
) -> Vec<CarriedAction> {
    let earlier = meetings.into_iter().filter(|(_, meeting)| meeting.starts_ms < next.starts_ms);
    let mut carried: Vec<CarriedAction> = earlier
        .flat_map(|(id, meeting)| {
            let open = meeting.actions.iter().filter(|(_, action)| action.status == OPEN);
            open.map(move |(key, action)| CarriedAction {
                meeting: id,
                key: key.clone(),
                action: action.clone(),
            })
        })
        .collect();
    carried.sort_by(|a, b| (a.action.due_ms, a.meeting, &a.key).cmp(&(b.action.due_ms, b.meeting, &b.key)));
    carried
}

impl Meeting {
    /// The agenda in order.
    pub fn items(&self) -> Vec<&AgendaItem> {
        let mut items: Vec<_> = self.agenda.iter().collect();
        items.sort_by_key(|(key, item)| (item.position, *key));
        items.into_iter().map(|(_, item)| item).collect()
    }
}

impl Action {
    /// Judges the author's own input.
    ///
    /// # Errors
    /// When it does not say what, who, by when, or where it stands.
    pub fn validate(&self) -> Result<(), Invalid> {
        text::check_required("what", &self.what, TEXT_CHARS_MAX)?;
        check_id("owner", &self.owner)?;
        check_time("due_ms", self.due_ms)?;
        check_code("status", &self.status, codes::action_status())?;
        text::check("note", &self.note, TEXT_CHARS_MAX)
    }
}

/// Judges a list of actions.
pub(super) fn check_actions(actions: &Keyed<Action>) -> Result<(), Invalid> {
    check_count("actions", actions.len(), ITEMS_COUNT_MAX)?;
    actions
        .iter()
        .try_for_each(|(key, action)| action.validate().map_err(|e| e.within(&format!("actions.{key}"))))
}

impl WatchDocument for Meeting {
    const KIND: Kind = Kind::MEETING;

    fn validate(&self) -> Result<(), Invalid> {
        text::check_required_line("title", &self.title, LINE_CHARS_MAX)?;
        check_span(self.starts_ms, self.ends_ms)?;
        text::check_line("place", &self.place, LINE_CHARS_MAX)?;
        check_count("agenda", self.agenda.len(), ITEMS_COUNT_MAX)?;
        for (key, item) in self.agenda.iter() {
            let named = |e: Invalid| e.within(&format!("agenda.{key}"));
            text::check_required_line("title", &item.title, LINE_CHARS_MAX).map_err(named)?;
            if !item.about.is_empty() {
                check_id("about", &item.about).map_err(named)?;
            }
        }
        text::check("minutes", &self.minutes, TEXT_CHARS_MAX)?;
        check_actions(&self.actions)
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.title.clone(),
            text: if self.minutes.is_empty() { self.place.clone() } else { self.minutes.clone() },
            when_ms: Some(self.starts_ms),
            about: ids(self.agenda.values().map(|item| &item.about)),
            ..Summary::default()
        }
    }
}

/// Accepts a beginning, and an end that does not lie before it.
pub(super) fn check_span(starts_ms: i64, ends_ms: Option<i64>) -> Result<(), Invalid> {
    check_time("starts_ms", starts_ms)?;
    let Some(ends_ms) = ends_ms else { return Ok(()) };
    check_time("ends_ms", ends_ms)?;
    if ends_ms < starts_ms {
        return Err(Invalid::new("ends_ms", "lies before the start", "swap the two or leave the end out"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::{document_of, fork, refused};
    use autosurgeon::{hydrate, reconcile};

    const MAY: i64 = 1_777_593_600_000;
    const DAY: i64 = 86_400_000;

    fn action(what: &str, due_ms: i64, status: &str) -> Action {
        let (what, owner, status) = (what.into(), "member-1".into(), status.into());
        Action { what, owner, due_ms, status, note: String::new() }
    }

    fn meeting(starts_ms: i64, actions: &[(&str, Action)]) -> Meeting {
        let item = AgendaItem { position: 1, title: "The lot".into(), about: String::new() };
        Meeting {
            title: "Monthly meeting".into(),
            starts_ms,
            agenda: Keyed::from_iter([("1", item)]),
            actions: actions.iter().cloned().collect(),
            ..Meeting::default()
        }
    }

    #[test]
    fn refusals_name_the_field() {
        let valid = meeting(MAY, &[("x", action("Ask the owner", MAY + DAY, OPEN))]);
        assert_eq!(refused(&valid, |m| m.title.clear()), "title");
        assert_eq!(refused(&valid, |m| m.starts_ms = 0), "starts_ms");
        assert_eq!(refused(&valid, |m| m.ends_ms = Some(MAY - 1)), "ends_ms");
        assert_eq!(refused(&valid, |m| m.place = "a\nb".into()), "place");
        assert_eq!(refused(&valid, |m| m.agenda.get_mut("1").unwrap().title.clear()), "agenda.1.title");
        let first = |m: &mut Meeting, edit: fn(&mut Action)| edit(m.actions.get_mut("x").unwrap());
        assert_eq!(refused(&valid, |m| first(m, |a| a.owner.clear())), "actions.x.owner");
        assert_eq!(refused(&valid, |m| first(m, |a| a.due_ms = 0)), "actions.x.due_ms");
        assert_eq!(refused(&valid, |m| first(m, |a| a.status = "later".into())), "actions.x.status");
    }

    #[test]
    fn an_open_action_is_on_the_next_agenda_by_itself() {
        let id = |n: u8| DocumentId([n; 24]);
        let april = meeting(
            MAY - 30 * DAY,
            &[
                ("lamp", action("Report the lamp", MAY + 9 * DAY, OPEN)),
                ("fence", action("Ask about the fence", MAY - 9 * DAY, OPEN)),
                ("flyer", action("Print the flyer", MAY - 9 * DAY, "done")),
            ],
        );
        let may = meeting(MAY, &[("key", action("Copy the key", MAY + 2 * DAY, OPEN))]);
        let june = meeting(MAY + 30 * DAY, &[]);
        let all = [(id(3), &june), (id(1), &april), (id(2), &may)];
        let what = |next: &Meeting| {
            let carried = carried_over(next, all).into_iter();
            carried.map(|carried| (carried.meeting, carried.key)).collect::<Vec<_>>()
        };
        assert_eq!(what(&may), [(id(1), "fence".into()), (id(1), "lamp".into())]);
        assert_eq!(what(&june), [(id(1), "fence".into()), (id(2), "key".into()), (id(1), "lamp".into())]);
        assert_eq!(what(&april), []);
    }

    #[test]
    fn two_who_add_actions_at_once_both_do() {
        let mut one = document_of(&meeting(MAY, &[]), 1);
        let mut other = fork(&mut one, 2);
        reconcile(&mut one, meeting(MAY, &[("a", action("One", MAY, OPEN))])).unwrap();
        reconcile(&mut other, meeting(MAY, &[("b", action("Two", MAY, OPEN))])).unwrap();
        one.merge(&mut other).unwrap();
        let merged: Meeting = hydrate(&one).unwrap();
        assert_eq!(merged.actions.keys().collect::<Vec<_>>(), ["a", "b"]);
    }
}
