//! Times as SQLite holds them, and what lies between two of them.

use waybill_domain::Timestamp;

/// Milliseconds from `earlier` to `later`; clocks that disagree make it 0.
pub fn millis_between(earlier: Timestamp, later: Timestamp) -> u64 {
    u64::try_from(later.as_millisecond() - earlier.as_millisecond()).unwrap_or(0)
}

/// The time of now in whole milliseconds, as messages to the services bring it.
pub fn now() -> Timestamp {
    timestamp(Timestamp::now().as_millisecond())
}

/// A time that SQLite holds, in milliseconds since 1970; one that no calendar has
/// is 1970 itself.
pub fn timestamp(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(millisecond).unwrap_or_default()
}
