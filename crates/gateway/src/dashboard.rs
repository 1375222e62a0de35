//! The shop at a glance: `GET /api/dashboard`, for admins.
//!
//! Every number comes from an index, so that it stays quick with 100,000
//! orders, and is looked up at most twice a second however many look at it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::FromRef;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use futures::future::join_all;
use serde::Serialize;
use services::wire::ORDER_FULFILLMENT_WORKFLOW;
use tokio::sync::Mutex;
use waybill_domain::Timestamp;
use waybill_domain::money::CURRENCY;
use waybill_domain::order::OrderStatus;
use waybill_domain::words::{MAX_FOREIGN_ID, quoted};

use crate::auth::Admin;
use crate::catalog::LOW_STOCK;
use crate::http::problem::Problem;
use crate::infra::{Infra, Shared};
use crate::live::LiveHealth;
use crate::restate::admin::StuckInvocation;
use crate::storage::dashboard as queries;

/// How old the numbers may be.
const FRESH: Duration = Duration::from_millis(500);
/// How old the health of other processes may be.
const HEALTH_FRESH: Duration = Duration::from_secs(2);
/// How long a process may take to say that it is well.
const PROBE_WITHIN: Duration = Duration::from_secs(1);
/// Minutes that are drawn.
const MINUTES: i64 = 60;
/// Deliveries of which the median is taken: the latest ones tell how it is now.
const LATEST_DELIVERIES: i64 = 1_000;
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

/// Everything at a glance.
#[derive(Debug, Clone, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
pub struct StatusCount {
    /// The status.
    pub status: OrderStatus,
    /// In the customer's words.
    pub label: &'static str,
    /// How many.
    pub count: i64,
}

/// Money taken.
#[derive(Debug, Clone, Serialize)]
pub struct Revenue {
    /// Captured and not refunded.
    pub captured_cents: i64,
    /// Of it, for orders that have been delivered.
    pub delivered_cents: i64,
    /// ISO 4217.
    pub currency: &'static str,
}

/// From checkout to delivery, of the latest deliveries.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DeliveryTimes {
    /// Half took at most this long.
    pub median_ms: Option<i64>,
    /// All but one in twenty took at most this long.
    pub p95_ms: Option<i64>,
    /// How many deliveries were looked at.
    pub of: usize,
}

/// One minute.
#[derive(Debug, Clone, Serialize)]
pub struct Minute {
    /// Its beginning.
    pub at: Timestamp,
    /// Orders placed in it.
    pub orders: i64,
}

/// Something for an operator.
#[derive(Debug, Clone, Serialize)]
pub struct Need {
    /// What is the matter, in a sentence.
    pub what: String,
    /// What to do about it.
    pub todo: String,
    /// The order, when it is about one.
    pub order_id: Option<String>,
    /// Restate's invocation, when it is about one.
    pub invocation: Option<StuckInvocation>,
}

/// The health of one process.
#[derive(Debug, Clone, Serialize)]
pub struct Process {
    /// `gateway`, `restate`, `restate-admin`, `services`, `sandbox`.
    pub name: String,
    /// Where it was asked.
    pub url: String,
    /// Whether it says that it is well.
    pub up: bool,
    /// Why not.
    pub detail: Option<String>,
}

/// The latest answer, shared by all who look.
#[derive(Debug, Default)]
pub struct Latest {
    dashboard: Mutex<Option<(Instant, Arc<Dashboard>)>>,
    outside: Mutex<Option<(Instant, Arc<Outside>)>>,
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

/// The routes of this feature.
pub fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Shared: FromRef<S>,
    Arc<Latest>: FromRef<S>,
{
    Router::new().route("/api/dashboard", get(show))
}

async fn show(
    State(infra): State<Shared>,
    State(latest): State<Arc<Latest>>,
    _: Admin,
) -> Result<Json<Arc<Dashboard>>, Problem> {
    current(&infra, &latest).await.map(Json)
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
        queries::overdue(&infra.db, now - OVERDUE_AFTER, now - SLOW),
    );
    let counts = counts?;
    let (delivered_cents, on_its_way_cents) = revenue?;
    let stuck = outside.stuck.clone();
    Ok(Dashboard {
        at: now,
        total: counts.iter().map(|(_, count)| count).sum(),
        orders: by_status(&counts),
        revenue: Revenue {
            captured_cents: delivered_cents + on_its_way_cents,
            delivered_cents,
            currency: CURRENCY,
        },
        delivery: DeliveryTimes::of(times?),
        orders_per_minute: minutes?,
        low_stock: low_stock?,
        restate_asked: stuck.is_some() && outside.abandoned.is_some(),
        needs_operator: needs(
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
            at: Timestamp::from_millisecond(minute * 60_000).unwrap_or_default(),
            orders: placed
                .iter()
                .find(|(placed_in, _)| *placed_in == minute)
                .map_or(0, |(_, count)| *count),
        })
        .collect())
}

fn needs(
    stuck: Vec<StuckInvocation>,
    abandoned: &[String],
    overdue: Vec<queries::Overdue>,
) -> Vec<Need> {
    let stuck = stuck.into_iter().map(|invocation| {
        let (what, todo) = if invocation.status == "paused" {
            (
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
                format!(
                    "{} has failed {} times and is tried again",
                    quoted(&invocation.target, MAX_FOREIGN_ID),
                    invocation.retry_count
                ),
                "it goes on by itself once what it asks works again: see why it failed, and whether that process is up".to_owned(),
            )
        };
        Need {
            what,
            todo,
            order_id: (invocation.service == ORDER_FULFILLMENT_WORKFLOW)
                .then(|| invocation.key.clone())
                .flatten(),
            invocation: Some(invocation),
        }
    });
    let nobodys = abandoned.iter().map(|order| Need {
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

async fn outside(infra: &Infra, latest: &Latest) -> Arc<Outside> {
    let mut known = latest.outside.lock().await;
    if let Some((asked, outside)) = &*known
        && asked.elapsed() < HEALTH_FRESH
    {
        return Arc::clone(outside);
    }
    let (stuck, abandoned, processes) = tokio::join!(
        tokio::time::timeout(PROBE_WITHIN, infra.admin_api.stuck()),
        tokio::time::timeout(PROBE_WITHIN, abandoned(infra)),
        processes(infra)
    );
    let outside = Arc::new(Outside {
        stuck: stuck.ok().and_then(Result::ok),
        abandoned: abandoned.ok().and_then(Result::ok),
        processes,
    });
    *known = Some((Instant::now(), Arc::clone(&outside)));
    outside
}

/// Orders that a workflow should be working on, and none does.
async fn abandoned(infra: &Infra) -> anyhow::Result<Vec<String>> {
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

/// Asks every process that this gateway knows of.
pub async fn processes(infra: &Infra) -> Vec<Process> {
    let settings = &infra.settings;
    let mut asked = vec![
        (
            "restate".to_owned(),
            format!("{}/restate/health", settings.restate_ingress_url),
        ),
        (
            "restate-admin".to_owned(),
            format!("{}/health", settings.restate_admin_url),
        ),
    ];
    let several = settings.services_updates_urls.len() > 1;
    for (n, url) in settings.services_updates_urls.iter().enumerate() {
        let name = if several {
            format!("services {}", n + 1)
        } else {
            "services".to_owned()
        };
        asked.push((name, beside(url, "/healthz")));
    }
    if let Some(sandbox) = settings.sandbox_url() {
        asked.push(("sandbox".to_owned(), format!("{sandbox}/healthz")));
    }
    let probes = asked.into_iter().map(async |(name, url)| {
        let detail = probe(&infra.http, &url).await.err();
        Process {
            name,
            url,
            up: detail.is_none(),
            detail,
        }
    });
    let gateway = Process {
        name: "gateway".to_owned(),
        url: format!("http://{}", settings.gateway_listen),
        up: true,
        detail: None,
    };
    let mut processes = vec![gateway];
    processes.extend(join_all(probes).await);
    processes
}

/// Another path of the server that `url` names.
pub(crate) fn beside(url: &str, path: &str) -> String {
    url.parse::<reqwest::Url>()
        .and_then(|url| url.join(path))
        .map_or_else(|_| url.to_owned(), |url| url.to_string())
}

async fn probe(http: &reqwest::Client, url: &str) -> Result<(), String> {
    let asked = http.get(url).timeout(PROBE_WITHIN).send().await;
    match asked {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("it answers {}", answer.status())),
        Err(error) if error.is_timeout() => Err("it does not answer in time".to_owned()),
        Err(_) => Err("it is not reachable".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use services::wire::order_fulfillment::RUN;

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
        let order = |id: &str, undoing: Option<&str>| queries::Overdue {
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

    #[test]
    fn the_servers_other_paths() {
        assert_eq!(
            beside("http://s:9081/updates", "/crash"),
            "http://s:9081/crash"
        );
    }
}
