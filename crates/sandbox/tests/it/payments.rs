//! Opening payments, and capture, void and refund.

use serde_json::{Value, json};

use crate::outside::{Outside, opening};

#[tokio::test]
async fn a_payment_is_opened_once_per_key() {
    let outside = Outside::start().await;

    let first = outside.post("/payments", "k1", opening("o1")).await;
    assert_eq!(first.status, 201);
    let payment_id = first.body["payment_id"].as_str().unwrap();
    assert_eq!(
        first.body,
        json!({
            "payment_id": payment_id,
            "pay_url": format!("{}/pay/{payment_id}", outside.base),
            "status": "pending",
        })
    );

    let again = outside.post("/payments", "k1", opening("o1")).await;
    assert_eq!((again.status, &again.body), (200, &first.body));

    outside.pay(payment_id, "action=pay").await;
    let later = outside.post("/payments", "k1", opening("o1")).await;
    assert_eq!(later.body["status"], "authorized");

    let payment = outside.payment_of("o1").await;
    assert_eq!(payment["requests"]["create"], 3);
    assert_eq!(payment["effects"]["authorize"], 1);
}

#[tokio::test]
async fn a_key_stands_for_one_body() {
    let outside = Outside::start().await;
    outside.post("/payments", "k1", opening("o1")).await;

    let other = outside.post("/payments", "k1", opening("o2")).await;
    assert_eq!(other.status, 422);
    assert!(other.body["error"].is_string());
    assert_eq!(outside.ledger_of("o2").await["payments"], json!([]));

    let payment_id = outside.paid("o3").await;
    let capture = outside
        .operate(&payment_id, "capture", "k2", "txn_1", 12_500)
        .await;
    assert_eq!(capture.status, 200);
    for (operation, amount) in [("capture", 12_499), ("refund", 12_500)] {
        let other = outside
            .operate(&payment_id, operation, "k2", "txn_1", amount)
            .await;
        assert_eq!(other.status, 422, "{operation} {amount}");
    }
    assert_eq!(outside.payment_of("o3").await["status"], "captured");
}

#[tokio::test]
async fn requests_must_be_well_formed() {
    let outside = Outside::start().await;
    let payment_id = outside.open_payment("o1").await;
    let capture = format!("/payments/{payment_id}/capture");

    for path in ["/payments", &capture] {
        let no_key = outside
            .send(path, |http, url| http.post(url).json(&opening("o1")))
            .await;
        assert_eq!(no_key.status, 400, "{path}");
        assert!(
            no_key.body["error"]
                .as_str()
                .unwrap()
                .contains("Idempotency-Key")
        );

        let no_json = outside
            .send(path, |http, url| {
                http.post(url).header("idempotency-key", "k").body("{")
            })
            .await;
        assert_eq!(no_json.status, 400, "{path}");
        assert!(no_json.body["error"].is_string());
    }
    for wrong in [
        json!({ "order_id": "", "awakeable_id": "a", "amount": 1 }),
        json!({ "order_id": "o", "awakeable_id": "", "amount": 1 }),
        json!({ "order_id": "o", "awakeable_id": "a", "amount": 0 }),
    ] {
        let answer = outside.post("/payments", "k", wrong).await;
        assert_eq!(answer.status, 422, "{answer:?}");
    }
    for nowhere in ["/payments/pay_none", "/nowhere"] {
        let answer = outside.get(nowhere).await;
        assert_eq!(answer.status, 404);
        assert!(answer.body["error"].is_string());
    }
    let unknown = outside.operate("pay_none", "void", "k", "", 0).await;
    assert_eq!(unknown.status, 404);
    assert_eq!(outside.delete("/payments").await.status, 405);
    assert_eq!(outside.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_payment_can_be_read() {
    let outside = Outside::start().await;
    let payment_id = outside.open_payment("o1").await;
    let path = format!("/payments/{payment_id}");

    let pending = outside.get(&path).await.body;
    assert_eq!(
        pending,
        json!({
            "payment_id": payment_id,
            "order_id": "o1",
            "awakeable_id": "sign_o1",
            "amount": 12_500,
            "status": "pending",
            "transaction_id": null,
            "transactions": [],
            "pay_url": format!("{}/pay/{payment_id}", outside.base),
        })
    );
    outside
        .pay(&payment_id, "action=pay&transaction_id=txn_1")
        .await;
    let paid = outside.get(&path).await.body;
    assert_eq!(paid["status"], "authorized");
    assert_eq!(paid["transaction_id"], "txn_1");
}

#[tokio::test]
async fn less_is_captured_than_was_authorized_and_goes_back_in_parts() {
    let outside = Outside::start().await;
    let payment_id = outside.paid("o1").await;
    let operate = async |operation, key, amount| {
        let answer = outside
            .operate(&payment_id, operation, key, "txn_1", amount)
            .await;
        (answer.status, answer.body["status"].clone())
    };
    let captured = || json!("captured");
    assert_eq!(operate("capture", "c1", 10_000).await, (200, captured()));
    assert_eq!(operate("refund", "r1", 4_000).await, (200, captured()));
    // Its own answer again, and nothing more.
    assert_eq!(operate("refund", "r1", 4_000).await, (200, captured()));
    assert_eq!(operate("refund", "r1", 3_000).await.0, 422);
    assert_eq!(operate("refund", "r2", 6_001).await, (422, captured()));
    assert_eq!(
        operate("refund", "r3", 6_000).await,
        (200, json!("refunded"))
    );
    assert_eq!(operate("refund", "r4", 1).await, (409, json!("refunded")));
    let ledger = outside.ledger_of("o1").await;
    let journal = ledger["journal"].as_array().unwrap();
    let moved: Vec<_> = journal
        .iter()
        .map(|line| {
            (
                line["kind"].as_str().unwrap(),
                line["amount"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        moved,
        [
            ("authorize", 12_500),
            ("capture", 10_000),
            ("release", 2_500),
            ("refund", 4_000),
            ("refund", 6_000)
        ]
    );
    let transaction = &ledger["payments"][0]["transactions"][0];
    assert_eq!(transaction["refunded_amount"], 10_000);
}

#[tokio::test]
async fn money_is_captured_once_and_refunded_once() {
    let outside = Outside::start().await;
    let payment_id = outside.paid("o1").await;

    let capture = outside
        .operate(&payment_id, "capture", "c1", "txn_1", 12_500)
        .await;
    let captured = json!({
        "payment_id": payment_id, "status": "captured", "transaction_id": "txn_1",
    });
    assert_eq!((capture.status, &capture.body), (200, &captured));
    for key in ["c1", "c2"] {
        let again = outside
            .operate(&payment_id, "capture", key, "txn_1", 12_500)
            .await;
        assert_eq!((again.status, &again.body), (200, &captured), "{key}");
    }
    let void = outside
        .operate(&payment_id, "void", "v1", "txn_1", 12_500)
        .await;
    assert_eq!(
        (void.status, &void.body["status"]),
        (409, &json!("captured"))
    );
    let close = outside.operate(&payment_id, "void", "v2", "", 0).await;
    assert_eq!(close.status, 409);
    let more = outside
        .operate(&payment_id, "refund", "r0", "txn_1", 12_501)
        .await;
    assert_eq!(more.status, 422);

    for key in ["r1", "r1", "r2"] {
        let refund = outside
            .operate(&payment_id, "refund", key, "txn_1", 12_500)
            .await;
        assert_eq!(
            (refund.status, &refund.body["status"]),
            (200, &json!("refunded"))
        );
    }
    let payment = outside.payment_of("o1").await;
    assert_eq!(payment["status"], "refunded");
    assert_eq!(
        payment["effects"],
        json!({ "authorize": 1, "capture": 1, "void": 0, "refund": 1 })
    );
    assert_eq!(
        payment["requests"],
        json!({ "create": 1, "capture": 3, "void": 2, "refund": 4 })
    );
    // A repetition answers what was answered then, not what is so now.
    let again = outside
        .operate(&payment_id, "capture", "c1", "txn_1", 12_500)
        .await;
    assert_eq!(again.body["status"], "captured");
}

#[tokio::test]
async fn no_more_is_captured_than_was_authorized() {
    let outside = Outside::start().await;
    let payment_id = outside.paid("o1").await;
    for (key, amount) in [("c1", 12_501), ("c2", 0), ("c3", -1)] {
        let answer = outside
            .operate(&payment_id, "capture", key, "txn_1", amount)
            .await;
        assert_eq!(answer.status, 422, "{amount}");
    }
    let unnamed = outside
        .operate(&payment_id, "capture", "c4", "", 12_500)
        .await;
    assert_eq!(unnamed.status, 422);

    let pending = outside.open_payment("o2").await;
    let over = outside
        .operate(&pending, "capture", "c5", "txn-123", 12_501)
        .await;
    assert_eq!(over.status, 422);
    let payment = outside.payment_of("o2").await;
    assert_eq!(
        (&payment["status"], &payment["transactions"]),
        (&json!("pending"), &json!([]))
    );

    let less = outside
        .operate(&payment_id, "capture", "c6", "txn_1", 12_000)
        .await;
    assert_eq!(less.status, 200);
    let other = outside
        .operate(&payment_id, "capture", "c7", "txn_1", 500)
        .await;
    assert_eq!(other.status, 409);
    let payment = outside.payment_of("o1").await;
    assert_eq!(payment["transactions"][0]["captured_amount"], 12_000);
    assert_eq!(payment["effects"]["capture"], 1);
}

#[tokio::test]
async fn a_callback_written_by_hand_counts_as_authorized() {
    let outside = Outside::start().await;

    let payment_id = outside.open_payment("o1").await;
    for key in ["c1", "c1"] {
        let capture = outside
            .operate(&payment_id, "capture", key, "txn-123", 12_500)
            .await;
        assert_eq!(
            (capture.status, &capture.body["status"]),
            (200, &json!("captured"))
        );
    }
    assert_eq!(outside.journal("o1").await, ["authorize", "capture"]);

    let payment_id = outside.open_payment("o2").await;
    for key in ["v1", "v2"] {
        let void = outside
            .operate(&payment_id, "void", key, "txn-123", 12_500)
            .await;
        assert_eq!((void.status, &void.body["status"]), (200, &json!("voided")));
    }
    assert_eq!(outside.journal("o2").await, ["authorize", "void"]);
    assert_eq!(outside.payment_of("o2").await["status"], "voided");
}

#[tokio::test]
async fn a_void_closes_a_pending_payment() {
    let outside = Outside::start().await;
    let payment_id = outside.open_payment("o1").await;

    let path = format!("/payments/{payment_id}/void");
    let void = outside
        .post(&path, "v1", json!({ "transaction_id": null, "amount": 0 }))
        .await;
    assert_eq!(void.status, 200);
    assert_eq!(
        void.body,
        json!({ "payment_id": payment_id, "status": "voided", "transaction_id": null })
    );
    let again = outside.post(&path, "v2", json!({})).await;
    assert_eq!(
        (again.status, &again.body["status"]),
        (200, &json!("voided"))
    );

    let page = outside
        .pay(&payment_id, "action=pay&transaction_id=txn_late")
        .await;
    assert!(page.text.contains("This payment was closed"));
    let capture = outside
        .operate(&payment_id, "capture", "c1", "txn_late", 12_500)
        .await;
    assert_eq!(
        (capture.status, &capture.body["status"]),
        (409, &json!("voided"))
    );
    assert_eq!(outside.journal("o1").await, ["void"]);
    assert_eq!(outside.shop.received().len(), 0);
}

#[tokio::test]
async fn a_void_without_a_transaction_gives_held_money_back() {
    // The customer has paid, but the shop never heard of it.
    let outside = Outside::start().await;
    let payment_id = outside.paid("o1").await;

    let void = outside.operate(&payment_id, "void", "v1", "", 0).await;
    assert_eq!(void.status, 200);
    assert_eq!(void.body["transaction_id"], "txn_1");
    let payment = outside.payment_of("o1").await;
    assert_eq!(payment["status"], "voided");
    assert_eq!(payment["transactions"][0]["status"], "voided");
    assert_eq!(payment["effects"]["void"], 1);

    let capture = outside
        .operate(&payment_id, "capture", "c1", "txn_1", 12_500)
        .await;
    assert_eq!(
        (capture.status, &capture.body["status"]),
        (409, &json!("voided"))
    );
    let refund = outside
        .operate(&payment_id, "refund", "r1", "txn_1", 12_500)
        .await;
    assert_eq!(refund.status, 409);
}

#[tokio::test]
async fn a_declined_payment_cannot_be_captured() {
    let outside = Outside::start().await;
    let payment_id = outside.open_payment("o1").await;
    outside
        .pay(&payment_id, "action=decline&transaction_id=txn_no")
        .await;

    for transaction_id in ["txn_no", "txn-123"] {
        let capture = outside
            .operate(
                &payment_id,
                "capture",
                transaction_id,
                transaction_id,
                12_500,
            )
            .await;
        assert_eq!(
            (capture.status, &capture.body["status"]),
            (409, &json!("declined"))
        );
    }
    // Closing it is fine, and changes no money.
    for (key, transaction_id) in [("v1", "txn_no"), ("v2", "")] {
        let void = outside
            .operate(&payment_id, "void", key, transaction_id, 0)
            .await;
        assert_eq!(
            (void.status, &void.body["status"]),
            (200, &json!("declined"))
        );
    }
    assert_eq!(outside.journal("o1").await, ["decline"]);
}

#[tokio::test]
async fn a_second_transaction_is_voided_by_itself() {
    let outside = Outside::start().await;
    let payment_id = outside.paid("o1").await;
    // The customer pays with another card, and a third payment comes by hand.
    outside
        .pay(&payment_id, "action=pay&transaction_id=txn_2")
        .await;
    outside
        .operate(&payment_id, "capture", "c1", "txn_1", 12_500)
        .await;

    let second = outside
        .operate(&payment_id, "capture", "c2", "txn_2", 12_500)
        .await;
    assert_eq!(second.status, 409, "a payment is captured once");
    for transaction_id in ["txn_2", "txn_3"] {
        let void = outside
            .operate(&payment_id, "void", transaction_id, transaction_id, 12_500)
            .await;
        assert_eq!((void.status, &void.body["status"]), (200, &json!("voided")));
    }

    let payment = outside.payment_of("o1").await;
    assert_eq!(payment["status"], "captured");
    assert_eq!(payment["transaction_id"], "txn_1");
    let transactions: Vec<(&Value, &Value, &Value)> = payment["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["transaction_id"], &it["status"], &it["effects"]["void"]))
        .collect();
    assert_eq!(
        transactions,
        [
            (&json!("txn_1"), &json!("captured"), &json!(0)),
            (&json!("txn_2"), &json!("voided"), &json!(1)),
            (&json!("txn_3"), &json!("voided"), &json!(1)),
        ]
    );
}

/// A callback written by hand stands for an authorization of its own: what
/// became of the payment's others does not touch it. Only a decline, and closing
/// the payment as a whole, do.
#[tokio::test]
async fn each_authorization_of_a_payment_is_its_own() {
    let outside = Outside::start().await;
    for (order, other) in [
        ("held", Some("action=pay&transaction_id=txn_1")),
        ("voided", None),
    ] {
        let payment_id = outside.open_payment(order).await;
        let key = |what: &str| format!("{order}-{what}");
        if let Some(action) = other {
            outside.pay(&payment_id, action).await;
        } else {
            let void = outside
                .operate(&payment_id, "void", &key("void"), "txn_1", 12_500)
                .await;
            assert_eq!((void.status, &void.body["status"]), (200, &json!("voided")));
        }
        let capture = outside
            .operate(&payment_id, "capture", &key("capture"), "txn-123", 12_500)
            .await;
        assert_eq!(
            (capture.status, &capture.body["status"]),
            (200, &json!("captured")),
            "{order}"
        );
        let again = outside
            .operate(&payment_id, "capture", &key("other"), "txn-456", 12_500)
            .await;
        assert_eq!(again.status, 409, "{order}: a payment is captured once");
    }

    let payment_id = outside.paid("closed").await;
    outside.operate(&payment_id, "void", "close", "", 0).await;
    let capture = outside
        .operate(&payment_id, "capture", "late", "txn-123", 12_500)
        .await;
    assert_eq!(capture.status, 409, "a closed payment takes no more money");
    let refund = outside
        .operate(&payment_id, "refund", "refund", "txn-123", 12_500)
        .await;
    assert_eq!(refund.status, 409, "what never came does not go back");
    assert_eq!(outside.journal("closed").await, ["authorize", "void"]);
}
