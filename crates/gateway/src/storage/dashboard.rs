//! The numbers of the dashboard, each from an index.

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::order::OrderStatus;

use super::db::Db;

/// A product that runs out.
#[derive(Debug, Clone, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct LowStock {
    /// The catalog's number.
    pub id: i64,
    /// Stock keeping unit.
    pub sku: String,
    /// Its name.
    pub name: String,
    /// Pieces that can be sold.
    pub stock_qty: i64,
    /// Pieces promised to open orders.
    pub reserved: i64,
}

/// An order that should have gone on.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Overdue {
    /// Which.
    pub order_id: String,
    /// Where it stands.
    pub status: String,
    /// The end it is being undone towards, while it is.
    pub undoing: Option<String>,
}

const REVENUE: &str = "SELECT coalesce(
                (SELECT total_cents FROM order_totals WHERE status = 'delivered'), 0),
            coalesce((SELECT amount_cents FROM refund_totals WHERE status = 'refunded'), 0),
            (SELECT coalesce(sum(total_cents), 0) FROM orders
             JOIN order_payments USING (order_id)
             WHERE ended_at IS NULL AND orders.status IN ('shipping', 'in_transit')
               AND order_payments.status = 'captured')";

/// What delivered orders brought, what of it has gone back, and what is captured for
/// orders on their way.
pub async fn revenue(db: &Db) -> sqlx::Result<(i64, i64, i64)> {
    sqlx::query_as(REVENUE).fetch_one(&db.read).await
}

const DELIVERY_TIMES: &str = "SELECT ended_at - created_at FROM orders
     WHERE status = 'delivered' AND ended_at IS NOT NULL
     ORDER BY ended_at DESC LIMIT ?";

/// How long the latest deliveries took, in milliseconds.
pub async fn delivery_times(db: &Db, latest: i64) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(DELIVERY_TIMES)
        .bind(latest)
        .fetch_all(&db.read)
        .await
}

const PLACED_PER_MINUTE: &str =
    "SELECT created_at / 60000, count(*) FROM orders WHERE id >= ? * 60000 << 20 GROUP BY 1";

/// Orders placed in each minute since `first`, a minute since the epoch.
pub async fn placed_per_minute(db: &Db, first: i64) -> sqlx::Result<Vec<(i64, i64)>> {
    sqlx::query_as(PLACED_PER_MINUTE)
        .bind(first)
        .fetch_all(&db.read)
        .await
}

/// The products with at most `most` pieces left, the fewest first.
pub async fn low_stock(db: &Db, most: i64) -> sqlx::Result<Vec<LowStock>> {
    sqlx::query_as(
        "SELECT id, products.sku, name, coalesce(stock_qty, 0) AS stock_qty,
                coalesce(reserved, 0) AS reserved
         FROM products LEFT JOIN stock_levels USING (sku)
         WHERE coalesce(stock_qty, 0) <= ? ORDER BY stock_qty, id LIMIT 20",
    )
    .bind(most)
    .fetch_all(&db.read)
    .await
}

const OVERDUE: &str = "SELECT order_id, status, undoing FROM orders
     WHERE ended_at IS NULL AND status IN ('awaiting_payment', 'awaiting_approval', 'in_transit')
       AND wait_until < ?1
     UNION ALL
     SELECT order_id, status, undoing FROM orders
     WHERE ended_at IS NULL AND status IN ('awaiting_payment', 'awaiting_approval', 'in_transit')
       AND wait_until IS NULL AND updated_at < ?2
     UNION ALL
     SELECT order_id, status, undoing FROM orders
     WHERE ended_at IS NULL AND status = 'shipping'
       AND iif(undoing IS NULL, status_since, updated_at) < ?2
     LIMIT 50";

/// Open orders whose deadline passed before `deadline`, or that wait for none
/// and have been shipping, or not moved on, since before `still_since`.
pub async fn overdue(
    db: &Db,
    deadline: Timestamp,
    still_since: Timestamp,
) -> sqlx::Result<Vec<Overdue>> {
    sqlx::query_as(OVERDUE)
        .bind(deadline.as_millisecond())
        .bind(still_since.as_millisecond())
        .fetch_all(&db.read)
        .await
}

const WITH_A_WORKFLOW: &str = "SELECT order_id FROM orders
     WHERE ended_at IS NULL AND status IN ('awaiting_approval', 'shipping', 'in_transit')
       AND updated_at < ?1
     LIMIT ?2";

/// Paid orders that have not ended nor moved on since `still_since`: a workflow
/// should be working on each. At most `most`.
pub async fn with_a_workflow(
    db: &Db,
    still_since: Timestamp,
    most: i64,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(WITH_A_WORKFLOW)
        .bind(still_since.as_millisecond())
        .bind(most)
        .fetch_all(&db.read)
        .await
}

/// How long, in seconds, open orders are counted for.
pub const WAITS_S: [i64; 7] = [60, 300, 900, 3_600, 21_600, 86_400, 259_200];

/// The oldest come first, so the counts for long waits are right even where there are
/// more than are read.
const WAITING: &str = "SELECT
         count(*) FILTER (WHERE status_since <= ?2 - 60000),
         count(*) FILTER (WHERE status_since <= ?2 - 300000),
         count(*) FILTER (WHERE status_since <= ?2 - 900000),
         count(*) FILTER (WHERE status_since <= ?2 - 3600000),
         count(*) FILTER (WHERE status_since <= ?2 - 21600000),
         count(*) FILTER (WHERE status_since <= ?2 - 86400000),
         count(*) FILTER (WHERE status_since <= ?2 - 259200000)
     FROM (SELECT status_since FROM orders WHERE ended_at IS NULL AND status = ?1
           ORDER BY status_since LIMIT 5000)";

/// How many open orders have been in `status` for each of [`WAITS_S`] at least; of the
/// 5,000 oldest.
pub async fn waiting(db: &Db, status: OrderStatus, now: Timestamp) -> sqlx::Result<[i64; 7]> {
    let counts: (i64, i64, i64, i64, i64, i64, i64) = sqlx::query_as(WAITING)
        .bind(status.as_str())
        .bind(now.as_millisecond())
        .fetch_one(&db.read)
        .await?;
    Ok(counts.into())
}

/// How many products have nothing left, and how many have something, but `most` pieces
/// at most.
pub async fn stock_counts(db: &Db, most: i64) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(
        "SELECT count(*) FILTER (WHERE coalesce(stock_qty, 0) = 0), count(*) FILTER (WHERE stock_qty > 0)
         FROM products WHERE coalesce(stock_qty, 0) <= ?",
    )
    .bind(most)
    .fetch_one(&db.read)
    .await
}

/// For how many orders money came too late.
pub async fn late_orders(db: &Db) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM late_money")
        .fetch_one(&db.read)
        .await
}

/// Size of the file in bytes.
pub async fn database_bytes(db: &Db) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        .fetch_one(&db.read)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20,000 orders: most delivered, the newest under way.
    async fn a_shop() -> (tempfile::TempDir, Db) {
        let (folder, db) = crate::storage::db::temporary().await;
        sqlx::query(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
             INSERT INTO orders (id, order_id, user_id, version, status, created_at, updated_at, status_since,
                                 wait_until, ended_at, total_cents, pieces, search_text, record)
             SELECT n * 1000 << 20, 'alice.' || n, 'alice', 1, iif(n > 19900, 'in_transit', 'delivered'), n * 1000, 0,
                    n * 1000, iif(n > 19900, n * 1000 + 5000, NULL),
                    iif(n > 19900, NULL, n * 1000 + 8000), 100, 1, 'x', '{}'
             FROM numbers",
        )
        .execute(&db.write)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO order_payments (order_id, attempt, status, amount_cents)
             SELECT order_id, 1, iif(created_at / 1000 % 2, 'captured', 'authorized'), 100 FROM orders",
        )
        .execute(&db.write)
        .await
        .unwrap();
        (folder, db)
    }

    #[tokio::test]
    async fn the_numbers_are_right() {
        let (_folder, db) = a_shop().await;
        assert_eq!(revenue(&db).await.unwrap(), (19_900 * 100, 0, 50 * 100));
        assert_eq!(delivery_times(&db, 1000).await.unwrap(), vec![8000; 1000]);
        let waiting = waiting(
            &db,
            OrderStatus::InTransit,
            Timestamp::from_second(20_000).unwrap(),
        );
        assert_eq!(waiting.await.unwrap(), [40, 0, 0, 0, 0, 0, 0]);
        assert!(database_bytes(&db).await.unwrap() > 1_000_000);
        assert_eq!(late_orders(&db).await.unwrap(), 0);
        assert_eq!(stock_counts(&db, 10).await.unwrap(), (0, 0));
        let minutes = placed_per_minute(&db, 331).await.unwrap();
        assert_eq!(minutes, [(331, 60), (332, 60), (333, 21)]);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(overdue(&db, at(0), at(0)).await.unwrap(), []);
        assert_eq!(overdue(&db, at(19_907), at(0)).await.unwrap().len(), 1);
        sqlx::query(
            "UPDATE orders SET undoing = 'cancelled', wait_until = NULL, updated_at = 7000
             WHERE order_id = 'alice.19950'",
        )
        .execute(&db.write)
        .await
        .unwrap();
        assert_eq!(overdue(&db, at(0), at(7)).await.unwrap(), []);
        let undone = overdue(&db, at(0), at(8)).await.unwrap();
        assert_eq!(undone.len(), 1);
        assert_eq!(undone[0].undoing.as_deref(), Some("cancelled"));
        // The same of one that had been shipping for long before.
        sqlx::query(
            "UPDATE orders SET status = 'shipping', status_since = 0 WHERE order_id = 'alice.19950'",
        )
        .execute(&db.write)
        .await
        .unwrap();
        assert_eq!(overdue(&db, at(0), at(7)).await.unwrap(), []);
        assert_eq!(overdue(&db, at(0), at(8)).await.unwrap().len(), 1);
        // Of the hundred under way all but the one have stood still since 0.
        assert_eq!(with_a_workflow(&db, at(7), 1_000).await.unwrap().len(), 99);
        assert_eq!(with_a_workflow(&db, at(8), 1_000).await.unwrap().len(), 100);
        assert_eq!(with_a_workflow(&db, at(8), 10).await.unwrap().len(), 10);
    }

    /// No query may read through all orders.
    #[tokio::test]
    async fn every_number_comes_from_an_index() {
        let (_folder, db) = a_shop().await;
        for sql in [
            REVENUE,
            DELIVERY_TIMES,
            PLACED_PER_MINUTE,
            OVERDUE,
            WITH_A_WORKFLOW,
            WAITING,
        ] {
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                    .fetch_all(&db.read)
                    .await
                    .unwrap();
            let plan: Vec<_> = plan.into_iter().map(|row| row.3).collect();
            let indexed = plan
                .iter()
                .any(|step| step.contains("INDEX") || step.contains("PRIMARY KEY"));
            let scans = plan
                .iter()
                .any(|step| step.starts_with("SCAN orders") && !step.contains("COVERING INDEX"));
            assert!(indexed && !scans, "{sql}: {plan:?}");
        }
    }
}
