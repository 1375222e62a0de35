//! Where an order stands.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OrderStatus {
    /// Stock is reserved; the customer has not paid.
    AwaitingPayment,
    /// Paid; an admin decides.
    AwaitingApproval,
    /// Approved; the carrier and the provider are asked.
    Shipping,
    /// On its way to the customer.
    InTransit,
    /// With the customer. The good end.
    Delivered,
    /// The payment was declined, or could not be captured.
    PaymentFailed,
    /// Nobody paid in time.
    PaymentExpired,
    /// An admin refused it.
    Rejected,
    /// No admin decided in time.
    ApprovalExpired,
    /// The carrier refused it.
    ShippingFailed,
    /// The customer, an admin or an operator took it back.
    Cancelled,
}

impl OrderStatus {
    /// Every status, in the order of an order's life.
    pub const ALL: [Self; 11] = [
        Self::AwaitingPayment,
        Self::AwaitingApproval,
        Self::Shipping,
        Self::InTransit,
        Self::Delivered,
        Self::PaymentFailed,
        Self::PaymentExpired,
        Self::Rejected,
        Self::ApprovalExpired,
        Self::ShippingFailed,
        Self::Cancelled,
    ];

    /// The name on the wire, e.g. `awaiting_payment`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingPayment => "awaiting_payment",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Shipping => "shipping",
            Self::InTransit => "in_transit",
            Self::Delivered => "delivered",
            Self::PaymentFailed => "payment_failed",
            Self::PaymentExpired => "payment_expired",
            Self::Rejected => "rejected",
            Self::ApprovalExpired => "approval_expired",
            Self::ShippingFailed => "shipping_failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// In the customer's words, e.g. "On its way".
    pub fn label(self) -> &'static str {
        match self {
            Self::AwaitingPayment => "Awaiting payment",
            Self::AwaitingApproval => "Awaiting approval",
            Self::Shipping => "Shipping",
            Self::InTransit => "On its way",
            Self::Delivered => "Delivered",
            Self::PaymentFailed => "Payment failed",
            Self::PaymentExpired => "Payment expired",
            Self::Rejected => "Rejected",
            Self::ApprovalExpired => "Approval expired",
            Self::ShippingFailed => "Shipping failed",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Whether nothing more happens to the order.
    pub fn is_terminal(self) -> bool {
        !matches!(
            self,
            Self::AwaitingPayment | Self::AwaitingApproval | Self::Shipping | Self::InTransit
        )
    }

    /// Whether the same order may be paid again with a new attempt.
    pub fn may_retry_payment(self) -> bool {
        matches!(self, Self::PaymentFailed | Self::PaymentExpired)
    }
}

/// The name on the wire.
impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
