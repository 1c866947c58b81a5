//! Frames of a session: one frame, one encoding, within its ceilings.

use lamppost_core::base::{cbor, limits};
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::Proof;

/// A frame, or what a phone signs to open a session.
pub fn frame(data: &[u8]) {
    if let Ok(proof) = cbor::decode::<Proof>(data) {
        assert_eq!(cbor::encode(&proof), data);
    }
    let Ok(frame) = Frame::from_bytes(data) else { return };
    assert_eq!(frame.to_bytes(), data);
    assert!(data.len() <= limits::FRAME_BYTES_MAX);
    let (count, max) = match &frame {
        Frame::Entries(entries) => (entries.entries.len(), 512),
        Frame::Push(push) => (push.entries.len(), 512),
        Frame::Ack(ack) => (ack.outcomes.len(), 512),
        Frame::Heads(heads) => (heads.logs.len(), 6_000),
        Frame::Welcome(welcome) => (welcome.own.len(), 32),
        Frame::Pull(pull) => (pull.cursors.len(), 32),
        Frame::Consistency(proof) => (proof.hashes.len(), 80),
        Frame::Knock(knock) => (knock.sealed.len(), 2_048),
        Frame::Answer(answer) => (answer.sealed.len(), 1_024),
        Frame::Countersign(signed) => (signed.sealed.len(), 1_024),
        Frame::Knocks(knocks) => (knocks.knocks.len(), 64),
        _ => (0, 0),
    };
    assert!(count <= max);
}
