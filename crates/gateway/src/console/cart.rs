//! The cart's page, with its checkout.

use serde::Serialize;
use waybill_domain::basket::Basket;
use waybill_domain::money::{CURRENCY, Cents};

use super::location::Location;
use super::page::{PageContent, Viewer};
use super::views::Console;
use super::views::View;
use crate::documents::markdown;
use crate::http::problem::Problem;
use crate::storage::catalog::Zone;
use waybill_domain::ids::OrderId;

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
}

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
        suggestion: Suggestion,
    ) -> Self {
        let subtotal = basket.map_or(Cents::ZERO, |basket| basket.subtotal_cents);
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
            items: basket
                .map(|basket| &basket.items[..])
                .unwrap_or_default()
                .iter()
                .map(|line| CartRow {
                    sku: line.sku.to_string(),
                    product_id: line.product_id,
                    name: line.name.clone(),
                    quantity: line.quantity,
                    unit_price: line.unit_price_cents.0,
                    line_total: line.line_total_cents.0,
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
    let page = CartPage::of(
        location.tab,
        viewer.seed.clone(),
        basket,
        &zones,
        suggestion,
    );
    Ok(PageContent::new(
        "Cart",
        console.views.render(&page)?,
        console.output(location, document)?,
    ))
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
                    retry,
                ),
                Self::of(
                    "input",
                    "seed".into(),
                    Some(&empty),
                    &zones(),
                    Suggestion::default(),
                ),
                Self::of("output", "seed".into(), None, &[], Suggestion::default()),
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
