//! What a device knows of its own removal: the signed word of the roll, or the mere word of a relay (PROTOCOL.md §5.2).

use crate::base::MemberId;
use crate::replica::disk::{self, META};
use crate::replica::engine::Engine;
use crate::replica::error::Error;
use crate::storage::Batch;

/// That this device was taken out of its group. What it has can still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalNotice {
    /// The roll says so: it is signed, and final until a coordinator admits the device again. Nothing can be written.
    Signed {
        /// Who took it out, or took out whoever had let it in.
        by: MemberId,
        /// When they say they did, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// The relay says so, and has shown nothing that proves it. A relay may lie, so writing goes on as before; nothing is
    /// sent until it takes its word back by serving this device again, or another relay is trusted.
    Said {
        /// When it last did, by this device's clock, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
}

/// When the relay last said that this device was removed.
const SAID_REMOVED: &[u8] = b"said_removed";

impl Engine {
    /// Whether this device was taken out, as far as it has heard, and by whose word; none if it belongs.
    ///
    /// # Errors
    /// [`Error::NoGroup`] if it never belonged to one.
    pub fn removal(&self) -> Result<Option<RemovalNotice>, Error> {
        let group = self.group()?;
        if self.role().is_none()
            && let Some(out) = group.roll.taken_out(self.device_id())
        {
            return Ok(Some(RemovalNotice::Signed { by: out.by, at_ms: out.claimed_ms }));
        }
        Ok(group.said_removed_ms.map(|at_ms| RemovalNotice::Said { at_ms }))
    }

    /// Keeps a relay's word that this device was removed.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn told_removed(&mut self) -> Result<(), Error> {
        let now_ms = self.clock.now_ms();
        self.fresh()?;
        self.transact(|engine, batch| {
            engine.fresh()?.said_removed_ms = Some(now_ms);
            batch.put(META, SAID_REMOVED, disk::number_key(now_ms));
            Ok(())
        })
    }

    /// Forgets a relay's word that this device was removed.
    pub(in crate::replica) fn forget_word(&mut self, batch: &mut Batch) -> Result<(), Error> {
        if self.fresh()?.said_removed_ms.take().is_some() {
            batch.delete(META, SAID_REMOVED);
        }
        Ok(())
    }

    pub(in crate::replica) fn stored_word(&self) -> Result<Option<u64>, Error> {
        Ok(self.store.get(META, SAID_REMOVED)?.map(|bytes| disk::parse_number(&bytes)))
    }
}
