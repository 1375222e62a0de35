//! `Idempotency-Key`: the same write asked twice is done once. The object that
//! is written to remembers the key ([`waybill_domain::idempotency`]).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;
use sha2::Sha256;
use uuid::Uuid;
use waybill_domain::Timestamp;
use waybill_domain::idempotency::{Digest, Once};
use waybill_domain::ids::Username;

use super::input::Fields;
use super::problem::Problem;

/// The field that forms send it in, since they can send no header.
const FIELD: &str = "idempotency_key";
/// Longest accepted key, in bytes.
const MAX_KEY: usize = 128;

/// The request's `Idempotency-Key`, or a fresh one that nobody else knows.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    key: String,
    given: bool,
}

impl IdempotencyKey {
    /// A key of our own, for what no request asked for.
    pub fn fresh() -> Self {
        Self {
            key: Uuid::new_v4().simple().to_string(),
            given: false,
        }
    }

    /// The key of a form that was sent twice.
    pub fn from_fields(fields: &Fields) -> Result<Option<Self>, Problem> {
        let raw = fields.word(FIELD, MAX_KEY)?;
        let parsed = raw.map(|raw| Self::parse(raw.as_bytes()));
        parsed
            .transpose()
            .map_err(|problem| problem.with_field(FIELD))
    }

    /// This one if the caller sent it, else the form's if it has one.
    #[must_use]
    pub fn or(self, form: Option<Self>) -> Self {
        match form {
            Some(form) if !self.given => form,
            _ => self,
        }
    }

    /// What the caller sent, if it sent one.
    pub fn given(&self) -> Option<&str> {
        self.given.then_some(self.key.as_str())
    }

    /// The id of a decision: the same key is the same decision.
    pub fn decision_id(&self, user: &Username) -> String {
        format!("{user}:decide:{}", self.key)
    }

    /// The write that the caller has given this key, if it has. `request` is all
    /// that it asks for, in its own words: what the shop fills in may change
    /// between two tries.
    pub fn once(
        &self,
        user: &Username,
        operation: &str,
        request: &impl Serialize,
    ) -> Result<Option<Once>, Problem> {
        let Some(key) = self.given() else {
            return Ok(None);
        };
        Ok(Some(Once {
            key: digest(&(user.as_str(), operation, key))?,
            request: digest(request)?,
            at: Timestamp::now(),
        }))
    }

    fn parse(raw: &[u8]) -> Result<Self, Problem> {
        let valid = !raw.is_empty() && raw.len() <= MAX_KEY && raw.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(raw) {
            Ok(key) if valid => Ok(Self {
                key: key.to_owned(),
                given: true,
            }),
            _ => Err(Problem::invalid(
                "Idempotency-Key",
                format!(
                    "Idempotency-Key must be 1 to {MAX_KEY} visible ASCII characters, such as a UUID"
                ),
            )),
        }
    }
}

/// Digests JSON: of two values it is the same only if they are.
fn digest(of: &impl Serialize) -> Result<Digest, Problem> {
    use sha2::Digest as _;
    let hash = Sha256::digest(serde_json::to_vec(of)?);
    Ok(Digest::parse(&hex::encode(&hash[..16]))?)
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.headers.get("idempotency-key") {
            Some(value) => Self::parse(value.as_bytes()),
            None => Ok(Self::fresh()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(key: &IdempotencyKey, user: &str, operation: &str, quantity: u32) -> Option<Once> {
        let user = Username::parse(user).unwrap();
        key.once(&user, operation, &("P001", quantity)).unwrap()
    }

    #[test]
    fn keys_are_bound_to_user_and_operation() {
        let key = IdempotencyKey::parse(b"k-1").unwrap();
        let first = once(&key, "alice", "cart.add", 1).unwrap();
        let again = once(&key, "alice", "cart.add", 1).unwrap();
        assert_eq!((&again.key, &again.request), (&first.key, &first.request));
        for (user, operation) in [("bob", "cart.add"), ("alice", "cart.update")] {
            assert_ne!(once(&key, user, operation, 1).unwrap().key, first.key);
        }
        let other = once(&key, "alice", "cart.add", 2).unwrap();
        assert_eq!(other.key, first.key);
        assert_ne!(other.request, first.request);
    }

    #[test]
    fn without_one_nothing_is_remembered() {
        let alice = Username::parse("alice").unwrap();
        let (one, two) = (IdempotencyKey::fresh(), IdempotencyKey::fresh());
        assert_eq!(once(&one, "alice", "cart.add", 1), None);
        assert_eq!(one.given(), None);
        assert_ne!(one.decision_id(&alice), two.decision_id(&alice));
    }

    #[test]
    fn a_form_may_carry_it_and_the_header_counts_more() {
        let form = || {
            IdempotencyKey::from_fields(&Fields::from_form(b"idempotency_key=from-form")).unwrap()
        };
        assert_eq!(
            IdempotencyKey::fresh().or(form()).given(),
            Some("from-form")
        );
        let header = IdempotencyKey::parse(b"from-header").unwrap();
        assert_eq!(header.or(form()).given(), Some("from-header"));
        assert_eq!(IdempotencyKey::fresh().or(None).given(), None);
    }

    #[test]
    fn unusable_keys_are_refused() {
        for raw in [&b""[..], b"a b", b"\xff", "é".as_bytes(), &[b'k'; 129]] {
            let problem = IdempotencyKey::parse(raw).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some("Idempotency-Key"));
        }
    }
}
