//! What is kept elsewhere and must be read again, but by us alone: the secrets of second
//! factors, and what a browser holds between two steps. It is encrypted under a key that
//! is derived from `SESSION_KEY`, for one purpose and one owner: at another's place it is
//! worth nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;

/// What the key is for, and nothing else.
const PURPOSE: &[u8] = b"waybill vault, 1";
/// Bytes of a nonce: so many that random ones never meet.
const NONCE: usize = 24;

/// For what something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The secret of a second factor, in the account.
    Factor,
    /// The secret of one that is being set up, in the browser.
    SetUp,
    /// That somebody has shown a password, in the browser.
    HalfSignedIn,
}

impl Kept {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Factor => "factor",
            Self::SetUp => "set-up",
            Self::HalfSignedIn => "half signed in",
        }
    }

    fn about(self, owner: &str) -> String {
        format!("{}\0{owner}", self.as_str())
    }
}

/// Seals and opens.
pub struct Vault {
    now: XChaCha20Poly1305,
    before: Option<XChaCha20Poly1305>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(…)")
    }
}

/// What was sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// What it says.
    pub plain: Vec<u8>,
    /// Whether that was under the key of before.
    pub is_old: bool,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened(…)")
    }
}

impl Vault {
    /// Under a key that is derived from `session_key`; what was sealed under `before` is
    /// opened, too.
    pub fn new(session_key: &str, before: Option<&str>) -> Self {
        let of = |key: &str| {
            let mut derived = [0; 32];
            Hkdf::<Sha256>::new(None, key.as_bytes())
                .expand(PURPOSE, &mut derived)
                .expect("32 bytes are few for HKDF");
            XChaCha20Poly1305::new(&derived.into())
        };
        Self {
            now: of(session_key),
            before: before.map(of),
        }
    }

    /// What can be kept anywhere: letters, digits, `-` and `_`.
    pub fn seal(&self, kept: Kept, owner: &str, plain: &[u8]) -> String {
        let nonce = rand::random::<[u8; NONCE]>();
        let about = kept.about(owner);
        let payload = Payload {
            msg: plain,
            aad: about.as_bytes(),
        };
        let sealed = self.now.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("it is short, and memory is there");
        URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    /// What was sealed for that purpose and that owner.
    pub fn open(&self, kept: Kept, owner: &str, sealed: &str) -> Option<Opened> {
        let raw = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = raw.split_first_chunk::<NONCE>()?;
        let (nonce, about) = (XNonce::from(*nonce), kept.about(owner));
        let keys = [(Some(&self.now), false), (self.before.as_ref(), true)];
        keys.into_iter().find_map(|(key, is_old)| {
            let payload = Payload {
                msg: sealed,
                aad: about.as_bytes(),
            };
            let plain = key?.decrypt(&nonce, payload).ok()?;
            Some(Opened { plain, is_old })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "6f2b9d1ec84a07355be1d20f6a9c83e7";
    const OTHER: &str = "another key of thirty-two bytes…";

    fn opened(vault: &Vault, owner: &str, sealed: &str) -> Option<(Vec<u8>, bool)> {
        let opened = vault.open(Kept::Factor, owner, sealed)?;
        Some((opened.plain, opened.is_old))
    }

    #[test]
    fn it_opens_for_its_owner_and_purpose_under_its_key_alone() {
        let vault = Vault::new(KEY, None);
        let sealed = vault.seal(Kept::Factor, "alice", b"secret");
        assert_ne!(vault.seal(Kept::Factor, "alice", b"secret"), sealed);
        assert!(!sealed.contains("secret") && sealed.len() < 100);
        let again = Vault::new(KEY, Some(OTHER));
        assert_eq!(
            opened(&again, "alice", &sealed),
            Some((b"secret".to_vec(), false))
        );
        assert_eq!(opened(&vault, "bob", &sealed), None);
        assert_eq!(vault.open(Kept::SetUp, "alice", &sealed), None);
        assert_eq!(vault.open(Kept::HalfSignedIn, "alice", &sealed), None);
        assert_eq!(opened(&Vault::new(OTHER, None), "alice", &sealed), None);
        for wrong in ["", "é", &sealed[1..], &format!("{sealed}A"), "AAAA"] {
            assert_eq!(opened(&vault, "alice", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_key_of_before_opens_what_it_has_sealed() {
        let old = Vault::new(OTHER, None).seal(Kept::Factor, "alice", b"secret");
        let vault = Vault::new(KEY, Some(OTHER));
        assert_eq!(
            opened(&vault, "alice", &old),
            Some((b"secret".to_vec(), true))
        );
        // What is sealed from now on needs it no more.
        let sealed = vault.seal(Kept::Factor, "alice", b"secret");
        assert!(opened(&Vault::new(KEY, None), "alice", &sealed).is_some());
    }
}
