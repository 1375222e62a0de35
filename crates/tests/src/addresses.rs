//! Where everybody listens: on free ports, or where the demo is told to.

use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};

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

    /// The same for the kernel.
    pub(crate) fn socket(&self) -> std::io::Result<SocketAddr> {
        let host = self.host.trim_matches(['[', ']']);
        let mut addresses = (host, self.port).to_socket_addrs()?;
        addresses
            .next()
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
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

/// Where one node of Restate listens, on loopback.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// For the other nodes, and for `restatectl`.
    pub(crate) fabric: u16,
    pub(crate) ingress: u16,
    pub(crate) admin: u16,
}

/// One address before both copies of a process.
#[derive(Debug, Clone)]
pub(crate) struct Fronts {
    pub(crate) services: Listen,
    pub(crate) gateway: Listen,
}

/// Where everybody listens. Restate does so on loopback.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// One, or those of a cluster.
    pub(crate) nodes: Vec<Node>,
    /// Of a cluster.
    pub(crate) fronts: Option<Fronts>,
    pub(crate) sandbox: Listen,
    /// First and second copies, where there are two.
    pub(crate) services: Vec<Listen>,
    pub(crate) services_ops: Vec<Listen>,
    pub(crate) gateway: Vec<Listen>,
    /// A store for snapshots, of a cluster on free ports.
    pub(crate) store: Option<u16>,
}

pub(crate) const NODE: &str = "RESTATE_BIND_PORT";
pub(crate) const INGRESS: &str = "RESTATE_INGRESS__BIND_PORT";
pub(crate) const ADMIN: &str = "RESTATE_ADMIN__BIND_PORT";
pub(crate) const SANDBOX: &str = "SANDBOX_LISTEN";
pub(crate) const SERVICES: &str = "SERVICES_LISTEN";
pub(crate) const SERVICES_OPS: &str = "SERVICES_OPS_LISTEN";
pub(crate) const GATEWAY: &str = "GATEWAY_LISTEN";

impl Addresses {
    /// Free ports, with two copies of what there may be two of.
    pub(crate) fn free() -> Self {
        let mut ports = free_ports(10).into_iter();
        let mut listen = || Listen::on_loopback(ports.next().expect("so many were found"));
        let two = |listen: &mut dyn FnMut() -> Listen| vec![listen(), listen()];
        Self {
            sandbox: listen(),
            services: two(&mut listen),
            services_ops: two(&mut listen),
            gateway: two(&mut listen),
            nodes: vec![Node {
                fabric: listen().port,
                ingress: listen().port,
                admin: listen().port,
            }],
            fronts: None,
            store: None,
        }
    }

    /// The same with a cluster of three nodes.
    pub(crate) fn free_cluster() -> Self {
        let mut ports = free_ports(19).into_iter();
        let store = ports.next();
        let cluster = Self::cluster(|_| ports.next().expect("so many were found"));
        Self { store, ..cluster }
    }

    /// A cluster of three nodes at the ports that docs/operate.md names.
    pub(crate) fn of_the_cluster() -> Self {
        Self::cluster(|port| port)
    }

    fn cluster(mut port: impl FnMut(u16) -> u16) -> Self {
        let mut listen = |usual| Listen::on_loopback(port(usual));
        Self {
            fronts: Some(Fronts {
                gateway: listen(8080),
                services: listen(9080),
            }),
            gateway: vec![listen(8084), listen(8085)],
            services: vec![listen(9082), listen(9083)],
            services_ops: vec![listen(9081), listen(9084)],
            sandbox: listen(8090),
            nodes: (0..3)
                .map(|n| Node {
                    fabric: listen(5122 + n).port,
                    ingress: listen(8081 + n).port,
                    admin: listen(9070 + n).port,
                })
                .collect(),
            store: None,
        }
    }

    /// The demo's: those of `setting`, which are named as the processes name
    /// them, or the ones that the README names.
    pub(crate) fn of_the_demo(setting: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
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
            nodes: vec![Node {
                ingress: port(INGRESS, 8081)?,
                admin: port(ADMIN, 9070)?,
                fabric: port(NODE, 5122)?,
            }],
            fronts: None,
            store: None,
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

    /// Restate's ingress; of a cluster, the first node's.
    pub fn ingress(&self) -> String {
        self.ingress_of(0)
    }

    /// Restate's admin API; of a cluster, the first node's.
    pub fn admin(&self) -> String {
        self.admin_of(0)
    }

    /// The ingress of a node.
    pub fn ingress_of(&self, node: usize) -> String {
        local(self.nodes[node].ingress)
    }

    /// The admin API of a node.
    pub fn admin_of(&self, node: usize) -> String {
        local(self.nodes[node].admin)
    }

    /// Where the other nodes, and `restatectl`, find a node.
    pub fn node(&self, node: usize) -> String {
        local(self.nodes[node].fabric)
    }

    /// One of `of` for each node.
    pub fn each_node(&self, of: impl FnMut(usize) -> String) -> Vec<String> {
        (0..self.nodes.len()).map(of).collect()
    }

    /// The same, beginning with this one, separated by commas.
    pub(crate) fn of_each(&self, first: usize, of: impl Fn(usize) -> String) -> String {
        let mut urls = self.each_node(of);
        urls.rotate_left(first % self.nodes.len());
        urls.join(",")
    }

    /// The ports at which a node listens, and those of others that it calls.
    pub(crate) fn around_node(&self, copy: usize) -> (Vec<u16>, Vec<u16>) {
        let node = &self.nodes[copy];
        let others = self.nodes.iter().enumerate().filter(|(n, _)| *n != copy);
        let others = others.map(|(_, node)| node.fabric);
        let services = self.fronts.as_ref().map(|fronts| fronts.services.port);
        (
            vec![node.fabric, node.ingress, node.admin],
            others.chain(services).chain(self.store).collect(),
        )
    }

    /// Where people find the shop: whichever gateway is there.
    pub fn shop(&self) -> String {
        let front = self.fronts.as_ref().map(|fronts| fronts.gateway.url());
        front.unwrap_or_else(|| self.gateway(0))
    }

    /// Where Restate finds the services that this copy is one of.
    pub fn deployment(&self, copy: usize) -> String {
        let front = self.fronts.as_ref().map(|fronts| fronts.services.url());
        front.unwrap_or_else(|| self.services(copy.min(self.services.len() - 1)))
    }

    /// A sentence for each port that cannot be used, with the setting that
    /// helps.
    pub fn taken(&self) -> Vec<String> {
        if let Some(fronts) = &self.fronts {
            return self.taken_of_the_cluster(fronts);
        }
        let restate = self.nodes.iter().flat_map(|node| {
            [
                (INGRESS, node.ingress),
                (ADMIN, node.admin),
                (NODE, node.fabric),
            ]
        });
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

impl Addresses {
    /// Its ports are fixed: whoever has them must go.
    fn taken_of_the_cluster(&self, fronts: &Fronts) -> Vec<String> {
        let Fronts { services, gateway } = fronts;
        let copies = [&self.gateway, &self.services, &self.services_ops];
        let nodes = self.nodes.iter();
        let nodes = nodes.flat_map(|node| [node.ingress, node.admin, node.fabric]);
        let all = [gateway, services, &self.sandbox].into_iter();
        let all = all.chain(copies.into_iter().flatten());
        all.cloned()
            .chain(nodes.map(Listen::on_loopback))
            .filter_map(|listen| {
                let problem = listen.problem()?;
                let port = listen.port;
                Some(match problem.kind() {
                    std::io::ErrorKind::AddrInUse => {
                        format!("port {port} is taken: stop what has it, such as `just demo`")
                    }
                    _ => format!("port {port} cannot be used ({problem})"),
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
fn free_ports(how_many: usize) -> Vec<u16> {
    // All are held until the last is found, so that they differ.
    let find = || {
        (0..1_000)
            .find_map(|_| {
                let port = rand::random_range(20_000..32_000);
                TcpListener::bind(("127.0.0.1", port)).ok()
            })
            .expect("one port in twelve thousand is free")
    };
    let held: Vec<_> = (0..how_many).map(|_| find()).collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    held.iter().map(port).collect()
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
    fn a_cluster_says_which_ports_are_taken() {
        let mut at = Addresses::free_cluster();
        assert_eq!(at.taken(), Vec::<String>::new());
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = stranger.local_addr().unwrap().port();
        at.nodes[2].admin = port;
        let taken = format!("port {port} is taken: stop what has it, such as `just demo`");
        assert_eq!(at.taken(), [taken]);
    }

    #[test]
    fn a_taken_port_is_named_with_the_setting_that_helps() {
        let mut at = Addresses::free();
        assert_eq!(at.taken(), Vec::<String>::new());
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = stranger.local_addr().unwrap().port();
        let other = port.checked_add(10_000).unwrap_or(port - 10_000);
        at.sandbox = Listen::on_loopback(port);
        at.nodes[0].admin = port;
        assert_eq!(
            at.taken(),
            [
                format!("port {port} is taken; set SANDBOX_LISTEN=127.0.0.1:{other}"),
                format!("port {port} is taken; set RESTATE_ADMIN__BIND_PORT={other}"),
            ]
        );
    }
}
