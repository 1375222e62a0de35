//! People and how they prove who they are, without HTTP.
//!
//! | module | holds |
//! | --- | --- |
//! | [`auth`] | what signing in needs at run time |
//! | [`caller`] | who is calling, and what they may do |
//! | [`password`] | argon2 |
//! | [`hash_queue`] | whose password is hashed when |
//! | [`token`] | API tokens |
//! | [`sessions`] | the signed cookie |
//! | [`throttle`] | a brake on guessing |

pub mod auth;
pub mod caller;
pub mod hash_queue;
pub mod password;
pub mod sessions;
pub mod throttle;
pub mod token;
