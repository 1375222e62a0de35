//! Who is woken by what. A topic exists while somebody listens to it: telling
//! of an order that nobody looks at costs one look-up.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use waybill_domain::ids::{OrderId, Username};

/// What an answer is about that is [remembered](super::remembered).
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// Products but for their stock, zones.
    Catalog,
    /// Who people are, and where they are signed in.
    People,
    /// The catalog and what there is of it.
    Stock,
    /// What concerns one user.
    User(&'a Username),
    /// Anything at all.
    Everything,
}

/// Users that share a count of what concerned them. Two of one count cost each other
/// a look, and nothing else.
const COUNTS: usize = 1_024;

/// Every topic. The value that a receiver sees is meaningless: it only changes.
#[derive(Debug)]
pub(super) struct Topics {
    changes: watch::Sender<u64>,
    stock: watch::Sender<u64>,
    catalog: watch::Sender<u64>,
    users: Keyed<Username>,
    orders: Keyed<OrderId>,
    /// How often [`Topics::wake_all`] was called.
    all: AtomicU64,
    people: watch::Sender<u64>,
    /// How often each user was woken, by their name's hash.
    of_users: Box<[AtomicU64]>,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            changes: watch::Sender::new(0),
            stock: watch::Sender::new(0),
            catalog: watch::Sender::new(0),
            people: watch::Sender::new(0),
            users: Keyed::default(),
            orders: Keyed::default(),
            all: AtomicU64::new(0),
            of_users: (0..COUNTS).map(|_| AtomicU64::new(0)).collect(),
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

    /// Products and zones.
    pub(super) fn catalog(&self) -> watch::Receiver<u64> {
        self.catalog.subscribe()
    }

    /// Who people are, and where they are signed in.
    pub(super) fn people(&self) -> watch::Receiver<u64> {
        self.people.subscribe()
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

    /// What is sold, and so what there is of it.
    pub(super) fn wake_catalog(&self) {
        self.catalog.send_modify(next);
        self.wake_stock();
    }

    pub(super) fn wake_user(&self, user: &Username) {
        self.count_of(user).fetch_add(1, Ordering::AcqRel);
        self.users.wake(user);
    }

    /// Whose account has changed.
    pub(super) fn wake_account(&self, user: &Username) {
        self.people.send_modify(next);
        self.wake_user(user);
    }

    pub(super) fn wake_order(&self, order: &OrderId) {
        self.orders.wake(order);
    }

    /// Everybody: what was known may have changed in any way.
    pub(super) fn wake_all(&self) {
        self.all.fetch_add(1, Ordering::AcqRel);
        self.users.wake_all();
        self.orders.wake_all();
        self.wake_catalog();
        self.wake_changes();
    }

    /// A number that grows with whatever may change an answer about `subject`, once
    /// that can be read.
    pub(super) fn version(&self, subject: Subject<'_>) -> u64 {
        let all = self.all.load(Ordering::Acquire);
        all.wrapping_add(match subject {
            Subject::Catalog => *self.catalog.borrow(),
            Subject::People => *self.people.borrow(),
            Subject::Stock => *self.stock.borrow(),
            Subject::User(user) => self.count_of(user).load(Ordering::Acquire),
            Subject::Everything => *self.changes.borrow(),
        })
    }

    fn count_of(&self, user: &Username) -> &AtomicU64 {
        let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one(user);
        let place = usize::try_from(hash % COUNTS as u64).unwrap_or(0);
        &self.of_users[place]
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
    fn a_version_grows_with_what_is_told_of_its_subject() {
        let topics = Topics::default();
        let (alice, bob) = (user("alice"), user("bob"));
        let versions = || {
            let subjects = [
                Subject::Catalog,
                Subject::Stock,
                Subject::User(&alice),
                Subject::User(&bob),
                Subject::Everything,
            ];
            subjects.map(|subject| topics.version(subject))
        };
        let grown_by = |what: &dyn Fn()| {
            let before = versions();
            what();
            let after = versions();
            std::array::from_fn::<_, 5, _>(|n| after[n] > before[n])
        };
        let by_stock = grown_by(&|| topics.wake_stock());
        assert_eq!(by_stock, [false, true, false, false, false]);
        let by_catalog = grown_by(&|| topics.wake_catalog());
        assert_eq!(by_catalog, [true, true, false, false, false]);
        let by_alice = grown_by(&|| topics.wake_user(&alice));
        assert_eq!(by_alice, [false, false, true, false, false]);
        let by_any = grown_by(&|| topics.wake_changes());
        assert_eq!(by_any, [false, false, false, false, true]);
        assert_eq!(grown_by(&|| topics.wake_all()), [true; 5]);
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
