//! The world of one test, and how a test is run.
//!
//! [`shared`] runs a gentle test in the one world of this test process, with
//! people of its own; [`own`] gives it a world to stop, kill and configure;
//! [`own_alone`] does so while no other test runs.

pub mod people;
mod turn;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

pub use launcher::Component;
use launcher::launcher::{NotReady, on_free_ports};
use launcher::{Launcher, Plan, binaries, watchdog};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use self::turn::Turn;
use crate::checker;
use crate::shop::Shop;

/// Longest that a test may take.
const TEST_WITHIN: Duration = Duration::from_mins(3);

/// All tests of this process share it: a client's connections live and die
/// with the runtime that made them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("tokio starts"));
static SHARED: OnceCell<Arc<World>> = OnceCell::const_new();

/// What differs from an ordinary world.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    variables: Vec<(String, String)>,
    /// Of one process only.
    own_variables: Vec<(Component, String, String)>,
    hears_both: bool,
    is_cluster: bool,
    island: Option<Component>,
    store: Option<PathBuf>,
    old_services: Option<PathBuf>,
    old_gateway: Option<PathBuf>,
    has_sessions: bool,
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

    /// [`Component::Services`] is this program, of older code.
    #[must_use]
    pub fn with_old_services(mut self, program: &Path) -> Self {
        self.old_services = Some(program.to_owned());
        self
    }

    /// Both gateways are this program, of older code, until [`World::renew_gateways`].
    #[must_use]
    #[allow(
        dead_code,
        reason = "not for the benchmark, of which this is a module, too"
    )]
    pub fn with_old_gateway(mut self, program: &Path) -> Self {
        self.old_gateway = Some(program.to_owned());
        self
    }

    /// Gateways listen to [`Component::Services2`], too.
    #[must_use]
    pub fn hearing_both(mut self) -> Self {
        self.hears_both = true;
        self
    }

    /// Three nodes of Restate, two services, two gateways, all of them running.
    #[must_use]
    pub fn on_a_cluster(mut self) -> Self {
        self.is_cluster = true;
        self
    }

    /// That node of a cluster is in a network of its own, whose cable can be cut.
    #[must_use]
    pub fn with_an_island(mut self, node: Component) -> Self {
        self.island = Some(node);
        self
    }

    /// A cluster keeps snapshots in a store, with these Python packages.
    #[must_use]
    pub fn with_snapshots(mut self, packages: &Path) -> Self {
        self.store = Some(packages.to_owned());
        self
    }

    /// Lets the test take longer than [`TEST_WITHIN`].
    #[must_use]
    pub fn lasting(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }

    /// `AUTH_MODE=session`, opened as an operator does: `gateway init`, and an import of
    /// the demo's products. With alice, bob and the admin, whose passwords are
    /// [`people::password`]; the webhook's secret is [`WEBHOOK_SECRET`].
    pub fn with_sessions() -> Self {
        Self {
            has_sessions: true,
            ..Self::default()
        }
    }

    fn plan(&self, folder: &Path) -> Plan {
        let mut plan = if self.is_cluster {
            Plan::cluster_apart(folder)
        } else {
            Plan::apart(folder)
        };
        plan.hears_both |= self.hears_both;
        if self.has_sessions {
            plan.with_sessions();
        }
        plan.island = self.island;
        plan.store.clone_from(&self.store);
        plan.old_services.clone_from(&self.old_services);
        if let Some(old) = &self.old_gateway {
            let program = folder.join("gateway");
            symlink(old, &program).expect("the world's folder can be written");
            plan.old_gateway = Some(program);
        }
        if self.old_services.is_some() {
            // They know of one node only.
            let admin = plan.addresses.admin();
            plan.set_for(Component::Services, "RESTATE_ADMIN_URL", &admin);
        }
        plan.set("DELIVERY_TIME", "300ms");
        for (name, value) in &self.variables {
            plan.set(name, value);
        }
        for (part, name, value) in &self.own_variables {
            plan.set_for(*part, name, value);
        }
        plan
    }
}

/// Products of `world/catalog.csv`, which are the demo's.
const DEMO_PRODUCTS: usize = 28;
/// How often it is looked whether the gateway has heard of them.
const HEARD_WITHIN: u32 = 100;

/// Restate, services, sandbox and gateway, on free ports and in a folder of
/// their own. Dropping it ends and removes all of it.
pub struct World {
    // Before the folder: processes must be gone when it is removed.
    launcher: Launcher,
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
    /// The catalog as it was at first.
    pub catalog: Vec<Product>,
    /// An API token of the admin, where a name is not enough.
    pub admin_token: Option<String>,
}

impl Deref for World {
    type Target = Launcher;

    fn deref(&self) -> &Launcher {
        &self.launcher
    }
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

/// Runs what makes up orders that nobody placed in a world of its own, alone: no
/// checker could believe it.
#[allow(
    dead_code,
    reason = "for the benchmark, of which this is a module, too"
)]
pub fn own_unchecked(setup: &Setup, measure: impl AsyncFnOnce(&Shop)) {
    let turn = Turn::alone();
    run_unchecked(setup, measure);
    drop(turn);
}

/// Runs a test in a world of its own whose data is lost, so that it alone can say what is
/// right at its end.
#[allow(
    dead_code,
    reason = "not for the benchmark, of which this is a module, too"
)]
pub fn own_with_losses(setup: &Setup, test: impl AsyncFnOnce(&Shop)) {
    let turn = Turn::together();
    run_unchecked(setup, test);
    drop(turn);
}

fn run_unchecked(setup: &Setup, story: impl AsyncFnOnce(&Shop)) {
    let world = Arc::new(RUNTIME.block_on(World::start(setup)));
    let shop = Shop::alone(Arc::clone(&world));
    let told = catch_unwind(AssertUnwindSafe(|| RUNTIME.block_on(story(&shop))));
    if let Err(panic) = told {
        show(&world.logs_since(&BTreeMap::new()));
        resume_unwind(panic);
    }
}

fn run(shop: &Shop, within: Duration, test: impl AsyncFnOnce(&Shop)) {
    let world = Arc::clone(shop.world());
    let began: BTreeMap<Component, u64> = world
        .programs()
        .map(|(part, program)| (part, program.log_length()))
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
    /// Puts today's gateway where the old one was: whoever starts next is of today's code.
    #[allow(
        dead_code,
        reason = "not for the benchmark, of which this is a module, too"
    )]
    pub fn renew_gateways(&self) {
        let program = self.plan().old_gateway.as_ref().expect("an old gateway");
        fs::remove_file(program).expect("the old one can be removed");
        let today = binaries::ours_up_to_date("gateway").expect("the gateway is built");
        symlink(today, program).expect("the world's folder can be written");
    }

    async fn start(setup: &Setup) -> Self {
        on_free_ports(async || Self::try_start(setup).await)
            .await
            .unwrap_or_else(|failure| panic!("{failure}"))
    }

    async fn try_start(setup: &Setup) -> Result<Self, NotReady> {
        let folder = tempfile::Builder::new()
            .prefix("waybill-it-")
            .tempdir()
            .expect("a temporary folder can be made");
        watchdog::folder_made(folder.path());
        let launcher = Launcher::new(setup.plan(folder.path()))?;
        let at = launcher.addresses();
        let mut world = Self {
            http: client(),
            gateway: at.gateway(0),
            gateway2: at.gateway(1),
            ingress: at.ingress(),
            admin: at.admin(),
            sandbox: at.sandbox(),
            services: at.services(0),
            services2: at.services(1),
            services_ops: at.services_ops(0),
            catalog: Vec::new(),
            admin_token: None,
            launcher,
            folder,
        };
        world.start_all().await?;
        if setup.has_sessions {
            world.open_shop();
            world.add_people();
            let made = world.run_gateway(&["token", "create", "--user", "admin"]);
            world.admin_token = Some(String::from_utf8_lossy(&made.stdout).trim().to_owned());
        }
        let all = if setup.has_sessions { DEMO_PRODUCTS } else { 1 };
        for _ in 0..HEARD_WITHIN {
            world.catalog = world.read_catalog().await?;
            if world.catalog.len() >= all {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(world)
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
        let seeded = self.seed(Component::Gateway);
        assert!(seeded.is_ok(), "{seeded:?}");
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
