//! What is known of the provider (its discovery document and its keys), and how it is
//! asked: with time limits, without following redirects, and reading no more than it needs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use openidconnect::core::{CoreClientAuthMethod, CoreJwsSigningAlgorithm as Alg};
use openidconnect::{
    DiscoveryError, EndSessionUrl, HttpRequest, HttpResponse, IssuerUrl,
    ProviderMetadataWithLogout as Metadata, TokenUrl,
};
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::sync::Mutex;

use super::bad_token;
use crate::http::problem::Problem;
use crate::settings::on_loopback;

/// How long the provider's documents are believed.
const FRESH: Duration = Duration::from_hours(1);
/// How soon it is asked again when it did not answer, or after keys that it did not have.
const AGAIN: Duration = Duration::from_secs(1);
/// How long it may take to connect, and to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;

/// The provider.
#[derive(Debug)]
pub(super) struct Provider {
    issuer: IssuerUrl,
    client: reqwest::Client,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    known: Option<(Arc<Known>, Instant)>,
    failed_at: Option<Instant>,
}

/// What it says of itself.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) metadata: Metadata,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum NoAnswer {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("it answers more than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("{0}")]
    Request(#[from] openidconnect::http::Error),
}

type Answering = Pin<Box<dyn Future<Output = Result<HttpResponse, NoAnswer>> + Send>>;

impl Provider {
    pub(super) fn new(issuer: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .build()
            .context("no HTTP client could be made")?;
        Ok(Self {
            issuer: IssuerUrl::new(issuer.to_owned())?,
            client,
            memory: Mutex::default(),
        })
    }

    pub(super) fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    /// As `openidconnect` asks.
    pub(super) fn http(&self) -> impl Fn(HttpRequest) -> Answering + use<> {
        let client = self.client.clone();
        move |request| {
            let client = client.clone();
            Box::pin(async move { answer(&client, request).await })
        }
    }

    /// What it says of itself, asked again now and then. What was known stays good while it
    /// is away.
    pub(super) async fn known(&self) -> Result<Arc<Known>, Problem> {
        let mut memory = self.memory.lock().await;
        let old = match &memory.known {
            Some((known, at)) if at.elapsed() < FRESH => return Ok(Arc::clone(known)),
            old => old.as_ref().map(|(known, _)| Arc::clone(known)),
        };
        match (self.ask(&mut memory).await, old) {
            (Err(_), Some(old)) => Ok(old),
            (asked, _) => asked,
        }
    }

    /// What is known of it already: nothing is asked.
    pub(super) async fn remembered(&self) -> Option<Arc<Known>> {
        let memory = self.memory.lock().await;
        memory.known.as_ref().map(|(known, _)| Arc::clone(known))
    }

    /// The same with keys that are newer than `old`'s.
    pub(super) async fn known_anew(&self, old: &Arc<Known>) -> Result<Arc<Known>, Problem> {
        let mut memory = self.memory.lock().await;
        match &memory.known {
            Some((known, at)) if !Arc::ptr_eq(known, old) || at.elapsed() < AGAIN => {
                Ok(Arc::clone(known))
            }
            _ => self.ask(&mut memory).await,
        }
    }

    async fn ask(&self, memory: &mut Memory) -> Result<Arc<Known>, Problem> {
        if memory.failed_at.is_some_and(|at| at.elapsed() < AGAIN) {
            return Err(away("it did not answer a moment ago"));
        }
        let asked = Metadata::discover_async(self.issuer.clone(), &self.http()).await;
        let known = asked
            .map_err(|error| match error {
                DiscoveryError::Request(error) => away(error),
                DiscoveryError::Response(status, ..) => away(format!("it answers {status}")),
                DiscoveryError::Validation(what) => misconfigured(what),
                // Its text may hold the answer's.
                _ => misconfigured("its discovery document or its keys cannot be read"),
            })
            .and_then(|metadata| Known::of(metadata, &self.issuer));
        match known {
            Ok(known) => {
                let known = Arc::new(known);
                *memory = Memory {
                    known: Some((Arc::clone(&known), Instant::now())),
                    failed_at: None,
                };
                Ok(known)
            }
            Err(problem) => {
                memory.failed_at = Some(Instant::now());
                tracing::warn!(
                    cause = problem.cause(),
                    "the identity provider cannot be asked"
                );
                Err(problem)
            }
        }
    }

    /// What userinfo says of whom the access token belongs to; nothing where there is none.
    pub(super) async fn more_about(
        &self,
        known: &Known,
        access_token: &str,
    ) -> Result<Map<String, Value>, Problem> {
        let Some(endpoint) = known.metadata.userinfo_endpoint() else {
            return Ok(Map::new());
        };
        let asked = self
            .client
            .get(endpoint.url().clone())
            .bearer_auth(access_token)
            .header("accept", "application/json");
        let asked = asked.send().await.map_err(away)?;
        if !asked.status().is_success() {
            return Err(away(format!("userinfo answers {}", asked.status())));
        }
        let body = read(asked).await.map_err(away)?;
        serde_json::from_slice(&body).map_err(|_| bad_token("userinfo cannot be read"))
    }
}

impl Known {
    /// Its addresses must be as safe as its own.
    fn of(metadata: Metadata, issuer: &IssuerUrl) -> Result<Self, Problem> {
        let plain_is_fine = on_loopback(issuer.as_str());
        let addresses = [
            Some(metadata.authorization_endpoint().as_str()),
            metadata.token_endpoint().map(|url| url.as_str()),
            metadata.userinfo_endpoint().map(|url| url.as_str()),
            Some(metadata.jwks_uri().as_str()),
            way_out(&metadata).map(|url| url.as_str()),
        ];
        let is_safe = |address: &str| {
            address.starts_with("https://") || (plain_is_fine && on_loopback(address))
        };
        if let Some(plain) = addresses.into_iter().flatten().find(|it| !is_safe(it)) {
            return Err(misconfigured(format!("{plain} is not https")));
        }
        Ok(Self { metadata })
    }

    pub(super) fn token_endpoint(&self) -> Result<TokenUrl, Problem> {
        let endpoint = self.metadata.token_endpoint().cloned();
        endpoint.ok_or_else(|| misconfigured("it names no token endpoint"))
    }

    /// Where people sign out of it, if it has such a page.
    pub(super) fn way_out(&self) -> Option<&EndSessionUrl> {
        way_out(&self.metadata)
    }

    /// Of the algorithms that it signs with, those whose keys it alone has. `RS256` is what
    /// every provider must know.
    pub(super) fn algorithms(&self) -> Vec<Alg> {
        let theirs = self.metadata.id_token_signing_alg_values_supported();
        let is_asymmetric = |alg: &&Alg| {
            matches!(
                alg,
                Alg::RsaSsaPkcs1V15Sha256
                    | Alg::RsaSsaPkcs1V15Sha384
                    | Alg::RsaSsaPkcs1V15Sha512
                    | Alg::RsaSsaPssSha256
                    | Alg::RsaSsaPssSha384
                    | Alg::RsaSsaPssSha512
                    | Alg::EcdsaP256Sha256
                    | Alg::EcdsaP384Sha384
                    | Alg::EdDsa
            )
        };
        theirs.iter().filter(is_asymmetric).cloned().collect()
    }

    /// Whether it takes the client's secret in the body only.
    pub(super) fn wants_secret_in_body(&self) -> bool {
        let methods = self.metadata.token_endpoint_auth_methods_supported();
        methods.is_some_and(|methods| {
            !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
                && methods.contains(&CoreClientAuthMethod::ClientSecretPost)
        })
    }
}

fn way_out(metadata: &Metadata) -> Option<&EndSessionUrl> {
    metadata.additional_metadata().end_session_endpoint.as_ref()
}

async fn answer(client: &reqwest::Client, request: HttpRequest) -> Result<HttpResponse, NoAnswer> {
    let answer = client.execute(request.try_into()?).await?;
    let mut response = openidconnect::http::Response::builder()
        .status(answer.status())
        .version(answer.version());
    if let Some(headers) = response.headers_mut() {
        *headers = answer.headers().clone();
    }
    let body = read(answer).await?;
    Ok(response.body(body)?)
}

async fn read(answer: reqwest::Response) -> Result<Vec<u8>, NoAnswer> {
    let mut body = Vec::new();
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece?);
        if body.len() > MAX_ANSWER {
            return Err(NoAnswer::TooLong);
        }
    }
    Ok(body)
}

/// It does not answer; why is for the log.
pub(super) fn away(cause: impl std::fmt::Display) -> Problem {
    Problem::unavailable(
        "the identity provider does not answer: nothing was done, try again in a moment",
    )
    .with_cause(cause)
}

/// It answers what makes no sense; why is for the log.
fn misconfigured(cause: impl std::fmt::Display) -> Problem {
    Problem::bad_gateway(
        "bad_provider",
        "Not signed in",
        "the identity provider is not set up as this shop expects: tell the operator (OIDC_ISSUER)",
    )
    .with_cause(cause)
}
