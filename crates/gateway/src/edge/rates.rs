//! Requests a second: token buckets, one for each address and for each user, for
//! reads and for writes. A bucket holds ten seconds of its rate, so that a page with all
//! its parts, or a quick hand, never meets them.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use waybill_domain::ids::Username;

use crate::http::client::ClientAddress;
use crate::settings::edge;

/// Seconds of its rate that a bucket holds.
const BURST: u32 = 10;
/// So often a limiter forgets those whose buckets are full again.
const FORGET_EACH: u32 = 4_096;

/// Every bucket.
#[derive(Debug)]
pub(super) struct Rates {
    addresses: Each<std::net::IpAddr>,
    users: Each<Username>,
}

impl Rates {
    pub(super) fn new(rates: edge::Rates) -> Self {
        Self {
            addresses: Each::new(rates.reads_per_address, rates.writes_per_address),
            users: Each::new(rates.reads_per_user, rates.writes_per_user),
        }
    }

    /// One request more from this address, or how long it has to wait. This machine
    /// itself never waits: it stands for all when a proxy on it is not named in
    /// `TRUSTED_PROXIES`.
    pub(super) fn of_address(&self, from: ClientAddress, is_read: bool) -> Result<(), Duration> {
        if from.is_this_machine() {
            return Ok(());
        }
        self.addresses.take(is_read, &from.caller())
    }

    pub(super) fn count_users(&self) -> bool {
        self.users.reads.is_some() || self.users.writes.is_some()
    }

    /// One request more of this user, or how long they have to wait.
    pub(super) fn of_user(&self, user: &Username, is_read: bool) -> Result<(), Duration> {
        self.users.take(is_read, user)
    }
}

#[derive(Debug)]
struct Each<K: Hash + Eq + Clone> {
    reads: Option<Buckets<K>>,
    writes: Option<Buckets<K>>,
}

impl<K: Hash + Eq + Clone> Each<K> {
    fn new(reads: Option<u32>, writes: Option<u32>) -> Self {
        let buckets = |rate: Option<u32>| rate.and_then(NonZeroU32::new).map(Buckets::new);
        Self {
            reads: buckets(reads),
            writes: buckets(writes),
        }
    }

    fn take(&self, is_read: bool, key: &K) -> Result<(), Duration> {
        let buckets = if is_read { &self.reads } else { &self.writes };
        buckets.as_ref().map_or(Ok(()), |buckets| buckets.take(key))
    }
}

#[derive(Debug)]
struct Buckets<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    taken: AtomicU32,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(rate: NonZeroU32) -> Self {
        let burst = rate.saturating_mul(NonZeroU32::new(BURST).expect("not 0"));
        Self {
            limiter: DefaultKeyedRateLimiter::keyed(Quota::per_second(rate).allow_burst(burst)),
            clock: DefaultClock::default(),
            taken: AtomicU32::new(0),
        }
    }

    fn take(&self, key: &K) -> Result<(), Duration> {
        if self.taken.fetch_add(1, Ordering::Relaxed) % FORGET_EACH == FORGET_EACH - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter
            .check_key(key)
            .map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> Rates {
        Rates::new(edge::Rates {
            reads_per_address: Some(10),
            writes_per_address: Some(1),
            reads_per_user: None,
            writes_per_user: Some(1),
        })
    }

    fn at(text: &str) -> ClientAddress {
        ClientAddress::told(text.parse().unwrap())
    }

    #[test]
    fn ten_seconds_at_once_and_then_a_wait() {
        let (rates, one) = (rates(), at("192.0.2.1"));
        for _ in 0..10 {
            assert_eq!(rates.of_address(one, false), Ok(()));
        }
        let wait = rates.of_address(one, false).unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        // Others, and reads, go on.
        assert_eq!(rates.of_address(at("192.0.2.2"), false), Ok(()));
        assert_eq!(rates.of_address(one, true), Ok(()));
    }

    #[test]
    fn users_and_this_machine_are_counted_apart() {
        let rates = rates();
        let alice = Username::parse("alice").unwrap();
        let refused = (0..20).filter(|_| rates.of_user(&alice, false).is_err());
        assert!(refused.count() > 5);
        assert!((0..99).all(|_| rates.of_user(&alice, true).is_ok()));
        assert!((0..99).all(|_| rates.of_address(ClientAddress::OURSELVES, false).is_ok()));
    }

    #[test]
    fn made_up_addresses_are_forgotten() {
        let buckets: Buckets<u32> = Buckets::new(NonZeroU32::new(1_000_000).unwrap());
        for key in 0..FORGET_EACH * 2 {
            assert_eq!(buckets.take(&key), Ok(()));
        }
        assert!(buckets.limiter.len() <= FORGET_EACH as usize + 1);
    }
}
