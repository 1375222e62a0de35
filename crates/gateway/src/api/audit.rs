//! `GET /api/audit`: who has done what that matters.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::audit::{Act, begin_of};
use waybill_domain::words::MAX_NAME;

use crate::clock::timestamp;
use crate::documents::markdown;
use crate::http::input::{Fields, FromFields, InQuery};
use crate::http::negotiation::{RequestContext, ResponseFormat};
use crate::http::pagination::{PageParams, Pagination};
use crate::http::problem::Problem;
use crate::http::reply::Markdown;
use crate::infra::Shared;
use crate::storage::audit::{self as storage, Filter, Row};

/// A day in UTC has no other length.
const A_DAY: Duration = Duration::from_hours(24);
/// Entries on a page.
const PER_PAGE: u32 = 50;

/// Which entries are wanted.
#[derive(Debug)]
pub struct AuditQuery {
    /// Which.
    pub filter: Filter,
    /// Which part of those.
    pub page: Pagination,
}

impl FromFields for AuditQuery {
    fn from_fields(fields: &Fields) -> Result<Self, Problem> {
        let what = fields.word("what", 40)?.map(|name| {
            Act::parse(&name).ok_or_else(|| {
                let all = Act::ALL.map(Act::as_str).join(", ");
                Problem::invalid("what", format!("what must be one of {all}"))
            })
        });
        Ok(Self {
            filter: Filter {
                who: fields.word("who", MAX_NAME)?,
                what: what.transpose()?,
                from: time(fields, "from", false)?,
                to: time(fields, "to", true)?,
            },
            page: Pagination::from_fields(fields, PER_PAGE)?,
        })
    }
}

/// A time, or a day in UTC: its beginning, or its end.
fn time(fields: &Fields, name: &str, is_end: bool) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = fields.word(name, 40)? else {
        return Ok(None);
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Some(time));
    }
    let begin = begin_of(&text);
    begin
        .map(|begin| Some(if is_end { begin + A_DAY } else { begin }))
        .ok_or_else(|| {
        Problem::invalid(
            name,
            format!("{name} must be a day, such as 2026-11-26, or a time, such as 2026-11-26T14:00:00Z"),
        )
    })
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AuditLog)]
struct Listing {
    entries: Vec<Entry>,
    /// So many there are.
    total: i64,
    /// Whether these are all. If not, there are more than `total`.
    total_exact: bool,
    #[serde(flatten)]
    page: Pagination,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AuditEntry)]
struct Entry {
    /// The same in every gateway.
    id: String,
    at: Timestamp,
    /// What was done, such as `sign_in`.
    what: String,
    /// Who has done it: a user, `operator` (the command line), `waybill`; of a failed
    /// sign-in, the name that was tried.
    who: String,
    /// To whom or to what: a user, an order, a SKU.
    subject: String,
    detail: String,
    /// From which network address.
    address: Option<String>,
    /// By which request: its `X-Request-Id`.
    request: Option<String>,
    /// How often, in the minute before `at`.
    count: i64,
}

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            at: timestamp(row.at),
            what: row.what,
            who: row.who,
            subject: row.subject,
            detail: row.detail,
            address: row.address,
            request: row.request,
            count: row.count,
        }
    }
}

/// Who has done what that matters, newest first; `Accept: text/markdown` gives a list
#[utoipa::path(
    get,
    path = "/api/audit",
    params(
        ("who" = Option<String>, Query, description = "Only what this user has done; `operator` is the command line, `waybill` the shop itself."),
        ("what" = Option<String>, Query, description = "Only acts of this kind, such as `sign_in_failed`."),
        ("from" = Option<String>, Query, description = "Not before this day in UTC, or this time."),
        ("to" = Option<String>, Query, description = "Not after this day in UTC, or before this time."),
        PageParams,
    ),
    responses(
        (status = 200, description = "AuditLog", body = Listing),
    ),
)]
pub(super) async fn list(
    State(infra): State<Shared>,
    context: RequestContext,
    InQuery(query): InQuery<AuditQuery>,
) -> Result<Response, Problem> {
    let AuditQuery { filter, page } = query;
    let rows = storage::list(&infra.db, &filter, page).await?;
    let (total, total_exact) = storage::count(&infra.db, &filter).await?;
    if context.wants == ResponseFormat::Markdown {
        return Ok(Markdown(markdown::audit(&rows, total, total_exact)).into_response());
    }
    Ok(Json(Listing {
        entries: rows.into_iter().map(Entry::from).collect(),
        total,
        total_exact,
        page,
    })
    .into_response())
}

#[cfg(test)]
crate::http::fuzz::fields!(fuzz_audit_query: AuditQuery);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<AuditQuery, Problem> {
        AuditQuery::from_fields(&Fields::from_form(query.as_bytes()))
    }

    #[test]
    fn a_day_is_meant_whole_and_a_time_as_it_is() {
        let query = read("from=2026-11-25&to=2026-11-26&who=admin&what=role_set&page=2").unwrap();
        let filter = query.filter;
        let text = |time: Option<Timestamp>| time.unwrap().to_string();
        assert_eq!(text(filter.from), "2026-11-25T00:00:00Z");
        assert_eq!(text(filter.to), "2026-11-27T00:00:00Z");
        assert_eq!(filter.who.as_deref(), Some("admin"));
        assert_eq!(filter.what, Some(Act::RoleSet));
        assert_eq!(query.page.page, 2);
        let exact = read("to=2026-11-26T14:00:00Z").unwrap().filter;
        assert_eq!(text(exact.to), "2026-11-26T14:00:00Z");
        // A form that is left blank.
        assert_eq!(
            read("who=&what=&from=&to=").unwrap().filter,
            Filter::default()
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_name() {
        for (query, field) in [
            ("what=everything", "what"),
            ("from=yesterday", "from"),
            ("to=2026-13-01", "to"),
            ("page=0", "page"),
        ] {
            assert_eq!(
                read(query).unwrap_err().field.as_deref(),
                Some(field),
                "{query}"
            );
        }
    }
}
