//! What handlers share, and the router, which only merges each feature's.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::{Router, middleware};
use services::client::Ingress;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use waybill_domain::Timestamp;
use waybill_domain::words::{MAX_NAME, quoted};

use crate::auth::Auth;
use crate::http::problem::{self, Problem};
use crate::live::Hub;
use crate::ops::Metrics;
use crate::orders::checkout::PaymentPages;
use crate::restate::admin::AdminApi;
use crate::settings::Settings;
use crate::storage::db::Db;
use crate::views::Views;
use crate::{
    admin, auth, cart, catalog, dashboard, notifications, ops, orders, payments, protection, views,
    world,
};

/// How long a request to somebody else may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What handlers share.
pub struct App {
    /// How this gateway was set up.
    pub settings: Settings,
    /// SQLite.
    pub db: Db,
    /// Who is calling.
    pub auth: Auth,
    /// Commands to Restate.
    pub ingress: Ingress,
    /// Questions to Restate's admin API.
    pub admin_api: AdminApi,
    /// What the services say, and who is woken by it.
    pub live: Hub,
    /// Templates.
    pub views: Views,
    /// The numbers of the dashboard, shared by all who look.
    pub dashboard: dashboard::Latest,
    /// The demo's scenarios.
    pub world: world::World,
    /// Whether Inventory knows the catalog.
    pub stock_announced: catalog::stock::Announced,
    /// How the provider has been doing lately.
    pub payment_pages: PaymentPages,
    /// For everything else that speaks HTTP.
    pub http: reqwest::Client,
    /// Since when this process serves.
    pub started_at: Timestamp,
}

/// The state of every handler.
pub type Shared = Arc<App>;

impl App {
    /// Opens everything that `settings` names. Nothing is asked of Restate yet:
    /// it may come up later.
    pub async fn open(settings: Settings) -> anyhow::Result<Shared> {
        let db = Db::open(&settings.database_url).await?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .context("no HTTP client could be made")?;
        let ingress =
            services::client::connect(&settings.restate_ingress_url).with_context(|| {
                format!("RESTATE_INGRESS_URL is '{}'", settings.restate_ingress_url)
            })?;
        let admin_api = AdminApi::new(&settings.restate_admin_url, http.clone());
        Ok(Arc::new(Self {
            auth: Auth::new(&settings),
            live: Hub::new(
                db.clone(),
                ingress.clone(),
                admin_api.clone(),
                Metrics::default(),
            ),
            views: Views::new(&settings)?,
            dashboard: dashboard::Latest::default(),
            world: world::World::default(),
            stock_announced: catalog::stock::Announced::default(),
            payment_pages: PaymentPages::default(),
            started_at: Timestamp::now(),
            settings,
            db,
            ingress,
            admin_api,
            http,
        }))
    }
}

/// Every page and every endpoint.
pub fn router(app: Shared) -> Router {
    Router::new()
        .merge(admin::router())
        .merge(auth::router())
        .merge(cart::router())
        .merge(catalog::router())
        .merge(dashboard::router())
        .merge(notifications::router())
        .merge(ops::router())
        .merge(orders::router())
        .merge(payments::router())
        .merge(views::router())
        .merge(world::router())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        // From here on the last one added is the first to see a request.
        .layer(CatchPanicLayer::custom(problem::of_panic))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            ops::count_request,
        ))
        .layer(middleware::from_fn(protection::refuse_encoded_bodies))
        .layer(middleware::from_fn(protection::refuse_cross_site_writes))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            views::present::present,
        ))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(protection::answer_in_any_case))
        .layer(middleware::from_fn(protection::secure))
        .layer(middleware::from_fn(protection::log_access))
        .with_state(app)
}

async fn unknown_path(request: Request) -> Problem {
    Problem::not_found(format!(
        "there is nothing at {}: look at /openapi.json for what there is",
        quoted(request.uri().path(), MAX_NAME)
    ))
}

async fn wrong_method(request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Method not allowed",
        format!(
            "{} does not take {}: the Allow header says what it takes",
            quoted(request.uri().path(), MAX_NAME),
            request.method()
        ),
    )
}

#[cfg(test)]
mod tests;
