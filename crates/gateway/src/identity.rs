//! People and how they prove who they are, without HTTP.
//!
//! | module | holds |
//! | --- | --- |
//! | [`caller`] | who is calling, and what they may do |
//! | [`password`] | argon2 |
//! | [`token`] | API tokens |
//! | [`throttle`] | a brake on guessing |

pub mod caller;
pub mod password;
pub mod throttle;
pub mod token;
