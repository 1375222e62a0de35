//! Many at once: the last pieces, one order twice, one id for two people.

use futures::future::join_all;
use serde_json::json;

use crate::shop::{SOON, lines_of, order_form};
use crate::world::{Setup, eventually, own_alone, shared};

#[test]
fn fifty_want_the_last_twenty() {
    own_alone(&Setup::default(), async |shop| {
        let admin = shop.admin();
        shop.faults(json!({ "payments": { "auto": "pay" } })).await;
        // 25 of P009 there are; bob takes five.
        let bob = shop.bob();
        bob.add("P009", 5).await;
        let five = bob.accepted(&bob.try_checkout("five").await);

        let crowd: Vec<_> = (0..50).map(|n| shop.person(&format!("user{n}"))).collect();
        join_all(crowd.iter().map(|person| person.add("P009", 1))).await;
        let answers = join_all(crowd.iter().map(|person| person.try_checkout("last"))).await;
        let (placed, refused): (Vec<_>, Vec<_>) = crowd
            .iter()
            .zip(answers)
            .partition(|(_, answer)| matches!(answer.status, 200 | 202));
        assert_eq!(placed.len(), 20);
        assert_eq!(refused.len(), 30);
        for (person, answer) in refused {
            let problem = answer.problem(409, "out_of_stock");
            assert_eq!(problem["sku"], "P009");
            assert_eq!(problem["available"], 0);
            assert!(
                problem["detail"].as_str().unwrap().contains("P009"),
                "{problem}"
            );
            assert_eq!(
                person.in_cart().await,
                [("P009".to_owned(), 1)],
                "the cart is kept"
            );
        }

        let mut orders = vec![five];
        orders.extend(
            placed
                .iter()
                .map(|(person, answer)| person.accepted(answer)),
        );
        join_all(orders.iter().map(async |order| {
            order.until("awaiting_approval").await;
            admin.approve(order).await;
            order.until("delivered").await;
        }))
        .await;
        // The last pieces are committed by a message that nobody waits for.
        eventually("P009 is sold out", SOON, async || {
            let level = shop.state("Inventory", "P009", "level").await.unwrap();
            let now =
                ["initial", "available", "reserved", "committed"].map(|it| level[it].as_i64());
            if now == [Some(25), Some(0), Some(0), Some(25)] {
                Ok(())
            } else {
                Err(level.to_string())
            }
        })
        .await;
    });
}

#[test]
fn one_order_checked_out_twice_at_once_is_one_order() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P010", 1).await;
        let answers = join_all((0..4).map(|_| alice.try_checkout("same"))).await;
        let orders: Vec<_> = answers
            .into_iter()
            .map(|answer| alice.placed(&answer.expect(202)))
            .collect();
        let awakeable = orders[0].awakeable().await;
        let waits = shop
            .invocations(&format!("UserSession/{}/AwaitPayment", alice.name))
            .await;
        assert_eq!(waits.len(), 1, "one awakeable");
        assert_eq!(orders[0].ledger().await.payments.len(), 1, "one payment");
        let again = alice.try_checkout("same").await.expect(202);
        assert_eq!(again["payment"]["awakeable_id"], *awakeable);
        let placed = shop
            .state(
                "Inventory",
                "P010",
                &format!("reservation:{}#1", orders[0].id),
            )
            .await;
        assert_eq!(placed, Some(json!(1)), "reserved once");
        orders[0].cancel().await;
        orders[0].until("cancelled").await;
    });
}

#[test]
fn the_same_id_of_two_people_is_two_orders() {
    shared(async |shop| {
        let (alice, bob) = (shop.alice(), shop.bob());
        alice.add("P010", 1).await;
        bob.add("P011", 2).await;
        let (of_alice, of_bob) = futures::join!(alice.checkout("order-1"), bob.checkout("order-1"));
        assert_eq!(of_alice.id, format!("{}.order-1", alice.name));
        assert_eq!(of_bob.id, format!("{}.order-1", bob.name));
        of_alice.pay().await;
        of_alice.until("awaiting_approval").await;
        let bobs = of_bob.json().await;
        assert_eq!(bobs["status"], "awaiting_payment", "alice paid hers only");
        assert_eq!(lines_of(&bobs["lines"]), [("P011".to_owned(), 2)]);
        shop.admin().reject(&of_alice, "a test").await;
        of_alice.until("rejected").await;
        of_bob.cancel().await;
        of_bob.until("cancelled").await;
    });
}

#[test]
fn the_price_that_was_seen_is_the_price_that_is_paid() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P012", 1).await;
        let mut form = order_form("priced");
        form["expected_total_cents"] = json!(1);
        let problem = alice
            .post("/api/checkout", &form)
            .await
            .problem(409, "price_changed");
        let total = problem["total_cents"].as_i64().unwrap();
        assert_eq!(
            total,
            shop.product("P012").price_cents + 1_000,
            "with Domestic shipping"
        );
        form["expected_total_cents"] = json!(total);
        let order = alice.placed(&alice.post("/api/checkout", &form).await.expect(202));
        assert_eq!(order.total, total);
        order.cancel().await;
        order.until("cancelled").await;
    });
}

#[test]
fn a_key_stands_in_for_an_order_id() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P013", 1).await;
        let mut form = order_form("x");
        form.as_object_mut().unwrap().remove("order_id");
        let checkout = || {
            let request = alice.request(reqwest::Method::POST, "/api/checkout");
            crate::shop::send(request.header("Idempotency-Key", "click-7").json(&form))
        };
        let first = alice.placed(&checkout().await.expect(202));
        let second = alice.placed(&checkout().await.expect(202));
        assert_eq!(first.id, second.id);
        first.cancel().await;
        first.until("cancelled").await;
        let third = checkout().await.expect(200);
        assert_eq!(third["status"], "cancelled", "{third}");
        assert_eq!(third["already_processed"], true, "{third}");
    });
}
