//! Whose a provider's transaction is: virtual object, key = transaction id.
//!
//! Each transaction is asked for once or twice, so no key is hot. What is
//! claimed stays claimed for ever.

use restate_sdk::prelude::*;
use waybill_domain::payment::{Claimed, TransactionOwner};

use crate::state::ReadState;
use crate::wire::OWNER;

/// See the module.
pub struct PaymentTransaction;

#[restate_sdk::object]
impl PaymentTransaction {
    /// Claims it for an attempt; answers whether it is that attempt's.
    #[handler(name = "Claim", ingress_private = true)]
    async fn claim(
        &self,
        ctx: ObjectContext<'_>,
        Json(owner): Json<TransactionOwner>,
    ) -> HandlerResult<bool> {
        let held = ctx.read::<TransactionOwner>(OWNER).await?;
        Ok(match owner.claims(held.as_ref()) {
            Claimed::Now => {
                ctx.set(OWNER, Json(owner));
                true
            }
            Claimed::Before => true,
            Claimed::Refused => false,
        })
    }
}
