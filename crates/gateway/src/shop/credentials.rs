//! Who shows what with a request, and whether it is good still: a session, an API token,
//! or in a demo a name. Read from this gateway's copy, so it works while Restate is away.

use std::sync::Arc;
use std::time::Duration;

use waybill_domain::Timestamp;
use waybill_domain::account::{Change, Fingerprint, Way};
use waybill_domain::audit::By;
use waybill_domain::ids::Username;

use super::people;
use crate::clock;
use crate::http::problem::Problem;
use crate::identity::caller::{Caller, Credential, Role};
use crate::identity::secret;
use crate::infra::{Infra, Shared};

/// How long a request waits for news of what is not known: it may have been made a
/// moment ago, at another gateway or by a command.
const HEARD_WITHIN: Duration = Duration::from_millis(250);

/// Who shows a session, which is in use by that.
pub async fn by_session(infra: &Shared, cookie: &str) -> Result<Option<Caller>, Problem> {
    match infra.auth.sessions.fingerprint(cookie) {
        Some(session) => in_use(infra, Credential::Session(session)).await,
        None => Ok(None),
    }
}

/// Who shows an API token, which is in use by that.
pub async fn by_token(infra: &Shared, token: &str) -> Result<Option<Caller>, Problem> {
    in_use(infra, Credential::Token(secret::fingerprint(token))).await
}

/// Who says that they have that name: a demo believes it of everybody but who is disabled.
pub async fn by_name(infra: &Infra, user: &Username) -> Result<Option<Caller>, Problem> {
    let known = infra.user(user).await?;
    if known.as_ref().is_some_and(|known| !known.is_enabled) {
        return Ok(None);
    }
    let role = known.map_or(Role::Customer, |known| known.role);
    Ok(Some(Caller::new(user.clone(), role)))
}

/// Whether somebody may still do what they might when they opened what they look at.
/// Looking is no use: it keeps no session alive.
pub async fn check(infra: &Infra, caller: &Caller) -> Result<(), Problem> {
    let now = match &caller.credential {
        Credential::Name => by_name(infra, &caller.user).await?,
        credential => holder(infra, credential).await?.map(|(caller, _)| caller),
    };
    if now.as_ref() == Some(caller) {
        Ok(())
    } else {
        Err(Problem::unauthenticated(
            "you are signed out here: sign in again at /login",
        ))
    }
}

async fn in_use(infra: &Shared, credential: Credential) -> Result<Option<Caller>, Problem> {
    let mut people = infra.live.people();
    let mut found = holder(infra, &credential).await?;
    if found.is_none() {
        let _ = tokio::time::timeout(HEARD_WITHIN, people.changed()).await;
        found = holder(infra, &credential).await?;
    }
    let Some((caller, told)) = found else {
        return Ok(None);
    };
    if let Credential::Session(shown) | Credential::Token(shown) = credential {
        let (now, idle) = (clock::now(), infra.settings.session_idle);
        if infra.auth.sessions.saw(&shown, told, now, idle) {
            tell_seen(infra, caller.user.clone(), shown);
        }
    }
    Ok(Some(caller))
}

/// Whose that is, if it is good, and when Restate was last told that it is in use.
async fn holder(
    infra: &Infra,
    credential: &Credential,
) -> Result<Option<(Caller, Option<Timestamp>)>, Problem> {
    let now = clock::now();
    let shown = match credential {
        Credential::Name => None,
        Credential::Token(token) => infra.token(token).await?,
        Credential::Session(session) => infra.session(session).await?.filter(|shown| {
            let last = infra.auth.sessions.last_seen(session, shown.seen_at);
            last.is_some_and(|last| last + infra.settings.session_idle > now)
        }),
    };
    let Some(shown) = shown.filter(|shown| !shown.is_over(now)) else {
        return Ok(None);
    };
    let known = infra.user(&shown.user).await?;
    let needs_factor = infra.settings.staff_needs_factor();
    // Programs and passwords: who could have come in with a password alone.
    let passwords = infra.settings.passwords;
    Ok(known.filter(|known| known.is_enabled).map(|known| {
        let is_by_password = match shown.way {
            Some(way) => way == Way::Password,
            None => passwords && known.password_hash.is_some(),
        };
        let owes_factor =
            needs_factor && known.role.is_staff() && !known.has_factor && is_by_password;
        let caller = Caller {
            user: shown.user,
            role: known.role,
            scope: shown.scope,
            credential: credential.clone(),
            owes_factor,
        };
        (caller, shown.seen_at)
    }))
}

/// Tells Restate in the background. While it is away nothing is told, and nothing lost.
fn tell_seen(infra: &Shared, user: Username, fingerprint: Fingerprint) {
    let infra = Arc::clone(infra);
    tokio::spawn(async move {
        let by = By::from(user.as_str());
        let told = people::change(&infra, by, &user, Change::Seen { fingerprint }).await;
        if let Err(problem) = told {
            tracing::debug!(cause = problem.cause(), "Restate was not told who is there");
        }
    });
}
