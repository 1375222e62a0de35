//! Parcels.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::basket::Line;
use crate::ids::AttemptId;
use crate::words;

/// A parcel that the carrier has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Shipment {
    /// Who carries it, e.g. `FedEx`.
    #[serde(deserialize_with = "words::kept::name")]
    pub carrier: String,
    /// The carrier's number for it.
    #[serde(deserialize_with = "words::kept::name")]
    pub tracking_number: String,
    /// When it should arrive; known once it is on its way.
    pub eta: Option<Timestamp>,
}

/// Input of `ShippingService.InitiateShipment` and `CancelShipment`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentRequest {
    /// The order, and the try it was paid with.
    pub attempt: AttemptId,
    /// Where to.
    #[serde(deserialize_with = "words::kept::address")]
    pub address: String,
    /// What.
    pub lines: Vec<Line>,
}

/// What `ShippingService.InitiateShipment` answers: never "perhaps".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Booking {
    /// The carrier has it.
    Booked {
        /// The parcel.
        shipment: Shipment,
        /// When the carrier said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
        /// How long it travels, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        travels_ms: Option<u64>,
    },
    /// The carrier does not have it and will not.
    Refused {
        /// The carrier's words.
        #[serde(deserialize_with = "words::kept::reason")]
        reason: String,
    },
}
