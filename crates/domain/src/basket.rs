//! A user's cart.

use serde::{Deserialize, Serialize};

use crate::ids::{Sku, Username};
use crate::money::Cents;
use crate::refusal::Refusal;
use crate::words;

/// Most pieces of one product in a cart or order.
pub const MAX_QUANTITY: u32 = 999;
/// Most different products in a cart.
pub const MAX_LINES: usize = 50;

/// One product in a basket or order, at the price it had then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Line {
    /// Stock keeping unit.
    pub sku: Sku,
    /// The catalog's id.
    pub product_id: i64,
    /// The product's name.
    #[serde(deserialize_with = "words::kept::title")]
    pub name: String,
    /// Pieces, 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
    /// Price of one piece.
    pub unit_price_cents: Cents,
    /// Price of all pieces.
    pub line_total_cents: Cents,
}

impl Line {
    /// A line whose total is computed here and nowhere else.
    pub fn new(product: Product, quantity: u32) -> Result<Self, Refusal> {
        check_quantity(quantity)?;
        Ok(Self {
            line_total_cents: product.unit_price_cents.times(quantity),
            sku: product.sku,
            product_id: product.product_id,
            name: product.name,
            quantity,
            unit_price_cents: product.unit_price_cents,
        })
    }

    /// The same line with `quantity` pieces, at the same price; `None` for no pieces.
    pub fn part(&self, quantity: u32) -> Option<Self> {
        (quantity > 0).then(|| Self {
            quantity,
            line_total_cents: self.unit_price_cents.times(quantity),
            ..self.clone()
        })
    }

    fn with_quantity(&self, quantity: u32) -> Result<Self, Refusal> {
        Self::new(self.product(), quantity)
    }

    fn product(&self) -> Product {
        Product {
            sku: self.sku.clone(),
            product_id: self.product_id,
            name: self.name.clone(),
            unit_price_cents: self.unit_price_cents,
        }
    }
}

/// Some pieces of one product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Part {
    /// Of which product.
    pub sku: Sku,
    /// How many.
    pub quantity: u32,
}

/// What the cart needs to know of a product, as the catalog has it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Stock keeping unit.
    pub sku: Sku,
    /// The catalog's id.
    pub product_id: i64,
    /// The product's name.
    #[serde(deserialize_with = "words::kept::title")]
    pub name: String,
    /// Price of one piece.
    pub unit_price_cents: Cents,
}

fn check_quantity(quantity: u32) -> Result<(), Refusal> {
    if (1..=MAX_QUANTITY).contains(&quantity) {
        Ok(())
    } else {
        Err(Refusal::invalid(
            "quantity",
            format!("quantity must be 1 to {MAX_QUANTITY}"),
        ))
    }
}

/// A user's cart. `version` grows with every change, so that whoever hears of
/// two states of one basket knows which is newer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Basket {
    /// Grows by one with every change.
    pub version: u64,
    /// Whose basket.
    pub user_id: Username,
    /// What is in it, in the order it was put there.
    pub items: Vec<Line>,
    /// Sum of the lines.
    pub subtotal_cents: Cents,
}

impl Basket {
    /// An empty basket.
    pub fn empty(user_id: Username) -> Self {
        Self {
            version: 0,
            user_id,
            items: Vec::new(),
            subtotal_cents: Cents::ZERO,
        }
    }

    /// Adds pieces of a product; more of what is there already makes one line,
    /// at the product's price of today.
    pub fn add(mut self, product: Product, quantity: u32) -> Result<Self, Refusal> {
        check_quantity(quantity)?;
        match self.items.iter().position(|line| line.sku == product.sku) {
            Some(at) => self.items[at] = Line::new(product, self.items[at].quantity + quantity)?,
            None if self.items.len() == MAX_LINES => {
                return Err(Refusal::invalid(
                    "product_id",
                    format!("a cart holds at most {MAX_LINES} different products: check out first"),
                ));
            }
            None => self.items.push(Line::new(product, quantity)?),
        }
        Ok(self.changed())
    }

    /// Sets the quantity of a product that is in the basket.
    pub fn update(mut self, sku: &Sku, quantity: u32) -> Result<Self, Refusal> {
        let line = self
            .items
            .iter_mut()
            .find(|line| line.sku == *sku)
            .ok_or_else(|| Refusal::NotInCart { sku: sku.clone() })?;
        *line = line.with_quantity(quantity)?;
        Ok(self.changed())
    }

    /// Takes a product out. Taking out what is not there is no error: a second
    /// click finds it done.
    #[must_use]
    pub fn remove(mut self, sku: &Sku) -> Self {
        self.items.retain(|line| line.sku != *sku);
        self.changed()
    }

    /// Takes everything out.
    #[must_use]
    pub fn clear(mut self) -> Self {
        self.items.clear();
        self.changed()
    }

    /// Takes out what was bought. What was added since stays.
    #[must_use]
    pub fn without(mut self, bought: &[Line]) -> Self {
        self.items = self
            .items
            .iter()
            .filter_map(|line| {
                let taken: u32 = bought
                    .iter()
                    .filter(|other| other.sku == line.sku)
                    .map(|other| other.quantity)
                    .sum();
                line.with_quantity(line.quantity.saturating_sub(taken)).ok()
            })
            .collect();
        self.changed()
    }

    /// Total number of pieces.
    pub fn pieces(&self) -> u32 {
        self.items.iter().map(|line| line.quantity).sum()
    }

    fn changed(mut self) -> Self {
        self.version += 1;
        self.subtotal_cents = self.items.iter().map(|line| line.line_total_cents).sum();
        self
    }
}

/// Input of `UserSession.AddItem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddItem {
    /// The product as the catalog has it now.
    pub product: Product,
    /// Pieces to add.
    pub quantity: u32,
}

/// Input of `UserSession.UpdateItem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateItem {
    /// Which product.
    pub sku: Sku,
    /// Its new quantity.
    pub quantity: u32,
}

/// Input of `UserSession.RemoveItem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveItem {
    /// Which product.
    pub sku: Sku,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn product(sku: &str, price: i64) -> Product {
        Product {
            sku: Sku::parse(sku).unwrap(),
            product_id: 1,
            name: sku.to_owned(),
            unit_price_cents: Cents(price),
        }
    }

    fn basket() -> Basket {
        Basket::empty(Username::parse("alice").unwrap())
    }

    #[test]
    fn the_same_product_makes_one_line_at_todays_price() {
        let basket = basket()
            .add(product("A", 100), 2)
            .unwrap()
            .add(product("A", 150), 1)
            .unwrap();
        assert_eq!(basket.items.len(), 1);
        assert_eq!(basket.items[0].quantity, 3);
        assert_eq!(basket.subtotal_cents, Cents(450));
    }

    #[test]
    fn quantities_have_limits() {
        assert!(basket().add(product("A", 1), 0).is_err());
        assert!(basket().add(product("A", 1), MAX_QUANTITY + 1).is_err());
        let full = basket().add(product("A", 1), MAX_QUANTITY).unwrap();
        assert!(full.clone().add(product("A", 1), 1).is_err());
        assert!(full.clone().add(product("A", 1), u32::MAX).is_err());
        assert!(full.update(&Sku::parse("A").unwrap(), 0).is_err());
    }

    #[test]
    fn a_cart_has_a_number_of_lines() {
        let full = (0..MAX_LINES)
            .try_fold(basket(), |basket, n| {
                basket.add(product(&format!("P{n}"), 1), 1)
            })
            .unwrap();
        assert!(full.add(product("ONE-MORE", 1), 1).is_err());
    }

    #[test]
    fn updating_what_is_not_there_is_refused_and_removing_it_is_not() {
        let sku = Sku::parse("A").unwrap();
        assert_eq!(
            basket().update(&sku, 1),
            Err(Refusal::NotInCart { sku: sku.clone() })
        );
        assert!(basket().remove(&sku).items.is_empty());
    }

    #[test]
    fn what_was_added_after_the_checkout_stays() {
        let at_checkout = basket().add(product("A", 100), 2).unwrap();
        let later = at_checkout
            .clone()
            .add(product("A", 100), 1)
            .unwrap()
            .add(product("B", 50), 1)
            .unwrap();
        let left = later.without(&at_checkout.items);
        assert_eq!(left.pieces(), 2);
        assert_eq!(left.subtotal_cents, Cents(150));
    }

    proptest! {
        #[test]
        fn the_subtotal_is_the_sum_of_the_lines_and_versions_grow(
            actions in prop::collection::vec((0..4u8, 0..5u8, 0..1200u32), 0..40)
        ) {
            let mut basket = basket();
            for (what, which, quantity) in actions {
                let sku = Sku::parse(&format!("P{which}")).unwrap();
                let before = basket.clone();
                let next = match what {
                    0 => before.clone().add(product(sku.as_str(), i64::from(which) * 99 + 1), quantity),
                    1 => before.clone().update(&sku, quantity),
                    2 => Ok(before.clone().remove(&sku)),
                    _ => Ok(before.clone().without(&before.items)),
                };
                if let Ok(next) = next {
                    prop_assert!(next.version > before.version);
                    basket = next;
                }
                prop_assert_eq!(basket.subtotal_cents, basket.items.iter().map(|l| l.unit_price_cents.times(l.quantity)).sum());
                prop_assert!(basket.items.iter().all(|l| (1..=MAX_QUANTITY).contains(&l.quantity)));
            }
        }
    }
}
