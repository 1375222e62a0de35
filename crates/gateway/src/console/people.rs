//! The admin's pages of the people: the list, and one of them.

use serde::Serialize;
use waybill_domain::Timestamp;
use waybill_domain::ids::Username;

use super::account::{Access, document, row, state};
use super::factor::FactorFacts;
use super::lists::{self, Pages};
use super::location::Location;
use super::page::{PageContent, Viewer};
use super::shell::Link;
use super::status_style::Chip;
use super::views::{Console, View};
use crate::documents::people as documents;
use crate::http::problem::Problem;
use crate::identity::caller::Role;
use crate::shop::account::{self, AccountView};
use crate::storage::orders::Total;

/// People on a page.
const PER_PAGE: u32 = 25;

/// `/people`
#[derive(Debug, Clone, Serialize)]
pub struct PeoplePage {
    /// Which tab is open.
    pub tab: &'static str,
    /// Beginning of the idempotency keys.
    pub key: String,
    /// What is searched for.
    pub q: String,
    /// This page of them.
    pub people: Vec<PersonRow>,
    /// How many there are.
    pub total: i64,
    /// Where one is in the list.
    pub pages: Pages,
    /// What somebody new can be.
    pub roles: Vec<RoleOption>,
}

/// Somebody in the list.
#[derive(Debug, Clone, Serialize)]
pub struct PersonRow {
    /// User name.
    pub user: String,
    /// Their page.
    pub href: String,
    /// What they may do.
    pub role: &'static str,
    /// Where to write to them.
    pub email: String,
    /// Whether they can sign in.
    pub status: Chip,
    /// How many places they are signed in at.
    pub sessions: usize,
    /// How many tokens they have.
    pub tokens: usize,
}

/// A role to choose.
#[derive(Debug, Clone, Serialize)]
pub struct RoleOption {
    /// Its name.
    pub role: &'static str,
    /// What it may do.
    pub does: &'static str,
}

/// `/people/{user}`
#[derive(Debug, Clone, Serialize)]
pub struct PersonPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// Beginning of the idempotency keys.
    pub key: String,
    /// Whose.
    pub user: String,
    /// What they may do.
    pub role: &'static str,
    /// Where to write to them.
    pub email: String,
    /// Whether they can sign in.
    pub status: Chip,
    /// Whether they may do anything.
    pub is_enabled: bool,
    /// The second factor, in words.
    pub factor: Option<FactorFacts>,
    /// Whether it is whoever looks.
    pub is_own: bool,
    /// Since when they are known.
    pub created_at: Option<Timestamp>,
    /// What else they can be.
    pub roles: Vec<RoleOption>,
    /// Where they are signed in, and their tokens.
    #[serde(flatten)]
    pub access: Access,
}

fn roles() -> Vec<RoleOption> {
    let does = |role| match role {
        Role::Customer => "buys",
        Role::Support => "sees every order",
        Role::Approver => "also decides orders",
        Role::Admin => "also stock and people",
    };
    let roles = Role::ALL.into_iter().map(|role| RoleOption {
        role: role.as_str(),
        does: does(role),
    });
    roles.collect()
}

/// Somebody's page.
fn href(user: &str) -> String {
    format!("/people/{user}")
}

impl PersonRow {
    fn of(account: &AccountView) -> Self {
        Self {
            user: account.user.clone(),
            href: href(&account.user),
            role: account.role.as_str(),
            email: account.email.clone().unwrap_or_default(),
            status: state(account),
            sessions: account.sessions.len(),
            tokens: account.tokens.len(),
        }
    }
}

impl PersonPage {
    fn of(tab: &'static str, key: String, account: &AccountView, is_own: bool) -> Self {
        Self {
            tab,
            key,
            user: account.user.clone(),
            role: account.role.as_str(),
            email: account.email.clone().unwrap_or_default(),
            status: state(account),
            is_enabled: account.is_enabled,
            factor: account.factor.as_ref().map(FactorFacts::of),
            is_own,
            created_at: account.created_at,
            roles: roles(),
            access: Access::of(account, format!("/api/people/{}", account.user)),
        }
    }
}

/// Loads and paints the list.
pub(super) async fn list(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
) -> Result<PageContent, Problem> {
    let q = location.q()?.unwrap_or_default();
    let page = location.number(PER_PAGE)?;
    let (found, total) = account::list(console, &viewer.caller, &q, page).await?;
    let pages = Pages::of(page, Total::exactly(total), |number| {
        lists::href("/people", &[("q", &q), ("page", &number.to_string())])
    });
    let rows: Vec<_> = found.iter().map(row).collect();
    let document = documents::people(&rows, total);
    let page = PeoplePage {
        tab: location.tab,
        key: viewer.seed.clone(),
        q,
        people: found.iter().map(PersonRow::of).collect(),
        total,
        pages,
        roles: roles(),
    };
    Ok(PageContent::new(
        "People",
        console.views.render(&page)?,
        console.output(location, document)?,
    ))
}

/// Loads and paints one of them.
pub(super) async fn one(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
    user: &Username,
) -> Result<PageContent, Problem> {
    let account = account::one(console, &viewer.caller, user).await?;
    let is_own = viewer.caller.user == *user;
    let page = PersonPage::of(location.tab, viewer.seed.clone(), &account, is_own);
    let mut content = PageContent::new(
        user.as_str(),
        console.views.render(&page)?,
        console.output(location, document(&account))?,
    );
    content.parent = Some(Link {
        href: "/people".to_owned(),
        label: "People".to_owned(),
    });
    Ok(content)
}

impl View for PeoplePage {
    const TEMPLATE: &'static str = "people.html";
}
impl View for PersonPage {
    const TEMPLATE: &'static str = "person.html";
}

#[cfg(test)]
mod tests {
    use super::super::account::tests::{nothing, sue};
    use super::*;
    use crate::console::Sample;
    use crate::http::pagination::Pagination;

    impl Sample for PeoplePage {
        fn samples() -> Vec<Self> {
            let of = |q: &str, page, people: Vec<AccountView>, total| Self {
                tab: "input",
                key: "seed".into(),
                q: q.into(),
                people: people.iter().map(PersonRow::of).collect(),
                total,
                pages: Pages::of(
                    Pagination { page, per_page: 25 },
                    Total::exactly(total),
                    |number| lists::href("/people", &[("page", &number.to_string())]),
                ),
                roles: roles(),
            };
            let quiet = AccountView {
                user: "ann".into(),
                is_enabled: false,
                ..nothing()
            };
            vec![
                of("", 2, vec![sue(), quiet], 27),
                of("<b>bold</b>", 1, vec![sue()], 1),
                of("<b>bold</b>", 1, vec![], 0),
                of("", 9, vec![], 30),
                of("", 1, vec![], 0),
            ]
        }
    }
    impl Sample for PersonPage {
        fn samples() -> Vec<Self> {
            let disabled = AccountView {
                is_enabled: false,
                ..sue()
            };
            [
                (sue(), false),
                (sue(), true),
                (nothing(), false),
                (disabled, false),
            ]
            .map(|(account, is_own)| Self::of("input", "seed".into(), &account, is_own))
            .into()
        }
    }
}
