//! Lamppost core: an offline-first sync engine for neighborhood watch groups.

pub mod base;
#[cfg(feature = "device")]
pub mod document;
pub mod entry;
#[cfg(feature = "device")]
pub mod replica;
pub mod roll;
pub mod storage;
pub mod sync;
#[cfg(feature = "device")]
pub mod watch;
