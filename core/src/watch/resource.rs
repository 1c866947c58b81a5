//! The directory of help: where to turn to. It lies on every phone, so that looking something up tells nobody.

use super::check::{Invalid, check_codes, check_time};
use super::codes;
use super::content::{Summary, WatchDocument, stored};
use super::kinds::Kind;
use super::language::check_language;
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};

stored! {
    /// One entry of the directory.
    pub struct Resource {
        /// What it is called.
        pub name: String,
        /// What it offers: keys of `codes/services.json`.
        pub services: Vec<String>,
        /// How to reach it by telephone; may be empty.
        pub phone: String,
        /// Where it is; may be empty.
        pub address: String,
        /// When it is open, in words.
        pub hours: String,
        /// Languages spoken there, as tags such as `es`.
        pub languages: Vec<String>,
        /// What it costs and who may come; may be empty.
        pub terms: String,
        /// When somebody last made sure of it, in milliseconds since the Unix epoch.
        pub checked_ms: i64,
        /// When it is to be made sure of again, in milliseconds since the Unix epoch.
        pub expires_ms: i64,
    }
}

impl Resource {
    /// Whether it was made sure of lately enough, at a time given in milliseconds since the Unix epoch.
    pub fn is_current(&self, now_ms: i64) -> bool {
        now_ms < self.expires_ms
    }

    /// Whether it offers a service.
    pub fn offers(&self, service: &str) -> bool {
        self.services.iter().any(|offered| offered == service)
    }
}

impl WatchDocument for Resource {
    const KIND: Kind = Kind::RESOURCE;

    fn validate(&self) -> Result<(), Invalid> {
        text::check_required_line("name", &self.name, LINE_CHARS_MAX)?;
        if self.services.is_empty() {
            return Err(Invalid::new("services", "is empty", "say what it offers"));
        }
        check_codes("services", &self.services, codes::services(), codes::services().entries().len())?;
        if [&self.phone, &self.address].iter().all(|way| way.trim().is_empty()) {
            return Err(Invalid::new("phone", "and address are empty", "say how to reach it"));
        }
        text::check_line("phone", &self.phone, LINE_CHARS_MAX)?;
        text::check_line("address", &self.address, LINE_CHARS_MAX)?;
        text::check_line("hours", &self.hours, LINE_CHARS_MAX)?;
        self.languages.iter().try_for_each(|tag| check_language("languages", tag))?;
        text::check("terms", &self.terms, TEXT_CHARS_MAX)?;
        check_time("checked_ms", self.checked_ms)?;
        check_time("expires_ms", self.expires_ms)?;
        if self.expires_ms > self.checked_ms {
            return Ok(());
        }
        Err(Invalid::new("expires_ms", "lies before it was made sure of", "choose a later day"))
    }

    fn summary(&self) -> Summary {
        let lines = [&self.phone, &self.address, &self.hours, &self.terms];
        let lines: Vec<&str> =
            lines.into_iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
        Summary {
            title: self.name.clone(),
            text: lines.join("\n"),
            when_ms: Some(self.expires_ms),
            codes: self.services.clone(),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::refused;

    #[test]
    fn refusals_name_the_field() {
        let resource = Resource {
            name: "Night line".into(),
            services: vec!["crisis_line".into()],
            phone: "555 0100".into(),
            languages: vec!["en".into(), "es".into()],
            checked_ms: 1_777_593_600_000,
            expires_ms: 1_777_593_600_001,
            ..Resource::default()
        };
        assert_eq!(refused(&resource, |r| r.name.clear()), "name");
        assert_eq!(refused(&resource, |r| r.services.clear()), "services");
        assert_eq!(refused(&resource, |r| r.services[0] = "magic".into()), "services[0]");
        assert_eq!(refused(&resource, |r| r.phone = " ".into()), "phone");
        assert_eq!(refused(&resource, |r| r.languages[1] = "Spanish".into()), "languages");
        assert_eq!(refused(&resource, |r| r.expires_ms = r.checked_ms), "expires_ms");
        assert!(resource.offers("crisis_line") && !resource.offers("detox"));
        assert!(resource.is_current(1_777_593_600_000) && !resource.is_current(1_777_593_600_001));
    }
}
