//! What all of the gateway stands on: settings, SQLite, the ways to Restate, the
//! live side, and what all of them ask for. Features keep their own memories.

mod memory;
pub mod placing;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use services::client::Ingress;

use crate::identity::auth::Auth;
use crate::live::{Bounds, LiveState};
use crate::metrics::Metrics;
use crate::restate::admin::AdminApi;
use crate::settings::Settings;
use crate::storage::db::Db;

/// How long a request to somebody else may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where a node of Restate says whether its ingress is well.
pub const INGRESS_HEALTH: &str = "/restate/health";
/// The same of its admin API.
pub const ADMIN_HEALTH: &str = "/health";

/// What every feature may use.
pub struct Infra {
    /// How this gateway was set up.
    pub settings: Settings,
    /// SQLite.
    pub db: Db,
    /// Sessions, and a brake on guessing.
    pub auth: Auth,
    /// Commands to Restate.
    pub ingress: Ingress,
    /// Questions to Restate's admin API.
    pub admin_api: AdminApi,
    /// What the services say, and who is woken by it.
    pub live: LiveState,
    /// What this gateway counts.
    pub metrics: Metrics,
    /// Whose orders are being placed just now.
    pub placing: placing::Placing,
    /// For everything else that speaks HTTP.
    pub http: reqwest::Client,
    memory: memory::Memory,
}

/// A cheap clone of it.
pub type Shared = Arc<Infra>;

impl Infra {
    /// Opens everything that `settings` names. Nothing is asked of Restate yet:
    /// it may come up later.
    pub async fn open(settings: Settings) -> anyhow::Result<Shared> {
        let db = Db::open(&settings.database_url).await?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .context("no HTTP client could be made")?;
        let nodes = settings.restate_ingress();
        nodes.watch(&http, INGRESS_HEALTH);
        let ingress =
            services::client::connect(&nodes, settings.internal_token()).with_context(|| {
                let urls = settings.restate_ingress_url.join(",");
                format!("RESTATE_INGRESS_URL is '{urls}'")
            })?;
        let nodes = settings.restate_admin();
        nodes.watch(&http, ADMIN_HEALTH);
        let admin_api = AdminApi::new(nodes, http.clone());
        let metrics = Metrics::default();
        Ok(Arc::new(Self {
            auth: Auth::new(&settings)?,
            live: LiveState::new(
                db.clone(),
                ingress.clone(),
                admin_api.clone(),
                metrics.clone(),
                Bounds {
                    order_retention: settings.order_retention,
                    audit_retention: settings.audit_retention,
                    streams: settings.max_streams(),
                    streams_per_address: settings.edge.max_streams_per_address,
                },
            ),
            metrics,
            settings,
            db,
            ingress,
            admin_api,
            http,
            placing: placing::Placing::default(),
            memory: memory::Memory::default(),
        }))
    }
}
