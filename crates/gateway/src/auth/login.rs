//! `POST /login` and `POST /logout`. The page is in [`crate::views`].

use std::time::Instant;

use axum::Router;
use axum::extract::FromRef;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::post;
use serde_json::json;
use waybill_domain::Timestamp;
use waybill_domain::ids::Username;

use crate::http::input::{Fields, FromFields, Input};
use crate::http::negotiation::local_path;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::identity::sessions::Sessions;
use crate::identity::{password, sessions};
use crate::infra::{Infra, Shared};
use crate::storage::users::{self as queries, User};

/// `/login` and `/logout`.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Shared: FromRef<S>,
{
    Router::new()
        .route("/login", post(login))
        .route("/logout", post(logout))
}

/// Who wants in.
#[derive(Debug)]
struct Login {
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

async fn login(
    State(infra): State<Shared>,
    headers: HeaderMap,
    Input(login): Input<Login>,
) -> Result<Reply, Problem> {
    let (name, user) = match login.proof {
        Proof::Persona(name) => persona(&infra, &name).await?,
        Proof::Password { username, password } => known(&infra, &username, password).await?,
    };
    let cookie = infra.auth.sessions.begin(
        &name,
        user.password_hash.as_deref(),
        Timestamp::now(),
        sessions::needs_tls(&headers),
    );
    let body = json!({ "user": name, "role": user.role });
    Ok(Reply::new(StatusCode::OK, &body)?
        .saying(format!("Signed in as {name}"))
        .going_to(login.next.unwrap_or_else(|| "/".to_owned()))
        .with_cookie(cookie))
}

async fn persona(infra: &Infra, name: &str) -> Result<(Username, User), Problem> {
    if !infra.settings.is_demo() {
        return Err(Problem::forbidden(
            "personas are for demos only: sign in with user name and password",
        ));
    }
    let name =
        Username::parse(name).map_err(|refusal| Problem::from(refusal).with_field("persona"))?;
    match queries::user(&infra.db, &name).await? {
        Some(user) => Ok((name, user)),
        None => Err(Problem::invalid(
            "persona",
            "there is no such persona: use alice, bob or admin",
        )),
    }
}

async fn known(infra: &Infra, name: &str, password: String) -> Result<(Username, User), Problem> {
    if let Some(wait) = infra.auth.throttle.wait(name, Instant::now()) {
        return Err(too_many_tries(wait.as_secs() + 1));
    }
    let found = match Username::parse(name) {
        Ok(name) => queries::user(&infra.db, &name)
            .await?
            .map(|user| (name, user)),
        Err(_) => None,
    };
    // Counted before it is known, so that many at once are counted, too.
    infra.auth.throttle.failed(name, Instant::now());
    let hash = found
        .as_ref()
        .and_then(|(_, user)| user.password_hash.clone());
    let matches = password::verify(password, hash).await?;
    match found {
        Some(found) if matches => {
            infra.auth.throttle.succeeded(name);
            Ok(found)
        }
        _ => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "wrong_credentials",
            "Not signed in",
            "user name or password is wrong: check both and try again",
        )
        .with_field("password")),
    }
}

fn too_many_tries(seconds: u64) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_tries",
        "Too many tries",
        format!("too many wrong passwords: try again in {seconds} s"),
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

async fn logout(headers: HeaderMap) -> Result<Reply, Problem> {
    Ok(Reply::new(StatusCode::OK, &json!({ "user": null }))?
        .saying("Signed out")
        .going_to("/login")
        .with_cookie(Sessions::end(sessions::needs_tls(&headers))))
}
