//! How the story is told: chapters, tables, progress, and the promises it keeps.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::SetOnce;

/// Why a line could not be printed; nothing that comes after it can.
static UNHEARD: SetOnce<io::ErrorKind> = SetOnce::const_new();

/// Waits until the story cannot be told any more, for instance because `head` has read enough.
pub async fn unheard() -> io::ErrorKind {
    *UNHEARD.wait().await
}

fn line(text: impl Display) {
    if let Err(why) = writeln!(io::stdout(), "{text}") {
        // Only the first reason counts.
        let _ = UNHEARD.set(why.kind());
    }
}

/// A line at the left edge.
pub fn announce(text: &str) {
    line(text);
}

/// A chapter's heading, and in plain words what it is about.
pub fn chapter(number: u8, title: &str, plainly: &str) {
    line(format_args!("\n{number}. {title}"));
    line("-".repeat(title.chars().count() + 3));
    line(format_args!("   {plainly}"));
}

/// One line of the story.
pub fn say(text: impl Display) {
    line(format_args!("   {text}"));
}

/// What somebody sees, under their name.
pub fn sees<T: Display>(who: &str, rows: impl IntoIterator<Item = T>) {
    line(format_args!("   [{who} sees]"));
    for row in rows {
        line(format_args!("     {row}"));
    }
}

/// At most `chars_max` characters of a text, on one line.
pub fn shortened(text: &str, chars_max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= chars_max {
        return line;
    }
    line.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}

/// A number with thousands set apart.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let lead = digits.len() % 3;
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && at % 3 == lead {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many there are of something, in words: `1 observation`, `9,817 observations`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number as u64), if number == 1 { one } else { many })
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    if bytes < 10_000 {
        return format!("{} B", thousands(bytes));
    }
    let kilo = bytes / 1_000;
    if kilo < 10_000 { format!("{} kB", thousands(kilo)) } else { format!("{} MB", thousands(kilo / 1_000)) }
}

/// A progress bar that shows itself only on a terminal, and only if the work takes a while.
pub fn progress(total: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total as u64);
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
    if let Ok(style) =
        ProgressStyle::with_template("   {msg} {wide_bar} {pos}/{len} {elapsed} (about {eta} left)")
    {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// What was promised, and whether it held.
#[derive(Default)]
pub struct Promises(Vec<(String, bool, String)>);

impl Promises {
    /// Checks one promise and says whether it held. Its figures are told in the table, unless it is broken.
    pub fn check(&mut self, promise: &str, held: bool, figures: impl Display) {
        if held {
            say(format_args!("[kept]   {promise}"));
        } else {
            say(format_args!("[BROKEN] {promise}: {figures}"));
        }
        self.0.push((promise.to_owned(), held, figures.to_string()));
    }

    /// Whether every promise held.
    pub fn all_kept(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(_, held, _)| *held)
    }

    /// Prints every promise in a table.
    pub fn table(&self) {
        let width = self.0.iter().map(|(promise, _, _)| promise.chars().count()).max().unwrap_or_default();
        for (promise, held, figures) in &self.0 {
            say(format_args!("{} {promise:width$}  {figures}", if *held { "kept  " } else { "BROKEN" }));
        }
        let kept = self.0.iter().filter(|(_, held, _)| *held).count();
        say(format_args!("{kept} of {} promises kept", self.0.len()));
    }
}

/// Times the parts of the story.
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds so far, with one decimal.
    pub fn seconds(&self) -> String {
        format!("{:.1} s", self.0.elapsed().as_secs_f64())
    }
}
