//! What pages load from the read model and no feature's queries answer yet.

use waybill_domain::order::OrderRecord;

use super::dashboard::StockRow;
use crate::admin::approvals;
use crate::app::App;
use crate::auth::Caller;
use crate::http::problem::Problem;

/// The newest order that is under way: the caller's, or anybody's for admins.
/// It is found in an index alone, however many orders there are.
pub(super) async fn newest_open(
    app: &App,
    caller: &Caller,
) -> Result<Option<OrderRecord>, Problem> {
    let open = "status IN ('awaiting_payment', 'awaiting_approval', 'shipping', 'in_transit')";
    let whose = if caller.is_admin() {
        ""
    } else {
        "user_id = ? AND"
    };
    let sql = format!(
        "SELECT record FROM orders WHERE id =
             (SELECT id FROM orders WHERE {whose} {open} ORDER BY created_at DESC LIMIT 1)"
    );
    let mut query = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql));
    if !caller.is_admin() {
        query = query.bind(caller.user.to_string());
    }
    let json = query.fetch_optional(&app.db.read).await?;
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
