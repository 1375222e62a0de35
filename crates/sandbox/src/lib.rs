//! The outside world of the demo and the tests: a payment provider with its
//! hosted payment page, and a carrier.
//!
//! It knows nothing of the shop. It speaks HTTP like any third party, keeps
//! its own durable books and can be told to misbehave.
//!
//! | module | is |
//! | --- | --- |
//! | `payments` | the provider's API: open, capture, void, refund |
//! | `pay_page` | the page on which a customer pays or declines |
//! | [`webhook`] | signed callbacks to the shop, and their outbox |
//! | `carrier` | booking and cancelling shipments |
//! | `bearer` | whom both answer, where that was set |
//! | `ledger` | the journal of effects: the independent witness |
//! | `faults` | the switches that make all of it misbehave |
//! | [`settings`] | every setting, from the environment or the command line |
//!
//! Invariants:
//! - An effect, its journal entry, its callback and the answer to its
//!   idempotency key are written in one transaction, or not at all.
//! - Every request about a known order or payment is counted, also one that a
//!   fault makes fail.
//! - What was written survives a restart, waiting callbacks included.

mod answer;
mod bearer;
mod carrier;
mod cuttable_connection;
mod database;
mod faults;
mod ledger;
mod pay_page;
mod payments;
pub mod settings;
pub mod webhook;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{
    Extension, Router, extract::Request, middleware::Next, response::Response, routing::get,
};
use process::{
    http::{Limits, Server},
    propagation,
};
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    answer::Answer, cuttable_connection::CuttableConnection, database::Database, faults::Faults,
    pay_page::PayPage, settings::Settings, webhook::Webhook,
};

/// How long requests under way may take to finish once a stop is asked for.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Is the outside world until the process is told to stop.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let _traces = settings.telemetry.start("waybill-sandbox", |lines| lines)?;
    settings.check_secrets()?;
    settings.check_database()?;
    let stop = process::stop_signal()?;
    Sandbox::open(settings).await?.serve(stop).await
}

/// The outside world, its ledger open and its port bound, but not yet serving.
pub struct Sandbox {
    world: Arc<World>,
    listener: TcpListener,
    local_addr: SocketAddr,
}

/// What every part of the sandbox shares.
struct World {
    database: Database,
    faults: Faults,
    webhook: Webhook,
    pay_page: PayPage,
    public_url: String,
    payment_provider_token: Option<String>,
    carrier_token: Option<String>,
    /// Told whenever a payment is opened that the fault `auto` pays later.
    auto_scheduled: Notify,
}

impl Sandbox {
    /// Opens the ledger, brings its schema up to date and binds the port. Port 0
    /// takes a free one: see [`Sandbox::local_addr`].
    pub async fn open(settings: Settings) -> anyhow::Result<Self> {
        let database = Database::open(&settings.sandbox_database_url).await?;
        let listen = settings.listen.sandbox_listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("the sandbox cannot listen on {listen}"))?;
        let local_addr = listener.local_addr()?;
        let public_url = settings
            .public_url()
            .map_or_else(|| default_public_url(local_addr), str::to_owned);
        let world = World {
            faults: Faults::load(&database).await?,
            webhook: Webhook::new(
                &settings.payment_callback_url,
                settings.webhook_secret().map(str::to_owned),
            )?,
            pay_page: PayPage::new()?,
            public_url,
            payment_provider_token: settings.payment_provider_token().map(str::to_owned),
            carrier_token: settings.carrier_token().map(str::to_owned),
            auto_scheduled: Notify::new(),
            database,
        };
        Ok(Self {
            world: Arc::new(world),
            listener,
            local_addr,
        })
    }

    /// Where the sandbox listens: the port it got when it was told port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown`, then finishes the requests under way. Callbacks
    /// that are still waiting are sent after the next start.
    pub async fn serve(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let world = self.world;
        tracing::info!(
            "sandbox listens on http://{}, ledger at /ledger, faults at /faults",
            self.local_addr
        );
        let mut workers = JoinSet::new();
        workers.spawn(webhook::deliver_callbacks(Arc::clone(&world)));
        workers.spawn(payments::pay_scheduled(Arc::clone(&world)));

        let router = router(Arc::clone(&world));
        let server = Server::new(Limits::STRANGERS);
        let server = server.serve_each(self.listener, shutdown.clone(), move |stream| {
            let (connection, cutter) = CuttableConnection::over(stream);
            (connection, router.clone().layer(Extension(cutter)))
        });
        let out_of_patience = async {
            shutdown.cancelled().await;
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        };
        tokio::select! {
            () = server => {}
            () = out_of_patience => tracing::warn!("sandbox stops with requests still under way"),
            Some(ended) = workers.join_next() => {
                ended.context("a background task of the sandbox failed")?;
            }
        }
        workers.shutdown().await;
        world.database.close().await;
        Ok(())
    }
}

/// Makes a request a span of the trace that its sender names, as a provider may.
async fn trace(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {path}"),
        otel.kind = "server",
        http.method = %method,
        http.path = path,
    );
    propagation::continue_trace(&span, request.headers());
    next.run(request).instrument(span).await
}

fn router(world: Arc<World>) -> Router {
    Router::new()
        .merge(bearer::demand(
            world.payment_provider_token.clone(),
            payments::router(),
        ))
        .merge(pay_page::router())
        .merge(bearer::demand(
            world.carrier_token.clone(),
            carrier::router(),
        ))
        .merge(ledger::router())
        .merge(faults::router())
        .route("/healthz", get(async || "ok"))
        .fallback(async || Answer::refused(404, "there is nothing at this address"))
        .method_not_allowed_fallback(async || {
            Answer::refused(405, "this address does not take this method")
        })
        .layer(axum::middleware::from_fn(
            cuttable_connection::cut_lost_answers,
        ))
        .layer(axum::middleware::from_fn(trace))
        .with_state(world)
}

fn default_public_url(listens_on: SocketAddr) -> String {
    if listens_on.ip().is_unspecified() {
        format!("http://127.0.0.1:{}", listens_on.port())
    } else {
        format!("http://{listens_on}")
    }
}
