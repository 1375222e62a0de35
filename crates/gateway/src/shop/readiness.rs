//! Whether this gateway can serve, and if not, why.

use std::time::Duration;

use process::nodes::Heard;
use serde::Serialize;

use super::processes;
use super::stock::Announcement;
use crate::infra::{INGRESS_HEALTH, Infra};

/// How long Restate and SQLite may take to prove that they are there.
const PROVE_WITHIN: Duration = Duration::from_secs(2);

/// Whether requests can be served, and if not, why.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// Whether all that serving needs is there.
    pub ready: bool,
    /// Commands go there. `null` is well, else why not.
    restate: Option<String>,
    /// Commands are for them: Restate must have been told where they are.
    services: Option<String>,
    /// A product whose stock nobody knows cannot be sold.
    stock: Option<String>,
    /// Reads and the projector need it.
    database: Option<String>,
    /// Which nodes of Restate's cluster are away, and what that means; `null` when none is.
    nodes_away: Option<String>,
    /// Told, but no reason to take this gateway out: it serves, and catches up.
    update_streams_connected: usize,
    update_streams: usize,
    restate_nodes: usize,
    restate_nodes_away: usize,
    read_model_behind_ms: Option<u64>,
}

/// The same in a word for each part, for whoever is not known.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct InBrief {
    /// Whether all that serving needs is there.
    ready: bool,
    restate: Word,
    services: Word,
    stock: Word,
    database: Word,
}

/// How a part is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Word {
    Ok,
    Down,
}

impl Readiness {
    /// Without reasons: they name addresses of this network.
    pub fn in_brief(&self) -> InBrief {
        let word = |wrong: &Option<String>| match wrong {
            None => Word::Ok,
            Some(_) => Word::Down,
        };
        InBrief {
            ready: self.ready,
            restate: word(&self.restate),
            services: word(&self.services),
            stock: word(&self.stock),
            database: word(&self.database),
        }
    }
}

/// Asks Restate and SQLite.
pub async fn check(infra: &Infra, announcement: &Announcement) -> Readiness {
    let (restate, services, database) = tokio::join!(
        restate_usable(infra),
        services_known(infra),
        database_usable(infra)
    );
    let stock = stock_announced(announcement);
    let health = infra.live.health();
    let nodes = infra.ingress.nodes();
    Readiness {
        ready: restate.is_ok() && services.is_ok() && stock.is_ok() && database.is_ok(),
        restate: restate.err(),
        services: services.err(),
        stock: stock.err(),
        database: database.err(),
        nodes_away: processes::nodes_away(nodes),
        restate_nodes: nodes.len(),
        restate_nodes_away: nodes.away().count(),
        update_streams_connected: health.sources.iter().filter(|it| it.connected).count(),
        update_streams: health.sources.len(),
        read_model_behind_ms: health.behind_ms,
    }
}

async fn restate_usable(infra: &Infra) -> Result<(), String> {
    let nodes = infra.ingress.nodes();
    if nodes.majority_is_away() {
        return Err(processes::nodes_away(nodes).unwrap_or_default());
    }
    let asked = nodes.ask(true, async |node: String| {
        let url = format!("{node}{INGRESS_HEALTH}");
        match infra.http.get(&url).send().await {
            Ok(answer) if answer.status().is_success() => (Heard::Answer, Ok(())),
            Ok(answer) => {
                let said = format!("{url} answers {}", answer.status());
                (Heard::Lost, Err(said))
            }
            Err(error) => (Heard::of(&error), Err(silent(&url))),
        }
    });
    let asked = tokio::time::timeout(PROVE_WITHIN, asked).await;
    asked.unwrap_or_else(|_| Err(silent(&format!("{}{INGRESS_HEALTH}", nodes.chosen()))))
}

fn silent(url: &str) -> String {
    format!("{url} does not answer: is restate-server running?")
}

async fn services_known(infra: &Infra) -> Result<(), String> {
    match tokio::time::timeout(PROVE_WITHIN, infra.ingress.knows_services()).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err("they are not registered with Restate yet: are they running?".into()),
        Ok(Err(_)) | Err(_) => Err("Restate does not say whether it knows them".into()),
    }
}

fn stock_announced(announcement: &Announcement) -> Result<(), String> {
    if announcement.is_made() {
        Ok(())
    } else {
        Err("Inventory has not been told of the catalog yet: are the services running?".into())
    }
}

/// Reads, and writes what is there already.
async fn database_usable(infra: &Infra) -> Result<(), String> {
    match tokio::time::timeout(PROVE_WITHIN, infra.db.check_writable()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("it cannot be written ({error})")),
        Err(_) => Err(format!("no answer within {} s", PROVE_WITHIN.as_secs())),
    }
}
