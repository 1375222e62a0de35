//! How many connections a listener keeps: in all, and from one address.
//!
//! Where all are taken, the one that has asked for nothing for longest is closed
//! for the next caller, of the address that has most. A connection with a request
//! under way is never closed for another; when there are only such, the next
//! caller is turned away. So a crowd of silent sockets keeps nobody out.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Line;

/// Says of an address whether any number of connections may come from it.
type IsExempt = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// How many connections there may be.
#[derive(Clone)]
pub struct Caps {
    /// In all.
    pub in_all: usize,
    /// From one address; an IPv6 address stands for its /64.
    pub per_address: usize,
    is_exempt: IsExempt,
}

impl Caps {
    /// As many in all, and as many from one address, but for those that are exempt:
    /// proxies that bring the requests of many, and this machine.
    #[must_use]
    pub fn new(
        in_all: usize,
        per_address: usize,
        is_exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            in_all,
            per_address,
            is_exempt: Arc::new(is_exempt),
        }
    }
}

impl fmt::Debug for Caps {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Caps")
            .field("in_all", &self.in_all)
            .field("per_address", &self.per_address)
            .finish_non_exhaustive()
    }
}

/// One caller: an IPv4 address, or the /64 that an IPv6 address belongs to, which
/// is what one customer of a provider has.
#[must_use]
pub fn caller_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    caps: Option<Caps>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    of: HashMap<u64, Entry>,
    by_caller: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Entry {
    caller: IpAddr,
    line: Arc<Line>,
    leave: Arc<Notify>,
    is_leaving: bool,
}

/// A place among the open connections, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    /// Told when the connection is closed for another one.
    pub(super) leave: Arc<Notify>,
}

impl Connections {
    pub(super) fn new(caps: Option<Caps>) -> Self {
        Self {
            caps,
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection, perhaps another's; `None` when there is none.
    pub(super) fn place(self: &Arc<Self>, address: IpAddr, line: &Arc<Line>) -> Option<Place> {
        let caller = caller_of(address);
        let mut open = self.open();
        if let Some(caps) = &self.caps {
            let mine = open.by_caller.get(&caller).copied().unwrap_or_default();
            if mine >= caps.per_address && !(caps.is_exempt)(address.to_canonical()) {
                open.close_one(Some(caller))?;
            } else if open.by_caller.values().sum::<usize>() >= caps.in_all {
                open.close_one(None)?;
            }
        }
        let number = open.next;
        open.next += 1;
        let leave = Arc::new(Notify::new());
        open.of.insert(
            number,
            Entry {
                caller,
                line: Arc::clone(line),
                leave: Arc::clone(&leave),
                is_leaving: false,
            },
        );
        *open.by_caller.entry(caller).or_default() += 1;
        drop(open);
        Some(Place {
            connections: Arc::clone(self),
            number,
            leave,
        })
    }
}

impl Open {
    /// Closes the connection that has waited longest for a request, of this caller or
    /// of the one that has most. It is not counted from now on.
    fn close_one(&mut self, of: Option<IpAddr>) -> Option<()> {
        let waits = |entry: &Entry| -> Option<Instant> {
            let is_meant = of.is_none_or(|caller| entry.caller == caller) && !entry.is_leaving;
            is_meant.then(|| entry.line.waits_since()).flatten()
        };
        let most = |caller: IpAddr| self.by_caller.get(&caller).copied().unwrap_or_default();
        let (number, _) = self
            .of
            .iter()
            .filter_map(|(number, entry)| Some((*number, (most(entry.caller), waits(entry)?))))
            .max_by(|(_, (many, since)), (_, (fewer, later))| {
                many.cmp(fewer).then(later.cmp(since))
            })?;
        let entry = self.of.get_mut(&number)?;
        entry.is_leaving = true;
        entry.leave.notify_one();
        let caller = entry.caller;
        self.forget(caller);
        Some(())
    }

    fn forget(&mut self, caller: IpAddr) {
        if let Some(many) = self.by_caller.get_mut(&caller) {
            *many -= 1;
            if *many == 0 {
                self.by_caller.remove(&caller);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        if let Some(entry) = open.of.remove(&self.number)
            && !entry.is_leaving
        {
            open.forget(entry.caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::UnderWay;

    fn connections(in_all: usize, per_address: usize) -> Arc<Connections> {
        let caps = Caps::new(in_all, per_address, |address| address.is_loopback());
        Arc::new(Connections::new(Some(caps)))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_told(place: &Place) -> bool {
        futures::FutureExt::now_or_never(place.leave.notified()).is_some()
    }

    #[tokio::test]
    async fn the_one_that_waits_longest_makes_room_of_whoever_has_most() {
        let connections = connections(3, 10);
        let lines: Vec<_> = (0..4).map(|_| Arc::new(Line::new())).collect();
        let alone = connections.place(address(1), &lines[0]).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let first = connections.place(address(2), &lines[1]).unwrap();
        let second = connections.place(address(2), &lines[2]).unwrap();
        let newest = connections.place(address(3), &lines[3]).unwrap();
        assert!(is_told(&first));
        assert!(!is_told(&alone) && !is_told(&second) && !is_told(&newest));
    }

    #[tokio::test]
    async fn who_is_at_work_is_left_alone_and_then_there_is_no_room() {
        let connections = connections(2, 10);
        let lines: Vec<_> = (0..3).map(|_| Arc::new(Line::new())).collect();
        let (_one, _two) = (UnderWay::on(&lines[0]), UnderWay::on(&lines[1]));
        let first = connections.place(address(1), &lines[0]).unwrap();
        let _second = connections.place(address(1), &lines[1]).unwrap();
        assert!(connections.place(address(2), &lines[2]).is_none());
        drop(first);
        assert!(connections.place(address(2), &lines[2]).is_some());
    }

    #[tokio::test]
    async fn one_address_takes_only_its_own() {
        let connections = connections(100, 2);
        let line = || Arc::new(Line::new());
        let other = connections.place(address(9), &line()).unwrap();
        let first = connections.place(address(1), &line()).unwrap();
        let _second = connections.place(address(1), &line()).unwrap();
        let _third = connections.place(address(1), &line()).unwrap();
        assert!(is_told(&first) && !is_told(&other));
        let here: Vec<_> = (0..5)
            .map(|_| connections.place(IpAddr::from([127, 0, 0, 1]), &line()))
            .collect();
        assert!(here.iter().flatten().all(|place| !is_told(place)));
        drop((first, here, other));
        assert_eq!(connections.open().by_caller.values().sum::<usize>(), 2);
    }

    #[test]
    fn an_ipv6_network_is_one_caller() {
        let caller = |text: &str| caller_of(text.parse().unwrap());
        assert_eq!(caller("2001:db8:1:2::5"), caller("2001:db8:1:2:ffff::1"));
        assert_ne!(caller("2001:db8:1:2::5"), caller("2001:db8:1:3::5"));
        assert_eq!(caller("::ffff:192.0.2.1"), address(1));
    }
}
