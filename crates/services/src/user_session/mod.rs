//! A user's cart, checkouts and payments: virtual object, key = user name.
//!
//! Exclusive handlers await nothing but `Inventory`, whose a transaction is, and
//! a workflow's answer whether it is still there, so a pending payment never
//! blocks the cart: the long wait is [`await_payment`](UserSession::await_payment), a shared handler
//! that changes nothing itself.

mod attempt;
mod checkout;

use std::time::Duration;

use restate_sdk::prelude::*;
use waybill_domain::basket::{AddItem, Basket, RemoveItem, UpdateItem};
use waybill_domain::checkout::{
    AwaitPayment, CallbackAnswer, CancelAnswer, CancelOrder, Checkout, CheckoutAnswer, HandedOver,
    Marker, PaymentCallback, PaymentOpened, Settle, TakeBack,
};
use waybill_domain::idempotency::Answered;
use waybill_domain::ids::{OrderId, Username};
use waybill_domain::order::{Compensable, OrderRecord, OrderStatus};
use waybill_domain::refusal::Refusal;
use waybill_domain::session::Effect;
use waybill_domain::update::{ReadMark, Update};

use crate::broadcast::UpdateBroadcaster;
use crate::once::{Begun, Write};
use crate::order_fulfillment::OrderFulfillmentWorkflowClient;
use crate::payment::PaymentServiceClient;
use crate::refuse::refuse;
use crate::signed::{Doors, Signed};
use crate::state::ReadState;
use crate::story;
use crate::wire::user_session as wire;
use crate::wire::{BASKET, READ_MARK, late_key, marker_key};

/// See the module.
pub struct UserSession {
    /// Baskets and orders are said aloud.
    pub updates: UpdateBroadcaster,
    /// Whose calls are let in.
    pub doors: Doors,
    /// How long an ended order is remembered here.
    pub order_retention: Duration,
}

#[restate_sdk::object(idempotency_retention = "1 minute")]
impl UserSession {
    /// Adds pieces of a product.
    #[handler(name = "AddItem")]
    async fn add_item(
        &self,
        ctx: ObjectContext<'_>,
        item: Signed<AddItem>,
    ) -> HandlerResult<Json<Answered<Basket>>> {
        let item = item.open(&ctx, &self.doors, wire::ADD_ITEM)?;
        self.change(&ctx, |basket| basket.add(item.product, item.quantity))
            .await
    }

    /// Sets the quantity of a product that is in the basket.
    #[handler(name = "UpdateItem")]
    async fn update_item(
        &self,
        ctx: ObjectContext<'_>,
        item: Signed<UpdateItem>,
    ) -> HandlerResult<Json<Answered<Basket>>> {
        let item = item.open(&ctx, &self.doors, wire::UPDATE_ITEM)?;
        self.change(&ctx, |basket| basket.update(&item.sku, item.quantity))
            .await
    }

    /// Takes a product out.
    #[handler(name = "RemoveItem")]
    async fn remove_item(
        &self,
        ctx: ObjectContext<'_>,
        item: Signed<RemoveItem>,
    ) -> HandlerResult<Json<Answered<Basket>>> {
        let item = item.open(&ctx, &self.doors, wire::REMOVE_ITEM)?;
        self.change(&ctx, |basket| Ok(basket.remove(&item.sku)))
            .await
    }

    /// Takes everything out.
    #[handler(name = "ClearBasket")]
    async fn clear_basket(
        &self,
        ctx: ObjectContext<'_>,
        nothing: Signed<()>,
    ) -> HandlerResult<Json<Answered<Basket>>> {
        nothing.open(&ctx, &self.doors, wire::CLEAR_BASKET)?;
        self.change(&ctx, |basket| Ok(basket.clear())).await
    }

    /// The basket of now.
    #[handler(name = "GetBasket", lazy_state)]
    async fn get_basket(
        &self,
        ctx: SharedObjectContext<'_>,
        nothing: Signed<()>,
    ) -> HandlerResult<Json<Basket>> {
        nothing.open(&ctx, &self.doors, wire::GET_BASKET)?;
        let basket = ctx.read::<Basket>(BASKET).await?;
        Ok(Json(match basket {
            Some(basket) => basket,
            None => Basket::empty(Username::parse(ctx.key()).map_err(refuse)?),
        }))
    }

    /// An order that is not with the workflow: pending, or ended before it.
    #[handler(name = "GetOrder", lazy_state)]
    async fn get_order(
        &self,
        ctx: SharedObjectContext<'_>,
        order_id: Signed<OrderId>,
    ) -> HandlerResult<Json<Option<OrderRecord>>> {
        let order_id = order_id.open(&ctx, &self.doors, wire::GET_ORDER)?;
        let marker = ctx.read::<Marker>(&marker_key(&order_id)).await?;
        Ok(Json(match marker {
            Some(Marker::Here(record)) => Some(*record),
            _ => None,
        }))
    }

    /// Remembers that notifications up to a time are read. Never goes back.
    #[handler(name = "MarkRead")]
    async fn mark_read(
        &self,
        ctx: ObjectContext<'_>,
        mark: Signed<ReadMark>,
    ) -> HandlerResult<Json<Answered<ReadMark>>> {
        let mark = mark.open(&ctx, &self.doors, wire::MARK_READ)?;
        let begun = Write::begin(&ctx).await?;
        let before = ctx.read::<ReadMark>(READ_MARK).await?;
        let write = match (begun, before.clone()) {
            (Begun::New(write), _) => write,
            (Begun::Again, Some(before)) => return Ok(Json(Answered::again(before))),
            (Begun::Again, None) => return Ok(Json(Answered::again(mark))),
        };
        let mark = match before {
            Some(before) if before.read_at >= mark.read_at => before,
            _ => mark,
        };
        write.keep(&ctx);
        ctx.set(READ_MARK, Json(mark.clone()));
        self.updates.publish(&Update::Read(mark.clone()));
        Ok(Json(Answered::now(mark)))
    }

    /// Places an order once: see [`checkout`].
    #[handler(name = "Checkout")]
    async fn checkout(
        &self,
        ctx: ObjectContext<'_>,
        asked: Signed<Checkout>,
    ) -> HandlerResult<Json<Answered<CheckoutAnswer>>> {
        let asked = asked.open(&ctx, &self.doors, wire::CHECKOUT)?;
        checkout::place(self, &ctx, asked).await.map(Json)
    }

    /// Waits for one attempt's payment: see [`attempt`]. Ends in a terminal
    /// error when it fails. What it reads at its end must be of then: lazily.
    #[handler(name = "AwaitPayment", ingress_private = true, lazy_state)]
    async fn await_payment(
        &self,
        ctx: SharedObjectContext<'_>,
        Json(wait): Json<AwaitPayment>,
    ) -> HandlerResult<()> {
        attempt::await_payment(&ctx, wait).await
    }

    /// Notes what became known of an attempt; answers whether it is still open.
    #[handler(name = "PaymentOpened", ingress_private = true)]
    async fn payment_opened(
        &self,
        ctx: ObjectContext<'_>,
        Json(opened): Json<PaymentOpened>,
    ) -> HandlerResult<Json<bool>> {
        attempt::opened(self, &ctx, opened).await.map(Json)
    }

    /// The webhook's durable end: writes the receipt down, does what follows from
    /// it, then wakes the wait.
    #[handler(name = "PaymentCallback")]
    async fn payment_callback(
        &self,
        ctx: ObjectContext<'_>,
        callback: Signed<PaymentCallback>,
    ) -> HandlerResult<Json<CallbackAnswer>> {
        let callback = callback.open(&ctx, &self.doors, wire::PAYMENT_CALLBACK)?;
        attempt::called_back(self, &ctx, callback).await.map(Json)
    }

    /// Ends an attempt; answers where the order stands.
    #[handler(name = "Settle", ingress_private = true)]
    async fn settle(
        &self,
        ctx: ObjectContext<'_>,
        Json(settle): Json<Settle>,
    ) -> HandlerResult<Json<OrderStatus>> {
        attempt::settle(self, &ctx, settle).await.map(Json)
    }

    /// Takes an order back that is not paid yet.
    #[handler(name = "CancelOrder")]
    async fn cancel_order(
        &self,
        ctx: ObjectContext<'_>,
        cancel: Signed<CancelOrder>,
    ) -> HandlerResult<Json<CancelAnswer>> {
        let cancel = cancel.open(&ctx, &self.doors, wire::CANCEL_ORDER)?;
        checkout::cancel(self, &ctx, cancel).await.map(Json)
    }

    /// The workflow has an order that was taken back: it is the only one to write it.
    #[handler(name = "HandedOver", ingress_private = true)]
    async fn handed_over(
        &self,
        ctx: ObjectContext<'_>,
        Json(order_id): Json<OrderId>,
    ) -> HandlerResult<()> {
        checkout::handed_over(self, &ctx, order_id).await
    }

    /// Takes an order back whose workflow was killed, which compensates
    /// nothing. The record is kept here, turned towards its end, until the
    /// workflow is run with it again and undoes what was done. Whoever asks
    /// knows that no invocation works on the order; asking again changes
    /// nothing.
    #[handler(name = "TakeBack")]
    async fn take_back(
        &self,
        ctx: ObjectContext<'_>,
        left: Signed<TakeBack>,
    ) -> HandlerResult<Json<OrderRecord>> {
        let left = left.open(&ctx, &self.doors, wire::TAKE_BACK)?;
        checkout::take_back(self, &ctx, left).await.map(Json)
    }

    /// Forgets an order that ended a retention ago; answers whether it did.
    #[handler(name = "Forget")]
    async fn forget(
        &self,
        ctx: ObjectContext<'_>,
        order_id: Signed<OrderId>,
    ) -> HandlerResult<Json<bool>> {
        let order_id = order_id.open(&ctx, &self.doors, wire::FORGET)?;
        checkout::forget(self, &ctx, order_id).await.map(Json)
    }
}

impl UserSession {
    /// One change of the basket, with the caller's key if there is one.
    async fn change(
        &self,
        ctx: &ObjectContext<'_>,
        change: impl FnOnce(Basket) -> Result<Basket, Refusal>,
    ) -> HandlerResult<Json<Answered<Basket>>> {
        let begun = Write::begin(ctx).await?;
        let basket = basket(ctx).await?;
        let Begun::New(write) = begun else {
            return Ok(Json(Answered::again(basket)));
        };
        let Json(basket) = self.keep(ctx, change(basket).map_err(refuse)?);
        write.keep(ctx);
        Ok(Json(Answered::now(basket)))
    }

    fn keep(&self, ctx: &ObjectContext<'_>, basket: Basket) -> Json<Basket> {
        ctx.set(BASKET, Json(basket.clone()));
        self.updates.publish(&Update::Basket(basket.clone()));
        Json(basket)
    }

    fn write(&self, ctx: &ObjectContext<'_>, record: Box<OrderRecord>) {
        let key = marker_key(&record.order_id);
        story::written_by_session(&record);
        ctx.set(&key, Json(Marker::Here(record.clone())));
        self.updates.publish(&Update::Order(record));
    }

    /// Does what follows from a decision. No await: all of it happens or
    /// nothing.
    fn perform(&self, ctx: &ObjectContext<'_>, effects: Vec<Effect>) {
        let session = || ctx.object_client::<UserSessionClient>(ctx.key());
        let provider = || ctx.service_client::<PaymentServiceClient>();
        for effect in effects {
            match effect {
                Effect::Write(record) => self.write(ctx, record),
                Effect::Keep(basket) => {
                    self.keep(ctx, basket);
                }
                Effect::HandOver(record) => {
                    let marker = Marker::HandedOver(HandedOver::from(&*record));
                    story::written_by_session(&record);
                    ctx.set(&marker_key(&record.order_id), Json(marker));
                    self.updates.publish(&Update::Order(record));
                }
                Effect::Remember(order_id, marker) => {
                    ctx.set(&marker_key(&order_id), Json(Marker::HandedOver(marker)));
                }
                Effect::NoteLate(late) => {
                    story::late_payment(&late.order_id);
                    ctx.set(&late_key(&late.order_id), Json(late.clone()));
                    self.updates.publish(&Update::Late(late));
                }
                Effect::Await(wait) => {
                    session().await_payment(Json(wait)).send();
                }
                Effect::Resolve(receipt) => {
                    ctx.resolve_awakeable(&receipt.awakeable_id.clone(), Json(receipt));
                }
                Effect::Reject {
                    awakeable_id,
                    reason,
                } => ctx.reject_awakeable(&awakeable_id, TerminalError::new(reason)),
                Effect::Release { attempt, lines } => {
                    story::undone(&attempt.order_id, Compensable::Reserved);
                    checkout::release(ctx, &attempt, &lines);
                }
                Effect::Void(money) => {
                    story::undone(&money.attempt.order_id, Compensable::Authorized);
                    provider().void(Json(money)).send();
                }
                Effect::Close(money) => {
                    provider().close(Json(money)).send();
                }
                Effect::Run(record) => {
                    ctx.workflow_client::<OrderFulfillmentWorkflowClient>(record.order_id.as_str())
                        .run(Json(*record.clone()))
                        .send();
                }
                Effect::Forget(order_id) => {
                    ctx.clear(&marker_key(&order_id));
                    ctx.clear(&late_key(&order_id));
                }
            }
        }
    }
}

async fn basket(ctx: &ObjectContext<'_>) -> HandlerResult<Basket> {
    match ctx.read::<Basket>(BASKET).await? {
        Some(basket) => Ok(basket),
        None => Ok(Basket::empty(Username::parse(ctx.key()).map_err(refuse)?)),
    }
}

async fn marker(ctx: &ObjectContext<'_>, order_id: &OrderId) -> HandlerResult<Option<Marker>> {
    if order_id.owner().as_str() != ctx.key() {
        return Err(refuse(Refusal::UnknownOrder {
            order_id: order_id.clone(),
        }));
    }
    let key = marker_key(order_id);
    Ok(ctx.read(&key).await?)
}
