//! What is painted once and remembered: parts of pages that are the same for many, or
//! for one viewer on every page.

use std::sync::Arc;

use waybill_domain::ids::Username;

use crate::http::pagination::Pagination;
use crate::identity::caller::Caller;
use crate::storage::catalog::Filter;

/// Stands for the seed in what is painted once for all viewers. Nobody's words have it:
/// it is no character.
const ANY_SEED: &str = "\u{FDD0}seed\u{FDD0}";

/// What is painted once for all viewers.
#[derive(Debug, Clone)]
pub(super) struct Painted(Arc<str>);

impl Painted {
    /// What `paint` makes with a seed that stands for any.
    pub(super) fn for_all<E>(paint: impl FnOnce(&str) -> Result<String, E>) -> Result<Self, E> {
        paint(ANY_SEED).map(|html| Self(html.into()))
    }

    /// The same with a viewer's seed.
    pub(super) fn of(&self, seed: &str) -> String {
        self.0.replace(ANY_SEED, seed)
    }
}

/// One page of the list, which is the same for all customers, and for all admins, until
/// the stock or the catalog changes.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    /// `#input`
    pub page: Painted,
    /// `#product-list`
    pub list: Painted,
    /// `#output`
    pub output: Arc<str>,
}

/// What makes one shelf another.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub tab: &'static str,
    pub filter: Filter,
    pub page: Pagination,
    /// Whether it is for those who look after the catalog.
    pub is_admin: bool,
}

/// Who sees the same: one of the staff is told of everybody's orders and of their own doings.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Eyes {
    pub user: Username,
    pub is_staff: bool,
}

impl Eyes {
    pub(super) fn of(caller: &Caller) -> Self {
        Self {
            user: caller.user.clone(),
            is_staff: caller.role.is_staff(),
        }
    }
}

/// The notification pane, painted.
#[derive(Debug, Clone)]
pub(super) struct Pane {
    /// `#notifications`
    pub painted: Painted,
    /// How many are not read, counted to at most 1,000.
    pub unread: i64,
    /// The words of the newest that has come since `after`, or none.
    pub news: String,
    /// Where a stream that is interrupted goes on.
    pub cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn each_viewer_has_their_own_seed_in_every_place() {
        let paint = |seed: &str| Ok::<_, Infallible>(format!("<a>{seed}-1</a><b>{seed}-2</b>"));
        let painted = Painted::for_all(paint).unwrap();
        assert_eq!(painted.of("alice"), paint("alice").unwrap());
        assert_eq!(painted.of("bob"), paint("bob").unwrap());
    }
}
