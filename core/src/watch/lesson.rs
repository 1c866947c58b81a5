//! A lesson that works offline: what there is to know, and questions. It is signed by a coordinator like every entry, and
//! frozen, so that who passed it passed exactly this.

use super::check::{Invalid, check_count, check_time};
use super::content::{Keyed, Summary, WatchDocument, stored};
use super::kinds::Kind;
use super::language::{Said, check_languages, check_said, in_language};
use super::text::{self, LINE_CHARS_MAX};

/// Most questions of one lesson.
pub const QUESTIONS_COUNT_MAX: usize = 50;

/// Most answers to choose from.
pub const ANSWERS_COUNT_MAX: usize = 10;

stored! {
    /// One lesson.
    pub struct Lesson {
        /// What it teaches, by language.
        pub texts: Keyed<Said>,
        /// What is asked at the end, in order.
        #[cfg_attr(test, proptest(strategy = "crate::watch::testing::few()"))]
        pub questions: Vec<Question>,
        /// How many right answers it takes.
        pub pass_count: u32,
        /// Whether a group that asks for training asks for this lesson before a first report.
        pub before_reporting: bool,
        /// When it is not to be used any more, in milliseconds since the Unix epoch; none if never.
        pub expires_ms: Option<i64>,
    }

    /// One question.
    pub struct Question {
        /// What is asked, by language; every language has the same answers in the same order.
        pub texts: Keyed<QuestionText>,
        /// The right answer, from 0.
        pub right: u32,
    }

    /// A question in one language.
    pub struct QuestionText {
        /// What is asked.
        pub question: String,
        /// What can be answered.
        #[cfg_attr(test, proptest(strategy = "crate::watch::testing::few()"))]
        pub answers: Vec<String>,
    }
}

impl Lesson {
    /// How many of the answers are right; one for each question in order, from 0.
    pub fn grade(&self, answers: &[u32]) -> u32 {
        let right =
            self.questions.iter().zip(answers).filter(|(question, answer)| question.right == **answer);
        u32::try_from(right.count()).unwrap_or(u32::MAX)
    }

    /// Whether the answers pass. A lesson without questions is passed by nobody.
    pub fn is_passed(&self, answers: &[u32]) -> bool {
        answers.len() == self.questions.len() && self.pass_count > 0 && self.grade(answers) >= self.pass_count
    }

    /// Whether it can be taken at a time given in milliseconds since the Unix epoch.
    pub fn is_current(&self, now_ms: i64) -> bool {
        self.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms)
    }
}

impl WatchDocument for Lesson {
    const KIND: Kind = Kind::LESSON;

    fn validate(&self) -> Result<(), Invalid> {
        check_said("texts", &self.texts)?;
        if self.questions.is_empty() {
            return Err(Invalid::new("questions", "is empty", "ask at least one question"));
        }
        check_count("questions", self.questions.len(), QUESTIONS_COUNT_MAX)?;
        super::check::check_each("questions", &self.questions, Question::check)?;
        let count = u32::try_from(self.questions.len()).unwrap_or(u32::MAX);
        if !(1..=count).contains(&self.pass_count) {
            return Err(Invalid::new(
                "pass_count",
                "is not between 1 and the number of questions",
                "say how many right answers it takes",
            ));
        }
        self.expires_ms.map_or(Ok(()), |expires_ms| check_time("expires_ms", expires_ms))
    }

    fn summary(&self) -> Summary {
        let said = in_language(&self.texts, "en").cloned().unwrap_or_default();
        let flag = self.before_reporting.then(|| "before_reporting".to_owned());
        Summary {
            title: said.title,
            text: said.text,
            when_ms: self.expires_ms,
            flags: flag.into_iter().collect(),
            ..Summary::default()
        }
    }
}

impl Question {
    fn check(&self) -> Result<(), Invalid> {
        let answers = self.texts.values().next().map_or(0, |text| text.answers.len());
        check_languages("texts", &self.texts, |text: &QuestionText| {
            text::check_required_line("question", &text.question, LINE_CHARS_MAX)?;
            if text.answers.len() < 2 || text.answers.len() != answers {
                return Err(Invalid::new(
                    "answers",
                    "are not the same two or more in each language",
                    "give each language the same answers in the same order",
                ));
            }
            check_count("answers", text.answers.len(), ANSWERS_COUNT_MAX)?;
            text.answers
                .iter()
                .try_for_each(|answer| text::check_required_line("answers", answer, LINE_CHARS_MAX))
        })?;
        if usize::try_from(self.right).is_ok_and(|right| right < answers) {
            return Ok(());
        }
        Err(Invalid::new("right", "is none of the answers", "count the answers from 0"))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::watch::testing::refused;

    pub(crate) fn lesson() -> Lesson {
        let question = |right: u32, answers: &[&str]| Question {
            texts: Keyed::from_iter([(
                "en",
                QuestionText {
                    question: "What do you report?".into(),
                    answers: answers.iter().map(|a| (*a).to_owned()).collect(),
                },
            )]),
            right,
        };
        let said = Said { title: "What to report".into(), text: "What people do, not who they are.".into() };
        Lesson {
            texts: Keyed::from_iter([("en", said)]),
            questions: vec![
                question(0, &["What I saw", "Who looks odd"]),
                question(1, &["Follow", "Stay", "Shout"]),
            ],
            pass_count: 2,
            before_reporting: true,
            expires_ms: Some(1_777_593_600_000),
        }
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(refused(&lesson(), |l| l.texts.clear()), "texts");
        assert_eq!(refused(&lesson(), |l| l.questions.clear()), "questions");
        assert_eq!(refused(&lesson(), |l| l.questions[1].right = 3), "questions[1].right");
        assert_eq!(refused(&lesson(), |l| l.questions[0].texts.clear()), "questions[0].texts");
        let one = |l: &mut Lesson| l.questions[0].texts.get_mut("en").unwrap().answers.truncate(1);
        assert_eq!(refused(&lesson(), one), "questions[0].texts.en.answers");
        let uneven = |l: &mut Lesson| {
            let mut spanish = l.questions[0].texts["en"].clone();
            spanish.answers.push("Nada".into());
            l.questions[0].texts.insert("es".into(), spanish);
        };
        assert_eq!(refused(&lesson(), uneven), "questions[0].texts.es.answers");
        assert_eq!(refused(&lesson(), |l| l.pass_count = 3), "pass_count");
        assert_eq!(refused(&lesson(), |l| l.pass_count = 0), "pass_count");
        assert_eq!(refused(&lesson(), |l| l.expires_ms = Some(0)), "expires_ms");
    }

    #[test]
    fn answers_pass_if_enough_are_right() {
        assert!(lesson().is_passed(&[0, 1]));
        for failed in [&[0, 0][..], &[1, 1], &[0], &[0, 1, 1], &[]] {
            assert!(!lesson().is_passed(failed), "{failed:?}");
        }
        assert!(!Lesson::default().is_passed(&[]));
        assert!(lesson().is_current(1_777_593_599_999) && !lesson().is_current(1_777_593_600_000));
    }
}
