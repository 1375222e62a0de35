//! What is said of an order in the log: each line has the order's id, and numbers
//! that [`crate::metrics`] counts.
//!
//! A line is said before the step that it tells of is handed to Restate. So a replay
//! of that step finds the journal ahead of it and says nothing
//! ([`crate::news`]); said after it, the last step of a
//! journal would be told once more.

use waybill_domain::Timestamp;
use waybill_domain::ids::OrderId;
use waybill_domain::order::{Compensable, EventKind, OrderRecord, OrderStatus};

/// The target of these lines, for `RUST_LOG`.
pub const TARGET: &str = "waybill::order";
/// The target of lines that a `run` says of a stranger's answer. Whatever runs is news,
/// also where the SDK, at the end of a journal, still takes the call for a replay.
pub const OUTSIDE: &str = "waybill::outside";
/// Every word for what can be undone.
pub const UNDONE: [&str; 4] = ["reserved", "authorized", "booked", "captured"];
/// Every question to a stranger.
pub const STEPS: [&str; 9] = [
    "provider.request",
    "provider.capture",
    "provider.void",
    "provider.refund",
    "provider.refund_part",
    "provider.find_out",
    "carrier.book",
    "carrier.find_out",
    "carrier.cancel",
];

/// The word for what is undone.
pub fn word(done: Compensable) -> &'static str {
    match done {
        Compensable::Reserved => UNDONE[0],
        Compensable::Authorized => UNDONE[1],
        Compensable::Booked => UNDONE[2],
        Compensable::Captured => UNDONE[3],
    }
}

/// A status, and since when an order had had it.
pub type Since = (OrderStatus, Timestamp);

/// An order is about to be written. `left` is the status that it has just left.
pub fn written(record: &OrderRecord, entered: bool, left: Option<Since>) {
    let status = record.status.as_str();
    tracing::info!(
        target: TARGET,
        {
            order.id = %record.order_id,
            order.status = status,
            order.version = record.version,
            order.entered = entered.then_some(status),
            order.left = left.map(|(status, _)| status.as_str()),
            order.left_after_s = left.map(|(_, since)| seconds(since, record.status_since)),
            order.paid_to_delivered_s = paid_to_delivered(record).filter(|_| entered),
        },
        "order {} is {}", record.order_id, record.status
    );
}

/// An order is about to be written by its customer's session, which only knows how it
/// is now: an attempt to pay has begun, or has ended.
pub fn written_by_session(record: &OrderRecord) {
    let is_begin =
        |kind: EventKind| matches!(kind, EventKind::OrderPlaced | EventKind::PaymentRetried);
    let has_begun = record
        .events
        .last()
        .is_some_and(|event| is_begin(event.kind));
    let is_changed = record.status_since == record.updated_at;
    if record.status == OrderStatus::AwaitingPayment {
        return written(record, has_begun, None);
    }
    let begun = record
        .events
        .iter()
        .rev()
        .find(|event| is_begin(event.kind));
    let left = begun.map(|event| (OrderStatus::AwaitingPayment, event.at));
    written(record, is_changed, left.filter(|_| is_changed));
}

fn paid_to_delivered(record: &OrderRecord) -> Option<f64> {
    let mut events = record.events.iter().rev();
    let paid = events.find(|event| event.kind == EventKind::PaymentConfirmed)?;
    (record.status == OrderStatus::Delivered).then(|| seconds(paid.at, record.status_since))
}

/// A step of an order is about to be undone.
pub fn undone(order: &OrderId, done: Compensable) {
    let what = word(done);
    tracing::info!(target: TARGET, { order.id = %order, order.undone = what }, "undone of {order}: {what}");
}

/// Money came that nobody waited for any more.
pub fn late_payment(order: &OrderId) {
    tracing::info!(target: TARGET, { order.id = %order, order.late = true }, "money for {order} came too late and goes back");
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step without a word here would be counted, and not begin at zero.
    #[test]
    fn every_question_to_a_stranger_is_listed() {
        let sources = [include_str!("payment.rs"), include_str!("shipping.rs")];
        let quoted = |source: &'static str| source.split('"').skip(1).step_by(2);
        let asked = sources
            .into_iter()
            .flat_map(quoted)
            .filter(|word| word.starts_with("provider.") || word.starts_with("carrier."))
            .filter(|word| !word.contains('{'));
        for step in asked {
            assert!(STEPS.contains(&step), "{step}");
        }
    }
}
