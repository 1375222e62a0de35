//! Typed ingress clients: the wire contract between gateway and services,
//! checked by the compiler.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue};
use restate_sdk::ingress::{
    CallResponse, Client, ClientError, Request, RequestTarget, ReqwestClient, SendResponse,
};
use restate_sdk::serde::{Deserialize as RestateDeserialize, Json};
use serde::Deserialize;
use thiserror::Error;
use waybill_domain::idempotency::Once;
use waybill_domain::ids::{OrderId, Sku, Username};
use waybill_domain::refusal::Refusal;

pub use restate_sdk::serde::Json as Body;

use crate::once::HEADER;
use crate::wire::user_session::SETTLE;

pub use crate::account::AccountsIngressClient;
pub use crate::inventory::InventoryIngressClient;
pub use crate::order_fulfillment::OrderFulfillmentWorkflowIngressClient;
pub use crate::payment::PaymentServiceIngressClient;
pub use crate::shipping::ShippingServiceIngressClient;
pub use crate::user_session::UserSessionIngressClient;

/// A call through the ingress ends after this, whatever happens behind it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The way to Restate's ingress. Cheap to clone.
#[derive(Clone)]
pub struct Ingress(ReqwestClient);

/// Connects lazily: nothing is sent before the first call.
///
/// # Errors
/// When `url` is not an absolute `http` or `https` URL.
pub fn connect(url: &str) -> anyhow::Result<Ingress> {
    let http = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(Duration::from_secs(2))
        .tcp_nodelay(true)
        .build()?;
    Ok(Ingress(Client::new(url.parse()?, http)?))
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
        match error.response().map(hyper::Response::status) {
            Some(StatusCode::BAD_REQUEST) => Ok(true),
            Some(StatusCode::NOT_FOUND) => Ok(false),
            _ => Err(failure(&error)),
        }
    }

    /// A user's cart and checkouts.
    pub fn user_session(&self, user: &Username) -> UserSessionIngressClient<reqwest::Client> {
        UserSessionIngressClient::from_client(self.0.clone(), user.as_str())
    }

    /// Who a user is, and where they are signed in.
    pub fn account(&self, user: &Username) -> AccountsIngressClient<reqwest::Client> {
        AccountsIngressClient::from_client(self.0.clone(), user.as_str())
    }

    /// An order once it is paid.
    pub fn workflow(
        &self,
        order: &OrderId,
    ) -> OrderFulfillmentWorkflowIngressClient<reqwest::Client> {
        OrderFulfillmentWorkflowIngressClient::from_client(self.0.clone(), order.as_str())
    }

    /// The payment provider, through the services.
    pub fn payments(&self) -> PaymentServiceIngressClient<reqwest::Client> {
        PaymentServiceIngressClient::from_client(self.0.clone())
    }

    /// The carrier, through the services.
    pub fn shipping(&self) -> ShippingServiceIngressClient<reqwest::Client> {
        ShippingServiceIngressClient::from_client(self.0.clone())
    }

    /// The stock of a product.
    pub fn inventory(&self, sku: &Sku) -> InventoryIngressClient<reqwest::Client> {
        InventoryIngressClient::from_client(self.0.clone(), sku.as_str())
    }
}

/// The request with its caller's key, if it has one: done once
/// ([`crate::once`]).
pub fn keyed<E, Req, Res>(
    request: Request<E, Req, Res>,
    once: Option<Once>,
) -> Request<E, Req, Res> {
    let value = once.map(|once| HeaderValue::try_from(once.to_string()));
    match value {
        Some(Ok(value)) => request.header(HeaderName::from_static(HEADER), value),
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
pub fn outcome<T>(
    called: Result<CallResponse<reqwest::Client, Json<T>>, ClientError>,
) -> Result<T, Failure>
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
pub fn done(called: Result<CallResponse<reqwest::Client, ()>, ClientError>) -> Result<(), Failure> {
    called
        .and_then(CallResponse::into_body)
        .map_err(|error| failure(&error))
}

/// What a one-way call through the ingress came to: it is durable now.
///
/// # Errors
/// See [`Failure`].
pub fn accepted<T>(
    sent: Result<SendResponse<reqwest::Client, T>, ClientError>,
) -> Result<(), Failure> {
    sent.map(drop).map_err(|error| failure(&error))
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
