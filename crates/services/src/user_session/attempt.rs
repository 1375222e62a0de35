//! One payment attempt, from the awakeable to its outcome.
//!
//! [`await_payment`] waits and decides nothing: it hears the provider, the
//! customer or the clock and tells [`settle`], which is exclusive and sees what
//! [`called_back`] has done already. What follows is decided in
//! [`waybill_domain::session`].

use std::pin::Pin;

use restate_sdk::context::{DurableFuture, DurableFuturesUnordered};
use restate_sdk::prelude::*;
use waybill_domain::checkout::{
    AwaitPayment, CallbackAnswer, PaymentCallback, PaymentOpened, Settle,
};
use waybill_domain::order::OrderStatus;
use waybill_domain::payment::{
    LateMoney, PaymentOrder, PaymentOutcome, PaymentReceipt, PaymentRequested, TransactionClaim,
};
use waybill_domain::refusal::Refusal;
use waybill_domain::session::{self, Attempt, Callback, Heard, Next, Settling, Stray};
use waybill_domain::words::{MAX_NAME, MAX_REASON, bounded, quoted};

use super::{UserSession, UserSessionClient, basket, marker};
use crate::clock::Clock;
use crate::payment::PaymentServiceClient;
use crate::refuse::{defect, is_cancellation, refuse};
use crate::state::ReadState;
use crate::transaction::PaymentTransactionClient;
use crate::wire::late_key;

/// Waits for the payment and settles it.
pub(super) async fn await_payment(
    ctx: &SharedObjectContext<'_>,
    wait: AwaitPayment,
) -> HandlerResult<()> {
    let attempt = wait.attempt.clone();
    let outcome = match await_outcome(ctx, wait).await {
        Ok(Some(outcome)) => outcome,
        // The attempt had ended before the provider was asked.
        Ok(None) => return Ok(()),
        Err(_cancelled) => PaymentOutcome::Cancelled {
            by: "restate".to_owned(),
            reason: Some("the payment's invocation was cancelled by an operator".to_owned()),
        },
    };
    let status = loop {
        let settled = session(ctx)
            .settle(Json(Settle {
                attempt: attempt.clone(),
                outcome: outcome.clone(),
            }))
            .call()
            .await;
        match settled {
            Ok(Json(status)) => break status,
            // Undisturbed by further cancellations: settling twice is once.
            Err(error) if is_cancellation(&error) => {}
            Err(error) => return Err(error.into()),
        }
    };
    if status.is_terminal() && status != OrderStatus::Delivered {
        let why = format!("order {} ended: {}", attempt.order_id, status.label());
        return Err(TerminalError::new_with_code(402, why).into());
    }
    Ok(())
}

/// What [`await_outcome`] waits for.
enum PaymentSignal {
    Provider(Result<PaymentRequested, TerminalError>),
    Receipt(Result<Vec<u8>, TerminalError>),
    Deadline,
}

type PaymentSignals<'a> = Pin<Box<dyn DurableFuture<Output = PaymentSignal> + Send + 'a>>;

/// `None`: the attempt had ended before anybody was asked.
async fn await_outcome(
    ctx: &SharedObjectContext<'_>,
    wait: AwaitPayment,
) -> Result<Option<PaymentOutcome>, TerminalError> {
    // Raw bytes: whatever is posted to the awakeable, this invocation ends.
    let (awakeable_id, receipt) = ctx.awakeable::<Vec<u8>>();
    let opened = |provider| PaymentOpened {
        attempt: wait.attempt.clone(),
        awakeable_id: awakeable_id.clone(),
        provider,
    };
    // Stored before the provider hears of it: no callback finds it unknown.
    let Json(open) = session(ctx)
        .payment_opened(Json(opened(None)))
        .call()
        .await?;
    if !open {
        return Ok(None);
    }
    let now = ctx.now().await?;
    let request = ctx
        .service_client::<PaymentServiceClient>()
        .request_payment(Json(PaymentOrder {
            attempt: wait.attempt.clone(),
            awakeable_id: awakeable_id.clone(),
            amount_cents: wait.amount_cents,
            payment_id: None,
            transaction_id: None,
        }))
        .call();
    let request_handle = request.invocation_handle().await?;

    let mut signals: DurableFuturesUnordered<PaymentSignals<'_>> = DurableFuturesUnordered::new();
    signals.push(Box::pin(receipt.map(PaymentSignal::Receipt)));
    signals.push(Box::pin(
        ctx.sleep(
            wait.pay_until
                .duration_since(now)
                .try_into()
                .unwrap_or_default(),
        )
        .map(|_| PaymentSignal::Deadline),
    ));
    signals.push(Box::pin(
        request.map(|answer| PaymentSignal::Provider(answer.map(Json::into_inner))),
    ));
    let mut provider_asked = true;
    let outcome = loop {
        let Some((_, heard)) = signals.next().await? else {
            break PaymentOutcome::Expired;
        };
        provider_asked &= !matches!(heard, PaymentSignal::Provider(_));
        match wait.hear(read(heard)) {
            Next::Settle(outcome) => break outcome,
            Next::Store(page) => {
                session(ctx)
                    .payment_opened(Json(opened(Some(page))))
                    .call()
                    .await?;
            }
        }
    };
    // Paid without the provider's answer (a hand-made callback during an
    // outage): let the question go on, the payment must exist to be captured.
    if provider_asked && !matches!(outcome, PaymentOutcome::Paid { .. }) {
        request_handle.cancel();
    }
    Ok(Some(outcome))
}

fn read(heard: PaymentSignal) -> Heard {
    match heard {
        PaymentSignal::Deadline => Heard::Deadline,
        PaymentSignal::Provider(answer) => {
            Heard::Provider(answer.map_err(|error| bounded(error.message(), MAX_REASON)))
        }
        PaymentSignal::Receipt(Err(rejected)) => {
            Heard::Receipt(Err(bounded(rejected.message(), MAX_REASON)))
        }
        // Reading it bounds its words; the error quotes what it could not read.
        PaymentSignal::Receipt(Ok(bytes)) => Heard::Receipt(
            serde_json::from_slice::<PaymentReceipt>(&bytes).map_err(|error| {
                let error = quoted(&error.to_string(), MAX_NAME);
                format!("the receipt is unreadable ({error})")
            }),
        ),
    }
}

/// Notes the awakeable, or the provider's page; answers whether the attempt is
/// still open.
pub(super) async fn opened(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    opened: PaymentOpened,
) -> HandlerResult<bool> {
    let marker = marker(ctx, &opened.attempt.order_id).await?;
    let Some(attempt) = Attempt::open(marker, &opened.attempt) else {
        return Ok(false);
    };
    let now = ctx.now().await?;

    session.perform(ctx, attempt.opened(opened, now).map_err(defect)?);
    Ok(true)
}

/// Takes a receipt, with all that follows from it, and ends the wait; sends back
/// money that nobody waits for.
pub(super) async fn called_back(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    callback: PaymentCallback,
) -> HandlerResult<CallbackAnswer> {
    let order_id = callback.order_id.clone();
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
            let now = ctx.now().await?;

            // No await from here on: all of it happens or nothing.
            let decided = attempt.receive(receipt, basket, now).map_err(defect)?;
            session.perform(ctx, decided.effects);
            Ok(decided.answer)
        }
        Callback::Stray(stray) => {
            let late = ctx.read::<LateMoney>(&late_key(&order_id)).await?;
            let now = ctx.now().await?;

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
    let order_id = settle.attempt.order_id.clone();
    let marker = marker(ctx, &order_id).await?;
    let mut settling = session::settle(marker, settle);
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
            let now = ctx.now().await?;

            // No await from here on: all of it happens or nothing.
            let ended = attempt.end(outcome, basket, now).map_err(defect)?;
            if let Some(stray) = stray {
                session.perform(ctx, stray.send_back(late, now).effects);
            }
            session.perform(ctx, ended.effects);
            Ok(ended.answer.status)
        }
        Settling::Ended { status, stray } => {
            let late = late(&stray).await?;
            if let Some(stray) = stray {
                let now = ctx.now().await?;

                session.perform(ctx, stray.send_back(late, now).effects);
            }
            Ok(status)
        }
    }
}

fn session<'ctx>(ctx: &SharedObjectContext<'ctx>) -> UserSessionClient<'ctx> {
    ctx.object_client::<UserSessionClient>(ctx.key())
}
