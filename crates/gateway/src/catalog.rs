//! Products and shipping zones: SQLite only.
//!
//! | module | is |
//! | --- | --- |
//! | [`queries`] | products and zones in SQLite |
//! | [`stock`] | tells Inventory what the catalog begins with |

pub mod queries;
pub mod stock;

use axum::Router;

use crate::app::Shared;

/// `/api/products`.
pub fn router() -> Router<Shared> {
    Router::new()
}
