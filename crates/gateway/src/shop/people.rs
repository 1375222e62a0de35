//! Who people are, and where they are signed in. The object `Account` in Restate owns
//! that; here it is asked, and what it answers is written down before anybody is told.
//! Who shows what of it with a request: [`super::credentials`].

use std::net::IpAddr;
use std::time::Duration;

use services::account::ChangeAt;
use services::client::{Ingress, outcome};
use services::shop::OpenShop;
use waybill_domain::account::{
    Account, Change, Ended, Fingerprint, Link, NewAccount, Proof, Scope, Session, Shown, SignIn,
    Token, Way,
};
use waybill_domain::audit::{Asked, By, Origin};
use waybill_domain::ids::Username;
use waybill_domain::refusal::Refusal;
use waybill_domain::update::Update;

use super::patience::Patience;
use crate::clock;
use crate::http::problem::Problem;
use crate::identity::caller::{Caller, Credential};
use crate::identity::{password, secret, token};
use crate::infra::{Infra, Shared};
use crate::storage::accounts;
use crate::storage::users::User;

/// How long a link works that lets somebody set a password.
const LINK_LIFE: Duration = Duration::from_hours(24);

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
    let mut patience = Patience::new("Restate does not know all people yet");
    loop {
        let told = announce_untold(&infra).await;
        tokio::time::sleep(patience.after(told)).await;
    }
}

/// Tries everybody: one who cannot be told of is in nobody's way.
async fn announce_untold(infra: &Infra) -> Result<(), Problem> {
    let mut failed = Ok(());
    for account in accounts::untold(&infra.db).await? {
        if let Err(problem) = adopt(infra, account).await {
            failed = Err(problem);
        }
    }
    failed
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
        .map_err(Problem::not_kept)?;
    Ok(account)
}

/// Signs somebody in; answers what their browser keeps.
pub async fn sign_in(
    infra: &Infra,
    by: By,
    user: &Username,
    proof: Proof,
    second: Option<Shown>,
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
        // `Account` says how.
        way: Way::default(),
    };
    let asked = infra.ingress.account(user).sign_in(
        Asked {
            what: SignIn {
                proof,
                second,
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

/// Tells Restate of somebody whom only this gateway's file knows.
async fn tell_of(infra: &Infra, user: &Username) -> Result<(), Problem> {
    if infra.user(user).await?.is_none_or(|known| known.is_told) {
        return Ok(());
    }
    if let Some(known) = accounts::account(&infra.db, user).await? {
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

/// Makes somebody known.
pub async fn create(
    infra: &Infra,
    by: By,
    user: &Username,
    new: NewAccount,
) -> Result<Account, Problem> {
    let account = created(&infra.ingress, by, user, new).await?;
    keep(infra, account).await
}

/// The same without a gateway that serves.
pub async fn created(
    ingress: &Ingress,
    by: By,
    user: &Username,
    new: NewAccount,
) -> Result<Account, Problem> {
    let asked = ingress.account(user).create(Asked { what: new, by }.into());
    Ok(outcome(asked.call().await)?)
}

/// Makes the first admin of a shop that has none.
pub async fn opened(
    ingress: &Ingress,
    by: By,
    user: &Username,
    new: NewAccount,
) -> Result<Account, Problem> {
    let what = OpenShop {
        admin: user.clone(),
        account: new,
    };
    let asked = ingress.shop().open(Asked { what, by }.into());
    Ok(outcome(asked.call().await)?)
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

/// Where a link's secret leads.
pub fn link_path(user: &Username, secret: &str) -> String {
    format!("/password/new?user={user}#{secret}")
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
        let detail = "the old password is wrong: check it and try again";
        return Err(Problem::wrong_password(detail).with_field("old_password"));
    }
    let keep = match &caller.credential {
        Credential::Session(session) => Some(session.clone()),
        Credential::Token(_) | Credential::Name => None,
    };
    let turn = infra.auth.hash_queue.turn(from, true).await?;
    let hash = password::hashed(turn, new).await?;
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
