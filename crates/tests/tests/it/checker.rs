//! The invariants of Waybill, one function each over one set of [`Evidence`]:
//! what Restate holds, what the outside world's ledger says, what the gateway
//! shows. Each answers the violations it finds, in words.
//!
//! | invariant | function |
//! | --- | --- |
//! | every accepted order ends, none is lost | [`every_order_has_ended`], [`nothing_is_left_running`] |
//! | captured once, nothing held for a failed order, never more refunded than captured | [`money_is_right`], [`money_adds_up_at_all_times`] |
//! | initial + restocked + returned = available + reserved + committed | [`stock_adds_up`] |
//! | undone in reverse, exactly what was done | [`undone_in_reverse`], [`parcels_are_right`] |
//! | the read model is what Restate holds | [`the_read_model_agrees`] |
//! | nothing is missed | [`everybody_was_told`] |
//!
//! A pending payment that must not block the cart is [`the_cart_is_free`]: it
//! needs somebody to act. What crates may know is in [`crate::boundaries`].

mod planted;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use serde_json::Value;
use waybill_domain::after_sales::{AfterSales, RefundStatus};
use waybill_domain::checkout::Marker;
use waybill_domain::notification::Notification;
use waybill_domain::order::{Compensable, EventKind, OrderRecord, OrderStatus};
use waybill_domain::payment::LateMoney;
use waybill_domain::stock::StockLevel;

use crate::outside::{Entry, Ledger, Transaction};
use crate::shop::{Client, Shop, text};

/// How long a shop may take to become quiet after its last order has ended.
const QUIET_WITHIN: Duration = Duration::from_secs(20);
/// Orders that are asked of the gateway at once.
const AT_ONCE: usize = 8;

/// What is known of the orders of a test, from three sides.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What a checkout was answered for.
    pub accepted: BTreeSet<String>,
    /// Restate: the newest record of each order.
    pub records: BTreeMap<String, OrderRecord>,
    /// Restate: what happened to orders after their delivery.
    pub after: BTreeMap<String, AfterSales>,
    /// Restate: money that came too late.
    pub late: Vec<LateMoney>,
    /// Restate: stock of every SKU.
    pub levels: Vec<StockLevel>,
    /// Restate: orders that stock is reserved for.
    pub reservations: Vec<Reservation>,
    /// Restate: invocations that have not ended, in words.
    pub unfinished: Vec<String>,
    /// The outside world.
    pub ledger: Ledger,
    /// The gateway: orders, as an admin sees them.
    pub shown: BTreeMap<String, Value>,
    /// The gateway: notifications of each order, oldest first: id and text.
    pub told: BTreeMap<String, Vec<(String, String)>>,
    /// Whether the test has the world for itself, so that totals are its own.
    pub is_whole: bool,
}

/// Pieces that are kept for an order.
#[derive(Debug, Clone)]
pub struct Reservation {
    pub sku: String,
    /// `{order}#{attempt}`.
    pub attempt: String,
}

/// Every invariant, over one set of evidence.
pub fn violations(evidence: &Evidence) -> Vec<String> {
    [
        nothing_is_left_running,
        every_order_has_ended,
        money_is_right,
        money_adds_up_at_all_times,
        stock_adds_up,
        undone_in_reverse,
        parcels_are_right,
        the_read_model_agrees,
        everybody_was_told,
    ]
    .iter()
    .flat_map(|invariant| invariant(evidence))
    .collect()
}

/// Waits until the orders of a test have settled, and fails with what is wrong
/// if they do not.
pub async fn assert_quiet(shop: &Shop) {
    assert_quiet_within(shop, QUIET_WITHIN).await;
}

/// The same, with more time or less.
pub async fn assert_quiet_within(shop: &Shop, within: Duration) {
    let deadline = Instant::now() + within;
    loop {
        let evidence = Evidence::gather(shop).await;
        let wrong = violations(&evidence);
        if wrong.is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "not as it should be after {within:?}:\n  {}",
            wrong.join("\n  ")
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// No invocation is left running, waiting, retrying or paused; only the
/// forgetting of old orders is still to come.
pub fn nothing_is_left_running(evidence: &Evidence) -> Vec<String> {
    evidence.unfinished.clone()
}

/// Every accepted order is known and has ended, with nothing left to undo.
pub fn every_order_has_ended(evidence: &Evidence) -> Vec<String> {
    let lost = evidence
        .accepted
        .iter()
        .filter(|id| !evidence.records.contains_key(*id))
        .map(|id| format!("{id} was accepted and is lost"));
    let open = evidence.records.values().filter_map(|record| {
        let ended =
            record.status.is_terminal() && record.undoing.is_none() && record.done.is_empty();
        (!ended).then(|| {
            format!(
                "{} has not ended: {}, undoing {:?}, done {:?}",
                record.order_id, record.status, record.undoing, record.done
            )
        })
    });
    lost.chain(open).collect()
}

/// A delivered order was captured exactly once, in full; nothing is held or
/// taken for any other; nobody was charged for an order that nobody has.
pub fn money_is_right(evidence: &Evidence) -> Vec<String> {
    let mut wrong = Vec::new();
    for payment in &evidence.ledger.payments {
        if !evidence.records.contains_key(&payment.order_id) {
            wrong.push(format!("a payment for an order nobody has: {payment:?}"));
        }
        for money in &payment.transactions {
            if money
                .captured_amount
                .is_some_and(|captured| captured > money.amount)
            {
                wrong.push(format!(
                    "{}: more captured than authorized: {money:?}",
                    payment.order_id
                ));
            }
        }
    }
    for record in evidence.records.values() {
        let ledger = evidence.ledger.of(record.order_id.as_str());
        let captures: u32 = ledger
            .payments
            .iter()
            .map(|payment| payment.effects.capture)
            .sum();
        if captures > 1 {
            wrong.push(format!("{} was captured {captures} times", record.order_id));
        }
        let held: Vec<_> = ledger
            .payments
            .iter()
            .flat_map(|payment| &payment.transactions)
            .filter(|money| matches!(money.status.as_str(), "authorized" | "captured"))
            .collect();
        let delivered = record.status == OrderStatus::Delivered;
        let back = evidence.refunded(record.order_id.as_str());
        let is_ours = |money: &Transaction| {
            let of = record.payment().transaction_id.as_deref();
            of == Some(money.transaction_id.as_str())
                && money.captured_amount == Some(record.total_cents.0)
                && money.refunded_amount == back
        };
        // All of it may have gone back since.
        let gone = ledger
            .payments
            .iter()
            .flat_map(|payment| &payment.transactions)
            .any(|money| money.status == "refunded" && is_ours(money));
        match &held[..] {
            [] if !delivered => {}
            [] if delivered && gone && back == record.total_cents.0 => {}
            [money] if delivered && is_ours(money) => {}
            held => wrong.push(format!(
                "{} of {} is {}, but the provider holds {held:?}",
                record.order_id, record.total_cents.0, record.status
            )),
        }
    }
    for after in evidence.after.values() {
        let pending = after
            .refunds
            .iter()
            .filter(|it| it.status == RefundStatus::Pending);
        for refund in pending {
            wrong.push(format!(
                "{} was promised and is not answered: {refund:?}",
                after.order_id
            ));
        }
        let (promised, captured) = (after.promised(), after.sold.captured());
        if promised > captured {
            wrong.push(format!(
                "{}: {promised} of {captured} go back",
                after.order_id
            ));
        }
    }
    for late in &evidence.late {
        let ledger = evidence.ledger.of(late.order_id.as_str());
        for returned in &late.payments {
            let went_back = ledger
                .payments
                .iter()
                .flat_map(|it| &it.transactions)
                .any(|money| {
                    money.transaction_id == returned.transaction_id
                        && matches!(money.status.as_str(), "voided" | "refunded" | "declined")
                });
            if !went_back {
                wrong.push(format!(
                    "{}: late money did not go back: {returned:?}",
                    late.order_id
                ));
            }
        }
    }
    wrong
}

/// At each moment of the ledger, no transaction gave more back than was taken of it, and
/// what was authorized and not taken was released.
pub fn money_adds_up_at_all_times(evidence: &Evidence) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut kept: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let mut released: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for entry in &evidence.ledger.journal {
        let Some(transaction) = &entry.transaction_id else {
            continue;
        };
        let of = (entry.order_id.as_str(), transaction.as_str());
        let amount = entry.amount.unwrap_or_default();
        match entry.kind.as_str() {
            "capture" => *kept.entry(of).or_default() += amount,
            "refund" => *kept.entry(of).or_default() -= amount,
            "release" => *released.entry(of).or_default() += amount,
            _ => {}
        }
        if kept.get(&of).is_some_and(|kept| *kept < 0) {
            wrong.push(format!(
                "{}: more went back than was taken: {entry:?}",
                entry.order_id
            ));
        }
    }
    for payment in &evidence.ledger.payments {
        for money in &payment.transactions {
            let Some(captured) = money.captured_amount else {
                continue;
            };
            let of = (payment.order_id.as_str(), money.transaction_id.as_str());
            let sum = |all: &BTreeMap<_, i64>| all.get(&of).copied().unwrap_or_default();
            let adds_up = sum(&kept) == captured - money.refunded_amount
                && sum(&released) == money.amount - captured;
            if !adds_up {
                wrong.push(format!(
                    "{}: the journal does not add up to {money:?}",
                    payment.order_id
                ));
            }
        }
    }
    wrong
}

/// No piece came from nowhere or vanished, and none is kept for an order that
/// has ended.
pub fn stock_adds_up(evidence: &Evidence) -> Vec<String> {
    let mut wrong = Vec::new();
    for kept in &evidence.reservations {
        let order_id = kept.attempt.split('#').next().unwrap_or_default();
        let open = evidence
            .records
            .get(order_id)
            .is_some_and(|it| !it.status.is_terminal());
        if !open {
            wrong.push(format!("{} is still kept for {}", kept.sku, kept.attempt));
        }
    }
    for level in &evidence.levels {
        if !level.adds_up() {
            wrong.push(format!("stock does not add up: {level:?}"));
        }
        let sold: u64 = evidence
            .records
            .values()
            .filter(|record| record.status == OrderStatus::Delivered)
            .flat_map(|record| &record.lines)
            .filter(|line| line.sku == level.sku)
            .map(|line| u64::from(line.quantity))
            .sum();
        let back: u64 = evidence
            .after
            .values()
            .flat_map(|after| &after.returns)
            .flat_map(|it| &it.sellable)
            .filter(|part| part.sku == level.sku)
            .map(|part| u64::from(part.quantity))
            .sum();
        if evidence.is_whole && level.returned != back {
            wrong.push(format!(
                "{back} of {} came back to be sold again, but {level:?}",
                level.sku
            ));
        }
        if evidence.is_whole && level.committed != sold {
            wrong.push(format!(
                "{sold} of {} were delivered, but {level:?}",
                level.sku
            ));
        }
    }
    wrong
}

/// What was done for an order that failed was undone, newest first, exactly as
/// far as it was done; for one that was delivered nothing was.
pub fn undone_in_reverse(evidence: &Evidence) -> Vec<String> {
    evidence
        .records
        .values()
        .filter_map(wrong_undoing)
        .collect()
}

fn wrong_undoing(record: &OrderRecord) -> Option<String> {
    let mut done: Vec<Compensable> = Vec::new();
    for event in &record.events {
        let undoes = match event.kind {
            EventKind::OrderPlaced | EventKind::PaymentRetried => {
                if !done.is_empty() {
                    return Some(format!(
                        "{}: tried again with {done:?} not undone",
                        record.order_id
                    ));
                }
                done.push(Compensable::Reserved);
                continue;
            }
            EventKind::PaymentConfirmed => {
                done.push(Compensable::Authorized);
                continue;
            }
            EventKind::ShipmentInitiated => {
                done.push(Compensable::Booked);
                continue;
            }
            EventKind::PaymentCaptured => {
                done.push(Compensable::Captured);
                continue;
            }
            EventKind::PaymentRefunded => Compensable::Captured,
            EventKind::ShipmentCancelled => Compensable::Booked,
            EventKind::PaymentVoided => Compensable::Authorized,
            EventKind::StockReleased => Compensable::Reserved,
            _ => continue,
        };
        if done.pop() != Some(undoes) {
            return Some(format!(
                "{}: {undoes:?} undone out of turn: {:?}",
                record.order_id, record.events
            ));
        }
        if undoes == Compensable::Captured {
            // A refund ends the authorization, too.
            done.retain(|other| *other != Compensable::Authorized);
        }
    }
    let all = vec![
        Compensable::Reserved,
        Compensable::Authorized,
        Compensable::Booked,
        Compensable::Captured,
    ];
    let expected = match record.status {
        OrderStatus::Delivered => all,
        status if status.is_terminal() => Vec::new(),
        _ => return None,
    };
    (done != expected).then(|| {
        format!(
            "{} is {} with {done:?} done and not undone: {:?}",
            record.order_id, record.status, record.events
        )
    })
}

/// A delivered order has one parcel, any other none; and the outside world saw
/// undoing in the same order: refund, cancellation, void.
pub fn parcels_are_right(evidence: &Evidence) -> Vec<String> {
    let mut wrong = Vec::new();
    for shipment in &evidence.ledger.shipments {
        if !evidence.records.contains_key(&shipment.order_id) {
            wrong.push(format!("a parcel for an order nobody has: {shipment:?}"));
        }
    }
    for record in evidence.records.values() {
        let ledger = evidence.ledger.of(record.order_id.as_str());
        let (booked, cancelled) = ledger.shipments.iter().fold((0, 0), |(book, cancel), it| {
            (book + it.effects.book, cancel + it.effects.cancel)
        });
        let right = match record.status {
            OrderStatus::Delivered => (booked, cancelled) == (1, 0),
            status if status.is_terminal() => booked == cancelled && booked <= 1,
            _ => true,
        };
        if !right {
            wrong.push(format!(
                "{} is {}, but {booked} parcels were booked and {cancelled} cancelled",
                record.order_id, record.status
            ));
        }
        let own = record.payment();
        let earlier: Vec<_> = record.payments.iter().rev().skip(1).collect();
        // Each attempt's money goes back on its own: an earlier one's at any time.
        let is_earlier = |entry: &Entry| match (&entry.payment_id, &own.payment_id) {
            (None, _) => false,
            (Some(of), Some(own)) => of != own,
            (of, None) => earlier.iter().any(|payment| payment.payment_id == *of),
        };
        let undone: Vec<_> = ledger
            .journal
            .iter()
            .filter(|entry| !is_earlier(entry))
            .filter(|entry| {
                entry.transaction_id.is_none() || entry.transaction_id == own.transaction_id
            })
            .filter_map(|entry| {
                ["refund", "cancel", "void"]
                    .iter()
                    .position(|kind| *kind == entry.kind)
            })
            .collect();
        if !undone.is_sorted() {
            wrong.push(format!(
                "{} was undone in the order {:?}",
                record.order_id,
                ledger.story()
            ));
        }
    }
    wrong
}

/// What the gateway shows of an order is what Restate holds.
pub fn the_read_model_agrees(evidence: &Evidence) -> Vec<String> {
    let mut wrong = Vec::new();
    for record in evidence.records.values() {
        let id = record.order_id.as_str();
        let Some(shown) = evidence.shown.get(id) else {
            wrong.push(format!("{id} is not shown"));
            continue;
        };
        let mut differs = |what: &str, shown: &Value, held: Value| {
            if *shown != held {
                wrong.push(format!(
                    "{id}: {what} is shown as {shown}, but Restate holds {held}"
                ));
            }
        };
        differs("status", &shown["status"], record.status.as_str().into());
        differs("total", &shown["total_cents"], record.total_cents.0.into());
        let payment = record.payment();
        let status = serde_json::to_value(payment.status).unwrap_or_default();
        differs("payment status", &shown["payment"]["status"], status);
        let transaction = payment.transaction_id.clone().into();
        differs(
            "transaction",
            &shown["payment"]["transaction_id"],
            transaction,
        );
        let tracking = record
            .shipment
            .as_ref()
            .map(|it| it.tracking_number.clone());
        differs(
            "tracking number",
            &shown["shipment"]["tracking_number"],
            tracking.into(),
        );
        differs(
            "failure",
            &shown["failure_reason"],
            record.failure_reason.clone().into(),
        );
        let after = evidence.after.get(id);
        let since = shown["after_delivery"]["version"].clone();
        differs("what came after", &since, after.map(|it| it.version).into());
        let events = record
            .events
            .iter()
            .chain(after.iter().flat_map(|it| &it.events));
        let held = events.map(|event| {
            serde_json::json!({ "seq": event.seq, "kind": event.kind, "detail": event.detail })
        });
        let shown: Vec<_> = shown["events"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|event| {
                serde_json::json!({ "seq": event["seq"], "kind": event["kind"], "detail": event["detail"] })
            })
            .collect();
        differs("story", &Value::Array(shown), Value::Array(held.collect()));
    }
    for id in evidence.shown.keys() {
        if !evidence.records.contains_key(id) {
            wrong.push(format!("{id} is shown, but Restate does not hold it"));
        }
    }
    wrong
}

/// Every step of an order was told, once and in order, and every late payment.
pub fn everybody_was_told(evidence: &Evidence) -> Vec<String> {
    let mut expected: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    for record in evidence.records.values() {
        let mut all = Notification::of_order(record);
        let after = evidence.after.get(record.order_id.as_str());
        all.extend(after.iter().flat_map(|it| Notification::of_after_sales(it)));
        expected.insert(
            record.order_id.as_str(),
            all.into_iter().map(|it| (it.id, it.text)).collect(),
        );
    }
    let mut wrong = Vec::new();
    for (id, expected) in expected {
        let none = Vec::new();
        let told = evidence.told.get(id).unwrap_or(&none);
        let (late, steps): (Vec<_>, Vec<_>) = told
            .iter()
            .cloned()
            .partition(|(id, _)| id.contains(":late:"));
        if steps != expected {
            wrong.push(format!(
                "of {id} was told {steps:?} instead of {expected:?}"
            ));
        }
        let due: Vec<_> = evidence
            .late
            .iter()
            .filter(|it| it.order_id.as_str() == id)
            .flat_map(Notification::of_late_money)
            .map(|it| (it.id, it.text))
            .collect();
        if late != due {
            wrong.push(format!(
                "of {id}'s late money was told {late:?} instead of {due:?}"
            ));
        }
    }
    wrong
}

/// A pending payment does not block the cart: while somebody waits for one,
/// their cart takes a product and gives it back.
pub async fn the_cart_is_free(somebody: &Client<'_>, pending: &str, sku: &str) {
    let waits = format!("UserSession/{}/AwaitPayment", somebody.name);
    let is_waiting = async || {
        let order = somebody
            .get(&format!("/api/orders/{pending}"))
            .await
            .expect(200);
        let waiting = somebody.shop.invocations(&waits).await;
        order["status"] == "awaiting_payment" && waiting.iter().any(|status| status != "completed")
    };
    assert!(is_waiting().await, "{pending} does not wait for a payment");
    let before = somebody.in_cart().await;
    somebody.add(sku, 1).await;
    // What the answer says is done; the payment waits all the same.
    assert!(is_waiting().await, "{pending} went on because of the cart");
    assert_ne!(somebody.in_cart().await, before);
}

impl Evidence {
    /// What has gone back of an order since its delivery, in cents.
    fn refunded(&self, order: &str) -> i64 {
        let refunds = self.after.get(order).map(|it| &it.refunds);
        let done = refunds.into_iter().flatten();
        let done = done.filter(|it| it.status == RefundStatus::Refunded);
        done.map(|it| it.amount_cents.0).sum()
    }

    /// Collects everything about the orders of a test.
    pub async fn gather(shop: &Shop) -> Self {
        let mut evidence = Self {
            accepted: shop.accepted(),
            is_whole: shop.is_alone(),
            ..Self::default()
        };
        // Restate last: what it holds by then must have been told already, or
        // is told by the next time somebody looks.
        let admin = shop.auditor();
        // In a shared world an admin sees a thousand orders of others.
        let readers = if shop.is_alone() {
            vec![shop.auditor()]
        } else {
            shop.everybody()
        };
        evidence.read_ledger(shop).await;
        evidence.read_notifications(shop, &readers).await;
        evidence.read_state(shop).await;
        evidence.read_shown(shop, &readers, &admin).await;
        evidence.read_invocations(shop).await;
        evidence
    }

    async fn read_ledger(&mut self, shop: &Shop) {
        let mut ledger = shop.whole_ledger().await;
        ledger.payments.retain(|it| is_of(shop, &it.order_id));
        ledger.shipments.retain(|it| is_of(shop, &it.order_id));
        ledger.journal.retain(|it| is_of(shop, &it.order_id));
        self.ledger = ledger;
    }

    async fn read_notifications(&mut self, shop: &Shop, readers: &[Client<'_>]) {
        for reader in readers {
            let mut seen = BTreeSet::new();
            for page in 1.. {
                let path = format!("/api/notifications?page={page}&per_page=100");
                let listing = reader.get(&path).await.expect(200);
                let notifications = listing["notifications"].as_array().expect("a list");
                for told in notifications {
                    let Some(order_id) = told["order_id"].as_str().filter(|id| is_of(shop, id))
                    else {
                        continue;
                    };
                    let (id, words) =
                        (text(&told["id"]).to_owned(), text(&told["text"]).to_owned());
                    // A page moves on while others are told something.
                    if seen.insert(id.clone()) {
                        self.told
                            .entry(order_id.to_owned())
                            .or_default()
                            .insert(0, (id, words));
                    }
                }
                if notifications.len() < 100 {
                    break;
                }
            }
        }
    }

    async fn read_state(&mut self, shop: &Shop) {
        let rows = shop
            .sql(
                "SELECT service_name, service_key, key, value_utf8 FROM state \
                 WHERE service_name IN ('UserSession', 'OrderFulfillmentWorkflow', 'Inventory', \
                                        'AfterSales')",
            )
            .await;
        let mut in_workflow = BTreeMap::new();
        for row in &rows {
            let (of, key, value) = (
                text(&row["service_key"]),
                text(&row["key"]),
                text(&row["value_utf8"]),
            );
            match (text(&row["service_name"]), key) {
                ("UserSession", key) if shop.knows(of) => self.read_session(key, value),
                ("OrderFulfillmentWorkflow", "record") if is_of(shop, of) => {
                    in_workflow.insert(of.to_owned(), read(value));
                }
                ("AfterSales", "after_sales") if is_of(shop, of) => {
                    self.after.insert(of.to_owned(), read(value));
                }
                ("Inventory", "level") => self.levels.push(read(value)),
                ("Inventory", key) => {
                    if let Some(attempt) = key.strip_prefix("reservation:")
                        && is_of(shop, attempt)
                    {
                        self.reservations.push(Reservation {
                            sku: of.to_owned(),
                            attempt: attempt.to_owned(),
                        });
                    }
                }
                _ => {}
            }
        }
        // The workflow's record is the newer one.
        self.records.extend(in_workflow);
    }

    fn read_session(&mut self, key: &str, value: &str) {
        if let Some(order_id) = key.strip_prefix("checkout:exec:") {
            if let Marker::Here(record) = read(value) {
                self.records.insert(order_id.to_owned(), *record);
            } else {
                self.accepted.insert(order_id.to_owned());
            }
        } else if key.starts_with("late:") {
            self.late.push(read(value));
        }
    }

    async fn read_shown(&mut self, shop: &Shop, readers: &[Client<'_>], admin: &Client<'_>) {
        let mut ids: BTreeSet<String> = self.records.keys().cloned().collect();
        for reader in readers {
            for page in 1.. {
                let path = format!("/api/orders?page={page}&per_page=100");
                let listing = reader.get(&path).await.expect(200);
                let orders = listing["orders"].as_array().expect("a list of orders");
                let listed = orders.iter().map(|order| text(&order["order_id"]));
                ids.extend(listed.filter(|id| is_of(shop, id)).map(str::to_owned));
                if orders.len() < 100 {
                    break;
                }
            }
        }
        let shown = stream::iter(ids).map(async |id| {
            let answer = admin.get(&format!("/api/orders/{id}")).await;
            (id, answer)
        });
        self.shown = shown
            .buffer_unordered(AT_ONCE)
            .filter_map(async |(id, answer)| (answer.status == 200).then_some((id, answer.body)))
            .collect()
            .await;
    }

    async fn read_invocations(&mut self, shop: &Shop) {
        let rows = shop
            .sql(
                "SELECT id, target, target_service_key, target_handler_name, status, \
                 invoked_by_target, retry_count, last_failure FROM sys_invocation \
                 WHERE status <> 'completed' AND target_handler_name NOT IN ('Forget', 'ParcelOverdue')",
            )
            .await;
        for row in rows {
            let from = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
            let caller = from("invoked_by_target");
            let caller = caller.split('/').nth(1).unwrap_or_default();
            let key = from("target_service_key");
            if shop.is_alone() || is_of(shop, &key) || is_of(shop, caller) {
                self.unfinished.push(format!("still there: {row}"));
            }
        }
    }
}

/// Whether a user's name, an order's id or a payment attempt's is of this test.
fn is_of(shop: &Shop, id: &str) -> bool {
    shop.knows(id.split('.').next().unwrap_or(id))
}

fn read<T: serde::de::DeserializeOwned>(value: &str) -> T {
    serde_json::from_str(value).unwrap_or_else(|error| panic!("{value}: {error}"))
}
