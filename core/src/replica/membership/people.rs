//! The group as people see it: who belongs, on which devices, what they can read, and what needs attention.

use std::collections::BTreeMap;

use crate::base::{CompartmentId, DeviceId, DocumentId, GroupId, MemberId, RoleId};
use crate::document::create_id;
use crate::entry::LogId;
use crate::replica::disk::{self, ENTRIES, FORKS};
use crate::replica::engine::Engine;
use crate::replica::error::Error;
use crate::replica::view::Filter;
use crate::roll::{Proposed, State};
use crate::watch::roles::{self, Words};
use crate::watch::{IdentityCard, Kind};

/// The group, as an app shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// The group.
    pub group: GroupId,
    /// This device.
    pub device: DeviceId,
    /// Its member.
    pub member: MemberId,
    /// The member's role.
    pub role: RoleId,
    /// The role's name.
    pub role_name: String,
    /// Members in the roll.
    pub members: u32,
    /// Whether fewer than two members govern: if that one is lost, so is the group's key to itself.
    pub needs_second_coordinator: bool,
    /// Whether the member's key lives on this device: then it can confirm others, and be written on paper.
    pub holds_member_key: bool,
}

/// One member, as an app shows them. A pseudonym, unless this device may read their identity card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterRow {
    /// The member.
    pub member: MemberId,
    /// Whether it is this device's.
    pub is_own: bool,
    /// What they want to be called, as their card says; for coordinators, and of one's own.
    pub name: Option<String>,
    /// How to reach them, likewise.
    pub reach: Option<String>,
    /// Their role.
    pub role: RoleId,
    /// The role's name.
    pub role_name: String,
    /// Their devices.
    pub devices: Vec<DeviceRow>,
    /// Names of the compartments that they can read.
    pub reads: Vec<String>,
}

/// One device of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// The device.
    pub device: DeviceId,
    /// Whether it is this one.
    pub is_this: bool,
    /// Its name, as its member's card says.
    pub name: Option<String>,
    /// The newest claimed time of what this device has of it, in milliseconds since the Unix epoch.
    pub last_heard_ms: Option<u64>,
}

/// What a role can do, in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRow {
    /// The role.
    pub role: RoleId,
    /// Its name.
    pub name: String,
    /// Whether it admits and removes.
    pub governs: bool,
    /// What its devices can read.
    pub reads: Vec<Words>,
    /// What its devices can write.
    pub writes: Vec<Words>,
}

/// What coordinators should know or do something about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Concern {
    /// One coordinator: if that one is lost, nobody can admit or remove anybody.
    #[error("there is one coordinator only: make somebody else a coordinator too")]
    OneCoordinator,
    /// The key of a compartment is old.
    #[error("the key of '{compartment}' is {days} days old: renew it")]
    OldKey {
        /// The compartment's name.
        compartment: String,
        /// Days since the epoch began, by the clock of whoever began it.
        days: u64,
    },
    /// Somebody who was taken out knows the key to what is written.
    #[error(
        "somebody who was taken out knows the key of '{compartment}': it is renewed when a coordinator's phone syncs"
    )]
    ExposedKey {
        /// The compartment's name.
        compartment: String,
    },
    /// A device signed two histories.
    #[error(
        "device {device:?} signed {entries} entries twice: its store was copied or restored; its member should remove it"
    )]
    Fork {
        /// The device.
        device: DeviceId,
        /// Entries of which there are two.
        entries: usize,
    },
    /// Entries that a removal cut off wait for a decision.
    #[error("set aside of people who were taken out: {entries}; look at them, and accept what should count")]
    CutOff {
        /// How many.
        entries: usize,
    },
    /// Some coordinators want somebody out who outranks them.
    #[error("{supporters} of the {needed} coordinators that it takes want this: {about:?}")]
    Proposal {
        /// What they want.
        about: Proposed,
        /// How many want it.
        supporters: usize,
        /// How many it takes.
        needed: usize,
    },
}

/// Days after which a key is called old, where the group has agreed on nothing: half a year.
const OLD_KEY_DAYS: u64 = 182;

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3_600 * 1_000;

impl Engine {
    /// Who this device is and where it belongs.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; [`Error::Removed`].
    pub fn info(&self) -> Result<GroupInfo, Error> {
        let state = self.state()?;
        let role = self.must_belong()?;
        Ok(GroupInfo {
            group: self.group()?.roll.group(),
            device: self.device_id(),
            member: self.member_id(),
            role,
            role_name: role_name(state, role),
            members: u32::try_from(state.members().count()).unwrap_or(u32::MAX),
            needs_second_coordinator: governing(state) < 2,
            holds_member_key: self.identity.member.is_some(),
        })
    }

    /// Everybody who belongs, and what they can read.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; errors of the store.
    pub fn roster(&mut self) -> Result<Vec<RosterRow>, Error> {
        self.fresh()?;
        let cards = self.cards()?;
        let (me, this) = (self.member_id(), self.device_id());
        let state = std::sync::Arc::clone(self.state()?);
        let mut rows = Vec::new();
        for (member, held) in state.members() {
            let card = cards.get(&member);
            let mut devices = Vec::new();
            for (device, _, _) in state.devices().filter(|(_, device, _)| device.member == member) {
                devices.push(DeviceRow {
                    device,
                    is_this: device == this,
                    name: card.and_then(|card| card.devices.get(&device.to_string()).cloned()),
                    last_heard_ms: self.last_heard_ms(&state, device)?,
                });
            }
            let template = state.template();
            let reads = template.compartments.iter().filter(|row| template.may_read(held.role, row.id));
            rows.push(RosterRow {
                member,
                is_own: member == me,
                name: card.map(|card| card.name.clone()),
                reach: card.map(|card| card.reach.clone()),
                role: held.role,
                role_name: role_name(&state, held.role),
                devices,
                reads: reads.map(|row| row.name.clone()).collect(),
            });
        }
        Ok(rows)
    }

    /// The newest claim of a device in what this device has.
    fn last_heard_ms(&self, state: &State, device: DeviceId) -> Result<Option<u64>, Error> {
        let mut newest = None;
        for row in &state.template().compartments {
            let log = LogId { compartment: row.id, device };
            if let Some((_, bytes)) = self.store.last(ENTRIES, &disk::log_prefix(log))? {
                newest = newest.max(Some(disk::decode_entry(&bytes)?.header().claimed_ms));
            }
        }
        Ok(newest)
    }

    /// What each role can do, in plain words.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn roles(&self) -> Result<Vec<RoleRow>, Error> {
        let template = self.state()?.template();
        let words = |may: &dyn Fn(CompartmentId) -> bool| {
            let rows = roles::template_rows().iter();
            rows.filter(|row| may(CompartmentId(row.compartment))).map(|row| row.holds).collect()
        };
        let rows = template.roles.iter().map(|row| RoleRow {
            role: row.id,
            name: row.name.clone(),
            governs: row.governs,
            reads: words(&|compartment| template.may_read(row.id, compartment)),
            writes: words(&|compartment| template.may_write(row.id, compartment)),
        });
        Ok(rows.collect())
    }

    /// What needs attention, the most pressing first.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; errors of the store.
    pub fn concerns(&mut self) -> Result<Vec<Concern>, Error> {
        self.fresh()?;
        let state = std::sync::Arc::clone(self.state()?);
        let now_ms = self.clock.now_ms();
        let mut concerns = Vec::new();
        let rows = state.template().compartments.iter().filter(|row| row.id != CompartmentId::ROLL);
        let exposed = rows.clone().filter(|row| state.is_exposed(row.id));
        concerns.extend(exposed.map(|row| Concern::ExposedKey { compartment: row.name.clone() }));
        let mut forks: BTreeMap<DeviceId, usize> = BTreeMap::new();
        for (_, bytes) in self.store.scan(FORKS, &[], None, usize::MAX)? {
            *forks.entry(disk::decode_entry(&bytes)?.header().device).or_default() += 1;
        }
        concerns.extend(forks.into_iter().map(|(device, entries)| Concern::Fork { device, entries }));
        if governing(&state) < 2 {
            concerns.push(Concern::OneCoordinator);
        }
        let cut_off = self.set_aside()?.iter().filter(|row| row.cut_off).count();
        if cut_off > 0 {
            concerns.push(Concern::CutOff { entries: cut_off });
        }
        concerns.extend(state.proposals().iter().map(|proposal| Concern::Proposal {
            about: proposal.about,
            supporters: proposal.supporters.len(),
            needed: proposal.needed,
        }));
        let agreed = state.setting(super::settings::ROTATE_DAYS).filter(|days| *days > 0);
        for row in rows {
            let age_ms = state.newest_epoch(row.id).map(|(_, epoch)| now_ms.saturating_sub(epoch.began_ms));
            let days = age_ms.unwrap_or_default() / DAY_MS;
            if days > agreed.unwrap_or(OLD_KEY_DAYS) {
                concerns.push(Concern::OldKey { compartment: row.name.clone(), days });
            }
        }
        Ok(concerns)
    }

    /// Tells the coordinators, and nobody else, who this member is.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field; [`Error::NoGroup`]; errors of the store.
    pub fn set_card(&mut self, name: &str, reach: &str) -> Result<(), Error> {
        let mut card = self.own_card()?.unwrap_or_default();
        name.clone_into(&mut card.name);
        reach.clone_into(&mut card.reach);
        self.write_card(&card)
    }

    /// Names a device of this member's on the member's card.
    ///
    /// # Errors
    /// [`Error::Membership`] if it is not one, or there is no card yet; [`Error::Invalid`] if the name cannot be one.
    pub fn name_device(&mut self, device: DeviceId, name: &str) -> Result<(), Error> {
        self.fresh()?;
        let owner = self.state()?.device(device).map(|(device, _)| device.member);
        if owner != Some(self.member_id()) {
            return Err(Error::Membership("this is no device of yours: choose one from the roster"));
        }
        let none = Error::Membership("there is no card yet: say who you are first (set_card)");
        let mut card = self.own_card()?.ok_or(none)?;
        card.devices.insert(device.to_string(), name.to_owned());
        self.write_card(&card)
    }

    fn write_card(&mut self, card: &IdentityCard) -> Result<(), Error> {
        card.validate()?;
        self.fresh()?;
        let id = card_of(self.member_id());
        self.transact(|engine, batch| engine.write(batch, Kind::IDENTITY_CARD, id, card))
    }

    fn own_card(&mut self) -> Result<Option<IdentityCard>, Error> {
        self.fresh()?;
        let id = card_of(self.member_id());
        match self.row(id)? {
            Some(_) => Ok(self.load(id)?.read().ok()),
            None => Ok(None),
        }
    }

    /// The cards that this device can read, each of the member who wrote it.
    fn cards(&mut self) -> Result<BTreeMap<MemberId, IdentityCard>, Error> {
        let mut cards = BTreeMap::new();
        let filter = Filter { kind: Some(Kind::IDENTITY_CARD), ..Filter::default() };
        for (row, _) in self.list(&filter)? {
            if let Ok(card) = self.load(row.id)?.read() {
                cards.insert(row.author, card);
            }
        }
        Ok(cards)
    }
}

/// The identity of a member's card: each has one.
fn card_of(member: MemberId) -> DocumentId {
    create_id(member, Kind::IDENTITY_CARD.0, [0; 8])
}

fn governing(state: &State) -> usize {
    state.members().filter(|(_, member)| state.template().governs(member.role)).count()
}

fn role_name(state: &State, role: RoleId) -> String {
    state.template().role(role).map(|row| row.name.clone()).unwrap_or_default()
}
