//! A brake on guessing passwords. Kept in memory: a restart or another gateway gives
//! an attacker a few more tries, not a way round.
//!
//! A try is counted as a failure in the same step in which it is let in, and taken
//! back when the password was right: however many come at once, no more are verified
//! than are free. Counted are
//!
//! | what | free | why |
//! | --- | --- | --- |
//! | a name from one address | 5 | guessing one person's password |
//! | one address, whatever the names | 20 | spraying one password over many names |
//! | a name from everywhere | 100 | many addresses that guess together |
//!
//! After the free ones each failure doubles the wait of that address. Failures from
//! elsewhere lock nobody out: past the hundredth, an address that the name has never
//! signed in from has one free try instead of five. And where it has signed in from,
//! others at the same address do not make it wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures for one name from one address that cost nothing.
const FREE_OF_NAME: u32 = 5;
/// The same once many addresses guess at the name.
const FREE_UNDER_ATTACK: u32 = 1;
/// Failures from one address that cost nothing.
const FREE_OF_ADDRESS: u32 = 20;
/// Failures for one name from everywhere that look like an attack.
const ATTACK: u32 = 100;
/// The wait after one failure more; doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// Failures are forgotten this long after the last.
const MEMORY: Duration = Duration::from_mins(15);
/// So long it is known where a name has signed in from.
const KNOWN_FOR: Duration = Duration::from_hours(24 * 30);
/// What is remembered of each kind at once: bounds the memory that made-up names and
/// addresses can take.
const MOST: usize = 10_000;

/// Failures, and who has signed in from where. A cheap clone.
#[derive(Debug, Clone, Default)]
pub struct Throttle(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    pairs: HashMap<(IpAddr, String), Failures>,
    addresses: HashMap<IpAddr, Failures>,
    names: HashMap<String, Failures>,
    known: HashMap<(IpAddr, String), Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    /// The rest of the wait that is due when so many are free.
    fn wait(self, free: u32, now: Instant) -> Option<Duration> {
        let more = self.count.checked_sub(free)?;
        FIRST_WAIT
            .saturating_mul(1 << more.min(16))
            .min(LONGEST_WAIT)
            .checked_sub(now.duration_since(self.last))
            .filter(|wait| !wait.is_zero())
    }
}

/// A try that was let in. Dropped, it stays counted as a failure.
#[derive(Debug)]
pub struct Try {
    throttle: Throttle,
    address: IpAddr,
    name: String,
    /// Whether the name has signed in from there before.
    pub is_known: bool,
}

impl Throttle {
    /// Counts a try for `name` from `address`, or says how long it has to wait.
    pub fn begin(&self, address: IpAddr, name: &str, now: Instant) -> Result<Try, Duration> {
        let pair = (address, name.to_owned());
        let mut counts = self.counts();
        let is_known = counts
            .known
            .get(&pair)
            .is_some_and(|since| now.duration_since(*since) < KNOWN_FOR);
        let fresh = |failures: Option<&Failures>| -> Option<Failures> {
            failures
                .copied()
                .filter(|failures| now.duration_since(failures.last) < MEMORY)
        };
        let is_attacked = fresh(counts.names.get(name)).is_some_and(|it| it.count >= ATTACK);
        let free = if is_attacked && !is_known {
            FREE_UNDER_ATTACK
        } else {
            FREE_OF_NAME
        };
        let of_pair = fresh(counts.pairs.get(&pair)).and_then(|it| it.wait(free, now));
        let of_address = fresh(counts.addresses.get(&address))
            .filter(|_| !is_known)
            .and_then(|it| it.wait(FREE_OF_ADDRESS, now));
        if let Some(wait) = of_pair.into_iter().chain(of_address).max() {
            return Err(wait);
        }
        add(&mut counts.pairs, pair, now);
        add(&mut counts.addresses, address, now);
        add(&mut counts.names, name.to_owned(), now);
        drop(counts);
        Ok(Try {
            throttle: self.clone(),
            address,
            name: name.to_owned(),
            is_known,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Try {
    /// It was the right password: the failures of the name at this address are
    /// forgotten. Those of others there are not, lest who has an account guesses
    /// for free.
    pub fn succeeded(self, now: Instant) {
        let mut counts = self.throttle.counts();
        let pair = (self.address, self.name);
        take_one(&mut counts.addresses, &pair.0);
        take_one(&mut counts.names, &pair.1);
        counts.pairs.remove(&pair);
        make_room(&mut counts.known, &pair, now, KNOWN_FOR, |since| *since);
        counts.known.insert(pair, now);
    }

    /// Nobody has looked at the password.
    pub fn withdrawn(self) {
        let mut counts = self.throttle.counts();
        let pair = (self.address, self.name);
        take_one(&mut counts.addresses, &pair.0);
        take_one(&mut counts.names, &pair.1);
        take_one(&mut counts.pairs, &pair);
    }
}

fn add<K: Eq + Hash + Clone>(counts: &mut HashMap<K, Failures>, key: K, now: Instant) {
    make_room(counts, &key, now, MEMORY, |failures| failures.last);
    let failures = counts.entry(key).or_insert(Failures {
        count: 0,
        last: now,
    });
    if now.duration_since(failures.last) >= MEMORY {
        failures.count = 0;
    }
    failures.count += 1;
    failures.last = now;
}

fn take_one<K: Eq + Hash>(counts: &mut HashMap<K, Failures>, key: &K) {
    if let Some(failures) = counts.get_mut(key) {
        failures.count = failures.count.saturating_sub(1);
        if failures.count == 0 {
            counts.remove(key);
        }
    }
}

/// Forgets what is old, or else a tenth of all, the oldest: made-up names must not
/// keep a real one from being remembered.
fn make_room<K: Eq + Hash + Clone, V>(
    kept: &mut HashMap<K, V>,
    key: &K,
    now: Instant,
    memory: Duration,
    last: impl Fn(&V) -> Instant,
) {
    if kept.len() < MOST || kept.contains_key(key) {
        return;
    }
    kept.retain(|_, value| now.duration_since(last(value)) < memory);
    if kept.len() < MOST {
        return;
    }
    let mut by_age: Vec<_> = kept
        .iter()
        .map(|(key, value)| (last(value), key.clone()))
        .collect();
    by_age.sort_by_key(|(last, _)| *last);
    for (_, key) in by_age.into_iter().take(MOST / 10) {
        kept.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// How many of so many tries at once are let in.
    fn let_in(throttle: &Throttle, address: IpAddr, name: &str, tries: u32, now: Instant) -> u32 {
        let tries = (0..tries).map(|_| throttle.begin(address, name, now));
        u32::try_from(tries.flatten().count()).unwrap()
    }

    #[test]
    fn however_many_come_at_once_only_the_free_ones_are_let_in() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(let_in(&throttle, at(1), "alice", 200, now), FREE_OF_NAME);
        let wait = throttle.begin(at(1), "alice", now).unwrap_err();
        assert_eq!(wait, FIRST_WAIT);
        let later = now + FIRST_WAIT;
        assert_eq!(let_in(&throttle, at(1), "alice", 200, later), 1);
        let wait = throttle.begin(at(1), "alice", later).unwrap_err();
        assert_eq!(wait, FIRST_WAIT * 2);
    }

    #[test]
    fn many_names_from_one_address_are_few() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let tries = (0..200).map(|n| throttle.begin(at(1), &format!("user{n}"), now));
        let count = tries.flatten().count();
        assert_eq!(count, FREE_OF_ADDRESS as usize);
        // Others are not concerned.
        assert!(throttle.begin(at(2), "user7", now).is_ok());
    }

    #[test]
    fn failures_from_elsewhere_lock_nobody_out() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.begin(at(1), "alice", now).unwrap().succeeded(now);
        for last in 2..=255 {
            let_in(&throttle, at(last), "alice", 9, now);
        }
        // Where she has signed in before she may err as ever, elsewhere once.
        assert_eq!(let_in(&throttle, at(1), "alice", 9, now), FREE_OF_NAME);
        let new = IpAddr::from([198, 51, 100, 1]);
        assert_eq!(let_in(&throttle, new, "alice", 9, now), FREE_UNDER_ATTACK);
        assert_eq!(let_in(&throttle, new, "bob", 9, now), FREE_OF_NAME);
    }

    #[test]
    fn a_neighbour_who_sprays_makes_only_strangers_wait() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        throttle.begin(at(1), "alice", now).unwrap().succeeded(now);
        for n in 0..200 {
            drop(throttle.begin(at(1), &format!("user{n}"), now));
        }
        assert!(throttle.begin(at(1), "bob", now).is_err());
        assert!(throttle.begin(at(1), "alice", now).is_ok());
    }

    #[test]
    fn success_forgets_the_name_and_not_the_address() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..15 {
            drop(throttle.begin(at(1), &format!("user{n}"), now));
        }
        assert_eq!(let_in(&throttle, at(1), "mallory", 4, now), 4);
        let right = throttle.begin(at(1), "mallory", now).unwrap();
        right.succeeded(now);
        assert_eq!(let_in(&throttle, at(1), "mallory", 1, now), 1);
        assert!(throttle.begin(at(1), "victim", now).is_err());
    }

    #[test]
    fn what_nobody_looked_at_is_not_counted() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..200 {
            throttle.begin(at(1), "alice", now).unwrap().withdrawn();
        }
        assert!(throttle.counts().pairs.is_empty());
        assert!(throttle.counts().addresses.is_empty());
    }

    #[test]
    fn the_wait_has_an_end_and_is_forgotten() {
        let (throttle, mut now) = (Throttle::default(), Instant::now());
        for _ in 0..40 {
            now += LONGEST_WAIT;
            drop(throttle.begin(at(1), "alice", now));
        }
        let wait = throttle.begin(at(1), "alice", now).unwrap_err();
        assert_eq!(wait, LONGEST_WAIT);
        assert_eq!(
            let_in(&throttle, at(1), "alice", 9, now + MEMORY),
            FREE_OF_NAME
        );
    }

    #[test]
    fn made_up_names_and_addresses_take_little_memory() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..u32::try_from(MOST).unwrap() + 100 {
            let address = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            drop(throttle.begin(address, &format!("nobody{number}"), now));
        }
        let later = now + Duration::from_secs(1);
        assert_eq!(let_in(&throttle, at(1), "alice", 9, later), FREE_OF_NAME);
        let counts = throttle.counts();
        assert!(counts.pairs.len() <= MOST && counts.addresses.len() <= MOST);
    }
}
