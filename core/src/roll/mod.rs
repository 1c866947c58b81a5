//! Floor 2: who belongs, with which role and which keys (PROTOCOL.md §4).
//!
//! Imports `base` and `entry`. A [`Roll`] is a set of signed operations; its state is a pure function of that set.

pub mod operation;
mod roll_set;
pub mod state;

pub use operation::{Founding, Grant, Operation, Rotation};
pub use roll_set::{Inserted, NotARoll, Roll};
pub use state::{DeviceState, Epoch, MemberState, State};
