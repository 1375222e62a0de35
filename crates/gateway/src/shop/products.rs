//! Products, as people name them.

use waybill_domain::basket;
use waybill_domain::ids::Sku;
use waybill_domain::money::Cents;
use waybill_domain::refusal::{GoneProduct, Refusal};
use waybill_domain::words::{MAX_NAME, quoted};

use crate::documents::markdown;
use crate::http::problem::Problem;
use crate::infra::Infra;
use crate::storage::catalog::{self as storage, Product, ProductName};

/// Up to here stock is low.
pub const LOW_STOCK: i64 = 10;

/// The product of that number with the stock of now, or why there is none.
pub async fn numbered(infra: &Infra, id: &str) -> Result<Product, Problem> {
    let Ok(number) = id.parse() else {
        return Err(no_such_product(&quoted(id, MAX_NAME), "product_id"));
    };
    match storage::product(&infra.db, number).await? {
        Some(product) => Ok(product),
        None => Err(none(infra, &ProductName::Number(number)).await?),
    }
}

/// The product of that name as a cart holds it, or why there is none.
pub async fn for_cart(infra: &Infra, name: &ProductName) -> Result<basket::Product, Problem> {
    match infra.product(name).await? {
        Some(product) => Ok(product),
        None => Err(none(infra, name).await?),
    }
}

/// The SKU of a product that is sold, or was once.
pub async fn sku(infra: &Infra, name: &ProductName) -> Result<Sku, Problem> {
    if let Some(product) = infra.product(name).await? {
        return Ok(product.sku);
    }
    match storage::gone(&infra.db, name).await? {
        Some((sku, _)) => Ok(Sku::parse(&sku)?),
        None => Err(none(infra, name).await?),
    }
}

/// Why there is none: never, or no longer.
async fn none(infra: &Infra, name: &ProductName) -> Result<Problem, Problem> {
    if let Some((sku, name)) = storage::gone(&infra.db, name).await? {
        let sku = Sku::parse(&sku)?;
        let named = quoted(&name, MAX_NAME);
        let problem = Problem::from(Refusal::NotSold {
            products: vec![GoneProduct { sku, name }],
        });
        return Ok(
            problem.with_detail(format!("{named} is no longer sold: choose another product"))
        );
    }
    Ok(match name {
        ProductName::Number(id) => no_such_product(&id.to_string(), "product_id"),
        ProductName::Sku(sku) => no_such_product(sku.as_str(), "sku"),
    })
}

fn no_such_product(name: &str, field: &'static str) -> Problem {
    Problem::not_found(format!(
        "there is no product {name}: GET /api/products lists them"
    ))
    .with_field(field)
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
