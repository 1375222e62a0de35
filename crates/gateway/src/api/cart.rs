//! `/api/cart`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use waybill_domain::basket::{Basket, MAX_QUANTITY};
use waybill_domain::idempotency::Answered;
use waybill_domain::ids::Sku;

use crate::documents::markdown;
use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::negotiation::{RequestContext, ResponseFormat};
use crate::http::problem::Problem;
use crate::http::reply::{Markdown, Reply};
use crate::identity::caller::Caller;
use crate::infra::Shared;
use crate::shop::cart;
use crate::storage::catalog::ProductName;

/// The caller's cart
#[utoipa::path(
    get,
    path = "/api/cart",
    responses(
        (status = 200, description = "Basket", body = Basket),
    ),
)]
pub(super) async fn show(
    State(infra): State<Shared>,
    caller: Caller,
    context: RequestContext,
) -> Result<Response, Problem> {
    let basket = infra.live.basket(&caller.user).await?;
    Ok(match context.wants {
        ResponseFormat::Markdown => Markdown(markdown::cart(&basket)).into_response(),
        _ => Json(basket).into_response(),
    })
}

impl FromFields for ProductName {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        // A number that is none is refused also beside a SKU.
        let number = fields.integer("product_id", 1..=i64::MAX)?;
        match (fields.word("sku", 64)?, number) {
            (Some(sku), _) => Ok(Self::Sku(Sku::parse(&sku)?)),
            (None, Some(number)) => Ok(Self::Number(number)),
            (None, None) => Err(Problem::invalid(
                "product_id",
                "product_id is missing: send it, or a sku, in the body",
            )),
        }
    }
}

#[derive(Debug)]
pub(super) struct Change {
    which: ProductName,
    quantity: u32,
    key: Option<IdempotencyKey>,
}

impl FromFields for Change {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let which = ProductName::from_fields(fields)?;
        let quantity = fields.required_integer("quantity", 1..=MAX_QUANTITY.into())?;
        Ok(Self {
            which,
            quantity: u32::try_from(quantity).unwrap_or(MAX_QUANTITY),
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Puts pieces of a product into the cart
#[utoipa::path(
    post,
    path = "/api/cart/add",
    request_body(content = inline(body::Change)),
    responses(
        (status = 200, description = "Basket", body = Basket),
        (status = 404, description = "No such product"),
        (status = 409, description = "It is no longer sold"),
    ),
)]
pub(super) async fn add(
    State(infra): State<Shared>,
    caller: Caller,
    key: IdempotencyKey,
    Input(change): Input<Change>,
) -> Result<Reply, Problem> {
    let Change {
        which,
        quantity,
        key: in_form,
    } = change;
    let added = cart::add(&infra, &caller.user, &which, quantity, &key.or(in_form)).await?;
    reply(&added.basket, &added.text)
}

/// Sets how many pieces of a product are in the cart
#[utoipa::path(
    post,
    path = "/api/cart/update",
    request_body(content = inline(body::Change)),
    responses(
        (status = 200, description = "Basket", body = Basket),
        (status = 404, description = "It is not in the cart"),
    ),
)]
pub(super) async fn update(
    State(infra): State<Shared>,
    caller: Caller,
    key: IdempotencyKey,
    Input(change): Input<Change>,
) -> Result<Reply, Problem> {
    let Change {
        which,
        quantity,
        key: in_form,
    } = change;
    let updated = cart::update(&infra, &caller.user, which, quantity, &key.or(in_form)).await?;
    reply(&updated, "Cart updated")
}

#[derive(Debug)]
pub(super) struct Removal {
    which: ProductName,
    key: Option<IdempotencyKey>,
}

impl FromFields for Removal {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            which: ProductName::from_fields(fields)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

/// Takes a product out of the cart
#[utoipa::path(
    post,
    path = "/api/cart/remove",
    request_body(content = inline(body::Removal)),
    responses(
        (status = 200, description = "Basket", body = Basket),
        (status = 404, description = "No such product"),
    ),
)]
pub(super) async fn remove(
    State(infra): State<Shared>,
    caller: Caller,
    key: IdempotencyKey,
    Input(removal): Input<Removal>,
) -> Result<Reply, Problem> {
    let key = key.or(removal.key);
    let left = cart::remove(&infra, &caller.user, removal.which, &key).await?;
    reply(&left, "Item removed")
}

#[derive(Debug)]
pub(super) struct Clearing(Option<IdempotencyKey>);

impl FromFields for Clearing {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        IdempotencyKey::from_fields(fields).map(Self)
    }
}

/// Empties the cart
#[utoipa::path(
    post,
    path = "/api/cart/clear",
    responses(
        (status = 200, description = "Basket", body = Basket),
    ),
)]
pub(super) async fn clear(
    State(infra): State<Shared>,
    caller: Caller,
    key: IdempotencyKey,
    Input(Clearing(in_form)): Input<Clearing>,
) -> Result<Reply, Problem> {
    let emptied = cart::clear(&infra, &caller.user, &key.or(in_form)).await?;
    reply(&emptied, "Cart emptied")
}

fn reply(basket: &Answered<Basket>, text: &str) -> Result<Reply, Problem> {
    Ok(Reply::new(StatusCode::OK, &basket.value)?.saying_once(text, basket.again))
}

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;

    #[derive(ToSchema)]
    pub(super) struct Change {
        /// The catalog's number.
        #[schema(minimum = 1)]
        product_id: Option<i64>,
        /// Instead of `product_id`.
        #[schema(pattern = r"^\s*[A-Za-z0-9_-]{1,64}\s*$")]
        sku: Option<String>,
        /// 1 to 999.
        #[schema(minimum = 1, maximum = 999)]
        quantity: i64,
    }

    #[derive(ToSchema)]
    pub(super) struct Removal {
        /// The catalog's number.
        #[schema(minimum = 1)]
        product_id: Option<i64>,
        /// Instead of `product_id`.
        #[schema(pattern = r"^\s*[A-Za-z0-9_-]{1,64}\s*$")]
        sku: Option<String>,
    }
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_product_name: ProductName, fuzz_change: Change, fuzz_removal: Removal, fuzz_clearing: Clearing);
