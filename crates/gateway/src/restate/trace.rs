//! The trace of what is sent and not waited for, maybe days ago: Restate begins one under
//! the invocation's own id. A request that comes to it later is linked to it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use process::propagation;
use services::wire::ORDER_FULFILLMENT_WORKFLOW;
use sha2::{Digest as _, Sha256};
use waybill_domain::ids::OrderId;

/// Links the request under way to the invocation that waits for this awakeable.
pub fn link_to_wait(awakeable_id: &str) {
    link_to(that_waits(awakeable_id));
}

/// Links the request under way to the workflow of this order.
pub fn link_to_workflow(order: &OrderId) {
    link_to(of_workflow(order));
}

/// Half of its id is its first span's.
fn link_to(invocation: Option<[u8; 16]>) {
    if let Some(id) = invocation
        && let Some(span) = id.last_chunk()
    {
        propagation::link_to(id, *span);
    }
}

/// An awakeable names its invocation: `sign_1` and in base64 eight bytes of its
/// partition, sixteen of its id, four of the awakeable's number.
fn that_waits(awakeable_id: &str) -> Option<[u8; 16]> {
    let bytes = URL_SAFE_NO_PAD
        .decode(awakeable_id.strip_prefix("sign_1")?)
        .ok()?;
    bytes.get(8..24)?.try_into().ok()
}

/// There is one run of a workflow: Restate makes its id of the workflow's name and key.
fn of_workflow(order: &OrderId) -> Option<[u8; 16]> {
    let named = format!("wf,{ORDER_FULFILLMENT_WORKFLOW},{order}");
    Sha256::digest(named).first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_awakeable_names_the_invocation_that_waits_for_it() {
        let invocation = that_waits("sign_1_HkLWEhiS_UBohjHHfZDY-VCJqeXgBZIAAAAEQ").unwrap();
        assert_eq!(hex::encode(invocation), "01a218c71df64363e54226a797801648");
        for none in [
            "",
            "sign_1",
            "sign_1AAAA",
            "sign_2_HkLWEhiS",
            "sign_1 \u{e9}",
        ] {
            assert_eq!(that_waits(none), None, "{none}");
        }
    }

    /// As restate-server 1.7.12 has told a collector.
    #[test]
    fn an_order_names_its_workflow() {
        let order = OrderId::parse("alice.one").unwrap();
        let invocation = hex::encode(of_workflow(&order).unwrap());
        assert_eq!(invocation, "e19e4966b6992f88c1674e96a1a30b11");
    }
}
