//! Everything that a carrier can do to a booking: it is booked once or not at
//! all, and whoever cannot know finds out.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::outside::ShipmentEffects;
use crate::shop::{Client, Order, kinds_of};
use crate::world::{Setup, eventually, own};

/// Longest that an order may take to its end: one sleep of an outage and some
/// tries that are given up after five seconds each are among it.
const WITHIN: Duration = Duration::from_mins(1);

/// One row: what the carrier does, and what becomes of the order.
struct Case {
    name: &'static str,
    /// The id says what the sandbox's carrier never ships.
    order: &'static str,
    /// From the approval on.
    faults: Value,
    /// Once the carrier was asked this often, the faults change to these.
    then: Option<(u32, Value)>,
    /// Whether an operator cancels the order at that moment, too.
    recalled: bool,
    end: &'static str,
    /// How often it was booked, and called back.
    effects: (u32, u32),
    /// How often the carrier was asked to book and to call back, at least; a
    /// carrier that refused is never asked to call back.
    requests: (u32, u32),
}

fn case(name: &'static str, faults: Value, end: &'static str) -> Case {
    Case {
        name,
        order: "order",
        faults,
        then: None,
        recalled: false,
        end,
        effects: if end == "delivered" { (1, 0) } else { (0, 0) },
        requests: (1, 0),
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let well = json!({});
    vec![
        // A definite no: nothing is booked, nothing is called back.
        case("rejects", json!({ "reject": true }), "shipping_failed"),
        Case {
            order: "FAIL_SHIP",
            requests: (4, 0),
            ..case("says no four times", json!({}), "shipping_failed")
        },
        Case {
            requests: (2, 0),
            ..case(
                "rejects when it is back",
                json!({ "down": true }),
                "shipping_failed",
            )
        }
        .then(4, json!({ "reject": true })),
        // Trouble that passes.
        Case {
            requests: (3, 0),
            ..case("fails twice", json!({ "fail_times": 2 }), "delivered")
        },
        Case {
            requests: (6, 0),
            ..case("fails five times", json!({ "fail_times": 5 }), "delivered")
        },
        case("is slow", json!({ "delay_ms": 1500 }), "delivered"),
        case("hears late", json!({ "lag_ms": 1500 }), "delivered"),
        case("is down", json!({ "down": true }), "delivered").then(4, well.clone()),
        case("hangs up", json!({ "down": "drop" }), "delivered").then(4, well.clone()),
        // It has booked, and nobody was told.
        Case {
            requests: (2, 0),
            ..case(
                "books and drops",
                json!({ "drop_response": true }),
                "delivered",
            )
        },
        Case {
            requests: (2, 0),
            ..case(
                "books and answers too late",
                json!({ "delay_ms": 7000 }),
                "delivered",
            )
        }
        .then(1, well.clone()),
        Case {
            requests: (2, 0),
            ..case(
                "hears so late that it is asked again",
                json!({ "lag_ms": 7000 }),
                "delivered",
            )
        }
        .then(1, well.clone()),
        Case {
            requests: (4, 0),
            ..case(
                "fails, then books and drops",
                json!({ "fail_times": 2, "drop_response": true, "delay_ms": 200 }),
                "delivered",
            )
        },
        Case {
            requests: (2, 0),
            ..case(
                "books and drops, then rejects",
                json!({ "drop_response": true, "delay_ms": 500 }),
                "delivered",
            )
        }
        .then(1, json!({ "reject": true })),
        // The order is cancelled while nobody knows: found out, called back.
        Case {
            effects: (1, 1),
            requests: (2, 1),
            ..case(
                "is recalled from one that answers late",
                json!({ "delay_ms": 1500 }),
                "cancelled",
            )
        }
        .then(1, json!({ "delay_ms": 300, "drop_response": true }))
        .recalled(),
        Case {
            effects: (1, 1),
            requests: (5, 1),
            ..case(
                "is recalled from one that is down",
                json!({ "down": true }),
                "cancelled",
            )
        }
        .then(4, well.clone())
        .recalled(),
        Case {
            requests: (5, 0),
            ..case(
                "is recalled from one that then rejects",
                json!({ "down": true }),
                "cancelled",
            )
        }
        .then(4, json!({ "reject": true }))
        .recalled(),
    ]
}

impl Case {
    fn then(mut self, asked: u32, faults: Value) -> Self {
        self.then = Some((asked, faults));
        self
    }

    fn recalled(mut self) -> Self {
        self.recalled = true;
        self
    }
}

#[test]
fn whatever_the_carrier_does_it_ships_once_or_not_at_all() {
    own(&Setup::default(), async |shop| {
        let cases = cases();
        let shipped = cases.iter().enumerate().map(async |(number, case)| {
            ship(&shop.person(&format!("buyer{number}")), case).await;
        });
        join_all(shipped).await;
    });
}

async fn ship(buyer: &Client<'_>, case: &Case) {
    let shop = buyer.shop;
    let name = case.name;
    let order = buyer.buy("P001", 1, case.order).await;
    shop.faults_of(&order.id, json!({ "carrier": case.faults }))
        .await;
    shop.admin().approve(&order).await;
    if let Some((asked, faults)) = &case.then {
        until_asked(&order, name, *asked).await;
        if case.recalled {
            order.recall().await;
        }
        // At once: a null takes a switch out.
        let mut switches = case.faults.clone();
        for (name, switch) in switches.as_object_mut().expect("switches") {
            *switch = faults[name.as_str()].clone();
        }
        for (name, switch) in faults.as_object().expect("switches") {
            switches[name.as_str()] = switch.clone();
        }
        shop.faults_of(&order.id, json!({ "carrier": switches }))
            .await;
    }
    let ended = order.until_within(case.end, WITHIN).await;

    // Until what arrives late has arrived, too.
    let (book, cancel) = case.requests;
    let parcel = eventually(&format!("{name}: asked"), WITHIN, async || {
        let parcel = order.ledger().await.shipment().clone();
        if parcel.requests.book >= book && parcel.requests.cancel >= cancel {
            Ok(parcel)
        } else {
            Err(format!("{parcel:?}"))
        }
    })
    .await;
    let called_back = parcel.requests.cancel > 0;
    assert_eq!(
        called_back,
        cancel > 0,
        "{name}: only what may be booked: {parcel:?}"
    );
    let (book, cancel) = case.effects;
    assert_eq!(parcel.effects, ShipmentEffects { book, cancel }, "{name}");
    let kinds = kinds_of(&ended);
    let booked = kinds
        .iter()
        .filter(|it| *it == "shipment_initiated")
        .count();
    assert_eq!(
        booked,
        usize::from(case.end == "delivered"),
        "{name}: {kinds:?}"
    );
    if case.end != "delivered" {
        let undone = &kinds[kinds.len() - 3..];
        assert_eq!(
            undone,
            [case.end, "payment_voided", "stock_released"],
            "{name}"
        );
    }
}

/// Waits until the carrier was asked this often. What hears late has been
/// asked when the request is on its way.
async fn until_asked(order: &Order<'_>, name: &str, asked: u32) {
    let run = format!("OrderFulfillmentWorkflow/{}/Run", order.id);
    eventually(&format!("{name}: asked"), WITHIN, async || {
        let shop = order.by.shop;
        let ledger = order.ledger().await;
        let seen = ledger.shipments.first().map_or(0, |it| it.requests.book);
        let calls = shop
            .open_invocations("ShippingService/InitiateShipment", Some(&run))
            .await;
        let on_its_way = shop.have_step(&calls, "Command: Run").await;
        if seen >= asked || (name.starts_with("hears") && on_its_way) {
            Ok(())
        } else {
            Err(format!("{seen} of {asked}: {ledger:?}"))
        }
    })
    .await;
}

/// A carrier that is away while a parcel must be called back: the order waits
/// for it, and for nothing else, and undoes the rest afterwards.
#[test]
fn a_parcel_is_called_back_when_the_carrier_is_back() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let order = alice.checkout("uncaptured").await;
        // Paid, says somebody; the provider knows better and will not capture.
        let receipt = order.receipt("txn-made-up").await;
        let nobody = shop.anonymous();
        nobody
            .post("/api/payment/callback", &receipt)
            .await
            .expect(200);
        order.until("awaiting_approval").await;
        order.decline().await;
        let away = json!({ "carrier": { "delay_ms": 700 } });
        shop.faults_of(&order.id, away).await;
        shop.admin().approve(&order).await;
        until_asked(&order, "books", 1).await;
        shop.faults_of(&order.id, json!({ "carrier": { "down": true } }))
            .await;
        eventually("the parcel is to be called back", WITHIN, async || {
            let asked = order.ledger().await.shipment().requests.cancel;
            if asked >= 4 {
                Ok(())
            } else {
                Err(format!("asked {asked} times"))
            }
        })
        .await;
        let waiting = order.json().await;
        assert_eq!(waiting["undoing"], "payment_failed", "{waiting}");
        let last = kinds_of(&waiting).pop();
        assert_eq!(
            last.as_deref(),
            Some("capture_refused"),
            "nothing else first"
        );
        // The cart is not blocked by it.
        alice.add("P002", 1).await;

        shop.faults_of(&order.id, json!({ "carrier": { "down": false } }))
            .await;
        let ended = order.until_within("payment_failed", WITHIN).await;
        let kinds = kinds_of(&ended);
        assert_eq!(
            kinds[kinds.len() - 4..],
            [
                "capture_refused",
                "shipment_cancelled",
                "payment_voided",
                "stock_released"
            ]
        );
    });
}
