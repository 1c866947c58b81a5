//! Bytes become text, as people paste it, and go to the bias guard and the request gate. Whatever they say can be pointed
//! at, cut out and masked; what was tidied is accepted; a text whose findings were all struck out may leave.

use lamppost_core::watch::guard::{self, Place, Verdict, judge, judge_request};
use lamppost_core::watch::text;

/// All bytes are the text; what is not UTF-8 becomes U+FFFD.
pub fn guard(data: &[u8]) {
    let pasted = String::from_utf8_lossy(data);
    let tidied = text::tidy(&pasted);
    assert_eq!(text::check("text", &tidied, usize::MAX), Ok(()));
    for words in [pasted.as_ref(), tidied.as_str()] {
        for place in [Place::Report, Place::Remark, Place::Sealed, Place::Handover] {
            let verdict = judge(words, place);
            points_at(words, &verdict);
            assert_eq!(guard::check("text", words, place).is_err(), refuses(&verdict, place));
        }
        points_at(words, &judge_request(words));
    }
    let _ = guard::judge_vantage(&pasted);
    if tidied.len() <= 500 {
        strike_out(tidied);
    }
}

fn refuses(verdict: &Verdict, place: Place) -> bool {
    verdict.is_held() || (place == Place::Handover && *verdict != Verdict::Pass)
}

fn points_at(words: &str, verdict: &Verdict) {
    for finding in verdict.findings() {
        let mut end = 0;
        for span in &finding.spans {
            assert!(span.start >= end, "{:?} overlap in {words:?}", finding.spans);
            assert!(words.get(span.clone()).is_some_and(|cut| !cut.is_empty()), "{span:?} of {words:?}");
            end = span.end;
        }
    }
    let held = verdict.findings().iter().any(|finding| finding.reason.holds());
    assert_eq!(verdict.is_held(), held);
}

fn strike_out(mut words: String) {
    // Each round takes a letter or digit away at least.
    for _ in 0..=words.len() {
        let verdict = judge(&words, Place::Handover);
        let Some(span) = verdict.findings().first().and_then(|finding| finding.spans.first()) else {
            assert_eq!(verdict, Verdict::Pass);
            return;
        };
        words.replace_range(span.clone(), "▮▮▮");
    }
    panic!("striking out does not end: {words:?}");
}
