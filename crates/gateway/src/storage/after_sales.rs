//! What happened to orders after their delivery, as the read model has it.

use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};
use waybill_domain::after_sales::{AfterSales, ReturnStatus};
use waybill_domain::ids::OrderId;

use super::db::{Db, to_i64};
use crate::http::pagination::Pagination;

/// A return as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Summary {
    /// Of which order.
    pub order_id: String,
    /// Whose.
    pub user_id: String,
    /// 1, 2, 3, … within the order.
    pub number: i64,
    /// Where it stands.
    pub status: String,
    /// Since when, unix milliseconds.
    pub since: i64,
    /// When it was asked for, unix milliseconds.
    pub asked_at: i64,
    /// Until when the parcel must be here, unix milliseconds.
    pub send_until: Option<i64>,
    /// How many pieces come back.
    pub pieces: i64,
}

/// Writes it if it is news: returns, refunds and what people are told follow from the
/// record (`migrations/0009`).
pub async fn write(db: &mut SqliteConnection, after: &AfterSales) -> sqlx::Result<bool> {
    let record = serde_json::to_string(after).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let written = sqlx::query(
        "INSERT INTO after_sales (order_id, user_id, version, record) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (order_id) DO UPDATE SET version = ?3, record = ?4 WHERE version < ?3",
    )
    .bind(after.order_id.as_str())
    .bind(after.user_id.as_str())
    .bind(to_i64(after.version))
    .bind(record)
    .execute(db)
    .await?;
    Ok(written.rows_affected() > 0)
}

/// What happened to an order since, if anything has.
pub async fn of_order(db: &Db, id: &OrderId) -> sqlx::Result<Option<AfterSales>> {
    let json: Option<String> =
        sqlx::query_scalar("SELECT record FROM after_sales WHERE order_id = ?")
            .bind(id.as_str())
            .fetch_optional(&db.read)
            .await?;
    json.map(|json| {
        serde_json::from_str(&json).map_err(|error| sqlx::Error::Decode(Box::new(error)))
    })
    .transpose()
}

/// Returns in one of these statuses, longest waiting first.
pub async fn returns(
    db: &Db,
    statuses: &[ReturnStatus],
    page: Pagination,
) -> sqlx::Result<Vec<Summary>> {
    sqlx::query_as(
        "SELECT returns.order_id, user_id, number, status, since, asked_at, send_until, pieces
         FROM returns JOIN after_sales USING (order_id)
         WHERE status IN (SELECT value FROM json_each(?1))
         ORDER BY since, returns.order_id, number LIMIT ?2 OFFSET ?3",
    )
    .bind(names(statuses))
    .bind(page.limit())
    .bind(page.offset())
    .fetch_all(&db.read)
    .await
}

/// How many there are.
pub async fn count(db: &Db, statuses: &[ReturnStatus]) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM returns WHERE status IN (SELECT value FROM json_each(?1))",
    )
    .bind(names(statuses))
    .fetch_one(&db.read)
    .await
}

fn names(statuses: &[ReturnStatus]) -> String {
    let names: Vec<_> = statuses.iter().map(|status| status.as_str()).collect();
    serde_json::json!(names).to_string()
}
