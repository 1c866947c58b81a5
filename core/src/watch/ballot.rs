//! What a group votes on, and how votes are counted.
//!
//! Clocks do not decide which votes count. A ballot is closed by a coordinator, and what is counted are the votes that the
//! closing names, as they stood then: whatever the coordinator's phone had not heard of, or what was changed since, does
//! not count, whenever it claims to have been written. So everybody who holds the same documents gets the same tally, and
//! checks it against the voters' own signatures.

use super::check::{Invalid, check_count, check_hex, check_time};
use super::content::{Summary, WatchDocument, Writer, ids, stored};
use super::kinds::Kind;
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};
use super::vote::Vote;
use crate::base::MemberId;
use std::collections::{BTreeMap, BTreeSet};

/// Most options of one ballot.
pub const OPTIONS_COUNT_MAX: usize = 50;

/// Most votes that a closing names: every member of the largest group.
pub const VOTES_COUNT_MAX: usize = 2_000;

stored! {
    /// One ballot. What is asked does not change once it is.
    pub struct Ballot {
        /// What is asked.
        pub question: String,
        /// What can be chosen, by key.
        pub options: BTreeMap<String, Choice>,
        /// How many options each voter may choose.
        pub choices_max: u32,
        /// Until when people are asked to vote, in milliseconds since the Unix epoch; what decides is the closing.
        pub until_ms: Option<i64>,
        /// What was counted; none while it is open.
        pub closing: Option<Closing>,
    }

    /// One option.
    pub struct Choice {
        /// What it says.
        pub label: String,
        /// Id of what it is about, such as a problem, as text; empty if of nothing.
        pub about: String,
    }

    /// The end of a ballot.
    pub struct Closing {
        /// The votes that count: by the vote's id, the hashes of its entries as they were known, ascending, as lower-case
        /// hex.
        pub votes: BTreeMap<String, Vec<String>>,
        /// When, in milliseconds since the Unix epoch, by the coordinator's device.
        pub at_ms: i64,
    }
}

/// The count of a ballot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Voters for each option; none of an option nobody chose is left out.
    pub votes: BTreeMap<String, u32>,
    /// Members who voted.
    pub voters: u32,
    /// Whether the ballot is closed, so that this is its result.
    pub is_final: bool,
    /// Votes that the closing names and this device does not have yet.
    pub missing: u32,
}

/// Counts votes, one of each member. What a vote chooses beyond the number allowed, twice, or from no option, does not
/// count; the first choices do.
pub fn tally<'a>(ballot: &Ballot, votes: impl IntoIterator<Item = (MemberId, &'a Vote)>) -> Tally {
    let by_member: BTreeMap<MemberId, &Vote> = votes.into_iter().collect();
    let mut tally = Tally {
        votes: ballot.options.keys().map(|option| (option.clone(), 0)).collect(),
        is_final: ballot.closing.is_some(),
        ..Tally::default()
    };
    for vote in by_member.values() {
        tally.voters += 1;
        let mut seen = BTreeSet::new();
        let valid = vote.choices.iter().filter(|choice| ballot.options.contains_key(*choice));
        let counted = valid.filter(|choice| seen.insert(choice.as_str()));
        for choice in counted.take(usize::try_from(ballot.choices_max).unwrap_or(usize::MAX)) {
            *tally.votes.entry(choice.clone()).or_default() += 1;
        }
    }
    tally
}

impl Tally {
    /// Options with their votes, most first; of equals the smaller key.
    pub fn ranked(&self) -> Vec<(&str, u32)> {
        let mut ranked: Vec<_> = self.votes.iter().map(|(option, votes)| (option.as_str(), *votes)).collect();
        ranked.sort_by(|(a, one), (b, other)| other.cmp(one).then(a.cmp(b)));
        ranked
    }
}

impl WatchDocument for Ballot {
    const KIND: Kind = Kind::BALLOT;
    const JUDGED: bool = true;

    fn validate(&self) -> Result<(), Invalid> {
        text::check_required("question", &self.question, TEXT_CHARS_MAX)?;
        if self.options.len() < 2 {
            return Err(Invalid::new("options", "leave no choice", "give at least two"));
        }
        check_count("options", self.options.len(), OPTIONS_COUNT_MAX)?;
        for (key, choice) in &self.options {
            let named = |e: Invalid| e.within(&format!("options.{key}"));
            text::check_required_line("label", &choice.label, LINE_CHARS_MAX).map_err(named)?;
        }
        let options = u32::try_from(self.options.len()).unwrap_or(u32::MAX);
        if !(1..=options).contains(&self.choices_max) {
            return Err(Invalid::new(
                "choices_max",
                "is not between 1 and the number of options",
                "say how many each voter may choose",
            ));
        }
        if let Some(until_ms) = self.until_ms {
            check_time("until_ms", until_ms)?;
        }
        let Some(closing) = &self.closing else { return Ok(()) };
        check_count("closing.votes", closing.votes.len(), VOTES_COUNT_MAX)?;
        for entry in closing.votes.values().flatten() {
            check_hex("closing.votes", entry)?;
        }
        check_time("closing.at_ms", closing.at_ms)
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.question.clone(),
            text: self.options.values().map(|choice| choice.label.as_str()).collect::<Vec<_>>().join("\n"),
            when_ms: self.until_ms,
            codes: vec![if self.closing.is_some() { "closed" } else { "open" }.to_owned()],
            about: ids(self.options.values().map(|choice| &choice.about)),
            ..Summary::default()
        }
    }

    fn check_change(before: Option<&Self>, after: &Self, _: &Writer) -> Result<(), Invalid> {
        let Some(before) = before else {
            return match after.closing {
                None => Ok(()),
                Some(_) => Err(Invalid::new("closing", "comes before any vote", "open the ballot first")),
            };
        };
        if before.closing.is_some() {
            return Err(Invalid::new("closing", "has ended the ballot", "ask anew by another ballot"));
        }
        let asked = |ballot: &Self| (ballot.question.clone(), ballot.options.clone(), ballot.choices_max);
        if asked(before) != asked(after) {
            return Err(Invalid::new(
                "question",
                "or options were changed under the votes",
                "close the ballot and ask anew by another",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::roles::ROLE_COORDINATOR;
    use crate::watch::testing::{refused, set_aside, writer};
    use proptest::prelude::*;

    fn ballot() -> Ballot {
        let option = |label: &str| Choice { label: label.into(), about: String::new() };
        Ballot {
            question: "What comes first?".into(),
            options: [("a", option("The lot")), ("b", option("The lamp")), ("c", option("The alley"))]
                .map(|(key, option)| (key.to_owned(), option))
                .into(),
            choices_max: 2,
            until_ms: None,
            closing: None,
        }
    }

    fn closed() -> Ballot {
        let votes = BTreeMap::from([("vote-1".to_owned(), vec!["0f".repeat(32)])]);
        Ballot { closing: Some(Closing { votes, at_ms: 1_767_225_600_000 }), ..ballot() }
    }

    fn vote(choices: &[&str]) -> Vote {
        Vote { ballot: String::new(), choices: choices.iter().map(|c| (*c).to_owned()).collect() }
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(refused(&ballot(), |b| b.question.clear()), "question");
        assert_eq!(refused(&ballot(), |b| b.options.retain(|key, _| key == "a")), "options");
        assert_eq!(refused(&ballot(), |b| b.options.get_mut("a").unwrap().label.clear()), "options.a.label");
        assert_eq!(refused(&ballot(), |b| b.choices_max = 0), "choices_max");
        assert_eq!(refused(&ballot(), |b| b.choices_max = 4), "choices_max");
        assert_eq!(refused(&ballot(), |b| b.until_ms = Some(0)), "until_ms");
        assert_eq!(refused(&closed(), |b| b.closing.as_mut().unwrap().at_ms = 0), "closing.at_ms");
        let named =
            |b: &mut Ballot| _ = b.closing.as_mut().unwrap().votes.insert("v".into(), vec!["x".into()]);
        assert_eq!(refused(&closed(), named), "closing.votes");
    }

    #[test]
    fn what_is_asked_does_not_change_and_what_is_closed_stays_so() {
        let by = writer(1, ROLE_COORDINATOR, Kind::BALLOT);
        assert_eq!(set_aside(None, &ballot(), &by), None);
        assert_eq!(set_aside(None, &closed(), &by), Some("closing".into()));
        assert_eq!(set_aside(Some(&ballot()), &closed(), &by), None);
        assert_eq!(set_aside(Some(&closed()), &ballot(), &by), Some("closing".into()));
        let mut other = ballot();
        other.options.get_mut("b").unwrap().label = "Nothing".into();
        assert_eq!(set_aside(Some(&ballot()), &other, &by), Some("question".into()));
        let longer = Ballot { until_ms: Some(1_767_225_600_000), ..ballot() };
        assert_eq!(set_aside(Some(&ballot()), &longer, &by), None);
    }

    #[test]
    fn what_a_vote_chooses_too_often_or_from_nothing_does_not_count() {
        let votes = [vote(&["a", "a", "z", "b", "c"]), vote(&["b"]), vote(&[])];
        let members = [1, 2, 3].map(|n| MemberId([n; 32]));
        let tally = tally(&ballot(), members.into_iter().zip(&votes));
        assert_eq!(tally.ranked(), [("b", 2), ("a", 1), ("c", 0)]);
        assert_eq!((tally.voters, tally.is_final), (3, false));
    }

    proptest! {
        #[test]
        fn the_tally_does_not_depend_on_the_order(
            choices in proptest::collection::vec(proptest::collection::vec("[a-d]", 0..4), 0..12),
            turn in 0_usize..12,
        ) {
            let votes: Vec<Vote> = choices.into_iter().map(|choices| Vote { ballot: String::new(), choices }).collect();
            let named = |at: usize| (MemberId([u8::try_from(at).unwrap(); 32]), &votes[at]);
            let straight: Vec<_> = (0..votes.len()).map(named).collect();
            let mut turned = straight.clone();
            turned.rotate_left(turn.min(straight.len()));
            turned.reverse();
            prop_assert_eq!(tally(&ballot(), straight.clone()), tally(&ballot(), turned.clone()));
            // However often it arrives.
            let twice = straight.iter().chain(&turned).copied();
            prop_assert_eq!(tally(&ballot(), straight.iter().copied()), tally(&ballot(), twice));
        }
    }
}
