//! The relay from outside: its decisions without IO, its durability with broken stores and killed processes, and its
//! sessions over real sockets.

mod admission;
mod durability;
mod fixture;
mod program;
mod sessions;
mod sockets;
