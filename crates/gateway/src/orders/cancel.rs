//! `POST /api/orders/{id}/cancel`: before payment the user's session cancels,
//! afterwards the workflow decides.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::json;
use services::client::{Body, keyed, outcome};
use waybill_domain::checkout::{CancelAnswer, CancelOrder};
use waybill_domain::decision::{Decision, Verdict};

use super::decide::decide;
use super::{apply, find, named};
use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::identity::caller::Caller;
use crate::infra::Shared;

/// Longest reason, in characters.
pub const MAX_REASON: usize = 500;

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

pub(super) async fn cancel(
    State(infra): State<Shared>,
    caller: Caller,
    key: IdempotencyKey,
    Path(id): Path<String>,
    Input(request): Input<Request>,
) -> Result<Reply, Problem> {
    let key = key.or(request.key);
    // An order that nobody knows must not be asked of a session: it would be
    // made by asking.
    let order_id = find(&infra, &named(&caller, &id)?).await?.order_id;
    let operation = format!("cancel.{order_id}");
    let once = key.once(&caller.user, &operation, &request.reason)?;
    let asked = infra
        .ingress
        .user_session(&order_id.owner())
        .cancel_order(Body(CancelOrder {
            order_id: order_id.clone(),
            by: caller.user.to_string(),
            reason: request.reason.clone(),
        }));
    let status = match outcome(keyed(asked, once).call().await)? {
        CancelAnswer::Cancelled { record } => {
            let status = record.status;
            apply(&infra, record).await?;
            status
        }
        CancelAnswer::HandedOver => {
            let decision = Decision {
                id: key.decision_id(&caller.user),
                verdict: Verdict::Cancelled,
                by: caller.user.to_string(),
                reason: request.reason,
            };
            decide(&infra, &order_id, decision).await?
        }
    };
    let body = json!({ "order_id": order_id, "status": status });
    Ok(Reply::new(StatusCode::ACCEPTED, &body)?
        .saying("Cancelling the order")
        .going_to(format!("/orders/{order_id}")))
}
