//! The HTTP API. A handler takes out what a request says, asks `shop`, and puts
//! what that answers into a reply.
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
pub mod login;
pub mod notifications;
pub mod openapi;
pub mod ops;
pub mod orders;
pub mod restock;
pub mod webhook;

use std::sync::Arc;

use axum::extract::FromRef;
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::infra::Shared;
use crate::shop::dashboard::Latest;
use crate::shop::payment_wait::PaymentPages;
use crate::shop::stock::Announcement;

/// Every endpoint.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Shared: FromRef<S>,
    Arc<PaymentPages>: FromRef<S>,
    Arc<Latest>: FromRef<S>,
    Arc<Announcement>: FromRef<S>,
{
    Router::new()
        .route("/api/products", get(catalog::list))
        .route("/api/products/{id}", get(catalog::one))
        .route("/api/products/{id}/restock", post(restock::restock))
        .route("/api/zones", get(catalog::zones))
        .route("/api/cart", get(cart::show))
        .route("/api/cart/add", post(cart::add))
        .route("/api/cart/update", post(cart::update))
        .route("/api/cart/remove", post(cart::remove))
        .route("/api/cart/clear", post(cart::clear))
        .route("/api/checkout", post(checkout::checkout))
        .route("/api/orders", get(orders::list))
        .route("/api/orders/{id}", get(orders::one))
        .route("/api/orders/{id}/journal", get(orders::journal))
        .route("/api/orders/{id}/cancel", post(cancel::cancel))
        .route("/api/approvals", get(approvals::list))
        .route("/api/workflow/{id}/approve", post(approvals::decide))
        .route("/api/payment/callback", post(webhook::callback))
        .route("/api/notifications", get(notifications::list))
        .route("/api/notifications/read", post(notifications::mark_read))
        .route("/api/dashboard", get(dashboard::show))
        .route("/login", post(login::login))
        .route("/logout", post(login::logout))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ops::ready))
        .route("/metrics", get(ops::metrics))
        .route("/openapi.json", get(async || Json(openapi::document())))
}
