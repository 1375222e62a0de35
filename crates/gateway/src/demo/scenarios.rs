//! The five scenarios of the README, each a story that runs by itself while the
//! visitor watches.
//!
//! A story does only what a person could: it asks this gateway's own API as the
//! demo's users, and pays on the sandbox's page. What it says is its log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::ServiceExt as _;
use uuid::Uuid;
use waybill_domain::Timestamp;
use waybill_domain::order::OrderStatus;

use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::infra::Shared;

/// Between two steps, so that a visitor can follow.
const PACE: Duration = Duration::from_millis(1500);
/// How often the order is looked at while a story waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a story waits for anything.
const PATIENCE: Duration = Duration::from_secs(90);
/// Largest answer that is read.
const MAX_ANSWER: usize = 1 << 20;
/// The demo's people.
const CUSTOMER: &str = "alice";
const ADMIN: &str = "admin";

/// What each scenario is called.
const TITLES: [(u8, &str); 5] = [
    (1, "Happy path: from cart to delivery"),
    (2, "Payment declined: the cart is kept"),
    (3, "Rejected by an admin: everything is undone"),
    (4, "The carrier refuses: everything is undone"),
    (5, "The services crash while the payment is pending"),
];

/// Makes the router of this gateway; `None` when it is shutting down.
pub type OwnRouter = Box<dyn Fn() -> Option<Router> + Send + Sync>;

/// Where every scenario stands, and where stories ask.
#[derive(Default)]
pub struct Scenarios {
    runs: Mutex<BTreeMap<u8, Scenario>>,
    router: OnceLock<OwnRouter>,
}

/// One scenario, and its latest run.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Scenario {
    /// 1 to 5, as in the README.
    pub number: u8,
    /// What it shows.
    pub title: &'static str,
    /// Whether it is running.
    pub running: bool,
    /// The order of its latest run; empty before the first.
    pub order_id: String,
    /// What has happened, oldest first.
    pub steps: Vec<LogLine>,
    /// How it ended.
    pub result: Option<Outcome>,
}

/// One sentence of a story.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub text: String,
}

/// How a story ended.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Outcome {
    /// Whether everything went as it should.
    pub passed: bool,
    /// In a sentence.
    pub text: String,
}

impl Scenarios {
    /// Says where stories ask: at this gateway itself, as anybody could.
    pub fn ask_at(&self, router: OwnRouter) {
        // The first counts: there is one gateway.
        let _ = self.router.set(router);
    }

    /// Every scenario.
    pub fn all(&self) -> Vec<Scenario> {
        let runs = self.runs();
        TITLES
            .iter()
            .map(|(number, title)| {
                runs.get(number).cloned().unwrap_or(Scenario {
                    number: *number,
                    title,
                    running: false,
                    order_id: String::new(),
                    steps: Vec::new(),
                    result: None,
                })
            })
            .collect()
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, BTreeMap<u8, Scenario>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a scenario in the background. A customer plays their own part, an
/// admin watches alice.
pub(super) fn start(
    infra: &Shared,
    scenarios: &Arc<Scenarios>,
    caller: &Caller,
    number: &str,
) -> Result<Scenario, Problem> {
    let Some(router) = scenarios.router.get().and_then(|router| router()) else {
        return Err(Problem::unavailable("the gateway is shutting down"));
    };
    let (number, title) = TITLES
        .into_iter()
        .find(|(known, _)| number == known.to_string())
        .ok_or_else(|| Problem::not_found("there are scenarios 1 to 5"))?;
    let customer = if caller.is_admin() {
        CUSTOMER
    } else {
        caller.user.as_str()
    };
    // The sandbox's carrier refuses what has FAIL_SHIP in its id.
    let marker = if number == 4 { "FAIL_SHIP-" } else { "" };
    let run = &Uuid::new_v4().simple().to_string()[..6];
    let short = format!("scenario-{number}-{marker}{run}");
    let scenario = Scenario {
        number,
        title,
        running: true,
        order_id: format!("{customer}.{short}"),
        steps: Vec::new(),
        result: None,
    };
    let mut runs = scenarios.runs();
    // Two at once would buy from one cart.
    let owner = format!("{customer}.");
    if let Some(other) = runs
        .values()
        .find(|run| run.running && (run.number == number || run.order_id.starts_with(&owner)))
    {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "scenario_running",
            "Already running",
            format!(
                "scenario {} is running for {customer}: watch it, then start this one",
                other.number
            ),
        ));
    }
    runs.insert(number, scenario.clone());
    drop(runs);
    let story = Story {
        router,
        infra: Arc::clone(infra),
        scenarios: Arc::clone(scenarios),
        number,
        customer: customer.to_owned(),
        order: scenario.order_id.clone(),
        short,
    };
    let closing = infra.live.closing().clone();
    tokio::spawn(async move {
        closing.run_until_cancelled(story.run()).await;
    });
    infra.live.tell_all();
    Ok(scenario)
}

/// Waiting that ends.
struct Patience {
    what: String,
    ends_at: Instant,
}

impl Patience {
    fn new(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            ends_at: Instant::now() + PATIENCE,
        }
    }

    async fn pause(&self) -> Onward<()> {
        if Instant::now() > self.ends_at {
            return Err(format!(
                "waited {} s in vain for {}",
                PATIENCE.as_secs(),
                self.what
            ));
        }
        sleep(LOOK_EVERY).await;
        Ok(())
    }
}

struct Story {
    infra: Shared,
    scenarios: Arc<Scenarios>,
    router: Router,
    number: u8,
    customer: String,
    order: String,
    short: String,
}

/// What a step gives to the next, or why the story cannot go on.
type Onward<T> = Result<T, String>;

impl Story {
    async fn run(self) {
        let told = match self.number {
            1 => self.happy_path().await,
            2 => self.payment_declined().await,
            3 => self.rejected().await,
            4 => self.shipping_refused().await,
            _ => self.crash_while_pending().await,
        };
        let outcome = match told {
            Ok(text) => Outcome { passed: true, text },
            Err(text) => Outcome {
                passed: false,
                text,
            },
        };
        if let Some(scenario) = self.scenarios.runs().get_mut(&self.number) {
            scenario.running = false;
            scenario.result = Some(outcome);
        }
        self.infra.live.tell_all();
    }

    async fn happy_path(&self) -> Onward<String> {
        self.place().await?;
        self.pay("pay").await?;
        self.decide(true, None).await?;
        self.reach("delivered").await?;
        Ok("Delivered: paid once, shipped once".to_owned())
    }

    async fn payment_declined(&self) -> Onward<String> {
        self.place().await?;
        self.pay("decline").await?;
        self.reach("payment_failed").await?;
        let cart = self
            .ask(&self.customer, Method::GET, "/api/cart", None)
            .await?;
        if cart["items"].as_array().is_none_or(Vec::is_empty) {
            return Err("the cart should have been kept, but is empty".to_owned());
        }
        Ok("The payment failed, the stock is released, the cart is kept".to_owned())
    }

    async fn rejected(&self) -> Onward<String> {
        self.place().await?;
        self.pay("pay").await?;
        self.decide(false, Some("Scenario 3: not today")).await?;
        self.reach("rejected").await?;
        Ok("Rejected: the payment is voided, the stock released".to_owned())
    }

    async fn shipping_refused(&self) -> Onward<String> {
        self.place().await?;
        self.pay("pay").await?;
        self.decide(true, None).await?;
        self.say("The carrier is asked, and says no four times");
        self.reach("shipping_failed").await?;
        Ok("Shipping failed: no parcel to call back; payment voided, stock released".to_owned())
    }

    async fn crash_while_pending(&self) -> Onward<String> {
        let first = self.place().await?;
        self.say("The services crash now, while the payment is pending");
        super::crash_services(&self.infra)
            .await
            .map_err(|problem| problem.detail.clone())?;
        let patience = Patience::new("the services to come back");
        loop {
            patience.pause().await?;
            let health = self.infra.live.health();
            if health.sources.iter().all(|source| source.connected) {
                break;
            }
        }
        self.say("The services are back; the same checkout again");
        let second = self.checkout().await?;
        if second["payment"]["awakeable_id"] != first["payment"]["awakeable_id"] {
            return Err("the second checkout should have found the first attempt".to_owned());
        }
        self.pay("pay").await?;
        self.say("The same checkout a third time");
        let third = self.checkout().await?;
        if third["already_processed"] != json!(true) {
            return Err("the third checkout should have answered already_processed".to_owned());
        }
        self.decide(true, None).await?;
        self.reach("delivered").await?;
        Ok("Delivered: one payment and one shipment, in spite of the crash".to_owned())
    }

    /// Fills the cart and checks out; waits for the payment page.
    async fn place(&self) -> Onward<Value> {
        let product = self.product().await?;
        self.say(&format!(
            "{} puts 1 × {} into the cart",
            self.customer,
            product["name"].as_str().unwrap_or("a product")
        ));
        let line = json!({ "product_id": product["id"], "quantity": 1 });
        self.ask(&self.customer, Method::POST, "/api/cart/add", Some(line))
            .await?;
        self.pause().await;
        self.say("Checkout: the stock is reserved, the payment requested");
        self.checkout().await
    }

    async fn product(&self) -> Onward<Value> {
        let listed = self
            .ask(
                &self.customer,
                Method::GET,
                "/api/products?per_page=100",
                None,
            )
            .await?;
        let products = listed["products"].as_array().cloned().unwrap_or_default();
        products
            .into_iter()
            .max_by_key(|product| product["stock_qty"].as_i64())
            .filter(|product| product["stock_qty"].as_i64() > Some(0))
            .ok_or_else(|| "nothing is in stock: restock a product first".to_owned())
    }

    async fn checkout(&self) -> Onward<Value> {
        // Whoever watches may have no address of their own.
        let body = json!({
            "order_id": self.short,
            "zone": "Domestic",
            "shipping_address": "1 Main Street, Springfield",
        });
        let patience = Patience::new("the payment page");
        loop {
            let answer = self
                .ask(
                    &self.customer,
                    Method::POST,
                    "/api/checkout",
                    Some(body.clone()),
                )
                .await?;
            let ready = answer["payment"]["pay_url"].is_string()
                || answer["already_processed"] == json!(true);
            if ready {
                return Ok(answer);
            }
            patience.pause().await?;
        }
    }

    /// What the customer does on the provider's page.
    async fn pay(&self, action: &str) -> Onward<()> {
        self.pause().await;
        let order = self.order().await?;
        let url = order["payment"]["pay_url"].as_str().unwrap_or_default();
        let payment = url
            .split(['?', '#'])
            .next()
            .and_then(|path| path.rsplit('/').next())
            .filter(|id| !id.is_empty())
            .ok_or("the payment has no page")?;
        // The page's own address may be one that only browsers reach.
        let sandbox = self
            .infra
            .settings
            .sandbox_url()
            .unwrap_or("http://127.0.0.1:8090");
        self.say(match action {
            "pay" => "The customer pays on the provider's page",
            _ => "The customer declines on the provider's page",
        });
        let answer = self
            .infra
            .http
            .post(format!("{sandbox}/pay/{payment}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("action={action}"))
            .timeout(super::ANSWER_WITHIN)
            .send()
            .await
            .map_err(|_| "the provider's page is not reachable: is `gateway sandbox` running?")?;
        if answer.status().is_client_error() || answer.status().is_server_error() {
            return Err(format!("the provider's page answered {}", answer.status()));
        }
        if action == "pay" {
            self.reach("awaiting_approval").await?;
        }
        Ok(())
    }

    async fn decide(&self, approved: bool, reason: Option<&str>) -> Onward<()> {
        self.pause().await;
        self.say(if approved {
            "The admin approves"
        } else {
            "The admin rejects"
        });
        let path = format!("/api/workflow/{}/approve", self.order);
        let body = json!({ "approved": approved, "reason": reason });
        self.ask(ADMIN, Method::POST, &path, Some(body)).await?;
        Ok(())
    }

    /// Waits until the order has that status.
    async fn reach(&self, status: &str) -> Onward<()> {
        let patience = Patience::new(status);
        let order = loop {
            let order = self.order().await?;
            let now = order["status"].as_str().unwrap_or_default();
            if now == status {
                break order;
            }
            if OrderStatus::parse(now).is_some_and(OrderStatus::is_terminal) {
                return Err(format!("the order should become {status}, but is {now}"));
            }
            patience.pause().await?;
        };
        let latest = order["events"].as_array().and_then(|events| events.last());
        if let Some(detail) = latest.and_then(|event| event["detail"].as_str()) {
            self.say(detail);
        }
        Ok(())
    }

    async fn order(&self) -> Onward<Value> {
        self.ask(
            &self.customer,
            Method::GET,
            &format!("/api/orders/{}", self.order),
            None,
        )
        .await
    }

    /// Asks this gateway's own API, as anybody could over HTTP.
    async fn ask(
        &self,
        user: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Onward<Value> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("x-user-id", user)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
            .map_err(|error| error.to_string())?;
        let Ok(answer) = self.router.clone().oneshot(request).await;
        let status = answer.status();
        let bytes = axum::body::to_bytes(answer.into_body(), MAX_ANSWER)
            .await
            .map_err(|error| error.to_string())?;
        let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            Ok(said)
        } else {
            let detail = said["detail"].as_str().unwrap_or("no reason was given");
            Err(format!("{path} answered {}: {detail}", status.as_u16()))
        }
    }

    async fn pause(&self) {
        sleep(PACE).await;
    }

    fn say(&self, text: &str) {
        if let Some(scenario) = self.scenarios.runs().get_mut(&self.number) {
            scenario.steps.push(LogLine {
                at: Timestamp::now(),
                text: text.to_owned(),
            });
        }
        self.infra.live.tell_all();
    }
}
