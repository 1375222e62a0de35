//! What happens after delivery: returns, and money that goes back. The order's
//! `AfterSales` decides; whoever asks sees what came of it at once.

use std::time::Duration;

use serde::Serialize;
use services::client::{AfterSalesIngressClient, Body, Failure, Signing, keyed, outcome};
use tokio::time::Instant;
use waybill_domain::after_sales::{
    AfterSales, AskReturn, DecideReturn, ReceiveReturn, RefundGoodwill, WithdrawReturn,
};
use waybill_domain::audit::{Asked, By};
use waybill_domain::idempotency::{Answered, Once};
use waybill_domain::ids::{OrderId, Username};
use waybill_domain::refusal::Refusal;
use waybill_domain::update::Update;

use super::told_about;
use crate::http::idempotency::IdempotencyKey;
use crate::http::problem::Problem;
use crate::infra::Infra;
use crate::restate::trace;

/// How long Restate may take to know of a delivery that is shown here.
const DELIVERED_WITHIN: Duration = Duration::from_secs(8);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Who asks for something, and by which key.
#[derive(Debug)]
pub struct Asker<'a> {
    /// Who.
    pub user: &'a Username,
    /// The same, with where from: for the audit log.
    pub by: By,
    /// Their key.
    pub key: &'a IdempotencyKey,
}

impl Asker<'_> {
    /// The key for this request, in its own words: not with the time that we stamp.
    fn once(
        &self,
        what: &str,
        order: &OrderId,
        request: &impl Serialize,
    ) -> Result<Option<Once>, Problem> {
        let operation = format!("{what}.{order}");
        self.key.once(self.user, &operation, request)
    }
}

/// Asks to send pieces back.
pub async fn ask(
    infra: &Infra,
    asker: Asker<'_>,
    order: &OrderId,
    what: AskReturn,
) -> Result<Answered<AfterSales>, Problem> {
    let once = asker.once("return.ask", order, &(&what.items, &what.reason))?;
    let by = asker.by;
    let wish = once_delivered(|| {
        let (what, by) = (what.clone(), by.clone());
        let call = after_sales(infra, order).ask(Body::from(Asked { what, by }));
        let call = keyed(call, once.clone());
        async move { outcome(call.call().await) }
    });
    Ok(shown(infra, wish.await?).await)
}

/// Accepts a return, or refuses it.
pub async fn decide(
    infra: &Infra,
    asker: Asker<'_>,
    order: &OrderId,
    what: DecideReturn,
) -> Result<Answered<AfterSales>, Problem> {
    let request = (what.number, what.accepted, &what.reason);
    let once = asker.once("return.decide", order, &request)?;
    let by = asker.by;
    let call = after_sales(infra, order);
    let call = call.decide(Body::from(Asked { what, by }));
    Ok(shown(infra, outcome(keyed(call, once).call().await)?).await)
}

/// Takes the wish to send pieces back, back.
pub async fn withdraw(
    infra: &Infra,
    asker: Asker<'_>,
    order: &OrderId,
    what: WithdrawReturn,
) -> Result<Answered<AfterSales>, Problem> {
    let once = asker.once("return.withdraw", order, &what.number)?;
    let by = asker.by;
    let call = after_sales(infra, order);
    let call = call.withdraw(Body::from(Asked { what, by }));
    Ok(shown(infra, outcome(keyed(call, once).call().await)?).await)
}

/// Takes a parcel in.
pub async fn receive(
    infra: &Infra,
    asker: Asker<'_>,
    order: &OrderId,
    what: ReceiveReturn,
) -> Result<Answered<AfterSales>, Problem> {
    let request = (what.number, &what.damaged, &what.missing, what.refund_cents);
    let once = asker.once("return.receive", order, &request)?;
    let by = asker.by;
    let call = after_sales(infra, order);
    let call = call.receive(Body::from(Asked { what, by }));
    Ok(shown(infra, outcome(keyed(call, once).call().await)?).await)
}

/// Gives money back without a return.
pub async fn refund(
    infra: &Infra,
    asker: Asker<'_>,
    order: &OrderId,
    what: RefundGoodwill,
) -> Result<Answered<AfterSales>, Problem> {
    let request = (what.amount_cents, &what.reason);
    let once = asker.once("refund", order, &request)?;
    let by = asker.by;
    let refunded = once_delivered(|| {
        let (what, by) = (what.clone(), by.clone());
        let call = after_sales(infra, order).refund_goodwill(Body::from(Asked { what, by }));
        let call = keyed(call, once.clone());
        async move { outcome(call.call().await) }
    });
    Ok(shown(infra, refunded.await?).await)
}

/// Asks about an order that is shown as delivered here until Restate knows of its delivery, too.
/// The services say a step aloud when they hand it to Restate: if they die in between, it is
/// taken again when they are back. A refusal is not remembered, so the key is the same.
async fn once_delivered<T, F>(ask: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let give_up = Instant::now() + DELIVERED_WITHIN;
    loop {
        match ask().await {
            Err(Failure::Refused(Refusal::NotDelivered { .. })) if Instant::now() < give_up => {
                tokio::time::sleep(ASK_EVERY).await;
            }
            answered => return answered,
        }
    }
}

/// What comes after an order's delivery, asked in a trace that is linked to the order's.
fn after_sales(infra: &Infra, order: &OrderId) -> AfterSalesIngressClient<Signing> {
    told_about(order);
    trace::link_to_workflow(order);
    infra.ingress.after_sales(order)
}

/// Shows what was done before it is answered.
async fn shown(infra: &Infra, answered: Answered<AfterSales>) -> Answered<AfterSales> {
    let update = Update::AfterSales(Box::new(answered.value.clone()));
    infra.live.show(update).await;
    answered
}
