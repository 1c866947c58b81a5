//! The group as people see it: who belongs, on which devices, what they can read, and what needs attention.

use std::collections::BTreeMap;

use super::RemovalNotice;
use crate::base::day::DAY_MS;
use crate::base::{CompartmentId, CompartmentRow, DeviceId, DocumentId, GroupId, MemberId, RoleId};
use crate::document::create_id;
use crate::entry::LogId;
use crate::replica::disk::{self, ENTRIES, FORKS};
use crate::replica::engine::Engine;
use crate::replica::error::Error;
use crate::replica::view::Filter;
use crate::roll::{Proposed, State, Target};
use crate::watch::roles::{self, Words};
use crate::watch::statistics::Month;
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
    /// The relay's word that this device was removed, as long as nothing proves it; otherwise none.
    pub removal: Option<RemovalNotice>,
    /// Names of the compartments that the role may read and this device has no key to yet. It comes when a coordinator's
    /// phone has synced and this one after it.
    pub waits_for_keys_of: Vec<String>,
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

/// What somebody should know or do something about: coordinators, but for [`Concern::NoKey`], which every member's own
/// device may have, and [`Concern::Fork`] and [`Concern::ExposedKey`], which everybody sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Concern {
    /// This device has no key yet to something that its role may read.
    #[error(
        "this device has no key yet to '{compartment}' ({holds}): a coordinator's phone hands it over when it syncs; then \
         sync here again"
    )]
    NoKey {
        /// The compartment's name.
        compartment: String,
        /// What it holds, in plain words.
        holds: &'static str,
    },
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
        "device {} signed {entries} entries twice: its store was copied or restored; its member should remove it",
        .device.short()
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
    /// A month has two tables that differ: from both, somebody may find out a report.
    #[error(
        "{month} was published twice, and differently: let one coordinator alone publish, once they have synced"
    )]
    PublishedTwice {
        /// The month.
        month: Month,
    },
    /// Documents are about to expire that nobody holds.
    #[error("{documents} documents expire within {days} days: hold what is still needed")]
    Expiring {
        /// How many.
        documents: usize,
        /// Within how many days.
        days: u32,
    },
    /// Nobody can remove a coordinator, not even all others together.
    #[error(
        "nobody can remove the coordinator {}: too many were made coordinators by others than the founder; the founder \
         should remove and admit them in person",
        .member.short()
    )]
    Irremovable {
        /// The coordinator.
        member: MemberId,
    },
    /// A coordinator's device has not been heard of since somebody became a coordinator.
    #[error(
        "device {} of a coordinator has not synced for {days} days, since somebody became a coordinator: whoever finds it \
         could undo what was decided since; sync it, or remove it",
        .device.short()
    )]
    SilentDevice {
        /// The device.
        device: DeviceId,
        /// Days since somebody became a coordinator of whom the device's entries do not know.
        days: u64,
    },
    /// Some coordinators want somebody out who outranks them.
    #[error("{supporters} of the {needed} coordinators that it takes want {}", words(.about))]
    Proposal {
        /// What they want.
        about: Proposed,
        /// How many want it.
        supporters: usize,
        /// How many it takes.
        needed: usize,
    },
}

/// Days ahead that coordinators are told what expires.
const EXPIRING_DAYS: u32 = 14;

/// Days that a coordinator's device may take to hear of a new coordinator before the others are told.
const SILENT_DAYS: u64 = 14;

/// Days after which a key is called old, where the group has agreed on nothing: half a year.
const OLD_KEY_DAYS: u64 = 182;

impl Engine {
    /// Who this device is and where it belongs.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; [`Error::Removed`] if the roll says that it was: [`Engine::removal`] says by whom.
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
            holds_member_key: self.identity.secrets()?.member.is_some(),
            removal: self.removal()?,
            waits_for_keys_of: self.lacks_keys_of(state).map(|row| row.name.clone()).collect(),
        })
    }

    /// The compartments that this device may read, and has no key to what is written there now.
    fn lacks_keys_of<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a CompartmentRow> {
        let keys = self.group.as_ref().map(|group| &group.epoch_keys);
        let may_read = |row: &&CompartmentRow| state.may_read(self.device_id(), row.id);
        let rows = state.template().compartments.iter().filter(|row| row.id != CompartmentId::ROLL);
        rows.filter(may_read).filter(move |row| {
            let newest = state.newest_epoch(row.id).map(|(epoch, _)| (row.id, epoch));
            newest.is_some_and(|name| keys.is_none_or(|keys| !keys.contains_key(&name)))
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

    /// What needs attention, the most pressing first; what only coordinators can do something about, for them alone.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; errors of the store.
    pub fn concerns(&mut self) -> Result<Vec<Concern>, Error> {
        self.fresh()?;
        let state = std::sync::Arc::clone(self.state()?);
        let now_ms = self.clock.now_ms();
        let governs = state.governs(self.device_id());
        let holds = |id: CompartmentId| {
            let row = roles::template_rows().iter().find(|row| row.compartment == id.0);
            row.map_or("of a newer version", |row| row.holds.en)
        };
        let no_key =
            |row: &CompartmentRow| Concern::NoKey { compartment: row.name.clone(), holds: holds(row.id) };
        let mut concerns: Vec<Concern> = self.lacks_keys_of(&state).map(no_key).collect();
        let rows = state.template().compartments.iter().filter(|row| row.id != CompartmentId::ROLL);
        let exposed = rows.clone().filter(|row| state.is_exposed(row.id));
        concerns.extend(exposed.map(|row| Concern::ExposedKey { compartment: row.name.clone() }));
        let mut forks: BTreeMap<DeviceId, usize> = BTreeMap::new();
        for (_, bytes) in self.store.scan(FORKS, &[], None, usize::MAX)? {
            *forks.entry(disk::decode_entry(&bytes)?.header().device).or_default() += 1;
        }
        concerns.extend(forks.into_iter().map(|(device, entries)| Concern::Fork { device, entries }));
        if !governs {
            return Ok(concerns);
        }
        if governing(&state) < 2 {
            concerns.push(Concern::OneCoordinator);
        }
        let roll = &self.group()?.roll;
        concerns.extend(roll.irremovable().into_iter().map(|member| Concern::Irremovable { member }));
        for (device, _, role) in state.devices().filter(|(device, _, _)| *device != self.device_id()) {
            let since_ms = roll.unacknowledged_since(device).filter(|_| state.template().governs(role));
            let days = since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms) / DAY_MS);
            if days >= SILENT_DAYS {
                concerns.push(Concern::SilentDevice { device, days });
            }
        }
        let cut_off = self.set_aside()?.iter().filter(|row| row.cut_off).count();
        if cut_off > 0 {
            concerns.push(Concern::CutOff { entries: cut_off });
        }
        let (_, twice) = self.published()?;
        concerns.extend(twice.into_iter().map(|month| Concern::PublishedTwice { month }));
        let documents = self.expiring(EXPIRING_DAYS)?.len();
        if documents > 0 {
            concerns.push(Concern::Expiring { documents, days: EXPIRING_DAYS });
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

/// What is proposed, with the pseudonyms that screens show.
fn words(about: &Proposed) -> String {
    match about {
        Proposed::Removal(Target::Member(member)) => format!("member {} taken out", member.short()),
        Proposed::Removal(Target::Device(device)) => format!("device {} taken out", device.short()),
        Proposed::Recovery(member) => format!("member {} to go on with a new device and key", member.short()),
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
