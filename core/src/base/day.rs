//! Days, by which keys, bodies and notices age: phones and relays have to count them alike.

/// Milliseconds of a day.
pub const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// The day since the Unix epoch, of a time in milliseconds since then.
pub fn day_of(at_ms: u64) -> u32 {
    u32::try_from(at_ms / DAY_MS).unwrap_or(u32::MAX)
}
