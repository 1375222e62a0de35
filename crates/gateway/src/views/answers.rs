//! What somebody sees after a write, or when something does not work: the toast
//! for Datastar, a page for everybody else.

use axum::response::sse::Event;
use datastar::prelude::PatchElements;
use serde::Serialize;

use super::shell::Persona;
use super::{View, Views};
use crate::problem::Problem;
use crate::reply::{Asker, Said};

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
    /// The field that was wrong.
    pub field: Option<String>,
    /// Where to go from here.
    pub back: String,
}

/// `/login`
#[derive(Debug, Clone, Serialize)]
pub struct LoginPage {
    /// For `<script nonce>`.
    pub nonce: String,
    /// What did not work.
    pub problem: Option<String>,
    /// Whom a demo's visitor can be.
    pub personas: Vec<Persona>,
    /// The page that was asked for.
    pub next: String,
    /// The name that was tried.
    pub username: String,
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
    pub fn problem_patches(&self, problem: &Problem, asker: &Asker) -> Vec<Event> {
        let signed_out = problem.status == axum::http::StatusCode::UNAUTHORIZED;
        vec![self.toast(&Toast {
            problem: true,
            title: Some(problem.title.clone()),
            text: Some(sentence(&problem.detail)),
            field: problem.field.clone(),
            again: problem.status.is_server_error(),
            goes_to: signed_out.then(|| crate::reply::login_then(&asker.back)),
        })]
    }

    /// What Datastar is told when a write worked.
    pub fn done_patches(&self, said: &Said, _: &Asker) -> Vec<Event> {
        vec![self.toast(&Toast {
            text: said.text.clone(),
            goes_to: said.goes_to.clone(),
            ..Toast::default()
        })]
    }

    /// The page of an error.
    pub fn problem_page(&self, problem: &Problem, asker: &Asker) -> String {
        let signed_out = problem.status == axum::http::StatusCode::UNAUTHORIZED;
        let page = ProblemPage {
            nonce: asker.nonce.as_str().to_owned(),
            code: problem.status.as_u16(),
            title: problem.title.clone(),
            detail: sentence(&problem.detail),
            field: problem.field.clone(),
            back: if signed_out {
                crate::reply::login_then(&asker.back)
            } else {
                asker.back.clone()
            },
        };
        self.render(&page).unwrap_or_else(|error| {
            tracing::error!(cause = %error, "the page of an error could not be rendered");
            // Without a template: better a bare page than none.
            format!(
                "<!doctype html><title>Waybill</title><p>Error {}.",
                page.code
            )
        })
    }

    fn toast(&self, toast: &Toast) -> Event {
        let html = self.render(toast).unwrap_or_else(|error| {
            tracing::error!(cause = %error, "a toast could not be rendered");
            "<div id=\"toast\" class=\"toast\" role=\"status\"></div>".to_owned()
        });
        PatchElements::new(html).into()
    }
}

/// Details are written to stand after a colon; alone they begin like a sentence.
fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    match letters.next() {
        Some(first)
            if !detail
                .split(' ')
                .next()
                .is_some_and(|word| word.contains('_')) =>
        {
            first.to_uppercase().chain(letters).collect()
        }
        _ => detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::Sample;

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
                    field: (code == 404).then(|| "order_id".to_owned()),
                    back: "/".into(),
                })
                .into()
        }
    }
    impl Sample for LoginPage {
        fn samples() -> Vec<Self> {
            let empty = Self {
                nonce: "n0nce".into(),
                problem: None,
                personas: vec![],
                next: "/".into(),
                username: String::new(),
            };
            let demo = Self {
                problem: Some("Wrong password".into()),
                personas: vec![Persona {
                    username: "admin".into(),
                    is_admin: true,
                }],
                ..empty.clone()
            };
            vec![empty, demo]
        }
    }

    #[test]
    fn details_become_sentences() {
        assert_eq!(sentence("the cart is empty"), "The cart is empty");
        assert_eq!(sentence("order_id is missing"), "order_id is missing");
        assert_eq!(sentence(""), "");
    }
}
