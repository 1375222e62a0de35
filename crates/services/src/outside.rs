//! How strangers are asked over HTTP.
//!
//! A definite no (4xx) is an answer at once. An answer that says no for now, a
//! bare 5xx, a timeout or no answer at all is tried four times within a second;
//! after that a "no for now" counts as definite, and silence as an outage: a
//! durable sleep, then again. A sleeping invocation holds none of Restate's
//! invoker slots, so an outage of others never stops us.

use std::fmt;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use restate_sdk::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::refuse::is_cancellation;

/// One try ends after this: a hung one would hold its object key for ever.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// The proposal's policy: the first try and three more.
const TRIES: u32 = 4;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const DELAY_FACTOR: f32 = 2.0;
/// Sleeps between rounds of tries during an outage.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Two providers, one way to ask them.
#[derive(Debug, Clone)]
pub struct Stranger {
    http: reqwest::Client,
    base: Url,
}

impl Stranger {
    /// A stranger at `base`, e.g. `http://127.0.0.1:8090/payments`.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn at(base: Url) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TRY_TIMEOUT)
            .connect_timeout(TRY_TIMEOUT)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, base })
    }

    /// A request to `path` below the base, each part escaped.
    pub fn request(&self, method: Method, path: &[&str], key: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http
            .request(method, url)
            .header("idempotency-key", key)
    }
}

/// What a stranger finally said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", content = "what", rename_all = "snake_case")]
pub enum Said<T> {
    /// Yes, with this.
    Yes(T),
    /// No, finally, in these words.
    No(String),
}

/// Why one try brought nothing final. Its text is what Restate stores of the
/// last try, and [`Trouble::read`] finds it there again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    /// An answer that says no for now.
    SaidNo(String),
    /// No answer, or one that says nothing.
    NoAnswer(String),
}

const SAID_NO: &str = "said no: ";
const NO_ANSWER: &str = "no answer: ";

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SaidNo(words) => write!(f, "{SAID_NO}{words}"),
            Self::NoAnswer(cause) => write!(f, "{NO_ANSWER}{cause}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl Trouble {
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
) -> Result<Said<T>, TerminalError>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let round = request();
        let asked = ctx
            .run(|| async move {
                one_try::<T>(round)
                    .await
                    .map(Json)
                    .map_err(HandlerError::from)
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
            Err(error) => match Trouble::read(error.message()) {
                Trouble::SaidNo(words) => return Ok(Said::No(words)),
                Trouble::NoAnswer(cause) => {
                    tracing::warn!(
                        step,
                        pause_s = pause.as_secs(),
                        cause,
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
) -> Said<T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    loop {
        if let Ok(said) = ask(ctx, step, &request).await {
            return said;
        }
    }
}

async fn one_try<T: DeserializeOwned>(request: RequestBuilder) -> Result<Said<T>, Trouble> {
    let response = request
        .send()
        .await
        .map_err(|error| Trouble::NoAnswer(cause(&error)))?;
    let status = response.status();
    if status.is_success() {
        return response
            .json()
            .await
            .map(Said::Yes)
            .map_err(|error| Trouble::NoAnswer(cause(&error)));
    }
    let words = words_of(response).await;
    match words {
        // Told to slow down or to come again: no answer yet.
        _ if matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
        ) =>
        {
            Err(Trouble::NoAnswer(format!("HTTP {status}")))
        }
        words if status.is_client_error() => {
            Ok(Said::No(words.unwrap_or_else(|| format!("HTTP {status}"))))
        }
        Some(words) => Err(Trouble::SaidNo(words)),
        None => Err(Trouble::NoAnswer(format!("HTTP {status}"))),
    }
}

/// The words of an answer that says no; `None` for a bare error.
async fn words_of(response: Response) -> Option<String> {
    #[derive(Deserialize)]
    struct No {
        #[serde(default)]
        error: Option<String>,
        #[serde(default)]
        booked: Option<bool>,
    }
    let client_error = response.status().is_client_error();
    let no: No = response.json().await.ok()?;
    // A server's error page may be JSON too: only an explicit no is a no.
    (client_error || no.booked == Some(false))
        .then(|| no.error.unwrap_or_else(|| "rejected".to_owned()))
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
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_survives_being_wrapped_in_an_error_message() {
        let no = Trouble::SaidNo("address not served".to_owned());
        assert_eq!(Trouble::read(&format!("Terminal error [500]: {no}")), no);
        assert!(matches!(
            Trouble::read(&Trouble::NoAnswer("timed out".into()).to_string()),
            Trouble::NoAnswer(_)
        ));
    }
}
