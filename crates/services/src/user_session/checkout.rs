//! Placing an order once, taking it back, handing it over, forgetting it.
//!
//! The marker `checkout:exec:{order_id}` deduplicates: whatever is asked again
//! finds what was done.

use restate_sdk::prelude::*;
use waybill_domain::Timestamp;
use waybill_domain::checkout::{
    CancelAnswer, CancelOrder, Checkout, CheckoutAnswer, TakeBack, Unpaid,
};
use waybill_domain::idempotency::Answered;
use waybill_domain::ids::{AttemptId, OrderId};
use waybill_domain::order::OrderRecord;
use waybill_domain::placement::{Hold, Quote};
use waybill_domain::refusal::Refusal;
use waybill_domain::session::{self, Cancelling, CheckoutFinds, Effect};
use waybill_domain::stock::{EndReservation, Reservation, Reserve};

use super::{UserSession, basket, marker};
use crate::after_sales::AfterSalesClient;
use crate::clock::Clock;
use crate::inventory::InventoryClient;
use crate::once::{Begun, Write};
use crate::order_fulfillment::OrderFulfillmentWorkflowClient;
use crate::refuse::{defect, is_cancellation, refuse};

/// Places the order, or finds it placed.
pub(super) async fn place(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    asked: Checkout,
) -> HandlerResult<Answered<CheckoutAnswer>> {
    let begun = Write::begin(ctx).await?;
    let marker = marker(ctx, &asked.order_id).await?;
    let Begun::New(write) = begun else {
        let answer = session::look_again(marker, &asked).map_err(refuse)?;
        return Ok(Answered::again(answer));
    };
    let next = match session::look(marker, &asked).map_err(refuse)? {
        CheckoutFinds::Placed(answer) => {
            write.keep(ctx);
            return Ok(Answered::now(answer));
        }
        CheckoutFinds::Next(attempt) => attempt,
    };
    let asked = next.terms(asked);
    if let Some(unpaid) = &asked.unpaid {
        refuse_one_more(ctx, unpaid).await?;
    }
    let cart = basket(ctx).await?;
    let quote = asked.freeze(&cart.items).map_err(refuse)?;
    let now = ctx.time_of(asked.at).await?;
    let hold = reserve(ctx, &next.id, &quote, now).await?;
    let placement = quote.held(hold);

    // No await from here on: a cancellation finds all of this done or none.
    let decided = next
        .place(placement, asked.provider_is_away, now)
        .map_err(refuse)?;
    session.perform(ctx, decided.effects);
    write.keep(ctx);
    Ok(Answered::now(decided.answer))
}

/// Refuses another order while all of these wait for their payment. The gateway has
/// counted them in its copy and says so only then, so that an ordinary checkout reads
/// nothing more; whether they still wait is decided here.
async fn refuse_one_more(ctx: &ObjectContext<'_>, unpaid: &Unpaid) -> HandlerResult<()> {
    for order_id in &unpaid.orders {
        if !session::is_unpaid(marker(ctx, order_id).await?.as_ref()) {
            return Ok(());
        }
    }
    Err(refuse(Refusal::TooManyUnpaid { most: unpaid.most }))
}

/// Reserves every line, or nothing; answers how long all of them are kept.
async fn reserve(
    ctx: &ObjectContext<'_>,
    attempt: &AttemptId,
    quote: &Quote,
    now: Timestamp,
) -> HandlerResult<Hold> {
    let asked: Vec<_> = quote
        .lines
        .iter()
        .map(|line| {
            let reservation = ctx
                .object_client::<InventoryClient>(line.sku.as_str())
                .reserve(Json(Reserve {
                    attempt: attempt.clone(),
                    quantity: line.quantity,
                    at: Some(now),
                }))
                .call();
            (line, reservation)
        })
        .collect();
    let mut kept: Option<Hold> = None;
    let mut shortage: Option<HandlerError> = None;
    for (line, reservation) in asked {
        match reservation.await {
            Ok(Json(Reservation::Reserved { hold: Some(hold) })) => {
                kept = kept.into_iter().chain([hold]).min_by_key(|it| it.pay_until);
            }
            Ok(Json(Reservation::Reserved { hold: None })) => {}
            Ok(Json(Reservation::Short { available, unknown })) => {
                let sku = line.sku.clone();
                shortage.get_or_insert(refuse(if unknown {
                    Refusal::StockUnknown { sku }
                } else {
                    Refusal::OutOfStock { sku, available }
                }));
            }
            Err(error) => {
                // Cancelled or killed: what was taken is not known, so give all
                // back; releasing what was never reserved changes nothing.
                let stop = is_cancellation(&error);
                shortage = Some(error.into());
                if stop {
                    break;
                }
            }
        }
    }
    match (shortage, kept) {
        (None, Some(hold)) => Ok(hold),
        (shortage, _) => {
            release(ctx, attempt, &quote.lines);
            Err(shortage.unwrap_or_else(|| {
                TerminalError::new("a reservation does not say how long it holds").into()
            }))
        }
    }
}

/// Gives the stock of an attempt back: sent after its reservations to the same
/// keys, so it is handled after them.
pub(super) fn release(
    ctx: &ObjectContext<'_>,
    attempt: &AttemptId,
    lines: &[waybill_domain::basket::Line],
) {
    for line in lines {
        ctx.object_client::<InventoryClient>(line.sku.as_str())
            .release(Json(EndReservation {
                attempt: attempt.clone(),
                keep: 0,
                at: None,
            }))
            .send();
    }
}

/// Takes an order back that is not paid yet.
pub(super) async fn cancel(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    cancel: CancelOrder,
) -> HandlerResult<CancelAnswer> {
    // Taking back twice is once by itself: only the key is looked at.
    let begun = Write::begin(ctx).await?;
    let at = cancel.at;
    let marker = marker(ctx, &cancel.order_id).await?;
    let answer = match session::cancel(marker, cancel).map_err(refuse)? {
        Cancelling::Answer(answer) => answer,
        Cancelling::Ends(attempt, cancel) => {
            let basket = basket(ctx).await?;
            let now = ctx.time_of(at).await?;

            let decided = attempt.cancel(cancel, basket, now).map_err(defect)?;
            session.perform(ctx, decided.effects);
            decided.answer.map_err(refuse)?
        }
    };
    // Handed over, nothing is done yet: the workflow decides, and knows the key.
    if let (Begun::New(write), CancelAnswer::Cancelled { .. }) = (begun, &answer) {
        write.keep(ctx);
    }
    Ok(answer)
}

/// Shrinks the marker of an order that was taken back, once its workflow has undone
/// it, and of one that was paid before [`called_back`](super::attempt::called_back)
/// did that itself.
pub(super) async fn handed_over(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    order_id: OrderId,
) -> HandlerResult<()> {
    let marker = marker(ctx, &order_id).await?;
    session.perform(ctx, session::hand_over(marker));
    Ok(())
}

/// The hand-over, undone: the newest record there is becomes the marker again.
pub(super) async fn take_back(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    left: TakeBack,
) -> HandlerResult<OrderRecord> {
    let marker = marker(ctx, &left.record.order_id).await?;
    let taken = session::take_back(marker, left).map_err(refuse)?;
    let now = ctx.now().await?;

    let record = taken.turned(now).map_err(defect)?;
    session.write(ctx, Box::new(record.clone()));
    Ok(record)
}

/// Forgets an order that has ended a retention ago, but not before Restate has
/// forgotten its workflow: until then the id cannot be used again, since the
/// workflow would not run. The gateway asks, and asks again where this is too
/// early. Answers whether it is forgotten.
pub(super) async fn forget(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    order_id: OrderId,
) -> HandlerResult<bool> {
    let marker = marker(ctx, &order_id).await?;
    let Some(ended_at) = marker.as_ref().and_then(session::ended_at) else {
        return Ok(marker.is_none());
    };
    let is_old = ctx.has_passed(session.order_retention, ended_at).await?;
    if !is_old || has_workflow(ctx, &order_id).await? {
        return Ok(false);
    }
    // Nor while something of it is to come back.
    if !forgets_after_sales(ctx, &order_id).await? {
        return Ok(false);
    }
    session.perform(ctx, vec![Effect::Forget(order_id)]);
    Ok(true)
}

async fn has_workflow(ctx: &ObjectContext<'_>, order_id: &OrderId) -> HandlerResult<bool> {
    Ok(ctx
        .workflow_client::<OrderFulfillmentWorkflowClient>(order_id.as_str())
        .is_remembered()
        .call()
        .await?)
}

async fn forgets_after_sales(ctx: &ObjectContext<'_>, order_id: &OrderId) -> HandlerResult<bool> {
    Ok(ctx
        .object_client::<AfterSalesClient>(order_id.as_str())
        .forget()
        .call()
        .await?)
}
