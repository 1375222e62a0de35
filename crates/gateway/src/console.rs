//! Pages, fragments, streams.
//!
//! | module | holds |
//! | --- | --- |
//! | [`views`] | templates, and what every page has at hand |
//! | [`pages`] | the handlers |
//! | [`location`] | where a browser is |
//! | [`page`] | what a page is made for, and what its content gives |
//! | `load` | reads what several pages show |
//! | [`paint`] | loads what a page shows and paints its regions |
//! | [`streams`] | the same regions, kept right |
//! | [`present`] | answers in the form that their asker reads |
//! | [`shell`] | what stands around the content of every page |
//! | [`dashboard`], [`products`], [`catalog`], [`cart`], [`orders`], [`order`], [`admin`], [`people`], [`account`], [`audit`], [`journal`] | the contents |
//! | [`paper`] | invoices and packing slips, to be printed |
//! | [`demo`] | the demo's part of the admin's page |
//! | [`oidc`] | the way to an identity provider and back |
//! | [`responses`] | toasts, error pages, the login page |
//! | [`status_style`], [`lists`] | what several of them tell the same way |
//! | [`assets`], [`environment`] | files and templates |
//!
//! Every template has one typed context ([`View`]) with samples, which a test
//! renders in strict mode. Templates never compute money.

pub mod account;
pub mod admin;
pub mod after_delivery;
pub mod assets;
pub mod audit;
pub mod cart;
pub mod catalog;
pub mod dashboard;
pub mod demo;
mod environment;
pub mod factor;
#[cfg(test)]
mod fuzz;
pub mod journal;
pub mod lists;
mod load;
pub mod location;
mod oidc;
pub mod order;
pub mod orders;
pub mod page;
mod pages;
pub mod paint;
mod painted;
pub mod paper;
pub mod people;
pub mod present;
pub mod products;
pub mod responses;
#[cfg(test)]
pub(crate) mod samples;
pub mod shell;
pub mod status_style;
pub mod streams;
pub mod views;

use std::sync::Arc;

use axum::extract::FromRef;

use crate::authority::{Allow, Routes};
use crate::infra::Shared;

#[cfg(test)]
pub(crate) use self::views::Sample;
pub use self::views::{Console, View, Views};

/// Every stream, with its description, every page and static file.
pub fn router<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Console>: FromRef<S>,
    Shared: FromRef<S>,
{
    streams::router()
        .merge(pages::router())
        .page(Allow::Anybody, "/static/{*path}", assets::serve)
        .page(Allow::Anybody, "/favicon.ico", assets::favicon)
}
