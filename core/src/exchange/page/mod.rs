//! One sheet of paper: a single HTML file without scripts and without anything from outside.
//!
//! Every text is escaped by the template (`maud`), and the file's own policy forbids what it does not hold: whatever slipped
//! into a text, a browser would not run or fetch it. Times are in UTC, and say so.

mod words;

use data_encoding::BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

use super::ledger::Ledger;
use super::{text, time};
use crate::watch::{Cell, OpenFact, Release, ReleasedItem, When, codes};
use words::Words;

pub use words::Language;

/// Most events that are told one by one: what fits on a sheet beside the sums.
pub const EVENTS_COUNT_MAX: usize = 12;

/// Longest text of one event on the sheet, in characters.
pub const EVENT_CHARS_MAX: usize = 240;

const STYLE: &str = "body{font:10pt/1.35 system-ui,sans-serif;color:#000;background:#fff;max-width:48em;margin:1.5em auto;\
padding:0 1em}h1{font-size:1.4em}h2{font-size:1.1em;margin-bottom:.3em}table{border-collapse:collapse;width:100%}\
th,td{border-bottom:1px solid #999;padding:.2em .5em;text-align:start;vertical-align:top}td.n,th.n{text-align:end}\
tfoot td{font-weight:bold}p.small{font-size:.85em}@page{margin:15mm}@media print{body{margin:0;max-width:none}\
tr{break-inside:avoid}}";

/// What a release says, on one sheet: what it is for, how much of what, and its first events in short.
pub fn release(release: &Release, language: Language) -> String {
    let w = language.words();
    let title = text::line(&release.title);
    let left_out = release.items.len().saturating_sub(EVENTS_COUNT_MAX);
    let body = html! {
        h1 dir="auto" { (title) }
        table {
            tbody {
                (fact(w.purpose, &text::plain(&release.purpose)))
                (fact(w.made, &minute(release.created_ms)))
                (fact(w.destroy_by, &release.expires_ms.map_or_else(|| w.policy_decides.to_owned(), minute)))
                (fact(w.revision, &release.revision.to_string()))
                (fact(w.events, &release.items.len().to_string()))
                (fact(w.reports_behind, &release.sources_count.to_string()))
            }
        }
        h2 { (w.behaviours) }
        p.small { (w.several_behaviours) }
        (counted(&behaviours(&release.items, language), None, w))
        h2 { (w.events) }
        (events(release.items.get(..EVENTS_COUNT_MAX).unwrap_or(&release.items), language))
        @if left_out > 0 {
            p { (left_out) " " (w.more_events) }
        }
        @if !release.open_facts.is_empty() {
            h2 { (w.open_facts) }
            table { tbody { @for open in release.open_facts.iter().take(EVENTS_COUNT_MAX) { (disagreement(open, language)) } } }
        }
        p.small { (w.tips) }
    };
    sheet(&title, &body, language)
}

/// What became of all reports, on one sheet. The sums are those of the ledger, so they add up on paper if they add up there.
pub fn ledger(ledger: &Ledger, now_ms: i64, language: Language) -> String {
    let w = language.words();
    let labelled = |counts: &BTreeMap<String, u64>, catalogue: &'static codes::Catalogue| {
        let label = |code: &str| match code {
            "" => w.not_stated.to_owned(),
            code => text::line(catalogue.label(code, language.tag())),
        };
        counts.iter().map(|(code, count)| (label(code), *count)).collect::<Vec<_>>()
    };
    let mut rows = vec![
        (w.kept.to_owned(), ledger.kept),
        (w.recalled.to_owned(), ledger.recalled),
        (w.unanswered.to_owned(), ledger.unanswered),
    ];
    rows.extend(
        labelled(&ledger.open, codes::response_status())
            .into_iter()
            .map(|(l, n)| (format!("{}: {l}", w.open), n)),
    );
    rows.extend(
        labelled(&ledger.closed, codes::outcome())
            .into_iter()
            .map(|(l, n)| (format!("{}: {l}", w.closed), n)),
    );
    let body = html! {
        h1 { (w.ledger_title) }
        p { (w.ledger_says) " " (minute(now_ms)) }
        (counted(&rows, Some(ledger.reports), w))
        p.small { (w.closed_is_not_fixed) }
    };
    sheet(w.ledger_title, &body, language)
}

fn sheet(title: &str, body: &Markup, language: Language) -> String {
    // The one style is allowed by its hash (CSP level 2); there is nothing else to allow.
    let style_hash = BASE64.encode(&Sha256::digest(STYLE));
    let policy =
        format!("default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'");
    let page = html! {
        (DOCTYPE)
        html lang=(language.tag()) {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    page.into_string()
}

fn fact(name: &str, value: &str) -> Markup {
    html! { tr { th scope="row" { (name) } td dir="auto" { (value) } } }
}

/// Rows with their numbers, and their total if they add up to one.
fn counted(rows: &[(String, u64)], total: Option<u64>, w: &Words) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { (w.what) } th.n scope="col" { (w.how_many) } } }
            tbody {
                @for (label, count) in rows {
                    tr { td dir="auto" { (label) } td.n { (count) } }
                }
            }
            @if let Some(total) = total {
                tfoot { tr { td { (w.total) } td.n { (total) } } }
            }
        }
    }
}

fn events(items: &[ReleasedItem], language: Language) -> Markup {
    let w = language.words();
    html! {
        table {
            thead {
                tr {
                    th scope="col" { (w.when) }
                    th scope="col" { (w.place) }
                    th scope="col" { (w.what_happened) }
                }
            }
            tbody {
                @for item in items {
                    tr {
                        td { (when(&item.when, language)) }
                        td { (place(item, language)) }
                        td dir="auto" { (text::cut(&text::line(&item.what_happened), EVENT_CHARS_MAX)) }
                    }
                }
            }
        }
    }
}

/// A fact that the reports disagree about, with all that was said.
fn disagreement(open: &OpenFact, language: Language) -> Markup {
    let label = text::line(codes::facts().label(&open.fact, language.tag()));
    fact(&label, &text::cut(&text::line(&open.values.join(" / ")), EVENT_CHARS_MAX))
}

/// How many events show each behaviour, most first.
fn behaviours(items: &[ReleasedItem], language: Language) -> Vec<(String, u64)> {
    let mut count_by_code: BTreeMap<&str, u64> = BTreeMap::new();
    for code in items.iter().flat_map(|item| &item.behaviours) {
        *count_by_code.entry(code).or_default() += 1;
    }
    let label = |code: &str| text::line(codes::behaviours().label(code, language.tag()));
    let mut rows: Vec<_> = count_by_code.into_iter().map(|(code, count)| (label(code), count)).collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    rows
}

fn minute(ms: i64) -> String {
    time::in_form("%Y-%m-%d %H:%M UTC", ms)
}

/// As exact as the observer said, not as exact as the number.
fn when(when: &When, language: Language) -> String {
    let time = match when.precision.as_str() {
        "day" => time::in_form("%Y-%m-%d", when.start_ms),
        _ => minute(when.start_ms),
    };
    let precision = text::line(codes::precision().label(&when.precision, language.tag()));
    if matches!(when.precision.as_str(), "minute" | "day") { time } else { format!("{time} ({precision})") }
}

fn place(item: &ReleasedItem, language: Language) -> String {
    let label = text::line(codes::nibrs_location().label(&item.location, language.tag()));
    let cell = item.cell.parse::<Cell>().map(|cell| cell.to_string()).unwrap_or_default();
    [label, cell].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}
