//! The `gateway` binary: see `gateway --help`.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use gateway::backup::make::{self, Make};
use gateway::backup::parts::Parts;
use gateway::backup::restore::{self, Restore};
use gateway::clock;
use gateway::command::catalog::CatalogCommand;
use gateway::command::init::Init;
use gateway::command::{self, TokenCommand, UserCommand};
use gateway::demo::seed;
use gateway::infra::{Infra, Shared};
use gateway::live::catch_up;
use gateway::reconcile::Reconcile;
use gateway::restate::admin::AdminApi;
use gateway::router::{self, Gateway};
use gateway::settings::Settings;
use gateway::settings::edge::{PublicUrl, Room};
use gateway::shop::{audit, catalog, people, stock, well_known};
use gateway::storage::db::Db;
use gateway::storage::timings;
use process::http::{Caps, Limits, Server};
use process::settings::{AFTER_HELP, WrongSetting};
use process::{health, say, stop_signal};
use tokio::net::TcpListener;
use tracing_subscriber::Layer as _;
use waybill_domain::ids::OrderId;

/// Exit code of `reconcile` when differences are left.
const DIFFERENT: u8 = 3;
/// How long requests under way may take once a stop is asked for.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// What it is, with its commit.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("WAYBILL_COMMIT"), ")");

/// Waybill's web side: pages, JSON API, live streams, webhook, read model.
#[derive(Debug, Parser)]
#[command(
    name = "gateway",
    version = VERSION,
    after_help = AFTER_HELP
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten, next_help_heading = "Settings of the gateway")]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Gateway(GatewayCommand),
    /// Be the outside world: a payment provider and a carrier, for demos and tests.
    #[command(next_help_heading = "Settings of the sandbox")]
    Sandbox(Box<sandbox::settings::Settings>),
}

#[derive(Debug, Subcommand)]
enum GatewayCommand {
    /// Serve pages and API (what happens without a command).
    Serve,
    /// Load the demo's products, zones and users. Doing it again changes nothing.
    /// With `AUTH_MODE=demo` only: the users' passwords are well known.
    SeedDemo {
        /// Products and zones without users, in any mode.
        #[arg(long)]
        catalog_only: bool,
    },
    /// Empty the read model and fill it again from Restate.
    Rebuild {
        /// Keep the orders that have ended: for when Restate has lost its data. A file that
        /// is damaged is better emptied whole.
        #[arg(long)]
        keep_ended: bool,
    },
    /// Compare what Restate holds with the read model and with the sandbox's
    /// ledger, and say each difference in one line. Changes nothing without
    /// --repair. May run while everything runs. Exit code 0: nothing differs (any
    /// more); 3: something does; 1: it could not be compared.
    Reconcile {
        /// One order, e.g. alice.order-1, instead of everything.
        #[arg(value_parser = order_id)]
        order: Option<OrderId>,
        /// Mend what can be mended. An order that an invocation works on is
        /// never touched.
        #[arg(long)]
        repair: bool,
    },
    /// Put everything that nobody can make again into one file: Restate's data, the
    /// SQLite files, the secrets. Restate must be stopped for it; gateway and services may
    /// run on.
    Backup(Make),
    /// Put a backup back where nothing is, or look with --check whether it is whole.
    Restore(Restore),
    /// Ask the gateway at `GATEWAY_LISTEN` whether it is well; exit code 0 means yes.
    Health {
        /// Also whether it can serve: Restate and SQLite are usable.
        #[arg(long, conflicts_with = "sandbox")]
        ready: bool,
        /// Ask the sandbox at `SANDBOX_LISTEN` instead.
        #[arg(long)]
        sandbox: bool,
        #[command(flatten)]
        listen: sandbox::settings::Listen,
    },
    /// Make the first admin of a shop that has none, and say what to do next.
    Init(Init),
    /// The catalog as a file, in and out.
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Make people known, change what they may do, sign them out.
    #[command(subcommand)]
    User(UserCommand),
    /// Make, list and revoke API tokens.
    #[command(subcommand)]
    Token(TokenCommand),
}

fn main() -> ExitCode {
    process::settings::exit_code("gateway", start())
}

fn start() -> anyhow::Result<ExitCode> {
    let CommandLine { command, settings } = process::settings::read()?;
    let runtime = tokio::runtime::Runtime::new().context("the runtime could not be started")?;
    match command {
        Some(Command::Sandbox(settings)) => runtime.block_on(sandbox::run(*settings))?,
        Some(Command::Gateway(command)) => return runtime.block_on(run(command, settings)),
        None => return runtime.block_on(run(GatewayCommand::Serve, settings)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn run(command: GatewayCommand, settings: Settings) -> anyhow::Result<ExitCode> {
    let _traces = settings.telemetry.start("waybill-gateway", |lines| {
        lines.and_then(timings::layer()).boxed()
    })?;
    match command {
        GatewayCommand::Reconcile { order, repair } => {
            return reconcile(settings, order, repair).await;
        }
        GatewayCommand::Serve => serve(settings).await,
        GatewayCommand::SeedDemo { catalog_only } => seed_demo(&settings, catalog_only).await,
        GatewayCommand::Rebuild { keep_ended } => rebuild(&settings, keep_ended).await,
        GatewayCommand::Backup(make) => {
            let parts = Parts::of(&settings, &make.places)?;
            let said = make::run(&parts, &make.file, VERSION, clock::now()).await?;
            // The standard output may be the backup itself.
            let _ = writeln!(std::io::stderr(), "{said}");
            Ok(())
        }
        GatewayCommand::Restore(restore) => {
            let parts = Parts::of(&settings, &restore.places)?;
            say(&restore::run(&parts, &restore.file, restore.check)?)
        }
        GatewayCommand::Health {
            sandbox: true,
            listen,
            ..
        } => health(listen.sandbox_listen, "healthz").await,
        GatewayCommand::Health { ready: true, .. } => {
            health(settings.gateway_listen, "readyz").await
        }
        GatewayCommand::Health { .. } => health(settings.gateway_listen, "healthz").await,
        GatewayCommand::Init(init) => command::init::run(&settings, init).await,
        GatewayCommand::Catalog(command) => command::catalog::run(&settings, command).await,
        GatewayCommand::User(command) => command::user(&settings, command).await,
        GatewayCommand::Token(command) => command::token(&settings, command).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(mut settings: Settings) -> anyhow::Result<()> {
    settings.check()?;
    let room = settings.edge.fit_into(process::files::raise_limit())?;
    settings.check_database()?;
    settings.check_audit_log()?;
    let stop = stop_signal()?;
    let listener = TcpListener::bind(settings.gateway_listen)
        .await
        .with_context(|| {
            format!(
                "GATEWAY_LISTEN: cannot listen on {}, so free that port or name another",
                settings.gateway_listen
            )
        })?;
    let address = listener.local_addr()?;
    let infra = Infra::open(settings).await?;
    let gateway = Gateway::new(Arc::clone(&infra))?;
    if infra.settings.seeds_demo() {
        let seeded = seed::demo(&infra.db, seed::What::All).await?;
        tracing::info!("{seeded}");
    }
    if !infra.settings.is_demo() {
        well_known::check(&infra.db).await?;
    }
    if let Some(file) = infra.settings.audit_log() {
        infra.live.file_audit_log(infra.db.clone(), file.to_owned());
    }
    infra.live.listen(
        &infra.settings.services_updates_urls,
        infra.settings.internal_token(),
    );
    let stocking = tokio::spawn(stock::announce(
        Arc::clone(&infra),
        Arc::clone(&gateway.announcement),
    ));
    let announcing = tokio::spawn(people::announce(Arc::clone(&infra)));
    let listing = tokio::spawn(catalog::announce(Arc::clone(&infra)));
    let noting = tokio::spawn(audit::keep_noting(Arc::clone(&infra)));
    if infra.settings.is_demo() {
        tracing::warn!(
            "AUTH_MODE=demo: everybody may act as anybody, so keep {address} away from strangers"
        );
    }
    tracing::info!(http.address = %address, "gateway listens on http://{address}");

    say_limits(&infra.settings, room);
    let proxies = infra.settings.edge.trusted_proxies().clone();
    let server = Server::new(Limits::STRANGERS).with_caps(Caps::new(
        room.connections,
        infra.settings.edge.max_connections_per_address,
        move |address| address.is_loopback() || proxies.contain(address),
    ));
    let stopping = async {
        stop.cancelled().await;
        tracing::info!("gateway stops: finishing the requests under way");
        // Streams never end by themselves.
        infra.live.closing().cancel();
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    tokio::select! {
        () = server.serve(listener, router::router(gateway), stop.clone()) => {}
        () = stopping => tracing::warn!("gateway stops with requests still under way"),
    }
    stocking.abort();
    announcing.abort();
    listing.abort();
    noting.abort();
    audit::note_rest(&infra).await;
    close(&infra).await;
    Ok(())
}

/// What is less than usual, or looks like a mistake.
fn say_limits(settings: &Settings, room: Room) {
    let (connections, requests) = (room.connections, room.requests);
    if room.is_less {
        tracing::warn!(
            connections,
            requests,
            "the system allows few open files: {connections} connections and {requests} requests at a time are served"
        );
    }
    let streams = settings.max_streams();
    if settings.has_too_many_streams() {
        tracing::warn!(
            streams,
            "MAX_STREAMS={streams} may take more than a quarter of the memory that this process may take"
        );
    }
    tracing::info!(
        connections,
        requests,
        streams,
        "at a time are served: {connections} connections, {requests} requests, {streams} live pages"
    );
    let edge = &settings.edge;
    if edge.public_url().is_some_and(PublicUrl::is_https) && edge.trusted_proxies().is_empty() {
        tracing::warn!(
            "PUBLIC_URL is https and TRUSTED_PROXIES is empty: name the proxy that ends TLS, or all callers count as one"
        );
    }
}

async fn close(infra: &Shared) {
    infra.live.close().await;
    infra.db.close().await;
}

async fn seed_demo(settings: &Settings, catalog_only: bool) -> anyhow::Result<()> {
    let what = match (catalog_only, settings.is_demo()) {
        (true, _) => seed::What::Catalog,
        (false, true) => seed::What::All,
        (false, false) => {
            return Err(WrongSetting("seed-demo brings users whose passwords everybody knows, so it needs AUTH_MODE=demo: make the first admin with `gateway init`, and products with `gateway catalog import FILE.csv`".to_owned()).into());
        }
    };
    settings.check_database()?;
    let db = Db::open(&settings.database_url).await?;
    let seeded = seed::demo(&db, what).await?;
    db.close().await;
    say(&seeded.to_string())
}

async fn rebuild(settings: &Settings, keeps_ended: bool) -> anyhow::Result<()> {
    settings.check_database()?;
    let db = Db::open(&settings.database_url).await?;
    let admin_api = AdminApi::new(settings.restate_admin(), reqwest::Client::new());
    let rebuilt = catch_up::rebuild(&db, &admin_api, keeps_ended).await;
    db.close().await;
    let rebuilt = rebuilt.context("the read model could not be rebuilt")?;
    say(&format!(
        "The read model is rebuilt: {} of {} states in Restate are in it now",
        rebuilt.closed, rebuilt.compared
    ))
}

async fn reconcile(
    settings: Settings,
    only: Option<OrderId>,
    repair: bool,
) -> anyhow::Result<ExitCode> {
    let db = Db::open_existing(&settings.database_url).await?;
    let reconcile = Reconcile {
        db: db.clone(),
        admin_api: AdminApi::new(settings.restate_admin(), reqwest::Client::new()),
        ingress: services::client::connect(&settings.restate_ingress(), settings.internal_token())?,
        sandbox_url: settings.sandbox_url().map(str::to_owned),
        only,
    };
    let mut closed = Ok(());
    let reconciled = reconcile
        .run(repair, &mut |line| {
            if closed.is_ok() {
                closed = say(&line);
            }
        })
        .await;
    db.close().await;
    let reconciled = reconciled.context("nothing could be compared")?;
    closed?;
    Ok(match reconciled.left {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(DIFFERENT),
    })
}

fn order_id(raw: &str) -> Result<OrderId, String> {
    OrderId::parse(raw)
        .map_err(|_| "it must be an order's whole id, such as alice.order-1".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_secret_of_every_command_has_a_file_and_is_not_shown() {
        let bad = process::secrets::badly_kept(&CommandLine::command());
        assert_eq!(bad, Vec::<String>::new());
    }

    #[test]
    fn the_sandbox_shares_some_settings_wherever_they_stand() {
        for line in [
            ["gateway", "--payment-webhook-secret", "s", "sandbox"],
            ["gateway", "sandbox", "--payment-webhook-secret", "s"],
        ] {
            let line = CommandLine::try_parse_from(line).unwrap();
            let Some(Command::Sandbox(sandbox)) = line.command else {
                panic!("{line:?} is not the sandbox");
            };
            assert_eq!(sandbox.payment_webhook_secret.as_deref(), Some("s"));
        }
    }
}
