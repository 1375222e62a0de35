//! What stands around every request: the access log, security headers, and the
//! defence against writes that another site makes a signed-in browser send.

use std::time::Instant;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::header::Entry;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;

use process::propagation;
use tracing::Span;

use crate::auth;
use crate::http::client::Client;
use crate::http::input;
use crate::http::nonce::Nonce;
use crate::http::problem::Problem;
use crate::http::request_id::{self, RequestId};
use crate::http::session_cookie;
use crate::infra::Infra;
use crate::settings::edge::PublicUrl;

/// How long browsers keep to TLS once they have seen the shop: a year.
const HSTS: &str = "max-age=31536000";

/// Takes out of `Accept-Encoding` what forbids an answer as it is. Nobody gains
/// by a 406: the compression layer says it when the handler has done its work.
pub fn answer_in_any_case(headers: &mut HeaderMap) {
    let Entry::Occupied(mut accepted) = headers.entry(header::ACCEPT_ENCODING) else {
        return;
    };
    let kept: Vec<_> = accepted
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let (_, weight) = weight.split_once('=').unwrap_or(("", ""));
            let is_forbidden = weight.trim().parse() == Ok(0.0_f32);
            let name = name.trim();
            !(is_forbidden && (name == "*" || name.eq_ignore_ascii_case("identity")))
        })
        .collect();
    match HeaderValue::try_from(kept.join(",")) {
        Ok(kept) => drop(accepted.insert_mult(kept)),
        Err(_) => drop(accepted.remove()),
    }
}

/// Refuses a body that is encoded, whoever would read it: it is not what its
/// `Content-Type` says, and what it would grow to nobody knows.
pub fn refuse_encoded_body(request: &Request) -> Result<(), Problem> {
    let is_encoded = request
        .headers()
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    if is_encoded && !request.body().is_end_stream() {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_content_encoding",
            "Unsupported content encoding",
            "send the body as it is, without a Content-Encoding",
        )
        .with_header(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        ));
    }
    Ok(())
}

/// The route that reads more than others: see [`read_whole_body`].
const TAKES_A_FILE: &str = "/api/catalog/import";

/// Reads every body to its end before anything is done, also where none is expected:
/// one that is too large (413), too slow (408) or torn off (400) is refused alike
/// everywhere. A file that may be large is read by its route, which knows by then that
/// whoever sends it may.
pub async fn read_whole_body(request: Request) -> Result<Request, Problem> {
    if request.body().is_end_stream() || TAKES_A_FILE == request.uri().path() {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let body = input::read(body).await?;
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// A request under way, for the access log: one line per request, without query strings or
/// personal data. Line, problem and answer have the request's id.
pub struct Access {
    started: Instant,
    method: Method,
    path: String,
    id: RequestId,
    span: Span,
}

impl Access {
    /// Gives the request its id.
    pub fn begin(request: &mut Request) -> Self {
        let started = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let id = RequestId::fresh();
        request.extensions_mut().insert(id.clone());
        let span = tracing::info_span!(
            "request",
            otel.name = format!("{method} {path}"),
            otel.kind = "server",
            http.method = %method,
            http.path = path,
            http.status = tracing::field::Empty,
            request.id = %id,
            order.id = tracing::field::Empty,
        );
        propagation::continue_trace(&span, request.headers());
        Self {
            started,
            method,
            path,
            id,
            span,
        }
    }

    /// What happens for it happens in there.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// Writes the line, and gives the answer its id.
    pub fn end(self, response: &mut Response) {
        let Self {
            method, path, id, ..
        } = self;
        if let Some(id) = id.header() {
            response.headers_mut().insert(request_id::HEADER, id);
        }
        let status = response.status().as_u16();
        self.span.record("http.status", status);
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let _inside = self.span.enter();
        // Probes come every few seconds and say nothing while all is well.
        if matches!(path.as_str(), "/healthz" | "/readyz" | "/metrics") {
            tracing::debug!(http.method = %method, http.path = path, http.status = status, elapsed_ms, request.id = %id, "{method} {path} {status}");
        } else {
            tracing::info!(http.method = %method, http.path = path, http.status = status, elapsed_ms, request.id = %id, "{method} {path} {status}");
        }
    }
}

/// Tells browsers what a page of ours may do, which has this nonce.
pub fn secure(infra: &Infra, nonce: &Nonce, headers: &mut HeaderMap) {
    let policy = format!(
        "default-src 'none'; script-src 'self' 'nonce-{}'; style-src 'self'; img-src 'self' data:; \
         font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
        nonce.as_str()
    );
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=(), payment=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let public_url = infra.settings.edge.public_url();
    if public_url.is_some_and(PublicUrl::is_https) {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static(HSTS),
        );
    }
    // Answers differ by caller and by moment; static files say otherwise.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.append(
        header::VARY,
        HeaderValue::from_static("accept, datastar-request"),
    );
}

/// Refuses a write that a browser sends on behalf of another site.
///
/// A browser says where a request comes from (`Sec-Fetch-Site`, or `Origin`),
/// and no page can forge that. Whoever says nothing is no browser: it passes
/// unless all it has to show is a cookie.
pub fn refuse_cross_site_write(infra: &Infra, request: &Request) -> Result<(), Problem> {
    let client = request.extensions().get::<Client>();
    let told_host = client.and_then(|client| client.host.as_deref());
    let site = Site {
        public_url: infra.settings.edge.public_url(),
        host: told_host.or_else(|| host_of(request.headers(), request.uri())),
    };
    if request.method().is_safe() || is_same_site(request.headers(), &site) {
        Ok(())
    } else {
        Err(Problem::forbidden(
            "this write does not come from a page of this site: use the site itself, or an API token (Authorization: Bearer)",
        ))
    }
}

/// What our own pages come from.
struct Site<'a> {
    public_url: Option<&'a PublicUrl>,
    host: Option<&'a str>,
}

impl Site<'_> {
    fn is_of(&self, origin: &str) -> bool {
        match self.public_url {
            Some(url) => url.is_origin(origin),
            None => origin
                .split_once("://")
                .is_some_and(|(_, authority)| Some(authority) == self.host),
        }
    }
}

fn host_of<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let host = headers.get(header::HOST);
    host.and_then(|host| host.to_str().ok())
        .or_else(|| uri.authority().map(axum::http::uri::Authority::as_str))
}

fn is_same_site(headers: &HeaderMap, site: &Site<'_>) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(from) = text("sec-fetch-site") {
        return matches!(from, "same-origin" | "none");
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        return origin.to_str().is_ok_and(|origin| site.is_of(origin));
    }
    auth::has_explicit_credentials(headers) || !session_cookie::is_sent(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(headers: &[(&'static str, &'static str)]) -> bool {
        passes_at(None, headers)
    }

    fn passes_at(public_url: Option<&PublicUrl>, headers: &[(&'static str, &'static str)]) -> bool {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let uri = Uri::from_static("/api/cart/add");
        let host = host_of(&headers, &uri);
        is_same_site(&headers, &Site { public_url, host })
    }

    const COOKIE: (&str, &str) = ("cookie", "waybill_session=x");
    const HOST: (&str, &str) = ("host", "shop.example");

    #[test]
    fn pages_of_this_site_may_write() {
        assert!(passes(&[COOKIE, HOST, ("sec-fetch-site", "same-origin")]));
        assert!(passes(&[COOKIE, HOST, ("origin", "https://shop.example")]));
    }

    #[test]
    fn the_public_address_counts_where_there_is_one() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            edge: crate::settings::edge::EdgeSettings,
        }
        let url = ["gateway", "--public-url", "https://shop.example"];
        let line = <Line as clap::Parser>::parse_from(url);
        let url = line.edge.public_url();
        // Whatever a proxy has made of the host.
        let inner = ("host", "127.0.0.1:8080");
        let origin = |origin| passes_at(url, &[COOKIE, inner, ("origin", origin)]);
        assert!(origin("https://shop.example"));
        assert!(!origin("http://shop.example"));
        assert!(!origin("http://127.0.0.1:8080"));
    }

    #[test]
    fn pages_of_other_sites_may_not() {
        assert!(!passes(&[COOKIE, HOST, ("sec-fetch-site", "cross-site")]));
        assert!(!passes(&[COOKIE, HOST, ("sec-fetch-site", "same-site")]));
        assert!(!passes(&[COOKIE, HOST, ("origin", "https://evil.example")]));
        assert!(!passes(&[COOKIE, HOST, ("origin", "null")]));
        // Also without a cookie: logging somebody in is a write, too.
        assert!(!passes(&[HOST, ("origin", "https://evil.example")]));
    }

    #[test]
    fn a_cookie_alone_is_not_enough() {
        assert!(!passes(&[COOKIE, HOST]));
        assert!(passes(&[COOKIE, HOST, ("authorization", "Bearer x")]));
        assert!(passes(&[HOST, ("x-user-id", "alice")]));
        assert!(passes(&[HOST]));
    }
}
