//! `GET /api/dashboard`, for staff.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

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
)]
pub(super) async fn show(
    State(infra): State<Shared>,
    State(latest): State<Arc<Latest>>,
) -> Result<Json<Arc<Dashboard>>, Problem> {
    dashboard::current(&infra, &latest).await.map(Json)
}
