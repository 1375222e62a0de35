//! What may be done with a payment. Pure: a payment and a wish in, effects or
//! a refusal out.

use super::payment::{Payment, Status};

/// An operation of the shop on a payment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Capture,
    Void,
    Refund,
}

/// What a customer can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(rename_all = "lowercase")]
pub(crate) enum Action {
    Pay,
    Decline,
}

/// One change of a payment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Authorize {
        transaction_id: String,
        amount: i64,
    },
    Decline {
        transaction_id: String,
        amount: i64,
    },
    Capture {
        transaction_id: String,
        amount: i64,
    },
    Void {
        transaction_id: String,
    },
    Refund {
        transaction_id: String,
        amount: i64,
    },
    /// No more money is taken. Before any came, this voids the payment.
    Close,
}

/// A definite no.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) http_status: u16,
    pub(super) error: String,
}

type Verdict = Result<Vec<Effect>, Refusal>;

/// Decides on an operation. No effects: it has been done before. `strict` about
/// transactions that nobody has authorized here.
pub(super) fn operation(
    payment: &Payment,
    operation: Operation,
    transaction_id: Option<&str>,
    amount: Option<i64>,
    strict: bool,
) -> Verdict {
    if let Some(id) = transaction_id
        && strict
        && payment.transaction(id).is_none()
    {
        return no(409, &format!("this payment knows no transaction {id:?}"));
    }
    if amount.is_some_and(i64::is_negative) {
        return no(422, "amount must not be negative");
    }
    if matches!(operation, Operation::Capture) && amount == Some(0) {
        return no(422, "amount must be a positive number of cents");
    }
    // Of a void or a refund, nothing means all of it.
    let amount = amount.filter(|amount| *amount != 0);
    match (operation, transaction_id) {
        (Operation::Capture, Some(transaction_id)) => capture(payment, transaction_id, amount),
        (Operation::Void, Some(transaction_id)) => void(payment, transaction_id, amount),
        (Operation::Void, None) => close(payment),
        (Operation::Refund, Some(transaction_id)) => refund(payment, transaction_id, amount),
        (Operation::Capture | Operation::Refund, None) => no(
            422,
            "transaction_id is required: it says which money is meant",
        ),
    }
}

/// Whether the customer can still pay in the ordinary way.
pub(crate) fn payable(payment: &Payment) -> bool {
    payment.status() == Status::Pending
}

/// Decides on what the customer does. A transaction id of its own stands for
/// another card payment: it brings more money even when the payment has been
/// paid or declined before, as long as nothing closed or voided it.
pub(super) fn customer(
    payment: &Payment,
    action: Action,
    transaction_id: Option<String>,
    new_transaction_id: impl FnOnce() -> String,
) -> Option<Effect> {
    let another = action == Action::Pay
        && !payment.closed
        && payment.status() != Status::Voided
        && transaction_id
            .as_deref()
            .is_some_and(|id| payment.transaction(id).is_none());
    if !payable(payment) && !another {
        return None;
    }
    let transaction_id = transaction_id.unwrap_or_else(new_transaction_id);
    let amount = payment.amount;
    Some(match action {
        Action::Pay => Effect::Authorize {
            transaction_id,
            amount,
        },
        Action::Decline => Effect::Decline {
            transaction_id,
            amount,
        },
    })
}

fn capture(payment: &Payment, transaction_id: &str, amount: Option<i64>) -> Verdict {
    let known = payment.transaction(transaction_id);
    let authorized = known.map_or(payment.amount, |transaction| transaction.amount);
    let amount = amount.unwrap_or(authorized);
    let take = Effect::Capture {
        transaction_id: transaction_id.to_owned(),
        amount,
    };
    let enough = |effects| {
        if amount > authorized {
            return no(
                422,
                &format!("{amount} cannot be captured: {authorized} is authorized"),
            );
        }
        Ok(effects)
    };
    match known {
        Some(known) if known.status == Status::Captured => {
            if known.captured_amount == Some(amount) {
                return Ok(Vec::new());
            }
            no(409, "this transaction was captured with another amount")
        }
        _ if payment.status() == Status::Captured => {
            no(409, "another transaction of this payment was captured")
        }
        Some(known) if known.status == Status::Authorized => enough(vec![take]),
        Some(known) => no(
            409,
            &format!(
                "this transaction is {} and cannot be captured",
                known.status.word()
            ),
        ),
        // Authorized by a callback that somebody wrote by hand: an authorization
        // of its own, whatever has become of the payment's others. A customer who
        // has declined has authorized nothing.
        None if !payment.closed && !payment.is_declined() => enough(vec![
            Effect::Authorize {
                transaction_id: transaction_id.to_owned(),
                amount: payment.amount,
            },
            take,
        ]),
        None => no(
            409,
            &format!("this payment is closed and knows no transaction {transaction_id:?}"),
        ),
    }
}

fn void(payment: &Payment, transaction_id: &str, amount: Option<i64>) -> Verdict {
    let give_back = Effect::Void {
        transaction_id: transaction_id.to_owned(),
    };
    let Some(known) = payment.transaction(transaction_id) else {
        // Money the shop heard of by other means, a callback written by hand:
        // it came, and it goes back.
        let came = Effect::Authorize {
            transaction_id: transaction_id.to_owned(),
            amount: amount.unwrap_or(payment.amount),
        };
        return Ok(vec![came, give_back]);
    };
    match known.status {
        Status::Authorized => Ok(vec![give_back]),
        Status::Captured => no(409, "captured money cannot be voided: refund it"),
        Status::Refunded => no(409, "refunded money cannot be voided"),
        Status::Voided | Status::Declined | Status::Pending => Ok(Vec::new()),
    }
}

/// A void of the payment as a whole: what is held goes back, and no more is
/// taken.
fn close(payment: &Payment) -> Verdict {
    match payment.status() {
        Status::Captured => return no(409, "captured money cannot be voided: refund it"),
        _ if payment.closed => return Ok(Vec::new()),
        _ => {}
    }
    let held = payment
        .transactions
        .iter()
        .filter(|transaction| transaction.status == Status::Authorized)
        .map(|transaction| Effect::Void {
            transaction_id: transaction.transaction_id.clone(),
        });
    Ok(std::iter::once(Effect::Close).chain(held).collect())
}

fn refund(payment: &Payment, transaction_id: &str, amount: Option<i64>) -> Verdict {
    let Some(known) = payment.transaction(transaction_id) else {
        return no(
            409,
            &format!("this payment knows no transaction {transaction_id:?}"),
        );
    };
    match known.status {
        Status::Captured => {
            // In part, or what is left of it.
            let left = known.refundable();
            let amount = amount.unwrap_or(left);
            if amount > left {
                return no(
                    422,
                    &format!(
                        "{amount} cannot be refunded: {} was captured, {} of it has gone back",
                        known.captured(),
                        known.refunded_amount
                    ),
                );
            }
            Ok(vec![Effect::Refund {
                transaction_id: transaction_id.to_owned(),
                amount,
            }])
        }
        // All of it went back before: whoever asks for that has it.
        Status::Refunded if amount.is_none_or(|amount| amount == known.captured()) => {
            Ok(Vec::new())
        }
        Status::Refunded => no(409, "this transaction has gone back as a whole"),
        status => no(
            409,
            &format!(
                "this transaction is {}: only captured money can be refunded",
                status.word()
            ),
        ),
    }
}

fn no(http_status: u16, error: &str) -> Verdict {
    Err(Refusal {
        http_status,
        error: error.to_owned(),
    })
}

impl Operation {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Authorized => "authorized",
            Self::Declined => "declined",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
        }
    }
}
