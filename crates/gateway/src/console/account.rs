//! The page of one's own account, and what it has in common with the page of somebody
//! else: where they are signed in, and their tokens.

use serde::Serialize;
use waybill_domain::Timestamp;

use super::factor::FactorFacts;
use super::location::Location;
use super::page::{PageContent, Viewer};
use super::status_style::Chip;
use super::views::{Console, View};
use crate::documents::people::{self as documents, PersonRow};
use crate::http::problem::Problem;
use crate::identity::caller::Scope;
use crate::shop::account::{self, AccountView, SessionView, TokenView};

/// `/account`
#[derive(Debug, Clone, Serialize)]
pub struct AccountPage {
    /// Which tab is open.
    pub tab: &'static str,
    /// Beginning of the idempotency keys.
    pub key: String,
    /// Whether there is an account: in a demo a name is enough.
    pub is_known: bool,
    /// Whose.
    pub user: String,
    /// What they may do.
    pub role: &'static str,
    /// Where to write to them.
    pub email: String,
    /// Whether there is an old password to show.
    pub has_password: bool,
    /// The second factor, in words.
    pub factor: Option<FactorFacts>,
    /// Whether they are signed in elsewhere, too.
    pub elsewhere: bool,
    /// Where they are signed in, and their tokens.
    #[serde(flatten)]
    pub access: Access,
}

/// Where somebody is signed in, and what their programs show.
#[derive(Debug, Clone, Serialize)]
pub struct Access {
    /// Where they are signed in.
    pub sessions: Vec<SessionRow>,
    /// What their programs show.
    pub tokens: Vec<TokenRow>,
    /// Where the forms go: this with `/sign-out` and `/tokens/revoke`.
    pub action: String,
}

/// A place where somebody is signed in.
#[derive(Debug, Clone, Serialize)]
pub struct SessionRow {
    /// Which one.
    pub id: String,
    /// Which browser, in short.
    pub browser: String,
    /// As it says it itself.
    pub agent: String,
    /// From which network address.
    pub address: String,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When they were last seen there.
    pub seen_at: Timestamp,
    /// Whether it is the one that looks.
    pub is_this: bool,
}

/// An API token.
#[derive(Debug, Clone, Serialize)]
pub struct TokenRow {
    /// Which one.
    pub id: String,
    /// What its maker called it.
    pub name: String,
    /// What it may do, in words.
    pub word: &'static str,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used.
    pub seen_at: Option<Timestamp>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

impl Access {
    /// Of an account; `action` is where its forms go.
    pub fn of(account: &AccountView, action: String) -> Self {
        let session = |it: &SessionView| SessionRow {
            id: it.id.clone(),
            browser: browser(&it.agent),
            agent: it.agent.clone(),
            address: it.address.clone(),
            created_at: it.created_at,
            seen_at: it.seen_at,
            is_this: it.is_this,
        };
        let token = |it: &TokenView| TokenRow {
            id: it.id.clone(),
            name: it.name.clone(),
            word: match it.scope {
                Scope::Read => "Reads only",
                Scope::Full => "Everything",
            },
            created_at: it.created_at,
            seen_at: it.seen_at,
            expires_at: it.expires_at,
        };
        Self {
            sessions: account.sessions.iter().map(session).collect(),
            tokens: account.tokens.iter().map(token).collect(),
            action,
        }
    }
}

/// Whether somebody can sign in.
pub(super) fn state(account: &AccountView) -> Chip {
    let (name, label, family, icon) = match (account.is_enabled, account.has_password) {
        (false, _) => ("disabled", "Disabled", "failed", "failed"),
        (true, true) => ("active", "Active", "done", "done"),
        (true, false) => ("no password", "No password", "waiting", "waiting"),
    };
    Chip {
        name,
        label: label.to_owned(),
        family,
        icon,
    }
}

/// The document about somebody.
pub(super) fn document(account: &AccountView) -> String {
    let sessions = account.sessions.iter().map(|it| documents::SessionRow {
        id: &it.id,
        agent: &it.agent,
        address: &it.address,
        created_at: it.created_at,
        seen_at: it.seen_at,
        is_this: it.is_this,
    });
    let tokens = account.tokens.iter().map(|it| documents::TokenRow {
        id: &it.id,
        name: &it.name,
        scope: it.scope.as_str(),
        created_at: it.created_at,
        seen_at: it.seen_at,
        expires_at: it.expires_at,
    });
    let (sessions, tokens): (Vec<_>, Vec<_>) = (sessions.collect(), tokens.collect());
    documents::account(&row(account), &sessions, &tokens)
}

/// Somebody in a document.
pub(super) fn row(account: &AccountView) -> PersonRow<'_> {
    PersonRow {
        user: &account.user,
        role: account.role.as_str(),
        email: account.email.as_deref().unwrap_or("none"),
        state: state(account).name,
        factor: account
            .factor
            .as_ref()
            .map(|it| (it.since, it.recovery_left)),
        sessions: account.sessions.len(),
        tokens: account.tokens.len(),
    }
}

/// Loads and paints the page.
pub(super) async fn content(
    console: &Console,
    viewer: &Viewer,
    location: &Location,
) -> Result<PageContent, Problem> {
    let account = account::own(console, &viewer.caller).await?;
    let page = AccountPage {
        tab: location.tab,
        key: viewer.seed.clone(),
        is_known: account.created_at.is_some(),
        user: account.user.clone(),
        role: account.role.as_str(),
        email: account.email.clone().unwrap_or_default(),
        has_password: account.has_password,
        factor: account.factor.as_ref().map(FactorFacts::of),
        elsewhere: account.sessions.iter().any(|session| !session.is_this),
        access: Access::of(&account, "/api/account".to_owned()),
    };
    Ok(PageContent::new(
        "Your account",
        console.views.render(&page)?,
        console.output(location, document(&account))?,
    ))
}

/// Which browser it is and what it runs on, as far as its words tell; programs by the
/// first of their words.
fn browser(agent: &str) -> String {
    const BROWSERS: [(&str, &str); 6] = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 7] = [
        ("Windows", "Windows"),
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("CrOS", "ChromeOS"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let find = |known: &[(&str, &'static str)]| {
        let found = known.iter().find(|(sign, _)| agent.contains(sign));
        found.map(|(_, name)| *name)
    };
    match (find(&BROWSERS), find(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ => match agent.split([' ', '/']).next() {
            Some(program) if !program.is_empty() => program.chars().take(40).collect(),
            _ => "Unknown".to_owned(),
        },
    }
}

impl View for AccountPage {
    const TEMPLATE: &'static str = "account.html";
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::console::Sample;
    use crate::identity::caller::Role;
    use crate::shop::account::FactorView;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Somebody who is signed in twice and has two tokens.
    pub(crate) fn sue() -> AccountView {
        let session = |id: &str, is_this| SessionView {
            id: id.into(),
            address: "192.0.2.1".into(),
            agent: "Mozilla/5.0 <b>bold</b> Firefox/140".into(),
            created_at: at(60),
            seen_at: at(120),
            expires_at: at(1_000),
            is_this,
        };
        let token = |id: &str, scope, seen_at, expires_at| TokenView {
            id: id.into(),
            name: "<b>bold</b>".into(),
            scope,
            created_at: at(60),
            seen_at,
            expires_at,
        };
        AccountView {
            user: "sue".into(),
            role: Role::Support,
            email: Some("<b>bold</b>@example.com".into()),
            is_enabled: true,
            has_password: true,
            created_at: Some(at(1)),
            factor: Some(FactorView {
                since: at(60),
                recovery_left: 9,
                wrong_codes: 2,
            }),
            sessions: vec![
                session("0123456789ab", true),
                session("1123456789ab", false),
            ],
            tokens: vec![
                token("2123456789ab", Scope::Full, None, None),
                token("3123456789ab", Scope::Read, Some(at(90)), Some(at(5_000))),
            ],
        }
    }

    /// The same without anything.
    pub(crate) fn nothing() -> AccountView {
        AccountView {
            has_password: false,
            factor: None,
            sessions: vec![],
            tokens: vec![],
            ..sue()
        }
    }

    impl Sample for AccountPage {
        fn samples() -> Vec<Self> {
            [(sue(), true), (nothing(), true), (nothing(), false)]
                .map(|(account, is_known)| Self {
                    tab: if is_known { "input" } else { "output" },
                    key: "seed".into(),
                    is_known,
                    user: account.user.clone(),
                    role: "support",
                    email: account.email.clone().unwrap_or_default(),
                    has_password: account.has_password,
                    factor: account.factor.as_ref().map(FactorFacts::of),
                    elsewhere: !account.sessions.is_empty(),
                    access: Access::of(&account, "/api/account".into()),
                })
                .into()
        }
    }

    #[test]
    fn browsers_are_named() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
                "Chrome on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on macOS",
            ),
            ("curl/8.14.1", "curl"),
            ("", "Unknown"),
        ] {
            assert_eq!(browser(agent), name, "{agent}");
        }
    }

    #[test]
    fn a_state_is_a_word() {
        let disabled = AccountView {
            is_enabled: false,
            ..sue()
        };
        for (account, name) in [
            (sue(), "active"),
            (nothing(), "no password"),
            (disabled, "disabled"),
        ] {
            assert_eq!(state(&account).name, name);
        }
    }
}
