//! What is told of the shop as text, the same each time: pure functions.
//!
//! | module | holds |
//! | --- | --- |
//! | [`csv`] | orders as a table for other programs |
//! | [`markdown`] | the documents of the Output tab and of `Accept: text/markdown` |
//! | [`catalog`] | the same about the catalog |
//! | [`people`] | the same about people |
//! | [`progress`] | how far an order has come |

pub mod catalog;
pub mod csv;
#[cfg(test)]
mod fuzz;
pub mod markdown;
pub mod people;
pub mod progress;
