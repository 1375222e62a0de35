//! Everything that can happen to a payment, in every order of two, at the same
//! moment, and after a second attempt: one real world, one customer for each
//! case.
//!
//! What may come out of a race is not written down case by case. What must hold
//! whatever comes out is: here for each order, in the checker for all of them.
//! The same rules over every interleaving of the handlers' steps are explored
//! in `crates/domain/tests/payment_model.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use waybill_domain::Timestamp;

use crate::shop::{Client, Order, SOON, kinds_of, text};
use crate::world::{Setup, eventually, own_alone};

/// Races at the same time.
const AT_ONCE: usize = 24;
/// Long enough for the events of a case, short enough to wait for.
const WINDOW: &str = "5s";

/// What can happen while an order waits for its money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The customer pays on the provider's page.
    Pays,
    /// The customer declines there.
    Declines,
    /// A callback of another transaction says that it is paid.
    OtherCallback,
    /// The payment window ends.
    Expires,
    /// The customer takes the order back.
    Cancels,
    /// The customer checks out again with the same id.
    ChecksOutAgain,
    /// A receipt of the right amount is posted to the awakeable.
    Resolves,
    /// A receipt of another amount is.
    ResolvesWrongly,
    /// Something that is no receipt is.
    ResolvesWithRubbish,
    /// The awakeable is rejected.
    Rejects,
}

use Event::{
    Cancels, ChecksOutAgain, Declines, Expires, OtherCallback, Pays, Rejects, Resolves,
    ResolvesWithRubbish, ResolvesWrongly,
};

const EVENTS: [Event; 10] = [
    Pays,
    Declines,
    OtherCallback,
    Expires,
    Cancels,
    ChecksOutAgain,
    Resolves,
    ResolvesWrongly,
    ResolvesWithRubbish,
    Rejects,
];

/// Events one after another, those of one step at the same moment. The next
/// step begins when the one before has done what it does.
type Case = Vec<Vec<Act>>;

/// An event, and to which attempt it happens where there are two.
#[derive(Debug, Clone, Copy)]
struct Act {
    event: Event,
    first_attempt: bool,
}

fn now(event: Event) -> Act {
    Act {
        event,
        first_attempt: false,
    }
}

fn cases() -> BTreeMap<&'static str, Vec<Case>> {
    let each = || EVENTS.into_iter();
    let pairs = || each().flat_map(move |one| each().map(move |two| (one, two)));
    let in_order = pairs().map(|(one, two)| vec![vec![now(one)], vec![now(two)]]);
    let at_once = pairs()
        .filter(|(one, two)| one <= two)
        .map(|(one, two)| vec![vec![now(one), now(two)]]);
    let three_at_once = pairs()
        .filter(|(one, two)| one < two)
        .flat_map(|(one, two)| {
            each()
                .filter(move |three| two < *three)
                .map(move |three| vec![vec![now(one), now(two), now(three)]])
        });
    // A second attempt, and then something to either of them, or to both.
    let failures = [
        Declines,
        Expires,
        ResolvesWithRubbish,
        Rejects,
        ResolvesWrongly,
    ];
    let again = failures.into_iter().flat_map(|failure| {
        each().flat_map(move |event| {
            let retried = || vec![vec![now(failure)], vec![now(ChecksOutAgain)]];
            let late = Act {
                event,
                first_attempt: true,
            };
            let mut to_both = retried();
            to_both.push(vec![late, now(Pays)]);
            let mut to_the_second = retried();
            to_the_second.push(vec![now(event), now(OtherCallback)]);
            [to_both, to_the_second]
        })
    });
    BTreeMap::from([
        ("two in order", in_order.collect()),
        ("two at once", at_once.collect()),
        ("three at once", three_at_once.collect()),
        ("a second attempt", again.collect()),
    ])
}

#[test]
fn whatever_happens_to_a_payment_it_counts_once_or_goes_back() {
    let setup = Setup::with("PAYMENT_WINDOW", WINDOW).and("DELIVERY_TIME", "50ms");
    own_alone(&setup, async |shop| {
        let product = shop.product("P001").id;
        let restock = json!({ "quantity": 2_000 });
        let path = format!("/api/products/{product}/restock");
        shop.admin().post(&path, &restock).await.expect(200);

        let all: Vec<_> = cases()
            .into_iter()
            .flat_map(|(kind, cases)| cases.into_iter().map(move |case| (kind, case)))
            .collect();
        let ends = stream::iter(all.into_iter().enumerate())
            .map(async |(number, (kind, case))| {
                let buyer = shop.person(&format!("payer{number}"));
                let end = Race::run(&buyer, number, &case).await;
                (kind, end)
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let mut tally: BTreeMap<_, BTreeMap<String, usize>> = BTreeMap::new();
        for (kind, end) in ends {
            *tally.entry(kind).or_default().entry(end).or_default() += 1;
        }
        show(&tally);
    });
}

#[expect(clippy::print_stdout, reason = "what came of how many")]
fn show(tally: &BTreeMap<&str, BTreeMap<String, usize>>) {
    for (kind, ends) in tally {
        println!("{kind}: {}, {ends:?}", ends.values().sum::<usize>());
    }
}

/// One order on its way through a case.
struct Race<'a> {
    order: Order<'a>,
    number: usize,
    case: String,
}

/// One attempt to pay.
#[derive(Debug, Clone)]
struct Page {
    attempt: u64,
    awakeable: String,
    url: String,
}

/// A success that the webhook has accepted.
#[derive(Debug)]
struct Accepted {
    attempt: u64,
    transaction: String,
}

impl<'a> Race<'a> {
    /// Answers how the order has ended.
    async fn run(buyer: &Client<'a>, number: usize, case: &Case) -> String {
        buyer
            .shop
            .faults_of(&format!("{}.race", buyer.name), noise(number))
            .await;
        buyer.add("P001", 1).await;
        let order = buyer.accepted(&buyer.try_checkout("race").await);
        let race = Race {
            order,
            number,
            case: format!("{number}: {case:?}"),
        };
        let Some(first) = race.page().await else {
            // A machine so busy that it has expired before it could be paid.
            race.judge(&race.end().await, &[]).await;
            return "nothing: too slow".to_owned();
        };
        let mut accepted = Vec::new();
        for (number, step) in case.iter().enumerate() {
            if number > 0 {
                race.settled(&case[number - 1]).await;
            }
            let last = race.page().await.unwrap_or_else(|| first.clone());
            if step.iter().any(|act| act.event == Expires) {
                race.expire().await;
            }
            let acts = step.iter().map(|act| {
                let page = if act.first_attempt { &first } else { &last };
                race.act(act.event, page)
            });
            accepted.extend(join_all(acts).await.into_iter().flatten());
        }
        let ended = race.end().await;
        race.judge(&ended, &accepted).await;
        text(&ended["status"]).to_owned()
    }

    /// Waits until what has happened has had its effect: whatever it was, the
    /// order no longer waits for this payment, unless it is checked out again.
    async fn settled(&self, step: &[Act]) {
        if step.iter().all(|act| act.event == ChecksOutAgain) {
            return;
        }
        eventually(&format!("{}: {step:?}", self.case), SOON, async || {
            let order = self.order.json().await;
            if order["status"] == "awaiting_payment" {
                Err(order.to_string())
            } else {
                Ok(())
            }
        })
        .await;
    }

    /// The page of the current attempt, unless it ends before it has one.
    async fn page(&self) -> Option<Page> {
        eventually(&format!("{}: a page", self.case), SOON, async || {
            let order = self.order.json().await;
            let payment = &order["payment"];
            let known = (
                payment["awakeable_id"].as_str(),
                payment["pay_url"].as_str(),
            );
            match known {
                (Some(awakeable), Some(url)) => Ok(Some(Page {
                    attempt: payment["attempt"].as_u64().expect("a number"),
                    awakeable: awakeable.to_owned(),
                    url: url.to_owned(),
                })),
                _ if order["status"] != "awaiting_payment" => Ok(None),
                _ => Err(order.to_string()),
            }
        })
        .await
    }

    async fn act(&self, event: Event, page: &Page) -> Option<Accepted> {
        let shop = self.order.by.shop;
        match event {
            Pays => shop.use_payment_page(&page.url, "pay").await,
            Declines => shop.use_payment_page(&page.url, "decline").await,
            OtherCallback => return self.call_back(page).await,
            // The step began with it.
            Expires => {}
            Cancels => {
                let answer = self.order.try_cancel().await;
                assert!(
                    matches!(answer.status, 202 | 409),
                    "{}: {answer:?}",
                    self.case
                );
            }
            ChecksOutAgain => {
                let answer = self.order.by.try_checkout("race").await;
                let fits = matches!(answer.status, 200 | 202 | 409);
                assert!(fits, "{}: {answer:?}", self.case);
            }
            Resolves => {
                let receipt = self.receipt(page, "direct", self.order.total);
                self.resolve(page, receipt.to_string()).await;
            }
            ResolvesWrongly => {
                let receipt = self.receipt(page, "wrong", self.order.total - 1);
                self.resolve(page, receipt.to_string()).await;
            }
            ResolvesWithRubbish => {
                let rubbish = ["null", "[1]", "{\"status\":", "\"paid\"", "{}", ""];
                let rubbish = rubbish[self.number % rubbish.len()];
                self.resolve(page, rubbish.to_owned()).await;
            }
            Rejects => {
                let path = format!("/restate/awakeables/{}/reject", page.awakeable);
                let answer = shop.ingress(&path, "text/plain", "card stolen").await;
                assert!(answer.status().is_success(), "{}: {answer:?}", self.case);
            }
        }
        None
    }

    fn receipt(&self, page: &Page, what: &str, amount: i64) -> Value {
        json!({
            "awakeable_id": page.awakeable,
            "transaction_id": format!("txn-{what}-{}-{}", self.number, page.attempt),
            "amount": amount,
            "status": "success",
        })
    }

    async fn call_back(&self, page: &Page) -> Option<Accepted> {
        let receipt = self.receipt(page, "other", self.order.total);
        let nobody = self.order.by.shop.anonymous();
        let answer = nobody
            .post("/api/payment/callback", &receipt)
            .await
            .expect(200);
        (answer["result"] == "accepted").then(|| Accepted {
            attempt: page.attempt,
            transaction: text(&receipt["transaction_id"]).to_owned(),
        })
    }

    async fn resolve(&self, page: &Page, bytes: String) {
        let path = format!("/restate/awakeables/{}/resolve", page.awakeable);
        let shop = self.order.by.shop;
        let answer = shop.ingress(&path, "application/json", bytes).await;
        assert!(answer.status().is_success(), "{}: {answer:?}", self.case);
    }

    /// Until the moment at which the payment expires, if it is still waited
    /// for; whatever else happens now happens at the same moment.
    async fn expire(&self) {
        let order = self.order.json().await;
        let deadline = order["workflow"]["deadline"].as_str();
        if order["status"] == "awaiting_payment"
            && let Some(at) = deadline
        {
            let at: Timestamp = at.parse().expect("a time");
            let left = at.duration_since(Timestamp::now());
            tokio::time::sleep(left.try_into().unwrap_or(Duration::ZERO)).await;
        }
    }

    /// Brings the order to its end: what is paid is decided, what is not
    /// expires.
    async fn end(&self) -> Value {
        let ends = [
            "payment_failed",
            "payment_expired",
            "cancelled",
            "rejected",
            "delivered",
        ];
        eventually(&format!("{}: the end", self.case), SOON, async || {
            let order = self.order.json().await;
            let status = text(&order["status"]);
            match status {
                "awaiting_approval" => {
                    let admin = self.order.by.shop.admin();
                    let decision = json!({ "approved": self.number.is_multiple_of(2) });
                    let answer = admin.try_decide(&self.order.id, &decision).await;
                    // 409: decided the last time, or cancelled meanwhile.
                    assert!(
                        matches!(answer.status, 202 | 409),
                        "{}: {answer:?}",
                        self.case
                    );
                }
                status if ends.contains(&status) => return Ok(order),
                _ => {}
            }
            Err(order.to_string())
        })
        .await
    }

    /// What must hold of this order, whatever has happened; the rest is the
    /// checker's.
    async fn judge(&self, ended: &Value, accepted: &[Accepted]) {
        let case = &self.case;
        let events = ended["events"].as_array().expect("events");
        let paid = kinds_of(ended)
            .iter()
            .filter(|it| *it == "payment_confirmed")
            .count();
        assert!(paid <= 1, "{case}: paid {paid} times: {ended}");
        assert_eq!(self.order.workflow_runs().await, paid, "{case}: {ended}");
        // A success that the webhook has accepted is the one that counts.
        for Accepted {
            attempt,
            transaction,
        } in accepted
        {
            let told = events.iter().any(|event| {
                event["kind"] == "payment_confirmed" && text(&event["detail"]).contains(transaction)
            });
            assert!(
                told,
                "{case}: {transaction} of attempt {attempt} was accepted: {ended}"
            );
        }
        assert!(accepted.len() <= 1, "{case}: {accepted:?}");
        self.everybody_else_was_told_that_it_goes_back(ended).await;
    }

    /// All money that came in, but for what paid the order, was late or wrong,
    /// and the customer was told.
    async fn everybody_else_was_told_that_it_goes_back(&self, ended: &Value) {
        let own = ended["payment"]["transaction_id"].as_str();
        eventually(
            &format!("{}: money that goes back", self.case),
            SOON,
            async || {
                let ledger = self.order.ledger().await;
                let told = self.order.by.told_of(&self.order.id).await;
                let untold: Vec<_> = ledger
                    .payments
                    .iter()
                    .flat_map(|payment| &payment.transactions)
                    .filter(|money| money.status != "declined")
                    .map(|money| money.transaction_id.as_str())
                    .filter(|id| Some(*id) != own)
                    .filter(|id| {
                        let by_name = told.iter().any(|text| text.contains(id));
                        let as_wrong = id.starts_with("txn-wrong")
                            && told.iter().any(|text| text.contains("was paid instead of"));
                        !by_name && !as_wrong
                    })
                    .collect();
                if untold.is_empty() {
                    Ok(())
                } else {
                    Err(format!("{untold:?} is told of by none of {told:#?}"))
                }
            },
        )
        .await;
    }
}

/// How the provider's callbacks come: as they should, twice and out of order,
/// or late.
fn noise(number: usize) -> Value {
    json!({
        "payments": match number % 3 {
            0 => json!({}),
            1 => json!({ "duplicate": 1, "reorder": true }),
            _ => json!({ "delay_ms": 150 }),
        }
    })
}
