//! What several pages load.

use std::sync::Arc;

use waybill_domain::order::OrderRecord;

use super::dashboard::StockRow;
use super::painted::{Eyes, Painted, Pane};
use super::shell::{NotificationItem, Notifications, Persona};
use super::views::Console;
use crate::http::problem::Problem;
use crate::identity::caller::{Caller, Role};
use crate::live::Subject;
use crate::shop::notifications;
use crate::storage::{catalog, orders, users};

fn version(console: &Console, eyes: &Eyes) -> u64 {
    console.version(if eyes.is_staff {
        Subject::Everything
    } else {
        Subject::User(&eyes.user)
    })
}

/// The newest order that is under way: the caller's, or anybody's for staff.
pub(super) async fn newest_open(
    console: &Console,
    caller: &Caller,
) -> Result<Option<Arc<OrderRecord>>, Problem> {
    let eyes = Eyes::of(caller);
    let read = async |eyes: &Eyes| {
        let whose = (!eyes.is_staff).then_some(&eyes.user);
        let newest = orders::newest_open(&console.db, whose).await?;
        Ok(newest.map(Arc::new))
    };
    let version = version(console, &eyes);
    console.open_orders.at(version, eyes, read).await
}

/// What the caller is told. `after` is the cursor of the pane that they saw last.
pub(super) async fn pane(
    console: &Console,
    caller: &Caller,
    after: Option<&str>,
) -> Result<Pane, Problem> {
    if after.is_some() {
        return painted_pane(console, caller, after).await;
    }
    let eyes = Eyes::of(caller);
    let read = async |_: &Eyes| painted_pane(console, caller, None).await;
    let version = version(console, &eyes);
    console.panes.at(version, eyes, read).await
}

async fn painted_pane(
    console: &Console,
    caller: &Caller,
    after: Option<&str>,
) -> Result<Pane, Problem> {
    let pane = notifications::pane(console, caller, after).await?;
    let news = pane.notifications.iter().find(|told| told.is_new);
    let news = news.map(|told| told.text.clone()).unwrap_or_default();
    let items = pane.notifications.into_iter();
    let items: Vec<_> = items.map(NotificationItem::of).collect();
    let painted = Painted::for_all(|seed| {
        console.views.render(&Notifications {
            unread: pane.unread,
            items,
            key: format!("{seed}-read"),
        })
    })?;
    Ok(Pane {
        painted,
        unread: pane.unread,
        news,
        cursor: pane.cursor,
    })
}

/// How many orders wait for a decision; 0 for those who cannot decide.
pub(super) async fn waiting(console: &Console, caller: &Caller) -> Result<i64, Problem> {
    if !caller.role.decides() {
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
    let read = async |(): &()| users::personas(&console.db).await.map(Arc::from);
    let version = console.version(Subject::People);
    let personas: Arc<[(String, Role)]> = console.personas.at(version, (), read).await?;
    let personas = personas.iter().map(|(username, role)| Persona {
        username: username.clone(),
        does: what_they_do(*role),
    });
    Ok(personas.collect())
}

/// What somebody of that role can try, for those who choose whom to be.
fn what_they_do(role: Role) -> &'static str {
    match role {
        Role::Customer => "buys things, sees own orders",
        Role::Support => "sees all orders, changes none",
        Role::Approver => "approves orders, restocks nothing",
        Role::Admin => "approves orders, sees all of them",
    }
}
