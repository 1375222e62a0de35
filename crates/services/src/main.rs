//! The `services` process.

use std::io::IsTerminal as _;
use std::net::SocketAddr;

use anyhow::Context;
use process::Traces;
use process::http::{Limits, Server};
use reqwest::Url;
use services::broadcast::UpdateBroadcaster;
use services::crash::Crash;
use services::registration::Registration;
use services::settings::{Command, CommandLine, LogFormat, Settings, refuse, refuse_setting};
use services::{endpoint, ops, prepare};
use tokio::net::TcpListener;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Exit code for everything but a wrong setting.
const FAILED: i32 = 1;

#[tokio::main]
async fn main() {
    let line = CommandLine::read();
    let done = match line.command {
        None | Some(Command::Serve) => serve(line.settings).await,
        Some(Command::Health { ready }) => {
            let path = if ready { "readyz" } else { "healthz" };
            process::health(line.settings.ops_listen, path).await
        }
        Some(Command::Prepare(folders)) => match prepare::prepare(&folders) {
            Ok(said) => process::say(&said),
            Err(error) => refuse_setting(&format!("{error:#}")),
        },
    };
    if let Err(error) = done {
        refuse(&format!("{error:#}"), FAILED);
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let collector = settings.traces_endpoint.as_ref();
    let collector = collector.and_then(|url| url.0.as_ref().map(Url::as_str));
    let traces = match Traces::to(collector, "waybill-services") {
        Ok(traces) => traces,
        Err(error) => refuse_setting(&format!("{error:#}")),
    };
    log(settings.log_format, &traces);

    let updates = UpdateBroadcaster::new();
    let endpoint = match endpoint::endpoint(&settings, &updates) {
        Ok(endpoint) => endpoint,
        Err(error) => refuse_setting(&format!("{error:#}")),
    };
    let listener = listen("SERVICES_LISTEN", settings.listen).await?;
    let ops_listener = listen("SERVICES_OPS_LISTEN", settings.ops_listen).await?;
    let shutdown = process::stop_signal()?;

    let crash = Crash::allowed(settings.allow_crash);
    let registration = Registration::new(settings.restate_admin_url.clone());
    let ops = ops::router(ops::Ops {
        updates,
        registration: registration.clone(),
        token: settings.internal_token().map(str::to_owned),
        crash: crash.clone(),
        allow_crash: settings.allow_crash,
        shutdown: shutdown.clone(),
    });
    let stop_ops = shutdown.clone();
    let ops = tokio::spawn(async move {
        let server = Server::new(Limits::STRANGERS);
        server.serve(ops_listener, ops, stop_ops).await;
    });
    tokio::spawn(registration.register(settings.url));
    tracing::info!(listen = %settings.listen, ops = %settings.ops_listen, "services are up");
    endpoint::serve(listener, endpoint, crash, shutdown).await;
    ops.abort();
    Ok(())
}

async fn listen(variable: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{variable}: {address} cannot be listened on, choose another address")
    })
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
