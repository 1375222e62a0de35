//! What support, approvers and admins may do, through real processes. Which route is
//! whose is in docs/authority.md, asked one by one in the gateway's own tests.

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::shop::{Client, SOON, Shop};
use crate::world::{Setup, eventually, own};

/// Somebody from support and an approver, beside the demo's people.
async fn hired(shop: &Shop) -> (Client<'_>, Client<'_>) {
    let options = SqliteConnectOptions::new()
        .filename(shop.database())
        .busy_timeout(SOON);
    let mut database: SqliteConnection = options.connect().await.unwrap();
    sqlx::query(
        "INSERT INTO users (username, email, role) VALUES
         ('sue', 'sue@example.org', 'support'), ('ann', 'ann@example.org', 'approver')",
    )
    .execute(&mut database)
    .await
    .unwrap();
    database.close().await.unwrap();
    let (sue, ann) = (shop.person("sue"), shop.person("ann"));
    for person in [&sue, &ann] {
        eventually(
            "the gateway knows who was hired",
            SOON,
            async || match person.get("/api/approvals").await {
                answer if answer.status == 200 => Ok(()),
                answer => Err(answer.text),
            },
        )
        .await;
    }
    (sue, ann)
}

fn yes() -> Value {
    json!({ "approved": true })
}

/// Refused with 403, in words that hold these.
#[track_caller]
fn says(problem: &Value, words: &str) {
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(words), "{problem}");
}

#[test]
fn each_role_does_what_it_may() {
    own(&Setup::with("APPROVE_OWN_ORDERS", "false"), async |shop| {
        let (sue, ann) = hired(shop).await;
        let (alice, admin) = (shop.alice(), shop.admin());
        let mut told = ann.stream("/stream/notifications").await;
        let order = alice.buy("P001", 2, "mine").await;
        let path = format!("/api/orders/{}", order.id);
        // An approver is told of what waits.
        told.until("Admin approval needed").await;

        // Support sees it, and everything about it.
        for seen in [&path, &format!("{path}/journal")] {
            sue.get(seen).await.expect(200);
        }
        let waiting = sue.get("/api/approvals").await.expect(200);
        assert_eq!(waiting["approvals"][0]["order_id"], order.id, "{waiting}");
        let listed = sue.get("/api/orders").await.expect(200);
        assert_eq!(listed["total"], 1, "{listed}");
        sue.get("/api/dashboard").await.expect(200);

        // And changes nothing of it.
        let decided = sue.try_decide(&order.id, &yes()).await;
        says(&decided.problem(403, "forbidden"), "only an approver");
        let more = json!({ "quantity": 1 });
        for person in [&sue, &ann] {
            let cancelled = person.post(&format!("{path}/cancel"), &json!({})).await;
            says(&cancelled.problem(403, "forbidden"), "or an admin");
            let restocked = person.post("/api/products/1/restock", &more).await;
            says(&restocked.problem(403, "forbidden"), "only an admin");
        }
        assert_eq!(order.json().await["status"], "awaiting_approval");

        // Nobody decides their own order, whatever their role; another does.
        for (owner, other, id) in [(&ann, &admin, "anns"), (&admin, &ann, "admins")] {
            let own = owner.buy("P002", 1, id).await;
            for decision in [yes(), json!({ "approved": false })] {
                let decided = owner.try_decide(&own.id, &decision).await;
                says(&decided.problem(403, "forbidden"), "your own order");
            }
            let page = owner.get(&format!("/orders/{}", own.id)).await.text;
            assert!(page.contains("another approver must decide it"), "{page}");
            other.approve(&own).await;
            own.until("delivered").await;
        }
        ann.approve(&order).await;
        order.until("delivered").await;
        let event = order.json().await["events"].to_string();
        assert!(event.contains("ann"), "{event}");

        // Everybody has a cart and orders of their own.
        let sues = sue.buy("P003", 1, "sues").await;
        sues.cancel().await;
        sues.until("cancelled").await;
        admin
            .post("/api/products/1/restock", &more)
            .await
            .expect(200);
    });
}
