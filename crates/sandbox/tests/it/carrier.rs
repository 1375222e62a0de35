//! Booking and cancelling shipments.

use serde_json::json;

use crate::outside::{Outside, parcel};

#[tokio::test]
async fn a_parcel_is_booked_once_per_key() {
    let outside = Outside::start().await;
    let first = outside.book("o1", "b1").await;
    assert_eq!(first.status, 201);
    assert_eq!(first.body["carrier"], "FedEx");
    assert!(first.body["eta_seconds"].is_u64());
    assert_eq!(first.body["tracking_number"].as_str().unwrap().len(), 12);

    let again = outside.book("o1", "b1").await;
    assert_eq!((again.status, &again.body), (200, &first.body));

    let mut other = parcel("o1");
    other["lines"][0]["quantity"] = json!(3);
    let other = outside.post("/carrier/shipments", "b1", other).await;
    assert_eq!((other.status, &other.body["booked"]), (422, &json!(false)));

    let shipment = outside.shipment_of("o1").await;
    assert_eq!(
        shipment,
        json!({
            "order_id": "o1",
            "tracking_number": first.body["tracking_number"],
            "status": "booked",
            "effects": { "book": 1, "cancel": 0 },
            "requests": { "book": 3, "cancel": 0 },
        })
    );
}

#[tokio::test]
async fn a_second_key_ships_a_second_parcel_and_the_ledger_shows_it() {
    let outside = Outside::start().await;
    outside.book("o1", "b1").await;
    outside.book("o1", "b2").await;
    assert_eq!(outside.shipment_of("o1").await["effects"]["book"], 2);
    outside.cancel("o1").await;
    assert_eq!(outside.shipment_of("o1").await["effects"]["cancel"], 2);
}

#[tokio::test]
async fn a_cancelled_booking_stays_cancelled() {
    let outside = Outside::start().await;
    outside.book("o1", "b1").await;
    for _ in 0..2 {
        let cancel = outside.cancel("o1").await;
        assert_eq!(
            (cancel.status, &cancel.body),
            (200, &json!({ "status": "cancelled" }))
        );
    }
    let late = outside.book("o1", "b1").await;
    assert_eq!(late.status, 409);
    assert_eq!(late.body, json!({ "booked": false, "error": "cancelled" }));

    let shipment = outside.shipment_of("o1").await;
    assert_eq!(shipment["status"], "cancelled");
    assert_eq!(shipment["effects"], json!({ "book": 1, "cancel": 1 }));
    assert_eq!(shipment["requests"], json!({ "book": 2, "cancel": 2 }));
}

#[tokio::test]
async fn an_order_that_was_cancelled_before_it_was_known_can_be_booked() {
    let outside = Outside::start().await;
    let cancel = outside.cancel("o1").await;
    assert_eq!(
        (cancel.status, &cancel.body),
        (200, &json!({ "status": "none" }))
    );
    assert_eq!(outside.shipment_of("o1").await["status"], "none");
    assert_eq!(outside.book("o1", "b1").await.status, 201);
    assert_eq!(outside.journal("o1").await, ["book"]);
}

#[tokio::test]
async fn a_key_that_failed_before_the_cancellation_books_nothing_after_it() {
    let outside = Outside::start().await;
    outside
        .put("/faults", json!({ "carrier": { "fail_times": 1 } }))
        .await;
    assert_eq!(outside.book("o1", "b1").await.status, 500);
    assert_eq!(outside.cancel("o1").await.body["status"], "none");
    assert_eq!(outside.book("o1", "b1").await.status, 409);
    assert_eq!(outside.journal("o1").await, [""; 0]);
}

#[tokio::test]
async fn fail_ship_is_never_shipped() {
    let outside = Outside::start().await;
    for _ in 0..4 {
        let answer = outside.book("alice.FAIL_SHIP-1", "b1").await;
        assert_eq!(
            (answer.status, &answer.body["booked"]),
            (503, &json!(false))
        );
        assert!(answer.body["error"].is_string());
    }
    let shipment = outside.shipment_of("alice.FAIL_SHIP-1").await;
    assert_eq!(shipment["status"], "refused");
    assert_eq!(shipment["tracking_number"], json!(null));
    assert_eq!(shipment["effects"], json!({ "book": 0, "cancel": 0 }));
    assert_eq!(shipment["requests"], json!({ "book": 4, "cancel": 0 }));
}

#[tokio::test]
async fn bookings_must_be_well_formed() {
    let outside = Outside::start().await;
    let no_key = outside
        .send("/carrier/shipments", |http, url| {
            http.post(url).json(&parcel("o1"))
        })
        .await;
    assert_eq!(no_key.status, 400);

    let mut empty = parcel("o1");
    empty["lines"] = json!([]);
    let empty = outside.post("/carrier/shipments", "b1", empty).await;
    assert_eq!((empty.status, &empty.body["booked"]), (422, &json!(false)));

    // Whatever the shop calls an address.
    let mut structured = parcel("o1");
    structured["address"] = json!({ "street": "1 Main Street", "city": "Springfield" });
    let structured = outside.post("/carrier/shipments", "b2", structured).await;
    assert_eq!(structured.status, 201);
}
