//! Any process may die at any time; what was promised is kept.

use reqwest::Method;
use serde_json::{Value, json};

use crate::reconcile::set_state;
use crate::shop::{Client, SOON, kinds_of, send_anyway};
use crate::world::{Component, Setup, eventually, own};

#[test]
fn every_process_dies_once_and_the_order_arrives() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let order = alice.checkout("hard-times").await;
        let (_, pay_url) = order.payment_page().await;

        shop.kill(Component::Restate);
        shop.start_again(Component::Restate).await;
        assert_eq!(alice.in_cart().await, [("P001".to_owned(), 1)]);

        // Paid while nobody takes the callback; the provider dies, too.
        shop.kill(Component::Gateway);
        shop.use_payment_page(&pay_url, "pay").await;
        shop.kill(Component::Sandbox);
        shop.start_again(Component::Sandbox).await;
        shop.start_again(Component::Gateway).await;
        order.until("awaiting_approval").await;

        shop.kill(Component::Services);
        shop.start_again(Component::Services).await;
        shop.admin().approve(&order).await;
        shop.kill(Component::Services);
        shop.start_again(Component::Services).await;
        let delivered = order.until("delivered").await;

        assert!(
            !kinds_of(&delivered).contains(&"stock_released".to_owned()),
            "{delivered}"
        );
        order.has_happened_once().await;
    });
}

/// A session forgets a paid order only after Restate has forgotten its
/// workflow: before that the id's next order would be paid, and nobody would
/// work on it.
#[test]
fn an_order_is_not_forgotten_before_its_workflow() {
    let setup = Setup::with("PAYMENT_WINDOW", "5s")
        .and("APPROVAL_WINDOW", "5s")
        .and("DELIVERY_TIME", "100ms")
        .and("ORDER_RETENTION", "11s");
    own(&setup, async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P001", 1, "kept").await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;
        let marker = format!("checkout:exec:{}", order.id);
        let remembered = async || shop.state("UserSession", "alice", &marker).await;
        // Nothing is kept for each order until then, not even a timer.
        let later = shop
            .sql("SELECT target FROM sys_invocation WHERE status <> 'completed'")
            .await;
        assert_eq!(later, Vec::<Value>::new());
        eventually("it is old enough, and asked for", SOON * 2, async || {
            let asked = shop
                .sql("SELECT id FROM sys_invocation WHERE target = 'UserSession/alice/Forget'")
                .await;
            if asked.len() > 1 {
                Ok(())
            } else {
                Err(format!("{asked:?}"))
            }
        })
        .await;
        let kept = remembered().await.expect("its workflow is still there");
        let record = order.workflow_record().await;
        let again = alice.try_checkout("kept").await.expect(200);
        assert_eq!(again["already_processed"], true);

        let run = format!("OrderFulfillmentWorkflow/{}/Run", order.id);
        let rows = shop
            .sql(&format!(
                "SELECT id FROM sys_invocation WHERE target = '{run}'"
            ))
            .await;
        let id = rows[0]["id"].as_str().expect("an id").to_owned();
        let purge = format!("{}/invocations/{id}/purge", shop.admin);
        let purged = send_anyway(shop.http.patch(purge)).await;
        assert_eq!(purged.status, 200, "{purged:?}");
        eventually("it is forgotten", SOON, async || match remembered().await {
            None => Ok(()),
            Some(marker) => Err(marker.to_string()),
        })
        .await;
        // The read model keeps it: nobody buys it twice.
        alice.add("P001", 1).await;
        let again = alice.try_checkout("kept").await.expect(200);
        assert_eq!(again["already_processed"], true);
        assert_eq!(remembered().await, None);
        // What is checked at the end is what Restate holds.
        set_state(shop, "UserSession", "alice", &marker, &kept).await;
        let workflow = "OrderFulfillmentWorkflow";
        set_state(shop, workflow, &order.id, "record", &json!(record)).await;
    });
}

/// Each cart that is asked for stays in Restate until the services are back.
#[test]
fn while_the_services_are_away_pages_do_not_ask_on_and_on() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        shop.kill(Component::Services);
        eventually("the gateway hears of it", SOON, async || {
            let metrics = shop.http.get(format!("{}/readyz", shop.gateway));
            let ready = send_anyway(metrics).await;
            if ready.text.contains("\"update_streams_connected\":0") {
                Ok(())
            } else {
                Err(format!("{ready:?}"))
            }
        })
        .await;
        for path in ["/cart", "/orders", "/products", "/cart", "/"] {
            let request = alice.request(Method::GET, path);
            let page = send_anyway(request.header("accept", "text/html")).await;
            assert_eq!(page.status, 200, "{path}: {page:?}");
        }
        let asked = "SELECT id FROM sys_invocation \
             WHERE target = 'UserSession/alice/GetBasket' AND status <> 'completed'";
        let asked = shop.sql(asked).await;
        assert_eq!(asked.len(), 1, "{asked:?}");
        shop.start_again(Component::Services).await;
        assert_eq!(alice.in_cart().await, [("P001".to_owned(), 1)]);
    });
}

/// What a window's end was is in the order's journal: a replay that computed it
/// anew would not fit, and the order would be stuck.
#[test]
fn services_that_come_back_with_other_windows_finish_what_waits() {
    own(&Setup::with("DELIVERY_TIME", "3s"), async |shop| {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        let decided = alice.buy("P001", 1, "decided-later").await;
        let travels = alice.buy("P002", 1, "travels").await;
        bob.add("P003", 1).await;
        let unpaid = bob.checkout("paid-later").await;
        admin.approve(&travels).await;
        travels.until("in_transit").await;
        let deadline = decided.json().await["workflow"]["deadline"].clone();

        shop.kill(Component::Services);
        let other = [
            ("APPROVAL_WINDOW", "48h"),
            ("PAYMENT_WINDOW", "1h"),
            ("DELIVERY_TIME", "1s"),
        ];
        shop.start_again_with(Component::Services, &other).await;
        travels.until("delivered").await;
        assert_eq!(decided.json().await["workflow"]["deadline"], deadline);
        admin.approve(&decided).await;
        decided.until("delivered").await;
        unpaid.pay().await;
        unpaid.until("awaiting_approval").await;
        admin.approve(&unpaid).await;
        unpaid.until("delivered").await;
    });
}

#[test]
fn processes_stop_when_they_are_asked_to() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P001", 1, "interrupted").await;
        let _page = alice.stream("/stream/notifications").await;
        for part in [Component::Gateway, Component::Services, Component::Sandbox] {
            let status = shop.stop(part).await;
            assert!(status.success(), "{part:?}: {status:?}");
            shop.start_again(part).await;
        }
        order.cancel().await;
        order.until("cancelled").await;
    });
}

/// What cannot be known is a 503, never a wrong 404 or a lost callback.
#[test]
fn while_restate_is_away_nothing_is_denied() {
    own(&Setup::default(), async |shop| {
        let (alice, nobody) = (shop.alice(), shop.anonymous());
        alice.add("P001", 1).await;
        let order = alice.checkout("patient").await;
        let receipt = order.receipt("txn-patient").await;
        let mut unknown = receipt.clone();
        unknown["awakeable_id"] = json!("sign_1somebody-elses");
        let item = json!({ "product_id": 1, "quantity": 1 });
        let known = format!("/api/orders/{}", order.id);
        let callback = "/api/payment/callback";

        shop.kill(Component::Restate);
        assert_eq!(
            order.json().await["status"],
            "awaiting_payment",
            "what is known is shown"
        );
        nobody.get("/healthz").await.expect(200);
        for (who, method, path, body) in [
            (&alice, Method::GET, "/api/orders/nothing", &Value::Null),
            (&alice, Method::POST, "/api/cart/add", &item),
            (&alice, Method::POST, &format!("{known}/cancel"), &json!({})),
            (&nobody, Method::POST, callback, &receipt),
            (&nobody, Method::POST, callback, &unknown),
        ] {
            let answer = send_anyway(who.request(method, path).json(body)).await;
            let problem = answer.refusal(503);
            assert!(
                problem["detail"].to_string().contains("again"),
                "{path}: {problem}"
            );
        }
        assert_eq!(ready(&nobody).await, 503);

        shop.start_again(Component::Restate).await;
        // It says that it is up a little before it can answer every question.
        eventually("the gateway can tell again", SOON, async || {
            let ready = ready(&nobody).await;
            let unknown = alice.request(Method::GET, "/api/orders/nothing");
            let unknown = send_anyway(unknown).await.status;
            match (ready, unknown) {
                (200, 404) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        nobody
            .post(callback, &unknown)
            .await
            .problem(404, "unknown_payment");
        nobody.post(callback, &receipt).await.expect(200);
        order.until("awaiting_approval").await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;
    });
}

async fn ready(nobody: &Client<'_>) -> u16 {
    send_anyway(nobody.request(Method::GET, "/readyz"))
        .await
        .status
}
