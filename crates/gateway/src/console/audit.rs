//! The audit log: who has done what that matters.

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::audit::Act;
use waybill_domain::ids::OrderId;

use super::lists::{self, Pages};
use super::location::Location;
use super::page::{PageContent, Viewer};
use super::shell::{Link, order_href};
use super::views::Console;
use super::views::View;
use crate::api::audit::AuditQuery;
use crate::clock::timestamp;
use crate::documents::markdown;
use crate::http::input::FromFields as _;
use crate::http::pagination::Pagination;
use crate::http::problem::Problem;
use crate::storage::audit::{self as storage, Row};
use crate::storage::orders::Total;

/// Entries on a page.
const PER_PAGE: u32 = 50;
const PATH: &str = "/audit";

/// Everything the page shows.
#[derive(Debug, Clone, Serialize)]
pub struct AuditPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// What was typed into the form.
    pub asked: Asked,
    /// Whether something was.
    pub is_filtered: bool,
    /// Kinds of acts to choose.
    pub acts: Vec<ActOption>,
    /// Newest first.
    pub entries: Vec<EntryRow>,
    /// How many there are.
    pub total: i64,
    /// Whether there are no more than that.
    pub total_exact: bool,
    /// Where one is in the list.
    pub pages: Pages,
}

/// The form, as it was sent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Asked {
    /// Of whom.
    pub who: String,
    /// What was done.
    pub what: String,
    /// Not before this day or time.
    pub from: String,
    /// Not after it.
    pub to: String,
}

/// A kind of act to choose.
#[derive(Debug, Clone, Serialize)]
pub struct ActOption {
    /// Name on the wire.
    pub name: &'static str,
    /// In words.
    pub label: String,
}

/// An entry.
#[derive(Debug, Clone, Serialize)]
pub struct EntryRow {
    /// The same in every gateway.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// What was done, in words.
    pub what: String,
    /// Its color: `failed`, `working` or nothing.
    pub family: &'static str,
    /// Who has done it.
    pub who: String,
    /// To whom or to what.
    pub subject: String,
    /// Where the subject is shown, if it has a page.
    pub href: Option<String>,
    /// What there is to say of it.
    pub detail: String,
    /// From which network address.
    pub address: Option<String>,
    /// By which request.
    pub request: Option<String>,
    /// How often.
    pub count: i64,
}

/// `sign_in_failed` as people say it.
fn label(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

impl EntryRow {
    fn of(row: &Row) -> Self {
        let act = Act::parse(&row.what);
        Self {
            id: row.id.clone(),
            at: timestamp(row.at),
            what: label(&row.what),
            family: match act {
                Some(Act::SignInFailed | Act::CodeWrong | Act::Rejected | Act::UserDisabled) => {
                    "failed"
                }
                Some(Act::SignIn | Act::SignOut) => "",
                _ => "working",
            },
            who: row.who.clone(),
            // An order's id has a dot, which no user's name and no SKU of ours has.
            href: OrderId::parse(&row.subject)
                .ok()
                .filter(|_| is_of_an_order(act))
                .map(|id| order_href(id.as_str())),
            subject: row.subject.clone(),
            detail: row.detail.clone(),
            address: row.address.clone(),
            request: row.request.clone(),
            count: row.count,
        }
    }
}

const fn is_of_an_order(act: Option<Act>) -> bool {
    matches!(
        act,
        Some(
            Act::Approved
                | Act::TakenOut
                | Act::Rejected
                | Act::Cancelled
                | Act::Refunded
                | Act::ReturnAccepted
                | Act::ReturnRefused
                | Act::ReturnReceived,
        )
    )
}

impl AuditPage {
    fn of(tab: &'static str, asked: Asked, page: Pagination, rows: &[Row], total: Total) -> Self {
        let href = |number: u32| {
            lists::href(
                PATH,
                &[
                    ("who", &asked.who),
                    ("what", &asked.what),
                    ("from", &asked.from),
                    ("to", &asked.to),
                    ("page", &number.to_string()),
                ],
            )
        };
        let mut pages = Pages::of(page, total, href);
        if rows.is_empty() && total.total > 0 && pages.last.is_none() {
            pages.is_past = true;
            pages.previous = Some(href(1));
        }
        let fields = [&asked.who, &asked.what, &asked.from, &asked.to];
        Self {
            tab,
            is_filtered: fields.iter().any(|field| !field.is_empty()),
            acts: Act::ALL
                .into_iter()
                .map(|act| ActOption {
                    name: act.as_str(),
                    label: label(act.as_str()),
                })
                .collect(),
            entries: rows.iter().map(EntryRow::of).collect(),
            total: total.total,
            total_exact: total.total_exact,
            pages,
            asked,
        }
    }
}

/// Loads and paints the page.
pub(super) async fn content(
    console: &Console,
    _viewer: &Viewer,
    location: &Location,
) -> Result<PageContent, Problem> {
    let AuditQuery { filter, .. } = AuditQuery::from_fields(&location.query)?;
    let page = location.number(PER_PAGE)?;
    let rows = storage::list(&console.db, &filter, page).await?;
    let (total, total_exact) = storage::count(&console.db, &filter).await?;
    let typed = |name: &str| Ok::<_, Problem>(location.word(name)?.unwrap_or_default());
    let asked = Asked {
        who: typed("who")?,
        what: typed("what")?,
        from: typed("from")?,
        to: typed("to")?,
    };
    let document = markdown::audit(&rows, total, total_exact);
    let total = Total { total, total_exact };
    let input = AuditPage::of(location.tab, asked, page, &rows, total);
    let mut content = PageContent::new(
        "Audit log",
        console.views.render(&input)?,
        console.output(location, document)?,
    );
    content.parent = Some(Link {
        label: "Admin".to_owned(),
        href: "/admin".to_owned(),
    });
    Ok(content)
}

impl View for AuditPage {
    const TEMPLATE: &'static str = "audit.html";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Sample;

    fn row(nr: i64, what: Act, subject: &str, detail: &str) -> Row {
        Row {
            nr,
            id: format!("{}:{nr}", what.as_str()),
            at: 1_764_158_400_000 + nr,
            what: what.as_str().to_owned(),
            who: "hostile".to_owned(),
            subject: subject.to_owned(),
            detail: detail.to_owned(),
            address: (nr % 2 == 0).then(|| "192.0.2.7".to_owned()),
            request: (nr % 2 == 0).then(|| "0123456789abcdef".to_owned()),
            count: nr,
        }
    }

    impl Sample for AuditPage {
        fn samples() -> Vec<Self> {
            let rows: Vec<_> = Act::ALL
                .into_iter()
                .zip(1..)
                .map(|(act, nr)| row(nr, act, "alice.order-1", "hostile"))
                .chain([row(18, Act::Other, "P001", "")])
                .collect();
            let page = |number, asked: Asked, rows: &[Row], total| {
                let page = Pagination {
                    page: number,
                    per_page: 5,
                };
                Self::of("input", asked, page, rows, total)
            };
            let asked = Asked {
                who: "hostile".to_owned(),
                what: "sign_in".to_owned(),
                from: "2026-11-26".to_owned(),
                to: "2026-11-26".to_owned(),
            };
            vec![
                page(1, Asked::default(), &rows, Total::exactly(18)),
                page(
                    2,
                    asked.clone(),
                    &rows,
                    Total {
                        total: 10_000,
                        total_exact: false,
                    },
                ),
                page(1, asked, &[], Total::exactly(0)),
                page(1, Asked::default(), &[], Total::exactly(0)),
                page(9, Asked::default(), &[], Total::exactly(18)),
            ]
        }
    }

    #[test]
    fn an_order_has_a_page_and_a_user_has_none() {
        let of = |what, subject| EntryRow::of(&row(2, what, subject, "")).href;
        assert_eq!(
            of(Act::Approved, "alice.order-1").as_deref(),
            Some("/orders/alice.order-1")
        );
        assert_eq!(of(Act::Restocked, "A.1"), None);
        assert_eq!(of(Act::SignIn, "alice"), None);
        assert_eq!(label("sign_in_failed"), "Sign in failed");
    }
}
