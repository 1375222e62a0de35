//! A services process and an admin API made of nothing, for tests of what
//! listens to them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use process::nodes::Nodes;
use serde_json::{Value, json};
use services::wire::{
    AUDIT_ENTRY, AUDIT_LOG, BASKET, CATALOG, MARKER, ORDER_FULFILLMENT_WORKFLOW, PRODUCT, RECORD,
    USER_SESSION, marker_key,
};
use tokio::sync::mpsc;
use waybill_domain::order::OrderRecord;
use waybill_domain::update::Update;

use super::{Bounds, LiveState};
use crate::metrics::Metrics;
use crate::restate::admin::AdminApi;
use crate::storage::db::Db;

/// Streams that may be open at a time.
pub(super) const STREAMS: usize = 200;
/// Of these, from one address.
pub(super) const STREAMS_PER_ADDRESS: usize = 100;
/// The token that listeners must show.
pub(super) const TOKEN: &str = "internal-token";

/// Both, on a free port. They stop with the test's runtime.
#[derive(Clone)]
pub(super) struct Fake {
    pub(super) base: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    listener: Option<mpsc::UnboundedSender<Result<Bytes, Infallible>>>,
    connections: usize,
    /// `(service, key of it, state key)` to JSON.
    state: BTreeMap<(&'static str, String, String), String>,
    questions: Vec<String>,
    /// What `/query` answers instead of rows.
    broken: Option<&'static str>,
}

impl Fake {
    pub(super) async fn start() -> Self {
        let fake = Self {
            base: String::new(),
            inner: Arc::default(),
        };
        let router = Router::new()
            .route("/updates", get(updates))
            .route("/query", post(query))
            .route("/health", get(async || "ok"))
            .with_state(fake.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, ..fake }
    }

    /// The live side over a fresh database whose admin API this is.
    pub(super) async fn live(&self) -> (tempfile::TempDir, Db, LiveState) {
        let (folder, db) = crate::storage::db::temporary().await;
        let ingress = services::client::connect(&Nodes::of([&self.base]), None).unwrap();
        let admin_api = AdminApi::new(Nodes::of([&self.base]), reqwest::Client::new());
        let bounds = Bounds {
            order_retention: Duration::from_hours(720),
            audit_retention: Duration::from_hours(9_600),
            streams: STREAMS,
            streams_per_address: STREAMS_PER_ADDRESS,
        };
        let live = LiveState::new(db.clone(), ingress, admin_api, Metrics::default(), bounds);
        (folder, db, live)
    }

    pub(super) fn say(&self, line: &str) {
        let inner = self.inner.lock().unwrap();
        let listener = inner.listener.as_ref().expect("somebody listens");
        listener.send(Ok(Bytes::from(format!("{line}\n")))).unwrap();
    }

    pub(super) fn say_update(&self, update: &Update) {
        self.say(&serde_json::to_string(update).unwrap());
    }

    /// Closes the stream, as a process that restarts does.
    pub(super) fn hang_up(&self) {
        self.inner.lock().unwrap().listener = None;
    }

    pub(super) fn connections(&self) -> usize {
        self.inner.lock().unwrap().connections
    }

    pub(super) fn questions(&self) -> Vec<String> {
        self.inner.lock().unwrap().questions.clone()
    }

    pub(super) fn break_admin_api(&self, answer: Option<&'static str>) {
        self.inner.lock().unwrap().broken = answer;
    }

    /// What Restate holds.
    pub(super) fn hold(
        &self,
        service: &'static str,
        of: &str,
        key: &str,
        value: &impl serde::Serialize,
    ) {
        let value = serde_json::to_string(value).unwrap();
        let key = (service, of.to_owned(), key.to_owned());
        self.inner.lock().unwrap().state.insert(key, value);
    }

    /// A workflow's record.
    pub(super) fn hold_workflow(&self, record: &OrderRecord) {
        let of = record.order_id.as_str();
        self.hold(ORDER_FULFILLMENT_WORKFLOW, of, RECORD, record);
    }

    /// A marker of the user's session.
    pub(super) fn hold_marker(&self, record: &OrderRecord) {
        let key = marker_key(&record.order_id);
        self.hold(USER_SESSION, record.user_id.as_str(), &key, record);
    }
}

async fn updates(State(fake): State<Fake>, headers: HeaderMap) -> Response {
    let expected = format!("Bearer {TOKEN}");
    if headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        != Some(&expected)
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (listener, lines) = mpsc::unbounded_channel();
    listener
        .send(Ok(Bytes::from("{\"type\":\"heartbeat\"}\n")))
        .unwrap();
    let mut inner = fake.inner.lock().unwrap();
    inner.listener = Some(listener);
    inner.connections += 1;
    drop(inner);
    let lines = tokio_stream::wrappers::UnboundedReceiverStream::new(lines);
    Body::from_stream(lines).into_response()
}

/// Understands the two kinds of questions that a catch-up asks.
async fn query(State(fake): State<Fake>, Json(question): Json<Value>) -> Response {
    let sql = question["query"].as_str().unwrap().to_owned();
    let mut inner = fake.inner.lock().unwrap();
    inner.questions.push(sql.clone());
    if let Some(answer) = inner.broken {
        return answer.to_owned().into_response();
    }
    let versions = sql.contains("substr(");
    let rows: Vec<_> = inner
        .state
        .iter()
        .filter(|((service, of, key), _)| {
            if versions {
                return key != BASKET && !key.starts_with(AUDIT_ENTRY);
            }
            if sql.contains(AUDIT_LOG) {
                return key.starts_with(AUDIT_ENTRY) && sql.contains(&format!("'{of}'"));
            }
            if sql.contains(CATALOG) {
                return sql.contains(&format!("'{key}'"));
            }
            let by_key = sql.contains("service_key IN");
            sql.contains(service)
                && (key == RECORD || key.starts_with(MARKER))
                && (!by_key || sql.contains(&format!("'{of}'")))
                && (!sql.contains("AND key IN") || sql.contains(&format!("'{key}'")))
        })
        .map(|((service, of, key), value)| {
            let is_long = [MARKER, PRODUCT].iter().any(|it| key.starts_with(it));
            let beginning = versions && (key == RECORD || is_long);
            let value = if beginning {
                &value[..value.len().min(96)]
            } else {
                value
            };
            json!({"service_name": service, "service_key": of, "key": key, "value": value})
        })
        .collect();
    Json(json!({ "rows": rows })).into_response()
}

/// Waits until it is so; says what was waited for when it never is.
pub(super) async fn eventually(what: &str, so: impl AsyncFn() -> bool) {
    for _ in 0..500 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited 5 s in vain: {what}");
}
