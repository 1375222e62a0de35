//! `POST /api/products/{id}/restock`: more pieces on the shelf.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use waybill_domain::stock::{MAX_RESTOCK, StockLevel};

use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::origin::RequestOrigin;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::identity::caller::Caller;
use crate::infra::Shared;
use crate::shop::{products, stock};

pub(super) struct Request {
    quantity: u32,
    key: Option<IdempotencyKey>,
}

impl FromFields for Request {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let quantity = fields.required_integer("quantity", 1..=i64::from(MAX_RESTOCK))?;
        Ok(Self {
            quantity: u32::try_from(quantity).map_err(Problem::internal)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Adds pieces to the stock of a product
///
/// Stock is Inventory's to change: the answer is what it has now.
#[utoipa::path(
    post,
    path = "/api/products/{id}/restock",
    request_body(content = inline(body::Restock)),
    responses(
        (status = 200, description = "StockLevel", body = StockLevel),
        (status = 404, description = "No such product"),
    ),
)]
pub(super) async fn restock(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    key: IdempotencyKey,
    Path(id): Path<String>,
    Input(request): Input<Request>,
) -> Result<Reply, Problem> {
    let product = products::numbered(&infra, &id).await?;
    let Request {
        quantity,
        key: in_form,
    } = request;
    let by = origin.by(&caller.user);
    let restocked = stock::restock(
        &infra,
        &caller.user,
        by,
        &product,
        quantity,
        &key.or(in_form),
    )
    .await?;
    let level = restocked.value;
    let said = format!(
        "{quantity} more of {}: {} in stock",
        product.name, level.available
    );
    Ok(Reply::new(StatusCode::OK, &level)?.saying_once(&said, restocked.again))
}

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;

    #[derive(ToSchema)]
    pub(super) struct Restock {
        /// 1 to 1,000,000.
        #[schema(minimum = 1, maximum = 1_000_000)]
        quantity: i64,
    }
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_restock: Request);
