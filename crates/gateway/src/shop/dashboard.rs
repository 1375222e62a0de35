//! The shop at a glance.
//!
//! Every number comes from an index, so that it stays quick with 100,000
//! orders, and is looked up at most twice a second however many look at it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Mutex;
use waybill_domain::Timestamp;
use waybill_domain::money::CURRENCY;
use waybill_domain::order::OrderStatus;

use super::operator::{self, Need};
use super::processes::{self, Process};
use super::products::LOW_STOCK;
use crate::clock::timestamp;
use crate::http::problem::Problem;
use crate::infra::Infra;
use crate::live::LiveHealth;
use crate::restate::admin::StuckInvocation;
use crate::storage::dashboard as queries;

/// How old the numbers may be.
const FRESH: Duration = Duration::from_millis(500);
/// How old the health of other processes may be.
const HEALTH_FRESH: Duration = Duration::from_secs(2);
/// Minutes that are drawn.
const MINUTES: i64 = 60;
/// Deliveries of which the median is taken: the latest ones tell how it is now.
const LATEST_DELIVERIES: i64 = 1_000;

/// Everything at a glance.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Dashboard {
    /// As of when.
    pub at: Timestamp,
    /// How many orders there are.
    pub total: i64,
    /// How many are in each status, in the order of an order's life.
    pub orders: Vec<StatusCount>,
    /// Money.
    pub revenue: Revenue,
    /// How long orders took.
    pub delivery: DeliveryTimes,
    /// Orders placed in each of the last 60 minutes, oldest first.
    pub orders_per_minute: Vec<Minute>,
    /// Products that run out.
    pub low_stock: Vec<queries::LowStock>,
    /// What does not go on by itself, or should have by now.
    pub needs_operator: Vec<Need>,
    /// Whether Restate could be asked what is stuck, and what nobody works on.
    pub restate_asked: bool,
    /// How far the read model is behind.
    pub read_model: LiveHealth,
    /// The health of each process.
    pub processes: Vec<Process>,
}

/// How many orders are in a status.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct StatusCount {
    /// The status.
    pub status: OrderStatus,
    /// In the customer's words.
    pub label: &'static str,
    /// How many.
    pub count: i64,
}

/// Money taken.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Revenue {
    /// Captured and not refunded.
    pub captured_cents: i64,
    /// Of it, for orders that have been delivered.
    pub delivered_cents: i64,
    /// What went back after deliveries: it is not in the other two.
    pub refunded_cents: i64,
    /// ISO 4217.
    pub currency: &'static str,
}

/// From checkout to delivery, of the latest deliveries.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
pub struct DeliveryTimes {
    /// Half took at most this long.
    pub median_ms: Option<i64>,
    /// All but one in twenty took at most this long.
    pub p95_ms: Option<i64>,
    /// How many deliveries were looked at.
    pub of: usize,
}

/// One minute.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Minute {
    /// Its beginning.
    pub at: Timestamp,
    /// Orders placed in it.
    pub orders: i64,
}

/// The latest answer, shared by all who look.
#[derive(Debug, Default)]
pub struct Latest {
    dashboard: Mutex<Option<(Instant, Arc<Dashboard>)>>,
    outside: Mutex<Option<(Instant, Arc<Outside>)>>,
    /// When the metrics were set from it.
    pub(super) scraped: Mutex<Option<Instant>>,
}

/// What others have to be asked for.
#[derive(Debug)]
struct Outside {
    /// `None`: nobody could be asked.
    stuck: Option<Vec<StuckInvocation>>,
    /// Orders that have not ended and have no workflow; `None` as above.
    abandoned: Option<Vec<String>>,
    processes: Vec<Process>,
}

/// The dashboard of now, at most half a second old.
pub async fn current(infra: &Infra, latest: &Latest) -> Result<Arc<Dashboard>, Problem> {
    // Whoever comes while it is made waits for that one.
    let mut known = latest.dashboard.lock().await;
    if let Some((made, dashboard)) = &*known
        && made.elapsed() < FRESH
    {
        return Ok(Arc::clone(dashboard));
    }
    let dashboard = Arc::new(make(infra, latest).await?);
    *known = Some((Instant::now(), Arc::clone(&dashboard)));
    Ok(dashboard)
}

async fn make(infra: &Infra, latest: &Latest) -> Result<Dashboard, Problem> {
    let now = Timestamp::now();
    let (outside, counts, revenue, times, minutes, low_stock, overdue) = tokio::join!(
        outside(infra, latest),
        crate::storage::orders::counts(&infra.db, None),
        queries::revenue(&infra.db),
        queries::delivery_times(&infra.db, LATEST_DELIVERIES),
        minutes(infra, now),
        queries::low_stock(&infra.db, LOW_STOCK),
        operator::overdue(infra, now),
    );
    let counts = counts?;
    let (brought_cents, refunded_cents, on_its_way_cents) = revenue?;
    let delivered_cents = brought_cents - refunded_cents;
    let stuck = outside.stuck.clone();
    Ok(Dashboard {
        at: now,
        total: counts.iter().map(|(_, count)| count).sum(),
        orders: by_status(&counts),
        revenue: Revenue {
            captured_cents: delivered_cents + on_its_way_cents,
            delivered_cents,
            refunded_cents,
            currency: CURRENCY,
        },
        delivery: DeliveryTimes::of(times?),
        orders_per_minute: minutes?,
        low_stock: low_stock?,
        restate_asked: stuck.is_some() && outside.abandoned.is_some(),
        needs_operator: operator::needs(
            stuck.unwrap_or_default(),
            outside.abandoned.as_deref().unwrap_or_default(),
            overdue?,
        ),
        read_model: infra.live.health(),
        processes: outside.processes.clone(),
    })
}

fn by_status(counts: &[(String, i64)]) -> Vec<StatusCount> {
    OrderStatus::ALL
        .into_iter()
        .map(|status| StatusCount {
            status,
            label: status.label(),
            count: counts
                .iter()
                .find(|(name, _)| name == status.as_str())
                .map_or(0, |(_, count)| *count),
        })
        .collect()
}

impl DeliveryTimes {
    fn of(mut times: Vec<i64>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let last = times.len().checked_sub(1)?;
            times.get(last * percent / 100).copied()
        };
        Self {
            median_ms: at(50),
            p95_ms: at(95),
            of: times.len(),
        }
    }
}

async fn minutes(infra: &Infra, now: Timestamp) -> Result<Vec<Minute>, Problem> {
    let this = now.as_millisecond().div_euclid(60_000);
    let first = this - MINUTES + 1;
    let placed = queries::placed_per_minute(&infra.db, first).await?;
    Ok((first..=this)
        .map(|minute| Minute {
            at: timestamp(minute * 60_000),
            orders: placed
                .iter()
                .find(|(placed_in, _)| *placed_in == minute)
                .map_or(0, |(_, count)| *count),
        })
        .collect())
}

async fn outside(infra: &Infra, latest: &Latest) -> Arc<Outside> {
    let mut known = latest.outside.lock().await;
    if let Some((asked, outside)) = &*known
        && asked.elapsed() < HEALTH_FRESH
    {
        return Arc::clone(outside);
    }
    let (stuck, abandoned, processes) = tokio::join!(
        tokio::time::timeout(processes::PROBE_WITHIN, infra.admin_api.stuck()),
        tokio::time::timeout(processes::PROBE_WITHIN, operator::abandoned(infra)),
        processes::all(infra)
    );
    let outside = Arc::new(Outside {
        stuck: stuck.ok().and_then(Result::ok),
        abandoned: abandoned.ok().and_then(Result::ok),
        processes,
    });
    *known = Some((Instant::now(), Arc::clone(&outside)));
    outside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_there_is() {
        assert_eq!(DeliveryTimes::of(vec![]).median_ms, None);
        let times = DeliveryTimes::of((1..=101).rev().collect());
        assert_eq!(
            (times.median_ms, times.p95_ms, times.of),
            (Some(51), Some(96), 101)
        );
        assert_eq!(DeliveryTimes::of(vec![7]).p95_ms, Some(7));
    }
}
