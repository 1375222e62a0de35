//! Lets sessions forget what ended a retention ago. Restate has no timer for each
//! order that way: this gateway looks once in a while which are old, and asks their
//! sessions, which decide. Two gateways that ask do no harm.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use services::client::{Body, Failure, Ingress, outcome};
use waybill_domain::Timestamp;
use waybill_domain::ids::OrderId;

use super::core::Core;
use crate::restate::admin::AdminApi;
use crate::restate::states::{MarkerRow, markers_sql};

/// The first look, soon after the start: a gateway that is restarted every day looks,
/// too.
const FIRST_AFTER: Duration = Duration::from_mins(1);
/// A retention is looked at so many times.
const LOOKS: u32 = 30;
/// The shortest and the longest time between two looks.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(24);

/// Asks for what is older than `retention`, until the gateway closes.
pub(super) async fn keep_forgetting(
    core: Arc<Core>,
    admin_api: AdminApi,
    ingress: Ingress,
    retention: Duration,
) {
    let every = (retention / LOOKS).clamp(SHORTEST, LONGEST);
    let work = async {
        tokio::time::sleep(every.min(FIRST_AFTER)).await;
        loop {
            match forget(&admin_api, &ingress, retention).await {
                Ok(0) => {}
                Ok(orders) => tracing::info!(orders, "sessions have forgotten old orders"),
                Err(error) => {
                    tracing::warn!(%error, "old orders could not be forgotten, so it is tried again");
                }
            }
            tokio::time::sleep(every).await;
        }
    };
    core.closing.run_until_cancelled(work).await;
}

/// How many were forgotten. One that cannot be is its own trouble alone; while the
/// services cannot be reached there is nothing to go on with.
async fn forget(
    admin_api: &AdminApi,
    ingress: &Ingress,
    retention: Duration,
) -> anyhow::Result<u64> {
    let before = Timestamp::now() - retention;
    let rows = admin_api.query_rows::<MarkerRow>(markers_sql());
    let old: Vec<OrderId> = rows
        .try_filter_map(async |row| Ok(row.older_than(before)))
        .try_collect()
        .await?;
    let mut forgotten = 0;
    for order in old {
        let session = ingress.user_session(&order.owner());
        match outcome(session.forget(Body::from(order.clone())).call().await) {
            Ok(is_forgotten) => forgotten += u64::from(is_forgotten),
            Err(error @ Failure::Unavailable(_)) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(order.id = %order, %error, "an old order could not be forgotten");
            }
        }
    }
    Ok(forgotten)
}
