//! What a city's offence type says in the words of an observation.
//!
//! The types are read by their parts (`drug-cocaine-sell`), not by a list, so that a type of another year is
//! understood as well. The rules claim no more than the type does: what fits no behaviour is a `place_condition`.

/// An offence type, translated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offence {
    /// Key of the behaviour catalogue.
    pub behaviour: &'static str,
    /// NIBRS activity code.
    pub activity: Option<&'static str>,
    /// Key of the substance catalogue.
    pub substance: Option<&'static str>,
    /// Key of the flag catalogue.
    pub flag: Option<&'static str>,
    /// NIBRS location code, where the type names one.
    pub location: Option<&'static str>,
    /// The type as a person would say it.
    pub words: String,
    /// Whether the type itself would hurt the person it happened to: then only coordinators read it.
    pub discreet: bool,
}

/// Part of a drug type, substance code, and the substance in words.
const SUBSTANCES: &[(&str, &str, &str)] = &[
    ("crack", "crack", "crack cocaine"),
    ("cocaine", "cocaine", "cocaine"),
    ("fentanyl", "fentanyl", "fentanyl"),
    ("heroin", "heroin", "heroin"),
    ("marijuana", "cannabis", "marijuana"),
    // The source file really spells it so.
    ("methampetamine", "methamphetamine", "methamphetamine"),
    ("methamphetamine", "methamphetamine", "methamphetamine"),
    ("hallucinogen", "other_hallucinogen", "a hallucinogen"),
    ("synth-narcotic", "other_narcotic", "a synthetic narcotic"),
    ("opium", "opium", "opium or a derivative"),
    ("barbiturate", "barbiturates", "a barbiturate"),
    ("pcs-other-drug", "other", "another controlled drug"),
    ("other-drug", "other", "another controlled drug"),
];

/// End of a drug type, behaviour, NIBRS activity code, and the activity in words.
const ACTIVITIES: &[(&str, &str, &str, &str)] = &[
    ("-sell", "offer_to_sell", "D", "selling"),
    ("-possess", "substance_found", "P", "possessing"),
    ("-cultivation", "substance_found", "C", "growing"),
    ("-mfr", "substance_found", "C", "making"),
    ("-to-obtain", "place_condition", "B", "fraud to obtain"),
];

/// Part of any other type, behaviour, and flag. The first that fits counts.
const BEHAVIOURS: &[(&str, &str, Option<&str>)] = &[
    ("traf", "place_condition", None),
    ("weap", "weapon_seen", Some("weapon")),
    ("disarming", "weapon_seen", Some("weapon")),
    ("assault", "threat", None),
    ("aslt", "threat", None),
    ("threat", "threat", None),
    ("harass", "threat", None),
    ("intimidat", "threat", None),
    ("extort", "threat", None),
    ("robbery", "threat", None),
    ("kidnap", "threat", None),
    ("imprisonment", "threat", None),
    ("fighting", "threat", None),
    ("restraining-order", "threat", None),
    ("homicide", "threat", None),
    ("curfew", "place_condition", Some("minors")),
];

/// Part of a type, and the NIBRS location it names.
const LOCATIONS: &[(&str, &str)] = &[
    ("-bank", "02"),
    ("prison", "15"),
    ("residence", "20"),
    ("-resd", "20"),
    ("-street", "13"),
    ("traf", "13"),
    ("vehicular", "13"),
];

/// Parts of types that concern somebody's body, home or childhood.
const DISCREET: &[&str] = &[
    "-dv",
    "sex",
    "rape",
    "fondle",
    "indecent",
    "obscene",
    "peeping",
    "homicide",
    "kidnap",
    "custody",
    "curfew",
    "prostitution",
];

/// The city's abbreviations, spelled out.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("agg", "aggravated"),
    ("aslt", "assault"),
    ("bldg", "building"),
    ("burg", "burglary"),
    ("busn", "business"),
    ("const", "construction"),
    ("dui", "under the influence of alcohol"),
    ("duid", "or drugs"),
    ("enviornment", "environment"),
    ("eqpt", "equipment"),
    ("ftd", "financial device"),
    ("govt", "government"),
    ("inst", "instrument"),
    ("mtr", "motor"),
    ("nsf", "bad check or"),
    ("obj", "object"),
    ("occ", "occupied"),
    ("poss", "possession"),
    ("powpo", "person barred from weapons"),
    ("prev", "previous"),
    ("resd", "residence"),
    ("stln", "stolen"),
    ("traf", "traffic"),
    ("unauth", "unauthorized"),
    ("veh", "vehicle"),
    ("viol", "violation"),
    ("w", "with"),
    ("weap", "weapon"),
];

/// Translates one offence type of one category.
pub(super) fn translate(kind: &str, category: &str) -> Offence {
    let kind = kind.to_ascii_lowercase();
    if kind.starts_with("drug-") {
        return drug(&kind);
    }
    let (behaviour, flag) = if category.eq_ignore_ascii_case("drug-alcohol") {
        // Alcohol: a substance, but none of the drug catalogue, and the drug activities do not apply to it.
        let sold = kind.ends_with("-sell");
        (if sold { "offer_to_sell" } else { "substance_found" }, None)
    } else {
        BEHAVIOURS
            .iter()
            .find(|(part, ..)| kind.contains(part))
            .map_or(("place_condition", None), |&(_, behaviour, flag)| (behaviour, flag))
    };
    Offence {
        behaviour,
        activity: None,
        substance: None,
        flag,
        location: LOCATIONS.iter().find(|(part, _)| kind.contains(part)).map(|&(_, code)| code),
        words: spell_out(&kind),
        discreet: DISCREET.iter().any(|part| kind.contains(part)),
    }
}

fn drug(kind: &str) -> Offence {
    let substance = SUBSTANCES.iter().find(|(part, ..)| kind.contains(part));
    let activity = ACTIVITIES.iter().find(|(end, ..)| kind.ends_with(end));
    let in_words = substance.map_or("a drug", |&(_, _, words)| words);
    let (behaviour, code, words) = if kind.contains("paraphernalia") {
        ("paraphernalia_found", "P", "possessing drug equipment".to_owned())
    } else if let Some(&(_, behaviour, code, verb)) = activity {
        (behaviour, code, format!("{verb} {in_words}"))
    } else if let Some(&(_, _, words)) = substance {
        // `drug-pcs-other-drug` names no act; the P of `pcs` is possession.
        ("substance_found", "P", format!("possessing {words}"))
    } else {
        return Offence {
            behaviour: "substance_found",
            activity: None,
            substance: Some("unknown"),
            flag: None,
            location: None,
            words: spell_out(kind),
            discreet: false,
        };
    };
    Offence {
        behaviour,
        activity: Some(code),
        // Equipment alone says nothing about what it was for.
        substance: (behaviour != "paraphernalia_found")
            .then(|| substance.map_or("unknown", |&(_, code, _)| code)),
        flag: None,
        location: None,
        words,
        discreet: false,
    }
}

/// `weapon-unlawful-discharge-of` as `unlawful discharge of weapon`.
fn spell_out(kind: &str) -> String {
    let mut words: Vec<_> = kind
        .split('-')
        .filter(|part| !part.is_empty())
        .map(|part| ABBREVIATIONS.iter().find(|(short, _)| *short == part).map_or(part, |&(_, long)| long))
        .collect();
    // The city files by topic; what ends in a preposition continues with its first word.
    if words.len() > 1 && words.last().is_some_and(|last| matches!(*last, "of" | "in" | "to")) {
        words.rotate_left(1);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drug_types_name_substance_and_activity() {
        for (kind, behaviour, activity, substance, words) in [
            ("drug-cocaine-sell", "offer_to_sell", "D", "cocaine", "selling cocaine"),
            ("drug-heroin-possess", "substance_found", "P", "heroin", "possessing heroin"),
            ("drug-methampetamine-sell", "offer_to_sell", "D", "methamphetamine", "selling methamphetamine"),
            ("drug-methamphetamine-mfr", "substance_found", "C", "methamphetamine", "making methamphetamine"),
            ("drug-marijuana-cultivation", "substance_found", "C", "cannabis", "growing marijuana"),
            (
                "drug-synth-narcotic-sell",
                "offer_to_sell",
                "D",
                "other_narcotic",
                "selling a synthetic narcotic",
            ),
            (
                "drug-hallucinogen-possess",
                "substance_found",
                "P",
                "other_hallucinogen",
                "possessing a hallucinogen",
            ),
            ("drug-pcs-other-drug", "substance_found", "P", "other", "possessing another controlled drug"),
            ("drug-fraud-to-obtain", "place_condition", "B", "unknown", "fraud to obtain a drug"),
        ] {
            let offence = translate(kind, "drug-alcohol");
            assert_eq!(offence.behaviour, behaviour, "{kind}");
            assert_eq!(offence.activity, Some(activity), "{kind}");
            assert_eq!(offence.substance, Some(substance), "{kind}");
            assert_eq!(offence.words, words, "{kind}");
        }
    }

    #[test]
    fn equipment_and_alcohol_name_no_substance() {
        let equipment = translate("drug-poss-paraphernalia", "drug-alcohol");
        assert_eq!(equipment.behaviour, "paraphernalia_found");
        assert_eq!((equipment.activity, equipment.substance), (Some("P"), None));
        let alcohol = translate("liquor-sell", "drug-alcohol");
        assert_eq!(alcohol.behaviour, "offer_to_sell");
        assert_eq!((alcohol.activity, alcohol.substance), (None, None));
    }

    #[test]
    fn other_types_claim_no_more_than_they_say() {
        let weapon = translate("weapon-fire-into-occ-bldg", "aggravated-assault");
        assert_eq!((weapon.behaviour, weapon.flag), ("weapon_seen", Some("weapon")));
        assert_eq!(weapon.words, "weapon fire into occupied building");
        assert_eq!(translate("animal-cruelty-to", "x").words, "cruelty to animal");
        assert_eq!(translate("threats-to-injure", "public-disorder").behaviour, "threat");
        assert_eq!(translate("traf-vehicular-assault", "all-other-crimes").behaviour, "place_condition");
        assert_eq!(translate("burglary-residence-by-force", "burglary").location, Some("20"));
        assert_eq!(translate("a-type-of-the-future", "x").behaviour, "place_condition");
        assert!(translate("assault-dv", "x").discreet);
        assert!(!translate("theft-bicycle", "larceny").discreet);
    }
}
