//! The way to the identity provider and back. Both are pages: a browser is led there
//! and back by redirects, so they work without JavaScript.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde_json::json;
use waybill_domain::account::{self, Fingerprint};
use waybill_domain::audit::Origin;
use waybill_domain::refusal::Refusal;

use super::pages::Next;
use crate::api::login;
use crate::http::client::ClientAddress;
use crate::http::input::{Fields, FromFields, InQuery};
use crate::http::origin::RequestOrigin;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::session_cookie::{self, SessionCookie};
use crate::identity::oidc::claims::Person;
use crate::identity::oidc::{Brought, Oidc, pending};
use crate::infra::{Infra, Shared};
use crate::shop::people::{self, Place};

/// Longest word of a callback. Codes of some providers are long.
const MAX_WORD: usize = 4_096;

/// Where the sign-in begins that leads to `next`.
pub(super) fn begin_at(next: &str) -> String {
    let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    format!("/login/oidc?next={next}")
}

impl FromFields for Brought {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            state: fields.word("state", MAX_WORD)?,
            code: fields.word("code", MAX_WORD)?,
            error: fields.word("error", MAX_WORD)?,
            issuer: fields.word("iss", MAX_WORD)?,
        })
    }
}

/// Leads a browser to the identity provider.
pub(super) async fn begin(
    State(infra): State<Shared>,
    cookie: SessionCookie,
    InQuery(Next(next)): InQuery<Next>,
) -> Result<Response, Problem> {
    let begun = provider(&infra)?.begin(&next).await;
    let begun = begun.map_err(|problem| problem.with("next", next))?;
    let kept = cookie.begin_sign_in(&begun.kept, pending::LIFE);
    Ok(([(header::SET_COOKIE, kept)], Redirect::to(&begun.to)).into_response())
}

/// Takes a browser in that comes back from there.
pub(super) async fn callback(
    State(infra): State<Shared>,
    from: ClientAddress,
    RequestOrigin(origin): RequestOrigin,
    cookie: SessionCookie,
    headers: HeaderMap,
    InQuery(brought): InQuery<Brought>,
) -> Result<Reply, Problem> {
    let oidc = provider(&infra)?;
    let kept = session_cookie::sign_in_of(&headers, infra.settings.edge.public_url());
    let begun = oidc.begun(kept, &brought)?;
    // From here on it is over, however it ends: its state is good once in a browser.
    let over = |problem: Problem| {
        problem
            .with("next", begun.next.as_str())
            .with_header(header::SET_COOKIE, cookie.end_sign_in())
    };
    let person = oidc.finish(&begun, brought).await.map_err(over)?;
    let (place, before) = (
        login::place(from, &headers),
        login::session(&infra, &headers),
    );
    let body = json!({ "user": person.user, "role": person.role });
    let session = sign_in(&infra, &origin, person, place, before)
        .await
        .map_err(over)?;
    Ok(Reply::new(StatusCode::OK, &body)?
        .going_to(begun.next)
        .with_cookie(cookie.begin(&session, infra.settings.session_lifetime))
        .with_cookie(cookie.end_sign_in()))
}

/// Leads a browser that has signed out here to where it signs out of the provider, too.
pub(super) async fn leave(State(infra): State<Shared>) -> Result<Redirect, Problem> {
    let to = provider(&infra)?.way_out().await;
    Ok(Redirect::to(to.as_deref().unwrap_or("/login")))
}

async fn sign_in(
    infra: &Infra,
    origin: &Origin,
    person: Person,
    place: Place,
    before: Option<Fingerprint>,
) -> Result<String, Problem> {
    let proof = account::Proof::Provider {
        identity: person.identity,
        email: person.email,
        role: person.role,
    };
    let by = origin.by(&person.user);
    let signed_in = people::sign_in(infra, by, &person.user, proof, None, place, before).await;
    signed_in.map_err(|problem| {
        // The password is not what is wrong here.
        if problem.kind() == Refusal::NotSignedIn.kind() {
            Problem::forbidden("your account here is disabled: ask an admin to enable it")
        } else {
            problem
        }
    })
}

fn provider(infra: &Infra) -> Result<&Oidc, Problem> {
    infra.auth.oidc.as_ref().ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "no_provider",
            "No identity provider",
            "this shop knows no identity provider: sign in at /login with user name and password",
        )
    })
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_brought: Brought);
