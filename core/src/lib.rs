//! Lamppost core: an offline-first sync engine for neighborhood watch groups.
//!
//! An observation goes out through the rooms top to bottom, and comes in the same way from the other side:
//!
//! ```text
//!   way out: replica/record.rs                    way in: replica/receive.rs
//!
//!   watch      what a person may file             replica    rows that an app lists
//!     ↓                                             ↑
//!   document   an Automerge change                document   the change, by its author
//!     ↓                                             ↑
//!   entry      encrypted, signed, chained         entry      opened with the reader's keys
//!     ↓                                             ↑
//!   storage    one durable write                  storage    one durable write
//!     ↓                                             ↑
//!   sync       the outbox, frame by frame         sync       judged: who, where in its log, allowed?
//!     ↓                                             ↑
//!   transport  ──────────────→  blind relay  ──────────────→  transport
//! ```
//!
//! Rooms do not call sideways: those two files join them. A room imports only rooms below it:
//! `base` (0) · `entry`, `document` (1) · `roll`, `watch` (2) · `sync`, `storage` (3) · `replica` (4). A test keeps the
//! floors. Below `replica` there is no clock, no randomness, no network and no async; `sync` sees neither keys nor
//! plaintext. Whatever holds a secret or reads a plaintext is behind the default feature `device`, which the relay
//! turns off, so that it cannot even link what decrypts.
//!
//! Bytes, messages and rules are in `PROTOCOL.md` beside this crate; the code cites its sections.
//!
//! # A group of one, offline
//!
#![cfg_attr(feature = "device", doc = "```")]
#![cfg_attr(not(feature = "device"), doc = "```ignore")]
//! use std::sync::Arc;
//!
//! use lamppost_core::replica::{Delivery, Filter, FixedVault, ObservationDraft, Replica};
//! use lamppost_core::watch::{Observation, When};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let directory = tempfile::tempdir().unwrap();
//! # let directory = directory.path();
//! // 32 bytes that the app keeps in the phone's keychain.
//! let vault = Arc::new(FixedVault::new([7; 32]));
//! let phone = Replica::open(directory, vault).await?;
//! phone.found().await?;
//!
//! let observation = Observation {
//!     when: When { start_ms: 1_779_990_000_000, precision: "hour".into(), ..When::default() },
//!     vantage: "public_way".into(),
//!     behaviours: vec!["place_condition".into()],
//!     what_happened: "The street lamp at the corner has been out since Monday.".into(),
//!     basis: "saw".into(),
//!     ..Observation::default()
//! };
//! let id = phone.record(ObservationDraft { observation, sealed: None }).await?;
//!
//! let listed = phone.list(Filter::default()).await?;
//! assert_eq!(listed[0].0.id, id);
//! assert_eq!(listed[0].1, Delivery::OnPhone);
//! # Ok::<_, lamppost_core::replica::Error>(())
//! # }).unwrap();
//! ```

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
