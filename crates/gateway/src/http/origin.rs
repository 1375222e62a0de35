//! From where a request comes, for the audit log.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use waybill_domain::audit::Origin;

use super::client;
use super::request_id::RequestId;

/// An extractor of it. What a handler does in somebody's name it does `origin.by` them.
#[derive(Debug, Clone, Default)]
pub struct RequestOrigin(pub Origin);

impl<S: Sync> FromRequestParts<S> for RequestOrigin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let from = client::of(&parts.extensions);
        let request = parts.extensions.get::<RequestId>();
        Ok(Self(Origin {
            address: from.map(|from| from.address.to_string()),
            request: request.map(|id| id.as_str().to_owned()),
        }))
    }
}
