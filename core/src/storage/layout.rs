//! How a pair lies in sled's one tree: as one row, or as a head row and chunks.
//!
//! | row key                                        | row value                              |
//! |------------------------------------------------|----------------------------------------|
//! | `0`                                            | the format record, see `disk.rs`       |
//! | `1`, escaped (table, key)                      | `0`, value — or `1`, chunk count (u32) |
//! | `2`, table, key length (u8), key, index (u32)  | a piece of the value                   |
//!
//! Numbers are big-endian. The layout goes around two faults of sled 0.34:
//!
//! - A page over 128 KiB is written into a file of its own, which is never flushed and cannot be
//!   rolled back when the disk is full. A leaf holds about 20 rows, an index page some 300 keys;
//!   rows of at most 4 KiB and keys of at most 255 bytes (340 escaped) keep pages below that.
//! - Stepping backwards over the edge of a page, it takes `ff ff ff ff` for the greatest possible
//!   suffix, and panics if a key has a greater one. Anybody who can choose a key could stop a store
//!   that way. So a zero is put after every third `ff` in a row, which leaves the order as it was.

use std::collections::BTreeMap;

use super::{Batch, StoreError, Table};

/// The row that says what this store is.
pub(super) const RECORD: &[u8] = &[0];
const ROW: u8 = 1;
const CHUNK: u8 = 2;

const WHOLE: u8 = 0;
const CHUNKED: u8 = 1;
const CHUNK_BYTES: usize = 4096;

/// Bytes `ff` in a row after which a zero is put into a row key.
const RUN_MAX: usize = 3;

/// The rows to write for a batch; `None` removes one.
pub(super) type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The row key for a key, and the prefix of row keys for a prefix.
pub(super) fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut row_key = vec![ROW];
    let mut run = 0;
    for byte in std::iter::once(table.0).chain(key.iter().copied()) {
        row_key.push(byte);
        run = if byte == u8::MAX { run + 1 } else { 0 };
        if run == RUN_MAX {
            row_key.push(0);
            run = 0;
        }
    }
    row_key
}

/// The key inside a row key made by [`row_key`].
pub(super) fn key_of(row_key: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(row_key.len());
    let mut run = 0;
    for &byte in row_key.iter().skip(1) {
        if run == RUN_MAX {
            run = 0;
            continue;
        }
        key.push(byte);
        run = if byte == u8::MAX { run + 1 } else { 0 };
    }
    // The first byte is the table.
    key.split_off(1.min(key.len()))
}

/// The rows that make `batch` true, given how to read the present ones.
pub(super) fn rows_of(
    batch: Batch,
    read: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Rows, StoreError> {
    let last_per_key: BTreeMap<_, _> =
        batch.into_writes().into_iter().map(|w| ((w.table, w.key), w.value)).collect();
    let mut rows = Rows::new();
    for ((table, key), value) in last_per_key {
        let row_key = row_key(table, &key);
        // Reading first also means that an unreadable page fails the batch before its first write.
        let chunks_old = match read(&row_key)? {
            Some(row) => chunk_count(&row)?,
            None => 0,
        };
        let pieces = match &value {
            Some(value) if value.len() > CHUNK_BYTES => value.chunks(CHUNK_BYTES).collect(),
            _ => Vec::new(),
        };
        let mut chunks_new = 0;
        for piece in pieces {
            rows.insert(chunk_key(table, &key, chunks_new), Some(piece.to_vec()));
            chunks_new += 1;
        }
        for index in chunks_new..chunks_old {
            rows.insert(chunk_key(table, &key, index), None);
        }
        let head = value.map(|value| match chunks_new {
            0 => [&[WHOLE], value.as_slice()].concat(),
            count => [&[CHUNKED][..], &count.to_be_bytes()].concat(),
        });
        rows.insert(row_key, head);
    }
    Ok(rows)
}

/// The value of a key, from its row and its chunks.
pub(super) fn value_of(
    table: Table,
    key: &[u8],
    row: &[u8],
    read: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Vec<u8>, StoreError> {
    if let Some((&WHOLE, value)) = row.split_first() {
        return Ok(value.to_vec());
    }
    let mut value = Vec::new();
    for index in 0..chunk_count(row)? {
        let piece = read(&chunk_key(table, key, index))?
            .ok_or_else(|| damaged("a piece of a large value is missing"))?;
        value.extend(piece);
    }
    Ok(value)
}

fn chunk_count(row: &[u8]) -> Result<u32, StoreError> {
    match row.split_first() {
        Some((&WHOLE, _)) => Ok(0),
        Some((&CHUNKED, count)) => {
            count.try_into().map(u32::from_be_bytes).map_err(|_| damaged("a row has a bad length"))
        }
        _ => Err(damaged("a row is of no known kind")),
    }
}

fn chunk_key(table: Table, key: &[u8], index: u32) -> Vec<u8> {
    let key_bytes = u8::try_from(key.len()).unwrap_or(u8::MAX);
    [&[CHUNK, table.0, key_bytes], key, &index.to_be_bytes()].concat()
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt { what: what.to_owned() }
}
