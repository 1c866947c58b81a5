//! Fuzz targets for whatever decodes bytes from elsewhere. Each asserts more than that nothing panics.
//!
//! ```text
//!   bytes → target           the reader or machine, and what must hold of it
//!           ├ tape           bytes as a program: what to write, sign, alter, deliver
//!           └ town           a group made by real engines with fixed keys, so that signatures are good
//!   corpus/TARGET, crashes/TARGET ← run (libFuzzer)         → tests/corpus.rs (cargo test)
//! ```
//!
//! Nothing here reads a clock or draws randomness: the same bytes do the same.

pub mod seeds;
pub mod tape;
pub mod targets;
pub mod town;

/// A target: it returns, or it found something.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("change", targets::change::change),
    ("engine_receive", targets::engine_receive::engine_receive),
    ("entry", targets::entry::entry),
    ("frame", targets::frame::frame),
    ("guard", targets::guard::guard),
    ("handover", targets::handover::handover),
    ("import_file", targets::import::import_file),
    ("import_table", targets::import::import_table),
    ("joining", targets::joining::joining),
    ("media", targets::media::media),
    ("phone_session", targets::phone_session::phone_session),
    ("plaintext", targets::plaintext::plaintext),
    ("receipt", targets::receipt::receipt),
    ("relay_session", targets::relay_session::relay_session),
    ("roll", targets::roll::roll),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
