//! The `services` process.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use process::http::{Limits, Server};
use process::settings::WrongSetting;
use process::telemetry::{Lines, asked_for};
use services::broadcast::UpdateBroadcaster;
use services::crash::Crash;
use services::metrics::Metrics;
use services::news::News;
use services::registration::Registration;
use services::settings::{Command, CommandLine, Settings};
use services::{endpoint, ops, prepare};
use tokio::net::TcpListener;
use tracing_subscriber::filter::{FilterExt as _, FilterFn, LevelFilter};
use tracing_subscriber::prelude::*;

#[tokio::main]
async fn main() -> ExitCode {
    process::settings::exit_code("services", start().await)
}

async fn start() -> anyhow::Result<ExitCode> {
    let CommandLine { command, settings } = process::settings::read()?;
    match command {
        None | Some(Command::Serve) => serve(settings).await,
        Some(Command::Health { ready }) => {
            let path = if ready { "readyz" } else { "healthz" };
            process::health(settings.ops_listen, path).await
        }
        Some(Command::Prepare(folders)) => {
            let prepared = prepare::prepare(&folders);
            process::say(&prepared.map_err(wrong_setting)?)
        }
    }?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn wrong_setting(error: anyhow::Error) -> WrongSetting {
    WrongSetting(format!("{error:#}"))
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    settings.check()?;
    let updates = UpdateBroadcaster::new();
    let metrics = Metrics::new(updates.clone());
    let counting = metrics.counting();
    let _traces = settings.telemetry.start("waybill-services", |lines| {
        no_echoes(lines).and_then(counting).boxed()
    })?;

    let endpoint = endpoint::endpoint(&settings, &updates).map_err(wrong_setting)?;
    let listener = listen("SERVICES_LISTEN", settings.listen).await?;
    let ops_listener = listen("SERVICES_OPS_LISTEN", settings.ops_listen).await?;
    let shutdown = process::stop_signal()?;

    if settings.doors().are_open() {
        tracing::warn!(
            "INTERNAL_TOKEN is not set: whoever reaches Restate's ingress may call everything"
        );
    }
    let dies_on_request = settings.dies_on_request();
    let crash = Crash::allowed(dies_on_request);
    let registration = Registration::new(settings.restate_admin_url.clone());
    let ops = ops::router(ops::Ops {
        updates,
        metrics: metrics.clone(),
        registration: registration.clone(),
        tokens: settings
            .internal_tokens()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        crash: crash.clone(),
        allow_crash: dies_on_request,
        shutdown: shutdown.clone(),
    });
    let stop_ops = shutdown.clone();
    let ops = tokio::spawn(async move {
        let server = Server::new(Limits::STRANGERS);
        server.serve(ops_listener, ops, stop_ops).await;
    });
    tokio::spawn(registration.register(settings.url));
    tracing::info!(listen = %settings.listen, ops = %settings.ops_listen, "services are up");
    endpoint::serve(listener, endpoint, crash, metrics, shutdown).await;
    ops.abort();
    Ok(())
}

async fn listen(variable: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{variable}: {address} cannot be listened on, choose another address")
    })
}

/// The SDK logs an ordinary suspension as a warning (sdk-rust #98), and each
/// failed attempt twice; `outside` and Restate itself tell of those. Nor is said
/// again what an invocation that is replayed has said before.
fn no_echoes(lines: Lines) -> Lines {
    let no_echoes = FilterFn::new(|metadata| {
        !(metadata.target().starts_with("restate_sdk") && *metadata.level() >= tracing::Level::WARN)
    });
    // Joined, the stricter hint counts; without one, everything would be asked for.
    let no_echoes = no_echoes.with_max_level_hint(LevelFilter::TRACE);
    // The lines have that filter already, within: said here too, nothing else is asked for.
    lines
        .with_filter(News::of(asked_for().and(no_echoes)))
        .boxed()
}
