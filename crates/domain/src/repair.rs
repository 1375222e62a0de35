//! What `gateway reconcile --repair` asks of the services.

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, Sku};
use crate::order::OrderRecord;
use crate::payment::PaymentOrder;
use crate::shipment::ShipmentRequest;

/// Input of `ReconcileService.Repair`. Each may be asked for again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "repair", content = "of", rename_all = "snake_case")]
pub enum RepairRequest {
    /// Run the workflow of an order that was taken back.
    Run(Box<OrderRecord>),
    /// Give a payment attempt's pieces back.
    Release(Pieces),
    /// Book a payment attempt's pieces as delivered.
    Commit(Pieces),
    /// Give up one transaction's money.
    Void(PaymentOrder),
    /// Give money back.
    Refund(PaymentOrder),
    /// Call a parcel back.
    CancelShipment(ShipmentRequest),
}

/// What is reserved of one product for one payment attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// Of which product.
    pub sku: Sku,
    /// For which attempt.
    pub attempt: AttemptId,
}
