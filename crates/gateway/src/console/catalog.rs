//! The admin's pages of what is sold: the catalog, one product, the zones, and a file.

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::catalog::{CatalogProduct, CatalogZone, MAX_IMPORT_ROWS};
use waybill_domain::idempotency::Digest;
use waybill_domain::ids::Sku;

use super::lists::{self, Pages};
use super::location::Location;
use super::page::{PageContent, Viewer};
use super::shell::Link;
use super::status_style::{self, Chip};
use super::views::{Console, View};
use crate::documents::catalog as documents;
use crate::http::problem::Problem;
use crate::shop::catalog as shop;
use crate::storage::catalog::{self as storage, Filter};
use crate::storage::orders::Total;

/// Products on a page.
const PER_PAGE: u32 = 50;
/// Where the list is.
const PATH: &str = "/catalog";

/// `/catalog`
#[derive(Debug, Clone, Serialize)]
pub struct CatalogPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// Beginning of the forms' idempotency keys.
    pub key: String,
    /// What is searched for.
    pub q: String,
    /// Whether those are shown that are no longer sold.
    pub archived: bool,
    /// This page of them.
    pub products: Vec<ProductRow>,
    /// How many there are.
    pub total: i64,
    /// Where one is in the list.
    pub pages: Pages,
    /// Where orders can be shipped: how many zones.
    pub zones: usize,
}

/// A product in the list.
#[derive(Debug, Clone, Serialize)]
pub struct ProductRow {
    /// Stock keeping unit.
    pub sku: String,
    /// Its page.
    pub href: String,
    /// Its name.
    pub name: String,
    /// Where it is found.
    pub category: String,
    /// Cents.
    pub price: i64,
    /// Pieces that can be sold.
    pub stock: i64,
    /// Which colour.
    pub family: &'static str,
    /// Which icon.
    pub icon: &'static str,
}

/// `/catalog/{sku}`
#[derive(Debug, Clone, Serialize)]
pub struct ProductPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// Beginning of the forms' idempotency keys.
    pub key: String,
    /// Where its forms go.
    pub action: String,
    /// The version that is looked at.
    pub version: u64,
    /// Stock keeping unit.
    pub sku: String,
    /// The catalog's number.
    pub number: i64,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Where it is found.
    pub category: String,
    /// As people write it: 24.90.
    pub price_text: String,
    /// Whether it can be bought.
    pub status: Chip,
    /// The same.
    pub is_sold: bool,
    /// Pieces that can be sold.
    pub stock: i64,
    /// Which colour that has.
    pub family: &'static str,
    /// Its icon.
    pub sign: &'static str,
    /// Pieces that it began with.
    pub initial_stock: u32,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// By whom.
    pub updated_by: String,
    /// What it has cost, newest first.
    pub prices: Vec<PriceRow>,
}

/// A price.
#[derive(Debug, Clone, Serialize)]
pub struct PriceRow {
    /// Cents.
    pub price: i64,
    /// Since when.
    pub at: Timestamp,
    /// Whose it is.
    pub by: String,
}

/// `/zones`
#[derive(Debug, Clone, Serialize)]
pub struct ZonesPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// Beginning of the forms' idempotency keys.
    pub key: String,
    /// All of them, cheapest first.
    pub zones: Vec<ZoneRow>,
}

/// A zone.
#[derive(Debug, Clone, Serialize)]
pub struct ZoneRow {
    /// Its place in the list, for the ids of its fields.
    pub place: usize,
    /// Its name.
    pub name: String,
    /// Where its forms go.
    pub action: String,
    /// The version that is looked at.
    pub version: u64,
    /// As people write it: 4.90.
    pub cost_text: String,
    /// Whether orders can be shipped there.
    pub status: Chip,
    /// The same.
    pub is_served: bool,
    /// By whom it was changed last.
    pub updated_by: String,
    /// When.
    pub updated_at: Timestamp,
}

/// `/import`
#[derive(Debug, Clone, Serialize)]
pub struct ImportPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// Beginning of the forms' idempotency keys.
    pub key: String,
    /// Most products of a file.
    pub most: u32,
    /// An import that has begun.
    pub progress: Option<ProgressView>,
}

/// How far an import is.
#[derive(Debug, Clone, Serialize)]
pub struct ProgressView {
    /// Whether all of it is written.
    pub is_over: bool,
    /// Parts of the file that are written.
    pub written: u32,
    /// Parts that it has.
    pub parts: u32,
    /// Products that are new, changed, and as they were.
    pub added: u32,
    /// See above.
    pub changed: u32,
    /// See above.
    pub unchanged: u32,
}

/// Whether something is sold, or a zone is served.
fn state(is_open: bool, open: &str, closed: &str) -> Chip {
    let (label, family, icon) = if is_open {
        (open, "done", "done")
    } else {
        (closed, "", "bin")
    };
    Chip {
        name: if is_open { "open" } else { "closed" },
        label: label.to_owned(),
        family,
        icon,
    }
}

impl ProductRow {
    fn of((product, stock): &(CatalogProduct, i64)) -> Self {
        let (_, family, icon) = status_style::of_stock(*stock);
        Self {
            sku: product.sku.to_string(),
            href: format!("{PATH}/{}", product.sku),
            name: product.fields.name.clone(),
            category: product.fields.category.clone(),
            price: product.fields.price_cents.0,
            stock: *stock,
            family,
            icon,
        }
    }
}

impl ProductPage {
    fn of(tab: &'static str, key: String, product: CatalogProduct, stock: i64) -> Self {
        let is_sold = product.is_sold();
        let (_, family, sign) = status_style::of_stock(stock);
        let prices = product.prices.into_iter().map(|price| PriceRow {
            price: price.price_cents.0,
            at: price.at,
            by: price.by,
        });
        Self {
            tab,
            key,
            action: format!("/api/catalog/products/{}", product.sku),
            version: product.version,
            sku: product.sku.to_string(),
            number: product.number,
            price_text: product.fields.price_cents.decimal(),
            name: product.fields.name,
            description: product.fields.description,
            category: product.fields.category,
            status: state(is_sold, "Sold", "No longer sold"),
            is_sold,
            stock,
            family,
            sign,
            initial_stock: product.initial_stock,
            updated_at: product.updated_at,
            updated_by: product.updated_by,
            prices: prices.collect(),
        }
    }
}

impl ZonesPage {
    fn of(tab: &'static str, key: String, zones: Vec<CatalogZone>) -> Self {
        let rows = zones.into_iter().enumerate().map(|(place, zone)| {
            let is_served = zone.is_served();
            let name: String = form_urlencoded::byte_serialize(zone.name.as_bytes()).collect();
            ZoneRow {
                place,
                // In a path a space is %20.
                action: format!("/api/catalog/zones/{}", name.replace('+', "%20")),
                version: zone.version,
                cost_text: zone.cost_cents.decimal(),
                status: state(is_served, "Open", "Closed"),
                is_served,
                updated_by: zone.updated_by,
                updated_at: zone.updated_at,
                name: zone.name,
            }
        });
        Self {
            tab,
            key,
            zones: rows.collect(),
        }
    }
}

/// Loads and paints the list.
pub(super) async fn list(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
) -> Result<PageContent, Problem> {
    let q = location.q()?.unwrap_or_default();
    let archived = location.word("show")?.as_deref() == Some("archived");
    let page = location.number(PER_PAGE)?;
    let filter = Filter {
        q: Some(q.clone()).filter(|q| !q.is_empty()),
        category: None,
        archived,
    };
    let (found, total) = shop::list(console, &filter, page).await?;
    let show = if archived { "archived" } else { "" };
    let pages = Pages::of(page, Total::exactly(total), |number| {
        let number = number.to_string();
        lists::href(PATH, &[("q", &q), ("show", show), ("page", &number)])
    });
    let document = documents::catalog(found.iter().map(|(product, _)| product), total);
    let page = CatalogPage {
        tab: location.tab,
        key: viewer.seed.clone(),
        q,
        archived,
        products: found.iter().map(ProductRow::of).collect(),
        total,
        pages,
        zones: console.zones().await?.len(),
    };
    Ok(PageContent::new(
        "Catalog",
        console.views.render(&page)?,
        console.output(location, document)?,
    ))
}

fn below_catalog(mut content: PageContent) -> PageContent {
    content.parent = Some(Link {
        href: PATH.to_owned(),
        label: "Catalog".to_owned(),
    });
    content
}

/// Loads and paints a product.
pub(super) async fn one(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
    sku: &Sku,
) -> Result<PageContent, Problem> {
    let product = shop::one(console, sku).await?;
    let stock = storage::stock_of(&console.db, sku).await?;
    let document = documents::product(&product);
    let name = product.fields.name.clone();
    let page = ProductPage::of(location.tab, viewer.seed.clone(), product, stock);
    Ok(below_catalog(PageContent::new(
        &name,
        console.views.render(&page)?,
        console.output(location, document)?,
    )))
}

/// Loads and paints the zones.
pub(super) async fn zones(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
) -> Result<PageContent, Problem> {
    let zones = storage::every_zone(&console.db).await?;
    let document = documents::zones(&zones);
    let page = ZonesPage::of(location.tab, viewer.seed.clone(), zones);
    Ok(below_catalog(PageContent::new(
        "Zones",
        console.views.render(&page)?,
        console.output(location, document)?,
    )))
}

/// Loads and paints the page of a file.
pub(super) async fn import(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
) -> Result<PageContent, Problem> {
    let id = location.word("id")?;
    let begun = match id.as_deref().map(Digest::parse) {
        Some(Ok(id)) => shop::import_progress(&console.ingress, id).await?,
        Some(Err(_)) | None => None,
    };
    let progress = begun.map(|begun| ProgressView {
        is_over: begun.is_over(),
        written: begun.written,
        parts: begun.chunks,
        added: begun.done.added,
        changed: begun.done.changed,
        unchanged: begun.done.unchanged,
    });
    let document = documents::import(progress.as_ref().map(|it| (it.written, it.parts)));
    let page = ImportPage {
        tab: location.tab,
        key: viewer.seed.clone(),
        most: MAX_IMPORT_ROWS,
        progress,
    };
    Ok(below_catalog(PageContent::new(
        "Import",
        console.views.render(&page)?,
        console.output(location, document)?,
    )))
}

impl View for CatalogPage {
    const TEMPLATE: &'static str = "catalog.html";
}
impl View for ProductPage {
    const TEMPLATE: &'static str = "catalog_product.html";
}
impl View for ZonesPage {
    const TEMPLATE: &'static str = "zones.html";
}
impl View for ImportPage {
    const TEMPLATE: &'static str = "import.html";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Sample;
    use crate::http::pagination::Pagination;
    use crate::storage::catalog::tests::{kettles, moons};

    impl Sample for CatalogPage {
        fn samples() -> Vec<Self> {
            let of = |q: &str, archived, found: Vec<CatalogProduct>, total, zones, page| Self {
                tab: "input",
                key: "seed".into(),
                q: q.into(),
                archived,
                products: found
                    .into_iter()
                    .map(|product| ProductRow::of(&(product, 3)))
                    .collect(),
                total,
                pages: Pages::of(
                    Pagination { page, per_page: 50 },
                    Total::exactly(total),
                    |number| lists::href(PATH, &[("page", &number.to_string())]),
                ),
                zones,
            };
            let [kettle, gone] = kettles();
            vec![
                of("", false, vec![kettle.clone()], 70, 1, 1),
                of("<b>x</b>", false, vec![kettle], 1, 0, 1),
                of("<b>x</b>", false, vec![], 0, 1, 1),
                of("", true, vec![gone], 1, 1, 1),
                of("", true, vec![], 0, 1, 1),
                of("", false, vec![], 0, 0, 1),
                of("", false, vec![], 60, 1, 9),
            ]
        }
    }
    impl Sample for ProductPage {
        fn samples() -> Vec<Self> {
            kettles()
                .map(|product| Self::of("input", "seed".into(), product, 3))
                .into()
        }
    }
    impl Sample for ZonesPage {
        fn samples() -> Vec<Self> {
            let [moon, mut closed] = moons();
            closed.name = "Far & <away>".into();
            closed.archived_at = Some(Timestamp::UNIX_EPOCH);
            vec![
                Self::of("input", "seed".into(), vec![moon, closed]),
                Self::of("output", "seed".into(), vec![]),
            ]
        }
    }
    impl Sample for ImportPage {
        fn samples() -> Vec<Self> {
            let of = |progress| Self {
                tab: "input",
                key: "seed".into(),
                most: MAX_IMPORT_ROWS,
                progress,
            };
            let half = ProgressView {
                is_over: false,
                written: 1,
                parts: 2,
                added: 90,
                changed: 5,
                unchanged: 5,
            };
            let over = ProgressView {
                is_over: true,
                written: 2,
                ..half.clone()
            };
            vec![of(None), of(Some(half)), of(Some(over))]
        }
    }
}
