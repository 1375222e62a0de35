//! Of an order's page: what happens after the delivery.

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::after_sales::{self, AfterSales, RefundStatus, Return, ReturnStatus};
use waybill_domain::basket::{Line, Part};
use waybill_domain::money::Cents;
use waybill_domain::order::{OrderRecord, OrderStatus};

use super::order::{LineRow, Rules, line_rows};
use crate::identity::caller::Caller;

/// Everything that is shown of it.
#[derive(Debug, Clone, Serialize)]
pub struct AfterDelivery {
    /// Whether there is anything to show or to do.
    pub is_shown: bool,
    /// What the reader may ask to send back now.
    pub returnable: Vec<LineRow>,
    /// Until when they may ask for it.
    pub return_until: Timestamp,
    /// Whether they could have asked, and it is too late by now.
    pub is_too_late: bool,
    /// Where that goes.
    pub ask_action: String,
    /// Pieces that come back, newest first.
    pub returns: Vec<ReturnRow>,
    /// Money that goes back, newest first.
    pub refunds: Vec<RefundRow>,
    /// Cents that have gone back.
    pub given_back: i64,
    /// Whether the reader may give money back without a return.
    pub may_refund: bool,
    /// Where that goes.
    pub refund_action: String,
    /// Cents that can still go back.
    pub refundable: i64,
    /// The same as a form takes it.
    pub refundable_text: String,
}

/// One return.
#[derive(Debug, Clone, Serialize)]
pub struct ReturnRow {
    /// 1 for the first.
    pub number: u32,
    /// In words.
    pub label: &'static str,
    /// Which colour.
    pub family: &'static str,
    /// Its pieces.
    pub items: Vec<LineRow>,
    /// Why.
    pub reason: String,
    /// Since when it stands so.
    pub since: Timestamp,
    /// Until when the parcel is waited for.
    pub send_until: Option<Timestamp>,
    /// Why it was refused.
    pub refused_because: Option<String>,
    /// Whether the reader may accept or refuse it now.
    pub may_decide: bool,
    /// Where that goes.
    pub decide_action: String,
    /// Whether the reader may take it back now.
    pub may_withdraw: bool,
    /// Where that goes.
    pub withdraw_action: String,
    /// Whether the reader may take its parcel in now.
    pub may_receive: bool,
    /// Where that goes.
    pub receive_action: String,
    /// What goes back if everything is there, as a form takes it.
    pub worth_text: String,
}

/// Money that goes back.
#[derive(Debug, Clone, Serialize)]
pub struct RefundRow {
    /// 1 for the first.
    pub number: u32,
    /// In words.
    pub label: &'static str,
    /// Which colour.
    pub family: &'static str,
    /// Cents.
    pub amount: i64,
    /// Why.
    pub reason: String,
    /// When it was decided.
    pub at: Timestamp,
}

impl AfterDelivery {
    /// As `caller` sees it.
    pub fn of(
        order: &OrderRecord,
        after: Option<&AfterSales>,
        caller: &Caller,
        rules: Rules,
        now: Timestamp,
    ) -> Self {
        let id = &order.order_id;
        let is_delivered = order.status == OrderStatus::Delivered;
        let may = May {
            decide: caller.may_decide(&order.user_id, rules.own_too),
            buy: caller.may_cancel(&order.user_id),
        };
        let is_open = after.is_some_and(|it| it.returns.iter().any(|one| one.status.is_open()));
        let return_until = after.map_or_else(
            || after_sales::return_until(order.status_since, rules.return_window),
            |it| it.sold.return_until,
        );
        let left = |line: &Line| {
            let left = after.map_or(line.quantity, |it| it.returnable(&line.sku));
            line.part(left)
        };
        let mut returnable: Vec<_> = if is_delivered && may.buy && !is_open {
            order.lines.iter().filter_map(left).collect()
        } else {
            Vec::new()
        };
        let is_too_late = !returnable.is_empty() && now > return_until;
        if is_too_late {
            returnable.clear();
        }
        let refundable = after.map_or(order.total_cents, AfterSales::refundable);
        let may_refund = is_delivered && caller.is_admin() && refundable > Cents::ZERO;
        let returns = after.iter().flat_map(|it| it.returns.iter().rev());
        let returns: Vec<_> = returns
            .map(|one| ReturnRow::of(order, one, may, refundable))
            .collect();
        let refunds = || after.iter().flat_map(|it| it.refunds.iter().rev());
        let given_back: Cents = refunds()
            .filter(|it| it.status == RefundStatus::Refunded)
            .map(|it| it.amount_cents)
            .sum();
        let refunds: Vec<_> = refunds()
            .map(|refund| {
                let (label, family) = match refund.status {
                    RefundStatus::Pending => ("On its way back", "working"),
                    RefundStatus::Refunded => ("Refunded", "done"),
                    RefundStatus::Refused => ("Refused by the provider", "failed"),
                };
                RefundRow {
                    number: refund.number,
                    label,
                    family,
                    amount: refund.amount_cents.0,
                    reason: refund.reason.clone(),
                    at: refund.at,
                }
            })
            .collect();
        Self {
            is_shown: may_refund
                || is_too_late
                || [returnable.len(), returns.len(), refunds.len()] != [0; 3],
            returnable: line_rows(&returnable),
            return_until,
            is_too_late,
            ask_action: format!("/api/orders/{id}/returns"),
            returns,
            refunds,
            given_back: given_back.0,
            may_refund,
            refund_action: format!("/api/orders/{id}/refunds"),
            refundable: refundable.0,
            refundable_text: refundable.decimal(),
        }
    }
}

/// What the reader may do with returns of this order.
#[derive(Clone, Copy)]
struct May {
    decide: bool,
    /// As the one who bought, or for them: ask for one, and take that back.
    buy: bool,
}

impl ReturnRow {
    fn of(order: &OrderRecord, one: &Return, may: May, refundable: Cents) -> Self {
        let (label, family) = words_of(one.status);
        let items = parts_of(order, &one.items);
        let worth: Cents = items.iter().map(|line| line.line_total_cents).sum();
        let action = |what| {
            let (id, number) = (&order.order_id, one.number);
            format!("/api/orders/{id}/returns/{number}/{what}")
        };
        Self {
            number: one.number,
            label,
            family,
            items: line_rows(&items),
            reason: one.reason.clone(),
            since: one.since,
            send_until: one
                .send_until
                .filter(|_| one.status == ReturnStatus::Accepted),
            refused_because: one.refused_because.clone(),
            may_decide: may.decide && one.status == ReturnStatus::Asked,
            decide_action: action("decide"),
            may_withdraw: may.buy && one.status.is_open(),
            withdraw_action: action("withdraw"),
            may_receive: may.decide && one.status == ReturnStatus::Accepted,
            receive_action: action("receive"),
            worth_text: worth.min(refundable).decimal(),
        }
    }
}

/// Words and family of where a return stands.
pub(super) fn words_of(status: ReturnStatus) -> (&'static str, &'static str) {
    match status {
        ReturnStatus::Asked => ("Waits for a decision", "waiting"),
        ReturnStatus::Accepted => ("On its way back", "working"),
        ReturnStatus::Refused => ("Refused", "failed"),
        ReturnStatus::Received => ("Received", "done"),
        ReturnStatus::NotSent => ("Never sent", "failed"),
        ReturnStatus::Withdrawn => ("Withdrawn", "neutral"),
    }
}

fn parts_of(order: &OrderRecord, parts: &[Part]) -> Vec<Line> {
    let line = |part: &Part| {
        let mut lines = order.lines.iter();
        lines.find(|line| line.sku == part.sku)?.part(part.quantity)
    };
    parts.iter().filter_map(line).collect()
}
