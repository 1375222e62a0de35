//! One trace across processes: the W3C header `traceparent`, read and written.
//!
//! Without a collector there are no traces, and nothing is read or written.

use hyper::HeaderMap;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

struct Heard<'a>(&'a HeaderMap);

impl Extractor for Heard<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0
            .keys()
            .map(hyper::header::HeaderName::as_str)
            .collect()
    }
}

struct Said<'a>(&'a mut HeaderMap);

impl Injector for Said<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = hyper::header::HeaderName::try_from(key);
        if let (Ok(name), Ok(value)) = (name, hyper::header::HeaderValue::try_from(value)) {
            // W3C's tracestate is left out where it says nothing.
            if !value.is_empty() {
                self.0.insert(name, value);
            }
        }
    }
}

/// Makes `span`, which nobody has entered yet, a part of the trace that a request's
/// headers name.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    let parent = TraceContextPropagator::new().extract(&Heard(headers));
    if parent.span().span_context().is_valid() {
        // Refused where nothing is traced.
        let _ = span.set_parent(parent);
    }
}

/// Lets whoever is asked continue the trace of the current span.
pub fn pass_on(headers: &mut HeaderMap) {
    let context = Span::current().context();
    TraceContextPropagator::new().inject_context(&context, &mut Said(headers));
}

/// Links the current span to one of another trace, such as what it wakes after days.
pub fn link_to(trace: [u8; 16], span: [u8; 8]) {
    let (trace, span) = (TraceId::from_bytes(trace), SpanId::from_bytes(span));
    let linked = SpanContext::new(
        trace,
        span,
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    if linked.is_valid() {
        Span::current().add_link(linked);
    }
}

/// The trace of the current span, in hexadecimal digits, and the span in it.
pub fn current() -> Option<(String, String)> {
    let context = opentelemetry::Context::current();
    let span = context.span().span_context().clone();
    span.is_valid()
        .then(|| (span.trace_id().to_string(), span.span_id().to_string()))
}
