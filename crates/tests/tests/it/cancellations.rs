//! Orders that are taken back, wherever they stand: by the customer, by an
//! admin, by an operator in Restate; also while somebody outside is being
//! asked, and while they are being taken back already.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::outside::Ledger;
use crate::shop::{Client, Order, SOON, kinds_of, text};
use crate::world::{Setup, eventually, own, shared};

/// Longest that one order may take to where it is wanted, or to its end: the
/// sleeps of an outage are among it.
const WITHIN: Duration = Duration::from_secs(40);

/// Where an order is when somebody cancels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// The provider is being asked for a payment page.
    Requesting,
    /// Nobody has paid.
    Unpaid,
    /// Nobody has approved.
    Unapproved,
    /// The carrier is being asked.
    Booking,
    /// The provider is being asked for the money.
    Capturing,
    /// The parcel is on its way.
    InTransit,
}

/// What those outside do meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outside {
    /// They answer.
    Well,
    /// They do what they are asked, but answer late.
    AnswersLate,
    /// What they are asked arrives after the cancellation.
    HearsLate,
    /// They are down, and come back after the cancellation.
    Down,
    /// They do what they are asked and drop the connection.
    Drops,
}

/// Which invocation is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The order's own: `AwaitPayment`, then `Run`.
    Orders,
    /// The one that asks outside: `RequestPayment`, `InitiateShipment`, `Capture`.
    Callees,
}

/// One row: what happens, how the order's story ends, what the ledger tells.
struct Case {
    at: Point,
    outside: Outside,
    whose: Whose,
    /// The events after the last one before the cancellation.
    then: &'static str,
    /// The ledger's journal.
    ledger: &'static str,
}

const fn case(
    at: Point,
    outside: Outside,
    whose: Whose,
    then: &'static str,
    ledger: &'static str,
) -> Case {
    Case {
        at,
        outside,
        whose,
        then,
        ledger,
    }
}

#[rustfmt::skip]
const CASES: &[Case] = {
    use Outside::{AnswersLate, Down, Drops, HearsLate, Well};
    use Point::{Booking, Capturing, InTransit, Requesting, Unapproved, Unpaid};
    use Whose::{Callees, Orders};
    const UNPAID: &str = "cancelled stock_released";
    const UNBOOKED: &str = "cancelled payment_voided stock_released";
    const UNCAPTURED: &str = "cancelled shipment_cancelled payment_voided stock_released";
    const CAPTURED: &str = "cancelled payment_refunded shipment_cancelled stock_released";
    &[
        case(Requesting, AnswersLate, Orders, UNPAID, "void"),
        case(Requesting, HearsLate, Orders, UNPAID, "void"),
        case(Requesting, Down, Orders, UNPAID, "void"),
        case(Requesting, AnswersLate, Callees, "payment_failed stock_released", "void"),
        case(Requesting, HearsLate, Callees, "payment_failed stock_released", "void"),
        case(Unpaid, Well, Orders, UNPAID, "void"),
        case(Unapproved, Well, Orders, UNBOOKED, "authorize void"),
        // What was booked or captured while it was being cancelled is undone
        // by whoever asked for it, and the order never had it.
        case(Booking, AnswersLate, Orders, UNBOOKED, "authorize book cancel void"),
        case(Booking, HearsLate, Orders, UNBOOKED, "authorize book cancel void"),
        case(Booking, Down, Orders, UNBOOKED, "authorize book cancel void"),
        case(Booking, AnswersLate, Callees, "shipping_failed payment_voided stock_released", "authorize book cancel void"),
        case(Booking, HearsLate, Callees, "shipping_failed payment_voided stock_released", "authorize book cancel void"),
        case(Capturing, AnswersLate, Orders, UNCAPTURED, "authorize book capture refund cancel"),
        case(Capturing, HearsLate, Orders, UNCAPTURED, "authorize book capture refund cancel"),
        case(Capturing, Down, Orders, UNCAPTURED, "authorize book capture refund cancel"),
        case(Capturing, AnswersLate, Callees, "capture_refused shipment_cancelled payment_voided stock_released", "authorize book capture refund cancel"),
        case(Capturing, HearsLate, Callees, "capture_refused shipment_cancelled payment_voided stock_released", "authorize book capture refund cancel"),
        case(InTransit, Well, Orders, CAPTURED, "authorize book capture refund cancel"),
        case(InTransit, Drops, Orders, CAPTURED, "authorize book capture refund cancel"),
        case(InTransit, Down, Orders, CAPTURED, "authorize book capture refund cancel"),
    ]
};

#[test]
fn an_operator_cancels_wherever_the_order_stands() {
    own(&Setup::with("DELIVERY_TIME", "3s"), async |shop| {
        let cases = CASES.iter().enumerate().map(async |(number, case)| {
            let buyer = shop.person(&format!("buyer{number}"));
            cancel_at(&buyer, case).await;
        });
        join_all(cases).await;
    });
}

async fn cancel_at(buyer: &Client<'_>, case: &Case) {
    let shop = buyer.shop;
    let id = format!("{}.order", buyer.name);
    if case.at == Point::Requesting {
        shop.faults_of(&id, faults(case)).await;
    }
    let order = bring_to(buyer, case).await;
    let before = events_so_far(&order).await;

    let (target, caller) = invocation(&order, case);
    let cancelled = shop.open_invocations(&target, caller.as_deref()).await;
    assert_eq!(cancelled.len(), 1, "{}: {target}", said(case));
    shop.cancel_invocation(&cancelled[0]).await;
    // Whoever was asked is well again, and is asked again.
    if case.outside != Outside::Drops {
        shop.faults(json!({ "orders": { id: null } })).await;
    }

    let end = end(&order, case).await;
    assert_eq!(
        kinds_of(&end)[before..].join(" "),
        case.then,
        "{}",
        said(case)
    );
    let what = format!("{}: the ledger", said(case));
    let story = eventually(&what, WITHIN, async || {
        let ledger = order.ledger().await;
        // What was asked first has arrived by then, too, however late.
        if case.outside == Outside::HearsLate && requests(&ledger, case.at) < 2 {
            return Err(format!("{ledger:?}"));
        }
        if ledger.story() == case.ledger {
            Ok(())
        } else {
            Err(ledger.story())
        }
    });
    story.await;
}

/// As Restate holds it: the console may still be behind. An order that its session has
/// handed over is with nobody until its workflow begins.
async fn events_so_far(order: &Order<'_>) -> usize {
    let (shop, user) = (order.by.shop, &order.by.name);
    let marker = format!("checkout:exec:{}", order.id);
    eventually("somebody has the order", SOON, async || {
        if let Some(record) = order.workflow_record().await {
            return Ok(record.events.len());
        }
        let record = shop.state("UserSession", user, &marker).await;
        let record = record.expect("the session knows the order");
        let events = record["events"].as_array();
        events.map(Vec::len).ok_or_else(|| record.to_string())
    })
    .await
}

fn said(case: &Case) -> String {
    format!("{:?} {:?} {:?}", case.at, case.outside, case.whose)
}

/// What is wrong outside from just before the cancellation on.
fn faults(case: &Case) -> Value {
    let fault = match case.outside {
        Outside::Well => return json!({}),
        Outside::Drops => {
            let drops = json!({ "drop_response": true });
            return json!({ "payments": drops, "carrier": drops });
        }
        Outside::Down => {
            let down = json!({ "down": true });
            // A refund and a cancellation have to wait for both.
            if case.at == Point::InTransit {
                return json!({ "payments": down, "carrier": { "down": "drop" } });
            }
            down
        }
        Outside::AnswersLate if case.at == Point::Booking => json!({ "delay_ms": 1500 }),
        // A checkout waits two seconds for its payment page.
        Outside::AnswersLate if case.at == Point::Requesting => json!({ "answer_delay_ms": 4000 }),
        Outside::AnswersLate => json!({ "answer_delay_ms": 1500 }),
        Outside::HearsLate => json!({ "lag_ms": 4000 }),
    };
    let side = if case.at == Point::Booking {
        "carrier"
    } else {
        "payments"
    };
    json!({ side: fault })
}

/// Which invocation is cancelled: its target, and whose call it is.
fn invocation(order: &Order<'_>, case: &Case) -> (String, Option<String>) {
    let session = format!("UserSession/{}/AwaitPayment", order.by.name);
    let run = format!("OrderFulfillmentWorkflow/{}/Run", order.id);
    let callee = |target: &str, caller| (target.to_owned(), Some(caller));
    match (case.whose, case.at) {
        (Whose::Orders, Point::Requesting | Point::Unpaid) => (session, None),
        (Whose::Orders, _) => (run, None),
        (Whose::Callees, Point::Requesting) => callee("PaymentService/RequestPayment", session),
        (Whose::Callees, Point::Booking) => callee("ShippingService/InitiateShipment", run),
        (Whose::Callees, Point::Capturing) => callee("PaymentService/Capture", run),
        (Whose::Callees, at) => panic!("nobody is asked at {at:?}"),
    }
}

/// Brings an order to where it is cancelled.
async fn bring_to<'a>(buyer: &Client<'a>, case: &Case) -> Order<'a> {
    buyer.add("P001", 1).await;
    let order = buyer.placed(&buyer.try_checkout("order").await.expect(202));
    let shop = buyer.shop;
    if case.at == Point::Requesting {
        until_asked(&order, case).await;
        return order;
    }
    order.payment_page().await;
    if case.at == Point::Unpaid {
        return order;
    }
    order.pay().await;
    if case.at == Point::Unapproved {
        until_event(&order, "approval_requested").await;
        return order;
    }
    order.until("awaiting_approval").await;
    if case.at == Point::InTransit {
        shop.admin().approve(&order).await;
        order.until("in_transit").await;
        shop.faults_of(&order.id, faults(case)).await;
        return order;
    }
    shop.faults_of(&order.id, faults(case)).await;
    shop.admin().approve(&order).await;
    until_asked(&order, case).await;
    order
}

async fn until_event(order: &Order<'_>, kind: &str) {
    eventually(&format!("{}: {kind}", order.id), WITHIN, async || {
        let order = order.json().await;
        let last = kinds_of(&order).pop();
        if last.as_deref() == Some(kind) {
            Ok(())
        } else {
            Err(order.to_string())
        }
    })
    .await;
}

/// Waits until whoever is asked outside has been asked.
async fn until_asked(order: &Order<'_>, case: &Case) {
    let shop = order.by.shop;
    let asking = Case {
        whose: Whose::Callees,
        ..*case
    };
    let (target, caller) = invocation(order, &asking);
    eventually(&format!("{}: asked", said(case)), WITHIN, async || {
        let asked = shop.open_invocations(&target, caller.as_deref()).await;
        let ledger = order.ledger().await;
        let seen = match (case.outside, case.at) {
            // The effect is there, the answer is not.
            (Outside::AnswersLate, Point::Requesting) => ledger.payments.len() == 1,
            (Outside::AnswersLate, Point::Booking) => {
                ledger.shipments.iter().any(|it| it.effects.book == 1)
            }
            (Outside::AnswersLate, _) => ledger.payments.iter().any(|it| it.effects.capture == 1),
            // All four tries of the first round are over.
            (Outside::Down, _) => shop.have_step(&asked, "Command: Sleep").await,
            // On its way: its journal has the step.
            (Outside::HearsLate, _) => shop.have_step(&asked, "Command: Run").await,
            (Outside::Well | Outside::Drops, _) => true,
        };
        if asked.len() == 1 && seen {
            Ok(())
        } else {
            Err(format!("{asked:?} {ledger:?}"))
        }
    })
    .await;
}

/// How often those outside were asked for what the case is about.
fn requests(ledger: &Ledger, at: Point) -> u32 {
    match at {
        Point::Booking => ledger.shipments.iter().map(|it| it.requests.book).sum(),
        Point::Capturing => ledger.payments.iter().map(|it| it.requests.capture).sum(),
        _ => ledger.payments.iter().map(|it| it.requests.create).sum(),
    }
}

/// The order once it has ended as the case says.
async fn end(order: &Order<'_>, case: &Case) -> Value {
    let status = match case.then.split(' ').next() {
        Some("capture_refused") => "payment_failed",
        Some(status) => status,
        None => panic!("{} has no end", said(case)),
    };
    order.until_within(status, WITHIN).await
}

/// Whoever is cancelled again, and again, while it undoes goes on undoing:
/// also when the calls that undo are cancelled themselves.
#[test]
fn cancelling_what_is_being_undone_changes_nothing() {
    own(&Setup::with("DELIVERY_TIME", "3s"), async |shop| {
        let buyers: Vec<_> = (0..3).map(|n| shop.person(&format!("again{n}"))).collect();
        let [twice, while_undoing, its_calls] = &buyers[..] else {
            panic!("three buyers");
        };
        futures::join!(
            async {
                let order = in_transit(twice).await;
                futures::join!(order.recall(), order.recall());
                assert_undone(&order).await;
            },
            async {
                let order = in_transit(while_undoing).await;
                order.recall().await;
                for effect in [Effect::Refund, Effect::Cancel] {
                    until_effect(&order, effect).await;
                    order.recall().await;
                }
                assert_undone(&order).await;
            },
            async {
                let order = in_transit(its_calls).await;
                order.recall().await;
                for effect in [Effect::Refund, Effect::Cancel] {
                    until_effect(&order, effect).await;
                    cancel_call(&order, effect).await;
                }
                assert_undone(&order).await;
            },
        );
    });
}

#[derive(Debug, Clone, Copy)]
enum Effect {
    Refund,
    Cancel,
}

/// An order on its way, while those outside answer a second late.
async fn in_transit<'a>(buyer: &Client<'a>) -> Order<'a> {
    let order = buyer.buy("P001", 1, "order").await;
    buyer.shop.admin().approve(&order).await;
    order.until("in_transit").await;
    let late = json!({ "payments": { "answer_delay_ms": 1000 }, "carrier": { "delay_ms": 1000 } });
    buyer.shop.faults_of(&order.id, late).await;
    order
}

/// Waits until it has happened outside; the answer is still on its way.
async fn until_effect(order: &Order<'_>, effect: Effect) {
    eventually(&format!("{effect:?} of {}", order.id), WITHIN, async || {
        let ledger = order.ledger().await;
        let happened = match effect {
            Effect::Refund => ledger.payment().effects.refund,
            Effect::Cancel => ledger.shipment().effects.cancel,
        };
        if happened == 1 {
            Ok(())
        } else {
            Err(ledger.story())
        }
    })
    .await;
}

/// Cancels the call that undoes, not the order that waits for it.
async fn cancel_call(order: &Order<'_>, effect: Effect) {
    let shop = order.by.shop;
    let target = match effect {
        Effect::Refund => "PaymentService/Refund",
        Effect::Cancel => "ShippingService/CancelShipment",
    };
    let run = format!("OrderFulfillmentWorkflow/{}/Run", order.id);
    let calls = shop.open_invocations(target, Some(&run)).await;
    assert_eq!(calls.len(), 1, "{target}");
    shop.cancel_invocation(&calls[0]).await;
}

async fn assert_undone(order: &Order<'_>) {
    let ended = order.until_within("cancelled", WITHIN).await;
    assert_eq!(
        kinds_of(&ended)[8..].join(" "),
        "cancelled payment_refunded shipment_cancelled stock_released"
    );
    let story = order.ledger().await.story();
    assert_eq!(story, "authorize book capture refund cancel");
}

/// The admin takes back what is not theirs, before and after it is paid; what
/// somebody else's is, nobody else can.
#[test]
fn an_admin_cancels_for_a_customer() {
    shared(async |shop| {
        let (alice, bob) = (shop.alice(), shop.bob());
        alice.add("P014", 1).await;
        let unpaid = alice.checkout("unpaid").await;
        let paid = bob.buy("P014", 1, "paid").await;
        for (order, stranger, end) in [
            (&unpaid, &bob, "cancelled stock_released"),
            (&paid, &alice, "cancelled payment_voided stock_released"),
        ] {
            let path = format!("/api/orders/{}/cancel", order.id);
            stranger.post(&path, &json!({})).await.refusal(404);
            let body = json!({ "reason": "asked by phone" });
            shop.admin().post(&path, &body).await.expect(202);
            let cancelled = order.until("cancelled").await;
            let kinds = kinds_of(&cancelled).join(" ");
            assert!(kinds.ends_with(end), "{kinds}");
            let told = text(&cancelled["failure_reason"]);
            assert_eq!(told, "Order cancelled by admin: asked by phone");
        }
    });
}

/// As the operator's page says it: with Restate's command line.
#[test]
fn restates_command_line_cancels_an_order() {
    shared(async |shop| {
        let order = shop.alice().buy("P014", 1, "by-hand").await;
        let run = format!("OrderFulfillmentWorkflow/{}/Run", order.id);
        let said = shop.run_restate(&["--yes", "invocations", "cancel", &run]);
        assert!(said.status.success(), "{said:?}");
        let cancelled = order.until("cancelled").await;
        let kinds = kinds_of(&cancelled).join(" ");
        let end = "cancelled payment_voided stock_released";
        assert!(kinds.ends_with(end), "{kinds}");
    });
}
