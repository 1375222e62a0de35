//! `GET /api/notifications`, `POST /api/notifications/read`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;
use waybill_domain::Timestamp;

use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, InQuery, Input};
use crate::http::pagination::{Page, PageParams};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::identity::caller::Caller;
use crate::infra::Shared;
use crate::shop::notifications::{self, Listing};

/// Notifications on a page of the API.
const PER_PAGE: u32 = 50;

/// What the caller has been told, newest first; for staff also what happens to everybody's orders
#[utoipa::path(
    get,
    path = "/api/notifications",
    params(
        PageParams,
    ),
    responses(
        (status = 200, description = "Notifications", body = Listing),
    ),
)]
pub(super) async fn list(
    State(infra): State<Shared>,
    caller: Caller,
    InQuery(Page(page)): InQuery<Page<PER_PAGE>>,
) -> Result<Json<Listing>, Problem> {
    notifications::listing(&infra, &caller, page)
        .await
        .map(Json)
}

pub(super) struct ReadUpTo {
    up_to: Option<Timestamp>,
    key: Option<IdempotencyKey>,
}

impl FromFields for ReadUpTo {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let text = fields.word("up_to", 64)?;
        let parsed = text.map(|text| {
            text.parse().map_err(|_| {
                Problem::invalid(
                    "up_to",
                    "up_to must be a time such as 2026-01-31T12:00:00Z, or left out for all",
                )
            })
        });
        Ok(Self {
            up_to: parsed.transpose()?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Marks notifications as read
#[utoipa::path(
    post,
    path = "/api/notifications/read",
    request_body(content = inline(body::UpTo)),
    responses(
        (status = 200, description = "The mark, and how many are unread"),
    ),
)]
pub(super) async fn mark_read(
    State(infra): State<Shared>,
    caller: Caller,
    key: IdempotencyKey,
    Input(request): Input<ReadUpTo>,
) -> Result<Reply, Problem> {
    let key = key.or(request.key);
    let read = notifications::mark_read(&infra, &caller, request.up_to, &key).await?;
    let body = json!({ "read_at": read.up_to, "unread": read.unread });
    Reply::new(StatusCode::OK, &body)
}

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;

    #[derive(ToSchema)]
    pub(super) struct UpTo {
        /// A time; everything when left out.
        #[schema(format = DateTime)]
        up_to: Option<String>,
    }
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_read_up_to: ReadUpTo);
