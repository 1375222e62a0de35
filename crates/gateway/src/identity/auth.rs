//! What signing in needs at run time.

use super::failed_sign_ins::FailedSignIns;
use super::hash_queue::HashQueue;
use super::oidc::Oidc;
use super::sessions;
use super::throttle;
use super::vault::Vault;
use crate::settings::Settings;

/// What authentication needs at run time.
#[derive(Debug)]
pub struct Auth {
    /// What browsers hold.
    pub sessions: sessions::Sessions,
    /// What is kept elsewhere, and read again here.
    pub vault: Vault,
    /// A brake on guessing.
    pub throttle: throttle::Throttle,
    /// Sign-ins that failed and are not noted yet.
    pub failed_sign_ins: FailedSignIns,
    /// Whose password is hashed when.
    pub hash_queue: HashQueue,
    /// The sign-in at an identity provider, if one is set.
    pub oidc: Option<Oidc>,
}

impl Auth {
    /// With the settings' session key.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            sessions: sessions::Sessions::new(settings.session_key()),
            vault: Vault::new(settings.session_key(), settings.previous_session_key()),
            throttle: throttle::Throttle::default(),
            failed_sign_ins: FailedSignIns::default(),
            hash_queue: HashQueue::default(),
            oidc: Oidc::new(settings)?,
        })
    }
}
