//! The world endpoints.

use axum::Router;

use crate::app::Shared;

/// Its endpoints.
pub fn router() -> Router<Shared> {
    Router::new()
}
