//! Requests at work at a time: what comes beyond them is told so at once, instead of
//! making all others wait. One address may have a quarter of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::http::client::ClientAddress;

/// Of all that may be at work, what one address may have: one part in so many.
const PART_OF_ONE: usize = 4;

/// The requests that are at work.
#[derive(Debug)]
pub(super) struct AtWork {
    most: usize,
    now: Arc<Mutex<Now>>,
}

#[derive(Debug, Default)]
struct Now {
    in_all: usize,
    from: HashMap<IpAddr, usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Working {
    now: Arc<Mutex<Now>>,
    from: IpAddr,
}

impl AtWork {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            now: Arc::default(),
        }
    }

    /// One more, if there is room.
    pub(super) fn begin(&self, from: ClientAddress) -> Option<Working> {
        let caller = from.caller();
        let mut now = lock(&self.now);
        let mine = now.from.get(&caller).copied().unwrap_or_default();
        let is_too_much = mine >= self.most.div_ceil(PART_OF_ONE) && !from.is_this_machine();
        if is_too_much || now.in_all >= self.most {
            return None;
        }
        now.in_all += 1;
        *now.from.entry(caller).or_default() += 1;
        Some(Working {
            now: Arc::clone(&self.now),
            from: caller,
        })
    }
}

fn lock(now: &Mutex<Now>) -> MutexGuard<'_, Now> {
    now.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut now = lock(&self.now);
        now.in_all -= 1;
        if let Some(mine) = now.from.get_mut(&self.from) {
            *mine -= 1;
            if *mine == 0 {
                now.from.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_a_quarter_and_all_have_an_end() {
        let at_work = AtWork::new(8);
        let at = |last: u8| ClientAddress::told(IpAddr::from([192, 0, 2, last]));
        let mut working: Vec<_> = (0..2).map(|_| at_work.begin(at(1)).unwrap()).collect();
        assert!(at_work.begin(at(1)).is_none());
        for last in 2..5 {
            working.extend((0..2).map(|_| at_work.begin(at(last)).unwrap()));
        }
        assert!(at_work.begin(at(9)).is_none());
        assert!(at_work.begin(ClientAddress::OURSELVES).is_none());
        working.clear();
        let ours: Vec<_> = (0..8)
            .map(|_| at_work.begin(ClientAddress::OURSELVES))
            .collect();
        assert!(ours.iter().all(Option::is_some));
        drop(ours);
        assert!(lock(&at_work.now).from.is_empty());
    }
}
