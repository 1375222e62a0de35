//! What a browser holds of its session, and what is kept of it.
//!
//! The cookie ([`crate::http::session_cookie`]) is random and says nothing. Kept is its
//! HMAC under `SESSION_KEY`: whoever reads the database can neither sign in with what
//! is in it nor put a session of their own there, and another key ends every session.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use waybill_domain::Timestamp;
use waybill_domain::account::Fingerprint;

use super::secret;

/// Length of a cookie's value.
const LENGTH: usize = 64;
/// How often Restate is told that a session or a token is in use.
pub const TOLD_EVERY: Duration = Duration::from_mins(5);
/// How many are remembered before those that are over are dropped.
const MANY: usize = 10_000;

/// Makes and recognizes sessions, and remembers when each of them and each API token was
/// seen.
pub struct Sessions {
    mac: Hmac<Sha256>,
    seen: Mutex<HashMap<Fingerprint, Seen>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Timestamp,
    told: Timestamp,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions(…)")
    }
}

impl Sessions {
    /// Sessions under `key`.
    pub fn new(key: &str) -> Self {
        let mac = Hmac::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
        Self {
            mac,
            seen: Mutex::default(),
        }
    }

    /// A new one: what the browser gets, and what is kept.
    pub fn generate(&self) -> (String, Fingerprint) {
        let cookie = secret::generate();
        let fingerprint = self.keyed(&cookie);
        (cookie, fingerprint)
    }

    /// What is kept of a browser's cookie. `None` for what never was one.
    pub fn fingerprint(&self, cookie: &str) -> Option<Fingerprint> {
        (cookie.len() == LENGTH).then(|| self.keyed(cookie))
    }

    fn keyed(&self, cookie: &str) -> Fingerprint {
        let mac = self.mac.clone().chain_update(cookie);
        secret::of_digest(&mac.finalize().into_bytes())
    }

    /// When one was last seen, here or as far as Restate was told.
    pub fn last_seen(&self, session: &Fingerprint, told: Option<Timestamp>) -> Option<Timestamp> {
        let here = self.lock().get(session).map(|seen| seen.at);
        here.max(told)
    }

    /// One is in use; answers whether Restate has to be told of it. `told` is what it
    /// knows; whoever was not seen for `idle` is forgotten some time.
    pub fn saw(
        &self,
        session: &Fingerprint,
        told: Option<Timestamp>,
        now: Timestamp,
        idle: Duration,
    ) -> bool {
        let mut all = self.lock();
        if all.len() >= MANY && !all.contains_key(session) {
            all.retain(|_, seen| seen.at + idle > now);
        }
        let seen = all.entry(session.clone()).or_insert(Seen {
            at: now,
            told: told.unwrap_or(Timestamp::UNIX_EPOCH),
        });
        seen.at = seen.at.max(now);
        seen.told = seen.told.max(told.unwrap_or(Timestamp::UNIX_EPOCH));
        let is_due = seen.told + TOLD_EVERY <= now;
        if is_due {
            seen.told = now;
        }
        is_due
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Fingerprint, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    const IDLE: Duration = Duration::from_hours(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn each_is_another_and_is_recognized_under_its_key_only() {
        let sessions = Sessions::new(KEY);
        let (cookie, fingerprint) = sessions.generate();
        assert_ne!(sessions.generate().0, cookie);
        assert_eq!(sessions.fingerprint(&cookie), Some(fingerprint.clone()));
        let other = Sessions::new("another key of thirty-two bytes…");
        assert_ne!(other.fingerprint(&cookie), Some(fingerprint.clone()));
        // What is kept is not what is shown.
        assert_ne!(
            sessions.fingerprint(fingerprint.as_str()),
            Some(fingerprint)
        );
        for wrong in ["", "alice.1.x.y", &"0".repeat(65)] {
            assert_eq!(sessions.fingerprint(wrong), None);
        }
    }

    #[test]
    fn restate_is_told_now_and_then() {
        let sessions = Sessions::new(KEY);
        let (_, session) = sessions.generate();
        let began = Some(at(1_000));
        assert!(!sessions.saw(&session, began, at(1_000), IDLE));
        assert!(!sessions.saw(&session, began, at(1_299), IDLE));
        assert_eq!(sessions.last_seen(&session, began), Some(at(1_299)));
        assert!(sessions.saw(&session, began, at(1_300), IDLE));
        assert!(!sessions.saw(&session, began, at(1_301), IDLE));
        // Another gateway has told it later.
        assert!(!sessions.saw(&session, Some(at(1_500)), at(1_700), IDLE));
        assert_eq!(
            sessions.last_seen(&session, Some(at(9_000))),
            Some(at(9_000))
        );
    }

    #[test]
    fn what_is_over_is_not_remembered_for_ever() {
        let sessions = Sessions::new(KEY);
        for number in 0..MANY {
            let session = secret::fingerprint(&number.to_string());
            sessions.saw(&session, None, at(0), IDLE);
        }
        sessions.saw(&secret::fingerprint("late"), None, at(3_601), IDLE);
        assert_eq!(sessions.lock().len(), 1);
    }
}
