//! What is started: the processes there are, where each listens, where it keeps
//! its files, and what it is told about the others.

use std::fmt;
use std::net::{TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A process of Waybill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// The Restate server.
    Restate,
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
    pub const ALL: [Self; 6] = [
        Self::Restate,
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
            Self::Services => "services",
            Self::Services2 => "services2",
            Self::Sandbox => "sandbox",
            Self::Gateway => "gateway",
            Self::Gateway2 => "gateway2",
        }
    }

    /// 0 for the first, 1 for the second.
    pub(crate) fn copy(self) -> usize {
        usize::from(matches!(self, Self::Services2 | Self::Gateway2))
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a process listens, as its setting says it: `127.0.0.1:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    host: String,
    port: u16,
}

impl Listen {
    fn on_loopback(port: u16) -> Self {
        let host = "127.0.0.1".to_owned();
        Self { host, port }
    }

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let host = host.to_owned();
        Some(Self { host, port })
    }

    /// How others on this machine reach it.
    pub fn url(&self) -> String {
        let host = match self.host.as_str() {
            "0.0.0.0" | "[::]" => "127.0.0.1",
            host => host,
        };
        format!("http://{host}:{}", self.port)
    }

    /// Why nobody can listen there, or nothing.
    fn problem(&self) -> Option<std::io::Error> {
        let host = self.host.trim_matches(['[', ']']);
        let addresses = (host, self.port).to_socket_addrs();
        addresses
            .and_then(|addresses| TcpListener::bind(addresses.collect::<Vec<_>>().as_slice()))
            .err()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Where everybody listens. Restate does so on loopback.
#[derive(Debug, Clone)]
pub struct Addresses {
    node: u16,
    ingress: u16,
    admin: u16,
    sandbox: Listen,
    /// First and second copies, where there are two.
    services: Vec<Listen>,
    services_ops: Vec<Listen>,
    gateway: Vec<Listen>,
}

const NODE: &str = "RESTATE_BIND_PORT";
const INGRESS: &str = "RESTATE_INGRESS__BIND_PORT";
const ADMIN: &str = "RESTATE_ADMIN__BIND_PORT";
const SANDBOX: &str = "SANDBOX_LISTEN";
const SERVICES: &str = "SERVICES_LISTEN";
const SERVICES_OPS: &str = "SERVICES_OPS_LISTEN";
const GATEWAY: &str = "GATEWAY_LISTEN";

impl Addresses {
    /// Free ports, with two copies of what there may be two of.
    fn free() -> Self {
        let [node, ingress, admin, others @ ..] = free_ports::<10>();
        let [sandbox, s1, s2, o1, o2, g1, g2] = others.map(Listen::on_loopback);
        Self {
            node,
            ingress,
            admin,
            sandbox,
            services: vec![s1, s2],
            services_ops: vec![o1, o2],
            gateway: vec![g1, g2],
        }
    }

    /// The demo's: those of `setting`, which are named as the processes name
    /// them, or the ones that the README names.
    fn of_the_demo(setting: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let setting = |name| setting(name).filter(|value| !value.is_empty());
        let listen = |name, default| {
            let value = setting(name).unwrap_or_else(|| format!("127.0.0.1:{default}"));
            Listen::parse(&value).ok_or_else(|| {
                format!(
                    "{name} is \"{value}\"; it must be an address and a port, as in \
                     \"127.0.0.1:{default}\"."
                )
            })
        };
        let port = |name, default: u16| {
            let value = setting(name).unwrap_or_else(|| default.to_string());
            let port = value.parse().ok().filter(|port: &u16| *port > 0);
            port.ok_or_else(|| {
                format!("{name} is \"{value}\"; it must be a port, as in \"{default}\".")
            })
        };
        Ok(Self {
            gateway: vec![listen(GATEWAY, 8080)?],
            services: vec![listen(SERVICES, 9080)?],
            services_ops: vec![listen(SERVICES_OPS, 9081)?],
            sandbox: listen(SANDBOX, 8090)?,
            ingress: port(INGRESS, 8081)?,
            admin: port(ADMIN, 9070)?,
            node: port(NODE, 5122)?,
        })
    }

    /// The gateway's address; `copy` is 0 or 1.
    pub fn gateway(&self, copy: usize) -> String {
        self.gateway[copy].url()
    }

    /// The services' endpoint, as Restate reaches it.
    pub fn services(&self, copy: usize) -> String {
        self.services[copy].url()
    }

    /// Where the services tell of their health.
    pub fn services_ops(&self, copy: usize) -> String {
        self.services_ops[copy].url()
    }

    /// The outside world.
    pub fn sandbox(&self) -> String {
        self.sandbox.url()
    }

    /// Restate's ingress.
    pub fn ingress(&self) -> String {
        local(self.ingress)
    }

    /// Restate's admin API.
    pub fn admin(&self) -> String {
        local(self.admin)
    }

    /// A sentence for each port that cannot be used, with the setting that
    /// helps.
    pub fn taken(&self) -> Vec<String> {
        let restate = [
            (INGRESS, self.ingress),
            (ADMIN, self.admin),
            (NODE, self.node),
        ];
        let restate = restate.map(|(name, port)| (name, Listen::on_loopback(port), false));
        let ours = [
            (GATEWAY, &self.gateway[0]),
            (SERVICES, &self.services[0]),
            (SERVICES_OPS, &self.services_ops[0]),
            (SANDBOX, &self.sandbox),
        ];
        let ours = ours.map(|(name, listen)| (name, listen.clone(), true));
        let all = ours.into_iter().chain(restate);
        all.filter_map(|(name, listen, with_host)| {
            let problem = listen.problem()?;
            let (host, port) = (listen.host, listen.port);
            let other = port.checked_add(10_000).unwrap_or(port - 10_000);
            let better = if with_host {
                format!("{name}={host}:{other}")
            } else {
                format!("{name}={other}")
            };
            Some(match problem.kind() {
                std::io::ErrorKind::AddrInUse => format!("port {port} is taken; set {better}"),
                _ => format!("port {port} cannot be used ({problem}); set another, as in {better}"),
            })
        })
        .collect()
    }
}

fn local(port: u16) -> String {
    Listen::on_loopback(port).url()
}

/// Free ports below those that the kernel gives to outgoing connections: a
/// process that is killed and started again finds its port still free.
fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until the last is found, so that they differ.
    let held: [TcpListener; N] = std::array::from_fn(|_| {
        (0..1_000)
            .find_map(|_| {
                let port = rand::random_range(20_000..32_000);
                TcpListener::bind(("127.0.0.1", port)).ok()
            })
            .expect("one port in twelve thousand is free")
    });
    held.map(|listener| listener.local_addr().expect("it is bound").port())
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
    /// Gateways listen to [`Component::Services2`], too.
    pub hears_both: bool,
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
        let mut plan = Self {
            addresses: Addresses::free(),
            folder: folder.to_owned(),
            logs: folder.to_owned(),
            works_in: folder.to_owned(),
            environment: Environment::Clean,
            hears_both: false,
            ready_within: Duration::from_secs(30),
            is_supervised: false,
            settings: Vec::new(),
        };
        // Tests kill the process, not the machine: what the kernel has is kept.
        for log in ["LOG_SERVER", "BIFROST__LOCAL"] {
            let name = format!("RESTATE_{log}__ROCKSDB_DISABLE_WAL_FSYNC");
            plan.set_for(Component::Restate, &name, "true");
        }
        plan
    }

    /// The demo, which keeps its data: `WAYBILL_DATA_DIR` says where. Runs in
    /// the repository's root.
    pub fn of_the_demo() -> Result<Self, String> {
        let setting = |name: &str| std::env::var(name).ok();
        let folder = setting("WAYBILL_DATA_DIR").filter(|folder| !folder.is_empty());
        let folder = PathBuf::from(folder.unwrap_or_else(|| "data".to_owned()));
        let mut plan = Self {
            addresses: Addresses::of_the_demo(setting)?,
            logs: folder.join("logs"),
            folder,
            works_in: PathBuf::from("."),
            environment: Environment::Inherited,
            hears_both: false,
            ready_within: Duration::from_mins(1),
            is_supervised: true,
            settings: Vec::new(),
        };
        plan.crash_on_request();
        Ok(plan)
    }

    /// The console shows what a crash does.
    pub fn crash_on_request(&mut self) {
        self.set_for(Component::Services, "ALLOW_CRASH", "true");
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
        let copies = self.addresses.gateway.len();
        let all = Component::ALL.into_iter();
        all.filter(move |component| component.copy() < copies)
    }

    /// What a process is told.
    pub(crate) fn variables(&self, component: Component) -> Vec<(String, String)> {
        let mut variables = match component {
            Component::Restate => self.of_restate(),
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

    fn of_restate(&self) -> Vec<(String, String)> {
        let at = &self.addresses;
        let mut variables = self.defaults([("RESTATE_BASE_DIR", self.file("restate"))]);
        variables.extend(owned([
            (NODE, at.node.to_string()),
            (INGRESS, at.ingress.to_string()),
            (ADMIN, at.admin.to_string()),
        ]));
        variables
    }

    fn of_ours(&self, copy: usize) -> Vec<(String, String)> {
        let at = &self.addresses;
        let sqlite = |name| format!("sqlite://{}", self.file(name));
        let updates = |copy| format!("{}/updates", at.services_ops(copy));
        let heard = if self.hears_both {
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
            ("RESTATE_INGRESS_URL", at.ingress()),
            ("RESTATE_ADMIN_URL", at.admin()),
            ("SERVICES_URL", of(&at.services).url()),
            ("SERVICES_UPDATES_URLS", heard),
            ("SANDBOX_URL", at.sandbox()),
            ("PAYMENT_PROVIDER_URL", format!("{}/payments", at.sandbox())),
            ("CARRIER_URL", format!("{}/carrier", at.sandbox())),
            (
                "PAYMENT_CALLBACK_URL",
                format!("{}/api/payment/callback", at.gateway(0)),
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

fn owned<const N: usize>(variables: [(&str, String); N]) -> Vec<(String, String)> {
    variables
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo(settings: &[(&str, &str)]) -> Result<Addresses, String> {
        Addresses::of_the_demo(|name| {
            let its = settings.iter().find(|(whose, _)| *whose == name);
            its.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_demo_listens_where_it_is_told() {
        let at = demo(&[(GATEWAY, "0.0.0.0:18080"), (SANDBOX, ""), (ADMIN, "19070")]).unwrap();
        assert_eq!(at.gateway(0), "http://127.0.0.1:18080");
        assert_eq!(at.gateway[0].to_string(), "0.0.0.0:18080");
        assert_eq!(at.sandbox(), "http://127.0.0.1:8090");
        assert_eq!(at.admin(), "http://127.0.0.1:19070");
        assert_eq!(
            demo(&[(SERVICES, "9080")]).unwrap_err(),
            "SERVICES_LISTEN is \"9080\"; it must be an address and a port, as in \
             \"127.0.0.1:9080\"."
        );
        assert_eq!(
            demo(&[(NODE, "none")]).unwrap_err(),
            "RESTATE_BIND_PORT is \"none\"; it must be a port, as in \"5122\"."
        );
    }

    #[test]
    fn a_taken_port_is_named_with_the_setting_that_helps() {
        let mut at = Addresses::free();
        assert_eq!(at.taken(), Vec::<String>::new());
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = stranger.local_addr().unwrap().port();
        let other = port.checked_add(10_000).unwrap_or(port - 10_000);
        at.sandbox = Listen::on_loopback(port);
        at.admin = port;
        assert_eq!(
            at.taken(),
            [
                format!("port {port} is taken; set SANDBOX_LISTEN=127.0.0.1:{other}"),
                format!("port {port} is taken; set RESTATE_ADMIN__BIND_PORT={other}"),
            ]
        );
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
