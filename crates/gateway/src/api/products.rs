//! `GET /api/products`, `/api/products/{id}`, `/api/zones`.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::input::{Fields, FromFields, InQuery};
use crate::http::negotiation::{RequestContext, ResponseFormat};
use crate::http::pagination::{PageParams, Pagination};
use crate::http::problem::Problem;
use crate::http::reply::Markdown;
use crate::infra::Shared;
use crate::shop::products;
use crate::storage::catalog::{Filter, Product, Zone};

/// Products on a page of the API.
const PER_PAGE: u32 = 50;
/// Longest search.
const MAX_QUERY: usize = 100;

/// Which products are wanted.
#[derive(Debug)]
pub(super) struct ProductQuery {
    /// Which of them.
    filter: Filter,
    /// Which part of those.
    page: Pagination,
}

impl FromFields for ProductQuery {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            filter: Filter {
                q: fields.text("q", MAX_QUERY)?,
                category: fields.text("category", MAX_QUERY)?,
                archived: false,
            },
            page: Pagination::from_fields(fields, PER_PAGE)?,
        })
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Products)]
struct Listing<'a> {
    products: &'a [Product],
    total: i64,
    #[serde(flatten)]
    page: Pagination,
}

/// The catalog, with the stock of now; `Accept: text/markdown` gives a table
#[utoipa::path(
    get,
    path = "/api/products",
    params(
        ("q" = Option<String>, Query, pattern = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$", max_length = 100, description = "Words in name, description or SKU."),
        ("category" = Option<String>, Query, pattern = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$", max_length = 100, description = "Only this category."),
        PageParams,
    ),
    responses(
        (status = 200, description = "Products", body = Listing),
    ),
)]
pub(super) async fn list(
    State(infra): State<Shared>,
    context: RequestContext,
    InQuery(ProductQuery { filter, page }): InQuery<ProductQuery>,
) -> Result<Response, Problem> {
    let found = infra.products(filter, page).await?;
    let (products, total) = (&found.0, found.1);
    Ok(match context.wants {
        ResponseFormat::Markdown => Markdown(products::document(products, total)).into_response(),
        _ => Json(Listing {
            products,
            total,
            page,
        })
        .into_response(),
    })
}

/// One product
#[utoipa::path(
    get,
    path = "/api/products/{id}",
    responses(
        (status = 200, description = "Product", body = Product),
        (status = 404, description = "No such product"),
    ),
)]
pub(super) async fn one(
    State(infra): State<Shared>,
    context: RequestContext,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let product = products::numbered(&infra, &id).await?;
    Ok(match context.wants {
        ResponseFormat::Markdown => Markdown(products::document(&[product], 1)).into_response(),
        _ => Json(product).into_response(),
    })
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Zones {
    zones: Vec<Zone>,
}

/// Where orders can be shipped, and for how much
#[utoipa::path(
    get,
    path = "/api/zones",
    responses(
        (status = 200, description = "Zones", body = Zones),
    ),
)]
pub(super) async fn zones(State(infra): State<Shared>) -> Result<Json<Zones>, Problem> {
    let zones = infra.zones().await?.to_vec();
    Ok(Json(Zones { zones }))
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_product_query: ProductQuery);
