//! What is told of the shop as text, the same each time: pure functions.
//!
//! | module | holds |
//! | --- | --- |
//! | [`markdown`] | the documents of the Output tab and of `Accept: text/markdown` |
//! | [`people`] | the same about people |
//! | [`progress`] | how far an order has come |

pub mod catalog;
#[cfg(test)]
mod fuzz;
pub mod markdown;
pub mod people;
pub mod progress;
