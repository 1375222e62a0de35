//! Carts: free while a payment is pending, and fit for a crowd.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::checker::the_cart_is_free;
use crate::shop::{lines_of, send};
use crate::world::{Setup, own_alone, shared};

#[test]
fn a_pending_payment_does_not_block_the_cart() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P001", 2).await;
        let order = alice.checkout("pending").await;
        the_cart_is_free(&alice, &order.id, "P007").await;
        the_cart_is_free(&alice, &order.id, "P001").await;

        order.pay().await;
        let paid = order.until("awaiting_approval").await;
        assert_eq!(lines_of(&paid["lines"]), [("P001".to_owned(), 2)]);
        let left = [("P001".to_owned(), 1), ("P007".to_owned(), 1)];
        assert_eq!(alice.in_cart().await, left, "what was added since stays");
        shop.admin().approve(&order).await;
        order.until("delivered").await;
    });
}

#[test]
fn a_cart_is_filled_changed_and_emptied() {
    shared(async |shop| {
        let alice = shop.alice();
        let price = shop.product("P008").price_cents;
        assert!(alice.in_cart().await.is_empty());
        alice.add("P008", 2).await;
        let cart = alice.add("P008", 3).await;
        assert_eq!(lines_of(&cart["items"]), [("P008".to_owned(), 5)]);
        assert_eq!(cart["items"][0]["line_total_cents"], 5 * price);
        assert_eq!(cart["subtotal_cents"], 5 * price);
        assert_eq!(cart["user_id"], *alice.name);

        let id = shop.product("P008").id;
        let change = json!({ "product_id": id, "quantity": 1 });
        let cart = alice.post("/api/cart/update", &change).await.expect(200);
        assert_eq!(lines_of(&cart["items"]), [("P008".to_owned(), 1)]);
        let markdown = alice.markdown("/api/cart").await;
        assert!(markdown.contains("P008"), "{markdown}");
        let remove = json!({ "product_id": id });
        let cart = alice.post("/api/cart/remove", &remove).await.expect(200);
        assert_eq!(cart["subtotal_cents"], 0);
        assert!(alice.in_cart().await.is_empty());
    });
}

#[test]
fn an_addition_that_is_sent_twice_counts_once() {
    shared(async |shop| {
        let alice = shop.alice();
        let body = json!({ "product_id": shop.product("P001").id, "quantity": 1 });
        let add = |key: &str| {
            let request = alice.request(Method::POST, "/api/cart/add");
            send(request.header("Idempotency-Key", key).json(&body))
        };
        let (first, second) = futures::join!(add("click-1"), add("click-1"));
        assert_eq!(first.expect(200), second.expect(200));
        add("click-1").await.expect(200);
        assert_eq!(alice.in_cart().await, [("P001".to_owned(), 1)]);
        add("click-2").await.expect(200);
        assert_eq!(alice.in_cart().await, [("P001".to_owned(), 2)]);
        // Somebody else's key is another key.
        let bob = shop.bob();
        let request = bob.request(Method::POST, "/api/cart/add");
        send(request.header("Idempotency-Key", "click-1").json(&body))
            .await
            .expect(200);
        assert_eq!(bob.in_cart().await, [("P001".to_owned(), 1)]);
    });
}

/// `hey -n 1000 -c 10 -m POST http://localhost:8080/api/cart/add`, with a user
/// and a body it can use. A cart holds 999 of a product: one is one too many.
#[test]
fn a_thousand_additions_by_ten_at_once() {
    own_alone(&Setup::default(), async |shop| {
        let alice = shop.alice();
        let left = AtomicUsize::new(1_000);
        let worker = async || {
            let mut statuses = Vec::new();
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
            {
                statuses.push(alice.try_add("P001", 1).await.status);
            }
            statuses
        };
        let statuses = join_all((0..10).map(|_| worker())).await.concat();
        assert_eq!(
            statuses.iter().filter(|status| **status == 200).count(),
            999
        );
        assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 1);
        assert_eq!(alice.in_cart().await, [("P001".to_owned(), 999)]);
    });
}

/// The same line as it is printed: it gets told what is missing.
#[test]
fn a_bare_addition_is_told_what_is_missing() {
    shared(async |shop| {
        let bare = shop.anonymous().request(Method::POST, "/api/cart/add");
        let problem = send(bare).await.refusal(401);
        assert!(
            problem["detail"].as_str().unwrap().contains("X-User-Id"),
            "{problem}"
        );
        let problem = send(shop.alice().request(Method::POST, "/api/cart/add"))
            .await
            .refusal(400);
        assert!(
            problem["detail"].as_str().unwrap().contains("product_id"),
            "{problem}"
        );
    });
}
