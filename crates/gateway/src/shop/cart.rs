//! Carts. Their truth is `UserSession`; the shop adds what the catalog knows of
//! a product. Every open page of a cart's user knows of a change before whoever
//! made it is answered.

use services::client::{Body, keyed, outcome};
use waybill_domain::basket::{AddItem, Basket, RemoveItem, UpdateItem};
use waybill_domain::idempotency::Answered;
use waybill_domain::ids::{Sku, Username};
use waybill_domain::update::Update;
use waybill_domain::words::{MAX_NAME, quoted};

use super::products;
use crate::http::idempotency::IdempotencyKey;
use crate::http::problem::Problem;
use crate::infra::Infra;
use crate::storage::catalog::ProductName;

/// The SKU of a product. One that has left the catalog can still leave the cart.
async fn in_cart(infra: &Infra, user: &Username, which: ProductName) -> Result<Sku, Problem> {
    let id = match which {
        ProductName::Sku(sku) => return Ok(sku),
        ProductName::Number(id) => id,
    };
    let basket = infra.live.basket(user).await?;
    let line = basket.items.into_iter().find(|line| line.product_id == id);
    match line {
        Some(line) => Ok(line.sku),
        None => products::sku(infra, &which).await,
    }
}

/// What an addition has come to.
#[derive(Debug)]
pub struct Added {
    /// The cart as it is now, and whether this had been done before.
    pub basket: Answered<Basket>,
    /// What the user is told.
    pub text: String,
}

/// Puts pieces into a cart, and tells its user so.
pub async fn add(
    infra: &Infra,
    user: &Username,
    which: &ProductName,
    quantity: u32,
    key: &IdempotencyKey,
) -> Result<Added, Problem> {
    let product = products::for_cart(infra, which).await?;
    let name = quoted(&product.name, MAX_NAME);
    let text = format!("Item added: {quantity} × {name}");
    let item = AddItem { product, quantity };
    let once = key.once(user, "cart.add", &(&item.product.sku, quantity))?;
    let known_by = once.as_ref().map(|once| once.key.clone());
    let asked = infra.ingress.user_session(user).add_item(Body::from(item));
    let basket = shown(infra, outcome(keyed(asked, once).call().await)?).await?;
    // Each time it is asked for: who asked first may have left before this line.
    infra
        .live
        .note(user, "item_added", &text, known_by.as_ref())
        .await;
    Ok(Added { basket, text })
}

/// Sets how many pieces of a product are in a cart.
pub async fn update(
    infra: &Infra,
    user: &Username,
    which: ProductName,
    quantity: u32,
    key: &IdempotencyKey,
) -> Result<Answered<Basket>, Problem> {
    let sku = in_cart(infra, user, which).await?;
    let item = UpdateItem { sku, quantity };
    let once = key.once(user, "cart.update", &(&item.sku, quantity))?;
    let asked = infra
        .ingress
        .user_session(user)
        .update_item(Body::from(item));
    shown(infra, outcome(keyed(asked, once).call().await)?).await
}

/// Takes a product out of a cart.
pub async fn remove(
    infra: &Infra,
    user: &Username,
    which: ProductName,
    key: &IdempotencyKey,
) -> Result<Answered<Basket>, Problem> {
    let item = RemoveItem {
        sku: in_cart(infra, user, which).await?,
    };
    let once = key.once(user, "cart.remove", &item.sku)?;
    let asked = infra
        .ingress
        .user_session(user)
        .remove_item(Body::from(item));
    shown(infra, outcome(keyed(asked, once).call().await)?).await
}

/// Empties a cart.
pub async fn clear(
    infra: &Infra,
    user: &Username,
    key: &IdempotencyKey,
) -> Result<Answered<Basket>, Problem> {
    let once = key.once(user, "cart.clear", &())?;
    let asked = infra
        .ingress
        .user_session(user)
        .clear_basket(Body::from(()));
    shown(infra, outcome(keyed(asked, once).call().await)?).await
}

/// Lets every open page of the user know.
async fn shown(infra: &Infra, changed: Answered<Basket>) -> Result<Answered<Basket>, Problem> {
    infra
        .live
        .apply(Update::Basket(changed.value.clone()))
        .await
        .map_err(Problem::internal)?;
    Ok(changed)
}
