//! The pages of the second factor: where a code is asked for after the password, and
//! where somebody sets it up. Both stand alone and work without JavaScript: who sees
//! them may have to do this before they may see anything else.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::refusal::Refusal;

use super::views::{Console, View};
use crate::api::factor::PAGE;
use crate::api::login;
use crate::http::input::{Fields, FromFields, InQuery};
use crate::http::nonce::Nonce;
use crate::http::problem::{Problem, WRONG_PASSWORD};
use crate::http::session_cookie;
use crate::identity::authenticator;
use crate::identity::caller::Caller;
use crate::shop::account::{self, FactorView};
use crate::shop::second_factor;

/// Where a code is asked for.
pub(super) const CODE_PAGE: &str = "/login/code";

/// `/login/code`
#[derive(Debug, Clone, Serialize)]
pub struct CodePage {
    /// For `<script nonce>`.
    pub nonce: String,
    /// What did not work.
    pub problem: Option<String>,
}

/// `/account/factor`
#[derive(Debug, Clone, Serialize)]
pub struct FactorPage {
    /// For `<script nonce>`.
    pub nonce: String,
    /// Whose.
    pub user: String,
    /// Whether they may do nothing else before it is set up.
    pub is_needed: bool,
    /// Whether there is a password beside which a code could be asked for.
    pub has_password: bool,
    /// The one that is on.
    pub factor: Option<FactorFacts>,
    /// The one that is being set up.
    pub set_up: Option<SetUp>,
    /// What did not work.
    pub wrong: Option<Wrong>,
}

/// A second factor that is on.
#[derive(Debug, Clone, Serialize)]
pub struct FactorFacts {
    /// Since when.
    pub since: Timestamp,
    /// Recovery codes that are left.
    pub recovery_left: usize,
    /// Wrong codes of the last day.
    pub wrong_codes: u32,
}

impl FactorFacts {
    /// Of a factor.
    pub(super) fn of(factor: &FactorView) -> Self {
        Self {
            since: factor.since,
            recovery_left: factor.recovery_left,
            wrong_codes: factor.wrong_codes,
        }
    }
}

/// A second factor that is being set up.
#[derive(Debug, Clone, Serialize)]
pub struct SetUp {
    /// For the app's camera: an SVG as `data:`.
    pub picture: String,
    /// For the app on the same device.
    pub uri: String,
    /// To type.
    pub secret: String,
}

/// What did not work of a form on this page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// Which form.
    pub form: &'static str,
    /// Which of its fields.
    pub field: &'static str,
    /// A sentence without its full stop.
    pub text: String,
}

/// The forms, and where they go.
const FORMS: [(&str, &str); 4] = [
    ("begin", "/api/account/factor/begin"),
    ("confirm", "/api/account/factor"),
    ("recovery", "/api/account/factor/recovery"),
    ("off", "/api/account/factor/off"),
];

impl Wrong {
    /// By the names in the page's address.
    fn of(form: &str, kind: &str) -> Option<Self> {
        let (form, _) = FORMS.into_iter().find(|(known, _)| *known == form)?;
        let says = |refusal: Refusal| ("code", refusal.to_string());
        let (field, text) = match kind {
            WRONG_PASSWORD => ("password", "the password is wrong".to_owned()),
            "wrong_code" => says(Refusal::WrongCode),
            "code_used" => says(Refusal::CodeUsed),
            "too_many_codes" => says(Refusal::TooManyCodes),
            "invalid" => (
                "code",
                "a code has six digits, and a recovery code 24 letters and digits".to_owned(),
            ),
            "too_many_tries" => (
                "password",
                "there were too many wrong tries: wait some minutes".to_owned(),
            ),
            "set_up_over" => (
                "password",
                "the set-up took too long: begin again, and take the old entry out of your app"
                    .to_owned(),
            ),
            "factor_unreadable" => (
                "code",
                "codes of the app cannot be checked any more: use a recovery code, or ask an admin to reset your second factor".to_owned(),
            ),
            _ => return None,
        };
        let text = super::shell::sentence(&text);
        Some(Self { form, field, text })
    }
}

/// Where a form of the page leads that did not work: back to it, which says so.
pub(super) fn back_to(problem: &Problem, path: &str) -> Option<String> {
    let (form, _) = FORMS.into_iter().find(|(_, action)| *action == path)?;
    // A set-up that is over begins with the password.
    let form = if problem.kind() == "set_up_over" {
        "begin"
    } else {
        form
    };
    Wrong::of(form, problem.kind())?;
    Some(format!("{PAGE}?form={form}&problem={}", problem.kind()))
}

/// What the address says of a form.
pub(super) struct Came(Option<Wrong>);

impl FromFields for Came {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let form = fields.word("form", 16)?.unwrap_or_default();
        let kind = fields.word("problem", 32)?.unwrap_or_default();
        Ok(Self(Wrong::of(&form, &kind)))
    }
}

/// Where somebody sets it up, and switches it off.
pub(super) async fn show(
    State(console): State<Arc<Console>>,
    caller: Caller,
    nonce: Nonce,
    headers: HeaderMap,
    InQuery(Came(wrong)): InQuery<Came>,
) -> Result<Html<String>, Problem> {
    let account = account::own(&console, &caller).await?;
    let kept = session_cookie::set_up_of(&headers, console.settings.edge.public_url());
    let begun = match account.factor {
        None => second_factor::begun(&console, &caller.user, kept),
        Some(_) => None,
    };
    let set_up = match begun {
        None => None,
        Some(secret) => {
            let uri = secret.uri(&caller.user)?;
            let picture = STANDARD.encode(authenticator::picture(&uri)?);
            Some(SetUp {
                picture: format!("data:image/svg+xml;base64,{picture}"),
                secret: secret.text(),
                uri,
            })
        }
    };
    Ok(Html(console.views.render(&FactorPage {
        nonce: nonce.as_str().to_owned(),
        user: account.user,
        is_needed: caller.owes_factor,
        has_password: account.has_password,
        factor: account.factor.as_ref().map(FactorFacts::of),
        set_up,
        wrong,
    })?))
}

/// Where a code is asked for; whoever has shown no password begins with that
#[utoipa::path(
    get,
    path = "/login/code",
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 303, description = "No password was shown yet"),
    ),
)]
pub(super) async fn code(
    State(console): State<Arc<Console>>,
    nonce: Nonce,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if login::half_signed_in(&console, &headers).is_none() {
        return Ok(Redirect::to("/login").into_response());
    }
    let html = console.views.render(&CodePage {
        nonce: nonce.as_str().to_owned(),
        problem: None,
    })?;
    Ok(Html(html).into_response())
}

impl View for CodePage {
    const TEMPLATE: &'static str = "code.html";
}
impl View for FactorPage {
    const TEMPLATE: &'static str = "factor.html";
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_came: Came);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Sample;

    impl Sample for CodePage {
        fn samples() -> Vec<Self> {
            [None, Some("The code is <wrong>".to_owned())]
                .map(|problem| Self {
                    nonce: "n0nce".into(),
                    problem,
                })
                .into()
        }
    }
    impl Sample for FactorPage {
        fn samples() -> Vec<Self> {
            let off = Self {
                nonce: "n0nce".into(),
                user: "sue".into(),
                is_needed: false,
                has_password: true,
                factor: None,
                set_up: None,
                wrong: None,
            };
            let on = |recovery_left, wrong_codes| {
                Some(FactorFacts {
                    since: Timestamp::UNIX_EPOCH,
                    recovery_left,
                    wrong_codes,
                })
            };
            let set_up = Some(SetUp {
                picture: "data:image/svg+xml;base64,AAAA".into(),
                uri: "otpauth://totp/Waybill:sue?secret=AAAA".into(),
                secret: "AAAA-BBBB".into(),
            });
            vec![
                Self {
                    is_needed: true,
                    wrong: Wrong::of("begin", WRONG_PASSWORD),
                    ..off.clone()
                },
                Self {
                    has_password: false,
                    ..off.clone()
                },
                Self {
                    wrong: Wrong::of("confirm", "wrong_code"),
                    set_up: set_up.clone(),
                    ..off.clone()
                },
                Self {
                    is_needed: true,
                    set_up,
                    ..off.clone()
                },
                Self {
                    factor: on(10, 0),
                    wrong: Wrong::of("off", "code_used"),
                    ..off.clone()
                },
                Self {
                    factor: on(1, 1),
                    wrong: Wrong::of("recovery", WRONG_PASSWORD),
                    ..off.clone()
                },
                Self {
                    factor: on(0, 3),
                    ..off.clone()
                },
                off,
            ]
        }
    }

    #[test]
    fn a_form_that_did_not_work_leads_back_to_itself() {
        let wrong: Problem = Refusal::WrongCode.into();
        let to = back_to(&wrong, "/api/account/factor/off");
        let to = to.unwrap();
        assert_eq!(to, "/account/factor?form=off&problem=wrong_code");
        let (_, query) = to.split_once('?').unwrap();
        let fields = Fields::from_form(query.as_bytes());
        let Came(Some(shown)) = Came::from_fields(&fields).unwrap() else {
            panic!("nothing is said");
        };
        assert_eq!((shown.form, shown.field), ("off", "code"));
        assert_eq!(back_to(&wrong, "/api/account/password"), None);
        let away = Problem::unavailable("later");
        assert_eq!(back_to(&away, "/api/account/factor/off"), None);
    }
}
