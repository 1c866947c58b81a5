//! How the story is told: chapters, tables, progress, and the promises it keeps.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A chapter's heading.
pub fn chapter(number: u8, title: &str) {
    println!("\n{number}. {title}");
    println!("{}", "-".repeat(title.chars().count() + 3));
}

/// One line of the story.
pub fn say(text: impl std::fmt::Display) {
    println!("   {text}");
}

/// What somebody sees, under their name.
pub fn sees<T: std::fmt::Display>(who: &str, rows: impl IntoIterator<Item = T>) {
    println!("   [{who} sees]");
    for row in rows {
        println!("     {row}");
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
    /// Checks one promise and says how it went.
    pub fn check(&mut self, promise: &str, held: bool, figures: impl std::fmt::Display) {
        say(format_args!("{} {promise}: {figures}", if held { "[kept]  " } else { "[BROKEN]" }));
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
            println!("   {} {promise:width$}  {figures}", if *held { "kept  " } else { "BROKEN" });
        }
        let kept = self.0.iter().filter(|(_, held, _)| *held).count();
        println!("   {kept} of {} promises kept", self.0.len());
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
