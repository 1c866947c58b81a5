//! Floor 3: how entries travel, as pure code: (input, now) → effects (PROTOCOL.md §5).
//!
//! Imports `base`, `entry` without its device half, and `roll`. Sees neither keys nor plaintext; does no IO.

pub mod checkpoint;
pub mod frame;
pub mod inbox;
#[cfg(feature = "device")]
pub mod knock;
pub mod mailbox;
pub mod media;
pub mod proof;
pub mod receipt;
#[cfg(feature = "device")]
pub mod session;
#[cfg(feature = "device")]
pub mod transfer;

pub use frame::{Frame, Refusal};
pub use receipt::{Receipt, SignedReceipt};
