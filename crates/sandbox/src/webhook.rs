//! Signed callbacks to the shop.
//!
//! A callback is written into the outbox in the same transaction as the
//! payment it tells of, and sent until the shop has taken it (2xx) or has
//! definitely refused it (4xx other than 408, 425 and 429). So it is sent at
//! least once, restarts included; the shop has to recognize repetitions.

mod queries;

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{StatusCode, header::CONTENT_TYPE};
use serde_json::json;
use sha2::Sha256;
use sqlx::SqliteConnection;
use tokio::{
    sync::Notify,
    task::{Id, JoinError, JoinSet},
};

use self::queries::Callback;
use crate::{World, database::now_ms, faults::PaymentFaults, payments::payment::Payment};

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "Webhook-Signature";

/// How long the shop may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause between two tries.
const LONGEST_PAUSE_S: i64 = 30;
/// How many chains of callbacks are under way at once.
const MAX_IN_FLIGHT: usize = 64;
/// How long the fault `reorder` holds callbacks back.
const REORDER_HOLD_MS: i64 = 500;
/// How long to wait before trying again when the ledger failed.
const LEDGER_PAUSE_MS: i64 = 1_000;
/// Why the customer's card was declined.
const DECLINED: &str = "insufficient funds";

/// The value of the `Webhook-Signature` header for a callback that is sent at
/// `t` (Unix seconds): `t=<t>,v1=<hex hmac-sha256(secret, "{t}.{body}")>`.
pub fn sign(secret: &str, t: i64, body: impl AsRef<[u8]>) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(t.to_string().as_bytes());
    mac.update(b".");
    mac.update(body.as_ref());
    format!("t={t},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// What a callback says.
pub(crate) enum News {
    Paid { transaction_id: String, amount: i64 },
    Declined { transaction_id: String },
}

/// Where callbacks go, and how.
pub(crate) struct Webhook {
    client: reqwest::Client,
    url: String,
    secret: Option<String>,
    wake: Notify,
}

/// What became of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(rename_all = "lowercase")]
enum Outcome {
    Waiting,
    Delivered,
    /// Refused for good.
    Dead,
}

/// Callbacks under way: which task has which of them. A task answers what it leaves.
#[derive(Default)]
struct InFlight {
    tasks: JoinSet<Left>,
    callbacks: HashMap<Id, Vec<i64>>,
    /// More is due than was begun.
    is_behind: bool,
}

/// What is left of a chain in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    /// Something to be sent again.
    Waiting,
}

impl Webhook {
    pub(crate) fn new(callback_url: &str, secret: Option<String>) -> anyhow::Result<Self> {
        let url = reqwest::Url::parse(callback_url)
            .with_context(|| format!("the payment callback URL {callback_url:?} is not a URL"))?;
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // The shop is the next process; a proxy of the environment is not
            // meant for it, and following a redirect would hide a wrong URL.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("waybill-sandbox")
            .build()?;
        Ok(Self {
            client,
            url: url.into(),
            secret,
            wake: Notify::new(),
        })
    }

    /// Has the outbox looked at now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    async fn send(&self, callback: &Callback) -> Outcome {
        let mut request = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json");
        if let Some(signature) = self.signature(callback) {
            request = request.header(SIGNATURE_HEADER, signature);
        }
        let outcome = match request.body(callback.body.clone()).send().await {
            Ok(response) => outcome(response.status()),
            Err(error) => {
                tracing::debug!(callback.id, "callback got no answer: {error}");
                Outcome::Waiting
            }
        };
        // A forger does not try again.
        if callback.forged && outcome == Outcome::Waiting {
            return Outcome::Dead;
        }
        outcome
    }

    fn signature(&self, callback: &Callback) -> Option<String> {
        let now = now_ms() / 1_000;
        if callback.forged {
            let guess = format!("{:016x}", rand::random::<u64>());
            return Some(sign(&guess, now, &callback.body));
        }
        let secret = self.secret.as_deref()?;
        Some(sign(secret, now, &callback.body))
    }
}

fn outcome(status: StatusCode) -> Outcome {
    if status.is_success() {
        return Outcome::Delivered;
    }
    let again_later = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    if status.is_client_error() && !again_later.contains(&status) {
        return Outcome::Dead;
    }
    Outcome::Waiting
}

/// Puts the callback, and what the faults make of it, into the outbox.
pub(crate) async fn enqueue(
    ledger: &mut SqliteConnection,
    payment: &Payment,
    news: &News,
    faults: &PaymentFaults,
    delay_ms: u32,
) -> sqlx::Result<()> {
    if faults.silent {
        return Ok(());
    }
    let real = news.body(payment);
    let forged = faults.forge.then(|| forged_body(payment));
    let copies = 1 + usize::from(faults.duplicate);
    let due = now_ms() + i64::from(delay_ms);

    // A forged callback goes out before the real one; where the order is
    // turned round it is therefore written down last.
    let reals = std::iter::repeat_n((real.as_str(), false), copies);
    let forgeds = forged.as_deref().map(|body| (body, true));
    let bodies: Vec<_> = if faults.reorder {
        reals.chain(forgeds).collect()
    } else {
        forgeds.into_iter().chain(reals).collect()
    };
    let (sequence, due) = if faults.reorder {
        let (sequence, due) = reorder_window(ledger, due).await?;
        (Some(sequence), due)
    } else {
        (forged.is_some().then(|| payment.payment_id.clone()), due)
    };
    for (body, forged) in bodies {
        let callback = queries::NewCallback {
            payment_id: &payment.payment_id,
            body,
            forged,
            due_ms: due,
            sequence: sequence.as_deref(),
            last_first: faults.reorder,
        };
        queries::insert(ledger, callback).await?;
    }
    Ok(())
}

/// Which callbacks are held together, and until when.
async fn reorder_window(ledger: &mut SqliteConnection, due: i64) -> sqlx::Result<(String, i64)> {
    if let Some(open) = queries::open_reorder_window(ledger, now_ms()).await? {
        return Ok(open);
    }
    let until = due + REORDER_HOLD_MS;
    Ok((format!("{}{until}", queries::REORDER), until))
}

/// Background task: sends what is due, and sleeps until something is.
pub(crate) async fn deliver_callbacks(world: Arc<World>) {
    let mut in_flight = InFlight::default();
    loop {
        let next_due = match send_due(&world, &mut in_flight).await {
            Ok(next_due) => next_due,
            Err(error) => {
                tracing::error!("sandbox: callbacks wait for the ledger: {error:#}");
                Some(now_ms() + LEDGER_PAUSE_MS)
            }
        };
        tokio::select! {
            () = world.webhook.wake.notified() => {}
            () = in_flight.leave_something() => {}
            () = until(next_due) => {}
        }
    }
}

/// Starts sending what is due and not under way; answers when the next
/// callback is due.
async fn send_due(world: &Arc<World>, in_flight: &mut InFlight) -> sqlx::Result<Option<i64>> {
    let under_way = in_flight.callbacks.values().flatten().copied();
    let under_way: std::collections::HashSet<i64> = under_way.collect();
    let enough = under_way.len() + 4 * MAX_IN_FLIGHT;
    let waiting = queries::waiting(world.database.readers(), enough).await?;
    in_flight.is_behind = waiting.len() >= enough;
    let now = now_ms();
    let next_due = waiting.iter().map(|it| it.due_ms).find(|due| *due > now);
    let due = waiting
        .into_iter()
        .filter(|callback| callback.due_ms <= now && !under_way.contains(&callback.id));

    for chain in chains(due) {
        if in_flight.tasks.len() >= MAX_IN_FLIGHT {
            in_flight.is_behind = true;
            break;
        }
        let ids = chain.iter().map(|callback| callback.id).collect();
        let task = in_flight.tasks.spawn(send_chain(Arc::clone(world), chain));
        in_flight.callbacks.insert(task.id(), ids);
    }
    Ok(next_due)
}

/// Callbacks of one sequence become one chain, any other stands alone.
fn chains(due: impl Iterator<Item = Callback>) -> Vec<Vec<Callback>> {
    let mut chains: Vec<Vec<Callback>> = Vec::new();
    let mut of_sequence: HashMap<String, usize> = HashMap::new();
    for callback in due {
        let Some(sequence) = callback.sequence.clone() else {
            chains.push(vec![callback]);
            continue;
        };
        let chain = *of_sequence.entry(sequence).or_insert(chains.len());
        match chains.get_mut(chain) {
            Some(chain) => chain.push(callback),
            None => chains.push(vec![callback]),
        }
    }
    chains
}

async fn send_chain(world: Arc<World>, chain: Vec<Callback>) -> Left {
    let mut left = Left::Nothing;
    for callback in chain {
        let outcome = world.webhook.send(&callback).await;
        if outcome == Outcome::Dead {
            tracing::warn!(
                callback.id,
                callback.forged,
                "callback was refused for good"
            );
        }
        let next_try = now_ms() + pause_ms(callback.attempts);
        let saved = save(&world, callback.id, outcome, next_try).await;
        if let Err(error) = &saved {
            // It stays waiting in the outbox, and is sent once more.
            tracing::error!(callback.id, "sandbox: {error}");
        }
        if saved.is_err() || outcome == Outcome::Waiting {
            left = Left::Waiting;
        }
    }
    left
}

async fn save(world: &World, id: i64, outcome: Outcome, next_try: i64) -> sqlx::Result<()> {
    let mut ledger = world.database.write_once().await?;
    queries::save(&mut ledger, id, outcome, next_try).await?;
    ledger.done();
    Ok(())
}

/// 1 s after the first try, doubling up to 30 s.
fn pause_ms(attempts_before: u32) -> i64 {
    let seconds = 1_i64 << attempts_before.min(6);
    seconds.min(LONGEST_PAUSE_S) * 1_000
}

/// Sleeps until a time in Unix milliseconds, or for ever.
pub(crate) async fn until(due_ms: Option<i64>) {
    let Some(due_ms) = due_ms else {
        return std::future::pending().await;
    };
    let left = u64::try_from(due_ms - now_ms()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left)).await;
}

fn forged_body(payment: &Payment) -> String {
    let wrong_amount = if payment.amount == 1 { 2 } else { 1 };
    let news = News::Paid {
        transaction_id: format!("txn_forged_{:08x}", rand::random::<u32>()),
        amount: wrong_amount,
    };
    news.body(payment)
}

impl News {
    fn body(&self, payment: &Payment) -> String {
        let (awakeable_id, order_id) = (&payment.awakeable_id, &payment.order_id);
        let body = match self {
            Self::Paid {
                transaction_id,
                amount,
            } => json!({
                "awakeable_id": awakeable_id,
                "order_id": order_id,
                "transaction_id": transaction_id,
                "amount": amount,
                "status": "success",
            }),
            Self::Declined { transaction_id } => json!({
                "awakeable_id": awakeable_id,
                "order_id": order_id,
                "transaction_id": transaction_id,
                "amount": 0,
                "status": "failed",
                "reason": DECLINED,
            }),
        };
        body.to_string()
    }
}

impl InFlight {
    /// Ends when there may be something to send that nobody is sending.
    async fn leave_something(&mut self) {
        loop {
            let left = match self.tasks.join_next_with_id().await {
                Some(ended) => self.forget(ended),
                None => std::future::pending().await,
            };
            if self.is_behind || left == Left::Waiting {
                return;
            }
        }
    }

    fn forget(&mut self, ended: Result<(Id, Left), JoinError>) -> Left {
        let (id, left) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!("sandbox: sending a callback failed: {error}");
                (error.id(), Left::Waiting)
            }
        };
        self.callbacks.remove(&id);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_documented_hmac() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            sign("secret", 1_700_000_000, r#"{"a":1}"#),
            "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
        );
    }

    #[test]
    fn pauses_double_up_to_thirty_seconds() {
        let pauses: Vec<i64> = (0..8).map(|attempt| pause_ms(attempt) / 1_000).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn only_a_definite_refusal_ends_the_tries() {
        let outcome_of = |status| outcome(StatusCode::from_u16(status).unwrap());
        for status in [200, 202, 204] {
            assert_eq!(outcome_of(status), Outcome::Delivered, "{status}");
        }
        for status in [400, 401, 404, 409, 422] {
            assert_eq!(outcome_of(status), Outcome::Dead, "{status}");
        }
        for status in [302, 408, 425, 429, 500, 503] {
            assert_eq!(outcome_of(status), Outcome::Waiting, "{status}");
        }
    }
}
