//! What a browser keeps of a sign-in that it has begun: state, nonce, PKCE verifier and
//! where it wants to go. It is signed under `SESSION_KEY`, so any gateway can finish what
//! another has begun, and no gateway has to remember it.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use waybill_domain::Timestamp;

use crate::clock;
use crate::http::negotiation::local_path;
use crate::identity::secret;

/// How long somebody may take at the provider.
pub const LIFE: Duration = Duration::from_mins(10);
/// What this key is for, and nothing else.
const PURPOSE: &str = "waybill sign-in at a provider, 1";
/// Longest path that is kept: a cookie has 4096 bytes.
const MAX_NEXT: usize = 1_024;
/// Characters of the signature.
const MAC: usize = 64;

/// A sign-in that has begun. It opens nothing by itself: the code is missing.
#[derive(Clone, PartialEq, Eq)]
pub struct Pending {
    /// Which it is; comes back with the browser.
    pub state: String,
    /// Which it is; comes back in the ID token.
    pub nonce: String,
    /// Shows that who exchanges the code has asked for it.
    pub verifier: String,
    /// Where the browser goes then: a path on this site.
    pub next: String,
    /// Until when.
    ends_at: Timestamp,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending(…)")
    }
}

impl Pending {
    /// The same, for longer than it is fuzzed.
    #[cfg(test)]
    pub(in crate::identity) fn for_long(mut self) -> Self {
        self.ends_at += std::time::Duration::from_hours(24 * 365);
        self
    }

    /// A new one.
    pub fn new(verifier: &str, next: &str) -> Self {
        let next = local_path(next).filter(|next| next.len() <= MAX_NEXT);
        Self {
            state: secret::generate(),
            nonce: secret::generate(),
            verifier: verifier.to_owned(),
            next: next.unwrap_or("/").to_owned(),
            ends_at: clock::now() + LIFE,
        }
    }
}

/// Signs and recognizes them.
pub struct Sealer(Hmac<Sha256>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// With a key of its own, derived from `session_key`.
    pub fn new(session_key: &str) -> Self {
        let of = |key: &[u8]| {
            Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
        };
        let key = of(session_key.as_bytes()).chain_update(PURPOSE).finalize();
        Self(of(&key.into_bytes()))
    }

    /// What the browser keeps: visible ASCII without `;` and `,`.
    pub fn seal(&self, pending: &Pending) -> String {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("verifier", &pending.verifier)
            .append_pair("next", &pending.next)
            .append_pair("ends", &pending.ends_at.as_second().to_string())
            .finish();
        let mac = self.0.clone().chain_update(&body).finalize();
        format!("{}.{body}", hex::encode(mac.into_bytes()))
    }

    /// What it was, if it is genuine and not over.
    pub fn open(&self, sealed: &str) -> Option<Pending> {
        let (mac, body) = sealed.split_at_checked(MAC)?;
        let body = body.strip_prefix('.')?;
        let mac = hex::decode(mac).ok().filter(|it| hex::encode(it) == mac)?;
        self.0.clone().chain_update(body).verify_slice(&mac).ok()?;
        let field = |wanted: &str| {
            form_urlencoded::parse(body.as_bytes())
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        let pending = Pending {
            state: field("state")?,
            nonce: field("nonce")?,
            verifier: field("verifier")?,
            next: local_path(&field("next")?)?.to_owned(),
            ends_at: Timestamp::from_second(field("ends")?.parse().ok()?).ok()?,
        };
        (pending.ends_at > clock::now()).then_some(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "6f2b9d1ec84a07355be1d20f6a9c83e7";

    fn pending(next: &str) -> Pending {
        let mut pending = Pending::new("verifier", next);
        pending.ends_at = Timestamp::from_second(clock::now().as_second() + 60).unwrap();
        pending
    }

    #[test]
    fn another_gateway_with_the_same_key_finishes_it() {
        let begun = pending("/orders?q=a;b,c&page=2");
        let kept = Sealer::new(KEY).seal(&begun);
        assert_eq!(Sealer::new(KEY).open(&kept), Some(begun));
        assert!(kept.bytes().all(|it| it.is_ascii_graphic()));
        assert!(!kept.contains([';', ',', '"', '\\']), "{kept}");
    }

    #[test]
    fn what_is_not_ours_is_nothing() {
        let sealer = Sealer::new(KEY);
        let kept = sealer.seal(&pending("/"));
        let body = &kept[MAC..];
        for wrong in [
            String::new(),
            "é".repeat(40),
            body.to_owned(),
            format!("{}{body}", "0".repeat(MAC)),
            kept.replace("nonce=", "nonce=0"),
            kept.replace("next=%2F", "next=%2F%2Fevil.example"),
            format!("{kept}&next=/evil"),
            kept[..kept.len() - 1].to_owned(),
        ] {
            assert_eq!(sealer.open(&wrong), None, "{wrong}");
        }
        assert_eq!(Sealer::new("another key").open(&kept), None);
        // The same secret, used for what it is not.
        let session = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
        let mac = session.chain_update(&body[1..]).finalize().into_bytes();
        assert_eq!(sealer.open(&format!("{}{body}", hex::encode(mac))), None);
    }

    #[test]
    fn it_ends_and_stays_on_this_site() {
        let sealer = Sealer::new(KEY);
        let mut over = pending("/");
        over.ends_at = clock::now() - Duration::from_secs(1);
        assert_eq!(sealer.open(&sealer.seal(&over)), None);
        for away in [
            "https://evil.example",
            "//evil.example",
            "",
            &format!("/{}", "a".repeat(1_024)),
        ] {
            assert_eq!(Pending::new("verifier", away).next, "/");
        }
        let longest = Pending::new("v".repeat(128).as_str(), &format!("/{}", "+".repeat(1_023)));
        assert!(sealer.seal(&longest).len() < 4_000);
    }
}
