//! The request gate: what the liaison may ask of members, and from where members may look.
//!
//! A private person who searches because the police asked is the police's arm (Coolidge v. New Hampshire, 403 U.S. 443).
//! So nobody is asked to enter, search, follow, record inside or buy. 'If you happen to see' may pass.

use super::rules::{Class, Hit, rules};
use super::words::{Word, words};
use super::{Place, Verdict, weigh};
use std::ops::Range;

/// Furthest that a negation reaches within its clause, in words: 'do not ever try to follow'.
const NEGATION_WORDS_MAX: usize = 4;

/// Judges what a liaison asks of members. Held: refused. Ask: a coordinator decides. Pass: it asks only for what people
/// happen to see; a coordinator sends it on or does not, as with every request.
///
/// ```
/// use lamppost_core::watch::guard::judge_request;
///
/// assert!(judge_request("Could somebody check his trash on Thursday?").is_held());
/// assert!(!judge_request("If you happen to see the van again, tell us when.").is_held());
/// ```
pub fn judge_request(text: &str) -> Verdict {
    let words = words(text);
    let (hits, _) = rules().find(&words);
    // Whom to look for, by looks, views or a reward, is as wrong in a request as in a report.
    let mut found = weigh(text, &hits, Place::Remark);
    found.retain(|reason, _| matches!(*reason, "no_behaviour" | "views" | "call"));
    let spans = |class| -> Vec<Range<usize>> {
        let asked = hits.iter().filter(|hit| hit.class == class && !negated(hit, &words, &hits));
        asked.map(|hit| hit.span.clone()).collect()
    };
    let (refused, review) = (spans(Class::RequestRefused), spans(Class::RequestReview));
    if !refused.is_empty() {
        found.insert("request_refused", refused);
    } else if !review.is_empty() || !hits.iter().any(|hit| hit.class == Class::RequestPassive) {
        found.insert("request_review", review);
    }
    Verdict::of(found)
}

/// Judges where an observer stood, a key of `codes/vantage.json`: a private place of somebody else needs a review before
/// the observation leaves the group. So does a code that this version does not know.
pub fn judge_vantage(vantage: &str) -> Verdict {
    let free = matches!(vantage, "public_way" | "own_property" | "workplace" | "camera" | "told");
    let found = if free { Vec::new() } else { vec![("private_vantage", Vec::new())] };
    Verdict::of(found.into_iter().collect())
}

/// 'Do not follow anybody' asks for nothing.
fn negated(hit: &Hit, words: &[Word], hits: &[Hit]) -> bool {
    let clause = |word: usize| words.get(word).map(|word| word.clause);
    hits.iter().filter(|other| other.class == Class::Negation).any(|other| {
        other.word < hit.word
            && hit.word - other.word <= NEGATION_WORDS_MAX
            && clause(other.word) == clause(hit.word)
    })
}
