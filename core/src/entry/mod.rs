//! Floor 1: entries, the signed and chained units everything travels as (PROTOCOL.md §2 and §3).
//!
//! Imports `base`. Bytes come in as [`Received`], which proves nothing but their form; [`chain`] turns them into
//! [`Verified`]. The half that holds keys and reads plaintext is behind the `device` feature.

pub mod certificate;
pub mod chain;
pub mod header;
mod sealed_key;
pub mod wire;

#[cfg(feature = "device")]
pub mod chunk;
#[cfg(feature = "device")]
pub mod countersignature;
#[cfg(feature = "device")]
pub mod evidence;
#[cfg(feature = "device")]
pub mod invitation;
#[cfg(feature = "device")]
pub mod keys;
#[cfg(feature = "device")]
pub mod knock;
#[cfg(feature = "device")]
pub mod link;
#[cfg(feature = "device")]
pub mod plaintext;
#[cfg(feature = "device")]
pub mod seal;

pub use certificate::{Certificate, Claims, Possession, Scope};
pub use chain::{LogHead, LogId, Verified};
pub use header::{Checkpoint, Header, Kind};
pub use sealed_key::{SealedKey, SealedKeys};
pub use wire::{Malformed, Received, Wire};
