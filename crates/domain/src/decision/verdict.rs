//! What can be decided about an order.

use serde::{Deserialize, Serialize};

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// An admin lets it ship.
    Approved,
    /// An admin refuses it.
    Rejected,
    /// The customer, an admin or an operator takes it back.
    Cancelled,
    /// Nobody decided in time.
    Expired,
}

impl Verdict {
    /// The word that stands in a sentence, e.g. "already approved".
    pub fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}
