//! Whether each process of Waybill is well.

use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;

use crate::infra::Infra;

/// How long a process may take to say that it is well.
pub(super) const PROBE_WITHIN: Duration = Duration::from_secs(1);

/// The health of one process.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Process {
    /// `gateway`, `restate`, `restate-admin`, `services`, `sandbox`.
    pub name: String,
    /// Where it was asked.
    pub url: String,
    /// Whether it says that it is well.
    pub up: bool,
    /// Why not.
    pub detail: Option<String>,
}

/// Asks every process that this gateway knows of.
pub async fn all(infra: &Infra) -> Vec<Process> {
    let settings = &infra.settings;
    let mut asked = vec![
        (
            "restate".to_owned(),
            format!("{}/restate/health", settings.restate_ingress_url),
        ),
        (
            "restate-admin".to_owned(),
            format!("{}/health", settings.restate_admin_url),
        ),
    ];
    let several = settings.services_updates_urls.len() > 1;
    for (n, url) in settings.services_updates_urls.iter().enumerate() {
        let name = if several {
            format!("services {}", n + 1)
        } else {
            "services".to_owned()
        };
        asked.push((name, beside(url, "/healthz")));
    }
    if let Some(sandbox) = settings.sandbox_url() {
        asked.push(("sandbox".to_owned(), format!("{sandbox}/healthz")));
    }
    let probes = asked.into_iter().map(async |(name, url)| {
        let detail = probe(&infra.http, &url).await.err();
        Process {
            name,
            url,
            up: detail.is_none(),
            detail,
        }
    });
    let gateway = Process {
        name: "gateway".to_owned(),
        url: format!("http://{}", settings.gateway_listen),
        up: true,
        detail: None,
    };
    let mut processes = vec![gateway];
    processes.extend(join_all(probes).await);
    processes
}

/// Another path of the server that `url` names.
pub fn beside(url: &str, path: &str) -> String {
    url.parse::<reqwest::Url>()
        .and_then(|url| url.join(path))
        .map_or_else(|_| url.to_owned(), |url| url.to_string())
}

async fn probe(http: &reqwest::Client, url: &str) -> Result<(), String> {
    let asked = http.get(url).timeout(PROBE_WITHIN).send().await;
    match asked {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("it answers {}", answer.status())),
        Err(error) if error.is_timeout() => Err("it does not answer in time".to_owned()),
        Err(_) => Err("it is not reachable".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_other_paths() {
        assert_eq!(
            beside("http://s:9081/updates", "/crash"),
            "http://s:9081/crash"
        );
    }
}
