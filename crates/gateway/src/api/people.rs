//! `/api/people`: the people of the shop, for admins. Nobody changes their own role,
//! disables themselves or makes a link to their own account: 409.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use waybill_domain::account::{MAX_EMAIL, Role};
use waybill_domain::ids::Username;

use super::account::{Where, WhichToken};
use crate::http::input::{Fields, FromFields, InQuery, Input};
use crate::http::origin::RequestOrigin;
use crate::http::pagination::{PageParams, Pagination};
use crate::http::problem::Problem;
use crate::http::reply::{Once, Reply};
use crate::http::site;
use crate::identity::caller::Caller;
use crate::infra::{Infra, Shared};
use crate::shop::account::{self, AccountView};
use crate::shop::{people, second_factor};

/// People on a page, unless another number is asked for.
const PER_PAGE: u32 = 25;
/// Longest text to search for.
const MAX_Q: usize = 100;

pub(super) struct Query {
    q: String,
    page: Pagination,
}

impl FromFields for Query {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            q: fields.text("q", MAX_Q)?.unwrap_or_default(),
            page: Pagination::from_fields(fields, PER_PAGE)?,
        })
    }
}

/// One page of the people.
#[derive(Serialize, ToSchema)]
#[schema(as = People)]
pub(super) struct Listed {
    /// By name.
    people: Vec<AccountView>,
    /// How many there are.
    total: i64,
    #[serde(flatten)]
    page: Pagination,
}

/// The people of the shop, by name
#[utoipa::path(
    get,
    path = "/api/people",
    params(
        ("q" = Option<String>, Query, max_length = 100, description = "A part of the name or the e-mail address."),
        PageParams,
    ),
    responses(
        (status = 200, description = "People", body = Listed),
    ),
)]
pub(super) async fn list(
    State(infra): State<Shared>,
    caller: Caller,
    InQuery(Query { q, page }): InQuery<Query>,
) -> Result<Json<Listed>, Problem> {
    let (people, total) = account::list(&infra, &caller, &q, page).await?;
    Ok(Json(Listed {
        people,
        total,
        page,
    }))
}

/// One of the people
#[utoipa::path(
    get,
    path = "/api/people/{user}",
    responses(
        (status = 200, description = "AccountView", body = AccountView),
        (status = 404, description = "No such user"),
    ),
)]
pub(super) async fn one(
    State(infra): State<Shared>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<AccountView>, Problem> {
    let user = account::named(&user)?;
    Ok(Json(account::one(&infra, &caller, &user).await?))
}

pub(super) struct New {
    user: Username,
    email: String,
    role: Role,
}

impl FromFields for New {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let user = fields.required_word("user", 64)?;
        Ok(Self {
            user: Username::parse(&user)
                .map_err(|refusal| Problem::from(refusal).with_field("user"))?,
            email: fields.required_word("email", MAX_EMAIL)?,
            role: role(fields)?,
        })
    }
}

fn role(fields: &Fields) -> Result<Role, Problem> {
    let name = fields.required_word("role", 16)?;
    Role::parse(&name).ok_or_else(|| {
        Problem::invalid("role", "role must be customer, support, approver or admin")
    })
}

/// Makes somebody known; answers a link by which they set a password
///
/// The link works once, for a day.
#[utoipa::path(
    post,
    path = "/api/people",
    request_body(content = inline(body::New)),
    responses(
        (status = 201, description = "The link"),
        (status = 409, description = "The name is taken"),
    ),
)]
pub(super) async fn create(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    headers: HeaderMap,
    Input(New { user, email, role }): Input<New>,
) -> Result<Reply, Problem> {
    let secret = account::create(&infra, &origin, &caller, &user, role, &email)
        .await
        .map_err(|problem| match problem.kind() {
            "user_exists" => problem.with_field("user"),
            _ => problem,
        })?;
    let said = format!("{user} is known now: send them the link");
    let reply = with_link(&infra, &headers, StatusCode::CREATED, &user, &secret)?;
    Ok(reply.saying(said))
}

fn with_link(
    infra: &Infra,
    headers: &HeaderMap,
    status: StatusCode,
    user: &Username,
    secret: &str,
) -> Result<Reply, Problem> {
    let base = site::of(infra.settings.edge.public_url(), headers);
    let link = format!("{base}{}", people::link_path(user, secret));
    Ok(
        Reply::new(status, &json!({ "user": user, "link": link }))?.showing(Once {
            label: format!("Link for {user} to set a password"),
            secret: link,
            hint:
                "Copy it now and send it to them: it is not shown again. It works once, for a day"
                    .to_owned(),
        }),
    )
}

pub(super) struct NewRole(Role);

impl FromFields for NewRole {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        role(fields).map(Self)
    }
}

/// Gives somebody another role; they are signed out everywhere
#[utoipa::path(
    post,
    path = "/api/people/{user}/role",
    request_body(content = inline(body::NewRole)),
    responses(
        (status = 200, description = "Changed"),
        (status = 404, description = "No such user"),
        (status = 409, description = "Oneself"),
    ),
)]
pub(super) async fn set_role(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    Path(user): Path<String>,
    Input(NewRole(role)): Input<NewRole>,
) -> Result<Reply, Problem> {
    let user = account::named(&user)?;
    account::set_role(&infra, &origin, &caller, &user, role).await?;
    done(&user, format!("{user} is {role} now, and signed out"))
}

/// Lets somebody sign in no more; they are signed out and their tokens stop
#[utoipa::path(
    post,
    path = "/api/people/{user}/disable",
    responses(
        (status = 200, description = "Disabled"),
        (status = 404, description = "No such user"),
        (status = 409, description = "Oneself"),
    ),
)]
pub(super) async fn disable(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Reply, Problem> {
    let user = account::named(&user)?;
    account::set_enabled(&infra, &origin, &caller, &user, false).await?;
    done(&user, format!("{user} may not sign in any more"))
}

/// Lets somebody sign in again
#[utoipa::path(
    post,
    path = "/api/people/{user}/enable",
    responses(
        (status = 200, description = "Enabled"),
        (status = 404, description = "No such user"),
        (status = 409, description = "Oneself"),
    ),
)]
pub(super) async fn enable(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Reply, Problem> {
    let user = account::named(&user)?;
    account::set_enabled(&infra, &origin, &caller, &user, true).await?;
    done(&user, format!("{user} may sign in again"))
}

/// Makes a link by which somebody sets a password; an older one stops
#[utoipa::path(
    post,
    path = "/api/people/{user}/link",
    responses(
        (status = 200, description = "The link"),
        (status = 404, description = "No such user"),
        (status = 409, description = "Oneself"),
    ),
)]
pub(super) async fn link(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Result<Reply, Problem> {
    let user = account::named(&user)?;
    let secret = account::new_link(&infra, &origin, &caller, &user).await?;
    let reply = with_link(&infra, &headers, StatusCode::OK, &user, &secret)?;
    Ok(reply.saying("The link is made: copy it now"))
}

/// Takes somebody's second factor away; they are signed out everywhere
///
/// They sign in with the password alone then, and set up another.
#[utoipa::path(
    post,
    path = "/api/people/{user}/factor/reset",
    responses(
        (status = 200, description = "Taken away, or there was none"),
        (status = 404, description = "No such user"),
        (status = 409, description = "Oneself"),
    ),
)]
pub(super) async fn reset_factor(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Reply, Problem> {
    let user = account::named(&user)?;
    second_factor::reset(&infra, &origin, &caller, &user).await?;
    done(
        &user,
        format!("{user} has no second factor any more, and is signed out"),
    )
}

/// Signs somebody out at one place, or without `session` everywhere
#[utoipa::path(
    post,
    path = "/api/people/{user}/sign-out",
    request_body(content = inline(body::Where)),
    responses(
        (status = 200, description = "Signed out"),
        (status = 404, description = "No such user, or nobody is signed in there"),
    ),
)]
pub(super) async fn sign_out(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    Path(user): Path<String>,
    Input(Where(session)): Input<Where>,
) -> Result<Reply, Problem> {
    let user = account::named(&user)?;
    let said = match session {
        Some(_) => format!("{user} is signed out there"),
        None if caller.user == user => "You are signed out everywhere else".to_owned(),
        None => format!("{user} is signed out everywhere"),
    };
    account::sign_out(&infra, &origin, &caller, &user, session).await?;
    done(&user, said)
}

/// Makes one of somebody's tokens useless
#[utoipa::path(
    post,
    path = "/api/people/{user}/tokens/revoke",
    request_body(content = inline(body::Token)),
    responses(
        (status = 200, description = "Revoked"),
        (status = 404, description = "No such user, or no such token"),
    ),
)]
pub(super) async fn revoke_token(
    State(infra): State<Shared>,
    caller: Caller,
    RequestOrigin(origin): RequestOrigin,
    Path(user): Path<String>,
    Input(WhichToken(id)): Input<WhichToken>,
) -> Result<Reply, Problem> {
    let user = account::named(&user)?;
    account::revoke(&infra, &origin, &caller, &user, id).await?;
    done(&user, "The token is revoked".to_owned())
}

fn done(user: &Username, said: String) -> Result<Reply, Problem> {
    Ok(Reply::new(StatusCode::OK, &json!({ "user": user }))?.saying(said))
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_query: Query, fuzz_new: New, fuzz_new_role: NewRole);

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;
    use waybill_domain::account::Role;

    #[derive(ToSchema)]
    pub(super) struct New {
        /// User name: letters, digits, '-' and '_'.
        #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
        user: String,
        /// Where to write to them.
        #[schema(pattern = "^[A-Za-z0-9.+-]{1,64}@[A-Za-z0-9.-]{1,64}$")]
        email: String,
        /// What they may do.
        role: Role,
    }

    #[derive(ToSchema)]
    pub(super) struct NewRole {
        /// What they may do.
        role: Role,
    }

    #[derive(ToSchema)]
    pub(super) struct Where {
        /// The `id` of one of their sessions.
        #[schema(max_length = 64)]
        session: Option<String>,
    }

    #[derive(ToSchema)]
    pub(super) struct Token {
        /// The `id` of one of their tokens.
        #[schema(min_length = 1, max_length = 64)]
        id: String,
    }
}
