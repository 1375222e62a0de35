//! Placing an order once, taking it back, handing it over, forgetting it.
//!
//! The marker `checkout:exec:{order_id}` deduplicates (the proposal's pattern
//! C): whatever is asked again finds what was done.

use waybill_domain::checkout::{HandedOver, Placement, TakeBack};
use waybill_domain::ids::AttemptId;
use waybill_domain::order::Step;
use waybill_domain::payment::PaymentOutcome;
use waybill_domain::stock::{Reservation, Reserve};

use super::attempt;
use super::{
    AwaitPayment, CancelAnswer, CancelOrder, Checkout, CheckoutAnswer, Clock, ContextAwakeables,
    ContextClient, ContextWriteState, HandlerError, HandlerResult, Json, Marker, ObjectContext,
    OrderId, OrderRecord, OrderStatus, Refusal, TerminalError, UserSession, UserSessionClient,
    basket, late_key, marker, marker_key, refuse,
};
use crate::inventory::InventoryClient;
use crate::refuse::{defect, is_cancellation};

/// Places the order, or finds it placed.
pub(super) async fn place(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    asked: Checkout,
) -> HandlerResult<CheckoutAnswer> {
    let previous = match marker(ctx, &asked.order_id).await? {
        None => None,
        Some(Marker::HandedOver(_)) => {
            return Ok(CheckoutAnswer::AlreadyPaid {
                order_id: asked.order_id,
            });
        }
        Some(Marker::Here(record)) => match record.status {
            OrderStatus::AwaitingPayment => {
                return Ok(CheckoutAnswer::Placed { record: *record });
            }
            OrderStatus::AwaitingApproval => {
                return Ok(CheckoutAnswer::AlreadyPaid {
                    order_id: asked.order_id,
                });
            }
            status if status.may_retry_payment() => Some(*record),
            status => {
                return Err(refuse(Refusal::TooLate {
                    order_id: asked.order_id,
                    status,
                }));
            }
        },
    };
    let cart = basket(ctx).await?;
    let now = ctx.now().await?;
    let pay_until = now + session.payment_window;
    let placement = Placement::freeze(&cart.items, &asked, pay_until).map_err(refuse)?;
    let attempt = AttemptId {
        attempt: previous
            .as_ref()
            .map_or(1, |record| record.payment().attempt + 1),
        order_id: asked.order_id,
    };
    reserve(ctx, &attempt, &placement).await?;

    // No await from here on: a cancellation finds all of this done or none.
    let record = match previous {
        None => OrderRecord::place(attempt.order_id.clone(), placement, now),
        Some(record) => record.retry(placement, now).map_err(|record| {
            refuse(Refusal::TooLate {
                order_id: record.order_id,
                status: record.status,
            })
        })?,
    };
    session.write(ctx, &record);
    ctx.object_client::<UserSessionClient>(ctx.key())
        .await_payment(Json(AwaitPayment {
            attempt,
            amount_cents: record.total_cents,
            pay_until,
        }))
        .send();
    Ok(CheckoutAnswer::Placed { record })
}

/// Reserves every line, or nothing.
async fn reserve(
    ctx: &ObjectContext<'_>,
    attempt: &AttemptId,
    placement: &Placement,
) -> HandlerResult<()> {
    let asked: Vec<_> = placement
        .lines
        .iter()
        .map(|line| {
            let reservation = ctx
                .object_client::<InventoryClient>(line.sku.as_str())
                .reserve(Json(Reserve {
                    attempt: attempt.clone(),
                    quantity: line.quantity,
                }))
                .call();
            (line, reservation)
        })
        .collect();
    let mut shortage: Option<HandlerError> = None;
    for (line, reservation) in asked {
        match reservation.await {
            Ok(Json(Reservation::Reserved)) => {}
            Ok(Json(Reservation::Short { available })) => {
                shortage.get_or_insert(refuse(Refusal::OutOfStock {
                    sku: line.sku.clone(),
                    available,
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
    match shortage {
        None => Ok(()),
        Some(error) => {
            release(ctx, attempt, &placement.lines);
            Err(error)
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
            .release(Json(attempt.clone()))
            .send();
    }
}

/// Takes an order back that is not paid yet.
pub(super) async fn cancel(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    cancel: CancelOrder,
) -> HandlerResult<CancelAnswer> {
    let record = match marker(ctx, &cancel.order_id).await? {
        None => {
            return Err(refuse(Refusal::UnknownOrder {
                order_id: cancel.order_id,
            }));
        }
        Some(Marker::HandedOver(_)) => return Ok(CancelAnswer::HandedOver),
        Some(Marker::Here(record)) => *record,
    };
    match record.status {
        OrderStatus::AwaitingPayment => {}
        OrderStatus::AwaitingApproval => return Ok(CancelAnswer::HandedOver),
        // The second click finds it done.
        OrderStatus::Cancelled => return Ok(CancelAnswer::Cancelled { record }),
        status => {
            return Err(refuse(Refusal::TooLate {
                order_id: cancel.order_id,
                status,
            }));
        }
    }
    let basket = basket(ctx).await?;
    let now = ctx.now().await?;

    if let Some(awakeable_id) = &record.payment().awakeable_id {
        ctx.reject_awakeable(awakeable_id, TerminalError::new("the order was cancelled"));
    }
    let outcome = PaymentOutcome::Cancelled {
        by: cancel.by,
        reason: cancel.reason,
    };
    let record = attempt::end(session, ctx, record, outcome, basket, now)?;
    match record.status {
        OrderStatus::Cancelled => Ok(CancelAnswer::Cancelled { record }),
        // A receipt that was written down before wins over the cancellation.
        OrderStatus::AwaitingApproval => Ok(CancelAnswer::HandedOver),
        status => Err(refuse(Refusal::TooLate {
            order_id: record.order_id,
            status,
        })),
    }
}

/// Shrinks the marker to "paid" and the attempts' ids.
pub(super) async fn handed_over(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    order_id: OrderId,
) -> HandlerResult<()> {
    if let Some(Marker::Here(record)) = marker(ctx, &order_id).await? {
        let marker = Marker::HandedOver(HandedOver {
            paid_at: record.updated_at,
            attempts: record.payments,
        });
        ctx.set(&marker_key(&order_id), Json(marker));
        forget_later(session, ctx, order_id);
    }
    Ok(())
}

/// The hand-over, undone: the newest record there is becomes the marker again.
pub(super) async fn take_back(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    left: TakeBack,
) -> HandlerResult<OrderRecord> {
    let TakeBack { record, by, reason } = left;
    let newest = match marker(ctx, &record.order_id).await? {
        None => {
            return Err(refuse(Refusal::UnknownOrder {
                order_id: record.order_id,
            }));
        }
        Some(Marker::Here(held)) if held.version >= record.version => *held,
        Some(Marker::Here(_) | Marker::HandedOver(_)) => record,
    };
    let status = newest.status;
    if status == OrderStatus::AwaitingPayment || status.is_terminal() {
        return Err(refuse(Refusal::TooLate {
            order_id: newest.order_id,
            status,
        }));
    }
    let now = ctx.now().await?;
    let record = match newest.undoing {
        Some(_) => newest,
        None => newest
            .apply(Step::Cancelled { by, reason }, now)
            .map_err(defect)?,
    };
    session.write(ctx, &record);
    Ok(record)
}

/// Looks again in a retention's time.
pub(super) fn forget_later(session: &UserSession, ctx: &ObjectContext<'_>, order_id: OrderId) {
    ctx.object_client::<UserSessionClient>(ctx.key())
        .forget(Json(order_id))
        .send_after(session.order_retention);
}

/// Forgets the marker if it is still as old as when this was arranged: an order
/// that was tried again since has arranged its own forgetting.
pub(super) async fn forget(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    order_id: OrderId,
) -> HandlerResult<()> {
    let ended_at = match marker(ctx, &order_id).await? {
        Some(Marker::HandedOver(marker)) => marker.paid_at,
        Some(Marker::Here(record)) if record.status.is_terminal() => record.updated_at,
        Some(Marker::Here(_)) | None => return Ok(()),
    };
    let now = ctx.now().await?;
    if now.duration_since(ended_at).unsigned_abs() >= session.order_retention {
        ctx.clear(&marker_key(&order_id));
        ctx.clear(&late_key(&order_id));
    }
    Ok(())
}

/// The step that a bad outcome is.
pub(super) fn turn(outcome: PaymentOutcome, due: waybill_domain::money::Cents) -> Option<Step> {
    match outcome {
        PaymentOutcome::Paid { .. } => None,
        PaymentOutcome::Mismatched { paid_cents, .. } => Some(Step::PaymentFailed {
            reason: format!("{paid_cents} was paid instead of {due}"),
        }),
        PaymentOutcome::Declined { reason } => Some(Step::PaymentFailed { reason }),
        PaymentOutcome::Expired => Some(Step::PaymentExpired),
        PaymentOutcome::Cancelled { by, reason } => Some(Step::Cancelled { by, reason }),
    }
}
