//! The one decision that every order gets: approved or not, by whom, why.

pub mod verdict;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::{By, Origin};
use crate::basket::Part;
use crate::ids::OrderId;
use crate::order::OrderRecord;
use crate::refusal::Refusal;
use crate::words;

pub use self::verdict::Verdict;

/// Value of the durable promise `admin_approval`. Whoever resolves the promise
/// reads it back: the decision whose `id` it then holds has won.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The request's idempotency key: the same id read back is one's own.
    #[serde(deserialize_with = "words::kept::id")]
    pub id: String,
    /// What was decided.
    pub verdict: Verdict,
    /// User name, or `restate` for an operator's cancellation, or `clock`.
    #[serde(deserialize_with = "words::kept::name")]
    pub by: String,
    /// Why, in the decider's words.
    #[serde(default, deserialize_with = "words::kept::a_reason")]
    pub reason: Option<String>,
    /// Pieces that an approval takes out of the order before it ships.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Part>,
    /// When it was made. Left out, the services' clock is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// From where it was made.
    #[serde(default, skip_serializing_if = "Origin::is_unknown")]
    pub from: Origin,
}

impl Decision {
    /// Who has made it, and from where.
    pub fn whose(&self) -> By {
        By {
            who: self.by.clone(),
            from: self.from.clone(),
        }
    }

    /// Whether it can be carried out on this order: what an approval takes out must be
    /// there, with a reason, and something must be left to ship.
    pub fn fits(&self, order: &OrderRecord) -> Result<(), Refusal> {
        if self.without.is_empty() {
            return Ok(());
        }
        if self.verdict != Verdict::Approved {
            return Err(Refusal::invalid(
                "without",
                "only an approval takes pieces out: leave `without` away to refuse the whole order",
            ));
        }
        let has_reason = self.reason.as_deref().is_some_and(words::is_visible);
        if !has_reason {
            return Err(Refusal::invalid(
                "reason",
                "reason is missing: say why pieces are taken out, the customer is told",
            ));
        }
        order.split(&self.without).map(drop)
    }

    /// What the decider of `self` is told when `standing` is what the promise
    /// holds. One key serves one decision with its reason.
    pub fn against(self, standing: Self, order_id: &OrderId) -> Result<Self, Refusal> {
        // Asked again it is the same, although it is asked later and by another request.
        let asked = Self {
            at: standing.at,
            from: standing.from.clone(),
            ..self
        };
        if standing == asked {
            Ok(standing)
        } else if standing.id == asked.id {
            Err(Refusal::IdempotencyKeyReused)
        } else {
            Err(Refusal::AlreadyDecided {
                order_id: order_id.clone(),
                verdict: standing.verdict,
                by: standing.by,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(id: &str, verdict: Verdict) -> Decision {
        Decision {
            id: id.into(),
            verdict,
            by: "admin".into(),
            reason: None,
            without: Vec::new(),
            at: None,
            from: Origin::default(),
        }
    }

    #[test]
    fn only_the_winner_is_told_yes() {
        let order = OrderId::parse("alice.1").unwrap();
        let approve = decision("a", Verdict::Approved);
        let cancel = decision("b", Verdict::Cancelled);
        assert!(approve.clone().against(approve.clone(), &order).is_ok());
        let later = Decision {
            at: Some(Timestamp::UNIX_EPOCH),
            from: Origin {
                request: Some("another".into()),
                address: None,
            },
            ..approve.clone()
        };
        assert_eq!(later.against(approve.clone(), &order), Ok(approve.clone()));
        assert!(matches!(
            cancel.against(approve, &order),
            Err(Refusal::AlreadyDecided {
                verdict: Verdict::Approved,
                ..
            })
        ));
    }

    #[test]
    fn one_key_does_not_serve_two_decisions() {
        let order = OrderId::parse("alice.1").unwrap();
        let approved = decision("a", Verdict::Approved);
        let with_reason = Decision {
            reason: Some("late".into()),
            ..approved.clone()
        };
        let with_less = Decision {
            without: vec![Part {
                sku: crate::ids::Sku::parse("P001").unwrap(),
                quantity: 1,
            }],
            ..approved.clone()
        };
        for other in [decision("a", Verdict::Rejected), with_reason, with_less] {
            let told = other.against(approved.clone(), &order);
            assert_eq!(told, Err(Refusal::IdempotencyKeyReused));
        }
    }
}
