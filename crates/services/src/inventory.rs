//! Stock of one product: virtual object, key = SKU.
//!
//! Each open reservation is a state key of its own. What comes with a call is
//! bounded (`eager-state-size-limit` in restate.toml), and `level` is at its front;
//! the rest is loaded when it is asked for. So a popular product costs little more
//! with ten thousand open orders than with one.

use std::time::Duration;

use restate_sdk::prelude::*;
use waybill_domain::Timestamp;
use waybill_domain::after_sales::{ForgottenReturn, ReturnedPieces};
use waybill_domain::audit::{Asked, AuditEntry};
use waybill_domain::idempotency::Answered;
use waybill_domain::ids::Sku;
use waybill_domain::placement::Hold;
use waybill_domain::refusal::Refusal;
use waybill_domain::stock::{
    EndReservation, InitialStock, Reservation, Reserve, Restock, StockLevel,
};
use waybill_domain::update::Update;

use crate::audit_log;
use crate::broadcast::UpdateBroadcaster;
use crate::clock::Clock;
use crate::once::{Begun, Write};
use crate::refuse::refuse;
use crate::signed::{Doors, Signed};
use crate::state::ReadState;
use crate::wire::inventory as wire;
use crate::wire::{LEVEL, RESERVATION, reservation_key, returned_key};

/// See the module.
pub struct Inventory {
    /// Levels are said aloud.
    pub updates: UpdateBroadcaster,
    /// Whose calls are let in.
    pub doors: Doors,
    /// How long pieces are kept for a customer who has not paid.
    pub payment_window: Duration,
    /// How long they are kept for an approver who has not decided.
    pub approval_window: Duration,
}

#[restate_sdk::object]
impl Inventory {
    /// Sets the first level. Later calls change nothing: the gateway tells its
    /// catalog at every start.
    #[handler(name = "Stock")]
    async fn stock(
        &self,
        ctx: ObjectContext<'_>,
        initial: Signed<InitialStock>,
    ) -> HandlerResult<Json<StockLevel>> {
        let initial = initial.open(&ctx, &self.doors, wire::STOCK)?;
        self.first_level(&ctx, initial).await
    }

    /// The same, told by the catalog that has a new product.
    #[handler(name = "Begin", ingress_private = true)]
    async fn begin(
        &self,
        ctx: ObjectContext<'_>,
        Json(initial): Json<InitialStock>,
    ) -> HandlerResult<()> {
        self.first_level(&ctx, initial).await.map(drop)
    }

    /// Keeps pieces for a payment attempt, once. Another number than before
    /// takes its place: a checkout that was killed may have asked for it.
    #[handler(name = "Reserve", ingress_private = true)]
    async fn reserve(
        &self,
        ctx: ObjectContext<'_>,
        Json(wanted): Json<Reserve>,
    ) -> HandlerResult<Json<Reservation>> {
        let key = reservation_key(&wanted.attempt);
        let kept = ctx.read::<u32>(&key).await?;
        let now = ctx.time_of(wanted.at).await?;
        let reserved = Reservation::Reserved {
            hold: Some(self.hold(now)),
        };
        if kept == Some(wanted.quantity) {
            return Ok(Json(reserved));
        }
        let Some(level) = ctx.read::<StockLevel>(LEVEL).await? else {
            // Not known is not zero.
            return Ok(Json(Reservation::Short {
                available: 0,
                unknown: true,
            }));
        };
        let level = match kept {
            Some(quantity) => level.release(quantity, now),
            None => level,
        };
        let available = level.available;
        match level.reserve(wanted.quantity, now) {
            Ok(level) => {
                ctx.set(&key, wanted.quantity);
                self.write(&ctx, level);
                Ok(Json(reserved))
            }
            Err(_) => Ok(Json(Reservation::Short {
                available,
                unknown: false,
            })),
        }
    }

    /// Gives a payment attempt's pieces back, once, but those that it keeps; nothing
    /// reserved is fine.
    #[handler(name = "Release", ingress_private = true)]
    async fn release(
        &self,
        ctx: ObjectContext<'_>,
        Json(ended): Json<EndReservation>,
    ) -> HandlerResult<()> {
        self.end_reservation(&ctx, ended, StockLevel::release).await
    }

    /// Books a payment attempt's pieces as delivered, once.
    #[handler(name = "Commit", ingress_private = true)]
    async fn commit(
        &self,
        ctx: ObjectContext<'_>,
        Json(ended): Json<EndReservation>,
    ) -> HandlerResult<()> {
        self.end_reservation(&ctx, ended, StockLevel::commit).await
    }

    /// Adds pieces.
    #[handler(name = "Restock")]
    async fn restock(
        &self,
        ctx: ObjectContext<'_>,
        restock: Signed<Asked<Restock>>,
    ) -> HandlerResult<Json<Answered<StockLevel>>> {
        let Asked { what: restock, by } = restock.open(&ctx, &self.doors, wire::RESTOCK)?;
        let begun = Write::begin(&ctx).await?;
        let Some(level) = ctx.read::<StockLevel>(LEVEL).await? else {
            let sku = Sku::parse(ctx.key()).map_err(refuse)?;
            return Err(refuse(Refusal::StockUnknown { sku }));
        };
        let Begun::New(write) = begun else {
            return Ok(Json(Answered::again(level)));
        };
        let now = ctx.now().await?;
        let level = level.restock(restock.quantity, now).map_err(refuse)?;
        write.keep(&ctx);
        let entry = AuditEntry::restocked(&level, restock.quantity, by);
        audit_log::hand_over(&ctx, entry);
        let Json(level) = self.write(&ctx, level);
        Ok(Json(Answered::now(level)))
    }

    /// Puts pieces back that came with a return, once.
    #[handler(name = "Returned", ingress_private = true)]
    async fn returned(
        &self,
        ctx: ObjectContext<'_>,
        Json(pieces): Json<ReturnedPieces>,
    ) -> HandlerResult<()> {
        let key = returned_key(&pieces.order_id, pieces.number);
        if ctx.read::<u32>(&key).await?.is_some() {
            return Ok(());
        }
        let Some(level) = ctx.read::<StockLevel>(LEVEL).await? else {
            return Ok(());
        };
        ctx.set(&key, pieces.quantity);
        self.write(&ctx, level.take_back(pieces.quantity, pieces.at));
        Ok(())
    }

    /// Forgets that pieces came back with a return: nobody says so again, for its order is
    /// forgotten.
    #[handler(name = "ForgetReturn", ingress_private = true)]
    async fn forget_return(
        &self,
        ctx: ObjectContext<'_>,
        Json(of): Json<ForgottenReturn>,
    ) -> HandlerResult<()> {
        let key = returned_key(&of.order_id, of.number);
        if ctx.read::<u32>(&key).await?.is_some() {
            ctx.clear(&key);
        }
        Ok(())
    }

    /// Counts the open reservations and makes the level fit them; answers the
    /// level. One that fits is left as it is.
    #[handler(name = "Recount")]
    async fn recount(
        &self,
        ctx: ObjectContext<'_>,
        nothing: Signed<()>,
    ) -> HandlerResult<Json<Option<StockLevel>>> {
        nothing.open(&ctx, &self.doors, wire::RECOUNT)?;
        let Some(level) = ctx.read::<StockLevel>(LEVEL).await? else {
            return Ok(Json(None));
        };
        let mut reserved = 0;
        for key in ctx.get_keys().await? {
            if key.starts_with(RESERVATION) {
                reserved += u64::from(ctx.read::<u32>(&key).await?.unwrap_or_default());
            }
        }
        if level.adds_up() && level.reserved == reserved {
            return Ok(Json(Some(level)));
        }
        let now = ctx.now().await?;
        let recounted = level.recounted(reserved, now).ok_or_else(|| {
            refuse(Refusal::invalid(
                "sku",
                format!(
                    "more of {} is reserved and sold than there ever was: restock it first",
                    ctx.key()
                ),
            ))
        })?;
        Ok(Json(Some(self.write(&ctx, recounted).into_inner())))
    }

    /// The level of now, if the product is known.
    #[handler(name = "Available")]
    async fn available(
        &self,
        ctx: SharedObjectContext<'_>,
        nothing: Signed<()>,
    ) -> HandlerResult<Json<Option<StockLevel>>> {
        nothing.open(&ctx, &self.doors, wire::AVAILABLE)?;
        let level = ctx.read::<StockLevel>(LEVEL).await?;
        Ok(Json(level))
    }
}

impl Inventory {
    async fn first_level(
        &self,
        ctx: &ObjectContext<'_>,
        initial: InitialStock,
    ) -> HandlerResult<Json<StockLevel>> {
        if let Some(level) = ctx.read::<StockLevel>(LEVEL).await? {
            return Ok(Json(level));
        }
        let sku = Sku::parse(ctx.key()).map_err(refuse)?;
        let now = ctx.now().await?;
        Ok(self.write(ctx, StockLevel::initial(sku, initial.quantity, now)))
    }

    /// How long pieces are kept that are reserved now.
    fn hold(&self, now: Timestamp) -> Hold {
        Hold {
            pay_until: now + self.payment_window,
            approve_within_ms: u64::try_from(self.approval_window.as_millis()).unwrap_or(u64::MAX),
        }
    }

    async fn end_reservation(
        &self,
        ctx: &ObjectContext<'_>,
        ended: EndReservation,
        end: fn(StockLevel, u32, Timestamp) -> StockLevel,
    ) -> HandlerResult<()> {
        let key = reservation_key(&ended.attempt);
        let quantity = ctx.read::<u32>(&key).await?.unwrap_or_default();
        let Some(quantity) = quantity.checked_sub(ended.keep).filter(|it| *it > 0) else {
            return Ok(());
        };
        let Some(level) = ctx.read::<StockLevel>(LEVEL).await? else {
            return Ok(());
        };
        let now = ctx.time_of(ended.at).await?;
        match ended.keep {
            0 => ctx.clear(&key),
            keep => ctx.set(&key, keep),
        }
        self.write(ctx, end(level, quantity, now));
        Ok(())
    }

    fn write(&self, ctx: &ObjectContext<'_>, level: StockLevel) -> Json<StockLevel> {
        ctx.set(LEVEL, Json(level.clone()));
        self.updates.publish(&Update::Stock(level.clone()));
        Json(level)
    }
}
