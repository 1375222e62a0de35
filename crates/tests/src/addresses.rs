//! Where everybody listens: on free ports, or where the demo is told to.

use std::fmt;
use std::net::{TcpListener, ToSocketAddrs as _};

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
    pub(crate) node: u16,
    pub(crate) ingress: u16,
    pub(crate) admin: u16,
    pub(crate) sandbox: Listen,
    /// First and second copies, where there are two.
    pub(crate) services: Vec<Listen>,
    pub(crate) services_ops: Vec<Listen>,
    pub(crate) gateway: Vec<Listen>,
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
}
