//! Live views: at once, complete, and complete again after every interruption.

use std::time::{Duration, Instant};

use reqwest::Method;

use crate::shop::send;
use crate::world::{Component, Setup, own, own_alone, shared};

/// From a change to the browser.
const AT_ONCE: Duration = Duration::from_secs(1);

#[test]
fn a_change_is_on_the_screen_within_a_second() {
    own_alone(&Setup::default(), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let order = alice.checkout("live").await;
        let receipt = order.receipt("txn-live").await;
        let mut told = alice.stream("/stream/notifications").await;
        let mut workflow = alice
            .stream(&format!("/stream/workflow/{}", order.id))
            .await;
        let mut products = alice.stream("/stream/products").await;
        let mut admins = shop.admin().stream("/stream/notifications").await;
        told.until("Awaiting payment").await;
        workflow.until("Awaiting payment").await;
        products.until("Widget A").await;

        let asked = Instant::now();
        shop.anonymous()
            .post("/api/payment/callback", &receipt)
            .await
            .expect(200);
        for (name, stream, words) in [
            ("notifications", &mut told, "Payment confirmed!"),
            ("workflow", &mut workflow, "Awaiting approval"),
            ("admin's notifications", &mut admins, "Payment confirmed!"),
        ] {
            let event = stream.until(words).await;
            let took = event.at.unwrap() - asked;
            assert!(took < AT_ONCE, "{name}: {took:?}");
            assert!(
                event.name.starts_with("datastar-patch-"),
                "{name}: {event:?}"
            );
        }
        let asked = Instant::now();
        shop.admin().approve(&order).await;
        for (stream, words) in [
            (&mut told, "Approved by admin"),
            (&mut workflow, "On its way"),
        ] {
            let took = stream.until(words).await.at.unwrap() - asked;
            assert!(took < AT_ONCE, "{took:?}");
        }
        order.until("delivered").await;
        workflow.until("Delivered").await;
    });
}

#[test]
fn who_comes_back_has_missed_nothing() {
    shared(async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P002", 1, "away").await;
        let mut told = alice.stream("/stream/notifications").await;
        told.until("Admin approval needed").await;
        let last = told.last_id();
        assert!(last.is_some(), "notifications carry ids");
        drop(told);

        shop.admin().approve(&order).await;
        order.until("delivered").await;
        let mut again = alice
            .stream_after("/stream/notifications", last.as_deref())
            .await;
        for words in [
            "Approved by admin",
            "Shipment initiated",
            "Order delivered!",
        ] {
            again.until(words).await;
        }
        assert_ne!(again.last_id(), last);
        // A page that is loaded anew knows no id and sees the whole picture.
        let mut fresh = alice.stream("/stream/notifications").await;
        for words in ["Payment confirmed!", "Order delivered!"] {
            fresh.until(words).await;
        }
        let mut workflow = alice
            .stream(&format!("/stream/workflow/{}", order.id))
            .await;
        workflow.until("Delivered").await;
    });
}

#[test]
fn a_gateway_that_restarts_is_no_gap() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P001", 1, "moved").await;
        let mut told = alice.stream("/stream/notifications").await;
        told.until("Admin approval needed").await;
        let last = told.last_id();
        let stopped = shop.stop(Component::Gateway).await;
        assert!(stopped.success(), "{stopped:?}");
        told.until_closed().await;

        shop.start_again(Component::Gateway).await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;
        let mut again = alice
            .stream_after("/stream/notifications", last.as_deref())
            .await;
        for words in ["Approved by admin", "Order delivered!"] {
            again.until(words).await;
        }
    });
}

#[test]
fn everybody_sees_their_own() {
    shared(async |shop| {
        let (alice, bob) = (shop.alice(), shop.bob());
        alice.add("P003", 1).await;
        let order = alice.checkout("private").await;
        let mut bobs = bob.stream("/stream/notifications").await;
        let path = format!("/stream/workflow/{}", order.id);
        let refused = send(bob.request(Method::GET, &path)).await;
        assert!(matches!(refused.status, 403 | 404), "{refused:?}");
        assert_eq!(
            send(shop.anonymous().request(Method::GET, &path))
                .await
                .status,
            401
        );
        order.cancel().await;
        order.until("cancelled").await;
        // Bob's own is there, alice's is not.
        bob.add("P003", 1).await;
        bobs.until("Item added").await;
        let heard = bobs.events();
        assert!(
            heard.iter().all(|event| !event.data.contains(&order.id)),
            "{heard:#?}"
        );
    });
}

#[test]
fn several_windows_share_a_connection() {
    shared(async |shop| {
        let (alice, bob) = (shop.alice(), shop.bob());
        let order = alice.buy("P001", 1, "windows").await;
        let path = format!(
            "/stream/pages?window=cart&at=/cart&window=order&at=/orders/{}&window=admin&at=/admin\
             &window=no&at=/nowhere&window=bobs&at=/orders/{}.x",
            order.id, bob.name
        );
        let mut stream = alice.stream(&path).await;
        for words in [
            "window cart\ntype datastar-open",
            "window order\ntype datastar-open",
            "This is for staff",
            "There is no page",
        ] {
            stream.until(words).await;
        }
        stream.until("Awaiting approval").await;
        // Another's order is not there, whatever Restate says.
        let refused = stream
            .until("window bobs\ntype datastar-patch-elements")
            .await;
        assert!(refused.data.contains("id=\"toast\""), "{refused:?}");
        for event in stream.events() {
            assert_eq!(event.name, "datastar-window");
        }

        // One change for one of them, and one for all.
        alice.add("P002", 3).await;
        let event = stream.until("Widget B").await;
        assert!(event.data.starts_with("window cart\n"), "{event:?}");
        shop.admin().reject(&order, "only looked at").await;
        stream.until("Rejected").await;

        // Whoever comes back at any gateway goes on where each window was.
        let last = stream.last_id().expect("every event has an id");
        assert!(last.contains("cart:") && last.contains("order:"), "{last}");
        drop(stream);
        let mut again = alice.stream_after(&path, Some(&last)).await;
        again.until("Widget B").await;
        again.until("Rejected").await;

        let mut nobodys = shop.anonymous().stream(&path).await;
        nobodys.until("next=%2Fcart").await;
    });
}
