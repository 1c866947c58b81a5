//! What the scenarios share: a relay and phones with real sockets and real stores, and a network that meddles.

pub mod meddler;
pub mod town;
