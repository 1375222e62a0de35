//! What the gateway counts, for Prometheus.
//!
//! `prometheus-client` (the Prometheus project's own) rather than a global
//! recorder: the registry is a value, so several gateways in one test process
//! count apart, and every label is a type.
//!
//! `waybill_gateway_…` is about this process. `waybill_shop_…` is about the shop as
//! this gateway's copy and Restate tell of it: the same at every gateway, so a
//! dashboard takes the largest and no sum. No label has a value that strangers choose.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use waybill_domain::Timestamp;

use crate::storage::timings;

/// Upper bounds of the latency buckets, in seconds: a cached page to a call
/// that waited for its timeout.
const LATENCIES: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Upper bounds for one commit into the read model, in seconds.
const COMMITS: [f64; 10] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
];
/// Upper bounds for a catch-up, in seconds: a small shop to a million orders.
const CATCH_UPS: [f64; 10] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What the read model and Restate say of the shop.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// How many orders have each status.
    pub orders: Vec<(&'static str, i64)>,
    /// Open orders in a status for at least so many seconds.
    pub waiting: Vec<(&'static str, i64, i64)>,
    /// What needs an operator, by kind.
    pub needs: Vec<(&'static str, usize)>,
    /// Products that are out of stock, and those that will be soon.
    pub stock: Vec<(&'static str, i64)>,
    /// Orders for which money came too late.
    pub late: i64,
    /// Which processes say that they are well.
    pub processes: Vec<(String, bool)>,
    /// Whether Restate could be asked what is stuck.
    pub restate_asked: bool,
    /// How far the read model may be behind, in seconds, if that is known.
    pub behind_s: Option<f64>,
    /// Updates that wait to be written.
    pub queued: usize,
    /// Update streams that should be open.
    pub sources: usize,
    /// Size of the SQLite file in bytes.
    pub database_bytes: i64,
}

/// Everything that is counted. A cheap clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    latencies: Family<RouteLabels, Histogram>,
    updates: Family<UpdateLabels, Counter>,
    writes: Histogram,
    catch_up_times: Histogram,
    compared: Gauge,
    caught_up_at: Gauge<f64, AtomicU64>,
    streams_opened: Counter,
    streams_refused: Family<RefusedLabels, Counter>,
    shop: Shop,
    catch_ups: Family<CatchUpLabels, Counter>,
    gap_closed: Counter,
    malformed: Counter,
    refused: Family<RefusedLabels, Counter>,
    sources_connected: Gauge,
    streams_open: Gauge,
    lag: Gauge<f64, AtomicU64>,
}

/// Gauges of [`Figures`], set anew with each scrape.
#[derive(Debug, Clone, Default)]
struct Shop {
    is_readable: Gauge,
    orders: Family<StatusLabels, Gauge>,
    waiting: Family<WaitingLabels, Gauge>,
    needs: Family<KindLabels, Gauge>,
    restate_asked: Gauge,
    stock: Family<LevelLabels, Gauge>,
    late: Gauge,
    processes: Family<ProcessLabels, Gauge>,
    behind: Gauge<f64, AtomicU64>,
    queued: Gauge,
    sources: Gauge,
    database: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaitingLabels {
    status: &'static str,
    at_least_seconds: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LevelLabels {
    level: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProcessLabels {
    process: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: String,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpdateLabels {
    kind: &'static str,
    news: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CatchUpLabels {
    outcome: CatchUpOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    by: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum CatchUpOutcome {
    Done,
    Failed,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let shop = Shop::new(registry.sub_registry_with_prefix("waybill_shop"));
        let ours = registry.sub_registry_with_prefix("waybill_gateway");
        shop.register_ours(ours);
        let version = env!("CARGO_PKG_VERSION");
        let build = Info::new(BuildLabels { version });
        ours.register("build", "The version that runs", build);
        timings::register(ours);
        let latencies: Family<RouteLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(LATENCIES));
        ours.register_with_unit(
            "http_request_duration",
            "Time from a request's head to its answer's head",
            Unit::Seconds,
            latencies.clone(),
        );
        let (writes, catch_up_times) = (Histogram::new(COMMITS), Histogram::new(CATCH_UPS));
        ours.register_with_unit(
            "read_model_write_duration",
            "Time of one commit into the read model, which many updates share",
            Unit::Seconds,
            writes.clone(),
        );
        ours.register_with_unit(
            "catch_up_duration",
            "Time of one comparison of the read model with Restate, and of what it fetched",
            Unit::Seconds,
            catch_up_times.clone(),
        );
        let (caught_up_at, lag) = <(Gauge<f64, AtomicU64>, Gauge<f64, AtomicU64>)>::default();
        ours.register_with_unit(
            "catch_up_success_timestamp",
            "When the latest comparison with Restate that went well began, since 1970; 0: none yet",
            Unit::Seconds,
            caught_up_at.clone(),
        );
        ours.register_with_unit(
            "read_model_lag",
            "How long the latest news of an order took from its step to the read model",
            Unit::Seconds,
            lag.clone(),
        );
        let metrics = Self {
            requests: registered(ours, "http_requests", "Requests answered"),
            updates: registered(
                ours,
                "updates",
                "Updates that reached the projector; news=false are duplicates and old versions",
            ),
            compared: registered(
                ours,
                "catch_up_states",
                "States that Restate held at the latest comparison",
            ),
            catch_ups: registered(
                ours,
                "catch_ups",
                "Comparisons of the read model with Restate",
            ),
            gap_closed: registered(
                ours,
                "catch_up_states_missed",
                "States that a catch-up brought because the update stream had not",
            ),
            malformed: registered(
                ours,
                "update_lines_malformed",
                "Lines of the update stream that could not be read",
            ),
            refused: registered(
                ours,
                "requests_refused",
                "Requests that were refused on the way in, by what: host, address, user, work",
            ),
            sources_connected: registered(
                ours,
                "update_sources_connected",
                "Services whose update stream is open",
            ),
            streams_open: registered(ours, "streams_open", "Event streams to browsers"),
            streams_opened: registered(
                ours,
                "streams_opened",
                "Event streams to browsers since the start",
            ),
            streams_refused: registered(
                ours,
                "streams_refused",
                "Event streams that were one too many, for what: user, address, gateway",
            ),
            registry: Arc::new(registry),
            latencies,
            writes,
            catch_up_times,
            caught_up_at,
            lag,
            shop,
        };
        metrics.begin_at_zero();
        metrics
    }
}

/// A metric that begins empty, registered.
fn registered<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Shop {
    fn new(registry: &mut Registry) -> Self {
        Self {
            orders: registered(registry, "orders", "Orders in each status"),
            waiting: registered(
                registry,
                "orders_waiting",
                "Open orders that have been in a status for at least so long; of the 5,000 oldest of each",
            ),
            needs: registered(
                registry,
                "needs_operator",
                "What does not go on by itself or should have by now, at most 50 of a kind: paused and retrying invocations, abandoned orders, orders that are overdue, slow in shipping or in undoing",
            ),
            stock: registered(
                registry,
                "products_short",
                "Products that are out of stock, or low (10 pieces or fewer)",
            ),
            late: registered(
                registry,
                "late_payment_orders",
                "Orders for which money came too late",
            ),
            processes: registered(
                registry,
                "process_up",
                "Whether a process that this gateway knows of says that it is well",
            ),
            restate_asked: registered(
                registry,
                "restate_asked",
                "Whether Restate could be asked what is stuck: 0 means that needs_operator does not know",
            ),
            ..Self::default()
        }
    }

    fn register_ours(&self, registry: &mut Registry) {
        registry.register(
            "read_model_readable",
            "Whether the read model could be asked for the shop's figures",
            self.is_readable.clone(),
        );
        registry.register_with_unit(
            "read_model_behind",
            "How far the read model may be behind Restate: the age of what is surely in it; -1 while unknown",
            Unit::Seconds,
            self.behind.clone(),
        );
        registry.register(
            "updates_queued",
            "Updates that wait to be written",
            self.queued.clone(),
        );
        registry.register(
            "update_sources",
            "Services whose update stream should be open",
            self.sources.clone(),
        );
        registry.register_with_unit(
            "sqlite_size",
            "Size of the SQLite file, without its WAL",
            Unit::Bytes,
            self.database.clone(),
        );
    }

    fn set(&self, figures: &Figures) {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for &(status, count) in &figures.orders {
            let labels = StatusLabels { status };
            self.orders.get_or_create(&labels).set(count);
        }
        for &(status, at_least_seconds, count) in &figures.waiting {
            let labels = WaitingLabels {
                status,
                at_least_seconds,
            };
            self.waiting.get_or_create(&labels).set(count);
        }
        for &(kind, count) in &figures.needs {
            let labels = KindLabels { kind };
            self.needs.get_or_create(&labels).set(number(count));
        }
        for &(level, count) in &figures.stock {
            self.stock.get_or_create(&LevelLabels { level }).set(count);
        }
        for (process, up) in &figures.processes {
            let process = process.clone();
            let up = i64::from(*up);
            self.processes
                .get_or_create(&ProcessLabels { process })
                .set(up);
        }
        self.restate_asked.set(i64::from(figures.restate_asked));
        self.late.set(figures.late);
        self.behind.set(figures.behind_s.unwrap_or(-1.0));
        self.queued.set(number(figures.queued));
        self.sources.set(number(figures.sources));
        self.database.set(figures.database_bytes);
        self.is_readable.set(1);
    }

    /// Figures that cannot be read are not shown as they were.
    fn forget(&self) {
        self.is_readable.set(0);
        self.orders.clear();
        self.waiting.clear();
        self.needs.clear();
        self.stock.clear();
        self.processes.clear();
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A series that is there from the start shows its first event as a rise.
    fn begin_at_zero(&self) {
        for by in ["host", "address", "user", "work"] {
            drop(self.refused.get_or_create(&RefusedLabels { by }));
        }
        for by in ["user", "address", "gateway"] {
            drop(self.streams_refused.get_or_create(&RefusedLabels { by }));
        }
        for outcome in [CatchUpOutcome::Done, CatchUpOutcome::Failed] {
            drop(self.catch_ups.get_or_create(&CatchUpLabels { outcome }));
        }
    }

    /// What the shop looks like now; `None` when it could not be read.
    pub(crate) fn shop(&self, figures: Option<&Figures>) {
        match figures {
            Some(figures) => self.shop.set(figures),
            None => self.shop.forget(),
        }
    }

    /// The text that Prometheus reads.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    pub(super) fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        self.requests
            .get_or_create(&RequestLabels {
                method: method.to_owned(),
                route: route.to_owned(),
                status,
            })
            .inc();
        self.latencies
            .get_or_create(&RouteLabels {
                method: method.to_owned(),
                route: route.to_owned(),
            })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn update(&self, kind: &'static str, news: bool) {
        self.updates
            .get_or_create(&UpdateLabels { kind, news })
            .inc();
    }

    /// A commit into the read model.
    pub(crate) fn written(&self, took: Duration) {
        self.writes.observe(took.as_secs_f64());
    }

    /// A comparison that began then; how much was compared and was missing, if it
    /// went well.
    pub(crate) fn catch_up(&self, at: Timestamp, took: Duration, done: Option<(u64, u64)>) {
        let outcome = match done {
            Some((compared, closed)) => {
                self.gap_closed.inc_by(closed);
                self.compared
                    .set(i64::try_from(compared).unwrap_or(i64::MAX));
                self.caught_up_at
                    .set(at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64());
                self.catch_up_times.observe(took.as_secs_f64());
                CatchUpOutcome::Done
            }
            None => CatchUpOutcome::Failed,
        };
        self.catch_ups
            .get_or_create(&CatchUpLabels { outcome })
            .inc();
    }

    pub(crate) fn malformed_line(&self) {
        self.malformed.inc();
    }

    pub(crate) fn refused(&self, by: &'static str) {
        self.refused.get_or_create(&RefusedLabels { by }).inc();
    }

    pub(crate) fn sources_connected(&self, connected: usize) {
        self.sources_connected
            .set(i64::try_from(connected).unwrap_or(i64::MAX));
    }

    pub(crate) fn stream_opened(&self) {
        self.streams_open.inc();
        self.streams_opened.inc();
    }

    pub(crate) fn stream_refused(&self, by: &'static str) {
        let labels = RefusedLabels { by };
        self.streams_refused.get_or_create(&labels).inc();
    }

    pub(crate) fn stream_closed(&self) {
        self.streams_open.dec();
    }

    pub(crate) fn lag(&self, lag: Duration) {
        self.lag.set(lag.as_secs_f64());
    }
}
