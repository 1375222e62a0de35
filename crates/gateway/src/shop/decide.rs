//! The one decision of an order: asked of its workflow, which may only be about
//! to begin, and waited for until it shows.

use std::time::Duration;

use services::client::{Body, Failure, outcome};
use tokio::time::{Instant, timeout_at};
use waybill_domain::audit::{By, Origin};
use waybill_domain::basket::Part;
use waybill_domain::decision::{Decision, Verdict};
use waybill_domain::ids::{OrderId, Username};
use waybill_domain::order::{OrderRecord, OrderStatus};
use waybill_domain::refusal::Refusal;

use super::orders::{ask_restate, find};
use super::told_about;
use crate::clock;
use crate::http::idempotency::IdempotencyKey;
use crate::http::problem::Problem;
use crate::infra::Infra;
use crate::restate::trace;

/// How long a workflow may take to begin, once its order is paid: whoever was
/// told that it is paid may decide at once.
const BEGUN_WITHIN: Duration = Duration::from_secs(8);
/// How often it is asked meanwhile, in case the update stream is down.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long the answer waits until the decision shows.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

/// What somebody has decided.
#[derive(Debug)]
pub struct Decided {
    /// What.
    pub verdict: Verdict,
    /// Why.
    pub reason: Option<String>,
    /// What an approval takes out of the order.
    pub without: Vec<Part>,
}

/// Decides an order that is known; answers where that brings it. The same `key`
/// of the same person is the same decision.
pub async fn decide(
    infra: &Infra,
    caller: &Username,
    origin: &Origin,
    id: &OrderId,
    decided: Decided,
    key: &IdempotencyKey,
) -> Result<OrderStatus, Problem> {
    told_about(id);
    trace::link_to_workflow(id);
    let By { who, from } = origin.by(caller);
    let decision = Decision {
        id: key.decision_id(caller),
        verdict: decided.verdict,
        by: who,
        from,
        reason: decided.reason,
        without: decided.without,
        at: Some(clock::now()),
    };
    let mut news = infra.live.order(id);
    let give_up = Instant::now() + BEGUN_WITHIN;
    loop {
        news.mark_unchanged();
        match ask(infra, id, decision.clone()).await {
            Ok(_) => return shown(infra, id).await,
            Err(Failure::Refused(Refusal::NotReady { order_id })) => {
                let begins = is_about_to_begin(infra, &order_id).await?;
                if !begins || Instant::now() >= give_up {
                    return Err(Refusal::NotReady { order_id }.into());
                }
            }
            Err(failure) => return Err(failure.into()),
        }
        let ask_again = (Instant::now() + ASK_EVERY).min(give_up);
        // Woken or not, it is asked again.
        let _ = timeout_at(ask_again, news.changed()).await;
    }
}

/// No idempotency key: the decision's own id does that for workflows.
async fn ask(infra: &Infra, id: &OrderId, decision: Decision) -> Result<Decision, Failure> {
    let workflow = infra.ingress.workflow(id);
    outcome(match decision.verdict {
        Verdict::Cancelled => workflow.cancel(Body::from(decision)).call().await,
        _ => workflow.approve(Body::from(decision)).call().await,
    })
}

/// Whether an order is paid, so that its workflow is on its way. Refuses when
/// it has ended.
async fn is_about_to_begin(infra: &Infra, id: &OrderId) -> Result<bool, Problem> {
    let mut record = find(infra, id).await?;
    if record.status != OrderStatus::AwaitingApproval {
        ask_restate(infra, id).await;
        record = find(infra, id).await?;
    }
    let status = record.status;
    if status.is_terminal() {
        let order_id = id.clone();
        return Err(Refusal::TooLate { order_id, status }.into());
    }
    Ok(status == OrderStatus::AwaitingApproval)
}

/// The order's status once the decision shows in the read model. When nothing
/// is heard of it (the update stream is down), Restate is asked.
async fn shown(infra: &Infra, id: &OrderId) -> Result<OrderStatus, Problem> {
    let waits = |record: &OrderRecord| {
        record.status == OrderStatus::AwaitingApproval && record.undoing.is_none()
    };
    let mut news = infra.live.order(id);
    let give_up = Instant::now() + SHOWN_WITHIN;
    loop {
        let record = find(infra, id).await?;
        if !waits(&record) {
            return Ok(record.status);
        }
        match timeout_at(give_up, news.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => break,
        }
    }
    ask_restate(infra, id).await;
    Ok(find(infra, id).await?.status)
}
