//! The payment provider's webhook.

use axum::Router;

use crate::app::Shared;

/// `/api/payment`.
pub fn router() -> Router<Shared> {
    Router::new()
}
