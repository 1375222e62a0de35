//! Products and shipping zones, read from SQLite. Stock is `Inventory`'s to
//! change.
//!
//! | module | is |
//! | --- | --- |
//! | [`stock`] | tells Inventory what the catalog begins with |

pub mod stock;

use axum::extract::FromRef;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use waybill_domain::money::Cents;

use crate::documents::markdown;
use crate::http::input::{Fields, FromFields, InQuery};
use crate::http::negotiation::{RequestContext, ResponseFormat};
use crate::http::pagination::Pagination;
use crate::http::problem::Problem;
use crate::http::reply::Markdown;
use crate::infra::{Infra, Shared};
use crate::storage::catalog::{self as queries, Filter, Product};
use waybill_domain::words::{MAX_NAME, quoted};

/// Products on a page of the API.
const PER_PAGE: u32 = 50;
/// Longest search.
const MAX_QUERY: usize = 100;
/// Up to here stock is low.
pub const LOW_STOCK: i64 = 10;

/// `/api/products`.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Shared: FromRef<S>,
{
    Router::new()
        .route("/api/products", get(list))
        .route("/api/products/{id}", get(one))
        .route("/api/zones", get(zones))
}

/// Which products are wanted.
#[derive(Debug)]
pub struct ProductQuery {
    /// Which of them.
    pub filter: Filter,
    /// Which part of those.
    pub page: Pagination,
}

impl FromFields for ProductQuery {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            filter: Filter {
                q: fields.text("q", MAX_QUERY)?,
                category: fields.text("category", MAX_QUERY)?,
            },
            page: Pagination::from_fields(fields, PER_PAGE)?,
        })
    }
}

#[derive(Debug, Serialize)]
struct Listing {
    products: Vec<Product>,
    total: i64,
    #[serde(flatten)]
    page: Pagination,
}

async fn list(
    State(infra): State<Shared>,
    asker: RequestContext,
    InQuery(ProductQuery { filter, page }): InQuery<ProductQuery>,
) -> Result<Response, Problem> {
    let (products, total) = queries::products(&infra.db, &filter, page).await?;
    Ok(match asker.wants {
        ResponseFormat::Markdown => Markdown(document(&products, total)).into_response(),
        _ => Json(Listing {
            products,
            total,
            page,
        })
        .into_response(),
    })
}

/// The product list as a Markdown document.
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

async fn one(
    State(infra): State<Shared>,
    asker: RequestContext,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let product = known(&infra, &id).await?;
    Ok(match asker.wants {
        ResponseFormat::Markdown => Markdown(document(&[product], 1)).into_response(),
        _ => Json(product).into_response(),
    })
}

/// The product of that number, or why there is none.
pub async fn known(infra: &Infra, id: &str) -> Result<Product, Problem> {
    let found = match id.parse() {
        Ok(id) => queries::product(&infra.db, id).await?,
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

#[derive(Debug, Serialize)]
struct Zones {
    zones: Vec<queries::Zone>,
}

async fn zones(State(infra): State<Shared>) -> Result<Json<Zones>, Problem> {
    let zones = queries::zones(&infra.db).await?;
    Ok(Json(Zones { zones }))
}
