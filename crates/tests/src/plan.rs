//! What is started: the processes there are, where they keep their files, and
//! what each is told about the others.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::addresses::{
    ADMIN, Addresses, GATEWAY, INGRESS, Listen, NODE, SANDBOX, SERVICES, SERVICES_OPS,
};
use crate::store;

/// `INTERNAL_TOKEN` of a world of its own.
pub const TOKEN: &str = "the-token-of-a-world-that-is-soon-gone";
/// Where Restate's settings of its logs stand: the replicated one, and the one of a single node.
pub const LOGS: [&str; 2] = ["LOG_SERVER", "BIFROST__LOCAL"];
/// `SESSION_KEY` of one in session mode.
const SESSION_KEY: &str = "6f2b9d1ec84a07355be1d20f6a9c83e7";
/// Shared with its payment provider, which signs its webhooks.
pub const WEBHOOK_SECRET: &str = "whsec_of_the_tests";

/// A process of Waybill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// The Restate server; of a cluster, the first node.
    Restate,
    /// The second node of a cluster.
    Restate2,
    /// The third.
    Restate3,
    /// The services' endpoint.
    Services,
    /// A second copy of it, which a test starts itself.
    Services2,
    /// The outside world.
    Sandbox,
    /// The gateway.
    Gateway,
    /// A second copy of it with a SQLite file of its own, which a test starts itself.
    Gateway2,
}

impl Component {
    /// Every one of them.
    pub const ALL: [Self; 8] = [
        Self::Restate,
        Self::Restate2,
        Self::Restate3,
        Self::Services,
        Self::Services2,
        Self::Sandbox,
        Self::Gateway,
        Self::Gateway2,
    ];

    /// As logs and people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Restate => "restate",
            Self::Restate2 => "restate2",
            Self::Restate3 => "restate3",
            Self::Services => "services",
            Self::Services2 => "services2",
            Self::Sandbox => "sandbox",
            Self::Gateway => "gateway",
            Self::Gateway2 => "gateway2",
        }
    }

    /// The nodes of a cluster.
    pub const NODES: [Self; 3] = [Self::Restate, Self::Restate2, Self::Restate3];

    /// 0 for the first, 1 for the second.
    pub fn copy(self) -> usize {
        match self {
            Self::Restate | Self::Services | Self::Sandbox | Self::Gateway => 0,
            Self::Restate2 | Self::Services2 | Self::Gateway2 => 1,
            Self::Restate3 => 2,
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a process knows of the environment of whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Its own settings and nothing else.
    Clean,
    /// All of it. It wins over what is only a default here: the level of the
    /// logs and where files are kept.
    Inherited,
}

/// A set of processes that know each other.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where they listen.
    pub addresses: Addresses,
    /// Where they keep their files.
    pub folder: PathBuf,
    /// Where their logs are.
    pub logs: PathBuf,
    /// Where they work; nothing that one does by default falls elsewhere.
    pub works_in: PathBuf,
    /// What else they know.
    pub environment: Environment,
    /// Another program for [`Component::Services`]: of older code.
    pub old_services: Option<PathBuf>,
    /// Another program for the gateways: of older code, until a test puts today's there.
    pub old_gateway: Option<PathBuf>,
    /// Gateways listen to [`Component::Services2`], too.
    pub hears_both: bool,
    /// Which node is in a network of its own ([`crate::island`]), if any.
    pub island: Option<Component>,
    /// The Python packages of a store, in which a cluster keeps snapshots
    /// ([`crate::store`]).
    pub store: Option<PathBuf>,
    /// Nothing is put into the gateways' files: a shop that is opened by hand.
    pub is_empty: bool,
    /// Longest that one may take until it serves.
    pub ready_within: Duration,
    /// Whether a [`crate::supervisor::Supervisor`] starts again what ends before it has ever
    /// served.
    pub is_supervised: bool,
    settings: Vec<(Option<Component>, String, String)>,
}

impl Plan {
    /// A world of its own on free ports, all of it in `folder`.
    pub fn apart(folder: &Path) -> Self {
        Self::apart_at(Addresses::free(), folder)
    }

    /// The same with three nodes of Restate, two services behind one address, and two
    /// gateways behind another.
    pub fn cluster_apart(folder: &Path) -> Self {
        let mut plan = Self::apart_at(Addresses::free_cluster(), folder);
        plan.hears_both = true;
        plan
    }

    fn apart_at(addresses: Addresses, folder: &Path) -> Self {
        let mut plan = Self {
            addresses,
            folder: folder.to_owned(),
            logs: folder.to_owned(),
            works_in: folder.to_owned(),
            environment: Environment::Clean,
            old_services: None,
            old_gateway: None,
            hears_both: false,
            island: None,
            store: None,
            is_empty: false,
            ready_within: Duration::from_secs(30),
            is_supervised: false,
            settings: Vec::new(),
        };
        // Tests kill the process, not the machine: what the kernel has is kept.
        for log in LOGS {
            let name = format!("RESTATE_{log}__ROCKSDB_DISABLE_WAL_FSYNC");
            for node in Component::NODES {
                plan.set_for(node, &name, "true");
            }
        }
        plan.set("INTERNAL_TOKEN", TOKEN);
        plan
    }

    /// The demo, which keeps its data: `WAYBILL_DATA_DIR` says where. Runs in
    /// the repository's root.
    pub fn of_the_demo() -> Result<Self, String> {
        let setting = |name: &str| std::env::var(name).ok();
        Self::kept_in("data", Addresses::of_the_demo(setting)?)
    }

    /// The demo on a cluster, as [`Self::cluster_apart`] has one.
    pub fn of_the_cluster() -> Result<Self, String> {
        let mut plan = Self::kept_in("data/cluster", Addresses::of_the_cluster())?;
        plan.hears_both = true;
        Ok(plan)
    }

    fn kept_in(folder: &str, addresses: Addresses) -> Result<Self, String> {
        let named = std::env::var("WAYBILL_DATA_DIR").ok();
        let named = named.filter(|folder| !folder.is_empty());
        let folder = PathBuf::from(named.unwrap_or_else(|| folder.to_owned()));
        let mut plan = Self {
            addresses,
            logs: folder.join("logs"),
            folder,
            works_in: PathBuf::from("."),
            environment: Environment::Inherited,
            old_services: None,
            old_gateway: None,
            hears_both: false,
            island: None,
            store: None,
            is_empty: false,
            ready_within: Duration::from_mins(1),
            is_supervised: true,
            settings: Vec::new(),
        };
        plan.crash_on_request();
        let token = token_of_the_demo(&plan.folder.join("internal-token"))?;
        plan.set("INTERNAL_TOKEN_FILE", &token.display().to_string());
        Ok(plan)
    }

    /// A shop that is opened by hand: `AUTH_MODE=session`, and nothing in the gateways'
    /// files.
    pub fn with_sessions(&mut self) {
        self.is_empty = true;
        self.set("AUTH_MODE", "session");
        self.set("SESSION_KEY", SESSION_KEY);
        self.set("PAYMENT_WEBHOOK_SECRET", WEBHOOK_SECRET);
    }

    /// The console shows what a crash does.
    pub fn crash_on_request(&mut self) {
        for services in [Component::Services, Component::Services2] {
            self.set_for(services, "ALLOW_CRASH", "demo");
        }
    }

    /// Sets a variable for every process; what is set later wins.
    pub fn set(&mut self, name: &str, value: &str) {
        let setting = (None, name.to_owned(), value.to_owned());
        self.settings.push(setting);
    }

    /// The same, for one process.
    pub fn set_for(&mut self, component: Component, name: &str, value: &str) {
        let setting = (Some(component), name.to_owned(), value.to_owned());
        self.settings.push(setting);
    }

    /// Those that can be started.
    pub fn components(&self) -> impl Iterator<Item = Component> {
        let (nodes, copies) = (self.addresses.nodes.len(), self.addresses.gateway.len());
        let all = Component::ALL.into_iter();
        all.filter(move |component| {
            let is_node = Component::NODES.contains(component);
            component.copy() < if is_node { nodes } else { copies }
        })
    }

    /// Whether there are several nodes of Restate.
    pub fn is_cluster(&self) -> bool {
        self.addresses.nodes.len() > 1
    }

    /// What a process is told.
    pub(crate) fn variables(&self, component: Component) -> Vec<(String, String)> {
        let mut variables = match component {
            Component::Restate | Component::Restate2 | Component::Restate3 => {
                self.of_restate(component.copy())
            }
            _ => self.of_ours(component.copy()),
        };
        let settings = self.settings.iter();
        let its = settings.filter(|(whose, ..)| whose.is_none_or(|whose| whose == component));
        variables.extend(its.map(|(_, name, value)| (name.clone(), value.clone())));
        variables
    }

    /// Paths are as the process sees them from where it works.
    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn of_restate(&self, copy: usize) -> Vec<(String, String)> {
        let at = &self.addresses;
        let folder = self.file(["restate", "restate2", "restate3"][copy]);
        let node = &at.nodes[copy];
        let mut variables = self.defaults([("RESTATE_BASE_DIR", folder)]);
        variables.extend(owned([
            (NODE, node.fabric.to_string()),
            (INGRESS, node.ingress.to_string()),
            (ADMIN, node.admin.to_string()),
        ]));
        if self.is_cluster() {
            let all = at.each_node(|node| at.node(node));
            variables.extend(owned([
                ("RESTATE_NODE_NAME", format!("node-{}", copy + 1)),
                ("RESTATE_ADVERTISED_ADDRESS", at.node(copy)),
                ("RESTATE_METADATA_CLIENT__ADDRESSES", format!("{all:?}")),
                // One node begins the cluster; the others join it.
                ("RESTATE_AUTO_PROVISION", (copy == 0).to_string()),
                ("RESTATE_BIFROST__DEFAULT_PROVIDER", "replicated".to_owned()),
                ("RESTATE_DEFAULT_REPLICATION", "2".to_owned()),
                // As compose.cluster.yml: more than one node leads one.
                ("RESTATE_DEFAULT_NUM_PARTITIONS", "2".to_owned()),
            ]));
        }
        if let (Some(port), Some(_)) = (at.store, &self.store) {
            variables.extend(store::variables(port));
        }
        variables
    }

    /// Where Restate finds the services: copies of the same code have one address.
    pub fn deployment(&self, copy: usize) -> String {
        match self.old_services {
            Some(_) => self.addresses.services(copy),
            None => self.addresses.deployment(copy),
        }
    }

    fn of_ours(&self, copy: usize) -> Vec<(String, String)> {
        let at = &self.addresses;
        let sqlite = |name| format!("sqlite://{}", self.file(name));
        let updates = |copy| format!("{}/updates", at.services_ops(copy));
        let heard = if self.hears_both && at.services_ops.len() > 1 {
            format!("{},{}", updates(0), updates(1))
        } else {
            updates(0)
        };
        let mut variables = self.defaults([
            ("RUST_LOG", "info".to_owned()),
            ("DATABASE_URL", sqlite(["waybill.db", "waybill2.db"][copy])),
            ("SANDBOX_DATABASE_URL", sqlite("sandbox.db")),
        ]);
        // A second copy may be missing: then nobody is told of it.
        let of = |listens: &Vec<Listen>| listens[copy.min(listens.len() - 1)].clone();
        variables.extend(owned([
            ("AUTH_MODE", "demo".to_owned()),
            (GATEWAY, of(&at.gateway).to_string()),
            (SERVICES, of(&at.services).to_string()),
            (SERVICES_OPS, of(&at.services_ops).to_string()),
            (SANDBOX, at.sandbox.to_string()),
            // Each copy begins with another node.
            (
                "RESTATE_INGRESS_URL",
                at.of_each(copy, |n| at.ingress_of(n)),
            ),
            ("RESTATE_ADMIN_URL", at.of_each(copy, |n| at.admin_of(n))),
            ("SERVICES_URL", self.deployment(copy)),
            ("SERVICES_UPDATES_URLS", heard),
            ("SANDBOX_URL", at.sandbox()),
            ("PAYMENT_PROVIDER_URL", format!("{}/payments", at.sandbox())),
            ("CARRIER_URL", format!("{}/carrier", at.sandbox())),
            (
                "PAYMENT_CALLBACK_URL",
                format!("{}/api/payment/callback", at.shop()),
            ),
        ]));
        variables
    }

    /// Those of `variables` that the environment does not say otherwise.
    fn defaults<const N: usize>(
        &self,
        mut variables: [(&str, String); N],
    ) -> Vec<(String, String)> {
        if self.environment == Environment::Inherited {
            for (name, value) in &mut variables {
                if let Ok(theirs) = std::env::var(name) {
                    *value = theirs;
                }
            }
        }
        owned(variables)
    }
}

/// The file with the demo's own `INTERNAL_TOKEN`, made by its first start. One in the
/// environment wins over it.
fn token_of_the_demo(file: &Path) -> Result<PathBuf, String> {
    let made = || {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let half = rand::random::<u128>;
        let token = format!("{:032x}{:032x}", half(), half());
        let mut made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        made.write_all(token.as_bytes())
    };
    match made() {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(format!(
            "{} cannot be written ({error}): set WAYBILL_DATA_DIR to a folder that can",
            file.display()
        )),
        _ => Ok(file.to_owned()),
    }
}

fn owned<const N: usize>(variables: [(&str, String); N]) -> Vec<(String, String)> {
    variables
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_keeps_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data/internal-token");
        let read = || {
            token_of_the_demo(&file).unwrap();
            fs::read_to_string(&file).unwrap()
        };
        let token = read();
        assert_eq!(token.len(), 64);
        assert_eq!(read(), token);
    }

    #[test]
    fn everybody_knows_every_node_of_a_cluster() {
        let plan = Plan::cluster_apart(Path::new("/folder"));
        assert_eq!(plan.components().count(), Component::ALL.len());
        assert_eq!(Plan::apart(Path::new("/folder")).components().count(), 6);
        let at = &plan.addresses;
        let value = |component, name: &str| {
            let variables = plan.variables(component).into_iter();
            let mut its = variables.filter(|(its, _)| its == name);
            its.next_back().map(|(_, value)| value).unwrap()
        };
        let [first, second, third] = [0, 1, 2].map(|n| at.ingress_of(n));
        let known = |component| value(component, "RESTATE_INGRESS_URL");
        assert_eq!(
            known(Component::Gateway),
            format!("{first},{second},{third}")
        );
        assert_eq!(
            known(Component::Gateway2),
            format!("{second},{third},{first}")
        );
        for services in [Component::Services, Component::Services2] {
            assert_eq!(value(services, "SERVICES_URL"), at.deployment(0));
        }
        let begins = Component::NODES.map(|node| value(node, "RESTATE_AUTO_PROVISION"));
        assert_eq!(begins, ["true", "false", "false"]);
    }

    #[test]
    fn what_is_set_later_and_for_one_wins() {
        let mut plan = Plan::apart(Path::new("/folder"));
        plan.set("RUST_LOG", "warn");
        plan.set_for(Component::Gateway, "RUST_LOG", "debug");
        let level = |component| {
            let variables = plan.variables(component).into_iter();
            let mut levels = variables.filter(|(name, _)| name == "RUST_LOG");
            levels.next_back().map(|(_, value)| value)
        };
        assert_eq!(level(Component::Gateway).as_deref(), Some("debug"));
        assert_eq!(level(Component::Gateway2).as_deref(), Some("warn"));
        assert_eq!(level(Component::Services).as_deref(), Some("warn"));
    }
}
