//! API tokens: a random secret after a recognizable prefix.

use super::secret;

/// Lets people and secret scanners recognize one.
const PREFIX: &str = "waybill_";

/// A new token. It is shown once.
pub fn generate() -> String {
    format!("{PREFIX}{}", secret::generate())
}
