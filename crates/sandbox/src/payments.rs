//! The payment provider's API: open a payment, then capture, void or refund
//! the money that came in for it.

pub(crate) mod payment;
mod queries;
mod rules;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::SqliteConnection;

use self::rules::{Effect, Operation};
pub(crate) use self::{
    payment::{Payment, Requests, Status, Transaction},
    queries::{all, load, order_of, unopened},
    rules::{Action, payable},
};
use crate::{
    World,
    answer::{Answer, Body, IdempotencyKey, Reply, once_arrived},
    database::now_ms,
    faults::{Auto, PaymentFaults},
    webhook,
};

/// How long to wait before trying again when the ledger failed.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// A payment that was asked for but, because of a fault, never opened.
#[derive(Serialize, sqlx::FromRow)]
pub(crate) struct Unopened {
    order_id: String,
    awakeable_id: String,
    requests: u32,
}

/// The body of POST /payments.
#[derive(Deserialize, Serialize)]
struct Opening {
    order_id: String,
    awakeable_id: String,
    amount: i64,
}

/// The body of an operation on a payment.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    transaction_id: Option<String>,
    #[serde(default)]
    amount: Option<i64>,
}

pub(crate) fn router() -> Router<Arc<World>> {
    let operation = |operation: Operation| {
        post(
            async move |State(world): State<Arc<World>>,
                        Path(payment_id): Path<String>,
                        IdempotencyKey(key): IdempotencyKey,
                        Body(asked): Body<Asked>| {
                let lag_ms = lag_of(&world, &payment_id).await?;
                let work =
                    async move { operate(&world, operation, &payment_id, &key, asked).await };
                once_arrived(lag_ms, work).await
            },
        )
    };
    Router::new()
        .route("/payments", post(open))
        .route("/payments/{payment_id}", get(show))
        .route(
            "/payments/{payment_id}/capture",
            operation(Operation::Capture),
        )
        .route("/payments/{payment_id}/void", operation(Operation::Void))
        .route(
            "/payments/{payment_id}/refund",
            operation(Operation::Refund),
        )
}

async fn open(
    State(world): State<Arc<World>>,
    IdempotencyKey(key): IdempotencyKey,
    Body(opening): Body<Opening>,
) -> Reply {
    opening.check()?;
    let lag_ms = world.faults.payments(&opening.order_id).lag_ms;
    once_arrived(lag_ms, create(world, key, opening)).await
}

async fn create(world: Arc<World>, key: String, opening: Opening) -> Reply {
    let faults = world.faults.payments(&opening.order_id);
    let fingerprint = serde_json::to_string(&opening)?;

    let outage = faults.down.answer();
    let new_id = outage.is_none().then(|| new_id("pay"));

    let mut ledger = world.database.write().await?;
    let known =
        queries::count_opening(&mut ledger, &key, &fingerprint, &opening, new_id.as_deref())
            .await?;
    let effect = new_id.is_some() && known.payment_id == new_id;
    let answer = if let Some(outage) = outage {
        outage
    } else if known.fingerprint != fingerprint {
        Answer::refused(
            422,
            "this Idempotency-Key was used for another payment: take a new one",
        )
    } else {
        let payment_id = known.payment_id.unwrap_or_default();
        if effect {
            let mut payment = opening.into_payment(payment_id);
            queries::insert(&mut ledger, &payment).await?;
            let answer = opened(201, &world, &payment);
            play_customer(&mut ledger, &mut payment, &faults).await?;
            answer
        } else {
            let payment = queries::load(&mut ledger, &payment_id)
                .await?
                .ok_or_else(|| anyhow::anyhow!("payment {payment_id} is not in the ledger"))?;
            opened(200, &world, &payment)
        }
    };
    ledger.commit().await?;
    if effect && faults.auto != Auto::Off {
        // See `play_customer`: the customer has acted, or will.
        if faults.delay_ms == 0 {
            world.webhook.wake();
        } else {
            world.auto_scheduled.notify_one();
        }
    }
    Ok(answer
        .leave(faults.answer_delay_ms, faults.drop_response, effect)
        .await)
}

async fn show(State(world): State<Arc<World>>, Path(payment_id): Path<String>) -> Reply {
    let mut ledger = world.database.readers().acquire().await?;
    let payment = queries::load(&mut ledger, &payment_id).await?;
    drop(ledger);
    let faults = match &payment {
        Some(payment) => world.faults.payments(&payment.order_id),
        None => world.faults.all_payments(),
    };
    if let Some(outage) = faults.down.answer() {
        return Ok(outage);
    }
    let payment = payment.ok_or_else(|| unknown(&payment_id))?;
    let body = json!({
        "payment_id": payment.payment_id,
        "order_id": payment.order_id,
        "awakeable_id": payment.awakeable_id,
        "amount": payment.amount,
        "status": payment.status(),
        "transaction_id": payment.transaction_id(),
        "transactions": payment.transactions,
        "pay_url": pay_url(&world, &payment.payment_id),
    });
    Ok(Answer::json(200, body)
        .leave(faults.answer_delay_ms, false, false)
        .await)
}

/// How late requests about a payment arrive.
async fn lag_of(world: &World, payment_id: &str) -> Result<u32, Answer> {
    if world.faults.are_the_same_for_all() {
        return Ok(world.faults.all_payments().lag_ms);
    }
    let order_id = queries::order_of(world.database.readers(), payment_id).await?;
    let faults = match order_id {
        Some(order_id) => world.faults.payments(&order_id),
        None => world.faults.all_payments(),
    };
    Ok(faults.lag_ms)
}

async fn operate(
    world: &World,
    operation: Operation,
    payment_id: &str,
    key: &str,
    asked: Asked,
) -> Reply {
    let mut ledger = world.database.write().await?;
    let counted = queries::count_request(&mut ledger, operation, payment_id).await?;
    let Some(order_id) = counted else {
        let outage = world.faults.all_payments().down.answer();
        return Err(outage.unwrap_or_else(|| unknown(payment_id)));
    };
    let faults = world.faults.payments(&order_id);
    let (answer, effect) = match faults.down.answer() {
        Some(outage) => (outage, false),
        None => {
            operate_once(
                &mut ledger,
                operation,
                payment_id,
                key,
                &asked,
                faults.strict,
            )
            .await?
        }
    };
    ledger.commit().await?;
    Ok(answer
        .leave(faults.answer_delay_ms, faults.drop_response, effect)
        .await)
}

/// Performs an operation, or repeats what was answered to its key before.
/// Answers also whether anything has happened.
async fn operate_once(
    ledger: &mut SqliteConnection,
    operation: Operation,
    payment_id: &str,
    key: &str,
    asked: &Asked,
    strict: bool,
) -> Result<(Answer, bool), Answer> {
    let transaction_id = asked.transaction_id.as_deref().filter(|id| !id.is_empty());
    let fingerprint = format!(
        "{} {payment_id} {transaction_id:?} {:?}",
        operation.word(),
        asked.amount
    );
    if let Some(known) = queries::answered(ledger, key).await? {
        let answer = if known.fingerprint == fingerprint {
            Answer::json(known.http_status, serde_json::from_str(&known.answer)?)
        } else {
            Answer::refused(
                422,
                "this Idempotency-Key was used for another operation: take a new one",
            )
        };
        return Ok((answer, false));
    }
    let mut payment = queries::load(ledger, payment_id)
        .await?
        .ok_or_else(|| unknown(payment_id))?;
    let (status, body, effect) =
        match rules::operation(&payment, operation, transaction_id, asked.amount, strict) {
            Ok(effects) => {
                let effect = !effects.is_empty();
                for effect in effects {
                    apply(ledger, &mut payment, effect).await?;
                }
                let body = json!({
                    "payment_id": payment_id,
                    "status": payment.status_of(transaction_id),
                    "transaction_id": transaction_id.or(payment.transaction_id()),
                });
                (200, body, effect)
            }
            Err(refusal) => {
                let body = json!({
                    "error": refusal.error,
                    "status": payment.status_of(transaction_id),
                });
                (refusal.http_status, body, false)
            }
        };
    queries::remember_answer(ledger, key, &fingerprint, status, &body.to_string()).await?;
    Ok((Answer::json(status, body), effect))
}

/// The customer pays or declines. Does nothing when that is no longer
/// possible, or has been done; answers the payment as it is afterwards.
pub(crate) async fn customer_acts(
    world: &World,
    payment_id: &str,
    action: Action,
    transaction_id: Option<&str>,
) -> Result<Option<Payment>, Answer> {
    let mut ledger = world.database.write().await?;
    let Some(mut payment) = queries::load(&mut ledger, payment_id).await? else {
        return Ok(None);
    };
    let faults = world.faults.payments(&payment.order_id);
    act(
        &mut ledger,
        &mut payment,
        action,
        transaction_id,
        &faults,
        faults.delay_ms,
    )
    .await?;
    ledger.commit().await?;
    world.webhook.wake();
    Ok(Some(payment))
}

/// Background task: pays what the fault `auto` left to be paid later.
pub(crate) async fn pay_scheduled(world: Arc<World>) {
    loop {
        let next_due = match pay_due(&world).await {
            Ok(next_due) => next_due,
            Err(error) => {
                tracing::error!("sandbox: scheduled payments wait for the ledger: {error:#}");
                tokio::time::sleep(LEDGER_PAUSE).await;
                continue;
            }
        };
        tokio::select! {
            () = world.auto_scheduled.notified() => {}
            () = webhook::until(next_due) => {}
        }
    }
}

/// Pays all that is due; answers when the next one is.
async fn pay_due(world: &World) -> anyhow::Result<Option<i64>> {
    let due = queries::auto_due(world.database.readers(), now_ms()).await?;
    for (payment_id, action) in due {
        let mut ledger = world.database.write().await?;
        queries::unschedule(&mut ledger, &payment_id).await?;
        if let Some(mut payment) = queries::load(&mut ledger, &payment_id).await? {
            let faults = world.faults.payments(&payment.order_id);
            act(&mut ledger, &mut payment, action, None, &faults, 0).await?;
        }
        ledger.commit().await?;
        world.webhook.wake();
    }
    Ok(queries::next_auto_due(world.database.readers()).await?)
}

/// The fault `auto`: the customer acts at once, or is put into the calendar.
async fn play_customer(
    ledger: &mut SqliteConnection,
    payment: &mut Payment,
    faults: &PaymentFaults,
) -> sqlx::Result<()> {
    let action = match faults.auto {
        Auto::Off => return Ok(()),
        Auto::Pay => Action::Pay,
        Auto::Decline => Action::Decline,
    };
    if faults.delay_ms == 0 {
        return act(ledger, payment, action, None, faults, 0).await;
    }
    let due = now_ms() + i64::from(faults.delay_ms);
    queries::schedule(ledger, &payment.payment_id, action, due).await
}

async fn act(
    ledger: &mut SqliteConnection,
    payment: &mut Payment,
    action: Action,
    transaction_id: Option<&str>,
    faults: &PaymentFaults,
    callback_delay_ms: u32,
) -> sqlx::Result<()> {
    let transaction_id = transaction_id.map(str::to_owned);
    let Some(effect) = rules::customer(payment, action, transaction_id, || new_id("txn")) else {
        return Ok(());
    };
    let news = match &effect {
        Effect::Authorize {
            transaction_id,
            amount,
        } => webhook::News::Paid {
            transaction_id: transaction_id.clone(),
            amount: *amount,
        },
        Effect::Decline { transaction_id, .. } => webhook::News::Declined {
            transaction_id: transaction_id.clone(),
        },
        _ => return Ok(()),
    };
    apply(ledger, payment, effect).await?;
    webhook::enqueue(ledger, payment, &news, faults, callback_delay_ms).await
}

/// Writes one effect into the ledger, and into the payment at hand.
async fn apply(
    ledger: &mut SqliteConnection,
    payment: &mut Payment,
    effect: Effect,
) -> sqlx::Result<()> {
    let transaction_id = match effect {
        Effect::Close => {
            payment.closed = true;
            return queries::close(ledger, &payment.payment_id).await;
        }
        Effect::Authorize {
            transaction_id,
            amount,
        } => {
            payment.add(&transaction_id, amount, Status::Authorized);
            transaction_id
        }
        Effect::Decline {
            transaction_id,
            amount,
        } => {
            payment.add(&transaction_id, amount, Status::Declined);
            transaction_id
        }
        Effect::Capture {
            transaction_id,
            amount,
        } => {
            payment.change(&transaction_id, Status::Captured, Some(amount));
            transaction_id
        }
        Effect::Void { transaction_id } => {
            payment.change(&transaction_id, Status::Voided, None);
            transaction_id
        }
        Effect::Refund {
            transaction_id,
            amount,
        } => {
            payment.give_back(&transaction_id, amount);
            transaction_id
        }
    };
    queries::save_transaction(ledger, payment, &transaction_id).await
}

fn opened(status: u16, world: &World, payment: &Payment) -> Answer {
    let body = json!({
        "payment_id": payment.payment_id,
        "pay_url": pay_url(world, &payment.payment_id),
        "status": payment.status(),
    });
    Answer::json(status, body)
}

fn pay_url(world: &World, payment_id: &str) -> String {
    format!("{}/pay/{payment_id}", world.public_url)
}

pub(crate) fn unknown(payment_id: &str) -> Answer {
    Answer::refused(404, format!("there is no payment {payment_id:?}"))
}

fn new_id(kind: &str) -> String {
    format!("{kind}_{:016x}", rand::random::<u64>())
}

impl Opening {
    fn check(&self) -> Result<(), Answer> {
        let no = |error| Err(Answer::refused(422, error));
        if self.order_id.trim().is_empty() {
            return no("order_id must not be empty");
        }
        if self.awakeable_id.trim().is_empty() {
            return no("awakeable_id must not be empty");
        }
        if self.amount <= 0 {
            return no("amount must be a positive number of cents");
        }
        Ok(())
    }

    fn into_payment(self, payment_id: String) -> Payment {
        Payment {
            payment_id,
            order_id: self.order_id,
            awakeable_id: self.awakeable_id,
            amount: self.amount,
            closed: false,
            transactions: Vec::new(),
            requests: Requests::default(),
        }
    }
}

impl Payment {
    /// The state of the payment as a whole: held or taken money first.
    pub(crate) fn status(&self) -> Status {
        match self.telling() {
            Some(transaction) => transaction.status,
            None if self.closed => Status::Voided,
            None => Status::Pending,
        }
    }

    /// The transaction that decides the payment's state.
    pub(crate) fn transaction_id(&self) -> Option<&str> {
        self.telling()
            .map(|transaction| transaction.transaction_id.as_str())
    }

    /// Whether the customer has declined it.
    fn is_declined(&self) -> bool {
        let mut all = self.transactions.iter();
        all.any(|transaction| transaction.status == Status::Declined)
    }

    pub(crate) fn transaction(&self, transaction_id: &str) -> Option<&Transaction> {
        self.transactions
            .iter()
            .find(|transaction| transaction.transaction_id == transaction_id)
    }

    /// The state of one transaction, or of the whole payment.
    fn status_of(&self, transaction_id: Option<&str>) -> Status {
        transaction_id
            .and_then(|transaction_id| self.transaction(transaction_id))
            .map_or_else(|| self.status(), |transaction| transaction.status)
    }

    fn telling(&self) -> Option<&Transaction> {
        [
            Status::Captured,
            Status::Authorized,
            Status::Refunded,
            Status::Voided,
            Status::Declined,
        ]
        .into_iter()
        .find_map(|status| self.transactions.iter().find(|it| it.status == status))
    }

    fn add(&mut self, transaction_id: &str, amount: i64, status: Status) {
        self.transactions.push(Transaction {
            transaction_id: transaction_id.to_owned(),
            amount,
            captured_amount: None,
            refunded_amount: 0,
            status,
        });
    }

    /// It is refunded when the last part of it has gone back.
    fn give_back(&mut self, transaction_id: &str, amount: i64) {
        for transaction in &mut self.transactions {
            if transaction.transaction_id == transaction_id {
                transaction.refunded_amount += amount;
                if transaction.refundable() == 0 {
                    transaction.status = Status::Refunded;
                }
            }
        }
    }

    fn change(&mut self, transaction_id: &str, status: Status, captured_amount: Option<i64>) {
        for transaction in &mut self.transactions {
            if transaction.transaction_id == transaction_id {
                transaction.status = status;
                transaction.captured_amount = captured_amount.or(transaction.captured_amount);
            }
        }
    }
}
