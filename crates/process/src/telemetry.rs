//! What a process says of itself: lines on stderr, and traces.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use opentelemetry_sdk::trace::Tracer;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::{FilterExt as _, FilterFn, Filtered, LevelFilter};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::Layered;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::Traces;
use crate::propagation;
use crate::settings::{OptionalUrl, WrongSetting, optional_url};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Where a process says what it does, and how.
#[derive(Debug, Clone, Args)]
pub struct TelemetrySettings {
    /// How log lines look.
    #[arg(
        long,
        env,
        global = true,
        value_enum,
        ignore_case = true,
        default_value = "text"
    )]
    pub log_format: LogFormat,

    /// Where traces go: an OTLP collector (HTTP), e.g. `http://127.0.0.1:4318`.
    #[arg(long, env, global = true, alias = "traces-endpoint", value_parser = optional_url)]
    pub otel_exporter_otlp_endpoint: Option<OptionalUrl>,
}

/// The lines, which a process may filter further.
pub type Lines = Box<dyn Layer<WithTraces> + Send + Sync>;
/// What they are added to.
type WithTraces =
    Layered<Filtered<Option<OpenTelemetryLayer<Registry, Tracer>>, FilterFn, Registry>, Registry>;

impl TelemetrySettings {
    /// Where traces go, if there are any.
    pub fn collector(&self) -> Option<&str> {
        self.otel_exporter_otlp_endpoint
            .as_ref()
            .and_then(OptionalUrl::get)
    }

    /// Starts both for the rest of the process, whose spans are those of
    /// `service`; `filter` may take lines out, beside those that `RUST_LOG` does
    /// not ask for.
    ///
    /// # Errors
    /// When the collector's URL cannot be used.
    pub fn start(
        &self,
        service: &'static str,
        filter: impl FnOnce(Lines) -> Lines,
    ) -> Result<Traces, WrongSetting> {
        let traces = Traces::to(self.collector(), service)?;
        // Spans are left to the traces: each line says what it needs itself. (Joined, the
        // stricter hint counts; without one, everything would be asked for.)
        let only_lines = FilterFn::new(|metadata: &Metadata<'_>| metadata.is_event())
            .with_max_level_hint(LevelFilter::TRACE);
        let lines = fmt::layer().with_writer(std::io::stderr);
        let lines: Lines = match self.log_format {
            LogFormat::Text => lines
                .with_ansi(std::io::stderr().is_terminal())
                .map_event_format(WithTrace)
                .boxed(),
            LogFormat::Json => lines
                .json()
                .flatten_event(true)
                .map_event_format(WithTrace)
                .boxed(),
        };
        let (is_traced, finest): (fn(&Metadata<'_>) -> bool, _) = match self.collector() {
            Some(_) => (is_traced, LevelFilter::INFO),
            None => (|_| false, LevelFilter::OFF),
        };
        let spans = FilterFn::new(is_traced).with_max_level_hint(finest);
        tracing_subscriber::registry()
            .with(traces.layer().with_filter(spans))
            .with(filter(
                lines.with_filter(asked_for().and(only_lines)).boxed(),
            ))
            .init();
        Ok(traces)
    }
}

/// What `RUST_LOG` asks for: `info` where it is not set or cannot be read.
pub fn asked_for() -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Our own spans. Lines are no part of a trace: they name it. (A try that replays an
/// invocation would have those of the tries before once more.)
fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span()
        && *metadata.level() <= Level::INFO
        && !metadata.target().starts_with("restate_sdk")
}

/// Lines with the ids of the trace that they belong to, if there is one.
struct WithTrace<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let Some((trace, span)) = propagation::current() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(
                writer,
                r#"{{"trace_id":"{trace}","span_id":"{span}",{rest}"#
            ),
            None => writeln!(
                writer,
                "{} trace_id={trace} span_id={span}",
                line.trim_end()
            ),
        }
    }
}
