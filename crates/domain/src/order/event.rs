//! What happened to an order.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words;

/// One thing that happened to an order, in the order it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderEvent {
    /// 1, 2, 3, … within the order.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// The words a person reads.
    #[serde(deserialize_with = "words::kept::detail")]
    pub detail: String,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum EventKind {
    /// Placed, stock reserved.
    OrderPlaced,
    /// Placed once more after a failed payment.
    PaymentRetried,
    /// Waiting for the customer's payment.
    PaymentRequested,
    /// The money is authorized.
    PaymentConfirmed,
    /// The payment was declined.
    PaymentFailed,
    /// Nobody paid in time.
    PaymentExpired,
    /// Waiting for an approver.
    ApprovalRequested,
    /// An admin agreed.
    Approved,
    /// An admin took pieces out before shipping.
    TakenOut,
    /// An admin refused.
    Rejected,
    /// No admin decided in time.
    ApprovalExpired,
    /// The carrier has the parcel.
    ShipmentInitiated,
    /// The carrier refused.
    ShippingFailed,
    /// The money is ours.
    PaymentCaptured,
    /// The provider would not give us the money.
    CaptureRefused,
    /// The parcel is on its way.
    InTransit,
    /// The parcel has arrived.
    Delivered,
    /// Somebody asks to send pieces back.
    ReturnAsked,
    /// An approver accepts that.
    ReturnAccepted,
    /// An approver refuses that.
    ReturnRefused,
    /// The pieces are back.
    ReturnReceived,
    /// The pieces never came.
    ReturnExpired,
    /// The customer keeps the pieces after all.
    ReturnWithdrawn,
    /// An admin gives money back without a return.
    RefundPromised,
    /// Money has gone back after the delivery.
    RefundMade,
    /// The provider would not give money back.
    RefundRefused,
    /// Taken back.
    Cancelled,
    /// Undone: the money went back.
    PaymentRefunded,
    /// Undone: the parcel was called back.
    ShipmentCancelled,
    /// Undone: the hold on the money was given up.
    PaymentVoided,
    /// Undone: the stock can be sold again.
    StockReleased,
}

impl EventKind {
    /// The name on the wire, e.g. `payment_confirmed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OrderPlaced => "order_placed",
            Self::PaymentRetried => "payment_retried",
            Self::PaymentRequested => "payment_requested",
            Self::PaymentConfirmed => "payment_confirmed",
            Self::PaymentFailed => "payment_failed",
            Self::PaymentExpired => "payment_expired",
            Self::ApprovalRequested => "approval_requested",
            Self::Approved => "approved",
            Self::TakenOut => "taken_out",
            Self::Rejected => "rejected",
            Self::ApprovalExpired => "approval_expired",
            Self::ShipmentInitiated => "shipment_initiated",
            Self::ShippingFailed => "shipping_failed",
            Self::PaymentCaptured => "payment_captured",
            Self::CaptureRefused => "capture_refused",
            Self::InTransit => "in_transit",
            Self::Delivered => "delivered",
            Self::ReturnAsked => "return_asked",
            Self::ReturnAccepted => "return_accepted",
            Self::ReturnRefused => "return_refused",
            Self::ReturnReceived => "return_received",
            Self::ReturnExpired => "return_expired",
            Self::ReturnWithdrawn => "return_withdrawn",
            Self::RefundPromised => "refund_promised",
            Self::RefundMade => "refund_made",
            Self::RefundRefused => "refund_refused",
            Self::Cancelled => "cancelled",
            Self::PaymentRefunded => "payment_refunded",
            Self::ShipmentCancelled => "shipment_cancelled",
            Self::PaymentVoided => "payment_voided",
            Self::StockReleased => "stock_released",
        }
    }

    /// Whether this event undid an earlier one.
    pub fn is_compensation(self) -> bool {
        matches!(
            self,
            Self::PaymentRefunded
                | Self::ShipmentCancelled
                | Self::PaymentVoided
                | Self::StockReleased
        )
    }
}
