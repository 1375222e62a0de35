//! `POST /login` and `POST /logout`. The page is in [`crate::console`].

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::json;
use waybill_domain::Timestamp;

use crate::http::input::{Fields, FromFields, Input};
use crate::http::negotiation::local_path;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::session_cookie;
use crate::identity::sessions::LIFETIME;
use crate::infra::Shared;
use crate::shop::sign_in;

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
                password: fields.required_secret("password", 1024)?,
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
    headers: HeaderMap,
    Input(login): Input<Login>,
) -> Result<Reply, Problem> {
    let (name, user) = match login.proof {
        Proof::Persona(name) => sign_in::as_persona(&infra, &name).await?,
        Proof::Password { username, password } => {
            sign_in::with_password(&infra, &username, password).await?
        }
    };
    let hash = user.password_hash.as_deref();
    let session = infra.auth.sessions.begin(&name, hash, Timestamp::now());
    let cookie = session_cookie::begin(&session, LIFETIME, session_cookie::needs_tls(&headers));
    let body = json!({ "user": name, "role": user.role });
    Ok(Reply::new(StatusCode::OK, &body)?
        .saying(format!("Signed in as {name}"))
        .going_to(login.next.unwrap_or_else(|| "/".to_owned()))
        .with_cookie(cookie))
}

/// Signs out
#[utoipa::path(
    post,
    path = "/logout",
    responses(
        (status = 200, description = "Signed out"),
    ),
)]
pub(super) async fn logout(headers: HeaderMap) -> Result<Reply, Problem> {
    Ok(Reply::new(StatusCode::OK, &json!({ "user": null }))?
        .saying("Signed out")
        .going_to("/login")
        .with_cookie(session_cookie::end(session_cookie::needs_tls(&headers))))
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
