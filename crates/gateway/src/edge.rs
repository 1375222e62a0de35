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

use axum::extract::{FromRequestParts as _, Request};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use process::http::Peer;

use self::rates::Rates;
use self::work::AtWork;
pub use self::work::Working;
use crate::auth::OptionalCaller;
use crate::http::client;
use crate::http::problem::Problem;
use crate::http::session_cookie::SessionCookie;
use crate::infra::{Infra, Shared};

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
pub fn meet(infra: &Infra, request: &mut Request) -> Result<(), Problem> {
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
        host::check(request, &client, public_url, purpose)
            .inspect_err(|_| infra.metrics.refused("host"))?;
        request.extensions_mut().insert(client.address);
        request.extensions_mut().insert(client);
    }
    // Whoever looks at these later would not ask who has said them.
    if is_https.is_none() {
        request.headers_mut().remove("x-forwarded-proto");
    }
    Ok(())
}

impl Edge {
    /// Refuses what is more than this gateway can do at a time. What it answers is kept until
    /// the head of the request's answer is there: what a stream holds is counted where it is.
    pub fn bound_work(&self, infra: &Infra, request: &Request) -> Result<Option<Working>, Problem> {
        let from = client::of(request.extensions());
        let (Some(from), false) = (from, Purpose::of(request.uri().path()) == Purpose::Probe)
        else {
            return Ok(None);
        };
        let working = self.at_work.begin(from).ok_or_else(|| {
            infra.metrics.refused("work");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "Too much at a time",
                "too many requests are at work just now: try again in a second",
            )
            .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
        })?;
        Ok(Some(working))
    }

    /// Refuses what one caller asks too fast.
    pub async fn bound_rates(&self, infra: &Shared, request: Request) -> Result<Request, Problem> {
        let from = client::of(request.extensions());
        let (Some(from), Purpose::Shop) = (from, Purpose::of(request.uri().path())) else {
            return Ok(request);
        };
        let is_read = request.method().is_safe();
        if let Err(wait) = self.rates.of_address(from, is_read) {
            infra.metrics.refused("address");
            return Err(too_fast(wait, "at your address"));
        }
        if !self.rates.count_users() || request.uri().path().starts_with("/static/") {
            return Ok(request);
        }
        let (mut parts, body) = request.into_parts();
        // Whoever is asked for their name and has a wrong one is told so later.
        let caller = OptionalCaller::from_request_parts(&mut parts, infra).await;
        if let Ok(OptionalCaller(Some(caller))) = &caller
            && let Err(wait) = self.rates.of_user(&caller.user, is_read)
        {
            infra.metrics.refused("user");
            return Err(too_fast(wait, "of yours"));
        }
        Ok(Request::from_parts(parts, body))
    }
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
