//! What Restate holds of orders and stock, and which of them somebody works on.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use serde::Deserialize;
use services::wire::after_sales::PARCEL_OVERDUE;
use services::wire::user_session::{FORGET, TAKE_BACK};
use services::wire::{
    ACCOUNT, AFTER_SALES, CATALOG, INVENTORY, LATE, LEVEL, MARKER, ORDER_FULFILLMENT_WORKFLOW,
    PRODUCT, READ_MARK, RECORD, RESERVATION, USER_SESSION, WHOLE_ACCOUNT, WHOLE_AFTER_SALES, ZONE,
    late_key, marker_key,
};
use waybill_domain::account::Account;
use waybill_domain::after_sales::{AfterSales, RefundStatus};
use waybill_domain::catalog::{CatalogProduct, CatalogZone};
use waybill_domain::checkout::Marker;
use waybill_domain::ids::{AttemptId, OrderId, Sku, Username};
use waybill_domain::money::Cents;
use waybill_domain::order::{OrderRecord, OrderStatus};
use waybill_domain::payment::LateMoney;
use waybill_domain::stock::StockLevel;
use waybill_domain::update::ReadMark;

use super::difference::{About, Difference, Repair, Side, is_good_end};
use crate::restate::admin::{AdminApi, AdminError, StateRow, literal, literals};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RestateSnapshot {
    /// The newest record of each order.
    pub(super) orders: BTreeMap<OrderId, OrderRecord>,
    /// Orders that the user's session has handed over to their workflow.
    handed_over: BTreeSet<OrderId>,
    pub(super) late: BTreeMap<OrderId, LateMoney>,
    pub(super) after: BTreeMap<OrderId, AfterSales>,
    pub(super) levels: BTreeMap<Sku, StockLevel>,
    pub(super) marks: BTreeMap<Username, ReadMark>,
    pub(super) accounts: BTreeMap<Username, Account>,
    pub(super) products: BTreeMap<Sku, CatalogProduct>,
    /// By name.
    pub(super) zones: BTreeMap<String, CatalogZone>,
    reservations: Vec<Reservation>,
    work: Work,
    unreadable: Vec<Difference>,
    /// Whether it is about one order: totals cannot be compared then.
    pub(super) is_partial: bool,
}

/// Pieces that are kept for an attempt to pay.
#[derive(Debug)]
struct Reservation {
    sku: Sku,
    attempt: AttemptId,
    quantity: u64,
}

/// What invocations that have not ended are about.
#[derive(Debug, Default)]
struct Work {
    orders: BTreeSet<OrderId>,
    /// Users and products with calls that wait for their turn: which order
    /// those are about cannot be seen yet.
    users: BTreeSet<String>,
    skus: BTreeSet<String>,
}

/// Reads everything, or what concerns one order.
pub(super) async fn read(
    admin_api: &AdminApi,
    only: Option<&OrderId>,
) -> Result<RestateSnapshot, AdminError> {
    // Work first: what begins after this is not mistaken for nothing.
    let work = work(admin_api).await?;
    let held = states(admin_api, only).await?;
    Ok(RestateSnapshot { work, ..held })
}

/// The same without who works on what.
pub(super) async fn states(
    admin_api: &AdminApi,
    only: Option<&OrderId>,
) -> Result<RestateSnapshot, AdminError> {
    let mut held = RestateSnapshot {
        is_partial: only.is_some(),
        ..RestateSnapshot::default()
    };
    let mut rows = std::pin::pin!(admin_api.query_rows::<StateRow>(state_sql(only)));
    while let Some(row) = rows.try_next().await? {
        if let Err(error) = held.take(&row) {
            held.unreadable.push(Difference {
                side: Side::Restate,
                about: About::Order(row.service_key.clone()),
                kind: format!("unreadable {} {}", row.service_name, row.key),
                words: format!(
                    "has a state {} in {} that cannot be read ({error})",
                    row.key, row.service_name
                ),
                repair: None,
            });
        }
    }
    Ok(held)
}

fn state_sql(only: Option<&OrderId>) -> String {
    let which = match only {
        None => format!(
            "(service_name = '{ORDER_FULFILLMENT_WORKFLOW}' AND key = '{RECORD}') \
             OR (service_name = '{USER_SESSION}' AND \
                 (key LIKE '{MARKER}%' OR key LIKE '{LATE}%' OR key = '{READ_MARK}')) \
             OR (service_name = '{ACCOUNT}' AND key = '{WHOLE_ACCOUNT}') \
             OR (service_name = '{AFTER_SALES}' AND key = '{WHOLE_AFTER_SALES}') \
             OR (service_name = '{CATALOG}' AND (key LIKE '{PRODUCT}%' OR key LIKE '{ZONE}%')) \
             OR service_name = '{INVENTORY}'"
        ),
        Some(order) => format!(
            "(service_name = '{ORDER_FULFILLMENT_WORKFLOW}' AND key = '{RECORD}' AND service_key = {}) \
             OR (service_name = '{USER_SESSION}' AND service_key = {} AND key IN ({}, {})) \
             OR (service_name = '{AFTER_SALES}' AND key = '{WHOLE_AFTER_SALES}' AND service_key = {}) \
             OR (service_name = '{INVENTORY}' AND key LIKE {})",
            literal(order.as_str()),
            literal(order.owner().as_str()),
            literal(&marker_key(order)),
            literal(&late_key(order)),
            literal(order.as_str()),
            literal(&format!("{RESERVATION}{order}#%")),
        ),
    };
    format!("SELECT service_name, service_key, key, value_utf8 AS value FROM state WHERE {which}")
}

/// The stock levels of now.
pub(super) async fn levels(admin_api: &AdminApi) -> Result<BTreeMap<Sku, StockLevel>, AdminError> {
    let sql = format!(
        "SELECT service_name, service_key, key, value_utf8 AS value FROM state \
         WHERE service_name = '{INVENTORY}' AND key = '{LEVEL}'"
    );
    let rows: Vec<StateRow> = admin_api.query_rows(sql).try_collect().await?;
    // What cannot be read is a difference that was said before.
    let levels = rows
        .iter()
        .filter_map(|row| serde_json::from_str::<StockLevel>(&row.value).ok());
    Ok(levels.map(|level| (level.sku.clone(), level)).collect())
}

async fn work(admin_api: &AdminApi) -> Result<Work, AdminError> {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        service: String,
        key: Option<String>,
    }
    // A `TakeBack` ends no order: one whose reconciling was cut off needs another. A
    // parcel that may be overdue one day is nobody's work until then.
    let sql = format!(
        "SELECT id, target_service_name AS service, target_service_key AS key \
         FROM sys_invocation WHERE status <> 'completed' \
         AND target_handler_name NOT IN ({})",
        literals([FORGET.name, TAKE_BACK.name, PARCEL_OVERDUE.name])
    );
    let rows: Vec<Row> = admin_api.query_rows(sql).try_collect().await?;
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    let orders = admin_api.orders_of(&ids).await?;
    let mut work = Work::default();
    for row in rows {
        let order = orders.get(&row.id).cloned().flatten();
        match (row.service.as_str(), row.key, order) {
            (ORDER_FULFILLMENT_WORKFLOW | AFTER_SALES, Some(key), _) => {
                work.orders.extend(OrderId::parse(&key));
            }
            (_, _, Some(order)) => {
                work.orders.insert(order);
            }
            (USER_SESSION, Some(user), None) => {
                work.users.insert(user);
            }
            (INVENTORY, Some(sku), None) => {
                work.skus.insert(sku);
            }
            _ => {}
        }
    }
    Ok(work)
}

impl RestateSnapshot {
    fn take(&mut self, row: &StateRow) -> anyhow::Result<()> {
        match (row.service_name.as_str(), row.key.as_str()) {
            (ORDER_FULFILLMENT_WORKFLOW, _) => self.take_record(serde_json::from_str(&row.value)?),
            (INVENTORY, LEVEL) => {
                let level: StockLevel = serde_json::from_str(&row.value)?;
                self.levels.insert(level.sku.clone(), level);
            }
            (INVENTORY, key) => {
                if let Some(attempt) = key.strip_prefix(RESERVATION) {
                    self.reservations.push(Reservation {
                        sku: Sku::parse(&row.service_key)?,
                        attempt: attempt_id(attempt)?,
                        quantity: row.value.parse()?,
                    });
                }
            }
            (AFTER_SALES, _) => {
                let after: AfterSales = serde_json::from_str(&row.value)?;
                self.after.insert(after.order_id.clone(), after);
            }
            (ACCOUNT, _) => {
                let account: Account = serde_json::from_str(&row.value)?;
                self.accounts.insert(account.user.clone(), account);
            }
            (CATALOG, key) if key.starts_with(ZONE) => {
                let zone: CatalogZone = serde_json::from_str(&row.value)?;
                self.zones.insert(zone.name.clone(), zone);
            }
            (CATALOG, _) => {
                let product: CatalogProduct = serde_json::from_str(&row.value)?;
                self.products.insert(product.sku.clone(), product);
            }
            (_, READ_MARK) => {
                let mark: ReadMark = serde_json::from_str(&row.value)?;
                self.marks.insert(mark.user_id.clone(), mark);
            }
            (_, key) => match key.strip_prefix(MARKER) {
                None => {
                    let late: LateMoney = serde_json::from_str(&row.value)?;
                    self.late.insert(late.order_id.clone(), late);
                }
                Some(order) => match serde_json::from_str(&row.value)? {
                    Marker::Here(record) => self.take_record(*record),
                    Marker::HandedOver(_) => {
                        self.handed_over.insert(OrderId::parse(order)?);
                    }
                },
            },
        }
        Ok(())
    }

    /// For a moment two have it: the session that hands it over, and the
    /// workflow. An id that was used again tells of the newer order.
    fn take_record(&mut self, record: OrderRecord) {
        let age = |it: &OrderRecord| (it.created_at, it.version);
        let known = self.orders.get(&record.order_id);
        if known.is_none_or(|known| age(known) < age(&record)) {
            self.orders.insert(record.order_id.clone(), record);
        }
    }

    /// Whether anything is held of the order.
    pub(super) fn knows(&self, order: &OrderId) -> bool {
        self.orders.contains_key(order)
            || self.was_handed_over(order)
            || self.after.contains_key(order)
            || self
                .reservations
                .iter()
                .any(|it| it.attempt.order_id == *order)
    }

    /// Whether the order's record is gone.
    pub(super) fn is_forgotten(&self, order: &OrderId) -> bool {
        !self.orders.contains_key(order)
    }

    /// Whether the order has been paid, as far as its customer's session knows.
    pub(super) fn was_handed_over(&self, order: &OrderId) -> bool {
        self.handed_over.contains(order)
    }

    /// What has gone back since the order's delivery; `None` while a refund is under way.
    pub(super) fn refunded(&self, order: &OrderId) -> Option<Cents> {
        let Some(after) = self.after.get(order) else {
            return Some(Cents::ZERO);
        };
        let refunds = || after.refunds.iter();
        if refunds().any(|it| it.status == RefundStatus::Pending) {
            return None;
        }
        let done = refunds().filter(|it| it.status == RefundStatus::Refunded);
        Some(done.map(|it| it.amount_cents).sum())
    }

    /// Whether an invocation works on the order, or may.
    pub(super) fn is_worked_on(&self, order: &OrderId) -> bool {
        self.work.orders.contains(order) || self.work.users.contains(order.owner().as_str())
    }

    /// Whether an order that is shown with this version has moved on since
    /// Restate was asked: that is no difference.
    pub(super) fn is_outrun(&self, order: &str, shown: Option<i64>) -> bool {
        let Ok(order) = OrderId::parse(order) else {
            return false;
        };
        let held = self.orders.get(&order).map(|it| it.version);
        shown.and_then(|it| u64::try_from(it).ok()) > held && self.is_worked_on(&order)
    }

    /// What Restate's own states say of each other.
    pub(super) fn differences(&self) -> Vec<Difference> {
        let mut differences = self.unreadable.clone();
        differences.extend(
            self.orders
                .values()
                .filter_map(|record| self.abandoned(record)),
        );
        differences.extend(
            self.after
                .values()
                .filter_map(|after| self.unanswered(after)),
        );
        differences.extend(
            self.reservations
                .iter()
                .filter_map(|it| self.kept_in_vain(it)),
        );
        if !self.is_partial {
            differences.extend(
                self.levels
                    .values()
                    .filter_map(|level| self.miscounted(level)),
            );
        }
        differences
    }

    /// An order that has not ended and that nobody works on.
    fn abandoned(&self, record: &OrderRecord) -> Option<Difference> {
        if record.status.is_terminal() || self.is_worked_on(&record.order_id) {
            return None;
        }
        let repair = match record.status {
            OrderStatus::AwaitingPayment => Repair::Settle(record.order_id.clone()),
            _ => Repair::TakeBack(Box::new(record.clone())),
        };
        Some(Difference {
            side: Side::Restate,
            about: About::Order(record.order_id.to_string()),
            kind: "abandoned".to_owned(),
            words: format!(
                "is {} and no invocation works on it: was it killed?",
                record.status
            ),
            repair: Some(repair),
        })
    }

    /// Money that should go back, and that nobody asks the provider for.
    fn unanswered(&self, after: &AfterSales) -> Option<Difference> {
        let mut refunds = after.refunds.iter();
        let pending = refunds.find(|it| it.status == RefundStatus::Pending)?;
        if self.is_worked_on(&after.order_id) {
            return None;
        }
        Some(Difference {
            side: Side::Restate,
            about: About::Order(after.order_id.to_string()),
            kind: format!("refund {}", pending.number),
            words: format!(
                "has promised to refund {}, but no invocation works on it: was it killed?",
                pending.amount_cents
            ),
            repair: Some(Repair::RefundAgain(after.order_id.clone())),
        })
    }

    /// Pieces that are kept for no open attempt.
    fn kept_in_vain(&self, kept: &Reservation) -> Option<Difference> {
        let order = &kept.attempt.order_id;
        if self.is_worked_on(order) || self.work.skus.contains(kept.sku.as_str()) {
            return None;
        }
        let (words, is_sold) = match self.orders.get(order) {
            None => ("an order that Restate does not hold".to_owned(), false),
            Some(record) if record.attempt() != kept.attempt => {
                (format!("an attempt before {}", record.attempt()), false)
            }
            Some(record) if record.status.is_terminal() => (
                format!("an order that is {}", record.status),
                is_good_end(record.status) && record.lines.iter().any(|it| it.sku == kept.sku),
            ),
            Some(_) => return None,
        };
        let (sku, attempt) = (kept.sku.clone(), kept.attempt.clone());
        Some(Difference {
            side: Side::Restate,
            about: About::Stock(kept.sku.clone()),
            kind: format!("kept {attempt}"),
            words: format!("has {} reserved for {attempt}, {words}", kept.quantity),
            repair: Some(if is_sold {
                Repair::Commit(sku, attempt)
            } else {
                Repair::Release(sku, attempt)
            }),
        })
    }

    /// A level that does not fit its reservations, or itself.
    fn miscounted(&self, level: &StockLevel) -> Option<Difference> {
        if self.work.skus.contains(level.sku.as_str()) {
            return None;
        }
        let counted: u64 = self
            .reservations
            .iter()
            .filter(|it| it.sku == level.sku)
            .map(|it| it.quantity)
            .sum();
        if level.adds_up() && level.reserved == counted {
            return None;
        }
        Some(Difference {
            side: Side::Restate,
            about: About::Stock(level.sku.clone()),
            kind: "miscounted".to_owned(),
            words: format!(
                "is {} + {} pieces, but {} available + {} reserved + {} sold, and its open reservations are {counted}",
                level.initial, level.restocked, level.available, level.reserved, level.committed
            ),
            repair: Some(Repair::Recount(level.sku.clone())),
        })
    }
}

/// `{order}#{attempt}`
fn attempt_id(text: &str) -> anyhow::Result<AttemptId> {
    let (order, attempt) = text
        .rsplit_once('#')
        .ok_or_else(|| anyhow::anyhow!("{text} names no attempt"))?;
    Ok(AttemptId {
        order_id: OrderId::parse(order)?,
        attempt: attempt.parse()?,
    })
}
