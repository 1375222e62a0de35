//! Lets sessions forget what ended a retention ago, and the audit log what is older than
//! its own. Restate has no timer for each that way: this gateway looks once in a while
//! which are old, and asks those who have them, who decide. Two gateways that ask do no
//! harm.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use services::client::{Body, Failure, Ingress, outcome};
use waybill_domain::Timestamp;
use waybill_domain::audit;
use waybill_domain::ids::OrderId;

use super::core::Core;
use crate::restate::admin::AdminApi;
use crate::restate::states::{AuditDayRow, MarkerRow, audit_days_sql, markers_sql};
use crate::storage::audit as rows;
use crate::storage::db::Db;

/// The first look, soon after the start: a gateway that is restarted every day looks,
/// too.
const FIRST_AFTER: Duration = Duration::from_mins(1);
/// A retention is looked at so many times.
const LOOKS: u32 = 30;
/// The shortest and the longest time between two looks.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(24);

/// How long what is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    /// An order that has ended.
    pub(super) orders: Duration,
    /// A day of the audit log.
    pub(super) audit: Duration,
}

/// Asks for what is older than that, until the gateway closes.
pub(super) async fn keep_forgetting(
    core: Arc<Core>,
    admin_api: AdminApi,
    ingress: Ingress,
    db: Db,
    retention: Retention,
) {
    let shorter = retention.orders.min(retention.audit);
    let every = (shorter / LOOKS).clamp(SHORTEST, LONGEST);
    let work = async {
        tokio::time::sleep(every.min(FIRST_AFTER)).await;
        loop {
            match forget_days(&admin_api, &ingress, &db, retention.audit).await {
                Ok(0) => {}
                Ok(entries) => tracing::info!(entries, "old entries of the audit log are removed"),
                Err(error) => {
                    tracing::warn!(%error, "the old audit log could not be removed, so it is tried again");
                }
            }
            match forget(&admin_api, &ingress, retention.orders).await {
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

/// Removes the days of the audit log that are older than `retention`, in Restate and
/// here; answers how many entries have gone from here.
async fn forget_days(
    admin_api: &AdminApi,
    ingress: &Ingress,
    db: &Db,
    retention: Duration,
) -> anyhow::Result<u64> {
    let first = audit::day(Timestamp::now() - retention);
    let days: Vec<AuditDayRow> = admin_api.query_rows(audit_days_sql()).try_collect().await?;
    // Days sort as their text does.
    for day in days.into_iter().filter(|row| row.service_key < first) {
        let log = ingress.audit_log(&day.service_key);
        match outcome(log.forget(Body::from(())).call().await) {
            Ok(_) => {}
            Err(error @ Failure::Unavailable(_)) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(audit.day = day.service_key, %error, "an old day of the audit log could not be forgotten");
            }
        }
    }
    match audit::begin_of(&first) {
        Some(begin) => Ok(rows::remove_older(db, begin).await?),
        None => Ok(0),
    }
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
