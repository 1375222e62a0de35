//! One payment attempt, from the awakeable to its outcome.
//!
//! [`await_payment`] waits and decides nothing: it hears the customer or the clock.
//! What the provider says of its page comes to [`opened`], its no to [`settle`], its
//! callback to [`called_back`], which are exclusive. What follows is decided in
//! [`waybill_domain::session`].

use restate_sdk::prelude::*;
use waybill_domain::audit::Origin;
use waybill_domain::checkout::{
    AwaitPayment, CallbackAnswer, Marker, PaymentCallback, PaymentOpened, Settle,
};
use waybill_domain::order::OrderStatus;
use waybill_domain::payment::{
    LateMoney, PaymentOrder, PaymentOutcome, PaymentReceipt, TransactionClaim,
};
use waybill_domain::refusal::Refusal;
use waybill_domain::session::{self, Callback, Heard, Settling, Stray};
use waybill_domain::words::{MAX_NAME, MAX_REASON, bounded, quoted};

use super::{UserSession, UserSessionClient, basket, marker};
use crate::clock::{Clock, left_until};
use crate::payment::PaymentServiceClient;
use crate::refuse::{defect, is_cancellation, refuse};
use crate::state::ReadState;
use crate::transaction::PaymentTransactionClient;
use crate::wire::{late_key, marker_key};

/// Waits for the payment and settles it.
pub(super) async fn await_payment(
    ctx: &SharedObjectContext<'_>,
    wait: AwaitPayment,
) -> HandlerResult<()> {
    // Raw bytes: whatever is posted to the awakeable, this invocation ends.
    let (awakeable_id, receipt) = ctx.awakeable::<Vec<u8>>();
    if wait.provider_is_away {
        let opened = PaymentOpened {
            attempt: wait.attempt.clone(),
            awakeable_id: awakeable_id.clone(),
            provider: None,
            at: None,
        };
        session(ctx).payment_opened(Json(opened)).send();
    }
    let request = ctx
        .service_client::<PaymentServiceClient>()
        .request_payment(Json(PaymentOrder {
            attempt: wait.attempt.clone(),
            awakeable_id: awakeable_id.clone(),
            amount_cents: wait.amount_cents,
            capture_cents: None,
            payment_id: None,
            transaction_id: None,
        }))
        .send();
    let heard = restate_sdk::select! {
        receipt = receipt => Ok(Heard::Receipt(read(receipt))),
        _ = ctx.sleep(left_until(wait.pay_until)) => Ok(Heard::Deadline),
        on_cancel => Err(())
    };
    let at = matches!(heard, Ok(Heard::Deadline)).then_some(wait.pay_until);
    let outcome = match heard {
        Ok(heard) => wait.hear(heard),
        Err(()) => PaymentOutcome::Cancelled {
            by: "restate".to_owned(),
            reason: Some("the payment's invocation was cancelled by an operator".to_owned()),
            from: Origin::default(),
        },
    };
    let is_paid = matches!(outcome, PaymentOutcome::Paid { .. });
    let status = ended(
        ctx,
        Settle {
            attempt: wait.attempt.clone(),
            outcome,
            awakeable_id: Some(awakeable_id),
            at,
        },
    )
    .await?;
    // Paid without the provider's answer (a hand-made callback during an
    // outage): let the question go on, the payment must exist to be captured.
    if !is_paid && let Ok(request) = request.await {
        request.cancel();
    }
    if status.is_terminal() && status != OrderStatus::Delivered {
        let order_id = wait.attempt.order_id;
        let why = format!("order {order_id} ended: {}", status.label());
        return Err(TerminalError::new_with_code(402, why).into());
    }
    Ok(())
}

/// Where the attempt has ended: a callback has settled it already, or it is settled
/// now. Undisturbed by cancellations: settling twice is once.
async fn ended(ctx: &SharedObjectContext<'_>, settle: Settle) -> HandlerResult<OrderStatus> {
    let key = marker_key(&settle.attempt.order_id);
    let marker = loop {
        match ctx.read::<Marker>(&key).await {
            Ok(marker) => break marker,
            Err(error) if is_cancellation(&error) => {}
            Err(error) => return Err(error.into()),
        }
    };
    if let Settling::Ended {
        status,
        stray: None,
    } = session::settle(marker, settle.clone())
    {
        return Ok(status);
    }
    loop {
        match session(ctx).settle(Json(settle.clone())).call().await {
            Ok(Json(status)) => return Ok(status),
            Err(error) if is_cancellation(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What an awakeable was resolved with, or why it is no receipt.
fn read(heard: Result<Vec<u8>, TerminalError>) -> Result<PaymentReceipt, String> {
    let bytes = heard.map_err(|rejected| bounded(rejected.message(), MAX_REASON))?;
    // Reading it bounds its words; the error quotes what it could not read.
    serde_json::from_slice(&bytes).map_err(|error| {
        let error = quoted(&error.to_string(), MAX_NAME);
        format!("the receipt is unreadable ({error})")
    })
}

/// Notes the awakeable and the provider's page; answers whether the attempt is
/// still open. The wait of one that is not is ended.
pub(super) async fn opened(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    opened: PaymentOpened,
) -> HandlerResult<bool> {
    let marker = marker(ctx, &opened.attempt.order_id).await?;
    let now = ctx.time_of(opened.at).await?;

    let decided = session::opened(marker, opened, now).map_err(defect)?;
    session.perform(ctx, decided.effects);
    Ok(decided.answer)
}

/// Takes a receipt, with all that follows from it, and ends the wait; sends back
/// money that nobody waits for.
pub(super) async fn called_back(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    callback: PaymentCallback,
) -> HandlerResult<CallbackAnswer> {
    let (order_id, at) = (callback.order_id.clone(), callback.at);
    let marker = marker(ctx, &order_id).await?;
    let callback = session::called_back(marker, callback).map_err(refuse)?;
    if let Some(claim) = callback.claim()
        && !claim_transaction(ctx, &claim).await?
    {
        let transaction_id = claim.transaction_id;
        return Err(refuse(Refusal::TransactionInUse { transaction_id }));
    }
    match callback {
        Callback::Repeated => Ok(CallbackAnswer::Repeated),
        Callback::News(attempt, receipt) => {
            let basket = basket(ctx).await?;
            let now = ctx.time_of(at).await?;

            // No await from here on: all of it happens or nothing.
            let decided = attempt.receive(receipt, basket, now).map_err(defect)?;
            session.perform(ctx, decided.effects);
            Ok(decided.answer)
        }
        Callback::Stray(stray) => {
            let late = ctx.read::<LateMoney>(&late_key(&order_id)).await?;
            let now = ctx.time_of(at).await?;

            let decided = stray.send_back(late, now);
            session.perform(ctx, decided.effects);
            Ok(if decided.answer {
                CallbackAnswer::Late
            } else {
                CallbackAnswer::Repeated
            })
        }
    }
}

/// Whether a transaction is this attempt's. Asking again gets the same answer.
async fn claim_transaction(
    ctx: &ObjectContext<'_>,
    claim: &TransactionClaim,
) -> HandlerResult<bool> {
    let transaction = &claim.transaction_id;
    let theirs = ctx
        .object_client::<PaymentTransactionClient>(transaction.as_str())
        .claim(Json(claim.owner.clone()))
        .call()
        .await?;
    if !theirs {
        tracing::warn!(
            order.id = %claim.owner.attempt.order_id, payment.transaction_id = transaction,
            "transaction {transaction} belongs to another payment"
        );
    }
    Ok(theirs)
}

/// Ends an attempt; answers where the order stands.
pub(super) async fn settle(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    settle: Settle,
) -> HandlerResult<OrderStatus> {
    let (attempt, at) = (settle.attempt.clone(), settle.at);
    let (order_id, waits) = (attempt.order_id.clone(), settle.awakeable_id.clone());
    let marker = marker(ctx, &order_id).await?;
    let mut settling = session::settle(marker.clone(), settle);
    // Money that came straight to the awakeable, past the webhook.
    if let Some(claim) = settling.claim()
        && !claim_transaction(ctx, &claim).await?
    {
        settling = settling.without_money();
    }
    let late = async |stray: &Option<Stray>| match stray {
        Some(_) => ctx.read::<LateMoney>(&late_key(&order_id)).await,
        None => Ok(None),
    };
    match settling {
        Settling::Ends(attempt, outcome) => {
            let stray = attempt.stray(&outcome);
            let basket = basket(ctx).await?;
            let late = late(&stray).await?;
            let now = ctx.time_of(at).await?;

            // No await from here on: all of it happens or nothing.
            let ended = attempt.end(outcome, basket, now).map_err(defect)?;
            if let Some(stray) = stray {
                session.perform(ctx, stray.send_back(late, now).effects);
            }
            session.perform(ctx, ended.effects);
            let status = ended.answer.status;
            if let Some(awakeable_id) = waits {
                ctx.reject_awakeable(&awakeable_id, TerminalError::new(status.label()));
            }
            Ok(status)
        }
        Settling::Ended { status, stray } => {
            let late = late(&stray).await?;
            if stray.is_none() && waits.is_none() {
                return Ok(status);
            }
            let now = ctx.time_of(at).await?;

            if let Some(stray) = stray {
                session.perform(ctx, stray.send_back(late, now).effects);
            }
            if let Some(awakeable_id) = waits {
                let told = session::told_too_late(marker, &attempt, awakeable_id, now);
                session.perform(ctx, told);
            }
            Ok(status)
        }
    }
}

fn session<'ctx>(ctx: &SharedObjectContext<'ctx>) -> UserSessionClient<'ctx> {
    ctx.object_client::<UserSessionClient>(ctx.key())
}
