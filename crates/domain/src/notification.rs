//! What people are told, derived from an order's events: the same words with
//! the same ids in every gateway and after every rebuild.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::after_sales::AfterSales;
use crate::ids::{OrderId, Username};
use crate::order::{EventKind, OrderEvent, OrderRecord};
use crate::payment::LateMoney;
use crate::words;

/// One line of the notification pane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// `{order_id}:{seq}`; for late money `{order_id}:late:{n}`; written by a
    /// gateway for what happened there only: `{user}:note:{uuid}`.
    #[serde(deserialize_with = "words::kept::id")]
    pub id: String,
    /// Whose order, or whose act. Admins are told of everybody's orders.
    pub user_id: Username,
    /// The order it is about, if any.
    pub order_id: Option<OrderId>,
    /// What happened: an event's kind, or e.g. `item_added`.
    #[serde(deserialize_with = "words::kept::name")]
    pub kind: String,
    /// The words a person reads.
    #[serde(deserialize_with = "words::kept::detail")]
    pub text: String,
    /// When.
    pub at: Timestamp,
}

impl Notification {
    /// What is told of one event of an order; `None` for those that only the
    /// timeline shows.
    pub fn of_event(record: &OrderRecord, event: &OrderEvent) -> Option<Self> {
        // Placing says nothing that the request for payment does not say better.
        if event.kind == EventKind::OrderPlaced {
            return None;
        }
        Some(Self {
            id: format!("{}:{}", record.order_id, event.seq),
            user_id: record.user_id.clone(),
            order_id: Some(record.order_id.clone()),
            kind: event.kind.as_str().to_owned(),
            text: event.detail.clone(),
            at: event.at,
        })
    }

    /// Everything told of an order so far, oldest first.
    pub fn of_order(record: &OrderRecord) -> Vec<Self> {
        record
            .events
            .iter()
            .filter_map(|event| Self::of_event(record, event))
            .collect()
    }

    /// Everything told of an order since its delivery, oldest first.
    pub fn of_after_sales(after: &AfterSales) -> Vec<Self> {
        let told = |event: &OrderEvent| Self {
            id: format!("{}:{}", after.order_id, event.seq),
            user_id: after.user_id.clone(),
            order_id: Some(after.order_id.clone()),
            kind: event.kind.as_str().to_owned(),
            text: event.detail.clone(),
            at: event.at,
        };
        after.events.iter().map(told).collect()
    }

    /// What is told of money that came too late, or twice.
    pub fn of_late_money(late: &LateMoney) -> Vec<Self> {
        late.payments
            .iter()
            .enumerate()
            .map(|(n, payment)| Self {
                id: format!("{}:late:{}", late.order_id, n + 1),
                user_id: late.user_id.clone(),
                order_id: Some(late.order_id.clone()),
                kind: "late_payment_returned".to_owned(),
                text: format!(
                    "A payment of {} came too late and goes back (transaction {})",
                    payment.amount_cents, payment.transaction_id
                ),
                at: payment.at,
            })
            .collect()
    }
}
