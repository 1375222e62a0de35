//! The payment provider's SQL.

use std::collections::HashMap;

use sqlx::{SqliteConnection, SqlitePool};

use super::{Action, Opening, Operation, Payment, Requests, Transaction, Unopened};
use crate::database::of_order;

/// What is known of an idempotency key of POST /payments.
#[derive(sqlx::FromRow)]
pub(super) struct KnownOpening {
    pub(super) fingerprint: String,
    pub(super) payment_id: Option<String>,
}

/// What was answered to an idempotency key before.
#[derive(sqlx::FromRow)]
pub(super) struct KnownAnswer {
    pub(super) fingerprint: String,
    pub(super) http_status: u16,
    pub(super) answer: String,
}

#[derive(sqlx::FromRow)]
struct PaymentRow {
    payment_id: String,
    order_id: String,
    awakeable_id: String,
    amount: i64,
    closed: bool,
    create_requests: u32,
    capture_requests: u32,
    void_requests: u32,
    refund_requests: u32,
}

#[derive(sqlx::FromRow)]
struct TransactionRow {
    payment_id: String,
    #[sqlx(flatten)]
    transaction: Transaction,
}

/// Counts a request to open a payment, and gives its key the new payment id if
/// it stands for the same payment and has none yet. Answers what the key
/// stands for.
pub(super) async fn count_opening(
    ledger: &mut SqliteConnection,
    key: &str,
    fingerprint: &str,
    opening: &Opening,
    new_id: Option<&str>,
) -> sqlx::Result<KnownOpening> {
    sqlx::query_as(
        "INSERT INTO payment_openings
            (idempotency_key, fingerprint, order_id, awakeable_id, payment_id, requests)
         VALUES (?, ?, ?, ?, ?, 1)
         ON CONFLICT (idempotency_key) DO UPDATE SET
            requests = requests + 1,
            payment_id = CASE
                WHEN payment_id IS NULL AND fingerprint = excluded.fingerprint
                THEN excluded.payment_id ELSE payment_id END
         RETURNING fingerprint, payment_id",
    )
    .bind(key)
    .bind(fingerprint)
    .bind(&opening.order_id)
    .bind(&opening.awakeable_id)
    .bind(new_id)
    .fetch_one(ledger)
    .await
}

pub(super) async fn insert(ledger: &mut SqliteConnection, payment: &Payment) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO payments (payment_id, order_id, awakeable_id, amount) VALUES (?, ?, ?, ?)",
    )
    .bind(&payment.payment_id)
    .bind(&payment.order_id)
    .bind(&payment.awakeable_id)
    .bind(payment.amount)
    .execute(ledger)
    .await?;
    Ok(())
}

/// The order a payment is for.
pub(crate) async fn order_of(
    readers: &SqlitePool,
    payment_id: &str,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT order_id FROM payments WHERE payment_id = ?")
        .bind(payment_id)
        .fetch_optional(readers)
        .await
}

/// A payment with its transactions.
pub(crate) async fn load(
    ledger: &mut SqliteConnection,
    payment_id: &str,
) -> sqlx::Result<Option<Payment>> {
    let row: Option<PaymentRow> = sqlx::query_as(
        "SELECT payments.*, payment_openings.requests AS create_requests
         FROM payments JOIN payment_openings USING (payment_id)
         WHERE payment_id = ?",
    )
    .bind(payment_id)
    .fetch_optional(&mut *ledger)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let transactions = sqlx::query_as(
        "SELECT transaction_id, amount, captured_amount, refunded_amount, status
         FROM transactions WHERE payment_id = ? ORDER BY position",
    )
    .bind(payment_id)
    .fetch_all(ledger)
    .await?;
    Ok(Some(row.with(transactions)))
}

/// Every payment, or those of one order.
pub(crate) async fn all(
    ledger: &mut SqliteConnection,
    order_id: Option<&str>,
) -> sqlx::Result<Vec<Payment>> {
    let rows: Vec<PaymentRow> = of_order(
        "SELECT payments.*, payment_openings.requests AS create_requests
         FROM payments JOIN payment_openings USING (payment_id)",
        "payments.order_id",
        order_id,
        "ORDER BY opened",
    )
    .build_query_as()
    .fetch_all(&mut *ledger)
    .await?;
    let transactions: Vec<TransactionRow> = of_order(
        "SELECT transactions.* FROM transactions JOIN payments USING (payment_id)",
        "order_id",
        order_id,
        "ORDER BY position",
    )
    .build_query_as()
    .fetch_all(ledger)
    .await?;
    let mut of_payment: HashMap<String, Vec<Transaction>> = HashMap::new();
    for row in transactions {
        let all = of_payment.entry(row.payment_id).or_default();
        all.push(row.transaction);
    }
    Ok(rows
        .into_iter()
        .map(|row| {
            let transactions = of_payment.remove(&row.payment_id).unwrap_or_default();
            row.with(transactions)
        })
        .collect())
}

/// Payments that were asked for but never opened.
pub(crate) async fn unopened(
    ledger: &mut SqliteConnection,
    order_id: Option<&str>,
) -> sqlx::Result<Vec<Unopened>> {
    of_order(
        "SELECT * FROM (
            SELECT order_id, awakeable_id, requests FROM payment_openings
            WHERE payment_id IS NULL)",
        "order_id",
        order_id,
        "ORDER BY order_id",
    )
    .build_query_as()
    .fetch_all(ledger)
    .await
}

/// Counts a request about a payment; answers the order it is for.
pub(super) async fn count_request(
    ledger: &mut SqliteConnection,
    operation: Operation,
    payment_id: &str,
) -> sqlx::Result<Option<String>> {
    let count = match operation {
        Operation::Capture => {
            "UPDATE payments SET capture_requests = capture_requests + 1
             WHERE payment_id = ? RETURNING order_id"
        }
        Operation::Void => {
            "UPDATE payments SET void_requests = void_requests + 1
             WHERE payment_id = ? RETURNING order_id"
        }
        Operation::Refund => {
            "UPDATE payments SET refund_requests = refund_requests + 1
             WHERE payment_id = ? RETURNING order_id"
        }
    };
    sqlx::query_scalar(count)
        .bind(payment_id)
        .fetch_optional(ledger)
        .await
}

pub(super) async fn answered(
    ledger: &mut SqliteConnection,
    key: &str,
) -> sqlx::Result<Option<KnownAnswer>> {
    sqlx::query_as(
        "SELECT fingerprint, http_status, answer FROM operations WHERE idempotency_key = ?",
    )
    .bind(key)
    .fetch_optional(ledger)
    .await
}

pub(super) async fn remember_answer(
    ledger: &mut SqliteConnection,
    key: &str,
    fingerprint: &str,
    http_status: u16,
    answer: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO operations (idempotency_key, fingerprint, http_status, answer)
         VALUES (?, ?, ?, ?)",
    )
    .bind(key)
    .bind(fingerprint)
    .bind(http_status)
    .bind(answer)
    .execute(ledger)
    .await?;
    Ok(())
}

pub(super) async fn close(ledger: &mut SqliteConnection, payment_id: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE payments SET closed = 1 WHERE payment_id = ?")
        .bind(payment_id)
        .execute(ledger)
        .await?;
    Ok(())
}

/// Writes a transaction as the payment at hand has it.
pub(super) async fn save_transaction(
    ledger: &mut SqliteConnection,
    payment: &Payment,
    transaction_id: &str,
) -> sqlx::Result<()> {
    let found = payment
        .transactions
        .iter()
        .zip(0_u32..)
        .find(|(transaction, _)| transaction.transaction_id == transaction_id);
    let Some((transaction, position)) = found else {
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO transactions
            (payment_id, transaction_id, position, amount, captured_amount, refunded_amount, status)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (payment_id, transaction_id) DO UPDATE SET
            captured_amount = excluded.captured_amount,
            refunded_amount = excluded.refunded_amount, status = excluded.status",
    )
    .bind(&payment.payment_id)
    .bind(transaction_id)
    .bind(position)
    .bind(transaction.amount)
    .bind(transaction.captured_amount)
    .bind(transaction.refunded_amount)
    .bind(transaction.status)
    .execute(ledger)
    .await?;
    Ok(())
}

pub(super) async fn schedule(
    ledger: &mut SqliteConnection,
    payment_id: &str,
    action: Action,
    due_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE payments SET auto_action = ?, auto_due_ms = ? WHERE payment_id = ?")
        .bind(action)
        .bind(due_ms)
        .bind(payment_id)
        .execute(ledger)
        .await?;
    Ok(())
}

pub(super) async fn unschedule(
    ledger: &mut SqliteConnection,
    payment_id: &str,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE payments SET auto_action = NULL, auto_due_ms = NULL WHERE payment_id = ?")
        .bind(payment_id)
        .execute(ledger)
        .await?;
    Ok(())
}

pub(super) async fn auto_due(
    readers: &SqlitePool,
    now_ms: i64,
) -> sqlx::Result<Vec<(String, Action)>> {
    sqlx::query_as(
        "SELECT payment_id, auto_action FROM payments
         WHERE auto_due_ms IS NOT NULL AND auto_due_ms <= ?
         ORDER BY auto_due_ms",
    )
    .bind(now_ms)
    .fetch_all(readers)
    .await
}

pub(super) async fn next_auto_due(readers: &SqlitePool) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("SELECT MIN(auto_due_ms) FROM payments WHERE auto_due_ms IS NOT NULL")
        .fetch_one(readers)
        .await
}

impl PaymentRow {
    fn with(self, transactions: Vec<Transaction>) -> Payment {
        Payment {
            payment_id: self.payment_id,
            order_id: self.order_id,
            awakeable_id: self.awakeable_id,
            amount: self.amount,
            closed: self.closed,
            transactions,
            requests: Requests {
                create: self.create_requests,
                capture: self.capture_requests,
                void: self.void_requests,
                refund: self.refund_requests,
            },
        }
    }
}
