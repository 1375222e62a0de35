//! Payment attempts: what was asked of the provider and what became of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::Origin;
use crate::ids::{AttemptId, OrderId, Username};
use crate::money::{CURRENCY, Cents};
use crate::refusal::Refusal;
use crate::words;

/// How far the money of one attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PaymentStatus {
    /// The provider waits for the customer.
    Pending,
    /// The money is held for us.
    Authorized,
    /// The money is ours.
    Captured,
    /// The hold was given up.
    Voided,
    /// The money went back.
    Refunded,
    /// The customer or the provider declined.
    Failed,
    /// Nobody paid in time.
    Expired,
    /// The order was cancelled before payment.
    Cancelled,
}

impl PaymentStatus {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Authorized => "authorized",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One try to pay for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentAttempt {
    /// 1 for the first try.
    pub attempt: u32,
    /// How far it came.
    pub status: PaymentStatus,
    /// What is to be paid.
    pub amount_cents: Cents,
    /// Until when.
    pub expires_at: Timestamp,
    /// The Restate awakeable that the payment resolves.
    #[serde(default, deserialize_with = "words::kept::an_id")]
    pub awakeable_id: Option<String>,
    /// The provider's id.
    #[serde(default, deserialize_with = "words::kept::an_id")]
    pub payment_id: Option<String>,
    /// The provider's hosted payment page.
    #[serde(default, deserialize_with = "words::kept::a_url")]
    pub pay_url: Option<String>,
    /// The provider's id of the money movement.
    #[serde(default, deserialize_with = "words::kept::an_id")]
    pub transaction_id: Option<String>,
    /// What the provider called back with, once it did.
    pub receipt: Option<PaymentReceipt>,
}

impl PaymentAttempt {
    /// Whether this attempt still waits for its money.
    pub fn is_open(&self) -> bool {
        self.status == PaymentStatus::Pending
    }
}

/// Whether the customer paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptStatus {
    /// Paid.
    Success,
    /// Not paid.
    Failed,
}

/// The provider's callback: also the JSON that resolves the awakeable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentReceipt {
    /// Which awakeable it is for. Not needed when it is posted to the
    /// awakeable itself.
    #[serde(default, deserialize_with = "words::kept::id")]
    pub awakeable_id: String,
    /// The provider's id of the money movement; empty when nothing moved.
    #[serde(default, deserialize_with = "words::kept::id")]
    pub transaction_id: String,
    /// Cents.
    #[serde(default)]
    pub amount: i64,
    /// Paid or not.
    pub status: ReceiptStatus,
    /// Why not.
    #[serde(default, deserialize_with = "words::kept::a_reason")]
    pub reason: Option<String>,
    /// ISO 4217, if the provider says it.
    #[serde(
        default,
        deserialize_with = "words::kept::an_id",
        skip_serializing_if = "Option::is_none"
    )]
    pub currency: Option<String>,
    /// Which order it is for, if the provider says it.
    #[serde(
        default,
        deserialize_with = "words::kept::an_id",
        skip_serializing_if = "Option::is_none"
    )]
    pub order_id: Option<String>,
}

impl PaymentReceipt {
    /// Whether the transaction id can be used: 1 to 100 printable ASCII
    /// characters, since it travels in HTTP headers.
    pub fn names_a_transaction(&self) -> bool {
        let id = &self.transaction_id;
        (1..=100).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// Refuses what cannot be meant for an attempt of this order over `due`: a
    /// callback that is refused changes nothing.
    pub fn fits(&self, order_id: &OrderId, due: Cents) -> Result<(), Refusal> {
        if !self.is_for(order_id) {
            return Err(Refusal::invalid(
                "order_id",
                "order_id must be the order that this awakeable_id waits for: nothing was accepted",
            ));
        }
        if self.status == ReceiptStatus::Failed {
            return Ok(());
        }
        if self.foreign_currency().is_some() {
            return Err(Refusal::invalid(
                "currency",
                format!("currency must be {CURRENCY}: nothing was accepted"),
            ));
        }
        if self.amount != due.0 {
            return Err(Refusal::WrongAmount {
                expected_cents: due,
            });
        }
        if !self.names_a_transaction() {
            return Err(Refusal::invalid(
                "transaction_id",
                "transaction_id must be 1 to 100 printable ASCII characters for a successful payment",
            ));
        }
        Ok(())
    }

    fn is_for(&self, order_id: &OrderId) -> bool {
        self.order_id
            .as_deref()
            .is_none_or(|id| id == order_id.as_str() || id == order_id.short())
    }

    fn foreign_currency(&self) -> Option<&str> {
        self.currency
            .as_deref()
            .filter(|currency| !currency.eq_ignore_ascii_case(CURRENCY))
    }

    /// What this receipt means for an attempt of this order over `due`.
    pub fn outcome(&self, order_id: &OrderId, due: Cents) -> PaymentOutcome {
        match self.status {
            _ if !self.is_for(order_id) => PaymentOutcome::Declined {
                reason: "the receipt is for another order".to_owned(),
            },
            ReceiptStatus::Failed => PaymentOutcome::Declined {
                reason: self
                    .reason
                    .clone()
                    .filter(|reason| words::is_visible(reason))
                    .unwrap_or_else(|| "insufficient funds".to_owned()),
            },
            ReceiptStatus::Success if !self.names_a_transaction() => PaymentOutcome::Declined {
                reason: "the receipt names no transaction".to_owned(),
            },
            ReceiptStatus::Success if self.amount != due.0 || self.foreign_currency().is_some() => {
                PaymentOutcome::Mismatched {
                    transaction_id: self.transaction_id.clone(),
                    paid_cents: Cents(self.amount),
                    currency: self.foreign_currency().map(str::to_owned),
                }
            }
            ReceiptStatus::Success => PaymentOutcome::Paid {
                transaction_id: self.transaction_id.clone(),
            },
        }
    }
}

/// How an attempt ended, as `AwaitPayment` tells `Settle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PaymentOutcome {
    /// The exact amount is authorized.
    Paid {
        /// The provider's id of the money movement.
        #[serde(deserialize_with = "words::kept::id")]
        transaction_id: String,
    },
    /// An amount was paid that nobody asked for; it goes back.
    Mismatched {
        /// The provider's id of the money movement.
        #[serde(deserialize_with = "words::kept::id")]
        transaction_id: String,
        /// What was paid.
        paid_cents: Cents,
        /// In which currency, if it is another one.
        #[serde(
            default,
            deserialize_with = "words::kept::an_id",
            skip_serializing_if = "Option::is_none"
        )]
        currency: Option<String>,
    },
    /// No money came.
    Declined {
        /// Why.
        #[serde(deserialize_with = "words::kept::reason")]
        reason: String,
    },
    /// Nobody paid in time.
    Expired,
    /// The order was taken back.
    Cancelled {
        /// By whom: a user name, or `restate` for an operator.
        #[serde(deserialize_with = "words::kept::name")]
        by: String,
        /// Why, in their words.
        #[serde(default, deserialize_with = "words::kept::a_reason")]
        reason: Option<String>,
        /// From where.
        #[serde(default, skip_serializing_if = "Origin::is_unknown")]
        from: Origin,
    },
}

/// Whose a transaction is: input and state of `PaymentTransaction.Claim`. It
/// belongs to the first that claims it, for ever, whether its money pays or
/// goes back: the same money never counts twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionOwner {
    /// Which attempt, for those who look into it.
    pub attempt: AttemptId,
    /// Its awakeable: an order's id may be used again when it is forgotten, an
    /// awakeable's never is.
    #[serde(deserialize_with = "words::kept::id")]
    pub awakeable_id: String,
}

/// A transaction that somebody says is theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionClaim {
    /// Which.
    pub transaction_id: String,
    /// Whose it is said to be.
    pub owner: TransactionOwner,
}

/// What becomes of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// It was nobody's.
    Now,
    /// It was theirs already.
    Before,
    /// It is somebody else's.
    Refused,
}

impl TransactionOwner {
    /// What becomes of this claim to a transaction that is `held`.
    pub fn claims(&self, held: Option<&Self>) -> Claimed {
        match held {
            None => Claimed::Now,
            Some(held) if held.awakeable_id == self.awakeable_id => Claimed::Before,
            Some(_) => Claimed::Refused,
        }
    }
}

/// Money that pays for nothing: for an attempt that had ended otherwise, or
/// beside the money that pays the order. It goes back, and the customer is
/// told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateMoney {
    /// Grows by one with every payment noted.
    pub version: u64,
    /// The order it was meant for.
    pub order_id: OrderId,
    /// Whose order.
    pub user_id: Username,
    /// Each payment, oldest first.
    pub payments: Vec<LatePayment>,
}

/// One payment that came too late, or twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatePayment {
    /// When we heard of it.
    pub at: Timestamp,
    /// Which try it was for.
    pub attempt: u32,
    /// The provider's id of the money movement.
    #[serde(deserialize_with = "words::kept::id")]
    pub transaction_id: String,
    /// How much.
    pub amount_cents: Cents,
}

/// Input of the `PaymentService` handlers: which attempt, and what is known of
/// it so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentOrder {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The awakeable the provider calls back for.
    #[serde(deserialize_with = "words::kept::id")]
    pub awakeable_id: String,
    /// What is to be paid.
    pub amount_cents: Cents,
    /// What is taken of it, where that is less: pieces were taken out of the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_cents: Option<Cents>,
    /// The provider's id, when it has answered already.
    #[serde(default, deserialize_with = "words::kept::an_id")]
    pub payment_id: Option<String>,
    /// The money movement, when there was one.
    #[serde(default, deserialize_with = "words::kept::an_id")]
    pub transaction_id: Option<String>,
}

impl PaymentOrder {
    /// What is taken, and what a refund of all of it gives back.
    pub fn to_capture(&self) -> Cents {
        self.capture_cents.unwrap_or(self.amount_cents)
    }
}

/// What `PaymentService.RequestPayment` answers: never "perhaps".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum PaymentRequested {
    /// The provider waits for the customer.
    Pending {
        /// The provider's id.
        #[serde(deserialize_with = "words::kept::id")]
        payment_id: String,
        /// Its hosted payment page.
        #[serde(deserialize_with = "words::kept::url")]
        pay_url: String,
    },
    /// The provider will not take this payment.
    Refused {
        /// Its words.
        #[serde(deserialize_with = "words::kept::reason")]
        reason: String,
    },
}

/// What `PaymentService.Capture` answers: never "perhaps".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Capture {
    /// The money is ours.
    Captured {
        /// When the provider said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// It is not and will not be.
    Refused {
        /// The provider's words.
        #[serde(deserialize_with = "words::kept::reason")]
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(status: ReceiptStatus, transaction_id: &str, amount: i64) -> PaymentReceipt {
        PaymentReceipt {
            awakeable_id: String::new(),
            transaction_id: transaction_id.to_owned(),
            amount,
            status,
            reason: None,
            currency: None,
            order_id: None,
        }
    }

    fn order() -> OrderId {
        OrderId::parse("alice.1").unwrap()
    }

    #[test]
    fn only_the_exact_amount_with_a_transaction_counts_as_paid() {
        let due = Cents(12500);
        assert!(matches!(
            receipt(ReceiptStatus::Success, "txn-1", 12500).outcome(&order(), due),
            PaymentOutcome::Paid { .. }
        ));
        assert!(matches!(
            receipt(ReceiptStatus::Success, "txn-1", 12499).outcome(&order(), due),
            PaymentOutcome::Mismatched { .. }
        ));
        assert!(matches!(
            receipt(ReceiptStatus::Success, " ", 12500).outcome(&order(), due),
            PaymentOutcome::Declined { .. }
        ));
    }

    #[test]
    fn the_proposals_failure_reads_as_insufficient_funds() {
        let raw = r#"{"awakeable_id":"a","transaction_id":"","amount":0,"status":"failed"}"#;
        let receipt: PaymentReceipt = serde_json::from_str(raw).unwrap();
        assert_eq!(
            receipt.outcome(&order(), Cents(1)),
            PaymentOutcome::Declined {
                reason: "insufficient funds".to_owned()
            }
        );
    }

    #[test]
    fn a_transaction_is_its_first_claimants() {
        let owner = |awakeable_id: &str| TransactionOwner {
            attempt: AttemptId {
                order_id: order(),
                attempt: 1,
            },
            awakeable_id: awakeable_id.to_owned(),
        };
        let first = owner("sign_1");
        assert_eq!(first.claims(None), Claimed::Now);
        assert_eq!(first.claims(Some(&first)), Claimed::Before);
        // Also of an order that has the same id, a retention later.
        assert_eq!(owner("sign_2").claims(Some(&first)), Claimed::Refused);
    }

    #[test]
    fn another_currency_or_order_is_never_taken() {
        let due = Cents(12500);
        let right = receipt(ReceiptStatus::Success, "txn-1", 12500);
        for id in ["1", "alice.1"] {
            let named = PaymentReceipt {
                currency: Some("usd".into()),
                order_id: Some(id.into()),
                ..right.clone()
            };
            assert_eq!(named.fits(&order(), due), Ok(()));
        }
        let euros = PaymentReceipt {
            currency: Some("EUR".into()),
            ..right.clone()
        };
        assert_eq!(euros.fits(&order(), due).unwrap_err().kind(), "invalid");
        assert!(matches!(
            euros.outcome(&order(), due),
            PaymentOutcome::Mismatched { currency: Some(currency), .. } if currency == "EUR"
        ));
        let elsewhere = PaymentReceipt {
            order_id: Some("bob.1".into()),
            ..right
        };
        assert_eq!(elsewhere.fits(&order(), due).unwrap_err().kind(), "invalid");
        assert!(matches!(
            elsewhere.outcome(&order(), due),
            PaymentOutcome::Declined { .. }
        ));
    }
}
