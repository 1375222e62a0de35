//! API tokens: 32 random bytes after a recognizable prefix. Only a hash is
//! kept; with that much randomness a fast one is enough.

use sha2::{Digest, Sha256};

/// Lets people and secret scanners recognize one.
const PREFIX: &str = "waybill_";

/// A new token. It is shown once.
pub fn generate() -> String {
    format!("{PREFIX}{}", hex::encode(rand::random::<[u8; 32]>()))
}

/// What is kept of it.
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
