//! Who has opened the shop: virtual object, one key.
//!
//! Its first admin is made here and nowhere else, in one durable step, so two who open a
//! shop at a time make one admin: the second waits, and is told who was first. A shop
//! whose first admin is none any more can be opened again.

use restate_sdk::prelude::*;
use waybill_domain::account::{Account, NewAccount};
use waybill_domain::audit::Asked;
use waybill_domain::ids::Username;
use waybill_domain::refusal::Refusal;

use crate::account::AccountsClient;
use crate::refuse::refuse;
use crate::signed::{Doors, Signed};
use crate::state::ReadState;
use crate::wire::{OPENED_BY, shop as wire};

/// See the module.
pub struct Shop {
    /// Whose calls are let in.
    pub doors: Doors,
}

/// Who is to be the first admin.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct OpenShop {
    /// Their name.
    pub admin: Username,
    /// The rest.
    pub account: NewAccount,
}

#[restate_sdk::object(name = "Shop")]
impl Shop {
    /// Makes the first admin.
    #[handler(name = "Open")]
    async fn open(
        &self,
        ctx: ObjectContext<'_>,
        asked: Signed<Asked<OpenShop>>,
    ) -> HandlerResult<Json<Account>> {
        let Asked { what, by } = asked.open(&ctx, &self.doors, wire::OPEN)?;
        let OpenShop { admin, account } = what;
        if let Some(first) = ctx.read::<Username>(OPENED_BY).await? {
            let first_account = ctx.object_client::<AccountsClient>(first.as_str());
            if first_account.is_admin().call().await? {
                return Err(refuse(Refusal::ShopOpened { user: first }));
            }
        }
        let made = ctx
            .object_client::<AccountsClient>(admin.as_str())
            .appoint(Json(Asked { what: account, by }))
            .call()
            .await?;
        ctx.set(OPENED_BY, Json(admin));
        Ok(made)
    }
}
