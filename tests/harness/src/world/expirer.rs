//! Somebody whose app gives a last day to what others rest on; and a group of other people on the same relay.

use lamppost_core::base::day::day_of;
use lamppost_core::entry::Wire;
use lamppost_core::sync::frame::Standing;
use lamppost_core::watch::{Meeting, Shift};
use lamppost_server::{Pushed, Query};

use super::*;

/// The title of what somebody lets expire.
pub(super) const BEGUN: &str = "Begun";

/// The push of nobody's link: its answer goes nowhere.
const NO_LINK: u64 = u64::MAX;

impl World {
    /// A coordinator signs an entry of the roll that is over, and a member a document that is; then the relay sweeps and starts
    /// again. The group stays whole, and others do not notice.
    pub(super) fn somebody_expires(&mut self) -> Step {
        self.settle_next_door()?;
        let day = day_of(self.now_ms());
        let coordinators: Vec<usize> = (0..self.phones.len())
            .filter(|at| self.phones[*at].joined && self.phones[*at].role == roles::ROLE_COORDINATOR)
            .filter(|at| self.phones[*at].belongs())
            .collect();
        if let Some(at) = self.expirer.pick(&coordinators).copied() {
            self.expire_the_roll(at, day)?;
        }
        if let Some(at) = self.hostile.filter(|at| self.phones[*at].joined && self.phones[*at].belongs()) {
            self.expire_a_document(at, day)?;
        }
        self.sweep_and_start_again()
    }

    fn expire_the_roll(&mut self, at: usize, day: u32) -> Step {
        let kind = EntryKind(4 + u8::try_from(self.expirer.below(4)).unwrap_or_default());
        let Some(engine) = self.phones[at].running() else { return Ok(()) };
        let (group, device) = (engine.group_id(), engine.device_id());
        let whole = testing::expiring_roll_entry(engine, kind, b"rested on", day - 1);
        let (Some(group), Ok(whole)) = (group, whole) else { return Ok(()) };
        let bare = Wire { body: None, ..whole.clone() };
        self.tally.attacks += 1;
        self.note(|| format!("the app of phone {at} signs an entry of the roll that is over"));
        self.push(Pushed { group, device, number: 0, entries: vec![whole, bare] })
    }

    fn expire_a_document(&mut self, at: usize, day: u32) -> Step {
        // Over by every clock, or by none: where phones and relay do not agree on the day, they wait for the words.
        let day = Some(if self.expirer.one_in(2) { 1 } else { day + 1_000 });
        let is_liaison = self.phones[at].role == roles::ROLE_LIAISON;
        self.tally.attacks += 1;
        self.act(at, "lets a document expire that may not", |engine| {
            let done = if is_liaison {
                let id = testing::new_id(engine, Kind::MEETING);
                testing::write_until(engine, id, &Meeting { title: BEGUN.into(), ..Meeting::default() }, day)
            } else {
                let id = testing::new_id(engine, Kind::SHIFT);
                testing::write_until(engine, id, &Shift { title: BEGUN.into(), ..Shift::default() }, day)
            };
            match done {
                Err(why @ Error::Store(_)) => Err(why),
                Ok(()) | Err(_) => Ok(()),
            }
        })
        .map(drop)
    }

    /// Other people found a group at the same relay, and bring it again if the relay lost its disk.
    fn settle_next_door(&mut self) -> Step {
        if self.next_door.is_none() {
            let mut phone = self.stranger();
            let engine = phone.engine(None).map_err(|e| e.to_string())?;
            engine.found().map_err(|e| e.to_string())?;
            self.next_door = Some(phone);
        }
        let Some(engine) = self.next_door.as_mut().and_then(Phone::running) else { return Ok(()) };
        let Some(group) = engine.group_id() else { return Ok(()) };
        let entries = testing::stored(engine).map_err(|e| e.to_string())?;
        let entries = entries.iter().map(|row| row.entry.wire().clone()).collect();
        let push = Pushed { group, device: engine.device_id(), number: 0, entries };
        self.push(push)
    }

    fn push(&mut self, push: Pushed) -> Step {
        if self.relay.running().is_some() {
            self.relay.pushes.push((NO_LINK, push));
            self.commit_first(self.relay.pushes.len())?;
        }
        Ok(())
    }

    /// Whatever was swept, no group is damaged, and those next door are served.
    fn sweep_and_start_again(&mut self) -> Step {
        let now_ms = self.now_ms();
        let swept = self.relay.running().map(|relay| relay.sweep(now_ms));
        if matches!(swept, Some(Err(_))) {
            self.tally.disk_faults += 1;
        }
        self.restart_relay(false)?;
        let Some(relay) = self.relay.running() else { return Ok(()) };
        let next_door = self.next_door.as_mut().and_then(Phone::running);
        let Some((group, device)) = next_door.and_then(|it| Some((it.group_id()?, it.device_id()))) else {
            return Ok(());
        };
        let groups = [Some((group, device)), self.group.map(|group| (group, device))];
        for (group, device) in groups.into_iter().flatten() {
            match relay.answer(Query::Open { group, device, key: None }, now_ms) {
                Reply::Opened { welcome, .. }
                    if Some(group) == self.group || welcome.standing != Standing::UnknownDevice => {}
                other => return Err(format!("the relay does not serve a group: {other:?}")),
            }
        }
        match relay.damaged_groups().first() {
            Some(group) => Err(format!("{group:?} is damaged at the relay")),
            None => Ok(()),
        }
    }
}
