//! Texts in several languages, and which of them to show.

use super::check::Invalid;
use super::content::{Keyed, stored};
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};
use std::collections::BTreeMap;

/// Most languages of one text.
pub const LANGUAGES_COUNT_MAX: usize = 20;

stored! {
    /// A title and a text in one language.
    pub struct Said {
        /// One line.
        pub title: String,
        /// The text; may be empty.
        pub text: String,
    }
}

/// What is said by language; what a reader who wants `lang` is shown: their language, else its base language, else
/// English, else the first. Languages are BCP 47 tags such as `es` or `es-MX`.
pub fn in_language<'a, T>(texts: &'a BTreeMap<String, T>, lang: &str) -> Option<&'a T> {
    let base = lang.split(['-', '_']).next().unwrap_or(lang);
    let find =
        |wanted: &str| texts.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(wanted)).map(|(_, text)| text);
    find(lang).or_else(|| find(base)).or_else(|| find("en")).or_else(|| texts.values().next())
}

/// Accepts at least one language, each under the tag of a language.
pub(super) fn check_languages<T>(
    field: &str,
    texts: &BTreeMap<String, T>,
    validate: impl Fn(&T) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    if texts.is_empty() {
        return Err(Invalid::new(field, "is empty", "write it in at least one language"));
    }
    super::check::check_count(field, texts.len(), LANGUAGES_COUNT_MAX)?;
    for (tag, text) in texts {
        check_language(field, tag)?;
        validate(text).map_err(|e| e.within(&format!("{field}.{tag}")))?;
    }
    Ok(())
}

/// Accepts the tag of a language with, at most, a script and a region.
pub(super) fn check_language(field: &str, tag: &str) -> Result<(), Invalid> {
    let mut parts = tag.split('-');
    let is_language = parts.next().is_some_and(|language| {
        (2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_lowercase())
    });
    let is_part =
        |part: &str| (2..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_language && parts.clone().count() <= 2 && parts.all(is_part) {
        return Ok(());
    }
    Err(Invalid::new(field, "names no language", "use a tag such as 'en', 'es' or 'es-MX'"))
}

/// Judges what is said in several languages.
pub(super) fn check_said(field: &str, texts: &Keyed<Said>) -> Result<(), Invalid> {
    check_languages(field, texts, |said: &Said| {
        text::check_required_line("title", &said.title, LINE_CHARS_MAX)?;
        text::check("text", &said.text, TEXT_CHARS_MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_shown_their_language_or_the_nearest() {
        let texts = |tags: &[&str]| {
            tags.iter().map(|t| ((*t).to_owned(), (*t).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let shown = |tags: &[&str], lang: &str| in_language(&texts(tags), lang).cloned().unwrap();
        assert_eq!(shown(&["en", "es", "es-MX"], "es-mx"), "es-MX");
        assert_eq!(shown(&["en", "es"], "es_MX"), "es");
        assert_eq!(shown(&["en", "es"], "vi"), "en");
        assert_eq!(shown(&["es", "vi"], "fr"), "es");
        assert_eq!(in_language(&texts(&[]), "en"), None);
    }

    #[test]
    fn tags_are_those_of_languages() {
        for good in ["en", "es-MX", "zh-Hant-TW", "haw"] {
            assert_eq!(check_language("t", good), Ok(()), "{good}");
        }
        for bad in ["", "e", "EN", "english", "en-", "en-1", "a b", "en-US-x-y"] {
            assert!(check_language("t", bad).is_err(), "{bad:?}");
        }
    }
}
