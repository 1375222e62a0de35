//! Raw input in, answers out: the same handler serves the API, a browser's form
//! and Datastar.
//!
//! In: [`Input`] (body) and [`InQuery`] (query string) read JSON, forms and
//! Datastar signals into one set of [`Fields`], and a [`FromFields`] type takes
//! what it needs; every refusal names the field.
//!
//! Out: a handler answers [`Done`] or a [`Problem`]; [`present`] writes either
//! as JSON, as Datastar patches, or as a page or redirect, as its asker wants.

use std::convert::Infallible;
use std::ops::RangeInclusive;

use axum::Json;
use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::header::Entry;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures::stream;
use headers_accept::Accept;
use mediatype::{MediaType, names};
use process::http::SlowBody;
use serde::Serialize;
use serde_json::{Map, Value};
use waybill_domain::words;

use crate::app::Shared;
use crate::problem::Problem;
use crate::protection::Nonce;

/// Largest accepted body.
pub const MAX_BODY: usize = 64 * 1024;

/// What the asker can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
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
pub struct Asker {
    /// What it can read.
    pub wants: Wants,
    /// For `<script nonce>` on its page.
    pub nonce: Nonce,
    /// Path and query that were asked for.
    pub path: String,
    /// Where a form came from, on this site; `/` when that is unknown.
    pub back: String,
}

impl Asker {
    fn of(request: &Request) -> Self {
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
        }
    }
}

/// What can be had, and first what somebody gets who does not care.
static FORMS: [(MediaType<'static>, Wants); 3] = [
    (MediaType::new(names::APPLICATION, names::JSON), Wants::Json),
    (
        MediaType::new(names::TEXT, names::MARKDOWN),
        Wants::Markdown,
    ),
    (MediaType::new(names::TEXT, names::HTML), Wants::Html),
];

/// The one place that reads `Accept`. Who accepts nothing of ours gets JSON: an
/// answer that is not quite what was asked for helps more than a 406.
fn wants(headers: &HeaderMap) -> Wants {
    let is_datastar = headers
        .get("datastar-request")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    if is_datastar {
        return Wants::Datastar;
    }
    let ranges: Vec<_> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(without_parameters)
        // One range that cannot be read does not spoil the others.
        .filter(|range| range.parse::<Accept>().is_ok())
        .collect();
    let Ok(accept) = ranges.join(",").parse::<Accept>() else {
        return Wants::Json;
    };
    let best = accept.negotiate(FORMS.iter().map(|(kind, _)| kind));
    FORMS
        .iter()
        .find(|(kind, _)| Some(kind) == best)
        .map_or(Wants::Json, |(_, wants)| *wants)
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

impl<S: Sync> FromRequestParts<S> for Asker {
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

/// What a write that worked answers.
#[derive(Debug)]
pub struct Done {
    status: StatusCode,
    body: Value,
    said: Said,
    cookies: Vec<HeaderValue>,
}

/// What a write that worked says to a person.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// A short sentence, if there is something to say.
    pub text: Option<String>,
    /// The page to go to, if not the same again.
    pub goes_to: Option<String>,
}

impl Done {
    /// `body` for the API.
    pub fn new(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self {
            status,
            body: serde_json::to_value(body)?,
            said: Said::default(),
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

    /// Sets a cookie in whatever form the answer takes.
    #[must_use]
    pub fn with_cookie(mut self, cookie: HeaderValue) -> Self {
        self.cookies.push(cookie);
        self
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        for cookie in self.cookies {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response.extensions_mut().insert(self.said);
        response
    }
}

/// Writes each [`Problem`] and each [`Done`] in the form its asker reads, and
/// logs the problems that are our fault.
pub async fn present(State(app): State<Shared>, mut request: Request, next: Next) -> Response {
    let asker = Asker::of(&request);
    let method = request.method().clone();
    request.extensions_mut().insert(asker.clone());
    let mut response = next.run(request).await;
    if is_bare_refusal(&response) {
        response = refused(response.status()).into_response();
    }

    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        log(&problem, &method, &asker);
        return match asker.wants {
            Wants::Datastar => patches(app.views.problem_patches(&problem, &asker), &response),
            Wants::Html if problem.status == StatusCode::UNAUTHORIZED && method == Method::GET => {
                Redirect::to(&login_then(&asker.path)).into_response()
            }
            Wants::Html => {
                let page = Html(app.views.problem_page(&problem, &asker));
                carry_over(&response, (problem.status, page).into_response())
            }
            Wants::Json | Wants::Markdown => response,
        };
    }
    if let Some(said) = response.extensions_mut().remove::<Said>() {
        return match asker.wants {
            Wants::Datastar => patches(app.views.done_patches(&said, &asker), &response),
            Wants::Html => {
                let to = said.goes_to.as_deref().unwrap_or(&asker.back);
                carry_over(&response, Redirect::to(to).into_response())
            }
            Wants::Json | Wants::Markdown => response,
        };
    }
    response
}

/// Whether axum itself has refused, in plain text: an address that is no UTF-8,
/// say.
fn is_bare_refusal(response: &Response) -> bool {
    let is_plain = match response.headers().get(header::CONTENT_TYPE) {
        None => true,
        Some(kind) => kind.as_bytes().starts_with(b"text/plain"),
    };
    response.status().is_client_error()
        && is_plain
        && response.extensions().get::<Problem>().is_none()
}

fn refused(status: StatusCode) -> Problem {
    let title = status.canonical_reason().unwrap_or("Refused");
    Problem::new(
        status,
        &title.to_lowercase().replace(' ', "_"),
        title,
        "this request cannot be read: check the address and the headers",
    )
}

fn log(problem: &Problem, method: &Method, asker: &Asker) {
    if problem.status.is_server_error() {
        tracing::error!(
            http.method = %method,
            http.path = asker.path,
            problem.kind = problem.kind(),
            cause = problem.cause(),
            "{}",
            problem.detail
        );
    }
}

/// The login page, which leads back to `path`.
pub fn login_then(path: &str) -> String {
    let next: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
    format!("/login?next={next}")
}

fn patches(events: Vec<Event>, instead_of: &Response) -> Response {
    let events = stream::iter(events.into_iter().map(Ok::<_, Infallible>));
    carry_over(instead_of, Sse::new(events).into_response())
}

/// Cookies and such survive a change of form.
fn carry_over(from: &Response, mut to: Response) -> Response {
    for name in [
        header::SET_COOKIE,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
        header::ALLOW,
        header::ACCEPT_ENCODING,
    ] {
        for value in from.headers().get_all(&name) {
            to.headers_mut().append(name.clone(), value.clone());
        }
    }
    to
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

/// What a body or a query string says, whatever its encoding.
#[derive(Debug, Clone, Default)]
pub struct Fields(Map<String, Value>);

/// Input that takes what it needs from [`Fields`].
pub trait FromFields: Sized {
    /// Takes it, or says which field is wrong and what is accepted.
    fn from_fields(fields: &Fields) -> Result<Self, Problem>;
}

impl Fields {
    /// From `a=1&b=2`.
    pub fn from_form(form: &[u8]) -> Self {
        Self(
            form_urlencoded::parse(form)
                .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
                .collect(),
        )
    }

    /// From a JSON object.
    pub fn from_json(json: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(json) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(bad_json(
                "the body must be a JSON object, such as {\"name\":\"value\"}",
            )),
            Err(error) => Err(bad_json(format!("the body is not valid JSON: {error}"))),
        }
    }

    /// All of it, as a JSON object.
    pub fn as_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    fn given(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| match value {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty(),
            _ => true,
        })
    }

    /// A whole number within `range`, if there is one.
    pub fn integer(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Problem> {
        let Some(value) = self.given(name) else {
            return Ok(None);
        };
        let number = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::invalid(
                name,
                format!(
                    "{name} must be a whole number, {} to {}",
                    range.start(),
                    range.end()
                ),
            )),
        }
    }

    /// A whole number within `range`.
    pub fn required_integer(&self, name: &str, range: RangeInclusive<i64>) -> Result<i64, Problem> {
        self.integer(name, range)?.ok_or_else(|| missing(name))
    }

    /// Free text of at most `max` characters, trimmed; `None` when absent or
    /// blank. Characters that nobody sees go ([`words::plain`]); text that has
    /// nothing to see without them is refused.
    pub fn text(&self, name: &str, max: usize) -> Result<Option<String>, Problem> {
        let Some(raw) = self.string(name)? else {
            return Ok(None);
        };
        if raw.chars().any(is_refused_control) {
            return Err(Problem::invalid(
                name,
                format!("{name} must not contain control characters"),
            ));
        }
        let text = words::plain(raw);
        let text = text.trim();
        if !words::is_visible(text) {
            return Err(blank(name));
        }
        if text.chars().count() > max {
            return Err(too_long(name, max));
        }
        Ok(Some(text.to_owned()))
    }

    /// Free text of at most `max` characters that is not blank.
    pub fn required_text(&self, name: &str, max: usize) -> Result<String, Problem> {
        self.text(name, max)?.ok_or_else(|| missing(name))
    }

    /// An id, a name of ours or another word that is compared: nothing of it is
    /// left out, so one with characters that nobody sees is refused.
    pub fn word(&self, name: &str, max: usize) -> Result<Option<String>, Problem> {
        let Some(raw) = self.string(name)? else {
            return Ok(None);
        };
        let text = raw.trim();
        if text.chars().count() > max {
            return Err(too_long(name, max));
        }
        if words::has_hidden(text) || text.chars().any(is_refused_control) {
            return Err(Problem::invalid(
                name,
                format!("{name} must not contain control characters or others that cannot be seen"),
            ));
        }
        if !words::is_visible(text) {
            return Err(blank(name));
        }
        Ok(Some(text.to_owned()))
    }

    /// An id or the like that is not blank.
    pub fn required_word(&self, name: &str, max: usize) -> Result<String, Problem> {
        self.word(name, max)?.ok_or_else(|| missing(name))
    }

    /// A password: every character of it counts.
    pub fn required_secret(&self, name: &str, max: usize) -> Result<String, Problem> {
        match self.string(name)? {
            None => Err(missing(name)),
            Some(text) if text.chars().count() > max => Err(too_long(name, max)),
            Some(text) => Ok(text.to_owned()),
        }
    }

    fn string(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::invalid(name, format!("{name} must be text"))),
        }
    }

    /// Yes or no, if it is said.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if matches!(text.trim(), "true" | "on" | "1") => {
                Ok(Some(true))
            }
            Some(Value::String(text)) if matches!(text.trim(), "false" | "off" | "0") => {
                Ok(Some(false))
            }
            Some(_) => Err(Problem::invalid(
                name,
                format!("{name} must be true or false"),
            )),
        }
    }

    /// Yes or no.
    pub fn required_flag(&self, name: &str) -> Result<bool, Problem> {
        self.flag(name)?.ok_or_else(|| missing(name))
    }
}

/// Ends of lines and tabs belong to text; other control characters are a
/// mistake of the sender's.
fn is_refused_control(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\r' | '\t')
}

fn blank(name: &str) -> Problem {
    Problem::invalid(
        name,
        format!("{name} has nothing to see in it: write letters, digits or signs"),
    )
}

fn too_long(name: &str, max: usize) -> Problem {
    Problem::invalid(name, format!("{name} must be at most {max} characters"))
}

fn missing(name: &str) -> Problem {
    Problem::invalid(name, format!("{name} is missing: send it in the body"))
}

fn bad_json(detail: impl Into<String>) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "malformed_body",
        "Malformed body",
        detail,
    )
}

/// The request's body, parsed.
#[derive(Debug, Clone)]
pub struct Input<T>(pub T);

impl<T: FromFields, S: Sync> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let kind = Encoding::of(&parts.headers);
        let body = read(body).await?;
        // Without a body nothing says how to read it: what is missing is named.
        let fields = if body.trim_ascii().is_empty() {
            Fields::default()
        } else {
            match kind? {
                // `curl -d '{…}'` calls its JSON a form.
                Encoding::Form if !body.trim_ascii_start().starts_with(b"{") => {
                    Fields::from_form(&body)
                }
                Encoding::Form | Encoding::Json => Fields::from_json(&body)?,
            }
        };
        T::from_fields(&fields).map(Self)
    }
}

enum Encoding {
    Json,
    Form,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let kind = headers
            .get(header::CONTENT_TYPE)
            .map(|value| value.to_str().unwrap_or_default())
            .map(|value| value.split(';').next().unwrap_or_default().trim());
        match kind {
            None => Ok(Self::Json),
            Some(kind) if kind.eq_ignore_ascii_case("application/json") => Ok(Self::Json),
            Some(kind) if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") => {
                Ok(Self::Form)
            }
            Some(_) => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Unsupported media type",
                "send the body as application/json",
            )),
        }
    }
}

/// Takes out of `Accept-Encoding` what forbids an answer as it is. Nobody gains
/// by a 406: the compression layer says it when the handler has done its work.
pub async fn answer_in_any_case(mut request: Request, next: Next) -> Response {
    let Entry::Occupied(mut accepted) = request.headers_mut().entry(header::ACCEPT_ENCODING) else {
        return next.run(request).await;
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
    next.run(request).await
}

/// Refuses a body that is encoded, whoever would read it: it is not what its
/// `Content-Type` says, and what it would grow to nobody knows.
pub async fn refuse_encoded_bodies(request: Request, next: Next) -> Response {
    let is_encoded = request
        .headers()
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    if is_encoded && !request.body().is_end_stream() {
        return Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_content_encoding",
            "Unsupported content encoding",
            "send the body as it is, without a Content-Encoding",
        )
        .with_header(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        )
        .into_response();
    }
    next.run(request).await
}

/// Reads a whole body of at most [`MAX_BODY`].
pub async fn read(body: Body) -> Result<axum::body::Bytes, Problem> {
    to_bytes(body, MAX_BODY).await.map_err(|error| {
        let too_large = std::error::Error::source(&error)
            .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if SlowBody::is_behind(&error) {
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow_body",
                "The body came too slowly",
                "the body did not arrive in time: send it again, at once and whole",
            )
        } else if too_large {
            Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "Body too large",
                format!("the body must be at most {} KiB", MAX_BODY / 1024),
            )
        } else {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "incomplete_body",
                "Incomplete body",
                "the body did not arrive whole: send it again",
            )
        }
    })
}

/// The request's query string, parsed.
#[derive(Debug, Clone)]
pub struct InQuery<T>(pub T);

impl<T: FromFields, S: Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        T::from_fields(&Fields::from_form(query.as_bytes())).map(Self)
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Page {
    /// From 1.
    pub page: u32,
    /// Rows on a page.
    pub per_page: u32,
}

impl Page {
    /// Largest accepted `per_page`.
    pub const MAX_PER_PAGE: i64 = 100;
    /// Beyond this nobody pages: it bounds the offset.
    const MAX_PAGE: i64 = 100_000;

    /// `page` and `per_page` of a query.
    pub fn from_fields(fields: &Fields, per_page: u32) -> Result<Self, Problem> {
        let number = |given: Option<i64>, otherwise| {
            given.map_or(otherwise, |n| u32::try_from(n).unwrap_or(otherwise))
        };
        Ok(Self {
            page: number(fields.integer("page", 1..=Self::MAX_PAGE)?, 1),
            per_page: number(
                fields.integer("per_page", 1..=Self::MAX_PER_PAGE)?,
                per_page,
            ),
        })
    }

    /// Rows before this page.
    pub fn offset(self) -> i64 {
        i64::from(self.page - 1) * i64::from(self.per_page)
    }

    /// Rows on this page.
    pub fn limit(self) -> i64 {
        i64::from(self.per_page)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request as HttpRequest;

    use super::*;

    struct Order {
        quantity: i64,
        note: Option<String>,
        gift: Option<bool>,
    }

    impl FromFields for Order {
        fn from_fields(fields: &Fields) -> Result<Self, Problem> {
            Ok(Self {
                quantity: fields.required_integer("quantity", 1..=9)?,
                note: fields.text("note", 5)?,
                gift: fields.flag("gift")?,
            })
        }
    }

    async fn post(kind: Option<&str>, body: impl Into<Body>) -> Result<Order, Problem> {
        let mut request = HttpRequest::post("/");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(body.into()).unwrap();
        Input::from_request(request, &())
            .await
            .map(|Input(order)| order)
    }

    #[tokio::test]
    async fn json_and_forms_say_the_same() {
        for (kind, body) in [
            (
                "application/json",
                r#"{"quantity":3,"note":" hi ","gift":true,"more":[]}"#,
            ),
            (
                "application/json; charset=utf-8",
                r#"{"quantity":"3","note":"hi","gift":"on"}"#,
            ),
            (
                "application/x-www-form-urlencoded",
                "quantity=3&note=+hi&gift=true",
            ),
            (
                "application/x-www-form-urlencoded",
                r#"{"quantity":3,"note":"hi","gift":true}"#,
            ),
        ] {
            let order = post(Some(kind), body).await.unwrap();
            assert_eq!(order.quantity, 3);
            assert_eq!(order.note.as_deref(), Some("hi"));
            assert_eq!(order.gift, Some(true));
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        for (body, field, status) in [
            ("", Some("quantity"), 400),
            ("{}", Some("quantity"), 400),
            (r#"{"quantity":null}"#, Some("quantity"), 400),
            (r#"{"quantity":0}"#, Some("quantity"), 400),
            (r#"{"quantity":-1}"#, Some("quantity"), 400),
            (r#"{"quantity":1.5}"#, Some("quantity"), 400),
            (
                r#"{"quantity":99999999999999999999}"#,
                Some("quantity"),
                400,
            ),
            (r#"{"quantity":[1]}"#, Some("quantity"), 400),
            (r#"{"quantity":1,"note":"too long"}"#, Some("note"), 400),
            (r#"{"quantity":1,"note":"\u0000"}"#, Some("note"), 400),
            (r#"{"quantity":1,"note":"\u200b"}"#, Some("note"), 400),
            (r#"{"quantity":1,"note":7}"#, Some("note"), 400),
            (r#"{"quantity":1,"gift":"maybe"}"#, Some("gift"), 400),
            ("{", None, 400),
            ("[1]", None, 400),
        ] {
            let problem = post(Some("application/json"), body).await.err().unwrap();
            assert_eq!(problem.status.as_u16(), status, "{body}");
            assert_eq!(problem.field.as_deref(), field, "{body}");
        }
    }

    #[tokio::test]
    async fn other_encodings_and_large_bodies_are_refused() {
        let problem = post(Some("text/plain"), "quantity=1").await.err().unwrap();
        assert_eq!(problem.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let large = vec![b' '; MAX_BODY + 1];
        let problem = post(Some("application/json"), large).await.err().unwrap();
        assert_eq!(problem.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn an_empty_body_of_any_kind_says_what_is_missing() {
        let problem = post(Some("text/html"), "").await.err().unwrap();
        assert_eq!(problem.detail, "quantity is missing: send it in the body");
    }

    #[test]
    fn pages_have_bounds() {
        let page = |query: &str| Page::from_fields(&Fields::from_form(query.as_bytes()), 25);
        assert_eq!(page("").unwrap().limit(), 25);
        assert_eq!(page("page=3&per_page=10").unwrap().offset(), 20);
        for wrong in ["page=0", "page=x", "per_page=101", "page=99999999999"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
    }

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
        assert_eq!(wants(&HeaderMap::new()), Wants::Json);
        assert_eq!(asks("datastar-request", "true"), Wants::Datastar);
        for (accept, expected) in [
            ("*/*", Wants::Json),
            ("", Wants::Json),
            ("image/png", Wants::Json),
            ("application/json, text/plain, */*", Wants::Json),
            ("text/markdown", Wants::Markdown),
            ("TEXT/Markdown", Wants::Markdown),
            ("text/markdown, */*", Wants::Markdown),
            ("text/markdown; charset=utf-8", Wants::Markdown),
            ("text/markdown;q=0", Wants::Json),
            ("text/markdown;q=0.000, */*", Wants::Json),
            ("text/markdown; Q=0, text/html", Wants::Html),
            ("text/markdown;q=0.4, application/json;q=0.5", Wants::Json),
            (
                "text/markdown;q=0.5, application/json;q=0.4",
                Wants::Markdown,
            ),
            ("application/json, text/html;q=0.1", Wants::Json),
            ("application/json, text/html", Wants::Json),
            ("text/html, application/json", Wants::Html),
            ("application/json;q=0, */*", Wants::Markdown),
            ("text/*, application/json;q=0.1", Wants::Markdown),
            ("application/*", Wants::Json),
            ("text/htmlx, x/text/html", Wants::Json),
            // What Java's own client sends.
            (
                "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
                Wants::Html,
            ),
            // Firefox, Safari; Chrome.
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Wants::Html,
            ),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
                 image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
                Wants::Html,
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
        assert_eq!(wants(&headers), Wants::Markdown);
    }
}
