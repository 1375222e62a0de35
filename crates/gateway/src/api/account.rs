//! `/api/account`: one's own account, and `POST /password/new`, by which somebody with a
//! link sets a password.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;
use waybill_domain::account::Scope;
use waybill_domain::ids::Username;

use crate::http::client::ClientAddress;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::origin::RequestOrigin;
use crate::http::problem::{Problem, WRONG_PASSWORD};
use crate::http::reply::{Once, Reply};
use crate::http::session_cookie::SessionCookie;
use crate::identity::caller::Caller;
use crate::identity::password::LONGEST;
use crate::infra::Shared;
use crate::shop::account::{self, AccountView, MOST_DAYS};
use crate::shop::audit;

/// Longest name of a token.
const MAX_TOKEN_NAME: usize = 64;
/// Longest id of a session or a token: a whole fingerprint.
pub(super) const MAX_ID: usize = 64;

/// Who one is: role, places where one is signed in, tokens
#[utoipa::path(
    get,
    path = "/api/account",
    responses(
        (status = 200, description = "AccountView", body = AccountView),
    ),
)]
pub(super) async fn show(
    State(infra): State<Shared>,
    caller: Caller,
) -> Result<Json<AccountView>, Problem> {
    Ok(Json(account::own(&infra, &caller).await?))
}

pub(super) struct Passwords {
    old: String,
    new: String,
}

impl FromFields for Passwords {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            old: fields.required_secret("old_password", LONGEST)?,
            new: fields.required_secret("new_password", LONGEST)?,
        })
    }
}

/// Changes one's own password; every other session ends
#[utoipa::path(
    post,
    path = "/api/account/password",
    request_body(content = inline(body::Passwords)),
    responses(
        (status = 200, description = "Changed"),
        (status = 403, description = "The old password is wrong, or the API token may only read"),
        (status = 404, description = "The caller has no account"),
        (status = 409, description = "There is no old password"),
        (status = 429, description = "Too many wrong passwords"),
    ),
)]
pub(super) async fn set_password(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    from: ClientAddress,
    Input(Passwords { old, new }): Input<Passwords>,
) -> Result<Reply, Problem> {
    let set = account::set_password(&infra, &origin, from.caller(), &caller, old, new).await;
    // Guesses at the old one are guesses at the sign-in.
    if let Err(no) = &set
        && (no.kind() == WRONG_PASSWORD || no.status == StatusCode::TOO_MANY_REQUESTS)
    {
        audit::failed_sign_in(&infra, from, origin, caller.user.as_str());
    }
    set?;
    Ok(Reply::new(StatusCode::OK, &json!({ "user": caller.user }))?
        .saying("Your password is changed. You are signed out everywhere else"))
}

pub(super) struct Where(pub Option<String>);

impl FromFields for Where {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self(fields.word("session", MAX_ID)?))
    }
}

/// Signs out at one place, or without `session` everywhere but here
///
/// Whoever asks without a session is nowhere: they are signed out everywhere.
#[utoipa::path(
    post,
    path = "/api/account/sign-out",
    request_body(content = inline(body::Where)),
    responses(
        (status = 200, description = "Signed out there"),
        (status = 404, description = "Nobody is signed in there"),
    ),
)]
pub(super) async fn sign_out(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    cookie: SessionCookie,
    Input(Where(session)): Input<Where>,
) -> Result<Reply, Problem> {
    let is_here = session
        .as_deref()
        .is_some_and(|id| account::is_here(&caller, id));
    let said = match session {
        Some(_) => "Signed out there",
        None => "Signed out everywhere else",
    };
    account::sign_out(&infra, &origin, &caller, &caller.user, session).await?;
    let reply = Reply::new(StatusCode::OK, &json!({ "user": caller.user }))?.saying(said);
    Ok(if is_here {
        reply.going_to("/login").with_cookie(cookie.end())
    } else {
        reply
    })
}

pub(super) struct NewToken {
    name: String,
    scope: Scope,
    days: Option<u64>,
}

impl FromFields for NewToken {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let scope = fields.required_word("scope", 16)?;
        let scope = Scope::parse(&scope)
            .ok_or_else(|| Problem::invalid("scope", "scope must be read or full"))?;
        Ok(Self {
            name: fields.required_text("name", MAX_TOKEN_NAME)?,
            scope,
            days: fields
                .integer("days", 1..=MOST_DAYS)?
                .and_then(|days| u64::try_from(days).ok()),
        })
    }
}

/// Makes an API token; the answer shows it, and nothing does again
#[utoipa::path(
    post,
    path = "/api/account/tokens",
    request_body(content = inline(body::NewToken)),
    responses(
        (status = 201, description = "The token, and what GET /api/account tells of it"),
        (status = 403, description = "A token makes no tokens"),
        (status = 404, description = "The caller has no account"),
    ),
)]
pub(super) async fn add_token(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    Input(NewToken { name, scope, days }): Input<NewToken>,
) -> Result<Reply, Problem> {
    let (view, token) = account::add_token(&infra, &origin, &caller, name, scope, days).await?;
    let mut body = serde_json::to_value(&view)?;
    body["token"] = token.clone().into();
    Ok(Reply::new(StatusCode::CREATED, &body)?
        .saying("The token is made: copy it now")
        .showing(Once {
            label: format!("API token: {}", view.name),
            secret: token,
            hint: "Copy it now: it is not shown again. Programs send it as Authorization: Bearer"
                .to_owned(),
        }))
}

pub(super) struct WhichToken(pub String);

impl FromFields for WhichToken {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self(fields.required_word("id", MAX_ID)?))
    }
}

/// Makes one of one's own tokens useless
#[utoipa::path(
    post,
    path = "/api/account/tokens/revoke",
    request_body(content = inline(body::WhichToken)),
    responses(
        (status = 200, description = "Revoked"),
        (status = 404, description = "No such token"),
    ),
)]
pub(super) async fn revoke_token(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    Input(WhichToken(id)): Input<WhichToken>,
) -> Result<Reply, Problem> {
    account::revoke(&infra, &origin, &caller, &caller.user, id).await?;
    Ok(Reply::new(StatusCode::OK, &json!({ "user": caller.user }))?.saying("The token is revoked"))
}

pub(super) struct ByLink {
    user: Username,
    secret: String,
    password: String,
}

impl FromFields for ByLink {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let user = fields.required_word("user", 64)?;
        Ok(Self {
            user: Username::parse(&user)
                .map_err(|refusal| Problem::from(refusal).with_field("user"))?,
            secret: fields.required_word("secret", 256)?,
            password: fields.required_secret("password", LONGEST)?,
        })
    }
}

/// Sets a password by a link, which works once
#[utoipa::path(
    post,
    path = "/password/new",
    request_body(content = inline(body::ByLink)),
    responses(
        (status = 200, description = "Set: sign in with it"),
        (status = 410, description = "The link has been used, is too old, or never was one"),
    ),
)]
pub(super) async fn redeem(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    from: ClientAddress,
    Input(ByLink {
        user,
        secret,
        password,
    }): Input<ByLink>,
) -> Result<Reply, Problem> {
    account::redeem(&infra, &origin, from.caller(), &user, &secret, password).await?;
    Ok(Reply::new(StatusCode::OK, &json!({ "user": user }))?
        .saying("Your password is set: sign in with it")
        // With a fragment of its own, or browsers would take along the link's.
        .going_to("/login#main"))
}

#[cfg(test)]
crate::http::fuzz::fields!(
    fuzz_passwords: Passwords,
    fuzz_where: Where,
    fuzz_new_token: NewToken,
    fuzz_which_token: WhichToken,
    fuzz_by_link: ByLink,
);

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;
    use waybill_domain::account::Scope;

    #[derive(ToSchema)]
    pub(super) struct Passwords {
        /// The one that counts until now.
        #[schema(min_length = 1, max_length = 1024)]
        old_password: String,
        /// 12 characters or more, and not easily guessed.
        #[schema(min_length = 12, max_length = 1024)]
        new_password: String,
    }

    #[derive(ToSchema)]
    pub(super) struct Where {
        /// The `id` of a session of GET /api/account.
        #[schema(max_length = 64)]
        session: Option<String>,
    }

    #[derive(ToSchema)]
    pub(super) struct NewToken {
        /// What it is for.
        #[schema(min_length = 1, max_length = 64)]
        name: String,
        /// How much it may do.
        scope: Scope,
        /// Days until it ends by itself, 1 to 3650; without it, when it is revoked.
        #[schema(minimum = 1, maximum = 3650)]
        days: Option<i64>,
    }

    #[derive(ToSchema)]
    pub(super) struct WhichToken {
        /// The `id` of a token of GET /api/account.
        #[schema(min_length = 1, max_length = 64)]
        id: String,
    }

    #[derive(ToSchema)]
    pub(super) struct ByLink {
        /// Who: the link names them.
        #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
        user: String,
        /// What stands after the `#` of the link.
        #[schema(min_length = 1, max_length = 256)]
        secret: String,
        /// 12 characters or more, and not easily guessed.
        #[schema(min_length = 12, max_length = 1024)]
        password: String,
    }
}
