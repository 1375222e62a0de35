//! The HTTP API. A handler takes out what a request says, asks `shop`, and puts
//! what that answers into a reply. What is only read and shown as it stands is
//! asked where it is: lists of `storage`, an order's journal of `restate`, a cart
//! of `live`.
//!
//! | module | is |
//! | --- | --- |
//! | [`products`] | products and shipping zones, as everybody sees them |
//! | [`catalog`] | what is sold and where it is shipped, as admins change it |
//! | [`restock`] | more pieces on the shelf |
//! | [`cart`] | carts |
//! | [`checkout`] | the cart becomes an order |
//! | [`orders`] | lists and single orders |
//! | [`cancel`], [`approvals`] | what is decided about an order |
//! | [`returns`] | what happens after delivery |
//! | [`audit`] | who has done what that matters |
//! | [`webhook`] | what the payment provider says |
//! | [`notifications`] | what people are told |
//! | [`dashboard`] | the shop at a glance |
//! | [`account`] | one's own account, and passwords by a link |
//! | [`factor`] | one's own second factor |
//! | [`people`] | the people of the shop, for admins |
//! | [`login`] | signing in and out |
//! | [`ops`], [`openapi`] | health, metrics, and the description of all this |

pub mod account;
pub mod approvals;
pub mod audit;
pub mod cancel;
pub mod cart;
pub mod catalog;
pub mod checkout;
pub mod dashboard;
pub mod factor;
#[cfg(test)]
mod fuzz;
pub mod login;
pub mod notifications;
pub mod openapi;
pub mod ops;
pub mod orders;
pub mod people;
pub mod products;
pub mod restock;
pub mod returns;
pub mod webhook;

use std::sync::Arc;

use axum::extract::FromRef;
use utoipa_axum::routes;

use crate::authority::{Allow, Routes};
use crate::infra::Shared;
use crate::shop::dashboard::Latest;
use crate::shop::payment_wait::PaymentPages;
use crate::shop::stock::Announcement;

/// Every endpoint, with its description and who may call it.
pub fn router<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    Shared: FromRef<S>,
    Arc<PaymentPages>: FromRef<S>,
    Arc<Latest>: FromRef<S>,
    Arc<Announcement>: FromRef<S>,
{
    Routes::new()
        .routes(Allow::Anybody, routes!(products::list))
        .routes(Allow::Anybody, routes!(products::one))
        .routes(Allow::Admin, routes!(restock::restock))
        .routes(Allow::Anybody, routes!(products::zones))
        .routes(Allow::Customer, routes!(cart::show))
        .routes(Allow::Customer, routes!(cart::add))
        .routes(Allow::Customer, routes!(cart::update))
        .routes(Allow::Customer, routes!(cart::remove))
        .routes(Allow::Customer, routes!(cart::clear))
        .routes(Allow::Customer, routes!(checkout::checkout))
        .routes(Allow::Customer, routes!(orders::list))
        .routes(Allow::Customer, routes!(orders::file))
        .routes(Allow::OwnerOrStaff, routes!(orders::one))
        .routes(Allow::OwnerOrStaff, routes!(orders::journal))
        .routes(Allow::OwnerOrAdmin, routes!(cancel::cancel))
        .routes(Allow::Staff, routes!(approvals::list))
        .routes(Allow::Decider, routes!(approvals::decide))
        .routes(Allow::OwnerOrAdmin, routes!(returns::ask))
        .routes(Allow::Decider, routes!(returns::decide))
        .routes(Allow::OwnerOrAdmin, routes!(returns::withdraw))
        .routes(Allow::Decider, routes!(returns::receive))
        .routes(Allow::Admin, routes!(returns::refund))
        .routes(Allow::Staff, routes!(returns::list))
        .routes(Allow::Provider, routes!(webhook::callback))
        .routes(Allow::Customer, routes!(notifications::list))
        .routes(Allow::Customer, routes!(notifications::mark_read))
        .routes(Allow::Staff, routes!(dashboard::show))
        .routes(Allow::Admin, routes!(audit::list))
        .routes(Allow::Anybody, routes!(login::login))
        .routes(Allow::Anybody, routes!(login::with_code))
        .routes(Allow::Anybody, routes!(login::logout))
        .routes(Allow::Customer, routes!(account::show))
        .routes(Allow::Customer, routes!(account::set_password))
        .routes(Allow::Customer, routes!(account::sign_out))
        .routes(Allow::Customer, routes!(account::add_token))
        .routes(Allow::Customer, routes!(account::revoke_token))
        .routes(Allow::Anybody, routes!(account::redeem))
        .routes(Allow::SettingUp, routes!(factor::begin))
        .routes(Allow::SettingUp, routes!(factor::set_up))
        .routes(Allow::Customer, routes!(factor::renew_recovery))
        .routes(Allow::Customer, routes!(factor::switch_off))
        .routes(Allow::Admin, routes!(people::list))
        .routes(Allow::Admin, routes!(people::create))
        .routes(Allow::Admin, routes!(people::one))
        .routes(Allow::Admin, routes!(people::set_role))
        .routes(Allow::Admin, routes!(people::disable))
        .routes(Allow::Admin, routes!(people::enable))
        .routes(Allow::Admin, routes!(people::link))
        .routes(Allow::Admin, routes!(people::sign_out))
        .routes(Allow::Admin, routes!(people::reset_factor))
        .routes(Allow::Admin, routes!(people::revoke_token))
        .routes(Allow::Admin, routes!(catalog::list))
        .routes(Allow::Admin, routes!(catalog::create))
        .routes(Allow::Admin, routes!(catalog::one))
        .routes(Allow::Admin, routes!(catalog::edit))
        .routes(Allow::Admin, routes!(catalog::archive))
        .routes(Allow::Admin, routes!(catalog::restore))
        .routes(Allow::Admin, routes!(catalog::zones::list))
        .routes(Allow::Admin, routes!(catalog::zones::create))
        .routes(Allow::Admin, routes!(catalog::zones::edit))
        .routes(Allow::Admin, routes!(catalog::zones::archive))
        .routes(Allow::Admin, routes!(catalog::zones::restore))
        .routes(Allow::Admin, routes!(catalog::files::import))
        .routes(Allow::Admin, routes!(catalog::files::progress))
        .routes(Allow::Admin, routes!(catalog::files::export))
        .routes(Allow::Anybody, routes!(ops::healthz))
        .routes(Allow::Anybody, routes!(ops::ready))
        .routes(Allow::Operator, routes!(ops::metrics))
        .routes(Allow::Anybody, routes!(openapi::show))
}
