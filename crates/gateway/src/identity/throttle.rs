//! A brake on guessing passwords: after a few failures for one name, that name
//! has to wait. Kept in memory: a restart or another gateway gives an attacker
//! a few more tries, not a way round.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures that cost nothing.
const FREE_FAILURES: u32 = 5;
/// The wait after one failure more; doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// Failures are forgotten this long after the last.
const MEMORY: Duration = Duration::from_mins(15);
/// Names remembered at once: bounds the memory that made-up names can take.
const MAX_NAMES: usize = 10_000;

/// Failures by name.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<HashMap<String, Failures>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn wait(self) -> Duration {
        match self.count.checked_sub(FREE_FAILURES) {
            None => Duration::ZERO,
            Some(more) => FIRST_WAIT
                .saturating_mul(1 << more.min(16))
                .min(LONGEST_WAIT),
        }
    }
}

impl Throttle {
    /// How long `name` still has to wait before it may try again.
    pub fn wait(&self, name: &str, now: Instant) -> Option<Duration> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = names.get(name)?;
        failures
            .wait()
            .checked_sub(now.duration_since(failures.last))
            .filter(|wait| !wait.is_zero())
    }

    /// Remembers a failure.
    pub fn failed(&self, name: &str, now: Instant) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MAX_NAMES {
            names.retain(|_, failures| now.duration_since(failures.last) < MEMORY);
        }
        if names.len() >= MAX_NAMES && !names.contains_key(name) {
            // Made-up names must not keep a real one from being remembered.
            let oldest = names.iter().min_by_key(|(_, failures)| failures.last);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                names.remove(&oldest);
            }
        }
        let failures = names.entry(name.to_owned()).or_insert(Failures {
            count: 0,
            last: now,
        });
        if now.duration_since(failures.last) >= MEMORY {
            failures.count = 0;
        }
        failures.count += 1;
        failures.last = now;
    }

    /// Forgets the failures of `name`: it has shown the password.
    pub fn succeeded(&self, name: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_failures_are_free_then_each_costs_more() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..FREE_FAILURES - 1 {
            throttle.failed("alice", now);
        }
        assert_eq!(throttle.wait("alice", now), None);
        throttle.failed("alice", now);
        assert_eq!(throttle.wait("alice", now), Some(FIRST_WAIT));
        throttle.failed("alice", now);
        assert_eq!(throttle.wait("alice", now), Some(FIRST_WAIT * 2));
        assert_eq!(throttle.wait("alice", now + FIRST_WAIT * 2), None);
        assert_eq!(throttle.wait("bob", now), None);
    }

    #[test]
    fn made_up_names_keep_no_real_one_out() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for number in 0..MAX_NAMES {
            throttle.failed(&format!("nobody{number}"), now);
        }
        let later = now + Duration::from_secs(1);
        for _ in 0..FREE_FAILURES {
            throttle.failed("alice", later);
        }
        assert_eq!(throttle.wait("alice", later), Some(FIRST_WAIT));
        assert_eq!(throttle.0.lock().unwrap().len(), MAX_NAMES);
    }

    #[test]
    fn the_wait_has_an_end_and_success_forgets() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..100 {
            throttle.failed("alice", now);
        }
        assert_eq!(throttle.wait("alice", now), Some(LONGEST_WAIT));
        throttle.succeeded("alice");
        assert_eq!(throttle.wait("alice", now), None);
    }
}
