//! Several transactions of one payment, and one transaction of several: each is
//! its own, and none counts twice.

use futures::future::join_all;
use serde_json::Value;

use crate::shop::{Order, SOON, Shop, text};
use crate::world::{Component, Setup, eventually, own, shared};

/// The state of one transaction at the provider.
async fn state_of(order: &Order<'_>, transaction_id: &str) -> Option<String> {
    let ledger = order.ledger().await;
    let payments = ledger.payments.iter();
    payments
        .flat_map(|payment| &payment.transactions)
        .find(|it| it.transaction_id == transaction_id)
        .map(|it| it.status.clone())
}

/// A second success is given back, and the first still pays the order, whether
/// the others come by hand or over the payment page.
#[test]
fn a_second_success_does_not_cost_the_first() {
    shared(async |shop| {
        let (alice, admin) = (shop.alice(), shop.admin());
        for (id, between) in [
            ("by-hand", None),
            ("page-paid", Some("pay&transaction_id=txn-page")),
        ] {
            alice.add("P004", 1).await;
            let order = alice.checkout(id).await;
            let (_, page) = order.payment_page().await;
            let (first, second) = (format!("txn-A-{id}"), format!("txn-B-{id}"));
            let accepted = order.call_back(&first).await.expect(200);
            assert_eq!(accepted["result"], "accepted", "{id}");
            if let Some(action) = between {
                shop.use_payment_page(&page, action).await;
            }
            let late = order.call_back(&second).await.expect(200);
            assert_eq!(late["result"], "late", "{id}");
            eventually("the second goes back", SOON, async || {
                match state_of(&order, &second).await.as_deref() {
                    Some("voided") => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
            admin.approve(&order).await;
            let delivered = order.until("delivered").await;
            assert_eq!(delivered["payment"]["transaction_id"], *first, "{id}");
            assert_eq!(state_of(&order, &first).await.as_deref(), Some("captured"));
            assert_eq!(state_of(&order, &second).await.as_deref(), Some("voided"));
            let ledger = order.ledger().await;
            assert_eq!(ledger.payment().effects.capture, 1, "{id}: {ledger:#?}");
        }
    });
}

/// Cancels what was refused, so that every order ends.
async fn cancel_all<'a>(orders: impl IntoIterator<Item = &'a Order<'a>>) {
    for order in orders {
        order.cancel().await;
        order.until("cancelled").await;
    }
}

#[test]
fn one_transaction_pays_one_order() {
    shared(async |shop| {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        let transaction = format!("txn-of-{}", alice.name);
        alice.add("P004", 1).await;
        bob.add("P004", 1).await;
        let first = alice.checkout("first").await;
        let (mine, theirs) = (alice.checkout("second").await, bob.checkout("third").await);
        assert_eq!(
            first.call_back(&transaction).await.expect(200)["result"],
            "accepted"
        );
        for other in [&mine, &theirs] {
            let problem = other
                .call_back(&transaction)
                .await
                .problem(409, "transaction_in_use");
            assert_eq!(problem["transaction_id"], *transaction);
            assert!(!problem.to_string().contains(&first.id), "{problem}");
            // Nothing of it is kept: the order waits for its own money.
            let waits = other.json().await;
            assert_eq!(waits["status"], "awaiting_payment", "{waits}");
            assert_eq!(waits["payment"]["transaction_id"], Value::Null, "{waits}");
        }
        // Told again it is still the first's.
        assert_eq!(
            first.call_back(&transaction).await.expect(200)["result"],
            "repeated"
        );
        admin.approve(&first).await;
        first.until("delivered").await;
        mine.call_back(&format!("{transaction}-other"))
            .await
            .expect(200);
        admin.approve(&mine).await;
        mine.until("delivered").await;
        cancel_all([&theirs]).await;
        // Nobody voided the first's money for the others.
        assert_eq!(
            state_of(&first, &transaction).await.as_deref(),
            Some("captured")
        );
        assert_eq!(state_of(&theirs, &transaction).await, None);
    });
}

/// Twenty orders, one transaction, at once: one is paid by it.
#[test]
fn twenty_orders_claim_one_transaction_at_once() {
    shared(async |shop| {
        let transaction = format!("txn-for-all-of-{}", shop.alice().name);
        let people: Vec<_> = (0..10).map(|n| shop.person(&format!("p{n}"))).collect();
        let orders = join_all(people.iter().map(async |person| {
            person.add("P024", 1).await;
            [person.checkout("one").await, person.checkout("two").await]
        }))
        .await
        .concat();
        let receipts = join_all(orders.iter().map(|order| order.receipt(&transaction))).await;
        let nobody = shop.anonymous();
        let answers = join_all(
            receipts
                .iter()
                .map(|receipt| nobody.post("/api/payment/callback", receipt)),
        )
        .await;
        let mut paid = Vec::new();
        let mut unpaid = Vec::new();
        for (order, answer) in orders.iter().zip(answers) {
            if answer.status == 200 {
                paid.push(order);
            } else {
                answer.problem(409, "transaction_in_use");
                unpaid.push(order);
            }
        }
        assert_eq!((paid.len(), unpaid.len()), (1, 19));
        shop.admin().approve(paid[0]).await;
        paid[0].until("delivered").await;
        cancel_all(unpaid).await;
    });
}

/// A receipt that is posted straight to the awakeable at Restate passes no
/// webhook: the payment fails then, and nobody's money is touched.
#[test]
fn a_transaction_that_is_used_fails_a_direct_resolution() {
    shared(async |shop| {
        let (alice, bob) = (shop.alice(), shop.bob());
        let transaction = format!("txn-direct-{}", alice.name);
        let order = paid_with(shop, &transaction).await;
        bob.add("P004", 1).await;
        let other = bob.checkout("borrowed").await;
        let receipt = other.receipt(&transaction).await;
        let path = format!("/restate/awakeables/{}/resolve", other.awakeable().await);
        let answer = shop
            .ingress(&path, "application/json", receipt.to_string())
            .await;
        assert!(answer.status().is_success(), "{answer:?}");
        let failed = other.until("payment_failed").await;
        let why = text(&failed["failure_reason"]);
        assert!(why.contains("belongs to another payment"), "{failed}");
        assert_eq!(state_of(&other, &transaction).await, None);
        shop.admin().approve(&order).await;
        order.until("delivered").await;
        assert_eq!(bob.in_cart().await.len(), 1, "the cart is kept");
        assert!(alice.in_cart().await.is_empty());
    });
}

async fn paid_with<'a>(shop: &'a Shop, transaction: &str) -> Order<'a> {
    let alice = shop.alice();
    alice.add("P004", 1).await;
    let order = alice.checkout("owner").await;
    order.call_back(transaction).await.expect(200);
    order.until("awaiting_approval").await;
    order
}

/// Money that went back pays nothing later, and a restart of everything
/// forgets no claim.
#[test]
fn a_transaction_stays_whose_it_is() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        let order = paid_with(shop, "txn-paid").await;
        let late = order.call_back("txn-late").await.expect(200);
        assert_eq!(late["result"], "late");
        alice.add("P005", 1).await;
        let failed = alice.checkout("retried").await;
        failed.decline().await;
        failed.until("payment_failed").await;
        let late = failed.call_back("txn-too-late").await.expect(200);
        assert_eq!(late["result"], "late");

        for part in [Component::Services, Component::Restate, Component::Gateway] {
            shop.kill(part);
            shop.start_again(part).await;
        }
        // The second attempt of the same order, too, is another payment.
        let second = alice.checkout("retried").await;
        for used in ["txn-paid", "txn-late", "txn-too-late"] {
            second
                .call_back(used)
                .await
                .problem(409, "transaction_in_use");
        }
        second.call_back("txn-new").await.expect(200);
        for order in [&order, &second] {
            shop.admin().approve(order).await;
            order.until("delivered").await;
        }
    });
}
