//! Who a member is, for the coordinators alone: everybody else sees a pseudonym.

use std::collections::BTreeMap;

use super::check::{Invalid, check_count};
use super::content::{Summary, WatchDocument};
use super::kinds::Kind;
use super::text;
use autosurgeon::{Hydrate, Reconcile};

/// Characters of a name, of a way to reach somebody, of a device's name.
pub const LINE_CHARS_MAX: usize = 80;

/// Named devices on one card: as many as a member may have.
pub const DEVICES_COUNT_MAX: usize = crate::base::limits::DEVICES_MAX;

/// What a member tells the coordinators about themselves. Each member has one.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct IdentityCard {
    /// What they want to be called.
    #[autosurgeon(missing = "Default::default")]
    pub name: String,
    /// How to reach them: a phone number, an address, a door.
    #[autosurgeon(missing = "Default::default")]
    pub reach: String,
    /// Names of their devices, by the device's id as text.
    #[autosurgeon(missing = "Default::default")]
    pub devices: BTreeMap<String, String>,
}

impl IdentityCard {
    /// Judges the member's own input.
    ///
    /// # Errors
    /// When the name is missing, a line is too long or more than a line, or more devices are named than one may have.
    pub fn validate(&self) -> Result<(), Invalid> {
        text::check_required_line("name", &self.name, LINE_CHARS_MAX)?;
        text::check_line("reach", &self.reach, LINE_CHARS_MAX)?;
        check_count("devices", self.devices.len(), DEVICES_COUNT_MAX)?;
        self.devices.values().try_for_each(|name| text::check_line("devices", name, LINE_CHARS_MAX))
    }
}

impl WatchDocument for IdentityCard {
    const KIND: Kind = Kind::IDENTITY_CARD;
    const MADE_BY: Option<&str> = Some("set_card");

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn summary(&self) -> Summary {
        Summary { title: self.name.clone(), text: self.reach.clone(), ..Summary::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::{keeps_what_it_does_not_know, stored};
    use proptest::prelude::*;

    fn card() -> IdentityCard {
        let devices = BTreeMap::from([("ab12".to_owned(), "old phone".to_owned())]);
        IdentityCard { name: "M.".into(), reach: "door 4".into(), devices }
    }

    #[test]
    fn refusals_name_the_field() {
        let refused = |edit: fn(&mut IdentityCard)| {
            let mut card = card();
            edit(&mut card);
            card.validate().unwrap_err().field
        };
        assert_eq!(card().validate(), Ok(()));
        assert_eq!(refused(|c| c.name.clear()), "name");
        assert_eq!(refused(|c| c.name = "a\nb".into()), "name");
        assert_eq!(refused(|c| c.reach = "x".repeat(81)), "reach");
        assert_eq!(
            refused(|c| c.devices = (0..17).map(|n| (n.to_string(), "x".into())).collect()),
            "devices"
        );
        assert_eq!(refused(|c| c.devices = [("a".into(), "\u{202E}".into())].into()), "devices");
    }

    #[test]
    fn unknown_fields_survive() {
        assert!(keeps_what_it_does_not_know(&card()));
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(name: String, reach: String, devices: BTreeMap<String, String>) {
            let card = IdentityCard { name, reach, devices };
            prop_assert_eq!(stored(&card), card);
        }
    }
}
