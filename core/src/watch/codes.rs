//! The code lists, as versioned data files that ship inside the program.
//!
//! An entry is never taken out of a file and its code never changes its meaning: a code that should not be chosen any
//! more is marked `retired`, so that an old report stays readable and can still be amended. A code that is in no file
//! came from a newer version and is shown as it is.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A code list with its version.
#[derive(Debug)]
pub struct Catalogue {
    file: File,
    index_by_code: BTreeMap<String, usize>,
}

/// One code with its labels.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The code as it is stored.
    pub code: String,
    /// English label.
    pub en: String,
    /// Spanish label.
    pub es: String,
    /// NIBRS drug type this code is reported as, if it is not one itself.
    #[serde(default)]
    pub nibrs: Option<String>,
    /// Legal classes, by jurisdiction and date.
    #[serde(default)]
    pub schedules: Vec<Schedule>,
    /// For a behaviour: a key of `codes/behaviour_families.json`.
    #[serde(default)]
    pub family: Option<String>,
    /// Whether the code is kept only for old reports.
    #[serde(default)]
    pub retired: bool,
}

/// A legal class from a day on. It is not a measure of severity: never sort by it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Whose law it is, such as `US federal`.
    pub jurisdiction: String,
    /// `I` to `V`; empty where a later day took the substance out.
    pub class: String,
    /// First day, as `YYYY-MM-DD`.
    pub since: String,
}

impl Entry {
    /// The legal class in a jurisdiction on a day given as `YYYY-MM-DD`; none if it had none.
    pub fn schedule(&self, jurisdiction: &str, day: &str) -> Option<&str> {
        let known =
            self.schedules.iter().filter(|s| s.jurisdiction == jurisdiction && s.since.as_str() <= day);
        known.max_by_key(|s| &s.since).map(|s| s.class.as_str()).filter(|class| !class.is_empty())
    }

    /// The label in a language given as a BCP 47 tag (`es`, `es-MX`); English if there is none.
    pub fn label(&self, lang: &str) -> &str {
        let primary = lang.split(['-', '_']).next().unwrap_or(lang);
        if primary.eq_ignore_ascii_case("es") { &self.es } else { &self.en }
    }
}

impl Catalogue {
    /// Name, such as `substances`.
    pub fn name(&self) -> &str {
        &self.file.catalogue
    }

    /// Version as year and month, such as `2026-01`.
    pub fn version(&self) -> &str {
        &self.file.version
    }

    /// Where the codes come from.
    pub fn source(&self) -> &str {
        &self.file.source
    }

    /// Name and version in one, such as `substances@2026-01`: what a report keeps beside a code.
    pub fn reference(&self) -> String {
        format!("{}@{}", self.name(), self.version())
    }

    /// Every entry in the order to show them.
    pub fn entries(&self) -> &[Entry] {
        &self.file.entries
    }

    /// The entry of a code.
    pub fn get(&self, code: &str) -> Option<&Entry> {
        self.index_by_code.get(code).and_then(|&index| self.file.entries.get(index))
    }

    /// Whether this version knows the code.
    pub fn contains(&self, code: &str) -> bool {
        self.index_by_code.contains_key(code)
    }

    /// The label of a code; of a code this version does not know, the code itself.
    pub fn label<'a>(&'a self, code: &'a str, lang: &str) -> &'a str {
        self.get(code).map_or(code, |entry| entry.label(lang))
    }
}

/// One embedded file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    catalogue: String,
    version: String,
    source: String,
    entries: Vec<Entry>,
}

/// Writes one public function per embedded file, each parsing it once, and `all` over the whole of them.
macro_rules! catalogues {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        $(
            $(#[$doc])+
            pub fn $name() -> &'static Catalogue {
                static PARSED: OnceLock<Catalogue> = OnceLock::new();
                PARSED.get_or_init(|| {
                    parse(include_str!(concat!("codes/", stringify!($name), ".json")))
                })
            }
        )+

        /// Every catalogue of this version.
        pub fn all() -> Vec<&'static Catalogue> {
            vec![$($name()),+]
        }
    };
}

catalogues! {
    /// What was done: Lamppost's own list of behaviours. No status cues, no descriptions of persons.
    behaviours,
    /// What the reports of one event may disagree about.
    facts,
    /// Families of behaviours: what one event may be called by different people.
    behaviour_families,
    /// NIBRS type of criminal activity, the letters that apply to drug offences.
    nibrs_activity,
    /// NIBRS location type, two digits.
    nibrs_location,
    /// NIBRS suspected drug type, with a local `fentanyl` that is reported as `H`.
    nibrs_drug,
    /// Substances by everyday name, with their NIBRS drug type and examples of legal schedules; `unknown` is the default.
    substances,
    /// NIBRS type of drug measurement.
    units,
    /// Where the observer stood.
    vantage,
    /// How the observer knows.
    basis,
    /// Circumstances a coordinator should see first.
    flags,
    /// What a coordinator did with an observation.
    annotation_status,
    /// Where a release stands with the liaison.
    response_status,
    /// What became of a release.
    outcome,
    /// How exact a stated time is.
    precision,
    /// Audiences an author may allow a report to be passed to.
    consent,
    /// How an exact position was found.
    position_method,
    /// NIBRS offence that a report may hint at.
    offence_hint,
    /// What a coordinator says to a liaison's request.
    decision,
    /// What an author does to something already sent.
    correction,
    /// Why a reporter contests an outcome.
    contest,
    /// Why a release is recalled.
    recall,
    /// Stages of a problem, in order (SARA).
    problem_stage,
    /// Kinds of response to a problem.
    response_type,
    /// What became of a problem elsewhere.
    displacement,
    /// Where an agreed action stands.
    action_status,
    /// What a bulletin is about.
    bulletin_category,
    /// Services that people are shown or referred to.
    services,
    /// Who works with the group.
    partner_kind,
    /// What a youth session did.
    youth_activity,
    /// Age bands of youth sessions.
    age_band,
    /// What a business commits itself to.
    commitment,
    /// Where a business's commitment stands.
    commitment_status,
    /// What a complaint is about.
    complaint,
    /// How soon somebody who is referred should be reached.
    urgency,
    /// Who consents to a referral.
    consent_giver,
}

/// The family of a behaviour: a key of [`behaviour_families`]. One that this version does not know is a family by itself.
pub fn family(behaviour: &str) -> &str {
    behaviours().get(behaviour).and_then(|entry| entry.family.as_deref()).unwrap_or(behaviour)
}

fn parse(json: &str) -> Catalogue {
    #[expect(clippy::expect_used, reason = "the files are part of the program, and a test parses each")]
    let file: File = serde_json::from_str(json)
        .expect("this works because the file is embedded and a test parses every one of them");
    let index_by_code =
        file.entries.iter().enumerate().map(|(index, entry)| (entry.code.clone(), index)).collect();
    Catalogue { file, index_by_code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_loaded_under_its_own_name() {
        let mut files: Vec<String> =
            std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/watch/codes"))
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
        files.sort();
        let mut loaded: Vec<String> = all().iter().map(|c| format!("{}.json", c.name())).collect();
        loaded.sort();
        assert_eq!(loaded, files);
    }

    #[test]
    fn files_are_complete_and_hold_no_code_twice() {
        for catalogue in all() {
            let name = catalogue.name();
            assert!(!catalogue.source().is_empty(), "{name}");
            assert!(!catalogue.entries().is_empty(), "{name}");
            assert_eq!(catalogue.index_by_code.len(), catalogue.entries().len(), "{name}");
            let (year, month) = catalogue.version().split_once('-').unwrap();
            assert!(year.len() == 4 && month.len() == 2, "{name}");
            for entry in catalogue.entries() {
                for text in [&entry.code, &entry.en, &entry.es] {
                    assert!(!text.trim().is_empty(), "{name}: {entry:?}");
                }
                let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
                assert!(entry.code.bytes().all(plain), "{name}: {entry:?}");
            }
        }
    }

    #[test]
    fn nibrs_lists_hold_the_codes_of_the_manual() {
        let codes = |c: &Catalogue| {
            let codes: Vec<&str> = c.entries().iter().map(|e| e.code.as_str()).collect();
            codes.join(" ")
        };
        assert_eq!(codes(nibrs_activity()), "B C D E O P T U");
        assert_eq!(codes(offence_hint()), "35A 35B 13C");
        assert_eq!(codes(nibrs_drug()), "A B C D E F G H I J K L M N O P U X fentanyl");
        assert_eq!(codes(units()), "DU FO GL GM KG LB LT ML NP OZ XX");
        assert_eq!(
            codes(nibrs_location()),
            "01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20 21 23 24 25 37 38 39 40 41 42 44 45 46 47 \
             48 49 50 51 52 53 54 55 56 57 58"
        );
    }

    #[test]
    fn every_substance_is_reported_as_a_nibrs_drug_type() {
        for entry in substances().entries() {
            let nibrs = entry.nibrs.as_deref().unwrap();
            assert!(nibrs.len() == 1 && nibrs_drug().contains(nibrs), "{entry:?}");
        }
        assert_eq!(substances().get("fentanyl").unwrap().nibrs.as_deref(), Some("H"));
        assert_eq!(nibrs_drug().get("fentanyl").unwrap().nibrs.as_deref(), Some("H"));
    }

    #[test]
    fn every_behaviour_belongs_to_a_family() {
        for entry in behaviours().entries() {
            assert!(behaviour_families().contains(entry.family.as_deref().unwrap()), "{entry:?}");
        }
        assert_eq!(family("vehicle_window_exchange"), "dealing");
        assert_eq!(family("of_a_later_version"), "of_a_later_version");
    }

    #[test]
    fn unknown_is_the_first_substance_and_has_no_schedule() {
        let first = substances().entries().first().unwrap();
        assert_eq!((first.code.as_str(), first.schedules.len()), ("unknown", 0));
        for schedule in substances().entries().iter().flat_map(|entry| &entry.schedules) {
            assert!(["I", "II", "III", "IV", "V"].contains(&schedule.class.as_str()), "{schedule:?}");
            let digits = schedule.since.split('-').map(|part| part.parse::<u32>().unwrap());
            let date: Vec<u32> = digits.collect();
            assert!(schedule.since.len() == 10 && date.len() == 3 && date[0] >= 1971, "{schedule:?}");
        }
    }

    #[test]
    fn a_schedule_holds_in_its_jurisdiction_from_its_day_on() {
        let ketamine = substances().get("ketamine").unwrap();
        assert_eq!(ketamine.schedule("US federal", "1999-08-11"), None);
        assert_eq!(ketamine.schedule("US federal", "1999-08-12"), Some("III"));
        assert_eq!(ketamine.schedule("Elsewhere", "2026-01-01"), None);
        let mut freed = ketamine.clone();
        let since = "2030-01-01".to_owned();
        freed.schedules.push(Schedule { jurisdiction: "US federal".into(), class: String::new(), since });
        assert_eq!(freed.schedule("US federal", "2029-12-31"), Some("III"));
        assert_eq!(freed.schedule("US federal", "2030-01-01"), None);
    }

    #[test]
    fn labels_follow_the_language_and_fall_back() {
        assert_eq!(basis().label("saw", "en"), "Saw it");
        assert_eq!(basis().label("saw", "es"), "Lo vi");
        assert_eq!(basis().label("saw", "es-MX"), "Lo vi");
        assert_eq!(basis().label("saw", "ES_mx"), "Lo vi");
        assert_eq!(basis().label("saw", "fr"), "Saw it");
        assert_eq!(basis().label("saw", ""), "Saw it");
        assert_eq!(basis().label("telepathy", "es"), "telepathy");
    }

    #[test]
    fn a_catalogue_is_parsed_once_and_names_its_version() {
        assert!(std::ptr::eq(outcome(), outcome()));
        assert_eq!(substances().reference(), "substances@2026-01");
    }

    #[test]
    fn a_misspelt_key_in_a_file_is_noticed() {
        let json = r#"{"catalogue":"x","version":"2026-01","source":"s",
            "entries":[{"code":"a","en":"a","es":"a","shedules":[]}]}"#;
        assert!(serde_json::from_str::<File>(json).is_err());
    }
}
