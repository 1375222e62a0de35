//! What a write that worked answers, and documents.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::problem::Problem;

/// What a write that worked answers.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    body: Value,
    said: UserMessage,
    cookies: Vec<HeaderValue>,
}

/// What a write that worked says to a person.
#[derive(Debug, Clone, Default)]
pub struct UserMessage {
    /// A short sentence, if there is something to say.
    pub text: Option<String>,
    /// The page to go to, if not the same again.
    pub goes_to: Option<String>,
    /// A secret that is shown this once.
    pub once: Option<Once>,
}

/// A secret that is shown once: whoever needs it copies it.
#[derive(Debug, Clone, Serialize)]
pub struct Once {
    /// What it is.
    pub label: String,
    /// The secret.
    pub secret: String,
    /// What to do with it: a sentence without its full stop.
    pub hint: String,
}

impl Reply {
    /// `body` for the API.
    pub fn new(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self {
            status,
            body: serde_json::to_value(body)?,
            said: UserMessage::default(),
            cookies: Vec::new(),
        })
    }

    /// What a person is told.
    #[must_use]
    pub fn saying(mut self, text: impl Into<String>) -> Self {
        self.said.text = Some(text.into());
        self
    }

    /// What a person is told of a write that may have been done before: its news
    /// belong to the first time.
    #[must_use]
    pub fn saying_once(self, text: &str, again: bool) -> Self {
        if again {
            self.saying(format!("This was done before. {text}"))
        } else {
            self.saying(text)
        }
    }

    /// Where a browser goes next: a path on this site.
    #[must_use]
    pub fn going_to(mut self, path: impl Into<String>) -> Self {
        self.said.goes_to = Some(path.into());
        self
    }

    /// Shows a person a secret, for as long as they stay.
    #[must_use]
    pub fn showing(mut self, once: Once) -> Self {
        self.said.once = Some(once);
        self
    }

    /// Sets a cookie in whatever form the answer takes.
    #[must_use]
    pub fn with_cookie(mut self, cookie: HeaderValue) -> Self {
        self.cookies.push(cookie);
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        for cookie in self.cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response.extensions_mut().insert(self.said);
        response
    }
}

/// A Markdown document.
#[derive(Debug, Clone)]
pub struct Markdown(pub String);

impl IntoResponse for Markdown {
    fn into_response(self) -> Response {
        let kind = HeaderValue::from_static("text/markdown; charset=utf-8");
        ([(header::CONTENT_TYPE, kind)], self.0).into_response()
    }
}
