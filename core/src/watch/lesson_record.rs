//! A member took a lesson. The answers are kept, so that anybody who has the lesson can grade them again.

use super::check::{Invalid, check_count, check_id, check_time};
use super::content::{Summary, WatchDocument, ids, stored};
use super::kinds::Kind;
use super::lesson::{Lesson, QUESTIONS_COUNT_MAX};

stored! {
    /// One lesson taken; it does not change.
    pub struct LessonRecord {
        /// Id of the lesson, as text.
        pub lesson: String,
        /// The answer to each question in order, from 0.
        pub answers: Vec<u32>,
        /// When, in milliseconds since the Unix epoch, by the member's device.
        pub at_ms: i64,
    }
}

impl LessonRecord {
    /// Judges a record together with its lesson.
    ///
    /// # Errors
    /// As [`WatchDocument::validate`], and when the answers do not pass or the lesson is not to be used any more.
    pub fn validate_for(&self, lesson: &Lesson) -> Result<(), Invalid> {
        self.validate()?;
        if !lesson.is_current(self.at_ms) {
            return Err(Invalid::new("lesson", "has expired", "take the lesson that took its place"));
        }
        if lesson.is_passed(&self.answers) {
            return Ok(());
        }
        let (right, needed) = (lesson.grade(&self.answers), lesson.pass_count);
        Err(Invalid::new(
            "answers",
            format!("are right {right} times, and {needed} are needed"),
            "read the lesson again and answer once more",
        ))
    }
}

impl WatchDocument for LessonRecord {
    const KIND: Kind = Kind::LESSON_RECORD;
    const MADE_BY: Option<&str> = Some("take_lesson");

    fn validate(&self) -> Result<(), Invalid> {
        check_id("lesson", &self.lesson)?;
        check_count("answers", self.answers.len(), QUESTIONS_COUNT_MAX)?;
        check_time("at_ms", self.at_ms)
    }

    fn summary(&self) -> Summary {
        Summary { title: "lesson taken".to_owned(), about: ids([&self.lesson]), ..Summary::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::lesson::tests::lesson;
    use crate::watch::testing::refused;

    #[test]
    fn a_record_needs_a_lesson_that_is_current_and_answers_that_pass() {
        let record = LessonRecord { lesson: "les-1".into(), answers: vec![0, 1], at_ms: 1_777_000_000_000 };
        assert_eq!(record.validate_for(&lesson()), Ok(()));
        let field = |record: LessonRecord| record.validate_for(&lesson()).unwrap_err().field;
        assert_eq!(field(LessonRecord { answers: vec![0, 0], ..record.clone() }), "answers");
        assert_eq!(field(LessonRecord { at_ms: 1_777_593_600_000, ..record.clone() }), "lesson");
        assert_eq!(refused(&record, |r| r.lesson.clear()), "lesson");
        assert_eq!(refused(&record, |r| r.at_ms = 0), "at_ms");
        assert_eq!(refused(&record, |r| r.answers = vec![0; 51]), "answers");
    }
}
