//! Health, readiness, metrics, OpenAPI.

pub mod metrics;

use axum::Router;
use axum::routing::get;

pub use metrics::Metrics;

use crate::app::Shared;

/// `/healthz` and its siblings.
pub fn router() -> Router<Shared> {
    Router::new().route("/healthz", get(async || "ok\n"))
}
