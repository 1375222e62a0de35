//! The `services` process.

use std::io::IsTerminal as _;

use anyhow::Context;
use reqwest::Url;
use services::crash::Crash;
use services::settings::{LogFormat, Settings};
use services::voice::Voice;
use services::{endpoint, ops, registration};
use telemetry::Traces;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Layer, fmt};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::read();
    let collector = settings.traces_endpoint.as_ref();
    let collector = collector.and_then(|url| url.0.as_ref().map(Url::as_str));
    let traces = Traces::to(collector, "waybill-services")?;
    log(settings.log_format, &traces);

    let voice = Voice::new();
    let endpoint = endpoint::endpoint(&settings, &voice)?;
    let listener = listen("SERVICES_LISTEN", settings.listen).await?;
    let ops_listener = listen("SERVICES_OPS_LISTEN", settings.ops_listen).await?;
    let shutdown = stop_on_signal()?;

    let crash = Crash::allowed(settings.allow_crash);
    let ops = ops::router(ops::Ops {
        voice,
        token: settings.internal_token.clone(),
        crash: crash.clone(),
        allow_crash: settings.allow_crash,
        shutdown: shutdown.clone(),
    });
    let ops = axum::serve(ops_listener, ops)
        .with_graceful_shutdown(shutdown.clone().cancelled_owned())
        .into_future();
    let ops = tokio::spawn(ops);
    if let Some(admin) = settings.restate_admin_url {
        tokio::spawn(registration::register(admin, settings.url));
    }
    tracing::info!(listen = %settings.listen, ops = %settings.ops_listen, "services are up");
    endpoint::serve(listener, endpoint, crash, shutdown).await;
    ops.abort();
    Ok(())
}

async fn listen(variable: &str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{variable}: {address} cannot be listened on, choose another address")
    })
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stop = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stop.cancel();
    });
    Ok(token)
}

fn log(format: LogFormat, traces: &Traces) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // The SDK logs an ordinary suspension as a warning (sdk-rust #98), and each
    // failed attempt twice; `outside` and Restate itself tell of those.
    let no_echoes = FilterFn::new(|metadata| {
        !(metadata.target().starts_with("restate_sdk") && *metadata.level() >= tracing::Level::WARN)
    });
    let layer = match format {
        LogFormat::Text => fmt::layer()
            .with_ansi(std::io::stdout().is_terminal())
            .boxed(),
        LogFormat::Json => fmt::layer().json().boxed(),
    };
    tracing_subscriber::registry()
        .with(traces.layer().with_filter(LevelFilter::INFO))
        .with(
            layer
                .with_filter(filter)
                .with_filter(no_echoes)
                .with_filter(restate_sdk::filter::ReplayAwareFilter),
        )
        .init();
}
