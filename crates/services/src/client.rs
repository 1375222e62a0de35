//! Typed ingress clients: the wire contract between gateway and services,
//! checked by the compiler.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, Response, Uri};
use percent_encoding::percent_decode_str;
use process::nodes::{Heard, Nodes};
use process::propagation;
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
use crate::wire::{self, CATALOG_KEY, Handler, SHOP_KEY};

pub use crate::account::AccountsIngressClient;
pub use crate::after_sales::AfterSalesIngressClient;
pub use crate::audit_log::AuditLogIngressClient;
pub use crate::catalog::CatalogIngressClient;
pub use crate::inventory::InventoryIngressClient;
pub use crate::order_fulfillment::OrderFulfillmentWorkflowIngressClient;
pub use crate::reconcile::ReconcileServiceIngressClient;
pub use crate::shop::ShopIngressClient;
pub use crate::user_session::UserSessionIngressClient;

/// A call through the ingress ends after this, whatever happens behind it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Handlers that may be asked again whatever became of the first time, also without a
/// caller's key: they only read, or what they are told counts once.
pub(crate) const HARMLESS: [Handler; 19] = [
    wire::user_session::GET_BASKET,
    wire::user_session::GET_ORDER,
    wire::user_session::PAYMENT_CALLBACK,
    wire::user_session::FORGET,
    // Refused to whoever asks from outside: see [`Ingress::knows_services`].
    wire::user_session::SETTLE,
    wire::order_fulfillment::GET_RECORD,
    // A decision has an id of its own.
    wire::order_fulfillment::APPROVE,
    wire::order_fulfillment::CANCEL,
    wire::account::ADOPT,
    wire::audit_log::NOTE,
    wire::audit_log::FORGET,
    wire::inventory::STOCK,
    wire::inventory::RECOUNT,
    wire::inventory::AVAILABLE,
    // What it sends has keys of its own.
    wire::after_sales::ASK_AGAIN,
    // Rows and imports have ids.
    wire::catalog::ADOPT,
    wire::catalog::STAGE,
    wire::catalog::IMPORT,
    wire::catalog::PROGRESS,
];

/// The way to Restate's ingress. Cheap to clone.
#[derive(Clone)]
pub struct Ingress {
    client: Client<Signing>,
    nodes: Nodes,
}

/// Sends requests, each signed as what it calls, if there is a key, to a node that
/// answers.
pub struct Signing {
    http: reqwest::Client,
    key: Option<CallKey>,
    nodes: Nodes,
    /// How many bytes of a request's path are the first node's own.
    prefix: usize,
}

/// Why there was no answer.
#[derive(Debug, Error)]
pub enum Unanswered {
    /// The last node that was asked did not answer.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// All of it took too long.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    TooLate,
}

impl RequestExecutor for Signing {
    type Error = Unanswered;

    async fn execute(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Self::Error> {
        let call = Called::by(&request);
        if let (Some(key), Some(call)) = (&self.key, &call)
            && let Some(signature) = call.signature(key, &request)
        {
            request.headers_mut().insert(signed::HEADER, signature);
        }
        propagation::pass_on(request.headers_mut());
        let may_repeat = request.headers().contains_key(once::HEADER)
            || call.is_some_and(|call| call.is_harmless());
        let first = self.nodes.chosen();
        let asked = self.nodes.ask(may_repeat, async |node: String| {
            let request = self.at(&node, &request);
            match RequestExecutor::execute(&self.http, request).await {
                Ok(response) if is_out_of_order(&response) => (Heard::Lost, Ok(response)),
                Ok(response) => (Heard::Answer, Ok(response)),
                Err(error) => (Heard::of(&error), Err(error)),
            }
        });
        let Ok(answered) = tokio::time::timeout(TIMEOUT, asked).await else {
            self.nodes.turn_from(first);
            return Err(Unanswered::TooLate);
        };
        Ok(answered?)
    }
}

impl Signing {
    /// The request as it goes to this node.
    fn at(&self, node: &str, request: &Request<Bytes>) -> Request<Bytes> {
        let mut request = request.clone();
        let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
        let path = path.get(self.prefix..).unwrap_or(path);
        // What was a URL still is one.
        if let Ok(uri) = format!("{node}{path}").parse::<Uri>() {
            *request.uri_mut() = uri;
        }
        request
    }
}

/// A node that is about to end, or that finds nobody who decides: another may do better.
fn is_out_of_order(response: &Response<Bytes>) -> bool {
    let status = response.status();
    let is_away = matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    );
    is_away && !is_from_invocation(response)
}

/// Whether it is an invocation that said no, rather than the ingress.
fn is_from_invocation(response: &Response<Bytes>) -> bool {
    let source = response.headers().get("x-restate-error-source");
    source.is_some_and(|source| source == "invocation")
}

/// What a request calls.
struct Called {
    service: String,
    key: String,
    handler: String,
}

impl Called {
    /// `None` for what is no call.
    fn by(request: &Request<Bytes>) -> Option<Self> {
        let (_, path) = request.uri().path().split_once("/restate/")?;
        let target = path
            .strip_prefix("call/")
            .or_else(|| path.strip_prefix("send/"))?;
        let named: Vec<_> = target
            .split('/')
            .map(|part| percent_decode_str(part).decode_utf8())
            .collect::<Result<_, _>>()
            .ok()?;
        let (service, key, handler) = match &named[..] {
            [service, handler] => (service, "", handler),
            [service, key, handler] => (service, &**key, handler),
            _ => return None,
        };
        Some(Self {
            service: service.to_string(),
            key: key.to_owned(),
            handler: handler.to_string(),
        })
    }

    fn is_harmless(&self) -> bool {
        let called = |it: &Handler| it.service == self.service && it.name == self.handler;
        HARMLESS.iter().any(called)
    }

    fn signature(&self, key: &CallKey, request: &Request<Bytes>) -> Option<HeaderValue> {
        let once = request.headers().get(once::HEADER);
        let signature = key.sign(Call {
            service: &self.service,
            key: &self.key,
            handler: &self.handler,
            once: once.and_then(|value| value.to_str().ok()),
            body: request.body(),
        });
        HeaderValue::try_from(signature).ok()
    }
}

/// Connects lazily: nothing is sent before the first call. Calls go to whichever of
/// `nodes` answers, signed with `token`, which the services must have, too.
///
/// # Errors
/// When one is not an absolute `http` or `https` URL.
pub fn connect(nodes: &Nodes, token: Option<&str>) -> anyhow::Result<Ingress> {
    let http = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(Duration::from_secs(2))
        .tcp_nodelay(true)
        .build()?;
    for url in nodes.urls() {
        let _: Uri = url.parse()?;
    }
    let first: Uri = nodes.chosen().parse()?;
    let signing = Signing {
        http,
        key: token.map(CallKey::of),
        nodes: nodes.clone(),
        prefix: first.path().trim_end_matches('/').len(),
    };
    Ok(Ingress {
        client: Client::new(first, signing)?,
        nodes: nodes.clone(),
    })
}

impl Ingress {
    /// The nodes that calls go to.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Whether Restate knows the services: it has been told where they are,
    /// which says nothing of whether they run. Starts no invocation: what is
    /// asked for is refused to whoever asks from outside, once it is known.
    ///
    /// # Errors
    /// When Restate does not answer.
    pub async fn knows_services(&self) -> Result<bool, Failure> {
        let settle = wire::user_session::SETTLE;
        let private = RequestTarget::object(settle.service, "nobody", settle.name);
        let asked = self.client.request::<_, ()>(private, Json(())).call().await;
        let Err(error) = asked else { return Ok(true) };
        match error.response().map(Response::status) {
            Some(StatusCode::BAD_REQUEST) => Ok(true),
            Some(StatusCode::NOT_FOUND) => Ok(false),
            _ => Err(failure(&error)),
        }
    }

    /// A user's cart and checkouts.
    pub fn user_session(&self, user: &Username) -> UserSessionIngressClient<Signing> {
        UserSessionIngressClient::from_client(self.client.clone(), user.as_str())
    }

    /// Who a user is, and where they are signed in.
    pub fn account(&self, user: &Username) -> AccountsIngressClient<Signing> {
        AccountsIngressClient::from_client(self.client.clone(), user.as_str())
    }

    /// Who has opened the shop.
    pub fn shop(&self) -> ShopIngressClient<Signing> {
        ShopIngressClient::from_client(self.client.clone(), SHOP_KEY)
    }

    /// What is sold, and where it can be shipped.
    pub fn catalog(&self) -> CatalogIngressClient<Signing> {
        CatalogIngressClient::from_client(self.client.clone(), CATALOG_KEY)
    }

    /// The audit log of a day in UTC.
    pub fn audit_log(&self, day: &str) -> AuditLogIngressClient<Signing> {
        AuditLogIngressClient::from_client(self.client.clone(), day)
    }

    /// An order once it is paid.
    pub fn workflow(&self, order: &OrderId) -> OrderFulfillmentWorkflowIngressClient<Signing> {
        OrderFulfillmentWorkflowIngressClient::from_client(self.client.clone(), order.as_str())
    }

    /// What happens to an order after its delivery.
    pub fn after_sales(&self, order: &OrderId) -> AfterSalesIngressClient<Signing> {
        AfterSalesIngressClient::from_client(self.client.clone(), order.as_str())
    }

    /// What only our own handlers may call otherwise.
    pub fn reconcile(&self) -> ReconcileServiceIngressClient<Signing> {
        ReconcileServiceIngressClient::from_client(self.client.clone())
    }

    /// The stock of a product.
    pub fn inventory(&self, sku: &Sku) -> InventoryIngressClient<Signing> {
        InventoryIngressClient::from_client(self.client.clone(), sku.as_str())
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
    let from_invocation = is_from_invocation(response);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::any;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use waybill_domain::idempotency::Once;

    use super::*;

    /// A node that answers with this status, and how often it was asked.
    async fn node(status: StatusCode) -> (String, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let answer = any(async move || {
            counted.fetch_add(1, Ordering::Relaxed);
            (status, "null")
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, asked)
    }

    /// A node that takes each request and dies of it.
    async fn breaks() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let _ = connection.read(&mut [0; 1024]).await;
            }
        });
        url
    }

    /// An address where nobody listens.
    async fn refuses() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    fn key() -> Option<Once> {
        format!("{} {} 1", "a".repeat(32), "b".repeat(32))
            .parse()
            .ok()
    }

    /// Whether each kind of call is answered by the second node when the first is `first`.
    async fn goes_on_to_the_second(first: &str) -> [bool; 3] {
        let mut goes_on = [false; 3];
        for (n, goes_on) in goes_on.iter_mut().enumerate() {
            let (second, asked) = node(StatusCode::OK).await;
            let nodes = Nodes::of([first.to_owned(), second]);
            let ingress = connect(&nodes, None).unwrap();
            let alice = ingress.user_session(&Username::parse("alice").unwrap());
            let nothing = || Body::from(());
            let clear = alice.clear_basket(nothing());
            // What it says is nobody's answer: it counts that it was asked.
            let _ = match n {
                0 => clear.call().await.is_ok(),
                1 => keyed(clear, key()).call().await.is_ok(),
                _ => alice.get_basket(nothing()).call().await.is_ok(),
            };
            *goes_on = asked.load(Ordering::Relaxed) == 1;
        }
        goes_on
    }

    #[tokio::test]
    async fn what_may_have_been_done_is_asked_again_only_with_a_key_or_if_it_reads() {
        assert!(key().is_some());
        assert_eq!(goes_on_to_the_second(&refuses().await).await, [true; 3]);
        assert_eq!(
            goes_on_to_the_second(&breaks().await).await,
            [false, true, true]
        );
        let (out_of_order, _) = node(StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(
            goes_on_to_the_second(&out_of_order).await,
            [false, true, true]
        );
    }

    #[tokio::test]
    async fn a_node_may_be_behind_a_path() {
        let (second, asked) = node(StatusCode::OK).await;
        let first = format!("{}/some/where", refuses().await);
        let nodes = Nodes::of([first, format!("{second}/else")]);
        let signing = Signing {
            http: reqwest::Client::new(),
            key: None,
            nodes: nodes.clone(),
            prefix: "/some/where".len(),
        };
        let request = Request::get("http://first/some/where/restate/call/A/B?c=d");
        let request = request.body(Bytes::new()).unwrap();
        let there = signing.at(&format!("{second}/else"), &request);
        assert_eq!(
            there.uri().to_string(),
            format!("{second}/else/restate/call/A/B?c=d")
        );
        let answer = signing.execute(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }
}
