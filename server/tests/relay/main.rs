//! The relay from outside: its decisions without IO, its durability with broken stores and killed processes, and its
//! sessions over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "what a test leans on may stop it"
)]

mod admin;
mod admission;
mod certified;
mod chunks;
mod damage;
mod disk;
mod durability;
mod expirer;
mod filler;
mod fixture;
mod flood;
mod knowing;
mod mailboxes;
mod program;
mod removal;
mod retention;
mod sessions;
mod sockets;
mod strangers;
