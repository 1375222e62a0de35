//! Every order gets one decision: approved, rejected, cancelled or expired.

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::shop::{Answer, Order, Person, kinds_of, send, text};
use crate::world::{Setup, own, shared};

#[test]
fn a_customer_cancels_before_paying() {
    shared(async |shop| {
        let alice = shop.alice();
        alice.add("P014", 2).await;
        let order = alice.checkout("regret").await;
        let (_, pay_url) = order.payment_page().await;
        order.cancel().await;
        let cancelled = order.until("cancelled").await;
        assert_eq!(kinds_of(&cancelled)[2..], ["cancelled", "stock_released"]);
        assert_eq!(
            alice.in_cart().await,
            [("P014".to_owned(), 2)],
            "the cart is kept"
        );
        assert_eq!(order.workflow_runs().await, 0);
        // Doing it again finds it done; paying now finds it closed.
        order.cancel().await;
        crate::world::eventually("the payment is closed", crate::shop::SOON, async || {
            let ledger = order.ledger().await;
            let status = &ledger.payment().status;
            if status == "voided" {
                Ok(())
            } else {
                Err(status.clone())
            }
        })
        .await;
        shop.use_payment_page(&pay_url, "pay").await;
        assert_eq!(order.ledger().await.payment().effects.authorize, 0);
        // A cancelled order is over: its id is used up.
        alice.try_checkout("regret").await.problem(409, "too_late");
    });
}

#[test]
fn a_customer_cancels_before_the_approval() {
    shared(async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P014", 1, "second-thoughts").await;
        order.cancel().await;
        let cancelled = order.until("cancelled").await;
        let kinds = kinds_of(&cancelled);
        assert_eq!(
            kinds[kinds.len() - 3..],
            ["cancelled", "payment_voided", "stock_released"]
        );
        assert_eq!(order.ledger().await.payment().status, "voided");
        let too_late = shop
            .admin()
            .try_decide(&order.id, &json!({ "approved": true }))
            .await;
        let problem = too_late.problem(409, "already_decided");
        assert_eq!(problem["verdict"], "cancelled", "{problem}");
    });
}

#[test]
fn what_is_delivered_cannot_be_cancelled() {
    shared(async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P014", 1, "mine").await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;
        order.try_cancel().await.refusal(409);
        assert_eq!(order.json().await["status"], "delivered");
    });
}

#[test]
fn approve_and_cancel_at_once_one_wins() {
    shared(async |shop| {
        let admin = shop.admin();
        let people: Vec<_> = (0..6).map(|n| shop.person(&format!("racer{n}"))).collect();
        let orders = join_all(people.iter().map(|person| person.buy("P015", 1, "race"))).await;
        let yes = json!({ "approved": true });
        let races = orders.iter().enumerate().map(async |(n, order)| {
            // Whoever is asked first has no head start every time.
            let (approved, cancelled) = if n % 2 == 0 {
                futures::join!(admin.try_decide(&order.id, &yes), order.try_cancel())
            } else {
                let (cancelled, approved) =
                    futures::join!(order.try_cancel(), admin.try_decide(&order.id, &yes));
                (approved, cancelled)
            };
            assert_one_won(order, approved, cancelled).await;
        });
        join_all(races).await;
    });
}

async fn assert_one_won(order: &Order<'_>, approved: Answer, cancelled: Answer) {
    let end = match (approved.status, cancelled.status) {
        (202, 409) => "delivered",
        (409, 202) => "cancelled",
        statuses => panic!("{}: {statuses:?}: {approved:?} {cancelled:?}", order.id),
    };
    let order = order.until(end).await;
    let decided = kinds_of(&order)
        .into_iter()
        .filter(|kind| matches!(kind.as_str(), "approved" | "cancelled"))
        .count();
    assert_eq!(decided, 1, "{order}");
}

#[test]
fn approve_and_reject_at_once_one_wins() {
    shared(async |shop| {
        let admin = shop.admin();
        let people: Vec<_> = (0..4).map(|n| shop.person(&format!("judged{n}"))).collect();
        let orders = join_all(people.iter().map(|person| person.buy("P015", 1, "trial"))).await;
        let (yes, no) = (json!({ "approved": true }), json!({ "approved": false }));
        join_all(orders.iter().map(async |order| {
            let (approved, rejected) = futures::join!(
                admin.try_decide(&order.id, &yes),
                admin.try_decide(&order.id, &no)
            );
            let end = match (approved.status, rejected.status) {
                (202, 409) => "delivered",
                (409, 202) => "rejected",
                statuses => panic!("{}: {statuses:?}", order.id),
            };
            order.until(end).await;
        }))
        .await;
    });
}

#[test]
fn the_same_decision_twice_is_the_same_decision() {
    shared(async |shop| {
        let order = shop.alice().buy("P016", 1, "sure").await;
        let admin = shop.admin();
        let decide = |key: &'static str| decide_with_key(&admin, &order.id, key);
        decide("decision-1").await.expect(202);
        decide("decision-1").await.expect(202);
        let problem = decide("decision-2").await.problem(409, "already_decided");
        assert_eq!(problem["verdict"], "approved");
        order.until("delivered").await;
    });
}

async fn decide_with_key(admin: &Person<'_>, order_id: &str, key: &str) -> Answer {
    let path = format!("/api/workflow/{order_id}/approve");
    let request = admin
        .request(Method::POST, &path)
        .header("Idempotency-Key", key);
    send(request.json(&json!({ "approved": true }))).await
}

#[test]
fn nobody_decides_in_time() {
    own(&Setup::with("APPROVAL_WINDOW", "1s"), async |shop| {
        let alice = shop.alice();
        alice.add("P017", 1).await;
        let order = alice.checkout("ignored").await;
        order.pay().await;
        let expired = order.until("approval_expired").await;
        let kinds = kinds_of(&expired);
        assert_eq!(
            kinds[kinds.len() - 3..],
            ["approval_expired", "payment_voided", "stock_released"]
        );
        assert!(
            text(&expired["failure_reason"]).contains("nobody decided"),
            "{expired}"
        );
        let late = shop
            .admin()
            .try_decide(&order.id, &json!({ "approved": true }))
            .await;
        late.problem(409, "already_decided");
    });
}

#[test]
fn an_operator_cancels_the_invocation_at_restate() {
    shared(async |shop| {
        // While nobody has paid, and while nobody has approved.
        let (alice, bob) = (shop.alice(), shop.bob());
        alice.add("P018", 1).await;
        let unpaid = alice.checkout("unpaid").await;
        let unapproved = bob.buy("P018", 1, "unapproved").await;
        for target in [
            format!("UserSession/{}/AwaitPayment", alice.name),
            format!("OrderFulfillmentWorkflow/{}/Run", unapproved.id),
        ] {
            let query = format!("SELECT id FROM sys_invocation WHERE target = '{target}'");
            let rows = shop.sql(&query).await;
            let id = text(&rows[0]["id"]);
            let url = format!("{}/invocations/{id}/cancel", shop.admin);
            let answer = shop.http.patch(url).send().await.unwrap();
            assert!(answer.status().is_success(), "{answer:?}");
        }
        unpaid.until("cancelled").await;
        let cancelled = unapproved.until("cancelled").await;
        let kinds = kinds_of(&cancelled);
        assert_eq!(
            kinds[kinds.len() - 3..],
            ["cancelled", "payment_voided", "stock_released"]
        );
    });
}
