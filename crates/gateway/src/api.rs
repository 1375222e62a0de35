//! The HTTP API. A handler takes out what a request says, asks `shop`, and puts
//! what that answers into a reply. What is only read and shown as it stands is
//! asked where it is: lists of `storage`, an order's journal of `restate`, a cart
//! of `live`.
//!
//! | module | is |
//! | --- | --- |
//! | [`catalog`] | products and shipping zones |
//! | [`restock`] | more pieces on the shelf |
//! | [`cart`] | carts |
//! | [`checkout`] | the cart becomes an order |
//! | [`orders`] | lists and single orders |
//! | [`cancel`], [`approvals`] | what is decided about an order |
//! | [`webhook`] | what the payment provider says |
//! | [`notifications`] | what people are told |
//! | [`dashboard`] | the shop at a glance |
//! | [`login`] | signing in and out |
//! | [`ops`], [`openapi`] | health, metrics, and the description of all this |

pub mod approvals;
pub mod cancel;
pub mod cart;
pub mod catalog;
pub mod checkout;
pub mod dashboard;
#[cfg(test)]
mod fuzz;
pub mod login;
pub mod notifications;
pub mod openapi;
pub mod ops;
pub mod orders;
pub mod restock;
pub mod webhook;

use std::sync::Arc;

use axum::extract::FromRef;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::infra::Shared;
use crate::shop::dashboard::Latest;
use crate::shop::payment_wait::PaymentPages;
use crate::shop::stock::Announcement;

/// Every endpoint, with its description.
pub fn router<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Shared: FromRef<S>,
    Arc<PaymentPages>: FromRef<S>,
    Arc<Latest>: FromRef<S>,
    Arc<Announcement>: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(catalog::list))
        .routes(routes!(catalog::one))
        .routes(routes!(restock::restock))
        .routes(routes!(catalog::zones))
        .routes(routes!(cart::show))
        .routes(routes!(cart::add))
        .routes(routes!(cart::update))
        .routes(routes!(cart::remove))
        .routes(routes!(cart::clear))
        .routes(routes!(checkout::checkout))
        .routes(routes!(orders::list))
        .routes(routes!(orders::one))
        .routes(routes!(orders::journal))
        .routes(routes!(cancel::cancel))
        .routes(routes!(approvals::list))
        .routes(routes!(approvals::decide))
        .routes(routes!(webhook::callback))
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::mark_read))
        .routes(routes!(dashboard::show))
        .routes(routes!(login::login))
        .routes(routes!(login::logout))
        .routes(routes!(ops::healthz))
        .routes(routes!(ops::ready))
        .routes(routes!(ops::metrics))
        .routes(routes!(openapi::show))
}
