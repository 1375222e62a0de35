//! What Restate's admin API says: an aid, never a need.
//!
//! | module | holds |
//! | --- | --- |
//! | [`admin`] | SQL over what Restate holds |
//! | [`states`] | what it holds of orders, stock, late money, read marks |
//! | [`row_stream`] | its answers, row by row |
//! | [`journal`] | an order's invocations and steps |
//! | [`trace`] | the traces of what was sent before |

pub mod admin;
#[cfg(test)]
mod fuzz;
pub mod journal;
mod row_stream;
pub mod states;
pub mod trace;
