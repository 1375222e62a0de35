//! Who is calling: a session cookie, an API token, or, in a demo, whoever the
//! header `X-User-Id` says.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use waybill_domain::ids::Username;

use crate::http::problem::Problem;
use crate::http::session_cookie;
use crate::identity::caller::Caller;
use crate::infra::Shared;
use crate::shop::credentials;

/// The header that names the caller in a demo.
const DEMO_HEADER: &str = "x-user-id";

/// The caller, if somebody is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionalCaller(pub Option<Caller>);

/// Whether the request shows something no other site can make a browser send.
pub fn has_explicit_credentials(headers: &HeaderMap) -> bool {
    bearer(headers).is_some() || headers.contains_key(DEMO_HEADER)
}

/// What stands in `Authorization: Bearer`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Finds out who is calling: an API token counts before the demo header, and
/// that before the cookie.
async fn identify(infra: &Shared, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    if let Some(raw) = bearer(headers) {
        return match credentials::by_token(infra, raw).await? {
            Some(caller) => Ok(Some(caller)),
            None => Err(Problem::unauthenticated(
                "this API token is not known, or has ended: make one with `gateway token create --user NAME`",
            )),
        };
    }
    if infra.settings.is_demo()
        && let Some(name) = headers.get(DEMO_HEADER)
    {
        let user = Username::parse(name.to_str().unwrap_or_default())
            .map_err(|refusal| Problem::from(refusal).with_field("X-User-Id"))?;
        return credentials::by_name(infra, &user).await;
    }
    match session_cookie::of(headers, infra.settings.edge.public_url()) {
        Some(session) => credentials::by_session(infra, session).await,
        None => Ok(None),
    }
}

impl<S> FromRequestParts<S> for OptionalCaller
where
    S: Send + Sync,
    Shared: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if let Some(known) = parts.extensions.get::<Option<Caller>>() {
            return Ok(Self(known.clone()));
        }
        let infra = Shared::from_ref(state);
        let caller = identify(&infra, &parts.headers).await?;
        parts.extensions.insert(caller.clone());
        Ok(Self(caller))
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Shared: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let OptionalCaller(caller) = OptionalCaller::from_request_parts(parts, state).await?;
        caller.ok_or_else(|| {
            Problem::unauthenticated(if Shared::from_ref(state).settings.is_demo() {
                "say who you are: send the header `X-User-Id: alice`, or sign in at /login"
            } else {
                "sign in at /login, or send an API token (Authorization: Bearer …)"
            })
        })
    }
}
