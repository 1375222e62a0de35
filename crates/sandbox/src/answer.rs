//! How the sandbox answers: in JSON, with a bare outage, or not at all.
//!
//! An answer that ends a request early travels as an `Err`, so that handlers
//! can use `?` for refusals and for failures of the ledger alike.

use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use process::http::SlowBody;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What a handler gives back.
pub(crate) type Reply = Result<Answer, Answer>;

/// One answer to one request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A JSON document.
    Json(StatusCode, Value),
    /// A status and nothing else: what a broken machine says.
    Bare(StatusCode),
    /// None: the connection is closed without a byte.
    Lost,
}

/// Marks a response that must not reach the caller.
#[derive(Clone)]
pub(crate) struct LostAnswer;

impl Answer {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self::Json(status_code(status), body)
    }

    /// A no with its reason in one sentence.
    pub(crate) fn refused(status: u16, error: impl Into<String>) -> Self {
        Self::json(status, json!({ "error": error.into() }))
    }

    /// A no to a body that could not be read.
    pub(crate) fn unread(
        error: &(dyn std::error::Error + 'static),
        status: u16,
        why: String,
    ) -> Self {
        if SlowBody::is_behind(error) {
            return Self::refused(408, SlowBody.to_string());
        }
        Self::refused(status, why)
    }

    pub(crate) fn bare(status: u16) -> Self {
        Self::Bare(status_code(status))
    }

    /// Adds a field to a JSON answer.
    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        if let Self::Json(_, Value::Object(body)) = &mut self {
            body.insert(field.to_owned(), value.into());
        }
        self
    }

    /// The answer as it leaves under the faults `delay_ms` and
    /// `drop_response`: late, and lost if the request had an effect.
    pub(crate) async fn leave(self, delay_ms: u32, drop_response: bool, effect: bool) -> Self {
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms.into())).await;
        }
        if drop_response && effect {
            return Self::Lost;
        }
        self
    }
}

/// Does what a request asks once it has arrived: under the fault `lag_ms` late,
/// and then also when the caller has hung up meanwhile.
pub(crate) async fn once_arrived(
    lag_ms: u32,
    work: impl Future<Output = Reply> + Send + 'static,
) -> Reply {
    if lag_ms == 0 {
        return work.await;
    }
    let late = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(lag_ms.into())).await;
        work.await
    });
    late.await
        .unwrap_or_else(|failure| Err(anyhow::Error::from(failure).into()))
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Json(status, body) => (status, Json(body)).into_response(),
            Self::Bare(status) => status.into_response(),
            Self::Lost => {
                let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
                response.extensions_mut().insert(LostAnswer);
                response
            }
        }
    }
}

impl From<anyhow::Error> for Answer {
    fn from(error: anyhow::Error) -> Self {
        tracing::error!("sandbox: {error:#}");
        Self::refused(500, "the sandbox failed to keep its ledger: see its log")
    }
}

impl From<sqlx::Error> for Answer {
    fn from(error: sqlx::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<serde_json::Error> for Answer {
    fn from(error: serde_json::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

/// The mandatory `Idempotency-Key` header.
pub(crate) struct IdempotencyKey(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Answer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Answer> {
        let key = parts
            .headers
            .get("idempotency-key")
            .and_then(|key| key.to_str().ok())
            .map(str::trim)
            .unwrap_or_default();
        if key.is_empty() || key.len() > 255 {
            return Err(Answer::refused(
                400,
                "send an Idempotency-Key header of 1 to 255 visible characters",
            ));
        }
        Ok(Self(key.to_owned()))
    }
}

/// A JSON body, whatever content type it claims.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Answer;

    async fn from_request(request: Request, state: &S) -> Result<Self, Answer> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| {
                Answer::unread(
                    &rejection,
                    rejection.status().as_u16(),
                    rejection.body_text(),
                )
            })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Answer::refused(
                400,
                format!("the body is not the JSON this address takes: {error}"),
            )
        })
    }
}
