//! The services' code changes while orders are under way, as docs/operate.md
//! says: what has begun on the old services finishes there, what is new begins
//! on the new ones, and the old ones drain and are removed.
//!
//! One can see who served what: Restate pins an invocation to a deployment.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::shop::{Order, SOON, Shop, text};
use crate::world::{Component, Setup, eventually, own};

/// How long a parcel of the old services travels: longer than it takes to start
/// the new ones.
const OLD_TRAVEL: Duration = Duration::from_secs(10);
/// Two rounds of tries and the sleep between them, and the parcel's travel.
const AFTER_AN_OUTAGE: Duration = Duration::from_mins(1);

#[test]
fn old_orders_finish_on_the_old_services_and_new_ones_begin_on_the_new() {
    orders_survive_the_change(&Setup::default());
}

/// The same with the services of before an order was made cheaper: other journals,
/// other messages. `just test` builds them (scripts/old-programs.mjs).
#[expect(clippy::print_stderr, reason = "why it is not tested")]
#[test]
fn orders_of_services_with_other_journals_survive_the_change() {
    match std::env::var_os("OLD_SERVICES_BIN").filter(|it| !it.is_empty()) {
        Some(old) => {
            orders_survive_the_change(&Setup::default().with_old_services(Path::new(&old)));
        }
        None => eprintln!("not tested: there are no older services (OLD_SERVICES_BIN)"),
    }
}

fn orders_survive_the_change(setup: &Setup) {
    let setup = setup
        .clone()
        .only_for(Component::Services, "DELIVERY_TIME", "10s")
        .only_for(
            Component::Restate,
            "RESTATE_WORKER__INVOKER__INACTIVITY_TIMEOUT",
            "100ms",
        )
        .hearing_both();
    own(&setup, async |shop| {
        let (admin, old) = (shop.admin(), deployment(shop, &shop.services).await);
        let stages = at_every_stage(shop).await;

        shop.start_beside(Component::Services2).await;
        let new = deployment(shop, &shop.services2).await;
        // A crash in the middle of it must not give new work to the old again.
        shop.kill(Component::Services);
        shop.start_again(Component::Services).await;
        let begun_before = begun(shop).await;
        assert!(
            begun_before.values().all(|by| *by == old),
            "{begun_before:#?}"
        );

        // What is new begins on the new services.
        let order = shop.person("nora").buy("P004", 1, "new").await;
        admin.approve(&order).await;
        order.until("delivered").await;

        let listed = shop.run_restate(&["deployments", "list", "--extra"]);
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let status_of = |id: &str| listed.lines().find(|line| line.contains(id));
        assert!(
            status_of(&old).is_some_and(|line| line.contains("Draining")),
            "{listed}"
        );
        assert!(
            status_of(&new).is_some_and(|line| line.contains("Active")),
            "{listed}"
        );
        let refused = shop.run_restate(&["deployments", "remove", &old, "--yes"]);
        assert!(!refused.status.success(), "{refused:?}");

        // What is old goes on.
        shop.faults_of(
            &stages.in_outage.id,
            json!({ "carrier": { "down": false } }),
        )
        .await;
        stages.pending.pay().await;
        stages.pending.until("awaiting_approval").await;
        admin.approve(&stages.pending).await;
        admin.approve(&stages.approvable).await;
        for order in [
            &stages.pending,
            &stages.approvable,
            &stages.in_transit,
            &stages.in_outage,
        ] {
            order.until_within("delivered", AFTER_AN_OUTAGE).await;
        }

        let served = begun(shop).await;
        for (target, by) in &served {
            let expected = if begun_before.contains_key(target) {
                &old
            } else {
                &new
            };
            assert_eq!(by, expected, "{target}");
        }
        let run_of = |order: &Order<'_>| {
            served[&format!("OrderFulfillmentWorkflow/{}/Run", order.id)].clone()
        };
        assert_eq!(run_of(&stages.in_transit), old);
        assert_eq!(run_of(&stages.pending), new, "it was paid afterwards");

        removed(shop, &old).await;
        // A gateway that has never heard the old services shows the same.
        shop.start_beside(Component::Gateway2).await;
        let elsewhere = admin.clone().at(Component::Gateway2);
        let path = format!("/api/orders/{}", stages.in_transit.id);
        let order = elsewhere.get(&path).await.expect(200);
        assert_eq!(order["events"], stages.in_transit.json().await["events"]);
        assert_eq!(shop.stop(Component::Gateway2).await.code(), Some(0));

        let order = shop.person("nina").buy("P004", 1, "newer").await;
        admin.approve(&order).await;
        order.until("delivered").await;
    });
}

#[test]
fn services_that_come_back_to_an_earlier_address_take_over_from_dead_ones() {
    own(&Setup::default().hearing_both(), async |shop| {
        shop.start_beside(Component::Services2).await;
        shop.kill(Component::Services2);
        shop.kill(Component::Services);
        shop.start_again(Component::Services).await;
        let order = shop.alice().buy("P001", 1, "back").await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;
    });
}

/// One order at each place where an invocation waits.
struct Stages<'a> {
    pending: Order<'a>,
    approvable: Order<'a>,
    in_outage: Order<'a>,
    in_transit: Order<'a>,
}

async fn at_every_stage(shop: &Shop) -> Stages<'_> {
    let admin = shop.admin();
    let pending = shop.person("paula");
    pending.add("P001", 1).await;
    let pending = pending.checkout("pending").await;
    let approvable = shop.person("anton").buy("P001", 1, "approvable").await;
    let in_outage = shop.person("oskar").buy("P002", 1, "in-outage").await;
    let in_transit = shop.person("tina").buy("P003", 1, "in-transit").await;

    shop.faults_of(&in_outage.id, json!({ "carrier": { "down": true } }))
        .await;
    admin.approve(&in_outage).await;
    admin.approve(&in_transit).await;
    in_transit.until("in_transit").await;
    // Also the booking, between two rounds of tries.
    let waiting = "SELECT target, status FROM sys_invocation WHERE status <> 'completed' AND \
                   target_handler_name IN ('AwaitPayment', 'Run', 'InitiateShipment')";
    eventually("every invocation is suspended", OLD_TRAVEL, async || {
        let rows = shop.sql(waiting).await;
        if rows.len() == 5 && rows.iter().all(|row| row["status"] == "suspended") {
            Ok(())
        } else {
            Err(format!("{rows:?}"))
        }
    })
    .await;
    Stages {
        pending,
        approvable,
        in_outage,
        in_transit,
    }
}

/// Restate's id of the deployment at this address.
pub(crate) async fn deployment(shop: &Shop, services: &str) -> String {
    let query = format!("SELECT id FROM sys_deployment WHERE endpoint LIKE '{services}%'");
    let rows = shop.sql(&query).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    text(&rows[0]["id"]).to_owned()
}

/// What waits for something or somebody, and who serves it.
async fn begun(shop: &Shop) -> BTreeMap<String, String> {
    let rows = shop
        .sql(
            "SELECT target, created_at, pinned_deployment_id FROM sys_invocation \
             WHERE target_handler_name IN ('Run', 'AwaitPayment') AND pinned_deployment_id IS NOT NULL",
        )
        .await;
    let by = rows.iter().map(|row| {
        let by = text(&row["pinned_deployment_id"]).to_owned();
        (text(&row["target"]).to_owned(), by)
    });
    by.collect()
}

/// The old services are removed when they have drained, and stopped.
pub(crate) async fn removed(shop: &Shop, old: &str) {
    let remove = ["deployments", "remove", old, "--yes"];
    eventually("the old services have drained", SOON, async || {
        let removed = shop.run_restate(&remove);
        if removed.status.success() {
            Ok(())
        } else {
            Err(format!("{removed:?}"))
        }
    })
    .await;
    let status = shop.stop(Component::Services).await;
    assert!(status.success(), "{status:?}");
    let left = shop.sql("SELECT id, endpoint FROM sys_deployment").await;
    assert_eq!(left.len(), 1, "{left:?}");
}
