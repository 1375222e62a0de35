//! What is set for the way in: by which name the shop is reached, who stands
//! before it, and how much one caller may ask.

use std::fmt;
use std::net::IpAddr;

use clap::Args;
use ipnet::IpNet;
use process::settings::{WrongSetting, http_url};

/// Connections in all, where nothing is set.
pub const MAX_CONNECTIONS: usize = 8_192;
/// Requests at work in all, where nothing is set.
pub const MAX_REQUESTS: usize = 1_024;
/// Files that are open beside connections and requests: SQLite, sockets, logs.
const OTHER_FILES: usize = 128;

/// What a user of the shop sees of the gateway, and how much of it.
#[derive(Debug, Clone, Args)]
pub struct EdgeSettings {
    /// How browsers reach the shop, e.g. `https://shop.example`. Then only that host is
    /// served, and with https the session cookie is for it alone and browsers
    /// are told to stay with https. Required outside demo mode when
    /// `GATEWAY_LISTEN` is not on loopback. Without it only IP addresses and
    /// localhost are served.
    #[arg(long, env, global = true, value_parser = public_url)]
    public_url: Option<OptionalPublicUrl>,

    /// Proxies before this gateway, as addresses or networks, separated by commas,
    /// e.g. `10.0.0.0/8,127.0.0.1`. What they say of the caller in
    /// `X-Forwarded-For`, `-Proto` and `-Host` is believed, and nobody else is.
    #[arg(long, env, global = true, default_value = "", value_parser = networks)]
    trusted_proxies: Networks,

    /// Connections that may be open at a time: 8192, or fewer where the system allows
    /// fewer open files.
    #[arg(long, env, global = true, value_parser = count)]
    max_connections: Option<usize>,

    /// Connections that one address may have open. Trusted proxies and this machine
    /// may have any number.
    #[arg(long, env, global = true, default_value_t = 256, value_parser = count)]
    pub max_connections_per_address: usize,

    /// Requests that may be at work at a time; more are told to come again (503 with
    /// Retry-After). One address may have a quarter of them. 1024, or fewer where the
    /// system allows fewer open files.
    #[arg(long, env, global = true, value_parser = count)]
    max_requests: Option<usize>,

    /// Live pages and streams that one address may have open. This machine may have
    /// any number.
    #[arg(long, env, global = true, default_value_t = 256, value_parser = count)]
    pub max_streams_per_address: usize,

    /// Reads a second from one address, and ten times as many at once; more are told to
    /// wait (429 with Retry-After). 0 is no limit. 100, and in demo mode 0.
    #[arg(long, env, global = true)]
    reads_per_address: Option<u32>,

    /// The same for writes from one address. 20, and in demo mode 0.
    #[arg(long, env, global = true)]
    writes_per_address: Option<u32>,

    /// The same for reads of one signed-in user. 50, and in demo mode 0.
    #[arg(long, env, global = true)]
    reads_per_user: Option<u32>,

    /// The same for writes of one signed-in user. 10, and in demo mode 0.
    #[arg(long, env, global = true)]
    writes_per_user: Option<u32>,

    /// Orders of one user that may wait for their payment at a time: they keep pieces
    /// from others. 5, and in demo mode 1000.
    #[arg(long, env, global = true, value_parser = optional_count)]
    max_unpaid_orders: Option<OptionalCount>,
}

/// Requests a second; `None` is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Reads from one address.
    pub reads_per_address: Option<u32>,
    /// Writes from one address.
    pub writes_per_address: Option<u32>,
    /// Reads of one user.
    pub reads_per_user: Option<u32>,
    /// Writes of one user.
    pub writes_per_user: Option<u32>,
}

/// What fits into the files that the process may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Connections in all.
    pub connections: usize,
    /// Requests at work in all.
    pub requests: usize,
    /// Whether it is less than what would be the default.
    pub is_less: bool,
}

impl EdgeSettings {
    /// How browsers reach the shop, if that is said.
    pub fn public_url(&self) -> Option<&PublicUrl> {
        self.public_url.as_ref().and_then(|url| url.0.as_ref())
    }

    /// Whose word on the caller is believed.
    pub fn trusted_proxies(&self) -> &Networks {
        &self.trusted_proxies
    }

    /// How much one caller may ask a second.
    pub fn rates(&self, is_demo: bool) -> Rates {
        let rate = |set: Option<u32>, otherwise: u32| {
            Some(set.unwrap_or(if is_demo { 0 } else { otherwise })).filter(|rate| *rate > 0)
        };
        Rates {
            reads_per_address: rate(self.reads_per_address, 100),
            writes_per_address: rate(self.writes_per_address, 20),
            reads_per_user: rate(self.reads_per_user, 50),
            writes_per_user: rate(self.writes_per_user, 10),
        }
    }

    /// Requests that may be at work at a time, where files do not bound them.
    pub fn max_requests(&self) -> usize {
        self.max_requests.unwrap_or(MAX_REQUESTS)
    }

    /// Orders of one user that may wait for their payment at a time.
    pub fn max_unpaid_orders(&self, is_demo: bool) -> usize {
        let set = self.max_unpaid_orders.and_then(|OptionalCount(set)| set);
        set.unwrap_or(if is_demo { 1_000 } else { 5 })
    }

    /// Takes no more than what fits into so many open files, and answers that.
    pub fn fit_into(&mut self, files: Option<u64>) -> Result<Room, WrongSetting> {
        let room = self.room(files)?;
        self.max_connections = Some(room.connections);
        self.max_requests = Some(room.requests);
        Ok(room)
    }

    /// What fits into so many open files: each connection takes one, and each request at
    /// work perhaps another, to Restate.
    fn room(&self, files: Option<u64>) -> Result<Room, WrongSetting> {
        let connections = self.max_connections.unwrap_or(MAX_CONNECTIONS);
        let requests = self.max_requests();
        let files = files.map_or(usize::MAX, |files| {
            usize::try_from(files).unwrap_or(usize::MAX)
        });
        let free = files.saturating_sub(OTHER_FILES);
        if connections.saturating_add(requests) <= free {
            return Ok(Room {
                connections,
                requests,
                is_less: false,
            });
        }
        let fits = match (self.max_connections, self.max_requests) {
            (None, None) => Some((free / 3 * 2, free / 3)),
            (None, Some(requests)) => Some((free.saturating_sub(requests), requests)),
            (Some(connections), None) => Some((connections, free.saturating_sub(connections))),
            (Some(_), Some(_)) => None,
        };
        match fits {
            Some((connections, requests)) if connections >= 16 && requests >= 16 => Ok(Room {
                connections,
                requests,
                is_less: true,
            }),
            _ => Err(WrongSetting(format!(
                "MAX_CONNECTIONS={connections} and MAX_REQUESTS={requests} need {} open files and the system allows {files}: raise its limit (`ulimit -n`, in compose `ulimits`) or lower them",
                connections
                    .saturating_add(requests)
                    .saturating_add(OTHER_FILES),
            ))),
        }
    }

    /// What only makes sense together with where the gateway listens.
    pub(super) fn check(&self, is_demo: bool, on_loopback: bool) -> Result<(), WrongSetting> {
        if is_demo {
            return Ok(());
        }
        match self.public_url() {
            None if !on_loopback => Err(WrongSetting("PUBLIC_URL is missing: GATEWAY_LISTEN is not on loopback, so set it to how browsers reach the shop, such as https://shop.example".to_owned())),
            Some(url) if !url.is_https && !url.is_of_this_machine() => Err(WrongSetting(format!(
                "PUBLIC_URL is '{url}': outside demo mode it must begin with https://, because passwords and sessions travel there"
            ))),
            _ => Ok(()),
        }
    }
}

/// How browsers reach the shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    is_https: bool,
    host: String,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct OptionalPublicUrl(Option<PublicUrl>);

impl PublicUrl {
    /// Whether it is over TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Whether this authority (`Host`) is its own: the same name, and the same port, which
    /// may be left out where it is the scheme's.
    pub fn is_at(&self, authority: &str) -> bool {
        let (host, port) = split(authority);
        let usual = if self.is_https { 443 } else { 80 };
        let port = match port {
            None => usual,
            Some(port) => match port.parse() {
                Ok(port) => port,
                Err(_) => return false,
            },
        };
        host.eq_ignore_ascii_case(&self.host) && port == self.port.unwrap_or(usual)
    }

    /// Whether a page of this origin is one of its own.
    pub fn is_origin(&self, origin: &str) -> bool {
        let (scheme, authority) = origin.split_once("://").unwrap_or_default();
        scheme == self.scheme() && self.is_at(authority)
    }

    fn is_of_this_machine(&self) -> bool {
        is_localhost(&self.host) || ip(&self.host).is_some_and(|ip| ip.is_loopback())
    }

    fn scheme(&self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}://{}", self.scheme(), self.host)?;
        match self.port {
            Some(port) => write!(to, ":{port}"),
            None => Ok(()),
        }
    }
}

/// Host and port of an authority; a host in brackets keeps them.
pub fn split(authority: &str) -> (&str, Option<&str>) {
    let after_host = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_host..].rfind(':') {
        Some(colon) => {
            let (host, port) = authority.split_at(after_host + colon);
            (host, Some(&port[1..]))
        }
        None => (authority, None),
    }
}

/// The IP address that a host is, if it is one.
pub fn ip(host: &str) -> Option<IpAddr> {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<std::net::Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// Whether a host is a name that every browser takes for this machine.
pub fn is_localhost(host: &str) -> bool {
    let is_name =
        |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_' | b'.');
    let host = host.to_ascii_lowercase();
    host.bytes().all(is_name) && (host == "localhost" || host.ends_with(".localhost"))
}

fn public_url(raw: &str) -> Result<OptionalPublicUrl, String> {
    if raw.trim().is_empty() {
        return Ok(OptionalPublicUrl(None));
    }
    let url = http_url(raw)?;
    let is_bare = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    match url.host_str() {
        Some(host) if is_bare => Ok(OptionalPublicUrl(Some(PublicUrl {
            is_https: url.scheme() == "https",
            host: host.to_owned(),
            port: url.port(),
        }))),
        _ => Err(
            "it must be a scheme and a host with nothing behind them, such as https://shop.example"
                .to_owned(),
        ),
    }
}

/// Some addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether this address is one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn networks(raw: &str) -> Result<Networks, String> {
    let parts = raw
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let network = |part: &str| {
        part.parse::<IpNet>()
            .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| {
                "it must be IP addresses or networks with commas, such as 127.0.0.1,10.0.0.0/8"
                    .to_owned()
            })
    };
    parts.map(network).collect::<Result<_, _>>().map(Networks)
}

/// A number that may be set to nothing, as compose files do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OptionalCount(Option<usize>);

fn optional_count(raw: &str) -> Result<OptionalCount, String> {
    if raw.trim().is_empty() {
        return Ok(OptionalCount(None));
    }
    count(raw).map(|number| OptionalCount(Some(number)))
}

fn count(raw: &str) -> Result<usize, String> {
    let number = raw.parse().ok();
    number
        .filter(|number| (1..=1_000_000).contains(number))
        .ok_or_else(|| "it must be a number from 1 to 1000000".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};
    use process::settings::one_sentence;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        edge: EdgeSettings,
    }

    fn parse(arguments: &[&str]) -> Result<EdgeSettings, String> {
        Line::try_parse_from([&["gateway"], arguments].concat())
            .map(|line| line.edge)
            .map_err(|error| one_sentence(&error, &Line::command()).unwrap())
    }

    fn shop(url: &str) -> PublicUrl {
        let settings = parse(&["--public-url", url]).unwrap();
        settings.public_url().unwrap().clone()
    }

    #[test]
    fn a_public_url_is_one_host() {
        let https = shop("https://Shop.Example/");
        assert!(https.is_https());
        for own in ["shop.example", "SHOP.example", "shop.example:443"] {
            assert!(https.is_at(own), "{own}");
        }
        for other in [
            "shop.example:80",
            "shop.example:",
            "shop.example.evil.example",
            "evil.example",
            "",
        ] {
            assert!(!https.is_at(other), "{other}");
        }
        assert!(https.is_origin("https://shop.example"));
        assert!(!https.is_origin("http://shop.example"));
        assert!(!https.is_origin("null"));
        let odd = shop("http://[::1]:8080");
        assert!(odd.is_at("[::1]:8080") && !odd.is_at("[::1]"));
        for wrong in ["https://a/shop", "https://user@a", "ftp://a", "shop"] {
            let said = parse(&["--public-url", wrong]).unwrap_err();
            assert!(said.starts_with("PUBLIC_URL is '"), "{said}");
        }
        assert!(parse(&["--public-url", ""]).unwrap().public_url().is_none());
    }

    #[test]
    fn outside_a_demo_the_shop_has_a_name_and_tls() {
        let said = |arguments: &[&str], on_loopback| {
            let checked = parse(arguments).unwrap().check(false, on_loopback);
            checked.err().map(|wrong| wrong.0).unwrap_or_default()
        };
        assert!(said(&[], false).starts_with("PUBLIC_URL is missing"));
        assert_eq!(said(&[], true), "");
        assert_eq!(said(&["--public-url", "https://shop.example"], false), "");
        let plain = ["--public-url", "http://shop.example"];
        assert!(said(&plain, true).starts_with("PUBLIC_URL is 'http://shop.example'"));
        assert_eq!(said(&["--public-url", "http://localhost:8080"], true), "");
        assert_eq!(parse(&plain).unwrap().check(true, false), Ok(()));
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        let proxies = parse(&["--trusted-proxies", "127.0.0.1, 10.0.0.0/8,fd00::/8"]).unwrap();
        let contains = |text: &str| proxies.trusted_proxies().contain(text.parse().unwrap());
        assert!(contains("127.0.0.1") && contains("10.1.2.3") && contains("fd00::1"));
        assert!(contains("::ffff:10.0.0.1"));
        assert!(!contains("127.0.0.2") && !contains("11.0.0.1"));
        assert!(parse(&["--trusted-proxies", "proxy"]).is_err());
        assert!(parse(&[]).unwrap().trusted_proxies().is_empty());
    }

    #[test]
    fn the_room_is_what_the_files_allow() {
        let room = |arguments: &[&str], files| parse(arguments).unwrap().room(Some(files));
        let all = room(&[], 1_048_576).unwrap();
        assert_eq!((all.connections, all.requests), (8_192, 1_024));
        assert!(!all.is_less);
        let less = room(&[], 1_024).unwrap();
        assert!(less.is_less && less.connections + less.requests + OTHER_FILES <= 1_024);
        assert!(less.connections > 500, "{less:?}");
        let by_hand = ["--max-connections", "5000", "--max-requests", "100"];
        let said = room(&by_hand, 1_024).unwrap_err().0;
        assert!(said.contains("5228 open files"), "{said}");
        assert!(room(&["--max-connections", "5000"], 1_024).is_err());
        assert!(room(&by_hand, 6_000).is_ok());
    }

    #[test]
    fn a_demo_asks_as_it_likes() {
        let settings = parse(&["--writes-per-user", "3"]).unwrap();
        assert_eq!(settings.rates(true).reads_per_address, None);
        assert_eq!(settings.rates(true).writes_per_user, Some(3));
        assert_eq!(settings.rates(false).reads_per_address, Some(100));
        let unpaid = |set| {
            let settings = parse(&["--max-unpaid-orders", set]).unwrap();
            (
                settings.max_unpaid_orders(false),
                settings.max_unpaid_orders(true),
            )
        };
        assert_eq!(unpaid(""), (5, 1_000));
        assert_eq!(unpaid("3"), (3, 3));
        let none = parse(&["--reads-per-user", "0"]).unwrap();
        assert_eq!(none.rates(false).reads_per_user, None);
    }

    #[test]
    fn fuzz_edge_settings() {
        use proptest::prelude::*;
        let samples = [
            "https://shop.example",
            "http://localhost:8080/",
            "127.0.0.1,10.0.0.0/8",
            "::1",
            "1000000",
            "",
        ];
        fuzz::check(
            "gateway: settings of the edge",
            &fuzz::input::mistaken(&samples, 3),
            |raw| {
                match public_url(&raw) {
                    Ok(OptionalPublicUrl(Some(url))) => {
                        // What is served is one host, and written again it is the same.
                        let again = public_url(&url.to_string());
                        prop_assert_eq!(again, Ok(OptionalPublicUrl(Some(url))));
                    }
                    Ok(OptionalPublicUrl(None)) => prop_assert!(raw.trim().is_empty()),
                    Err(said) => prop_assert!(said.starts_with("it must"), "{said}"),
                }
                match networks(&raw) {
                    Ok(networks) => prop_assert!(
                        networks.0.is_empty()
                            || raw
                                .contains(|letter: char| letter.is_ascii_digit() || letter == ':')
                    ),
                    Err(said) => prop_assert!(said.contains("IP addresses"), "{said}"),
                }
                match optional_count(&raw) {
                    Ok(OptionalCount(Some(number))) => {
                        prop_assert!((1..=1_000_000).contains(&number));
                    }
                    Ok(OptionalCount(None)) => prop_assert!(raw.trim().is_empty()),
                    Err(said) => prop_assert!(said.contains("1 to 1000000"), "{said}"),
                }
                Ok(())
            },
        );
    }
}
