//! Others are down: nobody but their own orders waits for them.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use reqwest::Method;

use crate::shop::{Client, Order, SOON, Shop, send_anyway, try_send};
use crate::world::{Component, Setup, eventually, own, own_alone};

const ORDERS: usize = 300;
/// How long somebody fills a cart, once all of them are waiting.
const ADDING: Duration = Duration::from_secs(10);
const OUTAGE: Duration = Duration::from_mins(1);
/// Longest that the cart may take meanwhile.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The last durable sleep that can have begun in the outage is twice as long.
const DRAINED_WITHIN: Duration = Duration::from_secs(90);
/// A checkout waits for the payment page for two seconds.
const IN_PARALLEL: usize = 25;

/// Half of the orders wait for the carrier, half for the provider.
#[test]
fn three_hundred_orders_wait_and_the_cart_does_not() {
    let setup = Setup::default().lasting(Duration::from_mins(5));
    own_alone(&setup, async |shop| {
        let admin = shop.admin();
        shop.faults(json!({ "payments": { "auto": "pay" } })).await;
        let crowd: Vec<_> = (0..ORDERS)
            .map(|n| shop.person(&format!("user{n}")))
            .collect();
        let (shippable, payable) = crowd.split_at(ORDERS / 2);
        let mut orders = each(shippable, async |person| place(person).await).await;
        each(&orders, async |order: &Order<'_>| {
            order.until("awaiting_approval").await;
        })
        .await;

        shop.faults(json!({ "payments": { "down": true }, "carrier": { "down": "drop" } }))
            .await;
        let down_since = Instant::now();
        each(&orders, async |order: &Order<'_>| {
            admin.approve(order).await;
        })
        .await;
        orders.extend(each(payable, async |person| place(person).await).await);
        assert_eq!(waiting(shop).await, ORDERS);

        let alice = shop.alice();
        let mut slowest = Duration::ZERO;
        let mut additions = 0;
        let adding_since = Instant::now();
        while adding_since.elapsed() < ADDING || down_since.elapsed() < OUTAGE {
            let asked = Instant::now();
            alice.add("P002", 1).await;
            slowest = slowest.max(asked.elapsed());
            additions += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(
            slowest < AT_ONCE,
            "the slowest of {additions} additions took {slowest:?}"
        );
        assert_eq!(alice.in_cart().await, [("P002".to_owned(), additions)]);
        assert_eq!(waiting(shop).await, ORDERS, "all are still waiting");

        shop.faults(json!({ "payments": { "down": false }, "carrier": { "down": false } }))
            .await;
        let what = "all orders are delivered";
        eventually(what, DRAINED_WITHIN, async || {
            for waiting in listed(shop, "awaiting_approval").await {
                let id = waiting["order_id"].as_str().unwrap_or_default();
                let answer = admin.try_decide(id, &json!({ "approved": true })).await;
                // Or approved by the round before.
                assert!(matches!(answer.status, 202 | 409), "{answer:?}");
            }
            let delivered = shop
                .admin()
                .get("/api/orders?status=delivered")
                .await
                .expect(200);
            match delivered["total"].as_u64() {
                Some(total) if total == ORDERS as u64 => Ok(()),
                total => Err(format!("{total:?} of {ORDERS}")),
            }
        })
        .await;
    });
}

/// Longest that somebody waits to be told that Restate does not answer.
const TOLD_WITHIN: Duration = Duration::from_secs(12);

/// It hangs, which is worse than being gone: connections are made, and nothing comes.
#[test]
fn restate_is_away_for_a_minute() {
    let setup = Setup::with("DELIVERY_TIME", "20s").lasting(Duration::from_mins(4));
    own(&setup, async |shop| {
        let (alice, bob, carol, admin) =
            (shop.alice(), shop.bob(), shop.person("carol"), shop.admin());
        let travels = alice.buy("P001", 1, "travels").await;
        let waiting = bob.buy("P002", 1, "waiting").await;
        carol.add("P003", 1).await;
        let unpaid = carol.checkout("unpaid").await;
        let (_, page) = unpaid.payment_page().await;
        admin.approve(&travels).await;
        travels.until("in_transit").await;

        shop.freeze(Component::Restate);
        let since = Instant::now();
        // The provider calls back, and comes again until it is told 200.
        shop.use_payment_page(&page, "pay").await;
        // A gateway that is started meanwhile shows what its file knows.
        shop.kill(Component::Gateway);
        shop.launch(Component::Gateway, &[]);
        eventually("it lives", SOON, async || {
            let healthz = shop.anonymous().request(Method::GET, "/healthz");
            match try_send(healthz).await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let mut slowest = Duration::ZERO;
        while since.elapsed() < OUTAGE {
            for (who, path, accept) in [
                (&alice, "/orders", "text/html"),
                (&alice, "/", "text/html"),
                (&bob, "/api/orders/bob.waiting", "application/json"),
            ] {
                let asked = Instant::now();
                let known = send_anyway(who.request(Method::GET, path).header("accept", accept));
                let known = known.await;
                slowest = slowest.max(asked.elapsed());
                assert_eq!(known.status, 200, "{path}: {known:?}");
            }
            let asked = Instant::now();
            let item = json!({ "product_id": shop.product("P004").id, "quantity": 1 });
            let add = alice.request(Method::POST, "/api/cart/add").json(&item);
            let problem = send_anyway(add).await.refusal(503);
            slowest = slowest.max(asked.elapsed());
            assert!(problem["detail"].to_string().contains("again"), "{problem}");
            let ready = shop.anonymous().request(Method::GET, "/readyz");
            let ready = send_anyway(ready).await;
            assert_eq!(ready.status, 503, "{ready:?}");
            assert!(ready.body["restate"].is_string(), "{ready:?}");
        }
        assert!(slowest < TOLD_WITHIN, "somebody waited for {slowest:?}");

        shop.thaw(Component::Restate);
        eventually("it serves again", SOON, async || {
            let ready = shop.anonymous().request(Method::GET, "/readyz");
            match send_anyway(ready).await {
                answer if answer.status == 200 => Ok(()),
                answer => Err(answer.text),
            }
        })
        .await;
        travels.until("delivered").await;
        unpaid.until_within("awaiting_approval", SOON * 4).await;
        for order in [&waiting, &unpaid] {
            admin.approve(order).await;
        }
        for order in [&waiting, &unpaid, &travels] {
            order.until_within("delivered", SOON * 4).await;
            order.has_happened_once().await;
        }
        // What was refused was not done, or done once.
        let kept = alice.in_cart().await;
        assert!(kept.iter().all(|(_, pieces)| *pieces > 0), "{kept:?}");
    });
}

async fn place<'a>(person: &Client<'a>) -> Order<'a> {
    // No product is a bottleneck: that is another test's subject.
    let number: usize = person.name.trim_start_matches("user").parse().unwrap();
    let sku = ["P001", "P004", "P013", "P014", "P022"][number % 5];
    person.add(sku, 1).await;
    person.accepted(&person.try_checkout("order").await)
}

async fn each<'a, T, U>(all: &'a [T], what: impl AsyncFn(&'a T) -> U) -> Vec<U> {
    stream::iter(all)
        .map(|it| what(it))
        .buffered(IN_PARALLEL)
        .collect()
        .await
}

/// Orders that wait for the provider or the carrier.
async fn waiting(shop: &Shop) -> usize {
    let shipping = listed(shop, "shipping").await.len();
    let paying = listed(shop, "awaiting_payment").await.len();
    shipping + paying
}

async fn listed(shop: &Shop, status: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for page in 1.. {
        let path = format!("/api/orders?status={status}&per_page=100&page={page}");
        let mut listing = shop.admin().get(&path).await.expect(200);
        let Value::Array(orders) = listing["orders"].take() else {
            panic!("{path} lists no orders: {listing}");
        };
        let is_last = orders.len() < 100;
        all.extend(orders);
        if is_last {
            return all;
        }
    }
    all
}
