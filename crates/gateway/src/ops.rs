//! For those who run it: health, readiness, metrics, OpenAPI.

pub mod metrics;
pub mod openapi;

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

pub use metrics::Metrics;

use crate::app::{App, Shared};
use crate::http::problem::Problem;

/// How long Restate and SQLite may take to prove that they are there.
const PROVE_WITHIN: Duration = Duration::from_secs(2);

/// The routes of this feature.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_metrics))
        .route("/openapi.json", get(async || Json(openapi::document())))
}

/// Whether requests can be served, and if not, why.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    /// Commands go there. `null` is well, else why not.
    restate: Option<String>,
    /// Commands are for them: Restate must have been told where they are.
    services: Option<String>,
    /// A product whose stock nobody knows cannot be sold.
    stock: Option<String>,
    /// Reads and the projector need it.
    database: Option<String>,
    /// Told, but no reason to take this gateway out: it serves, and catches up.
    update_streams_connected: usize,
    update_streams: usize,
    read_model_behind_ms: Option<u64>,
}

async fn ready(State(app): State<Shared>) -> Response {
    let (restate, services, database) = tokio::join!(
        restate_usable(&app),
        services_known(&app),
        database_usable(&app)
    );
    let stock = stock_announced(&app);
    let health = app.live.health();
    let readiness = Readiness {
        ready: restate.is_ok() && services.is_ok() && stock.is_ok() && database.is_ok(),
        restate: restate.err(),
        services: services.err(),
        stock: stock.err(),
        database: database.err(),
        update_streams_connected: health.sources.iter().filter(|it| it.connected).count(),
        update_streams: health.sources.len(),
        read_model_behind_ms: health.behind_ms,
    };
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}

async fn restate_usable(app: &App) -> Result<(), String> {
    let url = format!("{}/restate/health", app.settings.restate_ingress_url);
    let asked = app.http.get(&url).timeout(PROVE_WITHIN).send().await;
    match asked {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("{url} answers {}", answer.status())),
        Err(_) => Err(format!("{url} does not answer: is restate-server running?")),
    }
}

async fn services_known(app: &App) -> Result<(), String> {
    match tokio::time::timeout(PROVE_WITHIN, app.ingress.knows_services()).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err("they are not registered with Restate yet: are they running?".into()),
        Ok(Err(_)) | Err(_) => Err("Restate does not say whether it knows them".into()),
    }
}

fn stock_announced(app: &App) -> Result<(), String> {
    if app.stock_announced.is_done() {
        Ok(())
    } else {
        Err("Inventory has not been told of the catalog yet: are the services running?".into())
    }
}

/// Reads, and takes the write lock for a moment.
async fn database_usable(app: &App) -> Result<(), String> {
    let prove = async {
        sqlx::query("SELECT 1").execute(&app.db.read).await?;
        app.db.begin().await?.rollback().await
    };
    match tokio::time::timeout(PROVE_WITHIN, prove).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PROVE_WITHIN.as_secs())),
    }
}

async fn show_metrics(State(app): State<Shared>) -> Result<Response, Problem> {
    let text = app.live.metrics().encode().map_err(Problem::internal)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Counts a request under its route, never under its path: ids would make a
/// new time series each.
pub async fn count_request(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH") => {
            known.to_owned()
        }
        _ => "other".to_owned(),
    };
    let response = next.run(request).await;
    let status = response.status().as_u16();
    app.live
        .metrics()
        .request(&method, &route, status, began.elapsed());
    response
}
