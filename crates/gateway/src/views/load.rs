//! What pages load from the read model and no feature's queries answer yet.

use waybill_domain::order::OrderRecord;

use super::dashboard::StockRow;
use crate::admin::approvals;
use crate::app::App;
use crate::auth::Caller;
use crate::problem::Problem;

/// The newest order that is under way: the caller's, or anybody's for admins.
pub(super) async fn newest_open(
    app: &App,
    caller: &Caller,
) -> Result<Option<OrderRecord>, Problem> {
    let sql = "SELECT record FROM orders
               WHERE ended_at IS NULL AND (?1 IS NULL OR user_id = ?1)
               ORDER BY created_at DESC LIMIT 1";
    let json: Option<String> = sqlx::query_scalar(sql)
        .bind((!caller.is_admin()).then_some(caller.user.as_str()))
        .fetch_optional(&app.db.read)
        .await?;
    Ok(json.map(|json| serde_json::from_str(&json)).transpose()?)
}

/// How many orders wait for an admin's decision; 0 for those who cannot decide.
pub(super) async fn waiting(app: &App, caller: &Caller) -> Result<i64, Problem> {
    if !caller.is_admin() {
        return Ok(0);
    }
    Ok(approvals::count(&app.db).await?)
}

/// The products with the least stock, and how many products there are.
pub(super) async fn stock(app: &App, limit: i64) -> Result<(Vec<StockRow>, i64), Problem> {
    let sql = "SELECT id, sku, name, coalesce(stock_qty, 0) FROM products
               ORDER BY stock_qty, id LIMIT ?";
    let rows: Vec<(i64, String, String, i64)> = sqlx::query_as(sql)
        .bind(limit)
        .fetch_all(&app.db.read)
        .await?;
    let products = sqlx::query_scalar("SELECT count(*) FROM products")
        .fetch_one(&app.db.read)
        .await?;
    let rows = rows
        .into_iter()
        .map(|(id, sku, name, stock)| StockRow::of(id, sku, name, stock))
        .collect();
    Ok((rows, products))
}
