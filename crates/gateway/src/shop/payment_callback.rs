//! What the payment provider says of a payment, handed on to the session that
//! waits for it.

use std::time::Duration;

use serde::Serialize;
use services::client::{Body, Failure, outcome};
use tokio::time::{Instant, timeout_at};
use waybill_domain::checkout::{CallbackAnswer, PaymentCallback};
use waybill_domain::ids::OrderId;
use waybill_domain::payment::PaymentReceipt;
use waybill_domain::refusal::Refusal;

use super::{orders, told_about};
use crate::clock;
use crate::http::problem::Problem;
use crate::infra::Infra;
use crate::restate::trace;
use crate::storage::orders as queries;

/// How long a callback waits for its payment to be opened. Providers wait ten seconds
/// and longer for an answer.
const OPENED_WITHIN: Duration = Duration::from_secs(3);

/// What a callback has come to.
#[derive(Debug)]
pub struct Callback {
    /// Whose payment it tells of.
    pub order_id: OrderId,
    /// What it did.
    pub result: CallbackResult,
}

/// What a callback did.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackResult {
    /// It settled the attempt to pay.
    Accepted,
    /// It has been told before.
    Repeated,
    /// Nobody waited for it any more: money that it brought goes back.
    Late,
}

/// Hands on what the provider says; the answer is true once this returns.
pub async fn receive(infra: &Infra, receipt: PaymentReceipt) -> Result<Callback, Problem> {
    let order_id = order_of(infra, &receipt).await?;
    told_about(&order_id);
    trace::link_to_wait(&receipt.awakeable_id);
    // The session recognizes a repeated transaction itself.
    let asked = infra
        .ingress
        .user_session(&order_id.owner())
        .payment_callback(Body::from(PaymentCallback {
            order_id: order_id.clone(),
            receipt,
            at: Some(clock::now()),
        }))
        .call()
        .await;
    let result = match outcome(asked).map_err(to_provider)? {
        CallbackAnswer::Accepted { record } => {
            orders::apply(infra, record).await;
            CallbackResult::Accepted
        }
        CallbackAnswer::Repeated => CallbackResult::Repeated,
        CallbackAnswer::Late => CallbackResult::Late,
    };
    Ok(Callback { order_id, result })
}

/// An operator who cancels this in Restate must not make the provider believe
/// that its callback was refused for good.
fn to_provider(failure: Failure) -> Problem {
    match failure {
        Failure::Terminal { code: 409, message } => {
            Problem::unavailable("the callback was cut off: send it again in a moment")
                .with_cause(message)
        }
        Failure::Refused(Refusal::NotReady { .. }) => Problem::unavailable(
            "this payment is not known here yet: send the callback again in a moment",
        ),
        failure => failure.into(),
    }
}

/// Waits a moment while the order's payment is being opened: a provider that pays by
/// itself calls back before its own answer is written down.
async fn until_opened(infra: &Infra, id: &OrderId) -> Result<(), Problem> {
    let mut news = infra.live.order(id);
    let give_up = Instant::now() + OPENED_WITHIN;
    loop {
        news.mark_unchanged();
        let record = queries::record(&infra.db, id).await?;
        // Its checkout may not have been answered yet.
        let is_opening =
            record.is_none_or(|it| orders::is_pending(&it) && it.payment().awakeable_id.is_none());
        // Too late, or closing: the session is asked all the same.
        if !is_opening || !matches!(timeout_at(give_up, news.changed()).await, Ok(Ok(()))) {
            return Ok(());
        }
    }
}

/// Which order waits for that awakeable. One that is not known here is the order that
/// the provider names, if it does, whose session knows better; otherwise Restate is
/// asked before it is a 404.
async fn order_of(infra: &Infra, receipt: &PaymentReceipt) -> Result<OrderId, Problem> {
    let awakeable_id = &receipt.awakeable_id;
    if let Some(id) = queries::order_of_awakeable(&infra.db, awakeable_id).await? {
        return Ok(id);
    }
    let named = receipt.order_id.as_deref().map(OrderId::parse);
    if let Some(Ok(id)) = named {
        until_opened(infra, &id).await?;
        return Ok(id);
    }
    infra.live.catch_up().await.map_err(orders::cannot_tell)?;
    queries::order_of_awakeable(&infra.db, awakeable_id)
        .await?
        .ok_or_else(|| Refusal::UnknownPayment.into())
}
