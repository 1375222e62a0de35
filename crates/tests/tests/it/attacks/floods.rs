//! One caller who asks too much, and one who buys and does not pay.

use reqwest::Method;
use serde_json::json;

use super::{behind_a_proxy, orders_to_the_end, send_all, with};
use crate::shop::order_form;
use crate::world::{Setup, own};

#[test]
fn the_flood_of_one_is_refused_and_anothers_order_ends() {
    let setup = behind_a_proxy(Setup::default())
        .and("READS_PER_ADDRESS", "10")
        .and("WRITES_PER_ADDRESS", "5")
        .and("WRITES_PER_USER", "2");
    own(&setup, async |shop| {
        let mallory = shop.person("mallory");
        let writes = |from: &'static str| {
            let mallory = &mallory;
            (0..600).map(move |_| {
                let body = json!({ "product_id": 1, "quantity": 1 });
                let request = mallory.request(Method::POST, "/api/cart/add");
                request.header("x-forwarded-for", from).json(&body)
            })
        };
        let flood = async {
            let answers = send_all(writes("198.51.100.1")).await;
            assert!(with(429, &answers) > 300, "{:?}", answers.last());
            assert!(with(200, &answers) > 0);
            let refused = answers.into_iter().find(|it| it.status == 429).unwrap();
            refused.problem(429, "too_many_requests");
        };
        let bob = shop.bob();
        tokio::join!(flood, orders_to_the_end(&bob, "meanwhile"));
        // The same user from another address is the same user.
        let answers = send_all(writes("198.51.100.2").take(60)).await;
        assert!(with(429, &answers) > 0, "{:?}", answers.last());
    });
}

#[test]
fn orders_that_nobody_pays_have_an_end() {
    own(&Setup::with("MAX_UNPAID_ORDERS", "3"), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let mut waiting = Vec::new();
        for id in ["one", "two", "three"] {
            waiting.push(alice.checkout(id).await);
        }
        let refused = alice.try_checkout("four").await;
        let problem = refused.problem(409, "too_many_unpaid");
        assert_eq!(problem["most"], 3, "{problem}");
        // Asked for again, each is what it was.
        let again = alice.try_checkout("two").await;
        assert_eq!(again.status, 202, "{again:?}");
        // Others are not concerned.
        orders_to_the_end(&shop.bob(), "meanwhile").await;
        // What is paid, or taken back, makes room.
        let taken_back = waiting.remove(0);
        taken_back.cancel().await;
        taken_back.until("cancelled").await;
        waiting.push(alice.checkout("four").await);
        alice
            .try_checkout("five")
            .await
            .problem(409, "too_many_unpaid");
        for order in waiting {
            order.cancel().await;
            order.until("cancelled").await;
        }
    });
}

#[test]
fn many_checkouts_at_once_pass_no_more_than_one_after_the_other() {
    own(&Setup::with("MAX_UNPAID_ORDERS", "3"), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let checkouts = (0..30).map(|number| {
            let form = order_form(&format!("burst-{number}"));
            alice.request(Method::POST, "/api/checkout").json(&form)
        });
        let answers = send_all(checkouts).await;
        let placed: Vec<_> = answers.iter().filter(|it| it.status == 202).collect();
        assert!((1..=3).contains(&placed.len()), "{} placed", placed.len());
        assert_eq!(
            placed.len() + with(409, &answers) + with(429, &answers),
            answers.len()
        );
        for answer in placed {
            shop.accept(answer.body["order_id"].as_str().unwrap());
            let order = alice.accepted(answer);
            order.cancel().await;
            order.until("cancelled").await;
        }
    });
}
