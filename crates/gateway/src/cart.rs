//! Carts.

use axum::Router;

use crate::app::Shared;

/// `/api/cart`.
pub fn router() -> Router<Shared> {
    Router::new()
}
