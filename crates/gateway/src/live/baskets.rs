//! The newest basket of each user that was heard of, and whom to ask for others.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use waybill_domain::basket::Basket;
use waybill_domain::ids::Username;

/// Most baskets that are remembered.
const KEPT: usize = 10_000;
/// How long no page asks after one has waited in vain.
const AWAY: Duration = Duration::from_secs(5);

/// What is remembered of baskets.
#[derive(Debug, Default)]
pub(super) struct Baskets {
    known: Mutex<HashMap<Username, Basket>>,
    away: Mutex<Away>,
}

/// Until when no page asks for a basket, since one was asked for in vain.
#[derive(Debug, Default)]
struct Away {
    /// Nobody's, while the services are not heard.
    all: Option<Instant>,
    /// One user's, while the services are heard.
    of: HashMap<Username, Instant>,
}

impl Baskets {
    /// The newest that was heard of.
    pub(super) fn get(&self, user: &Username) -> Option<Basket> {
        self.known().get(user).cloned()
    }

    /// Remembers a basket; answers whether it is news.
    pub(super) fn take(&self, basket: Basket) -> bool {
        let mut baskets = self.known();
        let known = baskets.get(&basket.user_id).map(|known| known.version);
        if known.is_some_and(|known| known >= basket.version) {
            return false;
        }
        if known.is_none() && baskets.len() >= KEPT {
            baskets.clear();
        }
        baskets.insert(basket.user_id.clone(), basket);
        true
    }

    /// A stream was down: they may have changed unheard.
    pub(super) fn forget(&self) {
        self.known().clear();
    }

    /// Whether this user's is not to be asked for now.
    pub(super) fn failed_lately(&self, user: &Username, now: Instant) -> bool {
        let away = self.away();
        let until = [away.all, away.of.get(user).copied()];
        until.into_iter().flatten().any(|until| now < until)
    }

    /// This user's was asked for in vain: their trouble alone, as far as is known.
    pub(super) fn read_failed(&self, user: &Username, now: Instant) {
        let mut away = self.away();
        away.of.retain(|_, until| now < *until);
        away.of.insert(user.clone(), now + AWAY);
    }

    /// One was asked for in vain while the services are not heard.
    pub(super) fn restate_failed(&self, now: Instant) {
        self.away().all = Some(now + AWAY);
    }

    /// The services are back: they can be had again.
    pub(super) fn clear_failures(&self) {
        *self.away() = Away::default();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Username, Basket>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn away(&self) -> MutexGuard<'_, Away> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
