//! Callbacks: what they say, how they are signed, how long they are tried.

use std::time::Duration;

use serde_json::json;

use crate::outside::{Outside, Shop};

#[tokio::test]
async fn a_payment_is_reported_at_once_and_signed() {
    let outside = Outside::start().await;
    let payment_id = outside.open_payment("o1").await;
    let asked = std::time::Instant::now();
    outside
        .pay(&payment_id, "action=pay&transaction_id=txn_1")
        .await;

    let callback = outside.shop.receives(1).await.remove(0);
    assert!(
        callback.at - asked < Duration::from_millis(500),
        "woken, not polled"
    );
    assert!(callback.is_signed(), "{callback:?}");
    assert_eq!(
        callback.body,
        json!({
            "awakeable_id": "sign_o1",
            "order_id": "o1",
            "transaction_id": "txn_1",
            "amount": 12_500,
            "status": "success",
        })
    );
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let outside = Outside::start_with(Shop::open().await, None).await;
    outside.paid("o1").await;
    assert_eq!(outside.shop.receives(1).await[0].signature, None);
}

#[tokio::test]
async fn a_shop_that_stumbles_is_told_again() {
    let outside = Outside::start().await;
    outside.shop.will_answer([503, 429]);
    outside.paid("o1").await;

    let received = outside.shop.receives(3).await;
    let first_pause = received[1].at - received[0].at;
    let second_pause = received[2].at - received[1].at;
    assert!(first_pause >= Duration::from_millis(900), "{first_pause:?}");
    assert!(
        second_pause >= Duration::from_millis(1_900),
        "{second_pause:?}"
    );
    for callback in &received {
        assert_eq!(callback.raw, received[0].raw);
        assert!(callback.is_signed());
    }
    assert_eq!(
        outside.callbacks_settled("o1").await,
        json!({ "waiting": 0, "delivered": 1, "dead": 0 })
    );
}

#[tokio::test]
async fn a_definite_no_ends_the_tries() {
    let outside = Outside::start().await;
    outside.shop.will_answer([404]);
    outside.paid("o1").await;
    assert_eq!(
        outside.callbacks_settled("o1").await,
        json!({ "waiting": 0, "delivered": 0, "dead": 1 })
    );
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(outside.shop.received().len(), 1);
}

#[tokio::test]
async fn waiting_callbacks_survive_a_restart() {
    let outside = Outside::start().await;
    outside.shop.will_answer([503]);
    outside.paid("o1").await;
    outside.shop.receives(1).await;
    // Paid while the callback is held back: never tried before the stop.
    outside
        .put("/faults", json!({ "payments": { "delay_ms": 1_000 } }))
        .await;
    outside.paid("o2").await;

    let stopped = outside.stop().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(
        stopped.shop().received().len(),
        1,
        "nobody is there to send it"
    );

    let outside = stopped.start_again().await;
    let received = outside.shop.receives(3).await;
    let mut told: Vec<_> = received[1..]
        .iter()
        .map(|it| it.body["awakeable_id"].as_str().unwrap())
        .collect();
    told.sort_unstable();
    assert_eq!(told, ["sign_o1", "sign_o2"]);
    for order_id in ["o1", "o2"] {
        assert_eq!(outside.callbacks_settled(order_id).await["delivered"], 1);
    }
}

#[tokio::test]
async fn one_slow_order_does_not_hold_up_the_others() {
    let outside = Outside::start().await;
    outside.shop.will_answer([503]);
    outside.paid("o1").await;
    outside.shop.receives(1).await;
    let asked = std::time::Instant::now();
    outside.paid("o2").await;
    let received = outside.shop.receives(2).await;
    assert_eq!(received[1].body["awakeable_id"], "sign_o2");
    assert!(received[1].at - asked < Duration::from_millis(500));
}
