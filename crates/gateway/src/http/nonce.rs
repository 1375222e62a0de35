//! What lets a page of ours run its own inline scripts.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

/// Allows the inline scripts of one page: `<script nonce="…">`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// One that nobody can guess.
    pub fn fresh() -> Self {
        Self(hex::encode(rand::random::<[u8; 16]>()))
    }

    /// The nonce as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Nonce {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Self, std::convert::Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}
