//! Who is at the other end: the socket's peer, or, where that is a trusted proxy,
//! whom the proxy speaks for.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use process::http::{Peer, caller_of};

use crate::settings::edge::Networks;

/// The address that a request comes from: an extension of every request.
/// [`ClientAddress::caller`] is what limits count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress {
    /// As the socket or the proxy says it.
    pub address: IpAddr,
    /// Whether it is the socket's own, and not told by a proxy.
    is_direct: bool,
}

impl ClientAddress {
    /// One caller: an IPv4 address, or the /64 of an IPv6 address.
    pub fn caller(self) -> IpAddr {
        caller_of(self.address)
    }

    /// Whether it is this machine itself, with no proxy between.
    pub fn is_this_machine(self) -> bool {
        self.is_direct && self.address.is_loopback()
    }

    /// What a proxy tells.
    pub fn told(address: IpAddr) -> Self {
        Self {
            address: address.to_canonical(),
            is_direct: false,
        }
    }

    /// This gateway, which asks itself.
    pub const OURSELVES: Self = Self {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_direct: true,
    };
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(of(&parts.extensions).unwrap_or(Self::OURSELVES))
    }
}

/// The address of whoever has sent a request over the network; `None` where this
/// gateway asks itself.
pub fn of(extensions: &Extensions) -> Option<ClientAddress> {
    extensions.get().copied()
}

/// What is known of the other end, and of how it has reached us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Where it is.
    pub address: ClientAddress,
    /// The host that it has asked for, when a trusted proxy says so.
    pub host: Option<String>,
    /// Whether it came over TLS, when a trusted proxy says so.
    pub is_https: Option<bool>,
}

/// Looks at the peer and, where it is trusted, at what it says: the caller is the
/// last address in `X-Forwarded-For` that is no trusted proxy itself.
pub fn look(peer: Peer, headers: &HeaderMap, trusted: &Networks) -> Client {
    let peer = peer.0.ip().to_canonical();
    if !trusted.contain(peer) {
        return Client {
            address: ClientAddress {
                address: peer,
                is_direct: true,
            },
            host: None,
            is_https: None,
        };
    }
    let mut address = peer;
    let said = list(headers, "x-forwarded-for");
    for hop in said.iter().rev() {
        // What is no address was not written by a proxy of ours.
        let Some(hop) = parse(hop) else { break };
        address = hop;
        if !trusted.contain(hop) {
            break;
        }
    }
    let last = |name| list(headers, name).pop();
    Client {
        address: ClientAddress {
            address,
            is_direct: !headers.contains_key("x-forwarded-for"),
        },
        host: last("x-forwarded-host"),
        is_https: last("x-forwarded-proto").map(|proto| proto.eq_ignore_ascii_case("https")),
    }
}

/// The parts of a list, also of one that holds other bytes than text: what stands beside
/// them is not lost.
fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    let parts = headers.get_all(name).iter().flat_map(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(|part| String::from_utf8_lossy(part.trim_ascii()).into_owned())
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// An address, with or without a port.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().ok();
    let address = address.or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|it| it.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use clap::Parser;

    use super::*;
    use crate::settings::edge::EdgeSettings;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        edge: EdgeSettings,
    }

    fn seen(peer: &str, headers: &[(&'static str, &'static str)]) -> Client {
        let line = Line::parse_from(["gateway", "--trusted-proxies", "127.0.0.1,10.0.0.0/8"]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let peer = Peer(format!("{peer}:1234").parse().unwrap());
        look(peer, &map, line.edge.trusted_proxies())
    }

    fn address(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        seen(peer, headers).address.address.to_string()
    }

    #[test]
    fn only_proxies_of_ours_are_believed() {
        let said = [("x-forwarded-for", "192.0.2.7")];
        assert_eq!(address("198.51.100.1", &said), "198.51.100.1");
        assert_eq!(address("127.0.0.1", &said), "192.0.2.7");
        assert!(!seen("127.0.0.1", &said).address.is_this_machine());
        assert_eq!(address("127.0.0.1", &[]), "127.0.0.1");
        assert!(seen("127.0.0.1", &[]).address.is_this_machine());
    }

    #[test]
    fn the_last_that_is_no_proxy_counts_and_the_rest_is_made_up() {
        for (said, is) in [
            ("1.1.1.1, 192.0.2.7, 10.0.0.5", "192.0.2.7"),
            ("192.0.2.7:4711", "192.0.2.7"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("garbage, 10.0.0.5", "10.0.0.5"),
            ("10.0.0.9, 10.0.0.5", "10.0.0.9"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(address("10.0.0.1", &[("x-forwarded-for", said)]), is);
        }
        // A second header is behind the first.
        let two = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "192.0.2.7"),
        ];
        assert_eq!(address("10.0.0.1", &two), "192.0.2.7");
    }

    #[test]
    fn host_and_scheme_come_the_same_way() {
        let said = [
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-proto", "HTTPS"),
        ];
        let through = seen("10.0.0.1", &said);
        assert_eq!(through.host.as_deref(), Some("shop.example"));
        assert_eq!(through.is_https, Some(true));
        let direct = seen("192.0.2.1", &said);
        assert_eq!((direct.host, direct.is_https), (None, None));
    }

    #[test]
    fn bytes_that_are_no_text_hide_nobody() {
        let line = Line::parse_from(["gateway", "--trusted-proxies", "127.0.0.1"]);
        let peer = Peer("127.0.0.1:1234".parse().unwrap());
        let look_at = |said: &[u8]| {
            let value = HeaderValue::from_bytes(said).unwrap();
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static("x-forwarded-for"), value)]);
            look(peer, &headers, line.edge.trusted_proxies()).address
        };
        let behind = look_at(b"\xff, 192.0.2.7");
        assert_eq!(behind.address.to_string(), "192.0.2.7");
        for said in [&b"\xff"[..], b"\xff, 192.0.2.7", b"", b","] {
            assert!(!look_at(said).is_this_machine(), "{said:?}");
        }
    }

    #[test]
    fn fuzz_forwarded() {
        use proptest::prelude::*;
        let samples = [
            "192.0.2.1",
            "[2001:db8::1]:443",
            "10.0.0.1:80",
            "::ffff:10.0.0.1",
        ];
        fuzz::check(
            "gateway: an address of X-Forwarded-For",
            &fuzz::input::mistaken(&samples, 3),
            |hop| {
                if let Some(address) = parse(&hop) {
                    // It is said in the text, and once only: read again it is the same.
                    prop_assert_eq!(address, address.to_canonical());
                    prop_assert_eq!(parse(&address.to_string()), Some(address));
                    let is_plain = hop
                        .bytes()
                        .all(|byte| byte.is_ascii_hexdigit() || b".:[]%".contains(&byte));
                    prop_assert!(is_plain, "{hop:?} is taken for {address}");
                }
                Ok(())
            },
        );
    }
}
