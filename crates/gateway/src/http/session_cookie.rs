//! The cookie that a session travels in.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

const NAME: &str = "waybill_session";

/// The session that a request brings, genuine or not.
pub fn of(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
}

/// A `Set-Cookie` that brings a session. `session` is visible ASCII.
pub fn begin(session: &str, lifetime: Duration, secure: bool) -> HeaderValue {
    set(session, lifetime.as_secs(), secure)
}

/// A `Set-Cookie` that ends it.
pub fn end(secure: bool) -> HeaderValue {
    set("", 0, secure)
}

/// Whether the session cookie must travel over TLS only: everywhere but on
/// this machine, where a demo has no certificate.
pub fn needs_tls(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let local = name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    !local
}

fn set(value: &str, max_age: u64, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::try_from(format!(
        "{NAME}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}"
    ))
    .expect("numbers and hex are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_among_others() {
        let value = HeaderValue::from_static("theme=dark; waybill_session=a.1.b.c");
        let headers = HeaderMap::from_iter([(header::COOKIE, value)]);
        assert_eq!(of(&headers), Some("a.1.b.c"));
    }

    #[test]
    fn scripts_and_other_sites_do_not_get_it() {
        let cookie = begin("a1b2", Duration::from_mins(1), true);
        for attribute in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
            assert!(cookie.to_str().unwrap().contains(attribute), "{cookie:?}");
        }
    }

    #[test]
    fn only_this_machine_goes_without_tls() {
        let tls = |host: &'static str| {
            needs_tls(&HeaderMap::from_iter([(
                header::HOST,
                HeaderValue::from_static(host),
            )]))
        };
        assert!(!tls("localhost:8080"));
        assert!(!tls("127.0.0.1:8080"));
        assert!(!tls("[::1]:8080"));
        assert!(tls("shop.example"));
        assert!(tls("localhost.evil.example"));
        assert!(needs_tls(&HeaderMap::new()));
    }
}
