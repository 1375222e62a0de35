//! The cart's page, with its checkout.

use std::collections::HashMap;

use serde::Serialize;
use waybill_domain::basket::{Basket, Line};
use waybill_domain::money::{CURRENCY, Cents};

use super::location::Location;
use super::page::{PageContent, Viewer};
use super::views::Console;
use super::views::View;
use crate::documents::markdown;
use crate::http::problem::Problem;
use crate::storage::catalog::{ProductName, Zone};
use waybill_domain::ids::{OrderId, Sku};

/// Everything the page shows.
#[derive(Debug, Clone, Serialize)]
pub struct CartPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// Beginning of the forms' idempotency keys.
    pub key: String,
    /// Whether Restate, which has the cart, does not answer.
    pub unreachable: bool,
    /// What is in it.
    pub items: Vec<CartRow>,
    /// Pieces in it.
    pub pieces: u32,
    /// Cents.
    pub subtotal: i64,
    /// The shipping zones, each with its total.
    pub zones: Vec<ZoneChoice>,
    /// Cents, with the zone that is chosen at first.
    pub total: i64,
    /// ISO 4217.
    pub currency: &'static str,
    /// Where the customer's orders usually go.
    pub address: String,
    /// The order to pay again, or an id of the customer's own.
    pub order_id: String,
    /// Whether that order exists already.
    pub retrying: bool,
}

/// A product in the cart.
#[derive(Debug, Clone, Serialize)]
pub struct CartRow {
    /// Stock keeping unit.
    pub sku: String,
    /// The catalog's number.
    pub product_id: i64,
    /// Its name.
    pub name: String,
    /// Pieces.
    pub quantity: u32,
    /// Cents.
    pub unit_price: i64,
    /// Cents.
    pub line_total: i64,
    /// Cents: what a piece cost when it was put there, if that was something else.
    pub was: Option<i64>,
    /// Whether it is no longer sold.
    pub is_gone: bool,
}

/// What the catalog says of the products in a cart today: the price, or that it is gone.
pub type Today = HashMap<Sku, Option<Cents>>;

/// A shipping zone to choose.
#[derive(Debug, Clone, Serialize)]
pub struct ZoneChoice {
    /// Its name.
    pub name: String,
    /// Cents.
    pub cost: i64,
    /// Cents: the cart and the shipping.
    pub total: i64,
    /// Whether it is chosen at first.
    pub chosen: bool,
}

/// What the checkout form says at first.
#[derive(Debug, Clone, Default)]
pub struct Suggestion {
    /// The customer's address.
    pub address: Option<String>,
    /// The customer's zone.
    pub zone: Option<String>,
    /// An order id, without its owner.
    pub order_id: Option<String>,
    /// Whether that order exists already.
    pub retrying: bool,
}

impl CartPage {
    /// The page over a basket; `None` when it cannot be had now.
    pub fn of(
        tab: &'static str,
        key: String,
        basket: Option<&Basket>,
        zones: &[Zone],
        today: &Today,
        suggestion: Suggestion,
    ) -> Self {
        let lines = basket.map(|basket| &basket.items[..]).unwrap_or_default();
        let price = |line: &Line| {
            let today = today.get(&line.sku).copied().flatten();
            today.unwrap_or(line.unit_price_cents)
        };
        let subtotal: Cents = lines.iter().map(|it| price(it).times(it.quantity)).sum();
        let at_first = zones
            .iter()
            .position(|zone| Some(&zone.zone) == suggestion.zone.as_ref())
            .unwrap_or(0);
        let zones: Vec<_> = zones
            .iter()
            .enumerate()
            .map(|(position, zone)| ZoneChoice {
                name: zone.zone.clone(),
                cost: zone.cost_cents,
                total: (subtotal + Cents(zone.cost_cents)).0,
                chosen: position == at_first,
            })
            .collect();
        Self {
            tab,
            key,
            unreachable: basket.is_none(),
            items: lines
                .iter()
                .map(|line| CartRow {
                    sku: line.sku.to_string(),
                    product_id: line.product_id,
                    name: line.name.clone(),
                    quantity: line.quantity,
                    unit_price: price(line).0,
                    line_total: price(line).times(line.quantity).0,
                    was: Some(line.unit_price_cents.0).filter(|was| *was != price(line).0),
                    is_gone: today.get(&line.sku) == Some(&None),
                })
                .collect(),
            pieces: basket.map_or(0, Basket::pieces),
            subtotal: subtotal.0,
            total: zones.get(at_first).map_or(subtotal.0, |zone| zone.total),
            zones,
            currency: CURRENCY,
            address: suggestion.address.unwrap_or_default(),
            order_id: suggestion.order_id.unwrap_or_default(),
            retrying: suggestion.retrying,
        }
    }
}

/// Loads and paints the page.
pub(super) async fn content(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
    basket: Option<&Basket>,
) -> Result<PageContent, Problem> {
    let user = &viewer.caller.user;
    let zones = console.zones().await?;
    let mut suggestion = Suggestion {
        order_id: location.word("order_id")?,
        ..Suggestion::default()
    };
    if let Some(row) = console.user(user).await? {
        suggestion.address = row.address;
        suggestion.zone = row.default_zone;
    }
    // Who pays an order again ships it to where it was going.
    if let Some(id) = suggestion
        .order_id
        .as_deref()
        .and_then(|id| OrderId::of(user, id).ok())
        && let Some(record) = crate::storage::orders::record(&console.db, &id).await?
        && record.may_be_paid_again()
    {
        suggestion.address = Some(record.address);
        suggestion.zone = Some(record.zone);
        suggestion.retrying = true;
    }
    let document = basket.map_or_else(
        || "# Cart\n\nRestate, which has the cart, is not reachable.\n".to_owned(),
        markdown::cart,
    );
    let today = today(console, basket).await?;
    let page = CartPage::of(
        location.tab,
        viewer.seed.clone(),
        basket,
        &zones,
        &today,
        suggestion,
    );
    Ok(PageContent::new(
        "Cart",
        console.views.render(&page)?,
        console.output(location, document)?,
    ))
}

async fn today(console: &Console, basket: Option<&Basket>) -> Result<Today, Problem> {
    let mut today = Today::new();
    for line in basket.map(|basket| &basket.items[..]).unwrap_or_default() {
        let named = ProductName::Sku(line.sku.clone());
        let product = console.product(&named).await?;
        let price = product.map(|product| product.unit_price_cents);
        today.insert(line.sku.clone(), price);
    }
    Ok(today)
}

impl View for CartPage {
    const TEMPLATE: &'static str = "cart.html";
}

#[cfg(test)]
mod tests {
    use waybill_domain::ids::Username;

    use super::*;
    use crate::console::{Sample, samples};

    fn zones() -> Vec<Zone> {
        [("Domestic", 500), ("Abroad", 2500)]
            .map(|(zone, cost_cents)| Zone {
                zone: zone.into(),
                cost_cents,
            })
            .into()
    }

    /// The first product of the cart costs a dollar now, the others are gone.
    fn changed() -> Today {
        let items = samples::basket().items.into_iter().enumerate();
        let today = items.map(|(n, line)| (line.sku, (n == 0).then_some(Cents(100))));
        today.collect()
    }

    #[test]
    fn a_line_says_what_has_changed_and_the_total_is_todays() {
        let basket = samples::basket();
        let page = CartPage::of(
            "input",
            "seed".into(),
            Some(&basket),
            &[],
            &changed(),
            Suggestion::default(),
        );
        let first = &page.items[0];
        let was = basket.items[0].unit_price_cents.0;
        assert_eq!((first.unit_price, first.was), (100, Some(was)));
        assert_eq!(first.line_total, 100 * i64::from(first.quantity));
        assert!(!first.is_gone && page.items.iter().skip(1).all(|item| item.is_gone));
        let total: i64 = page.items.iter().map(|item| item.line_total).sum();
        assert_eq!(page.total, total);
    }

    impl Sample for CartPage {
        fn samples() -> Vec<Self> {
            let retry = Suggestion {
                address: Some("1 Main Street".into()),
                zone: Some("Abroad".into()),
                order_id: Some("order-123".into()),
                retrying: true,
            };
            let empty = Basket::empty(Username::parse("alice").unwrap());
            vec![
                Self::of(
                    "input",
                    "seed".into(),
                    Some(&samples::basket()),
                    &zones(),
                    &Today::new(),
                    retry,
                ),
                Self::of(
                    "input",
                    "seed".into(),
                    Some(&samples::basket()),
                    &[],
                    &changed(),
                    Suggestion::default(),
                ),
                Self::of(
                    "input",
                    "seed".into(),
                    Some(&empty),
                    &zones(),
                    &Today::new(),
                    Suggestion::default(),
                ),
                Self::of(
                    "output",
                    "seed".into(),
                    None,
                    &[],
                    &Today::new(),
                    Suggestion::default(),
                ),
            ]
        }
    }

    #[test]
    fn every_zone_says_its_total() {
        let page = &CartPage::samples()[0];
        let totals: Vec<_> = page
            .zones
            .iter()
            .map(|zone| (zone.total, zone.chosen))
            .collect();
        assert_eq!(totals, [(13_000, false), (15_000, true)]);
        assert_eq!(page.total, 15_000);
    }
}
