//! The list of orders.

use serde::Serialize;
use waybill_domain::order::OrderStatus;

use super::View;
use super::lists::{self, OrderRow, Pages};
use crate::reply::Page;

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
    /// Where one is in the list.
    pub pages: Pages,
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
    /// One page of the orders that a filter lets through.
    pub fn of(
        action: &'static str,
        with_user: bool,
        q: String,
        status: Option<OrderStatus>,
        page: Page,
        orders: Vec<OrderRow>,
        total: i64,
    ) -> Self {
        let status = status.map_or("", OrderStatus::as_str).to_owned();
        let pages = Pages::of(page, total, |number| {
            lists::href(
                action,
                &[
                    ("q", &q),
                    ("status", &status),
                    ("page", &number.to_string()),
                ],
            )
        });
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
            with_user,
            orders,
            total,
            pages,
        }
    }
}

impl View for OrdersPage {
    const TEMPLATE: &'static str = "orders.html";
}
impl View for OrderList {
    const TEMPLATE: &'static str = "order_list.html";
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::views::{Sample, samples};

    pub fn rows() -> Vec<OrderRow> {
        samples::every_order().iter().map(OrderRow::of).collect()
    }

    impl Sample for OrderList {
        fn samples() -> Vec<Self> {
            let page = Page {
                page: 1,
                per_page: 5,
            };
            let list = |action, with_user, q: &str, status, orders: Vec<OrderRow>| {
                let total = i64::try_from(orders.len()).unwrap();
                Self::of(action, with_user, q.into(), status, page, orders, total)
            };
            vec![
                list("/orders", false, "", None, rows()),
                list("/admin", true, "a&b", Some(OrderStatus::Delivered), rows()),
                list("/orders", false, "nothing", None, vec![]),
                list("/orders", false, "", None, vec![]),
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
