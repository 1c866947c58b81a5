//! What an app does about who belongs: the same as the engine's, off the caller's thread.

use super::app::Replica;
use super::engine::Engine;
use super::error::Error;
use super::membership::{
    Admission, CodeLanguage, Concern, Decision, DeviceRequest, GroupInfo, JoinRequest, RecoveryCode, RoleRow,
    RosterRow,
};
use crate::base::{DeviceId, EntryHash, MemberId, RoleId};
use crate::roll::Target;

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
    pub async fn request(&self) -> Result<JoinRequest, Error> {
        self.run(|engine| engine.request()).await
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
    pub async fn request_as_device_of(&self, member: MemberId) -> Result<DeviceRequest, Error> {
        self.run(move |engine| engine.request_as_device_of(member)).await
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
