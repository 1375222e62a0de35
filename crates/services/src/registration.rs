//! The services tell Restate where they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(500);

/// Whether Restate knows the services; cheap to clone.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Nowhere, when somebody else registers them. Of a cluster, any of these will do.
    admin: Arc<[Url]>,
    done: Arc<AtomicBool>,
}

impl Registration {
    /// Registration with Restate's admin API, which is at each of `admin`, if that is our
    /// task.
    pub fn new(admin: Vec<Url>) -> Self {
        Self {
            admin: admin.into(),
            done: Arc::default(),
        }
    }

    /// What is still waited for.
    pub fn waits_for(&self) -> Option<&'static str> {
        let done = self.admin.is_empty() || self.done.load(Ordering::Relaxed);
        (!done).then_some("not registered with Restate yet")
    }

    /// Registers `services_url` with Restate's admin API, trying until Restate
    /// answers.
    ///
    /// A restart at the same address overwrites what Restate knew of it, so that
    /// code changes in place are found. Unless newer services have been
    /// registered at another address meanwhile: then this process finishes the
    /// orders that began here, and overwriting would make it the newest again.
    pub async fn register(self, services_url: Url) {
        let mut told = false;
        // One after the other: a node that is away keeps nobody from the next.
        for (tried, admin) in self.admin.iter().cycle().enumerate() {
            match attempt(admin, &services_url).await {
                Ok(Registered::Newest) => {
                    tracing::info!(services.url = %services_url, "registered with Restate");
                    break;
                }
                Ok(Registered::Superseded { by }) => {
                    tracing::warn!(
                        services.url = %services_url, newer.url = by,
                        "Restate gives new work to {by}, which was registered later: this process finishes what began here. `restate deployments register --force {services_url}` gives new work here again"
                    );
                    break;
                }
                Err(error) if !told => {
                    told = self.admin.len() == tried + 1;
                    tracing::warn!(
                        restate.admin = %admin, error = %format!("{error:#}"),
                        "not registered yet: waiting for Restate"
                    );
                }
                Err(error) => tracing::debug!(error = %format!("{error:#}"), "not registered yet"),
            }
            if (tried + 1) % self.admin.len() == 0 {
                pause().await;
            }
        }
        self.done.store(true, Ordering::Relaxed);
    }
}

/// What this process is to Restate.
enum Registered {
    /// New work comes here.
    Newest,
    /// New work goes elsewhere.
    Superseded { by: String },
}

async fn attempt(admin: &Url, services_url: &Url) -> anyhow::Result<Registered> {
    let http = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(CONNECT_WITHIN)
        .build()?;
    if let Some(by) = superseded_by(&http, admin, services_url).await?
        && serves(&by).await
    {
        return Ok(Registered::Superseded { by });
    }
    let request = http.post(admin.join("deployments")?);
    answered(request.json(&json!({ "uri": services_url.as_str(), "force": true }))).await?;
    Ok(Registered::Newest)
}

/// Whether somebody listens at an address. Where nobody does, new work would
/// stand still: so services that came back to an earlier address take over.
async fn serves(address: &str) -> bool {
    // What has no address of this kind is not ours to judge.
    let Ok(url) = address.parse::<Url>() else {
        return true;
    };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return true;
    };
    let host = host.trim_matches(['[', ']']);
    let connected = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect((host, port))).await;
    matches!(connected, Ok(Ok(_)))
}

/// The address of newer services, if what this address offers is offered there.
async fn superseded_by(
    http: &reqwest::Client,
    admin: &Url,
    services_url: &Url,
) -> anyhow::Result<Option<String>> {
    let Deployments { deployments } = ask(http, admin, "deployments").await?;
    let ours = deployments
        .iter()
        .find(|it| it.uri.parse().is_ok_and(|uri: Url| uri == *services_url));
    let Some(ours) = ours else { return Ok(None) };
    let Services { services } = ask(http, admin, "services").await?;
    let newer = services.iter().find(|service| {
        service.deployment_id != ours.id && ours.services.iter().any(|it| it.name == service.name)
    });
    Ok(newer.map(|service| {
        let id = &service.deployment_id;
        let at = deployments.iter().find(|it| it.id == *id);
        at.map_or_else(|| id.clone(), |it| it.uri.clone())
    }))
}

/// `GET {admin}/deployments`.
#[derive(Deserialize)]
struct Deployments {
    deployments: Vec<Deployment>,
}

#[derive(Deserialize)]
struct Deployment {
    id: String,
    /// Functions in a cloud have none.
    #[serde(default)]
    uri: String,
    services: Vec<Offered>,
}

#[derive(Deserialize)]
struct Offered {
    name: String,
}

/// `GET {admin}/services`.
#[derive(Deserialize)]
struct Services {
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    name: String,
    /// Who serves new calls.
    deployment_id: String,
}

async fn ask<T: DeserializeOwned>(
    http: &reqwest::Client,
    admin: &Url,
    path: &str,
) -> anyhow::Result<T> {
    let response = answered(http.get(admin.join(path)?)).await?;
    Ok(response.json().await?)
}

async fn answered(request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
    let response = request.send().await?;
    let status = response.status();
    if !status.is_success() {
        let body = response.text().await.unwrap_or_default();
        anyhow::bail!("Restate answered {status}: {body}");
    }
    Ok(response)
}

#[expect(
    clippy::disallowed_methods,
    reason = "start-up, not a handler: nothing here is replayed"
)]
async fn pause() {
    tokio::time::sleep(PAUSE).await;
}
