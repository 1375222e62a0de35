//! Sessions, `{user}.{expires}.{binding}.{mac}`: who, until when, bound to the
//! user's password, and signed. Nothing is kept on our side, so every gateway
//! accepts one, and a changed password or key ends every session made before.
//! It travels in a cookie ([`crate::http::session_cookie`]).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use waybill_domain::Timestamp;
use waybill_domain::ids::Username;

/// How long a session lasts, in seconds.
pub const LIFETIME: i64 = 12 * 60 * 60;

/// Makes and reads sessions.
pub struct Sessions {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions(…)")
    }
}

/// What a genuine session says.
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

impl Sessions {
    /// Sessions signed with `secret`.
    pub fn new(secret: &str) -> Self {
        let mac = Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        Self { mac }
    }

    /// What a session says, if it is genuine and has not expired.
    pub fn claim(&self, session: &str, now: Timestamp) -> Option<Claim> {
        let (claim, mac) = session.rsplit_once('.')?;
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

    /// A new session.
    pub fn begin(&self, user: &Username, password_hash: Option<&str>, now: Timestamp) -> String {
        let expires = now.as_second() + LIFETIME;
        let claim = format!("{user}.{expires}.{}", binding(password_hash));
        let mac = hex::encode(self.mac_of(&claim).finalize().into_bytes());
        format!("{claim}.{mac}")
    }

    fn mac_of(&self, claim: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(claim.as_bytes());
        mac
    }
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
        sessions().begin(&alice, Some("hash"), at(NOW))
    }

    #[test]
    fn a_session_comes_back_until_it_expires() {
        let session = begun();
        let claim = sessions().claim(&session, at(NOW + 1)).unwrap();
        assert_eq!(claim.user.as_str(), "alice");
        assert_eq!(sessions().claim(&session, at(NOW + LIFETIME)), None);
    }

    #[test]
    fn it_ends_with_the_password_and_with_the_key() {
        let session = begun();
        let claim = sessions().claim(&session, at(NOW)).unwrap();
        assert!(claim.is_bound_to(Some("hash")));
        assert!(!claim.is_bound_to(Some("changed")));
        assert_eq!(Sessions::new("another").claim(&session, at(NOW)), None);
    }

    #[test]
    fn it_cannot_be_edited() {
        let genuine = begun();
        for edited in [
            genuine.replace("alice", "admin"),
            genuine.replace(&(NOW + LIFETIME).to_string(), "9999999999"),
            "alice.9999999999.x.".to_owned(),
            "garbage".to_owned(),
            String::new(),
        ] {
            assert_ne!(edited, genuine);
            assert_eq!(sessions().claim(&edited, at(NOW)), None, "{edited}");
        }
    }
}
