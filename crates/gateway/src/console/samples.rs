//! Orders in every situation, for the samples of the contexts and for tests.
//! They are made by the domain's own steps, so they are legal.

use std::time::Duration;

use waybill_domain::Timestamp;
use waybill_domain::after_sales::{
    AfterSales, AskReturn, DecideReturn, ReceiveReturn, RefundAnswer, Sold, Windows, WithdrawReturn,
};
use waybill_domain::basket::{Basket, Line, Part, Product};
use waybill_domain::ids::{OrderId, Sku, Username};
use waybill_domain::money::Cents;
use waybill_domain::order::{Compensable, OrderRecord, Step};
use waybill_domain::placement::{Placement, ProviderPage, Shipping};
use waybill_domain::shipment::Shipment;

/// A quarter past seven on a Saturday morning, plus `second`.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_778_310_900 + second).expect("a time in this century")
}

/// Two products.
pub fn products() -> Vec<Product> {
    [
        ("P001", 1, "Widget A", 2500),
        ("P002", 2, "Widget B | <b>bold</b>", 7500),
    ]
    .into_iter()
    .map(|(sku, product_id, name, cents)| Product {
        sku: Sku::parse(sku).expect("a legal sku"),
        product_id,
        name: name.to_owned(),
        unit_price_cents: Cents(cents),
    })
    .collect()
}

/// A cart with two lines.
pub fn basket() -> Basket {
    let empty = Basket::empty(Username::parse("alice").expect("a legal name"));
    products()
        .into_iter()
        .zip([2, 1])
        .try_fold(empty, |basket, (product, quantity)| {
            basket.add(product, quantity)
        })
        .expect("a small cart")
}

fn placement() -> Placement {
    let lines = products()
        .into_iter()
        .zip([2, 1])
        .map(|(product, quantity)| Line::new(product, quantity).expect("a legal quantity"))
        .collect();
    Placement {
        lines,
        shipping: Shipping {
            zone: "Domestic".into(),
            cost_cents: Cents(500),
            address: "1 Main Street\nSpringfield".into(),
        },
        pay_until: at(900),
        approve_within_ms: Some(3_600_000),
    }
}

fn placed() -> OrderRecord {
    OrderRecord::place(
        OrderId::parse("alice.order-123").expect("a legal id"),
        placement(),
        at(0),
    )
}

fn after(record: OrderRecord, steps: Vec<Step>) -> OrderRecord {
    steps
        .into_iter()
        .zip(1..)
        .fold(record, |record, (step, second)| {
            record
                .apply(step, at(second))
                .expect("samples take legal steps")
        })
}

fn opened() -> Vec<Step> {
    vec![
        Step::PaymentOpened {
            awakeable_id: "sign_1abcDEF".into(),
        },
        Step::PaymentPageReady(ProviderPage {
            payment_id: "pay_1".into(),
            pay_url: "http://127.0.0.1:8090/pay/pay_1".into(),
        }),
    ]
}

fn paid() -> Vec<Step> {
    let mut steps = opened();
    steps.push(Step::PaymentConfirmed {
        transaction_id: "txn-456".into(),
    });
    steps.push(Step::ApprovalRequested { until: at(86_400) });
    steps
}

fn approved() -> Vec<Step> {
    let mut steps = paid();
    steps.push(Step::Approved { by: "admin".into() });
    steps
}

fn moving() -> Vec<Step> {
    let mut steps = approved();
    steps.push(Step::ShipmentBooked(Shipment {
        carrier: "FedEx".into(),
        tracking_number: "FX1001".into(),
        eta: None,
    }));
    steps.push(Step::PaymentCaptured);
    steps.push(Step::InTransit { eta: at(13) });
    steps
}

/// Waits for the customer, with the provider's page.
pub fn awaiting_payment() -> OrderRecord {
    after(placed(), opened())
}

/// Waits for an admin.
pub fn awaiting_approval() -> OrderRecord {
    after(placed(), paid())
}

/// The carrier is asked.
pub fn shipping() -> OrderRecord {
    after(placed(), approved())
}

/// Approved, without one of its products.
pub fn approved_in_part() -> OrderRecord {
    let mut steps = approved();
    steps.push(Step::TakenOut {
        by: "admin".into(),
        without: vec![Part {
            sku: Sku::parse("P002").expect("a legal sku"),
            quantity: 1,
        }],
        reason: Some("the last one is broken".into()),
    });
    after(placed(), steps)
}

/// On its way.
pub fn in_transit() -> OrderRecord {
    after(placed(), moving())
}

/// The good end.
pub fn delivered() -> OrderRecord {
    let mut steps = moving();
    steps.push(Step::Delivered);
    after(placed(), steps)
}

/// Declined.
pub fn payment_failed() -> OrderRecord {
    let mut steps = opened();
    steps.extend([
        Step::PaymentFailed {
            reason: "insufficient funds".into(),
        },
        Step::Undone(Compensable::Reserved),
        Step::Ended,
    ]);
    after(placed(), steps)
}

/// Declined, then checked out again.
pub fn paying_again() -> OrderRecord {
    payment_failed()
        .retry(placement(), at(50))
        .expect("a failed payment may be tried again")
}

/// Refused by an admin.
pub fn rejected() -> OrderRecord {
    let mut steps = paid();
    steps.extend([
        Step::Rejected {
            by: "admin".into(),
            reason: Some("address is *not* served".into()),
        },
        Step::Undone(Compensable::Authorized),
        Step::Undone(Compensable::Reserved),
        Step::Ended,
    ]);
    after(placed(), steps)
}

/// Refused by the carrier.
pub fn shipping_failed() -> OrderRecord {
    let mut steps = approved();
    steps.extend([
        Step::ShippingFailed {
            reason: "no vehicle".into(),
        },
        Step::Undone(Compensable::Authorized),
        Step::Undone(Compensable::Reserved),
        Step::Ended,
    ]);
    after(placed(), steps)
}

/// Cancelled on its way: the money is back, the rest is being undone.
pub fn undoing_in_transit() -> OrderRecord {
    let mut steps = moving();
    steps.extend([
        Step::Cancelled {
            by: "restate".into(),
            reason: None,
        },
        Step::Undone(Compensable::Captured),
    ]);
    after(placed(), steps)
}

/// One of each.
pub fn every_order() -> Vec<OrderRecord> {
    vec![
        awaiting_payment(),
        awaiting_approval(),
        shipping(),
        approved_in_part(),
        in_transit(),
        delivered(),
        payment_failed(),
        paying_again(),
        rejected(),
        shipping_failed(),
        undoing_in_transit(),
    ]
}

/// What happened to the delivered order since, in every situation.
pub fn after_sales() -> Vec<AfterSales> {
    let day = Duration::from_hours(24);
    let windows = Windows {
        to_ask: day * 36_500,
        to_send: day * 14,
    };
    let order = delivered();
    let legal = "samples take legal steps";
    let sold = Sold::of(&order, windows).expect(legal);
    let part = |sku: &str| Part {
        sku: Sku::parse(sku).expect("a legal sku"),
        quantity: 1,
    };
    let ask = AskReturn {
        items: vec![part("P001"), part("P002")],
        reason: "<b>too small</b>".into(),
        at: at(60),
    };
    let decide = |accepted| DecideReturn {
        number: 1,
        accepted,
        reason: (!accepted).then(|| "worn".into()),
        at: at(70),
    };
    let by = "admin".into();
    let asked = AfterSales::new(order.order_id, sold)
        .ask(&ask)
        .expect(legal);
    let refused = asked.clone().decide(&decide(false), &by).expect(legal);
    let accepted = asked.clone().decide(&decide(true), &by).expect(legal);
    let received = ReceiveReturn {
        number: 1,
        damaged: vec![part("P002")],
        missing: Vec::new(),
        refund_cents: None,
        at: at(80),
    };
    let received = accepted.clone().receive(&received, &by).expect(legal);
    let answer = |refused: Option<&str>| RefundAnswer {
        number: 1,
        refused: refused.map(str::to_owned),
    };
    let refunded = received.clone().answered(&answer(None), at(90));
    let not_refunded = received.clone().answered(&answer(Some("no")), at(90));
    let over = accepted.clone().not_sent(1);
    let withdrawn = WithdrawReturn {
        number: 1,
        at: at(80),
    };
    let withdrawn = asked.clone().withdraw(&withdrawn, &by).expect(legal);
    [asked, refused, accepted, received, withdrawn]
        .into_iter()
        .chain([refunded, not_refunded, over].into_iter().flatten())
        .collect()
}
