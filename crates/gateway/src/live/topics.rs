//! Who is woken by what. A topic exists while somebody listens to it: telling
//! of an order that nobody looks at costs one look-up.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use waybill_domain::ids::{OrderId, Username};

/// Every topic. The value that a receiver sees is meaningless: it only changes.
#[derive(Debug)]
pub(super) struct Topics {
    changes: watch::Sender<u64>,
    stock: watch::Sender<u64>,
    users: Keyed<Username>,
    orders: Keyed<OrderId>,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            changes: watch::Sender::new(0),
            stock: watch::Sender::new(0),
            users: Keyed::default(),
            orders: Keyed::default(),
        }
    }
}

impl Topics {
    /// Anything that somebody may see.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Stock levels.
    pub(super) fn stock(&self) -> watch::Receiver<u64> {
        self.stock.subscribe()
    }

    /// What concerns one user: orders, basket, notifications, read mark.
    pub(super) fn user(&self, user: &Username) -> watch::Receiver<u64> {
        self.users.subscribe(user)
    }

    /// What concerns one order.
    pub(super) fn order(&self, order: &OrderId) -> watch::Receiver<u64> {
        self.orders.subscribe(order)
    }

    pub(super) fn wake_changes(&self) {
        self.changes.send_modify(next);
    }

    pub(super) fn wake_stock(&self) {
        self.stock.send_modify(next);
    }

    pub(super) fn wake_user(&self, user: &Username) {
        self.users.wake(user);
    }

    pub(super) fn wake_order(&self, order: &OrderId) {
        self.orders.wake(order);
    }

    /// Everybody: what was known may have changed in any way.
    pub(super) fn wake_all(&self) {
        self.users.wake_all();
        self.orders.wake_all();
        self.wake_stock();
        self.wake_changes();
    }
}

fn next(count: &mut u64) {
    *count = count.wrapping_add(1);
}

#[derive(Debug)]
struct Keyed<K>(Mutex<HashMap<K, watch::Sender<u64>>>);

impl<K> Default for Keyed<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    fn subscribe(&self, key: &K) -> watch::Receiver<u64> {
        let mut topics = self.lock();
        if let Some(topic) = topics.get(key) {
            return topic.subscribe();
        }
        // The abandoned ones go when the map would have to grow anyway.
        if topics.len() == topics.capacity() {
            topics.retain(|_, topic| topic.receiver_count() > 0);
        }
        topics
            .entry(key.clone())
            .or_insert_with(|| watch::Sender::new(0))
            .subscribe()
    }

    fn wake<Q: Hash + Eq + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some(topic) = self.lock().get(key) {
            topic.send_modify(next);
        }
    }

    fn wake_all(&self) {
        for topic in self.lock().values() {
            topic.send_modify(next);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Username {
        Username::parse(name).unwrap()
    }

    #[test]
    fn only_the_one_it_concerns_is_woken() {
        let topics = Topics::default();
        let (alice, bob) = (topics.user(&user("alice")), topics.user(&user("bob")));
        topics.wake_user(&user("alice"));
        assert!(alice.has_changed().unwrap());
        assert!(!bob.has_changed().unwrap());
        topics.wake_all();
        assert!(bob.has_changed().unwrap());
    }

    #[test]
    fn topics_that_nobody_listens_to_do_not_pile_up() {
        let topics = Topics::default();
        let kept = topics.user(&user("kept"));
        for n in 0..10_000 {
            drop(topics.user(&user(&format!("u{n}"))));
        }
        assert!(topics.users.lock().len() < 1_000);
        topics.wake_user(&user("kept"));
        assert!(kept.has_changed().unwrap());
    }
}
