//! How often a view is painted: at once when it was quiet, and ten times a second
//! when it never is.

use std::time::Duration;

use tokio::time::Instant;

/// What each painting costs of the time: ten a second in the long run.
pub(super) const EACH: Duration = Duration::from_millis(100);
/// Paintings that may come at once after some quiet: one thing that happens is often
/// heard of in two or three updates.
const AT_ONCE: u32 = 4;
/// What is heard within this is shown together.
const TOGETHER: Duration = Duration::from_millis(3);

/// The paintings so far, as the time that they have used up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    used_until: Instant,
}

impl Pace {
    /// After a first painting.
    pub(super) fn from(now: Instant) -> Self {
        Self {
            used_until: now + EACH,
        }
    }

    /// When what was heard now may be painted.
    pub(super) fn next(&self, now: Instant) -> Instant {
        let earliest = self.used_until.checked_sub(EACH * (AT_ONCE - 1));
        earliest.unwrap_or(now).max(now + TOGETHER)
    }

    /// It is painted.
    pub(super) fn painted(&mut self, now: Instant) {
        self.used_until = self.used_until.max(now) + EACH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When paintings come that are asked for without a break, in milliseconds.
    fn paintings(pace: &mut Pace, from: Instant, until: Duration) -> Vec<u128> {
        let mut now = from;
        let mut times = Vec::new();
        while now < from + until {
            now = pace.next(now);
            pace.painted(now);
            times.push((now - from).as_millis());
        }
        times
    }

    #[test]
    fn a_few_come_at_once_and_then_ten_a_second() {
        let from = Instant::now();
        let mut pace = Pace::from(from);
        let times = paintings(&mut pace, from, Duration::from_secs(10));
        assert_eq!(times[..3], [3, 6, 9]);
        assert!(times[3] >= 100, "{times:?}");
        let in_ten_seconds = times.iter().filter(|at| **at < 10_000).count();
        assert!((100..=104).contains(&in_ten_seconds), "{in_ten_seconds}");
    }

    #[test]
    fn after_some_quiet_they_come_at_once_again() {
        let from = Instant::now();
        let mut pace = Pace::from(from);
        paintings(&mut pace, from, Duration::from_secs(1));
        let later = from + Duration::from_secs(2);
        assert_eq!(pace.next(later), later + TOGETHER);
    }
}
