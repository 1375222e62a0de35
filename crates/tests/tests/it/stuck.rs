//! What cannot go on stops itself and nothing else, and somebody is told.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::reconcile::sqlite;
use crate::shop::{SOON, Shop, order_form, send_anyway, text};
use crate::world::{Component, Setup, eventually, own, shared};

#[test]
fn a_spoilt_order_stops_nothing_else() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        alice.add("P001", 1).await;
        change_state(shop, "UserSession", "alice", |state| {
            state.insert("checkout:exec:alice.bad".to_owned(), "{no JSON".to_owned());
        })
        .await;
        let request = alice.request(Method::POST, "/api/checkout");
        let refused = send_anyway(request.json(&order_form("bad"))).await;
        refused.problem(502, "services_failed");
        assert!(
            shop.invocations("UserSession/alice/Checkout")
                .await
                .iter()
                .all(|it| it == "completed"),
            "the spoilt order is tried again and again"
        );
        // Her cart, her other orders and everybody else go on.
        alice.add("P002", 1).await;
        let good = alice.checkout("good").await;
        let bobs = shop.bob().buy("P003", 1, "his").await;
        good.pay().await;
        good.until("awaiting_approval").await;

        // So does a gateway that has to read everything anew.
        shop.kill(Component::Gateway);
        std::fs::remove_file(shop.database()).expect("the read model is there");
        assert!(shop.run_gateway(&["seed-demo"]).status.success());
        shop.start_again(Component::Gateway).await;
        for order in [&good, &bobs] {
            order.until("awaiting_approval").await;
            shop.admin().approve(order).await;
            order.until("delivered").await;
        }
        change_state(shop, "UserSession", "alice", |state| {
            state.remove("checkout:exec:alice.bad");
        })
        .await;
    });
}

#[test]
fn a_paused_invocation_stops_its_own_order_only() {
    shared(async |shop| {
        let alice = shop.alice();
        let stuck = alice.buy("P001", 1, "stuck").await;
        let other = alice.buy("P002", 1, "other").await;
        let run = Run::of(shop, &stuck.id).await;
        run.steer("pause").await;
        run.until("paused").await;

        for order in [&stuck, &other] {
            shop.admin().approve(order).await;
        }
        other.until("delivered").await;
        assert_eq!(stuck.json().await["status"], "awaiting_approval");
        let dashboard = shop.admin().get("/api/dashboard").await.expect(200);
        let needs = dashboard["needs_operator"].as_array().expect("a list");
        let told = needs.iter().find(|it| it["order_id"] == stuck.id.as_str());
        let todo = text(&told.unwrap_or_else(|| panic!("{dashboard}"))["todo"]);
        assert!(
            todo.contains(&format!("restate invocations resume {}", run.id)),
            "{todo}"
        );

        run.steer("resume").await;
        stuck.until("delivered").await;
    });
}

/// An order that nothing works on any more is left to an operator: the
/// dashboard says so, and what it says to do ends the order.
#[test]
fn a_killed_workflow_is_shown_with_what_mends_it() {
    own(&Setup::default(), async |shop| {
        let alice = shop.alice();
        let killed = alice.buy("P001", 1, "killed").await;
        let waiting = alice.buy("P002", 1, "waiting").await;
        for order in [&killed, &waiting] {
            order.until("awaiting_approval").await;
        }
        let advice = format!("gateway reconcile {} --repair", killed.id);
        let shown = async || {
            let dashboard = shop.admin().get("/api/dashboard").await.expect(200);
            dashboard["needs_operator"].clone()
        };
        let run = Run::of(shop, &killed.id).await;
        run.steer("kill").await;
        eventually("the dashboard tells", SOON, async || {
            let needs = shown().await;
            match needs.as_array().map(Vec::as_slice) {
                Some([only]) if text(&only["todo"]).contains(&advice) => Ok(()),
                _ => Err(needs.to_string()),
            }
        })
        .await;

        let arguments: Vec<_> = advice.split(' ').skip(1).collect();
        assert!(shop.run_gateway(&arguments).status.success());
        killed.until("cancelled").await;
        eventually("nothing needs an operator", SOON, async || {
            let needs = shown().await;
            if needs == json!([]) {
                Ok(())
            } else {
                Err(needs.to_string())
            }
        })
        .await;
        shop.admin().approve(&waiting).await;
        waiting.until("delivered").await;
    });
}

/// A read model that is behind shows orders as open whose workflow has ended.
#[test]
fn an_end_that_was_not_heard_of_needs_no_operator() {
    own(&Setup::default(), async |shop| {
        let order = shop.alice().buy("P001", 1, "ended").await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;
        sqlite(
            shop,
            &[
                "UPDATE orders SET status = 'in_transit', ended_at = NULL, updated_at = 0, \
               wait_until = created_at + 3600000 WHERE order_id = 'alice.ended'",
            ],
        )
        .await;
        let mut dashboard = json!(null);
        for _ in 0..2 {
            // What was found out is good for two seconds.
            tokio::time::sleep(Duration::from_secs(3)).await;
            dashboard = shop.admin().get("/api/dashboard").await.expect(200);
        }
        let orders = dashboard["orders"].as_array().expect("a list");
        let open = orders.iter().find(|it| it["status"] == "in_transit");
        assert_eq!(open.map(|it| &it["count"]), Some(&json!(1)), "{dashboard}");
        assert_eq!(dashboard["restate_asked"], true);
        assert_eq!(dashboard["needs_operator"], json!([]));
        assert!(
            shop.run_gateway(&["reconcile", "--repair"])
                .status
                .success()
        );
    });
}

/// The workflow's invocation of one order.
struct Run<'a> {
    shop: &'a Shop,
    id: String,
}

impl<'a> Run<'a> {
    async fn of(shop: &'a Shop, order_id: &str) -> Self {
        let query = format!(
            "SELECT id FROM sys_invocation WHERE target = 'OrderFulfillmentWorkflow/{order_id}/Run'"
        );
        let rows = shop.sql(&query).await;
        let id = text(&rows[0]["id"]).to_owned();
        Self { shop, id }
    }

    /// `pause`, `resume` or `kill`.
    async fn steer(&self, how: &str) {
        let url = format!("{}/invocations/{}/{how}", self.shop.admin, self.id);
        let answer = self.shop.http.patch(url).send().await;
        let answer = answer.expect("Restate answers");
        assert!(answer.status().is_success(), "{how}: {answer:?}");
    }

    async fn until(&self, status: &str) {
        let query = format!("SELECT status FROM sys_invocation WHERE id = '{}'", self.id);
        eventually(status, SOON, async || {
            let rows = self.shop.sql(&query).await;
            if rows[0]["status"] == status {
                Ok(())
            } else {
                Err(format!("{rows:?}"))
            }
        })
        .await;
    }
}

/// Changes an object's state behind everybody's back, as an operator can.
async fn change_state(
    shop: &Shop,
    service: &str,
    of: &str,
    change: impl FnOnce(&mut BTreeMap<String, String>),
) {
    let mut state = shop.states(service, of).await;
    change(&mut state);
    shop.put_state(service, of, &state).await;
    let changed = async || {
        let now = shop.states(service, of).await;
        if now == state {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    };
    eventually("the state is changed", SOON, changed).await;
}
