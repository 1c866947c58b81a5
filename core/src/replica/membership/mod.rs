//! Who belongs: joining, devices, keys, removal, and how people see it.

mod device;
mod join;
mod keys;
mod recovery_code;
mod removal;
mod renew;

use super::disk;
use super::engine::{Engine, ROLL};
use super::error::Error;
use crate::base::{DeviceId, GroupId, MemberId, RoleId};
use crate::entry::Verified;
use crate::roll::State;

pub use device::DeviceRequest;
pub use join::{Admission, JoinRequest};
pub use recovery_code::{CodeLanguage, RecoveryCode};
pub use removal::{Decision, settings};

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
}

/// One member, as an app shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterRow {
    /// The member.
    pub member: MemberId,
    /// Their role.
    pub role: RoleId,
    /// The role's name.
    pub role_name: String,
    /// Their devices.
    pub devices: Vec<DeviceId>,
    /// Names of the compartments that they can read.
    pub reads: Vec<String>,
}

impl Engine {
    /// Who this device is and where it belongs.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn info(&self) -> Result<GroupInfo, Error> {
        let state = self.state()?;
        let role = self.must_belong()?;
        let governing = state.members().filter(|(_, member)| state.template().governs(member.role)).count();
        Ok(GroupInfo {
            group: self.group()?.roll.group(),
            device: self.device_id(),
            member: self.member_id(),
            role,
            role_name: role_name(state, role),
            members: u32::try_from(state.members().count()).unwrap_or(u32::MAX),
            needs_second_coordinator: governing < 2,
        })
    }

    /// Everybody who belongs, and what they can read.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn roster(&self) -> Result<Vec<RosterRow>, Error> {
        let state = self.state()?;
        let rows = state.members().map(|(id, member)| RosterRow {
            member: id,
            role: member.role,
            role_name: role_name(state, member.role),
            devices: state.devices().filter(|(_, d, _)| d.member == id).map(|(id, _, _)| id).collect(),
            reads: state
                .template()
                .compartments
                .iter()
                .filter(|row| state.template().may_read(member.role, row.id))
                .map(|row| row.name.clone())
                .collect(),
        });
        Ok(rows.collect())
    }

    /// The roll's entries, causes first.
    pub(super) fn roll_entries(&self) -> Result<Vec<Verified>, Error> {
        let keys = self.store.scan(ROLL, &[], None, usize::MAX)?;
        let entries = keys.into_iter().filter_map(|(_, key)| {
            let (log, seq) = disk::parse_entry_key(&key)?;
            disk::read_entry(&*self.store, log, seq).transpose()
        });
        entries.collect()
    }
}

fn role_name(state: &State, role: RoleId) -> String {
    state.template().role(role).map(|row| row.name.clone()).unwrap_or_default()
}
