//! What only admins do: decide orders, fill the shelves.

pub mod approvals;
pub mod restock;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};

use crate::infra::Shared;

/// The routes of this feature.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Shared: FromRef<S>,
{
    Router::new()
        .route("/api/approvals", get(approvals::list))
        .route("/api/workflow/{id}/approve", post(approvals::decide))
        .route("/api/products/{id}/restock", post(restock::restock))
}
