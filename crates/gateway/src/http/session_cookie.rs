//! The cookie that a session travels in, and the one of a sign-in that has begun: their
//! names and flags.
//!
//! Where the shop has a public address with TLS, its name begins with `__Host-`:
//! browsers take such a cookie only over TLS, for this host alone and for all of
//! it, so no other site below the same domain can slip one in.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};

use crate::settings::edge::{PublicUrl, ip, is_localhost, split};

const NAME: &str = "waybill_session";
const NAME_WITH_TLS: &str = "__Host-waybill_session";
/// Of a sign-in that has begun at an identity provider.
const SIGN_IN: &str = "waybill_sign_in";
const SIGN_IN_WITH_TLS: &str = "__Host-waybill_sign_in";
/// Of a sign-in that a code is missing to.
const HALF: &str = "waybill_half";
const HALF_WITH_TLS: &str = "__Host-waybill_half";
/// Of a second factor that is being set up.
const SET_UP: &str = "waybill_set_up";
const SET_UP_WITH_TLS: &str = "__Host-waybill_set_up";

/// How a session's cookie is called and sent: an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCookie {
    name: &'static str,
    is_secure: bool,
}

impl SessionCookie {
    /// At the shop's public address; without one, by what is known of the request: with
    /// `Secure` where a trusted proxy speaks of TLS, and everywhere but on this
    /// machine, where a demo has no certificate.
    pub fn at(public_url: Option<&PublicUrl>, headers: &HeaderMap, is_https: Option<bool>) -> Self {
        let Some(url) = public_url else {
            return Self {
                name: NAME,
                is_secure: is_https == Some(true) || !is_asked_on_this_machine(headers),
            };
        };
        Self {
            name: name(Some(url)),
            is_secure: url.is_https(),
        }
    }

    /// A `Set-Cookie` that brings a session. `session` is visible ASCII.
    pub fn begin(self, session: &str, lifetime: Duration) -> HeaderValue {
        self.set(self.name, session, lifetime.as_secs())
    }

    /// A `Set-Cookie` that keeps a sign-in that has begun. `kept` is visible ASCII without
    /// `;`. The browser sends it also when another site leads it back here (`Lax`).
    pub fn begin_sign_in(self, kept: &str, lifetime: Duration) -> HeaderValue {
        self.set(self.sign_in(), kept, lifetime.as_secs())
    }

    /// A `Set-Cookie` that forgets it.
    pub fn end_sign_in(self) -> HeaderValue {
        self.set(self.sign_in(), "", 0)
    }

    /// A `Set-Cookie` that keeps that a password was shown.
    pub fn begin_half(self, kept: &str, lifetime: Duration) -> HeaderValue {
        self.set(self.of(HALF, HALF_WITH_TLS), kept, lifetime.as_secs())
    }

    /// A `Set-Cookie` that forgets it.
    pub fn end_half(self) -> HeaderValue {
        self.set(self.of(HALF, HALF_WITH_TLS), "", 0)
    }

    /// A `Set-Cookie` that keeps a second factor that is being set up.
    pub fn begin_set_up(self, kept: &str, lifetime: Duration) -> HeaderValue {
        self.set(self.of(SET_UP, SET_UP_WITH_TLS), kept, lifetime.as_secs())
    }

    /// A `Set-Cookie` that forgets it.
    pub fn end_set_up(self) -> HeaderValue {
        self.set(self.of(SET_UP, SET_UP_WITH_TLS), "", 0)
    }

    fn of(self, name: &'static str, with_tls: &'static str) -> &'static str {
        if self.name == NAME_WITH_TLS {
            with_tls
        } else {
            name
        }
    }

    fn sign_in(self) -> &'static str {
        self.of(SIGN_IN, SIGN_IN_WITH_TLS)
    }

    /// A `Set-Cookie` that ends it.
    pub fn end(self) -> HeaderValue {
        self.set(self.name, "", 0)
    }

    fn set(self, name: &str, value: &str, max_age: u64) -> HeaderValue {
        let secure = if self.is_secure { "; Secure" } else { "" };
        HeaderValue::try_from(format!(
            "{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}"
        ))
        .expect("what cookies hold is visible ASCII")
    }
}

impl<S: Sync> FromRequestParts<S> for SessionCookie {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get().copied();
        Ok(known.unwrap_or_else(|| Self::at(None, &parts.headers, None)))
    }
}

/// The session that a request brings to this address, genuine or not. Of two
/// that differ one was slipped in, and nobody can tell which: then there is none.
pub fn of<'a>(headers: &'a HeaderMap, public_url: Option<&PublicUrl>) -> Option<&'a str> {
    only(headers, name(public_url))
}

/// The sign-in that a browser has begun, genuine or not.
pub fn sign_in_of<'a>(headers: &'a HeaderMap, public_url: Option<&PublicUrl>) -> Option<&'a str> {
    only(headers, at(public_url, SIGN_IN, SIGN_IN_WITH_TLS))
}

/// That a browser has shown a password, genuine or not.
pub fn half_of<'a>(headers: &'a HeaderMap, public_url: Option<&PublicUrl>) -> Option<&'a str> {
    only(headers, at(public_url, HALF, HALF_WITH_TLS))
}

/// The second factor that a browser sets up, genuine or not.
pub fn set_up_of<'a>(headers: &'a HeaderMap, public_url: Option<&PublicUrl>) -> Option<&'a str> {
    only(headers, at(public_url, SET_UP, SET_UP_WITH_TLS))
}

fn at(public_url: Option<&PublicUrl>, name: &'static str, with_tls: &'static str) -> &'static str {
    match public_url {
        Some(url) if url.is_https() => with_tls,
        _ => name,
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &'a str) -> Option<&'a str> {
    let mut found = named(headers, name);
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// Whether a request brings a session cookie of any name, valid or not.
pub fn is_sent(headers: &HeaderMap) -> bool {
    [
        NAME,
        NAME_WITH_TLS,
        HALF,
        HALF_WITH_TLS,
        SET_UP,
        SET_UP_WITH_TLS,
    ]
    .iter()
    .any(|name| named(headers, name).next().is_some())
}

fn name(public_url: Option<&PublicUrl>) -> &'static str {
    match public_url {
        Some(url) if url.is_https() => NAME_WITH_TLS,
        _ => NAME,
    }
}

fn named<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(move |pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn is_asked_on_this_machine(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (host, _) = split(host);
    is_localhost(host) || ip(host).is_some_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::settings::edge::EdgeSettings;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        edge: EdgeSettings,
    }

    fn edge(url: &str) -> EdgeSettings {
        Line::parse_from(["gateway", "--public-url", url]).edge
    }

    fn headers(cookies: &[&'static str]) -> HeaderMap {
        cookies
            .iter()
            .map(|cookie| (header::COOKIE, HeaderValue::from_static(cookie)))
            .collect()
    }

    #[test]
    fn it_is_found_among_others() {
        let sent = headers(&["theme=dark; waybill_session=a.1.b.c"]);
        assert_eq!(of(&sent, None), Some("a.1.b.c"));
        assert!(is_sent(&sent));
        assert!(!is_sent(&headers(&["theme=dark"])));
    }

    #[test]
    fn a_second_one_never_wins() {
        for both in [
            &["waybill_session=mine; waybill_session=tossed"][..],
            &["waybill_session=tossed; waybill_session=mine"],
            &["waybill_session=mine", "waybill_session=tossed"],
            &["waybill_session=; waybill_session=mine"],
        ] {
            assert_eq!(of(&headers(both), None), None, "{both:?}");
        }
        let same = headers(&["waybill_session=mine; waybill_session=mine"]);
        assert_eq!(of(&same, None), Some("mine"));
    }

    #[test]
    fn with_tls_only_the_name_that_cannot_be_slipped_in_counts() {
        let edge = edge("https://shop.example");
        let url = edge.public_url();
        let plain = headers(&["waybill_session=tossed"]);
        assert_eq!(of(&plain, url), None);
        let both = headers(&["waybill_session=tossed; __Host-waybill_session=mine"]);
        assert_eq!(of(&both, url), Some("mine"));
        let cookie =
            SessionCookie::at(url, &HeaderMap::new(), None).begin("s", Duration::from_mins(1));
        assert_eq!(
            cookie,
            "__Host-waybill_session=s; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
    }

    #[test]
    fn a_sign_in_that_has_begun_is_kept_apart() {
        let edge = edge("https://shop.example");
        let url = edge.public_url();
        let cookie = SessionCookie::at(url, &HeaderMap::new(), None);
        assert_eq!(
            cookie.begin_sign_in("mac.state=1", Duration::from_mins(10)),
            "__Host-waybill_sign_in=mac.state=1; Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            cookie.end_sign_in(),
            "__Host-waybill_sign_in=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
        );
        let sent = headers(&["__Host-waybill_sign_in=mac.state=1; __Host-waybill_session=s"]);
        assert_eq!(sign_in_of(&sent, url), Some("mac.state=1"));
        assert_eq!(of(&sent, url), Some("s"));
        assert_eq!(sign_in_of(&sent, None), None);
        let both = headers(&["waybill_sign_in=mine; waybill_sign_in=tossed"]);
        assert_eq!(sign_in_of(&both, None), None);
    }

    #[test]
    fn only_this_machine_goes_without_tls() {
        let secure = |host: &'static str, is_https| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            SessionCookie::at(None, &headers, is_https).is_secure
        };
        assert!(!secure("localhost:8080", None));
        assert!(!secure("127.0.0.1:8080", None));
        assert!(!secure("[::1]:8080", None));
        assert!(secure("192.0.2.1", None));
        assert!(secure("shop.example", None));
        assert!(secure("localhost.evil.example", None));
        assert!(secure("127.0.0.1:8080", Some(true)));
        let plain = edge("http://localhost:8080");
        let cookie = SessionCookie::at(plain.public_url(), &HeaderMap::new(), None);
        assert!(!cookie.is_secure && cookie.name == NAME);
    }
}
