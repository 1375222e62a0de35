//! How strangers are asked over HTTP.
//!
//! A definite no (4xx with its reason in JSON) is an answer at once. An answer
//! that says no for now, a bare error, one that does not let us in (401, 403: a
//! proxy's, or a key's that expired), a timeout or no answer at all is tried
//! four times, 0.1, 0.2 and 0.4 s apart, each try for up to [`TRY_TIMEOUT`];
//! after that a "no for now" counts as definite, and all the others as an
//! outage: a durable sleep, then again. A sleeping invocation holds none of
//! Restate's invoker slots, so an outage of others never stops us.
//!
//! What proves who we are ([`Credential`]) is in the request alone: no log line and
//! no journal entry has it, and no redirect is followed with it.

use std::fmt;
use std::time::{Duration, Instant};

use process::propagation;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use restate_sdk::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;
use waybill_domain::Timestamp;
use waybill_domain::words::{self, MAX_REASON};

use crate::clock::stamp;
use crate::refuse::is_cancellation;
use crate::story::{OUTSIDE, TARGET};

/// One try ends after this: a hung one would hold its object key for ever.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// The first try and three more.
const TRIES: u32 = 4;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const DELAY_FACTOR: f32 = 2.0;
/// Sleeps between rounds of tries during an outage.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Most of an answer that is read. A longer one says nothing.
const MAX_ANSWER: usize = 64 * 1024;
/// What a no without words is told as.
const NO_WORDS: &str = "no reason given";
/// Not about what was asked: come again, or with the right key.
const NOT_ABOUT_IT: [StatusCode; 4] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_MANY_REQUESTS,
];

/// What proves to a stranger who asks, as a header. Its value is never shown.
#[derive(Debug, Clone)]
pub struct Credential {
    name: HeaderName,
    value: HeaderValue,
}

/// How a stranger wants to be told it: a header's name, and what stands before the
/// secret in its value, as in `Authorization: Bearer` or `X-API-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialHeader {
    name: HeaderName,
    scheme: Option<String>,
}

impl CredentialHeader {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none, in words for whoever has set it.
    pub fn parse(raw: &str) -> Result<Self, String> {
        let (name, scheme) = raw.split_once(':').unwrap_or((raw, ""));
        let scheme = scheme.trim();
        let is_word = scheme.bytes().all(|byte| byte.is_ascii_graphic());
        match name.trim().parse() {
            Ok(name) if is_word => Ok(Self {
                name,
                scheme: (!scheme.is_empty()).then(|| scheme.to_owned()),
            }),
            _ => Err(
                "it must be a header and what stands before the secret, such as Authorization: Bearer or X-API-Key"
                    .to_owned(),
            ),
        }
    }

    /// The header with `secret` in it; `None` when it cannot stand in a header.
    pub fn with(&self, secret: &str) -> Option<Credential> {
        let text = match &self.scheme {
            Some(scheme) => format!("{scheme} {secret}"),
            None => secret.to_owned(),
        };
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(Credential {
            name: self.name.clone(),
            value,
        })
    }
}

/// Two providers, one way to ask them.
#[derive(Debug, Clone)]
pub struct ProviderClient {
    http: reqwest::Client,
    base: Url,
    credential: Option<Credential>,
}

impl ProviderClient {
    /// A stranger at `base`, e.g. `http://127.0.0.1:8090/payments`, who may want to
    /// know who asks.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn at(base: Url, credential: Option<Credential>) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TRY_TIMEOUT)
            .connect_timeout(TRY_TIMEOUT)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            base,
            credential,
        })
    }

    /// A request to `path` below the base, each part escaped.
    pub fn request(&self, method: Method, path: &[&str], key: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self
            .http
            .request(method, url)
            .header("idempotency-key", key);
        match &self.credential {
            Some(Credential { name, value }) => request.header(name, value),
            None => request,
        }
    }
}

/// What a stranger finally said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", content = "what", rename_all = "snake_case")]
pub enum ProviderReply<T> {
    /// Yes, with this.
    Yes(T),
    /// No, finally, in these words.
    No(String),
}

/// What a stranger finally said, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said<T> {
    /// Its words.
    pub reply: ProviderReply<T>,
    /// When they came; `None` where the last of several tries decided.
    pub at: Option<Timestamp>,
}

/// Why one try brought nothing final. Its text is what Restate stores of the
/// last try, and [`AttemptError::read`] finds it there again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AttemptError {
    /// An answer that says no for now.
    SaidNo(String),
    /// No answer, or one that says nothing.
    NoAnswer(String),
}

const SAID_NO: &str = "said no: ";
const NO_ANSWER: &str = "no answer: ";

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SaidNo(words) => write!(f, "{SAID_NO}{words}"),
            Self::NoAnswer(cause) => write!(f, "{NO_ANSWER}{cause}"),
        }
    }
}

impl std::error::Error for AttemptError {}

impl AttemptError {
    fn read(message: &str) -> Self {
        match message.split_once(SAID_NO) {
            Some((_, words)) => Self::SaidNo(words.to_owned()),
            None => Self::NoAnswer(message.to_owned()),
        }
    }
}

/// Asks until there is an answer: rounds of four tries, durable sleeps between
/// rounds. `request` is built anew for each round and cloned for each try.
///
/// # Errors
/// Only when the invocation is cancelled; what was asked may have happened.
pub async fn ask<T>(
    ctx: &Context<'_>,
    step: &str,
    request: impl Fn() -> RequestBuilder + Send + Sync,
) -> Result<ProviderReply<T>, TerminalError>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    Ok(ask_when(ctx, step, request, || {}).await?.reply)
}

/// [`ask`], with the time of the answer; `is_away` is called when the first round has
/// brought none.
///
/// # Errors
/// As [`ask`].
pub async fn ask_when<T>(
    ctx: &Context<'_>,
    step: &str,
    request: impl Fn() -> RequestBuilder + Send + Sync,
    is_away: impl FnOnce() + Send,
) -> Result<Said<T>, TerminalError>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    let mut is_away = Some(is_away);
    let mut pause = FIRST_PAUSE;
    loop {
        let round = request();
        let order = order_of(&round);
        let asked = ctx
            .run(|| async move {
                let reply = told_try::<T>(step, round)
                    .await
                    .map_err(HandlerError::from)?;
                Ok(Json(Said {
                    reply,
                    at: Some(stamp()),
                }))
            })
            .name(step)
            .retry_policy(
                RunRetryPolicy::new()
                    .initial_delay(FIRST_DELAY)
                    .exponentiation_factor(DELAY_FACTOR)
                    .max_attempts(TRIES),
            )
            .await;
        match asked {
            Ok(Json(said)) => return Ok(said),
            Err(error) if is_cancellation(&error) => return Err(error),
            Err(error) => match AttemptError::read(error.message()) {
                AttemptError::SaidNo(words) => {
                    return Ok(Said {
                        reply: ProviderReply::No(words),
                        at: None,
                    });
                }
                AttemptError::NoAnswer(cause) => {
                    if let Some(is_away) = is_away.take() {
                        is_away();
                    }
                    tracing::warn!(
                        target: TARGET,
                        { order.id = order, step, pause_s = pause.as_secs(), cause },
                        "no answer: sleeping"
                    );
                    ctx.sleep(pause).await?;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            },
        }
    }
}

/// [`ask`], undisturbed by cancellations: for undoing, and for finding out.
pub async fn ask_in_any_case<T>(
    ctx: &Context<'_>,
    step: &str,
    request: impl Fn() -> RequestBuilder + Send + Sync,
) -> ProviderReply<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    loop {
        if let Ok(said) = ask(ctx, step, &request).await {
            return said;
        }
    }
}

/// One try, and a line about it, which is counted.
async fn told_try<T: DeserializeOwned>(
    step: &str,
    request: RequestBuilder,
) -> Result<ProviderReply<T>, AttemptError> {
    let began = Instant::now();
    let order = order_of(&request);
    let order = order.as_deref();
    let span = tracing::info_span!(
        "outside",
        otel.name = step,
        otel.kind = "client",
        order.id = order,
        answer = tracing::field::Empty,
    );
    let tried = async { one_try(traced(request)).await };
    let tried = tried.instrument(span.clone()).await;
    let answer = match &tried {
        Ok(ProviderReply::Yes(_)) => "yes",
        Ok(ProviderReply::No(_)) => "no",
        Err(AttemptError::SaidNo(_)) => "not_now",
        Err(AttemptError::NoAnswer(_)) => "none",
    };
    span.record("answer", answer);
    let elapsed_s = began.elapsed().as_secs_f64();
    tracing::debug!(target: OUTSIDE, { order.id = order, step, answer, elapsed_s }, "{step}: {answer}");
    tried
}

/// The request as a part of the trace that asks.
fn traced(request: RequestBuilder) -> RequestBuilder {
    let mut headers = HeaderMap::new();
    propagation::pass_on(&mut headers);
    request.headers(headers)
}

/// The order that a question is about: its key begins with the attempt's name.
fn order_of(request: &RequestBuilder) -> Option<String> {
    let request = request.try_clone()?.build().ok()?;
    let key = request.headers().get("idempotency-key")?.to_str().ok()?;
    Some(key.split_once('#')?.0.to_owned())
}

async fn one_try<T: DeserializeOwned>(
    request: RequestBuilder,
) -> Result<ProviderReply<T>, AttemptError> {
    let response = request
        .send()
        .await
        .map_err(|error| AttemptError::NoAnswer(cause(&error)))?;
    let status = response.status();
    if status.is_success() {
        let body = body_of(response).await?;
        return serde_json::from_slice(&body)
            .map(ProviderReply::Yes)
            .map_err(|error| {
                let error = words::bounded(&error.to_string(), MAX_REASON);
                AttemptError::NoAnswer(format!("the answer is unreadable: {error}"))
            });
    }
    match words_of(response).await {
        Some(words) if status.is_client_error() => Ok(ProviderReply::No(words)),
        Some(words) => Err(AttemptError::SaidNo(words)),
        None => Err(AttemptError::NoAnswer(format!("HTTP {status}"))),
    }
}

/// The body of an answer, if it is not too long.
async fn body_of(mut response: Response) -> Result<Vec<u8>, AttemptError> {
    let mut body = Vec::new();
    while let Some(part) = response
        .chunk()
        .await
        .map_err(|error| AttemptError::NoAnswer(cause(&error)))?
    {
        if body.len() + part.len() > MAX_ANSWER {
            let most = MAX_ANSWER / 1024;
            return Err(AttemptError::NoAnswer(format!(
                "the answer is longer than {most} KiB"
            )));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// The words of an answer that says no, as long as we keep them; `None` for a
/// bare error.
async fn words_of(response: Response) -> Option<String> {
    #[derive(Deserialize)]
    struct No {
        #[serde(default)]
        error: Option<String>,
        #[serde(default)]
        booked: Option<bool>,
    }
    let status = response.status();
    if NOT_ABOUT_IT.contains(&status) {
        return None;
    }
    let no: No = serde_json::from_slice(&body_of(response).await.ok()?).ok()?;
    // Others' error pages may be JSON too: only an explicit no is a no.
    let words = match no {
        No {
            booked: Some(false),
            error,
        } => Some(error.unwrap_or_else(|| "rejected".to_owned())),
        No { error, .. } if status.is_client_error() => error,
        No { .. } => None,
    }?;
    Some(if words::is_visible(&words) {
        words::bounded(&words, MAX_REASON)
    } else {
        NO_WORDS.to_owned()
    })
}

/// The whole chain of causes; the URL stays out, it may hold secrets.
fn cause(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "timed out".to_owned()
    } else {
        "connection failed".to_owned()
    };
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    words::bounded(&text, MAX_REASON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_survives_being_wrapped_in_an_error_message() {
        let no = AttemptError::SaidNo("address not served".to_owned());
        assert_eq!(
            AttemptError::read(&format!("Terminal error [500]: {no}")),
            no
        );
        assert!(matches!(
            AttemptError::read(&AttemptError::NoAnswer("timed out".into()).to_string()),
            AttemptError::NoAnswer(_)
        ));
    }

    /// What one try makes of an answer.
    async fn tried(
        status: u16,
        body: impl Into<String>,
    ) -> Result<ProviderReply<serde_json::Value>, AttemptError> {
        let status = StatusCode::from_u16(status).unwrap();
        let body = body.into();
        let app = axum::Router::new().fallback(move || async move { (status, body) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(axum::serve(listener, app).into_future());
        let tried = one_try(reqwest::Client::new().post(url)).await;
        server.abort();
        tried
    }

    #[test]
    fn a_credential_is_sent_as_the_stranger_wants_it_and_never_shown() {
        let base: Url = "https://provider.example/v1".parse().unwrap();
        let sent = |header: &str, name: &str| {
            let credential = CredentialHeader::parse(header).unwrap().with("sk_9f2b");
            let client = ProviderClient::at(base.clone(), credential).unwrap();
            assert!(!format!("{client:?}").contains("sk_9f2b"));
            let request = client.request(Method::POST, &["payments"], "key-1");
            assert!(!format!("{request:?}").contains("sk_9f2b"));
            let request = request.build().unwrap();
            request.headers()[name].to_str().unwrap().to_owned()
        };
        // Stripe takes both of the first, Adyen the third.
        assert_eq!(
            sent("Authorization: Bearer", "authorization"),
            "Bearer sk_9f2b"
        );
        assert_eq!(
            sent("Authorization: Basic", "authorization"),
            "Basic sk_9f2b"
        );
        assert_eq!(sent("X-API-Key", "x-api-key"), "sk_9f2b");
        for wrong in ["", ": Bearer", "two words", "X-Key: a b"] {
            assert!(CredentialHeader::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn only_words_about_what_was_asked_are_a_no() {
        let no = |words: &str| Ok(ProviderReply::No(words.to_owned()));
        assert_eq!(
            tried(422, r#"{"error":"too heavy"}"#).await,
            no("too heavy")
        );
        assert_eq!(tried(409, r#"{"error":"voided"}"#).await, no("voided"));
        let for_now = tried(503, r#"{"booked":false}"#).await;
        assert_eq!(for_now, Err(AttemptError::SaidNo("rejected".to_owned())));
        // A proxy's page, a wrong path, a key that has expired, a limit.
        for (status, body) in [
            (404, "<h1>Not Found</h1>"),
            (404, r#"{"message":"no route"}"#),
            (405, ""),
            (401, r#"{"error":"key expired"}"#),
            (403, r#"{"error":"forbidden"}"#),
            (408, ""),
            (429, r#"{"error":"slow down"}"#),
            (500, r#"{"error":"a bug"}"#),
            (502, ""),
        ] {
            let answer = tried(status, body).await;
            assert!(
                matches!(answer, Err(AttemptError::NoAnswer(_))),
                "{status} {body}: {answer:?}"
            );
        }
    }

    #[tokio::test]
    async fn long_and_blank_words_are_cut_down() {
        let words = |text: &str| serde_json::json!({ "error": text }).to_string();
        let Ok(ProviderReply::No(no)) = tried(422, words(&"x".repeat(50_000))).await else {
            panic!("a long no is a no");
        };
        assert_eq!(no.chars().count(), MAX_REASON);
        let turned = tried(422, words("address \u{202E}not served")).await;
        assert_eq!(
            turned,
            Ok(ProviderReply::No("address not served".to_owned()))
        );
        for blank in ["", " ", "\u{200B}\u{3164}"] {
            let no = Ok(ProviderReply::No(NO_WORDS.to_owned()));
            assert_eq!(tried(422, words(blank)).await, no, "{blank:?}");
        }
        // Longer than anybody reads: an answer that says nothing.
        for status in [200, 422, 503] {
            let answer = tried(status, words(&"x".repeat(MAX_ANSWER))).await;
            let Err(AttemptError::NoAnswer(cause)) = answer else {
                panic!("{status}: {answer:.100?}");
            };
            assert!(cause.len() < 200, "{cause}");
        }
    }

    #[test]
    fn fuzz_credential_headers() {
        use fuzz::proptest::prelude::*;
        let samples = [
            "Authorization: Bearer",
            "X-API-Key",
            "Authorization: Basic",
            "",
        ];
        let inputs = (fuzz::input::mistaken(&samples, 3), fuzz::input::text(8));
        fuzz::check(
            "services: headers of credentials",
            &inputs,
            |(raw, secret)| {
                match CredentialHeader::parse(&raw) {
                    Ok(header) => {
                        // Whatever the secret is, it makes one header, and no other line.
                        if let Some(credential) = header.with(&secret) {
                            let bytes = credential.value.as_bytes();
                            prop_assert!(credential.value.is_sensitive());
                            prop_assert!(!bytes.contains(&b'\n') && !bytes.contains(&b'\r'));
                            prop_assert!(bytes.ends_with(secret.as_bytes()));
                        }
                    }
                    Err(said) => prop_assert!(said.starts_with("it must be a header"), "{said}"),
                }
                Ok(())
            },
        );
    }
}
