//! Who may have a password hashed just now. Hashing takes memory and a processor, so
//! few are at it and few wait; who comes then is told so at once. Whoever signs in
//! from where they have signed in before has a place that strangers cannot take.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::http::problem::Problem;

/// Strangers' passwords that are hashed at a time: each takes 19 MiB and a core for tens
/// of milliseconds.
const AT_WORK: usize = 2;
/// The same of those who are known; they have these for themselves.
const KNOWN_AT_WORK: usize = 1;
/// Who may be in the queue, at work or waiting: strangers, and as many who are known.
const QUEUE: usize = 16;
/// Of these, from one address.
const QUEUE_OF_ONE: usize = 6;
/// How long somebody waits.
const WITHIN: Duration = Duration::from_secs(5);

/// The queue. A cheap clone.
#[derive(Debug, Clone)]
pub struct HashQueue {
    strangers: Lane,
    known: Lane,
}

#[derive(Debug, Clone)]
struct Lane {
    slots: Arc<Semaphore>,
    here: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place in the queue, and then the right to hash.
#[derive(Debug)]
pub struct HashPermit {
    _slot: OwnedSemaphorePermit,
    _place: Place,
}

#[derive(Debug)]
struct Place {
    here: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Default for HashQueue {
    fn default() -> Self {
        Self {
            strangers: Lane::new(AT_WORK),
            known: Lane::new(KNOWN_AT_WORK),
        }
    }
}

impl HashQueue {
    /// Waits for a turn; refused at once when too many wait.
    pub async fn turn(&self, address: IpAddr, is_known: bool) -> Result<HashPermit, Problem> {
        let lane = if is_known {
            &self.known
        } else {
            &self.strangers
        };
        let place = lane.place(address).ok_or_else(busy)?;
        let slot = timeout(WITHIN, Arc::clone(&lane.slots).acquire_owned())
            .await
            .map_err(|_| busy())?
            .map_err(Problem::internal)?;
        Ok(HashPermit {
            _slot: slot,
            _place: place,
        })
    }
}

fn busy() -> Problem {
    Problem::unavailable("too many people sign in just now: try again in a moment")
}

impl Lane {
    fn new(slots: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            here: Arc::default(),
        }
    }

    fn place(&self, address: IpAddr) -> Option<Place> {
        let mut here = lock(&self.here);
        let mine = here.get(&address).copied().unwrap_or_default();
        if mine >= QUEUE_OF_ONE || here.values().sum::<usize>() >= QUEUE {
            return None;
        }
        here.insert(address, mine + 1);
        Some(Place {
            here: Arc::clone(&self.here),
            address,
        })
    }
}

fn lock(here: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    here.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut here = lock(&self.here);
        if let Some(mine) = here.get_mut(&self.address) {
            *mine -= 1;
            if *mine == 0 {
                here.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[tokio::test]
    async fn a_crowd_is_told_at_once_and_the_known_pass_it() {
        let queue = HashQueue::default();
        let at_work = [
            queue.turn(at(1), false).await.unwrap(),
            queue.turn(at(1), false).await.unwrap(),
        ];
        let mut waiting = Vec::new();
        for number in 0..40_u8 {
            let mut turn = Box::pin(queue.turn(at(1 + number / 10), false));
            match turn.as_mut().now_or_never() {
                None => waiting.push(turn),
                Some(told) => assert_eq!(told.unwrap_err().status.as_u16(), 503),
            }
        }
        assert_eq!(waiting.len(), QUEUE - AT_WORK);
        assert!(queue.turn(at(1), true).now_or_never().unwrap().is_ok());
        drop((at_work, waiting));
        assert!(queue.turn(at(1), false).now_or_never().unwrap().is_ok());
        assert!(lock(&queue.strangers.here).is_empty());
    }

    #[tokio::test]
    async fn one_address_has_few_places() {
        let queue = HashQueue::default();
        let mut turns: Vec<_> = (0..9).map(|_| Box::pin(queue.turn(at(1), false))).collect();
        let mut at_work = Vec::new();
        let mut refused = 0;
        for turn in &mut turns {
            match turn.as_mut().now_or_never() {
                None => {}
                Some(Ok(turn)) => at_work.push(turn),
                Some(Err(_)) => refused += 1,
            }
        }
        assert_eq!((at_work.len(), refused), (AT_WORK, 9 - QUEUE_OF_ONE));
        assert!(queue.turn(at(2), false).now_or_never().is_none());
    }
}
