//! A member's devices: a second one, and a new one in place of a store that went back in time.

use std::sync::Arc;

use minicbor::bytes::ByteVec;

use super::Admission;
use super::keys::KeyPlan;
use crate::base::{GroupId, MemberId};
use crate::entry::{Possession, Scope};
use crate::replica::disk::META;
use crate::replica::engine::{Engine, RECOVERED};
use crate::replica::error::Error;
use crate::replica::identity::Identity;
use crate::roll::Operation;
use crate::roll::operation::Certification;

/// A new device's word that it is a certain member's: for that member's other device to confirm. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest(Vec<u8>);

impl DeviceRequest {
    /// The bytes to hand to the member's other device.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes bytes that a device handed over. They are checked when it is confirmed.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Engine {
    /// On the new device: asks to become one of `member`'s in `group`. Both are shown by that member's other device.
    ///
    /// # Errors
    /// [`Error::HasGroup`] if it belongs to a group already; errors of the store.
    pub fn request_as_device_of(&mut self, group: GroupId, member: MemberId) -> Result<DeviceRequest, Error> {
        self.must_be_free()?;
        if self.identity.secrets()?.member.is_some() {
            // It is somebody's from now on: a member's key of its own would make it somebody else's too.
            let identity = Identity::draw(&mut self.rng, None);
            self.transact(|engine, batch| {
                engine.become_device(batch, identity)?;
                batch.delete(META, RECOVERED);
                Ok(())
            })?;
        }
        let possession = self.identity.possession(member, Scope::group(group))?;
        Ok(DeviceRequest(possession.as_bytes().to_vec()))
    }

    /// On the device that holds the member's key: confirms a new device and hands it the keys. It belongs from now on.
    ///
    /// # Errors
    /// [`Error::KeyElsewhere`] if the member's key is on another device; [`Error::Admission`] if the request is not
    /// genuine, or for another member or group; errors of the store.
    pub fn add_device(&mut self, request: &DeviceRequest) -> Result<Admission, Error> {
        let scope = Scope::group(self.fresh()?.roll.group());
        let refuse = |why: &dyn std::fmt::Display| Error::Admission(why.to_string());
        let possession = Possession::verify(&request.0, scope)
            .map_err(|e| Error::of_certificate("a device's request", e))?;
        let member = self.identity.secrets()?.member.clone().ok_or(Error::KeyElsewhere)?;
        let certificate =
            possession.certify(&member).ok_or_else(|| refuse(&"the device asks for another member"))?;
        let claims = *certificate.claims();
        let state = Arc::clone(self.state()?);
        state.device(self.device_id()).ok_or(Error::Removed)?;
        if state.devices_ever().any(|(device, _)| device == claims.device) {
            let why = "this device has belonged before: if it still does, hand it an admission; else install the app anew";
            return Err(refuse(&why));
        }
        let mut plan = KeyPlan::default();
        self.share_keys(&mut plan, &state, (claims.device, claims.agreement))?;
        self.transact(|engine, batch| {
            let certificate = ByteVec::from(certificate.as_bytes().to_vec());
            engine
                .append_with_keys(batch, plan, |keys| Operation::Certify(Certification { certificate, keys }))
        })?;
        self.admission()
    }
}
