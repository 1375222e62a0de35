//! One trace for one order: what every process tells the collector that
//! `OTEL_EXPORTER_OTLP_ENDPOINT` and `RESTATE_TRACING_ENDPOINT` name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;

use crate::shop::{SOON, Shop, order_form};
use crate::world::{Component, Setup, eventually, own};

/// What the browser says of the click.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLICK: &str = "b7ad6b7169203331";

/// What happens until an approver is asked.
const FIRST_HALF: [&str; 9] = [
    "POST /api/checkout",
    "UserSession/Checkout",
    "Inventory/Reserve",
    "UserSession/AwaitPayment",
    "PaymentService/RequestPayment",
    "provider.request",
    "POST /payments",
    "POST /api/payment/callback",
    "UserSession/PaymentCallback",
];

#[derive(Debug, Clone, serde::Serialize)]
struct Span {
    process: String,
    name: String,
    trace: String,
    id: String,
    parent: String,
    links: Vec<(String, String)>,
    order: Option<String>,
    began_ns: u64,
    ended_ns: u64,
}

/// A small collector: OTLP over HTTP, in protobuf.
struct Collector {
    listener: Option<TcpListener>,
    address: String,
    told: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self {
            address: format!("http://{}", listener.local_addr().expect("it is bound")),
            listener: Some(listener),
            told: Arc::default(),
        }
    }

    fn setup(&self) -> Setup {
        let restate = format!("otlp+{}/v1/traces", self.address);
        Setup::with("OTEL_EXPORTER_OTLP_ENDPOINT", &self.address).only_for(
            Component::Restate,
            "RESTATE_TRACING_ENDPOINT",
            &restate,
        )
    }

    fn listen(&mut self) {
        let told = Arc::clone(&self.told);
        let take = post(async move |body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).expect("OTLP in protobuf");
            told.lock().unwrap().extend(spans(request));
        });
        let listener = self.listener.take().expect("once");
        listener
            .set_nonblocking(true)
            .expect("a listener for tokio");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for tokio");
        let router = Router::new()
            .route("/v1/traces", take)
            .layer(DefaultBodyLimit::disable());
        tokio::spawn(axum::serve(listener, router).into_future());
    }

    fn told(&self) -> Vec<Span> {
        self.told.lock().unwrap().clone()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let attributes = resource.resource.unwrap_or_default().attributes;
        let process = attribute(&attributes, "service.name").unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|it| it.spans) {
            spans.push(Span {
                process: process.clone(),
                name: span.name,
                trace: hexadecimal(&span.trace_id),
                id: hexadecimal(&span.span_id),
                parent: hexadecimal(&span.parent_span_id),
                links: span
                    .links
                    .iter()
                    .map(|link| (hexadecimal(&link.trace_id), hexadecimal(&link.span_id)))
                    .collect(),
                order: attribute(&span.attributes, "order.id"),
                began_ns: span.start_time_unix_nano,
                ended_ns: span.end_time_unix_nano,
            });
        }
    }
    spans
}

/// The spans that hang together with a trace: by their parents within it, by links with
/// what was sent, and what it woke.
fn connected(spans: &[Span], trace: &str) -> Vec<Span> {
    let mut traces = BTreeSet::from([trace.to_owned()]);
    loop {
        let before = traces.len();
        for span in spans {
            let linked = span.links.iter().any(|(trace, _)| traces.contains(trace));
            if traces.contains(&span.trace) {
                traces.extend(span.links.iter().map(|(trace, _)| trace.clone()));
            } else if linked {
                traces.insert(span.trace.clone());
            }
        }
        if traces.len() == before {
            let of_them = spans.iter().filter(|span| traces.contains(&span.trace));
            return of_them.cloned().collect();
        }
    }
}

/// Each must be there.
fn missing(spans: &[Span], names: &[&str]) -> Vec<String> {
    let is_there = |name: &str| spans.iter().any(|span| span.name.contains(name));
    let missing = names.iter().filter(|name| !is_there(name));
    missing.map(|&name| name.to_owned()).collect()
}

fn log(shop: &Shop, of: Component) -> String {
    let found = shop.programs().find(|(part, _)| *part == of);
    let (_, program) = found.expect("it runs");
    program.log_since(0, 100_000)
}

#[test]
fn one_order_is_one_trace_from_the_click_to_the_parcel() {
    let mut collector = Collector::bind();
    own(&collector.setup(), async |shop| {
        collector.listen();
        let alice = shop.alice();
        alice.add("P001", 1).await;
        let clicked = shop
            .http
            .post(format!("{}/api/checkout", shop.gateway))
            .header("x-user-id", &alice.name)
            .header("traceparent", format!("00-{TRACE}-{CLICK}-01"))
            .json(&order_form("one"));
        assert_eq!(clicked.send().await.expect("an answer").status(), 202);
        // Asked again, it is the same order.
        let order = alice.checkout("one").await;
        order.pay().await;
        order.until("awaiting_approval").await;
        // What dies takes the spans with it that it has not told yet.
        eventually("the first half", SOON, async || {
            let spans = connected(&collector.told(), TRACE);
            let missing = missing(&spans, &FIRST_HALF);
            let is_whole = missing.is_empty();
            is_whole.then_some(()).ok_or_else(|| format!("{missing:?}"))
        })
        .await;
        // Whoever comes back replays all that was.
        shop.kill(Component::Services);
        shop.start_again(Component::Services).await;
        shop.admin().approve(&order).await;
        order.until("delivered").await;

        let story = eventually("every step of the order", SOON, async || {
            let spans = connected(&collector.told(), TRACE);
            let missing = missing(
                &spans,
                &[
                    "OrderFulfillmentWorkflow/Run",
                    "ShippingService/InitiateShipment",
                    "carrier.book",
                    "PaymentService/Capture",
                    "provider.capture",
                    "Inventory/Commit",
                ],
            );
            if missing.is_empty() {
                Ok(spans)
            } else {
                Err(format!("{missing:?} are missing in {} spans", spans.len()))
            }
        })
        .await;

        let click = story
            .iter()
            .find(|span| span.name == "POST /api/checkout" && span.parent == CLICK)
            .expect("the gateway continues the browser's trace");
        assert_eq!(click.trace, TRACE);
        assert_eq!(click.order.as_deref(), Some(order.id.as_str()));
        let by_id: BTreeMap<_, _> = story.iter().map(|span| (&span.id, span)).collect();
        for step in ["provider.request", "carrier.book", "provider.capture"] {
            let asked = story.iter().find(|span| span.name == step).expect("a step");
            assert_eq!(asked.order.as_deref(), Some(order.id.as_str()), "{step}");
            let heard = story.iter().find(|span| span.parent == asked.id);
            let heard = heard.unwrap_or_else(|| panic!("nobody has heard {step}"));
            assert_eq!(heard.process, "waybill-sandbox");
            let by = by_id[&asked.parent];
            assert_eq!(by.process, "waybill-services", "{step}");
        }
        let processes: BTreeSet<_> = story.iter().map(|span| span.process.as_str()).collect();
        for process in [
            "waybill-gateway",
            "waybill-services",
            "waybill-sandbox",
            "Restate",
        ] {
            assert!(processes.contains(process), "{process}: {processes:?}");
        }
        // The decision is a request of its own, and is found by the order.
        eventually("the approval", SOON, async || {
            let spans = collector.told();
            let approval = spans.iter().find(|span| span.name.ends_with("/approve"));
            let order_of_it = approval.and_then(|span| span.order.clone());
            if order_of_it.as_deref() == Some(&order.id) {
                Ok(())
            } else {
                Err(format!("{approval:?}"))
            }
        })
        .await;

        every_step_is_said_once(shop, &order.id);

        // scripts/trace-picture.mjs draws it.
        if let Some(file) = std::env::var_os("TRACE_SPANS") {
            let spans = serde_json::to_vec(&story).expect("JSON");
            std::fs::write(file, spans).expect("TRACE_SPANS can be written");
        }
    });
}

/// Lines name the trace, and a replay says nothing again.
fn every_step_is_said_once(shop: &Shop, order: &str) {
    let trace = format!("trace_id={TRACE}");
    let lines = log(shop, Component::Gateway);
    assert!(
        lines
            .lines()
            .any(|it| it.contains("POST /api/checkout 202") && it.contains(&trace))
    );
    let lines = log(shop, Component::Services);
    let said = |what: &str| {
        lines
            .lines()
            .filter(|it| it.contains(what))
            .collect::<Vec<_>>()
    };
    for status in [
        "awaiting_payment",
        "awaiting_approval",
        "shipping",
        "in_transit",
        "delivered",
    ] {
        let entered = said(&format!("order.entered=\"{status}\""));
        assert_eq!(entered.len(), 1, "{entered:#?}");
        assert!(
            entered[0].contains(&format!("order.id={order}")),
            "{entered:?}"
        );
        assert!(entered[0].contains("trace_id="), "{entered:?}");
    }
    assert!(said("order.entered=\"awaiting_payment\"")[0].contains(&trace));
}
