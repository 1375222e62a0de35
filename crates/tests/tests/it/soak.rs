//! A random day in the shop: customers who change their minds, an outside world
//! with every fault, processes that are killed and frozen; then quiet, and the
//! checker.
//!
//! `just soak DAYS ORDERS SEED` runs it by `SOAK_SEEDS` (how many days),
//! `SOAK_ORDERS` (orders of each) and `SOAK_SEED` (the first one's seed). The same seed
//! plans the same actions in the same order; what comes of them depends on
//! timing, which no seed decides.

mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::{Either, join_all, select};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use self::plan::{Basket, Cart, Day, Deciding, Mishap, Paying, PlannedOrder, Shopper, Then};
use crate::checker;
use crate::shop::{Answer, Client, Shop, order_form, text, try_send};
use crate::world::{Setup, World, own_alone};

/// Orders of an ordinary run.
const ORDERS: usize = 60;
const SEED: u64 = 20_261_122;
/// Longest that somebody waits for an answer: a frozen process gives none.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Longest that somebody insists.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest until everything has come to rest: sleeps of up to a minute between
/// two tries, and the windows below.
const QUIET_WITHIN: Duration = Duration::from_secs(150);
/// Shoppers whose notifications are watched all day.
const WATCHED: usize = 3;

#[test]
fn a_random_day_ends_well() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| {
            text.parse()
                .unwrap_or_else(|_| panic!("{name} must be a number, not {text}"))
        })
    };
    let first = number("SOAK_SEED", SEED);
    let orders = usize::try_from(number("SOAK_ORDERS", ORDERS as u64)).expect("a number of orders");
    for seed in first..first + number("SOAK_SEEDS", 1) {
        let setup = Setup::with("PAYMENT_WINDOW", "10s")
            .and("APPROVAL_WINDOW", "10s")
            // Invocations are suspended at every wait, and replayed after it.
            .and("RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT", "50ms")
            .lasting(Duration::from_secs(5 * 60 + orders as u64 * 2));
        own_alone(&setup, async |shop| {
            live_through(shop, &Day::plan(seed, orders)).await;
        });
    }
}

async fn live_through(shop: &Shop, day: &Day) {
    let began = std::time::Instant::now();
    let diary = Diary::default();
    shop.faults(day.faults()).await;
    for sku in plan::SKUS {
        let path = format!("/api/products/{}/restock", shop.product(sku).id);
        let enough = json!({ "quantity": 1_000 });
        shop.admin().post(&path, &enough).await.expect(200);
    }
    let shoppers = join_all(day.shoppers.iter().map(|it| shopper(shop, it, &diary)));
    let watched: Vec<_> = day
        .shoppers
        .iter()
        .take(WATCHED)
        .map(|it| it.name.clone())
        .collect();
    let watchers = join_all(watched.iter().map(|name| watch(shop, name, &diary)));
    let mishaps = mishaps(shop.world(), &day.mishaps, &diary);
    let whole_day = async {
        match select(std::pin::pin!(shoppers), std::pin::pin!(mishaps)).await {
            Either::Left((_, mishaps)) => {
                // Whoever is down comes back, and then nothing happens any more.
                diary.close();
                mishaps.await;
            }
            Either::Right(((), shoppers)) => {
                shoppers.await;
            }
        }
        shop.http
            .delete(format!("{}/faults", shop.sandbox))
            .send()
            .await
            .expect("the sandbox answers");
        checker::assert_quiet_within(shop, QUIET_WITHIN).await;
        all_was_heard(shop, &watched, &diary).await;
    };
    // Watchers watch until they are dropped.
    select(std::pin::pin!(whole_day), std::pin::pin!(watchers)).await;
    diary.show(day, began.elapsed());
}

/// What happened, for the report.
#[derive(Debug, Default)]
struct Diary {
    counts: Mutex<BTreeMap<String, usize>>,
    heard: Mutex<BTreeMap<String, BTreeSet<String>>>,
    closed: std::sync::atomic::AtomicBool,
}

impl Diary {
    fn note(&self, what: impl Into<String>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what.into()).or_default() += 1;
    }

    fn close(&self) {
        self.closed
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn hear(&self, name: &str, words: &str) {
        let ids = words.split("id=\"n-").skip(1);
        let ids = ids.filter_map(|rest| rest.split('"').next().map(str::to_owned));
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.entry(name.to_owned()).or_default().extend(ids);
    }

    fn heard(&self, name: &str) -> BTreeSet<String> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(name).cloned().unwrap_or_default()
    }

    #[expect(clippy::print_stdout, reason = "the report of the day")]
    fn show(&self, day: &Day, took: Duration) {
        println!(
            "seed {}: {} orders planned, {} people, {:.0} s, every invariant holds",
            day.seed,
            day.shoppers.iter().map(|it| it.orders.len()).sum::<usize>(),
            day.shoppers.len(),
            took.as_secs_f64(),
        );
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (what, count) in &*counts {
            println!("  {count:>5}  {what}");
        }
    }
}

/// Kills and freezes, until the diary is closed.
async fn mishaps(world: &World, planned: &[Mishap], diary: &Diary) {
    for mishap in planned {
        tokio::time::sleep(mishap.after()).await;
        if diary.is_closed() {
            return;
        }
        diary.note(format!("{mishap}"));
        match mishap {
            Mishap::Kill { parts, away, .. } => {
                for part in parts {
                    world.kill(*part);
                }
                tokio::time::sleep(*away).await;
                // In the order in which they need each other.
                for part in parts {
                    world.start_again(*part).await;
                }
            }
            Mishap::Freeze { part, away, .. } => {
                world.freeze(*part);
                tokio::time::sleep(*away).await;
                world.thaw(*part);
            }
        }
    }
}

/// Reads somebody's notifications all day, coming back whenever the stream
/// ends.
async fn watch(shop: &Shop, name: &str, diary: &Diary) {
    let person = shop.person(name);
    let mut last_id = None;
    loop {
        if let Ok(mut stream) = person
            .try_stream("/stream/notifications", last_id.as_deref())
            .await
        {
            while stream.news().await {
                for event in stream.take() {
                    diary.hear(name, &event.data);
                    last_id = event.id.or(last_id);
                }
            }
            for event in stream.take() {
                diary.hear(name, &event.data);
                last_id = event.id.or(last_id);
            }
            diary.note("a live stream was cut");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Everything that the watched people were told came over their streams.
async fn all_was_heard(shop: &Shop, watched: &[String], diary: &Diary) {
    for name in watched {
        let person = shop.person(name);
        let mut told = BTreeSet::new();
        for page in 1.. {
            let path = format!("/api/notifications?page={page}&per_page=100");
            let listing = person.get(&path).await.expect(200);
            let notifications = listing["notifications"].as_array().expect("a list");
            told.extend(notifications.iter().map(|it| text(&it["id"]).to_owned()));
            if notifications.len() < 100 {
                break;
            }
        }
        crate::world::eventually("the last is heard", Duration::from_secs(15), async || {
            let missed: Vec<_> = told.difference(&diary.heard(name)).cloned().collect();
            if missed.is_empty() {
                Ok(())
            } else {
                Err(format!("{name}'s stream never said {missed:?}"))
            }
        })
        .await;
    }
}

async fn shopper(shop: &Shop, planned: &Shopper, diary: &Diary) {
    tokio::time::sleep(planned.comes_after).await;
    let buyer = shop.person(&planned.name);
    for order in &planned.orders {
        let visit = Visit {
            shop,
            buyer: &buyer,
            order,
            diary,
        };
        visit.go().await;
    }
}

/// One order of one shopper.
struct Visit<'a> {
    shop: &'a Shop,
    buyer: &'a Client<'a>,
    order: &'a PlannedOrder,
    diary: &'a Diary,
}

impl Visit<'_> {
    async fn go(&self) {
        for (n, change) in self.order.cart.iter().enumerate() {
            self.change(n, change).await;
        }
        let Some(order_id) = self.check_out().await else {
            return;
        };
        self.pay(&order_id).await;
        self.decide(&order_id).await;
        if let Some(after) = self.order.recalled_after {
            tokio::time::sleep(after).await;
            self.recall(&order_id).await;
        }
        if !matches!(self.order.then, Then::Nothing) {
            self.after_delivery(&order_id).await;
        }
    }

    /// Somebody who got their parcel sends a piece back, or is given some money.
    async fn after_delivery(&self, order_id: &str) {
        let is_open = |order: &Value| {
            let status = text(&order["status"]);
            let wait = [
                "awaiting_payment",
                "awaiting_approval",
                "shipping",
                "in_transit",
            ];
            wait.contains(&status)
        };
        if matches!(self.order.deciding, Deciding::Nobody) {
            return;
        }
        let ended = self
            .until(order_id, |order| (!is_open(order)).then(|| order.clone()))
            .await;
        let Some(order) = ended.filter(|order| order["status"] == "delivered") else {
            return;
        };
        let admin = self.shop.admin();
        let returns = format!("/api/orders/{order_id}/returns");
        let sku = text(&order["lines"][0]["sku"]);
        let piece = json!([{ "sku": sku, "quantity": 1 }]);
        if let Then::Goodwill(cents) = self.order.then {
            let path = format!("/api/orders/{order_id}/refunds");
            let goodwill = json!({ "amount_cents": cents, "reason": "sorry" });
            self.insist_as(&admin, &path, "goodwill", &goodwill).await;
            return;
        }
        let ask = json!({ "items": piece, "reason": "too small" });
        self.insist(&returns, "return", &ask).await;
        let accepted = match self.order.then {
            Then::Return { .. } => true,
            Then::Refused => false,
            _ => return,
        };
        let decide = json!({ "accepted": accepted, "reason": "so it was decided" });
        self.insist_as(&admin, &format!("{returns}/1/decide"), "decide", &decide)
            .await;
        if let Then::Return {
            damaged,
            refund_cents,
        } = self.order.then
        {
            let nothing = json!([]);
            let damaged = if damaged { &piece } else { &nothing };
            let parcel = json!({ "damaged": damaged, "refund_cents": refund_cents });
            self.insist_as(&admin, &format!("{returns}/1/receive"), "receive", &parcel)
                .await;
        }
    }

    async fn change(&self, n: usize, change: &Cart) {
        let Cart { sku, basket } = change;
        let product = self.shop.product(sku).id;
        let (path, body) = match basket {
            Basket::Add(quantity) => (
                "/api/cart/add",
                json!({ "product_id": product, "quantity": quantity }),
            ),
            Basket::Update(quantity) => (
                "/api/cart/update",
                json!({ "product_id": product, "quantity": quantity }),
            ),
            Basket::Remove => ("/api/cart/remove", json!({ "product_id": product })),
        };
        self.insist(path, &format!("cart{n}"), &body).await;
    }

    async fn check_out(&self) -> Option<String> {
        let form = order_form(&self.order.id);
        let answer = if self.order.double_click {
            let (first, second) = futures::future::join(
                self.insist("/api/checkout", "checkout", &form),
                self.insist("/api/checkout", "again", &form),
            )
            .await;
            first.or(second)
        } else {
            self.insist("/api/checkout", "checkout", &form).await
        }?;
        self.accepted(&answer)
    }

    fn accepted(&self, answer: &Answer) -> Option<String> {
        if !matches!(answer.status, 200 | 202) {
            return None;
        }
        let order_id = text(&answer.body["order_id"]).to_owned();
        self.shop.accept(&order_id);
        Some(order_id)
    }

    async fn pay(&self, order_id: &str) {
        match self.order.paying {
            Paying::Never => {}
            Paying::OnThePage => self.use_page(order_id, "pay", None).await,
            Paying::Declined => self.use_page(order_id, "decline", None).await,
            Paying::AtTheSecondTry => {
                self.use_page(order_id, "decline", None).await;
                self.until(order_id, |order| {
                    (order["status"] == "payment_failed").then_some(())
                })
                .await;
                let form = order_form(&self.order.id);
                let again = self.insist("/api/checkout", "second", &form).await;
                if again.is_some_and(|answer| self.accepted(&answer).is_some()) {
                    self.use_page(order_id, "pay", Some(2)).await;
                }
            }
            Paying::ByHand { copies } => {
                if let Some(receipt) = self.receipt(order_id, "hand").await {
                    let calls = (0..copies).map(|n| {
                        let (key, receipt) = (format!("callback{n}"), &receipt);
                        async move {
                            self.insist("/api/payment/callback", &key, receipt).await;
                        }
                    });
                    join_all(calls).await;
                }
            }
            Paying::TwoTransactions => {
                let first = self.receipt(order_id, "one").await;
                let second = self.receipt(order_id, "two").await;
                if let (Some(first), Some(second)) = (first, second) {
                    futures::future::join(
                        self.insist("/api/payment/callback", "one", &first),
                        self.insist("/api/payment/callback", "two", &second),
                    )
                    .await;
                }
            }
            Paying::TheWrongAmount => {
                if let Some(mut receipt) = self.receipt(order_id, "wrong").await {
                    receipt["amount"] = json!(1);
                    self.insist("/api/payment/callback", "wrong", &receipt)
                        .await;
                    self.use_page(order_id, "pay", None).await;
                }
            }
            Paying::AtRestate { garbage } => {
                if let Some(receipt) = self.receipt(order_id, "straight").await {
                    let body = if garbage {
                        json!([1, "what"])
                    } else {
                        receipt.clone()
                    };
                    let path = format!(
                        "{}/restate/awakeables/{}/resolve",
                        self.shop.ingress,
                        text(&receipt["awakeable_id"])
                    );
                    self.try_once("resolve", self.shop.http.post(path).json(&body))
                        .await;
                }
            }
            Paying::WhileCancelling => {
                futures::future::join(self.use_page(order_id, "pay", None), self.cancel(order_id))
                    .await;
            }
            Paying::AfterCancelling => {
                let receipt = self.receipt(order_id, "late").await;
                self.cancel(order_id).await;
                if let Some(receipt) = receipt {
                    self.insist("/api/payment/callback", "late", &receipt).await;
                }
            }
        }
    }

    async fn decide(&self, order_id: &str) {
        if matches!(self.order.deciding, Deciding::Nobody) {
            return;
        }
        let waits = self
            .until(order_id, |order| match text(&order["status"]) {
                "awaiting_payment" => None,
                status => Some(status == "awaiting_approval"),
            })
            .await;
        if waits != Some(true) {
            return;
        }
        let approve = self.judge(order_id, true);
        match self.order.deciding {
            Deciding::Approve => approve.await,
            Deciding::Reject => self.judge(order_id, false).await,
            Deciding::ApproveAndReject => {
                futures::future::join(approve, self.judge(order_id, false)).await;
            }
            Deciding::ApproveAndCancel => {
                futures::future::join(approve, self.cancel(order_id)).await;
            }
            Deciding::Cancel => self.cancel(order_id).await,
            Deciding::Nobody => {}
        }
    }

    async fn judge(&self, order_id: &str, approved: bool) {
        let path = format!("/api/workflow/{order_id}/approve");
        let mut body = json!({ "approved": approved, "reason": "so it was decided" });
        if approved && self.order.in_part {
            body["without"] = self.a_piece(order_id).await;
        }
        let admin = self.shop.admin();
        let key = format!("{order_id}-{approved}");
        self.insist_as(&admin, &path, &key, &body).await;
    }

    /// A piece of the order, if it has more than one.
    async fn a_piece(&self, order_id: &str) -> Value {
        let lines = self
            .until(order_id, |order| Some(order["lines"].clone()))
            .await;
        let lines = lines.unwrap_or_default();
        let all = || lines.as_array().into_iter().flatten();
        let pieces: i64 = all().filter_map(|line| line["quantity"].as_i64()).sum();
        match all().next() {
            Some(line) if pieces > 1 => json!([{ "sku": line["sku"], "quantity": 1 }]),
            _ => json!([]),
        }
    }

    async fn cancel(&self, order_id: &str) {
        let path = format!("/api/orders/{order_id}/cancel");
        self.insist(&path, "cancel", &json!({})).await;
    }

    /// An operator cancels the workflow's invocation, if it can be found.
    async fn recall(&self, order_id: &str) {
        let query = format!(
            "SELECT id FROM sys_invocation WHERE target = 'OrderFulfillmentWorkflow/{order_id}/Run'"
        );
        for row in self.shop.try_sql(&query).await.unwrap_or_default() {
            let path = format!(
                "{}/invocations/{}/cancel",
                self.shop.admin,
                text(&row["id"])
            );
            self.try_once("recall", self.shop.http.patch(path)).await;
        }
    }

    async fn use_page(&self, order_id: &str, action: &str, attempt: Option<i64>) {
        let page = self
            .until(order_id, |order| {
                let payment = &order["payment"];
                let here = attempt.is_none_or(|attempt| payment["attempt"] == attempt);
                here.then(|| payment["pay_url"].as_str().map(str::to_owned))?
            })
            .await;
        if let Some(page) = page {
            let request = self
                .shop
                .http
                .post(page)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(format!("action={action}"));
            self.try_once(&format!("page:{action}"), request).await;
        }
    }

    /// What a callback for this order's payment says.
    async fn receipt(&self, order_id: &str, transaction: &str) -> Option<Value> {
        self.until(order_id, |order| {
            let awakeable = order["payment"]["awakeable_id"].as_str()?;
            Some(json!({
                "awakeable_id": awakeable,
                "transaction_id": format!("{transaction}-{order_id}"),
                "amount": order["total_cents"],
                "status": "success",
            }))
        })
        .await
    }

    /// Looks at the order until there is something to see, or patience ends.
    async fn until<T>(&self, order_id: &str, look: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let path = format!("/api/orders/{order_id}");
        let looking = async {
            loop {
                let request = self.buyer.request(Method::GET, &path);
                if let Ok(answer) = try_send(request.timeout(ANSWER_WITHIN)).await
                    && answer.status == 200
                    && let Some(seen) = look(&answer.body)
                {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.ok()
    }

    async fn insist(&self, path: &str, key: &str, body: &Value) -> Option<Answer> {
        self.insist_as(self.buyer, path, key, body).await
    }

    /// Sends the same request with the same key until it is answered, or
    /// patience ends.
    async fn insist_as(
        &self,
        person: &Client<'_>,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Option<Answer> {
        let key = format!("{}-{}-{key}", self.buyer.name, self.order.id);
        let insisting = async {
            loop {
                let request = person
                    .request(Method::POST, path)
                    .header("idempotency-key", &key)
                    .json(body)
                    .timeout(ANSWER_WITHIN);
                match try_send(request).await {
                    Ok(answer) if answer.status < 500 => return answer,
                    _ => tokio::time::sleep(Duration::from_millis(150)).await,
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, insisting).await.ok();
        let said = answer
            .as_ref()
            .map_or("no answer".to_owned(), |it| it.status.to_string());
        let what = path.replace(&format!("{}.{}", self.buyer.name, self.order.id), "{id}");
        self.diary.note(format!("{what}: {said}"));
        answer
    }

    async fn try_once(&self, what: &str, request: RequestBuilder) {
        let said = match try_send(request.timeout(ANSWER_WITHIN)).await {
            Ok(answer) => answer.status.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        self.diary.note(format!("{what}: {said}"));
    }
}
