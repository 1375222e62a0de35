//! What the payment provider and the carrier did, by the sandbox's ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use waybill_domain::ids::{AttemptId, OrderId};
use waybill_domain::money::Cents;
use waybill_domain::order::OrderRecord;
use waybill_domain::payment::PaymentOrder;
use waybill_domain::shipment::ShipmentRequest;

use super::difference::{About, Difference, Repair, Return, Side, is_good_end};
use super::snapshot::RestateSnapshot;

/// The ledger of a long demo is a few megabytes.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// `GET /ledger`, as far as it is compared.
#[derive(Debug, Deserialize)]
pub(super) struct Ledger {
    payments: Vec<Payment>,
    shipments: Vec<Shipment>,
}

#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names on the wire")]
struct Payment {
    payment_id: String,
    order_id: String,
    awakeable_id: String,
    amount: i64,
    status: String,
    transactions: Vec<Money>,
}

#[derive(Debug, Deserialize)]
struct Money {
    transaction_id: String,
    amount: i64,
    captured_amount: Option<i64>,
    #[serde(default)]
    refunded_amount: i64,
    status: String,
}

#[derive(Debug, Deserialize)]
struct Shipment {
    order_id: String,
    tracking_number: Option<String>,
    status: String,
}

/// Of which order, and which of its transactions.
type Transaction<'a> = (&'a str, Option<&'a str>);
/// How much was captured, and how much has gone back.
type Taken = (Option<i64>, i64);

/// Ended orders that only the read model knows.
pub(super) type ArchivedOrders = BTreeMap<OrderId, OrderRecord>;

/// Asks the sandbox.
pub(super) async fn read(sandbox_url: &str, only: Option<&OrderId>) -> anyhow::Result<Ledger> {
    let mut url = reqwest::Url::parse(sandbox_url)?.join("ledger")?;
    if let Some(order) = only {
        url.query_pairs_mut()
            .append_pair("order_id", order.as_str());
    }
    let asked = reqwest::Client::new()
        .get(url)
        .timeout(ANSWER_WITHIN)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status);
    let asked = asked
        .with_context(|| format!("SANDBOX_URL is {sandbox_url}, but no ledger can be had there"))?;
    asked
        .json()
        .await
        .context("the sandbox's ledger cannot be read")
}

impl Ledger {
    /// How many payments and parcels it knows.
    pub(super) fn size(&self) -> usize {
        self.payments.len() + self.shipments.len()
    }

    /// What is held outside although it should not be, and what is missing
    /// there. Orders that have not ended may still change outside.
    /// `kept`: orders that Restate has forgotten, by the read model.
    pub(super) fn differences(
        &self,
        held: &RestateSnapshot,
        kept: &ArchivedOrders,
    ) -> Vec<Difference> {
        let mut differences = Vec::new();
        // Of an order that had the same id before: not this record's to judge.
        let mut order_id_reused = BTreeSet::new();
        for payment in &self.payments {
            let record = match Standing::of(&payment.order_id, held, kept) {
                Standing::Open => continue,
                Standing::Unknown => None,
                Standing::Ended(record) => Some(record),
            };
            if record.is_some_and(|record| !payment.is_of(record)) {
                order_id_reused.insert(payment.order_id.as_str());
            }
            differences.extend(payment.unwarranted(record));
        }
        for shipment in &self.shipments {
            let record = match Standing::of(&shipment.order_id, held, kept) {
                Standing::Open => continue,
                Standing::Unknown => None,
                Standing::Ended(record) => Some(record),
            };
            let may_be_called_back = !order_id_reused.contains(shipment.order_id.as_str());
            differences.extend(shipment.unwarranted(record, may_be_called_back));
        }
        let with_money: BTreeMap<_, _> = self.payments.iter().flat_map(Payment::captured).collect();
        let with_parcel: BTreeSet<_> = self
            .shipments
            .iter()
            .filter(|it| it.is_booked())
            .map(|it| it.order_id.as_str())
            .collect();
        // Of some that are forgotten Restate still holds what came after.
        let since = kept
            .values()
            .filter(|it| held.after.contains_key(&it.order_id));
        let all = held.orders.values().chain(since);
        for record in all.filter(|it| is_good_end(it.status)) {
            let id = record.order_id.as_str();
            let money = with_money.get(&(id, record.payment().transaction_id.as_deref()));
            let went_back = money.map_or(0, |(_, refunded)| *refunded);
            if money.and_then(|(captured, _)| *captured) != Some(record.total_cents.0) {
                let words = format!(
                    "is delivered for {}, but that is not captured",
                    record.total_cents
                );
                differences.push(missing(id, "unpaid", words));
            } else if let Some(known) = held.refunded(&record.order_id)
                && known.0 != went_back
            {
                let words = format!(
                    "has refunded {known} since its delivery, but {} went back",
                    Cents(went_back)
                );
                differences.push(missing(id, "refunded otherwise", words));
            }
            if !with_parcel.contains(id) {
                differences.push(missing(
                    id,
                    "unsent",
                    "is delivered, but no parcel is booked for it".to_owned(),
                ));
            }
        }
        differences
    }
}

/// What Restate says of an order in the ledger.
enum Standing<'a> {
    /// Under way, or abandoned: then it is taken back as a whole.
    Open,
    Ended(&'a OrderRecord),
    /// Restate does not hold it.
    Unknown,
}

impl<'a> Standing<'a> {
    fn of(order: &str, held: &'a RestateSnapshot, kept: &'a ArchivedOrders) -> Self {
        let Ok(order) = OrderId::parse(order) else {
            return Self::Unknown;
        };
        if held.is_worked_on(&order) {
            return Self::Open;
        }
        match held.orders.get(&order) {
            Some(record) if record.status.is_terminal() => Self::Ended(record),
            Some(_) => Self::Open,
            None => match kept.get(&order) {
                Some(record) => Self::Ended(record),
                None if held.was_handed_over(&order) => Self::Open,
                None => Self::Unknown,
            },
        }
    }
}

impl Payment {
    /// Whether it was asked for by this order, and not by one that had its id
    /// before.
    fn is_of(&self, record: &OrderRecord) -> bool {
        let mut awakeables = record
            .payments
            .iter()
            .filter_map(|it| it.awakeable_id.as_deref());
        awakeables.any(|it| it == self.awakeable_id)
    }

    /// By order and transaction: how much was captured, and how much has gone back.
    fn captured(&self) -> impl Iterator<Item = (Transaction<'_>, Taken)> {
        let captured = self
            .transactions
            .iter()
            .filter(|it| matches!(it.status.as_str(), "captured" | "refunded"));
        captured.map(|it| {
            let of = (self.order_id.as_str(), Some(it.transaction_id.as_str()));
            (of, (it.captured_amount, it.refunded_amount))
        })
    }

    /// Money that is held or taken and should not be, and a payment that can
    /// still be paid although its order has ended.
    fn unwarranted(&self, record: Option<&OrderRecord>) -> Vec<Difference> {
        let ended = match record {
            Some(record) => record.status.to_string(),
            None => "held by nobody".to_owned(),
        };
        let own = record.filter(|record| self.is_of(record));
        let whose = match own {
            None if record.is_some() => "a payment that it never asked for",
            _ => "it",
        };
        let mut differences = Vec::new();
        for money in &self.transactions {
            let due = own.is_some_and(|record| {
                is_good_end(record.status)
                    && record.payment().transaction_id.as_deref() == Some(&money.transaction_id)
            });
            let back = match money.status.as_str() {
                _ if due => continue,
                "authorized" => self.order(Some(money)).map(Return::Void),
                // Of an order that was delivered long ago, forgotten by Restate
                // and the read model, or with an id that was used again: that
                // is for a person to judge.
                "captured" if own.is_none() => None,
                "captured" => self.order(Some(money)).map(Return::Refund),
                _ => continue,
            };
            let amount = Cents(money.captured_amount.unwrap_or(money.amount));
            differences.push(Difference {
                side: Side::Ledger,
                about: About::Order(self.order_id.clone()),
                kind: format!("money {}", money.transaction_id),
                words: format!(
                    "is {ended}, but {amount} of {whose} are {} (transaction {})",
                    money.status, money.transaction_id
                ),
                repair: back.map(Repair::Return),
            });
        }
        if self.status == "pending" && own.is_some() {
            differences.push(Difference {
                side: Side::Ledger,
                about: About::Order(self.order_id.clone()),
                kind: format!("payable {}", self.payment_id),
                words: format!(
                    "is {ended}, but can still be paid (payment {})",
                    self.payment_id
                ),
                repair: self.order(None).map(Return::Void).map(Repair::Return),
            });
        }
        differences
    }

    /// What the provider is asked. Attempt 0 is nobody's, so that its keys are
    /// not those of an answer that was given before.
    fn order(&self, money: Option<&Money>) -> Option<PaymentOrder> {
        Some(PaymentOrder {
            attempt: nobodys_attempt(&OrderId::parse(&self.order_id).ok()?),
            awakeable_id: self.awakeable_id.clone(),
            amount_cents: Cents(
                money.map_or(self.amount, |it| it.captured_amount.unwrap_or(it.amount)),
            ),
            capture_cents: None,
            payment_id: Some(self.payment_id.clone()),
            transaction_id: money.map(|it| it.transaction_id.clone()),
        })
    }
}

impl Shipment {
    fn is_booked(&self) -> bool {
        self.status == "booked"
    }

    /// A parcel that should not be on its way, or is another than we know.
    fn unwarranted(
        &self,
        record: Option<&OrderRecord>,
        may_be_called_back: bool,
    ) -> Option<Difference> {
        if !self.is_booked() {
            return None;
        }
        let number = self
            .tracking_number
            .as_deref()
            .unwrap_or("without a number");
        let (words, repair) = match record {
            Some(record) if is_good_end(record.status) => {
                let known = record
                    .shipment
                    .as_ref()
                    .map(|it| it.tracking_number.as_str());
                if known == self.tracking_number.as_deref() {
                    return None;
                }
                (
                    format!(
                        "was delivered with parcel {}, but the carrier has {number}",
                        known.unwrap_or("none")
                    ),
                    None,
                )
            }
            record => {
                let ended =
                    record.map_or_else(|| "held by nobody".to_owned(), |it| it.status.to_string());
                let request = record
                    .filter(|_| may_be_called_back)
                    .map(|record| ShipmentRequest {
                        attempt: nobodys_attempt(&record.order_id),
                        address: String::new(),
                        lines: Vec::new(),
                    });
                (
                    format!("is {ended}, but parcel {number} is booked"),
                    request.map(Return::CallBack),
                )
            }
        };
        Some(Difference {
            side: Side::Ledger,
            about: About::Order(self.order_id.clone()),
            kind: "parcel".to_owned(),
            words,
            repair: repair.map(Repair::Return),
        })
    }
}

fn nobodys_attempt(order: &OrderId) -> AttemptId {
    AttemptId {
        order_id: order.clone(),
        attempt: 0,
    }
}

fn missing(order: &str, kind: &str, words: String) -> Difference {
    Difference {
        side: Side::Ledger,
        about: About::Order(order.to_owned()),
        kind: kind.to_owned(),
        words,
        repair: None,
    }
}
