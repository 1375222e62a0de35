//! What happens to an order after its delivery: virtual object, key = order id.
//!
//! Returns, and money that goes back. By then the order's workflow has ended: its record
//! never changes again and can only be read. So this object owns what comes after. It asks
//! the workflow once, the first time it is called, what was delivered and paid, and keeps
//! that with its own state: nobody who calls it can say so.
//!
//! Nothing is held while a parcel is on its way: an accepted return is state, and a call
//! to ourselves at the end of its time ends it if nothing has come. The provider is asked
//! by [`PaymentService.RefundPart`](crate::payment), one way and with a key for each
//! refund, which tells us here what has come of it; pieces go back to
//! [`Inventory`](crate::inventory) with a key of their own.

use std::time::Duration;

use restate_sdk::prelude::*;
use waybill_domain::after_sales::{
    AfterSales as State, AskReturn, DecideReturn, ForgottenReturn, ReceiveReturn, Refund,
    RefundAnswer, RefundGoodwill, RefundStatus, ReturnedPieces, WithdrawReturn,
};
use waybill_domain::audit::{Act, Asked, By};
use waybill_domain::idempotency::Answered;
use waybill_domain::ids::OrderId;
use waybill_domain::refusal::Refusal;
use waybill_domain::update::Update;

use crate::audit_log;
use crate::broadcast::UpdateBroadcaster;
use crate::clock::Clock as _;
use crate::inventory::InventoryClient;
use crate::once::{Begun, Write};
use crate::order_fulfillment::OrderFulfillmentWorkflowClient;
use crate::payment::PaymentServiceClient;
use crate::refuse::refuse;
use crate::signed::{Doors, Signed};
use crate::state::ReadState;
use crate::wire::WHOLE_AFTER_SALES;
use crate::wire::after_sales as wire;

/// See the module.
pub struct AfterSales {
    /// Changes are said aloud.
    pub updates: UpdateBroadcaster,
    /// Whose calls are let in.
    pub doors: Doors,
}

#[restate_sdk::object]
impl AfterSales {
    /// Somebody asks to send pieces back.
    #[handler(name = "Ask")]
    async fn ask(
        &self,
        ctx: ObjectContext<'_>,
        asked: Signed<Asked<AskReturn>>,
    ) -> HandlerResult<Json<Answered<State>>> {
        let Asked { what, .. } = asked.open(&ctx, &self.doors, wire::ASK)?;
        let begun = Write::begin(&ctx).await?;
        let state = self.of_order(&ctx).await?;
        let Begun::New(write) = begun else {
            return Ok(Json(Answered::again(state)));
        };
        let state = state.ask(&what).map_err(refuse)?;
        self.keep(&ctx, write, &state);
        Ok(Json(Answered::now(state)))
    }

    /// An approver accepts a return, or refuses it.
    #[handler(name = "Decide")]
    async fn decide(
        &self,
        ctx: ObjectContext<'_>,
        asked: Signed<Asked<DecideReturn>>,
    ) -> HandlerResult<Json<Answered<State>>> {
        let Asked { what, by } = asked.open(&ctx, &self.doors, wire::DECIDE)?;
        let begun = Write::begin(&ctx).await?;
        let state = self.of_order(&ctx).await?;
        let Begun::New(write) = begun else {
            return Ok(Json(Answered::again(state)));
        };
        let state = state.decide(&what, &by).map_err(refuse)?;
        self.keep(&ctx, write, &state);
        let act = if what.accepted {
            let within = Duration::from_millis(state.sold.send_within_ms);
            ctx.object_client::<AfterSalesClient>(ctx.key())
                .parcel_overdue(Json(what.number))
                .send_after(within);
            Act::ReturnAccepted
        } else {
            Act::ReturnRefused
        };
        audit_log::hand_over(&ctx, state.audited(act, by));
        Ok(Json(Answered::now(state)))
    }

    /// Whoever asked keeps the pieces after all.
    #[handler(name = "Withdraw")]
    async fn withdraw(
        &self,
        ctx: ObjectContext<'_>,
        asked: Signed<Asked<WithdrawReturn>>,
    ) -> HandlerResult<Json<Answered<State>>> {
        let Asked { what, by } = asked.open(&ctx, &self.doors, wire::WITHDRAW)?;
        let begun = Write::begin(&ctx).await?;
        let state = self.of_order(&ctx).await?;
        let Begun::New(write) = begun else {
            return Ok(Json(Answered::again(state)));
        };
        let state = state.withdraw(&what, &by).map_err(refuse)?;
        self.keep(&ctx, write, &state);
        Ok(Json(Answered::now(state)))
    }

    /// The parcel of a return is here: what can be sold again is, and money goes back.
    #[handler(name = "Receive")]
    async fn receive(
        &self,
        ctx: ObjectContext<'_>,
        asked: Signed<Asked<ReceiveReturn>>,
    ) -> HandlerResult<Json<Answered<State>>> {
        let Asked { what, by } = asked.open(&ctx, &self.doors, wire::RECEIVE)?;
        let begun = Write::begin(&ctx).await?;
        let state = self.of_order(&ctx).await?;
        let Begun::New(write) = begun else {
            return Ok(Json(Answered::again(state)));
        };
        let state = state.receive(&what, &by).map_err(refuse)?;
        self.keep(&ctx, write, &state);
        put_back(&ctx, &state, what.number);
        audit_log::hand_over(&ctx, state.audited(Act::ReturnReceived, by.clone()));
        let paid_back = state.refunds.last();
        if let Some(refund) = paid_back.filter(|it| it.of_return == Some(what.number)) {
            pay_back(&ctx, &state, refund, by);
        }
        Ok(Json(Answered::now(state)))
    }

    /// An admin gives money back without a return.
    #[handler(name = "RefundGoodwill")]
    async fn refund_goodwill(
        &self,
        ctx: ObjectContext<'_>,
        asked: Signed<Asked<RefundGoodwill>>,
    ) -> HandlerResult<Json<Answered<State>>> {
        let Asked { what, by } = asked.open(&ctx, &self.doors, wire::REFUND_GOODWILL)?;
        let begun = Write::begin(&ctx).await?;
        let state = self.of_order(&ctx).await?;
        let Begun::New(write) = begun else {
            return Ok(Json(Answered::again(state)));
        };
        let state = state.goodwill(&what, &by).map_err(refuse)?;
        self.keep(&ctx, write, &state);
        if let Some(refund) = state.refunds.last() {
            pay_back(&ctx, &state, refund, by);
        }
        Ok(Json(Answered::now(state)))
    }

    /// Sends everything again that may not have arrived: for reconciling, after an
    /// invocation was killed. What has been done is not done twice.
    #[handler(name = "AskAgain")]
    async fn ask_again(&self, ctx: ObjectContext<'_>, nothing: Signed<()>) -> HandlerResult<()> {
        nothing.open(&ctx, &self.doors, wire::ASK_AGAIN)?;
        let Some(state) = ctx.read::<State>(WHOLE_AFTER_SALES).await? else {
            return Ok(());
        };
        for one in &state.returns {
            put_back(&ctx, &state, one.number);
        }
        for refund in &state.refunds {
            if refund.status == RefundStatus::Pending {
                ask_provider(&ctx, &state, refund);
            }
        }
        Ok(())
    }

    /// The provider has answered.
    #[handler(name = "Refunded", ingress_private = true)]
    async fn refunded(
        &self,
        ctx: ObjectContext<'_>,
        Json(answer): Json<RefundAnswer>,
    ) -> HandlerResult<()> {
        let Some(state) = ctx.read::<State>(WHOLE_AFTER_SALES).await? else {
            return Ok(());
        };
        let now = ctx.now().await?;
        if let Some(state) = state.answered(&answer, now) {
            self.write(&ctx, &state);
        }
        Ok(())
    }

    /// The time of a parcel is over.
    #[handler(name = "ParcelOverdue", ingress_private = true)]
    async fn parcel_overdue(
        &self,
        ctx: ObjectContext<'_>,
        Json(number): Json<u32>,
    ) -> HandlerResult<()> {
        let state = ctx.read::<State>(WHOLE_AFTER_SALES).await?;
        if let Some(state) = state.and_then(|state| state.not_sent(number)) {
            self.write(&ctx, &state);
        }
        Ok(())
    }

    /// Forgets the order, unless something is still to come; answers whether it is
    /// forgotten. For the customer's session, which forgets the order with it.
    #[handler(name = "Forget", ingress_private = true)]
    async fn forget(&self, ctx: ObjectContext<'_>) -> HandlerResult<bool> {
        let state = ctx.read::<State>(WHOLE_AFTER_SALES).await?;
        if state.as_ref().is_some_and(|state| !state.is_settled()) {
            return Ok(false);
        }
        let Some(state) = state else {
            return Ok(true);
        };
        ctx.clear_all();
        for one in &state.returns {
            for part in &one.sellable {
                ctx.object_client::<InventoryClient>(part.sku.as_str())
                    .forget_return(Json(ForgottenReturn {
                        order_id: state.order_id.clone(),
                        number: one.number,
                    }))
                    .send();
            }
        }
        Ok(true)
    }
}

impl AfterSales {
    /// What is known of the order, or what its workflow says of it now.
    async fn of_order(&self, ctx: &ObjectContext<'_>) -> HandlerResult<State> {
        if let Some(state) = ctx.read::<State>(WHOLE_AFTER_SALES).await? {
            return Ok(state);
        }
        let order_id = OrderId::parse(ctx.key()).map_err(refuse)?;
        let sold = ctx
            .workflow_client::<OrderFulfillmentWorkflowClient>(ctx.key())
            .sold()
            .call()
            .await?;
        match sold.into_inner() {
            Some(Ok(sold)) => Ok(State::new(order_id, sold)),
            Some(Err(refusal)) => Err(refuse(refusal)),
            None => Err(refuse(Refusal::NothingKept { order_id })),
        }
    }

    /// Writes what was done with its caller's key. No await follows: all of it or nothing.
    /// What is sent comes after it, so that whoever is killed in between leaves something
    /// behind that [`ask_again`](Self::ask_again) can finish.
    fn keep(&self, ctx: &ObjectContext<'_>, write: Write, state: &State) {
        write.keep(ctx);
        self.write(ctx, state);
    }

    fn write(&self, ctx: &ObjectContext<'_>, state: &State) {
        ctx.set(WHOLE_AFTER_SALES, Json(state.clone()));
        self.updates
            .publish(&Update::AfterSales(Box::new(state.clone())));
        tracing::info!(
            order.id = %state.order_id,
            after_sales.version = state.version,
            "after the delivery of {}: {}",
            state.order_id,
            state.events.last().map_or("", |event| event.kind.as_str())
        );
    }
}

/// Money goes back, and the audit log knows by whom.
fn pay_back(ctx: &ObjectContext<'_>, state: &State, refund: &Refund, by: By) {
    audit_log::hand_over(ctx, state.audited(Act::Refunded, by));
    ask_provider(ctx, state, refund);
}

fn ask_provider(ctx: &ObjectContext<'_>, state: &State, refund: &Refund) {
    ctx.service_client::<PaymentServiceClient>()
        .refund_part(Json(state.refund_order(refund)))
        .send();
}

/// What came back and can be sold again.
fn put_back(ctx: &ObjectContext<'_>, state: &State, number: u32) {
    let received = state.find(number);
    for part in received.iter().flat_map(|it| &it.sellable) {
        ctx.object_client::<InventoryClient>(part.sku.as_str())
            .returned(Json(ReturnedPieces {
                order_id: state.order_id.clone(),
                number,
                quantity: part.quantity,
                at: state.updated_at,
            }))
            .send();
    }
}
