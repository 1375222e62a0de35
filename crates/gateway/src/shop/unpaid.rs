//! How many orders of one user may wait for their payment: each keeps pieces from
//! others for as long as the payment window lasts (`MAX_UNPAID_ORDERS`).
//!
//! They are counted in the read model, together with those that are being placed at
//! this gateway, so a burst of checkouts passes no more than one after the other
//! would. The copy may be behind, so it refuses nothing itself: it names the orders,
//! and the user's session refuses if they all still wait. That costs an ordinary order
//! no step in Restate. With several gateways each may let a burst pass of its own.

use waybill_domain::checkout::Unpaid;
use waybill_domain::ids::{OrderId, Username};

use crate::http::problem::Problem;
use crate::infra::Infra;
use crate::infra::placing::BeingPlaced;
use crate::storage::orders as queries;

/// So many of a user's unpaid orders the session looks at.
const LOOKED_AT: usize = 16;

/// Seconds until those that are being placed have been.
const SOON: u64 = 2;

/// Room for one order more, held until the read model has it; and what the session is
/// to look at before it places the order.
pub(super) async fn room_for(
    infra: &Infra,
    user: &Username,
    order_id: &OrderId,
) -> Result<(BeingPlaced, Option<Unpaid>), Problem> {
    let most = infra.settings.max_unpaid_orders();
    // Noted before it is counted: of two at once, the later sees the other.
    let (being_placed, others) = infra.placing.begin(user, order_id);
    let mut unpaid = queries::unpaid(&infra.db, user, order_id, most).await?;
    // At the limit one at a time goes to the session: it looks whether there is room for
    // one, not for how many.
    if unpaid.len() >= most && others == 0 {
        unpaid.truncate(LOOKED_AT);
        let orders = unpaid.iter().map(|id| OrderId::parse(id));
        let unpaid = Unpaid {
            most: u32::try_from(most).unwrap_or(u32::MAX),
            orders: orders.collect::<Result<_, _>>()?,
        };
        return Ok((being_placed, Some(unpaid)));
    }
    if unpaid.len() + others >= most {
        return Err(Problem::too_many_tries(
            SOON,
            "several of your orders are being placed just now: try again in a moment",
        ));
    }
    Ok((being_placed, None))
}
