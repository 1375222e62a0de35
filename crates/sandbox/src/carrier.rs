//! The carrier: books a parcel per idempotency key, and cancels by order.
//!
//! It does not deduplicate by order. Whoever books one order under two keys
//! ships two parcels, and the ledger says so.

mod queries;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    routing::{delete, post},
};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::SqliteConnection;

pub(crate) use self::queries::{all, forget_failed_tries};
use crate::{
    World,
    answer::{Answer, Body, IdempotencyKey, Reply, once_arrived},
    faults::CarrierFaults,
};

const CARRIER: &str = "FedEx";
/// How long a parcel takes.
const ETA_SECONDS: u32 = 5;
/// An order whose id contains this is never shipped.
const UNSHIPPABLE: &str = "FAIL_SHIP";

/// Everything about the shipping of one order.
#[derive(sqlx::FromRow)]
pub(crate) struct Shipment {
    pub(crate) order_id: String,
    /// Of the latest booking.
    pub(crate) tracking_number: Option<String>,
    #[sqlx(flatten)]
    pub(crate) requests: Requests,
    refusals: u32,
    /// Bookings that stand.
    booked: u32,
}

/// How often the carrier was asked.
#[derive(Serialize, sqlx::FromRow)]
pub(crate) struct Requests {
    book: u32,
    cancel: u32,
}

/// What an order's shipping has come to.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Booked,
    Cancelled,
    Refused,
    /// Asked about, but neither booked nor refused.
    None,
}

/// What the carrier remembers of an idempotency key.
#[derive(sqlx::FromRow)]
struct Booking {
    fingerprint: String,
    status: BookingStatus,
    tracking_number: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(rename_all = "lowercase")]
enum BookingStatus {
    /// Asked for, but a fault kept it from being booked.
    Seen,
    Booked,
    Cancelled,
}

/// The body of a booking.
#[derive(Deserialize, Serialize)]
struct Parcel {
    order_id: String,
    /// Whatever the shop calls an address.
    address: Value,
    lines: Vec<ParcelLine>,
}

#[derive(Deserialize, Serialize)]
struct ParcelLine {
    sku: String,
    quantity: u32,
}

/// An answer, and whether the world is different now.
struct CarrierReply {
    answer: Answer,
    effect: bool,
}

pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/carrier/shipments", post(book))
        .route("/carrier/shipments/{order_id}", delete(cancel))
}

async fn book(
    State(world): State<Arc<World>>,
    IdempotencyKey(key): IdempotencyKey,
    Body(parcel): Body<Parcel>,
) -> Reply {
    parcel.check()?;
    let lag_ms = world.faults.carrier(&parcel.order_id).lag_ms;
    once_arrived(lag_ms, booking(world, key, parcel)).await
}

async fn booking(world: Arc<World>, key: String, parcel: Parcel) -> Reply {
    let faults = world.faults.carrier(&parcel.order_id);
    let mut ledger = world.database.write().await?;
    let failed_tries = queries::count_booking_request(&mut ledger, &parcel.order_id).await?;
    let done = match faults.down.answer() {
        Some(outage) => CarrierReply::nothing(outage),
        None => book_once(&mut ledger, &key, &parcel, failed_tries, &faults).await?,
    };
    ledger.commit().await?;
    Ok(done.leave(&faults).await)
}

async fn cancel(State(world): State<Arc<World>>, Path(order_id): Path<String>) -> Reply {
    let lag_ms = world.faults.carrier(&order_id).lag_ms;
    once_arrived(lag_ms, cancellation(world, order_id)).await
}

async fn cancellation(world: Arc<World>, order_id: String) -> Reply {
    let faults = world.faults.carrier(&order_id);

    let mut ledger = world.database.write().await?;
    queries::count_cancel_request(&mut ledger, &order_id).await?;
    let done = match faults.down.answer() {
        Some(outage) => CarrierReply::nothing(outage),
        None => cancel_all(&mut ledger, &order_id).await?,
    };
    ledger.commit().await?;
    Ok(done.leave(&faults).await)
}

async fn book_once(
    ledger: &mut SqliteConnection,
    key: &str,
    parcel: &Parcel,
    failed_tries: u32,
    faults: &CarrierFaults,
) -> Result<CarrierReply, Answer> {
    if parcel.order_id.contains(UNSHIPPABLE) {
        queries::count_refusal(ledger, &parcel.order_id).await?;
        return Ok(CarrierReply::nothing(not_booked(
            503,
            "no courier takes this order, ever",
        )));
    }
    let fingerprint = serde_json::to_string(parcel)?;
    if let Some(known) = queries::booking(ledger, key).await? {
        if known.fingerprint != fingerprint {
            return Ok(CarrierReply::nothing(not_booked(
                422,
                "this Idempotency-Key was used for another parcel: take a new one",
            )));
        }
        match known.status {
            BookingStatus::Seen => {}
            BookingStatus::Booked => {
                return Ok(CarrierReply::nothing(booked(
                    200,
                    known.tracking_number.as_deref(),
                )));
            }
            BookingStatus::Cancelled => {
                return Ok(CarrierReply::nothing(not_booked(409, "cancelled")));
            }
        }
    }
    if failed_tries < faults.fail_times {
        queries::count_failed_try(ledger, &parcel.order_id).await?;
        queries::remember(ledger, key, parcel, &fingerprint, None).await?;
        return Ok(CarrierReply::nothing(Answer::bare(500)));
    }
    if faults.reject {
        queries::count_refusal(ledger, &parcel.order_id).await?;
        queries::remember(ledger, key, parcel, &fingerprint, None).await?;
        return Ok(CarrierReply::nothing(not_booked(422, "address not served")));
    }
    let tracking_number = new_tracking_number();
    queries::remember(ledger, key, parcel, &fingerprint, Some(&tracking_number)).await?;
    Ok(CarrierReply::effect(booked(201, Some(&tracking_number))))
}

/// Cancels what is booked for the order. Keys seen until now never book again:
/// a booking that was slow on its way must not overtake its cancellation.
async fn cancel_all(ledger: &mut SqliteConnection, order_id: &str) -> Result<CarrierReply, Answer> {
    let stands = queries::is_booked(ledger, order_id).await?;
    queries::cancel_keys(ledger, order_id).await?;
    if stands {
        return Ok(CarrierReply::effect(Answer::json(
            200,
            json!({ "status": "cancelled" }),
        )));
    }
    let status = if queries::was_booked(ledger, order_id).await? {
        "cancelled"
    } else {
        "none"
    };
    Ok(CarrierReply::nothing(Answer::json(
        200,
        json!({ "status": status }),
    )))
}

fn booked(status: u16, tracking_number: Option<&str>) -> Answer {
    let body = json!({
        "tracking_number": tracking_number,
        "carrier": CARRIER,
        "eta_seconds": ETA_SECONDS,
    });
    Answer::json(status, body)
}

fn not_booked(status: u16, error: &str) -> Answer {
    Answer::refused(status, error).with("booked", false)
}

/// Twelve digits, as on the carrier's labels.
fn new_tracking_number() -> String {
    let number = rand::rng().random_range(100_000_000_000_u64..1_000_000_000_000);
    number.to_string()
}

impl Parcel {
    fn check(&self) -> Result<(), Answer> {
        if self.order_id.trim().is_empty() {
            return Err(not_booked(422, "order_id must not be empty"));
        }
        if self.lines.is_empty() {
            return Err(not_booked(
                422,
                "lines must not be empty: there is nothing to ship",
            ));
        }
        Ok(())
    }
}

impl Shipment {
    pub(crate) fn status(&self) -> Status {
        if self.booked > 0 {
            Status::Booked
        } else if self.tracking_number.is_some() {
            Status::Cancelled
        } else if self.refusals > 0 {
            Status::Refused
        } else {
            Status::None
        }
    }
}

impl CarrierReply {
    fn nothing(answer: Answer) -> Self {
        Self {
            answer,
            effect: false,
        }
    }

    fn effect(answer: Answer) -> Self {
        Self {
            answer,
            effect: true,
        }
    }

    async fn leave(self, faults: &CarrierFaults) -> Answer {
        self.answer
            .leave(faults.delay_ms, faults.drop_response, self.effect)
            .await
    }
}
