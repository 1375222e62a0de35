//! After delivery: returns, refunds, goodwill.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::reconcile::set_state;
use crate::shop::{Client, Order, SOON, Shop, kinds_of, send, text};
use crate::world::{Setup, eventually, own, shared};

/// A delivered order of two P014 and one P015.
async fn delivered<'a>(shop: &'a Shop, buyer: &Client<'a>, id: &str) -> Order<'a> {
    buyer.add("P014", 2).await;
    buyer.add("P015", 1).await;
    let order = buyer.checkout(id).await;
    order.pay().await;
    order.until("awaiting_approval").await;
    shop.admin().approve(&order).await;
    order.until("delivered").await;
    order
}

fn price(order: &Value, sku: &str) -> i64 {
    let lines = order["lines"].as_array().expect("lines");
    let line = lines.iter().find(|line| line["sku"] == sku).expect("it");
    line["unit_price_cents"].as_i64().expect("cents")
}

fn items(of: &[(&str, i64)]) -> Value {
    let items = of
        .iter()
        .map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}));
    items.collect()
}

fn ask(of: &[(&str, i64)]) -> Value {
    json!({ "items": items(of), "reason": "too small" })
}

fn path(order: &Order<'_>, rest: &str) -> String {
    format!("/api/orders/{}/{rest}", order.id)
}

/// Waits until no refund is on its way; answers the order.
async fn paid_back(order: &Order<'_>) -> Value {
    eventually("the provider has answered", SOON, async || {
        let json = order.json().await;
        let refunds = json["after_delivery"]["refunds"].as_array().cloned();
        let refunds = refunds.unwrap_or_default();
        if !refunds.is_empty() && refunds.iter().all(|it| it["status"] != "pending") {
            Ok(json)
        } else {
            Err(json.to_string())
        }
    })
    .await
}

/// The stock of a product, as Restate has it.
async fn level(shop: &Shop, sku: &str) -> Value {
    let sql = format!(
        "SELECT value_utf8 FROM state \
         WHERE service_name = 'Inventory' AND service_key = '{sku}' AND key = 'level'"
    );
    let rows = shop.sql(&sql).await;
    serde_json::from_str(text(&rows[0]["value_utf8"])).expect("a level")
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, from the wish to the stock"
)]
fn a_part_comes_back_one_piece_damaged_and_the_rest_can_be_sold_again() {
    shared(async |shop| {
        let (alice, admin) = (shop.alice(), shop.admin());
        let order = delivered(shop, &alice, "back").await;
        let before = order.json().await;
        assert_eq!(before["after_delivery"], Value::Null);
        let worth = price(&before, "P014") * 2;

        let asked = alice
            .post_keyed(&path(&order, "returns"), "ask-1", &ask(&[("P014", 2)]))
            .await
            .expect(201);
        assert_eq!(asked["returns"][0]["status"], "asked");
        // Sent twice it is one return; with another body the key is used up.
        let again = alice
            .post_keyed(&path(&order, "returns"), "ask-1", &ask(&[("P014", 2)]))
            .await
            .expect(201);
        assert_eq!(again["version"], asked["version"]);
        alice
            .post_keyed(&path(&order, "returns"), "ask-1", &ask(&[("P014", 1)]))
            .await
            .problem(422, "idempotency_key_reused");
        alice
            .post(&path(&order, "returns"), &ask(&[("P015", 1)]))
            .await
            .problem(409, "return_open");
        let waiting = admin.get("/api/returns").await.expect(200);
        let waiting = waiting["returns"].as_array().expect("a list");
        assert!(waiting.iter().any(|it| it["order_id"] == order.id.as_str()));

        // It is the staff's to decide, once.
        let accept = json!({ "accepted": true });
        let decide = path(&order, "returns/1/decide");
        alice.post(&decide, &accept).await.refusal(403);
        admin
            .post(&path(&order, "returns/1/receive"), &json!({}))
            .await
            .problem(409, "return_undecided");
        admin.post(&decide, &accept).await.expect(200);
        let second = admin
            .post(&decide, &json!({ "accepted": false, "reason": "no" }))
            .await;
        let problem = second.problem(409, "return_decided");
        assert_eq!(
            (&problem["order_status"], &problem["by"]),
            (&json!("accepted"), &json!("admin"))
        );
        admin
            .post(&path(&order, "returns/7/decide"), &accept)
            .await
            .problem(404, "unknown_return");

        let receive = path(&order, "returns/1/receive");
        let more = json!({ "damaged": items(&[("P014", 3)]) });
        let problem = admin.post(&receive, &more).await;
        assert_eq!(problem.problem(409, "not_returnable")["field"], "damaged");
        let much = json!({ "refund_cents": order.total + 1 });
        admin
            .post(&receive, &much)
            .await
            .problem(409, "refund_too_much");
        let before = level(shop, "P014").await;
        let parcel = json!({ "damaged": items(&[("P014", 1)]) });
        let received = admin
            .post_keyed(&receive, "here", &parcel)
            .await
            .expect(200);
        assert_eq!(received["refunded_cents"], worth);
        admin
            .post_keyed(&receive, "here", &parcel)
            .await
            .expect(200);
        admin
            .post(&receive, &parcel)
            .await
            .problem(409, "return_decided");

        let done = paid_back(&order).await;
        let after = &done["after_delivery"];
        assert_eq!(after["refunds"][0]["status"], "refunded");
        assert_eq!(after["returns"][0]["sellable"], items(&[("P014", 1)]));
        assert_eq!(
            kinds_of(&done)[9..],
            [
                "return_asked",
                "return_accepted",
                "return_received",
                "refund_made"
            ]
        );
        let ledger = order.ledger().await;
        assert_eq!(ledger.payment().transactions[0].refunded_amount, worth);
        assert_eq!(ledger.story(), "authorize book capture refund");
        eventually("one piece can be sold again", SOON, async || {
            let now = level(shop, "P014").await;
            if now["returned"].as_u64() == before["returned"].as_u64().map(|it| it + 1) {
                Ok(())
            } else {
                Err(now.to_string())
            }
        })
        .await;
        // What came back does not come back again; the rest may.
        let again = alice
            .post(&path(&order, "returns"), &ask(&[("P014", 1)]))
            .await;
        assert_eq!(again.problem(409, "not_returnable")["left"], 0);
        let told = alice.told_of(&order.id).await;
        assert!(
            told.iter().any(|it| it.starts_with("Return 1 received")),
            "{told:?}"
        );
        let document = alice.markdown(&format!("/api/orders/{}", order.id)).await;
        assert!(document.contains("## After Delivery"), "{document}");
    });
}

#[test]
fn a_return_is_refused_and_goodwill_goes_back_all_the_same() {
    shared(async |shop| {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        let order = delivered(shop, &alice, "worn").await;
        let returns = path(&order, "returns");
        bob.post(&returns, &ask(&[("P014", 1)])).await.refusal(404);
        for (body, kind, field) in [
            (json!({ "items": [], "reason": "x" }), "invalid", "items"),
            (
                json!({ "items": items(&[("P014", 1)]) }),
                "invalid",
                "reason",
            ),
            (ask(&[("P014", 3)]), "not_returnable", "items"),
            (ask(&[("P001", 1)]), "not_returnable", "items"),
        ] {
            let answer = alice.post(&returns, &body).await;
            let status = if kind == "invalid" { 400 } else { 409 };
            assert_eq!(answer.problem(status, kind)["field"], field, "{body}");
        }
        alice.post(&returns, &ask(&[("P014", 1)])).await.expect(201);
        let decide = path(&order, "returns/1/decide");
        admin
            .post(&decide, &json!({ "accepted": false }))
            .await
            .problem(400, "invalid");
        admin
            .post(
                &decide,
                &json!({ "accepted": false, "reason": "it was worn" }),
            )
            .await
            .expect(200);

        let refunds = path(&order, "refunds");
        let goodwill = |cents: i64| json!({ "amount_cents": cents, "reason": "sorry" });
        alice.post(&refunds, &goodwill(100)).await.refusal(403);
        admin
            .post(&refunds, &json!({ "amount_cents": 100 }))
            .await
            .problem(400, "invalid");
        admin
            .post(&refunds, &goodwill(order.total + 1))
            .await
            .problem(409, "refund_too_much");
        // As a form says it, and once for its key.
        let form = json!({ "amount": "1.50", "reason": "sorry" });
        admin.post_keyed(&refunds, "good", &form).await.expect(201);
        admin.post_keyed(&refunds, "good", &form).await.expect(201);
        admin
            .post(&refunds, &goodwill(order.total - 150))
            .await
            .expect(201);
        admin
            .post(&refunds, &goodwill(1))
            .await
            .problem(409, "refund_too_much");
        let done = paid_back(&order).await;
        assert_eq!(done["after_delivery"]["refunded_cents"], order.total);
        let ledger = order.ledger().await;
        assert_eq!(ledger.payment().status, "refunded");
        assert_eq!(ledger.payment().effects.refund, 2);
    });
}

#[test]
fn a_return_is_withdrawn_until_its_parcel_is_here() {
    shared(async |shop| {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        let order = delivered(shop, &alice, "kept").await;
        let returns = path(&order, "returns");
        let withdraw = |number: u32| path(&order, &format!("returns/{number}/withdraw"));
        alice
            .post(&withdraw(1), &json!({}))
            .await
            .problem(404, "unknown_return");
        alice.post(&returns, &ask(&[("P014", 2)])).await.expect(201);
        bob.post(&withdraw(1), &json!({})).await.refusal(404);
        for _ in 0..2 {
            let over = alice.post_keyed(&withdraw(1), "kept-1", &json!({})).await;
            assert_eq!(over.expect(200)["returns"][0]["status"], "withdrawn");
        }
        let again = alice.post(&withdraw(1), &json!({})).await;
        let problem = again.problem(409, "return_decided");
        assert_eq!(problem["order_status"], "withdrawn");

        // All of it can be asked for again, and taken back when it is accepted, too.
        alice.post(&returns, &ask(&[("P014", 2)])).await.expect(201);
        let accept = json!({ "accepted": true });
        admin
            .post(&path(&order, "returns/2/decide"), &accept)
            .await
            .expect(200);
        admin.post(&withdraw(2), &json!({})).await.expect(200);
        let receive = path(&order, "returns/2/receive");
        admin
            .post(&receive, &json!({}))
            .await
            .problem(409, "return_decided");
        alice.post(&returns, &ask(&[("P014", 1)])).await.expect(201);
        admin
            .post(&path(&order, "returns/3/decide"), &accept)
            .await
            .expect(200);
        admin
            .post(&path(&order, "returns/3/receive"), &json!({}))
            .await
            .expect(200);
        alice
            .post(&withdraw(3), &json!({}))
            .await
            .problem(409, "return_decided");
        paid_back(&order).await;
        let told = alice.told_of(&order.id).await;
        for said in ["Return 1 withdrawn: the", "Return 2 withdrawn by admin"] {
            assert!(told.iter().any(|it| it.starts_with(said)), "{told:?}");
        }
        assert_eq!(order.ledger().await.payment().effects.refund, 1);
    });
}

/// What came back is remembered at Inventory until its order is forgotten.
#[test]
fn with_its_order_a_return_is_forgotten_everywhere() {
    let setup = Setup::with("PAYMENT_WINDOW", "5s")
        .and("APPROVAL_WINDOW", "5s")
        .and("DELIVERY_TIME", "100ms")
        .and("ORDER_RETENTION", "11s");
    own(&setup, async |shop| {
        let (alice, admin) = (shop.alice(), shop.admin());
        let order = delivered(shop, &alice, "gone").await;
        let returns = path(&order, "returns");
        alice.post(&returns, &ask(&[("P014", 2)])).await.expect(201);
        let accept = json!({ "accepted": true });
        admin
            .post(&path(&order, "returns/1/decide"), &accept)
            .await
            .expect(200);
        admin
            .post(&path(&order, "returns/1/receive"), &json!({}))
            .await
            .expect(200);
        paid_back(&order).await;
        let marker = format!("checkout:exec:{}", order.id);
        let keys = [
            ("UserSession", "alice", marker.clone()),
            ("AfterSales", order.id.as_str(), "after_sales".to_owned()),
            ("Inventory", "P014", format!("returned:{}#1", order.id)),
        ];
        let mut kept = Vec::new();
        for (service, key, name) in &keys {
            kept.push(
                eventually("it is remembered", SOON, async || {
                    let state = shop.state(service, key, name).await;
                    state.ok_or_else(|| format!("{service} has no {name}"))
                })
                .await,
            );
        }
        let record = order.workflow_record().await;
        let run = format!("OrderFulfillmentWorkflow/{}/Run", order.id);
        let rows = shop
            .sql(&format!(
                "SELECT id FROM sys_invocation WHERE target = '{run}'"
            ))
            .await;
        let id = text(&rows[0]["id"]).to_owned();
        let purged = shop.run_restate(&["invocations", "purge", &id, "--yes"]);
        assert!(purged.status.success(), "{purged:?}");
        for (service, key, name) in &keys {
            eventually("it is forgotten", SOON * 2, async || {
                match shop.state(service, key, name).await {
                    None => Ok(()),
                    Some(state) => Err(format!("{service} still has {name}: {state}")),
                }
            })
            .await;
        }
        // What is checked at the end is what Restate holds.
        for ((service, key, name), state) in keys.iter().zip(&kept) {
            set_state(shop, service, key, name, state).await;
        }
        let workflow = "OrderFulfillmentWorkflow";
        set_state(shop, workflow, &order.id, "record", &json!(record)).await;
    });
}

#[test]
fn what_was_not_delivered_is_not_returned() {
    shared(async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P014", 1, "still-here").await;
        let asked = alice
            .post(&path(&order, "returns"), &ask(&[("P014", 1)]))
            .await;
        asked.problem(409, "not_delivered");
        let goodwill = json!({ "amount_cents": 100, "reason": "sorry" });
        let refund = shop.admin().post(&path(&order, "refunds"), &goodwill).await;
        refund.problem(409, "not_delivered");
        order.cancel().await;
        order.until("cancelled").await;
    });
}

#[test]
fn windows_end_and_a_provider_that_was_away_is_asked_until_it_answers() {
    let setup = Setup::with("RETURN_WINDOW", "6s").and("RETURN_SEND_WITHIN", "1s");
    own(&setup, async |shop| {
        let (alice, admin) = (shop.alice(), shop.admin());
        let order = delivered(shop, &alice, "late").await;
        let returns = path(&order, "returns");
        let page = async || {
            let request = alice.request(Method::GET, &format!("/orders/{}", order.id));
            let page = send(request.header("accept", "text/html")).await;
            assert_eq!(page.status, 200, "{page:?}");
            page.text
        };
        // It says until when before anything is asked for.
        let said = page().await;
        assert!(said.contains("Returns may be asked for until"), "{said}");
        alice.post(&returns, &ask(&[("P014", 1)])).await.expect(201);
        let decide = path(&order, "returns/1/decide");
        admin
            .post(&decide, &json!({ "accepted": true }))
            .await
            .expect(200);
        eventually("the parcel is overdue", SOON, async || {
            let order = order.json().await;
            if order["after_delivery"]["returns"][0]["status"] == "not_sent" {
                Ok(())
            } else {
                Err(order.to_string())
            }
        })
        .await;
        let receive = path(&order, "returns/1/receive");
        admin
            .post(&receive, &json!({}))
            .await
            .problem(409, "return_decided");

        shop.faults_of(&order.id, json!({ "payments": { "down": true } }))
            .await;
        let goodwill = json!({ "amount_cents": 100, "reason": "sorry" });
        admin
            .post(&path(&order, "refunds"), &goodwill)
            .await
            .expect(201);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let waits = order.json().await;
        assert_eq!(waits["after_delivery"]["refunds"][0]["status"], "pending");
        shop.faults_of(&order.id, json!({ "payments": { "down": false } }))
            .await;
        let done = paid_back(&order).await;
        assert_eq!(done["after_delivery"]["refunds"][0]["status"], "refunded");
        assert_eq!(order.ledger().await.payment().effects.refund, 1);

        tokio::time::sleep(Duration::from_secs(6)).await;
        let late = alice.post(&returns, &ask(&[("P014", 1)])).await;
        let problem = late.problem(409, "return_window_over");
        assert!(text(&problem["detail"]).contains("too late"), "{problem}");
        let said = page().await;
        assert!(said.contains("Returns could be asked for until"), "{said}");
        assert!(!said.contains("Ask for the return"), "{said}");
    });
}
