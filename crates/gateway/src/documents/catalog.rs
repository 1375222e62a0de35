//! The Markdown documents about the catalog, for admins.

use waybill_domain::catalog::{CatalogProduct, CatalogZone};

use super::markdown::{exact, line, past_end, text};

/// One page of the catalog.
pub fn catalog<'a>(products: impl Iterator<Item = &'a CatalogProduct>, total: i64) -> String {
    let mut out = String::from("# Catalog\n\n");
    let mut shown = 0;
    for product in products {
        shown += 1;
        let fields = &product.fields;
        line(
            &mut out,
            format_args!(
                "- **{}**: {}, {}, {}",
                text(product.sku.as_str()),
                text(&fields.name),
                text(&fields.category),
                fields.price_cents,
            ),
        );
    }
    past_end(&mut out, shown, total, "/catalog");
    if total == 0 {
        line(&mut out, "Nothing.");
    }
    out
}

/// A product, with what it has cost.
pub fn product(product: &CatalogProduct) -> String {
    let mut out = String::new();
    let fields = &product.fields;
    line(&mut out, format_args!("# {}\n", text(&fields.name)));
    line(
        &mut out,
        format_args!("**SKU**: {}  ", text(product.sku.as_str())),
    );
    line(
        &mut out,
        format_args!("**Category**: {}  ", text(&fields.category)),
    );
    line(
        &mut out,
        format_args!("**Price**: {}  ", fields.price_cents),
    );
    let sold = if product.is_sold() {
        "yes"
    } else {
        "no longer"
    };
    line(&mut out, format_args!("**Sold**: {sold}"));
    if !fields.description.is_empty() {
        line(&mut out, format_args!("\n{}", text(&fields.description)));
    }
    line(&mut out, "\n## Prices\n");
    for price in &product.prices {
        line(
            &mut out,
            format_args!(
                "- {} since {}, by {}",
                price.price_cents,
                exact(price.at),
                text(&price.by)
            ),
        );
    }
    out
}

/// The zones.
pub fn zones(zones: &[CatalogZone]) -> String {
    let mut out = String::from("# Zones\n\n");
    for zone in zones {
        let closed = if zone.is_served() { "" } else { " (closed)" };
        line(
            &mut out,
            format_args!("- **{}**: {}{closed}", text(&zone.name), zone.cost_cents),
        );
    }
    if zones.is_empty() {
        line(&mut out, "None.");
    }
    out
}

/// How far an import is: parts that are written, of how many.
pub fn import(progress: Option<(u32, u32)>) -> String {
    let mut out = String::from("# Import\n\n");
    match progress {
        Some((written, parts)) => line(
            &mut out,
            format_args!("{written} of {parts} parts of the file are written."),
        ),
        None => line(&mut out, "No import is looked at."),
    }
    out
}
