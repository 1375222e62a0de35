//! The gateway's SQLite file is disposable: it comes back from Restate.

use std::fs;

use serde_json::{Value, json};

use crate::shop::{Order, Shop, order_form, text};
use crate::world::{Component, Setup, own};

/// Orders at every stage, and one with late money.
async fn orders_at_every_stage(shop: &Shop) -> Vec<Order<'_>> {
    let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
    let delivered = alice.buy("P001", 2, "delivered").await;
    admin.approve(&delivered).await;
    delivered.until("delivered").await;
    let second = delivered.receipt("txn-again").await;
    shop.anonymous()
        .post("/api/payment/callback", &second)
        .await
        .expect(200);
    let rejected = bob.buy("P002", 1, "rejected").await;
    admin.reject(&rejected, "a test").await;
    rejected.until("rejected").await;
    bob.add("P003", 3).await;
    let declined = bob.checkout("declined").await;
    declined.decline().await;
    declined.until("payment_failed").await;
    let approvable = alice.buy("P004", 1, "approvable").await;
    alice.add("P005", 1).await;
    let pending = alice.checkout("pending").await;
    vec![delivered, rejected, declined, approvable, pending]
}

async fn end_all(shop: &Shop, orders: &[Order<'_>]) {
    let [_, _, _, approvable, pending] = orders else {
        panic!("five orders")
    };
    shop.admin().approve(approvable).await;
    approvable.until("delivered").await;
    pending.cancel().await;
    pending.until("cancelled").await;
}

/// What the gateway says of orders, stock and notifications.
async fn picture(shop: &Shop, orders: &[Order<'_>]) -> Value {
    let mut shown = Vec::new();
    for order in orders {
        let mut order = order.json().await;
        // How long it has waited is another number each time.
        order["workflow"]["elapsed_ms"] = Value::Null;
        shown.push(order);
    }
    let listing = shop.admin().get("/api/orders").await.expect(200);
    let ids = listing["orders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["order_id"].clone());
    let mut ids: Vec<_> = ids.collect();
    ids.sort_by_key(|id| text(id).to_owned());
    let stock = shop
        .admin()
        .get("/api/products?per_page=100")
        .await
        .expect(200);
    let mut told = Vec::new();
    for order in orders {
        told.push(order.by.told_of(&order.id).await);
    }
    json!({
        "orders": shown,
        "ids": ids,
        "products": stock["products"],
        "told": told,
        "alices_cart": shop.alice().cart().await,
    })
}

fn delete_database(shop: &Shop) {
    let database = shop.database();
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("{}{suffix}", database.display());
        if let Err(error) = fs::remove_file(&file) {
            assert_eq!(
                error.kind(),
                std::io::ErrorKind::NotFound,
                "{file}: {error}"
            );
        }
    }
    assert!(!database.exists());
}

#[test]
fn without_its_file_the_gateway_shows_the_same() {
    own(&Setup::default(), async |shop| {
        let orders = orders_at_every_stage(shop).await;
        let before = picture(shop, &orders).await;

        shop.stop(Component::Gateway).await;
        delete_database(shop);
        let seeded = shop.run_gateway(&["seed-demo"]);
        assert!(seeded.status.success(), "{seeded:?}");
        shop.start_again(Component::Gateway).await;

        let after = wait_for_the_same(shop, &orders, &before).await;
        assert_eq!(after, before);
        end_all(shop, &orders).await;
    });
}

/// The gateway serves before it has caught up; it must not take long.
async fn wait_for_the_same(shop: &Shop, orders: &[Order<'_>], before: &Value) -> Value {
    for order in orders {
        // A look-up that misses catches up before it is a 404.
        order.json().await;
    }
    let last = std::cell::RefCell::new(Value::Null);
    crate::world::eventually("the same picture", crate::shop::SOON, async || {
        let now = picture(shop, orders).await;
        if now == *before {
            last.replace(now);
            return Ok(());
        }
        Err(format!("{now:#}\n\nbefore:\n{before:#}"))
    })
    .await;
    last.into_inner()
}

#[test]
fn what_happened_while_the_gateway_was_away_is_shown() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        let approved = alice.buy("P001", 1, "approved").await;
        alice.add("P002", 1).await;
        let paid = alice.checkout("paid").await;
        let receipt = paid.receipt("txn-away").await;
        let awakeable = paid.awakeable().await;

        shop.stop(Component::Gateway).await;
        // One is approved at Restate's ingress and delivered, one is paid.
        let decision =
            json!({ "id": "at-restate", "verdict": "approved", "by": "admin", "reason": null });
        let approve = format!("OrderFulfillmentWorkflow/{}/Approve", approved.id);
        let answer = shop.call_signed(&approve, decision.to_string()).await;
        assert!(answer.status().is_success(), "{answer:?}");
        let path = format!("/restate/awakeables/{awakeable}/resolve");
        let answer = shop
            .ingress(&path, "application/json", receipt.to_string())
            .await;
        assert!(answer.status().is_success(), "{answer:?}");
        for (order, status) in [(&approved, "delivered"), (&paid, "awaiting_approval")] {
            crate::world::eventually(status, crate::shop::SOON, async || {
                match order.workflow_record().await {
                    Some(record) if record.status.as_str() == status => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
        }

        shop.start_again(Component::Gateway).await;
        approved.until("delivered").await;
        paid.until("awaiting_approval").await;
        let told = alice.told_of(&approved.id).await;
        assert_eq!(
            told.last().map(String::as_str),
            Some("Order delivered!"),
            "{told:?}"
        );
        shop.admin().approve(&paid).await;
        paid.until("delivered").await;
    });
}

#[test]
fn a_rebuild_repairs_what_was_damaged() {
    own(&Setup::default(), async |shop| {
        let orders = orders_at_every_stage(shop).await;
        let before = picture(shop, &orders).await;
        shop.stop(Component::Gateway).await;
        damage(shop).await;

        let rebuilt = shop.run_gateway(&["rebuild"]);
        assert!(rebuilt.status.success(), "{rebuilt:?}");
        let said = String::from_utf8_lossy(&rebuilt.stdout).into_owned();
        assert!(said.contains("rebuilt"), "{said}");

        shop.start_again(Component::Gateway).await;
        assert_eq!(picture(shop, &orders).await, before);
        end_all(shop, &orders).await;
    });
}

/// What is remembered of SQLite is read again when another program has written.
#[test]
fn what_another_program_writes_is_noticed() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        let mut page = alice.stream("/stream/page?at=%2Fproducts").await;
        page.until("Widget A").await;
        alice.get("/api/approvals").await.problem(403, "forbidden");
        write_beside(
            shop,
            &[
                "UPDATE products SET name = 'Marble', price_cents = 12345 WHERE sku = 'P001'",
                "INSERT INTO shipping_zones (zone_name, base_cost_cents) VALUES ('Moon', 99)",
            ],
        )
        .await;
        page.until("Marble").await;
        let role = "UPDATE users SET role = 'admin' WHERE username = 'alice'";
        write_beside(shop, &[role]).await;
        // Opened by somebody who might see less, or more.
        page.until_closed().await;
        assert_eq!(alice.add("P001", 1).await["subtotal_cents"], 12345);
        let mut form = order_form("there");
        form["zone"] = json!("moon");
        let placed = alice.post("/api/checkout", &form).await.expect(202);
        assert_eq!(placed["total_cents"], 12345 + 99);
        shop.accept(text(&placed["order_id"]));
        alice.get("/api/approvals").await.expect(200);
        alice.placed(&placed).cancel().await;
    });
}

/// As another program does, while the gateway serves.
async fn write_beside(shop: &Shop, statements: &[&'static str]) {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
    use sqlx::{ConnectOptions as _, Connection as _};

    let options = SqliteConnectOptions::new().filename(shop.database());
    let mut database: SqliteConnection = options.connect().await.unwrap();
    for statement in statements {
        sqlx::query(*statement)
            .execute(&mut database)
            .await
            .unwrap();
    }
    database.close().await.unwrap();
}

/// As a careless operator would: a lost order, a wrong status, wrong stock.
async fn damage(shop: &Shop) {
    let statements = [
        "DELETE FROM orders WHERE order_id = 'alice.delivered'",
        "UPDATE orders SET status = 'delivered', record = replace(record, 'rejected', 'delivered'), \
         version = 1000 WHERE order_id = 'bob.rejected'",
        "DELETE FROM notifications WHERE order_id IS NOT NULL",
        "UPDATE stock_levels SET available = 1, version = 1000",
    ];
    write_beside(shop, &statements).await;
}

#[test]
fn services_that_restart_are_heard_again() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P001", 1, "heard").await;
        let mut told = alice.stream("/stream/notifications").await;
        shop.kill(Component::Services);
        shop.start_again(Component::Services).await;
        shop.admin().approve(&order).await;
        told.until("Order delivered!").await;
        order.until("delivered").await;
    });
}
