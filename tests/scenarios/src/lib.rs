//! What the scenarios share: a relay and phones with real sockets and real stores, and a network that meddles.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    clippy::cast_possible_truncation,
    reason = "all of this is test code"
)]

pub mod meddler;
pub mod town;
