//! How far an order has come, told from its record: the six steps of its life,
//! where it turned, and what is undone. The tracker, the Markdown document and
//! the workflow panel all tell it from here, so they never disagree.

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::order::{Compensable, EventKind, OrderEvent, OrderRecord, OrderStatus};

/// One step on the way, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which.
    pub name: StepName,
    /// In the customer's words, e.g. "Paid".
    pub label: &'static str,
    /// How it stands.
    pub state: StepState,
    /// When it was finished, or failed.
    pub at: Option<Timestamp>,
    /// What there is to say about it, e.g. the transaction.
    pub note: Option<String>,
}

/// The steps of a good order, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// Placed, stock reserved.
    Placed,
    /// Money authorized.
    Paid,
    /// An admin agreed.
    Approved,
    /// The carrier has it.
    Shipped,
    /// Money captured, parcel moving.
    OnItsWay,
    /// With the customer.
    Delivered,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Happened.
    Done,
    /// Somebody has to act.
    Waiting,
    /// The machinery is at it.
    Working,
    /// Not yet.
    Ahead,
    /// The order turned here.
    Failed,
    /// Will not happen any more.
    Never,
}

/// Something that was done and is undone. In the order of undoing: newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undo {
    /// Which step of the tracker it takes back.
    pub step: StepName,
    /// What happens, e.g. "Payment refunded".
    pub label: String,
    /// When it was undone; `None` while it is still to do.
    pub at: Option<Timestamp>,
}

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The six steps.
    pub steps: Vec<Step>,
    /// What is undone, newest first; empty for an order that goes well.
    pub undone: Vec<Undo>,
    /// How many of the six steps are done.
    pub done: usize,
}

impl Progress {
    /// Tells an order's progress from its record.
    pub fn of(record: &OrderRecord) -> Self {
        let events = current_attempt(&record.events);
        let turned = record.undoing.is_some() || is_bad_end(record.status);
        let mut steps: Vec<Step> = STEPS
            .iter()
            .map(|(name, label, kind)| {
                let event = events.iter().rfind(|event| event.kind == *kind);
                Step {
                    name: *name,
                    label,
                    state: if event.is_some() {
                        StepState::Done
                    } else {
                        StepState::Ahead
                    },
                    at: event.map(|event| event.at),
                    note: event.and_then(|_| note_on(*name, record)),
                }
            })
            .collect();
        // An attempt after the first begins with another event than the first.
        steps[0].state = StepState::Done;
        steps[0].at = events.first().map(|event| event.at);
        mark_the_present(&mut steps, record, events, turned);
        let done = steps
            .iter()
            .filter(|step| step.state == StepState::Done)
            .count();
        Self {
            steps,
            undone: undone(record, events),
            done,
        }
    }
}

const STEPS: [(StepName, &str, EventKind); 6] = [
    (StepName::Placed, "Placed", EventKind::OrderPlaced),
    (StepName::Paid, "Paid", EventKind::PaymentConfirmed),
    (StepName::Approved, "Approved", EventKind::Approved),
    (StepName::Shipped, "Shipped", EventKind::ShipmentInitiated),
    (StepName::OnItsWay, "On its way", EventKind::InTransit),
    (StepName::Delivered, "Delivered", EventKind::Delivered),
];

/// The events since the latest try to pay began.
fn current_attempt(events: &[OrderEvent]) -> &[OrderEvent] {
    let start = events
        .iter()
        .rposition(|event| event.kind == EventKind::PaymentRetried)
        .unwrap_or(0);
    &events[start..]
}

fn is_bad_end(status: OrderStatus) -> bool {
    status.is_terminal() && status != OrderStatus::Delivered
}

fn mark_the_present(steps: &mut [Step], record: &OrderRecord, events: &[OrderEvent], turned: bool) {
    // What moves is not done until it has arrived.
    if record.status == OrderStatus::InTransit {
        steps[4].state = if turned {
            StepState::Failed
        } else {
            StepState::Working
        };
    }
    let turn = events.iter().find(|event| is_turn(event.kind));
    let in_transit_when_it_turned = turned && steps[4].at.is_some() && steps[5].at.is_none();
    if in_transit_when_it_turned {
        steps[4].state = StepState::Failed;
        steps[4].at = turn.map(|event| event.at);
    }
    let first_open = steps.iter().position(|step| step.state == StepState::Ahead);
    if turned {
        if let Some(at) = first_open.filter(|_| !in_transit_when_it_turned) {
            steps[at].state = StepState::Failed;
            steps[at].at = turn.map(|event| event.at);
        }
        for step in steps
            .iter_mut()
            .filter(|step| step.state == StepState::Ahead)
        {
            step.state = StepState::Never;
        }
        if let Some(step) = steps
            .iter_mut()
            .find(|step| step.state == StepState::Failed)
        {
            step.note.clone_from(&record.failure_reason);
        }
    } else if let Some(at) = first_open
        && steps[4].state != StepState::Working
    {
        steps[at].state = match record.status {
            OrderStatus::AwaitingPayment | OrderStatus::AwaitingApproval => StepState::Waiting,
            _ => StepState::Working,
        };
    }
}

fn is_turn(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::PaymentFailed
            | EventKind::PaymentExpired
            | EventKind::Rejected
            | EventKind::ApprovalExpired
            | EventKind::ShippingFailed
            | EventKind::CaptureRefused
            | EventKind::Cancelled
    )
}

fn note_on(name: StepName, record: &OrderRecord) -> Option<String> {
    match name {
        StepName::Paid => record.payment().transaction_id.clone(),
        StepName::Shipped => record
            .shipment
            .as_ref()
            .map(|shipment| format!("{} {}", shipment.carrier, shipment.tracking_number)),
        _ => None,
    }
}

fn undone(record: &OrderRecord, events: &[OrderEvent]) -> Vec<Undo> {
    let happened = events.iter().filter_map(|event| {
        let step = match event.kind {
            EventKind::PaymentRefunded => StepName::OnItsWay,
            EventKind::ShipmentCancelled => StepName::Shipped,
            EventKind::PaymentVoided => StepName::Paid,
            EventKind::StockReleased => StepName::Placed,
            _ => return None,
        };
        Some(Undo {
            step,
            label: event.detail.clone(),
            at: Some(event.at),
        })
    });
    let captured = record.done.contains(&Compensable::Captured);
    let to_do = record
        .done
        .iter()
        .rev()
        .filter(|_| record.undoing.is_some())
        // A refund ends the authorization it came from too.
        .filter(move |done| !(captured && **done == Compensable::Authorized))
        .map(|done| {
            let (step, label) = match done {
                Compensable::Captured => (StepName::OnItsWay, "Refund the payment"),
                Compensable::Booked => (StepName::Shipped, "Cancel the shipment"),
                Compensable::Authorized => (StepName::Paid, "Void the payment"),
                Compensable::Reserved => (StepName::Placed, "Release the stock"),
            };
            Undo {
                step,
                label: label.to_owned(),
                at: None,
            }
        });
    happened.chain(to_do).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::samples;

    fn states(record: &OrderRecord) -> String {
        Progress::of(record)
            .steps
            .iter()
            .map(|step| match step.state {
                StepState::Done => 'd',
                StepState::Waiting => 'w',
                StepState::Working => 'k',
                StepState::Ahead => '.',
                StepState::Failed => 'F',
                StepState::Never => '-',
            })
            .collect()
    }

    #[test]
    fn a_good_order_fills_from_the_left() {
        assert_eq!(states(&samples::awaiting_payment()), "dw....");
        assert_eq!(states(&samples::awaiting_approval()), "ddw...");
        assert_eq!(states(&samples::shipping()), "dddk..");
        assert_eq!(states(&samples::in_transit()), "ddddk.");
        assert_eq!(states(&samples::delivered()), "dddddd");
    }

    #[test]
    fn a_failed_order_shows_where_it_turned_and_what_runs_back() {
        let declined = samples::payment_failed();
        assert_eq!(states(&declined), "dF----");
        let rejected = samples::rejected();
        assert_eq!(states(&rejected), "ddF---");
        let undone = Progress::of(&rejected).undone;
        assert_eq!(
            undone
                .iter()
                .map(|undo| undo.label.as_str())
                .collect::<Vec<_>>(),
            ["Payment voided: nothing is charged", "Stock released"]
        );
        assert!(undone.iter().all(|undo| undo.at.is_some()));
        assert_eq!(states(&samples::shipping_failed()), "dddF--");
    }

    #[test]
    fn what_is_still_to_undo_has_no_time() {
        let record = samples::undoing_in_transit();
        assert_eq!(states(&record), "ddddF-");
        let undone = Progress::of(&record).undone;
        let seen: Vec<_> = undone
            .iter()
            .map(|undo| (undo.step, undo.at.is_some()))
            .collect();
        assert_eq!(
            seen,
            [
                (StepName::OnItsWay, true),
                (StepName::Shipped, false),
                (StepName::Placed, false)
            ]
        );
    }

    #[test]
    fn a_new_attempt_forgets_the_turn_of_the_last() {
        assert_eq!(states(&samples::paying_again()), "dw....");
    }
}
