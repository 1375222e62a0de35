//! Checkout: the cart becomes an order that waits for its payment.

use serde::Serialize;
use services::client::{Body, Failure, keyed, outcome};
use sha2::{Digest, Sha256};
use waybill_domain::checkout::{Checkout, CheckoutAnswer, NamedTerms};
use waybill_domain::idempotency::Answered;
use waybill_domain::ids::{OrderId, Sku};
use waybill_domain::money::Cents;
use waybill_domain::order::{OrderRecord, OrderStatus};
use waybill_domain::placement::Shipping;
use waybill_domain::refusal::Refusal;
use waybill_domain::words::{MAX_NAME, quoted};

use super::orders::{apply, ask_restate, find, is_pending};
use super::payment_wait::{PaymentPages, with_payment_details};
use super::{stock, told_about, unpaid};
use crate::clock;
use crate::http::idempotency::IdempotencyKey;
use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::infra::Infra;
use crate::storage::catalog::{self, ProductName, Zone};
use crate::storage::orders as queries;

/// What a checkout asks for. What is left out is as it was, or as the user has it.
/// An `Idempotency-Key` stands for exactly this, in this form.
#[derive(Debug, Serialize)]
pub struct Wanted {
    /// The order's id, with its user's name before it or without. Can be left out
    /// with an `Idempotency-Key`.
    pub order_id: Option<String>,
    /// Where to: the name of a shipping zone.
    pub zone: Option<String>,
    /// Where to: the address.
    pub address: Option<String>,
    /// What the buyer believes that it costs.
    pub expected_total_cents: Option<Cents>,
}

/// What a checkout has come to.
#[derive(Debug)]
pub struct Placed {
    /// The order.
    pub record: OrderRecord,
    /// Whether it had been paid, or had ended, before this was asked.
    pub already_processed: bool,
}

impl Placed {
    fn before(record: OrderRecord) -> Self {
        Self {
            record,
            already_processed: true,
        }
    }
}

/// Places the order, or finds it placed before.
pub async fn checkout(
    infra: &Infra,
    pages: &PaymentPages,
    caller: &Caller,
    wanted: &Wanted,
    key: &IdempotencyKey,
) -> Result<Placed, Problem> {
    let order_id = order_id(caller, wanted, key)?;
    told_about(&order_id);
    let once = key.once(&caller.user, "checkout", wanted)?;
    let known = queries::record(&infra.db, &order_id).await?;
    // Never bought twice, also when Restate has forgotten it (ORDER_RETENTION). A
    // key may have been used for something else: the session knows that.
    let paid_before = known.as_ref().filter(|it| has_been_paid(it));
    if let (Some(known), None) = (paid_before, &once) {
        return Ok(Placed::before(known.clone()));
    }
    let known_as_paid = paid_before.is_some();
    let shipping = shipping(infra, caller, wanted, known.as_ref()).await?;
    let cart = infra.live.basket(&caller.user).await?;
    let skus: Vec<_> = cart.items.iter().map(|line| &line.sku).collect();
    stock::tell_of(infra, &skus).await?;
    let (being_placed, unpaid) = unpaid::room_for(infra, &caller.user, &order_id).await?;
    let prices = prices(infra, &skus).await?;
    let not_sold = if prices.len() == skus.len() {
        Vec::new()
    } else {
        catalog::not_sold(&infra.db, &skus).await?
    };
    let checkout = Checkout {
        order_id: order_id.clone(),
        shipping,
        prices,
        not_sold,
        expected_total_cents: wanted.expected_total_cents,
        named: NamedTerms {
            zone: wanted.zone.is_some(),
            address: wanted.address.is_some(),
        },
        known_as_paid,
        provider_is_away: pages.are_missing(),
        unpaid,
        at: Some(clock::now()),
    };
    let asked = infra
        .ingress
        .user_session(&caller.user)
        .checkout(Body::from(checkout));
    let Answered { value, again } = match outcome(keyed(asked, once).call().await) {
        Err(Failure::Refused(Refusal::StockUnknown { sku })) => {
            // Whoever comes again, as the answer says, finds it known.
            stock::tell_anew(infra, &sku).await?;
            return Err(Refusal::StockUnknown { sku }.into());
        }
        answered => answered?,
    };
    match value {
        CheckoutAnswer::Placed { record } => {
            // A request sent again is answered with what it has come to, also
            // when the attempt that it made has ended since.
            let ended = again && !is_pending(&record);
            apply(infra, record).await;
            drop(being_placed);
            let record = with_payment_details(infra, pages, &order_id).await?;
            Ok(Placed {
                record,
                already_processed: ended,
            })
        }
        CheckoutAnswer::AlreadyPaid { .. } => Ok(Placed::before(paid(infra, &order_id).await?)),
    }
}

/// The caller's id, or one made of their Idempotency-Key: the same each time.
fn order_id(caller: &Caller, wanted: &Wanted, key: &IdempotencyKey) -> Result<OrderId, Problem> {
    if let Some(raw) = &wanted.order_id {
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
    wanted: &Wanted,
    known: Option<&OrderRecord>,
) -> Result<Shipping, Problem> {
    let user = match (&wanted.zone, &wanted.address, known) {
        (Some(_), Some(_), _) | (_, _, Some(_)) => None,
        _ => infra.user(&caller.user).await?,
    };
    let (known_address, known_zone) = match (known, user) {
        (Some(order), _) => (Some(order.address.clone()), Some(order.zone.clone())),
        (None, Some(user)) => (user.address, user.default_zone),
        (None, None) => (None, None),
    };
    let address = wanted.address.clone().or(known_address).ok_or_else(|| {
        Problem::invalid(
            "shipping_address",
            "shipping_address is missing: say where to ship",
        )
    })?;
    let Some(name) = wanted.zone.clone().or(known_zone) else {
        return Err(no_such_zone(infra, "zone is missing").await?);
    };
    let zones = infra.zones().await?;
    let is_meant = |zone: &&Zone| zone.zone.eq_ignore_ascii_case(&name);
    if let Some(zone) = zones.iter().find(is_meant) {
        return Ok(zone.clone().to(address));
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
    let zones = infra.zones().await?;
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
    let mut products = Vec::new();
    for sku in skus {
        products.extend(infra.product(&ProductName::Sku((*sku).clone())).await?);
    }
    Ok(products)
}

/// The order as Restate has it, if the read model has not heard yet that it is
/// paid.
async fn paid(infra: &Infra, id: &OrderId) -> Result<OrderRecord, Problem> {
    let known = find(infra, id).await?;
    if known.status != OrderStatus::AwaitingPayment {
        return Ok(known);
    }
    ask_restate(infra, id).await;
    let known = find(infra, id).await?;
    if known.status == OrderStatus::AwaitingPayment {
        return Err(Problem::unavailable(
            "the order is paid, and how it stands is not known here yet: ask again in a moment",
        ));
    }
    Ok(known)
}

fn has_been_paid(record: &OrderRecord) -> bool {
    record.payment().transaction_id.is_some()
}
