//! One payment attempt, from the awakeable to its outcome.
//!
//! [`await_payment`] waits and decides nothing: it hears the provider, the
//! customer or the clock and tells [`settle`], which is exclusive and sees what
//! [`called_back`] wrote down. A receipt that was written down wins over expiry
//! and cancellation; money that comes for an attempt that has ended otherwise
//! goes back.

use std::pin::Pin;

use restate_sdk::context::{DurableFuture, DurableFuturesUnordered};
use waybill_domain::Timestamp;
use waybill_domain::checkout::ProviderPage;
use waybill_domain::ids::AttemptId;
use waybill_domain::money::Cents;
use waybill_domain::order::{Done, Step};
use waybill_domain::payment::{
    LateMoney, LatePayment, PaymentAttempt, PaymentOrder, PaymentOutcome, PaymentReceipt,
    PaymentRequested, ReceiptStatus,
};

use super::{
    AwaitPayment, Basket, CallFuture, CallbackAnswer, Clock, ContextAwakeables, ContextClient,
    ContextTimers, ContextWriteState, HandlerResult, Json, Marker, ObjectContext, OrderId,
    OrderRecord, OrderStatus, PaymentCallback, PaymentOpened, Refusal, Settle, SharedObjectContext,
    TerminalError, Update, UserSession, UserSessionClient, basket, late_key, marker, refuse,
};
use crate::order_fulfillment::OrderFulfillmentWorkflowClient;
use crate::payment::PaymentServiceClient;
use crate::refuse::{defect, is_cancellation};
use crate::state::ReadState;

/// Waits for the payment and settles it.
pub(super) async fn await_payment(
    ctx: &SharedObjectContext<'_>,
    wait: AwaitPayment,
) -> HandlerResult<()> {
    let attempt = wait.attempt.clone();
    let outcome = match hear_outcome(ctx, wait).await {
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

/// What [`hear_outcome`] waits for.
enum Heard {
    Provider(Result<PaymentRequested, TerminalError>),
    Receipt(Result<Vec<u8>, TerminalError>),
    Deadline,
}

type Voices<'a> = Pin<Box<dyn DurableFuture<Output = Heard> + Send + 'a>>;

/// `None`: the attempt had ended before anybody was asked.
async fn hear_outcome(
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

    let mut voices: DurableFuturesUnordered<Voices<'_>> = DurableFuturesUnordered::new();
    voices.push(Box::pin(receipt.map(Heard::Receipt)));
    voices.push(Box::pin(
        ctx.sleep(
            wait.pay_until
                .duration_since(now)
                .try_into()
                .unwrap_or_default(),
        )
        .map(|_| Heard::Deadline),
    ));
    voices.push(Box::pin(
        request.map(|answer| Heard::Provider(answer.map(Json::into_inner))),
    ));
    let mut provider_asked = true;
    let outcome = loop {
        let Some((_, heard)) = voices.next().await? else {
            break PaymentOutcome::Expired;
        };
        match heard {
            Heard::Receipt(answer) => break read_receipt(answer, wait.amount_cents),
            Heard::Deadline => break PaymentOutcome::Expired,
            Heard::Provider(answer) => {
                provider_asked = false;
                match answer {
                    Ok(PaymentRequested::Pending {
                        payment_id,
                        pay_url,
                    }) => {
                        let page = ProviderPage {
                            payment_id,
                            pay_url,
                        };
                        session(ctx)
                            .payment_opened(Json(opened(Some(page))))
                            .call()
                            .await?;
                    }
                    Ok(PaymentRequested::Refused { reason }) => {
                        break PaymentOutcome::Declined { reason };
                    }
                    Err(error) => {
                        break PaymentOutcome::Declined {
                            reason: format!("the provider was not asked: {}", error.message()),
                        };
                    }
                }
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

fn read_receipt(answer: Result<Vec<u8>, TerminalError>, due: Cents) -> PaymentOutcome {
    match answer {
        Err(rejected) => PaymentOutcome::Declined {
            reason: rejected.message().to_owned(),
        },
        Ok(bytes) => match serde_json::from_slice::<PaymentReceipt>(&bytes) {
            Ok(receipt) => receipt.outcome(due),
            Err(error) => PaymentOutcome::Declined {
                reason: format!("the receipt is unreadable ({error})"),
            },
        },
    }
}

/// Notes the awakeable, or the provider's page; answers whether the attempt is
/// still open.
pub(super) async fn opened(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    opened: PaymentOpened,
) -> HandlerResult<bool> {
    let Some(record) = open_record(ctx, &opened.attempt).await? else {
        return Ok(false);
    };
    let now = ctx.now().await?;
    let step = match opened.provider {
        Some(page) => Step::PaymentPageReady(page),
        None => Step::PaymentOpened {
            awakeable_id: opened.awakeable_id,
        },
    };
    let record = record.apply(step, now).map_err(defect)?;
    session.write(ctx, &record);
    Ok(true)
}

/// The record, if `attempt` is its current one and still waits for money.
async fn open_record(
    ctx: &ObjectContext<'_>,
    attempt: &AttemptId,
) -> HandlerResult<Option<OrderRecord>> {
    Ok(match marker(ctx, &attempt.order_id).await? {
        Some(Marker::Here(record))
            if record.attempt() == *attempt && record.status == OrderStatus::AwaitingPayment =>
        {
            Some(*record)
        }
        _ => None,
    })
}

/// Writes a receipt down and wakes the wait; sends back money that nobody
/// waits for.
pub(super) async fn called_back(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    callback: PaymentCallback,
) -> HandlerResult<CallbackAnswer> {
    let PaymentCallback { order_id, receipt } = callback;
    let unknown = || refuse(Refusal::UnknownPayment);
    let marker = marker(ctx, &order_id).await?.ok_or_else(unknown)?;
    let attempts = match &marker {
        Marker::Here(record) => &record.payments,
        Marker::HandedOver(marker) => &marker.attempts,
    };
    let attempt = attempts
        .iter()
        .find(|attempt| attempt.awakeable_id.as_deref() == Some(&receipt.awakeable_id))
        .cloned()
        .ok_or_else(unknown)?;
    let paid = receipt.status == ReceiptStatus::Success;
    if paid && receipt.amount != attempt.amount_cents.0 {
        return Err(refuse(Refusal::WrongAmount {
            expected_cents: attempt.amount_cents,
        }));
    }
    if paid && !receipt.names_a_transaction() {
        return Err(refuse(Refusal::invalid(
            "transaction_id",
            "transaction_id must be 1 to 128 printable ASCII characters for a successful payment",
        )));
    }
    match marker {
        Marker::Here(record)
            if attempt.is_open()
                && attempt.receipt.is_none()
                && record.status == OrderStatus::AwaitingPayment =>
        {
            let now = ctx.now().await?;
            let step = Step::ReceiptNoted(receipt.clone());
            let record = record.apply(step, now).map_err(defect)?;
            session.write(ctx, &record);
            match receipt.outcome(attempt.amount_cents) {
                PaymentOutcome::Declined { reason } => {
                    ctx.reject_awakeable(&receipt.awakeable_id, TerminalError::new(reason));
                }
                _ => ctx.resolve_awakeable(&receipt.awakeable_id.clone(), Json(receipt)),
            }
            Ok(CallbackAnswer::Accepted { record })
        }
        _ if !paid || is_money_of(&attempt, &receipt.transaction_id) => {
            Ok(CallbackAnswer::Repeated)
        }
        _ => {
            let money = Money {
                transaction_id: receipt.transaction_id,
                amount_cents: Cents(receipt.amount),
            };
            let now = ctx.now().await?;
            let sent_back = send_back(session, ctx, &order_id, &attempt, money, now).await?;
            Ok(if sent_back {
                CallbackAnswer::Late
            } else {
                CallbackAnswer::Repeated
            })
        }
    }
}

/// Whether an attempt is, or will be, paid by this transaction.
fn is_money_of(attempt: &PaymentAttempt, transaction_id: &str) -> bool {
    attempt.transaction_id.as_deref() == Some(transaction_id)
        || (attempt.is_open()
            && attempt.receipt.as_ref().is_some_and(|receipt| {
                receipt.status == ReceiptStatus::Success && receipt.transaction_id == transaction_id
            }))
}

/// Ends an attempt; answers where the order stands.
pub(super) async fn settle(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    settle: Settle,
) -> HandlerResult<OrderStatus> {
    let Settle { attempt, outcome } = settle;
    let marker = marker(ctx, &attempt.order_id).await?;
    let now = ctx.now().await?;
    if let Some(Marker::Here(record)) = &marker
        && record.attempt() == attempt
        && record.status == OrderStatus::AwaitingPayment
    {
        let basket = basket(ctx).await?;
        let stray = stray_money(record.payment(), &outcome);
        let payment = record.payment().clone();
        if let Some(money) = stray {
            send_back(session, ctx, &attempt.order_id, &payment, money, now).await?;
        }
        let record = end(session, ctx, record.as_ref().clone(), outcome, basket, now)?;
        return Ok(record.status);
    }
    // Another attempt's outcome changes nothing, but its money goes back.
    let (status, attempts) = match marker {
        Some(Marker::Here(record)) => (record.status, record.payments),
        Some(Marker::HandedOver(marker)) => (OrderStatus::AwaitingApproval, marker.attempts),
        None => return Ok(OrderStatus::Cancelled),
    };
    let ended = attempts
        .iter()
        .find(|other| other.attempt == attempt.attempt);
    if let Some(ended) = ended
        && let Some(money) = money_of(&outcome, ended.amount_cents)
        && !is_money_of(ended, &money.transaction_id)
    {
        send_back(session, ctx, &attempt.order_id, ended, money, now).await?;
    }
    Ok(status)
}

/// The end of the current attempt. No await: all of it happens or nothing.
pub(super) fn end(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    record: OrderRecord,
    outcome: PaymentOutcome,
    basket: Basket,
    now: Timestamp,
) -> HandlerResult<OrderRecord> {
    let due = record.payment().amount_cents;
    // What the provider said first counts, whatever happened since.
    let outcome = match &record.payment().receipt {
        Some(receipt) => receipt.outcome(due),
        None => outcome,
    };
    let transaction = money_of(&outcome, due).map(|money| money.transaction_id);
    let Some(turn) = super::checkout::turn(outcome, due) else {
        let step = Step::PaymentConfirmed {
            transaction_id: transaction.unwrap_or_default(),
        };
        let record = record.apply(step, now).map_err(defect)?;
        session.write(ctx, &record);
        session.keep(ctx, basket.without(&record.lines));
        ctx.workflow_client::<OrderFulfillmentWorkflowClient>(record.order_id.as_str())
            .run(Json(record.clone()))
            .send();
        return Ok(record);
    };
    let mut money = record.payment_order();
    money.transaction_id = transaction;
    let provider_knows = record.payment().awakeable_id.is_some();
    let record = record
        .apply(turn, now)
        .and_then(|record| record.apply(Step::Undone(Done::Reserved), now))
        .and_then(|record| record.apply(Step::Ended, now))
        .map_err(defect)?;
    session.write(ctx, &record);
    super::checkout::release(ctx, &record.attempt(), &record.lines);
    if provider_knows {
        ctx.service_client::<PaymentServiceClient>()
            .close(Json(money))
            .send();
    }
    super::checkout::forget_later(session, ctx, record.order_id.clone());
    Ok(record)
}

/// Money that somebody moved.
struct Money {
    transaction_id: String,
    amount_cents: Cents,
}

fn money_of(outcome: &PaymentOutcome, due: Cents) -> Option<Money> {
    match outcome {
        PaymentOutcome::Paid { transaction_id } => Some(Money {
            transaction_id: transaction_id.clone(),
            amount_cents: due,
        }),
        PaymentOutcome::Mismatched {
            transaction_id,
            paid_cents,
        } => Some(Money {
            transaction_id: transaction_id.clone(),
            amount_cents: *paid_cents,
        }),
        _ => None,
    }
}

/// Money that resolved the awakeable directly while another receipt, which
/// wins, was written down already.
fn stray_money(payment: &PaymentAttempt, outcome: &PaymentOutcome) -> Option<Money> {
    let receipt = payment.receipt.as_ref()?;
    money_of(outcome, payment.amount_cents)
        .filter(|money| money.transaction_id != receipt.transaction_id)
}

/// Voids money that came too late, once per transaction, and notes it for the
/// customer. Answers whether it was news.
async fn send_back(
    session: &UserSession,
    ctx: &ObjectContext<'_>,
    order_id: &OrderId,
    attempt: &PaymentAttempt,
    money: Money,
    now: Timestamp,
) -> HandlerResult<bool> {
    let key = late_key(order_id);
    let mut late = match ctx.read::<LateMoney>(&key).await? {
        Some(late) => late,
        None => LateMoney {
            version: 0,
            order_id: order_id.clone(),
            user_id: order_id.owner(),
            payments: Vec::new(),
        },
    };
    let known = late
        .payments
        .iter()
        .any(|payment| payment.transaction_id == money.transaction_id);
    if known {
        return Ok(false);
    }
    late.version += 1;
    late.payments.push(LatePayment {
        at: now,
        attempt: attempt.attempt,
        transaction_id: money.transaction_id.clone(),
        amount_cents: money.amount_cents,
    });
    ctx.set(&key, Json(late.clone()));
    session.voice.say(&Update::Late(late));
    ctx.service_client::<PaymentServiceClient>()
        .void(Json(PaymentOrder {
            attempt: AttemptId {
                order_id: order_id.clone(),
                attempt: attempt.attempt,
            },
            awakeable_id: attempt.awakeable_id.clone().unwrap_or_default(),
            amount_cents: attempt.amount_cents,
            payment_id: attempt.payment_id.clone(),
            transaction_id: Some(money.transaction_id),
        }))
        .send();
    Ok(true)
}

fn session<'ctx>(ctx: &SharedObjectContext<'ctx>) -> UserSessionClient<'ctx> {
    ctx.object_client::<UserSessionClient>(ctx.key())
}
