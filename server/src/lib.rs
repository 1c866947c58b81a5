//! The blind relay of Lamppost: keeps and forwards entries that it cannot read.
//!
//! ```text
//!  door → routes → live ───→ session ────→ queue → committer → relay → store       a push
//!                  (one WebSocket)  (decides)  (signatures)  (one durable write)
//!           live ←────────── session ←──── query ←──── relay ←──────── store      a pull
//!           live ←─────────→ session ←───→ query ────→ mailbox ─────→ store      a knock, and its answer
//! ```
//!
//! `retention` drops what expired or was shredded, once a day and when the roll says so. `damage` names what cannot be read
//! of a group, so that its phones can bring it again.
//!
//! `session`, `admit` and `rate` are pure; `relay` does no IO but through its store, so that a simulator can drive it.
//! What is absent on purpose: keys that decrypt, plaintext, names, addresses of phones, any buffer that grows with
//! what a reader lacks.

mod admin;
mod admit;
mod app;
mod budget;
mod chunks;
mod committer;
mod config;
mod damage;
mod disk;
mod door;
mod group;
mod groups;
mod hub;
mod inflow;
mod live;
mod mailbox;
mod metrics;
mod notices;
mod places;
mod query;
mod queue;
mod rate;
mod relay;
mod retention;
mod routes;
mod running;
mod session;
mod space;
mod store;

pub use admin::{AdminError, ask as ask_admin};
pub use chunks::ChunkRequest;
pub use config::{BadSettings, Command, CommandLine, GroupsCommand, Layer, LogFormat, NewGroups, Settings};
pub use disk::{Gauge, Level, make_room_to_open};
pub use groups::GroupRow;
pub use mailbox::{Done, Errand};
pub use query::{Query, Reply};
pub use relay::{Answer, Committed, Prepared, Pushed, Relay, Rules};
pub use running::{Running, StartError, start};
pub use session::{Effect, Input, Opening, Session};
pub use store::{RelayStore, Seed, StoreFault};
