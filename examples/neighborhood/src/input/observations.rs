//! Observations as the core reads them from GeoJSON or a table, with what the example adds for its story and its checks.

use std::sync::LazyLock;

use lamppost_core::exchange::import::{self, Draft, Imported};
use serde::Deserialize;
use serde_json::Value;

use super::{InputError, Loaded, Planted, Refused, Report};

/// Where each property goes. A feature without `what_happened` is somebody else's: of it, text and time are used.
pub(super) static MAPPING: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let story = [
        ("comment", "comment"),
        ("planted", "planted, besides what is sealed"),
        ("same_event", "same_event"),
    ];
    import::PROPERTIES.iter().copied().chain(story).collect()
});

/// Reads a collection. `undated_ms` is the time of features that name none, in milliseconds since the Unix epoch.
pub(super) fn parse(text: &str, undated_ms: i64) -> Result<Loaded, InputError> {
    Ok(loaded("feature", import::geojson(text, undated_ms)?))
}

/// Reads a table with columns of the core's.
pub(super) fn parse_table(text: &str, undated_ms: i64) -> Result<Loaded, InputError> {
    Ok(loaded("row", import::csv(text, undated_ms)?))
}

fn loaded(called: &str, imported: Imported) -> Loaded {
    let mut loaded = Loaded { mapping: &MAPPING, ..Loaded::default() };
    for row in imported.rows {
        match row.draft.and_then(report).and_then(super::acceptable) {
            Ok(report) => loaded.reports.push(report),
            // A file may be one single line.
            Err(what) => {
                let what = format!("{called} {}: {what}", row.number);
                loaded.refused.push(Refused { line: row.line, what });
            }
        }
    }
    loaded
}

/// What a feature of the example's own says besides.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Story {
    comment: String,
    planted: Vec<String>,
    same_event: Option<String>,
}

fn report(draft: Draft) -> Result<Report, String> {
    let Draft { observation, sealed, rest } = draft;
    let sealed = sealed.unwrap_or_default();
    let story: Story = serde_json::from_value(Value::Object(rest)).map_err(|error| error.to_string())?;
    let mut planted = Planted::default();
    planted.secret(&sealed.address);
    for vehicle in &sealed.vehicles {
        planted.secret(&vehicle.plate);
    }
    for secret in &story.planted {
        planted.secret(secret);
    }
    planted.phrases(&observation.what_happened);
    planted.phrases(&story.comment);
    planted.phrases(&sealed.notes);
    for people in &sealed.people {
        planted.phrases(&people.clothing);
        planted.phrases(&people.features);
    }
    Ok(Report {
        observation,
        sealed,
        comment: story.comment,
        planted: planted.0,
        same_event: story.same_event,
    })
}
