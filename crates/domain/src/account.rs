//! Who somebody is to the shop.

mod role;

pub use role::{Role, Scope};
