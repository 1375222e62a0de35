//! The checker sees what it is there for: each test plants one wrong thing into
//! evidence that is right.

use std::time::Duration;

use serde_json::json;
use waybill_domain::Timestamp;
use waybill_domain::after_sales::{
    AfterSales, AskReturn, DecideReturn, ReceiveReturn, Sold, Windows,
};
use waybill_domain::basket::{Line, Part, Product};
use waybill_domain::ids::{OrderId, Sku};
use waybill_domain::money::Cents;
use waybill_domain::notification::Notification;
use waybill_domain::order::{Compensable, OrderRecord, Step};
use waybill_domain::placement::{Placement, Shipping};
use waybill_domain::shipment::Shipment;
use waybill_domain::stock::StockLevel;

use super::{Evidence, violations};

const DELIVERED: &str = "alice.delivered";
const REJECTED: &str = "alice.rejected";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn sku() -> Sku {
    Sku::parse("P001").unwrap()
}

fn placed(id: &str) -> OrderRecord {
    let product = Product {
        sku: sku(),
        product_id: 1,
        name: "Widget".to_owned(),
        unit_price_cents: Cents(2_500),
    };
    let placement = Placement {
        lines: vec![Line::new(product, 2).unwrap()],
        shipping: Shipping {
            zone: "Local".to_owned(),
            cost_cents: Cents(500),
            address: "1 Test Street".to_owned(),
        },
        pay_until: at(900),
        approve_within_ms: None,
    };
    OrderRecord::place(OrderId::parse(id).unwrap(), placement, at(0))
}

fn after(id: &str, steps: impl IntoIterator<Item = Step>) -> OrderRecord {
    steps.into_iter().fold(placed(id), |record, step| {
        record.apply(step, at(1)).unwrap()
    })
}

fn paid() -> [Step; 2] {
    let awakeable_id = "sign_1".to_owned();
    let transaction_id = "txn-1".to_owned();
    [
        Step::PaymentOpened { awakeable_id },
        Step::PaymentConfirmed { transaction_id },
    ]
}

fn booked() -> [Step; 2] {
    let by = "admin".into();
    let shipment = Shipment {
        carrier: "FedEx".to_owned(),
        tracking_number: "123".to_owned(),
        eta: None,
    };
    [Step::Approved { by }, Step::ShipmentBooked(shipment)]
}

fn delivered() -> OrderRecord {
    let end = [
        Step::PaymentCaptured,
        Step::InTransit { eta: at(2) },
        Step::Delivered,
    ];
    after(DELIVERED, paid().into_iter().chain(booked()).chain(end))
}

fn rejected() -> OrderRecord {
    let turn = [
        Step::Rejected {
            by: "admin".into(),
            reason: None,
        },
        Step::Undone(Compensable::Authorized),
        Step::Undone(Compensable::Reserved),
        Step::Ended,
    ];
    after(REJECTED, paid().into_iter().chain(turn))
}

/// One order that went well and one that did not, seen right from every side.
fn right() -> Evidence {
    let mut evidence = Evidence {
        is_whole: true,
        ..Evidence::default()
    };
    evidence.ledger = serde_json::from_value(json!({
        "payments": [payment(DELIVERED, "captured"), payment(REJECTED, "voided")],
        "shipments": [{
            "order_id": DELIVERED,
            "tracking_number": "123",
            "status": "booked",
            "effects": { "book": 1, "cancel": 0 },
            "requests": { "book": 1, "cancel": 0 },
        }],
        "journal": [
            { "kind": "authorize", "order_id": DELIVERED, "transaction_id": "txn-1" },
            { "kind": "book", "order_id": DELIVERED },
            { "kind": "capture", "order_id": DELIVERED, "transaction_id": "txn-1", "amount": 5_500 },
            { "kind": "authorize", "order_id": REJECTED, "transaction_id": "txn-1" },
            { "kind": "void", "order_id": REJECTED, "transaction_id": "txn-1" },
        ],
    }))
    .unwrap();
    let level = StockLevel::initial(sku(), 10, at(0))
        .reserve(2, at(1))
        .unwrap();
    evidence.levels.push(level.commit(2, at(2)));
    for record in [delivered(), rejected()] {
        let id = record.order_id.as_str().to_owned();
        let told = Notification::of_order(&record).into_iter();
        evidence.accepted.insert(id.clone());
        evidence
            .told
            .insert(id.clone(), told.map(|it| (it.id, it.text)).collect());
        evidence.shown.insert(id.clone(), shown(&record));
        evidence.records.insert(id, record);
    }
    evidence
}

fn payment(order_id: &str, status: &str) -> serde_json::Value {
    let captured = (status == "captured").then_some(5_500);
    json!({
        "order_id": order_id,
        "amount": 5_500,
        "status": status,
        "transaction_id": "txn-1",
        "transactions": [{
            "transaction_id": "txn-1",
            "amount": 5_500,
            "captured_amount": captured,
            "status": status,
        }],
        "effects": {
            "authorize": 1,
            "capture": u32::from(status == "captured"),
            "void": u32::from(status == "voided"),
            "refund": 0,
        },
    })
}

fn shown(record: &OrderRecord) -> serde_json::Value {
    json!({
        "status": record.status,
        "total_cents": record.total_cents,
        "payment": record.payment(),
        "shipment": record.shipment,
        "failure_reason": record.failure_reason,
        "events": record.events,
    })
}

/// Plants something, and demands that the checker says these words of it.
#[track_caller]
fn seen(words: &str, plant: impl FnOnce(&mut Evidence)) {
    let mut evidence = right();
    plant(&mut evidence);
    let wrong = violations(&evidence);
    assert!(
        wrong.iter().any(|violation| violation.contains(words)),
        "nothing says {words:?}: {wrong:#?}"
    );
}

fn record<'a>(evidence: &'a mut Evidence, id: &str) -> &'a mut OrderRecord {
    evidence.records.get_mut(id).unwrap()
}

#[test]
fn nothing_is_seen_where_nothing_is_wrong() {
    assert_eq!(violations(&right()), Vec::<String>::new());
}

#[test]
fn orders_that_are_lost_or_stay_open() {
    seen("is lost", |it| {
        it.records.remove(DELIVERED);
    });
    seen("has not ended", |it| {
        *record(it, DELIVERED) = after(DELIVERED, paid());
    });
    seen("still there", |it| {
        it.unfinished.push("still there: Run".to_owned());
    });
}

#[test]
fn money_taken_twice_or_kept() {
    seen("captured 2 times", |it| {
        it.ledger.payments[0].effects.capture = 2;
    });
    seen("the provider holds", |it| {
        it.ledger.payments[1].transactions[0].status = "authorized".to_owned();
    });
    seen("the provider holds", |it| {
        it.ledger.payments[0].transactions[0].captured_amount = Some(5_499);
    });
    seen("the provider holds", |it| {
        it.ledger.payments[0].transactions.clear();
    });
    seen("more captured than authorized", |it| {
        it.ledger.payments[0].transactions[0].amount = 1;
    });
    seen("an order nobody has", |it| {
        it.ledger.payments[1].order_id = "mallory.1".to_owned();
    });
}

#[test]
fn money_that_goes_back_unseen_or_twice() {
    seen("does not add up to", |it| {
        it.ledger.payments[0].transactions[0].refunded_amount = 1;
    });
    seen("more went back than was taken", |it| {
        let mut refund = it.ledger.journal[2].clone();
        refund.kind = "refund".to_owned();
        refund.amount = Some(5_501);
        it.ledger.journal.push(refund);
    });
    seen("the provider holds", |it| {
        it.ledger.payments[0].transactions[0].refunded_amount = 1;
    });
    seen("is not answered", |it| {
        let after = returned();
        it.after.insert(DELIVERED.to_owned(), after);
    });
    seen("came back to be sold again", |it| {
        let after = returned();
        it.after.insert(DELIVERED.to_owned(), after);
    });
    seen("what came after is shown as", |it| {
        let after = returned();
        it.after.insert(DELIVERED.to_owned(), after);
    });
}

/// A piece of the delivered order is back, and the provider has not answered.
fn returned() -> AfterSales {
    let windows = Windows {
        to_ask: Duration::from_hours(1),
        to_send: Duration::from_hours(1),
    };
    let order = delivered();
    let sold = Sold::of(&order, windows).unwrap();
    let ask = AskReturn {
        items: vec![Part {
            sku: sku(),
            quantity: 1,
        }],
        reason: "too small".to_owned(),
        at: at(10),
    };
    let decide = DecideReturn {
        number: 1,
        accepted: true,
        reason: None,
        at: at(11),
    };
    let receive = ReceiveReturn {
        number: 1,
        damaged: Vec::new(),
        missing: Vec::new(),
        refund_cents: None,
        at: at(12),
    };
    let by = "admin".into();
    let asked = AfterSales::new(order.order_id, sold).ask(&ask).unwrap();
    let accepted = asked.decide(&decide, &by).unwrap();
    accepted.receive(&receive, &by).unwrap()
}

#[test]
fn late_money_that_does_not_go_back() {
    seen("did not go back", |it| {
        it.late.push(
            serde_json::from_value(json!({
                "version": 1,
                "order_id": REJECTED,
                "user_id": "alice",
                "payments": [{
                    "at": at(3),
                    "attempt": 1,
                    "transaction_id": "txn-late",
                    "amount_cents": 5_500,
                }],
            }))
            .unwrap(),
        );
    });
}

#[test]
fn stock_that_is_lost_or_kept() {
    seen("does not add up", |it| it.levels[0].available += 1);
    seen("were delivered", |it| {
        it.levels[0] = StockLevel::initial(sku(), 10, at(0));
    });
    seen("is still kept for", |it| {
        it.reservations.push(super::Reservation {
            sku: "P001".to_owned(),
            attempt: format!("{REJECTED}#1"),
        });
    });
}

#[test]
fn undoing_that_is_missing_or_out_of_turn() {
    seen("out of turn", |it| {
        let events = &mut record(it, REJECTED).events;
        let last = events.len() - 1;
        events.swap(last, last - 1);
    });
    seen("not undone", |it| {
        record(it, REJECTED).events.pop();
    });
    seen("was undone in the order", |it| {
        let mut refund = it.ledger.journal[4].clone();
        refund.kind = "refund".to_owned();
        it.ledger.journal.push(refund);
    });
}

#[test]
fn parcels_that_are_double_or_left_behind() {
    seen("2 parcels were booked", |it| {
        it.ledger.shipments[0].effects.book = 2;
    });
    seen("1 cancelled", |it| {
        it.ledger.shipments[0].effects.cancel = 1;
    });
    seen("0 parcels were booked", |it| it.ledger.shipments.clear());
    seen("1 parcels were booked", |it| {
        it.ledger.shipments[0].order_id = REJECTED.to_owned();
    });
    seen("a parcel for an order nobody has", |it| {
        it.ledger.shipments[0].order_id = "mallory.1".to_owned();
    });
}

#[test]
fn views_that_are_behind_or_made_up() {
    seen("is not shown", |it| {
        it.shown.remove(DELIVERED);
    });
    seen("status is shown as", |it| {
        it.shown.get_mut(DELIVERED).unwrap()["status"] = json!("shipping");
    });
    seen("story is shown as", |it| {
        it.shown.get_mut(DELIVERED).unwrap()["events"][2]["detail"] = json!("?");
    });
    seen("Restate does not hold it", |it| {
        it.shown.insert("mallory.1".to_owned(), json!({}));
    });
}

#[test]
fn news_that_nobody_was_told() {
    seen("was told", |it| {
        it.told.get_mut(DELIVERED).unwrap().remove(1);
    });
    seen("was told", |it| {
        it.told.get_mut(DELIVERED).unwrap().swap(1, 2);
    });
}
