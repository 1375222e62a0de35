//! Waybill's web side: pages, JSON API, live streams, the payment webhook and
//! the SQLite read model. Nothing else opens that file. Of `gateway sandbox`, the
//! outside world in the same binary, only `main.rs` knows. How all of it fits
//! together, and where a new page goes: docs/architecture.md.
//!
//! | module | holds |
//! | --- | --- |
//! | [`settings`], [`clock`], [`metrics`] | what is set, times, what is counted |
//! | [`http`] | raw input in, answers and problems out, for API, page and Datastar alike |
//! | [`identity`] | people and how they prove who they are |
//! | [`storage`] | SQLite: all of its queries, and who writes the read model |
//! | [`restate`] | what Restate's admin API says of state and invocations |
//! | [`documents`] | Markdown and progress: pure |
//! | [`live`] | what the services say, caught up from Restate; what wakes a stream |
//! | [`infra`] | all that the shop stands on, opened |
//! | [`shop`] | what the system does, whoever asks |
//! | [`auth`] | who is calling: session cookie, API token, demo persona |
//! | [`authority`] | who may do what: a row for each route, asked before its handler |
//! | [`api`] | JSON, Markdown and forms: a handler asks the shop, for a plain list `storage` |
//! | [`demo`] | the demo's data, its scenarios, its switches for the outside world |
//! | [`console`] | pages, fragments, streams |
//! | [`edge`] | the way in: hosts, limits of rate and of work |
//! | [`protection`] | security headers, cross-site requests, access log |
//! | [`command`] | `gateway user …` and `gateway token …` |
//! | [`reconcile`] | finding and mending what differs between Restate, SQLite and outside |
//! | [`backup`] | everything that cannot be made again, in one file, and back |
//! | [`router`] | what each feature remembers, and the one router, which alone knows all of them |
//!
//! Invariants kept here: SQLite holds reference data and a disposable copy of
//! what Restate knows, so nothing is decided from the copy, but that an order
//! which it shows as paid is not bought again, and who is signed in; a write is done when Restate has
//! it; an order that a caller has written is in the copy before the answer.

pub mod api;
pub mod auth;
pub mod authority;
pub mod backup;
pub mod clock;
pub mod command;
pub mod console;
pub mod demo;
pub mod documents;
pub mod edge;
pub mod http;
pub mod identity;
pub mod infra;
pub mod live;
pub mod metrics;
pub mod protection;
pub mod reconcile;
pub mod restate;
pub mod router;
pub mod settings;
pub mod shop;
pub mod storage;
