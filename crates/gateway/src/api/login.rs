//! `POST /login`, `POST /login/code` and `POST /logout`. The pages are in [`crate::console`].

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::json;
use waybill_domain::account::{self, Fingerprint, Shown};
use waybill_domain::audit::Origin;
use waybill_domain::refusal::Refusal;

use crate::http::client::ClientAddress;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::negotiation::local_path;
use crate::http::origin::RequestOrigin;
use crate::http::problem::{CODE_NEEDED, Problem};
use crate::http::reply::Reply;
use crate::http::session_cookie::{self, SessionCookie};
use crate::identity::authenticator::{self, Code};
use crate::identity::half_signed_in::{CODE_WITHIN, HalfSignedIn};
use crate::identity::password::LONGEST;
use crate::infra::{Infra, Shared};
use crate::shop::people::{self, Place};
use crate::shop::{audit, second_factor, sign_in};

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
        /// Programs send it along; a browser is asked on a page of its own.
        code: Option<Code>,
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
                code: match fields.word("code", authenticator::LONGEST)? {
                    Some(code) => Some(code.parse()?),
                    None => None,
                },
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
        (status = 401, description = "Wrong name, password or code; `code_needed`: the password is right, and a code is missing"),
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
        Proof::Password {
            username,
            password,
            code,
        } => {
            let tried = sign_in::with_password(&infra, from, &username, password).await;
            let (name, user) = tried.inspect_err(|no| failed(&username, no))?;
            let hash = user.password_hash.clone().unwrap_or_default();
            let half = HalfSignedIn::new(name, &hash, login.next.as_deref());
            let asked = Asked {
                infra: &infra,
                from,
                origin: &origin,
                cookie,
                headers: &headers,
            };
            let signed_in = asked.sign_in(&half, hash, user.has_factor, code).await;
            return signed_in.map_err(|no| {
                if no.kind() != CODE_NEEDED {
                    return no;
                }
                let kept = half.seal(&infra.auth.vault);
                no.with_header(header::SET_COOKIE, cookie.begin_half(&kept, CODE_WITHIN))
            });
        }
    };
    let (place, before) = (place(from, &headers), session(&infra, &headers));
    let by = origin.by(&name);
    let session = people::sign_in(&infra, by, &name, proof, None, place, before).await;
    let session = session.inspect_err(|no| failed(name.as_str(), no))?;
    let lifetime = infra.settings.session_lifetime;
    let body = json!({ "user": name, "role": user.role });
    Ok(Reply::new(StatusCode::OK, &body)?
        .saying(format!("Signed in as {name}"))
        .going_to(login.next.unwrap_or_else(|| "/".to_owned()))
        .with_cookie(cookie.begin(&session, lifetime)))
}

/// The code that is missing.
pub(super) struct WithCode(Code);

impl FromFields for WithCode {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let code = fields.required_word("code", authenticator::LONGEST)?;
        Ok(Self(code.parse()?))
    }
}

/// Signs in by a code, after the password; answers a session cookie
///
/// For browsers: `POST /login` has answered `code_needed` and a cookie that is good for
/// this alone, for five minutes. Programs send `code` with the password.
#[utoipa::path(
    post,
    path = "/login/code",
    request_body(content = inline(body::WithCode)),
    responses(
        (status = 200, description = "Signed in"),
        (status = 401, description = "Wrong code, or no password was shown in the last five minutes"),
        (status = 409, description = "The code cannot be checked: use a recovery code"),
        (status = 429, description = "Too many tries"),
    ),
)]
pub(super) async fn with_code(
    State(infra): State<Shared>,
    from: ClientAddress,
    RequestOrigin(origin): RequestOrigin,
    cookie: SessionCookie,
    headers: HeaderMap,
    Input(WithCode(code)): Input<WithCode>,
) -> Result<Reply, Problem> {
    let half = half_signed_in(&infra, &headers);
    let known = match &half {
        Some(half) => infra.user(&half.user).await?,
        None => None,
    };
    let has_factor = known.as_ref().is_none_or(|known| known.has_factor);
    let hash = known.and_then(|known| known.password_hash);
    let (Some(half), Some(hash)) = (half, hash) else {
        return Err(over(cookie));
    };
    if !half.is_of(&hash) || !infra.settings.passwords {
        return Err(over(cookie));
    }
    let asked = Asked {
        infra: &infra,
        from,
        origin: &origin,
        cookie,
        headers: &headers,
    };
    asked.sign_in(&half, hash, has_factor, Some(code)).await
}

/// Whose password a browser has shown in the last minutes.
pub(crate) fn half_signed_in(infra: &Infra, headers: &HeaderMap) -> Option<HalfSignedIn> {
    let kept = session_cookie::half_of(headers, infra.settings.edge.public_url())?;
    HalfSignedIn::open(&infra.auth.vault, kept)
}

fn over(cookie: SessionCookie) -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "sign_in_over",
        "Begin again",
        "no password was shown here in the last five minutes: sign in again",
    )
    .with_header(header::SET_COOKIE, cookie.end_half())
}

/// Who has shown a password, and from where.
struct Asked<'a> {
    infra: &'a Shared,
    from: ClientAddress,
    origin: &'a Origin,
    cookie: SessionCookie,
    headers: &'a HeaderMap,
}

impl Asked<'_> {
    /// Signs in with a right password, and a code where one is asked for.
    async fn sign_in(
        &self,
        half: &HalfSignedIn,
        hash: String,
        has_factor: bool,
        code: Option<Code>,
    ) -> Result<Reply, Problem> {
        let (infra, user) = (self.infra, &half.user);
        let ask = async |second: Option<Shown>| {
            let proof = account::Proof::Password { hash: hash.clone() };
            let (place, by) = (place(self.from, self.headers), self.origin.by(user));
            let before = session(infra, self.headers);
            people::sign_in(infra, by, user, proof, second, place, before).await
        };
        let signed_in = match code {
            _ if !has_factor => ask(None).await,
            None => Err(Refusal::CodeNeeded.into()),
            Some(code) => {
                let shown = async |shown| ask(Some(shown)).await;
                second_factor::showing(infra, self.from, user, code, shown).await
            }
        };
        let session = signed_in
            .map_err(Problem::before_sign_in)
            .inspect_err(|no| {
                // `Account` notes a wrong code itself, and a code that is missing is no failure.
                let is_noted = [CODE_NEEDED, "wrong_code", "code_used"].contains(&no.kind());
                if matches!(no.status.as_u16(), 401 | 429) && !is_noted {
                    let origin = self.origin.clone();
                    audit::failed_sign_in(infra, self.from, origin, user.as_str());
                }
            })?;
        let known = infra.user(user).await?;
        let role = known.map(|known| known.role);
        let lifetime = infra.settings.session_lifetime;
        let reply = Reply::new(StatusCode::OK, &json!({ "user": user, "role": role }))?
            .saying(format!("Signed in as {user}"))
            .going_to(half.next.clone())
            .with_cookie(self.cookie.begin(&session, lifetime));
        let public_url = infra.settings.edge.public_url();
        Ok(match session_cookie::half_of(self.headers, public_url) {
            Some(_) => reply.with_cookie(self.cookie.end_half()),
            None => reply,
        })
    }
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
        /// Where a second factor is set up: six digits of the app, or a recovery code.
        #[schema(max_length = 64)]
        code: Option<String>,
        /// In a demo, instead of both: whom to be.
        #[schema(max_length = 64, pattern = r"\S")]
        persona: Option<String>,
        /// For a browser: the page of this site that it goes to.
        #[schema(max_length = 2048)]
        next: Option<String>,
    }

    #[derive(ToSchema)]
    pub(super) struct WithCode {
        /// Six digits of the app, or a recovery code.
        #[schema(max_length = 64, pattern = r"\S")]
        code: String,
    }
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_login: Login, fuzz_with_code: WithCode);
