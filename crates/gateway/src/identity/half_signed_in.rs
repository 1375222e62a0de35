//! What a browser holds between two steps: that its user has shown the right password,
//! or the secret of a second factor that is being set up. Both are good for minutes and
//! for nothing else; any gateway can go on where another has begun.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use waybill_domain::Timestamp;
use waybill_domain::account::Fingerprint;
use waybill_domain::ids::Username;

use super::authenticator::Secret;
use super::secret;
use super::vault::{Kept, Vault};
use crate::clock;
use crate::http::negotiation::local_path;

/// How long somebody may take from the password to the code.
pub const CODE_WITHIN: Duration = Duration::from_mins(5);
/// How long somebody may take to set up a second factor.
pub const SET_UP_WITHIN: Duration = Duration::from_mins(15);
/// Longest path that is kept: a cookie has 4096 bytes.
const MAX_NEXT: usize = 1_024;

/// Somebody who has shown the right password. It opens nothing: the code is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfSignedIn {
    /// Who.
    pub user: Username,
    /// Of the password's hash: another password ends it.
    password: Fingerprint,
    /// Where the browser goes then: a path on this site.
    pub next: String,
    ends_at: Timestamp,
}

impl HalfSignedIn {
    /// From now on. `hash` is that of the password.
    pub fn new(user: Username, hash: &str, next: Option<&str>) -> Self {
        let next = next.and_then(local_path);
        let next = next.filter(|next| next.len() <= MAX_NEXT).unwrap_or("/");
        Self {
            user,
            password: secret::fingerprint(hash),
            next: next.to_owned(),
            ends_at: clock::now() + CODE_WITHIN,
        }
    }

    /// For a test that takes longer than people.
    #[cfg(test)]
    #[must_use]
    pub fn for_long(mut self) -> Self {
        self.ends_at = clock::now() + Duration::from_hours(24);
        self
    }

    /// Whether that is the password's hash still.
    pub fn is_of(&self, hash: &str) -> bool {
        self.password == secret::fingerprint(hash)
    }

    /// What the browser keeps.
    pub fn seal(&self, vault: &Vault) -> String {
        let plain = serde_json::to_vec(self).expect("names and times are JSON");
        vault.seal(Kept::HalfSignedIn, "", &plain)
    }

    /// What it was, if it is genuine and not over.
    pub fn open(vault: &Vault, sealed: &str) -> Option<Self> {
        let opened = vault.open(Kept::HalfSignedIn, "", sealed)?;
        let half: Self = serde_json::from_slice(&opened.plain).ok()?;
        (half.ends_at > clock::now()).then_some(half)
    }
}

/// A second factor that is being set up.
#[derive(Serialize, Deserialize)]
struct SetUp {
    secret: Vec<u8>,
    ends_at: Timestamp,
}

/// What the browser keeps of a secret that somebody is about to use.
pub fn seal_set_up(vault: &Vault, user: &Username, secret: &Secret) -> String {
    let set_up = SetUp {
        secret: secret.bytes().to_vec(),
        ends_at: clock::now() + SET_UP_WITHIN,
    };
    let plain = serde_json::to_vec(&set_up).expect("numbers are JSON");
    vault.seal(Kept::SetUp, user.as_str(), &plain)
}

/// The secret, if it is this user's and not over.
pub fn open_set_up(vault: &Vault, user: &Username, sealed: &str) -> Option<Secret> {
    let opened = vault.open(Kept::SetUp, user.as_str(), sealed)?;
    let set_up: SetUp = serde_json::from_slice(&opened.plain).ok()?;
    let secret = Secret::of(&set_up.secret)?;
    (set_up.ends_at > clock::now()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "6f2b9d1ec84a07355be1d20f6a9c83e7";

    fn alice() -> Username {
        Username::parse("alice").unwrap()
    }

    #[test]
    fn another_gateway_goes_on() {
        let half = HalfSignedIn::new(alice(), "hash", Some("/orders?q=a;b"));
        let sealed = half.seal(&Vault::new(KEY, None));
        let again = HalfSignedIn::open(&Vault::new(KEY, None), &sealed);
        assert_eq!(again.as_ref(), Some(&half));
        assert!(half.is_of("hash") && !half.is_of("new"));
        assert!(sealed.bytes().all(|it| it.is_ascii_graphic() && it != b';'));
    }

    #[test]
    fn it_ends_and_stays_on_this_site() {
        let vault = Vault::new(KEY, None);
        let mut over = HalfSignedIn::new(alice(), "hash", None);
        over.ends_at = clock::now() - Duration::from_secs(1);
        assert_eq!(HalfSignedIn::open(&vault, &over.seal(&vault)), None);
        for away in ["//evil.example", "", &format!("/{}", "a".repeat(1_024))] {
            let half = HalfSignedIn::new(alice(), "hash", Some(away));
            assert_eq!(half.next, "/", "{away}");
        }
        let longest = format!("/{}", "\"".repeat(1_023));
        let longest = HalfSignedIn::new(alice(), "hash", Some(&longest));
        assert!(longest.seal(&vault).len() < 3_900);
    }

    #[test]
    fn a_set_up_is_of_one_user() {
        let vault = Vault::new(KEY, None);
        let secret = Secret::generate();
        let sealed = seal_set_up(&vault, &alice(), &secret);
        assert_eq!(open_set_up(&vault, &alice(), &sealed), Some(secret));
        let bob = Username::parse("bob").unwrap();
        assert_eq!(open_set_up(&vault, &bob, &sealed), None);
        assert_eq!(HalfSignedIn::open(&vault, &sealed), None);
    }
}
