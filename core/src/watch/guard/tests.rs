//! Tests of the guard: how often it errs, and what holds for every text.

use super::*;
use proptest::prelude::*;
use serde::Deserialize;

/// A text written for this project, and what the guard ought to say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    text: String,
    language: String,
    /// `held`, `ask` or `pass`.
    expected: String,
    /// What is wrong with it, or `report`.
    category: String,
    /// `rules`: looked at while the rules were written. `apart`: written before them. `apart_second`: written when the
    /// first rules stood, in other words than theirs. Which of those apart fail was never looked at.
    part: String,
}

fn fixtures() -> Vec<Fixture> {
    let files = [
        include_str!("fixtures/held.en.json"),
        include_str!("fixtures/held.es.json"),
        include_str!("fixtures/passed.en.json"),
        include_str!("fixtures/passed.es.json"),
    ];
    files.iter().flat_map(|json| serde_json::from_str::<Vec<Fixture>>(json).unwrap()).collect()
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Ask(_) => "ask",
        Verdict::Held(_) => "held",
    }
}

/// Counts of one part.
#[derive(Debug, Default)]
struct Rates {
    honest: u32,
    held_wrongly: u32,
    asked_wrongly: u32,
    profiling: u32,
    passed_wrongly: u32,
    askable: u32,
    unasked: u32,
}

fn rates(part: &str, wrong: &mut dyn FnMut(&Fixture, &Verdict)) -> Rates {
    let mut rates = Rates::default();
    for fixture in fixtures().iter().filter(|fixture| fixture.part == part) {
        let verdict = judge(&fixture.text, Place::Report);
        let got = word(&verdict);
        if got != fixture.expected {
            wrong(fixture, &verdict);
        }
        match fixture.expected.as_str() {
            "pass" => {
                rates.honest += 1;
                rates.held_wrongly += u32::from(got == "held");
                rates.asked_wrongly += u32::from(got == "ask");
            }
            "held" => {
                rates.profiling += 1;
                rates.passed_wrongly += u32::from(got != "held");
            }
            "ask" => {
                rates.askable += 1;
                rates.unasked += u32::from(got == "pass");
            }
            other => panic!("{other} is no verdict"),
        }
    }
    rates
}

/// The bounds are what was measured when the rules of 2026-01 were written, and leave room for one text more.
#[test]
fn the_rates_of_error_stay_where_they_were_measured() {
    let rules = rates("rules", &mut |fixture, verdict| {
        println!("{}/{}: {} → {verdict:?}", fixture.language, fixture.category, fixture.text);
    });
    // Which of the texts kept apart fail is not printed: rules written for them would measure nothing.
    let apart = rates("apart", &mut |_, _| ());
    let second = rates("apart_second", &mut |_, _| ());
    println!("rules: {rules:?}\napart: {apart:?}\napart, second: {second:?}");
    assert!(rules.honest + rules.profiling + rules.askable >= 165);
    assert!(apart.honest + apart.profiling + apart.askable + second.honest + second.profiling >= 121);
    assert!(rules.held_wrongly <= 1 && rules.asked_wrongly <= 1);
    assert!(rules.passed_wrongly <= 1 && rules.unasked <= 1);
    assert!(apart.held_wrongly + second.held_wrongly <= 1);
    assert!(apart.asked_wrongly + second.asked_wrongly <= 1);
    assert!(apart.passed_wrongly <= 4 && apart.unasked <= 3);
    assert!(second.passed_wrongly <= 19);
}

#[test]
fn every_text_stands_there_once_and_both_languages_are_held_and_passed_in_both_parts() {
    let fixtures = fixtures();
    let texts: BTreeSet<&str> = fixtures.iter().map(|fixture| fixture.text.as_str()).collect();
    assert_eq!(texts.len(), fixtures.len());
    for part in ["rules", "apart"] {
        for language in ["en", "es"] {
            for expected in ["held", "ask", "pass"] {
                let same = fixtures
                    .iter()
                    .filter(|f| f.part == part && f.language == language && f.expected == expected);
                assert!(same.count() >= 3, "{part} {language} {expected}");
            }
        }
    }
}

#[test]
fn a_hoodie_alone_is_asked_what_happened_in_the_language_of_the_person() {
    let verdict = judge("Un moreno con capucha en la esquina.", Place::Report);
    let [finding] = verdict.findings() else { panic!("{verdict:?}") };
    assert!(verdict.is_held());
    assert_eq!(finding.reason.code(), "no_behaviour");
    assert!(finding.reason.question("es-MX").starts_with("¿Qué pasó?"));
    assert!(finding.reason.question("fr").starts_with("What happened?"));
}

#[test]
fn personal_data_is_pointed_at_to_the_byte() {
    let cut = |text: &str, code: &str| -> Vec<String> {
        let verdict = judge(text, Place::Report);
        let finding = verdict.findings().iter().find(|finding| finding.reason.code() == code);
        finding.into_iter().flat_map(|f| &f.spans).map(|span| text[span.clone()].to_owned()).collect()
    };
    assert_eq!(cut("Señas: llame al 303 555 0119 ya", "phone"), ["303 555 0119"]);
    assert_eq!(cut("ñ (303) 555-0119, +52 55 1234 5678", "phone"), ["(303) 555-0119", "+52 55 1234 5678"]);
    assert_eq!(cut("write to a.b+c@mail.example.org.", "email"), ["a.b+c@mail.example.org"]);
    assert_eq!(cut("it bore ABC-1234", "plate"), ["ABC-1234"]);
    assert!(cut("its plate was ABC-1234", "plate").iter().any(|cut| cut.ends_with("ABC-1234")));
    assert_eq!(cut("it stopped at 1418 Quitman Street twice", "address"), ["1418 Quitman Street"]);
    assert_eq!(cut("Sra. Núñez sold it", "name"), ["Sra. Núñez"]);
    for honest in
        ["I called 911 at 2:15.", "about 12 cars in 30 minutes", "on 2026-05-03 at 21:30", "$200, 50 pills"]
    {
        assert!(!judge(honest, Place::Report).findings().iter().any(|f| !f.spans.is_empty()), "{honest}");
    }
}

#[test]
fn places_differ_in_what_may_stand_there() {
    let word_at = |text: &str, place| word(&judge(text, place));
    let phone = "call 303 555 0119";
    assert_eq!(word_at(phone, Place::Report), "ask");
    assert_eq!(word_at(phone, Place::Sealed), "pass");
    assert!(check("t", phone, Place::Report).is_ok() && check("t", phone, Place::Remark).is_ok());
    assert_eq!(check("t", phone, Place::Handover).unwrap_err().field, "t");
    // An answer to 'what did they wear?' need not say again what happened.
    assert_eq!(word_at("He was standing there in a grey hoodie.", Place::Report), "held");
    assert_eq!(word_at("He wore a grey hoodie.", Place::Report), "ask");
    assert_eq!(word_at("He wore a grey hoodie.", Place::Remark), "pass");
    for place in [Place::Report, Place::Remark, Place::Sealed, Place::Handover] {
        assert_eq!(word_at("She votes Republican.", place), "held", "{place:?}");
        assert_eq!(word_at("WANTED: the man with the bike", place), "held", "{place:?}");
    }
    assert_eq!(word_at("They do not belong here.", Place::Remark), "held");
}

#[test]
fn race_comes_after_two_other_descriptions_or_not_at_all() {
    let people = |clothing: &str, features: &str, direction: &str| {
        let text = String::from;
        check_people(&People {
            count: 1,
            clothing: text(clothing),
            features: text(features),
            direction: text(direction),
        })
    };
    assert_eq!(people("", "black man", "").unwrap_err().field, "features");
    assert!(people("", "black man", "").unwrap_err().remedy.contains("wear"));
    assert!(people("grey hoodie", "black man", "").is_err());
    assert!(people("grey hoodie", "black man", "north on foot").is_ok());
    assert!(people("grey hoodie", "black man, limps", "").is_ok());
    assert!(people("", "un moreno", "hacia el parque").is_err());
    assert!(people("black jacket", "", "").is_ok(), "a jacket is no race");
    assert!(people("grey hoodie", "muslim", "north").is_err());
    let judged = |text| word(&judge(text, Place::Report));
    assert_eq!(judged("A black man sold pills."), "ask");
    assert_eq!(judged("A black man in a red cap, heading north, sold pills."), "pass");
}

#[test]
fn a_report_is_judged_with_its_sealed_part() {
    let observation = |what: &str| Observation { what_happened: what.into(), ..Observation::default() };
    let good = observation("Two people swapped a bag for cash.");
    assert_eq!(check_report(&good, None), Ok(()));
    let held = check_report(&observation("He seems to have no job."), None).unwrap_err();
    assert_eq!(held.field, "what_happened");
    assert!(held.problem.contains("no_behaviour") && held.remedy.starts_with("What happened?"));
    assert!(!held.to_string().contains("job"), "a refusal never quotes");
    let sealed = |notes: &str, features: &str| Sealed {
        notes: notes.into(),
        people: vec![People { count: 1, features: features.into(), ..People::default() }],
        ..Sealed::default()
    };
    assert_eq!(check_report(&good, Some(&sealed("plate ZZZ-1234, 303 555 0119", "tall"))), Ok(()));
    assert_eq!(check_report(&good, Some(&sealed("he is a communist", ""))).unwrap_err().field, "notes");
    assert_eq!(check_report(&good, Some(&sealed("", "hispanic"))).unwrap_err().field, "people[0].features");
}

#[test]
fn requests_that_send_people_in_are_refused_and_chance_sightings_pass() {
    let judged = |text| word(&judge_request(text));
    for refused in [
        "Could somebody enter the yard and look around?",
        "Please search the garage when they are away.",
        "Follow the red car next time and tell us where it goes.",
        "Record inside the apartment if the door is open.",
        "Check his trash on Thursday.",
        "Look into the windows of number 9.",
        "Can one of your members buy something from him?",
        "If you happen to see him, follow him.",
        "Tell us which of the neighbours are Muslim.",
        "Watch out for black men in hoodies.",
        "Revisen su basura el jueves.",
        "Entren al patio y miren por la ventana.",
        "Sigan al carro rojo.",
        "Graben adentro de la casa si pueden.",
        "Compren una bolsita y tráiganla.",
    ] {
        assert_eq!(judged(refused), "held", "{refused}");
    }
    for review in [
        "Please send photos of the driver.",
        "We need more about the house on the corner.",
        "Ask the neighbor when they come home.",
        "Más información, por favor.",
        "",
    ] {
        assert_eq!(judged(review), "ask", "{review}");
    }
    for passes in [
        "If you happen to see the white van again, tell us the time.",
        "Has anyone noticed at what time the lamp goes out?",
        "If you see it from the street, let us know. Do not follow anybody and never enter.",
        "Si llegan a ver la camioneta blanca, avisen la hora. No la sigan ni entren.",
    ] {
        assert_eq!(judged(passes), "pass", "{passes}: {:?}", judge_request(passes));
    }
}

#[test]
fn reasons_are_complete_in_both_languages_and_every_rule_has_one() {
    let codes: BTreeSet<&str> = reasons().iter().map(Reason::code).collect();
    assert_eq!(codes.len(), reasons().len());
    for reason in reasons() {
        for lang in ["en", "es"] {
            assert!(reason.text(lang).ends_with('.'), "{}", reason.code());
            assert!(reason.question(lang).contains('?') || reason.code() == "views", "{}", reason.code());
        }
    }
    for (reason, _) in rules().shapes("303 555 0119 a@b.org @abc plate A1 1 A St Mr A calle a 1 WANTED") {
        assert!(codes.contains(reason), "{reason}");
    }
    for used in [
        "no_behaviour",
        "views",
        "call",
        "race_first",
        "race",
        "origin",
        "label",
        "request_refused",
        "request_review",
        "private_vantage",
    ] {
        assert!(codes.contains(used), "{used}");
    }
    assert_eq!(version(), "2026-01");
    assert!(source().contains("28 CFR"));
}

/// Words of the rules and of their neighbourhood, so that generated texts hit many of them.
fn words_of_rules() -> impl Strategy<Value = String> {
    let words: Vec<&'static str> = "black man un negro hoodie does not belong here no job looks illegal sold handed a bag \
        WANTED reward follow him her into the trash window check search 303 555 0119 a@b.org plate ABC-1234 Mr. Roe señor \
        Núñez calle vote mosque if you happen to see , . ; \n 😀 ñ\u{303} \u{202E} \u{200B} ﷽ 𝐬 ß İ"
        .split(' ').collect();
    proptest::collection::vec(prop::sample::select(words), 0..60).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn every_text_gets_a_verdict_with_spans_that_can_be_cut(text in prop_oneof![any::<String>(), words_of_rules()]) {
        for place in [Place::Report, Place::Remark, Place::Sealed, Place::Handover] {
            let verdict = judge(&text, place);
            prop_assert_eq!(&verdict, &judge(&text, place));
            for finding in verdict.findings() {
                prop_assert!(finding.spans.is_sorted_by(|one, next| one.end <= next.start));
                for span in &finding.spans {
                    prop_assert!(text.get(span.clone()).is_some_and(|cut| !cut.is_empty()), "{span:?}");
                }
            }
            prop_assert_eq!(verdict.is_held(), verdict.findings().iter().any(|f| f.reason.holds()));
        }
        let _ = judge_request(&text);
        let _ = judge_vantage(&text);
    }

    /// A person who is held and strikes out every word pointed at is not held for those words again.
    #[test]
    fn striking_out_what_was_found_is_enough(text in words_of_rules()) {
        let mut text = text;
        for _ in 0..200 {
            let verdict = judge(&text, Place::Handover);
            let Some(span) = verdict.findings().first().and_then(|f| f.spans.first()).cloned() else { break };
            text.replace_range(span, "▮▮▮");
        }
        prop_assert_eq!(judge(&text, Place::Handover), Verdict::Pass);
    }
}

/// The work is bounded by the number of words, whatever they are: here those that most cues begin with.
#[test]
fn a_hundred_kilobytes_cost_no_more_per_word_than_one() {
    const COMPARED_PER_WORD_MAX: usize = 400;
    for word in ["dont ", "look ", "un ", "the ", "a ", "record ", "enter ", "lets ", "put ", "s", "take "] {
        let text = word.repeat(100_000 / word.len());
        let words = words::words(&text);
        let (_, compared) = rules().find(&words);
        assert!(compared <= COMPARED_PER_WORD_MAX * words.len(), "{word:?}: {compared} of {}", words.len());
        assert!(words.iter().all(|word| word.folded.len() <= 44));
        let _ = judge(&text, Place::Report);
    }
}
