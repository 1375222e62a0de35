//! What is bought and where it goes, frozen at checkout; and the provider's side
//! of paying for it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::basket::Line;
use crate::money::Cents;
use crate::words;

/// Where an order goes and what that costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipping {
    /// Name of the shipping zone.
    #[serde(deserialize_with = "words::kept::name")]
    pub zone: String,
    /// The zone's price.
    pub cost_cents: Cents,
    /// Street, town, country: as the customer wrote it.
    #[serde(deserialize_with = "words::kept::address")]
    pub address: String,
}

/// What a cart costs at the prices of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The lines at the catalog's prices.
    pub lines: Vec<Line>,
    /// Where to.
    pub shipping: Shipping,
}

/// How long stock is kept for an order, as its reservation says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Until when it must be paid.
    pub pay_until: Timestamp,
    /// Milliseconds from the payment until an approver must have decided.
    pub approve_within_ms: u64,
}

/// What is bought, frozen at checkout, with its stock reserved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The lines at the prices of the checkout.
    pub lines: Vec<Line>,
    /// Where to.
    pub shipping: Shipping,
    /// Until when it can be paid.
    pub pay_until: Timestamp,
    /// Milliseconds from the payment until an approver must have decided. `None`: the
    /// workflow says.
    pub approve_within_ms: Option<u64>,
}

impl Quote {
    /// What is to be paid: the lines and the shipping.
    pub fn total(&self) -> Cents {
        self.lines
            .iter()
            .map(|line| line.line_total_cents)
            .sum::<Cents>()
            + self.shipping.cost_cents
    }

    /// Placed, now that its stock is reserved.
    pub fn held(self, hold: Hold) -> Placement {
        Placement {
            lines: self.lines,
            shipping: self.shipping,
            pay_until: hold.pay_until,
            approve_within_ms: Some(hold.approve_within_ms),
        }
    }
}

impl Placement {
    /// Sum of the lines.
    pub fn subtotal(&self) -> Cents {
        self.lines.iter().map(|line| line.line_total_cents).sum()
    }

    /// What is to be paid: the lines and the shipping.
    pub fn total(&self) -> Cents {
        self.subtotal() + self.shipping.cost_cents
    }
}

/// The provider's side of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderPage {
    /// The provider's id.
    #[serde(deserialize_with = "words::kept::id")]
    pub payment_id: String,
    /// Its hosted payment page.
    #[serde(deserialize_with = "words::kept::url")]
    pub pay_url: String,
}
