//! `GET /api/products`, `/api/products/{id}`, `/api/zones`.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::input::{Fields, FromFields, InQuery};
use crate::http::negotiation::{RequestContext, ResponseFormat};
use crate::http::pagination::Pagination;
use crate::http::problem::Problem;
use crate::http::reply::Markdown;
use crate::infra::Shared;
use crate::shop::catalog;
use crate::storage::catalog::{self as storage, Filter, Product, Zone};

/// Products on a page of the API.
const PER_PAGE: u32 = 50;
/// Longest search.
const MAX_QUERY: usize = 100;

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

pub(super) async fn list(
    State(infra): State<Shared>,
    asker: RequestContext,
    InQuery(ProductQuery { filter, page }): InQuery<ProductQuery>,
) -> Result<Response, Problem> {
    let (products, total) = storage::products(&infra.db, &filter, page).await?;
    Ok(match asker.wants {
        ResponseFormat::Markdown => Markdown(catalog::document(&products, total)).into_response(),
        _ => Json(Listing {
            products,
            total,
            page,
        })
        .into_response(),
    })
}

pub(super) async fn one(
    State(infra): State<Shared>,
    asker: RequestContext,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let product = catalog::numbered(&infra, &id).await?;
    Ok(match asker.wants {
        ResponseFormat::Markdown => Markdown(catalog::document(&[product], 1)).into_response(),
        _ => Json(product).into_response(),
    })
}

#[derive(Debug, Serialize)]
pub(super) struct Zones {
    zones: Vec<Zone>,
}

pub(super) async fn zones(State(infra): State<Shared>) -> Result<Json<Zones>, Problem> {
    let zones = storage::zones(&infra.db).await?;
    Ok(Json(Zones { zones }))
}
