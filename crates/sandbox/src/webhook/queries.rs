//! The outbox's SQL.

use sqlx::{SqliteConnection, SqlitePool};

use super::Outcome;

/// How the sequences of the fault `reorder` begin.
pub(super) const REORDER: &str = "reorder:";

/// A callback that waits.
#[derive(sqlx::FromRow)]
pub(super) struct Callback {
    pub(super) id: i64,
    pub(super) body: String,
    pub(super) forged: bool,
    /// Tries so far.
    pub(super) attempts: u32,
    pub(super) due_ms: i64,
    pub(super) sequence: Option<String>,
}

/// A callback for the outbox.
pub(super) struct NewCallback<'a> {
    pub(super) payment_id: &'a str,
    pub(super) body: &'a str,
    pub(super) forged: bool,
    pub(super) due_ms: i64,
    pub(super) sequence: Option<&'a str>,
    /// Whether its sequence is sent in reverse.
    pub(super) last_first: bool,
}

pub(super) async fn insert(
    ledger: &mut SqliteConnection,
    callback: NewCallback<'_>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO callbacks (payment_id, body, forged, due_ms, sequence, rank)
         VALUES (?, ?, ?, ?, ?, ? * (SELECT COALESCE(MAX(id), 0) + 1 FROM callbacks))",
    )
    .bind(callback.payment_id)
    .bind(callback.body)
    .bind(callback.forged)
    .bind(callback.due_ms)
    .bind(callback.sequence)
    .bind(if callback.last_first { -1 } else { 1 })
    .execute(ledger)
    .await?;
    Ok(())
}

/// The sequence that still gathers callbacks to be sent in reverse.
pub(super) async fn open_reorder_window(
    ledger: &mut SqliteConnection,
    now_ms: i64,
) -> sqlx::Result<Option<(String, i64)>> {
    sqlx::query_as(
        "SELECT sequence, due_ms FROM callbacks
         WHERE status = 'waiting' AND attempts = 0 AND due_ms > ? AND sequence LIKE ? || '%'
         ORDER BY due_ms LIMIT 1",
    )
    .bind(now_ms)
    .bind(REORDER)
    .fetch_optional(ledger)
    .await
}

/// The callbacks that wait, the first due first.
pub(super) async fn waiting(readers: &SqlitePool, limit: usize) -> sqlx::Result<Vec<Callback>> {
    sqlx::query_as(
        "SELECT id, body, forged, attempts, due_ms, sequence FROM callbacks
         WHERE status = 'waiting' ORDER BY due_ms, rank LIMIT ?",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(readers)
    .await
}

pub(super) async fn save(
    ledger: &mut SqliteConnection,
    id: i64,
    outcome: Outcome,
    next_try_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE callbacks SET status = ?, due_ms = ?, attempts = attempts + 1 WHERE id = ?",
    )
    .bind(outcome)
    .bind(next_try_ms)
    .bind(id)
    .execute(ledger)
    .await?;
    Ok(())
}
