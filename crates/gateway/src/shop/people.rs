//! Who people are, and where they are signed in. The object `Account` in Restate owns
//! that; here it is asked, and what it answers is written down before anybody is told.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use services::account::ChangeAt;
use services::client::{Ingress, outcome};
use tokio::sync::watch;
use waybill_domain::account::{
    Account, Change, Ended, Fingerprint, Link, NewAccount, Proof, Role, Scope, Session, SignIn,
    Token,
};
use waybill_domain::audit::{Asked, By, Origin};
use waybill_domain::ids::Username;
use waybill_domain::refusal::Refusal;
use waybill_domain::update::Update;

use crate::clock;
use crate::http::problem::Problem;
use crate::identity::caller::{Caller, Credential};
use crate::identity::hash_queue::HashQueue;
use crate::identity::{password, secret, token};
use crate::infra::{Infra, Shared};
use crate::settings::edge::PublicUrl;
use crate::storage::accounts;
use crate::storage::users::User;

/// How often to look for people whom Restate has not been told of.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// How long to wait after a failure, such as Restate not being up yet.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long a link works that lets somebody set a password.
const LINK_LIFE: Duration = Duration::from_hours(24);
/// The kind of the problem that an old password is wrong.
pub const WRONG_PASSWORD: &str = "wrong_password";
/// Where commands are given.
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long a request waits for news of a session or a token that is not known.
const HEARD_WITHIN: Duration = Duration::from_millis(250);

/// Where somebody is, as their browser and the network say.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Network address.
    pub address: String,
    /// `User-Agent`.
    pub agent: String,
}

/// Tells Restate of the people that this gateway's own file knows: the demo's, and those
/// of an older version. Runs for as long as the gateway does.
pub async fn announce(infra: Shared) {
    let mut complained = false;
    loop {
        let wait = match announce_untold(&infra).await {
            Ok(()) => {
                complained = false;
                LOOK_AGAIN
            }
            Err(problem) => {
                if !complained {
                    tracing::warn!(
                        cause = problem.cause(),
                        "Restate does not know all people yet, trying again: {}",
                        problem.detail
                    );
                }
                complained = true;
                TRY_AGAIN
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn announce_untold(infra: &Infra) -> Result<(), Problem> {
    for account in accounts::untold(&infra.db).await? {
        adopt(infra, account).await?;
    }
    Ok(())
}

async fn adopt(infra: &Infra, known: Account) -> Result<Account, Problem> {
    let account = adopted(&infra.ingress, known).await?;
    keep(infra, account).await
}

/// Tells Restate of somebody whom it may not know; answers how it knows them.
pub async fn adopted(ingress: &Ingress, known: Account) -> Result<Account, Problem> {
    let (user, version) = (known.user.clone(), known.version.max(1));
    let known = Account { version, ..known };
    Ok(outcome(
        ingress.account(&user).adopt(known.into()).call().await,
    )?)
}

async fn keep(infra: &Infra, account: Account) -> Result<Account, Problem> {
    infra
        .live
        .apply(Update::Account(Box::new(account.clone())))
        .await
        .map_err(Problem::internal)?;
    Ok(account)
}

/// Signs somebody in; answers what their browser keeps.
pub async fn sign_in(
    infra: &Infra,
    by: By,
    user: &Username,
    proof: Proof,
    place: Place,
    instead_of: Option<Fingerprint>,
) -> Result<String, Problem> {
    tell_of(infra, user).await?;
    let (cookie, fingerprint) = infra.auth.sessions.generate();
    let now = clock::now();
    let session = Session {
        fingerprint,
        created_at: now,
        seen_at: now,
        expires_at: now + infra.settings.session_lifetime,
        address: place.address,
        agent: place.agent,
    };
    let asked = infra.ingress.account(user).sign_in(
        Asked {
            what: SignIn {
                proof,
                session,
                instead_of,
            },
            by,
        }
        .into(),
    );
    keep(infra, outcome(asked.call().await)?).await?;
    Ok(cookie)
}

/// Tells Restate of somebody whom it may not know yet.
async fn tell_of(infra: &Infra, user: &Username) -> Result<(), Problem> {
    let known = accounts::account(&infra.db, user).await?;
    if let Some(known) = known.filter(|known| known.version == 0) {
        adopt(infra, known).await?;
    }
    Ok(())
}

/// Signs a browser out. Without Restate it stays signed in, and is told so.
pub async fn sign_out(
    infra: &Infra,
    origin: &Origin,
    session: &Fingerprint,
) -> Result<(), Problem> {
    let Some(shown) = infra.session(session).await? else {
        return Ok(());
    };
    let ended = Ended::One(session.as_str().to_owned());
    let by = origin.by(&shown.user);
    change(infra, by, &shown.user, Change::EndSessions { ended }).await?;
    Ok(())
}

/// Changes an account; once this has answered, it can be read here.
pub async fn change(
    infra: &Infra,
    by: By,
    user: &Username,
    change: Change,
) -> Result<Account, Problem> {
    tell_of(infra, user).await?;
    let account = changed(&infra.ingress, by, user, change).await?;
    keep(infra, account).await
}

/// The same without a gateway that serves: those hear of it from the services.
pub async fn changed(
    ingress: &Ingress,
    by: By,
    user: &Username,
    change: Change,
) -> Result<Account, Problem> {
    let at = clock::now();
    let asked = ChangeAt { change, at, by };
    let asked = ingress.account(user).change(asked.into());
    Ok(outcome(asked.call().await)?)
}

/// How somebody new proves who they are.
#[derive(Debug)]
pub enum First {
    /// With this password.
    Password(String),
    /// With a link, by which they set one.
    Link,
}

/// Makes somebody known; answers the secret of their link, if they get one.
pub async fn created(
    ingress: &Ingress,
    by: By,
    user: &Username,
    role: Role,
    email: &str,
    first: First,
) -> Result<(Account, Option<String>), Problem> {
    let (password_hash, link, secret) = match first {
        First::Password(password) => {
            password::check(&password, &[user.as_str(), email])?;
            (
                Some(hashed(&HashQueue::default(), HERE, password).await?),
                None,
                None,
            )
        }
        First::Link => {
            let (link, secret) = new_link();
            (None, Some(link), Some(secret))
        }
    };
    let asked = ingress.account(user).create(
        Asked {
            what: NewAccount {
                role,
                email: email.to_owned(),
                password_hash,
                link,
                at: clock::now(),
            },
            by,
        }
        .into(),
    );
    let account = outcome(asked.call().await)?;
    Ok((account, secret))
}

/// The same at a gateway that serves.
pub async fn create(
    infra: &Infra,
    by: By,
    user: &Username,
    role: Role,
    email: &str,
    first: First,
) -> Result<Option<String>, Problem> {
    let (account, secret) = created(&infra.ingress, by, user, role, email, first).await?;
    keep(infra, account).await?;
    Ok(secret)
}

/// A link by which its holder sets a password: what is kept, and its secret.
pub fn new_link() -> (Link, String) {
    let secret = secret::generate();
    let link = Link {
        fingerprint: secret::fingerprint(&secret),
        expires_at: clock::now() + LINK_LIFE,
    };
    (link, secret)
}

/// Hashes a new password when it is its turn.
pub async fn hashed(queue: &HashQueue, from: IpAddr, new: String) -> Result<String, Problem> {
    let turn = queue.turn(from, true).await?;
    password::hashed(turn, new).await
}

/// Where a link's secret leads.
pub fn link_path(user: &Username, secret: &str) -> String {
    format!("/password/new?user={user}#{secret}")
}

/// The same as an address; without a public one, below the one that is asked at.
pub fn link(public_url: Option<&PublicUrl>, base: &str, user: &Username, secret: &str) -> String {
    let path = link_path(user, secret);
    match public_url {
        Some(url) => format!("{url}{path}"),
        None => format!("{base}{path}"),
    }
}

/// The holder of a link sets the password. Nobody learns by it who is known.
pub async fn redeem(
    infra: &Infra,
    origin: &Origin,
    from: IpAddr,
    user: &Username,
    secret: &str,
    password: String,
) -> Result<(), Problem> {
    password::check(&password, &[user.as_str()])?;
    let fingerprint = secret::fingerprint(secret);
    // Anybody may ask, so they wait with the strangers.
    let turn = infra.auth.hash_queue.turn(from, false).await?;
    let hash = password::hashed(turn, password).await?;
    let by = origin.by(user);
    let redeemed = change(infra, by, user, Change::Redeem { fingerprint, hash }).await;
    redeemed.map_err(|problem| {
        if problem.kind() == "unknown_user" {
            Refusal::LinkOver.into()
        } else {
            problem
        }
    })?;
    Ok(())
}

/// Somebody changes their own password, and shows the old one.
pub async fn set_password(
    infra: &Infra,
    origin: &Origin,
    from: IpAddr,
    caller: &Caller,
    known: &User,
    old: String,
    new: String,
) -> Result<(), Problem> {
    password::check(&new, &[caller.user.as_str(), &known.email])
        .map_err(|problem| problem.with_field("new_password"))?;
    let turn = infra.auth.hash_queue.turn(from, true).await?;
    if !password::verify(turn, old, known.password_hash.clone()).await? {
        return Err(Problem::wrong_password(
            WRONG_PASSWORD,
            "the old password is wrong: check it and try again",
        )
        .with_field("old_password"));
    }
    let keep = match &caller.credential {
        Credential::Session(session) => Some(session.clone()),
        Credential::Token(_) | Credential::Name => None,
    };
    let hash = hashed(&infra.auth.hash_queue, from, new).await?;
    let was = known.password_hash.clone();
    let by = origin.by(&caller.user);
    let set = Change::Password { hash, was, keep };
    change(infra, by, &caller.user, set).await?;
    Ok(())
}

/// An API token: what is kept, and the token itself, which is shown once.
pub fn new_token(name: String, scope: Scope, life: Option<Duration>) -> (Token, String) {
    let shown = token::generate();
    let now = clock::now();
    let token = Token {
        fingerprint: secret::fingerprint(&shown),
        name,
        scope,
        created_at: now,
        expires_at: life.map(|life| now + life),
        seen_at: None,
    };
    (token, shown)
}

/// Waits a moment for news: what is not known may have been made just now, at another
/// gateway or by a command.
async fn heard(mut people: watch::Receiver<u64>) {
    let _ = tokio::time::timeout(HEARD_WITHIN, people.changed()).await;
}

/// Finds out who shows a session, and notes that it is in use.
pub async fn by_session(infra: &Shared, cookie: &str) -> Result<Option<Caller>, Problem> {
    let Some(session) = infra.auth.sessions.fingerprint(cookie) else {
        return Ok(None);
    };
    let people = infra.live.people();
    let mut shown = infra.session(&session).await?;
    if shown.is_none() {
        heard(people).await;
        shown = infra.session(&session).await?;
    }
    let Some(shown) = shown else { return Ok(None) };
    let (now, idle) = (clock::now(), infra.settings.session_idle);
    let last = infra.auth.sessions.last_seen(&session, shown.seen_at);
    if shown.is_over(now) || last.is_none_or(|last| last + idle <= now) {
        return Ok(None);
    }
    let caller = caller(
        infra,
        &shown.user,
        shown.scope,
        Credential::Session(session.clone()),
    );
    let Some(caller) = caller.await? else {
        return Ok(None);
    };
    if infra.auth.sessions.saw(&session, shown.seen_at, now, idle) {
        tell_seen(infra, shown.user, session);
    }
    Ok(Some(caller))
}

/// Finds out who shows a token, and notes that it is in use.
pub async fn by_token(infra: &Shared, token: &str) -> Result<Option<Caller>, Problem> {
    let token = secret::fingerprint(token);
    let now = clock::now();
    let people = infra.live.people();
    let mut shown = infra.token(&token).await?;
    if shown.is_none() {
        heard(people).await;
        shown = infra.token(&token).await?;
    }
    let Some(shown) = shown.filter(|it| !it.is_over(now)) else {
        return Ok(None);
    };
    let credential = Credential::Token(token.clone());
    let caller = caller(infra, &shown.user, shown.scope, credential).await?;
    let idle = infra.settings.session_idle;
    if caller.is_some() && infra.auth.sessions.saw(&token, shown.seen_at, now, idle) {
        tell_seen(infra, shown.user, token);
    }
    Ok(caller)
}

async fn caller(
    infra: &Infra,
    user: &Username,
    scope: Scope,
    credential: Credential,
) -> Result<Option<Caller>, Problem> {
    let known = infra.user(user).await?.filter(|known| known.is_enabled);
    Ok(known.map(|known| Caller {
        user: user.clone(),
        role: known.role,
        scope,
        credential,
    }))
}

/// Tells Restate in the background. While it is away nothing is told, and nothing lost.
fn tell_seen(infra: &Shared, user: Username, fingerprint: Fingerprint) {
    let infra = Arc::clone(infra);
    tokio::spawn(async move {
        let by = By::from(user.as_str());
        let told = change(&infra, by, &user, Change::Seen { fingerprint }).await;
        if let Err(problem) = told {
            tracing::debug!(cause = problem.cause(), "Restate was not told who is there");
        }
    });
}

/// Whether somebody may still do what they might when they opened what they look at.
pub async fn is_still(infra: &Infra, caller: &Caller) -> Result<(), Problem> {
    let now = clock::now();
    let shown = match &caller.credential {
        Credential::Name => true,
        Credential::Session(session) => {
            let shown = infra.session(session).await?;
            let last = |told| infra.auth.sessions.last_seen(session, told);
            shown.is_some_and(|shown| {
                let idle_since = last(shown.seen_at);
                !shown.is_over(now)
                    && idle_since.is_some_and(|last| last + infra.settings.session_idle > now)
            })
        }
        Credential::Token(token) => {
            let shown = infra.token(token).await?;
            shown.is_some_and(|shown| !shown.is_over(now))
        }
    };
    let known = infra.user(&caller.user).await?;
    let role = match (&caller.credential, known) {
        (_, Some(known)) if known.is_enabled => Some(known.role),
        (Credential::Name, None) => Some(Role::Customer),
        _ => None,
    };
    if shown && role == Some(caller.role) {
        Ok(())
    } else {
        Err(Problem::unauthenticated(
            "you are signed out here: sign in again at /login",
        ))
    }
}
