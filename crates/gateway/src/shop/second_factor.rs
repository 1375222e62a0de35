//! The second factor: a code of an authenticator app, or a recovery code, beside the
//! password. A gateway opens the secret and sees whether a code is right; `Account` in
//! Restate decides whether it counts, so two gateways never take the same one.

use std::net::IpAddr;
use std::time::Instant;

use waybill_domain::account::{Change, Fingerprint, NewFactor, Second, Shown};
use waybill_domain::audit::Origin;
use waybill_domain::ids::Username;
use waybill_domain::refusal::Refusal;

use super::{account, people, sign_in};
use crate::clock;
use crate::http::client::ClientAddress;
use crate::http::problem::Problem;
use crate::identity::authenticator::{self, Code, Secret};
use crate::identity::caller::{Caller, Credential};
use crate::identity::half_signed_in;
use crate::identity::vault::Kept;
use crate::infra::Infra;
use crate::storage::accounts;

/// Has `ask` done with what somebody shows. Guesses count as at the sign-in, and apart
/// from those at the password: who knows that begins with no fewer.
pub async fn showing<T>(
    infra: &Infra,
    from: ClientAddress,
    user: &Username,
    code: Code,
    ask: impl AsyncFnOnce(Shown) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let code_of = format!("the code of {user}");
    let begun = infra
        .auth
        .throttle
        .begin(from.caller(), &code_of, Instant::now());
    let too_many = |wait| sign_in::too_many("wrong codes", wait).with_field("code");
    let trying = begun.map_err(too_many)?;
    let shown = async {
        let second = seen(infra, user, code).await?;
        let from = from.caller().to_string();
        ask(Shown { second, from }).await
    };
    match shown.await {
        Ok(done) => {
            trying.succeeded(Instant::now());
            Ok(done)
        }
        Err(problem) => {
            let is_guess = [
                Refusal::WrongCode.kind(),
                Refusal::CodeUsed.kind(),
                Refusal::TooManyCodes.kind(),
            ];
            // Whatever else was wrong, it was no wrong guess.
            if !is_guess.contains(&problem.kind()) {
                trying.withdrawn();
            }
            Err(problem)
        }
    }
}

/// Whether a code is right, as far as can be seen here.
async fn seen(infra: &Infra, user: &Username, code: Code) -> Result<Second, Problem> {
    let digits = match code {
        Code::Recovery(fingerprint) => return Ok(Second::Recovery { fingerprint }),
        Code::App(digits) => digits,
    };
    let account = accounts::account(&infra.db, user).await?;
    let Some(factor) = account.and_then(|account| account.factor) else {
        return Ok(Second::Wrong);
    };
    let opened = infra
        .auth
        .vault
        .open(Kept::Factor, user.as_str(), &factor.sealed);
    let opened = opened.and_then(|opened| Some((Secret::of(&opened.plain)?, opened.is_old)));
    let (secret, is_old) = opened.ok_or_else(unreadable)?;
    Ok(match secret.step_of(&digits, clock::now()) {
        Some(step) => Second::Code {
            of: factor.since,
            step,
            sealed: is_old.then(|| sealed(infra, user, &secret)),
        },
        None => Second::Wrong,
    })
}

fn sealed(infra: &Infra, user: &Username, secret: &Secret) -> String {
    infra
        .auth
        .vault
        .seal(Kept::Factor, user.as_str(), secret.bytes())
}

fn unreadable() -> Problem {
    Problem::conflict(
        "factor_unreadable",
        "Code cannot be checked",
        "the codes of your app cannot be checked any more, because the shop's key was replaced: use a recovery code, or ask an admin to reset your second factor",
    )
    .with_field("code")
    .with_cause("a second factor was sealed under a SESSION_KEY that is neither this one nor SESSION_KEY_PREVIOUS")
}

/// A second factor that somebody is about to set up.
pub struct Begun {
    /// What the app gets to know.
    pub secret: Secret,
    /// What the browser keeps of it.
    pub kept: String,
}

/// Begins to set one up: somebody has shown their password once more.
pub async fn begin(
    infra: &Infra,
    from: IpAddr,
    caller: &Caller,
    password: String,
) -> Result<Begun, Problem> {
    in_person(caller)?;
    account::show_password(infra, from, caller, password).await?;
    if has_factor(infra, &caller.user).await? {
        return Err(Refusal::HasFactor.into());
    }
    let secret = Secret::generate();
    let kept = half_signed_in::seal_set_up(&infra.auth.vault, &caller.user, &secret);
    Ok(Begun { secret, kept })
}

/// The secret that a browser is setting up, if it is.
pub fn begun(infra: &Infra, user: &Username, kept: Option<&str>) -> Option<Secret> {
    half_signed_in::open_set_up(&infra.auth.vault, user, kept?)
}

/// The app shows its first code: from now on one is asked for. Answers the recovery codes.
pub async fn set_up(
    infra: &Infra,
    origin: &Origin,
    from: ClientAddress,
    caller: &Caller,
    secret: &Secret,
    code: Code,
) -> Result<Vec<String>, Problem> {
    in_person(caller)?;
    let step = match code {
        Code::App(digits) => secret.step_of(&digits, clock::now()),
        Code::Recovery(_) => None,
    };
    let step = step.ok_or(Refusal::WrongCode)?;
    let (shown, recovery) = authenticator::recovery_codes();
    let factor = NewFactor {
        sealed: sealed(infra, &caller.user, secret),
        step,
        recovery,
        from: from.caller().to_string(),
    };
    let keep = here(caller);
    let change = Change::SetUpFactor { factor, keep };
    people::change(infra, origin.by(&caller.user), &caller.user, change).await?;
    Ok(shown)
}

/// Makes other recovery codes.
pub async fn renew_recovery(
    infra: &Infra,
    origin: &Origin,
    from: ClientAddress,
    caller: &Caller,
    password: String,
    code: Code,
) -> Result<Vec<String>, Problem> {
    let (codes, recovery) = authenticator::recovery_codes();
    change(infra, origin, from, caller, password, code, |shown| {
        Change::RenewRecovery { shown, recovery }
    })
    .await?;
    Ok(codes)
}

/// Switches it off.
pub async fn switch_off(
    infra: &Infra,
    origin: &Origin,
    from: ClientAddress,
    caller: &Caller,
    password: String,
    code: Code,
) -> Result<(), Problem> {
    let keep = here(caller);
    change(infra, origin, from, caller, password, code, |shown| {
        Change::DropFactor { shown, keep }
    })
    .await
}

async fn change(
    infra: &Infra,
    origin: &Origin,
    from: ClientAddress,
    caller: &Caller,
    password: String,
    code: Code,
    change: impl FnOnce(Shown) -> Change,
) -> Result<(), Problem> {
    in_person(caller)?;
    if !has_factor(infra, &caller.user).await? {
        return Err(Refusal::NoFactor.into());
    }
    account::show_password(infra, from.caller(), caller, password).await?;
    let by = origin.by(&caller.user);
    showing(infra, from, &caller.user, code, async |shown| {
        people::change(infra, by, &caller.user, change(shown)).await
    })
    .await?;
    Ok(())
}

/// An admin takes somebody's away.
pub async fn reset(
    infra: &Infra,
    origin: &Origin,
    caller: &Caller,
    user: &Username,
) -> Result<(), Problem> {
    account::not_own(
        caller,
        user,
        "this is your own account: switch your second factor off at /account/factor, which asks for a code",
    )?;
    in_person(caller)?;
    people::change(infra, origin.by(&caller.user), user, Change::ResetFactor).await?;
    Ok(())
}

async fn has_factor(infra: &Infra, user: &Username) -> Result<bool, Problem> {
    let known = infra.user(user).await?;
    Ok(known.is_some_and(|known| known.has_factor))
}

fn in_person(caller: &Caller) -> Result<(), Problem> {
    if matches!(caller.credential, Credential::Token(_)) {
        return Err(Problem::forbidden(
            "an API token changes no second factor: sign in at /login for that",
        ));
    }
    Ok(())
}

/// The session that stays.
fn here(caller: &Caller) -> Option<Fingerprint> {
    match &caller.credential {
        Credential::Session(session) => Some(session.clone()),
        Credential::Token(_) | Credential::Name => None,
    }
}
