//! Restate's command line shows what there is, in lines that can be copied.

use crate::world::{Setup, own};

#[test]
fn services_invocations_and_state_are_readable() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 2).await;
        let order = alice.checkout("order-1").await;

        let said = |arguments: &[&str]| {
            let output = shop.run_restate(arguments);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{arguments:?}: {output:?}");
            text
        };
        let services = said(&["services", "list"]);
        for service in [
            "UserSession",
            "OrderFulfillmentWorkflow",
            "ShippingService",
            "PaymentService",
            "Inventory",
        ] {
            assert!(
                services.contains(service),
                "{service} is not in\n{services}"
            );
        }
        let invocations = said(&["invocations", "list"]);
        assert!(invocations.contains("AwaitPayment"), "{invocations}");
        let state = said(&["kv", "get", "UserSession", "alice"]);
        for words in [
            "basket",
            "checkout:exec:alice.order-1",
            "awaiting_payment",
            "P001",
        ] {
            assert!(state.contains(words), "{words} is not in\n{state}");
        }

        order.cancel().await;
        order.until("cancelled").await;
    });
}
