//! `POST /api/orders/{id}/cancel`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::json;
use waybill_domain::words::MAX_REASON;

use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::identity::caller::Caller;
use crate::infra::Shared;
use crate::shop::cancel;
use crate::shop::orders::{find, named};

#[derive(Debug)]
pub(super) struct Request {
    reason: Option<String>,
    key: Option<IdempotencyKey>,
}

impl FromFields for Request {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            reason: fields.text("reason", MAX_REASON)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Takes an order back, as long as it is not decided
#[utoipa::path(
    post,
    path = "/api/orders/{id}/cancel",
    request_body(content = inline(body::Cancellation)),
    responses(
        (status = 202, description = "Being cancelled"),
        (status = 404, description = "No such order of the caller"),
        (status = 409, description = "Too late, with the decision that stands"),
    ),
)]
pub(super) async fn cancel(
    State(infra): State<Shared>,
    caller: Caller,
    key: IdempotencyKey,
    Path(id): Path<String>,
    Input(request): Input<Request>,
) -> Result<Reply, Problem> {
    // An order that nobody knows must not be asked of a session: it would be
    // made by asking.
    let order_id = find(&infra, &named(&caller, &id)?).await?.order_id;
    let key = key.or(request.key);
    let status = cancel::cancel(&infra, &caller.user, &order_id, request.reason, &key).await?;
    let body = json!({ "order_id": order_id, "status": status });
    Ok(Reply::new(StatusCode::ACCEPTED, &body)?
        .saying("Cancelling the order")
        .going_to(format!("/orders/{order_id}")))
}

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;

    #[derive(ToSchema)]
    pub(super) struct Cancellation {
        /// At most 500 characters.
        #[schema(max_length = 500)]
        reason: Option<String>,
    }
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_cancel: Request);
