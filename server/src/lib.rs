//! The blind relay of Lamppost: keeps and forwards entries that it cannot read.
//!
//! ```text
//!  routes → live ──────────→ session ────→ committer → relay → admit → store      a push
//!           (one WebSocket)  (decides)     (one task)  (one durable write)
//!           live ←────────── session ←──── query ←──── relay ←──────── store      a pull
//!           live ←─────────→ session ←───→ query ────→ mailbox ─────→ store      a knock, and its answer
//! ```
//!
//! `retention` drops what expired or was shredded, once a day and when the roll says so.
//!
//! `session`, `admit` and `rate` are pure; `relay` does no IO but through its store, so that a simulator can drive it.
//! What is absent on purpose: keys that decrypt, plaintext, names, addresses of phones, any buffer that grows with
//! what a reader lacks.

mod admit;
mod app;
mod chunks;
mod committer;
mod config;
mod group;
mod hub;
mod live;
mod mailbox;
mod metrics;
mod query;
mod rate;
mod relay;
mod retention;
mod routes;
mod running;
mod session;
mod store;

pub use chunks::ChunkRequest;
pub use config::{BadSettings, CommandLine, Layer, LogFormat, NewGroups, Settings};
pub use mailbox::{Done, Errand};
pub use query::{Query, Reply};
pub use relay::{Answer, Committed, Pushed, Relay, Rules};
pub use running::{Running, StartError, start};
pub use session::{Effect, Input, Opening, Session};
pub use store::{RelayStore, Seed, StoreFault};
