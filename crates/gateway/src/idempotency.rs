//! `Idempotency-Key`: the same write asked twice is done once.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use uuid::Uuid;
use waybill_domain::ids::Username;

use crate::problem::Problem;
use crate::reply::Fields;

/// The field that forms send it in, since they can send no header.
const FIELD: &str = "idempotency_key";
/// Longest accepted key, in bytes.
const MAX_KEY: usize = 128;

/// The request's `Idempotency-Key`, or a fresh one, so that the gateway's own
/// retries towards Restate do nothing twice either.
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

    /// The key that Restate gets: no two users or operations share one.
    pub fn of(&self, user: &Username, operation: &str) -> String {
        format!("{user}:{operation}:{}", self.key)
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

    #[test]
    fn keys_are_bound_to_user_and_operation() {
        let key = IdempotencyKey::parse(b"k-1").unwrap();
        let alice = Username::parse("alice").unwrap();
        assert_eq!(key.of(&alice, "cart.add"), "alice:cart.add:k-1");
        assert_eq!(key.given(), Some("k-1"));
    }

    #[test]
    fn without_one_each_request_has_its_own() {
        let alice = Username::parse("alice").unwrap();
        let (one, two) = (IdempotencyKey::fresh(), IdempotencyKey::fresh());
        assert_ne!(one.of(&alice, "cart.add"), two.of(&alice, "cart.add"));
        assert_eq!(one.given(), None);
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
