//! `/api/account/factor`: one's own second factor. Its page is `/account/factor`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::http::client::ClientAddress;
use crate::http::input::{Fields, FromFields, Input};
use crate::http::origin::RequestOrigin;
use crate::http::problem::{Problem, WRONG_PASSWORD};
use crate::http::reply::{Once, Reply};
use crate::http::session_cookie::{self, SessionCookie};
use crate::identity::authenticator::{self, Code};
use crate::identity::caller::Caller;
use crate::identity::half_signed_in::SET_UP_WITHIN;
use crate::identity::password::LONGEST;
use crate::infra::Shared;
use crate::shop::{audit, second_factor};

/// Where a browser sets it up.
pub(crate) const PAGE: &str = "/account/factor";
/// Longest set-up that is taken back: a browser's cookie is no longer.
const MAX_SET_UP: usize = 1_024;

/// A code as it is typed.
pub(super) fn code(fields: &Fields) -> Result<Code, Problem> {
    fields
        .required_word("code", authenticator::LONGEST)?
        .parse()
}

pub(super) struct Password(String);

impl FromFields for Password {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self(fields.required_secret("password", LONGEST)?))
    }
}

/// Begins to set up a second factor: answers a secret for an authenticator app
///
/// Nothing is asked for until a first code of the app has come back, with `set_up`.
#[utoipa::path(
    post,
    path = "/api/account/factor/begin",
    request_body(content = inline(body::Password)),
    responses(
        (status = 200, description = "`secret` as people type it, `uri` as apps read it, `set_up` to send back with a first code within a quarter of an hour"),
        (status = 403, description = "The password is wrong, or an API token asks"),
        (status = 409, description = "There is a second factor already, or no password"),
        (status = 429, description = "Too many wrong passwords"),
    ),
)]
pub(super) async fn begin(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    from: ClientAddress,
    cookie: SessionCookie,
    Input(Password(password)): Input<Password>,
) -> Result<Reply, Problem> {
    let begun = second_factor::begin(&infra, from.caller(), &caller, password).await;
    let begun = begun.inspect_err(|no| {
        if is_guess(no) {
            audit::failed_sign_in(&infra, from, origin, caller.user.as_str());
        }
    })?;
    let body = json!({
        "user": caller.user,
        "secret": begun.secret.text(),
        "uri": begun.secret.uri(&caller.user)?,
        "set_up": begun.kept,
    });
    Ok(Reply::new(StatusCode::OK, &body)?
        .going_to(PAGE)
        .with_cookie(cookie.begin_set_up(&begun.kept, SET_UP_WITHIN)))
}

/// A guess at the password is one at the sign-in.
fn is_guess(no: &Problem) -> bool {
    no.kind() == WRONG_PASSWORD || no.status == StatusCode::TOO_MANY_REQUESTS
}

pub(super) struct FirstCode {
    code: Code,
    set_up: Option<String>,
}

impl FromFields for FirstCode {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            code: code(fields)?,
            set_up: fields.word("set_up", MAX_SET_UP)?,
        })
    }
}

/// Switches the second factor on by a first code; answers recovery codes, once
///
/// Every other session ends. A browser sends `set_up` as a cookie.
#[utoipa::path(
    post,
    path = "/api/account/factor",
    request_body(content = inline(body::FirstCode)),
    responses(
        (status = 200, description = "On: `recovery_codes` are not shown again"),
        (status = 403, description = "The code is wrong, or an API token asks"),
        (status = 404, description = "The caller has no account"),
        (status = 409, description = "There is a second factor already"),
        (status = 410, description = "The set-up has not begun, or took too long"),
    ),
)]
pub(super) async fn set_up(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    from: ClientAddress,
    cookie: SessionCookie,
    headers: HeaderMap,
    Input(FirstCode { code, set_up }): Input<FirstCode>,
) -> Result<Reply, Problem> {
    let of_cookie = session_cookie::set_up_of(&headers, infra.settings.edge.public_url());
    let kept = set_up.as_deref().or(of_cookie);
    let secret = second_factor::begun(&infra, &caller.user, kept).ok_or_else(|| {
        Problem::new(
            StatusCode::GONE,
            "set_up_over",
            "Begin again",
            "the set-up has not begun, or took longer than a quarter of an hour: begin again with your password, and take the old entry out of your app",
        )
    })?;
    let codes = second_factor::set_up(&infra, &origin, from, &caller, &secret, code).await?;
    let said = "The second factor is on. You are signed out everywhere else";
    Ok(with_codes(&caller, &codes)?
        .saying(said)
        .with_cookie(cookie.end_set_up()))
}

fn with_codes(caller: &Caller, codes: &[String]) -> Result<Reply, Problem> {
    let body = json!({ "user": caller.user, "recovery_codes": codes });
    Ok(Reply::new(StatusCode::OK, &body)?.showing(Once {
        label: "Recovery codes".to_owned(),
        secret: codes.join("\n"),
        hint: "Keep them where your app is not: they are not shown again. Each takes the place of a code, once"
            .to_owned(),
    }))
}

pub(super) struct PasswordAndCode {
    password: String,
    code: Code,
}

impl FromFields for PasswordAndCode {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Ok(Self {
            password: fields.required_secret("password", LONGEST)?,
            code: code(fields)?,
        })
    }
}

/// Makes other recovery codes; those of before stop
#[utoipa::path(
    post,
    path = "/api/account/factor/recovery",
    request_body(content = inline(body::PasswordAndCode)),
    responses(
        (status = 200, description = "`recovery_codes`, which are not shown again"),
        (status = 403, description = "Password or code is wrong, or an API token asks"),
        (status = 409, description = "There is no second factor, or no password"),
        (status = 429, description = "Too many wrong passwords or codes"),
    ),
)]
pub(super) async fn renew_recovery(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    from: ClientAddress,
    Input(PasswordAndCode { password, code }): Input<PasswordAndCode>,
) -> Result<Reply, Problem> {
    let made = second_factor::renew_recovery(&infra, &origin, from, &caller, password, code).await;
    let codes = made.inspect_err(|no| {
        if is_guess(no) {
            audit::failed_sign_in(&infra, from, origin.clone(), caller.user.as_str());
        }
    })?;
    Ok(with_codes(&caller, &codes)?.saying("The recovery codes are made: keep them now"))
}

/// Switches the second factor off; every other session ends
#[utoipa::path(
    post,
    path = "/api/account/factor/off",
    request_body(content = inline(body::PasswordAndCode)),
    responses(
        (status = 200, description = "Off"),
        (status = 403, description = "Password or code is wrong, or an API token asks"),
        (status = 409, description = "There is no second factor, or no password"),
        (status = 429, description = "Too many wrong passwords or codes"),
    ),
)]
pub(super) async fn switch_off(
    State(infra): State<Shared>,
    RequestOrigin(origin): RequestOrigin,
    caller: Caller,
    from: ClientAddress,
    Input(PasswordAndCode { password, code }): Input<PasswordAndCode>,
) -> Result<Reply, Problem> {
    let off = second_factor::switch_off(&infra, &origin, from, &caller, password, code).await;
    off.inspect_err(|no| {
        if is_guess(no) {
            audit::failed_sign_in(&infra, from, origin.clone(), caller.user.as_str());
        }
    })?;
    Ok(Reply::new(StatusCode::OK, &json!({ "user": caller.user }))?
        .saying("The second factor is off. You are signed out everywhere else")
        .going_to(PAGE))
}

#[cfg(test)]
crate::http::fuzz::fields!(
    fuzz_password: Password,
    fuzz_first_code: FirstCode,
    fuzz_password_and_code: PasswordAndCode,
);

/// What requests may say, for the description: [`FromFields`] takes it apart.
mod body {
    #![expect(dead_code, reason = "described, and never made")]

    use utoipa::ToSchema;

    #[derive(ToSchema)]
    pub(super) struct Password {
        /// The caller's.
        #[schema(min_length = 1, max_length = 1024)]
        password: String,
    }

    #[derive(ToSchema)]
    pub(super) struct FirstCode {
        /// Six digits, as the app shows them.
        #[schema(max_length = 64, pattern = r"\S")]
        code: String,
        /// What the beginning has answered.
        #[schema(max_length = 1024)]
        set_up: Option<String>,
    }

    #[derive(ToSchema)]
    pub(super) struct PasswordAndCode {
        /// The caller's.
        #[schema(min_length = 1, max_length = 1024)]
        password: String,
        /// Six digits of the app, or a recovery code.
        #[schema(max_length = 64, pattern = r"\S")]
        code: String,
    }
}
