//! What `gateway user …` and `gateway token …` do. They ask Restate, which tells every
//! gateway that serves; none has to run for it. So do [`catalog`] and [`init`].

pub mod catalog;
pub mod init;

use std::io::{self, BufRead as _, IsTerminal as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Subcommand;
use futures::TryStreamExt as _;
use process::say;
use process::settings::duration;
use waybill_domain::Timestamp;
use waybill_domain::account::{Account, Change, Ended, Identity, NewAccount, Role, Scope};
use waybill_domain::audit::By;
use waybill_domain::ids::Username;

use crate::clock;
use crate::http::problem::Problem;
use crate::identity::password;
use crate::restate::admin::AdminApi;
use crate::restate::states::{AccountRow, accounts_sql};
use crate::settings::Settings;
use crate::shop::people;
use crate::storage::accounts;
use crate::storage::db::Db;

/// `gateway user …`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make somebody known. The password is asked for, or is the first line of the
    /// standard input; with --link, a link is printed by which they set it themselves.
    Create {
        /// User name: letters, digits, '-' and '_'.
        #[arg(value_parser = username)]
        name: Username,
        /// What they may do: customer, support, approver or admin.
        #[arg(long, default_value = "customer", value_parser = role)]
        role: Role,
        /// E-mail address.
        #[arg(long)]
        email: String,
        /// Print a link that works once, for a day.
        #[arg(long)]
        link: bool,
    },
    /// Set a password, as for `create`. Signs them out everywhere.
    Passwd {
        /// Whose.
        #[arg(value_parser = username)]
        name: Username,
        /// Print a link that works once, for a day.
        #[arg(long)]
        link: bool,
    },
    /// Give somebody another role. Signs them out everywhere.
    Role {
        /// Whom.
        #[arg(value_parser = username)]
        name: Username,
        /// Which: customer, support, approver or admin.
        #[arg(value_parser = role)]
        role: Role,
    },
    /// Let somebody sign in no more. Signs them out everywhere; their tokens stop.
    Disable {
        /// Whom.
        #[arg(value_parser = username)]
        name: Username,
    },
    /// Let somebody sign in again.
    Enable {
        /// Whom.
        #[arg(value_parser = username)]
        name: Username,
    },
    /// Let somebody sign in at the identity provider (`OIDC_ISSUER`) who has an account here
    /// already. Signs them out everywhere.
    Bind {
        /// Whom.
        #[arg(value_parser = username)]
        name: Username,
        /// Who they are to the provider: the claim `sub`, not a name. Without it they are
        /// nobody there any more.
        subject: Option<String>,
    },
    /// Take somebody's second factor away, for instance when their phone is lost. Signs
    /// them out everywhere.
    ResetFactor {
        /// Whose.
        #[arg(value_parser = username)]
        name: Username,
    },
    /// Sign somebody out everywhere.
    SignOut {
        /// Whom.
        #[arg(value_parser = username)]
        name: Username,
    },
    /// List everybody: name, role, state, second factor, places where they are signed in,
    /// tokens, e-mail.
    List,
}

/// `gateway token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it; it is not shown again.
    Create {
        /// Whose token.
        #[arg(long, value_parser = username)]
        user: Username,
        /// What it is for.
        #[arg(long, default_value = "cli")]
        name: String,
        /// What it may do: read, or full (all that its owner may).
        #[arg(long, default_value = "full", value_parser = scope)]
        scope: Scope,
        /// When it ends by itself, e.g. 90d. Without it, when it is revoked.
        #[arg(long, value_parser = duration)]
        expires: Option<Duration>,
    },
    /// List a user's tokens: id, name, scope, when made, last used, when it ends.
    List {
        /// Whose tokens.
        #[arg(long, value_parser = username)]
        user: Username,
    },
    /// Make a token useless.
    Revoke {
        /// Its id, from `token list`.
        id: String,
    },
}

fn username(raw: &str) -> Result<Username, String> {
    Username::parse(raw).map_err(|refusal| refusal.to_string())
}

fn role(raw: &str) -> Result<Role, String> {
    Role::parse(raw).ok_or_else(|| "it must be customer, support, approver or admin".to_owned())
}

fn scope(raw: &str) -> Result<Scope, String> {
    Scope::parse(raw).ok_or_else(|| "it must be read or full".to_owned())
}

/// Runs a command about users.
///
/// # Errors
/// A sentence for the operator.
pub async fn user(settings: &Settings, command: UserCommand) -> anyhow::Result<()> {
    let change = |name, change| people_changed(settings, name, change);
    match command {
        UserCommand::Create {
            name,
            role,
            email,
            link,
        } => {
            let (link, secret) = link.then(people::new_link).unzip();
            let password_hash = match link {
                Some(_) => None,
                None => Some(hash_of_new_password(&[name.as_str(), &email])?),
            };
            let new = NewAccount {
                role,
                email,
                password_hash,
                link,
                at: clock::now(),
            };
            let created = people::created(&ingress(settings)?, By::operator(), &name, new).await;
            let account = created.map_err(said)?;
            match secret {
                Some(secret) => say(&link_of(settings, &account.user, &secret)),
                None => say(&format!(
                    "{} is known now, as {}",
                    account.user, account.role
                )),
            }
        }
        UserCommand::Passwd { name, link: true } => {
            let (link, secret) = people::new_link();
            let account = change(&name, Change::Link { link }).await?;
            say(&link_of(settings, &account.user, &secret))
        }
        UserCommand::Passwd { name, link: false } => {
            let hash = hash_of_new_password(&[name.as_str()])?;
            let (was, keep) = (None, None);
            change(&name, Change::Password { hash, was, keep }).await?;
            say(&format!(
                "{name} has a new password, and is signed out everywhere"
            ))
        }
        UserCommand::Role { name, role } => {
            change(&name, Change::Role { role }).await?;
            say(&format!("{name} is {role} now"))
        }
        UserCommand::Disable { name } => {
            change(&name, Change::Disable).await?;
            say(&format!("{name} may not sign in any more"))
        }
        UserCommand::Enable { name } => {
            change(&name, Change::Enable).await?;
            say(&format!("{name} may sign in again"))
        }
        UserCommand::Bind { name, subject } => {
            let issuer = settings.oidc.issuer();
            let identity = match subject {
                Some(subject) => {
                    let issuer = issuer.ok_or_else(|| {
                        anyhow!("OIDC_ISSUER is missing: set it as for the gateway")
                    })?;
                    Some(Identity::of(issuer, &subject)?)
                }
                None => None,
            };
            let is_bound = identity.is_some();
            change(&name, Change::Bind { identity }).await?;
            say(&if is_bound {
                format!("{name} signs in at the identity provider now")
            } else {
                format!("{name} is nobody at the identity provider any more")
            })
        }
        UserCommand::ResetFactor { name } => {
            change(&name, Change::ResetFactor).await?;
            say(&format!(
                "{name} has no second factor any more, and is signed out everywhere"
            ))
        }
        UserCommand::SignOut { name } => {
            let ended = Ended::All;
            change(&name, Change::EndSessions { ended }).await?;
            say(&format!("{name} is signed out everywhere"))
        }
        UserCommand::List => {
            for account in everybody(settings).await? {
                say(&line_of(&account))?;
            }
            Ok(())
        }
    }
}

/// A path, or the whole address where the shop has a public one.
fn link_of(settings: &Settings, user: &Username, secret: &str) -> String {
    let path = people::link_path(user, secret);
    match settings.edge.public_url() {
        Some(url) => format!("{url}{path}"),
        None => path,
    }
}

fn line_of(account: &Account) -> String {
    let state = match (account.disabled_at, &account.password_hash, &account.link) {
        (Some(_), ..) => "disabled",
        (None, Some(_), _) => "enabled",
        (None, None, _) if account.identity.is_some() => "provider's",
        (None, None, Some(_)) => "invited",
        (None, None, None) => "no password",
    };
    let factor = match &account.factor {
        Some(_) => "second factor",
        None => "password alone",
    };
    format!(
        "{}\t{}\t{state}\t{factor}\t{} signed in\t{} tokens\t{}",
        account.user,
        account.role,
        account.sessions.len(),
        account.tokens.len(),
        account.email,
    )
}

/// Runs a command about tokens.
///
/// # Errors
/// A sentence for the operator.
pub async fn token(settings: &Settings, command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create {
            user,
            name,
            scope,
            expires,
        } => {
            let (token, shown) = people::new_token(name, scope, expires);
            people_changed(settings, &user, Change::AddToken { token }).await?;
            say(&shown)
        }
        TokenCommand::List { user } => {
            let all = everybody(settings).await?;
            let account = all.into_iter().find(|account| account.user == user);
            let account = account.ok_or_else(|| anyhow!("there is no user {user}"))?;
            let at = |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| at.to_string());
            for token in account.tokens {
                say(&format!(
                    "{}\t{}\t{}\tmade {}\tused {}\tends {}",
                    token.fingerprint.short(),
                    token.name,
                    token.scope,
                    token.created_at,
                    at(token.seen_at),
                    at(token.expires_at),
                ))?;
            }
            Ok(())
        }
        TokenCommand::Revoke { id } => {
            let all = everybody(settings).await?;
            let is_it = |account: &&Account| {
                let mut tokens = account.tokens.iter();
                id.len() >= 6 && tokens.any(|token| token.fingerprint.as_str().starts_with(&id))
            };
            let Some(account) = all.iter().find(is_it) else {
                bail!("there is no token {id}: see `gateway token list --user NAME`");
            };
            let change = Change::RevokeToken { token: id };
            people_changed(settings, &account.user, change).await?;
            say("revoked")
        }
    }
}

fn ingress(settings: &Settings) -> anyhow::Result<services::client::Ingress> {
    services::client::connect(&settings.restate_ingress(), settings.internal_token())
}

async fn people_changed(
    settings: &Settings,
    user: &Username,
    change: Change,
) -> anyhow::Result<Account> {
    let ingress = ingress(settings)?;
    if let Some(known) = untold(settings, user).await? {
        people::adopted(&ingress, known).await.map_err(said)?;
    }
    let changed = people::changed(&ingress, By::operator(), user, change).await;
    let account = changed.map_err(said)?;
    write_down(settings, &account).await?;
    Ok(account)
}

/// Into the gateway's file, if there is one: a gateway that does not run hears nothing,
/// and may look at who is in it before it listens.
async fn write_down(settings: &Settings, account: &Account) -> anyhow::Result<()> {
    let Ok(db) = Db::open_existing(&settings.database_url).await else {
        return Ok(());
    };
    let mut transaction = db.begin().await?;
    accounts::write(&mut transaction, account).await?;
    transaction.commit().await?;
    db.close().await;
    Ok(())
}

/// Somebody whom only the gateway's own file knows yet.
async fn untold(settings: &Settings, user: &Username) -> anyhow::Result<Option<Account>> {
    let Ok(db) = Db::open_existing(&settings.database_url).await else {
        return Ok(None);
    };
    let known = accounts::account(&db, user).await?;
    db.close().await;
    Ok(known.filter(|known| known.version == 0))
}

/// Everybody whom Restate knows, by name.
async fn everybody(settings: &Settings) -> anyhow::Result<Vec<Account>> {
    let admin_api = AdminApi::new(settings.restate_admin(), reqwest::Client::new());
    let rows: Vec<AccountRow> = admin_api.query_rows(accounts_sql()).try_collect().await?;
    let accounts: Result<Vec<_>, _> = rows.iter().map(AccountRow::account).collect();
    let mut accounts = accounts.context("Restate holds an account that cannot be read")?;
    accounts.sort_by(|a, b| a.user.cmp(&b.user));
    Ok(accounts)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn said(problem: Problem) -> anyhow::Error {
    match problem.cause() {
        Some(cause) => anyhow!("{} ({cause})", problem.detail),
        None => anyhow!("{}", problem.detail),
    }
}

/// Asks for a new password that is good enough for somebody of whom one knows `about`.
fn hash_of_new_password(about: &[&str]) -> anyhow::Result<String> {
    let password = new_password()?;
    password::check(&password, about).map_err(said)?;
    password::hash(&password, None)
}

/// Asks for a new password, twice; where nobody can be asked, it is the first line of
/// the standard input. Nothing is left out of it but the end of that line.
fn new_password() -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        let first = rpassword::prompt_password("New password: ")?;
        let again = rpassword::prompt_password("The same again: ")?;
        if first != again {
            bail!("the two passwords differ: try again");
        }
        return Ok(first);
    }
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .context("the password could not be read from the standard input")?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
