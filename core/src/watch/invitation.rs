//! An invitation as the coordinators keep it, so that each of their devices can judge who comes with it.
//!
//! Who made it is its author. Whether it is used up, the roll says.

use super::check::{Invalid, check_hex, check_time};
use super::content::{Summary, WatchDocument};
use super::kinds::Kind;
use super::roles::role_name;
use autosurgeon::{Hydrate, Reconcile};

/// One invitation.
#[derive(Clone, Default, PartialEq, Hydrate, Reconcile)]
pub struct InvitationRecord {
    /// The one-time secret, as lower-case hex of 16 bytes.
    #[autosurgeon(missing = "Default::default")]
    pub secret: String,
    /// Id of the role it leads to.
    #[autosurgeon(missing = "Default::default")]
    pub role: u8,
    /// Until when, in milliseconds since the Unix epoch.
    #[autosurgeon(missing = "Default::default")]
    pub expiry_ms: i64,
}

impl InvitationRecord {
    /// Judges the coordinator's own input.
    ///
    /// # Errors
    /// When the secret is not 16 bytes, the role none of a watch group, or the time not stated.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_hex("secret", &self.secret)?;
        if self.secret.len() != 32 {
            return Err(Invalid::new("secret", "does not have 16 bytes", "draw a new one"));
        }
        if role_name(self.role).is_none() {
            return Err(Invalid::new(
                "role",
                "is not a role of a watch group",
                "choose what the invited person is to be",
            ));
        }
        check_time("expiry_ms", self.expiry_ms)
    }
}

/// Without the secret: what is printed ends up in logs.
impl std::fmt::Debug for InvitationRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvitationRecord")
            .field("role", &self.role)
            .field("expiry_ms", &self.expiry_ms)
            .finish_non_exhaustive()
    }
}

impl WatchDocument for InvitationRecord {
    const KIND: Kind = Kind::INVITATION;
    const MADE_BY: Option<&str> = Some("invite");

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn summary(&self) -> Summary {
        Summary {
            title: "invitation".to_owned(),
            codes: role_name(self.role).map(str::to_owned).into_iter().collect(),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::roles::ROLE_VOLUNTEER;
    use crate::watch::testing::{keeps_what_it_does_not_know, stored};
    use proptest::prelude::*;

    fn invitation() -> InvitationRecord {
        InvitationRecord { secret: "0f".repeat(16), role: ROLE_VOLUNTEER, expiry_ms: 1_767_225_600_000 }
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(invitation().validate(), Ok(()));
        let refused = |edit: fn(&mut InvitationRecord)| {
            let mut invitation = invitation();
            edit(&mut invitation);
            invitation.validate().unwrap_err().field
        };
        assert_eq!(refused(|i| i.secret.clear()), "secret");
        assert_eq!(refused(|i| i.secret = "0f".repeat(17)), "secret");
        assert_eq!(refused(|i| i.role = 0), "role");
        assert_eq!(refused(|i| i.expiry_ms = 0), "expiry_ms");
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert!(!format!("{:?}", invitation()).contains("0f0f"));
    }

    #[test]
    fn unknown_fields_survive() {
        assert!(keeps_what_it_does_not_know(&invitation()));
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(secret: String, role: u8, expiry_ms: i64) {
            let invitation = InvitationRecord { secret, role, expiry_ms };
            prop_assert_eq!(stored(&invitation), invitation);
        }
    }
}
