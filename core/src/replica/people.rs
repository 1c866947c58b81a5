//! What an app does about who belongs: the same as the engine's, off the caller's thread.

use super::app::Replica;
use super::driver;
use super::engine::Engine;
use super::error::Error;
use super::invitations::{OpenInvitation, PendingRequest};
use super::joining::Joining;
use super::membership::{
    Admission, CodeLanguage, Concern, Decision, DeviceRequest, GroupInfo, JoinRequest, RecoveryCode,
    RemovalNotice, RoleRow, RosterRow,
};
use super::relay::EarlierLife;
use crate::base::{DeviceId, EntryHash, GroupId, MailboxId, MemberId, RelayId, RoleId};
use crate::entry::invitation::Invitation;
use crate::entry::link::GroupLink;
use crate::roll::{Proposed, Target};
use crate::sync::session::Budget;

impl Replica {
    /// Founds a group with this device's member as its first coordinator.
    ///
    /// # Errors
    /// [`Error::HasGroup`]; errors of the store.
    pub async fn found(&self) -> Result<GroupInfo, Error> {
        self.run(Engine::found).await
    }

    /// What a newcomer hands to a coordinator.
    ///
    /// # Errors
    /// [`Error::HasGroup`].
    pub async fn request(&self, group: GroupId) -> Result<JoinRequest, Error> {
        self.run(move |engine| engine.request(group)).await
    }

    /// Admits whoever asks.
    ///
    /// # Errors
    /// As [`Engine::admit`].
    pub async fn admit(&self, request: JoinRequest, role: RoleId) -> Result<Admission, Error> {
        self.run(move |engine| engine.admit(&request, role)).await
    }

    /// The roll as it stands: what a newcomer who was admitted, or a member with a recovery code, needs to begin.
    ///
    /// # Errors
    /// As [`Engine::admission`].
    pub async fn admission(&self) -> Result<Admission, Error> {
        self.run(Engine::admission).await
    }

    /// Makes an invitation: its `to_uri` is a link, its `to_qr` the text of a code. It works once this device has synced.
    ///
    /// # Errors
    /// As [`Engine::invite`].
    pub async fn invite(&self, role: RoleId, lasts_ms: u64) -> Result<Invitation, Error> {
        self.run(move |engine| engine.invite(role, lasts_ms)).await
    }

    /// The invitations that are open, the first to expire first.
    ///
    /// # Errors
    /// As [`Engine::invitations`].
    pub async fn invitations(&self) -> Result<Vec<OpenInvitation>, Error> {
        self.run(Engine::invitations).await
    }

    /// Withdraws an invitation. Whoever comes with it is told so.
    ///
    /// # Errors
    /// As [`Engine::withdraw_invitation`].
    pub async fn withdraw_invitation(&self, invitation: MailboxId) -> Result<(), Error> {
        self.run(move |engine| engine.withdraw_invitation(invitation)).await
    }

    /// Who has come with an invitation, as far as this device has heard.
    ///
    /// # Errors
    /// As [`Engine::pending`].
    pub async fn pending(&self) -> Result<Vec<PendingRequest>, Error> {
        self.run(Engine::pending).await
    }

    /// Admits whoever sent this request. The newcomer hears of it once this device has synced.
    ///
    /// # Errors
    /// As [`Engine::approve`].
    pub async fn approve(&self, request: PendingRequest) -> Result<(), Error> {
        self.run(move |engine| engine.approve(&request)).await
    }

    /// Refuses this request. The newcomer reads the reason once this device has synced.
    ///
    /// # Errors
    /// As [`Engine::refuse`].
    pub async fn refuse(&self, request: PendingRequest, reason: String) -> Result<(), Error> {
        self.run(move |engine| engine.refuse(&request, &reason)).await
    }

    /// Keeps the invitation on this device, then hands a request to its relay. Returns how it stands, most often
    /// [`Joining::Waiting`] with the code to read out; [`Replica::await_admission`] goes on from there.
    ///
    /// # Errors
    /// [`Error::Invitation`] if it has expired; [`Error::HasGroup`]; as [`Replica::sync_once`] if the relay cannot be
    /// asked, and the invitation is kept even so.
    pub async fn ask_to_join(&self, invitation: Invitation) -> Result<Joining, Error> {
        self.run(move |engine| engine.ask_to_join(&invitation)).await?;
        driver::knock(self, false, Budget::UNLIMITED).await
    }

    /// Where the group is, as a link that is also a QR code: for a newcomer whose request this coordinator has admitted, or
    /// on paper beside the words of a recovery code.
    ///
    /// # Errors
    /// As [`Engine::group_link`].
    pub async fn group_link(&self) -> Result<GroupLink, Error> {
        self.run(Engine::group_link).await
    }

    /// Comes in by a group's link: fetches the roll from its relay and joins. For a device that was admitted, or that holds a
    /// member's key from a recovery code. The link is kept on this device first; while this says [`Joining::Fetching`],
    /// [`Replica::await_admission`] goes on from there.
    ///
    /// # Errors
    /// [`Error::HasGroup`]; [`Error::Removed`] if the device or its member was taken out; [`Error::Admission`]; as
    /// [`Replica::sync_once`].
    pub async fn join_by_link(&self, link: GroupLink) -> Result<Joining, Error> {
        self.run(move |engine| engine.join_by_link(&link)).await?;
        driver::knock(self, false, Budget::UNLIMITED).await
    }

    /// Waits at the relay until somebody has decided, or the budget is used up. To be called whenever the app comes to the
    /// front while [`Replica::joining`] says [`Joining::Waiting`] or [`Joining::Fetching`]; whatever was decided meanwhile is
    /// told at once. A device that only its member's other device can confirm does not wait: ask again.
    ///
    /// # Errors
    /// [`Error::NotInvited`]; [`Error::Invitation`] if it has expired; as [`Replica::sync_once`].
    pub async fn await_admission(&self, budget: Budget) -> Result<Joining, Error> {
        driver::knock(self, true, budget).await
    }

    /// How it stands with joining, without asking the relay; none if this device never asked.
    ///
    /// # Errors
    /// As [`Engine::joining`].
    pub async fn joining(&self) -> Result<Option<Joining>, Error> {
        self.run(Engine::joining).await
    }

    /// The relay's address, as an admission, an invitation or a sync named it.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn relay_url(&self) -> Result<Option<String>, Error> {
        self.run(|engine| Ok(engine.relay_memory().url)).await
    }

    /// The relay's key, once it has served this group or was named: for people to compare with what its operator says.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn relay_id(&self) -> Result<Option<RelayId>, Error> {
        self.run(|engine| Ok(engine.relay_memory().relay)).await
    }

    /// Lives of relays' stores that have ended, as this device noticed, the latest at the end: what each had vouched for, and
    /// how much of it was lacking after.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn earlier_lives(&self) -> Result<Vec<EarlierLife>, Error> {
        self.run(|engine| Ok(engine.relay_memory().earlier)).await
    }

    /// Takes the relay with this key, which its operator has named, and no other, for this group's.
    ///
    /// # Errors
    /// As [`Engine::expect_relay`].
    pub async fn expect_relay(&self, relay: RelayId) -> Result<(), Error> {
        self.run(move |engine| engine.expect_relay(relay)).await
    }

    /// Joins a group.
    ///
    /// # Errors
    /// As [`Engine::join`].
    pub async fn join(&self, admission: Admission) -> Result<GroupInfo, Error> {
        self.run(move |engine| engine.join(&admission)).await
    }

    /// Who this device is.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; [`Error::Removed`].
    pub async fn info(&self) -> Result<GroupInfo, Error> {
        self.run(|engine| engine.info()).await
    }

    /// Whether this device was taken out of its group, and by whose word; none if it belongs.
    ///
    /// # Errors
    /// As [`Engine::removal`].
    pub async fn removal(&self) -> Result<Option<RemovalNotice>, Error> {
        self.run(|engine| engine.removal()).await
    }

    /// Everybody who belongs.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub async fn roster(&self) -> Result<Vec<RosterRow>, Error> {
        self.run(Engine::roster).await
    }

    /// What each role can read and write, in plain words.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub async fn roles(&self) -> Result<Vec<RoleRow>, Error> {
        self.run(|engine| engine.roles()).await
    }

    /// What needs attention.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub async fn concerns(&self) -> Result<Vec<Concern>, Error> {
        self.run(Engine::concerns).await
    }

    /// Tells the coordinators who this member is.
    ///
    /// # Errors
    /// As [`Engine::set_card`].
    pub async fn set_card(&self, name: String, reach: String) -> Result<(), Error> {
        self.run(move |engine| engine.set_card(&name, &reach)).await
    }

    /// Names a device of this member's.
    ///
    /// # Errors
    /// As [`Engine::name_device`].
    pub async fn name_device(&self, device: DeviceId, name: String) -> Result<(), Error> {
        self.run(move |engine| engine.name_device(device, &name)).await
    }

    /// On a new device: asks to become one of `member`'s.
    ///
    /// # Errors
    /// As [`Engine::request_as_device_of`].
    pub async fn request_as_device_of(
        &self,
        group: GroupId,
        member: MemberId,
    ) -> Result<DeviceRequest, Error> {
        self.run(move |engine| engine.request_as_device_of(group, member)).await
    }

    /// Confirms a new device of this member's.
    ///
    /// # Errors
    /// As [`Engine::add_device`].
    pub async fn add_device(&self, request: DeviceRequest) -> Result<Admission, Error> {
        self.run(move |engine| engine.add_device(&request)).await
    }

    /// The member's key, to be written down.
    ///
    /// # Errors
    /// As [`Engine::recovery_code`].
    pub async fn recovery_code(&self, language: CodeLanguage) -> Result<RecoveryCode, Error> {
        self.run(move |engine| engine.recovery_code(language)).await
    }

    /// On a new device: takes over the member's key from its words.
    ///
    /// # Errors
    /// As [`Engine::use_recovery_code`].
    pub async fn use_recovery_code(&self, words: zeroize::Zeroizing<String>) -> Result<(), Error> {
        self.run(move |engine| engine.use_recovery_code(&words)).await
    }

    /// Takes a member or a device out.
    ///
    /// # Errors
    /// As [`Engine::remove`].
    pub async fn remove(&self, target: Target) -> Result<Decision, Error> {
        self.run(move |engine| engine.remove(target)).await
    }

    /// Gives a member another role.
    ///
    /// # Errors
    /// As [`Engine::change_role`].
    pub async fn change_role(&self, member: MemberId, role: RoleId) -> Result<(), Error> {
        self.run(move |engine| engine.change_role(member, role)).await
    }

    /// Removes a member and everybody whom they let in.
    ///
    /// # Errors
    /// As [`Engine::remove_with_admitted`].
    pub async fn remove_with_admitted(&self, member: MemberId) -> Result<Vec<(MemberId, Decision)>, Error> {
        self.run(move |engine| engine.remove_with_admitted(member)).await
    }

    /// Takes back what this member proposed.
    ///
    /// # Errors
    /// As [`Engine::withdraw_proposal`].
    pub async fn withdraw_proposal(&self, about: Proposed) -> Result<(), Error> {
        self.run(move |engine| engine.withdraw_proposal(about)).await
    }

    /// Lets a member who lost everything go on with a new device.
    ///
    /// # Errors
    /// As [`Engine::recover`].
    pub async fn recover(&self, member: MemberId, request: JoinRequest) -> Result<Decision, Error> {
        self.run(move |engine| engine.recover(member, &request)).await
    }

    /// Lets entries count that a removal cut off.
    ///
    /// # Errors
    /// As [`Engine::accept`].
    pub async fn accept(&self, entries: Vec<EntryHash>) -> Result<(), Error> {
        self.run(move |engine| engine.accept(&entries)).await
    }

    /// Sets what the group has agreed on. See [`settings`](super::settings).
    ///
    /// # Errors
    /// As [`Engine::set_policy`].
    pub async fn set_policy(&self, setting: u16, value: u64) -> Result<(), Error> {
        self.run(move |engine| engine.set_policy(setting, value)).await
    }
}
