//! People and how they prove who they are, without HTTP.
//!
//! | module | holds |
//! | --- | --- |
//! | [`auth`] | what signing in needs at run time |
//! | [`authenticator`] | codes of an app, and recovery codes |
//! | [`half_signed_in`] | what a browser holds between two steps |
//! | [`vault`] | what is kept elsewhere and read again by us alone |
//! | [`caller`] | who is calling, and what they may do |
//! | [`password`] | argon2 |
//! | [`secret`] | random secrets, and what is kept of them |
//! | [`demo_password`] | the ones that everybody knows |
//! | [`hash_queue`] | whose password is hashed when |
//! | [`oidc`] | sign-in at an identity provider |
//! | [`token`] | API tokens |
//! | [`sessions`] | what a browser holds of its session |
//! | [`failed_sign_ins`] | sign-ins that failed, gathered for the audit log |
//! | [`throttle`] | a brake on guessing |

pub mod auth;
pub mod authenticator;
pub mod caller;
pub mod demo_password;
pub mod failed_sign_ins;
#[cfg(test)]
mod fuzz;
pub mod half_signed_in;
pub mod hash_queue;
pub mod oidc;
pub mod password;
pub mod secret;
pub mod sessions;
pub mod throttle;
pub mod token;
pub mod vault;
