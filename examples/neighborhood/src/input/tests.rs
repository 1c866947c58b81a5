//! The inputs, from the outside: the bundled sample, broken rows, and files of no known kind.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const HEADER: &str = "INCIDENT_ID,OFFENSE_ID,OFFENSE_CODE,OFFENSE_CODE_EXTENSION,OFFENSE_TYPE_ID,\
    OFFENSE_CATEGORY_ID,FIRST_OCCURRENCE_DATE,LAST_OCCURRENCE_DATE,REPORTED_DATE,INCIDENT_ADDRESS,GEO_X,GEO_Y,\
    GEO_LON,GEO_LAT,DISTRICT_ID,PRECINCT_ID,NEIGHBORHOOD_ID,IS_CRIME,IS_TRAFFIC\n";

const GOOD: &str = "77,77353000,3530,0,drug-cocaine-sell,drug-alcohol,7/4/2017 11:31:00 PM,7/5/2017 12:10:00 AM,\
    7/6/2017 9:00:00 AM,14 INVENTED ROW,3193983,1707251,-104.80988110,39.773188,5,521,five-points,1,0\n";

fn csv_with(rows: &[&str]) -> Loaded {
    let text = format!("{HEADER}{}", rows.concat());
    parse(text.as_bytes(), false, 0).unwrap()
}

fn geojson_with(features: &str) -> Loaded {
    let text = format!("{{\"type\": \"FeatureCollection\", \"features\": [\n{features}\n]}}");
    parse(text.as_bytes(), true, 1_700_000_000_000).unwrap()
}

fn public_text(report: &Report) -> String {
    let mut observation = report.observation.clone();
    observation.what_happened.push('\n');
    observation.what_happened.push_str(&report.comment);
    format!("{observation:?}").to_lowercase()
}

#[test]
fn the_sample_loads_whole() {
    let loaded = sample();
    assert_eq!(loaded.refused, []);
    assert!(loaded.reports.len() >= 60, "{}", loaded.reports.len());
    let texts: BTreeSet<_> = loaded.reports.iter().map(|r| &r.observation.what_happened).collect();
    assert_eq!(texts.len(), loaded.reports.len(), "each description is its own");
    let comments: BTreeSet<_> = loaded.reports.iter().map(|r| &r.comment).collect();
    assert_eq!(comments.len(), loaded.reports.len(), "each amendment is its own");
}

/// The sample is honest, and its authors knew no rules: none of it is held, and little is asked about.
#[test]
fn the_bias_guard_lets_the_sample_pass() {
    use lamppost_core::watch::guard::{Place, Verdict, judge};

    let reports = sample().reports;
    let asked = reports
        .iter()
        .filter(|report| judge(&report.observation.what_happened, Place::Report) != Verdict::Pass);
    assert!(asked.count() <= 2);
    let held = include_str!("../../data/lanternfield.geojson")
        .replace("The street lamp by the row of mailboxes has been out for at least four nights.", "")
        .replace("The whole bend is black and people cross to the other side.", "Two black men in hoodies.");
    let loaded = parse(held.as_bytes(), true, 0).unwrap();
    assert_eq!(loaded.reports.len() + 1, reports.len());
    assert!(loaded.refused[0].what.contains("What happened?"), "{:?}", loaded.refused);
}

#[test]
fn the_sample_uses_known_codes_only() {
    let known = |list: &str, code: &str| assert!(list.split(' ').any(|known| known == code), "`{code}`");
    let mut behaviours = BTreeSet::new();
    for report in sample().reports {
        let o = &report.observation;
        known("minute hour day", &o.when.precision);
        known("public_way own_property workplace invited camera told", &o.vantage);
        known("saw heard smelled told", &o.basis);
        known(
            "01 02 03 04 05 06 07 09 10 11 12 13 14 16 17 18 19 20 21 23 24 37 40 48 50 53 57",
            &o.location,
        );
        o.flags.iter().for_each(|code| known("in_progress weapon minors overdose", code));
        o.activity.iter().for_each(|code| known("B C D E O P T U", code));
        o.consent.iter().for_each(|code| known("liaison referral statistics", code));
        for substance in &o.substances {
            assert!(
                lamppost_core::watch::codes::substances().contains(&substance.code),
                "`{}`",
                substance.code
            );
            known("saw heard smelled told", &substance.basis);
            assert_eq!(substance.catalogue, CATALOGUE);
        }
        if let Some(quantity) = &o.quantity {
            known("DU FO GL GM KG LB LT ML NP OZ XX", &quantity.unit);
        }
        assert_eq!(o.cell, "");
        behaviours.extend(o.behaviours.iter().cloned());
    }
    let all = "chemical_odor dumped_lab_waste hand_to_hand offer_to_sell overdose paraphernalia_found \
               place_condition public_use short_stay_traffic stash_pickup substance_found threat \
               vehicle_window_exchange weapon_seen";
    assert_eq!(Vec::from_iter(behaviours).join(" "), all);
}

#[test]
fn the_sample_has_no_misspelt_property() {
    let known: BTreeSet<&str> = "start end precision location vantage behaviours what_happened basis activity \
        substances code quantity amount unit flags called_emergency_at consent sealed address accuracy_m method \
        people count clothing features direction vehicles colour make body plate notes comment planted same_event"
        .split_whitespace()
        .collect();
    fn keys(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        if let Some(map) = value.as_object() {
            found.extend(map.keys().cloned());
            map.values().for_each(|value| keys(value, found));
        } else if let Some(list) = value.as_array() {
            list.iter().for_each(|value| keys(value, found));
        }
    }
    let json: serde_json::Value = serde_json::from_str(SAMPLE).unwrap();
    let mut found = BTreeSet::new();
    for feature in json["features"].as_array().unwrap() {
        keys(&feature["properties"], &mut found);
    }
    let unknown: Vec<_> = found.iter().filter(|key| !known.contains(key.as_str())).collect();
    assert_eq!(unknown, Vec::<&String>::new());
}

#[test]
fn the_sample_keeps_its_secrets_out_of_the_public_part() {
    for report in sample().reports {
        let public = public_text(&report);
        let street = report.sealed.address.split(',');
        let plates = report.sealed.vehicles.iter().map(|vehicle| vehicle.plate.as_str());
        let secrets = street.chain(plates).map(str::trim).filter(|secret| !secret.is_empty());
        for secret in secrets {
            assert!(!public.contains(&secret.to_lowercase()), "{secret}");
        }
        let mut sealed = Planted::default();
        sealed.phrases(&report.sealed.notes);
        for phrase in sealed.0 {
            assert!(!public.contains(&phrase.to_lowercase()), "{phrase}");
        }
        assert!(!report.planted.is_empty());
        for planted in &report.planted {
            assert!(planted.len() >= SECRET_BYTES_MIN, "{planted}");
            let whole = format!("{report:?}").replace("\\\"", "\"");
            assert!(whole.contains(planted.as_str()), "planted, but nowhere in the report: {planted}");
        }
    }
}

#[test]
fn pairs_of_the_sample_are_near_each_other() {
    let mut pairs: BTreeMap<String, Vec<Report>> = BTreeMap::new();
    for report in sample().reports {
        if let Some(event) = report.same_event.clone() {
            pairs.entry(event).or_default().push(report);
        }
    }
    assert!(pairs.len() >= 2);
    for (event, reports) in pairs {
        let [a, b] = reports.as_slice() else {
            panic!("{event} has {} reports", reports.len());
        };
        let minutes = (a.observation.when.start_ms - b.observation.when.start_ms).abs() / 60_000;
        assert!(minutes <= 20, "{event}: {minutes} min");
        let (a, b) = (a.sealed.position.as_ref().unwrap(), b.sealed.position.as_ref().unwrap());
        let metres_per_degree = 111_195.0;
        let north = (a.lat - b.lat) * metres_per_degree;
        let east = (a.lon - b.lon) * metres_per_degree * a.lat.to_radians().cos();
        assert!(north.hypot(east) <= 100.0, "{event}: {} m", north.hypot(east));
    }
}

#[test]
fn a_row_becomes_a_report() {
    let loaded = csv_with(&[GOOD]);
    assert_eq!(loaded.refused, []);
    let report = &loaded.reports[0];
    let o = &report.observation;
    // 23:31 in Denver in July is 05:31 UTC.
    assert_eq!(o.when.start_ms, 1_499_232_660_000);
    assert_eq!(o.when.end_ms, Some(1_499_235_000_000));
    assert_eq!(o.when.precision, "minute");
    assert_eq!((o.behaviours.join(";"), o.activity.join(";")), ("offer_to_sell".into(), "D".into()));
    assert_eq!(o.substances[0].code, "cocaine");
    assert_eq!(
        o.what_happened,
        "The city's record says: selling cocaine in Five Points, between 4 July 2017 at 23:31 and 5 July 2017 at 00:10."
    );
    assert_eq!(
        report.comment,
        "Added later: the police took the report on 6 July 2017 at 09:00, 33 hours after it began."
    );
    assert_eq!(report.sealed.address, "14 INVENTED ROW");
    assert_eq!(report.sealed.position.as_ref().unwrap().lat, 39.773188);
    assert!(report.planted.contains(&"14 INVENTED ROW".to_owned()));
    assert!(report.sealed.notes.contains("drug-cocaine-sell"));
    assert!(!public_text(report).contains("invented row"));
    assert_eq!(report.same_event, None);
    assert_eq!(loaded.mapping.len(), 19);
}

#[test]
fn winter_is_an_hour_further_from_utc() {
    let winter = csv_with(&[&GOOD.replace("7/4/2017", "1/4/2017")]);
    assert_eq!(winter.reports[0].observation.when.start_ms, 1_483_597_860_000);
}

#[test]
fn what_is_absent_is_not_malformed() {
    let row = GOOD.replace("7/5/2017 12:10:00 AM", "").replace("14 INVENTED ROW", "");
    let nowhere = row.replace("-104.80988110,39.773188", "-0.00000240,0.00000120").replace("77353000", "2");
    let blank = row.replace("-104.80988110,39.773188", ",");
    let loaded = csv_with(&[&nowhere, &blank]);
    assert_eq!(loaded.refused, []);
    for report in &loaded.reports {
        assert_eq!(report.sealed.position, None);
        assert_eq!(report.observation.when.end_ms, None);
        assert_eq!(report.sealed.address, "");
        assert!(!report.planted.contains(&String::new()));
        assert_eq!(report.same_event.as_deref(), Some("77"), "two rows of one incident");
    }
}

#[test]
fn malformed_rows_are_named_and_the_rest_goes_on() {
    let broken = [
        (GOOD.replace(",1,0\n", ",1\n"), "18 columns, expected 19"),
        (GOOD.replace("7/4/2017 11:31:00 PM", "yesterday"), "FIRST_OCCURRENCE_DATE is `yesterday`"),
        (GOOD.replace("7/4/2017 11:31:00 PM", ""), "FIRST_OCCURRENCE_DATE is ``"),
        (GOOD.replace("7/5/2017 12:10:00 AM", "13/45/2017 1:00:00 AM"), "LAST_OCCURRENCE_DATE is `13/45"),
        (GOOD.replace("7/5/2017", "7/3/2017"), "LAST_OCCURRENCE_DATE is before"),
        (GOOD.replace("7/6/2017 9:00:00 AM", "soon"), "REPORTED_DATE is `soon`"),
        (GOOD.replace("39.773188", "north"), "GEO_LAT is `north`"),
        (GOOD.replace("39.773188", ""), "GEO_LAT is ``"),
        (GOOD.replace("39.773188", "NaN"), "GEO_LAT is `NaN`"),
        (GOOD.replace("-104.80988110", "-1048.0988110"), "GEO_LON is `-1048"),
        (GOOD.replace(",1,0\n", ",yes,0\n"), "IS_CRIME is `yes`"),
        (GOOD.replace(",1,0\n", ",1,\n"), "IS_TRAFFIC is ``"),
        (GOOD.replace("drug-cocaine-sell", ""), "OFFENSE_TYPE_ID must not be empty"),
    ];
    let rows: Vec<&str> = broken.iter().map(|(row, _)| row.as_str()).chain([GOOD, GOOD]).collect();
    let loaded = csv_with(&rows);
    assert_eq!(loaded.reports.len(), 1);
    assert_eq!(loaded.refused.len(), broken.len() + 1);
    for (index, ((_, what), refused)) in broken.iter().zip(&loaded.refused).enumerate() {
        assert_eq!(refused.line, index + 2);
        assert!(refused.what.contains(what), "{what}: {}", refused.what);
    }
    let repeated = loaded.refused.last().unwrap();
    assert_eq!(repeated.what, format!("OFFENSE_ID `77353000` was already on line {}", broken.len() + 2));
    // With the line ends that Denver's portal writes.
    let of_windows: Vec<String> = rows.iter().map(|row| row.replace('\n', "\r\n")).collect();
    let again = csv_with(&of_windows.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(again.refused, loaded.refused);
}

#[test]
fn a_table_may_lack_every_column_but_what_and_when() {
    let text = "OFFENSE_TYPE_ID,FIRST_OCCURRENCE_DATE\ndrug-cocaine-sell,7/4/2017 11:31:00 PM\n";
    let loaded = parse(text.as_bytes(), false, 0).unwrap();
    assert_eq!(loaded.refused, []);
    let [report] = loaded.reports.as_slice() else { panic!() };
    assert_eq!(report.observation.behaviours, ["offer_to_sell"]);
    assert_eq!((report.comment.as_str(), report.sealed.position.as_ref()), ("", None));
    assert!(!report.observation.what_happened.contains("does not count it"));
}

#[test]
fn a_quote_left_open_is_hinted_at() {
    let open = GOOD.replace("14 INVENTED", "\"14 INVENTED");
    let loaded = csv_with(&[&open, GOOD]);
    assert_eq!(loaded.reports.len(), 0);
    let [refused] = loaded.refused.as_slice() else { panic!("{:?}", loaded.refused) };
    assert!(refused.line == 2 && refused.what.contains("is a quote (\") left open"), "{refused:?}");
}

#[test]
fn what_would_hurt_a_person_is_not_in_the_public_part() {
    let row = GOOD.replace("drug-cocaine-sell,drug-alcohol", "assault-dv,other-crimes-against-persons");
    let report = &csv_with(&[&row]).reports[0];
    assert!(!public_text(report).contains("assault"));
    assert!(report.sealed.notes.contains("assault-dv"));
    assert_eq!(report.observation.consent, ["statistics"]);
}

#[test]
fn columns_may_stand_in_any_order_and_case() {
    let swapped = format!("{HEADER}{GOOD}")
        .lines()
        .map(|line| {
            let (rest, last) = line.rsplit_once(',').unwrap();
            format!("{},{}\r\n", last.to_lowercase(), rest)
        })
        .collect::<String>();
    let loaded = parse(format!("\u{feff}{swapped}").as_bytes(), false, 0).unwrap();
    assert_eq!(loaded.reports, csv_with(&[GOOD]).reports);
}

#[test]
fn a_foreign_feature_becomes_a_minimal_report() {
    let loaded = geojson_with(
        r#"{"type": "Feature", "geometry": {"type": "Point", "coordinates": [-99.9, 41.6, 812.0]},
            "properties": {"title": "Glass on the path", "name": "", "time": "2026-05-04", "ref": 12}},
           {"type": "Feature", "geometry": {"type": "Point", "coordinates": [-99.9, 41.6]},
            "properties": {"name": "Dark corner", "time": "a while ago"}}"#,
    );
    assert_eq!(loaded.refused, []);
    let [glass, corner] = loaded.reports.as_slice() else { panic!() };
    assert_eq!(glass.observation.what_happened, "Glass on the path");
    assert_eq!(glass.observation.behaviours, ["place_condition"]);
    assert_eq!(glass.observation.when.start_ms, 1_777_852_800_000);
    assert_eq!(glass.observation.when.precision, "day");
    assert_eq!(glass.sealed.notes, "name: \nref: 12");
    assert_eq!(glass.sealed.position.as_ref().unwrap().lon, -99.9);
    assert_eq!(corner.observation.when.start_ms, 1_700_000_000_000, "the file's own date");
    assert_eq!(corner.sealed.notes, "time: a while ago");
}

#[test]
fn unusable_features_are_named_with_their_line() {
    let ours = r#""start": "2026-05-04T21:40:00-05:00", "precision": "hour", "behaviours": ["threat"]"#;
    let at = r#"{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties":"#;
    let features = [
        (format!("{at} null}}"), "nothing says what happened"),
        (format!("{at} {{\"title\": \" \"}}}}"), "nothing says what happened"),
        (at.replace("Point", "Polygon") + " null}", "its geometry is a Polygon"),
        (at.replace("[1, 2]", "[1]") + " null}", "fewer than two numbers"),
        (at.replace("[1, 2]", "[41.6, -99.9]") + " null}", "[41.6, -99.9] is not on Earth"),
        (at.replace("[1, 2]", "\"here\"") + " null}", "not a list of numbers"),
        (
            r#"{"type": "Feature", "geometry": null, "properties": {"title": "Glass"}}"#.into(),
            "neither a Point",
        ),
        (r#"{"type": "Fixture"}"#.into(), "its `type` is `Fixture`"),
        ("17".into(), "expected struct Feature"),
        (format!("{at} {{\"what_happened\": \"x\"}}}}"), "at least one of `behaviours`"),
        (format!("{at} {{\"what_happened\": \"x\", \"flags\": 3, {ours}}}}}"), "expected a sequence"),
        (
            format!("{at} {{\"what_happened\": \"x\", {}}}}}", ours.replace("hour", "era")),
            "precision: is not a code",
        ),
        (
            format!("{at} {{\"what_happened\": \"x\", {}}}}}", ours.replace("precision", "exactness")),
            "precision: is missing",
        ),
        (
            format!("{at} {{\"what_happened\": \"x\", {}}}}}", ours.replace("start", "began")),
            "`start` is missing",
        ),
        (
            format!("{at} {{\"what_happened\": \"x\", {}}}}}", ours.replace("T21", " at 21")),
            "`start` is `2026",
        ),
        (
            format!("{at} {{\"what_happened\": \"x\", \"end\": \"2026-05-03T00:00:00Z\", {ours}}}}}"),
            "end_ms: lies before the start",
        ),
        (
            format!("{at} {{\"what_happened\": \"x\", \"activity\": [\"B\",\"D\",\"P\",\"U\"], {ours}}}}}"),
            "at most 3 are allowed",
        ),
    ];
    let text: Vec<&str> = features.iter().map(|(feature, _)| feature.as_str()).collect();
    let good = format!("{at} {{\"what_happened\": \"x\", {ours}}}}}");
    let loaded = geojson_with(&format!("{},\n{good}", text.join(",\n")));
    assert_eq!(loaded.reports.len(), 1);
    assert_eq!(loaded.refused.len(), features.len(), "{:#?}", loaded.refused);
    for (index, ((_, what), refused)) in features.iter().zip(&loaded.refused).enumerate() {
        assert_eq!(refused.line, index + 2);
        assert!(refused.what.starts_with(&format!("feature {}: ", index + 1)), "{}", refused.what);
        assert!(refused.what.contains(what), "{what}: {}", refused.what);
    }
}

#[test]
fn files_of_no_known_kind_say_what_was_expected() {
    let error = |bytes: &[u8], is_json| parse(bytes, is_json, 0).unwrap_err();
    for empty in [&b""[..], b" \n ", HEADER.as_bytes()] {
        assert!(matches!(error(empty, false), InputError::Unreadable(Unreadable::Empty)));
    }
    for empty in [
        r#"{"features": []}"#,
        r#"{"type": "FeatureCollection"}"#,
        r#"{"type": "FeatureCollection", "features": []}"#,
    ] {
        assert!(
            matches!(error(empty.as_bytes(), false), InputError::Unreadable(Unreadable::NoFeatures)),
            "{empty}"
        );
    }
    let latin1 = error(b"caf\xe9", false);
    assert!(matches!(latin1, InputError::Unreadable(Unreadable::NotUtf8 { offset: 3 })));
    let header = error(b"when,where\n1,2\n", false).to_string();
    assert!(
        header.starts_with("no known header: OFFENSE_TYPE_ID, FIRST_OCCURRENCE_DATE missing;"),
        "{header}"
    );
    assert!(header.contains("expected a GeoJSON FeatureCollection"), "{header}");
    assert!(header.contains("Denver's format"), "{header}");
    let one = error(HEADER.replace("OFFENSE_TYPE_ID,", "").as_bytes(), false);
    assert!(one.to_string().starts_with("no known header: OFFENSE_TYPE_ID missing"), "{one}");
    assert_eq!(one.mapping().len(), 19);
    let open = error(b"\"when,where\n1,2\n", false).to_string();
    assert!(open.contains("is a quote (\") left open"), "{open}");
    assert!(matches!(
        error(b"{\"type\": \n!", false),
        InputError::Unreadable(Unreadable::Json { line: 2, .. })
    ));
    assert!(matches!(error(b"a,b\n", true), InputError::Unreadable(Unreadable::Json { line: 1, .. })));
    for other in ["[1]", "{}", r#"{"type": "Feature"}"#] {
        let not_one = error(other.as_bytes(), false);
        let is_named = matches!(not_one, InputError::Unreadable(Unreadable::NotFeatureCollection { .. }));
        assert!(is_named, "{other}");
    }
}

#[test]
fn a_table_of_observations_is_read_as_well() {
    let table = b"title,date,lat,lon\nGlass on the path,2026-05-04,41.6,-99.9\nDark corner,2026-05-04,x,1\n";
    let loaded = parse(table, false, 0).unwrap();
    assert_eq!(loaded.reports[0].observation.what_happened, "Glass on the path");
    assert_eq!(loaded.refused[0].line, 3);
    assert!(loaded.refused[0].what.starts_with("row 2: latitude is not a number"), "{:?}", loaded.refused);
}

#[test]
fn load_reads_files_and_names_the_missing_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table.txt");
    fs::write(&path, format!("{HEADER}{GOOD}")).unwrap();
    assert_eq!(load(&path).unwrap().reports.len(), 1);
    fs::write(dir.path().join("x.geojson"), SAMPLE).unwrap();
    assert_eq!(load(&dir.path().join("x.geojson")).unwrap(), sample());
    let missing = load(&dir.path().join("absent.csv")).unwrap_err().to_string();
    assert!(missing.contains("absent.csv"), "{missing}");
}
