//! `GET /api/dashboard`, for admins.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::auth::Admin;
use crate::http::problem::Problem;
use crate::infra::Shared;
use crate::shop::dashboard::{self, Dashboard, Latest};

/// The shop at a glance
#[utoipa::path(
    get,
    path = "/api/dashboard",
    responses(
        (status = 200, description = "Dashboard", body = Dashboard),
    ),
    security(("admin" = [])),
)]
pub(super) async fn show(
    State(infra): State<Shared>,
    State(latest): State<Arc<Latest>>,
    _: Admin,
) -> Result<Json<Arc<Dashboard>>, Problem> {
    dashboard::current(&infra, &latest).await.map(Json)
}
