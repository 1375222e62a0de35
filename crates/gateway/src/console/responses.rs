//! What somebody sees after a write, or when something does not work: the toast
//! for Datastar, a page for everybody else.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::Event;
use datastar::prelude::{DatastarEvent, PatchElements};
use serde::Serialize;
use serde_json::Value;

use super::factor::{CODE_PAGE, CodePage};
use super::oidc;
use super::present::login_then;
use super::shell::{Persona, sentence};
use super::views::{View, Views};
use crate::api::factor;
use crate::http::negotiation::{RequestContext, local_path};
use crate::http::problem::{FACTOR_NEEDED, Problem};
use crate::http::reply::{Once, UserMessage};

/// How long a browser waits before it opens a stream again that was refused.
const REFUSED_STREAM_RETRY: Duration = Duration::from_secs(5);

/// `#toast`
#[derive(Debug, Clone, Default, Serialize)]
pub struct Toast {
    /// Whether something did not work.
    pub problem: bool,
    /// The kind of problem in a few words.
    pub title: Option<String>,
    /// A sentence.
    pub text: Option<String>,
    /// The field that was wrong.
    pub field: Option<String>,
    /// Whether the same may be asked again with the same idempotency key.
    pub again: bool,
    /// The page to go to.
    pub goes_to: Option<String>,
}

/// The page of an error.
#[derive(Debug, Clone, Serialize)]
pub struct ProblemPage {
    /// For `<script nonce>`.
    pub nonce: String,
    /// The HTTP status.
    pub code: u16,
    /// The kind in a few words.
    pub title: String,
    /// What happened and what to do.
    pub detail: String,
    /// Where to go from here.
    pub back: String,
    /// What the request is called, for whoever looks into the log.
    pub request_id: String,
}

/// `/login`
#[derive(Debug, Clone, Serialize)]
pub struct LoginPage {
    /// For `<script nonce>`.
    pub nonce: String,
    /// What did not work.
    pub problem: Option<String>,
    /// Whether that was about the password.
    pub of_password: bool,
    /// How one may sign in.
    pub ways: Ways,
    /// Whether nobody can: the shop has no people yet.
    pub is_unopened: bool,
    /// Whom a demo's visitor can be.
    pub personas: Vec<Persona>,
    /// The page that was asked for.
    pub next: String,
    /// The name that was tried.
    pub username: String,
}

/// `/password/new`
#[derive(Debug, Clone, Serialize)]
pub struct NewPasswordPage {
    /// For `<script nonce>`.
    pub nonce: String,
    /// Whose link it is.
    pub user: String,
    /// What did not work.
    pub problem: Option<String>,
    /// The field that was wrong, if it was one.
    pub field: Option<String>,
    /// What the request is called, for whoever looks into the log.
    pub request_id: String,
}

/// A secret that is shown once as a page, without JavaScript; with it, in `#once`.
#[derive(Debug, Clone, Serialize)]
pub struct OncePage {
    /// For `<script nonce>`.
    pub nonce: String,
    /// The secret.
    #[serde(flatten)]
    pub once: Once,
    /// Where to go from here.
    pub back: String,
}

impl View for NewPasswordPage {
    const TEMPLATE: &'static str = "new_password.html";
}
impl View for Once {
    const TEMPLATE: &'static str = "once.html";
}
impl View for OncePage {
    const TEMPLATE: &'static str = "once_page.html";
}
/// How one may sign in.
#[derive(Debug, Clone, Serialize)]
pub struct Ways {
    /// With user name and password.
    pub passwords: bool,
    /// At an identity provider.
    pub provider: Option<ProviderLink>,
    /// Whether somebody who has just signed out here may do so there, too.
    pub leave: bool,
}

/// The way to an identity provider.
#[derive(Debug, Clone, Serialize)]
pub struct ProviderLink {
    /// How people call it.
    pub name: String,
    /// Where the sign-in begins.
    pub href: String,
}

impl View for Toast {
    const TEMPLATE: &'static str = "toast.html";
}
impl View for ProblemPage {
    const TEMPLATE: &'static str = "problem.html";
}
impl View for LoginPage {
    const TEMPLATE: &'static str = "login.html";
}

impl Views {
    /// What Datastar is told when a write did not work.
    pub fn problem_patches(&self, problem: &Problem, context: &RequestContext) -> Vec<Event> {
        let toast = self.problem_toast(problem, &context.back);
        // To the client this is a stream that worked and ended, which it opens
        // again at once.
        if context.path.starts_with("/stream/") {
            return vec![toast.retry(REFUSED_STREAM_RETRY).into()];
        }
        vec![toast.into()]
    }

    /// What a window is told that may not show what is `at` its address.
    pub fn refused_window(&self, problem: &Problem, at: &str) -> DatastarEvent {
        self.problem_toast(problem, local_path(at).unwrap_or("/"))
            .into()
    }

    fn problem_toast(&self, problem: &Problem, back: &str) -> PatchElements {
        let signed_out = problem.status == StatusCode::UNAUTHORIZED;
        self.toast(&Toast {
            problem: true,
            title: Some(problem.title.clone()),
            text: Some(sentence(&problem.detail)),
            field: problem.field.clone(),
            again: problem.status.is_server_error(),
            goes_to: match problem.kind() {
                FACTOR_NEEDED => Some(factor::PAGE.to_owned()),
                _ => signed_out.then(|| login_then(back)),
            },
        })
    }

    /// What Datastar is told when a write worked.
    pub fn done_patches(&self, said: &UserMessage) -> Vec<Event> {
        let toast = self.toast(&Toast {
            text: said.text.clone(),
            goes_to: said.goes_to.clone(),
            ..Toast::default()
        });
        // First the secret: whoever hears of it can see it.
        let once = said.once.as_ref().map(|once| self.once(once).into());
        once.into_iter().chain([toast.into()]).collect()
    }

    fn once(&self, once: &Once) -> PatchElements {
        PatchElements::new(self.render(once).unwrap_or_else(|error| {
            tracing::error!(cause = %error, "a secret could not be rendered");
            "<section id=\"once\" class=\"once\"></section>".to_owned()
        }))
    }

    /// What a browser without JavaScript is shown after a write that has made a secret.
    pub fn once_page(&self, once: &Once, context: &RequestContext) -> Result<String, Problem> {
        Ok(self.render(&OncePage {
            nonce: context.nonce.as_str().to_owned(),
            once: once.clone(),
            back: context.back.clone(),
        })?)
    }

    /// The page of an error. A login that failed is tried again on its own page.
    pub fn problem_page(&self, problem: &Problem, context: &RequestContext) -> String {
        let nonce = context.nonce.as_str().to_owned();
        let is_of_code = context.path_alone() == CODE_PAGE && problem.kind() != "sign_in_over";
        let rendered = if is_of_code {
            self.render(&CodePage {
                nonce,
                problem: Some(sentence(&problem.detail)),
            })
        } else if context.path.starts_with("/login") {
            let next = match problem.extra.get("next").and_then(Value::as_str) {
                Some(next) => local_path(next).unwrap_or("/").to_owned(),
                None => next_of(&context.back),
            };
            self.render(&LoginPage {
                nonce,
                problem: Some(sentence(&problem.detail)),
                of_password: self.sign_ins().0 && context.path_alone() == "/login",
                ways: self.ways(&next),
                is_unopened: false,
                personas: Vec::new(),
                next,
                username: String::new(),
            })
        } else if context.path_alone() == "/password/new" {
            self.render(&NewPasswordPage {
                nonce,
                user: asked(&context.path, "user").unwrap_or_default(),
                problem: Some(sentence(&problem.detail)),
                field: problem.field.clone(),
                request_id: context.request_id.to_string(),
            })
        } else {
            let signed_out = problem.status == StatusCode::UNAUTHORIZED;
            self.render(&ProblemPage {
                nonce,
                code: problem.status.as_u16(),
                title: problem.title.clone(),
                detail: sentence(&problem.detail),
                back: if signed_out {
                    login_then(&context.back)
                } else {
                    context.back.clone()
                },
                request_id: context.request_id.to_string(),
            })
        };
        rendered.unwrap_or_else(|error| {
            tracing::error!(cause = %error, "the page of an error could not be rendered");
            // Without a template: better a bare page than none.
            format!(
                "<!doctype html><title>Waybill</title><p>Error {}.",
                problem.status.as_u16()
            )
        })
    }

    /// How one may sign in, to go to `next` then.
    pub fn ways(&self, next: &str) -> Ways {
        let (passwords, provider) = self.sign_ins();
        Ways {
            passwords,
            provider: provider.map(|name| ProviderLink {
                name: name.to_owned(),
                href: oidc::begin_at(next),
            }),
            leave: false,
        }
    }

    fn toast(&self, toast: &Toast) -> PatchElements {
        let html = self.render(toast).unwrap_or_else(|error| {
            tracing::error!(cause = %error, "a toast could not be rendered");
            "<div id=\"toast\" class=\"toast\" role=\"status\"></div>".to_owned()
        });
        PatchElements::new(html)
    }
}

/// The `next` of the login page's address.
fn next_of(address: &str) -> String {
    asked(address, "next")
        .and_then(|next| local_path(&next).map(str::to_owned))
        .unwrap_or_else(|| "/".to_owned())
}

/// What the query of an address says.
fn asked(address: &str, name: &str) -> Option<String> {
    let (_, query) = address.split_once('?')?;
    let mut asked = form_urlencoded::parse(query.as_bytes());
    asked
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Sample;

    impl Sample for Toast {
        fn samples() -> Vec<Self> {
            vec![
                Self::default(),
                Self {
                    text: Some("Added".into()),
                    ..Self::default()
                },
                Self {
                    goes_to: Some("/orders/alice.1".into()),
                    ..Self::default()
                },
                Self {
                    problem: true,
                    title: Some("Not enough stock".into()),
                    text: Some("<3 left>".into()),
                    field: Some("quantity".into()),
                    again: true,
                    goes_to: None,
                },
            ]
        }
    }
    impl Sample for ProblemPage {
        fn samples() -> Vec<Self> {
            [401, 404, 500]
                .map(|code| Self {
                    nonce: "n0nce".into(),
                    code,
                    title: "Not found".into(),
                    detail: "There is nothing".into(),
                    back: "/".into(),
                    request_id: "0123456789abcdef".into(),
                })
                .into()
        }
    }
    impl Sample for LoginPage {
        fn samples() -> Vec<Self> {
            let empty = Self {
                nonce: "n0nce".into(),
                problem: None,
                of_password: false,
                ways: Ways {
                    passwords: true,
                    provider: None,
                    leave: false,
                },
                is_unopened: true,
                personas: vec![],
                next: "/".into(),
                username: String::new(),
            };
            let demo = Self {
                problem: Some("Wrong password".into()),
                of_password: true,
                is_unopened: false,
                personas: vec![Persona {
                    username: "admin".into(),
                    does: "approves orders",
                }],
                ..empty.clone()
            };
            let both = Self {
                ways: Ways {
                    passwords: true,
                    provider: Some(ProviderLink {
                        name: "<Example & Sons>".into(),
                        href: "/login/oidc?next=%2F".into(),
                    }),
                    leave: true,
                },
                ..demo.clone()
            };
            let without_passwords = Self {
                problem: Some("The identity provider does not answer".into()),
                ways: Ways {
                    passwords: false,
                    ..both.ways.clone()
                },
                ..empty.clone()
            };
            vec![empty, demo, both, without_passwords]
        }
    }

    impl Sample for NewPasswordPage {
        fn samples() -> Vec<Self> {
            let page = |problem: Option<&str>, field: Option<&str>| Self {
                nonce: "n0nce".into(),
                user: "sue".into(),
                problem: problem.map(Into::into),
                field: field.map(Into::into),
                request_id: problem.map_or("", |_| "0123456789abcdef").into(),
            };
            vec![
                page(None, None),
                page(Some("Used already"), None),
                page(Some("Too short"), Some("password")),
                page(Some("Missing"), Some("secret")),
                page(Some("Missing"), Some("user")),
            ]
        }
    }
    impl Sample for Once {
        fn samples() -> Vec<Self> {
            vec![Self {
                label: "API token: <b>bold</b>".into(),
                secret: "waybill_0123".into(),
                hint: "Copy it now".into(),
            }]
        }
    }
    impl Sample for OncePage {
        fn samples() -> Vec<Self> {
            let page = |once| Self {
                nonce: "n0nce".into(),
                once,
                back: "/account".into(),
            };
            Once::samples().into_iter().map(page).collect()
        }
    }

    #[test]
    fn a_failed_login_keeps_where_one_was_going() {
        assert_eq!(next_of("/login?next=%2Forders%3Fq%3Da"), "/orders?q=a");
        assert_eq!(next_of("/login?next=https%3A%2F%2Fevil.example"), "/");
        assert_eq!(next_of("/login"), "/");
    }

    #[test]
    fn details_become_sentences() {
        assert_eq!(sentence("the cart is empty"), "The cart is empty");
        assert_eq!(sentence("order_id is missing"), "order_id is missing");
        assert_eq!(sentence(""), "");
    }
}
