//! Who somebody is to the shop: virtual object, key = user name.
//!
//! It owns the people, their tokens and where they are signed in, and says each
//! change aloud: every gateway's `SQLite` is a copy that it reads, so somebody who is
//! signed in stays so while Restate is away. Secrets are here as hashes only, that of a
//! second factor encrypted under a key that only gateways have. Times
//! come with what is asked, so no handler journals more than a read and a write.

use restate_sdk::prelude::*;
use waybill_domain::Timestamp;
use waybill_domain::account::{Account, Change, NewAccount, Role, Shown, SignIn};
use waybill_domain::audit::{Asked, AuditEntry, By};
use waybill_domain::ids::Username;
use waybill_domain::refusal::Refusal;
use waybill_domain::update::Update;

use crate::audit_log;
use crate::broadcast::UpdateBroadcaster;
use crate::refuse::refuse;
use crate::signed::{Doors, Signed};
use crate::state::ReadState;
use crate::wire::{WHOLE_ACCOUNT, account as wire};

/// See the module.
pub struct Accounts {
    /// Accounts are said aloud.
    pub updates: UpdateBroadcaster,
    /// Whose calls are let in.
    pub doors: Doors,
}

/// A change, and when it was asked for.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct ChangeAt {
    /// What changes.
    pub change: Change,
    /// When.
    pub at: Timestamp,
    /// Who asks.
    #[serde(default)]
    pub by: By,
}

#[restate_sdk::object(name = "Account")]
impl Accounts {
    /// Makes somebody known.
    #[handler(name = "Create")]
    async fn create(
        &self,
        ctx: ObjectContext<'_>,
        new: Signed<Asked<NewAccount>>,
    ) -> HandlerResult<Json<Account>> {
        let new = new.open(&ctx, &self.doors, wire::CREATE)?;
        self.made(&ctx, new).await
    }

    /// The same, asked by the shop, whose first admin it is.
    #[handler(name = "Appoint", ingress_private = true)]
    async fn appoint(
        &self,
        ctx: ObjectContext<'_>,
        Json(new): Json<Asked<NewAccount>>,
    ) -> HandlerResult<Json<Account>> {
        self.made(&ctx, new).await
    }

    /// Whether this is an admin who may sign in: for the shop.
    #[handler(name = "IsAdmin", ingress_private = true)]
    async fn is_admin(&self, ctx: SharedObjectContext<'_>) -> HandlerResult<bool> {
        let account = ctx.read::<Account>(WHOLE_ACCOUNT).await?;
        Ok(account.is_some_and(|it| it.role == Role::Admin && it.is_enabled()))
    }

    /// Takes somebody over whom a gateway knows from its own file: the demo's
    /// people, and those of an older version. Whoever is known here stays as they are.
    #[handler(name = "Adopt")]
    async fn adopt(
        &self,
        ctx: ObjectContext<'_>,
        known: Signed<Account>,
    ) -> HandlerResult<Json<Account>> {
        let known = known.open(&ctx, &self.doors, wire::ADOPT)?;
        if let Some(account) = account(&ctx).await? {
            return Ok(Json(account));
        }
        let user = user(&ctx)?;
        Ok(self.keep(&ctx, Account { user, ..known }))
    }

    /// Signs somebody in, if what they have shown is good still.
    #[handler(name = "SignIn")]
    async fn sign_in(
        &self,
        ctx: ObjectContext<'_>,
        asked: Signed<Asked<SignIn>>,
    ) -> HandlerResult<Json<Account>> {
        let Asked { what: asked, by } = asked.open(&ctx, &self.doors, wire::SIGN_IN)?;
        let at = asked.session.created_at;
        let before = account(&ctx).await?;
        let second = asked.second.clone();
        let account = match asked.to(user(&ctx)?, before.clone()) {
            Ok(account) => account,
            Err(no) => return Err(self.refused(&ctx, no, before, second, at, by)),
        };
        if let Some(before) = &before
            && let Some(entry) =
                AuditEntry::second_shown(second.as_ref(), before, &account, at, &by)
        {
            audit_log::hand_over(&ctx, entry);
        }
        for entry in AuditEntry::signed_in(before.as_ref(), &account, at, &by) {
            audit_log::hand_over(&ctx, entry);
        }
        Ok(self.keep(&ctx, account))
    }

    /// Changes an account. What is so already stays.
    #[handler(name = "Change")]
    async fn change(
        &self,
        ctx: ObjectContext<'_>,
        asked: Signed<ChangeAt>,
    ) -> HandlerResult<Json<Account>> {
        let ChangeAt { change, at, by } = asked.open(&ctx, &self.doors, wire::CHANGE)?;
        let user = user(&ctx)?;
        let account = account(&ctx).await?;
        let account = account.ok_or_else(|| refuse(Refusal::UnknownUser { user }))?;
        let changed = match change.clone().to(&account, at) {
            Ok(changed) => changed,
            Err(no) => {
                let shown = change.shown().cloned();
                return Err(self.refused(&ctx, no, Some(account), shown, at, by));
            }
        };
        Ok(match changed {
            Some(after) => {
                let shown = change.shown();
                let entry = AuditEntry::second_shown(shown, &account, &after, at, &by);
                if let Some(entry) = entry {
                    audit_log::hand_over(&ctx, entry);
                }
                let account = after;
                if let Some(entry) = AuditEntry::changed(&change, &account, at, by) {
                    audit_log::hand_over(&ctx, entry);
                }
                self.keep(&ctx, account)
            }
            None => Json(account),
        })
    }
}

impl Accounts {
    async fn made(
        &self,
        ctx: &ObjectContext<'_>,
        Asked { what: new, by }: Asked<NewAccount>,
    ) -> HandlerResult<Json<Account>> {
        let user = user(ctx)?;
        if account(ctx).await?.is_some() {
            return Err(refuse(Refusal::UserExists { user }));
        }
        let account = new.of(user).map_err(refuse)?;
        audit_log::hand_over(ctx, AuditEntry::user_made(&account, by));
        Ok(self.keep(ctx, account))
    }

    /// A refusal. A wrong code is counted in the same step, so nobody guesses for free,
    /// however many gateways they ask at once.
    fn refused(
        &self,
        ctx: &ObjectContext<'_>,
        no: Refusal,
        account: Option<Account>,
        shown: Option<Shown>,
        at: Timestamp,
        by: By,
    ) -> HandlerError {
        if no == Refusal::WrongCode
            && let (Some(account), Some(shown)) = (account, shown)
            && let Some(after) = account.after_wrong_code(&shown, at)
        {
            audit_log::hand_over(ctx, AuditEntry::code_wrong(&after, at, by));
            let _ = self.keep(ctx, after);
        }
        refuse(no)
    }

    fn keep(&self, ctx: &ObjectContext<'_>, account: Account) -> Json<Account> {
        ctx.set(WHOLE_ACCOUNT, Json(account.clone()));
        self.updates
            .publish(&Update::Account(Box::new(account.clone())));
        Json(account)
    }
}

fn user(ctx: &ObjectContext<'_>) -> HandlerResult<Username> {
    Username::parse(ctx.key()).map_err(refuse)
}

async fn account(ctx: &ObjectContext<'_>) -> HandlerResult<Option<Account>> {
    Ok(ctx.read(WHOLE_ACCOUNT).await?)
}
