//! By which names this gateway is reached.
//!
//! A web page may call any name its own and let it lead to an address of ours (DNS
//! rebinding); the browser then takes us for that page's own server. So only names
//! that nobody else can have are served: the shop's public one, or, as long as it has
//! none, IP addresses and localhost.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};

use super::Purpose;
use crate::http::client::Client;
use crate::http::problem::Problem;
use crate::settings::edge::{PublicUrl, ip, is_localhost, split};

/// Whether the request asks for a host that is served.
pub(super) fn check(
    request: &Request,
    client: &Client,
    public_url: Option<&PublicUrl>,
    purpose: Purpose,
) -> Result<(), Problem> {
    let said = host_of(request)?;
    // A proxy may put its own name for us in the place of the host. Any other host is
    // refused whatever the proxy tells: pages may send that header, too.
    let is_inner = is_own(said) || is_one_word(said);
    let is_served = match (public_url, client.host.as_deref()) {
        _ if purpose != Purpose::Shop && is_inner => true,
        (Some(url), None) => url.is_at(said),
        (Some(url), Some(told)) => url.is_at(told) && (is_inner || url.is_at(said)),
        (None, told) => is_own(said) && told.is_none_or(is_own),
    };
    if is_served {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "wrong_host",
        "Wrong host",
        match public_url {
            Some(url) => format!("this is not the host that was asked for: the shop is at {url}"),
            None => "by this name nothing is served: use an IP address or localhost, or let the operator set PUBLIC_URL".to_owned(),
        },
    ))
}

/// The one host that a request names: in its `Host`, or in its address (HTTP/2).
fn host_of(request: &Request) -> Result<&str, Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let named = hosts.next();
    if hosts.next().is_some() {
        return Err(bad_host("two Host headers came: send one"));
    }
    let named = named
        .map(|host| {
            host.to_str()
                .map_err(|_| bad_host("the Host header is no host"))
        })
        .transpose()?;
    let authority = request.uri().authority().map(Authority::as_str);
    match (named, authority) {
        (Some(named), Some(authority)) if !named.eq_ignore_ascii_case(authority) => Err(bad_host(
            "the Host header and the address name two hosts: send one",
        )),
        (_, Some(host)) | (Some(host), None) if !host.is_empty() => Ok(host),
        _ => Err(bad_host("the Host header is missing: send it")),
    }
}

fn bad_host(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_host", "Bad host", detail)
}

/// An IP address or localhost, at any port.
fn is_own(authority: &str) -> bool {
    let (host, port) = split(authority);
    port.is_none_or(|port| port.parse::<u16>().is_ok())
        && (is_localhost(host) || ip(host).is_some())
}

/// A private network calls machines by one word, which is no name in the DNS of all:
/// `gateway` in compose.
fn is_one_word(authority: &str) -> bool {
    let (host, _) = split(authority);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !host.is_empty() && host.bytes().all(is_word)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use clap::Parser;
    use process::http::Peer;

    use super::*;
    use crate::http::client::look;
    use crate::settings::edge::EdgeSettings;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        edge: EdgeSettings,
    }

    fn status(settings: &[&str], purpose: Purpose, headers: &[(&str, &str)], uri: &str) -> u16 {
        let edge = Line::parse_from([&["gateway"], settings].concat()).edge;
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let peer = Peer("10.0.0.1:1".parse().unwrap());
        let client = look(peer, request.headers(), edge.trusted_proxies());
        check(&request, &client, edge.public_url(), purpose)
            .map_or_else(|problem| problem.status.as_u16(), |()| 200)
    }

    fn at(settings: &[&str], purpose: Purpose, host: &str) -> u16 {
        status(settings, purpose, &[("host", host)], "/")
    }

    #[test]
    fn without_a_public_url_only_addresses_and_localhost() {
        for own in [
            "127.0.0.1:8080",
            "localhost",
            "a.localhost:80",
            "[::1]:8080",
            "192.0.2.1",
        ] {
            assert_eq!(at(&[], Purpose::Shop, own), 200, "{own}");
        }
        for other in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80@evil.example",
            "127.1",
            "gateway:8080",
            "localhost:x",
            "[::1].evil.example",
        ] {
            assert_eq!(at(&[], Purpose::Shop, other), 421, "{other}");
        }
        assert_eq!(at(&[], Purpose::Webhook, "gateway:8080"), 200);
        assert_eq!(at(&[], Purpose::Webhook, "evil.example"), 421);
    }

    #[test]
    fn with_a_public_url_only_that() {
        let shop = [
            "--public-url",
            "https://shop.example",
            "--trusted-proxies",
            "10.0.0.0/8",
        ];
        assert_eq!(at(&shop, Purpose::Shop, "shop.example"), 200);
        for other in [
            "127.0.0.1:8080",
            "localhost",
            "evil.example",
            "shop.example:8080",
        ] {
            assert_eq!(at(&shop, Purpose::Shop, other), 421, "{other}");
        }
        assert_eq!(at(&shop, Purpose::Probe, "127.0.0.1:8080"), 200);
        assert_eq!(at(&shop, Purpose::Probe, "evil.example"), 421);
        let rewritten = [
            ("host", "10.0.0.2:8080"),
            ("x-forwarded-host", "shop.example"),
        ];
        assert_eq!(status(&shop, Purpose::Shop, &rewritten, "/"), 200);
        assert_eq!(status(&shop[..2], Purpose::Shop, &rewritten, "/"), 421);
        // A page on a machine that a proxy of ours is on, too.
        let told = ("x-forwarded-host", "shop.example");
        let page = [("host", "evil.example"), told];
        assert_eq!(status(&shop, Purpose::Shop, &page, "/"), 421);
        let page = [("host", "evil.example"), ("x-forwarded-host", "localhost")];
        assert_eq!(status(&shop[2..], Purpose::Shop, &page, "/"), 421);
        let through = [("host", "10.0.0.2"), ("x-forwarded-host", "evil.example")];
        assert_eq!(status(&shop[2..], Purpose::Shop, &through, "/"), 421);
    }

    #[test]
    fn one_host_is_named_and_not_two() {
        let status = |headers: &[(&str, &str)], uri: &str| status(&[], Purpose::Shop, headers, uri);
        assert_eq!(status(&[], "/"), 400);
        assert_eq!(status(&[("host", "")], "/"), 400);
        assert_eq!(
            status(&[("host", "localhost"), ("host", "localhost")], "/"),
            400
        );
        assert_eq!(
            status(&[("host", "localhost")], "http://evil.example/"),
            400
        );
        assert_eq!(status(&[], "http://localhost/"), 200);
        assert_eq!(status(&[], "http://evil.example/"), 421);
    }
}
