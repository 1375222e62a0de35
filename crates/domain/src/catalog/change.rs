//! What can happen to a product or a zone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    CatalogProduct, CatalogZone, MAX_INITIAL_STOCK, MOST_PRICES, PriceSet, ProductFields, price,
    zone_name,
};
use crate::audit::{Act, AuditEntry, By};
use crate::ids::Sku;
use crate::money::Cents;
use crate::refusal::Refusal;
use crate::words;

/// A change of a product, and when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeProduct {
    /// Which.
    pub sku: Sku,
    /// What changes.
    pub change: ProductChange,
    /// When.
    pub at: Timestamp,
}

/// What changes of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ProductChange {
    /// It is made.
    Create {
        /// What is said of it.
        fields: ProductFields,
        /// Pieces that it begins with.
        stock: u32,
    },
    /// Something else is said of it.
    Edit {
        /// The version that was looked at.
        version: u64,
        /// What.
        fields: ProductFields,
    },
    /// It is no longer sold.
    Archive,
    /// It is sold again.
    Restore,
}

/// A change of a zone, and when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeZone {
    /// Which.
    #[serde(deserialize_with = "words::kept::name")]
    pub name: String,
    /// What changes.
    pub change: ZoneChange,
    /// When.
    pub at: Timestamp,
}

/// What changes of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ZoneChange {
    /// It is made.
    Create {
        /// What a shipment there costs.
        cost_cents: Cents,
    },
    /// Shipping there costs something else.
    Edit {
        /// The version that was looked at.
        version: u64,
        /// What a shipment there costs.
        cost_cents: Cents,
    },
    /// Nothing is shipped there any more.
    Archive,
    /// It is shipped there again.
    Restore,
}

/// What a change finds: the product or zone as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known<T>(pub Option<T>);

impl ProductChange {
    /// The product as it is afterwards; `None` when it is so already. `number` is for one
    /// that is made.
    pub fn to(
        self,
        sku: &Sku,
        Known(known): Known<&CatalogProduct>,
        number: i64,
        by: &str,
        at: Timestamp,
    ) -> Result<Option<CatalogProduct>, Refusal> {
        let known = match (self, known) {
            (Self::Create { fields, stock }, None) => {
                return made(sku.clone(), number, fields, stock, by, at).map(Some);
            }
            (Self::Create { .. }, Some(_)) => {
                return Err(Refusal::SkuTaken { sku: sku.clone() });
            }
            (_, None) => return Err(Refusal::UnknownProduct { sku: sku.clone() }),
            (change, Some(known)) => (change, known),
        };
        let (change, known) = known;
        let mut next = known.clone();
        match change {
            Self::Create { .. } => {}
            Self::Edit { version, fields } => {
                let fields = fields.checked()?;
                if version != known.version && fields != known.fields {
                    return Err(edited_meanwhile(known, &fields));
                }
                next.set(fields, by, at);
            }
            Self::Archive => next.archived_at = known.archived_at.or(Some(at)),
            Self::Restore => next.archived_at = None,
        }
        Ok(next.changed_from(known, by, at))
    }
}

/// A product that is new.
pub(super) fn made(
    sku: Sku,
    number: i64,
    fields: ProductFields,
    stock: u32,
    by: &str,
    at: Timestamp,
) -> Result<CatalogProduct, Refusal> {
    if stock > MAX_INITIAL_STOCK {
        return Err(Refusal::invalid(
            "stock",
            format!("stock must be 0 to {MAX_INITIAL_STOCK}"),
        ));
    }
    let fields = fields.checked()?;
    Ok(CatalogProduct {
        version: 1,
        sku,
        number,
        prices: vec![PriceSet {
            at,
            by: by.to_owned(),
            price_cents: fields.price_cents,
        }],
        fields,
        initial_stock: stock,
        archived_at: None,
        created_at: at,
        updated_at: at,
        updated_by: by.to_owned(),
    })
}

impl CatalogProduct {
    /// Something else is said of it.
    pub(super) fn set(&mut self, fields: ProductFields, by: &str, at: Timestamp) {
        if fields.price_cents != self.fields.price_cents {
            self.prices.insert(
                0,
                PriceSet {
                    at,
                    by: by.to_owned(),
                    price_cents: fields.price_cents,
                },
            );
            self.prices.truncate(MOST_PRICES);
        }
        self.fields = fields;
    }

    /// With the next version, if it is another than `before`.
    pub(super) fn changed_from(mut self, before: &Self, by: &str, at: Timestamp) -> Option<Self> {
        if self == *before {
            return None;
        }
        self.version += 1;
        self.updated_at = at;
        by.clone_into(&mut self.updated_by);
        Some(self)
    }

    /// The price before this one, if it has changed since `before`.
    pub fn price_was(&self, before: Option<&Self>) -> Option<Cents> {
        before
            .map(|before| before.fields.price_cents)
            .filter(|was| *was != self.fields.price_cents)
    }
}

/// What stands now, beside what was asked for.
fn edited_meanwhile(known: &CatalogProduct, asked: &ProductFields) -> Refusal {
    let differences = known.fields.differences(asked);
    let said = differences.iter().map(|(field, now, asked)| {
        format!(
            "{field} is {} and not {}",
            words::quoted(now, 80),
            words::quoted(asked, 80)
        )
    });
    Refusal::EditedMeanwhile {
        subject: known.sku.to_string(),
        by: known.updated_by.clone(),
        version: known.version,
        changes: said.collect::<Vec<_>>().join("; "),
    }
}

impl ZoneChange {
    /// The zone as it is afterwards; `None` when it is so already.
    pub fn to(
        self,
        name: &str,
        Known(known): Known<&CatalogZone>,
        by: &str,
        at: Timestamp,
    ) -> Result<Option<CatalogZone>, Refusal> {
        let (change, known) = match (self, known) {
            (Self::Create { cost_cents }, None) => {
                return Ok(Some(CatalogZone {
                    version: 1,
                    name: zone_name(name)?,
                    cost_cents: price("cost", cost_cents)?,
                    archived_at: None,
                    updated_at: at,
                    updated_by: by.to_owned(),
                }));
            }
            (Self::Create { .. }, Some(known)) => {
                return Err(Refusal::ZoneTaken {
                    zone: known.name.clone(),
                });
            }
            (_, None) => {
                return Err(Refusal::UnknownZone {
                    zone: name.to_owned(),
                });
            }
            (change, Some(known)) => (change, known),
        };
        let mut next = known.clone();
        match change {
            Self::Create { .. } => {}
            Self::Edit {
                version,
                cost_cents,
            } => {
                let cost_cents = price("cost", cost_cents)?;
                if version != known.version && cost_cents != known.cost_cents {
                    return Err(Refusal::EditedMeanwhile {
                        subject: known.name.clone(),
                        by: known.updated_by.clone(),
                        version: known.version,
                        changes: format!("cost is {} and not {cost_cents}", known.cost_cents),
                    });
                }
                next.cost_cents = cost_cents;
            }
            Self::Archive => next.archived_at = known.archived_at.or(Some(at)),
            Self::Restore => next.archived_at = None,
        }
        if next == *known {
            return Ok(None);
        }
        next.version += 1;
        next.updated_at = at;
        by.clone_into(&mut next.updated_by);
        Ok(Some(next))
    }
}

impl AuditEntry {
    /// What has become of a product. A price has an entry of its own.
    pub fn of_product(
        before: Option<&CatalogProduct>,
        after: &CatalogProduct,
        by: &By,
    ) -> Vec<Self> {
        let of = |what, detail: String| {
            let (sku, version) = (after.sku.as_str(), after.version);
            Self::of_version(what, by.clone(), sku, version, after.updated_at, detail)
        };
        let Some(before) = before else {
            let (name, price) = (&after.fields.name, after.fields.price_cents);
            let name = words::quoted(name, words::MAX_NAME);
            let stock = after.initial_stock;
            return vec![of(
                Act::ProductMade,
                format!("{name}, {price}, {stock} in stock"),
            )];
        };
        let price = after.price_was(Some(before)).map(|was| {
            let now = after.fields.price_cents;
            of(Act::Price, format!("{was} before, {now} now"))
        });
        let differences = before.fields.differences(&after.fields);
        let other: Vec<_> = differences
            .iter()
            .map(|(field, ..)| *field)
            .filter(|field| *field != "price")
            .collect();
        let changed = (!other.is_empty()).then(|| of(Act::ProductChanged, other.join(", ")));
        let sold = match (before.is_sold(), after.is_sold()) {
            (true, false) => Some(of(Act::ProductArchived, String::new())),
            (false, true) => Some(of(Act::ProductRestored, String::new())),
            _ => None,
        };
        price.into_iter().chain(changed).chain(sold).collect()
    }

    /// What has become of a zone.
    pub fn of_zone(before: Option<&CatalogZone>, after: &CatalogZone, by: By) -> Self {
        let cost = after.cost_cents;
        let detail = match before {
            None => format!("made, {cost}"),
            Some(_) if !after.is_served() => "nothing is shipped there any more".to_owned(),
            Some(before) if !before.is_served() => format!("open again, {cost}"),
            Some(before) => format!("{} before, {cost} now", before.cost_cents),
        };
        let (zone, version) = (after.name.as_str(), after.version);
        Self::of_version(Act::ZoneSet, by, zone, version, after.updated_at, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn fields(name: &str, cents: i64) -> ProductFields {
        ProductFields {
            name: name.into(),
            description: String::new(),
            category: "Kitchen".into(),
            price_cents: Cents(cents),
        }
    }

    fn sku() -> Sku {
        Sku::parse("P001").unwrap()
    }

    fn kettle() -> CatalogProduct {
        let create = ProductChange::Create {
            fields: fields("Kettle", 2_500),
            stock: 5,
        };
        let made = create.to(&sku(), Known(None), 7, "ann", at(1)).unwrap();
        made.unwrap()
    }

    fn changed(change: ProductChange, known: &CatalogProduct, by: &str) -> Option<CatalogProduct> {
        change
            .to(&sku(), Known(Some(known)), 99, by, at(5))
            .unwrap()
    }

    #[test]
    fn a_price_keeps_who_and_when_and_a_number_never_changes() {
        let kettle = kettle();
        assert_eq!((kettle.number, kettle.version), (7, 1));
        let edit = ProductChange::Edit {
            version: 1,
            fields: fields("Kettle", 3_000),
        };
        let dearer = changed(edit.clone(), &kettle, "bob").unwrap();
        assert_eq!((dearer.number, dearer.version), (7, 2));
        assert_eq!(dearer.price_was(Some(&kettle)), Some(Cents(2_500)));
        let prices = dearer
            .prices
            .iter()
            .map(|it| (it.by.as_str(), it.price_cents));
        assert_eq!(
            prices.collect::<Vec<_>>(),
            [("bob", Cents(3_000)), ("ann", Cents(2_500))]
        );
        assert_eq!(changed(edit, &dearer, "eve"), None, "so already");
        let mut many = dearer;
        for cents in 0..100 {
            let version = many.version;
            let fields = fields("Kettle", cents);
            many = changed(ProductChange::Edit { version, fields }, &many, "ann").unwrap();
        }
        assert_eq!(many.prices.len(), MOST_PRICES);
    }

    #[test]
    fn who_edits_what_is_old_is_told_what_stands() {
        let kettle = kettle();
        let edit = |version, cents| ProductChange::Edit {
            version,
            fields: fields("Kettle", cents),
        };
        let dearer = changed(edit(1, 3_000), &kettle, "bob").unwrap();
        let refused = edit(1, 2_000).to(&sku(), Known(Some(&dearer)), 0, "eve", at(6));
        assert_eq!(
            refused,
            Err(Refusal::EditedMeanwhile {
                subject: "P001".into(),
                by: "bob".into(),
                version: 2,
                changes: "price is $30.00 and not $20.00".into(),
            })
        );
    }

    #[test]
    fn what_is_archived_can_be_restored_and_a_sku_is_taken_for_ever() {
        let kettle = kettle();
        let gone = changed(ProductChange::Archive, &kettle, "ann").unwrap();
        assert!(!gone.is_sold() && gone.version == 2);
        assert_eq!(changed(ProductChange::Archive, &gone, "ann"), None);
        let again = ProductChange::Create {
            fields: fields("Pan", 1),
            stock: 1,
        };
        let taken = again.to(&sku(), Known(Some(&gone)), 8, "ann", at(6));
        assert_eq!(taken, Err(Refusal::SkuTaken { sku: sku() }));
        let back = changed(ProductChange::Restore, &gone, "ann").unwrap();
        assert!(back.is_sold() && back.version == 3);
        let nothing = ProductChange::Restore.to(&sku(), Known(None), 0, "ann", at(6));
        assert_eq!(nothing, Err(Refusal::UnknownProduct { sku: sku() }));
    }

    #[test]
    fn a_zone_has_one_name_whatever_its_case() {
        let create = |cents| ZoneChange::Create {
            cost_cents: Cents(cents),
        };
        let local = create(500).to(" Local ", Known(None), "ann", at(1));
        let local = local.unwrap().unwrap();
        assert_eq!(
            (local.name.as_str(), local.key().as_str()),
            ("Local", "local")
        );
        let taken = create(1).to("LOCAL", Known(Some(&local)), "ann", at(2));
        assert!(matches!(taken, Err(Refusal::ZoneTaken { .. })));
        let edit = |version, cents| ZoneChange::Edit {
            version,
            cost_cents: Cents(cents),
        };
        let known = || Known(Some(&local));
        let dearer = edit(1, 600).to("Local", known(), "bob", at(3)).unwrap();
        assert_eq!(dearer.unwrap().version, 2);
        let refused = edit(9, 600).to("Local", known(), "bob", at(3));
        assert!(matches!(refused, Err(Refusal::EditedMeanwhile { .. })));
        assert!(edit(1, -1).to("Local", known(), "bob", at(3)).is_err());
        let gone = ZoneChange::Archive.to("Local", known(), "bob", at(3));
        assert!(!gone.unwrap().unwrap().is_served());
    }
}
