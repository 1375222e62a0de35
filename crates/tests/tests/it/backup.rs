//! A backup is restored on an empty machine, and what has happened meanwhile harms nobody
//! (docs/operate.md, "Backup and restore").

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::checker::{self, Evidence};
use crate::reconcile::{outside, reconcile};
use crate::shop::{Order, SOON, Shop, kinds_of, text};
use crate::world::{Component, Setup, eventually, own, own_with_losses};

/// The folder with everything that a world keeps.
fn folder(shop: &Shop) -> PathBuf {
    let database = shop.database();
    database.parent().expect("a folder").to_owned()
}

/// Runs `gateway backup` or `gateway restore`, with the sandbox's ledger or without.
fn run(shop: &Shop, command: &str, file: &Path, with_ledger: bool) -> Output {
    let mut gateway = shop.gateway_command();
    if !with_ledger {
        gateway.env_remove("SANDBOX_DATABASE_URL");
    }
    let output = gateway
        .arg(command)
        .arg(file)
        .arg("--restate-data")
        .arg(folder(shop).join("restate"))
        .output();
    output.expect("the gateway can be started")
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    let all = [&output.stderr[..], &output.stdout[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// Restate is stopped for it; everybody else runs on.
async fn back_up(shop: &Shop, with_ledger: bool) -> PathBuf {
    let file = folder(shop).join("backup.tar");
    let running = refused(&run(shop, "backup", &file, with_ledger));
    assert!(running.contains("Restate runs on"), "{running}");
    assert!(!file.exists());
    shop.stop(Component::Restate).await;
    let said = done(&run(shop, "backup", &file, with_ledger));
    assert!(said.contains("node waybill of cluster waybill"), "{said}");
    file
}

/// Nothing is left of these parts but the backup.
fn lose(shop: &Shop, parts: &[Component]) {
    for part in parts {
        if shop.is_running(*part) {
            shop.kill(*part);
        }
    }
    let at = folder(shop);
    for part in parts {
        let kept = match part {
            Component::Restate => "restate",
            Component::Gateway => "waybill.db",
            Component::Sandbox => "sandbox.db",
            _ => continue,
        };
        let _ = fs::remove_dir_all(at.join(kept));
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(at.join(format!("{kept}{end}")));
        }
    }
}

async fn start(shop: &Shop, parts: &[Component]) {
    for part in parts {
        shop.start_again(*part).await;
    }
}

const ALL: [Component; 4] = [
    Component::Restate,
    Component::Sandbox,
    Component::Services,
    Component::Gateway,
];

#[test]
fn orders_in_mid_flight_go_on_on_an_empty_machine() {
    own(&Setup::default(), async |shop| {
        let (alice, bob, carol, admin) =
            (shop.alice(), shop.bob(), shop.person("carol"), shop.admin());
        let returned = alice.buy("P001", 2, "returned").await;
        admin.approve(&returned).await;
        returned.until("delivered").await;
        let wish = json!({ "items": [{ "sku": "P001", "quantity": 1 }], "reason": "too small" });
        let returns = format!("/api/orders/{}/returns", returned.id);
        alice.post(&returns, &wish).await.expect(201);
        let waiting = bob.buy("P002", 1, "waiting").await;
        let shipping = carol.buy("P003", 1, "shipping").await;
        shop.faults(json!({ "carrier": { "down": "drop" } })).await;
        admin.approve(&shipping).await;
        shipping.until("shipping").await;
        bob.add("P004", 1).await;
        let unpaid = bob.checkout("unpaid").await;
        carol.add("P005", 3).await;

        let backup = back_up(shop, true).await;
        lose(shop, &ALL);
        let said = done(&run(shop, "restore", &backup, true));
        assert!(said.contains("is restored"), "{said}");
        let twice = refused(&run(shop, "restore", &backup, true));
        assert!(twice.contains("holds something already"), "{twice}");
        start(shop, &ALL).await;

        shop.faults(json!({ "carrier": { "down": false } })).await;
        assert_eq!(carol.in_cart().await, [("P005".to_owned(), 3)]);
        unpaid.pay().await;
        unpaid.until("awaiting_approval").await;
        for order in [&waiting, &unpaid] {
            admin.approve(order).await;
        }
        for order in [&waiting, &unpaid, &shipping] {
            // A sleep that began before ends a minute later at most.
            order.until_within("delivered", SOON * 5).await;
            order.has_happened_once().await;
        }
        let first = format!("{returns}/1");
        let accept = json!({ "accepted": true });
        admin
            .post(&format!("{first}/decide"), &accept)
            .await
            .expect(200);
        admin
            .post(&format!("{first}/receive"), &json!({}))
            .await
            .expect(200);
        eventually("the money is back", SOON, async || {
            let order = returned.json().await;
            match order["after_delivery"]["refunds"][0]["status"].as_str() {
                Some("refunded") => Ok(()),
                _ => Err(order.to_string()),
            }
        })
        .await;
        reconcile(shop, &[]).exits(0).has(&["no differences"]);
    });
}

/// The provider and the carrier know more than what is restored. Nothing is charged or
/// shipped a second time, and what only they know is named.
#[test]
fn an_older_backup_charges_and_ships_nothing_twice() {
    own_with_losses(&Setup::default(), async |shop| {
        let (alice, bob, carol, admin) =
            (shop.alice(), shop.bob(), shop.person("carol"), shop.admin());
        let again = bob.buy("P001", 1, "approved-twice").await;
        let rejected = carol.buy("P002", 1, "rejected-then").await;
        alice.add("P003", 1).await;
        let told_again = alice.checkout("told-again").await;
        alice.add("P004", 1).await;
        let given_up = alice.checkout("given-up").await;
        let goodwill = bob.buy("P006", 1, "goodwill").await;
        admin.approve(&goodwill).await;
        goodwill.until("delivered").await;
        let backup = back_up(shop, false).await;

        shop.start_again(Component::Restate).await;
        for order in [&told_again, &given_up] {
            order.pay().await;
            order.until("awaiting_approval").await;
        }
        for order in [&again, &rejected] {
            admin.approve(order).await;
            order.until("delivered").await;
        }
        refund_goodwill(&goodwill, "before").await;
        let unknown = shop.person("dave").buy("P005", 1, "after-it").await;
        admin.approve(&unknown).await;
        unknown.until("delivered").await;

        lose(
            shop,
            &[Component::Restate, Component::Services, Component::Gateway],
        );
        done(&run(shop, "restore", &backup, false));
        start(
            shop,
            &[Component::Restate, Component::Services, Component::Gateway],
        )
        .await;

        // Approved again: the same parcel, the same capture.
        admin.approve(&again).await;
        again.until("delivered").await;
        again.has_happened_once().await;

        // Paid, and nobody has told this Restate. The provider tells it again …
        let paid = told_again.ledger().await;
        let money = &paid.payment().transactions[0].transaction_id;
        told_again.call_back(money).await.expect(200);
        told_again.until("awaiting_approval").await;
        admin.approve(&told_again).await;
        told_again.until("delivered").await;
        told_again.has_happened_once().await;
        // … or the order ends without its payment, and the money goes back.
        given_up.cancel().await;
        given_up.until("cancelled").await;
        eventually("the provider holds nothing", SOON, async || match given_up
            .ledger()
            .await
            .story()
            .as_str()
        {
            "authorize void" => Ok(()),
            story => Err(story.to_owned()),
        })
        .await;

        // A refund that is decided again has the same key, and is one refund.
        refund_goodwill(&goodwill, "again").await;
        let money = goodwill.ledger().await;
        assert_eq!(money.payment().transactions[0].refunded_amount, 100);
        assert_eq!(money.payment().effects.refund, 1);

        // Delivered outside, rejected here: the money goes back, the parcel is called back.
        admin.reject(&rejected, "changed my mind").await;
        let ended = rejected.until("rejected").await;
        assert!(kinds_of(&ended).contains(&"payment_voided".to_owned()));
        let said = reconcile(shop, &["--repair"]).exits(3);
        said.has(&["ledger", &unknown.id]);
        let gone = rejected.ledger().await;
        assert_eq!(gone.payment().transactions[0].status, "refunded");
        assert_eq!(gone.shipment().status, "cancelled");

        // What was ordered since is a person's: the money goes back, or it is typed in anew.
        let ledger = unknown.ledger().await;
        let payment = &ledger.payment().transactions[0];
        assert_eq!(payment.status, "captured");
        let mut evidence = Evidence::gather(shop).await;
        evidence.accepted.remove(&unknown.id);
        let wrong = checker::violations(&evidence);
        let of_others = wrong.iter().filter(|line| !line.contains(&unknown.id));
        assert_eq!(of_others.collect::<Vec<_>>(), Vec::<&String>::new());
        refund(shop, &unknown.id, payment.amount).await;
        let said = reconcile(shop, &[]);
        let left: Vec<_> = said
            .lines
            .iter()
            .filter(|it| it.contains("money"))
            .collect();
        assert_eq!(left, Vec::<&String>::new());
    });
}

/// A dollar goes back, as an admin decides.
async fn refund_goodwill(order: &Order<'_>, key: &str) {
    let admin = order.by.shop.admin();
    let path = format!("/api/orders/{}/refunds", order.id);
    let dollar = json!({ "amount_cents": 100, "reason": "it was scratched" });
    admin.post_keyed(&path, key, &dollar).await.expect(201);
    eventually("the provider has answered", SOON, async || {
        let order = order.json().await;
        match order["after_delivery"]["refunds"][0]["status"].as_str() {
            Some("refunded") => Ok(()),
            _ => Err(order.to_string()),
        }
    })
    .await;
}

/// As somebody does at the provider's own page.
async fn refund(shop: &Shop, order: &str, cents: i64) {
    let list = shop
        .http
        .get(format!("{}/ledger?order_id={order}", shop.sandbox));
    let ledger: Value = list.send().await.unwrap().json().await.unwrap();
    let payment = &ledger["payments"][0];
    let id = text(&payment["payment_id"]);
    let transaction = &payment["transactions"][0]["transaction_id"];
    let body = json!({ "transaction_id": transaction, "amount": cents });
    outside(shop, &format!("/payments/{id}/refund"), body).await;
}
