//! Waybill's web side: pages, JSON API, live streams, the payment webhook and
//! the SQLite read model. The only process that opens SQLite.
//!
//! | module | holds |
//! | --- | --- |
//! | [`settings`] | every setting, from the environment or the command line |
//! | [`app`] | what handlers share, and the router that merges every feature's |
//! | [`storage`] | SQLite: all of its queries |
//! | [`identity`] | people and how they prove who they are |
//! | [`auth`] | who is calling: session cookie, API token, demo persona |
//! | [`clock`] | time between two moments |
//! | [`http`] | raw input in, answers and problems out, for API, page and Datastar alike |
//! | [`protection`] | security headers, cross-site requests, access log |
//! | [`catalog`] | products and shipping zones |
//! | [`cart`] | carts |
//! | [`orders`] | checkout, orders, cancellation |
//! | [`payments`] | the provider's webhook |
//! | [`restate`] | what Restate's admin API says of invocations |
//! | [`documents`] | Markdown and progress: pure |
//! | [`live`] | the projector: what the services say, caught up from Restate |
//! | [`notifications`] | what people are told |
//! | [`dashboard`] | the shop at a glance |
//! | [`admin`] | approvals, restock |
//! | [`world`] | the demo's switches for the outside world |
//! | [`ops`] | health, readiness, metrics, OpenAPI |
//! | [`views`] | pages, fragments, streams, Markdown |
//! | [`reconcile`] | finding and mending what differs between Restate, SQLite and outside |
//! | [`seed`] | demo data |
//!
//! Invariants kept here: SQLite holds reference data and a disposable copy of
//! what Restate knows, so nothing is decided from the copy; a write is done
//! when Restate has it; a caller's own write is in the copy before the answer.

pub mod admin;
pub mod app;
pub mod auth;
pub mod cart;
pub mod catalog;
pub mod clock;
pub mod dashboard;
pub mod documents;
pub mod http;
pub mod identity;
pub mod live;
pub mod notifications;
pub mod ops;
pub mod orders;
pub mod payments;
pub mod protection;
pub mod reconcile;
pub mod restate;
pub mod seed;
pub mod settings;
pub mod storage;
pub mod views;
pub mod world;
