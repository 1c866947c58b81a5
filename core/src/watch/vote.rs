//! One member's vote on one ballot.
//!
//! Its identity is made from the ballot, so a member has exactly one, from however many devices and however often it is
//! changed. It is signed and read by the group: there is no secret ballot here.

use super::ballot::OPTIONS_COUNT_MAX;
use super::check::{Invalid, check_count, check_distinct, check_id};
use super::content::{Summary, WatchDocument, Writer, ids, stored};
use super::kinds::Kind;
use crate::base::{DocumentId, MemberId};
use crate::document::derive_id;

stored! {
    /// One vote.
    pub struct Vote {
        /// Id of the ballot, as text.
        pub ballot: String,
        /// Keys of the options chosen, first choice first; empty for none of them.
        pub choices: Vec<String>,
    }
}

impl Vote {
    /// The identity of a member's vote on a ballot (PROTOCOL.md §6.2).
    pub fn id(member: MemberId, ballot: DocumentId) -> DocumentId {
        derive_id(member, Kind::VOTE.0, b"lamppost/1/vote", ballot.as_bytes())
    }
}

impl WatchDocument for Vote {
    const KIND: Kind = Kind::VOTE;
    const MADE_BY: Option<&str> = Some("cast_vote");
    const JUDGED: bool = true;

    fn validate(&self) -> Result<(), Invalid> {
        check_id("ballot", &self.ballot)?;
        check_count("choices", self.choices.len(), OPTIONS_COUNT_MAX)?;
        check_distinct("choices", self.choices.iter().map(String::as_str))
    }

    fn summary(&self) -> Summary {
        Summary {
            title: "vote".to_owned(),
            codes: self.choices.clone(),
            about: ids([&self.ballot]),
            ..Summary::default()
        }
    }

    fn check_change(_: Option<&Self>, after: &Self, writer: &Writer) -> Result<(), Invalid> {
        let ballot = DocumentId::parse(&after.ballot).ok();
        if ballot.is_some_and(|ballot| Self::id(writer.member, ballot) == writer.document) {
            return Ok(());
        }
        Err(Invalid::new("ballot", "is not the one that this vote was made for", "vote on each ballot once"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::roles::ROLE_VOLUNTEER;
    use crate::watch::testing::{refused, set_aside, writer};

    #[test]
    fn refusals_name_the_field() {
        let vote = Vote { ballot: "bal-1".into(), choices: vec!["a".into(), "b".into()] };
        assert_eq!(refused(&vote, |v| v.ballot.clear()), "ballot");
        assert_eq!(refused(&vote, |v| v.choices[1] = "a".into()), "choices[1]");
        assert_eq!(refused(&vote, |v| v.choices = (0..=50).map(|n| n.to_string()).collect()), "choices");
    }

    #[test]
    fn a_member_has_one_vote_on_a_ballot() {
        let ballot = writer(9, 1, Kind::BALLOT).document;
        let vote = Vote { ballot: ballot.to_string(), choices: Vec::new() };
        let mut by = writer(1, ROLE_VOLUNTEER, Kind::VOTE);
        assert_eq!(set_aside(None, &vote, &by), Some("ballot".into()));
        by.document = Vote::id(by.member, ballot);
        assert_eq!(set_aside(None, &vote, &by), None);
        let elsewhere = Vote { ballot: writer(8, 1, Kind::BALLOT).document.to_string(), ..vote };
        assert_eq!(set_aside(None, &elsewhere, &by), Some("ballot".into()));
    }
}
