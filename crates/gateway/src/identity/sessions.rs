//! The session cookie, `{user}.{expires}.{binding}.{mac}`: who, until when,
//! bound to the user's password, and signed. Nothing is kept on our side, so
//! every gateway accepts it, and a changed password or key ends every session
//! made before.

use axum::http::{HeaderMap, HeaderValue, header};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use waybill_domain::Timestamp;
use waybill_domain::ids::Username;

const NAME: &str = "waybill_session";
/// How long a session lasts, in seconds.
const LIFETIME: i64 = 12 * 60 * 60;

/// Makes and reads session cookies.
pub struct Sessions {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions(…)")
    }
}

/// What a genuine cookie says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose session.
    pub user: Username,
    binding: String,
}

impl Claim {
    /// Whether the session was made with the password the user has now.
    pub fn is_bound_to(&self, password_hash: Option<&str>) -> bool {
        self.binding == binding(password_hash)
    }
}

/// The raw session cookie of a request, valid or not.
pub fn cookie_of(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
}

impl Sessions {
    /// Sessions signed with `secret`.
    pub fn new(secret: &str) -> Self {
        let mac = Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        Self { mac }
    }

    /// What the request's cookie says, if it is genuine and has not expired.
    pub fn claim(&self, headers: &HeaderMap, now: Timestamp) -> Option<Claim> {
        let (claim, mac) = cookie_of(headers)?.rsplit_once('.')?;
        self.mac_of(claim)
            .verify_slice(&hex::decode(mac).ok()?)
            .ok()?;
        let mut parts = claim.split('.');
        let (user, expires, binding) = (parts.next()?, parts.next()?, parts.next()?);
        let expires: i64 = expires.parse().ok()?;
        (now.as_second() < expires).then_some(Claim {
            user: Username::parse(user).ok()?,
            binding: binding.to_owned(),
        })
    }

    /// A `Set-Cookie` that begins a session.
    pub fn begin(
        &self,
        user: &Username,
        password_hash: Option<&str>,
        now: Timestamp,
        secure: bool,
    ) -> HeaderValue {
        let expires = now.as_second() + LIFETIME;
        let claim = format!("{user}.{expires}.{}", binding(password_hash));
        let mac = hex::encode(self.mac_of(&claim).finalize().into_bytes());
        set_cookie(&format!("{claim}.{mac}"), LIFETIME, secure)
    }

    /// A `Set-Cookie` that ends the session.
    pub fn end(secure: bool) -> HeaderValue {
        set_cookie("", 0, secure)
    }

    fn mac_of(&self, claim: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(claim.as_bytes());
        mac
    }
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

fn set_cookie(value: &str, max_age: i64, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::try_from(format!(
        "{NAME}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}"
    ))
    .expect("user names, numbers and hex are visible ASCII")
}

fn binding(password_hash: Option<&str>) -> String {
    let digest = Sha256::digest(password_hash.unwrap_or_default());
    hex::encode(&digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sessions() -> Sessions {
        Sessions::new("0123456789abcdef0123456789abcdef")
    }

    fn begun() -> String {
        let alice = Username::parse("alice").unwrap();
        let cookie = sessions().begin(&alice, Some("hash"), at(NOW), true);
        cookie.to_str().unwrap().to_owned()
    }

    fn sent(cookie: &str) -> HeaderMap {
        let pair = cookie.split(';').next().unwrap();
        let value = HeaderValue::from_str(&format!("theme=dark; {pair}")).unwrap();
        HeaderMap::from_iter([(header::COOKIE, value)])
    }

    #[test]
    fn a_session_comes_back_until_it_expires() {
        let headers = sent(&begun());
        let claim = sessions().claim(&headers, at(NOW + 1)).unwrap();
        assert_eq!(claim.user.as_str(), "alice");
        assert_eq!(sessions().claim(&headers, at(NOW + LIFETIME)), None);
    }

    #[test]
    fn it_ends_with_the_password_and_with_the_key() {
        let headers = sent(&begun());
        let claim = sessions().claim(&headers, at(NOW)).unwrap();
        assert!(claim.is_bound_to(Some("hash")));
        assert!(!claim.is_bound_to(Some("changed")));
        assert_eq!(Sessions::new("another").claim(&headers, at(NOW)), None);
    }

    #[test]
    fn it_cannot_be_edited() {
        let genuine = begun();
        for edited in [
            genuine.replace("alice", "admin"),
            genuine.replace(&(NOW + LIFETIME).to_string(), "9999999999"),
            format!("{NAME}=alice.9999999999.x."),
            format!("{NAME}=garbage"),
            format!("{NAME}="),
        ] {
            assert_ne!(edited, genuine);
            assert_eq!(sessions().claim(&sent(&edited), at(NOW)), None, "{edited}");
        }
    }

    #[test]
    fn scripts_and_other_sites_do_not_get_it() {
        let cookie = begun();
        for attribute in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
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
