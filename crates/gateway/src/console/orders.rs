//! The list of orders.

use serde::Serialize;
use waybill_domain::ids::Username;
use waybill_domain::order::OrderStatus;

use super::lists::{self, OrderRow, Pages};
use super::location::Location;
use super::page::{PageContent, Viewer};
use super::views::Console;
use super::views::View;
use crate::http::pagination::Pagination;
use crate::http::problem::Problem;
use crate::identity::caller::Caller;
use crate::shop::orders;
use crate::storage::orders::{self as queries, Total};

/// Orders on a page.
const PER_PAGE: u32 = 25;

/// The page around the list.
#[derive(Debug, Clone, Serialize)]
pub struct OrdersPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// The list.
    #[serde(flatten)]
    pub list: OrderList,
}

/// Orders with filter, search and paging.
#[derive(Debug, Clone, Serialize)]
pub struct OrderList {
    /// The page the list is on.
    pub action: &'static str,
    /// What is searched for.
    pub q: String,
    /// The status that is shown; empty for all.
    pub status: String,
    /// The statuses to choose from.
    pub statuses: Vec<StatusOption>,
    /// Whether the customer is shown.
    pub with_user: bool,
    /// This page of them.
    pub orders: Vec<OrderRow>,
    /// How many there are.
    pub total: i64,
    /// Whether there are no more than that.
    pub total_exact: bool,
    /// Where one is in the list.
    pub pages: Pages,
    /// All of them as a file.
    pub file: String,
}

/// A status to choose.
#[derive(Debug, Clone, Serialize)]
pub struct StatusOption {
    /// Name on the wire.
    pub name: &'static str,
    /// In words.
    pub label: &'static str,
}

impl OrderList {
    /// One page of the orders that a filter lets through, which are all of `owner`'s if
    /// one is given.
    pub fn of(
        action: &'static str,
        owner: Option<&Username>,
        q: String,
        status: Option<OrderStatus>,
        page: Pagination,
        orders: Vec<OrderRow>,
        total: Total,
    ) -> Self {
        let status = status.map_or("", OrderStatus::as_str).to_owned();
        let href = |number: u32| {
            lists::href(
                action,
                &[
                    ("q", &q),
                    ("status", &status),
                    ("page", &number.to_string()),
                ],
            )
        };
        let whose = owner.map_or("", Username::as_str);
        let file = lists::href(
            "/api/orders.csv",
            &[
                ("q", &q),
                ("status", &status),
                ("user", whose),
                ("bom", "true"),
            ],
        );
        let mut pages = Pages::of(page, total, href);
        if orders.is_empty() && total.total > 0 && pages.last.is_none() {
            pages.is_past = true;
            pages.previous = Some(href(1));
        }
        Self {
            action,
            q,
            status,
            statuses: OrderStatus::ALL
                .into_iter()
                .map(|status| StatusOption {
                    name: status.as_str(),
                    label: status.label(),
                })
                .collect(),
            with_user: owner.is_none(),
            orders,
            total: total.total,
            total_exact: total.total_exact,
            pages,
            file,
        }
    }
}

/// Loads and paints the page: one's own orders, for admins too.
pub(super) async fn content(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
) -> Result<PageContent, Problem> {
    let (list, document) = list(console, &viewer.caller, location, true).await?;
    let input = console.views.render(&OrdersPage {
        tab: location.tab,
        list,
    })?;
    Ok(PageContent::new(
        "Orders",
        input,
        console.output(location, document)?,
    ))
}

/// Loads the list, and the document about it. `own`: the caller's only.
pub(super) async fn list(
    console: &Console,
    caller: &Caller,
    location: &Location,
    own: bool,
) -> Result<(OrderList, String), Problem> {
    let filter = queries::Filter {
        owner: own.then(|| caller.user.clone()),
        status: location.status()?,
        q: location.q()?,
    };
    let page = location.number(PER_PAGE)?;
    let found = console.orders(filter.clone(), page).await?;
    let (found, total) = (&found.0, found.1);
    let document = orders::list_document(found, total);
    let action = if own { "/orders" } else { "/admin" };
    let rows = found.iter().filter_map(OrderRow::of_summary).collect();
    let queries::Filter { owner, status, q } = filter;
    let q = q.unwrap_or_default();
    Ok((
        OrderList::of(action, owner.as_ref(), q, status, page, rows, total),
        document,
    ))
}

impl View for OrdersPage {
    const TEMPLATE: &'static str = "orders.html";
}
impl View for OrderList {
    const TEMPLATE: &'static str = "order_list.html";
}

#[cfg(test)]
pub(super) mod tests {
    use waybill_domain::order::OrderRecord;

    use super::*;
    use crate::console::{Sample, samples};

    pub fn rows() -> Vec<OrderRow> {
        let summary = |(number, record): (usize, &OrderRecord)| queries::Summary {
            order_id: format!("{}-{number}", record.order_id),
            user_id: record.user_id.to_string(),
            status: record.status.as_str().to_owned(),
            undoing: record.undoing.map(|end| end.as_str().to_owned()),
            total_cents: record.total_cents.0,
            pieces: 3,
            created_at: record.created_at.as_millisecond(),
            updated_at: record.updated_at.as_millisecond(),
            status_since: record.status_since.as_millisecond(),
            wait_until: None,
        };
        samples::every_order()
            .iter()
            .enumerate()
            .map(summary)
            .filter_map(|summary| OrderRow::of_summary(&summary))
            .collect()
    }

    impl Sample for OrderList {
        fn samples() -> Vec<Self> {
            let page = Pagination {
                page: 1,
                per_page: 5,
            };
            let alice = Username::parse("alice").unwrap();
            let list = |action, own: bool, q: &str, status, orders: Vec<OrderRow>| {
                let owner = own.then_some(&alice);
                let total = Total::exactly(i64::try_from(orders.len()).unwrap());
                Self::of(action, owner, q.into(), status, page, orders, total)
            };
            vec![
                list("/orders", true, "", None, rows()),
                list("/admin", false, "a&b", Some(OrderStatus::Delivered), rows()),
                list("/orders", true, "nothing", None, vec![]),
                list("/orders", true, "", None, vec![]),
            ]
        }
    }
    impl Sample for OrdersPage {
        fn samples() -> Vec<Self> {
            OrderList::samples()
                .into_iter()
                .map(|list| Self {
                    tab: "output",
                    list,
                })
                .collect()
        }
    }
}
