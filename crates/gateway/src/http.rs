//! HTTP as every handler speaks it, and nothing of the shop.
//!
//! | module | holds |
//! | --- | --- |
//! | [`negotiation`] | who asks, and what they can read |
//! | [`input`] | bodies and query strings, parsed |
//! | [`pagination`] | which part of a list is wanted |
//! | [`idempotency`] | `Idempotency-Key` |
//! | [`reply`] | what a write that worked answers |
//! | [`problem`] | every error a caller can see (RFC 9457) |
//! | [`client`] | who is at the other end, through proxies |
//! | [`session_cookie`] | the cookie that a session travels in |
//! | [`request_id`] | what one request is called |
//! | [`origin`] | from where a request comes, for the audit log |
//! | [`site`] | this gateway as the browser names it |
//! | [`nonce`] | what lets a page run its own scripts |

pub mod client;
#[cfg(test)]
pub(crate) mod fuzz;
pub mod idempotency;
pub mod input;
pub mod negotiation;
pub mod nonce;
pub mod origin;
pub mod pagination;
pub mod problem;
pub mod reply;
pub mod request_id;
pub mod session_cookie;
pub mod site;
