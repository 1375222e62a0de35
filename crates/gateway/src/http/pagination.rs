//! Which part of a list is wanted.

use serde::Serialize;

use super::input::{Fields, FromFields};
use super::problem::Problem;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
pub struct Pagination {
    /// From 1.
    pub page: u32,
    /// Rows on a page.
    pub per_page: u32,
}

impl Pagination {
    /// Largest accepted `per_page`.
    pub const MAX_PER_PAGE: i64 = 100;
    /// Beyond this nobody pages: it bounds the offset.
    const MAX_PAGE: i64 = 100_000;

    /// `page` and `per_page` of a query.
    pub fn from_fields(fields: &Fields, per_page: u32) -> Result<Self, Problem> {
        let number = |given: Option<i64>, otherwise| {
            given.map_or(otherwise, |n| u32::try_from(n).unwrap_or(otherwise))
        };
        Ok(Self {
            page: number(fields.integer("page", 1..=Self::MAX_PAGE)?, 1),
            per_page: number(
                fields.integer("per_page", 1..=Self::MAX_PER_PAGE)?,
                per_page,
            ),
        })
    }

    /// Rows before this page.
    pub fn offset(self) -> i64 {
        i64::from(self.page - 1) * i64::from(self.per_page)
    }

    /// Rows on this page.
    pub fn limit(self) -> i64 {
        i64::from(self.per_page)
    }
}

/// A query that wants a part of a list and nothing else: `PER_PAGE` rows unless it
/// says otherwise.
#[derive(Debug)]
pub struct Page<const PER_PAGE: u32>(pub Pagination);

impl<const PER_PAGE: u32> FromFields for Page<PER_PAGE> {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        Pagination::from_fields(fields, PER_PAGE).map(Self)
    }
}

/// `page` and `per_page`, described.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described, and never made")]
pub struct PageParams {
    /// From 1.
    #[param(minimum = 1, maximum = 100_000)]
    page: Option<i64>,
    /// 1 to 100.
    #[param(minimum = 1, maximum = 100)]
    per_page: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_bounds() {
        let page = |query: &str| Pagination::from_fields(&Fields::from_form(query.as_bytes()), 25);
        assert_eq!(page("").unwrap().limit(), 25);
        assert_eq!(page("page=3&per_page=10").unwrap().offset(), 20);
        for wrong in ["page=0", "page=x", "per_page=101", "page=99999999999"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
    }
}
