//! The independent witness.

use serde_json::json;

use crate::outside::Outside;

#[tokio::test]
async fn the_journal_tells_in_which_order_things_happened() {
    let outside = Outside::start().await;
    let payment_id = outside.paid("o1").await;
    let other_order = outside.paid("o2").await;
    outside.book("o1", "b1").await;
    outside
        .operate(&payment_id, "capture", "c1", "txn_1", 12_500)
        .await;
    outside
        .operate(&payment_id, "refund", "r1", "txn_1", 12_500)
        .await;
    outside
        .operate(&other_order, "void", "v1", "txn_1", 12_500)
        .await;
    outside.cancel("o1").await;

    assert_eq!(
        outside.journal("o1").await,
        ["authorize", "book", "capture", "refund", "cancel"]
    );
    let everything = outside.get("/ledger").await.body;
    let journal = everything["journal"].as_array().unwrap();
    let seqs: Vec<i64> = journal
        .iter()
        .map(|it| it["seq"].as_i64().unwrap())
        .collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    assert_eq!(journal.len(), 7);
    assert_eq!(everything["payments"].as_array().unwrap().len(), 2);

    let of_order = outside.ledger_of("o1").await;
    let captured = &of_order["journal"][2];
    assert_eq!(
        captured,
        &json!({
            "seq": captured["seq"],
            "at": captured["at"],
            "kind": "capture",
            "order_id": "o1",
            "payment_id": payment_id,
            "transaction_id": "txn_1",
            "amount": 12_500,
        })
    );
    assert!(captured["at"].as_i64().unwrap() > 1_700_000_000_000);
}

#[tokio::test]
async fn the_shape_of_a_payment() {
    let outside = Outside::start().await;
    let payment_id = outside.paid("o1").await;
    outside.callbacks_settled("o1").await;
    assert_eq!(
        outside.payment_of("o1").await,
        json!({
            "payment_id": payment_id,
            "order_id": "o1",
            "awakeable_id": "sign_o1",
            "amount": 12_500,
            "status": "authorized",
            "transaction_id": "txn_1",
            "transactions": [{
                "transaction_id": "txn_1",
                "amount": 12_500,
                "captured_amount": null,
                "refunded_amount": 0,
                "status": "authorized",
                "effects": { "authorize": 1, "capture": 0, "void": 0, "refund": 0 },
            }],
            "effects": { "authorize": 1, "capture": 0, "void": 0, "refund": 0 },
            "requests": { "create": 1, "capture": 0, "void": 0, "refund": 0 },
            "callbacks": { "waiting": 0, "delivered": 1, "dead": 0 },
        })
    );
}

#[tokio::test]
async fn the_books_survive_a_restart() {
    let outside = Outside::start().await;
    let payment_id = outside.paid("o1").await;
    outside
        .operate(&payment_id, "capture", "c1", "txn_1", 12_500)
        .await;
    outside.book("o1", "b1").await;
    outside.callbacks_settled("o1").await;
    let before = outside.get("/ledger").await.body;

    let outside = outside.restart().await;
    assert_eq!(outside.get("/ledger").await.body, before);
    // Keys are remembered too: nothing happens twice.
    let capture = outside
        .operate(&payment_id, "capture", "c1", "txn_1", 12_500)
        .await;
    assert_eq!(capture.status, 200);
    assert_eq!(outside.book("o1", "b1").await.status, 200);
    assert_eq!(
        outside.get("/ledger").await.body["journal"],
        before["journal"]
    );
}

#[tokio::test]
async fn an_unknown_order_has_an_empty_ledger() {
    let outside = Outside::start().await;
    outside.paid("o1").await;
    assert_eq!(
        outside.ledger_of("o2").await,
        json!({ "payments": [], "unopened": [], "shipments": [], "journal": [] })
    );
}

#[tokio::test]
async fn concurrent_repetitions_have_one_effect() {
    let outside = Outside::start().await;
    let payment_id = outside.paid("o1").await;
    let captures = (0..20).map(|_| outside.operate(&payment_id, "capture", "c1", "txn_1", 12_500));
    let bookings = (0..20).map(|_| outside.book("o1", "b1"));
    let mut waiting = captures.map(Box::pin).collect::<Vec<_>>();
    let mut booking = bookings.map(Box::pin).collect::<Vec<_>>();
    // Polled together by one task: `join_all` without another dependency.
    std::future::poll_fn(|context| {
        waiting.retain_mut(|it| it.as_mut().poll(context).is_pending());
        booking.retain_mut(|it| it.as_mut().poll(context).is_pending());
        if waiting.is_empty() && booking.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    let payment = outside.payment_of("o1").await;
    assert_eq!(
        (
            &payment["effects"]["capture"],
            &payment["requests"]["capture"]
        ),
        (&json!(1), &json!(20))
    );
    let shipment = outside.shipment_of("o1").await;
    assert_eq!(
        (&shipment["effects"]["book"], &shipment["requests"]["book"]),
        (&json!(1), &json!(20))
    );
}

#[tokio::test]
async fn callers_that_hang_up_leave_no_half_of_an_effect() {
    let outside = Outside::start().await;
    for patience_us in (0..4_000).step_by(100) {
        let order_id = format!("o{patience_us}");
        let impatient = async {
            let payment_id = outside.paid(&order_id).await;
            outside.book(&order_id, &order_id).await;
            outside
                .operate(&payment_id, "capture", &order_id, "txn_1", 12_500)
                .await;
        };
        let patience = std::time::Duration::from_micros(patience_us);
        let _ = tokio::time::timeout(patience, impatient).await;
    }
    // The writer is free again, and every status agrees with the journal.
    outside.paid("last").await;
    let ledger = outside.get("/ledger").await.body;
    for payment in ledger["payments"].as_array().unwrap() {
        let effects = (
            &payment["effects"]["authorize"],
            &payment["effects"]["capture"],
        );
        let expected = match payment["status"].as_str().unwrap() {
            "pending" => (0, 0),
            "authorized" => (1, 0),
            _ => (1, 1),
        };
        assert_eq!(
            effects,
            (&json!(expected.0), &json!(expected.1)),
            "{payment}"
        );
    }
    assert_eq!(outside.payment_of("last").await["status"], "authorized");
}
