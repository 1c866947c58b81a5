//! The group at work: ballots, agendas, shifts. Problems, meetings and plans are made and changed by
//! [`Engine::create`] and [`Engine::change`]; what they may not become, their kind says.

use std::collections::BTreeMap;

use super::disk;
use super::engine::Engine;
use super::error::Error;
use crate::base::{DocumentId, EntryHash, MemberId};
use crate::document::{Document, is_created_by};
use crate::watch::meeting::carried_over;
use crate::watch::{
    Attendance, Ballot, CarriedAction, Closing, Invalid, Kind, Meeting, Problem, Shift, Tally, Vote, ballot,
};

impl Engine {
    /// Moves a problem on to a stage.
    ///
    /// # Errors
    /// As [`Engine::change`]: what the stage asks for is named, and a problem is not closed without an assessment against
    /// its baseline.
    pub fn advance_problem(&mut self, problem: DocumentId, stage: &str) -> Result<(), Error> {
        self.change::<Problem>(problem, |content| {
            stage.clone_into(&mut content.stage);
            Ok(())
        })
    }

    /// Votes, or votes anew: a member has one vote on a ballot, from whichever device.
    ///
    /// # Errors
    /// [`Error::NotHere`] if the ballot is not here; [`Error::Invalid`] if it is closed, or a choice is none of its options;
    /// [`Error::Role`].
    pub fn cast_vote(&mut self, ballot: DocumentId, choices: Vec<String>) -> Result<DocumentId, Error> {
        let asked: Ballot = self.read(ballot)?;
        if asked.closing.is_some() {
            return Err(Invalid::new("ballot", "is closed", "look at its result").into());
        }
        let refused =
            |problem: &str| Invalid::new("choices", problem, "choose among the options of the ballot");
        if choices.iter().any(|choice| !asked.options.contains_key(choice)) {
            return Err(refused("hold something that is no option").into());
        }
        if u32::try_from(choices.len()).is_ok_and(|count| count > asked.choices_max) {
            return Err(refused("are more than each may choose").into());
        }
        let id = Vote::id(self.member_id(), ballot);
        let vote = Vote { ballot: ballot.to_string(), choices };
        match self.row(id)? {
            None => self.create_at(id, &vote)?,
            Some(_) => self.change::<Vote>(id, |before| {
                *before = vote;
                Ok(())
            })?,
        }
        Ok(id)
    }

    /// Closes a ballot. What counts are the votes that this device holds, as they are now.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member is a coordinator; [`Error::NotHere`]; [`Error::Invalid`] if it is closed.
    pub fn close_ballot(&mut self, ballot: DocumentId) -> Result<Tally, Error> {
        self.read::<Ballot>(ballot)?;
        let mut votes = BTreeMap::new();
        for (vote, _) in self.votes_on(ballot)? {
            votes.insert(vote.to_string(), self.entries_of(vote)?);
        }
        let closing = Closing { votes, at_ms: self.now_ms() };
        self.change::<Ballot>(ballot, |content| {
            content.closing = Some(closing);
            Ok(())
        })?;
        self.tally(ballot)
    }

    /// Counts a ballot: while it is open, the votes that are here; once it is closed, those that the closing names, as they
    /// were then.
    ///
    /// # Errors
    /// [`Error::NotHere`]; errors of the store.
    pub fn tally(&mut self, ballot: DocumentId) -> Result<Tally, Error> {
        let asked: Ballot = self.read(ballot)?;
        let mut votes: Vec<(MemberId, Vote)> = Vec::new();
        let mut missing = 0;
        match &asked.closing {
            None => {
                for (id, member) in self.votes_on(ballot)? {
                    votes.push((member, self.read(id)?));
                }
            }
            Some(closing) => {
                for (id, entries) in &closing.votes {
                    let Ok(id) = DocumentId::parse(id) else { continue };
                    match self.vote_at(ballot, id, entries)? {
                        Some(vote) => votes.push(vote),
                        None => missing += 1,
                    }
                }
            }
        }
        let tally = ballot::tally(&asked, votes.iter().map(|(member, vote)| (*member, vote)));
        Ok(Tally { missing, ..tally })
    }

    /// The votes on a ballot with who cast them.
    fn votes_on(&mut self, ballot: DocumentId) -> Result<Vec<(DocumentId, MemberId)>, Error> {
        let rows = self.rows_about(ballot)?.into_iter();
        let votes =
            rows.filter(|row| row.kind == Kind::VOTE && is_created_by(row.id, row.author, row.kind.0));
        Ok(votes
            .filter(|row| row.id == Vote::id(row.author, ballot))
            .map(|row| (row.id, row.author))
            .collect())
    }

    /// A vote as certain entries make it; none if one of them is not here.
    fn vote_at(
        &mut self,
        ballot: DocumentId,
        vote: DocumentId,
        entries: &[String],
    ) -> Result<Option<(MemberId, Vote)>, Error> {
        let mut changes = Vec::new();
        for (log, seq) in self.parts(vote)? {
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            let hash: EntryHash = entry.hash();
            if entries.binary_search(&hash.to_string()).is_ok() {
                changes.extend(self.change_of(&entry)?);
            }
        }
        let author = self.row(vote)?.map(|row| row.author).filter(|author| Vote::id(*author, ballot) == vote);
        let Some(author) = author.filter(|_| changes.len() == entries.len() && !changes.is_empty()) else {
            return Ok(None);
        };
        let document = Document::load(self.device_id(), changes).map_err(|e| Error::Kind(e.to_string()))?;
        Ok(Some((author, document.read().map_err(|e| Error::Kind(e.to_string()))?)))
    }

    /// The open actions of earlier meetings, which are on this one's agenda by themselves.
    ///
    /// # Errors
    /// [`Error::NotHere`]; errors of the store.
    pub fn carried_over(&mut self, meeting: DocumentId) -> Result<Vec<CarriedAction>, Error> {
        let next: Meeting = self.read(meeting)?;
        let meetings = self.all::<Meeting>()?;
        Ok(carried_over(&next, meetings.iter().map(|meeting| (meeting.id, &meeting.content))))
    }

    /// Says that this member has come to a shift.
    ///
    /// # Errors
    /// As [`Engine::change`].
    pub fn check_in(&mut self, shift: DocumentId) -> Result<(), Error> {
        let (member, now_ms) = (self.member_id().to_string(), self.now_ms());
        self.change::<Shift>(shift, |content| {
            content.attendance.insert(member, Attendance { checked_in_ms: now_ms, checked_out_ms: None });
            Ok(())
        })
    }

    /// Says that this member has left a shift.
    ///
    /// # Errors
    /// As [`Engine::change`]; [`Error::Invalid`] if they never came.
    pub fn check_out(&mut self, shift: DocumentId) -> Result<(), Error> {
        let (member, now_ms) = (self.member_id().to_string(), self.now_ms());
        self.change::<Shift>(shift, |content| {
            let attendance = content.attendance.get_mut(&member).ok_or_else(|| {
                Invalid::new("attendance", "does not say that this member came", "check in first")
            })?;
            attendance.checked_out_ms = Some(now_ms);
            Ok(())
        })
    }

    /// Milliseconds of watching on record: the denominator of a rate.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn effort_ms(&mut self) -> Result<i64, Error> {
        let shifts = self.all::<Shift>()?;
        Ok(shifts.iter().fold(0, |sum: i64, shift| sum.saturating_add(shift.content.effort_ms())))
    }
}
