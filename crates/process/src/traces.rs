//! Traces over OTLP (HTTP, protobuf), for both processes: what
//! `OTEL_EXPORTER_OTLP_ENDPOINT` asks for.
//!
//! The gateway and the sandbox export a span for each request, the services one for
//! each try of an invocation and for each question to a stranger. How they become one
//! trace: [`crate::propagation`]. A collector that is away costs nothing but its spans.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Tracer};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

use crate::settings::WrongSetting;

/// Where spans go. Dropping it sends what is left.
#[derive(Debug)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// To the collector at `endpoint`, e.g. `http://127.0.0.1:4318`, as
    /// `service`; nowhere without one.
    ///
    /// # Errors
    /// When the endpoint cannot be used.
    pub fn to(endpoint: Option<&str>, service: &'static str) -> Result<Self, WrongSetting> {
        let Some(endpoint) = endpoint else {
            return Ok(Self(None));
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()
            .map_err(|error| {
                WrongSetting(format!(
                    "OTEL_EXPORTER_OTLP_ENDPOINT cannot be used: {error}"
                ))
            })?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // Also what a caller says not to trace: nobody hides from it.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(Resource::builder().with_service_name(service).build())
            .build();
        Ok(Self(Some(provider)))
    }

    /// What turns spans of `tracing` into spans of OpenTelemetry.
    pub fn layer<S>(&self) -> Option<OpenTelemetryLayer<S, Tracer>>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let tracer = self.0.as_ref()?.tracer("waybill");
        Some(tracing_opentelemetry::layer().with_tracer(tracer))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            // A collector that is away does not keep a process from ending well.
            let _ = provider.shutdown();
        }
    }
}
