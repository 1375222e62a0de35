//! `POST /api/products/{id}/restock`: more pieces on the shelf.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use services::client::{Body, keyed, outcome};
use waybill_domain::idempotency::Answered;
use waybill_domain::ids::Sku;
use waybill_domain::stock::{MAX_RESTOCK, Restock, StockLevel};
use waybill_domain::update::Update;

use crate::auth::Admin;
use crate::catalog;
use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::infra::Shared;

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

pub(super) async fn restock(
    State(infra): State<Shared>,
    Admin(admin): Admin,
    key: IdempotencyKey,
    Path(id): Path<String>,
    Input(request): Input<Request>,
) -> Result<Reply, Problem> {
    let product = catalog::known(&infra, &id).await?;
    let sku = Sku::parse(&product.sku)?;
    catalog::stock::tell_of(&infra, &[&sku]).await?;
    let operation = format!("restock.{sku}");
    let once = key
        .or(request.key)
        .once(&admin.user, &operation, &request.quantity)?;
    let asked = infra.ingress.inventory(&sku).restock(Body(Restock {
        quantity: request.quantity,
    }));
    let called: Answered<StockLevel> = outcome(keyed(asked, once).call().await)?;
    let level = called.value;
    infra
        .live
        .apply(Update::Stock(level.clone()))
        .await
        .map_err(Problem::internal)?;
    let said = format!(
        "{} more of {}: {} in stock",
        request.quantity, product.name, level.available
    );
    Ok(Reply::new(StatusCode::OK, &level)?.saying_once(&said, called.again))
}
