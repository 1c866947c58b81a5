//! The shape of a group: its roles and its compartments, as data in the founding entry (PROTOCOL.md §4.1).

use minicbor::{Decode, Encode};

use super::ids::{CompartmentId, RoleId};
use super::limits;

/// Roles and compartments of a group. Fixed when the group is founded.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Template {
    /// Every role, ascending by id.
    #[n(0)]
    pub roles: Vec<RoleRow>,
    /// Every compartment, ascending by id. Id 0 is the roll.
    #[n(1)]
    pub compartments: Vec<CompartmentRow>,
}

/// One role.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RoleRow {
    /// Its number.
    #[n(0)]
    pub id: RoleId,
    /// Its name for people.
    #[n(1)]
    pub name: String,
    /// Whether it governs: writes operations into the roll.
    #[n(2)]
    pub governs: bool,
}

/// One compartment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CompartmentRow {
    /// Its number.
    #[n(0)]
    pub id: CompartmentId,
    /// Its name for people.
    #[n(1)]
    pub name: String,
    /// Roles whose devices hold its private keys, ascending.
    #[n(2)]
    pub readers: Vec<RoleId>,
    /// Roles whose devices may write entries into it, ascending.
    #[n(3)]
    pub writers: Vec<RoleId>,
}

/// Why a template cannot found a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// Too many rows, or too long a name.
    #[error(
        "the template is larger than {} roles or compartments, or a name is too long",
        limits::TEMPLATE_ROWS_MAX
    )]
    TooLarge,
    /// Rows that are not strictly ascending by id.
    #[error("the template's rows are not in ascending order without repetition")]
    Order,
    /// No compartment 0, or no governing role.
    #[error("a template needs the roll as compartment 0 and a role that governs")]
    Incomplete,
    /// A compartment that names a role that does not exist.
    #[error("compartment {0} names a role that does not exist")]
    UnknownRole(CompartmentId),
}

impl Template {
    /// Checks the rules of PROTOCOL.md §4.1.
    ///
    /// # Errors
    /// [`BadTemplate`] names the first rule that is broken.
    pub fn check(&self) -> Result<(), BadTemplate> {
        let names = self.roles.iter().map(|r| &r.name);
        let names = names.chain(self.compartments.iter().map(|c| &c.name));
        if self.roles.len() > limits::TEMPLATE_ROWS_MAX
            || self.compartments.len() > limits::TEMPLATE_ROWS_MAX
            || names.into_iter().any(|n| n.len() > limits::TEMPLATE_NAME_BYTES_MAX)
        {
            return Err(BadTemplate::TooLarge);
        }
        let lists = self.compartments.iter().flat_map(|c| [&c.readers, &c.writers]);
        if !self.roles.is_sorted_by(|a, b| a.id < b.id)
            || !self.compartments.is_sorted_by(|a, b| a.id < b.id)
            || !lists.into_iter().all(|l| l.is_sorted_by(|a, b| a < b))
        {
            return Err(BadTemplate::Order);
        }
        if self.compartment(CompartmentId::ROLL).is_none() || !self.roles.iter().any(|r| r.governs) {
            return Err(BadTemplate::Incomplete);
        }
        for row in &self.compartments {
            let mut named = row.readers.iter().chain(&row.writers);
            if !named.all(|role| self.role(*role).is_some()) {
                return Err(BadTemplate::UnknownRole(row.id));
            }
        }
        Ok(())
    }

    /// The row of a role.
    pub fn role(&self, id: RoleId) -> Option<&RoleRow> {
        self.roles.iter().find(|row| row.id == id)
    }

    /// The row of a compartment.
    pub fn compartment(&self, id: CompartmentId) -> Option<&CompartmentRow> {
        self.compartments.iter().find(|row| row.id == id)
    }

    /// Whether devices of `role` may fetch and decrypt `compartment`. Everyone reads the roll.
    pub fn may_read(&self, role: RoleId, compartment: CompartmentId) -> bool {
        compartment == CompartmentId::ROLL
            || self.compartment(compartment).is_some_and(|row| row.readers.contains(&role))
    }

    /// Whether devices of `role` may write into `compartment`. Into the roll, this means operations.
    pub fn may_write(&self, role: RoleId, compartment: CompartmentId) -> bool {
        if compartment == CompartmentId::ROLL {
            return self.governs(role);
        }
        self.compartment(compartment).is_some_and(|row| row.writers.contains(&role))
    }

    /// Whether `role` governs the group.
    pub fn governs(&self, role: RoleId) -> bool {
        self.role(role).is_some_and(|row| row.governs)
    }
}
