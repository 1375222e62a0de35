//! The journal of effects, and the ledger that is read from it: how often
//! each thing happened beside how often it was asked for.
//!
//! The journal is written by triggers of the database, in the transaction of
//! the effect itself: see `migrations/`.

use std::{collections::HashMap, sync::Arc};

use crate::{
    World,
    answer::{Answer, Reply},
    carrier,
    payments::{self, Status},
};
use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::{Deserialize, Serialize};

/// One effect on the outside world.
#[derive(Clone, Copy, Debug, Serialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase")]
enum Kind {
    Authorize,
    Decline,
    Capture,
    Void,
    /// What was authorized and is not captured.
    Release,
    Refund,
    Book,
    Cancel,
}

/// Everything the outside world did, or did for one order.
#[derive(Serialize)]
struct Ledger {
    payments: Vec<PaymentLine>,
    /// Payments that were asked for, but never opened.
    unopened: Vec<payments::Unopened>,
    shipments: Vec<ShipmentLine>,
    journal: Vec<JournalLine>,
}

#[derive(Serialize)]
struct PaymentLine {
    payment_id: String,
    order_id: String,
    awakeable_id: String,
    amount: i64,
    status: Status,
    transaction_id: Option<String>,
    transactions: Vec<TransactionLine>,
    effects: PaymentEffects,
    requests: payments::Requests,
    callbacks: Callbacks,
}

#[derive(Serialize)]
struct TransactionLine {
    transaction_id: String,
    amount: i64,
    captured_amount: Option<i64>,
    refunded_amount: i64,
    status: Status,
    effects: PaymentEffects,
}

#[derive(Clone, Copy, Default, Serialize)]
struct PaymentEffects {
    authorize: u32,
    capture: u32,
    void: u32,
    refund: u32,
}

/// What became of a payment's callbacks.
#[derive(Clone, Copy, Default, Serialize)]
struct Callbacks {
    waiting: u32,
    delivered: u32,
    dead: u32,
}

#[derive(Serialize)]
struct ShipmentLine {
    order_id: String,
    tracking_number: Option<String>,
    status: carrier::Status,
    effects: ShipmentEffects,
    requests: carrier::Requests,
}

#[derive(Clone, Copy, Default, Serialize)]
struct ShipmentEffects {
    book: u32,
    cancel: u32,
}

#[derive(Serialize, sqlx::FromRow)]
struct JournalLine {
    seq: i64,
    /// Unix milliseconds.
    #[sqlx(rename = "at_ms")]
    at: i64,
    kind: Kind,
    order_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<i64>,
}

#[derive(Deserialize)]
struct Asked {
    order_id: Option<String>,
}

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new().route("/ledger", get(show))
}

async fn show(
    State(world): State<Arc<World>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Reply {
    let Query(asked) = asked.map_err(|error| Answer::refused(400, error.body_text()))?;
    let order_id = asked.order_id.as_deref();

    // One snapshot: a ledger in the middle of an effect would prove nothing.
    let mut snapshot = world.database.readers().begin().await?;
    let journal = queries::journal(&mut snapshot, order_id).await?;
    let callbacks = queries::callbacks(&mut snapshot, order_id).await?;
    let payments = payments::all(&mut snapshot, order_id).await?;
    let unopened = payments::unopened(&mut snapshot, order_id).await?;
    let shipments = carrier::all(&mut snapshot, order_id).await?;
    snapshot.commit().await?;

    let effects = Effects::count(&journal);
    let ledger = Ledger {
        payments: payments
            .into_iter()
            .map(|payment| effects.of_payment(payment, &callbacks))
            .collect(),
        shipments: shipments
            .into_iter()
            .map(|shipment| effects.of_shipment(shipment))
            .collect(),
        unopened,
        journal,
    };
    Ok(Answer::json(200, serde_json::to_value(ledger)?))
}

/// The journal, counted.
#[derive(Default)]
struct Effects<'a> {
    payments: HashMap<&'a str, PaymentEffects>,
    transactions: HashMap<(&'a str, &'a str), PaymentEffects>,
    shipments: HashMap<&'a str, ShipmentEffects>,
}

impl<'a> Effects<'a> {
    fn count(journal: &'a [JournalLine]) -> Self {
        let mut all = Self::default();
        for line in journal {
            let Some(payment_id) = line.payment_id.as_deref() else {
                let shipment = all.shipments.entry(&line.order_id).or_default();
                shipment.count(line.kind);
                continue;
            };
            all.payments.entry(payment_id).or_default().count(line.kind);
            if let Some(transaction_id) = line.transaction_id.as_deref() {
                let transaction = (payment_id, transaction_id);
                let effects = all.transactions.entry(transaction).or_default();
                effects.count(line.kind);
            }
        }
        all
    }

    fn of_payment(
        &self,
        payment: payments::Payment,
        callbacks: &HashMap<String, Callbacks>,
    ) -> PaymentLine {
        let id = payment.payment_id.as_str();
        PaymentLine {
            status: payment.status(),
            transaction_id: payment.transaction_id().map(str::to_owned),
            effects: self.payments.get(id).copied().unwrap_or_default(),
            callbacks: callbacks.get(id).copied().unwrap_or_default(),
            transactions: payment
                .transactions
                .iter()
                .map(|transaction| TransactionLine {
                    transaction_id: transaction.transaction_id.clone(),
                    amount: transaction.amount,
                    captured_amount: transaction.captured_amount,
                    refunded_amount: transaction.refunded_amount,
                    status: transaction.status,
                    effects: self
                        .transactions
                        .get(&(id, transaction.transaction_id.as_str()))
                        .copied()
                        .unwrap_or_default(),
                })
                .collect(),
            requests: payment.requests,
            payment_id: payment.payment_id,
            order_id: payment.order_id,
            awakeable_id: payment.awakeable_id,
            amount: payment.amount,
        }
    }

    fn of_shipment(&self, shipment: carrier::Shipment) -> ShipmentLine {
        let effects = self.shipments.get(shipment.order_id.as_str());
        ShipmentLine {
            effects: effects.copied().unwrap_or_default(),
            status: shipment.status(),
            order_id: shipment.order_id,
            tracking_number: shipment.tracking_number,
            requests: shipment.requests,
        }
    }
}

impl PaymentEffects {
    fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Authorize => self.authorize += 1,
            Kind::Capture => self.capture += 1,
            Kind::Void => self.void += 1,
            Kind::Refund => self.refund += 1,
            Kind::Decline | Kind::Release | Kind::Book | Kind::Cancel => {}
        }
    }
}

impl ShipmentEffects {
    fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Book => self.book += 1,
            Kind::Cancel => self.cancel += 1,
            _ => {}
        }
    }
}

mod queries {
    use std::collections::HashMap;

    use sqlx::SqliteConnection;

    use super::{Callbacks, JournalLine};
    use crate::database::of_order;

    pub(super) async fn journal(
        ledger: &mut SqliteConnection,
        order_id: Option<&str>,
    ) -> sqlx::Result<Vec<JournalLine>> {
        of_order(
            "SELECT * FROM journal",
            "order_id",
            order_id,
            "ORDER BY seq",
        )
        .build_query_as()
        .fetch_all(ledger)
        .await
    }

    /// How many callbacks of each payment are in which state.
    pub(super) async fn callbacks(
        ledger: &mut SqliteConnection,
        order_id: Option<&str>,
    ) -> sqlx::Result<HashMap<String, Callbacks>> {
        let rows: Vec<(String, u32, u32, u32)> = of_order(
            "SELECT payment_id,
                    SUM(callbacks.status = 'waiting'),
                    SUM(callbacks.status = 'delivered'),
                    SUM(callbacks.status = 'dead')
             FROM callbacks JOIN payments USING (payment_id)",
            "order_id",
            order_id,
            "GROUP BY payment_id",
        )
        .build_query_as()
        .fetch_all(ledger)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(payment_id, waiting, delivered, dead)| {
                let counts = Callbacks {
                    waiting,
                    delivered,
                    dead,
                };
                (payment_id, counts)
            })
            .collect())
    }
}
