//! For those who run it: health, readiness, metrics, OpenAPI.

pub mod openapi;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::extract::FromRef;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::http::problem::Problem;
use crate::infra::{Infra, Shared};

/// How long Restate and SQLite may take to prove that they are there.
const PROVE_WITHIN: Duration = Duration::from_secs(2);

/// The routes of this feature.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Shared: FromRef<S>,
{
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

async fn ready(State(infra): State<Shared>) -> Response {
    let (restate, services, database) = tokio::join!(
        restate_usable(&infra),
        services_known(&infra),
        database_usable(&infra)
    );
    let stock = stock_announced(&infra);
    let health = infra.live.health();
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

async fn restate_usable(infra: &Infra) -> Result<(), String> {
    let url = format!("{}/restate/health", infra.settings.restate_ingress_url);
    let asked = infra.http.get(&url).timeout(PROVE_WITHIN).send().await;
    match asked {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("{url} answers {}", answer.status())),
        Err(_) => Err(format!("{url} does not answer: is restate-server running?")),
    }
}

async fn services_known(infra: &Infra) -> Result<(), String> {
    match tokio::time::timeout(PROVE_WITHIN, infra.ingress.knows_services()).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err("they are not registered with Restate yet: are they running?".into()),
        Ok(Err(_)) | Err(_) => Err("Restate does not say whether it knows them".into()),
    }
}

fn stock_announced(infra: &Infra) -> Result<(), String> {
    if infra.stock_announced.load(Ordering::Relaxed) {
        Ok(())
    } else {
        Err("Inventory has not been told of the catalog yet: are the services running?".into())
    }
}

/// Reads, and takes the write lock for a moment.
async fn database_usable(infra: &Infra) -> Result<(), String> {
    let prove = async {
        sqlx::query("SELECT 1").execute(&infra.db.read).await?;
        infra.db.begin().await?.rollback().await
    };
    match tokio::time::timeout(PROVE_WITHIN, prove).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PROVE_WITHIN.as_secs())),
    }
}

async fn show_metrics(State(infra): State<Shared>) -> Result<Response, Problem> {
    let text = infra.live.metrics().encode().map_err(Problem::internal)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Counts a request under its route, never under its path: ids would make a
/// new time series each.
pub async fn count_request(State(infra): State<Shared>, request: Request, next: Next) -> Response {
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
    infra
        .live
        .metrics()
        .request(&method, &route, status, began.elapsed());
    response
}
