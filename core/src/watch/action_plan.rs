//! What several agencies agreed to do about something: each action has exactly one owner and one date.

use super::check::{Invalid, check_id};
use super::content::{Keyed, Summary, WatchDocument, ids, stored};
use super::kinds::Kind;
use super::meeting::{Action, check_actions};
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};

stored! {
    /// One plan.
    pub struct ActionPlan {
        /// What it is called.
        pub title: String,
        /// What it is to bring about.
        pub goal: String,
        /// Id of the problem it belongs to, as text; empty if none.
        pub problem: String,
        /// Who does what until when, by key. If two people name different owners or dates at once, one stands everywhere and
        /// the other is shown as a conflict.
        pub actions: Keyed<Action>,
    }
}

impl ActionPlan {
    /// Actions that are open and due by a time given in milliseconds since the Unix epoch, first due first.
    pub fn due_by(&self, time_ms: i64) -> Vec<(&str, &Action)> {
        let due =
            self.actions.iter().filter(|(_, action)| action.status == "open" && action.due_ms <= time_ms);
        let mut due: Vec<_> = due.map(|(key, action)| (key.as_str(), action)).collect();
        due.sort_by_key(|(key, action)| (action.due_ms, *key));
        due
    }
}

impl WatchDocument for ActionPlan {
    const KIND: Kind = Kind::ACTION_PLAN;

    fn validate(&self) -> Result<(), Invalid> {
        text::check_required_line("title", &self.title, LINE_CHARS_MAX)?;
        text::check_required("goal", &self.goal, TEXT_CHARS_MAX)?;
        if !self.problem.is_empty() {
            check_id("problem", &self.problem)?;
        }
        check_actions(&self.actions)
    }

    fn summary(&self) -> Summary {
        let open = self.actions.values().filter(|action| action.status == "open");
        Summary {
            title: self.title.clone(),
            text: self.goal.clone(),
            when_ms: open.map(|action| action.due_ms).min(),
            about: ids([&self.problem]),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::refused;

    #[test]
    fn each_action_has_one_owner_and_one_date() {
        let action = |due_ms: i64, status: &str| Action {
            what: "Fence the lot".into(),
            owner: "partner-1".into(),
            due_ms,
            status: status.into(),
            note: String::new(),
        };
        let plan = ActionPlan {
            title: "The lot".into(),
            goal: "No more short visits".into(),
            problem: "prob-1".into(),
            actions: Keyed::from_iter([
                ("a", action(9, "open")),
                ("b", action(5, "open")),
                ("c", action(1, "done")),
            ]),
        };
        assert_eq!(refused(&plan, |p| p.title.clear()), "title");
        assert_eq!(refused(&plan, |p| p.goal.clear()), "goal");
        assert_eq!(refused(&plan, |p| p.problem = "a b".into()), "problem");
        let owner = |owner: &'static str| {
            move |p: &mut ActionPlan| p.actions.get_mut("a").unwrap().owner = owner.into()
        };
        assert_eq!(refused(&plan, owner("")), "actions.a.owner");
        assert_eq!(refused(&plan, owner("member-1, member-2")), "actions.a.owner");
        assert_eq!(refused(&plan, |p| p.actions.get_mut("a").unwrap().due_ms = 0), "actions.a.due_ms");
        assert_eq!(plan.due_by(5).len(), 1);
        assert_eq!(plan.due_by(9).iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["b", "a"]);
    }
}
