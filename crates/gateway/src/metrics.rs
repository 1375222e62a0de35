//! What the gateway counts, for Prometheus.
//!
//! `prometheus-client` (the Prometheus project's own) rather than a global
//! recorder: the registry is a value, so several gateways in one test process
//! count apart, and every label is a type.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the latency buckets, in seconds: a cached page to a call
/// that waited for its timeout.
const LATENCIES: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

/// Everything that is counted. A cheap clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    latencies: Family<RouteLabels, Histogram>,
    updates: Family<UpdateLabels, Counter>,
    catch_ups: Family<CatchUpLabels, Counter>,
    gap_closed: Counter,
    malformed: Counter,
    refused: Family<RefusedLabels, Counter>,
    sources_connected: Gauge,
    streams_open: Gauge,
    lag: Gauge<f64, AtomicU64>,
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
        let mut registry = Registry::with_prefix("waybill_gateway");
        let requests = Family::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let latencies: Family<RouteLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(LATENCIES));
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's head to its answer's head",
            Unit::Seconds,
            latencies.clone(),
        );
        let updates = Family::default();
        registry.register(
            "updates",
            "Updates that reached the projector; news=false are duplicates and old versions",
            updates.clone(),
        );
        let catch_ups = Family::default();
        registry.register(
            "catch_ups",
            "Comparisons of the read model with Restate",
            catch_ups.clone(),
        );
        let gap_closed = Counter::default();
        registry.register(
            "gap_closed",
            "States that a catch-up brought because the update stream had not",
            gap_closed.clone(),
        );
        let malformed = Counter::default();
        registry.register(
            "malformed_lines",
            "Lines of the update stream that could not be read",
            malformed.clone(),
        );
        let refused = Family::default();
        registry.register(
            "refused",
            "Requests that were refused on the way in, by what: host, address, user, work",
            refused.clone(),
        );
        let sources_connected = Gauge::default();
        registry.register(
            "update_sources_connected",
            "Services whose update stream is open",
            sources_connected.clone(),
        );
        let streams_open = Gauge::default();
        registry.register(
            "streams_open",
            "Event streams to browsers",
            streams_open.clone(),
        );
        let lag = Gauge::default();
        registry.register_with_unit(
            "read_model_lag",
            "How far the read model was behind Restate when it was last written",
            Unit::Seconds,
            lag.clone(),
        );
        Self {
            registry: Arc::new(registry),
            requests,
            latencies,
            updates,
            catch_ups,
            gap_closed,
            malformed,
            refused,
            sources_connected,
            streams_open,
            lag,
        }
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
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

    pub(crate) fn catch_up(&self, closed: Option<u64>) {
        let outcome = match closed {
            Some(closed) => {
                self.gap_closed.inc_by(closed);
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
    }

    pub(crate) fn stream_closed(&self) {
        self.streams_open.dec();
    }

    pub(crate) fn lag(&self, lag: Duration) {
        self.lag.set(lag.as_secs_f64());
    }
}
