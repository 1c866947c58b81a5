//! What sessions ask the relay. Answers speak of what is durable, and only of what the asker's newest role may see.

use std::collections::{BTreeMap, BTreeSet};

use lamppost_core::base::{CompartmentId, DeviceId, GroupId, MailboxId, MemberId, limits};
use lamppost_core::entry::LogId;
use lamppost_core::roll::State;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{
    Consistency, Entries, Heads, LogHeight, OwnHead, Refusal, Refused, Standing, Welcome,
};
use lamppost_core::sync::mailbox::{Knocks, Letter};

use crate::admit::outsider;
use crate::chunks::ChunkRequest;
use crate::group::Group;
use crate::mailbox::{Done, Errand};
use crate::relay::Relay;
use crate::store::StoreFault;

/// Rows read at once for a reader. 32 largest entries take 8 MiB for a moment.
const FETCH_ROWS: usize = 32;

/// Rows looked at for one frame. Bounds the work for a reader whose own entries are nearly all there is.
const FETCH_ROWS_MAX: usize = 4_096;

/// A session's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// What does the relay know of this device?
    Open {
        /// The group.
        group: GroupId,
        /// The device.
        device: DeviceId,
        /// The key that signed its certificate, if it showed one.
        key: Option<MemberId>,
    },
    /// What comes next behind these positions?
    Fetch {
        /// The group.
        group: GroupId,
        /// The device that reads.
        device: DeviceId,
        /// The key that signed its certificate, if it showed one.
        key: Option<MemberId>,
        /// The last position had of each compartment.
        cursors: BTreeMap<CompartmentId, u64>,
    },
    /// How far is each log?
    Heads {
        /// The group.
        group: GroupId,
        /// The device that asks.
        device: DeviceId,
    },
    /// Does the history continue the one of this size?
    Consistency {
        /// The group.
        group: GroupId,
        /// The device that asks.
        device: DeviceId,
        /// The older size.
        from: u64,
    },
    /// Do this for a mailbox.
    Mailbox {
        /// The group.
        group: GroupId,
        /// The device that asks.
        device: DeviceId,
        /// What is to be done.
        errand: Errand,
    },
    /// Do this for chunks of files.
    Chunks {
        /// The group.
        group: GroupId,
        /// The device that asks.
        device: DeviceId,
        /// What is to be done.
        request: ChunkRequest,
    },
    /// Who has knocked, behind this number?
    Knocks {
        /// The group.
        group: GroupId,
        /// The device that asks.
        device: DeviceId,
        /// The last number had.
        after: u64,
    },
    /// How does it stand with my knock?
    Letter {
        /// The group.
        group: GroupId,
        /// The device that knocked.
        device: DeviceId,
        /// Where.
        mailbox: MailboxId,
    },
}

impl Query {
    /// The group that is asked about.
    pub fn group(&self) -> GroupId {
        match self {
            Self::Open { group, .. }
            | Self::Fetch { group, .. }
            | Self::Heads { group, .. }
            | Self::Consistency { group, .. }
            | Self::Mailbox { group, .. }
            | Self::Knocks { group, .. }
            | Self::Chunks { group, .. }
            | Self::Letter { group, .. } => *group,
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Query::Open`].
    Opened {
        /// What to say.
        welcome: Welcome,
        /// Whether the device governs.
        governs: bool,
    },
    /// To [`Query::Fetch`]: entries of the first compartment that has any; none if the reader has everything.
    Fetched(Option<Entries>),
    /// To [`Query::Heads`].
    Heads(Heads),
    /// To [`Query::Consistency`].
    Consistency(Consistency),
    /// To [`Query::Mailbox`].
    Mailbox {
        /// What came of it.
        done: Done,
        /// Whether others who follow the group have something to look at.
        changed: bool,
    },
    /// To [`Query::Chunks`]: the frame that answers it.
    Chunks(Frame),
    /// To [`Query::Knocks`]: some, and the last number; none if there are no more.
    Knocks(Option<(Knocks, u64)>),
    /// To [`Query::Letter`].
    Letter(Letter),
    /// The session has no right to ask this, or the relay cannot answer. It ends with this.
    Refused(Refused),
}

impl Relay {
    /// Answers a question. May read from disk.
    pub fn answer(&self, query: Query, now_ms: u64) -> Reply {
        let asked = query.group();
        let reply = match query {
            Query::Open { group, device, key } => self.welcome(group, device, key, now_ms),
            Query::Fetch { group, device, key, cursors } => self.fetch(group, device, key, &cursors),
            Query::Heads { group, device } => self.heads(group, device),
            Query::Consistency { group, device, from } => self.consistency(group, device, from, now_ms),
            Query::Mailbox { group, device, errand } => {
                let done = self.run_errand(group, device, errand, now_ms);
                done.map(|(done, changed)| Reply::Mailbox { done, changed })
            }
            Query::Chunks { group, device, request } => {
                let frame = self.carry(group, device, request, now_ms);
                frame.map(|frame| frame.map_or_else(Reply::Refused, Reply::Chunks))
            }
            Query::Knocks { group, device, after } => {
                self.knocks(group, device, after, now_ms).map(Reply::Knocks)
            }
            Query::Letter { group, device, mailbox } => {
                self.letter(group, device, mailbox, now_ms).map(Reply::Letter)
            }
        };
        reply.unwrap_or_else(|why| Reply::Refused(self.not_read(asked, &why)))
    }

    /// Whether the answer is known to be that there is nothing behind the positions. Never waits, so that the question
    /// behind each live entry, whether there is another, costs no change of threads.
    pub fn has_nothing_new(&self, query: &Query) -> bool {
        let Query::Fetch { group, device, key, cursors } = query else { return false };
        let next = self.glance(*group, |group| next_range(group, *device, *key, cursors));
        matches!(next, Some(Ok(None)))
    }

    fn welcome(
        &self,
        id: GroupId,
        device: DeviceId,
        key: Option<MemberId>,
        now_ms: u64,
    ) -> Result<Reply, StoreFault> {
        let known = self.with_group(id, |group| {
            let state = group.roll.state();
            let standing = match standing(state, device, key) {
                // Who comes by a group's link has no other business here.
                Err(why) if key.is_some() => return Reply::Refused(why),
                standing => standing.unwrap_or(Standing::UnknownDevice),
            };
            // How many entries have arrived is nobody's business who does not belong. Their own heads are their own words.
            let inside = standing == Standing::Belongs;
            let checkpoint = inside.then(|| self.sign(id, group, Vec::new(), now_ms)).flatten();
            let welcome = Welcome { relay_ms: now_ms, standing, checkpoint, own: own_heads(group, device) };
            Reply::Opened { welcome, governs: state.governs(device) }
        });
        let known = match known {
            Ok(known) => known,
            // Nobody can tell who belongs; but everybody can bring the roll.
            Err(StoreFault::Damaged(_)) if self.is_broken(id) => {
                let (standing, own) = (Standing::UnknownDevice, Vec::new());
                let welcome = Welcome { relay_ms: now_ms, standing, checkpoint: None, own };
                Some(Reply::Opened { welcome, governs: false })
            }
            Err(why) => return Err(why),
        };
        Ok(known.unwrap_or_else(|| Reply::Opened {
            welcome: Welcome {
                relay_ms: now_ms,
                standing: Standing::UnknownGroup,
                checkpoint: None,
                own: Vec::new(),
            },
            governs: false,
        }))
    }

    /// The roll comes first whenever it has anything new, so that no entry arrives before the roll entries it cites.
    fn fetch(
        &self,
        id: GroupId,
        device: DeviceId,
        key: Option<MemberId>,
        cursors: &BTreeMap<CompartmentId, u64>,
    ) -> Result<Reply, StoreFault> {
        let next = self.with_group(id, |group| next_range(group, device, key, cursors))?;
        match next.unwrap_or_else(|| Err(unknown_device())) {
            Ok(Some(range)) => Ok(Reply::Fetched(Some(self.fill_frame(id, device, &range)?))),
            Ok(None) => Ok(Reply::Fetched(None)),
            Err(why) => Ok(Reply::Refused(why)),
        }
    }

    fn fill_frame(&self, id: GroupId, device: DeviceId, range: &Range) -> Result<Entries, StoreFault> {
        let mut frame = Entries {
            compartment: range.compartment,
            entries: Vec::new(),
            upto: range.after,
            after: range.after,
            left_out: 0,
        };
        let mut unread = Vec::new();
        self.fill(&mut frame, id, device, range, &mut unread)?;
        if unread.iter().any(|position| !range.missing.contains(position)) {
            self.look_for_missing(id, range.compartment)?;
        }
        Ok(frame)
    }

    /// Fills a frame, and notes the positions that cannot be read. They count as left out: a reader misses them when
    /// something follows them, and fetches them again later.
    fn fill(
        &self,
        frame: &mut Entries,
        id: GroupId,
        device: DeviceId,
        range: &Range,
        unread: &mut Vec<u64>,
    ) -> Result<(), StoreFault> {
        let (mut bytes, mut rows_seen) = (0, 0);
        while frame.upto < range.last && rows_seen < FETCH_ROWS_MAX {
            let rows = self.store.entries(id, range.compartment, frame.upto, FETCH_ROWS)?;
            let is_end = rows.is_empty();
            // Behind `last` may stand what arrived since, citing roll entries that the reader does not have yet.
            for row in rows.into_iter().take_while(|row| row.position <= range.last) {
                leave_out(frame, row.position.saturating_sub(1), unread);
                rows_seen += 1;
                let wire = row.wire().ok().filter(|_| !range.missing.contains(&row.position));
                if row.author == device {
                    frame.left_out += 1;
                } else if let Some(wire) = wire {
                    bytes += row.bytes();
                    if !frame.entries.is_empty()
                        && (bytes > limits::FRAME_ENTRIES_BYTES
                            || frame.entries.len() == limits::FRAME_ENTRIES_MAX)
                    {
                        return Ok(());
                    }
                    frame.entries.push(wire);
                } else {
                    leave_out(frame, row.position, unread);
                }
                frame.upto = row.position;
            }
            if is_end {
                leave_out(frame, range.last, unread);
            }
        }
        Ok(())
    }

    /// A head tells that its device has written. So nobody gets one of a log that they may not read, but of their own.
    fn heads(&self, id: GroupId, device: DeviceId) -> Result<Reply, StoreFault> {
        let answer = self.with_member(id, device, |group| {
            let state = group.roll.state();
            let told = |log: &LogId| log.device == device || state.may_read(device, log.compartment);
            let heads = group.missing.cut(&self.store, id, &group.heads)?;
            let logs = heads.into_iter().filter(|(log, _)| told(log)).take(limits::LOG_HEADS_MAX);
            Ok::<_, StoreFault>(Heads { logs: logs.map(|(log, head)| LogHeight { log, head }).collect() })
        })?;
        let answer = match answer {
            Ok(heads) => Ok(heads?),
            Err(why) => Err(why),
        };
        Ok(answer.map_or_else(Reply::Refused, Reply::Heads))
    }

    fn consistency(
        &self,
        id: GroupId,
        device: DeviceId,
        from: u64,
        now_ms: u64,
    ) -> Result<Reply, StoreFault> {
        let proof = self.with_member(id, device, |group| {
            let hashes = group.arrivals.prove_from(from)?;
            let checkpoint = self.sign(id, group, Vec::new(), now_ms)?;
            Some(Consistency { from, checkpoint, hashes })
        })?;
        let never = || Refused::new(Refusal::MALFORMED, "the relay never had a history of that size");
        let proof = proof.and_then(|proof| proof.ok_or_else(never));
        Ok(proof.map_or_else(Reply::Refused, Reply::Consistency))
    }

    /// Looks at a group for a device that belongs to it; the reason if it does not.
    fn with_member<T>(
        &self,
        id: GroupId,
        device: DeviceId,
        look: impl FnOnce(&Group) -> T,
    ) -> Result<Result<T, Refused>, StoreFault> {
        let seen = self.with_group(id, |group| {
            let state = group.roll.state();
            let belongs = state.device(device).is_some();
            if belongs { Ok(look(group)) } else { Err(outsider(state, device)) }
        })?;
        Ok(seen.unwrap_or_else(|| Err(unknown_device())))
    }
}

/// Durable positions that a reader lacks.
struct Range {
    compartment: CompartmentId,
    after: u64,
    last: u64,
    /// Those of them that are known to be missing.
    missing: BTreeSet<u64>,
}

/// Leaves out what stands up to a position and cannot be read.
fn leave_out(frame: &mut Entries, upto: u64, unread: &mut Vec<u64>) {
    let gap = frame.upto.saturating_add(1)..=upto;
    frame.left_out += upto.saturating_sub(frame.upto);
    frame.upto = frame.upto.max(upto);
    unread.extend(gap);
}

fn next_range(
    group: &Group,
    device: DeviceId,
    key: Option<MemberId>,
    cursors: &BTreeMap<CompartmentId, u64>,
) -> Result<Option<Range>, Refused> {
    let state = group.roll.state();
    let standing = match standing(state, device, key) {
        Ok(standing) if standing != Standing::UnknownDevice => standing,
        outside => {
            let why = outside.err().unwrap_or_else(|| outsider(state, device));
            return until_removed(group, device, cursors).map_or(Err(why), |range| Ok(Some(range)));
        }
    };
    // Not refused: the phone may not have heard of its new role, and the roll that tells it comes first.
    let may_read = |compartment| {
        let the_roll = standing == Standing::Certified && compartment == CompartmentId::ROLL;
        the_roll || state.may_read(device, compartment)
    };
    let readable = cursors.iter().filter(|(compartment, _)| may_read(**compartment));
    let ranges = readable.map(|(compartment, after)| Range {
        compartment: *compartment,
        after: *after,
        last: group.positions.get(compartment).copied().unwrap_or_default(),
        missing: BTreeSet::new(),
    });
    let next = ranges.into_iter().find(|range| range.after < range.last);
    Ok(next.map(|range| Range { missing: group.missing.positions(range.compartment), ..range }))
}

/// How a device stands with a group that the relay has. `key` signed the certificate that it showed. The reason if it was
/// somebody's here and is not any more.
fn standing(state: &State, device: DeviceId, key: Option<MemberId>) -> Result<Standing, Refused> {
    if state.device(device).is_some() {
        return Ok(Standing::Belongs);
    }
    if state.was_removed(device) {
        return Err(outsider(state, device));
    }
    let Some(key) = key else { return Ok(Standing::UnknownDevice) };
    match state.owner(key) {
        Some(member) if state.member(member).is_some() => Ok(Standing::Certified),
        Some(member) if state.was_taken_out(member) => {
            let reason = "this member was taken out of the group: ask a coordinator to admit them again";
            Err(Refused::new(Refusal::REMOVED, reason))
        }
        Some(_) => Ok(Standing::UnknownDevice),
        None => {
            let reason = "a coordinator has given this member a new key: an older recovery code opens nothing any more";
            Err(Refused::new(Refusal::UNKNOWN_DEVICE, reason))
        }
    }
}

/// The roll up to the entry that took this device out, as far as it lacks it: so that nobody has to take the relay's word
/// for it.
fn until_removed(group: &Group, device: DeviceId, cursors: &BTreeMap<CompartmentId, u64>) -> Option<Range> {
    let taken_out = group.roll.taken_out(device).filter(|_| group.roll.state().was_removed(device))?;
    // The roll was taken in by position, from 1.
    let last = u64::try_from(taken_out.entries).ok()?;
    let after = *cursors.get(&CompartmentId::ROLL).filter(|after| **after < last)?;
    Some(Range { compartment: CompartmentId::ROLL, after, last, missing: BTreeSet::new() })
}

fn own_heads(group: &Group, device: DeviceId) -> Vec<OwnHead> {
    let compartments = group.roll.state().template().compartments.iter().map(|row| row.id);
    let head = |compartment| group.heads.get(&LogId { compartment, device });
    compartments.filter_map(|c| head(c).map(|head| OwnHead { compartment: c, head: *head })).collect()
}

fn unknown_device() -> Refused {
    Refused::new(Refusal::UNKNOWN_DEVICE, "the relay has not heard that this device belongs to the group")
}
