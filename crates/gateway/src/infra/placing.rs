//! Whose orders are being placed just now, at this gateway.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use waybill_domain::ids::{OrderId, Username};

type Orders = HashMap<Username, HashMap<OrderId, usize>>;

/// Orders on their way to Restate. A cheap clone.
#[derive(Debug, Clone, Default)]
pub struct Placing(Arc<Mutex<Orders>>);

/// One of them, until the read model has it or it was refused.
#[derive(Debug)]
pub struct BeingPlaced {
    all: Placing,
    user: Username,
    order_id: OrderId,
}

impl Placing {
    /// Notes one; answers how many others of its user there are.
    pub fn begin(&self, user: &Username, order_id: &OrderId) -> (BeingPlaced, usize) {
        let mut orders = self.orders();
        let mine = orders.entry(user.clone()).or_default();
        *mine.entry(order_id.clone()).or_default() += 1;
        let others = mine.len() - 1;
        let being_placed = BeingPlaced {
            all: self.clone(),
            user: user.clone(),
            order_id: order_id.clone(),
        };
        (being_placed, others)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BeingPlaced {
    fn drop(&mut self) {
        let mut orders = self.all.orders();
        let Some(mine) = orders.get_mut(&self.user) else {
            return;
        };
        if let Some(count) = mine.get_mut(&self.order_id) {
            *count -= 1;
            if *count == 0 {
                mine.remove(&self.order_id);
            }
        }
        if mine.is_empty() {
            orders.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_is_asked_for_twice_counts_once() {
        let placing = Placing::default();
        let alice = Username::parse("alice").unwrap();
        let order = |id: &str| OrderId::parse(id).unwrap();
        let (first, others) = placing.begin(&alice, &order("alice.1"));
        assert_eq!(others, 0);
        let (again, others) = placing.begin(&alice, &order("alice.1"));
        assert_eq!(others, 0);
        let (second, others) = placing.begin(&alice, &order("alice.2"));
        assert_eq!(others, 1);
        drop((first, second));
        let (third, others) = placing.begin(&alice, &order("alice.3"));
        assert_eq!(others, 1);
        drop((again, third));
        assert!(placing.orders().is_empty());
    }
}
