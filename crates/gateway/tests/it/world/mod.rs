//! The processes of one test, and how a test is run.
//!
//! [`shared`] runs a gentle test in the one world of this test process, with
//! people of its own; [`own`] gives it a world to stop, kill and configure;
//! [`own_alone`] does so while no other test runs.

pub mod process;
mod turn;
mod watchdog;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use self::process::{Process, Program, free_ports};
use self::turn::Turn;
use crate::checker;
use crate::shop::Shop;

/// Longest that a test may take.
const TEST_WITHIN: Duration = Duration::from_mins(3);
/// Longest that a process may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Lines of each log that a failed test shows.
const LOG_LINES: usize = 60;
/// A port can be taken between its choice and its use.
const START_TRIES: usize = 3;

/// All tests of this process share it: a client's connections live and die
/// with the runtime that made them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("tokio starts"));
static SHARED: OnceCell<Arc<World>> = OnceCell::const_new();

/// Marks whatever this run starts; `just test` sets it and looks for leftovers.
pub fn test_run() -> &'static str {
    static RUN: LazyLock<String> = LazyLock::new(|| {
        std::env::var("WAYBILL_TEST_RUN").unwrap_or_else(|_| format!("it-{}", std::process::id()))
    });
    &RUN
}

/// A process of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    Restate,
    Services,
    /// A second copy, which a test starts itself: see [`World::start_beside`].
    Services2,
    Sandbox,
    Gateway,
    /// A second copy with a SQLite file of its own, which a test starts itself.
    Gateway2,
}

impl Component {
    const ALL: [Self; 6] = [
        Self::Restate,
        Self::Services,
        Self::Services2,
        Self::Sandbox,
        Self::Gateway,
        Self::Gateway2,
    ];
}

/// What differs from an ordinary world.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    variables: Vec<(String, String)>,
    /// Of one process only.
    own_variables: Vec<(Component, String, String)>,
    hears_both: bool,
    demo_mode: Option<bool>,
    within: Option<Duration>,
}

impl Setup {
    /// Sets a variable for every process.
    pub fn with(name: &str, value: &str) -> Self {
        Self::default().and(name, value)
    }

    /// Sets another.
    #[must_use]
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable for one process; it wins over those for all.
    #[must_use]
    pub fn only_for(mut self, part: Component, name: &str, value: &str) -> Self {
        self.own_variables
            .push((part, name.to_owned(), value.to_owned()));
        self
    }

    /// Gateways listen to [`Component::Services2`], too.
    #[must_use]
    pub fn hearing_both(mut self) -> Self {
        self.hears_both = true;
        self
    }

    /// Lets the test take longer than [`TEST_WITHIN`].
    #[must_use]
    pub fn lasting(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }

    /// `AUTH_MODE=session`; the webhook's secret is [`WEBHOOK_SECRET`].
    pub fn with_sessions() -> Self {
        let mut setup = Self::with("SESSION_KEY", "0123456789abcdef0123456789abcdef")
            .and("PAYMENT_WEBHOOK_SECRET", WEBHOOK_SECRET);
        setup.demo_mode = Some(false);
        setup
    }
}

/// Shared with the payment provider where webhooks are signed.
pub const WEBHOOK_SECRET: &str = "whsec_of_the_tests";

/// Restate, services, sandbox and gateway, on free ports and in a folder of
/// their own. Dropping it ends and removes all of it.
pub struct World {
    // Before the folder: processes must be gone when it is removed.
    processes: Mutex<BTreeMap<Component, Process>>,
    programs: BTreeMap<Component, Program>,
    folder: TempDir,
    pub http: reqwest::Client,
    pub gateway: String,
    pub gateway2: String,
    pub ingress: String,
    pub admin: String,
    pub sandbox: String,
    /// Where Restate reaches the services: their deployment's address.
    pub services: String,
    pub services2: String,
    pub services_ops: String,
    pub services2_ops: String,
    /// The catalog as it was at first.
    pub catalog: Vec<Product>,
    /// An API token of the admin, where a name is not enough.
    pub admin_token: Option<String>,
}

/// A product of the catalog.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Product {
    pub id: i64,
    pub sku: String,
    pub price_cents: i64,
}

/// Runs a gentle test in the shared world. Its people have names of their own,
/// so that others beside it do not disturb it.
pub fn shared(test: impl AsyncFnOnce(&Shop)) {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let turn = Turn::together();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let world = RUNTIME
        .block_on(SHARED.get_or_init(async || Arc::new(World::start(&Setup::default()).await)));
    let shop = Shop::beside_others(Arc::clone(world), number);
    run(&shop, TEST_WITHIN, test);
    drop(turn);
}

/// Runs a test in a world of its own.
pub fn own(setup: &Setup, test: impl AsyncFnOnce(&Shop)) {
    let turn = Turn::together();
    let world = RUNTIME.block_on(World::start(setup));
    let within = setup.within.unwrap_or(TEST_WITHIN);
    run(&Shop::alone(Arc::new(world)), within, test);
    drop(turn);
}

/// Runs a test in a world of its own, and no other test meanwhile.
pub fn own_alone(setup: &Setup, test: impl AsyncFnOnce(&Shop)) {
    let turn = Turn::alone();
    let world = RUNTIME.block_on(World::start(setup));
    let within = setup.within.unwrap_or(TEST_WITHIN);
    run(&Shop::alone(Arc::new(world)), within, test);
    drop(turn);
}

fn run(shop: &Shop, within: Duration, test: impl AsyncFnOnce(&Shop)) {
    let world = Arc::clone(shop.world());
    let began: BTreeMap<Component, u64> = world
        .programs
        .iter()
        .map(|(part, program)| (*part, program.log_length()))
        .collect();
    let tested = catch_unwind(AssertUnwindSafe(|| {
        RUNTIME.block_on(async {
            let story = async {
                test(shop).await;
                checker::assert_quiet(shop).await;
            };
            let ended = tokio::time::timeout(within, story).await;
            assert!(ended.is_ok(), "the test took longer than {within:?}");
        });
    }));
    if let Err(panic) = tested {
        show(&world.logs_since(&began));
        resume_unwind(panic);
    }
}

#[expect(clippy::print_stderr, reason = "what a failed test shows")]
fn show(logs: &str) {
    eprintln!("{logs}");
}

impl World {
    async fn start(setup: &Setup) -> Self {
        for _ in 1..START_TRIES {
            match Self::try_start(setup).await {
                Ok(world) => return world,
                Err(failure) if failure.contains("in use") => {}
                Err(failure) => panic!("{failure}"),
            }
        }
        Self::try_start(setup)
            .await
            .unwrap_or_else(|failure| panic!("{failure}"))
    }

    async fn try_start(setup: &Setup) -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix("waybill-it-")
            .tempdir()
            .expect("a temporary folder can be made");
        watchdog::folder_made(folder.path());
        let ports = Ports::default();
        let mut world = Self {
            processes: Mutex::default(),
            programs: programs(setup, &ports, folder.path()),
            folder,
            http: client(),
            gateway: local(ports.gateway[0]),
            gateway2: local(ports.gateway[1]),
            ingress: local(ports.ingress),
            admin: local(ports.admin),
            sandbox: local(ports.sandbox),
            services: local(ports.services[0]),
            services2: local(ports.services[1]),
            services_ops: local(ports.services_ops[0]),
            services2_ops: local(ports.services_ops[1]),
            catalog: Vec::new(),
            admin_token: None,
        };
        // The services register themselves at once when Restate is there.
        world.launch(Component::Restate, &[]);
        world.launch(Component::Sandbox, &[]);
        let seeded = world.run_gateway(&["seed-demo"]);
        if !seeded.status.success() {
            return Err(format!("seed-demo failed: {seeded:?}"));
        }
        if setup.demo_mode == Some(false) {
            let made = world.run_gateway(&["token", "create", "--user", "admin"]);
            world.admin_token = Some(String::from_utf8_lossy(&made.stdout).trim().to_owned());
        }
        world.ready(Component::Restate).await?;
        world.launch(Component::Services, &[]);
        world.ready(Component::Services).await?;
        world.launch(Component::Gateway, &[]);
        world.ready(Component::Sandbox).await?;
        world.ready(Component::Gateway).await?;
        // Ready means that carts and checkouts work: nothing else is waited for.
        world.catalog = world.read_catalog().await?;
        Ok(world)
    }

    /// Starts a second copy beside the first and waits until it serves. A
    /// second `services` is then the one that Restate gives new work to.
    pub async fn start_beside(&self, part: Component) {
        if part == Component::Gateway2 {
            let seeded = self.run_gateway_of(part, &["seed-demo"]);
            assert!(seeded.status.success(), "{seeded:?}");
        }
        self.start_again(part).await;
    }

    /// Starts a process and waits until it serves.
    pub async fn start_again(&self, part: Component) {
        self.start_again_with(part, &[]).await;
    }

    /// The same, this once with these settings.
    pub async fn start_again_with(&self, part: Component, settings: &[(&str, &str)]) {
        self.launch(part, settings);
        if let Err(failure) = self.ready(part).await {
            panic!("{failure}");
        }
    }

    /// Whether a process that was started has ended by itself.
    pub fn has_ended(&self, part: Component) -> bool {
        self.processes()
            .get_mut(&part)
            .is_some_and(|process| process.ended().is_some())
    }

    /// Ends a process with SIGKILL.
    pub fn kill(&self, part: Component) {
        self.running(part).kill();
    }

    /// Stops a process without its knowing (SIGSTOP).
    pub fn freeze(&self, part: Component) {
        self.signal(part, Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self, part: Component) {
        self.signal(part, Signal::SIGCONT);
    }

    /// The number of a running process.
    pub fn process_id(&self, part: Component) -> u32 {
        let processes = self.processes();
        let process = processes.get(&part);
        process
            .unwrap_or_else(|| panic!("{part:?} is not running"))
            .id()
    }

    fn signal(&self, part: Component, signal: Signal) {
        let processes = self.processes();
        let process = processes.get(&part);
        process
            .unwrap_or_else(|| panic!("{part:?} is not running"))
            .signal(signal);
    }

    /// Ends a process with SIGTERM and waits until it is gone.
    pub async fn stop(&self, part: Component) -> ExitStatus {
        let process = self.running(part);
        process.stop().await
    }

    fn running(&self, part: Component) -> Process {
        self.processes()
            .remove(&part)
            .unwrap_or_else(|| panic!("{part:?} is not running"))
    }

    /// Runs a command of the gateway's binary, such as `rebuild`, to its end.
    pub fn run_gateway(&self, arguments: &[&str]) -> Output {
        self.run_gateway_of(Component::Gateway, arguments)
    }

    fn run_gateway_of(&self, part: Component, arguments: &[&str]) -> Output {
        self.programs[&part]
            .command()
            .args(arguments)
            .output()
            .expect("the gateway can be started")
    }

    /// The gateway's binary with this world's settings.
    pub fn gateway_command(&self) -> Command {
        self.programs[&Component::Gateway].command()
    }

    /// Runs Restate's command line as an operator would.
    pub fn run_restate(&self, arguments: &[&str]) -> Output {
        let folder = self.folder.path();
        Command::new(process::restate_cli())
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .env("RESTATE_ADMIN_URL", &self.admin)
            .env("WAYBILL_TEST_RUN", test_run())
            .output()
            .expect("restate can be started")
    }

    /// The gateway's SQLite file.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("waybill.db")
    }

    /// The product with this SKU.
    pub fn product(&self, sku: &str) -> &Product {
        self.catalog
            .iter()
            .find(|product| product.sku == sku)
            .unwrap_or_else(|| panic!("the demo has a product {sku}"))
    }

    /// Ends Restate, the services and the gateway, and forgets all that they have
    /// kept; the gateway's file is seeded again.
    pub fn begin_anew(&self) {
        for part in [Component::Gateway, Component::Services, Component::Restate] {
            self.kill(part);
        }
        let folder = self.folder.path();
        fs::remove_dir_all(folder.join("restate")).expect("Restate's data can be removed");
        for kept in ["waybill.db", "waybill.db-wal", "waybill.db-shm"] {
            let _ = fs::remove_file(folder.join(kept));
        }
        let seeded = self.run_gateway(&["seed-demo"]);
        assert!(seeded.status.success(), "{seeded:?}");
    }

    /// Starts a process without waiting until it serves.
    pub fn launch(&self, part: Component, settings: &[(&str, &str)]) {
        let process = self.programs[&part].start(settings);
        let before = self.processes().insert(part, process);
        assert!(before.is_none(), "{part:?} is running already");
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<Component, Process>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn ready(&self, part: Component) -> Result<(), String> {
        let urls = match part {
            Component::Restate => vec![
                format!("{}/health", self.admin),
                format!("{}/restate/health", self.ingress),
            ],
            // Registered last: then Restate knows all of them.
            Component::Services => vec![
                format!("{}/healthz", self.services_ops),
                format!("{}/services/UserSession", self.admin),
                format!("{}/services/OrderFulfillmentWorkflow", self.admin),
            ],
            Component::Services2 => vec![format!("{}/healthz", self.services2_ops)],
            Component::Sandbox => vec![format!("{}/healthz", self.sandbox)],
            Component::Gateway => vec![format!("{}/readyz", self.gateway)],
            Component::Gateway2 => vec![format!("{}/readyz", self.gateway2)],
        };
        let deadline = Instant::now() + READY_WITHIN;
        for url in urls {
            loop {
                let answer = self.http.get(&url).send().await;
                let told = match answer {
                    Ok(answer) if answer.status().is_success() => break,
                    Ok(answer) => answer.status().to_string(),
                    Err(error) => error.to_string(),
                };
                let ended = self.processes().get_mut(&part).and_then(Process::ended);
                if ended.is_some() || Instant::now() > deadline {
                    let log = self.programs[&part].log_since(0, LOG_LINES);
                    return Err(format!(
                        "{part:?} does not serve {url} ({told}; ended: {ended:?}):\n{log}"
                    ));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        // Restate says that it is healthy a little before its partitions are.
        while part == Component::Restate
            && let Err(said) = self.try_sql("SELECT count(*) FROM state").await
        {
            if Instant::now() > deadline {
                return Err(format!("Restate answers no queries: {said}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Others serve the same services already: is it registered?
        while part == Component::Services2 && !self.is_registered(&self.services2).await {
            if Instant::now() > deadline {
                return Err(format!("Restate does not know {}", self.services2));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn is_registered(&self, services: &str) -> bool {
        let query = format!("SELECT id FROM sys_deployment WHERE endpoint LIKE '{services}%'");
        self.try_sql(&query)
            .await
            .is_ok_and(|rows| !rows.is_empty())
    }

    async fn read_catalog(&self) -> Result<Vec<Product>, String> {
        let url = format!("{}/api/products?per_page=100", self.gateway);
        let mut asked = self.http.get(&url).header("x-user-id", "admin");
        if let Some(token) = &self.admin_token {
            asked = asked.bearer_auth(token);
        }
        let answer = asked.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        serde_json::from_str::<Value>(&text)
            .and_then(|body| serde_json::from_value(body["products"].clone()))
            .map_err(|error| format!("{url} answered {status} {text}: {error}"))
    }

    /// Until then a checkout finds no stock.
    fn logs_since(&self, began: &BTreeMap<Component, u64>) -> String {
        let mut text = String::new();
        for (part, program) in &self.programs {
            if program.log_length() == 0 {
                continue;
            }
            let since = began.get(part).copied().unwrap_or_default();
            let log = program.log_since(since, LOG_LINES);
            let _ = writeln!(
                text,
                "---- {} (last {LOG_LINES} lines)\n{log}",
                program.name
            );
        }
        text
    }
}

/// First and second copies have ports of their own.
struct Ports {
    node: u16,
    ingress: u16,
    admin: u16,
    services: [u16; 2],
    services_ops: [u16; 2],
    sandbox: u16,
    gateway: [u16; 2],
}

impl Default for Ports {
    fn default() -> Self {
        let [node, ingress, admin, sandbox, s1, s2, o1, o2, g1, g2] = free_ports();
        Self {
            node,
            ingress,
            admin,
            services: [s1, s2],
            services_ops: [o1, o2],
            sandbox,
            gateway: [g1, g2],
        }
    }
}

fn local(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn programs(setup: &Setup, ports: &Ports, folder: &Path) -> BTreeMap<Component, Program> {
    let restate_toml = process::repository().join("restate.toml");
    let program = |part| {
        let (name, binary, arguments) = match part {
            Component::Restate => {
                let arguments = vec![
                    "--no-logo".to_owned(),
                    "--config-file".to_owned(),
                    restate_toml.display().to_string(),
                ];
                ("restate", process::restate_server(), arguments)
            }
            Component::Services => ("services", process::services(), vec![]),
            Component::Services2 => ("services2", process::services(), vec![]),
            Component::Sandbox => ("sandbox", process::gateway(), vec!["sandbox".to_owned()]),
            Component::Gateway => ("gateway", process::gateway(), vec!["serve".to_owned()]),
            Component::Gateway2 => ("gateway2", process::gateway(), vec!["serve".to_owned()]),
        };
        let mut variables = match part {
            Component::Restate => restate(setup, ports, folder),
            _ => ours(setup, ports, folder, part),
        };
        let own = setup.own_variables.iter().filter(|it| it.0 == part);
        variables.extend(own.map(|(_, name, value)| (name.clone(), value.clone())));
        Program {
            name,
            binary,
            arguments,
            variables,
            log: folder.join(format!("{name}.log")),
            folder: folder.to_owned(),
        }
    };
    Component::ALL
        .into_iter()
        .map(|part| (part, program(part)))
        .collect()
}

type Variables = Vec<(&'static str, String)>;

fn owned(variables: Vec<(impl Into<String>, String)>) -> Vec<(String, String)> {
    variables
        .into_iter()
        .map(|(name, value)| (name.into(), value))
        .collect()
}

fn restate(setup: &Setup, ports: &Ports, folder: &Path) -> Vec<(String, String)> {
    let variables: Variables = vec![
        (
            "RESTATE_BASE_DIR",
            folder.join("restate").display().to_string(),
        ),
        ("RESTATE_BIND_PORT", ports.node.to_string()),
        ("RESTATE_INGRESS__BIND_PORT", ports.ingress.to_string()),
        ("RESTATE_ADMIN__BIND_PORT", ports.admin.to_string()),
        // Tests kill the process, not the machine: what the kernel has is kept.
        (
            "RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC",
            "true".to_owned(),
        ),
        (
            "RESTATE_BIFROST__LOCAL__ROCKSDB_DISABLE_WAL_FSYNC",
            "true".to_owned(),
        ),
    ];
    let mut variables = owned(variables);
    variables.extend(setup.variables.iter().cloned());
    variables
}

fn ours(setup: &Setup, ports: &Ports, folder: &Path, part: Component) -> Vec<(String, String)> {
    let copy = usize::from(matches!(part, Component::Services2 | Component::Gateway2));
    let database = ["waybill.db", "waybill2.db"][copy];
    let updates = |copy: usize| format!("{}/updates", local(ports.services_ops[copy]));
    let heard = if setup.hears_both {
        format!("{},{}", updates(0), updates(1))
    } else {
        updates(0)
    };
    let file = |name: &str| format!("sqlite://{}", folder.join(name).display());
    let mode = if setup.demo_mode.unwrap_or(true) {
        "demo"
    } else {
        "session"
    };
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let variables: Variables = vec![
        ("RUST_LOG", "info".to_owned()),
        ("AUTH_MODE", mode.to_owned()),
        ("GATEWAY_LISTEN", listen(ports.gateway[copy])),
        ("DATABASE_URL", file(database)),
        ("RESTATE_INGRESS_URL", local(ports.ingress)),
        ("RESTATE_ADMIN_URL", local(ports.admin)),
        ("SERVICES_UPDATES_URLS", heard),
        ("SANDBOX_URL", local(ports.sandbox)),
        ("SANDBOX_LISTEN", listen(ports.sandbox)),
        ("SANDBOX_DATABASE_URL", file("sandbox.db")),
        (
            "PAYMENT_CALLBACK_URL",
            format!("{}/api/payment/callback", local(ports.gateway[0])),
        ),
        ("SERVICES_LISTEN", listen(ports.services[copy])),
        ("SERVICES_OPS_LISTEN", listen(ports.services_ops[copy])),
        ("SERVICES_URL", local(ports.services[copy])),
        (
            "PAYMENT_PROVIDER_URL",
            format!("{}/payments", local(ports.sandbox)),
        ),
        ("CARRIER_URL", format!("{}/carrier", local(ports.sandbox))),
        ("DELIVERY_TIME", "300ms".to_owned()),
    ];
    let mut variables = owned(variables);
    variables.extend(setup.variables.iter().cloned());
    variables
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .expect("an HTTP client can be made")
}

/// Looks again until there is something to see. `look` answers it, or what
/// there is instead, which is shown when time is up.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(5);
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(instead) if Instant::now() > deadline => {
                panic!("{what}: not within {within:?}; instead: {instead}")
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
