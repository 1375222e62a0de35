//! Who may do what: one row for each route, declared where the route is.
//!
//! | module | holds |
//! | --- | --- |
//! | [`allow`] | the rows' words, and what each of them means |
//! | [`routes`] | the only way to add a route, and what asks its row before the handler |
//!
//! A route without a row does not compile: [`Routes`] takes both at once, and
//! nothing else makes a router. A request whose route has no row all the same is
//! answered 500, and its handler is not run. The whole table is in
//! docs/authority.md, printed by the test that asks every route as everybody.

pub mod allow;
pub mod routes;

pub use allow::Allow;
pub use routes::{Routes, Row, Table, is_operator};
