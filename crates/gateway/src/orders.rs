//! Checkout, orders, cancellation.

use axum::Router;

use crate::app::Shared;

/// `/api/orders`.
pub fn router() -> Router<Shared> {
    Router::new()
}
