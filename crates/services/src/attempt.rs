//! One try of an invocation, as it passes between Restate and the SDK: how it ends
//! and how long it takes is counted, and it is a span of the trace that Restate names.
//! The handlers know nothing of it, and must begin no span around what they ask of
//! their context: the SDK notes in the current one whether it replays.
//!
//! A call that waits long is suspended and tried again, so one invocation may be many
//! tries.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{HeaderMap, Request, Response};
use process::propagation;
use prost::Message as _;
use tracing::Span;

use crate::metrics::{Metrics, Outcome};
use crate::protocol::{END, ERROR, Messages, OUTPUT, Output, ProtocolPart, SUSPENSION};
use crate::wire::ORDER_FULFILLMENT_WORKFLOW;

/// A try that has been asked for.
#[derive(Debug)]
pub struct Attempt(Option<Tried>);

impl Attempt {
    /// That of a request; of one that asks for no invocation, nothing is known.
    pub fn of<B>(request: &Request<B>, metrics: &Metrics) -> Self {
        let named = || {
            let (_, target) = request.uri().path().split_once("/invoke/")?;
            let (service, handler) = target.split_once('/')?;
            Some((service.to_owned(), handler.to_owned()))
        };
        Self(named().map(|(service, handler)| Tried {
            span: span(&service, &handler, request.headers()),
            service,
            handler,
            metrics: metrics.clone(),
            began: Instant::now(),
            outcome: Outcome::Failed,
            ends_with: Outcome::Done,
        }))
    }

    /// Watches the answer. Only handlers that there are have one (200), so there are
    /// no more series than handlers.
    pub fn answered<B>(self, answer: Response<B>) -> Response<Answered<B>> {
        let tried = self.0.filter(|_| answer.status().is_success());
        answer.map(|body| Answered {
            body,
            tried,
            messages: Messages::default(),
        })
    }
}

/// The span of a try. A workflow's key is its order.
fn span(service: &str, handler: &str, headers: &HeaderMap) -> Span {
    let said = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let key = said("x-restate-service-key");
    let span = tracing::info_span!(
        "invocation",
        otel.name = format!("{service}/{handler}"),
        otel.kind = "server",
        rpc.system = "restate",
        rpc.service = service,
        rpc.method = handler,
        restate.invocation.id = said("x-restate-invocation-id"),
        restate.outcome = tracing::field::Empty,
        order.id = key.filter(|_| service == ORDER_FULFILLMENT_WORKFLOW),
    );
    propagation::continue_trace(&span, headers);
    span
}

#[derive(Debug)]
struct Tried {
    service: String,
    handler: String,
    metrics: Metrics,
    began: Instant,
    /// How it has ended, as far as it has.
    outcome: Outcome,
    /// How it ends if it ends now.
    ends_with: Outcome,
    span: Span,
}

impl Tried {
    fn said(&mut self, kind: u16, payload: &[u8]) {
        match kind {
            OUTPUT => {
                let output = Output::decode(payload).unwrap_or_default();
                if output.failure.is_some() {
                    self.ends_with = Outcome::Refused;
                }
            }
            END => self.outcome = self.ends_with,
            SUSPENSION => self.outcome = Outcome::Suspended,
            ERROR => self.outcome = Outcome::Failed,
            _ => {}
        }
    }
}

impl Drop for Tried {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.span.record("restate.outcome", self.outcome.word());
        self.metrics
            .tried(&self.service, &self.handler, self.outcome, took);
    }
}

/// What we answer Restate, watched.
#[derive(Debug)]
pub struct Answered<B> {
    body: B,
    tried: Option<Tried>,
    messages: Messages,
}

impl<B> Body for Answered<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let _inside = this
            .tried
            .as_ref()
            .map(|tried| tried.span.clone().entered());
        let polled = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(tried) = &mut this.tried
            && let Some(Ok(frame)) = &polled
            && let Some(piece) = frame.data_ref()
        {
            let mut at = 0;
            while let Some(part) = this.messages.next(piece, &mut at) {
                if let ProtocolPart::Whole(kind, payload, _) = part {
                    tried.said(kind, &payload);
                }
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
