//! People and how they prove who they are, without HTTP.
//!
//! | module | holds |
//! | --- | --- |
//! | [`auth`] | what signing in needs at run time |
//! | [`caller`] | who is calling, and what they may do |
//! | [`password`] | argon2 |
//! | [`token`] | API tokens |
//! | [`sessions`] | the signed cookie |
//! | [`throttle`] | a brake on guessing |

pub mod auth;
pub mod caller;
#[cfg(test)]
mod fuzz;
pub mod password;
pub mod sessions;
pub mod throttle;
pub mod token;
