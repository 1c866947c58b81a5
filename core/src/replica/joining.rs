//! A newcomer's side of an invitation or a group's link: it is kept, shown to the relay, and joined by (PROTOCOL.md §4.7,
//! §4.8, §5.5, §5.6).

use minicbor::{Decode, Encode};

use super::disk::META;
use super::engine::Engine;
use super::error::Error;
use super::membership::{Admission, GroupInfo};
use crate::base::{RelayId, RoleId, address};
use crate::entry::Wire;
use crate::entry::countersignature::NONCE_BYTES;
use crate::entry::invitation::Invitation;
use crate::entry::keys::SALT_BYTES;
use crate::entry::knock::{self, Knock, Opening, Reveal};
use crate::entry::link::{BadLink, GroupLink, LinkKind};
use crate::sync::Refusal;
use crate::sync::frame::Standing;
use crate::sync::knock::{Input, Plan};
use crate::sync::mailbox::Word;
use crate::sync::session::Budget;
use minicbor::bytes::ByteVec;

/// How it stands with joining, for a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// Nobody has decided yet.
    Waiting {
        /// What the coordinator's screen shows too: to be read out over the phone or face to face. None until a coordinator's
        /// phone has answered, which it does by itself when it connects.
        code: Option<String>,
        /// The role that the invitation leads to.
        role: RoleId,
        /// Until when, in milliseconds since the Unix epoch.
        expires_ms: u64,
        /// Whether the request lies at the relay.
        at_relay: bool,
        /// Why it does not, as far as the relay has said.
        problem: Option<String>,
    },
    /// The link of a group is kept, and the roll is still to come from its relay.
    Fetching {
        /// Why it has not, as far as the relay has said.
        problem: Option<String>,
    },
    /// It was refused: the reason, for people.
    Refused(String),
    /// Nobody decided in time. Ask for a new invitation.
    Expired,
    /// The device belongs.
    Done(GroupInfo),
}

/// Where the invitation or link is kept, sealed, until the device belongs.
pub(super) const JOINING: &[u8] = b"joining";

#[derive(Clone, Encode, Decode)]
#[cbor(map)]
struct JoiningRow {
    /// The invitation or the group's link, as text.
    #[n(0)]
    link: String,
    /// What this device says to the coordinators; none before its first session.
    #[n(1)]
    knock: Option<KnockRow>,
    #[n(2)]
    at_relay: bool,
    #[n(3)]
    refused: Option<String>,
    #[n(4)]
    expired: bool,
    #[n(5)]
    problem: Option<String>,
}

/// What a newcomer has committed to, and how far that is.
#[derive(Clone, Encode, Decode)]
#[cbor(map)]
struct KnockRow {
    #[n(0)]
    opening: Opening,
    /// The first countersignature that came: a second would let whoever made it choose the code.
    #[n(1)]
    countersignature: Option<ByteVec>,
    /// The knock as it lies in the mailbox, so that one that is repeated is the same.
    #[n(2)]
    sealed: ByteVec,
}

impl KnockRow {
    fn reveal(&self) -> Option<Reveal> {
        let countersignature = self.countersignature.clone()?;
        Some(Reveal { opening: self.opening.clone(), countersignature })
    }
}

impl Engine {
    /// Keeps an invitation, in the place of an earlier one. Durable when this returns.
    ///
    /// # Errors
    /// [`Error::HasGroup`]; [`Error::Address`] if its relay is reached unencrypted; [`Error::Invitation`] if it has
    /// expired; errors of the store.
    pub fn ask_to_join(&mut self, invitation: &Invitation) -> Result<(), Error> {
        self.must_be_free()?;
        address::checked(&invitation.relay_url)?;
        invitation.check_expiry(self.clock.now_ms())?;
        let link = invitation.to_uri();
        self.keep_link(link)
    }

    /// Keeps a group's link, in the place of an earlier link or invitation: for a device that a coordinator has admitted, or
    /// another of its member's devices has confirmed, or that holds a member's key from a recovery code. Durable when this
    /// returns.
    ///
    /// # Errors
    /// [`Error::Address`] if its relay is reached unencrypted; [`Error::HasGroup`]; errors of the store.
    pub fn join_by_link(&mut self, link: &GroupLink) -> Result<(), Error> {
        self.must_be_free()?;
        address::checked(&link.relay_url)?;
        self.keep_link(link.to_uri())
    }

    fn keep_link(&mut self, link: String) -> Result<(), Error> {
        if self.joining_row()?.is_some_and(|row| row.link == link) {
            return Ok(());
        }
        let row =
            JoiningRow { link, knock: None, at_relay: false, refused: None, expired: false, problem: None };
        self.put_joining(&row)
    }

    /// How it stands; none if this device was never asked to join.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn joining(&mut self) -> Result<Option<Joining>, Error> {
        match self.must_be_free() {
            Err(Error::HasGroup) => return Ok(Some(Joining::Done(self.info()?))),
            other => other?,
        }
        let Some(row) = self.joining_row()? else { return Ok(None) };
        let Way::Invitation(invitation) = row.way()? else {
            return Ok(Some(Joining::Fetching { problem: row.problem }));
        };
        if let Some(reason) = row.refused {
            return Ok(Some(Joining::Refused(reason)));
        }
        if row.expired || invitation.check_expiry(self.clock.now_ms()).is_err() {
            return Ok(Some(Joining::Expired));
        }
        let reveal = row.knock.as_ref().and_then(KnockRow::reveal);
        Ok(Some(Joining::Waiting {
            code: reveal.map(|reveal| reveal.code(&invitation.secret)),
            role: invitation.role,
            expires_ms: invitation.expires_s.saturating_mul(1_000),
            at_relay: row.at_relay,
            problem: row.problem,
        }))
    }

    /// The relay's address, and what a newcomer's session begins from.
    ///
    /// # Errors
    /// [`Error::NotInvited`]; [`Error::HasGroup`]; [`Error::Invitation`] if it has expired.
    pub fn knock_plan(&mut self, wait: bool, budget: Budget) -> Result<(String, Plan), Error> {
        self.must_be_free()?;
        let row = self.joining_row()?.ok_or(Error::NotInvited)?;
        let way = row.way()?;
        let mailbox = match &way {
            Way::Invitation(_) if row.expired => return Err(BadLink::Expired.into()),
            Way::Invitation(invitation) => {
                invitation.check_expiry(self.clock.now_ms())?;
                Some(invitation.mailbox())
            }
            Way::Link(_) => None,
        };
        let GroupLink { relay_url, group } = way.place();
        Ok((relay_url, Plan { group, device: self.device_id(), mailbox, wait, budget }))
    }

    /// Signs the answer to a relay's challenge, with the knock sealed for it, or the certificate that a link's relay is
    /// shown.
    ///
    /// # Errors
    /// [`Error::NotInvited`]; errors of the store.
    pub fn prove_and_knock(&mut self, payload: Vec<u8>, relay: RelayId) -> Result<Input, Error> {
        let row = self.joining_row()?.ok_or(Error::NotInvited)?;
        let proof = self.sign_session(payload);
        let Way::Invitation(invitation) = row.way()? else {
            // One that its member's other device has confirmed finds that out from the roll.
            let certificate = self.certificate_for(row.way()?.place().group);
            let certificate = certificate.ok().map(|held| held.as_bytes().to_vec());
            return Ok(Input::Proven { proof, knock: None, certificate });
        };
        let sealed = self.knock_for(row, &invitation, relay)?;
        Ok(Input::Proven { proof, knock: Some(sealed), certificate: None })
    }

    /// The knock that is to lie in the mailbox at this relay. It is on the disk before it leaves.
    fn knock_for(
        &mut self,
        row: JoiningRow,
        invitation: &Invitation,
        relay: RelayId,
    ) -> Result<Vec<u8>, Error> {
        let certificate = ByteVec::from(self.certificate_for(invitation.group)?.as_bytes().to_vec());
        let said = row.knock.as_ref().filter(|said| {
            // Once it was countersigned it is this or nothing.
            let is_the_same = said.opening.certificate == certificate;
            is_the_same && (said.opening.relay == relay || said.countersignature.is_some())
        });
        if let Some(said) = said {
            return Ok(said.sealed.to_vec());
        }
        let mut nonce = [0; NONCE_BYTES];
        self.rng.fill_bytes(&mut nonce);
        let opening = Opening { certificate, relay, nonce };
        let knock = Knock::Commitment(opening.commitment(invitation.group, invitation.mailbox()));
        let sealed = self.seal_knock(&knock, invitation);
        let said = KnockRow { opening, countersignature: None, sealed: ByteVec::from(sealed.clone()) };
        self.put_joining(&JoiningRow { knock: Some(said), ..row })?;
        Ok(sealed)
    }

    fn seal_knock(&mut self, knock: &Knock, invitation: &Invitation) -> Vec<u8> {
        let mut salt = [0; SALT_BYTES];
        self.rng.fill_bytes(&mut salt);
        knock.seal(&invitation.secret, invitation.group, salt)
    }

    /// Keeps a countersignature, unless one was kept before, and returns the second knock, sealed. None if it is not of
    /// this device's first knock.
    ///
    /// # Errors
    /// [`Error::NotInvited`]; errors of the store.
    pub fn reveal(&mut self, sealed: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let row = self.joining_row()?.ok_or(Error::NotInvited)?;
        let (Way::Invitation(invitation), Some(said)) = (row.way()?, row.knock.clone()) else {
            return Ok(None);
        };
        if said.countersignature.is_some() {
            return Ok(Some(said.sealed.to_vec()));
        }
        let Invitation { secret, group, .. } = &invitation;
        let commitment = said.opening.commitment(*group, invitation.mailbox());
        let signed = match knock::open_countersignature(secret, *group, sealed, commitment) {
            Ok(signed) => ByteVec::from(signed.as_bytes().to_vec()),
            Err(why) => {
                let problem = Some(format!("an answer came that cannot be read: {why}"));
                self.put_joining(&JoiningRow { problem, ..row })?;
                return Ok(None);
            }
        };
        let reveal = Reveal { opening: said.opening.clone(), countersignature: signed.clone() };
        let sealed = self.seal_knock(&Knock::Reveal(reveal), &invitation);
        let said = KnockRow {
            countersignature: Some(signed),
            sealed: ByteVec::from(sealed.clone()),
            opening: said.opening,
        };
        self.put_joining(&JoiningRow { knock: Some(said), problem: None, ..row })?;
        Ok(Some(sealed))
    }

    /// Keeps that the relay does not know a link's group, or this device, yet.
    ///
    /// # Errors
    /// [`Error::NotInvited`]; errors of the store.
    pub fn keep_outside(&mut self, standing: Standing) -> Result<(), Error> {
        let row = self.joining_row()?.ok_or(Error::NotInvited)?;
        let problem = match standing {
            Standing::UnknownGroup => {
                "the relay does not know this group: the coordinator's phone has to connect to it first, or the link is of \
                 another relay"
            }
            Standing::UnknownDevice => {
                "the relay has not heard of this device: whoever admitted it has to connect first; after a recovery code, \
                 compare group and words, as they do not belong together"
            }
            Standing::Belongs | Standing::Certified => return Ok(()),
        };
        self.put_joining(&JoiningRow { problem: Some(problem.to_owned()), ..row })
    }

    /// Keeps what the relay says of the knock.
    ///
    /// # Errors
    /// [`Error::NotInvited`]; errors of the store.
    pub fn keep_word(&mut self, word: &Word) -> Result<(), Error> {
        let row = self.joining_row()?.ok_or(Error::NotInvited)?;
        let Way::Invitation(invitation) = row.way()? else { return Ok(()) };
        let mut row = JoiningRow { at_relay: false, refused: None, problem: None, ..row };
        match word {
            Word::Waiting | Word::Admitted | Word::Countersigned(_) => row.at_relay = true,
            Word::Refused(sealed) => match knock::open_answer(&invitation.secret, invitation.group, sealed) {
                Ok(reason) => row.refused = Some(reason),
                Err(why) => row.problem = Some(format!("an answer came that cannot be read: {why}")),
            },
            Word::Closed(why) if why.refusal == Refusal::MAILBOX_USED => {
                row.refused = Some(why.reason.clone());
            }
            Word::Closed(why) if why.refusal == Refusal::MAILBOX_EXPIRED => row.expired = true,
            // Its coordinator may open it in a moment.
            Word::Closed(why) => row.problem = Some(why.reason.clone()),
        }
        self.put_joining(&row)
    }

    /// Joins the group of the invitation or link with the roll that the relay handed out. Judged like any admission.
    ///
    /// # Errors
    /// As [`Engine::join`].
    pub fn join_invited(&mut self, relay: RelayId, roll: Vec<Wire>) -> Result<GroupInfo, Error> {
        let row = self.joining_row()?.ok_or(Error::NotInvited)?;
        let GroupLink { group, relay_url } = row.way()?.place();
        self.join(&Admission { group, relay_url: Some(relay_url), relay: Some(relay), roll })
    }

    fn joining_row(&self) -> Result<Option<JoiningRow>, Error> {
        self.sealed_row(META, JOINING)
    }

    fn put_joining(&mut self, row: &JoiningRow) -> Result<(), Error> {
        self.transact(|engine, batch| engine.put_sealed(batch, META, JOINING.to_vec(), row))
    }
}

/// What brings a newcomer in.
enum Way {
    Invitation(Invitation),
    Link(GroupLink),
}

impl JoiningRow {
    fn way(&self) -> Result<Way, Error> {
        let link = &self.link;
        let way = match LinkKind::of(link) {
            Ok(LinkKind::Group) => GroupLink::parse(link).map(Way::Link),
            Ok(_) | Err(_) => Invitation::parse(link).map(Way::Invitation),
        };
        way.map_err(|why| Error::store_damaged(&why))
    }
}

impl Way {
    fn place(self) -> GroupLink {
        match self {
            Self::Invitation(Invitation { relay_url, group, .. }) => GroupLink { relay_url, group },
            Self::Link(link) => link,
        }
    }
}
