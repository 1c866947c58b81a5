//! Releases that leave later, and never alone: so that neither the hour nor the number tells whose report it was.
//!
//! A plan stays sealed on the coordinator's phone until its time has come and enough reports, of enough people, are in it. It
//! is judged when it leaves, not when it was made: a consent that was withdrawn meanwhile holds it back.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};

use super::disk::META;
use super::engine::Engine;
use super::error::{Error, Fault};
use super::release::ReleasePlan;
use crate::base::{DocumentId, cbor};
use crate::watch::Kind;

/// What the keys of plans begin with.
const PLANNED: &[u8] = b"planned/";

/// When a planned release may leave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LeavesWhen {
    /// Not earlier than this, in milliseconds since the Unix epoch, by this device's clock.
    #[n(0)]
    pub not_before_ms: i64,
    /// Not with fewer reports.
    #[n(1)]
    pub reports_min: u32,
    /// Not with reports of fewer members.
    #[n(2)]
    pub authors_min: u32,
}

/// A release that is to leave later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledRelease {
    /// Names the plan on this device.
    pub id: DocumentId,
    /// What is to leave.
    pub plan: ReleasePlan,
    /// When.
    pub when: LeavesWhen,
    /// What it waits for; nothing if it leaves with the next sync.
    pub waits_for: Vec<WaitsFor>,
}

/// What a planned release waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The time in [`LeavesWhen::not_before_ms`].
    Time,
    /// So many more reports.
    Reports(u32),
    /// Reports of so many more members.
    Authors(u32),
    /// It could not leave as it is: why, and what to do.
    Change(String),
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct PlannedRow {
    #[n(0)]
    plan: ReleasePlan,
    #[n(1)]
    when: LeavesWhen,
}

impl Engine {
    /// Plans a release, or puts another plan in the place of the one with the identity `replaced`: to add reports to it, for
    /// instance. On disk when this returns, sealed, and on no other device.
    ///
    /// # Errors
    /// As [`Engine::release`], but for photos, which may come later; [`Error::NotHere`] if the plan to be replaced has left or
    /// was thrown away meanwhile; errors of the store.
    pub fn schedule(
        &mut self,
        replaced: Option<DocumentId>,
        plan: &ReleasePlan,
        when: &LeavesWhen,
    ) -> Result<DocumentId, Error> {
        self.ready(plan, None)?;
        if let Some(gone) = replaced
            && self.store.get(META, &planned_key(gone))?.is_none()
        {
            return Err(Error::NotHere(gone));
        }
        let id = replaced.unwrap_or_else(|| self.new_id(Kind::RELEASE));
        let key = planned_key(id);
        let row = PlannedRow { plan: plan.clone(), when: when.clone() };
        let plain = zeroize::Zeroizing::new(cbor::encode(&row));
        let sealed = self.cipher.seal(&mut self.rng, META, &key, &plain)?;
        self.transact(|_, batch| {
            batch.put(META, key, sealed);
            Ok(())
        })?;
        self.not_left.remove(&id);
        Ok(id)
    }

    /// Throws a plan away.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn unschedule(&mut self, id: DocumentId) -> Result<(), Error> {
        self.transact(|_, batch| {
            batch.delete(META, planned_key(id));
            Ok(())
        })?;
        self.not_left.remove(&id);
        Ok(())
    }

    /// Every plan, and what it waits for; by the time at which they may leave.
    ///
    /// # Errors
    /// Errors of the store; [`Error::WrongVault`].
    pub fn scheduled(&mut self) -> Result<Vec<ScheduledRelease>, Error> {
        let mut plans = Vec::new();
        for (id, PlannedRow { plan, when }) in self.planned()? {
            let mut waits_for = self.waits_for(&plan, &when)?;
            // What only handing over finds out, such as a photo that cannot be read.
            if waits_for.is_empty() {
                waits_for.extend(self.not_left.get(&id).cloned().map(WaitsFor::Change));
            }
            plans.push(ScheduledRelease { id, plan, when, waits_for });
        }
        plans.sort_by_key(|plan| (plan.when.not_before_ms, plan.id));
        Ok(plans)
    }

    /// Hands over every plan whose time has come and that waits for nothing else; each plan goes in the same write as its
    /// release comes. Every sync begins with it, and a live link calls it every minute. A locked device plans nothing.
    ///
    /// # Errors
    /// Errors of the store. A plan that cannot leave as it is stays, and [`Engine::scheduled`] says why.
    pub fn release_due(&mut self) -> Result<Vec<DocumentId>, Error> {
        if self.is_locked() {
            return Ok(Vec::new());
        }
        let now_ms = self.now_ms();
        let (mut planned, mut released) = (self.planned()?, Vec::new());
        planned.retain(|(_, row)| row.when.not_before_ms <= now_ms);
        planned.sort_by_key(|(id, row)| (row.when.not_before_ms, *id));
        for (due, PlannedRow { plan, when }) in planned {
            if !self.waits_for(&plan, &when)?.is_empty() {
                continue;
            }
            let handed_over = self.hand_over(&plan, None, |_, batch, _| {
                batch.delete(META, planned_key(due));
                Ok(())
            });
            match handed_over {
                Ok(id) => {
                    self.not_left.remove(&due);
                    released.push(id);
                }
                Err(why) if is_the_plans(&why) => {
                    self.not_left.insert(due, why.to_string());
                }
                Err(why) => return Err(why),
            }
        }
        Ok(released)
    }

    fn planned(&self) -> Result<Vec<(DocumentId, PlannedRow)>, Error> {
        let mut planned = Vec::new();
        for (key, sealed) in self.store.scan(META, PLANNED, None, usize::MAX)? {
            let Some(id) = key.get(PLANNED.len()..).and_then(|id| id.try_into().ok()).map(DocumentId) else {
                continue;
            };
            let plain = self.cipher.open(META, &key, &sealed)?;
            planned.push((id, super::disk::decode(&plain)?));
        }
        Ok(planned)
    }

    fn waits_for(&mut self, plan: &ReleasePlan, when: &LeavesWhen) -> Result<Vec<WaitsFor>, Error> {
        let mut waits_for = Vec::new();
        if self.now_ms() < when.not_before_ms {
            waits_for.push(WaitsFor::Time);
        }
        let reports: BTreeSet<DocumentId> = plan.observations.iter().map(|(id, _)| *id).collect();
        let authors: Result<BTreeSet<_>, Error> =
            reports.iter().filter_map(|id| self.row(*id).transpose()).map(|row| Ok(row?.author)).collect();
        let missing = |min: u32, count: usize| min.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        let (more_reports, more_authors) =
            (missing(when.reports_min, reports.len()), missing(when.authors_min, authors?.len()));
        if more_reports > 0 {
            waits_for.push(WaitsFor::Reports(more_reports));
        }
        if more_authors > 0 {
            waits_for.push(WaitsFor::Authors(more_authors));
        }
        match self.ready(plan, None).and_then(|ready| self.photos_are_here(&ready.release.items)) {
            Ok(()) => {}
            Err(why) if is_the_plans(&why) => waits_for.push(WaitsFor::Change(why.to_string())),
            Err(why) => return Err(why),
        }
        Ok(waits_for)
    }
}

/// Whether it is for whoever planned it to do something, and not the store's failure.
fn is_the_plans(why: &Error) -> bool {
    why.fault() != Fault::Device
}

fn planned_key(id: DocumentId) -> Vec<u8> {
    [PLANNED, id.as_bytes()].concat()
}
