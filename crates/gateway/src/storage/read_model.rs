//! The copy of what Restate holds: what is written into it, and what it lacks.
//!
//! Only newer versions are written, hence any order of arrival, any duplicate
//! and any rebuild give the same rows. Whoever writes is in [`crate::live`].

use std::collections::HashSet;

use serde_json::json;
use sqlx::SqliteConnection;
use waybill_domain::Timestamp;
use waybill_domain::ids::{Sku, Username};
use waybill_domain::notification::Notification;
use waybill_domain::order::{OrderRecord, OrderStatus};
use waybill_domain::payment::LateMoney;
use waybill_domain::stock::StockLevel;
use waybill_domain::update::{ReadMark, Update};

use super::accounts;
use super::after_sales;
use super::audit;
use super::catalog;
use super::db::{Db, to_i64};

/// What a state in Restate is copied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// An order.
    Order,
    /// What happened to an order after its delivery.
    AfterSales,
    /// A stock level.
    Stock,
    /// Money that came late.
    Late,
    /// How far somebody has read.
    Read,
    /// Who somebody is.
    Account,
    /// A product of the catalog.
    Product,
    /// A shipping zone.
    Zone,
    /// The entries of a day in the audit log.
    Audit,
}

/// How new a state in Restate is.
#[derive(Debug)]
pub struct StateVersion {
    /// What it is copied to.
    pub kind: StateKind,
    /// Of which order, product, zone, person or day.
    pub key: String,
    /// Grows with each change.
    pub version: i64,
    /// Time of an order's last change, in milliseconds since the epoch.
    pub updated_at: i64,
}

/// Writes an update if it is news.
pub async fn write_update(db: &mut SqliteConnection, update: &Update) -> sqlx::Result<bool> {
    match update {
        Update::Order(record) => upsert_order(db, record).await,
        Update::AfterSales(after) => after_sales::write(db, after).await,
        Update::Stock(level) => upsert_stock(db, level).await,
        Update::Late(late) => write_late_money(db, late).await,
        Update::Read(mark) => upsert_read_mark(db, mark).await,
        Update::Account(account) => accounts::write(db, account).await,
        Update::Product(product) => catalog::write_product(db, product).await,
        Update::Zone(zone) => catalog::write_zone(db, zone).await,
        Update::Audit(entry) => audit::write(db, entry).await,
        Update::Basket(_) | Update::Heartbeat => Ok(false),
    }
}

async fn write_late_money(db: &mut SqliteConnection, late: &LateMoney) -> sqlx::Result<bool> {
    let news = upsert_late_money(db, late).await?;
    if news {
        insert_notifications(db, Notification::of_late_money(late).iter()).await?;
    }
    Ok(news)
}

/// What search finds an order by.
fn search_text(record: &OrderRecord) -> String {
    let mut words = vec![
        record.order_id.as_str(),
        record.order_id.short(),
        record.user_id.as_str(),
        record.zone.as_str(),
    ];
    for line in &record.lines {
        words.extend([line.sku.as_str(), line.name.as_str()]);
    }
    let transactions = record
        .payments
        .iter()
        .filter_map(|p| p.transaction_id.as_deref());
    words.extend(transactions);
    words.extend(record.shipment.iter().map(|s| s.tracking_number.as_str()));
    words.join(" ")
}

/// Which of `states` are newer than what is here, by their place in it.
pub async fn newer<'a>(
    db: &Db,
    states: impl Iterator<Item = &'a StateVersion> + Clone,
) -> sqlx::Result<HashSet<usize>> {
    let mut newer = HashSet::new();
    for (kind, table, known, stale) in [
        // A higher time with a lower version: the id was used again after
        // Restate had forgotten the first order.
        (
            StateKind::Order,
            "orders ON order_id",
            "version",
            "version < value ->> 1 OR updated_at < value ->> 2",
        ),
        (
            StateKind::AfterSales,
            "after_sales ON order_id",
            "version",
            "version < value ->> 1",
        ),
        (
            StateKind::Stock,
            "stock_levels ON sku",
            "version",
            "version < value ->> 1",
        ),
        (
            StateKind::Late,
            "late_money ON order_id",
            "version",
            "version < value ->> 1",
        ),
        (
            StateKind::Read,
            "read_marks ON user_id",
            "read_at",
            "read_at < value ->> 1",
        ),
        (
            StateKind::Account,
            "users ON username",
            "version",
            "version < value ->> 1",
        ),
        (
            StateKind::Product,
            "products ON sku",
            "version",
            "version < value ->> 1",
        ),
        (
            StateKind::Zone,
            "shipping_zones ON zone_name COLLATE NOCASE",
            "version",
            "version < value ->> 1",
        ),
        (
            StateKind::Audit,
            "audit_days ON day",
            "entries",
            "entries < value ->> 1",
        ),
    ] {
        let rows: Vec<_> = states
            .clone()
            .enumerate()
            .filter(|(_, state)| state.kind == kind)
            .map(|(place, state)| json!([state.key, state.version, state.updated_at, place]))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let sql = format!(
            "SELECT value ->> 3 FROM json_each(?)
             LEFT JOIN {table} = value ->> 0
             WHERE {known} IS NULL OR {stale}"
        );
        let places: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(serde_json::Value::Array(rows).to_string())
            .fetch_all(&db.read)
            .await?;
        newer.extend(
            places
                .into_iter()
                .filter_map(|place| usize::try_from(place).ok()),
        );
    }
    Ok(newer)
}

/// Drops the gateway's own notes that are older than `before`.
pub async fn drop_notes(db: &Db, before: Timestamp) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM notifications WHERE order_id IS NULL AND at < ?")
        .bind(before.as_millisecond())
        .execute(&db.write)
        .await?;
    Ok(())
}

/// Forgets everything that Restate can tell again. Notes that gateways
/// wrote themselves stay, and so does the audit log, which only grows.
pub async fn empty(db: &Db) -> sqlx::Result<()> {
    forget(
        db,
        &[
            "DELETE FROM orders",
            "DELETE FROM order_totals",
            "DELETE FROM after_sales",
            "DELETE FROM refund_totals",
            "DELETE FROM notifications WHERE order_id IS NOT NULL",
            "DELETE FROM stock_levels",
            "DELETE FROM late_money",
            "DELETE FROM read_marks",
        ],
    )
    .await
}

/// The same, but orders that have ended stay, with all that belongs to them: Restate may
/// have forgotten them.
pub async fn empty_but_ended(db: &Db) -> sqlx::Result<()> {
    forget(
        db,
        &[
            "DELETE FROM orders WHERE ended_at IS NULL",
            "DELETE FROM after_sales WHERE order_id NOT IN (SELECT order_id FROM orders)",
            "DELETE FROM notifications
             WHERE order_id IS NOT NULL AND order_id NOT IN (SELECT order_id FROM orders)",
            "DELETE FROM stock_levels",
            "DELETE FROM late_money WHERE order_id NOT IN (SELECT order_id FROM orders)",
            "DELETE FROM read_marks",
        ],
    )
    .await
}

async fn forget(db: &Db, statements: &[&'static str]) -> sqlx::Result<()> {
    let mut transaction = db.begin().await?;
    for statement in statements {
        sqlx::query(*statement).execute(&mut *transaction).await?;
    }
    accounts::empty(&mut transaction).await?;
    catalog::empty(&mut transaction).await?;
    transaction.commit().await
}

/// The version of an order that is here.
pub async fn order_version(db: &mut SqliteConnection, order_id: &str) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("SELECT version FROM orders WHERE order_id = ?")
        .bind(order_id)
        .fetch_optional(db)
        .await
}

/// Drops an order with all that belongs to it.
pub async fn forget_order(db: &mut SqliteConnection, order_id: &str) -> sqlx::Result<()> {
    for statement in [
        "DELETE FROM orders WHERE order_id = ?",
        "DELETE FROM notifications WHERE order_id = ?",
        "DELETE FROM late_money WHERE order_id = ?",
        "DELETE FROM after_sales WHERE order_id = ?",
    ] {
        sqlx::query(statement)
            .bind(order_id)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Drops what is known of an order since its delivery, and keeps the order.
pub async fn forget_after_sales(db: &mut SqliteConnection, order_id: &str) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM after_sales WHERE order_id = ?")
        .bind(order_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Drops a stock level.
pub async fn forget_stock(db: &mut SqliteConnection, sku: &Sku) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM stock_levels WHERE sku = ?")
        .bind(sku.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// Drops how far somebody has read.
pub async fn forget_read_mark(db: &mut SqliteConnection, user: &Username) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM read_marks WHERE user_id = ?")
        .bind(user.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// The order with all that hangs on it: lines, payments, events and what people are
/// told follow from its record (`migrations/0004`).
async fn upsert_order(db: &mut SqliteConnection, record: &OrderRecord) -> sqlx::Result<bool> {
    let ended_at = record.status.is_terminal().then_some(record.status_since);
    let pieces: i64 = record
        .lines
        .iter()
        .map(|line| i64::from(line.quantity))
        .sum();
    let written = sqlx::query(
        "INSERT INTO orders (id, order_id, user_id, version, status, undoing, created_at, updated_at,
                             status_since, wait_until, ended_at, total_cents, pieces, search_text, record)
         VALUES ((SELECT coalesce(max(id) + 1, ?6 << 20) FROM orders
                  WHERE id >= ?6 << 20 AND id < (?6 + 1) << 20),
                 ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT (order_id) DO UPDATE SET
             version = ?3, status = ?4, undoing = ?5, updated_at = ?7, status_since = ?8,
             wait_until = ?9, ended_at = ?10, total_cents = ?11, pieces = ?12, search_text = ?13,
             record = ?14
         WHERE created_at = ?6 AND version < ?3",
    )
    .bind(record.order_id.as_str())
    .bind(record.user_id.as_str())
    .bind(to_i64(record.version))
    .bind(record.status.as_str())
    .bind(record.undoing.map(OrderStatus::as_str))
    .bind(record.created_at.as_millisecond())
    .bind(record.updated_at.as_millisecond())
    .bind(record.status_since.as_millisecond())
    .bind(record.wait_until.map(Timestamp::as_millisecond))
    .bind(ended_at.map(Timestamp::as_millisecond))
    .bind(record.total_cents.0)
    .bind(pieces)
    .bind(search_text(record))
    .bind(to_json(record)?)
    .execute(db)
    .await?;
    Ok(written.rows_affected() > 0)
}

/// Tells people, with one statement; answers the ids of what was new.
pub async fn insert_notifications(
    db: &mut SqliteConnection,
    notifications: impl Iterator<Item = &Notification>,
) -> sqlx::Result<HashSet<String>> {
    let rows: Vec<_> = notifications
        .map(|told| {
            json!([
                told.id,
                told.user_id,
                told.order_id,
                told.kind,
                told.text,
                told.at.as_millisecond()
            ])
        })
        .collect();
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let new: Vec<String> = sqlx::query_scalar(
        "INSERT INTO notifications (id, user_id, order_id, kind, text, at)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
         FROM json_each(?) WHERE true
         ON CONFLICT (id) DO NOTHING RETURNING id",
    )
    .bind(to_json(&rows)?)
    .fetch_all(db)
    .await?;
    Ok(new.into_iter().collect())
}

async fn upsert_stock(db: &mut SqliteConnection, level: &StockLevel) -> sqlx::Result<bool> {
    let written = sqlx::query(
        "INSERT INTO stock_levels (sku, version, updated_at, initial, restocked, available,
                                   reserved, committed, returned)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (sku) DO UPDATE SET
             version = ?2, updated_at = ?3, initial = ?4, restocked = ?5, available = ?6,
             reserved = ?7, committed = ?8, returned = ?9
         WHERE version < ?2",
    )
    .bind(level.sku.as_str())
    .bind(to_i64(level.version))
    .bind(level.updated_at.as_millisecond())
    .bind(to_i64(level.initial))
    .bind(to_i64(level.restocked))
    .bind(to_i64(level.available))
    .bind(to_i64(level.reserved))
    .bind(to_i64(level.committed))
    .bind(to_i64(level.returned))
    .execute(db)
    .await?;
    Ok(written.rows_affected() > 0)
}

async fn upsert_read_mark(db: &mut SqliteConnection, mark: &ReadMark) -> sqlx::Result<bool> {
    let written = sqlx::query(
        "INSERT INTO read_marks (user_id, read_at) VALUES (?1, ?2)
         ON CONFLICT (user_id) DO UPDATE SET read_at = ?2 WHERE read_at < ?2",
    )
    .bind(mark.user_id.as_str())
    .bind(mark.read_at.as_millisecond())
    .execute(db)
    .await?;
    Ok(written.rows_affected() > 0)
}

async fn upsert_late_money(db: &mut SqliteConnection, late: &LateMoney) -> sqlx::Result<bool> {
    let written = sqlx::query(
        "INSERT INTO late_money (order_id, user_id, version, record) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (order_id) DO UPDATE SET version = ?3, record = ?4 WHERE version < ?3",
    )
    .bind(late.order_id.as_str())
    .bind(late.user_id.as_str())
    .bind(to_i64(late.version))
    .bind(to_json(late)?)
    .execute(db)
    .await?;
    Ok(written.rows_affected() > 0)
}

fn to_json(value: &impl serde::Serialize) -> sqlx::Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}
