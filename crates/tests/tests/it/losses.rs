//! A volume is lost, and there is no backup of it (docs/operate.md, "A lost volume").

use std::fs;
use std::path::Path;
use std::process::Command;

use launcher::binaries;
use reqwest::Method;
use serde_json::{Value, json};

use crate::reconcile::reconcile;
use crate::shop::{SOON, Shop, send_anyway, text};
use crate::world::people::password;
use crate::world::{Component, Setup, eventually, own, own_with_losses};

fn forget(shop: &Shop, name: &str) {
    let database = shop.database();
    let folder = database.parent().expect("a folder");
    let _ = fs::remove_dir_all(folder.join(name));
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(folder.join(format!("{name}{end}")));
    }
}

/// Signs in; answers the session's cookie.
async fn sign_in(shop: &Shop, name: &str) -> Result<String, String> {
    let body = json!({ "username": name, "password": password(name) });
    let asked = shop.anonymous().request(Method::POST, "/login").json(&body);
    let answer = send_anyway(asked).await;
    let cookie = answer.cookies.first().and_then(|it| it.split(';').next());
    match (answer.status, cookie) {
        (200, Some(cookie)) => Ok(cookie.to_owned()),
        _ => Err(format!("{answer:?}")),
    }
}

async fn sold(shop: &Shop) -> usize {
    let listed = shop.auditor().get("/api/products?per_page=100").await;
    let listed = listed.expect(200);
    listed["products"].as_array().map_or(0, Vec::len)
}

/// `gateway-data`: everything in it is a copy, people and products too.
#[test]
fn the_gateways_file_is_lost_in_a_real_shop() {
    own(&Setup::with_sessions(), async |shop| {
        let cookie = sign_in(shop, "alice").await.expect("a password opens");
        shop.kill(Component::Gateway);
        forget(shop, "waybill.db");
        shop.start_again(Component::Gateway).await;
        eventually("bob can sign in", SOON, async || sign_in(shop, "bob").await).await;
        let alice = shop.alice().with_cookie(&cookie);
        alice.get("/api/account").await.expect(200);
        // The admin's token works, and everything is sold.
        assert_eq!(sold(shop).await, shop.catalog.len());
    });
}

/// `restate-data` in a real shop: a rebuild makes the gateway tell people and products
/// anew. Everybody signs in again.
#[test]
fn restates_data_is_lost_in_a_real_shop() {
    own_with_losses(&Setup::with_sessions(), async |shop| {
        let cookie = sign_in(shop, "alice").await.expect("a password opens");
        for part in [Component::Gateway, Component::Services, Component::Restate] {
            shop.kill(part);
        }
        forget(shop, "restate");
        for part in [Component::Restate, Component::Services] {
            shop.start_again(part).await;
        }
        let said = reconcile(shop, &[]).exits(3);
        said.has(&[
            "knows 3 users",
            "Restate does not hold",
            "gateway rebuild --keep-ended",
        ]);
        let rebuilt = shop.run_gateway(&["rebuild", "--keep-ended"]);
        assert!(rebuilt.status.success(), "{rebuilt:?}");
        shop.start_again(Component::Gateway).await;
        eventually("people and products are told", SOON, async || {
            let count = "SELECT count(*) AS n FROM state WHERE";
            let accounts = format!("{count} service_name = 'Account'");
            let products = format!("{count} service_name = 'Catalog' AND key LIKE 'product:%'");
            let accounts = shop.sql(&accounts).await[0]["n"].as_u64();
            let products = shop.sql(&products).await[0]["n"].as_u64();
            match (accounts, products) {
                (Some(3), Some(n)) if n == shop.catalog.len() as u64 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let alice = shop.alice().with_cookie(&cookie);
        alice.get("/api/account").await.refusal(401);
        let cookie = eventually("alice signs in again", SOON, async || {
            sign_in(shop, "alice").await
        })
        .await;
        assert_eq!(sold(shop).await, shop.catalog.len());
        shop.alice().with_cookie(&cookie).add("P001", 1).await;
    });
}

/// `restate-data`: the truth. What the read model and the outside world know is all that
/// is left, and it is enough to give the money back.
#[test]
fn restates_data_is_lost() {
    own_with_losses(&Setup::default(), async |shop| {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        let delivered = alice.buy("P001", 1, "delivered").await;
        admin.approve(&delivered).await;
        delivered.until("delivered").await;
        let waiting = alice.buy("P002", 1, "waiting").await;
        bob.add("P003", 1).await;
        let unpaid = bob.checkout("unpaid").await;
        let (_, page) = unpaid.payment_page().await;
        let on_the_shelf = stock(shop, "P002").await;
        for part in [Component::Gateway, Component::Services, Component::Restate] {
            shop.kill(part);
        }
        forget(shop, "restate");
        for part in [Component::Restate, Component::Services, Component::Gateway] {
            shop.start_again(part).await;
        }
        // What is decided meanwhile is refused in words.
        let decided = admin
            .try_decide(&waiting.id, &json!({ "approved": true }))
            .await;
        decided.problem(409, "not_ready");
        unpaid.try_cancel().await.problem(404, "unknown_order");
        // First the money, while the read model still knows whose it is.
        let said = reconcile(shop, &["--repair"]).exits(3);
        said.has(&[
            "28 products",
            "Restate does not hold",
            "gateway rebuild --keep-ended",
        ]);
        said.has(&["alice.waiting", "held by nobody", "authorized"]);
        said.has(&["repaired", "alice.waiting", "gives it back"]);
        assert_eq!(waiting.ledger().await.story(), "authorize void");
        // Who pays now, at a page that is still open, gets it back the next time.
        shop.use_payment_page(&page, "pay").await;
        let said = reconcile(shop, &["--repair"]).exits(3);
        said.has(&["repaired", "bob.unpaid", "gives it back"]);
        assert_eq!(unpaid.ledger().await.story(), "authorize void");
        // Then the copy begins anew, or takes what comes for old.
        shop.stop(Component::Gateway).await;
        let rebuilt = shop.run_gateway(&["rebuild", "--keep-ended"]);
        assert!(rebuilt.status.success(), "{rebuilt:?}");
        shop.start_again(Component::Gateway).await;
        // What has ended is still there, and its invoice.
        assert_eq!(delivered.json().await["status"], "delivered");
        let invoice = alice.request(Method::GET, "/orders/alice.delivered/invoice");
        assert_eq!(send_anyway(invoice).await.status, 200);
        bob.get("/api/orders/bob.unpaid").await.refusal(404);
        // The stock begins with what could be sold: what was kept for an order is to be counted.
        eventually("the stock is told", SOON, async || {
            match stock(shop, "P002").await {
                now if now == on_the_shelf => Ok(()),
                now => Err(now.to_string()),
            }
        })
        .await;
        let after = bob.buy("P003", 1, "after").await;
        admin.approve(&after).await;
        after.until("delivered").await;
        after.has_happened_once().await;
        let left = reconcile(shop, &[]).exits(0);
        left.has(&["no differences"]);
    });
}

async fn stock(shop: &Shop, sku: &str) -> Value {
    let listed = shop.admin().get("/api/products?per_page=100").await;
    let listed = listed.expect(200);
    let mut products = listed["products"].as_array().expect("a list").iter();
    let product = products.find(|product| product["sku"] == sku);
    product.expect("it is sold")["stock_qty"].clone()
}

/// `sandbox-data`: what the stand-in for a provider has forgotten is undone.
#[test]
fn the_sandboxes_ledger_is_lost() {
    own_with_losses(&Setup::default(), async |shop| {
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
        assert_eq!(ended, "payment_failed");
        unpaid.cancel().await;
        unpaid.until("cancelled").await;
        // And the shop goes on.
        let after = bob.buy("P003", 1, "after").await;
        admin.approve(&after).await;
        after.until("delivered").await;
        after.has_happened_once().await;
    });
}

/// `services prepare`, as the container of that name does: makes what is missing.
fn prepare(folder: &Path) {
    let program = binaries::ours("services").expect("the services are built");
    let mut services = Command::new(program);
    services.arg("prepare");
    for (option, name) in [
        ("--restate-data", "restate-data"),
        ("--restate-keys", "restate-keys"),
        ("--shared", "secrets"),
    ] {
        let volume = folder.join(name);
        fs::create_dir_all(&volume).expect("a folder can be made");
        services.arg(option).arg(volume);
    }
    let prepared = services.output().expect("it can be started");
    assert!(prepared.status.success(), "{prepared:?}");
}

/// `restate-keys` and `secrets`: Restate's key pair and the internal token. New ones are
/// made, and orders go on.
#[test]
fn restates_keys_and_the_internal_token_are_lost() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let at = |name: &str| folder.path().join(name).display().to_string();
    prepare(folder.path());
    let private = at("restate-keys/request-identity.pem");
    let public = at("secrets/request-identity.pub");
    let of_restate = "RESTATE_REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE";
    let setup = Setup::default()
        .only_for(Component::Restate, of_restate, &private)
        .only_for(Component::Services, "RESTATE_IDENTITY_KEY_FILE", &public);
    own(&setup, async |shop| {
        let (alice, bob, admin) = (shop.alice(), shop.bob(), shop.admin());
        let waiting = alice.buy("P001", 1, "waiting").await;
        bob.add("P002", 1).await;
        let unpaid = bob.checkout("unpaid").await;
        let parts = [Component::Restate, Component::Services, Component::Gateway];
        for part in parts {
            shop.kill(part);
        }
        let old = fs::read(&public).expect("it was made");
        fs::remove_dir_all(at("restate-keys")).expect("it can be lost");
        fs::remove_dir_all(at("secrets")).expect("it can be lost");
        prepare(folder.path());
        assert_ne!(fs::read(&public).expect("it is made"), old);
        let token = fs::read_to_string(at("secrets/internal-token")).expect("it is made");
        for part in parts {
            let new = [("INTERNAL_TOKEN", token.as_str())];
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
