//! What is asked of a checkout and what it answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::Origin;
use crate::basket::{Line, Product};
use crate::ids::{AttemptId, OrderId, Sku};
use crate::money::Cents;
use crate::order::OrderRecord;
use crate::payment::{PaymentAttempt, PaymentOutcome, PaymentReceipt};
use crate::placement::{ProviderPage, Quote, Shipping};
use crate::refusal::{ChangedLine, GoneProduct, Refusal};
use crate::words;

pub use crate::words::MAX_ADDRESS;

/// Input of `UserSession.Checkout`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    /// The order's id, full.
    pub order_id: OrderId,
    /// Every product of the cart as the catalog has it now.
    pub prices: Vec<Product>,
    /// Products of the cart that are no longer sold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_sold: Vec<Sku>,
    /// Where to ship.
    pub shipping: Shipping,
    /// The total the customer agreed to, if it was shown one.
    pub expected_total_cents: Option<Cents>,
    /// What of `shipping` the caller has said, and not the shop for it.
    #[serde(default)]
    pub named: NamedTerms,
    /// Whether the gateway knows the order as paid: then it is never placed
    /// again, also when it has been forgotten here.
    #[serde(default)]
    pub known_as_paid: bool,
    /// Whether the gateway has seen the provider not answer: then the awakeable is
    /// noted before the provider has heard of it.
    #[serde(default)]
    pub provider_is_away: bool,
    /// The user's orders that the gateway knows as unpaid, when they are as many as one
    /// user may have: while all of them are, no other is placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpaid: Option<Unpaid>,
    /// When it happened: whoever asks says so, which costs no step of the journal.
    /// Left out, the services' clock is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// A user who has as many unpaid orders as one may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpaid {
    /// How many one may have: a setting of the gateway, which comes with the message, so
    /// that a replay decides alike.
    pub most: u32,
    /// These of them are to be looked at.
    pub orders: Vec<OrderId>,
}

/// Which terms a caller has named: what is left out of a repeated checkout
/// changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedTerms {
    /// The zone.
    pub zone: bool,
    /// The address.
    pub address: bool,
}

impl Checkout {
    /// Freezes a cart at the catalog's prices of now. Refused when the cart is
    /// empty, holds a product without a price, or costs something else than
    /// the customer agreed to.
    pub fn freeze(&self, cart: &[Line]) -> Result<Quote, Refusal> {
        if cart.is_empty() {
            return Err(Refusal::EmptyCart);
        }
        let gone = cart.iter().filter(|line| self.not_sold.contains(&line.sku));
        let gone = gone.map(|line| GoneProduct {
            sku: line.sku.clone(),
            name: line.name.clone(),
        });
        let products: Vec<_> = gone.collect();
        if !products.is_empty() {
            return Err(Refusal::NotSold { products });
        }
        let price_of = |sku: &Sku| {
            self.prices
                .iter()
                .find(|product| product.sku == *sku)
                .cloned()
                .ok_or(Refusal::CartChanged)
        };
        let lines = cart
            .iter()
            .map(|line| Line::new(price_of(&line.sku)?, line.quantity))
            .collect::<Result<Vec<_>, _>>()?;
        let quote = Quote {
            lines,
            shipping: self.shipping.clone(),
        };
        match self.expected_total_cents {
            Some(expected) if expected != quote.total() => Err(Refusal::PriceChanged {
                total_cents: quote.total(),
                lines: changed_lines(cart, &quote.lines),
            }),
            _ => Ok(quote),
        }
    }

    /// Whether what this asks for is what the order was placed with. An answer
    /// that the order waits for its payment must be true of what was asked.
    pub fn agrees_with(&self, order: &OrderRecord) -> Result<(), Refusal> {
        let same = |named: bool, asked: &str, placed: &str| !named || asked == placed;
        let Shipping { zone, address, .. } = &self.shipping;
        let agrees = same(self.named.zone, zone, &order.zone)
            && same(self.named.address, address, &order.address)
            && self
                .expected_total_cents
                .is_none_or(|expected| expected == order.total_cents);
        if agrees {
            return Ok(());
        }
        Err(Refusal::OtherTerms {
            order_id: order.order_id.clone(),
            zone: order.zone.clone(),
            shipping_address: order.address.clone(),
            total_cents: order.total_cents,
        })
    }
}

/// What costs something else now than when it was put into the cart.
fn changed_lines(cart: &[Line], now: &[Line]) -> Vec<ChangedLine> {
    let both = cart.iter().zip(now);
    let changed = both.filter(|(was, now)| was.unit_price_cents != now.unit_price_cents);
    let lines = changed.map(|(was, now)| ChangedLine {
        sku: was.sku.clone(),
        name: was.name.clone(),
        was_cents: was.unit_price_cents,
        now_cents: now.unit_price_cents,
    });
    lines.collect()
}

/// `UserSession` state `checkout:exec:{order_id}`: what the user's session
/// remembers of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Marker {
    /// Not paid, ended before it was, or taken back: the whole record.
    Here(Box<OrderRecord>),
    /// Paid and with the workflow, which has the record now.
    HandedOver(HandedOver),
}

/// What is left of a marker once the order is paid and its workflow has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// When the session wrote the order last: it was paid then, or taken back
    /// from a run that was killed.
    pub paid_at: Timestamp,
    /// Every try to pay: money that still comes for one of them goes back.
    pub attempts: Vec<PaymentAttempt>,
}

impl HandedOver {
    /// With the awakeable of a try that has ended before anybody knew it; `None` when
    /// it is known.
    pub(crate) fn with_late_awakeable(
        mut self,
        attempt: u32,
        awakeable_id: String,
    ) -> Option<Self> {
        let mut attempts = self.attempts.iter_mut();
        let late = attempts.find(|it| it.attempt == attempt && it.awakeable_id.is_none())?;
        late.awakeable_id = Some(awakeable_id);
        Some(self)
    }
}

impl From<&OrderRecord> for HandedOver {
    fn from(record: &OrderRecord) -> Self {
        Self {
            paid_at: record.updated_at,
            attempts: record.payments.clone(),
        }
    }
}

/// What `UserSession.Checkout` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "answered once, then taken apart")]
pub enum CheckoutAnswer {
    /// Placed now, or waiting for the same payment as before.
    Placed {
        /// The order.
        record: OrderRecord,
    },
    /// Paid before; the workflow knows where it stands.
    AlreadyPaid {
        /// Which order.
        order_id: OrderId,
    },
}

/// Input of `UserSession.AwaitPayment`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitPayment {
    /// Which try.
    pub attempt: AttemptId,
    /// What is to be paid.
    pub amount_cents: Cents,
    /// Until when.
    pub pay_until: Timestamp,
    /// As in [`Checkout`].
    #[serde(default)]
    pub provider_is_away: bool,
}

/// Input of `UserSession.PaymentOpened`: what became known of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentOpened {
    /// Which try.
    pub attempt: AttemptId,
    /// The awakeable that its payment resolves.
    #[serde(deserialize_with = "words::kept::id")]
    pub awakeable_id: String,
    /// The provider's id and page, once it has answered.
    pub provider: Option<ProviderPage>,
    /// When it happened: whoever asks says so, which costs no step of the journal.
    /// Left out, the services' clock is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Input of `UserSession.Settle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// Which try.
    pub attempt: AttemptId,
    /// How it ended.
    pub outcome: PaymentOutcome,
    /// Its awakeable: whoever still waits for it is told. Services that are older
    /// than this field do not say it.
    #[serde(default, deserialize_with = "words::kept::an_id")]
    pub awakeable_id: Option<String>,
    /// When it happened: whoever asks says so, which costs no step of the journal.
    /// Left out, the services' clock is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// What `UserSession.PaymentCallback` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "answered once, then taken apart")]
pub enum CallbackAnswer {
    /// Written down; the payment goes on.
    Accepted {
        /// The order with the receipt in it.
        record: OrderRecord,
    },
    /// Known already.
    Repeated,
    /// For an attempt that has ended otherwise; the money goes back.
    Late,
}

/// Input of `UserSession.PaymentCallback`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentCallback {
    /// Which order the gateway knows the awakeable to belong to.
    pub order_id: OrderId,
    /// The provider's words.
    pub receipt: PaymentReceipt,
    /// When it happened: whoever asks says so, which costs no step of the journal.
    /// Left out, the services' clock is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Input of `UserSession.CancelOrder`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelOrder {
    /// Which order.
    pub order_id: OrderId,
    /// By whom.
    #[serde(deserialize_with = "words::kept::name")]
    pub by: String,
    /// Why, in their words.
    #[serde(default, deserialize_with = "words::kept::a_reason")]
    pub reason: Option<String>,
    /// When it happened: whoever asks says so, which costs no step of the journal.
    /// Left out, the services' clock is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// From where.
    #[serde(default, skip_serializing_if = "Origin::is_unknown")]
    pub from: Origin,
}

/// Input of `UserSession.TakeBack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeBack {
    /// The order as its workflow has left it.
    pub record: OrderRecord,
    /// By whom.
    #[serde(deserialize_with = "words::kept::name")]
    pub by: String,
    /// Why, in their words.
    #[serde(default, deserialize_with = "words::kept::a_reason")]
    pub reason: Option<String>,
}

/// What `UserSession.CancelOrder` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "answered once, then taken apart")]
pub enum CancelAnswer {
    /// It ended here, before it was paid.
    Cancelled {
        /// The order as it ended.
        record: OrderRecord,
    },
    /// It is paid: the workflow decides.
    HandedOver,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::basket::Basket;
    use crate::ids::Username;
    use crate::placement::Hold;

    fn product(price: i64) -> Product {
        Product {
            sku: Sku::parse("P001").unwrap(),
            product_id: 1,
            name: "Widget".into(),
            unit_price_cents: Cents(price),
        }
    }

    fn checkout(prices: Vec<Product>, expected: Option<i64>) -> Checkout {
        Checkout {
            order_id: OrderId::parse("alice.1").unwrap(),
            prices,
            not_sold: vec![],
            shipping: Shipping {
                zone: "Domestic".into(),
                cost_cents: Cents(500),
                address: "1 Main St".into(),
            },
            expected_total_cents: expected.map(Cents),
            named: NamedTerms::default(),
            known_as_paid: false,
            provider_is_away: false,
            unpaid: None,
            at: None,
        }
    }

    fn cart() -> Vec<Line> {
        Basket::empty(Username::parse("alice").unwrap())
            .add(product(1000), 2)
            .unwrap()
            .items
    }

    #[test]
    fn todays_price_counts() {
        let placement = checkout(vec![product(1200)], None).freeze(&cart()).unwrap();
        assert_eq!(placement.total(), Cents(2900));
    }

    #[test]
    fn a_total_that_the_customer_did_not_see_is_refused() {
        let refusal = checkout(vec![product(1200)], Some(2500)).freeze(&cart());
        assert_eq!(
            refusal,
            Err(Refusal::PriceChanged {
                total_cents: Cents(2900),
                lines: vec![ChangedLine {
                    sku: Sku::parse("P001").unwrap(),
                    name: "Widget".into(),
                    was_cents: Cents(1000),
                    now_cents: Cents(1200),
                }],
            })
        );
        assert_eq!(
            refusal.unwrap_err().to_string(),
            "prices have changed: Widget is $12.00 now and was $10.00; the total is now $29.00, so check the cart and try again"
        );
    }

    #[test]
    fn what_is_no_longer_sold_is_named() {
        let mut asked = checkout(vec![], Some(2500));
        asked.not_sold = vec![Sku::parse("P001").unwrap(), Sku::parse("OTHER").unwrap()];
        let refusal = asked.freeze(&cart()).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "no longer sold: Widget (P001). Take it out of the cart and try again"
        );
    }

    #[test]
    fn a_pending_order_is_answered_only_to_who_asks_for_its_terms() {
        let first = checkout(vec![product(1000)], None);
        let placement = first.freeze(&cart()).unwrap().held(Hold {
            pay_until: Timestamp::UNIX_EPOCH,
            approve_within_ms: 0,
        });
        let order = OrderRecord::place(first.order_id.clone(), placement, Timestamp::UNIX_EPOCH);
        let asked = |zone: Option<&str>, address: Option<&str>, expected: Option<i64>| {
            let mut asked = checkout(vec![product(1000)], expected);
            // Left out, the shop fills in what it likes.
            asked.shipping.zone = zone.unwrap_or("Local").to_owned();
            asked.shipping.address = address.unwrap_or("elsewhere").to_owned();
            asked.named = NamedTerms {
                zone: zone.is_some(),
                address: address.is_some(),
            };
            asked.agrees_with(&order)
        };
        for (zone, address, expected) in [
            (None, None, None),
            (Some("Domestic"), None, None),
            (None, Some("1 Main St"), None),
            (None, None, Some(2500)),
            (Some("Domestic"), Some("1 Main St"), Some(2500)),
        ] {
            assert_eq!(asked(zone, address, expected), Ok(()));
        }
        for (zone, address, expected) in [
            (Some("Local"), None, None),
            (None, Some("2 Main St"), None),
            (None, None, Some(2499)),
            (Some("Domestic"), Some("1 Main St"), Some(2501)),
        ] {
            let refused = asked(zone, address, expected).unwrap_err();
            let stands = Refusal::OtherTerms {
                order_id: order.order_id.clone(),
                zone: "Domestic".into(),
                shipping_address: "1 Main St".into(),
                total_cents: Cents(2500),
            };
            assert_eq!(refused, stands);
        }
    }

    #[test]
    fn empty_carts_and_unpriced_products_are_refused() {
        assert_eq!(checkout(vec![], None).freeze(&[]), Err(Refusal::EmptyCart));
        assert_eq!(
            checkout(vec![], None).freeze(&cart()),
            Err(Refusal::CartChanged)
        );
    }
}
