//! What one order costs Restate: invocations, journal entries and `run`s, counted
//! in its own tables. Exact counts, so that whoever makes an order dearer is told.

use std::collections::BTreeMap;

use crate::shop::{SOON, Shop};
use crate::world::{Setup, eventually, own_alone};

/// What an order does not cause: the announcement of the catalog, and reads, whose
/// number depends on who looks. `Forget` is asked for a retention later.
const NOT_OF_AN_ORDER: &str =
    "'Stock', 'GetBasket', 'GetOrder', 'GetRecord', 'IsRemembered', 'Forget', 'Adopt', 'Begin'";

/// What something costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cost {
    invocations: u64,
    entries: u64,
    runs: u64,
}

impl Cost {
    fn plus(self, other: Self) -> Self {
        Self {
            invocations: self.invocations + other.invocations,
            entries: self.entries + other.entries,
            runs: self.runs + other.runs,
        }
    }
}

/// From the cart to the delivery, one line, paid at the provider's page.
const BUDGET: Cost = Cost {
    invocations: 13,
    entries: 95,
    runs: 3,
};

/// The cost of each handler so far.
async fn cost(shop: &Shop) -> BTreeMap<String, Cost> {
    let query = format!(
        "SELECT i.target_service_name AS service, i.target_handler_name AS handler, \
                count(DISTINCT i.id) AS invocations, count(*) AS entries, \
                sum(CASE WHEN j.entry_type = 'Command: Run' THEN 1 ELSE 0 END) AS runs \
         FROM sys_invocation i JOIN sys_journal j ON j.id = i.id \
         WHERE i.target_handler_name NOT IN ({NOT_OF_AN_ORDER}) \
         GROUP BY i.target_service_name, i.target_handler_name"
    );
    let rows = shop.sql(&query).await;
    let number = |row: &serde_json::Value, name: &str| row[name].as_u64().expect("a count");
    let handlers = rows.iter().map(|row| {
        let of = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let cost = Cost {
            invocations: number(row, "invocations"),
            entries: number(row, "entries"),
            runs: number(row, "runs"),
        };
        (format!("{}.{}", of("service"), of("handler")), cost)
    });
    handlers.collect()
}

#[expect(clippy::print_stdout, reason = "the table is for people")]
#[test]
fn one_order_costs_no_more_than_its_budget() {
    own_alone(&Setup::default(), async |shop| {
        let alice = shop.alice();
        let order = alice.buy("P001", 1, "one").await;
        // Asked before, it is asked again.
        eventually("the workflow has begun", SOON, async || {
            let record = shop.state("OrderFulfillmentWorkflow", &order.id, "record");
            record.await.ok_or_else(|| "it has no record".to_owned())
        })
        .await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;
        shop.nothing_is_under_way().await;
        let costs = cost(shop).await;
        let all = costs
            .values()
            .fold(Cost::default(), |all, one| all.plus(*one));
        let row = |name: &str, cost: Cost| {
            format!(
                "{name:<42} {:>11} {:>7} {:>4}",
                cost.invocations, cost.entries, cost.runs
            )
        };
        let mut table = vec![format!(
            "{:<42} invocations entries runs",
            "one order of one line"
        )];
        table.extend(costs.iter().map(|(name, cost)| row(name, *cost)));
        table.push(row("all", all));
        let table = table.join("\n");
        println!("{table}");
        assert!(
            all.invocations <= BUDGET.invocations
                && all.entries <= BUDGET.entries
                && all.runs <= BUDGET.runs,
            "an order costs more than {BUDGET:?}:\n{table}"
        );
    });
}
