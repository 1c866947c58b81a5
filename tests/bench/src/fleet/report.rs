//! Ratios to the floors, and a table for people.

use serde_json::{Value, json};

/// Smallest size at which growth is judged.
const GROWTH_FROM_ROWS: u64 = 2_000;

const MB: f64 = 1e6;

fn number(run: &Value, pointer: &str) -> f64 {
    run.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

fn ratio(name: &str, value: f64, target: f64) -> Value {
    json!({ "name": name, "value": value, "at_most": target, "reached": value <= target })
}

/// What a run took, as multiples of its floors.
pub fn ratios(run: &Value) -> Value {
    let at = |pointer: &str| number(run, pointer);
    let relay_us_per_entry = at("/w1_upload/relay/cpu_ms") * 1e3 / at("/entries");
    let load_ms = at("/floors/automerge/took/wall_ms");
    // Other programs on the machine stretch wall time more than CPU time: both are shown.
    let load_cpu_ms = at("/floors/automerge/took/cpu_ms");
    let join_ms = at("/w2_join/wall_ms");
    let raw = |what: &str| at(&format!("/floors/automerge/details/create_change_bytes/{what}"));
    let sealed = |what: &str| at(&format!("/create_entry_bytes/{what}"));
    json!([
        ratio(
            "w1: relay CPU per entry / sled CPU per entry",
            relay_us_per_entry / at("/floors/sled/details/cpu_us_per_entry"),
            4.0
        ),
        ratio("w2: wall / Automerge load wall", join_ms / load_ms, 3.0),
        ratio("w2: CPU / Automerge load CPU", at("/w2_join/client/cpu_ms") / load_cpu_ms, 3.0),
        ratio("w2: first 50 / wall", at("/w2_join/details/first_ms") / join_ms, 0.05),
        ratio(
            "w3: p50 / echo and durable write p50",
            at("/w3_live/details/seen_ms/p50") / at("/floors/echo/details/echo_and_write_ms/p50"),
            3.0
        ),
        ratio("w4: wall / Automerge load wall", at("/w4_cold_start/wall_ms") / load_ms, 0.1),
        ratio("wire: create entry / Automerge change, mean", sealed("mean") / raw("mean"), 1.5),
        ratio("wire: create entry / Automerge change, p50", sealed("p50") / raw("p50"), 1.5),
        ratio(
            "memory: relay with 1,000 idle phones, MB",
            at("/memory/relay_with_sessions/peak_bytes") / MB,
            100.0
        ),
        ratio("memory: phone that only lists, MB", at("/memory/lister/peak_bytes") / MB, 60.0),
    ])
}

/// Adds how joining grows from size to size, where there are two to compare.
pub fn compare(runs: &mut [Value]) {
    let per_document = |run: &Value| number(run, "/w2_join/wall_ms") / number(run, "/documents");
    let base = runs
        .iter()
        .find(|run| run["rows"].as_u64() >= Some(GROWTH_FROM_ROWS))
        .map(|run| (run["rows"].clone(), per_document(run)));
    let Some((rows, base_ms)) = base else { return };
    for run in runs.iter_mut().filter(|run| run["rows"].as_u64() > rows.as_u64()) {
        let grown = per_document(run) / base_ms;
        if let Some(ratios) = run["ratios"].as_array_mut() {
            ratios.push(ratio(&format!("w2: wall per document, to that at {rows} rows"), grown, 1.25));
        }
    }
}

/// Prints what people want to see first.
pub fn print(report: &Value) {
    for run in report["runs"].as_array().into_iter().flatten() {
        println!("{} rows, {} documents, {} entries", run["rows"], run["documents"], run["entries"]);
        println!(
            "  {:12} {:>10} {:>10} {:>10} {:>9} {:>9} {:>8} {:>8}",
            "", "wall ms", "client ms", "relay ms", "sent KB", "recv KB", "phone MB", "relay MB"
        );
        for (name, key) in [
            ("upload", "w1_upload"),
            ("join", "w2_join"),
            ("live", "w3_live"),
            ("cold start", "w4_cold_start"),
        ] {
            let at = |pointer: &str| number(&run[key], pointer);
            println!(
                "  {name:12} {:>10.1} {:>10.0} {:>10.0} {:>9.0} {:>9.0} {:>8.1} {:>8.1}",
                at("/wall_ms"),
                at("/client/cpu_ms"),
                at("/relay/cpu_ms"),
                at("/client/sent_bytes") / 1e3,
                at("/client/received_bytes") / 1e3,
                at("/client/peak_rss_bytes") / MB,
                at("/relay/peak_rss_bytes") / MB,
            );
        }
        for ratio in run["ratios"].as_array().into_iter().flatten() {
            let reached = if ratio["reached"] == true { "reached" } else { "MISSED" };
            let (value, target) = (number(ratio, "/value"), number(ratio, "/at_most"));
            let name = ratio["name"].as_str().unwrap_or_default();
            println!("  {name:52} {value:>9.3}  at most {target:<6} {reached}");
        }
        println!();
    }
}
