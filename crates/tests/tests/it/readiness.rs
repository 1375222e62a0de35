//! A shop that is just being opened: it says that it is not ready, and never
//! that something is sold out which nobody has counted.

use reqwest::Method;
use serde_json::json;

use crate::reconcile::sqlite;
use crate::shop::{SOON, order_form, send_anyway, try_send};
use crate::world::{Component, Setup, eventually, own};

/// Ready means that the very next command works.
#[test]
fn a_gateway_is_not_ready_before_its_services_are_known() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        // Restate knows no services, and nobody has been told of the catalog.
        shop.begin_anew();
        shop.start_again(Component::Restate).await;
        shop.launch(Component::Gateway, &[]);
        let nobody = shop.anonymous();
        let ready = || send_anyway(nobody.request(Method::GET, "/readyz"));
        eventually("the gateway serves", SOON, async || {
            let answered = try_send(nobody.request(Method::GET, "/healthz")).await;
            match answered {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        for _ in 0..5 {
            let waits = ready().await;
            assert_eq!(waits.status, 503, "{waits:?}");
            assert_eq!(waits.body["ready"], false);
            let why = waits.body["services"].as_str().unwrap_or_default();
            assert!(why.contains("not registered"), "{waits:?}");
            assert!(waits.body["stock"].is_string(), "{waits:?}");
        }
        // A cart that is asked for says so, and when to come again.
        let cart = send_anyway(alice.request(Method::GET, "/api/cart")).await;
        assert_eq!(cart.status, 503, "{cart:?}");
        assert!(cart.retry_after.is_some(), "{cart:?}");

        shop.launch(Component::Services, &[]);
        eventually("the gateway is ready", SOON, async || {
            let answer = ready().await;
            if answer.status == 200 {
                Ok(())
            } else {
                Err(answer.text)
            }
        })
        .await;
        // At once, without another look.
        for sku in ["P001", "P012", "P024"] {
            alice.add(sku, 1).await;
        }
        let order = alice.checkout("first").await;
        order.cancel().await;
        order.until("cancelled").await;
    });
}

/// What nobody has told Inventory of is told by whoever needs it first.
#[test]
fn a_product_that_has_just_been_added_is_not_sold_out() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        sqlite(
            shop,
            &["INSERT INTO products (sku, name, price_cents, stock_qty)
               VALUES ('N001', 'Novelty', 1500, 7)"],
        )
        .await;
        let body = json!({ "sku": "N001", "quantity": 2 });
        alice.post("/api/cart/add", &body).await.expect(200);
        let order = alice.checkout("novelty").await;
        let level = shop.state("Inventory", "N001", "level").await.unwrap();
        assert_eq!(level["available"], 5, "{level}");
        order.cancel().await;
        order.until("cancelled").await;

        sqlite(
            shop,
            &["INSERT INTO products (sku, name, price_cents, stock_qty)
               VALUES ('N002', 'Novelty', 1500, 3)"],
        )
        .await;
        let products = alice.get("/api/products?q=N002").await.expect(200);
        let id = &products["products"][0]["id"];
        let restock = json!({ "quantity": 4 });
        let level = shop
            .admin()
            .post(&format!("/api/products/{id}/restock"), &restock)
            .await
            .expect(200);
        assert_eq!(level["available"], 7, "{level}");
    });
}

/// Stock that Restate does not know, though the gateway believes so, is no
/// shortage either.
#[test]
fn what_is_not_known_is_not_zero() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        sqlite(
            shop,
            &[
                "INSERT INTO products (sku, name, price_cents, stock_qty)
                 VALUES ('N003', 'Novelty', 1500, 9)",
                "INSERT INTO stock_levels (sku, version, updated_at, initial, restocked, available, reserved, committed)
                 VALUES ('N003', 1, 0, 9, 0, 9, 0, 0)",
            ],
        )
        .await;
        let body = json!({ "sku": "N003", "quantity": 2 });
        alice.post("/api/cart/add", &body).await.expect(200);
        let form = order_form("unknown");
        let asked = alice.request(Method::POST, "/api/checkout").json(&form);
        let answer = send_anyway(asked).await;
        assert!(answer.retry_after.is_some(), "{answer:?}");
        let problem = answer.problem(503, "stock_unknown");
        assert_eq!(problem["sku"], "N003");
        let order = alice.checkout("unknown").await;
        order.cancel().await;
        order.until("cancelled").await;
    });
}
