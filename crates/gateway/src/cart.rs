//! Carts. Their truth is `UserSession`; the gateway adds what the catalog knows
//! of a product and passes every change on.

use axum::extract::FromRef;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use services::client::{Body, keyed, outcome};
use waybill_domain::basket::{AddItem, Basket, MAX_QUANTITY, RemoveItem, UpdateItem};
use waybill_domain::idempotency::Answered;
use waybill_domain::ids::Sku;
use waybill_domain::update::Update;
use waybill_domain::words::{MAX_NAME, quoted};

use crate::catalog;
use crate::documents::markdown;
use crate::http::idempotency::IdempotencyKey;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::negotiation::{RequestContext, ResponseFormat};
use crate::http::problem::Problem;
use crate::http::reply::{Markdown, Reply};
use crate::identity::caller::Caller;
use crate::infra::{Infra, Shared};
use crate::storage::catalog::Product;

/// `/api/cart`.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Shared: FromRef<S>,
{
    Router::new()
        .route("/api/cart", get(show))
        .route("/api/cart/add", post(add))
        .route("/api/cart/update", post(update))
        .route("/api/cart/remove", post(remove))
        .route("/api/cart/clear", post(clear))
}

async fn show(
    State(infra): State<Shared>,
    caller: Caller,
    asker: RequestContext,
) -> Result<Response, Problem> {
    let basket = infra.live.basket(&caller.user).await?;
    Ok(match asker.wants {
        ResponseFormat::Markdown => Markdown(markdown::cart(&basket)).into_response(),
        _ => Json(basket).into_response(),
    })
}

/// A product as callers name it: by number, or by SKU.
#[derive(Debug)]
enum Which {
    Number(i64),
    Sku(Sku),
}

impl FromFields for Which {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        if let Some(sku) = fields.word("sku", 64)? {
            return Ok(Self::Sku(Sku::parse(&sku)?));
        }
        fields
            .required_integer("product_id", 1..=i64::MAX)
            .map(Self::Number)
    }
}

impl Which {
    async fn in_catalog(&self, infra: &Infra) -> Result<Product, Problem> {
        match self {
            Self::Number(id) => catalog::known(infra, &id.to_string()).await,
            Self::Sku(sku) => crate::storage::catalog::product_of_sku(&infra.db, sku)
                .await?
                .ok_or_else(|| {
                    Problem::not_found(format!(
                        "there is no product {sku}: GET /api/products lists them"
                    ))
                    .with_field("sku")
                }),
        }
    }

    /// Its SKU. A product that has left the catalog can still leave the cart.
    async fn in_cart(self, infra: &Infra, caller: &Caller) -> Result<Sku, Problem> {
        let id = match self {
            Self::Sku(sku) => return Ok(sku),
            Self::Number(id) => id,
        };
        let basket = infra.live.basket(&caller.user).await?;
        let line = basket.items.into_iter().find(|line| line.product_id == id);
        match line {
            Some(line) => Ok(line.sku),
            None => Ok(Sku::parse(
                &catalog::known(infra, &id.to_string()).await?.sku,
            )?),
        }
    }
}

#[derive(Debug)]
struct Change {
    which: Which,
    quantity: u32,
    key: Option<IdempotencyKey>,
}

impl FromFields for Change {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let which = Which::from_fields(fields)?;
        let quantity = fields.required_integer("quantity", 1..=MAX_QUANTITY.into())?;
        Ok(Self {
            which,
            quantity: u32::try_from(quantity).unwrap_or(MAX_QUANTITY),
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

async fn add(
    State(infra): State<Shared>,
    caller: Caller,
    key: IdempotencyKey,
    Input(change): Input<Change>,
) -> Result<Reply, Problem> {
    let product = change.which.in_catalog(&infra).await?;
    let item = AddItem {
        product: product.for_cart()?,
        quantity: change.quantity,
    };
    let once = key.or(change.key).once(
        &caller.user,
        "cart.add",
        &(&item.product.sku, change.quantity),
    )?;
    let known_by = once.as_ref().map(|once| once.key.clone());
    let asked = infra
        .ingress
        .user_session(&caller.user)
        .add_item(Body(item));
    let added = outcome(keyed(asked, once).call().await)?;
    let name = quoted(&product.name, MAX_NAME);
    let text = format!("Item added: {} × {name}", change.quantity);
    let reply = changed(&infra, added, &text).await?;
    // Each time it is asked for: who asked first may have left before this line.
    infra
        .live
        .note(&caller.user, "item_added", &text, known_by.as_ref())
        .await;
    Ok(reply)
}

async fn update(
    State(infra): State<Shared>,
    caller: Caller,
    key: IdempotencyKey,
    Input(change): Input<Change>,
) -> Result<Reply, Problem> {
    let item = UpdateItem {
        sku: change.which.in_cart(&infra, &caller).await?,
        quantity: change.quantity,
    };
    let once = key
        .or(change.key)
        .once(&caller.user, "cart.update", &(&item.sku, item.quantity))?;
    let asked = infra
        .ingress
        .user_session(&caller.user)
        .update_item(Body(item));
    changed(
        &infra,
        outcome(keyed(asked, once).call().await)?,
        "Cart updated",
    )
    .await
}

#[derive(Debug)]
struct Removal {
    which: Which,
    key: Option<IdempotencyKey>,
}

impl FromFields for Removal {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            which: Which::from_fields(fields)?,
            key: IdempotencyKey::from_fields(fields)?,
        })
    }
}

async fn remove(
    State(infra): State<Shared>,
    caller: Caller,
    key: IdempotencyKey,
    Input(removal): Input<Removal>,
) -> Result<Reply, Problem> {
    let item = RemoveItem {
        sku: removal.which.in_cart(&infra, &caller).await?,
    };
    let once = key
        .or(removal.key)
        .once(&caller.user, "cart.remove", &item.sku)?;
    let asked = infra
        .ingress
        .user_session(&caller.user)
        .remove_item(Body(item));
    changed(
        &infra,
        outcome(keyed(asked, once).call().await)?,
        "Item removed",
    )
    .await
}

#[derive(Debug)]
struct Clearing(Option<IdempotencyKey>);

impl FromFields for Clearing {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        IdempotencyKey::from_fields(fields).map(Self)
    }
}

async fn clear(
    State(infra): State<Shared>,
    caller: Caller,
    key: IdempotencyKey,
    Input(Clearing(in_form)): Input<Clearing>,
) -> Result<Reply, Problem> {
    let once = key.or(in_form).once(&caller.user, "cart.clear", &())?;
    let asked = infra.ingress.user_session(&caller.user).clear_basket();
    changed(
        &infra,
        outcome(keyed(asked, once).call().await)?,
        "Cart emptied",
    )
    .await
}

/// Lets every open page of the user know before the answer goes out, which says
/// so when it had been done before.
async fn changed(
    infra: &Infra,
    Answered { value, again }: Answered<Basket>,
    text: &str,
) -> Result<Reply, Problem> {
    infra
        .live
        .apply(Update::Basket(value.clone()))
        .await
        .map_err(Problem::internal)?;
    Ok(Reply::new(StatusCode::OK, &value)?.saying_once(text, again))
}
