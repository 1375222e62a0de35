//! People, and what they do in the shop.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};
use waybill_domain::order::OrderRecord;

use crate::outside::{Ledger, PaymentEffects, ShipmentEffects};
use crate::world::{Component, World, eventually};

/// How long an order may take to its next step in a gentle world.
pub const SOON: Duration = Duration::from_secs(15);

/// The shop as one test sees it: the world, and the people of this test.
pub struct Shop {
    world: Arc<World>,
    /// Set where other tests share the world.
    number: Option<u32>,
    people: Mutex<BTreeSet<String>>,
    accepted: Mutex<BTreeSet<String>>,
}

impl Deref for Shop {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Shop {
    /// In a world of its own: names are as they are said.
    pub fn alone(world: Arc<World>) -> Self {
        Self {
            world,
            number: None,
            people: Mutex::default(),
            accepted: Mutex::default(),
        }
    }

    /// Beside other tests: names get a number.
    pub fn beside_others(world: Arc<World>, number: u32) -> Self {
        Self {
            number: Some(number),
            ..Self::alone(world)
        }
    }

    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    pub fn alice(&self) -> Client<'_> {
        self.person("alice")
    }

    pub fn bob(&self) -> Client<'_> {
        self.person("bob")
    }

    /// A customer of this name.
    pub fn person(&self, name: &str) -> Client<'_> {
        let name = match self.number {
            Some(number) => format!("{name}-{number}"),
            None => name.to_owned(),
        };
        self.people().insert(name.clone());
        self.known(name)
    }

    /// Everybody who has come so far.
    pub fn everybody(&self) -> Vec<Client<'_>> {
        let names: Vec<_> = self.people().iter().cloned().collect();
        names.into_iter().map(|name| self.known(name)).collect()
    }

    fn known(&self, name: String) -> Client<'_> {
        Client {
            shop: self,
            at: Component::Gateway,
            proof: Proof::Header(name.clone()),
            name,
        }
    }

    /// The admin. There is one in every world.
    pub fn admin(&self) -> Client<'_> {
        self.known("admin".to_owned())
    }

    /// The admin, by an API token where a name is not enough.
    pub fn auditor(&self) -> Client<'_> {
        match &self.admin_token {
            Some(token) => self.admin().with_token(token),
            None => self.admin(),
        }
    }

    /// Somebody who does not say who they are.
    pub fn anonymous(&self) -> Client<'_> {
        Client {
            shop: self,
            at: Component::Gateway,
            name: String::new(),
            proof: Proof::None,
        }
    }

    /// Whether the user is one of this test's people.
    pub fn knows(&self, user: &str) -> bool {
        self.number.is_none() || self.people().contains(user)
    }

    /// Whether this test has the world for itself.
    pub fn is_alone(&self) -> bool {
        self.number.is_none()
    }

    /// The orders that the shop has accepted from this test's people.
    pub fn accepted(&self) -> BTreeSet<String> {
        self.accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn accept(&self, order_id: &str) {
        self.accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(order_id.to_owned());
    }

    fn people(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody in front of the shop.
#[derive(Clone)]
pub struct Client<'a> {
    pub shop: &'a Shop,
    pub name: String,
    at: Component,
    proof: Proof,
}

/// How somebody shows who they are.
#[derive(Debug, Clone)]
enum Proof {
    None,
    /// `X-User-Id`, in demo mode.
    Header(String),
    /// An API token.
    Token(String),
    /// A session cookie, as a browser sends it.
    Cookie(String),
}

impl<'a> Client<'a> {
    /// The same person with an API token.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.proof = Proof::Token(token.to_owned());
        self
    }

    /// The same person with a session cookie.
    #[must_use]
    pub fn with_cookie(mut self, cookie: &str) -> Self {
        self.proof = Proof::Cookie(cookie.to_owned());
        self
    }

    /// The same person at another gateway.
    #[must_use]
    pub fn at(mut self, gateway: Component) -> Self {
        self.at = gateway;
        self
    }

    /// A request with nothing but the proof of who asks.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let shop = self.shop;
        let gateway = match self.at {
            Component::Gateway2 => &shop.gateway2,
            _ => &shop.gateway,
        };
        let request = shop.http.request(method, format!("{gateway}{path}"));
        match &self.proof {
            Proof::None => request,
            Proof::Header(name) => request.header("x-user-id", name),
            Proof::Token(token) => request.bearer_auth(token),
            Proof::Cookie(cookie) => request
                .header(header::COOKIE, cookie)
                .header("sec-fetch-site", "same-origin"),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// The same with an `Idempotency-Key`.
    pub async fn post_keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).json(body);
        send(request.header("Idempotency-Key", key)).await
    }

    /// The same page as Markdown.
    pub async fn markdown(&self, path: &str) -> String {
        let request = self.request(Method::GET, path);
        let answer = send(request.header(header::ACCEPT, "text/markdown")).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(
            answer.content_type.starts_with("text/markdown"),
            "{path} is {}",
            answer.content_type
        );
        answer.text
    }

    pub async fn try_add(&self, sku: &str, quantity: i64) -> Answer {
        let product_id = self.shop.product(sku).id;
        let body = json!({ "product_id": product_id, "quantity": quantity });
        self.post("/api/cart/add", &body).await
    }

    /// Adds to the cart; answers the cart.
    pub async fn add(&self, sku: &str, quantity: i64) -> Value {
        self.try_add(sku, quantity).await.expect(200)
    }

    pub async fn cart(&self) -> Value {
        self.get("/api/cart").await.expect(200)
    }

    /// SKU and quantity of what is in the cart.
    pub async fn in_cart(&self) -> Vec<(String, i64)> {
        lines_of(&self.cart().await["items"])
    }

    pub async fn try_checkout(&self, order_id: &str) -> Answer {
        let answer = self.post("/api/checkout", &order_form(order_id)).await;
        if matches!(answer.status, 200 | 202) {
            self.shop.accept(text(&answer.body["order_id"]));
        }
        answer
    }

    /// Checks out; answers when the payment page waits.
    pub async fn checkout(&self, order_id: &str) -> Order<'a> {
        let answer = self.try_checkout(order_id).await;
        let order = self.placed(&answer.expect(202));
        order.payment_page().await;
        order
    }

    /// The order that a checkout has answered, and that waits for its payment.
    #[track_caller]
    pub fn placed(&self, answer: &Value) -> Order<'a> {
        assert_eq!(answer["status"], "awaiting_payment", "{answer}");
        self.ordered(answer)
    }

    /// The same where the outside world pays by itself: it may have done so
    /// before the checkout was answered.
    #[track_caller]
    pub fn accepted(&self, answer: &Answer) -> Order<'a> {
        assert_eq!(answer.status, 202, "{answer:?}");
        self.ordered(&answer.body)
    }

    #[track_caller]
    fn ordered(&self, answer: &Value) -> Order<'a> {
        let id = text(&answer["order_id"]).to_owned();
        let owner = id.split_once('.').map(|(user, _)| user);
        assert_eq!(owner, Some(self.name.as_str()), "{answer}");
        Order {
            by: self.clone(),
            id,
            total: answer["total_cents"].as_i64().expect("a total in cents"),
        }
    }

    /// Puts one product into the cart, checks out and pays.
    pub async fn buy(&self, sku: &str, quantity: i64, order_id: &str) -> Order<'a> {
        self.add(sku, quantity).await;
        let order = self.checkout(order_id).await;
        order.pay().await;
        order.until("awaiting_approval").await;
        order
    }

    pub async fn try_decide(&self, order_id: &str, decision: &Value) -> Answer {
        let path = format!("/api/workflow/{order_id}/approve");
        self.post(&path, decision).await
    }

    pub async fn approve(&self, order: &Order<'_>) {
        let answer = self
            .try_decide(&order.id, &json!({ "approved": true }))
            .await;
        answer.expect(202);
    }

    pub async fn reject(&self, order: &Order<'_>, reason: &str) {
        let decision = json!({ "approved": false, "reason": reason });
        self.try_decide(&order.id, &decision).await.expect(202);
    }

    /// The texts of this person's notifications about an order, oldest first.
    pub async fn told_of(&self, order_id: &str) -> Vec<String> {
        let all = self.get("/api/notifications").await.expect(200);
        let all = all["notifications"].as_array().expect("a list").iter();
        let mine = all.filter(|it| it["order_id"] == order_id);
        let mut texts: Vec<_> = mine.map(|it| text(&it["text"]).to_owned()).collect();
        texts.reverse();
        texts
    }
}

/// What a checkout needs of somebody the shop has no address of.
pub fn order_form(order_id: &str) -> Value {
    json!({
        "order_id": order_id,
        "zone": "Domestic",
        "shipping_address": "1 Test Street, Springfield",
    })
}

/// One order, seen by who placed it.
#[derive(Clone)]
pub struct Order<'a> {
    pub by: Client<'a>,
    /// The whole id, `{user}.{id}`.
    pub id: String,
    pub total: i64,
}

impl Order<'_> {
    pub async fn json(&self) -> Value {
        let path = format!("/api/orders/{}", self.id);
        self.by.get(&path).await.expect(200)
    }

    /// Waits for a status; answers the order.
    pub async fn until(&self, status: &str) -> Value {
        self.until_within(status, SOON).await
    }

    pub async fn until_within(&self, status: &str, within: Duration) -> Value {
        let what = format!("{} becomes {status}", self.id);
        eventually(&what, within, async || {
            let order = self.json().await;
            if order["status"] == status {
                Ok(order)
            } else {
                Err(order.to_string())
            }
        })
        .await
    }

    /// The awakeable and the page of the current payment, once both are known.
    pub async fn payment_page(&self) -> (String, String) {
        let what = format!("the payment page of {}", self.id);
        eventually(&what, SOON, async || {
            let order = self.json().await;
            let payment = &order["payment"];
            match (
                payment["awakeable_id"].as_str(),
                payment["pay_url"].as_str(),
            ) {
                (Some(awakeable), Some(url)) => Ok((awakeable.to_owned(), url.to_owned())),
                _ => Err(order.to_string()),
            }
        })
        .await
    }

    pub async fn awakeable(&self) -> String {
        self.payment_page().await.0
    }

    /// Pays on the provider's page.
    pub async fn pay(&self) {
        let (_, url) = self.payment_page().await;
        self.by.shop.use_payment_page(&url, "pay").await;
    }

    /// Declines on the provider's page.
    pub async fn decline(&self) {
        let (_, url) = self.payment_page().await;
        self.by.shop.use_payment_page(&url, "decline").await;
    }

    /// What the provider's callback for a payment says.
    pub async fn receipt(&self, transaction_id: &str) -> Value {
        json!({
            "awakeable_id": self.awakeable().await,
            "transaction_id": transaction_id,
            "amount": self.total,
            "status": "success",
        })
    }

    /// Calls back as the provider would, with this transaction.
    pub async fn call_back(&self, transaction_id: &str) -> Answer {
        let receipt = self.receipt(transaction_id).await;
        let nobody = self.by.shop.anonymous();
        nobody.post("/api/payment/callback", &receipt).await
    }

    pub async fn try_cancel(&self) -> Answer {
        self.by
            .post(&format!("/api/orders/{}/cancel", self.id), &json!({}))
            .await
    }

    pub async fn cancel(&self) {
        self.try_cancel().await.expect(202);
    }

    /// An operator cancels the workflow's invocation in Restate.
    pub async fn recall(&self) {
        let shop = self.by.shop;
        let run = format!("OrderFulfillmentWorkflow/{}/Run", self.id);
        for id in shop.open_invocations(&run, None).await {
            shop.cancel_invocation(&id).await;
        }
    }

    pub async fn ledger(&self) -> Ledger {
        self.by.shop.ledger(&self.id).await
    }

    /// The truth: what Restate holds. `None` while the workflow has not begun.
    pub async fn workflow_record(&self) -> Option<OrderRecord> {
        let state = self
            .by
            .shop
            .state("OrderFulfillmentWorkflow", &self.id, "record")
            .await?;
        Some(serde_json::from_value(state).expect("a record"))
    }

    /// How often the workflow was started.
    pub async fn workflow_runs(&self) -> usize {
        let target = format!("OrderFulfillmentWorkflow/{}/Run", self.id);
        self.by.shop.invocations(&target).await.len()
    }

    /// It was paid, captured and booked once, by one workflow.
    pub async fn has_happened_once(&self) {
        let ledger = self.ledger().await;
        let once = PaymentEffects {
            authorize: 1,
            capture: 1,
            void: 0,
            refund: 0,
        };
        assert_eq!(ledger.payment().effects, once);
        let booked = ShipmentEffects { book: 1, cancel: 0 };
        assert_eq!(ledger.shipment().effects, booked);
        assert_eq!(self.workflow_runs().await, 1);
    }
}

/// The kinds of an order's events, in order.
pub fn kinds_of(order: &Value) -> Vec<String> {
    let events = order["events"].as_array().expect("events are a list");
    events
        .iter()
        .map(|it| text(&it["kind"]).to_owned())
        .collect()
}

/// SKU and quantity of each line.
pub fn lines_of(lines: &Value) -> Vec<(String, i64)> {
    let lines = lines.as_array().expect("lines are a list");
    lines
        .iter()
        .map(|line| {
            (
                text(&line["sku"]).to_owned(),
                line["quantity"].as_i64().unwrap_or_default(),
            )
        })
        .collect()
}

#[track_caller]
pub fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not text"))
}

/// What the gateway answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub cookies: Vec<String>,
    pub retry_after: Option<String>,
    pub text: String,
    /// Null when it is not JSON.
    pub body: Value,
}

impl Answer {
    /// The body, if the status is this.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }

    /// The problem, if it is one of this status and kind, and well said.
    #[track_caller]
    pub fn problem(self, status: u16, kind: &str) -> Value {
        let problem = self.refusal(status);
        let name = text(&problem["type"])
            .rsplit(':')
            .next()
            .unwrap_or_default();
        assert_eq!(name, kind, "{problem}");
        problem
    }

    /// The problem, if it is one of this status, and well said.
    #[track_caller]
    pub fn refusal(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(
            self.content_type, "application/problem+json",
            "{}",
            self.text
        );
        assert_eq!(self.body["status"], status, "{}", self.text);
        let sentence = text(&self.body["detail"]);
        assert!(
            sentence.split_whitespace().count() >= 4,
            "is this a sentence? {sentence:?}"
        );
        assert!(!text(&self.body["title"]).is_empty(), "{}", self.text);
        self.body
    }
}

/// Sends and reads to the end. A 5xx is always a defect: those who expect one
/// use [`send_anyway`].
#[track_caller]
pub fn send(request: RequestBuilder) -> impl Future<Output = Answer> {
    let at = std::panic::Location::caller();
    async move {
        let answer = send_anyway(request).await;
        assert!(answer.status < 500, "{at}: {answer:?}");
        answer
    }
}

/// Sends and reads to the end, whatever the status.
pub async fn send_anyway(request: RequestBuilder) -> Answer {
    try_send(request).await.expect("the gateway answers")
}

/// The same where the gateway may be gone.
pub async fn try_send(request: RequestBuilder) -> reqwest::Result<Answer> {
    let answer = request.send().await?;
    let headers = |name| answer.headers().get_all(name).iter();
    let strings = |name| {
        headers(name)
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let content_type = strings(header::CONTENT_TYPE).concat();
    let cookies = strings(header::SET_COOKIE);
    let retry_after = strings(header::RETRY_AFTER).pop();
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    Ok(Answer {
        status,
        content_type,
        cookies,
        retry_after,
        body: serde_json::from_str(&text).unwrap_or_default(),
        text,
    })
}
