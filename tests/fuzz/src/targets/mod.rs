//! One module per target. Each tells in its head what its bytes mean.

pub mod change;
pub mod engine_receive;
pub mod entry;
pub mod frame;
pub mod handover;
pub mod joining;
pub mod phone_session;
pub mod plaintext;
pub mod receipt;
pub mod relay_session;
pub mod roll;
