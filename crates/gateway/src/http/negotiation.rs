//! Who asks, and what they can read.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use headers_accept::Accept;
use mediatype::{MediaType, names};

use super::nonce::Nonce;
use super::request_id::RequestId;

/// What the asker can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFormat {
    /// An API client.
    Json,
    /// Somebody who asked for `text/markdown`.
    Markdown,
    /// A browser that loads a page or sends a form.
    Html,
    /// The Datastar client, which reads patches and only from a 200.
    Datastar,
}

/// Who asked, as far as the form of the answer goes.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// What it can read.
    pub wants: ResponseFormat,
    /// For `<script nonce>` on its page.
    pub nonce: Nonce,
    /// Path and query that were asked for.
    pub path: String,
    /// Where a form came from, on this site; `/` when that is unknown.
    pub back: String,
    /// What the request is called.
    pub request_id: RequestId,
}

impl RequestContext {
    /// Of a request.
    pub fn of(request: &Request) -> Self {
        let headers = request.headers();
        Self {
            wants: wants(headers),
            nonce: request
                .extensions()
                .get::<Nonce>()
                .cloned()
                .unwrap_or_default(),
            path: request
                .uri()
                .path_and_query()
                .map_or_else(|| "/".to_owned(), ToString::to_string),
            back: back(headers),
            request_id: request
                .extensions()
                .get::<RequestId>()
                .cloned()
                .unwrap_or_default(),
        }
    }
}

impl RequestContext {
    /// The path without its query, which may hold what nobody else should read.
    pub fn path_alone(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

/// What can be had, and first what somebody gets who does not care.
static FORMS: [(MediaType<'static>, ResponseFormat); 3] = [
    (
        MediaType::new(names::APPLICATION, names::JSON),
        ResponseFormat::Json,
    ),
    (
        MediaType::new(names::TEXT, names::MARKDOWN),
        ResponseFormat::Markdown,
    ),
    (
        MediaType::new(names::TEXT, names::HTML),
        ResponseFormat::Html,
    ),
];

/// The one place that reads `Accept`. Who accepts nothing of ours gets JSON: an
/// answer that is not quite what was asked for helps more than a 406.
fn wants(headers: &HeaderMap) -> ResponseFormat {
    let is_datastar = headers
        .get("datastar-request")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    if is_datastar {
        return ResponseFormat::Datastar;
    }
    let ranges: Vec<_> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(without_parameters)
        // One range that cannot be read does not spoil the others.
        .filter(|range| range.parse::<Accept>().is_ok() && !has_half_a_wildcard(range))
        .collect();
    let Ok(accept) = ranges.join(",").parse::<Accept>() else {
        return ResponseFormat::Json;
    };
    let best = accept.negotiate(FORMS.iter().map(|(kind, _)| kind));
    FORMS
        .iter()
        .find(|(kind, _)| Some(kind) == best)
        .map_or(ResponseFormat::Json, |(_, wants)| *wants)
}

/// `*/html` is no range; the parser takes it for `*/*`.
fn has_half_a_wildcard(range: &str) -> bool {
    let kind = range.split(';').next().unwrap_or_default().trim();
    kind.strip_prefix("*/").is_some_and(|kind| kind != "*")
}

/// A media range with its weight alone: there is one text of each type, so that
/// `charset` and the like choose nothing.
fn without_parameters(range: &str) -> String {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let weight = parts.find_map(|parameter| {
        let (name, weight) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(weight)
    });
    match weight {
        Some(weight) => format!("{kind};q={}", weight.trim()),
        None => kind.to_owned(),
    }
}

/// The path of the `Referer`, if it is a page of this site.
fn back(headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    let referer = headers
        .get(header::REFERER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<Uri>().ok());
    match referer {
        Some(uri) if uri.authority().map(ToString::to_string).as_deref() == host => uri
            .path_and_query()
            .and_then(|path| local_path(path.as_str()))
            .unwrap_or("/")
            .to_owned(),
        _ => "/".to_owned(),
    }
}

/// `path` if a redirect to it stays on this site.
pub fn local_path(path: &str) -> Option<&str> {
    let stays = path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains('\\')
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    stays.then_some(path)
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| {
            let mut bare = Request::new(());
            *bare.headers_mut() = parts.headers.clone();
            *bare.uri_mut() = parts.uri.clone();
            Self::of(&bare.map(|()| Body::empty()))
        }))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn redirects_stay_here() {
        assert_eq!(local_path("/orders?page=2"), Some("/orders?page=2"));
        for away in [
            "",
            "orders",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\r\nb",
        ] {
            assert_eq!(local_path(away), None, "{away}");
        }
    }

    #[test]
    fn the_way_back_is_a_page_of_this_site() {
        let headers = |referer: &str| {
            HeaderMap::from_iter([
                (header::HOST, HeaderValue::from_static("localhost:8080")),
                (header::REFERER, HeaderValue::from_str(referer).unwrap()),
            ])
        };
        assert_eq!(
            back(&headers("http://localhost:8080/cart?tab=output")),
            "/cart?tab=output"
        );
        assert_eq!(back(&headers("http://evil.example/cart")), "/");
        assert_eq!(back(&HeaderMap::new()), "/");
    }

    #[test]
    fn askers_are_told_apart() {
        let asks = |name: &'static str, value: &'static str| {
            wants(&HeaderMap::from_iter([(
                header::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(wants(&HeaderMap::new()), ResponseFormat::Json);
        assert_eq!(asks("datastar-request", "true"), ResponseFormat::Datastar);
        for (accept, expected) in [
            ("*/*", ResponseFormat::Json),
            ("", ResponseFormat::Json),
            ("image/png", ResponseFormat::Json),
            ("application/json, text/plain, */*", ResponseFormat::Json),
            ("text/markdown", ResponseFormat::Markdown),
            ("TEXT/Markdown", ResponseFormat::Markdown),
            ("text/markdown, */*", ResponseFormat::Markdown),
            ("text/markdown; charset=utf-8", ResponseFormat::Markdown),
            ("text/markdown;q=0", ResponseFormat::Json),
            ("text/markdown;q=0.000, */*", ResponseFormat::Json),
            ("text/markdown; Q=0, text/html", ResponseFormat::Html),
            (
                "text/markdown;q=0.4, application/json;q=0.5",
                ResponseFormat::Json,
            ),
            (
                "text/markdown;q=0.5, application/json;q=0.4",
                ResponseFormat::Markdown,
            ),
            ("application/json, text/html;q=0.1", ResponseFormat::Json),
            ("application/json, text/html", ResponseFormat::Json),
            ("text/html, application/json", ResponseFormat::Html),
            ("application/json;q=0, */*", ResponseFormat::Markdown),
            ("text/*, application/json;q=0.1", ResponseFormat::Markdown),
            ("application/*", ResponseFormat::Json),
            ("text/htmlx, x/text/html", ResponseFormat::Json),
            // Found by fuzzing: half a wildcard is none.
            ("application/json;q=0.5, */html", ResponseFormat::Json),
            // What Java's own client sends.
            (
                "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
                ResponseFormat::Html,
            ),
            // Firefox, Safari; Chrome.
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                ResponseFormat::Html,
            ),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
                 image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
                ResponseFormat::Html,
            ),
        ] {
            assert_eq!(asks("accept", accept), expected, "{accept}");
        }
    }

    #[test]
    fn several_accept_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, HeaderValue::from_static("text/html;q=0.2"));
        headers.append(header::ACCEPT, HeaderValue::from_static("text/markdown"));
        assert_eq!(wants(&headers), ResponseFormat::Markdown);
    }
}
