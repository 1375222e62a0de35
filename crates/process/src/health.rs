//! A health check for images that have no curl.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{anyhow, bail};

/// How long a health check waits.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the process that listens at this address of this machine for `path`,
/// e.g. `readyz`, and says whether it is well.
///
/// # Errors
/// What it said, when it is not; that it says nothing.
pub async fn health(listens_on: SocketAddr, path: &str) -> anyhow::Result<()> {
    let mut address = listens_on;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let url = format!("http://{address}/{path}");
    let answer = reqwest::Client::builder()
        .no_proxy()
        .timeout(HEALTH_TIMEOUT)
        .build()?
        .get(&url)
        .send()
        .await
        .map_err(|error| anyhow!("{url} does not answer: {error}"))?;
    let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
    if !status.is_success() {
        bail!("{url} answers {status}: {}", text.trim());
    }
    crate::say("well")
}
