//! The payment provider and the carrier: their ledger and their faults.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::World;

/// What the outside world did, and how often it was asked.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Ledger {
    pub payments: Vec<Payment>,
    pub shipments: Vec<Shipment>,
    pub journal: Vec<Entry>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Payment {
    pub order_id: String,
    pub amount: i64,
    pub status: String,
    pub transaction_id: Option<String>,
    pub transactions: Vec<Transaction>,
    pub effects: PaymentEffects,
    #[serde(default)]
    pub requests: PaymentRequests,
}

#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the name on the wire")]
pub struct Transaction {
    pub transaction_id: String,
    pub amount: i64,
    pub captured_amount: Option<i64>,
    #[serde(default)]
    pub refunded_amount: i64,
    pub status: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct PaymentEffects {
    pub authorize: u32,
    pub capture: u32,
    pub void: u32,
    pub refund: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct PaymentRequests {
    pub create: u32,
    pub capture: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Shipment {
    pub order_id: String,
    pub tracking_number: Option<String>,
    pub status: String,
    pub effects: ShipmentEffects,
    pub requests: ShipmentEffects,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct ShipmentEffects {
    pub book: u32,
    pub cancel: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    pub kind: String,
    pub order_id: String,
    pub payment_id: Option<String>,
    pub transaction_id: Option<String>,
    #[serde(default)]
    pub amount: Option<i64>,
}

impl Ledger {
    /// What concerns one order.
    pub fn of(&self, order_id: &str) -> Self {
        Self {
            payments: only(&self.payments, |it| it.order_id == order_id),
            shipments: only(&self.shipments, |it| it.order_id == order_id),
            journal: only(&self.journal, |it| it.order_id == order_id),
        }
    }

    /// The only payment there is.
    #[track_caller]
    pub fn payment(&self) -> &Payment {
        match &self.payments[..] {
            [payment] => payment,
            others => panic!("one payment expected, not {others:#?}"),
        }
    }

    /// The only shipment there is.
    #[track_caller]
    pub fn shipment(&self) -> &Shipment {
        match &self.shipments[..] {
            [shipment] => shipment,
            others => panic!("one shipment expected, not {others:#?}"),
        }
    }

    /// What happened, in order, e.g. `authorize book capture`.
    pub fn story(&self) -> String {
        let kinds: Vec<_> = self
            .journal
            .iter()
            .map(|entry| entry.kind.as_str())
            .collect();
        kinds.join(" ")
    }
}

fn only<T: Clone>(all: &[T], wanted: impl Fn(&T) -> bool) -> Vec<T> {
    all.iter().filter(|it| wanted(it)).cloned().collect()
}

impl World {
    /// The whole ledger.
    pub async fn whole_ledger(&self) -> Ledger {
        self.read_ledger("").await
    }

    /// What the ledger says of one order.
    pub async fn ledger(&self, order_id: &str) -> Ledger {
        self.read_ledger(&format!("?order_id={order_id}")).await
    }

    async fn read_ledger(&self, query: &str) -> Ledger {
        self.http
            .get(format!("{}/ledger{query}", self.sandbox))
            .send()
            .await
            .expect("the sandbox answers")
            .json()
            .await
            .expect("the ledger has its shape")
    }

    /// Puts fault switches.
    pub async fn faults(&self, faults: Value) {
        let answer = self
            .http
            .put(format!("{}/faults", self.sandbox))
            .json(&faults)
            .send()
            .await
            .expect("the sandbox answers");
        assert!(answer.status().is_success(), "faults {faults}: {answer:?}");
    }

    /// Puts fault switches for one order.
    pub async fn faults_of(&self, order_id: &str, faults: Value) {
        self.faults(json!({ "orders": { order_id: faults } })).await;
    }

    /// Uses the buttons of the hosted payment page.
    pub async fn use_payment_page(&self, pay_url: &str, action: &str) {
        let answer = self
            .http
            .post(pay_url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("action={action}"))
            .send()
            .await
            .expect("the payment page answers");
        assert!(answer.status().is_success(), "{pay_url}: {answer:?}");
    }
}
