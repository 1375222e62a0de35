//! The page of the shop's staff: what waits for a decision, every order, the stock, and in
//! a demo the outside world.

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::after_sales::ReturnStatus;
use waybill_domain::order::OrderRecord;

use super::dashboard::StockRow;
use super::demo::WorldPanel;
use super::location::Location;
use super::order::{LineRow, line_rows};
use super::orders::OrderList;
use super::page::{PageContent, Viewer};
use super::shell::order_href;
use super::views::Console;
use super::views::View;
use super::{after_delivery, load, orders};
use crate::clock::timestamp;
use crate::documents::markdown;
use crate::http::pagination::Pagination;
use crate::http::problem::Problem;
use crate::identity::caller::{Caller, Role};
use crate::storage;

/// Orders in the queue of those that wait for a decision.
const IN_QUEUE: Pagination = Pagination {
    page: 1,
    per_page: 50,
};
/// Products to restock, unless all are asked for.
const STOCK_AT_FIRST: i64 = 8;
/// Most products to restock on a page.
const ALL_STOCK: i64 = 500;

/// Everything the page shows.
#[derive(Debug, Clone, Serialize)]
pub struct AdminPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// Beginning of the forms' idempotency keys.
    pub key: String,
    /// Whether the reader decides orders.
    pub may_decide: bool,
    /// Whether the reader adds to the stock: an admin, who reads the audit log, too.
    pub may_restock: bool,
    /// Orders that wait for a decision, oldest first.
    pub queue: Vec<QueueRow>,
    /// How many wait.
    pub waiting: i64,
    /// Returns that are under way, longest waiting first.
    pub returns: Vec<ReturnRow>,
    /// How many are.
    pub returning: i64,
    /// Products to restock, least stock first.
    pub stock: Vec<StockRow>,
    /// How many products there are.
    pub products: i64,
    /// Whether all of them are shown.
    pub all_stock: bool,
    /// The demo's outside world.
    pub world: Option<WorldPanel>,
    /// Every order.
    #[serde(flatten)]
    pub list: OrderList,
}

/// An order that waits for a decision.
#[derive(Debug, Clone, Serialize)]
pub struct QueueRow {
    /// Full id.
    pub id: String,
    /// As its customer calls it.
    pub short: String,
    /// Its page.
    pub href: String,
    /// Whose.
    pub user: String,
    /// Cents.
    pub total: i64,
    /// What was bought, in a line.
    pub summary: String,
    /// Since when it waits.
    pub since: Timestamp,
    /// Until when.
    pub wait_until: Option<Timestamp>,
    /// Whether the reader may decide it.
    pub may_decide: bool,
    /// Whether it is the reader's own.
    pub is_own: bool,
    /// Where a decision goes.
    pub action: String,
    /// What may be taken out of it.
    pub takeable: Vec<LineRow>,
}

impl QueueRow {
    /// From an order's record, for `caller`, who decides their own only if `own_too`.
    pub fn of(record: &OrderRecord, caller: &Caller, own_too: bool) -> Self {
        let lines: Vec<_> = record
            .lines
            .iter()
            .take(3)
            .map(|line| format!("{} × {}", line.quantity, line.name))
            .collect();
        let more = record.lines.len().saturating_sub(3);
        let mut summary = lines.join(", ");
        if more > 0 {
            summary = format!("{summary} and {more} more");
        }
        let id = record.order_id.to_string();
        let may_decide = caller.may_decide(&record.user_id, own_too);
        Self {
            short: record.order_id.short().to_owned(),
            href: order_href(&id),
            user: record.user_id.to_string(),
            takeable: if may_decide {
                line_rows(&record.lines)
            } else {
                Vec::new()
            },
            total: record.total_cents.0,
            summary,
            since: record.status_since,
            wait_until: record.wait_until,
            may_decide,
            is_own: caller.user == record.user_id,
            action: format!("/api/workflow/{id}/approve"),
            id,
        }
    }
}

/// A return that is under way.
#[derive(Debug, Clone, Serialize)]
pub struct ReturnRow {
    /// Its order.
    pub id: String,
    /// As its customer calls it.
    pub short: String,
    /// Where it is decided.
    pub href: String,
    /// Whose.
    pub user: String,
    /// Which return of the order.
    pub number: i64,
    /// In words.
    pub label: &'static str,
    /// Which colour.
    pub family: &'static str,
    /// How many pieces.
    pub pieces: i64,
    /// Since when it stands so.
    pub since: Timestamp,
    /// Until when the parcel is waited for.
    pub send_until: Option<Timestamp>,
}

impl ReturnRow {
    /// `None` for one in a status that this version does not know.
    pub fn of(row: storage::after_sales::Summary) -> Option<Self> {
        let (label, family) = after_delivery::words_of(ReturnStatus::parse(&row.status)?);
        let short = row.order_id.split_once('.').map_or("", |(_, short)| short);
        Some(Self {
            short: short.to_owned(),
            href: format!("{}#return-{}", order_href(&row.order_id), row.number),
            user: row.user_id,
            number: row.number,
            label,
            family,
            pieces: row.pieces,
            since: timestamp(row.since),
            send_until: row.send_until.map(timestamp),
            id: row.order_id,
        })
    }
}

/// What the page is called for somebody of that role; customers have none.
pub(super) const fn name_for(role: Role) -> Option<&'static str> {
    match role {
        Role::Customer => None,
        Role::Support => Some("Shop"),
        Role::Approver => Some("Approvals"),
        Role::Admin => Some("Admin"),
    }
}

/// Loads and paints the page.
pub(super) async fn content(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
) -> Result<PageContent, Problem> {
    let caller = &viewer.caller;
    let own_too = console.settings.approves_own_orders();
    let records = storage::orders::awaiting_approval(&console.db, IN_QUEUE).await?;
    let all_stock = location.word("stock")?.is_some();
    let limit = if all_stock { ALL_STOCK } else { STOCK_AT_FIRST };
    let open = [ReturnStatus::Asked, ReturnStatus::Accepted];
    let returns = storage::after_sales::returns(&console.db, &open, IN_QUEUE).await?;
    let (stock, products) = load::stock(console, limit).await?;
    let (list, _) = orders::list(console, caller, location, false).await?;
    let page = AdminPage {
        tab: location.tab,
        key: viewer.seed.clone(),
        waiting: storage::orders::count_awaiting_approval(&console.db).await?,
        may_decide: caller.role.decides(),
        may_restock: caller.is_admin(),
        queue: records
            .iter()
            .map(|record| QueueRow::of(record, caller, own_too))
            .collect(),
        returns: returns.into_iter().filter_map(ReturnRow::of).collect(),
        returning: storage::after_sales::count(&console.db, &open).await?,
        stock,
        products,
        all_stock,
        world: match caller.role {
            Role::Admin => super::demo::panel(console, viewer).await,
            _ => None,
        },
        list,
    };
    let rows: Vec<_> = records
        .iter()
        .map(|record| markdown::OrderRow {
            order_id: record.order_id.as_str(),
            user_id: record.user_id.as_str(),
            status: record.status,
            total: record.total_cents,
            since: record.status_since,
        })
        .collect();
    let document = markdown::approvals(&rows);
    let mut content = PageContent::new(
        name_for(caller.role).unwrap_or("Admin"),
        console.views.render(&page)?,
        console.output(location, document)?,
    );
    content.status = (page.waiting > 0).then(|| format!("{} waiting", page.waiting));
    Ok(content)
}

impl View for AdminPage {
    const TEMPLATE: &'static str = "admin.html";
}

#[cfg(test)]
mod tests {
    use waybill_domain::ids::Username;

    use super::*;
    use crate::console::{Sample, demo, samples};

    impl Sample for AdminPage {
        fn samples() -> Vec<Self> {
            let record = samples::awaiting_approval();
            // The second one's own order waits.
            let readers = [
                ("admin", Role::Admin),
                ("alice", Role::Approver),
                ("carol", Role::Support),
            ]
            .map(|(name, role)| Caller::new(Username::parse(name).unwrap(), role));
            OrderList::samples()
                .into_iter()
                .zip(
                    [None]
                        .into_iter()
                        .chain(demo::tests::panels().into_iter().map(Some))
                        .cycle(),
                )
                .flat_map(|(list, world)| {
                    readers.clone().map(|reader| Self {
                        tab: "input",
                        key: "seed".into(),
                        may_decide: reader.role.decides(),
                        may_restock: reader.is_admin(),
                        queue: if world.is_none() {
                            vec![]
                        } else {
                            vec![QueueRow::of(&record, &reader, false)]
                        },
                        waiting: i64::from(world.is_some()) * 3,
                        returns: if world.is_none() {
                            vec![]
                        } else {
                            Vec::from_iter(ReturnRow::of(storage::after_sales::Summary {
                                order_id: "alice.order-123".into(),
                                user_id: "alice".into(),
                                number: 1,
                                status: "accepted".into(),
                                since: 1_778_310_900_000,
                                asked_at: 1_778_310_900_000,
                                send_until: Some(1_778_410_900_000),
                                pieces: 2,
                            }))
                        },
                        returning: i64::from(world.is_some()) * 3,
                        stock: vec![StockRow::of(1, "P001".into(), "Kettle".into(), 0)],
                        products: 24,
                        all_stock: false,
                        world: world.clone(),
                        list: list.clone(),
                    })
                })
                .collect()
        }
    }
}
