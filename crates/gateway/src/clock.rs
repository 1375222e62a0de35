//! Time between two moments.

use waybill_domain::Timestamp;

/// Milliseconds from `earlier` to `later`; clocks that disagree make it 0.
pub fn millis_between(earlier: Timestamp, later: Timestamp) -> u64 {
    u64::try_from(later.as_millisecond() - earlier.as_millisecond()).unwrap_or(0)
}
