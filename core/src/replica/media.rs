//! Photos on a device: attached, sealed and cut into chunks, carried, put together again (PROTOCOL.md §3.6, §5.7, §8).
//!
//! A photo is two files: the clean copy, which the observation names, and the original, which its sealed sibling names.
//! Chunks lie on the disk as they travel.

use data_encoding::HEXLOWER;
use minicbor::{Decode, Encode};

use super::chunks::CHUNKS;
use super::disk;
use super::engine::Engine;
use super::error::Error;
use super::record::{ObservationDraft, sealed_part};
use super::view::Row;
use crate::base::{ChunkId, DocumentId, Hash, cbor};
use crate::entry::chunk::{BadFile, Manifest, SealedChunk, open_file, seal_file};
use crate::entry::keys::Secret;
use crate::storage::{Batch, Table};
use crate::watch::guard::{self, Place};
use crate::watch::media::{CLEAN_TYPE, MEDIA_COUNT_MAX, strip};
use crate::watch::release::ITEMS_COUNT_MAX;
use crate::watch::{Content, Invalid, Kind, Medium, ReleasedItem};

/// document ‖ file (32) → [`FileRow`].
pub(super) const FILES: Table = Table(33);
/// draft ‖ file (32) → sealed [`AttachedRow`].
pub(super) const ATTACHED: Table = Table(34);

#[derive(Encode, Decode)]
#[cbor(map)]
pub(super) struct FileRow {
    /// Chunks that are not here.
    #[n(0)]
    pub missing: u32,
    /// Whether they are to be fetched.
    #[n(1)]
    pub asked: bool,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct AttachedRow {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    clean: Vec<u8>,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    original: Vec<u8>,
    #[n(2)]
    caption: String,
}

/// Which photos of others come by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaPolicy {
    /// Every clean copy. Originals, whose readers are coordinators, are fetched when somebody asks.
    #[default]
    All,
    /// Those alone that somebody asks for: where bytes cost money.
    OnDemand,
}

/// Whether a photo is on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediumState {
    /// All of it.
    Here,
    /// It is fetched at the next sync.
    Coming,
    /// It is fetched once somebody asks for it.
    Missing,
}

/// One photo of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediumRow {
    /// Which one: SHA-256 of the file in hex.
    pub id: String,
    /// What its author said of it.
    pub caption: String,
    /// Such as `image/jpeg`.
    pub media_type: String,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Whether it is as the camera took it.
    pub is_original: bool,
    /// Whether it is here.
    pub state: MediumState,
    /// Parts that are not here.
    pub parts_missing: u32,
}

impl Engine {
    /// Attaches a photo to a draft, or to an observation of this member's own. The clean copy is made and both files are
    /// sealed and on disk when this returns. Answers with the photo's id.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no photo, too large, or one too many; [`Error::Role`] if the observation is somebody
    /// else's; errors of the store: then nothing of the photo is kept, and what was there before is.
    pub fn attach(&mut self, to: DocumentId, photo: &[u8], caption: &str) -> Result<String, Error> {
        self.refresh()?;
        let row = self.row(to)?;
        if let Some(row) = &row {
            if row.kind != Kind::OBSERVATION {
                return Err(Error::Kind(format!("{} is not an observation", to.short())));
            }
            if row.author != self.member_id() {
                return Err(Error::Role("attach a photo to somebody else's observation"));
            }
        }
        guard::check("caption", caption, Place::Remark)?;
        let clean = strip(photo)?;
        let keys = [Secret::draw(&mut self.rng), Secret::draw(&mut self.rng)];
        let [clean_key, original_key] = keys;
        let (shown, chunks) = seal_file(clean_key, &clean.bytes, CLEAN_TYPE, Some(clean.original))?;
        let (original, original_chunks) = seal_file(original_key, photo, clean.original_type, None)?;
        let (shown, original) = (medium(&shown, caption), medium(&original, ""));
        shown.validate()?;
        let id = shown.id.clone();
        let mut existing = row.map(|_| self.draft_of(to)).transpose()?;
        let before = match &existing {
            Some(draft) => draft.observation.media.iter().map(|medium| medium.id.clone()).collect(),
            None => self.attached(to)?.into_iter().map(|row| row.id).collect::<Vec<_>>(),
        };
        if before.contains(&id) {
            return Ok(id);
        }
        if before.len() >= MEDIA_COUNT_MAX {
            let problem = format!("has {MEDIA_COUNT_MAX} photos already");
            return Err(Invalid::new("media", problem, "leave one out, or write another report").into());
        }
        self.transact(|engine, batch| {
            engine.put_chunks(batch, &chunks);
            engine.put_chunks(batch, &original_chunks);
            let Some(mut draft) = existing.take() else {
                return engine.put_attached(batch, to, &shown, &original);
            };
            let (clean, originals) = (names_of([&shown]), names_of([&original]));
            draft.observation.media.push(shown);
            draft.sealed.get_or_insert_default().originals.push(original);
            engine.append_draft(batch, to, draft)?;
            engine.queue_chunks(batch, to, &clean)?;
            engine.queue_chunks(batch, engine.sibling(to), &originals)
        })?;
        Ok(id)
    }

    /// The photos that are attached to a draft.
    ///
    /// # Errors
    /// Errors of the store; [`Error::WrongVault`].
    pub fn attached(&self, draft: DocumentId) -> Result<Vec<MediumRow>, Error> {
        let attached = self.attached_media(draft)?;
        let here = FileRow { missing: 0, asked: false };
        attached.iter().map(|(_, shown, _)| described(shown, false, &here)).collect()
    }

    /// Takes a photo back from a draft.
    ///
    /// # Errors
    /// [`Error::NotHere`] if the draft has no such photo; errors of the store.
    pub fn detach(&mut self, draft: DocumentId, medium: String) -> Result<(), Error> {
        let attached = self.attached_media(draft)?.into_iter();
        let (key, shown, original) =
            attached.into_iter().find(|(_, shown, _)| shown.id == medium).ok_or(Error::NotHere(draft))?;
        self.transact(|_, batch| {
            batch.delete(ATTACHED, key);
            names_of([&shown, &original]).iter().for_each(|chunk| batch.delete(CHUNKS, *chunk.as_bytes()));
            Ok(())
        })
    }

    /// A photo of a document or draft, whole.
    ///
    /// # Errors
    /// [`Error::NotHere`] if there is no such photo in it; [`Error::PhotoNotHere`] if parts have not arrived;
    /// [`Error::Photo`] if it is not what its author attached.
    pub fn media(&mut self, document: DocumentId, medium: String) -> Result<Vec<u8>, Error> {
        let mut found =
            self.attached_media(document)?.into_iter().map(|(_, shown, _)| shown).collect::<Vec<_>>();
        if self.row(document)?.is_some() {
            let content = self.get(document)?.content;
            found.extend(media_of(&content).into_iter().map(|(medium, _)| medium.clone()));
        }
        let found = found.iter().find(|found| found.id == medium).ok_or(Error::NotHere(document))?;
        self.open_medium(found)
    }

    /// Asks for every photo of a document that is not here, originals too: they come with the next sync.
    ///
    /// # Errors
    /// [`Error::NotHere`]; errors of the store.
    pub fn fetch_media(&mut self, document: DocumentId) -> Result<(), Error> {
        let detail = self.get(document)?;
        let is_sealed_itself = detail.row.kind == Kind::SEALED;
        let sealed = if is_sealed_itself { document } else { sealed_part(detail.row.author, document) };
        let media: Vec<(Medium, bool)> = media_of(&detail.content)
            .into_iter()
            .map(|(medium, original)| (medium.clone(), original))
            .collect();
        self.transact(|engine, batch| {
            for (medium, is_original) in media {
                let holder = if is_original { sealed } else { document };
                let Ok(manifest) = manifest(&medium) else { continue };
                let key = file_key(holder, manifest.hash);
                let row: Option<FileRow> =
                    engine.store.get(FILES, &key)?.map(|row| disk::decode(&row)).transpose()?;
                if row.is_some_and(|row| row.missing > 0 && !row.asked) {
                    let missing = engine.ask_for(batch, holder, &manifest)?;
                    batch.put(FILES, key, cbor::encode(&FileRow { missing, asked: true }));
                }
            }
            engine.changed.insert(document);
            engine.mail_mark += 1;
            Ok(())
        })
    }

    /// Decides which photos come by themselves, from now on and until the store is opened anew. What arrived under
    /// [`MediaPolicy::OnDemand`] stays on demand.
    ///
    /// # Errors
    /// None; the form is that of other calls.
    pub fn set_media_policy(&mut self, policy: MediaPolicy) -> Result<(), Error> {
        self.media.policy = policy;
        Ok(())
    }

    /// Notes which files a document names, and asks for those that are to come by themselves.
    pub(super) fn note_media(
        &mut self,
        batch: &mut Batch,
        id: DocumentId,
        content: &Content,
    ) -> Result<(), Error> {
        let media: Vec<(Medium, bool)> =
            media_of(content).into_iter().map(|(medium, original)| (medium.clone(), original)).collect();
        for (medium, is_original) in media {
            // What cannot be read is shown as missing, and is the author's mistake.
            let Ok(manifest) = manifest(&medium) else { continue };
            let key = file_key(id, manifest.hash);
            if self.store.get(FILES, &key)?.is_some() {
                continue;
            }
            Self::refer_to(batch, id, &manifest);
            let asked = !is_original && self.media.policy == MediaPolicy::All;
            let missing = if asked {
                self.ask_for(batch, id, &manifest)?
            } else {
                self.lacking(batch, &manifest)?.len().try_into().unwrap_or(u32::MAX)
            };
            batch.put(FILES, key, cbor::encode(&FileRow { missing, asked }));
        }
        Ok(())
    }

    /// The photos of a document, and whether they are here.
    pub(super) fn media_rows(&self, row: &Row, content: &Content) -> Result<Vec<MediumRow>, Error> {
        let media = media_of(content);
        let sealed = sealed_part(row.author, row.id);
        let mut rows = Vec::new();
        for (medium, is_original) in media {
            let mut file = None;
            if let Ok(hash) = Hash::parse(&medium.id) {
                for holder in Some(sealed).filter(|_| is_original).into_iter().chain([row.id]) {
                    if file.is_none() {
                        let row = self.store.get(FILES, &file_key(holder, hash))?;
                        file = row.map(|row| disk::decode::<FileRow>(&row)).transpose()?;
                    }
                }
            }
            let file = file.unwrap_or(FileRow { missing: u32::MAX, asked: false });
            rows.extend(described(medium, is_original, &file).ok());
        }
        Ok(rows)
    }

    /// Moves the photos of a draft into what is about to be filed. Answers with the chunks of the clean copies and of the
    /// originals.
    pub(super) fn take_attached(
        &mut self,
        batch: &mut Batch,
        draft: DocumentId,
        into: &mut ObservationDraft,
    ) -> Result<(Vec<ChunkId>, Vec<ChunkId>), Error> {
        let (mut clean, mut originals) = (Vec::new(), Vec::new());
        for (key, shown, original) in self.attached_media(draft)? {
            clean.extend(names_of([&shown]));
            originals.extend(names_of([&original]));
            into.observation.media.push(shown);
            into.sealed.get_or_insert_default().originals.push(original);
            batch.delete(ATTACHED, key);
        }
        Ok((clean, originals))
    }

    /// Throws the photos of a draft away.
    pub(super) fn discard_attached(&self, batch: &mut Batch, draft: DocumentId) -> Result<(), Error> {
        for (key, shown, original) in self.attached_media(draft)? {
            names_of([&shown, &original]).iter().for_each(|chunk| batch.delete(CHUNKS, *chunk.as_bytes()));
            batch.delete(ATTACHED, key);
        }
        Ok(())
    }

    /// Whether the photos of released items are all here.
    ///
    /// # Errors
    /// [`Error::PhotoNotHere`].
    pub(super) fn photos_are_here(&self, items: &[ReleasedItem]) -> Result<(), Error> {
        items
            .iter()
            .flat_map(|item| &item.media)
            .try_for_each(|shown| self.ciphertexts(&manifest(shown)?).map(drop))
    }

    /// Seals the photos of released items anew, each under a key of its own: who reads the release learns no key of the
    /// group's. Each is made clean again, as an observation may come from an app that is not this one.
    pub(super) fn reseal_media(&mut self, items: &mut [ReleasedItem]) -> Result<Vec<SealedChunk>, Error> {
        let mut chunks = Vec::new();
        for shown in items.iter_mut().flat_map(|item| &mut item.media) {
            let file = zeroize::Zeroizing::new(self.open_medium(shown)?);
            let clean = zeroize::Zeroizing::new(strip(&file)?.bytes);
            let (sealed, more) = seal_file(Secret::draw(&mut self.rng), &clean, CLEAN_TYPE, None)?;
            *shown = medium(&sealed, "");
            chunks.extend(more);
        }
        Ok(chunks)
    }

    fn open_medium(&self, medium: &Medium) -> Result<Vec<u8>, Error> {
        let manifest = manifest(medium)?;
        let ciphertexts = self.ciphertexts(&manifest)?;
        Ok(open_file(&manifest, ciphertexts.iter().map(Vec::as_slice))?)
    }

    fn ciphertexts(&self, manifest: &Manifest) -> Result<Vec<Vec<u8>>, Error> {
        let mut ciphertexts = Vec::new();
        for chunk in &manifest.chunks {
            ciphertexts.extend(self.chunk(*chunk)?);
        }
        let (parts, here) = (manifest.chunks.len(), ciphertexts.len());
        if here < parts {
            return Err(Error::PhotoNotHere { missing: parts - here, parts });
        }
        Ok(ciphertexts)
    }

    fn put_attached(
        &mut self,
        batch: &mut Batch,
        draft: DocumentId,
        shown: &Medium,
        original: &Medium,
    ) -> Result<(), Error> {
        let (clean, original) = (manifest(shown)?, manifest(original)?);
        let key = file_key(draft, clean.hash);
        let row = AttachedRow {
            clean: clean.to_bytes().to_vec(),
            original: original.to_bytes().to_vec(),
            caption: shown.caption.clone(),
        };
        let plain = zeroize::Zeroizing::new(cbor::encode(&row));
        batch.put(ATTACHED, key.clone(), self.cipher.seal(&mut self.rng, ATTACHED, &key, &plain)?);
        Ok(())
    }

    fn attached_media(&self, draft: DocumentId) -> Result<Vec<(Vec<u8>, Medium, Medium)>, Error> {
        let mut media = Vec::new();
        for (key, sealed) in self.store.scan(ATTACHED, draft.as_bytes(), None, usize::MAX)? {
            let (shown, original) = self.open_attached(&key, &sealed)?;
            media.push((key, shown, original));
        }
        Ok(media)
    }

    fn open_attached(&self, key: &[u8], sealed: &[u8]) -> Result<(Medium, Medium), Error> {
        let plain = self.cipher.open(ATTACHED, key, sealed)?;
        let row: AttachedRow = disk::decode(&plain)?;
        let damaged = |why| Error::store_damaged(&why);
        let clean = Manifest::from_bytes(&row.clean).map_err(damaged)?;
        let original = Manifest::from_bytes(&row.original).map_err(damaged)?;
        Ok((medium(&clean, &row.caption), medium(&original, "")))
    }
}

/// The photos that a content names, and whether they are originals.
fn media_of(content: &Content) -> Vec<(&Medium, bool)> {
    let shown = |medium| (medium, false);
    let original = |medium| (medium, true);
    if let Content::Observation(observation, sealed) = content {
        let originals = sealed.iter().flat_map(|sealed| few(&sealed.originals)).map(original);
        few(&observation.media).map(shown).chain(originals).collect()
    } else if let Content::Sealed(sealed) = content {
        few(&sealed.originals).map(original).collect()
    } else if let Content::Release(release) = content {
        let items = release.items.iter().take(ITEMS_COUNT_MAX);
        items.flat_map(|item| few(&item.media)).map(shown).collect()
    } else {
        Vec::new()
    }
}

/// As many as somebody may file: others may have written more.
fn few(media: &[Medium]) -> impl Iterator<Item = &Medium> {
    media.iter().take(MEDIA_COUNT_MAX)
}

/// The chunks of photos.
pub(super) fn names_of<'a>(media: impl IntoIterator<Item = &'a Medium>) -> Vec<ChunkId> {
    media
        .into_iter()
        .filter_map(|medium| manifest(medium).ok())
        .flat_map(|manifest| manifest.chunks)
        .collect()
}

fn medium(manifest: &Manifest, caption: &str) -> Medium {
    Medium {
        id: manifest.hash.to_string(),
        manifest: HEXLOWER.encode(&manifest.to_bytes()),
        caption: caption.to_owned(),
    }
}

/// The manifest of a photo, if it is that of the photo it says it is.
fn manifest(medium: &Medium) -> Result<Manifest, Error> {
    let bytes = HEXLOWER.decode(medium.manifest.as_bytes()).map_err(|_| BadFile::Manifest)?;
    let manifest = Manifest::from_bytes(&bytes)?;
    if manifest.hash.to_string() == medium.id { Ok(manifest) } else { Err(BadFile::Manifest.into()) }
}

fn described(medium: &Medium, is_original: bool, file: &FileRow) -> Result<MediumRow, Error> {
    let manifest = manifest(medium)?;
    let state = match file {
        FileRow { missing: 0, .. } => MediumState::Here,
        FileRow { asked: true, .. } => MediumState::Coming,
        FileRow { asked: false, .. } => MediumState::Missing,
    };
    Ok(MediumRow {
        id: medium.id.clone(),
        caption: medium.caption.clone(),
        media_type: manifest.media_type,
        bytes: manifest.bytes,
        is_original,
        state,
        parts_missing: file.missing.min(manifest.chunks.len().try_into().unwrap_or(u32::MAX)),
    })
}

pub(super) fn file_key(document: DocumentId, file: Hash) -> Vec<u8> {
    [document.as_bytes().as_slice(), file.as_bytes()].concat()
}
