//! Who belongs: joining, devices, keys, removal, and how people see it.

mod absorb;
mod device;
mod join;
mod keys;
mod notice;
mod people;
mod recovery_code;
mod removal;
mod renew;
mod request;

use super::disk;
use super::engine::{Engine, ROLL};
use super::error::Error;
use crate::entry::Verified;

pub(super) use absorb::{SPENT_SEALS, SpentSeals};
pub use device::DeviceRequest;
pub use join::Admission;
pub use notice::RemovalNotice;
pub use people::{Concern, DeviceRow, GroupInfo, RoleRow, RosterRow};
pub use recovery_code::{CodeLanguage, RecoveryCode};
pub use removal::{Decision, settings};
pub use request::JoinRequest;

impl Engine {
    /// The roll's entries that can be read, causes first.
    pub(super) fn roll_entries(&self) -> Result<Vec<Verified>, Error> {
        let keys = self.store.scan(ROLL, &[], None, usize::MAX)?;
        let entries = keys.into_iter().filter_map(|(_, key)| {
            let (log, seq) = disk::parse_entry_key(&key)?;
            disk::readable_entry(&*self.store, log, seq).transpose()
        });
        entries.collect()
    }
}
