//! Floor 2: who belongs, with which role and which keys (PROTOCOL.md §4).
//!
//! Imports `base` and `entry`. A [`Roll`] is a set of signed operations; its state is a pure function of that set:
//!
//! ```text
//!   operation   what somebody says          history   who had heard what when they said it
//!   standing    which removals stand        rights    what an entry may do
//!   view        what a set says             state     who belongs, then
//!                                           retention whose bodies stay, and whose go
//! ```

mod handouts;
mod history;
pub mod operation;
mod past;
pub mod retention;
mod rights;
mod roll_set;
mod room;
mod standing;
pub mod state;
mod view;

pub use operation::{EpochName, Founding, Grant, KeyUpdate, Operation, Rotation, Target};
pub use retention::{Retention, StandingHold};
pub use roll_set::{CutOff, Inserted, NotARoll, RemovalRight, Roll, TakenOut};
pub use room::{Charge, Room};
pub use state::{DeviceState, Epoch, MemberState, Proposal, Proposed, State};

#[cfg(feature = "device")]
#[cfg(test)]
mod tests;
