//! The services tell Restate where they are.

use std::time::Duration;

use reqwest::Url;
use serde_json::json;

const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

/// Registers `services_url` with Restate's admin API, trying until Restate
/// answers. `force` is set: a restart at the same address overwrites what
/// Restate knew of it; code that changes with orders in flight goes to a new
/// address.
pub async fn register(admin: Url, services_url: Url) {
    let mut told = false;
    loop {
        match attempt(&admin, &services_url).await {
            Ok(()) => {
                tracing::info!(services.url = %services_url, "registered with Restate");
                return;
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(
                    restate.admin = %admin, error = %format!("{error:#}"),
                    "not registered yet: waiting for Restate"
                );
            }
            Err(error) => tracing::debug!(error = %format!("{error:#}"), "not registered yet"),
        }
        pause().await;
    }
}

async fn attempt(admin: &Url, services_url: &Url) -> anyhow::Result<()> {
    let response = reqwest::Client::new()
        .post(admin.join("deployments")?)
        .timeout(TIMEOUT)
        .json(&json!({ "uri": services_url.as_str(), "force": true }))
        .send()
        .await?;
    let status = response.status();
    if !status.is_success() {
        let body = response.text().await.unwrap_or_default();
        anyhow::bail!("Restate answered {status}: {body}");
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "start-up, not a handler: nothing here is replayed"
)]
async fn pause() {
    tokio::time::sleep(PAUSE).await;
}
