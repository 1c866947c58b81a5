//! libFuzzer around the target that `LAMPPOST_FUZZ` names. `tests/fuzz/run` builds and starts it.

#![no_main]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock};

use lamppost_fuzz::{TARGETS, Target, target};

static TARGET: OnceLock<Target> = OnceLock::new();
static WORDS: Mutex<String> = Mutex::new(String::new());

fn begin() {
    let name = std::env::var("LAMPPOST_FUZZ").unwrap_or_default();
    let Some(target) = target(&name) else {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        panic!("LAMPPOST_FUZZ names the target: one of {}", names.join(", "));
    };
    let _ = TARGET.set(target);
    // Some panics are caught on purpose where a library asserts what hostile bytes break, so that not every panic is a
    // find. It is one if it comes up to here.
    std::panic::set_hook(Box::new(|panic| {
        let trace = if std::env::var_os("RUST_BACKTRACE").is_some() {
            std::backtrace::Backtrace::force_capture().to_string()
        } else {
            String::new()
        };
        if let Ok(mut words) = WORDS.lock() {
            *words = format!("{panic}\n{trace}");
        }
    }));
}

libfuzzer_sys::fuzz_target!(init: begin(), |data: &[u8]| {
    let target = TARGET.get().expect("it is set at the beginning");
    if catch_unwind(AssertUnwindSafe(|| target(data))).is_err() {
        eprintln!("{}", WORDS.lock().map(|words| words.clone()).unwrap_or_default());
        std::process::abort();
    }
});
