//! A payment, as the provider knows it.

use serde::Serialize;

/// One payment with all the money that came in for it.
#[derive(Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "the names the fields have on the wire"
)]
pub(crate) struct Payment {
    pub(crate) payment_id: String,
    pub(crate) order_id: String,
    pub(crate) awakeable_id: String,
    pub(crate) amount: i64,
    /// Closed by a void that named no transaction: can no longer be paid.
    pub(crate) closed: bool,
    /// In the order in which they came.
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) requests: Requests,
}

/// Money that came in, or was declined.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
#[expect(
    clippy::struct_field_names,
    reason = "the names the fields have on the wire"
)]
pub(crate) struct Transaction {
    pub(crate) transaction_id: String,
    pub(crate) amount: i64,
    pub(crate) captured_amount: Option<i64>,
    /// What of that has gone back, in one part or in many.
    pub(crate) refunded_amount: i64,
    pub(crate) status: Status,
}

impl Transaction {
    /// What was taken of it.
    pub(crate) fn captured(&self) -> i64 {
        self.captured_amount.unwrap_or(self.amount)
    }

    /// What of that can still go back.
    pub(crate) fn refundable(&self) -> i64 {
        self.captured() - self.refunded_amount
    }
}

/// The state of a transaction, or of a payment as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase")]
pub(crate) enum Status {
    Pending,
    Authorized,
    Declined,
    Captured,
    Voided,
    Refunded,
}

/// How often the provider was asked.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Requests {
    pub(crate) create: u32,
    pub(crate) capture: u32,
    pub(crate) void: u32,
    pub(crate) refund: u32,
}
