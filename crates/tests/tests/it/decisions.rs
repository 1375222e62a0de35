//! Every order gets one decision: approved, rejected, cancelled or expired.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::json;
use waybill_domain::Timestamp;

use crate::shop::{Answer, Client, Order, SOON, kinds_of, send, text};
use crate::world::{Setup, eventually, own, shared};

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
fn an_approver_takes_pieces_out_and_only_the_rest_is_charged() {
    shared(async |shop| {
        let (alice, admin) = (shop.alice(), shop.admin());
        alice.add("P014", 2).await;
        alice.add("P015", 3).await;
        let order = alice.checkout("in-part").await;
        order.pay().await;
        let asked = order.until("awaiting_approval").await;
        let price = |sku: &str| {
            let lines = asked["lines"].as_array().expect("lines");
            let line = lines.iter().find(|line| line["sku"] == sku).expect("it");
            line["unit_price_cents"].as_i64().expect("cents")
        };
        let less = price("P014") + 3 * price("P015");
        let level = async |sku: &str| {
            let products = alice.get("/api/products?per_page=100").await.expect(200);
            let all = products["products"].as_array().expect("a list").clone();
            let it = all.into_iter().find(|it| it["sku"] == sku).expect("it");
            it["stock_qty"].as_i64().expect("a number")
        };
        // What cannot be taken out is refused, with its field, and nothing is decided.
        for (without, reason, field, words) in [
            (
                json!([{"sku": "P014", "quantity": 3}]),
                "no",
                "without",
                "2 pieces",
            ),
            (
                json!([{"sku": "P001", "quantity": 1}]),
                "no",
                "without",
                "not in the order",
            ),
            (
                json!([{"sku": "P014", "quantity": 2}, {"sku": "P015", "quantity": 3}]),
                "no",
                "without",
                "reject",
            ),
            (
                json!([{"sku": "P014", "quantity": 1}]),
                " ",
                "reason",
                "say why",
            ),
            (json!("P014"), "no", "without", "a list"),
        ] {
            let decision = json!({"approved": true, "reason": reason, "without": without});
            let answer = admin.try_decide(&order.id, &decision).await;
            let problem = answer.problem(400, "invalid");
            assert_eq!(problem["field"], field, "{problem}");
            assert!(text(&problem["detail"]).contains(words), "{problem}");
        }
        let refused =
            json!({"approved": false, "reason": "no", "without": [{"sku": "P014", "quantity": 1}]});
        admin
            .try_decide(&order.id, &refused)
            .await
            .problem(400, "invalid");

        let decision = json!({
            "approved": true, "reason": "one is broken, the others are gone",
            "without": [{"sku": "P014", "quantity": 1}, {"sku": "P015", "quantity": 3}],
        });
        let path = format!("/api/workflow/{}/approve", order.id);
        admin
            .post_keyed(&path, "part-1", &decision)
            .await
            .expect(202);
        // The same again is the same; another decision is told what stands.
        admin
            .post_keyed(&path, "part-1", &decision)
            .await
            .expect(202);
        admin
            .post_keyed(&path, "part-1", &json!({"approved": true}))
            .await
            .problem(422, "idempotency_key_reused");
        admin
            .try_decide(&order.id, &json!({"approved": true}))
            .await
            .problem(409, "already_decided");

        let delivered = order.until("delivered").await;
        assert_eq!(delivered["total_cents"], order.total - less);
        assert_eq!(delivered["payment"]["amount_cents"], order.total);
        assert_eq!(delivered["lines"].as_array().map(Vec::len), Some(1));
        assert_eq!(delivered["taken_out"].as_array().map(Vec::len), Some(2));
        let money = order.ledger().await.payment().transactions[0].clone();
        assert_eq!(money.captured_amount, Some(order.total - less));
        assert_eq!(
            order.ledger().await.story(),
            "authorize book capture release"
        );
        let told = alice.told_of(&order.id).await;
        let told = told
            .iter()
            .find(|it| it.starts_with("Taken out"))
            .expect("told");
        assert!(told.contains("one is broken"), "{told}");
        let document = alice.markdown(&format!("/api/orders/{}", order.id)).await;
        assert!(document.contains("Taken Out Before Shipping"), "{document}");
        assert!(level("P015").await > 0);
    });
}

/// Who decides, in the races below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Decider {
    Approver,
    Rejecter,
    Customer,
    /// The approval window ends.
    Clock,
    /// Cancels the workflow's invocation in Restate: not a decision but an
    /// order, which also ends what was approved.
    Operator,
}

impl Decider {
    fn event(self) -> &'static str {
        match self {
            Self::Approver => "approved",
            Self::Rejecter => "rejected",
            Self::Customer | Self::Operator => "cancelled",
            Self::Clock => "approval_expired",
        }
    }

    /// What the losers read of it: verdict and whose.
    fn standing(self, order: &Order<'_>) -> (&'static str, String) {
        match self {
            Self::Approver => ("approved", "admin".to_owned()),
            Self::Rejecter => ("rejected", "admin".to_owned()),
            Self::Customer => ("cancelled", order.by.name.clone()),
            Self::Clock => ("expired", "clock".to_owned()),
            Self::Operator => ("cancelled", "restate".to_owned()),
        }
    }

    fn end(self) -> &'static str {
        match self {
            Self::Approver => "delivered",
            Self::Rejecter => "rejected",
            Self::Customer | Self::Operator => "cancelled",
            Self::Clock => "approval_expired",
        }
    }

    /// Decides; answers what a person was told.
    async fn decide(self, order: &Order<'_>) -> Option<Answer> {
        let admin = order.by.shop.admin();
        match self {
            Self::Approver => Some(
                admin
                    .try_decide(&order.id, &json!({ "approved": true }))
                    .await,
            ),
            Self::Rejecter => Some(
                admin
                    .try_decide(&order.id, &json!({ "approved": false }))
                    .await,
            ),
            Self::Customer => Some(order.try_cancel().await),
            Self::Clock => None,
            Self::Operator => {
                order.recall().await;
                None
            }
        }
    }
}

/// How long an admin has in the races: all of them have begun by then.
const WINDOW: &str = "4s";

/// Every pair of deciders at the same moment, one of them a little earlier or
/// later each time.
#[test]
fn two_decide_at_once_and_one_wins() {
    use Decider::{Approver, Clock, Customer, Operator, Rejecter};
    let pairs = [
        (Approver, Approver),
        (Approver, Rejecter),
        (Approver, Customer),
        (Approver, Clock),
        (Approver, Operator),
        (Rejecter, Customer),
        (Rejecter, Clock),
        (Rejecter, Operator),
        (Customer, Customer),
        (Customer, Clock),
        (Customer, Operator),
    ];
    // Milliseconds that the first is later than the second.
    let shifts = [-40, -12, -6, -3, -1, 0, 1, 3, 6, 12, 40];
    let setup = Setup::with("APPROVAL_WINDOW", WINDOW);
    own(&setup, async |shop| {
        shop.faults(json!({ "payments": { "auto": "pay" } })).await;
        let races = pairs
            .iter()
            .flat_map(|pair| shifts.iter().map(move |shift| (*pair, *shift)))
            .enumerate();
        let winners: Vec<_> = stream::iter(races)
            .map(async |(number, (pair, shift))| {
                let buyer = shop.person(&format!("racer{number}"));
                (pair, race(&buyer, pair, shift).await)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut tally: BTreeMap<_, BTreeMap<Decider, usize>> = BTreeMap::new();
        for (pair, winner) in winners {
            *tally.entry(pair).or_default().entry(winner).or_default() += 1;
        }
        show(&tally);
    });
}

/// Races at the same time: enough for the machine, not too many for the clock.
const AT_ONCE: usize = 12;

#[expect(clippy::print_stdout, reason = "who won how often")]
fn show(tally: &BTreeMap<(Decider, Decider), BTreeMap<Decider, usize>>) {
    for (pair, winners) in tally {
        println!("{pair:?}: {winners:?}");
    }
}

/// One order, two deciders; answers who has won.
async fn race(buyer: &Client<'_>, pair: (Decider, Decider), shift_ms: i64) -> Decider {
    buyer.add("P015", 1).await;
    let order = buyer.accepted(&buyer.try_checkout("race").await);
    order.until("awaiting_approval").await;
    let (first, second) = pair;
    let later = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    if second == Decider::Clock {
        until_expiry(&order).await;
    }
    let (told_first, told_second) = futures::join!(
        async {
            tokio::time::sleep(later(shift_ms)).await;
            first.decide(&order).await
        },
        async {
            tokio::time::sleep(later(-shift_ms)).await;
            second.decide(&order).await
        }
    );

    let told = [(first, told_first), (second, told_second)];
    let won: Vec<_> = told
        .iter()
        .filter(|(_, answer)| answer.as_ref().is_some_and(|it| it.status == 202))
        .map(|(decider, _)| *decider)
        .collect();
    let winner = match won[..] {
        [winner] => winner,
        // Nobody who asked has won: then it was the one who does not ask.
        [] if matches!(second, Decider::Clock | Decider::Operator) => second,
        _ => panic!("{} {pair:?}: won {won:?}: {told:?}", order.id),
    };
    let (verdict, by) = winner.standing(&order);
    for (loser, answer) in told {
        let Some(answer) = answer.filter(|it| it.status != 202) else {
            continue;
        };
        let problem = answer.problem(409, "already_decided");
        assert_eq!(
            (text(&problem["verdict"]), text(&problem["by"])),
            (verdict, by.as_str()),
            "{loser:?} against {winner:?}"
        );
    }
    // The record tells the same: what was answered is what happened.
    let end = if second == Decider::Operator && winner == Decider::Approver {
        "cancelled"
    } else {
        winner.end()
    };
    let ended = order.until(end).await;
    let mut decided = kinds_of(&ended);
    decided.retain(|kind| {
        ["approved", "rejected", "cancelled", "approval_expired"].contains(&kind.as_str())
    });
    let mut expected = vec![winner.event()];
    if end != winner.end() {
        expected.push("cancelled");
    }
    assert_eq!(decided, expected, "{pair:?}: {ended}");
    winner
}

/// Sleeps until the moment at which the order's approval expires.
async fn until_expiry(order: &Order<'_>) {
    let until: Timestamp = eventually("the window has begun", SOON, async || {
        let workflow = &order.json().await["workflow"];
        let deadline = workflow["deadline"].as_str();
        deadline.map_or(Err(workflow.to_string()), |at| {
            Ok(at.parse().expect("a time"))
        })
    })
    .await;
    let left = until.duration_since(Timestamp::now());
    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
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

async fn decide_with_key(admin: &Client<'_>, order_id: &str, key: &str) -> Answer {
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
