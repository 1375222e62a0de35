//! What Restate's admin API says: an aid, never a need.
//!
//! | module | holds |
//! | --- | --- |
//! | [`admin`] | SQL over what Restate holds |
//! | [`row_stream`] | its answers, row by row |
//! | [`journal`] | an order's invocations and steps |

pub mod admin;
pub mod journal;
mod row_stream;
