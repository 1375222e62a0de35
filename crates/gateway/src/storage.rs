//! SQLite: the catalog, people, and the read model. A query goes into the module
//! of what it reads, as a function over [`db::Db`].
//!
//! | module | holds |
//! | --- | --- |
//! | [`db`] | one writer, a read pool, migrations |
//! | [`catalog`] | products and zones |
//! | [`users`] | users, as nearly every request asks for them |
//! | [`accounts`] | the copy of who they are: users, tokens, sessions |
//! | [`after_sales`] | returns and refunds |
//! | [`audit`] | who has done what that matters |
//! | [`read_model`] | the copy of what Restate holds: writing it |
//! | [`rows`] | the same row by row, for those who compare |
//! | [`orders`] | orders |
//! | [`notifications`] | what people are told |
//! | [`dashboard`] | the dashboard's numbers |
//! | [`timings`] | how long statements take |

pub mod accounts;
pub mod after_sales;
pub mod audit;
pub mod catalog;
pub mod dashboard;
pub mod db;
#[cfg(test)]
mod fuzz;
pub mod notifications;
pub mod orders;
pub mod read_model;
pub mod rows;
pub mod timings;
pub mod users;
