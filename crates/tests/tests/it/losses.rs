//! A volume is lost, and there is no backup of it (docs/operate.md, "A lost volume").

use std::fs;

use reqwest::Method;
use serde_json::json;

use crate::reconcile::reconcile;
use crate::shop::{SOON, Shop, send_anyway, text};
use crate::world::people::password;
use crate::world::{Component, Setup, eventually, own, own_unchecked};

fn forget(shop: &Shop, name: &str) {
    let database = shop.database();
    let folder = database.parent().expect("a folder");
    let _ = fs::remove_dir_all(folder.join(name));
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(folder.join(format!("{name}{end}")));
    }
}

/// `gateway-data`: everything in it is a copy, people and products too.
#[test]
fn the_gateways_file_is_lost_in_a_real_shop() {
    own(&Setup::with_sessions(), async |shop| {
        let sign_in = json!({ "username": "alice", "password": password("alice") });
        let products = shop.catalog.len();
        shop.kill(Component::Gateway);
        forget(shop, "waybill.db");
        shop.start_again(Component::Gateway).await;
        eventually("alice can sign in", SOON, async || {
            let nobody = shop.anonymous().request(Method::POST, "/login");
            let answer = send_anyway(nobody.json(&sign_in)).await;
            if answer.status == 200 {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await;
        // The admin's token works, and everything is sold.
        let listed = shop.auditor().get("/api/products?per_page=100").await;
        let listed = listed.expect(200);
        assert_eq!(listed["products"].as_array().map(Vec::len), Some(products));
    });
}

/// `restate-data`: the truth. What the read model and the outside world know is all that
/// is left, and it is enough to give the money back.
#[test]
fn restates_data_is_lost() {
    own_unchecked(&Setup::default(), async |shop| {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        let delivered = alice.buy("P001", 1, "delivered").await;
        admin.approve(&delivered).await;
        delivered.until("delivered").await;
        let waiting = alice.buy("P002", 1, "waiting").await;
        bob.add("P003", 1).await;
        let unpaid = bob.checkout("unpaid").await;
        for part in [Component::Gateway, Component::Services, Component::Restate] {
            shop.kill(part);
        }
        forget(shop, "restate");
        for part in [Component::Restate, Component::Services, Component::Gateway] {
            shop.start_again(part).await;
        }
        // First the money, while the read model still knows whose it is.
        let said = reconcile(shop, &["--repair"]);
        assert!(matches!(said.code, 0 | 3), "{:?}", said.lines);
        eventually("the money is given back", SOON, async || {
            match waiting.ledger().await.story().as_str() {
                "authorize void" => Ok(()),
                story => Err(format!("{story}; {:?}", said.lines)),
            }
        })
        .await;
        let page = unpaid.ledger().await;
        assert_ne!(page.payment().status, "open", "{:?}", said.lines);
        // Then the copy begins anew, or takes what comes for old.
        shop.stop(Component::Gateway).await;
        let rebuilt = shop.run_gateway(&["rebuild"]);
        assert!(rebuilt.status.success(), "{rebuilt:?}");
        shop.start_again(Component::Gateway).await;
        let after = bob.buy("P003", 1, "after").await;
        admin.approve(&after).await;
        after.until("delivered").await;
        after.has_happened_once().await;
    });
}

/// `sandbox-data`: what the stand-in for a provider has forgotten is undone.
#[test]
fn the_sandboxes_ledger_is_lost() {
    own_unchecked(&Setup::default(), async |shop| {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        let waiting = alice.buy("P001", 1, "waiting").await;
        bob.add("P002", 1).await;
        let unpaid = bob.checkout("unpaid").await;
        shop.kill(Component::Sandbox);
        forget(shop, "sandbox.db");
        shop.start_again(Component::Sandbox).await;
        admin.approve(&waiting).await;
        let ended = eventually("it ends", SOON, async || {
            let order = waiting.json().await;
            let status = text(&order["status"]).to_owned();
            match status.as_str() {
                "awaiting_approval" | "shipping" => Err(order.to_string()),
                _ => Ok(status),
            }
        })
        .await;
        assert_eq!(ended, "shipping_failed");
        unpaid.cancel().await;
        unpaid.until("cancelled").await;
        // And the shop goes on.
        let after = bob.buy("P003", 1, "after").await;
        admin.approve(&after).await;
        after.until("delivered").await;
        after.has_happened_once().await;
    });
}

/// The internal token, in the volume `secrets`: a new one, and orders go on.
#[test]
fn the_internal_token_is_lost() {
    own(&Setup::default(), async |shop| {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        let waiting = alice.buy("P001", 1, "waiting").await;
        bob.add("P002", 1).await;
        let unpaid = bob.checkout("unpaid").await;
        let new = [("INTERNAL_TOKEN", "another-token-for-the-same-old-shop")];
        for part in [Component::Gateway, Component::Services] {
            shop.stop(part).await;
        }
        for part in [Component::Services, Component::Gateway] {
            shop.start_again_with(part, &new).await;
        }
        unpaid.pay().await;
        unpaid.until("awaiting_approval").await;
        for order in [&waiting, &unpaid] {
            admin.approve(order).await;
        }
        for order in [&waiting, &unpaid] {
            order.until("delivered").await;
            order.has_happened_once().await;
        }
    });
}
