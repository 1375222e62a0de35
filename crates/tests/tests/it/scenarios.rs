//! The five scenarios of the README, told over HTTP and checked from four sides:
//! the order, the notifications, Restate's own view and the outside ledger.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::outside::ShipmentEffects;
use crate::shop::{Order, Shop, kinds_of, send, text};
use crate::stream::Stream;
use crate::world::{Component, Setup, eventually, own, shared};

/// As printed in the README: no user, no signature.
async fn proposals_callback(shop: &Shop, body: String) {
    let request = shop
        .anonymous()
        .request(Method::POST, "/api/payment/callback");
    let request = request
        .header("Content-Type", "application/json")
        .body(body);
    send(request).await.expect(200);
}

/// Alice puts the README's example into her cart and checks out: $125.00.
async fn checkout_of_the_example(shop: &Shop) -> (Order<'_>, Stream) {
    let alice = shop.alice();
    let mut told = alice.stream("/stream/notifications").await;
    alice.add("P001", 2).await;
    alice.add("P002", 1).await;
    told.until("Item added").await;

    let answer = alice
        .post("/api/checkout", &json!({ "order_id": "order-123" }))
        .await;
    let order = alice.placed(&answer.expect(202));
    assert_eq!(order.id, "alice.order-123");
    assert_eq!(order.total, 12_500);
    order.payment_page().await;
    told.until("Awaiting payment").await;
    (order, told)
}

/// Alice has paid with the README's callback, and an admin is needed.
async fn paid_example(shop: &Shop) -> (Order<'_>, Stream) {
    let (order, mut told) = checkout_of_the_example(shop).await;
    let awakeable = order.awakeable().await;
    proposals_callback(
        shop,
        format!(
            r#"{{"awakeable_id": "{awakeable}", "transaction_id": "txn-123", "amount": 12500, "status": "success"}}"#
        ),
    )
    .await;
    told.until("Payment confirmed!").await;
    told.until("Admin approval needed").await;
    order.until("awaiting_approval").await;
    (order, told)
}

#[test]
fn scenario_1_happy_path() {
    own(&Setup::with("DELIVERY_TIME", "5s"), async |shop| {
        let (alice, admin) = (shop.alice(), shop.admin());
        let catalog = alice.markdown("/api/products").await;
        assert!(catalog.contains("| SKU"), "{catalog}");
        assert!(catalog.contains("Widget A"), "{catalog}");

        let (order, mut told) = paid_example(shop).await;
        assert!(
            alice.in_cart().await.is_empty(),
            "what was bought leaves the cart"
        );
        assert_eq!(order.workflow_runs().await, 1, "the workflow was launched");
        let pending = admin.markdown("/api/orders?status=awaiting_approval").await;
        assert!(pending.contains("alice.order-123"), "{pending}");
        let document = alice.markdown("/api/orders/alice.order-123").await;
        for line in [
            "**Status**: Awaiting",
            "**User**: alice@example.com",
            "**Total**: $125.00",
            "| P001 | Widget A | 2 | $50.00 |",
            "| P002 | Widget B | 1 | $25.00 |",
            "- ✅ Payment Confirmed (Transaction: txn-123)",
            "- ⏳ Awaiting Admin Approval",
            "- ⬜ Shipping Initiation",
            "- ⬜ Delivery Confirmation",
        ] {
            assert!(document.contains(line), "{line} is not in\n{document}");
        }

        let mut workflow = alice.stream("/stream/workflow/alice.order-123").await;
        admin.approve(&order).await;
        told.until("Shipment initiated with FedEx").await;
        told.until("Estimated delivery: 5s").await;
        workflow.until("On its way").await;
        let on_its_way = order.until("in_transit").await;
        let tracking = text(&on_its_way["shipment"]["tracking_number"]);
        let document = alice.markdown("/api/orders/alice.order-123").await;
        assert!(
            document.contains(tracking),
            "{tracking} is not in\n{document}"
        );
        told.until("Order delivered!").await;
        workflow.until("Delivered").await;

        let delivered = order.until("delivered").await;
        assert_eq!(
            kinds_of(&delivered),
            [
                "order_placed",
                "payment_requested",
                "payment_confirmed",
                "approval_requested",
                "approved",
                "shipment_initiated",
                "payment_captured",
                "in_transit",
                "delivered",
            ]
        );
        let ledger = order.ledger().await;
        assert_eq!(ledger.story(), "book authorize capture");
        assert_eq!(ledger.payment().amount, 12_500);
        assert_eq!(ledger.payment().transaction_id.as_deref(), Some("txn-123"));
        assert_eq!(ledger.shipment().tracking_number.as_deref(), Some(tracking));
    });
}

#[test]
fn scenario_2_payment_failure() {
    own(&Setup::default(), async |shop| {
        let (order, mut told) = checkout_of_the_example(shop).await;
        let cart = shop.alice().in_cart().await;
        let awakeable = order.awakeable().await;
        proposals_callback(
            shop,
            format!(
                r#"{{"awakeable_id": "{awakeable}", "transaction_id": "", "amount": 0, "status": "failed"}}"#
            ),
        )
        .await;
        told.until("Payment failed: insufficient funds").await;

        let failed = order.until("payment_failed").await;
        assert_eq!(
            failed["failure_reason"],
            "Payment failed: insufficient funds"
        );
        assert_eq!(
            order.workflow_runs().await,
            0,
            "the workflow was not launched"
        );
        assert_eq!(shop.alice().in_cart().await, cart, "the cart is kept");
        // The wait for the payment ends in a terminal error.
        let ended = shop
            .sql(
                "SELECT completion_result, completion_failure FROM sys_invocation \
                 WHERE target = 'UserSession/alice/AwaitPayment'",
            )
            .await;
        assert_eq!(ended.len(), 1, "{ended:?}");
        assert_eq!(ended[0]["completion_result"], "failure", "{ended:?}");
        // The provider is told by a message that nobody waits for.
        eventually(
            "the payment is voided",
            Duration::from_secs(10),
            async || {
                let ledger = order.ledger().await;
                match ledger.payment().status.as_str() {
                    "voided" if ledger.shipments.is_empty() => Ok(()),
                    _ => Err(format!("{ledger:?}")),
                }
            },
        )
        .await;

        // The same order can be paid after all: a new attempt.
        let answer = shop.alice().try_checkout("order-123").await;
        let again = shop.alice().placed(&answer.expect(202));
        assert_ne!(again.awakeable().await, awakeable);
        again.pay().await;
        again.until("awaiting_approval").await;
        shop.admin().approve(&again).await;
        again.until("delivered").await;
        assert_eq!(order.ledger().await.payments.len(), 2);
    });
}

#[test]
fn scenario_3_admin_rejection() {
    own(&Setup::default(), async |shop| {
        let (order, mut told) = paid_example(shop).await;
        shop.admin()
            .reject(&order, "the address does not exist")
            .await;
        told.until("Order canceled by admin").await;
        told.until("Stock released").await;

        let rejected = order.until("rejected").await;
        let kinds = kinds_of(&rejected);
        assert_eq!(
            kinds[kinds.len() - 3..],
            ["rejected", "payment_voided", "stock_released"]
        );
        assert!(
            text(&rejected["failure_reason"]).contains("the address does not exist"),
            "{rejected}"
        );
        let document = shop.alice().markdown("/api/orders/alice.order-123").await;
        assert!(
            document.contains("the address does not exist"),
            "{document}"
        );
        let runs = shop
            .sql(
                "SELECT completion_result FROM sys_invocation \
                 WHERE target = 'OrderFulfillmentWorkflow/alice.order-123/Run'",
            )
            .await;
        assert_eq!(runs.len(), 1);
        assert_eq!(
            runs[0]["completion_result"], "failure",
            "the workflow ends in a terminal error"
        );
        let ledger = order.ledger().await;
        assert_eq!(ledger.payment().effects.capture, 0);
        assert_eq!(ledger.payment().status, "voided");
        assert!(ledger.shipments.is_empty(), "nothing was ever shipped");
    });
}

#[test]
fn scenario_4_shipping_failure() {
    shared(async |shop| {
        let (alice, admin) = (shop.alice(), shop.admin());
        let mut told = alice.stream("/stream/notifications").await;
        let order = alice.buy("P003", 1, "FAIL_SHIP").await;
        admin.approve(&order).await;
        told.until("Order failed: Shipping rejected").await;

        let failed = order.until("shipping_failed").await;
        let kinds = kinds_of(&failed);
        assert_eq!(
            kinds[kinds.len() - 4..],
            [
                "approved",
                "shipping_failed",
                "payment_voided",
                "stock_released"
            ]
        );
        let ledger = order.ledger().await;
        let parcel = ledger.shipment();
        assert_eq!(parcel.status, "refused");
        assert_eq!(
            parcel.requests,
            ShipmentEffects { book: 4, cancel: 0 },
            "three retries, and what was never booked is not cancelled"
        );
        assert_eq!(ledger.payment().status, "voided");
    });
}

#[test]
fn scenario_5_idempotent_retry() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let order = alice.checkout("order-5").await;
        let awakeable = order.awakeable().await;

        // The first attempt crashes while the payment is pending …
        shop.kill(Component::Services);
        shop.start_again(Component::Services).await;
        // … the second finds it, and the payment succeeds …
        let second = alice.try_checkout("order-5").await.expect(202);
        assert_eq!(second["payment"]["awakeable_id"], *awakeable);
        order.pay().await;
        order.until("awaiting_approval").await;
        // … the third is told so.
        let third = alice.try_checkout("order-5").await.expect(200);
        assert_eq!(third["already_processed"], true, "{third}");
        assert_eq!(third["order_id"], "alice.order-5");
        assert_eq!(third["status"], "awaiting_approval");
        shop.admin().approve(&order).await;
        order.until("delivered").await;
        let fourth = alice.try_checkout("order-5").await.expect(200);
        assert_eq!(fourth["status"], "delivered", "{fourth}");

        order.has_happened_once().await;
        let waits = shop.invocations("UserSession/alice/AwaitPayment").await;
        assert_eq!(waits, ["completed"]);
    });
}
