//! Lamppost core.
pub mod base;
pub mod entry;
pub mod roll;
pub mod sync;
