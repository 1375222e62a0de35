//! How a status looks: one of four families, each with its colour, its icon and
//! its word.

use serde::Serialize;
use waybill_domain::order::{EventKind, OrderStatus};
use waybill_domain::payment::PaymentStatus;

use crate::shop::products::LOW_STOCK;

/// A status as a chip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chip {
    /// Name on the wire.
    pub name: &'static str,
    /// In the customer's words.
    pub label: String,
    /// Which colour.
    pub family: &'static str,
    /// Which icon.
    pub icon: &'static str,
}

impl Chip {
    /// An order's status; `undoing` is the end it is being undone towards.
    pub fn of(status: OrderStatus, undoing: Option<OrderStatus>) -> Self {
        if let Some(end) = undoing {
            return Self {
                name: status.as_str(),
                label: format!("Undoing: {}", end.label().to_lowercase()),
                family: "failed",
                icon: "undo",
            };
        }
        let (family, icon) = match status {
            OrderStatus::AwaitingPayment => ("waiting", "card"),
            OrderStatus::AwaitingApproval => ("waiting", "waiting"),
            OrderStatus::Shipping => ("working", "working"),
            OrderStatus::InTransit => ("working", "truck"),
            OrderStatus::Delivered => ("done", "done"),
            OrderStatus::PaymentFailed
            | OrderStatus::PaymentExpired
            | OrderStatus::Rejected
            | OrderStatus::ApprovalExpired
            | OrderStatus::ShippingFailed
            | OrderStatus::Cancelled => ("failed", "failed"),
        };
        Self {
            name: status.as_str(),
            label: status.label().to_owned(),
            family,
            icon,
        }
    }
}

/// Family and icon of an event of an order.
pub fn of_event(kind: EventKind) -> (&'static str, &'static str) {
    of_kind(kind.as_str())
}

/// Family and icon of what a notification tells, by its kind on the wire.
pub fn of_kind(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "order_placed" | "payment_retried" => ("neutral", "orders"),
        "item_added" | "item_removed" | "cart_changed" => ("neutral", "cart"),
        "payment_requested" => ("waiting", "card"),
        "approval_requested" | "return_asked" => ("waiting", "waiting"),
        "payment_confirmed" | "payment_captured" => ("done", "card"),
        "approved" | "delivered" => ("done", "done"),
        "shipment_initiated" | "in_transit" | "return_accepted" => ("working", "truck"),
        "taken_out" => ("waiting", "note"),
        "return_withdrawn" => ("neutral", "undo"),
        "return_received" | "refund_made" => ("done", "undo"),
        "refund_promised" => ("working", "card"),
        "payment_refunded"
        | "shipment_cancelled"
        | "payment_voided"
        | "stock_released"
        | "late_payment_returned" => ("failed", "undo"),
        "payment_failed" | "payment_expired" | "rejected" | "approval_expired"
        | "shipping_failed" | "capture_refused" | "cancelled" | "return_refused"
        | "return_expired" | "refund_refused" => ("failed", "failed"),
        _ => ("neutral", "note"),
    }
}

/// Words and family of a payment's status.
pub fn of_payment(status: PaymentStatus) -> (&'static str, &'static str) {
    match status {
        PaymentStatus::Pending => ("Pending", "waiting"),
        PaymentStatus::Authorized => ("Authorized", "working"),
        PaymentStatus::Captured => ("Captured", "done"),
        PaymentStatus::Voided => ("Voided", "failed"),
        PaymentStatus::Refunded => ("Refunded", "failed"),
        PaymentStatus::Failed => ("Declined", "failed"),
        PaymentStatus::Expired => ("Expired", "failed"),
        PaymentStatus::Cancelled => ("Cancelled", "failed"),
    }
}

/// Words, family and icon of a stock level.
pub fn of_stock(stock: i64) -> (String, &'static str, &'static str) {
    match stock {
        ..=0 => ("Sold out".to_owned(), "failed", "failed"),
        1..=LOW_STOCK => (format!("Only {stock} left"), "waiting", "alert"),
        _ => (format!("{stock} in stock"), "done", "done"),
    }
}
