//! Cancelling an order: before its payment the user's session does it, afterwards
//! its workflow decides.

use services::client::{Body, keyed, outcome};
use waybill_domain::audit::{By, Origin};
use waybill_domain::checkout::{CancelAnswer, CancelOrder};
use waybill_domain::decision::Verdict;
use waybill_domain::ids::{OrderId, Username};
use waybill_domain::order::OrderStatus;

use super::decide::{Decided, decide};
use super::orders::apply;
use super::told_about;
use crate::clock;
use crate::http::idempotency::IdempotencyKey;
use crate::http::problem::Problem;
use crate::infra::Infra;
use crate::restate::trace;

/// Cancels an order that is known; answers where that brings it.
pub async fn cancel(
    infra: &Infra,
    caller: &Username,
    origin: &Origin,
    order_id: &OrderId,
    reason: Option<String>,
    key: &IdempotencyKey,
) -> Result<OrderStatus, Problem> {
    told_about(order_id);
    let once = key.once(caller, &format!("cancel.{order_id}"), &reason)?;
    let By { who, from } = origin.by(caller);
    let asked = infra
        .ingress
        .user_session(&order_id.owner())
        .cancel_order(Body::from(CancelOrder {
            order_id: order_id.clone(),
            by: who,
            from,
            reason: reason.clone(),
            at: Some(clock::now()),
        }));
    match outcome(keyed(asked, once).call().await)? {
        CancelAnswer::Cancelled { record } => {
            if let Some(awakeable) = &record.payment().awakeable_id {
                trace::link_to_wait(awakeable);
            }
            let status = record.status;
            apply(infra, record).await;
            Ok(status)
        }
        CancelAnswer::HandedOver => {
            decide(
                infra,
                caller,
                origin,
                order_id,
                Decided {
                    verdict: Verdict::Cancelled,
                    reason,
                    without: Vec::new(),
                },
                key,
            )
            .await
        }
    }
}
