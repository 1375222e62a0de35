//! What several pages load.

use waybill_domain::order::OrderRecord;

use super::dashboard::StockRow;
use super::shell::Persona;
use super::views::Console;
use crate::http::problem::Problem;
use crate::identity::caller::{Caller, Role};
use crate::storage::{catalog, orders, users};

/// The newest order that is under way: the caller's, or anybody's for admins.
pub(super) async fn newest_open(
    console: &Console,
    caller: &Caller,
) -> Result<Option<OrderRecord>, Problem> {
    let whose = (!caller.is_admin()).then_some(&caller.user);
    Ok(orders::newest_open(&console.db, whose).await?)
}

/// How many orders wait for an admin's decision; 0 for those who cannot decide.
pub(super) async fn waiting(console: &Console, caller: &Caller) -> Result<i64, Problem> {
    if !caller.is_admin() {
        return Ok(0);
    }
    Ok(orders::count_awaiting_approval(&console.db).await?)
}

/// The products with the least stock, and how many products there are.
pub(super) async fn stock(console: &Console, limit: i64) -> Result<(Vec<StockRow>, i64), Problem> {
    let rows = catalog::least_stock(&console.db, limit)
        .await?
        .into_iter()
        .map(|(id, sku, name, stock)| StockRow::of(id, sku, name, stock))
        .collect();
    Ok((rows, catalog::count(&console.db).await?))
}

/// Whom one click makes you, in a demo.
pub(super) async fn personas(console: &Console) -> Result<Vec<Persona>, Problem> {
    if !console.settings.is_demo() {
        return Ok(Vec::new());
    }
    let personas = users::personas(&console.db).await?;
    Ok(personas
        .into_iter()
        .map(|(username, role)| Persona {
            username,
            is_admin: role == Role::Admin,
        })
        .collect())
}
