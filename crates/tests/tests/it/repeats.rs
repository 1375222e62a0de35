//! The same request again, the same key with another request, the same order on
//! other terms, and what is asked for at once after an answer: every 2xx is true
//! of what that request asked, and holds for the next one.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use reqwest::{Method, header};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::shop::{Answer, Client, Order, SOON, Shop, order_form, send, text};
use crate::world::{Setup, eventually, own, shared};

/// A checkout of these terms.
async fn check_out(by: &Client<'_>, terms: &Value) -> Answer {
    let answer = by.post("/api/checkout", terms).await;
    if matches!(answer.status, 200 | 202) {
        by.shop.accept(text(&answer.body["order_id"]));
    }
    answer
}

#[test]
fn a_pending_order_is_not_answered_to_other_terms() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P004", 1).await;
        let terms =
            json!({ "order_id": "o1", "zone": "Local", "shipping_address": "1 Old Street" });
        let order = alice.placed(&check_out(&alice, &terms).await.expect(202));
        let placed = order.json().await;
        let with = |name: &str, value: Value| {
            let mut other = terms.clone();
            other[name] = value;
            other
        };
        for other in [
            with("zone", json!("International")),
            with("shipping_address", json!("2 New Avenue")),
            with("expected_total_cents", json!(order.total + 1)),
            json!({ "order_id": "o1", "zone": "International",
                "shipping_address": "2 New Avenue", "expected_total_cents": 7500 }),
            json!({ "order_id": "o1", "zone": "domestic" }),
        ] {
            let problem = check_out(&alice, &other).await.problem(409, "other_terms");
            // The terms that stand, and what to do.
            assert_eq!(problem["zone"], "Local", "{other}");
            assert_eq!(problem["shipping_address"], "1 Old Street", "{other}");
            assert_eq!(problem["total_cents"], order.total, "{other}");
            let detail = text(&problem["detail"]);
            assert!(detail.contains("cancel it"), "{detail}");
        }
        // What is left out changes nothing, and what is said again is the same.
        for same in [
            json!({ "order_id": "o1" }),
            json!({ "order_id": "o1", "zone": "local" }),
            json!({ "order_id": "o1", "shipping_address": " 1 Old Street " }),
            with("expected_total_cents", json!(order.total)),
        ] {
            let again = check_out(&alice, &same).await.expect(202);
            assert_eq!(again["total_cents"], order.total, "{same}");
        }
        let now = order.json().await;
        for term in ["zone", "shipping_address", "total_cents", "payment"] {
            assert_eq!(now[term], placed[term], "{term}");
        }
        order
            .call_back(&format!("txn-{}", order.id))
            .await
            .expect(200);
        // Paid, it is paid, whatever is asked for.
        let other = with("zone", json!("International"));
        let paid = check_out(&alice, &other).await.expect(200);
        assert_eq!(paid["already_processed"], true, "{paid}");
        shop.admin().approve(&order).await;
        let shipped = order.until("delivered").await;
        assert_eq!(shipped["shipping_address"], "1 Old Street");
    });
}

/// A failed order is tried again on the terms it had, unless others are said.
#[test]
fn what_a_second_attempt_leaves_out_is_as_it_was() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P004", 1).await;
        let terms =
            json!({ "order_id": "again", "zone": "Local", "shipping_address": "1 Old Street" });
        let order = alice.placed(&check_out(&alice, &terms).await.expect(202));
        order.decline().await;
        order.until("payment_failed").await;
        let second = alice.placed(
            &check_out(&alice, &json!({ "order_id": "again" }))
                .await
                .expect(202),
        );
        assert_eq!(second.total, order.total);
        assert_eq!(second.json().await["shipping_address"], "1 Old Street");
        second.decline().await;
        second.until("payment_failed").await;
        let moved = json!({ "order_id": "again", "shipping_address": "2 New Avenue" });
        let third = alice.placed(&check_out(&alice, &moved).await.expect(202));
        assert_eq!(third.json().await["shipping_address"], "2 New Avenue");
        third.cancel().await;
        third.until("cancelled").await;
    });
}

/// Twenty callers of one order in four zones: whoever is told yes is told of
/// their own zone.
#[test]
fn of_twenty_callers_in_four_zones_each_yes_is_true() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P004", 1).await;
        let zones = alice.get("/api/zones").await.expect(200);
        let zones: Vec<_> = zones["zones"]
            .as_array()
            .unwrap()
            .iter()
            .map(|zone| text(&zone["zone"]).to_owned())
            .collect();
        assert_eq!(zones.len(), 4, "{zones:?}");
        let asked: Vec<_> = zones.iter().cycle().take(20).collect();
        let answers = join_all(asked.iter().map(async |zone| {
            let form = json!({ "order_id": "shared", "zone": zone, "shipping_address": "1 Main" });
            check_out(&alice, &form).await
        }))
        .await;
        let order = answers
            .iter()
            .find(|answer| answer.status == 202)
            .map(|answer| alice.placed(&answer.body))
            .expect("somebody places it");
        let placed = order.json().await["zone"].clone();
        for (zone, answer) in asked.iter().zip(answers) {
            if *zone == text(&placed) {
                answer.expect(202);
            } else {
                let problem = answer.problem(409, "other_terms");
                assert_eq!(problem["zone"], placed);
            }
        }
        order.cancel().await;
        order.until("cancelled").await;
    });
}

/// The provider's 200 says that the order is paid. So it is for whoever comes
/// next, without a pause.
#[test]
fn what_a_callback_has_promised_holds_for_the_next_request() {
    shared(async |shop| {
        let (alice, admin, nobody) = (shop.alice(), shop.admin(), shop.anonymous());
        let decide = async |order: &Order<'_>, approved: bool| {
            let decision = json!({ "approved": approved, "reason": "at once" });
            admin.try_decide(&order.id, &decision).await.expect(202)
        };
        for n in 0..20 {
            alice.add("P024", 1).await;
            let order = alice.checkout(&format!("at-once-{n}")).await;
            let receipt = order.receipt(&format!("txn-{}", order.id)).await;
            let paid = nobody.post("/api/payment/callback", &receipt).await;
            assert_eq!(paid.expect(200)["result"], "accepted");
            match n % 5 {
                0 => {
                    decide(&order, true).await;
                    order.until("delivered").await;
                }
                1 => {
                    decide(&order, false).await;
                    order.until("rejected").await;
                }
                2 => {
                    order.cancel().await;
                    order.until("cancelled").await;
                }
                3 => {
                    let again = alice
                        .try_checkout(&format!("at-once-{n}"))
                        .await
                        .expect(200);
                    assert_eq!(again["already_processed"], true, "{again}");
                    assert_eq!(again["status"], "awaiting_approval", "{again}");
                    order.cancel().await;
                    order.until("cancelled").await;
                }
                _ => {
                    let fetched = order.json().await;
                    assert_eq!(fetched["status"], "awaiting_approval", "{fetched}");
                    let page = alice.request(Method::GET, &format!("/orders/{}", order.id));
                    let page = send(page.header(header::ACCEPT, "text/html")).await;
                    assert!(page.text.contains("Awaiting approval"), "{}", page.text);
                    let queue = admin.get("/api/approvals?per_page=100").await.expect(200);
                    assert!(queue.to_string().contains(&order.id), "{queue}");
                    order.cancel().await;
                    order.until("cancelled").await;
                }
            }
        }
    });
}

/// The same at another gateway, which has only heard of it.
#[test]
fn what_was_promised_holds_at_another_gateway() {
    own(&Setup::default(), async |shop| {
        use crate::world::Component;
        shop.start_beside(Component::Gateway2).await;
        let (alice, admin) = (shop.alice(), shop.admin().at(Component::Gateway2));
        for n in 0..6 {
            alice.add("P024", 1).await;
            let order = alice.checkout(&format!("elsewhere-{n}")).await;
            order
                .call_back(&format!("txn-{}", order.id))
                .await
                .expect(200);
            if n % 2 == 0 {
                admin.approve(&order).await;
                order.until("delivered").await;
            } else {
                let there = alice.clone().at(Component::Gateway2);
                let again = there.try_checkout(&format!("elsewhere-{n}")).await;
                assert_eq!(again.expect(200)["already_processed"], true);
                let path = format!("/api/orders/{}/cancel", order.id);
                there.post(&path, &json!({})).await.expect(202);
                order.until("cancelled").await;
            }
        }
    });
}

/// An order that is not paid cannot be decided, and says when to come again.
#[test]
fn what_is_not_ready_says_when_to_come_again() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P004", 1).await;
        let order = alice.checkout("unpaid").await;
        let answer = shop
            .admin()
            .try_decide(&order.id, &json!({ "approved": true }))
            .await;
        assert!(answer.retry_after.is_some(), "{answer:?}");
        answer.problem(409, "not_ready");
        order.cancel().await;
        order.until("cancelled").await;
    });
}

/// One write that takes a key, in two wordings.
struct Write<'a> {
    by: Client<'a>,
    /// As the description of the API names it.
    route: &'static str,
    path: String,
    body: Value,
    other: Value,
    /// Its answer.
    status: u16,
}

/// Every write that takes a key. Each can be done when its turn comes.
#[expect(clippy::too_many_lines, reason = "a list, an entry for each route")]
async fn writes<'a>(shop: &'a Shop) -> Vec<Write<'a>> {
    let (alice, admin) = (shop.alice(), shop.admin());
    let (one, two) = (shop.product("P001").id, shop.product("P002").id);
    for sku in ["P001", "P002", "P003"] {
        alice.add(sku, 1).await;
    }
    let (decided, cancelled) = (
        alice.buy("P004", 1, "decided").await,
        alice.buy("P005", 1, "cancelled").await,
    );
    let returned = alice.buy("P003", 2, "returned").await;
    admin.approve(&returned).await;
    returned.until("delivered").await;
    let regretted = alice.buy("P003", 1, "regretted").await;
    admin.approve(&regretted).await;
    regretted.until("delivered").await;
    let back_at_once = json!({ "items": [{"sku": "P003", "quantity": 1}], "reason": "too small" });
    alice
        .post(
            &format!("/api/orders/{}/returns", regretted.id),
            &back_at_once,
        )
        .await
        .expect(201);
    alice.add("P001", 1).await;
    alice.add("P002", 1).await;
    let mut other_order = order_form("keyed");
    other_order["shipping_address"] = json!("elsewhere");
    let write = |by: &Client<'a>, route, path: &str, bodies: [Value; 2], status| {
        let [body, other] = bodies;
        let (by, path) = (by.clone(), path.to_owned());
        Write {
            by,
            route,
            path,
            body,
            other,
            status,
        }
    };
    let quantity = |id: i64, quantity: i64| json!({ "product_id": id, "quantity": quantity });
    let product = |id: i64| json!({ "product_id": id });
    let reason = |words: &str| json!({ "reason": words });
    let new_product =
        |sku: &str, cents: i64| json!({ "sku": sku, "name": sku, "price_cents": cents });
    let edit_product =
        |cents: i64| json!({ "version": 1, "name": "Screwdriver", "price_cents": cents });
    let new_zone = |zone: &str| json!({ "zone": zone, "cost": "9.90" });
    let verdict = |approved: bool| json!({ "approved": approved });
    let read = |at: &str| json!({ "up_to": at });
    let back = |quantity: i64| {
        let items = json!([{ "sku": "P003", "quantity": quantity }]);
        json!({ "items": items, "reason": "too small" })
    };
    let goodwill = |cents: i64| json!({ "amount_cents": cents, "reason": "sorry" });
    let restock = format!("/api/products/{one}/restock");
    let decide = format!("/api/workflow/{}/approve", decided.id);
    let cancel = format!("/api/orders/{}/cancel", cancelled.id);
    vec![
        write(
            &alice,
            "/api/cart/add",
            "/api/cart/add",
            [quantity(one, 1), quantity(two, 50)],
            200,
        ),
        write(
            &alice,
            "/api/cart/update",
            "/api/cart/update",
            [quantity(one, 3), quantity(one, 4)],
            200,
        ),
        write(
            &alice,
            "/api/cart/remove",
            "/api/cart/remove",
            [product(two), product(one)],
            200,
        ),
        write(
            &alice,
            "/api/checkout",
            "/api/checkout",
            [order_form("keyed"), other_order],
            202,
        ),
        write(
            &alice,
            "/api/orders/{id}/cancel",
            &cancel,
            [reason("a"), reason("b")],
            202,
        ),
        write(
            &admin,
            "/api/workflow/{id}/approve",
            &decide,
            [verdict(true), verdict(false)],
            202,
        ),
        write(
            &alice,
            "/api/notifications/read",
            "/api/notifications/read",
            [read("2026-01-01T00:00:00Z"), read("2026-01-02T00:00:00Z")],
            200,
        ),
        write(
            &admin,
            "/api/products/{id}/restock",
            &restock,
            [json!({ "quantity": 1 }), json!({ "quantity": 2 })],
            200,
        ),
        write(
            &admin,
            "/api/catalog/products",
            "/api/catalog/products",
            [new_product("K-1", 100), new_product("K-2", 200)],
            201,
        ),
        write(
            &admin,
            "/api/catalog/products/{sku}",
            "/api/catalog/products/P006",
            [edit_product(6_500), edit_product(6_600)],
            200,
        ),
        write(
            &admin,
            "/api/catalog/products/{sku}/archive",
            "/api/catalog/products/P007/archive",
            [json!({}), Value::Null],
            200,
        ),
        write(
            &admin,
            "/api/catalog/products/{sku}/restore",
            "/api/catalog/products/P007/restore",
            [json!({}), Value::Null],
            200,
        ),
        write(
            &admin,
            "/api/catalog/zones",
            "/api/catalog/zones",
            [new_zone("Moon"), new_zone("Mars")],
            201,
        ),
        write(
            &admin,
            "/api/catalog/zones/{zone}",
            "/api/catalog/zones/Continental",
            [
                json!({ "version": 1, "cost_cents": 2_600 }),
                json!({ "version": 1, "cost_cents": 2_700 }),
            ],
            200,
        ),
        write(
            &admin,
            "/api/catalog/zones/{zone}/archive",
            "/api/catalog/zones/Local/archive",
            [json!({}), Value::Null],
            200,
        ),
        write(
            &admin,
            "/api/catalog/zones/{zone}/restore",
            "/api/catalog/zones/Local/restore",
            [json!({}), Value::Null],
            200,
        ),
        write(
            &alice,
            "/api/orders/{id}/returns",
            &format!("/api/orders/{}/returns", returned.id),
            [back(1), back(2)],
            201,
        ),
        write(
            &admin,
            "/api/orders/{id}/returns/{number}/decide",
            &format!("/api/orders/{}/returns/1/decide", returned.id),
            [
                json!({ "accepted": true }),
                json!({ "accepted": false, "reason": "no" }),
            ],
            200,
        ),
        write(
            &admin,
            "/api/orders/{id}/returns/{number}/receive",
            &format!("/api/orders/{}/returns/1/receive", returned.id),
            [json!({}), json!({ "refund_cents": 1 })],
            200,
        ),
        write(
            &alice,
            "/api/orders/{id}/returns/{number}/withdraw",
            &format!("/api/orders/{}/returns/1/withdraw", regretted.id),
            [json!({}), Value::Null],
            200,
        ),
        write(
            &admin,
            "/api/orders/{id}/refunds",
            &format!("/api/orders/{}/refunds", returned.id),
            [goodwill(1), goodwill(2)],
            201,
        ),
        // Nothing is said with it, so nothing else can be.
        write(
            &alice,
            "/api/cart/clear",
            "/api/cart/clear",
            [json!({}), Value::Null],
            200,
        ),
    ]
}

/// What there is to see of all that a write could change.
async fn everything(shop: &Shop) -> Value {
    let alice = shop.alice();
    let mut seen = Vec::new();
    for path in [
        "/api/cart",
        "/api/orders",
        "/api/notifications",
        "/api/products/1",
        "/api/products/2",
        "/api/products",
        "/api/zones",
    ] {
        seen.push(alice.get(path).await.expect(200));
    }
    json!(seen)
}

/// The same key and words do nothing more; the same key with other words is
/// refused and does nothing; a new key with the other words is served.
#[test]
fn a_key_stands_for_one_request() {
    own(&Setup::default(), async |shop| {
        let described = shop.alice().get("/openapi.json").await.expect(200);
        let keyed: BTreeSet<&str> = described["paths"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, methods)| methods.to_string().contains("\"Idempotency-Key\""))
            .map(|(path, _)| path.as_str())
            .collect();
        let writes = writes(shop).await;
        let tried: BTreeSet<_> = writes.iter().map(|write| write.route).collect();
        assert_eq!(keyed, tried, "every write that takes a key is tried");

        for Write {
            by,
            route,
            path,
            body,
            other,
            status,
        } in &writes
        {
            let first = by.post_keyed(path, "key-1", body).await;
            assert_eq!(first.status, *status, "{route}: {}", first.text);
            if *route == "/api/checkout" {
                shop.accept(text(&first.body["order_id"]));
            }
            if *route == "/api/workflow/{id}/approve" {
                let order = text(&first.body["order_id"]).to_owned();
                eventually("it is delivered", SOON, async || {
                    let now = by.get(&format!("/api/orders/{order}")).await.expect(200);
                    if now["status"] == "delivered" {
                        Ok(())
                    } else {
                        Err(now.to_string())
                    }
                })
                .await;
            }
            let before = settled(shop).await;
            let again = by.post_keyed(path, "key-1", body).await;
            assert_eq!(again.status, *status, "{route}: {}", again.text);
            if other.is_object() {
                by.post_keyed(path, "key-1", other)
                    .await
                    .problem(422, "idempotency_key_reused");
            }
            assert_eq!(
                everything(shop).await,
                before,
                "{route}: nothing more was done"
            );
        }
        // A key that bought one order buys no other, also when that is paid; and
        // the same is told when its own order has been paid since.
        let keyed = alice_order(shop, "alice.keyed");
        keyed.call_back("txn-keyed").await.expect(200);
        for other in ["decided", "keyed"] {
            let mut form = order_form(other);
            form["shipping_address"] = json!("elsewhere");
            keyed
                .by
                .post_keyed("/api/checkout", "key-1", &form)
                .await
                .problem(422, "idempotency_key_reused");
        }
        let again = keyed
            .by
            .post_keyed("/api/checkout", "key-1", &order_form("keyed"))
            .await
            .expect(200);
        assert_eq!(again["already_processed"], true, "{again}");
        // Emptied, filled again, and the old clearing sent once more.
        let alice = shop.alice();
        alice.add("P006", 1).await;
        alice
            .post_keyed("/api/cart/clear", "key-1", &json!({}))
            .await
            .expect(200);
        assert_eq!(alice.in_cart().await, [("P006".to_owned(), 1)]);
        end_all(shop).await;
    });
}

fn alice_order<'a>(shop: &'a Shop, id: &str) -> Order<'a> {
    Order {
        by: shop.alice(),
        id: id.to_owned(),
        total: 3 * shop.product("P001").price_cents + 1_000,
    }
}

/// Everything there is to see, once it does not change any more.
async fn settled(shop: &Shop) -> Value {
    eventually("nothing changes any more", SOON, async || {
        let one = everything(shop).await;
        // The read model's writer rests for 50 ms at most before it writes what it has.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let two = everything(shop).await;
        let mut orders = one[1]["orders"].as_array().unwrap().iter();
        let under_way = orders.any(|order| {
            let status = text(&order["status"]);
            matches!(status, "shipping" | "in_transit") || !order["undoing"].is_null()
        });
        let mut refunds = one[5]["after_delivery"]["refunds"]
            .as_array()
            .into_iter()
            .flatten();
        let under_way = under_way || refunds.any(|refund| refund["status"] == "pending");
        if one == two && !under_way {
            Ok(one)
        } else {
            Err(two.to_string())
        }
    })
    .await
}

async fn end_all(shop: &Shop) {
    let (alice, admin) = (shop.alice(), shop.admin());
    for order in alice.get("/api/orders").await.expect(200)["orders"]
        .as_array()
        .unwrap()
    {
        let path = format!("/api/orders/{}/cancel", text(&order["order_id"]));
        let answer = admin.post(&path, &json!({})).await;
        assert!(matches!(answer.status, 202 | 409), "{answer:?}");
    }
}

/// One act, one notice: however often it is sent, at once and later, and none
/// of what did not happen.
#[test]
fn a_repetition_tells_nothing_again() {
    shared(async |shop| {
        let alice = shop.alice();
        let (one, two) = (shop.product("P001").id, shop.product("P002").id);
        let body = json!({ "product_id": one, "quantity": 2 });
        let told = async || {
            let all = alice.get("/api/notifications").await.expect(200);
            let all = all["notifications"].as_array().unwrap().clone();
            let mut texts: Vec<_> = all.iter().map(|it| text(&it["text"]).to_owned()).collect();
            texts.reverse();
            texts
        };
        let sent = (0..10).map(|_| alice.post_keyed("/api/cart/add", "n-times", &body));
        for answer in join_all(sent).await {
            answer.expect(200);
        }
        alice
            .post_keyed("/api/cart/add", "n-times", &body)
            .await
            .expect(200);
        let other = json!({ "product_id": two, "quantity": 50 });
        alice
            .post_keyed("/api/cart/add", "n-times", &other)
            .await
            .problem(422, "idempotency_key_reused");
        // What is written last comes last: then nothing is on its way.
        let last = json!({ "product_id": two, "quantity": 1 });
        alice.post("/api/cart/add", &last).await.expect(200);
        eventually("the last is told", SOON, async || {
            let told = told().await;
            if told == ["Item added: 2 × Widget A", "Item added: 1 × Widget B"] {
                Ok(())
            } else {
                Err(format!("{told:?}"))
            }
        })
        .await;
        let cart = [("P001".to_owned(), 2), ("P002".to_owned(), 1)];
        assert_eq!(alice.in_cart().await, cart);
    });
}

/// Who hangs up before the answer and asks again is told once, and not never.
#[test]
fn who_left_before_the_answer_is_told_as_well() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        let address = shop.gateway.strip_prefix("http://").unwrap();
        let mut expected = Vec::new();
        for quantity in 1..=9 {
            let body = json!({ "product_id": shop.product("P001").id, "quantity": quantity });
            let (key, sent) = (format!("left-{quantity}"), body.to_string());
            let request = format!(
                "POST /api/cart/add HTTP/1.1\r\nHost: 127.0.0.1\r\nX-User-Id: {}\r\nIdempotency-Key: {key}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{sent}",
                alice.name,
                sent.len()
            );
            let mut line = TcpStream::connect(address).await.unwrap();
            line.write_all(request.as_bytes()).await.unwrap();
            // From at once to after the answer: what it meets is not ours to choose.
            sleep(Duration::from_millis(2 * quantity)).await;
            drop(line);
            alice
                .post_keyed("/api/cart/add", &key, &body)
                .await
                .expect(200);
            expected.push(format!("Item added: {quantity} × Widget A"));
        }
        eventually("each is told once", SOON, async || {
            let all = alice.get("/api/notifications").await.expect(200);
            let all = all["notifications"].as_array().unwrap().clone();
            let mut told: Vec<_> = all.iter().map(|it| text(&it["text"]).to_owned()).collect();
            told.sort();
            if told == expected {
                Ok(())
            } else {
                Err(format!("{told:?}"))
            }
        })
        .await;
        assert_eq!(alice.in_cart().await, [("P001".to_owned(), 45)]);
    });
}

/// A refusal that passes is not kept under its key.
#[test]
fn a_refusal_is_not_remembered() {
    own(&Setup::default(), async |shop| {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        // Out of stock, restocked.
        let few = shop.product("P009").id;
        bob.add("P009", 23).await;
        let held = bob.checkout("held").await;
        alice.add("P009", 3).await;
        let asked = async || {
            alice
                .post_keyed("/api/checkout", "short", &order_form("short"))
                .await
        };
        let problem = asked().await.problem(409, "out_of_stock");
        assert_eq!(problem["available"], 2);
        admin
            .post(
                &format!("/api/products/{few}/restock"),
                &json!({ "quantity": 5 }),
            )
            .await
            .expect(200);
        let order = alice.placed(&asked().await.expect(202));
        shop.accept(&order.id);
        alice.placed(&asked().await.expect(202));

        // A wrong total, corrected: the catalog is right after all.
        let mut form = order_form("priced");
        form["expected_total_cents"] = json!(order.total);
        alice.add("P009", 1).await;
        let asked = async || alice.post_keyed("/api/checkout", "priced", &form).await;
        asked().await.problem(409, "price_changed");
        let back = json!({ "product_id": few, "quantity": 3 });
        alice.post("/api/cart/update", &back).await.expect(200);
        let priced = alice.placed(&asked().await.expect(202));
        shop.accept(&priced.id);

        // A full cart, emptied.
        let pen = json!({ "product_id": shop.product("P001").id, "quantity": 999 });
        alice.post("/api/cart/add", &pen).await.expect(200);
        let more = json!({ "product_id": shop.product("P001").id, "quantity": 1 });
        let asked = async || alice.post_keyed("/api/cart/add", "full", &more).await;
        asked().await.refusal(400);
        alice.post("/api/cart/clear", &json!({})).await.expect(200);
        asked().await.expect(200);

        // Something that is not in the cart, put there.
        let change = json!({ "product_id": shop.product("P002").id, "quantity": 2 });
        let asked = async || {
            alice
                .post_keyed("/api/cart/update", "absent", &change)
                .await
        };
        asked().await.problem(404, "not_in_cart");
        alice.add("P002", 1).await;
        asked().await.expect(200);

        // A decision that comes too early.
        let approve = format!("/api/workflow/{}/approve", order.id);
        let yes = json!({ "approved": true });
        let asked = async || admin.post_keyed(&approve, "early", &yes).await;
        asked().await.problem(409, "not_ready");
        order.call_back("txn-order").await.expect(200);
        asked().await.expect(202);
        order.until("delivered").await;
        for order in [held, priced] {
            order.cancel().await;
            order.until("cancelled").await;
        }
    });
}
