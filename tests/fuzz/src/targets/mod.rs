//! One module per target, each of which tells in its head what its bytes mean; and what several of them write.

pub mod change;
pub mod engine_receive;
pub mod entry;
pub mod frame;
pub mod guard;
pub mod handover;
pub mod import;
pub mod joining;
pub mod media;
pub mod operations;
pub mod phone_session;
pub mod plaintext;
pub mod receipt;
pub mod relay_session;
pub mod roll;
