//! `POST /api/orders/{id}/cancel`: before payment the user's session cancels,
//! afterwards the workflow decides.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::json;
use services::client::{Body, Failure, outcome};
use tokio::time::{Instant, sleep};
use waybill_domain::checkout::{CancelAnswer, CancelOrder};
use waybill_domain::decision::{Decision, Verdict};
use waybill_domain::ids::OrderId;
use waybill_domain::refusal::Refusal;

use super::{apply, find, named};
use crate::app::{App, Shared};
use crate::auth::Caller;
use crate::idempotency::IdempotencyKey;
use crate::problem::Problem;
use crate::reply::{Done, Fields, FromFields, Input};

/// How long to wait for a workflow that is just being started.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(100);
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
    State(app): State<Shared>,
    caller: Caller,
    key: IdempotencyKey,
    Path(id): Path<String>,
    Input(request): Input<Request>,
) -> Result<Done, Problem> {
    let key = key.or(request.key);
    // An order that nobody knows must not be asked of a session: it would be
    // made by asking.
    let order_id = find(&app, &named(&caller, &id)?).await?.order_id;
    let asked = app
        .ingress
        .user_session(&order_id.owner())
        .cancel_order(Body(CancelOrder {
            order_id: order_id.clone(),
            by: caller.user.to_string(),
            reason: request.reason.clone(),
        }))
        .idempotency_key(key.of(&caller.user, &format!("cancel.{order_id}")))
        .call()
        .await;
    match outcome(asked)? {
        CancelAnswer::Cancelled { record } => apply(&app, record).await?,
        CancelAnswer::HandedOver => {
            let decision = Decision {
                id: key.of(&caller.user, "decide"),
                verdict: Verdict::Cancelled,
                by: caller.user.to_string(),
                reason: request.reason,
            };
            decide(&app, &order_id, decision).await?;
        }
    }
    let status = find(&app, &order_id).await?.status;
    let body = json!({ "order_id": order_id, "status": status });
    Ok(Done::new(StatusCode::ACCEPTED, &body)?
        .saying("Cancelling the order")
        .going_to(format!("/orders/{order_id}")))
}

/// Asks the workflow, and again while it is being started.
async fn decide(app: &App, id: &OrderId, decision: Decision) -> Result<(), Problem> {
    let give_up = Instant::now() + READY_WITHIN;
    loop {
        // No idempotency key: the decision's own id does that for workflows.
        let asked = app
            .ingress
            .workflow(id)
            .cancel(Body(decision.clone()))
            .call()
            .await;
        match outcome(asked) {
            Ok(_) => return Ok(()),
            Err(Failure::Refused(Refusal::NotReady { .. })) if Instant::now() < give_up => {
                sleep(ASK_EVERY).await;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
}
