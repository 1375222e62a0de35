//! What does not go on by itself, or should have by now, and what an operator
//! does about it.

use std::time::Duration;

use serde::Serialize;
use services::wire::ORDER_FULFILLMENT_WORKFLOW;
use waybill_domain::Timestamp;
use waybill_domain::words::{MAX_FOREIGN_ID, quoted};

use crate::infra::Infra;
use crate::restate::admin::StuckInvocation;
use crate::storage::dashboard::{self as queries, Overdue};

/// A deadline that passed this long ago should have been acted upon.
const OVERDUE_AFTER: Duration = Duration::from_mins(1);
/// Shipping, or undoing, that takes this long is held up by others.
const SLOW: Duration = Duration::from_mins(5);
/// An order that has moved on this recently may be between two hands.
const BETWEEN_HANDS: Duration = Duration::from_secs(5);
/// Most orders whose workflow is looked for, and that are said to have none.
const MOST_LOOKED_FOR: i64 = 20_000;
const MOST_ABANDONED: usize = 50;
/// Most of those without one whose end is looked for.
const MOST_ALONE: usize = 1_000;

/// Every kind of [`Need`].
pub const KINDS: [&str; 6] = [
    "paused",
    "retrying",
    "abandoned",
    "undoing",
    "shipping",
    "overdue",
];

/// Something for an operator.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Need {
    /// Of [`KINDS`], for metrics.
    #[serde(skip)]
    pub kind: &'static str,
    /// What is the matter, in a sentence.
    pub what: String,
    /// What to do about it.
    pub todo: String,
    /// The order, when it is about one.
    pub order_id: Option<String>,
    /// Restate's invocation, when it is about one.
    pub invocation: Option<StuckInvocation>,
}

/// What an operator has to know, each in a sentence and with what to do.
pub(super) fn needs(
    stuck: Vec<StuckInvocation>,
    abandoned: &[String],
    overdue: Vec<Overdue>,
) -> Vec<Need> {
    let stuck = stuck.into_iter().map(|invocation| {
        let (kind, what, todo) = if invocation.status == "paused" {
            (
                "paused",
                format!(
                    "{} is paused: Restate does not try it again",
                    quoted(&invocation.target, MAX_FOREIGN_ID)
                ),
                format!(
                    "read why it failed, mend that, then run `restate invocations resume {}`",
                    invocation.id
                ),
            )
        } else {
            (
                "retrying",
                format!(
                    "{} has failed {} times and is tried again",
                    quoted(&invocation.target, MAX_FOREIGN_ID),
                    invocation.retry_count
                ),
                "it goes on by itself once what it asks works again: see why it failed, and whether that process is up".to_owned(),
            )
        };
        Need {
            kind,
            what,
            todo,
            order_id: (invocation.service == ORDER_FULFILLMENT_WORKFLOW)
                .then(|| invocation.key.clone())
                .flatten(),
            invocation: Some(invocation),
        }
    });
    let nobodys = abandoned.iter().map(|order| Need {
        kind: "abandoned",
        what: format!("{order} has not ended, and no workflow works on it: it was killed"),
        todo: format!(
            "to undo what was done and end the order, run `gateway reconcile {order} --repair`"
        ),
        order_id: Some(order.clone()),
        invocation: None,
    });
    let overdue = overdue
        .into_iter()
        .filter(|order| !abandoned.contains(&order.order_id));
    let overdue = overdue.map(|order| Need {
        kind: match (&order.undoing, order.status.as_str()) {
            (Some(_), _) => "undoing",
            (None, "shipping") => "shipping",
            (None, _) => "overdue",
        },
        what: match (&order.undoing, order.status.as_str()) {
            (Some(_), _) => format!(
                "{} is being taken back, and that does not come to an end",
                order.order_id
            ),
            (None, "shipping") => format!(
                "{} waits long for the carrier or the payment provider",
                order.order_id
            ),
            (None, _) => format!("{} should have gone on by now", order.order_id),
        },
        todo: format!(
            "look at its journal: which call waits or fails, and is that process up? \
             Where nothing works on it any more, run `gateway reconcile {} --repair`",
            order.order_id
        ),
        order_id: Some(order.order_id),
        invocation: None,
    });
    stuck.chain(nobodys).chain(overdue).collect()
}

/// Orders that should have gone on by now.
pub(super) async fn overdue(infra: &Infra, now: Timestamp) -> sqlx::Result<Vec<Overdue>> {
    queries::overdue(&infra.db, now - OVERDUE_AFTER, now - SLOW).await
}

/// Orders that a workflow should be working on, and none does.
pub(super) async fn abandoned(infra: &Infra) -> anyhow::Result<Vec<String>> {
    let still_since = Timestamp::now() - BETWEEN_HANDS;
    let mut orders = queries::with_a_workflow(&infra.db, still_since, MOST_LOOKED_FOR).await?;
    if orders.is_empty() {
        return Ok(orders);
    }
    let under_way = infra.admin_api.under_way().await?;
    orders.retain(|order| !under_way.contains(order));
    orders.truncate(MOST_ALONE);
    // The read model may not have heard of an end yet.
    let ended = infra.admin_api.ended(&orders).await?;
    orders.retain(|order| !ended.contains(order));
    orders.truncate(MOST_ABANDONED);
    Ok(orders)
}

#[cfg(test)]
mod tests {
    use services::wire::order_fulfillment::RUN;

    use super::*;

    #[test]
    fn each_need_says_what_to_do() {
        let invocation = |status: &str| StuckInvocation {
            id: "inv_1".into(),
            target: RUN.of("alice.1"),
            service: RUN.service.into(),
            key: Some("alice.1".into()),
            status: status.into(),
            retry_count: 9,
            last_failure: Some("boom".into()),
        };
        let order = |id: &str, undoing: Option<&str>| Overdue {
            order_id: id.into(),
            status: "shipping".into(),
            undoing: undoing.map(str::to_owned),
        };
        let needs = needs(
            vec![invocation("paused"), invocation("backing-off")],
            &["bob.3".to_owned()],
            vec![
                order("bob.2", None),
                order("bob.3", None),
                order("bob.4", Some("cancelled")),
            ],
        );
        assert!(needs[0].todo.contains("restate invocations resume inv_1"));
        assert_eq!(needs[0].order_id.as_deref(), Some("alice.1"));
        assert!(needs[1].what.contains("9 times"));
        assert!(needs[2].todo.contains("`gateway reconcile bob.3 --repair`"));
        assert!(needs[3].what.contains("bob.2 waits long for the carrier"));
        assert!(needs[4].what.contains("bob.4 is being taken back"));
        assert!(needs[4].todo.contains("`gateway reconcile bob.4 --repair`"));
        assert_eq!(needs.len(), 5, "each is said once");
    }
}
