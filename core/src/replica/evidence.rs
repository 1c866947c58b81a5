//! Proof of a release's sources: one key an entry, and how a proof is checked.

use super::disclosures::Copy;
use super::disk;
use super::engine::Engine;
use super::error::Error;
use crate::base::{DocumentId, EntryHash, Hash, cbor};
use crate::entry::evidence::{self, Evidence, Proven};
use crate::entry::keys::Secret;
use crate::entry::seal;
use crate::entry::{Kind as EntryKind, LogId, chain};
use crate::watch::{Content, Provenance};

/// What the record of proof says has left: whole entries.
const SOURCES: &str = "source_entries";

/// A source of a release that can be handed over as proof.
#[derive(Clone, PartialEq, Eq)]
pub struct EvidenceItem {
    /// The entry.
    pub entry: EntryHash,
    /// The observation that it is part of.
    pub observation: String,
    /// [`Evidence`] as canonical CBOR: opens this one entry and no other.
    pub bytes: Vec<u8>,
}

impl Engine {
    /// Everything that proves the sources of a release: one key an entry, each of which opens that entry alone, with all that
    /// was left out of the release. It is for the release's recipient, and each call is recorded as a copy that they receive.
    ///
    /// # Errors
    /// [`Error::NotHere`] if this device has no provenance of the release, as only coordinators do; [`Error::Invalid`] if the
    /// release was called back, or has to be; [`Error::Role`] if this member is no coordinator any more.
    pub fn evidence(&mut self, release: DocumentId) -> Result<Vec<EvidenceItem>, Error> {
        self.fresh()?;
        let provenance =
            self.about::<Provenance>(release)?.into_iter().next().ok_or(Error::NotHere(release))?;
        let mut items = Vec::new();
        for source in provenance.sources {
            let wanted = EntryHash::parse(&source.entry).map_err(|e| Error::Evidence(e.to_string()))?;
            let salt = Hash::parse(&source.salt).map_err(|e| Error::Evidence(e.to_string()))?;
            let observation =
                DocumentId::parse(&source.observation).map_err(|e| Error::Evidence(e.to_string()))?;
            let bytes = self.evidence_of(observation, wanted, Secret(salt.0))?;
            items.push(EvidenceItem { entry: wanted, observation: source.observation, bytes });
        }
        // What could not be made does not leave, and is not recorded.
        self.log_copy(release, &Copy::Recipient, vec![SOURCES.to_owned()])?;
        Ok(items)
    }

    fn evidence_of(
        &mut self,
        observation: DocumentId,
        wanted: EntryHash,
        salt: Secret,
    ) -> Result<Vec<u8>, Error> {
        for (log, seq) in self.parts(observation)? {
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            let Some(epoch) = entry.header().epoch.filter(|_| entry.hash() == wanted) else { continue };
            let group = self.group()?.roll.group();
            let sender = self.sender_of(log, epoch)?.ok_or(Error::NotHere(observation))?;
            let key = seal::entry_key(group, &entry, &sender).map_err(|e| Error::Evidence(e.to_string()))?;
            let certificate = self.certificate_entry(log)?;
            let evidence =
                Evidence { entry: entry.wire().clone(), key, salt, certificate: certificate.into() };
            return Ok(cbor::encode(&evidence));
        }
        Err(Error::NotHere(observation))
    }

    fn certificate_entry(&self, log: LogId) -> Result<Vec<u8>, Error> {
        let first =
            disk::read_entry(&*self.store, log, 0)?.filter(|e| e.header().kind == EntryKind::CERTIFICATE);
        let first = first.ok_or_else(|| Error::Evidence("the author's certificate is gone".to_owned()))?;
        let certificate = chain::certificate_of(&first).map_err(|e| Error::Evidence(e.to_string()))?;
        Ok(certificate.as_bytes().to_vec())
    }

    /// Checks evidence that was handed over against a release that this device holds.
    ///
    /// # Errors
    /// [`Error::Evidence`] names what does not hold; [`Error::NotHere`].
    pub fn check_evidence(&mut self, release: DocumentId, bytes: &[u8]) -> Result<Proven, Error> {
        self.fresh()?;
        let content = self.get(release)?.content;
        let Content::Release(release) = content else {
            return Err(Error::NotHere(release));
        };
        let evidence: Evidence = cbor::decode(bytes).map_err(|e| Error::unreadable("a proof", e))?;
        let committed: Result<Vec<_>, _> = release.commitments.iter().map(|hex| Hash::parse(hex)).collect();
        let committed = committed.map_err(|e| Error::Evidence(e.to_string()))?;
        evidence::verify(&evidence, &committed).map_err(|e| Error::Evidence(e.to_string()))
    }
}
