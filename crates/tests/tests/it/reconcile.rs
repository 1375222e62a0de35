//! What differs between Restate, the read model and the outside world is found
//! and mended; what a killed invocation has left is undone.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::shop::{Client, Order, SOON, Shop, kinds_of, text};
use crate::world::{Component, Setup, eventually, own};

/// What `gateway reconcile` says and its exit code.
pub struct Said {
    pub code: i32,
    pub lines: Vec<String>,
}

pub fn reconcile(shop: &Shop, arguments: &[&str]) -> Said {
    let output = shop.run_gateway(&[&["reconcile"], arguments].concat());
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    Said {
        code: output.status.code().unwrap_or(-1),
        lines: out.lines().chain(err.lines()).map(str::to_owned).collect(),
    }
}

impl Said {
    /// A line with all of these words.
    #[track_caller]
    pub fn has(&self, words: &[&str]) {
        let found = self
            .lines
            .iter()
            .any(|line| words.iter().all(|it| line.contains(it)));
        assert!(
            found,
            "no line with {words:?} in\n{}",
            self.lines.join("\n")
        );
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.lines.join("\n"));
        self
    }
}

pub async fn sqlite(shop: &Shop, statements: &[&'static str]) {
    let options = SqliteConnectOptions::new()
        .filename(shop.database())
        .busy_timeout(SOON)
        .foreign_keys(true);
    let mut database: SqliteConnection = options.connect().await.unwrap();
    for statement in statements {
        let done = sqlx::query(*statement)
            .execute(&mut database)
            .await
            .unwrap();
        assert!(
            done.rows_affected() > 0,
            "nothing was planted by {statement}"
        );
    }
    database.close().await.unwrap();
}

/// Sets one key of an object's state, as an operator can.
pub async fn set_state(shop: &Shop, service: &str, of: &str, key: &str, value: &Value) {
    let mut state = shop.states(service, of).await;
    state.insert(key.to_owned(), value.to_string());
    shop.put_state(service, of, &state).await;
    eventually("the state is set", SOON, async || {
        match shop.state(service, of, key).await {
            Some(now) if now == *value => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// Asks the provider or the carrier behind the shop's back.
pub async fn outside(shop: &Shop, path: &str, body: Value) -> Value {
    let answer = shop
        .http
        .request(Method::POST, format!("{}{path}", shop.sandbox))
        .header("idempotency-key", format!("planted:{path}:{body}"))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    answer.json().await.unwrap()
}

/// Money that the shop knows nothing of, held or taken. Answers its payment's id.
async fn plant_money(shop: &Shop, order: &str, awakeable: &str, captured: bool) -> String {
    let payment = json!({ "order_id": order, "awakeable_id": awakeable, "amount": 700 });
    let payment = outside(shop, "/payments", payment).await;
    shop.faults_of(order, json!({ "payments": { "silent": true } }))
        .await;
    shop.use_payment_page(text(&payment["pay_url"]), "pay")
        .await;
    let id = text(&payment["payment_id"]).to_owned();
    if !captured {
        return id;
    }
    let paid = shop.ledger(order).await;
    let mut money = paid.payments.iter().flat_map(|it| &it.transactions);
    let held = money.find(|it| it.status == "authorized").unwrap();
    let capture = json!({ "transaction_id": held.transaction_id, "amount": 700 });
    outside(shop, &format!("/payments/{id}/capture"), capture).await;
    id
}

/// Orders that have ended well and badly, and one that waits.
struct Orders<'a> {
    delivered: Order<'a>,
    rejected: Order<'a>,
    declined: Order<'a>,
    waiting: Order<'a>,
}

async fn orders(shop: &Shop) -> Orders<'_> {
    let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
    let delivered = alice.buy("P001", 2, "delivered").await;
    admin.approve(&delivered).await;
    delivered.until("delivered").await;
    let rejected = bob.buy("P002", 1, "rejected").await;
    admin.reject(&rejected, "a test").await;
    rejected.until("rejected").await;
    bob.add("P003", 3).await;
    let declined = bob.checkout("declined").await;
    declined.decline().await;
    declined.until("payment_failed").await;
    let waiting = approvable(&alice, "P004", "waiting").await;
    Orders {
        delivered,
        rejected,
        declined,
        waiting,
    }
}

/// An order whose workflow has begun and waits for an admin.
async fn approvable<'a>(person: &Client<'a>, sku: &str, order_id: &str) -> Order<'a> {
    let order = person.buy(sku, 1, order_id).await;
    eventually("the approval is asked for", SOON, async || {
        let shown = order.json().await;
        if kinds_of(&shown).contains(&"approval_requested".to_owned()) {
            Ok(())
        } else {
            Err(shown.to_string())
        }
    })
    .await;
    order
}

async fn end(shop: &Shop, orders: &Orders<'_>) {
    shop.admin().approve(&orders.waiting).await;
    orders.waiting.until("delivered").await;
}

#[test]
fn a_healthy_shop_has_no_differences() {
    own(&Setup::default(), async |shop| {
        let orders = orders(shop).await;
        let said = reconcile(shop, &[]).exits(0);
        said.has(&[
            "Compared 4 orders",
            "1 under way",
            "payments and parcels",
            "no differences",
        ]);
        // One order, whatever it is doing, and twice.
        for order in [
            &orders.delivered,
            &orders.rejected,
            &orders.declined,
            &orders.waiting,
        ] {
            for _ in 0..2 {
                reconcile(shop, &[&order.id, "--repair"]).exits(0);
            }
        }
        orders.waiting.until("awaiting_approval").await;
        reconcile(shop, &["alice.nothing"])
            .exits(1)
            .has(&["no order alice.nothing"]);
        reconcile(shop, &["nothing"])
            .exits(2)
            .has(&["alice.order-1"]);
        end(shop, &orders).await;
    });
}

/// Restate and the read model are asked one after the other, and a product
/// sells meanwhile.
#[test]
fn what_changes_all_the_time_is_no_difference() {
    own(&Setup::default(), async |shop| {
        let (admin, busy) = (shop.admin(), shop.product("P001").id);
        let restock = format!("/api/products/{busy}/restock");
        let sells = async {
            loop {
                admin
                    .post(&restock, &json!({ "quantity": 1 }))
                    .await
                    .expect(200);
            }
        };
        let looks = async {
            for _ in 0..3 {
                let mut command = tokio::process::Command::from(shop.gateway_command());
                let said = command.args(["reconcile", "--repair"]).output().await;
                let said = said.expect("the gateway can be started");
                let words = String::from_utf8_lossy(&said.stdout);
                assert!(words.contains("no differences"), "{said:?}");
            }
        };
        tokio::select! {
            () = looks => {}
            () = sells => {}
        }
    });
}

#[test]
fn a_damaged_read_model_is_mended_while_it_is_served() {
    own(&Setup::default(), async |shop| {
        let orders = orders(shop).await;
        let bystander = orders.waiting.json().await;
        sqlite(
            shop,
            &[
                "DELETE FROM orders WHERE order_id = 'bob.declined'",
                "UPDATE orders SET status = 'cancelled', version = 1000, total_cents = 1 \
                 WHERE order_id = 'bob.rejected'",
                "DELETE FROM order_payments WHERE order_id = 'alice.delivered' AND attempt = 1",
                "UPDATE orders SET pieces = 7 WHERE order_id = 'alice.delivered'",
                "INSERT INTO order_payments (order_id, attempt, status, amount_cents) \
                 VALUES ('alice.delivered', 99, 'captured', 1)",
                "DELETE FROM notifications WHERE id = 'alice.delivered:4'",
                "UPDATE notifications SET text = 'nonsense' WHERE id = 'alice.delivered:5'",
                "UPDATE order_payments SET transaction_id = 'another' WHERE order_id = 'alice.waiting'",
                "UPDATE stock_levels SET available = 1, version = 1000 WHERE sku = 'P001'",
                "UPDATE products SET stock_qty = 3 WHERE sku = 'P002'",
                "INSERT INTO orders (order_id, user_id, version, status, created_at, updated_at, \
                 status_since, total_cents, pieces, search_text, record) \
                 VALUES ('carol.invented', 'carol', 1, 'shipping', 0, 0, 0, 100, 1, '', '{}')",
            ],
        )
        .await;

        let said = reconcile(shop, &[]).exits(3);
        said.has(&[
            "read model: order bob.declined is missing",
            "payment_failed",
            "--repair",
        ]);
        said.has(&[
            "read model: order bob.rejected",
            "status is \"cancelled\"",
            "Restate holds \"rejected\"",
        ]);
        said.has(&[
            "read model: order alice.delivered",
            "order_payments 1 is missing",
            "captured",
        ]);
        said.has(&[
            "read model: order alice.delivered",
            "pieces is 7",
            "Restate holds 2",
        ]);
        said.has(&[
            "read model: order alice.delivered",
            "order_payments 99 should not be there",
            "captured",
        ]);
        said.has(&[
            "read model: order alice.delivered",
            "notifications alice.delivered:4 is missing",
        ]);
        said.has(&[
            "read model: order alice.delivered",
            "notifications alice.delivered:5",
            "nonsense",
        ]);
        said.has(&[
            "read model: order alice.waiting",
            "transaction_id is \"another\"",
        ]);
        said.has(&["read model: stock of P001", "available is 1,"]);
        said.has(&["read model: stock of P002", "stock_qty is 3,"]);
        said.has(&[
            "read model: order carol.invented is shown as shipping",
            "Restate holds no such order",
        ]);
        said.has(&["12 differences", "--repair"]);
        reconcile(shop, &[]).exits(3);

        let said = reconcile(shop, &["--repair"]).exits(0);
        said.has(&["12 differences, 0 left"]);
        reconcile(shop, &[]).exits(0).has(&["no differences"]);
        shop.alice()
            .get("/api/orders/carol.invented")
            .await
            .refusal(404);
        let mut mended = orders.waiting.json().await;
        mended["workflow"]["elapsed_ms"] = bystander["workflow"]["elapsed_ms"].clone();
        assert_eq!(mended, bystander);
        end(shop, &orders).await;
    });
}

/// Restate forgets an order before what is still to come back of it: that is compared
/// all the same, and the order itself is kept.
#[test]
fn what_came_after_the_delivery_of_a_forgotten_order_is_mended() {
    own(&Setup::default(), async |shop| {
        let (alice, admin) = (shop.alice(), shop.admin());
        let order = alice.buy("P001", 2, "forgotten").await;
        admin.approve(&order).await;
        order.until("delivered").await;
        let refunds = format!("/api/orders/{}/refunds", order.id);
        let goodwill = json!({ "amount_cents": 100, "reason": "sorry" });
        admin.post(&refunds, &goodwill).await.expect(201);
        let returns = format!("/api/orders/{}/returns", order.id);
        let ask = json!({ "items": [{ "sku": "P001", "quantity": 1 }], "reason": "too small" });
        alice.post(&returns, &ask).await.expect(201);
        eventually("the refund is made", SOON, async || {
            let refund = &order.json().await["after_delivery"]["refunds"][0];
            if refund["status"] == "refunded" {
                Ok(())
            } else {
                Err(refund.to_string())
            }
        })
        .await;
        let record = order.workflow_record().await;
        let query = format!(
            "SELECT id FROM sys_invocation WHERE target = '{}'",
            run_of(&order)
        );
        let id = text(&shop.sql(&query).await[0]["id"]).to_owned();
        let purged = shop.run_restate(&["invocations", "purge", &id, "--yes"]);
        assert!(purged.status.success(), "{purged:?}");
        eventually("its record is gone", SOON, async || {
            match order.workflow_record().await {
                None => Ok(()),
                Some(record) => Err(format!("{record:?}")),
            }
        })
        .await;
        reconcile(shop, &[]).exits(0).has(&["no differences"]);

        let before = order.json().await;
        sqlite(
            shop,
            &[
                // The others follow from it.
                "UPDATE after_sales SET record = json_set(record, '$.version', 1) \
                 WHERE order_id = 'alice.forgotten'",
                "UPDATE returns SET status = 'refused' WHERE order_id = 'alice.forgotten'",
                "DELETE FROM refunds WHERE order_id = 'alice.forgotten'",
            ],
        )
        .await;
        let said = reconcile(shop, &[]).exits(3);
        said.has(&[
            "read model: order alice.forgotten",
            "status is \"refused\"",
            "Restate holds \"asked\"",
        ]);
        said.has(&["read model: order alice.forgotten", "after_sales"]);
        reconcile(shop, &["--repair"]).exits(0);
        reconcile(shop, &[]).exits(0);
        assert_eq!(order.json().await, before);
        // What is checked at the end is what Restate holds.
        let workflow = "OrderFulfillmentWorkflow";
        set_state(shop, workflow, &order.id, "record", &json!(record)).await;
    });
}

/// A gateway that has missed something would catch up: what is stale is found
/// when none runs.
#[test]
fn a_stale_order_and_late_money_are_caught_up() {
    own(&Setup::default(), async |shop| {
        let orders = orders(shop).await;
        let second = orders.delivered.receipt("txn-again").await;
        shop.stop(Component::Gateway).await;
        let callback = json!({ "order_id": orders.delivered.id, "receipt": second });
        let handler = "UserSession/alice/PaymentCallback";
        let answer = shop.call_signed(handler, callback.to_string()).await;
        assert!(answer.status().is_success(), "{answer:?}");
        let decision = json!({ "id": "behind-its-back", "verdict": "rejected", "by": "admin", "reason": null });
        let approve = format!("OrderFulfillmentWorkflow/{}/Approve", orders.waiting.id);
        let answer = shop.call_signed(&approve, decision.to_string()).await;
        assert!(answer.status().is_success(), "{answer:?}");
        eventually("it is rejected", SOON, async || {
            match orders.waiting.workflow_record().await {
                Some(record) if record.status.as_str() == "rejected" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;

        let said = reconcile(shop, &[]).exits(3);
        said.has(&[
            "order alice.waiting is stale: shown as awaiting_approval",
            "Restate holds rejected",
        ]);
        said.has(&["order alice.delivered late_money is missing", "txn-again"]);
        reconcile(shop, &["--repair"]).exits(0);
        reconcile(shop, &[]).exits(0);
        shop.start_again(Component::Gateway).await;
        orders.waiting.until("rejected").await;
    });
}

#[test]
fn what_restate_and_the_ledger_should_not_hold_is_given_back() {
    own(&Setup::default(), async |shop| {
        let orders = orders(shop).await;
        // Pieces for an order that nobody has, and for one that has ended.
        for (sku, attempt, pieces) in [("P005", "carol.gone#1", 2), ("P002", "bob.rejected#1", 1)] {
            let mut level = shop.state("Inventory", sku, "level").await.unwrap();
            for (field, change) in [("available", -pieces), ("reserved", pieces)] {
                level[field] = json!(level[field].as_i64().unwrap() + change);
            }
            set_state(shop, "Inventory", sku, "level", &level).await;
            set_state(
                shop,
                "Inventory",
                sku,
                &format!("reservation:{attempt}"),
                &json!(pieces),
            )
            .await;
        }
        // A level that fits nothing.
        let mut level = shop.state("Inventory", "P006", "level").await.unwrap();
        level["available"] = json!(level["available"].as_i64().unwrap() - 4);
        set_state(shop, "Inventory", "P006", "level", &level).await;
        // Money and a parcel for orders that have failed; the second payment of
        // one of them is captured.
        let declined = orders.declined.json().await;
        for (order, awakeable, captured) in [
            ("bob.rejected", "sign_planted-1", false),
            (
                "bob.declined",
                text(&declined["payment"]["awakeable_id"]),
                true,
            ),
            ("carol.nobody", "sign_planted-3", false),
        ] {
            plant_money(shop, order, awakeable, captured).await;
        }
        let parcel = json!({ "order_id": "bob.declined", "address": "1 Test Street", "lines": [{ "sku": "P003", "quantity": 3 }] });
        outside(shop, "/carrier/shipments", parcel).await;

        let said = reconcile(shop, &[]).exits(3);
        said.has(&[
            "Restate: stock of P005 has 2 reserved for carol.gone#1",
            "gives the pieces back",
        ]);
        said.has(&[
            "Restate: stock of P002 has 1 reserved for bob.rejected#1",
            "rejected",
        ]);
        said.has(&["Restate: stock of P006", "its open reservations are 0"]);
        said.has(&[
            "ledger: order bob.rejected is rejected, but",
            "7.00",
            "authorized",
        ]);
        said.has(&[
            "ledger: order bob.declined is payment_failed, but",
            "7.00",
            "captured",
        ]);
        said.has(&[
            "ledger: order bob.declined is payment_failed, but parcel",
            "is booked",
        ]);
        said.has(&[
            "ledger: order carol.nobody is held by nobody, but",
            "authorized",
        ]);
        reconcile(shop, &["--repair"]).exits(0);
        reconcile(shop, &[]).exits(0).has(&["no differences"]);
        let declined = orders.declined.ledger().await;
        let captured = declined
            .payments
            .iter()
            .find(|it| it.effects.capture > 0)
            .unwrap();
        assert_eq!(
            (captured.effects.refund, captured.status.as_str()),
            (1, "refunded")
        );
        let nobodys = shop.ledger("carol.nobody").await;
        assert_eq!(nobodys.payment().status, "voided");
        // Now it is somebody's: the checker minds what belongs to nobody.
        shop.faults_of("carol.nobody", json!({ "payments": { "silent": false } }))
            .await;
        let carol = approvable(&shop.person("carol"), "P007", "nobody").await;
        carol.cancel().await;
        carol.until("cancelled").await;
        end(shop, &orders).await;
    });
}

#[test]
fn who_is_away_is_said_in_one_sentence() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let order = alice.checkout("waits").await;
        let elsewhere = ["--database-url", "sqlite:///nowhere/waybill.db"];
        reconcile(shop, &elsewhere)
            .exits(1)
            .has(&["there is no file /nowhere/waybill.db"]);
        let nowhere = ["--sandbox-url", "http://127.0.0.1:1"];
        reconcile(shop, &nowhere)
            .exits(1)
            .has(&["SANDBOX_URL", "no ledger"]);
        reconcile(shop, &["--sandbox-url", ""])
            .exits(0)
            .has(&["no ledger", "nothing outside was compared"]);
        shop.kill(Component::Restate);
        let said = reconcile(shop, &["--repair"]).exits(1);
        said.has(&["nothing could be compared", "is not reachable"]);
        assert_eq!(said.lines.len(), 1, "{:?}", said.lines);
        shop.start_again(Component::Restate).await;
        order.cancel().await;
        order.until("cancelled").await;
    });
}

/// Kills as `restate invocations kill` does: no compensation runs.
async fn kill(shop: &Shop, target: &str) {
    let query = format!(
        "SELECT id FROM sys_invocation WHERE target = '{target}' AND status <> 'completed'"
    );
    let rows = shop.sql(&query).await;
    assert_eq!(rows.len(), 1, "{target}: {rows:?}");
    let id = text(&rows[0]["id"]).to_owned();
    let killed = shop.run_restate(&["invocations", "kill", &id, "--yes"]);
    assert!(killed.status.success(), "{killed:?}");
    eventually("it is dead", SOON, async || {
        let left = shop.sql(&query).await;
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
}

fn run_of(order: &Order<'_>) -> String {
    format!("OrderFulfillmentWorkflow/{}/Run", order.id)
}

/// Cleans up one order, again and again, and shows how it has ended.
async fn clean_up(shop: &Shop, order: &Order<'_>) -> Vec<String> {
    reconcile(shop, &[&order.id]).exits(3).has(&[
        "Restate",
        &order.id,
        "no invocation works on it",
        "--repair",
    ]);
    reconcile(shop, &[&order.id, "--repair"]).exits(0);
    let ended = order.until("cancelled").await;
    reconcile(shop, &[&order.id, "--repair"]).exits(0);
    assert_eq!(order.json().await["events"], ended["events"]);
    kinds_of(&ended)
}

#[test]
fn a_run_that_was_killed_while_it_waited_is_undone() {
    own(&Setup::default(), async |shop| {
        let order = approvable(&shop.alice(), "P001", "killed").await;
        kill(shop, &run_of(&order)).await;
        let kinds = clean_up(shop, &order).await;
        assert_eq!(
            kinds[kinds.len() - 3..],
            ["cancelled", "payment_voided", "stock_released"]
        );
        let told = shop.alice().told_of(&order.id).await;
        assert!(
            told.iter()
                .any(|it| it.contains("its invocation was killed")),
            "{told:?}"
        );
        // Nobody decides it any more.
        let late = shop
            .admin()
            .try_decide(&order.id, &json!({ "approved": true }))
            .await;
        assert_eq!(late.status, 409, "{late:?}");
    });
}

#[test]
fn a_run_that_was_killed_while_the_carrier_booked_leaves_no_parcel() {
    own(&Setup::default(), async |shop| {
        let order = approvable(&shop.alice(), "P001", "killed").await;
        shop.faults_of(&order.id, json!({ "carrier": { "delay_ms": 3000 } }))
            .await;
        shop.admin().approve(&order).await;
        eventually("a parcel that nobody here knows of", SOON, async || {
            let ledger = order.ledger().await;
            if ledger.shipments.iter().any(|it| it.effects.book == 1) {
                Ok(())
            } else {
                Err(format!("{ledger:?}"))
            }
        })
        .await;
        kill(shop, &run_of(&order)).await;
        shop.faults_of(&order.id, json!({ "carrier": { "delay_ms": 0 } }))
            .await;
        let kinds = clean_up(shop, &order).await;
        assert_eq!(
            kinds[kinds.len() - 3..],
            ["cancelled", "payment_voided", "stock_released"]
        );
        assert_eq!(order.ledger().await.shipment().effects.cancel, 1);
    });
}

const BOOKING: &str = "ShippingService/InitiateShipment";

async fn until_the_booking_is_on_its_way(order: &Order<'_>) {
    let (shop, run) = (order.by.shop, run_of(order));
    eventually("the booking is on its way", SOON, async || {
        let calls = shop.open_invocations(BOOKING, Some(&run)).await;
        if shop.have_step(&calls, "Command: Run").await {
            Ok(())
        } else {
            Err(format!("{calls:?}"))
        }
    })
    .await;
}

/// It arrives as a repeat, after its parcel was booked and called back.
async fn the_late_booking_books_nothing(order: &Order<'_>) {
    eventually("the late booking has arrived", SOON, async || {
        let requests = order.ledger().await.shipment().requests;
        if requests.book >= 2 {
            Ok(())
        } else {
            Err(format!("{requests:?}"))
        }
    })
    .await;
    let effects = order.ledger().await.shipment().effects;
    assert_eq!((effects.book, effects.cancel), (1, 1));
}

/// The hardest: the booking is still on its way when all is cleaned up.
#[test]
fn a_booking_that_arrives_after_the_clean_up_books_nothing() {
    own(&Setup::default(), async |shop| {
        let order = approvable(&shop.alice(), "P001", "killed").await;
        shop.faults_of(&order.id, json!({ "carrier": { "lag_ms": 12_000 } }))
            .await;
        shop.admin().approve(&order).await;
        until_the_booking_is_on_its_way(&order).await;
        kill(shop, &run_of(&order)).await;
        shop.faults_of(&order.id, json!({ "carrier": { "lag_ms": 0 } }))
            .await;
        clean_up(shop, &order).await;
        the_late_booking_books_nothing(&order).await;
    });
}

/// The order itself finds out and undoes: nobody has to clean up.
#[test]
fn a_booking_whose_own_call_was_killed_leaves_no_parcel() {
    own(&Setup::default(), async |shop| {
        let order = approvable(&shop.alice(), "P001", "killed").await;
        shop.faults_of(&order.id, json!({ "carrier": { "lag_ms": 4_000 } }))
            .await;
        shop.admin().approve(&order).await;
        until_the_booking_is_on_its_way(&order).await;
        kill(shop, BOOKING).await;
        shop.faults_of(&order.id, json!({ "carrier": { "lag_ms": 0 } }))
            .await;
        order.until("shipping_failed").await;
        the_late_booking_books_nothing(&order).await;
    });
}

/// Money that the provider has taken all the same cannot be voided.
#[test]
fn money_that_was_captured_behind_our_back_is_refunded_when_its_order_ends() {
    own(&Setup::default(), async |shop| {
        let order = approvable(&shop.alice(), "P001", "taken").await;
        let (_, pay_url) = order.payment_page().await;
        let id = pay_url.rsplit('/').next().expect("the page's last part");
        let due = order.json().await;
        let capture = json!({
            "transaction_id": due["payment"]["transaction_id"],
            "amount": due["total_cents"],
        });
        outside(shop, &format!("/payments/{id}/capture"), capture).await;
        shop.admin().reject(&order, "a test").await;
        order.until("rejected").await;
        let effects = order.ledger().await.payment().effects;
        assert_eq!((effects.capture, effects.refund), (1, 1));
    });
}

/// An id can be used again once it is forgotten: money that the first order of
/// that name has brought is not the second's to give back.
#[test]
fn money_of_another_order_with_the_same_id_is_left_to_a_person() {
    own(&Setup::default(), async |shop| {
        let order = approvable(&shop.bob(), "P001", "rejected").await;
        shop.admin().reject(&order, "a test").await;
        order.until("rejected").await;
        let id = plant_money(shop, &order.id, "sign_of-the-first", true).await;
        for arguments in [&[][..], &["--repair"]] {
            reconcile(shop, arguments).exits(3).has(&[
                "ledger: order bob.rejected is rejected, but",
                "of a payment that it never asked for are captured",
            ]);
        }
        let ledger = order.ledger().await;
        let theirs = ledger.payments.iter().find(|it| it.effects.capture > 0);
        let theirs = theirs.expect("it was captured");
        assert_eq!(theirs.effects.refund, 0);
        // The person does it, so that nothing is held at the end.
        let refund = json!({ "transaction_id": theirs.transactions[0].transaction_id });
        outside(shop, &format!("/payments/{id}/refund"), refund).await;
        reconcile(shop, &[]).exits(0);
    });
}

#[test]
fn a_run_that_was_killed_while_the_provider_captured_keeps_no_money() {
    own(&Setup::default(), async |shop| {
        let order = approvable(&shop.alice(), "P001", "killed").await;
        shop.faults_of(
            &order.id,
            json!({ "payments": { "answer_delay_ms": 3000 } }),
        )
        .await;
        shop.admin().approve(&order).await;
        eventually("money that nobody here knows of", SOON, async || {
            let ledger = order.ledger().await;
            if ledger.payment().effects.capture == 1 {
                Ok(())
            } else {
                Err(format!("{ledger:?}"))
            }
        })
        .await;
        kill(shop, &run_of(&order)).await;
        shop.faults_of(&order.id, json!({ "payments": { "answer_delay_ms": 0 } }))
            .await;
        clean_up(shop, &order).await;
        let effects = order.ledger().await.payment().effects;
        assert_eq!((effects.capture, effects.refund), (1, 1));
    });
}

#[test]
fn a_run_that_was_killed_in_transit_is_undone_in_reverse() {
    own(&Setup::with("DELIVERY_TIME", "1h"), async |shop| {
        let order = approvable(&shop.alice(), "P001", "killed").await;
        shop.admin().approve(&order).await;
        order.until("in_transit").await;
        // While it lives, it is left alone.
        reconcile(shop, &[&order.id, "--repair"]).exits(0);
        order.until("in_transit").await;
        kill(shop, &run_of(&order)).await;
        // Interrupted after its first step, a clean-up goes on the next time.
        let record = order.workflow_record().await.unwrap();
        let left = json!({ "record": record, "by": "an operator", "reason": null });
        let take_back = "UserSession/alice/TakeBack";
        let taken = shop.call_signed(take_back, left.to_string()).await;
        assert!(taken.status().is_success(), "{taken:?}");
        let kinds = clean_up(shop, &order).await;
        assert_eq!(
            kinds[kinds.len() - 4..],
            [
                "cancelled",
                "payment_refunded",
                "shipment_cancelled",
                "stock_released"
            ]
        );
        assert_eq!(
            order.ledger().await.story(),
            "authorize book capture refund cancel"
        );
    });
}

/// Also after the dead run was purged, and its record with it: the read model's
/// is the last one.
#[test]
fn a_run_that_was_killed_and_purged_is_undone() {
    own(&Setup::with("DELIVERY_TIME", "1h"), async |shop| {
        let order = approvable(&shop.alice(), "P001", "purged").await;
        shop.admin().approve(&order).await;
        order.until("in_transit").await;
        let query = format!(
            "SELECT id FROM sys_invocation WHERE target = '{}'",
            run_of(&order)
        );
        let id = text(&shop.sql(&query).await[0]["id"]).to_owned();
        kill(shop, &run_of(&order)).await;
        let purged = shop.run_restate(&["invocations", "purge", &id, "--yes"]);
        assert!(purged.status.success(), "{purged:?}");
        reconcile(shop, &[])
            .exits(3)
            .has(&["alice.purged is shown as in_transit, but its workflow is gone"]);
        reconcile(shop, &["--repair"]).exits(0);
        order.until("cancelled").await;
    });
}

#[test]
fn a_payment_whose_wait_was_killed_is_settled() {
    own(&Setup::default(), async |shop| {
        let (alice, bob) = (shop.alice(), shop.bob());
        alice.add("P001", 1).await;
        let unpaid = alice.checkout("unpaid").await;
        let (_, pay_url) = unpaid.payment_page().await;
        kill(shop, "UserSession/alice/AwaitPayment").await;
        let kinds = clean_up(shop, &unpaid).await;
        assert_eq!(kinds[kinds.len() - 2..], ["cancelled", "stock_released"]);
        shop.use_payment_page(&pay_url, "pay").await;
        eventually("nobody can pay it", SOON, async || {
            let status = unpaid.ledger().await.payment().status.clone();
            if status == "voided" {
                Ok(())
            } else {
                Err(status)
            }
        })
        .await;

        // Paid after the wait was killed: the callback settles it by itself.
        bob.add("P001", 1).await;
        let paid = bob.checkout("paid").await;
        kill(shop, "UserSession/bob/AwaitPayment").await;
        paid.pay().await;
        paid.until("awaiting_approval").await;
        shop.admin().approve(&paid).await;
        paid.until("delivered").await;
    });
}
