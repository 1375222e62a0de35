//! For those who run it: health, readiness, metrics, OpenAPI.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::authority::is_operator;
use crate::http::problem::Problem;
use crate::infra::{Infra, Shared};
use crate::shop::dashboard::Latest;
use crate::shop::figures;
use crate::shop::readiness::{self, InBrief, Readiness};
use crate::shop::stock::Announcement;

/// Whether the process lives
#[utoipa::path(
    get,
    path = "/healthz",
    responses(
        (status = 200, description = "It does"),
    ),
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Reasons for operators, a word for each part for everybody else.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum Told {
    Whole(Readiness),
    InBrief(InBrief),
}

/// Whether Restate and SQLite are usable, the services registered and the stock announced
///
/// The reasons are told to whoever sends `INTERNAL_TOKEN` as a bearer token, and in a demo.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "Ready", body = inline(Told)),
        (status = 503, description = "Not ready, with the reason", body = inline(Told)),
    ),
)]
pub(super) async fn ready(
    State(infra): State<Shared>,
    State(announcement): State<Arc<Announcement>>,
    headers: HeaderMap,
) -> Response {
    let readiness = readiness::check(&infra, &announcement).await;
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let told = if is_operator(&infra.settings, &headers) {
        Told::Whole(readiness)
    } else {
        Told::InBrief(readiness.in_brief())
    };
    (status, Json(told)).into_response()
}

/// Metrics for Prometheus
///
/// Outside of a demo for whoever sends `INTERNAL_TOKEN` as a bearer token, and for admins.
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, description = "OpenMetrics text"),
        (status = 401, description = "Without INTERNAL_TOKEN, outside of a demo"),
    ),
)]
pub(super) async fn metrics(
    State(infra): State<Shared>,
    State(latest): State<Arc<Latest>>,
) -> Result<Response, Problem> {
    figures::refresh(&infra, &latest).await;
    let text = infra.metrics.encode().map_err(Problem::internal)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Counts a request under its route, never under its path: ids would make a
/// new time series each.
pub async fn count_request(infra: &Infra, request: Request, next: Next) -> Response {
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
        .metrics
        .request(&method, &route, status, began.elapsed());
    response
}
