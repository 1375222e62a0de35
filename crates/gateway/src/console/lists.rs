//! Parts that several pages share: rows of orders, pages of a list.

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::order::OrderStatus;

use super::shell::{order_href, short};
use super::status_style::Chip;
use crate::clock::timestamp;
use crate::http::pagination::Pagination;
use crate::storage::orders::{Summary, Total};

/// An order in a table.
#[derive(Debug, Clone, Serialize)]
pub struct OrderRow {
    /// Full id.
    pub id: String,
    /// As its customer calls it.
    pub short: String,
    /// Its page.
    pub href: String,
    /// Whose.
    pub user: String,
    /// Where it stands.
    pub status: Chip,
    /// Pieces in it.
    pub pieces: i64,
    /// Cents.
    pub total: i64,
    /// Time of the first checkout.
    pub created_at: Timestamp,
}

impl OrderRow {
    /// From the read model's row; `None` for a status of a newer version.
    pub fn of_summary(summary: &Summary) -> Option<Self> {
        let status = OrderStatus::parse(&summary.status)?;
        let undoing = summary.undoing.as_deref().and_then(OrderStatus::parse);
        Some(Self {
            id: summary.order_id.clone(),
            short: short(&summary.order_id).to_owned(),
            href: order_href(&summary.order_id),
            user: summary.user_id.clone(),
            status: Chip::of(status, undoing),
            pieces: summary.pieces,
            total: summary.total_cents,
            created_at: timestamp(summary.created_at),
        })
    }
}

/// Where one is in a long list.
#[derive(Debug, Clone, Serialize)]
pub struct Pages {
    /// From 1.
    pub page: u32,
    /// The last one, if so many are counted.
    pub last: Option<u32>,
    /// Whether one is past it.
    pub is_past: bool,
    /// The page before; the last one, for who is past it.
    pub previous: Option<String>,
    /// The page after.
    pub next: Option<String>,
}

impl Pages {
    /// `href` makes the address of a page.
    pub fn of(page: Pagination, total: Total, href: impl Fn(u32) -> String) -> Self {
        let known = (total.total.max(1) - 1) / page.limit() + 1;
        let known = u32::try_from(known).unwrap_or(u32::MAX);
        // More than are counted: there may be a next page, and nobody knows the last.
        let last = total.total_exact.then_some(known);
        Self {
            page: page.page,
            last,
            is_past: total.total > 0 && last.is_some_and(|last| page.page > last),
            previous: (page.page > 1).then(|| href((page.page - 1).min(last.unwrap_or(u32::MAX)))),
            next: last
                .is_none_or(|last| page.page < last)
                .then(|| href(page.page + 1)),
        }
    }
}

/// `path?name=value&…` with what is not empty.
pub fn href(path: &str, query: &[(&str, &str)]) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        pairs.append_pair(name, value);
    }
    let query = pairs.finish();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_know_their_neighbours() {
        let pages_of = |page, total| {
            Pages::of(Pagination { page, per_page: 25 }, total, |n| {
                href("/orders", &[("q", "a b"), ("page", &n.to_string())])
            })
        };
        let pages = |page, total| pages_of(page, Total::exactly(total));
        let many = Total {
            total: 10_000,
            total_exact: false,
        };
        let beyond = pages_of(401, many);
        assert_eq!((beyond.last, beyond.is_past), (None, false));
        assert_eq!(beyond.next.as_deref(), Some("/orders?q=a+b&page=402"));
        assert_eq!(pages(1, 0).last, Some(1));
        assert!(pages(3, 26).is_past && !pages(2, 26).is_past);
        assert!(
            !pages(9, 0).is_past,
            "an empty list has nothing to go back to"
        );
        assert_eq!(pages(1, 25).next, None);
        assert_eq!(pages(1, 26).next.as_deref(), Some("/orders?q=a+b&page=2"));
        assert_eq!(
            pages(9, 26).previous.as_deref(),
            Some("/orders?q=a+b&page=2")
        );
    }
}
