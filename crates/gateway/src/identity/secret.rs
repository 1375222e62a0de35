//! Secrets that nobody can guess, and what is kept of them. With that much randomness a
//! fast hash is enough.

use sha2::{Digest, Sha256};
use waybill_domain::account::Fingerprint;

/// 32 random bytes, in hexadecimal.
pub fn generate() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

/// What is kept of a secret.
pub fn fingerprint(secret: &str) -> Fingerprint {
    of_digest(&Sha256::digest(secret))
}

/// A digest of 32 bytes as a fingerprint.
pub(super) fn of_digest(digest: &[u8]) -> Fingerprint {
    Fingerprint::parse(&hex::encode(digest)).expect("32 bytes are 64 hexadecimal characters")
}
