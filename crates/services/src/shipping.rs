//! The carrier: books parcels and calls them back. Every answer is definite.

use std::time::Duration;

use reqwest::Method;
use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;
use waybill_domain::Timestamp;
use waybill_domain::shipment::{Booking, Shipment, ShipmentRequest};

use crate::outside::{ProviderClient, ProviderReply, Said, ask_in_any_case, ask_when};

/// See the module.
pub struct ShippingService {
    /// The carrier's API.
    pub carrier: ProviderClient,
    /// How long a parcel travels.
    pub delivery_time: Duration,
}

/// The carrier's answer to a booking.
#[derive(Debug, Serialize, Deserialize)]
struct Booked {
    tracking_number: String,
    carrier: String,
}

impl Booked {
    fn at(self, at: Option<Timestamp>, travels: Duration) -> Booking {
        Booking::Booked {
            shipment: Shipment {
                carrier: self.carrier,
                tracking_number: self.tracking_number,
                eta: None,
            },
            at,
            travels_ms: u64::try_from(travels.as_millis()).ok(),
        }
    }
}

/// The carrier's answer to a cancellation.
#[derive(Debug, Serialize, Deserialize)]
struct CalledBack {}

#[restate_sdk::service]
impl ShippingService {
    /// Books a parcel: *booked* or *refused*, never "perhaps". Cancelled while
    /// asking, it finds out, undoes, and answers refused.
    #[handler(
        name = "InitiateShipment",
        ingress_private = true,
        idempotency_retention = "1 day"
    )]
    async fn initiate_shipment(
        &self,
        ctx: Context<'_>,
        Json(request): Json<ShipmentRequest>,
    ) -> HandlerResult<Json<Booking>> {
        let asked: Result<Said<Booked>, _> =
            ask_when(&ctx, "carrier.book", || self.booking(&request), || {}).await;
        Ok(Json(match asked {
            Ok(Said {
                reply: ProviderReply::Yes(booked),
                at,
            }) => booked.at(at, self.delivery_time),
            Ok(Said {
                reply: ProviderReply::No(reason),
                ..
            }) => Booking::Refused { reason },
            Err(_cancelled) => {
                self.leave_nothing_behind(&ctx, &request).await;
                Booking::Refused {
                    reason: "cancelled while the carrier was asked".to_owned(),
                }
            }
        }))
    }

    /// Calls a parcel back; one that was never booked is fine.
    #[handler(name = "CancelShipment", ingress_private = true)]
    async fn cancel_shipment(
        &self,
        ctx: Context<'_>,
        Json(request): Json<ShipmentRequest>,
    ) -> HandlerResult<()> {
        self.call_back(&ctx, &request).await;
        Ok(())
    }
}

impl ShippingService {
    /// The same question with the same key tells whether the booking is there,
    /// or makes it; then it is cancelled. A late repeat of the first question
    /// finds the key used and books nothing.
    async fn leave_nothing_behind(&self, ctx: &Context<'_>, request: &ShipmentRequest) {
        let found: ProviderReply<Booked> =
            ask_in_any_case(ctx, "carrier.find_out", || self.booking(request)).await;
        if matches!(found, ProviderReply::Yes(_)) {
            self.call_back(ctx, request).await;
        }
    }

    async fn call_back(&self, ctx: &Context<'_>, request: &ShipmentRequest) {
        let _definite: ProviderReply<CalledBack> = ask_in_any_case(ctx, "carrier.cancel", || {
            self.carrier.request(
                Method::DELETE,
                &["shipments", request.attempt.order_id.as_str()],
                &request.attempt.idempotency_key("cancel-shipment"),
            )
        })
        .await;
    }

    fn booking(&self, request: &ShipmentRequest) -> reqwest::RequestBuilder {
        let lines: Vec<_> = request
            .lines
            .iter()
            .map(|line| json!({ "sku": line.sku, "quantity": line.quantity }))
            .collect();
        self.carrier
            .request(
                Method::POST,
                &["shipments"],
                &request.attempt.idempotency_key("ship"),
            )
            .json(&json!({
                "order_id": request.attempt.order_id,
                "address": request.address,
                "lines": lines,
            }))
    }
}
