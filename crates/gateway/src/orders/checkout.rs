//! `POST /api/checkout`: the cart becomes an order that waits for its payment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use services::client::{Body, Failure, keyed, outcome};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};
use waybill_domain::checkout::{Checkout, CheckoutAnswer, MAX_ADDRESS, NamedTerms};
use waybill_domain::idempotency::Answered;
use waybill_domain::ids::{OrderId, Sku};
use waybill_domain::money::Cents;
use waybill_domain::order::{OrderRecord, OrderStatus};
use waybill_domain::placement::Shipping;
use waybill_domain::refusal::Refusal;
use waybill_domain::words::{MAX_NAME, quoted};

use super::apply;
use crate::catalog::stock;
use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::identity::caller::Caller;
use crate::infra::{Infra, Shared};
use crate::storage::catalog::{self as catalog, Product};
use crate::storage::orders as queries;
use crate::storage::users;

/// How long the answer waits for the awakeable and the payment page.
const PAYMENT_DETAILS_WITHIN: Duration = Duration::from_secs(2);
/// After so many pages that did not come the provider is away: customers get
/// the awakeable, and the page when it is there.
const MISSED_IN_A_ROW: u32 = 3;
/// One checkout of so many waits for its page meanwhile, but not long.
const LOOK_AGAIN_EVERY: u32 = 8;
const LOOK_AGAIN_FOR: Duration = Duration::from_millis(250);
/// How often Restate is asked meanwhile, in case the update stream is down.
const ASK_EVERY: Duration = Duration::from_millis(400);
/// Largest total that anybody can agree to.
const MAX_TOTAL: i64 = 1_000_000_000_000;

/// What a checkout may say. All of it can be left out with an Idempotency-Key.
#[derive(Debug, Serialize)]
pub(super) struct Request {
    order_id: Option<String>,
    zone: Option<String>,
    address: Option<String>,
    expected_total_cents: Option<Cents>,
    #[serde(skip)]
    key: Option<IdempotencyKey>,
}

impl FromFields for Request {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            // An id with the user's name before it; its rules come with parsing.
            order_id: fields.word("order_id", 200)?,
            zone: fields.word("zone", 64)?,
            address: fields.text("shipping_address", MAX_ADDRESS)?,
            expected_total_cents: fields
                .integer("expected_total_cents", 0..=MAX_TOTAL)?
                .map(Cents),
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// What a checkout answers.
#[derive(Debug, Serialize)]
struct Answer {
    order_id: OrderId,
    status: OrderStatus,
    total_cents: Cents,
    payment: Payment,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    already_processed: bool,
}

#[derive(Debug, Serialize)]
struct Payment {
    awakeable_id: Option<String>,
    pay_url: Option<String>,
}

pub(super) async fn checkout(
    State(infra): State<Shared>,
    State(pages): State<Arc<PaymentPages>>,
    caller: Caller,
    key: IdempotencyKey,
    Input(request): Input<Request>,
) -> Result<Reply, Problem> {
    let key = key.or(request.key.clone());
    let order_id = order_id(&caller, &request, &key)?;
    let once = key.once(&caller.user, "checkout", &request)?;
    let known = queries::record(&infra.db, &order_id).await?;
    // Never bought twice, also when Restate has forgotten it (ORDER_RETENTION). A
    // key may have been used for something else: the session knows that.
    let paid_before = known.as_ref().filter(|it| has_been_paid(it));
    if let (Some(known), None) = (paid_before, &once) {
        return answer(known, true);
    }
    let known_as_paid = paid_before.is_some();
    let shipping = shipping(&infra, &caller, &request, known.as_ref()).await?;
    let cart = infra.live.basket(&caller.user).await?;
    let skus: Vec<_> = cart.items.iter().map(|line| &line.sku).collect();
    stock::tell_of(&infra, &skus).await?;
    let checkout = Checkout {
        order_id: order_id.clone(),
        shipping,
        prices: prices(&infra, &skus).await?,
        expected_total_cents: request.expected_total_cents,
        named: NamedTerms {
            zone: request.zone.is_some(),
            address: request.address.is_some(),
        },
        known_as_paid,
    };
    let asked = infra
        .ingress
        .user_session(&caller.user)
        .checkout(Body(checkout));
    let Answered { value, again } = match outcome(keyed(asked, once).call().await) {
        Err(Failure::Refused(Refusal::StockUnknown { sku })) => {
            // Whoever comes again, as the answer says, finds it known.
            stock::tell_anew(&infra, &sku).await?;
            return Err(Refusal::StockUnknown { sku }.into());
        }
        answered => answered?,
    };
    match value {
        CheckoutAnswer::Placed { record } => {
            // A request sent again is answered with what it has come to, also
            // when the attempt that it made has ended since.
            let ended = again && !is_pending(&record);
            apply(&infra, record).await?;
            answer(
                &with_payment_details(&infra, &pages, &order_id).await?,
                ended,
            )
        }
        CheckoutAnswer::AlreadyPaid { .. } => answer(&paid(&infra, &order_id).await?, true),
    }
}

/// The caller's id, or one made of their Idempotency-Key: the same each time.
fn order_id(caller: &Caller, request: &Request, key: &IdempotencyKey) -> Result<OrderId, Problem> {
    if let Some(raw) = &request.order_id {
        return Ok(OrderId::of(&caller.user, raw)?);
    }
    let key = key.given().ok_or_else(|| {
        Problem::invalid(
            "order_id",
            "order_id is missing: name the order, or send an Idempotency-Key, so that a repeated checkout is recognized",
        )
    })?;
    let digest = Sha256::digest(format!("{} {key}", caller.user));
    Ok(OrderId::of(
        &caller.user,
        &format!("ord-{}", hex::encode(&digest[..6])),
    )?)
}

/// What the request says, or else what the order was placed with before, or
/// else what is known of the user.
async fn shipping(
    infra: &Infra,
    caller: &Caller,
    request: &Request,
    known: Option<&OrderRecord>,
) -> Result<Shipping, Problem> {
    let user = match (&request.zone, &request.address, known) {
        (Some(_), Some(_), _) | (_, _, Some(_)) => None,
        _ => users::user(&infra.db, &caller.user).await?,
    };
    let (known_address, known_zone) = match (known, user) {
        (Some(order), _) => (Some(order.address.clone()), Some(order.zone.clone())),
        (None, Some(user)) => (user.address, user.default_zone),
        (None, None) => (None, None),
    };
    let address = request.address.clone().or(known_address).ok_or_else(|| {
        Problem::invalid(
            "shipping_address",
            "shipping_address is missing: say where to ship",
        )
    })?;
    let Some(name) = request.zone.clone().or(known_zone) else {
        return Err(no_such_zone(infra, "zone is missing").await?);
    };
    if let Some(zone) = catalog::zone(&infra.db, &name).await? {
        return Ok(zone.to(address));
    }
    // A zone that has left the catalog still is the pending order's.
    if let Some(order) = known
        && is_pending(order)
        && order.zone.eq_ignore_ascii_case(&name)
    {
        return Ok(Shipping {
            zone: order.zone.clone(),
            cost_cents: order.shipping_cents,
            address,
        });
    }
    let what = format!("there is no zone {}", quoted(&name, MAX_NAME));
    Err(no_such_zone(infra, &what).await?)
}

async fn no_such_zone(infra: &Infra, what: &str) -> Result<Problem, Problem> {
    let zones = catalog::zones(&infra.db).await?;
    let names: Vec<_> = zones.iter().map(|zone| zone.zone.as_str()).collect();
    Ok(Problem::invalid(
        "zone",
        format!("{what}: use one of {}", names.join(", ")),
    ))
}

/// Today's prices of what is in the cart. What the catalog no longer has is
/// left out, and the checkout then refuses.
async fn prices(
    infra: &Infra,
    skus: &[&Sku],
) -> Result<Vec<waybill_domain::basket::Product>, Problem> {
    let products = catalog::products_of_skus(&infra.db, skus).await?;
    Ok(products
        .iter()
        .map(Product::for_cart)
        .collect::<Result<_, _>>()?)
}

/// The order as Restate has it, if the read model has not heard yet that it is
/// paid.
async fn paid(infra: &Infra, id: &OrderId) -> Result<OrderRecord, Problem> {
    let known = super::find(infra, id).await?;
    if known.status != OrderStatus::AwaitingPayment {
        return Ok(known);
    }
    super::ask_restate(infra, id).await?;
    super::find(infra, id).await
}

/// Waits until the payment can be made, or it takes too long.
async fn with_payment_details(
    infra: &Infra,
    pages: &PaymentPages,
    id: &OrderId,
) -> Result<OrderRecord, Problem> {
    let mut news = infra.live.order(id);
    let patience = pages.patience();
    let asked_at = Instant::now();
    loop {
        news.mark_unchanged();
        let record = super::find(infra, id).await?;
        let give_up = asked_at + patience.of(&record);
        let now = Instant::now();
        if !is_pending(&record) || has_page(&record) || now >= give_up {
            // A refused payment says nothing of pages.
            if is_pending(&record) || has_page(&record) {
                pages.note(has_page(&record));
            }
            return Ok(record);
        }
        if timeout_at((now + ASK_EVERY).min(give_up), news.changed())
            .await
            .is_err()
        {
            super::ask_restate(infra, id).await?;
        }
    }
}

/// How long checkouts wait for the provider, by what it has done lately.
#[derive(Debug, Default)]
pub struct PaymentPages {
    missed_in_a_row: AtomicU32,
}

/// How long one checkout waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patience {
    for_page: Duration,
}

impl Patience {
    fn of(self, record: &OrderRecord) -> Duration {
        if record.payment().awakeable_id.is_some() {
            self.for_page
        } else {
            PAYMENT_DETAILS_WITHIN
        }
    }
}

impl PaymentPages {
    fn patience(&self) -> Patience {
        let missed = self.missed_in_a_row.load(Ordering::Relaxed);
        let for_page = if missed < MISSED_IN_A_ROW {
            PAYMENT_DETAILS_WITHIN
        } else if missed.is_multiple_of(LOOK_AGAIN_EVERY) {
            LOOK_AGAIN_FOR
        } else {
            Duration::ZERO
        };
        Patience { for_page }
    }

    fn note(&self, came_in_time: bool) {
        if came_in_time {
            self.missed_in_a_row.store(0, Ordering::Relaxed);
        } else {
            self.missed_in_a_row.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn has_page(record: &OrderRecord) -> bool {
    record.payment().pay_url.is_some()
}

fn is_pending(record: &OrderRecord) -> bool {
    record.status == OrderStatus::AwaitingPayment && record.undoing.is_none()
}

fn has_been_paid(record: &OrderRecord) -> bool {
    record.payment().transaction_id.is_some()
}

fn answer(record: &OrderRecord, already_processed: bool) -> Result<Reply, Problem> {
    let payment = record.payment();
    let answer = Answer {
        order_id: record.order_id.clone(),
        status: record.status,
        total_cents: record.total_cents,
        payment: Payment {
            awakeable_id: payment.awakeable_id.clone(),
            pay_url: payment.pay_url.clone(),
        },
        already_processed,
    };
    let (status, text) = if already_processed {
        (StatusCode::OK, "Already processed")
    } else if is_pending(record) {
        (StatusCode::ACCEPTED, "Awaiting payment…")
    } else {
        (StatusCode::ACCEPTED, "Order placed")
    };
    Ok(Reply::new(status, &answer)?
        .saying(text)
        .going_to(format!("/orders/{}", record.order_id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_provider_that_is_away() {
        let pages = PaymentPages::default();
        let waits = || pages.patience().for_page;
        for _ in 0..MISSED_IN_A_ROW {
            assert_eq!(waits(), PAYMENT_DETAILS_WITHIN);
            pages.note(false);
        }
        let mut looked_again = 0;
        for _ in 0..4 * LOOK_AGAIN_EVERY {
            assert!(waits() <= LOOK_AGAIN_FOR);
            looked_again += u32::from(!waits().is_zero());
            pages.note(false);
        }
        assert_eq!(looked_again, 4);
        pages.note(true);
        assert_eq!(waits(), PAYMENT_DETAILS_WITHIN);
    }
}
