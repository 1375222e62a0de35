//! After delivery: pieces that come back, and money that goes back.
//!
//! An [`AfterSales`] is the truth about one delivered order from then on. It is a pure
//! state machine like the order's record: each act answers the next state, or why it
//! cannot be. The order itself is frozen in [`Sold`] and never changes any more.
//!
//! ```text
//! asked → accepted → received, and its refund: pending → refunded
//!   │         ├──────→ not sent in time              └──→ refused by the provider
//!   │         └──────→ withdrawn
//!   ├──→ refused
//!   └──→ withdrawn
//! ```
//!
//! Kept here: one return is open at a time; no piece comes back twice, nor one that was
//! never delivered; what is refunded, and what is about to be, is never more than what was
//! captured.

pub mod status;

use core::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::{Act, AuditEntry, By};
use crate::basket::{Line, Part};
use crate::ids::{OrderId, Sku, Username};
use crate::money::Cents;
use crate::order::{EventKind, OrderEvent, OrderRecord, OrderStatus};
use crate::payment::PaymentOrder;
use crate::refusal::Refusal;
use crate::words::{self, MAX_NAME, MAX_REASON, quoted};

pub use self::status::ReturnStatus;

/// How long pieces can be sent back, as settings say it.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    /// From the delivery until a return must be asked for.
    pub to_ask: Duration,
    /// From the acceptance until the parcel must be here.
    pub to_send: Duration,
}

/// Until when a return of what was delivered then may be asked for.
pub fn return_until(delivered_at: Timestamp, window: Duration) -> Timestamp {
    let until = delivered_at.saturating_add(window);
    until.unwrap_or(Timestamp::MAX)
}

/// A delivered order, as far as what comes after needs it. Frozen when it is first asked
/// for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sold {
    /// Time of the first checkout.
    pub placed_at: Timestamp,
    /// When it arrived.
    pub delivered_at: Timestamp,
    /// Until when a return may be asked for.
    pub return_until: Timestamp,
    /// Milliseconds from the acceptance of a return until its parcel must be here.
    pub send_within_ms: u64,
    /// How many events the order has: the story goes on after them.
    pub events: u64,
    /// What was delivered.
    pub lines: Vec<Line>,
    /// The money that was captured.
    pub payment: PaymentOrder,
}

impl Sold {
    /// What was delivered; refused where nothing was.
    pub fn of(order: &OrderRecord, windows: Windows) -> Result<Self, Refusal> {
        if order.status != OrderStatus::Delivered {
            return Err(Refusal::NotDelivered {
                order_id: order.order_id.clone(),
                status: order.status,
            });
        }
        let delivered_at = order.status_since;
        Ok(Self {
            placed_at: order.created_at,
            delivered_at,
            return_until: return_until(delivered_at, windows.to_ask),
            send_within_ms: u64::try_from(windows.to_send.as_millis()).unwrap_or(u64::MAX),
            events: order.events.len() as u64,
            lines: order.lines.clone(),
            payment: order.payment_order(),
        })
    }

    /// What was taken of the customer's money.
    pub fn captured(&self) -> Cents {
        self.payment.to_capture()
    }
}

/// Pieces that somebody sends back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Return {
    /// 1, 2, 3, … within the order.
    pub number: u32,
    /// Where it stands.
    pub status: ReturnStatus,
    /// Since when.
    pub since: Timestamp,
    /// Which pieces.
    pub items: Vec<Part>,
    /// Why, in the customer's words.
    #[serde(deserialize_with = "words::kept::reason")]
    pub reason: String,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// Until when the parcel must be here, once it is accepted.
    pub send_until: Option<Timestamp>,
    /// Who has decided last about it.
    #[serde(default, deserialize_with = "words::kept::a_name")]
    pub by: Option<String>,
    /// Why it was refused.
    #[serde(default, deserialize_with = "words::kept::a_reason")]
    pub refused_because: Option<String>,
    /// Pieces that came back and can be sold again.
    #[serde(default)]
    pub sellable: Vec<Part>,
    /// Pieces that came back and cannot.
    #[serde(default)]
    pub damaged: Vec<Part>,
}

impl Return {
    /// How many pieces of a product it has, or may bring: those of a parcel that is here
    /// are counted.
    fn pieces(&self, sku: &Sku) -> u32 {
        let of = |parts: &[Part]| {
            let mine = parts.iter().filter(|part| part.sku == *sku);
            mine.map(|part| part.quantity).sum::<u32>()
        };
        match self.status {
            ReturnStatus::Asked | ReturnStatus::Accepted => of(&self.items),
            ReturnStatus::Received => of(&self.sellable) + of(&self.damaged),
            ReturnStatus::Refused | ReturnStatus::NotSent | ReturnStatus::Withdrawn => 0,
        }
    }
}

/// Whether money has gone back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RefundStatus {
    /// The provider is asked.
    Pending,
    /// It has gone back.
    Refunded,
    /// The provider has said no: nothing went back.
    Refused,
}

/// Money that goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refund {
    /// 1, 2, 3, … within the order.
    pub number: u32,
    /// Whether it has gone back.
    pub status: RefundStatus,
    /// How much.
    pub amount_cents: Cents,
    /// Why.
    #[serde(deserialize_with = "words::kept::reason")]
    pub reason: String,
    /// For which return; of none it is goodwill.
    pub of_return: Option<u32>,
    /// Who has decided it.
    #[serde(deserialize_with = "words::kept::name")]
    pub by: String,
    /// When that was.
    pub at: Timestamp,
}

/// Everything that has happened to an order since it was delivered: the truth, kept in
/// Restate.
///
/// `version` stands first on purpose, as in an order's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterSales {
    /// Grows by one with every change.
    pub version: u64,
    /// Time of the last change.
    pub updated_at: Timestamp,
    /// Which order.
    pub order_id: OrderId,
    /// Whose.
    pub user_id: Username,
    /// The order, frozen.
    pub sold: Sold,
    /// Pieces that come back, oldest first.
    pub returns: Vec<Return>,
    /// Money that goes back, oldest first.
    pub refunds: Vec<Refund>,
    /// What happened, oldest first; numbered on from the order's own.
    pub events: Vec<OrderEvent>,
}

/// Input of `AfterSales.Ask`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskReturn {
    /// Which pieces.
    pub items: Vec<Part>,
    /// Why.
    #[serde(deserialize_with = "words::kept::reason")]
    pub reason: String,
    /// When it is asked.
    pub at: Timestamp,
}

/// Input of `AfterSales.Decide`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecideReturn {
    /// Which return.
    pub number: u32,
    /// Whether it is accepted.
    pub accepted: bool,
    /// Why not.
    #[serde(default, deserialize_with = "words::kept::a_reason")]
    pub reason: Option<String>,
    /// When it is decided.
    pub at: Timestamp,
}

/// Input of `AfterSales.Withdraw`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawReturn {
    /// Which return.
    pub number: u32,
    /// When it is taken back.
    pub at: Timestamp,
}

/// Input of `AfterSales.Receive`: what was in the parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveReturn {
    /// Which return.
    pub number: u32,
    /// Pieces that came and cannot be sold again.
    pub damaged: Vec<Part>,
    /// Pieces that did not come.
    pub missing: Vec<Part>,
    /// What goes back. Left out, what the pieces that came were bought for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_cents: Option<Cents>,
    /// When it is received.
    pub at: Timestamp,
}

/// Input of `AfterSales.RefundGoodwill`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundGoodwill {
    /// How much goes back.
    pub amount_cents: Cents,
    /// Why.
    #[serde(deserialize_with = "words::kept::reason")]
    pub reason: String,
    /// When it is decided.
    pub at: Timestamp,
}

/// Input of `PaymentService.RefundPart`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundOrder {
    /// Of which money.
    pub payment: PaymentOrder,
    /// Which refund of the order.
    pub number: u32,
    /// How much goes back.
    pub amount_cents: Cents,
}

/// Input of `AfterSales.Refunded`: what the provider has said. Definite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundAnswer {
    /// Which refund of the order.
    pub number: u32,
    /// Its no, in its words.
    #[serde(default, deserialize_with = "words::kept::a_reason")]
    pub refused: Option<String>,
}

/// Input of `Inventory.Returned`: pieces that can be sold again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnedPieces {
    /// Of which order.
    pub order_id: OrderId,
    /// Which of its returns.
    pub number: u32,
    /// How many.
    pub quantity: u32,
    /// When they came.
    pub at: Timestamp,
}

/// Input of `Inventory.ForgetReturn`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgottenReturn {
    /// Of which order.
    pub order_id: OrderId,
    /// Which of its returns.
    pub number: u32,
}

type Next = Result<AfterSales, Refusal>;

impl AfterSales {
    /// Of an order to which nothing has happened since.
    pub fn new(order_id: OrderId, sold: Sold) -> Self {
        Self {
            version: 0,
            updated_at: sold.delivered_at,
            user_id: order_id.owner(),
            order_id,
            sold,
            returns: Vec::new(),
            refunds: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Somebody asks to send pieces back.
    pub fn ask(mut self, ask: &AskReturn) -> Next {
        if ask.at > self.sold.return_until {
            return Err(Refusal::ReturnWindowOver {
                order_id: self.order_id,
                until: self.sold.return_until,
            });
        }
        if let Some(open) = self.returns.iter().find(|it| it.status.is_open()) {
            return Err(Refusal::ReturnOpen {
                order_id: self.order_id.clone(),
                number: open.number,
            });
        }
        let items = together(&ask.items);
        if items.is_empty() {
            return Err(Refusal::invalid(
                "items",
                "items names no pieces: say which come back, and how many",
            ));
        }
        if !words::is_visible(&ask.reason) {
            return Err(Refusal::invalid(
                "reason",
                "reason is missing: say why the pieces come back",
            ));
        }
        for part in &items {
            let left = self.returnable(&part.sku);
            if part.quantity > left {
                return Err(Refusal::NotReturnable {
                    field: "items".to_owned(),
                    sku: part.sku.clone(),
                    left,
                });
            }
        }
        let at = self.changed(ask.at);
        let number = next_number(self.returns.len());
        let detail = format!(
            "Return {number} asked for: {}: {}",
            self.named(&items),
            quoted(&ask.reason, MAX_REASON)
        );
        self.returns.push(Return {
            number,
            status: ReturnStatus::Asked,
            since: at,
            items,
            reason: ask.reason.clone(),
            asked_at: at,
            send_until: None,
            by: None,
            refused_because: None,
            sellable: Vec::new(),
            damaged: Vec::new(),
        });
        self.note(at, EventKind::ReturnAsked, detail);
        Ok(self)
    }

    /// An approver accepts or refuses.
    pub fn decide(mut self, decided: &DecideReturn, by: &By) -> Next {
        let reason = decided.reason.clone().filter(|it| words::is_visible(it));
        self.in_status(decided.number, ReturnStatus::Asked)?;
        if !decided.accepted && reason.is_none() {
            return Err(Refusal::invalid(
                "reason",
                "reason is missing: say why the return is refused, the customer is told",
            ));
        }
        let at = self.changed(decided.at);
        let until = at.saturating_add(Duration::from_millis(self.sold.send_within_ms));
        let until = until.unwrap_or(Timestamp::MAX);
        let number = decided.number;
        let who = words::bounded(&by.who, MAX_NAME);
        if let Some(one) = self.find_mut(number) {
            one.by = Some(who);
            one.since = at;
            if decided.accepted {
                one.status = ReturnStatus::Accepted;
                one.send_until = Some(until);
            } else {
                one.status = ReturnStatus::Refused;
                one.refused_because.clone_from(&reason);
            }
        }
        match reason {
            _ if decided.accepted => self.note(
                at,
                EventKind::ReturnAccepted,
                format!(
                    "Return {number} accepted: the parcel must be here by {}",
                    until.strftime("%Y-%m-%d %H:%M UTC")
                ),
            ),
            reason => self.note(
                at,
                EventKind::ReturnRefused,
                format!(
                    "Return {number} refused: {}",
                    quoted(&reason.unwrap_or_default(), MAX_REASON)
                ),
            ),
        }
        Ok(self)
    }

    /// Whoever asked keeps the pieces after all: until the parcel is here.
    pub fn withdraw(mut self, withdrawn: &WithdrawReturn, by: &By) -> Next {
        let number = withdrawn.number;
        let is_open = self.find(number).is_some_and(|it| it.status.is_open());
        if !is_open {
            // One that is open never says no to this.
            self.in_status(number, ReturnStatus::Asked)?;
        }
        let at = self.changed(withdrawn.at);
        let who = words::bounded(&by.who, MAX_NAME);
        let for_them = if by.who == self.user_id.as_str() {
            String::new()
        } else {
            format!(" by {}", quoted(&who, MAX_NAME))
        };
        if let Some(one) = self.find_mut(number) {
            one.by = Some(who);
            one.since = at;
            one.status = ReturnStatus::Withdrawn;
        }
        let detail = format!("Return {number} withdrawn{for_them}: the pieces are kept");
        self.note(at, EventKind::ReturnWithdrawn, detail);
        Ok(self)
    }

    /// The parcel is here. What goes back for it is the last of the refunds then, if
    /// something does.
    pub fn receive(mut self, received: &ReceiveReturn, by: &By) -> Next {
        let asked = self
            .in_status(received.number, ReturnStatus::Accepted)?
            .items
            .clone();
        let (damaged, missing) = (together(&received.damaged), together(&received.missing));
        for (field, parts) in [("damaged", &damaged), ("missing", &missing)] {
            for part in parts {
                let of = pieces(&asked, &part.sku);
                if part.quantity > of {
                    return Err(Refusal::NotReturnable {
                        field: field.to_owned(),
                        sku: part.sku.clone(),
                        left: of,
                    });
                }
            }
        }
        let mut sellable = Vec::new();
        for part in &asked {
            let less = pieces(&damaged, &part.sku) + pieces(&missing, &part.sku);
            let Some(quantity) = part.quantity.checked_sub(less) else {
                return Err(Refusal::NotReturnable {
                    field: "missing".to_owned(),
                    sku: part.sku.clone(),
                    left: part.quantity - pieces(&damaged, &part.sku),
                });
            };
            let sku = part.sku.clone();
            sellable.extend((quantity > 0).then_some(Part { sku, quantity }));
        }
        if sellable.is_empty() && damaged.is_empty() {
            return Err(Refusal::invalid(
                "missing",
                "nothing has come then: leave the return open, it ends by itself",
            ));
        }
        let came = sellable.iter().chain(&damaged);
        let worth = came
            .map(|part| self.price(&part.sku).times(part.quantity))
            .sum();
        let amount = match received.refund_cents {
            Some(amount) => self.affordable(amount, "refund")?,
            None => self.refundable().min(worth),
        };
        let at = self.changed(received.at);
        let number = received.number;
        let detail = [
            ("can be sold again", &sellable),
            ("damaged", &damaged),
            ("missing", &missing),
        ]
        .into_iter()
        .filter(|(_, parts)| !parts.is_empty())
        .map(|(what, parts)| format!("{} {what}", self.named(parts)))
        .collect::<Vec<_>>()
        .join("; ");
        let who = words::bounded(&by.who, MAX_NAME);
        if let Some(one) = self.find_mut(number) {
            one.by = Some(who);
            one.since = at;
            one.status = ReturnStatus::Received;
            one.sellable = sellable;
            one.damaged = damaged;
        }
        let back = match amount {
            Cents::ZERO => "nothing goes back".to_owned(),
            amount => format!("{amount} goes back"),
        };
        self.note(
            at,
            EventKind::ReturnReceived,
            format!("Return {number} received: {detail}. For it, {back}"),
        );
        if amount > Cents::ZERO {
            self.promise(amount, format!("Return {number}"), Some(number), by, at);
        }
        Ok(self)
    }

    /// An admin gives money back without a return.
    pub fn goodwill(mut self, asked: &RefundGoodwill, by: &By) -> Next {
        if asked.amount_cents <= Cents::ZERO {
            return Err(Refusal::invalid(
                "amount",
                "amount must be more than nothing: say how much goes back",
            ));
        }
        if !words::is_visible(&asked.reason) {
            return Err(Refusal::invalid(
                "reason",
                "reason is missing: say why money goes back, the customer is told",
            ));
        }
        let amount = self.affordable(asked.amount_cents, "amount")?;
        let at = self.changed(asked.at);
        self.promise(amount, asked.reason.clone(), None, by, at);
        let reason = quoted(&asked.reason, MAX_REASON);
        self.note(
            at,
            EventKind::RefundPromised,
            format!("{amount} goes back: {reason}"),
        );
        Ok(self)
    }

    /// The provider has answered; `None` when that is known.
    #[must_use]
    pub fn answered(mut self, answer: &RefundAnswer, at: Timestamp) -> Option<Self> {
        let place = self
            .refunds
            .iter()
            .position(|it| it.number == answer.number)?;
        if self.refunds[place].status != RefundStatus::Pending {
            return None;
        }
        let at = self.changed(at);
        let amount = self.refunds[place].amount_cents;
        match &answer.refused {
            None => {
                self.refunds[place].status = RefundStatus::Refunded;
                self.note(at, EventKind::RefundMade, format!("{amount} refunded"));
            }
            Some(why) => {
                self.refunds[place].status = RefundStatus::Refused;
                let why = quoted(why, MAX_REASON);
                self.note(
                    at,
                    EventKind::RefundRefused,
                    format!("The payment provider did not refund {amount} ({why})"),
                );
            }
        }
        Some(self)
    }

    /// The parcel of an accepted return should have come by now; `None` when nobody waits
    /// for it any more.
    #[must_use]
    pub fn not_sent(mut self, number: u32) -> Option<Self> {
        let one = self.returns.iter().find(|it| it.number == number)?;
        if one.status != ReturnStatus::Accepted {
            return None;
        }
        let at = self.changed(one.send_until.unwrap_or(self.updated_at));
        if let Some(one) = self.find_mut(number) {
            one.status = ReturnStatus::NotSent;
            one.since = at;
        }
        self.note(
            at,
            EventKind::ReturnExpired,
            format!("Return {number} has ended: no parcel came in time"),
        );
        Some(self)
    }

    /// Whether nothing is to come: only then it may be forgotten.
    pub fn is_settled(&self) -> bool {
        let open = self.returns.iter().any(|it| it.status.is_open());
        let pending = self
            .refunds
            .iter()
            .any(|it| it.status == RefundStatus::Pending);
        !open && !pending
    }

    /// What has gone back and what is about to.
    pub fn promised(&self) -> Cents {
        let all = self.refunds.iter();
        all.filter(|it| it.status != RefundStatus::Refused)
            .map(|it| it.amount_cents)
            .sum()
    }

    /// What can still go back.
    pub fn refundable(&self) -> Cents {
        Cents(self.sold.captured().0 - self.promised().0)
    }

    /// How many pieces of a product may still be sent back.
    pub fn returnable(&self, sku: &Sku) -> u32 {
        let mine = self.sold.lines.iter().filter(|line| line.sku == *sku);
        let bought: u32 = mine.map(|line| line.quantity).sum();
        let back: u32 = self.returns.iter().map(|it| it.pieces(sku)).sum();
        bought.saturating_sub(back)
    }

    /// The return of that number.
    pub fn find(&self, number: u32) -> Option<&Return> {
        self.returns.iter().find(|it| it.number == number)
    }

    /// What the provider is asked for a refund.
    pub fn refund_order(&self, refund: &Refund) -> RefundOrder {
        RefundOrder {
            payment: self.sold.payment.clone(),
            number: refund.number,
            amount_cents: refund.amount_cents,
        }
    }

    /// What the audit log is told of the latest act.
    pub fn audited(&self, what: Act, by: By) -> AuditEntry {
        let detail = self.events.last().map(|event| event.detail.clone());
        AuditEntry::of_order(
            what,
            by,
            &self.order_id,
            self.version,
            self.updated_at,
            detail.unwrap_or_default(),
        )
    }

    fn promise(
        &mut self,
        amount_cents: Cents,
        reason: String,
        of_return: Option<u32>,
        by: &By,
        at: Timestamp,
    ) {
        self.refunds.push(Refund {
            number: next_number(self.refunds.len()),
            status: RefundStatus::Pending,
            amount_cents,
            reason,
            of_return,
            by: words::bounded(&by.who, MAX_NAME),
            at,
        });
    }

    fn affordable(&self, amount: Cents, field: &str) -> Result<Cents, Refusal> {
        let left_cents = self.refundable();
        if amount > left_cents || amount < Cents::ZERO {
            return Err(Refusal::RefundTooMuch {
                field: field.to_owned(),
                left_cents,
            });
        }
        Ok(amount)
    }

    fn in_status(&self, number: u32, status: ReturnStatus) -> Result<&Return, Refusal> {
        let order_id = self.order_id.clone();
        match self.find(number) {
            None => Err(Refusal::UnknownReturn { order_id, number }),
            Some(one) if one.status == status => Ok(one),
            Some(one) if one.status == ReturnStatus::Asked => {
                Err(Refusal::ReturnUndecided { order_id, number })
            }
            Some(one) => Err(Refusal::ReturnDecided {
                order_id,
                number,
                status: one.status,
                by: one.by.clone().unwrap_or_default(),
            }),
        }
    }

    fn find_mut(&mut self, number: u32) -> Option<&mut Return> {
        self.returns.iter_mut().find(|it| it.number == number)
    }

    fn price(&self, sku: &Sku) -> Cents {
        let mut lines = self.sold.lines.iter();
        let line = lines.find(|line| line.sku == *sku);
        line.map_or(Cents::ZERO, |line| line.unit_price_cents)
    }

    /// `2 × Widget A, 1 × Widget B`
    fn named(&self, parts: &[Part]) -> String {
        let name = |part: &Part| {
            let mut lines = self.sold.lines.iter();
            let line = lines.find(|line| line.sku == part.sku);
            let name = line.map_or(part.sku.as_str(), |line| line.name.as_str());
            format!("{} × {}", part.quantity, quoted(name, MAX_NAME))
        };
        parts.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// One version on. Clocks that are behind do not turn the story around.
    fn changed(&mut self, at: Timestamp) -> Timestamp {
        self.version += 1;
        self.updated_at = self.updated_at.max(at);
        self.updated_at
    }

    fn note(&mut self, at: Timestamp, kind: EventKind, detail: String) {
        self.events.push(OrderEvent {
            seq: self.sold.events + self.events.len() as u64 + 1,
            at,
            kind,
            detail: words::detail(detail),
        });
    }
}

fn next_number(known: usize) -> u32 {
    u32::try_from(known + 1).unwrap_or(u32::MAX)
}

fn pieces(parts: &[Part], sku: &Sku) -> u32 {
    let mine = parts.iter().filter(|part| part.sku == *sku);
    mine.fold(0, |sum, part| sum.saturating_add(part.quantity))
}

/// Each product once, without those of which there are no pieces.
fn together(parts: &[Part]) -> Vec<Part> {
    let mut all: Vec<Part> = Vec::new();
    for part in parts.iter().filter(|part| part.quantity > 0) {
        match all.iter_mut().find(|it| it.sku == part.sku) {
            Some(known) => known.quantity = known.quantity.saturating_add(part.quantity),
            None => all.push(part.clone()),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::basket::Product;
    use crate::ids::AttemptId;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn line(sku: &str, quantity: u32, cents: i64) -> Line {
        let product = Product {
            sku: Sku::parse(sku).unwrap(),
            product_id: 1,
            name: format!("Widget {sku}"),
            unit_price_cents: Cents(cents),
        };
        Line::new(product, quantity).unwrap()
    }

    fn part(sku: &str, quantity: u32) -> Part {
        Part {
            sku: Sku::parse(sku).unwrap(),
            quantity,
        }
    }

    /// Two A at $20, three B at $10, $5 shipping: $75 captured.
    fn delivered() -> AfterSales {
        let order_id = OrderId::parse("alice.1").unwrap();
        let sold = Sold {
            placed_at: at(0),
            delivered_at: at(100),
            return_until: at(1_000),
            send_within_ms: 500_000,
            events: 9,
            lines: vec![line("A", 2, 2_000), line("B", 3, 1_000)],
            payment: PaymentOrder {
                attempt: AttemptId {
                    order_id: order_id.clone(),
                    attempt: 1,
                },
                awakeable_id: "sign_1".into(),
                amount_cents: Cents(7_500),
                capture_cents: None,
                payment_id: Some("pay_1".into()),
                transaction_id: Some("txn-1".into()),
            },
        };
        AfterSales::new(order_id, sold)
    }

    fn ask(items: Vec<Part>, second: i64) -> AskReturn {
        AskReturn {
            items,
            reason: "too small".into(),
            at: at(second),
        }
    }

    fn decide(number: u32, accepted: bool) -> DecideReturn {
        DecideReturn {
            number,
            accepted,
            reason: (!accepted).then(|| "worn".into()),
            at: at(300),
        }
    }

    fn withdraw(number: u32) -> WithdrawReturn {
        WithdrawReturn {
            number,
            at: at(350),
        }
    }

    fn receive(number: u32, damaged: Vec<Part>, refund_cents: Option<i64>) -> ReceiveReturn {
        ReceiveReturn {
            number,
            damaged,
            missing: Vec::new(),
            refund_cents: refund_cents.map(Cents),
            at: at(400),
        }
    }

    fn goodwill(cents: i64) -> RefundGoodwill {
        RefundGoodwill {
            amount_cents: Cents(cents),
            reason: "sorry".into(),
            at: at(450),
        }
    }

    fn admin() -> By {
        "admin".into()
    }

    fn accepted() -> AfterSales {
        let asked = delivered().ask(&ask(vec![part("A", 1), part("B", 2)], 200));
        asked.unwrap().decide(&decide(1, true), &admin()).unwrap()
    }

    #[test]
    fn a_part_comes_back_and_so_does_its_money() {
        let accepted = accepted();
        assert_eq!(accepted.find(1).unwrap().send_until, Some(at(800)));
        let received = accepted.receive(&receive(1, vec![part("B", 1)], None), &admin());
        let received = received.unwrap();
        let one = received.find(1).unwrap();
        assert_eq!(one.sellable, [part("A", 1), part("B", 1)]);
        assert_eq!(one.damaged, [part("B", 1)]);
        let refund = received.refunds[0].clone();
        assert_eq!(
            (refund.amount_cents, refund.of_return),
            (Cents(4_000), Some(1))
        );
        assert!(!received.is_settled());
        let answer = RefundAnswer {
            number: 1,
            refused: None,
        };
        let done = received.answered(&answer, at(401)).unwrap();
        assert!(done.is_settled() && done.clone().answered(&answer, at(402)).is_none());
        assert_eq!(done.refundable(), Cents(3_500));
        let left = ["A", "B"].map(|sku| done.returnable(&Sku::parse(sku).unwrap()));
        assert_eq!(left, [1, 1]);
        let told: Vec<_> = done
            .events
            .iter()
            .map(|it| (it.seq, it.detail.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (
                    10,
                    "Return 1 asked for: 1 × Widget A, 2 × Widget B: too small"
                ),
                (
                    11,
                    "Return 1 accepted: the parcel must be here by 1970-01-01 00:13 UTC"
                ),
                (
                    12,
                    "Return 1 received: 1 × Widget A, 1 × Widget B can be sold again; 1 × Widget B damaged. For it, $40.00 goes back"
                ),
                (13, "$40.00 refunded"),
            ]
        );
        let text = serde_json::to_string(&done).unwrap();
        assert!(text.starts_with("{\"version\":4,\"updated_at\":"), "{text}");
        assert_eq!(serde_json::from_str::<AfterSales>(&text).unwrap(), done);
    }

    #[test]
    fn each_no_is_its_own() {
        let kind = |next: Next| next.unwrap_err().kind();
        let asked = || delivered().ask(&ask(vec![part("A", 1)], 200)).unwrap();
        assert_eq!(
            kind(delivered().ask(&ask(vec![part("A", 1)], 1_001))),
            "return_window_over"
        );
        assert_eq!(
            kind(asked().ask(&ask(vec![part("B", 1)], 201))),
            "return_open"
        );
        assert_eq!(
            kind(delivered().ask(&ask(vec![part("A", 3)], 200))),
            "not_returnable"
        );
        assert_eq!(
            kind(delivered().ask(&ask(vec![part("C", 1)], 200))),
            "not_returnable"
        );
        assert_eq!(
            kind(delivered().ask(&ask(vec![part("A", 0)], 200))),
            "invalid"
        );
        let twice = vec![part("A", 1), part("A", 2)];
        assert_eq!(kind(delivered().ask(&ask(twice, 200))), "not_returnable");
        assert_eq!(
            kind(asked().decide(&decide(2, true), &admin())),
            "unknown_return"
        );
        assert_eq!(
            kind(accepted().decide(&decide(1, false), &admin())),
            "return_decided"
        );
        let here = receive(1, vec![], None);
        assert_eq!(kind(asked().receive(&here, &admin())), "return_undecided");
        assert_eq!(
            kind(accepted().receive(&receive(1, vec![part("A", 2)], None), &admin())),
            "not_returnable"
        );
        assert_eq!(
            kind(accepted().receive(&receive(1, vec![], Some(7_501)), &admin())),
            "refund_too_much"
        );
        let received = accepted().receive(&here, &admin()).unwrap();
        assert_eq!(
            kind(received.clone().receive(&here, &admin())),
            "return_decided"
        );
        // What came back cannot come back again.
        assert_eq!(
            kind(received.clone().ask(&ask(vec![part("A", 2)], 500))),
            "not_returnable"
        );
        assert_eq!(
            kind(received.goodwill(&goodwill(3_501), &admin())),
            "refund_too_much"
        );
        assert_eq!(
            kind(delivered().goodwill(&goodwill(0), &admin())),
            "invalid"
        );
        let refused = asked().decide(&decide(1, false), &admin()).unwrap();
        assert!(refused.is_settled() && refused.ask(&ask(vec![part("A", 2)], 500)).is_ok());
    }

    #[test]
    fn a_parcel_that_never_comes_ends_its_return() {
        let over = accepted().not_sent(1).unwrap();
        assert_eq!(over.find(1).unwrap().status, ReturnStatus::NotSent);
        assert_eq!((over.updated_at, over.is_settled()), (at(800), true));
        assert!(over.not_sent(1).is_none());
        let received = accepted()
            .receive(&receive(1, vec![], None), &admin())
            .unwrap();
        assert!(received.not_sent(1).is_none());
    }

    #[test]
    fn what_is_withdrawn_can_be_asked_for_again() {
        let kind = |next: Next| next.unwrap_err().kind();
        let alice = By::from("alice");
        let asked = delivered().ask(&ask(vec![part("A", 2)], 200)).unwrap();
        for (open, who, said) in [
            (asked, &alice, "Return 1 withdrawn: the pieces are kept"),
            (
                accepted(),
                &admin(),
                "Return 1 withdrawn by admin: the pieces are kept",
            ),
        ] {
            let over = open.withdraw(&withdraw(1), who).unwrap();
            assert_eq!(over.find(1).unwrap().status, ReturnStatus::Withdrawn);
            assert_eq!(over.events.last().unwrap().detail, said);
            assert!(over.is_settled() && over.clone().not_sent(1).is_none());
            let again = over.clone().withdraw(&withdraw(1), who);
            assert_eq!(kind(again), "return_decided");
            let late = over.clone().receive(&receive(1, vec![], None), &admin());
            assert_eq!(kind(late), "return_decided");
            assert!(over.ask(&ask(vec![part("A", 2)], 400)).is_ok());
        }
        let received = accepted().receive(&receive(1, vec![], None), &admin());
        let received = received.unwrap();
        assert_eq!(
            kind(received.clone().withdraw(&withdraw(1), &alice)),
            "return_decided"
        );
        assert_eq!(
            kind(received.withdraw(&withdraw(2), &alice)),
            "unknown_return"
        );
    }

    #[derive(Debug, Clone)]
    enum Act {
        Ask(Vec<Part>),
        Decide(u32, bool),
        Receive(u32, Vec<Part>, Vec<Part>, Option<i64>),
        Goodwill(i64),
        Answer(u32, bool),
        NotSent(u32),
        Withdraw(u32),
    }

    fn parts() -> impl Strategy<Value = Vec<Part>> {
        let one = (prop::sample::select(vec!["A", "B", "C"]), 0..4_u32);
        prop::collection::vec(one.prop_map(|(sku, quantity)| part(sku, quantity)), 0..3)
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            parts().prop_map(Act::Ask),
            (1..4_u32, any::<bool>()).prop_map(|(n, yes)| Act::Decide(n, yes)),
            (1..4_u32, parts(), parts(), prop::option::of(-10..8_000_i64))
                .prop_map(|(n, damaged, missing, back)| Act::Receive(n, damaged, missing, back)),
            (-10..8_000_i64).prop_map(Act::Goodwill),
            (1..6_u32, any::<bool>()).prop_map(|(n, yes)| Act::Answer(n, yes)),
            (1..4_u32).prop_map(Act::NotSent),
            (1..4_u32).prop_map(Act::Withdraw),
        ]
    }

    proptest! {
        #[test]
        fn whatever_comes_no_more_goes_back_than_came(acts in prop::collection::vec(act(), 0..40)) {
            let mut now = delivered();
            for act in acts {
                let before = now.clone();
                let next = match act {
                    Act::Ask(items) => before.clone().ask(&ask(items, 200)).ok(),
                    Act::Decide(n, yes) => before.clone().decide(&decide(n, yes), &admin()).ok(),
                    Act::Receive(number, damaged, missing, back) => {
                        let received = ReceiveReturn { missing, ..receive(number, damaged, back) };
                        before.clone().receive(&received, &admin()).ok()
                    }
                    Act::Goodwill(cents) => before.clone().goodwill(&goodwill(cents), &admin()).ok(),
                    Act::Answer(number, yes) => {
                        let refused = (!yes).then(|| "no".to_owned());
                        before.clone().answered(&RefundAnswer { number, refused }, at(500))
                    }
                    Act::NotSent(number) => before.clone().not_sent(number),
                    Act::Withdraw(n) => before.clone().withdraw(&withdraw(n), &admin()).ok(),
                };
                now = next.unwrap_or(before.clone());
                if now != before {
                    prop_assert_eq!(now.version, before.version + 1);
                    prop_assert!(now.updated_at >= before.updated_at);
                    prop_assert!(now.events.starts_with(&before.events));
                }
                prop_assert!((0..=7_500).contains(&now.promised().0));
                prop_assert!(now.returns.iter().filter(|it| it.status.is_open()).count() <= 1);
                for line in &now.sold.lines {
                    let back: u32 = now.returns.iter().map(|it| it.pieces(&line.sku)).sum();
                    prop_assert!(back <= line.quantity);
                }
                let seqs = now.events.iter().map(|it| it.seq);
                prop_assert!(seqs.eq((10..).take(now.events.len())));
            }
        }
    }
}
