//! The HTTP/1.1 port beside the endpoint: health, metrics and what is said
//! aloud.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::Stream;
use process::bearer;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use waybill_domain::update::Update;

use crate::broadcast::UpdateBroadcaster;
use crate::crash::{At, Crash, Stop};
use crate::metrics::Metrics;
use crate::registration::Registration;

/// The stream is never silent longer than this.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What the handlers here know.
#[derive(Clone)]
pub struct Ops {
    /// What is said aloud.
    pub updates: UpdateBroadcaster,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether Restate knows us.
    pub registration: Registration,
    /// One of these opens everything but health; none: everything is open.
    pub tokens: Vec<String>,
    /// What is watched and planned.
    pub crash: Crash,
    /// Whether `POST /crash` exists.
    pub allow_crash: bool,
    /// Ends the streams.
    pub shutdown: CancellationToken,
}

/// The routes.
pub fn router(ops: Ops) -> Router {
    let mut guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/updates", get(updates));
    if ops.allow_crash {
        guarded = guarded
            .route("/crash", post(crash))
            .route("/hold", post(hold).get(is_holding).delete(release))
            .route("/steps", get(steps).delete(forget_steps));
    }
    guarded
        .route_layer(from_fn_with_state(ops.clone(), admit))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(ops)
}

/// Lets in whoever brings a token, where there is one.
async fn admit(State(ops): State<Ops>, request: Request, next: Next) -> Response {
    let tokens: Vec<_> = ops.tokens.iter().map(String::as_str).collect();
    if tokens.is_empty() || bearer::brings(request.headers(), &tokens) {
        return next.run(request).await;
    }
    let sentence = "send INTERNAL_TOKEN as a bearer token\n";
    (
        StatusCode::UNAUTHORIZED,
        [(header::WWW_AUTHENTICATE, "Bearer")],
        sentence,
    )
        .into_response()
}

/// Whether Restate can invoke what is served here, and if not, why.
async fn ready(State(ops): State<Ops>) -> Response {
    match ops.registration.waits_for() {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(ops): State<Ops>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match ops.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// One JSON document per line, from now on; a heartbeat when nothing happens. A
/// listener that lags is dropped: it comes back and catches up from Restate.
async fn updates(State(ops): State<Ops>) -> Response {
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines(ops)),
    )
        .into_response()
}

fn lines(ops: Ops) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let listener = ops.updates.listen();
    let heartbeat = serde_json::to_string(&Update::Heartbeat).unwrap_or_default();
    // A heartbeat at once tells the listener that it is subscribed.
    let state = (listener, true);
    futures::stream::unfold(state, move |(mut listener, first)| {
        let heartbeat = heartbeat.clone();
        let (shutdown, updates) = (ops.shutdown.clone(), ops.updates.clone());
        async move {
            if first {
                return Some((Ok(line(&heartbeat)), (listener, false)));
            }
            let said = tokio::select! {
                () = shutdown.cancelled() => return None,
                said = tokio::time::timeout(HEARTBEAT, listener.recv()) => said,
            };
            match said {
                Ok(Ok(said)) => Some((Ok(line(&said)), (listener, false))),
                Ok(Err(RecvError::Lagged(missed))) => {
                    tracing::warn!(missed, "a listener lags and is dropped");
                    updates.drops_a_listener();
                    None
                }
                Ok(Err(RecvError::Closed)) => None,
                Err(_silence) => Some((Ok(line(&heartbeat)), (listener, false))),
            }
        }
    })
}

fn line(text: &str) -> Bytes {
    Bytes::from(format!("{text}\n"))
}

/// Where to die.
#[derive(Deserialize)]
struct When {
    /// See [`At`]; now, when absent.
    at: Option<String>,
}

/// Dies as hard as a process can: now, or at a step to come.
async fn crash(State(ops): State<Ops>, Query(when): Query<When>) -> Response {
    let Some(at) = when.at else {
        tracing::error!("crashing on request");
        std::process::abort()
    };
    plan(&ops, &at, Stop::Die)
}

/// Holds one invocation at a step to come, until `DELETE /hold`.
async fn hold(State(ops): State<Ops>, Query(when): Query<When>) -> Response {
    plan(&ops, when.at.as_deref().unwrap_or_default(), Stop::Hold)
}

fn plan(ops: &Ops, at: &str, stop: Stop) -> Response {
    match at.parse::<At>() {
        Ok(at) => {
            ops.crash.plan_at(at, stop);
            StatusCode::ACCEPTED.into_response()
        }
        Err(sentence) => (StatusCode::BAD_REQUEST, format!("{sentence}\n")).into_response(),
    }
}

/// Whether an invocation is held at the step.
async fn is_holding(State(ops): State<Ops>) -> impl IntoResponse {
    Json(serde_json::json!({ "holding": ops.crash.is_holding() }))
}

async fn release(State(ops): State<Ops>) {
    ops.crash.release();
}

/// Every durable step since the last `DELETE /steps`.
async fn steps(State(ops): State<Ops>) -> impl IntoResponse {
    Json(ops.crash.seen())
}

async fn forget_steps(State(ops): State<Ops>) {
    ops.crash.forget();
}
