//! The gateway's door to what only our own handlers may call: service, for `gateway
//! reconcile --repair`.
//!
//! Stock, money, parcels and runs of the workflow are private. An order's own handlers
//! reach them directly; whoever mends what a kill has left behind signs what is wanted
//! and asks here.

use restate_sdk::prelude::*;
use waybill_domain::repair::{Pieces, RepairRequest};
use waybill_domain::stock::EndReservation;

use crate::inventory::InventoryClient;
use crate::order_fulfillment::OrderFulfillmentWorkflowClient;
use crate::payment::PaymentServiceClient;
use crate::shipping::ShippingServiceClient;
use crate::signed::{Doors, Signed};
use crate::wire::reconcile::REPAIR;

/// See the module.
pub struct ReconcileService {
    /// Whose calls are let in.
    pub doors: Doors,
}

#[restate_sdk::service]
impl ReconcileService {
    /// Asks for one repair and waits until it is done; for a run of the workflow only
    /// until it is accepted.
    #[handler(name = "Repair")]
    async fn repair(&self, ctx: Context<'_>, wanted: Signed<RepairRequest>) -> HandlerResult<()> {
        match wanted.open(&ctx, &self.doors, REPAIR)? {
            RepairRequest::Run(record) => {
                ctx.workflow_client::<OrderFulfillmentWorkflowClient>(record.order_id.as_str())
                    .run(Json(*record.clone()))
                    .send();
            }
            RepairRequest::Release(pieces) => {
                let (stock, ended) = reservation(&ctx, pieces);
                stock.release(Json(ended)).call().await?;
            }
            RepairRequest::Commit(pieces) => {
                let (stock, ended) = reservation(&ctx, pieces);
                stock.commit(Json(ended)).call().await?;
            }
            RepairRequest::Void(money) => provider(&ctx).void(Json(money)).call().await?,
            RepairRequest::Refund(money) => provider(&ctx).refund(Json(money)).call().await?,
            RepairRequest::CancelShipment(parcel) => {
                ctx.service_client::<ShippingServiceClient>()
                    .cancel_shipment(Json(parcel))
                    .call()
                    .await?;
            }
        }
        Ok(())
    }
}

fn provider<'ctx>(ctx: &Context<'ctx>) -> PaymentServiceClient<'ctx> {
    ctx.service_client()
}

fn reservation<'ctx>(
    ctx: &Context<'ctx>,
    Pieces { sku, attempt }: Pieces,
) -> (InventoryClient<'ctx>, EndReservation) {
    let stock = ctx.object_client(sku.as_str());
    let ended = EndReservation {
        attempt,
        keep: 0,
        at: None,
    };
    (stock, ended)
}
