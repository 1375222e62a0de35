//! Products, as people name them.

use waybill_domain::ids::Sku;
use waybill_domain::money::Cents;
use waybill_domain::words::{MAX_NAME, quoted};

use crate::documents::markdown;
use crate::http::problem::Problem;
use crate::infra::Infra;
use crate::storage::catalog::{self as storage, Product};

/// Up to here stock is low.
pub const LOW_STOCK: i64 = 10;

/// The product of that number, or why there is none.
pub async fn numbered(infra: &Infra, id: &str) -> Result<Product, Problem> {
    let found = match id.parse() {
        Ok(id) => storage::product(&infra.db, id).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| {
        Problem::not_found(format!(
            "there is no product {}: GET /api/products lists them",
            quoted(id, MAX_NAME)
        ))
        .with_field("product_id")
    })
}

/// The product of that SKU, or why there is none.
pub async fn of_sku(infra: &Infra, sku: &Sku) -> Result<Product, Problem> {
    storage::product_of_sku(&infra.db, sku)
        .await?
        .ok_or_else(|| {
            Problem::not_found(format!(
                "there is no product {sku}: GET /api/products lists them"
            ))
            .with_field("sku")
        })
}

/// A list of products as a Markdown document. `total`: of how many.
pub fn document(products: &[Product], total: i64) -> String {
    let rows: Vec<_> = products
        .iter()
        .map(|product| markdown::ProductRow {
            sku: &product.sku,
            name: &product.name,
            price: Cents(product.price_cents),
            stock: product.stock_qty,
        })
        .collect();
    markdown::products(&rows, total)
}
