//! The member's key on paper: 24 words of BIP-39, with its checksum.

use bip39::{Language, Mnemonic};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use crate::replica::disk::META;
use crate::replica::engine::{Engine, RECOVERED};
use crate::replica::error::Error;
use crate::replica::identity::Identity;

/// The member's key as 24 words. Whoever reads them can become this member: for paper, not for a photograph.
///
/// Wiped when dropped, and cannot be printed by accident: only [`RecoveryCode::words`] shows it.
pub struct RecoveryCode(Zeroizing<String>);

impl RecoveryCode {
    /// The words, with single spaces between them.
    pub fn words(&self) -> &str {
        &self.0
    }
}

/// Words of a code: 256 bits and a checksum of 8 (BIP-39).
const WORDS: usize = 24;

/// The languages that a recovery code can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeLanguage {
    /// English words.
    English,
    /// Spanish words.
    Spanish,
}

impl CodeLanguage {
    fn list(self) -> Language {
        match self {
            Self::English => Language::English,
            Self::Spanish => Language::Spanish,
        }
    }
}

impl Engine {
    /// The member's key, to be written down: with it a new device becomes this member's when all others are gone.
    ///
    /// # Errors
    /// [`Error::KeyElsewhere`] if it is not on this device.
    pub fn recovery_code(&self, language: CodeLanguage) -> Result<RecoveryCode, Error> {
        let member = self.identity.secrets()?.member.as_ref().ok_or(Error::KeyElsewhere)?;
        let secret = Zeroizing::new(member.to_bytes());
        let words = Mnemonic::from_entropy_in(language.list(), secret.as_slice());
        let words = words.map_err(|e| Error::Kind(e.to_string()))?;
        Ok(RecoveryCode(Zeroizing::new(words.to_string())))
    }

    /// On a new device: takes over the member's key from its words, in English or Spanish; case and spaces do not
    /// matter. The device then comes in by the group's [link](Engine::group_link), from the relay and with nobody else
    /// online, or joins with an [admission](Engine::admission) that any member's device hands over. It writes at once, and
    /// reads what was written before once a coordinator's device has synced.
    ///
    /// # Errors
    /// [`Error::Code`] says what is wrong with the words; [`Error::HasGroup`]; errors of the store.
    pub fn use_recovery_code(&mut self, words: &str) -> Result<(), Error> {
        self.must_be_free()?;
        let words = Zeroizing::new(words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase());
        // Shorter codes of the same list are none of ours, whatever their checksum says.
        let count = words.split_whitespace().count();
        if count != WORDS {
            return Err(Error::Code(format!("it has {WORDS} words, and these are {count}")));
        }
        let english = Mnemonic::parse_in(Language::English, words.as_str());
        let parsed =
            english.or_else(|why| Mnemonic::parse_in(Language::Spanish, words.as_str()).map_err(|_| why));
        let parsed = parsed.map_err(|why| Error::Code(explain(&why)))?;
        let secret = Zeroizing::new(parsed.to_entropy());
        let secret: Zeroizing<[u8; 32]> = Zeroizing::new(
            secret.as_slice().try_into().map_err(|_| Error::Code(format!("it has {WORDS} words")))?,
        );
        let identity = Identity::draw(&mut self.rng, Some(SigningKey::from_bytes(&secret)));
        self.transact(|engine, batch| {
            engine.become_device(batch, identity)?;
            batch.put(META, RECOVERED, Vec::new());
            Ok(())
        })
    }
}

/// What a person can do about it. Names a wrong word by its number, never the words themselves.
fn explain(why: &bip39::Error) -> String {
    match why {
        bip39::Error::UnknownWord(at) => format!("word {} is not one of the list", at + 1),
        bip39::Error::InvalidChecksum => "a word is wrong, or two have changed places".to_owned(),
        bip39::Error::BadWordCount(_)
        | bip39::Error::BadEntropyBitCount(_)
        | bip39::Error::AmbiguousLanguages(_) => "it cannot be read".to_owned(),
    }
}
