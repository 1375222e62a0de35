//! A running sandbox, and a shop that takes its callbacks.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use process::telemetry::{LogFormat, TelemetrySettings};
use sandbox::Sandbox;
use sandbox::settings::{Listen, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const SECRET: &str = "whsec_test";
const PATIENCE: Duration = Duration::from_secs(10);

/// A running sandbox.
pub struct Outside {
    pub base: String,
    pub shop: Shop,
    http: reqwest::Client,
    folder: TempDir,
    stop: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
}

/// An answer of the sandbox.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// The JSON body, or null if there is none.
    pub body: Value,
    pub text: String,
}

impl Outside {
    pub async fn start() -> Self {
        Self::start_with(Shop::open().await, Some(SECRET)).await
    }

    pub async fn start_with(shop: Shop, secret: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (base, stopper, serving) = serve(&folder, &shop, secret).await;
        Self {
            base,
            shop,
            http: client(),
            folder,
            stop: stopper,
            serving,
        }
    }

    /// Stops the sandbox as a signal would, and starts it on the same ledger.
    pub async fn restart(self) -> Self {
        self.stop().await.start_again().await
    }

    pub async fn stop(self) -> Stopped {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
        Stopped {
            shop: self.shop,
            folder: self.folder,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.answer(self.http.get(self.url(path))).await.unwrap()
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        let request = self.http.put(self.url(path)).json(&body);
        self.answer(request).await.unwrap()
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.try_delete(path).await.unwrap()
    }

    pub async fn try_delete(&self, path: &str) -> reqwest::Result<Answer> {
        self.answer(self.http.delete(self.url(path))).await
    }

    pub async fn post(&self, path: &str, key: &str, body: Value) -> Answer {
        self.try_post(path, key, body).await.unwrap()
    }

    /// An error when the connection ends without an answer.
    pub async fn try_post(&self, path: &str, key: &str, body: Value) -> reqwest::Result<Answer> {
        let request = self.http.post(self.url(path)).json(&body);
        self.answer(request.header("Idempotency-Key", key)).await
    }

    /// Any other request; the path is put onto the sandbox's address.
    pub async fn send(
        &self,
        path: &str,
        build: impl FnOnce(&reqwest::Client, String) -> reqwest::RequestBuilder,
    ) -> Answer {
        self.answer(build(&self.http, self.url(path)))
            .await
            .unwrap()
    }

    /// Fills in the form of the payment page.
    pub async fn pay(&self, payment_id: &str, form: &str) -> Answer {
        let form = form.to_owned();
        self.send(&format!("/pay/{payment_id}"), |http, url| {
            http.post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form)
        })
        .await
    }

    /// Opens a payment of 125.00 for the order; answers its id.
    pub async fn open_payment(&self, order_id: &str) -> String {
        let answer = self
            .post("/payments", &format!("{order_id}:pay"), opening(order_id))
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["payment_id"].as_str().unwrap().to_owned()
    }

    /// Opens a payment and pays it as `txn_1`, the callback being taken.
    pub async fn paid(&self, order_id: &str) -> String {
        let payment_id = self.open_payment(order_id).await;
        let page = self
            .pay(&payment_id, "action=pay&transaction_id=txn_1")
            .await;
        assert_eq!(page.status, 200);
        payment_id
    }

    pub async fn operate(
        &self,
        payment_id: &str,
        operation: &str,
        key: &str,
        transaction_id: &str,
        amount: i64,
    ) -> Answer {
        let body = json!({ "transaction_id": transaction_id, "amount": amount });
        self.post(&format!("/payments/{payment_id}/{operation}"), key, body)
            .await
    }

    pub async fn book(&self, order_id: &str, key: &str) -> Answer {
        self.post("/carrier/shipments", key, parcel(order_id)).await
    }

    pub async fn cancel(&self, order_id: &str) -> Answer {
        self.delete(&format!("/carrier/shipments/{order_id}")).await
    }

    pub async fn ledger_of(&self, order_id: &str) -> Value {
        self.get(&format!("/ledger?order_id={order_id}")).await.body
    }

    /// The order's only payment in the ledger.
    pub async fn payment_of(&self, order_id: &str) -> Value {
        only(&self.ledger_of(order_id).await["payments"])
    }

    /// The order's shipment in the ledger.
    pub async fn shipment_of(&self, order_id: &str) -> Value {
        only(&self.ledger_of(order_id).await["shipments"])
    }

    /// What happened, in order: the kinds of the journal.
    pub async fn journal(&self, order_id: &str) -> Vec<String> {
        let ledger = self.ledger_of(order_id).await;
        let lines = ledger["journal"].as_array().unwrap();
        let kinds = lines.iter().map(|line| line["kind"].as_str().unwrap());
        kinds.map(str::to_owned).collect()
    }

    /// Waits until none of the order's callbacks is waiting.
    pub async fn callbacks_settled(&self, order_id: &str) -> Value {
        let asked = tokio::time::Instant::now();
        loop {
            let callbacks = self.payment_of(order_id).await["callbacks"].clone();
            if callbacks["waiting"] == 0 {
                return callbacks;
            }
            assert!(asked.elapsed() < PATIENCE, "still waiting: {callbacks}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, body, text })
    }
}

/// A sandbox that has been stopped.
pub struct Stopped {
    shop: Shop,
    folder: TempDir,
}

impl Stopped {
    pub fn shop(&self) -> &Shop {
        &self.shop
    }

    pub async fn start_again(self) -> Outside {
        let (base, stopper, serving) = serve(&self.folder, &self.shop, Some(SECRET)).await;
        Outside {
            base,
            shop: self.shop,
            http: client(),
            folder: self.folder,
            stop: stopper,
            serving,
        }
    }
}

async fn serve(
    folder: &TempDir,
    shop: &Shop,
    secret: Option<&str>,
) -> (String, CancellationToken, JoinHandle<anyhow::Result<()>>) {
    // A folder that does not exist yet: the sandbox makes it.
    let ledger = folder.path().join("made/by/the/sandbox.db");
    let sandbox = Sandbox::open(Settings {
        listen: Listen {
            sandbox_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        },
        sandbox_database_url: format!("sqlite://{}", ledger.display()),
        sandbox_public_url: None,
        payment_callback_url: shop.url.clone(),
        payment_webhook_secret: secret.map(str::to_owned),
        payment_webhook_secret_file: None,
        payment_provider_token: None,
        payment_provider_token_file: None,
        carrier_token: None,
        carrier_token_file: None,
        telemetry: TelemetrySettings {
            log_format: LogFormat::Text,
            otel_exporter_otlp_endpoint: None,
        },
    })
    .await
    .unwrap();
    let base = format!("http://{}", sandbox.local_addr());
    let stopper = CancellationToken::new();
    let serving = tokio::spawn(sandbox.serve(stopper.clone()));
    (base, stopper, serving)
}

pub fn opening(order_id: &str) -> Value {
    json!({ "order_id": order_id, "awakeable_id": format!("sign_{order_id}"), "amount": 12_500 })
}

pub fn parcel(order_id: &str) -> Value {
    json!({
        "order_id": order_id,
        "address": "1 Main Street",
        "lines": [{ "sku": "P001", "quantity": 2 }],
    })
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

fn only(list: &Value) -> Value {
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 1, "one was expected: {list:?}");
    list[0].clone()
}

/// A shop that takes callbacks, and answers as it is told to.
#[derive(Clone)]
pub struct Shop {
    pub url: String,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    received: Mutex<Vec<Callback>>,
    answers: Mutex<VecDeque<u16>>,
}

/// A callback as it came in.
#[derive(Clone, Debug)]
pub struct Callback {
    pub signature: Option<String>,
    pub raw: String,
    pub body: Value,
    pub at: std::time::Instant,
}

impl Shop {
    pub async fn open() -> Self {
        let desk = Arc::new(Desk::default());
        let router = Router::new()
            .route("/callback", post(take))
            .with_state(Arc::clone(&desk));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/callback", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, desk }
    }

    /// The next callbacks are answered with these; any later one with 200.
    pub fn will_answer(&self, answers: impl IntoIterator<Item = u16>) {
        self.desk.answers.lock().unwrap().extend(answers);
    }

    pub fn received(&self) -> Vec<Callback> {
        self.desk.received.lock().unwrap().clone()
    }

    /// Waits until this many callbacks have come in all.
    pub async fn receives(&self, count: usize) -> Vec<Callback> {
        let asked = std::time::Instant::now();
        loop {
            let received = self.received();
            if received.len() >= count {
                return received;
            }
            assert!(asked.elapsed() < PATIENCE, "only these came: {received:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Callback {
    /// Whether the signature is the one the sandbox's secret gives.
    pub fn is_signed(&self) -> bool {
        let Some(signature) = &self.signature else {
            return false;
        };
        let t = signature.strip_prefix("t=").unwrap();
        let (t, _) = t.split_once(",v1=").unwrap();
        sandbox::webhook::sign(SECRET, t.parse().unwrap(), &self.raw) == *signature
    }

    pub fn transaction_id(&self) -> &str {
        self.body["transaction_id"].as_str().unwrap()
    }
}

async fn take(State(desk): State<Arc<Desk>>, headers: HeaderMap, raw: Bytes) -> StatusCode {
    let raw = String::from_utf8(raw.to_vec()).unwrap();
    desk.received.lock().unwrap().push(Callback {
        signature: headers
            .get(sandbox::webhook::SIGNATURE_HEADER)
            .map(|signature| signature.to_str().unwrap().to_owned()),
        body: serde_json::from_str(&raw).unwrap(),
        raw,
        at: std::time::Instant::now(),
    });
    let answer = desk.answers.lock().unwrap().pop_front().unwrap_or(200);
    StatusCode::from_u16(answer).unwrap()
}
