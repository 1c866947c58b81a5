//! All bytes are a file. Every draft that comes of it may be filed, every complaint is short, and what a release would say
//! of the drafts comes back from the files that a release is written as.

use lamppost_core::exchange::import::{Draft, Imported, ImportedRow};
use lamppost_core::exchange::{Format, import, release};
use lamppost_core::watch::{Observation, Release, ReleasedItem, Sealed};

/// The time of what names none.
const UNDATED_MS: i64 = 1_780_000_000_000;

/// Longest complaint in bytes: it repeats little of the file.
const COMPLAINT_BYTES_MAX: usize = 1_000;

/// A GeoJSON file or a table, by what it begins with.
pub fn import_file(data: &[u8]) {
    let Ok(imported) = import(data, UNDATED_MS) else { return };
    check(data, &imported);
}

/// A table, whatever it begins with, under a header of ours.
pub fn import_table(data: &[u8]) {
    let header = "start,end,precision,behaviours,what_happened,latitude,longitude,substances,substance_bases,quantity,unit\n";
    import_file(&[header.as_bytes(), data].concat());
}

fn check(data: &[u8], imported: &Imported) {
    assert_eq!(import(data, UNDATED_MS).as_ref(), Ok(imported), "the same file gives the same");
    let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
    let mut last_line = 1;
    let mut observations = Vec::new();
    for (at, ImportedRow { number, line, draft }) in imported.rows.iter().enumerate() {
        assert_eq!(*number, at + 1);
        assert!((last_line..=lines).contains(line), "row {number} on line {line} of {lines}");
        last_line = *line;
        match draft {
            Ok(Draft { observation, sealed, .. }) => {
                assert_eq!(observation.validate(), Ok(()));
                let sealed = sealed.clone().unwrap_or_default();
                assert_eq!(Sealed { observation: "x".into(), ..sealed }.validate(), Ok(()));
                observations.push(observation);
            }
            Err(what) => assert!(!what.is_empty() && what.len() <= COMPLAINT_BYTES_MAX, "{what}"),
        }
    }
    // Code points that no file may hold are left out on the way.
    let is_character = |c: char| !matches!(c, '\u{FDD0}'..='\u{FDEF}') && u32::from(c) & 0xFFFE != 0xFFFE;
    observations.retain(|o| o.what_happened.chars().all(is_character));
    comes_back(&observations);
}

fn comes_back(observations: &[&Observation]) {
    if observations.is_empty() {
        return;
    }
    let release_of_all =
        Release { items: observations.iter().map(|o| item(o)).collect(), ..Release::default() };
    let expected: Vec<ReleasedItem> = release_of_all.items.clone();
    for format in [Format::Csv, Format::GeoJson] {
        let again = import(&release(&release_of_all, format), UNDATED_MS).unwrap();
        let again: Vec<ReleasedItem> =
            again.rows.iter().map(|row| item(&row.draft.as_ref().unwrap().observation)).collect();
        assert_eq!(again, expected, "{format:?}");
    }
}

fn item(observation: &Observation) -> ReleasedItem {
    let o = observation.clone();
    ReleasedItem {
        when: o.when,
        cell: o.cell,
        location: o.location,
        behaviours: o.behaviours,
        what_happened: o.what_happened,
        basis: o.basis,
        activity: o.activity,
        substances: o.substances,
        quantity: o.quantity,
        flags: o.flags,
        media: o.media,
    }
}
