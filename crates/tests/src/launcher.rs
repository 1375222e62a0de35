//! All processes of a plan: started in the right order, waited for, told
//! signals, ended.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::addresses::{Addresses, Listen};
use crate::binaries;
use crate::front::Front;
use crate::island::Island;
use crate::plan::{Component, Environment, Plan};
use crate::process::{Process, Program};
use crate::{store, test_run};

/// What a process that is asked to stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// What a look at a process may take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// Lines of a log that say why a process does not serve.
const LOG_LINES: usize = 60;
/// A port can be taken between its choice and its use.
const START_TRIES: usize = 3;

/// The processes of a [`Plan`]. Dropping it ends those that run, and what they
/// have started.
pub struct Launcher {
    running: Mutex<BTreeMap<Component, Process>>,
    fronts: Mutex<Vec<Front>>,
    programs: BTreeMap<Component, Program>,
    island: Option<Island>,
    store: Mutex<Option<Process>>,
    plan: Plan,
    http: reqwest::Client,
}

/// A process that does not serve.
#[derive(Debug, Clone)]
pub struct NotReady {
    /// Which, where it was one.
    pub component: Option<Component>,
    /// What is wrong, in a sentence.
    pub why: String,
    /// The last lines of its log.
    pub log: String,
}

impl NotReady {
    fn of_all(why: impl Into<String>) -> Self {
        Self {
            component: None,
            why: why.into(),
            log: String::new(),
        }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.why, self.log)
    }
}

impl Launcher {
    /// Looks for the programs, makes room in their logs, and starts none of them.
    pub fn new(plan: Plan) -> Result<Self, String> {
        let programs = plan.components().map(|it| Ok((it, program(&plan, it)?)));
        let mut programs = programs.collect::<Result<BTreeMap<_, _>, String>>()?;
        for program in programs.values_mut() {
            program.begin_log();
        }
        let island = match plan.island {
            Some(component) => Some(Island::of_node(&plan, component)?),
            None => None,
        };
        if let (Some(island), Some(component)) = (&island, plan.island)
            && let Some(node) = programs.get_mut(&component)
        {
            island.hold(node);
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(LOOK_WITHIN)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            running: Mutex::default(),
            fronts: Mutex::default(),
            programs,
            island,
            store: Mutex::default(),
            plan,
            http,
        })
    }

    /// The network of the node that has one of its own.
    pub fn island(&self) -> Option<&Island> {
        self.island.as_ref()
    }

    /// Where everybody listens.
    pub fn addresses(&self) -> &Addresses {
        &self.plan.addresses
    }

    /// What is started, and how.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How a process is started, and its log.
    pub fn program(&self, component: Component) -> &Program {
        &self.programs[&component]
    }

    /// The same, of all.
    pub fn programs(&self) -> impl Iterator<Item = (Component, &Program)> {
        let programs = self.programs.iter();
        programs.map(|(component, program)| (*component, program))
    }

    /// Starts one of each, each before those that talk to it, with the demo's
    /// products and people, and waits until all serve. Answers what the gateway
    /// said about the products and people.
    pub async fn start_all(&self) -> Result<String, NotReady> {
        fs::create_dir_all(&self.plan.logs)
            .map_err(|error| NotReady::of_all(format!("{}: {error}", self.plan.logs.display())))?;
        let of_cluster = |all: &[Component]| {
            let used = if self.plan.is_cluster() { all.len() } else { 1 };
            all[..used].to_vec()
        };
        let nodes = of_cluster(&Component::NODES);
        let mut services = of_cluster(&[Component::Services, Component::Services2]);
        if self.plan.old_services.is_some() {
            // Today's come later, whenever a test wants them.
            services.truncate(1);
        }
        let gateways = of_cluster(&[Component::Gateway, Component::Gateway2]);
        self.open_fronts().await?;
        self.open_store().await?;
        for node in &nodes {
            self.launch(*node, &[]);
        }
        self.launch(Component::Sandbox, &[]);
        let seeded = self.seed(Component::Gateway)?;
        for gateway in &gateways[1..] {
            self.seed(*gateway)?;
        }
        for node in nodes {
            self.ready(node).await?;
        }
        // The services register themselves at once when Restate is there. In a cluster one
        // after the other, for both have one address.
        for services in services {
            self.launch(services, &[]);
            self.ready(services).await?;
        }
        for gateway in &gateways {
            self.launch(*gateway, &[]);
        }
        self.ready(Component::Sandbox).await?;
        // Ready means that carts and checkouts work: nothing else is waited for.
        for gateway in gateways {
            self.ready(gateway).await?;
        }
        Ok(seeded)
    }

    /// Starts the store for snapshots, if there is one, and waits until it answers.
    async fn open_store(&self) -> Result<(), NotReady> {
        let (Some(port), Some(packages)) = (self.plan.addresses.store, &self.plan.store) else {
            return Ok(());
        };
        let program = store::program(&self.plan, port, packages);
        let process = program.start(&[]);
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        let end = Instant::now() + self.plan.ready_within;
        let url = format!("http://127.0.0.1:{port}/");
        while let Err(error) = self.http.get(&url).send().await {
            if Instant::now() > end {
                return Err(NotReady {
                    component: None,
                    why: format!("the store does not answer: {error}"),
                    log: program.last_lines(LOG_LINES),
                });
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Listens where both copies of a process have one address.
    async fn open_fronts(&self) -> Result<(), NotReady> {
        let at = &self.plan.addresses;
        let Some(fronts) = &at.fronts else {
            return Ok(());
        };
        for (front, copies) in [
            (&fronts.services, &at.services),
            (&fronts.gateway, &at.gateway),
        ] {
            let opened = match (front.socket(), copies.iter().map(Listen::socket).collect()) {
                (Ok(front), Ok(copies)) => Front::open(front, copies).await,
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
            let opened = opened.map_err(|error| {
                // Worded as a process says that its port is in use.
                NotReady::of_all(format!("{front} cannot be listened on: {error}"))
            })?;
            let mut open = self.fronts.lock().unwrap_or_else(PoisonError::into_inner);
            open.push(opened);
        }
        Ok(())
    }

    /// Starts a second copy beside the first and waits until it serves. A
    /// second `services` is then the one that Restate gives new work to.
    pub async fn start_beside(&self, component: Component) {
        if component == Component::Gateway2 {
            let seeded = self.seed(component);
            assert!(seeded.is_ok(), "{seeded:?}");
        }
        self.start_again(component).await;
    }

    /// Starts a process and waits until it serves.
    pub async fn start_again(&self, component: Component) {
        self.start_again_with(component, &[]).await;
    }

    /// The same, this once with these settings.
    pub async fn start_again_with(&self, component: Component, settings: &[(&str, &str)]) {
        self.launch(component, settings);
        if let Err(failure) = self.ready(component).await {
            panic!("{failure}");
        }
    }

    /// Starts a process without waiting until it serves.
    pub fn launch(&self, component: Component, settings: &[(&str, &str)]) {
        let mut running = self.running();
        assert!(
            !running.contains_key(&component),
            "{component} is running already"
        );
        running.insert(component, self.programs[&component].start(settings));
    }

    /// Whether it was started and not ended by us.
    pub fn is_running(&self, component: Component) -> bool {
        self.running().contains_key(&component)
    }

    /// Whether a process that was started has ended by itself.
    pub fn has_ended(&self, component: Component) -> bool {
        let mut running = self.running();
        let process = running.get_mut(&component);
        process.is_some_and(|process| process.ended().is_some())
    }

    /// Ends a process with SIGKILL.
    pub fn kill(&self, component: Component) {
        self.take(component).kill();
    }

    /// Ends every process: in peace where there is time for that.
    pub async fn end(&self, within: Duration) {
        let all = std::mem::take(&mut *self.running());
        for process in all.values() {
            process.signal(Signal::SIGTERM);
        }
        let deadline = Instant::now() + within;
        for process in all.into_values() {
            process
                .stop(deadline.saturating_duration_since(Instant::now()))
                .await;
        }
    }

    /// Stops a process without its knowing (SIGSTOP).
    pub fn freeze(&self, component: Component) {
        self.signal(component, Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self, component: Component) {
        self.signal(component, Signal::SIGCONT);
    }

    /// All that a process has said so far, in its newest 100,000 lines.
    ///
    /// # Panics
    /// If this launcher has no such program.
    pub fn log(&self, component: Component) -> String {
        let found = self.programs().find(|(part, _)| *part == component);
        let (_, program) = found.unwrap_or_else(|| panic!("there is no {component}"));
        program.log_since(0, 100_000)
    }

    /// The number of a running process.
    pub fn process_id(&self, component: Component) -> u32 {
        let running = self.running();
        running
            .get(&component)
            .unwrap_or_else(|| panic!("{component} is not running"))
            .id()
    }

    fn signal(&self, component: Component, signal: Signal) {
        let running = self.running();
        running
            .get(&component)
            .unwrap_or_else(|| panic!("{component} is not running"))
            .signal(signal);
    }

    /// Ends a process with SIGTERM and waits until it is gone.
    pub async fn stop(&self, component: Component) -> ExitStatus {
        let ended = self.stop_within(component, STOPS_WITHIN).await;
        ended.unwrap_or_else(|| {
            panic!("{component} did not stop within {STOPS_WITHIN:?} of SIGTERM")
        })
    }

    /// The same, with SIGKILL when it takes too long: then there is no status.
    pub async fn stop_within(&self, component: Component, within: Duration) -> Option<ExitStatus> {
        self.take(component).stop(within).await
    }

    fn take(&self, component: Component) -> Process {
        self.running()
            .remove(&component)
            .unwrap_or_else(|| panic!("{component} is not running"))
    }

    /// Those that have ended by themselves, which are forgotten then: how, and
    /// how long they have lived.
    pub(crate) fn dead(&self) -> Vec<(Component, ExitStatus, Duration)> {
        let mut dead = Vec::new();
        self.running()
            .retain(|component, process| match process.ended() {
                None => true,
                Some(status) => {
                    dead.push((*component, status, process.age()));
                    false
                }
            });
        dead
    }

    /// Runs a command of the gateway's binary, such as `rebuild`, to its end.
    pub fn run_gateway(&self, arguments: &[&str]) -> Output {
        self.run_gateway_of(Component::Gateway, arguments)
    }

    fn run_gateway_of(&self, component: Component, arguments: &[&str]) -> Output {
        self.programs[&component]
            .command()
            .args(arguments)
            .output()
            .expect("the gateway can be started")
    }

    /// The gateway's binary with this plan's settings.
    pub fn gateway_command(&self) -> Command {
        self.programs[&Component::Gateway].command()
    }

    /// Puts the demo's products and people into a gateway's file. Without a demo the
    /// products alone: the people's passwords are well known.
    pub fn seed(&self, gateway: Component) -> Result<String, NotReady> {
        if self.plan.is_empty {
            return Ok(String::new());
        }
        let variables = self.plan.variables(gateway);
        let mode = variables.iter().rfind(|(name, _)| name == "AUTH_MODE");
        let arguments: &[&str] = match mode {
            Some((_, mode)) if mode == "session" => &["seed-demo", "--catalog-only"],
            _ => &["seed-demo"],
        };
        let seeded = self.run_gateway_of(gateway, arguments);
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if seeded.status.success() {
            return Ok(said(&seeded.stdout));
        }
        Err(NotReady {
            component: Some(gateway),
            why: format!("\"{gateway} seed-demo\" failed:"),
            log: format!("{}\n{}", said(&seeded.stdout), said(&seeded.stderr)),
        })
    }

    /// Runs `restatectl` as an operator would, with every node's address.
    pub fn run_restatectl(&self, arguments: &[&str]) -> Output {
        let at = self.addresses();
        let mut command = self.restate_command(binaries::restatectl());
        command
            .args(["--address", &at.of_each(0, |node| at.node(node))])
            .args(arguments)
            .output()
            .expect("restatectl can be started")
    }

    /// Runs Restate's command line as an operator would.
    pub fn run_restate(&self, arguments: &[&str]) -> Output {
        let mut command = self.restate_command(binaries::restate_cli());
        command
            .args(arguments)
            .env("RESTATE_ADMIN_URL", self.addresses().admin())
            .output()
            .expect("restate can be started")
    }

    fn restate_command(&self, program: Result<PathBuf, String>) -> Command {
        let folder = &self.plan.folder;
        let mut command = Command::new(program.unwrap_or_else(|missing| panic!("{missing}")));
        command
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .env("NO_COLOR", "1")
            .env("WAYBILL_TEST_RUN", test_run());
        command
    }

    /// The last lines of every log from these bytes on.
    pub fn logs_since(&self, began: &BTreeMap<Component, u64>) -> String {
        let programs = self.programs.iter();
        let written = programs.filter(|(_, program)| program.log_length() > 0);
        let logs = written.map(|(component, program)| {
            let since = began.get(component).copied().unwrap_or_default();
            let log = program.log_since(since, LOG_LINES);
            format!("---- {component} (last {LOG_LINES} lines)\n{log}\n")
        });
        logs.collect()
    }

    /// Waits until a process serves.
    pub async fn ready(&self, component: Component) -> Result<(), NotReady> {
        let within = self.plan.ready_within;
        let deadline = Instant::now() + within;
        loop {
            let Err(told) = self.serves(component).await else {
                return Ok(());
            };
            let has_ended = !self.plan.is_supervised && self.has_ended(component);
            if !has_ended && Instant::now() < deadline {
                sleep(Duration::from_millis(20)).await;
                continue;
            }
            let why = if has_ended {
                "has ended before it was ready".to_owned()
            } else {
                format!("was not ready within {} s", within.as_secs())
            };
            let program = self.program(component);
            let log = program.log.display();
            return Err(NotReady {
                component: Some(component),
                why: format!("{component} {why} ({told}). Its last lines, all in {log}:"),
                log: program.last_lines(LOG_LINES),
            });
        }
    }

    /// Whether a process serves now; otherwise what there is instead.
    async fn serves(&self, component: Component) -> Result<(), String> {
        let at = self.addresses();
        let urls = match component {
            Component::Restate | Component::Restate2 | Component::Restate3 => vec![
                format!("{}/health", at.admin_of(component.copy())),
                format!("{}/restate/health", at.ingress_of(component.copy())),
            ],
            Component::Services | Component::Services2 => {
                vec![format!("{}/healthz", at.services_ops(component.copy()))]
            }
            Component::Sandbox => vec![format!("{}/healthz", at.sandbox())],
            Component::Gateway | Component::Gateway2 => {
                vec![format!("{}/readyz", at.gateway(component.copy()))]
            }
        };
        for url in urls {
            self.answers(&url)
                .await
                .map_err(|told| format!("{url}: {told}"))?;
        }
        match component {
            // Restate says that it is healthy a little before its partitions are.
            Component::Restate | Component::Restate2 | Component::Restate3 => {
                self.count(component.copy(), "state").await.map(drop)
            }
            // Registered last: then Restate knows all of them.
            Component::Services | Component::Services2 => {
                let node = self.a_node();
                for service in ["UserSession", "OrderFulfillmentWorkflow"] {
                    let url = format!("{}/services/{service}", at.admin_of(node));
                    self.answers(&url)
                        .await
                        .map_err(|told| format!("{url}: {told}"))?;
                }
                // Others may serve the same services already: is it registered?
                let services = self.plan.deployment(component.copy());
                let rows = format!("sys_deployment WHERE endpoint LIKE '{services}%'");
                match self.count(node, &rows).await? {
                    0 => Err(format!("Restate does not know {services}")),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// A node that runs.
    fn a_node(&self) -> usize {
        let nodes = Component::NODES.into_iter();
        let mut running = nodes.filter(|node| self.is_running(*node));
        running.next().map_or(0, Component::copy)
    }

    async fn answers(&self, url: &str) -> Result<(), String> {
        let answer = self
            .http
            .get(url)
            .send()
            .await
            .map_err(|error| root_cause(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = answer.text().await.unwrap_or_default();
        let beginning: String = text.chars().take(300).collect();
        Err(format!("{} {beginning}", status.as_u16()))
    }

    /// How many rows Restate has of these.
    async fn count(&self, node: usize, rows: &str) -> Result<u64, String> {
        let query = format!("SELECT count(*) AS n FROM {rows}");
        let url = format!("{}/query", self.addresses().admin_of(node));
        let asked = self.http.post(url).header("accept", "application/json");
        let answer = asked.json(&json!({ "query": query })).send().await;
        let answer = answer.map_err(|error| root_cause(&error))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| root_cause(&error))?;
        let body: Option<Value> = serde_json::from_str(&text).ok();
        body.and_then(|body| body["rows"][0]["n"].as_u64())
            .ok_or_else(|| format!("Restate answers no queries: {status} {text}"))
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Component, Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a process of this plan is started.
pub fn program(plan: &Plan, component: Component) -> Result<Program, String> {
    let ours = |name| match plan.environment {
        Environment::Clean => binaries::ours_up_to_date(name),
        // The demo is built by whoever starts it.
        Environment::Inherited => binaries::ours(name),
    };
    let config = crate::repository().join("restate.toml");
    let config = config.display().to_string();
    let (binary, arguments) = match component {
        Component::Restate | Component::Restate2 | Component::Restate3 => {
            let arguments = vec!["--no-logo", "--config-file", &config];
            (binaries::restate_server()?, arguments)
        }
        Component::Services if plan.old_services.is_some() => {
            (plan.old_services.clone().unwrap_or_default(), vec![])
        }
        Component::Services | Component::Services2 => (ours("services")?, vec![]),
        Component::Sandbox => (ours("gateway")?, vec!["sandbox"]),
        Component::Gateway | Component::Gateway2 => {
            let old = plan.old_gateway.clone();
            (old.map_or_else(|| ours("gateway"), Ok)?, vec!["serve"])
        }
    };
    Ok(Program {
        name: component.name(),
        binary,
        arguments: arguments.into_iter().map(str::to_owned).collect(),
        variables: plan.variables(component),
        environment: plan.environment,
        log: plan.logs.join(format!("{component}.log")),
        log_begins: 0,
        folder: plan.works_in.clone(),
    })
}

/// `start` chooses free ports: once more if one was taken meanwhile.
pub async fn on_free_ports<T>(
    mut start: impl AsyncFnMut() -> Result<T, NotReady>,
) -> Result<T, NotReady> {
    for _ in 1..START_TRIES {
        match start().await {
            Err(failure) if failure.to_string().to_lowercase().contains("in use") => {}
            ended => return ended,
        }
    }
    start().await
}

impl From<String> for NotReady {
    fn from(why: String) -> Self {
        Self::of_all(why)
    }
}

/// What is behind an error that only says that a request failed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
