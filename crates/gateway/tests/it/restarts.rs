//! Any process may die at any time; what was promised is kept.

use crate::outside::{PaymentEffects, ShipmentEffects};
use crate::shop::kinds_of;
use crate::world::{Part, Setup, own};

#[test]
fn every_process_dies_once_and_the_order_arrives() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let order = alice.checkout("hard-times").await;
        let (_, pay_url) = order.payment_page().await;

        shop.kill(Part::Restate);
        shop.start_again(Part::Restate).await;
        assert_eq!(alice.in_cart().await, [("P001".to_owned(), 1)]);

        // Paid while nobody takes the callback; the provider dies, too.
        shop.kill(Part::Gateway);
        shop.use_payment_page(&pay_url, "pay").await;
        shop.kill(Part::Sandbox);
        shop.start_again(Part::Sandbox).await;
        shop.start_again(Part::Gateway).await;
        order.until("awaiting_approval").await;

        shop.kill(Part::Services);
        shop.start_again(Part::Services).await;
        shop.admin().approve(&order).await;
        shop.kill(Part::Services);
        shop.start_again(Part::Services).await;
        let delivered = order.until("delivered").await;

        assert!(
            !kinds_of(&delivered).contains(&"stock_released".to_owned()),
            "{delivered}"
        );
        let ledger = order.ledger().await;
        let once = PaymentEffects {
            authorize: 1,
            capture: 1,
            void: 0,
            refund: 0,
        };
        assert_eq!(ledger.payment().effects, once);
        assert_eq!(
            ledger.shipment().effects,
            ShipmentEffects { book: 1, cancel: 0 }
        );
        assert_eq!(order.workflow_runs().await, 1);
    });
}

#[test]
fn processes_stop_when_they_are_asked_to() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P001", 1, "interrupted").await;
        let _page = alice.stream("/stream/notifications").await;
        for part in [Part::Gateway, Part::Services, Part::Sandbox] {
            let status = shop.stop(part).await;
            assert!(status.success(), "{part:?}: {status:?}");
            shop.start_again(part).await;
        }
        order.cancel().await;
        order.until("cancelled").await;
    });
}
