//! An account as its owner and admins see it, and what they do with it. Of secrets
//! only the beginning of their fingerprint is told, which opens nothing.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;
use waybill_domain::Timestamp;
use waybill_domain::account::{
    Account, Change, Ended, Factor, Fingerprint, NewAccount, Role, Scope, Token, WRONG_CODES_FOR,
};
use waybill_domain::audit::Origin;
use waybill_domain::ids::Username;

use super::{people, sign_in};
use crate::clock;
use crate::http::pagination::Pagination;
use crate::http::problem::{Problem, WRONG_PASSWORD};
use crate::identity::caller::{Caller, Credential};
use crate::identity::password;
use crate::infra::Infra;
use crate::storage::accounts;

/// Days that a token may live; without a number it lives until it is revoked.
pub const MOST_DAYS: i64 = 3_650;
/// The kind of the problem that a link does not work.
const LINK_OVER: &str = "link_over";
/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Somebody, as they themselves and admins see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountView {
    /// User name.
    pub user: String,
    /// What they may do.
    pub role: Role,
    /// Where to write to them.
    pub email: Option<String>,
    /// Whether they may do anything.
    pub is_enabled: bool,
    /// Whether they can sign in with a password.
    pub has_password: bool,
    /// Since when they are known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// The second factor, if they have set one up.
    pub factor: Option<FactorView>,
    /// Where they are signed in, the newest first.
    pub sessions: Vec<SessionView>,
    /// What their programs show, the newest first.
    pub tokens: Vec<TokenView>,
}

/// A second factor, as its owner and admins see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FactorView {
    /// Since when a code is asked for.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Recovery codes that are left.
    pub recovery_left: usize,
    /// Wrong codes of the last day, each by somebody who knows the password.
    pub wrong_codes: u32,
}

impl FactorView {
    fn of(factor: &Factor) -> Self {
        let a_day_ago = clock::now() - WRONG_CODES_FOR;
        let wrong = &factor.wrong;
        let is_of_late = wrong.since.is_some_and(|since| since > a_day_ago);
        Self {
            since: factor.since,
            recovery_left: factor.recovery.len(),
            wrong_codes: if is_of_late {
                wrong.elsewhere + wrong.known
            } else {
                0
            },
        }
    }
}

/// A place where somebody is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SessionView {
    /// 12 characters that tell it from the others.
    pub id: String,
    /// From which network address they signed in.
    pub address: String,
    /// Which browser says it is there.
    pub agent: String,
    /// When they signed in.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When they last did something there; elsewhere it is told some minutes late.
    #[schema(value_type = String, format = DateTime)]
    pub seen_at: Timestamp,
    /// When it ends, whatever they do.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Whether it is the one that asks.
    pub is_this: bool,
}

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenView {
    /// 12 characters that tell it from the others.
    pub id: String,
    /// What its maker called it.
    pub name: String,
    /// How much it may do.
    pub scope: Scope,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last shown; elsewhere it is told some minutes late.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub seen_at: Option<Timestamp>,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// The caller's own. A demo's visitor needs no account: then there is only a name.
pub async fn own(infra: &Infra, caller: &Caller) -> Result<AccountView, Problem> {
    Ok(match accounts::account(&infra.db, &caller.user).await? {
        Some(account) => view(infra, &account, caller),
        None => AccountView {
            user: caller.user.to_string(),
            role: caller.role,
            email: None,
            is_enabled: true,
            has_password: false,
            created_at: None,
            factor: None,
            sessions: Vec::new(),
            tokens: Vec::new(),
        },
    })
}

/// Somebody, for an admin.
pub async fn one(infra: &Infra, caller: &Caller, user: &Username) -> Result<AccountView, Problem> {
    let account = accounts::account(&infra.db, user).await?;
    let account = account.ok_or_else(|| nobody(user.as_str()))?;
    Ok(view(infra, &account, caller))
}

/// The user that a path names.
pub fn named(name: &str) -> Result<Username, Problem> {
    Username::parse(name)
        .map_err(|refusal| Problem::not_found(format!("there is no such user: {refusal}")))
}

fn nobody(name: &str) -> Problem {
    Problem::not_found(format!("there is no user {name}: look at /people"))
}

/// One page of those whose name or address holds `q`, and how many there are.
pub async fn list(
    infra: &Infra,
    caller: &Caller,
    q: &str,
    page: Pagination,
) -> Result<(Vec<AccountView>, i64), Problem> {
    let (found, total) = accounts::people(&infra.db, q, page).await?;
    let views = found.iter().map(|account| view(infra, account, caller));
    Ok((views.collect(), total))
}

/// What is over by now, or has not been used for too long, is left out.
fn view(infra: &Infra, account: &Account, caller: &Caller) -> AccountView {
    let (now, idle) = (clock::now(), infra.settings.session_idle);
    let seen = |fingerprint: &Fingerprint, told| infra.auth.sessions.last_seen(fingerprint, told);
    let sessions = account.sessions.iter().rev().filter_map(|session| {
        let seen_at = seen(&session.fingerprint, Some(session.seen_at))?;
        (session.expires_at > now && seen_at + idle > now).then(|| SessionView {
            id: session.fingerprint.short().to_owned(),
            address: session.address.clone(),
            agent: session.agent.clone(),
            created_at: session.created_at,
            seen_at,
            expires_at: session.expires_at,
            is_this: caller.credential == Credential::Session(session.fingerprint.clone()),
        })
    });
    let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
    let tokens = account.tokens.iter().rev();
    let tokens = tokens.filter(|token| !is_over(token.expires_at));
    AccountView {
        user: account.user.to_string(),
        role: account.role,
        email: Some(account.email.clone()),
        is_enabled: account.is_enabled(),
        has_password: account.password_hash.is_some(),
        created_at: Some(account.created_at),
        factor: account.factor.as_ref().map(FactorView::of),
        sessions: sessions.collect(),
        tokens: tokens
            .map(|token| token_view(token, seen(&token.fingerprint, token.seen_at)))
            .collect(),
    }
}

fn token_view(token: &Token, seen_at: Option<Timestamp>) -> TokenView {
    TokenView {
        id: token.fingerprint.short().to_owned(),
        name: token.name.clone(),
        scope: token.scope,
        created_at: token.created_at,
        seen_at,
        expires_at: token.expires_at,
    }
}

/// Somebody changes their own password, and shows the old one. Wrong ones count as at
/// the sign-in: who has only found an open browser cannot try them all.
pub async fn set_password(
    infra: &Infra,
    origin: &Origin,
    from: IpAddr,
    caller: &Caller,
    old: String,
    new: String,
) -> Result<(), Problem> {
    let known = infra.user(&caller.user).await?;
    let known = known.filter(|known| known.password_hash.is_some());
    let Some(known) = known else {
        return Err(Problem::conflict(
            "no_password",
            "No password",
            "you have no password here: ask an admin for a link by which you set one",
        ));
    };
    let user = caller.user.as_str();
    let begun = infra.auth.throttle.begin(from, user, Instant::now());
    let too_many = |wait| sign_in::too_many("wrong passwords", wait).with_field("old_password");
    let trying = begun.map_err(too_many)?;
    match people::set_password(infra, origin, from, caller, &known, old, new).await {
        Err(problem) if problem.kind() == WRONG_PASSWORD => Err(problem),
        other => {
            // Whatever else was wrong, it was no wrong guess.
            if other.is_ok() {
                trying.succeeded(Instant::now());
            } else {
                trying.withdrawn();
            }
            other
        }
    }
}

/// Somebody shows their own password once more. Wrong ones count as at the sign-in.
pub(super) async fn show_password(
    infra: &Infra,
    from: IpAddr,
    caller: &Caller,
    password: String,
) -> Result<(), Problem> {
    let known = infra.user(&caller.user).await?;
    let Some(hash) = known.and_then(|known| known.password_hash) else {
        return Err(Problem::conflict(
            "no_password",
            "No password",
            "you have no password here, so no code is asked for beside it: whoever signs you in asks for more if they want it",
        ));
    };
    let user = caller.user.as_str();
    let begun = infra.auth.throttle.begin(from, user, Instant::now());
    let too_many = |wait| sign_in::too_many("wrong passwords", wait).with_field("password");
    let trying = begun.map_err(too_many)?;
    let verified = async {
        let turn = infra.auth.hash_queue.turn(from, true).await?;
        password::verify(turn, password, Some(hash)).await
    };
    match verified.await {
        Ok(true) => {
            trying.succeeded(Instant::now());
            Ok(())
        }
        Ok(false) => {
            let detail = "the password is wrong: check it and try again";
            Err(Problem::wrong_password(detail).with_field("password"))
        }
        Err(problem) => {
            trying.withdrawn();
            Err(problem)
        }
    }
}

/// The holder of a link sets the password. Guesses count as at the sign-in, and apart
/// from those: who guesses links keeps nobody from signing in.
pub async fn redeem(
    infra: &Infra,
    origin: &Origin,
    from: IpAddr,
    user: &Username,
    secret: &str,
    password: String,
) -> Result<(), Problem> {
    let link = format!("the link of {user}");
    let trying = infra.auth.throttle.begin(from, &link, Instant::now());
    let too_many = |wait| sign_in::too_many("links that do not work", wait);
    let trying = trying.map_err(too_many)?;
    match people::redeem(infra, origin, from, user, secret, password).await {
        Err(problem) if problem.kind() == LINK_OVER => Err(problem),
        other => {
            // Whatever else was wrong, it was no wrong guess.
            if other.is_ok() {
                trying.succeeded(Instant::now());
            } else {
                trying.withdrawn();
            }
            other
        }
    }
}

/// Signs somebody out at one place, or everywhere but where the caller is.
pub async fn sign_out(
    infra: &Infra,
    origin: &Origin,
    caller: &Caller,
    user: &Username,
    session: Option<String>,
) -> Result<(), Problem> {
    let ended = match (session, &caller.credential) {
        (Some(id), _) => {
            let known = accounts::account(&infra.db, user).await?;
            let is_there = known.is_some_and(|known| {
                let mut sessions = known.sessions.iter();
                sessions.any(|session| session.fingerprint.short() == id)
            });
            if !is_there {
                return Err(Problem::not_found(
                    "nobody is signed in there any more: load the list again",
                ));
            }
            Ended::One(id)
        }
        (None, Credential::Session(here)) if caller.user == *user => Ended::Others(here.clone()),
        (None, _) => Ended::All,
    };
    people::change(
        infra,
        origin.by(&caller.user),
        user,
        Change::EndSessions { ended },
    )
    .await?;
    Ok(())
}

/// Whether that is the session which asks.
pub fn is_here(caller: &Caller, id: &str) -> bool {
    matches!(&caller.credential, Credential::Session(here) if here.short() == id)
}

/// Makes a token for the caller; answers it, which is shown once.
pub async fn add_token(
    infra: &Infra,
    origin: &Origin,
    caller: &Caller,
    name: String,
    scope: Scope,
    days: Option<u64>,
) -> Result<(TokenView, String), Problem> {
    in_person(caller)?;
    let life = days.map(|days| Duration::from_secs(days * DAY));
    let (token, shown) = people::new_token(name, scope, life);
    let view = token_view(&token, None);
    people::change(
        infra,
        origin.by(&caller.user),
        &caller.user,
        Change::AddToken { token },
    )
    .await?;
    Ok((view, shown))
}

/// Refuses what a token must not do: whoever has found one that ends could make
/// themselves a way in that does not.
fn in_person(caller: &Caller) -> Result<(), Problem> {
    if matches!(caller.credential, Credential::Token(_)) {
        return Err(Problem::forbidden(
            "an API token makes no tokens, no staff and no links of theirs: sign in at /login for that",
        ));
    }
    Ok(())
}

/// Makes a token useless.
pub async fn revoke(
    infra: &Infra,
    origin: &Origin,
    caller: &Caller,
    user: &Username,
    id: String,
) -> Result<(), Problem> {
    let revoked = people::change(
        infra,
        origin.by(&caller.user),
        user,
        Change::RevokeToken { token: id },
    )
    .await;
    match revoked {
        Err(problem) if problem.field.as_deref() == Some("token") => Err(Problem::not_found(
            "there is no such token: it may be revoked already, so load the list again",
        )),
        other => other.map(drop),
    }
}

/// Makes somebody known, by a link; answers its secret.
pub async fn create(
    infra: &Infra,
    origin: &Origin,
    caller: &Caller,
    user: &Username,
    role: Role,
    email: &str,
) -> Result<String, Problem> {
    if role.is_staff() {
        in_person(caller)?;
    }
    let (link, secret) = people::new_link();
    let new = NewAccount {
        role,
        email: email.to_owned(),
        password_hash: None,
        link: Some(link),
        at: clock::now(),
    };
    people::create(infra, origin.by(&caller.user), user, new).await?;
    Ok(secret)
}

/// Makes somebody a link by which they set a password; answers its secret.
pub async fn new_link(
    infra: &Infra,
    origin: &Origin,
    caller: &Caller,
    user: &Username,
) -> Result<String, Problem> {
    not_own(
        caller,
        user,
        "this is your own account: change your password at /account, which asks for the old one",
    )?;
    let whose = infra.user(user).await?;
    if whose.is_some_and(|whose| whose.role.is_staff()) {
        in_person(caller)?;
    }
    let (link, secret) = people::new_link();
    people::change(infra, origin.by(&caller.user), user, Change::Link { link }).await?;
    Ok(secret)
}

/// Gives somebody another role.
pub async fn set_role(
    infra: &Infra,
    origin: &Origin,
    caller: &Caller,
    user: &Username,
    role: Role,
) -> Result<(), Problem> {
    not_own(
        caller,
        user,
        "this is your own role: another admin must change it, so that the shop is never without one",
    )?;
    if role.is_staff() {
        in_person(caller)?;
    }
    people::change(infra, origin.by(&caller.user), user, Change::Role { role }).await?;
    Ok(())
}

/// Lets somebody sign in no more, or again.
pub async fn set_enabled(
    infra: &Infra,
    origin: &Origin,
    caller: &Caller,
    user: &Username,
    is_enabled: bool,
) -> Result<(), Problem> {
    not_own(
        caller,
        user,
        "this is your own account: another admin must disable it, so that the shop is never without one",
    )?;
    let change = if is_enabled {
        Change::Enable
    } else {
        Change::Disable
    };
    people::change(infra, origin.by(&caller.user), user, change).await?;
    Ok(())
}

/// Refuses what somebody else must do.
pub(super) fn not_own(caller: &Caller, user: &Username, why_not: &str) -> Result<(), Problem> {
    if caller.user == *user {
        return Err(Problem::conflict(
            "own_account",
            "Your own account",
            why_not,
        ));
    }
    Ok(())
}
