//! `POST /login` and `POST /logout`. The page is in [`crate::console`].

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::json;
use waybill_domain::account::{self, Fingerprint};

use crate::http::client::ClientAddress;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::negotiation::local_path;
use crate::http::origin::RequestOrigin;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::session_cookie::{self, SessionCookie};
use crate::identity::password::LONGEST;
use crate::infra::{Infra, Shared};
use crate::shop::people::{self, Place};
use crate::shop::{audit, sign_in};

/// The sign-in page for somebody who has signed out here, and perhaps not at the provider.
const LEFT: &str = "/login?left=yes";

/// Who wants in.
#[derive(Debug)]
pub(super) struct Login {
    proof: Proof,
    next: Option<String>,
}

#[derive(Debug)]
enum Proof {
    Password {
        username: String,
        password: String,
    },
    /// One click, in a demo.
    Persona(String),
}

impl FromFields for Login {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let proof = match fields.word("persona", 64)? {
            Some(name) => Proof::Persona(name),
            None => Proof::Password {
                username: fields.required_word("username", 64)?,
                password: fields.required_secret("password", LONGEST)?,
            },
        };
        let next = fields
            .word("next", 2048)?
            .and_then(|next| local_path(&next).map(str::to_owned));
        Ok(Self { proof, next })
    }
}

/// Signs in; answers a session cookie
#[utoipa::path(
    post,
    path = "/login",
    request_body(content = inline(body::SignIn)),
    responses(
        (status = 200, description = "Signed in"),
        (status = 401, description = "Wrong name or password"),
        (status = 403, description = "Personas are for demos only"),
        (status = 429, description = "Too many tries"),
    ),
)]
pub(super) async fn login(
    State(infra): State<Shared>,
    from: ClientAddress,
    RequestOrigin(origin): RequestOrigin,
    cookie: SessionCookie,
    headers: HeaderMap,
    Input(login): Input<Login>,
) -> Result<Reply, Problem> {
    let failed = |name: &str, no: &Problem| {
        if matches!(no.status.as_u16(), 401 | 429) {
            audit::failed_sign_in(&infra, from, origin.clone(), name);
        }
    };
    let (name, user, proof) = match login.proof {
        Proof::Persona(name) => {
            let (name, user) = sign_in::as_persona(&infra, &name).await?;
            (name, user, account::Proof::Nothing)
        }
        Proof::Password { username, password } => {
            let tried = sign_in::with_password(&infra, from, &username, password).await;
            let (name, user) = tried.inspect_err(|no| failed(&username, no))?;
            let hash = user.password_hash.clone().unwrap_or_default();
            (name, user, account::Proof::Password { hash })
        }
    };
    let (place, before) = (place(from, &headers), session(&infra, &headers));
    let session = people::sign_in(&infra, origin.by(&name), &name, proof, place, before).await;
    let session = session.inspect_err(|no| failed(name.as_str(), no))?;
    let lifetime = infra.settings.session_lifetime;
    let body = json!({ "user": name, "role": user.role });
    Ok(Reply::new(StatusCode::OK, &body)?
        .saying(format!("Signed in as {name}"))
        .going_to(login.next.unwrap_or_else(|| "/".to_owned()))
        .with_cookie(cookie.begin(&session, lifetime)))
}

/// Where a browser says that it is.
pub(crate) fn place(from: ClientAddress, headers: &HeaderMap) -> Place {
    let agent = headers.get(header::USER_AGENT);
    Place {
        address: from.address.to_string(),
        agent: agent
            .and_then(|agent| agent.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
    }
}

/// The session that a browser has already.
pub(crate) fn session(infra: &Infra, headers: &HeaderMap) -> Option<Fingerprint> {
    let cookie = session_cookie::of(headers, infra.settings.edge.public_url())?;
    infra.auth.sessions.fingerprint(cookie)
}

/// Signs out
#[utoipa::path(
    post,
    path = "/logout",
    responses(
        (status = 200, description = "Signed out"),
        (status = 503, description = "Restate is away: still signed in"),
    ),
)]
pub(super) async fn logout(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    cookie: SessionCookie,
    headers: HeaderMap,
) -> Result<Reply, Problem> {
    if let Some(session) = session(&infra, &headers) {
        people::sign_out(&infra, &origin, &session).await?;
    }
    Ok(Reply::new(StatusCode::OK, &json!({ "user": null }))?
        .saying("Signed out")
        .going_to(if infra.auth.oidc.is_some() {
            LEFT
        } else {
            "/login"
        })
        .with_cookie(cookie.end()))
}

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;

    #[derive(ToSchema)]
    pub(super) struct SignIn {
        /// The user's name.
        #[schema(max_length = 64, pattern = r"\S")]
        username: Option<String>,
        /// The user's password.
        #[schema(max_length = 1024, pattern = r"\S")]
        password: Option<String>,
        /// In a demo, instead of both: whom to be.
        #[schema(max_length = 64, pattern = r"\S")]
        persona: Option<String>,
        /// For a browser: the page of this site that it goes to.
        #[schema(max_length = 2048)]
        next: Option<String>,
    }
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_login: Login);
