//! What a user's session decides about an order that is being paid: pure
//! functions of what it holds and what it is asked.
//!
//! `UserSession`'s handlers read their state and the time, ask here, and do
//! what follows: a list of [`Effect`]s, all of them or none, with no await in
//! between. `tests/payment_model.rs` drives the same functions through every
//! interleaving of callbacks, expiry, cancellation, second attempts and direct
//! resolutions.
//!
//! The rules: the first receipt that is accepted counts, whatever else happens
//! ([`Attempt::receive`]); money that does not count goes back, once, and the
//! customer is told ([`Stray::send_back`]); nothing that comes for an attempt
//! changes another one; a transaction is one attempt's for ever
//! ([`Callback::claim`], [`Settling::claim`]).

use jiff::Timestamp;

use crate::audit::By;
use crate::basket::{Basket, Line};
use crate::checkout::{
    AwaitPayment, CallbackAnswer, CancelAnswer, CancelOrder, Checkout, CheckoutAnswer, HandedOver,
    Marker, PaymentCallback, PaymentOpened, Settle, TakeBack,
};
use crate::ids::{AttemptId, OrderId};
use crate::money::Cents;
use crate::order::{Compensable, IllegalStep, OrderRecord, OrderStatus, Step};
use crate::payment::{
    LateMoney, LatePayment, PaymentAttempt, PaymentOrder, PaymentOutcome, PaymentReceipt,
    PaymentStatus, ReceiptStatus, TransactionClaim, TransactionOwner,
};
use crate::placement::Placement;
use crate::refusal::Refusal;

/// What follows from a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The order's record is kept as its marker and said aloud.
    Write(Box<OrderRecord>),
    /// The basket is kept and said aloud.
    Keep(Basket),
    /// The order is with its workflow: its marker keeps what a late callback needs,
    /// and the record is said aloud.
    HandOver(Box<OrderRecord>),
    /// What is left of the marker of an order that its workflow has.
    Remember(OrderId, HandedOver),
    /// Late money is noted and said aloud.
    NoteLate(LateMoney),
    /// `AwaitPayment` is sent.
    Await(AwaitPayment),
    /// The awakeable of a receipt is resolved with it.
    Resolve(PaymentReceipt),
    /// An awakeable is rejected.
    Reject {
        /// Its id.
        awakeable_id: String,
        /// Why.
        reason: String,
    },
    /// The stock of an attempt is given back.
    Release {
        /// Which.
        attempt: AttemptId,
        /// What was reserved.
        lines: Vec<Line>,
    },
    /// One transaction's money goes back.
    Void(PaymentOrder),
    /// An attempt's payment ends at the provider as a whole.
    Close(PaymentOrder),
    /// The workflow is started.
    Run(Box<OrderRecord>),
    /// The marker and its late money are forgotten.
    Forget(OrderId),
}

/// A decision: what follows, and what whoever asked is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided<T> {
    /// In this order.
    pub effects: Vec<Effect>,
    /// The answer.
    pub answer: T,
}

/// What a checkout finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckoutFinds {
    /// It was placed before: this is the answer.
    Placed(CheckoutAnswer),
    /// It can be placed: this attempt is the next.
    Next(NextAttempt),
}

/// An attempt that is about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextAttempt {
    /// Its id.
    pub id: AttemptId,
    previous: Option<OrderRecord>,
}

/// Whether an order can be placed, or is placed already, on the terms that are
/// asked for.
pub fn look(marker: Option<Marker>, asked: &Checkout) -> Result<CheckoutFinds, Refusal> {
    let order_id = asked.order_id.clone();
    let previous = match marker {
        None if asked.known_as_paid => {
            return Ok(CheckoutFinds::Placed(CheckoutAnswer::AlreadyPaid {
                order_id,
            }));
        }
        None => None,
        Some(Marker::HandedOver(_)) => {
            return Ok(CheckoutFinds::Placed(CheckoutAnswer::AlreadyPaid {
                order_id,
            }));
        }
        Some(Marker::Here(record)) => match record.status {
            OrderStatus::AwaitingPayment => {
                asked.agrees_with(&record)?;
                let answer = CheckoutAnswer::Placed { record: *record };
                return Ok(CheckoutFinds::Placed(answer));
            }
            OrderStatus::AwaitingApproval => {
                let answer = CheckoutAnswer::AlreadyPaid { order_id };
                return Ok(CheckoutFinds::Placed(answer));
            }
            status if status.may_retry_payment() => Some(*record),
            status => return Err(Refusal::TooLate { order_id, status }),
        },
    };
    let attempt = previous
        .as_ref()
        .map_or(1, |record| record.payment().attempt + 1);
    Ok(CheckoutFinds::Next(NextAttempt {
        id: AttemptId { order_id, attempt },
        previous,
    }))
}

/// What a checkout that was done before is answered: how its order stands now,
/// and never another attempt. A later attempt may wait on other terms.
pub fn look_again(marker: Option<Marker>, asked: &Checkout) -> Result<CheckoutAnswer, Refusal> {
    let order_id = asked.order_id.clone();
    match marker {
        None if asked.known_as_paid => Ok(CheckoutAnswer::AlreadyPaid { order_id }),
        None => Err(Refusal::UnknownOrder { order_id }),
        Some(Marker::HandedOver(_)) => Ok(CheckoutAnswer::AlreadyPaid { order_id }),
        Some(Marker::Here(record)) => {
            if record.status == OrderStatus::AwaitingPayment {
                asked.agrees_with(&record)?;
            }
            Ok(CheckoutAnswer::Placed { record: *record })
        }
    }
}

/// Whether an order waits for its payment: then it keeps pieces from others.
pub fn is_unpaid(marker: Option<&Marker>) -> bool {
    matches!(marker, Some(Marker::Here(record)) if record.status == OrderStatus::AwaitingPayment)
}

impl NextAttempt {
    /// What it is made on: terms that were not named are as they were the last
    /// time, whatever whoever asked has filled in for them.
    #[must_use]
    pub fn terms(&self, mut asked: Checkout) -> Checkout {
        if let Some(last) = &self.previous {
            if !asked.named.address {
                asked.shipping.address.clone_from(&last.address);
            }
            if !asked.named.zone && asked.shipping.zone != last.zone {
                asked.shipping.zone.clone_from(&last.zone);
                asked.shipping.cost_cents = last.shipping_cents;
            }
        }
        asked
    }

    /// Makes it, now that its stock is reserved.
    pub fn place(
        self,
        placement: Placement,
        provider_is_away: bool,
        now: Timestamp,
    ) -> Result<Decided<CheckoutAnswer>, Refusal> {
        let pay_until = placement.pay_until;
        let record = match self.previous {
            None => OrderRecord::place(self.id.order_id.clone(), placement, now),
            Some(record) => record
                .retry(placement, now)
                .map_err(|record| Refusal::TooLate {
                    order_id: record.order_id,
                    status: record.status,
                })?,
        };
        let wait = AwaitPayment {
            attempt: self.id,
            amount_cents: record.total_cents,
            pay_until,
            provider_is_away,
        };
        Ok(Decided {
            effects: vec![Effect::Write(Box::new(record.clone())), Effect::Await(wait)],
            answer: CheckoutAnswer::Placed { record },
        })
    }
}

/// An attempt that is the order's current one and waits for its money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt(OrderRecord);

impl Attempt {
    /// The attempt, if it is still open.
    pub fn open(marker: Option<Marker>, attempt: &AttemptId) -> Option<Self> {
        match marker {
            Some(Marker::Here(record))
                if record.attempt() == *attempt
                    && record.status == OrderStatus::AwaitingPayment =>
            {
                Some(Self(*record))
            }
            _ => None,
        }
    }

    /// Its awakeable, from whoever has it: a callback that comes later still finds it.
    fn knowing(self, awakeable_id: Option<String>) -> Self {
        match awakeable_id {
            Some(awakeable_id) => Self(self.0.with_awakeable(awakeable_id)),
            None => self,
        }
    }

    /// Notes its awakeable and the provider's page, as far as they are news.
    fn opened(self, opened: PaymentOpened, now: Timestamp) -> Result<Vec<Effect>, IllegalStep> {
        let version = self.0.version;
        let mut record = self.0;
        if record.payment().awakeable_id.is_none() {
            let awakeable_id = opened.awakeable_id;
            record = record.apply(Step::PaymentOpened { awakeable_id }, now)?;
        }
        if let Some(page) = opened.provider
            && record.payment().payment_id.is_none()
        {
            record = record.apply(Step::PaymentPageReady(page), now)?;
        }
        let is_news = record.version > version;
        Ok(is_news
            .then(|| Effect::Write(Box::new(record)))
            .into_iter()
            .collect())
    }

    /// Writes a receipt down, does at once what follows from it, so that it
    /// holds for whatever is asked next, and ends the wait.
    pub fn receive(
        self,
        receipt: PaymentReceipt,
        basket: Basket,
        now: Timestamp,
    ) -> Result<Decided<CallbackAnswer>, IllegalStep> {
        let outcome = receipt.outcome(&self.0.order_id, self.0.payment().amount_cents);
        let noted = Step::ReceiptNoted(Box::new(receipt.clone()));
        let ended = Self(self.0.apply(noted, now)?).end(outcome.clone(), basket, now)?;
        let wake = match outcome {
            PaymentOutcome::Declined { reason } => Effect::Reject {
                awakeable_id: receipt.awakeable_id,
                reason,
            },
            _ => Effect::Resolve(receipt),
        };
        Ok(Decided {
            effects: ended.effects.into_iter().chain([wake]).collect(),
            answer: CallbackAnswer::Accepted {
                record: ended.answer,
            },
        })
    }

    /// Money that this outcome would bring, while another receipt, which
    /// counts, was written down.
    pub fn stray(&self, outcome: &PaymentOutcome) -> Option<Stray> {
        let payment = self.0.payment();
        payment.receipt.as_ref()?;
        let money = money_of(outcome, payment.amount_cents)?;
        (!is_money_of(payment, &money.transaction_id)).then(|| Stray {
            order_id: self.0.order_id.clone(),
            attempt: payment.clone(),
            money,
        })
    }

    /// Ends it; answers the order as it is then. What the provider said first
    /// counts, whatever the outcome is.
    pub fn end(
        self,
        outcome: PaymentOutcome,
        basket: Basket,
        now: Timestamp,
    ) -> Result<Decided<OrderRecord>, IllegalStep> {
        let record = self.0;
        let due = record.payment().amount_cents;
        let outcome = match &record.payment().receipt {
            Some(receipt) => receipt.outcome(&record.order_id, due),
            None => outcome,
        };
        let transaction = money_of(&outcome, due).map(|money| money.transaction_id);
        let Some(turn) = turn(outcome, due) else {
            let step = Step::PaymentConfirmed {
                transaction_id: transaction.unwrap_or_default(),
            };
            let record = record.apply(step, now)?.approval_requested(now)?;
            return Ok(Decided {
                effects: vec![
                    Effect::HandOver(Box::new(record.clone())),
                    Effect::Keep(basket.without(&record.lines)),
                    Effect::Run(Box::new(record.clone())),
                ],
                answer: record,
            });
        };
        let mut money = record.payment_order();
        money.transaction_id = transaction;
        let record = record
            .apply(turn, now)?
            .apply(Step::Undone(Compensable::Reserved), now)?
            .apply(Step::Ended, now)?;
        let mut effects = vec![
            Effect::Write(Box::new(record.clone())),
            Effect::Release {
                attempt: record.attempt(),
                lines: record.lines.clone(),
            },
        ];
        // The provider is asked in the words of the first question, which name the
        // awakeable. Where that is not known yet, whoever tells it closes (`opened`).
        if record.payment().awakeable_id.is_some() {
            effects.push(Effect::Close(money));
        }
        Ok(Decided {
            effects,
            answer: record,
        })
    }
}

/// Notes the awakeable and the provider's page of an attempt; answers whether it is
/// still open. For one that has ended see [`told_too_late`].
pub fn opened(
    marker: Option<Marker>,
    opened: PaymentOpened,
    now: Timestamp,
) -> Result<Decided<bool>, IllegalStep> {
    if let Some(attempt) = Attempt::open(marker.clone(), &opened.attempt) {
        return Ok(Decided {
            effects: attempt.opened(opened, now)?,
            answer: true,
        });
    }
    Ok(Decided {
        effects: told_too_late(marker, &opened.attempt, opened.awakeable_id, now),
        answer: false,
    })
}

/// The awakeable of an attempt that has ended: its wait is ended, too. If nobody knew
/// it before, the attempt keeps it, so that money which comes for it is recognized,
/// and its payment is closed now.
pub fn told_too_late(
    marker: Option<Marker>,
    attempt: &AttemptId,
    awakeable_id: String,
    now: Timestamp,
) -> Vec<Effect> {
    let number = attempt.attempt;
    let noted = match marker {
        Some(Marker::Here(record)) => record
            .with_late_awakeable(number, awakeable_id.clone(), now)
            .map(|record| (record.payments.clone(), Effect::Write(Box::new(record)))),
        Some(Marker::HandedOver(marker)) => marker
            .with_late_awakeable(number, awakeable_id.clone())
            .map(|marker| {
                let order_id = attempt.order_id.clone();
                (marker.attempts.clone(), Effect::Remember(order_id, marker))
            }),
        None => None,
    };
    let noted = noted.into_iter().flat_map(|(attempts, noted)| {
        let payment = attempts.into_iter().find(|it| it.attempt == number);
        let close = payment.map(|payment| {
            Effect::Close(PaymentOrder {
                attempt: attempt.clone(),
                awakeable_id: awakeable_id.clone(),
                amount_cents: payment.amount_cents,
                capture_cents: None,
                payment_id: None,
                transaction_id: None,
            })
        });
        [Some(noted), close].into_iter().flatten()
    });
    let mut effects: Vec<_> = noted.collect();
    effects.push(Effect::Reject {
        awakeable_id,
        reason: "the attempt had ended".to_owned(),
    });
    effects
}

/// The step that a bad outcome is.
fn turn(outcome: PaymentOutcome, due: Cents) -> Option<Step> {
    match outcome {
        PaymentOutcome::Paid { .. } => None,
        PaymentOutcome::Mismatched {
            paid_cents,
            currency,
            ..
        } => {
            let paid = match currency {
                Some(currency) => paid_cents.in_currency(&currency),
                None => paid_cents.to_string(),
            };
            Some(Step::PaymentFailed {
                reason: format!("{paid} was paid instead of {due}"),
            })
        }
        PaymentOutcome::Declined { reason } => Some(Step::PaymentFailed { reason }),
        PaymentOutcome::Expired => Some(Step::PaymentExpired),
        PaymentOutcome::Cancelled { by, reason, from } => Some(Step::Cancelled {
            by: By { who: by, from },
            reason,
        }),
    }
}

/// What a callback is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "decided once, then taken apart")]
pub enum Callback {
    /// The first word on an attempt that waits for it.
    News(Attempt, PaymentReceipt),
    /// Known already, or nothing that moves money.
    Repeated,
    /// Money that nobody waits for.
    Stray(Stray),
}

impl Callback {
    /// The transaction whose money this takes or sends back.
    pub fn claim(&self) -> Option<TransactionClaim> {
        match self {
            Self::News(attempt, receipt) => {
                let paid = receipt.status == ReceiptStatus::Success;
                paid.then(|| attempt.claim(&receipt.transaction_id))
            }
            Self::Repeated => None,
            Self::Stray(stray) => Some(stray.claim()),
        }
    }
}

/// What a callback is, or why it is not taken.
pub fn called_back(marker: Option<Marker>, callback: PaymentCallback) -> Result<Callback, Refusal> {
    let PaymentCallback {
        order_id, receipt, ..
    } = callback;
    let marker = marker.ok_or(Refusal::UnknownPayment)?;
    let attempts = match &marker {
        Marker::Here(record) => &record.payments,
        Marker::HandedOver(marker) => &marker.attempts,
    };
    let known = attempts
        .iter()
        .find(|attempt| attempt.awakeable_id.as_deref() == Some(&receipt.awakeable_id));
    let Some(attempt) = known.cloned() else {
        // The provider is faster than its own answer to our question.
        let may_come = attempts.iter().any(|it| it.awakeable_id.is_none());
        return Err(if may_come {
            Refusal::NotReady { order_id }
        } else {
            Refusal::UnknownPayment
        });
    };
    receipt.fits(&order_id, attempt.amount_cents)?;
    let paid = receipt.status == ReceiptStatus::Success;
    Ok(match marker {
        Marker::Here(record)
            if attempt.is_open()
                && attempt.receipt.is_none()
                && record.status == OrderStatus::AwaitingPayment =>
        {
            Callback::News(Attempt(*record), receipt)
        }
        _ if !paid || is_money_of(&attempt, &receipt.transaction_id) => Callback::Repeated,
        _ => Callback::Stray(Stray {
            order_id,
            attempt,
            money: Money {
                transaction_id: receipt.transaction_id,
                amount_cents: Cents(receipt.amount),
            },
        }),
    })
}

/// What the end of a wait for money is to the session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "decided once, then taken apart")]
pub enum Settling {
    /// The end of the current attempt.
    Ends(Attempt, PaymentOutcome),
    /// The attempt has ended before. Its money goes back, if it brought any.
    Ended {
        /// How it ended: where that brought the order.
        status: OrderStatus,
        /// What goes back.
        stray: Option<Stray>,
    },
}

impl Settling {
    /// The transaction whose money this takes or sends back.
    pub fn claim(&self) -> Option<TransactionClaim> {
        match self {
            Self::Ends(attempt, outcome) => {
                let payment = attempt.0.payment();
                let money = money_of(outcome, payment.amount_cents)?;
                let is_new = !is_money_of(payment, &money.transaction_id);
                is_new.then(|| attempt.claim(&money.transaction_id))
            }
            Self::Ended { stray, .. } => stray.as_ref().map(Stray::claim),
        }
    }

    /// The same when the money turns out to be somebody else's: it pays for
    /// nothing here, and is not ours to send back.
    #[must_use]
    pub fn without_money(self) -> Self {
        match self {
            Self::Ends(attempt, _) => Self::Ends(
                attempt,
                PaymentOutcome::Declined {
                    reason: "the transaction belongs to another payment".to_owned(),
                },
            ),
            Self::Ended { status, .. } => Self::Ended {
                status,
                stray: None,
            },
        }
    }
}

/// What the end of a wait for money is to the session.
pub fn settle(marker: Option<Marker>, settle: Settle) -> Settling {
    let Settle {
        attempt,
        outcome,
        awakeable_id,
        ..
    } = settle;
    if let Some(open) = Attempt::open(marker.clone(), &attempt) {
        return Settling::Ends(open.knowing(awakeable_id), outcome);
    }
    let attempts = match marker {
        Some(Marker::Here(record)) => record.payments,
        Some(Marker::HandedOver(marker)) => marker.attempts,
        None => Vec::new(),
    };
    let ended = attempts
        .into_iter()
        .find(|other| other.attempt == attempt.attempt);
    // Of this attempt, whatever a later one has come to since.
    let status = match ended.as_ref().map(|ended| ended.status) {
        Some(PaymentStatus::Failed) => OrderStatus::PaymentFailed,
        Some(PaymentStatus::Expired) => OrderStatus::PaymentExpired,
        Some(PaymentStatus::Cancelled) | None => OrderStatus::Cancelled,
        Some(_) => OrderStatus::AwaitingApproval,
    };
    let stray = ended.and_then(|ended| {
        let money = money_of(&outcome, ended.amount_cents)?;
        (!is_money_of(&ended, &money.transaction_id)).then_some(Stray {
            order_id: attempt.order_id,
            attempt: ended,
            money,
        })
    });
    Settling::Ended { status, stray }
}

/// What a cancellation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelling {
    /// Nothing more to do here: this is the answer.
    Answer(CancelAnswer),
    /// It ends an attempt that waits for its money.
    Ends(Attempt, CancelOrder),
}

/// What a cancellation is, or why it comes too late.
pub fn cancel(marker: Option<Marker>, cancel: CancelOrder) -> Result<Cancelling, Refusal> {
    let record = match marker {
        None => {
            return Err(Refusal::UnknownOrder {
                order_id: cancel.order_id,
            });
        }
        Some(Marker::HandedOver(_)) => return Ok(Cancelling::Answer(CancelAnswer::HandedOver)),
        Some(Marker::Here(record)) => *record,
    };
    match record.status {
        OrderStatus::AwaitingPayment => Ok(Cancelling::Ends(Attempt(record), cancel)),
        OrderStatus::AwaitingApproval => Ok(Cancelling::Answer(CancelAnswer::HandedOver)),
        // The second click finds it done.
        OrderStatus::Cancelled => Ok(Cancelling::Answer(CancelAnswer::Cancelled { record })),
        status => Err(Refusal::TooLate {
            order_id: cancel.order_id,
            status,
        }),
    }
}

impl Attempt {
    /// Takes the order back. A receipt that was written down before wins: then
    /// the answer is where that brings the order.
    pub fn cancel(
        self,
        cancel: CancelOrder,
        basket: Basket,
        now: Timestamp,
    ) -> Result<Decided<Result<CancelAnswer, Refusal>>, IllegalStep> {
        let awakeable_id = self.0.payment().awakeable_id.clone();
        let outcome = PaymentOutcome::Cancelled {
            by: cancel.by,
            reason: cancel.reason,
            from: cancel.from,
        };
        let ended = self.end(outcome, basket, now)?;
        let reject = awakeable_id.map(|awakeable_id| Effect::Reject {
            awakeable_id,
            reason: "the order was cancelled".to_owned(),
        });
        let record = ended.answer;
        let answer = match record.status {
            OrderStatus::Cancelled => Ok(CancelAnswer::Cancelled { record }),
            OrderStatus::AwaitingApproval => Ok(CancelAnswer::HandedOver),
            status => Err(Refusal::TooLate {
                order_id: record.order_id,
                status,
            }),
        };
        Ok(Decided {
            effects: reject.into_iter().chain(ended.effects).collect(),
            answer,
        })
    }
}

/// The workflow has an order that was taken back, or that an older version has
/// not handed over when it was paid.
pub fn hand_over(marker: Option<Marker>) -> Vec<Effect> {
    match marker {
        Some(Marker::Here(record)) => vec![Effect::HandOver(record)],
        _ => Vec::new(),
    }
}

/// An order whose workflow was killed, on its way back to the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenBack {
    newest: OrderRecord,
    by: String,
    reason: Option<String>,
}

/// The newest record there is of an order that is taken back, or why it is not:
/// only what has been paid and has not ended can be.
pub fn take_back(marker: Option<Marker>, left: TakeBack) -> Result<TakenBack, Refusal> {
    let TakeBack { record, by, reason } = left;
    let newest = match marker {
        None => {
            return Err(Refusal::UnknownOrder {
                order_id: record.order_id,
            });
        }
        Some(Marker::Here(held)) if held.version >= record.version => *held,
        Some(Marker::Here(_) | Marker::HandedOver(_)) => record,
    };
    let status = newest.status;
    if status == OrderStatus::AwaitingPayment || status.is_terminal() {
        return Err(Refusal::TooLate {
            order_id: newest.order_id,
            status,
        });
    }
    Ok(TakenBack { newest, by, reason })
}

impl TakenBack {
    /// Turned towards its end, if it was not before: asked again it is the same.
    pub fn turned(self, now: Timestamp) -> Result<OrderRecord, IllegalStep> {
        let Self { newest, by, reason } = self;
        if newest.undoing.is_some() {
            return Ok(newest);
        }
        let by = by.into();
        newest.apply(Step::Cancelled { by, reason }, now)
    }
}

/// Since when an order has ended as far as its session goes: paid, or failed.
/// `None`: it has not.
pub fn ended_at(marker: &Marker) -> Option<Timestamp> {
    match marker {
        Marker::HandedOver(marker) => Some(marker.paid_at),
        Marker::Here(record) => record.status.is_terminal().then_some(record.updated_at),
    }
}

/// Money that somebody moved.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Money {
    transaction_id: String,
    amount_cents: Cents,
}

/// Money that pays for nothing: it goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    order_id: OrderId,
    attempt: PaymentAttempt,
    money: Money,
}

impl Attempt {
    fn claim(&self, transaction_id: &str) -> TransactionClaim {
        claim_of(&self.0.order_id, self.0.payment(), transaction_id)
    }
}

fn claim_of(
    order_id: &OrderId,
    payment: &PaymentAttempt,
    transaction_id: &str,
) -> TransactionClaim {
    TransactionClaim {
        transaction_id: transaction_id.to_owned(),
        owner: TransactionOwner {
            attempt: AttemptId {
                order_id: order_id.clone(),
                attempt: payment.attempt,
            },
            awakeable_id: payment.awakeable_id.clone().unwrap_or_default(),
        },
    }
}

impl Stray {
    fn claim(&self) -> TransactionClaim {
        claim_of(&self.order_id, &self.attempt, &self.money.transaction_id)
    }

    /// Voids it, once, and notes it for the customer. Answers whether it was
    /// news.
    pub fn send_back(self, late: Option<LateMoney>, now: Timestamp) -> Decided<bool> {
        let Self {
            order_id,
            attempt,
            money,
        } = self;
        let mut late = late.unwrap_or_else(|| LateMoney {
            version: 0,
            order_id: order_id.clone(),
            user_id: order_id.owner(),
            payments: Vec::new(),
        });
        let known = late.payments.iter().any(|payment| {
            payment.attempt == attempt.attempt && payment.transaction_id == money.transaction_id
        });
        if known {
            return Decided {
                effects: Vec::new(),
                answer: false,
            };
        }
        late.version += 1;
        // Whoever asked first may come last: what is told keeps its order.
        let at = late
            .payments
            .iter()
            .map(|it| it.at)
            .fold(now, Timestamp::max);
        late.payments.push(LatePayment {
            at,
            attempt: attempt.attempt,
            transaction_id: money.transaction_id.clone(),
            amount_cents: money.amount_cents,
        });
        let void = PaymentOrder {
            attempt: AttemptId {
                order_id,
                attempt: attempt.attempt,
            },
            awakeable_id: attempt.awakeable_id.unwrap_or_default(),
            amount_cents: attempt.amount_cents,
            capture_cents: None,
            payment_id: attempt.payment_id,
            transaction_id: Some(money.transaction_id),
        };
        Decided {
            effects: vec![Effect::NoteLate(late), Effect::Void(void)],
            answer: true,
        }
    }
}

fn money_of(outcome: &PaymentOutcome, due: Cents) -> Option<Money> {
    match outcome {
        PaymentOutcome::Paid { transaction_id } => Some(Money {
            transaction_id: transaction_id.clone(),
            amount_cents: due,
        }),
        PaymentOutcome::Mismatched {
            transaction_id,
            paid_cents,
            ..
        } => Some(Money {
            transaction_id: transaction_id.clone(),
            amount_cents: *paid_cents,
        }),
        _ => None,
    }
}

/// Whether an attempt is, or will be, paid by this transaction.
fn is_money_of(attempt: &PaymentAttempt, transaction_id: &str) -> bool {
    attempt.transaction_id.as_deref() == Some(transaction_id)
        || (attempt.is_open()
            && attempt.receipt.as_ref().is_some_and(|receipt| {
                receipt.status == ReceiptStatus::Success && receipt.transaction_id == transaction_id
            }))
}

/// What ends the wait for a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// What the awakeable was resolved with, or why it is no receipt.
    Receipt(Result<PaymentReceipt, String>),
    /// The payment window has ended.
    Deadline,
}

impl AwaitPayment {
    /// What the wait has come to.
    pub fn hear(&self, heard: Heard) -> PaymentOutcome {
        match heard {
            Heard::Receipt(Ok(receipt)) => {
                receipt.outcome(&self.attempt.order_id, self.amount_cents)
            }
            Heard::Receipt(Err(reason)) => PaymentOutcome::Declined { reason },
            Heard::Deadline => PaymentOutcome::Expired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::basket::Product;
    use crate::checkout::NamedTerms;
    use crate::ids::{Sku, Username};
    use crate::order::EventKind;
    use crate::placement::{ProviderPage, Shipping};

    const DUE: i64 = 1_500;

    fn at() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn basket() -> Basket {
        let product = Product {
            sku: Sku::parse("P001").unwrap(),
            product_id: 1,
            name: "Widget".into(),
            unit_price_cents: Cents(1_000),
        };
        let empty = Basket::empty(Username::parse("alice").unwrap());
        empty.add(product, 1).unwrap()
    }

    fn asked(zone: Option<&str>, address: Option<&str>) -> Checkout {
        Checkout {
            order_id: OrderId::parse("alice.1").unwrap(),
            not_sold: vec![],
            prices: Vec::new(),
            shipping: Shipping {
                zone: zone.unwrap_or("Filled in").into(),
                cost_cents: Cents(500),
                address: address.unwrap_or("filled in").into(),
            },
            expected_total_cents: None,
            named: NamedTerms {
                zone: zone.is_some(),
                address: address.is_some(),
            },
            known_as_paid: false,
            provider_is_away: false,
            unpaid: None,
            at: None,
        }
    }

    fn placed(asked: Checkout) -> OrderRecord {
        let Ok(CheckoutFinds::Next(next)) = look(None, &asked) else {
            panic!("it is new");
        };
        let placement = Placement {
            lines: basket().items,
            shipping: asked.shipping,
            pay_until: at(),
            approve_within_ms: Some(0),
        };
        let placed = next.place(placement, false, at()).unwrap();
        let CheckoutAnswer::Placed { record } = placed.answer else {
            panic!("it is placed");
        };
        let opened = Step::PaymentOpened {
            awakeable_id: "sign_1".into(),
        };
        record.apply(opened, at()).unwrap()
    }

    fn receipt(transaction_id: &str) -> PaymentReceipt {
        PaymentReceipt {
            awakeable_id: "sign_1".into(),
            transaction_id: transaction_id.into(),
            amount: DUE,
            status: ReceiptStatus::Success,
            reason: None,
            currency: None,
            order_id: None,
        }
    }

    fn here(record: &OrderRecord) -> Marker {
        Marker::Here(Box::new(record.clone()))
    }

    /// A receipt that was written down and nothing more: what services of before
    /// have left, when they were replaced between the callback and its settling.
    fn noted() -> OrderRecord {
        let record = placed(asked(Some("Domestic"), Some("1 Main St")));
        let noted = Step::ReceiptNoted(Box::new(receipt("txn-1")));
        record.apply(noted, at()).unwrap()
    }

    #[test]
    fn a_receipt_that_older_services_have_noted_still_counts() {
        let record = noted();
        let cancel_it = CancelOrder {
            order_id: record.order_id.clone(),
            by: "alice".into(),
            reason: None,
            at: None,
            from: crate::audit::Origin::default(),
        };
        let Ok(Cancelling::Ends(attempt, cancel_it)) = cancel(Some(here(&record)), cancel_it)
        else {
            panic!("it is pending");
        };
        let cancelled = attempt.cancel(cancel_it, basket(), at()).unwrap();
        assert_eq!(cancelled.answer, Ok(CancelAnswer::HandedOver));

        let settle_it = Settle {
            attempt: record.attempt(),
            outcome: PaymentOutcome::Expired,
            awakeable_id: None,
            at: None,
        };
        let settling = settle(Some(here(&record)), settle_it);
        assert_eq!(settling.claim(), None, "it was accepted before claims were");
        let Settling::Ends(attempt, outcome) = settling else {
            panic!("it is pending");
        };
        let ended = attempt.end(outcome, basket(), at()).unwrap().answer;
        assert_eq!(ended.status, OrderStatus::AwaitingApproval);
        assert_eq!(ended.payment().transaction_id.as_deref(), Some("txn-1"));
    }

    #[test]
    fn a_callback_after_a_noted_receipt_is_told_apart() {
        let callback = |transaction: &str| {
            let callback = PaymentCallback {
                order_id: OrderId::parse("alice.1").unwrap(),
                receipt: receipt(transaction),
                at: None,
            };
            called_back(Some(here(&noted())), callback).unwrap()
        };
        assert_eq!(callback("txn-1"), Callback::Repeated);
        let Callback::Stray(stray) = callback("txn-2") else {
            panic!("another one's money");
        };
        assert!(stray.send_back(None, at()).answer);
    }

    #[test]
    fn late_money_is_told_in_the_order_in_which_it_is_noted() {
        let record = noted();
        let stray = |transaction: &str| {
            let callback = PaymentCallback {
                order_id: record.order_id.clone(),
                receipt: receipt(transaction),
                at: None,
            };
            match called_back(Some(here(&record)), callback).unwrap() {
                Callback::Stray(stray) => stray,
                other => panic!("another one's money: {other:?}"),
            }
        };
        let second = |number| Timestamp::from_second(number).unwrap();
        let noted = |decided: Decided<bool>| match &decided.effects[0] {
            Effect::NoteLate(late) => late.clone(),
            other => panic!("it is noted: {other:?}"),
        };
        let late = noted(stray("txn-2").send_back(None, second(9)));
        let late = noted(stray("txn-3").send_back(Some(late), second(4)));
        let times: Vec<_> = late.payments.iter().map(|it| it.at).collect();
        assert_eq!(times, [second(9), second(9)]);
    }

    #[test]
    fn a_repeated_checkout_is_not_answered_with_another_attempts_terms() {
        let second = placed(asked(Some("International"), Some("2 New Avenue")));
        let first = asked(Some("Local"), Some("1 Old Street"));
        let refused = look_again(Some(here(&second)), &first).unwrap_err();
        assert_eq!(refused.kind(), "other_terms");
        let same = look_again(Some(here(&second)), &asked(Some("International"), None));
        assert!(matches!(same, Ok(CheckoutAnswer::Placed { .. })));
    }

    #[test]
    fn a_second_attempt_is_made_on_the_terms_of_the_first() {
        let first = placed(asked(Some("Local"), Some("1 Old Street")));
        let failed = PaymentOutcome::Declined {
            reason: "no".into(),
        };
        let open = Attempt::open(Some(here(&first)), &first.attempt()).unwrap();
        let failed = open.end(failed, basket(), at()).unwrap().answer;
        let terms = |zone, address| {
            let asked = asked(zone, address);
            let Ok(CheckoutFinds::Next(next)) = look(Some(here(&failed)), &asked) else {
                panic!("it may be tried again");
            };
            let Shipping { zone, address, .. } = next.terms(asked).shipping;
            (zone, address)
        };
        let as_it_was = ("Local".to_owned(), "1 Old Street".to_owned());
        assert_eq!(terms(None, None), as_it_was);
        let moved = ("Local".to_owned(), "2 New Avenue".to_owned());
        assert_eq!(terms(None, Some("2 New Avenue")), moved);
        let abroad = ("International".to_owned(), "1 Old Street".to_owned());
        assert_eq!(terms(Some("International"), None), abroad);
    }

    fn paid() -> OrderRecord {
        let record = placed(asked(None, None));
        let open = Attempt::open(Some(here(&record)), &record.attempt()).unwrap();
        let received = open.receive(receipt("txn-1"), basket(), at()).unwrap();
        let CallbackAnswer::Accepted { record } = received.answer else {
            panic!("it is the first");
        };
        record
    }

    fn back(record: &OrderRecord) -> TakeBack {
        TakeBack {
            record: record.clone(),
            by: "operator".into(),
            reason: None,
        }
    }

    #[test]
    fn the_newest_of_a_paid_order_is_taken_back_and_turned_once() {
        let paid = paid();
        let handed_over = Marker::HandedOver(HandedOver::from(&paid));
        let by = "admin".into();
        let later = paid.apply(Step::Approved { by }, at()).unwrap();
        let taken = |marker: Marker, left: &OrderRecord| take_back(Some(marker), back(left));
        let turned = taken(handed_over, &later).unwrap().turned(at()).unwrap();
        assert_eq!(turned.undoing, Some(OrderStatus::Cancelled));
        assert_eq!(turned.version, later.version + 1);
        // Asked again with what the workflow left, the session's is newer.
        let again = taken(here(&turned), &later).unwrap().turned(at()).unwrap();
        assert_eq!(again, turned);
    }

    #[test]
    fn what_is_unknown_unpaid_or_over_is_not_taken_back() {
        let unpaid = placed(asked(None, None));
        assert_eq!(
            take_back(None, back(&unpaid)).unwrap_err().kind(),
            "unknown_order"
        );
        let failed = Attempt::open(Some(here(&unpaid)), &unpaid.attempt())
            .unwrap()
            .end(PaymentOutcome::Expired, basket(), at())
            .unwrap()
            .answer;
        for record in [unpaid, failed] {
            let refused = take_back(Some(here(&record)), back(&record)).unwrap_err();
            assert_eq!(refused.kind(), "too_late");
        }
    }

    #[test]
    fn an_order_is_forgotten_only_after_its_end() {
        let unpaid = placed(asked(None, None));
        assert_eq!(ended_at(&here(&unpaid)), None);
        let failed = Attempt::open(Some(here(&unpaid)), &unpaid.attempt())
            .unwrap()
            .end(PaymentOutcome::Expired, basket(), at())
            .unwrap()
            .answer;
        assert_eq!(ended_at(&here(&failed)), Some(failed.updated_at));
        let handed_over = HandedOver {
            paid_at: at(),
            attempts: Vec::new(),
        };
        assert_eq!(ended_at(&Marker::HandedOver(handed_over)), Some(at()));
    }

    #[test]
    fn a_paid_order_waits_for_an_admin_at_once() {
        let record = paid();
        assert_eq!(record.status, OrderStatus::AwaitingApproval);
        assert_eq!(record.wait_until, Some(at()));
        assert_eq!(
            record.events.last().unwrap().kind,
            EventKind::ApprovalRequested
        );
        // Services that are older than this have not said for how long.
        let open = placed(asked(None, None));
        let open = OrderRecord {
            approve_within_ms: None,
            ..open
        };
        let open = Attempt::open(Some(here(&open)), &open.attempt()).unwrap();
        let paid = PaymentOutcome::Paid {
            transaction_id: "txn-1".into(),
        };
        let record = open.end(paid, basket(), at()).unwrap().answer;
        assert_eq!(
            (record.status, record.wait_until),
            (OrderStatus::AwaitingApproval, None)
        );
    }

    /// An attempt whose awakeable nobody has told of yet.
    fn unopened() -> OrderRecord {
        let mut record = placed(asked(None, None));
        record.payments[0].awakeable_id = None;
        record
    }

    fn opened_now(record: &OrderRecord, with_page: bool) -> Decided<bool> {
        let told = PaymentOpened {
            attempt: record.attempt(),
            awakeable_id: "sign_1".into(),
            provider: with_page.then(|| ProviderPage {
                payment_id: "pay_1".into(),
                pay_url: "http://provider/pay_1".into(),
            }),
            at: None,
        };
        opened(Some(here(record)), told, at()).unwrap()
    }

    #[test]
    fn an_awakeable_and_a_page_are_noted_once() {
        let Decided { effects, answer } = opened_now(&unopened(), true);
        let [Effect::Write(both)] = &effects[..] else {
            panic!("one write: {effects:?}");
        };
        assert!(answer);
        assert_eq!(both.payment().awakeable_id.as_deref(), Some("sign_1"));
        assert_eq!(both.payment().payment_id.as_deref(), Some("pay_1"));
        for with_page in [false, true] {
            assert_eq!(opened_now(both, with_page).effects, []);
        }
    }

    #[test]
    fn a_callback_before_the_awakeable_is_known_comes_again() {
        let refused = |record: &OrderRecord| {
            let callback = PaymentCallback {
                order_id: record.order_id.clone(),
                receipt: PaymentReceipt {
                    awakeable_id: "sign_other".into(),
                    ..receipt("txn-1")
                },
                at: None,
            };
            called_back(Some(here(record)), callback)
                .unwrap_err()
                .kind()
        };
        assert_eq!(refused(&unopened()), "not_ready");
        assert_eq!(refused(&placed(asked(None, None))), "unknown_payment");
    }

    #[test]
    fn an_attempt_that_ended_before_its_awakeable_was_known_still_has_one() {
        let unopened = unopened();
        let open = Attempt::open(Some(here(&unopened)), &unopened.attempt()).unwrap();
        let ended = open.end(PaymentOutcome::Expired, basket(), at()).unwrap();
        let closes = |effects: &[Effect]| effects.iter().any(|it| matches!(it, Effect::Close(_)));
        assert!(!closes(&ended.effects), "in which words?");
        let record = ended.answer;
        let Decided { effects, answer } = opened_now(&record, true);
        let [
            Effect::Write(noted),
            Effect::Close(payment),
            Effect::Reject { awakeable_id, .. },
        ] = &effects[..]
        else {
            panic!("written, closed, and the wait is ended: {effects:?}");
        };
        assert_eq!(payment.awakeable_id, "sign_1");
        assert_eq!(payment.attempt, record.attempt());
        assert_eq!(payment.amount_cents, record.payment().amount_cents);
        assert!(!answer);
        assert_eq!(awakeable_id, "sign_1");
        assert_eq!(noted.payment().awakeable_id.as_deref(), Some("sign_1"));
        assert_eq!(
            (noted.status, noted.version),
            (record.status, record.version + 1)
        );
        let again = opened_now(noted, true).effects;
        assert!(matches!(&again[..], [Effect::Reject { .. }]), "{again:?}");

        let told = PaymentOpened {
            attempt: record.attempt(),
            awakeable_id: "sign_1".into(),
            provider: None,
            at: None,
        };
        let marker = Marker::HandedOver(HandedOver::from(&record));
        let effects = opened(Some(marker), told, at()).unwrap().effects;
        let [
            Effect::Remember(_, marker),
            Effect::Close(_),
            Effect::Reject { .. },
        ] = &effects[..]
        else {
            panic!("it is remembered and closed: {effects:?}");
        };
        assert_eq!(marker.attempts[0].awakeable_id.as_deref(), Some("sign_1"));
    }

    #[test]
    fn whoever_settles_knows_the_awakeable() {
        let unopened = unopened();
        let refused = Settle {
            attempt: unopened.attempt(),
            outcome: PaymentOutcome::Declined {
                reason: "no".into(),
            },
            awakeable_id: Some("sign_1".into()),
            at: None,
        };
        let Settling::Ends(attempt, outcome) = settle(Some(here(&unopened)), refused) else {
            panic!("it is pending");
        };
        let ended = attempt.end(outcome, basket(), at()).unwrap().answer;
        assert_eq!(ended.payment().awakeable_id.as_deref(), Some("sign_1"));
    }

    #[test]
    fn an_order_is_unpaid_until_it_is_paid_or_has_ended() {
        let record = placed(asked(None, None));
        assert!(is_unpaid(Some(&here(&record))));
        let handed_over = Marker::HandedOver(HandedOver::from(&record));
        assert!(!is_unpaid(Some(&handed_over)));
        assert!(!is_unpaid(None));
    }

    #[test]
    fn what_is_known_as_paid_is_never_placed_again() {
        let known = Checkout {
            known_as_paid: true,
            ..asked(None, None)
        };
        let found = look(None, &known).unwrap();
        assert!(matches!(
            found,
            CheckoutFinds::Placed(CheckoutAnswer::AlreadyPaid { .. })
        ));
        let again = look_again(None, &known).unwrap();
        assert!(matches!(again, CheckoutAnswer::AlreadyPaid { .. }));
    }
}
