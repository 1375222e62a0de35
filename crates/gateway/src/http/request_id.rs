//! What one request is called, in its answer and in the log.

use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};

/// The header that says it on every answer. One that a caller sends is not
/// believed: two requests must never have the same.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The name of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// One that no other request has.
    pub fn fresh() -> Self {
        Self(hex::encode(rand::random::<[u8; 8]>()).into())
    }

    /// As a header has it.
    pub fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
