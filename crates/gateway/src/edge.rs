//! The way in: who asks, by which name, and how much of it is borne.
//!
//! | module | holds |
//! | --- | --- |
//! | [`host`] | by which names this gateway is reached |
//! | [`rates`] | requests a second, of one address and of one user |
//! | [`work`] | requests at work at a time |
//!
//! What this gateway asks itself (the demo's scenarios) comes from no socket and
//! passes all of it. Probes (`/healthz`, `/readyz`, `/metrics`) and the webhook are
//! not counted by rate: who asks them is a machine with few addresses, and the webhook
//! is signed. The webhook waits for Restate, so it counts as work; probes never do.

mod host;
mod rates;
mod work;

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use process::http::Peer;

use self::rates::Rates;
use self::work::AtWork;
use crate::auth::OptionalCaller;
use crate::http::client;
use crate::http::problem::Problem;
use crate::http::session_cookie::SessionCookie;
use crate::infra::Shared;

/// What the way in remembers of its callers.
#[derive(Debug)]
pub struct Edge {
    rates: Rates,
    at_work: AtWork,
}

impl Edge {
    /// As it is set; nobody has asked yet.
    pub fn new(infra: &Shared) -> Self {
        let settings = &infra.settings;
        Self {
            rates: Rates::new(settings.edge.rates(settings.is_demo())),
            at_work: AtWork::new(settings.edge.max_requests()),
        }
    }
}

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Probe,
    Webhook,
    Shop,
}

impl Purpose {
    fn of(path: &str) -> Self {
        match path {
            "/healthz" | "/readyz" | "/metrics" => Self::Probe,
            "/api/payment/callback" => Self::Webhook,
            _ => Self::Shop,
        }
    }
}

/// Finds out who asks and by which name, and says it to all that follow: the
/// extensions [`client::Client`], [`client::ClientAddress`] and [`SessionCookie`].
pub async fn meet(State(infra): State<Shared>, mut request: Request, next: Next) -> Response {
    let public_url = infra.settings.edge.public_url();
    let peer = request.extensions().get::<Peer>().copied();
    let client = peer.map(|peer| {
        let trusted = infra.settings.edge.trusted_proxies();
        client::look(peer, request.headers(), trusted)
    });
    let is_https = client.as_ref().and_then(|client| client.is_https);
    let cookie = SessionCookie::at(public_url, request.headers(), is_https);
    request.extensions_mut().insert(cookie);
    if let Some(client) = client {
        let purpose = Purpose::of(request.uri().path());
        if let Err(refused) = host::check(&request, &client, public_url, purpose) {
            infra.metrics.refused("host");
            return refused.into_response();
        }
        request.extensions_mut().insert(client.address);
        request.extensions_mut().insert(client);
    }
    // Whoever looks at these later would not ask who has said them.
    if is_https.is_none() {
        request.headers_mut().remove("x-forwarded-proto");
    }
    next.run(request).await
}

/// Refuses what is more than this gateway can do at a time.
pub async fn bound_work(
    State(edge): State<std::sync::Arc<Edge>>,
    State(infra): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let from = client::of(request.extensions());
    let (Some(from), false) = (from, Purpose::of(request.uri().path()) == Purpose::Probe) else {
        return next.run(request).await;
    };
    // Until the head of the answer: what a stream holds is counted there.
    let Some(_working) = edge.at_work.begin(from) else {
        infra.metrics.refused("work");
        return Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "Too much at a time",
            "too many requests are at work just now: try again in a second",
        )
        .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
        .into_response();
    };
    next.run(request).await
}

/// Refuses what one caller asks too fast.
pub async fn bound_rates<S>(
    State(edge): State<std::sync::Arc<Edge>>,
    State(infra): State<Shared>,
    State(state): State<S>,
    request: Request,
    next: Next,
) -> Response
where
    S: Clone + Send + Sync + 'static,
    Shared: axum::extract::FromRef<S>,
{
    let from = client::of(request.extensions());
    let (Some(from), Purpose::Shop) = (from, Purpose::of(request.uri().path())) else {
        return next.run(request).await;
    };
    let is_read = request.method().is_safe();
    if let Err(wait) = edge.rates.of_address(from, is_read) {
        infra.metrics.refused("address");
        return too_fast(wait, "at your address").into_response();
    }
    if !edge.rates.count_users() || request.uri().path().starts_with("/static/") {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    // Whoever is asked for their name and has a wrong one is told so later.
    let caller = OptionalCaller::from_request_parts(&mut parts, &state).await;
    if let Ok(OptionalCaller(Some(caller))) = &caller
        && let Err(wait) = edge.rates.of_user(&caller.user, is_read)
    {
        infra.metrics.refused("user");
        return too_fast(wait, "of yours").into_response();
    }
    next.run(Request::from_parts(parts, body)).await
}

fn too_fast(wait: std::time::Duration, whose: &str) -> Problem {
    let seconds = wait.as_secs() + 1;
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_requests",
        "Too many requests",
        format!("too many requests {whose} in a short time: nothing was done, so try again in {seconds} s"),
    )
    .with_header(RETRY_AFTER, HeaderValue::from(seconds))
}
