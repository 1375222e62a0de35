//! Whether each process of Waybill is well.

use std::time::Duration;

use futures::future::join_all;
use process::nodes::Nodes;
use serde::Serialize;

use crate::infra::{ADMIN_HEALTH, INGRESS_HEALTH, Infra};

/// How long a process may take to say that it is well.
pub(super) const PROBE_WITHIN: Duration = Duration::from_secs(1);

/// The health of one process.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Process {
    /// `gateway`, `restate`, `restate-admin`, `services`, `sandbox`; with a number where
    /// there are several.
    pub name: String,
    /// Where it was asked.
    pub url: String,
    /// Whether it says that it is well.
    pub up: bool,
    /// Why not.
    pub detail: Option<String>,
}

impl Process {
    /// Whether commands go there: a node of Restate.
    pub fn is_ingress(&self) -> bool {
        self.name.split(' ').next() == Some("restate")
    }
}

/// Asks every process that this gateway knows of.
pub async fn all(infra: &Infra) -> Vec<Process> {
    let settings = &infra.settings;
    let mut asked = Vec::new();
    for (name, nodes, health) in [
        ("restate", infra.ingress.nodes(), INGRESS_HEALTH),
        ("restate-admin", infra.admin_api.nodes(), ADMIN_HEALTH),
    ] {
        let several = nodes.len() > 1;
        for (n, url) in nodes.urls().enumerate() {
            let name = numbered(name, several.then_some(n));
            asked.push((name, format!("{url}{health}")));
        }
    }
    let several = settings.services_updates_urls.len() > 1;
    for (n, url) in settings.services_updates_urls.iter().enumerate() {
        let name = numbered("services", several.then_some(n));
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

fn numbered(name: &str, n: Option<usize>) -> String {
    match n {
        Some(n) => format!("{name} {}", n + 1),
        None => name.to_owned(),
    }
}

/// Which nodes of Restate's cluster are away, and what that means, in sentences; nothing
/// when none is, and for one server alone.
pub fn nodes_away(nodes: &Nodes) -> Option<String> {
    let away: Vec<_> = nodes
        .away()
        .map(|(url, away)| format!("{url} ({})", away.why))
        .collect();
    if away.is_empty() {
        return None;
    }
    let are = if away.len() == 1 { "is" } else { "are" };
    let follows = if nodes.majority_is_away() {
        "Too few are left to decide anything: orders stand still until another is back, and nothing is lost"
    } else {
        "Orders go on at the others: start it again before another fails"
    };
    Some(format!(
        "{} of {} nodes of Restate {are} away: {}. {follows}.",
        away.len(),
        nodes.len(),
        away.join(", ")
    ))
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
    use process::nodes::Heard;

    use super::*;

    #[tokio::test]
    async fn who_is_away_is_named_and_what_follows() {
        let nodes = Nodes::of(["http://a", "http://b", "http://c"]);
        assert_eq!(nodes_away(&nodes), None);
        let nobody_but = async |there: &[&str]| {
            let there: Vec<_> = there.iter().map(|it| (*it).to_owned()).collect();
            let answers = async |url: String| {
                let gone = Heard::NotSent("it is not reachable".to_owned());
                (
                    if there.contains(&url) {
                        Heard::Answer
                    } else {
                        gone
                    },
                    (),
                )
            };
            nodes.ask(false, answers).await;
        };
        nobody_but(&["http://b"]).await;
        assert_eq!(
            nodes_away(&nodes).unwrap(),
            "1 of 3 nodes of Restate is away: http://a (it is not reachable). \
             Orders go on at the others: start it again before another fails."
        );
        nobody_but(&["http://c"]).await;
        assert_eq!(
            nodes_away(&nodes).unwrap(),
            "2 of 3 nodes of Restate are away: http://a (it is not reachable), \
             http://b (it is not reachable). Too few are left to decide anything: \
             orders stand still until another is back, and nothing is lost."
        );
    }

    #[test]
    fn the_servers_other_paths() {
        assert_eq!(
            beside("http://s:9081/updates", "/crash"),
            "http://s:9081/crash"
        );
    }
}
