//! What is sold, and where it can be shipped: products and zones, who has changed them,
//! and the imports that change many at once.

mod change;
mod import;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use change::{ChangeProduct, ChangeZone, Known, ProductChange, ZoneChange};
pub use import::{
    ContinueImport, Import, ImportDone, ImportRow, MAX_IMPORT_ROWS, Outcome, ROWS_IN_A_CHUNK,
    StageRows, StartImport,
};

use crate::ids::Sku;
use crate::money::Cents;
use crate::refusal::Refusal;
use crate::words;

/// Highest price of a piece, and of a shipment: a million dollars.
pub const MAX_PRICE: Cents = Cents(100_000_000);
/// Most pieces with which a product begins.
pub const MAX_INITIAL_STOCK: u32 = 1_000_000;
/// Prices that are remembered of a product.
pub const MOST_PRICES: usize = 50;
/// Longest name of a category, in characters.
pub const MAX_CATEGORY: usize = 60;
/// Longest name of a zone, in characters.
pub const MAX_ZONE: usize = 60;
/// Where a product is found that names no category.
pub const NO_CATEGORY: &str = "Other";

/// What can be said of a product, but its SKU and its stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductFields {
    /// What it is called.
    #[serde(deserialize_with = "words::kept::title")]
    pub name: String,
    /// What it is.
    #[serde(default, deserialize_with = "words::kept::description")]
    pub description: String,
    /// Where it is found.
    #[serde(deserialize_with = "words::kept::name")]
    pub category: String,
    /// Price of one piece.
    pub price_cents: Cents,
}

/// A product of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogProduct {
    /// Grows with each change.
    pub version: u64,
    /// Stock keeping unit: for ever the product's own.
    pub sku: Sku,
    /// Its number, by which carts name it: for ever its own, too.
    pub number: i64,
    /// What is said of it.
    #[serde(flatten)]
    pub fields: ProductFields,
    /// Pieces that it began with. How many there are is Inventory's.
    pub initial_stock: u32,
    /// Since when it is no longer sold.
    #[serde(default)]
    pub archived_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// By whom.
    #[serde(deserialize_with = "words::kept::name")]
    pub updated_by: String,
    /// Its prices, newest first: at most [`MOST_PRICES`].
    #[serde(default)]
    pub prices: Vec<PriceSet>,
}

/// A price, since when, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PriceSet {
    /// Since when.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// Who has set it.
    #[serde(deserialize_with = "words::kept::name")]
    pub by: String,
    /// Price of one piece.
    pub price_cents: Cents,
}

/// A zone where orders can be shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogZone {
    /// Grows with each change.
    pub version: u64,
    /// Its name: for ever its own, whatever the case of its letters.
    #[serde(deserialize_with = "words::kept::name")]
    pub name: String,
    /// What a shipment there costs.
    pub cost_cents: Cents,
    /// Since when nothing is shipped there any more.
    #[serde(default)]
    pub archived_at: Option<Timestamp>,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// By whom.
    #[serde(deserialize_with = "words::kept::name")]
    pub updated_by: String,
}

/// What a gateway knows from its own file and Restate may not: the demo's products and
/// zones, and those of an older version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopt {
    /// Products, with the numbers that they have there.
    pub products: Vec<CatalogProduct>,
    /// Zones.
    pub zones: Vec<CatalogZone>,
}

/// Products and zones, as Restate holds them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// Products.
    pub products: Vec<CatalogProduct>,
    /// Zones.
    pub zones: Vec<CatalogZone>,
}

impl ProductFields {
    /// As they are kept: without what cannot be seen, and within the limits.
    pub fn checked(self) -> Result<Self, Refusal> {
        let name = one_line("name", &self.name, words::MAX_TITLE)?
            .ok_or_else(|| Refusal::invalid("name", "name is missing: say what it is called"))?;
        let category = one_line("category", &self.category, MAX_CATEGORY)?
            .unwrap_or_else(|| NO_CATEGORY.to_owned());
        let description = words::plain(self.description.trim());
        let description = description.trim();
        // One kind of line end, in a file and in a form.
        let description = description.replace("\r\n", "\n").replace('\r', "\n");
        if description.chars().count() > words::MAX_DESCRIPTION {
            return Err(too_long("description", words::MAX_DESCRIPTION));
        }
        Ok(Self {
            name,
            description,
            category,
            price_cents: price("price", self.price_cents)?,
        })
    }

    /// What is different in `other`, as `field, here, there`.
    pub fn differences(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let mut found = Vec::new();
        let mut look = |field, here: &str, there: &str| {
            if here != there {
                found.push((field, here.to_owned(), there.to_owned()));
            }
        };
        look("name", &self.name, &other.name);
        look("description", &self.description, &other.description);
        look("category", &self.category, &other.category);
        let (here, there) = (self.price_cents.to_string(), other.price_cents.to_string());
        look("price", &here, &there);
        found
    }
}

impl CatalogProduct {
    /// Whether it can be bought.
    pub const fn is_sold(&self) -> bool {
        self.archived_at.is_none()
    }
}

impl CatalogZone {
    /// What tells it from others: `Local` and `LOCAL` are one zone.
    pub fn key(&self) -> String {
        zone_key(&self.name)
    }

    /// Whether orders can be shipped there.
    pub const fn is_served(&self) -> bool {
        self.archived_at.is_none()
    }
}

/// See [`CatalogZone::key`].
pub fn zone_key(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// The name of a zone, as it is kept.
pub fn zone_name(raw: &str) -> Result<String, Refusal> {
    one_line("zone", raw, MAX_ZONE)?
        .ok_or_else(|| Refusal::invalid("zone", "zone is missing: say what it is called"))
}

/// A price that may be asked for.
pub fn price(field: &str, cents: Cents) -> Result<Cents, Refusal> {
    if (Cents::ZERO..=MAX_PRICE).contains(&cents) {
        Ok(cents)
    } else {
        Err(Refusal::invalid(
            field,
            format!("{field} must be $0.00 to {MAX_PRICE}"),
        ))
    }
}

/// A price as people write it: `25`, `25.00`, `25,00`.
pub fn price_in_words(field: &str, raw: &str) -> Result<Cents, Refusal> {
    let cents = Cents::parse(raw).ok_or_else(|| {
        Refusal::invalid(
            field,
            format!("{field} must be an amount such as 25 or 24.90, without a currency"),
        )
    })?;
    price(field, cents)
}

/// Text on one line, without what cannot be seen; `None` when nothing is left.
fn one_line(field: &str, raw: &str, max: usize) -> Result<Option<String>, Refusal> {
    let text = words::plain(raw);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        return Ok(None);
    }
    if !words::is_visible(&text) {
        return Err(Refusal::invalid(
            field,
            format!("{field} has nothing to see in it: write letters, digits or signs"),
        ));
    }
    if text.chars().count() > max {
        return Err(too_long(field, max));
    }
    Ok(Some(text))
}

fn too_long(field: &str, max: usize) -> Refusal {
    Refusal::invalid(field, format!("{field} must be at most {max} characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_read_as_people_write_it() {
        for (raw, cents) in [
            ("25", 2_500),
            (" 25.00 ", 2_500),
            ("24,9", 2_490),
            ("0", 0),
            ("1000000", 100_000_000),
        ] {
            assert_eq!(price_in_words("price", raw), Ok(Cents(cents)), "{raw}");
        }
        for raw in [
            "",
            "-1",
            "1.234",
            "1,000.00",
            "$5",
            ".5",
            "5.",
            "1e3",
            "1000000.01",
        ] {
            assert!(price_in_words("price", raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn what_is_said_of_a_product_is_cleaned_and_bounded() {
        let fields = |name: &str, category: &str| {
            ProductFields {
                name: name.into(),
                description: " A\r\nB\u{200B} ".into(),
                category: category.into(),
                price_cents: Cents(1),
            }
            .checked()
        };
        let kept = fields(" Kettle\n 2 ", "").unwrap();
        assert_eq!(
            (
                kept.name.as_str(),
                kept.category.as_str(),
                kept.description.as_str()
            ),
            ("Kettle 2", "Other", "A\nB")
        );
        for (name, category, field) in [
            ("", "", "name"),
            ("\u{200B}", "", "name"),
            ("x", "\u{2800}", "category"),
        ] {
            let Err(Refusal::Invalid { field: named, .. }) = fields(name, category) else {
                panic!("{name:?}");
            };
            assert_eq!(named, field);
        }
        assert!(fields(&"x".repeat(201), "").is_err());
        assert!(fields("x", &"x".repeat(61)).is_err());
    }
}
