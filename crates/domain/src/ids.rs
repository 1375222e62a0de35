//! Identifiers, parsed once at the edge. Inside, only these types travel.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// Longest accepted identifier, in bytes.
const MAX_ID: usize = 64;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name(String);

        impl $name {
            /// Parses raw input; the refusal says what is accepted.
            pub fn parse(raw: &str) -> Result<Self, Refusal> {
                let valid: fn(&str) -> bool = $valid;
                if valid(raw) {
                    Ok(Self(raw.to_owned()))
                } else {
                    Err(Refusal::invalid($what, concat!($what, " must be ", $rule)))
                }
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Refusal;
            fn try_from(raw: String) -> Result<Self, Refusal> {
                Self::parse(&raw)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

fn is_word(text: &str, extra: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= MAX_ID
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
}

text_id!(
    /// A user's login name: the key of `UserSession` and the first half of an
    /// [`OrderId`], hence without a dot.
    Username,
    "user",
    "1 to 64 letters, digits, '-' or '_'",
    |raw| is_word(raw, b"-_")
);

text_id!(
    /// A stock keeping unit: the key of `Inventory`.
    Sku,
    "sku",
    "1 to 64 letters, digits, '-' or '_'",
    |raw| is_word(raw, b"-_")
);

text_id!(
    /// A global order id, `{username}.{id}`: the key of
    /// `OrderFulfillmentWorkflow`. Two users may pick the same `{id}`.
    OrderId,
    "order_id",
    "1 to 64 letters, digits, '-' or '_' (your user name and a dot may stand before it)",
    |raw| raw
        .split_once('.')
        .is_some_and(|(user, id)| is_word(user, b"-_") && is_word(id, b"-_"))
);

impl OrderId {
    /// The full id of a caller's own `raw` id. An id that is already prefixed
    /// is accepted from its owner only.
    pub fn of(owner: &Username, raw: &str) -> Result<Self, Refusal> {
        match raw.split_once('.') {
            Some((user, _)) if user == owner.as_str() => Self::parse(raw),
            Some(_) => Err(Refusal::invalid(
                "order_id",
                "order_id belongs to another user: leave out the part before the dot",
            )),
            None => Self::parse(&format!("{owner}.{raw}")),
        }
    }

    /// The user who placed the order.
    pub fn owner(&self) -> Username {
        Username(self.split().0.to_owned())
    }

    /// The id without its owner's prefix.
    pub fn short(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        self.0
            .split_once('.')
            .expect("an OrderId is only made by parse, which demands the dot")
    }
}

/// One try to pay for one order. Retries of an order are numbered from 1;
/// everything outside that can happen once per try is keyed by this.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttemptId {
    /// The order.
    pub order_id: OrderId,
    /// 1 for the first try.
    pub attempt: u32,
}

impl AttemptId {
    /// A key for `operation` that is the same each time the same thing is
    /// asked of the outside world: what `Idempotency-Key` headers carry.
    pub fn idempotency_key(&self, operation: &str) -> String {
        format!("{self}:{operation}")
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.order_id, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alice() -> Username {
        Username::parse("alice").unwrap()
    }

    #[test]
    fn usernames_have_no_dot() {
        assert!(Username::parse("al.ice").is_err());
        assert!(Username::parse("").is_err());
        assert!(Username::parse(&"a".repeat(65)).is_err());
        assert!(Username::parse("alice_1-x").is_ok());
    }

    #[test]
    fn a_callers_id_gets_the_callers_name() {
        let id = OrderId::of(&alice(), "order-1").unwrap();
        assert_eq!(id.as_str(), "alice.order-1");
        assert_eq!(id.owner(), alice());
        assert_eq!(id.short(), "order-1");
    }

    #[test]
    fn a_full_id_is_accepted_from_its_owner_only() {
        assert_eq!(
            OrderId::of(&alice(), "alice.order-1").unwrap().short(),
            "order-1"
        );
        assert!(OrderId::of(&alice(), "bob.order-1").is_err());
    }

    #[test]
    fn deserializing_checks() {
        assert!(serde_json::from_str::<OrderId>("\"no-owner\"").is_err());
        assert!(serde_json::from_str::<Sku>("\"a b\"").is_err());
    }

    proptest! {
        #[test]
        fn ids_survive_their_text_form(user in "[a-z0-9_-]{1,20}", raw in "[A-Za-z0-9_-]{1,30}") {
            let owner = Username::parse(&user).unwrap();
            let id = OrderId::of(&owner, &raw).unwrap();
            prop_assert_eq!(OrderId::of(&owner, id.as_str()).unwrap(), id.clone());
            prop_assert_eq!(id.owner(), owner);
            prop_assert_eq!(id.short(), raw.as_str());
        }

        #[test]
        fn nothing_unprintable_gets_in(raw in "\\PC{0,80}") {
            if let Ok(id) = OrderId::of(&alice(), &raw) {
                prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'/'));
            }
        }
    }
}
