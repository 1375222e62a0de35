//! The order record and its state machine.
//!
//! An order moves by [`Step`]s. [`OrderRecord::apply`] consumes the record and
//! returns the next one, or refuses a step that does not fit. What was done and
//! must be undone on failure is a stack ([`Compensable`]): a compensation is legal
//! only for its top, so undoing runs in reverse and exactly as far as doing.
//!
//! ```text
//! awaiting_payment → awaiting_approval → shipping → in_transit → delivered
//!        │                  │               │           │
//!        └──── a turn (declined, expired, rejected, cancelled, …) ──→ undo … → its end
//! ```

mod event;
pub mod status;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::audit::{By, Deed, WAYBILL};
use crate::basket::{Line, Part};
use crate::ids::{AttemptId, OrderId, Username};
use crate::money::{CURRENCY, Cents};
use crate::payment::{PaymentAttempt, PaymentOrder, PaymentReceipt, PaymentStatus};
use crate::placement::{Placement, ProviderPage};
use crate::refusal::Refusal;
use crate::shipment::{Shipment, ShipmentRequest};
use crate::words::{self, MAX_NAME, MAX_REASON, quoted};

pub use self::event::{EventKind, OrderEvent};
pub use self::status::OrderStatus;

/// What was done for an order and is undone when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compensable {
    /// Stock is reserved. Undone by releasing it.
    Reserved,
    /// Money is authorized. Undone by voiding it, or with the refund.
    Authorized,
    /// A parcel is booked. Undone by cancelling it.
    Booked,
    /// Money is captured. Undone by refunding it.
    Captured,
}

/// Everything that is known of an order: the truth, kept in Restate.
///
/// `version` stands first on purpose: the gateway's catch-up reads it from the
/// first bytes of the stored JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// Grows with every step, across attempts and the hand-over to the workflow.
    pub version: u64,
    /// Time of the last step.
    pub updated_at: Timestamp,
    /// Full id.
    pub order_id: OrderId,
    /// Whose order.
    pub user_id: Username,
    /// Where it stands.
    pub status: OrderStatus,
    /// The end it is being undone towards, while it is.
    pub undoing: Option<OrderStatus>,
    /// Time of the first checkout.
    pub created_at: Timestamp,
    /// Since when it has had `status`.
    pub status_since: Timestamp,
    /// When what it waits for runs out: the payment, the approval, the delivery.
    pub wait_until: Option<Timestamp>,
    /// Milliseconds from the payment until an approver must have decided; `None` in
    /// orders that are older than this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve_within_ms: Option<u64>,
    /// What is delivered: what was bought, without what was taken out.
    pub lines: Vec<Line>,
    /// What an approver took out before shipping, at the price it was bought for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_out: Vec<Line>,
    /// Sum of the lines.
    pub subtotal_cents: Cents,
    /// What shipping costs.
    pub shipping_cents: Cents,
    /// What is to be paid.
    pub total_cents: Cents,
    /// ISO 4217.
    #[serde(deserialize_with = "words::kept::id")]
    pub currency: String,
    /// Name of the shipping zone.
    #[serde(deserialize_with = "words::kept::name")]
    pub zone: String,
    /// Where to ship.
    #[serde(deserialize_with = "words::kept::address")]
    pub address: String,
    /// Every try to pay, the current one last. Never empty.
    pub payments: Vec<PaymentAttempt>,
    /// The parcel, once booked.
    pub shipment: Option<Shipment>,
    /// What was done and not undone, oldest first.
    pub done: Vec<Compensable>,
    /// What happened, oldest first.
    pub events: Vec<OrderEvent>,
    /// Why it failed, in words for the customer.
    #[serde(default, deserialize_with = "words::kept::a_detail")]
    pub failure_reason: Option<String>,
    /// Who is behind those of `events` that people are answerable for: the audit log's
    /// part of the record, which only staff reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deeds: Vec<Deed>,
}

/// One step of an order's life, with its own facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The awakeable that the payment resolves exists.
    PaymentOpened {
        /// Its id.
        awakeable_id: String,
    },
    /// The provider waits for the customer.
    PaymentPageReady(ProviderPage),
    /// The provider has called back. What follows from it is the next step, in
    /// the same moment.
    ReceiptNoted(Box<PaymentReceipt>),
    /// The money is authorized.
    PaymentConfirmed {
        /// The provider's id of the money movement.
        transaction_id: String,
    },
    /// The payment was declined.
    PaymentFailed {
        /// Why.
        reason: String,
    },
    /// Nobody paid in time.
    PaymentExpired,
    /// The workflow waits for an approver.
    ApprovalRequested {
        /// Until when.
        until: Timestamp,
    },
    /// An admin agreed.
    Approved {
        /// Who.
        by: By,
    },
    /// An admin has agreed, without some pieces: they are never sent nor paid.
    TakenOut {
        /// Who.
        by: By,
        /// Which.
        without: Vec<Part>,
        /// Why.
        reason: Option<String>,
    },
    /// An admin refused.
    Rejected {
        /// Who.
        by: By,
        /// Why.
        reason: Option<String>,
    },
    /// No admin decided in time.
    ApprovalExpired,
    /// The carrier has the parcel.
    ShipmentBooked(Shipment),
    /// The carrier refused.
    ShippingFailed {
        /// The carrier's words.
        reason: String,
    },
    /// The money is ours.
    PaymentCaptured,
    /// The provider would not give us the money.
    CaptureRefused {
        /// The provider's words.
        reason: String,
    },
    /// The parcel is on its way.
    InTransit {
        /// When it should arrive.
        eta: Timestamp,
    },
    /// The parcel has arrived.
    Delivered,
    /// Taken back.
    Cancelled {
        /// By whom.
        by: By,
        /// Why.
        reason: Option<String>,
    },
    /// The latest thing done, and not yet undone, has been undone.
    Undone(Compensable),
    /// Everything is undone: the end is reached.
    Ended,
}

/// A step that does not fit where the order stands: a defect in the caller.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("step {step:?} does not fit order {order_id} in {status} (undoing: {undoing:?})")]
pub struct IllegalStep {
    order_id: OrderId,
    status: OrderStatus,
    undoing: Option<OrderStatus>,
    step: Box<Step>,
}

impl OrderRecord {
    /// A new order, stock reserved, not yet paid.
    pub fn place(order_id: OrderId, placement: Placement, at: Timestamp) -> Self {
        let mut record = Self {
            version: 0,
            updated_at: at,
            user_id: order_id.owner(),
            order_id,
            status: OrderStatus::AwaitingPayment,
            undoing: None,
            created_at: at,
            status_since: at,
            wait_until: None,
            approve_within_ms: None,
            lines: Vec::new(),
            taken_out: Vec::new(),
            subtotal_cents: Cents::ZERO,
            shipping_cents: Cents::ZERO,
            total_cents: Cents::ZERO,
            currency: CURRENCY.to_owned(),
            zone: String::new(),
            address: String::new(),
            payments: Vec::new(),
            shipment: None,
            done: Vec::new(),
            events: Vec::new(),
            failure_reason: None,
            deeds: Vec::new(),
        };
        record.begin_attempt(placement, at);
        record.note(at, EventKind::OrderPlaced, "Order placed, stock reserved");
        record
    }

    /// The same order once more, after its payment failed or expired: a new
    /// attempt over what the cart holds now.
    #[expect(clippy::result_large_err, reason = "the record comes back unchanged")]
    pub fn retry(mut self, placement: Placement, at: Timestamp) -> Result<Self, Self> {
        if !self.status.may_retry_payment() || self.undoing.is_some() {
            return Err(self);
        }
        let at = self.not_before(at);
        self.begin_attempt(placement, at);
        let attempt = self.payment().attempt;
        self.note(
            at,
            EventKind::PaymentRetried,
            format!("Payment attempt {attempt}, stock reserved again"),
        );
        Ok(self)
    }

    fn begin_attempt(&mut self, placement: Placement, at: Timestamp) {
        self.version += 1;
        self.updated_at = at;
        self.status = OrderStatus::AwaitingPayment;
        self.status_since = at;
        self.wait_until = Some(placement.pay_until);
        self.approve_within_ms = placement.approve_within_ms;
        self.failure_reason = None;
        self.subtotal_cents = placement.subtotal();
        self.shipping_cents = placement.shipping.cost_cents;
        self.total_cents = placement.total();
        self.zone = placement.shipping.zone;
        self.address = placement.shipping.address;
        self.lines = placement.lines;
        self.taken_out = Vec::new();
        self.done = vec![Compensable::Reserved];
        self.payments.push(PaymentAttempt {
            attempt: u32::try_from(self.payments.len() + 1).unwrap_or(u32::MAX),
            status: PaymentStatus::Pending,
            amount_cents: self.total_cents,
            expires_at: placement.pay_until,
            awakeable_id: None,
            payment_id: None,
            pay_url: None,
            transaction_id: None,
            receipt: None,
        });
    }

    /// The next record after `step`, or why the step does not fit.
    pub fn apply(mut self, step: Step, at: Timestamp) -> Result<Self, IllegalStep> {
        if !self.allows(&step) {
            return Err(IllegalStep {
                order_id: self.order_id,
                status: self.status,
                undoing: self.undoing,
                step: Box::new(step),
            });
        }
        let at = self.not_before(at);
        self.version += 1;
        self.updated_at = at;
        self.take(step, at);
        Ok(self)
    }

    /// The current try with its awakeable, if it had none: part of the next step.
    pub(crate) fn with_awakeable(mut self, awakeable_id: String) -> Self {
        self.payment_mut().awakeable_id.get_or_insert(awakeable_id);
        self
    }

    /// The awakeable of a try that has ended before anybody knew it; `None` when it is
    /// known.
    pub(crate) fn with_late_awakeable(
        mut self,
        attempt: u32,
        awakeable_id: String,
        at: Timestamp,
    ) -> Option<Self> {
        let mut payments = self.payments.iter_mut();
        let payment = payments.find(|it| it.attempt == attempt && it.awakeable_id.is_none())?;
        payment.awakeable_id = Some(awakeable_id);
        self.updated_at = self.not_before(at);
        self.version += 1;
        Some(self)
    }

    /// Waits for an approver from now on, if it is known for how long.
    pub(crate) fn approval_requested(self, at: Timestamp) -> Result<Self, IllegalStep> {
        let Some(within) = self.approve_within_ms else {
            return Ok(self);
        };
        let within = SignedDuration::from_millis(i64::try_from(within).unwrap_or(i64::MAX));
        let at = self.not_before(at);
        let until = at.saturating_add(within).unwrap_or(Timestamp::MAX);
        self.apply(Step::ApprovalRequested { until }, at)
    }

    /// The time of the next step. Services on other machines may have clocks
    /// that are behind: an order's story is told in its order all the same.
    fn not_before(&self, at: Timestamp) -> Timestamp {
        at.max(self.updated_at)
    }

    fn allows(&self, step: &Step) -> bool {
        use OrderStatus as S;
        if self.undoing.is_some() {
            return match step {
                Step::Undone(done) => self.done.last() == Some(done),
                Step::Ended => self.done.is_empty(),
                _ => false,
            };
        }
        match step {
            Step::PaymentOpened { .. }
            | Step::PaymentPageReady(_)
            | Step::ReceiptNoted(_)
            | Step::PaymentConfirmed { .. }
            | Step::PaymentFailed { .. }
            | Step::PaymentExpired => self.status == S::AwaitingPayment,
            Step::ApprovalRequested { .. }
            | Step::Approved { .. }
            | Step::Rejected { .. }
            | Step::ApprovalExpired => self.status == S::AwaitingApproval,
            Step::TakenOut { without, .. } => {
                self.status == S::Shipping
                    && self.done.last() == Some(&Compensable::Authorized)
                    && self.taken_out.is_empty()
                    && self.split(without).is_ok()
            }
            Step::ShipmentBooked(_) | Step::ShippingFailed { .. } => {
                self.status == S::Shipping && !self.done.contains(&Compensable::Booked)
            }
            Step::PaymentCaptured | Step::CaptureRefused { .. } => {
                self.status == S::Shipping && self.done.last() == Some(&Compensable::Booked)
            }
            Step::InTransit { .. } => {
                self.status == S::Shipping && self.done.last() == Some(&Compensable::Captured)
            }
            Step::Delivered => self.status == S::InTransit,
            Step::Cancelled { .. } => !self.status.is_terminal(),
            Step::Undone(_) | Step::Ended => false,
        }
    }

    #[expect(clippy::too_many_lines, reason = "one match, an arm for each step")]
    fn take(&mut self, step: Step, at: Timestamp) {
        match step {
            Step::PaymentOpened { awakeable_id } => {
                self.payment_mut().awakeable_id = Some(awakeable_id);
                let total = self.total_cents;
                self.note(
                    at,
                    EventKind::PaymentRequested,
                    format!("Awaiting payment of {total}…"),
                );
            }
            Step::PaymentPageReady(page) => {
                let payment = self.payment_mut();
                payment.payment_id = Some(page.payment_id);
                // One that was too long to keep is none.
                payment.pay_url = Some(page.pay_url).filter(|url| !url.is_empty());
            }
            Step::ReceiptNoted(receipt) => self.payment_mut().receipt = Some(*receipt),
            Step::PaymentConfirmed { transaction_id } => {
                self.note(
                    at,
                    EventKind::PaymentConfirmed,
                    format!("Payment confirmed! (transaction {transaction_id})"),
                );
                let payment = self.payment_mut();
                payment.status = PaymentStatus::Authorized;
                payment.transaction_id = Some(transaction_id);
                self.done.push(Compensable::Authorized);
                self.enter(OrderStatus::AwaitingApproval, None, at);
            }
            Step::PaymentFailed { reason } => {
                self.payment_mut().status = PaymentStatus::Failed;
                let detail = format!("Payment failed: {}", quoted(&reason, MAX_REASON));
                self.turn(
                    OrderStatus::PaymentFailed,
                    EventKind::PaymentFailed,
                    detail,
                    at,
                );
            }
            Step::PaymentExpired => {
                self.payment_mut().status = PaymentStatus::Expired;
                let detail = "Payment expired: nobody paid in time".to_owned();
                self.turn(
                    OrderStatus::PaymentExpired,
                    EventKind::PaymentExpired,
                    detail,
                    at,
                );
            }
            Step::ApprovalRequested { until } => {
                self.wait_until = Some(until);
                self.note(at, EventKind::ApprovalRequested, "Admin approval needed");
            }
            Step::Approved { by } => {
                self.note(
                    at,
                    EventKind::Approved,
                    format!("Approved by {}", quoted(&by.who, MAX_NAME)),
                );
                self.deed(by);
                self.enter(OrderStatus::Shipping, None, at);
            }
            Step::TakenOut {
                by,
                without,
                reason,
            } => self.take_out(by, &without, reason, at),
            Step::Rejected { by, reason } => {
                let detail = because(
                    format!("Order canceled by admin ({})", quoted(&by.who, MAX_NAME)),
                    reason,
                );
                self.turn(OrderStatus::Rejected, EventKind::Rejected, detail, at);
                self.deed(by);
            }
            Step::ApprovalExpired => {
                let detail = "Approval expired: nobody decided in time".to_owned();
                self.turn(
                    OrderStatus::ApprovalExpired,
                    EventKind::ApprovalExpired,
                    detail,
                    at,
                );
            }
            Step::ShipmentBooked(shipment) => {
                self.note(
                    at,
                    EventKind::ShipmentInitiated,
                    format!(
                        "Shipment initiated with {} ({})",
                        quoted(&shipment.carrier, MAX_NAME),
                        quoted(&shipment.tracking_number, MAX_NAME)
                    ),
                );
                self.shipment = Some(shipment);
                self.done.push(Compensable::Booked);
            }
            Step::ShippingFailed { reason } => {
                let detail = format!(
                    "Order failed: Shipping rejected ({})",
                    quoted(&reason, MAX_REASON)
                );
                self.turn(
                    OrderStatus::ShippingFailed,
                    EventKind::ShippingFailed,
                    detail,
                    at,
                );
            }
            Step::PaymentCaptured => {
                self.payment_mut().status = PaymentStatus::Captured;
                self.done.push(Compensable::Captured);
                let total = self.total_cents;
                self.note(
                    at,
                    EventKind::PaymentCaptured,
                    format!("Payment of {total} captured"),
                );
            }
            Step::CaptureRefused { reason } => {
                let detail = format!(
                    "Order failed: the payment could not be captured ({})",
                    quoted(&reason, MAX_REASON)
                );
                self.turn(
                    OrderStatus::PaymentFailed,
                    EventKind::CaptureRefused,
                    detail,
                    at,
                );
            }
            Step::InTransit { eta } => {
                if let Some(shipment) = &mut self.shipment {
                    shipment.eta = Some(eta);
                }
                let wait = eta.duration_since(at).as_secs_f64().max(0.0).round();
                self.note(
                    at,
                    EventKind::InTransit,
                    format!("Estimated delivery: {wait}s"),
                );
                self.enter(OrderStatus::InTransit, Some(eta), at);
            }
            Step::Delivered => {
                self.note(at, EventKind::Delivered, "Order delivered!");
                // Stock is committed and the money earned: nothing left to undo.
                self.done.clear();
                self.enter(OrderStatus::Delivered, None, at);
            }
            Step::Cancelled { by, reason } => {
                if self.payment().is_open() {
                    self.payment_mut().status = PaymentStatus::Cancelled;
                }
                let detail = because(
                    format!("Order cancelled by {}", quoted(&by.who, MAX_NAME)),
                    reason,
                );
                self.turn(OrderStatus::Cancelled, EventKind::Cancelled, detail, at);
                self.deed(by);
            }
            Step::Undone(done) => self.undo(done, at),
            Step::Ended => {
                if let Some(end) = self.undoing.take() {
                    self.enter(end, None, at);
                }
            }
        }
    }

    fn take_out(&mut self, by: By, without: &[Part], reason: Option<String>, at: Timestamp) {
        // Whether they can be taken out was asked before the step was allowed.
        let Ok((left, out)) = self.split(without) else {
            return;
        };
        let named: Vec<_> = out
            .iter()
            .map(|line| format!("{} × {}", line.quantity, quoted(&line.name, MAX_NAME)))
            .collect();
        let less: Cents = out.iter().map(|line| line.line_total_cents).sum();
        self.lines = left;
        self.taken_out = out;
        self.subtotal_cents = self.lines.iter().map(|line| line.line_total_cents).sum();
        self.total_cents = self.subtotal_cents + self.shipping_cents;
        let total = self.total_cents;
        let what = format!(
            "Taken out before shipping: {}. {less} less is charged, {total} in all",
            named.join(", ")
        );
        self.note(at, EventKind::TakenOut, because(what, reason));
        self.deed(by);
    }

    /// The lines that are left and those that go when these pieces are taken out, or why
    /// they cannot be.
    pub fn split(&self, without: &[Part]) -> Result<(Vec<Line>, Vec<Line>), Refusal> {
        let refuse = |why: String| Err(Refusal::invalid("without", why));
        let (mut left, mut out) = (Vec::new(), Vec::new());
        for part in without {
            if part.quantity == 0 {
                return refuse(format!(
                    "without names no pieces of {}: say how many are taken out",
                    part.sku
                ));
            }
            if !self.lines.iter().any(|line| line.sku == part.sku) {
                return refuse(format!(
                    "{} is not in the order: take out what is in it",
                    part.sku
                ));
            }
        }
        for line in &self.lines {
            let parts = without.iter().filter(|part| part.sku == line.sku);
            let pieces = parts.fold(0_u32, |sum, part| sum.saturating_add(part.quantity));
            let Some(rest) = line.quantity.checked_sub(pieces) else {
                return refuse(format!(
                    "{} pieces of {} were ordered: no more can be taken out",
                    line.quantity, line.sku
                ));
            };
            left.extend(line.part(rest));
            out.extend(line.part(pieces));
        }
        if left.is_empty() {
            return refuse("nothing would be left to ship: reject the order instead".to_owned());
        }
        Ok((left, out))
    }

    fn undo(&mut self, done: Compensable, at: Timestamp) {
        self.done.pop();
        match done {
            Compensable::Reserved => self.note(at, EventKind::StockReleased, "Stock released"),
            Compensable::Authorized => {
                self.payment_mut().status = PaymentStatus::Voided;
                self.note(
                    at,
                    EventKind::PaymentVoided,
                    "Payment voided: nothing is charged",
                );
            }
            Compensable::Booked => {
                self.note(at, EventKind::ShipmentCancelled, "Shipment cancelled");
            }
            Compensable::Captured => {
                self.payment_mut().status = PaymentStatus::Refunded;
                // A refund also ends the authorization it came from.
                self.done.retain(|other| *other != Compensable::Authorized);
                let total = self.total_cents;
                self.note(
                    at,
                    EventKind::PaymentRefunded,
                    format!("Payment of {total} refunded"),
                );
                // Whoever took the order back has sent the money back.
                let turned = match self.undoing {
                    Some(OrderStatus::Cancelled) => self.deeds.last(),
                    _ => None,
                };
                self.deed(turned.map_or_else(|| WAYBILL.into(), |deed| deed.by.clone()));
            }
        }
    }

    /// Turns the order towards a bad end; undoing comes next.
    fn turn(&mut self, end: OrderStatus, kind: EventKind, detail: String, at: Timestamp) {
        self.undoing = Some(end);
        self.wait_until = None;
        self.failure_reason = Some(detail.clone());
        self.note(at, kind, detail);
    }

    fn enter(&mut self, status: OrderStatus, until: Option<Timestamp>, at: Timestamp) {
        self.status = status;
        self.status_since = at;
        self.wait_until = until;
    }

    /// Whose the latest event is.
    fn deed(&mut self, by: By) {
        self.deeds.push(Deed {
            seq: self.events.len() as u64,
            by: By {
                who: words::bounded(&by.who, MAX_NAME),
                ..by
            },
        });
    }

    fn note(&mut self, at: Timestamp, kind: EventKind, detail: impl Into<String>) {
        self.events.push(OrderEvent {
            seq: self.events.len() as u64 + 1,
            at,
            kind,
            detail: words::detail(detail.into()),
        });
    }

    /// The current try to pay.
    pub fn payment(&self) -> &PaymentAttempt {
        self.payments
            .last()
            .expect("place() makes the first attempt and none is ever removed")
    }

    fn payment_mut(&mut self) -> &mut PaymentAttempt {
        self.payments
            .last_mut()
            .expect("place() makes the first attempt and none is ever removed")
    }

    /// The id of the current try to pay.
    pub fn attempt(&self) -> AttemptId {
        AttemptId {
            order_id: self.order_id.clone(),
            attempt: self.payment().attempt,
        }
    }

    /// What the provider is asked about the current try.
    pub fn payment_order(&self) -> PaymentOrder {
        let payment = self.payment();
        PaymentOrder {
            attempt: self.attempt(),
            awakeable_id: payment.awakeable_id.clone().unwrap_or_default(),
            amount_cents: payment.amount_cents,
            capture_cents: (self.total_cents < payment.amount_cents).then_some(self.total_cents),
            payment_id: payment.payment_id.clone(),
            transaction_id: payment.transaction_id.clone(),
        }
    }

    /// What the carrier is asked.
    pub fn shipment_request(&self) -> ShipmentRequest {
        ShipmentRequest {
            attempt: self.attempt(),
            address: self.address.clone(),
            lines: self.lines.clone(),
        }
    }

    /// Whether checking out again starts a new payment. A capture that was
    /// refused has ended the order's workflow: its id cannot run again.
    pub fn may_be_paid_again(&self) -> bool {
        self.status.may_retry_payment() && self.undoing.is_none() && self.shipment.is_none()
    }

    /// What comes next, in the words of the workflow panel.
    pub fn next_action(&self) -> &'static str {
        if self.undoing.is_some() {
            return match self.done.last() {
                Some(Compensable::Captured) => "Refund the payment",
                Some(Compensable::Booked) => "Cancel the shipment",
                Some(Compensable::Authorized) => "Void the payment",
                Some(Compensable::Reserved) => "Release the stock",
                None => "Finish",
            };
        }
        match self.status {
            OrderStatus::AwaitingPayment => "Customer pays",
            OrderStatus::AwaitingApproval => "Admin approves",
            OrderStatus::Shipping if self.done.contains(&Compensable::Booked) => {
                "Capture the payment"
            }
            OrderStatus::Shipping => "Book the shipment",
            OrderStatus::InTransit => "Confirm the delivery",
            _ if self.may_be_paid_again() => "None (checking out again starts a new attempt)",
            _ => "None",
        }
    }
}

fn because(what: String, reason: Option<String>) -> String {
    match reason.filter(|reason| words::is_visible(reason)) {
        Some(reason) => format!("{what}: {}", quoted(&reason, MAX_REASON)),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::basket::Product;
    use crate::ids::Sku;
    use crate::payment::ReceiptStatus;
    use crate::placement::Shipping;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn placement() -> Placement {
        let product = Product {
            sku: Sku::parse("P001").unwrap(),
            product_id: 1,
            name: "Widget".into(),
            unit_price_cents: Cents(6000),
        };
        Placement {
            lines: vec![Line::new(product, 2).unwrap()],
            shipping: Shipping {
                zone: "Domestic".into(),
                cost_cents: Cents(500),
                address: "1 Main St".into(),
            },
            pay_until: at(900),
            approve_within_ms: Some(60_000),
        }
    }

    fn placed() -> OrderRecord {
        OrderRecord::place(OrderId::parse("alice.1").unwrap(), placement(), at(0))
    }

    fn shipment() -> Shipment {
        Shipment {
            carrier: "FedEx".into(),
            tracking_number: "FX1".into(),
            eta: None,
        }
    }

    fn after(steps: impl IntoIterator<Item = Step>) -> OrderRecord {
        steps
            .into_iter()
            .enumerate()
            .fold(placed(), |record, (n, step)| {
                record
                    .apply(step, at(i64::try_from(n).unwrap() + 1))
                    .unwrap()
            })
    }

    fn paid() -> Vec<Step> {
        vec![
            Step::PaymentOpened {
                awakeable_id: "sign_1".into(),
            },
            Step::PaymentConfirmed {
                transaction_id: "txn-1".into(),
            },
            Step::ApprovalRequested { until: at(1000) },
        ]
    }

    fn captured() -> Vec<Step> {
        let mut steps = paid();
        steps.extend([
            Step::Approved { by: "admin".into() },
            Step::ShipmentBooked(shipment()),
            Step::PaymentCaptured,
        ]);
        steps
    }

    fn kinds(record: &OrderRecord) -> Vec<&'static str> {
        record
            .events
            .iter()
            .map(|event| event.kind.as_str())
            .collect()
    }

    #[test]
    fn a_clock_that_is_behind_does_not_turn_the_story_around() {
        let ahead = placed().apply(paid()[0].clone(), at(100)).unwrap();
        let record = ahead.apply(paid()[1].clone(), at(40)).unwrap();
        assert_eq!((record.updated_at, record.status_since), (at(100), at(100)));
        let failed = placed()
            .apply(Step::PaymentExpired, at(100))
            .and_then(|it| it.apply(Step::Undone(Compensable::Reserved), at(30)))
            .and_then(|it| it.apply(Step::Ended, at(20)))
            .unwrap();
        let again = failed.retry(placement(), at(10)).unwrap();
        assert_eq!(again.updated_at, at(100));
        assert!(again.events.is_sorted_by_key(|it| it.at));
    }

    #[test]
    fn the_happy_path() {
        let mut steps = captured();
        steps.extend([Step::InTransit { eta: at(12) }, Step::Delivered]);
        let record = after(steps);
        assert_eq!(record.status, OrderStatus::Delivered);
        assert_eq!(record.total_cents, Cents(12500));
        assert!(record.done.is_empty());
        assert_eq!(record.events.last().unwrap().detail, "Order delivered!");
        assert_eq!(
            kinds(&record),
            [
                "order_placed",
                "payment_requested",
                "payment_confirmed",
                "approval_requested",
                "approved",
                "shipment_initiated",
                "payment_captured",
                "in_transit",
                "delivered"
            ]
        );
    }

    fn part(sku: &str, quantity: u32) -> Part {
        Part {
            sku: Sku::parse(sku).unwrap(),
            quantity,
        }
    }

    #[test]
    fn pieces_are_taken_out_and_only_the_rest_is_charged() {
        let mut steps = paid();
        steps.extend([
            Step::Approved { by: "admin".into() },
            Step::TakenOut {
                by: "admin".into(),
                without: vec![part("P001", 1)],
                reason: Some("one is broken".into()),
            },
        ]);
        let record = after(steps);
        assert_eq!(
            record.events.last().unwrap().detail,
            "Taken out before shipping: 1 × Widget. $60.00 less is charged, $65.00 in all: one is broken"
        );
        let totals = (
            record.subtotal_cents,
            record.shipping_cents,
            record.total_cents,
        );
        assert_eq!(totals, (Cents(6000), Cents(500), Cents(6500)));
        let pieces = |lines: &[Line]| lines.iter().map(|line| line.quantity).sum::<u32>();
        assert_eq!((pieces(&record.lines), pieces(&record.taken_out)), (1, 1));
        let asked = record.payment_order();
        assert_eq!(
            (asked.amount_cents, asked.to_capture()),
            (Cents(12500), Cents(6500))
        );
        assert_eq!(record.deeds.len(), 2);
    }

    #[test]
    fn what_cannot_be_taken_out_is_refused() {
        let record = after(paid());
        for (without, why) in [
            (vec![part("P002", 1)], "not in the order"),
            (vec![part("P001", 0)], "no pieces"),
            (vec![part("P001", 3)], "2 pieces of P001 were ordered"),
            (vec![part("P001", 1), part("P001", 2)], "2 pieces of P001"),
            (vec![part("P001", 2)], "reject the order instead"),
        ] {
            let refusal = record.split(&without).unwrap_err();
            assert!(refusal.to_string().contains(why), "{refusal}");
        }
    }

    #[test]
    fn a_failure_after_capture_is_undone_in_reverse() {
        let mut steps = captured();
        steps.extend([
            Step::InTransit { eta: at(12) },
            Step::Cancelled {
                by: "restate".into(),
                reason: None,
            },
            Step::Undone(Compensable::Captured),
            Step::Undone(Compensable::Booked),
            Step::Undone(Compensable::Reserved),
            Step::Ended,
        ]);
        let record = after(steps);
        assert_eq!(record.status, OrderStatus::Cancelled);
        assert_eq!(record.payment().status, PaymentStatus::Refunded);
        assert_eq!(
            kinds(&record)[8..],
            [
                "cancelled",
                "payment_refunded",
                "shipment_cancelled",
                "stock_released"
            ]
        );
        // People are answerable for three of these: whoever took it back sent the money
        // back, too.
        let deeds = record.deeds.iter().map(|deed| {
            let event = &record.events[usize::try_from(deed.seq).unwrap() - 1];
            (event.kind.as_str(), deed.by.who.as_str())
        });
        let deeds: Vec<_> = deeds.collect();
        assert_eq!(
            deeds,
            [
                ("approved", "admin"),
                ("cancelled", "restate"),
                ("payment_refunded", "restate")
            ]
        );
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<OrderRecord>(&text).unwrap(), record);
    }

    #[test]
    fn undoing_out_of_order_or_too_early_is_refused() {
        let turned = after(captured())
            .apply(
                Step::Cancelled {
                    by: "admin".into(),
                    reason: None,
                },
                at(9),
            )
            .unwrap();
        assert!(
            turned
                .clone()
                .apply(Step::Undone(Compensable::Booked), at(9))
                .is_err()
        );
        assert!(turned.clone().apply(Step::Ended, at(9)).is_err());
        assert!(turned.apply(Step::Delivered, at(9)).is_err());
        assert!(
            after(captured())
                .apply(Step::Undone(Compensable::Captured), at(9))
                .is_err()
        );
    }

    #[test]
    fn a_booking_that_was_refused_is_not_cancelled() {
        let mut steps = paid();
        steps.extend([
            Step::Approved { by: "admin".into() },
            Step::ShippingFailed {
                reason: "no".into(),
            },
            Step::Undone(Compensable::Authorized),
            Step::Undone(Compensable::Reserved),
            Step::Ended,
        ]);
        let record = after(steps);
        assert_eq!(record.status, OrderStatus::ShippingFailed);
        assert!(!kinds(&record).contains(&"shipment_cancelled"));
    }

    #[test]
    fn a_failed_payment_can_be_tried_again_and_versions_go_on() {
        let failed = after([
            Step::PaymentFailed {
                reason: "insufficient funds".into(),
            },
            Step::Undone(Compensable::Reserved),
            Step::Ended,
        ]);
        assert_eq!(
            failed.failure_reason.as_deref(),
            Some("Payment failed: insufficient funds")
        );
        let version = failed.version;
        let again = failed.retry(placement(), at(50)).unwrap();
        assert_eq!(again.status, OrderStatus::AwaitingPayment);
        assert_eq!(again.attempt().attempt, 2);
        assert!(again.version > version);
        assert_eq!(again.failure_reason, None);
        assert!(again.retry(placement(), at(51)).is_err());
    }

    #[test]
    fn the_version_is_the_first_field_of_the_json() {
        let json = serde_json::to_string(&placed()).unwrap();
        assert!(
            json.starts_with("{\"version\":1,\"updated_at\":\"1970-01-01T00:00:00Z\""),
            "{json}"
        );
    }

    #[test]
    fn names_on_the_wire_are_as_str() {
        for status in OrderStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
            assert_eq!(OrderStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!(
            serde_json::to_value(EventKind::ShipmentInitiated).unwrap(),
            "shipment_initiated"
        );
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let text = "[a-z]{1,5}";
        let done = prop::sample::select(vec![
            Compensable::Reserved,
            Compensable::Authorized,
            Compensable::Booked,
            Compensable::Captured,
        ]);
        prop_oneof![
            text.prop_map(|awakeable_id| Step::PaymentOpened { awakeable_id }),
            Just(Step::PaymentPageReady(ProviderPage {
                payment_id: "pay_1".into(),
                pay_url: "http://x/".into()
            })),
            Just(Step::ReceiptNoted(Box::new(PaymentReceipt {
                awakeable_id: String::new(),
                transaction_id: "t".into(),
                amount: 1,
                status: ReceiptStatus::Success,
                reason: None,
                currency: None,
                order_id: None,
            }))),
            text.prop_map(|transaction_id| Step::PaymentConfirmed { transaction_id }),
            text.prop_map(|reason| Step::PaymentFailed { reason }),
            Just(Step::PaymentExpired),
            Just(Step::ApprovalRequested { until: at(100) }),
            text.prop_map(|by| Step::Approved { by: by.into() }),
            (text, 0..4_u32).prop_map(|(by, quantity)| Step::TakenOut {
                by: by.into(),
                without: vec![Part {
                    sku: Sku::parse("P001").unwrap(),
                    quantity,
                }],
                reason: None,
            }),
            text.prop_map(|by| Step::Rejected {
                by: by.into(),
                reason: None
            }),
            Just(Step::ApprovalExpired),
            Just(Step::ShipmentBooked(shipment())),
            text.prop_map(|reason| Step::ShippingFailed { reason }),
            Just(Step::PaymentCaptured),
            text.prop_map(|reason| Step::CaptureRefused { reason }),
            Just(Step::InTransit { eta: at(100) }),
            Just(Step::Delivered),
            text.prop_map(|by| Step::Cancelled {
                by: by.into(),
                reason: None
            }),
            done.prop_map(Step::Undone),
            Just(Step::Ended),
        ]
    }

    proptest! {
        #[test]
        fn whatever_comes_the_laws_hold(steps in prop::collection::vec(any_step(), 0..120)) {
            let mut record = placed();
            for (n, step) in steps.into_iter().enumerate() {
                let before = record.clone();
                match record.apply(step, at(i64::try_from(n).unwrap())) {
                    Err(_) => record = before,
                    Ok(next) => {
                        prop_assert_eq!(next.version, before.version + 1);
                        prop_assert!(!before.status.is_terminal(), "a terminal status never changes");
                        let pieces = |it: &OrderRecord| it.lines.iter().chain(&it.taken_out).map(|line| line.quantity).sum::<u32>();
                        prop_assert_eq!(pieces(&next), pieces(&before), "no piece vanishes");
                        prop_assert!(!next.lines.is_empty() && next.total_cents <= next.payment().amount_cents);
                        prop_assert!(next.events.starts_with(&before.events), "history is never rewritten");
                        if next.status.is_terminal() {
                            prop_assert!(next.done.is_empty() && next.undoing.is_none());
                            prop_assert_eq!(next.failure_reason.is_some(), next.status != OrderStatus::Delivered);
                        }
                        record = next;
                    }
                }
            }
            // Compensations: each at most once, only for what happened, newest first.
            let kinds = kinds(&record);
            let position = |kind: &str| kinds.iter().position(|k| *k == kind);
            for (undo, doing) in [
                ("payment_refunded", "payment_captured"),
                ("shipment_cancelled", "shipment_initiated"),
                ("payment_voided", "payment_confirmed"),
                ("stock_released", "order_placed"),
            ] {
                prop_assert!(kinds.iter().filter(|k| **k == undo).count() <= 1);
                if let Some(undone) = position(undo) {
                    prop_assert!(position(doing).is_some_and(|done| done < undone));
                }
            }
            prop_assert!(!(kinds.contains(&"payment_refunded") && kinds.contains(&"payment_voided")));
            let order: Vec<_> = ["payment_refunded", "shipment_cancelled", "payment_voided", "stock_released"]
                .into_iter().filter_map(position).collect();
            prop_assert!(order.is_sorted());
        }

        #[test]
        fn every_order_can_still_end(steps in prop::collection::vec(any_step(), 0..60)) {
            let mut record = placed();
            for step in steps {
                record = record.clone().apply(step, at(1)).unwrap_or(record);
            }
            if !record.status.is_terminal() {
                if record.undoing.is_none() {
                    record = record.apply(Step::Cancelled { by: "restate".into(), reason: None }, at(2)).unwrap();
                }
                while let Some(done) = record.done.last().copied() {
                    record = record.apply(Step::Undone(done), at(3)).unwrap();
                }
                record = record.apply(Step::Ended, at(4)).unwrap();
            }
            prop_assert!(record.status.is_terminal());
        }
    }
}
