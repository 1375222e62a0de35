//! Typed ingress clients: the wire contract between gateway and services,
//! checked by the compiler.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, Response};
use percent_encoding::percent_decode_str;
use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue};
use restate_sdk::ingress::{
    self, CallResponse, Client, ClientError, RequestExecutor, RequestTarget,
};
use restate_sdk::serde::{Deserialize as RestateDeserialize, Json};
use serde::Deserialize;
use thiserror::Error;
use waybill_domain::idempotency::Once;
use waybill_domain::ids::{OrderId, Sku, Username};
use waybill_domain::refusal::Refusal;

/// What a call carries.
pub use crate::signed::Signed as Body;

use crate::once;
use crate::signed::{self, Call, CallKey};
use crate::wire::CATALOG_KEY;
use crate::wire::user_session::SETTLE;

pub use crate::account::AccountsIngressClient;
pub use crate::audit_log::AuditLogIngressClient;
pub use crate::catalog::CatalogIngressClient;
pub use crate::inventory::InventoryIngressClient;
pub use crate::order_fulfillment::OrderFulfillmentWorkflowIngressClient;
pub use crate::reconcile::ReconcileServiceIngressClient;
pub use crate::user_session::UserSessionIngressClient;

/// A call through the ingress ends after this, whatever happens behind it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The way to Restate's ingress. Cheap to clone.
#[derive(Clone)]
pub struct Ingress(Client<Signing>);

/// Sends requests, each signed as what it calls, if there is a key.
pub struct Signing {
    http: reqwest::Client,
    key: Option<CallKey>,
}

impl RequestExecutor for Signing {
    type Error = reqwest::Error;

    async fn execute(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Self::Error> {
        if let Some(signature) = self.key.as_ref().and_then(|key| signature(key, &request)) {
            request.headers_mut().insert(signed::HEADER, signature);
        }
        RequestExecutor::execute(&self.http, request).await
    }
}

/// `None` for what is no call: there is nothing to sign.
fn signature(key: &CallKey, request: &Request<Bytes>) -> Option<HeaderValue> {
    let (_, path) = request.uri().path().split_once("/restate/")?;
    let target = path
        .strip_prefix("call/")
        .or_else(|| path.strip_prefix("send/"))?;
    let named: Vec<_> = target
        .split('/')
        .map(|part| percent_decode_str(part).decode_utf8())
        .collect::<Result<_, _>>()
        .ok()?;
    let (service, target, handler) = match &named[..] {
        [service, handler] => (service, "", handler),
        [service, target, handler] => (service, &**target, handler),
        _ => return None,
    };
    let once = request.headers().get(once::HEADER);
    let signature = key.sign(Call {
        service,
        key: target,
        handler,
        once: once.and_then(|value| value.to_str().ok()),
        body: request.body(),
    });
    HeaderValue::try_from(signature).ok()
}

/// Connects lazily: nothing is sent before the first call. Calls are signed with
/// `token`, which the services must have, too.
///
/// # Errors
/// When `url` is not an absolute `http` or `https` URL.
pub fn connect(url: &str, token: Option<&str>) -> anyhow::Result<Ingress> {
    let http = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(Duration::from_secs(2))
        .tcp_nodelay(true)
        .build()?;
    let key = token.map(CallKey::of);
    Ok(Ingress(Client::new(url.parse()?, Signing { http, key })?))
}

impl Ingress {
    /// Whether Restate knows the services: it has been told where they are,
    /// which says nothing of whether they run. Starts no invocation: what is
    /// asked for is refused to whoever asks from outside, once it is known.
    ///
    /// # Errors
    /// When Restate does not answer.
    pub async fn knows_services(&self) -> Result<bool, Failure> {
        let private = RequestTarget::object(SETTLE.service, "nobody", SETTLE.name);
        let asked = self.0.request::<_, ()>(private, Json(())).call().await;
        let Err(error) = asked else { return Ok(true) };
        match error.response().map(Response::status) {
            Some(StatusCode::BAD_REQUEST) => Ok(true),
            Some(StatusCode::NOT_FOUND) => Ok(false),
            _ => Err(failure(&error)),
        }
    }

    /// A user's cart and checkouts.
    pub fn user_session(&self, user: &Username) -> UserSessionIngressClient<Signing> {
        UserSessionIngressClient::from_client(self.0.clone(), user.as_str())
    }

    /// Who a user is, and where they are signed in.
    pub fn account(&self, user: &Username) -> AccountsIngressClient<Signing> {
        AccountsIngressClient::from_client(self.0.clone(), user.as_str())
    }

    /// What is sold, and where it can be shipped.
    pub fn catalog(&self) -> CatalogIngressClient<Signing> {
        CatalogIngressClient::from_client(self.0.clone(), CATALOG_KEY)
    }

    /// The audit log of a day in UTC.
    pub fn audit_log(&self, day: &str) -> AuditLogIngressClient<Signing> {
        AuditLogIngressClient::from_client(self.0.clone(), day)
    }

    /// An order once it is paid.
    pub fn workflow(&self, order: &OrderId) -> OrderFulfillmentWorkflowIngressClient<Signing> {
        OrderFulfillmentWorkflowIngressClient::from_client(self.0.clone(), order.as_str())
    }

    /// What only our own handlers may call otherwise.
    pub fn reconcile(&self) -> ReconcileServiceIngressClient<Signing> {
        ReconcileServiceIngressClient::from_client(self.0.clone())
    }

    /// The stock of a product.
    pub fn inventory(&self, sku: &Sku) -> InventoryIngressClient<Signing> {
        InventoryIngressClient::from_client(self.0.clone(), sku.as_str())
    }
}

/// The request with its caller's key, if it has one: done once
/// ([`crate::once`]).
pub fn keyed<E, Req, Res>(
    request: ingress::Request<E, Req, Res>,
    once: Option<Once>,
) -> ingress::Request<E, Req, Res> {
    let value = once.map(|once| HeaderValue::try_from(once.to_string()));
    match value {
        Some(Ok(value)) => request.header(HeaderName::from_static(once::HEADER), value),
        // Two digests and a number are always a header's value.
        Some(Err(_)) | None => request,
    }
}

/// Why a call through the ingress gave no answer.
#[derive(Debug, Clone, Error)]
pub enum Failure {
    /// The services say no, finally.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The invocation ended in another terminal error.
    #[error("{message} (code {code})")]
    Terminal {
        /// Its code.
        code: u16,
        /// Its message.
        message: String,
    },
    /// Restate or the services cannot be reached, or did not answer in time.
    /// What was asked may still happen: ask again with the same idempotency key.
    #[error("{0}")]
    Unavailable(String),
}

/// What a call through the ingress came to.
///
/// # Errors
/// See [`Failure`].
pub fn outcome<T>(called: Result<CallResponse<Signing, Json<T>>, ClientError>) -> Result<T, Failure>
where
    Json<T>: RestateDeserialize,
{
    called
        .and_then(CallResponse::into_body)
        .map(Json::into_inner)
        .map_err(|error| failure(&error))
}

/// The same for a handler that answers nothing.
///
/// # Errors
/// See [`Failure`].
pub fn done(called: Result<CallResponse<Signing, ()>, ClientError>) -> Result<(), Failure> {
    called
        .and_then(CallResponse::into_body)
        .map_err(|error| failure(&error))
}

fn failure(error: &ClientError) -> Failure {
    #[derive(Deserialize)]
    struct Terminal {
        #[serde(default)]
        code: Option<u16>,
        message: String,
    }

    let Some(response) = error.response() else {
        return Failure::Unavailable(error.to_string());
    };
    // The ingress' own refusals (no such service yet, overload) can go away;
    // those of an invocation are its last word.
    let from_invocation = response
        .headers()
        .get("x-restate-error-source")
        .is_some_and(|source| source == "invocation");
    let status = response.status().as_u16();
    match serde_json::from_slice::<Terminal>(response.body()) {
        Ok(terminal) if from_invocation => match serde_json::from_str::<Refusal>(&terminal.message)
        {
            Ok(refusal) => Failure::Refused(refusal),
            Err(_) => Failure::Terminal {
                code: terminal.code.unwrap_or(status),
                message: terminal.message,
            },
        },
        Ok(terminal) => Failure::Unavailable(terminal.message),
        Err(_) => Failure::Unavailable(format!("Restate answered {status}")),
    }
}
