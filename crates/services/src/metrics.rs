//! What the services count, for Prometheus.
//!
//! Tries of invocations are counted where they pass ([`crate::attempt`]). What happens
//! in an order is counted from the lines that tell of it ([`crate::story`]): the
//! [`Counting`] layer reads their fields, those that are [`crate::news`], so that a replay
//! counts nothing twice, as it logs nothing twice.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use waybill_domain::order::OrderStatus;

use crate::broadcast::UpdateBroadcaster;
use crate::news::News;
use crate::settings::VERSION;
use crate::story::{self, TARGET, UNDONE};

/// Upper bounds for one try, in seconds: a read of state to a call that waited until
/// Restate took it away (`inactivity-timeout`).
const TRIES: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0,
];
/// Upper bounds for strangers, in seconds: a try ends after five.
const ANSWERS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Upper bounds for what people and parcels take: a second to a month.
const DAYS: [f64; 14] = [
    1.0,
    5.0,
    30.0,
    60.0,
    300.0,
    900.0,
    3_600.0,
    21_600.0,
    86_400.0,
    172_800.0,
    345_600.0,
    604_800.0,
    1_209_600.0,
    2_592_000.0,
];

/// Histograms of the same buckets.
type Histograms<L> = Family<L, Histogram, Buckets>;

/// The upper bounds of a family of histograms.
#[derive(Debug, Clone, Copy)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TryLabels {
    service: String,
    handler: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UndoneLabels {
    what: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutsideLabels {
    step: String,
    answer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    step: String,
}

/// How one try of an invocation has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The invocation has ended with its answer.
    Done,
    /// It has ended with an error for good: a refusal, a cancellation.
    Refused,
    /// It waits; Restate makes another try when there is news.
    Suspended,
    /// It has failed or was torn off; Restate makes another try.
    Failed,
}

impl Outcome {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Suspended => "suspended",
            Self::Failed => "failed",
        }
    }
}

/// Everything that is counted. A cheap clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    updates: UpdateBroadcaster,
    listeners: Gauge,
    tries: Histograms<TryLabels>,
    entered: Family<StatusLabels, Counter>,
    stayed: Histograms<StatusLabels>,
    delivered: Histogram,
    undone: Family<UndoneLabels, Counter>,
    late: Counter,
    outside: Histograms<OutsideLabels>,
    pauses: Family<StepLabels, Counter>,
}

impl Metrics {
    /// Nothing counted yet, but what `updates` counts itself.
    pub fn new(updates: UpdateBroadcaster) -> Self {
        let mut registry = Registry::with_prefix("waybill_services");
        registry.register(
            "build",
            "The version that runs",
            Info::new(BuildLabels { version: VERSION }),
        );
        registry.register(
            "updates_published",
            "Updates said aloud, heard or not",
            updates.counter(),
        );
        registry.register(
            "update_listeners_dropped",
            "Listeners that lagged too far behind; they come back and catch up",
            updates.dropped_counter(),
        );
        let listeners = Gauge::default();
        registry.register(
            "update_listeners",
            "Gateways that listen to the update stream",
            listeners.clone(),
        );
        let tries = Family::new_with_constructor(Buckets(&TRIES));
        registry.register_with_unit(
            "invocation_try_duration",
            "Time of one try of an invocation, by handler and how it ended: done, refused (an error for good), suspended (it waits), failed (it is tried again)",
            Unit::Seconds,
            tries.clone(),
        );
        let entered = Family::default();
        registry.register(
            "orders_entered",
            "Orders that have come into a status",
            entered.clone(),
        );
        let stayed = Family::new_with_constructor(Buckets(&DAYS));
        registry.register_with_unit(
            "order_status_duration",
            "How long orders that have left a status had been in it",
            Unit::Seconds,
            stayed.clone(),
        );
        let delivered = Buckets(&DAYS).new_metric();
        registry.register_with_unit(
            "order_paid_to_delivered_duration",
            "From an order's payment to its delivery",
            Unit::Seconds,
            delivered.clone(),
        );
        let undone = Family::default();
        registry.register(
            "compensations",
            "Steps of orders that were undone, by what had been done",
            undone.clone(),
        );
        let late = Counter::default();
        registry.register(
            "late_payments",
            "Payments that nobody waited for any more, and that were sent back",
            late.clone(),
        );
        let outside = Family::new_with_constructor(Buckets(&ANSWERS));
        registry.register_with_unit(
            "outside_request_duration",
            "Time of one question to the payment provider or the carrier, by step and answer: yes, no, not_now, none",
            Unit::Seconds,
            outside.clone(),
        );
        let pauses = Family::default();
        registry.register(
            "outside_pauses",
            "Durable sleeps because the provider or the carrier gave no answer in four tries",
            pauses.clone(),
        );
        let metrics = Self {
            registry: Arc::new(registry),
            updates,
            listeners,
            tries,
            entered,
            stayed,
            delivered,
            undone,
            late,
            outside,
            pauses,
        };
        metrics.begin_at_zero();
        metrics
    }

    /// A series that is there from the start shows its first event as a rise.
    fn begin_at_zero(&self) {
        for status in OrderStatus::ALL {
            let status = status.as_str().to_owned();
            drop(self.entered.get_or_create(&StatusLabels { status }));
        }
        for what in UNDONE {
            let what = what.to_owned();
            drop(self.undone.get_or_create(&UndoneLabels { what }));
        }
        for step in story::STEPS {
            let step = step.to_owned();
            drop(self.pauses.get_or_create(&StepLabels { step }));
        }
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// Never, as far as is known.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let listeners = i64::try_from(self.updates.listeners()).unwrap_or(i64::MAX);
        self.listeners.set(listeners);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts one try of an invocation.
    pub fn tried(&self, service: &str, handler: &str, outcome: Outcome, took: Duration) {
        self.tries
            .get_or_create(&TryLabels {
                service: service.to_owned(),
                handler: handler.to_owned(),
                outcome: outcome.word(),
            })
            .observe(took.as_secs_f64());
    }

    /// Counts what the lines of [`story`] tell.
    pub fn counting<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let of_the_story =
            FilterFn::new(|metadata| [TARGET, story::OUTSIDE].contains(&metadata.target()));
        let of_the_story = of_the_story.with_max_level_hint(LevelFilter::DEBUG);
        Counting(self.clone()).with_filter(News::of(of_the_story))
    }

    fn count(&self, told: Told) {
        if let Some(status) = told.entered {
            self.entered.get_or_create(&StatusLabels { status }).inc();
        }
        if let (Some(status), Some(seconds)) = (told.left, told.left_after_s) {
            let stayed = self.stayed.get_or_create(&StatusLabels { status });
            stayed.observe(seconds);
        }
        if let Some(seconds) = told.paid_to_delivered_s {
            self.delivered.observe(seconds);
        }
        if let Some(what) = told.undone {
            self.undone.get_or_create(&UndoneLabels { what }).inc();
        }
        if told.late {
            self.late.inc();
        }
        let Some(step) = told.step else { return };
        if let (Some(answer), Some(seconds)) = (told.answer, told.elapsed_s) {
            let labels = OutsideLabels { step, answer };
            self.outside.get_or_create(&labels).observe(seconds);
        } else {
            self.pauses.get_or_create(&StepLabels { step }).inc();
        }
    }
}

struct Counting(Metrics);

impl<S: Subscriber> Layer<S> for Counting {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        self.0.count(told);
    }
}

/// What a line tells: fields of [`story`].
#[derive(Debug, Default)]
struct Told {
    entered: Option<String>,
    left: Option<String>,
    left_after_s: Option<f64>,
    paid_to_delivered_s: Option<f64>,
    undone: Option<String>,
    late: bool,
    step: Option<String>,
    answer: Option<String>,
    elapsed_s: Option<f64>,
}

impl Visit for Told {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match field.name() {
            "order.left_after_s" => self.left_after_s = Some(value),
            "order.paid_to_delivered_s" => self.paid_to_delivered_s = Some(value),
            "elapsed_s" => self.elapsed_s = Some(value),
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "order.late" {
            self.late = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let told = match field.name() {
            "order.entered" => &mut self.entered,
            "order.left" => &mut self.left,
            "order.undone" => &mut self.undone,
            "step" => &mut self.step,
            "answer" => &mut self.answer,
            _ => return,
        };
        *told = Some(value.to_owned());
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn Debug) {}
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;

    fn told_while(is_replaying: bool) -> String {
        let metrics = Metrics::new(UpdateBroadcaster::new());
        let subscriber = tracing_subscriber::registry().with(metrics.counting());
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!(
                target: "restate_sdk::endpoint",
                "restate_sdk_endpoint_handle",
                "restate.sdk.is_replaying" = false
            );
            span.record("restate.sdk.is_replaying", is_replaying);
            let _inside = span.enter();
            tracing::info!(
                target: TARGET,
                {
                    order.entered = "delivered",
                    order.left = "in_transit",
                    order.left_after_s = 5.5,
                    order.paid_to_delivered_s = 90.0,
                },
                "order alice.1 is delivered"
            );
            tracing::info!(target: TARGET, { order.undone = "captured" }, "undone");
            tracing::info!(target: TARGET, { order.late = true }, "late");
            tracing::debug!(target: story::OUTSIDE, step = "carrier.book", answer = "yes", elapsed_s = 0.2);
            tracing::warn!(target: TARGET, step = "carrier.book", "no answer: sleeping");
            tracing::info!("something else");
        });
        metrics.encode().unwrap()
    }

    #[test]
    fn what_the_lines_tell_is_counted() {
        let text = told_while(false);
        for line in [
            r#"waybill_services_orders_entered_total{status="delivered"} 1"#,
            r#"waybill_services_orders_entered_total{status="cancelled"} 0"#,
            r#"waybill_services_order_status_duration_seconds_sum{status="in_transit"} 5.5"#,
            "waybill_services_order_paid_to_delivered_duration_seconds_sum 90.0",
            r#"waybill_services_compensations_total{what="captured"} 1"#,
            "waybill_services_late_payments_total 1",
            r#"waybill_services_outside_request_duration_seconds_count{step="carrier.book",answer="yes"} 1"#,
            r#"waybill_services_outside_pauses_total{step="carrier.book"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_replay_counts_nothing_twice() {
        let text = told_while(true);
        for line in [
            r#"waybill_services_orders_entered_total{status="delivered"} 0"#,
            "waybill_services_order_paid_to_delivered_duration_seconds_count 0",
            r#"waybill_services_compensations_total{what="captured"} 0"#,
            "waybill_services_late_payments_total 0",
            r#"waybill_services_outside_pauses_total{step="carrier.book"} 0"#,
            // It ran just now.
            r#"waybill_services_outside_request_duration_seconds_count{step="carrier.book",answer="yes"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_try_is_counted_by_handler_and_outcome() {
        let metrics = Metrics::new(UpdateBroadcaster::new());
        metrics.tried(
            "Inventory",
            "Reserve",
            Outcome::Refused,
            Duration::from_millis(3),
        );
        let line = r#"waybill_services_invocation_try_duration_seconds_count{service="Inventory",handler="Reserve",outcome="refused"} 1"#;
        let text = metrics.encode().unwrap();
        assert!(text.contains(line), "{text}");
    }
}
