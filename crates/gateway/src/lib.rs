//! Waybill's web side: pages, JSON API, live streams, the payment webhook and
//! the SQLite read model. Nothing else opens that file. Of `gateway sandbox`, the
//! outside world in the same binary, only `main.rs` knows. How all of it fits
//! together, and where a new page goes: docs/architecture.md.
//!
//! | module | holds |
//! | --- | --- |
//! | [`settings`] | every setting, from the environment or the command line |
//! | [`infra`] | what every feature stands on: SQLite, the ways to Restate, the live side |
//! | [`router`] | what each feature remembers, and the one router, which alone knows all of them |
//! | [`metrics`] | what the gateway counts |
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
//! | [`live`] | what the services say, caught up from Restate; what wakes a stream |
//! | [`notifications`] | what people are told |
//! | [`dashboard`] | the shop at a glance |
//! | [`admin`] | approvals, restock |
//! | [`world`] | the demo's switches for the outside world |
//! | [`ops`] | health, readiness, metrics, OpenAPI |
//! | [`views`] | pages, fragments, streams |
//! | [`reconcile`] | finding and mending what differs between Restate, SQLite and outside |
//! | [`seed`] | demo data |
//!
//! Invariants kept here: SQLite holds reference data and a disposable copy of
//! what Restate knows, so nothing is decided from the copy, but that an order
//! which it shows as paid is not bought again; a write is done when Restate has
//! it; an order that a caller has written is in the copy before the answer.

pub mod admin;
pub mod auth;
pub mod cart;
pub mod catalog;
pub mod clock;
pub mod dashboard;
pub mod documents;
pub mod http;
pub mod identity;
pub mod infra;
pub mod live;
pub mod metrics;
pub mod notifications;
pub mod ops;
pub mod orders;
pub mod payments;
pub mod protection;
pub mod reconcile;
pub mod restate;
pub mod router;
pub mod seed;
pub mod settings;
pub mod storage;
pub mod views;
pub mod world;
