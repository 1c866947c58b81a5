//! Roles and compartments of a watch group, by number.
//!
//! The engine knows neither: it reads roles and compartments from the template in a group's founding entry. This is the
//! template that Lamppost puts there (section 5 of the protocol), so a change here reaches new groups only.
//! The roll is not a row: the engine brings it along.

use crate::base::RoleId;

/// Leads the group: reads and writes everything but referrals.
pub const ROLE_COORDINATOR: u8 = 1;
/// Watches and reports.
pub const ROLE_VOLUNTEER: u8 = 2;
/// The police officer the group works with: sees releases, never observations.
pub const ROLE_LIAISON: u8 = 3;
/// Health or social services: sees referrals addressed to them.
pub const ROLE_HEALTH_PARTNER: u8 = 4;
/// A local business: sees bulletins and its own commitments.
pub const ROLE_BUSINESS: u8 = 5;
/// Checks afterwards what was handed over.
pub const ROLE_AUDITOR: u8 = 6;

/// [`ROLE_COORDINATOR`], as an app names it when it admits somebody.
pub const COORDINATOR: RoleId = RoleId(ROLE_COORDINATOR);
/// [`ROLE_VOLUNTEER`], likewise.
pub const VOLUNTEER: RoleId = RoleId(ROLE_VOLUNTEER);
/// [`ROLE_LIAISON`], likewise.
pub const LIAISON: RoleId = RoleId(ROLE_LIAISON);
/// [`ROLE_HEALTH_PARTNER`], likewise.
pub const HEALTH_PARTNER: RoleId = RoleId(ROLE_HEALTH_PARTNER);
/// [`ROLE_BUSINESS`], likewise.
pub const BUSINESS: RoleId = RoleId(ROLE_BUSINESS);
/// [`ROLE_AUDITOR`], likewise.
pub const AUDITOR: RoleId = RoleId(ROLE_AUDITOR);

/// Membership, keys and policy; the relay reads it too.
pub const COMPARTMENT_ROLL: u8 = 0;
/// What every member may see.
pub const COMPARTMENT_COMMON: u8 = 1;
/// What volunteers and coordinators share.
pub const COMPARTMENT_GROUP: u8 = 2;
/// What only coordinators open; everybody may drop something into it.
pub const COMPARTMENT_COORDINATORS: u8 = 3;
/// What the liaison sees.
pub const COMPARTMENT_LIAISON: u8 = 4;
/// What the health partner sees.
pub const COMPARTMENT_REFERRAL: u8 = 5;
/// What the auditor checks: what was handed over, and complaints. Groups founded before it was added have none.
pub const COMPARTMENT_AUDIT: u8 = 6;

/// Every role.
pub(super) const EVERYONE: &[u8] =
    &[ROLE_COORDINATOR, ROLE_VOLUNTEER, ROLE_LIAISON, ROLE_HEALTH_PARTNER, ROLE_BUSINESS, ROLE_AUDITOR];

/// The same in the languages that people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// English.
    pub en: &'static str,
    /// Spanish.
    pub es: &'static str,
}

/// One compartment of the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateRow {
    /// Compartment id.
    pub compartment: u8,
    /// Its name.
    pub name: &'static str,
    /// What it holds, in plain words.
    pub holds: Words,
    /// Ids of the roles whose devices hold its key.
    pub readers: &'static [u8],
    /// Ids of the roles whose entries it takes.
    pub writers: &'static [u8],
}

/// The compartments of a new watch group, without the roll.
pub fn template_rows() -> &'static [TemplateRow] {
    &[
        TemplateRow {
            compartment: COMPARTMENT_COMMON,
            name: "common",
            holds: Words {
                en: "what became of reports, and what the whole group is told",
                es: "qué pasó con los informes y lo que se comunica a todo el grupo",
            },
            readers: EVERYONE,
            writers: &[ROLE_COORDINATOR, ROLE_LIAISON],
        },
        TemplateRow {
            compartment: COMPARTMENT_GROUP,
            name: "group",
            holds: Words {
                en: "reports with a blurred place, remarks and cases",
                es: "informes con un lugar aproximado, comentarios y casos",
            },
            readers: &[ROLE_COORDINATOR, ROLE_VOLUNTEER],
            writers: &[ROLE_COORDINATOR, ROLE_VOLUNTEER],
        },
        TemplateRow {
            compartment: COMPARTMENT_COORDINATORS,
            name: "coordinators",
            holds: Words {
                en: "exact places, plates, addresses and who is who",
                es: "lugares exactos, matrículas, direcciones y quién es quién",
            },
            readers: &[ROLE_COORDINATOR],
            writers: EVERYONE,
        },
        TemplateRow {
            compartment: COMPARTMENT_LIAISON,
            name: "liaison",
            holds: Words {
                en: "what was handed to the police liaison, and the answers",
                es: "lo que se entregó al enlace policial y sus respuestas",
            },
            readers: &[ROLE_COORDINATOR, ROLE_LIAISON, ROLE_AUDITOR],
            writers: &[ROLE_COORDINATOR, ROLE_LIAISON],
        },
        TemplateRow {
            compartment: COMPARTMENT_REFERRAL,
            name: "referral",
            holds: Words {
                en: "what health and social services are asked to help with",
                es: "aquello en que se pide ayuda a los servicios de salud y sociales",
            },
            readers: &[ROLE_HEALTH_PARTNER],
            writers: &[ROLE_COORDINATOR, ROLE_VOLUNTEER],
        },
        TemplateRow {
            compartment: COMPARTMENT_AUDIT,
            name: "audit",
            holds: Words {
                en: "what was handed over to whom and why, and complaints",
                es: "qué se entregó, a quién y por qué, y las quejas",
            },
            readers: &[ROLE_COORDINATOR, ROLE_AUDITOR],
            writers: EVERYONE,
        },
    ]
}

/// The name of a role, or none for an id this version does not know.
pub fn role_name(role: u8) -> Option<&'static str> {
    match role {
        ROLE_COORDINATOR => Some("coordinator"),
        ROLE_VOLUNTEER => Some("volunteer"),
        ROLE_LIAISON => Some("liaison"),
        ROLE_HEALTH_PARTNER => Some("health_partner"),
        ROLE_BUSINESS => Some("business"),
        ROLE_AUDITOR => Some("auditor"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> &'static TemplateRow {
        template_rows().iter().find(|row| row.name == name).unwrap()
    }

    #[test]
    fn the_template_is_the_table_of_the_protocol() {
        let table: Vec<String> = template_rows()
            .iter()
            .map(|row| {
                let names = |roles: &[u8]| {
                    let names: Vec<_> = roles.iter().map(|&r| role_name(r).unwrap()).collect();
                    names.join(",")
                };
                format!("{} {} <{} >{}", row.compartment, row.name, names(row.readers), names(row.writers))
            })
            .collect();
        let everyone = "coordinator,volunteer,liaison,health_partner,business,auditor";
        assert_eq!(
            table,
            [
                format!("1 common <{everyone} >coordinator,liaison"),
                "2 group <coordinator,volunteer >coordinator,volunteer".to_string(),
                format!("3 coordinators <coordinator >{everyone}"),
                "4 liaison <coordinator,liaison,auditor >coordinator,liaison".to_string(),
                "5 referral <health_partner >coordinator,volunteer".to_string(),
                format!("6 audit <coordinator,auditor >{everyone}"),
            ]
        );
    }

    #[test]
    fn the_liaison_reads_no_observation_and_no_referral() {
        for name in ["group", "coordinators", "referral", "audit"] {
            assert!(!row(name).readers.contains(&ROLE_LIAISON), "{name}");
        }
    }

    #[test]
    fn a_business_reads_nothing_but_the_common_room() {
        for row in template_rows() {
            assert_eq!(row.readers.contains(&ROLE_BUSINESS), row.name == "common", "{}", row.name);
        }
    }

    #[test]
    fn ids_and_names_are_unique_and_the_roll_is_no_row() {
        let rows = template_rows();
        for (i, row) in rows.iter().enumerate() {
            assert_ne!(row.compartment, COMPARTMENT_ROLL);
            for other in rows.iter().skip(i + 1) {
                assert_ne!(row.compartment, other.compartment);
                assert_ne!(row.name, other.name);
            }
        }
        assert_eq!(role_name(0), None);
        assert_eq!(role_name(7), None);
    }
}
