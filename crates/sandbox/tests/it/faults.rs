//! The switches that make the outside world misbehave.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::outside::{Outside, opening, parcel};

#[tokio::test]
async fn faults_are_shown_merged_and_reset() {
    let outside = Outside::start().await;
    let off = json!({
        "payments": {
            "auto": "off", "delay_ms": 0, "answer_delay_ms": 0, "lag_ms": 0, "silent": false,
            "duplicate": 0, "reorder": false, "forge": false, "down": false, "drop_response": false,
            "strict": false,
        },
        "carrier": {
            "down": false, "fail_times": 0, "delay_ms": 0, "lag_ms": 0, "reject": false,
            "drop_response": false,
        },
        "orders": {},
    });
    assert_eq!(outside.get("/faults").await.body, off);

    outside
        .put(
            "/faults",
            json!({ "payments": { "auto": "pay", "delay_ms": 5 } }),
        )
        .await;
    let second = json!({
        "payments": { "delay_ms": 7 },
        "orders": { "o1": { "carrier": { "reject": true }, "payments": { "silent": true } } },
    });
    let answer = outside.put("/faults", second).await;
    assert_eq!(answer.status, 200);
    let mut expected = off.clone();
    expected["payments"]["auto"] = json!("pay");
    expected["payments"]["delay_ms"] = json!(7);
    expected["orders"] =
        json!({ "o1": { "carrier": { "reject": true }, "payments": { "silent": true } } });
    assert_eq!(answer.body, expected);

    // What was shown can be put back, and survives a restart.
    assert_eq!(
        outside.put("/faults", expected.clone()).await.body,
        expected
    );
    let outside = outside.restart().await;
    assert_eq!(outside.get("/faults").await.body, expected);

    let nulls = json!({ "payments": { "auto": null }, "orders": { "o1": null } });
    let answer = outside.put("/faults", nulls).await.body;
    assert_eq!(
        (&answer["payments"]["auto"], &answer["orders"]),
        (&json!("off"), &json!({}))
    );
    assert_eq!(answer["payments"]["delay_ms"], 7);

    assert_eq!(outside.delete("/faults").await.body, off);
    assert_eq!(outside.restart().await.get("/faults").await.body, off);
}

#[tokio::test]
async fn a_wrong_switch_is_named() {
    let outside = Outside::start().await;
    for (wrong, named) in [
        (json!({ "paymnts": {} }), "paymnts"),
        (json!({ "payments": { "autopay": true } }), "autopay"),
        (json!({ "payments": { "autopay": null } }), "autopay"),
        (json!({ "payments": { "auto": "always" } }), "payments.auto"),
        (
            json!({ "carrier": { "fail_times": -1 } }),
            "carrier.fail_times",
        ),
        (json!({ "carrier": { "down": "perhaps" } }), "carrier.down"),
        (json!({ "carrier": 1 }), "carrier"),
        (
            json!({ "orders": { "o1": { "carrier": { "slow": 1 } } } }),
            "orders.o1.carrier.slow",
        ),
        (
            json!({ "orders": { "o1": { "orders": {} } } }),
            "orders.o1.orders",
        ),
    ] {
        let answer = outside.put("/faults", wrong.clone()).await;
        assert_eq!(answer.status, 400, "{wrong}");
        let error = answer.body["error"].as_str().unwrap();
        assert!(error.contains(named), "{error}");
    }
    // Nothing of a wrong put is kept.
    let half = json!({ "payments": { "silent": true, "wrong": 1 } });
    outside.put("/faults", half).await;
    assert_eq!(
        outside.get("/faults").await.body["payments"]["silent"],
        false
    );
}

#[tokio::test]
async fn auto_pays_and_declines_by_itself() {
    let outside = Outside::start().await;
    outside.put("/faults", json!({
        "payments": { "auto": "pay" },
        "orders": { "poor": { "payments": { "auto": "decline" } }, "slow": { "payments": { "delay_ms": 400 } } },
    })).await;

    let answer = outside.post("/payments", "k1", opening("o1")).await;
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (201, &json!("pending"))
    );
    let callback = outside.shop.receives(1).await.remove(0);
    assert_eq!(callback.body["status"], "success");
    assert!(callback.is_signed());
    assert_eq!(outside.payment_of("o1").await["status"], "authorized");

    outside.open_payment("poor").await;
    let callback = outside.shop.receives(2).await.remove(1);
    assert_eq!(callback.body["status"], "failed");

    let opened = Instant::now();
    outside.open_payment("slow").await;
    assert_eq!(outside.payment_of("slow").await["status"], "pending");
    let callback = outside.shop.receives(3).await.remove(2);
    let waited = callback.at - opened;
    assert!(waited >= Duration::from_millis(390), "{waited:?}");
    assert!(
        waited < Duration::from_millis(790),
        "delayed once, not twice: {waited:?}"
    );
}

#[tokio::test]
async fn a_payment_that_is_to_be_paid_later_survives_a_restart_and_a_void() {
    let outside = Outside::start().await;
    outside
        .put(
            "/faults",
            json!({ "payments": { "auto": "pay", "delay_ms": 700 } }),
        )
        .await;
    outside.open_payment("o1").await;
    let voided = outside.open_payment("o2").await;
    outside.operate(&voided, "void", "v1", "", 0).await;

    let outside = outside.restart().await;
    outside.shop.receives(1).await;
    assert_eq!(outside.payment_of("o1").await["status"], "authorized");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(outside.payment_of("o2").await["status"], "voided");
    assert_eq!(outside.shop.received().len(), 1);
}

#[tokio::test]
async fn a_silent_provider_takes_money_and_says_nothing() {
    let outside = Outside::start().await;
    outside
        .put("/faults", json!({ "payments": { "silent": true } }))
        .await;
    outside.paid("o1").await;
    assert_eq!(outside.payment_of("o1").await["status"], "authorized");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(outside.shop.received().len(), 0);
}

#[tokio::test]
async fn callbacks_are_late() {
    let outside = Outside::start().await;
    outside
        .put("/faults", json!({ "payments": { "delay_ms": 300 } }))
        .await;
    let paid = Instant::now();
    outside.paid("o1").await;
    assert!(
        paid.elapsed() < Duration::from_millis(280),
        "the page is not late"
    );
    let waited = outside.shop.receives(1).await[0].at - paid;
    assert!(waited >= Duration::from_millis(290), "{waited:?}");
}

#[tokio::test]
async fn duplicates_are_the_same_callback() {
    let outside = Outside::start().await;
    outside
        .put("/faults", json!({ "payments": { "duplicate": 3 } }))
        .await;
    outside.paid("o1").await;
    assert_eq!(outside.callbacks_settled("o1").await["delivered"], 4);
    let received = outside.shop.received();
    assert_eq!(received.len(), 4);
    assert!(
        received
            .iter()
            .all(|it| it.raw == received[0].raw && it.is_signed())
    );
    assert_eq!(outside.payment_of("o1").await["effects"]["authorize"], 1);
}

#[tokio::test]
async fn reordered_callbacks_come_last_first() {
    let outside = Outside::start().await;
    outside
        .put("/faults", json!({ "payments": { "reorder": true } }))
        .await;
    for order_id in ["o1", "o2", "o3", "o4"] {
        outside.paid(order_id).await;
    }
    let received = outside.shop.receives(4).await;
    let order: Vec<&Value> = received.iter().map(|it| &it.body["awakeable_id"]).collect();
    assert_eq!(order, ["sign_o4", "sign_o3", "sign_o2", "sign_o1"]);
}

#[tokio::test]
async fn a_forged_callback_comes_first() {
    let outside = Outside::start().await;
    for (order_id, reorder) in [("o1", false), ("o2", true)] {
        let switches = json!({ "payments": { "forge": true, "reorder": reorder } });
        outside.put("/faults", switches).await;
        let before = outside.shop.received().len();
        outside.shop.will_answer([401]);
        outside.paid(order_id).await;
        let received = outside.shop.receives(before + 2).await;
        let (forged, real) = (&received[before], &received[before + 1]);

        assert!(forged.signature.is_some() && !forged.is_signed());
        assert_eq!(forged.body["awakeable_id"], real.body["awakeable_id"]);
        assert_eq!(forged.body["status"], "success");
        assert_ne!(forged.body["amount"], 12_500);
        assert!(real.is_signed());
        assert_eq!(real.body["amount"], 12_500);
        assert_eq!(
            outside.callbacks_settled(order_id).await,
            json!({ "waiting": 0, "delivered": 1, "dead": 1 })
        );
    }
}

#[tokio::test]
async fn a_forged_callback_is_not_tried_again() {
    let outside = Outside::start().await;
    outside
        .put("/faults", json!({ "payments": { "forge": true } }))
        .await;
    outside.shop.will_answer([503]);
    outside.paid("o1").await;
    assert_eq!(
        outside.callbacks_settled("o1").await,
        json!({ "waiting": 0, "delivered": 1, "dead": 1 })
    );
}

#[tokio::test]
async fn a_side_that_is_down_says_nothing_and_still_counts() {
    let outside = Outside::start().await;
    let payment_id = outside.paid("o1").await;
    outside
        .put("/faults", json!({ "payments": { "down": true } }))
        .await;

    for answer in [
        outside.post("/payments", "o2:pay", opening("o2")).await,
        outside
            .operate(&payment_id, "capture", "c1", "txn_1", 12_500)
            .await,
        outside.get(&format!("/payments/{payment_id}")).await,
        outside.get("/payments/pay_none").await,
        outside.get(&format!("/pay/{payment_id}")).await,
        outside.pay(&payment_id, "action=pay").await,
        outside.operate("pay_none", "void", "v1", "", 0).await,
    ] {
        assert_eq!((answer.status, answer.text.as_str()), (503, ""));
    }
    assert_eq!(outside.get("/healthz").await.status, 200);
    assert_eq!(
        outside.book("o1", "b1").await.status,
        201,
        "the carrier is up"
    );
    assert_eq!(
        outside.ledger_of("o2").await["unopened"],
        json!([{ "order_id": "o2", "awakeable_id": "sign_o2", "requests": 1 }])
    );

    outside.delete("/faults").await;
    outside
        .operate(&payment_id, "capture", "c1", "txn_1", 12_500)
        .await;
    outside.open_payment("o2").await;
    let payment = outside.payment_of("o1").await;
    assert_eq!(
        (
            &payment["requests"]["capture"],
            &payment["effects"]["capture"]
        ),
        (&json!(2), &json!(1))
    );
    assert_eq!(outside.payment_of("o2").await["requests"]["create"], 2);
    assert_eq!(outside.ledger_of("o2").await["unopened"], json!([]));
}

#[tokio::test]
async fn a_carrier_that_is_down_says_nothing_and_still_counts() {
    let outside = Outside::start().await;
    outside
        .put("/faults", json!({ "carrier": { "down": true } }))
        .await;
    for answer in [outside.book("o1", "b1").await, outside.cancel("o1").await] {
        assert_eq!((answer.status, answer.text.as_str()), (503, ""));
    }
    outside
        .put("/faults", json!({ "carrier": { "down": "drop" } }))
        .await;
    assert!(
        outside
            .try_post("/carrier/shipments", "b1", parcel("o1"))
            .await
            .is_err()
    );
    assert!(outside.try_delete("/carrier/shipments/o1").await.is_err());
    let shipment = outside.shipment_of("o1").await;
    assert_eq!(shipment["status"], "none");
    assert_eq!(shipment["requests"], json!({ "book": 2, "cancel": 2 }));

    // It noticed none of it: the cancellation does not bind the old key.
    outside
        .put("/faults", json!({ "carrier": { "down": false } }))
        .await;
    assert_eq!(outside.book("o1", "b1").await.status, 201);
}

#[tokio::test]
async fn the_first_bookings_of_each_order_fail() {
    let outside = Outside::start().await;
    let twice = json!({ "carrier": { "fail_times": 2 } });
    outside.put("/faults", twice.clone()).await;
    for order_id in ["o1", "o2"] {
        for status in [500, 500, 201, 200] {
            let answer = outside.book(order_id, order_id).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.text.is_empty(), status == 500, "a bare 500");
        }
        let shipment = outside.shipment_of(order_id).await;
        assert_eq!(
            (&shipment["requests"]["book"], &shipment["effects"]["book"]),
            (&json!(4), &json!(1))
        );
    }
    assert_eq!(outside.book("o1", "other").await.status, 201, "two is two");
    // Put again, it counts anew.
    outside.put("/faults", twice).await;
    assert_eq!(outside.book("o1", "third").await.status, 500);
}

#[tokio::test]
async fn a_rejected_address_is_a_definite_no() {
    let outside = Outside::start().await;
    outside.book("o2", "b2").await;
    outside
        .put("/faults", json!({ "carrier": { "reject": true } }))
        .await;
    let answer = outside.book("o1", "b1").await;
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.body,
        json!({ "booked": false, "error": "address not served" })
    );
    assert_eq!(outside.shipment_of("o1").await["status"], "refused");
    // What is booked is booked, and can be cancelled.
    assert_eq!(outside.book("o2", "b2").await.status, 200);
    assert_eq!(outside.cancel("o2").await.status, 200);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_effect() {
    let outside = Outside::start().await;
    let payment_id = outside.paid("o1").await;
    let lossy =
        json!({ "payments": { "drop_response": true }, "carrier": { "drop_response": true } });
    outside.put("/faults", lossy).await;

    let capture = format!("/payments/{payment_id}/capture");
    let money = json!({ "transaction_id": "txn_1", "amount": 12_500 });
    assert!(
        outside
            .try_post("/payments", "o2:pay", opening("o2"))
            .await
            .is_err()
    );
    assert!(
        outside
            .try_post(&capture, "c1", money.clone())
            .await
            .is_err()
    );
    assert!(
        outside
            .try_post("/carrier/shipments", "b1", parcel("o1"))
            .await
            .is_err()
    );
    assert_eq!(
        outside.journal("o1").await,
        ["authorize", "capture", "book"]
    );
    assert_eq!(outside.payment_of("o2").await["status"], "pending");

    // Whoever asks again with the same key learns what happened.
    let again = outside.post(&capture, "c1", money).await;
    assert_eq!(
        (again.status, &again.body["status"]),
        (200, &json!("captured"))
    );
    assert_eq!(
        outside
            .post("/payments", "o2:pay", opening("o2"))
            .await
            .status,
        200
    );
    assert_eq!(outside.book("o1", "b1").await.status, 200);
    assert!(outside.try_delete("/carrier/shipments/o1").await.is_err());
    assert_eq!(outside.cancel("o1").await.body["status"], "cancelled");
    let payment = outside.payment_of("o1").await;
    assert_eq!(
        (
            &payment["requests"]["capture"],
            &payment["effects"]["capture"]
        ),
        (&json!(2), &json!(1))
    );
    assert_eq!(
        outside.shipment_of("o1").await["effects"],
        json!({ "book": 1, "cancel": 1 })
    );
}

#[tokio::test]
async fn answers_are_late_but_effects_are_not() {
    let outside = Outside::start().await;
    let slow = json!({ "payments": { "answer_delay_ms": 400 }, "carrier": { "delay_ms": 400 } });
    outside.put("/faults", slow).await;
    let asked = Instant::now();
    let (booked, opened, shipment) = tokio::join!(
        outside.book("o1", "b1"),
        outside.post("/payments", "k1", opening("o1")),
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            outside.shipment_of("o1").await
        },
    );
    assert!(asked.elapsed() >= Duration::from_millis(400));
    assert_eq!((booked.status, opened.status), (201, 201));
    assert_eq!(shipment["status"], "booked");
}

#[tokio::test]
async fn what_is_asked_may_arrive_after_its_cancellation() {
    let outside = Outside::start().await;
    outside
        .put("/faults", json!({ "carrier": { "lag_ms": 400 } }))
        .await;
    // The caller hangs up long before the booking arrives.
    let hung_up = tokio::time::timeout(Duration::from_millis(100), outside.book("o1", "b1")).await;
    assert!(hung_up.is_err());
    outside
        .put("/faults", json!({ "carrier": { "lag_ms": 0 } }))
        .await;
    assert_eq!(outside.cancel("o1").await.body, json!({ "status": "none" }));
    let deadline = Instant::now() + Duration::from_secs(5);
    while outside.shipment_of("o1").await["effects"]["book"] != 1 {
        assert!(Instant::now() < deadline, "the booking has not arrived");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Who has asked with the same key before cancelling is safe from it.
    outside
        .put("/faults", json!({ "carrier": { "lag_ms": 400 } }))
        .await;
    let hung_up = tokio::time::timeout(Duration::from_millis(100), outside.book("o2", "b2")).await;
    assert!(hung_up.is_err());
    outside
        .put("/faults", json!({ "carrier": { "lag_ms": 0 } }))
        .await;
    assert_eq!(outside.book("o2", "b2").await.status, 201);
    outside.cancel("o2").await;
    while outside.shipment_of("o2").await["requests"]["book"] != 2 {
        assert!(Instant::now() < deadline, "the booking has not arrived");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let shipment = outside.shipment_of("o2").await;
    assert_eq!(shipment["effects"], json!({ "book": 1, "cancel": 1 }));
}

#[tokio::test]
async fn an_orders_own_switches_win() {
    let outside = Outside::start().await;
    outside.put("/faults", json!({
        "carrier": { "reject": true },
        "orders": { "lucky": { "carrier": { "reject": false } }, "o3": { "payments": { "down": true } } },
    })).await;
    assert_eq!(outside.book("o1", "b1").await.status, 422);
    assert_eq!(outside.book("lucky", "b2").await.status, 201);
    assert_eq!(
        outside.post("/payments", "k3", opening("o3")).await.status,
        503
    );
    assert_eq!(
        outside.post("/payments", "k1", opening("o1")).await.status,
        201
    );
    // An order with switches of its own still has the global ones.
    assert_eq!(outside.book("o3", "b3").await.status, 422);
}
