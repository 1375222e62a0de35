//! Sign-ins that failed, gathered for the audit log so that a flood of them writes
//! little: the first of a name from an address is told at once, the rest of its minute
//! in one entry. Of more than [`MOST`] names and addresses in a minute, only the number
//! is told.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;
use waybill_domain::Timestamp;
use waybill_domain::audit::{Act, AuditEntry, By, Origin};
use waybill_domain::ids::Username;

/// What is gathered into one entry.
const WINDOW: Duration = Duration::from_mins(1);
/// Names from addresses that are told apart at a time.
const MOST: usize = 10;
/// Entries that wait for Restate to come back; of more, only the number is told.
const MOST_WAITING: usize = 100;
/// Who has tried what cannot be a user's name: it may be a password.
const NO_NAME: &str = "(no user name)";
/// Who has tried, when they are not told apart.
const MANY: &str = "(many names)";

/// Failures that are not told yet. A cheap clone.
#[derive(Debug, Clone, Default)]
pub struct FailedSignIns(Arc<Mutex<Gathered>>);

#[derive(Debug, Default)]
struct Gathered {
    pairs: HashMap<(IpAddr, String), Window>,
    others: Option<Window>,
    waiting: Vec<AuditEntry>,
}

#[derive(Debug)]
struct Window {
    since: Timestamp,
    last: Timestamp,
    count: u32,
    from: Origin,
}

impl Window {
    fn new(now: Timestamp, count: u32, from: Origin) -> Self {
        Self {
            since: now,
            last: now,
            count,
            from,
        }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.since + WINDOW <= now
    }

    fn one_more(&mut self, now: Timestamp, count: u32, from: Origin) {
        self.count = self.count.saturating_add(count);
        (self.last, self.from) = (now, from);
    }

    fn told(self, who: &str) -> Option<AuditEntry> {
        (self.count > 0).then(|| entry(who, self.last, self.count, self.from))
    }
}

fn entry(who: &str, at: Timestamp, count: u32, from: Origin) -> AuditEntry {
    AuditEntry {
        id: format!("{}:{}", Act::SignInFailed.as_str(), Uuid::now_v7()),
        at,
        what: Act::SignInFailed,
        by: By {
            who: who.to_owned(),
            from,
        },
        subject: who.to_owned(),
        detail: String::new(),
        count,
    }
}

impl FailedSignIns {
    /// One more has failed. What is to be told at once comes back.
    pub fn failed(
        &self,
        address: IpAddr,
        name: &str,
        from: Origin,
        now: Timestamp,
    ) -> Option<AuditEntry> {
        let name = Username::parse(name).map_or(NO_NAME.to_owned(), |name| name.to_string());
        let mut gathered = self.gathered();
        let pair = (address, name);
        if let Some(window) = gathered.pairs.get_mut(&pair) {
            window.one_more(now, 1, from);
            return None;
        }
        if gathered.pairs.len() >= MOST {
            gathered.one_of_many(now, 1, from);
            return None;
        }
        let told = entry(&pair.1, now, 1, from.clone());
        gathered.pairs.insert(pair, Window::new(now, 0, from));
        Some(told)
    }

    /// What is to be told by now; with `all`, everything.
    pub fn due(&self, now: Timestamp, all: bool) -> Vec<AuditEntry> {
        let mut gathered = self.gathered();
        let over: Vec<_> = gathered
            .pairs
            .extract_if(|_, window| all || window.is_over(now))
            .collect();
        let mut due = std::mem::take(&mut gathered.waiting);
        let over = over.into_iter();
        due.extend(over.filter_map(|((_, name), window)| window.told(&name)));
        let others = gathered.others.take_if(|window| all || window.is_over(now));
        due.extend(others.and_then(|window| window.told(MANY)));
        due
    }

    /// What could not be told is told later.
    pub fn not_told(&self, entry: AuditEntry) {
        let mut gathered = self.gathered();
        if gathered.waiting.len() < MOST_WAITING {
            gathered.waiting.push(entry);
        } else {
            gathered.one_of_many(entry.at, entry.count, entry.by.from);
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    /// An address stays only as long as all are from it.
    fn one_of_many(&mut self, now: Timestamp, count: u32, from: Origin) {
        match &mut self.others {
            None => {
                let address = from.address;
                let from = Origin {
                    address,
                    request: None,
                };
                self.others = Some(Window::new(now, count, from));
            }
            Some(others) => {
                let address = others.from.address.take();
                let address = address.filter(|address| from.address.as_ref() == Some(address));
                let from = Origin {
                    address,
                    request: None,
                };
                others.one_more(now, count, from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn origin(request: &str) -> Origin {
        Origin {
            address: Some("127.0.0.1".to_owned()),
            request: Some(request.to_owned()),
        }
    }

    #[test]
    fn the_first_is_told_at_once_and_the_rest_of_its_minute_together() {
        let failed = FailedSignIns::default();
        let first = failed.failed(HERE, "alice", origin("a"), at(0)).unwrap();
        assert_eq!((first.by.who.as_str(), first.count), ("alice", 1));
        assert_eq!(first.by.from, origin("a"));
        for second in 1..=40 {
            assert_eq!(failed.failed(HERE, "alice", origin("b"), at(second)), None);
        }
        assert_eq!(failed.due(at(59), false), []);
        let rest = failed.due(at(60), false);
        assert_eq!(rest.len(), 1);
        assert_eq!((rest[0].count, rest[0].at), (40, at(40)));
        assert_eq!(failed.due(at(600), false), []);
        // A minute later it begins anew.
        assert!(failed.failed(HERE, "alice", origin("c"), at(61)).is_some());
        assert_eq!(failed.due(at(600), true), []);
    }

    #[test]
    fn a_flood_of_names_writes_little_and_loses_no_number() {
        let failed = FailedSignIns::default();
        let mut told = Vec::new();
        for number in 0..10_000 {
            let name = format!("user{}", number % 5_000);
            told.extend(failed.failed(HERE, &name, origin("a"), at(1)));
        }
        told.extend(failed.due(at(61), false));
        assert!(told.len() <= 2 * MOST + 1, "{}", told.len());
        let sum: u32 = told.iter().map(|entry| entry.count).sum();
        assert_eq!(sum, 10_000);
        let many = told.last().unwrap();
        assert_eq!(many.by.who, MANY);
        assert_eq!(many.by.from.address.as_deref(), Some("127.0.0.1"));
    }

    #[test]
    fn what_is_no_name_is_not_written_down() {
        let failed = FailedSignIns::default();
        let told = failed.failed(HERE, "my secret passphrase!", origin("a"), at(0));
        assert_eq!(told.unwrap().by.who, NO_NAME);
    }

    #[test]
    fn while_restate_is_away_they_wait_and_stay_few() {
        let failed = FailedSignIns::default();
        for _ in 0..1_000 {
            failed.not_told(entry("alice", at(0), 2, origin("a")));
        }
        let due = failed.due(at(60), false);
        assert_eq!(due.len(), MOST_WAITING + 1);
        let sum: u32 = due.iter().map(|entry| entry.count).sum();
        assert_eq!(sum, 2_000);
    }
}
