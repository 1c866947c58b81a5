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
//! `base` (0) · `entry`, `document` (1) · `roll`, `watch` (2) · `sync`, `storage`, `exchange` (3) · `replica` (4). A test
//! keeps the floors. `exchange` stands aside of both ways: files for other programs go out of it, and drafts come in. Below `replica` there is no clock, no randomness, no network and no async; `sync` sees neither keys nor
//! plaintext. Whatever holds a secret or reads a plaintext is behind the default feature `device`, which the relay
//! turns off, so that it cannot even link what decrypts.
//!
//! Bytes, messages and rules are in `PROTOCOL.md` beside this crate; the code cites its sections.
//!
//! # Two phones, offline
//!
#![cfg_attr(feature = "device", doc = "```")]
#![cfg_attr(not(feature = "device"), doc = "```ignore")]
//! use std::sync::Arc;
//!
//! use lamppost_core::replica::{Delivery, Error, Filter, FixedVault, ObservationDraft, Replica};
//! use lamppost_core::watch::{Observation, When, roles};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let root = tempfile::tempdir().unwrap();
//! # let root = root.path();
//! // A directory for each device, and 32 random bytes that its app keeps in the phone's keychain.
//! let coordinator = Replica::open(root.join("coordinator"), Arc::new(FixedVault::new([1; 32]))).await?;
//! let volunteer = Replica::open(root.join("volunteer"), Arc::new(FixedVault::new([2; 32]))).await?;
//!
//! // At the first start a device belongs to no group; at every later one it knows its own.
//! let group = match coordinator.info().await {
//!     Err(Error::NoGroup) => coordinator.found().await?,
//!     known => known?,
//! };
//!
//! // Both are bytes that hold no secret, to be shown as a code or sent: `as_bytes`, `to_bytes`, `from_bytes`.
//! let request = volunteer.request(group.group).await?;
//! let admission = coordinator.admit(request, roles::VOLUNTEER).await?;
//! assert_eq!(volunteer.join(admission).await?.group, group.group);
//!
//! let observation = Observation {
//!     when: When { start_ms: 1_779_990_000_000, precision: "hour".into(), ..When::default() },
//!     vantage: "public_way".into(),
//!     behaviours: vec!["place_condition".into()],
//!     what_happened: "The street lamp at the corner has been out since Monday.".into(),
//!     basis: "saw".into(),
//!     ..Observation::default()
//! };
//! let id = volunteer.record(ObservationDraft { observation, sealed: None }).await?;
//!
//! let listed = volunteer.list(Filter::default()).await?;
//! assert_eq!(listed[0].0.id, id);
//! assert_eq!(listed[0].1, Delivery::OnPhone);
//! # Ok::<_, Error>(())
//! # }).unwrap();
//! ```
//!
//! Codes such as `public_way` are keys of the lists in `src/watch/codes/*.json`; `watch::codes` gives each as a
//! `Catalogue` with its labels. The program in the repository's `README.md` goes on from here with a relay, and is
//! compiled with these examples.

#[cfg(all(doctest, feature = "device"))]
#[doc = include_str!("../../README.md")]
struct Readme;

pub mod base;
#[cfg(feature = "device")]
pub mod document;
pub mod entry;
#[cfg(feature = "device")]
pub mod exchange;
#[cfg(feature = "device")]
pub mod replica;
pub mod roll;
pub mod storage;
pub mod sync;
#[cfg(feature = "device")]
pub mod watch;
