//! How long SQLite takes, for each kind of statement.
//!
//! sqlx tells of every statement in an event of `tracing`; a layer reads its time. So
//! none of the queries is written any other way. One file a process is served, hence
//! one set of numbers a process.

use std::sync::LazyLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Upper bounds, in seconds.
const BOUNDS: [f64; 10] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.02, 0.1, 0.5, 2.5,
];
/// The first words that are told apart.
const KINDS: [&str; 8] = [
    "select", "insert", "update", "delete", "with", "begin", "commit", "pragma",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    statement: &'static str,
}

static STATEMENTS: LazyLock<Family<Labels, Histogram>> =
    LazyLock::new(|| Family::new_with_constructor(|| Histogram::new(BOUNDS)));

/// Lets a registry show them.
pub fn register(registry: &mut Registry) {
    registry.register_with_unit(
        "sqlite_statement_duration",
        "Time of one SQL statement, until its last row, by its first word",
        Unit::Seconds,
        STATEMENTS.clone(),
    );
}

/// What reads them.
pub fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let is_of_sqlx = |metadata: &Metadata<'_>| metadata.target() == "sqlx::query";
    let filter = FilterFn::new(is_of_sqlx).with_max_level_hint(LevelFilter::DEBUG);
    Timings.with_filter(filter)
}

struct Timings;

impl<S: Subscriber> Layer<S> for Timings {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        if let (Some(statement), Some(seconds)) = (told.statement, told.seconds) {
            STATEMENTS
                .get_or_create(&Labels { statement })
                .observe(seconds);
        }
    }
}

#[derive(Debug, Default)]
struct Told {
    statement: Option<&'static str>,
    seconds: Option<f64>,
}

impl Visit for Told {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.seconds = Some(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "summary" {
            let first = value.split_whitespace().next().unwrap_or_default();
            let known = KINDS.iter().find(|kind| first.eq_ignore_ascii_case(kind));
            self.statement = Some(known.copied().unwrap_or("other"));
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;

    #[tokio::test]
    async fn a_statement_is_timed_by_its_first_word() {
        let (_folder, db) = crate::storage::db::temporary().await;
        // SQLite works on a thread of its own, which knows the subscriber of all alone.
        let subscriber = tracing_subscriber::registry().with(layer());
        tracing::subscriber::set_global_default(subscriber).unwrap();
        sqlx::query("SELECT 1").execute(&db.read).await.unwrap();
        let mut registry = Registry::default();
        register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("sqlite_statement_duration_seconds_count{statement=\"select\"}"),
            "{text}"
        );
    }
}
